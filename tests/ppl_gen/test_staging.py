"""A staged step is the step: for programs of any origin, its values are those of stock Pyro."""

import copy
import itertools
import warnings

import pyro
import pyro.distributions as dist
import pytest
import torch
from foreign_programs import PROGRAMS
from pyro.infer import RenyiELBO, Trace_ELBO
from torch import nn
from torch.testing import assert_close

import ppl_gen
from ppl_gen import objectives, schedules, zoo
from ppl_gen.staging import StagingError, StagingWarning, backends, stage_function, torch_internals

SHAPE = (1, 8, 8)

pytestmark = pytest.mark.usefixtures("fresh_store")


def staged(program, **options):
    options = {"staged": True, "backend": "eager"} | options
    return ppl_gen.stage(program.model, program.guide, program.objective, **options)


def gradients(step):
    return {n: None if p.grad is None else p.grad.clone() for n, p in step.named_parameters()}


def graphs(step):
    """How many graphs have been recorded for each kind of call."""
    return sorted(map(len, step._programs._graphs.values()))


def built(name, **options):
    """A named model with random weights, and a batch as its programs take it."""
    torch.manual_seed(2)
    model = zoo.registry[name].build(SHAPE, latent_dim=3, hidden=16, **options)
    labels = [torch.arange(12) % model.num_classes] if model.num_classes else []
    return model, [torch.rand(12, *SHAPE), *labels]


# --- What a step leaves behind ----------------------------------------------------------------


def test_the_first_staged_call_leaves_random_states_and_buffers_as_one_step_does():
    states = []
    for mode in (True, False):
        pyro.clear_param_store()
        torch.manual_seed(0)
        program = PROGRAMS["batch_norm_and_dropout"]()
        step = staged(program, staged=mode)
        step(*program.arguments(0))
        encoder = program.guide.__closure__[0].cell_contents
        states.append([torch.get_rng_state(), *(b.clone() for b in encoder.buffers())])
        assert encoder[1].num_batches_tracked == 1
    assert all(map(torch.equal, *states))


def test_gradients_are_replaced_and_noise_is_fresh_on_every_call():
    model, batch = built("vae")
    step = ppl_gen.stage(model.model, model.guide, model.objective, backend="eager")
    losses = []
    for _ in range(6):
        losses.append(step(*batch).item())
        first = gradients(step)
    assert len(set(losses)) == 6
    torch.manual_seed(0)
    step(*batch)
    once = gradients(step)
    torch.manual_seed(0)
    step(*batch)
    assert_close(gradients(step), once, rtol=0, atol=0)
    assert not torch.equal(*(next(iter(g.values())) for g in (first, once)))


def test_gradients_can_be_changed_in_place_one_by_one():
    a, b, c = (torch.ones(3, requires_grad=True) for _ in range(3))
    step = stage_function(
        lambda x: ((a + b + x).square().sum() + c.sum(), {}), [a, b, c], backend="eager"
    )
    step(torch.ones(3))
    a.grad.mul_(2)
    assert torch.equal(b.grad, torch.full((3,), 6.0))
    assert torch.equal(a.grad, torch.full((3,), 12.0))
    c.grad[0] = 5.0
    assert c.grad.tolist() == [5.0, 1.0, 1.0]


def test_only_the_gradients_of_the_given_parameters_are_touched():
    critic, generator = nn.Linear(2, 1), nn.Linear(3, 2)

    def penalised(real, noise):
        fake = generator(noise)
        mixed = (0.5 * real + 0.5 * fake.detach()).requires_grad_()
        (slope,) = torch.autograd.grad(critic(mixed).sum(), mixed, create_graph=True)
        penalty = (slope.norm(dim=-1) - 1).square().mean()
        return critic(fake).mean() - critic(real).mean() + penalty, {"penalty": penalty}

    real, noise = torch.randn(5, 2), torch.randn(5, 3)
    for mode in (True, False):
        step = stage_function(penalised, critic.parameters(), staged=mode, backend="eager")
        loss, metrics = step(real, noise)
        assert not loss.requires_grad
        assert not metrics["penalty"].requires_grad
        assert all(p.grad is None for p in generator.parameters())
        expected, _ = penalised(real, noise)
        assert_close(loss, expected.detach())
        for p, g in zip(
            critic.parameters(), torch.autograd.grad(expected, critic.parameters()), strict=True
        ):
            assert_close(p.grad, g)


