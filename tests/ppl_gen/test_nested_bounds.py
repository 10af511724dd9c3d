"""Objectives of several draws against closed forms, stock Pyro and each other."""

import math

import linear_gaussian
import pyro
import pyro.distributions as dist
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pyro.infer import RenyiELBO
from pyro.infer import ReweightedWakeSleep as StockWakeSleep
from pyro.infer.autoguide import AutoNormal, init_to_value
from torch import nn
from torch.distributions import constraints

import ppl_gen
from ppl_gen import zoo
from ppl_gen.objectives import ELBO, IWAE
from ppl_gen.objectives.nested_bounds import DReG, Renyi, ReweightedWakeSleep
from ppl_gen.objectives.terms import Terms, terms

pytestmark = pytest.mark.usefixtures("fresh_store")


class Chain:
    r"""z₂ ~ N(m, 1), z₁ ~ N(z₂, 1), x ~ N(z₁, 1) and a guide q(z₂) q(z₁ | z₂), one set of weights
    for every datum, so that each is a replicate.
    """

    def __init__(self, size=1, spread=0.0):
        generator = torch.Generator().manual_seed(1)
        self.theta = torch.full((size,), 0.3, dtype=torch.float64, requires_grad=True)
        start = torch.tensor([0.4, 0.2, 0.7, -0.3, 0.5], dtype=torch.float64)
        noise = spread * torch.randn(5, generator=generator, dtype=torch.float64)
        self.phi = (start + noise)[:, None].repeat(1, size).requires_grad_()

    @property
    def leaves(self):
        return [self.theta, self.phi]

    def model(self, x):
        with pyro.plate("data", len(x)):
            z2 = pyro.sample("z2", dist.Normal(self.theta, 1.0))
            z1 = pyro.sample("z1", dist.Normal(z2, 1.0))
            pyro.sample("x", dist.Normal(z1, 1.0), obs=x)

    def guide(self, x):
        a, b, c, d, e = self.phi
        with pyro.plate("data", len(x)):
            z2 = pyro.sample("z2", dist.Normal(a * x, b.exp()))
            pyro.sample("z1", dist.Normal(c * x + e * z2, d.exp()))


def gradients(objective, pair, x, seed=0):
    torch.manual_seed(seed)
    loss = objective.differentiable_loss(pair.model, pair.guide, x)
    return loss.item(), torch.autograd.grad(loss, pair.leaves)


X = torch.tensor([1.3], dtype=torch.float64)


def registered(program):
    """A program with a parameter in Pyro's store, without which stock objectives do nothing."""

    def with_parameter(*args):
        pyro.param("unused", torch.zeros(()))
        return program(*args)

    return with_parameter


@pytest.mark.parametrize(
    "objective",
    [Renyi(-1.0, 4), Renyi(0.5, 4), Renyi(1.0, 4), Renyi(7.0, 4), DReG(4), ReweightedWakeSleep(4)],
)
def test_every_draw_equals_the_evidence_at_the_exact_posterior(objective):
    model, x = linear_gaussian.build(exact=True), linear_gaussian.data(5)
    truth = linear_gaussian.log_evidence(model, x).sum().item()
    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            loss = objective.differentiable_loss(model.model, model.guide, x)
        assert -loss.item() == pytest.approx(truth, rel=1e-12)


@pytest.mark.parametrize(
    ("ours", "twin"),
    [(Renyi(0.0, 5), IWAE(5)), (Renyi(1.0, 5), ELBO(kl="sampled", num_particles=5))],
)
def test_orders_zero_and_one_are_known_bounds(ours, twin):
    pair = Chain(3)
    found, expected = (gradients(o, pair, X.expand(3)) for o in (ours, twin))
    assert found[0] == pytest.approx(expected[0])
    for one, other in zip(found[1], expected[1], strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("alpha", [-2.0, 0.0, 0.5, 3.0])
def test_renyi_bounds_of_one_datum_are_those_of_stock_pyro(alpha):
    pair = Chain()
    options = {"num_particles": 6, "max_plate_nesting": 1}
    torch.manual_seed(3)
    stock = RenyiELBO(alpha, vectorize_particles=True, **options)
    expected = stock.loss_and_grads(registered(pair.model), pair.guide, X)
    reference = [leaf.grad for leaf in pair.leaves]
    found, mine = gradients(Renyi(alpha, **options), pair, X, seed=3)
    assert found == pytest.approx(expected)
    for a, b in zip(mine, reference, strict=True):
        torch.testing.assert_close(a, b)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.floats(-50, 50), min_size=1, max_size=8),
    st.floats(-20, 20),
    st.floats(-20, 20),
)
def test_the_bound_is_a_power_mean_that_falls_with_the_order(weights, one, other):
    t = Terms(torch.tensor(weights, dtype=torch.float64)[:, None])
    low, high = (Renyi(order, 2).bound(t).item() for order in sorted((one, other)))
    assert low >= high - 1e-6
    assert min(weights) - 1e-6 <= high
    assert low <= max(weights) + 1e-6


