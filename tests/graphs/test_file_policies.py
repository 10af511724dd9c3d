"""Rows of files that are rounded, noisy, counted, missing or impossible."""

import re
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from network_files import BIF, DSC, NET, UAI, XDSL, XML

import graphs
from graphs.parameters.tables import rounding_slack

SETTINGS = settings(max_examples=60, deadline=None, derandomize=True)
SOURCES = {
    ".bif": (BIF, "0.05, 0.95", ", "),
    ".net": (NET, "0.05 0.95", " "),
    ".xmlbif": (XML, "0.05 0.95", " "),
    ".uai": (UAI.replace("2 3", "2 2").replace("\n6\n", "\n4\n"), "0.1 0.2 0.7", " "),
    ".xdsl": (XDSL, "0.9 0.1", " "),
}
SOURCES[".uai"] = (SOURCES[".uai"][0].replace(" 0.3 0.3 0.4", " 0.5 0.5"), "0.1 0.2 0.7", " ")
PLACES = {".uai": "at var_0=0", ".xdsl": "at oil=dry, rig=a"}


def written(extension, words, tmp_path):
    """A file with the numbers of one row replaced."""
    text, row, separator = SOURCES[extension]
    assert row in text
    path = tmp_path / f"n{extension}"
    path.write_text(text.replace(row, separator.join(words), 1))
    return path


def first_row(model):
    """The replaced row, found by the last table with parents' first states."""
    cpd = next(c for c in model.get_cpds() if len(c.variables) > 1)
    return cpd.values.reshape(cpd.values.shape[0], -1)[:, 0]


@pytest.fixture(params=sorted(SOURCES))
def extension(request):
    return request.param


@pytest.mark.parametrize(
    "words",
    [("0.074074", "0.92593"), ("0.270811", "0.72919"), ("0.5", "5E-1"), ("0.123456", "0.876543")],
)
def test_rounding_to_each_numbers_last_digit_is_kept_as_written(extension, words, tmp_path):
    model = graphs.load(written(extension, words, tmp_path))
    assert first_row(model).tolist() == [float(word) for word in words]
    graphs.JunctionTree(model)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("0.0740740", "0.925930"), r"1\.0000040 \(4e-06 more than one\)"),
        (("0.50000", "0.50010"), r"1\.000100 \(0\.0001 more than one\)"),
        (("0.99", "0.02"), r"1\.01"),
        (("3", "1"), "a sum of 4"),
    ],
)
def test_more_than_rounding_is_refused_with_the_deviation(extension, words, message, tmp_path):
    path = written(extension, words, tmp_path)
    place = PLACES.get(extension, "at asia=yes")
    with pytest.raises(ValueError, match=message) as caught:
        graphs.load(path)
    assert place in str(caught.value)
    assert "normalize=True" in str(caught.value)


def test_rows_within_a_tolerance_are_rescaled_and_named(extension, tmp_path):
    path = written(extension, ("0.5", "0.52"), tmp_path)
    with pytest.raises(ValueError, match="sum to one"):
        graphs.load(path, tolerance=0.019)
    place = re.escape(PLACES.get(extension, "at asia=yes"))
    with pytest.warns(UserWarning, match=rf"{place} rescaled from a sum of 1\.02"):
        model = graphs.load(path, tolerance=0.021)
    assert first_row(model) == pytest.approx([0.5 / 1.02, 0.52 / 1.02], abs=1e-15)


def test_single_precision_noise_is_refused_unless_tolerated(extension, tmp_path):
    path = written(extension, ("-1.1920929e-07", "1.0000001"), tmp_path)
    with pytest.raises(ValueError, match=r"non-negative probabilities.*tolerance="):
        graphs.load(path)
    for options in ({"tolerance": 1e-6}, {"normalize": True}):
        with pytest.warns(UserWarning, match="just below zero taken as zero"):
            model = graphs.load(path, **options)
        assert first_row(model).tolist() == [0, 1]
    with pytest.raises(ValueError, match="non-negative"):
        graphs.load(path, tolerance=1e-8)


