"""First answers in fresh processes, beside pyAgrum and pgmpy.

    OMP_NUM_THREADS=1 python tests/benchmarks/first_answers.py [--runs 3]

One row a question, milliseconds from the model to the answer, the best of several processes. The
libraries that make the model (networkx; torch and pgmpy for tables; pyAgrum) are imported before,
everything that answers is imported within. ``empty`` starts with an empty folder of compiled code,
``full`` with what an earlier process left there; ``whole`` is the wall time of that whole process,
in seconds. Of pgmpy marginals are its VariableElimination's, node by node.

Answers are compared: verdicts, and sums of squared marginals, ours to 1e-12 and with the peers to
1e-6. pyAgrum's reader of BIF keeps single precision; pgmpy leaves out the tables of barren nodes,
whose printed rows miss the sum one by 1e-7 in alarm.
"""

from __future__ import annotations

import argparse
import gzip
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

PEERS = ("pyagrum", "pgmpy")
DATA = Path(__file__).resolve().parents[1] / "data" / "bif"

TREE = "edges = [((i - 1) // 2, i) for i in range(1, 1000)]"
DAG = """import random
chosen = random.Random(0)
edges = sorted({(chosen.randrange(i), i) for i in range(1, SIZE) for _ in range(3)})"""
QUERIES = """import random
chosen = random.Random(1)
queries = [chosen.sample(range(SIZE), 5) for _ in range(COUNT)]
xs, ys, givens = zip(*((x, y, z) for x, y, *z in queries))"""
NETWORKX = "import networkx\ngraph = networkx.DiGraph(edges)"
AGRUM = """import pyagrum
graph = pyagrum.DAG()
for v in range(SIZE):
    graph.addNodeWithId(v)
for u, v in edges:
    graph.addArc(u, v)"""
PGMPY = "from pgmpy.base import DAG\ngraph = DAG(edges)"
LOADED = 'import torch, graphs\nmodel = graphs.load("PATH")'
ROWS = """torch.manual_seed(0)
drawn = {v: torch.randint(2, (COUNT,)).numpy() for v in ("HISTORY", "BP", "LVFAILURE")}"""


class Question(NamedTuple):
    """What is asked, as programs of two parts: what is given, and what is timed."""

    title: str
    ours: tuple[str, str]
    pyagrum: tuple[str, str] | None = None
    pgmpy: tuple[str, str] | None = None


def separation(title: str, edges: str, size: int, count: int) -> Question:
    """So many queries about a graph."""
    given = "\n".join((edges, QUERIES, "import networkx")).replace("COUNT", str(count))
    one = "[index.independent(*query) for query in zip(xs, ys, givens)]"
    many = "index.independent_many(xs, ys, givens).tolist()"
    ask = f"import graphs\nindex = graphs.Separation(graph)\nanswer = {one if count < 9 else many}"
    agrum = "answer = [graph.dSeparation(x, y, set(z)) for x, y, z in zip(xs, ys, givens)]"
    pgmpy = "answer = [not graph.is_dconnected(*query) for query in zip(xs, ys, givens)]"
    parts = [(f"{given}\n{NETWORKX}", ask)]
    if size * count <= 1_000_000 and size < 10_000:  # more takes the peers minutes
        parts += [(f"{given}\n{AGRUM}", agrum), (f"{given}\n{PGMPY}", pgmpy)]
    named = ((a.replace("SIZE", str(size)), b) for a, b in parts)
    return Question(title, *named)


def marginals(name: str, folder: Path) -> Question:
    """All marginals of a network without evidence."""
    path = folder / f"{name}.bif"
    path.write_bytes(gzip.decompress((DATA / f"{name}.bif.gz").read_bytes()))
    given = LOADED.replace("PATH", str(path))
    agrum = "engine = pyagrum.LazyPropagation(model)\nengine.makeInference()\n"
    agrum += "table = {v: engine.posterior(v).toarray() for v in model.names()}\n"
    elimination = "from pgmpy.inference import VariableElimination\n"
    elimination += "engine = VariableElimination(model)\ntable = {v: engine.query([v], "
    elimination += "show_progress=False).values for v in model.nodes}\n"
    total = "answer = float(sum((p ** 2).sum() for p in table.values()))"
    return Question(
        f"all marginals, `{name}`",
        (given, f"table = graphs.JunctionTree(model).marginals()\n{total}"),
        (f'import pyagrum\nmodel = pyagrum.loadBN("{path}")', agrum + total),
        (given, elimination + total),
    )


