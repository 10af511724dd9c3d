"""Games of generator and critic on the training loop, against closed forms and exact recursions."""

import math

import pytest
import torch
from pyro.infer import Predictive
from torch import nn, optim

import graphs
import ppl_gen
from ppl_gen import data, divergences, metrics, priors, zoo
from ppl_gen.critics import Noisy, Packed, Rotations, Views, auxiliary, packed_shape, total
from ppl_gen.models.adversarial import Game
from ppl_gen.networks import MLP
from ppl_gen.regularizers import R1, Clip, GradientPenalty, spectral_norm
from ppl_gen.schedules import WarmUp
from ppl_gen.staging import backends, torch_internals

NAMES = [name for name, entry in zoo.registry.items() if entry.family == "adversarial"]
JOINT = ("veegan", "adversarial_autoencoder")  # tested on their own
ROTATING = ("ssgan", "dag_gan", "nested")  # games of images alone
QUIET = {"progress": False, "staged": False}


def sgd(parameters, lr):
    return optim.SGD(parameters, lr=lr)


def rows(n=320, dim=2, seed=0):
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed))


def built(name, shape=None, **options):
    torch.manual_seed(0)
    if shape is None:
        shape = (1, 4, 4) if name in ROTATING else (2,)
    return zoo.registry[name].build(shape, 3, **{"hidden": (16, 16)} | options)


def shown(critic):
    """The critic of a noisy game under self-supervision and augmentation."""
    return Views(Rotations(Noisy(critic, 0.1)))


def given(game, n=320, seed=0):
    """As many data as a game can be given."""
    x = rows(n, math.prod(game.data_shape), seed).view(n, *game.data_shape)
    return x.sigmoid() if game.pixels else x


class Point(nn.Module):
    """A generator of one point."""

    def __init__(self, start):
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(start, dtype=torch.float64))

    def forward(self, z):
        return self.theta.expand(len(z), 1)


def dirac(regularizer=None):
    critic = nn.Linear(1, 1, bias=False).double()
    critic.weight.data.fill_(0.5)
    prior = priors.StandardNormal(1).double()
    return Game(Point(1.0), critic, prior, (1,), divergences.wasserstein, regularizer)


@pytest.mark.parametrize("gamma", [None, 1.0])
def test_the_game_of_two_points_is_its_recursion(gamma):
    rate, theta, psi = 0.1, 1.0, 0.5
    kept = theta**2 + psi**2 - rate * theta * psi
    game = dirac(None if gamma is None else R1(gamma))
    origin = torch.zeros(1, 1, dtype=torch.float64)
    ppl_gen.fit(game, origin, epochs=400, lr=rate, optimizer=sgd, **QUIET)
    for _ in range(400):
        psi -= rate * (theta + (gamma or 0) * psi)
        theta += rate * psi
    assert game.generator.theta.item() == pytest.approx(theta, abs=1e-12)
    assert game.critic.weight.item() == pytest.approx(psi, abs=1e-12)
    if gamma is None:
        assert theta**2 + psi**2 - rate * theta * psi == pytest.approx(kept, rel=1e-9)
    else:
        assert abs(theta) < 1e-6


# --- Turns ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "steps"), [("gan", 1), ("wgan", 5), ("wgan", 3), ("wgan_gp", 2)])
def test_turns_are_counted_and_the_generator_sees_the_critic_its_step_left(
    name, steps, monkeypatch
):
    game = built(name, critic_steps=steps)
    taken, largest = [], []

    def criticize(x, own=game.criticize):
        taken.append(("critic", len(x)))
        return own(x)

    def generate(size, own=game.generate):
        taken.append(("generator", size))
        largest.append(max(p.abs().max().item() for p in game.critic.parameters()))
        return own(size)

    monkeypatch.setattr(game, "criticize", criticize)
    monkeypatch.setattr(game, "generate", generate)
    history = ppl_gen.fit(game, rows(70), epochs=2, batch_size=10, lr=0.05, **QUIET)
    sizes = [10] * 7
    epoch = []
    for start in range(0, 7, steps):
        cycle = sizes[start : start + steps]
        epoch += [("critic", size) for size in cycle] + [("generator", 10)]
    assert taken == epoch * 2
    assert history.steps == 2 * math.ceil(7 / steps)
    if name == "wgan":
        assert max(largest) <= 0.01 + 1e-9


