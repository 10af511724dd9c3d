r"""Sparse codes by a learned iterative shrinkage-thresholding algorithm.

For features y and a dictionary D, ISTA minimises :math:`\tfrac12 \|y - Dz\|^2 + \lambda \|z\|_1` by

.. math::

    z \leftarrow \mathrm{soft}(S z + W y, \theta), \qquad
    W = D^\top / c, \quad S = I - D^\top D / c, \quad \theta = \lambda / c,

with :math:`c = \|D\|_2^2`, from :math:`z = \mathrm{soft}(Wy, \theta)`. LISTA unrolls a few of these
steps and learns W, S and θ (Gregor and LeCun 2010).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.functional import layer_norm

from graphs.language.suggestions import suggesting
from ppl_gen.distributions.point import DeltaWithLosses
from ppl_gen.networks import Shared
from ppl_gen.posteriors import Family


def soft_threshold(z: Tensor, threshold: Tensor) -> Tensor:
    r""":math:`\mathrm{sign}(z) \max(|z| - \theta, 0)`.

    >>> ppl_gen.sparse_coding.soft_threshold(torch.tensor([-3.0, 0.5, 2.0]), torch.tensor(1.0))
    tensor([-2.,  0.,  1.])
    """
    return z.sign() * (z.abs() - threshold).relu()


class LISTA(nn.Module):
    r"""Unrolled sparse coding, ``(..., F) -> (..., M)``, initialised as ISTA.

    Args:
        num_features: ``F``.
        num_atoms: ``M``, the columns of the dictionary.
        penalty: :math:`\lambda`.
        iterations: how many shrinkage steps follow the first.

    Raises:
        ValueError: sizes below one, a penalty that is not positive, negative iterations.

    >>> coder = ppl_gen.sparse_coding.LISTA(num_features=4, num_atoms=8, penalty=0.5)
    >>> y = torch.tensor([[2.0, -1.0, 0.0, 1.0]])
    >>> z = coder(y)
    >>> z.shape
    torch.Size([1, 8])
    >>> coder.cost(y, z) < coder.cost(y, torch.zeros(1, 8))
    tensor([True])
    """

    def __init__(self, num_features: int, num_atoms: int, penalty: float, iterations: int = 8):
        super().__init__()
        if num_features < 1 or num_atoms < 1:
            raise ValueError(
                f"expected at least one feature and atom, got {num_features} and {num_atoms}"
            )
        if not penalty > 0 or iterations < 0:
            raise ValueError(
                f"expected a positive penalty and iterations >= 0, got {penalty}, {iterations}"
            )
        self.penalty, self.iterations = penalty, iterations
        dictionary = torch.randn(num_features, num_atoms)
        self.dictionary = nn.Parameter(dictionary / dictionary.norm(dim=0))
        self.to_code = nn.Parameter(torch.empty(num_atoms, num_features))
        self.feedback = nn.Parameter(torch.empty(num_atoms, num_atoms))
        self.threshold = nn.Parameter(torch.empty(num_atoms))
        self.reset()

    @torch.no_grad()
    def reset(self) -> None:
        """Set W, S and θ to those of ISTA for the current dictionary."""
        d = self.dictionary
        c = torch.linalg.matrix_norm(d, 2).square()
        self.to_code.copy_(d.T / c)
        self.feedback.copy_(torch.eye(d.shape[1], dtype=d.dtype, device=d.device) - d.T @ d / c)
        self.threshold.fill_(self.penalty / c)

    def forward(self, y: Tensor) -> Tensor:
        drive = y @ self.to_code.T
        z = soft_threshold(drive, self.threshold)
        for _ in range(self.iterations):
            z = soft_threshold(z @ self.feedback.T + drive, self.threshold)
        return z

    def cost(self, y: Tensor, z: Tensor) -> Tensor:
        r""":math:`\tfrac12 \|y - Dz\|^2 + \lambda \|z\|_1`, ``(...)``."""
        return self.misfit(y, z) + self.penalty * z.abs().sum(-1)

    def misfit(self, y: Tensor, z: Tensor) -> Tensor:
        r""":math:`\tfrac12 \|y - Dz\|^2`, ``(...)``."""
        return 0.5 * (y - z @ self.dictionary.T).square().sum(-1)


class SparseCode(Family):
    r"""The point posterior at the sparse code of the encoder's features; event ``(M,)``.

    Features are standardised, so that the encoder cannot make the penalty small by making them
    small. The guide declares the misfit :math:`\tfrac12 \|y - Dz\|^2` as an auxiliary loss; a
    Laplace prior of rate λ adds :math:`\lambda \|z\|_1` to it.

    Args:
        coder: turns features ``(..., F)`` into codes ``(..., M)``.

    >>> coder = ppl_gen.sparse_coding.LISTA(num_features=4, num_atoms=8, penalty=0.5)
    >>> family = ppl_gen.sparse_coding.SparseCode(coder)
    >>> family.num_parameters(8)
    4
    >>> family(torch.randn(5, 4)).event_shape
    torch.Size([8])
    """

    def __init__(self, coder: LISTA):
        super().__init__()
        self.coder = coder

    def num_parameters(self, latent_dim: int) -> int:
        return len(self.coder.dictionary)

    def forward(self, parameters: Tensor) -> Distribution:
        features = layer_norm(parameters, parameters.shape[-1:])
        z = self.coder(features)
        return DeltaWithLosses(z, {"misfit": self.coder.misfit(features, z)}, event_dim=1)


class Synthesis(nn.Module):
    """Features from codes by a dictionary, ``(..., M) -> (..., F)``, before a decoder.

    Args:
        coder: whose dictionary is used; shared, not copied.
        decoder: maps features to the parameters of a likelihood.

    >>> coder = ppl_gen.sparse_coding.LISTA(num_features=4, num_atoms=8, penalty=0.5)
    >>> decoder = ppl_gen.sparse_coding.Synthesis(coder, torch.nn.Linear(4, 16))
    >>> decoder(torch.zeros(5, 8)).shape
    torch.Size([5, 16])
    """

    def __init__(self, coder: LISTA, decoder: nn.Module):
        super().__init__()
        self._coder = Shared(coder)  # the posterior's family owns it
        self.decoder = decoder

    def forward(self, z: Tensor, *labels: Tensor) -> Tensor:
        return self.decoder(z @ self._coder.module.dictionary.T, *labels)


if not TYPE_CHECKING:
    __getattr__ = suggesting(__name__)
