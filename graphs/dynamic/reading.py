"""Two-slice networks as others write them.

=======================  ===========================================================================
written as               for example
=======================  ===========================================================================
pgmpy                    ``DynamicBayesianNetwork``, or a graph of pairs ``("X", 0)``, ``("X", 1)``
pyAgrum's names          ``X0`` (or ``X_0``, ``X[0]``) in the first slice and ``Xt`` in all others,
                         to which ``X0`` is the slice before, in a network, a file or a
                         factorization; any other name is static
a sequence               ``X_0``, ``X_1``, ``X_2``, ... (or ``X0`` or ``X[0]``), such as the sites
                         of a Pyro program; all slices after the first have to be alike
=======================  ===========================================================================
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import networkx as nx
import numpy as np

from graphs.dynamic.two_slice import Parent, TwoSlice
from graphs.language.notation import Node
from graphs.parameters.bridge import tables_of
from graphs.parameters.checking import checked
from graphs.parameters.tables import Scope, Tables, find_fault
from graphs.structure.models import as_graph
from graphs.structure.nodes import latent_nodes

_SUFFIX = re.compile(
    r"(?P<stem>.+?)(?P<mark>_?)(?P<time>[0t])|(?P<bracketed>.+)\[(?P<inside>[0t])\]"
)
_NUMBERED = re.compile(r"(?P<stem>.*?[^\d_\[])(?:_?(?P<number>\d+)|\[(?P<inside>\d+)\])", re.DOTALL)

# Where a node stands: its variable, and its slice, 0 or 1 (or None where it has no time).
Place = tuple[Hashable, int | None]


def two_slice(model: Any, *args: Any, **kwargs: Any) -> TwoSlice:
    r"""A network that repeats in time, from a model of two slices or of a longer sequence.

    Args:
        model: a pgmpy ``DynamicBayesianNetwork`` or a graph of pairs ``("X", 0)``, ``("X", 1)``; a
            directed model whose nodes are named ``X0`` and ``Xt`` as pyAgrum does, where ``X0`` is
            also the slice before ``Xt``; one whose nodes are named ``X_0``, ``X_1``, ``X_2`` and
            so on; or a Pyro program that samples such sites, in a ``pyro.markov`` loop or a plain
            one.
            Of a variable without a first slice of its own, such as ``Y_t`` without ``Y_0``, or
            without a table for one of the two in pgmpy's network, both are alike where its parents
            lie in the same slice.
        args, kwargs: of a program, which is run as :func:`graphs.from_pyro` does.

    Returns:
        A :class:`TwoSlice`, with tables if the model is one of two slices and has them. Of a
        program or another sequence it is the structure alone, and functions
        (``pyro.deterministic``) count as variables that are not determined by their parents.

    Raises:
        ValueError: names that tell no slices, a static variable below one of a slice, arrows back
            in time or over more than one slice (such as those of ``history=2``), slices of a
            sequence that are not alike or fewer than three, tables that miss or do not fit, states
            that differ between slices, an undirected model.

    >>> rain = graphs.two_slice(graphs.parse("P(R_0) P(R_t | R_0) P(U_t | R_t)"))
    >>> rain.initial["U"]
    (Parent(variable='R', lag=0),)

    >>> def walk(steps):
    ...     x = torch.tensor(0.0)
    ...     for t in pyro.markov(range(steps)):
    ...         x = pyro.sample(f"x_{t}", pyro.distributions.Normal(x, 1.0))
    ...         pyro.sample(f"y_{t}", pyro.distributions.Normal(x, 1.0))
    >>> graphs.two_slice(walk, 4)
    <TwoSlice x_t, y_t: x_t-1 → x_t, x_t → y_t>
    """
    if callable(model) and not isinstance(model, nx.Graph) and not hasattr(model, "factors"):
        from graphs.programs.reading import from_pyro

        return _of_sequence(from_pyro(model, *args, **kwargs))
    if args or kwargs:
        raise ValueError(
            f"expected arguments for a Pyro program alone, got some for {type(model).__name__}"
        )
    if isinstance(model, TwoSlice):
        return model
    graph = model.graph if isinstance(model, Tables) else as_graph(model)
    if not graph.is_directed():
        raise ValueError("expected a directed model of two slices, got an undirected one")
    if not graph:
        raise ValueError("expected a model of two slices, got one without nodes")
    if all(map(_is_pair, graph)):
        return _of_pairs(model, graph)
    places = _suffixes(graph)
    if any(slice_number == 1 for _, slice_number in places.values()):
        entries = None
        if isinstance(model, Tables) or getattr(model, "cpds", None):
            entries = [(scope, table) for scope, table in tables_of(model).factors]
        states = None if entries is None else tables_of(model).states
        return _of_two(graph, places, entries, states)
    return _of_sequence(graph)


# --- Two slices ---------------------------------------------------------------------------------


def _is_pair(node: Any) -> bool:
    """Whether a node is a variable and a slice, as a tuple or as pgmpy's own class."""
    if isinstance(node, str):
        return False
    try:
        return node[1] in (0, 1) and (len(node) == 2 if isinstance(node, tuple) else True)
    except (TypeError, IndexError, KeyError):
        return False


