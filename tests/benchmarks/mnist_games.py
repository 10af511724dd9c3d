"""Games of MNIST beside a VAE with the same generator network: FID along training, and its time.

    OMP_NUM_THREADS=1 python tests/benchmarks/mnist_games.py                # what is missing
    OMP_NUM_THREADS=1 python tests/benchmarks/mnist_games.py --rows gan wgan --seeds 1
    python tests/benchmarks/mnist_games.py --rows gan --seeds 1 --scale 0.01 --out t --to t/page.md
    python tests/benchmarks/mnist_games.py --page                           # page and figures alone

All but one row have the generator network of ``zoo.gan``, 64 latent dimensions and batches of 64; a
row has as many cycles as take one to two minutes of a busy core, four of the GAN ten to forty, and
FID is measured, under averaged weights where there are averages, five times on the way or more.
Seconds are those of the processor on one core, of compilers that ``fit`` started too, and without
the measuring. A run that has finished is a line of ``OUT/games.jsonl`` and is not repeated; one
that was stopped begins anew.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import cells
import numpy as np
import torch
from matplotlib.figure import Figure
from mnist_results import Run, Store
from torch import Tensor, nn, optim
from torch.nn.functional import cross_entropy

import ppl_gen
from ppl_gen import critics, metrics, networks, plot, zoo
from ppl_gen.data import Split
from ppl_gen.metrics.features import digit_classifier
from ppl_gen.regularizers import R1
from ppl_gen.training.players import adam

HERE = Path(__file__).parent
REFERENCE = HERE.parent / "data"
PAGE = HERE.parents[1] / "docs" / "results" / "mnist_games.md"
SHAPE, LATENT, BATCH, LOOKS, SHOWN = (1, 28, 28), 64, 64, 5, 32
SIDE = 6  # models beside each other in the figure of samples
EQUAL = (50.0, 100.0, 600.0)  # seconds at which rows are compared
ADAM = partial(adam, betas=(0.5, 0.999))


def vae() -> ppl_gen.VAE:
    """The generator network of the games as a decoder, and the critic's body as an encoder."""
    body = networks.ConvFeatures(SHAPE)
    encoder = nn.Sequential(body, nn.Linear(body.num_features, 2 * LATENT))
    decoder = networks.growing("auto", LATENT, None, SHAPE)
    return zoo.vae(SHAPE, LATENT, encoder=encoder, decoder=decoder)


@dataclass(frozen=True)
class Row:
    """How to build a model and to train it: cycles, and what ``fit`` is told besides."""

    about: str
    build: Callable[[], Any]
    cycles: int
    fit: Mapping[str, Any] = field(default_factory=dict)
    looks: int = LOOKS


ROWS = {
    "gan": Row("its defaults", partial(zoo.gan, SHAPE, LATENT), 720),
    "gan, half an hour": Row("its defaults", partial(zoo.gan, SHAPE, LATENT), 20_000, looks=20),
    "gan, falling": Row(
        "its defaults, rates falling to 0",
        partial(zoo.gan, SHAPE, LATENT),
        6600,
        {"scheduler": "falling"},
        looks=8,
    ),
    "gan, R1": Row(
        "R1 of 1 and Adam at 1e-3, else its defaults",
        partial(zoo.gan, SHAPE, LATENT, regularizer=R1(1.0)),
        6000,
        {"lr": 1e-3},
        looks=15,
    ),
    "gan, R1, falling": Row(
        "R1 of 1 and rates falling to 0, else its defaults",
        partial(zoo.gan, SHAPE, LATENT, regularizer=R1(1.0)),
        16_000,
        {"scheduler": "falling"},
        looks=16,
    ),
    "wgan, the source's": Row(
        "clip 0.01, RMSprop at 1e-3, 5 critic steps",
        partial(zoo.wgan, SHAPE, LATENT),
        450,
        {"lr": 1e-3, "optimizer": optim.RMSprop},
    ),
    "gan, the source's": Row(
        "an 8×8 map of noise and two pixel shuffles, Adam at 1e-4, no averages",
        partial(zoo.gan, SHAPE, LATENT, network="map"),
        1800,
        {"lr": 1e-4, "ema": None},
    ),
    "vae": Row("Adam at 1e-3, averages of 0.999", vae, 600, {"lr": 1e-3, "ema": 0.999}),
    "ssgan": Row("its defaults: rotations, α 1 and 0.2", partial(zoo.ssgan, SHAPE, LATENT), 280),
    "wgan_gp": Row(
        "penalty 10, Adam at 5e-4, β = (0, 0.9), 3 critic steps, averages of 0.999",
        partial(zoo.wgan_gp, SHAPE, LATENT, critic_steps=3),
        120,
        {
            "lr": 5e-4,
            "optimizer": partial(adam, betas=(0.0, 0.9)),
            "ema": {"generator": 0.999, "critic": None},
        },
    ),
    "dag_gan": Row("its defaults: four rotations, λ 0.2", partial(zoo.dag_gan, SHAPE, LATENT), 160),
    "gan, Adam 1e-4": Row("else its defaults", partial(zoo.gan, SHAPE, LATENT), 1200, {"lr": 1e-4}),
}


