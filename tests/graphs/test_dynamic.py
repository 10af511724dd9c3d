"""Networks in time against recursions by hand, the unrolled network and enumeration."""

import gc
import math

import networkx as nx
import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch

import graphs

SEEDS = range(8)


def normalized(rng, *shape):
    table = rng.random(shape) + 0.05
    return table / table.sum(-1, keepdims=True)


def random_network(seed, zeros=False):
    """Two slices with one variable to three, sometimes one without time, as a pgmpy network."""
    rng = np.random.default_rng(seed)
    names = ["A", "B", "C"][: int(rng.integers(1, 4))]
    sizes = {v: int(rng.integers(2, 4)) for v in names}
    entries, static = [], []
    if rng.random() < 0.5:
        static, sizes["S"] = ["S"], 2
        entries.append(("S", (), normalized(rng, 2)))
    for k, v in enumerate(names):
        before = [f"{u}0" for u in names if rng.random() < 0.5]
        for slice_name, past in (("0", []), ("t", before)):
            parents = [f"{u}{slice_name}" for u in names[:k] if rng.random() < 0.5]
            parents += [u for u in static if rng.random() < 0.6] + past
            shape = [sizes[p if p == "S" else p[:-1]] for p in parents]
            table = normalized(rng, *shape, sizes[v])
            if zeros:
                table[..., -1] *= rng.random(table.shape[:-1]) < 0.5
                table /= table.sum(-1, keepdims=True)
            entries.append((f"{v}{slice_name}", parents, table))
    return graphs.bayesian_network(entries), names, static, sizes


def random_evidence(rng, names, sizes, rows, steps):
    """States of some variables, each missing with probability one half."""
    seen = [v for v in names if rng.random() < 0.7]
    columns = {v: rng.integers(0, sizes[v], (rows, steps)).astype(object) for v in seen}
    for column in columns.values():
        column[rng.random(column.shape) < 0.5] = None
    return columns


def unrolled_evidence(evidence):
    return {
        f"{v}_{t}": list(column[:, t])
        for v, column in evidence.items()
        for t in range(column.shape[1])
    }


def hidden_chain(rng, states=3, signs=4):
    start, turn = normalized(rng, states), normalized(rng, states, states)
    emit = normalized(rng, states, signs)
    entries = [("X0", (), start), ("Xt", "X0", turn), ("Y0", "X0", emit), ("Yt", "Xt", emit)]
    return graphs.bayesian_network(entries), start, turn, emit


# --- Inference ----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_answers_are_those_of_the_unrolled_network(seed):
    network, names, static, sizes = random_network(seed, zeros=seed % 2 == 1)
    rng, steps, rows = np.random.default_rng(seed + 100), 5, 2
    evidence = random_evidence(rng, names, sizes, rows, steps)
    drawn = graphs.DynamicTree(network).sample(rows, steps=steps)
    for v, column in evidence.items():  # possible evidence
        known = np.not_equal(column, None)
        column[known] = drawn[v].numpy()[known]
    tree, flat = graphs.DynamicTree(network), graphs.JunctionTree(graphs.unroll(network, steps))
    observed = unrolled_evidence(evidence)
    expected = flat.marginals(observed)
    found = tree.marginals(evidence, steps=steps)
    assert set(found) >= {*static}
    for v, table in found.items():
        if v in static:
            torch.testing.assert_close(table, expected[v].expand_as(table))
            continue
        for t in range(steps):
            if f"{v}_{t}" in expected:
                answer = expected[f"{v}_{t}"].expand_as(table[..., t, :])
                torch.testing.assert_close(table[..., t, :], answer)
    z = tree.log_partition(evidence, steps=steps)
    torch.testing.assert_close(z, flat.log_partition(observed).reshape(z.shape))
    full = full_path(tree, evidence, steps, static)
    best = flat.map(observed)
    best |= {v: states for v, states in observed.items() if v not in best}
    score = flat.log_partition(full)
    torch.testing.assert_close(score, flat.log_partition(best))


def full_path(tree, evidence, steps, static):
    """The most probable path as evidence on the unrolled network, rows kept."""
    path = tree.map(evidence, steps=steps)
    found = {}
    for v in tree.states:
        states = path[v] if v in path else evidence[v].tolist()
        states = np.asarray(states)
        if v in static:
            found[v] = states
        else:
            found |= {f"{v}_{t}": states[..., t] for t in range(steps)}
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_filtering_is_the_last_slice_of_a_shorter_network(seed):
    network, names, _, sizes = random_network(seed)
    evidence = random_evidence(np.random.default_rng(seed), names, sizes, 2, 4)
    tree = graphs.DynamicTree(network)
    slices = list(tree.filter(evidence, steps=4))
    late = list(tree.smooth(evidence, 2, steps=4))
    for t in range(4):
        for answer, until in ((slices[t], t + 1), (late[t], min(t + 3, 4))):
            seen = {v: column[:, :until] for v, column in evidence.items()}
            flat = graphs.JunctionTree(graphs.unroll(network, until))
            expected = flat.marginals(unrolled_evidence(seen))
            for v in names:
                if v in answer:
                    wanted = expected[f"{v}_{t}"].expand_as(answer[v])
                    torch.testing.assert_close(answer[v], wanted)


