"""Compiled denoisers: the same predictions, whatever changes, or a refusal with its reason."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ppl_gen
from ppl_gen import zoo
from ppl_gen.denoisers import (
    Clipped,
    Denoiser,
    DenoiserBase,
    Gaussian,
    Guided,
    Mixture,
    Preconditioned,
    Prediction,
    Staged,
)
from ppl_gen.networks import ResidualMLP
from ppl_gen.noise import EDM, Cosine
from ppl_gen.samplers import DDIM
from ppl_gen.staging import StagingError, backends

D, CLASSES = 3, 4


@pytest.fixture
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Graphs that run as they were recorded; how many there were."""
    made: list[int] = []

    def recorded(module: Any, inputs: Any) -> Any:
        made.append(len(inputs))
        return module

    monkeypatch.setattr(backends, "compiled", recorded)
    return made


def network(**options: Any) -> ResidualMLP:
    """A network that is no longer the zero it starts as."""
    found = ResidualMLP((D,), 16, 2, **options)
    for parameter in found.parameters():
        nn.init.normal_(parameter, std=0.3)
    return found


def guided(weight: float) -> DenoiserBase:
    return Guided(Denoiser(network(num_classes=CLASSES), Cosine()), weight, CLASSES)


def mixture() -> DenoiserBase:
    return Mixture(Cosine(), torch.rand(5), torch.randn(5, D), torch.rand(5, D))


BUILDS = {
    "noise": lambda: Denoiser(network(), Cosine()),
    "velocity, clipped": lambda: Clipped(Denoiser(network(), Cosine(), "velocity")),
    "preconditioned": lambda: Preconditioned(network(), EDM()),
    "variances": lambda: Denoiser(network(outputs=2), Cosine(), learned_variance=True),
    "guided": lambda: guided(2.5),
    "conditional": lambda: guided(1.0),
    "unconditional": lambda: guided(0.0),
    "normal": lambda: Gaussian(Cosine(), torch.randn(D), torch.rand(D)),
    "mixture": mixture,
}


def require_same(staged: Staged, x: Tensor, u: Tensor, y: Tensor | None) -> None:
    with torch.no_grad():
        found, expected = staged(x, u, y), staged.denoiser(x, u, y)
    assert found.kind == expected.kind
    for name in ("value", "fraction", "error", "data", "noise"):
        own, other = getattr(found, name), getattr(expected, name)
        assert (own is None) == (other is None)
        if own is not None:
            torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", BUILDS)
def test_graphs_predict_the_same_at_other_times_data_labels_and_weights(
    name: str, uncompiled: list[int]
) -> None:
    torch.manual_seed(0)
    staged = Staged(BUILDS[name]())
    told = name in ("guided", "conditional", "unconditional")
    for _ in range(5):
        x, u = torch.randn(6, D), 0.05 + 0.9 * torch.rand(())
        require_same(staged, x, u, torch.randint(CLASSES, (6,)) if told else None)
        with torch.no_grad():
            for parameter in staged.parameters():
                parameter += 0.1 * torch.randn_like(parameter)
    assert len(uncompiled) == 1  # one graph has served all
    require_same(staged, torch.randn(2, D), torch.rand(2), torch.tensor([0, 3]) if told else None)
    assert len(uncompiled) == 2


def test_python_values_that_change_are_seen(uncompiled: list[int]) -> None:
    torch.manual_seed(1)
    staged: Any = Staged(guided(2.0))
    x, u, y = torch.randn(5, D), torch.tensor(0.3), torch.tensor([0, 1, 2, 3, 0])
    require_same(staged, x, u, y)
    staged.denoiser.weight = 3.0
    require_same(staged, x, u, y)
    staged.denoiser.weight = 2.0
    require_same(staged, x, u, y)
    assert len(uncompiled) == 2
    staged.denoiser.denoiser.network = network(num_classes=CLASSES)
    require_same(staged, x, u, y)
    assert len(uncompiled) == 3


