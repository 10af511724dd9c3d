"""A diffusion model: what it trains, samples, refuses and keeps in its file."""

import itertools
import json
import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import ppl_gen
from ppl_gen import samplers
from ppl_gen.app import sources
from ppl_gen.app.cli import main
from ppl_gen.denoisers import Clipped, Denoiser, Gaussian, Guided
from ppl_gen.networks import ResidualMLP
from ppl_gen.noise import (
    EDM,
    Cosine,
    Geometric,
    Importance,
    LogNormal,
    TimeLaw,
    Trailing,
    VariancePreserving,
)
from ppl_gen.staging import stage_function
from ppl_gen.training.trainable import cycle_of

SHAPE = (1, 2, 2)


def build(predicts="velocity", noise=None, shape=SHAPE, num_classes=0, **options):
    torch.manual_seed(0)
    network = ResidualMLP(shape, hidden=16, blocks=1, num_classes=num_classes)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    denoiser = Denoiser(network, Cosine() if noise is None else noise, predicts)
    options = {"steps": 20, "levels": 256 if len(shape) == 3 else None} | options
    return ppl_gen.Diffusion(denoiser, shape, num_classes=num_classes, **options)


def pixels(n=24):
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(0))


# --- Training -------------------------------------------------------------------------------------


WAYS = {
    "simple": {},
    "bound": {"weighting": "bound", "variance": "large", "times": Importance(20, 2)},
    "lognormal": {"weighting": "min_snr", "times": LogNormal()},
    "labels": {"num_classes": 3, "drop": 0.5},
}


@pytest.mark.parametrize("way", WAYS)
def test_the_staged_step_is_the_eager_one_bit_for_bit(way):
    batch = (pixels(), torch.arange(24) % 3)[: 2 if way == "labels" else 1]
    found = []
    for staged in (True, False):
        model = build(**WAYS[way]).train()
        model.load_state_dict(build(**WAYS[way]).state_dict())
        for buffer in model.buffers():
            buffer.zero_()
        step = stage_function(model.loss, model.players["denoiser"], staged=staged, backend="eager")
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        torch.manual_seed(0)
        record = []
        for _ in range(4):
            loss, metrics = step(*batch)
            record += [loss.detach(), *metrics.values(), torch.get_rng_state()]
            record += [p.grad.clone() for p in model.parameters() if p.grad is not None]
            optimizer.step()
        found.append([*record, *model.state_dict().values()])
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("entry", ["ddpm", "improved_ddpm", "ncsn", "score_sde", "edm"])
def test_models_are_averages_of_weights_under_a_rate_that_falls(entry):
    def trained(**how):
        torch.manual_seed(0)
        model = getattr(ppl_gen.zoo, entry)((2,), hidden=8)
        ppl_gen.fit(model, x, epochs=3, batch_size=8, staged=False, progress=False, **how)
        return [p.detach() for p in model.parameters()]

    def same(a, b):
        return all(torch.equal(*pair) for pair in zip(a, b, strict=True))

    x = torch.randn(32, 2, generator=torch.Generator().manual_seed(0))
    own = trained()
    assert same(own, trained(ema=0.999, scheduler="falling"))
    assert not same(own, trained(ema={"denoiser": None}))
    assert not same(own, trained(scheduler="constant"))


def test_one_fixed_loss_is_known_to_the_loop():
    model = build()
    cycle = cycle_of(model)
    ((player, loss, *_),) = cycle.schedule((pixels(),))
    assert cycle.one
    assert (player, loss) == ("denoiser", model.loss)


def test_training_teaches_the_law_of_the_data():
    torch.manual_seed(0)
    x = torch.tensor([1.0, -0.5]) + torch.tensor([0.5, 1.5]) * torch.randn(512, 2)
    network = ResidualMLP((2,), hidden=32, blocks=1)
    model = ppl_gen.Diffusion(Denoiser(network, Cosine(), "velocity"), (2,), steps=100)
    ppl_gen.fit(
        model, x, epochs=100, batch_size=256, lr=5e-3, ema=0.95, staged=False, progress=False
    )
    drawn = model.sample(2000, sampler="heun", steps=30, seed=0)
    assert drawn.mean(0).tolist() == pytest.approx(x.mean(0).tolist(), abs=0.15)
    assert drawn.std(0).tolist() == pytest.approx(x.std(0).tolist(), rel=0.12)


