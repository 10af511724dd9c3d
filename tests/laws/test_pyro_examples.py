"""Examples of Pyro's repository: ``fit`` makes of them what stock Pyro makes, or refuses them."""

import pyro_examples_discrete  # noqa: F401
import pyro_examples_hierarchy  # noqa: F401
import pyro_examples_networks  # noqa: F401
import pyro_examples_regression  # noqa: F401
import pyro_examples_series  # noqa: F401
import pytest
import torch
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from pyro_examples import EXAMPLES, Example, fitted, prepared, train, train_stock
from torch.testing import assert_close

from ppl_gen.objectives import ELBO

pytestmark = pytest.mark.usefixtures("fresh_store")
STEPS = 6
ENUMERATED = (
    "gaussian_mixture",
    "hidden_markov_model",
    "capture_recapture",
    "mixed_effects_with_discrete_groups",
    "topics_enumerated",
    "unlabelled_vae_enumerated",
)
SCORED = ("dirichlet_mixture_truncated", "attend_infer_repeat", "unlabelled_vae_sampled")
OURS = [name for name in EXAMPLES if name not in ENUMERATED]
PATHWISE = [name for name in OURS if name not in SCORED]


def epochs(found: Example) -> int:
    """How many it takes to see :data:`STEPS` steps, and one that starts an epoch."""
    return 2 if len(found.data[0]) > found.rows() else STEPS


def both(name, ours, stock):
    """The losses of every step, ours and those of stock Pyro."""
    found = prepared(name)
    losses = train(found, ours, epochs=epochs(found), staged=False)
    found = prepared(name)
    return torch.tensor(losses), torch.tensor(train_stock(found, stock, epochs(found)))


def has_closed_forms(name):
    found = prepared(name)
    first = tuple(tensor[: found.rows()] for tensor in found.data)
    return bool(ELBO().runner(found.model, found.guide, first, {})().kl)


def test_the_lists_say_what_the_examples_are():
    built = {name: EXAMPLES[name]() for name in EXAMPLES}
    assert {name for name, found in built.items() if found.objective} == set(ENUMERATED)
    assert {name for name, found in built.items() if found.scored} == set(SCORED)


@pytest.mark.parametrize("name", OURS)
def test_every_step_without_closed_forms_is_that_of_stock_pyro(name):
    ours, stock = both(name, ELBO(kl="sampled"), Trace_ELBO())
    assert len(ours) >= STEPS - 2
    assert_close(ours, stock, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", PATHWISE)
def test_every_step_of_the_default_is_that_of_stock_pyro(name):
    stock = TraceMeanField_ELBO() if has_closed_forms(name) else Trace_ELBO()
    assert_close(*both(name, None, stock), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", SCORED)
def test_the_default_has_the_expectation_of_stock_pyro(name):
    found = prepared(name)
    differences = []
    for seed in range(60):
        torch.manual_seed(seed)
        ours = ELBO().loss(found.model, found.guide, *found.data)
        torch.manual_seed(seed)
        differences.append(ours - Trace_ELBO().loss(found.model, found.guide, *found.data))
    error = torch.tensor(differences).std() / 60**0.5
    assert abs(sum(differences) / 60) < 4 * error + 1e-4 * abs(ours)


@pytest.mark.parametrize("name", ENUMERATED)
def test_enumeration_is_left_to_the_objective_that_does_it(name):
    stock = EXAMPLES[name]().objective
    assert_close(*both(name, stock(), stock()), rtol=1e-4, atol=1e-4)
    found = prepared(name)
    with pytest.raises(ValueError, match=r"no site to be enumerated.*TraceEnum_ELBO"):
        train(found, epochs=1, staged=False)


def test_enumerated_chains_have_the_evidence_of_the_forward_algorithm():
    found = prepared("hidden_markov_model")
    train(found, found.stock(), epochs=30, lr=0.05, staged=False)
    loss, moments = fitted(found, draws=1)
    assert abs(loss - found.evidence()) < 1e-4
    assert moments["loc 0"][0] > -0.3  # from -0.5, towards 0


@pytest.mark.parametrize("name", ["coin_flips", "censored_survival"])
def test_the_default_finds_a_posterior_that_its_guide_contains(name):
    found = prepared(name)
    train(found, epochs=500, lr=0.1, decay=True, staged=False)
    loss, moments = fitted(found, draws=500)
    for report, (mean, spread) in found.exact().items():
        assert abs(moments[report][0] - mean) < 0.25 * spread
        assert abs(moments[report][1] / spread - 1) < 0.25
    if found.evidence is not None:
        assert 0 < loss - found.evidence() < 0.01
