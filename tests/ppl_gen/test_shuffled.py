"""Networks of games: pixel shuffle is a transposed convolution, and shapes are those asked for."""

import pytest
import torch
from torch import nn
from torch.nn.functional import pixel_shuffle

from ppl_gen import critics, networks
from ppl_gen.networks import ConvFeatures, MapDecoder, ShuffleDecoder, as_transposed


@pytest.mark.parametrize(("inputs", "depth"), [(1, 1), (3, 2)])
@pytest.mark.parametrize("sides", [(1, 1), (4, 7)])
def test_a_convolution_and_a_shuffle_are_a_transposed_convolution(inputs, depth, sides):
    torch.manual_seed(0)
    plain = nn.Conv2d(inputs, 4 * depth, 3, padding=1, bias=False).double()
    x = torch.randn(2, inputs, *sides, dtype=torch.float64)
    expected = pixel_shuffle(plain(x), 2)
    torch.testing.assert_close(as_transposed(plain)(x), expected, rtol=0, atol=1e-12)
    found = torch.nn.functional.conv_transpose2d(x, kernel(plain.weight), stride=2, padding=2)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def kernel(weight):
    """K[a + 4 - 2u] = W_a[u], pixel by pixel."""
    depth, inputs = weight.shape[0] // 4, weight.shape[1]
    found = torch.zeros(inputs, depth, 6, 6, dtype=weight.dtype)
    for channel in range(4 * depth):
        a, b = channel % 4 // 2, channel % 2
        for u in range(3):
            for v in range(3):
                row, column = a + 4 - 2 * u, b + 4 - 2 * v
                found[:, channel // 4, row, column] = weight[channel, :, u, v]
    return found


@pytest.mark.parametrize(
    "convolution",
    [
        nn.Conv2d(1, 4, 5, padding=2, bias=False),
        nn.Conv2d(1, 4, 3, bias=False),
        nn.Conv2d(1, 4, 3, padding=1),
        nn.Conv2d(1, 3, 3, padding=1, bias=False),
        nn.Conv2d(4, 4, 3, padding=1, bias=False, groups=4),
    ],
)
def test_other_convolutions_are_refused(convolution):
    with pytest.raises(ValueError, match=r"expected a (3×3 convolution|multiple of 4)"):
        as_transposed(convolution)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 8, 12), (2, 5, 5), (1, 1, 1)])
@pytest.mark.parametrize("kind", ["conv", "map", "mlp", "auto"])
def test_images_are_grown_and_judged_in_every_shape(kind, shape):
    grown = networks.growing(kind, 9, None, shape)(torch.randn(6, 9))
    assert grown.shape == (6, *shape)
    assert critics.default(shape, None, kind)(grown).shape == (6, 1)
    rows = torch.cat([grown.flatten(1), torch.zeros(6, 9)], 1)
    assert critics.default(shape, None, kind, 9)(rows).shape == (6, 1)


def test_the_default_network_of_digits_is_as_described():
    generator, critic = (
        networks.growing("auto", 64, None, (1, 28, 28)),
        critics.default((1, 28, 28)),
    )
    layers = [module for module in generator.modules() if isinstance(module, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels, c.kernel_size[0]) for c in layers] == [
        (64, 128, 3),
        (32, 4, 5),
    ]
    layers = [module for module in critic.modules() if isinstance(module, nn.Conv2d)]
    assert [(c.out_channels, c.kernel_size[0], c.stride[0]) for c in layers] == [
        (32, 4, 2),
        (64, 4, 2),
        (128, 3, 2),
    ]
    assert not any(isinstance(module, nn.BatchNorm2d) for module in critic.modules())
    weights = torch.cat([p.flatten() for p in generator.parameters() if p.dim() > 1])
    assert weights.std().item() == pytest.approx(0.02, rel=0.02)


def test_networks_of_latents_take_any_batch():
    for network in (ShuffleDecoder(4, [], (1, 8, 8), 2), MapDecoder(4, [1], (1, 8, 8))):
        z = torch.randn(3, 5, 4)
        expected = network.eval()(z.flatten(0, 1)).view(3, 5, 1, 8, 8)
        torch.testing.assert_close(network(z), expected)


def test_a_pixel_of_a_map_sees_the_latents_near_it():
    torch.manual_seed(0)
    network, z = MapDecoder(64, [1], (1, 28, 28)), torch.randn(1, 64, requires_grad=True)
    (near,) = torch.autograd.grad(network(z)[0, 0, 14, 14], z)
    seen = near.view(8, 8).abs() > 0
    assert 0 < seen.sum() <= 16
    assert not seen[0].any()
    dense = ShuffleDecoder(64, [], (1, 28, 28)).eval()
    (all_of_it,) = torch.autograd.grad(dense(z)[0, 0, 14, 14], z)
    assert (all_of_it.abs() > 0).all()


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: networks.growing("conv", 4, None, (2,)), r"images \(C, H, W\) for convolutions"),
        (lambda: networks.growing("vit", 4, None, (2,)), "among auto, conv, mlp, map, got 'vit'"),
        (lambda: networks.growing("map", 5, None, (1, 8, 8)), "square number of latents .* got 5"),
        (lambda: MapDecoder(4, [1, 1, 1], (1, 8, 8)), "or 1 for 2 doublings, got 3"),
        (lambda: ShuffleDecoder(4, [], (1, 8, 8), 0), "one channel or more, got 0"),
        (lambda: ConvFeatures((2,)), r"images \(C, H, W\) for convolutions"),
        (lambda: critics.default((2,), network="conv"), r"images \(C, H, W\) for convolutions"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()
