"""One conditional table, evidence, likelihoods and answers in all the forms that label them."""

import itertools

import numpy as np
import pandas as pd
import pytest

import graphs

STATES = {"A": ("yes", "no"), "C": ("low", "mid", "high"), "B": ("on", "off")}
P_A, P_C = np.array([0.2, 0.8]), np.array([0.5, 0.3, 0.2])
P_B = np.array([[0.9, 0.4, 0.3], [0.15, 0.6, 0.75]])
P_B = np.stack([P_B, 1 - P_B], -1)
SERIES = pd.Series(
    P_B.ravel(), pd.MultiIndex.from_product([STATES[v] for v in "ACB"], names=list("ACB"))
)
ROWS = SERIES.unstack("B")
JOINT = P_A[:, None, None] * P_C[:, None] * P_B
REVERSED = [STATES[v][::-1] for v in "ACB"]


class DataArray:
    """As much of xarray's as is read."""

    def __init__(self, dims, labelled="ACB"):
        self.dims = tuple(dims)
        self.values = P_B.transpose(["ACB".index(d) for d in dims])
        self.coords = {d: np.array(STATES[d]) for d in dims if d in labelled}
        for side, d in enumerate(dims):
            if d in labelled:  # the other way round
                self.values = np.flip(self.values, side)
                self.coords[d] = self.coords[d][::-1]


class Reindexed(DataArray):
    """Its coordinates are arrays with values, as xarray's are."""

    def __init__(self, dims):
        super().__init__(dims)
        self.coords = {d: pd.Series(c) for d, c in self.coords.items()}


def network(table, parents=("A", "C"), states=STATES):
    entries = [("A", (), P_A), ("C", (), P_C), ("B", parents, table)]
    return graphs.bayesian_network(entries, states=states)


def held(model):
    """The table of B given A and C, whatever its order."""
    cpd = model.get_cpds("B")
    order = [[cpd.state_names[v].index(s) for s in STATES[v]] for v in cpd.variables]
    values = cpd.values[np.ix_(*order)]
    return values.transpose([cpd.variables.index(v) for v in "ACB"])


def stacked(names, columns):
    """A frame whose columns are labelled by some variables, its rows by the others."""
    index = [v for v in names if v not in columns]
    return SERIES.reorder_levels([*index, *columns]).unstack(list(columns))


TABLES = {
    **{f"levels {''.join(o)}": SERIES.reorder_levels(o) for o in itertools.permutations("ACB")},
    **{f"columns {c}": stacked("ACB", c) for c in ("B", "A", "C", "AC", "CA", "AB", "BC")},
    **{f"transposed {c}": stacked("ACB", c).T for c in ("B", "AC", "CB")},
    **{f"dims {''.join(o)}": DataArray(o) for o in itertools.permutations("ACB")},
    "coordinates as arrays": Reindexed("CBA"),
    "shuffled levels": SERIES.sample(frac=1, random_state=3),
    "shuffled rows": ROWS.sample(frac=1, random_state=1),
    "sorted": SERIES.sort_index(),
    "unnamed rows and columns": ROWS.rename_axis(columns=None).rename_axis(index=[None, None]),
    "one name": ROWS.rename_axis(columns=None).rename_axis(index=[None, "C"]),
    "unnamed levels": SERIES.sort_index().rename_axis(index=[None, None, None]),
    "other names": SERIES.rename_axis(index=["first", "second", "third"]),
    "categories": SERIES.rename_axis(index=list("ACB"))
    .groupby(level=[2, 0, 1], sort=False)
    .first(),
    "text labels": ROWS.set_axis(ROWS.columns.astype("string"), axis=1).rename_axis(columns="B"),
    "categorical columns": ROWS.set_axis(
        pd.CategoricalIndex(ROWS.columns, categories=["off", "on"], ordered=True, name="B"), axis=1
    ),
    "permuted categories": SERIES.set_axis(
        pd.MultiIndex.from_frame(
            pd.DataFrame(
                {
                    v: pd.Categorical(SERIES.index.get_level_values(v), STATES[v][::-1])
                    for v in "ACB"
                }
            )
        )
    ).sort_index(),
    "from a long frame": SERIES.rename("p").reset_index().set_index(["B", "C", "A"])["p"],
    "a pivot": SERIES.rename("p").reset_index().pivot_table("p", index=["C"], columns=["B", "A"]),
    "a frame of one column's levels": SERIES.reindex(
        pd.MultiIndex.from_product(REVERSED, names=list("ACB"))
    ),
}


