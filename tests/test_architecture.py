"""The plan of the code, as CONTRIBUTING.md states it: arrows between rooms only fall.

A room is a folder of a package or a file at its root. Imports inside functions count; those for
type checkers alone do not, and a package's own face is no room.
"""

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import networkx as nx
import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ["graphs", "ppl_gen"]
# Names private to other libraries; dispatch modes and pytrees are in use everywhere.
PRIVATE = re.compile(
    r"\b(?:from|import)\s+(?:torch|pyro|networkx)(?:\.\w+)*\._(?!pytree\b|python_dispatch\b)\w+"
    r"|\btorch\._(?!foreach_|_)\w+|\b(?:nx|networkx|pyro)\._(?!_)\w+"
    r"|\w\._(?:pred|succ|adj)\b|__networkx_cache__"
)
WALLED = {
    "ppl_gen/staging/torch_internals.py",
    "graphs/programs/provenance.py",
    "graphs/structure/search.py",
}


@functools.cache
def modules(package: str) -> dict[str, Path]:
    """Every module of a package by its dotted name."""
    paths = sorted((ROOT / package).rglob("*.py"))
    names = [".".join(p.relative_to(ROOT).with_suffix("").parts) for p in paths]
    return {name.removesuffix(".__init__"): path for name, path in zip(names, paths, strict=True)}


def imported(name: str, path: Path, known: dict[str, Path]) -> Iterator[str]:
    """The modules of its own package that a module imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(inner)
        for outer in ast.walk(tree)
        if isinstance(outer, ast.If) and "TYPE_CHECKING" in ast.unparse(outer.test)
        for inner in ast.walk(outer)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                target = whole if whole in known else node.module
                if target in known and target != name:
                    yield target


def room(module: str) -> str:
    """The folder of a package or the file at its root that a module belongs to."""
    return module.split(".")[1] if "." in module else ""


@functools.cache
def arrows(package: str) -> nx.DiGraph:
    """Which module imports which; not to be changed."""
    known = modules(package)
    graph = nx.DiGraph()
    graph.add_nodes_from(known)
    for name, path in known.items():
        graph.add_edges_from((name, target) for target in imported(name, path, known))
    return nx.freeze(graph)


@functools.cache
def rooms(package: str) -> nx.DiGraph:
    """Which room imports from which; not to be changed."""
    graph = nx.DiGraph()
    for source, target in arrows(package).edges:
        if "" not in (room(source), room(target)) and room(source) != room(target):
            graph.add_edge(room(source), room(target), by=source)
    return nx.freeze(graph)


@pytest.mark.parametrize("package", PACKAGES)
def test_no_circle_between_rooms(package):
    circles = [c for c in nx.strongly_connected_components(rooms(package)) if len(c) > 1]
    assert not circles, [
        (source, target, rooms(package).edges[source, target]["by"])
        for circle in circles
        for source, target in rooms(package).subgraph(circle).edges
    ]


@pytest.mark.parametrize("package", PACKAGES)
def test_no_circle_between_modules(package):
    graph = nx.DiGraph(arrows(package))
    graph.remove_nodes_from([n for n, p in modules(package).items() if p.name == "__init__.py"])
    circles = [sorted(c) for c in nx.strongly_connected_components(graph) if len(c) > 1]
    assert not circles


def test_the_loop_knows_no_model_and_no_estimator():
    reached = {room(m) for m in nx.descendants(rooms("ppl_gen"), "training")}
    assert not reached & {"zoo", "gradients", "app", "metrics"}
    assert not set(rooms("ppl_gen").successors("training")) & {"zoo", "estimators"}


def test_a_score_needs_no_training():
    assert "training" not in nx.descendants(rooms("ppl_gen"), "metrics")


@pytest.mark.parametrize(("package", "most"), [("graphs", 8), ("ppl_gen", 24)])
def test_the_root_is_short(package, most):
    files = [p for p in (ROOT / package).iterdir() if p.is_file() and p.suffix in (".py", ".pyi")]
    assert len(files) <= most


def test_private_names_of_other_libraries_are_walled_in():
    outside = {
        str(path.relative_to(ROOT)): found
        for package in PACKAGES
        for path in modules(package).values()
        if (found := PRIVATE.findall(path.read_text(encoding="utf-8")))
    }
    assert set(outside) <= WALLED, outside


@pytest.mark.parametrize("package", PACKAGES)
def test_contributing_names_every_room(package):
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    tree = text.split("```")[1].split(f"{package}/\n")[1]
    named = set(re.findall(r"\b\w+(?:\.py|/)", tree))
    here = [p for p in (ROOT / package).iterdir() if not p.name.startswith("__")]
    for path in here:
        if path.suffix == ".py" or (path.is_dir() and (path / "__init__.py").exists()):
            assert f"{path.name}{'' if path.suffix else '/'}" in named, path.name
