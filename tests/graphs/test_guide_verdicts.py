"""What mean field cannot say about models that people build, each verdict reasoned by hand."""

from contextlib import ExitStack

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.poutine.util import site_is_subsample

import graphs


def mean_field(model):
    """A guide that draws every latent by itself, in the plates of the model."""
    trace = poutine.trace(model).get_trace()

    def guide():
        for name, site in trace.nodes.items():
            if site["type"] != "sample" or site["is_observed"] or site_is_subsample(site):
                continue
            with ExitStack() as stack:
                for frame in site["cond_indep_stack"]:
                    if frame.vectorized:
                        stack.enter_context(pyro.plate(frame.name, frame.size, dim=frame.dim))
                pyro.sample(name, site["fn"])

    return guide


def pairs(model):
    gaps = graphs.guide_gaps(model, mean_field(model))
    assert gaps.sufficient == (not gaps)
    assert gaps.explain()
    return {tuple(sorted(map(str, gap.x | gap.y))) for gap in gaps}, gaps


def classify():
    c = pyro.sample("c", dist.Categorical(torch.ones(3)))
    for i in range(4):
        pyro.sample(f"x{i}", dist.Normal(c.float(), 1.0), obs=torch.tensor(1.0))


def naive_bayes():
    weights = pyro.sample("weights", dist.Dirichlet(torch.ones(2)))
    with pyro.plate("classes", 2):
        mean = pyro.sample("mean", dist.Normal(0.0, 5.0))
    with pyro.plate("data", 4):
        c = pyro.sample("c", dist.Categorical(weights))
        pyro.sample("x", dist.Normal(mean[c], 1.0), obs=torch.arange(4.0))


def hidden_markov():
    move, place = torch.tensor([[0.9, 0.1], [0.2, 0.8]]), torch.tensor([-1.0, 1.0])
    z = 0
    for t in pyro.markov(range(4)):
        z = pyro.sample(f"z{t}", dist.Categorical(move[z]))
        pyro.sample(f"y{t}", dist.Normal(place[z], 1.0), obs=torch.tensor(0.3))


def allocation():
    with pyro.plate("topics", 2):
        words = pyro.sample("words", dist.Dirichlet(torch.ones(5)))
    with pyro.plate("documents", 3):
        shares = pyro.sample("shares", dist.Dirichlet(torch.ones(2)))
        with pyro.plate("places", 4):
            z = pyro.sample("z", dist.Categorical(shares))
            pyro.sample("w", dist.Categorical(words[z]), obs=torch.zeros(4, 3).long())


def hierarchical_regression():
    mean = pyro.sample("mean", dist.Normal(0.0, 5.0))
    spread = pyro.sample("spread", dist.HalfNormal(1.0))
    noise = pyro.sample("noise", dist.HalfNormal(1.0))
    with pyro.plate("groups", 3):
        slope = pyro.sample("slope", dist.Normal(mean, spread))
        with pyro.plate("rows", 5):
            at = torch.arange(5.0)[:, None]
            pyro.sample("y", dist.Normal(slope * at, noise), obs=torch.ones(5, 3))


def half_labelled():
    decoder = torch.ones(3)
    with pyro.plate("data", 4):
        y = pyro.sample("y", dist.Categorical(torch.ones(2)))
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        mean = (y + z).unsqueeze(-1) * decoder
        pyro.sample("x", dist.Normal(mean, 1.0).to_event(1), obs=torch.ones(4, 3))


def test_a_class_alone_has_nothing_to_be_coupled_to():
    found, gaps = pairs(classify)
    assert found == set()
    assert gaps.explain().startswith("The guide's structure is sufficient")


def test_naive_bayes_with_unknown_parameters():
    """Every datum is a common effect of its class and of both means, and is observed; the classes
    are effects of the weights, which are not. So any two of the 1 + 2 + 3 nodes are coupled."""
    found, _ = pairs(naive_bayes)
    assert len(found) == 15
    assert {("mean[0]", "mean[1]"), ("c[0]", "c[1]"), ("c[0]", "weights")} <= found


def test_a_hidden_markov_model():
    """The chain of states runs through no observed node: all 6 pairs of 4 states are coupled."""
    found, gaps = pairs(hidden_markov)
    assert len(found) == 6
    assert "z0 and z1 are coupled, which the guide denies." in gaps.explain()


def test_latent_dirichlet_allocation():
    """A word is an observed common effect of its assignment and of both topics, by which all
    assignments, and so all shares, are coupled: every two of 2 + 3 + 9 nodes."""
    found, _ = pairs(allocation)
    assert len(found) == 14 * 13 / 2
    assert ("shares[0]", "shares[1]") in found


def test_a_hierarchical_regression():
    """Slopes are effects of mean and spread, which are thereby coupled once data tell of a slope,
    and data are effects of slope and noise: all pairs of mean, spread, noise and 3 slopes."""
    found, _ = pairs(hierarchical_regression)
    assert len(found) == 15
    assert ("mean", "spread") in found


def test_a_half_labelled_autoencoder():
    """Label and style of one datum meet in its observed image. Two data share nothing, since the
    decoder is a constant: three gaps for three members, none between them."""
    found, gaps = pairs(half_labelled)
    assert found == {(f"y[{i}]", f"z[{i}]") for i in range(3)}
    assert '"y[0]" and "z[0]" are coupled by the observed "x[0]"' in gaps.explain()


@pytest.mark.parametrize(
    "model", [naive_bayes, hidden_markov, allocation, hierarchical_regression, half_labelled]
)
def test_the_programs_are_read_without_a_warning(model):
    assert graphs.from_pyro(model).graph["warnings"] == []