@pytest.mark.parametrize("parents", [("A", "C"), ("C", "A")])
@pytest.mark.parametrize("name", TABLES)
def test_every_labelled_form_is_the_same_table(name, parents):
    assert np.array_equal(held(network(TABLES[name], parents)), P_B)


NAMELESS = {"unnamed rows and columns", "one name", "unnamed levels", "other names"}


@pytest.mark.parametrize("name", sorted(NAMELESS))
def test_axes_without_names_and_states_are_refused(name):
    with pytest.raises(ValueError, match=r"axes named 'A', 'C', 'B' .* several; index\.name"):
        network(TABLES[name], states=None)


@pytest.mark.parametrize("name", sorted(TABLES.keys() - NAMELESS))
def test_labels_tell_the_states_where_nothing_else_does(name):
    assert np.array_equal(held(network(TABLES[name], states=None)), P_B)


COUNTS = pd.DataFrame({"A": ["yes"] * 4 + ["no"] * 6, "B": list("ttftfffftt")}).replace(
    {"B": {"t": "on", "f": "off"}}
)


class Frame:
    """A frame of another library than pandas, which arrays lose the names of."""

    columns = ("off", "on")

    def __init__(self, rows):
        self.rows = np.array(rows)

    def __array__(self, dtype=None, copy=None):
        return self.rows


class Line:
    """One labelled dimension, as xarray has it."""

    dims = ("C",)

    def __init__(self, labels, values):
        self.coords = {"C": np.array(labels)}
        self.values = np.array(values)
        self.shape = self.values.shape

    def __len__(self):
        return len(self.values)

    def __array__(self, dtype=None, copy=None):
        return self.values


