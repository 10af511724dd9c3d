"""Sampling, the best assignment, and the joint distribution inside Pyro programs."""

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import TraceEnum_ELBO
from scipy.stats import chisquare

import graphs


def grid(rows, columns, coupling=0.5):
    table = np.exp([[coupling, 0], [0, coupling]])
    return graphs.markov_network(
        [
            ((f"x{i}{j}", f"x{i + di}{j + dj}"), table)
            for i in range(rows)
            for j in range(columns)
            for di, dj in ((0, 1), (1, 0))
            if i + di < rows and j + dj < columns
        ]
    )


@pytest.mark.parametrize("max_bytes", [1 << 31, 600])
def test_draws_follow_the_joint_distribution(max_bytes):
    """A χ² test of all cells, whole and by conditioning on a cutset."""
    tree = graphs.JunctionTree(grid(2, 3), max_bytes=max_bytes)
    assert (max_bytes < tree.cost.bytes) == (max_bytes == 600)
    torch.manual_seed(0)
    draws = tree.sample(20_000)
    codes = np.ravel_multi_index([draws[v].numpy() for v in tree.states], [2] * 6)
    joint = graphs.JunctionTree(grid(2, 3)).query(list(tree.states)).flatten().numpy()
    counts = np.bincount(codes, minlength=64)
    assert chisquare(counts, joint * counts.sum()).pvalue > 1e-3


def test_draws_given_rows_follow_each_row():
    tree = graphs.JunctionTree(graphs.textbook.asia())
    torch.manual_seed(0)
    evidence = {"dysp": ["yes", "no", "yes"], "smoke": [None, "yes", "no"]}
    draws = tree.sample(4000, evidence)
    assert set(draws) == set(tree.states) - {"dysp"}
    assert draws["smoke"].shape == (4000, 3)
    assert (draws["smoke"][:, 1] == 0).all()
    pairs = 2 * draws["lung"] + draws["bronc"]
    for row in range(3):
        one = {v: column[row] for v, column in evidence.items()}
        expected = tree.query(["lung", "bronc"], one).flatten().numpy() * 4000
        counts = torch.bincount(pairs[:, row], minlength=4).numpy()
        assert chisquare(counts, expected).pvalue > 1e-3


def test_draws_are_reproduced_by_the_seed():
    tree = graphs.JunctionTree(graphs.textbook.asia())
    torch.manual_seed(1)
    first = tree.sample(10)
    torch.manual_seed(1)
    again = graphs.JunctionTree(graphs.textbook.asia()).sample(10)
    assert all((first[v] == again[v]).all() for v in first)
    assert tree.sample(0)["asia"].shape == (0,)


def test_the_best_assignment_by_name():
    best = graphs.JunctionTree(graphs.textbook.asia()).map({"xray": "yes", "dysp": "yes"})
    assert best == {
        "asia": "no",
        "tub": "no",
        "smoke": "yes",
        "lung": "yes",
        "bronc": "yes",
        "either": "yes",
    }


def test_ties_give_one_of_the_best_assignments_and_always_the_same():
    model = graphs.markov_network([(("A", "B"), [[0, 1], [1, 0]]), (("B", "C"), [[1, 1], [1, 1]])])
    found = [graphs.JunctionTree(model).map() for _ in range(3)]
    assert found[0] == found[1] == found[2]
    assert {found[0]["A"], found[0]["B"]} == {0, 1}


def test_the_best_assignment_by_conditioning():
    whole = graphs.JunctionTree(grid(3, 4, coupling=-0.7))
    small = graphs.JunctionTree(grid(3, 4, coupling=-0.7), max_bytes=1200)
    assert small.cost.bytes > 1200
    for corner in (0, 1):
        assert small.map({"x00": corner}) == whole.map({"x00": corner})
        assert whole.map({"x00": corner})["x01"] == 1 - corner


# --- The joint distribution ----------------------------------------------------------------------


def test_joint_sums_to_one_and_scores_the_chain_rule():
    model = graphs.textbook.asia()
    joint = graphs.Joint(model)
    assert joint.nodes == tuple(model.nodes)
    support = joint.enumerate_support()
    assert support.shape == (256, 8)
    assert joint.log_prob(support).exp().sum() == pytest.approx(1)
    yes = torch.zeros(8, dtype=torch.long)
    expected = 0.01 * 0.05 * 0.5 * 0.1 * 0.6 * 1.0 * 0.98 * 0.9
    assert joint.log_prob(yes).exp() == pytest.approx(expected)
    impossible = yes.clone()
    impossible[joint.nodes.index("either")] = 1
    assert joint.log_prob(impossible) == -torch.inf


def test_joint_draws_have_the_shape_and_law_of_a_distribution():
    joint = graphs.Joint(grid(2, 2))
    torch.manual_seed(0)
    assert joint.sample().shape == (4,)
    assert joint.sample((2, 3)).shape == (2, 3, 4)
    draws = joint.sample((8000,))
    codes = draws @ torch.tensor([8, 4, 2, 1])
    counts = torch.bincount(codes, minlength=16).numpy()
    expected = joint.log_prob(joint.enumerate_support()).exp().numpy()
    assert chisquare(counts, 8000 * expected).pvalue > 1e-3


