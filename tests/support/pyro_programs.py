"""Pyro programs whose graphs are known, written as their textbooks write them.

``PROGRAMS`` maps a name to (program, arguments, edges as text, plates of each site as text).
"""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.infer import config_enumerate
from pyro.infer.reparam import LocScaleReparam
from pyro.nn import PyroModule, PyroSample
from pyro.ops.indexing import Vindex
from torch import nn


def naive_bayes(words):
    prior = pyro.sample("prior", dist.Dirichlet(torch.ones(3)))
    with pyro.plate("classes", 3):
        rates = pyro.sample("rates", dist.Beta(torch.ones(4), 1.0).to_event(1))
    with pyro.plate("documents", len(words)):
        label = pyro.sample("label", dist.Categorical(prior))
        pyro.sample("words", dist.Bernoulli(rates[label]).to_event(1), obs=words)


def one_document():
    label = pyro.sample("label", dist.Categorical(torch.ones(3) / 3))
    rates = torch.tensor([[0.1, 0.8], [0.5, 0.5], [0.9, 0.1]])
    for i in range(2):
        pyro.sample(f"word_{i}", dist.Bernoulli(rates[label, i]))


def linear_regression(x, y):
    weights = pyro.sample("weights", dist.Normal(torch.zeros(3), 1.0).to_event(1))
    bias = pyro.sample("bias", dist.Normal(0.0, 10.0))
    sigma = pyro.sample("sigma", dist.HalfCauchy(1.0))
    mean = pyro.deterministic("mean", x @ weights + bias)
    with pyro.plate("data", len(x)):
        pyro.sample("y", dist.Normal(mean, sigma), obs=y)


def hidden_markov(data):
    transition = pyro.sample("transition", dist.Dirichlet(torch.ones(2, 2)).to_event(1))
    emission = pyro.sample("emission", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    state = torch.tensor(0)
    for t in pyro.markov(range(len(data))):
        state = pyro.sample(
            f"x_{t}", dist.Categorical(transition[state]), infer={"enumerate": "parallel"}
        )
        pyro.sample(f"y_{t}", dist.Normal(emission[state], 1.0), obs=data[t])


def hidden_markov_sequences(sequences):
    with pyro.plate("states", 2):
        transition = pyro.sample("transition", dist.Dirichlet(torch.ones(2)))
    with pyro.plate("tones", 3, dim=-1), pyro.plate("hidden", 2, dim=-2):
        emission = pyro.sample("emission", dist.Beta(1.0, 1.0))
    with pyro.plate("sequences", len(sequences), dim=-2):
        state = torch.zeros(len(sequences), 1).long()
        for t in pyro.markov(range(sequences.shape[1])):
            state = pyro.sample(
                f"x_{t}",
                dist.Categorical(Vindex(transition)[state]),
                infer={"enumerate": "parallel"},
            )
            with pyro.plate(f"tones_{t}", 3, dim=-1):
                pyro.sample(
                    f"y_{t}",
                    dist.Bernoulli(Vindex(emission)[state, torch.arange(3)]),
                    obs=sequences[:, t],
                )


def latent_dirichlet(words):
    with pyro.plate("topics", 4):
        topic_words = pyro.sample("topic_words", dist.Dirichlet(torch.ones(6) / 6))
    with pyro.plate("documents", words.shape[1]):
        doc_topics = pyro.sample("doc_topics", dist.Dirichlet(torch.ones(4) / 4))
        with pyro.plate("words", len(words)):
            topic = pyro.sample(
                "word_topics", dist.Categorical(doc_topics), infer={"enumerate": "parallel"}
            )
            pyro.sample("doc_words", dist.Categorical(Vindex(topic_words)[topic]), obs=words)


class SemiSupervised(nn.Module):
    def __init__(self):
        super().__init__()
        self.decoder = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Linear(8, 6))
        self.labels, self.latents = nn.Linear(6, 3), nn.Linear(9, 4)

    def model(self, x, y=None):
        pyro.module("ss", self)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x), 2), 1.0).to_event(1))
            y = pyro.sample("y", dist.OneHotCategorical(x.new_ones(len(x), 3)), obs=y)
            logits = self.decoder(torch.cat([z, y], dim=-1))
            pyro.sample("x", dist.Bernoulli(logits=logits).to_event(1), obs=x)

    def guide(self, x, y=None):
        pyro.module("ss", self)
        with pyro.plate("data", len(x)):
            if y is None:
                y = pyro.sample("y", dist.OneHotCategorical(logits=self.labels(x)))
            loc, scale = self.latents(torch.cat([x, y], dim=-1)).chunk(2, dim=-1)
            pyro.sample("z", dist.Normal(loc, scale.exp()).to_event(1))


class Autoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.decode = nn.Sequential(
            nn.Linear(3, 16), nn.ReLU(), nn.Unflatten(1, (4, 2, 2)), nn.ConvTranspose2d(4, 1, 2)
        )

    def model(self, x):
        pyro.module("decoder", self.decode)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x), 3), 1.0).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=self.decode(z)).to_event(3), obs=x)


def eight_schools(sigma, y=None):
    mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = pyro.sample("tau", dist.HalfCauchy(5.0))
    with pyro.plate("schools", len(sigma)):
        theta = pyro.sample("theta", dist.Normal(mu, tau))
        pyro.sample("y", dist.Normal(theta, sigma), obs=y)


@config_enumerate
def mixture(data):
    weights = pyro.sample("weights", dist.Dirichlet(torch.ones(3)))
    scale = pyro.sample("scale", dist.LogNormal(0.0, 2.0))
    with pyro.plate("components", 3):
        locs = pyro.sample("locs", dist.Normal(0.0, 10.0))
    with pyro.plate("data", len(data)):
        assignment = pyro.sample("assignment", dist.Categorical(weights))
        pyro.sample("x", dist.Normal(Vindex(locs)[assignment], scale), obs=data)


def marginalised_mixture(data):
    weights = pyro.sample("weights", dist.Dirichlet(torch.ones(3)))
    locs = pyro.sample("locs", dist.Normal(torch.zeros(3), 1.0).to_event(1))
    with pyro.plate("data", len(data)):
        parts = dist.Normal(locs, 1.0)
        pyro.sample("x", dist.MixtureSameFamily(dist.Categorical(weights), parts), obs=data)


def nested_regression(x, y):
    top = pyro.sample("top", dist.Normal(0.0, 1.0))
    spread = pyro.sample("spread", dist.HalfNormal(1.0))
    with pyro.plate("states", 2, dim=-2):
        state = pyro.sample("state", dist.Normal(top, spread))
        with pyro.plate("counties", 3, dim=-1):
            slope = pyro.sample("slope", dist.Normal(state, 1.0))
            pyro.sample("y", dist.Normal(slope * x, 1.0), obs=y)


def masked_and_scaled():
    switch = pyro.sample("switch", dist.Bernoulli(0.5))
    z = pyro.sample("z", dist.Normal(0.0, 1.0))
    with poutine.mask(mask=switch.bool()):
        pyro.sample("a", dist.Normal(z, 1.0))
    with poutine.scale(scale=2.0):
        pyro.sample("b", dist.Normal(z, 1.0), obs=torch.tensor(1.0))
    with poutine.scale(scale=1 + switch):
        pyro.sample("c", dist.Normal(0.0, 1.0), obs=torch.tensor(1.0))
    with pyro.plate("rows", 3):
        missing = torch.tensor([True, False, True])
        pyro.sample("d", dist.Normal(z, 1.0), obs=torch.zeros(3), obs_mask=missing)


def transformed():
    a = pyro.sample("a", dist.Normal(0.0, 1.0))
    shift = dist.transforms.AffineTransform(a, 2.0)
    b = pyro.sample("b", dist.TransformedDistribution(dist.Normal(torch.zeros(2), 1.0), [shift]))
    spline = dist.conditional.ConditionalTransformedDistribution(
        dist.Normal(torch.zeros(1), 1.0).to_event(1), [dist.transforms.conditional_spline(1, 2)]
    )
    pyro.sample("c", spline.condition(b))
    pyro.sample("d", dist.Delta(2 * a))


def potentials():
    a = pyro.sample("a", dist.Bernoulli(0.5))
    b = pyro.sample("b", dist.Bernoulli(0.5))
    pyro.factor("agree", (a == b).float())


def tagged(tags):
    """A chain of factors: a conditional random field over hidden tags."""
    coupling = pyro.sample("coupling", dist.Normal(0.0, 1.0))
    previous = None
    for t in range(tags):
        tag = pyro.sample(f"tag_{t}", dist.Categorical(torch.ones(2)))
        if previous is not None:
            pyro.factor(f"pair_{t}", coupling * (tag == previous).float())
        previous = tag


def random_walk():
    path = torch.zeros(4)
    for t in range(1, 4):
        path[t] = pyro.sample(f"x_{t}", dist.Normal(path[t - 1], 1.0))
    with pyro.plate("times", 4):
        pyro.sample("y", dist.Normal(path, 1.0))


