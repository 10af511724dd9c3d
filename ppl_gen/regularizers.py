r"""What keeps a critic smooth: a cost on its gradients, or a change of its weights after a step.

=====================  =====================================================  ====================
part                   cost of a datum                                        source
=====================  =====================================================  ====================
``GradientPenalty``    λ (‖∇l(x̂)‖ - 1)², x̂ between a datum and a fake         Gulrajani et al. 2017
the same, one-sided    λ max(0, ‖∇l(x̂)‖ - 1)²                                 the same, section 4
``R1``                 γ/2 ‖∇l(x)‖² at a datum                                Mescheder et al. 2018
``R2``                 γ/2 ‖∇l(x)‖² at a fake                                 the same
``Clip``               none; weights are kept in [-c, c]                      Arjovsky et al. 2017
``spectral_norm``      none; every layer has the spectral norm 1              Miyato et al. 2018
=====================  =====================================================  ====================

Gradients are those in the data and are themselves differentiated in the weights. They are wanted
for one datum at a time, so a penalised critic must not mix data as batch normalisation does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from graphs.language.suggestions import suggesting
from ppl_gen._checks import is_positive

Judge: TypeAlias = Callable[[Tensor], Tensor]  # a critic, or one of its heads
LAYERS = (
    *(nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d),
    *(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
)


class Regularizer:
    """A cost of the critic's turn, and what follows its step; this one is none.

    >>> class Small(ppl_gen.regularizers.Regularizer):
    ...     def __call__(self, critic, real, fake):
    ...         return critic(real).square().sum(-1)
    >>> Small()(torch.nn.Linear(3, 1), torch.zeros(5, 3), torch.ones(5, 3)).shape
    torch.Size([5])
    """

    def __call__(self, critic: Judge, real: Tensor, fake: Tensor) -> Tensor:
        """The cost ``(B,)`` of each output of the critic for as many data as fakes."""
        return real.new_zeros(len(real))

    def after(self, critic: nn.Module) -> None:
        """Called after each of the critic's steps; changes its weights in place, no more."""


class GradientPenalty(Regularizer):
    r"""The penalty :math:`\lambda (\|\nabla_{\hat x} \ell(\hat x)\| - 1)^2`.

    A weight that is finite is paid for: where a unit-slope critic sees the distance W₁, the gap of
    the best penalised one is larger, about :math:`W_1 (1 + W_1 / 2 \lambda)`.

    It is taken at :math:`\hat x = u x + (1 - u) x'` for a datum x, a fake x' and u uniform on
    [0, 1], drawn for every datum.

    Args:
        weight: λ.
        one_sided: penalise only gradients longer than 1.

    Raises:
        ValueError: a weight that is not above zero.

    >>> critic, x = torch.nn.Linear(2, 1), torch.zeros(3, 2)
    >>> _ = torch.nn.init.constant_(critic.weight, 3.0)
    >>> penalty = ppl_gen.regularizers.GradientPenalty(10.0)
    >>> round(penalty(critic, x, x + 1)[0].item(), 3)  # 10 (3 √2 - 1)²
    105.147
    """

    def __init__(self, weight: float = 10.0, one_sided: bool = False):
        self.weight, self.one_sided = _positive(weight, "weight"), one_sided

    def __call__(self, critic: Judge, real: Tensor, fake: Tensor) -> Tensor:
        share = torch.rand(len(real), *[1] * (real.dim() - 1), dtype=real.dtype, device=real.device)
        excess = input_gradient(critic, share * real + (1 - share) * fake).norm(dim=1) - 1
        return self.weight * (excess.relu() if self.one_sided else excess).square()


