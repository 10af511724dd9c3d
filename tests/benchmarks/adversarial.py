"""Games on a ring of 8 normals and a grid of 25: what each remedy does against lost modes.

    python tests/benchmarks/adversarial.py                      # all that is missing, then the page
    python tests/benchmarks/adversarial.py --rows gan "packed 4" --laws ring --seeds 1
    python tests/benchmarks/adversarial.py --page               # the page and its figure alone

Every remedy stands beside the GAN with the remedy switched off, under a baseline that was fixed
beforehand: the critic learns ten times slower than the generator, which makes the plain GAN
collapse; in a second one, where it does not, both learn at one rate. Games cycle between modes,
which final values hide, so beside them stands the worst moment of the second half of training; and
final values are shown with and without averages of the generator's weights.

A run that has finished is a line of ``OUT/LAW-BASELINE.jsonl`` and is not repeated; one that was
stopped begins anew. A run takes 10 to 80 seconds of one core, all by default about two hours.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cells
import torch
from matplotlib.figure import Figure
from mnist_results import Run, Store
from torch import Tensor, optim

import ppl_gen
from ppl_gen import metrics, zoo
from ppl_gen.models.adversarial import Game
from ppl_gen.regularizers import R1
from ppl_gen.training import adam

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "results" / "adversarial_mixtures.md"
HIDDEN, LATENT, SAMPLES, DATA, LOOKS = (128, 128), 16, 2500, 25_600, 20
ROUNDS = 5  # of boosting, among which the cycles are divided


class Law(NamedTuple):
    """An equal mixture of round normals."""

    means: Tensor
    sd: float

    def draw(self, n: int, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        which = torch.randint(len(self.means), (n,), generator=generator)
        return self.means[which] + self.sd * torch.randn(n, 2, generator=generator)


ANGLES = torch.arange(8) * math.pi / 4
LAWS = {
    "ring": Law(2 * torch.stack([ANGLES.cos(), ANGLES.sin()], 1), 0.02),
    "grid": Law(torch.cartesian_prod(*2 * [torch.arange(-4.0, 5.0, 2.0)]), 0.05),
}


class Baseline(NamedTuple):
    """How all games of a table are trained; the critic's rate is a multiple of the generator's."""

    about: str
    batch: int
    slower: float


BASELINES = {
    "slow": Baseline("the critic ten times slower", 128, 0.1),
    "even": Baseline("both players at one rate", 256, 1.0),
}


ADAM = partial(adam, betas=(0.5, 0.999))


@dataclass(frozen=True)
class Row:
    """A named model with a remedy; ``build`` is told the number of cycles."""

    name: str = "gan"
    options: dict[str, Any] = field(default_factory=dict)
    lr: float = 1e-3
    optimizer: Callable[..., Any] = ADAM
    fading: bool = False
    latent: int = LATENT

    def build(self, cycles: int) -> Any:
        more = {"fading": math.ceil(0.8 * cycles)} if self.fading else {}
        options = {"hidden": HIDDEN, **self.options, **more}
        return zoo.registry[self.name].build((2,), self.latent, **options)


ROWS = {
    "gan": Row(),
    "gan, z 2": Row(latent=2),
    "minimax": Row(options={"loss": "minimax"}),
    "hinge": Row(options={"loss": "hinge"}),
    "lsgan": Row("lsgan"),
    "R1": Row(options={"regularizer": R1(0.1)}),
    "5 critic steps": Row(options={"critic_steps": 5}),
    "noise": Row("noisy_gan", {"noise": 0.5}, fading=True),
    "packed 2": Row("packed_gan", {"pack": 2}),
    "packed 4": Row("packed_gan", {"pack": 4}),
    "unrolled 5": Row("unrolled_gan", {"steps": 5}),
    "veegan": Row("veegan"),
    "veegan, z 2": Row("veegan", {"loss": "non_saturating", "symmetric": True}, latent=2),
    "wgan": Row("wgan", {"clip": 0.1}, 5e-4, optim.RMSprop),
    "wgan_gp": Row("wgan_gp", {"penalty": 0.1}, 1e-3, partial(adam, betas=(0.0, 0.9))),
    "adagan": Row("adagan", {"rounds": ROUNDS}),
}
# The rows of the table; the others are variants to ask for.
TABLE = [name for name in ROWS if name not in ("minimax", "hinge", "lsgan", "packed 2")]

COLUMNS = {
    "modes": ("modes", ".1f"),
    "balanced": ("balanced", ".1f"),
    "high_quality": ("high quality", ".3f"),
    "kl": ("KL", ".3f"),
    "sd_ratio": ("sd ratio", ".2f"),
    "sliced": ("sliced W₁", ".3f"),
    "raw_kl": ("KL, no averages", ".3f"),
    "raw_high_quality": ("high quality, no averages", ".3f"),
    "worst_kl": ("worst KL", ".3f"),
    "worst_modes": ("fewest modes", ".1f"),
    "ms": ("ms a cycle", ".1f"),
}
# High-quality shares and modes as published, each with its own baseline and budget.
PUBLISHED = """
Published figures have networks, budgets and baselines of their own, so they compare with ours in
kind alone. Srivastava et al. (2017), means of 5 runs: on the ring GAN 1 mode, Unrolled GAN 7.6
modes with 35.6 % of samples of high quality, VEEGAN 8 with 52.9 %; on the grid 3.3, 23.6 with 16 %
and 24.6 with 40 %. Lin et al. (2018), means of 10 runs: on the ring GAN 6.3 modes, PacGAN2 7.9 with
95.6 %; on the grid 17.3, 23.8 with 91.3 %. Perfect samples score 98.9 %: more is a mode that has
shrunk.
"""


@torch.no_grad()
def glance(game: Game) -> Tensor:
    """Samples from one stream of latents, faster than those of ``sample``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return game.draw(SAMPLES)


