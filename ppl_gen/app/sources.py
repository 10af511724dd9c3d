"""What the command line learns from, by name: MNIST, IDX files, folders of images, CSV files."""

from __future__ import annotations

import inspect
import os
from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ppl_gen.data import captions
from ppl_gen.data.csv_file import read_frame, write_frame
from ppl_gen.data.digits import mnist
from ppl_gen.data.image_set import ImageSet
from ppl_gen.data.own import SUFFIXES, images
from ppl_gen.data.streams import Unpaired
from ppl_gen.data.tables import Schema, Table, fit_schema
from ppl_gen.models.conditions import Captions

TEST_FRACTION = 0.2
INVERTED = "inverted"  # every other image of the first source, with its grey levels inverted


class TableSplit(NamedTuple):
    """Training and test rows."""

    train: Table
    test: Table


class UnpairedSplit(NamedTuple):
    """Training and test data of two kinds without pairs."""

    train: Unpaired
    test: Unpaired


def unpaired(split: Any, second: str, binarize: Any = None) -> UnpairedSplit:
    """Two sources without pairs.

    Args:
        split: training and test data of the first.
        second: a source, or ``inverted`` for every other image of the first, inverted.
        binarize: how pixels of the second become 0 and 1.

    Raises:
        ValueError: a table to be inverted, or what :func:`named` refuses.
    """
    table = isinstance(split.train, Table)
    if second != INVERTED:
        other = named(second, binarize, split.train.schema if table else None)
        return UnpairedSplit(*map(Unpaired, split, other))
    if table:
        raise ValueError("expected --data2 with a table, which cannot be inverted, got none")
    halves = ((part.subset(slice(i, None, 2)) for i in range(2)) for part in split)
    return UnpairedSplit(*(Unpaired(a, inverted(b)) for a, b in halves))


def inverted(images: ImageSet) -> ImageSet:
    """The images with black for white."""
    found = images.intensities
    return replace(
        images,
        images=1 - images.images,
        name=f"inverted {images.name}",
        intensities=None if found is None else 1 - found,
    )


def named(
    source: str, binarize: Any = None, schema: Schema | None = None, labels: str | None = None
) -> Any:
    """Training and test data, a fifth held out where a source has no test set of its own.

    Args:
        source: ``mnist``, a folder of IDX files, one of PNG or JPEG files, or a CSV file.
        binarize: how pixels become 0 and 1.
        schema: of the table that a model was trained on.
        labels: the column of a CSV file that holds labels.

    Raises:
        ValueError: none of these, or data that do not fit; the message says how.
    """
    path = Path(source)
    if path.suffix.lower() == ".csv":
        if binarize is not None:
            raise ValueError("expected --binarize only with images, got a table")
        return read_csv(path, schema, labels)
    if labels is not None:
        raise ValueError(f"expected --labels only with a CSV file, got {source}")
    if schema is not None:
        raise ValueError(f"expected a CSV file for a model of a table, got {source}")
    if source != "mnist" and path.is_dir() and _holds_images(path):
        return images(path, binarize=binarize).split()
    if source != "mnist" and path.is_file():
        raise ValueError(f"expected mnist, a folder or a CSV file, got {source}")
    return mnist("embedded" if source == "mnist" else source, binarize=binarize)


def _holds_images(folder: Path) -> bool:
    """Whether a folder has pictures and no IDX files, which come first."""
    if any(folder.glob("*-ubyte*")):
        return False
    return any(path.suffix.lower() in SUFFIXES for path in folder.rglob("*"))


def values(part: Any) -> Any:
    """The images of a set, or the cells of a table; of two sets the first's."""
    from ppl_gen.data.reading import pixels_or_cells  # reading is made of models

    return pixels_or_cells(part.a if isinstance(part, Unpaired) else part)


def first(part: Any, n: int | None, model: Any = None) -> tuple[Any, Any]:
    """The first data and their labels, if any, or what else a model is told of them."""
    y = part.labels if model is None else condition(model, part)
    return values(part)[:n], None if y is None else y[:n]


def condition(model: Any, part: Any) -> Any:
    """The labels of a set, or captions of its digits for a model that is told those."""
    if not isinstance(model.condition, Captions):
        return part.labels
    return model.condition.tensor(captions(values(part), part.labels))


def given(model: Any, part: Any) -> Any:
    """A set as a model is trained on it."""
    told = isinstance(model.condition, Captions)
    return (values(part), condition(model, part)) if told else part


