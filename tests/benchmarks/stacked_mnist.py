"""Stacked MNIST: how many of a thousand modes games draw, and how evenly.

    python tests/benchmarks/stacked_mnist.py                   # all that is missing, then the page
    python tests/benchmarks/stacked_mnist.py --models gan --steps 20 --samples 1000 --out t
    python tests/benchmarks/stacked_mnist.py --page            # the page and its figure alone

Images have three random digits as channels; digits of 26,000 samples are read by the classifier of
the library, whose share of misread triples stands beside. Rows differ in one thing from the plain
GAN. The row "data" is of real images, the ceiling. Steps are those of the generator, in batches of
64, and seconds those of the processor. What has been measured is kept and not repeated; a run of
the plain GAN takes about three minutes of one core, and more models, seeds and longer runs are
asked for by ``--models``, ``--seeds`` and ``--steps``.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from cells import Cell, Cells, cpu, table, write_page
from matplotlib.figure import Figure

import ppl_gen
from ppl_gen import metrics, zoo

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "results" / "stacked_mnist.md"
BATCH, SHAPE, TRAIN = 64, (3, 28, 28), 25_600
MODELS: dict[str, Callable[[], Any]] = {
    "gan": partial(zoo.gan, SHAPE),
    "packed 2": partial(zoo.packed_gan, SHAPE, pack=2),
    "packed 4": partial(zoo.packed_gan, SHAPE, pack=4),
    "dag": partial(zoo.dag_gan, SHAPE),
    "wgan_gp": partial(zoo.wgan_gp, SHAPE),
}
SHOWN = ("modes", "KL", "seconds")


def study(model: str, steps: int, samples: int, seed: int) -> Cell:
    """Train one game; the modes among its samples."""
    size = max(TRAIN, samples) if model == "data" else TRAIN
    data = ppl_gen.data.stacked_mnist(size=size, seed=seed).train
    if model == "data":
        return _counted(data.images[:samples]) | {"seconds": 0.0, "steps": 0}
    torch.manual_seed(seed)
    game = MODELS[model]()
    epoch = len(data) // BATCH // game.critic_steps
    few = data.subset(slice(0, steps * BATCH * game.critic_steps)) if steps < epoch else data
    epochs = -(-steps // epoch)
    started = cpu()
    history = ppl_gen.fit(game, few, epochs=epochs, batch_size=BATCH, seed=seed, drop_last=True)
    seconds = cpu() - started
    found = _counted(torch.cat([game.sample(1000, seed=i) for i in range(-(-samples // 1000))]))
    return found | {"seconds": seconds, "steps": history.steps}


def _counted(images: torch.Tensor) -> Cell:
    found = metrics.stacked_modes(images)
    kept = {"misread": found.misread, "classifier": found.classifier, "samples": len(images)}
    return {"modes": found.modes, "KL": found.kl, **kept}


def shown(values: list[float]) -> str:
    mean = f"{statistics.mean(values):.4g}"
    return mean if len(values) < 2 else f"{mean} ({min(values):.4g} to {max(values):.4g})"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    names = ["data", *MODELS]
    parser.add_argument("--models", nargs="+", choices=names, default=names[:3])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=1600, help="of the generator")
    parser.add_argument("--samples", type=int, default=26_000)
    parser.add_argument("--page", action="store_true", help="measure nothing")
    parser.add_argument("--to", type=Path, default=PAGE, help="the page")
    default = HERE / "results" / "stacked_mnist" / "cells.json"
    parser.add_argument("--out", type=Path, default=default)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    cells, rows, misread, dates, bars = Cells(asked.out), [], 0.0, set(), {}
    for model in asked.models:
        found = []
        for seed in range(asked.seeds):
            name = f"{model} {asked.steps} {asked.samples} {seed}"
            make = partial(study, model, asked.steps, asked.samples, seed)
            cell = cells.get(name) if asked.page else cells.measure(name, make)
            found += [cell] if cell else []
        if found:
            misread = found[0]["misread"]
            columns = [shown([cell[key] for cell in found]) for key in SHOWN]
            rows.append([model, str(found[0]["steps"]), *columns, str(len(found))])
            dates |= {cell["date"] for cell in found}
            bars[model] = statistics.mean(cell["modes"] for cell in found)
    drawn = Figure(figsize=(6, 0.6 + 0.4 * len(bars)), layout="constrained")
    ax = drawn.subplots()
    ax.barh(list(bars), list(bars.values()), color="0.5")
    ax.bar_label(ax.containers[0], fmt="%.0f", padding=3)
    ax.set(xlabel=f"modes of 1,000 among {asked.samples:,} samples", xlim=(0, 1100))
    ax.invert_yaxis()
    ax.spines[["top", "right"]].set_visible(False)
    text = table(["model", "steps", *SHOWN, "seeds"], rows)
    text += f"\n\nThe classifier misreads {100 * misread:.1f} % of real triples."
    write_page(asked.to, "Stacked MNIST", __file__, __doc__ or "", sorted(dates), text, drawn)


if __name__ == "__main__":
    main()
