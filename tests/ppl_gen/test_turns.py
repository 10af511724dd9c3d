"""Several players: whose turn it is, with which settings, and what follows, in closed form."""

import pytest
import torch
from torch import nn, optim

import ppl_gen
from ppl_gen import Turn, zoo
from ppl_gen.staging import backends, costs, lean_optimizers, torch_internals
from ppl_gen.staging.cycles import WholeCycles

X = torch.zeros(12, 1)
QUIET = {"progress": False, "staged": False}


def sgd(parameters, lr):
    return optim.SGD(parameters, lr=lr)


class Dirac:
    """The game of two points: the critic ascends ψθ, the generator descends it."""

    def __init__(self, clip=None, critic_steps=1):
        self.theta = nn.Parameter(torch.tensor(1.0, dtype=torch.float64))
        self.psi = nn.Parameter(torch.tensor(0.5, dtype=torch.float64))
        self.bound, self.critic_steps, self.taken, self.seen = clip, critic_steps, [], []

    @property
    def players(self):
        return {"critic": [self.psi], "generator": [self.theta]}

    def criticise(self, x):
        return -self.psi * self.theta.detach() + 0 * x.sum(), {"psi": self.psi.detach()}

    def generate(self, x):
        return self.theta * self.psi.detach() + 0 * x.sum(), {}

    @torch.no_grad()
    def clip(self):
        if self.bound is not None:
            self.psi.clamp_(-self.bound, self.bound)

    def losses(self, x):
        for _ in range(self.critic_steps):
            self.taken.append("critic")
            yield Turn("critic", self.criticise, (x,), after=self.clip)
        self.seen.append(self.psi.item())
        self.taken.append("generator")
        yield "generator", self.generate, (x,)


@pytest.mark.parametrize("staged", [False, "auto"])
def test_a_turn_sees_the_new_parameters_of_the_one_before(staged, monkeypatch):
    monkeypatch.setattr(costs, "pays", lambda work, steps: True)
    monkeypatch.setattr(torch_internals, "why_not_compiled", lambda devices: None)
    monkeypatch.setattr(backends, "compiled", lambda module, _: lambda *values: module(*values))
    game, rate = Dirac(), 0.1
    theta, psi = 1.0, 0.5
    conserved = theta**2 + psi**2 + rate * theta * psi
    if staged:
        game.losses = lambda x: iter(
            [("critic", game.criticise, (x,)), ("generator", game.generate, (x,))]
        )
    options = {"epochs": 50, "batch_size": 1, "lr": rate, "optimizer": sgd, "progress": False}
    ppl_gen.fit(game, X, staged=staged, **options)
    for _ in range(600):
        psi += rate * theta
        theta -= rate * psi
    assert game.theta.item() == pytest.approx(theta, abs=1e-12)
    assert game.psi.item() == pytest.approx(psi, abs=1e-12)
    theta, psi = game.theta.item(), game.psi.item()
    kept = theta**2 + psi**2 + rate * theta * psi
    assert kept == pytest.approx(conserved, rel=1e-9)


def test_what_follows_a_turn_precedes_the_next_and_turns_are_counted():
    game = Dirac(clip=0.6, critic_steps=3)
    ppl_gen.fit(game, X, epochs=5, batch_size=4, lr=0.3, optimizer=sgd, **QUIET)
    assert max(map(abs, game.seen)) == 0.6
    assert (game.taken.count("critic"), game.taken.count("generator")) == (45, 15)


def test_the_record_of_several_turns_is_their_mean():
    game = Dirac(critic_steps=3)
    history = ppl_gen.fit(game, X, epochs=1, batch_size=12, lr=0.1, optimizer=sgd, **QUIET)
    assert history["critic_psi"] == [pytest.approx((0.5 + 0.6 + 0.7) / 3)]
    assert history["critic_loss"] == [pytest.approx(-0.6)]
    assert history["generator_loss"] == [pytest.approx(0.8)]


def test_each_player_has_its_own_settings():
    game = Dirac()
    options = {
        "lr": {"critic": 0.2, "generator": 0.05},
        "optimizer": {"generator": sgd, "critic": lambda p, lr: optim.SGD(p, 2 * lr)},
        "clip_norm": {"critic": 0.25, "generator": None},
    }
    ppl_gen.fit(game, X, epochs=1, batch_size=12, **options, **QUIET)
    psi = 0.5 + 2 * 0.2 * 0.25
    assert game.psi.item() == pytest.approx(psi)
    assert game.theta.item() == pytest.approx(1 - 0.05 * psi)


