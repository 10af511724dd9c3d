"""What compiled code depends on, as a key: equal keys mean that one compilation serves for both.

The key covers the graph with every literal and the contents of its constants; the inputs' types,
shapes, strides and shared memory; what the code generator is told; the versions of torch, Python
and the compiler; the processor, the number of threads and torch's switches; and the lines here that
decide how a graph is compiled.
"""

from __future__ import annotations

import functools
import hashlib
import operator
import os
import platform
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx

from ppl_gen.staging import torch_internals
from ppl_gen.staging.recording import LITERALS, storage_of

# Operations of other libraries may change while their names stay.
NAMESPACES = {"aten", "prims"}
SWITCHES = (
    "TORCH",
    "ATEN",
    "PYTORCH",
    "CXX",
    "CPATH",
    "CPLUS",
    "CFLAGS",
    "LDFLAGS",
    "LIBRARY_PATH",
)
PLACES = ("TORCHINDUCTOR_CACHE_DIR",)  # which torch sets itself, and which decides nothing
PROCESSOR = (
    "vendor_id",
    "cpu family",
    "model",
    "stepping",
    "cache size",
    "flags",
    "Features",
    "CPU",
)
SOURCES = ("backends.py", "code_keys.py", "torch_internals.py")


class NoKey(Exception):
    """Something has no name that means the same in another process."""


def graph_key(
    module: fx.GraphModule, inputs: Sequence[Tensor], options: Mapping[str, Any]
) -> str | None:
    """The key of a graph compiled for some inputs, or ``None`` where there is none.

    Args:
        module: the graph.
        inputs: examples of what it is called with.
        options: what the code generator is told.
    """
    try:
        graph = list(described_graph(module))
        settings = sorted(options.items())
        return _digest([graph, described_inputs(inputs), settings, surroundings()])
    except NoKey:
        return None


def source_key(source: str) -> str | None:
    """The key of the library compiled from some lines of C++, or ``None`` where there is none."""
    try:
        return _digest([source, surroundings()])
    except NoKey:
        return None


def _digest(parts: Iterable[Any]) -> str:
    return hashlib.sha256("\n".join(map(repr, parts)).encode()).hexdigest()


# --- Graphs and inputs ------------------------------------------------------------------------


def described_graph(module: fx.GraphModule) -> Iterator[str]:
    """A line for every node, in which nodes are called by their number."""
    numbers: dict[fx.Node, int] = {}
    for node in module.graph.nodes:
        given = _literal((node.args, node.kwargs), numbers)
        yield f"{node.op} {_target(node, module)} {given}"
        numbers[node] = len(numbers)


def _target(node: fx.Node, module: fx.GraphModule) -> str:
    if node.op in ("placeholder", "output"):
        return ""
    if node.op == "get_attr":
        return _constant(getattr(module, str(node.target)))
    if node.target is operator.getitem:
        return "getitem"
    namespace, schema = torch_internals.named_operation(node.target)
    if namespace not in NAMESPACES:
        raise NoKey(node.target)
    return schema


def _constant(tensor: Tensor) -> str:
    """A tensor with its contents."""
    if tensor.layout != torch.strided or tensor.device.type != "cpu":
        raise NoKey(tensor.layout)
    contents = tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return f"{_described(tensor)} {hashlib.sha256(contents).hexdigest()}"


def _literal(value: Any, numbers: Mapping[fx.Node, int]) -> str:
    if isinstance(value, fx.Node):
        return f"%{numbers[value]}"
    if isinstance(value, (tuple, list)):
        return f"{type(value).__name__}({', '.join(_literal(v, numbers) for v in value)})"
    if isinstance(value, dict):
        pairs = (f"{name}={_literal(v, numbers)}" for name, v in value.items())
        return f"dict({', '.join(pairs)})"
    if isinstance(value, slice):
        return f"slice{_literal((value.start, value.stop, value.step), numbers)}"
    if isinstance(value, LITERALS):
        return f"{type(value).__name__} {value!r}"
    raise NoKey(type(value))


def described_inputs(inputs: Sequence[Tensor]) -> list[str]:
    """The layouts of tensors, and which of them share memory."""
    first: dict[int, int] = {}
    return [
        f"{first.setdefault(storage_of(tensor), i)} {_described(tensor)}"
        for i, tensor in enumerate(inputs)
    ]


def _described(tensor: Tensor) -> str:
    if tensor.layout != torch.strided:
        raise NoKey(tensor.layout)
    place = tensor.shape, tensor.stride(), tensor.storage_offset(), tensor.device
    bits = tensor.requires_grad, tensor.is_conj(), tensor.is_neg()
    return f"{type(tensor).__qualname__} {tensor.dtype} {place} {bits}"


# --- What is outside of the graph ---------------------------------------------------------------


def surroundings() -> dict[str, Any]:
    """What beside a graph decides how it is compiled, by name."""
    configuration = torch_internals.changed_configuration()
    if configuration is None:
        raise NoKey("configuration")
    return {
        "torch": (torch.__version__, torch.version.git_version, torch.__config__.show()),
        "python": (sys.version, sysconfig.get_config_var("EXT_SUFFIX"), platform.libc_ver()),
        "compiler": torch_internals.compiler_version(),
        "processor": (torch.backends.cpu.get_cpu_capability(), _processor()),
        "threads": torch.get_num_threads(),
        "switches": _switches(),
        "configuration": configuration,
        "environment": [
            (name, value)
            for name, value in sorted(os.environ.items())
            if name.startswith(SWITCHES) and name not in PLACES
        ],
        "sources": _sources(),
    }


def _switches() -> list[Any]:
    return [
        torch.get_default_dtype(),
        torch.get_float32_matmul_precision(),
        (torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")),
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.mkldnn.enabled,
        torch.backends.mkldnn.is_available(),
        torch.backends.mkl.is_available(),
    ]


@functools.cache
def _processor() -> str:
    """Its model and what it can do."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    return "\n".join(line for line in lines if line.startswith(PROCESSOR))


@functools.cache
def _sources() -> str:
    folder = Path(__file__).parent
    return hashlib.sha256(b"".join((folder / name).read_bytes() for name in SOURCES)).hexdigest()
