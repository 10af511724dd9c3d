r"""REBAR and RELAX: the score function with a control variate that a relaxation makes tractable.

With perturbed logits :math:`\zeta = a + \epsilon`, hard value :math:`b = H(\zeta)` and
:math:`\tilde\zeta \sim p(\zeta \mid b)`, for any function c

.. math::

    g = [f(b) - c(\tilde\zeta)] \nabla_a \log q(b) + \nabla_a c(\zeta) - \nabla_a c(\tilde\zeta)

is unbiased, and what minimises :math:`E\|g\|^2` minimises its variance, so c is learned by the
gradient of :math:`\|g\|^2` (Tucker et al. 2017, equations 6 to 8; Grathwohl et al. 2018,
equation 8).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ppl_gen._checks import is_finite, require_module
from ppl_gen._random import preserved
from ppl_gen.estimators.base import Expectation, inject
from ppl_gen.estimators.families import (
    Relaxation,
    base_of,
    log_prob,
    per_event,
    rebuild,
    sum_events,
)
from ppl_gen.estimators.pathwise import Relaxed
from ppl_gen.estimators.score import StartingAtZero


class Rebar(Relaxed):
    r"""The control variate :math:`c(\zeta) = \eta\, f(\sigma_\tau(\zeta))`.

    Serves Bernoulli and one-hot categorical distributions; needs a cost that is differentiable at
    relaxed values; unbiased; 3 evaluations and the gradients of two; Tucker et al. (2017).

    Args:
        temperature: the initial :math:`\tau > 0`.
        scale: the initial :math:`\eta`; 0 is the plain score function.
        learn: whether :math:`\tau` and :math:`\eta` follow the gradient of the variance.

    Raises:
        ValueError: a temperature that is not positive or a scale that is not finite.

    >>> problem = ppl_gen.gradients.bernoulli_quadratic()
    >>> estimators = ["score", ppl_gen.gradients.Rebar(temperature=0.5)]
    >>> score, rebar = ppl_gen.gradients.compare(problem, estimators, draws=200).rows
    >>> rebar.variance < score.variance
    True
    """

    name = "rebar"

    def __init__(self, temperature: float = 0.5, scale: float = 1.0, learn: bool = True):
        super().__init__(temperature=temperature, scale=scale, learn=learn)
        self._start(temperature, scale, learn)

    def _start(self, temperature: float, scale: float, learn: bool) -> None:
        if not is_finite(temperature) or temperature <= 0:
            raise ValueError(f"expected a positive temperature, got {temperature}")
        if not is_finite(scale):
            raise ValueError(f"expected a finite scale, got {scale}")
        self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature)), learn)
        self.scale = nn.Parameter(torch.tensor(float(scale)), learn)

    def adapt(self, draw: Callable[[], Expectation], steps: int) -> None:
        super().adapt(draw, steps)
        learned = [p for p in self.parameters() if p.requires_grad]
        if learned:
            self.requires_grad_(False)
            self._regress(draw, steps // 2)
            for parameter in learned:
                parameter.requires_grad_()

    @torch.no_grad()
    def _regress(self, draw: Callable[[], Expectation], steps: int) -> None:
        r"""Set :math:`\eta` to its best value: the estimate :math:`g + \eta h` is linear in it."""
        product = square = 0.0
        for _ in range(steps):
            e = draw()
            with preserved():
                plain = self._gradient_at(0.0, e)
            h = self._gradient_at(1.0, e) - plain
            product += (plain * h).sum().item()
            square += h.square().sum().item()
        self.scale.fill_(-product / square if square else 0.0)

    def _gradient_at(self, scale: float, e: Expectation) -> Tensor:
        self.scale.fill_(scale)
        with torch.enable_grad():
            surrogate = self.surrogate(e).sum()
        return torch.autograd.grad(surrogate, base_of(e.distribution).logits)[0]

    def surrogate(self, e: Expectation) -> Tensor:
        r = self.relaxation(e)
        if not torch.is_grad_enabled():
            return e.evaluate_fixed(e.sample())
        a = r.logits.detach().requires_grad_()
        free = r.perturbed(a)
        b = r.harden(free).detach()
        tied = r.conditional(a, b)
        f = e.evaluate_fixed(b)
        learned = [p for p in self.parameters() if p.requires_grad]
        c_free, c_tied = self.variate(e, torch.stack([free, tied]), r)
        (score,) = torch.autograd.grad(log_prob(rebuild(e.distribution, {"logits": a}), b).sum(), a)
        (path,) = torch.autograd.grad((c_free - c_tied).sum(), a, create_graph=bool(learned))
        g = per_event(e.distribution, f.detach() - c_tied) * score + path
        surrogate = f + sum_events(e.distribution, inject(r.logits, g))
        if learned:
            gradients = torch.autograd.grad(
                g.square().sum(), learned, retain_graph=True, allow_unused=True
            )
            for parameter, gradient in zip(learned, gradients, strict=True):
                if gradient is not None:
                    surrogate = surrogate + inject(parameter, gradient).sum() / f.numel()
        return surrogate

    def variate(self, e: Expectation, perturbed: Tensor, r: Relaxation) -> Tensor:
        """c at perturbed logits ``(2, *D, *E)``: of shape ``(2, *D)``."""
        soft = r.soften(perturbed, self.log_temperature.exp())
        fixed = rebuild(e.distribution, {"logits": r.logits.detach()})
        return self.scale * Expectation(fixed, e.cost, e.entropy).evaluate(soft)


class Relax(Rebar):
    r"""The control variate :math:`c(\zeta) = \eta\, f(\sigma_\tau(\zeta)) + r_\rho(\zeta)`.

    The network r is tanh layers that begin at zero, where RELAX is REBAR.

    Serves Bernoulli and one-hot categorical distributions; needs a cost that is differentiable at
    relaxed values; unbiased; 3 evaluations and the gradients of two; Grathwohl et al. (2018).

    Args:
        network: r, from perturbed logits ``(..., *E)`` to ``(..., 1)``; by default a layer of 50
            units, made when the first expectation is seen.
        temperature: the initial :math:`\tau > 0`.
        scale: the initial :math:`\eta`.
        learn: whether :math:`\tau`, :math:`\eta` and r follow the gradient of the variance.

    Raises:
        ValueError: a temperature that is not positive or a scale that is not finite.

    >>> problem = ppl_gen.gradients.bernoulli_quadratic()
    >>> score, relax = ppl_gen.gradients.compare(problem, ["score", "relax"], draws=200).rows
    >>> relax.variance < score.variance
    True
    """

    name = "relax"

    def __init__(
        self,
        network: nn.Module | None = None,
        temperature: float = 0.5,
        scale: float = 1.0,
        learn: bool = True,
    ):
        Relaxed.__init__(self, network=network, temperature=temperature, scale=scale, learn=learn)
        self._start(temperature, scale, learn)
        self.network, self.learn = require_module(network), learn

    def prepare(self, e: Expectation) -> None:
        if self.network is None:
            network = StartingAtZero(tuple(e.distribution.event_shape) or (1,), 50)
            logits = base_of(e.distribution).logits
            self.network = network.to(logits).requires_grad_(self.learn)

    def variate(self, e: Expectation, perturbed: Tensor, r: Relaxation) -> Tensor:
        variate = super().variate(e, perturbed, r)
        if self.network is None:
            return variate
        inputs = perturbed if e.distribution.event_shape else perturbed.unsqueeze(-1)
        return variate + self.network(inputs).squeeze(-1)
