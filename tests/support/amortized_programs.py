"""Programs whose posterior a guide can be: linear Gaussian ones and networks with tables."""

import random
from itertools import product

import networkx as nx
import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.ops.indexing import Vindex
from pyro.poutine.messenger import Messenger

import graphs
from ppl_gen.guides.families import FIRST_SCALE, FLOOR, inverse_softplus

# --- Linear Gaussian programs ---------------------------------------------------------------------


def linear_gaussian(seed):
    """A program of Normals with random coefficients, its data, and the joint covariance by node."""
    rng, numbers = random.Random(seed), np.random.default_rng(seed)
    order = "abcdef"[: rng.randint(3, 6)]
    parents = {v: [u for u in order[:i] if rng.random() < 0.6] for i, v in enumerate(order)}
    weights = {(u, v): float(numbers.normal()) for v in order for u in parents[v]}
    scales = {v: float(numbers.uniform(0.5, 1.5)) for v in order}
    observed = rng.sample(order, rng.randint(1, len(order) - 1))
    data = {v: torch.tensor(numbers.normal(), dtype=torch.float64) for v in sorted(observed)}

    def model(data):
        values = {}
        for v in order:
            mean = sum((weights[u, v] * values[u] for u in parents[v]), torch.zeros(()).double())
            values[v] = pyro.sample(v, dist.Normal(mean, scales[v]), obs=data.get(v))

    place = {v: i for i, v in enumerate(order)}
    mix = np.eye(len(order))
    for (u, v), weight in weights.items():
        mix[place[v], place[u]] = -weight
    root = np.linalg.inv(mix) @ np.diag([scales[v] for v in order])
    return model, data, root @ root.T, place


def set_exactly(guide, covariance, place):
    """Give a guide of scalar Normals the coefficients of the true conditionals."""
    for (name, inputs), head in zip(guide.inputs.items(), guide.heads, strict=True):
        given, own = [place[i.name] for i in inputs], place[name]
        weights = np.linalg.solve(covariance[np.ix_(given, given)], covariance[given, own])
        variance = covariance[own, own] - weights @ covariance[given, own]
        units = {v: [float(u) for u in guide.unit(v)] for v in [name, *(i.name for i in inputs)]}
        middle, scale = units[name]
        at, per = np.array([units[i.name] for i in inputs]).reshape(-1, 2).T
        raw = np.log(np.expm1(np.sqrt(variance) / scale - FLOOR)) - inverse_softplus(FIRST_SCALE)
        bias = torch.tensor([(weights @ at - middle) / scale, raw])
        with torch.no_grad():
            if given:
                linear = weights * per / scale
                head.linear.weight.copy_(torch.tensor(np.stack([linear, 0 * linear])))
                head.linear.bias.copy_(bias)
            else:
                head.rows.copy_(bias)


def log_evidence(data, covariance, place):
    rows = [place[v] for v in data]
    normal = dist.MultivariateNormal(
        torch.zeros(len(rows)).double(), torch.tensor(covariance[np.ix_(rows, rows)])
    )
    return float(normal.log_prob(torch.stack(list(data.values()), -1)).sum())


def log_weight(model, guide, data):
    """log p(x, z) - log q(z | x) for a z of the guide: log p(x) wherever q is the posterior."""
    drawn = poutine.trace(guide).get_trace(data)
    replayed = poutine.trace(poutine.replay(model, trace=drawn)).get_trace(data)
    return float((replayed.log_prob_sum() - drawn.log_prob_sum()).detach())


class _AtNoise(Messenger):
    """Normal sites at given numbers of standard deviations from their means."""

    def __init__(self, noise):
        super().__init__()
        self.noise = noise

    def _pyro_sample(self, msg):
        if msg["name"] in self.noise and not msg["done"]:
            fn = msg["fn"]
            msg["value"], msg["done"] = fn.mean + self.noise[msg["name"]] * fn.stddev, True


def expected_log_weight(model, guide, data):
    """E log p(x, z) - log q(z | x) under a guide of Normals, the bound that it trains.

    Where means are linear and scales constant this is a quadratic form of the guide's noise, which
    the points ± √n e_i integrate exactly.
    """
    names = list(guide.inputs)
    far = len(names) ** 0.5
    points = [{**dict.fromkeys(names, 0.0), v: sign * far} for v in names for sign in (-1, 1)]
    found = []
    for point in points:
        with _AtNoise(point):
            found.append(log_weight(model, guide, data))
    return float(np.mean(found))


