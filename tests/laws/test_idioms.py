"""Objectives on many idioms of Pyro programs: what stock Pyro and the closed forms say."""

import math

import automatic_idioms  # noqa: F401
import guide_idioms  # noqa: F401
import handler_idioms  # noqa: F401
import kind_idioms  # noqa: F401
import model_idioms  # noqa: F401
import pyro
import pytest
import structure_idioms  # noqa: F401
import torch
from idioms import IDIOMS
from pyro import poutine
from pyro.infer import Trace_ELBO, config_enumerate
from torch.testing import assert_close

import ppl_gen
from ppl_gen.objectives import ELBO, IWAE
from ppl_gen.objectives.terms import SetLatents

pytestmark = [
    pytest.mark.usefixtures("fresh_store"),
    pytest.mark.filterwarnings("ignore:particles are drawn one after the other"),
]
SCORED = (
    "bernoulli_latents",
    "categorical_latents",
    "exact_discrete_posterior",
    "discrete_global_and_normal_local_latents",
    "angles",
)
everywhere = pytest.mark.parametrize("name", IDIOMS)


def build(name):
    """The program, its parameters made and off their symmetric starts."""
    program = IDIOMS[name]()
    trace = poutine.trace(program.guide).get_trace(*program.args)
    poutine.trace(poutine.replay(program.model, trace=trace)).get_trace(*program.args)
    return program


def seeded(seed, function, *args):
    torch.manual_seed(seed)
    return function(*args)


def stock_loss(program):
    guide = program.stock_guide or program.guide
    return Trace_ELBO().differentiable_loss(program.model, guide, *program.args)


def our_loss(objective, program):
    return objective.loss_and_metrics(program.model, program.guide, *program.args)[0]


def parameters():
    return [p for _, p in pyro.get_param_store().named_parameters()]


def gradient(loss):
    """The gradient of every parameter in the store; zero where the loss does not depend on it."""
    if not loss.requires_grad:
        return [torch.zeros_like(p) for p in parameters()]
    return torch.autograd.grad(loss, parameters(), allow_unused=True, materialize_grads=True)


def stock_sites(program):
    """The scored sites of both programs, each with its scaled log-density."""
    guide = poutine.trace(program.stock_guide or program.guide).get_trace(*program.args)
    replayed = poutine.replay(program.model, trace=guide)
    model = poutine.trace(replayed).get_trace(*program.args)
    for trace in (guide, model):
        trace.compute_log_prob()
    keep = lambda s: s["type"] == "sample" and "log_prob" in s  # noqa: E731
    found = [{n: s for n, s in t.nodes.items() if keep(s)} for t in (model, guide)]
    drawn = [s for n, s in found[1].items() if not (s["is_observed"] and n in found[0])]
    return list(found[0].values()), drawn


def draws(objective, program):
    """The loss at some particles, the particles and their terms."""
    run = objective.runner(program.model, program.guide, program.args, {})
    t = run()
    shapes = seeded(0, ELBO().runner(program.model, program.guide, program.args, {})).values
    values = [
        {site: value[k].reshape(shapes[site].shape) for site, value in t.values.items()}
        for k in range(objective.num_particles)
    ]
    return objective.reduce(t, run).detach(), [v | t.subsamples for v in values], t


@everywhere
def test_one_draw_has_the_loss_and_the_gradient_of_stock_pyro(name):
    program = build(name)
    for seed in range(2):
        stock = seeded(seed, stock_loss, program)
        loss = seeded(seed, our_loss, ELBO(kl="sampled"), program)
        assert_close(loss, torch.as_tensor(stock), rtol=1e-4, atol=1e-4)
        if not program.score:
            assert_close(gradient(loss), gradient(stock), rtol=1e-3, atol=1e-4)


