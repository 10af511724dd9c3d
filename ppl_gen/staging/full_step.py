"""A whole training step as one graph: loss, gradients, and what follows them.

The graph of a :class:`WholeStep` ends with an :class:`~ppl_gen.staging.updates.Update`, so that
Python has nothing to do between two steps; :mod:`ppl_gen.staging.cycles` takes several in one call.
However many those are, each is the same graph, and the result is the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ppl_gen._random import RandomState
from ppl_gen.staging.comparison import Outcome
from ppl_gen.staging.recording import NotStageable, storage_of
from ppl_gen.staging.sandbox import Sandbox
from ppl_gen.staging.signatures import Call, flatten_call
from ppl_gen.staging.staged import Graph, Loss, Metrics, StagedFunction
from ppl_gen.staging.updates import Update


class WholeStep(StagedFunction):
    """Steps of a loss and an update.

    Args:
        loss: a function of a batch to its loss and metrics.
        parameters: leaf tensors, among them those of the update.
        update: what follows the gradients.
        backend: see :func:`ppl_gen.staging.stage_function`.

    Attributes:
        refusal: why the last call had no graph.
    """

    def __init__(
        self,
        loss: Loss,
        parameters: Iterable[Tensor],
        update: Update,
        backend: str | None = None,
    ):
        def function(coefficients: Tensor, *batch: Tensor) -> tuple[Tensor, Metrics]:
            return loss(*batch)

        named = {f"parameter {i}": parameter for i, parameter in enumerate(parameters)}
        super().__init__(function, named, "auto", backend)
        self.roots |= {"after": update.after, "update": update.advance}
        self.update, self._example = update, update.example()
        self.refusal: str | None = None

    def call(self, args: tuple[Any, ...]) -> Call:
        """A step with these arguments.

        Raises:
            NotStageable: arguments that no graph takes.
        """
        call = flatten_call((self._example, *args), {})
        if not all(type(tensor) is Tensor for tensor in call.tensors):
            raise NotStageable("an argument is a tensor of a class of its own")
        return call

    def graph_for(self, call: Call, count: int) -> Graph | None:
        """The graph of so many steps, or ``None``, in which case nothing has happened."""
        try:
            return self._graph_for(call, count)
        except NotStageable as refusal:
            self._give_up(call, refusal)
            return None

    # --- What differs from a loss with its gradients --------------------------------------------

    def follow(
        self,
        args: tuple[Any, ...],
        loss: Tensor,
        metrics: Metrics,
        gradients: Mapping[Tensor, Tensor | None],
    ) -> None:
        self.update(loss, metrics, gradients, args[0])

    def _outcome(self, call: Call, loss: Tensor, metrics: Metrics, sandbox: Sandbox) -> Outcome:
        """What a step results in; what the update changed is checked here, given the gradients.

        A rounding error in a gradient near zero would become a whole step of Adam, so that two
        runs agree on the update only if it starts from the same gradients.
        """
        found = [tensor.clone() for tensor in self.update.tensors()]
        outcome = super()._outcome(call, loss, metrics, sandbox)
        gradients = {p: p.grad for p in self.trained.values()}
        with torch.no_grad():
            self.update(loss, metrics, gradients, call.tensors[0])
        expected = [tensor.clone() for tensor in self.update.tensors()]
        sandbox.restore()
        self._require_equal(Outcome({}, {}, expected), Outcome({}, {}, found))
        own = set(map(storage_of, self.update.tensors()))
        places = (storage_of(tensor) for tensor, _ in sandbox.written)
        written = [w for w, s in zip(outcome.written, places, strict=True) if s not in own]
        return Outcome(outcome.values, outcome.gradients, written)

    def _compile(self, graph: Graph, call: Call, sandbox: Sandbox, random: RandomState) -> None:
        super()._compile(graph, call, sandbox, random)
        if self.backend != "eager" and graph.run is graph.recorded:
            raise NotStageable("it runs uncompiled")

    def _given(self, call: Call) -> Sequence[Any]:
        return call.leaves[1:]

    def _note(self, call: Call, text: str) -> None:
        """Left to the single steps."""

    def _warn(self, text: str) -> None:
        """Silent: the caller falls back to single steps, which warn."""
        self.refusal = text