def mean_field_gap(model, data, covariance, place):
    """What mean field loses: by the points that integrate E log p(x, z), and in closed form.

    The best q has the posterior's means and precisions; log p(x, z) is a quadratic form, which the
    points μ ± √n σ_i e_i integrate exactly. The closed form is (Σ log Λ_ii - log det Λ) / 2.
    """
    seen, hidden = [place[v] for v in data], [i for v, i in place.items() if v not in data]
    names = [v for v in place if v not in data]
    gain = np.linalg.solve(covariance[np.ix_(seen, seen)], covariance[np.ix_(seen, hidden)]).T
    mean = gain @ np.array([float(x) for x in data.values()])
    posterior = covariance[np.ix_(hidden, hidden)] - gain @ covariance[np.ix_(seen, hidden)]
    precision = np.linalg.inv(posterior)
    scale = np.diag(precision) ** -0.5
    steps = np.sqrt(len(hidden)) * np.diag(scale)
    points = [mean + sign * step for step in steps for sign in (-1, 1)]
    expected = np.mean([
        float(poutine.trace(poutine.condition(model, {
            v: torch.tensor(x) for v, x in zip(names, point, strict=True)
        })).get_trace(data).log_prob_sum()) for point in points
    ])  # fmt: skip
    entropy = np.log(scale * np.sqrt(2 * np.pi * np.e)).sum()
    closed = (np.log(np.diag(precision)).sum() - np.linalg.slogdet(precision)[1]) / 2
    return log_evidence(data, covariance, place) - expected - entropy, closed


# --- Discrete networks ----------------------------------------------------------------------------


def rows_of(network):
    """The program of a network with a row of data in each place of a plate."""
    tree, order = graphs.JunctionTree(network), list(nx.topological_sort(network))
    tables = {}
    for cpd in network.cpds:
        axes = [cpd.variables.index(u) for u in [*network.predecessors(cpd.variable), cpd.variable]]
        tables[cpd.variable] = torch.tensor(np.transpose(cpd.values, axes))

    def model(data):
        values = {}
        with pyro.plate("rows", len(next(iter(data.values())))):
            for v in order:
                given = tuple(values[u] for u in network.predecessors(v))
                probs = Vindex(tables[v])[(*given, slice(None))] if given else tables[v]
                values[v] = pyro.sample(v, dist.Categorical(probs), obs=data.get(v))

    return model, tree


def every_row(tree, observed):
    codes = list(product(*(range(len(tree.states[v])) for v in observed)))
    return {v: torch.tensor([c[i] for c in codes]) for i, v in enumerate(observed)}


def log_probabilities(program, names, data, codes):
    """The log density of some sites at every one of the codes; a column for each row of data."""
    rows = len(next(iter(data.values())))
    whole = {v: values.repeat(len(codes)) for v, values in data.items()}
    fixed = {v: codes[:, i].repeat_interleave(rows) for i, v in enumerate(names)}
    trace = poutine.trace(poutine.condition(program, fixed)).get_trace(whole)
    trace.compute_log_prob()
    sites = [site for site in trace.nodes.values() if site["type"] == "sample"]
    found = sum(site["log_prob"] for site in sites if site["name"] in (*names, *data))
    return found.reshape(len(codes), rows)


def codes_of(tree, nodes):
    """Every joint assignment of some nodes as a row of codes."""
    return torch.stack(list(every_row(tree, nodes).values()), 1)


def summed_elbo(model, guide, tree, data):
    """The evidence lower bound of every row of data, a sum over all assignments of the latents."""
    latent = list(guide.inputs)
    codes = codes_of(tree, latent)
    log_p = log_probabilities(model, latent, data, codes).detach()

    def bound():
        log_q = log_probabilities(guide, latent, data, codes)
        return (log_q.exp() * (log_p - log_q)).sum(0)

    return bound


def distance(guide, tree, observed, data):
    """The largest error of a joint posterior probability over all evidence."""
    latent = list(guide.inputs)
    weights = log_probabilities(guide, latent, data, codes_of(tree, latent)).detach().exp()
    seen = {v: [tree.states[v][int(i)] for i in data[v]] for v in observed}
    truth = tree.query(latent, seen).reshape(len(data[observed[0]]), -1).T
    return float((weights - truth).abs().max())


def set_tables(guide, tree):
    """Give every table of a guide of discrete sites the logarithms of the true conditionals."""
    for (name, inputs), head in zip(guide.inputs.items(), guide.heads, strict=True):
        given = [i.name for i in inputs]
        joint = tree.query((*given, name))
        logits = joint.log().clamp(min=-80)  # no evidence leads to what is impossible
        logits = logits.flatten(0, -2) if given else logits[None]
        with torch.no_grad():
            head.rows.copy_(logits)
