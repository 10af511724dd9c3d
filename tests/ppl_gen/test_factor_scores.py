"""DCI, SAP and the FactorVAE score on codes whose scores are known."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ppl_gen import metrics, zoo
from ppl_gen.metrics.predictors import concentration

SIZES = (3, 4, 5)
SCORES = {
    "dci": lambda *args, **options: metrics.dci(*args, num_trees=10, **options).disentanglement,
    "lasso": lambda *args, **options: metrics.dci(*args, "lasso", **options).disentanglement,
    "completeness": lambda *args, **options: metrics.dci(*args, num_trees=10).completeness,
    "informativeness": lambda *args, **options: metrics.dci(*args, num_trees=10).informativeness,
    "sap": lambda *args, **options: float(metrics.sap(*args, **options)),
    "factor_vae": lambda *args, **options: float(metrics.factor_vae_score(*args, **options)),
}


def linear(weights):
    """A model whose codes are a linear function ``(Z, P)`` of the P pixels of a row."""
    weights = torch.as_tensor(weights, dtype=torch.float32)
    dim, width = weights.shape
    vae = zoo.vae((1, 1, width), dim, hidden=(), likelihood="gaussian")
    layer = vae.latents[0].encoder.layers[0]
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.zero_()
        layer.weight[:dim] = weights
    return vae


def grid(noise=0, repeats=4):
    """Every combination of factors, shown as pixels beside pixels of noise."""
    classes = torch.cartesian_prod(*map(torch.arange, SIZES)).repeat(repeats, 1)
    generator = torch.Generator().manual_seed(0)
    shown = torch.cat([classes, torch.randn(len(classes), noise, generator=generator)], 1)
    return metrics.FactorArrays(shown.reshape(len(classes), 1, 1, -1), classes, "abc")


@pytest.mark.parametrize("name", list(SCORES))
def test_a_perfect_code_scores_one(name):
    order = torch.eye(4)[[1, 3, 0, 2]][:, :3]
    assert SCORES[name](linear(order), grid()) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("name", list(SCORES))
def test_a_code_independent_of_the_factors_scores_nothing(name):
    data, code = grid(3, repeats=60), torch.cat([torch.zeros(3, 3), torch.eye(3)], 1)
    found = SCORES[name](linear(code), data)
    if name == "factor_vae":
        score = metrics.factor_vae_score(linear(code), data)
        assert found == pytest.approx(1 / 3, abs=0.06)
        assert score.chance == pytest.approx(1 / 3, abs=0.06)
    else:
        assert found == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize("angle", [0.2, 0.5, math.pi / 4])
def test_two_factors_in_a_rotated_code_have_closed_forms(angle):
    """R² of cos·a + sin·b with a is cos², and the inverse rotation has weights cos and sin."""
    c, s = math.cos(angle), math.sin(angle)
    classes = torch.cartesian_prod(torch.arange(5), torch.arange(5)).repeat(8, 1)
    data = metrics.FactorArrays(classes.float().reshape(-1, 1, 1, 2), classes)
    vae = linear([[c, s], [-s, c]])
    assert float(metrics.sap(vae, data)) == pytest.approx(abs(c * c - s * s), abs=0.03)
    p = c / (c + s)
    expected = 1 + (p * math.log(p) + (1 - p) * math.log(1 - p)) / math.log(2)
    found = metrics.dci(vae, data, "lasso", num_images=10_000)
    assert found.disentanglement == pytest.approx(expected, abs=0.02)
    assert found.completeness == pytest.approx(expected, abs=0.02)
    assert found.informativeness == pytest.approx(1, abs=0.02)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(2, 5),
    st.integers(2, 5),
    st.integers(0, 2**32 - 1),
)
def test_concentration_is_what_entropies_by_hand_say(dims, factors, seed):
    rng = np.random.default_rng(seed)
    table = rng.random((dims, factors)) * rng.integers(0, 2, (dims, factors))
    disentanglement, completeness, total = 0.0, 0.0, table.sum()
    for row in table:
        if row.sum():
            shares = [v / row.sum() for v in row if v]
            entropy = -sum(p * math.log(p, factors) for p in shares)
            disentanglement += row.sum() / total * (1 - entropy)
    for column in table.T:
        if column.sum():
            shares = [v / column.sum() for v in column if v]
            completeness += (1 + sum(p * math.log(p, dims) for p in shares)) / factors
    assert concentration(table) == pytest.approx((disentanglement, completeness))


def test_balanced_accuracy_is_that_of_the_best_threshold():
    """N(0, 1) against N(1, 1) at four to one: the best cut is at 1/2, with balanced accuracy Φ(½).

    Unbalanced, the best cut would be at 1/2 + log 4, with 0.58.
    """
    generator = torch.Generator().manual_seed(1)
    classes = (torch.rand(20_000, 1, generator=generator) < 0.2).long()
    shown = classes + torch.randn(20_000, 1, generator=generator)
    data = metrics.FactorArrays(shown.reshape(-1, 1, 1, 1), np.array(["off", "on"])[classes])
    plain, rescaled = (
        metrics.sap(
            linear([[1.0], [0.0]]), data, adjusted=adjusted, num_images=20_000
        ).predictability[0, 0]
        for adjusted in (False, True)
    )
    best = 0.5 * (1 + math.erf(0.5 / math.sqrt(2)))
    assert plain == pytest.approx(best, abs=0.02)
    assert rescaled == pytest.approx(2 * plain - 1)


def test_sap_classifies_text_whose_order_means_nothing():
    position = torch.arange(4).repeat(1000)
    labels = np.array(["b", "d", "a", "c"])[position]
    noise = torch.rand(len(position), generator=torch.Generator().manual_seed(0))
    shown = torch.stack([position, noise], 1).reshape(-1, 1, 1, 2)
    data = metrics.FactorArrays(shown, labels[:, None], ["kind"])
    vae = linear(torch.eye(2))
    assert float(metrics.sap(vae, data)) == pytest.approx(1, abs=0.02)
    assert float(metrics.sap(vae, data, adjusted=False)) == pytest.approx(3 / 4, abs=0.02)
    numbers = metrics.FactorArrays(data.images, position[:, None] ** 3, ["shape"])
    assert float(metrics.sap(vae, numbers)) == pytest.approx(1, abs=0.02)
    expected = np.corrcoef(np.arange(4), np.arange(4) ** 3)[0, 1] ** 2
    found = float(metrics.sap(vae, numbers, categorical=()))
    assert found == pytest.approx(expected, abs=0.02)
    with pytest.raises(ValueError, match="numbers for factor kind, got text"):
        metrics.sap(vae, data, categorical=())


def test_a_majority_vote_of_a_code_that_mixes_two_of_three_factors():
    """One dimension holds a, the other b + c: fixing b or c leaves it the least varied... of two.

    With b or c fixed the dimension of b + c varies half as much, so its votes split evenly: two
    thirds of all votes are right.
    """
    classes = torch.cartesian_prod(*[torch.arange(6)] * 3)
    data = metrics.FactorArrays(classes.float().reshape(-1, 1, 1, 3), classes)
    found = metrics.factor_vae_score(linear([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]]), data)
    assert float(found) == pytest.approx(2 / 3, abs=0.05)
    assert found.votes[0, 1:].sum() == 0
    assert found.votes[1, 0] == 0
    assert found.votes.sum() == 800


@pytest.mark.parametrize("labels", [[0, 5, 10], [-7, 0, 300], ["x", "y", "z"]])
@pytest.mark.parametrize("name", ["dci", "completeness", "informativeness", "sap", "factor_vae"])
def test_labels_and_spread_do_not_matter(name, labels):
    rng = np.random.default_rng(0)
    positions = rng.choice(3, (4000, 2), p=[0.8, 0.15, 0.05])
    table = np.array(labels)[positions]
    shown = table if table.dtype.kind == "i" else positions
    images = torch.from_numpy(shown).float().reshape(-1, 1, 1, 2)
    found = SCORES[name](linear(torch.eye(2)), metrics.FactorArrays(images, table))
    assert found == pytest.approx(1, abs=0.06)


@pytest.mark.parametrize("name", list(SCORES))
def test_seeds_are_all_that_is_random(name):
    vae, data = linear(torch.randn(4, 5, generator=torch.Generator().manual_seed(3))), grid(2)
    state = torch.get_rng_state()
    assert SCORES[name](vae, data) == SCORES[name](vae, data)
    assert torch.equal(state, torch.get_rng_state())


def test_collapsed_dimensions_are_left_out():
    data = grid()
    vae = linear(torch.cat([torch.eye(3), 1e-3 * torch.eye(3)[:1]]))
    assert metrics.sap(vae, data).gaps["a"] == pytest.approx(0, abs=1e-3)
    assert metrics.sap(vae, data, min_variance=0.05).gaps["a"] == pytest.approx(1, abs=0.03)
    assert metrics.factor_vae_score(vae, data, min_variance=0.05).votes[3].sum() == 0
    with pytest.raises(ValueError, match=r"variance > 0\.0, got none"):
        metrics.factor_vae_score(linear(torch.zeros(2, 3)), data)


CALLS = [metrics.dci, metrics.sap, metrics.factor_vae_score]


@pytest.mark.parametrize("metric", CALLS)
def test_what_cannot_be_scored_is_refused(metric):
    data, vae = grid(), linear(torch.eye(3))
    for arguments, options, match in [
        ((None, data), {}, r"ppl_gen\.VAE to evaluate, got NoneType"),
        ((vae, data.images), {}, r"images with factors, .*, got Tensor"),
        ((vae, data), {"factors": ["d"]}, r"factors among a, b, c, got \['d'\]"),
        ((vae, data), {"num_images": 3}, "at least four images, got 3"),
        ((vae, data), {"num_images": 2.5}, "at least two images, got 2.5"),
        ((linear(torch.ones(1, 3)), data), {}, "two latent dimensions, got 1"),
        (
            (vae, metrics.FactorArrays(data.images, data.classes * torch.tensor([1, 0, 1]))),
            {},
            "several values, 1 has one",
        ),
    ]:
        with pytest.raises(ValueError, match=match):
            metric(*arguments, **options)


def test_options_out_of_range_are_refused():
    data, vae = grid(), linear(torch.eye(3))
    for call, match in [
        (lambda: metrics.dci(vae, data, "tree"), "predictor among forest, lasso, got 'tree'"),
        (lambda: metrics.dci(vae, data, num_trees=0), "at least one tree, got 0"),
        (lambda: metrics.dci(vae, data, factors=["a"]), "at least two factors, got a"),
        (lambda: metrics.sap(vae, data, categorical=["d"]), r"categorical factors among .*'d'"),
        (lambda: metrics.sap(vae, data, min_variance=-1.0), "min_variance >= 0, got -1.0"),
        (lambda: metrics.factor_vae_score(vae, data, num_votes=0), "at least one vote, got 0"),
        (
            lambda: metrics.factor_vae_score(vae, data, images_per_vote=1),
            "two images per vote, got 1",
        ),
    ]:
        with pytest.raises(ValueError, match=match):
            call()
