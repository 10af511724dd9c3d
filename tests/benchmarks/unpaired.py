"""Translations between digits and changed digits without pairs, beside the true translation.

    python tests/benchmarks/unpaired.py                       # all that is missing, then the table
    python tests/benchmarks/unpaired.py --tasks inverted --models cycle --seeds 1 --steps 50
    python tests/benchmarks/unpaired.py --table               # the table alone

x are digits and y are others, inverted or sheared, so that the true translation of every held-out
digit is known. Its mean absolute difference per pixel stands beside what the generators were
trained for: a cycle can come back at no cost by another map. "No change" is the difference of the
held-out digits themselves. Rows differ in the weight of the rotated views of the critics (DAG).
Training is on few digits, of which every other half is changed. A cell that has been measured is
kept in OUT and not repeated; all of it takes about four hours of one core.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from cells import Cell, Cells, table
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

import ppl_gen
from ppl_gen import metrics, zoo
from ppl_gen.data import Unpaired

HERE = Path(__file__).parent
BATCH, SHEAR = 32, 0.4
MODELS = {"cycle": 0.0, "cycle + DAG": 0.2}


def sheared(x: Tensor) -> Tensor:
    """Italics: rows moved in proportion to their height."""
    map_ = torch.tensor([[1.0, SHEAR, 0.0], [0.0, 1.0, 0.0]]).expand(len(x), 2, 3)
    grid = affine_grid(map_, list(x.shape), align_corners=False)
    return grid_sample(x, grid, align_corners=False).clamp(0, 1)


TASKS: dict[str, Callable[[Tensor], Tensor]] = {"inverted": lambda x: 1 - x, "sheared": sheared}
SHOWN = ("truth", "truth back", "cycle", "FID", "seconds")


def study(task: str, dag: float, images: int, steps: int, seed: int) -> Cell:
    """Train one cycle; how far held-out translations are from the truth."""
    digits, change = ppl_gen.data.mnist(seed=seed), TASKS[task]
    known, held = digits.train.images[:images], digits.test.images
    torch.manual_seed(seed)
    cycle = zoo.cycle_gan(dag=dag)
    data = Unpaired(known[0::2], change(known[1::2]))
    epochs = -(-steps // -(-len(known[0::2]) // BATCH))
    started = time.process_time()
    ppl_gen.fit(cycle, data, epochs=epochs, batch_size=BATCH, seed=seed)
    seconds = time.process_time() - started
    there, truth = cycle.translate(held, "y"), change(held)
    back = cycle.translate(truth, "x")
    return {
        "truth": (there - truth).abs().mean().item(),
        "truth back": (back - held).abs().mean().item(),
        "cycle": (cycle.translate(there, "x") - held).abs().mean().item(),
        "no change": (held - truth).abs().mean().item(),
        "FID": metrics.fid(truth, there).value,
        "extractor": metrics.fid(truth[:2], truth[:2]).extractor,
        "seconds": seconds,
        "steps": epochs * -(-len(known[0::2]) // BATCH),
    }


def shown(values: list[float]) -> str:
    mean = f"{statistics.mean(values):.3g}"
    return mean if len(values) < 2 else f"{mean} ({min(values):.3g} to {max(values):.3g})"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--images", nargs="+", type=int, default=[100, 500])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "unpaired" / "cells.json")
    asked = parser.parse_args()
    cells, rows = Cells(asked.out), []
    for task in asked.tasks:
        for images in asked.images:
            for model in asked.models:
                found = []
                for seed in range(asked.seeds):
                    name = f"{task} {images} {model} {asked.steps} {seed}"
                    make = partial(study, task, MODELS[model], images, asked.steps, seed)
                    cell = cells.get(name) if asked.table else cells.measure(name, make)
                    found += [cell] if cell else []
                if found:
                    columns = [shown([cell[key] for cell in found]) for key in SHOWN]
                    still = f"{found[0]['no change']:.3g}"
                    rows.append([task, str(images), model, *columns, still, str(len(found))])
    print(table(["task", "images", "model", *SHOWN, "no change", "seeds"], rows))


if __name__ == "__main__":
    main()
