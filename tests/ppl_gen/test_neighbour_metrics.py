"""Precision, recall, density, coverage, nearest images, birthdays, digits, assignments."""

import importlib
import itertools
import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import ppl_gen
from ppl_gen import data, metrics
from ppl_gen.metrics.digit_classes import histogram_kl

random_cases = settings(max_examples=20, deadline=None, derandomize=True)


def cloud(n, seed=0, dim=4):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 1, 1, dim, generator=generator, dtype=torch.float64)


def by_definition(real, fake, k, wide_k):
    """All four, counted ball by ball in NumPy."""
    x, y = real.flatten(1).numpy(), fake.flatten(1).numpy()

    def radius(rows, i, count):
        return np.sort(np.linalg.norm(rows - rows[i], axis=1))[count]

    def inside(point, rows, count):
        apart = np.linalg.norm(rows - point, axis=1)
        return [d < radius(rows, i, count) for i, d in enumerate(apart)]

    held = np.array([inside(point, x, wide_k) for point in y])
    return (
        np.mean([any(inside(point, x, k)) for point in y]),
        np.mean([any(inside(point, y, k)) for point in x]),
        held.sum() / (wide_k * len(y)),
        held.any(0).mean(),
    )


@random_cases
@given(st.integers(0, 99), st.integers(7, 25), st.integers(5, 25), st.integers(1, 4))
def test_they_are_their_definitions(seed, n, m, k):
    real, fake = cloud(n, seed, dim=2), 0.7 * cloud(m, seed + 1, dim=2) + 0.3
    found = metrics.neighbours(real, fake, "pixels", k=k, wide_k=k + 1)
    values = found.precision, found.recall, found.density, found.coverage
    assert values == pytest.approx(by_definition(real, fake, k, k + 1))
    assert (found.num_real, found.num_fake, found.extractor) == (n, m, "pixels")


def test_chunks_change_nothing(monkeypatch):
    real, fake = cloud(40), cloud(30, 1) + 0.5
    whole = metrics.neighbours(real, fake, "pixels"), metrics.birthday(real, 1.0, "pixels")
    monkeypatch.setattr(importlib.import_module("ppl_gen.metrics.neighbours"), "_ROWS", 7)
    again = metrics.neighbours(real, fake, "pixels"), metrics.birthday(real, 1.0, "pixels")
    assert whole == again


def test_equal_laws_collapse_and_distance():
    real, other = cloud(1500), cloud(1500, 1)
    alike = metrics.neighbours(real, other, "pixels")
    assert alike.density == pytest.approx(1, abs=0.05)
    # a ball of k of N neighbours is missed by all of N others with probability about 2^-k
    assert alike.coverage == pytest.approx(1 - 2**-5, abs=0.02)
    middle = torch.zeros(500, 1, 1, 4, dtype=torch.float64)
    collapsed = metrics.neighbours(real, middle, "pixels")
    assert (collapsed.precision, collapsed.recall) == (1, 0)
    assert collapsed.density > 1  # which rewards it
    assert collapsed.coverage < 0.02
    far = metrics.neighbours(real, other + 100, "pixels")
    assert (far.precision, far.recall, far.density, far.coverage) == (0, 0, 0, 0)


def test_half_of_a_law_is_precise_and_not_recalled():
    real, other = cloud(800), cloud(2400, 1)
    half = other[other[:, 0, 0, 0] > 0][:800]
    found = metrics.neighbours(real, half, "pixels")
    assert found.precision > 0.9
    assert 0.4 < found.recall < 0.75
    assert 0.4 < found.coverage < 0.75


def test_memory_is_told_from_likeness():
    train, test, fresh = (cloud(400, seed) for seed in range(3))
    assert metrics.nearest(train, test, train[:50] + 1e-6).closer == 1
    assert metrics.nearest(train, test, test[:50] + 1e-6).closer == 0
    found = metrics.nearest(train, test[:200], fresh)
    assert found.closer == pytest.approx(0.5, abs=0.1)
    expected = (train[:200, None] - fresh[None]).flatten(2).norm(dim=2).min(0)
    torch.testing.assert_close(found.train, expected.values)
    assert torch.equal(found.indices, expected.indices)


@pytest.mark.parametrize("support", [60, 400])
def test_the_birthday_of_a_uniform_law(support):
    generator = torch.Generator().manual_seed(support)
    drawn = torch.randint(support, (2000, 1, 1, 1), generator=generator).double()
    found = metrics.birthday(drawn, 0.5, "pixels")
    likely, median = 1.0, 1
    while likely > 0.5:  # the probability that so many are all different
        likely *= 1 - median / support
        median += 1
    assert found.batch == pytest.approx(median, rel=0.1)
    assert found.support == pytest.approx(support, rel=0.25)
    assert metrics.birthday(cloud(50), 1e-9, "pixels").batch == math.inf