def stacked():
    a, b = (pyro.sample(name, dist.Normal(0.0, 1.0)) for name in "ab")
    both = torch.stack([a, b]).exp() + 1
    pyro.sample("x", dist.Normal(both[0], 1.0))
    pyro.sample("y", dist.Normal(both[1], 1.0))
    pyro.sample("z", dist.Normal(both.sum(), 1.0))


def gaussian_process(x, y):
    length = pyro.sample("length", dist.LogNormal(0.0, 1.0))
    kernel = (-((x[:, None] - x) ** 2) / length).exp() + 0.01 * torch.eye(len(x))
    pyro.sample("y", dist.MultivariateNormal(torch.zeros(len(x)), kernel), obs=y)


def sequential_plate(data):
    rate = pyro.sample("rate", dist.Beta(1.0, 1.0))
    for i in pyro.plate("flips", len(data)):
        pyro.sample(f"flip_{i}", dist.Bernoulli(rate), obs=data[i])


def subsampled(data):
    mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    with pyro.plate("data", len(data), subsample_size=3) as index:
        pyro.sample("x", dist.Normal(mean, 1.0), obs=data[index])


def bayesian_network(hidden=5):
    class Network(PyroModule):
        def __init__(self):
            super().__init__()
            self.layer = PyroModule[nn.Linear](3, hidden)
            self.layer.weight = PyroSample(dist.Normal(0.0, torch.ones(hidden, 3)).to_event(2))
            self.layer.bias = PyroSample(dist.Normal(0.0, torch.ones(hidden)).to_event(1))

        def forward(self, x, y=None):
            mean = self.layer(x).tanh().sum(-1)
            with pyro.plate("data", len(x)):
                pyro.sample("y", dist.Normal(mean, 1.0), obs=y)

    return Network()


def deep_markov(x):
    step, emit, z = nn.GRUCell(2, 2), nn.Linear(2, 3), torch.zeros(len(x), 2)
    with pyro.plate("batch", len(x)):
        for t in pyro.markov(range(x.shape[1])):
            with poutine.scale(scale=0.5):
                loc = step(z, z)
                z = pyro.sample(f"z_{t}", dist.Normal(loc, 1.0).to_event(1))
            pyro.sample(f"x_{t}", dist.Bernoulli(logits=emit(z)).to_event(1), obs=x[:, t])


def generative_autoregression(data=None):
    previous = torch.tensor(0.0)
    for t in range(3):
        given = None if data is None else data[t]
        previous = pyro.sample(f"x_{t}", dist.Normal(previous, 1.0), obs=given)


