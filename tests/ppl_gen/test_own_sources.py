"""Training from the command line on folders of pictures and CSV files."""

import csv
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import ppl_gen
from ppl_gen.app import sources
from ppl_gen.app.cli import main


def train(model, source, out, *more):
    common = ["--hidden", "8", "--latent-dim", "2", "--epochs", "1", "--eager", "--quiet"]
    return main(["train", model, "--data", str(source), "--out", str(out), *common, *more])


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Three classes of eight pictures, PNG and JPEG."""
    folder, random = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for name in ("cat", "cow", "dog"):
        (folder / name).mkdir()
        for i in range(8):
            suffix = "png" if i % 2 else "jpg"
            pixels = random.integers(0, 256, (8, 6)).astype("u1")
            Image.fromarray(pixels).save(folder / name / f"{i}.{suffix}")
    return folder


def text(rows):
    return "".join(",".join(row) + "\n" for row in rows)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    random = np.random.default_rng(0)
    rows = [["weight", "alive", "sort"]]
    for i in range(40):
        weight = "" if i % 7 == 0 else f"{random.normal(50, 5):.3f}"
        rows.append([weight, ["0", "1", ""][i % 3], ["cat", "dog", "cow", "", "dog"][i % 5]])
    path = tmp_path_factory.mktemp("tables") / "animals.csv"
    path.write_text(text(rows))
    return path


def test_pictures_in_subfolders_bring_the_number_and_names_of_classes(pictures, tmp_path, capsys):
    out = tmp_path / "run"
    assert train("conditional_vae", pictures, out) == 0
    model = ppl_gen.load(out / "model.pt")
    assert (model.data_shape, model.num_classes) == ((1, 8, 6), 3)
    assert model.classes == ("cat", "cow", "dog")
    assert main(["sample", str(out), "-n", "3"]) == 0
    capsys.readouterr()
    assert main(["evaluate", str(out), "--num-samples", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 5
    assert train("conditional_vae", pictures, tmp_path / "two", "--num-classes", "2") == 2
    assert "classes" in capsys.readouterr().err


def test_pictures_without_subfolders_have_no_labels(pictures, tmp_path, capsys):
    flat = tmp_path / "flat"
    shutil.copytree(pictures / "cat", flat)
    assert train("vae", flat, tmp_path / "run", "--binarize", "threshold") == 0
    assert (tmp_path / "run" / "reconstructions.png").exists()
    assert train("ssvae", flat, tmp_path / "classes") == 0
    assert train("conditional_vae", flat, tmp_path / "other") == 2
    assert "data with labels for conditional_vae, got none" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_pictures_of_several_sizes_and_colours(pictures, tmp_path, capsys):
    odd = tmp_path / "odd"
    shutil.copytree(pictures / "cat", odd)
    Image.new("L", (9, 9)).save(odd / "z.png")
    assert train("vae", odd, tmp_path / "run") == 2
    assert "images of one size, (8, 6) as 0.jpg, got (9, 9) in" in capsys.readouterr().err
    Image.new("RGB", (6, 8), (200, 0, 0)).save(odd / "z.png")
    assert train("vae", odd, tmp_path / "run") == 0
    assert ppl_gen.load(tmp_path / "run" / "model.pt").data_shape == (3, 8, 6)


def test_a_table_is_trained_sampled_evaluated_and_resumed(table, tmp_path, capsys):
    out = tmp_path / "run"
    assert train("vae", table, out) == 0
    model = ppl_gen.load(out / "model.pt")
    assert model.likelihood.complete.kinds == ("gaussian", "bernoulli", 3)
    assert main(["sample", str(out), "-n", "5", "--out", str(out / "rows.csv")]) == 0
    names, *rows = list(csv.reader((out / "rows.csv").read_text().splitlines()))
    assert names == ["weight", "alive", "sort"]
    assert len(rows) == 5
    for weight, alive, sort in rows:
        assert 20 < float(weight) < 80
        assert alive in ("0", "1")
        assert sort in ("cat", "cow", "dog")
    capsys.readouterr()
    assert main(["evaluate", str(out), "--num-samples", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["images"] == 8
    assert "binarization" not in found
    whole = tmp_path / "whole"
    assert train("vae", table, whole, "--epochs", "2") == 0
    assert train("vae", table, out, "--epochs", "2", "--resume") == 0
    one, other = (ppl_gen.load(f / "model.pt").state_dict() for f in (whole, out))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_other_rows_are_read_with_the_constants_of_the_training(table, tmp_path, capsys):
    out, other = tmp_path / "run", tmp_path / "other.csv"
    assert train("vae", table, out) == 0
    schema = ppl_gen.load(out / "model.pt").schema
    other.write_text("sort,weight,alive\n" + "dog,60,1\n" * 10)
    split = sources.named(str(other), schema=schema)
    expected = (60 - schema.columns[0].mean) / schema.columns[0].scale
    assert split.test.cells[0].tolist() == pytest.approx([expected, 1.0, 2.0])
    assert main(["evaluate", str(out), "--data", str(other), "--num-samples", "2"]) == 0
    other.write_text("sort,weight,alive\n" + "horse,60,1\n" * 10)
    assert main(["evaluate", str(out), "--data", str(other)]) == 2
    error = capsys.readouterr().err
    assert "expected values among 'cat', 'cow', 'dog' in column 'sort', got 'horse'" in error
    assert main(["evaluate", str(out), "--data", "mnist"]) == 2
    assert "a CSV file for a model of a table, got mnist" in capsys.readouterr().err


def test_cells_are_those_of_the_file(table):
    """Every row, decoded, is a row of the file; training rows are standardised."""
    split = sources.read_csv(table)
    known = list(csv.reader(table.read_text().splitlines()))[1:]
    frames = [part.to_frame() for part in split]
    found = [
        ["" if w != w else f"{w:.3f}", "" if a != a else str(int(a)), s or ""]
        for frame in frames
        for w, a, s in frame.itertuples(index=False)
    ]
    assert sorted(found) == sorted(known)
    weights = split.train.cells[:, 0]
    weights = weights[~weights.isnan()]
    assert weights.mean().item() == pytest.approx(0, abs=1e-5)
    assert weights.std(correction=0).item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("a,b\n1,2\n3\n", "2 cells in every line of .*, got 1 in line 3"),
        ("a,b\n1,2,3\n", "2 cells in every line of .*, got 3 in line 2"),
        ("a,a\n1,2\n", "different names of columns"),
        ("1,2\n3,4\n5,6\n", "different names of columns in the first line of .*, got '1', '2'"),
        ("a,\n1,2\n", "different names of columns"),
        ("a\n", "names of columns and rows"),
        ("", "names of columns and rows"),
        ("a\n1\nx\n2\n", "numbers or text in column 'a', got both, 'x' say"),
        ("a\n1\nnan\n2\n", "numbers or text in column 'a', got both, 'nan' say"),
        ("a\n1\ninf\n2\n", "finite numbers in column 'a', got infinity"),
        ("a,b\n1,x\n2,x\n3,x\n", "two categories or more in column 'b', got .'x'"),
        ("a,b\n1,\n2,\n3,\n", "a known cell in column 'b', got only missing ones"),
        ("a\n1\n2\n", "at least 3 rows"),
        ('a\n"1\n', "a CSV file in UTF-8"),
    ],
)
def test_a_file_that_is_no_table_is_refused(content, match, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(content)
    with pytest.raises(ValueError, match=match):
        sources.read_csv(path)


def test_what_does_not_go_with_a_table_is_refused(table, tmp_path, capsys):
    for model, more, match in [
        ("vae", ["--likelihood", "gaussian"], "no --likelihood with a table"),
        ("vae", ["--binarize", "static"], "--binarize only with images"),
        ("conditional_vae", [], "data with labels for conditional_vae"),
        ("vae", ["--network", "conv"], "images"),
    ]:
        assert train(model, table, tmp_path / "run", *more) == 2
        assert match in capsys.readouterr().err
        assert not (tmp_path / "run").exists()
    assert main(["train", "vae", "--data", str(tmp_path / "no.csv"), "--out", "x"]) == 2
    assert "no.csv" in capsys.readouterr().err
