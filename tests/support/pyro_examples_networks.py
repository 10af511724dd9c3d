"""Examples with networks: autoencoders, sequences, flows and processes."""

from __future__ import annotations

import pyro
import pyro.contrib.gp as gp
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.distributions import transforms
from pyro_examples import Example, example, noise, on_grid, site, uniform
from torch import nn


class Autoencoder(nn.Module):
    """The VAE script: two networks, each registered where it is used."""

    def __init__(self, condition=0):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(6 + condition, 8), nn.Softplus(), nn.Linear(8, 4))
        self.decoder = nn.Sequential(nn.Linear(2 + condition, 8), nn.Softplus(), nn.Linear(8, 6))

    def model(self, x):
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", x.shape[0]):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x), 2), 1.0).to_event(1))
            logits = self.decoder(z)
            pyro.sample("x", dist.Bernoulli(logits=logits, validate_args=False).to_event(1), obs=x)
            return logits.sigmoid()

    def guide(self, x):
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", x.shape[0]):
            loc, log_scale = self.encoder(x).chunk(2, -1)
            pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))


def pixels(rows):
    return (uniform(0, rows, 6) < torch.linspace(0.1, 0.9, 6)).float()


@example
def variational_autoencoder():
    """Minibatches with a latent for every image."""
    net = Autoencoder()
    return Example(net.model, net.guide, (pixels(64),), batch_size=16, epochs=100, lr=0.005)


@example
def conditional_autoencoder():
    """The rest of an image given its first half, on pixels that a mask says are missing."""
    net = Autoencoder(condition=3)
    x = pixels(64)
    x = torch.where(uniform(1, 64, 6) < 0.2, -1.0, x)

    def model(x, half):
        pyro.module("net", net)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x), 2), 1.0).to_event(1))
            logits = net.decoder(torch.cat([z, half], -1))
            known = dist.Bernoulli(logits=logits).mask(x >= 0).to_event(1)
            pyro.sample("x", known, obs=x.clamp(min=0))

    def guide(x, half):
        pyro.module("net", net)
        with pyro.plate("data", len(x)):
            loc, log_scale = net.encoder(torch.cat([x, half], -1)).chunk(2, -1)
            pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))

    half = pixels(64)[:, :3]
    return Example(model, guide, (x, half), batch_size=16, epochs=100, lr=0.005)


class DeepMarkov(nn.Module):
    """A gated transition, an emission and a recurrent guide that reads the sequence backwards."""

    def __init__(self):
        super().__init__()
        self.transition, self.emission = nn.Linear(2, 4), nn.Linear(2, 3)
        self.rnn = nn.RNN(3, 5, batch_first=True)
        self.combine, self.predict = nn.Linear(2, 5), nn.Linear(5, 4)
        self.start = nn.Parameter(torch.zeros(2))

    def model(self, x, lengths):
        pyro.module("markov", self)
        z = self.start.expand(len(x), 2)
        with pyro.plate("sequences", len(x)):
            for t in pyro.markov(range(x.shape[1])):
                mask = t < lengths
                loc, log_scale = self.transition(z).chunk(2, -1)
                latent = dist.Normal(loc, log_scale.exp()).mask(mask[:, None]).to_event(1)
                z = pyro.sample(f"z_{t}", latent)
                notes = dist.Bernoulli(logits=self.emission(z)).mask(mask[:, None]).to_event(1)
                pyro.sample(f"x_{t}", notes, obs=x[:, t])

    def guide(self, x, lengths):
        pyro.module("markov", self)
        hidden = self.rnn(x.flip(1))[0].flip(1)
        z = self.start.expand(len(x), 2)
        with pyro.plate("sequences", len(x)):
            for t in pyro.markov(range(x.shape[1])):
                joined = (hidden[:, t] + self.combine(z).tanh()) / 2
                loc, log_scale = self.predict(joined).chunk(2, -1)
                mask = (t < lengths)[:, None]
                latent = dist.Normal(loc, log_scale.exp()).mask(mask).to_event(1)
                z = pyro.sample(f"z_{t}", latent)


