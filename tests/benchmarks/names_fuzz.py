"""Random names over random small networks: every way to write and read them, against brute force.

    python tests/benchmarks/names_fuzz.py --tries 100000 --seed 0

Names are of all categories of Unicode, in several normal forms, with combining marks, joiners,
quotes, backslashes and signs. Each DAG of three to five such nodes comes with one statement about
it; whether that holds is told by listing all paths. A try asks one question in one way, and every
way must give the same answer or the same factorization; a file may refuse a name but not change it.
Prints tries, refusals and disagreements for every way.
"""

from __future__ import annotations

import argparse
import io
import itertools
import logging
import random
import sys
import tempfile
import time
import unicodedata
from collections import Counter
from pathlib import Path

import networkx as nx
import numpy as np
from matplotlib.mathtext import MathTextParser

import graphs
from graphs.language.notation import latex_name, text_name
from graphs.structure.factorization import Factor

FORMATS = (".bif", ".xmlbif", ".net", ".uai")
SIGNS = [" ⟂ ", " _||_ ", r" \perp ", " ⊥⊥ ", " is independent of "]
BARS = [" | ", r" \mid ", " given "]
WORDS = [
    "given", "not", "and", "by", "is", "of", "P", "Z", "p", "phi", "exp", "e", "f", "prod", "sum",
    "x_1", "x_{1}", "x_t-1", "x_i", "1", "1.0", "1/Z", "A_||_B", "A|B", "A,B", "(A)", "{A}", "A->B",
    "perp", r"\perp", r"\theta", "theta", "θ", "¬A", "~A", "!A", "A!", "A*", "A'", "''", '""', "∅",
    "nan", "None", "True", "node", "var_0", "#", "//", "/*", "%", "<b>", "&amp;", "a b", "a  b",
]  # fmt: skip
PLAIN = "abcXYZ019_-.' "
MARKS = "\u0301\u0308\u0327\u093c\u0e31\u20dd\u200d\u200c\ufe0f\u0338"
ASCII = "".join(map(chr, range(32, 127)))


def categories() -> dict[str, list[str]]:
    """The characters of each category, surrogates and the unassigned left out."""
    found: dict[str, list[str]] = {}
    for code in range(sys.maxunicode + 1):
        kind = unicodedata.category(chr(code))
        if kind not in ("Cs", "Cn", "Co") and code:
            found.setdefault(kind, []).append(chr(code))
    return found


class Names:
    """Random names."""

    def __init__(self, rng: random.Random):
        self.rng, self.kinds = rng, categories()

    def name(self) -> str:
        rng = self.rng
        kind = rng.random()
        if kind < 0.1:
            return rng.choice(WORDS)
        length = rng.randint(1, 7)
        if kind < 0.3:
            return "".join(rng.choices(PLAIN, k=length))
        if kind < 0.5:
            return "".join(rng.choices(ASCII, k=length))
        if kind < 0.6:
            return "".join(rng.choices(PLAIN + MARKS + 'éΩÅ"\\', k=length))
        pool = [rng.choice(self.kinds[rng.choice(list(self.kinds))]) for _ in range(length)]
        return "".join(rng.choice([c, c, "a", rng.choice(MARKS)]) for c in pool)

    def distinct(self, count: int) -> list[str]:
        """Some of them differ from another in a mark, a blank or a normal form alone."""
        found: dict[str, None] = {}
        while len(found) < count:
            name = self.name()
            if found and self.rng.random() < 0.3:
                name = self.varied(self.rng.choice(list(found)))
            found[name] = None
        return list(found)

    def varied(self, name: str) -> str:
        rng = self.rng
        changed = rng.choice(
            [
                lambda: unicodedata.normalize(rng.choice(["NFC", "NFD", "NFKC", "NFKD"]), name),
                lambda: name + rng.choice([" ", "*", "'", "_", "\u0301", "\u200d", "\u00a0", "1"]),
                lambda: rng.choice([" ", "_", '"', "~"]) + name,
                lambda: name.swapcase(),
                lambda: f'"{name}"',
                lambda: name.replace("_", ""),
            ]
        )()
        return changed or "a"


