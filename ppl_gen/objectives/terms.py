r"""The one place that turns a model/guide pair into the terms of its variational objectives.

A guide :math:`q(z \mid x)` is run and its choices are replayed through the model
:math:`p(x, z) = p(x \mid z) \prod_s p(z_s)`. What remains are, per datum, :math:`\log p(x \mid z)`
and, per latent site :math:`s`, :math:`\log p(z_s)`, :math:`\log q(z_s)` and, where a closed form
may stand for their difference, :math:`\mathrm{KL}(q_s \,\|\, p_s)`. Every objective of
:mod:`ppl_gen.objectives.elbo` is a reduction of these.

What belongs to one datum is decided by the plates of the programs, never by sizes: the data plates
are those that all observed sites share, and of which every latent site has all or none.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from operator import add
from typing import Any, TypeAlias

import pyro
import torch
from pyro import poutine
from pyro.distributions import Delta, MaskedDistribution
from pyro.distributions.unit import Unit
from pyro.distributions.util import is_identically_zero
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor
from torch.distributions import Distribution, Independent

from ppl_gen.objectives.agreement import require_agreement
from ppl_gen.objectives.alignment import require_aligned
from ppl_gen.objectives.closed_forms import base_of
from ppl_gen.objectives.weights import (
    Scale,
    Site,
    common,
    handler_scale,
    log_prob,
    plate_scale,
    ratio,
    scaled,
    weight_of,
    weighted_kl,
)

Program: TypeAlias = Callable[..., Any]
PARTICLES = "_particles"
# A flag in ``infer`` of a site whose value was drawn elsewhere, in the plates of the model.
GIVEN = "_given"


@dataclass(frozen=True)
class Terms:
    r"""The terms of one draw of the guide, plate-scaled, in nats.

    Every term has shape ``(K, B)`` for ``K`` particles and ``B`` data, or ``(K, 1)`` for a site
    outside the data plates, a global latent. Other dimensions are summed out.

    Attributes:
        log_lik: :math:`\log p(x \mid z)`, summed over the observed sites in the data plates.
        log_p: :math:`\log p(z_s)` by latent site; 0 for an auxiliary site of the guide, which the
            model knows through the latents that are functions of it.
        log_q: :math:`\log q(z_s)` by latent site.
        score: the part of log_q whose gradient needs the score function, by site without a
            reparameterised sampler.
        entropy: the part of log_q to differentiate through the sample, by reparameterised site.
        kl: the closed form of :math:`\mathrm{KL}(q_s \| p_s)`, by site where there is one that
            equals the expected difference of what is scored; see
            :func:`ppl_gen.objectives.closed_forms.closed_kl`. The guide must draw what the prior
            may depend on before the site itself. Of a relaxed site that of the distributions it
            relaxes.
        mixed: the sites whose ``kl`` is the closed form in the elements that model and guide scale
            and mask alike, and log q − log p in the others.
        auxiliary: losses to be minimised that the guide declares with
            ``pyro.factor(name, loss, has_rsample=True)``.
        factors: logarithms of the model's factors and observations outside the data plates.
        values: the latent values, by site.
        upstream: by site the latent sites that the model draws before it.
        prior: :math:`p_s`, by site of the model.
        posterior: :math:`q_s`, by site.
        scale: the factor N/B that scales the terms of the data plates, 1 without subsampling.
        scales: by latent site, what its terms were multiplied by: its scale and mask together.
        weights: what handlers such as ``poutine.scale`` multiply the sites by, plates apart: a
            number or ``(B,)``; None where it varies within a datum.
        factorize: whether the data do: no latent, factor or observation lies outside their plates.
        partial: plates outside the data plates of which only a subsample was seen.
        subsamples: the indices that plates drew, by plate.
        nesting: how many dimensions the plates of the programs take.
        unweighted: makes these terms without the handlers' scales; None where there are none.

    >>> log_p, log_q = torch.tensor([[-1.0, -1.5]]), torch.tensor([[-0.5, -2.0]])
    >>> terms = ppl_gen.Terms(torch.tensor([[-3.0, -4.0]]), {"z": log_p}, {"z": log_q})
    >>> terms.log_weight()
    tensor([[-3.5000, -3.5000]])
    """

    log_lik: Tensor
    log_p: Mapping[str, Tensor] = field(default_factory=dict)
    log_q: Mapping[str, Tensor] = field(default_factory=dict)
    score: dict[str, Tensor] = field(default_factory=dict)
    entropy: Mapping[str, Tensor] = field(default_factory=dict)
    kl: dict[str, Tensor] = field(default_factory=dict)
    mixed: set[str] = field(default_factory=set)
    auxiliary: dict[str, Tensor] = field(default_factory=dict)
    factors: dict[str, Tensor] = field(default_factory=dict)
    values: dict[str, Tensor] = field(default_factory=dict)
    upstream: dict[str, frozenset[str]] = field(default_factory=dict)
    prior: dict[str, Distribution] = field(default_factory=dict)
    posterior: dict[str, Distribution] = field(default_factory=dict)
    scale: float = 1.0
    scales: dict[str, Scale] = field(default_factory=dict)
    weights: list[Scale | None] = field(default_factory=list)
    factorize: bool = True
    partial: frozenset[str] = frozenset()
    subsamples: dict[str, Tensor] = field(default_factory=dict)
    nesting: int = 0
    unweighted: Callable[[], Terms] | None = None

    def true(self) -> Terms:
        """The terms of the model as it is, without the scales that handlers put on its sites."""
        return self if self.unweighted is None else self.unweighted()

    def kl_of(self, site: str, *, analytic: bool = True) -> Tensor:
        """KL of one site: its closed form if wanted and known, else the estimate log q − log p."""
        if analytic and site in self.kl:
            return self.kl[site]
        return self.log_q[site] - self.log_p[site]

    def per_datum(self, term: Tensor) -> Tensor:
        """The mean of a term over data and particles, without the subsampling scale; 0-d."""
        return term.sum() / (term.shape[0] * self.log_lik.shape[1] * self.scale)

    def common_scale(self) -> Scale:
        """What every term is multiplied by: by handlers, and by a subsampled plate of the data.

        Handlers that treat sites differently count as 1.
        """
        weight = common(self.weights)
        if self.factorize:
            return weight * self.scale
        return 1.0 if isinstance(weight, Tensor) and weight.numel() > 1 else weight

    def log_weight(self) -> Tensor:
        r""":math:`\log p(x, z) - \log q(z \mid x)` by datum, of shape ``(K, B)``.

        :meth:`common_scale` is left out. With a global latent the data do not factorize: the shape
        is then ``(K, 1)``, the weight of the whole data set.

        Raises:
            ValueError: several particles and only a part of the data that share one weight.
        """
        parts = [self.log_lik, *self.factors.values()]
        parts += [self.log_p[s] - self.log_q[s] for s in self.log_p]
        seen_in_part = set(self.partial)
        if not self.factorize and self.scale != 1:
            seen_in_part.add("the data")
        if seen_in_part and len(self.log_lik) > 1:
            raise ValueError(
                "expected all data behind an importance weight, got a subsample of "
                f"{', '.join(sorted(seen_in_part))}: its expectation would be no bound"
            )
        if not self.factorize:
            parts = [part.sum(1, keepdim=True) for part in parts]
        total, scale = functools.reduce(add, parts), self.common_scale()
        return total if isinstance(scale, float) and scale == 1 else total / scale

    def latents(self) -> list[tuple[str, ...]]:
        """The latents as the user sees them: sites, each with the auxiliary sites it is made of.

        Sites that are functions of the same auxiliary site are one latent.
        """
        auxiliary = [site for site in self.log_q if site not in self.prior]
        if not auxiliary:
            return [(site,) for site in self.log_q]
        made = [s for s in self.log_q if s in auxiliary or self.is_point(s)]
        rest = [(s,) for s in self.log_q if s not in made]
        pairs = list(zip(made[::2], made[1::2], strict=False))
        if len(made) % 2 == 0 and all(a in auxiliary and s not in auxiliary for a, s in pairs):
            return [*pairs, *rest]
        return [tuple(made), *rest]

    def is_point(self, site: str) -> bool:
        return isinstance(base_of(self.posterior[site]), Delta)

    def is_degenerate(self, site: str) -> bool:
        """Whether a point posterior meets a continuous prior, so that the KL is infinite."""
        if not self.is_point(site) or any(s not in self.prior for s in self.log_q):
            return False  # a guide with auxiliary sites changes their variables at points
        support: Any = getattr(self.prior[site], "support", None)
        return not (support is not None and support.is_discrete)


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


class SetLatents(Messenger):
    """Gives latent sites stated values, leaving them latent (``condition`` would observe them)."""

    def __init__(self, values: Mapping[str, Tensor]):
        super().__init__()
        self.values = values

    def _pyro_sample(self, msg: Site) -> None:
        if msg["name"] in self.values and not msg["is_observed"]:
            msg["value"], msg["done"] = self.values[msg["name"]], True


def terms(
    model: Program,
    guide: Program,
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    values: Mapping[str, Tensor] | None = None,
    subsamples: Mapping[str, Tensor] | None = None,
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
        subsamples: indices for plates that would draw theirs.
        particles: the number ``K`` of draws, vectorised by a plate to the left of all others;
            ``None`` for one draw without that plate.
        max_plate_nesting: how many plate dimensions the programs use themselves.

    Raises:
        ValueError: the guide samples a site that the model lacks, or the other way round; a site
            asks to be enumerated; plates deeper than ``max_plate_nesting`` with particles.
    """
    kwargs = kwargs or {}
    model = _with_particles(model, particles, max_plate_nesting)
    guide = _with_particles(guide, particles, max_plate_nesting)
    with SetLatents({**(values or {}), **(subsamples or {})}):
        guide_trace = poutine.trace(guide).get_trace(*args, **kwargs)
        replayed = poutine.replay(model, trace=guide_trace)
        model_trace = poutine.trace(replayed).get_trace(*args, **kwargs)
    return _Collector(model_trace, guide_trace, particles, max_plate_nesting).terms()


