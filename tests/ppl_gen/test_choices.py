"""Which steps `fit` compiles by default: a matter of counts, kept on resuming, and explained."""

import dataclasses
import itertools
import os
import random
import signal
import time

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

import ppl_gen
from ppl_gen import zoo
from ppl_gen.staging import backends, costs, torch_internals
from ppl_gen.staging.costs import Counter, Work, pays
from ppl_gen.training import choices

X = torch.rand(70, 1, 4, 4, generator=torch.Generator().manual_seed(0)).round()
OPTIONS = {"batch_size": 20, "progress": False}  # three batches of 20, one of 10

MLP = Work(operations=76, elements=900_000, products=210_000_000)
TINY = Work(operations=76, elements=42_000, products=730_000)
CONV = Work(109, elements=15_600_000, products=102_000_000, convolutions=5_400_000_000)
UNET = Work(576, elements=37_300_000, products=225_000_000, convolutions=5_010_000_000)


def build():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return zoo.vae((1, 4, 4), 2, hidden=8)


@pytest.fixture
def made(monkeypatch):
    """The shapes of batches that are compiled for, with a rounding error as that may make."""
    shapes = []

    def compiled(module, inputs):
        shapes.append(next(tuple(t.shape) for t in inputs if t.dim() > 1 and len(t) > 1))

        def run(*values):
            loss, *others = module(*values)
            return [loss * (1 + 1e-6), *others]

        return run

    monkeypatch.setattr(torch_internals, "why_not_compiled", lambda devices: None)
    monkeypatch.setattr(backends, "compiled", compiled)
    return shapes


@pytest.mark.parametrize(
    ("work", "batches", "smallest"),
    [(MLP, 31, 100), (TINY, 62, 100)],
    ids=["mlp", "tiny"],
)
def test_long_runs_are_compiled_and_short_ones_are_not(work, batches, smallest):
    for epochs in (1, 5, 20, 100, 500, 10_000):
        assert pays(work, epochs * batches) == (epochs >= smallest)


@pytest.mark.parametrize("work", [CONV, UNET], ids=["conv", "unet"])
def test_steps_that_are_mostly_convolutions_are_not_compiled(work):
    assert not pays(work, 10**9)
    assert pays(dataclasses.replace(work, convolutions=0), 10_000)


@pytest.mark.parametrize("work", [MLP, TINY], ids=["mlp", "tiny"])
def test_a_batch_that_comes_once_an_epoch_is_not_worth_a_graph(work):
    assert not any(pays(work, epochs) for epochs in (1, 20, 500))
    assert pays(work, 100_000)


def test_more_steps_never_speak_against_compilation_and_savings_are_no_loss():
    draw = random.Random(0)
    for _ in range(300):
        work = Work(*(draw.randrange(10**n) for n in (4, 8, 10, 12)), draw.random() < 0.5)
        chosen = [pays(work, 10**n) for n in range(9)]
        assert chosen == sorted(chosen)
        assert costs.saved(work) >= 0


def test_the_work_of_a_step_is_counted():
    x, w = torch.randn(5, 7), torch.randn(7, 3, requires_grad=True)
    image, kernel = torch.randn(2, 3, 8, 8), torch.randn(4, 3, 3, 3, requires_grad=True)
    with Counter() as counter:
        (x @ w).exp().sum().backward()
    # mm, exp, sum, ones, exp's gradient, mm; sum's gradient is a view
    assert counter.work().products == 2 * 5 * 7 * 3
    assert counter.work().elements == 15 + 1 + 1 + 15
    assert counter.work().operations == 6
    with Counter() as counter:
        nn.functional.conv2d(image, kernel)
    assert counter.work() == Work(1, convolutions=2 * 4 * 6 * 6 * 3 * 9)


def test_counting_leaves_no_trace(made, monkeypatch):
    counted = ppl_gen.fit(build(), X, epochs=3, **OPTIONS)
    expected = ppl_gen.fit(build(), X, epochs=3, staged=False, **OPTIONS)
    assert made == []
    assert dict(counted) == dict(expected)


