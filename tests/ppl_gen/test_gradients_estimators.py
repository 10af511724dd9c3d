"""Laws of every estimator in the registry, and what they refuse."""

import itertools
import math

import pytest
import torch
from torch import distributions as dist

from ppl_gen import gradients
from ppl_gen.estimators import families
from ppl_gen.schedules import Constant, Exponential, WarmUp

NAMES = list(gradients.registry)
OF_THE_MEAN = [n for n in NAMES if n not in ("reparameterized", "vimco")]
UNBIASED = [n for n in NAMES if not gradients.registry[n].biased and n != "vimco"]
LOGITS = torch.tensor([[0.3, -1.0, 0.8], [1.5, 0.1, -0.4]], dtype=torch.float64)


def cost(z, shift=0.0):
    """A cost of three binary variables that does not factorize."""
    a, b, c = z.unbind(-1)
    return (a - 0.4 + shift) ** 2 + 1.5 * a * b - torch.cos(2 * b + c) + a * b * c


def bernoulli(logits):
    return dist.Independent(dist.Bernoulli(logits=logits), 1)


def truth(logits, function=cost):
    """The expectation, by listing the values; differentiable."""
    p = torch.sigmoid(logits)
    total = 0.0
    for bits in itertools.product([0.0, 1.0], repeat=3):
        z = torch.tensor(bits, dtype=logits.dtype)
        total = total + (p**z * (1 - p) ** (1 - z)).prod(-1) * function(z)
    return total


def mean_gradient(estimator, draws, make, function, *parameters):
    """Mean and standard error of the surrogate's gradient, over draws as a batch dimension."""
    copies = [p.detach().expand(draws, *p.shape).clone().requires_grad_() for p in parameters]
    surrogate = estimator(make(*copies), function)
    found = torch.autograd.grad(surrogate.sum(), copies)
    value = surrogate.detach()
    return value, [(g.mean(0), g.std(0) / math.sqrt(draws)) for g in found]


@pytest.mark.parametrize("name", OF_THE_MEAN)
def test_its_mean_is_the_gradient_unless_it_says_so(name):
    torch.manual_seed(0)
    estimator = gradients.make(name)
    value, [(mean, error)] = mean_gradient(estimator, 40_000, bernoulli, cost, LOGITS)
    leaf = LOGITS.clone().requires_grad_()
    exact = truth(leaf)
    (gradient,) = torch.autograd.grad(exact.sum(), leaf)
    z = ((mean - gradient) / (error + 1e-12)).abs().max().item()
    if estimator.biased:
        assert z > 10
    else:
        assert z < 4
    if name != "gumbel_softmax":
        spread = value.std(0) / math.sqrt(len(value)) + 1e-12
        assert ((value.mean(0) - exact.detach()) / spread).abs().max() < 4


@pytest.mark.parametrize("name", OF_THE_MEAN)
def test_parameters_of_the_cost_receive_their_gradient(name):
    torch.manual_seed(1)
    shift = torch.zeros(20_000, 2, dtype=torch.float64, requires_grad=True)
    logits = LOGITS.expand(20_000, 2, 3).clone().requires_grad_()
    surrogate = gradients.make(name)(bernoulli(logits), lambda z: cost(z, shift))
    (found,) = torch.autograd.grad(surrogate.sum(), shift)
    exact = 2 * (torch.sigmoid(LOGITS[:, 0]) - 0.4)
    error = found.std(0) / math.sqrt(len(found)) + 1e-9
    # a relaxation is biased here as well, by less than a tenth
    slack = 0.1 if name == "gumbel_softmax" else 0.0
    assert ((found.mean(0) - exact).abs() <= 4 * error + slack).all()


