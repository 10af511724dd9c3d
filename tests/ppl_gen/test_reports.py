"""What users write at first, and what they are told."""

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoNormal
from torch.utils.data import DataLoader, TensorDataset

import ppl_gen
from ppl_gen import zoo

pytestmark = pytest.mark.usefixtures("fresh_store")
QUIET = {"staged": False, "progress": False, "epochs": 1}
X = torch.linspace(-1, 1, 12).reshape(6, 2)
SMALL = {"hidden": 4, "likelihood": "gaussian"}
NAMES = ["dog", "cat", "cat", "dog", "dog", "cat"]
CODES = torch.tensor([1, 0, 0, 1, 1, 0])


def conditional(**options):
    return zoo.conditional_vae((2,), 1, num_classes=2, **SMALL, **options)


@pytest.mark.parametrize(
    "labels",
    [
        pd.DataFrame({"kind": NAMES}),
        pd.DataFrame({"kind": pd.Categorical(NAMES)}),
        pd.DataFrame({"kind": CODES.numpy()}),
        np.array(NAMES)[:, None],
        np.array(NAMES, dtype=object)[:, None],
        CODES.numpy()[:, None],
    ],
)
def test_labels_may_be_one_column_of_a_frame_or_array(labels):
    model, twin = conditional(), conditional()
    twin.load_state_dict(model.state_dict())
    ppl_gen.fit(model, (X, labels), **QUIET)
    ppl_gen.fit(twin, (X, CODES), **QUIET)
    for own, other in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(own, other)
    assert model.classes in (None, ("cat", "dog"))
    np.testing.assert_array_equal(ppl_gen.embed(model, X, labels), model.code(X, CODES).numpy())
    assert ppl_gen.data.images(np.zeros((6, 2, 2)), labels=labels).labels.tolist() == CODES.tolist()


@pytest.mark.parametrize(
    "labels", [pd.DataFrame({"a": NAMES, "b": NAMES}), np.array([NAMES, NAMES]).T]
)
def test_several_columns_are_no_labels(labels):
    with pytest.raises(ValueError, match=r"expected one column of labels, got .*shape \(6, 2\)"):
        ppl_gen.fit(conditional(), (X, labels), **QUIET)


@pytest.mark.parametrize(
    "form", [tuple, TensorDataset, lambda parts: DataLoader(list(zip(*parts, strict=True)))]
)
def test_what_a_vae_would_never_see_is_refused(form):
    def data(*parts):
        return (
            parts if form is tuple else form(parts) if form is not TensorDataset else form(*parts)
        )

    plain, labelled = zoo.vae((2,), 1, **SMALL), conditional()
    both = conditional(num_covariates=2)
    ppl_gen.fit(plain, data(X, CODES), **QUIET)
    ppl_gen.fit(both, data(X, CODES, X), **QUIET)
    for model, parts in [
        (plain, (X, CODES, X)),
        (labelled, (X, CODES, X)),
        (both, (X, CODES, X, X)),
    ]:
        with pytest.raises(ValueError, match=f"at most, got {len(parts)} parts"):
            ppl_gen.fit(model, data(*parts), **QUIET)


class Held:
    """A program that holds its own data."""

    def model(self):
        mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
        with pyro.plate("data", 6):
            pyro.sample("y", dist.Normal(mean, 1.0), obs=X[:, 0])

    def guide(self):
        pyro.sample("mean", dist.Normal(pyro.param("loc", torch.tensor(0.0)), 1.0))


@pytest.mark.parametrize("data", [X, (X,), (X, X), {"x": X}])
def test_programs_that_hold_their_data_are_told_to_take_them(data):
    program, count = Held(), len(pyro.get_param_store())
    for guide in (program.guide, AutoNormal(program.model)):
        with pytest.raises(ValueError, match=r"takes the tensors of a batch.*become its arguments"):
            ppl_gen.fit(ppl_gen.Pair(program.model, guide), data, **QUIET)
    with pytest.raises(ValueError, match="expected data, got none: programs are given them"):
        ppl_gen.fit(ppl_gen.Pair(program.model, program.guide), (), **QUIET)
    assert len(pyro.get_param_store()) == count


def test_a_guide_that_takes_other_arguments_is_named():
    with pytest.raises(
        ValueError, match=r"expected a guide that takes .*, 1 by position, got .*\(\)"
    ):
        ppl_gen.fit(ppl_gen.Pair(lambda x: None, Held().guide), X, **QUIET)


def test_a_refused_minibatch_says_how_to_write_the_plate():
    def model(y, size=None):
        mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
        with pyro.plate("data", size or len(y), subsample_size=len(y)):
            pyro.sample("y", dist.Normal(mean, 1.0), obs=y)

    with pytest.raises(ValueError, match=r"size=N, subsample_size=len\(batch\)\), around 'y'"):
        ppl_gen.fit(ppl_gen.Pair(model, AutoNormal(model)), X[:, 0], batch_size=2, **QUIET)

    def scaled(y):
        model(y, size=6)

    history = ppl_gen.fit(ppl_gen.Pair(scaled, AutoNormal(scaled)), X[:, 0], batch_size=2, **QUIET)
    assert history.steps == 3


def test_regression_with_a_network_is_fitted_in_minibatches():
    network = torch.nn.Linear(2, 1)
    y = X @ torch.tensor([2.0, -1.0]) + 0.5

    def model(x, y):
        pyro.module("network", network)
        with pyro.plate("data", len(y)):
            pyro.sample("y", dist.Normal(network(x).squeeze(-1), 1.0), obs=y)

    pair = ppl_gen.Pair(model, lambda x, y: None)
    ppl_gen.fit(pair, (X, y), batch_size=3, lr=0.05, **{**QUIET, "epochs": 400})
    torch.testing.assert_close(network(X).squeeze(-1).detach(), y, atol=1e-2, rtol=0)
