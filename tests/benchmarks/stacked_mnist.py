"""Stacked MNIST: how many of a thousand modes games draw, and how evenly.

    python tests/benchmarks/stacked_mnist.py                   # all that is missing, then the table
    python tests/benchmarks/stacked_mnist.py --models gan --seeds 1 --steps 20 --samples 1000
    python tests/benchmarks/stacked_mnist.py --table           # the table alone

Images have three random digits as channels; digits of 26,000 samples are read by the classifier of
the library, whose share of misread triples stands beside. Rows differ in one thing from the plain
GAN. The row "data" is of real images, the ceiling. A cell that has been measured is kept in OUT and
not repeated; all of it takes about six hours of one core.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from cells import Cell, Cells, table

import ppl_gen
from ppl_gen import metrics, zoo

HERE = Path(__file__).parent
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
    started = time.process_time()
    history = ppl_gen.fit(game, few, epochs=epochs, batch_size=BATCH, seed=seed, drop_last=True)
    seconds = time.process_time() - started
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
    parser.add_argument("--models", nargs="+", choices=names, default=names)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8000, help="of the generator")
    parser.add_argument("--samples", type=int, default=26_000)
    parser.add_argument("--table", action="store_true")
    default = HERE / "results" / "stacked_mnist" / "cells.json"
    parser.add_argument("--out", type=Path, default=default)
    asked = parser.parse_args()
    cells, rows, misread = Cells(asked.out), [], 0.0
    for model in asked.models:
        found = []
        for seed in range(asked.seeds):
            name = f"{model} {asked.steps} {asked.samples} {seed}"
            make = partial(study, model, asked.steps, asked.samples, seed)
            cell = cells.get(name) if asked.table else cells.measure(name, make)
            found += [cell] if cell else []
        if found:
            misread = found[0]["misread"]
            columns = [shown([cell[key] for cell in found]) for key in SHOWN]
            rows.append([model, str(found[0]["steps"]), *columns, str(len(found))])
    print(table(["model", "steps", *SHOWN, "seeds"], rows))
    print(f"{asked.samples:,} samples; the classifier misreads {100 * misread:.1f} % of triples")


if __name__ == "__main__":
    main()
