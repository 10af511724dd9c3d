"""The loop trains what it is given, exactly, and says what is wrong before it starts."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO, TraceGraph_ELBO
from pyro.infer.autoguide import AutoNormal
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import ppl_gen
from ppl_gen import zoo
from ppl_gen.data.batches import as_batches
from ppl_gen.objectives import ELBO
from ppl_gen.schedules import WarmUp
from ppl_gen.staging import StagingError, StagingWarning
from ppl_gen.training.run import NonFiniteLossError

QUIET = {"staged": False, "progress": False}


def build(**parts):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return zoo.vae((1, 4, 4), 2, hidden=8, **parts)


@pytest.fixture
def x():
    return torch.rand(20, 1, 4, 4, generator=torch.Generator().manual_seed(0)).round()


pytestmark = pytest.mark.usefixtures("fresh_store")


def test_the_loop_takes_the_same_steps_as_stock_svi(x):
    ours, stock = build(), build()
    history = ppl_gen.fit(ours, x, epochs=2, batch_size=8, lr=1e-2, seed=3, **QUIET)
    svi = SVI(stock.model, stock.guide, pyro.optim.Adam({"lr": 1e-2}), stock.objective)
    batches = as_batches(x, 8, 3)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        losses = [svi.step(*batch) for epoch in range(2) for batch in batches.epoch(epoch)]
    assert history["loss"] == pytest.approx(losses, rel=1e-5)
    for a, b in zip(ours.parameters(), stock.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_training_enters_nothing_in_the_parameter_store(x):
    ppl_gen.fit(build(), x, epochs=1, **QUIET)
    assert not list(pyro.get_param_store().keys())


def test_a_model_left_in_evaluation_mode_is_trained_as_any_other(x):
    losses = []
    for evaluated in (False, True):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = zoo.gumbel_vae((1, 4, 4), 2, hidden=8).train(not evaluated)
        losses.append(ppl_gen.fit(model, x, epochs=3, **QUIET)["loss"])
        assert model.training
    assert losses[0] == losses[1]


def test_an_epoch_covers_the_data_once_with_a_short_last_batch():
    batches = as_batches(torch.arange(10.0), 4, 0)
    first, second = ([b for (b,) in batches.epoch(e)] for e in (0, 1))
    assert [len(b) for b in first] == [4, 4, 2]
    assert len(batches) == 3
    assert sorted(torch.cat(first).tolist()) == list(range(10))
    assert torch.cat(first).tolist() != torch.cat(second).tolist()
    again = [b for (b,) in batches.epoch(0)]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


class Images:
    def __init__(self, images, labels=None):
        self.images, self.labels = images, labels


@pytest.mark.parametrize(
    "wrap",
    [
        lambda x: x,
        lambda x: x.double().numpy(),
        lambda x: (x, torch.zeros(len(x))),
        lambda x: Images(x),
        lambda x: TensorDataset(x),
        lambda x: DataLoader(TensorDataset(x), batch_size=128),
    ],
    ids=["tensor", "array", "tuple", "images", "Dataset", "DataLoader"],
)
def test_every_kind_of_data_trains(wrap, x):
    history = ppl_gen.fit(build(), wrap(x), epochs=2, **QUIET)
    assert history.steps == 2
    assert set(history) == {"elbo", "reconstruction", "kl", "loss"}


def test_validation_is_recorded_and_changes_nothing(x):
    one, other = build(), build()
    with_it = ppl_gen.fit(one, x, epochs=3, validation=x[:5], batch_size=10, **QUIET)
    without = ppl_gen.fit(other, x, epochs=3, batch_size=10, **QUIET)
    assert with_it["loss"] == without["loss"]
    assert [not math.isnan(v) for v in with_it["val_elbo"]] == [False, True] * 3
    assert with_it["val_elbo"][1] != with_it["val_elbo"][3]


@pytest.mark.parametrize("stop_after", [1, 2])
def test_a_resumed_run_equals_the_uninterrupted_one(stop_after, x, tmp_path):
    def start():
        return build(objective=ELBO(weight=WarmUp(7)))

    options = {"batch_size": 8, "validation": x[:4], **QUIET}
    whole, path = start(), tmp_path / "run.pt"
    expected = ppl_gen.fit(whole, x, epochs=4, **options)
    with pytest.warns(UserWarning, match="warm-up of 7 steps to end"):
        ppl_gen.fit(start(), x, epochs=stop_after, checkpoint=path, **options)
    resumed = start()
    with torch.no_grad():
        for parameter in resumed.parameters():
            parameter.zero_()
    found = ppl_gen.fit(resumed, x, epochs=4, checkpoint=path, resume=True, **options)
    torch.testing.assert_close(dict(found), dict(expected), rtol=0, atol=0, equal_nan=True)
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key


def test_the_checkpoint_of_another_model_is_refused(x, tmp_path):
    path = tmp_path / "run.pt"
    ppl_gen.fit(build(), x, epochs=1, checkpoint=path, **QUIET)
    other = zoo.vae((1, 4, 4), 3, hidden=8)
    with pytest.raises(
        ValueError, match=r"checkpoint of this model.*latent_dim=2.* and is .*latent_dim=3"
    ):
        ppl_gen.fit(other, x, epochs=2, checkpoint=path, resume=True, **QUIET)
    heavy = zoo.beta_vae((1, 4, 4), 2, hidden=8, beta=7.0)
    with pytest.raises(ValueError, match=r"model was vae.* and is beta_vae"):
        ppl_gen.fit(heavy, x, epochs=2, checkpoint=path, resume=True, **QUIET)
    for options, match in [
        ({"lr": 0.1}, r"lr was 0\.001 and is 0\.1"),
        ({"seed": 5}, "seed was 0 and is 5"),
        ({"batch_size": 4}, "batch_size was 128 and is 4"),
    ]:
        with pytest.raises(ValueError, match=match):
            ppl_gen.fit(build(), x, epochs=2, checkpoint=path, resume=True, **options, **QUIET)
    ppl_gen.save(other, path)
    with pytest.raises(ValueError, match="expected a checkpoint file, got a model file"):
        ppl_gen.fit(other, x, epochs=2, checkpoint=path, resume=True, **QUIET)


def regression(x, y):
    weight = pyro.sample("weight", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    with pyro.plate("data", 200, subsample_size=len(x)):
        pyro.sample("y", dist.Normal(x @ weight, 0.1), obs=y)


@pytest.mark.parametrize("objective", [None, Trace_ELBO(), TraceGraph_ELBO()])
def test_any_pyro_pair_trains(objective):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, 2, generator=generator)
    truth = torch.tensor([1.5, -0.5])
    y = x @ truth + 0.1 * torch.randn(200, generator=generator)
    guide = AutoNormal(regression)
    pair = ppl_gen.Pair(regression, guide, objective)
    history = ppl_gen.fit(pair, (x, y), epochs=300, batch_size=200, lr=0.02, **QUIET)
    gram = x.T @ x / 0.01 + torch.eye(2)
    posterior = torch.linalg.solve(gram, x.T @ y / 0.01)
    torch.testing.assert_close(guide.median()["weight"], posterior, atol=0.01, rtol=0)
    assert history["loss"][-1] < history["loss"][0]


def test_a_pair_resumes_exactly(tmp_path):
    x = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    y = x.sum(1)

    def guide(x, y):
        loc = pyro.param("loc", torch.zeros(2))
        scale = pyro.param("scale", torch.ones(2), constraint=dist.constraints.positive)
        pyro.sample("weight", dist.Normal(loc, scale).to_event(1))

    def train(epochs, **options):
        pyro.clear_param_store()
        pair = ppl_gen.Pair(regression, guide)
        history = ppl_gen.fit(pair, (x, y), epochs=epochs, batch_size=80, **QUIET, **options)
        return history["loss"], {k: v.detach().clone() for k, v in pyro.get_param_store().items()}

    expected, parameters = train(5)
    train(2, checkpoint=tmp_path / "run.pt")
    found, resumed = train(5, checkpoint=tmp_path / "run.pt", resume=True)
    assert found == expected
    assert all(torch.equal(parameters[k], resumed[k]) for k in parameters)


def test_callbacks_see_every_step_and_clipping_bounds_the_update(x):
    seen = []
    model = build()
    before = torch.cat([p.detach().flatten() for p in model.parameters()])
    ppl_gen.fit(
        model,
        x,
        epochs=1,
        batch_size=20,
        lr=1.0,
        callbacks=[seen.append],
        optimizer=lambda parameters, lr: torch.optim.SGD(parameters, lr=lr),
        clip_norm=1e-3,
        **QUIET,
    )
    after = torch.cat([p.detach().flatten() for p in model.parameters()])
    assert len(seen) == 1
    assert seen[0]["loss"] > 0
    assert (after - before).norm().item() == pytest.approx(1e-3, rel=1e-3)


def test_two_players_take_turns():
    """A tiny adversarial game: the second player must see the first one's new parameters."""

    class Game:
        def __init__(self):
            self.a, self.b = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.tensor(0.0))
            self.seen = []

        @property
        def players(self):
            return {"a": [self.a], "b": [self.b]}

        def losses(self, *batch):
            yield "a", lambda x: (self.a**2 + 0 * x.sum(), {"value": self.a.detach()}), batch
            self.seen.append(self.a.item())
            metrics = yield "b", lambda x: ((self.b - self.a.detach()) ** 2, {}), batch
            assert metrics == {}

    game = Game()
    history = ppl_gen.fit(game, torch.ones(4, 1), epochs=2, lr=0.1, **QUIET)
    assert set(history) == {"a_value", "a_loss", "b_loss"}
    assert game.seen == pytest.approx([0.9, 0.8], abs=1e-3)
    assert history["b_loss"][0] == pytest.approx(0.81, abs=1e-3)