@pytest.mark.parametrize(
    ("extension", "text", "row", "at"),
    [(".bif", BIF, "  (no) 0.01, 0.99;\n", "asia=no"),
     (".dsc", DSC.replace("default : 0.7, 0.3;", "(1, 1) : 0.7, 0.3; (0, 2) : 0, 1;"),
      "(0, 1) : 0.8, 0.2;", "oil=dry, rig=b")],
)  # fmt: skip
def test_rows_that_a_file_lacks_are_filled_where_asked(extension, text, row, at, tmp_path):
    assert row in text
    whole, path = tmp_path / f"whole{extension}", tmp_path / f"n{extension}"
    whole.write_text(text)
    path.write_text(text.replace(row, ""))
    with pytest.raises(ValueError, match=r"expected the row \(.*; normalize=True fills such rows"):
        graphs.load(path)
    with pytest.warns(UserWarning, match=f"{at} filled uniformly$"):
        model = graphs.load(path, normalize=True)
    changed = [
        (a.values != b.values).sum()
        for a, b in zip(model.get_cpds(), graphs.load(whole).get_cpds(), strict=True)
    ]
    assert sum(changed) == 2
    assert (model.get_cpds()[-1].values == 0.5).sum() == 2


def test_a_table_too_large_to_be_filled_is_refused(tmp_path):
    many = "".join(
        f"variable v{i} {{ type discrete [ 9 ] {{ 0,1,2,3,4,5,6,7,8 }}; }}\n" for i in range(9)
    )
    path = tmp_path / "n.bif"
    path.write_text(many + "probability (v0 | v1,v2,v3,v4,v5,v6,v7,v8) { }")
    with pytest.raises(ValueError, match="a default for at most 16777216 cells, got 387420489"):
        graphs.load(path, normalize=True)


def test_counts_and_missing_rows_are_normalized_and_named(extension, tmp_path):
    with pytest.warns(UserWarning, match="rescaled from a sum of 4"):
        model = graphs.load(written(extension, ("3", "1"), tmp_path), normalize=True)
    assert first_row(model).tolist() == [0.75, 0.25]
    for words in (("NaN", "NaN"), ("0", "0")):
        with pytest.raises(ValueError, match=r"normalize=True fills such rows uniformly"):
            graphs.load(written(extension, words, tmp_path))
        with pytest.warns(UserWarning, match="filled uniformly"):
            model = graphs.load(written(extension, words, tmp_path), normalize=True)
        assert first_row(model).tolist() == [0.5, 0.5]
    for words in (("NaN", "1"), ("-1", "2"), ("inf", "1"), ("1e308", "1e308")):
        with pytest.raises(ValueError, match="expected"):
            graphs.load(written(extension, words, tmp_path), normalize=True, tolerance=0.1)