def test_labels_are_left_out_in_training_alone_and_for_the_null():
    seen = []

    class Watching(ResidualMLP):
        def forward(self, x, u, y=None):
            seen.append(y)
            return super().forward(x, u, y)

    denoiser = Denoiser(Watching((2,), hidden=8, num_classes=3), Cosine(), "velocity")
    model = ppl_gen.Diffusion(denoiser, (2,), num_classes=3, drop=0.25)
    x, y = torch.randn(3000, 2), torch.arange(3000) % 3
    model.loss(x, y)
    share = (seen[-1] == 3).float().mean().item()
    assert share == pytest.approx(0.25, abs=4.5 * (0.25 * 0.75 / 3000) ** 0.5)
    assert torch.equal(seen[-1][seen[-1] < 3], y[seen[-1] < 3])
    model.evaluate(x, y)
    assert torch.equal(seen[-1], y)
    assert model.training


def test_a_run_that_was_interrupted_goes_on_bit_for_bit(tmp_path):
    x, y = pixels(), torch.arange(24) % 3
    options = {"batch_size": 8, "staged": False, "progress": False, "ema": 0.99}
    ways = WAYS["bound"] | WAYS["labels"]

    def fresh():
        return build(**ways | {"times": Importance(20, 2)})

    whole, parts = fresh(), fresh()
    expected = ppl_gen.fit(whole, (x, y), epochs=4, **options)
    path = tmp_path / "run.pt"
    ppl_gen.fit(parts, (x, y), epochs=2, checkpoint=path, **options)
    again = fresh()
    found = ppl_gen.fit(again, (x, y), epochs=4, checkpoint=path, resume=True, **options)
    assert found["loss"] == expected["loss"]
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


# --- Samples --------------------------------------------------------------------------------------


def test_samples_are_those_of_the_sampler_in_the_range_of_the_pixels():
    model = build("noise")
    x = model.sample(5, steps=7, seed=3)
    inside = samplers.Ancestral(grid=Trailing(20)).sample(
        Clipped(model.denoiser), 5, steps=7, seed=3, shape=SHAPE
    )
    assert torch.equal(x, (inside + 1) / 2)
    assert bool(((x >= 0) & (x <= 1)).all())
    assert model.sample(3, seed=0).shape == (3, *SHAPE)
    numbers = build("noise", shape=(2,)).sample(50, steps=3, seed=0)
    assert numbers.abs().max() > 3


@pytest.mark.parametrize("name", ["ancestral", "ancestral_large", "heun", "langevin"])
def test_batches_chunks_and_single_samples_are_the_same_images(name):
    model = build()
    whole = model.sample(5, sampler=name, steps=4, seed=3)
    assert torch.equal(whole, model.sample(5, sampler=name, steps=4, seed=3))
    chunks = model.sample(5, sampler=name, steps=4, seed=3, batch_size=2)
    torch.testing.assert_close(chunks, whole, rtol=1e-4, atol=1e-5)
    single = model.sample(1, sampler=name, steps=4, seed=3)
    torch.testing.assert_close(single, whole[:1], rtol=1e-4, atol=1e-5)
    seeds = model.sample(2, sampler=name, steps=4, seed=[8, 3])
    torch.testing.assert_close(seeds[1:], whole[:1], rtol=1e-4, atol=1e-5)


def test_guidance_by_none_and_one_is_bit_equal_to_either_network():
    model = build(num_classes=3, shape=(2,))
    y, none = torch.tensor([0, 1, 2, 1]), torch.full((4,), 3)
    options = {"steps": 4, "seed": 0}
    conditional = samplers.Ancestral(grid=Trailing(20)).sample(
        model.denoiser, 4, y, shape=(2,), **options
    )
    without = samplers.Ancestral(grid=Trailing(20)).sample(
        model.denoiser, 4, none, shape=(2,), **options
    )
    assert torch.equal(model.sample(4, y, **options), conditional)
    assert torch.equal(model.sample(4, guidance=0.0, **options), without)
    assert torch.equal(model.sample(4, y, guidance=0.0, **options), without)
    mixed = samplers.Ancestral(grid=Trailing(20)).sample(
        Guided(model.denoiser, 2.5, 3), 4, y, shape=(2,), **options
    )
    assert torch.equal(model.sample(4, y, guidance=2.5, **options), mixed)
    assert torch.equal(
        model.sample(4, 1, **options), model.sample(4, torch.ones(4).long(), **options)
    )


