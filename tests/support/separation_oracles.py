"""Random graphs, and separation straight from its definitions, slowly."""

from itertools import pairwise

import networkx as nx
import numpy as np
from hypothesis import strategies as st


@st.composite
def random_graphs(draw, directed=None, max_nodes=7):
    """A DAG or an undirected graph, its names shuffled against its order."""
    size = draw(st.integers(2, max_nodes))
    if directed is None:
        directed = draw(st.booleans())
    names = draw(st.permutations(range(size)))
    pairs = [(u, v) for j, v in enumerate(names) for u in names[:j]]
    chosen = draw(st.lists(st.booleans(), min_size=len(pairs), max_size=len(pairs)))
    graph = nx.DiGraph() if directed else nx.Graph()
    graph.add_nodes_from(range(size))
    graph.add_edges_from(pair for pair, keep in zip(pairs, chosen, strict=True) if keep)
    return graph


@st.composite
def node_triples(draw, graph):
    """Disjoint x, y and given of a graph; x and y not empty."""
    nodes = draw(st.permutations(list(graph)))
    first = draw(st.integers(1, max(1, min(2, len(nodes) - 1))))
    second = draw(st.integers(first + 1, max(first + 1, min(first + 2, len(nodes)))))
    third = draw(st.integers(second, len(nodes)))
    return tuple(map(frozenset, (nodes[:first], nodes[first:second], nodes[second:third])))


def is_active(graph, path, given):
    """Whether a path is active: the definition, junction by junction."""
    for a, b, c in zip(path, path[1:], path[2:], strict=False):
        if graph.is_directed() and graph.has_edge(a, b) and graph.has_edge(c, b):
            if given.isdisjoint(nx.descendants(graph, b) | {b}):
                return False
        elif b in given:
            return False
    return True


def simple_paths(graph, x, y):
    """Every path of the skeleton from x to y without repeated nodes."""
    skeleton = nx.Graph(graph.edges)
    skeleton.add_nodes_from(graph)
    return [tuple(p) for u in x for v in y for p in nx.all_simple_paths(skeleton, u, v)]


def shortest_active_length(graph, x, y, given):
    """The number of nodes on a shortest active path, or ``None`` when there is none."""
    lengths = [len(p) for p in simple_paths(graph, x, y) if is_active(graph, p, given)]
    return min(lengths, default=None)


def is_path(graph, path):
    """Whether the nodes are distinct and each is adjacent to the next."""
    steps = all(graph.has_edge(u, v) or graph.has_edge(v, u) for u, v in pairwise(path))
    return steps and len(set(path)) == len(path)


def separated_in_moral_ancestral_graph(graph, x, y, given):
    """The theorem of Lauritzen et al. (1990), by networkx alone."""
    seeds = x | y | given
    if graph.is_directed():
        closed = seeds.union(*(nx.ancestors(graph, v) for v in seeds))
        graph = nx.moral_graph(graph.subgraph(closed))
    graph = nx.Graph(graph)
    graph.remove_nodes_from(given)
    return not any(nx.has_path(graph, u, v) for u in x for v in y)


def random_joint(graph, rng):
    """A positive joint table over binary nodes, one axis per node, that factorizes over the graph.

    Conditional tables of a DAG, one potential per maximal clique of an undirected graph.
    """
    nodes = list(graph)
    joint = np.ones((2,) * len(nodes))
    if graph.is_directed():
        scopes = [[*graph.predecessors(v), v] for v in nodes]
    else:
        scopes = [list(clique) for clique in nx.find_cliques(graph)]
    for scope in scopes:
        table = np.exp(2 * rng.standard_normal((2,) * len(scope)))
        if graph.is_directed():
            table /= table.sum(-1, keepdims=True)
        axes = [nodes.index(v) for v in scope]
        order = np.argsort(axes)
        shape = [2 if i in axes else 1 for i in range(len(nodes))]
        joint = joint * table.transpose(order).reshape(shape)
    return joint / joint.sum()


def conditional_mutual_information(joint, x, y, given):
    """I(X; Y | Z) in nats, from a joint table whose axes are the nodes 0, 1, ..."""

    def entropy(keep):
        drop = tuple(i for i in range(joint.ndim) if i not in keep)
        p = joint.sum(drop)
        return -(p * np.log(p)).sum()

    return entropy(x | given) + entropy(y | given) - entropy(x | y | given) - entropy(given)
