"""What follows the gradients of a training step, as tensors changed in place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from ppl_gen.staging.averages import EMA
from ppl_gen.staging.optimizers import WIDTH, Steps, is_expressible
from ppl_gen.staging.torch_internals import count_as_called

Row = tuple[float, ...]


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
        return is_expressible(self.optimizer)


class Mover:
    """The steps of a player's rule, which several updates share."""

    def __init__(self, rule: UpdateRule, steps: Steps):
        self.rule, self.steps = rule, steps

    def next_rows(self) -> list[Row]:
        """The numbers of the next step, by group; the scheduler moves on."""
        rows = self.steps.next_rows()
        if (scheduler := self.rule.every_step) is not None:
            count_as_called(self.rule.optimizer)
            scheduler.step()
        return rows


class Update:
    """Clipping, a step of every optimiser, averages of the weights, and what comes after a step.

    A step whose loss is not finite changes no parameter, moment or average, nor does any step after
    it until ``finite`` is set again.

    Args:
        movers: of the players that take the step together.
        finite: a 0-d tensor, whether every loss so far was finite; several updates may share it.
        averages: those that move after this step.
        after: called after the optimisers; changes tensors in place and nothing else.
        advance: called with the metrics of the step in the end; the same.
        guarded: the parameters that ``after`` may change.
    """

    def __init__(
        self,
        movers: Sequence[Mover],
        finite: Tensor,
        averages: Sequence[EMA] = (),
        after: Callable[[], object] | None = None,
        advance: Callable[[Mapping[str, Tensor]], None] | None = None,
        guarded: Iterable[Tensor] = (),
    ):
        self.movers, self.finite, self.averages = list(movers), finite, list(averages)
        self.after, self.advance, self.guarded = after, advance, list(guarded)
        self.parameters = [p for mover in self.movers for p in mover.steps.parameters]

    def tensors(self) -> list[Tensor]:
        """What a step changes, besides what ``advance`` and ``after`` do."""
        moved = [tensor for mover in self.movers for tensor in mover.steps.tensors()]
        return [self.finite, *moved, *(a for ema in self.averages for a in ema.averages)]

    def next_rows(self) -> list[Row]:
        """The numbers of the next step: a row for every group of parameters, and every average."""
        rows = [row for mover in self.movers for row in mover.next_rows()]
        return rows + [_padded(ema.next_weight()) for ema in self.averages]

    def table(self, rows: Sequence[Sequence[Row]]) -> list[Tensor]:
        """The numbers of some steps as tensors."""
        dtypes = {p.dtype for p in self.parameters}
        widest = max(dtypes, key=lambda dtype: torch.finfo(dtype).bits)
        return list(torch.tensor(rows, dtype=widest, device=self.parameters[0].device))

    def example(self) -> Tensor:
        """Numbers of some step, to try a graph with."""
        rows = [row for mover in self.movers for row in mover.steps.example()]
        return self.table([rows + [_padded(0.5)] * len(self.averages)])[0]

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
        rows = iter(coefficients.unbind())
        for mover in self.movers:
            clipped = present | self._clipped(mover.rule, present)
            mover.steps(clipped, [next(rows) for _ in mover.steps.groups], self._assign)
        if self.after is not None:
            self._take_after(self.after)
        for ema in self.averages:
            weight = next(rows)[0]
            for p, average in zip(ema.parameters, ema.averages, strict=True):
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

    def _take_after(self, after: Callable[[], object]) -> None:
        """What comes after the step, but for parameters where a loss was not finite."""
        before = [(p, p._version, p.detach().clone()) for p in self.guarded]
        after()
        for p, version, value in before:
            if p._version != version:
                p.copy_(torch.where(self.finite, p, value))

    def _assign(self, tensor: Tensor, value: Tensor) -> None:
        tensor.copy_(torch.where(self.finite, value, tensor))


def _padded(weight: float) -> Row:
    return weight, *[0.0] * (WIDTH - 1)