class _Collector:
    """The sites of a pair of traces, and what they come to."""

    def __init__(
        self, model: poutine.Trace, guide: poutine.Trace, particles: int | None, nesting: int
    ):
        self.particles, self.particle_dim = particles, -nesting - 1
        self._plates: dict[int, dict[tuple[str, int], Any]] = {}
        sites = _scored(model)
        self.observed = {name: site for name, site in sites.items() if site["is_observed"]}
        self.model = {name: site for name, site in sites.items() if not site["is_observed"]}
        guided = _scored(guide)
        self.guide = {name: site for name, site in guided.items() if not site["is_observed"]}
        self.declared = {
            name: site
            for name, site in guided.items()
            if site["is_observed"] and (name not in self.observed or _is_declared(site))
        }
        require_agreement(self.model, self.guide)
        for site in self.observed.values():
            require_aligned(site, PARTICLES)
        for name, site in self.guide.items():
            if site["infer"].get(GIVEN):
                site["cond_indep_stack"] = self.model[name]["cond_indep_stack"]
        nodes: list[Site] = [*model.nodes.values(), *guide.nodes.values()]
        self.subsamples = {site["name"]: site["value"] for site in nodes if _draws_indices(site)}
        self.data = self._data_plates()
        self.nesting = max((-dim for s in nodes for _, dim in self.plates(s)), default=0)
        if particles is not None and self.nesting > nesting:
            raise ValueError(
                f"expected max_plate_nesting of at least {self.nesting}, the dimensions that the "
                f"plates take, got {nesting}"
            )

    def plates(self, site: Site) -> dict[tuple[str, int], Any]:
        """The vectorised plates around a site, by name and dimension."""
        if id(site) not in self._plates:
            self._plates[id(site)] = {
                (frame.name, frame.dim): frame
                for frame in site.get("cond_indep_stack", ())
                if frame.vectorized and frame.name != PARTICLES
            }
        return self._plates[id(site)]

    def _data_plates(self) -> dict[tuple[str, int], Any]:
        """The plates all observed sites share, of which each latent site has all or none."""
        data = [s for s in self.observed.values() if not isinstance(base_of(s["fn"]), Unit)]
        around = [self.plates(site) for site in data or self.observed.values()]
        shared = dict(around[0]) if around else {}
        shared = {key: f for key, f in shared.items() if all(key in other for other in around)}
        for name, site in self.guide.items():
            both = [self.plates(site), self.plates(self.model.get(name, site))]
            own = {key: f for key, f in shared.items() if all(key in other for other in both)}
            shared = own or shared
        return shared

    def is_local(self, *sites: Site) -> bool:
        """Whether sites lie in all data plates."""
        return all(self.data.keys() <= self.plates(site).keys() for site in sites)

    def reduce(self, term: Tensor, local: bool) -> Tensor:
        """Sum out all but particles and, for a local site, data: ``(K, B)`` or ``(K, 1)``."""
        kept = {dim for _, dim in self.data} if local else set()
        if self.particles is not None:
            kept.add(self.particle_dim)
        outside = [dim for dim in range(-term.dim(), 0) if dim not in kept]
        return (term.sum(outside) if outside else term).reshape(self.particles or 1, -1)

    def terms(self, weighted: bool = True) -> Terms:
        """The terms, with or without the scales that handlers put on sites."""
        scale_of = (lambda site: site["scale"]) if weighted else plate_scale
        every = [*self.observed.values(), *self.model.values(), *self.guide.values()]
        weights = [handler_scale(site) for site in every]
        declared = map(handler_scale, self.declared.values())
        uniform = all(isinstance(w, float) and w == 1 for w in (*weights, *declared))

        def scored(site: Site, local: bool) -> Tensor:
            return self.reduce(scaled(log_prob(site), site, scale_of), local)

        inside, factors = [], {}
        for name, site in self.observed.items():
            if self.is_local(site):
                inside.append(scored(site, True))
            else:
                factors[name] = scored(site, False)
        size = math.prod(frame.size for frame in self.data.values())
        log_lik = (
            functools.reduce(add, inside) if inside else torch.zeros(self.particles or 1, size)
        )
        log_p, log_q, entropy = Lazy(), Lazy(), Lazy()
        outside = [f for s in every for key, f in self.plates(s).items() if key not in self.data]
        result = Terms(
            log_lik,
            log_p,
            log_q,
            entropy=entropy,
            factors=factors,
            scale=math.prod(map(ratio, self.data.values())),
            weights=list(map(self.by_datum, weights)) if weighted else [],
            factorize=all(map(self.is_local, every)),
            partial=frozenset(frame.name for frame in outside if ratio(frame) != 1),
            subsamples=self.subsamples,
            nesting=self.nesting,
            unweighted=None if uniform or not weighted else partial(self.terms, False),
        )
        for name, site in self.declared.items():
            result.auxiliary[name] = scored(site, self.is_local(site))
        above = {name: frozenset([*self.model][:i]) for i, name in enumerate(self.model)}
        for name, site in self.guide.items():
            twin = self.model.get(name)
            local = self.is_local(site, twin or site)
            given = name in self.model and above[name] <= set(log_p)
            log_q.add(name, partial(scored, site, local))
            if twin is None:
                log_p.add(name, partial(_zeros_like, log_q, name))
            else:
                log_p.add(name, partial(scored, twin, local))
                result.prior[name], result.upstream[name] = twin["fn"], above[name]
            self._add_gradient_parts(result, name, site, local, scale_of(site))
            result.scales[name] = weight_of(site, scale_of(site))
            result.values[name], result.posterior[name] = site["value"], site["fn"]
            if twin is None or not given:
                continue
            divergence, mixed = weighted_kl(site, twin, scale_of)
            if divergence is not None:
                result.kl[name] = self.reduce(divergence, local)
                result.mixed.update({name} if mixed else ())
        return result

    def by_datum(self, scale: Scale) -> Scale | None:
        """A scale as a number or by datum, ``(B,)``; None where it varies within a datum."""
        if not isinstance(scale, Tensor) or scale.numel() == 1:
            return scale.reshape(()) if isinstance(scale, Tensor) else scale
        sizes = {dim: frame.size for (_, dim), frame in self.data.items()}
        varying = {i - scale.dim(): n for i, n in enumerate(scale.shape) if n != 1}
        if not varying.items() <= sizes.items():
            return None
        shape = [sizes.get(dim, 1) for dim in range(min(sizes), 0)]
        return scale.reshape(scale.shape[-len(shape) :]).expand(shape).reshape(-1)

    def _add_gradient_parts(
        self, result: Terms, name: str, site: Site, local: bool, scale: Scale
    ) -> None:
        """The score-function and the pathwise part of log q."""
        entropy: Any = result.entropy
        if _is_pathwise(site["fn"]):
            entropy.add(name, partial(result.log_q.__getitem__, name))
            return
        parts = site["fn"].score_parts(site["value"], *site["args"], **site["kwargs"])
        parts = parts.scale_and_mask(scale, site["mask"])
        if not is_identically_zero(parts.score_function):
            result.score[name] = self.reduce(parts.score_function, local)
        if not is_identically_zero(parts.entropy_term):
            entropy.add(name, partial(self.reduce, parts.entropy_term, local))