def test_the_cheapest_assignment():
    for seed in range(5):
        x, y = cloud(6, seed)[:, 0, 0], cloud(6, seed + 9)[:, 0, 0]
        orders = itertools.permutations(range(6))
        best = min((x - y[list(order)]).norm(dim=1).mean().item() for order in orders)
        assert metrics.wasserstein(x, y) == pytest.approx(best)
    u, v = cloud(50)[:, 0, 0, :1], cloud(50, 1)[:, 0, 0, :1]
    assert metrics.wasserstein(u, v) == pytest.approx(metrics.wasserstein_1d(u[:, 0], v[:, 0]))
    assert metrics.wasserstein([[4.0], [6.0]], [[3.0], [7.0]]) == 1  # two boxes: 2 in all, not 6
    shift = torch.tensor([3.0, 4.0, 0.0, 0.0], dtype=torch.float64)
    x = cloud(80)[:, 0, 0]
    assert metrics.wasserstein(x, x + shift) == pytest.approx(5)


def test_energy_distance_is_scipys_in_one_dimension():
    for seed, n, m in [(0, 30, 40), (1, 5, 60)]:
        u, v = cloud(n, seed)[:, 0, 0, 0], 2 * cloud(m, seed + 9)[:, 0, 0, 0] + 1
        expected = scipy.stats.energy_distance(u.numpy(), v.numpy())
        assert metrics.energy_distance(u, v) == pytest.approx(expected)
    x = cloud(30)
    assert metrics.energy_distance(x, x) == pytest.approx(0, abs=1e-7)
    turned = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64))[0]
    y = cloud(30, 1)
    assert metrics.energy_distance(x @ turned, y @ turned) == pytest.approx(
        metrics.energy_distance(x, y)
    )


def test_the_classes_of_digits():
    test = data.mnist().test
    found = metrics.digit_classes(test, test.images[:200])
    assert sum(found.counts) == 200
    assert found.kl == pytest.approx(0, abs=0.1)
    assert 0.9 < found.confident_real < 1
    assert "accuracy 9" in found.classifier
    noise = torch.rand(200, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    assert metrics.digit_classes(test, noise).confident < 0.5
    ones = test.images[test.labels == 1]
    share = (test.labels == 1).double().mean().item()
    assert metrics.digit_classes(test, ones).kl == pytest.approx(-math.log(share), abs=0.25)


@random_cases
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 50)), min_size=2, max_size=10))
def test_the_divergence_of_histograms_is_scipys(pairs):
    p, q = torch.tensor(pairs).T
    if p.sum() > 0:
        expected = scipy.stats.entropy(p.numpy(), q.numpy())
        assert histogram_kl(p, q) == pytest.approx(expected, abs=1e-12)


def test_a_class_that_no_real_image_has_is_infinitely_wrong():
    assert histogram_kl(torch.tensor([1, 1]), torch.tensor([2, 0])) == math.inf


def test_the_worst_moment_of_training_is_kept():
    class Drifting:
        def __init__(self):
            self.value = torch.zeros(1, requires_grad=True)
            self.players = {"value": [self.value]}

        def loss(self, x):
            return (self.value * x.mean()).sum(), {}

    model = Drifting()
    target = torch.tensor([[0.0], [-1.0]])
    along = metrics.Along(lambda: metrics.modes(model.value.detach()[None], target, 0.11), every=3)
    wide = metrics.Along(lambda: {"value": model.value.item(), "name": "not a number"}, every=1)
    options = {"optimizer": torch.optim.SGD, "lr": 0.05, "staged": False, "progress": False}
    ppl_gen.fit(model, torch.ones(4, 1), epochs=20, callbacks=[along, wide], **options)
    assert along.steps == [3, 6, 9, 12, 15, 18]
    assert along.lowest("modes") == (9, 0.0)
    assert along.values["modes"] == [1, 1, 0, 0, 1, 1]
    assert wide.lowest("value") == (20, pytest.approx(-1))
    assert wide.highest("value") == (1, pytest.approx(-0.05))
    with pytest.raises(ValueError, match=r"a measure among .*kl.*, got 'fid'"):
        along.lowest("fid")
    for bad in (0, 1.5):
        with pytest.raises(ValueError, match="one step or more between"):
            metrics.Along(dict, every=bad)


def test_too_few_samples_and_bad_settings_are_refused():
    x, few = cloud(10), cloud(3)
    for call, match in [
        (lambda: metrics.neighbours(x[:5], x, "pixels"), "more than 5 real images.*got 5"),
        (lambda: metrics.neighbours(x, few, "pixels"), "more than 3 generated images.*got 3"),
        (lambda: metrics.neighbours(x, x, "pixels", k=0), "k >= 1, got 0"),
        (lambda: metrics.neighbours(x, x, "pixels", wide_k=1.5), "wide_k >= 1, got 1.5"),
        (lambda: metrics.neighbours(x, x / 0, "pixels"), "finite generated images"),
        (lambda: metrics.nearest(x, x, x[:1]), "at least two generated images, got 1"),
        (lambda: metrics.birthday(x[:1], 1.0, "pixels"), "at least two real images, got 1"),
        (lambda: metrics.birthday(x, 0.0, "pixels"), "above zero, got 0.0"),
        (lambda: metrics.digit_classes(x, x), r"\(1, 28, 28\) of digits, got \(1, 1, 4\)"),
        (lambda: metrics.wasserstein(x, x[:5]), "samples of one size, got 10 and 5"),
        (lambda: metrics.energy_distance(x, x[..., :2]), "data of one shape"),
        (lambda: metrics.wasserstein(x[:0], x[:0]), "got shape"),
    ]:
        with pytest.raises(ValueError, match=match):
            call()