def test_forward_backward_and_viterbi_by_hand():
    rng = np.random.default_rng(0)
    network, start, turn, emit = hidden_chain(rng)
    signs, steps = rng.integers(0, 4, 30), 30
    alpha, beta = np.zeros((steps, 3)), np.ones((steps, 3))
    score, came = np.zeros((steps, 3)), np.zeros((steps, 3), int)
    alpha[0], score[0] = start * emit[:, signs[0]], np.log(start * emit[:, signs[0]])
    for t in range(1, steps):
        alpha[t] = alpha[t - 1] @ turn * emit[:, signs[t]]
        ways = score[t - 1][:, None] + np.log(turn)
        came[t], score[t] = ways.argmax(0), ways.max(0) + np.log(emit[:, signs[t]])
    for t in range(steps - 2, -1, -1):
        beta[t] = turn @ (emit[:, signs[t + 1]] * beta[t + 1])
    smoothed = alpha * beta / (alpha * beta).sum(1, keepdims=True)
    path = [int(score[-1].argmax())]
    for t in range(steps - 1, 0, -1):
        path.append(int(came[t][path[-1]]))
    tree = graphs.DynamicTree(network)
    np.testing.assert_allclose(tree.marginals({"Y": signs})["X"], smoothed, atol=1e-12)
    filtered = [answer["X"].numpy() for answer in tree.filter({"Y": int(y)} for y in signs)]
    np.testing.assert_allclose(filtered, alpha / alpha.sum(1, keepdims=True), atol=1e-12)
    back = [answer["X"].numpy() for answer in tree.smooth_backwards({"Y": signs})]
    np.testing.assert_allclose(back[::-1], smoothed, atol=1e-12)
    assert tree.map({"Y": signs})["X"] == path[::-1]
    assert math.isclose(tree.log_partition({"Y": signs}), np.log(alpha[-1].sum()))
    assert tree.map(pd.DataFrame({"Y": signs}))["X"] == path[::-1]
    likely = torch.from_numpy(emit[:, signs].T)
    soft = tree.marginals(likelihoods={"X": likely})["X"]
    np.testing.assert_allclose(soft, smoothed, atol=1e-12)


def test_paths_drawn_have_the_frequencies_of_enumeration():
    rng = np.random.default_rng(1)
    network, start, turn, emit = hidden_chain(rng, states=2, signs=2)
    signs = [0, 1, 1]
    joint = np.einsum("a,ab,bc,a,b,c->abc", start, turn, turn, *(emit[:, y] for y in signs))
    torch.manual_seed(0)
    paths = graphs.DynamicTree(network).sample(20_000, {"Y": signs})["X"].numpy()
    counts = np.zeros((2, 2, 2))
    np.add.at(counts, tuple(paths.T), 1)
    np.testing.assert_allclose(counts / 20_000, joint / joint.sum(), atol=0.015)


def test_derivatives_are_expected_counts():
    rng = np.random.default_rng(2)
    network, *_ = hidden_chain(rng)
    tree, signs = graphs.DynamicTree(network), [0, 3, 2, 1]
    turn = tree.log_tables()[tree.factors.index(("X_t-1", "X_t"))].requires_grad_()
    position = tree.factors.index(("X_t-1", "X_t"))
    tree.log_partition({"Y": signs}, {position: turn}).backward()
    flat = graphs.JunctionTree(graphs.unroll(network, 4))
    observed = {f"Y_{t}": y for t, y in enumerate(signs)}
    pairs = sum(flat.query([f"X_{t}", f"X_{t + 1}"], observed) for t in range(3))
    torch.testing.assert_close(turn.grad, pairs)
    likely = torch.ones(4, 3, dtype=torch.float64, requires_grad=True)
    tree.log_partition({"Y": signs}, likelihoods={"X": likely}).backward()
    torch.testing.assert_close(likely.grad, tree.marginals({"Y": signs})["X"])


def test_memory_does_not_grow_with_the_horizon():
    network, *_ = hidden_chain(np.random.default_rng(3))
    tree = graphs.DynamicTree(network)

    def alive():
        return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())

    counts = {}
    for t, _ in enumerate(tree.filter({"Y": 1} for _ in range(301))):
        if t in (50, 300):
            counts[t] = alive()
    assert counts[50] == counts[300]
    base, held = alive(), []
    for t, _ in enumerate(tree.smooth_backwards({"Y": [1] * 400})):
        if t in (150, 390):
            held.append(alive() - base)
    assert max(held) < 4 * 20 + 60  # 2 √T messages, and what a slice takes


# --- Reading ------------------------------------------------------------------------------------


