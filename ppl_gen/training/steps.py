"""A model and guide with an objective as a training step, for loops of one's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pyro.infer
from pyro import poutine
from pyro.nn import PyroModule
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ppl_gen._exclusive import exclusive
from ppl_gen._random import RandomState
from ppl_gen._store import param_leaves
from ppl_gen.objectives.elbo import Objective, loss_function
from ppl_gen.objectives.terms import Program
from ppl_gen.staging.sandbox import Sandbox
from ppl_gen.staging.staged import BASELINE, Metrics, StagedFunction, warn


def stage(
    model: Program,
    guide: Program,
    objective: pyro.infer.ELBO,
    *,
    staged: str | bool = "auto",
    backend: str | None = None,
) -> Step:
    """A training step of a Pyro model and guide that runs as one compiled graph where it can.

    Args:
        model: a Pyro program.
        guide: a Pyro program with the same arguments.
        objective: an objective of this package, or one of Pyro's with a differentiable loss.
        staged: see :func:`ppl_gen.staging.stage_function`.
        backend: see :func:`ppl_gen.staging.stage_function`.

    Raises:
        ValueError: an objective without a differentiable loss, or an unknown mode; when called,
            that another thread is in a step, in :func:`ppl_gen.fit` or in
            :func:`ppl_gen.gradients.compare`, which share Pyro's handlers and the random
            generators with it.

    >>> vae, x = ppl_gen.zoo.vae((4,), 2, hidden=8), torch.zeros(6, 4)
    >>> step = ppl_gen.stage(vae.model, vae.guide, pyro.infer.Trace_ELBO(), staged=False)
    >>> optimizer = torch.optim.Adam(step.parameters())
    >>> loss = step(x)
    >>> optimizer.step()
    >>> loss.shape
    torch.Size([])
    """
    return Step(model, guide, objective, staged, backend)


class Step:
    """A training step, made by :func:`stage`.

    Calling it with the programs' arguments *replaces* the ``.grad`` of the parameters and returns
    the loss, a detached 0-d tensor. An objective of this package has its schedules advanced. The
    first call of each kind runs once more under Pyro's validation, as it is set.

    Attributes:
        terms: the metrics of the last step; empty for Pyro's own objectives.

    >>> vae, x = ppl_gen.zoo.vae((4,), 2, hidden=8), torch.zeros(6, 4)
    >>> step = ppl_gen.stage(vae.model, vae.guide, ppl_gen.ELBO(), staged=False)
    >>> loss = step(x)
    >>> sorted(step.terms)
    ['elbo', 'kl', 'reconstruction']
    >>> all(p.grad is not None for p in step.parameters())
    True
    """

    def __init__(
        self,
        model: Program,
        guide: Program,
        objective: pyro.infer.ELBO,
        staged: str | bool,
        backend: str | None,
    ):
        self.objective = objective
        self.terms: Metrics = {}
        self._programs = _Programs(model, guide, objective, staged, backend)

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        with exclusive("a step"):
            loss, self.terms = self._programs(*args, **kwargs)
            if isinstance(self.objective, Objective):
                self.objective.update(self.terms)
            return loss

    def parameters(self) -> Iterator[Tensor]:
        """The parameters, unconstrained, as an optimiser takes them.

        Raises:
            ValueError: before the first call, where the programs may create parameters in it.
        """
        return iter(self._programs.known().values())

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """The same with their names in the parameter store, or else in their module."""
        return iter(self._programs.known().items())


class _Programs(StagedFunction):
    """The loss of a model/guide pair, whose parameters are those the programs turn out to use."""

    def __init__(
        self,
        model: Program,
        guide: Program,
        objective: pyro.infer.ELBO,
        staged: str | bool,
        backend: str | None,
    ):
        super().__init__(loss_function(model, guide, objective), {}, staged, backend)
        owners = [getattr(part, "__self__", part) for part in (model, guide, objective)]
        self._modules = [owner for owner in owners if isinstance(owner, nn.Module)]
        self._lazy = not all(
            isinstance(owner, nn.Module) and not isinstance(owner, PyroModule)
            for owner in owners[:2]
        )
        self._handed_out = False
        self._known: dict[int, Tensor] = {}
        self._find_in_modules()

    def known(self) -> dict[str, Tensor]:
        if self._lazy and not self._prepared:
            raise ValueError("expected a first call of the step, which creates its parameters")
        self._handed_out = True
        return dict(self.trained)

    def prepare(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        tensors = (leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor))
        random = RandomState(tensor.device for tensor in tensors)
        with Sandbox() as sandbox, poutine.trace(param_only=True) as captured:
            self.function(*args, **kwargs)
        sandbox.restore()
        random.restore()
        self._find(captured.trace)
        self._find_in_modules()
        super().prepare(args, kwargs)

    def evaluate(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Tensor, Metrics]:
        with poutine.trace(param_only=True) as captured:
            result = super().evaluate(args, kwargs)
        self._find(captured.trace)
        return result

    def _find(self, trace: poutine.Trace) -> None:
        """Add the parameters of param sites."""
        found = param_leaves(trace).items()
        self._add((name, leaf) for name, leaf in found if not name.startswith(BASELINE))

    def _find_in_modules(self) -> None:
        """Add the parameters of modules that are no param sites."""
        for module in self._modules:
            title = type(module).__name__
            self._add((f"{title}.{name}", p) for name, p in module.named_parameters())

    def _add(self, parameters: Iterable[tuple[str, Tensor]]) -> None:
        new = {n: p for n, p in parameters if p.requires_grad and id(p) not in self._known}
        if new:
            self._known |= {id(parameter): parameter for parameter in new.values()}
            self.trained |= new
            if self._handed_out:
                warn(
                    f"{', '.join(map(repr, new))} appeared after the parameters were asked for; "
                    "give them to the optimiser too, or they are not trained"
                )
