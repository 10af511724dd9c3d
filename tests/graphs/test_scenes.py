"""What a screen shows: boxes that hold what they say, lines that lead from node to node."""

import math

import hypothesis.strategies as st
import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from scipy.optimize import minimize

import graphs
from graphs.pictures.plates import make_room
from graphs.pictures.scene import displaced, drawn, lay_out, simplified
from graphs.pictures.springs import majorized
from graphs.structure.edges import edges


@st.composite
def plated_graphs(draw):
    """A random DAG whose nodes lie in nested or crossed plates."""
    size = draw(st.integers(2, 9))
    graph = nx.DiGraph()
    for v in range(size):
        graph.add_node(v, plates=tuple(draw(st.sampled_from(["", "a", "ab", "b", "ac", "c"]))))
        graph.add_edges_from((u, v) for u in range(v) if draw(st.integers(0, 3)) == 0)
    return graph


def inside(box, place):
    x, y = place
    return abs(x - box.x) < box.width / 2 and abs(y - box.y) < box.height / 2


def overlapping(layout):
    nodes = list(layout.places)
    for i, u in enumerate(nodes):
        for v in nodes[i + 1 :]:
            gaps = np.abs(np.subtract(layout.places[u], layout.places[v]))
            room = np.add(layout.sizes[u], layout.sizes[v]) / 2
            if (gaps < room - 1e-6).all():
                yield u, v


@settings(max_examples=80, deadline=None)
@given(plated_graphs())
def test_a_plate_holds_its_members_and_no_others(graph):
    layout = lay_out(graph)
    names = {p for _, plates in graph.nodes(data="plates") for p in plates}
    assert {box.name for box in layout.plates} | set(layout.unboxed) == names
    for box in layout.plates:
        members = {v for v, plates in graph.nodes(data="plates") if box.name in plates}
        assert {v for v in graph if inside(box, layout.places[v])} == members
        for v in members:
            width, height = layout.sizes[v]
            x, y = layout.places[v]
            assert abs(x - box.x) + width / 2 <= box.width / 2
            assert abs(y - box.y) + height / 2 <= box.height / 2
    assert not list(overlapping(layout))
    single = all(len(plates) < 2 for _, plates in graph.nodes(data="plates"))
    if single or {"ab", "ac"}.isdisjoint("".join(p) for _, p in graph.nodes(data="plates")):
        assert not layout.unboxed


def test_plates_that_cross_twice_leave_one_out():
    places = {v: (40.0 * v, 0.0) for v in range(7)}
    sizes = dict.fromkeys(places, (24.0, 24.0))
    plates = dict(enumerate(["a", "b", "c", "ab", "bc", "ac", ""]))
    _, boxes, left_out = make_room(places, sizes, plates)
    assert {box.name for box in boxes} | set(left_out) == set("abc")
    assert left_out


@pytest.mark.parametrize("rows", [0, 2, 9])
@pytest.mark.parametrize("model", ["asia", "letters", "campus"])
def test_nodes_keep_apart_and_lines_end_at_their_nodes(model, rows):
    graph = graphs.as_graph(graphs.textbook.structure(model))
    layout = lay_out(graph, dict.fromkeys(graph, rows))
    assert not list(overlapping(layout))
    lines = drawn(layout, edges(graph))
    assert {(line.tail, line.head) for line in lines} == set(graph.edges)
    for line in lines:
        assert len(line.heads) == graph.is_directed()
        tip = line.heads[0][0] if line.heads else line.line[-1]
        for end, v in ((line.line[0], line.tail), (tip, line.head)):
            beyond = np.abs(np.subtract(end, layout.places[v])) - np.array(layout.sizes[v]) / 2
            assert -4 < beyond.max() < 8, (line.tail, line.head, beyond)


def test_a_moved_node_takes_its_edges_and_its_plate_along():
    graph = nx.DiGraph([("a", "b"), ("b", "c"), ("a", "c")])
    graph.nodes["b"]["plates"] = ("rows",)
    before = lay_out(graph)
    after = displaced(before, {"b": (500.0, 300.0)})
    assert after.places["b"] == (500.0, 300.0)
    assert after.places["a"] == before.places["a"]
    (box,), (old,) = after.plates, before.plates
    assert (box.width, box.height) == pytest.approx((old.width, old.height))
    assert inside(box, after.places["b"])
    line = next(each for each in drawn(after, edges(graph)) if each.head == "b")
    assert np.hypot(*(line.heads[0][0] - (500, 300))) < 30


