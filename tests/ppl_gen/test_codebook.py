"""Vector quantisation: whose gradient goes where, what the running means are, what the KL is."""

import math

import pytest
import torch

import ppl_gen
from ppl_gen import metrics, zoo
from ppl_gen.codebook import AutoregressiveCodes, Codebook, Codes, Quantized, UniformCodes
from ppl_gen.objectives import ELBO

SHAPE = (1, 4, 4)


def build(**options):
    torch.manual_seed(0)
    return zoo.vq_vae(SHAPE, 3, num_codes=5, code_dim=2, hidden=8, **options)


def images(n=12):
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(0)).round()


@pytest.mark.parametrize("codebook", ["ema", "gradient"])
def test_the_encoder_receives_the_decoders_gradient_at_the_code(codebook):
    model = build(codebook=codebook)
    family = model.latents[0].family
    parameters = torch.randn(4, 6, requires_grad=True)
    before = family.codebook.vectors.detach().clone()
    value = family(parameters).rsample()
    distances = torch.cdist(value.detach().reshape(-1, 2), before)
    assert distances.min(1).values.max() < 1e-6
    at_code = value.detach().requires_grad_()
    x = images(4)
    (expected,) = torch.autograd.grad(model.decode(at_code).log_prob(x).sum(), at_code)
    (found,) = torch.autograd.grad(model.decode(value).log_prob(x).sum(), parameters)
    torch.testing.assert_close(found, expected.flatten(1))


def test_codes_are_the_nearest_vectors():
    codebook = Codebook(7, 3)
    z = torch.randn(50, 4, 3)
    expected = torch.cdist(z.reshape(-1, 3), codebook.vectors).argmin(1).reshape(50, 4)
    assert torch.equal(codebook.nearest(z), expected)


def test_auxiliary_losses_move_the_right_side():
    for kind in ("ema", "gradient"):
        family = build(codebook=kind).latents[0].family
        parameters = torch.randn(4, 6, requires_grad=True)
        z = parameters.unflatten(-1, (3, 2))
        family.eval()
        losses = family(parameters).losses
        nearest = family.codebook.look_up(family.codebook.nearest(z)).detach()
        (gradient,) = torch.autograd.grad(losses["commitment"].sum(), parameters)
        torch.testing.assert_close(gradient, 0.5 * (z - nearest).flatten(1).detach())
        assert ("codebook" in losses) == (kind == "gradient")
    (moves,) = torch.autograd.grad(losses["codebook"].sum(), family.codebook.vectors)
    chosen = family.codebook.nearest(z).flatten()
    pulled = torch.zeros_like(moves)
    pulled.index_add_(0, chosen, 2 * (nearest - z).detach().reshape(-1, 2))
    torch.testing.assert_close(moves, pulled)


def test_running_means_are_the_means_of_what_was_assigned():
    codebook = Codebook(4, 2, decay=0.9, restart=0.0)
    start = codebook.vectors.clone()
    batches, assignments = [], []
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        z = torch.randn(30, 2, generator=generator)
        indices = codebook.nearest(z)
        batches.append(z)
        assignments.append(indices)
        codebook.follow(z, indices)
    for k in range(4):
        total, weight = 0.9**5 * start[k], 0.9**5
        for step, (z, indices) in enumerate(zip(batches, assignments, strict=True)):
            w = 0.1 * 0.9 ** (4 - step)
            total = total + w * z[indices == k].sum(0)
            weight += w * (indices == k).sum()
        torch.testing.assert_close(codebook.vectors[k], total / weight)


def test_unused_codes_restart_at_outputs_of_the_batch():
    codebook = Codebook(3, 2, decay=0.5, restart=0.1)
    with torch.no_grad():
        codebook.vectors[2] = 1e3
    z = torch.randn(40, 2)
    for _ in range(6):
        codebook.follow(z, codebook.nearest(z))
    assert torch.cdist(codebook.vectors, z).min(1).values.max() < 1.5
    assert len(codebook.nearest(z).unique()) == 3


