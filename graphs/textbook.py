r"""The named examples that teaching returns to.

Two Bayesian networks and a Markov network as :class:`graphs.Factorization`, that is by structure
alone, and three Bayesian networks with their published parameters as pgmpy networks:

- asia: Lauritzen and Spiegelhalter 1988, "Local computations with probabilities on graphical
  structures and their application to expert systems", table 1;
- sprinkler: Russell and Norvig 2003, "Artificial Intelligence", figure 14.11;
- student: Koller and Friedman 2009, "Probabilistic Graphical Models", figure 3.4.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import networkx as nx

from graphs.language.notation import Node
from graphs.language.suggestions import suggesting
from graphs.structure.factorization import Factorization
from graphs.structure.parsing import parse

if TYPE_CHECKING:
    from graphs.parameters.tables import Tables

_FACTORIZATIONS = {
    "diagnosis": "P(M,S,I,F,T,D) = P(M) P(S) P(F) P(I|M,S) P(T|F) P(D|I,T)",
    "campus": "P(C,O,A,S,T,B,M) = P(C) P(O) P(A) P(S|O) P(T|O,A) P(B|S) P(M|B,T,A)",
    "letters": "P(A,B,C,D,E,F,G) = 1/Z φ1(A,B,C) φ2(B,C,D) φ3(C,D,F) φ4(F,E) φ5(B,E) φ6(E,G)",
}


class _Network(NamedTuple):
    """Parents and conditional table (parents' axes first, own axis last) of every node."""

    states: dict[Node, tuple[str, ...]]
    conditionals: dict[str, tuple[tuple[str, ...], list[Any]]]


def _binary(**conditionals: tuple[tuple[str, ...], Any]) -> _Network:
    """States yes and no; tables hold the probability of yes alone."""

    def complete(yes: Any) -> list[Any]:
        return [complete(part) for part in yes] if isinstance(yes, list) else [yes, 1 - yes]

    tables = {node: (parents, complete(yes)) for node, (parents, yes) in conditionals.items()}
    return _Network(dict.fromkeys(conditionals, ("yes", "no")), tables)


_NETWORKS = {
    "asia": _binary(
        asia=((), 0.01),
        tub=(("asia",), [0.05, 0.01]),
        smoke=((), 0.5),
        lung=(("smoke",), [0.1, 0.01]),
        bronc=(("smoke",), [0.6, 0.3]),
        either=(("lung", "tub"), [[1.0, 1.0], [1.0, 0.0]]),
        xray=(("either",), [0.98, 0.05]),
        dysp=(("bronc", "either"), [[0.9, 0.8], [0.7, 0.1]]),
    ),
    "sprinkler": _binary(
        cloudy=((), 0.5),
        sprinkler=(("cloudy",), [0.1, 0.5]),
        rain=(("cloudy",), [0.8, 0.2]),
        wet_grass=(("sprinkler", "rain"), [[0.99, 0.9], [0.9, 0.0]]),
    ),
    "student": _Network(
        {
            "D": ("d0", "d1"),
            "I": ("i0", "i1"),
            "G": ("g1", "g2", "g3"),
            "S": ("s0", "s1"),
            "L": ("l0", "l1"),
        },
        {
            "D": ((), [0.6, 0.4]),
            "I": ((), [0.7, 0.3]),
            "G": (
                ("I", "D"),
                [[[0.3, 0.4, 0.3], [0.05, 0.25, 0.7]], [[0.9, 0.08, 0.02], [0.5, 0.3, 0.2]]],
            ),
            "S": (("I",), [[0.95, 0.05], [0.2, 0.8]]),
            "L": (("G",), [[0.1, 0.9], [0.4, 0.6], [0.99, 0.01]]),
        },
    ),
}

NAMES = tuple(chain(_FACTORIZATIONS, _NETWORKS))


def structure(name: str) -> Factorization | nx.DiGraph:
    """The structure of the example of that name, without importing pgmpy.

    Raises:
        ValueError: no example has that name.

    >>> graphs.textbook.NAMES
    ('diagnosis', 'campus', 'letters', 'asia', 'sprinkler', 'student')
    >>> list(graphs.textbook.structure("sprinkler").predecessors("wet_grass"))
    ['sprinkler', 'rain']
    """
    if name in _FACTORIZATIONS:
        return parse(_FACTORIZATIONS[name])
    if name not in _NETWORKS:
        raise ValueError(f"expected a textbook example among {', '.join(NAMES)}, got {name!r}")
    graph = nx.DiGraph(name=name)
    graph.add_nodes_from(_NETWORKS[name].conditionals)
    for node, (parents, _) in _NETWORKS[name].conditionals.items():
        graph.add_edges_from((parent, node) for parent in parents)
    return graph


def parameters(name: str) -> Factorization | Tables:
    """The example of that name with its parameters as plain arrays, without importing pgmpy.

    Raises:
        ValueError: no example has that name.

    >>> graphs.textbook.parameters("asia").states["smoke"]
    ('yes', 'no')
    """
    if name in _NETWORKS:
        from graphs.parameters.checking import checked

        states, conditionals = _NETWORKS[name]
        entries: list[tuple[tuple[Node, ...], Any]] = [
            ((*given, node), table) for node, (given, table) in conditionals.items()
        ]
        return checked(entries, states, True, name)
    found = structure(name)
    assert isinstance(found, Factorization)
    return found


def diagnosis() -> Factorization:
    """P(M) P(S) P(F) P(I|M,S) P(T|F) P(D|I,T): six variables, one collider after another.

    >>> model = graphs.textbook.diagnosis()
    >>> bool(graphs.query(model, "M _||_ F")), bool(graphs.query(model, "M _||_ F | D"))
    (True, False)
    """
    return parse(_FACTORIZATIONS["diagnosis"])


def campus() -> Factorization:
    """P(C) P(O) P(A) P(S|O) P(T|O,A) P(B|S) P(M|B,T,A): seven variables, C apart from the rest.

    >>> sorted(graphs.markov_blanket(graphs.textbook.campus(), "T"))
    ['A', 'B', 'M', 'O']
    """
    return parse(_FACTORIZATIONS["campus"])


def letters() -> Factorization:
    """φ1(A,B,C) φ2(B,C,D) φ3(C,D,F) φ4(F,E) φ5(B,E) φ6(E,G): a Markov network on A to G.

    >>> model = graphs.textbook.letters()
    >>> sorted(graphs.minimal_separator(model, "A", "G"))
    ['B', 'C']
    >>> graphs.chordless_cycle(model)
    ('E', 'B', 'C', 'F')
    """
    return parse(_FACTORIZATIONS["letters"])


def asia() -> Any:
    """The chest clinic: asia, tub, smoke, lung, bronc, either, xray, dysp; states yes, no.

    Returns a pgmpy ``DiscreteBayesianNetwork`` with the parameters of Lauritzen and
    Spiegelhalter 1988.

    >>> clinic = graphs.textbook.asia()
    >>> graphs.marginal(clinic, "lung", {"xray": "yes"})
    tensor([0.4887, 0.5113], dtype=torch.float64)
    >>> graphs.marginal(clinic, "lung", {"xray": "yes", "smoke": "no"})
    tensor([0.1423, 0.8577], dtype=torch.float64)
    """
    return _pgmpy("asia")


def sprinkler() -> Any:
    """The wet lawn: cloudy, sprinkler, rain, wet_grass; states yes, no.

    Returns a pgmpy ``DiscreteBayesianNetwork`` with the parameters of Russell and Norvig 2003.

    >>> graphs.marginal(graphs.textbook.sprinkler(), "rain", {"wet_grass": "yes"})
    tensor([0.7079, 0.2921], dtype=torch.float64)
    """
    return _pgmpy("sprinkler")


def student() -> Any:
    """The letter of recommendation: difficulty D, intelligence I, grade G, SAT score S, letter L.

    Returns a pgmpy ``DiscreteBayesianNetwork`` with the parameters of Koller and Friedman 2009;
    grades are g1 (best), g2, g3, the other states d0, d1 and so on.

    >>> student = graphs.textbook.student()
    >>> graphs.marginal(student, "I", {"G": "g3"})
    tensor([0.9211, 0.0789], dtype=torch.float64)
    >>> graphs.marginal(student, "I", {"G": "g3", "D": "d1"})  # a hard course explains part of it
    tensor([0.8909, 0.1091], dtype=torch.float64)
    """
    return _pgmpy("student")


def _pgmpy(name: str) -> Any:
    from graphs.parameters.bridge import to_pgmpy

    tables: Any = parameters(name)
    return to_pgmpy(tables)


if not TYPE_CHECKING:
    __getattr__ = suggesting(__name__)
