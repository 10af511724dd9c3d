"""The Python state that a function's code can reach, and whether it is still what it was.

A recorded graph contains the Python values that the program had when it was recorded: numbers in
attributes, closures and globals, the training mode of modules, which tensor an attribute holds.
An :class:`Environment` remembers them, walking from the function through closures, the globals its
code names, bound objects, classes, modules and containers. Objects of torch, Pyro and the standard
library are followed no further, except modules, objectives, effect handlers and namespaces. Not
watched are entries of long containers and of arrays: a change there is found by the next comparison
with an eager step.
"""

from __future__ import annotations

import functools
import sys
from argparse import Namespace
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from operator import call, is_
from types import CellType, CodeType, FunctionType, MethodType, ModuleType, SimpleNamespace
from typing import Any

import pyro.infer
from pyro.poutine.messenger import Messenger
from torch import Tensor, nn

LIBRARIES = frozenset({"torch", "pyro", "numpy", "ppl_gen"} | sys.stdlib_module_names) - {
    "__main__"
}
LARGEST_CONTAINER = 64
SCALARS = (bool, int, float, complex, str, bytes, type(None))
SETTINGS = (bool, int, float, str)
CONTAINERS = (dict, list, deque, set, tuple)
PLAIN = (SimpleNamespace, Namespace)
MODULE_INTERNALS = frozenset(vars(nn.Module())) - {"training"}
MODULE_TABLES = ("_parameters", "_buffers", "_modules", "_forward_hooks", "_forward_pre_hooks")


class Slots:
    """Some values of one holder, which may change.

    Args:
        owner: what to call the holder in messages.
        holder: a mapping, a list, a set, a closure cell, a class or an object with slots.
        keys: which of them count.
        sized: whether the number of entries counts too.
    """

    def __init__(self, owner: str, holder: Any, keys: Iterable[Any], sized: bool = False):
        self.owner, self.holder, self.keys = owner, holder, list(keys)
        self.size = len(holder) if sized else None
        self.get: Any = _getter(holder)
        self.values = list(map(self.get, self.keys))

    def changes(self) -> Iterator[tuple[Any, Any, Any]]:
        """The key, old and new value of everything that differs."""
        for key, old in zip(self.keys, self.values, strict=True):
            try:
                new = self.get(key)
            except IndexError:  # the list has become shorter, which counts as such
                continue
            if old is not new and not _equal(old, new):
                yield key, old, new

    def name(self, key: Any) -> str:
        if isinstance(self.holder, CellType):
            return self.owner
        dotted = isinstance(key, str) and key.isidentifier()
        return f"{self.owner}.{key}" if dotted else f"{self.owner}[{key!r}]"

    def put(self, key: Any, value: Any) -> None:
        if isinstance(self.holder, (dict, list, deque)):
            self.holder[key] = value
        elif isinstance(self.holder, set):
            self.holder.add(key)
        else:
            setattr(self.holder, key, value)

    def resized(self) -> bool:
        return self.size is not None and len(self.holder) != self.size


