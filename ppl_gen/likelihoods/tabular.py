"""Likelihoods of tables: columns of several kinds, and cells that are missing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.functional import softplus

from ppl_gen._checks import is_positive, is_whole
from ppl_gen.distributions.cells import MixedCells, num_parameters
from ppl_gen.likelihoods.base import Likelihood, Shape


class Mixed(Likelihood):
    r"""The columns of a table, each of a kind of its own: :math:`p(x|z) = \prod_d p_d(x_d|z)`.

    ``"gaussian"`` is :math:`N(\mu_d, \sigma_d^2)` with one learned :math:`\sigma_d` a column, one
    at first, for standardised columns; ``"bernoulli"`` has values 0 and 1; a number ``K`` is a
    categorical column of the codes 0 to K − 1. Encoders see categories as one-hot vectors.

    Args:
        kinds: the kinds of the ``D`` columns.
        floor: the smallest :math:`\sigma_d`. Without one the likelihood is unbounded: a column
            that is a function of the code would have a standard deviation of zero.

    Raises:
        ValueError: an unknown kind, fewer than two categories, or a floor that is not positive.

    >>> likelihood = ppl_gen.likelihoods.Mixed(["gaussian", "bernoulli", 3])
    >>> likelihood.output_shape((3,))
    (5,)
    >>> likelihood.features(torch.tensor([[0.5, 1.0, 2.0]]))
    tensor([[0.5000, 1.0000, 0.0000, 0.0000, 1.0000]])
    """

    def __init__(self, kinds: Sequence[str | int], floor: float = 0.01):
        super().__init__()
        if not is_positive(floor):
            raise ValueError(f"expected a positive floor, got {floor}")
        if isinstance(kinds, str) or not kinds or not all(map(_is_kind, kinds)):
            raise ValueError(
                "expected for every column 'gaussian', 'bernoulli' or a number of categories from "
                f"two, got {kinds!r}"
            )
        self.kinds, self.floor = tuple(kinds), floor
        count = sum(kind == "gaussian" for kind in kinds)
        self.raw_scale = nn.Parameter(torch.full((count,), math.log(math.expm1(1.0 - floor))))

    @property
    def scale(self) -> Tensor:
        """The current standard deviations of the Gaussian columns, in their order."""
        return self.floor + softplus(self.raw_scale)

    def serve(self, data_shape: Shape) -> None:
        if tuple(data_shape) != (len(self.kinds),):
            raise ValueError(
                f"expected data of shape ({len(self.kinds)},), one value a column, got {data_shape}"
            )
        super().serve(data_shape)

    def output_shape(self, data_shape: Shape) -> Shape:
        return (sum(map(num_parameters, self.kinds)),)

    def features(self, x: Tensor) -> Tensor:
        plain = [x[..., i] for i, kind in enumerate(self.kinds) if isinstance(kind, str)]
        parts = [torch.stack(plain, -1)] if plain else []
        for i, kind in enumerate(self.kinds):
            if isinstance(kind, int):
                codes = torch.arange(kind, device=x.device)
                parts.append((x[..., i, None] == codes).to(x))
        return torch.cat(parts, -1)

    def features_shape(self, data_shape: Shape) -> Shape:
        return self.output_shape(data_shape)

    def check(self, images: Tensor) -> None:
        super().check(images)
        for i, kind in enumerate(self.kinds):
            if kind == "gaussian":
                continue
            count = 2 if kind == "bernoulli" else int(kind)
            column = images[..., i]
            odd = (column != column.floor()) | (column < 0) | (column >= count)
            if odd.any():
                values = "0 or 1" if count == 2 else f"codes from 0 to {count - 1}"
                got = column[odd][0].item()
                raise ValueError(f"expected {values} in column {i}, got {got:g}")

    def forward(self, parameters: Tensor) -> Distribution:
        return MixedCells(self.kinds, parameters, self.scale).to_event(1)


def _is_kind(kind: Any) -> bool:
    return is_whole(kind, 2) or kind in ("gaussian", "bernoulli")
