"""Captions say what is drawn, and networks see them as tokens."""

import math

import pytest
import torch

from ppl_gen.data import VOCABULARY, captions, stroke, words
from ppl_gen.denoisers import Denoiser, Guided
from ppl_gen.networks import Captioned, ResidualMLP, TextEncoder, UNet
from ppl_gen.noise import Cosine

pytestmark = pytest.mark.usefixtures("fresh_store")


def bar(width, degrees, size=28, fine=8, length=16):
    """A bar of a width, turned to the right from upright, drawn finely and averaged."""
    axis = (torch.arange(size * fine).double() + 0.5) / fine - size / 2
    y, x, angle = axis[:, None], axis, math.radians(degrees)
    across = x * math.cos(angle) + y * math.sin(angle)
    along = x * math.sin(angle) - y * math.cos(angle)
    inside = ((across.abs() < width / 2) & (along.abs() < length / 2)).float()
    return torch.nn.functional.avg_pool2d(inside[None, None], fine)


@pytest.mark.parametrize("degrees", [-30, -10, 0, 15, 40])
@pytest.mark.parametrize("width", [2.0, 3.0])
def test_a_bar_has_its_width_and_slant(width, degrees):
    found, slant = stroke(bar(width, degrees))
    # the ends of a bar are outline too; grey pixels blur it
    assert found.item() == pytest.approx(width / (1 + width / 16), rel=0.07)
    # moments see the turned rectangle, a little less turned than its axis where it is wide
    spread = (16**2 - width**2) * math.sin(math.radians(2 * degrees)) / 2
    steep = (
        16**2 * math.cos(math.radians(degrees)) ** 2
        + width**2 * math.sin(math.radians(degrees)) ** 2
    )
    assert slant.item() == pytest.approx(math.degrees(math.atan(spread / steep)), abs=0.7)


def test_a_measure_does_not_depend_on_place_or_brightness():
    image = bar(3.0, 20)
    found = torch.stack(stroke(image))
    torch.testing.assert_close(torch.stack(stroke(0.5 * image)), found)
    moved = image.roll((2, -3), (2, 3))
    torch.testing.assert_close(torch.stack(stroke(moved)), found)
    torch.testing.assert_close(
        torch.stack(stroke(image.flip(3))), found * torch.tensor([[1], [-1]])
    )


def test_captions_name_thickness_digit_and_slant():
    images = torch.cat([bar(1.6, -30), bar(3.0, 0), bar(5.0, 18), bar(2.7, 0)])
    assert captions(images, torch.tensor([7, 8, 0, 8])) == [
        "a very thin seven, slanted strongly left",
        "an eight, upright",
        "a very thick zero, slanted right",
        "an eight, upright",
    ]


def test_parts_are_left_out_by_chance_and_by_seed():
    images, labels = bar(4.5, 18).expand(300, -1, -1, -1), torch.full((300,), 3)
    found = captions(images, labels, drop=0.4, seed=1)
    assert found == captions(images, labels, drop=0.4, seed=1)
    assert found != captions(images, labels, drop=0.4, seed=2)
    empty = found.count("")
    assert abs(empty - 300 * 0.4**3) < 4 * (300 * 0.064) ** 0.5
    parts = {"very thick", "three", "slanted right"}
    for part in parts:
        share = sum(part in text for text in found) / 300
        assert share == pytest.approx(0.6, abs=0.12)
    assert set(captions(images, labels, drop=1.0)) == {""}


def test_every_caption_is_of_the_vocabulary_and_no_two_share_a_row():
    shapes = torch.cat([bar(w, d) for w in (1.8, 2.4, 3.0, 3.8, 5.5) for d in (-30, -7, 5, 22, 40)])
    texts = sorted(
        {
            text
            for digit in range(10)
            for drop in (0.0, 0.5)
            for text in captions(shapes, torch.full((25,), digit), drop)
        }
    )
    rows = words(texts)
    assert len(rows.unique(dim=0)) == len(texts) > 250
    assert rows.unique().tolist() == list(range(len(VOCABULARY)))
    spelled = [" ".join(VOCABULARY[i] for i in row if i).replace(" ,", ",") for row in rows]
    assert spelled == texts
    assert torch.equal(words("A thick  seven ,upright"), words(["a thick seven, upright"]))


@pytest.mark.parametrize("shape", [(6,), (1, 8, 8)])
def test_a_captioned_network_knows_the_order_of_words_and_the_empty_caption(shape):
    size = len(VOCABULARY)
    inner = (
        ResidualMLP(shape, 16, 2, token_dim=8)
        if len(shape) == 1
        else UNet(shape, (8, 16), 1, 1, token_dim=8)
    )
    network = Captioned(TextEncoder(size, dim=8), inner).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    x, u = torch.rand(1, *shape).expand(3, *shape), torch.full((3,), 0.3)
    found = network(x, u, words(["a thick seven", "a seven thick", ""]))
    assert (found[0] - found[1]).abs().max() > 1e-4
    torch.testing.assert_close(network(x, u), found[2:].expand_as(x))
    denoiser, y = Denoiser(network, Cosine(), "velocity"), words("a thin one").expand(3, -1)
    time = torch.tensor(0.3)
    given, without = denoiser(x, time, y).value, denoiser(x, time).value
    assert torch.equal(Guided(denoiser, 1.0, network.null)(x, time, y).value, given)
    assert torch.equal(Guided(denoiser, 0.0, network.null)(x, time, y).value, without)
    torch.testing.assert_close(
        Guided(denoiser, 3.0, network.null)(x, time, y).value, without + 3 * (given - without)
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stroke(torch.zeros(28, 28)), r"expected images \(N, C, H, W\)"),
        (lambda: stroke(torch.zeros(2, 1, 8, 8)), "expected images with a stroke"),
        (lambda: captions(bar(2.0, 0), torch.tensor([10])), "expected 1 labels from 0 to 9"),
        (lambda: captions(bar(2.0, 0), torch.tensor([1, 2])), "expected 1 labels"),
        (lambda: captions(bar(2.0, 0), torch.tensor([1]), drop=1.5), "a probability in"),
        (lambda: words("a bold seven"), "got 'bold' in 'a bold seven'"),
        (lambda: words("a " * 9), "at most 8 words and commas, got 9"),
        (lambda: words([7]), "a caption as text, got 7"),
        (lambda: TextEncoder(0), "at least one word"),
        (lambda: TextEncoder(5)(torch.zeros(2, 7, dtype=torch.long)), r"captions \(B, 8\)"),
        (lambda: TextEncoder(5)(torch.full((1, 8), 5)), "expected indices from 0 to 4"),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
