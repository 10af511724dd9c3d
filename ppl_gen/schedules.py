r"""Weights that change during training: constants, ramps, and a controller that closes a loop.

A schedule is a module whose state are 0-d buffers changed in place, so that a compiled step sees
them as inputs and ``state_dict`` saves them. ``update`` is called once per optimiser step with the
metrics of that step (batch means in nats per datum); reading ``value`` never changes it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from graphs.language.suggestions import suggesting
from ppl_gen._checks import is_positive

Number = float | int


class Schedule(nn.Module):
    """A scalar that training may change; the base class is constant.

    Args:
        value: the initial value.

    Attributes:
        value: the current value, a 0-d float32 buffer.
        steps: the number of updates so far, a 0-d int64 buffer.

    Raises:
        ValueError: the value is not a finite number.

    >>> class Halving(ppl_gen.schedules.Schedule):
    ...     def at(self, step, metrics):
    ...         return 8.0 * 0.5**step
    >>> schedule = Halving(8.0)
    >>> schedule.update({})
    >>> schedule
    Halving(value=4)
    """

    value: Tensor
    steps: Tensor

    def __init__(self, value: Number):
        super().__init__()
        _require_finite(value)
        self.register_buffer("value", torch.tensor(float(value)))
        self.register_buffer("steps", torch.tensor(0))

    @torch.no_grad()
    def update(self, metrics: Mapping[str, Tensor]) -> None:
        """Advance by one step, given the metrics of the step just taken."""
        value = self.at(self.steps.add_(1), metrics)
        if value is not self.value:
            self.value.copy_(value)

    def at(self, step: Tensor, metrics: Mapping[str, Tensor]) -> Tensor:
        """The value after ``step`` updates, a 0-d tensor."""
        return self.value

    def warning(self) -> str | None:
        """What a user should know after training with this schedule, if anything."""
        return None

    def extra_repr(self) -> str:
        return f"value={self.value.item():.4g}"


class Constant(Schedule):
    """The same value for ever.

    >>> schedule = ppl_gen.schedules.Constant(0.5)
    >>> schedule.update({})
    >>> schedule.value, schedule.steps
    (tensor(0.5000), tensor(1))
    """


class WarmUp(Schedule):
    r"""A linear ramp, :math:`v_t = a + (b - a) \min(t / T, 1)` (Bowman et al. 2016; Sønderby 2016).

    Args:
        steps: the length ``T`` of the ramp in optimiser steps.
        start: the first value ``a``.
        end: the last value ``b``.

    >>> schedule, values = ppl_gen.schedules.WarmUp(4), []
    >>> for _ in range(6):
    ...     values.append(schedule.value.item())
    ...     schedule.update({})
    >>> values
    [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    """

    def __init__(self, steps: int, start: Number = 0.0, end: Number = 1.0):
        super().__init__(start)
        _require_positive(steps=steps)
        _require_finite(end)
        self.length, self.start, self.end = steps, start, end

    def at(self, step: Tensor, metrics: Mapping[str, Tensor]) -> Tensor:
        return self.start + (self.end - self.start) * (step / self.length).clamp(max=1.0)

    def warning(self) -> str | None:
        """That training ended before the ramp did."""
        return _unfinished(self, "warm-up", self.length)


class Cyclical(Schedule):
    """A ramp repeated every ``period`` steps, flat for the rest of each (Fu et al. 2019).

    Args:
        period: the length of a cycle in optimiser steps.
        ramp: the fraction of the cycle in which the value rises, in (0, 1].
        start: the value at the start of a cycle.
        end: the value on the plateau.

    >>> schedule, values = ppl_gen.schedules.Cyclical(4), []
    >>> for _ in range(6):
    ...     values.append(schedule.value.item())
    ...     schedule.update({})
    >>> values
    [0.0, 0.5, 1.0, 1.0, 0.0, 0.5]
    """

    def __init__(self, period: int, ramp: float = 0.5, start: Number = 0.0, end: Number = 1.0):
        super().__init__(start)
        _require_positive(period=period)
        _require_finite(end)
        if not (is_positive(ramp) and ramp <= 1):
            raise ValueError(f"expected a ramp fraction in (0, 1], got {ramp}")
        self.period, self.ramp, self.start, self.end = period, ramp, start, end

    def at(self, step: Tensor, metrics: Mapping[str, Tensor]) -> Tensor:
        phase = (step % self.period) / (self.period * self.ramp)
        return self.start + (self.end - self.start) * phase.clamp(max=1.0)

    def warning(self) -> str | None:
        """That training ended within the first ramp, so that the plateau was never reached."""
        return _unfinished(self, "first ramp", math.ceil(self.period * self.ramp))


class Exponential(Schedule):
    r"""Exponential decay to a floor, :math:`v_t = \max(v_0 e^{-rt}, v_{\min})`.

    The annealing of Gumbel-Softmax temperatures (Jang, Gu and Poole 2017, section 3.2).

    >>> schedule = ppl_gen.schedules.Exponential(1.0, rate=0.1, floor=0.5)
    >>> [round(schedule.at(torch.tensor(step), {}).item(), 3) for step in (0, 1, 5, 10)]
    [1.0, 0.905, 0.607, 0.5]
    """

    def __init__(self, start: Number, rate: float, floor: Number):
        super().__init__(start)
        _require_positive(start=start, rate=rate, floor=floor)
        self.start, self.rate, self.floor = start, rate, floor

    def at(self, step: Tensor, metrics: Mapping[str, Tensor]) -> Tensor:
        return (self.start * torch.exp(-self.rate * step)).clamp(min=self.floor)


class PIController(Schedule):
    r"""The non-linear PI controller of ControlVAE (Shao et al. 2020, equations 7 to 9).

    With the error :math:`e = C - \mathrm{KL}` of the batch-mean KL in nats,

    .. math::

        P = \frac{K_p}{1 + e^{e}}, \qquad I \leftarrow I - K_i e, \qquad
        \beta = \mathrm{clip}(P + I + \beta_{\min}, \beta_{\min}, \beta_{\max}).

    The integral stops where the weight reaches a bound, and only an error that pushes further out
    is stopped, so a saturated controller leaves its bound as soon as the error changes sign.

    Args:
        target: the set point ``C`` for the KL, in nats per datum.
        proportional: the gain :math:`K_p`.
        integral: the gain :math:`K_i`.
        minimum: :math:`\beta_{\min}`.
        maximum: :math:`\beta_{\max}`.
        metric: the metric that is controlled.

    Attributes:
        stuck: for how many updates the weight has been at a bound while the error pushed further
            out, a 0-d int64 buffer.

    Raises:
        ValueError: a set point or gain that is not positive, or bounds out of order.

    >>> controller = ppl_gen.schedules.PIController(target=14.0, integral=0.01)
    >>> for kl in (30.0, 30.0, 30.0):
    ...     controller.update({"kl": torch.tensor(kl)})
    >>> controller
    PIController(value=0.49)
    """

    accumulated: Tensor
    stuck: Tensor

    def __init__(
        self,
        target: Number,
        proportional: float = 0.01,
        integral: float = 0.005,
        minimum: Number = 0.0,
        maximum: Number = 100.0,
        metric: str = "kl",
    ):
        super().__init__(minimum)
        _require_positive(target=target, proportional=proportional, integral=integral)
        if not 0 <= minimum < maximum:
            raise ValueError(f"expected 0 <= minimum < maximum, got {minimum} and {maximum}")
        self.target, self.metric = target, metric
        self.proportional, self.integral = proportional, integral
        self.minimum, self.maximum = minimum, maximum
        self.register_buffer("accumulated", torch.tensor(0.0))
        self.register_buffer("stuck", torch.tensor(0))

    def at(self, step: Tensor, metrics: Mapping[str, Tensor]) -> Tensor:
        error = self.target - metrics[self.metric].to(self.accumulated)
        p = self.proportional * torch.sigmoid(-error)
        moved = self.accumulated - self.integral * error
        low, high = -p, self.maximum - self.minimum - p
        rising = torch.maximum(self.accumulated, moved.clamp(max=high))
        falling = torch.minimum(self.accumulated, moved.clamp(min=low))
        self.accumulated.copy_(torch.where(error < 0, rising, falling))
        value = (p + self.accumulated + self.minimum).clamp(self.minimum, self.maximum)
        at_maximum = value >= self.maximum * (1 - 1e-6)
        outward = torch.where(error < 0, at_maximum, value <= self.minimum)
        self.stuck.copy_(torch.where(outward, self.stuck + 1, 0))
        return value

    def warning(self) -> str | None:
        """That the set point was not reached: the weight ended a hundred or more steps at a bound.

        The state does not tell whether more training would reach it.
        """
        if self.stuck < 100:
            return None
        lower = self.value <= self.minimum
        bound, side = ("lower", "below") if lower else ("upper", "above")
        return (
            f"expected {self.metric} to settle at the set point {self.target:g}, but it has been "
            f"{side} it for the last {int(self.stuck)} steps with the weight at its {bound} bound "
            f"{self.value.item():g}: it needs more training, wider bounds or another set point"
        )


def _unfinished(schedule: WarmUp | Cyclical, name: str, length: int) -> str | None:
    taken = int(schedule.steps)
    if not 0 < taken < length:
        return None
    return (
        f"expected the {name} of {length} steps to end, but training took {taken}: the value has "
        f"come to {schedule.value.item():.4g} on its way from {schedule.start:g} to "
        f"{schedule.end:g}; train for longer or make it shorter"
    )


def as_schedule(value: Number | Schedule) -> Schedule:
    """A schedule as it is, a number as a constant one.

    >>> ppl_gen.schedules.as_schedule(4)
    Constant(value=4)
    """
    if isinstance(value, Schedule):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"expected a number or a ppl_gen.schedules.Schedule, got {value!r}")
    return Constant(value)


def as_weight(value: Number | Schedule) -> Schedule:
    """A schedule like :func:`as_schedule`; ``ValueError`` where it starts below zero.

    >>> ppl_gen.schedules.as_weight(0.5)
    Constant(value=0.5)
    >>> ppl_gen.schedules.as_weight(-1)
    Traceback (most recent call last):
        ...
    ValueError: expected a weight of zero or more, got -1
    """
    schedule = as_schedule(value)
    if schedule.value < 0:
        raise ValueError(f"expected a weight of zero or more, got {schedule.value.item():g}")
    return schedule


def _is_finite(value: Number) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _require_finite(value: Number) -> None:
    if not _is_finite(value):
        raise ValueError(f"expected a finite number, got {value}")


def _require_positive(**values: Number) -> None:
    for name, value in values.items():
        if not (_is_finite(value) and value > 0):
            raise ValueError(f"expected a positive {name}, got {value}")


if not TYPE_CHECKING:
    __getattr__ = suggesting(__name__)