def test_the_renyi_bound_of_many_draws_is_the_integral():
    alpha, pair = 0.5, Chain()
    torch.manual_seed(0)
    with torch.no_grad():
        found = -Renyi(alpha, 400_000).loss(pair.model, pair.guide, X)
        axis = torch.linspace(-12, 12, 1001, dtype=torch.float64)
        z2, z1 = axis[:, None], axis[None, :]
        a, b, c, d, e = pair.phi
        normal = torch.distributions.Normal
        log_p = normal(pair.theta, 1).log_prob(z2) + normal(z2, 1).log_prob(z1)
        log_p = log_p + normal(z1, 1.0).log_prob(X)
        log_q = normal(a * X, b.exp()).log_prob(z2) + normal(c * X + e * z2, d.exp()).log_prob(z1)
        integrand = (1 - alpha) * log_p + alpha * log_q
        exact = (integrand.exp().sum() * (axis[1] - axis[0]) ** 2).log() / (1 - alpha)
    assert found == pytest.approx(exact.item(), abs=0.01)


def test_dreg_has_the_value_and_the_model_gradient_of_the_bound():
    pair = Chain(3)
    (found, mine), (expected, reference) = (
        gradients(o, pair, X.expand(3)) for o in (DReG(7), IWAE(7))
    )
    assert found == pytest.approx(expected)
    torch.testing.assert_close(mine[0], reference[0])
    assert not torch.allclose(mine[1], reference[1])


@pytest.mark.parametrize("spread", [0.0, 0.3])
def test_dreg_is_unbiased_and_quieter_than_the_bound_where_draws_are_many(spread):
    """Replicates of a hierarchical guide, each with weights of its own: means and variances."""
    size = 20_000
    pair, x = Chain(size, spread), X.expand(size)
    found, expected = (
        gradients(o, pair, x, seed=s)[1][1] for s, o in ((1, DReG(64)), (2, IWAE(64)))
    )
    error = ((found.var(1) + expected.var(1)) / size).sqrt()
    assert ((found.mean(1) - expected.mean(1)).abs() < 4 * error).all()
    assert (expected.mean(1).abs() > 4 * error).any()
    assert (found.var(1) < 0.5 * expected.var(1)).all()


def test_dreg_is_still_at_the_exact_posterior_where_the_bound_is_not():
    model, x = linear_gaussian.build(exact=True), linear_gaussian.data(5)
    encoder = list(model.latents[0].encoder.parameters())
    size = {}
    for objective in (DReG(8), IWAE(8)):
        torch.manual_seed(0)
        loss = objective.differentiable_loss(model.model, model.guide, x)
        size[type(objective)] = sum(g.norm() for g in torch.autograd.grad(loss, encoder)).item()
    assert size[DReG] < 1e-9 < 1e-2 < size[IWAE]


def test_dreg_weighs_parameters_that_guide_and_model_share_by_each_path():
    """A prior that is the guide's own: E over draws of both gradients agree."""
    size = 20_000
    loc = torch.full((size,), 0.5, dtype=torch.float64, requires_grad=True)
    x = X.expand(size)

    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(-loc, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc, 1.2))

    found = []
    for objective in (DReG(5), IWAE(5)):
        torch.manual_seed(0)
        found += torch.autograd.grad(objective.differentiable_loss(model, guide, x), loc)
    difference = found[0] - found[1]
    assert difference.mean().abs() < 4 * difference.std() / size**0.5
    assert difference.std() > 0.1


def test_dreg_of_an_automatic_guide_counts_the_jacobian():
    """log s ~ N(0, 1), y ~ N(log s, 1): nothing moves at the posterior, log s ~ N(1, 1/2)."""
    y = torch.tensor([2.0], dtype=torch.float64)

    def model(y):
        s = pyro.sample("s", dist.LogNormal(torch.zeros((), dtype=torch.float64), 1.0))
        with pyro.plate("d", 1):
            pyro.sample("y", dist.Normal(s.log(), 1.0), obs=y)

    guide = AutoNormal(model, init_loc_fn=init_to_value(values={"s": y.exp()[0]}))
    guide(y)
    leaves = list(guide.parameters())
    torch.manual_seed(0)
    for loc, still in ((1.0, True), (1.5, False)):
        with torch.no_grad():
            leaves[0].fill_(loc)
            leaves[1].copy_(torch.tensor(math.sqrt(0.5)).expm1().log())
        loss = DReG(8).differentiable_loss(model, guide, y)
        slopes = torch.stack(torch.autograd.grad(loss, leaves))
        assert (slopes.abs().max() < 1e-5) == still
        wake = ReweightedWakeSleep(20_000).differentiable_loss(model, guide, y)
        assert (torch.autograd.grad(wake, leaves)[0].abs() < 0.05) == still
    if not still:
        exact = 2 * (1.5 - 1)  # of KL(N(1, 1/2) || N(loc, 1/2))
        assert torch.autograd.grad(
            ReweightedWakeSleep(20_000).differentiable_loss(model, guide, y), leaves
        )[0].item() == pytest.approx(exact, abs=0.05)


