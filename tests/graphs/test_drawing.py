"""Pictures: everything is on them, nothing hides anything, and the reasons are coloured."""

from itertools import combinations, pairwise

import matplotlib
import matplotlib.pyplot as plt
import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from separation_oracles import random_graphs

import graphs
from graphs import textbook
from graphs.pictures.columns import arranged
from graphs.pictures.drawing import ASKED, BLOCKER, HEIGHT, OBSERVED, PATH
from graphs.pictures.layout import arrange

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def nodes_of(ax):
    """Filled node shapes as polygons, in drawing order."""
    return [p for p in ax.patches if p.get_zorder() == 2 and p.get_fill()]


def colour(hexadecimal):
    return matplotlib.colors.to_rgba(hexadecimal)


def legend_of(ax):
    return [] if ax.get_legend() is None else [t.get_text() for t in ax.get_legend().get_texts()]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(random_graphs(max_nodes=12))
def test_no_nodes_overlap_and_arrows_point_down(graph):
    widths = {v: HEIGHT * (1 + v % 4) for v in graph}
    places, routes = arrange(graph, widths, HEIGHT)
    assert set(places) == set(graph)
    assert {frozenset(edge) for edge in routes} == {frozenset(edge) for edge in graph.edges}
    for u, v in combinations(graph, 2):
        dx, dy = np.abs(np.subtract(places[u], places[v]))
        assert dx >= (widths[u] + widths[v]) / 2 or dy >= HEIGHT
    for (u, v), points in routes.items():
        assert tuple(points[0]) == places[u]
        assert tuple(points[-1]) == places[v]
        if graph.is_directed():
            assert all(lower[1] < upper[1] for upper, lower in pairwise(points))


def test_few_crossings_and_straight_long_arrows():
    tree = nx.balanced_tree(2, 3, create_using=nx.DiGraph)
    places, _ = arrange(tree, dict.fromkeys(tree, HEIGHT), HEIGHT)
    by_depth = nx.single_source_shortest_path_length(tree, 0)
    for u, v in combinations(tree, 2):
        if by_depth[u] == by_depth[v] > 0:
            (above_u,), (above_v,) = tree.predecessors(u), tree.predecessors(v)
            assert (places[u][0] - places[v][0]) * (places[above_u][0] - places[above_v][0]) >= 0
    chain = nx.DiGraph([("a", "b"), ("b", "c"), ("c", "d"), ("d", "e"), ("a", "e")])
    _, routes = arrange(chain, dict.fromkeys(chain, HEIGHT), HEIGHT)
    bends = [x for x, _ in routes["a", "e"][1:-1]]
    assert np.ptp(bends) < 0.5


@pytest.mark.parametrize(
    "model",
    [textbook.diagnosis(), textbook.campus(), textbook.letters(), textbook.structure("asia")],
)
def test_labels_lie_inside_their_nodes_and_lines_outside(model):
    ax = graphs.draw(model)
    ax.figure.canvas.draw()
    bodies = [p.get_path() for p in nodes_of(ax)]
    labels = [p.get_path() for p in ax.patches if p.get_zorder() == 3]
    graph = graphs.as_graph(model)
    assert len(bodies) == len(labels) == len(graph)
    for body, label in zip(bodies, labels, strict=True):
        assert body.contains_points(label.vertices).all()
    lines = [line for line in ax.lines if len(line.get_xdata()) > 2]
    assert len(lines) == graph.number_of_edges()
    for line in lines:
        for body in bodies:
            assert not body.contains_points(line.get_xydata(), radius=-1e-3).any()
    heads = [p for p in ax.patches if p.get_zorder() == 1]
    assert len(heads) == (graph.number_of_edges() if graph.is_directed() else 0)
    for head in heads:
        tip, _, back, *_ = head.get_xy()
        step = 2 * (tip - back) / np.hypot(*(tip - back))
        assert sum(body.contains_point(tip + step) for body in bodies) == 1
        assert not any(body.contains_point(tip) for body in bodies)


