"""Idioms of plates; they join ``IDIOMS``."""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import torch
from idioms import (
    Program,
    Y,
    idiom,
    normal_guide,
    positive,
    real,
)

X = torch.tensor([[0.3, -1.0, 0.5], [1.2, 0.1, -0.4], [-0.6, 0.9, 0.2], [0.4, 0.4, -1.5]])
TABLE = torch.linspace(-1, 2, 12).reshape(3, 4)


def mean_model(y):
    b = pyro.sample("b", dist.Normal(0.0, 1.0))
    with pyro.plate("data", len(y)):
        pyro.sample("y", dist.Normal(b, 1.0), obs=y)


def mean_guide(y):
    normal_guide("b")


@idiom
def global_mean():
    return Program(mean_model, mean_guide, (Y,))


@idiom
def exact_global_posterior():
    def guide(y):
        pyro.sample("b", dist.Normal(real("loc", y.sum().item() / 5), positive("sd", 0.2**0.5)))

    marginal = dist.MultivariateNormal(torch.zeros(4), torch.eye(4) + 1)
    return Program(mean_model, guide, (Y,), exact=-marginal.log_prob(Y).item())


@idiom
def no_plates():
    def model(y):
        z = pyro.sample("z", dist.Normal(torch.zeros(4), 1.0).to_event(1))
        pyro.sample("y", dist.Normal(z, 1.0).to_event(1), obs=y)

    def guide(y):
        loc = real("loc", torch.linspace(-1, 1, 4))
        pyro.sample("z", dist.Normal(loc, positive("sd", 0.6)).to_event(1))

    return Program(model, guide, (Y,), size=1, local=())


@idiom
def no_latents():
    def model(y):
        with pyro.plate("data", 4):
            pyro.sample("y", dist.Normal(real("mean", 0.3), 1.0), obs=y)

    return Program(model, lambda y: None, (Y,), local=(-1,))


@idiom
def hierarchical_regression():
    def model(x, y):
        scale = pyro.sample("scale", dist.LogNormal(0.0, 0.5))
        with pyro.plate("features", 3):
            w = pyro.sample("w", dist.Normal(0.0, scale.unsqueeze(-1)))
        with pyro.plate("data", 4):
            pyro.sample("y", dist.Normal((x * w.unsqueeze(-2)).sum(-1), 1.0), obs=y)

    def guide(x, y):
        pyro.sample("scale", dist.LogNormal(real("loc", 0.1), positive("sd", 0.3)))
        with pyro.plate("features", 3):
            normal_guide("w", 3)

    return Program(model, guide, (X, Y))


@idiom
def features_as_many_as_data():
    def model(y):
        with pyro.plate("features", 4):
            w = pyro.sample("w", dist.Normal(0.0, 1.0))
        with pyro.plate("data", 4):
            mean = (w.unsqueeze(-2) * torch.cat([X, X[:, :1]], 1)).sum(-1)
            pyro.sample("y", dist.Normal(mean, 1.0), obs=y)

    def guide(y):
        with pyro.plate("features", 4):
            normal_guide("w", 4)

    return Program(model, guide, (Y,))


@idiom
def nested_plates():
    def model(x):
        with pyro.plate("documents", 4, dim=-1):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            with pyro.plate("words", 3, dim=-2):
                pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x):
        with pyro.plate("documents", 4, dim=-1):
            normal_guide("z", 4)

    return Program(model, guide, (TABLE,), local=(-1,))


@idiom
def nested_plates_with_latents_in_each():
    def model(x):
        mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
        with pyro.plate("documents", 4, dim=-1):
            z = pyro.sample("z", dist.Normal(mean, 1.0))
            with pyro.plate("words", 3, dim=-2):
                u = pyro.sample("u", dist.Normal(z, 0.5))
                pyro.sample("x", dist.Normal(u, 1.0), obs=x)

    def guide(x):
        normal_guide("mean")
        with pyro.plate("documents", 4, dim=-1):
            normal_guide("z", 4)
            with pyro.plate("words", 3, dim=-2):
                normal_guide("u", 3, 4)

    return Program(model, guide, (TABLE,))


@idiom
def local_latents_in_nested_plates():
    def model(x):
        with pyro.plate("documents", 4, dim=-1):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            with pyro.plate("words", 3, dim=-2):
                u = pyro.sample("u", dist.Normal(z, 0.5))
                pyro.sample("x", dist.Normal(u, 1.0), obs=x)

    def guide(x):
        with pyro.plate("documents", 4, dim=-1):
            z = normal_guide("z", 4)
            with pyro.plate("words", 3, dim=-2):
                pyro.sample("u", dist.Normal((z + x) / 2, positive("sd", 0.4)))

    return Program(model, guide, (TABLE,), local=(-1,))


def crossed(rows, columns):
    table = torch.linspace(-1, 2, rows * columns).reshape(rows, columns)

    def plates():
        return pyro.plate("rows", rows, dim=-2), pyro.plate("columns", columns, dim=-1)

    def model(x):
        by_row, by_column = plates()
        with by_row:
            a = pyro.sample("a", dist.Normal(0.0, 1.0))
        with by_column:
            b = pyro.sample("b", dist.Normal(0.0, 1.0))
        with by_row, by_column:
            pyro.sample("x", dist.Normal(a + b, 1.0), obs=x)

    def guide(x):
        by_row, by_column = plates()
        with by_row:
            normal_guide("a", rows, 1)
        with by_column:
            normal_guide("b", columns)

    return Program(model, guide, (table,), size=rows)


@idiom
def crossed_plates_of_equal_size():
    return crossed(3, 3)


@idiom
def crossed_plates_of_different_sizes():
    return crossed(2, 3)


@idiom
def sequential_plate():
    def model(y):
        for i in pyro.plate("data", 4):
            z = pyro.sample(f"z_{i}", dist.Normal(0.0, 1.0))
            pyro.sample(f"y_{i}", dist.Normal(z, 1.0), obs=y[i])

    def guide(y):
        for i in pyro.plate("data", 4):
            normal_guide(f"z_{i}")

    return Program(model, guide, (Y,), size=1, local=())


@idiom
def markov_chain():
    def model(y):
        z = torch.tensor(0.0)
        for i in pyro.markov(range(4)):
            z = pyro.sample(f"z_{i}", dist.Normal(0.9 * z, 1.0))
            pyro.sample(f"y_{i}", dist.Normal(z, 0.5), obs=y[i])

    def guide(y):
        for i in pyro.markov(range(4)):
            normal_guide(f"z_{i}")

    return Program(model, guide, (Y,), size=1, local=())


@idiom
def two_observed_sites_in_plates_of_their_own():
    def model(y):
        b = pyro.sample("b", dist.Normal(0.0, 1.0))
        with pyro.plate("data", 4):
            pyro.sample("y", dist.Normal(b, 1.0), obs=y)
        with pyro.plate("others", 2):
            pyro.sample("x", dist.Normal(b, 2.0), obs=y[:2])

    return Program(model, mean_guide, (Y,), size=1, local=())