def evidence_rows(count: int, folder: Path) -> Question:
    """Marginals of alarm for so many rows of evidence."""
    path = folder / "alarm.bif"
    given = f"{LOADED}\n{ROWS}".replace("PATH", str(path)).replace("COUNT", str(count))
    ask = "table = graphs.JunctionTree(model).marginals(drawn)\n"
    total = 'answer = float(table["CVP"].sum())'
    return Question(f"marginals, `alarm`, {count:,} rows", (given, ask + total))


def questions(folder: Path) -> list[Question]:
    """All of them."""
    return [
        *(marginals(name, folder) for name in ("asia", "alarm", "win95pts")),
        separation("one separation, tree of 1,000 nodes", TREE, 1000, 1),
        separation("1,000 separations, random DAG of 1,000", DAG, 1000, 1000),
        separation("20,000 separations, random DAG of 1,000", DAG, 1000, 20_000),
        separation("10 separations, random DAG of 100,000", DAG, 100_000, 10),
        *(evidence_rows(count, folder) for count in (1_000, 100_000)),
        Question(
            "`python -m graphs alarm.bif`, one query",
            (
                "",
                "from graphs.__main__ import main\n"
                f'answer = main(["{folder / "alarm.bif"}", "HR _||_ PRESS | VENTLUNG"])',
            ),
        ),
    ]


def run(program: tuple[str, str], cache: str) -> tuple[float, float, str]:
    """Milliseconds of the question, seconds of the process, and the answer."""
    given, ask = program
    code = f"import time\n{given}\nstarted = time.perf_counter()\n{ask}\n"
    code += "seconds = time.perf_counter() - started\n"
    code += "print(f'\\n{seconds}\\n{answer}', end='')"
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | {"NUMBA_CACHE_DIR": cache},
    )
    whole = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(f"{done.stderr}\n{code}")
    *_, seconds, answer = done.stdout.rsplit("\n", 2)
    return 1e3 * float(seconds), whole, answer


def agree(first: str, second: str, tolerance: float) -> bool:
    """Whether two printed answers are the same, numbers to a relative tolerance."""
    if first == second:
        return True
    try:
        return math.isclose(float(first), float(second), rel_tol=tolerance)
    except ValueError:
        return False


def measure(question: Question, runs: int) -> dict[str, float]:
    """The best times of all contestants, once their answers are seen to agree."""
    figures: dict[str, float] = {}
    reference = ""

    def note(title: str, milliseconds: float, whole: float, answer: str) -> None:
        nonlocal reference
        reference = reference or answer
        assert agree(reference, answer, 1e-6 if title in PEERS else 1e-12), question.title
        for name, value in ((title, milliseconds), (f"{title} whole", whole)):
            figures[name] = min(figures.get(name, value), value)

    for _ in range(runs):
        with tempfile.TemporaryDirectory() as cache:
            for title in ("empty", "full"):
                note(title, *run(question.ours, cache))
    for title in PEERS:
        program = getattr(question, title)
        for _ in range(runs if program else 0):
            note(title, *run(program, os.devnull))
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    runs = parser.parse_args().runs
    columns = ["empty", "full", "pyagrum", "pgmpy"]
    print("| question | empty | full | whole | pyAgrum | its whole | pgmpy | its whole |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for question in questions(Path(folder)):
            found = measure(question, runs)
            cells = {c: f"{found[c]:,.1f}" if c in found else "" for c in columns}
            whole = {c: f"{found[f'{c} whole']:.1f}" if c in found else "" for c in columns}
            row = [question.title, cells["empty"], cells["full"], whole["empty"]]
            row += [cells["pyagrum"], whole["pyagrum"], cells["pgmpy"], whole["pgmpy"]]
            print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
