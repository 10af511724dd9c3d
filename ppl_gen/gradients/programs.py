r"""Problems made of Pyro programs: the ELBO gradient in the parameters of a guide.

For a latent site with :math:`q(z \mid x)` in the guide, the expectation is

.. math::

    -\mathrm{ELBO} = E_q[-\log p(x, z) + \log q(z \mid x)],

summed over the data as in Pyro; the gradient is taken in the guide's parameters, through that site.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from pyro import poutine
from torch import Tensor, nn
from torch.distributions import Bernoulli, Distribution, Normal, kl_divergence

from ppl_gen._random import preserved
from ppl_gen._store import param_leaves, unregistered
from ppl_gen.estimators.base import Estimator, Expectation
from ppl_gen.estimators.by_name import make
from ppl_gen.estimators.families import (
    base_of,
    describe,
    enumerate_support,
    leaves,
    log_prob,
    support_size,
)
from ppl_gen.gradients.problems import Problem
from ppl_gen.gradients.pullback import LinearCalls, NetworkPullback
from ppl_gen.models.vae import VAE, require_vae
from ppl_gen.objectives.surrogates import Bound, context_of, runner
from ppl_gen.objectives.terms import Program, Terms, terms

LISTABLE = 1 << 12
ELEMENTS = 1 << 20  # pixels decoded at a time: activations stay in cache


def program(
    model: Program,
    guide: Program,
    *args: Any,
    site: str | None = None,
    kl: str = "sampled",
    name: str = "program",
    **kwargs: Any,
) -> Problem:
    """The gradient of minus the ELBO in a guide's parameters, through one of its latent sites.

    Sites above it keep the values of one draw; those below are drawn anew with every evaluation.
    The truth is known where the site's values can be listed, up to 4,096 of them.

    Args:
        model: a Pyro program with observed sites.
        guide: a Pyro program; one plate dimension at most.
        args: positional arguments of both; the first is what a network baseline looks at.
        site: the latent site; may be left out if there is only one.
        kl: ``"sampled"`` for the estimate log q − log p under the expectation, as in
            ``pyro.infer.Trace_ELBO``; ``"analytic"`` for its closed form outside it, as in
            ``pyro.infer.TraceMeanField_ELBO``.
        name: what it is called in tables.
        kwargs: keyword arguments of both.

    Raises:
        ValueError: no such site, no closed form of the KL, or a guide without parameters.

    >>> from pyro.distributions import Bernoulli, Normal
    >>> def model(x):
    ...     z = pyro.sample("z", Bernoulli(0.5))
    ...     pyro.sample("x", Normal(2 * z - 1, 1.0), obs=x)
    >>> def guide(x):
    ...     pyro.sample("z", Bernoulli(logits=pyro.param("logit", torch.tensor(0.0))))
    >>> problem = ppl_gen.gradients.program(model, guide, torch.tensor(1.0))
    >>> problem.truth()
    {'logits': tensor([[-0.5000]])}
    """
    if not (callable(model) and callable(guide)):
        raise ValueError(f"expected a model and a guide to call, got {model!r} and {guide!r}")
    if kl not in ("sampled", "analytic"):
        raise ValueError(f"expected kl 'sampled' or 'analytic', got {kl!r}")

    held: dict[str, Tensor] = {}

    def evaluate(guide: Program, values: Mapping[str, Tensor], particles: int) -> Terms:
        with unregistered():
            t = terms(
                model, guide, args, kwargs, values=values, subsamples=held, particles=particles
            )
        held.update(t.subsamples)
        return t

    def ordinary(site: str, t: Terms) -> Estimator:
        return make("reparameterized" if t.posterior[site].has_rsample else "score")

    parameters = _parameters(guide, args, kwargs)
    run = runner(evaluate, guide)
    with preserved(), LinearCalls() as recorder:
        t = run({}, 1)
    sites = list(t.posterior)
    site = _choose(site, sites)
    position = sites.index(site)
    bound = Bound(run, ordinary, analytic=kl == "analytic", context=context_of(args, t))
    above = {s: t.values[s].detach() for s in sites[:position]}
    e = bound.expectation(t, sites[position:], above)
    if kl == "analytic" and not bound.outside(site, t):
        raise ValueError(f"expected a site whose KL has a closed form, got {site!r}")

    def divergence(q: Distribution) -> Tensor:
        return t.scales[site] * kl_divergence(q, t.prior[site].expand(q.batch_shape))

    problem = Problem(
        name,
        e.distribution,
        e.cost,
        entropy=e.entropy,
        context=e.context,
        regularizer=divergence if kl == "analytic" else None,
        pullback=NetworkPullback(leaves(e.distribution), parameters, recorder.calls),
        rows=max(64, ELEMENTS // _size(e)),
    )
    if site == sites[-1] and (support_size(e.distribution) or math.inf) <= LISTABLE:
        problem.exact = lambda q, draws: _enumerated(problem, q) if draws == 1 else None
    return problem


def gaussian_vae(vae: VAE, x: Tensor, y: Tensor | None = None, *, kl: str = "sampled") -> Problem:
    """The encoder gradient of a VAE whose posterior is a diagonal normal, for images x.

    The gradient is that of minus the ELBO, summed over the images, in every parameter of the
    encoder: what one step of ``pyro.infer.SVI`` estimates. In a hierarchy it is that of the latent
    which the guide draws first.

    Args:
        vae: the model.
        x: images ``(B, C, H, W)``.
        y: labels ``(B,)`` of a conditional model.
        kl: ``"sampled"`` or ``"analytic"``, see :func:`program`.

    Raises:
        ValueError: another kind of posterior, or images the model cannot be given.

    >>> vae = ppl_gen.zoo.vae((4,), 2, hidden=8)
    >>> problem = ppl_gen.gradients.gaussian_vae(vae, torch.zeros(3, 4), kl="analytic")
    >>> row = ppl_gen.gradients.compare(problem, "reparameterized", draws=20).rows[0]
    >>> row.cost
    1.0
    """
    return _vae_problem(vae, x, y, kl, Normal, "gaussian_vae")


def bernoulli_vae(vae: VAE, x: Tensor, y: Tensor | None = None, *, kl: str = "sampled") -> Problem:
    """The encoder gradient of a VAE with Bernoulli latents; see :func:`gaussian_vae`.

    >>> vae = ppl_gen.zoo.bernoulli_vae((4,), 3)
    >>> problem = ppl_gen.gradients.bernoulli_vae(vae, torch.zeros(2, 4))
    >>> row = ppl_gen.gradients.compare(problem, "disarm", draws=20).rows[0]
    >>> row.cost
    2.0
    """
    return _vae_problem(vae, x, y, kl, Bernoulli, "bernoulli_vae")


def _vae_problem(
    vae: VAE, x: Tensor, y: Tensor | None, kl: str, family: type, name: str
) -> Problem:
    require_vae(vae)
    with torch.no_grad(), preserved(), unregistered():
        vae.check(x)
        trace = poutine.trace(vae.guide).get_trace(x, y)
    names = {latent.name for latent in vae.latents}
    site = next(node for node in trace.stochastic_nodes if node in names)
    q: Any = trace.nodes[site]["fn"]
    if not isinstance(base_of(q), family):
        raise ValueError(
            f"expected a VAE with a {family.__name__} posterior for {name}, got {describe(q)}"
        )
    label = f"{name}({len(x)} images, {q.event_shape[-1]} latents)"
    return program(vae.model, vae.guide, x, y, site=site, kl=kl, name=label)


def _size(e: Expectation) -> int:
    """Roughly how many numbers one evaluation handles."""
    data = e.context[0].numel() if e.context is not None else 1
    return max(16, data, math.prod(e.distribution.event_shape))


def _choose(site: str | None, known: list[str]) -> str:
    if site is None and len(known) == 1:
        return known[0]
    if site not in known:
        raise ValueError(f"expected site= one of the guide's latent sites {known}, got {site!r}")
    return site


def _parameters(
    guide: Program, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, Tensor]:
    """The unconstrained parameters a guide may use, by name."""
    owner = getattr(guide, "__self__", guide)
    if isinstance(owner, VAE):
        return dict(owner.named_parameters())
    with torch.no_grad(), poutine.trace(param_only=True) as capture, preserved():
        guide(*args, **kwargs)
    found = param_leaves(capture.trace)
    if isinstance(owner, nn.Module):
        found |= dict(owner.named_parameters())
    return found


def _enumerated(problem: Problem, q: Distribution) -> Tensor:
    """The expectation as a sum over the values of one event."""
    values = enumerate_support(q)
    log_q = log_prob(q, values)
    chunk = max(1, problem.rows // q.batch_shape.numel())
    with torch.no_grad():
        costs = torch.cat([problem.cost(part) for part in values.split(chunk)])
    return (log_q.exp() * (costs + problem.entropy * log_q)).sum(0)