def told_by(part: Any, options: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """The options of a model that its data decide."""
    found: dict[str, Any] = {}
    classes = getattr(part, "classes", None)
    if classes and options.get("num_classes", 0) is None:
        found["num_classes"] = len(classes)
    if (kinds := getattr(part, "kinds", None)) and "likelihood" in defaults:
        if options["likelihood"] != defaults["likelihood"]:
            raise ValueError(
                "expected no --likelihood with a table, whose columns have one each, got "
                f"{options['likelihood']}"
            )
        found["likelihood"] = kinds
    return found


def require_labels(model: Any, part: Any) -> None:
    if model.condition.size and part.labels is None and not model.condition.partial:
        raise ValueError(f"expected data with labels for {model.recipe.name}, got none")


def read_csv(
    path: str | os.PathLike[str],
    schema: Schema | None = None,
    labels: str | None = None,
    seed: int = 0,
) -> TableSplit:
    """The rows of a CSV file, shuffled, a fifth of them held out; see :func:`read_frame`.

    Args:
        path: the file.
        schema: of another table, whose columns this one must have; by default as it shows, with
            the means and scales of the training rows.
        labels: the name of the column of labels.
        seed: of the split.

    Raises:
        ValueError: a file that is no table, or too few rows.
    """
    frame = read_frame(path)
    order = np.random.default_rng(seed).permutation(len(frame))
    held_out = round(TEST_FRACTION * len(frame))
    if not 0 < held_out < len(frame):
        raise ValueError(f"expected at least 3 rows in {path}, got {len(frame)}")
    test, train = order[:held_out], order[held_out:]
    if schema is None:
        schema = fit_schema(frame, label=labels, rows=train)
    return TableSplit(*(schema.transform(frame.iloc[rows]) for rows in (train, test)))


def sampling(model: Any, arguments: Any) -> dict[str, Any]:
    """How a model is to sample, from the options of the command line that were given.

    Raises:
        ValueError: options that it does not have.
    """
    options = {name: getattr(arguments, name) for name in ("steps", "sampler", "guidance")}
    found = {name: value for name, value in options.items() if value is not None}
    known = inspect.signature(model.sample).parameters
    if unknown := [name for name in found if name not in known]:
        raise ValueError(f"expected no --{unknown[0]} for {model.recipe.name}, which has none")
    return found


def told(
    model: Any, labels: Sequence[str] | None, captions: Sequence[str] | None, n: int
) -> Tensor | None:
    """What n samples are given of labels or captions in turn, or ``None`` where there are none.

    Raises:
        ValueError: what the model does not know or take.
    """
    asked = {"label": labels, "caption": captions}
    given = {name: words for name, words in asked.items() if words is not None}
    if not given:
        return None
    condition = model.condition
    named = bool(condition.num_classes) and not condition.num_covariates
    taken = ["caption"] if isinstance(condition, Captions) else ["label"] * named
    if list(given) != taken:
        wanted = f"--{taken[0]} alone" if taken else "no --label or --caption"
        found = " and ".join(f"--{name}" for name in given)
        raise ValueError(f"expected {wanted} for {model.recipe.name}, got {found}")
    words = list(islice(cycle(given[taken[0]]), max(n, 0)))
    if labels is None:
        return condition.tensor(words)
    return torch.tensor([_label(condition, word) for word in words])


def _label(condition: Any, word: str) -> int:
    names = condition.classes or ()
    if word in names:
        return names.index(word)
    if not word.isdigit() or int(word) >= condition.num_classes:
        named = f" or among {', '.join(names)}" if names else ""
        raise ValueError(f"expected labels below {condition.num_classes}{named}, got {word!r}")
    return int(word)


def write_rows(
    path: Path, model: Any, n: int, seed: int, given: Any = None, y: Any = None, **how: Any
) -> None:
    """Draws of a model of a table in the units of its data, for labels or every class in turn.

    A model that translates is given the rows ``given`` instead.

    Raises:
        ValueError: a model that knows no table.
    """
    if model.schema is None:
        raise ValueError("expected a model that was trained on a table, got one without columns")
    if given is not None:
        write_frame(model.schema.to_frame(model.translate(given[:n])), path)
        return
    labels = model.condition.examples(n) if y is None else y
    named = labels if model.schema.classes else None
    write_frame(model.schema.to_frame(model.sample(n, labels, seed=seed, **how), named), path)
