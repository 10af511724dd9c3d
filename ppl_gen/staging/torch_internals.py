"""What is private to torch, in one place: Inductor's compiler and the handles of its code.

Each function works with the torch versions of ``setup.cfg``, and where its names are gone it says
so by its result, upon which callers do without: operation by operation, with MKL, or in Python.
"""

from __future__ import annotations

import ctypes
import importlib.util
import inspect
import logging
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, fx
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode

T = TypeVar("T")

ENTRY = "_Z19inductor_entry_implPP16AtenTensorOpaqueS1_"  # as g++ and clang spell it


def why_not_compiled(devices: set[torch.device]) -> str | None:
    """Why Inductor cannot compile for these devices, if it cannot."""
    # Inductor takes a second to import, which code that is kept does without.
    lean = devices == {torch.device("cpu")} and "torch._inductor" not in sys.modules
    if lean and compiler_version() is not None:
        return None
    from torch._inductor import cpp_builder, exc
    from torch.utils._triton import has_triton

    try:
        cpp_builder.get_cpp_compiler()
    except exc.InvalidCxxCompiler:
        return "no C++ compiler was found"
    if any(device.type != "cpu" for device in devices) and not has_triton():
        return "Triton is not installed"
    return None


def compiler_version() -> str | None:
    """What the C++ compiler says of itself, or ``None`` where there is none to ask."""
    config = sys.modules.get("torch._inductor.config")
    default = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    named = config.cpp.cxx if config is not None else default
    candidates = [named] if isinstance(named, str) else list(named)
    return next((found for c in candidates if c and (found := _version(c))), None)


