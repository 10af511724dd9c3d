r"""Missing cells drawn from their posterior predictive distribution, given the known ones.

.. math::

    p(x_{miss} \mid x_{obs}) = \int p(x_{miss} \mid z)\, p(z \mid x_{obs})\, dz,
    \qquad w_k \propto \frac{p(x_{obs} \mid z_k)\, p(z_k)}{q(z_k \mid x_{obs})}, \quad
    z_k \sim q(z \mid x_{obs}).

A code is resampled from the :math:`z_k` by its weight, and the missing cells drawn given it: the
encoder is a proposal, whose errors the weights correct (Rezende et al. 2014; Mattei and Frellsen
2019).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ppl_gen.evaluation.batched import (
    evaluation,
    images_and_labels,
    require_counts,
    require_density,
    terms_of,
)
from ppl_gen.models.vae import VAE

_CELLS = 4_000_000  # numbers in the largest tensor held at once


def impute(
    vae: VAE,
    data: Any,
    draws: int = 20,
    *,
    importance: int = 500,
    labels: Any = None,
    seed: int = 0,
) -> Tensor:
    """Complete data with draws of what is missing, ``(draws, N, *data_shape)``.

    Draws of a row are of its missing cells together, so that they have their dependence; known
    cells stay as they are. As ``importance`` grows the draws tend to the exact posterior
    predictive distribution of the model; their quantiles are intervals for the cells.

    Args:
        vae: a model that takes NaN for missing, as those with kinds of columns do.
        data: ``(N, *data_shape)``, a :class:`ppl_gen.data.Table`, or what else
            :func:`ppl_gen.fit` takes.
        draws: how many.
        importance: proposals per row, of which the draws are resampled.
        labels: the condition of a conditional model, where it is not part of the data.
        seed: of the draws.

    Raises:
        ValueError: data the model cannot be given, a likelihood that takes no missing values, no
            draws or proposals, a point posterior, or a row to which no proposal gives a density.

    >>> vae = ppl_gen.zoo.vae((3,), 2, likelihood=("gaussian", "bernoulli", 4), hidden=8)
    >>> full = ppl_gen.impute(vae, [[0.5, None, 2.0], [None, 1.0, None]], draws=8)
    >>> full.shape
    torch.Size([8, 2, 3])
    >>> full[:, 0, 2].unique()
    tensor([2.])
    """
    x, y = images_and_labels(vae, data, labels)
    require_counts(draw=draws, proposal=importance)
    if not vae.likelihood.missing:
        raise ValueError(
            "expected a likelihood that takes missing values, such as likelihoods.Masked, got "
            f"{vae.likelihood.kind}"
        )
    found = x.expand(draws, *x.shape).clone()
    rows = x.isnan().flatten(1).any(1).nonzero()[:, 0]
    width = max(importance, draws) * math.prod(vae.data_shape)
    with evaluation(vae, seed):
        for part in rows.split(max(1, _CELLS // width)):
            codes = _resampled(vae, x, y, part, draws, importance)
            drawn = vae.decode(codes, None if y is None else y[part]).sample()
            found[:, part] = torch.where(x[part].isnan(), drawn.to(x), x[part])
    return found


def _resampled(
    vae: VAE, x: Tensor, y: Tensor | None, rows: Tensor, draws: int, importance: int
) -> Tensor:
    """Codes that the decoder reads, ``(draws, B, ...)``, resampled from those of the encoder."""
    chunk = max(1, _CELLS // (len(rows) * math.prod(vae.data_shape)))
    sizes = [min(chunk, importance - start) for start in range(0, importance, chunk)]
    weights, codes = [], []
    for size in sizes:
        t = terms_of(vae, x[rows], None if y is None else y[rows], size)
        require_density(t)
        weights.append(t.log_weight())
        codes.append(t.values[vae.latents[-1].name])
    log_weight, code = torch.cat(weights).double(), torch.cat(codes)
    usable = log_weight.amax(0).isfinite() & ~log_weight.isnan().any(0)
    if not usable.all():
        row = int(rows[~usable][0])
        raise ValueError(
            f"expected a row to which the model gives a density, got none at any proposal for {row}"
        )
    chosen = torch.multinomial(log_weight.softmax(0).T, draws, replacement=True).T
    return code[chosen, torch.arange(len(rows), device=code.device)]
