"""Steps taken whole, several in a call, are the steps of the loop: they change nothing else."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO
from small_models import breaking_pair
from torch import nn, optim
from torch.optim import lr_scheduler

import ppl_gen
from ppl_gen import zoo
from ppl_gen.objectives import ELBO
from ppl_gen.schedules import PIController
from ppl_gen.staging import backends, costs, torch_internals
from ppl_gen.staging.cycles import WholeCycles
from ppl_gen.training.run import NonFiniteLossError

X = torch.rand(23, 1, 4, 4, generator=torch.Generator().manual_seed(0)).round()
OPTIONS = {"epochs": 4, "batch_size": 5, "lr": 1e-2, "progress": False}


@pytest.fixture
def taken(monkeypatch):
    """How many steps each call took; graphs count as compiled and run operation by operation."""
    counts = []

    def take(self, batches, take=WholeCycles.take):
        results = take(self, batches)
        counts.append(0 if results is None else len(results))
        return results

    monkeypatch.setattr(WholeCycles, "take", take)
    monkeypatch.setattr(torch_internals, "why_not_compiled", lambda devices: None)
    monkeypatch.setattr(backends, "compiled", lambda module, _: lambda *values: module(*values))
    return counts


class Normalising(nn.Module):
    """An encoder whose statistics each step moves."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(-3),
            nn.Linear(16, 8, bias=False),
            nn.BatchNorm1d(8),
            nn.ReLU(),
            nn.Linear(8, 4),
        )

    def forward(self, x):
        return self.layers(x)


def build(**parts):
    pyro.clear_param_store()
    torch.manual_seed(0)
    objective = ELBO(weight=PIController(0.5, integral=0.1))
    return zoo.vae((1, 4, 4), 2, encoder=Normalising(), hidden=8, objective=objective, **parts)


def by_layer(kind, **options):
    def make(parameters, lr):
        first, *rest = parameters
        groups = [{"params": [first], "lr": 3 * lr}, {"params": rest, "weight_decay": 0.1}]
        return kind(groups, lr, **options)

    return make


WAYS = {
    "Adam": {},
    "weight decay": {"optimizer": lambda p, lr: optim.Adam(p, lr, weight_decay=0.3)},
    "AdamW": {"optimizer": lambda p, lr: optim.AdamW(p, lr, weight_decay=0.3)},
    "moments": {"optimizer": lambda p, lr: optim.Adam(p, lr, (0.5, 0.8), eps=1e-2)},
    "SGD": {"optimizer": optim.SGD, "lr": 1e-4},
    "momentum": {"optimizer": lambda p, lr: optim.SGD(p, lr, 0.8, weight_decay=0.3), "lr": 1e-4},
    "Nesterov": {"optimizer": lambda p, lr: optim.SGD(p, lr, 0.8, nesterov=True), "lr": 1e-4},
    "RMSprop": {"optimizer": lambda p, lr: optim.RMSprop(p, lr, eps=1e-3)},
    "centred": {
        "optimizer": lambda p, lr: optim.RMSprop(
            p, lr, 0.9, 1e-2, weight_decay=0.3, momentum=0.5, centered=True
        )
    },
    "groups": {"optimizer": by_layer(optim.AdamW)},
    "clipping": {"clip_norm": 3.0, "optimizer": lambda p, lr: optim.Adam(p, lr, eps=1.0)},
    "averages": {"ema": 0.8},
    "schedule": {"scheduler": lambda o: lr_scheduler.OneCycleLR(o, 3e-2, total_steps=20)},
}


@pytest.mark.parametrize("name", WAYS)
def test_they_are_the_steps_of_torch_optimisers_and_schedulers(name, taken):
    eager, whole = build(), build()
    expected = ppl_gen.fit(eager, X, staged=False, **OPTIONS | WAYS[name])
    found = ppl_gen.fit(whole, X, staged=True, steps_per_call=3, **OPTIONS | WAYS[name])
    assert taken == [3, 1, 1] * 4  # the last batch of an epoch is short
    for column, values in expected.items():
        assert found[column] == pytest.approx(values, rel=1e-4, abs=1e-5), column
    for key, value in eager.state_dict().items():
        torch.testing.assert_close(whole.state_dict()[key], value, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    "make",
    [
        lambda p, lr: optim.Adam(p, lr, amsgrad=True),
        lambda p, lr: optim.Adam(p, torch.tensor(lr), foreach=False),
        lambda p, lr: optim.SGD(p, lr / 100, 0.5, dampening=0.1),
        optim.Adagrad,
    ],
)
def test_where_the_optimiser_does_more_steps_are_taken_one_by_one(make, taken):
    eager, other = build(), build()
    expected = ppl_gen.fit(eager, X, staged=False, optimizer=make, **OPTIONS)
    found = ppl_gen.fit(other, X, staged=True, optimizer=make, steps_per_call=3, **OPTIONS)
    assert not any(taken)
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-5)


def test_hooks_of_an_optimiser_are_called_after_every_step(taken):
    counts = []

    def make(parameters, lr):
        optimizer = optim.Adam(parameters, lr)
        optimizer.register_step_post_hook(lambda *_: counts.append(1))
        return optimizer

    ppl_gen.fit(build(), X, staged=True, optimizer=make, steps_per_call=3, **OPTIONS)
    assert len(counts) == 20


