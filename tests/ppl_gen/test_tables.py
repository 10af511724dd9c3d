"""Tables: columns of several kinds, missing cells, and what is accepted as data."""

import math

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pyro.infer import SVI, Trace_ELBO
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import ppl_gen
from ppl_gen import metrics, zoo
from ppl_gen.data.tensors import as_tensor, encode_labels
from ppl_gen.likelihoods import Bernoulli, Gaussian, Masked, Mixed

QUIET = {"staged": False, "progress": False}
KINDS = ("gaussian", "bernoulli", 4)
VARIATIONAL = [n for n, entry in zoo.registry.items() if entry.family == "variational"]
pytestmark = pytest.mark.usefixtures("fresh_store")


def rows(n=24, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 3, generator=generator)
    x[:, 1] = (x[:, 1] > 0).float()
    x[:, 2] = torch.randint(4, (n,), generator=generator).float()
    x[torch.rand(n, 3, generator=generator) < 0.3] = math.nan
    return x


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.lists(st.sampled_from([*KINDS, 2]), min_size=1, max_size=5))
def test_a_row_scores_as_the_sum_over_its_known_cells(seed, kinds):
    torch.manual_seed(seed)
    likelihood = Masked(Mixed(kinds))
    likelihood.serve((len(kinds),))
    (width,) = likelihood.output_shape((len(kinds),))
    parameters = torch.randn(2, 5, width)
    x = torch.stack([torch.randint(2, (5,)).float() for _ in kinds], 1)
    x[torch.rand_like(x) < 0.4] = math.nan
    found = likelihood(parameters).log_prob(x)
    expected = torch.zeros(2, 5)
    for k, b in np.ndindex(2, 5):
        at = 0
        for kind, value in zip(kinds, x[b], strict=True):
            size = kind if isinstance(kind, int) else 1
            part, at = parameters[k, b, at : at + size], at + size
            if value.isnan():
                continue
            law = dist.Categorical(logits=part)
            if kind == "gaussian":
                law = dist.Normal(part[0], 1.0)
            elif kind == "bernoulli":
                law = dist.Bernoulli(logits=part[0])
            expected[k, b] += law.log_prob(value)
    torch.testing.assert_close(found, expected)


def linear(show_mask, noise=0.7):
    """x = W z + b + noise e for six columns, with an encoder of what is known."""
    generator = torch.Generator().manual_seed(3)
    width = 12 if show_mask else 6
    model = zoo.vae(
        (6,),
        2,
        encoder=nn.Linear(width, 4),
        decoder=nn.Linear(2, 6),
        likelihood=Masked(Gaussian(noise), show_mask),
    ).double()
    encoder = model.latents[0].encoder.network
    with torch.no_grad():
        encoder.weight.mul_(0.1)  # nearly the prior, but wider: a proposal that covers posteriors
        encoder.bias.copy_(torch.tensor([0.0, 0.0, 1.0, 1.0]))
        model.decoder.weight.copy_(torch.randn(6, 2, generator=generator))
        model.decoder.bias.copy_(torch.randn(6, generator=generator))
    return model


def exact_evidence(model, x):
    """log N(x_known; b, W Wᵀ + s² I), restricted to the known columns of every row."""
    weight, bias = model.decoder.weight, model.decoder.bias
    covariance = weight @ weight.T + model.likelihood.complete.scale**2 * torch.eye(6).double()
    found = []
    for row in x:
        known = ~row.isnan()
        law = torch.distributions.MultivariateNormal(bias[known], covariance[known][:, known])
        found.append(law.log_prob(row[known]))
    return torch.stack(found).detach()


@pytest.mark.parametrize("show_mask", [False, True])
def test_the_bound_with_missing_cells_tends_to_the_exact_evidence(show_mask):
    torch.manual_seed(0)
    model = linear(show_mask)
    x = torch.randn(12, 6, dtype=torch.float64)
    x[torch.rand_like(x) < 0.4] = math.nan
    x[0, :] = torch.tensor([0.3, *[math.nan] * 5])
    exact = exact_evidence(model, x)
    bound = metrics.log_likelihood(model, x, 40_000)
    torch.testing.assert_close(bound, exact, atol=0.12, rtol=0)
    assert metrics.elbo_terms(model, x, num_samples=50).elbo < exact.mean()


