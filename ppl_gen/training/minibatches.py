r"""Whether batches of some of the data can stand for all of them.

A step on :math:`B` of :math:`N` rows estimates the gradient of the bound of all of them,

.. math::

    \sum_{i=1}^{N} \mathbb{E}_q[\log p(x_i \mid z)] - \mathrm{KL}(q(z) \,\|\, p(z)),

only if its rows count :math:`N / B` times for a latent :math:`z` that all of them share (Hoffman et
al. 2013): a plate of all data does that, a plate of the batch does not, and the fitted posterior
would be that of :math:`B` data. And a parameter must not belong to a place in the batch, which
other rows take in every step.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import pyro
import torch
from pyro import poutine
from pyro.infer.autoguide import AutoGuide, AutoMessenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from ppl_gen.objectives.terms import Program, Site
from ppl_gen.training import generators


@dataclass(frozen=True)
class Division:
    """Programs and a batch of some of their data.

    Args:
        model: a Pyro program.
        guide: its guide.
        args: the batch by position; the first tensor of the batch has a row for each datum.
        kwargs: the batch by name.
    """

    model: Program
    guide: Program
    args: tuple[Tensor, ...]
    kwargs: Mapping[str, Tensor]

    @property
    def rows(self) -> int:
        return len(next(iter((*self.args, *self.kwargs.values()))))

    def require(self, parameters: Mapping[str, Tensor], shared: bool = True) -> None:
        """Refuse programs that take a part of the data for all of them.

        Args:
            parameters: the leaves of the programs' parameters, by name.
            shared: whether latents that all data share must be weighed against all data.

        Raises:
            ValueError: a guide with parameters for every place in a batch, or a latent outside the
                plate of the data beside observations that are not scaled.
        """
        with generators.seeded(0):
            try:
                drawn, run = self._traces()
            except Exception:  # programs that only run under their objective
                return
            plates = self._plates(run)
            self._require_no_places(run, plates)
            self._require_no_parameter_by_place((drawn, run), plates, parameters)
            if shared:
                self._require_scaled(drawn, run, plates)

    def _traces(self, times: int = 1) -> tuple[poutine.Trace, poutine.Trace]:
        """The guide's and the model's trace on the batch, repeated ``times`` times."""
        args, kwargs = self._repeated(times)
        drawn = poutine.trace(self.guide).get_trace(*args, **kwargs)
        replayed = poutine.replay(self.model, trace=drawn)
        return drawn, poutine.trace(replayed).get_trace(*args, **kwargs)

    def _repeated(self, times: int) -> tuple[list[Tensor], dict[str, Tensor]]:
        args = [torch.cat([tensor] * times) for tensor in self.args]
        return args, {name: torch.cat([tensor] * times) for name, tensor in self.kwargs.items()}

    def _alone(self, times: int) -> poutine.Trace:
        """The model's trace without the guide, whose plates may be of a fixed size."""
        args, kwargs = self._repeated(times)
        return poutine.trace(self.model).get_trace(*args, **kwargs)

    @cached_property
    def _larger(self) -> poutine.Trace | None:
        """The model's trace on a batch twice as large; None where the programs take none."""
        before = set(pyro.get_param_store().keys())
        try:
            with suppress(Exception):  # priors that cannot be drawn from
                return self._alone(2)
            with suppress(Exception):  # whatever programs raise at a size they do not take
                return self._traces(2)[1]
            return None
        finally:
            store = pyro.get_param_store()
            for name in set(store.keys()) - before:
                del store[name]

    def _plates(self, run: poutine.Trace) -> set[str]:
        """The names of the plates that have a place for each row of the batch."""
        found = {f.name for f in _frames(run) if f.size == self.rows}
        if found and self._larger is not None:
            fixed = {f.name for f in _frames(self._larger) if f.size == self.rows}
            found -= fixed
        return found

    def _require_no_places(self, run: poutine.Trace, plates: set[str]) -> None:
        """Refuse an automatic guide that knows the latents of data by their place."""
        guide = getattr(self.guide, "__self__", self.guide)
        if not isinstance(guide, (AutoGuide, AutoMessenger)):
            return
        for name, site in _latents(run).items():
            frames = [f for f in site["cond_indep_stack"] if f.name in plates]
            if any(f.full_size in (None, f.size) for f in frames):
                what = f"{type(guide).__name__} has parameters"
                raise ValueError(_by_place(name, what, frames[0].name))

    def _require_no_parameter_by_place(
        self,
        traces: Iterable[poutine.Trace],
        plates: set[str],
        parameters: Mapping[str, Tensor],
    ) -> None:
        suspects = {n: p for n, p in parameters.items() if self.rows > 1 and self.rows in p.shape}
        if not suspects or not plates:
            return
        sites = [site for trace in traces for site in _rows_of(trace, plates)]
        places = [0, 1, self.rows - 1]
        found = [_gradients(sites, place, suspects.values()) for place in places]
        for (name, parameter), *gradients in zip(suspects.items(), *found, strict=True):
            for dim in (d for d, size in enumerate(parameter.shape) if size == self.rows):
                if all(map(_only_at, gradients, [dim] * 3, places)):
                    site, frame, _ = next(s for s in sites if _depends(s, parameter))
                    what = f"the parameter {name!r} has a value"
                    raise ValueError(_by_place(site, what, frame.name))

    def _require_scaled(self, drawn: poutine.Trace, run: poutine.Trace, plates: set[str]) -> None:
        observed = [site for site in _scored(run).values() if site["is_observed"]]
        for name, site in self._shared(run, plates).items():
            alike = [o["name"] for o in observed if _equal(o["scale"], site["scale"])]
            if alike and not _is_free(site, drawn.nodes.get(name)):
                raise ValueError(
                    f"expected all data in one batch, or a plate of all data, pyro.plate(..., "
                    f"size=N, subsample_size=len(batch)), around {alike[0]!r}: all data share the "
                    f"latent {name!r}, which a batch of {self.rows} would weigh against "
                    f"{self.rows} data only, so that its posterior would be too wide. batch_size= "
                    "sets the size of a batch"
                )

    def _shared(self, run: poutine.Trace, plates: set[str]) -> dict[str, Site]:
        """The latent sites that are the same for a batch of another size."""
        latents = {
            name: site
            for name, site in _latents(run).items()
            if all(frame.name not in plates for frame in site["cond_indep_stack"])
        }
        if not latents:
            return {}
        if self._larger is None:
            return {n: s for n, s in latents.items() if self.rows not in s["value"].shape}
        other = _latents(self._larger)
        repeated = {_stem(name) for name in other.keys() - _latents(run).keys()}
        return {
            name: site
            for name, site in latents.items()
            if _stem(name) not in repeated
            and name in other
            and other[name]["value"].shape == site["value"].shape
        }


