"""Runs killed with SIGKILL at random moments and resumed, beside runs that were left alone.

    OMP_NUM_THREADS=1 python tests/benchmarks/resume.py [--runs 50] [--kills 3] [--seed 0]

Each run is killed up to ``--kills`` times, at moments spread over the whole of it, and then left to
end. What it leaves is compared bit for bit with the same run left alone: weights, optimisers,
learning rates, schedules and controller, averaged weights, random generators, history, the best
weights, and for every step the rows and pixels it was given. The runs are those of
``tests/support/killed_runs.py``; the compiled one starts in new processes, the others in copies of
this one. Exits with 1 if anything differs.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
import time
from pathlib import Path
from random import Random

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from killed_runs import RUNS, Outcome, compare, forked, killed, left_alone, spawned

COMPILED = "control_compiled"


def measure(name: str, runs: int, kills: int, random: Random, base: Path) -> list[Outcome]:
    """Make one kind of run often, and print a line about it."""
    start = spawned if name == COMPILED else forked
    left_alone(name, base / name, start)
    seconds = left_alone(name, again := base / f"{name}_again", start)
    if differ := compare(again, base / name):
        raise RuntimeError(f"two runs left alone differ in {', '.join(differ)}")
    outcomes = []
    for number in range(runs):
        folder = base / f"{name}_{number}"
        outcome = killed(name, folder, kills, seconds, random, start)
        outcome.different = compare(folder, base / name)
        outcomes.append(outcome)
    moments = sorted(step for outcome in outcomes for step in outcome.steps)
    differ = sorted({part for outcome in outcomes for part in outcome.different})
    equal = sum(not outcome.different for outcome in outcomes)
    print(
        f"{name:<18}{runs:>5}{len(moments):>7}{moments[0]:>8}{moments[len(moments) // 2]:>7}"
        f"{moments[-1]:>6}{sum(o.writing for o in outcomes):>9}"
        f"{sum(o.repeated for o in outcomes):>10}{equal:>7}  {', '.join(differ)}",
        flush=True,
    )
    return outcomes


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill and resume training runs.")
    parser.add_argument("--runs", type=int, default=50, help="runs in all")
    parser.add_argument("--kills", type=int, default=3, help="kills of each at most")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--only", choices=RUNS, help="one kind of run")
    options = parser.parse_args()
    torch.set_num_threads(1)
    eager = [name for name in RUNS if name != COMPILED]
    share = {COMPILED: options.runs // 16}
    for position, name in enumerate(eager):
        left = options.runs - sum(share.values())
        share[name] = left // (len(eager) - position)
    if options.only:
        share = {options.only: options.runs}
    began, random = time.perf_counter(), Random(options.seed)
    print(f"torch {torch.__version__}, Python {platform.python_version()}, seed {options.seed}")
    print(
        f"{'run':<18}{'runs':>5}{'kills':>7}{'at step':>8}{'median':>7}{'last':>6}{'writing':>9}"
        f"{'repeated':>10}{'equal':>7}"
    )
    with tempfile.TemporaryDirectory() as base:
        outcomes = [
            outcome
            for name, runs in share.items()
            if runs
            for outcome in measure(name, runs, options.kills, random, Path(base))
        ]
    equal = sum(not outcome.different for outcome in outcomes)
    kills = sum(len(outcome.steps) for outcome in outcomes)
    print(
        f"{equal} of {len(outcomes)} runs, killed {kills} times, ended as the ones left alone, "
        f"in {time.perf_counter() - began:.0f} s"
    )
    return 0 if equal == len(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
