"""A point posterior that declares losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyro.distributions as dist
from torch import Tensor


class DeltaWithLosses(dist.Delta):
    """The degenerate distribution at a value, with losses of the network that computed it.

    A guide adds them to the objective as factors of its own.

    Args:
        value: ``(*batch, *event)``.
        losses: by name, each of batch shape.
        event_dim: the dimensions of an event.
    """

    def __init__(self, value: Tensor, losses: Mapping[str, Tensor], event_dim: int = 0):
        super().__init__(value, event_dim=event_dim)
        self.losses = dict(losses)

    def expand(self, batch_shape: Any, _instance: Any = None) -> dist.Delta:
        """The point at every place, without the losses, which belong to the batch."""
        return dist.Delta(self.v, event_dim=self.event_dim).expand(batch_shape)
