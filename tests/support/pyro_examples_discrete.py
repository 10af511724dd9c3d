"""Examples with discrete latents: mixtures, Markov chains, topics, captures, labels.

Where a program asks for enumeration its objective is a stock one; the others use the score
function.
"""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import torch
from idioms import positive, real
from pyro import poutine
from pyro.infer import TraceEnum_ELBO, config_enumerate
from pyro.infer.autoguide import AutoDelta, AutoNormal
from pyro.ops.indexing import Vindex
from pyro_examples import Example, example, noise, on_grid, param, site, uniform
from torch import nn
from torch.distributions import constraints
from torch.nn import functional


def enumerating(nesting):
    return lambda: TraceEnum_ELBO(max_plate_nesting=nesting)


def simplex(name, value):
    return pyro.param(name, value, constraint=constraints.simplex)


@example
def gaussian_mixture():
    """Assignments enumerated in the model, a point estimate of the rest."""
    x = torch.cat([noise(0, 12) * 0.5 - 2, noise(1, 8) * 0.5 + 3])

    @config_enumerate
    def model(x):
        weights = pyro.sample("weights", dist.Dirichlet(torch.full((2,), 2.0)))
        scale = pyro.sample("scale", dist.LogNormal(0.0, 1.0))
        with pyro.plate("components", 2):
            locs = pyro.sample("locs", dist.Normal(0.0, 5.0))
        with pyro.plate("data", len(x)):
            chosen = pyro.sample("chosen", dist.Categorical(weights))
            pyro.sample("x", dist.Normal(locs[chosen], scale), obs=x)

    def start(site):
        starts = {"locs": torch.tensor([-1.0, 1.0]), "weights": torch.full((2,), 0.5)}
        return starts.get(site["name"], torch.tensor(1.0))

    exposed = poutine.block(model, expose=["weights", "scale", "locs"])
    return Example(
        model,
        AutoDelta(exposed, init_loc_fn=start),
        (x,),
        enumerating(1),
        report={"loc 0": site("locs", 0), "loc 1": site("locs", 1), "weight": site("weights", 0)},
        epochs=400,
    )


@example
def hidden_markov_model():
    """Hidden states enumerated along two sequences, with transitions as parameters."""
    states = torch.tensor([[0, 0, 1, 1, 1, 0, 0, 0], [1, 1, 0, 0, 0, 0, 1, 1]])
    x = 2.0 * states + 0.4 * noise(0, 2, 8)

    @config_enumerate
    def model(x):
        transition = simplex("transition", torch.tensor([[0.6, 0.4], [0.3, 0.7]]))
        locs = real("locs", torch.tensor([-0.5, 1.0]))
        with pyro.plate("sequences", len(x)):
            state = 0
            for t in pyro.markov(range(x.shape[1])):
                state = pyro.sample(f"state_{t}", dist.Categorical(transition[state]))
                pyro.sample(f"x_{t}", dist.Normal(locs[state], 0.5), obs=x[:, t])

    def evidence():
        """The forward algorithm at the parameters of the store."""
        transition, locs = pyro.param("transition").detach(), pyro.param("locs").detach()
        emission = dist.Normal(locs, 0.5).log_prob(x[..., None])
        forward = transition[0].log() + emission[:, 0]
        for t in range(1, x.shape[1]):
            forward = (forward[..., None] + transition.log()).logsumexp(1) + emission[:, t]
        return -forward.logsumexp(-1).mean().item()

    return Example(
        model,
        lambda x: None,
        (x,),
        enumerating(1),
        report={"loc 0": param("locs", 0), "stay": param("transition", 0, 0)},
        epochs=300,
        evidence=evidence,
    )