REFUSED = {
    "a frame of another library": (Frame([[0.1, 0.9], [0.6, 0.4]]), "got a Frame of"),
    "margins": (pd.crosstab(COUNTS.A, COUNTS.B, margins=True, normalize="index"), "'All'|states"),
    "margins of counts": (pd.crosstab(COUNTS.A, COUNTS.B, margins=True), "'All'|states"),
    "counts": (pd.crosstab(COUNTS.A, COUNTS.B), "sum to one"),
    "a joint table": (pd.crosstab(COUNTS.A, COUNTS.B, normalize="all"), "sum to one"),
    "the other conditional": (pd.crosstab(COUNTS.A, COUNTS.B, normalize="columns"), "sum to one"),
    "another state": (ROWS.xs("low", level="C").rename(columns={"on": "On"}), "labels for P"),
    "another variable's axis": (ROWS.xs("yes", level="A"), "one named 'C'"),
    "a row too few": (ROWS.xs("low", level="C").iloc[:1], "labels for P"),
    "a row twice": (ROWS.xs("low", level="C").iloc[[0, 0]], "every combination of labels once"),
    "rows of dicts": ({"yes": {"on": 0.9}, "no": {"on": 0.1}}, "array of numbers"),
    "a list of dicts": ([{"on": 0.9, "off": 0.1}, {"on": 0.5, "off": 0.5}], "a dict in a list"),
    "one axis": (pd.Series({"on": 0.3, "off": 0.7}), "2 axes for P"),
    "a missing cell": (ROWS.xs("low", level="C").mask(ROWS.xs("low", level="C") > 0.8), "nan"),
    "text cells": (ROWS.xs("low", level="C").astype(str).map("about {}".format), "numbers for P"),
    "intervals": (ROWS.xs("low", level="C").set_axis(pd.interval_range(0, 2)), "labels for P"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_tables_that_are_no_conditional_ones_are_refused(name):
    table, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        network(table, "A")


@pytest.mark.parametrize(
    "table",
    [pd.crosstab(COUNTS.A, COUNTS.B, normalize="index"),
     COUNTS.groupby("A").B.value_counts(normalize=True),
     COUNTS.groupby("A").B.value_counts(normalize=True).unstack(),
     COUNTS.assign(on=COUNTS.B.eq("on"), off=COUNTS.B.eq("off")).pivot_table(["off", "on"], "A"),
     pd.crosstab(COUNTS.B, COUNTS.A, normalize="columns")],
    ids=["crosstab", "value counts", "unstacked", "pivot table", "columns of a crosstab"],
)  # fmt: skip
def test_frequencies_of_data_are_read_as_pandas_counts_them(table):
    cpd = network(table, "A").get_cpds("B")
    on = cpd.values[cpd.state_names["B"].index("on")]
    assert on[cpd.state_names["A"].index("yes")] == pytest.approx(0.75)
    assert on[cpd.state_names["A"].index("no")] == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    "prior",
    [COUNTS.A.value_counts(normalize=True), COUNTS.A.value_counts(normalize=True, ascending=True),
     pd.Series([0.4, 0.6], pd.CategoricalIndex(["yes", "no"])), {"no": 0.6, "yes": 0.4}],
)  # fmt: skip
def test_a_prior_by_its_labels(prior):
    model = graphs.bayesian_network([("A", (), prior)], states={"A": STATES["A"]})
    assert model.get_cpds("A").values.tolist() == pytest.approx([0.4, 0.6])


# --- Evidence, likelihoods and answers ------------------------------------------------------------

TREE = graphs.JunctionTree(network(SERIES))
LIKELY = {"low": 0.5, "mid": 0.0, "high": 2.0}


def posterior(observed, likely=()):
    """P(A | observed) by enumeration, the likelihood of C beside it."""
    table = JOINT * (np.array([LIKELY[s] for s in STATES["C"]])[:, None] if likely else 1)
    for side, v in enumerate("ACB"):
        if observed.get(v) is not None:
            one_hot = np.array([s == observed[v] for s in STATES[v]])
            table = table * one_hot.reshape([-1 if i == side else 1 for i in range(3)])
    table = table.sum((1, 2))
    return table / table.sum()


CASES = [("on", "low"), ("off", "high"), ("on", None)]
FRAME = pd.DataFrame(CASES, columns=["B", "C"])
EVIDENCE = {
    "frame": FRAME,
    "columns turned": FRAME[["C", "B"]],
    "another index": FRAME.set_axis([7, 7, -1]),
    "categories": FRAME.astype("category"),
    "categories in another order": FRAME.apply(
        lambda c: c.astype(pd.CategoricalDtype(["x", *STATES[c.name][::-1]], ordered=True))
    ),
    "dict of categoricals": {v: pd.Categorical(FRAME[v]) for v in "BC"},
    "dict of series": {v: FRAME[v].set_axis([2, 1, 0]) for v in "BC"},
    "pandas text": FRAME.astype("string"),
    "dict of lists": FRAME.to_dict("list"),
    "dict of tuples": {v: tuple(FRAME[v]) for v in "BC"},
    "arrays": {v: FRAME[v].to_numpy() for v in "BC"},
    "dimensions": {v: Line([0, 1, 2], FRAME[v].to_numpy()) for v in "BC"},
}


@pytest.mark.parametrize("name", EVIDENCE)
def test_rows_of_evidence_in_every_form(name):
    found = TREE.marginals(EVIDENCE[name])["A"].numpy()
    expected = [posterior({"B": b, "C": c}) for b, c in CASES]
    assert np.allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize(
    "evidence",
    [pd.Series({"B": "on", "C": "low"}), pd.Series({"C": "low", "B": "on"}, dtype="category"),
     FRAME.iloc[0], {"B": np.str_("on"), "C": "low"}, {"B": 0, "C": np.int8(0)},
     {"B": pd.Categorical(["on"])[0], "C": "low"}, {"B": Line([], "on"), "C": np.array("low")}],
)  # fmt: skip
def test_one_row_of_evidence_in_every_form(evidence):
    assert TREE.marginals(evidence)["A"].numpy() == pytest.approx(
        posterior({"B": "on", "C": "low"})
    )


@pytest.mark.parametrize(
    ("evidence", "message"),
    [
        (list(FRAME.itertuples(index=False)), "as a dict from nodes to states"),
        (FRAME.to_dict("records"), "as a dict from nodes to states"),
        (FRAME.rename(columns={"B": "b"}), "nodes of the model, got 'b'"),
        (pd.concat([FRAME, FRAME], axis=1), "one column per node"),
        (FRAME.set_axis(pd.MultiIndex.from_tuples([("B", "B"), ("C", "C")]), axis=1), "nodes of"),
        (FRAME.assign(B="On"), "a state of 'B' in row 0"),
        ({"B": pd.Categorical(["on", "of"]), "C": ["low", "low"]}, "a state of 'B' in row 1"),
        ({"B": FRAME}, "one state per row for 'B'"),
        ({"B": {"on": 1}}, "a state or a sequence"),
        (pd.Series(["on", "off"], ["B", "B"]), "one value per node"),
        ({"B": ["on", "off"], "C": ["low"]}, "as many rows"),
        ({"B": pd.Interval(0, 1)}, "a state of 'B'"),
        ({"B": pd.Timestamp(0)}, "a state of 'B'"),
    ],
)
def test_what_is_no_evidence_is_refused_by_name(evidence, message):
    with pytest.raises(ValueError, match=message):
        TREE.marginals(evidence)


LIKELIHOODS = {
    "array": list(LIKELY.values()),
    "names": LIKELY,
    "names turned": dict(reversed(LIKELY.items())),
    "series": pd.Series(LIKELY),
    "sorted series": pd.Series(LIKELY).sort_index(),
    "categories": pd.Series(LIKELY.values(), pd.CategoricalIndex(LIKELY, list(LIKELY)[::-1])),
    "another scale": {state: 1e-300 * value for state, value in LIKELY.items()},
    "a dimension": Line(["high", "low", "mid"], [2, 0.5, 0]),
    "small integers": np.array([1, 0, 4], np.int8),
}


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_a_likelihood_in_every_form(name):
    found = TREE.marginals({"B": "on"}, likelihoods={"C": LIKELIHOODS[name]})
    assert found["A"].numpy() == pytest.approx(posterior({"B": "on"}, True), abs=1e-12)


@pytest.mark.parametrize(
    "rows",
    [[list(LIKELY.values()), [1, 1, 1]], pd.DataFrame([LIKELY, dict.fromkeys(LIKELY, 1)]),
     pd.DataFrame([LIKELY, dict.fromkeys(LIKELY, 1)])[["high", "low", "mid"]],
     {state: [value, 1] for state, value in LIKELY.items()}],
)  # fmt: skip
def test_rows_of_likelihoods_in_every_form(rows):
    found = TREE.marginals({"B": ["on", "off"]}, likelihoods={"C": rows})["A"].numpy()
    expected = [posterior({"B": "on"}, True), posterior({"B": "off"})]
    assert np.allclose(found, expected, atol=1e-12)
    alone = TREE.marginals({"B": "on"}, likelihoods={"C": rows})["A"].numpy()
    assert np.allclose(alone, [expected[0], posterior({"B": "on"})], atol=1e-12)


@pytest.mark.parametrize(
    ("likelihood", "message"),
    [
        ({"low": 1, "mid": 1}, "each state of 'C'"),
        (Frame([[0.1, 0.2, 0.3]]), "got a Frame of"),
        ([pd.Series(LIKELY)], "a Series in a list"),
        ([LIKELY, LIKELY], "a dict in a list"),
        (Line(["low", "mid"], [1, 1]), "one dimension labelled by the states of 'C'"),
        (DataArray("ACB"), "one dimension labelled by the states of 'C'"),
        ({"low": 1, "mid": 1, "High": 1}, "each state of 'C'"),
        (pd.Series(LIKELY).rename({"mid": "low"}), "each state of 'C'|every combination"),
        ([1, 1], "3 likelihoods for 'C'"),
        ([0, 0, 0], "positive for some state"),
        ([[1, 1, 1], [0, 0, 0]], "positive for some state of 'C' in row 1"),
        ([1, -1, 1], "zero or more"),
        ([1, float("nan"), 1], "finite"),
        ("low", "numbers"),
        (pd.DataFrame({"low": [1], "mid": [1]}), "each state of 'C'"),
    ],
)
def test_what_is_no_likelihood_is_refused_by_name(likelihood, message):
    with pytest.raises(ValueError, match=message):
        TREE.marginals({"B": "on"}, likelihoods={"C": likelihood})


@pytest.mark.parametrize("nodes", ["A", ["A"], ("C", "A"), {"A", "C"}, None])
@pytest.mark.parametrize("likely", [False, True])
def test_the_best_states_agree_with_enumeration(nodes, likely):
    given = {"C": LIKELY} if likely else None
    found = TREE.map({"B": "off"}, nodes, likelihoods=given)
    table = JOINT[..., 1] * (np.array(list(LIKELY.values())) if likely else 1)
    wanted = {"A", "C"} if nodes is None else set(nodes)
    sums = table.sum(tuple(i for i, v in enumerate("AC") if v not in wanted), keepdims=True)
    best = np.unravel_index(sums.argmax(), sums.shape)
    assert found == {v: STATES[v][i] for v, i in zip("AC", best, strict=True) if v in wanted}


def test_equally_good_states_are_broken_the_same_way_every_time():
    even = graphs.bayesian_network([("A", (), [0.5, 0.5]), ("B", "A", [[0.5, 0.5], [0.5, 0.5]])])
    answers = [graphs.JunctionTree(even).map(nodes=nodes) for nodes in (None, ["A", "B"]) * 3]
    assert all(answer == answers[0] for answer in answers)
    rows = graphs.JunctionTree(even).map({"A": [0, 0, 1]}, nodes="B")["B"]
    assert len(set(rows)) == 1


@pytest.mark.parametrize(
    ("evidence", "nodes", "message"),
    [({"B": "on"}, "B", "'B'"), ({}, [], "node"), ({}, ["A", "A"], "'A'"), ({}, "Z", "'Z'"),
     ({"B": ["on", None]}, "B", "'B'")],
)  # fmt: skip
def test_best_states_of_what_is_not_to_be_found_are_refused(evidence, nodes, message):
    with pytest.raises(ValueError, match=message):
        TREE.map(evidence, nodes)


def test_the_table_names_every_state_of_every_row():
    table = TREE.table(FRAME, likelihoods={"A": {"no": 1, "yes": 3}})
    assert table.index.name == "row"
    for row, given in enumerate(CASES):
        part = table.loc[row]
        found = part[part.node == "A"].set_index("state").probability
        expected = posterior(dict(zip("BC", given, strict=True))) * [3, 1]
        assert found[list(STATES["A"])].tolist() == pytest.approx(expected / expected.sum())
    sums = table.groupby(["row", "node"]).probability.sum()
    assert sums.tolist() == pytest.approx([1] * len(sums))


@pytest.mark.parametrize("states", [(True, False), (2, 1), ((0, 1), (1, 0)), ("2", "10"), (0.5, 1)])
def test_the_table_holds_states_as_they_are(states):
    model = graphs.bayesian_network([("A", (), [0.25, 0.75])], states={"A": states})
    table = graphs.JunctionTree(model).table()
    assert [(type(s), s) for s in table.state] == [(type(s), s) for s in states]
    assert table.probability.tolist() == [0.25, 0.75]
