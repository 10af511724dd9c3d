"""Generators that look ahead of the critic: closed recursions, differences, and the plain GAN."""

import copy

import pytest
import torch
from torch import nn, optim

import ppl_gen
from ppl_gen import divergences, priors, zoo
from ppl_gen.models.adversarial import Game
from ppl_gen.models.unrolling import Ahead
from ppl_gen.networks import MLP
from ppl_gen.regularizers import R1, Clip, GradientPenalty, spectral_norm
from ppl_gen.staging import backends, torch_internals

QUIET = {"progress": False, "staged": False}


def sgd(parameters, lr):
    return optim.SGD(parameters, lr=lr)


def rows(n=60, seed=0, dtype=torch.float32):
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed), dtype=dtype)


class Point(nn.Module):
    """A generator of one point."""

    def __init__(self):
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(1.0, dtype=torch.float64))

    def forward(self, z):
        return self.theta.expand(len(z), 1)


def bilinear(steps, inner_lr):
    critic = nn.Linear(1, 1, bias=False).double()
    critic.weight.data.fill_(0.5)
    prior, costs = priors.StandardNormal(1).double(), divergences.wasserstein
    return Game(Point(), critic, prior, (1,), costs, unroll=steps, inner_lr=inner_lr)


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("steps", [0, 1, 4])
def test_the_bilinear_game_is_its_recursion_with_second_order_terms(steps, size):
    """k steps ahead the critic is ψ - kαθ, and the generator ascends (ψ - kαθ) θ in all of θ."""
    rate, inner, theta, psi = 0.05, 0.03, 1.0, 0.5
    game = bilinear(steps, inner)
    x = torch.zeros(size, 1, dtype=torch.float64)
    ppl_gen.fit(game, x, epochs=200, batch_size=size, lr=rate, optimizer=sgd, **QUIET)
    for _ in range(200):
        psi -= rate * size * theta
        theta += rate * size * (psi - 2 * steps * inner * theta)
    assert game.generator.theta.item() == pytest.approx(theta, abs=1e-12)
    assert game.critic.weight.item() == pytest.approx(psi, abs=1e-12)


def test_without_steps_it_is_the_gan_to_the_bit():
    found = []
    for build in (zoo.gan, zoo.unrolled_gan):
        torch.manual_seed(0)
        game = build((2,), 3) if build is zoo.gan else build((2,), 3, steps=0)
        history = ppl_gen.fit(game, rows(), epochs=3, batch_size=20, **QUIET)
        found.append((game.state_dict(), dict(history)))
    assert found[0][1] == found[1][1]
    assert all(value.equal(found[1][0][name]) for name, value in found[0][0].items())


@pytest.mark.parametrize("regularizer", [None, R1(0.5), GradientPenalty(0.5)])
def test_the_gradient_of_a_look_ahead_is_that_of_differences(regularizer):
    torch.manual_seed(0)
    smooth = MLP([(2,)], [5], (1,), nn.Tanh).double()
    generator = MLP([(2,)], [4], (2,), nn.Tanh).double()
    prior, costs = priors.StandardNormal(2).double(), divergences.minimax
    game = Game(generator, smooth, prior, (2,), costs, regularizer, unroll=3, inner_lr=0.5)
    x = rows(6, dtype=torch.float64)

    def loss():
        torch.manual_seed(3)
        return game.generate(x)[0]

    own = list(generator.parameters())
    for parameter, slope in zip(own, torch.autograd.grad(loss(), own), strict=True):
        for place in range(0, parameter.numel(), 3):
            values = []
            for sign in (1, -1):
                with torch.no_grad():
                    parameter.view(-1)[place] += sign * 1e-5
                values.append(loss().item())
                with torch.no_grad():
                    parameter.view(-1)[place] -= sign * 1e-5
            expected = (values[0] - values[1]) / 2e-5
            assert slope.view(-1)[place].item() == pytest.approx(expected, rel=1e-5, abs=1e-8)


