"""Likelihoods by the probability flow against laws that are known."""

import itertools
import math

import pytest
import torch
from torch import nn

from ppl_gen.denoisers import Denoiser, Gaussian, Guided, Mixture
from ppl_gen.noise import EDM, Cosine, Geometric, Linear, PowerGrid, uniform
from ppl_gen.samplers import log_likelihood

pytestmark = pytest.mark.usefixtures("fresh_store")

MEAN = torch.tensor([0.7, -0.3], dtype=torch.float64)
VARIANCE = torch.tensor([0.25, 2.0], dtype=torch.float64)


def gaussian_flow(x, least, most):
    """log p by the flow of N(MEAN, VARIANCE) in closed form, from N(0, most²) at the end."""
    grown = ((VARIANCE + most**2) / (VARIANCE + least**2)).sqrt()
    end = torch.distributions.Normal(0.0, most).log_prob(MEAN + grown * (x - MEAN))
    return (end + grown.log()).sum(-1)


def mixture(noise):
    means = torch.tensor([[-1.0, 0.0, 0.5], [1.0, 1.0, 0.0]], dtype=torch.float64)
    factor = torch.tensor([[0.6, 0.0, 0.0], [0.2, 0.5, 0.0], [0.1, -0.3, 0.7]]).double()
    return Mixture(noise, torch.tensor([0.3, 0.7]), means, (factor @ factor.mT).expand(2, 3, 3))


@pytest.mark.parametrize("noise", [EDM(), Geometric(0.002, 80.0)])
def test_the_error_is_of_fourth_order(noise):
    data = Gaussian(noise, MEAN, VARIANCE)
    x = MEAN + torch.randn(8, 2).double() * VARIANCE.sqrt()
    exact = gaussian_flow(x, 0.002, 80.0)
    errors = [(log_likelihood(data, x, steps=n) - exact).abs().max() for n in (17, 33, 65)]
    assert errors[0] < 0.01
    for coarse, fine in itertools.pairwise(errors):
        assert coarse / fine == pytest.approx(16, rel=0.25)


def test_a_mixture_has_its_density():
    data = mixture(EDM(0.01, 1000.0))
    x = data.marginal(0.0).sample((20,))
    grid = PowerGrid(7.0, 0.01, 1000.0)
    found = log_likelihood(data, x, steps=64, grid=grid)
    # the start N(0, 1000²) is not quite the mixture's law at the noisiest level
    torch.testing.assert_close(found, data.marginal(0.0).log_prob(x), atol=0.005, rtol=0)


def test_the_density_sums_to_one():
    data = Gaussian(EDM(), torch.zeros(1, dtype=torch.float64), 0.5)
    x = torch.linspace(-6, 6, 400, dtype=torch.float64)[:, None]
    total = log_likelihood(data, x, steps=40).exp().sum() * (x[1, 0] - x[0, 0])
    assert total.item() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("kinds", [(EDM(), Geometric()), (Cosine(), Linear())])
def test_schedules_of_a_kind_have_the_same_flow(kinds):
    grid, x = PowerGrid(7.0, 0.01, 20.0), torch.randn(4, 3).double()
    found = [log_likelihood(mixture(noise), x, grid=grid, steps=20) for noise in kinds]
    torch.testing.assert_close(*found)


def test_random_directions_are_unbiased():
    data = mixture(EDM())
    x = torch.tensor([[0.2, 0.4, -0.3]]).double()
    exact = log_likelihood(data, x, steps=20)
    drawn = log_likelihood(data, x.expand(1000, -1), steps=20, probes=1, seed=3)
    error = drawn.std() / 1000**0.5
    assert 0 < error < 0.2
    assert abs(drawn.mean() - exact) < 4 * error
    many = log_likelihood(data, x.expand(200, -1), steps=20, probes=16)
    assert many.std() == pytest.approx(drawn.std() / 4, rel=0.25)


