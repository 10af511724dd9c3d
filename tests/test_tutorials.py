"""Every tutorial runs as a script and as a notebook, its numbers are right, and it shows them.

A tutorial joins by a function below that asserts on what its ``main(smoke=True)`` returns.
"""

import __future__

import ast
import builtins
import contextlib
import importlib.util
import io
import math
import re
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


@tutorial("01_bayesian_networks")
def _(found):
    assert found["free_numbers"] == (63, 13)
    assert found["answers"] == {
        "F ⟂ D": False,
        "S ⟂ D | I": True,
        "M ⟂ F": True,
        "M ⟂ F | D": False,
        "M ⟂ T | D": False,
        "M ⟂ S | I": False,
        "M ⟂ F | T": True,
    }
    assert found["paths"]["M ⟂ F | D"] == ("M", "I", "D", "T", "F")
    assert "D is a collider (a common effect) that is observed" in found["reasons"]["M ⟂ F | D"]
    assert found["largest_when_independent"] < 1e-12
    assert found["smallest_when_dependent"] > 1e-6
    assert not found["mistake_holds"]
    assert "and by T, a chain node that is observed" in found["mistake"]
    assert found["blanket_of_t"] == ["A", "B", "M", "O"]
    assert found["moral_edges"] == ["AB", "AM", "AO", "AT", "BM", "BS", "BT", "MT", "OS", "OT"]
    assert found["cliques"] == ["ABMT", "AOT", "BS", "C", "OS"]
    assert not found["moral_is_perfect"]
    assert found["married_are_independent"] == {"A ⟂ O": True, "A ⟂ B": True}
    assert not found["moral_is_chordal"]
    assert set(found["chordless_cycle"]) in ({"S", "O", "T", "B"}, {"S", "O", "A", "B"})
    assert found["fill_in"] == [["B", "O"]]
    assert found["chordal_with"] == {"OB": True, "ST": False}
    assert "No DAG is one, since the model has the chordless cycle" in found["why_no_network"]
    assert not found["wrong_holds"]
    assert found["uncovered"] == ["ABMT"]
    assert found["false_independence"] == "A ⟂ B | M, O, T"
    assert found["counterexample_information"] == pytest.approx(found["claimed_information"])
    assert found["claimed_information"] > 0.3
    assert found["right_holds"]
    without = found["without_c"]
    assert without["z"] == pytest.approx(without["z_without"] * without["sum_of_factor"], rel=1e-12)
    assert without["change"] < 1e-14


@tutorial("02_markov_random_fields")
def _(found):
    letters = found["letters"]
    assert letters["z_ratio_scaled"] == pytest.approx(5, rel=1e-12)
    assert letters["change_scaled"] < 1e-14
    assert letters["z_ratio_loose"] == pytest.approx(letters["sum_of_loose"], rel=1e-12)
    assert letters["change_loose"] < 1e-14
    assert letters["change_dropped"] > 1e-3
    for text, holds in letters["answers"].items():
        measured = letters["separated" if holds else "connected"][text]
        assert (measured < 1e-12) == holds
    assert found["cost_of_strip"].treewidth < 12
    assert found["bytes_allowed"] < found["cost_of_strip"].bytes
    assert found["log_z_conditioned"] == pytest.approx(found["log_z_exact"], rel=1e-12)
    assert found["coupling_and_bias"][0] == pytest.approx(1.1, abs=0.1)
    rates = found["error_rates"]
    assert rates["noisy"] == pytest.approx(0.1, abs=0.01)
    assert rates["one coupling"] < 0.35 * rates["noisy"]
    assert rates["one per pair"] < 0.45 * rates["noisy"]
    likelihoods = found["em"]["likelihoods"]
    assert likelihoods == sorted(likelihoods)
    assert likelihoods[-1] > found["em"]["likelihood_of_truth"] - 0.01


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


