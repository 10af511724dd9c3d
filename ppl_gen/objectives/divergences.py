r"""What a critic and a generator minimise, as functions of the critic's output.

A critic gives a logit :math:`\ell(x)` to data of the law :math:`p_d` and to fakes of the law
:math:`p_g`. With :math:`s` the softplus, :math:`\log D = -s(-\ell)` and
:math:`\log(1 - D) = -s(\ell)`; computing with D itself overflows where the laws are far apart. At
the critic's optimum its cost is a divergence of the two laws:

==================  =======================================  =====================================
name                minimum of the critic's cost             what the generator's step descends
==================  =======================================  =====================================
minimax             log 4 - 2 JS(p_d, p_g)                   2 JS(p_d, p_g)
non_saturating      the same                                 KL(p_g ‖ p_d) - 2 JS(p_d, p_g)
kl                  the same                                 KL(p_g ‖ p_d)
least_squares       ∫ p_d p_g / (p_d + p_g)                  E_g (l - 1)², l held fixed
hinge               2 - 2 TV(p_d, p_g)                       -E_g l, l held fixed
wasserstein         -K W₁(p_d, p_g), l being K-Lipschitz     K W₁(p_d, p_g)
==================  =======================================  =====================================

The first two generator losses have their gradients, not their values, from the divergences of the
table; the loss ``kl`` has both. The saturating loss of ``minimax`` fades where the laws are far
apart, and the non-saturating one rewards a distance in JS, which is how it loses modes.

``forward_kl``, ``reverse_kl``, ``pearson``, ``squared_hellinger`` and ``jensen_shannon`` are the
variational bounds of Nowozin et al. (2016): with :math:`f^*` the convex conjugate of f and an
output activation :math:`g_f`,

.. math::

    D_f(p_d \| p_g) = \int p_g\, f\!\left(\frac{p_d}{p_g}\right)
    = \max_\ell\; \mathbb{E}_d\, g_f(\ell) - \mathbb{E}_g\, f^*(g_f(\ell)),

so that the critic's cost is at least minus the divergence, and the generator descends the bound.

Goodfellow et al. (2014); Mao et al. (2017) for least squares with labels 0 and 1; Lim and Ye (2017)
for the hinge; Arjovsky, Chintala and Bottou (2017).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor
from torch.nn.functional import relu, softplus

from graphs.language.suggestions import suggesting

Cost = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Divergence:
    """Three costs, each a function of logits of any shape to costs of the same shape.

    Attributes:
        name: its name.
        real: the critic's cost of a datum.
        fake: the critic's cost of a fake.
        generator: the generator's cost of a fake.

    >>> gan = ppl_gen.divergences.non_saturating
    >>> logits = torch.tensor([-2.0, 0.0, 2.0])
    >>> gan.real(logits)
    tensor([2.1269, 0.6931, 0.1269])
    >>> gan.fake(logits).equal(gan.real(-logits))
    True
    """

    name: str
    real: Cost
    fake: Cost
    generator: Cost

    def __repr__(self) -> str:
        return f"<divergence {self.name}>"


def _surely_real(logits: Tensor) -> Tensor:
    return softplus(-logits)


def _minus(logits: Tensor) -> Tensor:
    return -logits


def _itself(logits: Tensor) -> Tensor:
    return logits


def _f_divergence(name: str, activation: Cost, conjugate: Cost) -> Divergence:
    r"""The variational bound with :math:`g_f(\ell)` and :math:`f^*(g_f(\ell))`."""
    return Divergence(
        name,
        lambda logits: -activation(logits),
        conjugate,
        lambda logits: -conjugate(logits),
    )


minimax = Divergence("minimax", _surely_real, softplus, lambda logits: -softplus(logits))
non_saturating = Divergence("non_saturating", _surely_real, softplus, _surely_real)
kl = Divergence("kl", _surely_real, softplus, _minus)
least_squares = Divergence(
    "least_squares",
    lambda logits: (logits - 1).square(),
    lambda logits: logits.square(),
    lambda logits: (logits - 1).square(),
)
hinge = Divergence(
    "hinge", lambda logits: relu(1 - logits), lambda logits: relu(1 + logits), _minus
)
wasserstein = Divergence("wasserstein", _minus, _itself, _minus)
forward_kl = _f_divergence("forward_kl", _itself, lambda logits: (logits - 1).exp())
reverse_kl = _f_divergence("reverse_kl", lambda logits: -(-logits).exp(), lambda logits: logits - 1)
pearson = _f_divergence("pearson", _itself, lambda logits: logits.square() / 4 + logits)
squared_hellinger = _f_divergence(
    "squared_hellinger", lambda logits: -(-logits).expm1(), lambda logits: logits.expm1()
)
jensen_shannon = _f_divergence(  # twice the Jensen-Shannon divergence, as in the source
    "jensen_shannon",
    lambda logits: math.log(2) - softplus(-logits),
    lambda logits: softplus(logits) - math.log(2),
)

ALL = {
    each.name: each
    for each in (
        *(minimax, non_saturating, kl, least_squares, hinge, wasserstein),
        *(forward_kl, reverse_kl, pearson, squared_hellinger, jensen_shannon),
    )
}


def by_name(divergence: str | Divergence) -> Divergence:
    """The divergence of a name, or the one given.

    Raises:
        ValueError: an unknown name.

    >>> ppl_gen.divergences.by_name("hinge")
    <divergence hinge>
    """
    if isinstance(divergence, Divergence):
        return divergence
    if not isinstance(divergence, str) or divergence not in ALL:
        raise ValueError(f"expected a Divergence or one of {', '.join(ALL)}, got {divergence!r}")
    return ALL[divergence]


if not TYPE_CHECKING:
    __getattr__ = suggesting(__name__)
