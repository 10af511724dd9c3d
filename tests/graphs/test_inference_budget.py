"""Predicted cost, elimination orders, conditioning on a cutset, plans for patterns of evidence."""

import numpy as np
import pytest
import torch
from enumeration import random_bayesian, random_evidence, random_markov

import graphs
from graphs.inference import conditioning, linear, log_space, routing, sums
from graphs.inference.contraction import compile_program
from graphs.inference.elimination import elimination_order
from graphs.inference.plans import Pattern

pytestmark = pytest.mark.usefixtures("compiled_sums")


def grid(rows, columns, seed=0):
    rng = np.random.default_rng(seed)
    return graphs.markov_network(
        [
            (((i, j), (i + di, j + dj)), rng.random((2, 2)))
            for i in range(rows)
            for j in range(columns)
            for di, dj in ((0, 1), (1, 0))
            if i + di < rows and j + dj < columns
        ]
    )


def played_back(sizes, scopes, order):
    """Cells of an order by the definition."""
    edges = {v: set() for v in range(len(sizes))}
    for scope in scopes:
        for v in scope:
            edges[v] |= set(scope) - {v}
    cells = 0
    for v in order:
        clique = {v, *edges[v]}
        cells += int(np.prod([sizes[u] for u in clique]))
        for u in edges[v]:
            edges[u] = (edges[u] | edges[v]) - {u, v}
    return cells


@pytest.mark.parametrize("seed", range(12))
def test_an_order_is_complete_and_costs_what_it_says(seed):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 30))
    sizes = [int(k) for k in rng.integers(1, 5, count)]
    scopes = [tuple(rng.permutation(count)[: rng.integers(1, 4)].tolist()) for _ in range(count)]
    keep, ignore = (0,), ()
    if count > 3:
        ignore = (1,)
        scopes = [tuple(v for v in scope if v != 1) for scope in scopes]
    order = elimination_order(sizes, scopes, keep, ignore)
    assert sorted(order.variables) == [v for v in range(count) if v not in (*keep, *ignore)]
    assert order.cells == played_back(sizes, scopes, order.variables)
    again = elimination_order(sizes, scopes, keep, ignore)
    assert again == order


@pytest.mark.parametrize(
    ("edges", "treewidth"),
    [
        ([(i, i + 1) for i in range(20)], 1),
        ([(i, (i + 1) % 12) for i in range(12)], 2),
        ([(i, j) for i in range(6) for j in range(i)], 5),
        ([(0, i) for i in range(1, 400)], 1),
        ([], 0),
    ],
)
def test_the_treewidth_of_graphs_where_it_is_known(edges, treewidth):
    count = 1 + max((max(edge) for edge in edges), default=2)
    order = elimination_order([2] * count, edges)
    assert order.treewidth == treewidth


def test_a_hub_with_thousands_of_neighbours_is_ordered_at_once():
    count = 3000
    edges = [(0, v) for v in range(1, count)]
    assert elimination_order([2] * count, edges).cells == 4 * (count - 1) + 2


def test_the_cost_is_the_memory_of_all_tables():
    tree = graphs.JunctionTree(grid(4, 4))
    plan = tree._engine.plan(Pattern(frozenset(), marginals=True))
    program = plan.program
    assert tree.cost.bytes == 8 * sum(
        int(np.prod([program.sizes[v] for v in scope])) for scope in program.scopes[1:]
    )
    assert tree.cost.treewidth >= 4
    assert "treewidth" in repr(tree)


def test_evidence_variables_leave_the_tree_smaller():
    middle = [(i, 2) for i in range(5)]
    whole, split = graphs.JunctionTree(grid(5, 5)), graphs.JunctionTree(grid(5, 5), middle)
    assert split.cost.treewidth < whole.cost.treewidth
    assert split.cost.cells < whole.cost.cells
    other = {(0, 0): [0, 1], (2, 2): [1, None]}
    for v, marginal in whole.marginals(other).items():
        torch.testing.assert_close(split.marginals(other)[v], marginal)


def test_a_program_contracts_each_table_once():
    """Every slot but the scalar one feeds one forward step, or is a root."""
    program = compile_program([2, 3, 2], [(0, 1), (1, 2), (1,)], [False] * 3, [0, 2, 1], [0, 1, 2])
    used = [slot for step in program.forward for slot in (step.left, step.right) if slot]
    assert len(used) == len(set(used))
    outs = {1, 2, 3} | {step.out for step in program.forward}
    assert set(used) | set(program.roots) == outs


# --- Over the budget -----------------------------------------------------------------------------


def test_too_large_a_model_is_refused_before_anything_is_allocated():
    tree = graphs.JunctionTree(grid(36, 36))
    assert tree.cost.bytes > 1e12
    with pytest.raises(ValueError, match=r"largest clique of \d+ variables.*\(\d+, \d+\)") as error:
        tree.log_partition()
    assert "evidence_variables" in str(error.value)
    assert "graphs.marginal" in str(error.value)
    with pytest.raises(ValueError, match="largest clique"):
        tree.marginals()
    with pytest.raises(ValueError, match=r"joint table that fits .* 1.07e\+9 cells for the 30"):
        tree.query([(0, j) for j in range(30)])


