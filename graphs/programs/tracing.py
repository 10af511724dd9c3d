"""Runs of a Pyro program under observation: its sample sites, and what each depends on.

:func:`run` executes a program once. Each site's value carries the name of the site through torch
(:mod:`graphs.programs.provenance`), so the labels on the parameters of a later distribution, on its
mask, its scale and its log-density, are the sites it directly depends on. :func:`redraw` finds what
tracing cannot: it holds all values but one and compares the distributions of all other sites.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import pyro
import pyro.distributions as dist
import pyro.poutine as poutine
import torch
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from pyro.util import get_rng_state, set_rng_state
from torch import Tensor
from torch.utils._pytree import tree_map_only

from graphs.programs.provenance import Escape, Provenance

_VALUES = 3  # tried for a site, besides its own
_ATTEMPTS = 12  # at drawing them: a discrete site often repeats itself
_WRAPPERS = (dist.Independent, dist.ExpandedDistribution, dist.MaskedDistribution)


@dataclass(frozen=True)
class Data:
    """The label of the memory whose content a site observed."""

    site: str


@dataclass
class Site:
    """One sample site in one run.

    Attributes:
        name: of the site.
        observed: whether its value was given.
        distribution: the class name of its distribution, without wrappers.
        frames: the enclosing plates, outermost first.
        labels: names of the sites it depends on, and :class:`Data` it reads.
        value: what the program goes on with.
        fingerprint: the tensors that describe its distribution.
        draw: a new value from it.
        deterministic: whether the value is a function of those of other sites.
        held: whether redrawing other sites leaves the value as it is.
        enumerated: whether inference may sum over the values (``infer={"enumerate": ...}``).
    """

    name: str
    observed: bool
    distribution: str
    frames: tuple[Any, ...]
    labels: frozenset[Hashable]
    value: Any
    fingerprint: list[Tensor]
    draw: Callable[[], Any]
    deterministic: bool = False
    held: bool = True
    enumerated: bool = False

    @property
    def plates(self) -> tuple[str, ...]:
        return tuple(frame.name for frame in self.frames)

    def differs(self, other: Site) -> bool:
        """Whether the two distributions are not the same."""
        if (self.distribution, self.frames) != (other.distribution, other.frames):
            return True
        if len(self.fingerprint) != len(other.fingerprint):
            return True
        return not all(map(_same, self.fingerprint, other.fingerprint))


@dataclass
class Run:
    """One run: its sites in order, and the values that left torch."""

    sites: dict[str, Site]
    escapes: list[Escape]

    @property
    def escaping(self) -> tuple[str, ...]:
        """The sites whose values left torch."""
        names = (n for e in self.escapes for n in sorted(e.labels, key=str) if n in self.sites)
        return tuple(dict.fromkeys(str(name) for name in names))


def run(program: Callable[[], Any], seed: int, given: Mapping[str, Any] | None = None) -> Run:
    """Run a program once, with some sites held at given values.

    Random states, the parameter store, Pyro's settings, outer handlers and the tensors it changes
    in place are afterwards as they were.
    """
    provenance = Provenance()
    recorder = _Recorder(provenance, given or {})
    with _own_state(seed), provenance, recorder:
        program()
    return Run(recorder.sites, provenance.escapes)


def redraw(program: Callable[[], Any], seed: int, first: Run, site: str) -> Iterator[set[str]]:
    """The sites whose distribution, or existence, changes with one site's value.

    Args:
        program: what was run.
        seed: of its own randomness, the same in every run.
        first: a run whose values are held.
        site: the one redrawn.

    Yields:
        One set of names per value tried. An exception of the program passes through.
    """
    held = {s.name: s.value for s in first.sites.values() if s.held}
    before = run(program, seed, held)
    if site not in before.sites:
        return
    for value in islice(_other_values(program, before.sites[site], seed), _VALUES):
        after = run(program, seed, {**held, site: value})
        yield {
            name
            for name in {**before.sites, **after.sites}
            if name != site
            and (
                name not in before.sites
                or name not in after.sites
                or before.sites[name].differs(after.sites[name])
            )
        }


def _other_values(program: Callable[[], Any], site: Site, seed: int) -> Iterator[Any]:
    """Other values that the site might have; of a function, those it has in other runs."""
    tried = [site.value]
    draws: Iterable[Any]
    if site.deterministic:
        others = (run(program, seed + 1 + i).sites.get(site.name) for i in range(_ATTEMPTS))
        draws = (other.value for other in others if other is not None)
    else:
        with _own_state(seed + 1):
            draws = [site.draw() for _ in range(_ATTEMPTS)]
    for value in draws:
        if isinstance(value, Tensor) and not any(_same(value, old) for old in tried):
            tried.append(value)
            yield value


@contextmanager
def _own_state(seed: int) -> Iterator[None]:
    """A seed, a copy of the parameter store and no validation, for this context only."""
    store, state = pyro.get_param_store(), get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    with ExitStack() as stack:
        stack.enter_context(store.scope(store.get_state()))
        stack.enter_context(pyro.validation_enabled(False))
        stack.enter_context(poutine.block())
        try:
            pyro.set_rng_seed(seed)
            yield
        finally:
            set_rng_state(state)
            if cuda is not None:
                torch.cuda.set_rng_state_all(cuda)


class _Recorder(Messenger):
    """The outermost handler: sees every site as the program's own handlers leave it."""

    def __init__(self, provenance: Provenance, given: Mapping[str, Any]):
        super().__init__()
        self.provenance, self.given = provenance, given
        self.sites: dict[str, Site] = {}

    def _pyro_sample(self, msg: Any) -> None:
        if site_is_subsample(msg) or _is_function(msg):
            return
        msg["value"] = _as_tensor(self.given.get(msg["name"], msg["value"]))
        draw_improper(msg)
        if msg["is_observed"] and isinstance(msg["value"], Tensor):
            self.provenance.mark(msg["value"], {Data(msg["name"])})

    def _pyro_post_param(self, msg: Any) -> None:
        # a value that it was made from is where its optimization starts, and no more
        value = msg["value"]
        if self.provenance.labels(value):
            free: Any = self.provenance.label(value, ())
            msg["value"] = free
            free.unconstrained = value.unconstrained  # which Pyro's modules ask for

    def _pyro_post_sample(self, msg: Any) -> None:
        if site_is_subsample(msg):
            return
        if _is_function(msg):
            self._record_function(msg)
            return
        name, fn, provenance = msg["name"], msg["fn"], self.provenance
        value = _as_tensor(msg["value"])
        parameters = [*_tensors_of(fn), *_tensors_of([msg["args"], msg["kwargs"]])]
        parameters += _tensors_of([_as_tensor(msg["mask"]), _as_tensor(msg["scale"])])
        parameters += _tensors_of(_log_density(fn, _labelled(provenance, value, ())))
        labels = provenance.labels([parameters, value])
        with provenance.paused():
            evidence = _tensors_of(value) if msg["is_observed"] else []
            fingerprint = [t.detach().clone() for t in [*parameters, *evidence]]
        self.sites[name] = Site(
            name=name,
            observed=bool(msg["is_observed"]),
            distribution=_distribution_name(fn),
            frames=msg["cond_indep_stack"],
            labels=labels - {name, Data(name)},
            value=value,
            fingerprint=fingerprint,
            draw=partial(_any_value, fn)
            if _is_improper(fn)
            else partial(fn, *msg["args"], **msg["kwargs"]),
            held=not msg["is_observed"],
            enumerated=not msg["is_observed"] and bool(msg["infer"].get("enumerate")),
        )
        msg["value"] = _labelled(provenance, value, {name})

    def _record_function(self, msg: Any) -> None:
        """A site whose value is a function of others.

        What uses an element that depends on all the site depends on, depends on those through the
        site. Any other element passes its own dependence on, which is less.
        """
        name, fn, provenance = msg["name"], msg["fn"], self.provenance
        value, parameters = _as_tensor(msg["value"]), _tensors_of(fn)
        labels = provenance.labels([parameters, value])
        with provenance.paused():
            fingerprint = [t.detach().clone() for t in parameters]
        held, passed = True, value
        if name in self.given or provenance.labels(value) != labels:  # or conditioned on
            passed = _labelled(provenance, _as_tensor(self.given.get(name, value)), {name})
        elif isinstance(value, Tensor):
            passed, held = provenance.rename(value, labels, name)
        self.sites[name] = Site(
            name=name,
            observed=False,
            distribution=_distribution_name(fn),
            frames=msg["cond_indep_stack"],
            labels=labels - {name},
            value=passed,
            fingerprint=fingerprint,
            draw=lambda: passed,
            deterministic=True,
            held=held,
        )
        msg["value"] = passed