def test_the_turns_of_a_cycle_see_every_datum_once(monkeypatch):
    game, x, seen = built("wgan", critic_steps=3), rows(70), []

    def criticize(x, own=game.criticize):
        seen.append(x)
        return own(x)

    monkeypatch.setattr(game, "criticize", criticize)
    ppl_gen.fit(game, x, epochs=1, batch_size=16, **QUIET)
    assert [len(part) for part in seen] == [16, 16, 16, 16, 6]
    assert torch.cat(seen).sort(0).values.equal(x.sort(0).values)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in JOINT])
def test_a_turn_has_gradients_in_its_own_player_alone_from_the_costs_it_states(name):
    game = built(name)
    x = given(game, 10)
    torch.manual_seed(1)
    loss, metrics = game.criticize(x)
    own = torch.autograd.grad(loss, game.players["critic"], allow_unused=True, retain_graph=True)
    assert sum(g is not None and bool(g.abs().max() > 0) for g in own) >= len(own) - 1
    other = torch.autograd.grad(loss, game.players["generator"], allow_unused=True)
    assert other == (None,) * len(other)
    torch.manual_seed(1)
    fakes = game.draw(10).detach()
    real, fake = game.critic(x), game.critic(fakes)
    cost = total(game.critic, game.divergence.real(real), "critic")
    cost = cost + total(game.critic, game.divergence.fake(fake), "critic")
    cost = cost + game.regularizer(game.critic, x, fakes).sum()
    torch.testing.assert_close(cost + (auxiliary(game.critic, x, "critic") or 0), loss)
    assert metrics["real"].equal(real.mean())
    torch.manual_seed(1)
    fakes = game.draw(7)
    expected = total(game.critic, game.divergence.generator(game.critic(fakes)), "generator")
    further = auxiliary(game.critic, fakes, "generator")
    expected = expected if further is None else expected + further
    torch.manual_seed(1)
    loss, _ = game.generate(7)
    assert loss.equal(expected)
    slopes = torch.autograd.grad(loss, game.players["generator"])
    assert all(slope.abs().max() > 0 for slope in slopes)


@pytest.fixture
def recorded(monkeypatch):
    """Recorded steps, run operation by operation: what a compiler is given."""
    monkeypatch.setattr(torch_internals, "why_not_compiled", lambda devices: None)
    monkeypatch.setattr(backends, "compiled", lambda module, _: lambda *values: module(*values))


PARTS = {
    **dict.fromkeys(NAMES, dict),
    "packed": lambda: {"critic": Packed(MLP([packed_shape((2,), 2)], [8], (1,)), 2)},
    "spectral": lambda: {"critic": spectral_norm(MLP([(2,)], [8], (1,))), "loss": "hinge"},
    "noisy": lambda: {"critic": Noisy(MLP([(2,)], [8], (1,)), WarmUp(6, 1.0, 0.0))},
    "R1": lambda: {"regularizer": R1(1.0)},
    "one_sided": lambda: {"regularizer": GradientPenalty(1.0, one_sided=True), "loss": "hinge"},
    "nested": lambda: {"loss": "wasserstein", "regularizer": Clip(0.05), "wrap": shown},
}


