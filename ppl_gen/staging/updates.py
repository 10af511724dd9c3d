r"""What follows the gradients of a training step, as tensors changed in place.

Adam (Kingma and Ba 2015) keeps for every parameter :math:`p` with gradient :math:`g` the moments

.. math::

    m \leftarrow \beta_1 m + (1 - \beta_1) g, \qquad v \leftarrow \beta_2 v + (1 - \beta_2) g^2,
    \qquad p \leftarrow p - a_t \frac{m}{\sqrt{v} / c_t + \epsilon},

with :math:`a_t = \mathrm{lr} / (1 - \beta_1^t)` and :math:`c_t = \sqrt{1 - \beta_2^t}` at step t;
AdamW (Loshchilov and Hutter 2019) first multiplies p by :math:`1 - \mathrm{lr} \cdot \lambda`.
Written so, with the numbers that change from step to step as inputs, a step is a recording like
any other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim import Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ppl_gen.staging.torch_internals import count_as_called, has_step_hooks

FLAGS = ("amsgrad", "maximize", "differentiable", "capturable")
CONSTANTS = ("eps", "decoupled_weight_decay", *FLAGS)


def expressible(optimizer: Optimizer) -> bool:
    """Whether :class:`Update` takes the same steps as an optimiser, up to rounding."""
    groups = optimizer.param_groups
    return (
        type(optimizer) in (Adam, AdamW)
        and not has_step_hooks(optimizer)
        and not any(group[flag] for group in groups for flag in FLAGS)
        and not any(isinstance(group["lr"], Tensor) for group in groups)
        and all(p.is_floating_point() for group in groups for p in group["params"])
    )


class Update:
    """Clipping, a step of Adam, averages of the weights, and whatever else comes after a step.

    A step whose loss is not finite changes no parameter, moment or average, nor does any step after
    it until :attr:`finite` is set again.

    Args:
        optimizer: one that is :func:`expressible`; its state is where the moments are.
        scheduler: stepped after every step.
        clip_norm: the largest norm of all gradients together.
        averages: exponential moving averages, by parameter.
        decay: of the averages.
        advance: called with the metrics of the step; changes tensors in place and nothing else.

    Attributes:
        finite: a 0-d tensor, whether every loss so far was finite.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        scheduler: LRScheduler | None = None,
        *,
        clip_norm: float | None = None,
        averages: Mapping[Tensor, Tensor] | None = None,
        decay: float = 0.0,
        advance: Callable[[Mapping[str, Tensor]], None] | None = None,
    ):
        self.optimizer, self.scheduler = optimizer, scheduler
        self.clip_norm, self.advance = clip_norm, advance
        self.averages, self.decay = averages or {}, decay
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.finite = torch.ones((), dtype=torch.bool, device=self.parameters[0].device)
        self._known: tuple[Any, ...] | None = None

    def tensors(self) -> list[Tensor]:
        """What a step changes, besides what :attr:`advance` does."""
        moments = (self._moments(p) for p in self.parameters)
        owned = [*self.parameters, *(m for pair in moments for m in pair), *self.averages.values()]
        return [self.finite, *(tensor.detach() for tensor in owned)]

    def ready(self) -> bool:
        """Whether steps can be taken, which is so until what are constants here change."""
        groups, state = self.optimizer.param_groups, self.optimizer.state
        if self._known is None:
            self._begin()
            self._known = groups, state, self._constants()
        known, kept, constants = self._known
        return groups is known and state is kept and self._constants() == constants

    def begin(self, active: Sequence[Tensor], count: int) -> list[Tensor] | None:
        """The numbers of so many steps to come, which are counted as taken.

        Each is a row for each group of parameters: a, c, the factor of p, weight decay and betas.
        ``None`` where parameters of one group have taken different numbers of steps.

        Args:
            active: the parameters that have gradients.
            count: of steps.
        """
        groups, own = self.optimizer.param_groups, set(map(id, active))
        steps = dict(zip(map(id, self.parameters), self._steps.tolist(), strict=True))
        taken = [{steps[id(p)] for p in group["params"] if id(p) in own} for group in groups]
        if any(len(different) > 1 for different in taken):
            return None
        before = [max(same, default=0.0) for same in taken]
        table = []
        for i in range(1, count + 1):
            table.append([_row(g, n + i) for g, n in zip(groups, before, strict=True)])
            if self.scheduler is not None:
                count_as_called(self.optimizer)
                self.scheduler.step()
        if len(own) == len(steps):
            self._steps += count
        else:
            torch._foreach_add_([self.optimizer.state[p]["step"] for p in active], count)
        self.finite.fill_(True)
        return self._table(table)

    def example(self) -> Tensor:
        """Numbers of some step, to try a graph with."""
        return self._table([[_row(group, 1.0) for group in self.optimizer.param_groups]])[0]

    def __call__(
        self,
        loss: Tensor,
        metrics: Mapping[str, Tensor],
        gradients: Mapping[Tensor, Tensor | None],
        coefficients: Tensor,
    ) -> None:
        """Take the step, with gradients by parameter."""
        self.finite.logical_and_(loss.isfinite())
        present = {p: g for p, g in gradients.items() if g is not None}
        if self.clip_norm is not None:
            norm = get_total_norm(present.values(), foreach=False)
            scale = (self.clip_norm / (norm + 1e-6)).clamp(max=1.0)
            present = {p: g * scale for p, g in present.items()}
        for group, row in zip(self.optimizer.param_groups, coefficients, strict=True):
            for p in group["params"]:
                if p in present:
                    self._adam(p, present[p], group, *row)
        for p, average in self.averages.items():
            self._assign(average, average + (1 - self.decay) * (p - average))
        if self.advance is not None:
            self.advance(metrics)

    def _adam(
        self, p: Tensor, gradient: Tensor, group: Mapping[str, Any], *coefficients: Tensor
    ) -> None:
        rate, correction, factor, decay, first, second = coefficients
        start = p
        if group["weight_decay"] and group["decoupled_weight_decay"]:
            start = p * factor
        elif group["weight_decay"]:
            gradient = gradient + decay * p
        m, v = self._moments(p)
        new_m = m + (1 - first) * (gradient - m)
        new_v = second * v + (1 - second) * gradient * gradient
        self._assign(p, start - rate * new_m / (new_v.sqrt() / correction + group["eps"]))
        self._assign(m, new_m)
        self._assign(v, new_v)

    def _assign(self, tensor: Tensor, value: Tensor) -> None:
        tensor.copy_(torch.where(self.finite, value, tensor))

    def _moments(self, p: Tensor) -> tuple[Tensor, Tensor]:
        state = self.optimizer.state[p]
        return state["exp_avg"], state["exp_avg_sq"]

    def _begin(self) -> None:
        """Make the state as the optimiser itself would, with all counts of steps in one tensor."""
        state = self.optimizer.state
        counts = [state[p]["step"].item() if state[p] else 0.0 for p in self.parameters]
        fused = self.optimizer.param_groups[0]["fused"]
        place = self.parameters[0].device if fused else "cpu"
        self._steps = torch.tensor(counts, dtype=torch.float32, device=place)
        for p, step in zip(self.parameters, self._steps.unbind(), strict=True):
            if not state[p]:
                state[p] |= {name: torch.zeros_like(p) for name in ("exp_avg", "exp_avg_sq")}
            state[p]["step"] = step

    def _table(self, rows: list[list[tuple[float, ...]]]) -> list[Tensor]:
        like = self.parameters[0]
        return list(torch.tensor(rows, dtype=like.dtype, device=like.device))

    def _constants(self) -> list[Any]:
        return [
            (group["weight_decay"] != 0, *map(group.get, CONSTANTS))
            for group in self.optimizer.param_groups
        ]


def _row(group: Mapping[str, Any], t: float) -> tuple[float, ...]:
    """The numbers of a group's step t."""
    (first, second), lr, decay = group["betas"], group["lr"], group["weight_decay"]
    rate, correction = lr / (1 - first**t), math.sqrt(1 - second**t)
    return rate, correction, 1 - lr * decay, decay, first, second
