"""Wrappers of critics: rotations, views, packs and noise against what is known of them exactly."""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import avg_pool2d, cross_entropy
from torch.utils.data import DataLoader, TensorDataset

import ppl_gen
from ppl_gen import critics, divergences, metrics, priors, transforms, zoo
from ppl_gen.critics import Critic, Noisy, Packed, Rotations, Views
from ppl_gen.models.adversarial import Game
from ppl_gen.objectives.divergences import Divergence
from ppl_gen.regularizers import GradientPenalty

QUIET = {"progress": False, "staged": False}
SHAPE = (1, 4, 4)


def images(n=12, seed=0):
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(seed))


def flat():
    """A critic whose features are the pixels: a table, for images with one pixel lit."""
    return Critic(nn.Flatten(), 16)


def trained(name, **options):
    torch.manual_seed(0)
    game = zoo.registry[name].build(SHAPE, 3, hidden=8, **options)
    history = ppl_gen.fit(game, images(), epochs=3, batch_size=4, lr=1e-2, **QUIET)
    return game, dict(history)


# --- Without their weights they are not there -----------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ssgan", {"rotation": 0.0, "generator_rotation": 0.0}),
        ("dag_gan", {"view_weight": 0.0, "generator_view_weight": 0.0}),
        ("dag_gan", {"transforms": [transforms.Rotation(0)]}),
        ("noisy_gan", {"noise": 0.0}),
    ],
)
def test_without_weight_it_is_the_gan_to_the_bit(name, options):
    (plain, known), (game, found) = trained("gan"), trained(name, **options)
    assert found == known
    state = game.critic.critic.state_dict()
    assert all(value.equal(state[key]) for key, value in plain.critic.state_dict().items())
    state = game.generator.state_dict()
    assert all(value.equal(state[key]) for key, value in plain.generator.state_dict().items())
    other = trained(name)[0].generator.state_dict()
    assert not all(value.equal(other[key]) for key, value in state.items())


def test_a_pack_of_one_is_the_gan_to_the_bit():
    torch.manual_seed(0)
    plain = zoo.gan(SHAPE, 3, hidden=8)
    game = zoo.packed_gan(SHAPE, 3, pack=1, hidden=8)
    game.generator.load_state_dict(plain.generator.state_dict())
    game.critic.critic.load_state_dict(plain.critic.state_dict())
    found = []
    for each in (plain, game):
        history = ppl_gen.fit(each, images(), epochs=3, batch_size=4, **QUIET)
        found.append((dict(history), each.sample(3, seed=0)))
    assert found[0][0] == found[1][0]
    assert found[0][1].equal(found[1][1])


# --- Rotations ------------------------------------------------------------------------------------


def test_every_angle_comes_once_for_each_image():
    x = images(3)
    views, turns = Rotations(flat()).rotated(x)
    assert turns.bincount().tolist() == [3, 3, 3, 3]
    for k in range(4):
        expected = x
        for _ in range(k):
            expected = expected.transpose(-2, -1).flip(-2)  # a quarter turn to the left
        assert views[turns == k].equal(expected)


NOTHING = Divergence("nothing", *3 * [torch.zeros_like])


def asking(**weights):
    torch.manual_seed(0)
    generator = nn.Sequential(nn.Linear(3, 16), nn.Unflatten(1, SHAPE), nn.Sigmoid())
    critic = Rotations(flat(), **weights)
    return Game(generator, critic, priors.StandardNormal(3), SHAPE, NOTHING)