def test_gradients_come_from_the_denoiser_itself() -> None:
    denoiser = Denoiser(network(), Cosine())
    x = torch.randn(4, D, requires_grad=True)
    (own,) = torch.autograd.grad(Staged(denoiser)(x, torch.tensor(0.4)).data.square().sum(), x)
    (other,) = torch.autograd.grad(denoiser(x, torch.tensor(0.4)).data.square().sum(), x)
    assert torch.equal(own, other)


class Odd(DenoiserBase):
    """A denoiser that does what no graph can repeat."""

    def __init__(self, kind: str):
        super().__init__(Cosine(), (D,))
        self.kind, self.seen = kind, nn.Buffer(torch.zeros(()))

    def forward(self, x: Tensor, u: Tensor, y: Any = None) -> Prediction:
        value = 0.5 * x
        if self.kind == "looks" and float(u) > 0.5:
            value = -value
        elif self.kind == "draws":
            value = value + torch.randn_like(x)
        elif self.kind == "counts":
            self.seen += 1
            value = value * self.seen
        return Prediction("data", value, x, self.noise.level(u))


@pytest.mark.parametrize(
    ("kind", "words"),
    [("looks", "staged"), ("draws", "another prediction"), ("counts", "writes")],
)
def test_what_no_graph_can_repeat_is_refused(kind: str, words: str, uncompiled: list[int]) -> None:
    with torch.no_grad(), pytest.raises(StagingError, match=words):
        Staged(Odd(kind))(torch.randn(2, D), torch.tensor(0.3))


@pytest.mark.parametrize("after", [1, 2, 8])
def test_wrong_code_is_refused(after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def wrong(module: Any, inputs: Any) -> Any:
        def run(*given: Tensor) -> Any:
            calls.append(1)
            return (
                [1.01 * part for part in module(*given)] if len(calls) > after else module(*given)
            )

        return run

    monkeypatch.setattr(backends, "compiled", wrong)
    sampler, denoiser = DDIM(), Staged(Denoiser(network(), Cosine(), "velocity", data_shape=(D,)))
    with pytest.raises(StagingError, match="another prediction"):
        sampler.sample(denoiser, 4, steps=32, seed=0)


@pytest.mark.parametrize(("u", "passes"), [(1.0, True), (0.5, False), (0.2, False)])
def test_clipped_data_may_differ_by_the_rounding_of_the_noise_they_are_told_from(
    u: float, passes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rounded(module: Any, inputs: Any) -> Any:
        return lambda *given: [part + 3e-3 for part in module(*given)]

    monkeypatch.setattr(backends, "compiled", rounded)
    torch.manual_seed(0)
    staged = Staged(Clipped(Denoiser(network(), Cosine())))
    refusal = nullcontext() if passes else pytest.raises(StagingError, match="another prediction")
    with torch.no_grad(), refusal:
        staged(torch.randn(4, D), torch.tensor(u))


def test_only_denoisers_can_be_staged() -> None:
    with pytest.raises(ValueError, match="expected a denoiser, got"):
        Staged(nn.Linear(2, 2))  # type: ignore[arg-type]


def test_samples_of_compiled_code_are_those_of_the_model() -> None:
    torch.manual_seed(0)
    model = zoo.guided_ddpm((D,), num_classes=CLASSES, network="mlp", hidden=16)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    how: dict[str, Any] = {"steps": 5, "guidance": 2.0, "seed": 3}
    expected = model.sample(7, torch.arange(7) % CLASSES, **how)
    found = model.sample(7, torch.arange(7) % CLASSES, **how, staged=True)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_codes_are_sampled_by_compiled_code_too(uncompiled: list[int]) -> None:
    latent = zoo.latent_diffusion((1, 8, 8), latent_dim=4, hidden=16)
    ppl_gen.fit(latent, torch.rand(32, 1, 8, 8), epochs=1, staged=False, progress=False)
    staged = latent.sample(3, steps=4, seed=0, staged=True)
    torch.testing.assert_close(staged, latent.sample(3, steps=4, seed=0))
    assert len(uncompiled) == 1
