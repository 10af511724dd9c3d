"""Measures taken along training, since a final value hides what went on before it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from ppl_gen._checks import is_whole


class Along:
    """A callback of :func:`ppl_gen.fit` that measures the model every so many steps.

    It sees the weights as they are after the step, not their averages.

    Args:
        measure: a function without arguments to a dictionary of numbers, or to a result of
            :mod:`ppl_gen.metrics`, whose numbers are taken.
        every: how many steps lie between two measures.

    Attributes:
        steps: the numbers of the steps after which it measured.
        values: what it found, a list for every name.

    Raises:
        ValueError: no function, or fewer steps than one.

    >>> game, x = ppl_gen.zoo.gan((2,), 4, hidden=8), torch.randn(100, 2)
    >>> ring = torch.tensor([[2.0, 0.0], [-2.0, 0.0]])
    >>> def measure():
    ...     return ppl_gen.metrics.modes(game.sample(50, seed=0), ring, 0.5)
    >>> along = ppl_gen.metrics.Along(measure, every=2)
    >>> options = {"callbacks": [along], "staged": False, "progress": False}
    >>> history = ppl_gen.fit(game, x, epochs=6, **options)
    >>> along.steps
    [2, 4, 6]
    >>> step, fewest = along.lowest("modes")
    >>> fewest == min(along.values["modes"])
    True
    """

    def __init__(self, measure: Callable[[], Any], every: int = 100):
        if not callable(measure) or not is_whole(every, 1):
            raise ValueError(
                f"expected a function and one step or more between measures, got {measure!r} and "
                f"{every!r}"
            )
        self.measure, self.every = measure, every
        self.steps: list[int] = []
        self.values: dict[str, list[float]] = {}

    def __call__(self, metrics: Mapping[str, float]) -> None:
        step = int(metrics["step"])
        if step % self.every:
            return
        found = self.measure()
        if dataclasses.is_dataclass(found) and not isinstance(found, type):
            found = vars(found)
        self.steps.append(step)
        for name, value in found.items():
            if isinstance(value, (int, float)):
                self.values.setdefault(name, []).append(float(value))

    def lowest(self, name: str) -> tuple[int, float]:
        """The step with the smallest value of a name, and that value: the fewest modes."""
        return self._extreme(name, min)

    def highest(self, name: str) -> tuple[int, float]:
        """The step with the largest value of a name, and that value: the greatest divergence."""
        return self._extreme(name, max)

    def _extreme(self, name: str, choose: Callable[..., float]) -> tuple[int, float]:
        if name not in self.values:
            known = ", ".join(self.values) or "none: no step was measured"
            raise ValueError(f"expected a measure among {known}, got {name!r}")
        values = self.values[name]
        best = choose(values)
        return self.steps[values.index(best)], best