@pytest.mark.parametrize("size", [8, 9])
def test_the_critic_learns_angles_of_data_alone_and_the_generator_those_of_fakes(size):
    game, x = asking(weight=0.7, generator_weight=0.3), images(size)
    part = math.ceil(size / 4)

    def by_hand(images, weight):
        angle = game.critic.angle
        costs = [
            cross_entropy(angle(image.rot90(k, (-2, -1)).flatten()), torch.tensor(k))
            for image in images[:part]
            for k in range(4)
        ]
        return weight * size * torch.stack(costs).mean()

    loss, _ = game.criticize(x)
    torch.testing.assert_close(loss, by_hand(x, 0.7))
    assert loss.equal(game.criticize(x)[0])  # whatever the fakes are
    torch.manual_seed(3)
    cost, _ = game.generate(size)
    torch.manual_seed(3)
    torch.testing.assert_close(cost, by_hand(game.draw(size), 0.3))


def test_the_steps_of_the_generator_teach_no_angles():
    found = []
    for weights in ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0)):
        torch.manual_seed(0)
        rotations = {"rotation": weights[0], "generator_rotation": weights[1]}
        game = zoo.ssgan(SHAPE, 3, hidden=8, **rotations)
        before = game.critic.angle.weight.detach().clone()
        ppl_gen.fit(game, images(), epochs=1, batch_size=4, lr=0.1, **QUIET)
        assert game.critic.angle.weight.equal(before) == (not weights[0])
        found.append(game.sample(2, seed=0))
    assert not found[0].equal(found[1])
    assert not found[0].equal(found[2])


def test_only_upright_images_are_told_from_fakes():
    torch.manual_seed(0)
    game, x = zoo.ssgan(SHAPE, 3), images()
    fakes = game.draw(len(x)).detach()
    plain = Game(game.generator, game.critic.critic, game.prior, SHAPE, game.divergence)
    rotations = critics.auxiliary(game.critic, x, "critic")
    torch.testing.assert_close(
        game.contrast(x, fakes)[0] - rotations, plain.contrast(x, fakes)[0], rtol=1e-4, atol=1e-4
    )


def test_angles_of_held_out_images_are_learnt():
    """Images with a bright corner: which one, says by which angle they were turned."""
    x = images(64) / 2
    x[..., 0, 0] = 1.0
    game = asking(weight=1.0)
    assert game.critic.accuracy(x[:16]) < 0.6
    ppl_gen.fit(game, x[16:], epochs=40, batch_size=16, lr=0.05, **QUIET)
    assert game.critic.accuracy(x[:16]) > 0.95


def test_it_learns_digits_and_by_how_much_they_were_turned():
    digits = ppl_gen.data.mnist()
    known, held = avg_pool2d(digits.train.images[:2000], 2), avg_pool2d(digits.test.images[:500], 2)
    torch.manual_seed(0)
    game = zoo.ssgan((1, 14, 14), 32, network="mlp", hidden=128)

    def distance(x):
        return metrics.fid(held, x, "pixels").value

    # The mean of the data is what a generator could draw that has learnt no digits.
    blurred = distance(known.mean(0).expand_as(held))
    assert distance(game.sample(500, seed=0)) > 3 * blurred
    ppl_gen.fit(game, known, epochs=15, batch_size=64, lr=1e-3, ema=None, seed=0, **QUIET)
    x = game.sample(500, seed=0)
    assert distance(x) < 0.85 * blurred
    assert metrics.neighbours(held, x, "pixels").coverage > 0.25
    assert game.critic.accuracy(held) > 0.9


# --- Views ----------------------------------------------------------------------------------------


def cells(seed=0):
    """Two laws over images with one of 16 pixels lit, and these images."""
    generator = torch.Generator().manual_seed(seed)
    laws = torch.rand(2, 16, generator=generator, dtype=torch.float64) + 0.05
    return (*(laws / laws.sum(1, keepdim=True)), torch.eye(16).double().view(16, *SHAPE))


def jensen_shannon(p, q):
    mean = (p + q) / 2
    return ((p * (p / mean).log()).sum() + (q * (q / mean).log()).sum()).item() / 2


def optimised(critic, cost):
    optimizer = torch.optim.LBFGS(
        critic.parameters(),
        max_iter=500,
        tolerance_grad=1e-12,
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )

    def closure():
        optimizer.zero_grad()
        value = cost()
        value.backward()
        return value

    for _ in range(3):
        optimizer.step(closure)
    return cost().item()


