"""The contract of sampling: streams by seed and index, batches, frames, modes, refusals."""

import copy
import math

import numpy
import pytest
import torch
from torch import nn

import ppl_gen
from ppl_gen.denoisers import Clipped, Denoiser, Gaussian, Guided
from ppl_gen.noise import Cosine, Linear, Trailing, uniform
from ppl_gen.samplers import (
    DDIM,
    Ancestral,
    AnnealedLangevin,
    Euler,
    Heun,
    PredictorCorrector,
    Sampler,
    Streams,
)

ALL = {
    "small": Ancestral(),
    "large": Ancestral("large"),
    "optimal": Ancestral("optimal"),
    "ddim": DDIM(),
    "ddim half": DDIM(0.5),
    "ddim one": DDIM(1.0),
    "euler": Euler(),
    "heun": Heun(),
    "langevin": AnnealedLangevin(3),
    "corrected": PredictorCorrector(),
    "corrected flow": PredictorCorrector(Heun(), 2),
}


def data_of(noise, variance, mean=0.0):
    mean = torch.full((1,), mean, dtype=torch.float64)
    return Gaussian(noise, mean, variance)


class Untrained(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Sequential(
            nn.Flatten(), nn.Linear(18, 16), nn.Dropout(0.5), nn.Tanh(), nn.Linear(16, 18)
        )
        self.table = nn.Embedding(4, 18)

    def forward(self, x, u, y=None):
        added = 0 if y is None else self.table(y)
        return (self.layer(x * (1 - u)[:, None, None, None]) + added).reshape(x.shape)


def network(predicts="velocity"):
    return Denoiser(Untrained(), Linear(), predicts, data_shape=(2, 3, 3))


@pytest.mark.parametrize("name", ALL)
def test_samples_depend_on_seed_and_index_alone(name):
    sampler, denoiser = ALL[name], data_of(Linear(), 2.0, 0.5)

    def draw(n, **options):
        return sampler.sample(denoiser, n, steps=4, seed=3, **options)

    whole = draw(7)
    assert torch.equal(whole, draw(7))
    assert torch.equal(whole[:3], draw(3))
    for size in (1, 2, 5, 9):
        assert torch.equal(whole, draw(7, batch_size=size))
    assert len(set(whole.flatten().tolist())) == 7
    assert not torch.isin(sampler.sample(denoiser, 7, steps=4, seed=4), whole).any()


@pytest.mark.parametrize("name", [n for n in ALL if n != "optimal"])
def test_samples_of_a_network_do_not_depend_on_their_batch(name):
    sampler, denoiser = ALL[name], Guided(network(), 2.0, 3)
    y = torch.tensor([0, 1, 2, 0, 1])
    whole, frames = sampler.sample(denoiser, 5, y, steps=4, seed=3, frames=True)
    assert whole.shape == (5, 2, 3, 3)
    assert whole.isfinite().all()
    assert torch.equal(whole, sampler.sample(denoiser, 5, y, steps=4, seed=3))
    chunked, seen = sampler.sample(denoiser, 5, y, steps=4, seed=3, batch_size=2, frames=True)
    torch.testing.assert_close(chunked, whole, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(seen.x, frames.x, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(seen.data, frames.data, rtol=1e-4, atol=1e-4)
    first = sampler.sample(denoiser, 2, y[:2], steps=4, seed=3)
    torch.testing.assert_close(first, whole[:2], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [n for n in ALL if n != "optimal"])
@pytest.mark.parametrize("steps", [1, 3])
def test_an_untrained_network_gives_finite_samples_in_few_steps(name, steps):
    for predicts in ("noise", "data", "velocity", "score"):
        assert ALL[name].sample(network(predicts), 3, steps=steps, seed=0).isfinite().all()
    clipped = Clipped(network("noise"), -1, 1)
    assert DDIM().sample(clipped, 3, steps=steps, seed=0).abs().max() <= 1


def test_a_seed_for_each_sample_and_none_at_all():
    denoiser, sampler = data_of(Cosine(), 1.0), Ancestral()
    own = sampler.sample(denoiser, 3, steps=3, seed=[5, 9, 5])
    whole = sampler.sample(denoiser, 3, steps=3, seed=5)
    assert torch.equal(whole, sampler.sample(denoiser, 3, steps=3, seed=numpy.int64(5)))
    assert torch.equal(own[0], own[2])
    assert torch.equal(own[1:2], sampler.sample(denoiser, 1, steps=3, seed=9))
    assert torch.equal(own, sampler.sample(denoiser, 3, steps=3, seed=torch.tensor([5, 9, 5])))
    state = torch.get_rng_state()
    sampler.sample(denoiser, 3, steps=3, seed=1)
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(1)
    first = sampler.sample(denoiser, 3, steps=3)
    assert not torch.equal(first, sampler.sample(denoiser, 3, steps=3))
    torch.manual_seed(1)
    assert torch.equal(first, sampler.sample(denoiser, 3, steps=3))
    torch.set_rng_state(state)


def test_the_streams_of_neighbouring_seeds_and_indices_are_unrelated():
    keys = [(seed, index) for seed in (0, 1, 2**32, 2**32 + 1) for index in (0, 1, 2)]
    draws = Streams(keys, (3000,), torch.empty(0, dtype=torch.float64)).normal()
    assert draws.corrcoef().fill_diagonal_(0).abs().max() < 4.5 / math.sqrt(3000)
    assert draws.mean().abs() < 4.5 / math.sqrt(draws.numel())
    assert draws.var().item() == pytest.approx(1.0, abs=0.04)


@pytest.mark.parametrize("shape", [(2,), (600,), (5000,)])
def test_streams_drawn_ahead_are_those_drawn_one_by_one(shape):
    streams, like = Streams([(4, 7)], shape, torch.empty(0)), torch.empty(0, dtype=torch.float64)
    single = Streams([(4, 7)], (1,), like)
    for _ in range(3):
        ours = streams.normal().flatten()[:4]
        theirs = torch.stack([single.normal() for _ in range(math.prod(shape))]).flatten()[:4]
        torch.testing.assert_close(ours, theirs.float())


def test_frames_show_the_way_and_do_not_change_it():
    denoiser = data_of(Cosine(), 2.0)
    x, frames = Heun().sample(denoiser, 4, steps=5, seed=0, frames=True)
    assert torch.equal(x, Heun().sample(denoiser, 4, steps=5, seed=0))
    assert frames.x.shape == (6, 4, 1)
    assert frames.data.shape == (5, 4, 1)
    assert bool((frames.levels.sigma.diff() < 0).all())
    for i in range(5):
        told = denoiser(frames.x[i], frames.levels.u[i]).data
        assert torch.equal(frames.data[i], told)


def test_a_start_replaces_the_noise_and_not_the_draws_after_it():
    denoiser, level = data_of(Linear(), 1.0), uniform(Linear(), 3)[-1]
    noise = Streams([(0, i) for i in range(4)], (1,), denoiser.like).normal()
    for sampler in (DDIM(), Ancestral()):
        started = sampler.sample(denoiser, 4, steps=3, seed=0, start=level.scale * noise)
        assert torch.equal(started, sampler.sample(denoiser, 4, steps=3, seed=0))
        for size in (1, 3):
            how = {"steps": 3, "seed": 0, "start": level.scale * noise, "batch_size": size}
            assert torch.equal(started, sampler.sample(denoiser, 4, **how))


def test_modes_types_and_the_bar(capsys):
    denoiser = network()
    denoiser.train()
    a, b = (DDIM().sample(denoiser, 2, steps=3, seed=0) for _ in range(2))
    assert torch.equal(a, b)
    assert denoiser.training
    assert denoiser.network.layer[2].training
    assert a.dtype == torch.float32
    assert not a.requires_grad
    double = DDIM().sample(denoiser.double(), 2, steps=3, seed=0)
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), a, rtol=1e-4, atol=1e-5)
    assert capsys.readouterr().err == ""
    DDIM().sample(denoiser, 2, steps=3, seed=0, progress=True)
    seen = capsys.readouterr()
    assert "3/3" in seen.err
    assert seen.out == ""


NOWHERE = data_of(Cosine(floor=0.0), 1.0)
BLIND = Denoiser(Untrained(), Cosine(floor=0.0), "noise", data_shape=(2, 3, 3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: DDIM(1.5), "expected eta from 0"),
        (lambda: Ancestral("fixed"), "expected a variance among"),
        (lambda: AnnealedLangevin(0), "expected at least one step a level"),
        (lambda: AnnealedLangevin(1, 4.0), "expected a ratio in"),
        (lambda: PredictorCorrector("ddim"), "expected a sampler as the predictor"),
        (lambda: PredictorCorrector(None, 0), "expected at least one correction"),
        (lambda: PredictorCorrector(ratio=1.0), "expected a ratio in"),
        *(
            (lambda make=make, grid=grid: make(grid=grid), "expected a grid of ppl_gen.noise")
            for make in (Ancestral, DDIM, Euler, Heun, AnnealedLangevin, PredictorCorrector)
            for grid in (5, "uniform", torch.linspace(0, 1, 5), Linear())
        ),
        (lambda: Ancestral("optimal", error=5), "expected error as a function of time, got 5"),
        *(
            (lambda s=s, n=n: s.sample(NOWHERE, 2, steps=n), "expected at least one step")
            for s in (DDIM(), Heun(), AnnealedLangevin(2))
            for n in (0, -1, True, 2.5)
        ),
        *(
            (lambda start=start: DDIM().sample(NOWHERE, 2, start=start), message)
            for start, message in (
                (torch.zeros(2, 1, dtype=torch.long), "a start in floating point, got torch.int64"),
                (torch.zeros(2, 1, dtype=torch.complex64), "a start in floating point"),
                (torch.full((2, 1), float("nan")), "expected a finite start"),
                (torch.full((2, 1), float("inf")), "expected a finite start"),
                ([[0.0], [0.0]], "expected a start of shape"),
            )
        ),
        *(
            (lambda shape=shape: DDIM().sample(NOWHERE, 2, shape=shape), "expected a tuple of")
            for shape in (1, "a", (1.0,), (True,))
        ),
        (lambda: DDIM().sample(network(), 2, "ab"), "expected conditions as numbers, got 'ab'"),
        (lambda: DDIM().sample(network(), 2, ["a", "b"]), "expected conditions as numbers"),
        (lambda: DDIM().sample(NOWHERE, 0), "expected at least one sample"),
        (lambda: DDIM().sample(NOWHERE, 2, batch_size=0), "expected batch_size >= 1"),
        (lambda: DDIM().sample(NOWHERE, 2, steps=0), "expected at least one step"),
        (lambda: DDIM().sample(NOWHERE, 2, seed=-1), "expected a seed >= 0"),
        (lambda: DDIM().sample(NOWHERE, 2, seed=1.0), "expected a seed >= 0"),
        (lambda: DDIM().sample(NOWHERE, 2, seed=True), "expected a seed >= 0"),
        (lambda: DDIM().sample(NOWHERE, 2, seed=[1]), "or 2 of them"),
        (lambda: DDIM().sample(NOWHERE, 2, shape=(3,)), "expected data of shape"),
        (lambda: DDIM().sample(Untrained(), 2), "expected a denoiser"),
        (lambda: DDIM().sample(Denoiser(Untrained(), Linear()), 2), "expected shape="),
        (lambda: DDIM().sample(NOWHERE, 2, start=torch.zeros(3, 1)), "expected a start of shape"),
        (lambda: DDIM().sample(network(), 2, [1]), "expected 2 conditions"),
        (lambda: DDIM(grid=Trailing(4)).sample(NOWHERE, 2, steps=5), "expected at most 4 steps"),
        (lambda: DDIM().sample(BLIND, 2, seed=0), "there is no signal"),
        (lambda: Euler(grid=uniform).sample(NOWHERE, 2, seed=0), "expected a start with signal"),
        (lambda: Heun(grid=uniform).sample(NOWHERE, 2, seed=0), "expected a start with signal"),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def along(u):
    return lambda noise, n: noise.level(torch.tensor(u, dtype=torch.float64))


def broken(noise, n):
    level = uniform(noise, 2)
    level.sigma[1] = float("nan")
    return level


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (along([0.0, 0.7, 0.3, 1.0]), "expected noise to rise along a grid, got log-SNR"),
        (along([0.0, 0.5, 0.5, 1.0]), "expected noise to rise along a grid"),
        (along([1.0, 0.5, 0.0]), "expected clean data at entry 0 of a grid"),
        (along([0.3, 0.6, 1.0]), "expected clean data at entry 0 of a grid"),
        (along([1.0]), "expected a grid of levels"),
        (broken, "expected noise to rise along a grid"),
        (lambda noise, n: torch.linspace(0, 1, n + 1), "expected a grid of levels"),
        (lambda noise, n: None, "expected a grid of levels"),
    ],
)
def test_a_grid_that_does_not_rise_from_clean_data_is_refused_by_every_sampler(name, grid, message):
    sampler = copy.copy(ALL[name])
    sampler.grid = grid
    with pytest.raises(ValueError, match=message):
        sampler.sample(data_of(Cosine(), 1.0), 2, steps=3, seed=0)


