"""Runs that are interrupted, averaged or stopped early end as they should."""

import math
import os
import re
import signal

import pyro
import pyro.distributions as dist
import pytest
import torch
from small_models import breaking_pair
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

import ppl_gen
from ppl_gen import _files, training, zoo

QUIET = {"staged": False, "progress": False}


def build(**parts):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return zoo.vae((1, 4, 4), 2, hidden=8, **parts)


@pytest.fixture
def x():
    return torch.rand(24, 1, 4, 4, generator=torch.Generator().manual_seed(0)).round()


def interrupt_at(step, times=1):
    def callback(metrics):
        if metrics["step"] == step:
            for _ in range(times):
                os.kill(os.getpid(), signal.SIGINT)

    return callback


@pytest.mark.parametrize("times", [1, 2], ids=["once", "passed on by a launcher"])
def test_an_interrupted_run_finishes_its_step_and_keeps_the_best_and_the_last(times, x, tmp_path):
    path, expected = tmp_path / "run.pt", build()
    options = {"epochs": 3, "batch_size": 5, "validation": x, "evaluate_every": 2, **QUIET}
    history = ppl_gen.fit(expected, x, **options)
    model = build()
    options["checkpoint"] = path
    with pytest.raises(KeyboardInterrupt):
        ppl_gen.fit(model, x, callbacks=[interrupt_at(7, times)], **options)
    last = _files.read(path, "checkpoint")
    assert last["position"] == [1, 2]
    assert last["history"]["steps"] == 7
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in last["trainable"].items())
    best = max(elbo for elbo in history["val_elbo"][:7] if not math.isnan(elbo))
    assert _files.read(f"{path}.best", "model")["metrics"]["val_elbo"] == best
    ppl_gen.fit(model, x, resume=True, **options)
    for key, value in expected.state_dict().items():
        assert torch.equal(value, model.state_dict()[key])


def test_a_second_interruption_stops_at_once(x, monkeypatch):
    monkeypatch.setattr("ppl_gen.training.hooks.REPEATED", 0.0)
    reached = []

    def twice(metrics):
        interrupt_at(2, times=2)(metrics)
        reached.append(metrics["step"])

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        ppl_gen.fit(build(), x, epochs=3, batch_size=5, callbacks=[twice], **QUIET)
    assert reached == [1]
    assert signal.getsignal(signal.SIGINT) is before


def test_the_bar_shows_throughput_and_the_time_left(x, capsys):
    ppl_gen.fit(build(), x, epochs=2, batch_size=6, staged=False)
    bar = capsys.readouterr().err.split("\r")[-1]
    assert re.search(r"100%.* 8/8 \[\d\d:\d\d<\d\d:\d\d, +[\d.]+step/s, elbo=-1\d", bar)
    ppl_gen.fit(build(), x, epochs=1, **QUIET)
    assert capsys.readouterr().err == ""


def test_the_bar_of_a_resumed_run_goes_on(x, capsys, tmp_path):
    options = {"batch_size": 6, "staged": False, "checkpoint": tmp_path / "run.pt"}
    ppl_gen.fit(build(), x, epochs=1, **options)
    ppl_gen.fit(build(), x, epochs=2, resume=True, **options)
    assert re.search(r"100%.* 8/8 \[", capsys.readouterr().err.split("\r")[-1])


class FakeWriter:
    """What torch.utils.tensorboard.SummaryWriter is to a callback."""

    def __init__(self):
        self.scalars = {}

    def add_scalar(self, tag, scalar_value, global_step):
        self.scalars.setdefault(tag, {})[int(global_step)] = scalar_value


def test_callbacks_can_write_to_tensorboard_through_validation_and_resuming(x, tmp_path):
    writer = FakeWriter()

    def log(metrics):
        for name, value in metrics.items():
            writer.add_scalar(name, value, metrics["step"])

    options = {"batch_size": 8, "validation": x, "callbacks": [log], **QUIET}
    options["checkpoint"] = tmp_path / "run.pt"
    ppl_gen.fit(build(), x, epochs=1, **options)
    history = ppl_gen.fit(build(), x, epochs=2, resume=True, **options)
    assert set(writer.scalars) == {"step", *history}
    for name, column in history.items():
        written = {step: v for step, v in enumerate(column, 1) if not math.isnan(v)}
        assert writer.scalars[name] == written
    assert list(writer.scalars["val_elbo"]) == [3, 6]


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
        newer = _files.read(path, "checkpoint") | {"version": 99}
        _files.write(path, "checkpoint", newer)
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
    for n, current in enumerate(trail[1:]):
        d = min(0.8, (1 + n) / (10 + n))
        averages = [d * a + (1 - d) * p for a, p in zip(averages, current, strict=True)]
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
    assert _files.read(f"{path}.best", "model")["metrics"]["val_elbo"] == scores[best]
    kept = ppl_gen.load(f"{path}.best")
    assert ppl_gen.metrics.elbo_terms(kept, x[4:], num_samples=200).elbo > scores[-1]


