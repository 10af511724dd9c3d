"""Likelihoods of data with missing values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from ppl_gen.distributions.cells import MissingCells
from ppl_gen.likelihoods.base import Likelihood, Shape
from ppl_gen.likelihoods.by_name import make
from ppl_gen.likelihoods.tabular import Mixed


class Masked(Likelihood):
    r"""A likelihood that leaves missing values, NaN, out of the product of all.

    :math:`\log p(x \mid z) = \sum_{i \text{ known}} \log p(x_i \mid z)`: the bound is one on the
    evidence of what is known, as if the rest had been integrated out, which is right where values
    are missing at random (Little and Rubin 2002; Nazábal et al. 2020). Encoders see zeros for
    missing values and, beside the data, which are known.

    Args:
        likelihood: of complete data, independent over its values; a likelihood or its name.
        show_mask: whether encoders see which values are known.

    Raises:
        ValueError: a likelihood whose values are not independent, on use.

    >>> vae = ppl_gen.zoo.vae((13,), 2, likelihood=ppl_gen.likelihoods.Masked("gaussian"), hidden=8)
    >>> x = torch.zeros(5, 13).index_fill(1, torch.tensor([3, 4]), torch.nan)
    >>> ppl_gen.embed(vae, x).shape
    (5, 2)
    """

    missing = True

    def __init__(self, likelihood: str | Sequence[str | int] | Likelihood, show_mask: bool = True):
        super().__init__()
        self.complete, self.show_mask = make(likelihood), show_mask
        low, high = self.complete.support
        self.support, self.fill = (low, high), min(max(0.0, low), high)

    @property
    def kind(self) -> str:
        return f"Masked({self.complete.kind})"

    def serve(self, data_shape: Shape) -> None:
        super().serve(data_shape)
        self.complete.serve(data_shape)

    def output_shape(self, data_shape: Shape) -> Shape:
        return self.complete.output_shape(data_shape)

    def features(self, x: Tensor) -> Tensor:
        seen = self.complete.features(x).nan_to_num(nan=0.0)
        return torch.cat([seen, (~x.isnan()).to(x)], -self.event_dim) if self.show_mask else seen

    def features_shape(self, data_shape: Shape) -> Shape:
        first, *rest = self.complete.features_shape(data_shape)
        return (first + data_shape[0] if self.show_mask else first, *rest)

    def check(self, images: Tensor) -> None:
        self.complete.check(images.masked_fill(images.isnan(), self.fill))

    def mean_image(self, distribution: Distribution) -> Tensor:
        return self.complete.mean_image(distribution)

    def forward(self, parameters: Tensor) -> Distribution:
        law: Any = self.complete(parameters)
        if getattr(law, "reinterpreted_batch_ndims", 0) != self.event_dim:
            raise ValueError(
                "expected a likelihood of independent values to leave some out, got "
                f"{type(self.complete).__name__}"
            )
        return MissingCells(law.base_dist, self.event_dim, self.fill)


def serving(
    likelihood: str | Sequence[str | int] | Likelihood, data_shape: Shape, *, show_mask: bool = True
) -> Likelihood:
    """The likelihood of data of a shape; see :func:`make`.

    Of tables, data of one dimension, a likelihood that is not an object is :class:`Masked`.

    Args:
        likelihood: a likelihood, its name, or the kinds of columns.
        data_shape: of one datum.
        show_mask: whether encoders see which values of a :class:`Mixed` table are known.

    >>> ppl_gen.likelihoods.serving("gaussian", (1, 8, 8)).kind
    'Gaussian'
    >>> ppl_gen.likelihoods.serving("gaussian", (13,)).kind
    'Masked(Gaussian)'
    """
    made = make(likelihood)
    if made is not likelihood and len(data_shape) == 1:
        made = Masked(made, show_mask and isinstance(made, Mixed))
    made.serve(data_shape)
    return made
