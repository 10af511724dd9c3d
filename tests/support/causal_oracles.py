"""Causal criteria by their definitions over all paths, and effects by enumeration."""

import random
from itertools import combinations, product

import networkx as nx
import numpy as np

import graphs


def random_question(seed, most=6):
    """A DAG, a cause and an effect in it, and which of the other nodes are latent."""
    rng = random.Random(seed)
    names = "ABCDEF"[: rng.randint(3, most)]
    order = rng.sample(names, len(names))
    dag = nx.DiGraph()
    dag.add_nodes_from(names)
    density = rng.choice([0.3, 0.5, 0.8])
    dag.add_edges_from(pair for pair in combinations(order, 2) if rng.random() < density)
    x, y, *rest = rng.sample(names, len(names))
    return dag, x, y, {v for v in rest if rng.random() < 0.25}


def subsets(nodes):
    nodes = sorted(nodes)
    return [frozenset(c) for size in range(len(nodes) + 1) for c in combinations(nodes, size)]


def minimal(sets):
    return {z for z in sets if not any(w < z for w in sets)}


def is_adjustment_set(dag, x, y, z):
    """The adjustment criterion for sets x and y, path by path."""
    ends = [(u, v) for u in x for v in y]
    causal = [p for u, v in ends for p in nx.all_simple_paths(dag, u, v) if x.isdisjoint(p[1:])]
    on_the_way = {v for path in causal for v in path[1:]}
    if z & on_the_way.union(*(nx.descendants(dag, v) for v in on_the_way)):
        return False
    skeleton = dag.to_undirected()
    others = (p for u, v in ends for p in nx.all_simple_paths(skeleton, u, v) if p not in causal)
    return not any(x.isdisjoint(p[1:]) and _active(dag, p, z) for p in others)


def _active(dag, path, z):
    for a, b, c in zip(path, path[1:], path[2:], strict=False):
        if dag.has_edge(a, b) and dag.has_edge(c, b):
            if z.isdisjoint({b} | nx.descendants(dag, b)):
                return False
        elif b in z:
            return False
    return True


def is_front_door(dag, x, y, z):
    if any(z.isdisjoint(path[1:-1]) for path in nx.all_simple_paths(dag, x, y)):
        return False
    before, behind = dag.copy(), dag.copy()
    before.remove_edges_from(list(dag.out_edges(x)))
    behind.remove_edges_from(list(dag.out_edges(z)))
    if not z:
        return True
    separated = nx.is_d_separator
    return separated(before, {x}, set(z), set()) and separated(behind, set(z), {y}, {x})


def is_instrument(dag, x, y, z, w):
    if w & (nx.descendants(dag, y) | {y}):
        return False
    rest = dag.copy()
    rest.remove_edge(x, y)
    separated = nx.is_d_separator
    return separated(rest, {z}, {y}, set(w)) and not separated(rest, {z}, {x}, set(w))


def random_network(dag, seed):
    """Random tables over the DAG, and the same as arrays by node, the node's own axis last."""
    rng = np.random.default_rng(seed)
    sizes = {v: int(rng.integers(2, 4)) for v in dag}
    parents = {v: tuple(dag.predecessors(v)) for v in dag}
    tables = {v: rng.dirichlet(np.ones(sizes[v]), size=[sizes[u] for u in parents[v]]) for v in dag}
    return graphs.bayesian_network([(v, parents[v], tables[v]) for v in dag]), tables


def enumerated_effect(dag, tables, x, y):
    """P(y | do(x)) by the sum over all assignments, for x a dict."""
    sizes = {v: table.shape[-1] for v, table in tables.items()}
    total = np.zeros(sizes[y])
    for codes in product(*(range(size) for size in sizes.values())):
        state = dict(zip(sizes, codes, strict=True))
        if any(state[v] != code for v, code in x.items()):
            continue
        total[state[y]] += np.prod(
            [tables[v][(*(state[u] for u in dag.predecessors(v)), state[v])]
             for v in dag if v not in x]
        )  # fmt: skip
    return total
