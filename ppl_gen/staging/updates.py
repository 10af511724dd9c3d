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
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim import Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from ppl_gen.staging.averages import EMA
from ppl_gen.staging.torch_internals import count_as_called, has_step_hooks

FLAGS = ("amsgrad", "maximize", "differentiable", "capturable")
CONSTANTS = ("eps", "decoupled_weight_decay", *FLAGS)


@dataclass
class UpdateRule:
    """What follows the gradients of one player.

    Attributes:
        parameters: of the player.
        optimizer: of these.
        scheduler: stepped after every step, or by validations if it waits for a plateau.
        clip_norm: the largest norm of all gradients together.
        ema: averages of the parameters.
    """

    parameters: list[Tensor]
    optimizer: Optimizer
    scheduler: LRScheduler | None = None
    clip_norm: float | None = None
    ema: EMA | None = None

    @property
    def every_step(self) -> LRScheduler | None:
        """The scheduler, if it is stepped after every step."""
        return None if isinstance(self.scheduler, ReduceLROnPlateau) else self.scheduler

    def step(self) -> None:
        """Clip the gradients, and step optimiser and scheduler; averages have their own time."""
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.clip_norm)
        self.optimizer.step()
        if (scheduler := self.every_step) is not None:
            scheduler.step()

    def expressible(self) -> bool:
        """Whether :class:`Update` takes the same steps, up to rounding."""
        groups = self.optimizer.param_groups
        return (
            type(self.optimizer) in (Adam, AdamW)
            and not has_step_hooks(self.optimizer)
            and not any(group[flag] for group in groups for flag in FLAGS)
            and not any(isinstance(group["lr"], Tensor) for group in groups)
            and all(p.is_floating_point() for group in groups for p in group["params"])
        )


class Update:
    """Clipping, a step of Adam, averages of the weights, and whatever else comes after a step.

    A step whose loss is not finite changes no parameter, moment or average, nor does any step after
    it until :attr:`finite` is set again.

    Args:
        rules: of the players that take the step together, each :meth:`UpdateRule.expressible`; the
            state of their optimisers is where the moments are.
        advance: called with the metrics of the step; changes tensors in place and nothing else.

    Attributes:
        finite: a 0-d tensor, whether every loss so far was finite.
    """

    def __init__(
        self,
        rules: Sequence[UpdateRule],
        advance: Callable[[Mapping[str, Tensor]], None] | None = None,
    ):
        self.rules, self.advance = list(rules), advance
        self.parameters = [p for group in self._groups() for p in group["params"]]
        self.averages: dict[Tensor, Tensor] = {}
        for rule in self.rules:
            self.averages |= {} if rule.ema is None else rule.ema.by_parameter()
        self.finite = torch.ones((), dtype=torch.bool, device=self.parameters[0].device)
        self._state: dict[Tensor, dict[str, Any]] = {}
        self._known: tuple[list[Any], list[Any]] | None = None

    def _groups(self) -> list[dict[str, Any]]:
        return [group for rule in self.rules for group in rule.optimizer.param_groups]

    def tensors(self) -> list[Tensor]:
        """What a step changes, besides what :attr:`advance` does."""
        moments = (self._moments(p) for p in self.parameters)
        owned = [*self.parameters, *(m for pair in moments for m in pair), *self.averages.values()]
        return [self.finite, *(tensor.detach() for tensor in owned)]

    def ready(self) -> bool:
        """Whether steps can be taken, which is so until what are constants here change."""
        if self._known is None:
            self._begin()
            self._known = self._held(), self._constants()
        held, constants = self._known
        same = all(a is b for a, b in zip(self._held(), held, strict=True))
        return same and self._constants() == constants

    def _held(self) -> list[Any]:
        """The objects in which the optimisers keep their numbers."""
        optimizers = [rule.optimizer for rule in self.rules]
        return [held for o in optimizers for held in (o.param_groups, o.state)]

    def begin(self, active: Sequence[Tensor], count: int) -> list[Tensor] | None:
        """The numbers of the next ``count`` steps, which are counted as taken.

        Each is a row for each group of parameters: a, c, the factor of p, weight decay, betas, and
        how far the averages move. ``None`` where parameters of one group have taken different
        numbers of steps.

        Args:
            active: the parameters that have gradients.
            count: of steps.
        """
        own = set(map(id, active))
        steps = dict(zip(map(id, self.parameters), self._steps.tolist(), strict=True))
        taken = [{steps[id(p)] for p in g["params"] if id(p) in own} for g in self._groups()]
        if any(len(different) > 1 for different in taken):
            return None
        before = [max(same, default=0.0) for same in taken]
        table = [self._next_rows([n + i for n in before]) for i in range(1, count + 1)]
        if len(own) == len(steps):
            self._steps += count
        else:
            torch._foreach_add_([self._state[p]["step"] for p in active], count)
        self.finite.fill_(True)
        return self._table(table)

    def _next_rows(self, times: Sequence[float]) -> list[tuple[float, ...]]:
        """The rows of the groups at their steps t; schedulers and averages move on."""
        rows, remaining = [], iter(times)
        for rule in self.rules:
            weight = 0.0 if rule.ema is None else rule.ema.next_weight()
            groups = rule.optimizer.param_groups
            rows += [_row(group, next(remaining), weight) for group in groups]
            if (scheduler := rule.every_step) is not None:
                count_as_called(rule.optimizer)
                scheduler.step()
        return rows

    def example(self) -> Tensor:
        """Numbers of some step, to try a graph with."""
        return self._table([[_row(group, 1.0, 0.5) for group in self._groups()]])[0]

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
        for rule in self.rules:
            present |= self._clipped(rule, present)
        for group, row in zip(self._groups(), coefficients, strict=True):
            *adam, weight = row
            for p in group["params"]:
                if p in present:
                    self._adam(p, present[p], group, *adam)
                if (average := self.averages.get(p)) is not None:
                    self._assign(average, torch.lerp(average, p, weight.to(p.dtype)))
        if self.advance is not None:
            self.advance(metrics)

    def _clipped(self, rule: UpdateRule, present: Mapping[Tensor, Tensor]) -> dict[Tensor, Tensor]:
        """The gradients of a player, scaled down to the largest norm where they exceed it."""
        if rule.clip_norm is None:
            return {}
        own = {p: present[p] for p in rule.parameters if p in present}
        norm = get_total_norm(own.values(), foreach=False)
        scale = (rule.clip_norm / (norm + 1e-6)).clamp(max=1.0)
        return {p: gradient * scale for p, gradient in own.items()}

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
        state = self._state[p]
        return state["exp_avg"], state["exp_avg_sq"]

    def _begin(self) -> None:
        """Make the state as the optimisers do, with all counts of steps in one tensor."""
        for rule in self.rules:
            held, groups = rule.optimizer.state, rule.optimizer.param_groups
            self._state |= {p: held[p] for group in groups for p in group["params"]}
        state = self._state
        counts = [state[p]["step"].item() if state[p] else 0.0 for p in self.parameters]
        fused = self._groups()[0]["fused"]
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
            (group["weight_decay"] != 0, *map(group.get, CONSTANTS)) for group in self._groups()
        ]


def _row(group: Mapping[str, Any], t: float, weight: float) -> tuple[float, ...]:
    """The numbers of a group's step t, and the weight of the parameters in their averages."""
    (first, second), lr, decay = group["betas"], group["lr"], group["weight_decay"]
    rate, correction = lr / (1 - first**t), math.sqrt(1 - second**t)
    return rate, correction, 1 - lr * decay, decay, first, second, weight