def _scored(trace: poutine.Trace) -> dict[str, Site]:
    """The sites with a density: samples, but no subsampling and no deterministic values."""
    nodes: dict[str, Site] = dict(trace.nodes.items())
    return {
        name: site
        for name, site in nodes.items()
        if site["type"] == "sample" and not site_is_subsample(site) and not _is_deterministic(site)
    }


def _is_deterministic(site: Site) -> bool:
    """Whether a site only records a value, by ``pyro.deterministic`` or a reparametrisation."""
    fn = site["fn"]
    recorded = isinstance(fn, MaskedDistribution) and isinstance(fn.base_dist, Delta)
    return site["infer"].get("_deterministic", False) or (
        recorded and site["is_observed"] and fn._mask is False
    )


def _is_declared(site: Site) -> bool:
    """Whether a site is a factor that was written for a guide, which says if it is pathwise."""
    return isinstance(site["fn"], Unit) and "has_rsample" in vars(site["fn"])


def _draws_indices(site: Site) -> bool:
    if site["type"] != "sample" or not site_is_subsample(site):
        return False
    size, drawn = site["fn"].size, site["fn"].subsample_size
    return drawn is not None and drawn < size and isinstance(site["value"], Tensor)


def _zeros_like(terms: Mapping[str, Tensor], name: str) -> Tensor:
    return torch.zeros_like(terms[name])


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
        with pyro.plate(PARTICLES, particles, dim=-max_plate_nesting - 1):
            return program(*args, **kwargs)

    return vectorized


