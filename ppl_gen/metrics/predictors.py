r"""How well latent dimensions predict factors of variation: DCI and SAP.

Both fit predictors from the posterior means to the factors on one half of the images drawn and
score them on the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ppl_gen.evaluation.batched import evaluation, require_counts
from ppl_gen.metrics.factors import (
    Factors,
    columns_of,
    encoded,
    factor_names,
    require_several_values,
)
from ppl_gen.models.vae import VAE

PREDICTORS = ("forest", "lasso")


@dataclass(frozen=True)
class Drawn:
    """Codes and factors of images drawn from a data set.

    Attributes:
        codes: float64 ``(N, Z)``, the posterior means.
        classes: int64 ``(N, F)``.
        values: the numbers that the classes of each factor stand for, None for one of text.
        names: of the factors.
    """

    codes: np.ndarray
    classes: np.ndarray
    values: list[np.ndarray | None]
    names: list[str]

    @property
    def halves(self) -> tuple[slice, slice]:
        middle = len(self.codes) // 2
        return slice(None, middle), slice(middle, None)

    def numbers(self, factor: int) -> np.ndarray:
        """A factor as numbers ``(N,)``; ``ValueError`` for text."""
        values = self.values[factor]
        if values is None:
            raise ValueError(f"expected numbers for factor {self.names[factor]}, got text")
        return values[self.classes[:, factor]]


def drawn(
    vae: VAE,
    dataset: Factors,
    factors: Sequence[str] | None,
    num_images: int,
    seed: int,
    *,
    several_factors: bool = True,
) -> Drawn:
    """Codes and factors for a metric, checked.

    Raises:
        ValueError: factors as :func:`ppl_gen.metrics.mig` refuses them, fewer than two latent
            dimensions or, where several are needed, one factor.
    """
    names = factor_names(vae, dataset, factors)
    if several_factors and len(names) < 2:
        raise ValueError(f"expected at least two factors, got {names[0]}")
    with evaluation(vae, seed):
        codes, classes = encoded(vae, dataset, num_images, seed, means=True, distinct=True)
    codes, columns = codes.flatten(1), columns_of(dataset, names)
    if len(codes) < 4:
        raise ValueError(f"expected at least four images, got {len(codes)}")
    if codes.shape[1] < 2:
        raise ValueError(f"expected at least two latent dimensions, got {codes.shape[1]}")
    if not codes.isfinite().all():
        raise ValueError("expected finite codes, got NaN or infinity")
    half = classes[: len(codes) // 2, columns]
    require_several_values(names, half)
    labels = getattr(dataset, "factor_values", None)
    values = [_numbers(dataset.factor_sizes[i], labels and labels[i]) for i in columns]
    table = classes[:, columns].cpu().numpy()
    return Drawn(codes.cpu().double().numpy(), table, values, names)


def _numbers(size: int, labels: Any) -> np.ndarray | None:
    """The numbers that classes stand for: their own positions without labels, None for text."""
    if labels is None:
        return np.arange(size, dtype=np.float64)
    labels = np.asarray(labels)
    return labels.astype(np.float64) if labels.dtype.kind in "biuf" else None


@dataclass(frozen=True)
class DCI:
    """Disentanglement, completeness and informativeness, each in [0, 1].

    Attributes:
        disentanglement: whether each latent dimension serves one factor.
        completeness: whether each factor is held by one latent dimension.
        informativeness: the mean over factors of ``informativeness_by_factor``.
        informativeness_by_factor: one minus the held-out error over that of the best constant.
        importances: of latent dimensions for factors, ``(Z, F)``; each column sums to 1, or is 0
            where the predictor uses nothing.
        predictor: ``"forest"`` or ``"lasso"``.
        num_images: how many images were encoded.

    >>> codes = torch.cartesian_prod(torch.arange(3.0), torch.arange(4.0)).repeat(20, 1)
    >>> data = ppl_gen.metrics.FactorArrays(codes.reshape(-1, 1, 1, 2), codes)
    >>> same, shape = torch.nn.Flatten(), (1, 1, 2)
    >>> exact = ppl_gen.zoo.autoencoder(shape, 2, encoder=same, likelihood="gaussian")
    >>> dci = ppl_gen.metrics.dci(exact, data, num_trees=5)
    >>> dci.importances.round(3)
    array([[1., 0.],
           [0., 1.]])
    """

    disentanglement: float
    completeness: float
    informativeness: float
    informativeness_by_factor: dict[str, float]
    importances: np.ndarray
    predictor: str
    num_images: int

    def __repr__(self) -> str:
        return (
            f"DCI(disentanglement {self.disentanglement:.4f}, completeness "
            f"{self.completeness:.4f}, informativeness {self.informativeness:.4f}, "
            f"predictor={self.predictor!r}, {self.num_images:,} images)"
        )


def dci(
    vae: VAE,
    dataset: Factors,
    predictor: str = "forest",
    *,
    factors: Sequence[str] | None = None,
    num_images: int = 4_000,
    num_trees: int = 50,
    seed: int = 0,
) -> DCI:
    r"""Disentanglement, completeness and informativeness (Eastwood and Williams 2018).

    With :math:`R_{ij}` the importance of latent dimension i for factor j, entropies relative to
    their maximum, and :math:`\rho_i = \sum_j R_{ij} / \sum_{ij} R_{ij}`,

    .. math::

        D = \sum_i \rho_i \Big(1 - \frac{H(R_{i \cdot})}{\log F}\Big), \qquad
        C = \frac1F \sum_j \Big(1 - \frac{H(R_{\cdot j})}{\log Z}\Big),

    of normalised rows and columns. A factor for which nothing is important has completeness 0.
    Importances of a factor are scaled to sum to 1 first, so that every factor counts alike.

    Args:
        vae: the model.
        dataset: images with factors, see :func:`ppl_gen.metrics.mig`.
        predictor: ``"forest"`` classifies the values of a factor by a random forest, whose
            importances are the mean decreases of impurity (all dimensions compete for every split,
            so that those without a share get none), and whose error is the rate of wrong
            classes; ``"lasso"`` regresses standardised factors on standardised codes, with the
            magnitudes of weights as importances, and the root mean square error. The lasso's
            penalty is the largest whose cross-validated error is within one standard error of the
            least; it needs factors of numbers.
        factors: the names of those that count, by default all.
        num_images: drawn from the data set, all at most; one half to fit, the other to score.
        num_trees: of the forest.
        seed: of all draws.

    Raises:
        ValueError: an unknown predictor or factor, fewer than two factors or latent dimensions, a
            factor with a single value or, for the lasso, of text.

    Codes that are the factors themselves:

    >>> codes = torch.cartesian_prod(torch.arange(3.0), torch.arange(4.0)).repeat(20, 1)
    >>> data = ppl_gen.metrics.FactorArrays(codes.reshape(-1, 1, 1, 2), codes)
    >>> same, shape = torch.nn.Flatten(), (1, 1, 2)
    >>> exact = ppl_gen.zoo.autoencoder(shape, 2, encoder=same, likelihood="gaussian")
    >>> dci = ppl_gen.metrics.dci(exact, data, num_trees=5)
    >>> round(dci.disentanglement, 3), round(dci.completeness, 3), round(dci.informativeness, 3)
    (1.0, 1.0, 1.0)
    """
    if predictor not in PREDICTORS:
        raise ValueError(f"expected a predictor among {', '.join(PREDICTORS)}, got {predictor!r}")
    require_counts(tree=num_trees)
    d = drawn(vae, dataset, factors, num_images, seed)
    columns, scores = [], {}
    for factor, name in enumerate(d.names):
        fit = _lasso if predictor == "lasso" else _forest(num_trees)
        importances, error = fit(d, factor, seed)
        columns.append(importances / (importances.sum() or 1.0))
        scores[name] = float(np.clip(1 - error, 0, 1))
    table = np.stack(columns, 1)
    informativeness = float(np.mean(list(scores.values())))
    return DCI(*concentration(table), informativeness, scores, table, predictor, len(d.codes))


def concentration(importances: np.ndarray) -> tuple[float, float]:
    """Disentanglement and completeness of importances ``(Z, F)``."""
    rows = importances.sum(1)
    disentanglement = (rows * _purity(importances)).sum() / (rows.sum() or 1.0)
    return float(disentanglement), float(_purity(importances.T).mean())


def _purity(rows: np.ndarray) -> np.ndarray:
    """One minus the relative entropy of each row as a distribution; 0 for a row of zeros."""
    totals = rows.sum(1, keepdims=True)
    shares = np.divide(rows, totals, out=np.full_like(rows, 1 / rows.shape[1]), where=totals > 0)
    return 1 + np.sum(shares * np.log(np.where(shares > 0, shares, 1)), 1) / np.log(rows.shape[1])


Fit = Callable[[Drawn, int, int], tuple[np.ndarray, float]]


def _forest(num_trees: int) -> Fit:
    from sklearn.ensemble import RandomForestClassifier

    def fit(d: Drawn, factor: int, seed: int) -> tuple[np.ndarray, float]:
        first, second = d.halves
        target = d.classes[:, factor]
        forest = RandomForestClassifier(num_trees, max_features=None, random_state=seed)
        forest.fit(d.codes[first], target[first])
        commonest = np.bincount(target[first]).argmax()
        constant = (target[second] != commonest).mean()
        error = (forest.predict(d.codes[second]) != target[second]).mean()
        return forest.feature_importances_, _ratio(error, constant)

    return fit


def _lasso(d: Drawn, factor: int, seed: int) -> tuple[np.ndarray, float]:
    from sklearn.linear_model import Lasso, LassoCV
    from sklearn.preprocessing import StandardScaler

    first, second = d.halves
    target = d.numbers(factor)
    scaler = StandardScaler().fit(d.codes[first])
    mean, deviation = target[first].mean(), target[first].std()
    inputs, outputs = scaler.transform(d.codes[first]), (target[first] - mean) / deviation
    search = LassoCV(cv=5, random_state=seed, max_iter=10_000).fit(inputs, outputs)
    errors = search.mse_path_.mean(1)
    best = errors.argmin()
    bound = errors[best] + search.mse_path_[best].std() / len(search.mse_path_[best]) ** 0.5
    lasso = Lasso(search.alphas_[errors <= bound].max(), max_iter=10_000).fit(inputs, outputs)
    residual = (target[second] - mean) / deviation - lasso.predict(
        scaler.transform(d.codes[second])
    )
    constant = ((target[second] - mean) / deviation).std()
    return np.abs(lasso.coef_), _ratio(np.sqrt(np.mean(residual**2)), constant)


def _ratio(error: float, constant: float) -> float:
    """The error over that of the best constant; where that errs never, nothing was asked."""
    return float(error / constant) if constant > 0 else float(error > 0)


@dataclass(frozen=True)
class SAP:
    """Separated attribute predictability; ``float(sap)`` is its score.

    Attributes:
        score: the mean gap, in [0, 1].
        gaps: of each factor, between its two most predictive latent dimensions.
        predictability: of factors by latent dimensions, ``(F, Z)``, in [0, 1].
        num_images: how many images were encoded.

    >>> codes = torch.cartesian_prod(torch.arange(3.0), torch.arange(4.0)).repeat(20, 1)
    >>> data = ppl_gen.metrics.FactorArrays(codes.reshape(-1, 1, 1, 2), codes)
    >>> same, shape = torch.nn.Flatten(), (1, 1, 2)
    >>> exact = ppl_gen.zoo.autoencoder(shape, 2, encoder=same, likelihood="gaussian")
    >>> sap = ppl_gen.metrics.sap(exact, data)
    >>> sap.predictability.round(3)
    array([[1., 0.],
           [0., 1.]])
    """

    score: float
    gaps: dict[str, float]
    predictability: np.ndarray
    num_images: int

    def __float__(self) -> float:
        return self.score

    def __repr__(self) -> str:
        gaps = ", ".join(f"{name} {gap:.3f}" for name, gap in self.gaps.items())
        return f"SAP({self.score:.4f}, {self.num_images:,} images; {gaps})"


def sap(
    vae: VAE,
    dataset: Factors,
    *,
    factors: Sequence[str] | None = None,
    categorical: Sequence[str] | None = None,
    adjusted: bool = True,
    min_variance: float = 0.0,
    num_images: int = 10_000,
    seed: int = 0,
) -> SAP:
    r"""The separated attribute predictability score (Kumar, Sattigeri and Balakrishnan 2018).

    The predictability of a factor of numbers from one latent dimension is the :math:`R^2` of linear
    regression, their squared correlation. That of a categorical factor is the balanced accuracy of
    thresholds on the dimension, at most one fewer than there are classes, fitted on one half of the
    images and scored on the other. The score is the mean over factors of the gap between the two
    best dimensions.

    Args:
        vae: the model.
        dataset: images with factors, see :func:`ppl_gen.metrics.mig`.
        factors: the names of those that count, by default all.
        categorical: the names of those that are classified; by default those of text and one named
            ``shape``, whose numbers have no order.
        adjusted: whether balanced accuracies are rescaled from [1/K, 1] to [0, 1], as the range of
            :math:`R^2`. The paper does not: the gap of a perfect code is then 1 − 1/K.
        min_variance: dimensions whose variance over images is at most this predict nothing; the
            paper takes 0.05 for latents with a standard normal prior.
        num_images: drawn from the data set, all at most.
        seed: of all draws.

    Raises:
        ValueError: an unknown factor, fewer than two latent dimensions, a factor with a single
            value, or one of text that is not categorical.

    Codes that are the factors themselves:

    >>> codes = torch.cartesian_prod(torch.arange(3.0), torch.arange(4.0)).repeat(20, 1)
    >>> data = ppl_gen.metrics.FactorArrays(codes.reshape(-1, 1, 1, 2), codes)
    >>> same, shape = torch.nn.Flatten(), (1, 1, 2)
    >>> exact = ppl_gen.zoo.autoencoder(shape, 2, encoder=same, likelihood="gaussian")
    >>> round(float(ppl_gen.metrics.sap(exact, data)), 3)
    1.0
    """
    if not min_variance >= 0:
        raise ValueError(f"expected min_variance >= 0, got {min_variance!r}")
    d = drawn(vae, dataset, factors, num_images, seed, several_factors=False)
    if categorical is None:
        pairs = zip(d.names, d.values, strict=True)
        categorical = [name for name, values in pairs if values is None or name == "shape"]
    if unknown := sorted(set(categorical) - set(d.names)):
        raise ValueError(f"expected categorical factors among {d.names}, got {unknown}")
    rows = [
        _accuracies(d, factor, adjusted) if name in categorical else _correlations(d, factor)
        for factor, name in enumerate(d.names)
    ]
    table = np.stack(rows) * (d.codes.var(0) > min_variance)
    ordered = np.sort(table, 1)
    gaps = ordered[:, -1] - ordered[:, -2]
    named = dict(zip(d.names, gaps.tolist(), strict=True))
    return SAP(float(gaps.mean()), named, table, len(d.codes))


def _correlations(d: Drawn, factor: int) -> np.ndarray:
    """Squared correlations of a factor with each latent dimension, ``(Z,)``."""
    codes, target = d.codes - d.codes.mean(0), d.numbers(factor)
    target = target - target.mean()
    scale = (codes**2).sum(0) * (target**2).sum()
    return np.divide((target @ codes) ** 2, scale, out=np.zeros_like(scale), where=scale > 0)


def _accuracies(d: Drawn, factor: int, adjusted: bool) -> np.ndarray:
    """Balanced accuracies of thresholds on each latent dimension, ``(Z,)``."""
    from sklearn.metrics import recall_score
    from sklearn.tree import DecisionTreeClassifier

    first, second = d.halves
    target = d.classes[:, factor]
    present = np.unique(target[second])
    chance, found = 1 / len(np.unique(target[first])), []
    for column in d.codes.T:
        tree = DecisionTreeClassifier(
            max_leaf_nodes=len(np.unique(target[first])), class_weight="balanced", random_state=0
        )
        guess = tree.fit(column[first, None], target[first]).predict(column[second, None])
        accuracy = recall_score(
            target[second], guess, labels=present, average="macro", zero_division=0
        )
        found.append(max((accuracy - chance) / (1 - chance), 0.0) if adjusted else accuracy)
    return np.array(found)
