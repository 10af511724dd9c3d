"""Two sets of data without pairs, and data drawn by weights: their orders, and training on them."""

import itertools

import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import TensorDataset

import ppl_gen
from ppl_gen._processes import World
from ppl_gen.data import ImageSet, Unpaired, Weighted
from ppl_gen.data.batches import TensorBatches, as_batches, num_data
from ppl_gen.staging import backends, torch_internals
from ppl_gen.staging.cycles import WholeCycles

random_cases = settings(max_examples=25, deadline=None, derandomize=True)


class Means:
    """The mean of each of two streams."""

    def __init__(self):
        self.value = torch.zeros(2, requires_grad=True)
        self.players = {"means": [self.value]}

    def loss(self, x, y, *_):
        apart = torch.stack([(x - self.value[0]).square().sum(), (y - self.value[1]).abs().sum()])
        return (apart * (1 + 0.1 * torch.rand(2))).sum(), {"mean": self.value.mean()}

    @torch.no_grad()
    def evaluate(self, x, y, *_):
        loss = (x - self.value[0]).square().mean() + (y - self.value[1]).square().mean()
        return {"loss": loss, "rows": torch.tensor(float(len(x)))}


def numbered(size, start=0):
    return torch.arange(start, start + size).float()[:, None]


def rows_of(batches, epoch, position):
    return torch.cat([batch[position] for batch in batches.epoch(epoch)]).flatten().tolist()


