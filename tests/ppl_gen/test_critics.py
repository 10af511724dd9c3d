"""Parts of critics against closed forms: penalties, bounds, packs, noise, invertible maps."""

import math

import pytest
import torch
from torch import nn

import ppl_gen
from ppl_gen import divergences, priors, transforms
from ppl_gen.critics import Critic, Noisy, Packed, packed_shape
from ppl_gen.models.adversarial import Game
from ppl_gen.networks import MLP
from ppl_gen.regularizers import R1, R2, Clip, GradientPenalty, Regularizer, spectral_norm
from ppl_gen.schedules import WarmUp


def linear(*weights):
    layer = nn.Linear(len(weights), 1).double()
    layer.weight.data = torch.tensor([weights], dtype=torch.float64)
    return layer


def draws(n, dim, seed=0):
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Norm(nn.Module):
    def forward(self, x):
        return x.norm(dim=1, keepdim=True)


class HalfSquare(nn.Module):
    def forward(self, x):
        return x.square().sum(1, keepdim=True) / 2


@pytest.mark.parametrize("one_sided", [False, True])
@pytest.mark.parametrize("weights", [(3.0, 4.0), (0.3, 0.4)])
def test_the_penalty_of_a_linear_critic_and_its_gradient(weights, one_sided):
    critic, length = linear(*weights), math.hypot(*weights)
    real, fake = draws(6, 2), draws(6, 2, seed=1)
    cost = GradientPenalty(10.0, one_sided)(critic, real, fake)
    excess = max(length - 1, 0) if one_sided else length - 1
    assert cost.tolist() == pytest.approx([10 * excess**2] * 6)
    cost[0].backward()
    expected = [20 * excess * w / length for w in weights]
    assert critic.weight.grad.tolist() == [pytest.approx(expected)]


def test_a_critic_of_slope_one_has_no_penalty():
    cost = GradientPenalty(10.0)(Norm(), draws(50, 3), draws(50, 3, seed=1))
    torch.testing.assert_close(cost, torch.zeros_like(cost))


def test_the_penalty_is_taken_between_each_datum_and_its_fake():
    torch.manual_seed(0)
    zeros, ones = torch.zeros(4000, 1), torch.ones(4000, 1)
    place = 1 - GradientPenalty(1.0)(HalfSquare(), zeros, ones).sqrt()  # the slope is the place
    assert place.min() >= 0
    assert place.max() <= 1
    quantiles = place.quantile(torch.tensor([0.25, 0.5, 0.75]))
    torch.testing.assert_close(quantiles, torch.tensor([0.25, 0.5, 0.75]), atol=0.03, rtol=0)


def test_penalties_of_data_and_of_fakes_are_squared_gradients_there():
    real, fake = draws(5, 3), draws(5, 3, seed=1)
    torch.testing.assert_close(R1(0.2)(HalfSquare(), real, fake), 0.1 * real.square().sum(1))
    torch.testing.assert_close(R2(0.2)(HalfSquare(), real, fake), 0.1 * fake.square().sum(1))
    critic = linear(3.0, 4.0)
    R1(2.0)(critic, real[:, :2], fake[:, :2])[0].backward()
    assert critic.weight.grad.tolist() == [[6.0, 8.0]]


def test_a_critic_without_slope_has_a_finite_penalty_and_gradient():
    critic = linear(0.0, 0.0)
    cost = GradientPenalty(1.0)(critic, draws(3, 2), draws(3, 2, seed=1))
    cost.sum().backward()
    assert cost.tolist() == [1.0] * 3
    assert critic.weight.grad.isfinite().all()


def test_a_pack_has_one_gradient():
    packed = Packed(linear(3.0, 4.0, 12.0), 3)
    cost = GradientPenalty(1.0)(packed, draws(7, 1), draws(7, 1, seed=1))
    assert cost.tolist() == pytest.approx([144.0, 144.0])


