r"""Disentanglement on sprites: the MIG of five models along training, several seeds each.

    python tests/benchmarks/sprites.py --minutes 100   # train what is missing, then show everything
    python tests/benchmarks/sprites.py --table         # show what there is

A run is a model with a seed. It trains in a process of its own on one thread, writes checkpoints,
and stops with one when the minutes are over; the next call continues it bit for bit. Each run
leaves a small JSON file in the folder of results: its settings, versions and CPU seconds, its MIG
along training, and at its end the MIG by both protocols with the rate and the distortion. The table
(Markdown) and the figure are made of those files alone, so results of several machines may be put
together.

β is stated as in the source, for images of 64 × 64 and a likelihood summed over their 4,096 pixels.
At another side s the weight of the KL is β (s / 64)², which keeps β times latents over pixels, the
normalised β of Higgins et al. (2017): at 32 × 32, where a step takes half the time, it is β / 4.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

import ppl_gen
from ppl_gen import VAE, metrics, zoo
from ppl_gen.data import Sprites, sprites
from ppl_gen.networks import MLP
from ppl_gen.objectives import ELBO
from ppl_gen.schedules import PIController

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).resolve().parent / "results" / "sprites"
SOURCE = {"β = 1": 0.001, "β = 8": 0.143, "β = 20": 0.376}
LITERATURE = 0.5
COLUMNS = [
    "model",
    "MIG (Chen)",
    "best seed",
    "MIG (Locatello)",
    "rate",
    "distortion",
    "active units",
    "seeds",
    "CPU seconds a run",
    "MIG of the source",
]
HELD_OUT = 2_048
CHUNK = 2_048  # images drawn at a time
POINTS = 20  # of the curve of a run
WATCHED = {"num_images": 10_000, "num_samples": 400}


class RisingSetPoint(PIController):
    r"""The controller of ControlVAE with a set point that rises linearly, then stays.

    It starts at the largest weight that training needs, as if the integral had settled there.

    Args:
        first: the set point at the start, in nats.
        last: the set point after ``rise`` steps.
        rise: a number of steps.
        start: the weight at the start.
        gains: as of :class:`PIController`.
    """

    def __init__(self, first: float, last: float, rise: int, start: float, **gains: float):
        super().__init__(first, **gains)
        self.first, self.last, self.rise = first, last, rise
        self.accumulated.fill_(start)
        self.value.fill_(start)

    def at(self, step: Tensor, metrics: Mapping[str, Tensor]) -> Tensor:
        share = min(1.0, int(step) / self.rise)
        self.target = self.first + (self.last - self.first) * share
        return super().at(step, metrics)


@dataclass(frozen=True)
class Settings:
    """What determines a run besides its model and seed."""

    size: int = 32
    steps: int = 40_000
    batch_size: int = 128
    lr: float = 5e-4
    training_images: int = 102_400
    encoder: tuple[int, ...] = (128, 256)
    decoder: tuple[int, ...] = (256, 256, 128)
    latents: int = 10

    @property
    def scale(self) -> float:
        """What a β at 64 × 64 is multiplied by."""
        return (self.size / 64) ** 2

    @property
    def parts(self) -> dict[str, Any]:
        shape = (1, self.size, self.size)
        return {
            "data_shape": shape,
            "latent_dim": self.latents,
            "hidden": self.encoder,
            "decoder": MLP([(self.latents,)], self.decoder, shape),
        }


def beta(weight: float) -> Callable[[Settings], VAE]:
    """The β-VAE of one β."""
    return lambda s: zoo.beta_vae(beta=weight * s.scale, **s.parts)


def control(s: Settings) -> VAE:
    """ControlVAE: the set point rises from 3 to 9 nats during four fifths of the training."""
    rise = s.steps * 4 // 5
    controller = RisingSetPoint(3.0, 9.0, rise, 80 * s.scale, maximum=1_600 * s.scale)
    return zoo.vae(objective=ELBO(weight=controller), **s.parts)


def total_correlation(s: Settings) -> VAE:
    """The β-TCVAE with β = 32."""
    return zoo.tc_vae(beta=32 * s.scale, num_data=s.training_images, **s.parts)


MODELS: dict[str, Callable[[Settings], VAE]] = {
    "β = 1": beta(1.0),
    "β = 8": beta(8.0),
    "β = 20": beta(20.0),
    "ControlVAE": control,
    "β-TCVAE": total_correlation,
}


# --- One run ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """A model with a seed: where it is kept, and until when it may train."""

    model: str
    seed: int
    settings: Settings
    checkpoints: Path
    results: Path
    deadline: float

    @property
    def name(self) -> str:
        plain = self.model.lower().replace("β", "beta").replace(" = ", "-")
        return f"{plain}-seed{self.seed}"

    @property
    def result(self) -> Path:
        return self.results / f"{self.name}.json"

    def record(self) -> dict[str, Any]:
        """What is known of the run so far."""
        stated = json.loads(json.dumps(asdict(self.settings)))
        if not self.result.exists():
            return {"model": self.model, "seed": self.seed, "settings": stated, "curve": []}
        record: dict[str, Any] = json.loads(self.result.read_text())
        if record["settings"] != stated:
            raise ValueError(f"expected {stated} in {self.result}, got {record['settings']}")
        return record

    def write(self, record: Mapping[str, Any]) -> None:
        temporary = self.result.with_suffix(".part")
        temporary.write_text(json.dumps(record, ensure_ascii=False) + "\n")
        os.replace(temporary, self.result)


class Watch:
    """Measures a model during its training, and stops it at the deadline.

    The weight's own count of steps is part of the checkpoint, so it tells where a run continued.
    What was recorded after the checkpoint will be measured again.
    """

    def __init__(self, run: Run, record: dict[str, Any], vae: VAE, grid: Sprites):
        self.run, self.record, self.vae, self.grid = run, record, vae, grid
        self.weight = vae.objective.weight
        self.since = 0.0
        self.every = run.settings.steps // POINTS

    @property
    def step(self) -> int:
        return int(self.weight.steps)

    def __call__(self, found: Mapping[str, float]) -> None:
        step, late = self.step, time.time() > self.run.deadline
        if not self.since:
            kept = [point for point in self.record["curve"] if point["step"] < step]
            self.record["curve"] = kept
            self.since = time.process_time() - (kept[-1]["seconds"] if kept else 0.0)
        if late or step % self.every == 0:
            point = {"step": step, "seconds": round(time.process_time() - self.since, 1)}
            score = metrics.mig(self.vae, self.grid, "chen", **WATCHED).score
            point |= {"mig": round(score, 4), "weight": round(float(self.weight.value), 4)}
            point |= {name: round(found[name], 2) for name in ("kl", "reconstruction")}
            self.record["curve"].append(point)
            self.run.write(self.record)
        if late:
            signal.raise_signal(signal.SIGINT)


def train(run: Run) -> str:
    """Train until the end or the deadline; says what came of it."""
    torch.set_num_threads(1)
    record, settings = run.record(), run.settings
    if "final" in record:
        return f"{run.name}: already there"
    if time.time() > run.deadline:
        return f"{run.name}: no time left"
    grid = sprites(settings.size)
    generator = torch.Generator().manual_seed(run.seed)
    images, held_out = (
        torch.cat([grid.tensor(CHUNK, generator) for _ in range(count // CHUNK)])
        for count in (settings.training_images, HELD_OUT)
    )
    torch.manual_seed(run.seed)
    vae = MODELS[run.model](settings)
    watch = Watch(run, record, vae, grid)
    try:
        ppl_gen.fit(
            vae,
            images,
            epochs=settings.steps * settings.batch_size // settings.training_images,
            batch_size=settings.batch_size,
            lr=settings.lr,
            seed=run.seed,
            staged=True,
            progress=False,
            checkpoint=run.checkpoints / f"{run.name}.pt",
            checkpoint_every=watch.every,
            resume=True,
            callbacks=[watch],
            scheduler=lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, settings.steps),
        )
    except KeyboardInterrupt:
        return f"{run.name}: stopped after {watch.step:,} of {settings.steps:,} steps"
    record["final"] = measured(vae, grid, held_out)
    packages = {name: version(name) for name in ("torch", "pyro-ppl")}
    record["versions"] = {"ppl_gen": ppl_gen.__version__} | packages
    record["ended"] = datetime.now(UTC).date().isoformat()
    run.write(record)
    return f"{run.name}: {record['final']}"


def measured(vae: VAE, grid: Sprites, held_out: Tensor) -> dict[str, Any]:
    """The MIG by both protocols, with the gap of each factor, and what the code costs."""
    found: dict[str, Any] = {}
    for protocol in ("chen", "locatello"):
        mig = metrics.mig(vae, grid, protocol)
        found[protocol] = round(mig.score, 4)
        found[f"{protocol}_gaps"] = {name: round(gap, 4) for name, gap in mig.gaps.items()}
    cost = metrics.rate_distortion(vae, held_out)
    found |= {"rate": round(cost.rate, 3), "distortion": round(cost.distortion, 3)}
    return found | {"active_units": cost.active_units}


# --- All of them -----------------------------------------------------------------------------


def finished(results: Path) -> list[dict[str, Any]]:
    """The records of the runs that ended, in the order of the models and seeds."""
    records = [json.loads(path.read_text()) for path in results.glob("*.json")]
    order = list(MODELS)
    ended = [record for record in records if "final" in record]
    return sorted(ended, key=lambda record: (order.index(record["model"]), record["seed"]))


def by_model(records: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    grouped: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        grouped.setdefault(record["model"], []).append(record)
    return grouped


def spread(numbers: Sequence[float], digits: int = 3) -> str:
    """Mean and, of several, standard deviation."""
    text = f"{statistics.fmean(numbers):.{digits}f}"
    return text if len(numbers) == 1 else f"{text} ± {statistics.stdev(numbers):.{digits}f}"


def table(records: Sequence[dict[str, Any]]) -> str:
    """The table of the README, with what it was measured with and how it compares."""
    lines = [COLUMNS, ["---"] * len(COLUMNS)]
    means: dict[str, float] = {}
    for model, group in by_model(records).items():
        final = {name: [r["final"][name] for r in group] for name in group[0]["final"]}
        means[model] = statistics.fmean(final["chen"])
        lines.append(
            [
                model,
                spread(final["chen"]),
                f"{max(final['chen']):.3f}",
                spread(final["locatello"]),
                spread(final["rate"], 1),
                spread(final["distortion"], 1),
                spread(final["active_units"], 1),
                ", ".join(str(r["seed"]) for r in group),
                spread([r["curve"][-1]["seconds"] for r in group], 0),
                str(SOURCE.get(model, "")),
            ]
        )
    rows = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return "\n\n".join([rows, budget(records), comparison(records, means)])


def budget(records: Sequence[dict[str, Any]]) -> str:
    """What the runs were made with."""
    settings, versions = records[-1]["settings"], records[-1]["versions"]
    if any(r["settings"] != settings for r in records):
        raise ValueError("expected results of one budget, got several")
    tools = ", ".join(f"{name} {number}" for name, number in versions.items())
    encoder, decoder = ("-".join(map(str, settings[part])) for part in ("encoder", "decoder"))
    days = sorted({r["ended"] for r in records})
    return (
        f"{' to '.join(sorted({days[0], days[-1]}))}, {tools}. "
        f"Images {settings['size']} × {settings['size']}, {settings['training_images']:,} of the "
        f"grid; MLPs {encoder} and {decoder} around {settings['latents']} latents; "
        f"Bernoulli likelihood summed over pixels; {settings['steps']:,} steps of "
        f"{settings['batch_size']} images; Adam, learning rate {settings['lr']:g} falling to 0 as "
        "a cosine; one thread a run."
    )


def comparison(records: Sequence[dict[str, Any]], means: Mapping[str, float]) -> str:
    """Whether the source's order holds, and how far the best model is."""
    sentences = []
    scores = {(r["model"], r["seed"]): r["final"]["chen"] for r in records}
    seeds = [s for s in sorted({s for _, s in scores}) if all((m, s) in scores for m in SOURCE)]
    if seeds:
        ours = [[scores[model, seed] for model in SOURCE] for seed in seeds]
        mean = [statistics.fmean(column) for column in zip(*ours, strict=True)]
        held = sum(row == sorted(row) for row in ours)
        sentences.append(
            f"The source's order for β = 1, 8, 20, {' < '.join(map(str, SOURCE.values()))}, is "
            f"{'confirmed' if mean == sorted(mean) else 'refuted'} by the means of the seeds that "
            f"all three have, {', '.join(f'{x:.3f}' for x in mean)}, and holds in {held} of these "
            f"{len(seeds)} seeds."
        )
    best = max(records, key=lambda record: record["final"]["chen"])
    model = max(means, key=lambda name: means[name])
    sentences.append(
        f"Best on average: {model}, {means[model]:.3f}; best run: {best['model']}, seed "
        f"{best['seed']}, {best['final']['chen']:.3f} (source {max(SOURCE.values())}, literature "
        f"about {LITERATURE})."
    )
    return " ".join(sentences)


