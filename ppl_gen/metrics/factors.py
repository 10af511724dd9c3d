"""Images with known factors of variation, and a model's codes of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ppl_gen._checks import is_whole
from ppl_gen.models.vae import VAE, require_vae

_BATCH = 500


class Factors(Protocol):
    """Images with known factors of variation, such as :class:`ppl_gen.data.Sprites`.

    A data set may also state ``factor_names``, ``factor_values`` (what the classes of each factor
    stand for, in order) and ``factor_entropies`` (in nats, over the whole set).
    """

    @property
    def factor_sizes(self) -> Sequence[int]:
        """The number of classes of each factor."""

    def sample(self, n: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Images (n, C, H, W) drawn uniformly, and their integer classes (n, F)."""


class FactorArrays:
    """Images and factors held in memory, as a data set that the metrics of factors accept.

    Args:
        images: ``(N, C, H, W)``.
        classes: ``(N, F)``, one row per image: numbers or text, or a data frame of both. Each
            distinct value of a column is a class, whatever its label and however often it occurs.
        factor_names: one per factor, by default the columns of a frame, else their positions.

    Attributes:
        classes: int64 ``(N, F)``, positions in ``factor_values``.
        factor_values: the sorted distinct values of each factor.
        factor_sizes: how many there are.

    Raises:
        ValueError: factors that do not match the images, that are missing, or that never repeat.

    >>> images, classes = torch.rand(4, 1, 8, 8), [[0, 5], [10, 5], [0, 7], [10, 7]]
    >>> own = ppl_gen.metrics.FactorArrays(images, torch.tensor(classes))
    >>> own.factor_sizes, own.classes[:, 1].tolist()
    ((2, 2), [0, 0, 1, 1])
    """

    def __init__(
        self,
        images: Tensor | np.ndarray,
        classes: Tensor | np.ndarray | Any,
        factor_names: Sequence[str] | None = None,
    ) -> None:
        if hasattr(classes, "to_numpy") and hasattr(classes, "columns"):
            factor_names = list(classes.columns) if factor_names is None else factor_names
            classes = classes.to_numpy()
        for part, role in ((images, "images"), (classes, "factors")):
            if not isinstance(part, (Tensor, np.ndarray)):
                raise ValueError(f"expected {role} as a tensor or array, got {type(part).__name__}")
        table = classes.detach().cpu().numpy() if isinstance(classes, Tensor) else classes
        if table.ndim != 2 or len(table) != len(images) or not table.size:
            raise ValueError(
                f"expected one row of factors for each of {len(images)} images, got factors of "
                f"shape {tuple(table.shape)}"
            )
        width = table.shape[1]
        self.factor_names = tuple(map(str, range(width) if factor_names is None else factor_names))
        if len(set(self.factor_names)) != width or len(self.factor_names) != width:
            raise ValueError(
                f"expected {width} factor names, all different, got {len(self.factor_names)}: "
                f"{', '.join(self.factor_names)}"
            )
        pairs = [_classified(*pair) for pair in zip(table.T, self.factor_names, strict=True)]
        self.images = torch.as_tensor(images)
        self.factor_values = tuple(values for values, _ in pairs)
        self.classes = torch.from_numpy(np.stack([positions for _, positions in pairs], 1))
        self.factor_sizes = tuple(map(len, self.factor_values))

    def sample(self, n: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Draw n images uniformly, with replacement, and their classes."""
        rows = torch.randint(len(self.images), (n,), generator=generator)
        return self.images[rows], self.classes[rows]


def _classified(column: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The sorted distinct values of a factor, and the position of each entry among them."""
    if any(value is None or value != value for value in column.tolist()):
        raise ValueError(f"expected a value of factor {name} for every image, some are missing")
    try:
        values, classes = np.unique(column, return_inverse=True)
        if column.dtype == object:  # numbers in a table with text
            values = np.array(values.tolist())
    except TypeError as error:
        raise ValueError(f"expected numbers or text for factor {name}, got {error}") from error
    if values.dtype.kind == "f" and len(values) == len(column) > 1:
        raise ValueError(
            f"expected values of factor {name} that repeat, got {len(values)} in as many images: "
            "bin a continuous factor first"
        )
    return values, classes.reshape(-1)


def factor_names(
    vae: VAE, dataset: Factors, chosen: Sequence[str] | None, leave_out: str | None = None
) -> list[str]:
    """The names of the factors that count: those chosen, or all but the one left out.

    Raises:
        ValueError: no model, a data set without factors, or names that it does not have.
    """
    require_vae(vae, " to evaluate")
    if not hasattr(dataset, "factor_sizes"):
        raise ValueError(
            "expected images with factors, such as FactorArrays(images, factors), got "
            f"{type(dataset).__name__}"
        )
    names = _all_names(dataset)
    found = [name for name in names if name != leave_out] if chosen is None else list(chosen)
    if not found or not set(found) <= set(names) or len(set(found)) < len(found):
        raise ValueError(f"expected factors among {', '.join(names)}, got {found}")
    return found


def columns_of(dataset: Factors, names: Sequence[str]) -> list[int]:
    """The positions of named factors."""
    everything = _all_names(dataset)
    return [everything.index(name) for name in names]


def _all_names(dataset: Factors) -> list[str]:
    stated = getattr(dataset, "factor_names", None)
    return list(map(str, range(len(dataset.factor_sizes)) if stated is None else stated))


def encoded(
    vae: VAE, dataset: Factors, num_images: int, seed: int, *, means: bool, distinct: bool = False
) -> tuple[Tensor, Tensor]:
    """Codes, or else the outputs of the encoder, of images drawn from the data set; classes.

    Distinct images are drawn without replacement where they are held in memory, all at most: what
    is fitted to some of them can then be scored on the others.
    """
    if not is_whole(num_images, 2):
        raise ValueError(f"expected at least two images, got {num_images}")
    if vae.num_classes:
        raise ValueError("expected a model without labels, got a conditional one")
    generator = torch.Generator().manual_seed(seed)
    held = distinct and isinstance(dataset, FactorArrays)
    draw = _without_replacement if held else _with_replacement
    outputs, classes = [], []
    for images, values in draw(dataset, num_images, generator):
        _check_classes(values, len(images), dataset.factor_sizes)
        vae.check(images)
        outputs.append(vae.code(images) if means else vae.latents[0].encoder(images))
        classes.append(values)
    return torch.cat(outputs), torch.cat(classes)


Draws = Iterator[tuple[Tensor, Tensor]]


def _with_replacement(dataset: Any, n: int, generator: torch.Generator) -> Draws:
    for start in range(0, n, _BATCH):
        yield dataset.sample(min(_BATCH, n - start), generator)


def _without_replacement(dataset: Any, n: int, generator: torch.Generator) -> Draws:
    for rows in torch.randperm(len(dataset.images), generator=generator)[:n].split(_BATCH):
        yield dataset.images[rows], dataset.classes[rows]


def _check_classes(classes: Tensor, count: int, sizes: Sequence[int]) -> None:
    """Raise ``ValueError`` unless there are ``count`` rows of factors, each below its size."""
    if not isinstance(classes, Tensor) or classes.shape != (count, len(sizes)):
        got = tuple(classes.shape) if isinstance(classes, Tensor) else type(classes).__name__
        raise ValueError(
            f"expected factors of shape {(count, len(sizes))} for {count} images, got {got}"
        )
    if classes.is_floating_point():
        raise ValueError(f"expected integer factors, got {classes.dtype}")
    for position, (column, size) in enumerate(zip(classes.T, sizes, strict=True)):
        low, high = int(column.min()), int(column.max())
        if low < 0 or high >= size:
            raise ValueError(
                f"expected factor {position} from 0 to {size - 1}, got {low} to {high}"
            )


def entropies_of(classes: Tensor) -> Tensor:
    """The empirical entropy of each column of classes in nats, float64 ``(F,)``."""
    shares = [column.unique(return_counts=True)[1].double() / len(column) for column in classes.T]
    return torch.stack([torch.special.entr(share).sum() for share in shares])


def require_several_values(names: Sequence[str], classes: Tensor) -> None:
    """Raise ``ValueError`` for a factor with one value, about which no code says anything."""
    fixed = [
        name for name, column in zip(names, classes.T, strict=True) if (column == column[0]).all()
    ]
    if fixed:
        raise ValueError(f"expected factors with several values, {', '.join(fixed)} has one")
