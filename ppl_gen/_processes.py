"""Several processes that train one model: shares, sums and broadcasts.

Started by ``torchrun``, each process takes its share of every batch; gradients, being sums over
data, are added up, so a step equals that of one process with the whole batch. Schedules and
controllers see the metrics of the whole batch and stay the same everywhere. Process 0 writes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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
    def reduce_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Replace every gradient by its sum over the processes; none stays none."""
        if self.size == 1:
            return
        parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        present = parts[0].new_tensor([p.grad is not None for p in parameters])
        total = torch.cat([*(part.flatten() for part in parts), present])
        dist.all_reduce(total)
        *sums, present = total.split([*(p.numel() for p in parts), len(parts)])
        for p, part, known in zip(parameters, sums, present.tolist(), strict=True):
            p.grad = part.view_as(p).to(p.dtype) if known else None

    def reduce_metrics(
        self, metrics: Mapping[str, Tensor], loss: float, weight: int
    ) -> tuple[dict[str, Tensor], float]:
        """Means of metrics over the data of all processes, this one's counting ``weight``, and the
        sum of the losses.
        """
        if self.size == 1:
            return dict(metrics), loss
        values = [float(value) * weight for value in metrics.values()]
        sums = torch.tensor([*values, loss, weight], dtype=torch.float64)
        dist.all_reduce(sums)
        *totals, loss, data = sums.tolist()
        means = {
            name: torch.as_tensor(total / data, dtype=v.dtype, device=v.device)
            for (name, v), total in zip(metrics.items(), totals, strict=True)
        }
        return means, loss

    def any(self, flag: bool) -> bool:
        """Whether a flag is set in any process."""
        if self.size == 1:
            return flag
        found = torch.tensor(float(flag))
        dist.all_reduce(found)
        return bool(found)

    @torch.no_grad()
    def broadcast(self, tensors: Iterable[Tensor]) -> None:
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
def process_group() -> Iterator[World]:
    """Temporarily join the other processes, if ``torchrun`` started any.

    A process that dies makes the others fail within a minute instead of waiting for ever.
    """
    if not launched():
        yield World()
        return
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
        backend = "cpu:gloo,cuda:nccl"
    dist.init_process_group(backend, timeout=TIMEOUT)
    try:
        yield World.current()
    finally:
        dist.destroy_process_group()
