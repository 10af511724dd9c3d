"""Tables of one's own: kinds, standardisation, missing cells, and back to frames."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_frames import NUMBERS, frames

import ppl_gen
from ppl_gen import metrics, zoo
from ppl_gen.data import table

pytestmark = pytest.mark.usefixtures("fresh_store")


@settings(deadline=None, max_examples=60)
@given(frames())
def test_a_frame_comes_back_from_its_table(frame):
    found = table(frame)
    back = found.to_frame()
    assert list(back.columns) == list(frame.columns) == list(found.names)
    assert (found.missing.numpy() == frame.isna().to_numpy()).all()
    for (name, column), kind in zip(frame.items(), found.kinds, strict=True):
        expected = {"f": "gaussian", "i": "gaussian", "b": "bernoulli"}.get(name[0])
        known = column.notna()
        assert kind == (expected or (2 if name[0] == "c" else column[known].nunique()))
        assert back[name].isna().tolist() == column.isna().tolist()
        if kind == "gaussian":
            numbers = column[known].astype(float)
            tolerance = 1e-5 * (numbers.max() - numbers.min()) + 1e-9 * numbers.abs().max()
            error = (back[name][known].astype(float) - numbers).abs().max()
            assert error <= tolerance
        else:
            assert back[name].dtype == column.dtype
            assert back[name][known].tolist() == column[known].tolist()


@settings(deadline=None, max_examples=40)
@given(st.lists(NUMBERS, min_size=2, max_size=9, unique=True), st.integers(0, 5))
def test_standardisation_ignores_missing_cells(values, gaps):
    values = [v / 1000 for v in values]
    found = table({"a": [*values, *[math.nan] * gaps]})
    alone = table({"a": values})
    assert torch.equal(found.means, alone.means)
    assert torch.equal(found.scales, alone.scales)
    assert found.means.item() == pytest.approx(np.mean(values))
    assert found.scales.item() == pytest.approx(np.std(values))
    torch.testing.assert_close(found.tensor[: len(values)], alone.tensor)
    assert found.tensor[len(values) :].isnan().all()
    assert alone.tensor.std(correction=0).item() == pytest.approx(1, abs=1e-4)


def mixed():
    return pd.DataFrame(
        {
            "weight": [4.0, None, 30.0, 12.0],
            "sort": ["cat", "cat", "dog", None],
            "tame": [True, False, True, True],
            "legs": [4, 4, 4, 4],
            "vaccinated": [0.0, 1.0, None, 1.0],
        },
        index=list("wxyz"),
    )


def test_kinds_are_of_the_types_unless_told():
    found = table(mixed())
    assert found.kinds == ("gaussian", 2, "bernoulli", "gaussian", "bernoulli")
    assert found.categories["sort"] == ("cat", "dog")
    assert found.scales[3] == 1  # all alike
    assert found.to_frame().index.tolist() == list("wxyz")
    assert found.to_frame()["tame"].dtype == bool
    told = table(mixed(), {"legs": 6, "sort": ("dog", "cat", "owl"), "vaccinated": "gaussian"})
    assert told.kinds == ("gaussian", 3, "bernoulli", 6, "gaussian")
    assert told.tensor[:3, 1].tolist() == [1, 1, 0]
    assert told.tensor[:, 3].tolist() == [4] * 4
    assert told.to_frame()["sort"].tolist()[:3] == ["cat", "cat", "dog"]
    years = table({"year": [2001, 1999, 2001, 2024]}, ["categorical"])
    assert years.tensor[:, 0].tolist() == [1, 0, 1, 2]
    assert years.to_frame()["year"].tolist() == [2001, 1999, 2001, 2024]
    grown = table({"a": pd.Categorical(["x", "y"])}, [("x", "y", "z")])
    assert grown.to_frame(torch.tensor([[2.0]]))["a"].tolist() == ["z"]
    objects = table({"a": pd.Series([1.5, None, 3.0], dtype=object), "b": [True, None, False]})
    assert objects.kinds == ("gaussian", "bernoulli")
    assert objects.to_frame()["b"].tolist() == [True, None, False]


def test_large_numbers_keep_their_differences():
    frame = pd.DataFrame({"seconds": [1.7e9 + i for i in range(5)]})
    assert table(frame).to_frame()["seconds"].tolist() == pytest.approx(
        frame["seconds"].tolist(), abs=1e-5, rel=0
    )


def test_other_rows_have_the_constants_of_the_first():
    first = table(mixed())
    other = first.transform(mixed().iloc[[2], ::-1])
    assert other.kinds == first.kinds
    torch.testing.assert_close(other.tensor, first.tensor[2:3], equal_nan=True)
    with pytest.raises(ValueError, match="expected values among 'cat', 'dog' in column 'sort'"):
        first.transform(mixed().assign(sort="owl"))
    with pytest.raises(ValueError, match="got none called"):
        first.transform(mixed().drop(columns="sort"))


def test_models_train_on_tables():
    found = table(mixed())
    vae = zoo.vae((5,), 2, hidden=8, likelihood=found.kinds)
    history = ppl_gen.fit(vae, found, epochs=2, staged=False, progress=False)
    assert history is not None
    assert vae.code(found).shape == (4, 2)
    assert torch.equal(vae.code(found), vae.code(found.tensor))
    assert ppl_gen.embed(vae, found).shape == (4, 2)
    assert math.isfinite(metrics.elbo_terms(vae, found).elbo)
    shown = found.to_frame(vae.sample(3))
    assert set(shown["sort"]) <= {"cat", "dog"}


def test_tables_of_other_kinds_than_the_model_has_are_refused():
    found, other = table(mixed()), table(mixed(), {"sort": ("cat", "dog", "owl")})
    vae = zoo.vae((5,), 2, hidden=8, likelihood=found.kinds, num_classes=2)
    y = [0, 1, 0, 1]
    assert vae.code(found, y).shape == (4, 2)
    ppl_gen.fit(vae, (found, y), epochs=1, staged=False, progress=False)
    with pytest.raises(ValueError, match="expected a table with columns of the kinds"):
        vae.code(other, y)
    for data in ((other, y), {"x": other, "y": y}):
        with pytest.raises(ValueError, match="expected a table with columns of the kinds"):
            ppl_gen.fit(vae, data, epochs=1, staged=False, progress=False)
    plain = zoo.vae((5,), 2, hidden=8, likelihood=found.kinds)
    with pytest.raises(ValueError, match="expected a table with columns of the kinds"):
        ppl_gen.fit(plain, other, epochs=1, staged=False, progress=False)
    named = zoo.vae((1,), 2, hidden=8, likelihood=["gaussian"])
    assert named.code(pd.DataFrame({"kinds": [1.0, 2.0]})).shape == (2, 2)


@pytest.mark.parametrize(
    ("columns", "kinds", "match"),
    [
        ({}, None, "rows and columns"),
        ({"a": [math.nan, None]}, None, "expected a known cell in column 'a'"),
        ({"a": [1.0, math.inf]}, None, "finite numbers in column 'a'"),
        ({"a": ["x", 1.0]}, None, "values of one type in column 'a', got number and str"),
        ({"a": ["x", "x"]}, None, "two categories or more in column 'a'"),
        ({"a": ["x", "y"]}, ["gaussian"], "expected numbers in column 'a'"),
        ({"a": ["x", "y", "z"]}, ["bernoulli"], "expected 2 categories in column 'a', got 3"),
        ({"a": [0, 5]}, [4], "expected 4 categories in column 'a', got 2"),
        ({"a": [1.0, 2.0]}, ["poisson"], "for column 'a', got 'poisson'"),
        ({"a": [1.0, 2.0]}, [1], "for column 'a', got 1"),
        ({"a": [1.0, 2.0]}, ["gaussian"] * 2, "kinds of 1 columns"),
        ({"a": [1.0, 2.0]}, {"b": "gaussian"}, "got one of 'b'"),
        ({"a": ["x", "y"]}, [("x", "z")], "among 'x', 'z' in column 'a', got 'y'"),
        ({"a": pd.to_datetime(["2020-01-01", "2021-01-01"])}, None, "numbers in column 'a'"),
        ({"a": [1 + 2j, 3j]}, None, "numbers in column 'a'"),
        ({"a": [[1], [2]]}, None, "text or numbers in column 'a'"),
        ({"a": [1e308, -1e308]}, None, "numbers of one scale in column 'a'"),
    ],
)
def test_what_makes_no_table_is_refused_by_name(columns, kinds, match):
    with pytest.raises(ValueError, match=match):
        table(pd.DataFrame(columns), kinds)


def test_cells_that_stand_for_nothing_are_refused():
    found = table(mixed())
    with pytest.raises(ValueError, match=r"shape \(N, 5\)"):
        found.to_frame(torch.zeros(2, 4))
    with pytest.raises(ValueError, match="codes from 0 to 1 in column 'sort'"):
        found.to_frame(torch.tensor([[0.0, 0.5, 0.0, 0.0, 0.0]]))
    with pytest.raises(ValueError, match="names, got 'a' twice"):
        table(pd.DataFrame([[1.0, 2.0]], columns=["a", "a"]))
