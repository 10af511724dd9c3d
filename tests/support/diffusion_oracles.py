"""A diffusion of Gaussian data, whose bound is known in closed form."""

import math

import torch

from ppl_gen.denoisers import Gaussian
from ppl_gen.noise import VariancePreserving, posterior, transition, uniform

DOUBLE = torch.float64


class Ladder(VariancePreserving):
    """Four steps with variances .05, .2, .4 and .6."""

    def __init__(self):
        super().__init__()
        kept = (1 - torch.tensor([0.05, 0.2, 0.4, 0.6], dtype=DOUBLE)).cumprod(0)
        self.log_snrs = torch.cat([torch.tensor([math.inf], dtype=DOUBLE), kept.logit()])

    def curve(self, u):
        return self.log_snrs[(4 * u).round().long()]


def gaussian(noise):
    mean = torch.tensor([0.7, -0.3], dtype=DOUBLE)
    return Gaussian(noise, mean, torch.tensor([0.25, 2.0], dtype=DOUBLE))


def data_of(law, size):
    torch.manual_seed(0)
    return law.mean + law.variance.sqrt() * torch.randn(size, *law.mean.shape, dtype=DOUBLE)


def closed_form(law, noise, steps, variance):
    """The expected bound of Gaussian data under the exact denoiser, in scalars."""
    table = uniform(noise, steps)
    last, scale = table[-1], noise.prior_scale(table[-1])
    start = (last.sigma**2 + last.alpha**2 * (law.variance + law.mean**2)) / scale**2
    total = (start - 1 - 2 * (last.sigma / scale).log()).sum() / 2
    s, t = table[:-1], table[1:]
    shares, noises = t.alpha[:, None] ** 2 * law.variance, t.sigma[:, None] ** 2
    error = law.variance * noises / (shares + noises)
    q, large = posterior(s, t), transition(s, t).variance
    gain = q.on_data[:, None] ** 2 * error
    small, large = (part[:, None].expand_as(error) for part in (q.variance, large))
    back = {"small": small, "large": large, "optimal": small + gain}[variance]
    first = large[0] if variance == "small" else back[0]
    total = total + ((2 * math.pi * first).log() + error[0] / first).sum() / 2
    ratio = small[1:] / back[1:]
    return (total + (ratio - 1 - ratio.log() + gain[1:] / back[1:]).sum() / 2).item()
