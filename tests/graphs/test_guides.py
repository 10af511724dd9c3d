"""Gaps of guides and inverses of models, against linear Gaussian posteriors and every statement."""

import random
from itertools import combinations

import networkx as nx
import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import autoguide, config_enumerate

import graphs

ONE = torch.tensor(1.0)


def random_dag(rng, nodes, density):
    order = rng.sample(list(nodes), len(nodes))
    dag = nx.DiGraph()
    dag.add_nodes_from(order)
    dag.add_edges_from(pair for pair in combinations(order, 2) if rng.random() < density)
    return dag


def program(dag, observed=()):
    """A Pyro program of Normals with the structure of the DAG."""

    def run():
        values = {}
        for v in nx.topological_sort(dag):
            mean = sum((values[u] for u in dag.predecessors(v)), torch.zeros(()))
            obs = ONE if v in observed else None
            values[v] = pyro.sample(v, dist.Normal(mean, 1.0), obs=obs)

    return run


def posterior_covariance(dag, observed, seed):
    """Of the latents of a linear Gaussian model with random coefficients, by node."""
    rng, nodes = np.random.default_rng(seed), list(nx.topological_sort(dag))
    place = {v: i for i, v in enumerate(nodes)}
    mix = np.eye(len(nodes))
    for u, v in dag.edges:
        mix[place[v], place[u]] = -rng.uniform(0.5, 1.5) * rng.choice([-1, 1])
    precision = mix.T @ np.diag(rng.uniform(0.5, 2.0, len(nodes))) @ mix
    latent = [v for v in nodes if v not in observed]
    rows = [place[v] for v in latent]
    return latent, np.linalg.inv(precision[np.ix_(rows, rows)])


def best_gap(guide, latent, covariance):
    """min KL(posterior, q) over Gaussian q along the guide: ½ (Σ log var(v | pa) - log det)."""
    place = {v: i for i, v in enumerate(latent)}
    total = -np.linalg.slogdet(covariance)[1]
    for v in latent:
        given = [place[u] for u in guide.predecessors(v) if u in place]
        both = [*given, place[v]]
        total += np.linalg.slogdet(covariance[np.ix_(both, both)])[1]
        total -= np.linalg.slogdet(covariance[np.ix_(given, given)])[1] if given else 0.0
    return total / 2


@pytest.mark.parametrize("seed", range(25))
def test_a_guide_is_sufficient_iff_it_can_be_the_posterior(seed):
    rng = random.Random(seed)
    names = "abcdef"[: rng.randint(3, 6)]
    model = random_dag(rng, names, 0.5)
    observed = rng.sample(names, rng.randint(1, len(names) - 2))
    guide = random_dag(rng, [v for v in names if v not in observed], rng.choice([0.3, 0.7]))
    gaps = graphs.guide_gaps(program(model, observed), program(guide))
    latent, covariance = posterior_covariance(model, observed, seed)
    assert (best_gap(guide, latent, covariance) < 1e-9) == gaps.sufficient
    for gap in gaps:
        assert not gap
        assert gap.given >= set(observed)
    for u, v in gaps.spare:
        smaller = nx.DiGraph(guide)
        smaller.remove_edge(u, v)
        spent = best_gap(smaller, latent, covariance) - best_gap(guide, latent, covariance)
        assert abs(spent) < 1e-9
    for u, v in set(guide.edges) - set(gaps.spare):
        smaller = nx.DiGraph(guide)
        smaller.remove_edge(u, v)
        assert best_gap(smaller, latent, covariance) > best_gap(guide, latent, covariance) + 1e-9
    assert gaps.explain()


@pytest.mark.parametrize("seed", range(60))
def test_an_inverse_is_faithful_and_minimal(seed):
    rng = random.Random(seed)
    names = "abcdefg"[: rng.randint(2, 7)]
    model = random_dag(rng, names, rng.choice([0.3, 0.6]))
    observed = rng.sample(names, rng.randint(1, len(names) - 1))
    inverse = graphs.inverse(model, observed)
    drawn = list(observed)
    assert set(list(inverse)[: len(observed)]) == set(observed)
    for v in list(inverse)[len(observed) :]:
        parents = set(inverse.predecessors(v))
        assert parents <= set(drawn)
        rest = set(drawn) - parents
        assert not rest or nx.is_d_separator(model, {v}, rest, parents)
        for u in parents:
            assert not nx.is_d_separator(model, {v}, {u}, parents - {u})
        drawn.append(v)
    latent, covariance = posterior_covariance(model, observed, seed)
    assert best_gap(inverse, latent, covariance) < 1e-9


def conditional_variance(covariance, place, v, given):
    """Of a node of a Gaussian given others."""
    own, rows = place[v], [place[u] for u in given]
    between = covariance[rows, own]
    return covariance[own, own] - between @ np.linalg.solve(covariance[np.ix_(rows, rows)], between)


