"""A U-Net and the ways in which a condition reaches the features of a denoiser's network."""

import pytest
import torch

from ppl_gen.denoisers import Denoiser, Guided
from ppl_gen.networks import ResidualMLP, UNet
from ppl_gen.networks.conditions import WAYS, Attention, Film, Told
from ppl_gen.noise import Cosine

pytestmark = pytest.mark.usefixtures("fresh_store")

SMALL = {"widths": (8, 16), "patch": 1}


def stirred(network):
    """A network whose last layers no longer give zeros."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network.eval()


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 7, 9), (2, 1, 5)])
@pytest.mark.parametrize("patch", [1, 2])
def test_an_image_comes_back_in_its_shape_and_first_as_zeros(shape, patch):
    network = UNet(shape, (8, 16), patch=patch)
    x, u = torch.rand(3, *shape), torch.rand(3)
    assert torch.equal(network(x, u), torch.zeros_like(x))
    whole = stirred(network)(x, u)
    assert whole.unique().numel() == x.numel()
    torch.testing.assert_close(network(x[2:], u[2:]), whole[2:])
    assert not torch.allclose(network(x, u + 0.01), whole)
    assert UNet(shape, (8,), outputs=2)(x, u).shape == (3, 2 * shape[0], *shape[1:])


@pytest.mark.parametrize(("widths", "size"), [((16, 32), 124_000), ((32, 64), 411_000)])
def test_the_sizes_are_those_that_results_are_stated_for(widths, size):
    count = sum(p.numel() for p in UNet(widths=widths).parameters())
    assert count == pytest.approx(size, rel=0.005)


@pytest.mark.parametrize("left_out", ["skips", "timed", "attend", "normalize"])
def test_a_part_that_is_left_out_has_no_effect_and_no_parameters(left_out):
    full, ablated = (UNet((1, 8, 8), **SMALL, **{left_out: kept}) for kept in (True, False))
    sizes = [sum(p.numel() for p in network.parameters()) for network in (full, ablated)]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.02)
    stirred(full)
    ablated.load_state_dict(full.state_dict(), strict=False)
    x, u = torch.rand(2, 1, 8, 8), torch.tensor([0.2, 0.7])
    assert not torch.allclose(full(x, u), ablated(x, u))
    assert torch.allclose(ablated(x, u), ablated(x, u.flip(0))) == (left_out == "timed")


def reach(network, x):
    """The positions of the output that one corner of the input changes."""
    moved = x.clone()
    moved[..., 0, 0] += 1
    u = torch.full((len(x),), 0.5)
    return ((network(moved, u) - network(x, u)).abs() > 1e-9).flatten(2).any(1)


def test_attention_is_what_joins_distant_positions_without_normalisation():
    x = torch.rand(1, 1, 64, 64, dtype=torch.float64)
    near, far = (
        stirred(UNet((1, 64, 64), **SMALL, normalize=False, attend=attend).double())
        for attend in (False, True)
    )
    assert not reach(near, x)[0, -1]
    assert reach(far, x)[0, -1]


@pytest.mark.parametrize("inject", WAYS)
def test_labels_change_the_output_in_every_way_and_the_last_is_none(inject):
    network = stirred(UNet((1, 8, 8), **SMALL, num_classes=3, inject=inject))
    x, u = torch.rand(1, 1, 8, 8).expand(4, 1, 8, 8), torch.full((4,), 0.3)
    found = network(x, u, torch.arange(4))
    assert len({round(v, 5) for v in found[:, 0, 0, 0].tolist()}) == 4
    torch.testing.assert_close(network(x, u), found[3:].expand(4, 1, 8, 8))


@pytest.mark.parametrize(
    ("network", "shape"),
    [(lambda e: UNet((1, 8, 8), **SMALL, token_dim=e), (1, 8, 8)),
     (lambda e: ResidualMLP((5,), 8, 2, token_dim=e), (5,))],
    ids=["unet", "mlp"],
)  # fmt: skip
def test_tokens_are_a_set_that_every_datum_has_its_own_of(network, shape):
    network = stirred(network(6))
    x, u, tokens = torch.rand(3, *shape), torch.rand(3), torch.rand(3, 4, 6)
    found = network(x, u, tokens)
    torch.testing.assert_close(network(x, u, tokens[:, [2, 0, 3, 1]]), found)
    torch.testing.assert_close(network(x, u, tokens.repeat(1, 2, 1)), found)
    other = tokens.clone()
    other[1, 2] += 1
    moved = (network(x, u, other) - found).abs().flatten(1).amax(1)
    assert moved[1] > 1e-4
    assert moved[[0, 2]].max() == 0


@pytest.mark.parametrize("twice", [False, True])
def test_film_scales_what_is_there_and_shifts_it(twice):
    film, h = stirred(Film(5, 3, twice)), torch.randn(4, 3, 2, 2)
    told = Told(torch.randn(4, 5), film=torch.randn(4, 5))
    moved = film.time(told.time) + (film.condition(told.film) if twice else 0)
    scale, shift = moved[:, :3, None, None], moved[:, 3:, None, None]
    torch.testing.assert_close(film(h, told), h + scale * h + shift)
    for parameter in film.parameters():
        parameter.data.zero_()
    assert torch.equal(film(h, told), h)


def test_attention_is_that_of_torch():
    ours, theirs = Attention(8, heads=2), torch.nn.MultiheadAttention(8, 2, batch_first=True)
    stirred(ours)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key_value.weight]))
        theirs.out_proj.load_state_dict(ours.out.state_dict())
    h = torch.rand(3, 5, 8)
    torch.testing.assert_close(ours(h), theirs(h, h, h, need_weights=False)[0])


def test_an_image_as_condition_is_seen_where_it_is():
    network = stirred(UNet((1, 32, 32), **SMALL, channels=2, normalize=False, attend=False))
    x, u = torch.rand(1, 1, 32, 32), torch.rand(1)
    torch.testing.assert_close(network(x, u), network(x, u, torch.zeros(1, 2, 32, 32)))
    y = torch.zeros(1, 2, 32, 32)
    y[0, 1, 3, 4] = 1
    moved = (network(x, u, y) - network(x, u)).abs()[0, 0]
    assert moved[3, 4] > 1e-4
    assert moved[-1, -1] == 0


@pytest.mark.parametrize(
    "network",
    [UNet((1, 8, 8), **SMALL, num_classes=3), ResidualMLP((1, 8, 8), 8, num_classes=3)],
    ids=["unet", "mlp"],
)
def test_guidance_at_0_and_1_is_one_call_and_linear_between(network):
    denoiser = Denoiser(stirred(network), Cosine(), "velocity")
    x, u = torch.rand(4, 1, 8, 8), torch.tensor(0.4)
    y, null = torch.tensor([0, 1, 2, 1]), torch.full((4,), 3)
    without, given = denoiser(x, u, null).value, denoiser(x, u, y).value
    assert torch.equal(Guided(denoiser, 0, null=3)(x, u, y).value, without)
    assert torch.equal(Guided(denoiser, 1, null=3)(x, u, y).value, given)
    torch.testing.assert_close(
        Guided(denoiser, 2.5, null=3)(x, u, y).value, without + 2.5 * (given - without)
    )


def test_every_parameter_learns():
    denoiser = Denoiser(UNet((1, 8, 8), **SMALL, num_classes=2, inject="film"), Cosine())
    x, u, y = torch.randn(8, 1, 8, 8), torch.rand(8), torch.randint(2, (8,))
    optimizer = torch.optim.Adam(denoiser.parameters(), 1e-2)
    losses = []
    for _ in range(25):
        optimizer.zero_grad()
        loss = (denoiser(x, u, y).noise - x.flip(-1)).square().mean()
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
    silent = [n for n, p in denoiser.named_parameters() if p.grad is None or not p.grad.any()]
    assert not silent
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: UNet((2,)), r"expected images \(C, H, W\)"),
        (lambda: UNet(widths=(12,)), "multiples of 8"),
        (lambda: UNet(widths=()), "multiples of 8"),
        (lambda: UNet(patch=0), "patch >= 1"),
        (lambda: UNet(inject="concat"), "a way among add"),
        (lambda: UNet(num_classes=2, token_dim=3), "at most one of them"),
        (lambda: UNet(num_classes=-1), "at most one of them"),
        (lambda: UNet()(torch.rand(1, 1, 8, 8), torch.rand(1)), "expected data of shape"),
        (
            lambda: UNet((1, 8, 8))(torch.rand(1, 1, 8, 8), torch.rand(1), torch.zeros(1)),
            "expected no labels",
        ),
        (
            lambda: UNet((1, 8, 8), num_classes=2)(
                torch.rand(1, 1, 8, 8), torch.rand(1), torch.tensor([3])
            ),
            "expected labels from 0 to 2",
        ),
        (
            lambda: UNet((1, 8, 8), token_dim=2)(torch.rand(1, 1, 8, 8), torch.rand(1)),
            r"expected tokens of shape \(1, L, 2\), got none",
        ),
        (
            lambda: ResidualMLP((3,), token_dim=2)(
                torch.rand(1, 3), torch.rand(1), torch.rand(1, 4, 3)
            ),
            r"expected tokens of shape \(1, L, 2\), got \(1, 4, 3\)",
        ),
        (
            lambda: UNet((1, 8, 8), channels=2)(
                torch.rand(1, 1, 8, 8), torch.rand(1), torch.rand(1, 1, 8, 8)
            ),
            "expected channels of shape",
        ),
    ],
)  # fmt: skip
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