def test_an_exact_encoder_makes_the_bound_exact():
    model = linear(True)
    row = torch.tensor([[0.3, math.nan, -1.0, math.nan, 0.5, 2.0]], dtype=torch.float64)
    known = ~row[0].isnan()
    weight, noise = model.decoder.weight[known].detach(), model.likelihood.complete.scale.item()
    covariance = torch.linalg.inv(torch.eye(2) + weight.T @ weight / noise**2)
    mean = covariance @ weight.T @ (row[0, known] - model.decoder.bias[known].detach()) / noise**2
    z = mean + torch.linalg.cholesky(covariance) @ torch.randn(2, dtype=torch.float64)
    posterior = torch.distributions.MultivariateNormal(mean, covariance).log_prob(z)
    prior = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum()
    joint = model.decode(z[None]).log_prob(row) + prior
    torch.testing.assert_close((joint - posterior).detach(), exact_evidence(model, row))


def test_missing_cells_have_no_gradient_and_do_not_reach_the_encoder():
    model = zoo.vae((3,), 2, hidden=8, likelihood=KINDS)
    x = rows()
    output = torch.randn(len(x), 6, requires_grad=True)
    model.likelihood(output).log_prob(x).sum().backward()
    assert output.grad.isfinite().all()
    assert (output.grad[:, 0][x[:, 0].isnan()] == 0).all()
    assert (output.grad[:, 2:][x[:, 2].isnan()] == 0).all()
    seen = model.likelihood.features(x)
    assert seen.shape == (len(x), 6 + 3)
    assert torch.equal(seen[:, -3:], (~x.isnan()).float())
    assert (seen[:, 0][x[:, 0].isnan()] == 0).all()
    assert torch.equal(seen[:, 2:6].sum(1), (~x[:, 2].isnan()).float())


@pytest.mark.parametrize("name", VARIATIONAL)
def test_every_model_takes_tables(name):
    torch.manual_seed(0)
    model = zoo.registry[name].build((3,), 2, hidden=8, likelihood=KINDS)
    x = rows()
    y = torch.arange(len(x)) % model.num_classes if model.num_classes else None
    data = x if y is None else (x, y)
    history = ppl_gen.fit(model, data, epochs=2, batch_size=10, **QUIET)
    assert all(map(math.isfinite, history["loss"]))
    assert ppl_gen.embed(model, data).shape[0] == len(x)
    drawn = model.sample(5, None if y is None else y[:5])
    assert drawn.shape == (5, 3)
    assert set(drawn[:, 2].tolist()) <= {0.0, 1.0, 2.0, 3.0}
    with pyro.validation_enabled(True):
        svi = SVI(model.model, model.guide, pyro.optim.Adam({"lr": 1e-2}), Trace_ELBO())
        assert math.isfinite(svi.step(*(data if isinstance(data, tuple) else (data,))))


def test_images_may_have_missing_pixels():
    x = torch.rand(6, 1, 8, 8)
    x[:, :, :2] = math.nan
    for network in ("mlp", "conv"):
        model = zoo.vae((1, 8, 8), 2, hidden=8, network=network, likelihood=Masked("bernoulli"))
        assert math.isfinite(ppl_gen.fit(model, x, epochs=1, **QUIET)["loss"][-1])
    with pytest.raises(ValueError, match=r"without NaN.*likelihoods\.Masked"):
        ppl_gen.fit(zoo.vae((1, 8, 8), 2, hidden=8), x, epochs=1, **QUIET)


@pytest.mark.parametrize(
    ("likelihood", "row", "match"),
    [
        (KINDS, [0.0, 0.5, 1.0], "0 or 1 in column 1, got 0.5"),
        (KINDS, [0.0, 1.0, 4.0], "codes from 0 to 3 in column 2, got 4"),
        (KINDS, [math.inf, 1.0, 1.0], "without NaN or infinity"),
        (KINDS[:2], [0.0, 1.0, 1.0], r"shape \(2,\), one value a column, got \(3,\)"),
        (("gaussian", 1, 2), [0.0, 0.0, 0.0], "number of categories from two"),
        (Gaussian(), [math.nan, 0.0, 0.0], "Masked takes NaN for missing"),
    ],
)
def test_cells_out_of_range_are_refused(likelihood, row, match):
    with pytest.raises(ValueError, match=match):
        ppl_gen.fit(zoo.vae((3,), 2, hidden=4, likelihood=likelihood), [row], **QUIET)