@example
def deep_markov_model():
    """Sequences of several lengths in minibatches, with masks inside the distributions."""
    net = DeepMarkov()
    x = (uniform(0, 24, 5, 3) < 0.4).float()
    lengths = torch.tensor([5, 3, 4] * 8)
    return Example(net.model, net.guide, (x, lengths), batch_size=8, epochs=100, lr=0.005)


@example
def deep_markov_model_scaled():
    """The same with the sequences' masks and an annealing factor around the latents."""
    net = DeepMarkov()
    x = (uniform(0, 12, 4, 3) < 0.4).float()
    lengths = torch.tensor([4, 2, 3] * 4)

    def annealed(program):
        def run(x, lengths):
            with poutine.scale(scale=0.3):
                program(x, lengths)

        return run

    return Example(annealed(net.model), annealed(net.guide), (x, lengths), epochs=200, lr=0.005)


@example
def density_by_a_flow():
    """Data whose density is a spline flow: no latents, maximum likelihood."""
    flow = transforms.affine_autoregressive(2, hidden_dims=[8])
    base = dist.Normal(torch.zeros(2), torch.ones(2)).to_event(1)
    x = noise(0, 64, 2)
    x[:, 1] += x[:, 0].square()

    def model(x):
        pyro.module("flow", flow)
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.TransformedDistribution(base, [flow]), obs=x)

    return Example(model, lambda x: None, (x,), batch_size=32, epochs=100, lr=0.01)


@example
def posterior_by_a_flow():
    """A curved posterior of a latent vector and a flow as its guide."""
    flow = transforms.affine_autoregressive(2, hidden_dims=[12])
    y = torch.tensor([1.0, 1.4, 0.7])

    def model(y):
        z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        with pyro.plate("data", len(y)):
            pyro.sample("y", dist.Normal(z[..., 0].square() + z[..., 1], 0.5), obs=y)

    def guide(y):
        pyro.module("flow", flow)
        base = dist.Normal(torch.zeros(2), torch.ones(2)).to_event(1)
        pyro.sample("z", dist.TransformedDistribution(base, [flow]))

    def exact():
        axis = torch.linspace(-4, 4, 400).double()
        a, b = torch.meshgrid(axis, axis, indexing="ij")
        log_p = -(a.square() + b.square()) / 2
        log_p = log_p + sum(dist.Normal(a.square() + b, 0.5).log_prob(v) for v in y.double())
        return on_grid(log_p, z0=a, z1=b)

    report = {"z0": site("z", 0), "z1": site("z", 1)}
    return Example(model, guide, (y,), report=report, exact=exact, epochs=1000)


class Held:
    """Inputs and outputs of a process, as arguments of programs that hold their own."""

    inputs = torch.linspace(0.0, 1.0, 12)
    outputs = (6 * torch.linspace(0.0, 1.0, 12)).sin() + 0.1 * noise(0, 12)


@example
def gaussian_process_with_priors():
    """pyro.contrib.gp with priors on the kernel; its own guide is a point estimate."""
    kernel = gp.kernels.RBF(input_dim=1)
    kernel.variance = pyro.nn.PyroSample(dist.LogNormal(0.0, 1.0))
    kernel.lengthscale = pyro.nn.PyroSample(dist.LogNormal(-1.0, 1.0))
    process = gp.models.GPRegression(Held.inputs, Held.outputs, kernel, torch.tensor(0.05))

    def model(inputs, outputs):
        process.set_data(inputs, outputs)
        process.model()

    def guide(inputs, outputs):
        process.set_data(inputs, outputs)
        process.guide()

    report = {"variance": site("kernel.variance"), "length": site("kernel.lengthscale")}
    return Example(model, guide, (Held.inputs, Held.outputs), report=report, epochs=400)


@example
def gaussian_process_variational():
    """The sparse variational process, with a normal of the inducing outputs in its guide."""
    process = gp.models.VariationalSparseGP(
        Held.inputs,
        Held.outputs,
        gp.kernels.RBF(input_dim=1, lengthscale=torch.tensor(0.3)),
        Held.inputs[::3].clone(),
        gp.likelihoods.Gaussian(torch.tensor(0.05)),
        jitter=1e-4,
    )

    def model(inputs, outputs):
        process.set_data(inputs, outputs)
        process.model()

    def guide(inputs, outputs):
        process.guide()

    return Example(model, guide, (Held.inputs, Held.outputs), epochs=400)
