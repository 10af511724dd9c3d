"""Amortized guides are the posterior where tables or linear maps can be, and are trained to it."""

import copy
from itertools import product

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from amortized_programs import (
    distance,
    every_row,
    expected_log_weight,
    linear_gaussian,
    log_evidence,
    log_weight,
    mean_field_gap,
    rows_of,
    set_exactly,
    set_tables,
    summed_elbo,
)
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO, TraceEnum_ELBO, config_enumerate
from pyro.infer.autoguide import AutoNormal

import graphs
import ppl_gen
from ppl_gen.guides import amortized

# --- Linear Gaussian programs ---------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_with_exact_coefficients_nothing_is_lost(seed):
    model, data, covariance, place = linear_gaussian(seed)
    guide = amortized(model, data)
    set_exactly(guide, covariance, place)
    assert set(guide.structure.edges) == set(graphs.inverse(graphs.from_pyro(model, data)).edges)
    for other in (data, {v: 2 * x - 1 for v, x in data.items()}):
        truth = log_evidence(other, covariance, place)
        assert log_weight(model, guide, other) == pytest.approx(truth, abs=1e-8)


@pytest.mark.parametrize("seed", range(6))
def test_mean_field_loses_what_its_closed_form_says(seed):
    model, data, covariance, place = linear_gaussian(seed)
    gap, closed = mean_field_gap(model, data, covariance, place)
    assert gap == pytest.approx(closed, abs=1e-8)
    names = [v for v in place if v not in data]
    coupled = graphs.guide_gaps(model, lambda data: [
        pyro.sample(v, dist.Normal(0.0, 1.0)) for v in names
    ], data)  # fmt: skip
    assert bool(coupled) == (closed > 1e-9)


def test_training_reaches_the_evidence_of_every_row(fresh_store):
    rows = 2048
    program, data, covariance, place = linear_gaussian(3)
    draws = np.random.default_rng(0).multivariate_normal(np.zeros(len(place)), covariance, rows)
    data = {v: torch.tensor(draws[:, place[v]]) for v in data}

    def model(data):
        with pyro.plate("rows", rows):
            program(data)

    pyro.set_rng_seed(0)
    guide = amortized(model, data, hidden=(4,))
    svi = SVI(model, guide, pyro.optim.ClippedAdam({"lr": 0.05, "lrd": 0.985}), Trace_ELBO())
    before = log_weight(model, guide, data)
    for _ in range(400):
        svi.step(data)
    truth = log_evidence(data, covariance, place)
    bound = np.mean([log_weight(model, guide, data) for _ in range(20)])
    assert (truth - before) / rows > 0.1
    assert (truth - bound) / rows < 1e-3


@pytest.mark.parametrize("seed", range(4))
def test_a_bound_by_points_is_the_mean_of_draws(fresh_store, seed):
    model, data, covariance, place = linear_gaussian(seed)
    guide = amortized(model, data, hidden=())
    set_exactly(guide, covariance, place)
    truth = log_evidence(data, covariance, place)
    assert expected_log_weight(model, guide, data) == pytest.approx(truth, abs=1e-9)
    pyro.set_rng_seed(seed)
    with torch.no_grad():
        for p in guide.parameters():
            p += 0.2 * torch.randn_like(p)
    draws = [log_weight(model, guide, data) for _ in range(1500)]
    error = np.std(draws) / np.sqrt(len(draws))
    assert expected_log_weight(model, guide, data) == pytest.approx(np.mean(draws), abs=4 * error)


# --- Discrete networks ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("network", "observed"),
    [
        ("sprinkler", ["wet_grass"]),
        ("student", ["L", "S"]),
        ("student", ["G"]),
        ("asia", ["xray", "dysp"]),
    ],
)
def test_tables_can_be_the_posterior_for_all_evidence(network, observed):
    model, tree = rows_of(getattr(graphs.textbook, network)())
    observed = [v for v in tree.states if v in observed] or list(tree.states)[-2:]
    data = every_row(tree, observed)
    guide = amortized(model, data)
    set_tables(guide, tree)
    assert distance(guide, tree, observed, data) < 1e-5