def test_flat_arrows_pass_no_neighbour():
    graph = nx.DiGraph((i, "child") for i in range(11))
    graph.add_edges_from(("parent", f"leaf{i}") for i in range(7))
    ax = graphs.draw(graph)
    names = list(graphs.as_graph(graph))
    bodies = dict(zip(names, (p.get_path() for p in nodes_of(ax)), strict=True))
    for line, edge in zip(ax.lines, graph.edges, strict=True):
        for v in set(graph) - set(edge):
            assert not bodies[v].contains_points(line.get_xydata()).any()


def test_active_path_is_coloured():
    answer = graphs.query(textbook.diagnosis(), "M ⟂ F | D")
    ax = answer.draw()
    assert ax.get_title() == "M ⊥ F | D  does not hold"
    assert legend_of(ax) == ["asked about", "observed", "active path"]
    fills = [p.get_facecolor() for p in nodes_of(ax)]
    names = list(graphs.as_graph(textbook.diagnosis()))
    assert [n for n, f in zip(names, fills, strict=True) if f == colour(ASKED)] == ["M", "F"]
    assert [n for n, f in zip(names, fills, strict=True) if f == colour(OBSERVED)] == ["D"]
    outlined = [p.get_edgecolor() == colour(PATH) for p in nodes_of(ax)]
    assert [n for n, on in zip(names, outlined, strict=True) if on] == ["M", "I", "F", "T", "D"]
    coloured = [line for line in ax.lines if line.get_color() == PATH]
    assert len(coloured) == len(answer.path) - 1


def test_blockers_have_a_ring_that_hides_no_arrowhead():
    ax = graphs.query(textbook.diagnosis(), "M ⟂ F | T").draw()
    assert legend_of(ax) == ["asked about", "observed", "blocks"]
    rings = [p for p in ax.patches if p.get_zorder() == 2 and not p.get_fill()]
    assert len(rings) == 2
    assert all(p.get_edgecolor() == colour(BLOCKER) for p in rings)
    for head in (p for p in ax.patches if p.get_zorder() == 1):
        for ring in rings:
            assert not ring.get_path().contains_points(head.get_xy(), radius=-1e-3).any()


def test_axes_and_options():
    _, (left, right) = plt.subplots(1, 2)
    assert graphs.draw(textbook.campus(), left) is left
    assert graphs.draw(textbook.campus(), ax=right, title="campus", observed=["T"]) is right
    assert right.get_title() == "campus"
    assert legend_of(left) == []
    assert legend_of(right) == ["observed"]
    assert legend_of(graphs.draw(textbook.campus(), observed="T", legend=False)) == []
    with pytest.raises(ValueError, match="expected nodes of the graph for observed, got 'Q'"):
        graphs.draw(textbook.campus(), observed="Q")
    with pytest.raises(ValueError, match="expected a networkx graph"):
        graphs.draw("campus")
    with pytest.raises(ValueError, match="got the cycle"):
        graphs.draw(nx.DiGraph([(0, 1), (1, 2), (2, 0)]))


def test_edges_that_marry_or_fill_are_dashed():
    moral = nx.Graph([("a", "c"), ("b", "c"), ("a", "b")])
    moral.graph["married"] = (("b", "a"),)
    dashes = [line.is_dashed() for line in graphs.draw(moral).lines]
    assert sorted(dashes) == [False, False, True]
    assert not any(line.is_dashed() for line in graphs.draw(moral, dashed=()).lines)


def test_two_way_edges_have_no_head():
    essential = nx.DiGraph([("a", "b"), ("b", "a"), ("b", "c"), ("d", "c")])
    ax = graphs.draw(essential)
    assert len(ax.lines) == 3
    assert len([p for p in ax.patches if p.get_zorder() == 1]) == 2


def test_nodes_said_to_be_latent_are_dashed_as_those_marked():
    named, marked = (nx.DiGraph([("h", "x"), ("h", "y"), ("x", "y")]) for _ in range(2))
    marked.nodes["h"]["latent"] = True
    for graph, latent in ((named, "h"), (marked, ())):
        answers = [
            graphs.adjustment(graph, "x", "y", latent=latent),
            graphs.independent(graph, "x", "y", latent=latent),
            graphs.query(graph, "not x _||_ y", latent=latent),
        ]
        for answer in answers:
            ax = answer.draw()
            assert "latent" in legend_of(ax)
            dashed = [node.get_linestyle() for node in nodes_of(ax)].count("--")
            assert dashed == 1
        assert 'stroke-dasharray="4 3"' in answers[1]._repr_html_()
    assert "latent" not in legend_of(graphs.independent(named, "x", "y").draw())
    assert not named.nodes["h"]