@pytest.mark.parametrize("dim", [1, 2, 4])
@pytest.mark.parametrize("decay", [0.5, 0.9])
def test_codes_are_known_again_after_the_running_means_moved(dim, decay):
    torch.manual_seed(0)
    for _ in range(10):
        codebook = Codebook(8, dim, decay).double()
        for _ in range(100):
            z = 0.5 * torch.randn(8, dim, dtype=torch.float64)
            drawn = codebook.nearest(z)
            vectors = codebook.look_up(drawn)
            codebook.follow(z, drawn)
            assert torch.equal(codebook.index_of(z + (vectors - z)), drawn)


def test_the_kl_is_log_k_per_position_under_the_uniform_prior():
    model, x = build(learned_prior=False), images()
    found = metrics.elbo_terms(model, x)
    assert found.kl == pytest.approx(3 * math.log(5), rel=1e-6)
    code = model.eval().code(x)
    assert found.reconstruction == pytest.approx(model.decode(code).log_prob(x).mean().item())
    assert metrics.log_likelihood(model, x, 3).mean().item() == pytest.approx(found.elbo, rel=1e-5)


@pytest.mark.parametrize("logits", [UniformCodes(3), AutoregressiveCodes(3, hidden=4)])
def test_the_prior_sums_to_one_and_is_sampled_as_it_scores(logits):
    torch.manual_seed(0)
    codebook = Codebook(3, 2)
    law = Codes(codebook, logits, 2)
    grid = torch.cartesian_prod(torch.arange(3), torch.arange(3))
    probabilities = law.log_prob(codebook.look_up(grid)).exp().detach()
    assert probabilities.sum().item() == pytest.approx(1.0, rel=1e-5)
    draws = codebook.nearest(law.expand((9000,)).sample())
    counts = torch.bincount(draws[:, 0] * 3 + draws[:, 1], minlength=9)
    chi2 = ((counts - 9000 * probabilities) ** 2 / (9000 * probabilities)).sum().item()
    assert chi2 < 26.1  # the 99.9 % quantile with 8 degrees of freedom


def test_the_autoregressive_prior_looks_only_back():
    torch.manual_seed(0)
    network = AutoregressiveCodes(4, hidden=8)
    indices = torch.randint(4, (6, 5))
    changed = indices.clone()
    changed[:, 3] = (changed[:, 3] + 1) % 4
    before, after = network(indices), network(changed)
    assert torch.equal(before[:, :4], after[:, :4])
    assert not torch.equal(before[:, 4], after[:, 4])


def test_training_uses_the_codebook_and_learns_the_prior():
    model, x = build(), images(64)
    before = metrics.elbo_terms(model, x)
    ppl_gen.fit(model, x, epochs=60, batch_size=32, lr=5e-3, staged=False, progress=False)
    after, usage = metrics.elbo_terms(model, x), metrics.codebook_usage(model, x)
    assert after.elbo > before.elbo + 1
    assert 2 <= usage.used <= 5
    assert usage.fraction == usage.used / 5
    assert 1 < usage.perplexity <= usage.used + 1e-6
    assert usage.counts.sum() == 64 * 3
    with pytest.raises(ValueError, match="model with a codebook, got a DiagonalNormal"):
        metrics.codebook_usage(zoo.vae(SHAPE, 2, hidden=8), x)


def test_the_objective_names_its_auxiliary_losses():
    model = build(codebook="gradient")
    _, found = ELBO().loss_and_metrics(model.model, model.guide, images())
    assert {"z_commitment", "z_codebook"} <= set(found)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"num_codes": 0}, "at least one code and dimension, got 0 and 16"),
        ({"codebook": "lvq"}, "'ema' or 'gradient', got 'lvq'"),
        ({"commitment": -1.0}, "commitment >= 0, got -1"),
        ({"latent_dim": 0}, "at least one dimension, got 0"),
    ],
)
def test_bad_settings(options, match):
    with pytest.raises(ValueError, match=match):
        zoo.vq_vae(SHAPE, **options)


def test_bad_decay_and_indices():
    with pytest.raises(ValueError, match=r"decay in \(0, 1\), got 1"):
        Codebook(3, 2, decay=1.0)
    with pytest.raises(ValueError, match="indices below 3"):
        Quantized(Codebook(3, 2)).place(torch.zeros(1, 2, 2), 0, torch.tensor([3]))
