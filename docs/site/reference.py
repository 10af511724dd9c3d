"""The reference: a page for every public name, listed by what one wants to do.

The names are those of the two stubs; ``pages`` refuses to leave one out, so a new public name needs
a line here. Modules of names, such as ``ppl_gen.metrics``, are tasks of their own.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import textwrap
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from pprint import pformat
from types import ModuleType, UnionType
from typing import Any, get_origin

from graphs.inference.queries import Queries

ROOT = Path(__file__).resolve().parents[2]

TASKS: dict[str, dict[str, str]] = {
    "graphs": {
        "State a model": "parse Factorization Factor read_graph load save files.read_evidence "
        "files.MissingFileError ParseError bayesian_network markov_network as_graph factorization",
        "Ask what is independent of what": "query independent Independence independencies "
        "Separation markov_blanket minimal_separator local_markov pairwise_markov",
        "Check a claim, compare models": "check Verdict is_imap is_perfect_map MapResult "
        "equivalent essential_graph",
        "Test a graph against data": "implications Implications",
        "Compute with tables": "JunctionTree marginal Joint BeliefPropagation MeanField "
        "Convergence ConvergenceWarning",
        "Networks in time": "two_slice TwoSlice unroll DynamicTree always Always",
        "Learn tables from data": "learn Learned",
        "Set variables from outside": "do effect adjustment Adjustment front_door FrontDoor "
        "instruments Instrument",
        "Question Pyro programs and their guides": "from_pyro to_pyro guide_gaps GuideGaps inverse",
        "See and click": "show page Page draw",
        "Moral and chordal graphs": "moralize triangulate is_chordal chordless_cycle "
        "maximal_cliques",
    },
    "ppl_gen": {
        "Train": "fit History Pair Trainable Turn stage memory.retained CSVLog TensorBoardLog",
        "Save, embed, impute": "save load card export embed impute",
        "Build a model of parts": "VAE Latent Diffusion LatentDiffusion GenerativeModel",
        "Objectives": "Objective ELBO IWAE DReG Renyi ReweightedWakeSleep Terms",
    },
}
# Modules whose names are a task.
MODULES = {
    "graphs": {
        "textbook": "Textbook examples",
        "gamma": "Variational inference with a closed form",
    },
    "ppl_gen": {
        "zoo": "Models by name",
        "priors": "Parts: priors",
        "posteriors": "Parts: posteriors",
        "likelihoods": "Parts: likelihoods",
        "networks": "Parts: networks",
        "schedules": "Parts: schedules",
        "guides": "Guides for Pyro programs",
        "sparse_coding": "Parts: sparse codes",
        "divergences": "Parts of games: divergences",
        "critics": "Parts of games: critics",
        "regularizers": "Parts of games: regularisers",
        "transforms": "Parts of games: transforms",
        "noise": "Parts of diffusion: noise",
        "denoisers": "Parts of diffusion: denoisers",
        "samplers": "Parts of diffusion: samplers",
        "gradients": "Gradient estimators",
        "metrics": "Scores",
        "sklearn": "In scikit-learn",
        "arviz": "In ArviZ",
        "data": "Data",
        "plot": "Pictures",
    },
}
INTRODUCTION = """By task; every name has a page with an example. Examples begin after these lines::

    import graphs
    import networkx as nx
    import ppl_gen
    import pyro
    import torch

