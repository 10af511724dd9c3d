"""Callbacks that write metrics, and cards beside weights."""

import csv
import hashlib
import sys
from types import ModuleType
from typing import ClassVar

import numpy as np
import pytest
import torch

import ppl_gen

OPTIONS = {"batch_size": 10, "staged": False, "progress": False}


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def vae():
    return ppl_gen.zoo.vae((4,), 2, hidden=4)


def test_the_file_holds_every_step_and_later_columns(tmp_path):
    x, log = torch.rand(30, 4), ppl_gen.CSVLog(tmp_path / "run.csv")
    history = ppl_gen.fit(vae(), x, epochs=2, validation=x[:5], callbacks=[log], **OPTIONS)
    rows = read(tmp_path / "run.csv")
    assert [int(row["step"]) for row in rows] == [1, 2, 3, 4, 5, 6]
    for name, column in history.items():
        written = [float(row[name]) if row[name] else np.nan for row in rows]
        assert np.array_equal(written, column, equal_nan=True), name
    assert [path.name for path in tmp_path.iterdir()] == ["run.csv"]


def test_a_resumed_run_replaces_the_steps_it_takes_again(tmp_path):
    path = tmp_path / "run.csv"
    first = ppl_gen.CSVLog(path)
    for step in range(1, 6):
        first({"step": step, "loss": float(step)})
    second = ppl_gen.CSVLog(path)
    second({"step": 4, "loss": 40.0, "val_elbo": -1.0})
    assert [(row["step"], row["loss"], row["val_elbo"]) for row in read(path)] == [
        ("1", "1.0", ""), ("2", "2.0", ""), ("3", "3.0", ""), ("4", "40.0", "-1.0"),
    ]  # fmt: skip
    ppl_gen.CSVLog(path)({"step": 1, "loss": 7.0})
    assert [row["loss"] for row in read(path)] == ["7.0"]


@pytest.mark.parametrize("kept", range(1, 12))
def test_a_line_that_a_killed_run_left_unfinished_is_taken_again(kept, tmp_path):
    path = tmp_path / "run.csv"
    whole, last = "step,loss\r\n8,2.5\r\n9,2.25\r\n", "10,2.125\r\n"
    path.write_bytes((whole + last[:kept]).encode())
    ppl_gen.CSVLog(path)({"step": 10, "loss": 7.0})
    assert [(row["step"], row["loss"]) for row in read(path)] == [
        ("8", "2.5"), ("9", "2.25"), ("10", "7.0"),
    ]  # fmt: skip


def test_names_of_metrics_may_be_any_text(tmp_path):
    path, names = tmp_path / "run.csv", ["a,b", 'a "b"', "a\nb", "é ∂", " a ", "=a()"]
    for step in (1, 2):
        ppl_gen.CSVLog(path)({"step": step, **{name: i / step for i, name in enumerate(names)}})
    ppl_gen.CSVLog(path)({"step": 3, "a,b": float("nan"), "val": float("inf")})
    rows = read(path)
    assert [[float(row[name]) for name in names] for row in rows[:2]] == [
        [i / step for i in range(len(names))] for step in (1, 2)
    ]
    assert (rows[2]["a,b"], rows[2]["a\nb"], rows[2]["val"]) == ("nan", "", "inf")


def test_a_file_of_something_else_is_left_alone(tmp_path):
    path = tmp_path / "other.csv"
    path.write_text("name,age\nAnn,3\n")
    for step in (1, 2):
        with pytest.raises(ValueError, match="expected a CSV file with a column step"):
            ppl_gen.CSVLog(path)({"step": step, "loss": 1.0})
        assert path.read_text() == "name,age\nAnn,3\n"
    path.write_text("step,age\nAnn,3\n")
    with pytest.raises(ValueError, match="expected whole numbers in column step, got line 2 of"):
        ppl_gen.CSVLog(path)({"step": 2, "loss": 1.0})
    with pytest.raises(ValueError, match=r"expected an existing folder for run\.csv"):
        ppl_gen.CSVLog(tmp_path / "nowhere" / "run.csv")


class Writer:
    """Keeps what it is told, in the place of TensorBoard's writer of files."""

    made: ClassVar[list["Writer"]] = []

    def __init__(self, folder, purge_step):
        self.purged, self.scalars = purge_step, []
        Writer.made.append(self)

    def add_scalar(self, name, value, step):
        self.scalars.append((name, value, step))

    def flush(self):
        pass

    close = flush


def test_scalars_reach_tensorboard(tmp_path, monkeypatch):
    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    log = ppl_gen.TensorBoardLog(tmp_path, every=2)
    for step, more in ((3, {}), (4, {}), (5, {"val_elbo": -1.0})):
        log({"step": step, "loss": 0.5, **more})
    log.close()
    (writer,) = Writer.made
    assert writer.purged == 3
    assert writer.scalars == [("loss", 0.5, 4), ("loss", 0.5, 5), ("val_elbo", -1.0, 5)]


def test_the_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ImportError, match=r"expected the package tensorboard.*pip install"):
        ppl_gen.TensorBoardLog(tmp_path)


def test_events_are_read_back_by_tensorboard(tmp_path):
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    log = ppl_gen.TensorBoardLog(tmp_path)
    log({"step": 1, "loss": 0.25})
    log.close()
    events = reading.EventAccumulator(str(tmp_path))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(1, 0.25)]


# --- Cards ------------------------------------------------------------------------------------


def test_a_card_says_what_the_model_is_and_what_it_saw(tmp_path):
    model, images = ppl_gen.zoo.vae((1, 2, 2), 2, hidden=4), torch.rand(20, 1, 2, 2)
    data = ppl_gen.data.ImageSet(images).binarize("static", seed=0)
    history = ppl_gen.fit(model, data, epochs=1, **OPTIONS)
    text = ppl_gen.card(
        model, data=data, history=history, scores={"elbo, seed 0": -2.5}, notes="Drawn at random."
    )
    ppl_gen.save(model, tmp_path / "vae.pt", card=text)
    assert (tmp_path / "vae.md").read_text() == text
    digest = hashlib.sha256(data.images.numpy().tobytes()).hexdigest()
    for expected in (
        "ppl_gen.zoo.vae(data_shape=(1, 2, 2), latent_dim=2,",
        f"| SHA-256 | {digest} |",
        "| shape | 20×1×2×2 |",
        "| binarisation | static binarization |",
        "| steps | 2 |",
        f"| loss | {history['loss'][-1]:.6g} |",
        "| elbo, seed 0 | -2.5 |",
        f"| ppl-gen | {ppl_gen.__version__} |",
        "Drawn at random.",
    ):
        assert expected in text, expected


def test_the_recipe_of_a_card_builds_the_model():
    model = ppl_gen.zoo.beta_vae((4,), 2, beta=2.0, hidden=(8, 4))
    line = next(x for x in ppl_gen.card(model).splitlines() if x.startswith("ppl_gen.zoo."))
    again = eval(line, {"ppl_gen": ppl_gen})
    assert repr(again) == repr(model)
    built = ppl_gen.zoo.vae((4,), 2, encoder=torch.nn.Linear(4, 4))
    assert "Built from objects" in ppl_gen.card(built)


def test_a_card_of_something_else_is_refused():
    with pytest.raises(ValueError, match="expected a model of ppl_gen, got Linear"):
        ppl_gen.card(torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match="expected a tensor, an array or a data set"):
        ppl_gen.card(vae(), data=object())