def test_one_likelihood_serves_data_of_one_number_of_dimensions():
    likelihood = Bernoulli()
    zoo.vae((1, 4, 4), 2, hidden=4, likelihood=likelihood)
    with pytest.raises(ValueError, match="a likelihood of its own"):
        zoo.vae((4,), 2, hidden=4, likelihood=likelihood)
    with pytest.raises(ValueError, match=r"images \(C, H, W\) for convolutions"):
        zoo.vae((4,), 2, network="conv")


SAME = torch.tensor([[0.5, 1.0], [math.nan, 0.0], [2.0, 1.0]])
FORMS = {
    "array": lambda: SAME.double().numpy(),
    "frame": lambda: pd.DataFrame({"a": [0.5, None, 2.0], "b": [True, False, True]}),
    "nullable": lambda: pd.DataFrame({"a": pd.array([0.5, pd.NA, 2], "Float64"), "b": [1, 0, 1]}),
    "list": lambda: [[0.5, 1], [None, 0], [2.0, 1]],
    "dictionary": lambda: {"x": SAME},
    "Dataset": lambda: TensorDataset(SAME.double()),
    "DataLoader": lambda: DataLoader(TensorDataset(SAME.double()), batch_size=3),
    "dictionary loader": lambda: DataLoader([{"x": row.double()} for row in SAME], batch_size=3),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_table_gives_the_same_codes_and_training(form):
    def build():
        torch.manual_seed(0)
        return zoo.vae((2,), 1, hidden=4, likelihood=("gaussian", "bernoulli"))

    expected, found = build(), build()
    np.testing.assert_array_equal(ppl_gen.embed(found, FORMS[form]()), expected.code(SAME).numpy())
    options = {"epochs": 2, "batch_size": 3, **QUIET}
    one = ppl_gen.fit(expected, SAME, **options)["loss"]
    other = ppl_gen.fit(found, FORMS[form](), **options)["loss"]
    if "oader" in form or form == "Dataset":  # which draw from the generator themselves
        assert all(map(math.isfinite, other))
    else:
        assert other == pytest.approx(one, rel=1e-5)
    terms = metrics.elbo_terms(found, FORMS[form](), num_samples=2)
    assert terms.elbo == pytest.approx(metrics.elbo_terms(found, SAME, num_samples=2).elbo)


def test_text_labels_keep_their_names(tmp_path):
    x = torch.randn(6, 2)
    model = zoo.conditional_vae((2,), 1, num_classes=2, hidden=4, likelihood="gaussian")
    names = pd.Series(["dog", "cat"] * 3)
    ppl_gen.fit(model, (x, names), epochs=1, **QUIET)
    assert model.classes == ("cat", "dog")
    codes = torch.tensor([1, 0])
    assert torch.equal(model.sample(2, ["dog", "cat"], seed=0), model.sample(2, codes, seed=0))
    ppl_gen.save(model, tmp_path / "model.pt")
    assert ppl_gen.load(tmp_path / "model.pt").classes == ("cat", "dog")
    for bad, match in [
        (["bird"] * 6, "labels among cat, dog, got 'bird'"),
        (np.arange(6.0), r"whole labels of shape \(B,\), got torch.float64 of shape \(6,\)"),
    ]:
        with pytest.raises(ValueError, match=match) as error:
            ppl_gen.fit(model, (x, bad), epochs=1, **QUIET)
        assert "\n" not in str(error.value)
    images = ppl_gen.data.images(np.zeros((2, 4, 4)), labels=["b", "a"])
    assert images.classes == ("a", "b")
    assert images.labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("data", "match"),
    [
        ("table.csv", "tensor, array, frame or list .* got str"),
        (pd.DataFrame({"a": ["x", "y"]}), "numbers in every column, 'a' has others"),
        (np.array(["a", "b"]), "expected numbers, got text, 'a' say"),
        ([[1.0], [1.0, 2.0]], "rows of one length"),
        (np.zeros((2, 2), complex), "real numbers, got complex128"),
        (pd.Timestamp("2020-01-01"), "got Timestamp"),
        ({"image": torch.zeros(2, 2)}, "keys x, y .* got image"),
        ([], "one common length above zero"),
    ],
)
def test_what_is_no_data_is_refused_in_one_sentence(data, match):
    with pytest.raises(ValueError, match=match) as error:
        ppl_gen.fit(zoo.vae((2,), 1, hidden=4, likelihood="gaussian"), data, **QUIET)
    assert "\n" not in str(error.value)


