r"""Classes that are known of some data and latent of the rest.

The class :math:`y` is a latent site whose posterior is a point mass where the label is known and
the classifier :math:`q(y \mid x)` where it is missing, so that one bound serves both:
:math:`\log p(x, y)` of labelled data and :math:`\log p(x)` of the rest (Kingma et al. 2014).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.distributions import Distribution

from ppl_gen._checks import is_whole
from ppl_gen._modes import evaluating, is_readable, seeded, validation
from ppl_gen._store import register
from ppl_gen.models.vae import VAE
from ppl_gen.objectives.elbo import ELBO, Rescore
from ppl_gen.objectives.terms import Program, Terms
from ppl_gen.posteriors import Family

CLASS = "y"


class OneHot(Family):
    """:math:`q(y | x)` over one-hot classes ``(K,)``, by their logits."""

    def forward(self, parameters: Tensor) -> Distribution:
        return dist.OneHotCategorical(logits=parameters)


class UniformClass(nn.Module):
    """:math:`p(y) = 1/K` over one-hot classes ``(K,)``."""

    logits: Tensor

    def __init__(self, num_classes: int):
        super().__init__()
        self.register_buffer("logits", torch.zeros(num_classes), persistent=False)

    def forward(self, *parents: Tensor) -> Distribution:
        return dist.OneHotCategorical(logits=self.logits)


def completed(law: Any, given: Tensor) -> TorchDistribution:
    """A law of the class, or a point mass where the one-hot class ``(B, K)`` is given."""
    return dist.OneHotCategorical(logits=torch.where(_known(given), given.log(), law.logits))


def _known(given: Tensor) -> Tensor:
    return given.sum(-1, keepdim=True) > 0


class MarginalELBO(ELBO):
    r"""The ELBO with the site ``y`` of a class summed out: no class is ever drawn.

    :math:`\sum_y q(y|x) \left[\mathcal{L}(x, y) - \log q(y|x)\right]`, with
    :math:`\mathcal{L}(x, y) = \log p(y) + E_{q(z|x, y)} \log p(x|y, z) - KL(q(z|x, y) \| p(z))`.

    Args:
        num_classes: ``K``.
        options: those of :class:`ppl_gen.objectives.ELBO`; ``num_particles`` are draws of the other
            latents for each class.

    Raises:
        ValueError: fewer than two classes; on use, another latent without a reparameterised
            sampler.
    """

    def __init__(self, num_classes: int, **options: Any):
        super().__init__(**options)
        if not is_whole(num_classes, 2):
            raise ValueError(f"expected at least two classes to sum over, got {num_classes}")
        self.num_classes = num_classes

    def runner(
        self, model: Program, guide: Program, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Rescore:
        run = super().runner(model, guide, args, kwargs)
        x: Tensor = args[0] if args else kwargs["x"]
        classes = torch.eye(self.num_classes, dtype=x.dtype, device=x.device)
        every = classes.repeat(self.num_particles, 1)[:, None].expand(-1, len(x), -1)

        def summed(
            values: Mapping[str, Tensor] | None = None,
            particles: int | None = None,
            stand_in: Program = guide,
        ) -> Terms:
            if values or particles:
                raise ValueError("expected no values of latents when classes are summed out")
            return self._sum_out(run({CLASS: every}, len(every), stand_in))

        return summed

    def _sum_out(self, t: Terms) -> Terms:
        """The terms of one particle that is the mean of all under q(y|x)."""
        for site in t.log_q:
            if site != CLASS and (site in t.score or t.entropy.get(site) is not t.log_q[site]):
                raise ValueError(
                    f"expected latents with reparameterised samplers with classes, got {site!r}"
                )
        law: Any = t.posterior[CLASS]
        log_q = law.log_prob(t.values[CLASS]).reshape(t.log_lik.shape)
        possible = log_q > -math.inf
        weights = torch.where(possible, log_q, 0.0).exp() * possible / self.num_particles

        def mean(term: Tensor) -> Tensor:
            return (weights * torch.where(possible, term, 0.0)).sum(0, keepdim=True)

        means = {site: mean(t.log_q[site]) for site in t.log_q}
        return replace(
            t,
            log_lik=mean(t.log_lik),
            log_p={site: mean(t.log_p[site]) for site in t.log_p},
            log_q=means,
            score={},
            entropy=means,
            kl={site: mean(kl) for site, kl in t.kl.items()},
            auxiliary={name: mean(loss) for name, loss in t.auxiliary.items()},
            factors={name: mean(factor) for name, factor in t.factors.items()},
            unweighted=None if t.unweighted is None else partial(self._true, t),
        )

    def _true(self, t: Terms) -> Terms:
        return self._sum_out(t.true())


class PartlyLabelledVAE(VAE):
    r"""A model of classes and data, :math:`p(y)\, p(z)\, p(x|y, z)`, told some of the classes.

    Labels are −1 where they are missing, or ``None`` or NaN in what is not a tensor; without ``y``
    all are. The guide is :math:`q(y|x)\, q(z|x, y)`. Where one class must stand for a missing one,
    to encode, reconstruct or traverse, it is the most probable under :math:`q(y|x)`; a sample's is
    drawn from the prior.

    Args:
        alpha: the weight of the classification loss :math:`-\log q(y|x)` of a labelled datum.
        parts: the arguments of :class:`ppl_gen.VAE`, with two latents: the class, whose encoder
            sees the data alone, and the code.
    """

    def __init__(self, *parts: Any, alpha: float, **named: Any):
        super().__init__(*parts, **named)
        self.condition.partial, self.alpha = True, alpha

    def model(self, x: Tensor | None = None, y: Tensor | None = None, size: int = 1) -> Tensor:
        register(self)
        size = size if x is None else self._require_shape(x).shape[0]
        (given,) = self.condition_inputs(y, size)
        first, code = self.latents
        prior = first.prior()
        with self._plate(size):
            law = completed(prior, given) if x is None else prior
            drawn = pyro.sample(CLASS, law)
            hot = torch.where(_known(given), given, drawn)
            z = pyro.sample(code.name, code.prior(hot))
            return pyro.sample("x", self.likelihood(self.decoder(z, hot)), obs=x)

    def guide(self, x: Tensor, y: Tensor | None = None, size: int = 1) -> None:
        register(self)
        size = self._require_shape(x).shape[0]
        (given,) = self.condition_inputs(y, size)
        first, code = self.latents
        classifier: Any = first.posterior(x)
        with self._plate(size):
            hot = pyro.sample(CLASS, completed(classifier, given))
            loss = -self.alpha * (given * classifier.logits).sum(-1)
            pyro.factor(f"{CLASS}_classification", loss, has_rsample=True)
            law = code.posterior(x, hot)
            pyro.sample(code.name, law)
            for name, own in getattr(law, "auxiliary", {}).items():
                pyro.factor(f"{code.name}_{name}", own, has_rsample=True)

    def classify(self, x: Any) -> Tensor:
        """The probabilities :math:`q(y | x)` of the classes, ``(B, K)``."""
        x, _ = self._read(x, None)
        self.check(x)
        with evaluating(self), validation(x):
            law: Any = self.latents[0].posterior(x)
            return law.probs

    def decode(self, z: Tensor, y: Any = None) -> Distribution:
        y = self.condition.tensor(y)
        self.check_labels(y)
        if y is None or (is_readable(y) and (y < 0).any()):
            raise ValueError("expected a label for every code to decode, got a missing one")
        return super().decode(z, y)

    @torch.no_grad()
    def sample(self, n: int, y: Any = None, *, seed: int | None = None) -> Tensor:
        y = self.condition.tensor(y)
        self.check_labels(y)
        if is_whole(n, 1):
            y = torch.full((n,), -1, device=next(self.parameters()).device) if y is None else y
            law: Any = self.latents[0].prior()
            with seeded(seed):
                y = torch.where(y < 0, law.sample((len(y),)).argmax(-1), y)
        return super().sample(n, y, seed=seed)

    @torch.no_grad()
    def reconstruct(self, x: Any, y: Any = None) -> Tensor:
        x, y = self._read(x, y)
        return super().reconstruct(x, self._told(x, y))

    @torch.no_grad()
    def traverse(self, x: Any, dim: int, values: Any, y: Any = None) -> Tensor:
        x, y = self._read(x, y)
        return super().traverse(x, dim, values, self._told(x, y))

    def _told(self, x: Tensor, y: Any) -> Tensor:
        """Labels, the most probable ones where they are missing."""
        y = self.condition.tensor(y)
        self.check(x)
        self.check_labels(y, x.shape[0])
        found = self.classify(x).argmax(-1)
        return found if y is None else torch.where(y < 0, found, y)

    def _posteriors(self, x: Tensor, y: Any) -> list[TorchDistribution]:
        hot = self.condition.one_hot(self._told(x, y), x)
        (given,) = self.condition_inputs(self.condition.tensor(y), x.shape[0])
        first, code = self.latents
        return [completed(first.posterior(x), given), code.posterior(x, hot)]

    def condition_inputs(self, y: Tensor | None, size: int | None = None) -> list[Tensor]:
        """The known classes as one-hot vectors ``(B, K)``, zeros for a missing one."""
        weight = next(self.parameters())
        return (
            [weight.new_zeros(size or 0, self.num_classes)]
            if y is None
            else super().condition_inputs(y, size)
        )

    def check_labels(self, y: Tensor | None, size: int | None = None) -> None:
        if y is not None:
            super().check_labels(y, size)
