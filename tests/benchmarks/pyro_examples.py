"""Examples of Pyro's repository, fitted by ``ppl_gen.fit`` and by stock Pyro, beside the answer.

    OMP_NUM_THREADS=1 python tests/benchmarks/pyro_examples.py [NAME ...] [--staged]

Each program trains twice from the same start: with the default objective of ``fit``, and with stock
``SVI`` and ``Trace_ELBO``, both with Adam at a learning rate that falls by the same factor. A row
has the loss per datum of stock Pyro's estimator under both fits, and for each reported latent its
posterior mean and standard deviation under both and, by a closed form or quadrature, exactly. Where
sites are enumerated, ``fit`` is given ``TraceEnum_ELBO`` and must refuse them by name without it.

The last column says whether the fits agree: losses within 0.03 nats or 2 % and means within a third
of a standard deviation, all five times that where gradients have the noise of the score function.
Where the guide's family holds the posterior, ours must also agree with the exact answer: means
within 0.3 standard deviations and these within 25 %. Elsewhere the exact column shows what the
family costs, in both fits alike. All of it takes minutes on one core; ``--staged`` compiles our
steps, as ``fit`` does by default, which takes longer than so few steps save.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from pathlib import Path

import pyro

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import pyro_examples_discrete  # noqa: F401
import pyro_examples_hierarchy  # noqa: F401
import pyro_examples_networks  # noqa: F401
import pyro_examples_regression  # noqa: F401
import pyro_examples_series  # noqa: F401
from pyro_examples import EXAMPLES, Example, Moments, fitted, prepared, train, train_stock

HEADER = ("example", "what", "ours", "stock SVI", "exact", "agrees")
WIDTHS = (38, 16, 18, 18, 18, 8)


def refuses(name: str) -> bool:
    """Whether ``fit`` refuses enumerated sites under its default objective, naming one."""
    try:
        train(prepared(name), epochs=1, staged=False)
    except ValueError as error:
        return "TraceEnum_ELBO" in str(error)
    return False


def compare(name: str, staged: str | bool) -> list[tuple[str, ...]]:
    """The rows of one example."""
    found = prepared(name)
    train(found, found.objective and found.objective(), decay=True, staged=staged)
    loss, ours = fitted(found)
    found = prepared(name)
    train_stock(found, found.stock(), found.epochs, decay=True)
    other, stock = fitted(found)
    exact = found.exact() if found.exact else {}
    evidence = "" if found.evidence is None else f"{found.evidence():.3f}"
    near = close(loss, other, 5 if found.scored else 1)
    if found.objective:
        near = near and refuses(name)
    rows = [(name, "loss per datum", f"{loss:.3f}", f"{other:.3f}", evidence, answer(near))]
    for report in found.report:
        parts = [m.get(report) for m in (ours, stock, exact)]
        row = [report, *("" if p is None else f"{p[0]:.3f} ± {p[1]:.3f}" for p in parts)]
        rows.append(("", *row, answer(agrees(found, report, ours, stock, exact))))
    return rows


def close(one: float, other: float, factor: float) -> bool:
    return abs(one - other) < factor * max(0.03, 0.02 * abs(other))


def agrees(found: Example, report: str, ours: Moments, stock: Moments, exact: Moments) -> bool:
    """Whether the moments of one latent are those of stock Pyro and, where possible, exact."""
    mean, spread = ours[report]
    width = max(stock[report][1], 0.03 * abs(stock[report][0]), 1e-3)
    near = abs(mean - stock[report][0]) < (5 if found.scored else 1) * width / 3
    if not (found.contains and report in exact):
        return near
    centre, width = exact[report]
    return near and abs(mean - centre) < 0.3 * width and abs(spread / width - 1) < 0.25


def answer(holds: bool) -> str:
    return "yes" if holds else "NO"


def show(row: tuple[str, ...]) -> None:
    print(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, WIDTHS, strict=True)), flush=True
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="examples; all by default")
    parser.add_argument("--staged", action="store_true", help="compile our steps")
    chosen = parser.parse_args()
    if odd := set(chosen.names) - EXAMPLES.keys():
        parser.error(f"expected names among {', '.join(EXAMPLES)}, got {', '.join(sorted(odd))}")
    warnings.simplefilter("ignore")
    show(HEADER)
    started, rows = time.process_time(), []
    for name in chosen.names or EXAMPLES:
        rows += (new := compare(name, "auto" if chosen.staged else False))
        for row in new:
            show(row)
        pyro.clear_param_store()
    wrong = sum(row[-1] != "yes" for row in rows)
    seconds = time.process_time() - started
    print(f"{len(rows)} rows, {wrong} that disagree; {seconds:.0f} s of one core")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
