"""What every metric does first: check its input, and run the model without disturbing anything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyro
import torch
from torch import Tensor

from ppl_gen._checks import is_whole
from ppl_gen._exclusive import exclusive
from ppl_gen._modes import evaluating, seeded
from ppl_gen._store import unregistered
from ppl_gen.data.batches import as_batches, data_and_condition, gathered, regrouped
from ppl_gen.data.reading import Batch, Reader, pixels_or_cells
from ppl_gen.models.vae import VAE, require_vae
from ppl_gen.objectives.terms import Terms, terms


def binarization(images: Any) -> str:
    """How the pixels were made binary: what a data set says, or what the pixels show.

    >>> grey = ppl_gen.data.ImageSet(torch.full((5, 1, 2, 2), 0.5))
    >>> ppl_gen.metrics.binarization(grey.binarize("static", seed=0))
    'static binarization'
    >>> ppl_gen.metrics.binarization(torch.tensor([[[[0.0, 1.0]]]]))
    'binary pixels'
    """
    pixels = images if isinstance(images, Tensor) else _pixels(images)
    return named_binarization(images, None if pixels is None else is_binary(pixels))


def named_binarization(images: Any, binary: bool | None) -> str:
    """What a data set says of its pixels, or a name for what they are."""
    stated = getattr(images, "binarization", None)
    if stated is None:  # of a loader or subset
        stated = getattr(getattr(images, "dataset", None), "binarization", None)
    if stated not in (None, "none"):
        return f"{stated} binarization"
    if binary is None:
        return "unstated binarization"
    return "binary pixels" if binary else "grey pixels"


def is_binary(pixels: Tensor) -> bool:
    return bool(((pixels == 0) | (pixels == 1)).all())


def _pixels(data: Any) -> Tensor | None:
    """The data themselves, where they are in memory."""
    if (held := pixels_or_cells(data)) is not None:
        return held
    first = data[0] if isinstance(data, tuple) else data
    try:
        return Reader().tensors(first)[0]
    except ValueError:
        return None


def terms_of(vae: VAE, x: Tensor, y: Tensor | None, particles: int) -> Terms:
    """The terms of a batch."""
    return terms(vae.model, vae.guide, (x, y), particles=particles)


def require_density(terms: Terms) -> None:
    """Raise ``ValueError`` where a posterior is a point, which is no proposal distribution."""
    if point := [site for site in terms.log_p if terms.is_degenerate(site)]:
        raise ValueError(
            "expected a posterior with a density as the proposal, got a point posterior at "
            f"{', '.join(point)}: its ELBO is minus infinity"
        )


@contextmanager
def evaluation(vae: VAE, seed: int) -> Iterator[None]:
    """Evaluation mode, no gradients, no validation, draws from a seed; all undone afterwards.

    Raises:
        ValueError: another thread is training, which shares what is put back here.
    """
    with (
        exclusive("an evaluation", training=False),
        torch.no_grad(),
        evaluating(vae),
        seeded(seed),
        unregistered(),
        pyro.validation_enabled(False),
    ):
        yield


def images_and_labels(vae: VAE, images: Any, labels: Any) -> tuple[Tensor, Tensor | None]:
    """Checked images, and labels where the model is conditional, in one piece."""
    require_vae(vae, " to evaluate")
    if labels is not None:
        x, y = data_and_condition(vae, images, labels)
    elif isinstance(images, Tensor):
        x, y = images, None
    else:
        x, *rest = gathered(images, Reader(vae))
        y = rest[0] if rest and vae.condition.size else None
    return _checked(vae, x, y)


def batches_of(
    vae: VAE, images: Any, labels: Any, batch_size: int, seed: int
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Checked images and labels of ``batch_size``, whatever they come from, in their own order.

    What is not in memory is read as it is needed. A data set that draws, to augment for example,
    does so from a random state of its own, so that the model has the draws of ``seed`` all the
    same; to be iterated under :func:`evaluation`.

    Raises:
        ValueError: no data, or data the model cannot be given.
    """
    require_vae(vae, " to evaluate")
    if not is_whole(batch_size, 1):
        raise ValueError(f"expected batch_size >= 1, got {batch_size!r}")
    if labels is not None or isinstance(images, Tensor):
        x, y = images_and_labels(vae, images, labels)
        yield from ((x[rows], None if y is None else y[rows]) for rows in _ranges(x, batch_size))
        return
    source = as_batches(images, batch_size, 0, reader=Reader(vae)).in_order()
    empty = True
    for x, *rest in regrouped(_drawn_apart(source, seed), batch_size):
        empty = False
        yield _checked(vae, x, rest[0] if rest and vae.condition.size else None)
    if empty:
        raise ValueError("expected data, got none")


def _checked(vae: VAE, x: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor | None]:
    vae.check(x)
    if not len(x):
        raise ValueError("expected data, got none")
    if not vae.condition.size:
        return x, None
    if y is None and vae.condition.partial:
        return x, torch.full((len(x),), -1, device=x.device)
    if y is None:
        raise ValueError(f"expected {len(x)} labels for a conditional model, got none")
    vae.check_labels(y, len(x))
    return x, y


def _ranges(x: Tensor, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, len(x), size))


def _drawn_apart(batches: Iterator[Batch], seed: int) -> Iterator[Batch]:
    """Batches whose own draws are from a random state beside that of the model."""
    state = torch.Generator().manual_seed((seed * 1_000_003 + 1) % 2**63).get_state()
    while True:
        outside = torch.get_rng_state()
        torch.set_rng_state(state)
        try:
            batch = next(batches, None)
        finally:
            state = torch.get_rng_state()
            torch.set_rng_state(outside)
        if batch is None:
            return
        yield batch


def require_counts(**counts: int) -> None:
    """Raise ``ValueError`` unless every count is a whole number of at least one."""
    for name, count in counts.items():
        if not is_whole(count, 1):
            raise ValueError(f"expected at least one {name.replace('_', ' ')}, got {count!r}")
