"""Captions for networks of denoisers: an encoder of words, and a network that has one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ppl_gen._checks import is_whole
from ppl_gen._modes import is_readable
from ppl_gen.networks.conditions import Attention


class TextEncoder(nn.Module):
    r"""Words in their places, which attend to each other once.

    Args:
        num_words: the size of the vocabulary, whose word 0 is the blank.
        length: ``L``, the number of words of every caption, blanks included.
        dim: ``E``.

    Shapes: indices of words ``(B, L)`` -> tokens ``(B, L, E)``.

    Raises:
        ValueError: sizes below one, captions of another length, words outside the vocabulary.

    >>> encoder = ppl_gen.networks.TextEncoder(len(ppl_gen.data.VOCABULARY))
    >>> encoder(ppl_gen.data.words(["", "a thick seven"])).shape
    torch.Size([2, 8, 32])
    """

    def __init__(self, num_words: int, length: int = 8, dim: int = 32):
        super().__init__()
        if not (
            is_whole(num_words, 1) and is_whole(length, 1) and is_whole(dim, 4) and not dim % 4
        ):
            raise ValueError(
                "expected at least one word, length >= 1 and dim a multiple of 4, "
                f"got {num_words!r}, {length!r} and {dim!r}"
            )
        self.num_words, self.length, self.dim = num_words, length, dim
        self.words, self.places = nn.Embedding(num_words, dim), nn.Embedding(length, dim)
        self.attention, self.norm = Attention(dim), nn.LayerNorm(dim)

    def forward(self, ids: Tensor) -> Tensor:
        h = self.words(self.require(ids)) + self.places.weight
        return self.norm(h + self.attention(h))

    def require(self, ids: Tensor) -> Tensor:
        """The indices, or ``ValueError`` unless they are captions."""
        if ids.dim() != 2 or ids.shape[1] != self.length or ids.is_floating_point():
            raise ValueError(
                f"expected captions (B, {self.length}) of indices of words, "
                f"got {ids.dtype} of shape {tuple(ids.shape)}"
            )
        if is_readable(ids) and not bool(((ids >= 0) & (ids < self.num_words)).all()):
            raise ValueError(f"expected indices from 0 to {self.num_words - 1}, got others")
        return ids


class Captioned(nn.Module):
    """A network that is told tokens, told captions.

    What stands for no condition is the encoded empty caption, of blanks alone.

    Args:
        encoder: from captions ``(B, L)`` to tokens ``(B, L, E)``.
        network: ``(x, u, tokens)``, as :class:`UNet` and :class:`ResidualMLP` with ``token_dim``.

    >>> encoder = ppl_gen.networks.TextEncoder(len(ppl_gen.data.VOCABULARY))
    >>> network = ppl_gen.networks.ResidualMLP((2,), hidden=16, token_dim=32)
    >>> captioned = ppl_gen.networks.Captioned(encoder, network)
    >>> denoiser = ppl_gen.denoisers.Denoiser(captioned, ppl_gen.noise.Cosine(), "velocity")
    >>> y = ppl_gen.data.words(["", "a thick seven"])
    >>> denoiser(torch.zeros(2, 2), torch.tensor(0.5), y).data.shape
    torch.Size([2, 2])
    """

    def __init__(self, encoder: TextEncoder, network: nn.Module):
        super().__init__()
        self.encoder, self.network = encoder, network

    @property
    def null(self) -> Tensor:
        """The empty caption, ``(L,)``."""
        return torch.zeros(self.encoder.length, dtype=torch.long)

    def forward(self, x: Tensor, u: Tensor, y: Tensor | None = None) -> Tensor:
        if y is None:
            y = self.null.to(x.device).expand(len(x), -1)
        return self.network(x, u, self.encoder(y))
