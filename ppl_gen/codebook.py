r"""Vector quantisation: a learned codebook, and distributions over sequences of its vectors.

An encoder's output :math:`z_e` of ``P`` positions is replaced by the nearest of ``K`` vectors,
:math:`z_q = e_k,\ k = \arg\min_j \|z_e - e_j\|`, and its gradient passes straight through. As a
probabilistic program the site is the sequence of vectors, the guide is degenerate, and the prior is
a categorical over codes at each position (van den Oord, Vinyals and Kavukcuoglu 2017), so the KL is
:math:`-\log p(k_1, \dots, k_P)`: with a uniform prior :math:`P \log K`.
"""

from __future__ import annotations

from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints
from torch.nn.functional import embedding, mse_loss

from ppl_gen import posteriors
from ppl_gen._checks import is_whole
from ppl_gen.distributions.point import DeltaWithLosses
from ppl_gen.networks import Shared
from ppl_gen.posteriors import Family


class Codebook(nn.Module):
    r"""``K`` vectors of ``D`` dimensions, learned by gradients or as running means.

    As running means (their appendix A.1), each vector is the exponentially weighted mean of the
    encoder outputs assigned to it, and a vector assigned to (almost) nothing restarts at a random
    output of the batch.

    Args:
        num_codes: ``K``.
        dim: ``D``.
        decay: of the running means; ``None`` learns the vectors by gradients.
        restart: running counts below this restart a code.

    Raises:
        ValueError: no code or dimension, or a decay outside (0, 1).
    """

    counts: Tensor
    sums: Tensor
    before: Tensor  # the vectors as they were before their means last moved

    def __init__(self, num_codes: int, dim: int, decay: float | None = 0.99, restart: float = 0.01):
        super().__init__()
        if not (is_whole(num_codes, 1) and is_whole(dim, 1)):
            raise ValueError(f"expected at least one code and dimension, got {num_codes} and {dim}")
        if decay is not None and not 0 < decay < 1:
            raise ValueError(f"expected a decay in (0, 1), got {decay}")
        self.num_codes, self.dim, self.decay, self.restart = num_codes, dim, decay, restart
        vectors = torch.randn(num_codes, dim) / dim**0.5
        if decay is None:
            self.vectors = nn.Parameter(vectors)
        else:
            self.register_buffer("vectors", vectors)
            self.register_buffer("counts", torch.ones(num_codes))
            self.register_buffer("sums", vectors.clone())
            self.register_buffer("before", vectors.clone(), persistent=False)

    def nearest(self, z: Tensor) -> Tensor:
        """The index of the nearest vector, ``(..., D) -> (...)``."""
        with torch.no_grad():
            return _closeness(z, self.vectors).argmax(-1)

    def index_of(self, vectors: Tensor) -> Tensor:
        """The index of vectors of the codebook, ``(..., D) -> (...)``.

        They may have been looked up before the running means moved in the same training step.
        """
        with torch.no_grad():
            found = _closeness(vectors, self.vectors)
            if self.decay is not None and self.training:
                found = found.maximum(_closeness(vectors, self.before))
            return found.argmax(-1)

    def look_up(self, indices: Tensor) -> Tensor:
        """The vectors of indices, ``(...) -> (..., D)``."""
        return embedding(indices, self.vectors)

    @torch.no_grad()
    def follow(self, z: Tensor, indices: Tensor) -> None:
        """Move the running means towards the outputs ``(..., D)`` assigned to each vector."""
        assert self.decay is not None
        z, codes = z.reshape(-1, self.dim), torch.arange(self.num_codes, device=z.device)
        assigned = (indices.reshape(-1, 1) == codes).to(z)
        self.counts.lerp_(assigned.sum(0), 1 - self.decay)
        self.sums.lerp_(assigned.T @ z, 1 - self.decay)
        idle = (self.counts < self.restart).unsqueeze(-1)
        drawn = z[torch.randint(len(z), (self.num_codes,), device=z.device)]
        self.counts.copy_(torch.where(idle.squeeze(-1), torch.ones_like(self.counts), self.counts))
        self.sums.copy_(torch.where(idle, drawn, self.sums))
        self.before.copy_(self.vectors)
        self.vectors.copy_(self.sums / self.counts.unsqueeze(-1))


def _closeness(z: Tensor, vectors: Tensor) -> Tensor:
    """Half the negative squared distances to the vectors, up to what they share."""
    return z @ vectors.T - 0.5 * vectors.square().sum(-1)


