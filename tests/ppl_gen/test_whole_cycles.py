"""Cycles of turns taken whole, several in a call: recursions, counts and states of games."""

import math

import pytest
import torch
from torch import nn, optim

import ppl_gen
from ppl_gen import divergences, priors, zoo
from ppl_gen.models.adversarial import Game
from ppl_gen.networks import MLP
from ppl_gen.regularizers import Clip, spectral_norm
from ppl_gen.staging import backends, costs, torch_internals
from ppl_gen.staging.costs import Work
from ppl_gen.staging.cycles import WholeCycles
from ppl_gen.training.run import NonFiniteLossError

EAGER = {"staged": False, "progress": False}
WHOLE = {"staged": True, "progress": False}


@pytest.fixture
def taken(monkeypatch):
    """How many cycles each call took; graphs count as compiled and run operation by operation."""
    counts = []

    def take(self, cycles, take=WholeCycles.take):
        results = take(self, cycles)
        counts.append(0 if results is None else len(results))
        return results

    monkeypatch.setattr(WholeCycles, "take", take)
    monkeypatch.setattr(torch_internals, "why_not_compiled", lambda devices: None)
    monkeypatch.setattr(backends, "compiled", lambda module, _: lambda *values: module(*values))
    return counts


def sgd(parameters, lr):
    return optim.SGD(parameters, lr=lr)


def rows(n=130, seed=0):
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed))


def same(one, other):
    state = other.state_dict()
    return all(value.equal(state[name]) for name, value in one.state_dict().items())


class Point(nn.Module):
    def __init__(self):
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(1.0, dtype=torch.float64))

    def forward(self, z):
        return self.theta.expand(len(z), 1)


def dirac(steps=1, bound=None):
    critic = nn.Linear(1, 1, bias=False).double()
    critic.weight.data.fill_(0.5)
    prior, costs = priors.StandardNormal(1).double(), divergences.wasserstein
    regularizer = None if bound is None else Clip(bound)
    return Game(Point(), critic, prior, (1,), costs, regularizer, steps)


# --- The steps ------------------------------------------------------------------------------------


