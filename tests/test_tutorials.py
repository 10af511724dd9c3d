"""Every tutorial runs, writes its figure, and its numbers are right.

A tutorial joins by a function below that asserts on what its ``main(smoke=True)`` returns.
"""

import importlib.util
import math
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import matplotlib.pyplot as plt
import pytest

plt.switch_backend("Agg")

FOLDER = Path(__file__).resolve().parents[1] / "tutorials"
CHECKS: dict[str, Callable[[dict[str, Any]], None]] = {}


def tutorial(name: str) -> Callable[[Callable[[dict[str, Any]], None]], None]:
    """Register what must hold of the results of ``tutorials/NAME.py``."""

    def register(check: Callable[[dict[str, Any]], None]) -> None:
        CHECKS[name] = check

    return register


@tutorial("03_gamma_variational_inference")
def _(found):
    assert found["quadrature_gap"] < 1e-10
    assert found["evidence"] == pytest.approx(2 * math.log(4), rel=1e-12)
    assert found["loss_at_optimum"] == pytest.approx(2 * math.log(4), rel=1e-12)
    assert found["spread_at_optimum"] < 1e-12
    assert found["spread_beside"] > 0.05
    for x, theta in found["thetas"].items():
        assert theta == pytest.approx(x + 1, rel=1e-3)
    assert found["largest_relative_error"] < 1e-3
    assert found["usual_gradient_error"] > 1e-3


@tutorial("11_pyro_programs_as_graphs")
def _(found):
    assert found["mixture_edges"] == [
        ("assignment", "x"), ("locs", "x"), ("weights", "assignment"),
    ]  # fmt: skip
    assert found["independent_before_data"]
    assert not found["independent_given_data"]
    assert "x is a collider" in found["why"]
    assert found["markov_given_parameters"]
    assert not found["markov_without_parameters"]
    assert found["blanket_of_x1"] == ["transition", "x0", "x2", "y1"]
    assert found["effects_are_enough"]
    assert not found["effects_are_free"]
    assert found["noise_is_free"]
    assert found["found"] == {"z -> common": "redrawn", "z -> rare": "assumed"}
    assert found["edges_without_assuming"] == [("z", "common")]
    assert len(found["branch_warnings"]) == 2
    assert "'x2' reads data that 'x1' observed" in found["data_warnings"][0]
    assert found["told_edges"][0] == ("x1", "x2")
    assert found["round_trip"]
    assert found["log_evidence_enumerated"] == pytest.approx(found["log_evidence_tree"], abs=1e-10)


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"tutorial_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", CHECKS)
def test_tutorials_run_and_their_numbers_hold(name, tmp_path):
    found = load(name).main(smoke=True, out=tmp_path)
    CHECKS[name](found)
    figures = [path for path in tmp_path.rglob("*.png") if path.stat().st_size > 10_000]
    assert figures
    plt.close("all")


@pytest.mark.parametrize("path", sorted(FOLDER.glob("[0-9]*.py")), ids=lambda path: path.stem)
def test_tutorials_are_checked_notebooks_with_a_command_line(path, monkeypatch, capsys):
    assert path.stem in CHECKS
    text = path.read_text()
    assert text.startswith("# %% [markdown]\n# # ")
    monkeypatch.setattr(sys, "argv", [str(path), "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(path), run_name="__main__")
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert "--smoke" in shown
    assert "--out" in shown
