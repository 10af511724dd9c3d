"""Model files round trip, refuse what they must and never run code."""

import pickle

import pytest
import torch
from torch import nn

import ppl_gen
from ppl_gen import checkpoints, zoo


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('executed')",))


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "model.pt"
    ppl_gen.save(zoo.beta_vae((1, 4, 4), 2, hidden=8, beta=3.0), path)
    return path


def test_arguments_survive(saved):
    model = ppl_gen.load(saved)
    assert model.objective.weight.value == 3.0
    assert model.recipe.name == "beta_vae"
    assert model.recipe.arguments["hidden"] == 8


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, 0.99])
def test_a_truncated_file_is_refused(saved, keep):
    content = saved.read_bytes()
    saved.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    with pytest.raises(ValueError, match="expected a model file"):
        ppl_gen.load(saved)


def test_a_damaged_file_is_refused_or_equal(saved):
    content, reference = saved.read_bytes(), ppl_gen.load(saved).state_dict()
    refused = 0
    for position in range(0, len(content), 97):
        saved.write_bytes(
            content[:position] + bytes([content[position] ^ 255]) + content[position + 1 :]
        )
        try:
            found = ppl_gen.load(saved).state_dict()
        except ValueError:
            refused += 1
            continue
        assert all(torch.equal(found[key], reference[key]) for key in reference)
    assert refused > 20


def test_code_in_a_file_is_not_run(tmp_path):
    path = tmp_path / "bomb.pt"
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match="foreign or truncated"):
        ppl_gen.load(path)
    torch.save({"format": "ppl_gen.model", "version": 1, "bomb": Bomb()}, path)
    with pytest.raises(ValueError, match="cannot be read"):
        ppl_gen.load(path)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"format": "other"}, "foreign file"),
        ({"format": "ppl_gen.checkpoint"}, "expected a model file, got a checkpoint file"),
        ({"version": 99}, "version 1 or older.*version 99"),
        ({"name": "gpt"}, "a model among vae.*got 'gpt'"),
        ({"arguments": {"depth": 3}}, "arguments that do not fit.*depth"),
        ({"state": {}}, "weights of this VAE"),
    ],
)
def test_foreign_newer_and_mismatched_files_are_refused(saved, change, match):
    payload = torch.load(saved, weights_only=True)
    torch.save(payload | change, saved)
    with pytest.raises(ValueError, match=match):
        ppl_gen.load(saved)


def test_a_model_of_own_parts_is_loaded_into_its_twin(tmp_path):
    def build():
        return zoo.vae((1, 4, 4), 2, encoder=nn.Sequential(nn.Flatten(), nn.Linear(16, 4)))

    model = build()
    ppl_gen.save(model, tmp_path / "m.pt")
    with pytest.raises(ValueError, match=r"'encoder' is an object.*into="):
        ppl_gen.load(tmp_path / "m.pt")
    twin = ppl_gen.load(tmp_path / "m.pt", into=build())
    assert torch.equal(twin.sample(3, seed=0), model.sample(3, seed=0))
    with pytest.raises(ValueError, match="weights of this VAE"):
        ppl_gen.load(tmp_path / "m.pt", into=zoo.vae((1, 4, 4), 3))


def test_a_failed_write_leaves_the_old_file(saved, monkeypatch):
    before = saved.read_bytes()

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        checkpoints.write(saved, "model", {})
    assert saved.read_bytes() == before
    assert [p.name for p in saved.parent.iterdir()] == ["model.pt"]


def test_missing_places(tmp_path):
    with pytest.raises(ValueError, match="no file at"):
        ppl_gen.load(tmp_path / "none.pt")
    with pytest.raises(ValueError, match=r"a ppl_gen\.VAE to save, got Linear"):
        ppl_gen.save(nn.Linear(1, 1), tmp_path / "m.pt")
    with pytest.raises(ValueError, match="existing folder"):
        ppl_gen.save(zoo.vae((1, 4, 4), 2, hidden=8), tmp_path / "no" / "m.pt")
