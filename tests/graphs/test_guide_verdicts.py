"""What mean field cannot say about models that people build, each verdict reasoned by hand."""

import pytest
from guide_verdicts import (
    VERDICTS,
    allocation,
    classify,
    half_labelled,
    hidden_markov,
    hierarchical_regression,
    mean_field,
    naive_bayes,
)

import graphs


def pairs(model):
    gaps = graphs.guide_gaps(model, mean_field(model))
    assert gaps.sufficient == (not gaps)
    assert gaps.explain()
    return {tuple(sorted(map(str, gap.x | gap.y))) for gap in gaps}, gaps


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


@pytest.mark.parametrize("verdict", VERDICTS, ids=lambda v: v.name)
def test_the_verdicts_that_are_published(verdict):
    gaps = graphs.guide_gaps(verdict.program, mean_field(verdict.program))
    latent = set(gaps.model) - gaps.observed
    assert (len(latent), len(gaps)) == (verdict.latents, verdict.gaps)


@pytest.mark.parametrize(
    "model", [naive_bayes, hidden_markov, allocation, hierarchical_regression, half_labelled]
)
def test_the_programs_are_read_without_a_warning(model):
    assert graphs.from_pyro(model).graph["warnings"] == []
