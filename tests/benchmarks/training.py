"""Training steps of one VAE by ours and its peers, in one process, losses compared first.

    python tests/benchmarks/training.py [--threads 2] [--models mlp tiny conv] [--cold]

All contestants (``tests/support/training_peers.py``) start from the same weights and see the same
batches: MNIST for ``mlp`` (784-400-20, batches of 128), 8x8 digits for ``tiny`` (64-32-4, 64) and
64x64 sprites for ``conv`` (four strided convolutions, 10 latents, 64). They take turns, each for a
round of some steps after one that is not timed; a factor is the median over rounds of its time over
that of the hand-written step in the same round. Before that, losses are compared at a posterior so
narrow that draws do not matter, up to rounding or, where the KL is estimated, five standard errors.

Ours keep the memory that steps free (``ppl_gen/training/memory.py``); the others run with what
glibc does by itself, and every model has a process of its own, since that cannot be undone in one.

``fit`` takes as many steps in one call as take a tenth of a second, up to those of a round;
with callbacks that want to see every step it takes one. ``first`` is the first step with
compilation, in seconds, from a warm disk cache unless ``--cold``; ``peak`` is how much more memory
a round needs at its peak than before it, in MiB. In the second table one size varies on the ``mlp``
model. Peers that are not installed are left out.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "support"))

ROUNDS = {"mlp": 24, "tiny": 60, "conv": 12}
STEPS = {"mlp": 16, "tiny": 100, "conv": 2}  # enough that caches hold a contestant's weights
DRAWS = 8
# What is asked for, as a factor of the hand-written step or of another contestant's.
TARGETS = {
    "mlp": [
        ("ours, fit", 1.0, "hand-written PyTorch"),
        ("Pyro SVI + Trace_ELBO", -2.0, "ours, fit"),
        ("ours, fit", 1.0, "NumPyro jit(update)"),
        ("ours, fit", 1.0, "pythae"),
        ("ours, fit, eager", 1.3, "hand-written PyTorch"),
    ],
    "tiny": [
        ("ours, fit", 0.45, "hand-written PyTorch"),
        ("ours, fit, 1 step a call", 0.45, "hand-written PyTorch"),
        ("Pyro SVI + Trace_ELBO", -10.0, "ours, fit"),
        ("ours, fit", 1.5, "NumPyro fori_loop"),
        ("ours, fit", 1.0, "pythae"),
        ("ours, fit, eager", 2.5, "hand-written PyTorch"),
    ],
    "conv": [
        ("ours, fit", 1.0, "hand-written PyTorch"),
        ("ours, fit", 1.0, "pythae"),
    ],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--models", nargs="+", choices=list(ROUNDS), default=list(ROUNDS))
    parser.add_argument("--cold", action="store_true", help="compile with an empty disk cache")
    options = parser.parse_args()
    if len(options.models) > 1:
        started = time.perf_counter()
        shared = [__file__, "--threads", str(options.threads), *["--cold"][: options.cold]]
        for name in options.models:
            subprocess.run([sys.executable, *shared, "--models", name], check=True)
        print(f"\nall this took {time.perf_counter() - started:.0f} s")
        return
    # Before torch and jax start their threads.
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    os.environ["XLA_FLAGS"] = f"--xla_cpu_multi_thread_eigen={str(options.threads > 1).lower()}"
    with tempfile.TemporaryDirectory() as folder:
        if options.cold:
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
            os.environ["PPL_GEN_CODE_CACHE"] = "0"
        warnings.simplefilter("ignore")
        Benchmark(options.threads).run(*options.models)


class Benchmark:
    """The tables; torch is imported on construction."""

    def __init__(self, threads: int):
        import heaps
        import torch
        import training_peers

        torch.set_num_threads(threads)
        self.torch, self.peers, self.threads = torch, training_peers, threads
        self.heaps, self.threshold = heaps, None

    def run(self, name: str) -> None:
        print(f"\n{name}: torch {self.torch.__version__}, {self.threads} threads", flush=True)
        problem = self.problem(name)
        self.check(problem, name)
        self.table(problem, name)
        if name == "mlp":
            self.growth(problem)

    def problem(self, name: str) -> object:
        """A model's sizes and some batches of its data."""
        torch = self.torch
        if name == "mlp":
            from ppl_gen.data import mnist

            images = mnist(source="embedded").train.images[: 16 * 128]
            batches, latent, hidden, network = images.unflatten(0, (16, 128)), 20, 400, "mlp"
        elif name == "tiny":
            from sklearn.datasets import load_digits

            images = torch.tensor(load_digits().images / 16, dtype=torch.float32)[: 16 * 64]
            batches = images.unsqueeze(1).unflatten(0, (16, 64))
            latent, hidden, network = 4, 32, "mlp"
        else:
            from ppl_gen.data import sprites

            images, _ = sprites(size=64).sample(4 * 64, torch.Generator().manual_seed(0))
            batches, latent, hidden, network = images.unflatten(0, (4, 64)), 10, 256, "conv"
        return self.peers.Problem((batches > 0.5).float(), latent, hidden, network)

    # --- Losses -----------------------------------------------------------------------------------

    def check(self, problem: object, name: str) -> None:
        """Require the same loss of everybody, for a narrow posterior."""
        narrow = replace(problem, narrow=True)
        x = problem.batches[0]
        expected = None
        for title, make in self.peers.CONTESTANTS.items():
            contestant = self.made(make, narrow)
            if contestant is None:
                continue
            found = statistics.fmean(contestant.loss(x) for _ in range(DRAWS))
            expected = found if expected is None else expected
            error = math.sqrt(problem.size * problem.latent / 2 / DRAWS)
            bound = 1e-4 * expected + (5 * error if contestant.sampled else 0.0)
            assert abs(found - expected) < bound, f"{name}, {title}: {found} for {expected}"

    def made(self, make: object, problem: object) -> object | None:
        """A contestant, or ``None`` where it cannot take part."""
        if problem.network == "conv" and make.__name__.startswith("numpyro"):
            return None
        try:
            return make(problem)
        except ImportError:
            return None

    # --- Tables -----------------------------------------------------------------------------------

    def table(self, problem: object, name: str) -> None:
        contestants = {
            title: made
            for title, make in self.peers.CONTESTANTS.items()
            if (made := self.made(make, problem)) is not None
        }
        first, peak = {}, {}
        for title, contestant in contestants.items():
            started = time.perf_counter()
            contestant.run(contestant.chunk)
            first[title] = time.perf_counter() - started
            contestant.run(3 * contestant.chunk)
            peak[title] = peak_memory(lambda c=contestant: c.run(c.chunk))
        seconds = self.rounds(contestants, STEPS[name], ROUNDS[name])
        hand = seconds["hand-written PyTorch"]
        print(f"\n{name:<32}{'µs a step':>10}{'factor':>8}{'first s':>9}{'peak MiB':>10}")
        for title, times in seconds.items():
            print(
                f"{title:<32}{1e6 * statistics.median(times):>10.1f}{factor(times, hand):>8.3f}"
                f"{first[title]:>9.1f}{peak[title]:>10.1f}",
                flush=True,
            )
        for title, asked, other in TARGETS[name]:
            if other in seconds:
                found = factor(seconds[title], seconds[other])
                met = found <= asked if asked > 0 else found >= -asked
                print(
                    f"  {title} / {other}: {found:.2f}, asked for "
                    f"{'at most' if asked > 0 else 'at least'} {abs(asked):g}: "
                    f"{'met' if met else 'MISSED'}"
                )

    def growth(self, problem: object) -> None:
        """How the cost of a step grows with one size."""
        batches = problem.batches.flatten(0, 1)
        sizes = {
            "batch": [
                (b, replace(problem, batches=batches[: 2 * b].unflatten(0, (2, b))))
                for b in (32, 128, 512)
            ],
            "latent size": [(n, replace(problem, latent=n)) for n in (5, 20, 80)],
            "particles": [(k, replace(problem, particles=k)) for k in (1, 4, 16)],
        }
        print(f"\n{'mlp':<14}{'':>6}{'hand-written µs':>17}{'ours, fit µs':>14}{'factor':>8}")
        for title, problems in sizes.items():
            for size, varied in problems:
                makers = {"hand": self.peers.hand_written, "ours": self.peers.fit_steps}
                contestants = {name: make(varied) for name, make in makers.items()}
                for contestant in contestants.values():
                    contestant.run(33)  # the graph is compared again at steps 32 and 64
                seconds = self.rounds(contestants, 4, 6)
                hand, ours = seconds["hand"], seconds["ours"]
                print(
                    f"{title:<14}{size:>6}{1e6 * statistics.median(hand):>17.0f}"
                    f"{1e6 * statistics.median(ours):>14.0f}{factor(ours, hand):>8.2f}",
                    flush=True,
                )

    def rounds(self, contestants: dict, steps: int, rounds: int) -> dict[str, list[float]]:
        """Seconds per step of every contestant in every round."""
        self.threshold = self.threshold or self.heaps.threshold()
        gc.collect()
        gc.freeze()  # what others imported and compiled is not a contestant's to walk through
        seconds: dict[str, list[float]] = {title: [] for title in contestants}
        for _ in range(rounds):
            for title, contestant in contestants.items():
                count = max(steps, contestant.chunk)
                self.heaps.adapt(self.threshold)
                with contestant.around():
                    contestant.run(contestant.chunk)
                    started = time.perf_counter()
                    contestant.run(count)
                    seconds[title].append((time.perf_counter() - started) / count)
        return seconds


def factor(times: list[float], others: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(times, others, strict=True))


def peak_memory(run: object) -> float:
    """MiB by which the resident set grows at most while something runs; NaN where not known."""
    clear = Path("/proc/self/clear_refs")
    if not clear.exists():
        return math.nan
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    clear.write_text("5")
    before = _status("VmRSS")
    run()
    return (_status("VmHWM") - before) / 1024


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key))


if __name__ == "__main__":
    main()