def leaky_critic(layers, width, bound):
    torch.manual_seed(0)
    critic = MLP([(1,)], [width] * layers, (1,), lambda: nn.LeakyReLU(0.2)).double()
    for parameter in critic.parameters():
        parameter.data.abs_()  # so that every unit is on the side of its full slope
    Clip(bound).after(critic)
    return critic


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_a_clipped_critic_is_never_steeper_than_its_bound(layers):
    bound, width = 0.1, 8
    critic, clip = leaky_critic(layers, width, bound), Clip(bound)
    steepest = bound * (width * bound) ** layers
    optimizer = torch.optim.RMSprop(critic.parameters(), lr=1e-3)
    real, fake = (torch.tensor([[x]], dtype=torch.float64) for x in (3.0, 1.0))
    for _ in range(600):
        gap = (critic(real) - critic(fake)).sum()
        assert gap.item() <= 2 * steepest + 1e-12
        optimizer.zero_grad()
        (-gap).backward()
        optimizer.step()
        clip.after(critic)
    assert max(p.abs().max().item() for p in critic.parameters()) <= bound
    assert gap.item() > 0.999 * 2 * steepest


def test_the_generator_sees_the_critic_clipped(monkeypatch):
    torch.manual_seed(0)
    game, seen = ppl_gen.zoo.wgan((2,), 3, hidden=8, clip=0.02, critic_steps=2), []
    plain = game.generate

    def generate(data):
        seen.append(max(p.abs().max().item() for p in game.critic.parameters()))
        return plain(data)

    monkeypatch.setattr(game, "generate", generate)
    options = {"lr": 0.1, "staged": False, "progress": False}  # each step leaves the bound
    ppl_gen.fit(game, torch.randn(50, 2), epochs=2, batch_size=10, **options)
    assert seen == pytest.approx([0.02] * 6)


def test_the_bound_of_clipped_weights_is_attained():
    critic = leaky_critic(2, 8, 0.1)
    for parameter in critic.parameters():
        parameter.data.fill_(7.0)
    Clip(0.1).after(critic)
    x = torch.tensor([[1.0], [3.0]], dtype=torch.float64)
    assert critic(x).diff(dim=0).item() == pytest.approx(2 * 0.1 * 0.8**2)


def test_layers_of_spectral_norm_one_stay_so_in_training():
    torch.manual_seed(0)
    network = spectral_norm(nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(16, 1)))
    x = torch.randn(3, 1, 4, 4)
    for _ in range(100):
        network(x)
    for layer in (network[0], network[2]):
        norm = torch.linalg.matrix_norm(layer.weight.flatten(1), 2)
        assert norm.item() == pytest.approx(1.0, abs=1e-4)
    assert any("_u" in name for name in network.state_dict())
    with pytest.raises(ValueError, match="linear or convolutional layers, got none"):
        spectral_norm(nn.ReLU())


# --- What a critic is shown ---------------------------------------------------------------------


def test_a_pack_of_one_and_noise_of_zero_change_no_bit():
    critic, x = MLP([(3,)], [8], (1,)), torch.randn(5, 3)
    assert Packed(critic, 1)(x).equal(critic(x))
    assert Noisy(critic, 0.0)(x).equal(critic(x))


def test_packs_are_made_of_neighbours_and_leave_the_rest_out():
    x = torch.arange(7.0)[:, None]
    torch.testing.assert_close(Packed(nn.Identity(), 3)(x), x[:6].reshape(2, 3))
    images = torch.rand(4, 2, 3, 3)
    packs = Packed(nn.Identity(), 2)(images)
    assert packs.shape == (2, *packed_shape((2, 3, 3), 2))
    assert packs[1].equal(torch.cat([images[2], images[3]]))
    with pytest.raises(ValueError, match="pack of 8, got 7"):
        Packed(nn.Identity(), 8)(x)


def test_a_critic_of_packs_tells_variety_from_a_mode():
    """A law and one of its modes have equal supports; pairs of their draws do not."""
    p, q = torch.tensor([0.5, 0.5]), torch.tensor([0.9, 0.1])
    single, double = ((a[:, None] * a).flatten() for a in (p, q))
    assert (single - double).abs().sum() > (p - q).abs().sum()


def test_noise_has_the_scale_of_its_schedule():
    torch.manual_seed(0)
    schedule = WarmUp(4, 2.0, 0.0)
    blurred = Noisy(nn.Identity(), schedule)
    for expected in (2.0, 1.5, 1.0, 0.5, 0.0):
        assert blurred(torch.zeros(20_000, 1)).std().item() == pytest.approx(expected, rel=0.02)
        schedule.update({})