def test_a_valid_file_is_read_alike_and_silently_whatever_the_policy(extension, tmp_path):
    path = written(extension, ("0.05", "0.95"), tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        models = [graphs.load(path), graphs.load(path, normalize=True, tolerance=0.5)]
    tables = [[c.values.tolist() for c in model.get_cpds()] for model in models]
    assert tables[0] == tables[1]


@pytest.mark.parametrize("tolerance", [-0.1, 1, float("nan"), True, "0.1"])
def test_tolerances_are_checked(tolerance, tmp_path):
    with pytest.raises(ValueError, match="a tolerance from 0 to below 1"):
        graphs.load(tmp_path / "n.bif", tolerance=tolerance)
    with pytest.raises(ValueError, match="normalize to be True or False"):
        graphs.load(tmp_path / "n.bif", normalize=1)


@SETTINGS
@given(
    weights=st.lists(st.floats(0.001, 1), min_size=2, max_size=6),
    decimals=st.lists(st.integers(3, 9), min_size=6, max_size=6),
)
def test_any_row_rounded_number_by_number_loads_as_it_is(weights, decimals, tmp_path_factory):
    row = np.array(weights) / sum(weights)
    words = [f"{p:.{d}f}" for p, d in zip(row, decimals, strict=False)]
    off = abs(sum(map(float, words)) - 1)
    states = ", ".join(f"s{i}" for i in range(len(words)))
    path = tmp_path_factory.getbasetemp() / "row.bif"
    path.write_text(
        f"variable a {{ type discrete [ {len(words)} ] {{ {states} }}; }}\n"
        f"probability ( a ) {{ table {', '.join(words)}; }}\n"
    )
    if off > rounding_slack(words):  # two numbers rounded at their very middle
        return
    assert graphs.load(path).get_cpds("a").values.tolist() == [float(word) for word in words]


# --- Rows of zeros ------------------------------------------------------------------------------

COPIES = """BAYES
4
2 2 2 2
4
1 0
2 0 1
3 0 1 2
2 2 3
2 {prior}
4 1 0 0 1
8 0.5 0.5 {first} 0 0 0.25 0.75
4 0.1 0.9 0.2 0.8
"""


def test_rows_of_zeros_given_impossible_states_load_as_they_are(tmp_path):
    path = tmp_path / "n.uai"
    path.write_text(COPIES.format(prior="0.4 0.6", first="0 0"))
    model = graphs.load(path)
    table = model.get_cpds("var_2").values
    assert table[:, 0, 1].tolist() == table[:, 1, 0].tolist() == [0, 0]
    marginals = graphs.JunctionTree(model).marginals()
    assert marginals["var_2"].tolist() == pytest.approx([0.35, 0.65])
    assert graphs.marginal(model, "var_3").tolist() == pytest.approx([0.165, 0.835])
    graphs.save(model, tmp_path / "copy.uai")
    again = graphs.load(tmp_path / "copy.uai")
    assert again.get_cpds("var_2").values.tolist() == table.tolist()


@pytest.mark.parametrize(
    "functions",
    [
        "1 0\n2 0 1\n2 3 1\n4 .5 .5 .5 .5",
        "1 0\n2 0 1\n2 .5 .5\n4 0 0 .5 .5",
        "1 0\n2 1 0\n2 .5 .5\n4 1 0 0 1",
        "2 1 0\n2 0 1\n4 1 0 0 1\n4 1 0 0 1",
    ],
)
def test_factors_in_a_uai_file_of_distributions_are_told_from_counts(functions, tmp_path):
    """Where ``normalize=True`` would give another distribution, the message says so."""
    path = tmp_path / "n.uai"
    path.write_text(f"BAYES\n2\n2 2\n2\n{functions}\n")
    with pytest.raises(ValueError, match=r"line \d+: .*factors.* begins with MARKOV"):
        graphs.load(path)
    path.write_text(path.read_text().replace("BAYES", "MARKOV"))
    assert len(graphs.load(path).get_factors()) == 2


@st.composite
def sparse_networks(draw):
    """Tables of few positive entries over four binary variables, some rows of zeros."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    tables = []
    for i in range(4):
        array = rng.integers(0, 2, size=(2,) * (i + 1)) * rng.integers(0, 2, size=(2,) * (i + 1))
        array = array.astype(float)
        array /= np.maximum(array.sum(axis=-1, keepdims=True), 1)
        tables.append(array)
    if not tables[0].any():
        tables[0][0] = 1
    return tables


@SETTINGS
@given(tables=sparse_networks())
def test_rows_of_zeros_are_refused_exactly_where_they_are_possible(tables, tmp_path_factory):
    joint = np.ones(())
    possible = False
    for array in tables:
        possible |= bool(((joint > 0) & ~array.any(axis=-1)).any())
        joint = joint[..., None] * array
    lines = ["BAYES", "4", "2 2 2 2", "4"]
    lines += [f"{i + 1} {' '.join(map(str, range(i + 1)))}" for i in range(4)]
    lines += [f"{a.size} {' '.join(map(repr, a.ravel().tolist()))}" for a in tables]
    path = tmp_path_factory.getbasetemp() / "sparse.uai"
    path.write_text("\n".join(lines))
    if possible:
        with pytest.raises(
            ValueError, match=r"line \d+: .*a sum of 0 in .*which are possible|line"
        ):
            graphs.load(path)
        return
    model = graphs.load(path)
    marginals = graphs.JunctionTree(model).marginals()
    axes = {v: tuple(j for j in range(4) if j != v) for v in range(4)}
    for v in range(4):
        assert marginals[f"var_{v}"].tolist() == pytest.approx(joint.sum(axis=axes[v]).tolist())