def test_a_parameter_without_influence_has_no_gradient():
    used, unused = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    step = stage_function(lambda x: ((used * x).sum(), {}), [used, unused], backend="eager")
    unused.grad = torch.ones(2)
    step(torch.ones(2))
    assert unused.grad is None
    assert used.grad.tolist() == [1.0, 1.0]


def test_nothing_of_pyro_or_torch_stays_patched():
    from pyro.infer import trace_elbo, traceenum_elbo, tracegraph_elbo, util

    modules = (trace_elbo, traceenum_elbo, tracegraph_elbo, util, pyro.util)
    before = [dict(vars(m)) for m in modules] + [dict(vars(torch.Tensor))]
    validation = pyro.settings.get()
    program = PROGRAMS["semi_supervised_vae"]()
    staged(program)(*program.arguments(0))
    after = [dict(vars(m)) for m in modules] + [dict(vars(torch.Tensor))]
    assert all(old.keys() == new.keys() for old, new in zip(before, after, strict=True))
    assert all(
        old[k] is new[k]
        for old, new in zip(before, after, strict=True)
        for k in old
        if callable(old[k])
    )
    assert pyro.settings.get() == validation


@pytest.mark.parametrize("flags", list(itertools.product((False, True), repeat=3)))
def test_a_step_runs_without_validation_and_leaves_it_as_it_was(flags):
    parts, seen = (pyro.distributions, pyro.infer, pyro.poutine), []

    def state():
        return tuple(part.is_validation_enabled() for part in parts)

    def loss(x):
        seen.append(state())
        return (weight * x).sum(), {}

    weight = torch.ones(2, requires_grad=True)
    with pyro.validation_enabled(False):
        for part, flag in zip(parts, flags, strict=True):
            part.enable_validation(flag)
        stage_function(loss, [weight], staged=False)(torch.ones(2))
        assert state() == flags
    assert seen == [(False, False, False)]


# --- Kinds of calls ---------------------------------------------------------------------------


def test_there_is_one_graph_per_shape_and_the_last_short_batch_has_its_own():
    model, (x,) = built("vae")
    step = ppl_gen.stage(model.model, model.guide, model.objective, staged=True, backend="eager")
    for size in (12, 12, 5, 12, 5):
        torch.manual_seed(size)
        loss = step(x[:size])
        torch.manual_seed(size)
        expected = model.objective.differentiable_loss(model.model, model.guide, x[:size])
        assert_close(loss, expected.detach())
    assert graphs(step) == [1, 1]


def test_tensors_that_lie_otherwise_in_memory_have_a_graph_of_their_own():
    weight = torch.ones(3, 2, requires_grad=True)
    step = stage_function(
        lambda x: ((weight.view(-1) * x.reshape(-1)).sum(), {}), [weight], backend="eager"
    )
    turned = torch.arange(6.0).view(2, 3).T
    for x in (turned.contiguous(), turned, turned.contiguous()):
        step(x)
        assert torch.equal(weight.grad, x)
    assert sorted(map(len, step._graphs.values())) == [1, 1]


def test_weights_of_a_schedule_are_inputs():
    weight = schedules.WarmUp(4)
    model, batch = built("beta_vae", beta=weight)
    step = ppl_gen.stage(model.model, model.guide, model.objective, staged=True, backend="eager")
    for i in range(6):
        assert weight.value.item() == min(i / 4, 1.0)
        kl, reconstruction = step(*batch), step.terms
        expected = weight_before(i) * reconstruction["kl"] - reconstruction["reconstruction"]
        assert_close(kl, 12 * expected, rtol=1e-4, atol=1e-3)
    assert graphs(step) == [1]


def weight_before(step):
    return min(step / 4, 1.0)