@pytest.mark.parametrize("name", UNBIASED)
def test_the_entropy_is_part_of_the_cost(name):
    """With cost −log p and weight 1 the expectation is a KL, whose gradient is known."""
    torch.manual_seed(2)
    estimator = gradients.make(name)
    if name == "reparameterized":
        leaf = torch.tensor([0.7], dtype=torch.float64, requires_grad=True)
        p, make = dist.Normal(torch.zeros(1).double(), 1.0), lambda a: dist.Normal(a, 1.0)
    else:
        leaf = torch.tensor([[0.3, -1.0]], dtype=torch.float64, requires_grad=True)
        p, make = bernoulli(torch.tensor([[0.5, 0.5]]).double()), bernoulli
    (exact,) = torch.autograd.grad(dist.kl_divergence(make(leaf), p).sum(), leaf)
    copies = leaf.detach().expand(40_000, *leaf.shape).clone().requires_grad_()
    surrogate = estimator(make(copies), lambda z: -families.log_prob(p, z), entropy=1.0)
    (found,) = torch.autograd.grad(surrogate.sum(), copies)
    error = found.std(0) / math.sqrt(len(found)) + 1e-12
    assert ((found.mean(0) - exact) / error).abs().max() < 4


@pytest.mark.parametrize("name", NAMES)
def test_it_says_what_it_is(name):
    kind = gradients.registry[name]
    text = kind.__doc__
    assert kind.name == name
    assert "Serves" in text
    assert ("biased" in text.replace("unbiased", "")) == kind.biased
    assert "evaluation" in text
    assert any(str(year) in text for year in range(1990, 2021)) or name == "enumerate"
    assert gradients.make(name).label == name


@pytest.mark.parametrize("name", NAMES)
def test_nothing_but_the_value_is_computed_without_gradients(name):
    torch.manual_seed(0)
    q = dist.Normal(torch.zeros(5), 1.0) if name == "reparameterized" else bernoulli(LOGITS)
    function = torch.square if name == "reparameterized" else cost
    with torch.no_grad():
        surrogate = gradients.make(name)(q, function)
    assert surrogate.shape == q.batch_shape
    assert not surrogate.requires_grad


ONE_HOT = torch.tensor([[0.2, -0.5, 1.0], [0.0, 0.4, -1.0]], dtype=torch.float64)


def one_hot(logits):
    return dist.Independent(dist.OneHotCategorical(logits=logits), 1)


def one_hot_cost(z):
    weights = torch.tensor([1.0, -2.0, 0.5], dtype=z.dtype)
    first, second = (z * weights).sum(-1).unbind(-1)
    return first * second + (first - 0.3) ** 2


@pytest.mark.parametrize(
    "name", ["score", "leave_one_out", "muprop", "rebar", "relax", "enumerate"]
)
def test_categorical_variables_are_served(name):
    torch.manual_seed(3)
    leaf = ONE_HOT.clone().requires_grad_()
    pi = leaf.softmax(-1)
    eye = torch.eye(3, dtype=torch.float64)
    exact = sum(
        pi[0, i] * pi[1, j] * one_hot_cost(torch.stack([eye[i], eye[j]]))
        for i, j in itertools.product(range(3), repeat=2)
    )
    (gradient,) = torch.autograd.grad(exact, leaf)
    estimator = gradients.make(name)
    _, [(mean, error)] = mean_gradient(estimator, 40_000, one_hot, one_hot_cost, ONE_HOT)
    assert ((mean - gradient) / (error + 1e-12)).abs().max() < 4


def test_indices_are_enumerated_too():
    logits = torch.tensor([0.1, 0.7, -0.2], requires_grad=True)
    value = gradients.Enumerate()(dist.Categorical(logits=logits), lambda k: (k - 0.5) ** 2)
    assert value.item() == pytest.approx(
        (logits.softmax(0) @ torch.tensor([0.25, 0.25, 2.25])).item()
    )


@pytest.mark.parametrize("kind", ["binary", "one-hot"])
def test_conditional_noise_is_the_noise_given_the_hard_value(kind):
    """Hardening gives the condition back, and mixing over it gives the unconditional noise."""
    torch.manual_seed(4)
    logits = torch.tensor([0.4, -0.9, 0.2], dtype=torch.float64).expand(50_000, 3)
    q = dist.Bernoulli(logits=logits) if kind == "binary" else dist.OneHotCategorical(logits=logits)
    r = families.relaxation(q)
    free = r.perturbed(logits)
    hard = q.sample()
    tied = r.conditional(logits, hard)
    assert torch.equal(r.harden(tied), hard)
    assert torch.allclose(r.harden(free).mean(0), q.mean[0], atol=0.01)
    for quantile in (0.1, 0.5, 0.9):
        a, b = free.quantile(quantile, 0), tied.quantile(quantile, 0)
        assert torch.allclose(a, b, atol=0.06)


