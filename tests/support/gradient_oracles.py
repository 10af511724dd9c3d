"""Exact means and variances of gradient estimators, by quadrature and by enumeration.

Written from the definitions, in numpy, without a line of the code under test.
"""

import itertools
import math

import numpy as np


def normal_grid(points=20001, reach=10.0):
    """Nodes and weights of the trapezoidal rule for a standard normal."""
    e = np.linspace(-reach, reach, points)
    w = np.exp(-(e**2) / 2)
    return e, w / w.sum()


def cost_and_slope(cost, k):
    return {
        "square": (lambda x: (x - k) ** 2, lambda x: 2 * (x - k)),
        "exp": (lambda x: np.exp(-k * x**2), lambda x: -2 * k * x * np.exp(-k * x**2)),
        "cos": (lambda x: np.cos(k * x), lambda x: -k * np.sin(k * x)),
    }[cost]


def moments(values, weights):
    mean = (weights * values).sum()
    return mean, (weights * values**2).sum() - mean**2


def normal_moments(estimator, cost, k, wrt):
    """Mean and variance of one estimate under x ~ N(1, 1)."""
    f, slope = cost_and_slope(cost, k)
    e, w = normal_grid()
    x = 1 + e
    score = e if wrt == "loc" else e**2 - 1
    if estimator == "score":
        return moments(f(x) * score, w)
    if estimator == "score_constant":
        best = (w * f(x) * score**2).sum() / (w * score**2).sum()
        return moments((f(x) - best) * score, w)
    if estimator == "leave_one_out":
        coarse, weight = normal_grid(1601, 8.0)
        z1, z2 = np.meshgrid(coarse, coarse)
        s1, s2 = (z if wrt == "loc" else z**2 - 1 for z in (z1, z2))
        return moments((f(1 + z1) - f(1 + z2)) * (s1 - s2) / 2, np.outer(weight, weight))
    if estimator == "reparameterized":
        return moments(slope(x) * (1 if wrt == "loc" else e), w)
    if estimator == "measure_valued":
        return measure_valued_moments(f, wrt, coupled=True)
    if estimator == "measure_valued(coupled=False)":
        return measure_valued_moments(f, wrt, coupled=False)
    raise AssertionError(estimator)


def measure_valued_moments(f, wrt, coupled):
    e, w = normal_grid()
    if wrt == "loc":
        rayleigh = np.where(e > 0, e * w, 0.0)
        rayleigh /= rayleigh.sum()
        c = 1 / math.sqrt(2 * math.pi)
        if coupled:
            return moments(c * (f(1 + e) - f(1 - e)), rayleigh)
        (up, up_var), (down, down_var) = (moments(f(1 + s * e), rayleigh) for s in (1, -1))
        return c * (up - down), c**2 * (up_var + down_var)
    maxwell = e**2 * w
    if not coupled:
        (up, up_var), (down, down_var) = moments(f(1 + e), maxwell), moments(f(1 + e), w)
        return up - down, up_var + down_var
    e, w = normal_grid(2001)
    maxwell = e**2 * w / (e**2 * w).sum()
    u = (np.arange(1000) + 0.5) / 1000
    values = f(1 + e)[:, None] - f(1 + e[:, None] * u)
    return moments(values, np.repeat(maxwell[:, None] / 1000, 1000, 1))


def bernoulli_moments(estimator, target, p, temperature=0.5, scale=1.0, network=None):
    """Mean and variance of one estimate of the gradient in the logit of E (b - t)²."""
    f = np.array([target**2, (1 - target) ** 2])
    mass = np.array([1 - p, p])
    scores = np.array([-p, 1 - p])
    u = (np.arange(200_000) + 0.5) / 200_000
    uniform = np.full(len(u), 1 / len(u))
    if estimator == "score":
        return moments(f * scores, mass)
    if estimator == "score_constant":
        best = p * f[0] + (1 - p) * f[1]
        return moments((f - best) * scores, mass)
    if estimator == "leave_one_out":
        pairs = list(itertools.product([0, 1], repeat=2))
        values = [(f[a] - f[b]) * (scores[a] - scores[b]) / 2 for a, b in pairs]
        return moments(np.array(values), np.array([mass[a] * mass[b] for a, b in pairs]))
    if estimator in ("arm", "disarm"):
        b1, b2 = (u > 1 - p).astype(int), (u < p).astype(int)
        if estimator == "arm":
            return moments((f[b1] - f[b2]) * (u - 0.5), uniform)
        sigma = max(p, 1 - p)
        return moments(0.5 * (f[b1] - f[b2]) * (b1 != b2) * (-1.0) ** b2 * sigma, uniform)
    if estimator in ("enumerate", "measure_valued"):
        return p * (1 - p) * (f[1] - f[0]), 0.0
    if estimator == "muprop":
        # f(b) less its expansion about p is (b - p)²
        values = (np.array([0, 1]) - p) ** 2 * scores + 2 * (p - target) * p * (1 - p)
        return moments(values, mass)
    if estimator == "vimco":
        # of two draws: the bound less the other draw's log-weight, times the score of this one
        pairs = list(itertools.product([0, 1], repeat=2))
        bounds = {(a, b): np.log((np.exp(-f[a]) + np.exp(-f[b])) / 2) for a, b in pairs}
        values = [
            -(bounds[a, b] + f[b]) * scores[a] - (bounds[a, b] + f[a]) * scores[b] for a, b in pairs
        ]
        return moments(np.array(values), np.array([mass[a] * mass[b] for a, b in pairs]))
    if estimator in ("gumbel_softmax", "straight_through"):
        y = sigmoid((logit(p) + logit(u)) / temperature)
        value = y if estimator == "gumbel_softmax" else (u > 1 - p).astype(float)
        return moments(2 * (value - target) * y * (1 - y) / temperature, uniform)
    if estimator in ("rebar", "relax"):
        return rebar_moments(target, p, temperature, scale, network)
    raise AssertionError(estimator)


def rebar_moments(target, p, temperature, scale, network=None, points=2000):
    """By the midpoint rule over both uniform variables; the path's derivative by differences."""
    grid = (np.arange(points) + 0.5) / points
    u, v = np.meshgrid(grid, grid, indexing="ij")
    phi = logit(p)
    b = (u > 1 - p).astype(float)

    def tied(phi):
        q = sigmoid(phi)
        return phi + logit(np.where(b > 0, (1 - q) + v * q, v * (1 - q)))

    def variate(z):
        relaxed = scale * (sigmoid(z / temperature) - target) ** 2
        return relaxed if network is None else relaxed + network(z)

    step = 1e-4
    free = phi + logit(u)
    path_free = (variate(free + step) - variate(free - step)) / (2 * step)
    path_tied = (variate(tied(phi + step)) - variate(tied(phi - step))) / (2 * step)
    g = ((b - target) ** 2 - variate(tied(phi))) * (b - p) + path_free - path_tied
    return moments(g, np.full(g.shape, 1 / g.size))


def logit(p):
    return np.log(p) - np.log1p(-p)


def sigmoid(a):
    return 1 / (1 + np.exp(-a))