class Environment:
    """What can be reached from some named objects, and what it was at construction.

    Args:
        roots: objects to start from, by name.
        except_for: holders, by identity, and keys that may change.

    Attributes:
        slots: the values that are remembered.
        modules: the modules that are reached, outer ones first, and what they are called.
    """

    def __init__(self, roots: Mapping[str, Any], except_for: Iterable[tuple[int, Any]] = ()):
        self.slots: list[Slots] = []
        self.modules: list[tuple[str, nn.Module]] = []
        self._taken: set[tuple[int, Any]] = set(except_for)
        self._kept: dict[int, Any] = {}
        self._queue = deque(roots.items())
        self._walk()

    def holds(self) -> bool:
        """Whether nothing has changed since; by identity first, which nearly always decides."""
        sized, sizes, getters, keys, values = self._flat
        if list(map(len, sized)) != sizes:
            return False
        return all(map(is_, map(call, getters, keys), values)) or not self.changes()

    @functools.cached_property
    def _flat(self) -> tuple[list[Any], list[int], list[Any], list[Any], list[Any]]:
        """Everything that is compared, in lists that C code runs over."""
        sized = [slots for slots in self.slots if slots.size is not None]
        each = [
            (s.get, key, v) for s in self.slots for key, v in zip(s.keys, s.values, strict=True)
        ]
        getters, keys, values = map(list, zip(*each, strict=True)) if each else ([], [], [])
        return [s.holder for s in sized], [s.size or 0 for s in sized], getters, keys, values

    def changes(self) -> list[str]:
        """What has changed, in words."""
        found = []
        for slots in self.slots:
            for key, old, new in slots.changes():
                plain = isinstance(old, SCALARS) and isinstance(new, SCALARS)
                found.append(slots.name(key) + (f" ({old!r}, then {new!r})" if plain else ""))
            if slots.resized():
                found.append(f"{slots.owner} ({slots.size} entries, then {len(slots.holder)})")
        return found

    def moved_floats(self) -> list[tuple[Slots, Any]]:
        """The places whose floats have changed, if nothing else has."""
        changes = [
            (slots, key, old, new) for slots in self.slots for key, old, new in slots.changes()
        ]
        only = all(type(old) is type(new) is float for _, _, old, new in changes)
        if not only or any(slots.resized() for slots in self.slots):
            return []
        return [(slots, key) for slots, key, _, _ in changes]

    def restore(self) -> None:
        """Put back values that were replaced."""
        for slots in self.slots:
            for key, old, _ in list(slots.changes()):
                slots.put(key, old)

    def watch(self, owner: str, holder: Any, keys: Iterable[Any], sized: bool = False) -> None:
        """Remember some values of a holder, and follow them."""
        vars(self).pop("_flat", None)
        new = [key for key in keys if (id(holder), key) not in self._taken]
        sized = sized and (id(holder), len) not in self._taken
        self._taken |= {(id(holder), key) for key in ([*new, len] if sized else new)}
        if new or sized:
            slots = Slots(owner, holder, new, sized)
            self.slots.append(slots)
            self._queue += zip(map(slots.name, slots.keys), slots.values, strict=True)

    def _walk(self) -> None:
        while self._queue:
            name, value = self._queue.popleft()
            if not isinstance(value, (*SCALARS, Tensor)) and id(value) not in self._kept:
                self._kept[id(value)] = value
                self._visit(name, value)

    def _visit(self, name: str, value: Any) -> None:
        if isinstance(value, MethodType):
            self._queue += [(type(value.__self__).__name__, value.__self__), (name, value.__func__)]
        elif isinstance(value, functools.partial):
            self._queue += [(name, part) for part in (value.func, *value.args)]
            self.watch(name, value.keywords, value.keywords)
        elif isinstance(value, FunctionType):
            self._visit_function(value)
        elif isinstance(value, type):
            self._visit_class(value)
        elif isinstance(value, (dict, list, deque, set)):
            keys = range(len(value)) if isinstance(value, (list, deque)) else list(value)
            self.watch(name, value, keys if len(value) <= LARGEST_CONTAINER else [], sized=True)
        elif isinstance(value, (tuple, frozenset)):
            if len(value) <= LARGEST_CONTAINER:
                self._queue += [(name, item) for item in value]
        elif isinstance(value, nn.Module):
            self._visit_module(name, value)
        elif _keeps_state(value):
            if hasattr(value, "__dict__"):
                self._visit_attributes(value, vars(value))
            self.watch(type(value).__name__, value, _filled_slots(value))

    def _visit_module(self, called: str, module: nn.Module) -> None:
        self.modules.append((called, module))
        for table in MODULE_TABLES:
            entries, name = vars(module)[table], type(module).__name__
            if table.endswith("hooks"):
                self.watch(f"{name}.{table}", entries, entries, sized=True)
            elif entries:
                self.watch(name, entries, entries, sized=True)
        self._visit_attributes(module, vars(module).keys() - MODULE_INTERNALS)

    def _visit_attributes(self, value: Any, keys: Iterable[str]) -> None:
        """Watch the attributes of an object, but of torch's and Pyro's own only plain ones."""
        name, attributes, theirs = (
            type(value).__name__,
            vars(value),
            _library_names(value.__class__),
        )
        watched = [k for k in keys if k not in theirs or isinstance(attributes[k], SETTINGS)]
        self.watch(name, attributes, watched, sized=theirs == frozenset())
        self._queue += [(f"{name}.{k}", attributes[k]) for k in keys]
        self._queue.append((name, type(value)))

    def _visit_function(self, function: FunctionType) -> None:
        cells = function.__closure__ or ()
        for variable, cell in zip(function.__code__.co_freevars, cells, strict=True):
            try:
                self.watch(variable, cell, ["cell_contents"])
            except ValueError:  # an empty cell
                continue
        if function.__kwdefaults__:
            self.watch(function.__name__, function.__kwdefaults__, function.__kwdefaults__)
        self._queue += [(function.__name__, default) for default in function.__defaults__ or ()]
        if _is_own(function):
            self._visit_globals(function.__globals__, set(_names(function.__code__)))

    def _visit_globals(self, namespace: dict[str, Any], names: set[str]) -> None:
        present = sorted(names & namespace.keys())
        modules = [name for name in present if isinstance(namespace[name], ModuleType)]
        title = namespace.get("__name__", "global")
        self.watch(title, namespace, [name for name in present if name not in modules])
        for module in (namespace[name] for name in modules):
            own = module.__name__.partition(".")[0] not in LIBRARIES
            seen = id(module), frozenset(names)
            if own and vars(module) is not namespace and seen not in self._taken:
                self._taken.add(seen)
                self._visit_globals(vars(module), names)

    def _visit_class(self, cls: type) -> None:
        for base in filter(_is_own, cls.__mro__):
            if base is cls or id(base) not in self._kept:
                self._kept[id(base)] = base
                entries = {k: v for k, v in vars(base).items() if not k.startswith("__")}
                values = [k for k, v in entries.items() if isinstance(v, (*SCALARS, *CONTAINERS))]
                self.watch(base.__name__, base, values)
                self._queue += [(k, _function_of(v)) for k, v in vars(base).items()]


