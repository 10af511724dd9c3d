"""Networks map event shapes to event shapes for any leading dimensions."""

import pytest
import torch

from ppl_gen.networks import MLP, ConvDecoder, ConvEncoder


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
