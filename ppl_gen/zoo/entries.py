"""The registry of named models: what the command line lists and the law tests run over."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar, Unpack, get_args, get_origin, get_type_hints

from graphs.language.suggestions import did_you_mean
from ppl_gen.models.base import GenerativeModel
from ppl_gen.models.recipe import Recipe, is_plain
from ppl_gen.networks import Shape, Widths

P = ParamSpec("P")
M = TypeVar("M", bound=GenerativeModel)
FREE = (Shape, Widths, Widths | None, Any)  # checked where they are used
CONDITIONS = ("num_classes", "num_covariates", "classes")
# Whose parts the others of a family exchange.
FAMILIES = {"variational": "vae", "adversarial": "gan", "diffusion": "ddpm"}
_WORDS = {
    int: "a whole number",
    float: "a finite number",
    bool: "True or False",
    str: "a name",
    list: "a list",
    Callable: "a function",
    type(None): "None",
}


@dataclass(frozen=True)
class Entry:
    """A named model: its constructor, the paper it comes from, the year, and its family.

    A family is "variational", models built of the parts of :func:`ppl_gen.zoo.vae`; "adversarial",
    those of :func:`ppl_gen.zoo.gan`; "diffusion", those of :func:`ppl_gen.zoo.ddpm`; "cycle",
    translations between two kinds of data; or "boosting", mixtures that are trained in rounds. The
    parts that are ``fixed`` make the model
    what it is, and cannot be given.

    >>> entry = ppl_gen.zoo.registry["vae"]
    >>> entry.paper, entry.year
    ('Kingma and Welling, Auto-Encoding Variational Bayes', 2014)
    >>> entry.build((4,), 2, hidden=8).sample(3, seed=0).shape
    torch.Size([3, 4])
    """

    name: str
    build: Callable[..., GenerativeModel]
    paper: str
    year: int
    family: str = "variational"
    fixed: tuple[str, ...] = ()


registry: dict[str, Entry] = {}


def named(
    paper: str, year: int, family: str = "variational", fixed: tuple[str, ...] = ()
) -> Callable[[Callable[P, M]], Callable[P, M]]:
    """Register a constructor under its own name; what it builds remembers its arguments.

    Arguments must be of the types they are annotated with, and numbers finite; shapes and widths
    are checked where they are used.

    >>> @ppl_gen.zoo.named("My notes", 2026)
    ... def half_vae(data_shape=(4,), latent_dim=2):
    ...     return ppl_gen.zoo.beta_vae(data_shape, latent_dim, beta=0.5, hidden=8)
    >>> half_vae().recipe.name
    'half_vae'
    >>> ppl_gen.zoo.registry.pop("half_vae").year
    2026
    """

    def register(build: Callable[P, M]) -> Callable[P, M]:
        signature = inspect.signature(build)
        hints = get_type_hints(build)
        checked = {name: kind for name, kind in hints.items() if kind not in FREE}
        accepted = _accepted(signature, hints.get("parts"))

        @functools.wraps(build)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> M:
            if accepted is not None:
                _require_known(build.__name__, family, kwargs, accepted)
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            arguments = dict(bound.arguments)
            arguments |= arguments.pop("parts", {})
            if given := [name for name in fixed if name in arguments]:
                raise ValueError(f"expected no {given[0]} for {build.__name__}, which has its own")
            for name in checked.keys() & arguments.keys() & signature.parameters.keys():
                _require(arguments[name], checked[name], name)
            model = build(*args, **kwargs)
            odd = [name for name, value in arguments.items() if not is_plain(value)]
            model.recipe = Recipe(build.__name__, arguments, odd[0] if odd else None)
            return model

        registry[build.__name__] = Entry(build.__name__, wrapper, paper, year, family, fixed)
        return wrapper

    return register


def _accepted(signature: inspect.Signature, parts: Any) -> tuple[str, ...] | None:
    """The keywords of a constructor with those of its ``**parts``; ``None`` where these are any."""
    named = [p.name for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    if len(named) == len(signature.parameters):
        return tuple(named)
    if get_origin(parts) is not Unpack:
        return None
    (kind,) = get_args(parts)
    return (*named, *kind.__annotations__)


def _require_known(name: str, family: str, given: Iterable[str], accepted: Iterable[str]) -> None:
    """Raise for a keyword that a constructor does not have, or whose value it sets itself."""
    for keyword in given:
        if keyword in accepted or keyword in CONDITIONS:
            continue
        base = registry.get(FAMILIES.get(family, ""))
        if base is not None and keyword in inspect.signature(base.build).parameters:
            raise ValueError(f"expected no {keyword} for {name}, which has its own")
        hint = did_you_mean(keyword, accepted)
        raise TypeError(f"{name}() got an unexpected keyword argument {keyword!r}{hint}")


def _require(value: Any, kind: Any, name: str) -> None:
    """Raise ``ValueError`` unless a value is of a type, or of one in a union."""
    kinds = tuple(get_origin(known) or known for known in get_args(kind) or (kind,))
    if isinstance(value, bool):
        fits = bool in kinds
    elif isinstance(value, (int, float)):
        fits = isinstance(value, (*kinds, int) if float in kinds else kinds) and math.isfinite(
            value
        )
    else:
        fits = isinstance(value, kinds)
    if not fits:
        implied = (int if float in kinds else None, tuple if list in kinds else None)
        named = [known for known in kinds if known not in implied]
        words = " or ".join(_WORDS.get(known, known.__name__) for known in named)
        raise ValueError(f"expected {words} for {name}, got {value!r}")


def refuse_conditions(what: str, parts: Mapping[str, object]) -> None:
    """Raise ``ValueError`` for arguments that would condition a model which cannot be."""
    for name in CONDITIONS:
        if parts.get(name):
            raise ValueError(f"expected no labels with {what}, got {name}")
