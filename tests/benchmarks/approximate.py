"""Belief propagation and mean field beside exact answers, and EM beside other packages' tables.

Run with ``python tests/benchmarks/approximate.py [--again]``; it goes on where it was stopped, and
writes ``docs/results/approximate.md``. ``--peers FOLDER`` finds PGMax there, which needs ``pip
install --target FOLDER --no-deps pgmax jax jaxlib ml_dtypes opt_einsum``.

*Trees*: random forests, of which the message passing is exact. *Torus* and *grid*: Ising models of
spins ±1, of which the exact log Z is had from the junction tree, or in the limit of a large lattice
from Onsager (1944). *alarm*: the published network under 20 random pieces of evidence on its
symptoms. *Mean field* is a lower bound, so its difference is never above zero. Seconds are
processor time of one thread, for one row.

*PGMax* (Zhou et al. 2022) passes the same messages in single precision, half damped, 500 times,
compiled anew in its seconds: spins on a torus as in its published example. Ours run until they have
converged, or warn, as at J = 0.8, where a few spins oscillate slowly and no answer is the last.

*Tables*: maximum likelihood, Dirichlet smoothing and EM of ``graphs.learn``, and what pgmpy and
pyAgrum make of the same rows; the largest difference of any cell.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from cells import FOLDER, Cell, Cells, table, write_page
from ising import SPIN, ising

import graphs

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "results" / "approximate.md"
ALARM = ROOT / "tests" / "data" / "bif" / "alarm.bif.gz"


def spins(sides: tuple[int, int], coupling: float, field: float = 0.0, wrapped: bool = False):
    """Spins on a grid, or on a torus, in random fields."""
    fields = field * np.random.default_rng(0).normal(size=sides)
    return ising(sides, coupling, fields, wrapped)


def forest(seed: int):
    """A random tree of 40 variables of 2 to 4 states."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(2, 5, 40)
    factors = [(("v0",), rng.uniform(0.1, 1.0, sizes[0]))]
    for i in range(1, 40):
        j = int(rng.integers(i))
        factors.append(((f"v{j}", f"v{i}"), rng.uniform(0.1, 1.0, (sizes[j], sizes[i]))))
    return graphs.markov_network(factors)