def test_a_new_line_bends_around_a_node_in_its_way():
    path = lay_out(nx.DiGraph([("a", "b"), ("b", "c")]))
    (line,) = drawn(path, [("a", "--", "c")])
    assert np.hypot(*(line.line - path.places["b"]).T).min() > 12


def test_simplifying_keeps_the_shape():
    angles = np.linspace(0, np.pi, 200)
    arc = 100 * np.column_stack([np.cos(angles), np.sin(angles)])
    short = simplified(arc)
    assert len(short) < 40
    assert np.abs(np.hypot(*((short[:-1] + short[1:]) / 2).T) - 100).max() < 0.5
    assert len(simplified(np.linspace([0, 0], [9, 9], 50))) == 2


@pytest.mark.parametrize(
    "graph",
    [
        nx.convert_node_labels_to_integers(nx.grid_2d_graph(9, 9)),
        nx.random_labeled_tree(90, seed=3),
        nx.barabasi_albert_graph(80, 2, seed=1),
        nx.complete_graph(64),
        nx.star_graph(80),
    ],
)
def test_large_undirected_graphs_are_laid_out_without_overlaps(graph):
    layout = lay_out(graph)
    places = np.array([layout.places[v] for v in graph])
    sizes = np.array([layout.sizes[v] for v in graph])
    near = np.abs(places[:, None] - places) < (sizes[:, None] + sizes) / 2 - 1e-6
    assert not (near.all(2) & ~np.eye(len(graph), dtype=bool)).any()
    assert lay_out(graph).places == layout.places


def test_a_grid_is_drawn_as_one():
    graph = nx.grid_2d_graph(10, 10)
    layout = lay_out(graph)
    joined = [math.dist(layout.places[u], layout.places[v]) for u, v in graph.edges]
    assert max(joined) < 2 * min(joined)
    far = math.dist(layout.places[0, 0], layout.places[9, 9])
    assert far > 9 * np.mean(joined)


@pytest.mark.parametrize("seed", range(2))
def test_majorization_ends_where_stress_cannot_fall(seed):
    graph = nx.connected_watts_strogatz_graph(20, 4, 0.3, seed=seed)
    distances = np.array(nx.floyd_warshall_numpy(graph))
    start = np.random.default_rng(seed).normal(0, 3, (20, 2))

    def stress(places):
        apart = np.linalg.norm(places[:, None] - places, axis=2)
        i, j = np.triu_indices(20, 1)
        return ((apart[i, j] / distances[i, j] - 1) ** 2).sum()

    found = majorized(distances, start)
    assert stress(found) < 0.5 * stress(start)
    slope = minimize(lambda p: stress(p.reshape(-1, 2)), found.ravel(), options={"maxiter": 500})
    assert stress(found) < 1.05 * slope.fun


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from([(), ((0, 1),), ((0, 1), (1, 2)), ((0, 2), (1, 2))]), max_size=40),
    st.booleans(),
    st.booleans(),
)
def test_many_components_make_no_ribbon(parts, directed, rows):
    graph = nx.DiGraph() if directed else nx.Graph()
    graph.add_node("alone")
    for i, part in enumerate(parts):
        graph.add_node((i, 0))
        graph.add_edges_from(((i, u), (i, v)) for u, v in part)
    layout = lay_out(graph, dict.fromkeys(graph, 2) if rows else None)
    assert not list(overlapping(layout))
    boxes = []
    for members in nx.connected_components(graph.to_undirected()):
        centres = np.array([layout.places[v] for v in members])
        halves = np.array([layout.sizes[v] for v in members]) / 2
        boxes.append(((centres - halves).min(0), (centres + halves).max(0)))
    for i, (low, high) in enumerate(boxes):
        assert not any((low < top).all() and (bottom < high).all() for bottom, top in boxes[:i])
    width, height = np.max([b for _, b in boxes], 0) - np.min([a for a, _ in boxes], 0)
    if len(boxes) > 12:
        assert 0.4 < width / height < 5
