r"""The ELBO of a Pyro program as nested expectations, one per latent site.

With sites :math:`z_1, z_2, \dots` in the order of the guide,

.. math::

    -\mathcal{L}_\beta = \beta\,\mathrm{KL}_1 + E_{q_1}\big[\beta\,\mathrm{KL}_2(z_1)
    + E_{q_2}[\dots - \log p(x \mid z)]\big],

where :math:`\mathrm{KL}_s` is a closed form outside the expectation over its own site, or the
estimate :math:`\log q_s - \log p_s` inside it, where :math:`\log p_s` joins the level at which all
that the prior may depend on is drawn, be the guide's order that of the model or not. Every level
has its own estimator: as surrogates nest, the surrogate of one site is the cost of the site above.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import add
from typing import Any, ClassVar

import pyro
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import OneHotCategorical
from torch.distributions.constraints import Constraint
from torch.types import _size as _Size

from ppl_gen.estimators.base import Estimator, Expectation
from ppl_gen.estimators.families import base_of, log_prob
from ppl_gen.objectives.terms import GIVEN, Program, Terms

Run = Callable[[Mapping[str, Tensor], int], Terms]


@dataclass(frozen=True)
class Bound:
    r""":math:`-\mathcal{L}_\beta` of a model/guide pair.

    Attributes:
        run: evaluates the terms at given values of some sites, for a number of particles.
        estimator: the estimator of a site whose distribution is given.
        weight: :math:`\beta`.
        analytic: use the closed form of a site's KL where there is one.
        context: what baselines may look at.
    """

    run: Run
    estimator: Callable[[str, Terms], Estimator]
    weight: float | Tensor = 1.0
    analytic: bool = True
    context: Tensor | None = None

    def surrogates(
        self, t: Terms, sites: Sequence[str], fixed: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The surrogate of the bound, given the sites above; and the values of those it nests.

        Args:
            t: terms at the given values of the sites above.
            sites: the sites still to be integrated out, in the order of the guide.
            fixed: the values of the sites above, in the shapes of ``t``.
        """
        if not sites:
            parts = [-t.log_lik, *(-f for f in t.factors.values()), *t.auxiliary.values()]
            width = min(part.shape[1] for part in parts)
            return functools.reduce(add, (_sum_to(width, part) for part in parts)), {}
        site, q = sites[0], t.posterior[sites[0]]
        estimator = self.estimator(site, t)
        estimator.require(q)
        inner: dict[str, Tensor] = {}
        e = self.expectation(t, sites, fixed, inner)
        estimator.prepare(e)
        surrogate = estimator.surrogate(e)
        found = {site: surrogate.detach(), **inner}
        if self.outside(site, t):
            surrogate = surrogate + self.weight * t.kl[site].reshape(surrogate.shape)
        return surrogate, found

    def outside(self, site: str, t: Terms) -> bool:
        """Whether the KL of a site is taken in closed form, outside its expectation."""
        closed = self.analytic and site in t.kl and site not in t.mixed
        return closed and not self.estimator(site, t).multi_sample

    def expectation(
        self,
        t: Terms,
        sites: Sequence[str],
        fixed: Mapping[str, Tensor],
        inner: dict[str, Tensor] | None = None,
    ) -> Expectation:
        """The expectation over the first of the sites, at whose values the bound is estimated."""
        site, q = sites[0], t.posterior[sites[0]]
        batch, event = q.batch_shape, q.event_shape
        if len(batch) > 2 or (len(batch) == 2 and batch[0] != len(t.log_lik)):
            raise ValueError(f"expected {site!r} in one plate at most, got batch shape {batch}")
        last = batch[-1] if batch else 1
        outside = self.outside(site, t)
        weight = self.weight * t.scales[site]
        scored_here = self._newly_scored(t, site, fixed)

        def cost(z: Tensor) -> Tensor:
            lead = z.shape[: z.dim() - len(batch) - len(event)]
            values = {s: _repeat(v, lead, t.posterior[s].event_shape) for s, v in fixed.items()}
            values[site] = z.reshape(-1, last, *event)
            u = self.run(values, len(values[site]))
            total, found = self.surrogates(u, sites[1:], values)
            if inner is not None:
                inner.update(found)
            if total.shape[1] < last:
                raise ValueError(
                    f"expected sites {sites[1:]} of no plate before {site!r}, and no factors there"
                )
            total = _sum_to(last, total)
            for scored in scored_here:
                log_prior = _sum_to(last, self._log_prior(u, scored))
                if log_prior.shape[1] < last:
                    raise ValueError(f"expected the model to draw {scored!r} before {site!r}")
                total = total - log_prior
            return total.reshape(*lead, *batch)

        return Expectation(q, cost, 0.0 if outside else weight, self.context)

    def _newly_scored(self, t: Terms, site: str, fixed: Mapping[str, Tensor]) -> list[str]:
        """The sites whose prior depends on this site and, at most, on those above it."""
        known, before = {site, *fixed}, set(fixed)
        scopes = {s: {s, *above} for s, above in t.upstream.items() if not self.outside(s, t)}
        return [s for s, scope in scopes.items() if scope <= known and not scope <= before]

    def _log_prior(self, u: Terms, site: str) -> Tensor:
        """The weighted log-probability of a value, relaxed or not, under its prior."""
        if isinstance(base_of(u.prior[site]), OneHotCategorical):
            return self.weight * u.scales[site] * log_prob(u.prior[site], u.values[site])
        return self.weight * u.log_p[site]


