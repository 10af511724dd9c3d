"""A function of tensors, recorded once as a graph of tensor operations.

Running a Pyro program interprets it: handlers, distributions and autograd run in Python on every
call. :func:`record` runs the program once, below autograd, and writes down the operations that
reach the tensor library. The graph computes the same thing for other values of its inputs, which
are the tensor arguments and every tensor that the program closes over: parameters, buffers, data.
These are found by identity, so changes made to them in place are seen. Random draws are operations
like any other, so the graph draws afresh each time it runs.

What a recording cannot contain is Python that looks at a value: it would be decided once and for
all. :class:`NotStageable` is raised where that happens, with the place and the last sample site.
"""

from __future__ import annotations

import itertools
import operator
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NoReturn

import pyro.infer.tracegraph_elbo
import pyro.infer.util
import pyro.util
import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor, fx
from torch.distributions import Distribution
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.weak import WeakTensorKeyDictionary

from ppl_gen._modes import unreadable
from ppl_gen.staging.assumptions import is_same
from ppl_gen.staging.torch_internals import LeanMode

aten = torch.ops.aten
TORCH = str(Path(torch.__file__).parent)
PYRO = str(Path(pyro.__file__).parent)
# Folders of this package whose lines are no part of anybody's program.
MACHINERY = tuple(
    str(Path(__file__).parents[1] / folder) for folder in ("staging", "training", "objectives")
)


class NotStageable(Exception):
    """Why a program cannot be run as a graph."""


@dataclass(frozen=True)
class Recording:
    """A graph, and the tensors it takes after its arguments.

    Attributes:
        module: runs the graph operation by operation; takes ``(*arguments, *lifted)``.
        lifted: the tensors the function closed over, in order of first use.
        used: for each argument, whether the result depends on it.
        outputs: for each output, whether it is a tensor.
        written: the lifted tensors that the graph writes to.
    """

    module: fx.GraphModule
    lifted: tuple[Tensor, ...]
    used: tuple[bool, ...]
    outputs: tuple[bool, ...]
    written: tuple[Tensor, ...]


def record(
    function: Callable[..., Sequence[Tensor | None]], arguments: Sequence[Tensor]
) -> Recording:
    """Run a function of tensors and record the operations behind the tensors it returns.

    Args:
        function: returns a flat sequence of tensors (or ``None``); its side effects on tensors are
            recorded too, and undone by the caller.
        arguments: what it is called with.

    Raises:
        NotStageable: Python looks at a value, or a shape depends on one.
    """
    # Fresh aliases, so that one tensor passed twice is two inputs.
    aliases = [argument.detach() for argument in arguments]
    recorder = Recorder(aliases)
    with (
        torch.autograd.set_multithreading_enabled(False),
        Sites(recorder),
        Watch(recorder),
        unreadable(),
        recorder,
    ):
        try:
            results = function(*aliases)
        except Exception as error:
            if recorder.refusal is not None:
                raise recorder.refusal from None
            raise NotStageable(
                f"recording it fails with {type(error).__name__}: {error}"
            ) from error
    if recorder.refusal is not None:  # the program has caught it
        raise recorder.refusal
    return recorder.finish(results)


