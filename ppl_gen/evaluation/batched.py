"""What every metric does first: check its input, and run the model without disturbing anything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyro
import torch
from torch import Tensor

from ppl_gen._checks import is_whole
from ppl_gen._modes import evaluating, seeded
from ppl_gen._store import unregistered
from ppl_gen.models.reading import Reader, pixels_or_cells
from ppl_gen.models.vae import VAE
from ppl_gen.objectives.terms import Terms, terms
from ppl_gen.training.batches import as_batches


def binarization(images: Any) -> str:
    """How the pixels were made binary: what a data set says, or what the pixels show."""
    stated = getattr(images, "binarization", None)
    if stated not in (None, "none"):
        return f"{stated} binarization"
    images = images if isinstance(images, Tensor) else _pixels(images)
    if images is None:
        return "unstated binarization"
    binary = bool(((images == 0) | (images == 1)).all())
    return "binary pixels" if binary else "grey pixels"


def _pixels(data: Any) -> Tensor | None:
    """The data themselves, where they are in memory."""
    if (held := pixels_or_cells(data)) is not None:
        return held
    first = data[0] if isinstance(data, tuple) else data
    try:
        return Reader().tensors(first)[0]
    except ValueError:
        return None


def terms_of(vae: VAE, x: Tensor, y: Tensor | None, rows: Tensor, particles: int) -> Terms:
    """The terms of some rows of the data."""
    args = (x[rows], None if y is None else y[rows])
    return terms(vae.model, vae.guide, args, particles=particles)


def require_density(terms: Terms) -> None:
    """Raise ``ValueError`` where a posterior is a point, which is no proposal distribution."""
    if point := [site for site in terms.log_p if terms.is_degenerate(site)]:
        raise ValueError(
            "expected a posterior with a density as the proposal, got a point posterior at "
            f"{', '.join(point)}: its ELBO is minus infinity"
        )


@contextmanager
def evaluation(vae: VAE, seed: int) -> Iterator[None]:
    """Evaluation mode, no gradients, no validation, draws from a seed; all undone afterwards."""
    with (
        torch.no_grad(),
        evaluating(vae),
        seeded(seed),
        unregistered(),
        pyro.validation_enabled(False),
    ):
        yield


def images_and_labels(vae: VAE, images: Any, labels: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Checked images, and labels where the model is conditional, from tensors or a data set."""
    if not isinstance(vae, VAE):
        raise ValueError(f"expected a ppl_gen.VAE to evaluate, got {type(vae).__name__}")
    x, y = _gathered(vae, images) if labels is None else (images, labels)
    if labels is not None:
        x, y = Reader(vae).data_and_condition(x, y)
    vae.check(x)
    if not vae.condition.size:
        return x, None
    if y is None and vae.condition.partial:
        return x, torch.full((len(x),), -1, device=x.device)
    if y is None:
        raise ValueError(f"expected {len(x)} labels for a conditional model, got none")
    vae.check_labels(y, len(x))
    return x, y


def _gathered(vae: VAE, data: Any) -> tuple[Tensor, Tensor | None]:
    """All of some data and their condition, in one piece."""
    if isinstance(data, Tensor):
        return data, None
    batches = list(as_batches(data, 1024, 0, reader=Reader(vae)).in_order())
    x, *rest = (torch.cat(parts) for parts in zip(*batches, strict=True))
    return x, rest[0] if rest and vae.condition.size else None


def require_counts(**counts: int) -> None:
    """Raise ``ValueError`` for a count that is no whole number from one."""
    for name, count in counts.items():
        if not is_whole(count, 1):
            raise ValueError(f"expected at least one {name.replace('_', ' ')}, got {count!r}")
