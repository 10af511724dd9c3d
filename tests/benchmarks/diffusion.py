"""Diffusions on MNIST: what each sampler makes of how many calls, bounds, and copies.

    OMP_NUM_THREADS=1 python tests/benchmarks/diffusion.py              # what is missing
    OMP_NUM_THREADS=1 python tests/benchmarks/diffusion.py --models ddpm --seeds 1
    OMP_NUM_THREADS=1 python tests/benchmarks/diffusion.py --table      # the page
    OMP_NUM_THREADS=1 python tests/benchmarks/diffusion.py --epochs 1 --images 200 --calls 5 10 \\
        --network mlp --out /tmp/trial                                  # a trial of the script

A row is a model, a seed, a sampler and a number of calls of the network. Finished rows are kept in
``OUT/rows.json``, which is replaced as a whole after each; models are in ``OUT/MODEL-SEED.pt`` and
go on from their checkpoints. ``--minutes`` stops after the row in which they are over. Runs of
other settings need another ``--out``.

All are trained with Adam at 2e-3, falling linearly to 0, on batches of 64 of the 8,000 training
images (see ``tests/benchmarks/mnist.py``); ten epochs of the U-Net of 410,000 weights take about
two minutes of a quiet core. Distances are to the 2,000 test images. The nearest training image is
one of the first 2,000, as many as there are test images, which are searched likewise.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

import ppl_gen
from ppl_gen import metrics, samplers, zoo
from ppl_gen.denoisers import Gaussian
from ppl_gen.models.diffusion import Diffusion
from ppl_gen.noise import Cosine
from ppl_gen.training import adam

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "results" / "diffusion.md"
CALLS = (5, 10, 20, 50, 100, 1000)
LEVELS = 10  # of annealed Langevin dynamics
FEW = (3, 40, 80)
BATCH, RATE, DRAWS, NEAREST = 64, 2e-3, 20, 2000

MODELS: dict[str, Callable[..., Diffusion]] = {
    "ddpm": zoo.ddpm,
    "edm": zoo.edm,
    "ncsn": partial(zoo.ncsn, steps=1000),
    **{f"ddpm T={steps}": partial(zoo.ddpm, steps=steps) for steps in FEW},
}
# Of a sampler: how it is made for so many calls, and in how many steps it makes them.
SAMPLERS: dict[str, Callable[[int], tuple[samplers.Sampler, int]]] = {
    "ancestral small": lambda n: (samplers.Ancestral("small"), n),
    "ancestral large": lambda n: (samplers.Ancestral("large"), n),
    "DDIM": lambda n: (samplers.DDIM(), n),
    "Euler": lambda n: (samplers.Euler(), n),
    "Heun": lambda n: (samplers.Heun(), (n + 1) // 2),
    "corrected": lambda n: (samplers.PredictorCorrector(), (n + 1) // 2),
    "Langevin": lambda n: (samplers.AnnealedLangevin(max(1, n // LEVELS), 0.3), min(n, LEVELS)),
}


def trained(name: str, seed: int, images: Tensor, options: argparse.Namespace) -> Diffusion:
    """The model of a file, or of a run that goes on where it was stopped."""
    torch.manual_seed(seed)
    own = {} if name == "edm" or options.network == "auto" else {"network": options.network}
    model = MODELS[name](**own)
    file = options.out / f"{name.replace(' ', '_')}-{seed}.pt"
    if file.exists():
        return ppl_gen.load(file, into=model)
    steps = options.epochs * -(-len(images) // BATCH)

    def falling(optimizer: torch.optim.Optimizer) -> LambdaLR:
        return LambdaLR(optimizer, lambda step: max(0.0, 1 - step / steps))

    ppl_gen.fit(
        model,
        images,
        epochs=options.epochs,
        batch_size=BATCH,
        lr=RATE,
        optimizer=partial(adam, betas=(0.9, 0.99)),
        scheduler=falling,
        seed=seed,
        checkpoint=file.with_suffix(".checkpoint"),
        resume=True,
    )
    ppl_gen.save(model, file)
    return model


def wanted(options: argparse.Namespace) -> Iterator[tuple[str, int, str, int]]:
    """Model, seed, sampler and calls of every row."""
    for seed, model in product(range(options.seeds), options.models):
        if "T=" in model:
            steps = int(model.partition("=")[2])
            yield from ((model, seed, name, steps) for name in ("ancestral small", "DDIM"))
            continue
        calls = (*options.calls, *FEW) if model == "ddpm" else options.calls
        for sampler, count in product(SAMPLERS, calls):
            if sampler == "Langevin" and model == "ddpm" and count in FEW:
                continue
            yield model, seed, sampler, count


def measured(
    model: Diffusion, sampler: str, calls: int, split: Any, images: int
) -> dict[str, float]:
    """Distances of samples, seconds for 1,000, and how near they are to images there are."""
    how, steps = SAMPLERS[sampler](calls)
    started = time.process_time()
    drawn = model.sample(images, sampler=how, steps=steps, seed=0, batch_size=250, progress=True)
    seconds = time.process_time() - started
    real, train = split.test.images, split.train.images[:NEAREST]
    return {
        "fid": metrics.fid(real, drawn).value,
        "kid": 1e3 * metrics.kid(real, drawn).value,
        "seconds": 1000 * seconds / images,
        "train": nearest(drawn[:500], train),
        "test": nearest(drawn[:500], real[:NEAREST]),
    }


def nearest(drawn: Tensor, images: Tensor) -> float:
    """The mean distance to the nearest of some images, over pixels in [0, 1]."""
    return torch.cdist(drawn.flatten(1), images.flatten(1)).min(1).values.mean().item()


def bounded(model: Diffusion, images: Tensor) -> dict[str, float]:
    bound = model.bound(images, draws=min(DRAWS, model.steps))
    return {"nats": bound.mean().item(), "bits": model.bits_per_dim(bound).mean().item()}


class Rows:
    """What has been found, in a file that is replaced as a whole.

    Raises:
        ValueError: rows of other settings.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]):
        self.path = folder / "rows.json"
        folder.mkdir(parents=True, exist_ok=True)
        stored = json.loads(self.path.read_text()) if self.path.exists() else {}
        self.settings, self.found = stored.get("settings", settings), stored.get("rows", {})
        if self.settings != settings:
            raise ValueError(f"expected rows of {settings} in {self.path}, got {self.settings}")

    def seeds(self) -> list[int]:
        """The seeds of the rows there are."""
        return sorted({int(key.split(" | ")[1]) for key in self.found})

    def add(self, key: str, numbers: dict[str, float]) -> None:
        self.found[key] = numbers
        text = json.dumps({"settings": self.settings, "rows": self.found}, indent=1)
        partial_file = self.path.with_suffix(".part")
        partial_file.write_text(text)
        os.replace(partial_file, self.path)


