"""Running statistics of batch normalisation for averaged weights.

Averages of the weights make other features than the weights whose inputs the running statistics
followed, so these are estimated afresh from some batches (Izmailov et al. 2018, section 3.2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

import torch
from torch import Tensor, nn

from ppl_gen.training.trainable import fill

Normalization: TypeAlias = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.SyncBatchNorm


def normalizations(modules: Iterable[nn.Module], averaged: Iterable[Tensor]) -> list[Normalization]:
    """The layers with running statistics among some modules whose weights are averaged."""
    own = set(map(id, averaged))
    layers = {id(layer): layer for module in modules for layer in module.modules()}
    return [
        layer
        for layer in layers.values()
        if isinstance(layer, Normalization)
        and layer.track_running_stats
        and any(id(parameter) in own for parameter in layer.parameters())
    ]


@torch.no_grad()
def estimate(
    layers: Sequence[Normalization], passes: Iterable[Callable[[], object]], held: Iterable[Tensor]
) -> None:
    """Replace running statistics by the means over some forward passes.

    Layers that no pass runs keep theirs.

    Args:
        layers: whose statistics.
        passes: each runs some layers, in training mode, on a batch.
        held: buffers, of which those of other layers come out as they were.
    """
    own = {id(buffer) for layer in layers for buffer in layer.buffers()}
    others = [buffer for buffer in held if id(buffer) not in own]
    before = [buffer.clone() for buffer in others]
    known = [[buffer.clone() for buffer in layer.buffers()] for layer in layers]
    with _averaging(layers):
        for run in passes:
            run()
    fill(others, before)
    for layer, old in zip(layers, known, strict=True):
        if not layer.num_batches_tracked:
            fill(layer.buffers(), old)


@contextmanager
def _averaging(layers: Sequence[Normalization]) -> Iterator[None]:
    """Temporarily have statistics be means of all batches from now on, in training mode."""
    before = [(layer, layer.momentum, layer.training) for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None
        layer.training = True
    try:
        yield
    finally:
        for layer, momentum, training in before:
            layer.momentum, layer.training = momentum, training
