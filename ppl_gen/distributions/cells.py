r"""Distributions over the cells of a table: columns of several kinds, and missing cells."""

from __future__ import annotations

from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

_NO_SHAPE = torch.Size()


class _Cell(constraints.Constraint):
    """Any number, or NaN for a missing one; what is inside a cell is its own law's business."""

    is_discrete = False
    event_dim = 0

    def check(self, value: Tensor) -> Tensor:
        return torch.ones_like(value, dtype=torch.bool)


class MissingCells(dist.TorchDistribution):
    r"""Independent cells, of which those that are NaN are missing.

    :math:`\log p(x) = \sum_{i : x_i \text{ known}} \log p_i(x_i)`, which is the marginal
    log-density of the known cells (Little and Rubin 2002, section 6.2). Draws are complete.

    Args:
        cells: the laws of all cells, of batch shape ``(..., *event)`` and no event shape.
        event_dim: how many of those dimensions are the event.
        fill: a value inside the support of every cell.

    >>> law = MissingCells(dist.Normal(torch.zeros(2), 1.0), 1)
    >>> law.log_prob(torch.tensor([0.0, torch.nan]))
    tensor(-0.9189)
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012
    support = _Cell()

    def __init__(self, cells: Distribution, event_dim: int, fill: float = 0.0):
        self.cells, self.fill = cells, fill
        split = len(cells.batch_shape) - event_dim
        super().__init__(cells.batch_shape[:split], cells.batch_shape[split:], validate_args=False)

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        return self.cells.has_rsample

    @property
    def mean(self) -> Tensor:
        return self.cells.mean

    @property
    def variance(self) -> Tensor:
        return self.cells.variance

    def expand(self, batch_shape: Any, _instance: Any = None) -> MissingCells:
        cells = self.cells.expand(torch.Size(batch_shape) + self.event_shape)
        return MissingCells(cells, len(self.event_shape), self.fill)

    def rsample(self, sample_shape: Any = _NO_SHAPE) -> Tensor:
        return self.cells.rsample(sample_shape)

    def sample(self, sample_shape: Any = _NO_SHAPE) -> Tensor:
        return self.cells.sample(sample_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        missing = value.isnan()
        found = self.cells.log_prob(value.masked_fill(missing, self.fill))
        found = found.masked_fill(missing, 0.0)
        return found.sum(tuple(range(-len(self.event_shape), 0)))


class MixedCells(dist.TorchDistribution):
    r"""The cells of a row, each of the kind of its column; batch shape ``(..., D)``.

    Args:
        kinds: by column ``"gaussian"``, ``"bernoulli"``, or the number ``K`` of categories, whose
            values are the codes 0 to K − 1.
        parameters: ``(..., P)``: by column a mean, a logit, or ``K`` logits, one after the other.
        scale: the standard deviations of the Gaussian columns, in their order.
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012
    support = _Cell()

    def __init__(self, kinds: tuple[str | int, ...], parameters: Tensor, scale: Tensor):
        self.kinds, self.parameters, self.scale = kinds, parameters, scale
        self._parts = parameters.split([num_parameters(kind) for kind in kinds], -1)
        super().__init__(parameters.shape[:-1] + (len(kinds),), validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> MixedCells:
        shape = torch.Size(batch_shape)[:-1] + self.parameters.shape[-1:]
        return MixedCells(self.kinds, self.parameters.expand(shape), self.scale)

    def _laws(self) -> list[Distribution]:
        """The law of every column, of batch shape ``(...)``."""
        scales = iter(self.scale.unbind())
        laws: list[Distribution] = []
        for kind, part in zip(self.kinds, self._parts, strict=True):
            if kind == "gaussian":
                law = dist.Normal(part[..., 0], next(scales), validate_args=False)
            elif kind == "bernoulli":
                law = dist.Bernoulli(logits=part[..., 0], validate_args=False)
            else:
                law = dist.Categorical(logits=part, validate_args=False)
            laws.append(law)
        return laws

    def log_prob(self, value: Tensor) -> Tensor:
        columns = zip(self._laws(), value.unbind(-1), strict=True)
        return torch.stack([law.log_prob(column) for law, column in columns], -1)

    def sample(self, sample_shape: Any = _NO_SHAPE) -> Tensor:
        drawn = [law.sample(sample_shape) for law in self._laws()]
        return torch.stack([column.to(self.parameters) for column in drawn], -1)

    @property
    def mean(self) -> Tensor:
        """Means, probabilities and, of a category, the code of the most probable."""
        columns = zip(self.kinds, self._parts, self._laws(), strict=True)
        found = [law.mean if isinstance(k, str) else p.argmax(-1) for k, p, law in columns]
        return torch.stack([column.to(self.parameters) for column in found], -1)


def num_parameters(kind: str | int) -> int:
    """How many numbers a decoder gives for a column of a kind."""
    return 1 if isinstance(kind, str) else kind
