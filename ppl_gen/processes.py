"""Several processes that train one model: who does what, and how they agree.

Started by ``torchrun``, each process takes its share of every batch; gradients, being sums over
data, are added up, so a step equals that of one process with the whole batch. Schedules and
controllers see the metrics of the whole batch and stay the same everywhere. Process 0 writes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

TIMEOUT = timedelta(seconds=60)


@dataclass(frozen=True)
class World:
    """This process among all.

    Attributes:
        rank: its number.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def current(cls) -> World:
        """The processes of ``torch.distributed`` where it is initialised, else one."""
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls()

    @property
    def writes(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def share(self, rows: Tensor) -> Tensor:
        """This process's part of the rows of a batch."""
        return rows[self.rank :: self.size]

    @torch.no_grad()
    def add_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Replace every gradient by its sum over the processes."""
        if self.size == 1:
            return
        parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        total = torch.cat([part.flatten() for part in parts])
        dist.all_reduce(total)
        for p, part in zip(parameters, total.split([p.numel() for p in parts]), strict=True):
            p.grad = part.view_as(p)

    def average(self, metrics: Mapping[str, Tensor], weight: int) -> dict[str, Tensor]:
        """Means over the data of all processes, this one's counting ``weight``."""
        if self.size == 1 or not metrics:
            return dict(metrics)
        values = torch.stack([torch.as_tensor(v, dtype=torch.float64) for v in metrics.values()])
        total = torch.cat([values * weight, values.new_tensor([weight])])
        dist.all_reduce(total)
        means = total[:-1] / total[-1]
        return {name: mean.to(v) for (name, v), mean in zip(metrics.items(), means, strict=True)}

    def total(self, value: float) -> float:
        """The sum of a number over the processes."""
        if self.size == 1:
            return value
        sums = torch.tensor(value, dtype=torch.float64)
        dist.all_reduce(sums)
        return sums.item()

    @torch.no_grad()
    def agree(self, tensors: Iterable[Tensor]) -> None:
        """Give every process the tensors of process 0."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor.data, 0)

    def gather(self, item: Any) -> list[Any]:
        """One item of every process, in order of rank."""
        if self.size == 1:
            return [item]
        items: list[Any] = [None] * self.size
        dist.all_gather_object(items, item)
        return items


def launched() -> bool:
    """Whether ``torchrun`` started this process among several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextmanager
def joined() -> Any:
    """Join the other processes that ``torchrun`` started, if it did, for a while.

    A process that dies makes the others fail within a minute instead of waiting for ever.
    """
    if not launched():
        yield World()
        return
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, timeout=TIMEOUT)
    try:
        yield World.current()
    finally:
        dist.destroy_process_group()


Joined = AbstractContextManager[World]