@everywhere
def test_the_analytic_loss_has_the_expectation_of_stock_pyro(name):
    program = build(name)
    differences = []
    for seed in range(20):
        loss = seeded(seed, our_loss, ELBO(), program).item()
        stock = seeded(seed, stock_loss, program).item()
        differences.append(loss - stock)
        if len(differences) == 3 and max(map(abs, differences)) < 1e-4 * abs(stock):
            return  # no closed form: the same numbers
    differences = torch.tensor(differences)
    assert abs(differences.mean()) < 4 * differences.std() / 20**0.5 + 1e-4 * abs(stock)


@pytest.mark.parametrize("name", [n for n in IDIOMS if "exact" in n or "conjugate" in n])
def test_every_draw_at_the_exact_posterior_is_the_evidence(name):
    program = build(name)
    objectives = [ELBO(kl="sampled"), ELBO(kl="sampled", num_particles=3)]
    for objective in [*objectives, IWAE(num_particles=1), IWAE(num_particles=3)]:
        loss = our_loss(objective, program).item()
        assert math.isclose(loss, program.exact, rel_tol=1e-4)


@everywhere
def test_several_particles_are_the_mean_of_stock_pyro_at_each(name):
    program = build(name)
    if program.forward_only:
        return
    loss, values, _ = draws(ELBO(kl="sampled", num_particles=3), program)
    stock = []
    for value in values:
        with SetLatents(value):
            stock.append(stock_loss(program).detach())
    assert_close(loss, sum(stock) / 3, rtol=1e-4, atol=1e-4)


@everywhere
def test_importance_weights_are_those_of_the_sites_in_the_data_plates(name):
    program = build(name)
    if program.forward_only:
        return
    if program.refused:
        with pytest.raises(ValueError, match=program.refused):
            our_loss(IWAE(num_particles=3), program)
        return
    loss, values, t = draws(IWAE(num_particles=3), program)
    if program.plain is not None:
        return  # no bound: a scale inside the weight; metrics are held to it elsewhere
    weights, declared = [], 0.0
    for value in values:
        with SetLatents(value):
            model, guide = stock_sites(program)
        declared += sum(s["log_prob"].sum() for s in guide if s["is_observed"]) / 3
        parts = [(s, 1) for s in model] + [(s, -1) for s in guide if not s["is_observed"]]
        weights.append(sum(sign * kept(s["log_prob"], program.local or ()) for s, sign in parts))
    weights = torch.stack(weights) / t.scale
    bound = weights.logsumexp(0) - math.log(3)
    assert_close(loss, (declared - t.scale * bound.sum()).detach(), rtol=1e-4, atol=1e-4)


def kept(term, dims):
    """A term summed over all but some dimensions."""
    outside = [d for d in range(-term.dim(), 0) if d not in dims]
    return (term.sum(outside) if outside else term).squeeze()


@everywhere
@pytest.mark.parametrize("weight", [0.5, 3.0])
def test_the_weight_multiplies_the_log_ratio_of_the_latents_alone(name, weight):
    program = build(name)
    loss = seeded(1, our_loss, ELBO(weight=weight, kl="sampled"), program)
    model, guide = seeded(1, stock_sites, program)
    total = lambda sites: sum((s["log_prob"].sum() for s in sites), torch.zeros(()))  # noqa: E731
    observed = [s for s in model if s["is_observed"]]
    latent = [s for s in model if not s["is_observed"]]
    drawn = [s for s in guide if not s["is_observed"]]
    declared = [s for s in guide if s["is_observed"]]
    expected = weight * (total(drawn) - total(latent)) - total(observed) + total(declared)
    assert_close(loss.detach(), expected.detach(), rtol=1e-4, atol=1e-4)


@everywhere
def test_the_metrics_are_the_bound_of_the_model_without_handlers(name):
    program = build(name)
    run = ELBO().loss_and_metrics
    metrics = seeded(2, run, program.model, program.guide, *program.args)[1]
    loss = seeded(2, run, *(program.plain or (program.model, program.guide)), *program.args)[0]
    elbo = metrics["elbo"] - sum(v for k, v in metrics.items() if k.startswith("declared"))
    assert_close(program.size * elbo, -loss.detach(), rtol=1e-4, atol=1e-4)
    assert_close(metrics["reconstruction"] - metrics["kl"], metrics["elbo"], rtol=1e-4, atol=1e-4)


