"""Callbacks that write what a run measures: a CSV file, a folder for TensorBoard."""

from __future__ import annotations

import csv
import io
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class CSVLog:
    """A callback that writes a row of metrics for every step to a CSV file.

    The file is complete after every step, so a run can be watched while it goes on. A metric that
    comes later, such as those of the first validation, adds a column, which is empty in the rows
    before. A run that is resumed goes on below the rows of the steps before its first: those of
    steps that it takes again are replaced, and all of them where it starts anew.

    Args:
        path: the file; its folder exists.

    Raises:
        ValueError: a folder that is not there, or a file that holds something else.

    >>> log = ppl_gen.CSVLog("run.csv")
    >>> vae, x = ppl_gen.zoo.vae((4,), 2, hidden=8), torch.zeros(100, 4)
    >>> _ = ppl_gen.fit(
    ...     vae, x, epochs=2, batch_size=50, callbacks=[log], staged=False, progress=False
    ... )
    >>> import pandas
    >>> list(pandas.read_csv("run.csv")["step"])
    [1, 2, 3, 4]
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        if not self.path.parent.is_dir():
            raise ValueError(
                f"expected an existing folder for {self.path.name}, got {self.path.parent}"
            )
        self._columns: list[str] | None = None

    def __call__(self, metrics: Mapping[str, float]) -> None:
        row: dict[str, Any] = {**metrics, "step": int(metrics["step"])}
        if self._columns is None or not row.keys() <= set(self._columns):
            self._rewrite(self._rows_before(row["step"]), row)
        with self.path.open("a", encoding="utf-8", newline="") as file:
            csv.DictWriter(file, self._columns or [], restval="").writerow(row)

    def _rows_before(self, step: int) -> list[dict[str, str]]:
        """The rows of the file that steps from this one on do not replace.

        A last line without its end is of a writer that was killed, and taken again.
        """
        text = self._text()
        reader = csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1], newline=""))
        if text and "step" not in (reader.fieldnames or ()):
            raise ValueError(f"expected a CSV file with a column step, got {self.path}")
        try:
            return [row for row in reader if int(row["step"]) < step]
        except (TypeError, ValueError):
            raise ValueError(
                f"expected whole numbers in column step, got line {reader.line_num} of {self.path}"
            ) from None

    def _text(self) -> str:
        if not self.path.is_file():
            return ""
        with self.path.open(encoding="utf-8", newline="") as file:
            return file.read()

    def _rewrite(self, rows: list[dict[str, str]], row: Mapping[str, Any]) -> None:
        """Write rows under columns that a new row has too; the old file stays until then."""
        names = dict.fromkeys(["step", *(rows[0] if rows else ()), *(self._columns or ()), *row])
        self._columns = list(names)
        partial = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}")
        try:
            with partial.open("x", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, self._columns, restval="")
                writer.writeheader()
                writer.writerows(rows)
            os.replace(partial, self.path)
        finally:
            partial.unlink(missing_ok=True)


class TensorBoardLog:
    """A callback that writes every metric as a scalar for TensorBoard.

    A run that is resumed purges the events of steps that it takes again.

    Args:
        folder: where TensorBoard looks, made where it is missing.
        every: steps between writings; steps with a validation are always written.

    Raises:
        ImportError: the package ``tensorboard``, which writes the files, is not installed.
        ValueError: ``every`` below one.

    >>> ppl_gen.TensorBoardLog("runs/vae", every=0)
    Traceback (most recent call last):
        ...
    ValueError: expected every >= 1, got 0
    """

    def __init__(self, folder: str | os.PathLike[str], every: int = 1):
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise ValueError(f"expected every >= 1, got {every!r}")
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ImportError(
                "expected the package tensorboard, which writes the files, got none: "
                "pip install tensorboard"
            ) from error
        self.folder, self.every = Path(folder), every
        self._make = SummaryWriter
        self._writer: SummaryWriter | None = None

    def __call__(self, metrics: Mapping[str, float]) -> None:
        step = int(metrics["step"])
        if self._writer is None:
            self._writer = self._make(str(self.folder), purge_step=step)
        validated = any(name.startswith("val_") for name in metrics)
        if step % self.every and not validated:
            return
        for name, value in metrics.items():
            if name != "step":
                self._writer.add_scalar(name, value, step)
        if validated:
            self._writer.flush()

    def close(self) -> None:
        """Write what is left, and close the files."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
