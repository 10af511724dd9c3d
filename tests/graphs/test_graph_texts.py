"""Graphs read from the texts of other programs, and random ones written and read back."""

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from separation_oracles import random_graphs

import graphs
from graphs.language.graph_texts import is_graph_text

examples = settings(max_examples=80, deadline=None, derandomize=True)
CHAIN = [("A", "C"), ("C", "B")]


@pytest.mark.parametrize(
    "text",
    [
        "dag { A -> C -> B }",
        "dag{A->C;C->B}",
        'dag "a title" {\nbb="0,0,1,1"\nA [exposure,pos="-2,1"]\nB [outcome]\nA -> C\nB <- C\n}',
        "\ufeffdag {\r\n  A -> C // one\r\n  C -> B /* two -> three */\r\n}\r\n",
        "# a comment\nA -> C\nC -> B",
        "A->C, C->B",
        "A → C → B",
        "A --> C; B <-- C",
        r"A \rightarrow C, C\to B",
        r"$A \longrightarrow C, B \gets C$.",
        r"\[ B \leftarrow C \longleftarrow A \]",
        r"dag { A \to C; C \to B }",
        "digraph { A -> C; C -> B; }",
        'strict digraph "G" { rankdir=LR; node [shape=box] A -> C; C -> B [weight=2] }',
        "digraph { A -> C C:e -> B:w [label=<<b>x</b>>] }",
        "digraph { C -> A [dir=back]; edge [dir=back]; B -> C }",
        "digraph { subgraph cluster_1 { A -> C } C -> B }",
        "from,to\nA,C\nC,B",
        "A,C\r\nC,B\r\n",
        "A\tC\nC\tB",
        "target;source\nC;A\nB;C",
        "A,->,C\nB,<-,C",
        "Source,Target,Type,Id\nA,C,Directed,0\nC,B,Directed,1",
        'graph [ directed 1 node [ id 0 label "A" ] node [ id 1 label "B" ] '
        'node [ id 2 label "C" ] edge [ source 0 target 2 ] edge [ source 2 target 1 ] ]',
    ],
)
def test_ways_to_write_a_chain(text):
    graph = graphs.read_graph(text)
    assert type(graph) is nx.DiGraph
    assert set(graph.edges) == set(CHAIN)
    assert graphs.query(graph, "A ⟂ B | C")


@pytest.mark.parametrize("sign", [r"\leftrightarrow", r"\longleftrightarrow"])
def test_two_headed_arrows_of_latex(sign):
    graph = graphs.read_graph(f"A {sign} B, B \\to C")
    assert dict(graph.edges) == {("A", "B"): {"bidirected": True}, ("B", "C"): {}}


@pytest.mark.parametrize("text", [r"x_{1} \to y", "dag { x_{1} -> y }", "dag { y -> x_{t} }"])
def test_names_with_braces_are_refused_without_quotes(text):
    """Not read as the node ``x_`` before a group of others."""
    with pytest.raises(ValueError, match="braces stands in double quotes"):
        graphs.read_graph(text)
    assert list(graphs.read_graph(r'"x_{1}" \to y').edges) == [("x_{1}", "y")]


@pytest.mark.parametrize("text", [r"A \top B", r"A \tofu B", r"digraph { A \to B }", r'"A \to B"'])
def test_other_commands_are_no_arrows(text):
    with pytest.raises(ValueError, match="expected"):
        graphs.read_graph(text)


def test_kinds_of_edges():
    assert type(graphs.read_graph("A -- B, B -- C")) is nx.Graph
    assert type(graphs.read_graph("graph { A -- {B C} }")) is nx.Graph
    assert type(graphs.read_graph("dag { A B }")) is nx.DiGraph
    essential = graphs.essential_graph(nx.DiGraph(CHAIN))
    assert nx.utils.graphs_equal(graphs.read_graph("pdag { A -- C -- B }"), essential)
    mixed = graphs.read_graph("dag { A -> B; A <-> B }")
    assert dict(mixed.edges) == {("A", "B"): {}, ("B", "A"): {"bidirected": True}}
    assert nx.utils.graphs_equal(mixed, graphs.read_graph("dag { A <-> B; A -> B }"))
    assert nx.utils.graphs_equal(mixed, graphs.read_graph("digraph { A->B; A->B [dir=both] }"))


def test_groups_and_names():
    graph = graphs.read_graph('dag { {A "wet grass"} -> { B; C_1.x }; "say \\"hi\\"" ; नमस्ते -> é }')
    assert list(graph) == ["A", "wet grass", "B", "C_1.x", 'say "hi"', "नमस्ते", "é"]
    assert set(graph.successors("wet grass")) == {"B", "C_1.x"}
    assert list(graphs.read_graph('digraph { "a" + "b" -> -1.5 }').edges) == [("ab", "-1.5")]


