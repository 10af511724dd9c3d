r"""A discrete model as a distribution over complete assignments, for torch and Pyro.

:math:`\log P(x) = \sum_k \log T_k(x_{C_k}) - \log Z`, with :math:`x` the vector of the state
indices of all nodes. As an observed site of a Pyro program it is an exact log-likelihood; with
log-potentials that are parameters its gradient is that of maximum likelihood, the observed minus
the expected counts (Koller and Friedman 2009, equation 20.4).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from graphs.inference.evidence import all_or
from graphs.inference.junction_tree import JunctionTree
from graphs.structure.models import Model

MOST_ASSIGNMENTS = 1 << 20


class Joint(TorchDistribution):
    """The joint distribution of all nodes of a model.

    The event is a vector (n,) of state indices, in the order of ``joint.nodes``.

    Args:
        model: what :class:`graphs.JunctionTree` accepts, or a ``JunctionTree``.
        log_potentials: tensors in place of the logarithms of the factors, as in
            :meth:`graphs.JunctionTree.log_partition`.
        validate_args: whether values are checked to be states, as in torch.

    Attributes:
        tree: the junction tree behind it.
        nodes: the order of the event's entries.

    Raises:
        ValueError: tables that do not fit the model; once probabilities are asked for, Z = 0.

    >>> joint = graphs.Joint(graphs.textbook.sprinkler())
    >>> joint.nodes
    ('cloudy', 'sprinkler', 'rain', 'wet_grass')
    >>> joint.log_prob(torch.tensor([0, 1, 0, 0])).exp()  # 0.5 · 0.9 · 0.8 · 0.9
    tensor(0.3240, dtype=torch.float64)
    >>> joint.sample((1000,)).shape
    torch.Size([1000, 4])
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    has_enumerate_support = True

    def __init__(
        self,
        model: Model | JunctionTree,
        log_potentials: Sequence[Tensor] | Mapping[int, Tensor] | None = None,
        validate_args: bool | None = None,
    ):
        self.tree = model if isinstance(model, JunctionTree) else JunctionTree(model)
        self.nodes = tuple(self.tree.states)
        self._log_potentials = log_potentials
        self.tree.with_potentials(log_potentials)
        super().__init__(torch.Size(), torch.Size((len(self.nodes),)), validate_args=validate_args)

    @constraints.dependent_property(is_discrete=True, event_dim=1)
    def support(self) -> constraints.Constraint:
        """Vectors of state indices."""
        return _States(self._sizes)

    @property
    def _sizes(self) -> Tensor:
        sizes = [len(names) for names in self.tree.states.values()]
        return torch.tensor(sizes, device=self.tree.device)

    @property
    def log_partition(self) -> Tensor:
        """log Z, of log-potentials as they are now."""
        log_z = self.tree.log_partition(log_potentials=self._log_potentials)
        if all_or(log_z == -math.inf, otherwise=False):
            raise ValueError("expected a model with some possible assignment, got Z = 0")
        return log_z

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-probability of assignments (..., n); minus infinity for impossible ones."""
        if self._validate_args:
            self._validate_sample(value)
        if value.dtype == torch.bool:
            raise ValueError("expected indices of states, got booleans")
        value = value.long()
        position = {node: i for i, node in enumerate(self.nodes)}
        shape = torch.broadcast_shapes(value.shape[:-1], self.batch_shape)
        tables = self.tree.with_potentials(self._log_potentials)
        total = -self.log_partition.to(tables[0].dtype).expand(shape)
        for scope, table in zip(self.tree.factors, tables, strict=True):
            total = total + table[tuple(value[..., position[v]] for v in scope)]
        return total.to(self.tree.dtype)

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Exact draws, ``(*sample_shape, *batch_shape, n)``."""
        shape = torch.Size(sample_shape) + self.batch_shape
        drawn = self.tree.sample(math.prod(shape), log_potentials=self._log_potentials)
        return torch.stack([drawn[v] for v in self.nodes], -1).reshape(*shape, len(self.nodes))

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All assignments, ``(number, *batch_shape, n)``, the last node varying fastest.

        Without ``expand`` the axes of the batch have length one.

        Raises:
            ValueError: more than about a million.
        """
        sizes = self._sizes.tolist()
        if math.prod(sizes) > MOST_ASSIGNMENTS:
            raise ValueError(
                f"expected at most {MOST_ASSIGNMENTS:,} assignments to enumerate, "
                f"got {math.prod(sizes):.3g}"
            )
        grid = torch.arange(math.prod(sizes), device=self.tree.device)
        every = torch.stack(torch.unravel_index(grid, sizes), -1)
        every = every.reshape(len(grid), *(1 for _ in self.batch_shape), len(sizes))
        return every.expand(-1, *self.batch_shape, -1) if expand else every

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """Independent copies: see :meth:`torch.distributions.Distribution.expand`."""
        new = self._get_checked_instance(Joint, _instance)
        new.tree, new.nodes, new._log_potentials = self.tree, self.nodes, self._log_potentials
        super(Joint, new).__init__(torch.Size(batch_shape), self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new


class _States(constraints.Constraint):
    is_discrete = True
    event_dim = 1

    def __init__(self, sizes: Tensor):
        self.sizes = sizes

    def check(self, value: Tensor) -> Tensor:
        return ((value >= 0) & (value < self.sizes) & (value == value.long())).all(-1)
