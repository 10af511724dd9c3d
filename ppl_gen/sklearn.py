"""A VAE as a transformer of scikit-learn, for pipelines and cross-validation."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from graphs.language.suggestions import did_you_mean, suggesting
from ppl_gen import zoo
from ppl_gen.evaluation.embedding import embed
from ppl_gen.metrics import log_likelihood
from ppl_gen.models.vae import VAE, require_vae
from ppl_gen.training.loop import fit as train

Build = Callable[..., Any]


class Coder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """The codes of a VAE, trained by :func:`ppl_gen.fit` on the rows of an array.

    Args:
        model: a name of :mod:`ppl_gen.zoo`, or what builds a VAE from the shape of a datum and the
            size of its code, such as ``partial(ppl_gen.zoo.beta_vae, beta=4.0)``.
        latent_dim: the size of the code.
        data_shape: the shape of a datum whose values are the columns; ``(C, H, W)`` for images in
            rows, a row by default.
        likelihood: of names and kinds as :func:`ppl_gen.zoo.vae` takes them; Gaussian by default,
            for columns of about unit scale.
        hidden: the widths of hidden layers.
        epochs, batch_size, lr: as for :func:`ppl_gen.fit`.
        particles: importance samples of :meth:`score_samples`.
        staged: as for :func:`ppl_gen.fit`.
        random_state: of weights and training; scores have the same draws for every row.

    Attributes:
        vae_: the trained model, in double precision.
        history_: of its training.

    Raises:
        ValueError: a model that is no VAE, or data that scikit-learn or the model refuses.

    >>> import numpy as np
    >>> from ppl_gen.sklearn import Coder
    >>> x = np.random.default_rng(0).normal(size=(60, 3))
    >>> coder = Coder(latent_dim=2, epochs=2, hidden=8, random_state=0).fit(x)
    >>> coder.transform(x).shape, coder.inverse_transform(coder.transform(x)).shape
    ((60, 2), (60, 3))
    >>> list(coder.get_feature_names_out())
    ['coder0', 'coder1']
    """

    def __init__(
        self,
        model: str | Build = "vae",
        *,
        latent_dim: int = 2,
        data_shape: tuple[int, ...] | None = None,
        likelihood: Any = "gaussian",
        hidden: Any = 64,
        epochs: int = 20,
        batch_size: int = 128,
        lr: float | None = None,
        particles: int = 100,
        staged: bool | str = "auto",
        random_state: Any = None,
    ):
        self.model = model
        self.latent_dim = latent_dim
        self.data_shape = data_shape
        self.likelihood = likelihood
        self.hidden = hidden
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.particles = particles
        self.staged = staged
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Coder:
        """Build a model for the columns and train it; ``y`` is left alone."""
        X = validate_data(self, X, dtype=np.float64)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        shape = self._shape(X)
        if int(np.prod(shape)) != X.shape[1]:
            raise ValueError(f"expected columns for data of shape {shape}, got {X.shape[1]}")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            built = self._builder()(
                shape, self.latent_dim, likelihood=self.likelihood, hidden=self.hidden
            )
            self.vae_: VAE = require_vae(built).double()
        self.history_ = train(
            self.vae_,
            self._tensor(X),
            epochs=self.epochs,
            batch_size=self.batch_size,
            lr=self.lr,
            seed=seed % 2**16,
            staged=self.staged,
            progress=False,
        )
        return self

    def transform(self, X: Any) -> NDArray[np.float64]:
        """The codes at the posterior means, ``(N, Z)``; several axes of a code in a row."""
        codes = embed(self.vae_, self._checked(X))
        flat: NDArray[np.float64] = codes.reshape(len(codes), -1)
        return flat

    def inverse_transform(self, X: Any) -> NDArray[np.float64]:
        """Mean data of codes, ``(N, D)``."""
        check_is_fitted(self)
        X = check_array(X, dtype=np.float64)
        if X.shape[1] != self._n_features_out:
            raise ValueError(f"expected codes of {self._n_features_out} numbers, got {X.shape[1]}")
        shape = self.vae_.latents[-1].family.code_shape(self.latent_dim)
        with torch.no_grad():
            law = self.vae_.decode(torch.tensor(X).reshape(len(X), *shape))
            mean = self.vae_.likelihood.mean_image(law)
        return mean.reshape(len(X), -1).numpy()

    def score_samples(self, X: Any) -> NDArray[np.float64]:
        """The importance-sampled log-likelihood of every row, in nats.

        Rows are scored one by one on the same draws, so that no score depends on the other rows.
        """
        rows = self._checked(X).split(1)
        return torch.cat([log_likelihood(self.vae_, x, self.particles) for x in rows]).numpy()

    def score(self, X: Any, y: Any = None) -> float:
        """The mean of :meth:`score_samples`."""
        return float(self.score_samples(X).mean())

    @property
    def _n_features_out(self) -> int:
        return int(np.prod(self.vae_.latents[-1].family.code_shape(self.latent_dim)))

    def _builder(self) -> Build:
        if not isinstance(self.model, str):
            return self.model
        known = [name for name, entry in zoo.registry.items() if entry.family == "variational"]
        if self.model not in known:
            hint = did_you_mean(self.model, known)
            raise ValueError(f"expected a model among {', '.join(known)}, got {self.model!r}{hint}")
        return zoo.registry[self.model].build

    def _checked(self, X: Any) -> torch.Tensor:
        check_is_fitted(self)
        return self._tensor(validate_data(self, X, dtype=np.float64, reset=False))

    def _tensor(self, X: NDArray[np.float64]) -> torch.Tensor:
        return torch.tensor(X).reshape(len(X), *self._shape(X))

    def _shape(self, X: NDArray[np.float64]) -> tuple[int, ...]:
        return (X.shape[1],) if self.data_shape is None else tuple(self.data_shape)


__all__ = ["Coder"]

if not TYPE_CHECKING:
    __getattr__ = suggesting(__name__)
