"""What the command line learns from, by name: MNIST, IDX files, folders of images, CSV files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ppl_gen.data.csv_file import read_csv, restored, stored, write_csv
from ppl_gen.data.digits import mnist
from ppl_gen.data.own import SUFFIXES, images


def named(
    source: str, binarize: Any = None, columns: Sequence[dict[str, Any]] | None = None
) -> Any:
    """Training and test data, a fifth held out where a source has no test set of its own.

    Args:
        source: ``mnist``, a folder of IDX files, one of PNG or JPEG files, or a CSV file.
        binarize: how pixels become 0 and 1.
        columns: those a model of a table was trained on.

    Raises:
        ValueError: none of these, or data that do not fit; the message says how.
    """
    path = Path(source)
    if path.suffix.lower() == ".csv":
        if binarize is not None:
            raise ValueError("expected --binarize only with images, got a table")
        return read_csv(path, None if columns is None else restored(columns))
    if columns is not None:
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
    """The images of a set, or the cells of a table."""
    from ppl_gen.models.reading import pixels_or_cells  # reading is made of models

    return pixels_or_cells(part)


def first(part: Any, n: int | None) -> tuple[Any, Any]:
    """The first data and their labels, if any."""
    return values(part)[:n], None if part.labels is None else part.labels[:n]


def told_by(part: Any, options: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """The options of a model that its data decide."""
    found: dict[str, Any] = {}
    classes = getattr(part, "classes", None)
    if classes and options.get("num_classes", 0) is None:
        found["num_classes"] = len(classes)
    if kinds := getattr(part, "kinds", None):
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


def columns(data: Any) -> dict[str, Any]:
    """What settings say of a table, nothing of images."""
    columns = getattr(data.train, "columns", None)
    return {} if columns is None else {"columns": stored(columns)}


def write_rows(path: Path, model: Any, n: int, seed: int, settings: dict[str, Any]) -> None:
    if "columns" not in settings:
        raise ValueError(
            "expected the settings.json of the run beside a model of a table, got none"
        )
    write_csv(path, model.sample(n, seed=seed), restored(settings["columns"]))
