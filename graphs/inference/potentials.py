"""Logarithms of factors, given in place of a model's own, to be differentiated through."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from graphs.inference.evidence import all_or
from graphs.parameters.tables import Scope

LogPotentials: TypeAlias = Sequence[Tensor] | Mapping[int, Tensor] | None


def replaced(
    log_tables: Sequence[Tensor], factors: Sequence[Scope], log_potentials: LogPotentials
) -> list[Tensor]:
    """The logarithms of the factors, with those given in their places.

    Args:
        log_tables: the model's own, on its device and in the precision of sums.
        factors: their scopes, for messages.
        log_potentials: one tensor per factor, or a dict from positions to tensors.

    Raises:
        ValueError: another number of tensors, another shape, a position that is none, NaN or plus
            infinity.
    """
    count = len(factors)
    if log_potentials is None:
        given = {}
    elif isinstance(log_potentials, Mapping):
        given = dict(log_potentials)
    elif not isinstance(log_potentials, Iterable):
        raise ValueError(
            f"expected tensors of log-potentials, one per factor, got {log_potentials!r}"
        )
    else:
        given = dict(enumerate(log_potentials))
        if len(given) != count:
            raise ValueError(f"expected {count} log-potentials, one per factor, got {len(given)}")
    tables = list(log_tables)
    for k, tensor in given.items():
        if isinstance(k, bool) or not isinstance(k, int) or not 0 <= k < count:
            raise ValueError(f"expected positions in tree.factors, 0 to {count - 1}, got {k!r}")
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            raise ValueError(f"expected a tensor of log-potentials for factor {k}, got {tensor!r}")
        if tensor.shape != tables[k].shape:
            raise ValueError(
                f"expected shape {tuple(tables[k].shape)} for factor {k} over {factors[k]}, got "
                f"{tuple(tensor.shape)}"
            )
        if not all_or(tensor.detach() < torch.inf, otherwise=True):
            raise ValueError(
                f"expected log-potentials below infinity for factor {k} over {factors[k]}, got "
                "NaN or infinity"
            )
        tables[k] = tensor.to(tables[k].device, tables[k].dtype)
    return tables
