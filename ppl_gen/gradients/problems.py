r"""Problems on which estimators are compared: an expectation, and its gradient where it is known.

The closed forms are those of the literature: a Bernoulli variable under a quadratic cost (Tucker et
al. 2017, section 5.1) and a normal one under the costs of Mohamed et al. (2020, section 3).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Distribution, Normal

from ppl_gen._checks import is_finite
from ppl_gen._random import preserved
from ppl_gen.estimators.base import Cost, Estimator, Expectation
from ppl_gen.estimators.families import base_of, leaves, rebuild
from ppl_gen.gradients.pullback import Pullback

Bound = Callable[[Distribution, int], Tensor]


@dataclass
class Problem:
    r"""The gradient of :math:`E_q[c(z) + w \log q(z)] + r(q)`, to be estimated.

    Attributes:
        name: what it is called in tables.
        distribution: q, of batch shape D.
        cost: c; maps ``(..., *D, *E)`` to ``(..., *D)``.
        entropy: the weight w of the entropy.
        context: what a baseline may look at.
        wrt: the leaves of q in which the gradient is taken; all when empty.
        regularizer: r, a function of q with values of shape D, such as an analytic KL.
        exact: the expectation of K draws' bound :math:`-\log \frac1K \sum_k e^{-f(z_k)}` as a
            differentiable function of q and K, the expectation itself for K = 1; None, or an answer
            of None, where it is not known.
        pullback: carries gradients in the leaves to the parameters behind them.
        rows: how many values are worth evaluating at a time.

    >>> q = torch.distributions.Exponential(torch.tensor(2.0))
    >>> problem = ppl_gen.gradients.Problem("wait", q, lambda z: z)
    >>> problem.leaves()
    {'rate': tensor(2., requires_grad=True)}
    >>> problem.truth() is None
    True
    """

    name: str
    distribution: Distribution
    cost: Cost
    entropy: float | Tensor = 0.0
    context: Tensor | None = None
    wrt: tuple[str, ...] = ()
    regularizer: Callable[[Distribution], Tensor] | None = None
    exact: Callable[[Distribution, int], Tensor | None] | None = None
    pullback: Pullback = field(default_factory=Pullback)
    rows: int = 1 << 17

    def leaves(self, *shape: int) -> dict[str, Tensor]:
        """The leaves of q, detached and repeated to ``(*shape, *D, ...)``; those of ``wrt`` ask for
        gradients.
        """
        every = leaves(self.distribution)
        unknown = set(self.wrt) - set(every)
        if unknown:
            raise ValueError(f"expected wrt among {tuple(every)}, got {sorted(unknown)}")
        return {
            name: leaf.detach().expand((*shape, *leaf.shape)).clone().requires_grad_(self.has(name))
            for name, leaf in every.items()
        }

    def has(self, name: str) -> bool:
        """Whether the gradient in a leaf is wanted."""
        return not self.wrt or name in self.wrt

    def expectation(self, parameters: Mapping[str, Tensor], cost: Cost) -> Expectation:
        """The expectation at given leaves, with an instrumented cost."""
        q = rebuild(self.distribution, parameters)
        return Expectation(q, cost, self.entropy, self.context, needs_value=False)

    def truth(self, draws: int = 1) -> dict[str, Tensor] | None:
        """The gradient of the K-draw bound in the leaves, or None where it is not known."""
        if self.exact is None:
            return None
        parameters = self.leaves()
        q = rebuild(self.distribution, parameters)
        value = self.exact(q, draws)
        if value is None:
            return None
        if self.regularizer is not None:
            value = value + self.regularizer(q)
        wanted = [name for name in parameters if self.has(name)]
        gradients = torch.autograd.grad(value.sum(), [parameters[name] for name in wanted])
        return dict(zip(wanted, gradients, strict=True))

    def refusal(self, estimator: Estimator) -> str | None:
        """Why an estimator does not serve this problem, or None."""
        if estimator.multi_sample and self.regularizer is not None:
            return "the bound of several draws needs all of the KL inside, kl='sampled'"
        return estimator.refusal(self.distribution)

    def __repr__(self) -> str:
        return self.name


def bernoulli_quadratic(target: float = 0.45, probability: float = 0.5) -> Problem:
    r""":math:`E[(b - t)^2]` under :math:`b \sim \mathrm{Bernoulli}(\sigma(\phi))`.

    The gradient in the logit :math:`\phi` is :math:`p(1 - p)(1 - 2t)` with
    :math:`p = \sigma(\phi)`.

    Args:
        target: t, a finite number.
        probability: p, in (0, 1).

    Raises:
        ValueError: an argument out of its range.

    >>> problem = ppl_gen.gradients.bernoulli_quadratic(target=0.25, probability=0.5)
    >>> problem.truth()
    {'logits': tensor(0.1250, dtype=torch.float64)}
    """
    if not is_finite(target):
        raise ValueError(f"expected a finite target, got {target}")
    if not (is_finite(probability) and 0 < probability < 1):
        raise ValueError(f"expected a probability in (0, 1), got {probability}")

    def cost(b: Tensor) -> Tensor:
        return (b - target) ** 2

    def exact(q: Distribution, draws: int) -> Tensor:
        p: Tensor = q.mean
        ones = torch.arange(draws + 1.0, dtype=p.dtype)
        weights = ones * math.exp(-((1 - target) ** 2)) + (draws - ones) * math.exp(-(target**2))
        binomial = torch.tensor([math.comb(draws, j) for j in range(draws + 1)], dtype=p.dtype)
        mass = binomial * p**ones * (1 - p) ** (draws - ones)
        return -(mass * (weights / draws).log()).sum()

    logit = math.log(probability) - math.log1p(-probability)
    q = Bernoulli(logits=torch.tensor(logit, dtype=torch.float64))
    name = f"bernoulli_quadratic(target={target:g}, probability={probability:g})"
    return Problem(name, q, cost, exact=exact)


@dataclass(frozen=True)
class _Cost:
    """A cost under a normal variable and the closed form of its mean."""

    function: Callable[[Tensor, float], Tensor]
    mean: Callable[[Tensor, Tensor, float], Tensor]


def _mean_of_exp(loc: Tensor, scale: Tensor, k: float) -> Tensor:
    spread = 1 + 2 * k * scale**2
    return torch.exp(-k * loc**2 / spread) / spread.sqrt()


_COSTS = {
    "square": _Cost(lambda x, k: (x - k) ** 2, lambda m, s, k: (m - k) ** 2 + s**2),
    "exp": _Cost(lambda x, k: torch.exp(-k * x**2), _mean_of_exp),
    "cos": _Cost(
        lambda x, k: torch.cos(k * x),
        lambda m, s, k: torch.cos(k * m) * torch.exp(-((k * s) ** 2) / 2),
    ),
}


def normal_cost(
    cost: str, k: float = 1.0, wrt: str = "loc", loc: float = 1.0, scale: float = 1.0
) -> Problem:
    r"""A cost under :math:`x \sim N(\mu, \sigma^2)`: :math:`(x - k)^2`, :math:`e^{-k x^2}`,
    :math:`\cos kx`.

    The truth is the derivative of the closed form of the mean; that of the bound of two draws comes
    from the trapezoidal rule.

    Args:
        cost: ``"square"``, ``"exp"`` or ``"cos"``.
        k: the parameter of the cost.
        wrt: ``"loc"`` for the gradient in :math:`\mu`, ``"scale"`` for that in :math:`\sigma`.
        loc: :math:`\mu`.
        scale: :math:`\sigma`, positive.

    Raises:
        ValueError: an argument out of its range.

    >>> problem = ppl_gen.gradients.normal_cost("square", k=1.0, wrt="scale", loc=1.0, scale=3.0)
    >>> problem.truth()
    {'scale': tensor(6., dtype=torch.float64)}
    """
    if not isinstance(cost, str) or cost not in _COSTS:
        raise ValueError(f"expected a cost among {', '.join(_COSTS)}, got {cost!r}")
    if wrt not in ("loc", "scale"):
        raise ValueError(f"expected wrt 'loc' or 'scale', got {wrt!r}")
    if not (is_finite(k, loc, scale) and scale > 0):
        raise ValueError(f"expected finite k and loc and a positive scale, got {k}, {loc}, {scale}")
    if cost == "exp" and 1 + 2 * k * scale**2 <= 0:
        raise ValueError(f"expected k > {-0.5 / scale**2:g}, where exp(-k x²) has a mean, got {k}")
    function, mean = _COSTS[cost].function, _COSTS[cost].mean

    def exact(q: Distribution, draws: int) -> Tensor | None:
        normal = base_of(q)
        if draws == 1:
            return mean(normal.loc, normal.scale, k)
        if draws > 2:
            return None
        nodes = torch.linspace(-9, 9, 1501, dtype=torch.float64)
        weights = torch.softmax(-(nodes**2) / 2, 0)
        f = function(normal.loc + normal.scale * nodes, k)
        bound = torch.logaddexp(-f.unsqueeze(0), -f.unsqueeze(1)) - math.log(2)
        return -(weights.unsqueeze(1) * weights * bound).sum()

    q = Normal(
        torch.tensor(float(loc), dtype=torch.float64),
        torch.tensor(float(scale), dtype=torch.float64),
    )
    name = f"normal_cost({cost!r}, k={k:g}, wrt={wrt!r})"
    return Problem(name, q, lambda x: function(x, k), wrt=(wrt,), exact=exact)


def expectation(
    distribution: Distribution,
    cost: Cost,
    exact: Bound | None = None,
    wrt: str | tuple[str, ...] = (),
) -> Problem:
    """The problem of any distribution and cost.

    Args:
        distribution: q, of batch shape D and event shape E; its leaves are differentiated.
        cost: maps values ``(..., *D, *E)`` to ``(..., *D)``.
        exact: the expectation as a differentiable function of q and 1, where known.
        wrt: the leaves in which the gradient is taken; all by default.

    Raises:
        ValueError: not a distribution, or the cost gives other than one number per draw.

    >>> q = torch.distributions.Exponential(torch.tensor(2.0))
    >>> problem = ppl_gen.gradients.expectation(q, lambda z: z, exact=lambda q, draws: 1 / q.rate)
    >>> problem.truth()
    {'rate': tensor(-0.2500)}
    """
    if not isinstance(distribution, Distribution):
        raise ValueError(f"expected a distribution, got {type(distribution).__name__}")
    if not callable(cost) or not (exact is None or callable(exact)):
        raise ValueError(f"expected functions for cost and exact, got {cost!r} and {exact!r}")
    if not isinstance(wrt, (str, tuple, list)):
        raise ValueError(f"expected names of leaves as wrt, got {wrt!r}")
    wanted = (wrt,) if isinstance(wrt, str) else tuple(wrt)
    problem = Problem("expectation", distribution, cost, exact=exact, wrt=wanted)
    with preserved():
        trial = problem.expectation(problem.leaves(2), cost)
        trial.evaluate(trial.sample())
    return problem