@pytest.mark.parametrize("observed", [["dysp"], ["smoke", "xray"], ["asia", "lung", "bronc"]])
def test_the_bound_as_a_sum_is_that_of_enumeration(fresh_store, observed):
    model, tree = rows_of(graphs.textbook.asia())
    data = every_row(tree, observed)
    guide = amortized(model, data)
    pyro.set_rng_seed(0)
    for p in guide.parameters():
        torch.nn.init.normal_(p.detach())
    elbo = TraceEnum_ELBO(max_plate_nesting=1)
    by_pyro = elbo.differentiable_loss(model, config_enumerate(guide, "parallel"), data)
    own = -summed_elbo(model, guide, tree, data)().sum()
    torch.testing.assert_close(own, by_pyro)
    parameters = list(guide.parameters())
    torch.testing.assert_close(
        torch.autograd.grad(own, parameters), torch.autograd.grad(by_pyro, parameters)
    )


@pytest.mark.parametrize(("network", "observed"), [("sprinkler", "wet_grass"), ("student", "G")])
def test_training_reaches_the_posterior_of_the_junction_tree(fresh_store, network, observed):
    model, tree = rows_of(getattr(graphs.textbook, network)())
    data = every_row(tree, [observed])
    guide = amortized(model, data)
    elbo, summed = TraceEnum_ELBO(max_plate_nesting=1), config_enumerate(guide, "parallel")
    optimizer = torch.optim.LBFGS(guide.parameters(), max_iter=60, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        value = elbo.differentiable_loss(model, summed, data)
        value.backward()
        return value.detach()

    assert distance(guide, tree, [observed], data) > 0.1
    optimizer.step(loss)
    assert distance(guide, tree, [observed], data) < 1e-3


# --- Plates ---------------------------------------------------------------------------------------


def hierarchy(y):
    mean = pyro.sample("mean", dist.Normal(0.0, 5.0))
    spread = pyro.sample("spread", dist.HalfNormal(1.0))
    with pyro.plate("groups", 3):
        theta = pyro.sample("theta", dist.Normal(mean, spread))
        with pyro.plate("rows", 4):
            pyro.sample("y", dist.Normal(theta, 1.0), obs=y)


def mixture(x):
    weights = pyro.sample("weights", dist.Dirichlet(torch.ones(3)))
    with pyro.plate("kinds", 3):
        place = pyro.sample("place", dist.Normal(torch.zeros(2), 5.0).to_event(1))
    with pyro.plate("data", len(x)):
        kind = pyro.sample("kind", dist.Categorical(weights))
        pyro.sample("x", dist.Normal(place[kind], 1.0).to_event(1), obs=x)


def local(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)


def test_what_every_latent_of_a_hierarchy_looks_at(fresh_store):
    y = torch.randn(4, 3)
    guide = amortized(hierarchy, y)
    looked = {v: {(i.name, i.whole) for i in inputs} for v, inputs in guide.inputs.items()}
    assert looked["theta"] == {("mean", ()), ("spread", ()), ("y", ("rows",))}
    assert ("y", ("groups", "rows")) in looked[next(iter(looked))] or (
        "y", ("rows", "groups")) in looked[next(iter(looked))]  # fmt: skip
    assert guide(y)["theta"].shape == (3,)
    assert guide(y)["mean"].shape == ()
    assert (guide(y)["spread"] > 0).all()
    gaps = graphs.guide_gaps(hierarchy, guide, y)
    assert (gaps.sufficient, gaps.spare) == (True, ())


@pytest.mark.parametrize("elbo", [Trace_ELBO(), TraceEnum_ELBO(max_plate_nesting=1)])
def test_a_mixture_draws_and_sums_its_kinds(fresh_store, elbo):
    x = torch.randn(5, 2)
    guide = amortized(mixture, x)
    assert list(guide.inputs) == ["weights", "place", "kind"]
    drawn = guide(x)
    assert {v: tuple(value.shape) for v, value in drawn.items()} == {
        "weights": (3,), "place": (3, 2), "kind": (5,),
    }  # fmt: skip
    used = config_enumerate(guide, "parallel") if isinstance(elbo, TraceEnum_ELBO) else guide
    svi = SVI(mixture, used, pyro.optim.Adam({"lr": 0.01}), elbo)
    before = [p.detach().clone() for p in guide.parameters()]
    assert np.isfinite(svi.step(x))
    assert any(not torch.equal(p, q) for p, q in zip(guide.parameters(), before, strict=True))


def test_a_sum_over_kinds_is_the_mean_of_draws(fresh_store):
    x = torch.tensor([[0.5, -1.0], [2.0, 0.3]])
    guide = amortized(mixture, x)
    for p in guide.parameters():
        torch.nn.init.normal_(p.detach(), std=0.1)
    pyro.set_rng_seed(0)
    fixed = {v: value for v, value in guide(x).items() if v != "kind"}
    model, given = poutine.condition(mixture, fixed), poutine.condition(guide, fixed)
    given = poutine.block(given, hide=list(fixed))
    model = poutine.block(model, hide=list(fixed))
    summed = TraceEnum_ELBO(max_plate_nesting=1).loss(model, config_enumerate(given, "parallel"), x)
    by_hand = 0.0
    for kinds in product(range(3), repeat=2):
        kind = {"kind": torch.tensor(kinds)}
        q = poutine.trace(poutine.condition(given, kind)).get_trace(x).log_prob_sum()
        p = poutine.trace(poutine.condition(model, kind)).get_trace(x).log_prob_sum()
        by_hand += float((q.exp() * (q - p)).detach())
    assert summed == pytest.approx(by_hand, rel=1e-5)


def test_gaps_name_the_members_that_a_mixture_couples(fresh_store):
    x = torch.randn(5, 2)
    gaps = graphs.guide_gaps(mixture, amortized(mixture, x), x)
    assert {frozenset(v.split("[")[0] for v in (*gap.x, *gap.y)) for gap in gaps} == {
        frozenset({"place"})
    }


def topics(words):
    with pyro.plate("topics", 2):
        topic = pyro.sample("topic", dist.Dirichlet(torch.ones(4)))
    with pyro.plate("documents", 3):
        theta = pyro.sample("theta", dist.Dirichlet(torch.ones(2)))
        with pyro.plate("words", 5):
            z = pyro.sample("z", dist.Categorical(theta))
            pyro.sample("word", dist.Categorical(topic[z]), obs=words)


def test_topics_are_summed_over(fresh_store):
    words = torch.randint(4, (5, 3))
    guide = amortized(topics, words)
    assert list(guide.inputs)[-1] == "z"
    assert {v: tuple(value.shape) for v, value in guide(words).items()} == {
        "topic": (2, 4), "theta": (3, 2), "z": (5, 3),
    }  # fmt: skip
    elbo = TraceEnum_ELBO(max_plate_nesting=2)
    assert np.isfinite(elbo.loss(topics, config_enumerate(guide, "parallel"), words))


def test_fit_trains_it_on_batches_and_other_data_follow(fresh_store):
    x = 2**0.5 * torch.randn(256, generator=torch.Generator().manual_seed(0))
    guide = amortized(local, x, hidden=(8,))
    pair = ppl_gen.Pair(local, guide)
    ppl_gen.fit(pair, x, epochs=40, batch_size=64, lr=0.02, staged=False, progress=False, seed=0)
    new = torch.tensor([-1.0, 0.0, 2.0])
    fn = poutine.trace(guide).get_trace(new).nodes["z"]["fn"]
    torch.testing.assert_close(fn.mean, new / 2, atol=0.1, rtol=0)
    torch.testing.assert_close(fn.stddev, torch.full((3,), 0.5**0.5), atol=0.1, rtol=0)


@pytest.mark.parametrize("rows", [1, 3, 7])
def test_local_latents_take_any_number_of_rows(fresh_store, rows):
    guide, x = amortized(local, torch.randn(4)), torch.randn(rows)
    assert guide(x)["z"].shape == (rows,)
    assert np.isfinite(Trace_ELBO().loss(local, guide, x))


def test_data_of_another_size_are_refused_where_all_of_them_matter(fresh_store):
    guide = amortized(hierarchy, torch.randn(4, 3))
    for rows in (1, 5):
        with pytest.raises(ValueError, match=f"expected 4 members of the plate 'rows'.*got {rows}"):
            guide(torch.randn(rows, 3))


def test_a_copy_of_a_guide_draws_alike(fresh_store):
    def model(x):
        scale = pyro.param("scale", torch.tensor(2.0))
        z = pyro.sample("z", dist.Normal(0.0, 3 * scale))
        pyro.sample("x", dist.Normal(z, scale), obs=x)

    x = torch.tensor(1.0)
    guide = amortized(model, x)
    drawn = []
    for each in (guide, copy.deepcopy(guide)):
        torch.manual_seed(0)
        drawn.append(each(x)["z"])
    torch.testing.assert_close(*drawn)


@pytest.mark.parametrize(
    ("program", "backend"), [(local, "eager"), (hierarchy, "eager"), (local, "inductor")]
)
def test_staged_steps_are_those_of_pyro(fresh_store, program, backend):
    x = torch.randn(4, 3) if program is hierarchy else torch.randn(6)
    guide = amortized(program, x, hidden=(8,))
    step = ppl_gen.stage(program, guide, Trace_ELBO(), staged=True, backend=backend)
    for scale in (1.0, 2.0):
        torch.manual_seed(0)
        loss = step(scale * x)
        torch.manual_seed(0)
        expected = Trace_ELBO().differentiable_loss(program, guide, scale * x)
        torch.testing.assert_close(loss, expected.detach())
        gradients = torch.autograd.grad(expected, list(guide.parameters()))
        torch.testing.assert_close([p.grad for p in guide.parameters()], list(gradients))


@pytest.mark.parametrize(
    ("fn", "shape"),
    [
        (dist.Normal(0.0, 1.0).expand([3]).to_event(1), (3,)),
        (dist.Gamma(2.0, 1.0), ()),
        (dist.Beta(2.0, 1.0).expand([2]).to_event(1), (2,)),
        (dist.Dirichlet(torch.ones(4)), (4,)),
        (dist.Dirichlet(torch.ones(2, 3)).to_event(1), (2, 3)),
        (dist.Categorical(torch.ones(2, 3)).to_event(1), (2,)),
        (dist.ImproperUniform(dist.constraints.positive, (), (2,)), (2,)),
        (dist.ImproperUniform(dist.constraints.real, (), ()), ()),
        (dist.Bernoulli(0.3).expand([2]).to_event(1), (2,)),
        (dist.OneHotCategorical(torch.ones(3)), (3,)),
        (dist.LKJCholesky(3, 1.0), (3, 3)),
        (dist.Normal(torch.zeros(2, 2), 1.0).to_event(2), (2, 2)),
        (dist.Uniform(-1.0, 3.0), ()),
    ],
)
def test_draws_lie_in_the_support_of_the_latent(fresh_store, fn, shape):
    def model(x):
        z = pyro.sample("z", fn)
        pyro.sample("x", dist.Normal(z.sum(), 1.0), obs=x)

    guide = amortized(model, torch.tensor(1.0))
    value = guide(torch.tensor(0.5))["z"]
    assert value.shape == shape
    assert bool(torch.as_tensor(fn.support.check(value)).all())
    assert np.isfinite(Trace_ELBO().loss(model, guide, torch.tensor(0.5)))


def test_a_factor_couples_latents_and_is_no_datum(fresh_store):
    def model(nothing):
        a = pyro.sample("a", dist.Normal(0.0, 1.0))
        b = pyro.sample("b", dist.Normal(0.0, 1.0))
        pyro.factor("close", -((a - b) ** 2))

    pyro.set_rng_seed(0)
    guide = amortized(model, {}, hidden=())
    assert repr(guide) == "Amortized(b | ; a | b)"
    assert graphs.guide_gaps(model, guide, {}).sufficient
    svi = SVI(model, guide, pyro.optim.ClippedAdam({"lr": 0.05, "lrd": 0.993}), Trace_ELBO())
    for _ in range(800):
        svi.step({})
    # the mean of exp(-(a - b)²) over a - b ~ N(0, 2); mean field loses ½ log 9/5 of it
    lost = -np.log(5) / 2 - expected_log_weight(model, guide, {})
    assert 0 <= lost < 0.05


# --- Units ----------------------------------------------------------------------------------------


def schools(y):
    mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = pyro.sample("tau", dist.HalfCauchy(25.0))
    with pyro.plate("schools", 8):
        theta = pyro.sample("theta", dist.Normal(mu, tau))
        noise = torch.tensor([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])
        pyro.sample("y", dist.Normal(theta, noise), obs=y)


def test_eight_schools_train_as_well_as_under_mean_field(fresh_store):
    """Rubin (1981), with a step at which networks of raw numbers diverged."""
    y, reached = torch.tensor([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0]), []
    for guide in (amortized(schools, y), AutoNormal(schools)):
        pyro.clear_param_store()
        pyro.set_rng_seed(0)
        svi = SVI(schools, guide, pyro.optim.Adam({"lr": 0.02}), Trace_ELBO())
        losses = [svi.step(y) for _ in range(160)]
        assert np.isfinite(losses).all()
        reached.append(np.mean(losses[-60:]))
    assert reached[0] < reached[1]


@pytest.mark.parametrize("rows", [1, 20])
def test_a_guide_is_as_wide_as_the_unit_of_its_data(fresh_store, rows):
    x = torch.tensor(3.0) + torch.randn(rows, generator=torch.Generator().manual_seed(0))

    def measured(unit):
        def model(x):
            z = pyro.sample("z", dist.Normal(0.0, 4.0 * unit))
            spread = pyro.sample("spread", dist.HalfNormal(unit))
            with pyro.plate("rows", len(x)):
                pyro.sample("x", dist.Normal(z, spread), obs=x)

        guide = amortized(model, unit * x)
        with torch.no_grad(), torch.random.fork_rng():
            torch.manual_seed(1)
            for p in guide.parameters():
                p.normal_(0.0, 0.3)
        draws = poutine.trace(poutine.condition(guide, {
            "z": torch.tensor(2.0 * unit), "spread": torch.tensor(0.7 * unit),
        })).get_trace(unit * (x + 1))  # fmt: skip
        return float((draws.log_prob_sum() + 2 * np.log(unit)).detach())

    assert measured(1000.0) == pytest.approx(measured(1.0), abs=1e-2)


def test_units_are_saved_with_the_parameters(fresh_store):
    other = torch.tensor([300.0, 500.0, 700.0])
    guide, copied = amortized(local, torch.tensor([1.0, 2.0, 4.0])), amortized(local, other)
    for p in (*guide.parameters(), *copied.parameters()):
        torch.nn.init.constant_(p, 0.1)
    drawn = []
    for each in (guide, copied, copied):
        torch.manual_seed(0)
        drawn.append(each(other)["z"])
        if len(drawn) == 2:
            copied.load_state_dict(guide.state_dict())
    assert not torch.allclose(drawn[0], drawn[1])
    torch.testing.assert_close(drawn[0], drawn[2])


@pytest.mark.parametrize("value", [0.0, 5e4])
def test_data_that_do_not_vary_are_no_obstacle(fresh_store, value):
    x = torch.full((3,), value)
    guide = amortized(local, x)
    assert np.isfinite(Trace_ELBO().loss(local, guide, x))
    assert guide(x + 1)["z"].isfinite().all()


# --- Bad input ------------------------------------------------------------------------------------


def crossed(x):
    with pyro.plate("rows", 2, dim=-1):
        u = pyro.sample("u", dist.Bernoulli(0.5))
    with pyro.plate("columns", 3, dim=-2):
        v = pyro.sample("v", dist.Bernoulli(0.5))
        with pyro.plate("rows again", 2, dim=-1):
            pyro.sample("x", dist.Normal(u + v, 1.0), obs=x)


def test_sums_over_members_that_others_depend_on_are_refused(fresh_store):
    x = torch.randn(3, 2)
    guide = amortized(crossed, x)
    assert np.isfinite(Trace_ELBO().loss(crossed, guide, x))
    with pytest.raises(ValueError, match=r"expected '[uv]' to be drawn and not enumerated"):
        TraceEnum_ELBO(max_plate_nesting=2).loss(crossed, config_enumerate(guide, "parallel"), x)


def subsampled(x):
    z = pyro.sample("z", dist.Normal(0.0, 1.0))
    with pyro.plate("data", 10, subsample_size=4) as rows:
        pyro.sample("x", dist.Normal(z, 1.0), obs=x[rows])


def seen(x):
    pyro.sample("x", dist.Normal(0.0, 1.0), obs=x)


def counted(x):
    rate = pyro.sample("n", dist.Poisson(3.0))
    pyro.sample("x", dist.Normal(rate, 1.0), obs=x)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: amortized(subsampled, torch.zeros(10)), "plates of all their members"),
        (lambda: amortized(counted, torch.tensor(1.0)), "got 'n' ~ Poisson"),
        (lambda: amortized(lambda: pyro.sample("z", dist.Normal(0.0, 1.0))), "observed sites"),
        (
            lambda: amortized(
                lambda x: pyro.sample("x", dist.Normal(0.0, 1.0), obs=x), torch.ones(())
            ),
            "latent sites",
        ),
        (lambda: amortized(local, torch.zeros(3), hidden=8), "a sequence of widths"),
        (lambda: amortized(local, torch.zeros(3), hidden=(0,)), "widths of at least 1"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