def test_a_program_with_markov_is_read_and_one_that_looks_further_back_refused():
    def chain(lags, steps=5):
        scale = pyro.sample("scale", dist.HalfNormal(1.0))
        past = [torch.tensor(0.0)] * lags
        for t in pyro.markov(range(steps), history=lags):
            past = [*past[1:], pyro.sample(f"x_{t}", dist.Normal(sum(past), scale))]
            pyro.sample(f"y_{t}", dist.Normal(past[-1], 1.0), obs=torch.tensor(0.0))

    found = graphs.two_slice(chain, 1)
    assert (found.variables, found.static, found.interface) == (("x", "y"), ("scale",), ("x",))
    with pytest.raises(
        ValueError, match=r"expected parents of 'x_2' .* got 'x_0', 2 slices before"
    ):
        graphs.two_slice(chain, 2)


@pytest.mark.filterwarnings("ignore")
def test_pgmpy_and_files_of_pyagrum_names(tmp_path):
    from pgmpy.factors.discrete import TabularCPD
    from pgmpy.models import DynamicBayesianNetwork

    rng = np.random.default_rng(5)
    network, start, turn, emit = hidden_chain(rng)
    pgmpy = DynamicBayesianNetwork([(("X", 0), ("Y", 0)), (("X", 0), ("X", 1))])
    pgmpy.add_cpds(
        TabularCPD(("X", 0), 3, start[:, None]),
        TabularCPD(("X", 1), 3, turn.T, [("X", 0)], [3]),
        TabularCPD(("Y", 0), 4, emit.T, [("X", 0)], [3]),
    )
    graphs.save(network, tmp_path / "chain.bif")
    signs = [0, 3, 1, 2]
    expected = graphs.DynamicTree(network).log_partition({"Y": signs})
    from_pgmpy = graphs.DynamicTree(pgmpy).log_partition({"Y": signs})
    torch.testing.assert_close(from_pgmpy, expected)
    read = graphs.DynamicTree(graphs.load(tmp_path / "chain.bif"))
    torch.testing.assert_close(read.log_partition({"Y": list("0312")}), expected)


CHAIN = "P(X0) P(Xt|X0) P(Y0|X0) P(Yt|Xt)"


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: graphs.two_slice(graphs.parse("P(A) P(B|A)")), "expected nodes of slices"),
        (lambda: graphs.two_slice(graphs.parse("P(A0) P(At|A0) P(B|At)")), "without time"),
        (lambda: graphs.two_slice(nx.DiGraph([("A_0", "A_1")])), "at least three slices"),
        (lambda: graphs.two_slice(nx.DiGraph([("At", "A0")])), "no arrow back in time"),
        (
            lambda: graphs.two_slice(nx.DiGraph([("A0", "A1"), ("A1", "A2"), ("B2", "A2")])),
            "expected slices that are alike",
        ),
        (lambda: graphs.two_slice(nx.Graph([("A0", "At")])), "directed model"),
        (lambda: graphs.unroll(graphs.parse(CHAIN), 0), "number of slices"),
        (lambda: graphs.DynamicTree(graphs.parse(CHAIN)), "with tables"),
    ],
)
def test_models_and_claims_that_are_refused(ask, message):
    with pytest.raises(ValueError, match=message):
        ask()


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda tree: list(tree.filter()), "steps="),
        (lambda tree: tree.marginals({"Y": [0, 9]}), "slice 1: expected"),
        (lambda tree: tree.marginals({"Z": [0]}), "expected evidence on variables"),
        (lambda tree: tree.marginals({"X": [0], "Y": [0, 1]}), "expected 1 slices"),
        (lambda tree: tree.marginals({"Y": [0, 1]}, steps=1), "at most 1 slices"),
        (lambda tree: list(tree.smooth({"Y": [0]}, -1)), "a lag of zero or more"),
        (lambda tree: tree.sample(0, steps=2), "number of draws"),
        (lambda tree: tree.marginals(likelihoods={"Y": [[1.0, 2.0]]}), "along the last axis"),
        (lambda tree: list(tree.filter([{"Y": [0, 1]}, {"Y": [0]}])), "slice 1: expected 2 rows"),
        (lambda tree: tree.log_partition({"Y": [0]}, {9: torch.zeros(1)}), "positions"),
    ],
)
def test_evidence_that_is_refused(ask, message):
    tree = graphs.DynamicTree(hidden_chain(np.random.default_rng(0))[0])
    with pytest.raises(ValueError, match=message):
        ask(tree)


def test_impossible_evidence_is_named_with_its_slice():
    entries = [("X0", (), [1.0, 0.0]), ("Xt", "X0", np.eye(2))]
    tree = graphs.DynamicTree(graphs.bayesian_network(entries))
    with pytest.raises(ValueError, match="slice 2: expected evidence of positive probability"):
        tree.marginals({"X": [0, 0, 1]})
    assert tree.log_partition({"X": [0, 0, 1]}) == -math.inf
