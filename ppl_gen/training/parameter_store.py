"""Parameters of Pyro programs as plain data, and back where such programs look for them.

Pyro keeps parameters by name in its store, unconstrained, with a constraint each. Those that a
module holds are used from there. A constraint is written as the name of its class and the numbers
it was made of, so that reading it executes nothing.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.distributions import constraints as pyro_constraints
from torch import Tensor, nn
from torch.distributions import constraints
from torch.distributions.constraints import Constraint

from ppl_gen.objectives.terms import Program
from ppl_gen.staging.environment import Environment

# What Pyro puts between the name of a module and that of its parameter.
DIVIDER = "$$$"
Home = list[str]


def modules(*programs: Program) -> dict[str, nn.Module]:
    """The modules that programs can reach, by a name for each, outer ones first."""
    reached = Environment({f"program {i}": program for i, program in enumerate(programs)}).modules
    names = [name for name, _ in reached]
    return {name: module for name, module in reached if names.count(name) == 1}


def require_current(trace: poutine.Trace, loss: Tensor | None) -> None:
    """Refuse entries of the store that are of an earlier instance of the programs.

    Args:
        trace: of a run of the programs, which stopped early where the entries did not fit.
        loss: what the run gave, if it did not.

    Raises:
        ValueError: an entry has another shape than its initial value, or stands for a parameter of
            a module which the loss does not depend on, that of the module being another.
    """
    old = [name for name, site in trace.nodes.items() if _reshaped(site)]
    if loss is not None and loss.requires_grad:
        replaced = {n: _leaf(s) for n, s in trace.nodes.items() if _replaced(s)}
        leaves = {name: leaf for name, leaf in replaced.items() if leaf.requires_grad}
        if leaves:
            kept = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
            old += [n for n, gradient in zip(leaves, kept, strict=True) if gradient is None]
    if old := list(dict.fromkeys(old)):
        more = f" and {len(old) - 5} more" if len(old) > 5 else ""
        raise ValueError(
            "expected parameters of this model and guide in Pyro's parameter store, got entries of "
            f"an earlier instance, {', '.join(old[:5])}{more}: call pyro.clear_param_store() "
            "before building a new model"
        )


def _replaced(site: Mapping[str, Any]) -> bool:
    """Whether the store holds another tensor than the parameter of a module that is entered."""
    initial = site["args"][1] if site["type"] == "param" and len(site["args"]) > 1 else None
    return isinstance(initial, nn.Parameter) and initial is not _leaf(site)


def _leaf(site: Mapping[str, Any]) -> Tensor:
    return site["value"].unconstrained()


def _reshaped(site: Mapping[str, Any]) -> bool:
    initial = site["args"][1] if site["type"] == "param" and len(site["args"]) > 1 else None
    return isinstance(initial, Tensor) and initial.shape != site["value"].shape


def homes(parameters: Mapping[str, Tensor], found: Mapping[str, nn.Module]) -> dict[str, Home]:
    """In which module, and there under which name, some parameters are held."""
    places: dict[int, Home] = {}
    for name, module in found.items():
        for own, parameter in module.named_parameters():
            places.setdefault(id(parameter), [name, own])
    return {name: places[id(p)] for name, p in parameters.items() if id(p) in places}


def described(names: Iterable[str]) -> dict[str, Any]:
    """The constraints of parameters in the store, as far as they can be written."""
    known = pyro.get_param_store()._constraints
    return {name: _describe(known[name]) for name in names if name in known}


def enter(
    values: Mapping[str, Tensor],
    descriptions: Mapping[str, Any],
    places: Mapping[str, Home],
    found: Mapping[str, nn.Module],
) -> None:
    """Give programs that have not run yet the unconstrained values of their parameters.

    Args:
        values: by name in the store.
        descriptions: of the constraints.
        places: where parameters were held.
        found: the modules that the programs reach.

    Raises:
        ValueError: values of other shapes, or of parameters that only running the programs creates;
            nothing is changed then.
    """
    targets: list[tuple[Tensor, Tensor]] = []
    new: Any = {"params": {}, "constraints": {}}
    for name, value in values.items():
        held = [*_held(places.get(name), found), *_stored(name)]
        if not held:
            new["constraints"][name] = _creatable(name, descriptions.get(name))
            new["params"][name] = value.detach().clone().requires_grad_(True)
        for parameter in held:
            if parameter.shape != value.shape:
                expected, got = tuple(parameter.shape), tuple(value.shape)
                raise ValueError(f"expected {name!r} of shape {expected}, got {got}")
            targets.append((parameter, value))
    with torch.no_grad():
        for parameter, value in targets:
            parameter.copy_(value)
    pyro.get_param_store().set_state(new)


def _held(place: Home | None, found: Mapping[str, nn.Module]) -> list[Tensor]:
    if place is None or place[0] not in found:
        return []
    parameters = dict(found[place[0]].named_parameters())
    return [parameters[place[1]]] if place[1] in parameters else []


def _stored(name: str) -> list[Tensor]:
    store = pyro.get_param_store()
    return [store._params[name]] if name in store else []


def _creatable(name: str, description: Any) -> Constraint:
    """The constraint of a parameter that the programs will find in the store when they run."""
    local = pyro.settings.get("module_local_params")
    constraint = None if description is None else _constraint(description)
    if DIVIDER in name or local or constraint is None:
        raise ValueError(
            f"expected the parameter {name!r} to exist, but the programs have not created it: run "
            "pair.prepare(*batch) first"
        )
    return constraint


def _describe(constraint: Constraint) -> dict[str, Any] | None:
    cls = type(constraint)
    if _classes().get(cls.__name__) is not cls:
        return None
    arguments = {}
    for name in inspect.signature(cls).parameters:
        value = getattr(constraint, name, None)
        value = _describe(value) if isinstance(value, Constraint) else value
        if not isinstance(value, (int, float, Tensor, dict)):
            return None
        arguments[name] = value.detach() if isinstance(value, Tensor) else value
    return {"kind": cls.__name__, "arguments": arguments}


def _constraint(description: Mapping[str, Any]) -> Constraint:
    kind, arguments = description["kind"], description["arguments"]
    if kind not in _classes():
        raise ValueError(f"expected a constraint of torch or Pyro, got {kind!r}")
    made = {k: _constraint(v) if isinstance(v, Mapping) else v for k, v in arguments.items()}
    return _classes()[kind](**made)


@functools.cache
def _classes() -> dict[str, type[Constraint]]:
    """The classes of constraints of torch and Pyro."""
    values = [*vars(constraints).values(), *vars(pyro_constraints).values()]
    classes = [v if isinstance(v, type) else type(v) for v in values]
    return {cls.__name__: cls for cls in classes if issubclass(cls, Constraint)}