def test_the_budget_holds_where_logarithms_are_needed():
    """Rows that linear numbers lose are conditioned again, as joins of logarithms are written."""
    table = np.ones((30, 30))
    table[0] = 1e-200
    pairs = [("A", "B"), ("B", "C"), ("A", "C")]
    model = graphs.markov_network([(pair, table) for pair in pairs])
    tree = graphs.JunctionTree(model, max_bytes=60_000)
    assert not tree._engine.cutset(Pattern(frozenset(), marginals=True), False)
    assert tree._engine.cutset(Pattern(frozenset(), marginals=True), True)
    joint = np.einsum("ab,bc,ac->abc", *[table.astype(np.longdouble)] * 3)
    expected = float(np.log(joint.sum()))
    engine = graphs.JunctionTree(model)._engine
    plan = engine.plan(Pattern(frozenset()))
    assert plan.bytes(logarithms=True) > 60_000
    assert tree.log_partition() == pytest.approx(expected)
    assert tree.log_partition({"A": 0, "B": 0}) == pytest.approx(float(np.log(joint[0, 0].sum())))


def test_one_choice_among_more_than_torch_draws_from():
    """Its multinomial ends at 2**24 categories."""
    weights = torch.full((1, 2**24 + 3), -1e30)
    weights[0, -2:] = 0.0
    assert 2**24 + 1 <= int(log_space.draw(weights)) <= 2**24 + 2


def test_evidence_brings_a_large_model_within_the_budget():
    tree = graphs.JunctionTree(grid(36, 36))
    columns = {(i, j): 0 for i in range(36) for j in range(3, 36, 4)}
    assert torch.isfinite(tree.log_partition(columns))
    assert len(tree.marginals(columns)) == 36 * 36 - len(columns)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("random_model", [random_bayesian, random_markov])
def test_conditioning_gives_the_same_answers(random_model, seed):
    rng = np.random.default_rng(seed)
    dense = random_model(rng, zeros=0.2)
    if not dense.table.any():
        return
    evidence = random_evidence(rng, dense, rows=4, missing=0.4)
    whole = graphs.JunctionTree(dense.model)
    small = graphs.JunctionTree(dense.model, max_bytes=max(whole.cost.bytes * 2 // 3, 100))
    try:
        marginals = small.marginals(evidence)
    except ValueError as error:
        assert "expected tables that fit" in str(error)  # noqa: PT017
        return
    torch.testing.assert_close(small.log_partition(evidence), whole.log_partition(evidence))
    for v, marginal in whole.marginals(evidence).items():
        torch.testing.assert_close(marginals[v], marginal, rtol=1e-10, atol=1e-12)


def test_conditioning_on_a_grid(monkeypatch):
    """Rows and cases come in several batches, over which sums are carried."""
    monkeypatch.setattr(conditioning, "ROWS_AT_ONCE", 5)
    monkeypatch.setattr(sums, "ROWS_AT_ONCE", 2)
    whole = graphs.JunctionTree(grid(8, 8))
    small = graphs.JunctionTree(grid(8, 8), max_bytes=whole.cost.bytes // 2)
    cut = small._engine.cutset(Pattern(frozenset(), marginals=True), False)
    assert len(cut) >= 2
    evidence = {(0, 0): [0, 1, None], (7, 7): [None, 1, 0]}
    torch.testing.assert_close(small.log_partition(evidence), whole.log_partition(evidence))
    for v, marginal in whole.marginals(evidence).items():
        torch.testing.assert_close(small.marginals(evidence)[v], marginal, rtol=1e-10, atol=1e-12)
    pair = [(3, 3), (4, 4)]
    torch.testing.assert_close(small.query(pair, evidence), whole.query(pair, evidence))


# --- Many rows -----------------------------------------------------------------------------------


def test_rows_in_blocks_and_by_pattern_equal_rows_alone(monkeypatch):
    """Frequent patterns get plans of their own, rare ones share one; blocks end unevenly."""
    monkeypatch.setattr(routing, "WORTH_A_PLAN", 500)
    monkeypatch.setattr(linear, "CACHE_BYTES", 5000)
    monkeypatch.setattr(linear, "USUAL_ROWS", 7)
    model = graphs.textbook.asia()
    tree = graphs.JunctionTree(model, evidence_variables=["smoke"])
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    drawn = tree.sample(60)
    rows = {
        v: [None if rng.random() < 0.4 and i % 3 else int(k) for i, k in enumerate(drawn[v])]
        for v in ("smoke", "xray", "dysp")
    }
    marginals, log_z = tree.marginals(rows), tree.log_partition(rows)
    draws, best = tree.sample(2, rows), tree.map(rows)
    assert len({tuple(c[i] is None for c in rows.values()) for i in range(60)}) == 8
    for i in range(60):
        one = {v: column[i] for v, column in rows.items()}
        alone = graphs.JunctionTree(model)
        assert log_z[i] == pytest.approx(float(alone.log_partition(one)), abs=1e-12)
        for v, marginal in alone.marginals(one).items():
            torch.testing.assert_close(marginals[v][i], marginal)
        for v, state in alone.map(one).items():
            assert best[v][i] == state
        for v, state in one.items():
            assert state is None or (draws[v][:, i] == state).all()


def test_two_threads_give_the_same_rows(monkeypatch):
    monkeypatch.setattr(linear, "CACHE_BYTES", 5000)
    monkeypatch.setattr(linear, "USUAL_ROWS", 7)
    tree = graphs.JunctionTree(graphs.textbook.asia())
    torch.manual_seed(0)
    rows = {v: tree.sample(100)[v] for v in ("xray", "dysp")}
    expected = tree.marginals(rows)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    for v, marginal in tree.marginals(rows).items():
        assert (marginal == expected[v]).all()


def test_a_progress_bar_counts_rows(capsys):
    tree = graphs.JunctionTree(graphs.textbook.asia(), progress=True)
    tree.marginals({"xray": [0, 1] * 40})
    assert "80/80" in capsys.readouterr().err