def test_many_latents_are_sampled_like_torch_samples_them():
    q = bernoulli(torch.tensor([2.0, -1.0]).expand(30_000, 2))
    assert torch.allclose(families.sample(q, torch.Size()).mean(0), q.mean[0], atol=0.01)
    assert families.sample(q, torch.Size((4,))).shape == (4, 30_000, 2)


def test_running_baselines_learn_from_the_costs_they_are_told():
    running = gradients.ScoreRunning(decay=0.9)
    for step in range(1, 200):
        running.update(torch.tensor(5.0 + (-1) ** step))
        if step == 2:
            assert running.mean.item() == pytest.approx(5.0)
    assert running.mean.item() == pytest.approx(5.0, abs=0.2)
    constant = gradients.ScoreConstant()
    for value in (3.0, 8.0):
        constant.update(torch.tensor(value))
    assert constant.value.item() == 3.0
    given = gradients.ScoreConstant(2.0)
    given.update(torch.tensor(9.0))
    assert given.value.item() == 2.0


def test_a_network_baseline_learns_what_the_data_tell():
    """Where the cost is a function of the datum, NVIL's baseline removes its variance."""
    torch.manual_seed(0)
    x = torch.tensor([[-2.0], [0.0], [3.0]])
    estimator = gradients.NVIL(decay=0.9)

    def step():
        logits = torch.zeros(3, requires_grad=True)
        q = dist.Bernoulli(logits=logits)
        surrogate = estimator(q, lambda z: 10 * x.squeeze(-1) + z, context=x)
        estimator.update(surrogate.detach().mean())
        return surrogate, logits

    step()
    optimiser = torch.optim.Adam(estimator.parameters(), lr=0.05)
    for _ in range(300):
        optimiser.zero_grad()
        step()[0].sum().backward()
        optimiser.step()
    draws = torch.stack(
        [torch.autograd.grad(s.sum(), a)[0] for s, a in (step() for _ in range(99))]
    )
    assert draws.var(0).max() < 1.0
    assert (draws.mean(0) - 0.25).abs().max() < 0.4


def test_the_control_variate_learns_while_it_is_used():
    """Training on the surrogate moves temperature, scale and network down the variance."""
    torch.manual_seed(0)
    estimator = gradients.Relax()
    logits = LOGITS.float().expand(64, 2, 3)

    def variance():
        leaf = LOGITS.float().expand(4000, 2, 3).clone().requires_grad_()
        estimator.requires_grad_(False)
        (g,) = torch.autograd.grad(estimator(bernoulli(leaf), cost).sum(), leaf)
        estimator.requires_grad_(True)
        return g.var(0).sum().item()

    estimator(bernoulli(logits.clone().requires_grad_()), cost)
    before = variance()
    optimiser = torch.optim.Adam(estimator.parameters(), lr=0.02)
    for _ in range(200):
        optimiser.zero_grad()
        estimator(bernoulli(logits.clone().requires_grad_()), cost).mean().backward()
        optimiser.step()
    assert variance() < 0.7 * before


def test_an_estimator_refuses_distributions_and_names_those_that_serve():
    normal = dist.Normal(torch.zeros(3), 1.0)
    for name, match in [
        (
            "arm",
            "'arm' serves Bernoulli distributions, got Normal: .*estimators that serve it: score,",
        ),
        ("rebar", "'rebar' serves Bernoulli and OneHotCategorical.*got Normal.*measure_valued"),
        ("muprop", "'muprop' serves Bernoulli and OneHot.*got Normal.*vimco, reparameterized"),
        ("enumerate", "'enumerate' serves .*got Normal: its values cannot be listed"),
    ]:
        with pytest.raises(ValueError, match=match):
            gradients.make(name)(normal, torch.square)
    with pytest.raises(ValueError, match=r"got Bernoulli: it has no rsample; .*disarm, enumerate"):
        gradients.Reparameterized()(dist.Bernoulli(logits=torch.zeros(3)), torch.square)
    with pytest.raises(ValueError, match="got Gamma: its derivative is not among those known"):
        gradients.MeasureValued()(dist.Gamma(torch.ones(1), 1.0), torch.square)
    many = bernoulli(torch.zeros(2, 200))
    with pytest.raises(ValueError, match=r"1.61e\+60 values, more than limit=1024"):
        gradients.Enumerate()(many, lambda z: z.sum(-1))
    with pytest.raises(ValueError, match="needs 400 evaluations, more than limit=256"):
        gradients.MeasureValued()(many, lambda z: z.sum(-1))


