r"""Exact denoisers: :math:`E[x_0 \mid x]` where the law of the data is known.

They teach and they are oracles: whatever a sampler or a loss does wrong with one of these is its
own fault.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.distributions as dist
from torch import Tensor

from ppl_gen.denoisers.base import DenoiserBase
from ppl_gen.denoisers.prediction import Prediction
from ppl_gen.noise import Level, Noise


class Gaussian(DenoiserBase):
    r"""Data :math:`\mathcal N(m, \operatorname{diag} \lambda)`:
    :math:`\hat x_0 = m + \frac{\alpha \lambda}{\alpha^2 \lambda + \sigma^2} (x - \alpha m)`.

    Predictions carry the exact mean squared error,
    :math:`\lambda \sigma^2 / (\alpha^2 \lambda + \sigma^2)` for each value.

    Args:
        noise: the schedule.
        mean: :math:`m`, of the shape of a datum.
        variance: :math:`\lambda`, of that shape or one for all.

    Raises:
        ValueError: a variance that is not positive or of another shape; a condition, of which
            this law has none.

    >>> data = ppl_gen.denoisers.Gaussian(ppl_gen.noise.Cosine(), torch.zeros(2), torch.ones(2))
    >>> u, x = torch.tensor(0.5), torch.tensor([[1.0, 2.0]])
    >>> torch.allclose(data(x, u).data, data.noise(u)[0].float() * x)
    True
    >>> data.marginal(u).log_prob(torch.zeros(1, 2))
    tensor([-1.8379])
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, noise: Noise, mean: Tensor, variance: Tensor | float):
        mean = _floats(mean)
        super().__init__(noise, tuple(mean.shape))
        variance = _as_like(variance, mean, "variances")
        inside = ((variance > 0) & variance.isfinite()).all()
        if (variance.dim() and variance.shape != mean.shape) or not bool(inside):
            raise ValueError(
                f"expected variances above 0 of shape {tuple(mean.shape)}, got {variance.tolist()}"
            )
        self.register_buffer("mean", mean.clone())
        self.register_buffer("variance", variance.expand(mean.shape).clone())

    def forward(self, x: Tensor, u: Tensor, y: Any = None) -> Prediction:
        _refuse_condition(y)
        _require_data(x, self.mean.shape)
        level = self.noise.level(u)
        at = level.like(x)
        share = self.variance / (at.alpha**2 * self.variance + at.sigma**2)
        data = self.mean + at.alpha * share * (x - at.alpha * self.mean)
        return Prediction("data", data, x, level, error=at.sigma**2 * share)

    def marginal(self, u: Tensor | float) -> dist.Distribution:
        """The law of noisy data at one time."""
        level = self.noise.level(u)
        sd = (level.alpha**2 * self.variance + level.sigma**2).sqrt()
        return dist.Independent(dist.Normal(level.alpha * self.mean, sd), self.mean.dim())