def runner(evaluate: Callable[[Program, Mapping[str, Tensor], int], Terms], guide: Program) -> Run:
    """What evaluates a model at given values, running its guide only where it must.

    A guide whose every site is given has nothing to add but the losses it declares.

    Args:
        evaluate: the terms for a guide, given values and a number of particles.
        guide: the guide that samples what is not given.
    """
    sites: dict[str, torch.Size] = {}
    declares = True

    def run(values: Mapping[str, Tensor], particles: int) -> Terms:
        nonlocal sites, declares
        with pyro.validation_enabled(False):
            if not declares and set(values) == set(sites):
                return evaluate(_Given(values, sites), {}, particles)
            t = evaluate(guide, values, particles)
        sites = {site: q.event_shape for site, q in t.posterior.items()}
        declares = bool(t.auxiliary)
        return t

    return run


class _Given:
    """A guide that samples stated values."""

    def __init__(self, values: Mapping[str, Tensor], events: Mapping[str, torch.Size]):
        self.values, self.events = values, events

    def __call__(self, *args: object, **kwargs: object) -> None:
        for site, value in self.values.items():
            flag: Any = {GIVEN: True}
            pyro.sample(site, _Point(value, self.events[site]), infer=flag)


class _Point(TorchDistribution):
    """A value with a density that is not needed: zero in log space."""

    has_rsample = True
    arg_constraints: ClassVar[dict[str, Constraint]] = {}

    def __init__(self, value: Tensor, event: torch.Size):
        self.value = value
        super().__init__(value.shape[: value.dim() - len(event)], event, validate_args=False)

    def expand(self, batch_shape: _Size, _instance: object = None) -> _Point:
        return _Point(self.value.expand(*batch_shape, *self.event_shape), self.event_shape)

    def rsample(self, sample_shape: _Size = torch.Size()) -> Tensor:  # noqa: B008
        return self.value

    def log_prob(self, value: Tensor) -> Tensor:
        return self.value.new_zeros(self.batch_shape)


def _repeat(value: Tensor, lead: torch.Size, event: torch.Size) -> Tensor:
    """Values of a site above, once for every leading index of the site below."""
    repeated = value.expand(*lead, *value.shape)
    batch = value.shape[: value.dim() - len(event)]
    return repeated.reshape(-1, batch[-1] if batch else 1, *event)


def _sum_to(width: int, term: Tensor) -> Tensor:
    """Sum a term ``(K, B)`` over the data, unless it is wanted by datum."""
    return term.sum(1, keepdim=True) if term.shape[1] > width else term


def context_of(args: Sequence[object], t: Terms) -> Tensor | None:
    """The data, if the first argument of the programs is a tensor of as many rows as there are."""
    first = args[0] if args else None
    data = t.log_lik.shape[1]
    if isinstance(first, Tensor) and first.dim() > 0 and len(first) == data:
        return first.detach()
    return None
