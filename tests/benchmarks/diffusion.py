"""Diffusions of pixels on MNIST: what samplers make of how many calls, bounds, guidance, copies.

    OMP_NUM_THREADS=1 python tests/benchmarks/diffusion.py              # what is missing
    OMP_NUM_THREADS=1 python tests/benchmarks/diffusion.py --models ddpm --samplers DDIM Heun
    OMP_NUM_THREADS=1 python tests/benchmarks/diffusion.py --table      # the page
    OMP_NUM_THREADS=1 python tests/benchmarks/diffusion.py --epochs 1 --images 200 --calls 5 10 \\
        --network mlp --out /tmp/trial                                  # a trial of the script

A row is a model, a seed, a sampler and a number of calls of the network. Finished rows are kept in
``OUT/rows.json``, which is replaced as a whole after each; models are in ``OUT/MODEL-SEED.pt`` and
go on from their checkpoints. ``--minutes`` stops after the row in which they are over. Runs of
other settings need another ``--out``. What is said of the tables is in ``OUT/remarks.md``.

All are trained with Adam at 2e-3, falling linearly to 0, on batches of 64 of the 8,000 training
images (see ``tests/benchmarks/mnist.py``). Distances are to the 2,000 test images. The nearest
training image is one of the first 2,000, as many as there are test images, which are searched
likewise. Weights are kept in ``OUT/models``, the first samples of every row in ``OUT/samples``.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import ppl_gen
from ppl_gen import metrics, samplers, zoo
from ppl_gen.denoisers import Gaussian
from ppl_gen.metrics.features import digit_classifier
from ppl_gen.models.diffusion import Diffusion
from ppl_gen.noise import Cosine

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "results" / "diffusion.md"
CALLS = (5, 10, 20, 50)
LEVELS = 10  # of annealed Langevin dynamics
FEW = (3, 40, 80)
WEIGHTS, GUIDED = (0.0, 1.0, 2.0, 3.0, 4.0), "guided_ddpm"
EPOCHS, HIDDEN = {GUIDED: 60}, {GUIDED: 64}  # 30 and 32 of the others
BATCH, RATE, DRAWS, NEAREST, SHOWN = 64, 2e-3, 10, 2000, 20

MODELS: dict[str, Callable[..., Diffusion]] = {
    "ddpm": zoo.ddpm,
    "edm": zoo.edm,
    GUIDED: zoo.guided_ddpm,
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


def trained(name: str, seed: int, images: Any, options: argparse.Namespace) -> Diffusion:
    """The model of a file, or of a run that goes on where it was stopped."""
    torch.manual_seed(seed)
    model = MODELS[name](network=options.network, hidden=options.hidden or HIDDEN.get(name, 32))
    file = options.out / "models" / f"{name.replace(' ', '_')}-{seed}.pt"
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.exists():
        return ppl_gen.load(file, into=model)
    started = time.process_time()
    ppl_gen.fit(
        model,
        images if name == GUIDED else images.images,
        epochs=options.epochs or EPOCHS.get(name, 30),
        batch_size=BATCH,
        lr=RATE,
        clip_norm=1.0,
        seed=seed,
        staged=False,
        checkpoint=file.with_suffix(".checkpoint"),
        resume=True,
    )
    print(f"{name}, seed {seed}: {time.process_time() - started:.0f} s of training", flush=True)
    ppl_gen.save(model, file)
    return model


def wanted(options: argparse.Namespace) -> Iterator[tuple[str, int, str, int]]:
    """Model, seed, sampler and calls of every row."""
    for seed, model in product(range(options.seeds), options.models):
        if "T=" in model:
            steps = int(model.partition("=")[2])
            yield from ((model, seed, name, steps) for name in ("ancestral small", "DDIM"))
            continue
        if model == GUIDED:
            yield from ((model, seed, f"w = {weight:g}", 40) for weight in WEIGHTS)
            continue
        for sampler, count in product(SAMPLERS, options.calls):
            if sampler in options.samplers:
                yield model, seed, sampler, count
        if model == "ddpm":
            yield from ((model, seed, "ancestral small", count) for count in FEW)


def measured(
    model: Diffusion, sampler: str, calls: int, split: Any, images: int
) -> tuple[dict[str, float], Tensor]:
    """Distances of samples, seconds for 1,000, and how near they are to images there are."""
    labels, weight = None, 1.0
    if sampler.startswith("w ="):
        labels, weight = split.test.labels[:images], float(sampler.partition("=")[2])
        sampler = "ancestral small"
    how, steps = SAMPLERS[sampler](calls)
    started = time.process_time()
    drawn = model.sample(
        images, labels, sampler=how, steps=steps, guidance=weight, seed=0, batch_size=250
    )
    seconds = time.process_time() - started
    real, train = split.test.images, split.train.images[:NEAREST]
    found = {
        "fid": metrics.fid(real, drawn).value,
        "kid": 1e3 * metrics.kid(real, drawn).value,
        "edges": edges(drawn) / edges(real),
        "seconds": 1000 * seconds / images,
        "train": nearest(drawn[:500], train),
        "test": nearest(drawn[:500], real[:NEAREST]),
    }
    if labels is not None:
        with torch.no_grad():
            read = digit_classifier().logits(drawn).argmax(1)
        found["accuracy"] = (read == labels).float().mean().item()
    return found, drawn


def edges(images: Tensor) -> float:
    """The mean gradient of pixels, which blur lowers."""
    down, right = images.diff(dim=2)[..., :-1], images.diff(dim=3)[:, :, :-1]
    return torch.hypot(down, right).mean().item()


def nearest(drawn: Tensor, images: Tensor) -> float:
    """The mean distance to the nearest of some images, over pixels in [0, 1]."""
    return torch.cdist(drawn.flatten(1), images.flatten(1)).min(1).values.mean().item()


def bounded(model: Diffusion, test: Any) -> dict[str, float]:
    labels = test.labels if model.num_classes else None
    bound = model.bound(test.images, labels, draws=min(DRAWS, model.steps))
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
        self.date = stored.get("date", "")
        if self.settings != settings:
            raise ValueError(f"expected rows of {settings} in {self.path}, got {self.settings}")

    def seeds(self) -> list[int]:
        """The seeds of the rows there are."""
        return sorted({int(key.split(" | ")[1]) for key in self.found})

    def keep(self, key: str, drawn: Tensor) -> None:
        """The first samples of a row, to be looked at."""
        self.kept(key).parent.mkdir(exist_ok=True)
        torch.save((255 * drawn[:SHOWN]).round().byte(), self.kept(key))

    def kept(self, key: str) -> Path:
        return self.path.parent / "samples" / f"{re.sub('[^a-z0-9=]+', '_', key.lower())}.pt"

    def add(self, key: str, numbers: dict[str, float]) -> None:
        self.found[key], self.date = numbers, datetime.date.today().isoformat()
        kept = {"settings": self.settings, "date": self.date, "rows": self.found}
        text = json.dumps(kept, indent=1)
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


def settings_of(rows: Rows) -> str:
    told = rows.settings
    seeds = len(rows.seeds())
    own = {
        "epochs": f"{told['epochs']} epochs",
        "channels": f"{(told['hidden'] or 0) // 2} and {told['hidden']} channels",
    }
    if not told["epochs"]:
        own["epochs"] = f"30 epochs ({GUIDED}: {EPOCHS[GUIDED]})"
    if not told["hidden"]:
        own["channels"] = f"16 and 32 channels ({GUIDED}: 32 and 64)"
    return (
        f"`tests/benchmarks/diffusion.py`, {rows.date}, {own['epochs']}, batches of {BATCH}, Adam "
        f'at {RATE:g} falling to 0, `network="{told["network"]}"`, {own["channels"]}, '
        f"{'one seed' if seeds == 1 else f'{seeds} seeds'}, {told['images']} samples a row, torch "
        f"{told['torch']}, one core. Means ± standard deviations over seeds; – is not run. "
        "*Edges*: the mean gradient of pixels over that of test images; *train* and *test*, or "
        "*nearest*: the distance to the nearest image of either set; *accuracy*: how many samples "
        "a classifier reads as the digit that was asked for.\n"
    )


def table(head: list[str], body: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def page(rows: Rows, models: list[str], calls: list[int]) -> str:
    """The tables in Markdown, after what is said of them, and the figures."""
    here = {key.split(" | ")[0] for key in rows.found}
    models = [model for model in models if model in here]
    parts = ["# Diffusions of pixels\n", settings_of(rows)]
    folder = rows.path.parent
    if (remarks := folder / "remarks.md").exists():
        parts.append(remarks.read_text())
    for model in (name for name in models if "T=" not in name and name != GUIDED):
        parts.append(f"## `{model}`: FID by calls of the network\n")
        body = []
        for sampler in SAMPLERS:
            cells = [over_seeds(rows, "fid", model, sampler, count) for count in calls]
            cells.append(over_seeds(rows, "seconds", model, sampler, 50))
            body.append([sampler, *cells])
        head = ["sampler", *map(str, calls), "s for 1,000 at 50"]
        parts.append(table(head, [row for row in body if set(row[1:]) != {"–"}]))
    if GUIDED in models:
        parts.append(f"## `{GUIDED}`: the weight of guidance, ancestral, 40 steps\n")
        names = ("fid", "kid", "accuracy", "edges", "train", "test")
        body = [
            [f"{w:g}", *(over_seeds(rows, n, GUIDED, f"w = {w:g}", 40) for n in names)]
            for w in WEIGHTS
        ]
        parts.append(table(["w", *names], body))
    parts.append("## Bounds and copies\n")
    body = []
    for model in (name for name in models if name != GUIDED):
        steps = int(model.partition("=")[2] or 50)
        sampler = "Heun" if model == "edm" else "ancestral small"
        cells = [over_seeds(rows, name, model, "bound") for name in ("nats", "bits")]
        looks = ("kid", "edges", "train", "test")
        cells += [over_seeds(rows, name, model, sampler, steps) for name in looks]
        body.append([model, *cells])
    nearest_of = ["nearest of training", "nearest of test"]
    head = ["model", "bound, nats", "bits per dimension", "KID, 10⁻³", "edges", *nearest_of]
    parts.append(table(head, body))
    parts.append("## Few steps, trained and respaced\n")
    body = []
    for title, model in (("trained", "ddpm T={}"), ("respaced", "ddpm")):
        for sampler in ("ancestral small", "DDIM"):
            cells = [over_seeds(rows, "fid", model.format(n), sampler, n) for n in FEW]
            body.append([f"{title}, {sampler}: FID", *cells])
    exact = [exact_variances(steps) for steps in FEW]
    for kind in ("small", "large"):
        cells = [f"{found[kind]:.2f}" for found in exact]
        body.append([f"variance of samples by the exact denoiser of N(0, 4), {kind}", *cells])
    head = ["", *(f"T = {steps}" for steps in FEW)]
    parts.append(table(head, [row for row in body if set(row[1:]) != {"–"}]))
    drawn = {"calls": "FID by calls of the network", "samples": "First samples of rows"}
    for name, title in drawn.items():
        if (file := folder / f"{name}.png").exists():
            parts.append(f"![{title}]({os.path.relpath(file, PAGE.parent)})\n")
    return "\n".join(parts)


def draw_calls(rows: Rows, models: list[str], calls: list[int], path: Path) -> None:
    """FID against calls, a panel a model."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        1, len(models), figsize=(4.2 * len(models), 3.4), layout="constrained", sharey=True
    )
    for ax, model in zip(axes if len(models) > 1 else [axes], models, strict=True):
        for sampler in SAMPLERS:
            keys = {count: key_of(model, 0, sampler, count) for count in calls}
            found = {
                count: rows.found[key]["fid"] for count, key in keys.items() if key in rows.found
            }
            if found:
                ax.plot(list(found), list(found.values()), marker="o", markersize=4, label=sampler)
        ax.set(title=model, xlabel="calls of the network", xscale="log", yscale="log")
        ax.set_xticks(calls, map(str, calls))
        low, high = ax.get_ylim()
        ticks = [value for value in (1, 2, 5, 10, 20, 50, 100) if low <= value <= high]
        ax.set_yticks(ticks, map(str, ticks))
        ax.minorticks_off()
        ax.legend(fontsize=8)
    (axes[0] if len(models) > 1 else axes).set_ylabel("FID")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_samples(rows: Rows, keys: list[str], real: Tensor, path: Path) -> None:
    """The first samples of some rows under each other, and test images."""
    import matplotlib.pyplot as plt

    shown = {"test images": real[:SHOWN]}
    for key in (key for key in keys if rows.kept(key).exists()):
        model, _, what, calls = key.split(" | ")
        shown[f"{model}, {what}, {calls} calls"] = torch.load(rows.kept(key)) / 255
    figure, axes = plt.subplots(
        len(shown), 1, figsize=(9, 0.62 * len(shown)), layout="constrained", squeeze=False
    )
    for ax, (title, images) in zip(axes[:, 0], shown.items(), strict=True):
        ppl_gen.plot.images(images, ax, columns=SHOWN)
        ax.set_title(title, fontsize=8, loc="left", pad=2)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--samplers", nargs="+", default=list(SAMPLERS), choices=list(SAMPLERS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="of all models, each its own by default")
    parser.add_argument("--hidden", type=int, help="of all networks, each its own by default")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--calls", type=int, nargs="+", default=list(CALLS))
    parser.add_argument("--network", default="auto")
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--data", default=str(ROOT / "tests" / "data"))
    parser.add_argument("--out", type=Path, default=ROOT / "tests/benchmarks/results/diffusion")
    parser.add_argument("--table", action="store_true", help="only write the page")
    options = parser.parse_args()
    names = ("epochs", "images", "network", "hidden")
    settings = {name: getattr(options, name) for name in names} | {"torch": torch.__version__}
    rows, started = Rows(options.out, settings), time.monotonic()
    split = ppl_gen.data.mnist(options.data)
    models: dict[tuple[str, int], Diffusion] = {}
    for name, seed, sampler, calls in () if options.table else wanted(options):
        if (name, seed) not in models:
            models = {(name, seed): trained(name, seed, split.train, options)}
        model = models[name, seed]
        if key_of(name, seed, "bound") not in rows.found:
            rows.add(key_of(name, seed, "bound"), bounded(model, split.test))
        key = key_of(name, seed, sampler, calls)
        if key not in rows.found:
            numbers, drawn = measured(model, sampler, calls, split, options.images)
            rows.keep(key, drawn)
            rows.add(key, numbers)
            print(key, {k: round(v, 2) for k, v in rows.found[key].items()}, flush=True)
        if time.monotonic() - started > 60 * options.minutes:
            print("stopped; the same command goes on")
            break
    if options.table:
        drawn = [m for m in options.models if key_of(m, 0, "bound") in rows.found]
        plain = [m for m in drawn if "T=" not in m and m != GUIDED]
        if plain:
            draw_calls(rows, plain, options.calls, options.out / "calls.png")
        some = {*options.calls[1::2], *FEW}  # every other number of calls
        kept = (key for key in rows.found if "| 0 |" in key)
        shown = [key for key in kept if int(key.split(" | ")[-1]) in some]
        draw_samples(rows, shown, split.test.images, options.out / "samples.png")
    text = page(rows, options.models, options.calls)
    print(text)
    if options.table:
        PAGE.write_text(text)


if __name__ == "__main__":
    main()
