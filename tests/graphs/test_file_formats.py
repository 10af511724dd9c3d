"""Formats that are only read, decisions and utilities, encodings, and files named otherwise."""

import gzip
from xml.etree import ElementTree

import networkx as nx
import numpy as np
import pytest
from agrum import pyagrum
from network_files import (
    BIF,
    DSC,
    DSC_GENIE,
    NET,
    NET_DECISION,
    UAI,
    XDSL,
    XML,
    assert_same,
)

import graphs


def written(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def refused(path, message, **options):
    with pytest.raises(ValueError, match=message) as caught:
        graphs.load(path, **options)
    assert str(caught.value).startswith(f"{path}")


# --- GeNIe and Microsoft ------------------------------------------------------------------------


def test_genies_files_list_the_last_parents_states_first(tmp_path):
    model = graphs.load(written(tmp_path / "n.xdsl", XDSL))
    assert model.name == "wells"
    assert model.states["rig"] == ["a", "b", "c"]
    seen = model.get_cpds("seen")
    assert seen.variables == ["seen", "oil", "rig"]
    assert seen.values[1].tolist() == [[0.1, 0.2, 0.3], [0.6, 0.75, 1]]
    assert model.get_cpds("told").values.T.tolist() == [[0, 1], [1, 0]]
    structure = graphs.load(tmp_path / "n.xdsl", tables=False)
    assert list(structure.edges) == list(model.edges)


def test_what_agrum_writes_as_genies_files_is_what_it_holds(tmp_path):
    theirs = pyagrum.fastBN("a{x|y|z}->b[4]<-c;b->d;a->d<-c", 3)
    pyagrum.saveBN(theirs, str(tmp_path / "n.xdsl"))
    model = graphs.load(tmp_path / "n.xdsl")
    for cpd in model.get_cpds():
        table = theirs.cpt(cpd.variable)
        axes = [table.names[::-1].index(v) for v in cpd.variables]
        assert np.allclose(table.toarray().transpose(axes), cpd.values, atol=2e-6)


def test_microsofts_rows_go_where_their_labels_say(tmp_path):
    model = graphs.load(written(tmp_path / "n.dsc", DSC))
    assert model.get_cpds("seen").values[1].tolist() == [[0.1, 0.2, 0.3], [0.6, 0.3, 1]]
    assert model.name == "wells"
    model = graphs.load(written(tmp_path / "n.dsc", DSC_GENIE))
    assert model.get_cpds("seen").values[1].tolist() == [0.1, 0.6, 1]
    one = DSC_GENIE.replace("(seen | oil)", "(seen | oil, also)").replace("node seen", ALSO)
    model = graphs.load(written(tmp_path / "n.dsc", one))
    assert model.get_cpds("seen").values[1].tolist() == [[0.1], [0.6], [1]]


def test_rows_of_genies_that_are_all_labelled_zero_run_over_the_last_parent_first(tmp_path):
    rows = [(0.5 + k / 16, 0.5 - k / 16) for k in range(6)]
    listed = "".join(f"    (0, 0) : {p}, {q};\n" for p, q in rows)
    text = DSC_GENIE[: DSC_GENIE.index("probability (seen")].replace("node seen", ALSO)
    text = text.replace("discrete[1]", "discrete[2]").replace('"x"', '"x", "y"')
    text = text.replace("(also) { 1; }", "(also) { 0.5, 0.5; }")
    path = written(tmp_path / "n.dsc", text + f"probability (seen | oil, also)\n{{\n{listed}}}\n")
    with pytest.warns(UserWarning, match=r"P\(seen \| oil, also\) rows, all labelled \(0, 0\)"):
        model = graphs.load(path)
    cpd = model.get_cpds("seen")
    assert cpd.variables == ["seen", "oil", "also"]
    assert cpd.values[0].ravel().tolist() == [p for p, _ in rows]
    short = text + f"probability (seen | oil, also)\n{{\n{listed[: listed.rindex('(0')]}}}\n"
    refused(written(tmp_path / "n.dsc", short), r"every row once, got \(0, 0\) again")


ALSO = """node also { type : discrete[1] = { "x" }; }
probability (also) { 1; }
node seen"""
BAD = [
    (DSC, "(1, 2) : 0, 1;", "(1, 3) : 0, 1;", "states .0 to 1, 0 to 2. of 'seen', got .1, 3."),
    (DSC, "(1, 2) : 0, 1;", "(0, 1) : 0, 1;", r"every row once, got \(0, 1\) again"),
    (DSC, "default : 0.7, 0.3;", "", r"the row \(0, 2\) of 'seen', got 4 of 6"),
    (DSC, "0.8, 0.2;", "0.8;", "2 probabilities of 'seen', got 1"),
    (DSC, "0.8, 0.2;", "0.8, x;", "a number, got 'x'"),
    (DSC, "discrete[2]", "continuous", "'type : discrete"),
    (DSC, "(oil) {", "(oil | {", "'\\(', the node"),
    (XDSL, "0.2 0.3 0.5", "0.2 0.8", r"3 numbers for P\(rig\), got 2"),
    (XDSL, "y x", "y z", "states of 'told' among x, y, got 'z'"),
    (XDSL, "<parents>oil rig", "<parents>oil wig", "declared variables, got 'wig'"),
    (XDSL, '<cpt id="oil">', "<cpt>", "id='...' in <CPT>, got none"),
    (XDSL, "<nodes>", "<dynamic/><nodes>", "a static network"),
    (XDSL, "deterministic", "mystery", "<noisymax> or <equation>, got <mystery>"),
]


@pytest.mark.parametrize(("text", "old", "new", "message"), BAD)
def test_malformed_files_of_genie_and_microsoft_name_the_line(text, old, new, message, tmp_path):
    extension = ".dsc" if text is DSC else ".xdsl"
    assert old in text
    refused(written(tmp_path / f"n{extension}", text.replace(old, new)), rf"line \d+: .*{message}")


# --- Decisions and utilities --------------------------------------------------------------------


def test_decisions_and_utilities_are_kinds_of_nodes_of_the_structure(tmp_path):
    path = written(tmp_path / "n.net", NET_DECISION)
    graph = graphs.load(path, tables=False)
    assert dict(graph.nodes(data="kind")) == {
        "oil": "chance",
        "drill": "decision",
        "profit": "utility",
        "Seen(well1,year2)": "chance",
    }
    assert set(graph.edges) == {
        ("oil", "Seen(well1,year2)"),
        ("Seen(well1,year2)", "drill"),
        ("oil", "profit"),
        ("drill", "profit"),
    }
    refused(path, r"line 3: .*a decision node, 'drill'; .*tables=False")


def _words(element):
    return [] if element is None else element.text.split()


@pytest.mark.parametrize("name", ["pinball.xdsl", "decisions.xml", "mikailo.bifxml"])
def test_public_decision_problems_are_read_as_structures(name, reference_data):
    path = reference_data / "networks" / name
    graph = graphs.load(path, tables=False)
    root = ElementTree.parse(path).getroot()
    if name == "pinball.xdsl":
        kinds = {"cpt": "chance"}
        nodes = {v.get("id"): kinds.get(v.tag, v.tag) for v in root.find("nodes")}
        edges = {(u, v.get("id")) for v in root.find("nodes") for u in _words(v.find("parents"))}
    else:
        kinds = {"nature": "chance"}
        variables = list(root.iter("VARIABLE"))
        nodes = {v.findtext("NAME"): kinds.get(v.get("TYPE"), v.get("TYPE")) for v in variables}
        definitions = list(root.iter("DEFINITION"))
        edges = {(u.text, d.findtext("FOR")) for d in definitions for u in d.findall("GIVEN")}
    assert set(nodes.values()) == {"chance", "decision", "utility"}
    assert dict(graph.nodes(data="kind")) == nodes
    assert set(graph.edges) == edges
    refused(path, "a (decision|utility) node")


def test_continuous_nodes_are_nodes_of_the_structure(tmp_path):
    text = NET.replace("node tub", "continuous node tub")
    path = written(tmp_path / "n.net", text)
    assert list(graphs.load(path, tables=False).edges) == [("asia", "tub")]
    refused(path, "a continuous node, 'tub'")


def test_hugins_counts_load_when_asked_for(reference_data):
    path = reference_data / "networks" / "hugin.net"
    refused(path, "a sum of 100 .*normalize=True")
    with pytest.warns(UserWarning, match="rescaled from a sum of 100"):
        graphs.load(path, normalize=True)


# --- Names of files and encodings ---------------------------------------------------------------

TEXTS = {".bif": BIF, ".net": NET, ".uai": UAI, ".xmlbif": XML, ".xdsl": XDSL, ".dsc": DSC}


@pytest.mark.parametrize("extension", TEXTS)
@pytest.mark.parametrize("named", ["n", "n.txt", "n.bif", "n.xml", "n.NET", "n.dat"])
def test_what_a_file_holds_counts_more_than_its_name(extension, named, tmp_path):
    expected = graphs.load(written(tmp_path / f"given{extension}", TEXTS[extension]))
    assert_same(expected, graphs.load(written(tmp_path / named, TEXTS[extension])))
    packed = tmp_path / f"p{extension}"
    packed.write_bytes(gzip.compress(TEXTS[extension].encode()))
    assert_same(expected, graphs.load(packed))


@pytest.mark.parametrize("extension", TEXTS)
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-32", "latin-1"])
def test_encodings_and_line_ends_do_not_matter(extension, encoding, tmp_path):
    text = TEXTS[extension]
    expected = graphs.load(written(tmp_path / f"given{extension}", text))
    text = text.replace("\n", "\r\n").replace(' encoding="UTF-8"', "")
    if encoding == "utf-16-be":
        text = "\ufeff" + text
    if encoding == "utf-32" and extension in (".xmlbif", ".xdsl"):
        return  # expat does not know it
    assert_same(expected, graphs.load(written(tmp_path / f"n{extension}", text, encoding)))


@pytest.mark.parametrize("extension", [".bif", ".net"])
def test_latin_1_is_read_with_a_warning(extension, tmp_path):
    text = TEXTS[extension].replace("tub", '"café"')
    expected = graphs.load(written(tmp_path / f"given{extension}", text))
    path = written(tmp_path / f"n{extension}", text, "latin-1")
    with pytest.warns(UserWarning, match=r"expected UTF-8, got the byte 0xe9 in line .*Latin-1"):
        assert_same(expected, graphs.load(path))


def test_xml_with_prefixes_comments_and_blanks_before_it(tmp_path):
    expected = graphs.load(written(tmp_path / "given.xmlbif", XML))
    for name in ("n.xml", "n.bifxml", "n.xmlbif"):
        assert_same(expected, graphs.load(written(tmp_path / name, "\ufeff\n \n" + XML)))
        prefixed = XML.replace("<", "<b:").replace("<b:?", "<?").replace("<b:/", "</b:")
        prefixed = prefixed.replace("<b:BIF ", '<!-- <x> -->\n<b:BIF xmlns:b="urn:x" ')
        assert_same(expected, graphs.load(written(tmp_path / name, prefixed)))
        graphs.save(expected, tmp_path / name)
        assert_same(expected, graphs.load(tmp_path / name))
    refused(written(tmp_path / "n.xml", "\n\n" + XML.replace("0.99</T", "x</T")), "line 19: ")
    refused(written(tmp_path / "n.xml", "<html></html>"), "<BIF>, got <HTML>")


def test_formats_that_are_only_read_are_not_written(tmp_path):
    model = graphs.load(written(tmp_path / "n.xdsl", XDSL))
    for extension in (".xdsl", ".dsc", ".gml", ".csv"):
        with pytest.raises(ValueError, match=r"ends in \.bif, .*\.net, each also"):
            graphs.save(model, tmp_path / f"m{extension}")
    assert [path.name for path in tmp_path.iterdir()] == ["n.xdsl"]


# --- Graphs without tables ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("g.dot", "digraph { a -> c; c -> b }"),
        ("g.gv", "digraph g { a -> c -> b; }"),
        ("g.dagitty", "dag { a -> c -> b }"),
        ("g.txt", "dag { a -> c -> b }"),
        ("g.csv", "from,to\na,c\nc,b\n"),
        ("g.tsv", "from\tto\na\tc\nc\tb\n"),
        ("g.edges", "a -> c, c -> b"),
        ("g.gml", None),
    ],
)
def test_graphs_as_text_are_structures(name, text, tmp_path):
    if text is None:
        text = "\n".join(nx.generate_gml(nx.DiGraph([("a", "c"), ("c", "b")])))
    path = written(tmp_path / name, text)
    for options in ({}, {"tables": False}):
        graph = graphs.load(path, **options)
        assert set(graph.edges) == {("a", "c"), ("c", "b")}
    assert graphs.independent(graphs.load(path), "a", "b", "c")


def test_a_graph_that_cannot_be_read_is_refused_with_its_file(tmp_path):
    refused(written(tmp_path / "g.dot", "digraph { a -> "), "expected")
    refused(written(tmp_path / "g.csv", '"'), "expected")
