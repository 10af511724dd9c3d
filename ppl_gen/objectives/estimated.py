r"""The ELBO with a chosen gradient estimator for every latent site of a guide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, cast

from torch import Tensor, nn
from torch.distributions import Distribution

from ppl_gen._store import register
from ppl_gen.estimators.base import Estimator, Expectation
from ppl_gen.estimators.by_name import make
from ppl_gen.objectives.elbo import Objective, Rescore
from ppl_gen.objectives.surrogates import Bound, context_of, runner
from ppl_gen.objectives.terms import Program, Terms
from ppl_gen.schedules import Number, Schedule, as_schedule

Choice: TypeAlias = str | Estimator

COST = "cost_"


class EstimatedELBO(Objective):
    r"""The weighted ELBO, its gradient in the guide by chosen estimators.

    A Pyro objective: ``pyro.infer.SVI(model, guide, optim, EstimatedELBO("disarm"))`` trains any
    pair, the estimator's own parameters included. The metrics come from a separate draw of the
    guide, so they describe the true bound even where the loss is that of a relaxation.

    Args:
        estimator: one for all latent sites, a name or an :class:`Estimator`; or one each by site,
            where a site left out is reparameterised if it can be, else estimated by its score.
        weight: :math:`\beta`, a number or a schedule.
        kl: ``"analytic"`` takes the closed form of a site's KL out of the expectation where there
            is one, ``"sampled"`` leaves log q − log p inside. The bound of VIMCO needs the latter.
        num_particles: independent estimates per datum, averaged.

    Raises:
        ValueError: an unknown estimator or ``kl``; on use, a site the guide lacks or whose
            distribution the estimator does not serve.

    >>> vae = ppl_gen.zoo.bernoulli_vae((4,), 3)
    >>> objective = ppl_gen.gradients.EstimatedELBO("arm")
    >>> svi = pyro.infer.SVI(vae.model, vae.guide, pyro.optim.Adam({"lr": 1e-3}), objective)
    >>> svi.step(torch.zeros(6, 4)) > 0
    True
    """

    def __init__(
        self,
        estimator: Choice | Mapping[str, Choice],
        weight: Number | Schedule = 1.0,
        kl: str = "analytic",
        num_particles: int = 1,
    ):
        super().__init__(num_particles)
        if kl not in ("analytic", "sampled"):
            raise ValueError(f"expected kl 'analytic' or 'sampled', got {kl!r}")
        self.weight, self.kl = as_schedule(weight), kl
        chosen = dict(estimator) if isinstance(estimator, Mapping) else {None: estimator}
        if not all(isinstance(site, str) for site in chosen if site is not None):
            raise ValueError(f"expected estimators by the name of a site, got {estimator}")
        self.sites = tuple(chosen)
        made = nn.ModuleList(make(choice) for choice in chosen.values())
        self.estimators = cast(Sequence[Estimator], made)
        self._defaults = (make("reparameterized"), make("score"))

    def estimator(self, site: str, t: Terms) -> Estimator:
        """The estimator of a site."""
        for name, estimator in zip(self.sites, self.estimators, strict=True):
            if name in (None, site):
                return estimator
        return self._defaults[0 if t.posterior[site].has_rsample else 1]

    def prepare(
        self, distribution: Distribution, context: Tensor | None = None, site: str | None = None
    ) -> None:
        """Make now what estimators, or that of one site, would make when they first meet it.

        Raises:
            ValueError: an estimator does not serve the distribution.
        """
        for name, estimator in zip(self.sites, self.estimators, strict=True):
            if None not in (name, site) and name != site:
                continue
            estimator.require(distribution)
            estimator.prepare(Expectation(distribution, distribution.log_prob, context=context))

    def reduce(self, t: Terms, again: Rescore) -> Tensor:
        return self._reduce(t, again, None)[0]

    def _reduce(
        self, t: Terms, again: Rescore, context: Tensor | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        missing = [site for site in self.sites if site is not None and site not in t.posterior]
        if missing:
            raise ValueError(
                f"expected the guide to have latent sites {missing}, it has {list(t.posterior)}"
            )
        bound = Bound(again, self.estimator, self.weight.value, self.kl == "analytic", context)
        surrogate, costs = bound.surrogates(t, list(t.posterior), {})
        return surrogate.reshape(t.log_lik.shape[0], -1).mean(0).sum(), costs

    def loss_and_metrics(
        self, model: Program, guide: Program, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, dict[str, Tensor]]:
        evaluated = self.runner(model, guide, args, kwargs)

        def evaluate(guide: Program, values: Mapping[str, Tensor], particles: int) -> Terms:
            return evaluated(values, particles, guide)

        run = runner(evaluate, guide)
        t = run({}, self.num_particles)
        loss, costs = self._reduce(t, run, context_of(args, t))
        for estimator in self.estimators:
            if any(True for _ in estimator.parameters()):
                register(estimator)
        followed = {site: c for site, c in costs.items() if self.estimator(site, t).follows_cost}
        return loss, self.metrics(t) | {COST + site: c.mean() for site, c in followed.items()}

    def update(self, metrics: Mapping[str, Tensor]) -> None:
        """Advance every schedule and every running baseline by one step."""
        super().update(metrics)
        for name, value in metrics.items():
            for site, estimator in zip(self.sites, self.estimators, strict=True):
                if name.startswith(COST) and site in (None, name.removeprefix(COST)):
                    estimator.update(value)
