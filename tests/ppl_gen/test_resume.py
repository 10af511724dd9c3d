"""A run that ended early goes on as if it had not: whatever trains, whatever it is given."""

import copy
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from killed_runs import Game, finish, layers, same
from pyro.infer import SVI, Trace_ELBO, TraceGraph_ELBO
from torch import nn, optim
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, Dataset, RandomSampler, TensorDataset

import ppl_gen
from ppl_gen import _files, zoo
from ppl_gen.data.batches import as_batches
from ppl_gen.objectives import ELBO
from ppl_gen.schedules import PIController, WarmUp
from ppl_gen.training import generators

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "resume.py"
X = torch.rand(24, 1, 4, 4, generator=torch.Generator().manual_seed(0)).round()


class Stopped(Exception):
    pass


def stop_at(step):
    def callback(metrics):
        if metrics["step"] == step:
            raise Stopped

    return callback


def afresh(build):
    """What is to be trained, as in a new process that happens to be in another random state."""
    pyro.clear_param_store()
    torch.manual_seed(0)
    built = build()
    for seed in (torch.manual_seed, random.seed, np.random.seed):
        seed(99)
    return built


def everything(model, path):
    return {
        **_files.read(path, "checkpoint"),
        "model": copy.deepcopy(model.state_dict()) if hasattr(model, "state_dict") else None,
        "store": {name: value.detach() for name, value in pyro.get_param_store().items()},
    }


def assert_resumes(build, folder, stops=(8,), every=7, **options):
    """Train without a break, and with some, and compare all that is left."""
    options = {"epochs": 3, "batch_size": 5, "staged": False, "progress": False} | options
    model, data = afresh(build)
    ppl_gen.fit(model, data, checkpoint=folder / "whole", **options)
    expected = everything(model, folder / "whole")
    parts = {"checkpoint": folder / "parts", "checkpoint_every": every, **options}
    for stop in stops:
        model, data = afresh(build)
        with pytest.raises(Stopped):
            ppl_gen.fit(model, data, resume=True, callbacks=[stop_at(stop)], **parts)
    model, data = afresh(build)
    history = ppl_gen.fit(model, data, resume=True, **parts)
    found = everything(model, folder / "parts")
    assert [key for key in expected if not same(found[key], expected[key])] == []
    return history


def vae(**parts):
    return zoo.vae((1, 4, 4), 2, hidden=8, **parts)


class Augmented(Dataset):
    def __init__(self, draw):
        self.draw = draw

    def __len__(self):
        return len(X)

    def __getitem__(self, row):
        return (X[row] * self.draw()).float()


LOADERS = {
    "tensor": lambda: X,
    "shuffled loader": lambda: DataLoader(TensorDataset(X), batch_size=5, shuffle=True),
    "loader with a generator": lambda: DataLoader(
        TensorDataset(X), batch_size=5, shuffle=True, generator=torch.Generator().manual_seed(3)
    ),
    "sampler with a generator": lambda: DataLoader(
        TensorDataset(X),
        batch_size=5,
        sampler=RandomSampler(X, generator=torch.Generator().manual_seed(3)),
    ),
    "drawn by torch": lambda: Augmented(lambda: torch.rand(()).item()),
    "drawn by Python": lambda: Augmented(random.random),
    "drawn by NumPy": lambda: Augmented(np.random.rand),
    "loader with a process": lambda: DataLoader(
        Augmented(lambda: torch.rand(()).item()), batch_size=5, shuffle=True, num_workers=1
    ),
}


@pytest.mark.parametrize("stops", [(8,), (6, 9)], ids=["once", "twice"])
@pytest.mark.parametrize("name", LOADERS)
def test_the_order_and_draws_of_any_data_go_on(name, stops, tmp_path):
    assert_resumes(lambda: (vae(), LOADERS[name]()), tmp_path, stops, every=1)


def test_the_generators_are_seeded_and_left_alone():
    losses = []
    for _ in range(2):
        model, data = afresh(lambda: (vae(), Augmented(np.random.rand)))
        states = generators.state()
        losses.append(ppl_gen.fit(model, data, epochs=2, staged=False, progress=False)["loss"])
        assert same(generators.state(), states)
        np.random.rand()  # noqa: NPY002
    assert losses[0] == losses[1]