"""
CONTAINERS = (
    "files",
    "objectives",
    "memory",
    "nested_bounds",
)  # modules whose names are listed above


def stub_names(package: str) -> list[str]:
    """The names that the stub of a package exports."""
    tree = ast.parse((ROOT / package / "__init__.pyi").read_text(encoding="utf-8"))
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    return [alias.asname for node in imports for alias in node.names if alias.asname]


def members(module: ModuleType) -> list[str]:
    """The names a module declares public or, where it declares none, defines without underscore."""
    own = (n for n, v in vars(module).items() if getattr(v, "__module__", "") == module.__name__)
    return getattr(module, "__all__", None) or [n for n in own if not n.startswith("_")]


def tasks() -> Iterator[tuple[str, str, list[str]]]:
    """Package, title and names of every task.

    Raises:
        ValueError: a public name that no task lists, or a listed one that is none.
    """
    for package, listed in TASKS.items():
        names = [name for text in listed.values() for name in text.split()]
        known = {*names, *MODULES[package], *CONTAINERS}
        if missing := [name for name in stub_names(package) if name not in known]:
            raise ValueError(
                f"expected a task of docs/site/reference.py for {package}.{missing[0]}"
            )
        for title, text in listed.items():
            yield package, title, [f"{package}.{name}" for name in text.split()]
        for name, title in MODULES[package].items():
            module = importlib.import_module(package)
            inner = sorted(members(getattr(module, name)), key=str.lower)
            yield package, title, [f"{package}.{name}.{inside}" for inside in inner]


def resolve(name: str) -> Any:
    """What a dotted name means."""
    package, *rest = name.split(".")
    found: Any = importlib.import_module(package)
    for part in rest:
        found = getattr(found, part)
    return found


def summary(value: Any) -> str:
    """The first sentence of a docstring, or what a value is, as reStructuredText."""
    if _is_value(value):
        return _kind(value)
    return (inspect.getdoc(value) or "").split("\n\n")[0].replace("\n", " ")


def _kind(value: Any) -> str:
    """What kind of thing a value is."""
    if isinstance(value, dict | tuple):
        return f"{len(value)} {'entries' if isinstance(value, dict) else 'values'}."
    if isinstance(value, UnionType) or get_origin(value):
        return "A type for annotations."
    return f"A {type(value).__name__}."


def document(name: str, names: Collection[str]) -> str:
    """The file of a name, which no other has where capitals do not tell files apart."""
    twins = [other for other in names if other != name and other.lower() == name.lower()]
    capital = name.rpartition(".")[2][0].isupper()
    return f"{name}-type" if twins and capital else name


def page(name: str) -> str:
    """The page of one public name."""
    value = resolve(name)
    head = _underlined(name, "=")
    if inspect.ismodule(value):
        return f"{head}.. automodule:: {name}\n"
    if inspect.isclass(value):
        inherited = "   :inherited-members:\n" if issubclass(value, Queries) else ""
        return f"{head}.. autoclass:: {name}\n   :members:\n{inherited}   :member-order: bysource\n"
    if inspect.isroutine(value):
        return f"{head}.. autofunction:: {name}\n"
    described = textwrap.indent(_described(name, value), "   ")
    return f"{head}.. data:: {name}\n   :noindex:\n\n{described}\n"


def _is_value(value: Any) -> bool:
    """Whether it is neither a module, a function nor a class, whose docstrings are its own."""
    return not (inspect.isroutine(value) or inspect.isclass(value) or inspect.ismodule(value))


def _described(name: str, value: Any) -> str:
    """What a public value is that has no docstring of its own, from the value itself."""
    if isinstance(value, dict):
        return f"A dictionary of {len(value)} entries.\n\n{_printed(f'list({name})', list(value))}"
    if isinstance(value, tuple):
        return f"{len(value)} values.\n\n{_printed(name, value)}"
    if isinstance(value, UnionType) or get_origin(value):
        return f"A type for annotations, ``{value}``."
    module, kind = name.rpartition(".")[0], type(value).__name__
    about = f"A :class:`{kind} <{module}.{kind}>`, one of those that :mod:`{module}` describes:"
    return f"{about}\n\n.. automodule:: {module}\n   :no-index:\n\n{_printed(name, value)}"


def _printed(expression: str, value: Any) -> str:
    lines = pformat(value, width=88, compact=True)
    return f">>> {expression}\n{lines}\n"


def _underlined(text: str, line: str) -> str:
    return f"{text}\n{line * len(text)}\n\n"


def table(names: Iterable[str], known: Collection[str]) -> str:
    """Names with their pages and first sentences."""
    rows = [
        f"   * - :doc:`{name} <{document(name, known)}>`\n     - {summary(resolve(name))}"
        for name in names
    ]
    return "\n".join([".. list-table::\n   :class: names\n   :widths: 35 65\n", *rows, ""])


def write(folder: Path) -> list[str]:
    """Write the pages and their index; returns the names."""
    folder.mkdir(parents=True, exist_ok=True)
    listed = list(tasks())
    modules = {
        f"{package}.{name}": title
        for package in MODULES
        for name, title in MODULES[package].items()
    }
    known = [*modules, *(name for *_, names in listed for name in names)]
    pages = {name: page(name) for name in known}
    parts = [_underlined("Reference", "=") + INTRODUCTION]
    for package, title, names in listed:
        parts.append(_underlined(f"{package}: {title[0].lower()}{title[1:]}", "-"))
        for module in (m for m, its in modules.items() if its == title and m.startswith(package)):
            parts.append(f":doc:`{module} <{module}>`: {summary(resolve(module))}\n")
            pages[module] += f"\n{table(names, known)}"
        parts.append(table(names, known))
    for name, text in pages.items():
        (folder / f"{document(name, known)}.rst").write_text(text, encoding="utf-8")
    listing = "\n".join(f"   {document(name, known)}" for name in pages)
    parts.append(f".. toctree::\n   :hidden:\n\n{listing}\n")
    (folder / "index.rst").write_text("\n".join(parts), encoding="utf-8")
    return list(pages)
