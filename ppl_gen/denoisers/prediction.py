r"""One prediction in four dresses: data, noise, velocity and score."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ppl_gen._modes import is_readable
from ppl_gen.noise import Level

KINDS = ("data", "noise", "velocity", "score")


def convert(value: Tensor, x: Tensor, level: Level, source: str, target: str) -> Tensor:
    r"""A prediction of one kind as one of another, exactly.

    With :math:`x = \alpha x_0 + \sigma \epsilon` and :math:`c^2 = \alpha^2 + \sigma^2`:

    ============  =========================================================================
    ``data``      :math:`\hat x_0`
    ``noise``     :math:`\hat\epsilon = (x - \alpha \hat x_0) / \sigma` (Ho et al. 2020)
    ``velocity``  :math:`\hat v = (\alpha \hat\epsilon - \sigma \hat x_0) / c` (Salimans and Ho
                  2022, where :math:`c = 1`)
    ``score``     :math:`\hat s = -\hat\epsilon / \sigma`, of the law of :math:`x` (Song and Ermon
                  2019)
    ============  =========================================================================

    Args:
        value: the prediction, of the shape of ``x``.
        x: noisy data ``(B, ...)``.
        level: one for all, or one for each datum.
        source: what ``value`` predicts, one of the four.
        target: what is wanted.

    Raises:
        ValueError: a kind that is none of these, a prediction of another shape; data from noise or
            score where no signal is left (:math:`\alpha = 0`); noise or score from data, or a
            score, where there is no noise.

    >>> level = ppl_gen.noise.Cosine().level(0.5)
    >>> x, v = torch.tensor([[1.0]]), torch.tensor([[0.5]])
    >>> noise = ppl_gen.denoisers.convert(v, x, level, "velocity", "noise")
    >>> ppl_gen.denoisers.convert(noise, x, level, "noise", "velocity")
    tensor([[0.5000]])
    """
    _require_kind(source)
    if value.shape != x.shape:
        raise ValueError(
            f"expected a prediction of the shape of the data, {tuple(x.shape)}, "
            f"got {tuple(value.shape)}"
        )
    if _require_kind(target) == source:
        return value
    level = level.like(x)
    if target == "data":
        return _data(value, x, level, source)
    noise = _noise(value, x, level, source)
    if target == "noise":
        return noise
    if target == "score":
        return -noise / _above_zero(level.sigma, "sigma", source, target)
    return (level.alpha * noise - level.sigma * _data(value, x, level, source)) / level.scale


def _data(value: Tensor, x: Tensor, level: Level, source: str) -> Tensor:
    if source == "data":
        return value
    if source == "velocity":
        return (level.alpha * x - level.sigma * level.scale * value) / level.scale**2
    noise = _noise(value, x, level, source)
    return (x - level.sigma * noise) / _above_zero(level.alpha, "alpha", source, "data")


def _noise(value: Tensor, x: Tensor, level: Level, source: str) -> Tensor:
    if source == "noise":
        return value
    if source == "score":
        return -level.sigma * value
    if source == "velocity":
        return (level.sigma * x + level.alpha * level.scale * value) / level.scale**2
    return (x - level.alpha * value) / _above_zero(level.sigma, "sigma", source, "noise")


def _above_zero(scale: Tensor, name: str, source: str, target: str) -> Tensor:
    if is_readable(scale) and not bool((scale > 0).all()):
        raise ValueError(
            f"expected {name} > 0 to tell {target} from predicted {source}, got 0: "
            + ("there is no signal; predict data or velocity" if name == "alpha" else "no noise")
        )
    return scale


def _require_kind(kind: str) -> str:
    if kind not in KINDS:
        raise ValueError(f"expected a prediction among {', '.join(KINDS)}, got {kind!r}")
    return kind


@dataclass(frozen=True)
class Prediction:
    r"""What a denoiser says of noisy data, in any dress.

    Args:
        kind: what ``value`` predicts, one of ``"data"``, ``"noise"``, ``"velocity"``, ``"score"``.
        value: the prediction, of the shape of ``x``.
        x: noisy data ``(B, ...)``.
        level: its time and scales.
        fraction: where a network learns variances, how far each lies in logarithm from the
            smallest, 0, to the largest, 1 (Nichol and Dhariwal 2021, eq. 15).
        error: the mean squared error of the predicted data where it is known, for a value or one
            for all.

    >>> level = ppl_gen.noise.Cosine().level(0.5)
    >>> x = torch.tensor([[0.6, -1.0]])
    >>> prediction = ppl_gen.denoisers.Prediction("noise", torch.zeros_like(x), x, level)
    >>> torch.equal(prediction.data, x / level.alpha)
    True
    """

    kind: str
    value: Tensor
    x: Tensor
    level: Level
    fraction: Tensor | None = None
    error: Tensor | None = None

    def to(self, kind: str) -> Tensor:
        """The prediction as one of another kind; see :func:`convert`."""
        return convert(self.value, self.x, self.level, self.kind, kind)

    @property
    def data(self) -> Tensor:
        r""":math:`\hat x_0`."""
        return self.to("data")

    @property
    def noise(self) -> Tensor:
        r""":math:`\hat\epsilon`."""
        return self.to("noise")

    @property
    def velocity(self) -> Tensor:
        r""":math:`\hat v`."""
        return self.to("velocity")

    @property
    def score(self) -> Tensor:
        r""":math:`\hat s`, an estimate of :math:`\nabla \log q(x_u)`."""
        return self.to("score")
