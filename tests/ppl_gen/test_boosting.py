"""Boosting: weights that are optimal for every divergence, and rounds of training."""

from functools import partial

import pytest
import scipy.optimize
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import graphs
import ppl_gen
from ppl_gen import divergences, priors, zoo
from ppl_gen.models.adversarial import Game
from ppl_gen.models.boosting import Mixture, boosting_weights

random_cases = settings(max_examples=15, deadline=None, derandomize=True)
OPTIONS = {"staged": False, "progress": False}
CELLS = 12
FIT = partial(ppl_gen.fit, **OPTIONS)


def kl(p, q):
    return torch.xlogy(p, p / q).sum()


DIVERGENCES = {
    "KL": kl,
    "reverse KL": lambda p, q: kl(q, p),
    "JS": lambda p, q: (kl(p, (p + q) / 2) + kl(q, (p + q) / 2)) / 2,
    "total variation": lambda p, q: (p - q).abs().sum() / 2,
}


def laws(seed):
    """Data and a model that leaves some cells almost out."""
    generator = torch.Generator().manual_seed(seed)
    data, model = torch.rand(2, CELLS, generator=generator, dtype=torch.float64) ** 2 + 1e-3
    return data / data.sum(), model / model.sum()


@pytest.mark.parametrize("name", ["KL", "reverse KL", "JS"])
@pytest.mark.parametrize(("seed", "beta"), [(0, 0.5), (1, 0.2), (2, 0.05)])
def test_weights_minimise_every_divergence(name, seed, beta):
    p, g = laws(seed)
    weights, _ = boosting_weights(g / p, beta, shares=p)

    def cost(logits):
        logits = torch.tensor(logits, requires_grad=True)
        found = DIVERGENCES[name](p, (1 - beta) * g + beta * logits.softmax(0))
        (gradient,) = torch.autograd.grad(found, logits)
        return found.item(), gradient.numpy()

    best = scipy.optimize.minimize(cost, torch.zeros(CELLS).double().numpy(), jac=True, tol=1e-12)
    found = torch.tensor(best.x).softmax(0)
    torch.testing.assert_close(weights, found, rtol=0, atol=1e-4)
    reached = DIVERGENCES[name](p, (1 - beta) * g + beta * weights)
    assert reached <= best.fun + 1e-12


@random_cases
@given(st.integers(0, 10**6), st.floats(0.01, 1.0))
def test_every_divergence_falls_by_the_share_of_the_component(seed, beta):
    p, g = laws(seed)
    weights, _ = boosting_weights(g / p, beta, shares=p)
    assert weights.sum() == pytest.approx(1, abs=1e-12)
    assert (weights >= 0).all()
    mixture = (1 - beta) * g + beta * weights
    for divergence in DIVERGENCES.values():
        assert divergence(p, mixture) <= (1 - beta) * divergence(p, g) + 1e-12


@random_cases
@given(st.integers(0, 10**6))
def test_the_smallest_share_that_recovers_the_data(seed):
    p, g = laws(seed)
    enough = 1 - (p / g).min().item()
    weights, multiplier = boosting_weights(g / p, enough, shares=p)
    assert multiplier == pytest.approx(1, abs=1e-9)
    assert ((1 - enough) * g + enough * weights - p).abs().max() < 3e-10
    less = 0.98 * enough
    weights, _ = boosting_weights(g / p, less, shares=p)
    assert ((1 - less) * g + less * weights - p).abs().max() > 1e-5


@random_cases
@given(
    st.lists(st.one_of(st.floats(0, 50), st.just(float("inf"))), min_size=1, max_size=20),
    st.floats(0.02, 0.99),
)
def test_the_multiplier_is_that_of_bisection(ratios, beta):
    h = torch.tensor(ratios, dtype=torch.float64)
    if h.isinf().all():
        return
    weights, multiplier = boosting_weights(h, beta)

    def excess(value):
        return (value - (1 - beta) * h).clamp(min=0).sum().item() / len(h) / beta - 1

    expected = scipy.optimize.brentq(excess, 0, 1e4, xtol=1e-13)
    assert multiplier == pytest.approx(expected, rel=1e-8)
    assert weights.sum() == pytest.approx(1, abs=1e-9)


def test_a_component_that_is_all_of_the_mixture_learns_all_data():
    weights, multiplier = boosting_weights(torch.tensor([0.0, 3.0, float("inf")]), 1.0)
    torch.testing.assert_close(weights, torch.full((3,), 1 / 3, dtype=torch.float64))
    assert multiplier == pytest.approx(1)


@pytest.mark.parametrize(
    ("ratios", "beta", "match"),
    [
        ([1.0, float("nan")], 0.5, "expected ratios of densities.*classifier.* has failed"),
        ([float("inf")] * 3, 0.5, "some finite"),
        ([-1.0, 1.0], 0.5, "zero or more"),
        ([[1.0]], 0.5, r"shape \(N,\)"),
        ([], 0.5, r"shape \(N,\)"),
        ([1.0], 0.0, r"\(0, 1\]"),
        ([1.0], 1.5, r"\(0, 1\]"),
    ],
)
def test_no_weights_are_made_up(ratios, beta, match):
    with pytest.raises(ValueError, match=match):
        boosting_weights(torch.tensor(ratios), beta)


def constant(place):
    """A game whose generator draws about one place."""
    generator = nn.Linear(2, 2)
    with torch.no_grad():
        generator.weight.copy_(0.1 * torch.eye(2))
        generator.bias.copy_(torch.tensor([place, 0.0]))
    return Game(generator, nn.Linear(2, 1), priors.StandardNormal(2), (2,), divergences.minimax)


