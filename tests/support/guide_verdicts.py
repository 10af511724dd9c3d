"""Models that people build, and what mean field cannot say about each, reasoned by hand.

A plate counts three members, as :func:`graphs.guide_gaps` takes it. Mean field keeps every two
latents apart, so a gap is any pair that some path joins once the data are seen: one whose colliders
are observed or have observed descendants, and whose other nodes are latents.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, NamedTuple

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.poutine.util import site_is_subsample


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
    for half, labels in (("", None), ("_labelled", torch.tensor([0, 1, 1, 0]))):
        with pyro.plate(f"data{half}", 4):
            y = pyro.sample(f"y{half}", dist.Categorical(torch.ones(2)), obs=labels)
            z = pyro.sample(f"z{half}", dist.Normal(0.0, 1.0))
            mean = (y + z).unsqueeze(-1) * decoder
            pyro.sample(f"x{half}", dist.Normal(mean, 1.0).to_event(1), obs=torch.ones(4, 3))


class Verdict(NamedTuple):
    """What mean field misses of a program: how many pairs of how many latents, and why."""

    name: str
    program: Callable[..., Any]
    latents: int
    gaps: int
    why: str


VERDICTS = (
    Verdict(
        "naive Bayes, parameters known", classify, 1, 0,
        "One latent has nothing to be coupled to: whatever its posterior is, mean field is it.",
    ),
    Verdict(
        "naive Bayes, parameters unknown", naive_bayes, 6, 15,
        "A datum is an observed common effect of its class and of both means, and all classes are "
        "effects of the weights, which nobody observes: 1 + 2 + 3 latents, every two coupled.",
    ),
    Verdict(
        "hidden Markov model", hidden_markov, 4, 6,
        "The chain from a state to any other runs through states alone, none of them observed: all "
        "6 pairs of 4.",
    ),
    Verdict(
        "latent Dirichlet allocation", allocation, 14, 91,
        "A word is an observed common effect of its assignment and of both topics. By the topics "
        "all assignments are coupled, and so all shares: 2 + 3 + 9 latents, every two.",
    ),
    Verdict(
        "hierarchical regression", hierarchical_regression, 6, 15,
        "Slopes have mean and spread as common causes, which the data below a slope couple; data "
        "are common effects of a slope and the noise: 3 + 3 latents, every two coupled.",
    ),
    Verdict(
        "half-labelled autoencoder", half_labelled, 9, 3,
        "Label and style of a datum meet in its image, unless the label is seen: then the style is "
        "alone. Two data share nothing, since the decoder is a constant: one gap for each of the "
        "three without a label, of 2 · 3 + 3 latents.",
    ),
)  # fmt: skip
