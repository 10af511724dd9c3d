"""Every way a file can be wrong: the error names the line and what was expected there."""

import gzip
import time
import tracemalloc

import pytest
from network_files import BIF, NET, UAI, XML, assert_same

import graphs
from graphs.files import read_evidence

VALUES, PARENTS = "[ 2 ] { yes, no };\n}\nvariable", "( tub | asia )"
FLAT, YES_ROW = "table 0.01, 0.99;", "(yes) 0.05, 0.95;"
NO_ROW = "  (no) 0.01, 0.99;\n"
BAD_BIF = [
    # (what is replaced, by what, the line that is named, the message)
    (BIF, "", 1, "at least one variable"),
    ("network asia {\n}", "hello", 1, "'network', 'variable' or 'probability', got 'hello'"),
    ("network asia {\n}", "network asia {\n  x\n}", 2, "'property ...;' or '}', got 'x'"),
    ("network asia {", "network asia", 1, "the network's name and '{', got 'asia'"),
    ("variable tub {", "variable {", 6, "the name of a variable and '{', got '{'"),
    ("variable tub {", "variable asia {", 7, "every variable once, got 'asia' again"),
    ("variable tub {\n  type discrete", "variable tub {\n  type continuous", 7, "'type discrete"),
    (VALUES, "[ 3 ] { yes, no };\n}\nvariable", 4, "3 states of 'asia'"),
    (VALUES, "[ 2 ] { yes };\n}\nvariable", 4, "2 states of 'asia', got 1"),
    (VALUES, "[ 2 ] { x, x };\n}\nvariable", 4, "distinct states .* 'x'"),
    (VALUES, "[ 0 ] { };\n}\nvariable", 4, "0 states|at least one state"),
    (VALUES, "[ 2 ] { yes, no;\n}\nvariable", 4, "the states, separated"),
    ("  type discrete " + VALUES, "}\nvariable", 3, "'type discrete' in .* 'asia'"),
    (
        NO_ROW + "}\n",
        "",
        13,
        "'}' at the end of the block begun in line 12, got the end of the file",
    ),
    (PARENTS, "( tub | asja )", 12, r"declared variables, got 'asja' \(did you mean 'asia'"),
    (PARENTS, "( asia | tub )", 12, "another after that of line 9"),
    (PARENTS, "( tub | tub )", 12, "distinct variables"),
    (PARENTS, "( )", 12, "the name of a variable"),
    (PARENTS, "tub | asia", 12, r"'\(', the variable, its parents and '\)', got 'tub'"),
    ("( asia ) {", "( asia | tub ) {", 10, "4 numbers .2 × 2. for .* got 2"),
    ("probability ( asia ) {\n  table 0.01, 0.99;\n}\n", "", 4, "distribution of 'asia', got none"),
    (FLAT, "table 0.01, 0.99, 0.0;", 10, r"2 numbers for P\(asia\), got 3"),
    (FLAT, "", 9, r"'table' and probabilities of P\(asia\), got 0 of 1 rows"),
    (FLAT, "table 0.01, 0.99", 10, "numbers and ';', got '}'"),
    (FLAT, "table 0.01, 0.89;", 10, "sum to one, got a sum of 0.9 in P"),
    (FLAT, "table\n 0.01,\n oops;", 12, "a number, got 'oops'"),
    (FLAT, "table 0.01,\n nan;", 11, "got nan"),
    (FLAT, "table 0_01, 0.99;", 10, "a number, got '0_01'"),
    (FLAT, "table 0.01, 0.99; 0.1;", 10, "a row .* got '0.1'"),
    (FLAT, "table 0.01, 0.99; table 0.01, 0.99;", 10, "one 'table' at most"),
    (YES_ROW, "(yes) 0.05;", 13, r"2 probabilities, .* \(yes, no\) of 'tub', got 1"),
    (YES_ROW, "(yes) 0.05, 0.95", 13, r"numbers and ';', got '\('"),
    (YES_ROW, "(yes 0.05, 0.95;", 13, r"the parents' states and '\)'"),
    (YES_ROW, "(yep) 0.05, 0.95;", 13, "a state of 'asia' among yes, no, got 'yep'"),
    (YES_ROW, "(yes, no) 0.05, 0.95;", 13, r"1 states, of asia, got \(yes, no\)"),
    (YES_ROW, "(no) 0.05, 0.95;", 14, r"every row once, got \(no\) again"),
    (YES_ROW, "(yes) -0.05, 1.05;", 13, "non-negative probabilities, got -0.05 .* tub=yes"),
    (YES_ROW, "(yes) 0.05, NaN;", 13, "got nan"),
    (YES_ROW, "(yes) inf, 0.95;", 13, "got inf"),
    (
        "(no) 0.01, 0.99;",
        "(no) 0.01, 0.98;",
        14,
        r"sum to one, got a sum of 0.99 in P.* at asia=no",
    ),
    (NO_ROW, "", 12, r"the row \(no\) of P\(tub \| asia\), got 1 of 2 rows"),
    (NO_ROW, "  default 0.1;\n", 14, "2 probabilities"),
    (NO_ROW, "  default 0.1, 0.8;\n", 14, "sum to one"),
    (NO_ROW, "  default 0.1, 0.9;\n default 0.1, 0.9;\n", 15, "one 'default' at most"),
    (NO_ROW, "  table 0.1, 0.9, 0.1, 0.9;\n", 14, "'table' or rows, got both"),
    ("  table", "  /* no end table", 9, "'}' at the end of the block begun in line 9"),
    ("network asia", 'network "asia', 1, "the network's name and '{', got '\"'"),
    ("network asia {\n}", "network asia {\n  property x\n}", 2, "'property ...;' or '}'"),
    (PARENTS, "( tub | asia, x )", 12, "declared variables, got 'x'"),
]
CYCLE = """network c { }
variable a { type discrete [ 1 ] { x }; }
variable b { type discrete [ 1 ] { x }; }
probability ( a | b ) { (x) 1.0; }
probability ( b | a ) { (x) 1.0; }
"""


