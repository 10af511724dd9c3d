"""Cycles: what a pair of inverse maps costs, both players' costs by hand, and the loop's order."""

from functools import partial

import pyro
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import graphs
import ppl_gen
from ppl_gen import divergences, transforms, zoo
from ppl_gen.data import Unpaired
from ppl_gen.models.adversarial import Game
from ppl_gen.models.cycles import Cycle, Given

OPTIONS = {"staged": False, "progress": False}


class Change(nn.Module):
    """An invertible map as a generator."""

    def __init__(self, change):
        super().__init__()
        self.change, self.unused = change, nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return self.change(x)


def images(n=6, seed=0):
    return torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(seed))


def of_images(there, back):
    critics = [nn.Sequential(nn.Flatten(), nn.Linear(16, 1)) for _ in range(2)]
    law, shape, cost = Given((1, 4, 4), True), (1, 4, 4), divergences.least_squares
    return Cycle(
        *(Game(g, c, law, shape, cost) for g, c in zip((there, back), critics, strict=True))
    )


def linear(cycle_weight=3.0, identity_weight=0.5):
    torch.manual_seed(0)
    law, cost = Given((2,), False), divergences.least_squares
    games = [Game(nn.Linear(2, 2), nn.Linear(2, 1), law, (2,), cost) for _ in range(2)]
    return Cycle(*games, cycle_weight, identity_weight)


PAIRS = [transforms.Rotation(k) for k in range(4)] + [transforms.Flip(a) for a in transforms.AXES]


@pytest.mark.parametrize("change", PAIRS, ids=repr)
def test_any_inverse_pair_comes_back_at_no_cost(change):
    x, y = images(), images(seed=1)
    cycle = of_images(Change(change), Change(change.inverse()))
    _, found = cycle.generate(x, y)
    assert found["cycle"] == 0
    assert torch.equal(cycle.translate(cycle.translate(x, "y"), "x"), x)
    if change not in PAIRS[:1]:
        _, found = of_images(Change(change), Change(transforms.Rotation(0))).generate(x, y)
        assert found["cycle"] > 0.1


def test_relabelling_costs_nothing_either():
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    there = Change(lambda x: 1 - x.flatten(1)[:, order].unflatten(1, (1, 4, 4)))
    back = Change(lambda x: (1 - x).flatten(1)[:, order.argsort()].unflatten(1, (1, 4, 4)))
    assert of_images(there, back).generate(images(), images(seed=1))[1]["cycle"] < 1e-6


def by_hand(cycle, x, y):
    """The costs of both players from their definition, datum by datum and pixel by pixel."""
    (g, d_y), (f, d_x) = ((game.generator, game.critic) for game in (cycle.there, cycle.back))
    generators = critics = 0.0
    for a, b in zip(x, y, strict=True):
        generators += (d_y(g(a)) - 1) ** 2 + (d_x(f(b)) - 1) ** 2
        critics += (d_y(b) - 1) ** 2 + d_y(g(a)) ** 2 + (d_x(a) - 1) ** 2 + d_x(f(b)) ** 2
        for k in range(len(a)):
            there_and_back = abs(f(g(a))[k] - a[k]) + abs(g(f(b))[k] - b[k])
            same = abs(g(b)[k] - b[k]) + abs(f(a)[k] - a[k])
            generators += cycle.cycle_weight / len(a) * there_and_back
            generators += cycle.cycle_weight * cycle.identity_weight / len(a) * same
    return generators.squeeze(), critics.squeeze() / 2


def test_costs_are_those_by_hand():
    cycle, x, y = linear(), torch.randn(5, 2), torch.randn(5, 2) + 1
    generators, critics = by_hand(cycle, x, y)
    torch.testing.assert_close(cycle.generate(x, y)[0], generators)
    torch.testing.assert_close(cycle.criticize(x, y)[0], critics)


def test_no_turn_has_gradients_in_the_other_player():
    cycle, x, y = linear(), torch.randn(5, 2), torch.randn(5, 2)
    cycle.criticize(x, y)[0].backward()
    assert all(p.grad is None for p in cycle.players["generators"])
    assert all(p.grad.abs().max() > 0 for p in cycle.players["critics"])
    both = {id(p) for players in cycle.players.values() for p in players}
    assert both == {id(p) for p in cycle.parameters()}


