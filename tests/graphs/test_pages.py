"""The ways in to a page: Python, the command line, one file, a notebook, a picture."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import types
import urllib.request
import xml.etree.ElementTree as ET
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import networkx as nx
import pytest

import graphs
from graphs.__main__ import main
from graphs.interactive import widget

NASTY = '<img src=x onerror=alert(1)>"&]]></script>'


def test_what_was_done_on_a_page_comes_back():
    asia = graphs.textbook.asia()
    page = graphs.page(asia, query="tub _||_ lung", evidence={"smoke": "yes"})
    assert page.model is asia
    assert page.answer.given == {"smoke"}
    assert page.evidence == {"smoke": "yes"}
    page.handle({"type": "edit", "action": "rename_node", "node": "tub", "name": "tbc"})
    tree = graphs.JunctionTree(page.model)
    assert tree.marginals()["tbc"].tolist() == pytest.approx([0.0104, 0.9896])
    page.handle({"type": "edit", "action": "remove_edge", "tail": "asia", "head": "tbc"})
    assert type(page.model) is nx.DiGraph
    assert graphs.query(page.model, "asia _||_ xray")
    letters = graphs.textbook.letters()
    assert graphs.page(letters).model is letters
    assert graphs.page("A -> B, B -> C").model.edges == {("A", "B"), ("B", "C")}


def test_a_page_is_served_in_the_background(capsys, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    page = graphs.page("diagnosis", query="M _||_ F")
    with contextlib.closing(page.serve(block=False)) as server:
        door = Path(url2pathname(urlsplit(opened[0]).path))
        assert opened[0].startswith("file:")
        assert server.token not in opened[0]  # others see how a browser is started
        assert (door.stat().st_mode & 0o777, door.parent.stat().st_mode & 0o777) == (0o600, 0o700)
        assert f"0; url={server.url}" in door.read_text()
        assert capsys.readouterr().out == f"{server.url}\n"
        event = urllib.request.Request(
            server.url.split("#")[0] + "event",
            b'{"type": "observe", "node": "D"}',
            {"Content-Type": "application/json", "X-Graphs-Token": server.token},
        )
        assert json.load(urllib.request.urlopen(event))["ok"]
    assert page.answer.given == {"D"}
    assert not page.answer
    assert not door.parent.exists()


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (3, {}, "expected a networkx graph"),
        ("diagnosis", {"query": "M _||_ Q"}, "Q"),
        ("diagnosis", {"evidence": {"M": "yes"}}, "no table"),
        ("asia", {"evidence": "smoke=maybe"}, "maybe"),
        ("asia", {"evidence": 3}, "expected evidence"),
        ("asia", {"query": "tub _||_ lung | dysp", "evidence": "smoke=yes"}, "observes too"),
        ("diagnosis", {"claim": "P(M"}, "expected"),
        ("diagnosis", {"args": (1,)}, "Pyro program"),
        ("A -> B -> A", {}, "cycle"),
    ],
)
def test_a_page_that_cannot_be_is_refused(model, options, message):
    with pytest.raises(ValueError, match=message):
        graphs.page(model, **options)


def test_a_saved_page_is_one_file_that_loads_nothing(tmp_path):
    page = graphs.page(nx.DiGraph([("A", NASTY), ("B", NASTY)]), query="A _||_ B")
    page.handle({"type": "observe", "node": NASTY})
    page.save(tmp_path / "study.html")
    text = (tmp_path / "study.html").read_text()
    assert not re.search(r'(?:src|href)="(?!data:)', text)
    assert "<img" not in text
    data = text.split('<script id="replies" type="application/json">')[1].split("</script>")[0]
    replies = json.loads(data)
    assert [reply["answer"]["holds"] for reply in replies] == [True, False]
    assert "default-src 'none'" in text
    assert list(tmp_path.iterdir()) == [tmp_path / "study.html"]
    assert page.evidence == {NASTY: None}
    for bad in ("study.txt", "nowhere/study.html"):
        with pytest.raises(ValueError, match="expected"):
            page.save(tmp_path / bad)


def test_the_picture_is_well_formed_and_escaped():
    page = graphs.page(nx.DiGraph([("A", NASTY), ("B\x00", NASTY)]), query=None)
    root = ET.fromstring(page.svg())
    texts = "".join(root.itertext())
    assert "onerror" in texts
    assert not [e for e in root.iter() if e.tag.endswith(("img", "script"))]


def test_the_picture_shows_bars_and_the_path():
    picture = graphs.page("asia", query="tub _||_ smoke | dysp").svg()
    root = ET.fromstring(picture)
    assert picture.count("%</text>") == 16
    assert "#D55E00" in picture
    assert "active path" in "".join(root.itertext())


@pytest.mark.parametrize(
    ("make", "first", "drawn"),
    [
        (lambda: graphs.query(graphs.textbook.diagnosis(), "M _||_ F"), "M ⟂ F holds", True),
        (lambda: graphs.textbook.campus(), "Bayesian network of 7 nodes", True),
        (lambda: graphs.textbook.letters(), "Markov network of 7 nodes", True),
        (lambda: graphs.check(graphs.textbook.campus(), "A _||_ B | T"), "False: A ⟂ B | T", True),
        (lambda: graphs.check(graphs.textbook.campus(), "1/Z phi(C,O,A,S,T,B,M)"), "True", False),
        (lambda: graphs.equivalent(nx.DiGraph([(0, 1)]), nx.DiGraph([(1, 0)])), "The first", False),
        (lambda: nx.DiGraph([("A", "B")]), "Bayesian network of 2 nodes", True),
    ],
)
def test_anything_is_shown(make, first, drawn):
    shown = graphs.show(make())
    assert str(shown).startswith(first)
    assert (shown.svg is not None) == drawn
    if drawn:
        ET.fromstring(shown.svg)
    assert "<pre>" in shown._repr_html_()


def test_a_notebook_without_the_widget_gets_the_picture(monkeypatch):
    monkeypatch.setattr("graphs.interactive.widget.find_spec", lambda name: None)
    bundle = graphs.page("diagnosis", query="M _||_ F | D")._repr_mimebundle_()
    assert "M → I → D ← T ← F" in bundle["text/html"]
    assert bundle["text/html"].count("<svg") == 1
    assert "Page of 6 nodes" in bundle["text/plain"]


def test_a_notebook_with_the_widget_gets_both(monkeypatch):
    sent = []

    class AnyWidget:
        def on_msg(self, answer):
            self.answer = answer

        def send(self, message):
            sent.append(message)

        def _repr_mimebundle_(self):
            return {"application/vnd.jupyter.widget-view+json": self._esm[:10]}, {}

    monkeypatch.setitem(sys.modules, "anywidget", types.SimpleNamespace(AnyWidget=AnyWidget))
    monkeypatch.setattr("graphs.interactive.widget.find_spec", lambda name: name)
    widget._class.cache_clear()
    page = graphs.page("asia", query="tub _||_ lung | dysp")
    bundle, _ = page._repr_mimebundle_()
    assert set(bundle) == {
        "application/vnd.jupyter.widget-view+json",
        "text/html",
        "text/plain",
    }
    page._widget.answer(None, {"id": 7, "event": {"type": "observe", "node": "dysp"}}, [])
    page._widget.answer(None, "junk", [])
    assert sent[0]["id"] == 7
    assert page.evidence == sent[0]["reply"]["observed"] == {"dysp": "yes"}
    assert not sent[1]["reply"]["ok"]
    widget._class.cache_clear()


# --- The command line ---------------------------------------------------------------------------


@pytest.fixture
def run(capsys):
    def call(*arguments):
        status = main([str(a) for a in arguments])
        return status, *capsys.readouterr()

    return call


def test_posteriors_have_the_names_of_states(run):
    status, out, err = run("asia", "--marginals", "dysp", "--evidence", "smoke=yes")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "P(dysp | smoke = yes)"
    expected = graphs.marginal(graphs.textbook.asia(), "dysp", {"smoke": "yes"}).tolist()
    assert [float(line.split()[1]) for line in lines[1:3]] == pytest.approx(expected, abs=1e-6)
    assert lines[3] == "P(smoke = yes) = 0.5"


def test_posteriors_as_json_are_exact(run, reference_data):
    path = reference_data / "bif" / "alarm.bif.gz"
    arguments = ["--evidence", "HRBP=HIGH", "--evidence", "CVP=LOW,BP=NORMAL", "--json"]
    report = json.loads(run(path, "--marginals", "all", *arguments)[1])
    evidence = {"HRBP": "HIGH", "CVP": "LOW", "BP": "NORMAL"}
    assert report["evidence"] == evidence
    tree = graphs.JunctionTree(graphs.load(path))
    for node, expected in tree.marginals(evidence).items():
        states = dict(zip(tree.states[node], expected.tolist(), strict=True))
        assert report["marginals"][node] == pytest.approx(states, abs=1e-9)
    assert report["probability"] == pytest.approx(tree.log_partition(evidence).exp().item())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["asia", "--marginals", "dys"], "did you mean 'dysp'"),
        (["asia", "--marginals", "dysp", "--evidence", "smoke"], "expected '='"),
        (["asia", "--marginals", "dysp", "--evidence", "smoke=si"], "got 'si'"),
        (["asia", "--marginals", "dysp", "--evidence", "tub=yes,either=no"], "impossible"),
        (["asia", "--evidence", "smoke=yes", "--evidence", "smoke=no"], "one state of 'smoke'"),
        (["diagnosis", "--marginals", "M"], "hold tables"),
        (["asia", "--page", "--port", "70000"], "a port"),
        (["asia", "tub _||_ lung", "tub _||_ xray", "--page"], "at most one query"),
    ],
)
def test_posteriors_that_cannot_be_had_exit_with_two(run, arguments, message):
    status, _, err = run(*arguments)
    assert status == 2
    assert message in err


def test_the_command_prints_its_address_and_stops_when_interrupted():
    process = subprocess.Popen(
        [sys.executable, "-m", "graphs", "diagnosis", "M _||_ F | D", "--page"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        # a shell's background jobs ignore Ctrl-C, and so would what they start
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    lines = [process.stdout.readline() for _ in range(6)]
    assert lines[0].startswith("M ⟂ F | D does not hold")
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/#[\w-]{32}\n", lines[5])
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