@pytest.mark.parametrize(
    "objective", [DReG(5), Renyi(0.5, 5), ReweightedWakeSleep(5), ReweightedWakeSleep(1, 0.0)]
)
def test_the_scale_of_a_subsample_multiplies_loss_and_gradients(objective):
    loc = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    mean = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    x, found = torch.tensor([-1.0, 0.5], dtype=torch.float64), []
    for size in (2, 6):

        def model(x, size=size):
            with pyro.plate("d", size, subsample=torch.arange(2)):
                z = pyro.sample("z", dist.Normal(mean.expand(2), 1.0))
                pyro.sample("x", dist.Normal(z, 1.0), obs=x)

        def guide(x, size=size):
            with pyro.plate("d", size, subsample=torch.arange(2)):
                pyro.sample("z", dist.Normal(loc * x, 1.5))

        torch.manual_seed(0)
        loss = objective.differentiable_loss(model, guide, x)
        slopes = torch.autograd.grad(loss, [loc, mean])
        found.append(torch.stack([loss, *slopes]).detach())
    torch.testing.assert_close(3 * found[0], found[1])


def test_dreg_refuses_what_it_cannot_reparameterise():
    model = zoo.bernoulli_vae((1, 4, 4), 3, objective=DReG(4))
    with pytest.raises(ValueError, match=r"reparameterised samplers .*, got z ~ Bernoulli"):
        model.objective.loss(model.model, model.guide, torch.rand(5, 1, 4, 4))


@pytest.mark.parametrize("staged", [False, True])
@pytest.mark.parametrize("objective", [DReG(4), ReweightedWakeSleep(4)])
def test_a_guide_with_noise_of_its_own_is_refused(objective, staged):
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Dropout(), nn.Linear(8, 4))
    model = zoo.vae((1, 4, 4), 2, encoder=encoder, hidden=8)
    step = ppl_gen.stage(model.model, model.guide, objective, staged=staged, backend="eager")
    with pytest.raises(ValueError, match=r"same density of z in every run.*dropout"):
        step(torch.rand(5, 1, 4, 4))


@pytest.mark.parametrize("objective", [DReG(4), Renyi(0.5, 4), ReweightedWakeSleep(4, 0.5)])
def test_staged_steps_are_the_eager_ones(objective):
    x, found = torch.rand(6, 1, 4, 4).round(), []
    for staged in (False, True):
        torch.manual_seed(0)
        model = zoo.vae((1, 4, 4), 2, hidden=8, objective=objective)
        step = ppl_gen.stage(model.model, model.guide, objective, staged=staged, backend="eager")
        found.append([])
        for _ in range(3):
            found[-1] += [step(x), *(p.grad.clone() for p in model.parameters())]
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


class Switch:
    """s ~ Bernoulli, x ~ N(2 s, 1): a discrete latent whose posterior is known."""

    def __init__(self):
        self.prior = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
        self.logit = torch.tensor(-0.3, dtype=torch.float64, requires_grad=True)
        self.leaves = [self.prior, self.logit]

    def model(self, x):
        with pyro.plate("data", len(x)):
            s = pyro.sample("s", dist.Bernoulli(logits=self.prior.expand(len(x))))
            pyro.sample("x", dist.Normal(2 * s, 1.0), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("s", dist.Bernoulli(logits=self.logit.expand(len(x))))

    def posterior(self, x):
        return torch.sigmoid(self.prior + 2 * x - 2).detach()


def test_wake_updates_are_those_of_stock_pyro():
    pair = Switch()
    options = {"num_particles": 6, "max_plate_nesting": 1}
    stock = StockWakeSleep(insomnia=1.0, vectorize_particles=True, **options)
    torch.manual_seed(3)
    stock.loss_and_grads(registered(pair.model), pair.guide, X)
    _, found = gradients(ReweightedWakeSleep(**options), pair, X, seed=3)
    for mine, leaf in zip(found, pair.leaves, strict=True):
        torch.testing.assert_close(mine, leaf.grad)


def test_wake_updates_of_a_hierarchy_hold_every_draw_fixed():
    """By hand, the second layer of the guide given a constant; no gradient goes through a draw."""
    pair = Chain()
    torch.manual_seed(3)
    drawn = terms(pair.model, pair.guide, (X,), particles=6).values
    z2, z1 = drawn["z2"].detach(), drawn["z1"].detach()
    (a, b, c, d, e), normal = pair.phi, torch.distributions.Normal
    log_q = normal(a * X, b.exp()).log_prob(z2) + normal(c * X + e * z2, d.exp()).log_prob(z1)
    log_p = normal(pair.theta, 1).log_prob(z2) + normal(z2, 1).log_prob(z1)
    log_p = log_p + normal(z1, 1.0).log_prob(X)
    share = (log_p - log_q).detach().softmax(0)
    expected = torch.autograd.grad(-(share * (log_p + log_q)).sum(), pair.leaves)
    _, found = gradients(ReweightedWakeSleep(6), pair, X, seed=3)
    for mine, reference in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, reference)