def compared(model, evidence=None, exact: bool = True) -> Cell:
    """What both approximations say, beside the junction tree."""
    found: Cell = {}
    tree = graphs.JunctionTree(model) if exact else None
    truth = tree.marginals(evidence) if tree else {}
    if tree:
        found["log_z"] = torch.as_tensor(tree.log_partition(evidence)).reshape(-1).tolist()
    for name, kind in (("bp", graphs.BeliefPropagation), ("mf", graphs.MeanField)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", graphs.ConvergenceWarning)
            begun = time.process_time()
            engine = kind(model)
            answers = engine.marginals(evidence)
            seconds = time.process_time() - begun
            value = torch.as_tensor(engine.log_partition(evidence)).reshape(-1).tolist()
        how = engine.convergence
        errors = [float((answers[v] - truth[v]).abs().max()) for v in answers] if tree else [0.0]
        found[name] = {
            "log_z": value, "error": max(errors), "seconds": round(seconds, 2),
            "iterations": int(torch.as_tensor(how.iterations).max()),
            "converged": bool(torch.as_tensor(how.converged).all()),
        }  # fmt: skip
    return found


def alarm() -> Cell:
    """Twenty rows of evidence on nodes without children, drawn from the network itself."""
    network = graphs.load(ALARM)
    leaves = [v for v in network if not network.out_degree(v)]
    torch.manual_seed(0)
    drawn = graphs.JunctionTree(network).sample(20)
    states = graphs.JunctionTree(network).states
    return compared(network, {v: [states[v][int(i)] for i in drawn[v]] for v in leaves})


def trees() -> Cell:
    """The worst of twenty forests."""
    cells = [compared(forest(seed)) for seed in range(20)]
    off = [abs(c["bp"]["log_z"][0] - c["log_z"][0]) for c in cells]
    worst = dict(max(cells, key=lambda c: c["bp"]["error"]))
    worst["off"] = max(off)
    return worst


def onsager(coupling: float) -> float:
    """log Z a spin of the infinite square lattice without a field (Onsager 1944)."""
    k = 2 * math.sinh(2 * coupling) / math.cosh(2 * coupling) ** 2
    angles = (np.arange(200_000) + 0.5) * math.pi / 200_000
    inner = np.log((1 + np.sqrt(1 - (k * np.sin(angles)) ** 2)) / 2)
    return math.log(2 * math.cosh(2 * coupling)) + float(inner.mean()) / 2


CASES = {
    "20 random trees of 40 nodes": trees,
    "alarm, 20 rows of symptoms": alarm,
    "torus 4 × 4, J = 0.2": lambda: compared(spins((4, 4), 0.2, wrapped=True)),
    "torus 4 × 4, J = 0.5, fields": lambda: compared(spins((4, 4), 0.5, 0.5, wrapped=True)),
    "grid 10 × 10, J = 0.3, fields": lambda: compared(spins((10, 10), 0.3, 0.5)),
    "grid 10 × 10, J = 1, fields": lambda: compared(spins((10, 10), 1.0, 0.5)),
    "grid 100 × 100, J = 0.3, fields": lambda: compared(spins((100, 100), 0.3, 0.5), exact=False),
    "torus 100 × 100, J = 0.2": lambda: compared(spins((100, 100), 0.2, wrapped=True), exact=False),
}
LATTICE = {"torus 100 × 100, J = 0.2": 10_000 * onsager(0.2)}


def beside_pgmax(side: int, coupling: float) -> Cell:
    """The largest difference of a marginal from PGMax's, on a torus in random fields."""
    import types

    import jax.extend.backend  # type: ignore[import-not-found,unused-ignore]

    # PGMax 0.6 asks an older jax for its backend.
    jax.lib.xla_bridge = types.SimpleNamespace(get_backend=jax.extend.backend.get_backend)
    from pgmax import fgraph, fgroup, infer, vgroup  # type: ignore[import-not-found,unused-ignore]

    fields = 0.5 * np.random.default_rng(0).normal(size=(side, side))
    begun = time.process_time()
    ours = graphs.BeliefPropagation(ising((side, side), coupling, fields, True)).marginals()
    between = time.process_time()
    spins = vgroup.NDVarArray(num_states=2, shape=(side, side))
    pairs = [
        [spins[i, j], spins[(i + di) % side, (j + dj) % side]]
        for i, j in np.ndindex(side, side)
        for di, dj in ((0, 1), (1, 0))
    ]
    lattice = fgraph.FactorGraph(variable_groups=spins)
    lattice.add_factors(fgroup.PairwiseFactorGroup(pairs, coupling * SPIN))
    engine = infer.build_inferer(lattice.bp_state, backend="bp")
    given = engine.init(evidence_updates={spins: np.stack([fields, -fields], -1)})
    messages = engine.run(given, num_iters=500, damping=0.5, temperature=1.0)
    theirs = np.asarray(infer.get_marginals(engine.get_beliefs(messages))[spins])
    ended = time.process_time()
    off = max(float(np.abs(ours[at].numpy() - theirs[at]).max()) for at in np.ndindex(side, side))
    return {"apart": off, "ours": between - begun, "theirs": ended - between}


PGMAX = {
    "torus 50 × 50, J = 0.3, fields": lambda: beside_pgmax(50, 0.3),
    "torus 50 × 50, J = 0.8, fields": lambda: beside_pgmax(50, 0.8),
}


# --- Tables -------------------------------------------------------------------------------------


def rows_of(network, count: int, missing: float) -> pd.DataFrame:
    """Rows drawn from a network by the names of states, some values taken out at random."""
    torch.manual_seed(1)
    tree = graphs.JunctionTree(network)
    drawn = tree.sample(count)
    frame = pd.DataFrame({str(v): [tree.states[v][int(i)] for i in k] for v, k in drawn.items()})
    hidden = np.random.default_rng(0).random(frame.shape) < missing
    return frame.mask(hidden)


def apart(ours, cpds) -> float:
    """The largest difference of a cell from tables of pgmpy's kind."""
    off = 0.0
    for cpd in cpds:
        mine = ours.get_cpds(cpd.variable)
        order = [[cpd.state_names[v].index(s) for s in mine.state_names[v]] for v in cpd.variables]
        theirs = cpd.values[np.ix_(*order)]
        theirs = theirs.transpose([list(cpd.variables).index(v) for v in mine.variables])
        off = max(off, float(np.abs(theirs - mine.values).max()))
    return off


def from_pgmpy(smoothed: bool) -> Cell:
    """Maximum likelihood, or one pseudo-count a cell, of 2000 complete rows of asia."""
    from pgmpy.estimators import BayesianEstimator, MaximumLikelihoodEstimator
    from pgmpy.models import DiscreteBayesianNetwork

    network = graphs.textbook.asia()
    frame = rows_of(network, 2000, 0.0)
    states = {v: list(names) for v, names in graphs.JunctionTree(network).states.items()}
    structure = DiscreteBayesianNetwork(list(network.edges))
    structure.add_nodes_from(network.nodes)
    kind = BayesianEstimator if smoothed else MaximumLikelihoodEstimator
    estimator = kind(structure, frame, state_names=states)
    options = {"prior_type": "K2"} if smoothed else {}
    cpds = estimator.get_parameters(**options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        ours = graphs.learn(network, frame, prior=1.0 if smoothed else 0.0)
    return {"apart": apart(ours.model, cpds)}


def from_agrum(missing: float) -> Cell:
    """pyAgrum's learner on 2000 rows of sprinkler, by EM where values are missing."""
    import pyagrum

    network = graphs.textbook.sprinkler()
    frame = rows_of(network, 2000, missing)
    states = graphs.JunctionTree(network).states
    theirs = pyagrum.BayesNet()
    for v, names in states.items():
        theirs.add(pyagrum.LabelizedVariable(v, v, [str(s) for s in names]))
    for u, v in network.edges:
        theirs.addArc(u, v)
    csv = FOLDER / "rows.tmp.csv"
    frame.fillna("?").to_csv(csv, index=False)
    try:
        learner = pyagrum.BNLearner(str(csv), theirs, ["?"])
        if missing:
            learner.useEM(1e-8)
        learner.useNoPrior()
        fitted = learner.learnParameters(theirs.dag())
    finally:
        csv.unlink()
    ours = graphs.learn(network, frame, tolerance=1e-13)
    off = 0.0
    for v in states:
        cpd = ours.model.get_cpds(v)
        for index in np.ndindex(*cpd.values.shape):
            at = {
                str(u): str(cpd.state_names[u][i])
                for u, i in zip(cpd.variables, index, strict=True)
            }
            off = max(off, abs(float(fitted.cpt(v)[at]) - float(cpd.values[index])))
    return {"apart": off, "log_likelihood": ours.log_likelihood}


TABLES = {
    "pgmpy, maximum likelihood, asia": lambda: from_pgmpy(False),
    "pgmpy, one pseudo-count a cell (K2), asia": lambda: from_pgmpy(True),
    "pyAgrum, maximum likelihood, sprinkler": lambda: from_agrum(0.0),
    "pyAgrum, EM, 20 % of values missing, sprinkler": lambda: from_agrum(0.2),
}


def described(cell: Cell, name: str) -> list[str]:
    """A row of the table: log Z, and both approximations' differences from it."""
    exact = cell.get("log_z") or ([LATTICE[name]] if name in LATTICE else None)
    shown = "too large" if exact is None else f"{exact[0]:.4f}" if len(exact) == 1 else "20 rows"
    if name in LATTICE:
        shown += " (infinite lattice)"
    parts = []
    for kind in ("bp", "mf"):
        found = cell[kind]
        offs = [a - b for a, b in zip(found["log_z"], exact or found["log_z"], strict=True)]
        off = cell["off"] if kind == "bp" and "off" in cell else max(offs, key=abs)
        value = f"{off:+.2g}" if exact else f"log Z = {found['log_z'][0]:.2f}"
        error = f"{found['error']:.1g}" if cell.get("log_z") else "–"
        how = f"{found['iterations']}" + ("" if found["converged"] else ", not converged")
        parts += [value, error, how, f"{found['seconds']:.1f}"]
    return [name, shown, *parts]


def main() -> None:
    """Measure what is not measured yet, and write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--again", action="store_true", help="measure all again")
    parser.add_argument("--peers", default="", help="a folder where PGMax is installed")
    options = parser.parse_args()
    cells = Cells(FOLDER / "approximate.json", options.again)
    if options.peers:
        sys.path.append(options.peers)
        for name, make in PGMAX.items():
            cells.measure(f"PGMax, {name}", make)
    pgmax = {name: cell for name in PGMAX if (cell := cells.get(f"PGMax, {name}"))}
    measured = {name: cells.measure(name, make) for name, make in CASES.items()}
    tables = {name: cells.measure(name, make) for name, make in TABLES.items()}
    heads = ["model", "exact log Z", "BP: log Z off", "worst marginal", "iterations", "s",
             "mean field: log Z off", "worst marginal", "sweeps", "s"]  # fmt: skip
    first = table(heads, [described(cell, name) for name, cell in measured.items()])
    beside = table(
        ["belief propagation beside PGMax", "largest difference of a marginal", "s", "PGMax, s"],
        [
            [name, f"{cell['apart']:.1e}", f"{cell['ours']:.1f}", f"{cell['theirs']:.1f}"]
            for name, cell in pgmax.items()
        ],
    )
    second = table(
        ["tables beside", "largest difference of a cell"],
        [[name, f"{cell['apart']:.1e}"] for name, cell in tables.items()],
    )
    dates = sorted(cell["date"] for cell in (*measured.values(), *pgmax.values(), *tables.values()))
    title = "Approximate inference and learned tables beside others"
    write_page(PAGE, title, __file__, __doc__ or "", dates, f"{first}\n\n{beside}\n\n{second}")


if __name__ == "__main__":
    main()