def _of_pairs(model: Any, graph: nx.DiGraph) -> TwoSlice:
    """A graph of pairs, with the tables of pgmpy's dynamic network."""
    places: dict[Node, Place] = {node: (node[0], node[1]) for node in graph}
    cpds = getattr(model, "cpds", None)
    if not cpds:
        return _of_two(graph, places, None, None)
    entries: list[tuple[Scope, Any]] = []
    states: dict[Node, tuple[Hashable, ...]] = {}
    for cpd in cpds:
        if not hasattr(cpd, "state_names") or not hasattr(cpd, "variables"):
            raise ValueError(f"expected tables (TabularCPD), got {type(cpd).__name__}")
        names = [(v[0], v[1]) for v in cpd.variables]
        for v, name in zip(cpd.variables, names, strict=True):
            named = tuple(cpd.state_names[v])
            if states.setdefault(name, named) != named:
                raise ValueError(
                    f"expected the same states of {name!r} in every table, got "
                    f"{list(states[name])} and {list(named)}"
                )
        entries.append(((*names[1:], names[0]), np.moveaxis(np.asarray(cpd.values), 0, -1)))
    return _of_two(graph, places, entries, states)


def _suffixes(graph: nx.DiGraph) -> dict[Node, Place]:
    """The places of nodes named ``X0`` and ``Xt``, or ``X_t`` alone; any other has no time."""
    found: dict[Node, tuple[str, int]] = {}
    told: set[str] = set()
    for node in graph:
        if match := _SUFFIX.fullmatch(node) if isinstance(node, str) else None:
            stem, time = match["stem"] or match["bracketed"], match["time"] or match["inside"]
            found[node] = stem, int(time == "t")
            if time == "t" and (match["mark"] or match["inside"]):
                told.add(stem)
    stems = Counter(stem for stem, _ in found.values())
    places: dict[Node, Place] = {}
    for node in graph:
        stem, time = found.get(node, ("", 0))
        places[node] = (stem, time) if stems[stem] > 1 or stem in told else (node, None)
    return places


def _of_two(
    graph: nx.DiGraph,
    places: Mapping[Node, Place],
    entries: list[tuple[Scope, Any]] | None,
    states: Mapping[Node, Any] | None,
) -> TwoSlice:
    """The network of nodes in two places, with tables that name nodes or places."""
    variables = tuple(dict.fromkeys(v for v, at in places.values() if at is not None))
    static = tuple(v for v, at in places.values() if at is None)
    _require_apart(variables, static)
    initial: dict[Node, tuple[Parent, ...]] = {}
    later: dict[Node, tuple[Parent, ...]] = {}
    for node, (v, at) in places.items():
        parents = tuple(_parent(places, u, node) for u in graph.predecessors(node))
        (later if at == 1 else initial)[v] = parents
    mirrored = _mirrored(variables, initial, later)
    latent = frozenset(places[node][0] for node in latent_nodes(graph))
    found = TwoSlice(variables, static, initial, later, latent=latent)
    return found if entries is None else _with_tables(found, entries, states, places, mirrored)


def _require_apart(variables: Iterable[Node], static: Iterable[Node]) -> None:
    """Refuse a static variable that is written like one in a slice, now or once unrolled."""
    stems = set(map(str, variables))
    for v in static:
        stem, _, number = str(v).rpartition("_")
        if str(v) in stems or (stem in stems and number.isdigit()):
            raise ValueError(
                f"expected a name for {v!r}, which has no time, unlike that of a variable in a "
                f"slice, got {v!r} beside {(stem if stem in stems else v)!r}"
            )


