"""Every public name shows how it is used, and every example in a docstring prints what it says."""

import ast
import doctest
import importlib
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import networkx as nx
import pyro
import pytest
import torch

import graphs
import ppl_gen

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ["graphs", "ppl_gen"]
# What an example may use without importing it.
AT_HAND = {"graphs": graphs, "ppl_gen": ppl_gen, "torch": torch, "pyro": pyro, "nx": nx}
FINDER = doctest.DocTestFinder(exclude_empty=False)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def stub_names(package: str) -> list[str]:
    """The names that the stub of a package exports, in its order."""
    tree = ast.parse((ROOT / package / "__init__.pyi").read_text(encoding="utf-8"))
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    return [alias.asname for node in imports for alias in node.names if alias.asname]


def members(module: ModuleType) -> list[str]:
    """The names a module declares public or, where it declares none, defines without underscore."""
    own = (n for n, v in vars(module).items() if getattr(v, "__module__", "") == module.__name__)
    return getattr(module, "__all__", None) or [n for n in own if not n.startswith("_")]


def spelled(package: str) -> Iterator[tuple[str, Any]]:
    """Every public name as a user writes it, those of public modules too, and what it means."""
    root = importlib.import_module(package)
    for name in stub_names(package):
        value = getattr(root, name)
        yield f"{package}.{name}", value
        if inspect.ismodule(value):
            yield from ((f"{package}.{name}.{m}", getattr(value, m)) for m in members(value))


def public_objects() -> dict[str, Any]:
    """Every public function and class once, by its shortest name."""
    found = (pair for package in PACKAGES for pair in spelled(package))
    shortest: dict[int, tuple[str, Any]] = {}
    for name, value in sorted(found, key=lambda pair: pair[0].count(".")):
        if inspect.isfunction(value) or inspect.isclass(value):
            shortest.setdefault(id(value), (name, value))
    return dict(shortest.values())


def modules_with_examples() -> Iterator[ModuleType]:
    for path in (path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))):
        if ">>> " in path.read_text(encoding="utf-8"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            yield importlib.import_module(name.removesuffix(".__init__"))


def other_examples() -> dict[str, doctest.DocTest]:
    """The docstrings with examples that belong to no public function or class."""
    public = tuple(f"{v.__module__}.{v.__qualname__}." for v in PUBLIC.values())
    found = (
        test
        for module in modules_with_examples()
        for test in FINDER.find(module, module.__name__, globs=vars(module) | AT_HAND)
    )
    return {t.name: t for t in found if t.examples and not f"{t.name}.".startswith(public)}


PUBLIC = public_objects()
OTHERS = other_examples()


def run(*tests: doctest.DocTest) -> None:
    """Run examples; a report of those that print something else is the message of the failure."""
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    for test in tests:
        runner.run(test, out=report.append, clear_globs=False)
    assert not runner.failures, "".join(report)


@pytest.fixture(autouse=True)
def clean_desk(tmp_path, monkeypatch, fresh_store):
    """A folder for the files an example writes, and no figure left open."""
    monkeypatch.chdir(tmp_path)
    yield
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close("all")


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_has_an_example_that_holds(name):
    own, *inner = FINDER.find(PUBLIC[name], name, globs=AT_HAND)
    assert any(example.want for example in own.examples), f"{name} shows no example with its output"
    run(own, *inner)


@pytest.mark.parametrize("name", OTHERS)
def test_the_examples_of_other_names_hold(name):
    run(OTHERS[name])


def test_every_package_is_looked_into():
    for package in PACKAGES:
        shown = {name.split(".")[1] for name in PUBLIC if name.startswith(f"{package}.")}
        assert len(shown) > 20, sorted(shown)
