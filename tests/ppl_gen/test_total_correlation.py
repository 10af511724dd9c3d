"""The decomposition of the KL against quadrature over an aggregate of three data."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch.distributions import Normal
from torch.utils.data import DataLoader, IterableDataset, SubsetRandomSampler, TensorDataset

import ppl_gen
from ppl_gen import zoo
from ppl_gen.objectives import ELBO
from ppl_gen.objectives.terms import terms
from ppl_gen.objectives.total_correlation import TotalCorrelationELBO, stratified_log_weights


@pytest.mark.parametrize(("batch", "num_data"), [(1, 50), (2, 50), (8, 8), (8, 50), (64, 737_280)])
def test_every_row_of_the_weights_sums_to_one(batch, num_data):
    weights = stratified_log_weights(batch, num_data).exp()
    torch.testing.assert_close(weights.sum(1), torch.ones(batch, dtype=torch.float64))
    if 1 < batch < num_data:
        torch.testing.assert_close(
            weights.diagonal(), torch.full((batch,), 1 / num_data, dtype=torch.float64)
        )
    with pytest.raises(ValueError, match="at most 3 data, got 4"):
        stratified_log_weights(4, 3)


def test_the_stratified_estimate_of_the_aggregate_is_unbiased():
    generator = torch.Generator().manual_seed(0)
    densities = torch.rand(5, generator=generator, dtype=torch.float64)
    weights = stratified_log_weights(3, 5).exp()
    for own in range(5):
        others = [n for n in range(5) if n != own]
        batches = list(itertools.permutations(others, 2))
        estimates = [weights[0] @ densities[[own, *rest]] for rest in batches]
        assert torch.stack(estimates).mean().item() == pytest.approx(densities.mean().item())


def enumerated(loc, scale):
    """Mutual information, total correlation and dimension-wise KL on a grid over the plane."""
    axis = torch.linspace(-9, 9, 1201, dtype=torch.float64)
    cell = (axis[1] - axis[0]).item()
    one = Normal(loc.unsqueeze(-1), scale.unsqueeze(-1)).log_prob(axis)
    joint = (one[:, 0, :, None] + one[:, 1, None, :]).exp()
    aggregate, marginals = joint.mean(0), one.exp().mean(0)
    product = marginals[0][:, None] * marginals[1][None, :]
    prior = Normal(0.0, 1.0).log_prob(axis).exp()

    def divergence(p, q, volume):
        return (torch.xlogy(p, p) - torch.xlogy(p, q)).sum().item() * volume

    information = sum(divergence(j, aggregate, cell**2) for j in joint) / len(joint)
    dimensionwise = sum(divergence(m, prior, cell) for m in marginals)
    return information, divergence(aggregate, product, cell**2), dimensionwise


def test_the_parts_equal_an_enumerated_aggregate():
    torch.manual_seed(0)
    model = zoo.tc_vae((1, 2, 2), 2, hidden=8).double()
    x = torch.rand(3, 1, 2, 2, dtype=torch.float64)
    with torch.no_grad():
        for parameter in model.latents.parameters():
            parameter.mul_(2.0)
        posterior = model.encode(x)
        q, draws = posterior.base_dist, []
        t = terms(model.model, model.guide, (x,))
        for _ in range(5000):
            z = posterior.sample()
            t = replace(t, values={"z": z}, log_q={"z": posterior.log_prob(z).unsqueeze(0)})
            draws.append(torch.stack([v.mean() for v in model.objective.parts(t).values()]))
    draws = torch.stack(draws)
    errors = draws.std(0) / len(draws) ** 0.5
    truth = torch.tensor(enumerated(q.loc, q.scale), dtype=torch.float64)
    assert ((draws.mean(0) - truth).abs() < 4 * errors).all()
    assert (errors < 0.02).all()


def test_equal_weights_give_the_sampled_elbo():
    torch.manual_seed(0)
    model = zoo.tc_vae((1, 2, 2), 2, hidden=8, beta=1.0)
    x = torch.rand(5, 1, 2, 2)
    torch.manual_seed(1)
    found = model.objective.loss(model.model, model.guide, x)
    torch.manual_seed(1)
    assert found == pytest.approx(ELBO(kl="sampled").loss(model.model, model.guide, x), rel=1e-5)


def test_a_dependent_posterior_is_refused():
    model = zoo.hierarchical_vae((1, 2, 2), 2, hidden=8)
    vamp = zoo.vamp_vae((1, 2, 2), 2, hidden=8, num_pseudo_inputs=3)
    with pytest.raises(ValueError, match=r"independent over dimensions, got .* MixtureSameFamily"):
        TotalCorrelationELBO().loss(vamp.model, vamp.guide, torch.rand(4, 1, 2, 2))
    loss = TotalCorrelationELBO(site="z2").loss(model.model, model.guide, torch.rand(4, 1, 2, 2))
    assert loss == loss


class Separated(torch.nn.Module):
    """Posteriors a thousand standard deviations apart."""

    def __init__(self):
        super().__init__()
        self.width = torch.nn.Parameter(torch.tensor(1.0))

    def forward(self, x):
        loc = 1e5 * self.width * x.flatten(1)[:, :1]
        return torch.cat([loc, torch.full_like(loc, -5.0)], 1)


SETS = {
    "tensor": lambda x: x,
    "Dataset": TensorDataset,
    "DataLoader": lambda x: DataLoader(TensorDataset(x), batch_size=32, shuffle=True),
    "part of a Dataset": lambda x: DataLoader(
        TensorDataset(torch.cat([x, x + 9])), 32, sampler=SubsetRandomSampler(range(len(x)))
    ),
}


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("num_data", [None, 250])
def test_training_knows_the_size_of_the_data(name, num_data):
    x = (torch.arange(200) / 200).view(200, 1, 1, 1).expand(200, 1, 1, 2).contiguous()
    model = zoo.tc_vae((1, 1, 2), 1, hidden=4, encoder=Separated(), num_data=num_data)
    options = {"epochs": 2, "batch_size": 32, "lr": 1e-9, "staged": False, "progress": False}
    history = ppl_gen.fit(model, SETS[name](x), validation=x[:50], **options)
    expected = math.log(num_data or 200)  # the last batch of 8 included
    assert history["mutual_information"] == pytest.approx([expected] * 14, abs=1e-4)
    held_out = math.log(num_data or 50)
    assert history["val_mutual_information"][6::7] == pytest.approx([held_out] * 2, abs=1e-4)
    ppl_gen.fit(model, x[:20], **options | {"batch_size": 10})
    if num_data is None:
        _, metrics = model.objective.loss_and_metrics(model.model, model.guide, x[:10])
        assert metrics["mutual_information"].item() == pytest.approx(math.log(20), abs=1e-4)
        model.objective.loss(model.model, model.guide, x)


class Stream(IterableDataset):
    """Data of which nobody knows how many there are."""

    def __init__(self, x):
        self.x = x

    def __iter__(self):
        return iter(self.x)


@pytest.mark.parametrize("known", [True, False])
def test_data_of_unknown_length_need_their_size(known):
    x = torch.rand(40, 1, 2, 2)
    options = {"epochs": 1, "batch_size": 8, "staged": False, "progress": False}
    model = zoo.tc_vae((1, 2, 2), 2, hidden=4, num_data=40 if known else None)
    plain = zoo.vae((1, 2, 2), 2, hidden=4)
    for data, held_out in [(Stream(x), None), (x, Stream(x)), (Stream(x), x)]:
        ppl_gen.fit(plain, data, validation=held_out, **options)
        if known:
            ppl_gen.fit(model, data, validation=held_out, **options)
            continue
        before = [p.clone() for p in model.parameters()]
        with pytest.raises(ValueError, match="num_data, the size of the training set"):
            ppl_gen.fit(model, data, validation=held_out, **options)
        assert all(map(torch.equal, before, model.parameters()))
