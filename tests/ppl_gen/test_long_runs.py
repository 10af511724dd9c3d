"""Runs that are interrupted, killed, averaged, stopped early or shared end as they should."""

import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import long_run
import pytest
import torch
from torch import nn

import ppl_gen
from ppl_gen import checkpoints, zoo
from ppl_gen.batches import as_batches
from ppl_gen.processes import World

PROGRAM = Path(long_run.__file__)
QUIET = {"staged": False, "progress": False}


def build(**parts):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return zoo.vae((1, 4, 4), 2, hidden=8, **parts)


@pytest.fixture
def x():
    return torch.rand(24, 1, 4, 4, generator=torch.Generator().manual_seed(0)).round()


def weights(folder):
    return torch.load(folder / "weights.pt", weights_only=True)


def start(folder, *options, processes=1):
    folder.mkdir(exist_ok=True)
    launcher = [sys.executable]
    if processes > 1:
        launcher += ["-m", "torch.distributed.run", "--standalone"]
        launcher += ["--nproc-per-node", str(processes)]
    environment = os.environ | {"PYTHONPATH": str(PROGRAM.parent), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*launcher, str(PROGRAM), str(folder), *options],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process):
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output


def test_an_interrupted_run_finishes_its_step_and_keeps_a_checkpoint(x, tmp_path):
    path, expected = tmp_path / "run.pt", build()
    ppl_gen.fit(expected, x, epochs=3, batch_size=5, **QUIET)

    def interrupt_at(step):
        seen = []

        def callback(metrics):
            seen.append(metrics)
            if len(seen) == step:
                os.kill(os.getpid(), signal.SIGINT)

        return callback

    model = build()
    options = {"epochs": 3, "batch_size": 5, "checkpoint": path, **QUIET}
    with pytest.raises(KeyboardInterrupt):
        ppl_gen.fit(model, x, callbacks=[interrupt_at(7)], **options)
    assert checkpoints.read(path, "checkpoint")["position"] == [1, 2]
    ppl_gen.fit(model, x, resume=True, **options)
    for key, value in expected.state_dict().items():
        assert torch.equal(value, model.state_dict()[key])


@pytest.mark.parametrize("damage", ["truncated", "foreign", "newer"])
def test_a_damaged_checkpoint_is_refused_and_left_alone(damage, x, tmp_path):
    path = tmp_path / "run.pt"
    ppl_gen.fit(build(), x, epochs=1, checkpoint=path, **QUIET)
    content = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "foreign":
        torch.save({"weights": torch.zeros(3)}, path)
    else:
        newer = checkpoints.read(path, "checkpoint") | {"version": 99}
        checkpoints.write(path, "checkpoint", newer)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"expected (a checkpoint file|version)"):
        ppl_gen.fit(build(), x, epochs=2, checkpoint=path, resume=True, **QUIET)
    assert path.read_bytes() == before


def test_averaged_weights_are_the_moving_average_of_the_weights(x):
    model, plain = build(), build()
    trail = [[p.detach().clone() for p in plain.parameters()]]

    def remember(metrics):
        trail.append([p.detach().clone() for p in plain.parameters()])

    ppl_gen.fit(plain, x, epochs=2, batch_size=8, callbacks=[remember], **QUIET)
    ppl_gen.fit(model, x, epochs=2, batch_size=8, ema=0.8, **QUIET)
    averages = trail[0]
    for current in trail[1:]:
        averages = [0.8 * a + 0.2 * p for a, p in zip(averages, current, strict=True)]
    for found, expected in zip(model.parameters(), averages, strict=True):
        torch.testing.assert_close(found, expected)


def test_the_scheduler_sets_the_learning_rate_of_every_step(x):
    def halve(optimizer):
        return torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)

    rates = []

    def make(parameters, lr):
        optimizer = torch.optim.SGD(parameters, lr=lr)
        optimizer.register_step_pre_hook(lambda o, *_: rates.append(o.param_groups[0]["lr"]))
        return optimizer

    ppl_gen.fit(
        build(), x, epochs=2, batch_size=12, lr=0.1, optimizer=make, scheduler=halve, **QUIET
    )
    assert rates == pytest.approx([0.1, 0.05, 0.025, 0.0125])


