"""Metrics along training, averages with statistics of their own, and what rates the weights."""

import math

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

import ppl_gen
from ppl_gen import priors, zoo
from ppl_gen.models.adversarial import Game
from ppl_gen.networks import MLP
from ppl_gen.objectives import divergences

QUIET = {"staged": False, "progress": False, "batch_size": 20}
EMA = {"generator": 0.9, "critic": None}


def rows(n=100, seed=0):
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed))


def normalized():
    torch.manual_seed(0)
    generator = nn.Sequential(nn.Linear(3, 8, bias=False), nn.BatchNorm1d(8), nn.Linear(8, 2))
    return Game(generator, MLP([(2,)], [8], (1,)), priors.StandardNormal(3), (2,), divergences.kl)


def build():
    torch.manual_seed(0)
    return zoo.gan((2,), 3, hidden=8)


# --- Metrics --------------------------------------------------------------------------------------


@pytest.mark.parametrize("validation", [None, rows(30, 1)])
def test_metrics_of_a_game_are_recorded_at_validations_and_the_lowest_is_the_best(
    validation, tmp_path
):
    values, seen = iter([3.0, 1.0, 2.0, 4.0]), []

    def fid(model):
        seen.append([p.clone() for p in model.generator.parameters()])
        return torch.tensor(next(values))

    path, game = tmp_path / "run.pt", build()
    options = {"validation": validation, "checkpoint": path, "ema": EMA, **QUIET}
    history = ppl_gen.fit(game, rows(), epochs=4, metrics={"fid": fid}, **options)
    steps = [value for value in history["val_fid"] if not math.isnan(value)]
    assert steps == [3.0, 1.0, 2.0, 4.0]
    assert history["val_fid"][4] == 3.0
    assert ("val_critic_real" in history) == (validation is not None)
    best = ppl_gen.load(f"{path}.best")
    assert all(map(torch.equal, best.generator.parameters(), seen[1]))
    assert all(map(torch.equal, game.generator.parameters(), seen[3]))


def test_a_metric_draws_from_a_seed_of_its_own_and_changes_no_step():
    expected, game = build(), build()
    ppl_gen.fit(expected, rows(), epochs=2, **QUIET)
    found = []

    def drawn(model):
        found.append(torch.randn(3).sum().item())
        return model.sample(50).mean()

    ppl_gen.fit(game, rows(), epochs=2, evaluate_every=2, metrics={"mean": drawn}, **QUIET)
    assert len(found) == 5
    assert len(set(found)) == 1
    assert all(map(torch.equal, game.parameters(), expected.parameters()))


def test_patience_waits_for_the_metric_of_a_name_also_where_there_is_an_elbo():
    torch.manual_seed(0)
    vae, x = zoo.vae((2,), 2, hidden=8, likelihood="gaussian"), rows()
    values = iter([5.0, 4.0, 4.5, 4.6, 0.0])
    options = {"validation": rows(20, 1), "metrics": {"fid": lambda model: next(values)}, **QUIET}
    history = ppl_gen.fit(vae, x, epochs=9, patience=2, score="fid", **options)
    assert history.steps == 4 * 5
    values = iter([5.0] * 9)
    history = ppl_gen.fit(vae, x, epochs=9, patience=3, lr=1e-5, **options)
    assert history.steps == 9 * 5  # by the ELBO, which rises


def test_a_plateau_may_be_one_of_a_metric():
    values = iter([1.0, 2.0, 2.0, 2.0])
    made = []

    def scheduler(optimizer):
        made.append(ReduceLROnPlateau(optimizer, factor=0.1, patience=0))
        return made[-1]

    metrics = {"fid": lambda model: next(values)}
    ppl_gen.fit(build(), rows(), epochs=4, metrics=metrics, lr=1.0, scheduler=scheduler, **QUIET)
    assert [each.optimizer.param_groups[0]["lr"] for each in made] == pytest.approx([1e-3] * 2)


def never(*_):
    raise AssertionError("trained before it was refused")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"patience": 1}, "validation data or metrics to judge by with a patience"),
        ({"patience": 1, "validation": rows(20)}, "a loss or an ELBO .* got metrics critic_real"),
        ({"score": "fid", "validation": rows(20)}, "expected fid to judge by, got .*critic_real"),
        ({"score": "kid", "metrics": {"fid": never}}, "expected kid to judge by, got metrics none"),
        ({"score": "fid"}, "score to name a metric .*, got 'fid' and neither"),
        ({"score": 3, "metrics": {"fid": never}}, "score to name a metric .*, got 3"),
        ({"metrics": never}, "metrics as functions of the model by name"),
        ({"metrics": {"fid": 3.0}}, "metrics as functions of the model by name"),
        ({"scheduler": ReduceLROnPlateau}, "validation data for ReduceLROnPlateau"),
        ({"scheduler": ReduceLROnPlateau, "validation": rows(20)}, "got metrics critic_real"),
    ],
)
def test_what_cannot_be_judged_is_refused_before_any_training(options, match):
    with pytest.raises(ValueError, match=match):
        ppl_gen.fit(build(), rows(), callbacks=[never], **QUIET | options)


