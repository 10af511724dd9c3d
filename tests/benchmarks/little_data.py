"""Games of few digits: where the plain GAN's FID on held-out digits turns up, and DAG there.

    python tests/benchmarks/little_data.py                     # all that is missing, then the table
    python tests/benchmarks/little_data.py --images 50 --models gan --seeds 1 --steps 40 --every 20
    python tests/benchmarks/little_data.py --table             # the table alone

FID of 1,000 samples, under averaged weights, on 1,000 held-out digits, every so many steps: the
lowest with its step, and the last. Where the last is well above the lowest, training has gone on
too long for so few images, and what helps against that can be seen. "Closer" is the share of
samples in the end that are nearer to a training image than to one of as many held out: one half
unless images are remembered. A cell that has been measured is kept in OUT and not repeated; all of
it takes about ten hours of one core.
"""

from __future__ import annotations

import argparse
import statistics
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from cells import Cell, Cells, table

import ppl_gen
from ppl_gen import metrics, zoo

HERE = Path(__file__).parent
BATCH, SAMPLES = 64, 1000
MODELS = {"gan": zoo.gan, "dag_gan": zoo.dag_gan}


def study(model: str, images: int, steps: int, every: int, seed: int) -> Cell:
    """Train one game; its FID along training."""
    digits = ppl_gen.data.mnist(seed=seed)
    known, held = digits.train.images[:images], digits.test
    torch.manual_seed(seed)
    game: Any = MODELS[model]()

    def distance(game: Any) -> float:
        return metrics.fid(held, game.sample(SAMPLES, seed=0)).value

    copies = known.repeat(-(-BATCH * every // images), 1, 1, 1)[: BATCH * every]
    epochs = -(-steps // every)
    started = time.process_time()
    history = ppl_gen.fit(
        game,
        copies,  # an epoch is as long as it is between two measures
        epochs=epochs,
        batch_size=BATCH,
        seed=seed,
        validation=held,
        metrics={"fid": distance},
    )
    seconds = time.process_time() - started
    curve = history["val_fid"][every - 1 :: every]
    drawn = game.sample(SAMPLES, seed=0)
    return {
        "curve": [round(value, 3) for value in curve],
        "lowest": min(curve),
        "at": every * (1 + curve.index(min(curve))),
        "last": curve[-1],
        "closer": metrics.nearest(known, held, drawn).closer,
        "extractor": metrics.fid(held, held).extractor,
        "seconds": seconds,
    }


def shown(values: list[float]) -> str:
    mean = f"{statistics.mean(values):.3g}"
    return mean if len(values) < 2 else f"{mean} ({min(values):.3g} to {max(values):.3g})"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--images", nargs="+", type=int, default=[20, 50, 100, 200, 500])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--every", type=int, default=250, help="steps between measures")
    parser.add_argument("--table", action="store_true")
    default = HERE / "results" / "little_data" / "cells.json"
    parser.add_argument("--out", type=Path, default=default)
    asked = parser.parse_args()
    cells, rows = Cells(asked.out), []
    keys = ("lowest", "at", "last", "closer", "seconds")
    for images in asked.images:
        for model in asked.models:
            found = []
            for seed in range(asked.seeds):
                name = f"{model} {images} {asked.steps} {asked.every} {seed}"
                make = partial(study, model, images, asked.steps, asked.every, seed)
                cell = cells.get(name) if asked.table else cells.measure(name, make)
                found += [cell] if cell else []
            if found:
                columns = [shown([float(cell[key]) for cell in found]) for key in keys]
                rows.append([str(images), model, *columns, str(len(found))])
    print(table(["images", "model", *keys, "seeds"], rows))


if __name__ == "__main__":
    main()
