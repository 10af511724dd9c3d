"""A diffusion as the prior of a VAE: its density is a number, exact where the law is known."""

import math
from contextlib import suppress

import linear_gaussian
import pytest
import torch
from torch import nn

import ppl_gen
from ppl_gen import metrics
from ppl_gen.denoisers import Clipped, Denoiser, Gaussian
from ppl_gen.likelihoods import Gaussian as GaussianLikelihood
from ppl_gen.models.diffusion import Diffusion
from ppl_gen.networks import ResidualMLP
from ppl_gen.noise import Cosine
from ppl_gen.priors import DiffusionPrior, StandardNormal

pytestmark = pytest.mark.usefixtures("fresh_store")


def exact(dim=2, *, steps=40, levels=200, noise=None, **parts):
    """The prior N(0, I) in float64, as the diffusion that has it exactly."""
    law = Gaussian(noise or Cosine(), torch.zeros(dim, dtype=torch.float64), 1.0)
    return DiffusionPrior(
        dim, Diffusion(law, (dim,), steps=steps, **parts), likelihood_steps=levels
    )


def small(dim=2, hidden=32, **parts):
    network = ResidualMLP((dim,), hidden, 2)
    denoiser = Denoiser(network, Cosine(), "velocity", data_shape=(dim,))
    return DiffusionPrior(dim, Diffusion(denoiser, (dim,), weighting="velocity", **parts))


# --- Where everything is known ---------------------------------------------------------------


def test_a_vae_with_the_exact_denoiser_as_prior_has_the_evidence():
    model, x = linear_gaussian.build(exact=True, prior=exact()), linear_gaussian.data(15)
    evidence = linear_gaussian.log_evidence(model, x).detach()
    # with the exact posterior every single weight is the evidence
    for count in (1, 3):
        found = metrics.log_likelihood(model, x, count)
        torch.testing.assert_close(found, evidence, atol=0.01, rtol=0)
    terms = metrics.elbo_terms(model, x, num_samples=2)
    assert terms.elbo == pytest.approx(evidence.mean().item(), abs=0.01)


def test_a_loose_posterior_is_weighed_as_with_the_gaussian_itself():
    model, plain = (
        linear_gaussian.build(exact=False, prior=p)
        for p in (exact(levels=100), StandardNormal(2).double())
    )
    x = linear_gaussian.data(10)
    found, same = (metrics.log_likelihood(m, x, 30, seed=3) for m in (model, plain))
    torch.testing.assert_close(found, same, atol=0.02, rtol=0)
    drawn = model.sample(3000, seed=1).flatten(1)
    loadings = model.decoder[0].weight.detach()
    torch.testing.assert_close(drawn.T.cov(), loadings @ loadings.T, atol=0.25, rtol=0)


def test_importance_weights_need_the_density_and_not_the_bound():
    prior, z = exact(1, steps=40), torch.zeros(20_000, 1, dtype=torch.float64) + 1.2
    truth = torch.distributions.Normal(0.0, 1.0).log_prob(torch.tensor(1.2)).item()
    values = prior().log_prob(z[:5])
    assert torch.equal(values, values[:1].expand(5))
    assert values[0].item() == pytest.approx(truth, abs=0.01)
    with torch.no_grad():
        bounds = prior.bound(z)
    error = bounds.std().item() / len(z) ** 0.5
    assert truth - 1.5 < bounds.mean().item() < truth + 4 * error
    assert (bounds.logsumexp(0) - math.log(len(z))).item() > truth + 1


def test_shift_and_scale_are_a_change_of_variables():
    prior = exact(2, levels=200)
    prior.shift.copy_(torch.tensor([3.0, -1.0]))
    prior.scale.copy_(torch.tensor([0.5, 4.0]))
    law = torch.distributions.Independent(torch.distributions.Normal(prior.shift, prior.scale), 1)
    z = law.sample((3, 4))
    torch.testing.assert_close(prior().log_prob(z), law.log_prob(z), atol=0.01, rtol=0)
    assert prior().expand((3, 1)).log_prob(z).shape == (3, 4)
    many, plain = law.sample((20_000,)), exact(2)
    with torch.no_grad():
        torch.manual_seed(0)
        bounds = prior.bound(many)
        torch.manual_seed(0)
        standard = plain.bound(prior.standardize(many))
    torch.testing.assert_close(bounds, standard - math.log(0.5 * 4.0))
    torch.manual_seed(0)
    drawn = prior().expand((2000,)).sample()
    torch.testing.assert_close(drawn.mean(0), law.mean, atol=0.3, rtol=0)
    torch.testing.assert_close(drawn.std(0) / law.stddev, torch.ones(2).double(), atol=0.1, rtol=0)