def test_frames_are_in_units_of_the_data_and_change_nothing(capsys):
    model = build()
    x, frames = model.sample(3, steps=4, seed=0, frames=True)
    assert torch.equal(x, model.sample(3, steps=4, seed=0))
    assert frames.x.shape == (5, 3, *SHAPE)
    assert bool(((frames.data >= 0) & (frames.data <= 1)).all())
    assert torch.equal(frames.x[-1].clamp(0, 1), x)
    assert capsys.readouterr().err == ""
    model.sample(3, steps=4, seed=0, progress=True)
    assert "4/4" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("steps", "given", "expected"), [(20, None, 20), (20, 3, 3), (80, None, 50), (80, 70, 70)]
)
def test_a_model_samples_in_its_own_number_of_steps_unless_told(steps, given, expected):
    model = build(steps=steps, sample_steps=given)
    assert len(model.sample(1, seed=0, frames=True)[1].x) == expected + 1
    assert len(model.sample(1, seed=0, frames=True, steps=7)[1].x) == 8


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("noise", [Cosine(), Geometric(), EDM()])
def test_chains_of_one_and_three_steps_train_and_sample(steps, noise):
    for predicts, variance in itertools.product(("noise", "velocity"), ("small", "large")):
        model = build(predicts, noise, steps=steps, variance=variance)
        ppl_gen.fit(model, pixels(), epochs=1, staged=False, progress=False)
        assert model.sample(3, seed=0).isfinite().all()


def test_a_strip_shows_noisy_and_predicted_images():
    _, seen = build(steps=20).sample(3, steps=10, seed=0, frames=True)
    ax = ppl_gen.plot.frames(seen, columns=4)
    canvas = ax.images[0].get_array()
    assert canvas.shape == (6 * 3 - 1, 4 * 3 - 1)
    shown = [0, 3, 6, 9]
    for column, step in enumerate(shown):
        corner = slice(3 * column, 3 * column + 2)
        above, below = (torch.tensor(canvas[rows, corner]) for rows in (slice(2), slice(3, 5)))
        assert torch.equal(above.float(), seen.x[step, 0, 0].clamp(0, 1))
        assert torch.equal(below.float(), seen.data[step, 0, 0])
    with pytest.raises(ValueError, match="expected frames of images"):
        ppl_gen.plot.frames(build(shape=(2,)).sample(3, steps=2, frames=True)[1])
    with pytest.raises(ValueError, match="at least one column"):
        ppl_gen.plot.frames(seen, columns=0)


# --- Files and refusals ---------------------------------------------------------------------------


def test_weights_are_refused_where_the_chain_is_another(tmp_path):
    model, path = build(), tmp_path / "model.pt"
    ppl_gen.save(model, path)
    loaded = ppl_gen.load(path, into=build())
    assert torch.equal(model.sample(3, seed=0), loaded.sample(3, seed=0))
    for other in (
        build(steps=21),
        build("noise"),
        build(noise=Cosine(offset=0.01)),
        build(levels=None),
        build(levels=16),
    ):
        with pytest.raises(ValueError, match=r"expected weights of .* got those of 20 steps"):
            ppl_gen.load(path, into=other)


def test_the_representation_says_what_it_is():
    text = str(build("noise", num_classes=3, weighting="min_snr"))
    assert text.startswith("<Diffusion: images 1×2×2 given 3 classes, 20 steps of Cosine(")
    assert "predicts noise, min_snr loss, small variance" in text


class Wave(VariancePreserving):
    """Less noise again in the middle."""

    def curve(self, u):
        return 5 - 10 * u + 4 * (9 * u).sin()


