r"""Gamma variational inference: one latent variable, every quantity in closed form.

The model draws a rate and then a waiting time, the guide is a Gamma distribution with one free rate
:math:`\theta > 0`:

.. math::
    Z \sim \mathrm{Exponential}(1), \qquad X \mid Z \sim \mathrm{Exponential}(Z), \qquad
    q_\theta(z) = \theta^2 z\, e^{-\theta z} = \mathrm{Gamma}(2, \theta).

The negative evidence lower bound and its minimum are

.. math::
    \mathrm{KL}(q_\theta(z) \,\|\, p(x, z)) = 2 \log\theta - 2 + \frac{2 (x + 1)}{\theta},
    \qquad \theta^\star = x + 1,

where :math:`q_{\theta^\star}` is the exact posterior and the minimum is the negative log evidence
:math:`-\log p(x) = 2 \log(1 + x)`. There :math:`\log q_{\theta^\star}(z) - \log p(x, z)` does not
depend on z, so every single-sample loss equals it exactly.

:func:`model` and :func:`guide` are Pyro programs for any inference algorithm; :func:`fit` runs
stochastic variational inference. With :math:`z = g / \theta`, :math:`g \sim \mathrm{Gamma}(2, 1)`
the usual reparameterised gradient in :math:`\log\theta` is :math:`2 - g\,\theta^\star / \theta`,
which still has variance 2 at the optimum. Leaving out the score of the guide, whose expectation is
zero, gives :math:`g\,(1 - \theta^\star / \theta)` (Roeder, Wu and Duvenaud 2017, section 3): the
same expectation and no variance at the optimum, so that a schedule of decaying steps lands on it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro.infer import SVI, Trace_ELBO
from torch import Tensor
from tqdm.auto import trange

from graphs.language.suggestions import suggesting

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Fit", "fit", "guide", "kl", "log_evidence", "model", "optimum", "plot"]

PARAMETER = "theta"
"""The name of the guide's positive parameter in Pyro's parameter store."""

_FINAL_STEP = 0.01  # the last step size as a fraction of the first
_LARGEST_GRADIENT = 2.0  # its limit for theta far above the optimum; far below it is unbounded

Quantity = TypeVar("Quantity", float, np.ndarray, Tensor)


def model(x: float | Tensor) -> Tensor:
    """The model as a Pyro program: sites ``z`` (latent) and ``x`` (observed).

    Args:
        x: one waiting time, a positive number (taken as float64) or a tensor with one element.

    Returns:
        The value of ``z``, a 0-d tensor.

    Raises:
        ValueError: x is not one positive finite number.

    >>> at_two = pyro.poutine.condition(graphs.gamma.model, data={"z": torch.tensor(2.0)})
    >>> pyro.poutine.trace(at_two).get_trace(3.0).log_prob_sum()  # −z + log z − z x
    tensor(-7.3069, dtype=torch.float64)
    """
    data = _datum(x)
    z = pyro.sample("z", dist.Exponential(torch.ones_like(data)))
    pyro.sample("x", dist.Exponential(z), obs=data)
    return z


def guide(x: float | Tensor) -> Tensor:
    """The guide as a Pyro program: site ``z``, parameter ``theta`` (:data:`PARAMETER`), from 1.

    Args and errors are those of :func:`model`.

    >>> pyro.clear_param_store()
    >>> theta = graphs.gamma.optimum(torch.tensor(3.0))
    >>> theta = pyro.param("theta", theta, constraint=torch.distributions.constraints.positive)
    >>> loss = pyro.infer.Trace_ELBO().loss(graphs.gamma.model, graphs.gamma.guide, 3.0)
    >>> round(loss, 4), round(-graphs.gamma.log_evidence(3.0), 4)  # whatever was drawn
    (2.7726, 2.7726)
    """
    return _guide(x, dist.Gamma)


class _FixedDensity(dist.Gamma):
    """A Gamma whose density is a constant of its rate, while its samples are not."""

    def log_prob(self, value: Tensor) -> Tensor:
        return dist.Gamma(self.concentration, self.rate.detach()).log_prob(value)


def _guide(x: float | Tensor, family: type[dist.Gamma]) -> Tensor:
    one = torch.ones_like(_datum(x))
    theta = pyro.param(PARAMETER, one, constraint=dist.constraints.positive)
    return pyro.sample("z", family(2 * one, theta))


def _path_guide(x: float | Tensor) -> Tensor:
    return _guide(x, _FixedDensity)


@dataclass(frozen=True, eq=False)
class Fit:
    """What :func:`fit` found.

    Attributes:
        x: the datum.
        theta: the fitted rate; the closed form is :attr:`optimum`.
        losses: the single-sample loss of every step, in nats, shape ``(steps,)``.
        thetas: the rate before every step and after the last, shape ``(steps + 1,)``.

    >>> result = graphs.gamma.fit(3.0)
    >>> result
    Fit(x=3, theta=4, optimum=4, loss=2.77259, steps=600)
    >>> result.losses.shape, result.thetas.shape
    ((600,), (601,))
    """

    x: float
    theta: float
    losses: np.ndarray
    thetas: np.ndarray

    @property
    def optimum(self) -> float:
        """The closed form x + 1."""
        return optimum(self.x)

    def __repr__(self) -> str:
        return (
            f"Fit(x={self.x:g}, theta={self.theta:.6g}, optimum={self.optimum:.6g}, "
            f"loss={self.losses[-1]:.6g}, steps={len(self.losses)})"
        )


def fit(
    x: float | Tensor,
    *,
    steps: int = 600,
    start: float = 1.0,
    lr: float = 0.5,
    seed: int = 0,
    progress: bool = False,
) -> Fit:
    r"""Fit the guide by Pyro's SVI: clipped gradient steps in log θ, with exponential decay.

    The step size falls from ``lr`` to a hundredth of it, so about :math:`0.4\,\mathrm{lr}\cdot
    \mathrm{steps}` nepers of distance between the start and the optimum can be covered. The
    caller's parameter store and random state are left as they are.

    Args:
        x: one positive number.
        steps: the number of SVI steps.
        start: the first value of θ.
        lr: the first step size in log θ.
        seed: of the samples.
        progress: whether to show a progress bar.

    Raises:
        ValueError: x or start is not a positive finite number, steps is not a positive integer, or
            lr is not in (0, 1].

    >>> result = graphs.gamma.fit(3.0, start=0.5)
    >>> round(result.theta, 4), result.optimum
    (4.0, 4.0)
    >>> f"{result.losses[-1]:.4f}", f"{-graphs.gamma.log_evidence(3.0):.4f}"
    ('2.7726', '2.7726')
    """
    data, first = _datum(x).double(), _datum(start, "a start").double()
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ValueError(f"expected a positive number of steps, got {steps!r}")
    if not (_is_positive(lr) and lr <= 1):
        raise ValueError(f"expected a step size lr in (0, 1], got {lr!r}")
    optimiser = pyro.optim.ExponentialLR(  # type: ignore[attr-defined]
        {
            "optimizer": torch.optim.SGD,
            "optim_args": {"lr": float(lr)},
            "gamma": _FINAL_STEP ** (1 / steps),
        },
        {"clip_value": _LARGEST_GRADIENT},
    )
    losses, thetas = np.empty(steps), np.empty(steps + 1)
    store = pyro.get_param_store()
    with store.scope(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pyro.param(PARAMETER, first, constraint=dist.constraints.positive)
        svi = SVI(model, _path_guide, optimiser, Trace_ELBO())
        thetas[0] = first.item()
        for step in trange(steps, desc=f"x = {data.item():g}", disable=not progress):
            losses[step] = svi.step(data)
            optimiser.step()
            thetas[step + 1] = store[PARAMETER].item()
    return Fit(data.item(), float(thetas[-1]), losses, thetas)


def kl(theta: Quantity, x: Quantity | float) -> Quantity:
    r"""KL(q ‖ p(x, z)) = 2 log θ − 2 + 2 (x + 1) / θ in nats: the negative lower bound.

    Args:
        theta: the guide's rate; a positive number, array or tensor (differentiable).
        x: the datum, broadcast against theta.

    Returns:
        A float for two numbers, else an array or a tensor.

    Raises:
        ValueError: a value that is not positive and finite.

    >>> [round(graphs.gamma.kl(theta, x=3.0), 3) for theta in (2.0, 4.0, 8.0)]
    [3.386, 2.773, 3.159]
    >>> theta = torch.tensor(2.0, requires_grad=True)
    >>> torch.autograd.grad(graphs.gamma.kl(theta, 3.0), theta)  # 2 / θ − 2 (x + 1) / θ²
    (tensor(-1.),)
    """
    _require_positive(theta, "theta")
    _require_positive(x, "x")
    return 2 * _log(theta) - 2 + 2 * (x + 1) / theta


def optimum(x: Quantity) -> Quantity:
    """The rate x + 1 at which the guide is the posterior. Raises ``ValueError`` like :func:`kl`.

    >>> graphs.gamma.optimum(3.0)
    4.0
    >>> [graphs.gamma.kl(theta, 3.0) > graphs.gamma.kl(4.0, 3.0) for theta in (3.9, 4.1)]
    [True, True]
    """
    _require_positive(x, "x")
    return x + 1


def log_evidence(x: Quantity) -> Quantity:
    """log p(x) = −2 log(1 + x) in nats. Raises ``ValueError`` like :func:`kl`.

    >>> round(graphs.gamma.log_evidence(3.0), 4)
    -2.7726
    >>> round(-graphs.gamma.kl(graphs.gamma.optimum(3.0), 3.0), 4)  # the bound is tight there
    -2.7726
    """
    _require_positive(x, "x")
    return -2 * _log(1 + x)


def plot(results: Fit | Iterable[Fit], ax: Axes | None = None) -> Axes:
    """Fitted θ against x on logarithmic axes, on the line x + 1.

    Args:
        results: what :func:`fit` returned, one or several.
        ax: where to draw; a new figure when ``None``.

    Raises:
        ValueError: no result, or something other than a result.

    >>> results = [graphs.gamma.fit(x, steps=200) for x in (0.5, 2.0, 8.0)]
    >>> ax = graphs.gamma.plot(results)
    >>> ax.get_title()
    'SVI on the closed form, to a relative error of ...'
    """
    fits = [results] if isinstance(results, Fit) else list(results)
    if not fits or not all(isinstance(f, Fit) for f in fits):
        raise ValueError(f"expected results of graphs.gamma.fit, got {results!r}")
    if ax is None:
        import matplotlib.pyplot as plt

        _, ax = plt.subplots(figsize=(5.2, 3.8), layout="constrained")
    xs = np.array([f.x for f in fits])
    line = np.geomspace(xs.min() / 2, xs.max() * 2, 200)
    error = max(abs(f.theta / f.optimum - 1) for f in fits)
    ax.plot(
        line, line + 1, color="0.6", lw=1.5, zorder=1, label=r"closed form $\theta^\star = x + 1$"
    )
    ax.scatter(xs, [f.theta for f in fits], s=36, color="C3", zorder=2, label="fitted by SVI")
    ax.set(xscale="log", yscale="log", xlabel="datum $x$", ylabel=r"rate $\theta$ of the guide")
    title = f"SVI on the closed form, to a relative error of {error:.0e}"
    ax.set_title(title, fontsize="medium")
    ax.legend(frameon=False, loc="upper left")
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def _log(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.log()
    return np.log(value) if isinstance(value, np.ndarray) else math.log(value)


def _require_positive(value: Any, name: str) -> None:
    if isinstance(value, (Tensor, np.ndarray)):
        fine = "bool" not in str(value.dtype) and bool(((value > 0) & (value < math.inf)).all())
    else:
        fine = _is_positive(value)
    if not fine:
        raise ValueError(f"expected {name} to be positive and finite, got {value!r}")


def _is_positive(value: Any) -> bool:
    return _is_real(value) and 0 < float(value) < math.inf


def _is_real(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def _datum(x: Any, called: str = "a datum x") -> Tensor:
    """One positive finite number as a 0-d floating tensor."""
    if isinstance(x, Tensor) and x.numel() == 1 and not (x.is_complex() or x.dtype == torch.bool):
        tensor = x.reshape(())
        tensor = tensor if tensor.is_floating_point() else tensor.double()
    elif _is_real(x):
        tensor = torch.tensor(float(x), dtype=torch.float64)
    else:
        raise ValueError(f"expected {called} that is one positive number, got {x!r}")
    if not bool((tensor > 0) & (tensor < math.inf)):
        raise ValueError(f"expected {called} that is positive and finite, got {x!r}")
    return tensor


if not TYPE_CHECKING:
    __getattr__ = suggesting(__name__)
