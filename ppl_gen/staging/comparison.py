r"""Whether two runs of one step agree.

Runs from the same random state perform the same arithmetic in another order, so they agree up to
rounding. A tensor :math:`a` agrees with :math:`b` when

.. math::

    \|a - b\| \le 10^4 \epsilon \, \|b\| + 10^2 \epsilon \, s,

with :math:`\epsilon` the precision of its type and :math:`s` the largest norm among the gradients
(or among the values, or the tensors written to): the second term admits the rounding of a sum that
cancels, such as the gradient of a bias before a normalisation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

RELATIVE, ABSOLUTE, COARSEST = 1e4, 1e2, 0.1


@dataclass(frozen=True)
class Outcome:
    """What one step resulted in, by name.

    Attributes:
        values: the loss and the metrics.
        gradients: by parameter, ``None`` where the loss does not depend on it.
        written: the new contents of the tensors that the program writes to.
    """

    values: Mapping[str, Tensor]
    gradients: Mapping[str, Tensor | None]
    written: Sequence[Tensor] = ()


def difference(expected: Outcome, found: Outcome) -> str | None:
    """The first thing in which two outcomes disagree, in words, or ``None``."""
    written = [
        {f"a tensor of shape {tuple(t.shape)} written to ({i})": t for i, t in enumerate(o.written)}
        for o in (expected, found)
    ]
    gradients = [
        {f"the gradient of {name}": g for name, g in o.gradients.items()} for o in (expected, found)
    ]
    for old, new in ((expected.values, found.values), gradients, written):
        if list(old) != list(new):
            return f"{', '.join(old)} expected, {', '.join(new)} found"
        largest = max((_norm(t) for t in old.values() if t is not None), default=0.0)
        for name, tensor in old.items():
            words = _disagreement(tensor, new[name], largest)
            if words is not None:
                return f"{name} {words}"
    return None


def _disagreement(expected: Tensor | None, found: Tensor | None, largest: float) -> str | None:
    if expected is None or found is None:
        return None if expected is found else "is missing from one of them"
    if expected.shape != found.shape or expected.dtype != found.dtype:
        return (
            f"is {found.dtype} {tuple(found.shape)}, not {expected.dtype} {tuple(expected.shape)}"
        )
    if not expected.is_floating_point():
        return None if torch.equal(expected, found) else "differs"
    odd = ~expected.isfinite() | ~found.isfinite()
    if not torch.allclose(expected[odd], found[odd], equal_nan=True):
        return "is not finite in one of them"
    precision = torch.finfo(expected.dtype).eps
    distance = _norm(torch.where(odd, 0.0, expected - found))
    own = _norm(expected)
    bound = min(RELATIVE * precision, COARSEST) * own + ABSOLUTE * precision * largest
    return None if distance <= bound else f"differs by {distance:.3g}, its norm being {own:.3g}"


def _norm(tensor: Tensor) -> float:
    finite = torch.where(tensor.isfinite(), tensor, 0.0) if tensor.is_floating_point() else tensor
    return torch.linalg.vector_norm(finite.double()).item()