def test_a_float_that_changes_becomes_an_input():
    program = PROGRAMS["deep_markov_model"]()
    step = staged(program)
    for i in range(6):
        arguments = program.arguments(i)
        torch.manual_seed(i)
        loss = step(*arguments)
        torch.manual_seed(i)
        expected = program.objective.differentiable_loss(
            program.model, program.guide, *arguments
        ).item()
        assert_close(loss.item(), expected, rtol=1e-5, atol=1e-5)
    assert graphs(step) == [2]


class Annealed(nn.Module):
    """A pair whose KL weight is a plain attribute, as it is often written."""

    def __init__(self):
        super().__init__()
        self.encoder, self.dropout = nn.Linear(4, 4), nn.Dropout(0.5)
        self.beta = 0.5

    def model(self, x, *, y=None):
        with pyro.plate("data", len(x)):
            with pyro.poutine.scale(scale=self.beta):
                z = pyro.sample("z", dist.Normal(x.new_zeros(len(x), 2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z.sum(-1), 1.0), obs=x.sum(-1) if y is None else y)

    def guide(self, x, *, y=None):
        with pyro.plate("data", len(x)), pyro.poutine.scale(scale=self.beta):
            loc, scale = self.encoder(self.dropout(x)).chunk(2, -1)
            pyro.sample("z", dist.Normal(loc, scale.exp()).to_event(1))


def test_an_attribute_that_changes_is_noticed():
    pair, x = Annealed(), torch.randn(6, 4)
    objective = Trace_ELBO()
    step = ppl_gen.stage(pair.model, pair.guide, objective, staged=True, backend="eager")
    for beta in (0.5, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0):
        pair.beta = beta
        torch.manual_seed(0)
        loss = step(x)
        torch.manual_seed(0)
        assert_close(loss, objective.differentiable_loss(pair.model, pair.guide, x).detach())
    assert graphs(step) == [2]


def test_modes_and_optional_arguments_have_graphs_of_their_own():
    pair, x = Annealed(), torch.randn(6, 4)
    objective = Trace_ELBO()
    step = ppl_gen.stage(pair.model, pair.guide, objective, staged=True, backend="eager")
    for training in (True, False, True, False):
        for kwargs in ({}, {"y": torch.randn(6)}):
            pair.train(training)
            torch.manual_seed(0)
            loss = step(x, **kwargs)
            torch.manual_seed(0)
            expected = objective.differentiable_loss(pair.model, pair.guide, x, **kwargs)
            assert_close(loss, expected.detach())
    assert graphs(step) == [2, 2]


def test_tensors_the_program_holds_are_inputs_whether_changed_or_replaced():
    pair, x = Annealed(), torch.randn(6, 4)
    step = ppl_gen.stage(pair.model, pair.guide, Trace_ELBO(), staged=True, backend="eager")

    def check():
        torch.manual_seed(0)
        loss = step(x)
        torch.manual_seed(0)
        assert_close(loss, Trace_ELBO().differentiable_loss(pair.model, pair.guide, x).detach())

    pair.beta = torch.tensor(0.5)
    check()
    pair.beta.fill_(0.25)
    check()
    assert graphs(step) == [1]
    pair.beta = torch.tensor(0.75)
    check()
    assert graphs(step) == [2]
    pair.load_state_dict({name: value + 0.1 for name, value in pair.state_dict().items()})
    check()
    pair.double()
    x = x.double()
    check()
    assert graphs(step) == [1, 2]


def test_a_frozen_parameter_has_no_gradient():
    pair, x = Annealed(), torch.randn(6, 4)
    step = ppl_gen.stage(pair.model, pair.guide, Trace_ELBO(), staged=True, backend="eager")
    step(x)
    pair.encoder.bias.requires_grad_(False)
    step(x)
    assert pair.encoder.bias.grad is None
    assert pair.encoder.weight.grad is not None


def test_arguments_may_be_nested_and_named():
    weight = torch.ones(3, requires_grad=True)

    def loss(batch, *, power, options):
        value = (weight * batch["x"] - batch["y"][0]).abs().pow(power).sum()
        return value * (2 if options["double"] else 1), {"value": value}

    step = stage_function(loss, [weight], staged=True, backend="eager")
    for power in (1, 2):
        for double in (True, False):
            batch = {"x": torch.randn(3), "y": [torch.randn(3)]}
            found, metrics = step(batch, power=power, options={"double": double})
            expected, _ = loss(batch, power=power, options={"double": double})
            assert_close(found, expected.detach())
            assert_close(metrics["value"] * (2 if double else 1), found)


# --- Parameters -------------------------------------------------------------------------------


def test_parameters_are_those_that_stock_svi_would_train():
    program = PROGRAMS["coin"]()
    step = staged(program)
    with pytest.raises(ValueError, match="expected a first call of the step"):
        step.parameters()
    for i in range(2):  # the third call is none of those that are compared with an eager one
        step(*program.arguments(i))
    store = pyro.get_param_store()
    assert dict(step.named_parameters()) == dict(store.named_parameters())
    pyro.clear_param_store()
    with pytest.warns(StagingWarning, match="'alpha', 'beta' appeared"):
        step(*program.arguments(0))
    assert dict(step.named_parameters()) == dict(pyro.get_param_store().named_parameters())


def test_a_parameter_that_appears_later_is_announced():
    def model(x, late):
        loc = pyro.param("loc", torch.zeros(()))
        scale = pyro.param("scale", torch.ones(())) if late else 1.0
        pyro.sample("x", dist.Normal(loc, scale), obs=x)

    def guide(x, late):
        pass

    for mode in (True, False):
        pyro.clear_param_store()
        step = ppl_gen.stage(model, guide, Trace_ELBO(), staged=mode, backend="eager")
        step(torch.zeros(()), False)
        assert [name for name, _ in step.named_parameters()] == ["loc"]
        with pytest.warns(StagingWarning, match="'scale' appeared"):
            step(torch.ones(()), True)
        assert [name for name, _ in step.named_parameters()] == ["loc", "scale"]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            step(torch.ones(()), True)
        assert pyro.get_param_store()._params["scale"].grad is not None


def test_an_objective_may_have_parameters_of_its_own():
    class Scaled(objectives.ELBO):
        def __init__(self):
            super().__init__()
            self.log_scale = nn.Parameter(torch.zeros(()))

        def reduce(self, t, again):
            return super().reduce(t, again) * self.log_scale.exp()

    model, batch = built("vae")
    step = ppl_gen.stage(model.model, model.guide, Scaled(), staged=True, backend="eager")
    loss = step(*batch)
    assert_close(dict(step.named_parameters())["Scaled.log_scale"].grad, loss)


# --- Refused input ----------------------------------------------------------------------------


def test_refused_input():
    program = PROGRAMS["coin"]()
    with pytest.raises(ValueError, match="expected staged 'auto', True or False, got 'yes'"):
        staged(program, staged="yes")
    with pytest.raises(ValueError, match=r"expected a backend among .*, got 'triton'"):
        staged(program, backend="triton")
    with pytest.raises(ValueError, match="expected an objective with a differentiable loss"):
        ppl_gen.stage(program.model, program.guide, RenyiELBO())
    leaf = torch.ones(2, requires_grad=True)
    for parameters in ([], [2 * leaf], ["weight"]):
        with pytest.raises(ValueError, match="expected parameters that are leaf tensors"):
            stage_function(lambda: (leaf.sum(), {}), parameters)
    with pytest.raises(ValueError, match="expected a parameter that requires a gradient"):
        stage_function(lambda x: (leaf.sum(), {}), [torch.ones(2)])(leaf.detach())
    for mode in (True, False):
        options = {"staged": mode, "backend": "eager"}
        with pytest.raises(ValueError, match="expected a 0-d loss that depends on parameters"):
            stage_function(lambda: (leaf, {}), [leaf], **options)()
        with pytest.raises(ValueError, match="expected a 0-d loss that depends on parameters"):
            stage_function(lambda: (leaf.detach().sum(), {}), [leaf], **options)()
        with pytest.raises(ValueError, match="expected metrics as a dictionary of 0-d tensors"):
            stage_function(lambda: (leaf.sum(), {"half": 0.5}), [leaf], **options)()
        other = torch.ones(2, requires_grad=True)
        with pytest.raises(ValueError, match="depends on none of the parameters"):
            stage_function(lambda: (leaf.sum(), {}), [other], **options)()


def test_an_error_of_the_program_is_its_own_and_leaves_random_states_alone():
    model, (x,) = built("vae")
    step = ppl_gen.stage(model.model, model.guide, model.objective, backend="eager")
    state = torch.get_rng_state()
    with pytest.raises(ValueError, match="expected images of shape"):
        step(x[..., :7])
    assert torch.equal(state, torch.get_rng_state())
    step(x)


# --- Compilers --------------------------------------------------------------------------------


def test_a_compiled_step_is_the_eager_one_up_to_rounding_and_draws_the_same():
    model, batch = built("vae")
    twin = copy.deepcopy(model)
    compiled = ppl_gen.stage(model.model, model.guide, model.objective, staged=True)
    eager = ppl_gen.stage(twin.model, twin.guide, twin.objective, staged=False)
    assert next(compiled.parameters()) is next(model.parameters())
    for i in range(3):
        losses, states = [], []
        for step in (compiled, eager):
            torch.manual_seed(i)
            losses.append(step(*batch))
            states.append(torch.get_rng_state())
        assert_close(*losses)
        assert torch.equal(*states)
        assert_close(compiled.terms, eager.terms)
        for ours, theirs in zip(compiled.parameters(), eager.parameters(), strict=True):
            assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-4)


