r"""A variant in one file: a VAE with a mixture-of-Gaussians prior and a Student-t likelihood.

.. math::

    p(z) = \sum_k \pi_k N(z; \mu_k, \mathrm{diag}\,\sigma_k^2), \qquad
    p(x \mid z) = \prod_i t_\nu(x_i; \mu_i(z), s).

The prior has clusters to offer (Dilokthanakul et al. 2016); the tails forgive an odd pixel, whose
gradient is bounded (Lange, Little and Taylor 1989). Both are learned with the networks.
"""

from __future__ import annotations

from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.functional import softplus

from ppl_gen import VAE, zoo
from ppl_gen.likelihoods import Likelihood


class GaussianMixture(nn.Module):
    """A learned mixture of ``K`` diagonal normals, of event shape ``(Z,)``."""

    def __init__(self, dim: int, num_components: int):
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(num_components))
        self.loc = nn.Parameter(torch.randn(num_components, dim))
        self.raw_scale = nn.Parameter(torch.zeros(num_components, dim))

    def forward(self, *parents: Tensor) -> Distribution:
        components = dist.Normal(self.loc, softplus(self.raw_scale)).to_event(1)
        return dist.MixtureSameFamily(dist.Categorical(logits=self.logits), components)


class StudentT(Likelihood):
    """Pixels with a Student-t law of ``degrees`` of freedom around the decoder's output."""

    def __init__(self, degrees: float):
        super().__init__()
        self.degrees, self.raw_scale = degrees, nn.Parameter(torch.tensor(-2.0))

    def forward(self, parameters: Tensor) -> Distribution:
        return dist.StudentT(self.degrees, parameters, softplus(self.raw_scale)).to_event(3)


@zoo.named("Dilokthanakul et al., Deep Unsupervised Clustering with Gaussian Mixture VAEs", 2016)
def robust_vae(
    data_shape: tuple[int, ...] = (1, 28, 28), latent_dim: int = 10, **parts: Any
) -> VAE:
    """The VAE with five normals as its prior and a Student-t likelihood with ν = 4."""
    prior, likelihood = GaussianMixture(latent_dim, 5), StudentT(4.0)
    return zoo.vae(data_shape, latent_dim, prior=prior, likelihood=likelihood, **parts)
