"""What was learned, with how sure one may be of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from graphs.language.answers import Explained
from graphs.language.notation import Node
from graphs.learning.columns import Array
from graphs.learning.information import Errors
from graphs.parameters.tables import Scope, Tables, label_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

MOST_EXPLAINED = 300  # cells up to which an explanation computes what the data do not determine
MOST_LISTED = 8


@dataclass(frozen=True, repr=False)
class Learned(Explained):
    """A network with tables from data.

    Attributes:
        model: the network: pgmpy's, or tables where tables were given.
        log_likelihoods: at the start and after every iteration, in nats; of the rows alone.
        objectives: what the search raises: the same plus the logarithm of the prior, but for a
            constant.
        converged: whether the search ended by itself; a closed form always has.
        counts: for each node, or each scope of a Markov network, how often every cell occurs;
            expected, given what the rows show, where values are missing.
        empty: rows of conditional tables of which no row of data tells, each as a node and the
            states of its parents; they are uniform.
        latent: nodes that no row observes.
        notes: what else to know, a sentence each.

    >>> data = {"rain": ["yes", "no", "no", "no"], "wet": ["yes", "no", "yes", "no"]}
    >>> learned = graphs.learn(graphs.parse("P(rain) P(wet | rain)"), data)
    >>> learned
    <Learned: 2 nodes from 4 rows, log-likelihood -4.15888>
    >>> learned.standard_errors["rain"].round(4)  # √(3/4 · 1/4 / 4)
    array([0.2165, 0.2165])
    """

    model: Any
    log_likelihoods: tuple[float, ...]
    objectives: tuple[float, ...]
    converged: bool
    counts: dict[Any, Array]
    empty: tuple[tuple[Node, dict[Node, Hashable]], ...]
    latent: tuple[Node, ...]
    notes: tuple[str, ...]
    _tables: Tables = field(repr=False)
    _rows: str = field(repr=False)
    _method: str = field(repr=False)
    _errors: Callable[[], Errors] = field(repr=False)
    _others: tuple[float, ...] = field(default=(), repr=False)

    @property
    def log_likelihood(self) -> float:
        """Of the rows, at the end."""
        return self.log_likelihoods[-1]

    @cached_property
    def _found(self) -> Errors:
        return self._errors()

    @cached_property
    def standard_errors(self) -> dict[Any, Array]:
        """For each node, the standard errors of its table, computed when first asked for.

        They come from the observed information: :math:`\\sqrt{p (1 - p) / n}` where all is seen,
        with n rows in which the parents are in these states. Of a Markov network, whose potentials
        are known only up to factors that cancel, they are of the probabilities of each scope. With
        a prior they are those of the posterior's normal approximation. NaN where the data do not
        determine a number (:attr:`undetermined`, :attr:`empty`), zero where an estimate is 0 or 1,
        where no normal approximation holds.
        """
        return self._by_factor(self._found.arrays)

    @cached_property
    def undetermined(self) -> tuple[tuple[Any, dict[Node, Hashable]], ...]:
        """Cells whose estimate other values would replace as well: the information is singular.

        Each is the node, or the scope of a Markov network, and the states of the cell.
        """
        cells = []
        for (scope, _), lost in zip(self._tables.factors, self._found.undetermined, strict=True):
            for index in np.argwhere(lost):
                cells.append((self._key(scope), self._states_at(scope, index)))
        return tuple(cells)

    @property
    def saddle(self) -> bool:
        """Whether the likelihood still rises in some direction: no maximum, but a saddle."""
        return self._found.saddle

    def table(self) -> pd.DataFrame:
        """Every cell as a row: ``node``, ``given``, ``state``, ``estimate``, ``error``, ``count``.

        Of a Markov network ``scope``, ``states``, ``estimate``, ``error``, ``count``: the estimates
        are the potentials, the errors those of the cells' probabilities.

        >>> data = {"A": ["yes", "no", "no", "no"]}
        >>> graphs.learn(graphs.parse("P(A)"), data).table()
          node given state  estimate     error  count
        0    A          no      0.75  0.216506    3.0
        1    A         yes      0.25  0.216506    1.0
        """
        import pandas as pd

        records = []
        errors = self._found.arrays
        for (scope, table), error in zip(self._tables.factors, errors, strict=True):
            count = self.counts[self._key(scope)]
            for index in product(*map(range, table.shape)):
                states = self._states_at(scope, index)
                if self._tables.directed:
                    *_, state = states.values()
                    given = ", ".join(f"{v}={states[v]}" for v in scope[:-1])
                    named = {"node": scope[-1], "given": given, "state": state}
                else:
                    named = {"scope": scope, "states": tuple(states.values())}
                numbers = {"estimate": table[index], "error": error[index], "count": count[index]}
                records.append(named | numbers)
        return pd.DataFrame(records)

    def plot(self, ax: Axes | None = None) -> Axes:
        """The log-likelihood by iteration, and with a prior what the search raises.

        Args:
            ax: where to draw; a new figure when ``None``.

        >>> data = {"A": [0, 0, 1, 1, None], "B": [0, None, 1, 1, 0]}
        >>> learned = graphs.learn(graphs.parse("P(A) P(B | A)"), data)
        >>> learned.plot().get_xlabel()
        'iteration'
        """
        from graphs.pictures.curves import ascent

        return ascent(self.log_likelihoods, self.objectives, self._others, self.converged, ax)

    # --- Words ----------------------------------------------------------------------------------

    def __repr__(self) -> str:
        nodes = len(self._tables.states)
        state = "" if self.converged else ", not converged"
        return (
            f"<Learned: {nodes} nodes from {self._rows.split(' (')[0]}, "
            f"log-likelihood {self.log_likelihood:.6g}{state}>"
        )

    def _lines(self) -> Iterator[str]:
        steps = len(self.log_likelihoods) - 1
        end = f"log-likelihood {self.log_likelihood:.6g} nats"
        if not steps:
            yield f"{self._method} from {self._rows}, in closed form: {end}."
        else:
            how = "converged" if self.converged else "NOT converged"
            plural = "" if steps == 1 else "s"
            yield (
                f"{self._method} from {self._rows}: {how} after {steps} iteration{plural}, {end}, "
                f"from {self.log_likelihoods[0]:.6g}."
            )
        if self._others:
            below = ", ".join(f"{self.objectives[-1] - other:.3g}" for other in self._others)
            yield f"Other starts ended lower, by {below} nats."
        for v in self.latent:
            count = len(self._tables.states[v])
            yield (
                f"{v} is never observed: its {count} states have no names that data could tell, and"
                f" {math.factorial(count)} ways of exchanging them fit alike."
            )
        yield from self.notes
        if self.empty:
            listed = [_cell(v, states) for v, states in self.empty[:MOST_LISTED]]
            more = f" and {len(self.empty) - MOST_LISTED} more" * (len(self.empty) > MOST_LISTED)
            yield f"No row tells of {'; '.join(listed)}{more}: uniform there."
        yield from self._doubts()

    def _doubts(self) -> Iterator[str]:
        """What the data do not determine, where that is quickly found."""
        cells = sum(table.size for _, table in self._tables.factors)
        if "_found" not in vars(self) and len(self.log_likelihoods) > 1 and cells > MOST_EXPLAINED:
            yield "Standard errors are computed when asked for: standard_errors."
            return
        if self._found.saddle:
            yield (
                "The likelihood still rises in some direction: this is a saddle, or the search "
                "ended early; try another seed or more iterations."
            )
        if lost := self.undetermined:
            owners = list(dict.fromkeys(owner for owner, _ in lost))
            named = ", ".join(map(str, owners[:MOST_LISTED])) + ", ..." * (
                len(owners) > MOST_LISTED
            )
            yield (
                f"The information is singular: the data do not determine {len(lost)} cells of the "
                f"tables of {named}; other values fit them as well."
            )
        if self._tables.directed:
            pairs = zip(self._tables.factors, self._found.arrays, strict=True)
            bound = sum(
                int((error == 0).sum()) for (_, table), error in pairs if table.shape[-1] > 1
            )
            if bound:
                yield (
                    f"{bound} estimates are 0 or 1, where the standard error of 0 says nothing; "
                    "pseudo-counts keep estimates inside."
                )

    def _key(self, scope: Scope) -> Any:
        return scope[-1] if self._tables.directed else scope

    def _by_factor(self, arrays: list[Array]) -> dict[Any, Array]:
        pairs = zip(self._tables.factors, arrays, strict=True)
        return {self._key(scope): array for (scope, _), array in pairs}

    def _states_at(self, scope: Scope, index: Any) -> dict[Node, Hashable]:
        states = self._tables.states
        return {v: states[v][int(i)] for v, i in zip(scope, index, strict=True)}


def _cell(node: Node, states: Mapping[Node, Hashable]) -> str:
    return label_of((*(f"{v}={s}" for v, s in states.items()), node), True)