def random_dag(rng: random.Random, names: list[str]) -> nx.DiGraph:
    dag = nx.DiGraph()
    dag.add_nodes_from(rng.sample(names, len(names)))
    pairs = itertools.combinations(names, 2)
    dag.add_edges_from(pair for pair in pairs if rng.random() < 0.45)
    return dag


def separated(dag: nx.DiGraph, x: str, y: str, given: set[str]) -> bool:
    """By the definition, on every path of the skeleton."""
    opened = set(given).union(*(nx.ancestors(dag, v) for v in given)) if given else set()
    for path in nx.all_simple_paths(dag.to_undirected(as_view=True), x, y):
        for a, b, c in zip(path, path[1:], path[2:], strict=False):
            collider = dag.has_edge(a, b) and dag.has_edge(c, b)
            if (b not in opened) if collider else (b in given):
                break
        else:
            return False
    return True


def quoted(name: str) -> str:
    """In double quotes, characters by number at random: not the package's own writer."""
    escape = {'"': '\\"', "\\": "\\\\"}
    return (
        '"' + "".join(escape.get(c, c if c.isalnum() else f"\\u{{{ord(c):x}}}") for c in name) + '"'
    )


class Study:
    """Counts of what was tried, refused and wrong, by the way of writing."""

    def __init__(self, seed: int):
        self.rng = random.Random(seed)
        self.names = Names(self.rng)
        self.numbers = np.random.default_rng(seed)
        self.tried: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.wrong: Counter[str] = Counter()
        self.mathtext = MathTextParser("path")
        self.folder = Path(tempfile.mkdtemp())

    def expect(self, way: str, asked, *, refusals: bool = False, about=None) -> None:
        """Count whether a question is answered by True."""
        self.tried[way] += 1
        try:
            right = asked()
        except ValueError as error:
            if refusals:
                self.refused[way] += 1
                return
            right, about = False, (about, str(error))
        except Exception as error:  # whatever else is raised is a defect
            right, about = False, (about, repr(error))
        if not right:
            self.wrong[way] += 1
            if self.wrong[way] <= 10:
                print(f"{way}: {about!a}", flush=True)

    def one(self, number: int) -> None:
        names = self.names.distinct(self.rng.randint(3, 5))
        dag = random_dag(self.rng, names)
        x, y, *rest = self.rng.sample(names, len(names))
        given = set(rest[: self.rng.randint(0, len(rest))])
        self.statements(dag, x, y, given)
        self.products(dag)
        if number % 5 == 0:
            self.pictures(names)
        if number % 50 == 0:
            self.files(dag)

    def statements(self, dag: nx.DiGraph, x: str, y: str, given: set[str]) -> None:
        truth = separated(dag, x, y, given)
        answer = graphs.independent(dag, x, y, given)
        self.expect("independent", lambda: answer.holds == truth, about=(x, y, given))
        for way, write in (("text", text_name), ("LaTeX", latex_name), ("quoted", quoted)):
            text = write(x) + self.rng.choice(SIGNS) + write(y)
            text += self.rng.choice(BARS) + ", ".join(map(write, given)) if given else ""
            self.expect(f"query, {way}", lambda t=text: graphs.query(dag, t) == answer, about=text)
        self.expect(
            "query, str", lambda: graphs.query(dag, str(answer)) == answer, about=str(answer)
        )
        denied = f"not {answer}"
        self.expect(
            "check, str", lambda: bool(graphs.check(dag, str(answer))) == truth, about=denied
        )
        self.expect("check, not", lambda: bool(graphs.check(dag, denied)) != truth, about=denied)
        self.expect("explain", lambda: bool(answer.explain()), about=denied)

    def products(self, dag: nx.DiGraph) -> None:
        model = graphs.factorization(dag)
        written, latex = str(model), model.latex()
        self.expect("parse, str", lambda: graphs.parse(written) == model, about=written)
        self.expect("parse, LaTeX", lambda: graphs.parse(latex) == model, about=latex)
        scopes = tuple(Factor("φ", (v, *dag.pred[v])) for v in dag)
        field = graphs.Factorization(scopes, False, tuple(dag))
        self.expect("parse, potentials", lambda: graphs.parse(str(field)) == field, about=written)
        self.expect(
            "check, product", lambda: graphs.check(dag, written).conditionals, about=written
        )

    def pictures(self, names: list[str]) -> None:
        for name in names:
            latex = latex_name(name)
            self.expect("mathtext", lambda t=latex: self.mathtext.parse(f"${t}$"), about=name)

    def files(self, dag: nx.DiGraph) -> None:
        states = {v: tuple(self.names.distinct(self.rng.randint(2, 3))) for v in dag}
        tables = []
        for v in dag:
            parents = tuple(dag.pred[v])
            shape = [len(states[p]) for p in parents] + [len(states[v])]
            table = self.numbers.random(shape) + 0.1
            tables.append((v, parents, table / table.sum(-1, keepdims=True)))
        target, *others = self.rng.sample(list(dag), len(dag))
        seen = {v: self.rng.randrange(len(states[v])) for v in others[:2]}
        truth = posterior(tables, states, target, seen)
        evidence = {v: states[v][k] for v, k in seen.items()}
        try:
            model = graphs.bayesian_network(tables, states=states)
        except ValueError:
            self.refused["network"] += 1
            return
        self.expect("network", lambda: near(model, target, evidence, truth), about=states)
        for extension in FORMATS:
            self.expect(
                extension,
                lambda e=extension: self.through(e, model, dag, target, evidence, truth, seen),
                refusals=True,
                about=(list(dag), states),
            )
        self.expect("GML", lambda: self.gml(dag), about=list(dag.edges))

    def through(self, extension, model, dag, target, evidence, truth, seen) -> bool:
        path = self.folder / f"model{extension}"
        graphs.save(model, path)
        again = graphs.load(path)
        if extension == ".uai":
            number = {v: f"var_{i}" for i, v in enumerate(dag)}
            plain = {number[v]: k for v, k in seen.items()}
            return near(again, number[target], plain, truth)
        return set(again.edges) == set(dag.edges) and near(again, target, evidence, truth)

    def gml(self, dag: nx.DiGraph) -> bool:
        text = io.BytesIO()
        nx.write_gml(dag, text)
        again = graphs.read_graph(text.getvalue().decode("ascii"))
        return list(again.edges) == list(dag.edges) and set(again) == set(dag)