@tutorial("04_gradient_estimators")
def _(found):
    for name, (mean, variance) in found["by_hand"].items():
        measured, error, bias, stderr = found["measured"][name]
        assert mean == pytest.approx(0.05 * 0.95 * 0.1)
        assert abs(measured - variance) < 4 * error
        assert abs(bias) < 4 * stderr
    assert found["crossover_square"] is None
    assert found["crossover_exp"] == 1.0
    assert found["crossover_cos"] == 1.5
    for ks in (found["variances_cos"], found["variances_exp"]):
        assert ks[max(ks)]["score"] < ks[max(ks)]["reparameterized"] / 10
    counts = found["leave_one_out"]
    assert counts[32] < counts[2] / 10
    biases, variances = zip(*found["temperatures"].values(), strict=True)
    assert abs(biases[0]) > 5 * abs(biases[-1])
    assert list(variances) == sorted(variances)
    assert found["gaussian_ratio"] > 1e3
    assert found["gaussian_elbo"]["reparameterized"] > found["gaussian_elbo"]["score"]
    variance = found["bernoulli_variance"]
    assert variance["score"] > 1e3 * max(variance["nvil"], variance["disarm"])


@tutorial("05_autoencoders")
def _(found):
    assert max(found["likelihood_gaps"].values()) < 1e-7
    sigma, spread = found["sigma"], found["spread"]
    assert sigma["autoencoder"] == 0
    assert sigma["VAE without KL"] < 0.3 * sigma["VAE"]
    assert spread["VAE"] < spread["VAE without KL"]
    assert found["reconstruction"]["VAE"] < found["reconstruction"]["autoencoder"]
    assert found["elbo"] < found["reconstruction"]["VAE"]


@tutorial("06_disentanglement")
def _(found):
    for protocol in ("chen", "locatello"):
        assert all(0 <= score <= 1 for score in found[protocol].values())
    assert found["chen"] != found["locatello"]
    assert found["rate"]["β = 8"] < found["rate"]["β = 1"]
    assert found["distortion"]["β = 8"] > found["distortion"]["β = 1"]
    assert found["active_units"]["β = 8"] <= found["active_units"]["β = 1"]


@tutorial("07_control_vae")
def _(found):
    assert found["lag_kl"] == pytest.approx({8.0: 8.0, 14.0: 14.0}, abs=1e-2)
    assert found["mean_kl"][8.0] < found["mean_kl"][14.0]
    assert found["rate"][8.0] < found["rate"][14.0]
    assert found["distortion"][8.0] > found["distortion"][14.0]


@tutorial("08_vamp_prior")
def _(found):
    assert found["marginal_kl"]["VampPrior"] < 0.5 * found["marginal_kl"]["standard normal"]
    assert found["log_likelihood"]["VampPrior"] > found["log_likelihood"]["standard normal"]
    assert found["mixture_ends"]["own"] > 1
    assert abs(found["mixture_ends"]["aggregate"]) < 0.1


@tutorial("09_discrete_latents")
def _(found):
    for shares in found["argmax_shares"].values():
        assert shares == pytest.approx([0.5, 0.3, 0.2], abs=4 * (0.25 / 20_000) ** 0.5)
    assert found["mean_largest"][2.0] < found["mean_largest"][0.5] < found["mean_largest"][0.1]
    for name, kl in found["kl"].items():
        assert 0 < kl < found["uniform_kl"][name]
        assert found["elbo"][name] == pytest.approx(found["reconstruction"][name] - kl)
    assert 1 < found["perplexity"] <= found["codes_used"] <= 64


@tutorial("10_sparse_coding")
def _(found):
    assert found["largest_rise"] < 1e-4
    assert found["kkt_violation"] < 1e-3
    assert found["lista_cost"] < found["ista_cost"]
    assert found["sparsity"]["SC-VAE"] > found["sparsity"]["autoencoder"] + 0.1
    assert found["active_share"]["SC-VAE"] < found["active_share"]["autoencoder"]


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