def figure(records: Sequence[dict[str, Any]]) -> Figure:
    """The MIG against training steps: a thin line per seed, a thick one for their mean."""
    drawn = Figure(figsize=(7, 4.5), layout="constrained")
    ax = drawn.subplots()
    for colour, (model, group) in enumerate(by_model(records).items()):
        curves = [
            tuple([p[key] for p in record["curve"]] for key in ("step", "mig")) for record in group
        ]
        for curve in curves:
            ax.plot(*curve, color=f"C{colour}", lw=0.5, alpha=0.6)
        steps = curves[0][0]
        mean = np.mean([np.interp(steps, *curve) for curve in curves], axis=0)
        ax.plot(steps, mean, color=f"C{colour}", lw=2, label=model)
    for level, name in ((max(SOURCE.values()), "source, β = 20"), (LITERATURE, "literature")):
        ax.axhline(level, color="grey", lw=0.8, ls="--")
        place = (0.01, level)
        ax.text(*place, name, transform=ax.get_yaxis_transform(), va="bottom", color="grey")
    ax.set(xlabel="training steps", ylabel="MIG (Chen et al. 2018)", ylim=(0, None))
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return drawn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--minutes", type=float, default=100, help="when to stop, with checkpoints")
    parser.add_argument("--workers", type=int, default=2, help="runs at a time, a thread each")
    parser.add_argument("--steps", type=int, default=Settings.steps)
    parser.add_argument("--size", type=int, default=Settings.size, help="the side of the images")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "sprites", help="checkpoints")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="train nothing")
    options = parser.parse_args()
    for folder in (options.out, options.results):
        folder.mkdir(parents=True, exist_ok=True)
    if not options.table:
        settings = Settings(options.size, options.steps)
        deadline = time.time() + 60 * options.minutes
        runs = [
            Run(model, seed, settings, options.out, options.results, deadline)
            for seed in options.seeds
            for model in options.models
        ]
        with get_context("spawn").Pool(options.workers, maxtasksperchild=1) as pool:
            for said in pool.imap_unordered(train, runs):
                print(said, flush=True)
    records = finished(options.results)
    if records:
        text = table(records)
        (options.results / "table.md").write_text(text + "\n")
        figure(records).savefig(options.results / "mig.png", dpi=130)
        print(text)


if __name__ == "__main__":
    main()
