"""A loss function that runs as one graph per kind of call: the machinery of staging.

For each kind of call the function runs eagerly, is recorded, the graph is compared with the eager
run, compiled, and compared again. All these runs start from the same random state and are undone,
so that the first call leaves everything as one step does.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from operator import attrgetter
from pathlib import Path
from types import FrameType
from typing import Any, TypeAlias, cast

import pyro
import torch
from pyro import infer, poutine
from pyro.poutine.runtime import _PYRO_STACK
from torch import Tensor

from ppl_gen._random import RandomState
from ppl_gen.staging import backends, torch_internals
from ppl_gen.staging.choice import Always
from ppl_gen.staging.comparison import Outcome, difference
from ppl_gen.staging.costs import Counter, Work
from ppl_gen.staging.environment import Environment
from ppl_gen.staging.floats import FloatInputs
from ppl_gen.staging.recording import NotStageable, Recording, record, storage_of
from ppl_gen.staging.sandbox import Sandbox
from ppl_gen.staging.signatures import Call, Key, flatten_call

Metrics: TypeAlias = dict[str, Tensor]
Loss: TypeAlias = Callable[..., tuple[Tensor, Metrics]]

PACKAGE = str(Path(__file__).parents[1])
GRAPHS_PER_KEY = 4
KEYS = 32
SEEDS = 3
AUTOCAST = ("cpu", "cuda")
DTYPE, SHAPE, TRAINED = map(attrgetter, ("dtype", "shape", "requires_grad"))
# How Pyro names the running average that it keeps as the baseline of a sample site.
BASELINE = "__baseline_avg_downstream_cost_"


class StagingError(RuntimeError):
    """A step that had to be staged cannot be."""


class StagingWarning(UserWarning):
    """A step runs eagerly or uncompiled, and why."""


def warn(text: str) -> None:
    """Issue a ``StagingWarning`` for the caller's line outside this package."""
    frame: FrameType | None = sys._getframe(1)
    level = 2
    while frame is not None and frame.f_code.co_filename.startswith(PACKAGE):
        frame, level = frame.f_back, level + 1
    warnings.warn(text, StagingWarning, stacklevel=level)


class Graph:
    """A recorded step, and what must hold for it to serve a call.

    Args:
        recording: the graph, from tensors, moving floats and lifted tensors to loss, metrics and
            gradients.
        environment: the Python values that are constants of the graph.
        moving: the floats that are inputs instead.
        metrics: the names of the metrics.
        parameters: the owners of the gradients.
    """

    def __init__(
        self,
        recording: Recording,
        environment: Environment,
        moving: FloatInputs,
        metrics: Sequence[str],
        parameters: Sequence[Tensor],
    ):
        self.recorded, self.lifted = recording.module, recording.lifted
        self.written = recording.written
        self.active = [
            p
            for p, output in zip(parameters, recording.outputs[1 + len(metrics) :], strict=True)
            if output
        ]
        self.run: backends.Run = recording.module
        self.environment, self.moving = environment, moving
        self.metrics, self.parameters = metrics, parameters
        self.layout = self._layout()
        self.calls = 1

    def _layout(self) -> list[Any]:
        kinds = [*map(DTYPE, self.lifted), *map(Tensor.get_device, self.lifted)]
        layouts = [*map(SHAPE, self.lifted), *map(Tensor.stride, self.lifted)]
        modes = [torch.get_default_dtype(), *map(torch.is_autocast_enabled, AUTOCAST)]
        return [*kinds, *layouts, *map(TRAINED, self.parameters), *modes]

    def serves(self, call: Call) -> bool:
        """Whether everything that is constant in the graph is what it was."""
        return (
            self.moving.constant in (None, call.floats)
            and self._layout() == self.layout
            and self.environment.holds()
        )

    def inputs(self, call: Call) -> list[Tensor]:
        return [*call.tensors, *self.fixed(call)]

    def fixed(self, call: Call) -> list[Tensor]:
        """The inputs that are not among the tensors of a call."""
        return [*self.moving.scalars(call), *self.lifted]

    def __call__(self, call: Call, run: backends.Run | None = None) -> tuple[Tensor, Metrics]:
        """Run the graph and replace the gradients of its parameters."""
        heads = 1 + len(self.metrics)
        self.drop_gradients()
        with torch.no_grad():
            outputs = (run or self.run)(*call.tensors, *self.fixed(call))
        self.finish(outputs[heads:])
        loss, *values = cast("Sequence[Tensor]", outputs[:heads])
        return loss, dict(zip(self.metrics, values, strict=True))

    def drop_gradients(self) -> None:
        """Free the gradients, so that their memory, still in the caches, serves again."""
        for parameter in self.parameters:
            parameter.grad = None

    def finish(self, gradients: Sequence[Tensor | None]) -> None:
        """Take note of what the graph wrote to, and keep the gradients."""
        torch.autograd.graph.increment_version(self.written)
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient


class StagedFunction:
    """A loss whose calls leave gradients behind and, where that is safe, run as one graph.

    See :func:`ppl_gen.staging.stage_function`.

    Attributes:
        choice: whether a kind of call is staged.
    """

    def __init__(
        self,
        function: Loss,
        parameters: Mapping[str, Tensor],
        staged: str | bool,
        backend: str | None,
    ):
        if not (staged == "auto" or isinstance(staged, bool)):
            raise ValueError(f"expected staged 'auto', True or False, got {staged!r}")
        if backend is not None and backend not in backends.BACKENDS:
            raise ValueError(f"expected a backend among {backends.BACKENDS}, got {backend!r}")
        self.function, self.staged, self.backend = function, staged, backend
        self.trained = dict(parameters)
        self.roots: dict[str, Any] = {"function": function}
        self._graphs: dict[Key, list[Graph]] = {}
        self._refused: dict[Key, NotStageable] = {}
        self._warned = self._prepared = False
        self.choice = Always()

    def __call__(self, *args: Any, **kwargs: Any) -> tuple[Tensor, Metrics]:
        if self.staged:
            call = None
            try:
                call = flatten_call(args, kwargs)
                graph = self._graph_for(call)
            except NotStageable as refusal:
                self._give_up(call, refusal)
            else:
                if graph is not None:
                    return graph(call)
                self.choice.count(self._given(call))
        if not self._prepared:
            self.prepare(args, kwargs)
        return self._run_eagerly(args, kwargs)

    # --- What a subclass may know better --------------------------------------------------------

    def prepare(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Find the parameters that a kind of call creates; leaves random states alone."""
        self._prepared = True

    def evaluate(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Tensor, Metrics]:
        """The loss and metrics, run eagerly."""
        return self.function(*args, **kwargs)

    def follow(
        self,
        args: tuple[Any, ...],
        loss: Tensor,
        metrics: Metrics,
        gradients: Mapping[Tensor, Tensor | None],
    ) -> None:
        """What comes after the gradients, as part of the graph."""

    # --- Eagerly --------------------------------------------------------------------------------

    def _run_eagerly(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Tensor, Metrics]:
        loss, metrics = self._gradients(args, kwargs)
        with torch.no_grad():
            self.follow(args, loss, metrics, {p: p.grad for p in self.trained.values()})
        return loss, metrics

    def _gradients(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Tensor, Metrics]:
        with _unvalidated(), torch.enable_grad():
            loss, metrics = self.evaluate(args, kwargs)
            if not (isinstance(loss, Tensor) and loss.dim() == 0 and loss.requires_grad):
                raise ValueError(f"expected a 0-d loss that depends on parameters, got {loss!r}")
            if not all(isinstance(v, Tensor) and v.dim() == 0 for v in metrics.values()):
                raise ValueError(f"expected metrics as a dictionary of 0-d tensors, got {metrics}")
            leaves = self._leaves()
            for parameter in self.trained.values():
                parameter.grad = None
            torch.autograd.backward(loss, inputs=leaves)
            if all(leaf.grad is None for leaf in leaves):
                raise ValueError("the loss depends on none of the parameters given")
        return loss.detach(), {name: value.detach() for name, value in metrics.items()}

    def _leaves(self) -> list[Tensor]:
        leaves = [parameter for parameter in self.trained.values() if parameter.requires_grad]
        if not leaves:
            raise ValueError("expected a parameter that requires a gradient, got none")
        return leaves

    # --- Finding a graph ------------------------------------------------------------------------

    def _graph_for(self, call: Call, count: int = 1) -> Graph | None:
        """The graph that serves so many calls, or ``None`` if calls of this kind run eagerly."""
        if call.key in self._refused:
            if self.staged is True:
                raise self._refused[call.key]
            return None
        if _PYRO_STACK:
            raise NotStageable(f"it is called inside a {type(_PYRO_STACK[-1]).__name__}")
        if call.key not in self._graphs and not self.choice(
            self._given(call), partial(self._work, call)
        ):
            return None
        graphs = self._graphs.setdefault(call.key, [])
        for graph in graphs:
            if graph.serves(call):
                before, graph.calls = graph.calls, graph.calls + count
                if graph.calls.bit_length() > before.bit_length():
                    with self._random_state(call) as random:
                        expected, sandbox = self._reference(call, graph.environment, random)
                        self._require_equal(expected, self._trial(graph, call, sandbox, random))
                return graph
        with self._random_state(call) as random:
            graphs.append(self._new_graph(call, graphs, random))
        return graphs[-1]

    @contextmanager
    def _random_state(self, call: Call) -> Iterator[RandomState]:
        random = RandomState(t.device for t in (*call.tensors, *self.trained.values()))
        try:
            yield random
        finally:
            random.restore()

    def _give_up(self, call: Call | None, refusal: NotStageable) -> None:
        if call is not None:
            for graph in self._graphs.get(call.key, ()):
                backends.forget(graph.run)
            self._refused[call.key] = refusal
            self._graphs.pop(call.key, None)
            self._note(call, f"eager, since {refusal}")
        if self.staged is True:
            raise StagingError(f"this step cannot be staged: {refusal}") from refusal
        self._warn(f"this step runs eagerly: {refusal}")

    def _given(self, call: Call) -> Sequence[Any]:
        """The arguments by which kinds of calls are told apart."""
        return call.leaves

    def _work(self, call: Call) -> Work:
        """What a step does eagerly, without what follows the gradients."""
        self.prepare(*call.arguments())
        environment, counter = self._environment(FloatInputs(call)), Counter()
        with self._random_state(call) as random, self._undone(environment, random) as sandbox:
            with sandbox, counter:
                self._gradients(*call.arguments())
            sandbox.restore()
            for parameter in self.trained.values():
                parameter.grad = None
        return counter.work()

    def _note(self, call: Call, text: str) -> None:
        self.choice.note(self._given(call), text)

    def _warn(self, text: str) -> None:
        if not self._warned:
            self._warned = True
            warn(text)

    # --- Making a graph -------------------------------------------------------------------------

    def _new_graph(self, call: Call, graphs: Sequence[Graph], random: RandomState) -> Graph:
        if len(self._graphs) > KEYS:
            raise NotStageable(
                f"it is called with more than {KEYS} combinations of shapes and values"
            )
        if len(graphs) >= GRAPHS_PER_KEY:
            changing = graphs[-1].environment.changes() or ["floats among the arguments"]
            raise NotStageable(f"values that the program uses keep changing: {', '.join(changing)}")
        self.prepare(*call.arguments())
        moving = FloatInputs(call, graphs)
        if moving:
            try:
                return self._build(call, moving, random)
            except NotStageable:
                pass  # Python looks at these floats, so each of their values has its graph
        return self._build(call, FloatInputs(call), random)

    def _build(self, call: Call, moving: FloatInputs, random: RandomState) -> Graph:
        """Record, verify and compile."""
        environment = self._environment(moving)
        expected, sandbox = self._reference(call, environment, random)
        parameters = list(self.trained.values())
        metrics = list(expected.values)[1:]
        dtype = expected.values["loss"].dtype

        def joint(*inputs: Tensor) -> list[Tensor | None]:
            tensors, scalars = inputs[: len(call.tensors)], inputs[len(call.tensors) :]
            with moving.replaced(call, scalars) as floats:
                args, kwargs = call.arguments(tensors, floats)
                loss, found = self.function(*args, **kwargs)
            gradients = torch.autograd.grad(loss, self._leaves(), allow_unused=True)
            own = iter(_unshared(gradients, [loss, *inputs, *parameters]))
            each = [next(own) if p.requires_grad else None for p in parameters]
            values = {name: found[name].detach().clone() for name in metrics}
            with torch.no_grad():
                by_parameter = dict(zip(parameters, each, strict=True))
                self.follow(args, loss.detach(), values, by_parameter)
            return [loss.to(dtype), *values.values(), *each]

        random.restore()
        with Sandbox() as undo, pyro.validation_enabled(False), torch.enable_grad():
            try:
                recording = record(joint, [*call.tensors, *moving.scalars(call)])
            finally:
                undo.restore()
        unused = [call.names()[i] for i, _ in enumerate(call.tensors) if not recording.used[i]]
        if unused:
            raise NotStageable(f"the program does not use {', '.join(unused)}")
        graph = Graph(recording, environment, moving, metrics, parameters)
        self._require_equal(expected, self._trial(graph, call, sandbox, random))
        self._compile(graph, call, sandbox, random)
        return graph

    def _environment(self, moving: FloatInputs) -> Environment:
        """The Python values that the function uses."""
        environment = Environment(self.roots, moving.places)
        store = pyro.get_param_store()
        stored = [name for p in self.trained.values() if (name := store.param_name(p))]
        if stored:
            environment.watch("parameter store", vars(store), ["_params"])
            environment.watch("parameter store", vars(store)["_params"], stored)
        return environment

    def _reference(
        self, call: Call, environment: Environment, random: RandomState
    ) -> tuple[Outcome, Sandbox]:
        """What a step results in eagerly, with everything it writes to put back."""
        with self._undone(environment, random) as sandbox:
            with sandbox:
                loss, metrics = self._run_eagerly(*call.arguments())
            outcome = self._outcome(call, loss, metrics, sandbox)
        return outcome, sandbox

    @contextmanager
    def _undone(self, environment: Environment, random: RandomState) -> Iterator[Sandbox]:
        """A context for a run in a sandbox, refused if it leaves behind what cannot be undone."""
        stored = dict(pyro.get_param_store().named_parameters())
        random.restore()
        yield Sandbox()
        now = vars(pyro.get_param_store())["_params"]
        replaced = [name for name, old in stored.items() if now.get(name) is not old]
        changed = environment.changes()
        now.update({name: stored[name] for name in replaced})
        environment.restore()
        if replaced:
            names = ", ".join(repr(name.removeprefix(BASELINE)) for name in replaced)
            raise NotStageable(f"the program keeps state in the parameter store, for {names}")
        if changed:
            raise NotStageable(f"the program changes {', '.join(changed)} each time it runs")
        foreign = random.foreign_drawn()
        if foreign is not None:
            raise NotStageable(f"the program draws from {foreign}, which a graph cannot")

    def _trial(
        self,
        graph: Graph,
        call: Call,
        sandbox: Sandbox,
        random: RandomState,
        run: backends.Run | None = None,
    ) -> Outcome:
        """What a step results in when the graph runs, with everything it writes to put back."""
        random.restore()
        loss, metrics = graph(call, run or graph.recorded)
        return self._outcome(call, loss, metrics, sandbox)

    def _outcome(self, call: Call, loss: Tensor, metrics: Metrics, sandbox: Sandbox) -> Outcome:
        written = [tensor.detach().clone() for tensor, _ in sandbox.written]
        sandbox.restore()
        gradients = {name: parameter.grad for name, parameter in self.trained.items()}
        return Outcome({"loss": loss, **metrics}, gradients, written)

    def _require_equal(self, expected: Outcome, found: Outcome) -> None:
        words = difference(expected, found)
        if words is not None:
            raise NotStageable(
                f"recorded, it gives another result than eagerly under the same seed: {words}; the "
                "program depends on something that is neither an argument nor a tensor it holds"
            )

    def _compile(self, graph: Graph, call: Call, sandbox: Sandbox, random: RandomState) -> None:
        """Compile the graph and compare, under several seeds should rounding decide a draw."""
        if self.backend == "eager":
            return
        inputs = graph.inputs(call)
        obstacle = torch_internals.why_not_compiled({tensor.device for tensor in inputs})
        if obstacle is None:
            try:
                with self.choice.compiling(self._given(call)):
                    run = backends.compiled(graph.recorded, inputs)
            except Exception as error:
                if self.staged is True:
                    raise StagingError(f"Inductor cannot compile this step: {error}") from error
                obstacle = f"Inductor failed with {type(error).__name__}: {error}"
        if obstacle is None:
            for seed in range(SEEDS):
                if seed:
                    torch.manual_seed(seed)
                    random = RandomState(tensor.device for tensor in inputs)
                expected = self._trial(graph, call, sandbox, random)
                obstacle = difference(expected, self._trial(graph, call, sandbox, random, run))
                if obstacle is None:
                    graph.run = run
                    return
            if backends.forget(run):  # another process had compiled it
                return self._compile(graph, call, sandbox, random)
            if self.staged is True:
                raise StagingError(f"compiled, this step gives another result: {obstacle}")
            obstacle = f"compiled, it gives another result: {obstacle}"
        self._note(call, f"uncompiled, since {obstacle}")
        self._warn(f"this step runs uncompiled: {obstacle}")


def _unvalidated() -> AbstractContextManager[Any]:
    """A context without Pyro's validation, which is switched off only where it is on."""
    switched_on = (part.is_validation_enabled() for part in (pyro.distributions, infer, poutine))
    return pyro.validation_enabled(False) if any(switched_on) else nullcontext()


def _unshared(
    gradients: Iterable[Tensor | None], others: Iterable[Tensor]
) -> Iterator[Tensor | None]:
    """Gradients that may be changed in place: none is a view of another or of an input."""
    dense = torch.ops.aten.is_non_overlapping_and_dense
    taken = {storage_of(tensor) for tensor in others}
    for gradient in gradients:
        if gradient is not None:
            if storage_of(gradient) in taken or not dense(gradient):
                gradient = gradient.clone(memory_format=torch.contiguous_format)
            taken.add(storage_of(gradient))
        yield gradient