def test_a_sampler_of_ones_own_overrides_a_step():
    class Direct(Sampler):
        def step(self, predict, x, t, s, draw):
            return s.alpha * predict(x, t).data + s.sigma * draw()

    x = Direct().sample(data_of(Cosine(), 1.0), 5, steps=3, seed=0)
    assert x.shape == (5, 1)
    with pytest.raises(NotImplementedError):
        Sampler().sample(data_of(Cosine(), 1.0), 5, steps=3, seed=0)


def test_weights_that_are_not_finite_are_named_before_a_step_is_taken():
    model = ppl_gen.zoo.ddpm((2,), hidden=8)
    name, weights = list(model.named_parameters())[-1]
    weights.data[0] = float("nan")
    with pytest.raises(ValueError, match=f"NaN or infinity in {name.split('.', 1)[1]}"):
        model.sample(3, steps=2)


def test_samples_that_overflow_are_refused():
    class Wild(ppl_gen.denoisers.DenoiserBase):
        def forward(self, x, u, y=None):
            level = self.noise.level(u)
            return ppl_gen.denoisers.Prediction("data", 1e30 * x**3, x, level)

    wild = Wild(ppl_gen.noise.Linear(), (2,))
    with pytest.raises(ValueError, match="got 3 of 3 that are not: the steps of DDIM"):
        ppl_gen.samplers.DDIM().sample(wild, 3, steps=4, seed=0)
