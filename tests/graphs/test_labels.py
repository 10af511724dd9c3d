"""Tables with labels are read by them; evidence means the same before a file and after."""

import itertools

import numpy as np
import pandas as pd
import pytest

import graphs

STATES = {"A": ("yes", "no"), "B": ("yes", "no")}
DATA = pd.DataFrame(
    {"A": ["yes"] * 4 + ["no"] * 3, "B": ["no", "yes", "yes", "yes", "no", "yes", "yes"]}
)
CROSSTAB = pd.crosstab(DATA.A, DATA.B, normalize="index")


def probability(table, states=STATES):
    network = graphs.bayesian_network([("A", (), [0.5, 0.5]), ("B", "A", table)], states=states)
    names = graphs.JunctionTree(network).states["B"]
    return float(graphs.marginal(network, "B", {"A": "yes"})[names.index("yes")])


class DataArray:
    """As much of xarray's as is read."""

    dims = ("B", "A")
    coords = {"B": np.array(["no", "yes"]), "A": np.array(["no", "yes"])}  # noqa: RUF012
    values = CROSSTAB.to_numpy().T


@pytest.mark.parametrize(
    "table",
    [CROSSTAB, CROSSTAB.T, CROSSTAB.stack(), CROSSTAB.T.stack(), CROSSTAB.iloc[::-1], DataArray()],
    ids=["crosstab", "transposed", "levels", "other levels", "other order", "dims"],
)
@pytest.mark.parametrize("states", [STATES, None])
def test_axes_and_states_by_their_labels(table, states):
    assert probability(table, states) == pytest.approx(0.75)


def test_unlabelled_frames_are_read_by_position():
    assert probability(pd.DataFrame([[0.9, 0.1], [0.3, 0.7]])) == pytest.approx(0.9)


@pytest.mark.parametrize("table", [pd.Series({"no": 0.7, "yes": 0.3}), {"no": 0.7, "yes": 0.3}])
def test_one_axis(table):
    network = graphs.bayesian_network([("A", (), table)], states={"A": ("yes", "no")})
    assert network.get_cpds("A").values.tolist() == [0.3, 0.7]
    assert graphs.bayesian_network([("A", (), table)]).states == {"A": ["no", "yes"]}
    assert graphs.markov_network([("A", table)]).states == {"A": ["no", "yes"]}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (CROSSTAB.rename_axis(index=None, columns=None), "fit in several"),
        (CROSSTAB.rename(columns={"no": "nope"}), "labels for P"),
        (CROSSTAB.stack().iloc[:3], "every combination of labels once"),
        ([CROSSTAB.loc["yes"], CROSSTAB.loc["no"]], "a Series in a list"),
    ],
)
def test_labels_that_do_not_tell_are_refused(table, message):
    with pytest.raises(ValueError, match=message):
        probability(table)


def test_a_default_index_is_not_taken_for_states_in_another_order():
    with pytest.raises(ValueError, match="labels for P"):
        graphs.bayesian_network([("A", (), pd.Series([0.7, 0.3]))], states={"A": (1, 0)})


VALUES = [
    True,
    False,
    0,
    1,
    2,
    3,
    0.0,
    1.0,
    0.5,
    "1",
    "True",
    "true",
    "yes",
    "1.0",
    np.float32(0.1),
]
NAMES = [
    (True, False), (False, True), ("true", "false"), ("yes", "no"), ("a", "b"), (0, 1), (1, 0),
    ("1", "0"), (1, 2, 3), ("1", "2", "3"), (0.5, 1.5), (1.0, 0.0), (0.1, 0.2), (True, "maybe"),
    ("low", 1), ("0-1", "2-3"), ("<1", ">1"), ("True", "yes"), (2, "x", True),
]  # fmt: skip


@pytest.mark.parametrize("names", NAMES, ids=str)
@pytest.mark.parametrize("extension", ["bif", "xmlbif", "net"])
def test_a_value_means_the_same_after_a_file_or_is_refused(names, extension, tmp_path):
    prior = np.arange(1, len(names) + 1) / np.arange(1, len(names) + 1).sum()
    network = graphs.bayesian_network([("A", (), prior)], states={"A": names})
    graphs.save(network, tmp_path / f"network.{extension}")
    trees = [
        graphs.JunctionTree(m) for m in (network, graphs.load(tmp_path / f"network.{extension}"))
    ]
    for value, form in itertools.product(
        VALUES, (lambda v: v, lambda v: [v], lambda v: np.array([v]))
    ):
        found = set()
        for tree in trees:
            try:
                found.add(round(float(tree.log_partition({"A": form(value)})), 9))
            except ValueError:
                continue
        assert len(found) < 2, (names, value)


@pytest.mark.parametrize(
    ("names", "value", "index"),
    [
        ((True, False), True, 0), ((True, False), 1, None), ((False, True), 1, 1),
        (("true", "false"), True, 0), (("yes", "no"), np.bool_(False), 1), (("a", "b"), True, None),
        ((1, 2, 3), 1.0, 0), ((1, 2, 3), 0, None), (("1", "2", "3"), 1, 0), ((2, 3), 0, None),
        (("1", "2"), 1.0, 0), (("<1", ">1"), 1, 1), ((0.1, 0.2), np.float32(0.1), 0),
        (("1_1", "1_2"), 1, 1), (("1_1", "1_2"), 11, None),
        ((1, 2), "1", 0), ((1, "1"), 1, None), (("low", 1), 0, None), (("no", "yes"), 1, 1),
    ],
)  # fmt: skip
def test_what_a_value_means(names, value, index):
    tree = graphs.JunctionTree(
        graphs.markov_network([("A", np.arange(len(names)) + 1.0)], {"A": names})
    )
    if index is None:
        with pytest.raises(ValueError, match="expected a state of 'A'"):
            tree.log_partition({"A": value})
    else:
        assert float(tree.log_partition({"A": value}).exp()) == pytest.approx(index + 1)
        single = isinstance(value, np.float32)  # pandas widens the categories
        frame = pd.DataFrame({"A": np.array([value]) if single else pd.Categorical([value, None])})
        assert tree.log_partition(frame).exp()[0] == pytest.approx(index + 1)


def test_a_column_keeps_booleans_apart_from_numbers():
    tree = graphs.JunctionTree(graphs.markov_network([("A", [1, 2])], {"A": ("yes", "no")}))
    assert tree.log_partition({"A": [True, 1, 0, False]}).exp().tolist() == pytest.approx(
        [1, 2, 1, 2]
    )


@pytest.mark.parametrize("names", [(1, 2), ("true", "false"), ("1", "0"), (True, False)])
def test_a_file_that_would_change_what_a_value_means_is_refused(names, tmp_path):
    model = graphs.bayesian_network([("var_0", (), [0.3, 0.7])], states={"var_0": names})
    with pytest.raises(ValueError, match=r"of 'var_0' would come to mean"):
        graphs.save(model, tmp_path / "model.uai")


@pytest.mark.parametrize("names", [(0, 1), ("0", "1"), ("yes", "maybe", "no"), ("a", "b")])
def test_states_that_numbers_can_stand_for_are_written(names, tmp_path):
    table = [1 / len(names)] * len(names)
    model = graphs.bayesian_network([("var_0", (), table)], states={"var_0": names})
    graphs.save(model, tmp_path / "model.uai")
    assert graphs.JunctionTree(graphs.load(tmp_path / "model.uai")).states["var_0"]
