"""What a graph implies against data: each statistic by another formula, levels by simulation."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

import graphs
from graphs.claims.implications import benjamini_hochberg, contingency, correlation, holm


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("pearson", "power"), [(False, "log-likelihood"), (True, "pearson")])
def test_a_table_is_tested_as_scipy_tests_its_strata(seed, pearson, power):
    rng = np.random.default_rng(seed)
    x, y, a, b = (rng.integers(0, k, 400) for k in (3, 4, 2, 3))
    expected, dof = 0.0, 0
    for s in {(i, j) for i, j in zip(a, b, strict=True)}:
        members = (a == s[0]) & (b == s[1])
        counts = pd.crosstab(x[members], y[members]).to_numpy()
        found = stats.chi2_contingency(counts, correction=False, lambda_=power)
        expected, dof = expected + found.statistic, dof + found.dof
    statistic, freedom, p, _ = contingency(x, y, [a, b], pearson=pearson)
    assert statistic == pytest.approx(expected, rel=1e-10)
    assert freedom == dof
    assert p == pytest.approx(stats.chi2.sf(expected, dof), rel=1e-10)


@pytest.mark.parametrize("others", [0, 1, 3])
def test_numbers_are_tested_by_the_precision_matrix(others):
    rng = np.random.default_rng(others)
    values = rng.normal(size=(200, 2 + others)) @ rng.normal(size=(2 + others, 2 + others))
    precision = np.linalg.inv(np.cov(values.T))
    r = -precision[0, 1] / np.sqrt(precision[0, 0] * precision[1, 1])
    z, freedom, p, n = correlation(values)
    assert (freedom, n) == (200 - others - 3, 200)
    assert z == pytest.approx(np.sqrt(freedom) * np.arctanh(r), rel=1e-9)
    assert p == pytest.approx(2 * stats.norm.sf(abs(z)), rel=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_corrections_are_those_of_statsmodels(seed):
    p = np.random.default_rng(seed).uniform(size=30) ** 3
    p[3] = p[7]
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1], rel=1e-12)
    assert benjamini_hochberg(p) == pytest.approx(multipletests(p, method="fdr_bh")[1], rel=1e-12)


def chain(rng, n=300):
    a = rng.normal(size=n)
    b = a + rng.normal(size=n)
    return pd.DataFrame({"A": a, "B": b, "C": b + rng.normal(size=n)})


def test_p_values_are_uniform_where_the_graph_is_true():
    model = graphs.parse("P(A) P(B|A) P(C|B)")
    found = [
        graphs.implications(model, chain(np.random.default_rng(seed))).table["p"][0]
        for seed in range(200)
    ]
    assert stats.kstest(found, "uniform").pvalue > 1e-3


def test_every_pair_without_an_edge_is_tested_given_what_separates_it():
    network = graphs.textbook.structure("asia")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({v: rng.integers(0, 2, 200) for v in network.nodes})
    found = graphs.implications(network, frame)
    pairs = {frozenset(pair) for pair in zip(found.table["x"], found.table["y"], strict=True)}
    graph = graphs.as_graph(network)
    assert len(pairs) == len(found.table) == 8 * 7 // 2 - graph.size()
    for row in found.table.itertuples():
        assert graphs.independent(graph, row.x, row.y, row.given)
        for left_out in row.given:
            rest = set(row.given) - {left_out}
            assert not graphs.independent(graph, row.x, row.y, rest)


def test_a_false_graph_is_contradicted_and_told_how_often_it_was_tested():
    frame = chain(np.random.default_rng(1))
    found = graphs.implications(graphs.parse("P(A) P(C) P(B|A,C)"), frame)
    assert not found
    assert list(found.rejected()["given"]) == [()]
    assert "contradict 1 of 1 implied independences at 0.05 by Holm's" in found.explain()
    assert "A ⟂ C: p = " in found.explain()
    assert "<table" in found._repr_html_()


def test_a_node_without_a_column_is_latent():
    model = graphs.parse("P(U) P(A|U) P(B|U) P(C|A)")
    frame = chain(np.random.default_rng(2))
    found = graphs.implications(model, frame)
    assert found.untestable == (("A", "B"),)
    assert found.without_column == ("U",)
    assert found.explain().startswith("Latent, without a column: U.\n")
    assert graphs.implications(model, frame.assign(U=0.5)).without_column == ()
    assert [(row.x, row.y, row.given) for row in found.table.itertuples()] == [("B", "C", ("A",))]


def test_rows_that_lack_a_value_are_left_out_of_the_tests_that_need_it():
    frame = chain(np.random.default_rng(3), 50)
    frame.loc[:9, "B"] = np.nan
    model = graphs.parse("P(A) P(B|A) P(C|B)")
    whole = graphs.implications(model, frame.iloc[10:]).table
    assert graphs.implications(model, frame).table.equals(whole)
    assert whole["rows"][0] == 40


def test_words_are_categories_and_a_mixture_is_refused_by_name():
    rng = np.random.default_rng(4)
    model = graphs.parse("P(A) P(B)")
    words = pd.DataFrame({"A": rng.choice(["x", "y"], 60), "B": rng.integers(0, 3, 60)})
    assert graphs.implications(model, words).table["test"][0] == "g"
    words["B"] = rng.normal(size=60)
    with pytest.raises(ValueError, match="got 'A' beside 'B': cut the numbers into bins"):
        graphs.implications(model, words)
    with pytest.raises(ValueError, match="expected numbers to correlate"):
        graphs.implications(model, words, test="correlation")


def test_a_column_known_from_the_others_shows_no_dependence():
    values = np.random.default_rng(5).normal(size=(30, 3))
    for known in (2 * values[:, 2] + 1, np.full(30, 0.1), np.full(30, -1e12)):
        values[:, 0] = known
        assert correlation(values)[2] == 1.0
    for offset in (1e3, 1e6, 1e9):
        moved = values + offset
        moved[:, 0] = 2 * moved[:, 2] + 1
        assert correlation(moved)[2] == 1.0, offset


@pytest.mark.parametrize("seed", range(10))
def test_units_and_origins_do_not_matter(seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(200, 4)) @ rng.normal(size=(4, 4))
    moved = values * 10.0 ** rng.uniform(-6, 6, 4)
    moved += moved.std(0) * 10.0 ** rng.uniform(0, 8, 4)  # such as seconds of a day since 1970
    assert correlation(moved)[0] == pytest.approx(correlation(values)[0], rel=1e-4, abs=1e-4)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"data": {"A": [1]}}, "expected a pandas.DataFrame, got dict"),
        ({"test": "t"}, "expected a test among auto, g, chi2, correlation, got 't'"),
        ({"alpha": 1}, "expected a level between 0 and 1, got 1"),
        ({"data": pd.DataFrame({"A": [1.0]})}, "columns for at least two nodes"),
        ({"data": pd.DataFrame({"A": [1.5, 2], "C": [1.5, 2]})}, "at least 4 complete rows"),
        ({"data": pd.DataFrame({"A": [np.nan], "C": [1.0]})}, "got none"),
        (
            {"data": pd.DataFrame([[1.0, 2.0, 3.0]] * 9, columns=["A", "C", "A"])},
            "one column for each node, got several for 'A'",
        ),
        (
            {"data": pd.DataFrame({"A": pd.date_range("2026", periods=9), "C": 0})},
            "expected categories or numbers, got 'A' of type datetime64",
        ),
        (
            {"data": pd.DataFrame({"A": pd.to_timedelta(range(9), "h"), "C": 0})},
            "expected categories or numbers, got 'A' of type timedelta64",
        ),
    ],
)
def test_what_cannot_be_tested_is_refused(change, match):
    arguments = {"data": chain(np.random.default_rng(0))} | change
    with pytest.raises(ValueError, match=match):
        graphs.implications(graphs.parse("P(A) P(C) P(B|A,C)"), **arguments)