@example
def dirichlet_mixture_truncated():
    """Stick-breaking weights; the guide draws the assignments, whose gradients are scores."""
    x = torch.cat([noise(0, 14) * 0.5 - 3, noise(1, 10) * 0.5 + 3])
    sticks = 4

    def model(x):
        with pyro.plate("sticks", sticks - 1):
            v = pyro.sample("v", dist.Beta(1.0, 1.5))
        with pyro.plate("components", sticks):
            locs = pyro.sample("locs", dist.Normal(0.0, 5.0))
        rest = functional.pad((1 - v).cumprod(-1), (1, 0), value=1.0)
        weights = functional.pad(v, (0, 1), value=1.0) * rest
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Categorical(weights))
            pyro.sample("x", dist.Normal(locs[z], 0.5), obs=x)

    def guide(x):
        with pyro.plate("sticks", sticks - 1):
            pyro.sample("v", dist.Beta(1.0, positive("kappa", torch.full((sticks - 1,), 1.5))))
        with pyro.plate("components", sticks):
            starts = real("starts", torch.tensor([-2.0, 2.0, -6.0, 6.0]))
            pyro.sample("locs", dist.Normal(starts, positive("spread", torch.full((sticks,), 0.3))))
        with pyro.plate("data", len(x)):
            near = -(x[:, None] - torch.tensor([-2.0, 2.0, -6.0, 6.0])).abs()
            pyro.sample("z", dist.Categorical(logits=real("near", near)))

    report = {"loc 0": site("locs", 0), "loc 1": site("locs", 1)}
    return Example(model, guide, (x,), report=report, epochs=1000, lr=0.01, scored=True)


@example
def capture_recapture():
    """Animals that live and are seen with unknown probability; life is enumerated under masks."""
    animals, years = 20, 5
    alive = (uniform(0, animals, years) < 0.8).float().cumprod(1)
    seen = alive * (uniform(1, animals, years) < 0.6)
    seen[:, 0] = 1.0

    @config_enumerate
    def model(seen):
        survive = pyro.sample("survive", dist.Beta(1.0, 1.0))
        detect = pyro.sample("detect", dist.Beta(1.0, 1.0))
        with pyro.plate("animals", len(seen), dim=-1):
            z, before = torch.ones(len(seen)), torch.zeros(len(seen)).bool()
            for t in pyro.markov(range(seen.shape[1])):
                with poutine.mask(mask=before):
                    z = pyro.sample(f"z_{t}", dist.Bernoulli(torch.where(before, survive * z, 1.0)))
                    pyro.sample(f"y_{t}", dist.Bernoulli(detect * z), obs=seen[:, t])
                before = before | seen[:, t].bool()

    def exact():
        axis = torch.linspace(0.0025, 0.9975, 200).double()
        survive, detect = torch.meshgrid(axis, axis, indexing="ij")
        log_p = torch.zeros(200, 200).double()
        for history in seen.double():
            one, zero = torch.ones_like(log_p), torch.zeros_like(log_p)
            for y in history[1:]:
                one, zero = survive * one, zero + (1 - survive) * one
                one, zero = one * (detect if y else 1 - detect), zero * (1 - y)
            log_p = log_p + (one + zero).log()
        return on_grid(log_p, survive=survive, detect=detect)

    exposed = poutine.block(model, expose=["survive", "detect"])
    return Example(
        model,
        AutoNormal(exposed),
        (seen,),
        enumerating(1),
        report={"survive": site("survive"), "detect": site("detect")},
        exact=exact,
        epochs=600,
    )


@example
def mixed_effects_with_discrete_groups():
    """A discrete effect of each group and a regression on a covariate, enumerated by group."""
    groups, members = 6, 4
    effect = torch.tensor([-1.0, 1.5])[torch.tensor([0, 1, 1, 0, 1, 0])]
    covariate = noise(0, groups, members)
    y = effect[:, None] + 0.7 * covariate + 0.5 * noise(1, groups, members)

    @config_enumerate
    def model(y, covariate):
        slope = pyro.sample("slope", dist.Normal(0.0, 2.0))
        with pyro.plate("kinds", 2):
            levels = pyro.sample("levels", dist.Normal(torch.tensor([-1.0, 1.0]), 1.0))
        with pyro.plate("groups", len(y), dim=-2):
            kind = pyro.sample("kind", dist.Categorical(torch.tensor([0.5, 0.5])))
            with pyro.plate("members", y.shape[1], dim=-1):
                mean = Vindex(levels)[kind] + slope * covariate
                pyro.sample("y", dist.Normal(mean, 0.5), obs=y)

    exposed = poutine.block(model, expose=["slope", "levels"])
    report = {"slope": site("slope"), "level 0": site("levels", 0), "level 1": site("levels", 1)}
    guide = AutoNormal(exposed)
    return Example(model, guide, (y, covariate), enumerating(2), report=report, epochs=600)