def test_unobserved_nodes_are_latent():
    text = 'dag { U [latent]; V [observed="no"]; W [unobserved]; A [latent="no",pos="1,2"] U -> A }'
    graph = graphs.read_graph(text)
    assert {v for v, data in graph.nodes(data=True) if data.get("latent")} == {"U", "V", "W"}
    assert graph.nodes["A"]["pos"] == "1,2"
    with pytest.raises(ValueError, match="latent node 'U'"):
        graphs.query(graph, "A ⟂ V | U")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("graph G { A -> B }", "expected '--' in a graph of DOT"),
        ("digraph { A -- B }", "expected '->' in a digraph of DOT"),
        ("dag { A -> }", "expected the name of a node"),
        ("dag { A -> B", "expected '}', got the end"),
        ("dag { A -> B } x", "expected the end of the text, got 'x'"),
        ("dag { A @-> B }", "several"),
        ("pag { A -> B }", "got a pag"),
        ("A o-> B", "several"),
        ("A-B", "expected a graph"),
        ("A B -> C", "expected an edge, a comma or the end of the line, got 'B'"),
        ("graph TD; A-->B", "expected an edge, a comma or the end of the line, got 'TD'"),
        ("wet-grass -> B", "expected an edge, a comma or the end of the line, got '-"),
        ("A,B\n1,2\n0,1", "as in a table of data"),
        ("from,to\nA,", "got an empty one"),
        ("from,to,type\nA,B,sideways", "expected directed or undirected, got 'sideways'"),
        ("A,B,C,D", "expected a row of two names"),
        ("A <-> A", "got 'A' twice"),
        ("pdag { A -- B; A -> B }", "edges that agree"),
        ("digraph { A -> B [style=invis] }", "invis"),
        ("digraph { A -> B [dir=up] }", "got dir=up"),
        ("graph [ node [ id 1 ] edge [ source 1 target 2 ] ]", "GML"),
        ("dag " + "{" * 80, "at most 50 groups"),
        ("", "got the end"),
        ("hello", "expected a graph"),
    ],
)
def test_refused_texts(text, message):
    with pytest.raises(ValueError, match=message):
        graphs.read_graph(text)


def test_lines_are_named():
    with pytest.raises(ValueError) as raised:
        graphs.read_graph("dag {\n A -> B\n B -> ;\n}")
    assert raised.value.line == 3


def test_only_graphs_look_like_graphs():
    for text in ("A->B", "dag{A}", "graph [ ]", "A — B", "digraph x {}"):
        assert is_graph_text(text)
    for text in ("P(A)P(B|A)", "asia", "A,B", "net.bif", '"a->b"', "phi(A,B)"):
        assert not is_graph_text(text)


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\x00\r"), min_size=1, max_size=6)


@examples
@given(random_graphs(), st.data())
def test_random_graphs_are_read_back(graph, data):
    size = len(graph)
    names = data.draw(st.lists(NAMES, min_size=size, max_size=size, unique=True))
    graph = nx.relabel_nodes(graph, dict(enumerate(names)))
    quoted = {v: '"' + v.replace("\\", "\\\\").replace('"', '\\"') + '"' for v in graph}
    arrow = "->" if graph.is_directed() else "--"
    edges = [f"{quoted[u]} {arrow} {quoted[v]}" for u, v in graph.edges]
    kinds = ["dag", "digraph"] if graph.is_directed() else ["graph"]
    texts = [f"{kind} {{ {'; '.join([*quoted.values(), *edges])} }}" for kind in kinds]
    if edges:
        texts.append("\n".join([*quoted.values(), *edges]))
        texts.append(", ".join([*quoted.values(), *edges]))
    for text in texts:
        assert nx.utils.graphs_equal(graphs.read_graph(text), graph)


@examples
@given(random_graphs(max_nodes=5), st.data())
def test_gml_of_networkx_is_read_back(graph, data):
    size = len(graph)
    names = data.draw(
        st.lists(
            st.text("ab é\"&#\\'[1", min_size=1, max_size=4),
            min_size=size,
            max_size=size,
            unique=True,
        )
    )
    graph = nx.relabel_nodes(graph, {i: f"x{name}" for i, name in enumerate(names)})
    again = graphs.read_graph("\r\n".join(nx.generate_gml(graph)))
    assert nx.utils.graphs_equal(again, graph)


@pytest.mark.parametrize(
    ("attributes", "edge"),
    [
        ("dir=both", "A <-> B"),
        ("dir=both, arrowtail=normal, arrowhead=vee", "A <-> B"),
        ("dir=both, arrowtail=none", "A -> B"),
        ("dir=both, arrowhead=none", "B -> A"),
        ("dir=back, arrowhead=none", "B -> A"),
        ("arrowtail=none", "A -> B"),
    ],
)
def test_dot_edges_have_the_heads_that_are_drawn(attributes, edge):
    read = graphs.read_graph(f"digraph {{ A -> B [{attributes}] }}")
    wanted = graphs.read_graph(f"dag {{ {edge} }}")
    assert set(read.edges(data="bidirected")) == set(wanted.edges(data="bidirected"))


@pytest.mark.parametrize("attributes", ["arrowhead=none", "dir=back, arrowtail=none", "dir=none"])
def test_dot_edges_without_head(attributes):
    read = graphs.read_graph(f"digraph {{ A -> B [{attributes}] }}")
    assert set(read.edges(data="directed")) == {("A", "B", False), ("B", "A", False)}