def test_wake_updates_of_a_discrete_latent_are_those_of_enumeration():
    pair, x = Switch(), torch.tensor([1.3, 0.2, -1.0], dtype=torch.float64)
    _, (theta, phi) = gradients(ReweightedWakeSleep(400_000), pair, x)
    posterior = pair.posterior(x)
    assert theta.item() == pytest.approx(-(posterior - pair.prior.sigmoid()).sum().item(), abs=0.02)
    assert phi.item() == pytest.approx(-(posterior - pair.logit.sigmoid()).sum().item(), abs=0.02)


def test_sleep_updates_are_those_of_the_joint_distribution():
    """−E log N(z; a x + b, s) under z ~ N(0, 1), x ~ N(z, 1): its slopes in a, b and s."""
    a, b, s = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (0.8, 0.3, 0.9))

    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros_like(x), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(a * x + b, s))

    def observing(x, observations=None):
        guide(x if observations is None else observations["x"])

    size = 200_000
    x = torch.zeros(size, dtype=torch.float64)
    square = (a - 1) ** 2 + a**2 + b**2  # E (z − a x − b)²
    exact = torch.stack([(2 * a - 1) / s**2, b / s**2, 1 / s - square / s**3]).detach()
    for program in (guide, observing):
        torch.manual_seed(0)
        objective = ReweightedWakeSleep(1, insomnia=0.0)
        loss = objective.differentiable_loss(model, program, x)
        found = torch.stack(torch.autograd.grad(loss, [a, b, s])) / size
        torch.testing.assert_close(found, exact, atol=0.02, rtol=0)
    torch.manual_seed(0)
    half = ReweightedWakeSleep(1, insomnia=0.5).differentiable_loss(model, guide, x)
    torch.manual_seed(0)
    awake = ReweightedWakeSleep(1).differentiable_loss(model, guide, x)
    mixed, wake = (torch.stack(torch.autograd.grad(v, [a, b, s])) / size for v in (half, awake))
    torch.testing.assert_close(mixed, 0.5 * wake + 0.5 * exact, atol=0.02, rtol=0)


def test_data_that_no_argument_of_the_guide_shows_are_refused():
    pair = Chain()

    def hidden(x):
        pair.model(x + 0.0)

    objective = ReweightedWakeSleep(2, insomnia=0.5)
    with pytest.raises(ValueError, match="'observations', got x: asleep it cannot be shown"):
        objective.differentiable_loss(hidden, pair.guide, X)


@pytest.mark.parametrize("insomnia", [1.0, 0.5, 0.0])
def test_fit_by_wake_sleep_finds_the_posterior(insomnia):
    """The guide of z ~ N(0, 1), x ~ N(z, 1) comes to N(x / 2, 1/2), which no bound is asked for."""

    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros_like(x), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x):
        slope = pyro.param("slope", torch.tensor(0.0))
        scale = pyro.param("scale", torch.tensor(1.5), constraint=constraints.positive)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(slope * x, scale))

    data = math.sqrt(2) * torch.randn(400, generator=torch.Generator().manual_seed(0))
    objective = ReweightedWakeSleep(10, insomnia=insomnia)
    pair = ppl_gen.Pair(model, guide, objective)
    ppl_gen.fit(pair, (data,), epochs=30, batch_size=100, lr=0.05, staged=False, progress=False)
    assert pyro.param("slope").item() == pytest.approx(0.5, abs=0.06)
    assert pyro.param("scale").item() == pytest.approx(0.5**0.5, abs=0.06)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Renyi(math.inf), "finite order alpha, got inf"),
        (lambda: Renyi("a"), "finite order alpha, got 'a'"),
        (lambda: Renyi(0.5, 0), "got 0"),
        (lambda: ReweightedWakeSleep(2, 1.5), "insomnia from 0 to 1, got 1.5"),
        (lambda: ReweightedWakeSleep(2, math.nan), "insomnia from 0 to 1, got nan"),
        (lambda: DReG(True), "got True"),
    ],
)
def test_options_out_of_range_are_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()