def _parent(
    places: Mapping[Node, Place], parent: Node, child: Node, numbered: bool = False
) -> Parent:
    """A parent as its child sees it, of slices 0 and 1 or, if ``numbered``, of a sequence."""
    (u, start), (v, end) = places[parent], places[child]
    if start is None:
        return Parent(u, None)
    if end is None:
        hint = "" if numbered else " (a name of a slice ends in 0 or t)"
        raise ValueError(
            f"expected parents without time for {v!r}, which has none, got {parent!r}{hint}"
        )
    if end < start and not numbered:
        raise ValueError(f"expected no arrow back in time, got {parent!r} → {child!r}")
    if not 0 <= end - start <= 1:
        side = "after it" if end < start else f"{end - start} slices before"
        raise ValueError(
            f"expected parents of {child!r} in its slice or the one before, got {parent!r}, {side}"
        )
    return Parent(u, end - start)


def _mirrored(
    variables: Iterable[Node],
    initial: dict[Node, tuple[Parent, ...]],
    later: dict[Node, tuple[Parent, ...]],
) -> set[Place]:
    """Fill in a variable's other slice where one is told and looks at no other; which were."""
    filled: set[Place] = set()
    for v in variables:
        have, lack, at = (initial, later, 1) if v in initial else (later, initial, 0)
        if v in lack:
            continue
        if any(p.lag == 1 for p in have[v]):
            raise ValueError(
                f"expected the first slice of {v!r}, whose later ones look at the slice before, "
                "got none"
            )
        lack[v] = have[v]
        filled.add((v, at))
    return filled


# --- Tables -------------------------------------------------------------------------------------


def _with_tables(
    found: TwoSlice,
    entries: Iterable[tuple[Scope, Any]],
    states: Mapping[Node, Any] | None,
    places: Mapping[Node, Place],
    mirrored: set[Place],
) -> TwoSlice:
    """The network with tables, each read by the places of its axes."""
    tables: dict[Place, tuple[tuple[Place, ...], Any]] = {}
    for scope, table in entries:
        at = tuple(places[v] if v in places else _pair(v) for v in scope)
        if at[-1] in tables:
            raise ValueError(f"expected one table per node, got two for {_written(at[-1])}")
        tables[at[-1]] = at, table
    parts: dict[int, dict[Node, tuple[Scope, Any]]] = {0: {}, 1: {}}
    for number, structure in ((0, found.initial), (1, found.parents)):
        for v, parents in structure.items():
            place = (v, None if v in found.static else number)
            parts[number][v] = _table(place, parents, tables, mirrored)
    named = {places.get(v, v): tuple(names) for v, names in (states or {}).items()}
    for v in found.variables:
        pair = [named.get((v, at)) for at in (0, 1)]
        if None not in pair and pair[0] != pair[1]:
            raise ValueError(
                f"expected the same states of {v!r} in both slices, got {list(pair[0] or ())} and "
                f"{list(pair[1] or ())}"
            )
        named[v, 0] = named[v, 1] = pair[0] or pair[1] or ()
    scopes = [entry for part in parts.values() for entry in part.values()]
    known = {v: names for v, names in named.items() if names}
    network = checked([(scope, table) for scope, table in scopes], known, True)
    arrays = iter(network.factors)
    initial, later = ({v: next(arrays)[1] for v in parts[number]} for number in (0, 1))
    for v, table in later.items():
        if fault := find_fault(table, True):
            raise ValueError(f"{fault[1]} in the table of {v}_t")
    names = {v: network.states[v, None] for v in found.static}
    names |= {v: network.states[v, 0] for v in found.variables}
    first_axes, later_axes = (
        {v: tuple(_as_parent(u, scope[-1]) for u in scope[:-1]) for v, (scope, _) in part.items()}
        for part in parts.values()
    )
    return TwoSlice(
        found.variables,
        found.static,
        first_axes,
        later_axes,
        names,
        initial,
        later,
        latent=found.latent,
    )


def _pair(node: Any) -> Place:
    return node[0], node[1]


