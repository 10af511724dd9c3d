r"""Pyro programs as graphs.

A program samples sites :math:`x_1, x_2, \ldots` in turn. Site v depends directly on site u, which
is an edge u → v, when the distribution of v changes with the value of u while the values of all
other sites are held: then :math:`p(x) = \prod_v p(x_v \mid x_{\mathrm{pa}(v)})`, and every
separation in the graph is an independence of the program. Two ways of finding edges are joined:

1. *Tracing*: each value carries the name of its site through all torch operations until it reaches
   another site's distribution. This sees every path the program takes through torch, also one
   that cancels, as in 0 · u.
2. *Redrawing*: where a value leaves torch (``.item()``, ``if z > 0:``, NumPy), the program is run
   again with that site redrawn and all others held, and the distributions are compared. This sees
   what the values tried bring about, so a rare branch can hide an edge.

The value of ``pyro.deterministic`` is a node too, a function of its parents. Edges of what uses it
come from the function if they come from an element of it that depends on all its parents, and from
the parents themselves otherwise, which says more. It is constant once its parents are known, and so
are functions of it: :func:`graphs.independent` counts them as observed then (Geiger, Verma and
Pearl 1990), so that no dependence is read off a path through a constant. A function without parents
is one to begin with, and has no edges.

Neither sees dependence on observed data that is read from the program's argument instead of the
site (autoregression through ``data[t - 1]``), on state kept outside torch, or on sites under
``poutine.block``. What is suspected is said in ``graph.graph["warnings"]``; ``assume=`` adds what
the user knows.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from math import prod
from typing import Any, TypeAlias

import networkx as nx
from torch import Tensor
from torch.utils._pytree import tree_leaves

from graphs.programs.tracing import Data, Run, Site, redraw, run
from graphs.structure.nodes import unknown
from graphs.structure.search import require_acyclic

Edge: TypeAlias = tuple[str, str]

_MOST_REDRAWN = 50  # sites per seed
_MOST_NODES, _MOST_EDGES = 10_000, 200_000


def from_pyro(
    program: Callable[..., Any],
    *args: Any,
    assume: Iterable[Edge] = (),
    unroll: bool | int = False,
    seeds: Iterable[int] = (0, 1, 2),
    **kwargs: Any,
) -> nx.DiGraph:
    """The graph of a Pyro program: nodes are its sites, edges direct dependence.

    The program is run once per seed as ``program(*args, **kwargs)``, and again with single sites
    redrawn if their values leave torch. Random states, the parameter store, Pyro's settings and the
    tensors the program writes to are afterwards as they were.

    Args:
        program: a model or a guide; handlers such as ``poutine.condition`` are respected. Arguments
            of it that are named like the options below go in by ``functools.partial``.
        assume: edges ``(u, v)`` to add.
        unroll: whether each site in a vectorised plate becomes one node per index, ``"x[2]"`` or
            ``"x[0,3]"`` (outermost plate first). Sites in the same plate are then joined index by
            index, which is what ``pyro.plate`` promises. A number is how many indices of each plate
            to show at most, all of which are alike. Sites in a sequential plate or a Python
            loop are nodes of their own anyway.
        seeds: of the runs; nodes and edges of all of them are joined.

    Returns:
        A ``DiGraph`` in the order of sampling. Node attributes: ``observed`` (queries do not
        condition on it by themselves), ``distribution`` (a class name), ``plates`` (a tuple of
        names, outermost first), ``deterministic`` where the value is a function of its parents, and
        ``enumerated`` where inference may sum over it (``infer={"enumerate": "parallel"}``);
        unrolled also ``site`` and ``index``. Edge attribute ``found``:
        ``"traced"``, ``"redrawn"`` or ``"assumed"``. Graph attributes: ``plates`` (name to size)
        and ``warnings`` (a list of str). ``pyro.factor`` is an observed node with distribution
        ``"Unit"``, to be conditioned on in queries.

    Raises:
        ValueError: a program that cannot be called with these arguments, no seed, a negative number
            of indices, an unknown name or a cycle in ``assume``, more than 10,000 nodes or 200,000
            edges after unrolling.

    >>> def program():
    ...     z = pyro.sample("z", pyro.distributions.Normal(0.0, 1.0))
    ...     with pyro.plate("data", 2):
    ...         pyro.sample("x", pyro.distributions.Normal(z, 1.0), obs=torch.ones(2))
    >>> graph = graphs.from_pyro(program, unroll=True)
    >>> graph.edges
    OutEdgeView([('z', 'x[0]'), ('z', 'x[1]')])
    >>> bool(graphs.independent(graph, "x[0]", "x[1]", given="z"))
    True
    """
    call, numbers = _bound(program, args, kwargs), _checked_seeds(seeds)
    assumed = _checked_pairs(assume)
    if unroll is not True and not (isinstance(unroll, int) and unroll >= 0):
        raise ValueError(
            f"expected unroll to be True, False or a number of indices, got {unroll!r}"
        )
    warnings: list[str] = []
    runs = {seed: run(call, seed) for seed in numbers}
    redrawn = _redrawn(call, runs, warnings)
    warnings += _variations(runs)
    graph = _joined(runs, redrawn, warnings)
    between_sites = [edge for edge in assumed if edge[0] in graph and edge[1] in graph]
    graph.add_edges_from(between_sites, found="assumed")
    require_acyclic(graph)
    if unroll:
        graph = _unrolled(graph, runs, None if unroll is True else unroll)
    for edge in assumed:
        if edge not in between_sites:
            _require_known(graph, edge)
            graph.add_edge(*edge, found="assumed")
    require_acyclic(graph)
    for node in list(nx.topological_sort(graph)):
        if graph.nodes[node].get("deterministic") and not graph.pred[node]:
            graph.remove_edges_from([(node, v) for v in graph[node]])  # nothing hangs on a constant
    return graph


# --- Arguments ----------------------------------------------------------------------------------


def _bound(program: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Callable[[], Any]:
    if not callable(program):
        raise ValueError(f"expected a Pyro program to call, got {type(program).__name__}")
    try:
        signature = inspect.signature(program)
    except (TypeError, ValueError):  # some callables have none
        return partial(program, *args, **kwargs)
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        raise ValueError(
            f"expected arguments that fit the program's signature {signature}, got {error}"
        ) from None
    return partial(program, *args, **kwargs)


def _checked_seeds(seeds: Any) -> tuple[int, ...]:
    numbers = tuple(seeds) if isinstance(seeds, Iterable) else (seeds,)
    if not numbers or not all(isinstance(s, int) and 0 <= s < 2**32 - 1 for s in numbers):
        raise ValueError(f"expected at least one seed, integers from 0 to 2**32 - 2, got {seeds!r}")
    return tuple(dict.fromkeys(numbers))


def _checked_pairs(assume: Any) -> tuple[Edge, ...]:
    pairs = tuple(assume) if isinstance(assume, Iterable) else (assume,)
    for pair in pairs:
        if not (isinstance(pair, (tuple, list)) and len(pair) == 2):
            raise ValueError(f"expected assume to hold pairs (u, v) of sample sites, got {pair!r}")
    return tuple((u, v) for u, v in pairs)


def _require_known(graph: nx.DiGraph, edge: Edge) -> None:
    for name in edge:
        if name not in graph:
            raise ValueError(f"expected sample sites in assume, got {unknown(graph, name)}")


# --- What the runs add up to --------------------------------------------------------------------


def _redrawn(
    call: Callable[[], Any], runs: Mapping[int, Run], warnings: list[str]
) -> dict[Edge, None]:
    """Edges from sites whose values leave torch, found by redrawing them."""
    edges: dict[Edge, None] = {}
    for seed, first in runs.items():
        for u in first.escaping[:_MOST_REDRAWN]:
            try:
                for changed in redraw(call, seed, first, u):
                    edges.update(((u, v), None) for v in changed)
            except Exception as error:
                text = f"redrawing {u!r} made the program fail: {type(error).__name__}: {error}"
                warnings.append(text)
        if len(first.escaping) > _MOST_REDRAWN:
            warnings.append(
                f"{len(first.escaping)} sites have values that leave torch; only the first "
                f"{_MOST_REDRAWN} were redrawn"
            )
    return edges


def _variations(runs: Mapping[int, Run]) -> Iterator[str]:
    """What is not the same under every seed, and what suggests an edge nobody can see."""
    sites = {name: None for r in runs.values() for name in r.sites}
    for name in sites:
        seen = {seed: r.sites[name] for seed, r in runs.items() if name in r.sites}
        if len(seen) < len(runs):
            yield f"{name!r} is sampled under seed {_list(seen)} but not under {_rest(runs, seen)}"
        for what, kinds in {
            "distribution": {s.distribution for s in seen.values()},
            "plates": {_frames(s) for s in seen.values()},
            "status": {"observed" if s.observed else "latent" for s in seen.values()},
        }.items():
            if len(kinds) > 1:
                yield f"{name!r} varies with the seed in its {what}: {_list(sorted(kinds))}"
        sources = frozenset[Any]().union(*(site.labels for site in seen.values()))
        for u in (u for u in sites if u in sources):
            both = {seed: s for seed, s in seen.items() if u in runs[seed].sites}
            using = [seed for seed, s in both.items() if u in s.labels]
            if using and len(using) < len(both):
                yield (
                    f"{name!r} uses the value of {u!r} under seed {_list(using)} but not under "
                    f"{_rest(both, using)}"
                )
        if not any(isinstance(v, Tensor) for s in seen.values() for v in tree_leaves(s.value)):
            yield f"the value of {name!r} is no tensor, so what depends on it cannot be traced"
        for u in (u for u in sites if Data(u) in sources):
            yield (
                f"{name!r} reads data that {u!r} observed; if that is dependence on {u!r}, "
                f"pass assume=[({u!r}, {name!r})]"
            )


def _frames(site: Site) -> str:
    return "(" + ", ".join(f"{f.name} of size {_size(f)}" for f in site.frames) + ")"


def _size(frame: Any) -> int:
    """The size of a plate before subsampling."""
    return int(frame.full_size or frame.size)


def _list(items: Iterable[Any]) -> str:
    return ", ".join(map(str, items))


def _rest(whole: Iterable[int], part: Iterable[int]) -> str:
    return _list(sorted(set(whole) - set(part)))


def _escapes(runs: Mapping[int, Run], graph: nx.DiGraph) -> Iterator[str]:
    """Where values leave torch, and what redrawing their sites showed."""
    for r in runs.values():
        for escape in r.escapes:
            for u in sorted(str(n) for n in escape.labels if n in r.sites):
                found = [repr(v) for v in graph[u] if graph.edges[u, v]["found"] == "redrawn"]
                shown = f"gave edges to {_list(found)}" if found else "gave no further edge"
                yield (
                    f"the value of {u!r} leaves torch at {escape.place} ({escape.how}), where it "
                    f"cannot be traced; redrawing it {shown} (assume= adds what else you know of)"
                )


def _joined(
    runs: Mapping[int, Run], redrawn: Mapping[Edge, None], warnings: Sequence[str]
) -> nx.DiGraph:
    """One graph of all runs, in the order of sampling."""
    found = nx.DiGraph()
    plates: dict[str, int] = {}
    for r in runs.values():
        for name, site in r.sites.items():
            plates |= {f.name: _size(f) for f in site.frames if f.name not in plates}
            if name not in found:
                found.add_node(
                    name,
                    observed=site.observed,
                    distribution=site.distribution,
                    plates=site.plates,
                    **({"deterministic": True} if site.deterministic else {}),
                    **({"enumerated": True} if site.enumerated else {}),
                )
    for r in runs.values():
        for name, site in r.sites.items():
            found.add_edges_from(((u, name) for u in r.sites if u in site.labels), found="traced")
    known = [(u, v) for u, v in redrawn if u in found and v in found]
    found.add_edges_from((e for e in known if not found.has_edge(*e)), found="redrawn")
    require_acyclic(found)
    rank = {name: i for i, name in enumerate(found)}
    graph = nx.DiGraph(plates=plates)
    order = nx.lexicographical_topological_sort(found, key=rank.__getitem__)
    graph.add_nodes_from((name, found.nodes[name]) for name in order)
    graph.add_edges_from(found.edges(data=True))
    graph.graph["warnings"] = list(dict.fromkeys([*warnings, *_escapes(runs, graph)]))
    if not graph:
        graph.graph["warnings"].append("the program has no sample site")
    return graph


# --- Unrolling ----------------------------------------------------------------------------------


def _past_wider_functions(graph: nx.DiGraph, sizes: Mapping[str, Mapping[str, int]]) -> nx.DiGraph:
    """The graph without ways through a function of all rows to what uses it row by row.

    The rows of a plate would meet in the one node of the function, which stands outside. What uses
    it is joined to the function's parents instead.
    """
    result, above = graph.copy(), dict[str, set[str]]()
    for node in graph:
        ways = (sizes[u].keys() | above.get(u, set()) for u in graph.pred[node])
        if graph.nodes[node].get("deterministic"):
            above[node] = set().union(*ways) - sizes[node].keys()
    for node in reversed(above):
        for child in [v for v in result[node] if above[node] & sizes[v].keys()]:
            attributes = result.edges[node, child]
            result.remove_edge(node, child)
            missing = [u for u in result.pred[node] if not result.has_edge(u, child)]
            result.add_edges_from(((u, child) for u in missing), **attributes)
    return result


def _unrolled(graph: nx.DiGraph, runs: Mapping[int, Run], most: int | None) -> nx.DiGraph:
    """One node per site and index of its vectorised plates, or at most so many indices."""
    sizes: dict[str, dict[str, int]] = {}
    for r in runs.values():
        for name, site in r.sites.items():
            plates = {f.name: int(f.size) for f in site.frames if f.vectorized}
            sizes.setdefault(
                name, {p: n if most is None else min(n, most) for p, n in plates.items()}
            )
    count = sum(prod(s.values()) for s in sizes.values())
    if count > _MOST_NODES:
        raise ValueError(f"expected at most {_MOST_NODES} nodes after unrolling, got {count}")
    edges = sum(prod((sizes[u] | sizes[v]).values()) for u, v in graph.edges)
    if edges > _MOST_EDGES:
        raise ValueError(f"expected at most {_MOST_EDGES} edges after unrolling, got {edges}")
    result = nx.DiGraph(**graph.graph)
    graph = _past_wider_functions(graph, sizes)
    for name, attributes in graph.nodes(data=True):
        for index in _indices(sizes[name]):
            places = tuple(index[plate] for plate in sizes[name])
            result.add_node(_indexed(name, places), site=name, index=places, **attributes)
    for u, v, attributes in graph.edges(data=True):
        for index in _indices(sizes[u] | sizes[v]):
            head, tail = ([index[plate] for plate in sizes[site]] for site in (v, u))
            result.add_edge(_indexed(u, tail), _indexed(v, head), **attributes)
    return result


def _indices(sizes: Mapping[str, int]) -> Iterator[dict[str, int]]:
    for places in product(*map(range, sizes.values())):
        yield dict(zip(sizes, places, strict=True))


def _indexed(name: str, places: Sequence[int]) -> str:
    return f"{name}[{','.join(map(str, places))}]" if places else name