@pytest.mark.parametrize("name", PARTS)
def test_staged_training_is_the_eager_one(name, recorded):
    found = []
    for staged in (True, False):
        torch.manual_seed(1)
        shape = (1, 4, 4) if name in ROTATING else (2,)
        game = built(name if name in NAMES else "gan", shape, **PARTS[name]()).double()
        history = ppl_gen.fit(
            game, given(game, 60).double(), epochs=3, batch_size=20, staged=staged, progress=False
        )
        found.append([game.state_dict().values(), *(history[name] for name in history)])
    for one, other in zip(found[0][0], found[1][0], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-10)
    for one, other in zip(found[0][1:], found[1][1:], strict=True):
        assert one == pytest.approx(other, rel=1e-7, abs=1e-10)


def test_a_second_derivative_is_compiled_without_a_word(recwarn):
    found = []
    for staged in (True, False):
        game = built("wgan_gp", critic_steps=1, hidden=(16,))
        ppl_gen.fit(game, rows(40), epochs=2, batch_size=20, staged=staged, progress=False)
        found.append(game.state_dict())
    for name, value in found[0].items():
        torch.testing.assert_close(value, found[1][name], rtol=1e-4, atol=1e-6)
    assert not [w for w in recwarn if "eager" in str(w.message)]


@pytest.mark.parametrize("name", NAMES)
def test_a_game_resumes_to_the_bit(name, tmp_path):
    whole = built(name)
    x = given(whole)
    options = {"batch_size": 50, "validation": given(whole, 20, seed=1), **QUIET}
    expected = ppl_gen.fit(whole, x, epochs=4, **options)
    (looked,) = (name for name in expected if name.startswith("val_critic_"))
    assert math.isfinite(expected[looked][-1])
    path = tmp_path / "run.pt"
    ppl_gen.fit(built(name), x, epochs=2, checkpoint=path, **options)
    resumed = built(name)
    found = ppl_gen.fit(resumed, x, epochs=4, checkpoint=path, resume=True, **options)
    assert found.to_frame().equals(expected.to_frame())
    state = resumed.state_dict()
    assert all(value.equal(state[name]) for name, value in whole.state_dict().items())


def test_published_settings_are_the_defaults(tmp_path):
    known = {
        **dict.fromkeys(NAMES, ("Adam", 0.0005, (0.5, 0.999), 1)),
        "wgan": ("RMSprop", 5e-5, None, 5),
        "wgan_gp": ("Adam", 1e-4, (0.0, 0.9), 5),
    }
    for name, (kind, rate, betas, steps) in known.items():
        game = built(name)
        made = game.fit_defaults["optimizer"](game.players["critic"], game.fit_defaults["lr"])
        group = made.param_groups[0]
        assert (type(made).__name__, group["lr"], group.get("betas")) == (kind, rate, betas)
        assert game.critic_steps == steps
        averaged = {"generator": 0.999, "critic": None} if kind == "Adam" and steps == 1 else None
        assert game.fit_defaults.get("ema") == averaged
    assert built("wgan").regularizer.bound == 0.01
    assert built("wgan_gp").regularizer.weight == 10.0


# --- What games find ------------------------------------------------------------------------------


def test_a_gan_finds_the_mean_of_a_normal():
    torch.manual_seed(0)
    game = zoo.gan((1,), 4, hidden=32, regularizer=R1(0.1))
    x, averages = 3 + rows(2560, 1), {"generator": 0.99, "critic": None}
    ppl_gen.fit(game, x, epochs=25, batch_size=128, lr=2e-3, ema=averages, **QUIET)
    drawn = game.sample(4000, seed=0)
    assert drawn.mean().item() == pytest.approx(3.0, abs=0.1)
    assert drawn.std().item() == pytest.approx(1.0, abs=0.25)
    assert metrics.wasserstein_1d(drawn[:, 0], x[:, 0]) < 0.25


class Shifted(nn.Module):
    def __init__(self, shift):
        super().__init__()
        self.shift = nn.Parameter(torch.tensor(shift))

    def forward(self, z):
        return z + self.shift