def test_without_a_compiler_the_graph_runs_uncompiled(monkeypatch):
    from torch._inductor import cpp_builder, exc

    def missing():
        raise exc.InvalidCxxCompiler

    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", missing)
    model, batch = built("vae")
    for mode in ("auto", True):
        step = ppl_gen.stage(model.model, model.guide, model.objective, staged=mode)
        with pytest.warns(StagingWarning, match=r"uncompiled: no C\+\+ compiler was found"):
            step(*batch)
        step(*batch)
        assert graphs(step) == [1]


def test_a_compiler_that_is_wrong_is_caught(monkeypatch):
    def wrong(module, inputs):
        return lambda *values: [1.01 * output for output in module(*values)]

    monkeypatch.setattr(backends, "compiled", wrong)
    monkeypatch.setattr(torch_internals, "why_not_compiled", lambda devices: None)
    model, batch = built("vae")
    with pytest.raises(StagingError, match="compiled, this step gives another result: loss"):
        ppl_gen.stage(model.model, model.guide, model.objective, staged=True)(*batch)
    step = ppl_gen.stage(model.model, model.guide, model.objective)
    torch.manual_seed(0)
    with pytest.warns(StagingWarning, match="uncompiled: compiled, it gives another result"):
        loss = step(*batch)
    torch.manual_seed(0)
    expected = model.objective.differentiable_loss(model.model, model.guide, *batch)
    assert torch.equal(loss, expected.detach())


