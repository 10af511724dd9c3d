"""The codes of any amount of data, as an array."""

from __future__ import annotations

from typing import Any

import numpy as np

from ppl_gen._checks import is_whole
from ppl_gen._exclusive import exclusive
from ppl_gen._random import preserved
from ppl_gen._store import unregistered
from ppl_gen.data.batches import as_batches, data_and_condition
from ppl_gen.data.reading import Reader
from ppl_gen.models.vae import VAE, require_vae


def embed(model: VAE, data: Any, labels: Any = None, *, batch_size: int = 512) -> np.ndarray:
    """The codes of data, ``(N, Z)``: the last latent at the posterior means.

    One batch at a time, in evaluation mode and without gradients; the model is left as it was.

    Args:
        model: a VAE.
        data: whatever :func:`ppl_gen.fit` takes, in its own order.
        labels: the condition of a conditional model, where it is not part of the data.
        batch_size: rows at a time; a ``DataLoader`` keeps its own.

    Raises:
        ValueError: another model, data it cannot be given, a ``DataLoader`` that shuffles, or
            another thread that trains.

    >>> vae = ppl_gen.zoo.vae((4,), 2, hidden=8)
    >>> ppl_gen.embed(vae, [[0.0, 1.0, 0.0, None]]).shape
    (1, 2)
    """
    require_vae(model)
    if not is_whole(batch_size, 1):
        raise ValueError(f"expected batch_size >= 1, got {batch_size!r}")
    source = data if labels is None else data_and_condition(model, data, labels)
    batches = as_batches(source, batch_size, 0, reader=Reader(model))
    with exclusive("embed", training=False), unregistered(), preserved():
        found = [model.code(*batch[:2]).cpu().numpy() for batch in batches.in_order()]
    if not found:
        raise ValueError("expected data, got none")
    return np.concatenate(found)
