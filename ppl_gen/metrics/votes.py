"""Whether a latent dimension stays put while a factor does: the score of Kim and Mnih (2018)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ppl_gen._checks import is_whole
from ppl_gen.evaluation.batched import require_counts
from ppl_gen.metrics.factors import Factors
from ppl_gen.metrics.predictors import Drawn, drawn
from ppl_gen.models.vae import VAE


@dataclass(frozen=True)
class FactorVAEScore:
    """The accuracy of a majority vote; ``float(score)`` is it.

    Attributes:
        score: the share of held-out votes that the classifier gets right, in [0, 1].
        chance: what it is for codes that know nothing: the share of the factor voted on most.
        votes: how often each dimension varied least under each factor fixed, ``(Z, F)``.
        num_images: how many images were encoded.

    >>> codes = torch.cartesian_prod(torch.arange(3.0), torch.arange(4.0)).repeat(20, 1)
    >>> data = ppl_gen.metrics.FactorArrays(codes.reshape(-1, 1, 1, 2), codes)
    >>> same, shape = torch.nn.Flatten(), (1, 1, 2)
    >>> exact = ppl_gen.zoo.autoencoder(shape, 2, encoder=same, likelihood="gaussian")
    >>> result = ppl_gen.metrics.factor_vae_score(exact, data, num_votes=100)
    >>> (result.votes > 0).tolist(), result.chance < result.score
    ([[True, False], [False, True]], True)
    """

    score: float
    chance: float
    votes: np.ndarray
    num_images: int

    def __float__(self) -> float:
        return self.score

    def __repr__(self) -> str:
        return (
            f"FactorVAEScore({self.score:.4f}, chance {self.chance:.4f}, "
            f"{int(self.votes.sum()):,} votes, {self.num_images:,} images)"
        )


def factor_vae_score(
    vae: VAE,
    dataset: Factors,
    *,
    factors: Sequence[str] | None = None,
    num_votes: int = 800,
    images_per_vote: int = 64,
    min_variance: float = 0.0,
    num_images: int = 10_000,
    seed: int = 0,
) -> FactorVAEScore:
    r"""The disentanglement score of Kim and Mnih (2018).

    For one vote a factor k is drawn, and images that share its value in an image drawn at random.
    The vote is (d, k), where d is the dimension whose variance over these images, relative to that
    over all images, is smallest. A classifier predicts of each d the k voted for most; the score
    is its accuracy on as many votes again. Codes that know nothing score about 1/F.

    Args:
        vae: the model.
        dataset: images with factors, see :func:`ppl_gen.metrics.mig`.
        factors: the names of those that count, by default all.
        num_votes: to fit the classifier, and again to score it.
        images_per_vote: drawn with replacement from those with that value.
        min_variance: dimensions whose variance over all images is at most this cannot be voted for.
        num_images: drawn from the data set, all at most, from which those of every vote are drawn.
        seed: of all draws.

    Raises:
        ValueError: an unknown factor, fewer than two factors or latent dimensions, a factor with a
            single value or with none that two images share, or no dimension that varies.

    Codes that are the factors themselves:

    >>> codes = torch.cartesian_prod(torch.arange(3.0), torch.arange(4.0)).repeat(20, 1)
    >>> data = ppl_gen.metrics.FactorArrays(codes.reshape(-1, 1, 1, 2), codes)
    >>> same, shape = torch.nn.Flatten(), (1, 1, 2)
    >>> exact = ppl_gen.zoo.autoencoder(shape, 2, encoder=same, likelihood="gaussian")
    >>> float(ppl_gen.metrics.factor_vae_score(exact, data, num_votes=100))
    1.0
    """
    require_counts(vote=num_votes)
    if not is_whole(images_per_vote, 2):
        raise ValueError(f"expected at least two images per vote, got {images_per_vote!r}")
    if not min_variance >= 0:
        raise ValueError(f"expected min_variance >= 0, got {min_variance!r}")
    d = drawn(vae, dataset, factors, num_images, seed)
    variances = d.codes.var(0)
    active = variances > min_variance
    if not active.any():
        raise ValueError(f"expected a latent dimension of variance > {min_variance}, got none")
    codes = d.codes[:, active] / np.sqrt(variances[active])
    rng = np.random.default_rng(seed)
    train, test = (_votes(codes, d, active, num_votes, images_per_vote, rng) for _ in range(2))
    right = test[np.arange(len(test)), train.argmax(1)].sum()
    chance = test[:, train.sum(0).argmax()].sum() / num_votes
    return FactorVAEScore(float(right / num_votes), float(chance), train, len(codes))


def _votes(
    codes: np.ndarray,
    d: Drawn,
    active: np.ndarray,
    num_votes: int,
    size: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Counts of votes by dimension and factor, ``(Z, F)``; ties go to a dimension at random."""
    counts = np.zeros((len(active), len(d.names)), dtype=np.int64)
    dimensions = np.flatnonzero(active)
    groups = [_groups(column, name) for column, name in zip(d.classes.T, d.names, strict=True)]
    for factor in rng.integers(len(groups), size=num_votes):
        shared, order, starts, ends = groups[factor]
        one = d.classes[rng.choice(shared), factor]
        spread = codes[order[rng.integers(starts[one], ends[one], size)]].var(0, ddof=1)
        counts[dimensions[rng.choice(np.flatnonzero(spread == spread.min()))], factor] += 1
    return counts


def _groups(column: np.ndarray, name: str) -> tuple[np.ndarray, ...]:
    """The images whose value others share, all images by value, and where each value's are."""
    sizes = np.bincount(column)
    shared = np.flatnonzero(sizes[column] > 1)
    if not len(shared):
        raise ValueError(f"expected images that share values of factor {name}, got none that do")
    ends = sizes.cumsum()
    return shared, column.argsort(kind="stable"), ends - sizes, ends