@tutorial("12_divergences_and_transport")
def _(found):
    assert found["js"] == pytest.approx([0.336831, 0.691906, math.log(2)], abs=1e-6)
    assert found["slopes_of_js"][-1] < 1e-12
    assert found["formula_gap"] < 1e-10
    assert found["slope_survives"] == {"KL": True, "JS": False, "W₁": True}
    for theta, (js, w1) in found["lines"].items():
        assert js == pytest.approx(math.log(2) if theta else 0, abs=1e-9)
        assert w1 == pytest.approx(theta, abs=1e-9)
    assert list(found["boxes"].values()) == [(42, 42), (2, 6)]
    assert list(found["all_plans"].values()) == [{42}, {2, 6}]
    assert list(found["boxes_by_sorting"].values()) == [42, 2]
    assert found["slope_at_fakes"]["discriminator"] < 5e-3
    assert found["slope_at_fakes"]["critic"] == pytest.approx(1 + 4 / 20, rel=0.05)
    assert found["critic_variation"] < 0.1
    for learned, exact in found["learned_js"]:
        assert learned == pytest.approx(exact, abs=0.02)
    for learned, exact in found["learned_w1"]:
        assert learned == pytest.approx(exact, rel=0.05)
    for reached, random, bound in found["clipped"].values():
        assert reached == pytest.approx(bound, rel=1e-5)
        assert 0 < random <= bound * (1 + 1e-5)


@tutorial("13_generative_adversarial_networks")
def _(found):
    assert found["weights"] == pytest.approx(found["exact_weights"], abs=1e-3)
    assert found["value"] == pytest.approx(found["best_value"], abs=1e-9)
    assert found["generator_gradients"][::3] == pytest.approx([0.40, 0.14, 4e-4], rel=0.05)
    assert found["generator_gradients"][2::3] == pytest.approx([1, 4, 8], rel=1e-6)
    assert found["gradient_gap"] < 1e-6
    assert found["spread_of_sum"] < 1e-9
    dead, loss = found["dead"], found["loss_with_dead"]
    assert dead["as it should be", "ReLU"] < 0.2
    assert dead["learning rate 1", "ReLU"] > 0.3
    assert dead["bias −10", "ReLU"] > 0.45
    assert loss["bias −10", "ReLU"] == pytest.approx(math.log(4), abs=0.02)
    assert found["shuffle_gap"] < 1e-12
    assert found["ring"]["VAE"][0] >= found["ring"]["GAN"][0]
    assert found["ring"]["data"][1] == pytest.approx(0.989, abs=0.01)
    encoded, searched = found["search_errors"]
    assert min(encoded, searched) > 0


@tutorial("14_mode_collapse")
def _(found):
    exact, one, strays, shrunken = found["counted"].values()
    assert (exact.modes, one.modes, strays.modes, strays.balanced) == (8, 1, 7, 1)
    assert exact.high_quality == pytest.approx(0.989, abs=0.01)
    assert shrunken.high_quality == 1
    assert shrunken.sd_ratio == pytest.approx(1 / 3, abs=0.02)
    assert one.kl == pytest.approx(math.log(8))
    assert max(found["baseline_kl"][1:]) > 1.5
    assert found["moves"] > 0
    for end, worst in found["remedies"].values():
        assert 0 <= end <= math.log(8) + 1e-6
        assert 0 <= worst <= math.log(8) + 1e-6
    assert found["remedies"]["unrolling, 5"][1] < 0.2 * found["remedies"]["baseline"][1]
    assert found["boosted_by_hand"] == pytest.approx([0] + 7 * [1 / 7])
    assert found["mixture_by_hand"] == pytest.approx(8 * [1 / 8])
    assert found["shares"] == pytest.approx(3 * [1 / 3])
    assert len(found["alone"]) == len(found["mixed"]) == 3


