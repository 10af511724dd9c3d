"""Several samples at once."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ppl_gen._checks import is_whole
from ppl_gen.critics.wrapper import Wrapper
from ppl_gen.networks import Shape


class Packed(Wrapper):
    """A critic of several samples at once, which sees their variety (Lin et al. 2018, PacGAN).

    Images are stacked along their channels, and rows are put one after the other. What is left
    over where the number of samples is no multiple is not looked at.

    Args:
        critic: of packs, samples of :func:`packed_shape`.
        size: the number of samples in a pack.

    Raises:
        ValueError: a size below one; when called, fewer samples than a pack.

    >>> shape = ppl_gen.critics.packed_shape((2,), 3)
    >>> packed = ppl_gen.critics.Packed(ppl_gen.networks.MLP([shape], [16], (1,)), 3)
    >>> packed(torch.zeros(7, 2)).shape
    torch.Size([2, 1])
    """

    joins = True

    def __init__(self, critic: nn.Module, size: int):
        super().__init__(critic)
        self.size = _pack_size(size)

    @property
    def fewest(self) -> int:
        return self.size * super().fewest

    def show(self, x: Tensor) -> Tensor:
        packs = len(x) // self.size
        if not packs:
            raise ValueError(
                f"expected samples for a pack of {self.size}, got {len(x)}: drop_last=True leaves "
                "short batches out"
            )
        shape = packed_shape(tuple(x.shape[1:]), self.size)
        return x[: packs * self.size].reshape(packs, *shape)


def packed_shape(data_shape: Shape, size: int) -> Shape:
    """The shape of a pack of so many samples.

    >>> ppl_gen.critics.packed_shape((3, 28, 28), 2)
    (6, 28, 28)
    """
    return (data_shape[0] * _pack_size(size), *data_shape[1:])


def _pack_size(size: Any) -> int:
    if not is_whole(size, 1):
        raise ValueError(f"expected one sample or more in a pack, got {size!r}")
    return int(size)
