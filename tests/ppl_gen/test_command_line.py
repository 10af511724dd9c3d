"""The commands as a user types them."""

import json
import re
import signal
import struct
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

import ppl_gen
from ppl_gen import data
from ppl_gen.app.cli import _options, main
from ppl_gen.zoo import registry


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    arguments = ["train", "beta_vae", "--beta", "4", "--data", "mnist", "--epochs", "2"]
    status = main([*arguments, "--hidden", "32", "--eager", "--quiet", "--out", str(folder)])
    assert status == 0
    return folder


def test_training_leaves_a_model_a_checkpoint_a_history_and_pictures(run):
    names = {path.name for path in run.iterdir()}
    pictures = {"curves.png", "samples.png", "reconstructions.png"}
    weights = {"model.pt", "checkpoint.pt", "checkpoint.pt.best"}
    assert names == weights | {"history.csv", "settings.json", "README.md"} | pictures
    assert "beta=4.0" in (run / "README.md").read_text()
    model = ppl_gen.load(run / "model.pt")
    assert model.objective.weight.value == 4.0
    assert model.recipe.arguments["hidden"] == 32
    assert (run / "history.csv").read_text().startswith("step,")


def test_sampling(run, tmp_path, capsys):
    target = tmp_path / "samples.png"
    assert main(["sample", str(run), "-n", "9", "--out", str(target)]) == 0
    assert target.stat().st_size > 1000
    assert str(target) in capsys.readouterr().out


