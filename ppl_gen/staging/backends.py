"""Ways to run a recorded graph: operation by operation, or compiled by Inductor."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, fx

from ppl_gen.staging import code_keys, kept_code
from ppl_gen.staging.cpp_loop import Kernel, Run
from ppl_gen.staging.torch_internals import (
    compile_graph,
    library_of,
    load_library,
    output_count,
)

aten = torch.ops.aten

BACKENDS = ("inductor", "eager")
_PRECOMPILE = "TORCHINDUCTOR_CPP_CACHE_PRECOMPILE_HEADERS"


def compiled(module: fx.GraphModule, inputs: Sequence[Tensor]) -> Run:
    """The graph compiled by Inductor, for inputs of these shapes.

    Random draws stay torch's own kernels: they give the same bits as eager execution and advance
    torch's global generators, which makes a compiled run reproducible from the generators' state.
    On a CPU what calls the kernels is compiled too, and is called without the layers that look
    after autograd and after results that share memory with inputs: there are none. Layouts are for
    the caller to check, as is that versions of tensors count what was written to them. That code is
    kept for other processes (:mod:`ppl_gen.staging.kept_code`), and taken from there.
    """
    on_cpu = all(tensor.device.type == "cpu" for tensor in inputs)
    options = {
        "fallback_random": True,
        "cpp_wrapper": on_cpu,
        "size_asserts": False,
        # Takes longer than two compilations save, so it is for those who ask torch for it.
        "cpp_cache_precompile_headers": os.environ.get(_PRECOMPILE) == "1",
        "aot_inductor.enable_line_tables": False,  # for profilers; a tenth of a compilation
        "aot_inductor.enable_frame_pointer": False,
        "layout_optimization": not on_cpu,  # on a CPU the gradients of convolutions lose by it
    }
    if not on_cpu:
        return cast("Run", compile_graph(module, inputs, options, None)[0])
    module, constants = with_constants_given(module)
    inputs = [*inputs, *constants]
    key = code_keys.graph_key(module, inputs, options)
    run = (key and _found(key, output_count(module))) or _made(module, inputs, options, key)
    if isinstance(run, Kernel):
        run.constants = constants
        return run
    return (lambda *given: run(*given, *constants)) if constants else run


def with_constants_given(module: fx.GraphModule) -> tuple[fx.GraphModule, list[Tensor]]:
    """The graph with its constants as further inputs, and these.

    Inductor makes them inputs itself, in a way that leaves no kernel to be called alone.
    """
    held = [node for node in module.graph.nodes if node.op == "get_attr"]
    given = [node for node in module.graph.nodes if node.op == "placeholder"]
    graph, copies = fx.Graph(), dict[fx.Node, fx.Node]()
    for node in [*given, *held]:
        copies[node] = graph.placeholder(node.name)
    for node in module.graph.nodes:
        if node not in copies:
            copies[node] = graph.node_copy(node, copies.__getitem__)
    constants = [getattr(module, str(node.target)) for node in held]
    return (fx.GraphModule(torch.nn.Module(), graph), constants) if held else (module, [])


def forget(run: Run) -> bool:
    """Remove code from those kept, as it gave a wrong result.

    Returns:
        Whether the code came from there, so that compiling it again may help.
    """
    if not isinstance(run, Kernel) or run.key is None:
        return False
    kept_code.forget(run.key)
    _wrong.add(run.key)
    return run.kept


_wrong: set[str] = set()  # keys whose code this process compiles, whether it is kept or not


def _found(key: str, outputs: int) -> Kernel | None:
    """The kernel kept under a key."""
    library = None if key in _wrong else kept_code.find(key)
    call = library and load_library(library)
    return Kernel(call, outputs, library, key, kept=True) if call else None


def _made(
    module: fx.GraphModule, inputs: Sequence[Tensor], options: Mapping[str, Any], key: str | None
) -> Run:
    """The graph compiled, and kept under a key."""
    own: dict[Any, Callable[..., Any]] = {
        aten.addmm.default: _addmm,
        aten.normal_functional.default: _normal,
    }
    run, inner = compile_graph(module, inputs, options, own)
    if inner is None:
        return cast("Run", run)
    library = library_of(inner)
    if key and library:
        kept_code.keep(key, library)
    return Kernel(inner, output_count(module), library, key)


def _addmm(bias: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """Leave the bias to the kernel that reads the product; the same bits.

    Inductor would copy the bias before, and make a sum into ``addmm`` again.
    """
    if beta != 1 or alpha != 1:
        return NotImplemented
    return aten.sub.Tensor(aten.mm.default(a, b), aten.neg.default(bias))


def _normal(like: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Any = None) -> Tensor:
    """Draw standard normal numbers without copying what they replace; the same numbers."""
    if mean != 0 or std != 1 or generator is not None:
        return NotImplemented
    return aten.randn.default(like.shape, dtype=like.dtype, device=like.device)