@pytest.mark.parametrize("seed", range(40))
def test_without_any_edge_an_inverse_loses_the_posterior_of_some_parameters(seed):
    """The mean over data of the best KL(posterior, q) is ½ log of a ratio of two variances."""
    rng = random.Random(100 + seed)
    names = "abcdefg"[: rng.randint(2, 7)]
    model = random_dag(rng, names, rng.choice([0.3, 0.6]))
    observed = rng.sample(names, rng.randint(1, len(names) - 1))
    inverse = graphs.inverse(model, observed)
    nodes, covariance = posterior_covariance(model, [], seed)
    place, before = {v: i for i, v in enumerate(nodes)}, list(observed)
    for v in list(inverse)[len(observed) :]:
        parents = list(inverse.predecessors(v))
        whole = conditional_variance(covariance, place, v, parents)
        assert conditional_variance(covariance, place, v, before) == pytest.approx(whole, rel=1e-9)
        for u in parents:
            rest = [w for w in parents if w != u]
            lost = np.log(conditional_variance(covariance, place, v, rest) / whole) / 2
            assert lost > 1e-9
        before.append(v)


# --- Programs that people write -----------------------------------------------------------------


def naive_bayes():
    c = pyro.sample("c", dist.Normal(0.0, 1.0))
    for i in range(3):
        pyro.sample(f"x{i}", dist.Normal(c, 1.0), obs=ONE)


def hidden_markov():
    z = pyro.sample("z0", dist.Normal(0.0, 1.0))
    for t in range(3):
        z = pyro.sample(f"z{t + 1}", dist.Normal(z, 1.0))
        pyro.sample(f"y{t}", dist.Normal(z, 1.0), obs=ONE)


def hierarchy():
    mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = pyro.sample("tau", dist.HalfCauchy(5.0))
    with pyro.plate("schools", 8):
        theta = pyro.sample("theta", dist.Normal(mu, tau))
        pyro.sample("y", dist.Normal(theta, 1.0), obs=ONE.expand(8))


def regression():
    w, b = pyro.sample("w", dist.Normal(0.0, 1.0)), pyro.sample("b", dist.Normal(0.0, 1.0))
    with pyro.plate("rows", 5):
        pyro.sample("y", dist.Normal(w * torch.arange(5.0) + b, 1.0), obs=ONE.expand(5))


def pairs(gaps):
    return {frozenset(gap.x | gap.y) for gap in gaps}


@pytest.mark.parametrize("kind", ["AutoNormal", "AutoDiagonalNormal", "AutoMultivariateNormal"])
@pytest.mark.parametrize(
    ("model", "coupled"),
    [
        (naive_bayes, 0),
        (hidden_markov, 6),  # the pairs of z0 … z3, neighbours or not
        (hierarchy, 10),  # of mu, tau and three members of theta
        (regression, 1),
    ],
)
def test_a_mean_field_guide_misses_every_coupling(model, coupled, kind):
    gaps = graphs.guide_gaps(model, getattr(autoguide, kind)(model))
    assert len(gaps) == (0 if kind == "AutoMultivariateNormal" else coupled)
    assert all(u != v for u, v in map(tuple, pairs(gaps)))


MEAN_FIELD = ("AutoNormal", "AutoDiagonalNormal", "AutoDelta", "AutoNormalMessenger")
JOINT = (
    "AutoMultivariateNormal", "AutoLowRankMultivariateNormal", "AutoLaplaceApproximation",
    "AutoIAFNormal", "AutoGaussian",
)  # fmt: skip
AS_THE_PRIOR = ("AutoRegressiveMessenger", "AutoHierarchicalNormalMessenger")


@pytest.mark.parametrize("seed", range(6))
def test_an_automatic_guide_is_read_before_its_first_call_as_after_it(fresh_store, seed):
    rng = random.Random(seed)
    names = "abcde"[: rng.randint(3, 5)]
    dag = random_dag(rng, names, 0.6)
    observed = rng.sample(names, rng.randint(1, len(names) - 2))
    model = program(dag, observed)
    latent, covariance = posterior_covariance(dag, observed, seed)
    spread = np.sqrt(np.diag(covariance))
    linked = np.abs(covariance / np.outer(spread, spread)) > 1e-9
    coupled = {
        frozenset((u, v)) for (i, u), (j, v) in combinations(enumerate(latent), 2) if linked[i, j]
    }
    along = pairs(graphs.guide_gaps(model, program(dag.subgraph(latent))))
    wanted_by = dict.fromkeys(MEAN_FIELD, coupled) | dict.fromkeys(AS_THE_PRIOR, along)
    for kind, wanted in (dict.fromkeys(JOINT, frozenset()) | wanted_by).items():
        pyro.set_rng_seed(seed)
        guide = getattr(autoguide, kind)(model)
        assert pairs(graphs.guide_gaps(model, guide)) == wanted, kind
        guide()
        assert pairs(graphs.guide_gaps(model, guide)) == wanted, kind
        assert all(x.isfinite().all() for x in guide().values())


