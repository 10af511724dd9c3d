r"""Estimators of :math:`\nabla_\phi \mathbb{E}_{q_\phi(z)}[f(z)]` and what they are given.

The expectation has a distribution :math:`q_\phi`, of batch shape D and event shape E, and a cost
that maps values ``(..., *D, *E)`` to ``(..., *D)``. For a variational bound the cost depends on the
parameters as well,

.. math:: f_\phi(z) = c(z) + w \log q_\phi(z),

with the weight w of the entropy, zero for a plain expectation. As
:math:`\mathbb{E}_q[\nabla_\phi \log q_\phi(z)] = 0`, an estimator that differentiates the
distribution, not the path, leaves the direct dependence of f on the parameters out.

An estimator answers with a *surrogate*: a tensor of shape D whose value estimates the expectation
and whose gradient estimates the gradient, in the parameters of the distribution and in those of
the cost alike. Surrogates therefore nest: the cost of one latent variable may be the surrogate of
the next. Giving every draw its own copy of the parameters, as a batch dimension of q, makes
gradients of many draws one backward pass.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ppl_gen.estimators.families import describe, log_prob, sample
from ppl_gen.staging.lean_optimizers import Adam

Cost = Callable[[Tensor], Tensor]

ADAPTATION_RATE = 0.02


@dataclass(frozen=True)
class Expectation:
    r""":math:`\mathbb{E}_{q}[c(z) + w \log q(z)]`.

    Attributes:
        distribution: q, of batch shape D and event shape E.
        cost: c, from values ``(..., *D, *E)`` to ``(..., *D)``.
        entropy: the weight w.
        context: what a baseline may look at, its leading dimension the last one of D.
        needs_value: whether the value of the surrogate matters, or its gradient in the parameters
            of q alone, which some estimators have for fewer evaluations.

    >>> q = torch.distributions.Bernoulli(torch.tensor([0.2, 0.7]))
    >>> e = ppl_gen.gradients.Expectation(q, lambda b: (b - 0.5) ** 2)
    >>> e.sample(100).shape
    torch.Size([100, 2])
    >>> e.evaluate(torch.ones(2))
    tensor([0.2500, 0.2500])
    """

    distribution: Distribution
    cost: Cost
    entropy: float | Tensor = 0.0
    context: Tensor | None = None
    needs_value: bool = True

    def sample(self, *shape: int) -> Tensor:
        """Values of q without a path to its parameters, ``(*shape, *D, *E)``."""
        with torch.no_grad():
            return sample(self.distribution, torch.Size(shape))

    def log_prob(self, z: Tensor) -> Tensor:
        """log q(z), differentiable in the parameters."""
        return log_prob(self.distribution, z)

    def evaluate(self, z: Tensor) -> Tensor:
        """f at z with its direct dependence on the parameters; ``(..., *D)``."""
        cost = self._cost(z)
        return cost + self.entropy * self.log_prob(z) if self.has_entropy else cost

    def evaluate_fixed(self, z: Tensor) -> Tensor:
        """f at values without a path, its direct dependence on the parameters left out."""
        cost = self._cost(z)
        return cost + self.entropy * self.log_prob(z).detach() if self.has_entropy else cost

    def score(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """f as in :meth:`evaluate_fixed`, and log q(z)."""
        cost, log_q = self._cost(z), self.log_prob(z)
        return (cost + self.entropy * log_q.detach() if self.has_entropy else cost), log_q

    def _cost(self, z: Tensor) -> Tensor:
        cost = self.cost(z)
        expected = z.shape[: z.dim() - len(self.distribution.event_shape)]
        if not isinstance(cost, Tensor) or cost.shape != expected:
            got = tuple(cost.shape) if isinstance(cost, Tensor) else type(cost).__name__
            raise ValueError(
                f"expected a cost of one number per draw, of shape {tuple(expected)} for values of "
                f"shape {tuple(z.shape)}, got {got}; does the distribution need to_event?"
            )
        return cost

    @property
    def has_entropy(self) -> bool:
        return isinstance(self.entropy, Tensor) or self.entropy != 0


class Estimator(nn.Module):
    """An estimator of the gradient of an expectation; calling it gives the surrogate.

    It is a module: its own parameters (a baseline, a control variate) receive through the surrogate
    the gradient of what makes its variance small.

    Attributes:
        name: its name in the registry.
        serves: the distributions it serves, in words.
        biased: whether the expectation of its gradient differs from the gradient.
        differentiates: whether it needs the gradient of the cost in z.
        follows_cost: whether :meth:`update` learns from the mean cost of every step.
        multi_sample: the number of draws K if it estimates the gradient of the bound
            :math:`-\\log \\tfrac1K \\sum_k e^{-f(z_k)}` instead of that of the expectation.

    >>> logits = torch.zeros(3, requires_grad=True)
    >>> q = torch.distributions.Bernoulli(logits=logits)
    >>> estimator = ppl_gen.gradients.make("disarm")
    >>> estimator(q, lambda b: (b - 0.45) ** 2).sum().backward()
    >>> logits.grad.shape, estimator.biased
    (torch.Size([3]), False)
    """

    name: ClassVar[str]
    serves: ClassVar[str] = "any distribution"
    biased: ClassVar[bool] = False
    differentiates: ClassVar[bool] = False
    follows_cost: ClassVar[bool] = False
    multi_sample: int | None = None

    def __init__(self, **settings: object):
        super().__init__()
        self.settings = settings

    def forward(
        self,
        distribution: Distribution,
        cost: Cost,
        *,
        entropy: float | Tensor = 0.0,
        context: Tensor | None = None,
    ) -> Tensor:
        """The surrogate of the expectation of a cost, of the distribution's batch shape.

        Raises:
            ValueError: the distribution is not served, or the cost is not one number per draw.
        """
        if not callable(cost):
            raise ValueError(f"expected a function for the cost, got {cost!r}")
        self.require(distribution)
        expectation = Expectation(distribution, cost, entropy, context)
        self.prepare(expectation)
        return self.surrogate(expectation)

    def surrogate(self, e: Expectation) -> Tensor:
        """The surrogate, of batch shape D."""
        raise NotImplementedError

    def refusal(self, distribution: Distribution) -> str | None:
        """Why a distribution is not served, or None."""
        return None

    def require(self, distribution: Distribution) -> None:
        """Raise ``ValueError``, naming the estimators that serve a distribution, unless it does."""
        if not isinstance(distribution, Distribution):
            raise ValueError(f"expected a distribution, got {type(distribution).__name__}")
        reason = self.refusal(distribution)
        if reason is not None:
            raise ValueError(
                f"{self.name!r} serves {self.serves}, got {describe(distribution)}: {reason}; "
                f"estimators that serve it: {', '.join(serving(distribution))}"
            )

    def prepare(self, e: Expectation) -> None:
        """Make what depends on the shapes of an expectation; does nothing the second time."""

    def update(self, cost: Tensor) -> None:
        """Learn from the mean cost of the step just taken; called once per optimiser step."""

    def adapt(self, draw: Callable[[], Expectation], steps: int) -> None:
        """Bring the estimator's own state to where training at fixed parameters would bring it."""
        self.prepare(draw())
        parameters = [p for p in self.parameters() if p.requires_grad]
        optimiser = Adam(parameters, lr=ADAPTATION_RATE) if parameters else None
        if optimiser is None and not self.follows_cost:
            return
        for step in range(steps):
            surrogate = self.surrogate(draw())
            if optimiser is not None:
                gradients = torch.autograd.grad(surrogate.mean(), parameters, allow_unused=True)
                for parameter, gradient in zip(parameters, gradients, strict=True):
                    parameter.grad = gradient
                optimiser.param_groups[0]["lr"] = ADAPTATION_RATE * (1 - step / steps)
                optimiser.step()
            self.update(surrogate.detach().mean())

    def remarks(self, context: Tensor | None) -> list[str]:
        """What a reader of a comparison must know, on a problem with or without a context."""
        return []

    @property
    def label(self) -> str:
        """The name, followed by the settings that differ from the default ones."""
        settings = self.extra_repr()
        return f"{self.name}({settings})" if settings else self.name

    def extra_repr(self) -> str:
        defaults = inspect.signature(type(self)).parameters
        return ", ".join(
            f"{name}={type(value).__name__ if isinstance(value, nn.Module) else repr(value)}"
            for name, value in self.settings.items()
            if value is not defaults[name].default and value != defaults[name].default
        )


registry: dict[str, type[Estimator]] = {}


def serving(distribution: Distribution) -> list[str]:
    """The names of the registered estimators that serve a distribution."""
    return [name for name, kind in registry.items() if kind().refusal(distribution) is None]


def zero(term: Tensor) -> Tensor:
    """A term of value zero that keeps its gradient."""
    return term - term.detach()


def inject(parameter: Tensor, gradient: Tensor) -> Tensor:
    """A term of value zero, shaped as both, whose gradient in the parameter is the given one."""
    return zero(parameter * gradient.detach())
