"""Acyclic directed mixed graphs as sets of edges, and m-separation from its definition, slowly."""

from itertools import chain, combinations, pairwise, product

import networkx as nx


def subsets(nodes):
    nodes = list(nodes)
    every = (combinations(nodes, size) for size in range(len(nodes) + 1))
    return map(frozenset, chain.from_iterable(every))


class Mixed:
    """Nodes 0, ..., size - 1, arrows (tail, head), and pairs that a two-headed edge joins."""

    def __init__(self, size, arrows, pairs):
        self.nodes, self.arrows = range(size), frozenset(arrows)
        self.pairs = frozenset(map(frozenset, pairs))

    def __repr__(self):
        pairs = sorted(map(sorted, self.pairs))
        return f"Mixed({len(self.nodes)}, {sorted(self.arrows)}, {pairs})"

    def marked(self):
        """The ``DiGraph`` a user would write."""
        graph = nx.DiGraph()
        graph.add_nodes_from(self.nodes)
        graph.add_edges_from(self.arrows)
        for u, v in map(sorted, self.pairs):
            ends = (v, u) if (u, v) in self.arrows else (u, v)
            graph.add_edge(*ends, bidirected=True)
        return graph

    def text(self):
        edges = [f"n{u} -> n{v}" for u, v in self.arrows]
        edges += [f"n{u} <-> n{v}" for u, v in map(sorted, self.pairs)]
        return "dag {" + "; ".join([*(f"n{v}" for v in self.nodes), *edges]) + "}"

    def steps(self, u):
        """Every edge at a node: its other end, whether it has a head here, and there."""
        for tail, head in self.arrows:
            if u == tail:
                yield head, False, True
            if u == head:
                yield tail, True, False
        for pair in self.pairs:
            if u in pair:
                (other,) = pair - {u}
                yield other, True, True

    def paths(self, start, end):
        """Every path as a list of (head at the near end, head at the far end, far node)."""

        def extend(path, at, seen):
            if at == end:
                yield tuple(path)
                return
            for other, here, there in self.steps(at):
                if other not in seen:
                    yield from extend([*path, (here, there, other)], other, seen | {other})

        return extend([], start, {start})

    def below(self, node):
        found, stack = {node}, [node]
        while stack:
            u = stack.pop()
            new = {head for tail, head in self.arrows if tail == u} - found
            found |= new
            stack += new
        return found

    def connects(self, path, given):
        """Every inner collider has an observed descendant or is one; nothing else is observed."""
        for (_, arriving, node), (leaving, _, _) in pairwise(path):
            if arriving and leaving:
                if given.isdisjoint(self.below(node)):
                    return False
            elif node in given:
                return False
        return True

    def separated(self, x, y, given):
        return not any(
            self.connects(path, given) for u in x for v in y for path in self.paths(u, v)
        )


def all_mixed(size):
    """Every acyclic directed mixed graph on the nodes 0, ..., size - 1."""
    places = list(combinations(range(size), 2))
    for kinds in product(product(("", "->", "<-"), (False, True)), repeat=len(places)):
        arrows = [
            (u, v) if arrow == "->" else (v, u)
            for (u, v), (arrow, _) in zip(places, kinds, strict=True)
            if arrow
        ]
        if nx.is_directed_acyclic_graph(nx.DiGraph(arrows)):
            pairs = [pair for pair, (_, both) in zip(places, kinds, strict=True) if both]
            yield Mixed(size, arrows, pairs)


def random_mixed(rng, smallest, largest, density=0.35):
    """A mixed graph whose nodes are shuffled against its order; ``rng`` is ``random.Random``."""
    size = rng.randint(smallest, largest)
    order = rng.sample(range(size), size)
    places = list(combinations(order, 2))
    arrows = [pair for pair in places if rng.random() < density]
    pairs = [pair for pair in places if rng.random() < 0.7 * density]
    return Mixed(size, arrows, pairs)


def random_sets(rng, nodes):
    """Disjoint x, y and given; x and y not empty."""
    nodes = rng.sample(list(nodes), len(nodes))
    first = rng.randint(1, max(1, min(2, len(nodes) - 1)))
    second = rng.randint(first + 1, min(first + 2, len(nodes)))
    third = rng.randint(second, len(nodes))
    return tuple(map(frozenset, (nodes[:first], nodes[first:second], nodes[second:third])))


def members(essential):
    """Every DAG of the class: orientations with the same v-structures, by enumeration."""
    arrows = [(u, v) for u, v, one in essential.edges(data="directed") if one]
    loose = [(u, v) for u, v, one in essential.edges(data="directed") if not one and u < v]
    wanted = _v_structures(essential, arrows)
    for turned in product((False, True), repeat=len(loose)):
        dag = nx.DiGraph()
        dag.add_nodes_from(essential)
        dag.add_edges_from(arrows)
        dag.add_edges_from(e[::-1] if t else e for e, t in zip(loose, turned, strict=True))
        if nx.is_directed_acyclic_graph(dag) and _v_structures(dag, dag.edges) == wanted:
            yield dag


def _v_structures(graph, arrows):
    return {
        (frozenset((a, c)), b)
        for (a, b), (c, d) in combinations(arrows, 2)
        if b == d and not graph.has_edge(a, c) and not graph.has_edge(c, a)
    }