def test_a_metric_that_is_no_number_is_named():
    with pytest.raises(ValueError, match="expected a number of metric fid, got None"):
        ppl_gen.fit(build(), rows(), metrics={"fid": lambda model: None}, **QUIET)


def test_a_score_of_validation_data_may_be_named():
    options = {"validation": rows(20, 1), "patience": 1, "score": "critic_real", **QUIET}
    history = ppl_gen.fit(build(), rows(), epochs=50, lr=1e-2, **options)
    held = [value for value in history["val_critic_real"] if not math.isnan(value)]
    assert held[-1] >= min(held[:-1])
    assert history.steps == 5 * len(held)


# --- Averages and their statistics ----------------------------------------------------------------


def moments(game):
    """What the layer before the normalisation gives for many latents."""
    with torch.no_grad():
        weight = game.generator[0].weight
        return torch.zeros(8), weight.square().sum(1)


def test_the_averaged_generator_has_statistics_of_its_own():
    game, seen = normalized(), []

    def look(model):
        layer = model.generator[1]
        seen.append([layer.running_mean.clone(), layer.running_var.clone(), moments(model)])
        return 0.0

    x, options = rows(3200), {"lr": 0.05, "staged": False, "progress": False, "batch_size": 200}
    ppl_gen.fit(game, x, epochs=2, ema=EMA, metrics={"look": look}, **options)
    layer = game.generator[1]
    seen.append([layer.running_mean, layer.running_var, moments(game)])
    for mean, variance, (true_mean, true_variance) in seen:
        scale = true_variance.sqrt()
        assert ((mean - true_mean) / scale).abs().max() < 0.1  # of 3,200 latents
        assert (variance / true_variance - 1).abs().max() < 0.12
    assert layer.momentum == 0.1
    assert layer.num_batches_tracked == 16


def test_looking_at_averages_changes_neither_the_weights_nor_the_statistics_of_training():
    expected, game = normalized(), normalized()
    options = {"lr": 0.05, "ema": EMA, **QUIET}
    ppl_gen.fit(expected, rows(), epochs=2, **options)
    watched = {"evaluate_every": 1, "metrics": {"mean": lambda model: model.sample(5).mean()}}
    ppl_gen.fit(game, rows(), epochs=2, **watched, **options)
    state = expected.state_dict()
    assert all(value.equal(state[name]) for name, value in game.state_dict().items())
    raw, averaged = normalized(), normalized()
    along = []
    options["callbacks"] = [lambda _: along.append(raw.generator[1].running_var.clone())]
    ppl_gen.fit(raw, rows(), epochs=1, **options)
    ppl_gen.fit(averaged, rows(), epochs=1, **options | {"callbacks": [], "ema": None})
    assert averaged.generator[1].running_var.equal(along[-1])


def test_only_statistics_of_averaged_players_are_estimated():
    game = normalized()
    game.critic = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    ppl_gen.fit(game, rows(), epochs=1, ema=EMA, **QUIET)
    assert game.critic[1].num_batches_tracked == 15  # 2 + 1 in each of five steps
    assert game.generator[1].num_batches_tracked == 5


def test_statistics_that_no_pass_runs_are_those_of_training():
    """Turns that come one by one are not known without their steps."""

    class OneByOne(Game):
        visit = None

        def losses(self, x):
            yield "critic", self.criticize, (x,)
            yield "generator", self.generate, (len(x),)

    averaged, raw = normalized(), normalized()
    averaged.__class__ = raw.__class__ = OneByOne
    ppl_gen.fit(averaged, rows(), epochs=2, ema=EMA, **QUIET)
    ppl_gen.fit(raw, rows(), epochs=2, **QUIET)
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        assert getattr(averaged.generator[1], name).equal(getattr(raw.generator[1], name))


def test_an_interrupted_fit_leaves_averages_and_their_statistics(tmp_path):
    game, whole = normalized(), normalized()
    options = {"ema": EMA, "lr": 0.05, **QUIET}

    def stop(found):
        if found["step"] == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ppl_gen.fit(game, rows(), epochs=3, callbacks=[stop], **options)
    ppl_gen.fit(whole, rows(), epochs=1, **options)
    state = whole.state_dict()
    assert all(value.equal(state[name]) for name, value in game.state_dict().items())


def test_averages_and_their_statistics_resume_to_the_bit(tmp_path):
    options = {"ema": EMA, "lr": 0.05, "metrics": {"mean": lambda m: m.sample(9).mean()}, **QUIET}
    whole, resumed, path = normalized(), normalized(), tmp_path / "run.pt"
    expected = ppl_gen.fit(whole, rows(), epochs=4, **options)
    ppl_gen.fit(normalized(), rows(), epochs=2, checkpoint=path, **options)
    found = ppl_gen.fit(resumed, rows(), epochs=4, checkpoint=path, resume=True, **options)
    assert found.to_frame().equals(expected.to_frame())
    state = whole.state_dict()
    assert all(value.equal(state[name]) for name, value in resumed.state_dict().items())