OPTIMIZERS = {
    "SGD": optim.SGD,
    "momentum": lambda p, lr: optim.SGD(p, lr, momentum=0.9, nesterov=True),
    "RMSprop": optim.RMSprop,
    "AdamW": optim.AdamW,
    "AMSGrad": lambda p, lr: optim.Adam(p, lr, amsgrad=True),
    "NAdam": optim.NAdam,
    "Adagrad": optim.Adagrad,
    "ASGD": optim.ASGD,
    "Adafactor": optim.Adafactor,
    "Rprop": optim.Rprop,
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_any_optimiser_trains_and_goes_on(name, tmp_path):
    lr = {"SGD": 1e-3, "momentum": 1e-3, "Adafactor": 0.1}.get(name, 1e-2)
    make = OPTIMIZERS[name]
    history = assert_resumes(lambda: (vae(), X), tmp_path, epochs=6, optimizer=make, lr=lr)
    assert sum(history["loss"][-15:]) < sum(history["loss"][:15])


SCHEDULERS = {
    "none": None,
    "steps": lambda o: lr_scheduler.StepLR(o, 4),
    "milestones": lambda o: lr_scheduler.MultiStepLR(o, [3, 8]),
    "one cycle": lambda o: lr_scheduler.OneCycleLR(o, 1e-2, total_steps=15),
    "cyclic": lambda o: lr_scheduler.CyclicLR(o, 1e-4, 1e-2, 3, cycle_momentum=False),
    "function": lambda o: lr_scheduler.LambdaLR(o, lambda t: 1 / (1 + t)),
    "warm restarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 4),
    "sequence": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.LinearLR(o, 0.1), lr_scheduler.ExponentialLR(o, 0.9)], [4]
    ),
    "chain": lambda o: lr_scheduler.ChainedScheduler(
        [lr_scheduler.LinearLR(o, 0.1), lr_scheduler.ExponentialLR(o, 0.9)]
    ),
    "plateau": lambda o: lr_scheduler.ReduceLROnPlateau(o, patience=0),
}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_any_scheduler_goes_on_where_it_was(name, tmp_path):
    def build():
        return vae(objective=ELBO(weight=WarmUp(11))), X

    kind = {"validation": X[:7], "evaluate_every": 2, "ema": 0.9}
    assert_resumes(build, tmp_path, lr=3e-2, scheduler=SCHEDULERS[name], **kind)


@pytest.fixture
def interpreted(monkeypatch):
    """Graphs count as compiled, so that steps are taken whole, and run operation by operation."""
    monkeypatch.setattr("ppl_gen.staging.torch_internals.why_not_compiled", lambda devices: None)
    monkeypatch.setattr(
        "ppl_gen.staging.backends.compiled", lambda module, inputs: lambda *values: module(*values)
    )


@pytest.mark.parametrize("steps", [1, 3, "auto"])
def test_staged_steps_go_on_however_many_are_taken_in_a_call(steps, interpreted, tmp_path):
    def build():
        return vae(objective=ELBO(weight=PIController(0.5, integral=0.1))), X

    how = {"staged": True, "steps_per_call": steps, "ema": 0.9, "clip_norm": 5.0}
    scheduler = SCHEDULERS["one cycle"]
    history = assert_resumes(build, tmp_path, stops=(7, 12), every=4, scheduler=scheduler, **how)
    model, data = afresh(build)
    options = {"epochs": 3, "batch_size": 5, "scheduler": scheduler, "progress": False}
    eager = ppl_gen.fit(model, data, **options | how | {"staged": False})
    assert history["loss"] == pytest.approx(eager["loss"], rel=1e-5)


def test_a_plateau_lowers_the_rate_when_validation_stops_improving():
    rates = []

    def make(parameters, lr):
        optimizer = optim.SGD(parameters, lr)
        optimizer.register_step_pre_hook(lambda o, *_: rates.append(o.param_groups[0]["lr"]))
        return optimizer

    def wait(optimizer):
        return lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1)

    options = {"staged": False, "progress": False, "optimizer": make, "scheduler": wait}
    history = ppl_gen.fit(
        vae(), X[:4], epochs=40, lr=0.1, validation=X[4:], evaluate_every=2, **options
    )
    best, bad, expected, rate = float("-inf"), 0, [], 0.1
    for elbo in history["val_elbo"]:
        expected.append(rate)
        if elbo == elbo:
            improved = -elbo < -best * (1 - 1e-4) if best < 0 else True
            best, bad = (elbo, 0) if improved else (best, bad + 1)
            if bad > 1:
                rate, bad = rate / 2, 0
    assert rates == pytest.approx(expected)
    assert rates[-1] < 0.1


class TutorialVAE(nn.Module):
    """As in Pyro's tutorial: bound methods are the programs, modules hold the parameters."""

    def __init__(self):
        super().__init__()
        self.encode, self.decode = layers(16, 8, 4), layers(2, 8, 16)

    def model(self, x):
        pyro.module("decode", self.decode)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x), 2), 1.0).to_event(1))
            logits = self.decode(z)
            pyro.sample("x", dist.Bernoulli(logits=logits).to_event(1), obs=x.flatten(1))

    def guide(self, x):
        pyro.module("encode", self.encode)
        with pyro.plate("data", len(x)):
            loc, scale = self.encode(x.flatten(1)).chunk(2, -1)
            pyro.sample("z", dist.Normal(loc, scale.exp()).to_event(1))


