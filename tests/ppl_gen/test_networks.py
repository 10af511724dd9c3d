"""Networks map event shapes to event shapes for any leading dimensions."""

import pytest
import torch

from ppl_gen.denoisers import Denoiser, Mixture
from ppl_gen.networks import MLP, ConvDecoder, ConvEncoder, ResidualMLP
from ppl_gen.noise import Cosine


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 64, 64), (1, 32, 32), (2, 7, 9)])
@pytest.mark.parametrize("leading", [(), (5,), (2, 5)])
def test_convolutions_go_both_ways(shape, leading):
    encoder = ConvEncoder([shape, (3,)], [8], (4,), channels=4)
    decoder = ConvDecoder([(4,), (3,)], [8], shape, channels=4)
    code = encoder(torch.rand(*leading, *shape), torch.rand(*leading, 3))
    assert code.shape == (*leading, 4)
    assert decoder(code, torch.rand(*leading, 3)).shape == (*leading, *shape)


def test_leading_dimensions_do_not_mix():
    network = ConvEncoder([(1, 8, 8)], [8], (4,), channels=4)
    x = torch.rand(2, 3, 1, 8, 8)
    torch.testing.assert_close(network(x)[1, 2], network(x[1, 2]))


def test_inputs_of_different_leading_shapes_are_broadcast():
    network = MLP([(1, 2, 2), (3,)], [8], (2, 2))
    x, z = torch.rand(5, 1, 2, 2), torch.rand(7, 5, 3)
    assert network(x, z).shape == (7, 5, 2, 2)
    torch.testing.assert_close(network(x, z)[4], network(x, z[4]))


def test_wrong_inputs_are_named():
    network = MLP([(1, 2, 2), (3,)], [8], (2,))
    with pytest.raises(ValueError, match="expected 2 inputs"):
        network(torch.rand(1, 2, 2))
    with pytest.raises(ValueError, match=r"\(\.\.\., \(3,\)\), got \(4,\)"):
        network(torch.rand(1, 2, 2), torch.rand(4))


@pytest.mark.usefixtures("fresh_store")
@pytest.mark.parametrize("shape", [(2,), (1, 4, 4)])
@pytest.mark.parametrize("num_classes", [0, 3])
def test_a_residual_network_starts_at_zero_and_keeps_the_shape(shape, num_classes):
    network = ResidualMLP(shape, hidden=8, blocks=2, num_classes=num_classes)
    x, u = torch.rand(5, *shape), torch.rand(5)
    assert torch.equal(network(x, u), torch.zeros_like(x))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    whole = network(x, u)
    assert whole.unique().numel() == x.numel()
    torch.testing.assert_close(network(x[3:], u[3:]), whole[3:])
    assert not torch.allclose(network(x, u + 0.01), whole)


@pytest.mark.usefixtures("fresh_store")
def test_labels_change_a_residual_network_and_the_last_is_none():
    network = ResidualMLP((2,), hidden=8, num_classes=3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    x, u = torch.rand(1, 2).expand(4, 2), torch.full((4,), 0.3)
    found = network(x, u, torch.arange(4))
    assert len({round(v, 5) for v in found[:, 0].tolist()}) == 4
    torch.testing.assert_close(network(x, u), found[3:].expand(4, 2))


@pytest.mark.usefixtures("fresh_store")
def test_a_residual_network_learns_the_exact_denoiser():
    modes = torch.tensor([[-1.5, 0.0], [1.0, 1.0]])
    exact = Mixture(Cosine(), torch.ones(2), modes, torch.full((2, 2), 0.05))
    network = ResidualMLP((2,), hidden=64, blocks=2)
    denoiser = Denoiser(network, Cosine(), "velocity")
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    falling = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / 500)

    def noisy(n):
        data = modes[torch.randint(2, (n,))] + 0.05**0.5 * torch.randn(n, 2)
        level = Cosine().level(torch.rand(n))
        at = level.like(data)
        noise = torch.randn(n, 2)
        x = at.alpha * data + at.sigma * noise
        return x, level.u, at.alpha * noise - at.sigma * data

    def distance():
        x, u, _ = noisy(2000)
        with torch.no_grad():
            return ((denoiser(x, u).velocity - exact(x, u).velocity) ** 2).mean().item()

    before = distance()
    for _ in range(500):
        x, u, velocity = noisy(256)
        optimizer.zero_grad()
        ((denoiser(x, u).value - velocity) ** 2).mean().backward()
        optimizer.step()
        falling.step()
    assert distance() < 0.03 * before


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ResidualMLP((0,)), "expected a tuple of sizes"),
        (lambda: ResidualMLP((2,), hidden=0), "expected hidden >= 1"),
        (lambda: ResidualMLP((2,), num_classes=-1), "num_classes >= 0"),
        (lambda: ResidualMLP((2,))(torch.rand(3, 3), torch.rand(3)), "expected data of shape"),
        (
            lambda: ResidualMLP((2,))(torch.rand(3, 2), torch.rand(3), torch.zeros(3)),
            "expected no labels",
        ),
        (
            lambda: ResidualMLP((2,), num_classes=2)(
                torch.rand(1, 2), torch.rand(1), torch.tensor([3])
            ),
            "expected labels from 0 to 2",
        ),
        *(
            (
                lambda dtype=dtype: ResidualMLP((2,), num_classes=2)(
                    torch.rand(1, 2), torch.rand(1), torch.ones(1, dtype=dtype)
                ),
                f"expected labels as whole numbers, got {dtype}",
            )
            for dtype in (torch.float32, torch.float64, torch.bool)
        ),
    ],
)
def test_what_a_residual_network_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()