@random_cases
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 12), st.integers(0, 2**31))
def test_an_epoch_is_the_longer_and_the_shorter_starts_again(n, m, batch_size, seed):
    batches = as_batches(Unpaired(numbered(n), numbered(m, 100)), batch_size, seed)
    longest, steps = max(n, m), -(-max(n, m) // batch_size)
    assert (batches.length, num_data(batches), batches.is_last(steps)) == (steps, longest, True)
    assert sum(rows * count for rows, count in batches.sizes().items()) == longest
    for epoch in (0, 3):
        for position, size, start in ((0, n, 0), (1, m, 100)):
            rows = rows_of(batches, epoch, position)
            assert rows == rows_of(batches, epoch, position)
            whole = [float(row) for row in range(start, start + size)]
            passes = [rows[i : i + size] for i in range(0, longest, size)]
            assert len(rows) == longest
            assert all(sorted(each) == whole for each in passes[:-1])
            assert len(set(passes[-1])) == len(passes[-1])
            assert set(passes[-1]) <= set(whole)


def test_both_orders_are_random_and_apart():
    batches = as_batches(Unpaired(numbered(60), numbered(60)), 60, seed=0)
    orders = [rows_of(batches, epoch, side) for epoch in range(3) for side in range(2)]
    assert all(one != other for one, other in itertools.combinations(orders, 2))
    other = as_batches(Unpaired(numbered(60), numbered(60)), 60, seed=1)
    assert all(rows_of(other, 0, side) not in orders for side in range(2))
    passes = as_batches(Unpaired(numbered(60), numbered(20)), 20, seed=0)
    several = torch.tensor(rows_of(passes, 0, 1)).reshape(3, 20).tolist()
    assert all(one != other for one, other in itertools.combinations(several, 2))


def test_pairs_are_as_likely_as_chance():
    batches, together = as_batches(Unpaired(numbered(8), numbered(8)), 8, seed=3), 0
    for epoch in range(400):
        ((x, y),) = batches.epoch(epoch)
        together += int((x == y).sum())
    assert abs(together - 400) < 5 * 400**0.5  # a permutation has one fixed point on average


def test_labels_pass_through_with_their_rows():
    a, b = (numbered(9), torch.arange(9)), (numbered(5, 50), 2 * torch.arange(5), numbered(5))
    for x, y, of_x, of_y, more in as_batches(Unpaired(a, b), 4, seed=0).epoch(1):
        assert torch.equal(x[:, 0], of_x.float())
        assert torch.equal(y[:, 0], 50 + of_y / 2)
        assert torch.equal(more + 50, y)


def test_data_sets_out_of_memory_have_the_same_order():
    a, b = numbered(11), numbered(7, 50)
    memory = as_batches(Unpaired(a, b), 4, seed=5)
    outside = as_batches(Unpaired(TensorDataset(a), b), 4, seed=5)
    assert isinstance(memory, TensorBatches)
    assert not isinstance(outside, TensorBatches)
    for epoch in range(2):
        for one, other in zip(memory.epoch(epoch), outside.epoch(epoch), strict=True):
            assert all(map(torch.equal, one, other))


def test_images_are_binarised_afresh_in_both_streams():
    grey = ImageSet(torch.full((6, 1, 4, 4), 0.5)).binarize("dynamic")
    batches = as_batches(Unpaired(grey, grey), 6, seed=0)
    drawn = [part for epoch in range(2) for part in next(iter(batches.epoch(epoch)))]
    assert all(set(part.unique().tolist()) == {0, 1} for part in drawn)
    distinct = {tuple(part.flatten(1).sum(1).sort().values.tolist()) for part in drawn}
    assert len(distinct) == 4
    assert Unpaired(grey, grey).binarization == ("dynamic", "dynamic")


@pytest.mark.parametrize("make", [lambda x: Unpaired(x, x + 100), lambda x: Weighted(x, [1] * 24)])
def test_processes_share_each_batch(make):
    alone = as_batches(make(numbered(24)), 6, seed=2)
    shares = [as_batches(make(numbered(24)), 3, seed=2, world=World(r, 2)) for r in range(2)]
    for whole, *parts in zip(alone.epoch(1), *(s.epoch(1) for s in shares), strict=True):
        for side, rows in enumerate(whole):
            together = torch.cat([part[side] for part in parts])
            assert torch.equal(rows.sort(0).values, together.sort(0).values)


@random_cases
@given(st.lists(st.floats(0, 5), min_size=1, max_size=8).filter(lambda w: sum(w) > 0.01))
def test_rows_come_as_often_as_they_weigh(weights):
    repeats = 200
    batches = as_batches(Weighted(numbered(len(weights)), weights), 7, seed=0)
    rows = torch.tensor([row for e in range(repeats) for row in rows_of(batches, e, 0)])
    counts = torch.bincount(rows.long(), minlength=len(weights)).double()
    expected = torch.tensor(weights).double() / sum(weights) * len(weights) * repeats
    assert counts.sum() == len(weights) * repeats
    assert (counts[expected == 0] == 0).all()
    kept = expected > 5
    assert scipy.stats.norm.sf(((counts - expected).abs() / expected.sqrt())[kept]).min() > 1e-6


def test_weights_count_relative_to_each_other_and_in_a_single_batch():
    weights = [0.0, 1.0, 2.0, 0.0]
    one, scaled = (as_batches(Weighted(numbered(4), w), 99, 0) for w in (weights, [0, 7, 14, 0]))
    drawn = [rows_of(one, epoch, 0) for epoch in range(20)]
    assert drawn == [rows_of(scaled, epoch, 0) for epoch in range(20)]
    assert {row for rows in drawn for row in rows} == {1.0, 2.0}


def test_weights_work_inside_a_stream():
    batches = as_batches(Unpaired(Weighted(numbered(5), [0, 0, 1, 1, 0]), numbered(8)), 3, seed=0)
    assert set(rows_of(batches, 0, 0)) == {2.0, 3.0}
    assert sorted(rows_of(batches, 0, 1)) == numbered(8).flatten().tolist()


@pytest.mark.parametrize("kind", ["unpaired", "weighted"])
@pytest.mark.parametrize("stop", [3, 4, 7])
def test_a_run_goes_on_bit_for_bit(kind, stop, tmp_path):
    def data():
        if kind == "unpaired":
            return Unpaired(numbered(14), numbered(9, 50))
        return Weighted((numbered(14), numbered(14)), torch.arange(14))

    def run(model, stopping=None, **more):
        def watch(metrics):
            if metrics["step"] == stopping:
                raise KeyboardInterrupt

        options = {"epochs": 3, "batch_size": 4, "staged": False, "progress": False, **more}
        return ppl_gen.fit(model, data(), callbacks=[watch], validation=data(), **options)

    whole, parts, path = Means(), Means(), tmp_path / "run.pt"
    expected = run(whole)
    with pytest.raises(KeyboardInterrupt):
        run(parts, stop, checkpoint=path, checkpoint_every=1)
    again = Means()
    found = run(again, checkpoint=path, checkpoint_every=1, resume=True)
    assert torch.equal(again.value, whole.value)
    assert str(dict(found)) == str(dict(expected))  # NaN where a step had no validation
    assert found["val_rows"][-1] == pytest.approx((3 * 4 * 4 + 2 * 2) / 14)


def test_several_steps_a_call_see_the_same_batches(monkeypatch):
    calls, found = [], []
    monkeypatch.setattr(torch_internals, "why_not_compiled", lambda devices: None)
    monkeypatch.setattr(backends, "compiled", lambda module, _: lambda *values: module(*values))

    def take(self, batches, take=WholeCycles.take):
        calls.append(len(batches))
        return take(self, batches)

    monkeypatch.setattr(WholeCycles, "take", take)
    for steps in (1, 4):
        model, data = Means(), Unpaired(numbered(40), numbered(16))
        options = {"epochs": 3, "batch_size": 8, "progress": False, "steps_per_call": steps}
        ppl_gen.fit(model, data, staged=True, **options)
        found.append(model.value.detach())
    assert calls == [1] * 15 + [4, 1] * 3
    assert torch.equal(*found)


def test_progress_counts_the_steps_of_the_longer(capsys):
    data = Unpaired(numbered(10), numbered(25))
    ppl_gen.fit(Means(), data, epochs=2, batch_size=5, staged=False)
    assert "10/10" in capsys.readouterr().err


def test_what_cannot_be_unpaired_is_refused_before_any_training():
    def fit(data, model=None):
        ppl_gen.fit(model or Means(), data, epochs=1, staged=False, progress=False)

    x, iterable = numbered(6), torch.utils.data.DataLoader(numbered(6), batch_size=2)
    vae = ppl_gen.zoo.vae((1,), 2, hidden=8, likelihood="gaussian")
    for data, match in [
        (Unpaired(x, torch.zeros(6, 2)), r"of one shape, got \(1,\) and \(2,\)"),
        (Unpaired(TensorDataset(x), torch.zeros(6, 2)), r"one shape, got \(1,\) and \(2,\)"),
        (Unpaired(x, iterable), "with a length as Unpaired, got ones that come as they come"),
        (Unpaired({"x": x}, {"x": x}), "got a dictionary"),
        (Unpaired(x, Unpaired(x, x)), "one set of data as Unpaired, got two"),
        (Unpaired(x, x[:0]), "above zero"),
        (Unpaired(x, x / 0), "finite data, got NaN or infinity in tensor 1"),
        (Weighted(x, [1.0] * 5), "a weight for each of 6 data, got 5"),
        (Weighted(Unpaired(x, x), [1.0] * 6), "one set of data as Weighted, got two"),
        (Weighted(iterable, [1.0] * 6), "with a length as Weighted"),
    ]:
        with pytest.raises(ValueError, match=match):
            fit(data)
    with pytest.raises(ValueError, match="one set of data for this VAE, got two"):
        fit(Unpaired(x, x), vae)
    for weights, match in [
        ([-1.0, 2.0], "zero or more, not all zero, got -1 to 2"),
        ([0.0, 0.0], "not all zero, got 0 to 0"),
        ([1.0, float("nan")], "finite weights"),
        ([1.0, float("inf")], "finite weights"),
        ([[1.0, 2.0]], r"shape \(N,\), got \(1, 2\)"),
        ([], r"shape \(N,\), got \(0,\)"),
        ("heavy", "expected numbers"),
    ]:
        with pytest.raises(ValueError, match=match):
            Weighted(x, weights)
    for data in (Unpaired(x, x), Weighted(x, [1.0] * 6)):
        with pytest.raises(ValueError, match=r"pass the data themselves|one set of data"):
            ppl_gen.embed(vae, data)
