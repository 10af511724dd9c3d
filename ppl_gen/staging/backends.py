"""Ways to run a recorded graph: operation by operation, or compiled by Inductor."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, fx

Run = Callable[..., Sequence[Tensor | None]]

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
    options = {"fallback_random": True, "cpp_wrapper": on_cpu, "size_asserts": False}
    kernels: list[Callable[[list[Tensor]], Sequence[Tensor | None]]] = []
    sizes = len(inputs), _output_count(module)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside torch
        from torch._inductor.compile_fx import compile_fx, compile_fx_inner

        def compile_inner(graph: fx.GraphModule, examples: Sequence[Any], **kwargs: Any) -> Any:
            made = compile_fx_inner(graph, examples, **kwargs)
            if (len(examples), _output_count(graph)) == sizes:
                kernels.append(made)
            return made

        run: Any = compile_fx(
            module, list(inputs), inner_compile=compile_inner, config_patches=options
        )
    if not on_cpu or len(kernels) != 1:
        return cast("Run", run)
    (kernel,) = kernels
    return lambda *given: kernel(list(given))


def _output_count(module: fx.GraphModule) -> int:
    (results,) = next(iter(reversed(module.graph.nodes))).args
    return len(results)
