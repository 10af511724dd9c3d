"""Schedules follow their formulas, and the controller its published failure cases."""

import copy
import itertools
import re

import pytest
import torch

import ppl_gen
from ppl_gen import zoo
from ppl_gen.objectives import ELBO
from ppl_gen.schedules import (
    Constant,
    Cyclical,
    Exponential,
    PIController,
    Schedule,
    WarmUp,
    as_schedule,
)


def run(schedule, steps, **metrics):
    values = []
    for _ in range(steps):
        schedule.update({name: torch.tensor(value) for name, value in metrics.items()})
        values.append(schedule.value.item())
    return values


def test_shapes_of_the_open_loop_schedules():
    assert run(Constant(2.0), 3) == [2.0] * 3
    assert run(WarmUp(4), 6) == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert run(Cyclical(4, ramp=0.5), 6) == [0.5, 1.0, 1.0, 0.0, 0.5, 1.0]
    decay = run(Exponential(1.0, rate=0.5, floor=0.3), 3)
    assert decay == pytest.approx([0.60653, 0.36788, 0.3], rel=1e-4)


def plant(controller, steps, *, gain=25.0, rate=0.1, start=0.0):
    """A first-order lag whose resting KL falls with the weight: 25 / (1 + β)."""
    kl, trace = start, []
    for _ in range(steps):
        kl += rate * (gain / (1 + controller.value.item()) - kl)
        controller.update({"kl": torch.tensor(kl)})
        trace.append((kl, controller.value.item()))
    return trace


@pytest.mark.parametrize("target", [4.0, 8.0, 14.0, 20.0])
def test_the_controller_has_no_steady_state_error(target):
    controller = PIController(target, maximum=20.0)
    kl, weight = plant(controller, 4_000)[-1]
    assert kl == pytest.approx(target, abs=1e-2)
    assert weight == pytest.approx(25.0 / target - 1, abs=1e-2)


def test_the_weight_stays_within_its_bounds():
    controller = PIController(8.0, proportional=5.0, integral=0.5, minimum=1.0, maximum=3.0)
    generator = torch.Generator().manual_seed(0)
    for kl in (100 * torch.rand(500, generator=generator)).tolist():
        controller.update({"kl": torch.tensor(kl)})
        assert 1.0 <= controller.value.item() <= 3.0


def test_a_low_kl_lowers_the_weight_and_a_high_one_raises_it():
    controller = PIController(8.0)
    rising = run(controller, 50, kl=20.0)
    assert all(a < b for a, b in itertools.pairwise(rising))
    falling = run(controller, 20, kl=2.0)
    assert all(a > b for a, b in itertools.pairwise(falling))


def test_a_lowered_set_point_does_not_lock_the_controller_at_its_bound():
    # freezing on the unclipped weight whenever it is out of range stays at 1 with a KL of 20
    controller = PIController(25.0, integral=0.001, minimum=1.0)
    plant(controller, 3_000, gain=40.0)
    assert controller.value.item() == pytest.approx(1.0, abs=0.05)
    controller.target = 8.0
    kl, weight = plant(controller, 8_000, gain=40.0, start=20.0)[-1]
    assert kl == pytest.approx(8.0, abs=0.05)
    assert weight == pytest.approx(4.0, abs=0.05)


@pytest.mark.parametrize("bound", ["minimum", "maximum"])
def test_it_leaves_saturation_as_soon_as_the_error_changes_sign(bound):
    controller = PIController(8.0, minimum=1.0, maximum=2.0)
    run(controller, 5_000, kl=0.0 if bound == "minimum" else 100.0)
    edge = 1.0 if bound == "minimum" else 2.0
    assert controller.value.item() == pytest.approx(edge, abs=0.01)
    moved = run(controller, 3, kl=100.0 if bound == "minimum" else 0.0)[-1]
    assert abs(moved - edge) > 0.05


@pytest.mark.parametrize("kl", [1e4, -1e4])
def test_huge_errors_do_not_overflow(kl):
    controller = PIController(8.0)
    assert all(value == value and abs(value) <= 100 for value in run(controller, 5, kl=kl))


def test_the_state_survives_saving():
    one, other = PIController(8.0), PIController(8.0)
    run(one, 100, kl=12.0)
    other.load_state_dict(one.state_dict())
    assert run(one, 5, kl=3.0) == run(other, 5, kl=3.0)


