"""Metrics of data that come in batches: the values of the same data in memory, to the bit."""

import weakref

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import ppl_gen
from ppl_gen import metrics, zoo
from ppl_gen.data.batches import regrouped

N = 613
X, Y = torch.rand(N, 1, 4, 4), torch.arange(N) % 3


class Rows(IterableDataset):
    def __iter__(self):
        return iter(zip(X, Y, strict=True))


FORMS = {
    "Dataset": lambda: TensorDataset(X, Y),
    "DataLoader": lambda: DataLoader(TensorDataset(X, Y), batch_size=77),
    "workers": lambda: DataLoader(TensorDataset(X, Y), batch_size=77, num_workers=1),
    "stream": Rows,
    "loader of a stream": lambda: DataLoader(Rows(), batch_size=501),
    "loader of images": lambda: DataLoader(ppl_gen.data.images(X.numpy(), labels=Y), batch_size=9),
    "dictionary": lambda: {"x": X, "y": Y},
    "dictionaries": lambda: DataLoader(
        [{"x": x, "y": y} for x, y in zip(X, Y, strict=True)], batch_size=100
    ),
}
MEASURES = {
    "elbo_terms": lambda vae, *data: metrics.elbo_terms(vae, *data),
    "samples": lambda vae, *data: metrics.elbo_terms(vae, *data, num_samples=3, batch_size=64),
    "log_likelihood": lambda vae, *data: metrics.log_likelihood(vae, *data[:1], 4, *data[1:]),
    "rate_distortion": lambda vae, *data: metrics.rate_distortion(vae, *data),
    "active_units": lambda vae, *data: metrics.active_units(vae, *data, threshold=1e-4),
    "sparsity": lambda vae, *data: metrics.sparsity(vae, *data),
    "encode": lambda vae, *data: vae.encode(*data).mean.detach(),
    "code": lambda vae, *data: vae.code(*data),
    "reconstruct": lambda vae, *data: vae.reconstruct(*data),
}


@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
def test_measures_are_those_of_the_data_in_memory(measure, labelled):
    build, given = (zoo.conditional_vae, (X, Y)) if labelled else (zoo.vae, (X,))
    vae = build((1, 4, 4), 2, hidden=8, **({"num_classes": 3} if labelled else {}))
    expected = measure(vae, *given)
    for name, make in FORMS.items():
        state = torch.get_rng_state()
        found = measure(vae, make())
        assert torch.equal(torch.get_rng_state(), state), name
        if isinstance(expected, torch.Tensor):
            assert torch.equal(found, expected), name
        else:
            assert found == expected, name


def test_codebook_usage_of_a_stream_is_that_of_its_data():
    vae = zoo.vq_vae((1, 4, 4), 2, num_codes=5, hidden=8)
    found = metrics.codebook_usage(vae, DataLoader(TensorDataset(X), batch_size=50))
    assert torch.equal(found.counts, metrics.codebook_usage(vae, X).counts)


class Counted(Dataset):
    """Images that exist once they are asked for; knows how many do at once."""

    def __init__(self):
        self.alive, self.most = 0, 0

    def __len__(self):
        return 4000

    def __getitem__(self, index):
        image = torch.full((1, 4, 4), index / 4000)
        self.alive += 1
        self.most = max(self.most, self.alive)
        weakref.finalize(image, self._gone)
        return image

    def _gone(self):
        self.alive -= 1


@pytest.mark.parametrize(
    "name", ["elbo_terms", "log_likelihood", "rate_distortion", "active_units", "sparsity"]
)
def test_no_more_than_a_batch_or_two_is_in_memory(name):
    data = Counted()
    together = []

    def collate(images):
        batch = torch.stack(images)
        together.append(weakref.ref(batch))
        return batch

    loader = DataLoader(data, batch_size=100, collate_fn=collate)
    most = 0

    class Watched(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(16, 4)

        def forward(self, x):
            nonlocal most
            most = max(most, sum(100 for batch in together if batch() is not None))
            return self.layer(x.flatten(-3))

    vae = zoo.vae((1, 4, 4), 2, encoder=Watched(), hidden=8)
    MEASURES[name](vae, loader)
    assert len(together) == 40
    assert 0 < most <= 1000
    assert data.most <= 200


class Augmented(Dataset):
    def __len__(self):
        return 300

    def __getitem__(self, index):
        return (X[index] + 0.1 * torch.rand(())).clamp(0, 1)


def test_data_that_draw_are_drawn_from_the_seed_and_leave_the_models_draws_alone():
    vae = zoo.vae((1, 4, 4), 2, hidden=8)
    once, again, other = (metrics.elbo_terms(vae, Augmented(), seed=s) for s in (0, 0, 1))
    assert once == again
    assert once != other

    class Wasteful(TensorDataset):
        def __getitem__(self, index):
            torch.rand(3)
            return super().__getitem__(index)

    assert metrics.elbo_terms(vae, Wasteful(X)) == metrics.elbo_terms(vae, X)


def test_binary_pixels_are_told_wherever_they_come_from():
    vae, binary = zoo.vae((1, 4, 4), 2, hidden=8), X.round()
    assert metrics.elbo_terms(vae, TensorDataset(binary)).binarization == "binary pixels"
    assert metrics.elbo_terms(vae, TensorDataset(X)).binarization == "grey pixels"
    drawn = ppl_gen.data.images(X.numpy(), binarize="dynamic")
    found = metrics.rate_distortion(vae, DataLoader(drawn, batch_size=100))
    assert found.binarization == "dynamic binarization"


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (DataLoader(TensorDataset(X), shuffle=True), "one that shuffles"),
        (DataLoader([], batch_size=2), "expected data, got none"),
        (TensorDataset(X[:, :, :3]), r"shape \(B, 1, 4, 4\)"),
        (DataLoader(TensorDataset(2 * X), batch_size=50), r"in \[0, 1\]"),
    ],
)
@pytest.mark.parametrize("name", MEASURES)
def test_data_that_do_not_fit_are_refused(name, data, match):
    with pytest.raises(ValueError, match=match):
        MEASURES[name](zoo.vae((1, 4, 4), 2, hidden=8), data)


def test_labels_in_a_stream_are_looked_at():
    vae = zoo.conditional_vae((1, 4, 4), 2, hidden=8, num_classes=2)
    for data, match in ([(X, Y), "labels from 0 to 1"], [(X,), "got none"]):
        with pytest.raises(ValueError, match=match):
            metrics.elbo_terms(vae, TensorDataset(*data))


@pytest.mark.parametrize("size", [1, 4, 5, 12, 13, 100])
def test_regrouping_keeps_every_row_in_its_place(size):
    parts = [torch.arange(13), torch.arange(13, 15), torch.arange(15, 15), torch.arange(15, 27)]
    found = [rows for (rows,) in regrouped(((part,) for part in parts), size)]
    assert torch.cat(found).tolist() == list(range(27))
    assert [len(rows) for rows in found[:-1]] == [size] * (len(found) - 1)
    assert 0 < len(found[-1]) <= size