def test_conditions_are_labels_covariates_or_both():
    torch.manual_seed(0)
    x, c, names = torch.randn(6, 2), np.random.default_rng(0).normal(size=(6, 2)), ["a", "b"] * 3
    only = zoo.conditional_vae((2,), 1, num_covariates=2, hidden=4, likelihood="gaussian")
    ppl_gen.fit(only, (x, c), epochs=1, **QUIET)
    assert not torch.equal(only.code(x, c), only.code(x, c + 1))
    both = zoo.conditional_vae(
        (2,), 1, num_classes=2, num_covariates=2, hidden=4, likelihood="gaussian"
    )
    ppl_gen.fit(both, (x, names, c), epochs=1, **QUIET)
    tensor = both.condition_of((names, c))
    assert torch.equal(tensor[:, :2], torch.eye(2)[[0, 1] * 3].to(tensor))
    assert torch.equal(both.code(x, (names, c)), both.code(x, tensor))
    assert math.isfinite(metrics.elbo_terms(both, (x, names, c)).elbo)
    assert both.sample(2, (["b", "a"], [[0, 1], [2.0, 3]])).shape == (2, 2)
    for bad, match in [
        (None, "pair of labels and covariates"),
        (c, "a pair of labels and covariates, got ndarray"),
        ((names, c[:, :1]), r"covariates of shape \(6, 2\), got \(6, 1\)"),
        ((names, c * np.nan), "finite covariates"),
        ((torch.full((6,), 2), c), "labels from 0 to 1, got 2 to 2"),
    ]:
        with pytest.raises(ValueError, match=match):
            both.code(x, bad)


def test_a_pair_is_given_dictionaries_by_name():
    def model(targets, features):
        w = pyro.sample("w", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        with pyro.plate("data", len(features)):
            pyro.sample("y", dist.Normal(features @ w, 1.0), obs=targets)

    guide = pyro.infer.autoguide.AutoDelta(model)
    x, y = torch.randn(20, 2), torch.randn(20)
    data = {"features": x, "targets": y}
    for form in (data, DataLoader([{k: v[i] for k, v in data.items()} for i in range(20)], 20)):
        pyro.clear_param_store()
        pair = ppl_gen.Pair(model, guide, Trace_ELBO())
        ppl_gen.fit(pair, form, epochs=400, batch_size=20, lr=0.05, **QUIET)
        exact = torch.linalg.solve(x.T @ x + torch.eye(2), x.T @ y)
        torch.testing.assert_close(guide(targets=y, features=x)["w"], exact, atol=1e-3, rtol=0)


def test_a_short_last_batch_can_be_left_out():
    x = torch.randn(10, 2)
    for form in (x, TensorDataset(x)):
        model = zoo.vae((2,), 1, hidden=4, likelihood="gaussian")
        options = {"epochs": 2, "batch_size": 4, **QUIET}
        assert ppl_gen.fit(model, form, drop_last=True, **options).steps == 4
        assert ppl_gen.fit(model, form, **options).steps == 6
        with pytest.raises(ValueError, match="with drop_last the batch must be full"):
            ppl_gen.fit(model, form, drop_last=True, batch_size=11, **QUIET)
    with pytest.raises(ValueError, match="drop_last of the DataLoader itself"):
        ppl_gen.fit(model, DataLoader(TensorDataset(x), 4), drop_last=True, **QUIET)


def test_a_loaders_generator_counts_beside_the_seed_and_is_left_alone():
    x = torch.randn(12, 2)

    def losses(own, seed):
        torch.manual_seed(0)
        model = zoo.vae((2,), 1, hidden=4, likelihood="gaussian")
        generator = torch.Generator().manual_seed(own)
        loader = DataLoader(TensorDataset(x), 4, shuffle=True, generator=generator)
        state = generator.get_state()
        found = [ppl_gen.fit(model, loader, epochs=1, seed=seed, **QUIET)["loss"]]
        assert torch.equal(generator.get_state(), state)
        return found

    assert losses(1, 0) == losses(1, 0)
    assert losses(1, 0) != losses(2, 0)


class Noisy(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 2)
        )

    def forward(self, x):
        return self.layers(x)


