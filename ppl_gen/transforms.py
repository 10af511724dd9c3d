r"""Invertible maps of images, under which divergences stay what they are.

For an invertible T, the laws of T(x) are as far apart as those of x:
:math:`D_f(T_\# p, T_\# q) = D_f(p, q)`, and the optimal critic of T(x) at T(x) is that of x at x. A
map without an inverse can only bring laws together, so there is none here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from graphs.language.suggestions import suggesting
from ppl_gen._checks import is_whole

AXES = {"vertical": -2, "horizontal": -1}


class Rotation:
    """A rotation of square images ``(..., H, H)`` by quarter turns to the left.

    Args:
        turns: the number of quarter turns.

    Raises:
        ValueError: turns that are no whole number; when called, images that are not square.

    >>> x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    >>> ppl_gen.transforms.Rotation(1)(x)
    tensor([[[[2., 4.],
              [1., 3.]]]])
    >>> quarter = ppl_gen.transforms.Rotation(1)
    >>> quarter.inverse()(quarter(x)).equal(x)
    True
    """

    def __init__(self, turns: int):
        if not is_whole(turns):
            raise ValueError(f"expected a whole number of quarter turns, got {turns!r}")
        self.turns = turns % 4

    def __call__(self, x: Tensor) -> Tensor:
        if x.dim() < 2 or x.shape[-1] != x.shape[-2]:
            raise ValueError(f"expected square images (..., H, H) to rotate, got {tuple(x.shape)}")
        return x.rot90(self.turns, (-2, -1))

    def inverse(self) -> Rotation:
        """The rotation back."""
        return Rotation(-self.turns)

    def __repr__(self) -> str:
        return f"Rotation({self.turns})"


class Flip:
    """A reflection of images ``(..., H, W)``, its own inverse.

    Args:
        axis: ``"horizontal"`` exchanges left and right, ``"vertical"`` top and bottom.

    Raises:
        ValueError: another axis.

    >>> ppl_gen.transforms.Flip("horizontal")(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([[2., 1.],
            [4., 3.]])
    """

    def __init__(self, axis: str = "horizontal"):
        if axis not in AXES:
            raise ValueError(f"expected an axis among {', '.join(AXES)}, got {axis!r}")
        self.axis = axis

    def __call__(self, x: Tensor) -> Tensor:
        if x.dim() < 2:
            raise ValueError(f"expected images (..., H, W) to flip, got {tuple(x.shape)}")
        return x.flip(AXES[self.axis])

    def inverse(self) -> Flip:
        """The same reflection."""
        return self

    def __repr__(self) -> str:
        return f"Flip({self.axis!r})"


def rotations() -> list[Rotation]:
    """The rotations by 0, 90, 180 and 270 degrees, the identity first.

    >>> ppl_gen.transforms.rotations()
    [Rotation(0), Rotation(1), Rotation(2), Rotation(3)]
    """
    return [Rotation(turns) for turns in range(4)]


if not TYPE_CHECKING:
    __getattr__ = suggesting(__name__)