def mapped():
    a = pyro.sample("a", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    pyro.sample("b", dist.Normal(torch.func.vmap(_double)(a), 1.0).to_event(1))
    pyro.sample("c", dist.Normal(_Cube.apply(_double(a)), 1.0).to_event(1))


def _double(x: torch.Tensor) -> torch.Tensor:
    return 2 * x


class _Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x**3

    @staticmethod
    def backward(ctx, gradient):
        return gradient


schools = torch.ones(8)
semi, auto = SemiSupervised(), Autoencoder()
PROGRAMS = {
    "naive Bayes": (naive_bayes, (torch.ones(5, 4),), "prior label|label words|rates words",
                    "prior|rates classes|label documents|words documents"),
    "one document": (one_document, (), "label word_0|label word_1", "label|word_0|word_1"),
    "linear regression": (linear_regression, (torch.randn(5, 3), torch.zeros(5)),
                          "weights mean|bias mean|mean y|sigma y",
                          "weights|bias|sigma|mean|y data"),
    "hidden Markov": (hidden_markov, (torch.zeros(3),),
                      "transition x_0|transition x_1|transition x_2|x_0 x_1|x_1 x_2|x_0 y_0|"
                      "x_1 y_1|x_2 y_2|emission y_0|emission y_1|emission y_2",
                      "transition|emission|x_0|y_0|x_1|y_1|x_2|y_2"),
    "hidden Markov, vectorised": (
        hidden_markov_sequences, (torch.zeros(4, 2, 3),),
        "transition x_0|transition x_1|x_0 x_1|emission y_0|emission y_1|x_0 y_0|x_1 y_1",
        "transition states|emission tones hidden|x_0 sequences|y_0 sequences tones_0|"
        "x_1 sequences|y_1 sequences tones_1"),
    "latent Dirichlet": (latent_dirichlet, (torch.zeros(7, 5).long(),),
                         "doc_topics word_topics|topic_words doc_words|word_topics doc_words",
                         "topic_words topics|doc_topics documents|word_topics documents words|"
                         "doc_words documents words"),
    "semi-supervised": (semi.model, (torch.ones(4, 6),), "z x|y x", "z data|y data|x data"),
    "semi-supervised, labelled": (semi.model, (torch.ones(4, 6), torch.eye(3)[[0, 1, 2, 0]]),
                                  "z x|y x", "z data|y data|x data"),
    "semi-supervised guide": (semi.guide, (torch.ones(4, 6),), "y z", "y data|z data"),
    "autoencoder": (auto.model, (torch.ones(4, 1, 3, 3),), "z x", "z data|x data"),
    "eight schools": (eight_schools, (schools,), "mu theta|tau theta|theta y",
                      "mu|tau|theta schools|y schools"),
    "eight schools, non-centred": (
        poutine.reparam(eight_schools, {"theta": LocScaleReparam(0.0)}), (schools, schools),
        "mu theta_decentered|tau theta_decentered|mu theta|tau theta|"
        "theta_decentered theta|theta y",
        "mu|tau|theta_decentered schools|theta schools|y schools"),
    "mixture": (mixture, (torch.zeros(6),), "weights assignment|assignment x|locs x|scale x",
                "weights|scale|locs components|assignment data|x data"),
    "mixture, marginalised": (marginalised_mixture, (torch.zeros(6),), "weights x|locs x",
                              "weights|locs|x data"),
    "nested regression": (nested_regression, (torch.ones(2, 3), torch.ones(2, 3)),
                          "top state|spread state|state slope|slope y",
                          "top|spread|state states|slope states counties|y states counties"),
    "mask and scale": (masked_and_scaled, (),
                       "switch a|z a|z b|switch c|z d_observed|z d_unobserved|"
                       "d_observed d|d_unobserved d",
                       "switch|z|a|b|c|d_observed rows|d_unobserved rows|d rows"),
    "transformed": (transformed, (), "a b|b c|a d", "a|b|c|d"),
    "potentials": (potentials, (), "a agree|b agree", "a|b|agree"),
    "random field": (tagged, (3,), "tag_0 pair_1|tag_1 pair_1|tag_1 pair_2|tag_2 pair_2|"
                     "coupling pair_1|coupling pair_2",
                     "coupling|tag_0|tag_1|pair_1|tag_2|pair_2"),
    "written in place": (random_walk, (), "x_1 x_2|x_2 x_3|x_1 y|x_2 y|x_3 y",
                         "x_1|x_2|x_3|y times"),
    "stacked": (stacked, (), "a x|b y|a z|b z", "a|b|x|y|z"),
    "Gaussian process": (gaussian_process, (torch.arange(4.0), torch.zeros(4)), "length y",
                         "length|y"),
    "sequential plate": (sequential_plate, (torch.ones(2),), "rate flip_0|rate flip_1",
                         "rate|flip_0 flips|flip_1 flips"),
    "subsampled plate": (subsampled, (torch.zeros(9),), "mean x", "mean|x data"),
    "Bayesian neural network": (bayesian_network(), (torch.ones(4, 3), torch.ones(4)),
                                "layer.weight y|layer.bias y",
                                "layer.weight|layer.bias|y data"),
    "deep Markov": (deep_markov, (torch.zeros(4, 3, 3),),
                    "z_0 z_1|z_1 z_2|z_0 x_0|z_1 x_1|z_2 x_2",
                    "z_0 batch|x_0 batch|z_1 batch|x_1 batch|z_2 batch|x_2 batch"),
    "autoregression, sampled": (generative_autoregression, (), "x_0 x_1|x_1 x_2", "x_0|x_1|x_2"),
    "autoregression, observed": (generative_autoregression, (torch.zeros(3),),
                                 "x_0 x_1|x_1 x_2", "x_0|x_1|x_2"),
    "mapped and custom": (mapped, (), "a b|a c", "a|b|c"),
}  # fmt: skip


def pairs(text: str) -> set[tuple[str, str]]:
    """``"a b|b c"`` as a set of edges."""
    return {tuple(edge.split()) for edge in text.split("|")} if text else set()


def rows(text: str) -> dict[str, tuple[str, ...]]:
    """``"a|b data"`` as the plates of each site, in order."""
    return {name: tuple(plates) for name, *plates in (row.split() for row in text.split("|"))}
