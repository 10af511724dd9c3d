"""Masks and scales that model and guide each compute themselves, staged or not."""

from contextlib import nullcontext

import pyro
import pyro.distributions as dist
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pyro import poutine
from pyro.infer import Trace_ELBO
from torch.distributions import constraints, kl_divergence
from torch.testing import assert_close

import ppl_gen
from ppl_gen.objectives import ELBO, IWAE

pytestmark = pytest.mark.usefixtures("fresh_store")
N, WORDS = 5, 3
MASKS = st.lists(st.booleans(), min_size=N, max_size=N).map(torch.tensor)
SCALES = st.lists(st.sampled_from([0.5, 1.0, 3.0]), min_size=N, max_size=N).map(torch.tensor)
BINARY = st.booleans()


def handlers(mask, scale):
    """The handlers as a program makes them, from tensors of its own."""
    masked = nullcontext() if mask is None else poutine.mask(mask=mask & True)
    scaled = nullcontext() if scale is None else poutine.scale(scale=scale * 1.0)
    return masked, scaled


def model(binary, y, masks, scales):
    mask, scale = handlers(masks[0], scales[0])
    with pyro.plate("data", N):
        with mask, scale:
            prior = dist.Bernoulli(0.4) if binary else dist.Normal(0.0, 1.0)
            z = pyro.sample("z", prior)
        pyro.sample("y", dist.Normal(z, 1.0), obs=y)


def law(binary):
    if binary:
        return dist.Bernoulli(logits=pyro.param("logits", torch.linspace(-1, 1, N)))
    sd = pyro.param("sd", torch.full((N,), 0.6), constraint=constraints.positive)
    return dist.Normal(pyro.param("loc", torch.linspace(-1, 1, N)), sd)


def guide(binary, y, masks, scales):
    mask, scale = handlers(masks[1], scales[1])
    with pyro.plate("data", N), mask, scale:
        pyro.sample("z", law(binary))


def programs(binary):
    return (
        lambda *args: model(binary, *args),
        lambda *args: guide(binary, *args),
    )


def weights(masks, scales):
    """What log p and log q of each datum are multiplied by."""
    ones = torch.ones(N)
    return [
        (ones if s is None else s) * (ones if m is None else m)
        for m, s in zip(masks, scales, strict=True)
    ]


def expected_cost(binary, q, p, on_p, on_q):
    r"""The expectation of :math:`w_q \log q - w_p \log p`, by datum."""
    entropy = q.entropy()
    return on_p * (kl_divergence(q, p) + entropy) - on_q * entropy


@st.composite
def cases(draw):
    """Masks and scales of model and guide: the same, partly the same or unrelated, or none."""
    first, second = draw(MASKS), draw(MASKS)
    masks = draw(st.sampled_from([(first, first), (first, second), (None, first), (first, None)]))
    one, other = draw(SCALES), draw(SCALES)
    scales = draw(st.sampled_from([(None, None), (one, one), (one, other), (None, one)]))
    return masks, scales


@given(cases(), BINARY)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_the_loss_has_the_expectation_of_each_side_weighted_by_itself(case, binary):
    pyro.clear_param_store()
    masks, scales = case
    y = torch.linspace(-1, 2, N)
    q, p = law(binary), (dist.Bernoulli(0.4) if binary else dist.Normal(0.0, 1.0)).expand([N])
    on_p, on_q = weights(masks, scales)
    alike = on_p == on_q
    closed = expected_cost(binary, q, p, on_p, on_q)
    torch.manual_seed(0)
    loss, _ = ELBO().loss_and_metrics(*programs(binary), y, masks, scales)
    torch.manual_seed(0)
    z = q.sample() if binary else q.rsample()
    drawn = on_q * q.log_prob(z) - on_p * p.log_prob(z)
    costs = torch.where(alike, closed, drawn) - dist.Normal(z, 1.0).log_prob(y)
    assert_close(loss, costs.sum(), rtol=1e-4, atol=1e-4)


@given(cases(), BINARY)
@settings(max_examples=10, deadline=None, derandomize=True)
def test_loss_and_gradient_have_the_expectation_of_stock_pyro(case, binary):
    pyro.clear_param_store()
    args = torch.linspace(-1, 2, N), *case
    guide_law = law(binary)
    options = {"num_particles": 300, "vectorize_particles": True, "max_plate_nesting": 1}
    ours, theirs = [], []
    for _ in range(12):
        for objective, found in ((ELBO(**options), ours), (Trace_ELBO(**options), theirs)):
            loss = objective.differentiable_loss(*programs(binary), *args)
            found.append(torch.cat([loss.detach().reshape(1), *map(torch.flatten, slopes(loss))]))
    assert guide_law.batch_shape == (N,)
    ours, theirs = torch.stack(ours), torch.stack(theirs)
    error = ((ours.var(0) + theirs.var(0)) / 12).sqrt()
    assert (abs(ours.mean(0) - theirs.mean(0)) < 5 * error + 1e-3).all()


def slopes(loss):
    leaves = [p for _, p in pyro.get_param_store().named_parameters()]
    if not loss.requires_grad:
        return [torch.zeros_like(p) for p in leaves]
    return torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)