def study(row: Row, law: Law, base: Baseline, cycles: int, seed: int, staged: Any) -> Any:
    """Train one game; the game, what it covers along training, and its numbers."""
    torch.manual_seed(seed)
    game, x = row.build(cycles), law.draw(DATA, seed)
    boosted = row.name == "adagan"
    looks: list[metrics.Modes] = []
    away = 0.0

    def look(found: Mapping[str, float]) -> None:
        nonlocal away
        started = time.process_time()
        if not boosted and found["step"] % max(1, cycles // LOOKS) == 0:
            looks.append(metrics.modes(glance(game), law.means, law.sd))
        away += time.process_time() - started

    steps = getattr(game, "critic_steps", 1)
    epochs = math.ceil(cycles * steps * base.batch / DATA / (ROUNDS if boosted else 1))
    rates = {"generator": row.lr, "critic": row.lr * base.slower}
    started = time.process_time()
    history = ppl_gen.fit(
        game,
        x,
        epochs=epochs,
        batch_size=base.batch,
        lr=rates,
        optimizer=row.optimizer,
        ema={"generator": 0.999, "critic": None},
        seed=seed,
        staged=staged,
        progress=False,
        drop_last=True,
        callbacks=[look],
    )
    seconds = time.process_time() - started - away
    drawn = game.sample(SAMPLES, seed=0)
    found = metrics.modes(drawn, law.means, law.sd)
    late = looks[len(looks) // 2 :] or [found]
    numbers = {
        **{name: getattr(found, name) for name in ("modes", "balanced", "high_quality")},
        "kl": found.kl,
        "sd_ratio": found.sd_ratio,
        "sliced": metrics.sliced_wasserstein(drawn, x[:SAMPLES]),
        "raw_kl": late[-1].kl,
        "raw_high_quality": late[-1].high_quality,
        "worst_kl": max(each.kl for each in late),
        "worst_modes": min(each.modes for each in late),
        "ms": 1000 * seconds / history.steps,
    }
    curves = {"kl": [each.kl for each in looks]} if looks else {}
    return Run(game, curves), numbers, {"seconds": seconds}


def stores(out: Path, settings: dict[str, Any]) -> Iterator[tuple[str, str, Store]]:
    for law in LAWS:
        for base in BASELINES:
            yield law, base, Store(out, f"{law}-{base}", settings)


# --- The page -------------------------------------------------------------------------------------


def table(store: Store) -> str:
    """Means over seeds, with the range of the KL and of the worst one."""
    rows = []
    for name, runs in ((name, store.of(name)) for name in ROWS if store.of(name)):
        row = [name, str(len(runs))]
        for key, (_, form) in COLUMNS.items():
            values = [run["numbers"][key] for run in runs]
            finite = [value for value in values if math.isfinite(value)]
            cell = format(statistics.fmean(finite), form) if finite else "–"
            if key in ("kl", "worst_kl") and len(values) > 1:
                cell += f" ({min(values):{form}} to {max(values):{form}})"
            row.append(cell)
        rows.append(row)
    return cells.table(["remedy", "seeds", *(heading for heading, _ in COLUMNS.values())], rows)


def figure(found: list[tuple[str, str, Store]]) -> Figure:
    """Every run's KL at its end with averages, there without them, and at its worst moment."""
    found = [(law, base, store) for law, base, store in found if store.runs]
    columns, rows = min(2, len(found)), math.ceil(len(found) / 2)
    drawn = Figure(figsize=(5.5 * columns, 4.4 * rows), layout="constrained")
    axes = drawn.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for ax in axes.flat[len(found) :]:
        ax.set_axis_off()
    kinds = (("worst_kl", "x", "worst moment"), ("raw_kl", "o", "end"), ("kl", "D", "averages"))
    names = [name for name in ROWS if any(store.of(name) for _, _, store in found)]
    for ax, (law, base, store) in zip(axes.flat, found, strict=False):
        for offset, (key, marker, label) in enumerate(kinds):
            points = [
                (max(run["numbers"][key], 1e-4), row + 0.25 * (offset - 1))
                for row, name in enumerate(names)
                for run in store.of(name)
            ]
            if points:
                ax.plot(*zip(*points, strict=True), marker, ms=4, label=label, alpha=0.7)
        ax.axvline(math.log(len(LAWS[law].means)), color="0.6", lw=0.8)
        ax.set(xscale="log", title=f"{law}, {BASELINES[base].about}")
        ax.set_yticks(range(len(names)), names)
    axes[0, 0].invert_yaxis()  # and with it all that share it
    shown = (zip(*ax.get_legend_handles_labels(), strict=True) for ax in axes.flat)
    handles = {label: line for pairs in shown for line, label in pairs}
    drawn.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=3, fontsize=8)
    for ax in axes[-1]:
        ax.set_xlabel("KL of the modes from the uniform ones; grey: one mode left")
    return drawn


def write_page(out: Path, page: Path, settings: dict[str, Any]) -> None:
    found = [(law, base, store) for law, base, store in stores(out, settings)]
    runs = [run for _, _, store in found for run in store.runs]
    if not runs:
        raise SystemExit(f"expected finished runs in {out}, found none")
    dates = sorted({run["date"] for run in runs})
    days = " to ".join(sorted({dates[0], dates[-1]}))
    hours = sum(run["seconds"] for run in runs) / 3600
    readings = HERE / "results" / "adversarial" / "readings.md"
    parts = [
        "# Mixtures of normals: lost modes and remedies",
        f"`python tests/benchmarks/adversarial.py`, measured {days} with torch "
        f"{runs[0]['versions'].get('torch')}, one core, {hours:.1f} hours of it in all; "
        f"{settings['cycles']:,} cycles a run.",
        *([readings.read_text().strip()] if readings.exists() else []),
        " ".join((__doc__ or "").split("\n\n")[2].split()),
        f"Both networks have two hidden layers of {HIDDEN[0]}, rectified and leaky, and the latent "
        f"{LATENT} dimensions, 2 where a row says so. Of {SAMPLES:,} samples: *modes* have one "
        "within three standard deviations, *balanced* ones a fifth of a fair share; *high quality* "
        "is the share within three standard deviations of a mean, *KL* that of the histogram of "
        "nearest modes from the uniform one, *sd ratio* the width of the modes over the true one "
        "where any are drawn. In brackets: the range over seeds.",
        f"![KL of every run]({page.stem}.png)",
    ]
    for law, base, store in found:
        if store.runs:
            of = LAWS[law]
            what = f"{law} of {len(of.means)}, standard deviation {of.sd}"
            parts.append(f"## {what.capitalize()}; {BASELINES[base].about}")
            parts.append(f"Batches of {BASELINES[base].batch}.")
            parts.append(table(store))
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n\n".join([*parts, PUBLISHED.strip()]) + "\n")
    figure(found).savefig(page.with_suffix(".png"), dpi=110)
    print(f"wrote {page} and its figure")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=TABLE)
    parser.add_argument("--laws", nargs="+", choices=LAWS, default=list(LAWS))
    parser.add_argument("--baselines", nargs="+", choices=BASELINES, default=list(BASELINES))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cycles", type=int, default=5000)
    parser.add_argument("--eager", action="store_true", help="do not compile the steps")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "adversarial")
    parser.add_argument("--page", action="store_true", help="write the page of what there is")
    parser.add_argument("--to", type=Path, default=PAGE, help="the page")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    settings = {"cycles": arguments.cycles, "data": DATA, "samples": SAMPLES}
    staged = False if arguments.eager else "auto"
    for law, base, store in stores(arguments.out, settings):
        if arguments.page or law not in arguments.laws or base not in arguments.baselines:
            continue
        for seed, name in store.missing(arguments.rows, arguments.seeds):
            found = study(ROWS[name], LAWS[law], BASELINES[base], arguments.cycles, seed, staged)
            run, numbers, about = found
            store.add(name, seed, run, numbers, about)
            told = ", ".join(f"{key} {value:.3g}" for key, value in numbers.items())
            print(f"{law}, {base}, {name}, seed {seed}: {told}", flush=True)
    write_page(arguments.out, arguments.to, settings)


if __name__ == "__main__":
    main()