@pytest.mark.parametrize("weight", [0.2, 1.0])
def test_every_head_has_the_optimum_of_the_critic_alone(weight):
    p, q, x = cells()
    gan, kept = divergences.minimax, math.log(4) - 2 * jensen_shannon(*cells()[:2])
    views = Views(flat(), weight=weight).double()
    best = optimised(
        views,
        lambda: (
            critics.total(views, p[:, None] * gan.real(views(x)), "critic")
            + critics.total(views, q[:, None] * gan.fake(views(x)), "critic")
        ),
    )
    assert best == pytest.approx((1 + weight) * kept, abs=1e-9)
    expected = (p / q).log()[:, None].expand(16, 4)
    torch.testing.assert_close(views(x).detach(), expected, atol=1e-4, rtol=0)


def test_one_head_for_all_views_sees_less_and_augmented_data_have_another_optimum():
    p, q, _ = cells()

    def mixed(law):
        return sum(change(law.view(4, 4)) for change in transforms.rotations()).flatten() / 4

    assert jensen_shannon(mixed(p), mixed(q)) < jensen_shannon(p, q) - 0.01
    assert jensen_shannon(mixed(p), p) > 0.01  # the data are not the best fakes
    assert jensen_shannon(mixed(p), mixed(p)) == 0.0


def test_costs_of_views_are_weighted_by_player():
    views = Views(flat(), weight=0.6, generator_weight=0.3)
    costs = torch.tensor([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]])
    assert views.total(costs, "critic").item() == pytest.approx(6 + 0.2 * 30)
    assert views.total(costs, "generator").item() == pytest.approx(6 + 0.1 * 30)


def test_a_head_reads_its_own_view():
    views, x = Views(flat()), images()
    for k, head in enumerate([views.critic.head, *views.heads]):
        expected = head(x.rot90(k, (-2, -1)).flatten(1))
        torch.testing.assert_close(views(x)[:, k : k + 1], expected)


def test_each_head_pays_for_its_own_slopes():
    """A linear head of slope w costs (‖w‖ - 1)², whatever the other heads are."""
    views = Views(flat(), weight=0.3).double()
    real, fake = images().double(), images(seed=1).double()
    norms = [head.weight.norm().item() for head in (views.critic.head, *views.heads)]
    found = sum(
        weight * GradientPenalty(2.0)(look, real, fake).sum().item()
        for look, weight in critics.looks(Noisy(views, 0.5))
    )
    weights = [1.0, 0.1, 0.1, 0.1]
    expected = sum(12 * 2 * w * (n - 1) ** 2 for w, n in zip(weights, norms, strict=True))
    assert found == pytest.approx(expected)


# --- Noise ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scale", "known"), [(1.0, 0.3368), (0.3, 0.6919)])
def test_blurred_points_are_as_far_apart_as_normals(scale, known):
    """Points two apart, both blurred, are normals, of which the best logit is linear."""
    line = Critic(nn.Flatten(), 1).double()
    line.head.weight.data.fill_(2 / scale**2)
    line.head.bias.data.fill_(-2 / scale**2)
    noisy, gan = Noisy(line, scale), divergences.minimax
    torch.manual_seed(0)
    zeros = torch.zeros(200_000, 1, dtype=torch.float64)
    costs = gan.real(noisy(zeros + 2)) + gan.fake(noisy(zeros))
    found, error = math.log(2) - costs.mean().item() / 2, costs.std().item() / 2 / 200_000**0.5
    assert abs(found - known) < 4 * error + 5e-5


# --- They nest ------------------------------------------------------------------------------------


