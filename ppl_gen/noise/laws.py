r"""How often training visits each of :math:`T` times.

A law gives the probabilities :math:`\pi_1, \dots, \pi_T` of the times of a table. Those that a
batch gets are drawn together, see :func:`stratified`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ppl_gen._checks import is_finite, is_positive, is_whole
from ppl_gen.noise.levels import Level


class TimeLaw(nn.Module):
    r"""Probabilities of the times of a table, which may change as losses are seen.

    Attributes:
        corrected: whether a loss is divided by :math:`T \pi_t`, so that its expectation is the
            mean over all times, whatever the law. It is not where a law is part of a loss.

    >>> class Late(ppl_gen.noise.TimeLaw):
    ...     def forward(self, table):
    ...         t = torch.arange(1, len(table), dtype=torch.float64)
    ...         return t / t.sum()
    >>> Late()(ppl_gen.noise.uniform(ppl_gen.noise.Linear(), 4))
    tensor([0.1000, 0.2000, 0.3000, 0.4000], dtype=torch.float64)
    """

    corrected = True

    def forward(self, table: Level) -> Tensor:
        r""":math:`\pi`, ``(T,)``, of a table of ``T + 1`` levels, the first of which is clean."""
        raise NotImplementedError

    def observe(self, t: Tensor, losses: Tensor) -> None:
        """Take note of losses ``(B,)`` at times ``t``, indices of the table from 1."""


class EvenTimes(TimeLaw):
    r""":math:`\pi_t = 1 / T`.

    >>> ppl_gen.noise.EvenTimes()(ppl_gen.noise.uniform(ppl_gen.noise.Linear(), 2))
    tensor([0.5000, 0.5000], dtype=torch.float64)
    """

    def forward(self, table: Level) -> Tensor:
        return torch.full_like(table.u[1:], 1 / (len(table) - 1))


class LogNormal(TimeLaw):
    r"""Times with :math:`\log \rho \sim \mathcal N(m, s^2)`, :math:`\rho = \sigma / \alpha`.

    The law of Karras et al. (2022, table 1), as part of the loss, on the times of a table: each has
    what lies between the middles to its neighbours in :math:`\log \rho`, and the first and the
    last what lies beyond.

    Args:
        mean: :math:`m`.
        sd: :math:`s`.

    Raises:
        ValueError: a mean that is not finite, a standard deviation that is not positive.

    >>> table = ppl_gen.noise.uniform(ppl_gen.noise.EDM(), 1000)
    >>> law = ppl_gen.noise.LogNormal()(table)
    >>> round((law * table[1:].rho.log()).sum().item(), 2)
    -1.2
    """

    corrected = False

    def __init__(self, mean: float = -1.2, sd: float = 1.2):
        super().__init__()
        if not (is_finite(mean) and is_positive(sd)):
            raise ValueError(f"expected a finite mean and an sd above 0, got {mean!r} and {sd!r}")
        self.mean, self.sd = float(mean), float(sd)

    def forward(self, table: Level) -> Tensor:
        log_rho = -table[1:].log_snr / 2
        middles = (log_rho[1:] + log_rho[:-1]) / 2
        below = torch.special.ndtr((middles - self.mean) / self.sd)
        return torch.cat([below.new_zeros(1), below, below.new_ones(1)]).diff()

    def extra_repr(self) -> str:
        return f"mean={self.mean:g}, sd={self.sd:g}"


class Importance(TimeLaw):
    r""":math:`\pi_t \propto \sqrt{E\, \ell_t^2}` over the last losses seen at each time.

    The law under which the estimated bound varies least (Nichol and Dhariwal 2021), mixed
    with even times by ``floor``, so that no time is forgotten. Until every time has been seen
    ``window`` times, times are even.

    Args:
        steps: the number of times ``T``.
        window: how many losses each time remembers.
        floor: the share of even times in the mixture.

    Raises:
        ValueError: numbers below one, a share outside (0, 1).

    >>> law = ppl_gen.noise.Importance(2, window=1, floor=0.01)
    >>> law.observe(torch.tensor([1, 2]), torch.tensor([3.0, 1.0]))
    >>> law(ppl_gen.noise.uniform(ppl_gen.noise.Linear(), 2)).numpy().round(4)
    array([0.7475, 0.2525])
    """

    losses: Tensor
    counts: Tensor

    def __init__(self, steps: int, window: int = 10, floor: float = 0.001):
        super().__init__()
        if not (is_whole(steps, 1) and is_whole(window, 1)):
            raise ValueError(
                f"expected at least one step and one loss for each, got {steps!r} and {window!r}"
            )
        if not (is_positive(floor) and floor < 1):
            raise ValueError(f"expected a share of even times in (0, 1), got {floor!r}")
        self.steps, self.window, self.floor = steps, window, float(floor)
        self.register_buffer("losses", torch.zeros(steps, window))
        self.register_buffer("counts", torch.zeros(steps, dtype=torch.long))

    def forward(self, table: Level) -> Tensor:
        if len(table) != self.steps + 1:
            raise ValueError(f"expected a table of {self.steps} steps, got {len(table) - 1}")
        even = torch.full_like(table.u[1:], 1 / self.steps)
        sizes = self.losses.to(even).square().mean(1).sqrt()
        known = (self.counts.min() >= self.window) & (sizes.sum() > 0)
        found = sizes / torch.where(known, sizes.sum(), 1.0)
        mixed = (1 - self.floor) * found + self.floor * even
        return torch.where(known, mixed, even)

    @torch.no_grad()
    def observe(self, t: Tensor, losses: Tensor) -> None:
        """Take note of losses ``(B,)`` at times ``t``; of several at one time, of each in turn."""
        index, order = (t - 1).sort(stable=True)
        found = losses.to(self.losses)[order]
        place = torch.arange(len(index), device=index.device)
        first, end = (torch.searchsorted(index, index, right=right) for right in (False, True))
        slot = (self.counts[index] + place - first) % self.window
        # of losses for one slot the last is written, whatever the order of writing
        last = place + (end - 1 - place) // self.window * self.window
        self.losses.index_put_((index, slot), found[last])
        self.counts.index_add_(0, index, torch.ones_like(index))

    def extra_repr(self) -> str:
        return f"steps={self.steps}, window={self.window}, floor={self.floor:g}"


def stratified(law: Tensor, size: int) -> tuple[Tensor, Tensor]:
    r"""Times for a batch and their probabilities, one draw for all.

    Each time has the law's distribution, and together they cover it evenly: the quantiles
    :math:`(v + i / B) \bmod 1`, :math:`v` uniform (Kingma et al. 2021, "Variational diffusion
    models").

    Args:
        law: :math:`\pi`, ``(T,)``.
        size: ``B``.

    Returns:
        Indices ``(B,)`` from 1 to ``T``, and :math:`\pi_t` of each.

    >>> t, mass = ppl_gen.noise.stratified(torch.full((4,), 0.25, dtype=torch.float64), 4)
    >>> t.sort().values, mass
    (tensor([1, 2, 3, 4]), tensor([0.2500, 0.2500, 0.2500, 0.2500], dtype=torch.float64))
    """
    share = torch.arange(size, dtype=law.dtype, device=law.device) / size
    quantile = (torch.rand((), dtype=law.dtype, device=law.device) + share) % 1
    index = torch.searchsorted(law.cumsum(0), quantile, right=True).clamp(max=len(law) - 1)
    return index + 1, law[index]