def _frames(trace: poutine.Trace) -> list[Any]:
    return [f for site in _scored(trace).values() for f in site["cond_indep_stack"]]


def _rows_of(trace: poutine.Trace, plates: set[str]) -> Iterator[tuple[str, Any, Tensor]]:
    """The sites in plates of the rows of a batch, each with its plate and its log-density."""
    for name, site in _scored(trace).items():
        for frame in [f for f in site["cond_indep_stack"] if f.vectorized and f.name in plates][:1]:
            log_p = _log_prob(site)
            yield name, frame, log_p.expand(_with(log_p.shape, frame))


def _by_place(site: str, what: str, plate: str) -> str:
    return (
        f"expected all data in one batch, or programs that compute {site!r} from the data of "
        f"their batch: {what} for every place of the plate {plate!r}, which other data take in "
        "every batch. A plate of all data with subsample=, the numbers of the rows, tells it which "
        "they are"
    )


def _scored(trace: poutine.Trace) -> dict[str, Site]:
    """The sites that add to the loss."""
    return {
        name: site
        for name, site in cast(dict[str, Site], trace.nodes).items()
        if site["type"] == "sample"
        and not site_is_subsample(site)
        and not site["infer"].get("_deterministic")
    }


def _latents(trace: poutine.Trace) -> dict[str, Site]:
    return {name: site for name, site in _scored(trace).items() if not site["is_observed"]}


def _stem(name: str) -> str:
    """What the names of the sites of a Python loop have in common."""
    return re.sub(r"\d+", "#", name)


def _equal(one: Any, other: Any) -> bool:
    one, other = torch.as_tensor(one), torch.as_tensor(other)
    return bool(torch.isclose(one.double(), other.double()).all())


def _is_free(site: Site, twin: Site | None) -> bool:
    """Whether a latent costs nothing: a point estimate under a flat prior."""
    parts = [site] if twin is None else [site, twin]
    return all(bool((_log_prob(s) == 0).all()) for s in parts)


def _log_prob(site: Site) -> Tensor:
    return torch.as_tensor(site["fn"].log_prob(site["value"]))


def _with(shape: torch.Size, frame: Any) -> list[int]:
    """A shape broadcast to have the rows of a plate."""
    padded = [1] * (-frame.dim - len(shape)) + list(shape)
    padded[frame.dim] = frame.size
    return padded


def _gradients(
    sites: Iterable[tuple[str, Any, Tensor]], place: int, parameters: Iterable[Tensor]
) -> list[Tensor | None]:
    """The gradient of the log-densities at one place of their plates, by parameter."""
    parameters = list(parameters)
    rows = [log_p.select(frame.dim, place).sum() for _, frame, log_p in sites]
    total = torch.stack(rows).sum() if rows else torch.zeros(())
    if not total.requires_grad:
        return [None] * len(parameters)
    return list(torch.autograd.grad(total, parameters, retain_graph=True, allow_unused=True))


def _depends(site: tuple[str, Any, Tensor], parameter: Tensor) -> bool:
    (gradient,) = _gradients([site], 0, [parameter])
    return gradient is not None and bool(gradient.any())


def _only_at(gradient: Tensor | None, dim: int, place: int) -> bool:
    """Whether a gradient is zero everywhere but at one place of a dimension, and not there."""
    if gradient is None or not gradient.any():
        return False
    elsewhere = gradient.clone()
    elsewhere.select(dim, place).zero_()
    return not elsewhere.any()