def test_patience_stops_when_validation_stops_improving_and_keeps_the_best(x, tmp_path):
    path = tmp_path / "run.pt"
    model = build()
    history = ppl_gen.fit(
        model,
        x[:4],
        epochs=400,
        lr=3e-2,
        validation=x[4:],
        evaluate_every=1,
        patience=5,
        checkpoint=path,
        **QUIET,
    )
    scores = history["val_elbo"]
    best = max(range(len(scores)), key=scores.__getitem__)
    assert len(scores) == history.steps < 400
    assert history.steps - 1 - best == 5
    assert checkpoints.read(f"{path}.best", "model")["metrics"]["val_elbo"] == scores[best]
    kept = ppl_gen.load(f"{path}.best")
    assert ppl_gen.metrics.elbo_terms(kept, x[4:], num_samples=200).elbo > scores[-1]


def test_validation_comes_as_often_as_asked(x):
    history = ppl_gen.fit(
        build(), x, epochs=2, batch_size=6, validation=x, evaluate_every=3, **QUIET
    )
    measured = [not math.isnan(value) for value in history["val_elbo"]]
    assert measured == [False, False, True, False, False, True, False, False]


def test_two_processes_take_the_step_of_one_with_the_doubled_batch(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    finish(start(one, "--autoencoder", "--batch-size", "16", "--epochs", "4"))
    finish(start(two, "--autoencoder", "--batch-size", "8", "--epochs", "4", processes=2))
    expected, found = weights(one), weights(two)
    for key in expected:
        torch.testing.assert_close(found[key], expected[key], rtol=1e-9, atol=1e-12)
    one, two = (torch.load(f / "history.pt", weights_only=True) for f in (one, two))
    torch.testing.assert_close(two["loss"], one["loss"])
    torch.testing.assert_close(two["reconstruction"], one["reconstruction"])


def test_a_dead_worker_ends_the_run_with_an_error(tmp_path):
    process = start(tmp_path / "run", "--fail-rank", "1", processes=2)
    output, _ = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "this worker dies" in output


def test_the_shares_of_a_batch_are_the_batch():
    data = torch.arange(23.0)
    together = [b.tolist() for (b,) in as_batches(data, 6, 0).epoch(2)]
    halves = [
        [b.tolist() for (b,) in as_batches(data, 3, 0, world=World(rank, 2)).epoch(2)]
        for rank in (0, 1)
    ]
    for whole, left, right in zip(together, *halves, strict=True):
        assert sorted(left + right) == sorted(whole)
    odd = [len(list(as_batches(data[:5], 2, 0, world=World(r, 2)).epoch(0))) for r in (0, 1)]
    assert odd == [1, 1]


def test_turns_may_be_closures_and_players_must_be_known():
    class Minimal:
        def __init__(self):
            self.weight = nn.Parameter(torch.tensor(2.0))
            self.players = {"one": [self.weight]}

        def losses(self, batch):
            return iter([("one", lambda: (batch.mean() * self.weight**2, {}))])

    model = Minimal()
    ppl_gen.fit(model, torch.ones(4, 1), epochs=3, lr=0.1, **QUIET)
    assert model.weight.item() == pytest.approx(1.7, abs=1e-3)
    model.losses = lambda batch: iter([("two", lambda: (model.weight, {}))])
    with pytest.raises(ValueError, match="a player among one, got 'two'"):
        ppl_gen.fit(model, torch.ones(4, 1), epochs=1, **QUIET)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"ema": 1.0}, r"ema decay in \(0, 1\), got 1"),
        ({"ema": "slow"}, "ema > 0, got 'slow'"),
        ({"patience": 3}, "validation data to judge by"),
        ({"patience": 1.5}, "whole number from 1 for patience, got 1.5"),
        ({"evaluate_every": 0}, "whole number from 1 for evaluate_every, got 0"),
        ({"checkpoint_every": "3"}, "whole number from 1 for checkpoint_every, got '3'"),
        ({"checkpoint": "nowhere/run.pt"}, "existing folder for the checkpoint"),
        ({"checkpoint": "."}, "a file for the checkpoint, got '.'"),
        ({"checkpoint": 3}, "a file for the checkpoint, got 3"),
    ],
)
def test_bad_settings_are_refused(options, match, x):
    with pytest.raises(ValueError, match=match):
        ppl_gen.fit(build(), x, **options, **QUIET)
