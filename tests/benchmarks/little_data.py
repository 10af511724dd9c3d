"""Games of few digits: where the plain GAN's FID on held-out digits turns up, and DAG there.

    python tests/benchmarks/little_data.py                     # all that is missing, then the page
    python tests/benchmarks/little_data.py --images 50 --models gan --steps 40 --every 20 --out t
    python tests/benchmarks/little_data.py --page              # the page and its figure alone

FID of 1,000 samples, under averaged weights, on 1,000 held-out digits, every so many steps: the
lowest with its step, and the last. Where the last is well above the lowest, training has gone on
too long for so few images, and what helps against that can be seen. "Closer" is the share of
samples in the end that are nearer to a training image than to one of as many held out: one half
unless images are remembered. Seconds are those of the processor, with the measuring. What has been
measured is kept and not repeated; a run of the plain GAN takes about a minute of one core and one
of DAG three. More seeds and longer runs are asked for by ``--seeds`` and ``--steps``.
"""

from __future__ import annotations

import argparse
import statistics
from functools import partial
from pathlib import Path
from typing import Any

import torch
from cells import Cell, Cells, cpu, table, write_page
from matplotlib.figure import Figure

import ppl_gen
from ppl_gen import metrics, zoo

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "results" / "little_data.md"
BATCH, SAMPLES = 32, 1000
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
    started = cpu()
    history = ppl_gen.fit(
        game,
        copies,  # an epoch is as long as it is between two measures
        epochs=epochs,
        batch_size=BATCH,
        seed=seed,
        validation=held,
        metrics={"fid": distance},
    )
    seconds = cpu() - started
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
    mean = f"{statistics.mean(values):.4g}"
    return mean if len(values) < 2 else f"{mean} ({min(values):.4g} to {max(values):.4g})"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--images", nargs="+", type=int, default=[20, 100])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--every", type=int, default=150, help="steps between measures")
    parser.add_argument("--page", action="store_true", help="measure nothing")
    parser.add_argument("--to", type=Path, default=PAGE, help="the page")
    default = HERE / "results" / "little_data" / "cells.json"
    parser.add_argument("--out", type=Path, default=default)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    cells, rows, drawn = Cells(asked.out), [], Figure(figsize=(6.5, 4), layout="constrained")
    keys, ax, dates = ("lowest", "at", "last", "closer", "seconds"), drawn.subplots(), set()
    for images in asked.images:
        for model in asked.models:
            found = []
            for seed in range(asked.seeds):
                name = f"{model} {images} {asked.steps} {asked.every} {seed}"
                make = partial(study, model, images, asked.steps, asked.every, seed)
                cell = cells.get(name) if asked.page else cells.measure(name, make)
                found += [cell] if cell else []
            if found:
                columns = [shown([float(cell[key]) for cell in found]) for key in keys]
                rows.append([str(images), model, *columns, str(len(found))])
                dates |= {cell["date"] for cell in found}
            for i, cell in enumerate(found):
                style = {"ls": "-" if model == "gan" else "--", "label": f"{model}, {images}"}
                at = [asked.every * (1 + k) for k in range(len(cell["curve"]))]
                color = f"C{asked.images.index(images)}"
                ax.plot(
                    at, cell["curve"], color=color, **(style if i == 0 else {"ls": style["ls"]})
                )
    ax.set(yscale="log", xlabel=f"steps of batches of {BATCH}", ylabel="FID on held-out digits")
    ticks = (12, 15, 20, 30, 40, 60)
    ax.set_yticks(ticks, [str(fid) for fid in ticks])
    ax.set_yticks([], minor=True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize="small")
    text = table(["images", "model", *keys, "seeds"], rows)
    write_page(asked.to, "Games of few digits", __file__, __doc__ or "", sorted(dates), text, drawn)


if __name__ == "__main__":
    main()