@pytest.mark.parametrize("value", [[2.0, 0, 0, 0], [0.5, 0, 0, 0], [-1.0, 0, 0, 0], [0.0, 0, 0]])
def test_values_outside_the_support_are_refused(value):
    with pytest.raises(ValueError, match=r"(?i)value"):
        graphs.Joint(grid(2, 2)).log_prob(torch.tensor(value))


def test_too_many_assignments_are_not_enumerated():
    with pytest.raises(ValueError, match="at most 1,048,576 assignments to enumerate"):
        graphs.Joint(grid(5, 5)).enumerate_support()


def test_joint_is_an_exact_likelihood_in_a_pyro_program():
    joint = graphs.Joint(grid(2, 3))
    torch.manual_seed(0)
    data = joint.sample((50,))

    def program():
        with pyro.plate("pictures", 50):
            return pyro.sample("x", joint, obs=data)

    trace = pyro.poutine.trace(program).get_trace()
    assert trace.log_prob_sum() == pytest.approx(float(joint.log_prob(data).sum()))
    prior = pyro.poutine.uncondition(program)
    assert prior().shape == (50, 6)
    enumerated = pyro.poutine.enum(
        lambda: pyro.sample("x", joint, infer={"enumerate": "parallel"}), first_available_dim=-1
    )
    trace = pyro.poutine.trace(enumerated).get_trace()
    trace.compute_log_prob()
    assert trace.nodes["x"]["log_prob"].logsumexp(0) == pytest.approx(0, abs=1e-12)


def test_svi_learns_a_coupling_through_the_joint():
    """The gradient of log Z flows into a pyro parameter; its optimum matches the observed rate."""
    tree = graphs.JunctionTree(grid(2, 2))
    torch.manual_seed(0)
    data = graphs.Joint(tree).sample((3000,))
    observed = (data[:, 0] == data[:, 1]).double().mean()
    pyro.clear_param_store()

    def program():
        coupling = pyro.param("coupling", torch.tensor(0.0, dtype=torch.float64))
        table = coupling * torch.eye(2, dtype=torch.float64)
        joint = graphs.Joint(tree, log_potentials=[table] * len(tree.factors))
        with pyro.plate("data", len(data)):
            pyro.sample("x", joint, obs=data)

    svi = pyro.infer.SVI(
        program, lambda: None, pyro.optim.Adam({"lr": 0.05}), pyro.infer.Trace_ELBO()
    )
    losses = [svi.step() for _ in range(120)]
    assert losses[-1] < losses[0]
    learned = pyro.param("coupling").detach()
    pyro.clear_param_store()
    fitted = graphs.JunctionTree(grid(2, 2, coupling=float(learned)))
    rate = fitted.query(["x00", "x01"]).diagonal().sum()
    every = torch.stack([(data[:, a] == data[:, b]) for a, b in ((0, 1), (0, 2), (1, 3), (2, 3))])
    assert rate == pytest.approx(float(every.double().mean()), abs=1e-3)
    assert abs(float(observed) - float(rate)) < 4 * math.sqrt(0.25 / 3000)
    assert isinstance(graphs.Joint(tree), dist.TorchDistribution)


def test_joint_follows_log_potentials_that_are_trained():
    tree = graphs.JunctionTree(graphs.markov_network([(("A", "B"), [[1, 2], [3, 4]])]))
    potential = torch.zeros(2, 2, dtype=torch.float64, requires_grad=True)
    joint = graphs.Joint(tree, {0: potential})
    every = joint.enumerate_support()
    for _ in range(2):
        assert joint.log_prob(every).exp().sum().item() == pytest.approx(1)
        joint.log_prob(every)[0].backward()
        with torch.no_grad():
            potential += potential.grad
    with pytest.raises(ValueError, match="Z = 0"):
        graphs.Joint(tree, {0: torch.full((2, 2), -torch.inf)}).log_prob(every)


def test_joint_is_enumerated_within_a_plate():
    joint = graphs.Joint(graphs.markov_network([(("A", "B"), [[1, 2], [3, 4]])]))
    means = torch.tensor([[0.0, 1.0], [-1.0, 2.0]], dtype=torch.float64)
    seen = torch.tensor([0.3, 1.5, -2.0], dtype=torch.float64)

    def model():
        with pyro.plate("rows", 3):
            z = pyro.sample("z", joint, infer={"enumerate": "parallel"})
            pyro.sample("x", dist.Normal(means[z[..., 0], z[..., 1]], 1.0), obs=seen)

    weights = torch.tensor([[0.1, 0.2], [0.3, 0.4]], dtype=torch.float64)
    densities = dist.Normal(means, 1.0).log_prob(seen[:, None, None]).exp()
    expected = -(weights * densities).sum((1, 2)).log().sum()
    found = TraceEnum_ELBO(max_plate_nesting=1).loss(model, lambda: None)
    assert found == pytest.approx(float(expected))
    assert joint.expand([3]).sample((2,)).shape == (2, 3, 2)
    assert joint.expand([3]).enumerate_support(expand=False).shape == (4, 1, 2)