LABELLED = build(num_classes=3)
PLAIN = build()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: build("noise", Cosine(floor=0.0)), "expected signal at the last step to predict"),
        (lambda: build("score", Cosine(floor=0.0)), "expected signal at the last step to predict"),
        (lambda: build(noise=Wave()), "expected noise to rise with time"),
        (lambda: build(noise=Wave(), steps=1), "expected noise to rise with time"),
        (lambda: build(variance="learned"), "a denoiser with learned_variance=True"),
        (lambda: build(variance="optimal"), "expected error=, the mean squared error"),
        (lambda: build(sampler="ancestral_learned"), "a denoiser with learned_variance=True"),
        (lambda: build(sampler=samplers.Ancestral("optimal")), "expected error=, the mean"),
        (
            lambda: build(sampler=samplers.PredictorCorrector(samplers.Ancestral("learned"))),
            "a denoiser with learned_variance=True",
        ),
        (lambda: PLAIN.bound(pixels(), torch.zeros(24).long()), "expected no labels"),
        (lambda: PLAIN.log_likelihood(pixels(), torch.zeros(24).long()), "expected no labels"),
        (lambda: build(steps=0), "expected at least one step, got 0"),
        (lambda: build(sample_steps=21), "expected at most 20 steps, got 21"),
        (lambda: build(drop=1.0), r"a share of labels in \[0, 1\) for drop, got 1.0"),
        (lambda: build(sampler="dpm"), "a Sampler or one of ancestral"),
        (lambda: ppl_gen.Diffusion(nn.Linear(2, 2), (2,)), "expected a denoiser of"),
        (
            lambda: ppl_gen.Diffusion(PLAIN.denoiser, (3,)),
            r"expected data of shape \(1, 2, 2\), got \(3,\)",
        ),
        (
            lambda: ppl_gen.Diffusion(Gaussian(Cosine(), torch.zeros(2), 1.0), (3,)),
            r"expected a denoiser of data \(3,\), got \(2,\)",
        ),
        (
            lambda: ppl_gen.Diffusion(PLAIN.denoiser, SHAPE, num_classes=3),
            "expected no labels for a network",
        ),
        (lambda: PLAIN.sample(0), "expected at least one sample"),
        (lambda: PLAIN.sample(2, [0, 1]), "expected no labels"),
        (lambda: PLAIN.sample(2, guidance=2.0), "expected no guidance for a model without labels"),
        (lambda: PLAIN.sample(2, steps=21), "expected at most 20 steps, got 21"),
        (lambda: PLAIN.sample(2, steps=0), "expected at least one step, got 0"),
        (lambda: PLAIN.sample(2, sampler="dpm"), "a Sampler or one of ancestral"),
        (lambda: PLAIN.sample(2, sampler="hean"), "did you mean .heun."),
        (lambda: LABELLED.sample(2), "expected labels below 3 for y, got none"),
        (lambda: LABELLED.sample(2, guidance=2.0), "expected labels below 3 for y, got none"),
        (lambda: LABELLED.sample(2, [0, 3]), "expected labels from 0 to 2, got 0 to 3"),
        (lambda: LABELLED.sample(2, [0, 1, 2]), "expected 2 labels"),
        (lambda: LABELLED.sample(2, "seven"), "no names of classes are known"),
        (lambda: LABELLED.sample(2, [0, 1], guidance=-0.5), "a guidance weight of 0 or more"),
        (lambda: LABELLED.sample(2, [0, 1], guidance=float("nan")), "a guidance weight of 0"),
        (lambda: PLAIN.check(pixels() * 2), r"expected pixels in \[0, 1\], got"),
        (lambda: PLAIN.check(pixels() * torch.nan), "without NaN"),
        (lambda: PLAIN.check(pixels()[:0]), "at least one datum"),
        (lambda: PLAIN.check(torch.zeros(2, 1, 3, 3)), r"shape \(B, 1, 2, 2\)"),
        (lambda: fit(PLAIN, pixels() + 0.5), r"expected pixels in \[0, 1\], got"),
        (lambda: fit(LABELLED, pixels()), "expected labels below 3"),
        (lambda: fit(LABELLED, (pixels(), torch.full((24,), 3))), "expected labels from 0 to 2"),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def run(*arguments):
    assert main([str(part) for part in arguments]) == 0