@tutorial("15_self_supervision_and_cycles")
def _(found):
    assert found["different_labels"] == {"quarter turns": 4, "transposition alone": 2}
    assert found["four_turns"]
    assert found["composed"]
    assert found["reaches"] == {
        "discriminator's turn": (False, True), "generator's turn": (True, True),
    }  # fmt: skip
    assert found["self_supervised"]["SSGAN"]["rotations known"] > 0.6
    assert found["cycle_of_rotations"] < 1e-6
    assert found["good_angles"] == [22.5, 67.5, 112.5, 157.5]
    assert found["learned"]["cycle"] < 0.2
    scenes = found["background"]
    for content, rank, _ in scenes.values():
        assert content == pytest.approx(1, abs=0.3)
        assert rank <= 1
    assert scenes["cycle"][1] > 0.9
    assert scenes["cycle and identity"][2] < 0.5
    assert max(found["by_view"]) - min(found["by_view"]) < 1e-12
    assert found["head_gap"] < 1e-12
    assert max(found["mixed"], found["folded"]) < found["by_view"][0]
    to_data, to_augmented = found["augmented_optimum"]
    assert to_data > 0.05
    assert to_augmented < 1e-12
    for row in found["little"].values():
        assert row["|G(x) − (1 − x)|"] < 0.7 * found["distance_if_idle"]


@tutorial("16_diffusion")
def _(found):
    assert found["symbolic"] == ["0", "0"]
    assert max(found["forward_gaps"].values()) < 1e-12
    left = found["signal_left"]
    assert left[3][:2] == (pytest.approx(0.970, abs=1e-3), None)
    assert [left[steps][0] for steps in (40, 80, 200)] == pytest.approx(
        [0.667, 0.445, 0.132], abs=1e-3
    )
    assert all(max(row[2:]) < 1e-3 for row in left.values())
    # by quadrature of the reverse of data at ±1, elsewhere
    assert list(found["worst_step"].values()) == pytest.approx(
        [0.083, 0.171, 0.041, 0.0013, 0.0002], rel=0.05
    )
    assert list(found["all_steps"].values()) == pytest.approx(
        [0.084, 0.193, 0.082, 0.0090, 0.0027], rel=0.05
    )
    errors = found["noise_error"]
    assert errors["exact denoiser"] < errors["trained"] < 1.3 * errors["exact denoiser"]
    assert errors["trained"] < errors["trained, not told the time"]
    sizes, unet_errors = zip(*found["unets"].values(), strict=True)
    assert max(sizes) < 1.2 * min(sizes)
    assert all(0 < error < 1 for error in unet_errors)
    assert found["by_hand_gap"] < 1e-4
    steps = found["steps"]
    exact = [steps["exact denoiser", n] for n in (3, 40, 80)]
    assert exact[0]["high quality"] < 0.5 < 0.95 < exact[1]["high quality"]
    assert [row["gap"] for row in exact] == sorted((row["gap"] for row in exact), reverse=True)
    assert exact[2]["gap"] > 0
    for n in (3, 40, 80):
        assert steps["trained at all times", n]["gap"] > steps["exact denoiser", n]["gap"]
    small, large = (found["gaussian"][variance] for variance in ("small", "large"))
    assert small[3][0] < large[3][0] < 2
    assert small[100_000][0] == pytest.approx(4, rel=1e-3)
    assert small[100_000][1] == pytest.approx(0.5772157 / 2, abs=0.006)
    assert large[10_000][1] == pytest.approx(large[1000][1] / 10, rel=0.05)