class Quantized(Family):
    r"""``Z`` positions, each replaced by the nearest vector of a codebook; event ``(Z, D)``.

    Going forward a draw is :math:`z_q`; the gradient with respect to it goes to :math:`z_e`. The
    guide declares the losses :math:`\beta \|z_e - \mathrm{sg}(z_q)\|^2` (commitment) and, where
    the codebook learns by gradients, :math:`\|\mathrm{sg}(z_e) - z_q\|^2`, summed over positions.

    Args:
        codebook: the vectors, shared with the prior.
        commitment: :math:`\beta`.
    """

    def __init__(self, codebook: Codebook, commitment: float = 0.25):
        super().__init__()
        if not commitment >= 0:
            raise ValueError(f"expected a commitment >= 0, got {commitment}")
        self.codebook, self.commitment = codebook, commitment
        self.parameters_per_dim = codebook.dim

    def code_shape(self, latent_dim: int) -> tuple[int, ...]:
        return (latent_dim, self.codebook.dim)

    def place(self, code: Tensor, dim: int, values: Tensor) -> Tensor:
        """Codes with one position at the vectors of the indices ``values``."""
        chosen = posteriors.indices(values, self.codebook.num_codes, "indices")
        code = code.clone()
        code[:, dim] = self.codebook.look_up(chosen)
        return code

    def draw(self, parameters: Tensor) -> Tensor:
        """Outputs of the encoder as they are before they are quantised."""
        return parameters.unflatten(-1, (-1, self.codebook.dim))

    def settle(self, code: Tensor) -> Tensor:
        """The nearest vectors."""
        return self.codebook.look_up(self.codebook.nearest(code))

    def forward(self, parameters: Tensor) -> Distribution:
        z = self.draw(parameters)
        indices = self.codebook.nearest(z)
        vectors = self.codebook.look_up(indices)
        value = z + (vectors - z).detach()
        losses = {"commitment": self.commitment * _squares(z, vectors.detach())}
        if self.codebook.decay is None:
            losses["codebook"] = _squares(vectors, z.detach())
        elif self.training:
            self.codebook.follow(z, indices)
        return DeltaWithLosses(value, losses, event_dim=2)


def _squares(a: Tensor, b: Tensor) -> Tensor:
    return mse_loss(a, b, reduction="none").sum((-2, -1))


class _Vectors(constraints.Constraint):
    """Sequences of vectors of a codebook: a discrete set."""

    is_discrete, event_dim = True, 2

    def check(self, value: Tensor) -> Tensor:
        return value.isfinite().all(-1).all(-1)


class Codes(dist.TorchDistribution):
    """A distribution over sequences of ``P`` vectors of a codebook, event ``(P, D)``.

    Args:
        codebook: the vectors.
        logits: from the indices ``(..., P)`` to the logits ``(..., P, K)`` of each given those
            before it.
        length: ``P``.
        batch_shape: of the distribution.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012
    support = _Vectors()

    def __init__(
        self,
        codebook: Codebook,
        logits: nn.Module,
        length: int,
        batch_shape: torch.Size = torch.Size(),  # noqa: B008
    ):
        self.codebook, self.logits, self.length = codebook, logits, length
        super().__init__(batch_shape, torch.Size((length, codebook.dim)), validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Codes:
        return Codes(self.codebook, self.logits, self.length, torch.Size(batch_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        indices = self.codebook.index_of(value)
        scores = self.logits(indices).log_softmax(-1)
        found = scores.gather(-1, indices.unsqueeze(-1)).squeeze(-1).sum(-1)
        return found.expand(torch.broadcast_shapes(found.shape, self.batch_shape))

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        shape = torch.Size(sample_shape) + self.batch_shape
        device = self.codebook.vectors.device
        indices = torch.zeros(*shape, self.length, dtype=torch.long, device=device)
        for position in range(self.length):
            logits = self.logits(indices)[..., position, :]
            indices[..., position] = dist.Categorical(logits=logits).sample()
        return self.codebook.look_up(indices)


class UniformCodes(nn.Module):
    """Logits of a uniform choice, ``(..., P) -> (..., P, K)``."""

    zeros: Tensor

    def __init__(self, num_codes: int):
        super().__init__()
        self.register_buffer("zeros", torch.zeros(num_codes), persistent=False)

    def forward(self, indices: Tensor) -> Tensor:
        return self.zeros.expand(*indices.shape, -1)


class AutoregressiveCodes(nn.Module):
    """Logits of each code given those before it, by a gated recurrent unit."""

    def __init__(self, num_codes: int, hidden: int = 128):
        super().__init__()
        self.embedding = nn.Embedding(num_codes + 1, hidden)
        self.recurrence = nn.GRU(hidden, hidden, batch_first=True)
        self.head = nn.Linear(hidden, num_codes)

    def forward(self, indices: Tensor) -> Tensor:
        before = torch.nn.functional.pad(indices[..., :-1] + 1, (1, 0))
        states, _ = self.recurrence(self.embedding(before.flatten(0, -2)))
        return self.head(states).unflatten(0, indices.shape[:-1])


class CodePrior(nn.Module):
    """The prior over sequences of ``P`` codes of a codebook shared with the posterior.

    Args:
        codebook: shared, not copied.
        length: ``P``.
        logits: :class:`UniformCodes` or :class:`AutoregressiveCodes`.
    """

    def __init__(self, codebook: Codebook, length: int, logits: nn.Module):
        super().__init__()
        if not is_whole(length, 1):
            raise ValueError(f"expected a latent of at least one dimension, got {length}")
        self._codebook = Shared(codebook)  # the posterior's family owns it
        self.length, self.logits = length, logits

    def forward(self, *parents: Tensor) -> Distribution:
        return Codes(self._codebook.module, self.logits, self.length)
