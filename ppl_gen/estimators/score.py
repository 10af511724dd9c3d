r"""Score-function estimators: :math:`\nabla E_q f = E_q[(f(z) - b)\, \nabla \log q(z)]`.

They need no gradient of the cost and no path through z, so they serve every distribution. They
differ in the baseline b, which may be anything independent of z, as
:math:`E_q \nabla \log q = 0`. The best constant is
:math:`b^* = E[f\, \|\nabla \log q\|^2] / E[\|\nabla \log q\|^2]`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ppl_gen._checks import is_finite, require_module
from ppl_gen.estimators.base import Estimator, Expectation, zero
from ppl_gen.estimators.families import leaves
from ppl_gen.networks import MLP


class Score(Estimator):
    r"""The score function, or REINFORCE: :math:`f(z)\, \nabla \log q(z)`.

    Serves any distribution; unbiased; 1 evaluation; Glynn (1990), Williams (1992).

    >>> problem = ppl_gen.gradients.bernoulli_quadratic()
    >>> row = ppl_gen.gradients.compare(problem, ppl_gen.gradients.Score(), draws=500).rows[0]
    >>> row.cost, abs(row.bias) < 4 * row.stderr
    (1.0, True)
    """

    name = "score"

    def surrogate(self, e: Expectation) -> Tensor:
        f, log_q = e.score(e.sample())
        baseline = self.baseline(e)
        surrogate = f + zero((f - baseline).detach() * log_q)
        if isinstance(baseline, Tensor) and baseline.requires_grad:
            surrogate = surrogate + zero((f.detach() - baseline) ** 2)
        return surrogate

    def baseline(self, e: Expectation) -> Tensor | float:
        """b, of a shape that meets the batch shape; learned by least squares if it has a graph."""
        return 0.0


class ScoreConstant(Score):
    """The score function with a constant baseline.

    Serves any distribution; unbiased; 1 evaluation; Greensmith et al. (2004).

    Args:
        baseline: b. By default :func:`compare` takes the best constant :math:`b^*` of the problem,
            and training the mean cost of its first step.

    Raises:
        ValueError: a baseline that is no finite number.

    >>> problem = ppl_gen.gradients.normal_cost("square", k=0.0)
    >>> estimators = ["score", ppl_gen.gradients.ScoreConstant()]
    >>> score, constant = ppl_gen.gradients.compare(problem, estimators, draws=500).rows
    >>> constant.variance < score.variance
    True
    """

    name = "score_constant"
    follows_cost = True
    value: Tensor
    steps: Tensor

    def __init__(self, baseline: float | None = None):
        super().__init__(baseline=baseline)
        if baseline is not None and not is_finite(baseline):
            raise ValueError(f"expected a finite baseline, got {baseline}")
        self.fitted = baseline is None
        self.register_buffer("value", torch.tensor(float(baseline or 0.0)))
        self.register_buffer("steps", torch.tensor(0))

    def baseline(self, e: Expectation) -> Tensor:
        return self.value

    @torch.no_grad()
    def update(self, cost: Tensor) -> None:
        if self.fitted:
            self.value.copy_(torch.where(self.steps == 0, cost.to(self.value), self.value))
            self.steps += 1

    def adapt(self, draw: Callable[[], Expectation], steps: int) -> None:
        if not self.fitted:
            return
        weighted, total = torch.zeros(2, dtype=self.value.dtype)
        for _ in range(steps):
            e = draw()
            z = e.sample()
            parameters = [p for p in leaves(e.distribution).values() if p.requires_grad]
            scores = torch.autograd.grad(e.log_prob(z).sum(), parameters, allow_unused=True)
            batch = e.distribution.batch_shape
            flat = [s.reshape(*batch, -1) for s in scores if s is not None]
            squares = torch.cat(flat, -1).square().sum(-1)
            weighted = weighted + (squares * e.evaluate_fixed(z).detach()).sum()
            total = total + squares.sum()
        self.value.copy_(weighted / total)


class ScoreRunning(Score):
    r"""The score function with a running average of the cost as its baseline.

    Serves any distribution; unbiased; 1 evaluation; Williams (1992), section 8.

    The average is one number, :math:`b \leftarrow b + \max(1 - \rho, 1/t)(\bar f - b)` after step t
    with mean cost :math:`\bar f`: it is kept neither by datum nor by position in the batch.

    Args:
        decay: :math:`\rho` in [0, 1).

    Raises:
        ValueError: a decay out of its range.

    >>> estimator = ppl_gen.gradients.ScoreRunning(decay=0.9)
    >>> for cost in (3.0, 5.0):
    ...     estimator.update(torch.tensor(cost))
    >>> e = ppl_gen.gradients.Expectation(torch.distributions.Bernoulli(0.5), lambda b: b)
    >>> estimator.baseline(e)
    tensor(4.)
    """

    name = "score_running"
    follows_cost = True
    mean: Tensor
    steps: Tensor

    def __init__(self, decay: float = 0.9):
        super().__init__(decay=decay)
        self._start(decay)

    def _start(self, decay: float) -> None:
        if not (is_finite(decay) and 0 <= decay < 1):
            raise ValueError(f"expected a decay in [0, 1), got {decay}")
        self.decay = decay
        self.register_buffer("mean", torch.tensor(0.0))
        self.register_buffer("steps", torch.tensor(0))

    def baseline(self, e: Expectation) -> Tensor:
        return self.mean

    @torch.no_grad()
    def update(self, cost: Tensor) -> None:
        self.steps += 1
        rate = (1 / self.steps).clamp(min=1 - self.decay).to(self.mean)
        self.mean += rate * (cost.to(self.mean) - self.mean)


class NVIL(ScoreRunning):
    r"""The score function with a running average and a network of the datum as its baseline.

    Serves any distribution; unbiased; 1 evaluation; Mnih and Gregor (2014), sections 2.3.1-2.3.2.

    :math:`b(x) = b + C_\psi(x)`, the network trained on :math:`(f - b(x))^2` through the surrogate.
    Without a context (data) there is nothing to look at and the average remains. The paper's
    division by a running standard deviation rescales the gradient, so it is left to the optimiser.

    Args:
        network: from the context to ``(..., 1)``; by default a tanh layer of 100 units, made when
            the first context is seen.
        decay: of the running average, in [0, 1).

    >>> estimator, x = ppl_gen.gradients.NVIL(torch.nn.Linear(2, 1)), torch.ones(3, 2)
    >>> logits = torch.zeros(3, requires_grad=True)
    >>> q = torch.distributions.Bernoulli(logits=logits)
    >>> estimator(q, lambda b: (b - 0.45) ** 2, context=x).sum().backward()
    >>> logits.grad.shape, estimator.network.weight.grad.shape
    (torch.Size([3]), torch.Size([1, 2]))
    """

    name = "nvil"

    def __init__(self, network: nn.Module | None = None, decay: float = 0.9):
        Estimator.__init__(self, network=network, decay=decay)
        self._start(decay)
        self.network = require_module(network)

    def prepare(self, e: Expectation) -> None:
        if self.network is None and e.context is not None:
            self.network = StartingAtZero(tuple(e.context.shape[1:]), 100).to(e.context)

    def baseline(self, e: Expectation) -> Tensor:
        if self.network is None or e.context is None:
            return self.mean
        return self.mean + self.network(e.context.to(self.mean)).squeeze(-1)

    def remarks(self, context: Tensor | None) -> list[str]:
        return [] if context is not None else ["no data to look at: as score_running"]


class StartingAtZero(nn.Module):
    """A tanh network from events to one number, zero before any training.

    Inputs of d numbers are divided by the root of d, so that steps that move every weight at once,
    as Adam's do, saturate no unit.

    Shapes: ``(..., *event)`` -> ``(..., 1)``.
    """

    def __init__(self, event: tuple[int, ...], hidden: int):
        super().__init__()
        self.network = MLP([event], [hidden], (1,), nn.Tanh)
        self.scale = 1 / math.sqrt(math.prod(event))
        for parameter in self.network.layers[-1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, values: Tensor) -> Tensor:
        return self.network(values * self.scale)
