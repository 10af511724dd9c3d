"""Ways to run a recorded graph: operation by operation, or compiled by Inductor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, fx

from ppl_gen.staging import matmul
from ppl_gen.staging.cpp_loop import Kernel, Run
from ppl_gen.staging.torch_internals import compile_graph, output_count

aten = torch.ops.aten

BACKENDS = ("inductor", "eager")


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
    own: dict[Any, Callable[..., Any]] = {
        aten.mm.default: matmul.mm,
        aten.addmm.default: matmul.addmm,
        aten.normal_functional.default: _normal,
    }
    run, inner = compile_graph(module, inputs, options, own if on_cpu else None)
    return Kernel(inner, output_count(module)) if on_cpu and inner else cast("Run", run)


def _normal(like: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Any = None) -> Tensor:
    """Draw standard normal numbers without copying what they replace; the same numbers."""
    if mean != 0 or std != 1 or generator is not None:
        return NotImplemented
    return aten.randn.default(like.shape, dtype=like.dtype, device=like.device)