@cache
def _version(compiler: str) -> str | None:
    place = shutil.which(compiler)
    if place is None:
        return None
    try:
        asked = subprocess.run([place, "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{os.path.realpath(place)} {asked.stdout}"


def changed_configuration() -> list[tuple[str, str, str]] | None:
    """What is set otherwise than by default in Inductor and around it, or ``None`` if unknown."""
    names = "torch._inductor.config", "torch._functorch.config", "torch._dynamo.config"
    try:
        return [
            (name, key, repr(value))
            for name in names
            if (module := sys.modules.get(name)) is not None
            for key, value in sorted(module.get_config_copy().items())
            if value != module._config[key].default
        ]
    except (AttributeError, KeyError):
        return None


aten = torch.ops.aten
MUL, NOT = aten.mul.Tensor, aten.logical_not.default
# Operations beside views whose results are read off their inputs at other places.
MOVING = {
    aten.flip,
    aten.roll,
    aten.index,
    aten.gather,
    aten.index_select,
    aten.embedding,
    aten.take_along_dim,
    aten.slice_scatter,
    aten.select_scatter,
    aten.diagonal_scatter,
    aten.as_strided_scatter,
    aten.cat,
    aten.constant_pad_nd,
    aten.repeat,
    torch.ops.prims.rev,
}


def named_operation(target: Any) -> tuple[str, str]:
    """The library of an operation and its schema with its name; empty where it is none."""
    known = isinstance(target, torch._ops.OpOverload)
    return (target.namespace, str(target._schema)) if known else ("", "")


def compile_graph(
    module: fx.GraphModule,
    inputs: Sequence[Tensor],
    options: Mapping[str, Any],
    decompositions: Mapping[Any, Callable[..., Any]] | None,
) -> tuple[Callable[..., Any], Callable[..., Any] | None]:
    """A graph compiled by Inductor, and what it calls inside where that is one kernel alone.

    Args:
        module: the graph.
        inputs: examples, whose shapes it is compiled for.
        options: patches of Inductor's configuration, as far as it has these.
        decompositions: replace Inductor's own, of the operations they name.
    """
    kernels: list[Any] = []
    sizes = len(inputs), output_count(module)
    with torch.no_grad(), warnings.catch_warnings(), _quiet("torch._inductor.ir"):
        warnings.simplefilter("ignore")  # deprecations inside torch
        from torch._inductor import config
        from torch._inductor.compile_fx import compile_fx, compile_fx_inner
        from torch._inductor.decomposition import select_decomp_table

        def compile_inner(graph: fx.GraphModule, examples: Sequence[Any], **kwargs: Any) -> Any:
            _read_before_writing(graph)
            made = compile_fx_inner(graph, examples, **kwargs)
            if (len(examples), output_count(graph)) == sizes:
                kernels.append(made)
            return made

        def compile_whole() -> Any:
            kernels.clear()
            return compile_fx(
                module,
                list(inputs),
                inner_compile=compile_inner,
                config_patches={k: v for k, v in options.items() if hasattr(config, k)},
                decompositions=table,
            )

        table = None if decompositions is None else {**select_decomp_table(), **decompositions}
        run = _trusting_the_processor(compile_whole)
    return run, kernels[0].current_callable if len(kernels) == 1 else None


def _read_before_writing(module: fx.GraphModule) -> None:
    """Have inputs read before they are written where a write would change what is read.

    The writes to inputs come last, in the order of the inputs, whatever order they had: what is
    written may be another input as it was, such as in a swap. And a kernel that writes an input may
    read it at other places than it has written, such as where rows are turned round in place.
    """
    writes = [node for node in module.graph.nodes if node.target is aten.copy_.default]
    written = {node.args[0] for node in writes}
    for write in writes:
        into, value, *how = write.args
        if isinstance(value, fx.Node) and (
            _viewed(value) in written or _reads_elsewhere(value, into)
        ):
            with module.graph.inserting_before(writes[0]):
                write.args = (into, _copied(module.graph, value), *how)
    module.recompile()


def _viewed(node: fx.Node) -> fx.Node:
    """The node whose memory a view is of, the node itself where it is none."""
    while isinstance(node.target, torch._ops.OpOverload) and node.target.is_view:
        node = node.args[0]  # type: ignore[assignment]
    return node


def _reads_elsewhere(value: fx.Node, into: Any) -> bool:
    """Whether one loop over a value's elements would read some of ``into`` at other places."""
    waiting, seen = [(value, False)], set[tuple[fx.Node, bool]]()
    while waiting:
        node, moved = waiting.pop()
        if node is into and moved:
            return True
        operation = node.target
        if (node, moved) in seen or not isinstance(operation, torch._ops.OpOverload):
            continue
        seen.add((node, moved))
        moves = operation.is_view or operation.overloadpacket in MOVING
        if moves or torch.Tag.pointwise in operation.tags:  # others are in memory before
            waiting += [(each, moved or moves) for each in node.all_input_nodes]
    return False


def _copied(graph: fx.Graph, value: fx.Node) -> fx.Node:
    """A value in memory of its own; a clone would be taken for one that changes nothing."""
    like, node = value.meta["val"], value
    for operation, *more in ((NOT,), (NOT,)) if like.dtype == torch.bool else ((MUL, 1),):
        node = graph.call_function(operation, (node, *more))
        node.meta["val"] = like.clone()
    how = {"dtype": like.dtype, "device": like.device}
    memory = graph.call_function(aten.empty.memory_format, (list(like.shape),), how)
    memory.meta["val"] = torch.empty_like(like, memory_format=torch.contiguous_format)
    filled = graph.call_function(aten.copy_.default, (memory, node))
    filled.meta["val"] = memory.meta["val"]
    return filled


def _trusting_the_processor(compiling: Callable[[], Any]) -> Any:
    """Compile for the vector instructions that the processor names, tried only if that fails.

    Before its first compilation Inductor builds and loads a program for each set of instructions,
    which takes as long as the rest. That a kernel is built, loaded and right shows the same.
    """
    from torch._inductor import config, cpu_vec_isa

    known = cpu_vec_isa.valid_vec_isa_list.cache_info().currsize
    if known or config.cpp.vec_isa_ok is not None:
        return compiling()
    try:
        with config.patch({"cpp.vec_isa_ok": True}):
            return compiling()
    except Exception:
        if not cpu_vec_isa.valid_vec_isa_list.cache_info().currsize:
            raise  # it failed before it came to these
        cpu_vec_isa.valid_vec_isa_list.cache_clear()
        for instructions in cpu_vec_isa.supported_vec_isa_list:
            getattr(type(instructions).__bool__, "cache_clear", lambda: None)()
        return compiling()


def output_count(module: fx.GraphModule) -> int:
    """How many results a graph returns."""
    (results,) = next(iter(reversed(module.graph.nodes))).args
    return len(results)


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Silence a logger that tells users which kernels are called in a slower way."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(max(level, logging.ERROR))
    try:
        yield
    finally:
        logger.setLevel(level)


# The variables of the Python function around a C++ wrapper that adds nothing to its arguments.
PLAIN = {"args", "input_tensors", "input_handles", "output_handles", "output_tensors"}


def library_of(call: Callable[..., Any]) -> Path | None:
    """The shared object behind a Python function of Inductor's C++ wrapper, or ``None``.

    ``None`` also where that function does more than to call it, such as to add tensors of its own.
    """
    try:
        f = inspect.getclosurevars(call).nonlocals["f"]
        plain = set(call.__code__.co_varnames) - {"arg"} == PLAIN
        return Path(f.__self__.__file__) if plain else None
    except (TypeError, KeyError, AttributeError):
        return None


def load_library(path: Path) -> Callable[[list[Tensor]], Sequence[Tensor | None]] | None:
    """What calls the graph in a shared object of Inductor's C++ wrapper, or ``None``."""
    variable = "_TORCHINDUCTOR_PYOBJECT_TENSOR_DATA_PTR"  # read when the library is loaded
    before = os.environ.get(variable)
    try:
        guards: Any = torch._C._dynamo.guards
        os.environ[variable] = str(guards._torchinductor_pyobject_tensor_data_ptr)
        spec: Any = importlib.util.spec_from_file_location(f"{path.stem}.inductor_entry_cpp", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        entry = module.inductor_entry_cpp
    except (ImportError, AttributeError, OSError):
        return None
    finally:
        if before is None:
            os.environ.pop(variable, None)
        else:
            os.environ[variable] = before

    def call(tensors: list[Tensor]) -> Sequence[Tensor | None]:
        handles = handles_of(tensors)
        tensors.clear()
        return tensors_of(entry(handles))

    return call


def entry_of(library: Path) -> Any:
    """The compiled function in a shared object of Inductor's C++ wrapper, or ``None``."""
    try:
        return ctypes.CDLL(str(library))[ENTRY]
    except (AttributeError, OSError):
        return None


def open_library(path: Path) -> ctypes.PyDLL | None:
    """A library that calls Python, or ``None``."""
    try:
        return ctypes.PyDLL(str(path))
    except OSError:
        return None


def compile_cpp(source: str) -> Path | None:
    """A library of C++ that calls compiled graphs, compiled, or ``None``."""
    try:
        from torch._inductor.codecache import CppCodeCache

        def load() -> Any:
            return CppCodeCache.load(source, device_type="cpu")

        return Path(_trusting_the_processor(load)._name)
    except Exception:
        return None


def handles_of(tensors: Sequence[Tensor]) -> Any:
    """Handles that compiled code uses up."""
    return torch._C._aoti.unsafe_alloc_void_ptrs_from_tensors(list(tensors))


def tensors_of(handles: Any) -> Sequence[Tensor]:
    """The tensors of handles that compiled code returned, which are used up."""
    return torch._C._aoti.alloc_tensors_by_stealing_from_void_ptrs(handles)


def without_compiler(*names: str) -> Callable[[type[T]], type[T]]:
    """A class whose methods of these names do without torch's compiler.

    Methods of torch's classes keep themselves out of ``torch.compile`` and import it for that,
    which takes two seconds, where fifty steps take a tenth.
    """

    def changed(kind: type[T]) -> type[T]:
        for name in names:
            setattr(kind, name, inspect.unwrap(getattr(kind, name)))
        return kind

    return changed


class LeanMode(TorchDispatchMode):
    """A mode that is kept out of ``torch.compile`` only where somebody has imported it.

    Derived classes define ``__torch_dispatch__``.
    """

    _kept_out: ClassVar[Callable[..., Any]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._kept_out = cls.__torch_dispatch__

    def __enter__(self) -> Any:
        kind, needed = type(self), "torch._dynamo" in sys.modules
        method = kind._kept_out if needed else inspect.unwrap(kind._kept_out)
        kind.__torch_dispatch__ = method  # type: ignore[method-assign]
        return super().__enter__()


def has_step_hooks(optimizer: Optimizer) -> bool:
    """Whether functions of its user's run around each step of an optimiser."""
    return bool(optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks)


def count_as_called(optimizer: Optimizer) -> None:
    """Keep a scheduler from warning that its optimiser has taken no step."""
    optimizer._opt_called = True  # type: ignore[attr-defined]