def _getter(holder: Any) -> Any:
    """What gives the value of a key of a holder, in C where most values are."""
    if isinstance(holder, (CellType, ModuleType)):
        return functools.partial(getattr, holder)
    if isinstance(holder, (list, deque)):
        return holder.__getitem__
    if isinstance(holder, set):
        return holder.__contains__
    if isinstance(holder, type):
        return vars(holder).get
    return holder.get if isinstance(holder, Mapping) else lambda key: getattr(holder, key, None)


def _function_of(entry: Any) -> Any:
    """The function behind an entry of a class, if it is one; other entries are watched by name."""
    for attribute in ("__func__", "fget", "func"):
        if isinstance(entry, (staticmethod, classmethod, property, functools.cached_property)):
            entry = getattr(entry, attribute, entry)
    return entry if isinstance(entry, FunctionType) else None


def _filled_slots(value: Any) -> list[str]:
    names = (vars(base).get("__slots__", ()) for base in type(value).__mro__)
    each = [name for n in names for name in ([n] if isinstance(n, str) else n)]
    return [name for name in each if name != "__weakref__" and hasattr(value, name)]


def _is_own(thing: Any) -> bool:
    """Whether a class or function belongs to the user's program."""
    return (thing.__module__ or "").partition(".")[0] not in LIBRARIES


@functools.cache
def _library_names(cls: type) -> frozenset[str]:
    """The names that the code of torch's and Pyro's classes among the bases mentions."""
    bases = [b for b in cls.__mro__ if b.__module__.partition(".")[0] in ("torch", "pyro")]
    functions = [f for b in bases if b is not nn.Module for f in vars(b).values()]
    codes = [f.__code__ for f in functions if isinstance(f, FunctionType)]
    return frozenset(name for code in codes for name in _names(code))


def _keeps_state(value: Any) -> bool:
    if isinstance(value, ModuleType):
        return False
    return isinstance(value, (pyro.infer.ELBO, Messenger, *PLAIN)) or _is_own(type(value))


def _names(code: CodeType) -> Iterator[str]:
    """The global and attribute names of a function's code, nested functions included."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _equal(old: Any, new: Any) -> bool:
    if type(old) is MethodType and type(new) is MethodType:
        return old.__self__ is new.__self__ and old.__func__ is new.__func__
    same_kind = type(old) is type(new) and isinstance(old, SCALARS)
    return same_kind and (old == new or (old != old and new != new))