class Untouched:
    """Data that nobody may look at."""

    @property
    def images(self):
        raise AssertionError("data were read before settings were checked")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"lr": {"critic": 0.1}}, "lr for each of the players critic, generator, got critic"),
        ({"lr": {}}, "lr for each of the players critic, generator, got none"),
        ({"ema": {"critic": 0.9}}, "ema for each of the players"),
        (
            {"optimizer": {"critic": sgd, "generator": sgd, "judge": sgd}},
            "optimizer for each of the players critic, generator, got critic, generator, judge",
        ),
        ({"lr": {"critic": 0.1, "generator": None}}, "lr > 0, got None"),
        ({"lr": {"critic": 0.1, "generator": -1}}, "lr > 0, got -1"),
        ({"ema": {"critic": None, "generator": 1.0}}, r"ema decay in \(0, 1\), got 1.0"),
        ({"clip_norm": {"critic": 0, "generator": None}}, "clip_norm > 0, got 0"),
        ({"optimizer": {"critic": sgd, "generator": "sgd"}}, "as optimizer, got 'sgd'"),
    ],
)
def test_settings_that_do_not_fit_the_players_are_refused_at_once(options, match):
    game = Dirac()
    with pytest.raises(ValueError, match=match):
        ppl_gen.fit(game, Untouched(), **options, **QUIET)
    assert game.taken == []


@pytest.mark.parametrize("turn", ["critic", ("critic",), ("critic", 1), (*"critic",)])
def test_a_turn_is_a_tuple_of_a_player_a_loss_and_perhaps_more(turn):
    game = Dirac()
    game.losses = lambda x: iter([turn])
    with pytest.raises(ValueError, match="expected a Turn"):
        ppl_gen.fit(game, X, **QUIET)


def test_averages_warm_up_and_are_those_of_the_players_that_have_them():
    game, theta, psi = Dirac(), 1.0, 0.5
    ema = {"generator": 0.9, "critic": None}
    ppl_gen.fit(game, X, epochs=20, batch_size=4, lr=0.1, optimizer=sgd, ema=ema, **QUIET)
    average, decays = theta, []
    for n in range(60):
        psi += 0.1 * theta
        theta -= 0.1 * psi
        decays.append(min(0.9, (1 + n) / (10 + n)))
        average = decays[-1] * average + (1 - decays[-1]) * theta
    assert decays[0] == 0.1 < decays[40] < decays[-1]
    assert game.theta.item() == pytest.approx(average, abs=1e-12)
    assert game.psi.item() == pytest.approx(psi, abs=1e-12)


class Regression:
    """Two players of one loss, that is the same for every batch."""

    def __init__(self):
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(1, 4), nn.Linear(4, 1)

    @property
    def players(self):
        return {"first": self.first.parameters(), "second": self.second.parameters()}

    def loss(self, x):
        error = self.second(self.first(x).tanh() + torch.randn(len(x), 4)) - x.sin()
        return error.square().sum(), {"bias": error.detach().mean()}


BY_PLAYER = {
    "lr": {"first": 1e-2, "second": 1e-3},
    "ema": {"first": None, "second": 0.8},
    "clip_norm": {"first": 1.0, "second": None},
    "optimizer": {
        "first": lambda p, lr: optim.AdamW(p, lr, weight_decay=0.1),
        "second": lambda p, lr: optim.Adam(p, lr, (0.5, 0.9)),
    },
}


def regress(model=None, **options):
    model = Regression() if model is None else model
    data = torch.randn(50, 1, generator=torch.Generator().manual_seed(0))
    shared = {"epochs": 4, "batch_size": 10, "progress": False, **BY_PLAYER}
    return model, ppl_gen.fit(model, data, **shared | options)


def weights(model):
    return [p.detach() for ps in model.players.values() for p in ps]


