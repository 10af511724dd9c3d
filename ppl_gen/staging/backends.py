"""Ways to run a recorded graph: operation by operation, or compiled by Inductor."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, fx

from ppl_gen.staging import products
from ppl_gen.staging.loops import Kernel, Run

aten = torch.ops.aten

BACKENDS = ("inductor", "eager")


def obstacle(devices: set[torch.device]) -> str | None:
    """Why Inductor cannot compile for these devices, if it cannot."""
    from torch._inductor import cpp_builder, exc
    from torch.utils._triton import has_triton

    try:
        cpp_builder.get_cpp_compiler()
    except exc.InvalidCxxCompiler:
        return "no C++ compiler was found"
    if any(device.type != "cpu" for device in devices) and not has_triton():
        return "Triton is not installed"
    return None


def compiled(module: fx.GraphModule, inputs: Sequence[Tensor]) -> Run:
    """The graph compiled by Inductor, for inputs of these shapes.

    Random draws stay torch's own kernels: they give the same bits as eager execution and advance
    torch's global generators, which makes a compiled run reproducible from the generators' state.
    On a CPU what calls the kernels is compiled too, and is called without the layers that look
    after autograd and after results that share memory with inputs: there are none. Layouts are for
    the caller to check, as is that versions of tensors count what was written to them.
    """
    on_cpu = all(tensor.device.type == "cpu" for tensor in inputs)
    options = {
        "fallback_random": True,
        "cpp_wrapper": on_cpu,
        "size_asserts": False,
        "layout_optimization": not on_cpu,  # on a CPU the gradients of convolutions lose by it
    }
    kernels: list[Any] = []
    sizes = len(inputs), _output_count(module)
    with torch.no_grad(), warnings.catch_warnings(), _quiet("torch._inductor.ir"):
        warnings.simplefilter("ignore")  # deprecations inside torch
        from torch._inductor.compile_fx import compile_fx, compile_fx_inner
        from torch._inductor.decomposition import select_decomp_table

        def compile_inner(graph: fx.GraphModule, examples: Sequence[Any], **kwargs: Any) -> Any:
            made = compile_fx_inner(graph, examples, **kwargs)
            if (len(examples), _output_count(graph)) == sizes:
                kernels.append(made)
            return made

        own: dict[Any, Callable[..., Any]] = {
            aten.mm.default: products.mm,
            aten.addmm.default: products.addmm,
            aten.normal_functional.default: _normal,
        }
        run: Any = compile_fx(
            module,
            list(inputs),
            inner_compile=compile_inner,
            config_patches=options,
            decompositions={**select_decomp_table(), **own} if on_cpu else None,
        )
    if not on_cpu or len(kernels) != 1:
        return cast("Run", run)
    return Kernel(kernels[0].current_callable, sizes[1])


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Keep a logger from telling users which kernels are called in a slower way."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(max(level, logging.ERROR))
    try:
        yield
    finally:
        logger.setLevel(level)


def _normal(like: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Any = None) -> Tensor:
    """Draw standard normal numbers without copying what they replace; the same numbers."""
    if mean != 0 or std != 1 or generator is not None:
        return NotImplemented
    return aten.randn.default(like.shape, dtype=like.dtype, device=like.device)


def _output_count(module: fx.GraphModule) -> int:
    (results,) = next(iter(reversed(module.graph.nodes))).args
    return len(results)