class Mixture(DenoiserBase):
    r"""Data from :math:`\sum_k w_k \mathcal N(m_k, S_k)`, conditional on the component or not.

    The law of noisy data is the mixture of :math:`\mathcal N(\alpha m_k, \alpha^2 S_k + \sigma^2
    I)`, so :math:`\hat x_0` averages the posterior means of the components by their
    responsibilities for :math:`x`. A condition ``y`` in 0 … K - 1 names a component, and K, the
    null condition of :class:`Guided`, none.

    Args:
        noise: the schedule.
        weights: :math:`w`, ``(K,)``, normalised here.
        means: :math:`m`, ``(K, D)``.
        covariances: :math:`S`, ``(K, D, D)``, or variances ``(K, D)``.

    Shapes: noisy data ``(B, D)``, labels ``(B,)``.

    Raises:
        ValueError: weights that are not positive, shapes that do not belong together, covariances
            that are not symmetric and positive definite, labels outside 0 … K.

    >>> noise, modes = ppl_gen.noise.Cosine(), torch.tensor([[-1.0], [1.0]])
    >>> data = ppl_gen.denoisers.Mixture(noise, torch.ones(2), modes, 0.01 * torch.ones(2, 1))
    >>> x, u = torch.zeros(3, 1), torch.tensor(0.5)
    >>> data(x, u, torch.tensor([0, 1, 2])).data.flatten().round(decimals=2) + 0.0
    tensor([-0.9900,  0.9900,  0.0000])
    """

    log_weights: Tensor
    means: Tensor
    spectra: Tensor
    axes: Tensor

    def __init__(self, noise: Noise, weights: Tensor, means: Tensor, covariances: Tensor):
        means = _floats(means)
        if means.dim() != 2 or not len(means):
            raise ValueError(f"expected means of shape (K, D), got {tuple(means.shape)}")
        super().__init__(noise, (means.shape[1],))
        self.num_classes = len(means)
        self.register_buffer("means", means.clone())
        self.register_buffer("log_weights", _log_weights(weights, means))
        spectra, axes = _principal(covariances, means)
        self.register_buffer("spectra", spectra)
        self.register_buffer("axes", axes)

    def forward(self, x: Tensor, u: Tensor, y: Any = None) -> Prediction:
        _require_data(x, self.means.shape[1:])
        level = self.noise.level(u)
        alpha, total = self._totals(level.like(x))
        centred = torch.einsum("bkd,kde->bke", x[:, None] - alpha * self.means, self.axes)
        shift = torch.einsum("bke,kde->bkd", alpha * self.spectra / total * centred, self.axes)
        shares = self._responsibilities(centred, total, y)
        data = (shares[..., None] * (self.means + shift)).sum(1)
        return Prediction("data", data, x, level)

    def _totals(self, level: Level) -> tuple[Tensor, Tensor]:
        alpha, sigma = (v[..., None] if v.dim() else v for v in (level.alpha, level.sigma))
        return alpha, alpha**2 * self.spectra + sigma**2

    def _responsibilities(self, centred: Tensor, total: Tensor, y: Any) -> Tensor:
        logits = self.log_weights - (centred**2 / total + total.log()).sum(-1) / 2
        if y is None:
            return logits.softmax(-1)
        y = self._require_labels(y, len(centred))[:, None]
        other = (y < self.num_classes) & (y != torch.arange(self.num_classes, device=y.device))
        return logits.masked_fill(other, -math.inf).softmax(-1)

    def _require_labels(self, y: Any, size: int) -> Tensor:
        labels = torch.as_tensor(y, device=self.means.device)
        inside = labels.shape == (size,) and not labels.is_floating_point()
        if not inside or not bool(((labels >= 0) & (labels <= self.num_classes)).all()):
            raise ValueError(
                f"expected {size} labels from 0 to {self.num_classes}, the last for any, got {y}"
            )
        return labels

    def marginal(self, u: Tensor | float) -> dist.Distribution:
        """The law of noisy data at one time."""
        level = self.noise.level(u)
        _, total = self._totals(level)
        covariance = torch.einsum("kde,ke,kfe->kdf", self.axes, total, self.axes)
        parts = dist.MultivariateNormal(level.alpha * self.means, covariance)
        return dist.MixtureSameFamily(dist.Categorical(logits=self.log_weights), parts)


def _floats(values: Any) -> Tensor:
    tensor = torch.as_tensor(values)
    if not tensor.is_floating_point() or not tensor.dim():
        raise ValueError(f"expected a tensor of floating-point means, got {values!r}")
    if not tensor.numel() or not bool(tensor.isfinite().all()):
        raise ValueError(f"expected finite means of at least one value, got {tensor.tolist()}")
    return tensor.detach()


def _as_like(values: Any, like: Tensor, what: str) -> Tensor:
    try:
        return torch.as_tensor(values, dtype=like.dtype, device=like.device)
    except (TypeError, ValueError) as error:
        raise ValueError(f"expected {what} as numbers, got {values!r}") from error


def _require_data(x: Tensor, shape: torch.Size) -> None:
    if x.shape[1:] != shape:
        raise ValueError(f"expected data of shape (B, {_listed(shape)}), got {tuple(x.shape)}")


def _listed(shape: torch.Size) -> str:
    return ", ".join(map(str, shape))


def _log_weights(weights: Any, means: Tensor) -> Tensor:
    found = _as_like(weights, means, "weights")
    if found.shape != (len(means),) or not bool(((found > 0) & found.isfinite()).all()):
        raise ValueError(f"expected {len(means)} weights above 0, got {found.tolist()}")
    return (found / found.sum()).log()


def _principal(covariances: Any, means: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues ``(K, D)`` and eigenvectors, the columns of ``(K, D, D)``."""
    found, (size, dim) = _as_like(covariances, means, "covariances"), means.shape
    full = found.diag_embed() if found.shape == (size, dim) else found
    if full.shape != (size, dim, dim) or not torch.allclose(full, full.mT):
        raise ValueError(
            f"expected symmetric covariances ({size}, {dim}, {dim}) or variances ({size}, {dim}), "
            f"got {tuple(found.shape)}"
        )
    spectra, axes = torch.linalg.eigh(full)
    if not bool((spectra > 0).all()):
        raise ValueError(f"expected positive definite covariances, got eigenvalues {spectra}")
    return spectra, axes


def _refuse_condition(y: Any) -> None:
    if y is not None:
        raise ValueError(f"expected no condition for a law that has none, got {y!r}")