def _is_function(msg: Any) -> bool:
    """Whether a site is a function of others: ``pyro.deterministic``, or a reparametrised site."""
    if msg["infer"].get("_deterministic"):
        return True
    fn = msg["fn"]
    masked = isinstance(fn, dist.MaskedDistribution) and fn._mask is False
    return msg["is_observed"] and masked and _distribution_name(fn) == "Delta"


def draw_improper(msg: Any) -> None:
    """Give a site whose prior has no draws a value of its support, if it has none yet."""
    if msg["value"] is None and _is_improper(msg["fn"]):
        msg["value"], msg["done"] = _any_value(msg["fn"]), True


def _is_improper(fn: Any) -> bool:
    """Whether a prior is a density without a total, which has no draws."""
    return isinstance(_unwrapped(fn), dist.ImproperUniform)


def _any_value(fn: Any) -> Tensor:
    """A value in the support."""
    transform = torch.distributions.biject_to(fn.support)
    return transform(torch.randn(transform.inverse_shape(fn.shape())))


def _labelled(provenance: Provenance, value: Any, labels: Any) -> Any:
    return tree_map_only(Tensor, lambda t: provenance.label(t, labels), value)


def _as_tensor(value: Any) -> Any:
    """Numbers as tensors, since numbers cannot be followed."""
    return torch.tensor(value) if isinstance(value, (bool, int, float)) else value


def _log_density(fn: Any, value: Any) -> Any:
    """The log-density of the value, which depends on whatever the distribution keeps to itself."""
    try:
        return fn.log_prob(value)
    except Exception:  # not every distribution has one, nor does every callable
        return None


def _tensors_of(root: Any) -> list[Tensor]:
    """The tensors in containers, distributions and transforms, in a fixed order."""
    found: list[Tensor] = []
    waiting, seen = [root], set()
    while waiting:
        value = waiting.pop()
        if id(value) in seen:  # a transform and its inverse hold each other
            continue
        seen.add(id(value))
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, Mapping):
            waiting += value.values()
        elif isinstance(value, (list, tuple)):
            waiting += value
        elif isinstance(value, partial):
            waiting += [value.func, value.args, value.keywords]
        elif isinstance(value, (torch.distributions.Distribution, dist.transforms.Transform)):
            waiting.append(value.__dict__)
    return found


def _unwrapped(fn: Any) -> Any:
    while isinstance(fn, _WRAPPERS):
        fn = fn.base_dist
    return fn


def _distribution_name(fn: Any) -> str:
    fn = _unwrapped(fn)
    return fn.__name__ if hasattr(fn, "__name__") else type(fn).__name__


def _same(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return torch.allclose(a, b, equal_nan=True) if a.is_floating_point() else torch.equal(a, b)