class Watch:
    """FID of a model's samples, and the seconds of training before each measure."""

    def __init__(self, real: Tensor):
        self.real, self.away, self.fid, self.at = real, 0.0, [], []
        self.begun = cells.cpu()

    def __call__(self, model: Any) -> float:
        started = cells.cpu()
        self.at.append(started - self.begun - self.away)
        self.fid.append(metrics.fid(self.real, model.sample(len(self.real), seed=0)).value)
        self.away += cells.cpu() - started
        return self.fid[-1]


def alone(digits: Split, cycles: int) -> float:
    """How well a critic's network learns the angle by itself, from as many digits, in per cent."""
    asking = critics.Rotations(critics.default(SHAPE, None, "auto"))
    optimizer = optim.Adam(asking.parameters(), 5e-4, (0.5, 0.999))
    for _ in range(cycles):
        some = digits.train.images[torch.randint(len(digits.train), (BATCH // 4,))]
        views, turns = asking.rotated(some)
        optimizer.zero_grad()
        cross_entropy(asking.angle(asking.features(views)), turns).backward()
        optimizer.step()
    return 100 * asking.accuracy(digits.test.images).item()


def study(row: Row, digits: Split, scale: float, seed: int) -> tuple[Run, dict[str, float]]:
    """Train a row; its curves and what its samples are like in the end."""
    torch.manual_seed(seed)
    model, real = row.build(), digits.test.images
    steps = getattr(model, "critic_steps", 1)
    cycles = max(row.looks, round(scale * row.cycles))
    an_epoch = len(digits.train) // BATCH // steps
    train = digits.train
    if cycles < an_epoch:
        train, an_epoch = train.subset(slice(0, cycles * BATCH * steps)), cycles
    every, watch = max(1, cycles // row.looks), Watch(real)
    ppl_gen.fit(
        model,
        train,
        epochs=-(-cycles // an_epoch),
        batch_size=BATCH,
        seed=seed,
        drop_last=True,
        metrics={"fid": watch},
        evaluate_every=every,
        progress=False,
        **row.fit,
    )
    usual = statistics.median(b - a for a, b in pairwise(watch.at))
    drawn = model.sample(len(real), seed=0)
    near, classes = metrics.neighbours(real, drawn), metrics.digit_classes(real, drawn)
    numbers = {
        "fid": watch.fid[-1],
        "lowest": min(watch.fid),
        "precision": near.precision,
        "recall": near.recall,
        "density": near.density,
        "coverage": near.coverage,
        "confident": classes.confident,
        "class_kl": classes.kl,
        "cycles": every * len(watch.fid),
        "ms": 1000 * usual / every,
        "beside": max(0.0, watch.at[0] - usual),
        "seconds": watch.at[-1],
    }
    if hasattr(model, "critic") and hasattr(model.critic, "accuracy"):
        numbers["angles"] = 100 * model.critic.accuracy(real).item()
        numbers["angles_train"] = 100 * model.critic.accuracy(train.images[: len(real)]).item()
        numbers["angles_alone"] = alone(digits, cycles)
    # Curves are of the first seed where the store keeps them; these are short and wanted of all.
    return Run(model), numbers | {
        f"fid at {at:.0f} s": value for at, value in zip(watch.at, watch.fid, strict=True)
    }


# --- The page -------------------------------------------------------------------------------------

COLUMNS = {
    "cycles": ("cycles", ".0f"),
    "ms": ("ms a cycle", ".0f"),
    "seconds": ("seconds in all", ".0f"),
    "beside": ("of these beside cycles", ".0f"),
    **{f"after {at:.0f}": (f"FID after {at:.0f} s", ".2f") for at in EQUAL},
    "fid": ("FID", ".2f"),
    "precision": ("precision", ".2f"),
    "recall": ("recall", ".2f"),
    "coverage": ("coverage", ".2f"),
    "confident": ("confident", ".2f"),
    "class_kl": ("class KL", ".3f"),
}


def curve(run: Mapping[str, Any]) -> tuple[list[float], list[float]]:
    """Seconds, and FID after them."""
    found = [
        (float(key.split()[2]), value)
        for key, value in run["numbers"].items()
        if key.startswith("fid at")
    ]
    return [at for at, _ in found], [value for _, value in found]


def after(run: Mapping[str, Any], seconds: float) -> float:
    """FID after so many seconds, between measures on a line of its logarithm."""
    at, values = curve(run)
    return float(np.exp(np.interp(seconds, at, np.log(values), np.nan, np.nan)))


def shown(runs: list[dict[str, Any]], key: str, form: str) -> str:
    if key.startswith("after "):
        values = [after(run, float(key.split()[1])) for run in runs]
    else:
        values = [run["numbers"][key] for run in runs]
    if not np.isfinite(values).all():
        return "–"  # training ended before
    mean = format(statistics.fmean(values), form)
    if len(values) < 2 or not key.startswith(("after", "fid", "confident", "class_kl")):
        return mean
    return f"{mean} ({min(values):{form}} to {max(values):{form}})"


def table(store: Store) -> str:
    rows = [
        [name, str(len(runs)), *(shown(runs, key, form) for key, (_, form) in COLUMNS.items())]
        for name in ROWS
        if (runs := store.of(name))
    ]
    return cells.table(["model", "seeds", *(heading for heading, _ in COLUMNS.values())], rows)


def figures(store: Store, page: Path) -> None:
    """FID against seconds of the processor, and samples of the first seed."""
    names = [name for name in ROWS if store.of(name)]
    drawn = Figure(figsize=(7.5, 4.5), layout="constrained")
    ax = drawn.subplots()
    for rank, name in enumerate(names):
        for i, run in enumerate(store.of(name)):
            label = name if i == 0 else None
            look = {"color": f"C{rank % 10}", "ls": "-" if rank < 10 else "--"}
            ax.plot(*curve(run), marker="o", ms=3, lw=1.2, label=label, **look)
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="seconds of the processor, compiling included",
        ylabel="FID",
    )
    low, high = ax.get_ylim()
    ticks = [tick for tick in (1, 2, 3, 5, 10, 20, 50, 100) if low < tick < high]
    ax.set_yticks(ticks, map(str, ticks))
    ax.set_xticks(ticks := (10, 30, 100, 300, 1000), map(str, ticks))
    ax.minorticks_off()
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize="small")
    drawn.savefig(page.with_suffix(".png"), dpi=110)
    kept = [name for name in names if store.pictures(name).exists()]
    rows = -(-len(kept) // SIDE)
    drawn = Figure(figsize=(1.8 * SIDE, 3.3 * rows), layout="constrained")
    axes = np.ravel(drawn.subplots(rows, SIDE))
    for ax in axes[len(kept) :]:
        ax.set_axis_off()
    for ax, name in zip(axes, kept, strict=False):
        with np.load(store.pictures(name)) as found:
            images = torch.from_numpy(found["samples"]).float() / 255
        plot.images(images, ax, columns=4)
        ax.set_title(name, fontsize="medium")
    drawn.savefig(page.with_name(f"{page.stem}_samples.png"), dpi=110)


def keep_pictures(store: Store, name: str, model: Any) -> None:
    images = (255 * model.sample(SHOWN, seed=1).clamp(0, 1)).byte().numpy()
    store.folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(store.pictures(name), samples=images)


def write_page(store: Store, page: Path, digits: Split) -> None:
    if not store.runs:
        raise SystemExit(f"expected finished runs in {store.folder}, found none")
    dates, about = sorted({run["date"] for run in store.runs}), store.runs[0]
    if len(extractors := {run["extractor"] for run in store.runs}) > 1:
        raise SystemExit(f"expected distances by one extractor, got {sorted(extractors)}")
    hours = sum(run["numbers"]["seconds"] for run in store.runs) / 3600
    beside = f"{about['confident_real']:.2f} of test images"
    days = " to ".join(sorted({dates[0], dates[-1]}))
    parts = [
        "# Games of MNIST",
        f"`python tests/benchmarks/mnist_games.py`, measured {days} with torch "
        f"{about['versions'].get('torch')}, one core of a busy machine, {hours:.1f} hours of it; "
        f"{len(digits.train):,} training and {len(digits.test):,} test images.",
        " ".join((__doc__ or "").split("\n\n")[2].split()),
        f"FID of {len(digits.test):,} samples in the features of {about['extractor']}; as many "
        f"training images have {about['fid_of_training_images']:.2f}. Precision, recall and "
        "coverage in the same features, of the 3rd, 3rd and 5th neighbour. *Confident* is the "
        f"share of samples that are some digit with a probability above 0.9, {beside}; *class KL* "
        "is that of the histogram of digits. FID at equal times is read off between "
        "measures. *Beside cycles* are mostly the seconds of compiling, "
        "on a first run. In brackets: the range over seeds.",
        table(store),
        "\n".join(f"- {name}: {row.about}" for name, row in ROWS.items() if store.of(name)),
    ]
    if asked := [run["numbers"] for run in store.of("ssgan")]:
        angles = (
            statistics.fmean(n[f"angles{k}"] for n in asked) for k in ("", "_train", "_alone")
        )
        here, train, alone = angles
        parts.append(
            f"SSGAN's critic tells the angle of {here:.1f} % of held-out digits and of "
            f"{train:.1f} % of training ones; trained on angles alone for as many steps, the same "
            f"network tells {alone:.1f} % of held-out ones."
        )
    parts.append(f"![FID along training]({page.stem}.png)")
    parts.append(f"![Samples, not chosen]({page.stem}_samples.png)")
    readings = HERE / "results" / "mnist_games" / "readings.md"
    if readings.exists():
        parts.insert(3, readings.read_text().strip())
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n\n".join(parts) + "\n")
    figures(store, page)
    print(f"wrote {page} and its figures")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of cycles")
    parser.add_argument("--data", type=Path, default=REFERENCE, help="a folder of IDX files")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "mnist_games")
    parser.add_argument("--page", action="store_true", help="write the page of what there is")
    parser.add_argument("--to", type=Path, default=PAGE, help="the page")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    digits = ppl_gen.data.mnist(asked.data)
    settings = {"images": digits.train.name, "scale": asked.scale, "batch": BATCH}
    store = Store(asked.out, "games", settings)
    for seed, name in () if asked.page else store.missing(asked.rows, asked.seeds):
        run, numbers = study(ROWS[name], digits, asked.scale, seed)
        real, some = digits.test.images, digits.train.images[: len(digits.test)]
        about = {
            "extractor": digit_classifier().name,
            "fid_of_training_images": metrics.fid(real, some).value,
            "confident_real": metrics.digit_classes(real, some).confident_real,
        }
        if seed == 0:
            keep_pictures(store, name, run.vae)
        store.add(name, seed, run, numbers, about)
        told = ", ".join(f"{key} {value:.3g}" for key, value in numbers.items())
        print(f"{name}, seed {seed}: {told}", flush=True)
    write_page(store, asked.to, digits)


if __name__ == "__main__":
    main()