@pytest.mark.parametrize("name", NAMES)
def test_a_cost_is_one_number_per_draw(name):
    if name == "reparameterized":
        q = dist.Independent(dist.Normal(torch.zeros(2, 3), 1.0), 1)
    else:
        q = bernoulli(LOGITS)
    for bad in (lambda z: z, lambda z: z.sum(), lambda z: 0.0):
        with pytest.raises(ValueError, match=r"expected a cost of one number per draw.*got"):
            gradients.make(name)(q, bad)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: gradients.GumbelSoftmax(0.0), "positive temperature, got 0"),
        (lambda: gradients.GumbelSoftmax(float("nan")), "finite number, got nan"),
        (lambda: gradients.StraightThrough(-1.0), "positive temperature, got -1"),
        (lambda: gradients.StraightThrough(Constant(0.0)), "positive temperature, got 0"),
        (lambda: gradients.GumbelSoftmax(WarmUp(100, 1.0, 0.0)), "positive temperature, got 0"),
        (lambda: gradients.Rebar(temperature=float("nan")), "positive temperature, got nan"),
        (lambda: gradients.Rebar(temperature=0.0), "positive temperature, got 0"),
        (lambda: gradients.Rebar(scale=float("inf")), "finite scale, got inf"),
        (lambda: gradients.Relax(temperature=-2.0), "positive temperature, got -2"),
        (lambda: gradients.LeaveOneOut(1), "at least 2 samples, got 1"),
        (lambda: gradients.VIMCO(1), "at least 2 samples, got 1"),
        (lambda: gradients.LeaveOneOut(2.5), "at least 2 samples, got 2.5"),
        (lambda: gradients.ScoreConstant(float("nan")), "finite baseline, got nan"),
        (lambda: gradients.ScoreRunning(1.0), r"decay in \[0, 1\), got 1.0"),
        (lambda: gradients.NVIL(decay=-0.1), r"decay in \[0, 1\), got -0.1"),
        (lambda: gradients.LeaveOneOut("2"), "at least 2 samples, got '2'"),
        (lambda: gradients.ScoreConstant("a"), "finite baseline, got a"),
        (lambda: gradients.ScoreRunning(None), r"decay in \[0, 1\), got None"),
        (lambda: gradients.Relax(temperature=None), "positive temperature, got None"),
        (lambda: gradients.NVIL(network=3), "torch.nn.Module as the network, got 3"),
        (lambda: gradients.Relax(network="mlp"), "torch.nn.Module as the network, got 'mlp'"),
        (lambda: gradients.Score()("normal", torch.square), "expected a distribution, got str"),
        (
            lambda: gradients.Score()(dist.Normal(torch.zeros(1), 1.0), 3),
            "a function for the cost, got 3",
        ),
        (lambda: gradients.MeasureValued(limit=1), "limit of at least 2 evaluations, got 1"),
        (lambda: gradients.Enumerate(limit=0), "limit of at least 2 values, got 0"),
        (
            lambda: gradients.make("rebarr"),
            r"expected an Estimator or one of score,.*did you mean 'rebar'",
        ),
        (lambda: gradients.make(3), "expected an Estimator or one of .*, got 3"),
    ],
)
def test_settings_out_of_range_are_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()


def test_labels_name_what_is_not_default():
    assert gradients.LeaveOneOut(2).label == "leave_one_out"
    assert gradients.LeaveOneOut(4).label == "leave_one_out(samples=4)"
    assert gradients.GumbelSoftmax(Exponential(1.0, 1e-3, 0.5)).label.endswith(
        "(temperature=Exponential)"
    )
