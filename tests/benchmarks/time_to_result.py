"""From the call to the result: whole trainings by ours and its peers, with empty and full caches.

    python tests/benchmarks/time_to_result.py [--jobs mlp tiny conv] [--write]

The jobs are those of ``training.py`` on 4,000 images: ``mlp`` (784-400-20 on MNIST, batches of
128), ``tiny`` (64-32-4 on 8x8 digits, 64) and ``conv`` (64x64 sprites, 64). Every training is a
process of its own on one thread. What counts is the CPU time, user and system, of that process and
of the compilers it calls, from the call to the result, so that neighbours on the machine matter
little; imports are not counted. Long trainings are asked for in full and stopped after a few
epochs; the rest is taken to cost what the later half of these did.

``empty`` has no compiled code on disk, ``full`` that of an earlier process. ``pyro`` is ``SVI``
with ``Trace_ELBO`` as in Pyro's tutorial. The compilation of NumPyro's ``jit`` counts. Peers that
are not installed are left out; ``--peers FOLDER`` finds them in a folder beside the environment,

    pip install --target FOLDER --no-deps numpyro jax jaxlib ml_dtypes opt_einsum \
        multipledispatch pythae pydantic pydantic_core annotated-types typing_inspection

A cell, ``JOB/HOW/CACHE/EPOCHS``, is kept in ``results/time_to_result.json`` once it is measured and
is not measured again without ``--again``; ``--how``, ``--caches`` and ``--epochs`` pick some of
them. ``--runs`` takes each so often, in rounds, and keeps the least: on a machine with neighbours
single runs tell little. ``--write`` fills the tables of ``docs/results/time_to_result.md``.

``--turns`` compares the default with full caches in so many rounds, each of two processes one after
the other: with ``staged=False`` up to 20 epochs and with ``staged=True`` beyond. What counts is the
median of their ratios, as neighbours slow both of a round alike.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

from cells import FOLDER, Cell, Cells, cpu, fill, run, table

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests" / "support"))

EPOCHS = (1, 5, 20, 100, 500)
IMAGES = 4000
SIZES = {"tiny": 64, "mlp": 128, "conv": 64}
# So many epochs are taken before the rest is extrapolated.
TAKEN = {"tiny": 40, "mlp": 20, "conv": 3}
CHEAP = ("tiny/auto", "tiny/staged", "tiny/numpyro loop")  # taken to their end
OURS = {"auto": "auto", "eager": False, "staged": True}
PEERS = {
    "pyro": "stock_svi",
    "numpyro": "numpyro_update",
    "numpyro loop": "numpyro_loop",
    "pythae": "pythae",
}
TITLES = {
    "auto": "default",
    "eager": "`staged=False`",
    "staged": "`staged=True`",
    "pyro": "Pyro, `SVI` and `Trace_ELBO`",
    "numpyro": "NumPyro, `jit(update)`",
    "numpyro loop": "NumPyro, `fori_loop`",
    "pythae": "pythae",
}
CACHES = ("empty", "full")
DECIDED = 20  # the default is eager up to so many epochs of these jobs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--how", nargs="+", choices=[*OURS, *PEERS], default=[*OURS, *PEERS])
    parser.add_argument("--caches", nargs="+", choices=CACHES, default=list(CACHES))
    parser.add_argument("--epochs", nargs="+", type=int, choices=EPOCHS, default=list(EPOCHS))
    parser.add_argument("--runs", type=int, default=1, help="of which the least counts")
    parser.add_argument("--peers", default="", help="a folder where peers are installed")
    parser.add_argument("--out", type=Path, default=FOLDER / "time_to_result.json")
    parser.add_argument("--again", action="store_true", help="measure cells that are there again")
    parser.add_argument("--turns", type=int, default=0, help="rounds of the default beside another")
    parser.add_argument("--write", action="store_true", help="fill the tables of the documentation")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        job, how, epochs = options.child
        print(json.dumps(take(job, how, int(epochs))))
        return
    cells = Cells(options.out, options.again)
    with tempfile.TemporaryDirectory() as folder:
        for job, epochs in itertools.product(options.jobs, options.epochs if options.turns else ()):
            cells.measure(
                f"{job}/turns/{epochs}",
                lambda t=(job, epochs): turns(*t, options.turns, folder),
            )
        runs_of_cells = () if options.turns else range(1, options.runs + 1)
        for runs, job in itertools.product(runs_of_cells, options.jobs):
            for how, cache, epochs in wanted(options):
                cells.measure(
                    f"{job}/{how}/{cache}/{epochs}",
                    lambda t=(job, how, epochs, cache): trained(*t, folder, options.peers),
                    runs,
                )
    for job in options.jobs:
        report(job, cells, options.write)
    report_turns(cells, options.write)


def wanted(options: argparse.Namespace) -> Iterator[tuple[str, str, int]]:
    """The cells of a job. Only the default depends on how many epochs are asked for."""
    for how in options.how:
        for cache in options.caches if how in OURS else options.caches[-1:]:
            for epochs in options.epochs if how == "auto" else EPOCHS[-1:]:
                yield how, cache if how in OURS else "full", epochs


# --- In a process of its own ----------------------------------------------------------------------


def take(job: str, how: str, epochs: int) -> Cell:
    """Train, and give the CPU seconds after so many epochs."""
    warnings.simplefilter("ignore")
    import torch

    torch.set_num_threads(1)
    problem, images = make(job)
    taken = epochs if f"{job}/{how}" in CHEAP else min(epochs, TAKEN[job])
    if how in OURS:
        marks, choice = fit(problem, images, OURS[how], epochs, taken)
        return summary(marks, epochs) | {"choice": choice}
    import training_peers

    started, marks = cpu(), []
    try:
        contestant = getattr(training_peers, PEERS[how])(problem)
    except (ImportError, AttributeError):  # not installed, or no such network
        return {}
    steps = -(-IMAGES // SIZES[job])
    for epoch in range(taken):
        # A loop takes whole calls; what one took too many the next leaves out.
        before, after = (-(-e * steps // contestant.chunk) for e in (epoch, epoch + 1))
        contestant.run((after - before) * contestant.chunk)
        marks.append(cpu() - started)
    return summary(marks, epochs, whole=contestant.chunk > 1)


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


def fit(
    problem: object, images: object, staged: object, epochs: int, taken: int
) -> tuple[list[float], str]:
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
    return marks, str(getattr(history, "staging", ""))


def summary(marks: list[float], epochs: int, whole: bool = False) -> Cell:
    """CPU seconds by number of epochs, and how many of these were taken."""
    every = {str(e): round(total(marks, e, whole), 3) for e in EPOCHS if e <= epochs}
    return {"seconds": every, "taken": len(marks)}


def total(marks: list[float], epochs: int, whole: bool = False) -> float:
    """CPU seconds of so many epochs, beyond those taken by what the later of them cost.

    Args:
        marks: the seconds after each epoch.
        epochs: how many.
        whole: whether single epochs say little, as steps are taken in calls that are longer.
    """
    if epochs <= len(marks):
        return marks[epochs - 1]
    differences = [b - a for a, b in itertools.pairwise(marks)]
    later = differences[len(differences) // 2 :]
    each = statistics.fmean(later) if whole else statistics.median(later)
    return marks[-1] + (epochs - len(marks)) * each


def trained(job: str, how: str, epochs: int, cache: str, folder: str, peers: str) -> Cell:
    """Train in a new process, with compiled code on disk or without."""
    filled = Path(folder) / job
    if cache == "full" and how in OURS and not filled.exists():
        trained(job, "staged", 1, "filling", folder, peers)
        filled.touch()
    with tempfile.TemporaryDirectory() as empty:
        place = empty if cache == "empty" else folder
        env = {
            "OMP_NUM_THREADS": "1",
            "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
            "TORCHINDUCTOR_CACHE_DIR": f"{place}/inductor",
            "PPL_GEN_CACHE": f"{place}/ppl_gen",
            "PYTHONPATH": f"{ROOT}:{peers}" if peers else str(ROOT),
        }
        command = [sys.executable, __file__, "--child", job, how, str(epochs)]
        printed, whole = run(command, env)
    return json.loads(printed.splitlines()[-1]) | {"process": round(whole, 2)}


def turns(job: str, epochs: int, rounds: int, folder: str) -> Cell:
    """The default beside what it should equal, one after the other in each round."""
    other = "eager" if epochs <= DECIDED else "staged"
    pairs: list[list[float]] = []
    for i in range(rounds):
        pair = {}
        for how in ("auto", other) if i % 2 else (other, "auto"):
            found = trained(job, how, epochs, "full", folder, "")
            pair[how] = found["seconds"][str(epochs)]
        pairs.append([pair["auto"], pair[other]])
    ratios = sorted(round(own / their, 3) for own, their in pairs)
    own, their = (statistics.median(column) for column in zip(*pairs, strict=True))
    return {"beside": other, "own": own, "their": their, "ratios": ratios}


# --- The table ------------------------------------------------------------------------------------


def report(job: str, cells: Cells, write: bool) -> None:
    """The table of a job as far as it is measured, and what was asked of it."""
    found: dict[tuple[str, str], dict[int, float]] = {}
    for how, cache in itertools.product((*OURS, *PEERS), CACHES):
        for epochs in EPOCHS:
            own = cells.get(f"{job}/{how}/{cache}/{epochs if how == 'auto' else EPOCHS[-1]}")
            if own and "seconds" in own:
                found.setdefault((how, cache), {})[epochs] = own["seconds"][str(epochs)]
    rows = [
        [f"{TITLES[how]}, {cache}" if how in OURS else TITLES[how]]
        + [f"{seconds[e]:.2f}" if e in seconds else "" for e in EPOCHS]
        for (how, cache), seconds in found.items()
    ]
    printed = table([f"`{job}`, epochs", *map(str, EPOCHS)], rows)
    print(f"\n{printed}\n")
    for epochs in EPOCHS:
        judge(epochs, {key: s[epochs] for key, s in found.items() if epochs in s})
    if write:
        fill(ROOT / "docs" / "results" / "time_to_result.md", printed)


def report_turns(cells: Cells, write: bool) -> None:
    """The rounds in which the default took turns with another setting."""
    rows = []
    for job, epochs in itertools.product(SIZES, EPOCHS):
        if (found := cells.get(f"{job}/turns/{epochs}")) is None:
            continue
        ratio, limit = statistics.median(found["ratios"]), 1.0 if epochs <= DECIDED else 1.05
        spread = f"{found['ratios'][0]:.2f} to {found['ratios'][-1]:.2f}"
        seconds = [f"{found[whose]:.2f}" for whose in ("own", "their")]
        other = TITLES[found["beside"]]
        rows.append(
            [f"`{job}`, {epochs}", *seconds, other, f"{ratio:.2f}", spread, f"at most {limit:g}"]
        )
    heads = ["job, epochs", "default", "other", "which", "median ratio", "of rounds", "asked"]
    printed = table(heads, rows)
    print(f"\n{printed}\n")
    if write:
        fill(ROOT / "docs" / "results" / "time_to_result.md", printed)


def judge(epochs: int, found: dict[tuple[str, str], float]) -> None:
    """Hold the default against what it could have been, and against the peers."""
    both = [found[how, "empty"] for how in ("eager", "staged") if (how, "empty") in found]
    found = found | ({("the better of both", "empty"): min(both)} if len(both) == 2 else {})
    asked = [
        ("empty", "the better of both", "empty", 1.25, 2.0),
        ("full", "eager", "full", 1.0, 0.0),
        ("full", "staged", "full", 1.05 if epochs >= 100 else 0.0, 0.0),
    ]
    for how, cache in itertools.product(PEERS, CACHES):
        asked.append((cache, how, "full", 1.0 if how == "pyro" else 0.0, 0.0))
    for cache, how, theirs, factor, beyond in asked:
        if ("auto", cache) in found and (how, theirs) in found:
            own, other = found["auto", cache], found[how, theirs]
            met = own <= factor * other + beyond
            limit = f"{factor:g}" + (f" and {beyond:g} s" if beyond else "")
            verdict = f", asked for at most {limit}: {'met' if met else 'MISSED'}"
            print(
                f"  {epochs} epochs, {cache}, of {how}: {own / other:.2f} ({own - other:+.2f} s)"
                + (verdict if factor else "")
            )


if __name__ == "__main__":
    main()