def test_numbers_become_constants():
    assert isinstance(as_schedule(3), Schedule)
    schedule = WarmUp(3)
    assert as_schedule(schedule) is schedule


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: as_schedule("x"), "number or a .*Schedule.*'x'"),
        (lambda: as_schedule(True), "number or a"),
        (lambda: Constant(float("inf")), "finite number, got inf"),
        (lambda: WarmUp(0), "positive steps, got 0"),
        (lambda: Cyclical(10, ramp=0), r"in \(0, 1\], got 0"),
        (lambda: Exponential(1.0, rate=-1, floor=0.1), "positive rate, got -1"),
        (lambda: PIController(-8), "positive target, got -8"),
        (lambda: PIController(8, minimum=3, maximum=2), "minimum < maximum, got 3 and 2"),
    ],
)
def test_bad_settings_are_refused(build, match):
    with pytest.raises(ValueError, match=match):
        build()


@pytest.mark.parametrize(
    ("kl", "said"), [(2.0, "below it.*lower bound 0"), (20.0, "above it.*upper bound 3")]
)
def test_a_controller_says_that_it_could_not_reach_its_set_point(kl, said):
    controller = PIController(8.0, integral=0.05, maximum=3.0)
    for _ in range(99):
        controller.update({"kl": torch.tensor(kl)})
    assert controller.warning() is None
    for _ in range(60):
        controller.update({"kl": torch.tensor(kl)})
    assert re.search(f"kl to settle at the set point 8, but .*{said}", controller.warning())
    restored = PIController(8.0, integral=0.05, maximum=3.0)
    restored.load_state_dict(controller.state_dict())
    assert restored.warning() == controller.warning()
    controller.update({"kl": torch.tensor(8.0 - (kl - 8.0))})
    assert controller.warning() is None


def test_training_warns_of_a_set_point_out_of_reach_and_of_no_other():
    x = torch.rand(8, 1, 4, 4, generator=torch.Generator().manual_seed(0)).round()
    options = {"epochs": 130, "staged": False, "progress": False, "lr": 1e-2}
    with pytest.warns(UserWarning, match="set point 500, but it has been below"):
        ppl_gen.fit(zoo.control_vae((1, 4, 4), 1, hidden=8, target_kl=500), x, **options)
    ppl_gen.fit(zoo.control_vae((1, 4, 4), 2, hidden=32, target_kl=0.1), x, **options)


@pytest.mark.parametrize(
    ("schedule", "said"),
    [(WarmUp(10_000), "warm-up of 10000"), (Cyclical(40, ramp=0.25), "first ramp of 10")],
)
@pytest.mark.parametrize("staged", [False, True], ids=["eager", "staged"])
def test_a_ramp_that_training_cut_short_says_so_and_its_values_are_recorded(
    schedule, said, staged, monkeypatch
):
    monkeypatch.setattr("ppl_gen.staging.torch_internals.why_not_compiled", lambda devices: None)
    monkeypatch.setattr(
        "ppl_gen.staging.backends.compiled", lambda module, inputs: lambda *values: module(*values)
    )
    expected = [0.0, *run(copy.deepcopy(schedule), 4)]
    model = zoo.vae((1, 4, 4), 2, hidden=8, objective=ELBO(weight=copy.deepcopy(schedule)))
    x = torch.rand(16, 1, 4, 4, generator=torch.Generator().manual_seed(0)).round()
    options = {"batch_size": 8, "staged": staged, "progress": False}
    with pytest.warns(UserWarning, match=f"{said} steps to end, but training took 4: .* to 1;"):
        history = ppl_gen.fit(model, x, epochs=2, validation=x, **options)
    assert history["weight"] == expected[:4]
    assert "val_weight" not in history


def test_ramps_that_ended_and_constants_are_not_spoken_of():
    x = torch.rand(16, 1, 4, 4, generator=torch.Generator().manual_seed(0)).round()
    for weight in (WarmUp(4), Cyclical(6, ramp=0.5), 0.5):
        model = zoo.vae((1, 4, 4), 2, hidden=8, objective=ELBO(weight=weight))
        history = ppl_gen.fit(model, x, epochs=2, batch_size=8, staged=False, progress=False)
        assert ("weight" in history) == isinstance(weight, Schedule)
