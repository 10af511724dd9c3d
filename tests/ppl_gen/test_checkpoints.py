"""Model files round trip, refuse what they must and never run code."""

import os
import pickle
import zipfile
from random import Random

import pytest
import torch
from torch import nn

import ppl_gen
from ppl_gen import _files, zoo


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


def damaged(content, random):
    """The content cut short, or with some bytes changed anywhere or among the last."""
    if random.random() < 0.3:
        return content[: random.randrange(len(content))]
    start = random.choice([0, 0, len(content) - 1000])
    changed = bytearray(content)
    for _ in range(random.choice([1, 1, 2, 20])):
        changed[random.randrange(start, len(content))] ^= random.randrange(1, 256)
    return bytes(changed)


def test_no_damage_goes_unnoticed(saved):
    content, random = saved.read_bytes(), Random(0)
    for _ in range(400):
        if (bad := damaged(content, random)) == content:
            continue
        saved.write_bytes(bad)
        with pytest.raises(ValueError, match="foreign, truncated or damaged"):
            ppl_gen.load(saved)


@pytest.mark.parametrize("content", [b"", b"text", b"\0" * 64, pickle.dumps({"state": {}})])
def test_foreign_files_are_refused(content, saved):
    saved.write_bytes(content)
    with pytest.raises(ValueError, match=r"model file written by ppl_gen, .* is foreign"):
        ppl_gen.load(saved)


def test_code_in_a_file_is_not_run(tmp_path):
    path = tmp_path / "bomb.pt"
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match="foreign, truncated or damaged"):
        ppl_gen.load(path)
    _files.write(path, "model", {"bomb": Bomb()})
    with pytest.raises(ValueError, match="cannot be read"):
        ppl_gen.load(path)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"format": "other"}, "foreign file"),
        ({"format": "ppl_gen.checkpoint"}, "expected a model file, got a checkpoint file"),
        ({"version": 99}, "version 1 or older.*version 99"),
        ({"version": "new"}, "version 1 or older.*version new"),
        ({"name": "gpt"}, "a model among .*vae.*got 'gpt'"),
        ({"arguments": {"depth": 3}}, "arguments that do not fit.*depth"),
        ({"state": {}}, "weights of this VAE"),
    ],
)
def test_foreign_newer_and_mismatched_files_are_refused(saved, change, match):
    _files.write(saved, "model", _files.read(saved, "model") | change)
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

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        _files.write(saved, "model", {})
    assert saved.read_bytes() == before
    assert [p.name for p in saved.parent.iterdir()] == ["model.pt"]


def test_a_file_is_on_disk_before_it_takes_the_place_of_the_old_one(saved, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(os.fstat(file).st_size))
    before = saved.read_bytes()
    with saved.open("rb") as old:
        _files.write(saved, "model", {})
        assert old.read() == before
    assert synced == [saved.stat().st_size]


def test_what_a_killed_process_left_is_tidied_away_and_nothing_else(saved):
    left = saved.with_name(".model.pt.0123abcd")
    others = [saved.with_name(name) for name in (".model.pt.mine", ".other.pt.0123abcd")]
    for path in (left, *others):
        path.write_bytes(b"half")
    _files.tidy(saved)
    assert not left.exists()
    assert all(path.exists() for path in (saved, *others))
    left.write_bytes(b"half")
    model, x = zoo.vae((1, 4, 4), 2, hidden=8), torch.zeros(4, 1, 4, 4)
    ppl_gen.fit(model, x, epochs=0, checkpoint=saved, staged=False, progress=False)
    assert not left.exists()


def test_a_file_has_the_usual_permissions_and_is_a_plain_torch_file(saved, tmp_path):
    plain = tmp_path / "plain"
    plain.touch()
    assert saved.stat().st_mode == plain.stat().st_mode
    payload = torch.load(saved, weights_only=True)
    assert payload["name"] == "beta_vae"
    assert zipfile.ZipFile(saved).testzip() is None


def test_missing_places(tmp_path):
    with pytest.raises(ValueError, match="no file at"):
        ppl_gen.load(tmp_path / "none.pt")
    with pytest.raises(ValueError, match=r"a ppl_gen\.VAE to save, got Linear"):
        ppl_gen.save(nn.Linear(1, 1), tmp_path / "m.pt")
    with pytest.raises(ValueError, match="existing folder"):
        ppl_gen.save(zoo.vae((1, 4, 4), 2, hidden=8), tmp_path / "no" / "m.pt")