def test_what_a_compiled_graph_writes_is_known_to_autograd(monkeypatch):
    def silent(module, inputs):
        def run(*values):
            with torch.autograd._unsafe_preserve_version_counter(values):
                return module(*values)

        return run

    monkeypatch.setattr(backends, "compiled", silent)
    monkeypatch.setattr(torch_internals, "why_not_compiled", lambda devices: None)
    weight, held = torch.ones(2, requires_grad=True), torch.zeros(2)
    step = stage_function(lambda x: ((weight * held.add_(x)).sum(), {}), [weight], staged=True)
    for _ in range(2):
        step(torch.ones(2))
    before = (weight * held).sum()
    step(torch.ones(2))
    assert held.tolist() == [3.0, 3.0]
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        before.backward()


def test_a_compiler_that_fails_is_reported(monkeypatch):
    def broken(module, inputs):
        raise RuntimeError("out of registers")

    monkeypatch.setattr(backends, "compiled", broken)
    monkeypatch.setattr(torch_internals, "why_not_compiled", lambda devices: None)
    model, batch = built("vae")
    with pytest.raises(StagingError, match="out of registers"):
        ppl_gen.stage(model.model, model.guide, model.objective, staged=True)(*batch)
    with pytest.warns(StagingWarning, match="RuntimeError: out of registers"):
        ppl_gen.stage(model.model, model.guide, model.objective)(*batch)
