"""Diffusion in codes: who learns what, what is drawn, and what is refused."""

import json
from contextlib import suppress

import pytest
import torch
from torch import nn

import ppl_gen
from ppl_gen.app import sources
from ppl_gen.app.cli import main
from ppl_gen.data import VOCABULARY
from ppl_gen.likelihoods import Gaussian
from ppl_gen.models.diffusion import Diffusion
from ppl_gen.models.latent_diffusion import LatentDiffusion
from ppl_gen.priors import DiffusionPrior
from ppl_gen.staging import stage_function

pytestmark = pytest.mark.usefixtures("fresh_store")

WORDS = len(VOCABULARY)
QUIET = {"staged": False, "progress": False}


def plane():
    """A VAE of the plane whose codes are the data about the middle, twelve times as large."""
    model = ppl_gen.zoo.vae(
        (2,), 2, encoder=nn.Linear(2, 4), decoder=nn.Linear(2, 2), likelihood=Gaussian(0.1)
    )
    with torch.no_grad():
        encoder = model.latents[0].encoder
        encoder.weight.copy_(torch.cat([12 * torch.eye(2), torch.zeros(2, 2)]))
        encoder.bias.copy_(torch.tensor([-6.0, -6.0, -2.0, -2.0]))
        model.decoder.weight.copy_(torch.eye(2) / 12)
        model.decoder.bias.fill_(0.5)
    return model


def small(**parts):
    return ppl_gen.zoo.latent_diffusion((2,), 2, **({"hidden": 8, "width": 16} | parts))


def stopping(at):
    """A callback that breaks a run off after a step, or never."""

    def stop(metrics):
        if metrics["step"] == at:
            raise InterruptedError

    return stop


