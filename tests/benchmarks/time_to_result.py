"""From the call to the result: whole trainings by ours and its peers, with empty and full caches.

    python tests/benchmarks/time_to_result.py [--jobs mlp tiny conv] [--repeats 1]

The jobs are those of ``training.py`` on 4,000 images: ``mlp`` (784-400-20 on MNIST, batches of
128), ``tiny`` (64-32-4 on 8x8 digits, 64) and ``conv`` (64x64 sprites, 64). Every training is a
process of its own on one thread. What counts is the CPU time, user and system, of that process and
of the compilers it calls, from the call to the result, so that neighbours on the machine matter
little; imports are not counted. Long trainings are asked for in full and stopped after a few
epochs; the rest is taken to cost what the last of them did.

``empty`` has no compiled code on disk, ``full`` that of the run before. ``pyro`` is ``SVI`` with
``Trace_ELBO`` as in Pyro's tutorial. Peers that are not installed are left out.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "support"))

EPOCHS = (1, 5, 20, 100, 500)
IMAGES = 4000
SIZES = {"mlp": 128, "tiny": 64, "conv": 64}
# So many epochs are taken before the rest is extrapolated.
TAKEN = {"mlp": 8, "tiny": 20, "conv": 2}
OURS = {"auto": "auto", "staged": True, "eager": False}
PEERS = {
    "pyro": "stock_svi",
    "numpyro": "numpyro_update",
    "numpyro loop": "numpyro_loop",
    "pythae": "pythae",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--repeats", type=int, default=1, help="the median of so many counts")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        job, how, epochs = options.child
        print(json.dumps(take(job, how, int(epochs))))
        return
    for job in options.jobs:
        table(job, options.repeats)


# --- In a process of its own ----------------------------------------------------------------------


def take(job: str, how: str, epochs: int) -> dict[str, object]:
    """Train, and give the CPU seconds after each epoch."""
    warnings.simplefilter("ignore")
    import torch

    torch.set_num_threads(1)
    problem, images = make(job)
    if how in OURS:
        return fit(problem, images, OURS[how], epochs, TAKEN[job])
    import training_peers

    started, marks = cpu(), []
    try:
        contestant = getattr(training_peers, PEERS[how])(problem)
    except (ImportError, AttributeError):  # not installed, or no such network
        return {"marks": [], "choice": ""}
    steps = -(-IMAGES // SIZES[job])
    for epoch in range(min(epochs, TAKEN[job])):
        # A loop takes whole calls; what one took too many the next leaves out.
        before, after = (e * steps // contestant.chunk for e in (epoch, epoch + 1))
        contestant.run((after - before) * contestant.chunk)
        marks.append(cpu() - started)
    return {"marks": marks, "choice": ""}


def make(job: str) -> tuple[object, object]:
    """The problem as the peers take it, and all images."""
    import torch
    import training_peers

    if job == "mlp":
        from ppl_gen.data import mnist

        images, latent, hidden, network = mnist(source="embedded").train.images, 20, 400, "mlp"
        images = images.repeat(-(-IMAGES // len(images)), *[1] * (images.dim() - 1))
    elif job == "tiny":
        from sklearn.datasets import load_digits

        images = torch.tensor(load_digits().images / 16, dtype=torch.float32).unsqueeze(1)
        images, latent, hidden, network = images.repeat(3, 1, 1, 1), 4, 32, "mlp"
    else:
        from ppl_gen.data import sprites

        images, _ = sprites(size=64).sample(IMAGES, torch.Generator().manual_seed(0))
        latent, hidden, network = 10, 256, "conv"
    images = (images[:IMAGES] > 0.5).float()
    size = SIZES[job]
    whole = images[: IMAGES // size * size].unflatten(0, (-1, size))
    return training_peers.Problem(whole, latent, hidden, network), images


def fit(problem: object, images: object, staged: object, epochs: int, taken: int) -> dict:
    """``fit`` as its users call it, ended after some epochs."""
    import ppl_gen
    from ppl_gen.training import loop

    marks: list[float] = []

    class Ended(loop.Run):
        def is_exhausted(self) -> bool:
            if self.epoch > len(marks):
                marks.append(cpu() - started)
            return self.epoch >= taken

    loop.Run = Ended
    vae = problem.vae()
    started = cpu()
    history = ppl_gen.fit(
        vae,
        images,
        epochs=epochs,
        batch_size=problem.size,
        staged=staged,
        progress=False,
    )
    return {"marks": marks, "choice": str(getattr(history, "staging", ""))}


def cpu() -> float:
    """User and system seconds of this process and of its children that have ended."""
    return sum(os.times()[:4])


# --- The table ------------------------------------------------------------------------------------


def table(job: str, repeats: int) -> None:
    ours: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for how in ("eager", "staged"):
            for kind in ("empty", "full"):
                runs = [trained(job, how, EPOCHS[-1], kind, folder) for _ in range(repeats)]
                ours[how, kind] = [median(total(r["marks"], e) for r in runs) for e in EPOCHS]
        auto: dict[tuple[str, int], list[dict]] = {}
        for kind in ("empty", "full"):
            for epochs in EPOCHS:
                runs = [trained(job, "auto", epochs, kind, folder) for _ in range(repeats)]
                auto[kind, epochs] = runs
            found = [median(total(r["marks"], e) for r in auto[kind, e]) for e in EPOCHS]
            ours["auto", kind] = found
        peers = {}
        for name in PEERS:
            run = trained(job, name, EPOCHS[-1], "full", folder)
            if run["marks"]:
                peers[name] = [total(run["marks"], e) for e in EPOCHS]
    print(f"\n{job:<24}" + "".join(f"{f'{e} epochs':>14}" for e in EPOCHS), flush=True)
    for (how, kind), seconds in sorted(ours.items()):
        row(f"{how}, {kind}", seconds)
    for name, seconds in peers.items():
        row(name, seconds)
    for i, epochs in enumerate(EPOCHS):
        judge(epochs, i, ours, peers)
        print(f"    {auto['full', epochs][0]['choice']}")


def row(title: str, seconds: list[float]) -> None:
    print(f"{title:<24}" + "".join(f"{s:>14.2f}" for s in seconds), flush=True)


def judge(epochs: int, i: int, ours: dict, peers: dict) -> None:
    """Hold the default against what it could have been."""
    cold, warm = ours["auto", "empty"][i], ours["auto", "full"][i]
    best = min(ours["staged", "empty"][i], ours["eager", "empty"][i])
    others = (f"; of {n} {cold / t[i]:.2f} and {warm / t[i]:.2f}" for n, t in peers.items())
    print(
        f"  {epochs} epochs: empty, of the better {cold / best:.2f} ({cold - 1.25 * best:+.2f} s "
        f"beyond 1.25); full, of eager {warm / ours['eager', 'full'][i]:.2f}, of staged "
        f"{warm / ours['staged', 'full'][i]:.2f}" + "".join(others)
    )


def trained(job: str, how: str, epochs: int, kind: str, folder: str) -> dict:
    """Train in a new process, with compiled code on disk or without."""
    with tempfile.TemporaryDirectory() as empty:
        cache = empty if kind == "empty" else folder
        if kind == "full" and how in OURS and not (Path(folder) / "filled").exists():
            (Path(folder) / "filled").touch()
            trained(job, "staged", 1, "full", folder)
        one = {"OMP_NUM_THREADS": "1", "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"}
        caches = {
            "TORCHINDUCTOR_CACHE_DIR": f"{cache}/inductor",
            "PPL_GEN_CACHE": f"{cache}/ppl_gen",
        }
        command = [sys.executable, __file__, "--child", job, how, str(epochs)]
        done = subprocess.run(
            command, env=os.environ | one | caches, check=True, capture_output=True, text=True
        )
    return json.loads(done.stdout.splitlines()[-1])


def total(marks: list[float], epochs: int) -> float:
    """CPU seconds of so many epochs, beyond those taken by what the later of them cost."""
    if epochs <= len(marks):
        return marks[epochs - 1]
    differences = [b - a for a, b in itertools.pairwise(marks)]
    later = differences[len(differences) // 2 :]
    return marks[-1] + (epochs - len(marks)) * statistics.median(later)


def median(values: object) -> float:
    return statistics.median(values)


if __name__ == "__main__":
    main()
