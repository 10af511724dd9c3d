"""A staged step is the eager one for programs that others wrote, to the bit."""

import pyro
import pytest
import torch
from foreign_programs import PROGRAMS
from torch.testing import assert_close

import ppl_gen

# That one keeps state where no graph can follow, and is refused.
STAGEABLE = [name for name in PROGRAMS if name != "decaying_average_baseline"]

pytestmark = pytest.mark.usefixtures("fresh_store")


def stage(program, staged=True, backend="eager"):
    return ppl_gen.stage(
        program.model, program.guide, program.objective, staged=staged, backend=backend
    )


def trained(program, steps, **options):
    """Everything that some steps with Adam result in."""
    torch.manual_seed(1)
    step = stage(program, **options)
    found, optimizer = [], None
    for i in range(steps):
        found.append(step(*program.arguments(i)).clone())
        found += [p.grad.clone() for p in step.parameters() if p.grad is not None]
        found.append(torch.get_rng_state())
        optimizer = optimizer or torch.optim.Adam(step.parameters(), lr=0.01)
        optimizer.step()
    return found


@pytest.mark.parametrize("name", STAGEABLE)
def test_a_step_of_a_foreign_program_has_the_loss_and_gradients_of_stock_pyro(name):
    program = PROGRAMS[name]()
    step = stage(program)
    for i in range(3):
        arguments = program.arguments(i)
        torch.manual_seed(i)
        loss = step(*arguments)
        state = torch.get_rng_state()
        found = {n: None if p.grad is None else p.grad.clone() for n, p in step.named_parameters()}
        for parameter in step.parameters():
            parameter.grad = None
        torch.manual_seed(i)
        with pyro.validation_enabled(False):
            expected = program.objective.loss_and_grads(program.model, program.guide, *arguments)
        assert_close(loss.item(), expected, rtol=1e-5, atol=1e-4)
        assert torch.equal(state, torch.get_rng_state())
        for parameter_name, parameter in step.named_parameters():
            if parameter.grad is None:
                assert found[parameter_name] is None or not found[parameter_name].any()
            else:
                assert_close(found[parameter_name], parameter.grad, rtol=1e-4, atol=1e-5)
                parameter.data -= 1e-3 * parameter.grad


@pytest.mark.parametrize("name", STAGEABLE)
def test_staged_and_eager_training_of_a_foreign_program_agree_bit_for_bit(name):
    graph = trained(PROGRAMS[name](), 3, staged=True)
    pyro.clear_param_store()
    torch.manual_seed(0)
    eager = trained(PROGRAMS[name](), 3, staged=False)
    if name == "deep_markov_model":  # its float argument becomes a 0-d tensor when it changes
        assert_close(graph, eager)
    else:
        assert len(graph) == len(eager)
        assert all(map(torch.equal, graph, eager))


@pytest.mark.parametrize("name", ["batch_norm_and_dropout", "subsampled_regression", "mixture"])
def test_compiled_training_of_a_foreign_program_agrees_and_draws_the_same(name):
    compiled = trained(PROGRAMS[name](), 3, backend="inductor")
    pyro.clear_param_store()
    torch.manual_seed(0)
    eager = trained(PROGRAMS[name](), 3, staged=False)
    assert_close(compiled, eager, rtol=1e-3, atol=1e-4)