def test_one_loss_of_several_players_is_one_step_of_each_and_several_in_a_call(monkeypatch):
    counts = []

    def take(self, batches, take=WholeCycles.take):
        results = take(self, batches)
        counts.append(0 if results is None else len(results))
        return results

    eager, expected = regress(staged=False)
    monkeypatch.setattr(WholeCycles, "take", take)
    monkeypatch.setattr(costs, "pays", lambda work, steps: True)
    monkeypatch.setattr(torch_internals, "why_not_compiled", lambda devices: None)
    monkeypatch.setattr(backends, "compiled", lambda module, _: lambda *values: module(*values))
    together, found = regress(staged="auto", steps_per_call=5)
    singly, same = regress(staged="auto", steps_per_call=1)
    assert counts == [4] + [5] * 3 + [1] * 19  # the first step is counted, eagerly
    assert list(found) == ["bias", "loss"]
    assert dict(found) == dict(same)
    assert all(map(torch.equal, weights(together), weights(singly)))
    for name, column in expected.items():
        assert found[name] == pytest.approx(column, rel=1e-4, abs=1e-5)
    for one, other in zip(weights(eager), weights(together), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("staged", [False, "auto"])
def test_a_run_with_settings_by_player_resumes_to_the_bit(staged, tmp_path, monkeypatch):
    monkeypatch.setattr(costs, "pays", lambda work, steps: True)
    monkeypatch.setattr(torch_internals, "why_not_compiled", lambda devices: None)
    monkeypatch.setattr(backends, "compiled", lambda module, _: lambda *values: module(*values))
    whole, expected = regress(staged=staged)
    shared = {"staged": staged, "checkpoint": tmp_path / "run.pt"}
    regress(epochs=2, **shared)
    resumed, found = regress(resume=True, **shared)
    assert dict(found) == dict(expected)
    assert all(map(torch.equal, weights(whole), weights(resumed)))
    with pytest.raises(ValueError, match=r"lr was .*first.* and is 0.001"):
        regress(resume=True, **shared | {"lr": 1e-3})


def test_an_overridden_learning_rate_may_be_by_player(tmp_path):
    path = tmp_path / "run.pt"
    regress(epochs=2, staged=False, checkpoint=path)
    changed = {"lr": {"first": 1e-12, "second": 1e-3}, "epochs": 3, "override": "lr"}
    found, _ = regress(staged=False, checkpoint=path, resume=True, **changed)
    before, _ = regress(epochs=2, staged=False)
    torch.testing.assert_close(found.first.weight, before.first.weight, rtol=0, atol=1e-6)
    assert not torch.allclose(found.second.weight, before.second.weight, rtol=0, atol=1e-6)


def test_the_discriminator_of_a_factor_vae_learns_as_published(monkeypatch):
    images = torch.rand(20, 1, 4, 4).round()
    model = zoo.factor_vae((1, 4, 4), 2, hidden=[8])
    sizes = {name: len(list(ps)) for name, ps in model.players.items()}
    record = []

    class Recorder(optim.Adam):
        def __init__(self, parameters, lr, betas, fused):
            parameters = list(parameters)
            record.append((len(parameters), lr, betas))
            super().__init__(parameters, lr=lr, betas=betas, fused=fused)

    monkeypatch.setattr(lean_optimizers, "Adam", Recorder)
    history = ppl_gen.fit(model, images, epochs=1, **QUIET)
    betas = {"vae": (0.9, 0.999), "discriminator": (0.5, 0.9)}
    assert record == [(sizes[name], 1e-4, betas[name]) for name in ("vae", "discriminator")]
    assert {"elbo", "total_correlation", "discrimination", "loss"} <= set(history)
    record.clear()
    ppl_gen.fit(model, images, epochs=1, lr=2e-3, **QUIET)
    assert record == [(sizes[name], 2e-3, betas[name]) for name in ("vae", "discriminator")]


def test_a_run_of_a_factor_vae_as_one_player_continues(tmp_path):
    """As one player, its two parts had one optimiser."""
    images = torch.rand(20, 1, 4, 4, generator=torch.Generator().manual_seed(0)).round()
    together = {"lr": 1e-3, "batch_size": 5, "optimizer": lambda p, lr: optim.Adam(p, lr), **QUIET}

    def run(epochs, players=True, **options):
        torch.manual_seed(0)
        model = zoo.factor_vae((1, 4, 4), 2, hidden=[8])
        if not players:
            model.__class__ = type(
                "Whole", (type(model),), {"players": ppl_gen.GenerativeModel.players}
            )
        return model, ppl_gen.fit(model, images, epochs=epochs, **together, **options)

    path = tmp_path / "run.pt"
    expected, history = run(4)
    run(2, players=False, checkpoint=path)
    found, continued = run(4, checkpoint=path, resume=True)
    assert dict(continued) == dict(history)
    for name, tensor in expected.state_dict().items():
        assert torch.equal(found.state_dict()[name], tensor)
