r"""Exponential moving averages of parameters.

With decay d, the average after update n = 0, 1, … is

.. math::

    \bar\theta \leftarrow d_n \bar\theta + (1 - d_n) \theta, \qquad
    d_n = \min\Big(d, \frac{1 + n}{10 + n}\Big),

so that the first weights, which are random, are forgotten from the start.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor


class EMA:
    """Averages of parameters, which can be swapped with them.

    Args:
        parameters: whose averages to keep.
        decay: of the averages, in (0, 1).

    Attributes:
        updates: how many there have been.
    """

    def __init__(self, parameters: Sequence[Tensor], decay: float):
        self.parameters, self.decay, self.updates = list(parameters), decay, 0
        self.averages = [p.detach().clone() for p in self.parameters]

    def by_parameter(self) -> dict[Tensor, Tensor]:
        return dict(zip(self.parameters, self.averages, strict=True))

    def next_weight(self) -> float:
        """The weight of the parameters in the next update, which is counted as done."""
        warm = (1 + self.updates) / (10 + self.updates)
        self.updates += 1
        return 1 - min(self.decay, warm)

    @torch.no_grad()
    def update(self) -> None:
        torch._foreach_lerp_(self.averages, [p.data for p in self.parameters], self.next_weight())

    @torch.no_grad()
    def restart(self, updates: int) -> None:
        """Continue after some updates, the parameters being the averages for the moment."""
        torch._foreach_copy_(self.averages, [p.detach() for p in self.parameters])
        self.updates = updates

    @torch.no_grad()
    def swap(self) -> None:
        """Swap parameters and averages."""
        for p, average in zip(self.parameters, self.averages, strict=True):
            current = p.detach().clone()
            p.copy_(average)
            average.copy_(current)

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Temporarily swap parameters and averages."""
        self.swap()
        try:
            yield
        finally:
            self.swap()