def test_generators_step_first_and_critics_see_what_they_became():
    cycle, other = linear(), linear()
    x, y = torch.randn(6, 2), torch.randn(6, 2) + 1
    rates = {"generators": 0.01, "critics": 0.02}
    ppl_gen.fit(cycle, Unpaired(x, y), epochs=4, lr=rates, optimizer=torch.optim.SGD, **OPTIONS)
    for _ in range(4):
        for turn, player in enumerate(rates):
            parameters = other.players[player]
            gradients = torch.autograd.grad(by_hand(other, x, y)[turn], parameters)
            with torch.no_grad():
                for p, gradient in zip(parameters, gradients, strict=True):
                    p -= rates[player] * gradient
    for found, expected in zip(cycle.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(found, expected)


def test_every_player_takes_a_step_in_every_batch():
    steps = {"generators": 0, "critics": 0}

    def counting(player):
        class Counted(torch.optim.SGD):
            def step(self, closure=None):
                steps[player] += 1
                super().step()

        return Counted

    data = Unpaired(torch.randn(10, 2), torch.randn(23, 2))
    optimizer = {player: counting(player) for player in steps}
    ppl_gen.fit(linear(), data, epochs=2, batch_size=5, optimizer=optimizer, **OPTIONS)
    assert steps == {"generators": 10, "critics": 10}


def test_it_goes_on_bit_for_bit_and_is_validated(tmp_path):
    x, y = torch.randn(14, 2), torch.randn(9, 2) + 2

    def run(epochs, **more):
        torch.manual_seed(1)
        cycle = zoo.cycle_gan((2,), hidden=8)
        data = Unpaired(x, y)
        history = ppl_gen.fit(
            cycle, data, validation=data, epochs=epochs, batch_size=4, **OPTIONS, **more
        )
        return cycle.state_dict(), history

    whole, history = run(4)
    run(2, checkpoint=tmp_path / "run.pt")
    parts, again = run(4, checkpoint=tmp_path / "run.pt", resume=True)
    assert all(torch.equal(whole[key], parts[key]) for key in whole)
    assert str(dict(history)) == str(dict(again))
    assert {"val_cycle", "val_critic_x", "val_critic_y"} <= set(history)


def test_views_without_weight_are_the_plain_cycle_and_with_it_have_heads():
    def trained(**options):
        torch.manual_seed(0)
        cycle = zoo.cycle_gan((1, 4, 4), channels=2, hidden=8, **options)
        data = Unpaired(images(), 1 - images(seed=1))
        ppl_gen.fit(cycle, data, epochs=2, batch_size=3, **OPTIONS)
        return cycle

    plain, none, views = trained(), trained(dag=0.0), trained(dag=0.2)
    x = images(seed=2)
    assert torch.equal(plain.translate(x), none.translate(x))
    assert views.there.critic(x).shape == (6, 4)
    y, fakes = 1 - x, views.translate(x)
    logits = views.there.critic(y), views.there.critic(fakes)
    heads = ((logits[0] - 1) ** 2 + logits[1] ** 2).sum(0)
    expected = heads[0] + 0.2 * heads[1:].mean()
    torch.testing.assert_close(views.there.contrast(y, fakes)[0], expected)


def test_it_learns_a_shift_it_has_no_pairs_of():
    torch.manual_seed(0)
    cycle = zoo.cycle_gan((2,), hidden=16, cycle_weight=1.0)
    x, y = torch.randn(256, 2), torch.randn(256, 2) + torch.tensor([3.0, -2.0])
    ppl_gen.fit(cycle, Unpaired(x, y), epochs=250, batch_size=256, lr=1e-2, **OPTIONS)
    moved = cycle.translate(x)
    assert (moved.mean(0) - y.mean(0)).norm() < 0.5
    assert (cycle.translate(moved, "x") - x).abs().mean() < 0.3


def test_its_program_is_there_and_back():
    cycle = zoo.cycle_gan((1, 4, 4), channels=2, hidden=8)
    graph = graphs.from_pyro(cycle.model, 3)
    assert list(graph.edges) == [("x", "y"), ("y", "x_back")]
    assert graphs.independent(graph, "x", "x_back", given="y")
    assert not graphs.independent(graph, "x", "x_back")
    trace = pyro.poutine.trace(cycle.model).get_trace(x=images())
    torch.testing.assert_close(trace.nodes["y"]["value"], cycle.translate(images()))
    assert trace.nodes["x"]["is_observed"]


@pytest.mark.parametrize("held_out", [images(), TensorDataset(images()), (images(), torch.ones(6))])
def test_one_set_of_held_out_data_is_refused_before_training(held_out):
    cycle = zoo.cycle_gan((1, 4, 4), channels=2, hidden=8)
    with pytest.raises(ValueError, match=r"two sets of data|images of shape") as error:
        ppl_gen.fit(cycle, Unpaired(images(), images()), validation=held_out, **OPTIONS)
    assert not hasattr(error.value, "history")


def bounded(end):
    """A convolution that ends in a function, far below 0 before it."""
    torch.manual_seed(0)
    layer = nn.Conv2d(1, 1, 1)
    nn.init.constant_(layer.weight, -5.0)
    return nn.Sequential(layer, Change(end))


@pytest.mark.parametrize(
    ("there", "back", "low", "match"),
    [
        (torch.tanh, torch.sigmoid, (0, 0), r"\[0, 1\], .* end it in a sigmoid"),
        (torch.sigmoid, torch.tanh, (0, 0), r"\[0, 1\], .* end it in a sigmoid"),
        (torch.sigmoid, lambda x: x, (-1, 0), r"\[-1, 1\], .* end it in tanh"),
        (torch.sigmoid, torch.tanh, (-1, 0), None),
        (torch.tanh, torch.sigmoid, (0, -1), None),
        (lambda x: x, torch.tanh, (-1, -3), None),
    ],
)
def test_generators_stay_in_the_range_of_what_they_draw(there, back, low, match):
    """``low`` is of x, which back draws, and of y, which there does; the upper end is 1."""
    cycle = of_images(bounded(there), bounded(back))
    x, y = (bound + (1 - bound) * images(seed=i) for i, bound in enumerate(low))
    fit = partial(ppl_gen.fit, cycle, Unpaired(x, y), epochs=1, **OPTIONS)
    if match is None:
        assert fit().steps == 1
        return
    with pytest.raises(ValueError, match=match):
        fit()


def test_what_it_cannot_be_given_is_refused():
    cycle, x = zoo.cycle_gan((1, 4, 4), channels=2, hidden=8), images()

    def fit(data):
        ppl_gen.fit(cycle, data, epochs=1, **OPTIONS)

    for data, match in [
        (x, "two sets of data, such as .*Unpaired.*, got one"),
        (Unpaired(x, images()[..., :2]), r"shape \(B, 1, 4, 4\)|one shape"),
        (Unpaired(x, 2 * x + 1), r"pixels in \[0, 1\]"),
        (Unpaired(x, x / 0), "NaN or infinity"),
    ]:
        with pytest.raises(ValueError, match=match):
            fit(data)
    with pytest.raises(ValueError, match="expected data to translate, got a number of samples"):
        cycle.sample(3)
    with pytest.raises(ValueError, match="to be 'x' or 'y', got 'z'"):
        cycle.translate(x, to="z")
    with pytest.raises(ValueError, match="shape"):
        cycle.translate(x[..., :2])
    for options, match in [
        ({"cycle_weight": -1.0}, "zero or more for cycle, got -1"),
        ({"identity_weight": -1.0}, "zero or more for identity"),
        ({"dag": -0.2}, "weight"),
        ({"network": "map"}, "auto, conv and mlp"),
        ({"channels": 0}, "channels, blocks >= 1"),
    ]:
        with pytest.raises(ValueError, match=match):
            zoo.cycle_gan((1, 4, 4), **options)
    with pytest.raises(ValueError, match="square"):
        zoo.cycle_gan((1, 4, 6), channels=2, dag=0.2)
    other = zoo.cycle_gan((2,), hidden=4)
    with pytest.raises(ValueError, match="games of one data shape"):
        Cycle(cycle.there, other.back)