def test_moments_of_codes_weigh_later_batches_more_and_forget():
    prior, z = small(), 5 + 3 * torch.randn(50, 64, 2)
    for batch in z:
        prior.measure(batch)
    weights = torch.arange(1.0, 51.0)[:, None] / torch.arange(1.0, 51.0).sum()
    mean = (weights * z.mean(1)).sum(0)
    torch.testing.assert_close(prior.shift, mean)
    second = (weights * z.square().mean(1)).sum(0)
    torch.testing.assert_close(prior.scale, (second - mean.square()).sqrt())
    for _ in range(700):
        prior.measure(-z[0])
    torch.testing.assert_close(prior.shift, -z[0].mean(0), atol=0.05, rtol=0)


def test_the_bound_is_differentiated_by_codes_and_weights_and_the_density_by_nothing():
    prior = small()
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    z = torch.randn(4, 2, requires_grad=True)
    torch.manual_seed(1)
    prior.bound(z).sum().backward()
    assert z.grad.abs().min() > 0
    assert all(p.grad is not None for p in prior.diffusion.denoiser.parameters())
    step = 1e-3 * torch.eye(8).reshape(8, 4, 2)[3]
    values = []
    for sign in (1, -1):
        torch.manual_seed(1)
        values.append(prior.bound((z + sign * step).detach()).sum())
    slope = (values[0] - values[1]) / 2e-3
    assert slope.item() == pytest.approx(z.grad.flatten()[3].item(), rel=0.05, abs=0.02)
    with pytest.raises(ValueError, match=r"fit\(prior\.on\(vae\), data\)"):
        prior().log_prob(z)
    assert not prior().log_prob(z.detach()).requires_grad


# --- Training ---------------------------------------------------------------------------------


def clusters(n, seed=0):
    """Data whose codes under the linear-Gaussian VAE have two modes."""
    generator = torch.Generator().manual_seed(seed)
    sides = torch.randint(2, (n, 1), generator=generator) * 2.0 - 1
    return (2.5 * sides + 0.3 * torch.randn(n, 2, generator=generator)).float()


def plane(prior=None):
    """A VAE of the plane whose encoder and decoder are the identity, with little noise."""
    model = ppl_gen.zoo.vae(
        (2,), 2, encoder=nn.Linear(2, 4), decoder=nn.Identity(),
        likelihood=GaussianLikelihood(0.2), prior=prior,
    )  # fmt: skip
    with torch.no_grad():
        encoder = model.latents[0].encoder
        encoder.weight.copy_(torch.cat([torch.eye(2), torch.zeros(2, 2)]))
        encoder.bias.copy_(torch.tensor([0.0, 0.0, -1.5, -1.5]))
    return model


def test_a_prior_learns_the_codes_and_leaves_the_vae_as_it_is():
    prior, model = small(), plane()
    x = clusters(500)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    training = model.training
    prior.eval()
    kept = {"staged": False, "progress": False}
    ppl_gen.fit(prior.on(model), x, epochs=80, batch_size=250, lr=5e-3, ema=0.97, **kept)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert model.training == training
    codes, held_out = model.encode(x).sample(), model.encode(clusters(200, seed=1)).sample()
    fitted = torch.distributions.MultivariateNormal(codes.mean(0), codes.T.cov())
    # a correlated Gaussian knows nothing of the gap between the modes
    gain = prior().log_prob(held_out) - fitted.log_prob(held_out)
    assert gain.mean() > 0.15
    drawn = prior.sample(400, seed=0)
    assert (drawn.abs() > 1).all(1).float().mean() > 0.9
    assert (drawn[:, 0] > 0).float().mean() == pytest.approx(0.5, abs=0.15)


def test_a_joint_loss_is_the_elbo_with_the_bound_for_the_density():
    # with large variances the chain of N(0, I) is exact, however few its steps and their noise
    prior = exact(steps=3, noise=Cosine(floor=0.5), variance="large")
    model = linear_gaussian.build(exact=True)
    x = linear_gaussian.data(1)
    stage = prior.on(model, jointly=True)
    evidence = linear_gaussian.log_evidence(model, x).item()
    with torch.no_grad():
        many = x.expand(2000, -1, -1, -1)
        draws = torch.tensor([stage.evaluate(many)["elbo"].item() for _ in range(12)])
    error = draws.std().item() / len(draws) ** 0.5
    assert 0 < error < 0.02
    assert abs(draws.mean().item() - evidence) < 4 * error


