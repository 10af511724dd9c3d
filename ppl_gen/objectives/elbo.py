r"""Variational objectives as Pyro ELBOs.

An objective reduces the :class:`~ppl_gen.objectives.terms.Terms` of a model/guide pair to a loss.
Each is a ``pyro.infer.ELBO``, so ``pyro.infer.SVI`` accepts it, and a ``torch.nn.Module``, so the
schedules it owns are saved with the model.

With weight :math:`\beta`, the ELBO of Higgins et al. (2017) is

.. math::

    \mathcal{L}_\beta = \mathbb{E}_q[\log p(x \mid z)] - \beta \sum_s \mathrm{KL}(q_s \,\|\, p_s),

which is the evidence lower bound at :math:`\beta = 1` (Kingma and Welling 2014). The importance
weighted bound of Burda et al. (2016) is

.. math::

    \mathcal{L}_K = \mathbb{E}\Big[\log \tfrac{1}{K} \textstyle\sum_k w_k\Big], \qquad
    w_k = p(x, z_k) / q(z_k \mid x).

Losses are sums over the batch, as in Pyro; metrics are means in nats per datum and always describe
the true, unweighted bound, whatever scale handlers stand around a site.

What is assumed of the programs is checked where it is used: closed forms in
:mod:`ppl_gen.objectives.closed_forms`, scales and masks in :mod:`ppl_gen.objectives.weights`,
plates in :mod:`ppl_gen.objectives.terms`, the guide's sites in :mod:`ppl_gen.objectives.agreement`,
vectorised particles in :mod:`ppl_gen.objectives.particles`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping
from operator import add
from typing import Any

import pyro.infer
import torch
from torch import Tensor, nn

from ppl_gen._checks import is_positive, is_whole
from ppl_gen.objectives.particles import plate_nesting
from ppl_gen.objectives.terms import Program, Terms, cat, terms
from ppl_gen.schedules import Number, Schedule, as_weight

Rescore = Callable[..., Terms]


class Objective(pyro.infer.ELBO, nn.Module):
    """A loss for a model/guide pair.

    Subclasses define :meth:`reduce`. Schedules registered as submodules are advanced after every
    gradient step, by :meth:`loss_and_grads` under stock ``SVI`` and by :func:`ppl_gen.fit`.

    Args:
        num_particles: draws of the guide per datum.
        max_plate_nesting: plate dimensions the programs use themselves, at least.
        vectorize_particles: ``True`` draws particles at once, in a plate to the left of all others;
            ``False`` one after the other; ``"auto"`` at once where a trial shows that the programs
            accept it.

    Raises:
        ValueError: fewer than one particle, or another way to draw them.

    >>> class Bound(ppl_gen.Objective):
    ...     def reduce(self, t, again):
    ...         return -t.log_weight().mean(0).sum()
    >>> vae = ppl_gen.zoo.vae((4,), 2, hidden=8, objective=Bound(num_particles=3))
    >>> vae.objective.loss(vae.model, vae.guide, torch.zeros(6, 4)) > 0
    True
    """

    def __init__(
        self,
        num_particles: int = 1,
        max_plate_nesting: int = 1,
        vectorize_particles: bool | str = "auto",
    ):
        nn.Module.__init__(self)
        if not is_whole(num_particles, 1):
            raise ValueError(f"expected num_particles >= 1, got {num_particles!r}")
        if not (vectorize_particles == "auto" or isinstance(vectorize_particles, bool)):
            raise ValueError(
                f"expected vectorize_particles 'auto', True or False, got {vectorize_particles!r}"
            )
        pyro.infer.ELBO.__init__(self, num_particles, max_plate_nesting)
        self.vectorize_particles = vectorize_particles

    def reduce(self, t: Terms, again: Rescore) -> Tensor:
        """The loss as a 0-d tensor whose gradient is the gradient estimate.

        Args:
            t: the terms of one draw of the guide, with ``num_particles`` particles.
            again: ``again(values, particles)`` evaluates the terms at other latent values, by
                default as many per datum as ``num_particles``.
        """
        raise NotImplementedError

    def metrics(self, t: Terms) -> dict[str, Tensor]:
        """What the loss is made of: detached 0-d means in nats per datum.

        The density of a point posterior counts as one, as in Pyro: with it, the ELBO is the
        logarithm of the joint density, which MAP estimation maximises.
        """
        t = t.true()
        kl = _sum([t.log_lik.new_zeros(()), *(t.per_datum(t.kl_of(site)) for site in t.log_p)])
        reconstruction = _sum(map(t.per_datum, [t.log_lik, *t.factors.values()]))
        found = {"elbo": reconstruction - kl, "reconstruction": reconstruction, "kl": kl}
        found |= {name: t.per_datum(term) for name, term in t.auxiliary.items()}
        return {name: value.detach() for name, value in found.items()}

    def observe_size(self, num_data: int | None) -> None:
        """Take note of how many data there are in all; ``None`` where a stream does not say it.

        :func:`ppl_gen.fit` calls it before the first step, and around a validation with the number
        of held-out data. An objective whose batches stand for the whole set overrides it, and
        raises ``ValueError`` where it must know.
        """

    def adopt(self, name: str, schedule: Schedule) -> None:
        """Advance a schedule that the model uses, such as a temperature, with those of its own.

        Raises:
            ValueError: the objective already has another attribute of that name.
        """
        if getattr(self, name, schedule) is not schedule:
            raise ValueError(
                f"expected an objective without a {name}, got one that has another: "
                "give every model an objective of its own"
            )
        self.add_module(name, schedule)

    def update(self, metrics: Mapping[str, Tensor]) -> None:
        """Advance every schedule by one step."""
        for module in self.modules():
            if isinstance(module, Schedule):
                module.update(metrics)

    def loss_and_metrics(
        self, model: Program, guide: Program, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The differentiable loss and its metrics, from one run of the programs."""

        run = self.runner(model, guide, args, kwargs)
        t = run()
        return self.reduce(t, run), self.metrics(t)

    def runner(
        self,
        model: Program,
        guide: Program,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> Rescore:
        """What evaluates the terms of the programs: at a draw, or at other latent values.

        ``run(values, particles, stand_in)`` may be given another guide with the same sites.

        All evaluations see the same subsample of the data, the one the first draws.
        """
        own = None if self.num_particles == 1 else self.num_particles
        held: dict[str, Tensor] = {}

        def run(
            values: Mapping[str, Tensor] | None = None,
            particles: int | None = own,
            stand_in: Program = guide,
        ) -> Terms:
            draw = functools.partial(terms, model, stand_in, args, kwargs)
            nesting = None if particles is None else self._nesting(model, guide, args, kwargs)
            if nesting is not None:
                t = draw(
                    values=values, subsamples=held, particles=particles, max_plate_nesting=nesting
                )
            elif particles is None or particles == 1:
                t = draw(values=values, subsamples=held)
            elif values:
                raise ValueError(
                    "expected programs that accept a leading dimension of particles, since the "
                    f"objective evaluates them at {particles} values at once"
                )
            else:
                first = draw(subsamples=held)
                held.update(first.subsamples)
                t = cat([first, *(draw(subsamples=held) for _ in range(particles - 1))])
            held.update(t.subsamples)
            return t

        return run

    def _nesting(
        self, model: Program, guide: Program, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> int | None:
        """The plate dimensions to the left of which particles go; None where they cannot."""
        if self.vectorize_particles is True:
            return self.max_plate_nesting
        if not self.vectorize_particles:
            return None
        found = plate_nesting(model, guide, args, kwargs)
        return None if found is None else max(found, self.max_plate_nesting)

    def differentiable_loss(
        self, model: Program, guide: Program, *args: Any, **kwargs: Any
    ) -> Tensor:
        """The loss, to be differentiated by the caller."""
        return self.loss_and_metrics(model, guide, *args, **kwargs)[0]

    def loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> float:
        """An estimate of the loss; changes no schedule."""
        with torch.no_grad():
            return self.differentiable_loss(model, guide, *args, **kwargs).item()

    def loss_and_grads(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> float:
        """The loss, its gradients accumulated in ``.grad``, and one step of every schedule."""
        loss, metrics = self.loss_and_metrics(model, guide, *args, **kwargs)
        if loss.requires_grad:
            loss.backward()
        self.update(metrics)
        return loss.item()

    def _get_trace(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("objectives of ppl_gen work on terms, not on pairs of traces")


class ELBO(Objective):
    r"""The weighted evidence lower bound :math:`\mathcal{L}_\beta`, negated and summed over data.

    Sites without a reparameterised sampler contribute by the score function, with the cost of the
    same datum only (Rao-Blackwellised over the data plate).

    Args:
        weight: :math:`\beta`, a number or a schedule.
        kl: ``"analytic"`` uses the closed form of a site's KL where torch registers one,
            ``"sampled"`` the estimate :math:`\log q - \log p` throughout.
        free_bits: nats per site and datum below which the batch-mean KL costs nothing
            (Kingma et al. 2016, appendix C.8).
        num_particles: draws of the guide per datum.
        max_plate_nesting: plate dimensions the programs use themselves, at least.
        vectorize_particles: see :class:`Objective`.

    Raises:
        ValueError: an unknown ``kl``, negative ``free_bits``, a negative or non-numeric weight; on
            use, ``free_bits`` for latents that the guide draws together.

    >>> warm_up = ppl_gen.schedules.WarmUp(4)
    >>> vae = ppl_gen.zoo.vae((4,), 2, hidden=8, objective=ppl_gen.ELBO(weight=warm_up))
    >>> history = ppl_gen.fit(vae, torch.zeros(6, 4), epochs=4, staged=False, progress=False)
    >>> history["weight"]
    [0.0, 0.25, 0.5, 0.75]
    """

    def __init__(
        self,
        weight: Number | Schedule = 1.0,
        kl: str = "analytic",
        free_bits: float = 0.0,
        num_particles: int = 1,
        max_plate_nesting: int = 1,
        vectorize_particles: bool | str = "auto",
    ):
        super().__init__(num_particles, max_plate_nesting, vectorize_particles)
        if kl not in ("analytic", "sampled"):
            raise ValueError(f"expected kl 'analytic' or 'sampled', got {kl!r}")
        if free_bits != 0 and not is_positive(free_bits):
            raise ValueError(f"expected free_bits >= 0, got {free_bits!r}")
        self.weight, self.kl, self.free_bits = as_weight(weight), kl, free_bits
        self._ignores_kl = not isinstance(weight, Schedule) and weight == 0

    def reduce(self, t: Terms, again: Rescore) -> Tensor:
        declared = {**{name: -f for name, f in t.factors.items()}, **t.auxiliary}
        costs: dict[tuple[str, ...], Tensor] = {
            (name,): cost for name, cost in {"": -t.log_lik, **declared}.items()
        }
        surrogate = _sum(_total(cost) for cost in costs.values())
        exact, skipped = not t.score, set()
        for sites in t.latents():
            cost, pathwise = self._kl(t, sites)
            exact = exact and pathwise is cost
            if self.kl == "analytic" and sites[0] in t.kl and sites[0] not in t.mixed:
                skipped.add(sites)
            if self.free_bits:
                floor = self._floor(t, sites).expand_as(cost)
                active = (cost.detach().sum() > floor.sum()).to(cost)
                cost = cost * active + floor * (1 - active)
                pathwise, exact = pathwise * active, False
            costs[sites] = weighted = self.weight.value * cost
            own = weighted if pathwise is cost else self.weight.value * pathwise
            surrogate = surrogate + _total(own)
        if exact:
            return surrogate
        value = _sum(_total(cost.detach()) for cost in costs.values())
        for site, score in t.score.items():
            # a closed form does not depend on the draw of its own site
            others = (c for sites, c in costs.items() if not (site in sites and sites in skipped))
            surrogate = surrogate + _total(score * _sum(_summed_to(score, c) for c in others))
        return value + (surrogate - surrogate.detach())

    def _kl(self, t: Terms, sites: tuple[str, ...]) -> tuple[Tensor, Tensor]:
        """The KL of a latent, and what of it to differentiate through its draw."""
        if self.kl == "analytic" and len(sites) == 1 and sites[0] in t.kl:
            return t.kl[sites[0]], t.kl[sites[0]]
        cost = _joined(t.kl_of(site, analytic=False) for site in sites)
        if all(site in t.entropy and t.entropy[site] is t.log_q[site] for site in sites):
            return cost, cost
        return cost, _joined(t.entropy.get(site, 0.0) - t.log_p[site] for site in sites)

    def _floor(self, t: Terms, sites: tuple[str, ...]) -> Tensor:
        """The free bits of a latent, scaled and masked as its KL is."""
        site, like = sites[-1], t.log_q[sites[-1]]
        if sum(s in t.prior for s in sites) > 1:
            raise ValueError(
                "expected free bits for latents that are drawn one by one, the guide draws "
                f"{', '.join(sites)} together"
            )
        scale = torch.as_tensor(t.scales[site]).to(like)
        fits = scale.numel() in (1, like.numel())
        return self.free_bits * (
            scale.reshape(like.shape if scale.dim() else ()) if fits else scale.amax()
        )

    def metrics(self, t: Terms) -> dict[str, Tensor]:
        found = super().metrics(t)
        if self._ignores_kl and any(map(t.is_degenerate, t.prior)):  # an autoencoder: no bound
            del found["elbo"], found["kl"]
        return found


class IWAE(Objective):
    r"""The importance weighted bound :math:`\mathcal{L}_K`, negated and summed over data.

    The mean over particles is taken per datum, in log space. Sites without a reparameterised
    sampler contribute by the score function of the whole bound.

    Args:
        num_particles: ``K``; with one particle the bound is the ELBO with sampled KL.
        max_plate_nesting: plate dimensions the programs use themselves.

    With the exact posterior as the guide the bound is tight, the loss :math:`-\log N(0; 0, 2)`:

    >>> from pyro.distributions import Normal
    >>> def model(x):
    ...     pyro.sample("x", Normal(pyro.sample("z", Normal(0.0, 1.0)), 1.0), obs=x)
    >>> def guide(x):
    ...     pyro.sample("z", Normal(x / 2, 0.5**0.5))
    >>> round(ppl_gen.IWAE(num_particles=8).loss(model, guide, torch.tensor(0.0)), 4)
    1.2655
    """

    def reduce(self, t: Terms, again: Rescore) -> Tensor:
        bound, scale = self.bound(t), t.common_scale()
        loss = _sum([-(scale * bound).sum(), *map(_total, t.auxiliary.values())])
        for score in t.score.values():
            own = scale * bound.detach() * score.sum(0)
            loss = loss - (own.sum() - own.sum().detach())
        return loss

    def bound(self, t: Terms) -> Tensor:
        """The bound per datum, of shape ``(B,)``, or ``(1,)`` of all data with a global latent."""
        return t.log_weight().logsumexp(0) - math.log(t.log_lik.shape[0])

    def metrics(self, t: Terms) -> dict[str, Tensor]:
        t = t.true()
        bound = t.per_datum((t.common_scale() * self.bound(t)).unsqueeze(0))
        return super().metrics(t) | {"bound": bound.detach()}


def _sum(tensors: Iterable[Tensor]) -> Tensor:
    return functools.reduce(add, tensors)


def _joined(tensors: Iterable[Tensor]) -> Tensor:
    """The sum of terms, over data where some have no data: those must not count for each datum."""
    parts = list(tensors)
    if len({part.shape for part in parts}) > 1:
        parts = [part.sum(1, keepdim=True) for part in parts]
    return _sum(parts)


def _total(term: Tensor) -> Tensor:
    """The sum over data of the mean over particles."""
    return term.sum() if term.shape[0] == 1 else term.sum() / term.shape[0]


def _summed_to(score: Tensor, cost: Tensor) -> Tensor:
    """The detached cost that a site's score multiplies: summed over data for a global site."""
    cost = cost.detach()
    return cost.sum(1, keepdim=True) if score.shape[1] < cost.shape[1] else cost


def loss_function(
    model: Program, guide: Program, objective: pyro.infer.ELBO
) -> Callable[..., tuple[Tensor, dict[str, Tensor]]]:
    """A function from the programs' arguments to a differentiable loss and its metrics.

    Serves stock Pyro objectives as well, ``TraceGraph_ELBO`` included; those have no metrics.
    """
    if isinstance(objective, Objective):
        return lambda *args, **kwargs: objective.loss_and_metrics(model, guide, *args, **kwargs)
    if hasattr(objective, "differentiable_loss"):
        return lambda *args, **kwargs: (
            objective.differentiable_loss(model, guide, *args, **kwargs),
            {},
        )
    if hasattr(objective, "_loss_and_surrogate_loss"):

        def surrogate_loss(*args: Any, **kwargs: Any) -> tuple[Tensor, dict[str, Tensor]]:
            elbo, surrogate = objective._loss_and_surrogate_loss(model, guide, args, kwargs)
            return surrogate - surrogate.detach() - elbo.detach(), {}

        return surrogate_loss
    raise ValueError(
        f"expected an objective with a differentiable loss, got {type(objective).__name__}"
    )
