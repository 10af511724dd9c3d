"""What is exported computes what the model computes, in files of torch and of ONNX."""

import importlib.util

import pytest
import torch

import ppl_gen
from ppl_gen import zoo
from ppl_gen.evaluation import exporting

MODELS = {
    "vae": lambda: zoo.vae((4,), 2, hidden=8),
    "conv": lambda: zoo.vae((1, 8, 8), 2, network="conv", hidden=8),
    "hierarchical_vae": lambda: zoo.hierarchical_vae((4,), 3, top_dim=2, hidden=8),
    "conditional_vae": lambda: zoo.conditional_vae((4,), 2, num_classes=3, hidden=8),
    "autoencoder": lambda: zoo.autoencoder((4,), 2, likelihood="gaussian", hidden=8),
}


@pytest.mark.parametrize("part", exporting.PARTS)
@pytest.mark.parametrize("name", MODELS)
def test_a_file_computes_what_the_model_computes(name, part, tmp_path):
    model = MODELS[name]().train()
    assert ppl_gen.export(model, tmp_path / "part.pt2", part=part) < 1e-5
    assert model.training
    loaded = torch.export.load(tmp_path / "part.pt2").module()
    y = torch.tensor([0, 2, 1]) if model.condition.size else None
    condition = model.condition_inputs(y)
    x = torch.rand(3, *model.data_shape)
    code = model.code(x, y)
    expected = code if part == "encoder" else model.reconstruct(x, y)
    given = x if part == "encoder" else code
    with torch.no_grad():
        assert torch.allclose(loaded(given, *condition), expected, atol=1e-5)
    assert [path.name for path in tmp_path.iterdir()] == ["part.pt2"]


def test_a_file_that_differs_is_not_left(tmp_path, monkeypatch):
    write = exporting._write_torch
    broken = lambda *args: lambda given: 1.01 * write(*args)(given)  # noqa: E731
    monkeypatch.setattr(exporting, "_write_torch", broken)
    with pytest.raises(ValueError, match=r"agrees to 0.0001, got one that differs by 0.01 of"):
        ppl_gen.export(MODELS["vae"](), tmp_path / "part.pt2")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "options", "match"),
    [
        (("part.pt",), {}, "ends in .pt2 or .onnx, got 'part.pt'"),
        (("part.pt2",), {"part": "prior"}, "expected 'decoder' or 'encoder', got 'prior'"),
        (("nowhere/part.pt2",), {}, "expected an existing folder for part.pt2"),
    ],
)
def test_what_cannot_be_written_is_refused(arguments, options, match):
    with pytest.raises(ValueError, match=match):
        ppl_gen.export(MODELS["vae"](), *arguments, **options)


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_a_model_that_draws_labels_is_refused(part, tmp_path):
    with pytest.raises(ValueError, match="whose code depends on data alone, got PartlyLabelledVAE"):
        ppl_gen.export(ppl_gen.zoo.ssvae((4,), hidden=8), tmp_path / "ss.pt2", part=part)
    assert not list(tmp_path.iterdir())


def test_a_game_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"expected a ppl_gen.VAE to export, got Game"):
        ppl_gen.export(zoo.gan((4,), 2, hidden=8), tmp_path / "part.pt2")


def test_missing_packages_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "ONNX_PACKAGES", ("torch", "no_such_onnx"))
    with pytest.raises(ImportError, match=r"got no no_such_onnx: pip install ppl-gen\[onnx\]"):
        ppl_gen.export(MODELS["vae"](), tmp_path / "part.onnx")


@pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in exporting.ONNX_PACKAGES),
    reason="the extra onnx is not installed",
)
@pytest.mark.parametrize("part", exporting.PARTS)
def test_onnx_computes_what_the_model_computes(part, tmp_path):
    assert ppl_gen.export(MODELS["conditional_vae"](), tmp_path / "part.onnx", part=part) < 1e-4