class Squash(nn.Module):
    """A network whose derivative is neither symmetric nor constant, conditional on a label."""

    def __init__(self, dim):
        super().__init__()
        self.mix, self.label = nn.Linear(dim, dim), nn.Embedding(3, dim)
        self.drop = nn.Dropout(0.5)

    def forward(self, x, u, y=None):
        y = torch.full((len(x),), 2) if y is None else y
        inner = self.mix(x.flatten(1)) + self.label(y) + u[:, None]
        return self.drop(inner.tanh()).reshape(x.shape)


def squashed(shape):
    return Denoiser(Squash(math.prod(shape)), EDM(), "noise", data_shape=shape).train()


def test_a_datum_has_its_own_likelihood_whatever_it_comes_with(monkeypatch):
    data, y = squashed((1, 2, 3)), torch.tensor([0, 1, 2, 1, 0])
    x = torch.randn(5, 1, 2, 3)
    close = {"rtol": 1e-5, "atol": 1e-5}
    for probes in (None, 2):
        whole = log_likelihood(data, x, y, steps=6, probes=probes)
        monkeypatch.setattr("ppl_gen.samplers.likelihood._ROWS", 13)
        torch.testing.assert_close(
            log_likelihood(data, x, y, steps=6, probes=probes), whole, **close
        )
        monkeypatch.undo()
        first = log_likelihood(data, x[:2], y[:2], steps=6, probes=probes)
        torch.testing.assert_close(first, whole[:2], **close)
    assert not whole.requires_grad
    assert whole.dtype == torch.float64
    assert data.training


def test_the_trace_is_that_of_the_jacobian():
    data, x = squashed((4,)).eval(), torch.randn(1, 4)
    grid = PowerGrid(1.0, 1.0, 1.001)
    # over one short step the flow's integral is the trace times its length
    start = torch.distributions.Normal(0.0, 1.001)
    noise = data.noise
    u = noise.time(torch.tensor(0.0, dtype=torch.float64))
    jacobian = torch.func.jacrev(lambda z: data(z, u).noise)(x)[0, :, 0]
    moved = x + 0.001 * data(x, u).noise
    expected = start.log_prob(moved).sum() + 0.001 * jacobian.trace()
    found = log_likelihood(data, x, steps=2, grid=grid)
    assert found.item() == pytest.approx(expected.item(), abs=1e-5)


def test_beyond_64_dimensions_directions_are_drawn_from_a_seed():
    data, x = squashed((65,)), torch.randn(2, 65)
    one, again, other = (log_likelihood(data, x, steps=4, seed=s) for s in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    whole = squashed((64,))
    one, other = (log_likelihood(whole, x[:, :64], steps=4, seed=s) for s in (1, 2))
    assert torch.equal(one, other)


def test_guidance_changes_the_flow_and_labels_are_one_for_all():
    data, x = squashed((3,)), torch.randn(4, 3)
    one = log_likelihood(data, x, 1, steps=5)
    torch.testing.assert_close(one, log_likelihood(Guided(data, 1.0, null=2), x, 1, steps=5))
    assert not torch.allclose(one, log_likelihood(Guided(data, 3.0, null=2), x, 1, steps=5))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: log_likelihood(d, torch.zeros(2, 3)), r"expected data of shape \(2,\)"),
        (lambda d: log_likelihood(d, torch.zeros(2)), r"expected data \(B, \.\.\.\)"),
        *(
            (lambda d, v=v: log_likelihood(d, torch.tensor([[v, 0.0]])), "data without NaN")
            for v in (float("nan"), float("inf"))
        ),
        (lambda d: log_likelihood(d, torch.zeros(2, 2), steps=1), "expected steps >= 2"),
        (lambda d: log_likelihood(d, torch.zeros(2, 2), probes=0), "probes >= 1"),
        (lambda d: log_likelihood(d, torch.zeros(2, 2), torch.zeros(3)), "expected 2 conditions"),
        (lambda d: log_likelihood(nn.Identity(), torch.zeros(2, 2)), "expected a denoiser"),
        (
            lambda d: log_likelihood(
                Gaussian(Cosine(floor=0.0), torch.zeros(2), 1.0), torch.zeros(1, 2), grid=uniform
            ),
            "expected a grid with signal",
        ),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(Gaussian(EDM(), torch.zeros(2), 1.0))