def test_views_of_rotations_of_a_noisy_critic_train():
    def shown(critic):
        return Views(Rotations(Noisy(critic, 0.1)), weight=0.4)

    torch.manual_seed(0)
    game = zoo.wgan(SHAPE, 3, hidden=8, clip=0.05, critic_steps=2, wrap=shown)
    before = {key: value.clone() for key, value in game.state_dict().items()}
    ppl_gen.fit(game, images(16), epochs=3, batch_size=8, lr=1e-2, **QUIET)
    weights = dict(game.named_parameters())
    assert len(weights) == len(set(weights))
    assert all(not value.equal(before[key]) for key, value in weights.items())
    assert max(p.abs().max().item() for p in game.critic.parameters()) <= 0.05 + 1e-9
    torch.manual_seed(1)
    cost = critics.auxiliary(game.critic, images(), "critic")
    rotations = game.critic.critic
    torch.manual_seed(1)
    views, turns = rotations.rotated(images()[:3])
    noise = 0.1 * torch.randn_like(views)
    judge = rotations.critic.critic
    expected = 12 * cross_entropy(rotations.angle(judge.features(views + noise)), turns)
    torch.testing.assert_close(cost, expected)


def test_packs_go_outside():
    shape = critics.packed_shape(SHAPE, 2)
    packed = Packed(Views(Rotations(critics.default(shape, 8))), 2)
    assert packed(images(7)).shape == (3, 4)
    assert critics.auxiliary(packed, images(7), "critic").isfinite()
    packs = images(6).view(3, *shape)
    torch.testing.assert_close(packed(images(7)[:6]), packed.critic(packs))
    for wrapper, what in ((Views, "views"), (Rotations, "rotations")):
        with pytest.raises(ValueError, match=f"packs outside of {what}"):
            wrapper(Noisy(Packed(flat(), 2), 0.1))


def smallest_batches(n, size, pack):
    """The number of data, the batch and the pack, as every kind of data that has a length."""
    rows = torch.randn(n, 2, generator=torch.Generator().manual_seed(n))
    for data in (rows, TensorDataset(rows), DataLoader(TensorDataset(rows), size, shuffle=True)):
        yield zoo.packed_gan((2,), 3, pack=pack, hidden=4), data


@pytest.mark.parametrize(
    ("n", "size", "pack", "got"),
    [
        (13, 6, 2, "a last one of 1:"),
        (27, 8, 4, "a last one of 3:"),
        (40, 3, 4, "3"),
        (2, 9, 3, "2"),
    ],
)
def test_a_batch_that_makes_no_pack_is_refused_before_training(n, size, pack, got):
    for game, data in smallest_batches(n, size, pack):
        before = [p.clone() for p in game.parameters()]
        match = f"at least {pack} data for this packed_gan, got {got}"
        with pytest.raises(ValueError, match=match) as error:
            ppl_gen.fit(game, data, epochs=1, batch_size=size, **QUIET)
        assert not hasattr(error.value, "history")
        assert all(map(torch.equal, game.parameters(), before))


@pytest.mark.parametrize(("n", "size", "pack"), [(12, 6, 6), (28, 8, 4), (15, 6, 3), (2, 9, 2)])
def test_batches_of_a_pack_or_more_are_learnt(n, size, pack):
    for game, data in smallest_batches(n, size, pack):
        assert ppl_gen.fit(game, data, epochs=1, batch_size=size, **QUIET).steps


def test_a_short_last_batch_may_be_left_out_and_is_not_looked_at_in_validation():
    torch.manual_seed(0)
    game = zoo.packed_gan((2,), 3, pack=4, hidden=4)
    x, held_out = torch.randn(17, 2), torch.randn(1, 2).repeat(10, 1)  # whatever their order
    options = {"epochs": 1, "batch_size": 8, **QUIET}
    assert ppl_gen.fit(game, x, drop_last=True, **options).steps == 2
    history = ppl_gen.fit(game, x[:16], validation=held_out, **options)
    with torch.no_grad():
        assert history["val_critic_real"][-1] == pytest.approx(game.critic(held_out[:8]).mean())
    with pytest.raises(ValueError, match="at least 4 data for this packed_gan, got 3 of valid"):
        ppl_gen.fit(game, x[:16], validation=held_out[:3], **options)


