"""Games of a model and a guide: what they cost, against closed forms of linear Gaussians."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence
from torch.nn.functional import softplus

import ppl_gen
from ppl_gen import data, divergences, likelihoods, metrics, posteriors, priors, zoo
from ppl_gen.critics import Critic
from ppl_gen.models.joint_game import JointGame
from ppl_gen.models.vae import VAE, Latent

QUIET = {"progress": False, "staged": False}


def rows(n=320, dim=2, seed=0):
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed))


def built(name, **options):
    torch.manual_seed(0)
    return zoo.registry[name].build((2,), 3, hidden=16, **options)


# --- Linear Gaussians -----------------------------------------------------------------------------


class Channel(nn.Module):
    """A generator with noise of its own, x = a z + s e."""

    def __init__(self, slope, scale):
        super().__init__()
        self.slope, self.scale = nn.Parameter(torch.tensor(slope).double()), scale

    def forward(self, z):
        return self.slope * z + self.scale * torch.randn_like(z)


class Squares(nn.Module):
    """The monomials of (x, z) up to the second degree."""

    def forward(self, rows):
        x, z = rows.unbind(1)
        return torch.stack([x * x, x * z, z * z], 1)


def gaussians(a, s, b, t, v, divergence=divergences.kl):
    """Model z ~ N(0, 1), x ~ N(a z, s²), guide x ~ N(0, v), z ~ N(b x, t²) and the best critic."""
    encoder = nn.Linear(1, 2).double()
    encoder.weight.data = torch.tensor([[b], [0.0]], dtype=torch.float64)
    encoder.bias.data = torch.tensor([0.0, math.log(math.expm1(t))], dtype=torch.float64)
    prior = priors.StandardNormal(1).double()
    latent = Latent("z", prior, encoder, posteriors.DiagonalNormal(1e-12))
    vae = VAE([latent], Channel(a, s), likelihoods.Gaussian().double(), (1,))
    critic = Critic(Squares(), 3).double()
    # The coefficients of -2 log p in the squares.
    model = torch.tensor([1 / s**2, -2 * a / s**2, a * a / s**2 + 1.0])
    guide = torch.tensor([1 / v + b * b / t**2, -2 * b / t**2, 1 / t**2])
    critic.head.weight.data = (model - guide)[None].double() / 2
    critic.head.bias.data = torch.tensor([math.log(s / (math.sqrt(v) * t))]).double()
    return JointGame(vae, critic, divergence, weight=0.0)


def divergence_of(a, s, b, t, v):
    """KL of the model's law of (x, z) from the guide's."""
    model = torch.tensor([[a * a + s * s, a], [a, 1.0]])
    guide = torch.tensor([[v, b * v], [b * v, b * b * v + t * t]])
    laws = (torch.distributions.MultivariateNormal(torch.zeros(2), c) for c in (model, guide))
    return kl_divergence(*laws).item()


SETTINGS = [(1.0, 0.5, 0.6, 0.7, 1.0), (0.5, 1.0, -0.3, 1.2, 2.0), (2.0, 0.5, 0.45, 0.3, 4.0)]
N = 100_000


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_generators_cost_is_the_divergence_and_bounds_the_entropy_of_found_latents(setting):
    _, _, b, t, v = setting
    game = gaussians(*setting)
    torch.manual_seed(0)
    fakes, z = game.drawn(N)
    costs = -game.critic(game.seen(fakes, z))
    torch.manual_seed(0)
    found = game.generate(N)[0].item() / N
    assert found == pytest.approx(costs.mean().item())
    closed, error = divergence_of(*setting), costs.std().item() / N**0.5
    assert abs(found - closed) < 4 * error
    entropy = Normal(0.0, 1.0).entropy().item()
    spread = b * b * v + t * t  # of the latents that the guide finds
    cross = (math.log(2 * math.pi * spread) + 1 / spread) / 2
    assert entropy <= cross <= closed + entropy


def test_the_bound_is_reached_by_the_exact_posterior():
    a, s = 1.0, 0.5
    v = a * a + s * s
    setting = (a, s, a / v, s / math.sqrt(v), v)
    assert divergence_of(*setting) == pytest.approx(0.0, abs=1e-6)
    spread = setting[2] ** 2 * v + setting[3] ** 2
    assert (math.log(2 * math.pi * spread) + 1 / spread) / 2 == pytest.approx(1.41894, abs=1e-5)
    game = gaussians(*setting)
    assert game.generate(50)[0].item() == pytest.approx(0.0, abs=1e-4)


@pytest.mark.parametrize("name", ["kl", "non_saturating"])
def test_the_log_ratio_of_the_joint_laws_is_the_best_critic(name):
    """There the gradient of its cost is no more than chance."""
    setting = SETTINGS[0]
    game = gaussians(*setting, divergence=divergences.by_name(name))
    torch.manual_seed(0)
    x = math.sqrt(setting[4]) * torch.randn(50, 2000, 1, dtype=torch.float64)
    head = list(game.critic.head.parameters())
    slopes = []
    for part in x:
        gradients = torch.autograd.grad(game.criticize(part)[0] / 2000, head)
        slopes.append(torch.cat([g.flatten() for g in gradients]))
    slopes = torch.stack(slopes)
    assert (slopes.mean(0).abs() < 4 * slopes.std(0) / 50**0.5).all()
    game.critic.head.weight.data *= 0.3
    gradients = torch.autograd.grad(game.criticize(x.flatten(0, 1))[0] / N, head)
    assert gradients[0].abs().max() > 10 * slopes.std(0).max() / 50**0.5


# --- What a turn costs ----------------------------------------------------------------------------


@pytest.mark.parametrize("symmetric", [False, True])
def test_a_joint_game_costs_what_it_states(symmetric):
    game, x = built("veegan", symmetric=symmetric, reconstruction=0.5), rows(9)
    (latent,) = game.vae.latents
    torch.manual_seed(1)
    loss, _ = game.criticize(x)
    torch.manual_seed(1)
    z = torch.randn(9, 3)
    guide = game.critic(torch.cat([x, latent.encoder(x)], 1))
    model = game.critic(torch.cat([game.vae.decoder(z), z], 1))
    torch.testing.assert_close(loss, softplus(-guide).sum() + softplus(model).sum())
    torch.manual_seed(1)
    cost, found = game.generate(*game.posed(x))
    lost = (z - latent.encoder(game.vae.decoder(z))).square().sum()
    expected = -model.sum() + 0.5 * lost + (guide.sum() if symmetric else 0)
    torch.testing.assert_close(cost, expected)
    torch.testing.assert_close(found["reconstruction"], lost / 9)


def test_codes_are_the_fakes_of_an_adversarial_autoencoder():
    game, x = built("adversarial_autoencoder", reconstruction=0.5), rows(9)
    (latent,) = game.vae.latents
    torch.manual_seed(1)
    loss, _ = game.criticize(x)
    torch.manual_seed(1)
    z, codes = torch.randn(9, 3), latent.encoder(x)
    real, fake = game.critic(z), game.critic(codes)
    torch.testing.assert_close(loss, softplus(-real).sum() + softplus(fake).sum())
    lost = -Normal(game.vae.decoder(codes), 0.1).log_prob(x).sum()
    torch.testing.assert_close(game.generate(*game.posed(x))[0], softplus(-fake).sum() + 0.5 * lost)


@pytest.mark.parametrize("name", ["veegan", "adversarial_autoencoder"])
def test_a_turn_reaches_its_own_player_alone(name):
    game, x = built(name), rows(9)
    loss, _ = game.criticize(x)
    reached = torch.autograd.grad(loss, game.players["generator"], allow_unused=True)
    assert reached == (None,) * len(reached)
    own = torch.autograd.grad(game.criticize(x)[0], game.players["critic"])
    assert sum(bool(g.abs().max() > 0) for g in own) >= len(own) - 1
    slopes = torch.autograd.grad(game.generate(*game.posed(x))[0], game.players["generator"])
    assert all(slope.abs().max() > 0 for slope in slopes)
    shared = {id(p) for p in game.players["generator"]} & {id(p) for p in game.players["critic"]}
    assert not shared
    assert len(game.players["generator"]) + len(game.players["critic"]) == len(
        list(game.parameters())
    )


# --- What they learn ------------------------------------------------------------------------------


def test_codes_come_to_be_distributed_as_the_prior():
    torch.manual_seed(0)
    x = rows(1280) @ torch.tensor([[2.0, 0.0], [1.5, 0.5]]) + torch.tensor([3.0, -1.0])
    game = zoo.adversarial_autoencoder((2,), 2, hidden=32, likelihood=likelihoods.Gaussian(0.5))
    before = game.code(x)
    ppl_gen.fit(game, x, epochs=25, batch_size=128, lr=3e-3, **QUIET)
    code = game.code(x)
    assert before.std(0).min() < 0.5
    assert code.mean(0).abs().max() < 0.3
    assert (code.std(0) - 1).abs().max() < 0.4
    assert (game.reconstruct(x) - x).square().mean() < 0.1


def test_latents_are_found_again():
    torch.manual_seed(0)
    game = zoo.veegan((2,), 2, hidden=32, loss="non_saturating", reconstruction=1.0)
    ppl_gen.fit(game, rows(1280), epochs=25, batch_size=128, lr=3e-3, **QUIET)
    z = torch.randn(500, 2, generator=torch.Generator().manual_seed(1))
    found = game.code(game.vae.decode(z).mean)
    assert (found - z).square().mean() < 0.1
    drawn = game.sample(2000, seed=0)
    assert drawn.mean(0).abs().max() < 0.4
    assert (drawn.std(0) - 1).abs().max() < 0.4


# --- Codes and densities --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["veegan", "adversarial_autoencoder"])
def test_codes_are_those_of_the_pair_of_its_programs(name):
    game, x = built(name), rows(4)
    assert game.code(x).equal(game.vae.code(x))
    assert game.reconstruct(x).equal(game.vae.reconstruct(x))
    assert game.encode(x).mean.equal(game.code(x))
    assert game.traverse(x, 1, [0.0, 1.0]).equal(game.vae.traverse(x, 1, [0.0, 1.0]))
    assert ppl_gen.embed(game.vae, x).shape == (4, 3)


def test_codes_of_tables_are_in_the_units_of_the_table():
    import pandas as pd

    x = rows(40)
    table = data.table(pd.DataFrame({"a": x[:, 0].numpy() * 5 + 100, "b": x[:, 1].numpy()}))
    game = built("veegan")
    ppl_gen.fit(game, table, epochs=1, **QUIET)
    frame = pd.DataFrame({"a": [100.0, 105.0], "b": [0.0, 1.0]})
    assert game.code(frame).equal(game.vae.code(game.schema.transform(frame).tensor))
    assert game.schema.to_frame(game.sample(5, seed=0))["a"].mean() > 50


def test_what_a_game_has_no_density_for_is_refused_with_what_to_do_instead():
    game, x = built("gan"), rows(12)
    for score in (metrics.elbo_terms, metrics.log_likelihood, metrics.active_units, ppl_gen.embed):
        with pytest.raises(ValueError, match=r"got Game, whose data have no density.*zoo\.vae\("):
            score(game, x)
        with pytest.raises(ValueError, match=r"got JointGame, .*game\.vae"):
            score(built("veegan"), x)
    pair = zoo.vae((2,), 3, decoder=game.generator, hidden=16, likelihood="gaussian")
    ppl_gen.fit(pair, x, epochs=1, **QUIET)
    assert metrics.log_likelihood(pair, x, 10).isfinite().all()


@pytest.mark.parametrize("name", ["veegan", "adversarial_autoencoder"])
@pytest.mark.parametrize(
    "kind",
    ["bernoulli", "gaussian", "gaussian_per_pixel", "categorical", "discretized_logistic"],
)
@pytest.mark.parametrize("shape", [(2,), (1, 4, 4), (3, 8, 8)])
def test_every_likelihood_has_networks_of_its_own_size(name, kind, shape):
    game = zoo.registry[name].build(shape, 3, hidden=8, likelihood=kind)
    x = torch.rand(6, *shape)
    if kind.startswith("gaussian") and len(shape) == 3:
        x = 5 * x  # in no range that a generator without bounds would leave
    ppl_gen.fit(game, x, epochs=1, **QUIET)
    assert game.sample(2, seed=0).shape == game.reconstruct(x)[:2].shape == (2, *shape)
    law = game.vae.likelihood(game.vae.decoder(torch.zeros(6, 3)))
    assert law.event_shape == shape
    assert law.log_prob(x).isfinite().all()


@pytest.mark.parametrize("name", ["veegan", "adversarial_autoencoder"])
@pytest.mark.parametrize("shape", [(2,), (1, 4, 4)])
def test_data_outside_of_the_support_are_refused(name, shape):
    game = zoo.registry[name].build(shape, 3, hidden=8, likelihood="bernoulli")
    for bad in (-0.1, 1.1):
        x = torch.rand(6, *shape)
        x[3].flatten()[0] = bad
        with pytest.raises(ValueError, match=r"in \[0, 1\].* got"):
            ppl_gen.fit(game, x, epochs=1, **QUIET)
    ppl_gen.fit(game, torch.rand(6, *shape).round(), epochs=1, **QUIET)


# --- What is refused ------------------------------------------------------------------------------


def joint(vae, **options):
    critic = nn.Linear(2 + 3, 1)
    return JointGame(vae, critic, options.pop("divergence", divergences.kl), **options)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: joint(zoo.vae((2,), 3), sites=("x",)), r"sites among .* got \('x',\)"),
        (lambda: joint(zoo.vae((2,), 3), weight=-1.0), "weight of zero or more, got -1.0"),
        (lambda: joint(zoo.vae((2,), 3, num_classes=2)), "one latent without conditions"),
        (lambda: joint(zoo.hierarchical_vae((2,))), "one latent without conditions"),
        (lambda: joint(zoo.bernoulli_vae((2,), 3)), "reparameterised posterior over rows"),
        (
            lambda: joint(zoo.vae((2,), 3), divergence=divergences.least_squares, symmetric=True),
            "mirrored costs, such as non_saturating, got least_squares on x, z",
        ),
        (lambda: joint(zoo.vae((2,), 4)), r"critic for inputs \(64, 6\), got"),
        (lambda: zoo.veegan((2,), 3).look_ahead(2), "no unrolled steps .* model and guide, got 2"),
        (lambda: zoo.veegan((2,), 3, reconstruction=math.nan), "finite number for reconstruction"),
        (lambda: zoo.veegan((2,), 3, num_classes=2), "no labels with a game of model and guide"),
    ],
)
def test_parts_that_do_not_fit_are_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()


@pytest.mark.parametrize("name", ["gan", "wgan_gp", "veegan", "cycle_gan", "adagan"])
def test_a_likelihood_is_refused_with_the_reason_and_a_remedy(name):
    game = getattr(zoo, name)((2,), hidden=8)
    for asked in ("log_likelihood", "log_prob", "elbo"):
        with pytest.raises(AttributeError, match=r"no density.*(ompare|width)"):
            getattr(game, asked)
        assert not hasattr(game, asked)
    with pytest.raises(ValueError, match=r"no density"):
        metrics.log_likelihood(game, torch.zeros(4, 2), 2)
    with pytest.raises(AttributeError, match="no attribute 'log_porb'"):
        game.log_porb  # noqa: B018


@pytest.mark.parametrize(("sizes", "which"), [((0, 4), "first"), ((4, 0), "second")])
def test_an_empty_one_of_two_sets_is_named(sizes, which):
    both = data.Unpaired(*(torch.zeros(n, 2) for n in sizes))
    with pytest.raises(ValueError, match=f"lengths \\[0\\], in the {which} set of Unpaired"):
        ppl_gen.fit(zoo.cycle_gan((2,), hidden=8), both, epochs=1, progress=False)