WORDS, TOPICS = 12, 2


def documents(count=24):
    topic = torch.arange(count) % 2
    logits = torch.where(torch.arange(WORDS) < WORDS // 2, 1.5, -1.5)
    rate = (logits * (1 - 2 * topic)[:, None]).softmax(-1) * 20
    return (rate + rate.sqrt() * noise(0, count, WORDS)).clamp(min=0).round()


@example
def topics_enumerated():
    """Words in documents with their topics summed out; an amortised guide of the proportions."""
    counts = documents(8).long()
    words = torch.stack([torch.arange(WORDS).repeat_interleave(c)[:16] for c in counts + 1])
    predictor = nn.Sequential(nn.Linear(WORDS, 8), nn.Sigmoid(), nn.Linear(8, TOPICS))

    def model(words):
        with pyro.plate("topics", TOPICS):
            topic_words = pyro.sample("topic_words", dist.Dirichlet(torch.full((WORDS,), 0.5)))
        with pyro.plate("documents", len(words), dim=-1):
            shares = pyro.sample("shares", dist.Dirichlet(torch.full((TOPICS,), 0.5)))
            with pyro.plate("words", words.shape[1], dim=-2):
                enumerated = {"enumerate": "parallel"}
                topic = pyro.sample("topic", dist.Categorical(shares), infer=enumerated)
                pyro.sample("word", dist.Categorical(topic_words[topic]), obs=words.T)

    def guide(words):
        pyro.module("predictor", predictor)
        start = 1 + uniform(3, TOPICS, WORDS)
        with pyro.plate("topics", TOPICS):
            pyro.sample("topic_words", dist.Dirichlet(positive("word_counts", start)))
        bags = functional.one_hot(words, WORDS).float().sum(1)
        with pyro.plate("documents", len(words), dim=-1):
            pyro.sample("shares", dist.Dirichlet(predictor(bags).exp() + 0.1))

    return Example(model, guide, (words,), enumerating(2), epochs=300, lr=0.01)


@example
def topics_by_logistic_normals():
    """Counts of words given normal latents, whose guide and topics are networks, in minibatches."""
    counts = documents()
    encoder, decoder = nn.Linear(WORDS, 2 * TOPICS), nn.Linear(TOPICS, WORDS, bias=False)

    def model(counts):
        pyro.module("decoder", decoder)
        with pyro.plate("documents", len(counts)):
            logits = pyro.sample("logits", dist.Normal(torch.zeros(TOPICS), 1.0).to_event(1))
            word_logits = decoder(logits.softmax(-1))
            total = int(counts.sum(-1).max())
            pyro.sample("counts", dist.Multinomial(total, logits=word_logits), obs=counts)

    def guide(counts):
        pyro.module("encoder", encoder)
        with pyro.plate("documents", len(counts)):
            loc, log_scale = encoder(counts / 20).chunk(2, -1)
            pyro.sample("logits", dist.Normal(loc, log_scale.exp()).to_event(1))

    report = {"loc of 0": lambda v: v["logits"][0, 0], "loc of 1": lambda v: v["logits"][1, 0]}
    return Example(model, guide, (counts,), report=report, batch_size=8, epochs=300, lr=0.03)


class Attend(nn.Module):
    """Counts objects one by one: at each step, whether there is another and what it is."""

    steps = 3

    def __init__(self):
        super().__init__()
        self.rnn = nn.GRUCell(6 + 2, 8)
        self.predict = nn.Linear(8, 3)
        self.decode = nn.Linear(1, 6)

    def model(self, x):
        pyro.module("attend", self)
        present, canvas = x.new_ones(len(x)), torch.zeros_like(x)
        with pyro.plate("data", len(x)):
            for t in range(self.steps):
                present = pyro.sample(f"present_{t}", dist.Bernoulli(0.5 * present))
                with poutine.mask(mask=present.bool()):
                    what = pyro.sample(f"what_{t}", dist.Normal(x.new_zeros(len(x)), 1.0))
                canvas = canvas + self.decode(what[..., None]) * present[..., None]
            pyro.sample("x", dist.Normal(canvas, 0.5).to_event(1), obs=x)

    def guide(self, x):
        pyro.module("attend", self)
        hidden, present, what = x.new_zeros(len(x), 8), x.new_ones(len(x)), x.new_zeros(len(x))
        with pyro.plate("data", len(x)):
            for t in range(self.steps):
                hidden = self.rnn(torch.cat([x, present[:, None], what[:, None]], 1), hidden)
                logit, loc, log_scale = self.predict(hidden).unbind(-1)
                probability = logit.sigmoid() * present
                present = pyro.sample(f"present_{t}", dist.Bernoulli(probability))
                with poutine.mask(mask=present.bool()):
                    what = pyro.sample(f"what_{t}", dist.Normal(loc, log_scale.exp()))


@example
def attend_infer_repeat():
    """A loop in which each step may end the scene: masks, scores and reparametrised draws."""
    net = Attend()
    x = noise(0, 16, 1) * torch.linspace(-1, 1, 6) + 0.3 * noise(1, 16, 6)
    return Example(net.model, net.guide, (x,), epochs=300, lr=0.005, scored=True)


class SemiSupervised(nn.Module):
    """Labels that are observed in one batch and latent in another."""

    def __init__(self):
        super().__init__()
        self.classify, self.encode = nn.Linear(6, 3), nn.Linear(9, 4)
        self.decode = nn.Linear(5, 6)

    @staticmethod
    def join(*parts):
        shape = torch.broadcast_shapes(*(part.shape[:-1] for part in parts))
        return torch.cat([part.expand(*shape, part.shape[-1]) for part in parts], -1)

    def model(self, x, y=None):
        pyro.module("network", self)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x), 2), 1.0).to_event(1))
            y = pyro.sample("y", dist.OneHotCategorical(x.new_ones(len(x), 3)), obs=y)
            logits = self.decode(self.join(z, y))
            pyro.sample("x", dist.Bernoulli(logits=logits).to_event(1), obs=x)

    def guide(self, x, y=None):
        pyro.module("network", self)
        with pyro.plate("data", len(x)):
            if y is None:
                y = pyro.sample("y", dist.OneHotCategorical(logits=self.classify(x)))
            loc, log_scale = self.encode(self.join(x, y)).chunk(2, -1)
            pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))


def coins(rows):
    return (uniform(0, rows, 6) < torch.tensor([0.9, 0.8, 0.5, 0.4, 0.2, 0.1])).float()


@example
def unlabelled_vae_enumerated():
    """The unsupervised half of a semi-supervised VAE, its labels enumerated in the guide."""
    net = SemiSupervised()
    guide = config_enumerate(net.guide)
    return Example(net.model, guide, (coins(16),), enumerating(1), epochs=300, lr=0.005)


@example
def unlabelled_vae_sampled():
    """The same with labels drawn, whose gradients are scores."""
    net = SemiSupervised()
    return Example(net.model, net.guide, (coins(16),), epochs=300, lr=0.005, scored=True)


@example
def labelled_vae():
    """The supervised half, with the labels beside the data in the batch."""
    net = SemiSupervised()
    y = functional.one_hot(torch.arange(16) % 3).float()
    return Example(net.model, net.guide, (coins(16), y), batch_size=8, epochs=300, lr=0.005)