def near(model, target, evidence, truth) -> bool:
    found = np.asarray(graphs.marginal(model, target, evidence))
    return np.allclose(found, truth, atol=1e-9)


def posterior(tables, states, target, seen):
    """P(target | seen) by summing the joint distribution over every assignment."""
    nodes = list(states)
    total = np.zeros(len(states[target]))
    for values in itertools.product(*(range(len(states[v])) for v in nodes)):
        at = dict(zip(nodes, values, strict=True))
        if all(at[v] == k for v, k in seen.items()):
            weight = 1.0
            for v, parents, table in tables:
                weight *= table[(*(at[p] for p in parents), at[v])]
            total[at[target]] += weight
    return total / total.sum()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tries", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    logging.getLogger("matplotlib.mathtext").setLevel(logging.ERROR)
    started, study = time.perf_counter(), Study(options.seed)
    networks = 0
    while study.tried.total() < options.tries:
        study.one(networks)
        networks += 1
    print(f"{'way':20} {'tried':>9} {'refused':>9} {'wrong':>9}")
    for way, count in study.tried.items():
        print(f"{way:20} {count:9,} {study.refused[way]:9,} {study.wrong[way]:9,}")
    seconds = time.perf_counter() - started
    print(f"{study.tried.total():,} tries, {networks:,} networks, {seconds:.0f} s")


if __name__ == "__main__":
    main()
