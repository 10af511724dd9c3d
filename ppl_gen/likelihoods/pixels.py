"""Likelihoods of pixels, and of other values on a grid or in a row."""

from __future__ import annotations

import math

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.functional import softplus

from ppl_gen._checks import is_positive, is_whole
from ppl_gen.distributions.grey_levels import GreyBernoulli, GreyCategorical, GreyLogistic
from ppl_gen.likelihoods.base import Likelihood


class Bernoulli(Likelihood):
    r"""Independent pixels :math:`x_i \sim \mathrm{Bernoulli}(\mathrm{sigmoid}(a_i))`.

    The log-likelihood is minus the binary cross-entropy summed over pixels. Grey pixels in [0, 1]
    are accepted as cross-entropy.

    >>> p = ppl_gen.likelihoods.Bernoulli()(torch.zeros(5, 1, 2, 2))
    >>> p.log_prob(torch.ones(5, 1, 2, 2)).exp()
    tensor([0.0625, 0.0625, 0.0625, 0.0625, 0.0625])
    """

    support = (0.0, 1.0)

    def forward(self, parameters: Tensor) -> Distribution:
        return GreyBernoulli(logits=parameters).to_event(self.event_dim)


class Gaussian(Likelihood):
    r"""Independent pixels :math:`x_i \sim N(\mu_i, \sigma^2)`.

    :math:`\log p(x \mid z) = -\|x - \mu\|^2 / 2\sigma^2 - \tfrac{D}{2} \log 2\pi\sigma^2`.

    Args:
        scale: :math:`\sigma`, in units of the pixels; its initial value when learned.
        learn: learn one :math:`\sigma` for all pixels by maximum likelihood (Rybkin et al. 2021).

    Raises:
        ValueError: a scale that is not positive.

    >>> p = ppl_gen.likelihoods.Gaussian(scale=0.5)(torch.zeros(5, 1, 2, 2))
    >>> p.event_shape, p.base_dist.scale.unique()
    (torch.Size([1, 2, 2]), tensor([0.5000]))
    """

    def __init__(self, scale: float = 0.1, learn: bool = False):
        super().__init__()
        if not is_positive(scale):
            raise ValueError(f"expected a positive scale, got {scale}")
        raw = torch.tensor(scale + math.log(-math.expm1(-scale)))
        if learn:
            self.raw_scale = nn.Parameter(raw)
        else:
            self.register_buffer("raw_scale", raw)

    @property
    def scale(self) -> Tensor:
        """The current standard deviation, a 0-d tensor."""
        return softplus(self.raw_scale)

    def forward(self, parameters: Tensor) -> Distribution:
        return dist.Normal(parameters, self.scale).to_event(self.event_dim)


class GaussianPerPixel(Likelihood):
    r"""Independent pixels :math:`x_i \sim N(\mu_i, \sigma_i^2)`, both from the decoder.

    Args:
        floor: the smallest :math:`\sigma_i`. Without one the likelihood is unbounded: pixels that
            are the same in all images would have a standard deviation of zero.

    Raises:
        ValueError: a floor that is not positive.

    >>> likelihood = ppl_gen.likelihoods.GaussianPerPixel()
    >>> likelihood.output_shape((1, 2, 2))
    (2, 2, 2)
    >>> likelihood(torch.zeros(5, 2, 2, 2)).event_shape
    torch.Size([1, 2, 2])
    """

    parameters_per_value = 2

    def __init__(self, floor: float = 0.01):
        super().__init__()
        if not is_positive(floor):
            raise ValueError(f"expected a positive floor, got {floor}")
        self.floor = floor

    def forward(self, parameters: Tensor) -> Distribution:
        loc, raw = parameters.chunk(2, -self.event_dim)
        return dist.Normal(loc, self.floor + softplus(raw)).to_event(self.event_dim)


class Categorical(Likelihood):
    r"""Independent pixels on ``L`` grey levels, :math:`P(x_i = \tfrac{k}{L - 1}) = \pi_{ik}`.

    The probabilities are a softmax of ``L`` numbers from the decoder (van den Oord, Kalchbrenner
    and Kavukcuoglu 2016, section 3.1). An image is scored at the nearest levels: log-likelihoods
    at different ``L`` do not compare.

    Args:
        levels: ``L``.

    Raises:
        ValueError: fewer than two levels.

    >>> likelihood = ppl_gen.likelihoods.Categorical(levels=4)
    >>> likelihood.output_shape((1, 2, 2))
    (4, 2, 2)
    >>> likelihood(torch.zeros(50, 4, 2, 2)).sample().unique()
    tensor([0.0000, 0.3333, 0.6667, 1.0000])
    """

    support = (0.0, 1.0)

    def __init__(self, levels: int = 16):
        super().__init__()
        self.levels = self.parameters_per_value = _require_levels(levels)

    def forward(self, parameters: Tensor) -> Distribution:
        first = -self.event_dim
        logits = parameters.unflatten(first, (self.levels, -1)).movedim(first - 1, -1)
        return GreyCategorical(logits=logits).to_event(self.event_dim)


class DiscretizedLogistic(Likelihood):
    r"""Independent pixels on ``L`` grey levels, a logistic density integrated around each.

    With :math:`\delta = 1/(L - 1)` and the logistic function F,
    :math:`P(x) = F((x + \delta/2 - \mu)/s) - F((x - \delta/2 - \mu)/s)`, and the first and the
    last level take the tails (Kingma et al. 2016, appendix C.2; Salimans et al. 2017). Mean and
    scale of each pixel are the decoder's. An image is scored at the nearest levels: log-likelihoods
    at different ``L`` do not compare.

    Args:
        levels: ``L``.
        floor: the smallest scale s, in units of the pixels.

    Raises:
        ValueError: fewer than two levels or a floor that is not positive.

    >>> p = ppl_gen.likelihoods.DiscretizedLogistic(levels=4)(torch.zeros(2, 1, 1))
    >>> levels = torch.arange(4.0).reshape(4, 1, 1, 1) / 3
    >>> round(p.log_prob(levels).exp().sum().item(), 4)
    1.0
    """

    parameters_per_value = 2
    support = (0.0, 1.0)

    def __init__(self, levels: int = 256, floor: float = 1e-3):
        super().__init__()
        if not is_positive(floor):
            raise ValueError(f"expected a positive floor, got {floor}")
        self.levels, self.floor = _require_levels(levels), floor

    def forward(self, parameters: Tensor) -> Distribution:
        loc, raw = parameters.chunk(2, -self.event_dim)
        return GreyLogistic(loc, self.floor + softplus(raw), self.levels).to_event(self.event_dim)


def _require_levels(levels: int) -> int:
    if not is_whole(levels, 2):
        raise ValueError(f"expected at least two grey levels, got {levels}")
    return levels