def test_difficult_names_and_sizes(tmp_path):
    graph = nx.DiGraph([("", "$a$"), ("$a$", "x_1"), ("x_1", "a very long name of a variable")])
    graph.add_edge(("t", 0), "ObservationOfInterestWithoutAnyBreak" * 3)
    graph.add_node("rain", latent=True, observed=True)
    ax = graphs.draw(graph)
    assert legend_of(ax) == ["observed", "latent"]
    ax.figure.savefig(tmp_path / "names.png")
    for empty in (nx.DiGraph(), nx.Graph()):
        graphs.draw(empty).figure.savefig(tmp_path / "empty.png")
    large = nx.gnp_random_graph(80, 0.03, seed=1, directed=True)
    dag = nx.DiGraph((u, v) for u, v in large.edges if u < v)
    graphs.draw(dag).figure.savefig(tmp_path / "large.png", dpi=50)
    assert (tmp_path / "large.png").stat().st_size > 10_000


def test_an_adjustment_paints_the_paths_that_it_closes():
    ax = graphs.adjustment(textbook.structure("asia"), "bronc", "dysp").draw()
    lines = [line for line in ax.lines if line.get_color() == BLOCKER]
    assert len(lines) == 4  # bronc ← smoke → lung → either → dysp
    assert {"closed path", "blocks", "the effect"} <= set(legend_of(ax))
    assert "adjust for {smoke}" in ax.get_title()
    open_ = graphs.adjustment(textbook.structure("asia"), "bronc", "dysp", given=())
    ax = open_.draw()
    assert not any(line.get_color() == BLOCKER for line in ax.lines)
    assert sum(line.get_color() == PATH for line in ax.lines) == 4


# --- Networks in time -----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_slices_are_columns_and_variables_rows(seed):
    rng = np.random.default_rng(seed)
    names = "ABCDE"[: rng.integers(2, 6)]
    later = [(u, v) for u, v in combinations(names, 2) if rng.random() < 0.5]
    before = [(u, v) for u in names for v in names if u == v or rng.random() < 0.3]
    edges = [f"{u}{t} -> {v}{t}" for u, v in later for t in "0t"]
    edges += [f"{u}0 -> {v}t" for u, v in before] + [f"S -> {names[0]}{t}" for t in "0t"]
    graph = graphs.unroll(graphs.read_graph(", ".join(edges)), 4)
    widths = dict.fromkeys(graph, 2 * HEIGHT)
    places, routes = arranged(graph, graph, widths, HEIGHT)
    assert routes.keys() == set(graph.edges)
    at = graph.nodes(data="slice")
    of = graph.nodes(data="variable")
    assert len({places[v] for v in graph}) == len(graph)
    for u, v in combinations((n for n in graph if at[n] is not None), 2):
        assert (places[u][0] == places[v][0]) == (at[u] == at[v])
        assert (places[u][1] == places[v][1]) == (of[u] == of[v])
        if (u, v) in graph.edges and at[u] == at[v]:
            assert places[u][1] > places[v][1]
    assert places["S"][0] < min(places[v][0] for v in graph if v != "S")
    for (u, v), points in routes.items():
        if len(points) > 2:
            continue
        line = np.linspace(points[0], points[-1], 200)
        for w in graph.nodes - {u, v}:
            apart = np.abs(line - places[w])
            assert not (apart <= [widths[w] / 2, HEIGHT / 2]).all(1).any()


def test_a_graph_whose_nodes_have_slices_in_part_is_drawn_as_any_other():
    graph = nx.DiGraph([("A", "B"), ("B", "C")])
    graph.nodes["A"].update(variable="A", slice=0)
    assert arranged(graph, graph, dict.fromkeys(graph, 20.0), 12.0) == arrange(
        graph, dict.fromkeys(graph, 20.0), 12.0
    )