def sides(n, seed=0):
    """Data left and right of the middle, and which."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(2, (n,), generator=generator)
    x = 0.5 + torch.randn(n, 2, generator=generator) * 0.02
    return x + torch.stack([0.5 * y - 0.25, torch.zeros(n)], 1), y


# --- Training ---------------------------------------------------------------------------------


def test_each_turn_reaches_its_own_player_alone():
    model, (x, _) = small(), sides(8)
    with torch.no_grad():
        for parameter in model.prior.diffusion.denoiser.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    first, second = (ppl_gen.Turn(*turn) for turn in model.schedule((x,)))
    assert (first.player, second.player) == ("autoencoder", "denoiser")
    for turn in (first, second):
        model.zero_grad(set_to_none=True)
        turn.loss(*turn.args)[0].backward()
        for name, parameters in model.players.items():
            reached = any(p.grad is not None and bool(p.grad.any()) for p in parameters)
            assert reached == (name == turn.player)
    own = model.autoencoder
    torch.manual_seed(1)
    expected = own.objective.differentiable_loss(own.model, own.guide, x)
    torch.manual_seed(1)
    assert torch.equal(first.loss(*first.args)[0], expected)


@pytest.mark.parametrize("kind", ["vae", "vq_vae"])
def test_a_given_autoencoder_stays_as_it_is(kind):
    own = getattr(ppl_gen.zoo, kind)((2,), 2, hidden=8)
    model, (x, _) = small(autoencoder=own), sides(60)
    before = {k: v.clone() for k, v in own.state_dict().items()}
    ppl_gen.fit(model, x, epochs=2, batch_size=20, **QUIET)
    assert list(model.players) == ["denoiser"]
    assert all(torch.equal(before[k], v) for k, v in own.state_dict().items())
    assert model.training
    assert not own.training


def test_codes_are_standardised_while_the_autoencoder_learns():
    model, (x, _) = small(), sides(200)
    ppl_gen.fit(model, x, epochs=30, batch_size=50, lr=3e-3, ema=None, **QUIET)
    codes = model.prior.standardize(model.codes(x))
    assert codes.mean(0).abs().max() < 0.5
    torch.testing.assert_close(codes.std(0), torch.ones(2), atol=0.5, rtol=0)


def test_schedules_of_the_autoencoder_move_on_with_its_turns():
    x, _ = sides(40)
    ramp = ppl_gen.schedules.WarmUp(8, end=4.0)
    model = LatentDiffusion(ppl_gen.zoo.beta_vae((2,), 2, beta=ramp, hidden=8), small().prior)
    ppl_gen.fit(model, x, epochs=2, batch_size=20, **QUIET)
    (moved,) = (m for m in model.autoencoder.modules() if isinstance(m, ppl_gen.schedules.WarmUp))
    assert moved.value.item() == pytest.approx(4.0 * 4 / 8)
    frozen = LatentDiffusion(model.autoencoder, small().prior, frozen=True)
    ppl_gen.fit(frozen, x, epochs=2, batch_size=20, **QUIET)
    assert moved.value.item() == pytest.approx(2.0)


def test_codes_are_not_differentiated():
    model, x = small(), torch.rand(5, 2, requires_grad=True)
    assert not model.codes(x).requires_grad


def test_a_step_recorded_is_the_step_taken():
    found = []
    x, y = sides(24)
    for staged in (True, False):
        torch.manual_seed(0)
        model = small(num_classes=2, autoencoder=plane()).train()
        step = stage_function(model.loss, model.players["denoiser"], staged=staged, backend="eager")
        torch.manual_seed(1)
        losses = [step(x, y)[0].detach() for _ in range(3)]
        found.append((losses, [b.clone() for b in model.buffers()]))
    for one, other in zip(*found, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_run_of_both_resumes_to_the_last_bit(tmp_path):
    """With a rate that falls and averages of both, as by default."""
    (x, y), found = sides(60), []
    for stops in ([None], [4, None]):
        for stop in stops:
            torch.manual_seed(0)
            model = small(num_classes=2)
            how = {"checkpoint": tmp_path / f"{len(stops)}.pt", "resume": True, **QUIET}
            with suppress(InterruptedError):
                ppl_gen.fit(
                    model, (x, y), epochs=2, batch_size=20, checkpoint_every=1,
                    callbacks=[stopping(stop)], **how,
                )  # fmt: skip
        found.append(model.state_dict())
    assert all(torch.equal(found[0][k], found[1][k]) for k in found[0])


# --- Samples ----------------------------------------------------------------------------------


def test_a_sample_is_a_decoded_draw_of_the_prior():
    model = small(autoencoder=plane())
    model.prior.shift.copy_(torch.tensor([3.0, 0.0]))
    model.prior.scale.copy_(torch.tensor([0.5, 2.0]))
    drawn = model.sample(6, seed=3, steps=4)
    codes = model.prior.diffusion.sample(6, seed=3, steps=4)
    expected = 0.5 + (torch.tensor([3.0, 0.0]) + torch.tensor([0.5, 2.0]) * codes) / 12
    torch.testing.assert_close(drawn, expected)
    again, frames = model.sample(6, seed=3, steps=4, frames=True)
    assert torch.equal(again, drawn)
    torch.testing.assert_close(frames.x[-1], drawn)
    assert frames.x.shape == (5, 6, 2)
    assert frames.data.shape == (4, 6, 2)
    torch.testing.assert_close(model.sample(6, seed=3, steps=4, batch_size=2), drawn)
    assert torch.equal(model.sample(2, seed=3, steps=4), drawn[:2])


def test_of_a_vq_vae_codes_are_diffused_before_they_are_quantised():
    own = ppl_gen.zoo.vq_vae((2,), 3, num_codes=5, code_dim=4, hidden=8)
    model = ppl_gen.zoo.latent_diffusion((2,), 3, autoencoder=own, width=16)
    x, _ = sides(30)
    codes, settled = model.codes(x), own.code(x)
    assert codes.shape == settled.shape == (30, 3, 4)
    assert not torch.allclose(codes, settled)
    family = own.latents[0].family
    torch.testing.assert_close(family.settle(codes), settled)
    torch.testing.assert_close(model.decode(codes), own.reconstruct(x))
    assert len(family.settle(torch.randn(500, 3, 4)).flatten(0, 1).unique(dim=0)) <= 5


def test_labels_and_captions_choose_what_is_drawn():
    x, y = sides(400)
    texts = ["slanted left", "slanted right"]
    captions = [texts[i] for i in y]
    for parts, given, told in (
        ({"num_classes": 2}, y, [0, 1]),
        ({"tokens": WORDS}, captions, texts),
    ):
        torch.manual_seed(0)
        model = small(autoencoder=plane(), width=32, drop=0.2, **parts)
        ppl_gen.fit(model, (x, given), epochs=30, batch_size=100, lr=5e-3, ema=0.95, **QUIET)
        for side, condition in zip((-1, 1), told, strict=True):
            drawn = model.sample(60, condition, steps=10, seed=0)[:, 0] - 0.5
            assert (side * drawn > 0.1).float().mean() > 0.9
        either = model.sample(200, steps=10, guidance=0.0, seed=0)[:, 0]
        assert 0.2 < (either > 0.5).float().mean() < 0.8
        mixed = model.sample(2, told, steps=10, guidance=2.0, seed=0)[:, 0]
        assert mixed[0] < 0.5 < mixed[1]


def test_the_contract_of_guidance_holds_in_codes():
    model = small(autoencoder=plane(), num_classes=2)
    with torch.no_grad():
        for parameter in model.prior.diffusion.denoiser.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    y = torch.tensor([0, 1, 1])
    kept = {"steps": 5, "seed": 0}
    plain = model.sample(3, y, **kept)
    assert torch.equal(model.sample(3, y, guidance=1.0, **kept), plain)
    without = model.sample(3, guidance=0.0, **kept)
    assert torch.equal(model.sample(3, y, guidance=0.0, **kept), without)
    assert not torch.allclose(plain, without)
    assert not torch.allclose(model.sample(3, y, guidance=3.0, **kept), plain)


def test_its_prior_gives_a_vae_a_likelihood():
    own = plane()
    model = small(autoencoder=own)
    own.latents[0].prior = model.prior
    found = ppl_gen.metrics.log_likelihood(own, sides(5)[0], 3)
    assert found.isfinite().all()


def test_it_is_saved_with_its_captions_and_loaded_into_another(tmp_path):
    model = small(tokens=WORDS)
    model.prior.measure(torch.randn(20, 2))
    ppl_gen.save(model, tmp_path / "m.pt")
    again = ppl_gen.load(tmp_path / "m.pt")
    asked = {"y": "a thick seven", "steps": 4, "seed": 0}
    assert torch.equal(again.sample(3, **asked), model.sample(3, **asked))
    given = small(autoencoder=plane())
    ppl_gen.save(given, tmp_path / "g.pt")
    with pytest.raises(ValueError, match="argument 'autoencoder' is an object"):
        ppl_gen.load(tmp_path / "g.pt")
    other = ppl_gen.load(tmp_path / "g.pt", into=small(autoencoder=plane()))
    assert torch.equal(other.sample(3, steps=4, seed=0), given.sample(3, steps=4, seed=0))
    with pytest.raises(ValueError, match=r"expected weights of 10 steps.*those of 1000 steps"):
        ppl_gen.load(tmp_path / "g.pt", into=small(autoencoder=plane(), steps=10))


# --- What is refused --------------------------------------------------------------------------


def clipped():
    inner = small().prior.diffusion.denoiser
    return LatentDiffusion(plane(), DiffusionPrior(2, Diffusion(inner, (2,), levels=256)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: small(autoencoder=ppl_gen.zoo.vae((2,), 3, hidden=4)), r"codes of shape \(2,\)"),
        (lambda: small(autoencoder=ppl_gen.zoo.vae((3,), 2, hidden=4)), r"of data \(2,\), got one"),
        (
            lambda: small(
                autoencoder=ppl_gen.zoo.conditional_vae((2,), 2, num_classes=2, hidden=4)
            ),
            "without labels",
        ),
        (
            lambda: small(autoencoder=ppl_gen.zoo.gumbel_vae((2,), 2, hidden=4)),
            "expected continuous codes, got a Categorical",
        ),
        (
            lambda: LatentDiffusion(ppl_gen.zoo.factor_vae((2,), 2, hidden=4), DiffusionPrior(2)),
            "an autoencoder of one loss",
        ),
        (
            lambda: LatentDiffusion(ppl_gen.zoo.control_vae((2,), 2, hidden=4), DiffusionPrior(2)),
            "without a controller",
        ),
        (clipped, "codes are not clipped"),
        (lambda: small(num_classes=2, tokens=WORDS), "at most one of them|labels or captions"),
        (lambda: small(drop=1.0), r"in \[0, 1\) for drop"),
        (lambda: small().sample(2, [0, 1]), "expected no labels"),
        (lambda: small(num_classes=2).sample(2), "labels below 2 for y, got none"),
        (lambda: small(num_classes=2).sample(2, [0, 2]), "expected labels from 0 to 1"),
        (lambda: small(num_classes=2).sample(2, [0, 1], guidance=-1.0), "guidance weight of 0"),
        (lambda: small(num_classes=2).sample(2, [0, 1], steps=1001), "at most 1000 steps"),
        (lambda: small(num_classes=2).sample(2, [0, 1], steps=0), "at least one step"),
        (lambda: small(tokens=WORDS).sample(2), "expected captions for y, got none"),
        (lambda: small(tokens=WORDS).sample(2, "a bold seven"), "got 'bold'"),
        (lambda: small(tokens=WORDS).sample(2, ["a seven"] * 3), "expected 2 captions, got 3"),
        (lambda: small(tokens=WORDS).sample(1, torch.tensor([[1, 2]])), r"captions \(B, 8\)"),
        (
            lambda: small(tokens=5).sample(1, torch.full((1, 8), 5)),
            "expected words from 0 to 4",
        ),
        (
            lambda: small(tokens=5).prior.diffusion.chain(3),
            "expected a diffusion of labels or none, got captions of 5 words",
        ),
        (lambda: small(tokens=5).sample(1, "a seven"), "expected captions as indices of 5 words"),
        (
            lambda: ppl_gen.fit(small(), torch.full((4, 2), float("nan")), epochs=1, **QUIET),
            "NaN",
        ),
        (
            lambda: ppl_gen.fit(small(num_classes=2), torch.rand(4, 2), epochs=1, **QUIET),
            "labels",
        ),
        (
            lambda: ppl_gen.fit(
                small(tokens=WORDS), (torch.rand(4, 2), ["a four"] * 3), epochs=1, **QUIET
            ),
            "3",
        ),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_command_line_trains_it_on_captions_and_on_labels(tmp_path, capsys):
    small = ["--latent-dim", "3", "--hidden", "8", "--width", "16", "--steps", "10"]
    how = ["--epochs", "1", "--batch-size", "4000", "--quiet", "--eager"]
    for name, option in (
        ("captions", ["--tokens", str(WORDS)]),
        ("labels", ["--num-classes", "10"]),
    ):
        out = str(tmp_path / name)
        assert main(["train", "latent_diffusion", *small, *option, *how, "--out", out]) == 0
        assert main(["sample", out, "-n", "4", "--steps", "2", "--guidance", "2"]) == 0
        assert main(["evaluate", out, "--images", "50", "--json"]) == 0
        found = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert found["fid"] > 0
        assert found["images"] == 50
    model = ppl_gen.load(tmp_path / "captions" / "model.pt")
    assert model.sample(1, "a thick seven", steps=2, seed=0).shape == (1, 1, 28, 28)
    for name, option, other in (
        ("captions", ["--caption", "a thick seven", "a one"], ["--label", "3"]),
        ("labels", ["--label", "3", "7"], ["--caption", "a one"]),
    ):
        out = str(tmp_path / name)
        assert main(["sample", out, "-n", "3", "--steps", "2", *option]) == 0
        assert main(["sample", out, "-n", "3", *other]) == 2
        assert f"expected {option[0]} alone for latent_diffusion" in capsys.readouterr().err
    odd = ["train", "latent_diffusion", *small, "--tokens", "5", *how, "--out", str(tmp_path / "o")]
    assert main(odd) == 2
    assert "expected captions as indices of 5 words" in capsys.readouterr().err


def test_words_of_the_command_line_are_labels_and_captions_in_turn():
    named = ppl_gen.zoo.conditional_vae((4,), 2, num_classes=3, hidden=4, classes=["a", "b", "c"])
    assert sources.told(named, ["c", "0"], None, 3).tolist() == [2, 0, 2]
    captioned = small(tokens=WORDS)
    found = sources.told(captioned, None, ["a seven", "a one"], 3)
    assert torch.equal(found, ppl_gen.data.words(["a seven", "a one", "a seven"]))
    assert sources.told(small(), None, None, 3) is None
    for model, labels, captions, message in (
        (named, ["d"], None, "expected labels below 3 or among a, b, c, got 'd'"),
        (named, ["3"], None, "got '3'"),
        (captioned, None, ["a horse"], "got 'horse'"),
        (captioned, ["1"], ["a one"], "expected --caption alone"),
        (small(), ["1"], None, "expected no --label or --caption for latent_diffusion"),
    ):
        with pytest.raises(ValueError, match=message):
            sources.told(model, labels, captions, 3)
