"""Large matrix products by oneDNN in compiled graphs, where Inductor would call MKL.

On the x86 processors at hand oneDNN's kernels for single precision take 5 to 15 % less time once a
product has some ten million multiplications; below that MKL's smaller overhead counts for more.
Inductor knows oneDNN's kernel, but uses it for constant weights only.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from ppl_gen.staging.torch_internals import lower_to_onednn

LARGE = 2**24  # multiplications
aten = torch.ops.aten


def mm(a: Tensor, b: Tensor) -> Tensor:
    """A decomposition of ``aten.mm``: the product by oneDNN where that pays."""
    sizes = *a.shape, b.shape[1]
    large = all(isinstance(size, int) for size in sizes) and sizes[0] * sizes[1] * sizes[2] >= LARGE
    if not large or a.dtype != torch.float32 or not _available():
        return NotImplemented
    return torch.ops.ppl_gen.product.default(a, b, not b.is_contiguous())


def addmm(bias: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """A decomposition of ``aten.addmm`` that leaves the bias to the kernel that reads the product.

    Inductor would copy the bias before, and make a sum into ``addmm`` again. The same bits.
    """
    if beta != 1 or alpha != 1:
        return NotImplemented
    return aten.sub.Tensor(aten.mm.default(a, b), aten.neg.default(bias))


@cache
def _available() -> bool:
    """Define the operation and what Inductor makes of it, where torch has both libraries."""
    if not (torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()):
        return False

    @torch.library.custom_op("ppl_gen::product", mutates_args=())
    def product(a: Tensor, b: Tensor, transposed: bool) -> Tensor:
        return torch.mm(a, b)

    @product.register_fake
    def _(a: Tensor, b: Tensor, transposed: bool) -> Tensor:
        return a.new_empty(a.shape[0], b.shape[1])

    return lower_to_onednn(torch.ops.ppl_gen.product.default)
