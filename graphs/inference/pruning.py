r"""One marginal from the part of a model that it depends on.

Three parts of a model leave :math:`P(x_t \mid e)` as it is (Shachter 1998; Koller and Friedman
2009, section 9.4.2): in a Bayesian network the *barren* nodes, neither target nor observed nor
ancestors of such, whose tables sum to one; the factors whose unobserved variables no path joins to
the target once the observed ones are taken out (in the moral graph of what is left, this is
d-separation); and the factors of observed variables alone, which are constants.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from graphs.inference.engine import Engine
from graphs.inference.evidence import MISSING, Evidence, read_evidence
from graphs.inference.queries import (
    MAX_BYTES,
    checked_settings,
    model_tables,
    require_possible,
)
from graphs.language.notation import Node
from graphs.structure.models import Model
from graphs.structure.nodes import contains, unknown
from graphs.structure.search import reach

MOST_CHECKED = 10**8  # cells of parts that the target does not depend on, to be checked


def marginal(
    model: Model,
    target: Node,
    evidence: Any = None,
    *,
    likelihoods: Any = None,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str | None = None,
    max_bytes: int = MAX_BYTES,
) -> Tensor:
    r"""The distribution of one node given evidence, from the part of the model that it needs.

    The sums left out are taken to be one, which the rows of printed tables are to rounding. It
    answers about networks whose junction tree would be too large, and is quicker than a tree for
    a single question.

    Args:
        model: what :class:`graphs.JunctionTree` accepts.
        target: the node.
        evidence, likelihoods: observed states and what is only likely, as in
            :class:`graphs.JunctionTree`.
        dtype, device, max_bytes: as in :class:`graphs.JunctionTree`.

    Returns:
        A tensor (states,), or (rows, states), in the order of the target's states.

    Raises:
        ValueError: an unknown or observed target, impossible evidence, a part that is too large,
            a device that is not there.
            Evidence that the target does not depend on is checked to be possible unless that takes
            more than a hundred million products.

    >>> lawn = graphs.textbook.sprinkler()
    >>> graphs.marginal(lawn, "sprinkler", {"wet_grass": "yes"})
    tensor([0.4298, 0.5702], dtype=torch.float64)
    >>> graphs.marginal(lawn, "sprinkler", {"wet_grass": "yes", "rain": "yes"})  # explained away
    tensor([0.1945, 0.8055], dtype=torch.float64)
    """
    where = checked_settings(dtype, device, max_bytes)
    tables = model_tables(model)
    if not contains(tables.states, target):
        raise ValueError(f"expected a node of the model, got {unknown(tables.states, target)}")
    observed = read_evidence(evidence, tables.states, likelihoods)
    number = {node: i for i, node in enumerate(tables.states)}
    if number[target] in observed.codes:
        raise ValueError(f"expected a target without evidence, got {target!r}, which is observed")
    nodes = list(tables.states)
    seen = {v for v, code in observed.codes.items() if (code != MISSING).all()}
    scopes = [tuple(number[v] for v in scope) for scope, _ in tables.factors]
    alive = list(range(len(scopes)))
    if tables.directed:
        alive = _not_barren(scopes, {number[target], *observed.codes, *observed.soft})
    near, far = _reached(scopes, alive, number[target], seen)

    def part(factors: Iterable[int], *variables: int) -> tuple[Engine, Evidence, list[int]]:
        chosen = list(factors)
        members = sorted({v for k in chosen for v in scopes[k]}.union(variables))
        place = {v: i for i, v in enumerate(members)}
        engine = Engine(
            names=[nodes[v] for v in members],
            sizes=[len(tables.states[nodes[v]]) for v in members],
            scopes=[tuple(place[v] for v in scopes[k]) for k in chosen],
            tables=[tables.factors[k][1] for k in chosen],
            hint=frozenset(place[v] for v in seen if v in place),
            dtype=dtype,
            device=where,
            max_bytes=max_bytes,
            order_rows=observed.rows / 2,  # answered once, so worth half of that at most
            progress=False,
        )
        codes = {place[v]: code for v, code in observed.codes.items() if v in place}
        soft = {place[v]: table for v, table in observed.soft.items() if v in place}
        return engine, Evidence(codes, observed.rows, observed.single, soft), members

    engine, known, members = part(near, number[target])
    result = engine.solve(known, keep=(members.index(number[target]),))
    log_z = result.log_z
    unlikely = any((table == 0).any() for table in observed.soft.values())
    if unlikely or any((tables.factors[k][1] == 0).any() for k in far):
        engine, known, _ = part(far)
        if engine.cost().cells <= MOST_CHECKED:
            log_z = log_z + engine.solve(known).log_z
    require_possible(log_z, observed, tables.states)
    answer = torch.from_numpy(result.columns).to(where, dtype)
    return answer[0] if observed.single else answer


def _not_barren(scopes: list[tuple[int, ...]], wanted: set[int]) -> list[int]:
    """The factors of wanted nodes and their ancestors, in a Bayesian network."""
    own = {scope[-1]: k for k, scope in enumerate(scopes)}
    return sorted(own[v] for v in reach(lambda v: scopes[own[v]], wanted))


def _reached(
    scopes: list[tuple[int, ...]], factors: Iterable[int], target: int, seen: set[int]
) -> tuple[list[int], list[int]]:
    """The factors joined to the target by unobserved variables, and the others."""
    factors = list(factors)
    mentions: dict[int, list[int]] = {}
    for k in factors:
        for v in scopes[k]:
            mentions.setdefault(v, []).append(k)
    found = {target}
    near: set[int] = set()
    waiting = [target]
    while waiting:
        for k in mentions.get(waiting.pop(), ()):
            if k in near:
                continue
            near.add(k)
            fresh = [v for v in scopes[k] if v not in found and v not in seen]
            found.update(fresh)
            waiting += fresh
    return sorted(near), [k for k in factors if k not in near]
