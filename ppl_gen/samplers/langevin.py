r"""Samplers that follow the score at one level before they go on to the next."""

from __future__ import annotations

from torch import Tensor

from ppl_gen._checks import is_positive, is_whole
from ppl_gen.denoisers import Prediction
from ppl_gen.noise import Level, PowerGrid
from ppl_gen.noise.grids import Grid
from ppl_gen.samplers.ancestral import Ancestral
from ppl_gen.samplers.base import Draw, Predict, Sampler


def langevin(x: Tensor, score: Tensor, size: Tensor | float, draw: Tensor) -> Tensor:
    r"""One unadjusted step, :math:`x + \tfrac12 \delta s(x) + \sqrt\delta z`.

    On :math:`\mathcal N(m, v)` the chain settles at variance :math:`v / (1 - \delta / 4v)`, not
    :math:`v`. Song and Ermon (2020) and Song et al. (2021b) write half our :math:`\delta`.

    Args:
        x: where the chain is.
        score: :math:`\nabla \log p(x)`.
        size: the step size :math:`\delta`.
        draw: standard normal :math:`z`.

    >>> x, z = torch.tensor([2.0]), torch.tensor([1.0])
    >>> ppl_gen.samplers.langevin(x, -x, 0.25, z)
    tensor([2.2500])
    """
    return x + size / 2 * score + size**0.5 * draw


class AnnealedLangevin(Sampler):
    r"""Langevin steps at every level, from noise to data (Song and Ermon 2019, algorithm 1).

    At level :math:`i`, ``per_level`` steps of size :math:`\delta_i = r \sigma_i^2`; then
    :math:`y = x / \alpha` goes on to the next. In their notation
    :math:`r = \epsilon / \sigma_L^2`.

    Args:
        per_level: the number of steps at each level.
        ratio: :math:`r`; steps of 4 and more diverge.
        denoise: whether the samples are the data predicted at the end (Jolicoeur-Martineau et al.
            2021); they keep the noise of the last level otherwise.
        grid: the levels to visit, by default of even logarithm.

    Raises:
        ValueError: less than one step a level, a ratio outside (0, 4).

    >>> data = ppl_gen.denoisers.Gaussian(ppl_gen.noise.Geometric(0.01, 10.0), torch.zeros(1), 1.0)
    >>> x = ppl_gen.samplers.AnnealedLangevin(50, 0.5).sample(data, 500, steps=20, seed=0)
    >>> round(x.std().item(), 1)
    1.0
    """

    def __init__(
        self,
        per_level: int = 100,
        ratio: float = 0.1,
        *,
        denoise: bool = True,
        grid: Grid | None = None,
    ):
        super().__init__(grid)
        if not is_whole(per_level, 1):
            raise ValueError(f"expected at least one step a level, got {per_level!r}")
        if not (is_positive(ratio) and ratio < 4):
            raise ValueError(
                f"expected a ratio in (0, 4), where the chain is stable, got {ratio!r}"
            )
        self.per_level, self.ratio, self.denoise = per_level, float(ratio), bool(denoise)

    def default_grid(self) -> Grid:
        return PowerGrid(float("inf"))

    def step(self, predict: Predict, x: Tensor, t: Level, s: Level, draw: Draw) -> Tensor:
        for _ in range(self.per_level):
            x = langevin(x, predict(x, t).score, self.ratio * t.sigma**2, draw())
        if s.sigma == 0 and self.denoise:
            return predict(x, t).data
        return x * (s.alpha / t.alpha)


class PredictorCorrector(Sampler):
    r"""Any sampler's step, then Langevin steps at the level it reached (Song et al. 2021b).

    The size is :math:`\delta = 4 a r^2 \sigma_s^2` with :math:`a = \alpha_{t|s}^2`, 1 where
    variance explodes. Song et al. take norms of scores over the batch in place of
    :math:`\sigma_s`, by which a sample would depend on the others; for good scores both agree.

    Args:
        predictor: the sampler that goes from level to level, :class:`Ancestral` by default; its
            grid is used.
        corrections: the number of Langevin steps after each step but the last.
        ratio: :math:`r`, their signal-to-noise ratio.
        grid: the levels to visit, by default the predictor's.

    Raises:
        ValueError: a predictor that is no sampler, less than one correction, a ratio outside
            (0, 1).

    >>> data = ppl_gen.denoisers.Gaussian(ppl_gen.noise.Linear(), torch.zeros(1), 1.0)
    >>> sampler = ppl_gen.samplers.PredictorCorrector(ppl_gen.samplers.DDIM())
    >>> x = sampler.sample(data, 2000, steps=100, seed=0)
    >>> round(x.std().item(), 1)
    1.0
    """

    def __init__(
        self,
        predictor: Sampler | None = None,
        corrections: int = 1,
        ratio: float = 0.16,
        *,
        grid: Grid | None = None,
    ):
        predictor = Ancestral() if predictor is None else predictor
        if not isinstance(predictor, Sampler):
            raise ValueError(f"expected a sampler as the predictor, got {predictor!r}")
        if not is_whole(corrections, 1):
            raise ValueError(f"expected at least one correction, got {corrections!r}")
        if not (is_positive(ratio) and ratio < 1):
            raise ValueError(
                f"expected a ratio in (0, 1), where the chain is stable, got {ratio!r}"
            )
        super().__init__(predictor.grid if grid is None else grid)
        self.predictor, self.corrections, self.ratio = predictor, corrections, float(ratio)

    def check(self, prediction: Prediction) -> None:
        """Raise ``ValueError`` unless predictions carry what the predictor's steps are made of."""
        self.predictor.check(prediction)

    def step(self, predict: Predict, x: Tensor, t: Level, s: Level, draw: Draw) -> Tensor:
        x = self.predictor.step(predict, x, t, s, draw)
        if s.sigma == 0:
            return x
        size = 4 * (t.alpha / s.alpha * self.ratio * s.sigma) ** 2
        for _ in range(self.corrections):
            x = langevin(x, predict(x, s).score, size, draw())
        return x
