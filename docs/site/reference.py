"""The reference: a page for every public name, listed by what one wants to do.

The names are those of the two stubs; ``pages`` refuses to leave one out, so a new public name needs
a line here. Modules of names, such as ``ppl_gen.metrics``, are tasks of their own.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

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
    """The first sentence of a docstring, as reStructuredText."""
    text = inspect.getdoc(value) if inspect.isroutine(value) or inspect.isclass(value) else ""
    return (text or "").split("\n\n")[0].replace("\n", " ")


def page(name: str) -> str:
    """The page of one public name."""
    value = resolve(name)
    head = f"{name}\n{'=' * len(name)}\n\n"
    if inspect.isclass(value):
        inherited = "   :inherited-members:\n" if issubclass(value, Queries) else ""
        return f"{head}.. autoclass:: {name}\n   :members:\n{inherited}   :member-order: bysource\n"
    if inspect.isroutine(value):
        return f"{head}.. autofunction:: {name}\n"
    return f"{head}.. data:: {name}\n   :noindex:\n\n   {_described(value)}\n"


def _described(value: Any) -> str:
    """What a public value is that is neither function nor class, from the value itself."""
    if isinstance(value, dict):
        first = next(iter(value))
        return f"A dictionary of {len(value)} entries by name, such as ``{first!r}``."
    if isinstance(value, tuple):
        return f"{len(value)} values, from ``{value[0]!r}`` to ``{value[-1]!r}``."
    return f"A type for annotations, ``{value}``."


def write(folder: Path) -> list[str]:
    """Write the pages and their index; returns the names."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = ["Reference\n=========\n\nBy task; every name has a page with an example.\n"]
    written: list[str] = []
    for package, title, names in tasks():
        heading = f"{package}: {title[0].lower()}{title[1:]}"
        table = ".. list-table::\n   :class: names\n   :widths: 35 65\n"
        parts.append(f"\n{heading}\n{'-' * len(heading)}\n\n{table}")
        for name in names:
            parts.append(f"   * - :doc:`{name} <{name}>`\n     - {summary(resolve(name))}")
            if name not in written:
                (folder / f"{name}.rst").write_text(page(name), encoding="utf-8")
                written.append(name)
    listing = "\n".join(f"   {name}" for name in written)
    parts.append(f"\n.. toctree::\n   :hidden:\n\n{listing}\n")
    (folder / "index.rst").write_text("\n".join(parts), encoding="utf-8")
    return written
