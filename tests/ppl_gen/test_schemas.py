"""Schemas of tables: kept with a model, in its files too, and what reads frames for it."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from random_frames import frames

import ppl_gen
from ppl_gen import zoo
from ppl_gen.app.cli import main
from ppl_gen.data import Schema, table
from ppl_gen.models.vae import VAE
from ppl_gen.zoo import saving

QUIET = {"staged": False, "progress": False, "epochs": 1}


def animals(n=12):
    random = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "weight": random.normal(50, 5, n),
            "legs": pd.array([2, 4, None] * (n // 3), "Int64"),
            "alive": [True, False] * (n // 2),
            "size": pd.Categorical(["S", "L", "M"] * (n // 3), ["S", "M", "L"], ordered=True),
            "breed": pd.Series(["pug", None, "tabby", "pug"] * (n // 4), dtype="string"),
            7: random.normal(-3, 0.1, n).astype("f4"),
            "age": pd.cut(np.arange(n), 2),
            "sort": ["dog", "cat"] * (n // 2),
        }
    )


def trained(rows, **options):
    torch.manual_seed(0)
    vae = zoo.vae((len(rows.kinds),), 2, hidden=8, likelihood=rows.kinds, **options)
    ppl_gen.fit(vae, rows, **QUIET)
    return vae


@settings(max_examples=60, deadline=None)
@given(frame=frames())
def test_a_schema_survives_as_plain_data(frame, tmp_path_factory):
    rows = table(frame)
    path = tmp_path_factory.mktemp("schemas") / "s.pt"
    torch.save(rows.schema.stored(), path)
    schema = Schema.restored(torch.load(path, weights_only=True))
    schema.require_same(rows.schema)
    assert torch.equal(schema.transform(frame).cells.nan_to_num(), rows.cells.nan_to_num())
    expected = rows.to_frame().reset_index(drop=True)
    pd.testing.assert_frame_equal(schema.to_frame(rows.cells), expected)


@pytest.mark.parametrize("file", ["model.pt", "run.pt", "run.pt.best"])
def test_a_loaded_model_decodes_its_rows_and_reads_frames(file, tmp_path):
    frame = animals().drop(columns="age")
    rows = table(frame, {"legs": (2, 4)}, labels="sort")
    vae = zoo.vae((6,), 2, hidden=8, likelihood=rows.kinds)
    ppl_gen.fit(vae, rows, validation=rows, checkpoint=tmp_path / "run.pt", **QUIET)
    ppl_gen.save(vae, tmp_path / "model.pt")
    torch.load(tmp_path / file, weights_only=True)
    loaded = ppl_gen.load(tmp_path / file)
    found = loaded.schema.to_frame(rows.cells, rows.labels)
    pd.testing.assert_frame_equal(found, rows.to_frame())
    assert found["size"].dtype == frame["size"].dtype
    drawn = loaded.schema.to_frame(loaded.sample(20, seed=0))
    assert drawn["weight"].between(20, 80).all()
    assert set(drawn["legs"]) <= {2, 4}
    expected = vae.code(rows)
    others = frame[frame.columns[::-1]]
    assert torch.equal(vae.code(frame), expected)
    for what in (frame, others, loaded.schema.transform(frame), (frame,)):
        assert torch.equal(loaded.code(what), expected)
        np.testing.assert_array_equal(ppl_gen.embed(loaded, what), expected.numpy())
    with pytest.raises(ValueError, match=r"none called \['weight'"):
        loaded.code(frame.drop(columns="weight"))


def test_categories_that_files_do_not_know_become_text(tmp_path):
    rows = table(animals()[["age"]])
    assert isinstance(rows.categories["age"][0], pd.Interval)
    ppl_gen.save(trained(rows), tmp_path / "model.pt")
    schema = ppl_gen.load(tmp_path / "model.pt").schema
    assert schema.to_frame(rows.cells)["age"].tolist() == list(map(str, animals()["age"]))


def test_a_model_of_own_parts_has_its_schema_in_a_file_too(tmp_path):
    rows = table(animals()[["weight", "alive"]])

    def build():
        own = zoo.vae((2,), 2, hidden=8, likelihood=rows.kinds)
        return VAE(list(own.latents), own.decoder, own.likelihood, (2,))

    vae = build()
    assert repr(vae).startswith("<VAE: data 2")
    ppl_gen.fit(vae, rows, **QUIET)
    assert repr(vae).startswith("<VAE: data 2")
    ppl_gen.save(vae, tmp_path / "model.pt")
    with pytest.raises(ValueError, match="into="):
        ppl_gen.load(tmp_path / "model.pt")
    loaded = ppl_gen.load(tmp_path / "model.pt", into=build())
    loaded.schema.require_same(rows.schema)


def test_a_table_with_other_constants_means_something_else_and_is_refused():
    frame = animals()[["weight", "alive", "sort"]]
    vae = trained(table(frame))
    for change, match in (
        ({"weight": frame["weight"] * 2}, "constants of the training, mean .* in column 'weight'"),
        ({"sort": ["cow", "dog"] * 6}, "constants of the training, categories .* 'sort'"),
    ):
        other = table(frame.assign(**change))
        for use in (vae.code, lambda rows: ppl_gen.fit(vae, rows, **QUIET)):
            with pytest.raises(ValueError, match=match):
                use(other)
    renamed = table(frame.rename(columns={"weight": "mass"}))
    with pytest.raises(ValueError, match=r"columns \['weight', .* got \['mass'"):
        vae.code((renamed,))
    vae.schema = None
    ppl_gen.fit(vae, renamed, **QUIET)
    assert vae.schema.names == ("mass", "alive", "sort")


def test_files_without_a_table_have_no_schema_and_others_are_looked_at(tmp_path):
    path = tmp_path / "model.pt"
    plain = zoo.vae((2,), 1, hidden=4, likelihood=("gaussian", "bernoulli"))
    ppl_gen.fit(plain, torch.tensor([[0.5, 1.0], [math.nan, 0.0]]), **QUIET)
    ppl_gen.save(plain, path)
    assert "schema" not in saving.read(path, "model")
    assert ppl_gen.load(path).schema is None
    ppl_gen.save(trained(table(animals()[["weight"]])), path)
    payload = saving.read(path, "model")
    (column,) = payload["schema"]["columns"]
    for change in ({"dtype": "os.system"}, {"mean": "one"}, {"scale": None}, {"categories": 3}):
        payload["schema"]["columns"] = [{**column, **change}]
        saving.write(path, "model", payload)
        with pytest.raises(ValueError, match="expected a column of a table, got"):
            ppl_gen.load(path)
    payload["schema"] = {"columns": [column]}
    saving.write(path, "model", payload)
    with pytest.raises(ValueError, match="expected the columns of a table"):
        ppl_gen.load(path)


@pytest.mark.parametrize(
    ("labels", "classes", "codes"),
    [
        (["dog", "cat", None, "dog"], ("cat", "dog"), [1, 0, -1, 1]),
        ([10, 2, 2, 10], ("2", "10"), [1, 0, 0, 1]),
        ([3.0, None, 5.0, 3.0], ("3", "5"), [0, -1, 1, 0]),
        (pd.Categorical(["b", "a", "b", "a"], ["b", "c", "a"]), ("b", "c", "a"), [0, 2, 0, 2]),
        ([True, False, True, True], ("False", "True"), [1, 0, 1, 1]),
    ],
)
def test_a_column_of_labels_is_no_cell(labels, classes, codes):
    frame = pd.DataFrame({"y": labels, "a": [1.0, 2.0, 3.0, 4.0], "b": [0, 1, 1, 0]})
    rows = table(frame, labels="y")
    assert rows.names == ("a", "b")
    assert rows.classes == classes
    assert rows.labels.tolist() == codes
    assert rows.to_frame()["y"].tolist() == [None if c < 0 else classes[c] for c in codes]
    torch.manual_seed(0)
    vae = zoo.ssvae((2,), 1, hidden=4, likelihood=rows.kinds, num_classes=len(classes))
    ppl_gen.fit(vae, rows, **QUIET)
    assert vae.classes == classes
    again = vae.schema.transform(frame.drop(columns="y"))
    assert again.labels is None
    assert torch.equal(again.cells, rows.cells)


@pytest.mark.parametrize(
    ("labels", "name", "match"),
    [
        (["a", "b", "a"], "z", "column of labels among .* got 'z'"),
        ([0.5, 1.0, 2.0], "y", "text or whole numbers as labels in 'y', got 0.5"),
        ([None, None, None], "y", "labels in column 'y', got only missing ones"),
        (["a", 1, "a"], "y", "values of one type in column 'y'"),
    ],
)
def test_labels_that_are_none_are_refused(labels, name, match):
    frame = pd.DataFrame({"y": pd.Series(labels, dtype=object), "a": [1.0, 2.0, 3.0]})
    with pytest.raises(ValueError, match=match):
        table(frame, labels=name)
    with pytest.raises(ValueError, match="columns other than the labels 'a', got none"):
        table(frame[["a"]].round(), labels="a")


def csv_of(path, rows):
    path.write_text("".join(",".join(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture
def file(tmp_path):
    random = np.random.default_rng(0)
    rows = [["weight", "sort", "grade"]]
    for i in range(40):
        kind = ("cat", "dog", "cow")[i % 3]
        rows.append([f"{random.normal(50, 5):.3f}", kind, ("5", "10", "")[i % 3]])
    return csv_of(tmp_path / "animals.csv", rows)


def test_a_path_is_read_as_a_table(file):
    rows = table(file, labels="grade")
    assert (rows.names, rows.kinds, rows.classes) == (
        ("weight", "sort"),
        ("gaussian", 3),
        ("5", "10"),
    )
    assert rows.labels[:3].tolist() == [0, 1, -1]
    with pytest.raises(ValueError, match=r"a CSV file at .*no\.csv"):
        table(file.replace("animals", "no"))


@pytest.mark.parametrize(("model", "label"), [("conditional_vae", "sort"), ("ssvae", "grade")])
def test_the_command_line_is_told_the_labels(model, label, file, tmp_path, capsys):
    out = tmp_path / "run"
    small = ["--hidden", "8", "--latent-dim", "2", "--epochs", "1", "--eager", "--quiet"]
    given = ["train", model, "--data", file, "--out", str(out), *small]
    assert main([*given, "--labels", "price"]) == 2
    assert "a column of labels among" in capsys.readouterr().err
    assert main([*given, "--labels", label]) == 0
    loaded = ppl_gen.load(out / "model.pt")
    classes = {"sort": ("cat", "cow", "dog"), "grade": ("5", "10")}[label]
    assert (loaded.classes, loaded.num_classes) == (classes, len(classes))
    assert main(["sample", str(out), "-n", "6", "--out", str(out / "rows.csv")]) == 0
    drawn = pd.read_csv(out / "rows.csv", dtype={label: str})
    assert set(drawn[label]) == set(classes)
    assert set(drawn.columns) == {"weight", "sort", "grade"}
    capsys.readouterr()
    assert main(["evaluate", str(out), "--num-samples", "2"]) == 0
    assert "elbo" in capsys.readouterr().out
    assert main(["train", "vae", "--labels", "x", "--out", str(tmp_path / "o"), *small]) == 2
    assert "--labels only with a CSV file" in capsys.readouterr().err
