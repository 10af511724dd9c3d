"""Studies of models on MNIST: what one is, its finished runs on disk, its table and its figure."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from ppl_gen import VAE, data, plot
from ppl_gen.data import Split

Numbers = dict[str, float]
BATCH = 128
BLOCKS = 200  # points of a stored curve
BINARIZED = {
    "none": "grey levels scored as cross-entropy",
    "dynamic": "binarised afresh for every batch, the test images once",
}


class Budget(NamedTuple):
    """Epochs, and the learning rate of Adam."""

    epochs: int
    lr: float


@dataclass
class Run:
    """A trained model, and what happened at every step of its training.

    Attributes:
        vae: the model.
        curves: its metrics by step.
        extra: numbers that only its training could tell.
    """

    vae: VAE
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)
    extra: Numbers = field(default_factory=dict)


class Column(NamedTuple):
    """A column of a table: its heading, and the format of its numbers."""

    heading: str
    form: str


@dataclass(frozen=True)
class Study:
    """Models that are trained on the same images and measured alike.

    Attributes:
        title: what the table is about.
        about: what the models have in common.
        binarize: how the training images are made binary, as in :func:`ppl_gen.data.mnist`.
        models: names of the rows.
        train: from a row's name, the images, a seed and a budget to a trained model.
        measure: the numbers of a trained model, given the images and a number of samples.
        columns: by number.
        drawn: two curves, and two numbers to plot against each other.
        budget: of every row.
    """

    title: str
    about: str
    binarize: str
    models: tuple[str, ...]
    train: Callable[[str, Split, int, Budget], Run]
    measure: Callable[[Run, Split, int], Numbers]
    columns: Mapping[str, Column]
    drawn: tuple[str, str, tuple[str, str]]
    budget: Budget


def grey(images: data.ImageSet) -> Tensor:
    """The grey levels of a set, binarised dynamically or not at all."""
    return images.images if images.intensities is None else images.intensities


# --- Runs -------------------------------------------------------------------------------------


class Store:
    """The finished runs of a study, one a line of ``FOLDER/NAME.jsonl``.

    Raises:
        ValueError: a run with other settings.
    """

    def __init__(self, folder: Path, name: str, settings: Mapping[str, Any]):
        self.folder, self.name, self.settings = folder, name, dict(settings)
        self.path = folder / f"{name}.jsonl"
        self.runs: list[dict[str, Any]] = []
        self.read()

    def read(self) -> None:
        """Take up the runs on disk; of the same run made twice, the first."""
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        found: dict[tuple[int, str], dict[str, Any]] = {}
        for run in map(json.loads, lines):
            if self.settings and run["settings"] != self.settings:
                raise ValueError(
                    f"expected runs of {self.settings} in {self.path}, got {run['settings']}: "
                    "name another folder by --out"
                )
            found.setdefault((run["seed"], run["model"]), run)
        self.runs = list(found.values())

    def missing(self, models: Iterable[str], seeds: int) -> Iterator[tuple[int, str]]:
        """The runs still to be made, seed by seed; others may be making some meanwhile."""
        for seed, model in product(range(seeds), models):
            self.read()
            if all(run["seed"] != seed for run in self.of(model)):
                yield seed, model

    def of(self, model: str) -> list[dict[str, Any]]:
        return [run for run in self.runs if run["model"] == model]

    def add(self, model: str, seed: int, run: Run, numbers: Numbers, about: Numbers) -> None:
        """Keep the numbers of a run and, of the first seed, its curves."""
        curves = {name: values for name, values in run.curves.items() if np.isfinite(values).all()}
        entry = {
            "model": model,
            "seed": seed,
            "numbers": numbers,
            "curves": {k: thinned(v) for k, v in curves.items()} if seed == 0 else {},
            "settings": self.settings,
            **about,
            "date": str(datetime.date.today()),
            "versions": versions(),
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps(entry) + "\n")
        self.read()

    def pictures(self, model: str) -> Path:
        """The file of a model's pictures."""
        return self.folder / f"{self.name}-{model.replace(' ', '_')}.npz"

    def keep_pictures(self, model: str, vae: VAE, digits: Split) -> None:
        """Images, reconstructions and samples as bytes, for the figure."""
        x = grey(digits.test)[:8]
        found = {
            "images": x,
            "reconstructed": vae.reconstruct(x),
            "samples": vae.sample(48, seed=0),
        }
        arrays = {name: (255 * p.clamp(0, 1)).byte().numpy() for name, p in found.items()}
        self.folder.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(self.pictures(model), **arrays)


def thinned(values: Sequence[float]) -> list[float]:
    """Means over consecutive blocks."""
    blocks = np.array_split(np.asarray(values), min(BLOCKS, len(values)))
    return [round(float(block.mean()), 4) for block in blocks]