def penalised_slopes(shift, weight):
    """A grid, its step, and the slopes of the best critic of N(0, 1) against N(d, 1) there.

    With x̂ of density r, the cost of slopes s is the integral of -(G - F) s + weight (s - 1)² r
    over distribution functions F and G, so that s = 1 + (G - F) / (2 weight r).
    """
    x = torch.linspace(-4.0, shift + 4.0, 2001, dtype=torch.float64)
    u = (torch.arange(400, dtype=torch.float64)[:, None] + 0.5) / 400
    scale = (u.square() + (1 - u).square()).sqrt()
    density = torch.distributions.Normal((1 - u) * shift, scale).log_prob(x).exp().mean(0)
    flow = torch.special.ndtr(x) - torch.special.ndtr(x - shift)
    return x, flow, 1 + flow / (2 * weight * density)


@pytest.mark.parametrize("shift", [2.0, 5.0])
def test_a_penalised_critic_measures_the_distance_of_shifted_normals(shift):
    """The gap is the distance, here the shift, and what a penalty of finite weight gives away."""
    torch.manual_seed(0)
    critic = MLP([(1,)], [64], (1,), nn.Softplus)
    prior, penalty = priors.StandardNormal(1), GradientPenalty(10.0)
    game = Game(Shifted(shift), critic, prior, (1,), divergences.wasserstein, penalty)
    frozen = {"generator": 1e-12, "critic": 4e-3}
    ppl_gen.fit(game, rows(5120, 1), epochs=35, batch_size=256, lr=frozen, **QUIET)
    grid, flow, slopes = penalised_slopes(shift, 10.0)
    between = grid.float()[:, None].requires_grad_()
    (found,) = torch.autograd.grad(-critic(between).sum(), between)
    distance = torch.trapezoid(flow, grid).item()
    assert distance == pytest.approx(shift, abs=1e-3)
    gap, best = (
        torch.trapezoid(flow * slope, grid).item() for slope in (found[:, 0].double(), slopes)
    )
    assert gap == pytest.approx(best, rel=0.02)
    assert best > distance
    inside = (grid > 0) & (grid < shift)
    assert (found[inside, 0] - slopes[inside]).abs().max() < 0.1


# --- Samples --------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_the_first_of_many_samples_are_those_of_few(network):
    game = built("gan", (1, 8, 8), network=network)
    many = game.sample(150, seed=3)
    for n in (1, 5, 64, 65, 100):
        assert game.sample(n, seed=3).equal(many[:n])
    assert len(many.flatten(1).unique(dim=0)) == 150
    assert 0 <= many.min() <= many.max() <= 1
    state = torch.get_rng_state()
    game.sample(3, seed=0)
    assert state.equal(torch.get_rng_state())
    assert not game.sample(3).equal(game.sample(3))


def test_the_generator_is_a_program_from_latents_to_data():
    game = built("gan")
    drawn = Predictive(game.model, num_samples=4)(5)
    assert drawn["x"].shape == (4, 5, 2)
    torch.testing.assert_close(drawn["x"], game.generator(drawn["z"]).detach())
    assert set(graphs.from_pyro(game.model, 3).edges) == {("z", "x")}


def test_curves_of_a_game_are_the_losses_of_its_players():
    history = ppl_gen.fit(built("gan"), rows(40), epochs=2, **QUIET)
    ax = history.plot()
    assert {line.get_label() for line in ax.lines} >= {"critic_loss", "generator_loss"}
    assert ax.get_ylabel() == "loss"


@pytest.mark.parametrize("name", NAMES)
def test_a_game_says_what_it_is_in_one_line(name):
    game = built(name)
    count = sum(p.numel() for p in game.parameters())
    what = "images 1×4×4" if name in ROTATING else "data 2"
    assert repr(game).startswith(f"<{name}: {what}, z ~ StandardNormal, ")
    assert repr(game).endswith(f"{count:,} parameters>")


