r"""Steps of optimisers as tensors changed in place.

With a parameter :math:`p` and its gradient :math:`g`, to which :math:`\lambda p` is added where
there is weight decay, and :math:`a = \mathrm{lr}`:

=========================================  =======================================================
optimiser                                  step
=========================================  =======================================================
Adam (Kingma and Ba 2015)                  :math:`m \leftarrow \beta_1 m + (1 - \beta_1) g`,
                                           :math:`v \leftarrow \beta_2 v + (1 - \beta_2) g^2`,
                                           :math:`p \leftarrow p - a_t m / (\sqrt{v} / c_t +
                                           \epsilon)` with :math:`a_t = a / (1 - \beta_1^t)` and
                                           :math:`c_t = \sqrt{1 - \beta_2^t}`
AdamW (Loshchilov and Hutter 2019)         the same after :math:`p \leftarrow (1 - a \lambda) p`
SGD with momentum μ, or Nesterov's         :math:`b \leftarrow \mu b + g`,
                                           :math:`p \leftarrow p - a b`, or
                                           :math:`p \leftarrow p - a (g + \mu b)`
RMSprop (Tieleman and Hinton 2012)         :math:`s \leftarrow \alpha s + (1 - \alpha) g^2`,
                                           :math:`b \leftarrow \mu b + g / (\sqrt{s} + \epsilon)`,
                                           :math:`p \leftarrow p - a b`
=========================================  =======================================================

Centred RMSprop subtracts the square of an average of g from s. The numbers that change from step
to step are given as tensors, so that a step is a recording like any other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from ppl_gen.staging import lean_optimizers
from ppl_gen.staging.torch_internals import has_step_hooks

Group = Mapping[str, Any]
Assign = Callable[[Tensor, Tensor], None]

# The numbers of a group at a step; of these are as many as the longest row.
WIDTH = 6


class Steps:
    """The steps of one optimiser, whose own state is where its moments and counts are.

    Args:
        optimizer: of a kind and with the settings of :func:`is_expressible`.
    """

    flags: ClassVar[tuple[str, ...]] = ("maximize", "differentiable")
    constants: ClassVar[tuple[str, ...]] = ()
    counted: ClassVar[bool] = True

    def __init__(self, optimizer: Optimizer):
        self.optimizer = optimizer
        self.parameters = [p for group in self.groups for p in group["params"]]
        self._state: dict[Tensor, dict[str, Any]] = {}
        self._known: tuple[list[Any], list[Any]] | None = None
        self._counts: list[float] = []
        self._active: set[int] = set()

    @property
    def groups(self) -> list[dict[str, Any]]:
        return self.optimizer.param_groups

    # --- What a kind of optimiser defines -------------------------------------------------------

    def moments(self, group: Group) -> tuple[str, ...]:
        """The names of the tensors that a group keeps for every parameter."""
        raise NotImplementedError

    def row(self, group: Group, t: float) -> tuple[float, ...]:
        """The numbers of a group's step t, at most :data:`WIDTH`."""
        raise NotImplementedError

    def values(
        self, group: Group, p: Tensor, gradient: Tensor, kept: list[Tensor], *row: Tensor
    ) -> list[Tensor]:
        """The new values of a parameter and of what is kept for it."""
        raise NotImplementedError

    # --- Between steps --------------------------------------------------------------------------

    def is_ready(self) -> bool:
        """Whether steps can be taken, which is so until what are constants here change."""
        if self._known is None:
            self._make_state()
            self._known = self._held(), self._constants()
        held, constants = self._known
        same = all(a is b for a, b in zip(self._held(), held, strict=True))
        return same and self._constants() == constants

    def _held(self) -> list[Any]:
        """The objects in which the optimiser keeps its numbers."""
        return [self.optimizer.param_groups, self.optimizer.state]

    def _constants(self) -> list[Any]:
        return [
            (g["weight_decay"] != 0, *map(g.get, (*self.constants, *self.flags)), self.moments(g))
            for g in self.groups
        ]

    def _make_state(self) -> None:
        """Make the state as the optimiser does, with all counts of steps in one tensor."""
        held = self.optimizer.state
        self._state = {p: held[p] for p in self.parameters}
        for group in self.groups:
            for p in group["params"]:
                for name in self.moments(group):
                    if self._state[p].get(name) is None:
                        self._state[p][name] = torch.zeros_like(p)
        if not self.counted:
            return
        counts = [float(self._state[p].get("step", 0.0)) for p in self.parameters]
        place = self.parameters[0].device if self.groups[0].get("fused") else "cpu"
        self._steps = torch.tensor(counts, dtype=torch.float32, device=place)
        for p, step in zip(self.parameters, self._steps.unbind(), strict=True):
            self._state[p]["step"] = step

    def kept(self, group: Group, p: Tensor) -> list[Tensor]:
        return [self._state[p][name] for name in self.moments(group)]

    def tensors(self) -> list[Tensor]:
        """What steps change."""
        moments = [m for group in self.groups for p in group["params"] for m in self.kept(group, p)]
        return [tensor.detach() for tensor in (*self.parameters, *moments)]

    def begin(self, active: Iterable[Tensor]) -> bool:
        """Begin to count steps of the parameters that have gradients.

        Returns:
            Whether those of every group have taken the same number of steps.
        """
        self._active = set(map(id, active))
        if not self.counted:
            self._counts = [0.0] * len(self.groups)
            return True
        steps = dict(zip(map(id, self.parameters), self._steps.tolist(), strict=True))
        own = self._active
        taken = [{steps[id(p)] for p in g["params"] if id(p) in own} for g in self.groups]
        self._counts = [max(same, default=0.0) for same in taken]
        return all(len(different) < 2 for different in taken)

    def next_rows(self) -> list[tuple[float, ...]]:
        """The numbers of the next step, for every group."""
        self._counts = [t + 1 for t in self._counts]
        return [self.row(group, t) for group, t in zip(self.groups, self._counts, strict=True)]

    def example(self) -> list[tuple[float, ...]]:
        """The numbers of some step, for every group."""
        return [self.row(group, 1.0) for group in self.groups]

    def count(self, steps: int) -> None:
        """Count steps as taken, by the parameters with which they began."""
        if not self.counted:
            return
        if len(self._active) == len(self.parameters):
            self._steps += steps
        else:
            own = [p for p in self.parameters if id(p) in self._active]
            torch._foreach_add_([self._state[p]["step"] for p in own], steps)

    # --- A step ---------------------------------------------------------------------------------

    def __call__(
        self, gradients: Mapping[Tensor, Tensor], rows: Iterable[Tensor], assign: Assign
    ) -> None:
        """Take a step with gradients by parameter and a row for every group."""
        for group, row in zip(self.groups, rows, strict=True):
            numbers = row.unbind()
            for p in group["params"]:
                if p in gradients:
                    kept = self.kept(group, p)
                    new = self.values(group, p, gradients[p], kept, *numbers)
                    for tensor, value in zip((p, *kept), new, strict=True):
                        assign(tensor, value)