def test_evaluating_prints_the_true_bound(run, capsys):
    arguments = ["evaluate", str(run), "--images", "100", "--num-samples", "20", "--json"]
    assert main(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["elbo"] == pytest.approx(found["reconstruction"] - found["kl"])
    assert -400 < found["elbo"] < found["log_likelihood"] < -80
    assert (found["images"], found["num_samples"]) == (100, 20)
    assert main(arguments[:-1]) == 0
    assert f"{found['elbo']:.2f}" in capsys.readouterr().out


def test_resuming_continues_to_the_same_end(run, tmp_path):
    common = ["train", "vae", "--hidden", "8", "--eager", "--quiet", "--batch-size", "500"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert main([*common, "--epochs", "2", "--out", str(whole)]) == 0
    assert main([*common, "--epochs", "1", "--out", str(parts)]) == 0
    assert main([*common, "--epochs", "2", "--resume", "--out", str(parts)]) == 0
    one, other = (ppl_gen.load(folder / "model.pt").state_dict() for folder in (whole, parts))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_run_is_not_overwritten(run, capsys):
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    assert main(["train", "vae", "--eager", "--quiet", "--out", str(run)]) == 2
    assert "holds a run: continue it with --resume, or choose another" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def test_a_run_goes_on_with_its_own_settings_only(run, capsys):
    common = ["train", "beta_vae", "--hidden", "32", "--eager", "--quiet", "--epochs", "2"]
    for other, match in [
        (["--beta", "4", "--lr", "0.1"], "lr was 0.001 and is 0.1"),
        (["--beta", "3"], "beta=4.0"),
        (["--beta", "4", "--binarize", "static"], "binarization was none and is static"),
    ]:
        assert main([*common, *other, "--resume", "--out", str(run)]) == 2
        assert match in capsys.readouterr().err


def test_the_best_weights_are_a_model_to_evaluate(run, capsys):
    best = str(run / "checkpoint.pt.best")
    assert main(["evaluate", best, "--images", "50", "--num-samples", "5", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 50


def test_an_interrupted_run_can_be_resumed(tmp_path):
    arguments = ["train", "vae", "--hidden", "8", "--eager", "--batch-size", "500"]
    arguments += ["--out", str(tmp_path / "run")]
    process = subprocess.Popen(
        [sys.executable, "-m", "ppl_gen", *arguments, "--epochs", "100000"],
        stderr=subprocess.PIPE,
        text=True,
    )
    began = time.monotonic()
    while process.poll() is None and not (tmp_path / "run" / "checkpoint.pt").exists():
        if time.monotonic() - began > 120:
            process.kill()
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert error.splitlines()[-1] == "ppl-gen: interrupted; go on with --resume"
    weights = {"checkpoint.pt", "checkpoint.pt.best"}
    assert {path.name for path in (tmp_path / "run").iterdir()} == weights | {"settings.json"}
    assert main([*arguments, "--resume", "--quiet", "--epochs", "1"]) == 0
    assert (tmp_path / "run" / "model.pt").exists()


def steps_in(text):
    return [int(step) for step in re.findall(r"step (\d+)", text)]


def test_what_an_interrupted_run_left_is_sampled_and_evaluated(tiny, tmp_path, capsys):
    run, last = tmp_path / "run", str(tmp_path / "run" / "checkpoint.pt")
    train = ["train", "vae", "--hidden", "8", "--data", str(tiny), "--batch-size", "20"]
    train += ["--eager", "--quiet", "--out", str(run), "--binarize", "threshold"]
    assert main([*train, "--epochs", "3"]) == 0
    finished, settings = (run / "model.pt").read_bytes(), (run / "settings.json").read_text()
    found, told = {}, {}
    for name in ("model.pt", "checkpoint.pt", "checkpoint.pt.best"):
        assert main(["sample", str(run), "-n", "4"]) == 0
        capsys.readouterr()
        assert main(["evaluate", str(run), "--num-samples", "2", "--json"]) == 0
        output = capsys.readouterr()
        found[name], told[name] = json.loads(output.out), output.err
        (run / name).unlink()
        if name == "model.pt":
            assert main(["evaluate", last, "--num-samples", "2", "--json"]) == 0
            assert json.loads(capsys.readouterr().out) == found[name]
    assert found["checkpoint.pt"] == found["model.pt"]
    assert found["model.pt"]["binarization"] == "threshold binarization"
    assert told["model.pt"] == ""
    assert told["checkpoint.pt"] == f"ppl-gen: using the weights of step 6 in {last}\n"
    assert re.search(f"weights of step [246] in {last}.best", told["checkpoint.pt.best"])
    assert main(["sample", str(run)]) == 2
    assert f"no file at {run / 'model.pt'}" in capsys.readouterr().err
    (run / "model.pt").write_bytes(finished)
    (run / "settings.json").write_text(settings)
    ppl_gen.fit(
        ppl_gen.load(run / "model.pt"),
        data.mnist(str(tiny), binarize="threshold").train,
        epochs=4,
        batch_size=20,
        checkpoint=last,
        staged=False,
        progress=False,
    )
    assert main(["sample", str(run), "-n", "4"]) == 0
    assert steps_in(capsys.readouterr().err) == [6, 8]


def test_settings_are_overridden_by_name_when_a_run_goes_on(tiny, tmp_path, capsys):
    train = ["train", "vae", "--hidden", "8", "--data", str(tiny), "--eager", "--quiet"]
    train += ["--out", str(tmp_path / "run")]
    assert main([*train, "--batch-size", "20", "--epochs", "1"]) == 0
    other = [*train, "--batch-size", "10", "--lr", "0.01", "--epochs", "2", "--resume"]
    assert main(other) == 2
    assert "override=['lr', 'batch_size']" in capsys.readouterr().err
    assert main([*other, "--override", "lr", "batch-size"]) == 0
    assert len((tmp_path / "run" / "history.csv").read_text().splitlines()) == 1 + 2 + 4
    assert main([*other, "--override", "seed"]) == 2
    assert "some of lr, batch_size, clip_norm, got ['seed']" in capsys.readouterr().err


def test_listing_names_every_model_with_its_options(capsys):
    assert main(["list"]) == 0
    listing = capsys.readouterr().out
    assert all(name in listing and entry.paper in listing for name, entry in registry.items())
    assert "--beta 4.0" in listing


def test_comparing_gradients(capsys, tmp_path):
    target = tmp_path / "gradients.png"
    arguments = ["gradients", "bernoulli_quadratic", "--draws", "100", "--out", str(target)]
    assert main(arguments) == 0
    assert "score" in capsys.readouterr().out
    assert target.stat().st_size > 1000


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A folder of IDX files: 40 and 10 images of noise with labels."""
    folder = tmp_path_factory.mktemp("tiny")
    random = np.random.default_rng(0)
    for part, n in (("train", 40), ("t10k", 10)):
        pixels, labels = random.integers(0, 256, (n, 28, 28)), np.arange(n) % 10
        header = b"\0\0\x08\x03" + struct.pack(">3I", n, 28, 28)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(header + pixels.astype("u1").tobytes())
        header = b"\0\0\x08\x01" + struct.pack(">I", n)
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(header + labels.astype("u1").tobytes())
    return folder


@pytest.mark.parametrize("name", list(registry))
def test_every_model_is_trained_sampled_and_evaluated(name, tiny, tmp_path, capsys):
    folder = str(tmp_path / "run")
    options = _options(registry[name])
    small = ["--latent-dim", "3"] if "latent_dim" in options else []
    small += ["--sample-steps", "4"] if "sample_steps" in options else []
    few = {"adagan": ["--rounds", "2", "--ratio-steps", "3"]}
    few["ncsn"] = ["--steps", "5", "--per-level", "2"]
    small += few.get(name, [])
    width = "16" if registry[name].family == "diffusion" else "8"  # a U-Net's least
    common = ["train", name, "--hidden", width, *small, "--data", str(tiny)]
    assert main([*common, "--epochs", "1", "--eager", "--quiet", "--out", folder]) == 0
    assert main(["sample", folder, "-n", "4"]) == 0
    capsys.readouterr()
    assert main(["evaluate", folder, "--num-samples", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert found["images"] == (5 if registry[name].family == "cycle" else 10)
    if registry[name].family in ("adversarial", "boosting"):
        assert {"precision", "recall", "density", "coverage", "class_kl", "confident"} <= set(found)
        assert found["nearest_train"] > 0
    if registry[name].family == "cycle":
        assert 0 < found["truth"] < 1
    if registry[name].family == "variational":
        assert (found.get("elbo") is None) == ("log_likelihood" not in found)
    encodes = hasattr(ppl_gen.load(tmp_path / "run" / "model.pt"), "reconstruct")
    assert (tmp_path / "run" / "reconstructions.png").exists() == encodes


@pytest.mark.parametrize("name", ["lsgan", "adagan", "cycle_gan"])
def test_games_of_tables_are_compared_by_transport(name, tmp_path, capsys):
    for i in range(2):
        rows = np.random.default_rng(i).normal(i, 1, (60, 2))
        np.savetxt(tmp_path / f"{i}.csv", rows, delimiter=",", header="a,b", comments="")
    folder, more = str(tmp_path / "run"), {"adagan": ["--rounds", "2", "--ratio-steps", "3"]}
    more["cycle_gan"] = ["--data2", str(tmp_path / "1.csv")]
    common = ["train", name, "--hidden", "8", "--data", str(tmp_path / "0.csv"), "--epochs", "1"]
    assert main([*common, "--eager", "--quiet", "--out", folder, *more.get(name, [])]) == 0
    assert main(["sample", folder, "-n", "4"]) == 0
    text = (tmp_path / "run" / "samples.csv").read_text().splitlines()
    assert (text[0], len(text)) == ("a,b", 5)
    capsys.readouterr()
    assert main(["evaluate", folder, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    expected = {"cycle", "cycle_y"} if name == "cycle_gan" else {"energy_distance", "rows"}
    assert expected <= found.keys()
    assert all(np.isfinite(value) for value in found.values())


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["sample", "nowhere"], "no file at nowhere"),
        (["evaluate", "nowhere/model.pt"], "no file at"),
        (["train", "vae", "--data", "nowhere"], "nowhere"),
        (["train", "vae", "--latent-dim", "0"], "at least one dimension, got 0"),
        (["train", "vae", "--lr", "-1"], "lr > 0"),
        (["train", "vae", "--epochs", "0"], "epochs >= 1, got 0"),
        (["train", "gumbel_vae", "--final-temperature", "0"], "positive final_temperature, got 0"),
        (["evaluate", "nowhere", "--images", "-5"], "at least one image, got -5"),
        (["train", "sc_vae", "--num-classes", "10"], "no labels with sparse codes"),
        (["train", "vamp_vae", "--num-classes", "10"], "no labels with pseudo-inputs"),
        (["train", "vae", "--likelihood", "poisson"], "'poisson'"),
        (["gradients", "nonsense"], "nonsense"),
    ],
)
def test_errors_exit_with_2_and_say_why(arguments, match, capsys, tmp_path):
    extra = ["--quiet", "--out", str(tmp_path / "out")] if arguments[0] == "train" else []
    assert main([*arguments, *extra]) == 2
    error = capsys.readouterr().err
    assert error.startswith("ppl-gen: ")
    assert match in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("gan", {"hidden": 4}),
        ("veegan", {"hidden": 4}),
        ("cycle_gan", {"hidden": 4}),
        ("adagan", {"hidden": 4, "rounds": 2}),
        ("ddpm", {}),
    ],
)
def test_gradients_of_what_is_no_vae_are_refused(name, options, tmp_path, capsys):
    ppl_gen.save(registry[name].build((3,), **options), tmp_path / "model.pt")
    assert main(["gradients", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("ppl-gen: expected a ppl_gen.VAE")
    assert "Traceback" not in error


@pytest.mark.parametrize("arguments", [["train", "bta_vae"], ["train"], ["dance"], []])
def test_unknown_words_exit_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert "usage" in error or f"got {arguments[-1]}" in error


def test_the_module_runs_as_a_program():
    done = subprocess.run(
        [sys.executable, "-m", "ppl_gen", "--help"], capture_output=True, text=True, check=True
    )
    for command in ("list", "train", "sample", "evaluate", "gradients", "tour"):
        assert command in done.stdout
