"""The command line on data, on models too large for exact answers, and on time."""

import gzip
import io
import json
import re

import numpy as np
import pytest

import graphs
from graphs.__main__ import main

WEATHER = [
    ("R0", (), [0.5, 0.5]),
    ("Rt", "R0", [[0.7, 0.3], [0.3, 0.7]]),
    ("U0", "R0", [[0.8, 0.2], [0.1, 0.9]]),
    ("Ut", "Rt", [[0.8, 0.2], [0.1, 0.9]]),
]
NAMES = {v: ["dry", "rain"] for v in ("R0", "Rt")} | {v: ["no", "yes"] for v in ("U0", "Ut")}


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """The command line in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        status = main([str(a) for a in arguments])
        out, err = capsys.readouterr()
        return status, out, err

    return call


# --- Learning -----------------------------------------------------------------------------------


def test_tables_are_learned_printed_and_written(run, tmp_path):
    (tmp_path / "data.csv").write_text("rain, wet,day\nyes,yes,1\nno,no,2\nno,yes,3\nno,no,4\n")
    asked = ("P(rain)P(wet|rain)", "--learn", "data.csv")
    status, out, err = run(*asked, "--save", "lawn.bif")
    assert (status, err) == (0, "")
    # by hand: 3/4 log 3/4 ... of rain, and 2/3, 1/3 of wet without rain
    log_likelihood = 3 * np.log(3 / 4) + np.log(1 / 4) + 2 * np.log(2 / 3) + np.log(1 / 3)
    assert f"log-likelihood {log_likelihood:.6g} nats" in out
    assert "left out: day" in out
    assert re.search(rf"rain +yes +0\.25 +{np.sqrt(3 / 64):.5g} +1\n", out)
    assert (
        "P(wet | rain = no)\n  no   0.666667"
        in run("lawn.bif", "--marginals", "wet", "--evidence", "rain=no")[1]
    )
    report = json.loads(run(*asked, "--prior", "1", "--json")[1])
    cells = {(c["node"], c["given"], c["state"]): c["estimate"] for c in report["parameters"]}
    assert cells["wet", "rain=no", "yes"] == pytest.approx(2 / 5)
    assert (report["rows"], report["converged"]) == (4, True)


def test_missing_values_are_those_named(run, tmp_path):
    (tmp_path / "data.csv").write_text("A,B\n0,0\n0,1\n1,1\n1,1\n1,0\n1,?\n1,\n")
    asked = ("P(A)P(B|A)", "--learn", "data.csv", "--json")
    plain = json.loads(run(*asked)[1])
    assert (
        "B got the state '?': if it marks a missing value, say --missing=?"
        in (plain["explanation"])
    )
    report = json.loads(run(*asked, "--missing", "?")[1])
    assert "2 with missing values" in report["explanation"]
    cells = {(c["given"], c["state"]): c["estimate"] for c in report["parameters"]}
    assert cells["A=1", 1] == pytest.approx(2 / 3, abs=1e-4)  # EM ends at a gain of 1e-9


def test_a_latent_node_has_declared_states_and_the_tables_of_a_file_keep_theirs(run, tmp_path):
    (tmp_path / "data.csv").write_text("x,y\na,a\nb,b\na,a\nb,a\n")
    asked = ("P(H)P(x|H)P(y|H)", "--learn", "data.csv", "--latent", "H")
    status, _, err = run(*asked)
    assert (status, "expected states for 'H'" in err) == (2, True)
    report = json.loads(run(*asked, "--states", "H=0,1", "--restarts", 2, "--seed", 3, "--json")[1])
    assert {c["state"] for c in report["parameters"] if c["node"] == "H"} == {0, 1}
    assert "H is never observed" in report["explanation"]
    (tmp_path / "rain.csv").write_text("cloudy,sprinkler,rain,wet_grass\nyes,no,yes,yes\n")
    report = json.loads(run("sprinkler", "--learn", "rain.csv", "--json")[1])
    assert [c["state"] for c in report["parameters"][:2]] == ["yes", "no"]
    assert report["parameters"][2]["error"] is None or report["parameters"][2]["error"] >= 0
    json.dumps(report, allow_nan=False)


def test_a_search_that_did_not_converge_exits_one(run, tmp_path, monkeypatch):
    from graphs.learning import learn

    (tmp_path / "data.csv").write_text("A,B\n0,0\n0,1\n1,1\n1,1\n1,\n")
    monkeypatch.setitem(learn.learn.__kwdefaults__, "iterations", 1)
    status, out, _ = run("P(A)P(B|A)", "--learn", "data.csv")
    assert (status, "NOT converged" in out) == (1, True)


# --- Approximate answers ------------------------------------------------------------------------


def test_approximate_answers_say_how_they_ended(run):
    asked = ("sprinkler", "--marginals", "rain", "--evidence", "wet_grass=yes", "--approximate")
    status, out, _ = run(*asked)
    loopy = graphs.BeliefPropagation(graphs.textbook.sprinkler())
    assert status == 0
    rain = float(loopy.marginals({"wet_grass": "yes"})["rain"][0])
    assert f"yes  {rain:.6g}" in out
    assert re.search(r"Belief propagation converged after \d+ iterations, residual", out)
    report = json.loads(run(*asked, "mean-field", "--json")[1])["approximation"]
    exact = graphs.JunctionTree(graphs.textbook.sprinkler()).log_partition({"wet_grass": "yes"})
    assert report["lower_bound"]
    assert report["log_p_evidence"] < float(exact)
    # with the sprinkler set, what is left is a tree apart from clouds: exact
    done = ("sprinkler", "--do", "sprinkler=yes", "--marginals", "rain", "--json")
    answers = [json.loads(run(*done, *more)[1])["marginals"] for more in ((), ("--approximate",))]
    assert answers[0]["rain"]["yes"] == pytest.approx(answers[1]["rain"]["yes"])


def test_an_iteration_that_did_not_converge_exits_one(run, monkeypatch):
    monkeypatch.setitem(graphs.BeliefPropagation.__init__.__kwdefaults__, "iterations", 2)
    status, out, err = run("asia", "--marginals", "tub", "--approximate", "--evidence", "dysp=yes")
    assert (status, err) == (1, "")
    assert "Belief propagation did NOT converge after 2 iterations, residual" in out


# --- Time ---------------------------------------------------------------------------------------


@pytest.fixture
def weather(tmp_path):
    network = graphs.bayesian_network(WEATHER, states=NAMES)
    graphs.save(network, tmp_path / "weather.bif")
    (tmp_path / "seen.csv").write_text("t,U\n0,yes\n1,yes\n2,NA\n3,no\n")
    return graphs.DynamicTree(network), {"U": ["yes", "yes", None, "no"]}


def lines(text):
    return [line.split() for line in text.splitlines()]


def test_filtering_smoothing_and_the_most_probable_path(run, weather):
    tree, evidence = weather
    head, *rows = lines(run("weather.bif", "--filter", "seen.csv", "--marginals", "R")[1])
    assert head == ["t", "R=dry", "R=rain"]
    for row, beliefs in zip(rows, tree.filter(evidence), strict=True):
        assert [float(p) for p in row[1:]] == pytest.approx(beliefs["R"].tolist(), abs=1e-6)
    report = json.loads(run("weather.bif", "--smooth", "seen.csv", "--steps", 6, "--json")[1])
    smoothed = tree.marginals(evidence, steps=6)
    found = [[s["R"]["dry"], s["R"]["rain"]] for s in report["smooth"]]
    assert np.allclose(found, smoothed["R"].numpy(), atol=1e-9)
    assert report["smooth"][3]["U"] == {"no": 1.0, "yes": 0.0}
    assert report["log_probability"] == pytest.approx(float(tree.log_partition(evidence)))
    _, *rows = lines(run("weather.bif", "--path", "seen.csv")[1])
    path = tree.map(evidence)
    assert [row[1] for row in rows[:-1]] == path["R"]
    assert [row[2] for row in rows[:-1]] == path["U"]


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("sign", [",", "\t"])
def test_files_of_rows_slices_and_queries_are_opened_alike(
    run, weather, tmp_path, packed, encoding, sign
):
    def write(name, lines):
        data = "\n".join(lines).encode(encoding)
        path = tmp_path / (name + ".gz" * packed)
        path.write_bytes(gzip.compress(data) if packed else data)
        return path

    ending = "tsv" if sign == "\t" else "csv"
    rows = [sign.join(row) for row in (["U", "R"], ["yes", "dry"], ["no", ""], ["yes", "rain"])]
    (tmp_path / "plain.csv").write_text("U,R\nyes,dry\nno,\nyes,rain\n")
    path = write(f"rows.{ending}", rows)
    for asked in (("P(R)P(U|R)", "--learn"), ("weather.bif", "--two-slice", "--smooth")):
        status, *told = run(*asked, "plain.csv")
        assert run(*asked, path) == (status, *told)
        assert status == 0
    queries = write("asked.txt", ["# two of them", "U_0 _||_ U_2 | R_1", "U_0 _||_ U_2"])
    answers = json.loads(run("weather.bif", "--steps", 3, "--queries", queries, "--json")[1])[
        "answers"
    ]
    assert [answer["holds"] for answer in answers] == [True, False]


@pytest.mark.parametrize(
    "asked",
    [
        ("P(R)P(U|R)", "--learn"),
        ("weather.bif", "--two-slice", "--path"),
        ("P(R)P(U|R)", "--queries"),
    ],
)
@pytest.mark.parametrize("broken", ["cut", "no gzip", "latin", "cut wide"])
def test_broken_files_are_refused_by_name(run, weather, tmp_path, asked, broken):
    text = "U,R\nyes,dry\n" + "no,rain\n" * 5000
    packed = gzip.compress(text.encode())
    data = {
        "cut": packed[: len(packed) // 2],
        "no gzip": text.encode(),
        "latin": gzip.compress("U,R\né,dry\n".encode("latin-1")),
        "cut wide": gzip.compress(text.encode("utf-16")[:-1]),
    }[broken]
    (tmp_path / "data.csv.gz").write_bytes(data)
    status, _, err = run(*asked, "data.csv.gz")
    assert status == 2
    wanted = "UTF-8 or UTF-16" if broken in ("latin", "cut wide") else "gzip data"
    assert "data.csv.gz: expected " in err
    assert wanted in err


def test_evidence_comes_from_standard_input(run, weather, monkeypatch):
    tree, _ = weather
    monkeypatch.setattr("sys.stdin", io.StringIO("U\nyes\n"))
    _, out, _ = run("weather.bif", "--smooth", "-", "--marginals", "R")
    p = tree.marginals({"U": ["yes"]})["R"][0, 0]
    assert f"{float(p):.6f}" in out


def test_a_variable_without_time_is_told_once(run, tmp_path):
    network = graphs.bayesian_network([
        ("S", (), [0.4, 0.6]),
        ("X0", "S", [[0.9, 0.1], [0.2, 0.8]]),
        ("Xt", ("X0", "S"), [[[0.9, 0.1], [0.5, 0.5]], [[0.4, 0.6], [0.2, 0.8]]]),
    ])  # fmt: skip
    graphs.save(network, tmp_path / "static.bif")
    tree = graphs.DynamicTree(network)
    (tmp_path / "seen.csv").write_text("S,X\n1,\n1,0\n,\n")
    for what in ("--filter", "--smooth"):
        *_, last = json.loads(run("static.bif", what, "seen.csv", "--json")[1])[what[2:]]
        p = tree.marginals([{"S": 1}, {"X": 0}, {}])["X"][2]
        assert list(last["X"].values()) == pytest.approx(p.tolist(), abs=1e-9)
        assert last["S"] == {"0": 0.0, "1": 1.0}
    (tmp_path / "seen.csv").write_text("S,X\n1,\n0,0\n")
    status, _, err = run("static.bif", "--smooth", "seen.csv")
    assert (status, "has no time" in err) == (2, True)


def test_claims_about_every_slice_and_questions_about_some(run, weather):
    assert run("weather.bif", "--two-slice", "R[t] _||_ R[t-2] | R[t-1]")[0] == 0
    status, out, _ = run("weather.bif", "--two-slice", "U[t] _||_ U[t-2] | U[t-1]")
    assert (status, "does not hold" in out) == (1, True)
    assert "A slice hands on: R\n" in run("weather.bif", "--two-slice")[1]
    asked = ("weather.bif", "--steps", 3)
    assert run(*asked, "R_0 _||_ R_2 | R_1")[0] == 0
    _, out, _ = run(*asked, "--marginals", "R_2", "--evidence", "U_0=yes, U_1=yes")
    p = list(weather[0].filter({"U": ["yes", "yes"]}, steps=3))[-1]["R"]
    assert f"dry   {float(p[0]):.6g}" in out


def test_pictures_of_slices(run, weather, tmp_path):
    for more in ([], ["R[t] _||_ R[t-2]"], ["--smooth", "seen.csv"]):
        status, _, err = run("weather.bif", "--two-slice", *more, "--draw", "slices.png")
        assert (status in (0, 1), err) == (True, "")
        assert (tmp_path / "slices.png").stat().st_size > 5_000
        (tmp_path / "slices.png").unlink()


# --- Bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["asia", "--learn", "none.csv"], "No such file"),
        (["asia", "--learn", "empty.csv"], "empty.csv: expected rows under a line of names"),
        (["asia", "--learn", "seen.csv"], "expected a column for 'asia'"),
        (["P(U)", "--learn", "twice.csv"], "expected one column per name, got 'U' twice"),
        (["P(U)", "--learn", "seen.csv", "--save", "x.nope"], "expected a file name that ends in"),
        (["P(U)", "--learn", "seen.csv", "--save", "no/x.bif"], "expected an existing folder"),
        (["1/Z φ(U)", "--learn", "seen.csv", "--save", "x.bif"], "a .uai file holds it"),
        (["P(U)", "--learn", "seen.csv", "U _||_ V"], "expected --learn without a QUERY"),
        (["P(U)", "--learn", "seen.csv", "--marginals", "U"], "--learn without --marginals"),
        (["P(U)", "--learn", "seen.csv", "--prior", "-1"], "expected prior to be a finite number"),
        (["P(U)", "--learn", "seen.csv", "--restarts", "0"], "expected restarts >= 1"),
        (["P(U)", "--learn", "seen.csv", "--states", "U"], "expected --states NODE=a,b,c"),
        (["P(U)", "--learn", "seen.csv", "--states", "K=a"], "nodes of the graph for --states"),
        (["P(U)", "--learn", "seen.csv", "--states", "U=a,b"], "got 'yes'"),
        (["P(U)", "--save", "x.bif"], "expected --save with --learn, got it alone"),
        (["P(U)", "--missing", "?"], "expected --missing with --learn or a file of evidence"),
        (["asia", "--approximate"], "expected --approximate with --marginals or --evidence"),
        (["asia", "--approximate", "loopy", "--marginals", "tub"], "invalid choice: 'loopy'"),
        (["P(A)", "--approximate", "--marginals", "A"], "which hold tables"),
        (["asia", "--marginals", "tu", "--approximate"], "did you mean 'tub'"),
        (["asia", "--two-slice"], "expected nodes of slices"),
        (["weather.bif", "--smooth", "none.csv"], "No such file"),
        (["weather.bif", "--smooth", "empty.csv"], "expected a column of R, U, got none"),
        (["weather.bif", "--smooth", "twice.csv"], "expected one column per name, got 'U' twice"),
        (["weather.bif", "--filter", "other.csv"], "expected columns of variables, got 'V'"),
        (["weather.bif", "--filter", "state.csv"], r"slice 1: .*got 'maybe'"),
        (["weather.bif", "--path", "ragged.csv"], "expected 1 cells in row 1, got 2"),
        (["weather.bif", "--smooth", "seen.csv", "--steps", "2"], "expected at most 2 slices"),
        (["weather.bif", "--smooth", "seen.csv", "--marginals", "Q"], "variables of a slice"),
        (["weather.bif", "--smooth", "seen.csv", "--evidence", "U=no"], "without --evidence"),
        (["weather.bif", "--two-slice", "--steps", "3"], "expected --steps of a --two-slice model"),
        (["weather.bif", "--steps", "0"], "expected a number of slices of at least one"),
        (["P(R_0)P(R_t|R_0)", "--filter", "seen.csv"], "a two-slice network with tables"),
    ],
)
def test_refused(run, weather, tmp_path, arguments, message):
    for name, text in {
        "empty": "", "twice": "U,U\nyes,no\n", "other": "U,V\nyes,no\n",
        "state": "U\nyes\nmaybe\n", "ragged": "U\nyes,no\n",
    }.items():  # fmt: skip
        (tmp_path / f"{name}.csv").write_text(text)
    before = sorted(tmp_path.iterdir())
    status, out, err = run(*arguments)
    assert status == 2, out
    assert re.search(message, err)
    assert sorted(tmp_path.iterdir()) == before
