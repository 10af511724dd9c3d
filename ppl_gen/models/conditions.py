"""What a conditional model is told beside the data: a label, covariates, or both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ppl_gen._checks import is_whole
from ppl_gen.data.digit_captions import DIGITS, LENGTH, VOCABULARY, words
from ppl_gen.data.tensors import Classes, as_column, as_tensor, encode_labels, is_frame, is_text

_WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


@dataclass
class Condition:
    """A label of ``K`` classes and ``C`` covariates, as one vector ``(B, K + C)`` for networks.

    A model is given labels ``(B,)``, covariates ``(B, C)``, or the vector of both, which
    :meth:`tensor` makes of a pair.

    Attributes:
        num_classes: ``K``, 0 for no label.
        num_covariates: ``C``.
        classes: the names of the classes, where they are known.
        partial: whether labels may be missing, −1.
    """

    num_classes: int = 0
    num_covariates: int = 0
    classes: Classes | None = None
    partial: bool = False

    def __post_init__(self) -> None:
        if not is_whole(self.num_classes, 0):
            raise ValueError(f"expected a whole num_classes >= 0, got {self.num_classes}")
        if not is_whole(self.num_covariates, 0):
            raise ValueError(f"expected a whole num_covariates >= 0, got {self.num_covariates}")
        if self.classes is not None:
            self.name(self.classes)

    @property
    def size(self) -> int:
        """``K + C``, 0 for a model without a condition."""
        return self.num_classes + self.num_covariates

    @property
    def null(self) -> Any:
        """What stands for no condition where a network is told one more: label ``K``."""
        return self.num_classes

    def examples(self, n: int) -> Any:
        """Labels to show a model by, each in turn; ``None`` where there are none."""
        return torch.arange(n) % self.num_classes if self.num_classes else None

    def __str__(self) -> str:
        counts = {"classes": self.num_classes, "covariates": self.num_covariates}
        return " and ".join(f"{n} {what}" for what, n in counts.items() if n)

    def name(self, classes: Any) -> None:
        """Name the classes, or raise ``ValueError`` where there are too many names."""
        names = tuple(classes)
        if not all(isinstance(n, str) for n in names) or len(set(names)) < len(names):
            raise ValueError(f"expected different names of classes, got {names}")
        if len(names) > self.num_classes:
            raise ValueError(
                f"expected at most {self.num_classes} classes, got {len(names)}: {', '.join(names)}"
            )
        self.classes = names

    def tensor(self, y: Any) -> Any:
        """Labels, covariates or a pair of both as the tensor that programs take, unchecked.

        Labels may be names where these are known, and missing labels ``None`` or NaN where they
        may be missing.
        """
        if y is None or isinstance(y, Tensor) or not self.size:
            return _whole_or_missing(y) if self.partial and isinstance(y, Tensor) else y
        if self.num_classes and self.num_covariates:
            if not isinstance(y, (tuple, list)) or len(y) != 2:
                raise ValueError(f"expected a pair of labels and covariates, got {_shown(y)}")
            return self._vector(self._labels(y[0]), as_tensor(y[1]))
        return self._labels(y) if self.num_classes else as_tensor(y)

    def _labels(self, y: Any) -> Tensor:
        y = as_column(y)
        if is_frame(y):
            raise ValueError(f"expected one column of labels, got a frame of shape {y.shape}")
        if not is_text(y):
            labels = as_tensor(y)
            return _whole_or_missing(labels) if self.partial else labels
        if self.classes is None:
            raise ValueError(
                "expected labels as whole numbers, got text, and no names of classes are known"
            )
        codes, _ = encode_labels(y, self.classes)
        return codes

    def _vector(self, labels: Tensor, covariates: Tensor) -> Tensor:
        self._require_labels(labels, None)
        self._require_known(labels)
        if covariates.dim() != 2 or covariates.shape != (len(labels), self.num_covariates):
            raise ValueError(
                f"expected covariates of shape ({len(labels)}, {self.num_covariates}), got "
                f"{tuple(covariates.shape)}"
            )
        dtype = covariates.dtype if covariates.is_floating_point() else torch.get_default_dtype()
        return torch.cat([self.one_hot(labels, covariates).to(dtype), covariates.to(dtype)], 1)

    def one_hot(self, labels: Tensor, like: Tensor) -> Tensor:
        """Labels ``(...)`` as ``(..., K)``; zeros for a missing one."""
        classes = torch.arange(self.num_classes, device=labels.device)
        return (labels.unsqueeze(-1) == classes).to(like)

    def vector(self, y: Any, like: Tensor, size: int | None = None) -> Tensor:
        """The condition as networks see it, ``(B, K + C)``, of the type of ``like``.

        Raises:
            ValueError: nothing, another shape or type, or another number than ``size``.
        """
        if y is None:
            raise ValueError(f"expected {self._wanted()} for y, got none")
        if self.num_classes and not self.num_covariates:
            self._require_labels(y, size)
            return self.one_hot(y, like)
        self._require_vector(y, size)
        return y.to(like)

    def check(self, y: Any) -> None:
        """Raise ``ValueError`` for labels that are unknown and covariates that are not finite."""
        if not len(y):
            return
        if self.num_covariates:
            if not y.isfinite().all():
                raise ValueError("expected finite covariates, got NaN or infinity")
            hot = y[:, : self.num_classes]
            if self.num_classes and not (((hot == 0) | (hot == 1)) & (hot.sum(1, True) == 1)).all():
                raise ValueError("expected one-hot labels before the covariates, got others")
        else:
            self._require_known(y)

    def _require_known(self, y: Tensor) -> None:
        low, high = (int(v) for v in y.aminmax()) if len(y) else (0, 0)
        least = -1 if self.partial else 0
        if low < least or high >= self.num_classes:
            missing = ", or -1 for a missing one" if self.partial else ""
            raise ValueError(
                f"expected labels from 0 to {self.num_classes - 1}{missing}, got {low} to {high}"
            )

    def _require_labels(self, y: Any, size: int | None) -> None:
        if not isinstance(y, Tensor) or y.dim() != 1 or y.dtype not in _WHOLE:
            raise ValueError(f"expected whole labels of shape (B,), got {_shown(y)}")
        if size is not None and y.shape[0] != size:
            raise ValueError(f"expected {size} labels, one for each image, got {len(y)}")

    def _require_vector(self, y: Any, size: int | None) -> None:
        what = "covariates" if not self.num_classes else "labels and covariates in one tensor"
        if not isinstance(y, Tensor) or not y.is_floating_point() or y.dim() != 2:
            raise ValueError(f"expected {what} of shape (B, {self.size}), got {_shown(y)}")
        if y.shape[1] != self.size or (size is not None and y.shape[0] != size):
            batch = "B" if size is None else size
            raise ValueError(f"expected {what} of shape ({batch}, {self.size}), got {_shown(y)}")

    def _wanted(self) -> str:
        if not self.num_covariates:
            return f"labels below {self.num_classes}"
        covariates = f"covariates of shape (B, {self.num_covariates})"
        return covariates if not self.num_classes else f"a pair of labels and {covariates}"


def _whole_or_missing(labels: Tensor) -> Tensor:
    """Labels with −1 for NaN, as whole numbers where they are."""
    if not labels.is_floating_point():
        return labels
    known = ~labels.isnan()
    if (labels[known] != labels[known].round()).any():
        return labels
    return torch.where(known, labels, -1.0).long()


def _shown(value: Any) -> str:
    """A value by type and shape: a tensor is never printed."""
    if isinstance(value, Tensor):
        return f"{value.dtype} of shape {tuple(value.shape)}"
    return type(value).__name__


@dataclass
class Captions(Condition):
    """Captions, as rows of the indices of their words; see :func:`ppl_gen.data.words`.

    Attributes:
        num_words: the size of the vocabulary, 0 for no captions.
        length: ``L``, the number of words of every caption, blanks included.

    >>> from ppl_gen.models.conditions import Captions
    >>> condition = Captions(num_words=len(ppl_gen.data.VOCABULARY))
    >>> condition.tensor(["a thick seven"]).tolist(), condition.null.tolist()
    ([[1, 5, 13, 0, 0, 0, 0, 0]], [0, 0, 0, 0, 0, 0, 0, 0])
    """

    num_words: int = 0
    length: int = LENGTH

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (is_whole(self.num_words, 1) and is_whole(self.length, 1)):
            raise ValueError(
                "expected captions of at least one word, and of a vocabulary of one or more, got "
                f"{self.length!r} and {self.num_words!r}"
            )

    @property
    def size(self) -> int:
        """The number of words, of which there are some."""
        return self.num_words

    @property
    def null(self) -> Tensor:
        """The empty caption, ``(L,)``."""
        return torch.zeros(self.length, dtype=torch.long)

    def examples(self, n: int) -> Tensor:
        """Digits in turn where the vocabulary is theirs, empty captions otherwise."""
        known = (self.num_words, self.length) == (len(VOCABULARY), LENGTH)
        shown = words([f"a {digit}" for digit in DIGITS]) if known else self.null[None]
        return shown[torch.arange(n) % len(shown)]

    def __str__(self) -> str:
        return f"captions of {self.num_words} words"

    def tensor(self, y: Any) -> Any:
        """Captions as indices; text where the vocabulary is that of digits."""
        if y is None or isinstance(y, Tensor):
            return y
        texts = [y] if isinstance(y, str) else list(y)
        if not all(isinstance(text, str) for text in texts):
            return as_tensor(y)
        if (self.num_words, self.length) != (len(VOCABULARY), LENGTH):
            raise ValueError(
                f"expected captions as indices of {self.num_words} words, got text, of which only "
                f"the {len(VOCABULARY)} words of ppl_gen.data.VOCABULARY are known"
            )
        return words(texts)

    def vector(self, y: Any, like: Tensor, size: int | None = None) -> Tensor:
        """The captions ``(B, L)`` as they are, or ``ValueError`` for another shape or type."""
        if y is None:
            raise ValueError("expected captions for y, got none")
        if not isinstance(y, Tensor) or y.dtype not in _WHOLE or y.shape[1:] != (self.length,):
            raise ValueError(f"expected captions (B, {self.length}) of indices, got {_shown(y)}")
        if size is not None and len(y) != size:
            raise ValueError(f"expected {size} captions, got {len(y)}")
        return y

    def check(self, y: Any) -> None:
        """Raise ``ValueError`` for indices outside the vocabulary."""
        if len(y) and not bool(((y >= 0) & (y < self.num_words)).all()):
            raise ValueError(f"expected words from 0 to {self.num_words - 1}, got others")