def test_a_scale_around_everything_multiplies_the_importance_weighted_bound():
    program = build("scaled_programs")
    loss, values, _ = draws(IWAE(num_particles=3), program)
    plain, guide = program.plain
    bound = IWAE(num_particles=3)
    stack = {"z": torch.stack([v["z"] for v in values])}
    t = bound.runner(plain, guide, program.args, {})(stack)
    assert_close(loss, 0.25 * bound.reduce(t, None).detach())


@pytest.mark.parametrize("kl", ["analytic", "sampled"])
@pytest.mark.parametrize("name", SCORED)
def test_score_function_gradients_have_the_expectation_of_stock_pyro(name, kl):
    program = build(name)
    stock = Trace_ELBO(num_particles=500, vectorize_particles=True, max_plate_nesting=1)
    ours, theirs = [], []
    for _ in range(12):
        loss = stock.differentiable_loss(program.model, program.guide, *program.args)
        theirs.append(torch.cat([g.flatten() for g in gradient(loss)]))
        loss = our_loss(ELBO(kl=kl, num_particles=500), program)
        ours.append(torch.cat([g.flatten() for g in gradient(loss)]))
    ours, theirs = torch.stack(ours), torch.stack(theirs)
    error = ((ours.var(0) + theirs.var(0)) / 12).sqrt()
    assert (abs(ours.mean(0) - theirs.mean(0)) < 5 * error + 1e-3).all()


STAGED = (
    "local_latents",
    "scaled_programs",
    "scaled_by_a_tensor",
    "masked_programs",
    "masked_model_only",
    "subsample_given",
    "global_mean",
    "no_plates",
    "hierarchical_regression",
    "local_latents_in_nested_plates",
    "crossed_plates_of_different_sizes",
    "sequential_plate",
    "markov_chain",
    "factor_of_a_global_latent",
    "location_and_scale_reparametrised",
    "transform_reparametrised",
    "modules_with_random_weights",
    "mixture_likelihood",
    "point_posterior_with_a_log_density",
    "auxiliary_site_of_the_guide",
    "factor_in_the_guide",
    "auto_normal",
    "auto_diagonal_normal",
    "auto_normal_messenger",
    "auto_structured_mvn_linear",
    "auto_guide_list_of_three",
    "auto_autoregressive_messenger_by_datum_of_a_subsample",
    "lifted_parameter",
    "subsampled_parameters_of_an_event_dimension",
    "topics",
    "normal_guide_of_a_reparametrised_student",
)


@pytest.mark.parametrize("name", STAGED)
def test_a_staged_step_is_the_eager_one_bit_for_bit(name):
    program = build(name)

    def steps(staged):
        step = ppl_gen.stage(program.model, program.guide, ELBO(), staged=staged, backend="eager")
        torch.manual_seed(3)
        for _ in range(3):
            yield step(*program.args).clone()
            yield from [p.grad.clone() for p in step.parameters() if p.grad is not None]

    staged, eager = list(steps(True)), list(steps(False))
    assert len(staged) == len(eager)
    assert all(map(torch.equal, staged, eager))


@pytest.mark.parametrize("objective", [ELBO(), IWAE(num_particles=2)])
@pytest.mark.parametrize("part", ["model", "guide"])
def test_enumerated_sites_are_refused_by_name(objective, part):
    program = build("bernoulli_latents")
    if part == "model":  # a site the guide draws is as the guide has it, in Pyro too
        program.model, program.guide = config_enumerate(program.model), lambda y: None
    else:
        program.guide = config_enumerate(program.guide)
    with pytest.raises(ValueError, match="'z' asks for it"):
        our_loss(objective, program)