def mixture(x, kinds=None):
    weights = pyro.sample("weights", dist.Dirichlet(torch.ones(2)))
    with pyro.plate("kinds", 2):
        mean = pyro.sample("mean", dist.Normal(0.0, 3.0))
    with pyro.plate("rows", len(x)):
        kind = pyro.sample("kind", dist.Categorical(weights), infer=kinds)
        pyro.sample("x", dist.Normal(mean[kind], 1.0), obs=x)


def test_what_a_model_enumerates_a_guide_may_leave_out():
    data = torch.zeros(4)
    model = config_enumerate(mixture)
    guide = autoguide.AutoNormal(pyro.poutine.block(model, hide=["kind"]))
    gaps = graphs.guide_gaps(model, guide, data)
    every = ["weights", "mean[0]", "mean[1]"]
    assert pairs(gaps) == set(map(frozenset, combinations(every, 2)))
    assert gaps.summed == ("kind[0]", "kind[1]", "kind[2]")
    assert gaps.explain().startswith('Summed over, so that a guide need not draw it: "kind[0]"')
    assert gaps[0].given.isdisjoint(gaps.summed)
    assert graphs.guide_gaps(model, config_enumerate(mixture), data).summed == ()
    with pytest.raises(ValueError, match=r"but those that the model enumerates .* none for 'kind"):
        graphs.guide_gaps(mixture, guide, data)


@pytest.mark.parametrize("seed", range(20))
def test_sums_over_latents_leave_the_gaps_of_the_rest(seed):
    """Against the covariance of those latents that are left once some are integrated out."""
    rng = random.Random(seed)
    names = "abcdef"
    dag = random_dag(rng, names, 0.5)
    observed = rng.sample(names, 2)
    summed = rng.sample([v for v in names if v not in observed], 2)

    def model():
        with pyro.poutine.infer_config(config_fn=lambda site: (
            {"enumerate": "parallel"} if site["name"] in summed else {}
        )):  # fmt: skip
            program(dag, observed)()

    latent, covariance = posterior_covariance(dag, observed, seed)
    left = [v for v in latent if v not in summed]
    rows = [latent.index(v) for v in left]
    covariance = covariance[np.ix_(rows, rows)]
    guide = random_dag(rng, left, 0.5)
    gaps = graphs.guide_gaps(model, program(guide))
    assert set(gaps.summed) == set(summed)
    assert (best_gap(guide, left, covariance) < 1e-9) == gaps.sufficient


def test_a_chain_of_latents_needs_a_chain_either_way():
    forwards = program(nx.DiGraph([("z0", "z1"), ("z1", "z2"), ("z2", "z3")]))
    backwards = program(nx.DiGraph([("z3", "z2"), ("z2", "z1"), ("z1", "z0")]))
    for guide in (forwards, backwards):
        found = graphs.guide_gaps(hidden_markov, guide)
        assert (found.sufficient, found.spare) == (True, ())
    longer = program(nx.DiGraph([("z0", "z1"), ("z1", "z2"), ("z2", "z3"), ("z0", "z3")]))
    found = graphs.guide_gaps(hidden_markov, longer)
    assert found.spare == (("z0", "z3"),)
    assert "z0 → z3 of the guide is not needed" in found.explain()


def test_a_missing_latent_and_a_model_without_data_are_refused():
    with pytest.raises(ValueError, match="none for 'z0'"):
        graphs.guide_gaps(hidden_markov, lambda: pyro.sample("z1", dist.Normal(0.0, 1.0)))
    with pytest.raises(ValueError, match="observed sites"):
        graphs.guide_gaps(program(nx.DiGraph(["ab"])), program(nx.DiGraph(["ab"])))
    with pytest.raises(ValueError, match="latent node"):
        graphs.inverse(nx.DiGraph(["ab"]), ["a", "b"])
    with pytest.raises(ValueError, match="undirected"):
        graphs.inverse(nx.Graph(["ab"]), ["a"])
    with pytest.raises(ValueError, match="number of indices"):
        graphs.from_pyro(hierarchy, unroll=-1)


def test_what_was_suspected_of_the_programs_is_told():
    def model(data):
        a = pyro.sample("a", dist.Normal(0.0, 1.0))
        pyro.sample("x", dist.Normal(a, 1.0), obs=data[0])
        pyro.sample("y", dist.Normal(data[0], 1.0), obs=data[1])

    def guide(data):
        a = pyro.sample("a", dist.Normal(0.0, 1.0))
        pyro.sample("b", dist.Normal(float(a), 1.0), infer={"is_auxiliary": True})

    gaps = graphs.guide_gaps(model, guide, torch.zeros(2))
    first, second = gaps.warnings
    assert first.startswith("Of the model: 'y' reads data that 'x' observed")
    assert second.startswith("Of the guide: the value of 'a' leaves torch")
    assert gaps.explain().endswith(f"{first}\n{second}")


def test_few_members_of_a_plate_are_shown_on_request():
    graph = graphs.from_pyro(hierarchy, unroll=2)
    assert [v for v in graph if v.startswith("theta")] == ["theta[0]", "theta[1]"]
    assert len(graphs.from_pyro(hierarchy, unroll=True)) == 18
