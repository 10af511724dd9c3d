"""What a model is given, from whatever a user has: the tensors its programs take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ppl_gen.data.tables import Table
from ppl_gen.data.tensors import (
    as_column,
    as_tensor,
    encode_labels,
    is_frame,
    is_text,
    parts_of,
)

Batch = tuple[Tensor, ...]


class Reader:
    """Turns data into the positional arguments of a model.

    For a :class:`ppl_gen.VAE` these are the data, in the type of its weights, and its condition;
    dictionaries have the keys ``x`` and ``y``, and ``c`` for covariates beside labels. Any other
    model is given what there is; the keys of a dictionary are the names of its arguments.

    Args:
        model: whose arguments; nothing in particular by default.
        learn: whether the model takes over the names of classes that data have.

    Attributes:
        names: the keys of the dictionaries read, if any, in the order of the tensors given out.
        conditional: whether the model takes a condition.
    """

    names: tuple[str, ...]

    def __init__(self, model: Any = None, *, learn: bool = False):
        self.model, self.learn, self.names = model, learn, ()
        # a generative model, known by what it is asked for here: data know no model
        self.vae = model if hasattr(model, "condition") and hasattr(model, "data_shape") else None
        self.conditional = self.vae is not None and self.vae.condition.size > 0
        self.partial = self.vae is not None and self.vae.condition.partial
        self.dtype = None if self.vae is None else self.vae.like.dtype

    def tensors(self, data: Any) -> Batch:
        """The tensors of data in memory: a tensor, array, frame or list, several, or a set of them.

        Raises:
            ValueError: something else, or what cannot be turned into numbers.
        """
        data = self._in_units(data)
        classes = getattr(data, "classes", None)
        if isinstance(found := pixels_or_cells(data), Tensor):
            self._require_kinds(data)
            labels = getattr(data, "labels", None)
            if self.conditional and labels is None and not self.partial:
                raise ValueError(
                    "expected a data set with labels for a conditional model, got none"
                )
            self._learn(labels, classes)
            self._learn_schema(data)
            with_labels = self.conditional and labels is not None
            return self.batch((found, labels) if with_labels else found)
        if isinstance(data, (str, bytes, Dataset)) or not _holds_numbers(data):
            raise ValueError(
                "expected a tensor, array, frame or list of numbers, a tuple or dictionary of "
                "these, a data set with .images or .cells, a torch Dataset or a DataLoader, got "
                f"{type(data).__name__}"
            )
        _, parts = parts_of(data)
        if not parts:
            raise ValueError("expected data, got none: programs are given them as their arguments")
        self._learn(parts[1] if len(parts) > 1 else None)
        tensors = self.batch(data)
        self._learn_schema(data["x"] if isinstance(data, Mapping) and "x" in data else parts[0])
        return tensors

    def batch(self, batch: Any) -> Batch:
        """The tensors of one batch, such as a ``DataLoader`` gives."""
        names, parts = parts_of(batch)
        if self.vae is None:
            self._take(names)
            return tuple(self._any(part, i) for i, part in enumerate(parts))
        if names:
            parts = _by_name(batch)
        if not parts:
            raise ValueError("expected data, got none")
        self._require_all_read(parts)
        self._require_kinds(parts[0])
        x = self._data(parts[0])
        if not self.conditional:
            return (x, *(self._any(part, i) for i, part in enumerate(parts[1:], 1)))
        return (x, *self._condition(parts[1:]))

    def condition_apart(self, x: Any, y: Any) -> tuple[Tensor, Any]:
        """All data in memory and their condition, given apart."""
        assert self.vae is not None
        self._require_kinds(x)
        found = pixels_or_cells(x)
        return self._data(x if found is None else found), self.vae.condition.tensor(y)

    def _require_all_read(self, parts: tuple[Any, ...]) -> None:
        """Raise ``ValueError`` for parts that the programs of a VAE would never see."""
        if not (self.conditional or hasattr(self.vae, "guide")):
            return  # its own losses are given all
        assert self.vae is not None
        pair = self.vae.condition.num_classes and self.vae.condition.num_covariates
        wanted = "data, labels and covariates" if pair else "data and their condition"
        if len(parts) > (3 if pair else 2):
            raise ValueError(f"expected {wanted} at most, got {len(parts)} parts: leave out others")

    def _require_kinds(self, data: Any) -> None:
        """Raise ``ValueError`` for a table with columns that are not the model's."""
        likelihood = getattr(self.vae, "likelihood", None)
        own = getattr(getattr(likelihood, "complete", likelihood), "kinds", None)
        given = getattr(data, "kinds", None)  # of a frame, it would be a column
        if own is not None and isinstance(given, tuple) and given != own:
            raise ValueError(f"expected a table with columns of the kinds {own}, got {given}")
        known = getattr(self.vae, "column_kinds", None)
        if known and isinstance(given, tuple) and not set(given) <= set(known):
            raise ValueError(f"expected a table with columns of numbers alone, got {given}")
        if isinstance(data, Table) and self.vae is not None and self.vae.schema is not None:
            self.vae.schema.require_same(data.schema)

    def _learn_schema(self, data: Any) -> None:
        """Take over what the columns of a table are."""
        if self.learn and self.vae is not None and isinstance(data, Table):
            self.vae.schema = data.schema

    def _in_units(self, part: Any) -> Any:
        """A frame as the table that the model knows, if it knows one."""
        if self.vae is None or self.vae.schema is None or not is_frame(part):
            return part
        return self.vae.schema.transform(part)

    def _take(self, names: tuple[str, ...]) -> None:
        if self.names and names != self.names:
            raise ValueError(
                f"expected the keys {', '.join(self.names)} in every batch, got {', '.join(names)}"
            )
        self.names = names

    def _data(self, part: Any) -> Tensor:
        """The first argument of a VAE; numbers of a table that is no tensor become its type."""
        tensor = as_tensor(self._in_units(part))
        table = self.vae is not None and len(self.vae.data_shape) == 1
        if tensor.is_floating_point() or (table and not isinstance(part, Tensor)):
            return tensor.to(self.dtype)
        return tensor

    def _learn(self, labels: Any, classes: tuple[str, ...] | None = None) -> None:
        """Take over the names of the classes of labels that are all there are."""
        if not self.learn or self.model is None or (self.vae is not None and not self.conditional):
            return
        labels = as_column(labels)
        if classes is None and labels is not None and is_text(labels):
            _, classes = encode_labels(labels, getattr(self.model, "classes", None))
        if classes and self.vae is None:
            self.model.classes = tuple(classes)
        elif classes and self.vae is not None and self.vae.num_classes:
            self.vae.name_classes(classes)

    def _any(self, part: Any, position: int) -> Tensor:
        """An argument of any model; text stands for codes by name."""
        if position and is_text(labels := as_column(part)):
            return encode_labels(labels, getattr(self.model, "classes", None))[0]
        tensor = as_tensor(part)
        return tensor.to(self.dtype) if tensor.is_floating_point() else tensor

    def _condition(self, parts: tuple[Any, ...]) -> Batch:
        assert self.vae is not None
        condition = self.vae.condition
        if not parts:
            return ()
        pair = condition.num_classes and condition.num_covariates and len(parts) > 1
        y = condition.tensor(parts[:2] if pair else parts[0])
        return (y.to(self.dtype) if condition.num_covariates else y,)


