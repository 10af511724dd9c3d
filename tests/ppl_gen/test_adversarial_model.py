"""A named model that is no VAE: the laws of generative models, files and the command line."""

import json

import pytest
from model_laws import LAWS, build, images, it_is_saved_and_loaded_equal

import ppl_gen
from ppl_gen import metrics
from ppl_gen.app.cli import main


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_it_keeps_the_laws_of_generative_models(law):
    law("gan", images())


def test_it_is_saved_and_loaded_equal(tmp_path):
    it_is_saved_and_loaded_equal("gan", images(), tmp_path / "model.pt")


def test_the_command_line_trains_samples_and_evaluates_it(tmp_path, capsys):
    run = tmp_path / "run"
    train = ["train", "gan", "--epochs", "1", "--batch-size", "500", "--quiet", "--eager"]
    train += ["--hidden", "8"]
    assert main([*train, "--out", str(run)]) == 0
    assert {"model.pt", "curves.png", "samples.png"} <= {path.name for path in run.iterdir()}
    assert not (run / "reconstructions.png").exists()
    assert main(["sample", str(run), "-n", "4"]) == 0
    capsys.readouterr()
    assert main(["evaluate", str(run), "--images", "50", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    test = ppl_gen.data.mnist().test.images[:50]
    drawn = ppl_gen.load(run / "model.pt").sample(50, seed=0)
    assert found["fid"] == pytest.approx(metrics.fid(test, drawn).value)
    assert found["kid"] == pytest.approx(metrics.kid(test, drawn).value)
    assert (found["images"], found["binarization"]) == (50, "grey pixels")


def test_what_needs_an_encoder_refuses_it_by_name():
    model, x = build("gan"), images()
    for score in (metrics.elbo_terms, metrics.active_units, ppl_gen.embed):
        with pytest.raises(ValueError, match=r"expected a ppl_gen\.VAE.*, got Game"):
            score(model, x)