def key_of(model: str, seed: int, what: str, calls: int = 0) -> str:
    return f"{model} | {seed} | {what} | {calls}"


# --- The page -------------------------------------------------------------------------------------


def over_seeds(rows: Rows, name: str, model: str, what: str, calls: int = 0) -> str:
    """Mean and standard deviation over the seeds there are."""
    seeds = rows.seeds()
    found = [rows.found.get(key_of(model, seed, what, calls), {}).get(name) for seed in seeds]
    known = [value for value in found if value is not None]
    if not known:
        return "–"
    spread = f" ± {statistics.stdev(known):.2f}" if len(known) > 1 else ""
    return f"{statistics.mean(known):.2f}{spread}"


def exact_variances(steps: int, variance: float = 4.0) -> dict[str, float]:
    """Of samples by exact denoisers of N(0, 4): what the number of steps alone costs."""
    data = Gaussian(Cosine(), torch.zeros(1, dtype=torch.float64), variance)
    found = {}
    for kind in ("small", "large"):
        sampler = samplers.Ancestral(kind)
        draw = sampler.sample(data, 40_000, steps=steps, seed=0)
        found[kind] = draw.var().item()
    return found


def page(rows: Rows, models: list[str], calls: list[int]) -> str:
    """The tables in Markdown."""
    told, parts = rows.settings, []
    parts.append(
        "# Diffusions on MNIST\n\n"
        f"`tests/benchmarks/diffusion.py`, {told['epochs']} epochs, batches of {BATCH}, Adam at "
        f"{RATE:g} falling to 0, network {told['network']}, {len(rows.seeds())} seed(s), "
        f"{told['images']} samples a row, torch {told['torch']}, one core. Means ± standard "
        "deviations over seeds; – is not run.\n"
    )
    for model in (name for name in models if "T=" not in name):
        parts.append(f"\n## `{model}`: FID by calls of the network\n")
        parts.append(f"| sampler | {' | '.join(map(str, calls))} | s for 1,000 at 50 |")
        parts.append("| --- |" + " --- |" * (len(calls) + 1))
        for sampler in SAMPLERS:
            cells = [over_seeds(rows, "fid", model, sampler, count) for count in calls]
            cells.append(over_seeds(rows, "seconds", model, sampler, 50))
            parts.append(f"| {sampler} | " + " | ".join(cells) + " |")
    parts.append("\n## Bounds and copies\n")
    parts.append("| model | bound, nats | bits per dimension | nearest of training | of test |")
    parts.append("| --- | --- | --- | --- | --- |")
    for model in models:
        steps = int(model.partition("=")[2] or 50)
        cells = [over_seeds(rows, name, model, "bound") for name in ("nats", "bits")]
        cells += [
            over_seeds(rows, name, model, "ancestral small", steps) for name in ("train", "test")
        ]
        parts.append(f"| {model} | " + " | ".join(cells) + " |")
    parts.append("\n## Few steps, trained and respaced\n")
    parts.append("| | " + " | ".join(f"T = {steps}" for steps in FEW) + " |")
    parts.append("| --- |" + " --- |" * len(FEW))
    for title, model in (("trained", "ddpm T={}"), ("respaced", "ddpm")):
        for sampler in ("ancestral small", "DDIM"):
            cells = [over_seeds(rows, "fid", model.format(n), sampler, n) for n in FEW]
            parts.append(f"| {title}, {sampler}: FID | " + " | ".join(cells) + " |")
    exact = [exact_variances(steps) for steps in FEW]
    for kind in ("small", "large"):
        cells = [f"{found[kind]:.2f}" for found in exact]
        parts.append(f"| exact denoiser, variance 4, {kind} | " + " | ".join(cells) + " |")
    return "\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=46)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--calls", type=int, nargs="+", default=list(CALLS))
    parser.add_argument("--network", default="auto")
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--data", default=str(ROOT / "tests" / "data"))
    parser.add_argument("--out", type=Path, default=ROOT / "tests/benchmarks/results/diffusion")
    parser.add_argument("--table", action="store_true", help="only write the page")
    options = parser.parse_args()
    names = ("epochs", "images", "network")
    settings = {name: getattr(options, name) for name in names} | {"torch": torch.__version__}
    rows, started = Rows(options.out, settings), time.monotonic()
    split = ppl_gen.data.mnist(options.data)
    models: dict[tuple[str, int], Diffusion] = {}
    for name, seed, sampler, calls in () if options.table else wanted(options):
        if (name, seed) not in models:
            models = {(name, seed): trained(name, seed, split.train.images, options)}
        model = models[name, seed]
        if key_of(name, seed, "bound") not in rows.found:
            rows.add(key_of(name, seed, "bound"), bounded(model, split.test.images))
        key = key_of(name, seed, sampler, calls)
        if key not in rows.found:
            rows.add(key, measured(model, sampler, calls, split, options.images))
            print(key, {k: round(v, 2) for k, v in rows.found[key].items()}, flush=True)
        if time.monotonic() - started > 60 * options.minutes:
            print("stopped; the same command goes on")
            break
    text = page(rows, options.models, options.calls)
    print(text)
    if options.table:
        PAGE.write_text(text)


if __name__ == "__main__":
    main()
