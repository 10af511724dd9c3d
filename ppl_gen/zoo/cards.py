"""A card beside saved weights: what a model is, what it was trained on, and how good it is."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyro
import torch

import ppl_gen
from ppl_gen.evaluation.batched import binarization
from ppl_gen.models.base import GenerativeModel
from ppl_gen.training.history import History


def card(
    model: GenerativeModel,
    *,
    data: Any = None,
    history: History | None = None,
    scores: Mapping[str, Any] | None = None,
    notes: str = "",
) -> str:
    """A model card as Markdown, for :func:`ppl_gen.save` to write beside the weights.

    Args:
        model: what is saved.
        data: what it was trained on: a tensor, an array, or a data set of :mod:`ppl_gen.data`;
            described by shape, binarisation and the SHA-256 of its numbers.
        history: of its training; the last metrics are listed.
        scores: measured on other data, by name; a name may say which seed and how many samples.
        notes: what else should be known, such as the licence of the data.

    Raises:
        ValueError: something that is no model of :mod:`ppl_gen`, or data without numbers.

    >>> vae, x = ppl_gen.zoo.beta_vae((4,), 2, beta=2.0, hidden=8), torch.zeros(6, 4)
    >>> text = ppl_gen.card(vae, data=x, scores={"elbo, seed 0": -3.25})
    >>> [line for line in text.splitlines() if line.startswith("#")]
    ['# beta_vae', '## Recipe', '## Data', '## Scores']
    >>> print(text.splitlines()[-1])
    | elbo, seed 0 | -3.25 |
    """
    if not isinstance(model, GenerativeModel):
        raise ValueError(f"expected a model of ppl_gen, got {type(model).__name__}")
    recipe = model.recipe
    name = (recipe and recipe.name) or type(model).__name__
    parts = [f"# {name}", f"`{model!r}`", "## Recipe", _recipe(model)]
    if data is not None:
        parts += ["## Data", _table(_described(data))]
    if history is not None:
        last = {key: values[-1] for key, values in history.items()}
        parts += ["## Training", _table({"steps": history.steps, **last})]
    if scores:
        parts += ["## Scores", _table(scores)]
    if notes:
        parts += ["## Notes", notes]
    return "\n\n".join(parts) + "\n"


def _recipe(model: GenerativeModel) -> str:
    versions = {
        "ppl-gen": ppl_gen.__version__,
        "torch": torch.__version__,
        "pyro-ppl": pyro.__version__,
    }
    recipe = model.recipe
    if recipe is None or recipe.name is None or recipe.obstacle is not None:
        text = "Built from objects: `ppl_gen.load(path, into=model)` takes the weights."
    else:
        arguments = ", ".join(f"{name}={value!r}" for name, value in recipe.arguments.items())
        text = f"```python\nppl_gen.zoo.{recipe.name}({arguments})\n```"
    return f"{text}\n\n{_table(versions)}"


def _described(data: Any) -> dict[str, Any]:
    """Shape, binarisation and digest of data."""
    values = data
    for attribute in ("images", "cells"):
        values = getattr(values, attribute, values)
    try:
        array = np.ascontiguousarray(torch.as_tensor(values).cpu().numpy())
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"expected a tensor, an array or a data set of images or cells, got "
            f"{type(data).__name__}"
        ) from error
    found = {
        "shape": "×".join(map(str, array.shape)),
        "type": str(array.dtype),
        "SHA-256": hashlib.sha256(array.tobytes()).hexdigest(),
    }
    return found | ({"binarisation": binarization(data)} if array.ndim == 4 else {})


def _table(rows: Mapping[str, Any]) -> str:
    lines = (f"| {name} | {_shown(value)} |" for name, value in rows.items())
    return "\n".join(["| | |", "| --- | --- |", *lines])


def _shown(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
