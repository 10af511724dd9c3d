"""What training, files, metrics and the command line ask of a generative model."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from ppl_gen._checks import require_shape
from ppl_gen._modes import is_readable
from ppl_gen.models.conditions import Condition
from ppl_gen.models.recipe import Recipe
from ppl_gen.models.representation import parts_table
from ppl_gen.networks import Shape

if TYPE_CHECKING:
    from ppl_gen.data.tables import Schema


class GenerativeModel(nn.Module):
    """A model that draws data of a shape, given a condition or not.

    A subclass defines :meth:`sample`, one of the methods of a :class:`ppl_gen.Trainable`, ``loss``,
    ``schedule`` or ``losses``, and :attr:`players` where its parameters belong to several;
    :func:`ppl_gen.fit`, :func:`ppl_gen.save` and the command line then serve it.

    Args:
        data_shape: the shape of a datum, ``(C, H, W)`` for images and ``(D,)`` for tables.
        num_classes: the number of labels of a conditional model, 0 for none.
        num_covariates: the number of covariates it is given, 0 for none.
        classes: the names of its classes.

    Attributes:
        recipe: how a constructor of :mod:`ppl_gen.zoo` built it.
        streams: how many sets of data it learns from at once, 2 for those of
            :class:`ppl_gen.data.Unpaired`.
        fewest: the smallest batch that it can learn from.
        instead: why a model has no likelihood, and what to do instead, as the end of a sentence.

    Raises:
        ValueError: an invalid shape.
        AttributeError: of a model that has no likelihood, ``elbo``, ``log_likelihood`` or
            ``log_prob``.

    >>> class Coin(ppl_gen.GenerativeModel):
    ...     def __init__(self):
    ...         super().__init__(data_shape=(1,))
    ...         self.logit = torch.nn.Parameter(torch.zeros(1))
    ...     def loss(self, x):
    ...         return -torch.distributions.Bernoulli(logits=self.logit).log_prob(x).sum(), {}
    >>> coin, x = Coin(), torch.tensor([[1.0], [1.0], [1.0], [0.0]])
    >>> history = ppl_gen.fit(coin, x, epochs=300, lr=0.05, staged=False, progress=False)
    >>> round(coin.logit.sigmoid().item(), 2)
    0.75
    """

    streams: int = 1
    fewest: int = 1
    instead: str = ""

    def __init__(
        self,
        data_shape: Shape,
        num_classes: int = 0,
        num_covariates: int = 0,
        classes: Sequence[str] | None = None,
    ):
        super().__init__()
        self.data_shape = require_shape(data_shape)
        names = None if classes is None else tuple(classes)
        self.condition = Condition(num_classes, num_covariates, names)
        self.recipe: Recipe | None = None

    def __getattr__(self, name: str) -> Any:
        if self.instead and name in ("elbo", "log_likelihood", "log_prob"):
            raise AttributeError(f"expected no {name} of a {type(self).__name__}{self.instead}")
        return super().__getattr__(name)

    # --- Training -------------------------------------------------------------------------------

    @property
    def players(self) -> Mapping[str, Iterable[nn.Parameter]]:
        """Parameters by player."""
        return {"pair": list(self.parameters())}

    def sample(self, n: int, y: Any = None, *, seed: int | None = None) -> Tensor:
        """``(n, *data_shape)`` draws, for the conditions ``y`` where the model takes any."""
        raise NotImplementedError

    @property
    def like(self) -> Tensor:
        """A tensor of the type and on the device of the weights, or of what there is instead."""
        tensors = itertools.chain(self.parameters(), self.buffers())
        return next((t for t in tensors if t.is_floating_point()), torch.empty(0))

    def _repr_html_(self) -> str:
        return parts_table(self, repr(self).strip("<>"))

    # --- Conditions -----------------------------------------------------------------------------

    @property
    def num_classes(self) -> int:
        """The number of labels, 0 for none."""
        return self.condition.num_classes

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The names of the labels, where they are known."""
        return self.condition.classes

    def name_classes(self, classes: Sequence[str]) -> None:
        """Name the labels; the names are saved with the model.

        Raises:
            ValueError: names that repeat, more than there are labels, or other than those it has.
        """
        if self.classes is not None and tuple(classes) != self.classes:
            named = ", ".join(self.classes)
            raise ValueError(f"expected the classes {named}, got {', '.join(classes)}")
        self.condition.name(classes)
        if self.recipe is not None:
            arguments = {**self.recipe.arguments, "classes": self.classes}
            self.recipe = replace(self.recipe, arguments=arguments)

    @property
    def schema(self) -> Schema | None:
        """What the columns of its table are, once it has been trained on one.

        A model with a schema reads frames by it, in the units of the table, and
        ``vae.schema.to_frame(vae.sample(n))`` is in these units too.
        """
        return None if self.recipe is None else self.recipe.schema

    @schema.setter
    def schema(self, schema: Schema | None) -> None:
        self.recipe = replace(self.recipe or Recipe(None, {}, ""), schema=schema)

    def condition_inputs(self, y: Tensor | None, size: int | None = None) -> list[Tensor]:
        """The condition as networks see it, or nothing."""
        if not self.condition.size:
            return []
        return [self.condition.vector(y, self.like, size)]

    def condition_of(self, y: Any) -> Tensor | None:
        """The condition as the tensor that programs take; ``None`` for an unconditional model.

        Args:
            y: labels ``(B,)``, whole numbers or names that are known, covariates ``(B, C)``, or a
                pair of both, which becomes one-hot labels beside covariates, ``(B, K + C)``.

        Raises:
            ValueError: a condition that the model does not know.
        """
        y = self.condition.tensor(y) if self.condition.size else None
        self.check_labels(y)
        return y

    def check_labels(self, y: Tensor | None, size: int | None = None) -> None:
        """Raise ``ValueError`` unless a conditional model is given a condition it knows.

        Args:
            y: the condition as a tensor ``(B, ...)``; not looked at by other models.
            size: how many there must be, if that is known.
        """
        if self.condition_inputs(y, size) and is_readable(cast(Tensor, y)):
            self.condition.check(y)

    # --- Data -----------------------------------------------------------------------------------

    def check(self, x: Tensor) -> None:
        """Raise ``ValueError`` unless ``x`` is a batch of data of this shape and type."""
        if not isinstance(x, Tensor):
            raise ValueError(f"expected a tensor of images, got {type(x).__name__}")
        self._require_shape(x)
        dtype = self.like.dtype
        if x.dtype != dtype:
            raise ValueError(f"expected {dtype} images, like the weights, got {x.dtype}")

    def _require_shape(self, x: Tensor) -> Tensor:
        what = "images" if len(self.data_shape) == 3 else "data"
        if tuple(x.shape[1:]) != self.data_shape:
            expected = ", ".join(map(str, self.data_shape))
            shape = tuple(x.shape)
            hint = f"; for these build it with data_shape={shape[1:]}" if len(shape) > 1 else ""
            raise ValueError(f"expected {what} of shape (B, {expected}), got {shape}{hint}")
        if not x.is_floating_point():
            raise ValueError(f"expected floating-point {what}, got {x.dtype}")
        return x


def require_values(x: Tensor, pixels: str | None = None) -> None:
    """Raise ``ValueError`` for a batch that is empty, not finite, or has pixels out of [0, 1].

    Args:
        x: the batch; one whose values cannot be looked at passes.
        pixels: what is expected, for the message; ``None`` where any number will do.
    """
    if not is_readable(x):
        return
    if not len(x):
        raise ValueError("expected at least one datum, got none")
    if not x.isfinite().all():
        raise ValueError("expected data without NaN or infinity")
    low, high = x.min().item(), x.max().item()
    if pixels is not None and not 0 <= low <= high <= 1:
        raise ValueError(f"expected {pixels}, got {low:g} to {high:g}")