def test_validation_comes_as_often_as_asked(x):
    history = ppl_gen.fit(
        build(), x, epochs=2, batch_size=6, validation=x, evaluate_every=3, **QUIET
    )
    measured = [not math.isnan(value) for value in history["val_elbo"]]
    assert measured == [False, False, True, False, False, True, False, False]


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


@pytest.mark.filterwarnings("ignore:.*uncompiled")
def test_every_loss_of_a_player_is_its_own_even_if_made_anew(uncompiled):
    class Chase:
        """Two losses for one player, the second with a target that moves."""

        def __init__(self):
            self.weight = nn.Parameter(torch.tensor(0.0))
            self.players = {"one": [self.weight]}
            self.target = 0.0

        def losses(self, batch):
            self.target += 1.0
            target = torch.tensor(self.target)
            yield (
                "one",
                lambda x: (x.sum() * 0 + (self.weight - target) ** 2, {"t": target}),
                (batch,),
            )
            yield "one", self.pull, (batch,)

        def pull(self, x):
            return x.sum() * 0 + self.weight.abs(), {}

    model = Chase()
    options = {"epochs": 20, "optimizer": torch.optim.SGD, "lr": 0.1, "progress": False}
    with pytest.warns(ppl_gen.staging.StagingWarning, match="one has a new loss in every step"):
        history = ppl_gen.fit(model, torch.ones(4, 1), **options)
    weight = 0.0
    for target in range(1, 21):
        weight -= 0.2 * (weight - target)
        weight -= 0.1 * math.copysign(1.0, weight)
    assert model.weight.item() == pytest.approx(weight, rel=1e-5)
    assert history["t"] == list(range(1, 21))
    with pytest.raises(ppl_gen.staging.StagingError, match="new loss in every step"):
        ppl_gen.fit(Chase(), torch.ones(4, 1), staged=True, **options)


# --- Losses that are not finite -----------------------------------------------------------------


def test_weights_that_broke_earlier_are_named():
    """The loss is finite at zero but its gradient is not."""

    class Root:
        def __init__(self):
            self.weight = nn.Parameter(torch.tensor(0.0))
            self.players = {"one": [self.weight]}

        def losses(self, batch):
            yield "one", lambda: (self.weight.sqrt() * 0 + batch.mean(), {})

    match = (
        r"became nan at step 2 \(epoch 1, batch 2\); not finite: the parameters, since an earlier"
    )
    with pytest.raises(ppl_gen.training.NonFiniteLossError, match=match):
        ppl_gen.fit(Root(), torch.ones(4, 1), batch_size=2, **QUIET)


def test_the_player_whose_loss_broke_is_named():
    class Two:
        def __init__(self):
            self.players = {name: [nn.Parameter(torch.tensor(1.0))] for name in ("good", "bad")}

        def losses(self, batch):
            for name, (weight,) in self.players.items():
                yield (
                    name,
                    lambda x, w=weight, n=name: ((w * x).sum() / (n == "good"), {}),
                    (batch,),
                )

    with pytest.raises(
        ppl_gen.training.NonFiniteLossError, match=r"loss of bad became inf at step 1"
    ):
        ppl_gen.fit(Two(), torch.ones(4, 1), **QUIET)


@pytest.mark.filterwarnings("ignore:Encountered NaN")
@pytest.mark.parametrize("objective", [pyro.infer.Trace_ELBO, pyro.infer.TraceEnum_ELBO])
def test_the_site_is_named_for_stock_objectives_too(objective):
    pyro.clear_param_store()

    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x)), 1.0))
            pyro.sample("x", dist.Normal(z, pyro.param("scale", torch.ones(()))), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x.log(), pyro.param("width", torch.ones(()))))

    data = torch.tensor([1.0, 2.0, 3.0, -1.0])
    pair = ppl_gen.Pair(model, guide, objective())
    with pytest.raises(
        ppl_gen.training.NonFiniteLossError,
        match=r"batch 1\); not finite: z \(model\), z \(guide\)",
    ):
        ppl_gen.fit(pair, data, **QUIET)