class Tutorial(ppl_gen.Pair):
    """Its pair, with the state of the modules to compare."""

    def __init__(self, hidden):
        self.vae = TutorialVAE()
        programs = (self.vae.model, self.vae.guide)
        if hidden:
            programs = tuple(lambda x, program=program: program(x) for program in programs)
        super().__init__(*programs, Trace_ELBO())


@pytest.mark.parametrize("hidden", [False, True], ids=["methods", "closures"])
def test_statistics_of_batch_normalisation_go_on_wherever_they_are(hidden, tmp_path):
    models = []

    def build():
        models.append(Tutorial(hidden))
        return models[-1], X

    assert_resumes(build, tmp_path)
    expected, found = models[0].vae.state_dict(), models[-1].vae.state_dict()
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []
    assert found["encode.1.num_batches_tracked"] == 15


@pytest.mark.parametrize("hidden", [False, True], ids=["methods", "closures"])
def test_validation_and_preparation_leave_the_statistics_alone(hidden):
    states = []
    for validation in (None, X[:7]):
        pair, data = afresh(lambda: (Tutorial(hidden), X))
        pair.vae.encode[1].eval()
        ppl_gen.fit(pair, data, epochs=2, validation=validation, staged=False, progress=False)
        states.append(pair.vae.state_dict())
        assert not pair.vae.encode[1].training
        assert pair.vae.decode[1].training
    assert [name for name in states[0] if not torch.equal(*(s[name] for s in states))] == []
    assert states[0]["decode.1.num_batches_tracked"] == 2


def discrete_pair():
    def model(x):
        weight = pyro.param("weight", torch.zeros(3, 16))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Bernoulli(torch.full((len(x), 3), 0.5)).to_event(1))
            logits = z @ weight
            pyro.sample("x", dist.Bernoulli(logits=logits).to_event(1), obs=x.flatten(1))

    def guide(x):
        weight = pyro.param("guide", torch.full((16, 3), 0.1))
        own = {"baseline": {"use_decaying_avg_baseline": True}}
        with pyro.plate("data", len(x)):
            logits = x.flatten(1) @ weight
            pyro.sample("z", dist.Bernoulli(logits=logits).to_event(1), infer=own)

    return ppl_gen.Pair(model, guide, TraceGraph_ELBO()), X[:20]


def test_baselines_in_the_parameter_store_go_on(tmp_path):
    assert_resumes(discrete_pair, tmp_path)


def test_a_pair_with_running_baselines_trains_as_under_stock_svi():
    pair, data = afresh(discrete_pair)
    svi = SVI(pair.model, pair.guide, pyro.optim.Adam({"lr": 1e-2}), pair.objective)
    torch.manual_seed(0)
    batches = as_batches(data, 5, 0)
    losses = [svi.step(*batch) for epoch in range(3) for batch in batches.epoch(epoch)]
    expected = {name: value.detach() for name, value in pyro.get_param_store().items()}
    pair, data = afresh(discrete_pair)
    options = {"epochs": 3, "batch_size": 5, "lr": 1e-2, "staged": False, "progress": False}
    history = ppl_gen.fit(pair, data, **options)
    assert history["loss"] == pytest.approx(losses, rel=1e-5)
    for name, value in pyro.get_param_store().items():
        torch.testing.assert_close(value.detach(), expected[name])


@pytest.mark.parametrize("staged", [False, True], ids=["eager", "staged"])
def test_players_and_the_buffers_of_their_modules_go_on(staged, uncompiled, tmp_path):
    games = []

    def build():
        games.append(Game())
        return games[-1], nn.functional.interpolate(X, scale_factor=2)

    options = {"optimizer": optim.RMSprop, "ema": 0.9, "staged": staged}
    if staged:
        with pytest.warns(ppl_gen.staging.StagingWarning, match="uncompiled"):
            assert_resumes(build, tmp_path, **options)
    else:
        assert_resumes(build, tmp_path, **options)
    for player in ("make", "judge"):
        expected, found = (getattr(game, player).state_dict() for game in (games[0], games[-1]))
        assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert games[-1].judge[1].num_batches_tracked == 45