def assert_refused(path, content, line, message):
    """Refused with the file, the line and what was expected."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=message) as caught:
        graphs.load(path)
    assert str(caught.value).startswith(f"{path}, line {line}: expected ")


def replaced(text, old, new):
    assert old in text
    return text.replace(old, new, 1)


@pytest.mark.parametrize(("old", "new", "line", "message"), BAD_BIF)
def test_malformed_bif_names_the_line(old, new, line, message, tmp_path):
    assert_refused(tmp_path / "n.bif", replaced(BIF, old, new), line, message)


def test_a_cycle_is_named(tmp_path):
    assert_refused(tmp_path / "n.bif", CYCLE, 5, "acyclic network, got the cycle a -> b -> a")


@pytest.mark.parametrize(
    ("table", "line", "message"),
    [
        ("0.05, 0.01,\n 0.95,\n -0.99", 15, r"got -0\.99 in .* at asia=no, tub=no"),
        ("0.05,\n 0.01,\n 0.95, 0.89", 14, r"a sum of 0\.9 in .* at asia=no"),
        ("0.05,\n 0.01,\n x, 0.99", 15, "a number, got 'x'"),
    ],
)
def test_malformed_numbers_of_a_flat_table_name_their_line(table, line, message, tmp_path):
    rows = BIF[BIF.index("  (yes)") : -len("}\n")]
    text = replaced(BIF, rows, f"  table {table};\n")
    assert_refused(tmp_path / "n.bif", text, line, message)


def test_structure_alone_refuses_what_concerns_it(tmp_path):
    path = tmp_path / "n.bif"
    for text, message in [
        (replaced(BIF, PARENTS, "( tub | asja )"), "line 12: .*'asja'"),
        (replaced(BIF, NO_ROW + "}\n", ""), "line 13: .*'}'"),
        (replaced(BIF, "{ yes, no }", "{ yes }"), "line 4: .*2 states"),
        (CYCLE, "line 5: .*cycle"),
    ]:
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            graphs.load(path, tables=False)


def test_a_table_larger_than_any_file_is_refused_before_it_is_allocated(tmp_path):
    text = "".join(
        f"variable {v} {{ type discrete [ 2 ] {{ a, b }}; }}\n"
        f"probability ( {v} ) {{ table 0.5, 0.5; }}\n"
        for v in (f"v{i}" for i in range(70))
    )
    text += "variable w { type discrete [ 2 ] { a, b }; }\n"
    parents = ", ".join(f"v{i}" for i in range(40))
    default = f"probability ( w | {parents} ) {{\n default 0.5, 0.5; }}\n"
    message = "a default for at most .* cells, got 2199023255552"
    assert_refused(tmp_path / "n.bif", text + default, 143, message)
    row = f"probability ( w | {parents} ) {{\n ({', '.join('b' * 40)}) 0.5, 0.5; }}\n"
    message = r"the row \(a, a.* got 1 of 1099511627776"
    assert_refused(tmp_path / "n.bif", text + row, 142, message)
    many = f"probability ( w | {', '.join(f'v{i}' for i in range(64))} ) {{ }}\n"
    assert_refused(tmp_path / "n.bif", text + many, 142, "at most 64 variables in a table, got 65")


SCOPE = "(tub | asia)"
STATES = 'states = ("yes" "no");\n}\nnode'
DATA = "data = (0.01 0.99);"
BAD_NET = [
    (NET, "", 1, "at least one variable"),
    ("net\n{", "nett\n{", 1, "'net', 'node', .* or 'potential', got 'nett'"),
    ("node tub", "utility tub", 9, "discrete chance nodes, got a utility node, 'tub'; .*=False"),
    ("node tub", "continuous node tub", 9, "nodes, got a continuous node, 'tub'; .*=False"),
    ("node tub", "function tub", 9, "'utility' or 'potential', got 'function'"),
    ("node tub", "node asia", 11, "every variable once, got 'asia' again"),
    ("node tub", "node", 10, "the name of a node, got '{'"),
    (STATES, "}\nnode", 5, "'states = .* of asia, got none"),
    (STATES, 'states = "yes";\n}\nnode', 7, "the states and"),
    (STATES, "states = ();\n}\nnode", 7, "at least one state of 'asia'"),
    (STATES, 'states = ("y" "y");\n}\nnode', 7, "'y' twice"),
    (STATES, 'states = ("yes" "no")\n}\nnode', 7, "'name = value;' or"),
    (SCOPE, "(tub | asja)", 17, r"declared variables, got 'asja' \(did you mean 'asia'"),
    (SCOPE, "(tub asia)", 17, r"one node before '\|', got 2"),
    (SCOPE, "tub", 17, r"'\(', the node, '\|', its parents and '\)', got 'tub'"),
    (SCOPE, "(asia | tub)", 17, "another after that of line 13"),
    (f"potential (asia)\n{{\n  {DATA}\n}}\n", "", 7, "distribution of 'asia', got none"),
    (DATA, "", 13, "'data = .* of 'asia', got none"),
    (DATA, "data = (0.01);", 15, r"2 numbers for P\(asia\), got 1"),
    (DATA, "data = (0.01 x);", 15, "a number, got 'x'"),
    (DATA, "data = (0.01 0.99;", 15, r"as many '\(' as '\)'"),
    (DATA, "data = normal(0, 1);", 15, "a number, got 'normal'"),
    ("(0.01 0.99));", "(0.01 -0.99));", 20, "got -0.99 in .* at asia=no, tub=no"),
    ("(0.01 0.99));", "(0.01 0.89));", 20, "sum to one, got a sum of 0.9 .* at asia=no"),
    ("(0.01 0.99));", "(0.01 nan));", 20, "got nan"),
    ("          (0.01 0.99));\n}", "", 19, "'name = value;' or '}', got 'data'"),
    ("(0.01 0.99));\n}\n", "(0.01 0.99));", 20, "'name = value;' or '}', got the end of"),
]


@pytest.mark.parametrize(("old", "new", "line", "message"), BAD_NET)
def test_malformed_net_names_the_line(old, new, line, message, tmp_path):
    assert_refused(tmp_path / "n.net", replaced(NET, old, new), line, message)


SCOPES = "1 0\n2 0 1"
LAST = " 0.3 0.3 0.4\n"
BAD_UAI = [
    (UAI, "", 1, "'MARKOV' or 'BAYES', got the end of the file"),
    ("BAYES", "BAYESIAN", 1, "'MARKOV' or 'BAYES', got 'BAYESIAN'"),
    ("\n2\n2 3", "\n-2\n2 3", 2, "the number of variables, an integer of at least 1, got '-2'"),
    ("\n2\n2 3", "\n0\n", 2, "the number of variables"),
    ("\n2 3\n", "\n2 0\n", 3, "the number of states of var_1, .* got '0'"),
    ("\n2 3\n", "\n2 3.0\n", 3, r"the number of states of var_1, .* got '3\.0'"),
    ("\n2 3\n", f"\n2 {'9' * 5000}\n", 3, "the number of states of var_1"),
    (SCOPES, "1 0\n2 0 2", 6, "a variable, an integer from 0 to 1, got '2'"),
    (SCOPES, "1 0\n2 1 1", 6, "distinct variables"),
    (SCOPES, "1 0\n2 1 0", 6, "one distribution of 'var_0', got another after .* line 5"),
    ("2 3\n2\n1 0\n2 0 1\n\n2\n 0.25 0.75\n", "2 3\n1\n2 0 1\n", 3, "distribution of 'var_0'"),
    (SCOPES, "0\n2 0 1", 5, "the number of variables of a function, .* at least 1, got '0'"),
    ("\n6\n", "\n5\n", 11, r"the number of entries of P\(var_1 \| var_0\), 6, got '5'"),
    (LAST, " 0.3 0.3\n", 13, r"6 numbers of P\(.*\), got the end of the file"),
    (LAST, " 0.3 0.3 0.4 0.5\n", 13, r"the end of the file, got '0\.5'"),
    (LAST, " 0.3 x 0.4\n", 13, "6 numbers of .* got 'x'"),
    (LAST, " 0.3 0_3 0.4\n", 13, "6 numbers of .* got '0_3'"),
    (LAST, " 0.3,0.3 0.4 0\n", 13, r"6 numbers of .* got '0\.3,0\.3'"),
    (LAST, " 0.3 0.3,0.4\n", 13, r"6 numbers of .* got '0\.3,0\.4'"),
    (LAST, " 0.3 0.3 0.3\n", 13, r"sum to one, got a sum of 0\.9 .* at var_0=1"),
    (LAST, " 0.3 -0.3 1.0\n", 13, r"got -0\.3 in .* at var_0=1, var_1=1"),
    (LAST, " 0.3 nan 0.4\n", 13, "got nan"),
]


@pytest.mark.parametrize(("old", "new", "line", "message"), BAD_UAI)
def test_malformed_uai_names_the_line(old, new, line, message, tmp_path):
    assert_refused(tmp_path / "n.uai", replaced(UAI, old, new), line, message)


@pytest.mark.parametrize(
    ("table", "line", "message"),
    [
        ("1 -2 3 4", 5, r"potentials, got -2.0 in φ\(var_0, var_1\) at var_0=0, var_1=1"),
        ("1 2\n3 nan", 6, "got nan"),
        ("0 0 0 0", 5, "positive somewhere, got zeros"),
        ("1 2 3", 5, "4 numbers"),
    ],
)
def test_malformed_markov_uai_names_the_line(table, line, message, tmp_path):
    text = f"MARKOV\n2 2 2\n1 # one\n2 0 1 4\n{table}"
    assert_refused(tmp_path / "n.uai", text, line, message)


FOR = "<FOR>tub</FOR>"
ROW = "    0.01 0.99\n"
YES, NO = "  <OUTCOME>yes</OUTCOME>\n", "  <OUTCOME>no</OUTCOME>\n"
BAD_XML = [
    (XML, "", 1, "XML, got no element found"),
    ("</BIF>\n", "", 28, "XML, got no element found"),
    ("</VARIABLE>\n<VAR", "\n<VAR", 27, "XML, got mismatched tag"),
    ("BIF VERSION", "FIB VERSION", 28, "XML, got mismatched tag"),
    (XML, "<FIB/>", 1, "<BIF>, got <FIB>"),
    ("<NETWORK>", "<NETWORK/><NETWORK>", 3, "one <NETWORK> in <BIF>, got 2"),
    ('"nature">\n  <NAME>tub', '"utility">\n  <NAME>tub', 10, "got a utility node, 'tub'"),
    ("<NAME>tub</NAME>", "", 10, "one <NAME> in <VARIABLE>, got 0"),
    ("<NAME>tub</NAME>", "<NAME>asia</NAME>", 10, "every variable once, got 'asia' again"),
    (YES, NO, 5, "distinct states of 'asia'"),
    (YES + NO, "", 5, "at least one state of 'asia'"),
    (YES, "\n", 17, r"1 numbers for P\(asia\), got 2"),
    (FOR, "", 19, "one <FOR> in <DEFINITION>, got 0"),
    (FOR, "<FOR>tub</FOR>\n<FOR>asia</FOR>", 21, "one <FOR> in <DEFINITION>, got 2"),
    (FOR, "<FOR>tup</FOR>", 20, r"variables, got 'tup' \(did you mean 'tub'"),
    ("<GIVEN>asia</GIVEN>", "<GIVEN>tub</GIVEN>", 20, "distinct variables"),
    ("  <TABLE>0.01 0.99</TABLE>\n", "", 15, "one <TABLE> in <DEFINITION>, got 0"),
    ("0.01 0.99</TABLE>", "0.01</TABLE>", 17, r"2 numbers for P\(asia\), got 1"),
    (ROW, "    0.01 o.99\n", 24, "a number, got 'o.99'"),
    (ROW, "    0.01 0.99)\n", 24, r"a number, got '0\.99\)'"),
    (ROW, "    0.01 -0.99\n", 24, "got -0.99 in .* at asia=no, tub=no"),
    (ROW, "    0.01 0.89\n", 24, "sum to one, got a sum of 0.9 in .* at asia=no"),
    (ROW, "    0.01 <!-- \n --> NaN\n", 25, "got nan"),
    ('version="1.0"', 'version="1.0" encoding="klingon"', 1, "XML.*encoding"),
    ('version="1.0"', 'version="1.0" encoding="utf-7"', 1, "XML.*encoding"),
    ("<NAME>tub</NAME>", "<NAME>&tub;</NAME>", 11, "XML, got undefined entity"),
]


@pytest.mark.parametrize(("old", "new", "line", "message"), BAD_XML)
def test_malformed_xmlbif_names_the_line(old, new, line, message, tmp_path):
    assert_refused(tmp_path / "n.xmlbif", replaced(XML, old, new), line, message)


LAUGHS = "\n".join(f"<!ENTITY l{i} '{10 * f'&l{i - 1};'}'>" for i in range(1, 12))


@pytest.mark.parametrize(
    "declarations",
    [
        f"<!ENTITY l0 'lol'>\n{LAUGHS}",
        "<!ENTITY name SYSTEM 'file:///etc/passwd'>",
        "<!ENTITY % name SYSTEM 'http://localhost/x.dtd'> %name;",
    ],
)
def test_entities_are_refused_before_they_expand(declarations, tmp_path):
    start = time.process_time()
    text = replaced(XML, "?>\n", f"?><!DOCTYPE BIF [\n{declarations}]>\n")
    text = replaced(text, "<NAME>tub", "<NAME>&name;&l11;tub")
    assert_refused(tmp_path / "n.xmlbif", text, 2, "no entities beyond XML's own")
    assert time.process_time() - start < 5


def test_an_external_document_type_is_not_fetched(tmp_path):
    (tmp_path / "bif.dtd").write_text('<!ENTITY tub "tub">')
    path = tmp_path / "n.xmlbif"
    text = replaced(XML, "?>\n", '?><!DOCTYPE BIF SYSTEM "bif.dtd">\n')
    path.write_text(text)
    assert list(graphs.load(path)) == ["asia", "tub"]
    text = replaced(text, "<NAME>tub", "<NAME>&tub;")
    assert_refused(path, text, 11, "no entities beyond XML's own, got 'tub'")


@pytest.mark.parametrize("extension", [".bif", ".net", ".uai"])
def test_bytes_that_are_no_text_name_the_line(extension, tmp_path):
    content = "\n\n caf\xe9\0".encode("latin-1")
    assert_refused(tmp_path / f"n{extension}", content, 3, "text in utf-8, got the byte 0xe9")
    content = "\ufeff" + "net"
    path = tmp_path / f"m{extension}"
    assert_refused(path, content.encode("utf-16-le")[:-1], 1, "text in utf-16, got the byte")


PACKED = gzip.compress(BIF.encode())


@pytest.mark.parametrize("content", [b"", b"network x {", PACKED[:-30], PACKED[:4], b"\x1f\x8b"])
def test_a_compressed_file_that_is_none_is_refused(content, tmp_path):
    path = tmp_path / "n.bif.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"n\.bif\.gz(: expected gzip data|, line 1: expected)"):
        graphs.load(path)


def test_a_compressed_file_is_unpacked_no_further_than_the_limit(tmp_path, monkeypatch):
    path = tmp_path / "n.bif.gz"
    path.write_bytes(gzip.compress(b" " * 5_000_000 + BIF.encode()))
    assert len(graphs.load(path).nodes) == len(graphs.load(path, tables=False).nodes)
    monkeypatch.setattr("graphs.files.load_save._MOST_UNPACKED", 3_000_000)
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"n\.bif\.gz: expected at most 3000000 bytes .*unpack it"):
        graphs.load(path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 12_000_000
    with pytest.raises(ValueError, match=r"n\.bif\.gz: expected at most 3000000 bytes"):
        read_evidence(path)


def test_several_compressed_parts_are_one_file(tmp_path):
    (tmp_path / "n.bif.gz").write_bytes(PACKED + gzip.compress(b"// the end\n"))
    (tmp_path / "n.bif").write_text(BIF)
    assert_same(graphs.load(tmp_path / "n.bif"), graphs.load(tmp_path / "n.bif.gz"))


@pytest.mark.parametrize("comment", ["<!- note ->", "<!- a\nnote ->", "<!-- <!- note -->"])
def test_xml_comments_with_one_hyphen_are_passed_over(comment, tmp_path):
    path = tmp_path / "n.xmlbif"
    path.write_text(XML)
    expected = graphs.load(path)
    first = XML.index("<VARIABLE")
    path.write_text(XML[:first] + comment + XML[first:])
    assert_same(expected, graphs.load(path))
    broken = XML.replace("<TABLE>", "<TABLE>&bad;", 1)
    line = broken[: broken.index("&bad;")].count("\n") + comment.count("\n") + 1
    assert_refused(path, broken[:first] + comment + broken[first:], line, "undefined entity")


def test_markup_that_looks_like_a_comment_inside_character_data_stays(tmp_path):
    path = tmp_path / "n.xmlbif"
    path.write_text(XML.replace(">tub<", "><![CDATA[tub<!- x>]]><"))
    assert "tub<!- x>" in graphs.load(path).nodes


@pytest.mark.parametrize(
    ("extension", "text"),
    [(".bif", "network x { }"), (".net", "net { }"), (".dsc", "belief network x"),
     (".xmlbif", "<BIF><NETWORK/></BIF>"), (".xdsl", "<smile><nodes/></smile>")],
)  # fmt: skip
def test_a_file_without_variables_is_refused_at_its_first_line(extension, text, tmp_path):
    assert_refused(tmp_path / f"n{extension}", text, 1, "at least one variable, got none")
