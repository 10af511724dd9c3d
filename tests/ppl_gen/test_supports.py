"""Guides that leave the support of a prior, and angles drawn on the line."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.distributions import constraints, transforms
from pyro.infer import autoguide as auto
from torch.distributions import biject_to

import ppl_gen
from ppl_gen.objectives import ELBO, IWAE
from ppl_gen.objectives.supports import require_support

pytestmark = pytest.mark.usefixtures("fresh_store")
Y = torch.tensor([-1.0, 0.3, 0.8, 2.0])
ON_THE_LINE = (
    auto.AutoNormal,
    auto.AutoDiagonalNormal,
    auto.AutoMultivariateNormal,
    auto.AutoStructured,
    auto.AutoNormalMessenger,
    auto.AutoHierarchicalNormalMessenger,
    auto.AutoRegressiveMessenger,
    lambda model: lambda y: pyro.sample("z", dist.Normal(0.0, 0.1)),
)


def one_of(prior):
    def model(y):
        z = pyro.sample("z", prior)
        with pyro.plate("data", len(y)):
            pyro.sample("y", dist.Normal(z.sin(), 1.0), obs=y)

    return model


@pytest.mark.parametrize("guide", ON_THE_LINE)
@pytest.mark.parametrize("objective", [ELBO(), IWAE(num_particles=2)])
def test_an_angle_is_not_drawn_on_the_line(guide, objective):
    model = one_of(dist.VonMises(0.0, 1.0))
    with pytest.raises(ValueError, match="'z', an angle, on the circle"):
        objective.loss(model, guide(model), Y)


def test_the_loss_of_an_angle_drawn_on_the_line_would_be_no_bound():
    """What the refusal is for: a wide guide scores better than the evidence."""
    model, wide = one_of(dist.VonMises(0.0, 1.0)), lambda y: pyro.sample("z", dist.Normal(0, 1e4))
    grid = torch.linspace(-torch.pi, torch.pi, 2001)[:-1]
    log_joint = dist.VonMises(0.0, 1.0).log_prob(grid)
    log_joint = log_joint + dist.Normal(grid.sin()[:, None], 1.0).log_prob(Y).sum(1)
    evidence = (log_joint.exp().mean() * 2 * torch.pi).log()
    stock = pyro.infer.Trace_ELBO(num_particles=1000, vectorize_particles=True, max_plate_nesting=1)
    assert -stock.loss(model, wide, Y) > evidence


@pytest.mark.parametrize(
    "guide", [auto.AutoDelta, lambda m: lambda y: pyro.sample("z", dist.VonMises(0.3, 4.0))]
)
def test_an_angle_at_a_point_or_on_the_circle_is_as_pyro_has_it(guide):
    model = one_of(dist.VonMises(0.0, 1.0))
    guide = guide(model)
    guide(Y)
    torch.manual_seed(0)
    expected = pyro.infer.Trace_ELBO().loss(model, guide, Y)
    torch.manual_seed(0)
    assert abs(ELBO(kl="sampled").loss(model, guide, Y) - expected) < 1e-4


@pytest.mark.parametrize("kind", [auto.AutoNormal, auto.AutoNormalMessenger])
def test_directions_are_refused_by_name(kind):
    def model(y):
        z = pyro.sample("z", dist.ProjectedNormal(torch.tensor([1.0, 0.0])))
        with pyro.plate("data", len(y)):
            pyro.sample("y", dist.Normal(z[..., 0], 1.0), obs=y)

    with pytest.raises(ValueError, match="spherical sample site 'z'"):
        ELBO().loss(model, kind(model), Y)


BOUNDED = (
    dist.Exponential(1.0),
    dist.HalfNormal(1.0),
    dist.LogNormal(0.0, 1.0),
    dist.Beta(2.0, 2.0),
    dist.Uniform(-1.0, 1.0),
    dist.Dirichlet(torch.ones(3)),
    dist.TransformedDistribution(dist.Uniform(0.0, 1.0), [transforms.ExpTransform()]),
)


def law_on(support, event):
    """A distribution whose support is that of another, by the transform to it."""
    base = dist.Normal(torch.zeros(2), 1.0).to_event(1) if event else dist.Normal(0.0, 1.0)
    return dist.TransformedDistribution(base, [biject_to(support)])


@pytest.mark.parametrize("prior", BOUNDED, ids=repr)
def test_a_guide_on_the_line_leaves_a_bounded_prior(prior):
    event = prior.event_shape
    wide = dist.Normal(torch.zeros(event), 1.0).to_event(len(event))
    require_support("z", law_on(prior.support, event), prior)
    require_support("z", prior, prior)
    require_support("z", dist.Delta(torch.zeros(event)), prior)
    if type(prior) is not dist.TransformedDistribution:
        with pytest.raises(ValueError, match=f"'z' within the support of {type(prior).__name__}"):
            require_support("z", wide, prior)


def test_one_side_is_enough():
    half = dist.LogNormal(0.0, 1.0)
    with pytest.raises(ValueError, match="Beta, bounded above, got LogNormal"):
        require_support(
            "z", half.expand([3]).to_event(1), dist.Beta(torch.ones(3), 1.0).to_event(1)
        )
    require_support("z", dist.Beta(1.0, 1.0), half)
    require_support("z", half, dist.Normal(0.0, 1.0))
    require_support("z", half, dist.ImproperUniform(constraints.positive, (), ()))
    with pytest.raises(ValueError, match="Categorical, bounded above, got Poisson"):
        require_support("z", dist.Poisson(1.0), dist.Categorical(torch.ones(3)))


def test_training_with_such_a_guide_is_refused_before_the_first_step():
    model = one_of(dist.Exponential(1.0))

    def guide(y):
        pyro.sample("z", dist.Normal(pyro.param("loc", torch.tensor(2.0)), 0.1))

    with pytest.raises(ValueError, match="support of Exponential"):
        ppl_gen.fit(ppl_gen.Pair(model, guide), (Y,), epochs=1, batch_size=4, progress=False)


def test_a_masked_prior_has_no_support_to_leave():
    def model(y):
        with poutine.mask(mask=False):
            z = pyro.sample("z", dist.HalfNormal(1.0))
        with pyro.plate("data", len(y)):
            pyro.sample("y", dist.Normal(z, 1.0), obs=y)

    def guide(y):
        pyro.sample("z", dist.Normal(0.0, 1.0))

    require_support("z", dist.Normal(0.0, 1.0), dist.HalfNormal(1.0).mask(False))
    torch.manual_seed(0)
    loss = ELBO().loss(model, guide, Y)
    torch.manual_seed(0)
    with pyro.validation_enabled(False):
        assert abs(loss - pyro.infer.Trace_ELBO().loss(model, guide, Y)) < 1e-4
