"""What maps the inputs of a latent to the parameters of its family."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ppl_gen.networks.plain import MLP, join


class Table(nn.Module):
    """Parameters for every configuration of discrete inputs; one without any."""

    def __init__(self, counts: Sequence[int], size: int):
        super().__init__()
        self.counts = tuple(counts)
        self.rows = nn.Parameter(torch.zeros(math.prod(counts), size))

    def forward(self, inputs: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        if not self.counts:
            return self.rows[0]
        row: Tensor | int = 0
        for (codes, _), count in zip(inputs, self.counts, strict=True):
            row = row * count + codes.long()
        return self.rows[row]


class Network(nn.Module):
    """A linear map and what hidden layers add to it, both zero at first.

    Inputs are divided by how many members of plates they stand for, so that a step of an optimizer
    moves the parameters as far where thousands are looked at as where one is; the first hidden
    layer makes up for it.

    Args:
        widths: the numbers of features of the inputs.
        members: how many members each input has.
        hidden: the widths of the hidden layers.
        size: the number of parameters.
    """

    share: Tensor

    def __init__(
        self, widths: Sequence[int], members: Sequence[int], hidden: Sequence[int], size: int
    ):
        super().__init__()
        self.widths = [(width,) for width in widths]
        self.linear = nn.Linear(sum(widths), size)
        self.deep = MLP([(sum(widths),)], hidden, (size,), nn.Tanh)
        counts = torch.tensor(members, dtype=torch.get_default_dtype())
        self.register_buffer("share", 1 / counts.repeat_interleave(torch.tensor(widths)))
        layers = list(self.deep.layers.children())
        with torch.no_grad():
            for last in (self.linear, layers[-1]):
                for parameter in last.parameters():
                    parameter.zero_()
            if hidden:
                layers[0].get_parameter("weight").div_(self.share)

    def forward(self, inputs: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        joined = join([features for _, features in inputs], self.widths) * self.share
        return self.linear(joined) + self.deep(joined)