class Lengths:
    """A chain of latents of several lengths, whose mask each program computes from the lengths."""

    @staticmethod
    def model(y, lengths, scale):
        z = torch.zeros(N)
        with pyro.plate("data", N), poutine.scale(scale=scale):
            for t in range(WORDS):
                with poutine.mask(mask=lengths > t):
                    z = pyro.sample(f"z_{t}", dist.Normal(0.8 * z, 1.0))
                    pyro.sample(f"y_{t}", dist.Normal(z, 0.5), obs=y[:, t])

    @staticmethod
    def guide(y, lengths, scale):
        sd = pyro.param("sd", torch.tensor(0.7), constraint=constraints.positive)
        loc = pyro.param("loc", torch.linspace(-1, 1, WORDS))
        with pyro.plate("data", N), poutine.scale(scale=scale):
            for t in range(WORDS):
                with poutine.mask(mask=(t < lengths)):
                    pyro.sample(f"z_{t}", dist.Normal(loc[t] + 0.5 * y[:, t], sd))


def batches():
    """Data with other lengths and another weight in each."""
    random = torch.Generator().manual_seed(0)
    for i in range(5):
        lengths = torch.randint(1, WORDS + 1, (N,), generator=random)
        yield torch.randn(N, WORDS, generator=random), lengths, torch.tensor(0.2 * i + 0.1)


@pytest.mark.parametrize("objective", [ELBO(), ELBO(num_particles=2), IWAE(num_particles=3)])
def test_masks_and_scales_that_change_are_staged_bit_for_bit(objective):
    def steps(staged):
        options = {"staged": staged, "backend": "eager"}
        step = ppl_gen.stage(Lengths.model, Lengths.guide, objective, **options)
        torch.manual_seed(3)
        for batch in batches():
            yield step(*batch).clone()
            yield from [p.grad.clone() for p in step.parameters()]

    staged, eager = list(steps(True)), list(steps(False))
    assert len(staged) == len(eager) == 15
    assert all(map(torch.equal, staged, eager))


@pytest.mark.parametrize("kl", ["analytic", "sampled"])
def test_programs_of_random_masks_are_staged_bit_for_bit(kl):
    random = torch.Generator().manual_seed(1)
    inputs = [
        (
            torch.randn(N, generator=random),
            tuple(torch.rand(2, N, generator=random) < 0.5),
            tuple(torch.rand(2, N, generator=random) + 0.1),
        )
        for _ in range(4)
    ]
    for binary in (False, True):
        pyro.clear_param_store()
        found = []
        for staged in (True, False):
            options = {"staged": staged, "backend": "eager"}
            step = ppl_gen.stage(*programs(binary), ELBO(kl=kl), **options)
            torch.manual_seed(2)
            for args in inputs:
                found.append(step(*args).clone())
                found += [p.grad.clone() for p in step.parameters()]
        half = len(found) // 2
        assert all(map(torch.equal, found[:half], found[half:]))


def test_the_weight_of_data_is_divided_out_of_their_importance_weights():
    y = torch.linspace(-1, 2, N)
    scale = torch.tensor([0.5, 1.0, 2.0, 3.0, 0.1])

    def scaled(program):
        def run(y):
            with poutine.scale(scale=scale):
                program(y, (None, None), (None, None))

        return run

    plain = [lambda y, f=f: f(y, (None, None), (None, None)) for f in programs(False)]
    bound = IWAE(num_particles=3)
    torch.manual_seed(0)
    t = bound.runner(*plain, (y,), {})()
    expected = -(scale * bound.bound(t)).sum()
    torch.manual_seed(0)
    loss, _ = bound.loss_and_metrics(*map(scaled, programs(False)), y)
    assert_close(loss, expected)


def test_a_weight_within_data_stays_inside_the_importance_weights():
    """One that varies by word says nothing of a document, whatever the numbers of either."""
    table, scale = torch.linspace(-1, 2, 9).reshape(3, 3), torch.rand(3, 1) + 0.5

    def documents(x):
        with pyro.plate("documents", 3, dim=-1):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            with pyro.plate("words", 3, dim=-2), poutine.scale(scale=scale):
                pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def encoder(x):
        with pyro.plate("documents", 3, dim=-1):
            pyro.sample("z", dist.Normal(x.mean(0), 0.6))

    bound = IWAE(num_particles=3)
    run = bound.runner(documents, encoder, (table,), {})
    t = run()
    z = t.values["z"].reshape(3, 1, 3)
    words = (scale * dist.Normal(z, 1.0).log_prob(table)).sum(1)
    z = z.squeeze(1)
    ratio = dist.Normal(0.0, 1.0).log_prob(z) - dist.Normal(table.mean(0), 0.6).log_prob(z)
    expected = -((words + ratio).logsumexp(0) - torch.tensor(3.0).log()).sum()
    assert_close(bound.reduce(t, run), expected)


def test_one_datum_of_many_with_a_global_latent_has_no_importance_weight():
    def model(y):
        b = pyro.sample("b", dist.Normal(0.0, 1.0))
        with pyro.plate("data", 10, subsample=torch.arange(1)):
            pyro.sample("y", dist.Normal(b, 1.0), obs=y)

    def guide(y):
        pyro.sample("b", dist.Normal(0.3, 0.5))

    with pytest.raises(ValueError, match="subsample of the data"):
        IWAE(num_particles=2).loss(model, guide, torch.zeros(1))