# --- What games refuse ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"generator": nn.Linear(3, 5)}, r"generator from \(64, 3\) to \(64, 2\), got \(64, 5\)"),
        ({"generator": nn.Linear(4, 2)}, r"generator for inputs \(64, 3\), got"),
        ({"critic": nn.Linear(3, 1)}, r"critic for inputs \(64, 2\), got"),
        ({"critic": nn.Flatten(0)}, r"critic from \(64, 2\) to logits \(B, K\), got \(128,\)"),
        ({"loss": "wgan"}, "one of minimax, .*, got 'wgan'"),
        ({"critic_steps": 0}, "one critic step or more in a cycle, got 0"),
        ({"critic_steps": 1.5}, "whole number for critic_steps, got 1.5"),
        ({"network": "transformer"}, "network among auto, conv, mlp, map, got 'transformer'"),
    ],
)
def test_parts_that_do_not_fit_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        zoo.gan((2,), 3, **options)


@pytest.mark.parametrize(
    ("name", "part"), [("lsgan", "loss"), ("wgan", "loss"), ("wgan_gp", "regularizer")]
)
def test_what_makes_a_game_what_it_is_cannot_be_exchanged(name, part):
    assert part in zoo.registry[name].fixed
    with pytest.raises(ValueError, match=f"no {part} for {name}, which has its own"):
        zoo.registry[name].build((2,), **{part: "hinge"})


@pytest.mark.parametrize(
    ("x", "match"),
    [
        (torch.rand(6, 1, 4, 4) * 2 - 1, r"pixels in \[0, 1\], like those of the generator"),
        (torch.full((6, 1, 4, 4), math.nan), "without NaN"),
        (torch.rand(6, 1, 4, 5), r"shape \(B, 1, 4, 4\)"),
    ],
)
def test_data_the_generator_cannot_draw_are_refused(x, match):
    with pytest.raises(ValueError, match=match):
        ppl_gen.fit(built("gan", (1, 4, 4)), x, **QUIET)


class Spread(nn.Module):
    """A generator of images with values from -reach to reach."""

    def __init__(self, reach):
        super().__init__()
        self.linear, self.reach = nn.Linear(3, 16), reach

    def forward(self, z):
        return self.reach * self.linear(z).view(-1, 1, 4, 4).tanh()


@pytest.mark.parametrize(
    ("reach", "low", "match"),
    [(1.0, 0.0, r"in \[0, 1\].* end it in a sigmoid"), (5.0, -1.0, r"in \[-1, 1\].* in tanh")],
)
def test_a_generator_that_leaves_the_range_of_the_data_is_refused(reach, low, match):
    game, x = zoo.gan((1, 4, 4), 3, generator=Spread(reach)), torch.rand(6, 1, 4, 4)
    with pytest.raises(ValueError, match=match):
        ppl_gen.fit(game, low + (1 - low) * x, epochs=1, **QUIET)
    fits = zoo.gan((1, 4, 4), 3, generator=Spread(1.0))
    ppl_gen.fit(fits, 2 * x - 1, epochs=1, **QUIET)
    ppl_gen.fit(game, 7 * x, epochs=1, **QUIET)  # data without a range of their own


def test_samples_that_are_none_and_labels_are_refused():
    game = built("gan")
    for n in (0, True, 1.5):
        with pytest.raises(ValueError, match="at least one sample, got"):
            game.sample(n)
    with pytest.raises(ValueError, match="no labels"):
        game.sample(3, torch.arange(3))


def test_tables_of_numbers_are_learnt_and_others_refused():
    import pandas as pd

    numbers = pd.DataFrame({"a": rows(40)[:, 0].numpy() * 5 + 100, "b": rows(40)[:, 1].numpy()})
    table = data.table(numbers)
    game = built("gan")
    ppl_gen.fit(game, table, epochs=1, **QUIET)
    frame = game.schema.to_frame(game.sample(5, seed=0))
    assert list(frame.columns) == ["a", "b"]
    assert frame["a"].mean() > 50
    mixed = data.table(numbers.assign(b=["yes", "no"] * 20))
    with pytest.raises(ValueError, match="columns of numbers alone"):
        ppl_gen.fit(built("gan"), mixed, epochs=1, **QUIET)