class Recorder(LeanMode):
    """Writes every operation into a graph, and follows which values are constants.

    A tensor is constant while nothing in its storage came from an input or a random draw. Storages
    are told apart by address; those of inputs outlive the recording, so addresses are not reused.
    """

    def __init__(self, arguments: Sequence[Tensor]):
        super().__init__()
        self.graph = fx.Graph()
        self.root = torch.nn.Module()
        self.nodes = WeakTensorKeyDictionary()
        self.constant_storages: set[int] = set()
        self.written: set[int] = set()
        self.lifted: list[Tensor] = []
        self.site: str | None = None
        self.refusal: NotStageable | None = None
        self.last_input: fx.Node | None = None
        self.arguments = [self._placeholder(f"argument_{i}", a) for i, a in enumerate(arguments)]

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        leaves = tree_leaves((args, kwargs))
        inputs = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        fresh = func is aten.lift_fresh.default
        constant = fresh or all(map(self.is_constant, inputs))
        if func in READS or torch.Tag.data_dependent_output in func.tags:
            if constant:
                return func(*args, **kwargs)
            if (code := _asking()) in ANSWERS:
                return ANSWERS[code]
            self.refuse("reads the value of a tensor in Python")
        odd = [type(leaf).__name__ for leaf in leaves if not isinstance(leaf, (Tensor, *LITERALS))]
        if odd:
            self.refuse(f"uses a {odd[0]} of its own")
        if not constant and _has_dynamic_shape(func, args):
            self.refuse("makes a tensor whose shape depends on values")
        if fresh:
            node = self._constant(args[0])
        else:
            node_args, node_kwargs = tree_map(self._node, (args, kwargs))
            node = self.graph.call_function(func, node_args, node_kwargs)
        result = func(*args, **kwargs)
        constant = constant and torch.Tag.nondeterministic_seeded not in func.tags
        for written in written_to(func, args, kwargs):
            self._mark(written, constant)
            self.written.add(storage_of(written))
        if isinstance(result, Tensor):
            self._track(result, node, constant)
        elif isinstance(result, (tuple, list)):
            for i, item in enumerate(result):
                if isinstance(item, Tensor):
                    self._track(
                        item, self.graph.call_function(operator.getitem, (node, i)), constant
                    )
        return result

    def is_constant(self, tensor: Tensor) -> bool:
        """Whether the value will be the same in every run of the graph."""
        return storage_of(tensor) in self.constant_storages

    def refuse(self, what: str) -> NoReturn:
        """Raise ``NotStageable``, naming the line of the program and its last sample site."""
        where = "" if self.site is None else f", at or after the sample site {self.site!r}"
        self.refusal = NotStageable(f"the program {what} ({_place()}){where}")
        raise self.refusal

    def finish(self, results: Sequence[Tensor | None]) -> Recording:
        """Close the graph with its outputs and drop what they do not need."""
        self.graph.output(tuple(map(self._node, results)))
        for node in self.graph.nodes:
            # Nothing differentiates the graph itself.
            if node.target is aten.detach.default:
                node.replace_all_uses_with(node.args[0])
        self.graph.eliminate_dead_code()
        self.graph.lint()
        return Recording(
            fx.GraphModule(self.root, self.graph),
            tuple(self.lifted),
            tuple(bool(node.users) for node in self.arguments),
            tuple(isinstance(result, Tensor) for result in results),
            tuple(tensor for tensor in self.lifted if storage_of(tensor) in self.written),
        )

    def _node(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        node = self.nodes.get(value)
        if node is None:
            node = self._placeholder(f"lifted_{len(self.lifted)}", value)
            self.lifted.append(value)
        return node

    def _placeholder(self, name: str, tensor: Tensor) -> fx.Node:
        before = (
            self.graph.inserting_before if self.last_input is None else self.graph.inserting_after
        )
        with before(self.last_input):
            node = self.last_input = self.graph.placeholder(name)
        self.nodes[tensor] = node
        return node

    def _constant(self, tensor: Tensor) -> fx.Node:
        """A tensor made from Python numbers, copied in each run as the program may write to it."""
        name = f"constant_{len(self.root._buffers)}"
        self.root.register_buffer(name, tensor.clone())
        return self.graph.call_function(aten.clone.default, (self.graph.get_attr(name),))

    def _track(self, tensor: Tensor, node: fx.Node, constant: bool) -> None:
        self.nodes[tensor] = node
        self._mark(tensor, constant)

    def _mark(self, tensor: Tensor, constant: bool) -> None:
        (self.constant_storages.add if constant else self.constant_storages.discard)(
            storage_of(tensor)
        )


class Watch(TorchFunctionMode):
    """Sees the Python calls that read values without reaching the dispatcher.

    Pyro's objectives read the loss as a number, which stays a tensor of a number's precision here,
    and select positive probabilities, which is done by masking.
    """

    def __init__(self, recorder: Recorder):
        super().__init__()
        self.recorder = recorder

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is Tensor.item and _asking() is _item:
            return args[0].detach().double()
        if func is Tensor.masked_select and _asking() is _dice:
            return torch.where(args[1], args[0], 0.0)
        if func in ESCAPES or func in COPIES:
            tensors = [a for a in tree_leaves((args, kwargs)) if isinstance(a, Tensor)]
            if not all(map(self.recorder.is_constant, tensors)):
                self.recorder.refuse("reads the value of a tensor in Python")
        return func(*args, **(kwargs or {}))


class Sites(Messenger):
    """Keeps track of the sample site the program is at."""

    def __init__(self, recorder: Recorder):
        super().__init__()
        self.recorder = recorder

    def _pyro_sample(self, msg: dict[str, Any]) -> None:
        self.recorder.site = msg["name"]


READS = {
    aten._local_scalar_dense.default,
    aten.item.default,
    aten.is_nonzero.default,
    aten.equal.default,
    aten.allclose.default,
}
ESCAPES = {Tensor.tolist, Tensor.numpy, Tensor.__array__, Tensor.__dlpack__}
# What a graph can hold beside tensors.
LITERALS = (
    *(bool, int, float, complex, str, type(None), slice),
    *(torch.dtype, torch.device, torch.layout, torch.memory_format),
)
COPIES = {torch.tensor, Tensor.new_tensor}
# Running statistics, which the schemas do not declare as written: their positions.
HIDDEN_WRITES = dict.fromkeys(
    (aten.native_batch_norm.default, aten.cudnn_batch_norm.default, aten.miopen_batch_norm.default),
    (3, 4),
)
_item = pyro.infer.util.torch_item.__code__
_dice = pyro.infer.util.Dice.compute_expectation.__code__
# Who asks for a value without the result depending on the answer, and what to say: whether there is
# a NaN to warn about, whether all enumerated probabilities are positive (if not, they are masked),
# whether arguments and samples of distributions are valid, and whether a guide's densities are the
# same in a second run; that one has run before it is recorded, which refuses others.
ANSWERS: dict[CodeType | None, bool] = {
    pyro.util.warn_if_nan.__code__: False,
    _dice: False,
    Distribution.__init__.__code__: True,
    Distribution._validate_sample.__code__: True,
    is_same.__code__: True,
}


def written_to(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterable[Tensor]:
    """The tensors an operation changes in place."""
    written: list[Any] = [args[i] for i in HIDDEN_WRITES.get(func, ())]
    if func._schema.is_mutable:
        for position, argument in enumerate(func._schema.arguments):
            if argument.alias_info is not None and argument.alias_info.is_write:
                by_name = kwargs.get(argument.name)
                written.append(args[position] if position < len(args) else by_name)
    return [tensor for tensor in tree_leaves(written) if isinstance(tensor, Tensor)]


def _has_dynamic_shape(func: Any, args: tuple[Any, ...]) -> bool:
    if torch.Tag.dynamic_output_shape not in func.tags:
        return False
    if func is aten.index.Tensor:
        return any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1])
    return True


def storage_of(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _asking() -> CodeType | None:
    """The innermost code outside torch and this module, or one of torch's that may ask."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code not in ANSWERS:
        if not frame.f_code.co_filename.startswith((TORCH, __file__)):
            break
        frame = frame.f_back
    return frame and frame.f_code


def _place() -> str:
    """The line of the program that runs, or else that of Pyro."""
    frames = list(itertools.takewhile(lambda f: f.name != record.__name__, _stack()))
    frames = [f for f in frames if not f.filename.startswith((TORCH, __file__))]
    own = [f for f in frames if not f.filename.startswith((PYRO, *MACHINERY))]
    frame = (own or frames)[0]
    return f"{frame.filename}:{frame.lineno}: {frame.line}"


def _stack() -> list[traceback.FrameSummary]:
    """The frames of this thread, innermost first."""
    return traceback.extract_stack()[::-1]