def test_the_command_line_trains_samples_and_evaluates_it(tmp_path, capsys):
    out = tmp_path / "run"
    how = ["--network", "mlp", "--hidden", 8, "--steps", 40, "--sample-steps", 3]
    train = ["train", "ddpm", *how, "--epochs", 1, "--batch-size", 1000, "--quiet", "--eager"]
    run(*train, "--out", out)
    assert {"model.pt", "curves.png", "samples.png"} <= {path.name for path in out.iterdir()}
    picture = tmp_path / "some.png"
    run("sample", out, "-n", 4, "--steps", 2, "--sampler", "ddim", "--out", picture)
    assert picture.exists()
    capsys.readouterr()
    run("evaluate", out, "--images", 30, "--json")
    found = json.loads(capsys.readouterr().out)
    model, test = ppl_gen.load(out / "model.pt"), ppl_gen.data.mnist().test.images[:30]
    assert found["bound"] == pytest.approx(model.bound(test, draws=20).mean().item())
    bits = -found["bound"] / 784 / math.log(2)
    assert found["bits_per_dim"] == pytest.approx(bits)
    assert found["fid"] == pytest.approx(ppl_gen.metrics.fid(test, model.sample(30, seed=0)).value)
    for options, message in (
        (["--guidance", "2"], "expected no guidance for a model without labels"),
        (["--steps", "41"], "expected at most 40 steps, got 41"),
        (["--sampler", "dpm"], "a Sampler or one of ancestral"),
    ):
        assert main(["sample", str(out), *options]) == 2
        assert message in capsys.readouterr().err
    run(*train, "--out", out, "--resume", "--epochs", 2)


def test_a_guided_model_is_trained_on_labels_from_the_command_line(tmp_path, capsys):
    out = tmp_path / "run"
    how = ["--network", "mlp", "--hidden", 8, "--steps", 10, "--sample-steps", 2]
    run("train", "guided_ddpm", *how, "--epochs", 1, "--batch-size", 4000, "--quiet", "--eager",
        "--out", out)  # fmt: skip
    assert ppl_gen.load(out / "model.pt").num_classes == 10
    run("sample", out, "-n", 4, "--guidance", 2.5)


def test_options_of_sampling_are_refused_where_a_model_has_none():
    gan = ppl_gen.zoo.gan((2,), 4, hidden=8)
    given = SimpleNamespace(steps=3, sampler=None, guidance=None)
    with pytest.raises(ValueError, match="expected no --steps for gan"):
        sources.sampling(gan, given)
    assert sources.sampling(build(), given) == {"steps": 3}


def test_a_schedule_a_weighting_a_law_and_a_sampler_of_ones_own():
    class Sigmoid(VariancePreserving):
        def curve(self, u):
            return 8 - 16 * u

    class Late(TimeLaw):
        def forward(self, table):
            late = 0.1 + table.u[1:]
            return late / late.sum()

    class Restarting(samplers.Sampler):
        def step(self, predict, x, t, s, draw):
            return s.alpha * predict(x, t).data + s.sigma * draw()

    def halved(s, t):
        return t.snr / 2

    model = build(noise=Sigmoid(), weighting=halved, times=Late(), sampler=Restarting())
    assert "halved loss" in str(model)
    ppl_gen.fit(model, pixels(), epochs=1, staged=False, progress=False)
    assert model.sample(3, seed=0).isfinite().all()


def fit(model, data):
    return ppl_gen.fit(model, data, epochs=1, staged=False, progress=False)


def test_a_weighting_of_ones_own_is_that_of_its_name():
    def like_data(s, t):
        return torch.ones_like(t.snr)

    losses = []
    for weighting in (like_data, "data"):
        torch.manual_seed(0)
        model = ppl_gen.zoo.ddpm((2,), weighting=weighting, steps=5, hidden=8)
        data = torch.linspace(-1, 1, 32).reshape(16, 2)
        losses.append(ppl_gen.fit(model, data, epochs=3, seed=0, progress=False)["loss"])
    assert losses[0] == losses[1]
    with pytest.raises(ValueError, match="expected a name or a function for weighting, got 3"):
        ppl_gen.zoo.ddpm((2,), weighting=3)