@tutorial("17_scores")
def _(found):
    for variance, exact in found["chain_variance"].values():
        assert variance == pytest.approx(exact, abs=5 * exact * (2 / found["chain_size"]) ** 0.5)
    assert found["score_gap"] < 1e-8
    length, gauge = found["beside_circle"][-1]
    assert length == pytest.approx(gauge, rel=0.02)
    errors = found["score_error"]
    assert errors["one level"][1] > 0.7 > 0.2 > errors["all levels, noisier"][1]
    plain, more, annealed, short, small = found["shares"].values()
    deviation = 3 * (0.25 / found["chains"]) ** 0.5
    assert plain == pytest.approx(0.5, abs=deviation)
    assert more == pytest.approx(0.5, abs=deviation)
    assert annealed == pytest.approx(0.754, abs=deviation)
    assert max(short, small) < 0.7
    ways = found["by_sampler"]
    assert ways["ancestral"][1] == pytest.approx(0.8, abs=deviation)
    assert ways["Heun"][1] == pytest.approx(found["share_of_flow"], abs=deviation)
    assert all(learned == pytest.approx(exact, abs=0.05) for _, exact, learned in ways.values())


@tutorial("18_guidance")
def _(found):
    assert found["convention_gap"] < 1e-5
    assert found["ends_are_equal"] == {0.0: True, 1.0: True}
    assert max(found["batch_gaps"].values()) < 1e-5
    assert found["caption_moves"] > 1e-3
    ways = found["ways"]
    assert list(ways) == ["add", "film", "attention", "channels", "classifier", "exact"]
    for row in ways.values():
        assert row["obeyed"] > 0.85
        assert row["obeyed, w = 3"] >= row["obeyed"]
        assert row["sliced W₁ by label"] < 0.2
    weights = {w: found["by_weight"]["exact", w] for w in (0.0, 1.0, 4.0)}
    assert weights[0.0][0] == pytest.approx(1 / 8, abs=0.05)
    assert weights[1.0] == pytest.approx((found["obeyed_by_data"], 1), abs=0.05)
    assert weights[4.0][0] > 0.99
    assert weights[4.0][1] < 0.85
    pair = found["guided_pair"]
    assert pair[1.0][:2] == pytest.approx((1.5, 1.5), abs=0.1)
    assert pair[4.0][1] == pytest.approx(1.5, abs=0.02)
    assert pair[1.0][0] + 0.1 < pair[2.0][0] < pair[4.0][0] - 0.05


@tutorial("19_latent_diffusion")
def _(found):
    least, most = found["spread_of_codes"]
    assert least < 1 / found["scale"] < most
    assert set(found["by_steps"]) == {5, 20}
    assert found["clipping_moves"] > 0
    assert all(distance > 0 for distance in found["nearest"].values())
    assert [len(values) for values in found["attributes"].values()] == [5, 5]
    assert list(found["by_guidance"]) == [0.0, 1.0, 2.0]
    assert all(row["spread of pixels"] > 0 for row in found["by_guidance"].values())


@tutorial("20_interventions")
def _(found):
    assert found["seen"] == pytest.approx(0.3)
    assert found["done"] == pytest.approx(0.5)
    assert found["sets"] == [["smoke"], ["lung"], ["either"]]
    assert all(found["agree"])
    assert list(found["claims"].values()) == [True, False, True, True]
    assert "In a model of this graph" in found["refuted"]
    assert found["apart"] < 1e-9
    assert abs(found["effects"][0] - found["effects"][1]) > 0.01
    assert found["door"] == ["tar"]


@tutorial("21_what_your_guide_cannot_say")
def _(found):
    assert found["gaps"] == ["a ⟂ c | s"]
    assert found["loss"] == pytest.approx(found["closed"], abs=0.1)
    assert found["worst"] < 1e-4
    counts = {"backwards": (0, 0), "broken": (2, 0), "crowded": (0, 1), "mean field": (6, 0)}
    assert found["counts"] == counts