def test_a_cycle_is_counted_in_its_turns_and_compiled_in_their_kinds(made, monkeypatch):
    works, points = [], torch.randn(320, 2, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(costs, "too_few", lambda steps, saved: False)
    monkeypatch.setattr(costs, "price", lambda work: works.append(work) or 1e9)
    game = zoo.wgan((2,), 2, hidden=(8,), critic_steps=3)
    ppl_gen.fit(game, points, epochs=1, batch_size=20, progress=False)
    work = works[0]
    assert (work.turns, work.graphs) == (4, 2)  # of critics those are alike
    # Products for each of 20 points: 2-8-2 makes one in 32, 2-8-1 judges it in 24. Gradients of
    # weights cost as much again, those of a hidden layer as much as the layer that follows it.
    critic = 32 + 2 * (24 + 24 + 8)
    generator = 32 + 24 + 24 + (32 + 16)
    assert work.products == 20 * (3 * critic + generator)


def test_a_short_last_batch_stays_eager_while_the_others_are_compiled(made, monkeypatch):
    monkeypatch.setattr(costs, "GRAPH", 0.06)
    monkeypatch.setattr(costs, "COMPILED_OPERATION", 0.0)
    history = ppl_gen.fit(build(), X, epochs=25, **OPTIONS)
    assert set(made) == {(20, 1, 4, 4)}
    full, short = history.staging.split("; ")
    assert full.startswith("20x1x4x4: compiled, since")
    assert "as many steps to come as 75" in full
    assert short.startswith("10x1x4x4: eager, since")
    assert "as many steps to come as 25" in short


def test_a_short_last_batch_is_compiled_where_a_run_saves_many_times_its_price(made, monkeypatch):
    assert not costs.spares(TINY, 500, 0.0)
    assert costs.spares(TINY, 500, 500 * 62 * costs.saved(TINY))
    assert not costs.spares(TINY, 100, 100 * 62 * costs.saved(TINY))
    monkeypatch.setattr(costs, "GRAPH", 0.02)
    monkeypatch.setattr(costs, "COMPILED_OPERATION", 0.0)
    monkeypatch.setattr(costs, "FOUND", 0.02)
    for epochs, shapes in ((15, {(20, 1, 4, 4)}), (60, {(20, 1, 4, 4), (10, 1, 4, 4)})):
        made.clear()
        ppl_gen.fit(build(), X, epochs=epochs, **OPTIONS)
        assert set(made) == shapes


@pytest.mark.parametrize("staged", [True, False])
def test_who_insists_is_not_asked(staged, made):
    history = ppl_gen.fit(build(), X, epochs=1, staged=staged, **OPTIONS)
    assert set(made) == ({(20, 1, 4, 4), (10, 1, 4, 4)} if staged else set())
    assert history.staging == f"{'compiled' if staged else 'eager'}, since staged={staged}"


def test_clocks_and_slow_compilers_play_no_part(made, monkeypatch):
    monkeypatch.setattr(costs, "GRAPH", 0.03)
    monkeypatch.setattr(costs, "COMPILED_OPERATION", 0.0)
    expected = ppl_gen.fit(build(), X, epochs=12, **OPTIONS)
    draw, compiled = random.Random(0), backends.compiled
    now = itertools.accumulate(iter(lambda: 10 ** draw.uniform(-6, 2), None))
    monkeypatch.setattr(time, "perf_counter", lambda: next(now))
    monkeypatch.setattr(backends, "compiled", lambda *a: (time.sleep(0.2), compiled(*a))[1])
    found = ppl_gen.fit(build(), X, epochs=12, **OPTIONS)
    assert set(made) == {(20, 1, 4, 4)}
    assert dict(found) == dict(expected)
    assert found.staging == expected.staging


# --- On resuming ----------------------------------------------------------------------------------


@pytest.mark.parametrize("chosen", [True, False])
def test_a_resumed_run_keeps_what_was_chosen(chosen, made, monkeypatch, tmp_path):
    monkeypatch.setattr(costs, "pays", lambda work, steps: chosen)
    expected = ppl_gen.fit(build(), X, epochs=4, **OPTIONS)
    model, path = build(), tmp_path / "run.pt"
    ppl_gen.fit(model, X, epochs=2, checkpoint=path, **OPTIONS)
    made.clear()
    monkeypatch.setattr(costs, "pays", lambda work, steps: not chosen)
    found = ppl_gen.fit(build(), X, epochs=4, checkpoint=path, resume=True, **OPTIONS)
    assert dict(found) == dict(expected)
    assert bool(made) == chosen
    full, short = found.staging.split("; ")
    foretold = ("steps to come as {}," if chosen else "since {} steps to come").format
    assert foretold(6) in full  # as first decided
    assert foretold(2) in short
    assert full.startswith(f"20x1x4x4: {'compiled' if chosen else 'eager'}, since")


@pytest.mark.parametrize("ends", [3, 9, 14, 20])
def test_a_stream_goes_on_to_the_bit_wherever_it_was_stopped(ends, made, monkeypatch, tmp_path):
    monkeypatch.setattr(costs, "GRAPH", 0.02)
    monkeypatch.setattr(costs, "COMPILED_OPERATION", 0.0)
    options = {"epochs": 5, "progress": False}
    expected = ppl_gen.fit(build(), loader(Stream()), **options)
    assert made
    options["checkpoint"] = tmp_path / "run.pt"

    def stop(metrics):
        if metrics["step"] == ends:
            raise InterruptedError

    every = {"checkpoint_every": 1, "callbacks": [stop]}
    with pytest.raises(InterruptedError):
        ppl_gen.fit(build(), loader(Stream()), **options | every)
    found = ppl_gen.fit(build(), loader(Stream()), resume=True, **options)
    assert dict(found) == dict(expected)
    assert found.staging == expected.staging


# --- Batches of many shapes, and of unknown number ------------------------------------------------


class Stream(IterableDataset):
    def __iter__(self):
        return iter(X)


def loader(data):
    return DataLoader(data, batch_size=10)


class Ragged(nn.Module):
    """A loss for rows of any length."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    @property
    def players(self):
        return {"one": list(self.parameters())}

    def loss(self, x):
        return (x - self.weight).square().sum(), {}


def ragged(lengths, repeats):
    return [torch.rand(4, n) for n in lengths] * repeats


def test_batches_of_six_lengths_are_not_compiled_each(made, monkeypatch):
    batches = DataLoader(ragged(range(3, 9), 10), batch_size=None, shuffle=True)
    history = ppl_gen.fit(Ragged(), batches, epochs=3, progress=False)
    assert made == []
    assert history.staging.count("steps to come pay for no compilation") == 6
    monkeypatch.setattr(costs, "pays", lambda work, steps: True)
    with pytest.warns(ppl_gen.staging.StagingWarning, match="steps of 4 are compiled") as said:
        history = ppl_gen.fit(Ragged(), batches, epochs=3, progress=False)
    assert len(said) == 1
    assert len(made) == len(set(made)) == choices.KINDS
    assert history.staging.count("compiled, since") == 4
    assert history.staging.count("eager, since 4 other kinds") == 2


def test_lengths_that_never_come_again_are_not_even_counted(made, monkeypatch):
    monkeypatch.setattr(costs, "pays", lambda work, steps: pytest.fail("counted"))
    batches = DataLoader(ragged(range(3, 50), 1), batch_size=None)
    history = ppl_gen.fit(Ragged(), batches, epochs=5, progress=False)
    assert history.staging.endswith("and 39 more kinds of batch")


def test_steps_to_come_are_foretold_by_the_share_of_a_kind(made, monkeypatch):
    foretold = []
    monkeypatch.setattr(costs, "pays", lambda work, steps: foretold.append(steps))
    ppl_gen.fit(build(), loader(X), epochs=8, progress=False)
    # 56 batches: the 9th, 17th and 33rd find 8, 16 and 32 of the kind among as many before
    assert foretold == [48, 40, 24]
    foretold.clear()
    # streams: as many as so far, and by the length of the first epoch after that
    ppl_gen.fit(build(), loader(Stream()), epochs=8, progress=False)
    assert foretold == [48, 40, 24]
    foretold.clear()
    ppl_gen.fit(build(), DataLoader(Stream(), batch_size=2), epochs=2, progress=False)
    assert foretold == [8, 16, 32, 6.0]


# --- Ctrl-C ---------------------------------------------------------------------------------------


def test_an_interrupted_compilation_ends_the_run_and_leaves_it_as_it_was(made, monkeypatch):
    whole, compiled = build(), backends.compiled
    expected = ppl_gen.fit(whole, X, epochs=2, staged=True, **OPTIONS)

    def interrupted(module, inputs):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)

    model, drawn = build(), torch.get_rng_state()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    monkeypatch.setattr(backends, "compiled", interrupted)
    with pytest.raises(KeyboardInterrupt) as stopped:
        ppl_gen.fit(model, X, epochs=2, staged=True, **OPTIONS)
    assert stopped.value.history.steps == 0
    assert torch.equal(torch.get_rng_state(), drawn)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    monkeypatch.setattr(backends, "compiled", compiled)
    found = ppl_gen.fit(model, X, epochs=2, staged=True, **OPTIONS)
    assert dict(found) == dict(expected)
