r"""Objectives of several draws besides the importance weighted bound, and other gradients of it.

With weights :math:`w_k = p(x, z_k) / q(z_k \mid x)` of K draws of the guide, their shares
:math:`\bar w_k = w_k / \sum_j w_j`, and :math:`\theta`, :math:`\phi` what model and guide learn:

- :class:`Renyi` is the variational Rényi bound, the ELBO and the importance weighted bound among
  others;
- :class:`DReG` is the importance weighted bound, with a gradient in :math:`\phi` that does not
  drown in noise as K grows;
- :class:`ReweightedWakeSleep` fits the guide to the posterior instead of to the bound, and needs no
  gradient through a draw: latents may be discrete.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from pyro import poutine
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from graphs.language.suggestions import suggesting
from ppl_gen.objectives.closed_forms import base_of
from ppl_gen.objectives.elbo import IWAE, Rescore
from ppl_gen.objectives.terms import Program, Terms
from ppl_gen.staging.assumptions import is_same


class Renyi(IWAE):
    r"""The variational Rényi bound, negated and summed over data (Li and Turner 2016).

    .. math::

        \mathcal{L}_{\alpha, K} = \mathbb{E}\Big[\frac{1}{1 - \alpha}
        \log \frac1K \sum_k w_k^{1 - \alpha}\Big]

    It is the ELBO at :math:`\alpha = 1`, the importance weighted bound at 0, and no lower bound of
    the evidence below 0. Sites without a reparameterised sampler contribute by the score function
    of the whole bound.

    Args:
        alpha: the order, any finite number.
        num_particles: ``K``.
        options: see :class:`ppl_gen.Objective`.

    Raises:
        ValueError: no finite order, or fewer than one particle.

    With the exact posterior as the guide the bound is tight, the loss :math:`-\log N(0; 0, 2)`:

    >>> from pyro.distributions import Normal
    >>> def model(x):
    ...     pyro.sample("x", Normal(pyro.sample("z", Normal(0.0, 1.0)), 1.0), obs=x)
    >>> def guide(x):
    ...     pyro.sample("z", Normal(x / 2, 0.5**0.5))
    >>> round(ppl_gen.Renyi(0.5, num_particles=8).loss(model, guide, torch.tensor(0.0)), 4)
    1.2655
    """

    def __init__(self, alpha: float = 0.0, num_particles: int = 2, **options: Any):
        super().__init__(num_particles, **options)
        is_number = isinstance(alpha, (int, float)) and not isinstance(alpha, bool)
        if not is_number or not math.isfinite(alpha):
            raise ValueError(f"expected a finite order alpha, got {alpha!r}")
        self.alpha = alpha

    def bound(self, t: Terms) -> Tensor:
        log_weight, power = t.log_weight(), 1 - self.alpha
        if power == 0:
            return log_weight.mean(0)
        return ((power * log_weight).logsumexp(0) - math.log(len(log_weight))) / power


class DReG(IWAE):
    r"""The importance weighted bound with doubly reparameterised gradients (Tucker et al. 2019).

    The gradient in :math:`\theta` is that of :class:`ppl_gen.IWAE`; in :math:`\phi` it is

    .. math::

        \sum_k \bar w_k^2 \, \frac{\partial \log w_k}{\partial z_k}
        \frac{\partial z_k}{\partial \phi},

    which has the same expectation: the score of the guide, whose noise grows with K, is
    reparameterised once more. Guide and model run a second time, at the values drawn.

    Args:
        num_particles: ``K``.
        options: see :class:`ppl_gen.Objective`.

    Raises:
        ValueError: on use, a latent without a reparameterised sampler, or a guide whose densities
            change from one run to the next, as with dropout.

    With the exact posterior as the guide the bound is tight, the loss :math:`-\log N(0; 0, 2)`:

    >>> from pyro.distributions import Normal
    >>> def model(x):
    ...     pyro.sample("x", Normal(pyro.sample("z", Normal(0.0, 1.0)), 1.0), obs=x)
    >>> def guide(x):
    ...     pyro.sample("z", Normal(x / 2, 0.5**0.5))
    >>> round(ppl_gen.DReG(num_particles=8).loss(model, guide, torch.tensor(0.0)), 4)
    1.2655
    """

    def __init__(self, num_particles: int = 64, **options: Any):
        super().__init__(num_particles, **options)

    def reduce(self, t: Terms, again: Rescore) -> Tensor:
        if t.score:
            raise ValueError(
                "expected latents with reparameterised samplers for doubly reparameterised "
                f"gradients, got {', '.join(f'{s} ~ {_kind(t, s)}' for s in t.score)}"
            )
        if not torch.is_grad_enabled():
            return super().reduce(t, again)
        drawn = {site: t.values[site] for site in _random(t)}
        fixed = {site: value.detach().requires_grad_() for site, value in drawn.items()}
        f = again(fixed)
        for site in fixed:
            _require_equal(t.log_q[site], f.log_q[site], site)
        through = _Squared(self.num_particles).reduce(replace(f, auxiliary={}), again)
        slopes = torch.autograd.grad(
            through, list(fixed.values()), retain_graph=True, allow_unused=True
        )
        log_q = {site: q.detach() if site in fixed else q for site, q in f.log_q.items()}
        loss = super().reduce(replace(f, log_q=log_q, auxiliary=t.auxiliary), again)
        for value, slope in zip(drawn.values(), slopes, strict=True):
            if slope is not None and value.requires_grad:
                loss = _with_gradient(loss, (slope * value).sum())
        return loss


class _Squared(IWAE):
    r"""The gradient :math:`\sum_k \bar w_k^2 \nabla \log w_k` in place of that of the bound."""

    def bound(self, t: Terms) -> Tensor:
        log_weight = t.log_weight()
        return (log_weight.detach().softmax(0).square() * log_weight).sum(0)


class ReweightedWakeSleep(IWAE):
    r"""Reweighted wake-sleep (Bornschein and Bengio 2015).

    The model climbs the importance weighted bound, by :math:`\sum_k \bar w_k \nabla_\theta \log
    p(x, z_k)`; the guide minimises :math:`\mathrm{KL}(p(z \mid x) \,\|\, q)`, by descending

    .. math::

        -\gamma \sum_k \bar w_k \nabla_\phi \log q(z_k \mid x)
        - (1 - \gamma)\, \nabla_\phi \log q(\tilde z \mid \tilde x), \qquad
        (\tilde x, \tilde z) \sim p,

    its wake and sleep updates. With :math:`\gamma = 0` and one particle this is wake-sleep (Hinton
    et al. 1995). The value of the loss is minus the bound.

    Asleep, a guide must see the dreamed data: they replace the argument that an observed site
    observes as it is, or are given as ``observations={site: value}``, as in Pyro, to a guide with
    an argument of that name.

    Args:
        num_particles: ``K``.
        insomnia: :math:`\gamma`, in [0, 1].
        options: see :class:`ppl_gen.Objective`.

    Raises:
        ValueError: insomnia outside [0, 1]; on use, a guide whose densities change from one run to
            the next, or that cannot be shown the dreamed data.

    >>> objective = ppl_gen.ReweightedWakeSleep(num_particles=8, insomnia=0.5)
    >>> vae = ppl_gen.zoo.vae((4,), 2, hidden=8, objective=objective)
    >>> svi = pyro.infer.SVI(vae.model, vae.guide, pyro.optim.Adam({"lr": 1e-3}), objective)
    >>> svi.step(torch.zeros(6, 4)) > 0
    True
    """

    def __init__(self, num_particles: int = 2, insomnia: float = 1.0, **options: Any):
        super().__init__(num_particles, **options)
        is_number = isinstance(insomnia, (int, float)) and not isinstance(insomnia, bool)
        if not is_number or not 0 <= insomnia <= 1:
            raise ValueError(f"expected insomnia from 0 to 1, got {insomnia!r}")
        self.insomnia = insomnia

    def reduce(self, t: Terms, again: Rescore) -> Tensor:
        f = again({site: t.values[site].detach() for site in _random(t)})
        for site in _random(t):
            _require_equal(t.log_q[site], f.log_q[site], site)
        f = replace(f, score={}, auxiliary=t.auxiliary)
        loss = super().reduce(_detached(f, "log_q"), again)
        if self.insomnia:
            known = _detached(replace(f, auxiliary={}), "log_lik", "log_p", "factors")
            loss = _with_gradient(loss, -self.insomnia * super().reduce(known, again))
        return loss

    def loss_and_metrics(
        self, model: Program, guide: Program, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, dict[str, Tensor]]:
        loss, metrics = super().loss_and_metrics(model, guide, *args, **kwargs)
        if self.insomnia < 1 and torch.is_grad_enabled():
            dreams = [_sleep(model, guide, args, kwargs) for _ in range(self.num_particles)]
            share = (1 - self.insomnia) / len(dreams)
            loss = _with_gradient(loss, share * functools.reduce(torch.add, dreams))
        return loss, metrics


def _sleep(
    model: Program, guide: Program, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Tensor:
    r""":math:`-\log q(z \mid x)` of one draw of the model, latents and data."""
    with torch.no_grad():
        dream = poutine.trace(poutine.uncondition(model)).get_trace(*args, **kwargs)
    nodes: list[Any] = list(dream.nodes.values())
    sites = [s for s in nodes if s["type"] == "sample" and s["infer"].get("obs") is not None]
    sites = [s for s in sites if s["infer"]["obs"].numel()]  # the others are factors
    observed = {s["name"]: s["infer"]["obs"] for s in sites}
    dreamed = {s["name"]: s["value"] for s in sites}
    args, kwargs = _shown(guide, args, kwargs, observed, dreamed)
    replayed = poutine.replay(guide, trace=dream)
    trace = poutine.trace(replayed).get_trace(*args, **kwargs)
    trace.compute_log_prob(lambda _, site: not site["is_observed"])
    guided: list[Any] = list(trace.nodes.values())
    drawn = [s for s in guided if s["type"] == "sample" and not s["is_observed"]]
    parts = [s["log_prob_sum"] for s in drawn if not site_is_subsample(s)]
    return -functools.reduce(torch.add, parts)


def _shown(
    guide: Program,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    observed: Mapping[str, Tensor],
    dreamed: Mapping[str, Tensor],
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of the guide with dreamed data in place of the observed."""
    if "observations" in inspect.signature(guide).parameters:
        return args, {**kwargs, "observations": dict(dreamed)}
    given = [*args, *kwargs.values()]
    if unseen := [name for name, x in observed.items() if not any(x is a for a in given)]:
        raise ValueError(
            "expected observed sites whose data are an argument of the guide, or a guide with an "
            f"argument 'observations', got {', '.join(unseen)}: asleep it cannot be shown a dream"
        )

    def exchanged(argument: Any) -> Any:
        return next((dreamed[n] for n, x in observed.items() if x is argument), argument)

    return tuple(map(exchanged, args)), {name: exchanged(a) for name, a in kwargs.items()}


def _random(t: Terms) -> list[str]:
    """The latents that the guide draws; points are functions of these and of parameters."""
    return [site for site in t.values if not t.is_point(site)]


def _kind(t: Terms, site: str) -> str:
    return type(base_of(t.posterior[site])).__name__


def _detached(t: Terms, *names: str) -> Terms:
    """Terms of which some are constants."""
    constant: dict[str, Any] = {}
    for name in names:
        part = getattr(t, name)
        constant[name] = (
            part.detach()
            if isinstance(part, Tensor)
            else {site: term.detach() for site, term in part.items()}
        )
    return replace(t, **constant)


def _with_gradient(loss: Tensor, surrogate: Tensor) -> Tensor:
    """A loss with the gradient of something else added to its own."""
    return loss + (surrogate - surrogate.detach())


def _require_equal(first: Tensor, second: Tensor, site: str) -> None:
    """Raise ``ValueError`` where a guide run at its own draws gives them other densities."""
    if not is_same(first.detach(), second.detach()):
        raise ValueError(
            f"expected a guide with the same density of {site} in every run, got another: dropout "
            "and other noise in the guide bias this gradient"
        )


if not TYPE_CHECKING:
    __getattr__ = suggesting(__name__)