# --- What is refused ----------------------------------------------------------------------------


def test_patience_needs_something_to_judge_by(x):
    class Silent:
        def __init__(self, metrics):
            self.weight = nn.Parameter(torch.tensor(2.0))
            self.players, self.metrics = {"one": [self.weight]}, metrics

        def losses(self, batch):
            yield "one", lambda: (self.weight**2, {})

        def evaluate(self, batch):
            return self.metrics

    options = {"validation": x, "epochs": 3, **QUIET}
    with pytest.raises(ValueError, match="ELBO of validation data to judge by, got metrics none"):
        ppl_gen.fit(Silent({}), x, patience=1, **options)
    history = ppl_gen.fit(Silent({"score": torch.tensor(3.0)}), x, **options)
    assert history["val_score"] == [3.0, 3.0, 3.0]
    assert ppl_gen.fit(Silent({"loss": torch.tensor(3.0)}), x, patience=1, **options).steps == 2


class Stream(IterableDataset):
    def __iter__(self):
        return iter(torch.rand(9, 1, 4, 4, generator=torch.Generator().manual_seed(0)))


class Misjudged(Stream):
    """A stream that is shorter than it says."""

    def __len__(self):
        return 12


class Once(IterableDataset):
    def __init__(self):
        self.rows = iter(torch.zeros(9, 1, 4, 4))

    def __iter__(self):
        return self.rows


@pytest.mark.parametrize(
    "make",
    [Stream, Misjudged, lambda: DataLoader(Stream(), 4), lambda: DataLoader(Misjudged(), 4)],
    ids=["unknown", "wrong", "loader of unknown", "loader of wrong"],
)
def test_streams_end_where_they_end(make, tmp_path):
    options = {"batch_size": 4, "staged": False, "progress": False}
    whole, parts, path = build(), build(), tmp_path / "run.pt"
    history = ppl_gen.fit(whole, make(), epochs=3, **options)
    assert history.steps == 9
    ppl_gen.fit(parts, make(), epochs=1, checkpoint=path, **options)
    parts = build()
    ppl_gen.fit(parts, make(), epochs=3, checkpoint=path, resume=True, **options)
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_stream_that_does_not_start_anew_is_refused():
    with pytest.raises(ValueError, match="none: iterable data must start again"):
        ppl_gen.fit(build(), Once(), epochs=2, batch_size=4, **QUIET)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"ema": 1.0}, r"ema decay in \(0, 1\), got 1"),
        ({"ema": "slow"}, "ema > 0, got 'slow'"),
        ({"patience": 3}, "validation data or metrics to judge by"),
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


def test_held_out_data_are_judged_under_the_averaged_weights(x):
    model = zoo.autoencoder((1, 4, 4), 2, hidden=8)
    options = {"epochs": 3, "batch_size": 8, "lr": 1e-2, "ema": 0.5, "validation": x, **QUIET}
    history = ppl_gen.fit(model, x, **options)
    held_out = model.decode(model.code(x)).log_prob(x).mean().item()
    assert history["val_reconstruction"][-1] == pytest.approx(held_out)
    assert history["val_reconstruction"][-1] != pytest.approx(history["reconstruction"][-1])


def test_a_site_is_named_that_only_the_draws_of_the_step_break():
    pyro.clear_param_store()
    with pytest.raises(training.NonFiniteLossError, match=r"not finite: .*observed"):
        ppl_gen.fit(ppl_gen.Pair(*breaking_pair()), torch.zeros(2), epochs=5000, **QUIET)
    pyro.clear_param_store()


def test_adam_is_fused_by_default_where_it_can_be():
    plain, complex_too = torch.ones(2), torch.ones(2, dtype=torch.complex64)
    assert training.adam([plain], 0.1).param_groups[0]["fused"]
    assert not training.adam([plain, complex_too], 0.1).param_groups[0]["fused"]


def test_checkpoints_are_written_as_often_as_asked(x, tmp_path):
    path, steps = tmp_path / "run.pt", []

    def look(metrics):
        if path.exists():
            steps.append(_files.read(path, "checkpoint")["history"]["steps"])

    options = {"epochs": 2, "batch_size": 5, "checkpoint": path, "checkpoint_every": 3, **QUIET}
    ppl_gen.fit(build(), x, callbacks=[look], **options)
    assert steps == [3, 3, 5, 6, 6, 6, 9]