def pixels_or_cells(data: Any) -> Tensor | None:
    """The images of a set of images, or the cells of a table of :mod:`ppl_gen.data`."""
    for name in ("images", "cells"):
        if isinstance(found := getattr(data, name, None), Tensor):
            return found
    return None


def _holds_numbers(data: Any) -> bool:
    return (
        isinstance(data, (Tensor, list, tuple, Mapping))
        or is_frame(data)
        or hasattr(data, "__array__")
    )


def _by_name(batch: Mapping[str, Any]) -> tuple[Any, ...]:
    """The parts of a dictionary in the order of a VAE's arguments."""
    order = [name for name in ("x", "y", "c") if name in batch]
    if "x" not in batch or len(order) < len(batch):
        raise ValueError(
            "expected the keys x, y for a condition and c for covariates along with labels, got "
            f"{', '.join(map(str, batch))}"
        )
    return tuple(batch[name] for name in order)


def require_in_order(loader: DataLoader[Any]) -> None:
    """Raise ``ValueError`` for a loader that shuffles its data."""
    shuffles = isinstance(loader.sampler, torch.utils.data.RandomSampler)
    if shuffles or isinstance(loader.sampler, torch.utils.data.WeightedRandomSampler):
        raise ValueError(
            "expected a DataLoader in the order of its data, got one that shuffles: pass its "
            "dataset"
        )
