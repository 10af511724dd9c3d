"""Games on a ring of eight normals: what each covers in the end and at its worst, by seed.

    python tests/benchmarks/adversarial.py --seeds 5             # a table of all settings
    python tests/benchmarks/adversarial.py --settings gan R1     # of some
    python tests/benchmarks/adversarial.py --cycles 200 --seeds 1  # a trial of the script

The ring has radius 2 and standard deviation 0.02; generator and critic have two hidden layers of
128, batches hold 256 data for each of the critic's turns. Rows differ in one thing from the plain
GAN that stands above them, so that no baseline is tuned to fail. Final values are those of averaged
weights where a setting has averages. Training cycles between modes, which final values hide: the
worst divergence over the second half of training, of the raw weights, stands beside.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, optim

import ppl_gen
from ppl_gen import metrics, schedules, zoo
from ppl_gen.critics import Noisy, Packed, packed_shape
from ppl_gen.models.adversarial import Game
from ppl_gen.networks import MLP
from ppl_gen.regularizers import R1
from ppl_gen.training import adam

SD, SAMPLES, DATA, BATCH = 0.02, 2500, 25_600, 256
HIDDEN, LATENT = (128, 128), 16
SPREAD = ("modes", "worst KL")  # shown with their range over seeds


@dataclass(frozen=True)
class Setting:
    """A game and how it is trained; ``build`` is told the number of cycles."""

    build: Callable[[int], Game]
    options: dict[str, Any] = field(default_factory=dict)


def leaky(shape: tuple[int, ...]) -> MLP:
    return MLP([shape], HIDDEN, (1,), partial(torch.nn.LeakyReLU, 0.2))


def gan(cycles: int, **parts: Any) -> Game:
    return zoo.gan((2,), LATENT, hidden=HIDDEN, **parts)


def packed(cycles: int) -> Game:
    return gan(cycles, critic=Packed(leaky(packed_shape((2,), 4)), 4))


def noisy(cycles: int) -> Game:
    fading = schedules.WarmUp(math.ceil(0.8 * cycles), 0.5, 0.0)
    return gan(cycles, critic=Noisy(leaky((2,)), fading))


def wgan(cycles: int) -> Game:
    return zoo.wgan((2,), LATENT, hidden=HIDDEN, clip=0.1)


def wgan_gp(cycles: int) -> Game:
    return zoo.wgan_gp((2,), LATENT, hidden=HIDDEN, penalty=0.1)


FAST = {"lr": 1e-3}
AVERAGED = {"ema": {"generator": 0.999, "critic": None}}
SETTINGS = {
    "gan": Setting(gan, FAST),
    "averaged": Setting(gan, FAST | AVERAGED),
    "minimax": Setting(partial(gan, loss="minimax"), FAST),
    "hinge": Setting(partial(gan, loss="hinge"), FAST),
    "lsgan": Setting(partial(gan, loss="least_squares"), FAST),
    "R1": Setting(partial(gan, regularizer=R1(0.1)), FAST),
    "R1 averaged": Setting(partial(gan, regularizer=R1(0.1)), FAST | AVERAGED),
    "packed 4": Setting(packed, FAST),
    "noise": Setting(noisy, FAST),
    "wgan": Setting(wgan, {"lr": 5e-4, "optimizer": optim.RMSprop}),
    "wgan_gp": Setting(wgan_gp, {"lr": 1e-3, "optimizer": partial(adam, betas=(0.0, 0.9))}),
}


def ring() -> Tensor:
    angles = torch.arange(8) * math.pi / 4
    return 2 * torch.stack([angles.cos(), angles.sin()], 1)


def data(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    which = torch.randint(8, (DATA,), generator=generator)
    return ring()[which] + SD * torch.randn(DATA, 2, generator=generator)


def study(setting: Setting, cycles: int, seed: int, staged: str | bool) -> dict[str, float]:
    """Train one game; what it covers, and the milliseconds of a cycle."""
    torch.manual_seed(seed)
    game = setting.build(cycles)
    x, along, looking = data(seed), [], 0.0

    def look(found: dict[str, float]) -> None:
        nonlocal looking
        started = time.process_time()
        if found["step"] > cycles / 2 and found["step"] % max(1, cycles // 20) == 0:
            along.append(metrics.modes(game.sample(SAMPLES, seed=0), ring(), SD).kl)
        looking += time.process_time() - started

    epochs = math.ceil(cycles / math.ceil(DATA // BATCH / game.critic_steps))
    started = time.process_time()
    history = ppl_gen.fit(
        game,
        x,
        epochs=epochs,
        batch_size=BATCH,
        seed=seed,
        staged=staged,
        progress=False,
        drop_last=True,
        callbacks=[look],
        **setting.options,
    )
    seconds = time.process_time() - started - looking
    drawn = game.sample(SAMPLES, seed=0)
    found = metrics.modes(drawn, ring(), SD)
    return {
        "modes": found.modes,
        "balanced": found.balanced,
        "high quality": found.high_quality,
        "sd ratio": found.sd_ratio,
        "KL": found.kl,
        "worst KL": max([*along, found.kl]),
        "sliced W": metrics.sliced_wasserstein(drawn, x[:SAMPLES]),
        "ms": 1000 * seconds / history.steps,
    }


def row(name: str, runs: list[dict[str, float]]) -> str:
    """Means over seeds, and the range of the modes and of the worst KL."""
    cells = [name]
    for key in runs[0]:
        values = [run[key] for run in runs]
        spread = (
            f" ({min(values):.3g} to {max(values):.3g})" if key in ("modes", "worst KL") else ""
        )
        cells.append(f"{statistics.fmean(values):.3g}{spread}")
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cycles", type=int, default=5000)
    parser.add_argument("--eager", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    staged = False if arguments.eager else "auto"
    for position, name in enumerate(arguments.settings):
        setting = SETTINGS[name]
        seeds = range(arguments.seeds)
        runs = [study(setting, arguments.cycles, seed, staged) for seed in seeds]
        if position == 0:
            print(f"| setting | {' | '.join(runs[0])} |")
            print("| --- |" + " --- |" * len(runs[0]))
        print(row(name, runs), flush=True)


if __name__ == "__main__":
    main()
