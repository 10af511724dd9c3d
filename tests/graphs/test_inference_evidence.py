"""Evidence by name and index, in rows and frames, with values missing; and what is refused."""

import numpy as np
import pandas as pd
import pytest
import torch

import graphs


@pytest.fixture(scope="module")
def tree():
    tables = [
        ("A", (), [0.3, 0.7]),
        ("B", ("A",), [[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]]),
        ("C", ("B",), [[0.9, 0.1], [0.5, 0.5], [0.2, 0.8]]),
    ]
    states = {"A": ("no", "yes"), "B": (2, 1, 0), "C": (False, True)}
    return graphs.JunctionTree(graphs.bayesian_network(tables, states=states))


@pytest.mark.parametrize(
    "value",
    ["yes", 1, 1.0, True, np.int64(1), np.bool_(True), np.str_("yes"), torch.tensor(1)],
)
def test_one_state_by_name_or_index(tree, value):
    answer = tree.marginals({"A": value})
    assert answer["B"].tolist() == pytest.approx([0.6, 0.3, 0.1])
    assert "A" not in answer


def test_a_name_comes_before_an_index(tree):
    """The states of B are named 2, 1, 0 in this order."""
    assert tree.states["B"] == (2, 1, 0)
    assert tree.marginals({"B": 2})["C"].tolist() == pytest.approx([0.9, 0.1])
    assert tree.marginals({"B": np.float64(0)})["C"].tolist() == pytest.approx([0.2, 0.8])
    assert tree.marginals({"C": True})["B"].shape == (3,)


@pytest.mark.parametrize(
    "column",
    [
        ["no", "yes", "no"],
        ("no", "yes", "no"),
        [0, "yes", 0.0],
        np.array([0, 1, 0]),
        np.array([False, True, False]),
        np.array(["no", "yes", "no"]),
        torch.tensor([0, 1, 0]),
        torch.tensor([False, True, False]),
        pd.Series(["no", "yes", "no"], index=[7, 8, 9]),
        pd.Series(pd.Categorical(["no", "yes", "no"])),
    ],
    ids=lambda column: f"{type(column).__name__} of {getattr(column, 'dtype', 'objects')}",
)
def test_rows_in_every_form(tree, column):
    expected = [[0.2, 0.5, 0.3], [0.6, 0.3, 0.1], [0.2, 0.5, 0.3]]
    np.testing.assert_allclose(tree.marginals({"A": column})["B"], expected, atol=1e-14)
    if len(column) == 3 and not isinstance(column, torch.Tensor):
        frame = pd.DataFrame({"A": list(column)})
        np.testing.assert_allclose(tree.marginals(frame)["B"], expected, atol=1e-14)


@pytest.mark.parametrize("missing", [None, float("nan"), np.nan, pd.NA, pd.NaT])
def test_missing_values_are_summed_over(tree, missing):
    answer = tree.marginals({"A": ["yes", missing, "no"], "C": [missing, True, True]})
    assert answer["A"].shape == (3, 2)
    assert answer["A"][0].tolist() == [0, 1]
    for row, evidence in enumerate([{"A": "yes"}, {"C": True}, {"A": "no", "C": True}]):
        alone = tree.marginals(evidence)
        for v in alone:
            torch.testing.assert_close(answer[v][row], alone[v])
    assert tree.marginals({"A": missing})["A"].tolist() == pytest.approx([0.3, 0.7])


def test_missing_values_in_numeric_frames(tree):
    frame = pd.DataFrame({"A": [1.0, np.nan, 0.0], "B": pd.array([1, None, 2], dtype="Int64")})
    answer = tree.log_partition(frame).exp()
    assert answer.tolist() == pytest.approx([0.7 * 0.3, 1.0, 0.3 * 0.2])


def test_a_state_for_all_rows_beside_rows(tree):
    answer = tree.log_partition({"A": "yes", "B": [2, 1]}).exp()
    assert answer.tolist() == pytest.approx([0.42, 0.21])


def test_a_state_named_by_a_tuple():
    states = {"A": (("left", 1), ("right", 2))}
    tree = graphs.JunctionTree(graphs.markov_network([("A", [1, 3])], states=states))
    assert tree.log_partition({"A": ("right", 2)}).exp() == pytest.approx(3)
    assert tree.log_partition({"A": [("right", 2), ("left", 1)]}).exp().tolist() == pytest.approx(
        [3, 1]
    )


def test_no_rows(tree):
    empty = {"A": []}
    assert tree.marginals(empty)["B"].shape == (0, 3)
    assert tree.log_partition(empty).shape == (0,)
    assert tree.map(empty) == {"B": [], "C": []}
    assert tree.sample(4, empty)["B"].shape == (4, 0)
    assert tree.query(["B", "C"], empty).shape == (0, 3, 2)


def test_rows_without_columns(tree):
    assert tree.marginals(pd.DataFrame(index=range(4)))["A"].shape == (4, 2)


@pytest.mark.parametrize(
    ("evidence", "message"),
    [
        ({"A": "maybe"}, r"state of 'A', one of \('no', 'yes'\).*below 2, got 'maybe'"),
        ({"A": 2}, "index below 2, got 2"),
        ({"A": -1}, "got -1"),
        ({"A": 0.5}, "got 0.5"),
        ({"A": float("inf")}, "got inf"),
        ({"A": ["no", "maybe"]}, "state of 'A' in row 1, .*got 'maybe'"),
        ({"A": np.array([0, 1, 5])}, "in row 2.*got 5"),
        ({"A": torch.tensor([0, -1])}, "in row 1.*got -1"),
        ({"A": b"yes"}, "got b'yes'"),
        ({"A": {"yes"}}, "sequence of states for 'A'"),
        ({"A": np.zeros((2, 2))}, r"one state per row for 'A', got an array of shape \(2, 2\)"),
        ({"A": [["yes"]]}, "in row 0"),
        ({"A": [0, 1], "B": [1, 2, 0]}, "as many rows for 'B' as for 'A', 2, got 3"),
        ({"Z": 1}, "nodes of the model, got 'Z'"),
        ({("A",): 1}, "nodes of the model"),
        ([("A", 1)], "dict from nodes to states or as a pandas DataFrame, got list"),
        ("A", "got str"),
        (pd.DataFrame([[0, 1]], columns=["A", "A"]), "one column per node"),
        (pd.DataFrame({"Z": [1]}), "nodes of the model, got 'Z'"),
    ],
)
def test_refused_evidence(tree, evidence, message):
    with pytest.raises(ValueError, match=message):
        tree.marginals(evidence)
    with pytest.raises(ValueError, match=message):
        tree.log_partition(evidence)


def test_evidence_is_left_as_it_was(tree):
    codes = np.array([0, 1])
    evidence = {"A": codes, "B": ["1", None][1:] * 2}
    tree.marginals(evidence)
    assert codes.tolist() == [0, 1]
    assert list(evidence) == ["A", "B"]
