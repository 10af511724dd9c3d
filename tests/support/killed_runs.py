"""Training runs that are killed at random moments and resumed, beside one that is left alone.

A run is a function of the folder that it leaves everything in: the checkpoint ``run.pt``, the best
weights, ``end.pt`` with the trained model and its history, and ``steps``, a line for every step
taken with a digest of the rows and pixels it was given.

``python killed_runs.py RUN FOLDER`` makes one run in a process of its own.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import torch
import torch._dynamo  # what optimisers import on first use
from pyro.infer import TraceGraph_ELBO
from torch import Tensor, nn
from torch.nn.functional import softplus
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, Dataset

import ppl_gen
from ppl_gen import _files, training, zoo
from ppl_gen.data.image_set import ImageSet

RUNS: dict[str, Callable[[Path], None]] = {}
# Seconds until a run has taken a step, and until it has ended; on a busy machine too it takes few.
LIMIT = 300.0


def run(make: Callable[[Path], None]) -> Callable[[Path], None]:
    RUNS[make.__name__] = make
    return make


# --- What is run --------------------------------------------------------------------------------


class Watched(ImageSet):
    """A set of images that remembers the last batch it gave."""

    def batch(self, indices: Any, generator: torch.Generator | None = None) -> Tensor:
        object.__setattr__(self, "last", (indices, super().batch(indices, generator)))
        return self.last[1]


class Augmented(Dataset):
    """Images brightened at random, by NumPy, that remember the last batch they gave."""

    def __init__(self, images: Tensor):
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitems__(self, rows: list[int]) -> list[Tensor]:
        drawn = [self.images[row] * np.random.rand() for row in rows]  # noqa: NPY002
        self.last = torch.tensor(rows), torch.stack(drawn)
        return [image.float() for image in drawn]


def log_to(folder: Path, data: Any) -> Callable[[Mapping[str, float]], None]:
    """A callback that notes what every step was given."""
    steps = (folder / "steps").open("a", buffering=1)

    def log(metrics: Mapping[str, float]) -> None:
        content = b"".join(part.contiguous().numpy().tobytes() for part in data.last)
        steps.write(f"{metrics['step']:.0f} {hashlib.sha256(content).hexdigest()[:16]}\n")

    return log


def pictures(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 1, 2, 2, generator=generator)
    return nn.functional.interpolate(coarse, scale_factor=4)


def fit(folder: Path, model: Any, data: Any, watched: Any, **options: Any) -> None:
    history = training.fit(
        model,
        data,
        progress=False,
        resume=True,
        checkpoint=folder / "run.pt",
        callbacks=[log_to(folder, watched)],
        **options,
    )
    state = model.state_dict() if isinstance(model, nn.Module) else {}
    store = {name: value.detach() for name, value in pyro.get_param_store().items()}
    _files.write(
        folder / "end.pt", "end", {"model": state, "store": store, "history": history.state()}
    )


def control(folder: Path, **how: Any) -> None:
    """A ControlVAE: averaged weights, one-cycle rates, clipping, pixels drawn for every batch."""
    torch.manual_seed(0)
    model = zoo.control_vae((1, 8, 8), 3, hidden=32, target_kl=0.5, integral=0.02)
    grey = pictures(240)
    data = Watched(grey[:200].round(), binarization="dynamic", intensities=grey[:200])
    fit(
        folder,
        model,
        data,
        data,
        epochs=8,
        batch_size=16,
        ema=0.99,
        clip_norm=50.0,
        scheduler=lambda o: lr_scheduler.OneCycleLR(o, 3e-3, total_steps=104),
        validation=grey[200:].round(),
        evaluate_every=7,
        patience=100,
        checkpoint_every=3,
        **how,
    )


@run
def control_eager(folder: Path) -> None:
    control(folder, staged=False)


@run
def control_compiled(folder: Path) -> None:
    control(folder, staged=True, steps_per_call=2)


@run
def codebook(folder: Path) -> None:
    """A VQ-VAE: a codebook of running means with random restarts, rates lowered on plateaus."""
    torch.manual_seed(0)
    model = zoo.vq_vae((1, 8, 8), 4, num_codes=32, code_dim=4, hidden=32)
    data = Watched(pictures(200))
    fit(
        folder,
        model,
        data,
        data,
        epochs=8,
        batch_size=16,
        staged=False,
        optimizer=lambda parameters, lr: torch.optim.SGD(parameters, lr, momentum=0.9),
        scheduler=lambda o: lr_scheduler.ReduceLROnPlateau(o, patience=1),
        validation=pictures(40),
        evaluate_every=5,
        checkpoint_every=4,
    )


def layers(inside: int, hidden: int, out: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(inside, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, out)
    )


class Game:
    """A generator and a discriminator with batch normalisation, and losses with noise."""

    def __init__(self) -> None:
        self.make = nn.Sequential(
            nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 64)
        )
        self.judge = nn.Sequential(
            nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 1)
        )

    @property
    def players(self) -> dict[str, Any]:
        return {"judge": self.judge.parameters(), "make": self.make.parameters()}

    def losses(self, x: Tensor) -> Any:
        yield "judge", self.judging, (x,)
        yield "make", self.making, (torch.randn(len(x), 4),)

    def judging(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        fake = self.make(torch.randn(len(x), 4)).detach()
        real = softplus(-self.judge(x.flatten(1)))
        return (real + softplus(self.judge(fake))).sum(), {"real": real.detach().mean()}

    def making(self, noise: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return softplus(-self.judge(self.make(noise))).sum(), {}


@run
def two_players(folder: Path) -> None:
    """An adversarial game, RMSprop, rates by steps, buffers of batch normalisation."""
    torch.manual_seed(0)
    data = Watched(pictures(200))
    fit(
        folder,
        Game(),
        data,
        data,
        epochs=8,
        batch_size=16,
        staged=False,
        ema=0.9,
        optimizer=torch.optim.RMSprop,
        scheduler=lambda o: lr_scheduler.StepLR(o, 30),
        checkpoint_every=5,
    )


@run
def foreign_pair(folder: Path) -> None:
    """A Pyro pair of functions: parameters and running baselines in Pyro's store, a shuffling
    DataLoader, data augmented by NumPy.
    """
    torch.manual_seed(0)
    decode = layers(5, 16, 64)

    def model(x: Tensor) -> None:
        pyro.module("decode", decode)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Bernoulli(torch.full((len(x), 5), 0.5)).to_event(1))
            pyro.sample("x", dist.Normal(decode(z), 1.0).to_event(1), obs=x.flatten(1))

    def guide(x: Tensor) -> None:
        weight = pyro.param("weight", torch.zeros(64, 5))
        own = {"baseline": {"use_decaying_avg_baseline": True}}
        with pyro.plate("data", len(x)):
            logits = x.flatten(1) @ weight
            pyro.sample("z", dist.Bernoulli(logits=logits).to_event(1), infer=own)

    data = Augmented(pictures(200))
    fit(
        folder,
        ppl_gen.Pair(model, guide, TraceGraph_ELBO()),
        DataLoader(data, batch_size=20, shuffle=True),
        data,
        epochs=10,
        staged=False,
        optimizer=torch.optim.AdamW,
        scheduler=lambda o: lr_scheduler.CosineAnnealingLR(o, 100),
        validation=pictures(20),
        checkpoint_every=3,
    )


# --- How it is killed ---------------------------------------------------------------------------


@dataclass
class Outcome:
    """How a run went.

    Attributes:
        steps: the steps finished when it was killed, by kill.
        writing: how many kills struck while a file was being written.
        repeated: steps taken again after a restart.
        different: what is not, bit for bit, as in the run that was left alone.
    """

    steps: list[int] = field(default_factory=list)
    writing: int = 0
    repeated: int = 0
    different: list[str] = field(default_factory=list)


def forked(name: str, folder: Path) -> int:
    """Make a run in a copy of this process, which must not have computed anything itself."""
    if pid := os.fork():
        return pid
    try:
        torch.set_num_threads(1)
        RUNS[name](folder)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def spawned(name: str, folder: Path) -> int:
    """Make a run in a new process."""
    return os.posix_spawn(sys.executable, [sys.executable, __file__, name, str(folder)], os.environ)


def finish(pid: int, limit: float = LIMIT) -> None:
    """Wait for a process to end, at most so many seconds: after these it is killed, and an error.

    Raises:
        TimeoutError: the process had not ended within the limit.
        RuntimeError: it failed.
    """
    _wait(pid, lambda: False, "end", limit)


def _wait(pid: int, done: Callable[[], Any], what: str, limit: float = LIMIT) -> bool:
    """Wait until something is done or a process has ended; whether it has ended."""
    began = time.monotonic()
    while not (ended := _has_ended(pid)) and not done():
        if time.monotonic() - began > limit:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise TimeoutError(f"expected a run to {what} within {limit:g} s, it was killed")
        time.sleep(0.002)
    return ended


def _has_ended(pid: int) -> bool:
    found, status = os.waitpid(pid, os.WNOHANG)
    if status:
        raise RuntimeError("a run that was not killed failed")
    return bool(found)


def left_alone(name: str, folder: Path, start: Callable[[str, Path], int]) -> float:
    """Make a run undisturbed; how many seconds it takes from its first step."""
    folder.mkdir()
    pid = start(name, folder)
    ended = _wait(pid, lambda: _steps(folder), "take a step")
    began = time.perf_counter()
    if not ended:
        finish(pid)
    return time.perf_counter() - began


def killed(
    name: str,
    folder: Path,
    kills: int,
    seconds: float,
    random: Random,
    start: Callable[[str, Path], int] = forked,
) -> Outcome:
    """Make a run, kill it at random moments, and let it end.

    Args:
        name: of the run.
        folder: for what it leaves.
        kills: how often to kill it at most.
        seconds: how long it takes; moments are uniform over half of them, from a process's first
            step, or from its start where a run is forked.
        random: of the moments.
        start: starts a process of the run and returns its id.
    """
    folder.mkdir()
    outcome = Outcome()
    while len(outcome.steps) < kills:
        before, pid = len(_steps(folder)), start(name, folder)
        ended = start is spawned and _wait(
            pid, lambda before=before: len(_steps(folder)) > before, "take a step"
        )
        time.sleep(random.uniform(0, seconds / 2))
        if ended or _has_ended(pid):
            break
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        outcome.steps.append(max((step for step, _ in _steps(folder)), default=0))
        outcome.writing += any(folder.glob(".*.pt*"))
        for left in folder.glob(".*.pt*"):
            left.unlink()
    finish(start(name, folder))
    outcome.repeated = len(_steps(folder)) - len(set(_steps(folder)))
    return outcome


def compare(folder: Path, reference: Path) -> list[str]:
    """The parts of what a run left that differ from a reference in any bit."""
    different = []
    if set(_steps(folder)) != set(_steps(reference)):
        different.append("data")
    for file in ("run.pt", "end.pt", "run.pt.best"):
        paths = folder / file, reference / file
        if [path.exists() for path in paths] != [paths[1].exists()] * 2:
            different.append(file)
        elif paths[0].exists():
            kinds = ("checkpoint", "end", "model")
            found, expected = (_files.read(path, *kinds) for path in paths)
            different += [f"{file} {k}" for k in expected if not same(found.get(k), expected[k])]
    return different


def same(a: Any, b: Any) -> bool:
    """Whether two states are equal bit for bit, NaN being equal to itself."""
    if isinstance(b, Tensor):
        return a.dtype == b.dtype and a.numpy().tobytes() == b.numpy().tobytes()
    if isinstance(b, Mapping):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in b)
    if isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and (a == b or a != a)


def _steps(folder: Path) -> list[tuple[int, str]]:
    """What every step taken so far was given; the last line may be half written."""
    path = folder / "steps"
    lines = path.read_text().splitlines() if path.exists() else []
    parts = [line.split() for line in lines]
    return [(int(p[0]), p[1]) for p in parts if len(p) == 2 and len(p[1]) == 16]


if __name__ == "__main__":
    torch.set_num_threads(1)
    RUNS[sys.argv[1]](Path(sys.argv[2]))
