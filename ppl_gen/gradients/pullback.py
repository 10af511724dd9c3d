r"""From gradients in the output of a network to those in its weights, for many draws at once.

With :math:`J = \partial \phi / \partial \theta` and one gradient :math:`g_s` in :math:`\phi` per
draw, a variance study needs :math:`\|J^\top g_s\|^2` for each draw and :math:`J^\top \bar g` once.
The draws share the network's forward pass, so for a linear layer with inputs :math:`a_b` and
output gradients :math:`\delta_{sb}`,

.. math::

    \Big\|\sum_b \delta_{sb} a_b^\top\Big\|^2 = \sum_{bb'} (a_b^\top a_{b'})
    (\delta_{sb}^\top \delta_{sb'}),

which needs the Gram matrix of the inputs and never the gradient itself (Goodfellow 2015; Li et al.
2022, section 4). The weights of other layers go the long way, one gradient per draw.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

Named = Mapping[str, Tensor]


class Pullback:
    """The identity: the leaves are the parameters."""

    def parameters(self, gradients: Named) -> dict[str, Tensor]:
        """Gradients in the leaves carried to the parameters."""
        return dict(gradients)

    def square_norms(self, gradients: Named) -> dict[str, Tensor]:
        """Per draw the squared norm in every parameter; gradients are ``(S, *leaf)``."""
        return {name: g.reshape(len(g), -1).square().sum(1) for name, g in gradients.items()}


@dataclass(frozen=True)
class _Call:
    inputs: Tensor
    weight: Tensor
    bias: Tensor | None
    output: Tensor


class LinearCalls(TorchFunctionMode):
    """Records every call of ``torch.nn.functional.linear``."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[_Call] = []

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is torch.nn.functional.linear:
            given = dict(zip(("input", "weight", "bias"), args, strict=False)) | dict(kwargs or {})
            inputs = given["input"].detach()
            self.calls.append(_Call(inputs, given["weight"], given.get("bias"), result))
        return result


class NetworkPullback(Pullback):
    """Carries gradients through the graph that made the leaves.

    Args:
        leaves: the leaves, attached to their graph.
        parameters: candidates; those without influence on the leaves are left out.
        calls: the linear layers met while the leaves were made.

    Raises:
        ValueError: no parameter influences the leaves.
    """

    def __init__(self, leaves: Named, parameters: Named, calls: list[_Call]):
        self.leaves = {name: leaf for name, leaf in leaves.items() if leaf.requires_grad}
        every = list(parameters.values())
        ones = {name: torch.ones_like(leaf) for name, leaf in self.leaves.items()}
        found = self._differentiate(ones, every) if self.leaves and every else ()
        self.named = {
            name: parameter
            for (name, parameter), gradient in zip(parameters.items(), found, strict=False)
            if gradient is not None
        }
        if not self.named:
            raise ValueError("expected a guide whose distribution depends on parameters, got none")
        self._short, self._calls = self._find_short(calls)
        self._products = {
            name: _Product(torch.cat([self._calls[i].inputs.flatten(0, -2) for i in positions]))
            for name, (kind, positions) in self._short.items()
            if kind == "weight"
        }

    def parameters(self, gradients: Named) -> dict[str, Tensor]:
        found = self._differentiate(gradients, list(self.named.values()))
        return {name: g for name, g in zip(self.named, found, strict=True) if g is not None}

    def square_norms(self, gradients: Named) -> dict[str, Tensor]:
        long = [name for name in self.named if name not in self._short]
        outputs = [call.output for call in self._calls]
        inputs = outputs + [self.named[name] for name in long]
        found = self._differentiate(gradients, inputs, batched=True)
        draws = len(next(iter(gradients.values())))
        squares = {name: torch.zeros(draws) for name in self.named}
        deltas = [_rows(delta, draws) for delta in found[: len(outputs)] if delta is not None]
        for name, (_, positions) in self._short.items():
            delta = torch.cat([deltas[i] for i in positions], 1)
            product = self._products.get(name)
            squares[name] = (
                delta.sum(1).square().sum(1) if product is None else product.square_norms(delta)
            )
        for name, gradient in zip(long, found[len(outputs) :], strict=True):
            if gradient is not None:
                squares[name] = gradient.reshape(draws, -1).square().sum(1)
        return squares

    def _differentiate(
        self, gradients: Named, inputs: list[Tensor], batched: bool = False
    ) -> tuple[Tensor | None, ...]:
        names = [name for name in gradients if name in self.leaves]
        return torch.autograd.grad(
            [self.leaves[name] for name in names],
            inputs,
            [gradients[name] for name in names],
            retain_graph=True,
            allow_unused=True,
            is_grads_batched=batched,
        )

    def _find_short(
        self, calls: list[_Call]
    ) -> tuple[dict[str, tuple[str, list[int]]], list[_Call]]:
        """Which parameters occur in linear layers only, and in which.

        A parameter used elsewhere as well, such as a tied weight, gives itself away: what its
        layers make of a random gradient is not its gradient.
        """
        generator = torch.Generator().manual_seed(0)
        probe = {
            name: torch.randn(leaf.shape, generator=generator, dtype=leaf.dtype)
            for name, leaf in self.leaves.items()
        }
        outputs = self._differentiate(probe, [c.output for c in calls]) if calls else ()
        used = [call for call, delta in zip(calls, outputs, strict=True) if delta is not None]
        deltas = [delta.flatten(0, -2) for delta in outputs if delta is not None]
        short = {}
        for name, truth in self.parameters(probe).items():
            parameter = self.named[name]
            for kind in ("weight", "bias"):
                positions = [i for i, c in enumerate(used) if getattr(c, kind) is parameter]
                guess = sum(
                    deltas[i].sum(0)
                    if kind == "bias"
                    else deltas[i].T @ used[i].inputs.flatten(0, -2)
                    for i in positions
                )
                if positions and torch.allclose(torch.as_tensor(guess), truth, 1e-3, 1e-4):
                    short[name] = (kind, positions)
        return short, used


def _rows(delta: Tensor, draws: int) -> Tensor:
    """``(S, rows, out)`` from the output gradients of a layer."""
    return delta.reshape(draws, -1, delta.shape[-1])


class _Product:
    """Squared Frobenius norms of ``delta[s].T @ a``, the cheaper way round."""

    def __init__(self, a: Tensor):
        self.a, self.gram = a, a @ a.T if len(a) <= a.shape[1] else None

    def square_norms(self, delta: Tensor) -> Tensor:
        """One per draw, of ``(S, rows, out)``."""
        if self.gram is None:
            return (delta.transpose(1, 2) @ self.a).square().sum((1, 2))
        return (self.gram @ delta).mul_(delta).sum((1, 2))