def cat(draws: Iterable[Terms]) -> Terms:
    """The terms of several draws of one particle each, as those of several particles."""
    found = list(draws)
    first = found[0]

    def joined(name: str) -> dict[str, Tensor]:
        parts = [getattr(t, name) for t in found]
        return {site: torch.cat([part[site] for part in parts]) for site in parts[0]}

    def stacked(name: str) -> dict[str, Tensor]:
        parts = [getattr(t, name) for t in found]
        return {site: torch.stack([part[site] for part in parts]) for site in parts[0]}

    log_q = joined("log_q")
    entropy = {
        site: log_q[site]
        if all(t.entropy[site] is t.log_q[site] for t in found)
        else torch.cat([t.entropy[site] for t in found])
        for site in first.entropy
    }
    unweighted = None
    if first.unweighted is not None:
        unweighted = partial(_cat_true, found)
    return Terms(
        torch.cat([t.log_lik for t in found]),
        joined("log_p"),
        log_q,
        joined("score"),
        entropy,
        joined("kl"),
        first.mixed,
        joined("auxiliary"),
        joined("factors"),
        stacked("values"),
        first.upstream,
        first.prior,
        first.posterior,
        first.scale,
        first.scales,
        first.weights,
        first.factorize,
        first.partial,
        first.subsamples,
        first.nesting,
        unweighted,
    )


def _cat_true(draws: list[Terms]) -> Terms:
    return cat(t.true() for t in draws)