def test_a_constant_that_changes_during_training_counts(taken):
    def train(**how):
        made = []

        def make(parameters, lr):
            made.append(optim.AdamW(parameters, lr, weight_decay=0.0))
            return made[0]

        def decay(metrics):
            if metrics["step"] == 8:
                made[0].param_groups[0]["weight_decay"] = 0.5

        return ppl_gen.fit(build(), X, optimizer=make, callbacks=[decay], **OPTIONS | how)["loss"]

    assert train(staged=True) == pytest.approx(train(staged=False), rel=1e-4)
    assert taken[:8] == [1] * 8


def test_parameters_with_gradients_on_some_batches_are_counted_apart(taken):
    def model(x):
        both = [pyro.param(name, torch.zeros(4)) for name in ("always", "full")]
        mean = sum(both if len(x) == 5 else both[:1])
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(mean, 1.0).to_event(1), obs=x)

    found = []
    data = torch.rand(23, 4, generator=torch.Generator().manual_seed(0))
    for how in ({"staged": False}, {"staged": True, "steps_per_call": 2}):
        pyro.clear_param_store()
        pair = ppl_gen.Pair(model, lambda x: None, Trace_ELBO())
        found.append(ppl_gen.fit(pair, data, **OPTIONS | how)["loss"])
    pyro.clear_param_store()
    assert found[1] == pytest.approx(found[0], rel=1e-5)
    assert taken[:3] == [2, 2, 1]


def test_a_compiled_update_that_is_wrong_is_not_used(taken, monkeypatch):
    def wrong(module, inputs):
        def run(*values):
            versions = [value._version for value in values]
            results = module(*values)
            for value, version in zip(values, versions, strict=True):
                if value.requires_grad and value._version != version:
                    value.mul_(1.01)
            return results

        return run

    monkeypatch.setattr(backends, "compiled", wrong)
    monkeypatch.setattr(costs, "pays", lambda work, steps: True)
    expected = ppl_gen.fit(build(), X, staged=False, **OPTIONS)["loss"]
    found = ppl_gen.fit(build(), X, staged="auto", steps_per_call=3, **OPTIONS)["loss"]
    assert not any(taken)
    assert found == pytest.approx(expected, rel=1e-4)


def test_calls_end_where_the_state_is_looked_at(taken, tmp_path):
    options = OPTIONS | {"staged": True, "steps_per_call": 4, "evaluate_every": 3}
    ppl_gen.fit(build(), X, validation=X[:5], checkpoint=tmp_path / "run.pt", **options)
    ends = set(torch.tensor(taken).cumsum(0).tolist())
    assert {*range(3, 21, 3), *range(5, 21, 5)} <= ends
    assert max(taken) > 1


class Fragile(nn.Module):
    """An encoder that fails on a blank image, with noise of its own and a running statistic."""

    def __init__(self):
        super().__init__()
        self.linear, self.norm = nn.Linear(16, 4), nn.BatchNorm1d(16)

    def forward(self, x):
        flat = x.flatten(-3)
        return self.linear(self.norm(flat)) / (flat.sum(-1, keepdim=True) > 0)


@pytest.mark.parametrize("blank", [7, 1])  # in the last step of a call of four, in the first
def test_a_loss_that_is_not_finite_is_the_last_within_a_call_too(taken, blank):
    x = X.clone()
    x[blank] = 0
    stopped = []
    for how in ({"staged": False}, {"staged": True, "steps_per_call": 4}):
        pyro.clear_param_store()
        torch.manual_seed(0)
        objective = ELBO(weight=PIController(0.5, integral=0.1))
        model = zoo.vae((1, 4, 4), 2, encoder=Fragile(), hidden=8, objective=objective)
        with pytest.raises(NonFiniteLossError) as caught:
            ppl_gen.fit(model, x, ema=0.9, seed=1, **OPTIONS | how)
        stopped.append((str(caught.value), dict(model.named_parameters())))
        assert all(buffer.isfinite().all() for buffer in objective.buffers())
    assert max(taken) > 1
    assert stopped[0][0] == stopped[1][0]
    assert "z (guide)" in stopped[0][0]
    for name, value in stopped[0][1].items():
        torch.testing.assert_close(stopped[1][1][name], value, rtol=1e-4, atol=1e-6)


def test_a_site_is_named_that_only_the_draws_of_its_step_break(taken):
    messages = []
    for how in ({"staged": False}, {"staged": True, "steps_per_call": 5}):
        pyro.clear_param_store()
        with pytest.raises(NonFiniteLossError) as caught:
            ppl_gen.fit(ppl_gen.Pair(*breaking_pair()), torch.zeros(40), **OPTIONS | how)
        messages.append(str(caught.value))
    pyro.clear_param_store()
    assert max(taken) > 1
    assert messages[0] == messages[1]
    assert "not finite: " in messages[0]


def test_a_parameter_that_comes_late_is_refused_within_calls_too(taken):
    def model(x):
        shift = pyro.param("shift", torch.zeros(())) + pyro.param(f"of {len(x)}", torch.zeros(()))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(shift, 1.0), obs=x)

    pyro.clear_param_store()
    pair = ppl_gen.Pair(model, lambda x: None, Trace_ELBO())
    with pytest.raises(ValueError, match="later ones created of 3"):
        ppl_gen.fit(pair, torch.rand(23), staged=True, steps_per_call=3, **OPTIONS)
    pyro.clear_param_store()