def test_encoding_after_training_is_in_evaluation_mode_and_changes_nothing():
    x = torch.randn(20, 2)
    model = zoo.vae((2,), 1, encoder=Noisy(), hidden=4, likelihood="gaussian")
    ppl_gen.fit(model, x, epochs=2, **QUIET)
    model.train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    one, other = model.encode(x).mean, model.encode(x).mean
    assert torch.equal(one, other)
    assert torch.equal(one, model.code(x))
    assert one.requires_grad
    np.testing.assert_array_equal(
        ppl_gen.embed(model, x, batch_size=7).round(5), model.code(x).numpy().round(5)
    )
    assert torch.equal(model.decode(one).mean, model.reconstruct(x))
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert model.training
    with pytest.raises(ValueError, match="one that shuffles"):
        ppl_gen.embed(model, DataLoader(TensorDataset(x), 4, shuffle=True))


def test_numbers_and_names_in_other_containers():
    assert as_tensor(pd.Series([1, 2])).dtype == torch.int64
    assert as_tensor(pd.Series([0.5])).dtype == torch.float32
    assert as_tensor(np.arange(4.0)[::-2]).tolist() == [3.0, 1.0]
    categories = pd.Categorical(["b", None], categories=["c", "b"])
    assert encode_labels(pd.Series(categories))[0].tolist() == [1, -1]
    assert encode_labels(pd.Series(categories))[1] == ("c", "b")


def test_masked_cells_are_missing_and_never_read():
    cells = np.ma.masked_array([[1.0, 2.0], [1e9, 4.0]], mask=[[0, 0], [1, 0]])
    assert torch.equal(as_tensor(cells).isnan(), torch.tensor([[False, False], [True, False]]))
    whole = np.ma.masked_array([1, 2], mask=[0, 1])
    assert as_tensor(whole).isnan().tolist() == [False, True]
    assert as_tensor(whole[:1]).dtype == torch.int64
    assert as_tensor([np.ma.masked_array([1.0, 9.0], [0, 1])]).isnan().tolist() == [[False, True]]
    model = zoo.conditional_vae((2,), 1, num_classes=2, hidden=4, likelihood="gaussian")
    with pytest.raises(ValueError, match="whole labels"):
        ppl_gen.fit(model, (np.zeros((2, 2)), whole), **QUIET)
    partly = zoo.ssvae((2,), 1, num_classes=3, hidden=4, likelihood="gaussian")
    assert partly.condition_of(whole).tolist() == [1, -1]
    with pytest.raises(ValueError, match="known pixels, got a masked array"):
        ppl_gen.data.images(np.ma.masked_array(np.zeros((1, 2, 2)), np.eye(2)[None]))


def test_sparse_tensors_are_dense_ones_and_nested_ones_are_refused():
    dense = torch.eye(3)
    assert torch.equal(as_tensor(dense.to_sparse()), dense)
    model = zoo.vae((3,), 1, hidden=4, likelihood="gaussian")
    assert torch.equal(torch.tensor(ppl_gen.embed(model, dense.to_sparse())), model.code(dense))
    nested = torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)], layout=torch.jagged)
    with pytest.raises(ValueError, match="rows of one shape, got a nested tensor"):
        as_tensor(nested)


@pytest.mark.parametrize("kind", ["loader", "Dataset"])
def test_text_labels_in_batches_stand_for_classes_that_are_known(kind):
    rows = [(np.full(2, i / 8), "cat" if i % 2 else "dog") for i in range(8)]
    data = DataLoader(rows, batch_size=4) if kind == "loader" else rows_of(rows)
    options = {"num_classes": 2, "hidden": 4, "likelihood": "gaussian"}
    model = zoo.conditional_vae((2,), 1, classes=("cat", "dog"), **options)
    ppl_gen.fit(model, data, epochs=1, **QUIET)
    names, x = [name for _, name in rows], np.stack([x for x, _ in rows])
    np.testing.assert_array_equal(ppl_gen.embed(model, data), model.code(x, names).numpy())
    with pytest.raises(ValueError, match="no names of classes are known"):
        ppl_gen.fit(zoo.conditional_vae((2,), 1, **options), data, epochs=1, **QUIET)


def rows_of(rows):
    class Rows(Dataset):
        def __len__(self):
            return len(rows)

        def __getitem__(self, index):
            return rows[index]

    return Rows()