def classifier():
    return nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 1))


def two_clusters(n=200):
    places = torch.tensor([[-2.0, 0.0], [2.0, 0.0]]).repeat(n // 2, 1)
    return places + 0.1 * torch.randn(n, 2, generator=torch.Generator().manual_seed(0))


def test_the_next_component_gets_what_the_mixture_lacks():
    x, mixture = two_clusters(), Mixture([constant(-2.0), constant(2.0)], classifier, 150)
    mixture.add()
    weights, multiplier = mixture.weights(FIT, x, seed=0)
    assert weights[1::2].sum() > 0.95  # the right cluster; with true ratios 0 and 2, all of it
    assert multiplier == pytest.approx(1, abs=0.1)
    mixture.add()
    samples = mixture.sample(4000, seed=0)
    assert (samples[:, 0] > 0).double().mean() == pytest.approx(0.5, abs=0.05)
    ratios = mixture.ratios(FIT, x, seed=0)
    assert ratios.mean() == pytest.approx(1, abs=0.3)  # E_d h = 1, of laws that now agree


def build(**options):
    torch.manual_seed(0)
    return zoo.adagan((2,), 3, **{"rounds": 3, "hidden": 8, "ratio_steps": 8} | options)


def test_rounds_train_one_component_each():
    mixture, x = build(), two_clusters(60)
    before = [[p.clone() for p in game.parameters()] for game in mixture.components]
    state = torch.get_rng_state()
    history = ppl_gen.fit(mixture, x, epochs=2, batch_size=20, **OPTIONS)
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(mixture.shares, torch.full((3,), 1 / 3))
    assert history["round"] == [1.0] * 6 + [2.0] * 6 + [3.0] * 6
    assert history["multiplier"][0] == 1
    for game, old in zip(mixture.components, before, strict=True):
        assert all(not torch.equal(p, q) for p, q in zip(game.parameters(), old, strict=True))


def test_its_rounds_are_taken_in_the_precision_of_its_weights():
    mixture = zoo.adagan((2,), 3, rounds=2, hidden=8, ratio_steps=3).double()
    ppl_gen.fit(mixture, two_clusters(60).double(), epochs=1, batch_size=20, **OPTIONS)
    assert mixture.rounds == 2
    assert mixture.sample(5, seed=0).dtype == torch.float64


def test_it_says_what_it_is_in_one_line():
    mixture = zoo.adagan((2,), 3, rounds=3, hidden=8)
    mixture.add()
    said = repr(mixture)
    assert said.startswith("<adagan: 1 of 3 components trained, each <gan: data 2, z ~ Standard")
    assert "\n" not in said
    assert f"{sum(p.numel() for p in mixture.parameters()):,} parameters" in said


def test_the_first_of_many_samples_are_those_of_few():
    mixture = build()
    assert mixture.sample(3, seed=1).shape == (3, 2)
    mixture.add(), mixture.add()
    assert torch.equal(mixture.sample(100, seed=1)[:40], mixture.sample(40, seed=1))
    with pytest.raises(ValueError, match="no labels"):
        mixture.sample(2, torch.zeros(2))


@pytest.mark.parametrize("stop", [3, 8, 15])
def test_rounds_go_on_bit_for_bit(stop, tmp_path):
    x, path, taken = two_clusters(60), tmp_path / "run.pt", []

    def watch(metrics):
        taken.append(metrics)
        if len(taken) == stop:
            raise KeyboardInterrupt

    options = {"epochs": 2, "batch_size": 20, **OPTIONS}
    whole, parts, again = build(), build(), build()
    expected = ppl_gen.fit(whole, x, **options)
    with pytest.raises(KeyboardInterrupt):
        ppl_gen.fit(parts, x, checkpoint=path, checkpoint_every=1, callbacks=[watch], **options)
    assert ppl_gen.load(path).rounds == (stop - 1) // 6
    found = ppl_gen.fit(again, x, checkpoint=path, checkpoint_every=1, resume=True, **options)
    state = again.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in whole.state_dict().items())
    assert str(dict(found)) == str(dict(expected))
    assert [p.name for p in tmp_path.iterdir()] == ["run.pt"]
    with pytest.raises(ValueError, match="epochs was 2 and is 3"):
        ppl_gen.fit(build(), x, checkpoint=path, resume=True, **options | {"epochs": 3})


def test_its_program_chooses_a_component():
    mixture = build()
    mixture.add(), mixture.add()
    graph = graphs.from_pyro(mixture.model, 4)
    assert set(graph.edges) == {("component", "x"), ("z", "x")}
    assert graphs.independent(graph, "component", "z")
    assert not graphs.independent(graph, "component", "z", "x")
    torch.manual_seed(0)
    assert mixture.model(5).shape == (5, 2)


def test_what_it_cannot_be_is_refused():
    for options, match in [
        ({"base": "vae"}, "a base among .*gan.*, got 'vae'"),
        ({"rounds": 0}, "one round or more, got 0"),
        ({"ratio_steps": 0}, "one step or more of the classifier, got 0"),
    ]:
        with pytest.raises(ValueError, match=match):
            build(**options)
    with pytest.raises(ValueError, match="one component or more"):
        Mixture([], classifier)
    with pytest.raises(ValueError, match="no override"):
        ppl_gen.fit(build(), two_clusters(), override="lr", **OPTIONS)
    with pytest.raises(ValueError, match=r"shape \(B, 2\)"):
        ppl_gen.fit(build(), torch.zeros(5, 3), **OPTIONS)
