"""Translations between digits and changed digits without pairs, beside the true translation.

    python tests/benchmarks/unpaired.py                       # all that is missing, then the page
    python tests/benchmarks/unpaired.py --tasks inverted --models cycle --steps 50 --out t/cells
    python tests/benchmarks/unpaired.py --page                # the page and its figure alone

x are digits and y are others, inverted or sheared, so that the true translation of every held-out
digit is known. Its mean absolute difference per pixel stands beside what the generators were
trained for: a cycle can come back at no cost by another map. "No change" is the difference of the
held-out digits themselves. Rows differ in the weight of the rotated views of the critics (DAG).
Training is on few digits, of which every other half is changed, by Adam at 1e-3. Seconds are those
of the processor. A cell that has been measured is kept in OUT and not repeated; a run takes about a
minute of one core, and more seeds and longer runs are asked for by ``--seeds`` and ``--steps``.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from cells import Cell, Cells, cpu, table, write_page
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

import ppl_gen
from ppl_gen import metrics, plot, zoo
from ppl_gen.data import Unpaired

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "results" / "unpaired.md"
BATCH, RATE, SHEAR, COLUMNS = 32, 1e-3, 0.4, 10
MODELS = {"cycle": 0.0, "cycle + DAG": 0.2}


def sheared(x: Tensor) -> Tensor:
    """Italics: rows moved in proportion to their height."""
    map_ = torch.tensor([[1.0, SHEAR, 0.0], [0.0, 1.0, 0.0]]).expand(len(x), 2, 3)
    grid = affine_grid(map_, list(x.shape), align_corners=False)
    return grid_sample(x, grid, align_corners=False).clamp(0, 1)


TASKS: dict[str, Callable[[Tensor], Tensor]] = {"inverted": lambda x: 1 - x, "sheared": sheared}
SHOWN = ("truth", "truth back", "cycle", "FID", "seconds")


def pictures(out: Path, task: str, model: str) -> Path:
    """The file of held-out digits, their translations and the truth."""
    return out.parent / f"{task}-{model}.npz".replace(" ", "")


def study(task: str, model: str, images: int, steps: int, seed: int, out: Path) -> Cell:
    """Train one cycle; how far held-out translations are from the truth."""
    digits, change = ppl_gen.data.mnist(seed=seed), TASKS[task]
    known, held = digits.train.images[:images], digits.test.images
    torch.manual_seed(seed)
    cycle = zoo.cycle_gan(dag=MODELS[model])
    data = Unpaired(known[0::2], change(known[1::2]))
    epochs = -(-steps // -(-len(known[0::2]) // BATCH))
    started = cpu()
    ppl_gen.fit(cycle, data, epochs=epochs, batch_size=BATCH, seed=seed, lr=RATE, progress=False)
    seconds = cpu() - started
    there, truth = cycle.translate(held, "y"), change(held)
    back = cycle.translate(truth, "x")
    if seed == 0:
        shown = (255 * torch.cat([part[:COLUMNS] for part in (held, there, truth)])).byte()
        out.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(pictures(out, task, model), shown=shown.numpy())
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
    parser.add_argument("--images", nargs="+", type=int, default=[200])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--page", action="store_true", help="measure nothing")
    parser.add_argument("--to", type=Path, default=PAGE, help="the page")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "unpaired" / "cells.json")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    cells, rows, dates = Cells(asked.out), [], set()
    for task in asked.tasks:
        for images in asked.images:
            for model in asked.models:
                found = []
                for seed in range(asked.seeds):
                    name = f"{task} {images} {model} {asked.steps} {seed}"
                    make = partial(study, task, model, images, asked.steps, seed, asked.out)
                    cell = cells.get(name) if asked.page else cells.measure(name, make)
                    found += [cell] if cell else []
                if found:
                    columns = [shown([cell[key] for cell in found]) for key in SHOWN]
                    still = f"{found[0]['no change']:.3g}"
                    rows.append([task, str(images), model, *columns, still, str(len(found))])
                    dates |= {cell["date"] for cell in found}
    text = table(["task", "images", "model", *SHOWN, "no change", "seeds"], rows)
    title = "Translations without pairs"
    write_page(asked.to, title, __file__, __doc__ or "", sorted(dates), text, drawn(asked.out))


def drawn(out: Path) -> Figure:
    """Held-out digits, what the last translation of each kind makes of them, and the truth."""
    kept = [(t, m) for t in TASKS for m in MODELS if pictures(out, t, m).exists()]
    figure = Figure(figsize=(9, 1.5 * len(kept)), layout="constrained")
    axes = (
        np.ravel(figure.subplots(-(-len(kept) // 2), 2)) if len(kept) > 1 else [figure.subplots()]
    )
    for ax, (task, model) in zip(axes, kept, strict=False):
        with np.load(pictures(out, task, model)) as found:
            plot.images(torch.from_numpy(found["shown"]).float() / 255, ax, columns=COLUMNS)
        ax.set_title(f"{task}, {model}: digits, translated, truth", fontsize="medium")
    return figure


if __name__ == "__main__":
    main()