# --- What they refuse -----------------------------------------------------------------------------


class Folded:
    """A map of two pixels to one, which claims to have an inverse."""

    def __call__(self, x):
        return (x + x.flip(-1)) / 2

    def inverse(self):
        return self


class Shuffled:
    """A map of the batch, not of images."""

    def __call__(self, x):
        return x.flip(0)

    def inverse(self):
        return self


class Negated:
    """A map with an inverse that leaves no sample as it was."""

    def __call__(self, x):
        return x.neg_()

    def inverse(self):
        return self


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Views(flat(), [lambda x: x]), "with an inverse, got .* views of two laws can be"),
        (lambda: Views(flat(), []), "at least one transform, the identity, got none"),
        (lambda: Views(flat(), weight=-1.0), "weight of zero or more, got -1.0"),
        (lambda: Views(flat(), weight=0.0, generator_weight=0.2), "heads that learn, got weight 0"),
        (lambda: Views(Views(flat())), "all views in one Views"),
        (lambda: Views(nn.Linear(3, 1)), r"critics.Critic\(body, features\) for views, got Linear"),
        (lambda: Views(Critic(nn.Flatten(), 16, 2)), "one head to add views to, got 2"),
        (lambda: Rotations(nn.Linear(3, 1)), "for rotations, got Linear"),
        (lambda: Rotations(flat(), weight=math.nan), "weight of zero or more, got nan"),
        (lambda: Rotations(flat(), share=0.0), r"share in \(0, 1\], got 0.0"),
    ],
)
def test_parts_that_do_not_fit_are_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()


@pytest.mark.parametrize(
    ("name", "shape", "options", "match"),
    [
        ("ssgan", (2,), {}, r"square images \(B, C, H, H\) to rotate"),
        ("ssgan", (1, 4, 6), {}, "square images"),
        ("dag_gan", (1, 4, 6), {}, "square images"),
        ("dag_gan", (64,), {}, "square images"),
        ("dag_gan", SHAPE, {"transforms": [transforms.Rotation(1)]}, "identity as the first view"),
        ("dag_gan", SHAPE, {"transforms": [transforms.Rotation(0), Folded()]}, "does not undo it"),
        (
            "dag_gan",
            SHAPE,
            {"transforms": [transforms.Rotation(0), Shuffled()]},
            "each sample alone",
        ),
        ("dag_gan", SHAPE, {"transforms": [transforms.Rotation(0), Negated()]}, "in place"),
        ("dag_gan", SHAPE, {"transforms": "flips"}, "a list or None for transforms, got 'flips'"),
        ("packed_gan", SHAPE, {"pack": 0}, "one sample or more in a pack, got 0"),
        ("noisy_gan", SHAPE, {"noise": math.inf}, "finite number for noise, got inf"),
        ("noisy_gan", SHAPE, {"fading": 0}, "positive steps, got 0"),
    ],
)
def test_data_they_cannot_show_are_refused_before_training(name, shape, options, match):
    with pytest.raises(ValueError, match=match):
        zoo.registry[name].build(shape, 3, hidden=8, **options)


def test_a_wrapper_of_ones_own_is_one_class():
    class Blurred(critics.Wrapper):
        def show(self, x):
            return torch.nn.functional.avg_pool2d(x, 3, 1, 1)

    torch.manual_seed(0)
    game = zoo.gan(SHAPE, 3, hidden=8, wrap=lambda critic: Views(Blurred(critic)))
    ppl_gen.fit(game, images(), epochs=1, **QUIET)
    seen = torch.nn.functional.avg_pool2d(images(), 3, 1, 1)
    judge = game.critic.critic.critic
    torch.testing.assert_close(game.critic(images())[:, :1], judge(seen))