@pytest.mark.parametrize("bound", [None, 0.8])
@pytest.mark.parametrize("steps", [1, 3])
def test_whole_cycles_of_two_points_are_their_recursion(steps, bound, taken):
    """With a bound the generator's path tells that it sees the critic clipped."""
    rate, theta, psi = 0.1, 1.0, 0.5
    kept = theta**2 + psi**2 - rate * theta * psi
    game, x = dirac(steps, bound), torch.zeros(10, 1, dtype=torch.float64)
    options = {"batch_size": 1, "lr": rate, "optimizer": sgd, "steps_per_call": 7}
    history = ppl_gen.fit(game, x, epochs=30, **options, **WHOLE)
    epoch = [steps] * (10 // steps) + [10 % steps] * (10 % steps > 0)
    for turns in epoch * 30:
        for _ in range(turns):
            psi -= rate * theta
            if bound is not None:
                psi = min(max(psi, -bound), bound)
        theta += rate * psi
    assert max(taken) > 1
    assert sum(taken) == history.steps == 30 * len(epoch)
    assert game.generator.theta.item() == pytest.approx(theta, abs=1e-12)
    assert game.critic.weight.item() == pytest.approx(psi, abs=1e-12)
    if (steps, bound) == (1, None):
        assert theta**2 + psi**2 - rate * theta * psi == pytest.approx(kept, rel=1e-12)


@pytest.mark.parametrize("staged", [True, False])
def test_every_player_takes_its_steps(staged, taken):
    torch.manual_seed(0)
    game, made = zoo.wgan((2,), 3, hidden=8), {}

    def keep(name):
        def make(parameters, lr):
            made[name] = optim.RMSprop(parameters, lr)
            return made[name]

        return make

    optimizers = {"critic": keep("critic"), "generator": keep("generator")}
    options = {"batch_size": 10, "optimizer": optimizers, "progress": False, "staged": staged}
    history = ppl_gen.fit(game, rows(), epochs=4, lr=0.05, **options)
    steps = {name: {int(s["step"]) for s in o.state.values()} for name, o in made.items()}
    assert steps == {"critic": {4 * 13}, "generator": {4 * 3}}  # cycles of 5, 5 and 3 batches
    assert history.steps == 12
    assert max(p.abs().max().item() for p in game.critic.parameters()) <= 0.01 + 1e-9
    assert bool(taken) == staged


SETTINGS = {
    "clip_norm": {"critic": 1.0, "generator": None},
    "ema": {"critic": None, "generator": 0.8},
    "lr": {"critic": 1e-2, "generator": 1e-3},
    "optimizer": {
        "critic": lambda p, lr: optim.AdamW(p, lr, weight_decay=0.1),
        "generator": lambda p, lr: optim.SGD(p, lr, momentum=0.5),
    },
    "scheduler": lambda o: optim.lr_scheduler.ExponentialLR(o, 0.9),
}


def rich():
    torch.manual_seed(0)
    generator = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    critic = spectral_norm(MLP([(2,)], [8], (1,)))
    return zoo.gan((2,), 3, generator=generator, critic=critic, critic_steps=2, loss="hinge")


def test_settings_by_player_are_those_of_single_steps(taken):
    eager, whole = rich(), rich()
    options = {"epochs": 3, "batch_size": 10, **SETTINGS}
    expected = ppl_gen.fit(eager, rows(), **options, **EAGER)
    found = ppl_gen.fit(whole, rows(), steps_per_call=3, **options, **WHOLE)
    assert taken == [3, 3, 1] * 3
    assert list(found) == list(expected)
    for name, column in expected.items():
        assert found[name] == pytest.approx(column, rel=1e-4, abs=1e-5), name
    state = whole.state_dict()
    for name, value in eager.state_dict().items():
        torch.testing.assert_close(state[name], value, rtol=1e-3, atol=1e-5)


def test_whole_cycles_resume_to_the_bit_however_many_are_taken_in_a_call(taken, tmp_path):
    options = {"batch_size": 10, **SETTINGS, **WHOLE}
    whole, resumed, path = rich(), rich(), tmp_path / "run.pt"
    expected = ppl_gen.fit(whole, rows(), epochs=4, steps_per_call=3, **options)
    seen = []

    def stop(found):
        seen.append(found["step"])
        if found["step"] == 11:  # in the midst of an epoch
            raise InterruptedError

    every = {"checkpoint_every": 2, "callbacks": [stop], "steps_per_call": 1}
    with pytest.raises(InterruptedError):
        ppl_gen.fit(rich(), rows(), epochs=4, checkpoint=path, **every, **options)
    every = {"checkpoint": path, "resume": True, "steps_per_call": 5}
    found = ppl_gen.fit(resumed, rows(), epochs=4, **every, **options)
    assert seen == [*range(1, 12)]
    assert dict(found) == dict(expected)
    assert same(whole, resumed)


# --- What is not finite ---------------------------------------------------------------------------


def breaking(player):
    torch.manual_seed(0)
    if player == "generator":
        # The critic's turns come first, and only the generator's loss sees its new weights.
        return zoo.gan((2,), 2, generator=nn.Linear(2, 2), hidden=4, loss=bad_generator)
    return zoo.gan((2,), 2, generator=nn.Linear(2, 2), hidden=4, critic_steps=2)


bad_generator = divergences.Divergence(
    "bad", divergences.kl.real, divergences.kl.fake, lambda logits: logits.mean() / 0.0 + logits
)


@pytest.mark.parametrize("player", ["critic", "generator"])
def test_a_loss_that_is_not_finite_is_named_with_its_player_and_batches(player, taken):
    x = rows(60)
    if player == "critic":
        x[37] = 1e38
    found = []
    for how in (EAGER, WHOLE | {"steps_per_call": 3}):
        game = breaking(player)
        settings = {
            "batch_size": 60 if player == "generator" else 10,
            "ema": {"critic": None, "generator": 0.9},
        }
        with pytest.raises(NonFiniteLossError) as caught:
            ppl_gen.fit(game, x, epochs=1, lr=0.1, optimizer=sgd, **settings, **how)
        found.append((str(caught.value), caught.value.history.steps, game.state_dict()))
    (words, steps, state), (other, same_steps, weights) = found
    assert words == other
    assert f"the loss of {player} became" in words
    assert steps == same_steps
    for name, value in state.items():
        torch.testing.assert_close(weights[name], value, rtol=1e-4, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize("player", ["critic", "generator"])
def test_the_player_whose_weights_are_not_finite_is_named(player):
    game = zoo.gan((2,), 2, hidden=4)
    next(getattr(game, player).parameters()).data.fill_(math.nan)
    with pytest.raises(NonFiniteLossError, match=f"not finite: the parameters of {player}, "):
        ppl_gen.fit(game, rows(60), epochs=1, **EAGER)


# --- The contract ---------------------------------------------------------------------------------


class Sums(nn.Module):
    """A trainable with a schedule of its own: two players, one of which takes k steps."""

    def __init__(self, k):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(()))
        self.batches_a_cycle, self.seen = k, []

    @property
    def players(self):
        return {"a": [self.a], "b": [self.b]}

    def of_a(self, x):
        return (x - self.a).square().sum(), {"mean": x.mean()}

    def of_b(self, x):
        return (x - self.b).square().sum() + self.a.detach(), {}

    def schedule(self, *batches):
        return [*(("a", self.of_a, batch) for batch in batches), ("b", self.of_b, batches[0])]


def test_any_trainable_may_have_a_schedule(taken):
    x, found = torch.arange(14.0)[:, None], []
    for how in (EAGER, WHOLE | {"steps_per_call": 2}):
        sums = Sums(2)
        history = ppl_gen.fit(sums, x, epochs=2, batch_size=2, lr=0.1, optimizer=sgd, **how)
        found.append((sums.a.item(), sums.b.item(), dict(history)))
    assert taken == [2, 1, 1] * 2
    assert history.steps == 8
    assert found[0][:2] == pytest.approx(found[1][:2])
    for name, column in found[0][2].items():
        assert column == pytest.approx(found[1][2][name])
    epoch = history["a_mean"][:4]
    assert sum(epoch[:3]) * 4 + epoch[3] * 2 == pytest.approx(x.sum().item())


@pytest.mark.parametrize("k", [0, 1.5, True, "2"])
def test_a_cycle_of_no_batches_is_refused(k):
    with pytest.raises(ValueError, match="one batch or more in a cycle, got"):
        ppl_gen.fit(Sums(k), torch.zeros(4, 1), **EAGER)


def test_a_subclass_may_exchange_the_schedule_for_turns_one_by_one():
    class OneByOne(Sums):
        def losses(self, x):
            self.seen.append(len(x))
            yield "a", self.of_a, (x,)

    own = OneByOne(2)
    assert ppl_gen.fit(own, torch.ones(9, 1), epochs=1, batch_size=2, **EAGER).steps == 5
    assert own.seen == [2, 2, 2, 2, 1]
    assert own.b.item() == 0


# --- Whether it pays ------------------------------------------------------------------------------


def test_whether_a_cycle_is_compiled_is_decided_as_a_whole(taken, monkeypatch):
    asked = []

    def pays(work, steps):
        if work is not costs.MOST:
            asked.append((work, steps))
        return True

    monkeypatch.setattr(costs, "pays", pays)
    torch.manual_seed(0)
    game = zoo.wgan((2,), 3, hidden=8)
    history = ppl_gen.fit(game, rows(), epochs=4, batch_size=10, progress=False)
    (full, steps), (rest, others) = asked
    assert (steps, others) == (4 * 2, 4)
    assert (full.turns, rest.turns) == (6, 4)
    assert (full.graphs, rest.graphs) == (2, 2)
    assert full.compiled == rest.compiled < rest.operations < full.operations
    assert history.staging.startswith("5 times 10x2: compiled, since")
    assert "; 3 times 10x2: compiled, since" in history.staging


def test_a_cycle_that_does_not_pay_is_eager_in_every_turn(taken):
    torch.manual_seed(0)
    game = zoo.wgan((2,), 3, hidden=8)
    history = ppl_gen.fit(game, rows(), epochs=2, batch_size=10, progress=False)
    assert taken == []
    assert history.staging == (
        "5 times 10x2: eager, since 4 steps to come pay for no compilation; "
        "3 times 10x2: eager, since 2 steps to come pay for no compilation"
    )


def test_the_work_of_a_cycle_is_that_of_its_turns():
    critic, generator = Work(10, 100, 5, 7), Work(20, 300, 1, 2)
    work = Work.of_turns([critic] * 3 + [generator], [critic, generator])
    assert work == Work(50, 600, 16, 23, turns=4, graphs=2, compiled=30)
    assert costs.saved(work) == pytest.approx(3 * costs.saved(critic) + costs.saved(generator))
    assert costs.price(work) == pytest.approx(costs.price(critic) + costs.price(generator))
    assert math.isclose(costs.saved(Work.of_turns([critic], [critic])), costs.saved(critic))