def versions() -> dict[str, str]:
    """Of the libraries that are installed."""
    found = {}
    for name in ("ppl-gen", "torch", "pyro-ppl", "pythae"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


# --- Table ------------------------------------------------------------------------------------


def table(study: Study, store: Store, timed: Mapping[str, Any]) -> str:
    """A Markdown table: means over seeds ± their standard deviation, and times of steps."""
    headings = [column.heading for column in study.columns.values()]
    if timed:
        headings += ["ms per step", f"s for {steps_of(store):,} steps, first and again"]
    lines = [f"| model | {' | '.join(headings)} |", f"|{' --- |' * (len(headings) + 1)}"]
    for model in study.models:
        cells = [
            cell([r["numbers"][key] for r in store.of(model) if key in r["numbers"]], column.form)
            for key, column in study.columns.items()
        ]
        if timed:
            cells += time_cells(timed[model], steps_of(store))
        lines.append(f"| {model} | {' | '.join(cells)} |")
    notes = [study.about, *notes_on(store)] + ([TIMES] if timed else [])
    return "\n".join([f"**{study.title}**", "", *lines, "", " ".join(notes)])


def cell(values: Sequence[float], form: str) -> str:
    if not values:
        return "–"
    mean = f"{statistics.mean(values):{form}}"
    return mean if len(values) < 2 else f"{mean} ± {statistics.stdev(values):{form}}"


def notes_on(store: Store) -> Iterable[str]:
    """Settings, date, versions and seeds of the runs, a sentence each."""
    if not store.runs:
        yield "No run yet."
        return
    last, settings = store.runs[-1], store.runs[-1]["settings"]
    seeds = ", ".join(map(str, sorted({run["seed"] for run in store.runs})))
    yield (
        f"{settings['train']:,} training and {settings['test']:,} test images of "
        f"{settings['images']}, {BINARIZED[settings['binarize']]}; {settings['epochs']} epochs of "
        f"Adam at {settings['lr']:g} on batches of {BATCH}; "
        f"mean ± standard deviation over seeds {seeds}."
    )
    yield f"{last['date']}; " + ", ".join(f"{k} {v}" for k, v in last["versions"].items()) + "."
    if any("fid" in run["numbers"] for run in store.runs):
        yield (
            f"FID and KID of as many generated as test images in the features of "
            f"{last['extractor']}, which classifies {100 * last['extractor_accuracy']:.1f} % of "
            f"these test images correctly; as many training images have FID "
            f"{last['fid_of_training_images']:.2f}."
        )
    checks = [run["numbers"].get("own_minus_ours") for run in store.runs]
    if found := [abs(check) for check in checks if check is not None]:
        yield f"pythae's own estimates, on 50 images, are within {max(found):.2f} nats of ours."


def steps_of(store: Store) -> int:
    """Optimiser steps of a run."""
    settings = store.runs[-1]["settings"]
    return settings["epochs"] * math.ceil(settings["train"] / BATCH)


def time_cells(timed: Mapping[str, Any], steps: int) -> list[str]:
    """Milliseconds per step, and seconds for all steps: the first time and again."""
    alone = f" ({timed['bare_ms']:.1f})" if "bare_ms" in timed else ""
    whole = [start + steps * timed["full_ms"] / 1e3 for start in timed["full_start"]]
    return [f"{timed['full_ms']:.1f}{alone}", f"{whole[0]:.0f}, {whole[1]:.0f}"]


TIMES = (
    "Times are processor milliseconds on one thread, medians of interleaved runs of one process, "
    "in brackets without pythae's loader and trainer. The seconds include compiling, from nothing "
    "and with what is on disk."
)


# --- Figure -----------------------------------------------------------------------------------

LABELS = {
    "kl": "KL, nats per image",
    "weight": "weight β",
    "elbo": "ELBO, nats per image",
    "reconstruction": "reconstruction, nats",
    "fid": "FID of samples",
    "squared_error": "squared error, 10⁻³",
    "log_p": "log p(x), nats per image",
    "marginal_kl": "marginal KL, nats",
}
STEEP = ("elbo", "reconstruction")  # drawn without the first tenth, which hides the rest


def draw(study: Study, store: Store) -> None:
    """Curves of the first seed where there are any, numbers of all seeds, and samples."""
    models = [model for model in study.models if store.pictures(model).exists()]
    figure = Figure(figsize=(max(9.0, 2.0 * len(models)), 5.6), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=(1.1, 1))
    axes = upper.subplots(1, 3)
    steps = steps_of(store)
    *curves, (horizontal, vertical) = study.drawn
    for rank, model in enumerate(models):
        style: dict[str, Any] = {"color": f"C{rank}", "label": model}
        for ax, curve in zip(axes[:2], curves, strict=True):
            for values in (run["curves"].get(curve) for run in store.of(model)):
                if values:
                    x = (np.arange(len(values)) + 0.5) * steps / len(values)
                    shown = slice(len(values) // 10 if curve in STEEP else 0, None)
                    ax.plot(x[shown], values[shown], lw=1, **style)
        numbers = [run["numbers"] for run in store.of(model)]
        points = [[row[key] for row in numbers] for key in (horizontal, vertical)]
        axes[2].plot(*points, "o", ms=4, alpha=0.8, **style)
    for ax, curve in zip(axes[:2], curves, strict=True):
        ax.set(xlabel="optimiser step", ylabel=LABELS[curve])
    axes[2].set(xlabel=LABELS[horizontal], ylabel=LABELS[vertical])
    axes[2].legend(frameon=False, fontsize="small")
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
    lower.suptitle("test images, their reconstructions; samples from the prior", fontsize="medium")
    for ax, model in zip(np.ravel(lower.subplots(1, len(models))), models, strict=True):
        with np.load(store.pictures(model)) as kept:
            parts = {name: torch.from_numpy(array).float() / 255 for name, array in kept.items()}
        rows = [
            parts["images"],
            parts["reconstructed"],
            torch.ones(8, 1, 28, 28),
            parts["samples"][:32],
        ]
        plot.images(torch.cat(rows), ax, columns=8)
        ax.set_title(model, fontsize="medium")
    figure.savefig(store.folder / f"{store.name}.png", dpi=90)