def _table(
    place: Place,
    parents: tuple[Parent, ...],
    tables: Mapping[Place, tuple[tuple[Place, ...], Any]],
    mirrored: set[Place],
) -> tuple[Scope, Any]:
    """The table of a variable in one of the two slices, or the other's where both are alike."""
    v, at = place
    scope, table = tables.get(place, ((), None))
    if table is None and at is not None:
        alike = all(p.lag != 1 for p in parents)
        scope, table = tables.get((v, 1 - at), ((), None)) if alike else ((), None)
        scope = tuple((u, at if number is not None else None) for u, number in scope)
    if table is None:
        raise ValueError(f"expected a table for every variable, got none for {_written(place)}")
    expected = {(p.variable, None if p.lag is None else (at or 0) - p.lag) for p in parents}
    if set(scope[:-1]) != expected:
        got = sorted(map(_written, scope[:-1]))
        raise ValueError(
            f"expected a table of {_written(place)} given {sorted(map(_written, expected))}, got "
            f"one given {got}"
        )
    return scope, table


def _written(place: Place) -> str:
    v, at = place
    return repr(v) if at is None else repr((v, at))


def _as_parent(place: Any, child: Any) -> Parent:
    (u, start), (_, end) = place, child
    return Parent(u, None if start is None else end - start)


# --- Sequences ----------------------------------------------------------------------------------


def _of_sequence(graph: nx.DiGraph) -> TwoSlice:
    """The network that a longer sequence repeats, once all its slices are seen to be alike."""
    places = _numbered(graph)
    if not any(at is not None for _, at in places.values()):
        shown = ", ".join(map(str, list(graph)[:8]))
        raise ValueError(
            "expected nodes of slices, such as 'X0' and 'Xt' or 'X_0', 'X_1' and 'X_2', got "
            f"{shown or 'none'}"
        )
    numbers = sorted({at for _, at in places.values() if at is not None})
    first, last = numbers[0], numbers[-1]
    if last < first + 2:
        raise ValueError(
            "expected at least three slices, so that what repeats can be seen, got "
            f"{last - first + 1}"
        )
    named = {place: node for node, place in places.items()}
    variables = tuple(dict.fromkeys(v for v, at in places.values() if at is not None))
    static = tuple(v for v, at in places.values() if at is None)
    _require_apart(variables, static)
    for v in variables:
        begins = first if (v, first) in named else first + 1
        for at in range(begins, last + 1):
            if (v, at) not in named:
                raise ValueError(
                    f"expected {v!r} in every slice from {begins} to {last}, got none in slice {at}"
                )
    parents = {
        place: frozenset(_parent(places, u, node, numbered=True) for u in graph.predecessors(node))
        for node, place in places.items()
    }
    for v in variables:
        for at in range(first + 2, last + 1):
            if parents[v, at] != parents[v, first + 1]:
                raise ValueError(
                    f"expected slices that are alike, got {_list(parents[v, first + 1])} as "
                    f"parents of {named[v, first + 1]!r} and {_list(parents[v, at])} of "
                    f"{named[v, at]!r}"
                )
    order = {v: i for i, v in enumerate((*static, *variables))}

    def sorted_parents(place: Place) -> tuple[Parent, ...]:
        return tuple(sorted(parents[place], key=lambda p: (-(p.lag or 0), order[p.variable])))

    initial = {v: sorted_parents((v, None)) for v in static}
    initial |= {v: sorted_parents((v, first)) for v in variables if (v, first) in named}
    return TwoSlice(
        variables,
        static,
        initial,
        {v: sorted_parents((v, first + 1)) for v in variables},
        latent=frozenset(places[node][0] for node in latent_nodes(graph)),
        first=first,
        warnings=tuple(graph.graph.get("warnings", ())),
    )


def _numbered(graph: nx.DiGraph) -> dict[Node, Place]:
    """The variable and the number in the name of each node; a stem with one number has no time."""
    found: dict[Node, tuple[str, int]] = {}
    for node in graph:
        match = _NUMBERED.fullmatch(node) if isinstance(node, str) else None
        if match:
            found[node] = match["stem"], int(match["number"] or match["inside"])
    counts: dict[str, set[int]] = {}
    for stem, number in found.values():
        counts.setdefault(stem, set()).add(number)
    places: dict[Node, Place] = {}
    taken: dict[Place, Node] = {}
    for node in graph:
        place: Place = (node, None)
        if node in found and len(counts[found[node][0]]) > 1:
            place = found[node]
        if place in taken:
            raise ValueError(f"expected one node a slice, got {taken[place]!r} and {node!r}")
        taken[place] = node
        places[node] = place
    return places


def _list(parents: Iterable[Parent]) -> str:
    lags: Mapping[int | None, str] = {None: "", 0: "_t", 1: "_t-1"}
    return ", ".join(sorted(f"{p.variable}{lags[p.lag]}" for p in parents)) or "none"