def test_steps_ahead_are_those_of_torch():
    torch.manual_seed(0)
    game, x = zoo.gan((2,), 3, hidden=8), rows(10)
    fakes = game.draw(10).detach()
    found = Ahead(game).weights(x, fakes, 4, 0.2)
    twin = copy.deepcopy(game)
    optimizer = sgd(twin.critic.parameters(), 0.2)
    for _ in range(4):
        optimizer.zero_grad()
        (twin.contrast(x, fakes)[0] / 10).backward()
        optimizer.step()
    for (name, weight), expected in zip(found.items(), twin.critic.parameters(), strict=True):
        assert name.startswith("game.critic.")
        torch.testing.assert_close(weight, expected)


def test_the_turn_of_the_generator_leaves_the_critic_alone():
    torch.manual_seed(0)
    game = zoo.unrolled_gan((2,), 3, steps=2, hidden=8)
    made = {}

    def keep(name):
        def make(parameters, lr):
            made[name] = optim.Adam(parameters, lr)
            return made[name]

        return make

    seen = []

    def generate(data, own=game.generate):
        state = [*game.critic.parameters(), *flat(made["critic"])]
        before = [value.detach().clone() for value in state]
        result = own(data)
        result[0].backward(retain_graph=True, inputs=game.players["generator"])
        seen.append(all(map(torch.equal, before, state)))
        return result

    def flat(optimizer):
        return [value for state in optimizer.state.values() for value in state.values()]

    game.generate = generate
    counts = {"critic": keep("critic"), "generator": keep("generator")}
    ppl_gen.fit(game, rows(), epochs=1, batch_size=20, optimizer=counts, **QUIET)
    assert seen == [True] * 3
    steps = {name: {int(s["step"]) for s in o.state.values()} for name, o in made.items()}
    assert steps == {"critic": {3}, "generator": {3}}


PARTS = {
    "plain": dict,
    "penalty": lambda: {"regularizer": GradientPenalty(1.0), "loss": "wasserstein"},
    "spectral": lambda: {"critic": spectral_norm(MLP([(2,)], [8], (1,), nn.Tanh))},
    "steps": lambda: {"critic_steps": 3},
}


@pytest.mark.parametrize("name", PARTS)
def test_staged_look_aheads_are_the_eager_ones(name, monkeypatch):
    monkeypatch.setattr(torch_internals, "why_not_compiled", lambda devices: None)
    monkeypatch.setattr(backends, "compiled", lambda module, _: lambda *values: module(*values))
    found = []
    for staged in (True, False):
        torch.manual_seed(1)
        game = zoo.unrolled_gan((2,), 3, steps=3, hidden=8, **PARTS[name]())
        history = ppl_gen.fit(
            game, rows(80), epochs=2, batch_size=20, staged=staged, progress=False
        )
        found.append([*game.state_dict().values(), *map(torch.tensor, dict(history).values())])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5, equal_nan=True)


def test_it_resumes_to_the_bit(tmp_path):
    def build():
        torch.manual_seed(0)
        critic = spectral_norm(MLP([(2,)], [8], (1,)))
        return zoo.unrolled_gan((2,), 3, steps=2, hidden=8, critic=critic)

    whole, resumed, path = build(), build(), tmp_path / "run.pt"
    options = {"batch_size": 20, "ema": {"generator": 0.9, "critic": None}, **QUIET}
    expected = ppl_gen.fit(whole, rows(), epochs=4, **options)
    ppl_gen.fit(build(), rows(), epochs=2, checkpoint=path, **options)
    found = ppl_gen.fit(resumed, rows(), epochs=4, checkpoint=path, resume=True, **options)
    assert dict(found) == dict(expected)
    state = whole.state_dict()
    assert all(value.equal(state[name]) for name, value in resumed.state_dict().items())


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"steps": -1}, "no unrolled step or more, got -1"),
        ({"steps": 1.5}, "(whole number for steps|no unrolled step or more), got 1.5"),
        ({"inner_lr": 0.0}, "inner_lr above zero, got 0.0"),
        ({"regularizer": Clip(0.1)}, "leaves the weights alone after a step, .*, got Clip"),
    ],
)
def test_what_cannot_be_unrolled_is_refused(options, match):
    with pytest.raises(ValueError, match=match):
        zoo.unrolled_gan((2,), 3, **options)
