"""Optimisers without torch's compiler take the steps of torch's, and spare its import."""

import pytest
import torch

import ppl_gen
from ppl_gen.staging import lean_optimizers, optimizers

PAIRS = [
    (lean_optimizers.Adam, torch.optim.Adam, {"betas": (0.5, 0.9), "fused": True}),
    (lean_optimizers.Adam, torch.optim.Adam, {"weight_decay": 0.1}),
    (lean_optimizers.RMSprop, torch.optim.RMSprop, {"momentum": 0.5, "centered": True}),
]


def run(kind, settings, start=None, steps=5):
    """Parameters and state after some steps on a quartic, with a group and a state loaded."""
    weights = [torch.linspace(-1, 1, 7, requires_grad=True), torch.ones(3, requires_grad=True)]
    optimizer = kind(weights[:1], lr=0.05, **settings)
    optimizer.add_param_group({"params": weights[1:], "lr": 0.2})
    called = []
    optimizer.register_step_post_hook(lambda *_: called.append(1))
    if start is not None:
        optimizer.load_state_dict(start)
    for _ in range(steps):
        optimizer.zero_grad()
        sum((w**4 - w).sum() for w in weights).backward()
        optimizer.step()
    assert len(called) == steps
    return weights, optimizer


@pytest.mark.parametrize(("lean", "standard", "settings"), PAIRS)
def test_steps_are_those_of_torch_to_the_bit(lean, standard, settings):
    weights, optimizer = run(lean, settings)
    expected, other = run(standard, settings)
    assert all(torch.equal(a, b) for a, b in zip(weights, expected, strict=True))
    continued, _ = run(lean, settings, optimizer.state_dict())
    also, _ = run(standard, settings, other.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(continued, also, strict=True))


@pytest.mark.parametrize(("lean", "standard", "settings"), PAIRS)
def test_steps_are_recorded_like_those_of_torch(lean, standard, settings):
    weights = [torch.ones(2, requires_grad=True)]
    made = optimizers.steps_of(lean(weights, lr=0.1, **settings))
    assert type(made) is type(optimizers.steps_of(standard(weights, lr=0.1, **settings)))


def test_a_default_run_is_one_with_the_optimizer_of_torch():
    def trained(**settings):
        torch.manual_seed(0)
        vae = ppl_gen.zoo.vae((4,), 2, hidden=8)
        x = (torch.rand(64, 4) < 0.5).float()
        history = ppl_gen.fit(vae, x, epochs=3, batch_size=16, seed=1, progress=False, **settings)
        return history["loss"], [p.detach() for p in vae.parameters()]

    losses, parameters = trained()
    expected, others = trained(optimizer=lambda p, lr: torch.optim.Adam(p, lr, fused=True))
    assert list(losses) == list(expected)
    assert all(torch.equal(a, b) for a, b in zip(parameters, others, strict=True))