class R1(Regularizer):
    r"""The penalty :math:`\frac{\gamma}{2} \|\nabla_x \ell(x)\|^2` at data.

    Args:
        weight: γ.

    Raises:
        ValueError: a weight that is not above zero.

    >>> critic = torch.nn.Linear(2, 1)
    >>> _ = torch.nn.init.constant_(critic.weight, 3.0)
    >>> x = torch.zeros(4, 2)
    >>> ppl_gen.regularizers.R1(0.5)(critic, x, x)
    tensor([4.5000, 4.5000, 4.5000, 4.5000], grad_fn=<MulBackward0>)
    """

    def __init__(self, weight: float = 10.0):
        self.weight = _positive(weight, "weight")

    def __call__(self, critic: Judge, real: Tensor, fake: Tensor) -> Tensor:
        return self.weight / 2 * input_gradient(critic, real).square().sum(1)


class R2(R1):
    r"""The penalty of :class:`R1` at fakes.

    Args:
        weight: γ.

    >>> critic = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.ReLU())
    >>> _ = torch.nn.init.constant_(critic[0].weight, 2.0), torch.nn.init.zeros_(critic[0].bias)
    >>> real, fake = -torch.ones(1, 1), torch.ones(1, 1)
    >>> ppl_gen.regularizers.R2(1.0)(critic, real, fake).item()
    2.0
    """

    def __call__(self, critic: Judge, real: Tensor, fake: Tensor) -> Tensor:
        return super().__call__(critic, fake, real)


class Clip(Regularizer):
    r"""Weights kept in [-c, c]: after every step of the critic, so the generator sees no others.

    A critic of scalar data with L hidden layers of width h and (leaky) rectifiers is then no
    steeper than :math:`c (h c)^L`; in D dimensions, D times that in the largest coordinate. How
    much of it training uses is not known, so distances compare between equal networks alone.

    Args:
        bound: :math:`c`.

    Raises:
        ValueError: a bound that is not above zero.

    >>> critic = torch.nn.Linear(2, 1)
    >>> ppl_gen.regularizers.Clip(0.01).after(critic)
    >>> critic.weight.abs().max().item() <= 0.01
    True
    """

    def __init__(self, bound: float = 0.01):
        self.bound = _positive(bound, "bound")

    @torch.no_grad()
    def after(self, critic: nn.Module) -> None:
        for parameter in critic.parameters():
            parameter.clamp_(-self.bound, self.bound)


def spectral_norm(network: nn.Module) -> nn.Module:
    """Divide the weights of every linear and convolutional layer by their spectral norms.

    The norms follow the weights by a step of the power method in every pass in training mode. The
    vectors of that method are buffers, saved with the weights.

    Args:
        network: changed in place and returned.

    Raises:
        ValueError: a network without such layers.

    >>> layer = ppl_gen.regularizers.spectral_norm(torch.nn.Linear(3, 3))
    >>> for _ in range(50):
    ...     y = layer(torch.zeros(1, 3))
    >>> round(torch.linalg.matrix_norm(layer.weight, 2).item(), 3)
    1.0
    """
    layers = [layer for layer in network.modules() if isinstance(layer, LAYERS)]
    if not layers:
        raise ValueError("expected a network with linear or convolutional layers, got none")
    for layer in layers:
        parametrizations.spectral_norm(layer)
    return network


def input_gradient(critic: Judge, x: Tensor) -> Tensor:
    r"""The gradient of every output of a critic in the data it was computed from, ``(B, ...)``.

    A critic that sees several data at once has one output, and so one gradient, for all of them.

    >>> from ppl_gen.regularizers import input_gradient
    >>> input_gradient(torch.nn.Linear(6, 1), torch.zeros(4, 2, 3).flatten(1)).shape
    torch.Size([4, 6])
    """
    x = x if x.requires_grad else x.detach().requires_grad_()
    with torch.enable_grad():
        logits = critic(x)
        (gradient,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    together = len(x) // len(logits)
    return gradient[: together * len(logits)].reshape(len(logits), -1)


def _positive(value: Any, name: str) -> float:
    if not is_positive(value):
        raise ValueError(f"expected a {name} above zero, got {value!r}")
    return float(value)


if not TYPE_CHECKING:
    __getattr__ = suggesting(__name__)
