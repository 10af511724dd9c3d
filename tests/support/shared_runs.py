"""Training runs that several processes share: started by ``torchrun shared_runs.py OUT``.

Every process makes every run; process 0 leaves their results in OUT, and each process its own
checkpoints in ``OUT/RANK``. ``--kill RANK`` has a process kill itself after a few steps instead.
"""

import argparse
import os
import signal
from pathlib import Path

import pyro
import pyro.distributions as dist
import torch
from torch import nn
from torch.nn.functional import softplus
from torch.optim import lr_scheduler

import ppl_gen
from ppl_gen import _files, zoo
from ppl_gen import _processes as processes
from ppl_gen.objectives import ELBO
from ppl_gen.schedules import PIController

ROWS = 41  # the parts of the last batch differ in size
QUIET = {"staged": False, "progress": False}
GENERATOR = torch.Generator().manual_seed(0)
X = torch.rand(ROWS, 1, 4, 4, generator=GENERATOR).double()
NOISE = torch.randn(ROWS, 3, generator=GENERATOR).double()


class Given(dist.Normal):
    """A normal distribution whose draw is made of given noise."""

    def __init__(self, loc, scale, noise):
        super().__init__(loc, scale)
        self.noise = noise

    def expand(self, *args, **kwargs):
        return self

    def rsample(self, sample_shape=()):
        return self.loc + self.scale * self.noise


class Injected(nn.Module):
    """A controlled VAE whose noise is part of the data."""

    def __init__(self):
        super().__init__()
        self.encode, self.decode = nn.Linear(16, 6), nn.Linear(3, 16)
        self.unused = nn.Parameter(torch.ones(()))

    def model(self, x, noise):
        pyro.module("decode", self.decode)
        pyro.param("unused", self.unused)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros_like(noise), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decode(z), 1.0).to_event(1), obs=x.flatten(1))

    def guide(self, x, noise):
        pyro.module("encode", self.encode)
        with pyro.plate("data", len(x)):
            loc, scale = self.encode(x.flatten(1)).chunk(2, -1)
            pyro.sample("z", Given(loc, softplus(scale), noise).to_event(1))


class Game:
    """Two players without draws of their own."""

    def __init__(self):
        self.make, self.judge = nn.Linear(3, 16).double(), nn.Linear(16, 1).double()

    @property
    def players(self):
        return {"judge": self.judge.parameters(), "make": self.make.parameters()}

    def losses(self, x, noise):
        yield "judge", self.judging, (x, noise)
        yield "make", self.making, (noise,)

    def judging(self, x, noise):
        real, fake = self.judge(x.flatten(1)), self.judge(self.make(noise).detach())
        return (softplus(-real) + softplus(fake)).sum(), {"real": real.detach().mean()}

    def making(self, noise):
        return softplus(-self.judge(self.make(noise))).sum(), {}


def deterministic():
    model = zoo.autoencoder((1, 4, 4), 2, hidden=8).double()
    return model, X, {"ema": 0.9, "clip_norm": 5.0}


def injected():
    module = Injected().double()
    objective = ELBO(weight=PIController(0.5, integral=0.05).double())
    pair = ppl_gen.Pair(module.model, module.guide, objective)
    return pair, (X, NOISE), {"optimizer": torch.optim.AdamW}


def game():
    options = {"scheduler": lambda o: lr_scheduler.StepLR(o, 3)}
    return Game(), (X, NOISE), {"optimizer": torch.optim.RMSprop, **options}


def noisy():
    return zoo.vae((1, 4, 4), 2, hidden=8).double(), X, {"ema": 0.9}


EXACT = {run.__name__: run for run in (deterministic, injected, game)}
RUNS = EXACT | {"noisy": noisy}


def train(name, batch_size, **more):
    """Make a run; its history and the state of what was trained."""
    pyro.clear_param_store()
    torch.manual_seed(0)
    model, data, options = RUNS[name]()
    options = {"epochs": 4, "lr": 1e-2, "batch_size": batch_size} | options | QUIET | more
    history = ppl_gen.fit(model, data, **options)
    if isinstance(model, Game):
        model = nn.ModuleList([model.make, model.judge])
    return {"state": model.state_dict(), "history": history.state()["columns"]}


def coupled():
    """A pair whose losses on parts of the data do not sum to that on the whole."""

    def model(x):
        mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(mean, 1.0), obs=x)

    return ppl_gen.Pair(model, pyro.infer.autoguide.AutoNormal(model))


def subsampled():
    def model(x):
        shift = pyro.param("shift", torch.zeros(()))
        with pyro.plate("data", 1000, subsample_size=len(x)):
            pyro.sample("x", dist.Normal(shift, 1.0), obs=x)

    return ppl_gen.Pair(model, lambda x: None, pyro.infer.Trace_ELBO())


def refusals():
    found = []
    for pair, data in [(coupled(), torch.zeros(8)), (subsampled(), torch.zeros(8))]:
        try:
            ppl_gen.fit(pair, data, epochs=1, batch_size=2, **QUIET)
        except ValueError as error:
            found.append(str(error))
    try:
        ppl_gen.fit(zoo.vae((1, 4, 4), 2, hidden=8), X[:1].float(), epochs=1, **QUIET)
    except ValueError as error:
        found.append(str(error))
    return found


def signal_at(step, number, wanted):
    def callback(metrics):
        if metrics["step"] == step and wanted:
            os.kill(os.getpid(), number)

    return callback


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--kill", type=int)
    options = parser.parse_args()
    with processes.process_group() as world:
        if options.kill is not None:
            strike = signal_at(3, signal.SIGKILL, world.rank == options.kill)
            train("deterministic", 8, epochs=10_000, callbacks=[strike])
        own = options.out / str(world.rank)
        own.mkdir(parents=True)
        results = {name: train(name, 8) for name in EXACT}
        kept = {"validation": X[:10], "checkpoint": own.with_name("run.pt")}
        if world.rank:
            kept["checkpoint"] = own / "run.pt"
        results["whole"] = train("noisy", 8, **kept)
        train("noisy", 8, **kept, epochs=2)
        resumed = kept | {"checkpoint": own.with_name("run.pt"), "resume": True}
        results["resumed"] = train("noisy", 8, **resumed)
        results["refusals"] = refusals()
        interrupt = signal_at(4, signal.SIGINT, world.rank == 1)
        try:
            train("noisy", 8, **kept, callbacks=[interrupt])
        except KeyboardInterrupt:
            results["interrupted"] = _files.read(options.out / "run.pt", "checkpoint")
    if world.writes:
        torch.save(results, options.out / "results.pt")


if __name__ == "__main__":
    main()