def test_a_game_advances_the_schedules_of_its_critic_once_a_cycle():
    schedule = WarmUp(8, 1.0, 0.0)
    critic = Noisy(nn.Linear(2, 1), schedule)
    game = Game(nn.Linear(2, 2), critic, priors.StandardNormal(2), (2,), divergences.hinge, None, 3)
    options = {"batch_size": 2, "staged": False, "progress": False}
    assert ppl_gen.fit(game, torch.zeros(10, 2), epochs=1, **options).steps == 2
    assert schedule.value.item() == 0.75


def test_heads_share_a_body():
    critic = Critic(nn.Linear(2, 5), 5, heads=3)
    x = torch.randn(4, 2)
    torch.testing.assert_close(critic(x), critic.head(critic.features(x)))
    for features, heads in ((0, 1), (5, 0), (5, True)):
        with pytest.raises(ValueError, match="one feature and head or more"):
            Critic(nn.Linear(2, 5), features, heads)


@pytest.mark.parametrize("make", [GradientPenalty, R1, R2, Clip])
@pytest.mark.parametrize("bad", [0, -1.0, math.nan, math.inf, "a", True])
def test_weights_of_regularizers_are_above_zero(make, bad):
    with pytest.raises(ValueError, match="above zero, got"):
        make(bad)


def test_no_regularizer_costs_nothing_and_changes_nothing():
    critic = linear(3.0, 4.0)
    assert Regularizer()(critic, draws(3, 2), draws(3, 2)).tolist() == [0.0] * 3
    Regularizer().after(critic)
    assert critic.weight.tolist() == [[3.0, 4.0]]


@pytest.mark.parametrize("bad", [-0.1, math.nan, "a"])
def test_noise_and_packs_refuse_sizes_that_are_none(bad):
    with pytest.raises(ValueError, match="scale of zero or more"):
        Noisy(nn.Identity(), bad)
    with pytest.raises(ValueError, match="one sample or more in a pack"):
        Packed(nn.Identity(), bad)


# --- Invertible maps ----------------------------------------------------------------------------


def test_rotations_compose_and_maps_are_undone():
    x = torch.rand(2, 3, 5, 5)
    quarter = transforms.Rotation(1)
    for turns, rotation in enumerate(transforms.rotations()):
        assert quarter(rotation(x)).equal(transforms.Rotation(turns + 1)(x))
        assert rotation.inverse()(rotation(x)).equal(x)
    assert transforms.Rotation(4)(x).equal(x)
    assert not transforms.Rotation(2)(x).equal(transforms.Flip("vertical")(x))
    for axis in transforms.AXES:
        flip = transforms.Flip(axis)
        assert flip.inverse()(flip(x)).equal(x)
        assert not flip(x).equal(x)


def cells_cost(p, q):
    logits = (p / q).log()
    gan = divergences.minimax
    return (p * gan.real(logits) + q * gan.fake(logits)).sum().item()


def test_invertible_maps_keep_divergences_and_others_lose_them():
    generator = torch.Generator().manual_seed(0)
    p, q = (torch.rand(4, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    p, q = p / p.sum(), q / q.sum()
    for change in (*transforms.rotations(), transforms.Flip()):
        assert cells_cost(change(p), change(q)) == pytest.approx(cells_cost(p, q), abs=1e-14)
    folded = [law + transforms.Flip()(law) for law in (p, q)]
    assert cells_cost(*(law / law.sum() for law in folded)) > cells_cost(p, q) + 1e-3


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: transforms.Rotation(0.5), "whole number of quarter turns, got 0.5"),
        (lambda: transforms.Flip("depth"), "among vertical, horizontal, got 'depth'"),
        (lambda: transforms.Rotation(1)(torch.zeros(1, 2, 3)), r"square images .* got \(1, 2, 3\)"),
        (lambda: transforms.Flip()(torch.zeros(3)), r"images .* to flip, got \(3,\)"),
    ],
)
def test_maps_refuse_what_they_cannot_map(make, match):
    with pytest.raises(ValueError, match=match):
        make()
