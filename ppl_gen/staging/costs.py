"""What compiling a step costs and saves, foretold from counts: never from a clock.

Compilation takes seconds, however small the program, and each compiled step saves milliseconds or
less: the calls of Python, autograd and Pyro's handlers, one memory access for each intermediate
result, and for products of matrices the choice of the library. Whether it pays is decided by the
number of operations of an eager step and of steps to come, so that the same call decides alike
whatever is in the caches and whatever else the machine does.

The constants are fitted to CPU seconds of nine programs (torch 2.13, one thread of a server's CPU,
2026-11-27): VAEs of dense and convolutional networks on 64 to 4,096 pixels in batches of 64 to 512,
FactorVAE's bound, a GRU over 8 tokens and a regression with three weights. They foretell the saving
of these within a factor of 2; their eager steps take 1 to 93 ms and compiled ones save 0.99 to 13.
Where convolutions are most of a step, compiled steps took 0.95 to 1.1 times as long as eager ones
(a VAE and a GAN with convolutions, a U-Net with 411,636 weights, 2026-11-28): they are left eager.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from ppl_gen.staging.torch_internals import LeanMode

# Seconds that a compiled step saves: in all, and for each operation, element of the result of an
# operation other than a product, and multiplication of a product of matrices or a convolution,
# whose gradients are not in their best layout.
STEP, OPERATION = 0.7e-3, 6e-6
ELEMENT, PRODUCT, CONVOLUTION = 0.25e-9, 8e-12, -4e-12
# Seconds that compilation has to be worth: for a graph, and for each operation. They lie between
# those of finding a compiled graph on disk and of making it.
GRAPH, COMPILED_OPERATION = 4.0, 0.02
# Seconds in which a graph is found on disk, and how many times its price a run has to save by its
# other graphs for one more that is worth finding, though not making, such as that of a short last
# batch: it is made once and kept for all later runs.
FOUND, SPARE = 0.3, 4.0


@dataclass(frozen=True)
class Work:
    """What an eager step does.

    Attributes:
        operations: calls of the tensor library that compute something.
        elements: of the results of those that are no products.
        products: multiplications in products of matrices.
        convolutions: multiplications in convolutions.
        on_cpu: whether all of it is done by a CPU.
        turns: losses with their gradients, of which a step may have several.
        graphs: kinds of turn, each a graph.
        compiled: operations of these; all of them by default.
    """

    operations: int
    elements: int = 0
    products: int = 0
    convolutions: int = 0
    on_cpu: bool = True
    turns: int = 1
    graphs: int = 1
    compiled: int | None = None

    @classmethod
    def of_turns(cls, turns: Sequence[Work], kinds: Sequence[Work]) -> Work:
        """The work of a step of several turns of some kinds."""
        counts = ("operations", "elements", "products", "convolutions", "turns")
        return cls(
            **{name: sum(getattr(work, name) for work in turns) for name in counts},
            on_cpu=all(work.on_cpu for work in kinds),
            graphs=len(kinds),
            compiled=sum(work.operations for work in kinds),
        )


# Above all that compiled steps save on one CPU, 50 ms, at the least price.
MOST = Work(operations=0, elements=200_000_000)


def saved(work: Work) -> float:
    """Seconds that a step saves by being compiled; elsewhere than on a CPU those of Python only."""
    seconds = STEP * work.turns + OPERATION * work.operations
    if work.on_cpu:
        seconds += ELEMENT * work.elements + PRODUCT * work.products
        seconds += CONVOLUTION * work.convolutions
    return max(seconds, 0.0)


def price(work: Work) -> float:
    """Seconds that a compilation has to save in order to be worth it."""
    operations = work.operations if work.compiled is None else work.compiled
    return GRAPH * work.graphs + COMPILED_OPERATION * operations


def pays(work: Work, steps: float) -> bool:
    """Whether a graph that serves so many steps should be compiled.

    >>> small = Work(operations=76, elements=42_000, products=730_000)
    >>> pays(small, 100), pays(small, 10_000)
    (False, True)
    """
    return steps * saved(work) >= price(work)


def spares(work: Work, steps: float, saved_by_others: float) -> bool:
    """Whether a graph that does not pay alone should be compiled beside others that do.

    >>> small = Work(operations=76, elements=42_000, products=730_000)
    >>> spares(small, 100, 100.0), spares(small, 500, 100.0), spares(small, 500, 10.0)
    (False, True, False)
    """
    worth_finding = steps * saved(work) >= FOUND * work.graphs
    return worth_finding and saved_by_others >= SPARE * price(work)


def too_few(steps: float, saved_by_others: float = 0.0) -> bool:
    """Whether so few steps pay for no compilation, whatever they do, so that none need be counted.

    >>> too_few(31), too_few(300), too_few(31, saved_by_others=100.0)
    (True, False, False)
    """
    return not pays(MOST, steps) and not spares(MOST, steps, saved_by_others)


def explained(work: Work, steps: float, compiled: bool) -> str:
    """A choice in words."""
    choice = "compiled" if compiled else "eager"
    return (
        f"{choice}, since compilation saves about {steps * saved(work):.2g} s in as many steps to "
        f"come as {steps:,.0f}, and pays from {price(work):.2g} s"
    )


class Counter(LeanMode):
    """Counts the work that is done in its context."""

    def __init__(self) -> None:
        from torch.utils.flop_counter import flop_registry

        super().__init__()
        self._flops: Mapping[Any, Callable[..., int]] = flop_registry
        self.operations = self.elements = self.products = self.convolutions = 0
        self.on_cpu = True

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        results = func(*args, **(kwargs or {}))
        if not func.is_view:
            self._count(func._overloadpacket, args, kwargs or {}, results)
        return results

    def _count(self, packet: Any, args: Any, kwargs: Mapping[str, Any], results: Any) -> None:
        tensors = [leaf for leaf in tree_leaves(results) if isinstance(leaf, Tensor)]
        self.operations += 1
        self.on_cpu &= all(tensor.device.type == "cpu" for tensor in tensors)
        if packet not in self._flops:
            self.elements += sum(tensor.numel() for tensor in tensors)
            return
        multiplications = self._flops[packet](*args, **kwargs, out_val=results) // 2
        if packet in (torch.ops.aten.convolution, torch.ops.aten.convolution_backward):
            self.convolutions += multiplications
        else:
            self.products += multiplications

    def work(self) -> Work:
        return Work(self.operations, self.elements, self.products, self.convolutions, self.on_cpu)