def test_a_run_that_stopped_early_is_over(tmp_path):
    options = {"validation": X[4:], "evaluate_every": 1, "patience": 3, "lr": 3e-2}
    options |= {"epochs": 400, "staged": False, "progress": False, "checkpoint": tmp_path / "run"}
    first, again = (afresh(lambda: (vae(), X[:4])) for _ in range(2))
    whole = ppl_gen.fit(*first, **options)
    assert whole.steps < 400
    assert ppl_gen.fit(*again, resume=True, **options).steps == whole.steps
    assert same(dict(again[0].state_dict()), dict(first[0].state_dict()))
    longer = options | {"patience": 6, "resume": True}
    assert ppl_gen.fit(*afresh(lambda: (vae(), X[:4])), **longer).steps > whole.steps


# --- What is refused ----------------------------------------------------------------------------


@pytest.fixture
def started(tmp_path):
    path = tmp_path / "run.pt"
    options = {"staged": False, "progress": False, "checkpoint": path, "ema": 0.9}
    options["scheduler"] = lr_scheduler.ConstantLR
    ppl_gen.fit(*afresh(lambda: (vae(), X)), epochs=1, **options)
    return path, options | {"epochs": 2, "resume": True}


@pytest.mark.parametrize(
    ("other", "match"),
    [
        ({"optimizer": optim.SGD}, "optimizer was Adam and is SGD"),
        ({"scheduler": None}, "scheduler was ConstantLR and is none"),
        ({"scheduler": lr_scheduler.LinearLR}, "scheduler was ConstantLR and is LinearLR"),
        ({"ema": None}, r"ema was 0\.9 and is None"),
        ({"clip_norm": 1.0}, r"clip_norm was None and is 1\.0"),
    ],
)
def test_a_run_does_not_go_on_with_other_settings(other, match, started):
    with pytest.raises(ValueError, match=match):
        ppl_gen.fit(vae(), X, **started[1] | other)


@pytest.mark.parametrize(
    "change",
    [
        {"settings": 3},
        {"generators": 3},
        {"generators": [[{}, {}]]},
        {"position": None},
        {"history": {}},
        {"trainable": {}},
        {"optimizers": {}},
        {"schedulers": []},
        {"patience": [1]},
        {"weights": {}},
        {"weights": None},
    ],
)
def test_a_state_that_makes_no_sense_is_refused_and_changes_nothing(change, started):
    path, options = started
    _files.write(path, "checkpoint", _files.read(path, "checkpoint") | change)
    model = vae()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError, match="expected a checkpoint of this model and its settings"):
        ppl_gen.fit(model, X, **options)
    assert all(torch.equal(before[k], value) for k, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"optimizer": optim.LBFGS}, "one gradient, LBFGS evaluates the loss again"),
        ({"optimizer": optim.SparseAdam}, "dense gradients, SparseAdam"),
        ({"optimizer": lambda p, lr: None}, r"a torch\.optim\.Optimizer, got NoneType"),
        ({"optimizer": pyro.optim.Adam({"lr": 1e-3})}, r"class of torch\.optim as optimizer"),
        ({"optimizer": optim.SGD([torch.zeros(1)])}, r"class of torch\.optim as optimizer"),
        ({"scheduler": 3}, "as scheduler, got 3"),
        ({"scheduler": lambda o: o}, "an LRScheduler, got Adam"),
        ({"scheduler": lr_scheduler.ReduceLROnPlateau}, "validation data for ReduceLROnPlateau"),
        (
            {"scheduler": lambda o: lr_scheduler.ReduceLROnPlateau(o, "max"), "validation": X},
            "mode='min'.*got 'max'",
        ),
    ],
)
def test_optimisers_and_schedulers_that_cannot_work_are_refused(options, match):
    model = vae()
    before = [p.detach().clone() for p in model.parameters()]
    with pytest.raises(ValueError, match=match):
        ppl_gen.fit(model, X, epochs=1, staged=False, progress=False, **options)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_parameters_that_come_late_are_refused():
    def model(x):
        shift = pyro.param("shift", torch.zeros(())) + pyro.param(f"of {len(x)}", torch.zeros(()))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(shift, 1.0), obs=x)

    pair, data = afresh(lambda: (ppl_gen.Pair(model, lambda x: None, Trace_ELBO()), torch.rand(5)))
    with pytest.raises(ValueError, match=r"batch to create every parameter, .*created of 1:"):
        ppl_gen.fit(pair, data, epochs=1, batch_size=4, staged=False, progress=False)


def test_runs_killed_at_random_moments_end_as_if_they_had_not_been():
    done = subprocess.run(
        [sys.executable, str(BENCHMARK), "--runs", "3", "--only", "control_eager"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 of 3 runs" in done.stdout


def test_a_run_that_does_not_end_is_killed_and_an_error():
    pid = os.posix_spawn("/bin/sleep", ["sleep", "1000"], os.environ)
    with pytest.raises(TimeoutError, match=r"a run to end within 0\.05 s, it was killed"):
        finish(pid, limit=0.05)
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, 0)
