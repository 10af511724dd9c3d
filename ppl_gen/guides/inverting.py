r"""Amortized guides: networks along the inverse of a model.

.. math::  q(z \mid x) = \prod_i q(z_i \mid \mathrm{net}_i(\mathrm{pa}_i)),

in which :math:`\mathrm{pa}_i` are the observed sites and earlier latents that the posterior of
:math:`z_i` depends on (:mod:`ppl_gen.guides.structure`), so that nothing is left out that some
parameters of the model would need. What is left is what a network cannot compute or a family cannot
be: linear Gaussian models and small discrete ones are represented exactly. The members of a plate
are drawn independently of each other given what comes before them; where they are coupled by the
data, as the components of a mixture are, :func:`graphs.guide_gaps` says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import reduce
from typing import Any

import networkx as nx
import pyro
import torch
from pyro import poutine
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from graphs.programs.reading import Edge
from graphs.programs.tracing import draw_improper
from ppl_gen._checks import is_whole
from ppl_gen._modes import seeded
from ppl_gen._store import register
from ppl_gen.guides.families import family_of, states
from ppl_gen.guides.heads import Network, Table
from ppl_gen.guides.structure import Input, inputs_of
from ppl_gen.guides.units import Units, features, units_of_data, units_of_prior

PRIOR_DRAWS = 24  # runs of the program that tell the units of its latents
MOST_CONFIGURATIONS = 1024  # of discrete inputs, up to which every one has its own parameters


def amortized(
    model: Callable[..., Any],
    *args: Any,
    hidden: Sequence[int] = (64,),
    assume: Iterable[Edge] = (),
    **kwargs: Any,
) -> Amortized:
    """A guide for a Pyro program that computes its posterior from the data.

    The program is run with these arguments to see its sites and their dependence; afterwards the
    guide takes other data too, and more or fewer rows unless a latent depends on them all. Train
    it as any pair, with ``ppl_gen.fit(ppl_gen.Pair(model, guide), data)`` or ``pyro.infer.SVI``.
    Discrete sites are summed over by ``TraceEnum_ELBO`` if it gets
    ``pyro.infer.config_enumerate(guide, "parallel")``. The members of a plate are drawn
    independently of each other. Data are what the program observes: what it only reads, such as
    covariates, or adds by ``pyro.factor``, no network looks at.

    Args:
        model: a Pyro program.
        *args: its arguments.
        **kwargs: its keyword arguments.
        hidden: the widths of the hidden layers of every network.
        assume: edges ``(u, v)`` of the program that tracing cannot see, as in
            :func:`graphs.from_pyro`.

    Raises:
        ValueError: no latent or no observed site, a latent whose support has no family, a plate
            that is subsampled, invalid widths.

    Two causes of one observed sum: the second looks at the first.

    >>> def model(total):
    ...     a = pyro.sample("a", pyro.distributions.Normal(0.0, 1.0))
    ...     c = pyro.sample("c", pyro.distributions.Normal(0.0, 1.0))
    ...     pyro.sample("s", pyro.distributions.Normal(a + c, 0.1), obs=total)
    >>> guide = ppl_gen.guides.amortized(model, torch.tensor(3.0))
    >>> guide
    Amortized(c | s; a | s, c)
    >>> graphs.guide_gaps(model, guide, torch.tensor(3.0)).sufficient
    True
    """
    if not isinstance(hidden, Sequence) or not all(is_whole(width, 1) for width in hidden):
        raise ValueError(f"expected a sequence of widths of at least 1, got {hidden!r}")
    sites, *others = _runs(model, args, kwargs)
    frames = {name: _plates(name, site) for name, site in sites.items()}
    plates = {name: tuple(around) for name, around in frames.items()}
    discrete = {name for name, site in sites.items() if site["fn"].support.is_discrete}
    inputs = inputs_of(model, args, kwargs, plates, discrete, assume)
    silent = {v for v, site in sites.items() if not site["value"].numel()}  # as pyro.factor is
    inputs = {v: tuple(i for i in a if i.name not in silent) for v, a in inputs.items()}
    draws = {v: [run[v] for run in (sites, *others) if v in run] for v in inputs}
    return Amortized(
        model, sites, frames, inputs, draws, tree_leaves((args, kwargs)), tuple(hidden)
    )


class Amortized(nn.Module):
    """The guide that :func:`amortized` makes: a callable with the arguments of the model.

    Attributes:
        inputs: the latents in the order in which they are drawn, each with what it depends on.

    >>> def model(x):
    ...     z = pyro.sample("z", pyro.distributions.Normal(0.0, 1.0))
    ...     with pyro.plate("rows", 4):
    ...         pyro.sample("x", pyro.distributions.Normal(z, 1.0), obs=x)
    >>> guide = ppl_gen.guides.amortized(model, torch.zeros(4))
    >>> guide.structure.edges
    OutEdgeView([('x', 'z')])
    >>> guide(torch.ones(4))["z"].shape
    torch.Size([])
    """

    def __init__(
        self,
        model: Callable[..., Any],
        sites: Mapping[str, Any],
        frames: Mapping[str, Mapping[str, Any]],
        inputs: Mapping[str, tuple[Input, ...]],
        draws: Mapping[str, Sequence[Any]],
        arguments: Sequence[Any],
        hidden: tuple[int, ...],
    ):
        super().__init__()
        self.inputs = dict(inputs)
        self._model = (model,)  # a tuple, so that a model that is a module is no part of this one
        self._sites = {name: _without_values(site) for name, site in sites.items()}
        self._frames = {name: dict(around) for name, around in frames.items()}
        self._observed = [v for v, site in sites.items() if site["is_observed"]]
        self._observed = [v for v in self._observed if sites[v]["value"].numel()]
        self._places = {
            v: next((i for i, leaf in enumerate(arguments) if leaf is sites[v]["value"]), None)
            for v in self._observed
        }
        self._families = {v: family_of(v, sites[v]["fn"]) for v in inputs}
        self._whole = {i.name for around in inputs.values() for i in around if i.whole}
        self._together = {p: v for v, around in inputs.items() for i in around for p in i.whole}
        self.dtype = _dtype(sites)
        self._number = {v: i for i, v in enumerate((*self._observed, *inputs))}
        self.units = nn.ModuleList(self._units(sites, draws))
        self.heads = nn.ModuleList(self._head(v, sites, hidden) for v in inputs).to(self.dtype)

    def __repr__(self) -> str:
        drawn = (f"{v} | {', '.join(i.name for i in around)}" for v, around in self.inputs.items())
        return f"{type(self).__name__}({'; '.join(drawn)})"

    @property
    def structure(self) -> nx.DiGraph:
        """The observed sites and the latents, with an edge from everything a latent looks at."""
        graph = nx.DiGraph()
        graph.add_nodes_from((v, {"observed": True}) for v in self._observed)
        graph.add_nodes_from(self.inputs)
        graph.add_edges_from((i.name, v) for v, around in self.inputs.items() for i in around)
        return graph

    def forward(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Draw every latent; returns the draws by name.

        Raises:
            ValueError: data with another number of members than the guide was built for, in a plate
                that a latent depends on as a whole; a site to be summed over of which other latents
                depend on all members.
        """
        register(self)
        values = self._observations(args, kwargs)
        sizes, made = self._sizes(values), dict[str, Any]()
        for (name, inputs), head in zip(self.inputs.items(), self.heads, strict=True):
            parameters = head([self._value(i, values) for i in inputs])
            around = self._frames[name]
            needed = max((-frame.dim for frame in around.values()), default=0)
            while parameters.dim() - 1 > needed and parameters.shape[0] == 1:
                parameters = parameters.squeeze(0)
            family = self._families[name]
            with ExitStack() as stack:
                for plate, frame in around.items():
                    if plate not in made:
                        made[plate] = pyro.plate(plate, sizes[plate], dim=frame.dim)
                    stack.enter_context(made[plate])
                fn: Any = family.make(parameters, *self.unit(name))
                values[name] = pyro.sample(name, fn)
            if name in self._whole:
                self._require_drawn(name, values[name], sizes)
        return {name: values[name] for name in self.inputs}

    # --- Data -----------------------------------------------------------------------------------

    def _observations(self, args: Any, kwargs: Any) -> dict[str, Tensor]:
        """The values of the observed sites: arguments, or what the model makes of them."""
        given = tree_leaves((args, kwargs))
        if all(place is not None for place in self._places.values()):
            return {v: given[place] for v, place in self._places.items() if place is not None}
        with torch.no_grad(), poutine.block(), _Drawn():
            nodes: Any = poutine.trace(self._model[0]).get_trace(*args, **kwargs).nodes
        return {v: nodes[v]["value"] for v in self._observed}

    def _sizes(self, values: Mapping[str, Tensor]) -> dict[str, int]:
        built = {p: int(f.size) for around in self._frames.values() for p, f in around.items()}
        sizes = dict(built)
        for name, value in values.items():
            fn, shape = self._sites[name]["fn"], self._sites[name]["shape"]
            for plate, frame in self._frames[name].items():
                place = frame.dim - fn.event_dim
                broadcast = len(shape) < -place or shape[place] != frame.size
                if not broadcast and value.dim() >= -place:
                    sizes[plate] = value.shape[place]
        for plate, name in self._together.items():
            if sizes[plate] != built[plate]:
                raise ValueError(
                    f"expected {built[plate]} members of the plate {plate!r}, since {name!r} "
                    f"depends on them all, got {sizes[plate]}"
                )
        return sizes

    def _require_drawn(self, name: str, value: Tensor, sizes: Mapping[str, int]) -> None:
        """Refuse a site summed over of which later ones have to see all members together."""
        for plate, frame in self._frames[name].items():
            place = frame.dim - self._sites[name]["fn"].event_dim
            if value.dim() < -place or value.shape[place] != sizes[plate]:
                raise ValueError(
                    f"expected {name!r} to be drawn and not enumerated, since other latents depend "
                    f"on all its members in {plate!r}"
                )

    # --- Networks -------------------------------------------------------------------------------

    def _head(self, name: str, sites: Mapping[str, Any], hidden: tuple[int, ...]) -> nn.Module:
        """What maps the inputs of a latent to the parameters of its family."""
        size, inputs = self._families[name].size, self.inputs[name]
        fns = [sites[i.name]["fn"] for i in inputs]
        counts = [None if f.event_shape else states(f) for f in fns]
        known = [count for count in counts if count is not None]
        small = math.prod(known) <= MOST_CONFIGURATIONS
        if len(known) == len(counts) and small and not any(i.whole for i in inputs):
            return Table(known, size)
        drawn = {i.name: sites[i.name]["value"] for i in inputs}
        widths = [self._value(i, drawn)[1].shape[-1] for i in inputs]
        members = [math.prod(self._frames[i.name][p].size for p in i.whole) for i in inputs]
        return Network(widths, members, hidden, size)

    def _value(self, wanted: Input, values: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The codes of an input and its features, in its units."""
        name, site = wanted.name, self._sites[wanted.name]
        value = self._widened(wanted, values[name], site)
        seen = features(value, site["fn"], self.dtype, name in self._observed)
        dims = [self._frames[name][p].dim for p in wanted.whole]
        return value, _flattened(self.units[self._number[name]](seen), dims)

    def _units(self, sites: Mapping[str, Any], draws: Mapping[str, Any]) -> Iterator[Units]:
        most = 0.0
        for v in self._observed:
            yield (units := units_of_data(sites[v]["value"], sites[v]["fn"], self.dtype))
            most = max(most, units.magnitude)
        for v in self.inputs:
            yield units_of_prior(draws[v], self.dtype, most)

    def unit(self, name: str) -> tuple[Tensor, Tensor]:
        """The middle and the spread of a site by component, in which networks see and place it."""
        units: Any = self.units[self._number[name]]
        return units.loc, units.scale

    def _widened(self, wanted: Input, value: Tensor, site: Mapping[str, Any]) -> Tensor:
        """The value with a dimension for each plate that is to be flattened."""
        events = site["fn"].event_dim
        least = max((-self._frames[wanted.name][p].dim for p in wanted.whole), default=0)
        while value.dim() - events < least:
            value = value.unsqueeze(0)
        return value


def _flattened(features: Tensor, dims: Sequence[int]) -> Tensor:
    """Features ``(..., n)`` of all members of the plates at these dimensions, which have size 1."""
    for dim in dims:
        place = dim - 1
        features = features.movedim(place, -2).flatten(-2).unsqueeze(place)
    return features


# --- Sites --------------------------------------------------------------------------------------


class _Drawn(Messenger):
    """Lets programs run whose priors have no draws."""

    def _pyro_sample(self, msg: Any) -> None:
        draw_improper(msg)


def _runs(model: Any, args: Any, kwargs: Any) -> list[dict[str, Any]]:
    """The sites of runs of a program; only the first one has to succeed."""
    found: list[dict[str, Any]] = []
    for seed in range(PRIOR_DRAWS):
        try:
            with poutine.block(), seeded(seed), torch.no_grad(), _Drawn():
                nodes: Any = poutine.trace(model).get_trace(*args, **kwargs).nodes
        except (ValueError, RuntimeError):  # parameters out of range, by a draw far out
            if not found:
                raise
            continue
        found.append({
            name: site for name, site in nodes.items()
            if site["type"] == "sample" and not site_is_subsample(site)
        })  # fmt: skip
    return found


def _plates(name: str, site: Mapping[str, Any]) -> dict[str, Any]:
    """The vectorised plates around a site, outermost first."""
    found = {}
    for frame in site["cond_indep_stack"]:
        if frame.full_size is not None and frame.full_size != frame.size:
            raise ValueError(
                f"expected plates of all their members, got {frame.name!r} around {name!r} with "
                f"{frame.size} of {frame.full_size}"
            )
        if frame.vectorized:
            found[frame.name] = frame
    return found


def _without_values(site: Mapping[str, Any]) -> dict[str, Any]:
    return {"fn": site["fn"], "shape": site["value"].shape}


def _dtype(sites: Mapping[str, Any]) -> torch.dtype:
    """The type of the program's log density."""
    kinds = [site["fn"].log_prob(site["value"]).dtype for site in sites.values()]
    return reduce(torch.promote_types, kinds)
