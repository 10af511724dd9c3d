"""Ways to run a recorded graph: operation by operation, or compiled by Inductor."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import torch
import torch._inductor
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
    On a CPU what calls the kernels is compiled too.
    """
    on_cpu = all(tensor.device.type == "cpu" for tensor in inputs)
    options = {"fallback_random": True, "cpp_wrapper": on_cpu}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside torch
        run: Run = torch._inductor.compile(module, list(inputs), options=options)
    return run