class AdamSteps(Steps):
    flags = (*Steps.flags, "amsgrad", "capturable")
    constants = ("eps", "decoupled_weight_decay")

    def moments(self, group: Group) -> tuple[str, ...]:
        return "exp_avg", "exp_avg_sq"

    def row(self, group: Group, t: float) -> tuple[float, ...]:
        (first, second), lr, decay = group["betas"], group["lr"], group["weight_decay"]
        rate, correction = lr / (1 - first**t), math.sqrt(1 - second**t)
        return rate, correction, 1 - lr * decay, decay, first, second

    def values(
        self, group: Group, p: Tensor, gradient: Tensor, kept: list[Tensor], *row: Tensor
    ) -> list[Tensor]:
        rate, correction, factor, decay, first, second = row
        start, (m, v) = p, kept
        if group["weight_decay"] and group["decoupled_weight_decay"]:
            start = p * factor
        elif group["weight_decay"]:
            gradient = gradient + decay * p
        new_m = m + (1 - first) * (gradient - m)
        new_v = second * v + (1 - second) * gradient * gradient
        new_p = start - rate * new_m / (new_v.sqrt() / correction + group["eps"])
        return [new_p, new_m, new_v]


class SGDSteps(Steps):
    constants = ("nesterov", "dampening")
    counted = False

    def moments(self, group: Group) -> tuple[str, ...]:
        return ("momentum_buffer",) if group["momentum"] else ()

    def row(self, group: Group, t: float) -> tuple[float, ...]:
        return group["lr"], group["weight_decay"], group["momentum"], 0.0, 0.0, 0.0

    def values(
        self, group: Group, p: Tensor, gradient: Tensor, kept: list[Tensor], *row: Tensor
    ) -> list[Tensor]:
        rate, decay, momentum, *_ = row
        if group["weight_decay"]:
            gradient = gradient + decay * p
        if not kept:
            return [p - rate * gradient]
        new = momentum * kept[0] + gradient
        return [p - rate * (gradient + momentum * new if group["nesterov"] else new), new]


class RMSpropSteps(Steps):
    flags = (*Steps.flags, "capturable")
    constants = ("eps", "centered")

    def moments(self, group: Group) -> tuple[str, ...]:
        centred = ("grad_avg",) if group["centered"] else ()
        return "square_avg", *centred, *(("momentum_buffer",) if group["momentum"] > 0 else ())

    def row(self, group: Group, t: float) -> tuple[float, ...]:
        return group["lr"], group["weight_decay"], group["momentum"], group["alpha"], 0.0, 0.0

    def values(
        self, group: Group, p: Tensor, gradient: Tensor, kept: list[Tensor], *row: Tensor
    ) -> list[Tensor]:
        rate, decay, momentum, alpha, *_ = row
        if group["weight_decay"]:
            gradient = gradient + decay * p
        new = [alpha * kept[0] + (1 - alpha) * gradient * gradient]
        variance = new[0]
        if group["centered"]:
            new.append(kept[1] + (1 - alpha) * (gradient - kept[1]))
            variance = variance - new[1].square()
        change = gradient / (variance.sqrt() + group["eps"])
        if group["momentum"] > 0:
            change = momentum * kept[-1] + change
            new.append(change)
        return [p - rate * change, *new]


KINDS: dict[type[Optimizer], type[Steps]] = {
    Adam: AdamSteps,
    AdamW: AdamSteps,
    SGD: SGDSteps,
    RMSprop: RMSpropSteps,
    lean_optimizers.Adam: AdamSteps,
    lean_optimizers.RMSprop: RMSpropSteps,
}


def is_expressible(optimizer: Optimizer) -> bool:
    """Whether :func:`steps_of` takes the same steps, up to rounding."""
    kind, groups = KINDS.get(type(optimizer)), optimizer.param_groups
    return (
        kind is not None
        and not has_step_hooks(optimizer)
        and not any(group.get(flag) for group in groups for flag in (*kind.flags, "dampening"))
        and not any(isinstance(group["lr"], Tensor) for group in groups)
        and all(p.is_floating_point() for group in groups for p in group["params"])
    )


def steps_of(optimizer: Optimizer) -> Steps:
    """The steps of an optimiser that is :func:`is_expressible`."""
    return KINDS[type(optimizer)](optimizer)
