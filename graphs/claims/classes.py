r"""The members of an equivalence class of DAGs.

Turning an arrow u → v round leaves every independence as it is iff the arrow is *covered*, that is
:math:`\mathrm{pa}(v) = \mathrm{pa}(u) \cup \{u\}`, and any two equivalent DAGs are joined by such
turns (Chickering 1995). So a search over turns visits exactly the class.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import networkx as nx

from graphs.claims.maps import essential_graph
from graphs.structure.models import Model, as_graph


def class_members(dag: Model) -> Iterator[nx.DiGraph]:
    """Every DAG that asserts the same independences, the given one first, nearer ones earlier.

    There may be exponentially many, hence an iterator.

    Raises:
        ValueError: an undirected model, two-headed edges, or a directed graph with a cycle.

    >>> from graphs.claims.classes import class_members
    >>> for member in class_members(graphs.parse("P(A) P(B|A) P(C|B)")):
    ...     print(*sorted(member.edges))
    ('A', 'B') ('B', 'C')
    ('B', 'A') ('B', 'C')
    ('B', 'A') ('C', 'B')
    """
    essential_graph(dag)
    graph = as_graph(dag, any_member=True)
    first = nx.DiGraph()
    first.add_nodes_from(graph)
    first.add_edges_from(graph.edges)
    seen = {frozenset(first.edges)}
    waiting = deque([first])
    while waiting:
        member = waiting.popleft()
        yield member
        for u, v in list(member.edges):
            if set(member.pred[v]) - {u} == set(member.pred[u]):
                turned = member.copy()
                turned.remove_edge(u, v)
                turned.add_edge(v, u)
                if (key := frozenset(turned.edges)) not in seen:
                    seen.add(key)
                    waiting.append(turned)
