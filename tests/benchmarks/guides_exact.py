"""How near amortized guides come to the posterior, on programs where it is known.

Run with ``python tests/benchmarks/guides_exact.py [--only gaussian|sprinkler|student|asia]``; it
goes on where it was stopped, and writes ``docs/results/guides_exact.md``.

*Linear Gaussian*: 50 random programs of 3 to 6 Normals. With the exact coefficients every draw of
the guide has log p(x, z) - log q(z) equal to log p(x): the table has the largest difference. After
training (1500 steps of Adam, its rate falling from 0.05 by a thousand; a linear map per latent, 512
rows drawn from the program) it has what the bound, whose expectation is integrated exactly, is
below log p(x), in nats a row. Mean field is as far below as its closed form says,
(Σ log Λ_ii - log det Λ) / 2 of the posterior's precision Λ.

*Discrete*: for every set of observed nodes one guide, trained by L-BFGS on the exact bound, for all
possible evidence on them at once: every joint assignment of the latents is a row of the programs,
and the sum over them is the number that TraceEnum_ELBO has. The error is the largest difference of
any joint posterior probability from the junction tree's.
"""

from __future__ import annotations

import argparse
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pyro
import torch
from pyro.infer import SVI, JitTrace_ELBO

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from amortized_programs import (
    distance,
    every_row,
    expected_log_weight,
    linear_gaussian,
    log_evidence,
    log_weight,
    mean_field_gap,
    rows_of,
    set_exactly,
    summed_elbo,
)
from cells import FOLDER, Cell, Cells, table, write_page

import graphs
from ppl_gen.guides import amortized

PAGE = Path(__file__).resolve().parents[2] / "docs" / "results" / "guides_exact.md"
NETWORKS = ("sprinkler", "student", "asia")
PROGRAMS, ROWS, STEPS = 50, 512, 1500
NEAR_GAUSSIAN, NEAR_DISCRETE = 1e-3, 1e-2


def gaussian(seed: int) -> Cell:
    """The gaps of three guides of one linear Gaussian program."""
    program, data, covariance, place = linear_gaussian(seed)
    guide = amortized(program, data)
    set_exactly(guide, covariance, place)
    others = (data, {v: 2 * x - 1 for v, x in data.items()})
    exact = max(
        abs(log_weight(program, guide, d) - log_evidence(d, covariance, place)) for d in others
    )
    by_points, closed = mean_field_gap(program, data, covariance, place)
    rng = np.random.default_rng(seed)
    draws = rng.multivariate_normal(np.zeros(len(place)), covariance, ROWS)
    rows = {v: torch.tensor(draws[:, place[v]]) for v in data}

    def model(data: dict[str, torch.Tensor]) -> None:
        with pyro.plate("rows", ROWS):
            program(data)

    pyro.clear_param_store()
    pyro.set_rng_seed(seed)
    trained = amortized(model, rows, hidden=())
    adam = pyro.optim.ClippedAdam({"lr": 0.05, "lrd": 1e-3 ** (1 / STEPS)})
    elbo = JitTrace_ELBO(ignore_jit_warnings=True)
    svi = SVI(lambda: model(rows), lambda: trained(rows), adam, elbo)
    for _ in range(STEPS):
        svi.step()
    bound = expected_log_weight(model, trained, rows)
    left = (log_evidence(rows, covariance, place) - bound) / ROWS
    return {"exact": exact, "trained": left, "mean_field": by_points, "closed": closed}


def discrete(network: str, observed: tuple[str, ...]) -> Cell:
    """The largest error of a trained guide over all possible evidence on some nodes."""
    model, tree = rows_of(getattr(graphs.textbook, network)())
    seen = list(observed)
    data = every_row(tree, seen)
    names = {v: [tree.states[v][int(i)] for i in codes] for v, codes in data.items()}
    possible = torch.isfinite(tree.log_partition(names))
    data = {v: codes[possible] for v, codes in data.items()}
    pyro.clear_param_store()
    guide = amortized(model, data)
    bound = summed_elbo(model, guide, tree, data)
    optimizer = torch.optim.LBFGS(
        guide.parameters(), max_iter=150, line_search_fn="strong_wolfe", tolerance_change=1e-12
    )

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = -bound().sum()
        value.backward()
        return value.detach()

    optimizer.step(loss)
    return {"error": distance(guide, tree, seen, data), "rows": int(possible.sum())}


def observed_sets(network: str) -> list[tuple[str, ...]]:
    """Every set of nodes that is not empty and leaves a latent, small ones first."""
    nodes = list(getattr(graphs.textbook, network)().nodes)
    return [s for size in range(1, len(nodes)) for s in combinations(nodes, size)]


def main() -> None:
    """Measure what is not measured yet, and write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", choices=("gaussian", *NETWORKS))
    parser.add_argument("--write", action="store_true", help="write the page of what there is")
    options = parser.parse_args()
    cells = Cells(FOLDER / "guides_exact.json")
    parts = [options.only] if options.only else ["gaussian", *NETWORKS]
    if not options.write:
        for part in parts:
            if part == "gaussian":
                for seed in range(PROGRAMS):
                    cells.measure(f"gaussian {seed}", lambda seed=seed: gaussian(seed))
            else:
                for observed in observed_sets(part):
                    name = f"{part} {' '.join(observed)}"
                    cells.measure(name, lambda o=observed, n=part: discrete(n, o))
    known = [cell for s in range(PROGRAMS) if (cell := cells.get(f"gaussian {s}"))]
    rows, dates = [], [cell["date"] for cell in known]
    if known:
        lost = [abs(c["mean_field"] - c["closed"]) for c in known]
        trained = [c["trained"] for c in known]
        rows = [
            ["linear Gaussian, exact coefficients", f"{len(known)} programs",
             f"{max(c['exact'] for c in known):.1e} nats", "0"],
            ["linear Gaussian, trained", f"{len(known)} programs",
             f"{max(trained):.1e} nats a row; {sum(t < NEAR_GAUSSIAN for t in trained)} below 1e-3",
             "1e-3"],
            ["linear Gaussian, mean field beside its closed form", f"{len(known)} programs",
             f"{max(lost):.1e} nats (it loses up to {max(c['closed'] for c in known):.2f})", "0"],
        ]  # fmt: skip
    for network in NETWORKS:
        sets = observed_sets(network)
        found = {s: c for s in sets if (c := cells.get(f"{network} {' '.join(s)}"))}
        if not found:
            continue
        dates += [c["date"] for c in found.values()]
        worst = max(found, key=lambda s: found[s]["error"])
        near = sum(c["error"] < NEAR_DISCRETE for c in found.values())
        rows.append([
            f"{network}, trained", f"{len(found)} of {len(sets)} sets of observed nodes, "
            f"{sum(c['rows'] for c in found.values())} rows of evidence",
            f"{found[worst]['error']:.1e} (observed: {', '.join(worst)}); {near} sets below 1e-2",
            "1e-2",
        ])  # fmt: skip
    heads = ["guide", "of", "largest error", "wanted"]
    write_page(
        PAGE, "Amortized guides beside the exact posterior", __file__, __doc__ or "",
        sorted(dates), table(heads, rows),
    )  # fmt: skip


if __name__ == "__main__":
    main()