def test_jointly_a_vae_and_its_prior_both_learn():
    prior, model, x = small(steps=50), plane(), clusters(200)
    stage = prior.on(model, jointly=True)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    history = ppl_gen.fit(
        stage, x, epochs=12, batch_size=100, lr=3e-3, ema=None, staged=False, progress=False
    )
    assert {k for k, v in model.state_dict().items() if not torch.equal(before[k], v)} >= {
        "latents.0.encoder.weight",
        "latents.0.encoder.bias",
    }
    assert history["elbo"][-1] > history["elbo"][0]
    model.latents[0].prior = prior
    with pytest.raises(ValueError, match="jointly=True"):
        ppl_gen.fit(model, x, epochs=1, staged=False, progress=False)


def test_a_run_of_a_prior_resumes_to_the_last_bit(tmp_path):
    x, found = clusters(60), []
    kept = {"batch_size": 20, "staged": False, "progress": False, "checkpoint_every": 1}

    def stop(metrics):
        if metrics["step"] == 7:
            raise InterruptedError

    for parts in ([[]], [[stop], []]):
        torch.manual_seed(0)
        prior, model = small(), plane()
        kept["checkpoint"] = tmp_path / f"{len(parts)}.pt"
        for callbacks in parts:
            torch.manual_seed(0)
            prior, to_train = small(), {"epochs": 4, "callbacks": callbacks, "resume": True}
            with suppress(InterruptedError):
                ppl_gen.fit(prior.on(model), x, **to_train, **kept)
        found.append(prior.state_dict())
    assert all(torch.equal(found[0][k], found[1][k]) for k in found[0] if "extra" not in k)


def test_a_vae_with_such_a_prior_is_saved_and_loaded(tmp_path):
    models = [plane(small()) for _ in range(2)]
    models[0].latents[0].prior.measure(torch.randn(30, 2))
    ppl_gen.save(models[0], tmp_path / "vae.pt")
    again = ppl_gen.load(tmp_path / "vae.pt", into=models[1])
    z = torch.randn(3, 2)
    first, second = (m.latents[0].prior().log_prob(z) for m in (models[0], again))
    assert torch.equal(first, second)


# --- What is refused --------------------------------------------------------------------------


def lost():
    vae = ppl_gen.zoo.vae((4,), 2, hidden=4)
    next(vae.parameters()).data[0] = float("nan")
    return vae


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: DiffusionPrior(0), "expected a tuple of sizes"),
        (lambda: DiffusionPrior(3, small(2).diffusion), r"codes \(3,\), got \(2,\)"),
        (lambda: DiffusionPrior(2, likelihood_steps=1), "likelihood_steps >= 2"),
        (lambda: small(levels=256), "codes are not clipped"),
        (
            lambda: DiffusionPrior(2, Diffusion(Clipped(small().diffusion.denoiser), (2,))),
            "a denoiser that clips nothing",
        ),
        (lambda: small().on(ppl_gen.zoo.vae((4,), 3, hidden=4)), r"codes of shape \(2,\)"),
        (
            lambda: small().on(ppl_gen.zoo.conditional_vae((4,), 2, num_classes=3, hidden=4)),
            "a VAE without labels",
        ),
        (lambda: small().on(ppl_gen.zoo.hierarchical_vae((4,), 2, hidden=4)), "one latent"),
        (lambda: small().on(nn.Identity()), "one latent"),
        *(
            (lambda z=z: small().log_prob(z), r"codes \(B, 2\) of torch.float32, got ")
            for z in (
                torch.zeros(3, 2).long(),
                torch.zeros(3, 2).double(),
                torch.zeros(3, 1),
                torch.zeros(2),
                [[0.0, 0.0]],
            )
        ),
        (lambda: small().log_prob(torch.full((3, 2), float("nan"))), "without NaN"),
        (lambda: small()().log_prob(torch.zeros(4, 3)), r"codes \(\.\.\., 2\), got \(4, 3\)"),
        (lambda: small()().log_prob(torch.zeros(3, 2).long()), "of torch.float32, got torch.int64"),
        (lambda: small().on(lost()), r"a VAE of finite weights, got NaN or infinity in "),
        (
            lambda: small().on(ppl_gen.zoo.autoencoder((4,), 2, hidden=4), jointly=True),
            "a posterior with an entropy",
        ),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
