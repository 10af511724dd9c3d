"""The mutual information gap on codes whose information is known."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Independent, Normal

from ppl_gen import data, metrics, zoo
from ppl_gen.metrics.disentanglement import (
    chen_information,
    gap,
    locatello_information,
)

SIZES = (3, 4, 5)
LOGS = torch.tensor(SIZES).double().log()


def grid(repeats=4):
    """Every combination of the factors, several times over, ``(240, 3)``."""
    axes = [torch.arange(size) for size in SIZES]
    return torch.cartesian_prod(*axes).repeat(repeats, 1)


def posterior(loc, scale=0.02):
    return lambda rows: Independent(Normal(loc[rows], scale), 1)


def score(protocol, codes, classes, scale=0.02):
    if protocol == "chen":
        information = chen_information(posterior(codes, scale), classes)
    else:
        information = locatello_information(codes, classes)
    return gap(information, LOGS, protocol, "abc", len(classes))


@pytest.fixture(autouse=True)
def seed():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize("protocol", ["chen", "locatello"])
def test_a_perfect_code_has_gap_one_and_its_matrix_is_diagonal(protocol):
    classes = grid()
    codes = torch.cat([torch.zeros(len(classes), 1), classes.flip(1).float()], 1)
    found = score(protocol, codes, classes)
    assert float(found) == pytest.approx(1, abs=1e-3)
    # four latents against three factors: a transposed or reshaped matrix cannot look like this
    expected = torch.zeros(3, 4, dtype=torch.float64)
    expected[[0, 1, 2], [3, 2, 1]] = LOGS
    torch.testing.assert_close(found.mutual_information, expected, atol=2e-3, rtol=0)
    assert list(found.gaps) == ["a", "b", "c"]


@pytest.mark.parametrize("protocol", ["chen", "locatello"])
def test_two_identical_codes_have_no_gap(protocol):
    classes = grid()
    codes = classes.float()[:, [0, 1, 2, 0, 1, 2]]
    assert float(score(protocol, codes, classes)) == pytest.approx(0, abs=0.03)


@pytest.mark.parametrize("protocol", ["chen", "locatello"])
def test_noise_has_no_gap_and_informations_are_not_negative(protocol):
    classes = grid(60)
    codes = torch.randn(len(classes), 4)
    found = score(protocol, torch.zeros_like(codes) if protocol == "chen" else codes, classes, 1.0)
    assert float(found) < 0.005
    assert (found.mutual_information >= 0).all()


@pytest.mark.parametrize("protocol", ["chen", "locatello"])
def test_the_order_of_latents_does_not_matter(protocol):
    classes = grid()
    mixed = classes.double() @ torch.randn(3, 4).double()
    order = torch.tensor([2, 0, 3, 1])
    one, other = (score(protocol, codes, classes, 1e-6) for codes in (mixed, mixed[:, order]))
    torch.testing.assert_close(one.mutual_information[:, order], other.mutual_information)
    assert float(one) == pytest.approx(float(other))


def test_rescaling_one_latent_does_not_change_chens_protocol():
    classes = grid()
    mixed = classes.double() @ torch.randn(3, 4).double()
    factor = torch.tensor([1.0, 100.0, 0.1, 1.0])

    def information(factor):
        torch.manual_seed(1)
        return chen_information(
            lambda rows: Independent(Normal(mixed[rows] * factor, 0.3 * factor), 1), classes
        )

    torch.testing.assert_close(information(factor), information(torch.ones(4)))


def test_chens_information_is_that_of_a_mixture_by_quadrature():
    classes, scale = torch.arange(2).repeat(300)[:, None], 0.8
    found = chen_information(posterior(classes.double() * 2, scale), classes, 600)
    z = torch.linspace(-8, 10, 20001).double()
    parts = Normal(torch.tensor([[0.0], [2.0]]).double(), scale).log_prob(z)
    mixture = parts.logsumexp(0) - math.log(2)
    exact = 0.5 * torch.trapezoid(parts.exp() * (parts - mixture), z).sum()
    assert found.item() == pytest.approx(exact.item(), abs=4 * 0.5 / 600**0.5)


def test_locatellos_information_is_the_plug_in_estimate():
    codes, classes = torch.tensor([[0.0], [0.0], [1.0], [1.0]]), torch.tensor([[0], [0], [0], [1]])
    marginal = 0.75 * math.log(0.75) + 0.25 * math.log(0.25)
    expected = -marginal - 0.5 * math.log(2)
    assert locatello_information(codes, classes).item() == pytest.approx(expected)


def test_sprites_by_both_protocols():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vae = zoo.vae((1, 8, 8), 3, hidden=8)
    sprites = data.sprites(8)
    state = torch.get_rng_state()
    chen = metrics.mig(vae, sprites, num_images=600, num_samples=200)
    other = metrics.mig(vae, sprites, protocol="locatello", num_images=600)
    assert torch.equal(state, torch.get_rng_state())
    assert list(chen.gaps) == ["scale", "orientation", "posX", "posY"]
    assert list(other.gaps) == ["shape", "scale", "orientation", "posX", "posY"]
    assert chen.mutual_information.shape == (4, 3)
    assert other.mutual_information.shape == (5, 3)
    torch.testing.assert_close(chen.entropies, torch.tensor([6, 40, 32, 32]).double().log())
    assert "protocol='chen', 600 images" in repr(chen)
    assert "protocol='locatello', 600 images" in repr(other)
    assert chen.score == metrics.mig(vae, sprites, num_images=600, num_samples=200).score
    assert chen.score == pytest.approx(sum(chen.gaps.values()) / 4)


def reader(width, where, latent_dim=4):
    """A model whose latents of these positions are the pixels of a row, with scale e^-4."""
    vae = zoo.vae((1, 1, width), latent_dim, hidden=(), likelihood="gaussian")
    linear = vae.latents[0].encoder.layers[0]
    with torch.no_grad():
        linear.weight.zero_()
        linear.weight[where, torch.arange(width)] = 4.0
        linear.bias.copy_(torch.tensor([0.0] * latent_dim + [-4.0] * latent_dim))
    return vae


def test_a_model_that_sees_the_factors_scores_one():
    classes = grid()
    vae = reader(3, [1, 3, 0])
    own = metrics.FactorArrays(classes.float().reshape(-1, 1, 1, 3) / 4, classes, ("p", "q", "r"))
    for protocol in ("chen", "locatello"):
        found = metrics.mig(vae, own, protocol, num_images=2000)
        assert found.score == pytest.approx(1, abs=0.01)
        assert found.mutual_information.argmax(1).tolist() == [1, 3, 0]


@pytest.mark.parametrize("protocol", ["chen", "locatello"])
@pytest.mark.parametrize(
    ("labels", "shares"),
    [
        ([0, 5, 10], [1, 1, 1]),
        ([0, 1], [19, 1]),
        ([-3, 2, 700], [5, 3, 1]),
        (["circle", "heart", "square"], [1, 2, 3]),
        ([0.25, 0.5], [1, 3]),
        ([False, True], [9, 1]),
    ],
)
def test_a_perfect_code_of_any_labels_however_spread_scores_one(labels, shares, protocol):
    """I(z; v) = H(v), whatever the values are called and however often each occurs."""
    position = np.repeat(np.arange(len(labels)), shares).repeat(10)
    shown = torch.from_numpy(position).float().reshape(-1, 1, 1, 1)
    own = metrics.FactorArrays(shown, np.array(labels)[position][:, None])
    found = metrics.mig(reader(1, [1], 2), own, protocol, num_images=3000)
    assert found.score == pytest.approx(1, abs=0.01)
    exact = torch.tensor(shares).double() / sum(shares)
    assert found.entropies.item() == pytest.approx(torch.special.entr(exact).sum().item(), rel=0.1)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(st.integers(), st.text()), min_size=2, max_size=30))
def test_classes_stand_for_the_values_they_came_from(column):
    column = [str(value) for value in column]
    table = np.array([[value, str(len(value))] for value in column])
    own = metrics.FactorArrays(torch.zeros(len(column), 1, 1, 1), table)
    back = [values[own.classes[:, i]] for i, values in enumerate(own.factor_values)]
    assert np.array_equal(np.stack(back, 1), table)
    assert own.factor_sizes == tuple(len(set(values)) for values in table.T)


def test_a_frame_names_its_factors():
    frame = pd.DataFrame({"colour": ["red", "blue", "red"], "size": [10, 10, 3]})
    own = metrics.FactorArrays(torch.zeros(3, 1, 1, 1), frame)
    assert own.factor_names == ("colour", "size")
    assert own.classes.tolist() == [[1, 1], [0, 1], [1, 0]]
    assert own.factor_values[1].tolist() == [3, 10]


def test_entropies_of_a_part_of_the_grid_are_its_own():
    sprites = data.sprites(8)
    torch.testing.assert_close(
        sprites.factor_entropies, torch.tensor(sprites.factor_sizes).double().log()
    )
    part = data.Sprites(8, sprites._draw, torch.arange(32 * 32 * 60))
    expected = [math.log(n) for n in (1, 1, 1, 32, 32)]
    expected[1] = -(2 / 3) * math.log(2 / 3) - (1 / 3) * math.log(1 / 3)
    expected[2] = -20 * (2 / 60) * math.log(2 / 60) - 20 * (1 / 60) * math.log(1 / 60)
    torch.testing.assert_close(part.factor_entropies, torch.tensor(expected).double())


def test_bad_input():
    vae, sprites = zoo.vae((1, 8, 8), 3, hidden=8), data.sprites(8)
    for arguments, match in [
        ({"protocol": "kim"}, "protocol among chen, locatello, got 'kim'"),
        ({"factors": ["colour"]}, "factors among shape, scale.*colour"),
        ({"num_images": 1}, "at least two images, got 1"),
        ({"num_samples": 0}, "at least one sample, got 0"),
        ({"num_samples": 2.5}, "at least one sample, got 2.5"),
        ({"num_images": 2.5}, "at least two images, got 2.5"),
        ({"protocol": "locatello", "num_bins": 1}, "at least two bins, got 1"),
        ({"protocol": "locatello", "num_bins": 2.5}, "at least two bins, got 2.5"),
    ]:
        with pytest.raises(ValueError, match=match):
            metrics.mig(vae, sprites, **({"num_images": 50} | arguments))
    for other, match in [
        (zoo.vae((1, 8, 8), 1, hidden=8), "two latent dimensions, got 1"),
        (zoo.autoencoder((1, 8, 8), 3, hidden=8), "posterior with a density.*Delta"),
        (zoo.vq_vae((1, 8, 8), 3, hidden=8), "posterior with a density.*DeltaWithLosses"),
        (zoo.hierarchical_vae((1, 8, 8), 3, hidden=8), "one latent, got z2, z1"),
        (zoo.conditional_vae((1, 8, 8), 3, hidden=8), "without labels"),
        (zoo.vae((1, 9, 9), 3, hidden=8), r"shape \(B, 1, 9, 9\), got"),
    ]:
        with pytest.raises(ValueError, match=match):
            metrics.mig(other, sprites, num_images=50)


class Labelled:
    """A data set whose factors are what a function makes of two and five classes."""

    factor_sizes = (2, 5)

    def __init__(self, change):
        self.change = change

    def sample(self, n, generator=None):
        rows = torch.randint(20, (n,), generator=generator)
        return torch.zeros(n, 1, 8, 8), self.change(torch.stack([rows % 2, rows % 5], 1))


@pytest.mark.parametrize("protocol", ["chen", "locatello"])
@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda v: v[:5], r"shape \(50, 2\) for 50 images, got \(5, 2\)"),
        (lambda v: v.numpy(), r"for 50 images, got ndarray"),
        (lambda v: v.double(), "integer factors, got torch.float64"),
        (lambda v: v * torch.nan, "integer factors, got torch.float32"),
        (lambda v: v - 1, "factor 0 from 0 to 1, got -1 to 0"),
        (lambda v: v + torch.tensor([0, 3]), "factor 1 from 0 to 4, got 3 to 7"),
    ],
)
def test_factors_of_a_data_set_must_be_what_it_says(change, match, protocol):
    vae = zoo.vae((1, 8, 8), 3, hidden=8)
    with pytest.raises(ValueError, match=match):
        metrics.mig(vae, Labelled(change), protocol, num_images=50)


def test_what_has_no_factors_is_refused():
    vae = zoo.vae((1, 8, 8), 3, hidden=8)
    with pytest.raises(ValueError, match=r"images with factors, .*, got Tensor"):
        metrics.mig(vae, torch.zeros(4, 1, 8, 8))
    with pytest.raises(ValueError, match=r"ppl_gen\.VAE to evaluate, got NoneType"):
        metrics.mig(None, data.sprites(8))


def test_factor_arrays_may_be_of_numpy():
    images, classes = torch.rand(6, 1, 8, 8), torch.arange(12).reshape(6, 2) % 3
    own = metrics.FactorArrays(images.numpy(), classes.numpy())
    assert torch.equal(own.images, images)
    assert torch.equal(own.classes, classes)
    with pytest.raises(ValueError, match="factors as a tensor or array, got list"):
        metrics.FactorArrays(images, classes.tolist())


def test_factor_arrays_that_do_not_match_the_images():
    images, classes = torch.rand(6, 1, 8, 8), torch.arange(12).reshape(6, 2)
    for arguments, match in [
        ((images, classes[:5]), r"each of 6 images, got factors of shape \(5, 2\)"),
        ((images, classes[:, 0]), r"shape \(6,\)"),
        ((images, classes / 2), "values of factor 0 that repeat, got 6 in as many images"),
        ((images, classes % 3 * torch.nan), "factor 0 for every image, some are missing"),
        ((images, np.array([["a", None]] * 6)), "factor 1 for every image, some are missing"),
        ((images, np.array([[{}, 1], [[], 2]] * 3, object)), "numbers or text for factor 0"),
        ((images, classes, ["a"]), "expected 2 factor names, all different, got 1: a"),
        ((images, classes, ["a", "a"]), "expected 2 factor names, all different, got 2: a, a"),
    ]:
        with pytest.raises(ValueError, match=match):
            metrics.FactorArrays(*arguments)
    vae = zoo.vae((1, 8, 8), 3, hidden=8)
    constant = metrics.FactorArrays(images, torch.zeros(6, 1).long())
    with pytest.raises(ValueError, match="several values, 0 has one"):
        metrics.mig(vae, constant, num_images=20)

    class Short(metrics.FactorArrays):
        def sample(self, n, generator=None):
            drawn, values = super().sample(n, generator)
            return drawn, values[:-1]

    with pytest.raises(
        ValueError, match=r"factors of shape \(20, 2\) for 20 images, got \(19, 2\)"
    ):
        metrics.mig(zoo.vae((1, 8, 8), 3, hidden=8), Short(images, classes), num_images=20)
