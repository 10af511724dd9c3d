"""What a fitted pair says about data, as the groups that ArviZ knows.

ArviZ compares, criticises and plots inferences of any library. Draws of the guide are its
posterior, in one chain; :func:`groups` gives plain arrays, which the last step turns into what the
installed version of ArviZ calls its data.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyro
import torch
from numpy.typing import NDArray
from pyro import poutine
from pyro.poutine.uncondition_messenger import UnconditionMessenger
from pyro.poutine.util import site_is_subsample
from torch import nn

from graphs.language.suggestions import suggesting
from ppl_gen._checks import is_whole
from ppl_gen._modes import evaluating, seeded
from ppl_gen._store import unregistered

__all__ = ["groups", "inference_data"]

Arrays = dict[str, NDArray[Any]]


def groups(
    pair: Any,
    *args: Any,
    draws: int = 1000,
    seed: int = 0,
    kwargs: Mapping[str, Any] | None = None,
) -> dict[str, Arrays]:
    r"""Posterior, prior, predictions and log-likelihoods of a pair, with axes ``(1, draws, ...)``.

    ========================  ==========================================================
    ``posterior``             latents drawn from the guide, and what the model computes of them
                              by ``pyro.deterministic``
    ``posterior_predictive``  observed sites drawn given these
    ``log_likelihood``        of what was observed given these, a number for each datum
    ``prior``                 the same, drawn from the model
    ``prior_predictive``      observed sites drawn given those
    ``observed_data``         what was observed, without axes of draws
    ========================  ==========================================================

    A draw of the guide is no draw of the true posterior; how far apart they are is not in these
    groups, and the Pareto :math:`\hat k` that ArviZ computes from them is about leaving data out.

    Args:
        pair: a :class:`ppl_gen.Pair`, a VAE, or anything with a ``model`` and a ``guide``.
        args, kwargs: what both programs are called with, the data among them.
        draws: of the guide and of the model.
        seed: of the draws.

    Raises:
        ValueError: no pair, no draws, programs without observed sites, or a latent of the model
            that the guide does not draw.

    >>> from pyro.distributions import Normal
    >>> def model(x):
    ...     mean = pyro.sample("mean", Normal(0.0, 1.0))
    ...     with pyro.plate("data", len(x)):
    ...         pyro.sample("x", Normal(mean, 1.0), obs=x)
    >>> def guide(x):
    ...     pyro.sample("mean", Normal(1.8, 0.3))
    >>> found = ppl_gen.arviz.groups(ppl_gen.Pair(model, guide), torch.full((9,), 2.0), draws=50)
    >>> found["posterior"]["mean"].shape, found["posterior_predictive"]["x"].shape
    ((1, 50), (1, 50, 9))
    """
    if not (callable(getattr(pair, "model", None)) and callable(getattr(pair, "guide", None))):
        raise ValueError(
            f"expected a ppl_gen.Pair or a model with a guide, got {type(pair).__name__}"
        )
    if not is_whole(draws, 1):
        raise ValueError(f"expected draws >= 1, got {draws!r}")
    call = args, dict(kwargs or {})
    module = pair if isinstance(pair, nn.Module) else nn.Module()
    stacks: dict[str, dict[str, list[Any]]] = {
        name: {}
        for name in (
            "posterior",
            "posterior_predictive",
            "log_likelihood",
            "prior",
            "prior_predictive",
        )
    }
    with (
        torch.no_grad(),
        evaluating(module),
        seeded(seed),
        unregistered(),
        pyro.validation_enabled(False),
    ):
        observed = _draw_posterior(pair, call, draws, stacks)
        _draw_prior(pair.model, call, draws, stacks)
    found = {
        group: {site: np.stack(values)[None] for site, values in sites.items()}
        for group, sites in stacks.items()
    }
    return {**found, "observed_data": observed}


def _draw_posterior(
    pair: Any, call: Any, draws: int, stacks: dict[str, dict[str, list[Any]]]
) -> Arrays:
    """Fill the groups of the guide; the data that the model observes."""
    args, kwargs = call
    observed: Arrays = {}
    for _ in range(draws):
        guide = poutine.trace(pair.guide).get_trace(*args, **kwargs)
        model = poutine.trace(poutine.replay(pair.model, guide)).get_trace(*args, **kwargs)
        latents = {}
        for name, site in _sites(model):
            if _is_computed(site):
                stacks["posterior"].setdefault(name, []).append(_array(site["value"]))
                continue
            if site["is_observed"]:
                observed[name] = _array(site["value"])
                law = site["fn"].log_prob(site["value"])
                stacks["log_likelihood"].setdefault(name, []).append(_array(law))
                continue
            if name not in guide.nodes:
                raise ValueError(f"expected a guide that draws {name!r}, as the model does")
            latents[name] = site["value"]
            stacks["posterior"].setdefault(name, []).append(_array(site["value"]))
        if not observed:
            raise ValueError("expected a model that observes data, got none with these arguments")
        _predict(pair.model, latents, observed, call, stacks["posterior_predictive"])
    return observed


def _draw_prior(model: Any, call: Any, draws: int, stacks: dict[str, dict[str, list[Any]]]) -> None:
    args, kwargs = call
    for _ in range(draws):
        trace = poutine.trace(_Redrawn()(model)).get_trace(*args, **kwargs)
        for name, site in _sites(trace):
            known = name in stacks["log_likelihood"]
            group = stacks["prior_predictive" if known else "prior"]
            group.setdefault(name, []).append(_array(site["value"]))


def _predict(
    model: Any, latents: Mapping[str, Any], observed: Arrays, call: Any, group: dict[str, Any]
) -> None:
    """Draws of the observed sites, given latents."""
    args, kwargs = call
    fixed = poutine.condition(_Redrawn()(model), data=dict(latents))
    trace = poutine.trace(fixed).get_trace(*args, **kwargs)
    for name in observed:
        group.setdefault(name, []).append(_array(trace.nodes[name]["value"]))


class _Redrawn(UnconditionMessenger):
    """Draws what was observed, and leaves alone what is computed, also in a plate."""

    def _pyro_sample(self, msg: Any) -> None:
        if not _is_computed(msg):
            super()._pyro_sample(msg)


def _is_computed(site: Any) -> bool:
    """Whether a site is of ``pyro.deterministic``, which Pyro traces as observed."""
    return bool(site["infer"].get("_deterministic"))


def _sites(trace: Any) -> Any:
    """The sites of a trace that draw or observe, without those of plates."""
    for name, site in trace.nodes.items():
        if site["type"] == "sample" and not site_is_subsample(site):
            yield name, site


def _array(value: Any) -> NDArray[Any]:
    return np.array(value.detach().cpu().numpy())


def inference_data(pair: Any, *args: Any, **options: Any) -> Any:
    """The groups as an object of ArviZ: ``InferenceData``, or a tree of data sets from 1.0 on.

    Args:
        pair, args: as for :func:`groups`.
        options: of :func:`groups`.

    Raises:
        ImportError: ArviZ is not installed.
        ValueError: as :func:`groups`.

    >>> ppl_gen.arviz.inference_data("no pair")
    Traceback (most recent call last):
        ...
    ValueError: expected a ppl_gen.Pair or a model with a guide, got str
    """
    found = groups(pair, *args, **options)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what it says while it is imported
            import arviz
    except ImportError as error:
        raise ImportError("expected the package arviz, got none: pip install arviz") from error
    if int(arviz.__version__.partition(".")[0]) >= 1:
        return arviz.from_dict(found)
    return arviz.from_dict(**found)


if not TYPE_CHECKING:
    __getattr__ = suggesting(__name__)
