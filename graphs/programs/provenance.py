r"""Which labels does each element of a tensor depend on?

A nonstandard interpretation of the program that is running (Wingate, Goodman, Stuhlmüller and
Siskind 2011): beside every storage lives one integer per element, which names a set of labels.

- Moving elements (``stack``, indexing by constants, writing into a slice) moves their labels.
- Arithmetic element by element gives each result the union of its operands' labels.
- Everything else gives every element of the result the union over all elements of all operands.
- What only borrows a shape (``zeros_like``) depends on nothing.

Views share storage, so they share labels, and an in-place write to a view is seen by all others.
A value that is turned into a Python number or a NumPy array leaves torch: what is computed from it
cannot be followed, and the :class:`Escape` says whose value it was and where it happened.

The interpretation sits below autograd, so it needs no tensor subclass and sees through scripted
code, custom autograd functions and ``out=`` arguments.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, TypeAlias

import pyro
import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

Labels: TypeAlias = frozenset[Hashable]
Ids: TypeAlias = "int | Tensor"  # one id for all elements, or one per element

_NOTHING: Labels = frozenset()
_MOST_ELEMENTS = 2**24  # of a storage whose elements are told apart


def _operators(names: str) -> frozenset[str]:
    return frozenset(f"aten::{name}" for name in names.split())


_SHAPE_ONLY = _operators(
    "zeros_like ones_like full_like empty_like rand_like randn_like randint_like "
    "new_zeros new_ones new_full new_empty new_empty_strided"
)
_MOVES = _operators(
    "cat stack index index_select gather embedding take where masked_fill masked_fill_ scatter "
    "scatter_ index_put index_put_ index_copy index_copy_ select_scatter slice_scatter "
    "constant_pad_nd repeat repeat_interleave flip roll tril triu diag_embed"
)
_SELECTORS = {"index", "indices", "mask", "condition", "repeats"}
_OVERWRITES = _operators(
    "copy_ fill_ zero_ normal_ uniform_ bernoulli_ exponential_ random_ cauchy_ log_normal_ "
    "geometric_"
)
_ELEMENTWISE = _OVERWRITES | _operators("_to_copy lift_fresh")
_UNDECLARED_WRITES = {  # running mean and variance
    "aten::native_batch_norm": (3, 4),
    "aten::cudnn_batch_norm": (3, 4),
    "aten::miopen_batch_norm": (3, 4),
}

_CONSTRUCTORS = {
    torch.tensor,
    torch.as_tensor,
    torch.asarray,
    Tensor.new_tensor,
    Tensor.__deepcopy__,
}
_READERS = {Tensor.item, Tensor.__bool__, Tensor.__int__, Tensor.__float__, Tensor.__index__} | {
    Tensor.tolist,
    Tensor.numpy,
    Tensor.__array__,
    Tensor.__dlpack__,
}
_TEXT = {Tensor.__format__, Tensor.__repr__}


@dataclass(frozen=True)
class Escape:
    """A value that left torch.

    Attributes:
        labels: what it depended on.
        how: the operation, such as ``__bool__`` or ``item``.
        place: the file and the line of the caller.
    """

    labels: Labels
    how: str
    place: str


@dataclass
class _Owner:
    """The labels of one storage, for all of it or for each element of ``itemsize`` bytes."""

    reference: StorageWeakRef | None  # keeps the storage's address from being used again
    itemsize: int
    ids: Ids


class Provenance:
    """A context in which torch operations carry labels from their operands to their results.

    ::

        with Provenance() as provenance:
            z = provenance.label(torch.randn(3), {"z"})
            x = torch.zeros(4)
            x[1:] = 2 * z
            provenance.labels(x[0]), provenance.labels(x[1])  # frozenset(), frozenset({'z'})

    In-place changes to tensors that existed before are undone on leaving; those to what was made
    inside stay, such as the first values of parameters that a module makes when it is first called.

    Attributes:
        escapes: every :class:`Escape`, in order.
    """

    def __init__(self) -> None:
        self.escapes: list[Escape] = []
        self._sets: list[Labels] = [_NOTHING]
        self._numbers: dict[Labels, int] = {_NOTHING: 0}
        self._owners: dict[int | None, _Owner] = {}
        self._read_numbers: set[int] = set()  # ids of the scalars read in the running function
        self._before: dict[int, tuple[torch.UntypedStorage, torch.UntypedStorage]] = {}
        self._made: dict[int, StorageWeakRef] = {}
        self._modes = ExitStack()
        self._paused = False

    def __enter__(self) -> Provenance:
        self._modes.enter_context(_Operations(self))
        self._modes.enter_context(_Functions(self))
        return self

    def __exit__(self, *error: Any) -> None:
        self._modes.__exit__(*error)
        for storage, content in self._before.values():
            if storage.nbytes() == content.nbytes():
                storage.copy_(content)
        self._before.clear()
        self._made.clear()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Operations in this context carry no labels."""
        before, self._paused = self._paused, True
        try:
            yield
        finally:
            self._paused = before

    def label(self, tensor: Tensor, labels: Iterable[Hashable]) -> Tensor:
        """A copy of the tensor that depends on exactly these labels."""
        with self.paused():
            copy = tensor.clone(memory_format=torch.contiguous_format)
            self._write(copy, self._number(labels))
        self._note([copy])
        return copy

    def rename(
        self, tensor: Tensor, labels: Iterable[Hashable], name: Hashable
    ) -> tuple[Tensor, bool]:
        """A copy whose elements depend on ``name`` alone where they did on exactly these labels.

        Returns:
            The copy, and whether that is so of all its elements.
        """
        with self.paused():
            old, new = self._number(labels), self._number({name})
            ids = torch.as_tensor(self._read(tensor), device="cpu")
            there = ids == old
            copy = tensor.clone(memory_format=torch.contiguous_format)
            self._write(
                copy, new if there.all() else torch.where(there, new, ids).expand(copy.shape)
            )
        return copy, bool(there.all())

    def mark(self, tensor: Tensor, labels: Iterable[Hashable]) -> None:
        """Add labels to the elements of the tensor itself, and so to all its views."""
        with self.paused():
            both = self._unite([self._read(tensor), self._number(labels)], tensor.shape)
            self._write(tensor, both)

    def labels(self, tree: Any) -> Labels:
        """The labels of all elements of all tensors in a tensor, sequence or dictionary."""
        with self.paused():
            return self._sets[self._merge(map(self._read, _tensors(tree)))]

    # --- Ids and where they live ------------------------------------------------------------------

    def _number(self, labels: Iterable[Hashable]) -> int:
        labels = frozenset(labels)
        if labels not in self._numbers:
            self._numbers[labels] = len(self._sets)
            self._sets.append(labels)
        return self._numbers[labels]

    def _merge(self, ids: Iterable[Ids]) -> int:
        """The union over all elements of all operands."""
        present: set[int] = set()
        for i in ids:
            present.update((i,) if isinstance(i, int) else i.unique().tolist())
        return self._number(_NOTHING.union(*(self._sets[i] for i in present)))

    def _unite(self, ids: Sequence[Ids], shape: torch.Size) -> Ids:
        """The union element by element, after broadcasting."""
        distinct = [i for i in ids if not isinstance(i, int)]
        constant = self._merge(i for i in ids if isinstance(i, int))
        if not distinct:
            return constant
        columns = torch.stack([i.broadcast_to(shape).reshape(-1) for i in distinct])
        kinds, inverse = columns.unique(dim=1, return_inverse=True)
        merged = [self._merge([constant, *kind]) for kind in kinds.T.tolist()]
        if len(set(merged)) == 1:
            return merged[0]
        return torch.tensor(merged, device="cpu")[inverse].reshape(shape)

    def _read(self, tensor: Tensor) -> Ids:
        owner = self._owners.get(_address(tensor))
        if owner is None:
            return 0
        if isinstance(owner.ids, int):
            return owner.ids
        last = sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
        inside = tensor.storage_offset() + last < len(owner.ids)
        if owner.itemsize != tensor.element_size() or not inside:
            return self._merge([owner.ids])
        return owner.ids.as_strided(tensor.size(), tensor.stride(), tensor.storage_offset())

    def _write(self, tensor: Tensor, ids: Ids) -> None:
        address = _address(tensor)
        owner = self._owners.get(address)
        if owner is None:
            if isinstance(ids, int) and ids == 0:
                return
            reference = None if address is None else StorageWeakRef(tensor.untyped_storage())
            owner = self._owners[address] = _Owner(reference, tensor.element_size(), 0)
        if address is None or owner.itemsize != tensor.element_size():
            owner.ids = self._merge([owner.ids, ids])
            return
        count = tensor.untyped_storage().nbytes() // owner.itemsize
        if tensor.numel() == count and tensor.is_contiguous() and isinstance(ids, int):
            owner.ids = ids
            return
        if count > _MOST_ELEMENTS or torch._debug_has_internal_overlap(tensor) == 1:
            owner.ids = self._merge([owner.ids, ids])
            return
        if isinstance(owner.ids, int) or len(owner.ids) != count:
            owner.ids = torch.full((count,), self._merge([owner.ids]), device="cpu")
        region = owner.ids.as_strided(tensor.size(), tensor.stride(), tensor.storage_offset())
        region.copy_(torch.as_tensor(ids))

    # --- One operation ----------------------------------------------------------------------------

    def operation(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Run one operator and carry the labels of its operands to its results."""
        inputs, written = _tensors((args, kwargs)), _written(func, args, kwargs)
        self._keep(written)
        labelled = any(_address(t) in self._owners for t in inputs)
        result = func(*args, **kwargs)
        known = {_address(t) for t in inputs}
        fresh = [t for t in _tensors(result) if _address(t) not in known]
        self._note(_tensors(result) if func._schema.name == "aten::lift_fresh" else fresh)
        if not labelled:
            return result
        if any(isinstance(leaf, (bool, int, float, complex)) for leaf in tree_leaves(result)):
            self._read_numbers.add(self._merge(map(self._read, inputs)))
        name = func._schema.name
        targets = [*written, *fresh]
        if name not in _SHAPE_ONLY:
            new = [(t, self._flow(func, args, kwargs, inputs, t, written)) for t in targets]
            for target, ids in new:
                self._write(target, ids)
        return result

    def _flow(
        self,
        func: Any,
        args: Sequence[Any],
        kwargs: dict[str, Any],
        inputs: Sequence[Tensor],
        target: Tensor,
        written: Sequence[Tensor],
    ) -> Ids:
        """The ids of one result."""
        name = func._schema.name
        forgotten = written if name in _OVERWRITES or "out" in func._overloadname else ()
        sources = [t for t in inputs if not any(t is f for f in forgotten)]
        if name in _MOVES and not forgotten:
            moved = self._move(func, args, kwargs)
            if moved is not None and moved.shape == target.shape:
                return self._unite([moved], target.shape)
        if torch.Tag.pointwise in func.tags or name in _ELEMENTWISE:
            with suppress(RuntimeError):  # shapes that do not broadcast
                return self._unite([self._read(t) for t in sources], target.shape)
        return self._merge(map(self._read, sources))

    def _move(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor | None:
        """The same movement of the ids, or ``None`` if which elements move depends on a label."""

        def ids(tensor: Tensor) -> Tensor:
            found = torch.as_tensor(self._read(tensor), device="cpu")
            return found.expand(tensor.shape).clone()

        def moved(parameter: Any, value: Any) -> Any:
            if parameter.name in _SELECTORS:
                return tree_map_only(Tensor, Tensor.cpu, value)
            if parameter.name == "value" and not isinstance(value, Tensor):
                return 0
            return tree_map_only(Tensor, ids, value)

        named = _named(func, args, kwargs)
        selectors = [value for parameter, value in named if parameter.name in _SELECTORS]
        options = {parameter.name: value for parameter, value in named}
        if self._merge(map(self._read, _tensors(selectors))):
            return None
        if options.get("accumulate") or options.get("reduce") is not None:
            return None
        places = [moved(parameter, value) for parameter, value in named[: len(args)]]
        keywords = {
            parameter.name: moved(parameter, value) for parameter, value in named[len(args) :]
        }
        return func(*places, **keywords)

    def _keep(self, written: Sequence[Tensor]) -> None:
        for tensor in written:
            address = _address(tensor)
            if address is not None and address not in self._before and address not in self._made:
                storage = tensor.untyped_storage()
                self._before[address] = storage, storage.clone()

    def _note(self, tensors: Iterable[Tensor]) -> None:
        """Remember that these were made in here; a reference keeps an address from other use."""
        for tensor in tensors:
            address = _address(tensor)
            if address is not None and address not in self._made:
                self._made[address] = StorageWeakRef(tensor.untyped_storage())

    # --- One call from Python ---------------------------------------------------------------------

    def function(
        self, func: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]
    ) -> Any:
        """Call one function of torch; note the numbers it reads from labelled tensors."""
        outer, self._read_numbers = self._read_numbers, set()
        result = func(*args, **kwargs)
        read, self._read_numbers = self._read_numbers, outer
        with self.paused():
            opaque = func in _CONSTRUCTORS or func in _READERS
            if not (read or opaque) or func in _TEXT:
                return result
            ids = self._merge([*read, *map(self._read, _tensors((args, kwargs)))])
            if ids == 0:
                return result
            return self._numbers_became(result, ids, func, args)

    def _numbers_became(
        self, result: Any, ids: int, func: Callable[..., Any], args: Sequence[Any]
    ) -> Any:
        """Label what a function computed from numbers it read, or report that they left torch."""
        if result is None or (args and result is args[0]):  # in place, as in x[i] = v
            for tensor in _tensors(args[:1]):
                self.mark(tensor, self._sets[ids])
            return result
        if _tensors(result):
            return tree_map_only(Tensor, lambda t: self.label(t, self._sets[ids]), result)
        place = _caller()
        if place is not None:
            name = getattr(func, "__name__", str(func))
            self.escapes.append(Escape(self._sets[ids], name, place))
        return result


class _Operations(TorchDispatchMode):
    def __init__(self, provenance: Provenance):
        super().__init__()
        self.provenance = provenance

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if self.provenance._paused:
            return func(*args, **kwargs or {})
        return self.provenance.operation(func, args, kwargs or {})

    def __enter__(self) -> _Operations:
        # torch wraps the method to keep torch.compile out of it, and imports that: two seconds.
        needed = "torch._dynamo" in sys.modules
        _Operations.__torch_dispatch__ = _KEPT_OUT if needed else inspect.unwrap(_KEPT_OUT)  # type: ignore[method-assign]
        return super().__enter__()


_KEPT_OUT = _Operations.__torch_dispatch__


class _Functions(TorchFunctionMode):
    def __init__(self, provenance: Provenance):
        super().__init__()
        self.provenance = provenance

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if self.provenance._paused:
            return func(*args, **kwargs or {})
        return self.provenance.function(func, args, kwargs or {})


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _address(tensor: Tensor) -> int | None:
    """What tells storages apart; ``None`` for tensors that have none, such as sparse ones."""
    try:
        return tensor.untyped_storage()._cdata
    except (NotImplementedError, RuntimeError):
        return None


def _named(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> list[tuple[Any, Any]]:
    """Each argument that was given, with its parameter in the operator's schema."""
    parameters = func._schema.arguments
    positional = list(zip(parameters, args, strict=False))
    return positional + [(p, kwargs[p.name]) for p in parameters if p.name in kwargs]


def _written(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Tensor]:
    """The tensors an operator changes in place."""
    undeclared = _UNDECLARED_WRITES.get(func._schema.name, ())
    if not func._schema.is_mutable and not undeclared:
        return []
    declared = [
        value
        for parameter, value in _named(func, args, kwargs)
        if parameter.alias_info is not None and parameter.alias_info.is_write
    ]
    return _tensors([*declared, *(args[i] for i in undeclared if i < len(args))])


_TORCH = Path(torch.__file__).parent
_LIBRARY = (str(_TORCH / "distributions"), str(Path(pyro.__file__).parent))


def _caller() -> str | None:
    """File and line outside torch, or ``None`` inside a library of distributions."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(_LIBRARY):
            return None
        if name != __file__ and not name.startswith(str(_TORCH)):
            if Path(name).parent.name.startswith("ipykernel_"):  # a file that nobody wrote
                return f"line {frame.f_lineno} of a cell"
            return f"{Path(name).name}:{frame.f_lineno}"
        frame = frame.f_back
    return None
