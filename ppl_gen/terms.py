r"""The one place that turns a model/guide pair into the terms of its variational objectives.

A guide :math:`q(z \mid x)` is run and its choices are replayed through the model
:math:`p(x, z) = p(x \mid z) \prod_s p(z_s)`. What remains are, per datum, :math:`\log p(x \mid z)`
and, per latent site :math:`s`, :math:`\log p(z_s)`, :math:`\log q(z_s)` and, where a closed form is
registered, :math:`\mathrm{KL}(q_s \,\|\, p_s)`. Every objective of :mod:`ppl_gen.objectives` is a
reduction of these.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from operator import add
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.distributions import Delta
from pyro.distributions.util import is_identically_zero, scale_and_mask
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import prune_subsample_sites
from torch import Tensor
from torch.distributions import Distribution, Independent, kl_divergence

from ppl_gen.relaxed import discrete

Program = Callable[..., Any]


@dataclass(frozen=True)
class Terms:
    r"""The terms of one draw of the guide, plate-scaled, in nats.

    Every term has shape ``(K, B)`` for ``K`` particles and ``B`` data, or ``(K, 1)`` for a site
    outside the data plate, a global latent. The data plate is what all observed sites share; other
    dimensions are summed out.

    Attributes:
        log_lik: :math:`\log p(x \mid z)`, summed over the observed sites.
        log_p: :math:`\log p(z_s)` by latent site.
        log_q: :math:`\log q(z_s)` by latent site.
        score: the part of log_q whose gradient needs the score function, by site without a
            reparameterised sampler.
        entropy: the part of log_q to differentiate through the sample, by reparameterised site.
        kl: the closed form of :math:`\mathrm{KL}(q_s \| p_s)`, by site where one is registered and
            the guide draws what the prior may depend on before the site itself; of a relaxed site
            that of the discrete distributions it relaxes.
        auxiliary: losses to be minimised that the guide declares with
            ``pyro.factor(name, loss, has_rsample=True)``.
        values: the latent values, by site.
        above: by site the latent sites that the model draws before it.
        prior: :math:`p_s`, by site.
        posterior: :math:`q_s`, by site.
        scale: the factor N/B that scales the terms of the data plate, 1 without subsampling.
        scales: by latent site, what its terms were multiplied by: its scale and mask together.
    """

    log_lik: Tensor
    log_p: Mapping[str, Tensor] = field(default_factory=dict)
    log_q: Mapping[str, Tensor] = field(default_factory=dict)
    score: dict[str, Tensor] = field(default_factory=dict)
    entropy: Mapping[str, Tensor] = field(default_factory=dict)
    kl: dict[str, Tensor] = field(default_factory=dict)
    auxiliary: dict[str, Tensor] = field(default_factory=dict)
    values: dict[str, Tensor] = field(default_factory=dict)
    above: dict[str, frozenset[str]] = field(default_factory=dict)
    prior: dict[str, Distribution] = field(default_factory=dict)
    posterior: dict[str, Distribution] = field(default_factory=dict)
    scale: float | Tensor = 1.0
    scales: dict[str, float | Tensor] = field(default_factory=dict)

    def kl_of(self, site: str, *, analytic: bool = True) -> Tensor:
        """KL of one site: its closed form if wanted and known, else the estimate log q − log p."""
        if analytic and site in self.kl:
            return self.kl[site]
        return self.log_q[site] - self.log_p[site]

    def per_datum(self, term: Tensor) -> Tensor:
        """The mean of a term over data and particles, without the subsampling scale; 0-d."""
        return term.sum() / (term.shape[0] * self.log_lik.shape[1] * self.scale)

    def log_weight(self) -> Tensor:
        r""":math:`\log p(x, z) - \log q(z \mid x)`, of shape ``(K, B)``.

        With a global latent the data do not factorise: the shape is then ``(K, 1)``, the weight of
        the whole data set.
        """
        parts = [self.log_lik, *(self.log_p[s] - self.log_q[s] for s in self.log_p)]
        if any(part.shape != self.log_lik.shape for part in parts):
            parts = [part.sum(1, keepdim=True) for part in parts]
        return sum(parts[1:], parts[0])

    def is_degenerate(self, site: str) -> bool:
        """Whether a point posterior meets a continuous prior, so that the KL is infinite."""
        base: Any = self.posterior[site]
        while hasattr(base, "base_dist"):
            base = base.base_dist
        support = self.prior[site].support
        return isinstance(base, Delta) and not (support is not None and support.is_discrete)


class Lazy(Mapping[str, Tensor]):
    """Terms by site, each computed when it is first asked for: many objectives need only the KL."""

    def __init__(self) -> None:
        self._makers: dict[str, Callable[[], Tensor]] = {}
        self._made: dict[str, Tensor] = {}

    def add(self, site: str, make: Callable[[], Tensor]) -> None:
        self._makers[site] = make

    def __getitem__(self, site: str) -> Tensor:
        if site not in self._made:
            self._made[site] = self._makers[site]()
        return self._made[site]

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


class Substitute(Messenger):
    """Gives latent sites stated values, leaving them latent (``condition`` would observe them)."""

    def __init__(self, values: Mapping[str, Tensor]):
        super().__init__()
        self.values = values

    def _pyro_sample(self, msg: dict[str, Any]) -> None:
        if msg["name"] in self.values and not msg["is_observed"]:
            msg["value"], msg["done"] = self.values[msg["name"]], True


def terms(
    model: Program,
    guide: Program,
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    values: Mapping[str, Tensor] | None = None,
    particles: int | None = None,
    max_plate_nesting: int = 1,
) -> Terms:
    """Run the guide, replay the model, and collect their :class:`Terms`.

    Args:
        model: a Pyro program with observed sites.
        guide: a Pyro program that samples the model's latent sites.
        args: positional arguments of both.
        kwargs: keyword arguments of both.
        values: latent values to score instead of drawing them from the guide.
        particles: the number ``K`` of draws, vectorised by a plate to the left of all others;
            ``None`` for one draw without that plate.
        max_plate_nesting: how many plate dimensions the programs use themselves.

    Raises:
        ValueError: the guide samples a site that the model lacks, or the other way round.
    """
    kwargs = kwargs or {}
    model = _with_particles(model, particles, max_plate_nesting)
    guide = _with_particles(guide, particles, max_plate_nesting)
    with Substitute(values or {}):
        guide_trace = _trace(guide, args, kwargs)
    model_trace = _trace(poutine.replay(model, trace=guide_trace), args, kwargs)

    def sites(trace: poutine.Trace) -> list[tuple[str, Any]]:
        return [(name, site) for name, site in trace.nodes.items() if site["type"] == "sample"]

    observed = [site for _, site in sites(model_trace) if site["is_observed"]]
    latent = [name for name, site in sites(model_trace) if not site["is_observed"]]
    above = {name: frozenset(latent[:i]) for i, name in enumerate(latent)}
    frames = _shared_frames(observed)
    if particles is not None:
        frames |= {-max_plate_nesting - 1}

    def reduce(term: Tensor) -> Tensor:
        outside = [dim for dim in range(-term.dim(), 0) if dim not in frames]
        return (term.sum(outside) if outside else term).reshape(particles or 1, -1)

    def log_prob(trace: poutine.Trace, name: str) -> Callable[[], Tensor]:
        def make() -> Tensor:
            trace.compute_log_prob(lambda other, _: other == name)
            return reduce(trace.nodes[name]["log_prob"])

        return make

    model_trace.compute_log_prob(lambda _, site: site["is_observed"])
    parts = [reduce(site["log_prob"]) for site in observed] or [torch.zeros(particles or 1, 1)]
    log_lik = functools.reduce(add, parts)
    log_p, log_q, entropy = Lazy(), Lazy(), Lazy()
    scale = observed[0]["scale"] if observed else 1.0
    result = Terms(log_lik, log_p, log_q, entropy=entropy, scale=scale)
    for name, site in sites(guide_trace):
        if site["is_observed"] or site["infer"].get("is_auxiliary"):
            result.auxiliary[name] = log_prob(guide_trace, name)()
            continue
        if name not in model_trace.nodes:
            raise ValueError(f"expected the guide's site {name!r} in the model, which has none")
        twin: Any = model_trace.nodes[name]
        result.above[name] = above.get(name, frozenset())
        given = result.above[name] <= set(log_p)
        log_p.add(name, log_prob(model_trace, name))
        log_q.add(name, log_prob(guide_trace, name))
        if _is_pathwise(site["fn"]):
            entropy.add(name, partial(log_q.__getitem__, name))
        else:
            parts = site["fn"].score_parts(site["value"], *site["args"], **site["kwargs"])
            parts = parts.scale_and_mask(site["scale"], site["mask"])
            if not is_identically_zero(parts.score_function):
                result.score[name] = reduce(parts.score_function)
            if not is_identically_zero(parts.entropy_term):
                entropy.add(name, partial(reduce, parts.entropy_term))
        mask = site["mask"]
        one = (
            1.0 if mask is None else torch.ones(site["fn"].batch_shape, device=site["value"].device)
        )
        result.scales[name] = scale_and_mask(one, site["scale"], mask)
        result.values[name] = site["value"]
        result.prior[name], result.posterior[name] = twin["fn"], site["fn"]
        if not given:
            continue  # the prior depends on draws made after this one: its KL is no function of q
        try:
            divergence = kl_divergence(discrete(site["fn"]), discrete(twin["fn"]))
        except NotImplementedError:
            continue
        result.kl[name] = reduce(scale_and_mask(divergence, site["scale"], site["mask"]))
    missing = [name for name in latent if name not in result.values]
    if missing:
        raise ValueError(f"expected the guide to sample every latent site, it lacks {missing}")
    return result


def _is_pathwise(fn: Any) -> bool:
    """Whether a draw carries the whole gradient, as Pyro assumes of reparameterised samplers."""
    while isinstance(fn, Independent):
        fn = fn.base_dist
    return fn.has_rsample and type(fn).score_parts is pyro.distributions.Distribution.score_parts


def _with_particles(program: Program, particles: int | None, max_plate_nesting: int) -> Program:
    """The program inside a plate of particles, to the left of its own plates."""
    if particles is None:
        return program

    def vectorized(*args: Any, **kwargs: Any) -> Any:
        with pyro.plate("particles", particles, dim=-max_plate_nesting - 1):
            return program(*args, **kwargs)

    return vectorized


def _trace(program: Program, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> poutine.Trace:
    return prune_subsample_sites(poutine.trace(program).get_trace(*args, **kwargs))


def _shared_frames(observed: list[dict[str, Any]]) -> set[int]:
    """Dimensions of the vectorised plates that contain every observed site."""
    shared = [{f.dim for f in site["cond_indep_stack"] if f.vectorized} for site in observed]
    return set.intersection(*shared) if shared else set()