@tutorial("22_missing_cells")
def _(found):
    assert found["kinds"] == ("gaussian",) * 10 + (2,)
    assert found["removed"] == pytest.approx(0.3, abs=0.02)
    assert found["known_cells_stay"]
    scores = found["scores"]
    assert scores["column mean"]["RMSE"] == pytest.approx(1, abs=0.1)
    assert scores["VAE"]["RMSE"] < 0.85 * scores["column mean"]["RMSE"]
    assert scores["IterativeImputer"]["RMSE"] < 0.7
    assert scores["VAE"]["width"] < scores["column mean"]["width"]
    assert scores["VAE"]["coverage"] == pytest.approx(0.9, abs=0.12)
    assert found["diagnosis"]["VAE"] > found["diagnosis"]["most frequent"]


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"tutorial_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# As a script a tutorial runs the cells that it runs as a notebook, where all are tried; these show
# what the script adds: its options, and figures as files.
SCRIPTS = ["01_bayesian_networks", "09_discrete_latents"]


@pytest.mark.parametrize("name", SCRIPTS)
def test_tutorials_run_and_their_numbers_hold(name, tmp_path, capsys):
    found = load(name).main(smoke=True, out=tmp_path)
    CHECKS[name](found)
    figures = [path for path in tmp_path.rglob("*.png") if path.stat().st_size > 10_000]
    assert figures
    assert_readable(capsys.readouterr().out)
    plt.close("all")


@pytest.mark.parametrize("name", CHECKS)
def test_importing_a_tutorial_computes_nothing(name, capsys):
    assert load(name).tutorial.results == {}
    assert capsys.readouterr().out == ""


UNREADABLE = {
    "a dictionary": r"\{['\"(\d]",
    "a number of all its digits": r"\d\.\d{8,}",
    "an object": r"PosixPath|WindowsPath|tensor\(|array\(|np\.|<\w+[ .].*>",
}


def assert_readable(text: str) -> None:
    """No line shows a value as Python writes it."""
    for what, pattern in UNREADABLE.items():
        lines = [line for line in text.splitlines() if re.search(pattern, line)]
        assert not lines, f"expected text for readers, got {what} in {lines}"


@pytest.mark.parametrize(
    "text", ["kl: {8.0: 7.99}", "{'VAE': 1}", "0.30000000000000004", "[PosixPath('a')]"]
)
def test_values_as_python_writes_them_are_not_readable(text):
    with pytest.raises(AssertionError, match="expected text for readers"):
        assert_readable(text)


Section = tuple[str, list[str]]


def sections(path: Path) -> list[Section]:
    """The headings of a notebook in order, each with the code cells below it."""
    found: list[Section] = [("", [])]
    for cell in re.split(r"^# %%", path.read_text(), flags=re.MULTILINE)[1:]:
        heading = re.search(r"^# ## (.*)", cell, flags=re.MULTILINE)
        if not cell.startswith(" [markdown]"):
            found[-1][1].append(cell)
        elif heading:
            found.append((heading[1], []))
    return found


def run_cell(cell: str, namespace: dict[str, Any], display: Callable[..., None]) -> None:
    """Execute a cell and display the value of its last line."""
    body = ast.parse(cell).body
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    flags = __future__.annotations.compiler_flag
    exec(compile(ast.Module(body, []), "<cell>", "exec", flags), namespace)
    if last is not None:
        value = eval(compile(ast.Expression(last.value), "<cell>", "eval", flags), namespace)
        if value is not None:
            display(value)


@pytest.mark.parametrize("name", CHECKS)
def test_every_section_of_a_notebook_shows_its_result(name, monkeypatch):
    displayed: list[Any] = []
    monkeypatch.setattr(builtins, "display", lambda v, **_: displayed.append(v), raising=False)
    monkeypatch.setenv("TUTORIALS_SMOKE", "1")
    namespace: dict[str, Any] = {"__name__": "__main__"}
    pictured = 0
    for heading, cells in sections(FOLDER / f"{name}.py"):
        displayed.clear()
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            for cell in cells:
                run_cell(cell, namespace, displayed.append)
        if heading and cells:
            assert displayed or printed.getvalue().strip(), f"{heading!r} shows nothing"
        assert_readable(printed.getvalue())
        pictured += any("image/png" in shown for shown in displayed if isinstance(shown, dict))
    assert pictured >= 2
    CHECKS[name](namespace["tutorial"].results)


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