class Poisoned(nn.Module):
    """An encoder that fails on one image."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(16, 4)

    def forward(self, x):
        return self.linear(x.flatten(-3)) / (x.flatten(-3).sum(-1, keepdim=True) > 0)


def test_a_loss_that_is_not_finite_stops_with_its_place_and_site(x):
    x[7] = 0
    model = build(encoder=Poisoned())
    with pytest.raises(NonFiniteLossError, match=r"step \d+ \(epoch 1, batch \d\).*z \(guide\)"):
        ppl_gen.fit(model, x, epochs=1, batch_size=5, **QUIET)


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (torch.rand(4, 1, 5, 5), r"shape \(B, 1, 4, 4\), got \(4, 1, 5, 5\)"),
        (torch.full((4, 1, 4, 4), torch.nan), "without NaN"),
        (torch.full((4, 1, 4, 4), 2.0), r"pixels in \[0, 1\]"),
        (torch.rand(0, 1, 4, 4), "common length above zero"),
        ((torch.rand(4, 1, 4, 4), torch.rand(3)), r"common length.*\[4, 3\]"),
        ("digits", "expected a tensor.*got str"),
    ],
)
def test_bad_data_is_refused_before_any_work(data, match):
    model = build()
    before = [p.detach().clone() for p in model.parameters()]
    with pytest.raises(ValueError, match=match):
        ppl_gen.fit(model, data, epochs=1, **QUIET)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize("wrap", [TensorDataset, lambda x: DataLoader(TensorDataset(x), 4)])
@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda x: x[:, :, :2], r"shape \(B, 1, 4, 4\)"),
        (lambda x: x.long(), "floating-point images"),
        (lambda x: x * 3, "pixels in"),
        (lambda x: x * math.nan, "without NaN"),
    ],
)
def test_validation_data_are_looked_at_before_any_work(change, match, wrap, x):
    taken, held_out = [], wrap(change(x))
    with pytest.raises(ValueError, match=match):
        ppl_gen.fit(build(), x, validation=held_out, epochs=1, callbacks=[taken.append], **QUIET)
    assert not taken


def test_labels_of_a_data_set_are_looked_at_before_any_work(x):
    model, y = zoo.conditional_vae((1, 4, 4), 2, hidden=8), torch.arange(len(x)) % 10
    for bad, match in [(y + 5, "labels from 0 to 9"), (y.float(), "whole labels")]:
        with pytest.raises(ValueError, match=match):
            ppl_gen.fit(model, TensorDataset(x, bad), epochs=1, **QUIET)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"epochs": True}, "whole number from 0 for epochs, got True"),
        ({"batch_size": True}, "batch_size >= 1, got True"),
        ({"lr": True}, "lr > 0, got True"),
        ({"epochs": -1}, "whole number from 0 for epochs, got -1"),
        ({"epochs": 1.5}, "whole number from 0 for epochs, got 1.5"),
        ({"epochs": None}, "whole number from 0 for epochs, got None"),
        ({"seed": None}, "whole seed"),
        ({"callbacks": [3]}, "functions as callbacks"),
        ({"callbacks": print}, "functions as callbacks, got <built-in function print>"),
        ({"lr": 0.0}, "lr > 0"),
        ({"lr": "fast"}, "lr > 0, got 'fast'"),
        ({"lr": math.inf}, "lr > 0, got inf"),
        ({"clip_norm": -1}, "clip_norm > 0, got -1"),
        ({"batch_size": 0}, "batch_size >= 1, got 0"),
        ({"resume": True}, "checkpoint path to resume from"),
    ],
)
def test_bad_settings_are_refused(options, match, x):
    with pytest.raises(ValueError, match=match):
        ppl_gen.fit(build(), x, **options, **QUIET)
    with pytest.raises(ValueError, match=r"a model of ppl_gen\.zoo, .*got Linear"):
        ppl_gen.fit(nn.Linear(1, 1), x)


def test_the_history_is_a_table_with_gaps():
    history = ppl_gen.History()
    history.record({"a": 1.0})
    history.record({"a": 2.0, "b": 3.0})
    history.amend({"c": 4.0})
    frame = history.to_frame()
    assert frame.index.tolist() == [1, 2]
    assert frame["b"].isna().tolist() == [True, False]
    assert "steps=2" in repr(history)
    with pytest.raises(KeyError, match="metric among a, b, c, got 'd'"):
        history["d"]


def test_a_compiled_run_trains_as_the_eager_one(x):
    histories = []
    for staged in (True, False):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = zoo.autoencoder((1, 4, 4), 2, hidden=8)
        histories.append(
            ppl_gen.fit(model, x, epochs=5, batch_size=10, staged=staged, progress=False)
        )
    assert histories[0]["loss"] == pytest.approx(histories[1]["loss"], rel=1e-5)


def test_a_step_that_cannot_be_staged_says_why_and_runs_eagerly(x, monkeypatch):
    monkeypatch.setattr("ppl_gen.staging.costs.pays", lambda work, steps: True)

    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(16, 4)

        def forward(self, images):
            found = self.linear(images.flatten(-3))
            return found if found.mean() > 0 else -found

    def start():
        torch.manual_seed(0)
        return zoo.vae((1, 4, 4), 2, encoder=Branching(), hidden=8)

    with pytest.warns(StagingWarning):
        found = ppl_gen.fit(start(), x, epochs=2, progress=False)
    expected = ppl_gen.fit(start(), x, epochs=2, **QUIET)
    assert found["loss"] == expected["loss"]
    assert "eager, since the program reads the value" in found.staging
    with pytest.raises(StagingError):
        ppl_gen.fit(start(), x, epochs=1, staged=True, progress=False)
