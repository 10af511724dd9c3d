r"""Iterations to a fixed point, what they report, and derivatives at it.

A scheme maps a state to a state, :math:`m' = F(m, \theta)`. At a fixed point the derivative of the
state follows from the implicit function theorem,
:math:`dm = (I - \partial_m F)^{-1} \partial_\theta F \, d\theta`, whose transpose is solved by
iterating too, :math:`\lambda' = g + \lambda \partial_m F`. A value that is stationary in the state
has the derivative it would have were the state constant.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from sys import _getframe
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor

from graphs.inference.factor_groups import Problem

State: TypeAlias = Sequence[Tensor]  # each (states, rows, ...)


class ConvergenceWarning(UserWarning):
    """An iteration ended before its tolerance was met: the answers are those of its last step.

    Examples:
        >>> import warnings
        >>> hasty = graphs.BeliefPropagation(graphs.textbook.asia(), iterations=1)
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     found = hasty.marginals({"dysp": "yes"})
        >>> issubclass(caught[0].category, graphs.ConvergenceWarning)
        True
    """


@dataclass(frozen=True)
class Convergence:
    """How an iteration ended; true where every row converged.

    Attributes:
        converged: whether the residual met the tolerance, (rows,) or a scalar.
        iterations: how many were done.
        residual: the largest change in the last of them.

    Examples:
        >>> chain = graphs.bayesian_network(
        ...     [("A", (), [0.2, 0.8]), ("B", "A", [[0.9, 0.1], [0.3, 0.7]])]
        ... )
        >>> messages = graphs.BeliefPropagation(chain)
        >>> posterior = messages.marginals({"B": 1})["A"]
        >>> bool(messages.convergence), messages.convergence.residual.shape
        (True, torch.Size([]))
    """

    converged: Tensor
    iterations: Tensor
    residual: Tensor

    def __bool__(self) -> bool:
        return bool(self.converged.all())


@dataclass(frozen=True)
class Settings:
    """When to stop, and how much of the old state to keep."""

    iterations: int
    tolerance: float
    damping: float


class Scheme(Protocol):
    """What is iterated."""

    def step(self, state: State, problem: Problem) -> State:
        """The next state."""

    def change(self, old: State, new: State) -> Tensor:
        """How far apart two states are, (rows,)."""

    def mix(self, old: State, new: State, damping: float) -> State:
        """A state between two."""


@torch.no_grad()
def iterate(
    scheme: Scheme, state: State, problem: Problem, settings: Settings
) -> tuple[State, Convergence]:
    """Step until each row's residual meets the tolerance; a row that does is left as it is then."""
    rows = problem.rows
    device = problem.unary[0].device
    whole = [torch.empty_like(s) for s in state]
    converged = torch.zeros(rows, dtype=torch.bool, device=device)
    counts = torch.full((rows,), settings.iterations, device=device)
    residual = torch.zeros(rows, dtype=problem.unary[0].dtype, device=device)
    active = torch.arange(rows, device=device)
    for k in range(1, settings.iterations + 1):
        if not len(active):
            break
        new = scheme.step(state, problem)
        change = scheme.change(state, new)
        residual[active] = change
        done = change <= settings.tolerance
        if k < settings.iterations and not done.any():
            state = scheme.mix(state, new, settings.damping) if settings.damping else new
            continue
        converged[active[done]] = True
        counts[active[done]] = k
        stop = torch.ones_like(done) if k == settings.iterations else done
        for total, part in zip(whole, new, strict=True):
            total[:, active[stop]] = part[:, stop]
        active = active[~stop]
        if len(active):
            problem = problem.take(~stop)
            mixed = scheme.mix(state, new, settings.damping) if settings.damping else new
            state = [s[:, ~stop] for s in mixed]
    return whole, Convergence(converged, counts, residual)


def warn(text: str) -> None:
    """A warning at the first line outside this package."""
    here, level = str(Path(__file__).parents[1]), 1
    frame: Any = _getframe(0)
    while frame is not None and frame.f_code.co_filename.startswith(here):
        frame, level = frame.f_back, level + 1
    warnings.warn(text, ConvergenceWarning, stacklevel=level)


def _require_first() -> None:
    """Raise ``RuntimeError`` if a derivative is itself to be differentiated."""
    if torch.is_grad_enabled():
        raise RuntimeError(
            "expected a first derivative of approximate inference, got create_graph=True; the "
            "derivative of log_partition is factor_marginals, which can be differentiated once"
        )


class Stationary(torch.autograd.Function):
    """A value (rows,) with known derivatives in some tensors, each with an axis of rows.

    Second derivatives are refused: they need those of the derivatives.
    """

    @staticmethod
    def forward(ctx: Any, value: Tensor, axes: Any, derivatives: Any, *inputs: Tensor) -> Any:
        ctx.axes, ctx.derivatives = axes, derivatives
        return value.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        _require_first()
        found: list[Any] = []
        for k, (axis, d) in enumerate(zip(ctx.axes, ctx.derivatives, strict=True)):
            if not ctx.needs_input_grad[k + 3]:
                found.append(None)
                continue
            weighted = d * grad.reshape(-1, 1)
            found.append(weighted.sum(-2, keepdim=True) if axis == 1 else weighted)
        return (None, None, None, *found)


class FixedPoint(torch.autograd.Function):
    """A fixed point, with the derivatives of the implicit function theorem."""

    @staticmethod
    def forward(
        ctx: Any, scheme: Any, settings: Any, zeros: bool, sizes: Any, *tensors: Any
    ) -> Any:
        ctx.scheme, ctx.settings, ctx.zeros, ctx.sizes = scheme, settings, zeros, sizes
        ctx.save_for_backward(*tensors)
        return tuple(t.clone() for t in tensors[: sizes[0]])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        _require_first()
        states, groups = ctx.sizes
        with torch.enable_grad():
            tensors = [t.detach().requires_grad_() for t in ctx.saved_tensors]
            state, tables = tensors[:states], tensors[states : states + groups]
            problem = Problem(tuple(tables), tuple(tensors[states + groups :]), ctx.zeros)
            after = ctx.scheme.step(state, problem)

            def pull(adjoint: list[Tensor], wanted: list[Tensor]) -> list[Tensor]:
                found = torch.autograd.grad(
                    after, wanted, adjoint, retain_graph=True, allow_unused=True
                )
                return [
                    torch.zeros_like(w) if f is None else f
                    for f, w in zip(found, wanted, strict=True)
                ]

            adjoint = [g.clone() for g in grads]
            scale = max([1e-300, *(float(g.abs().max()) for g in grads if g.numel())])
            keep, change = ctx.settings.damping, 0.0
            for _ in range(ctx.settings.iterations):
                pulled = pull(adjoint, state)
                new = [g + p for g, p in zip(grads, pulled, strict=True)]
                steps = [n - a for n, a in zip(new, adjoint, strict=True)]
                change = max([0.0, *(float(s.abs().max()) for s in steps if s.numel())]) / scale
                adjoint = [a + (1 - keep) * s for a, s in zip(adjoint, steps, strict=True)]
                if not change > ctx.settings.tolerance:
                    break
            if not change <= ctx.settings.tolerance:
                warn(
                    f"derivatives did not converge in {ctx.settings.iterations} iterations: the "
                    f"relative residual is {change:.2g}, the tolerance "
                    f"{ctx.settings.tolerance:.2g}"
                )
            return (
                None,
                None,
                None,
                None,
                *(None for _ in state),
                *pull(adjoint, tensors[states:]),
            )
