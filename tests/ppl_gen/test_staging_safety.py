"""What a graph would freeze is found, named, and run eagerly; nothing is silently wrong."""

import itertools
import random
import re
import time
import warnings

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from foreign_programs import PROGRAMS
from pyro.infer import Trace_ELBO
from torch import nn

import ppl_gen
from ppl_gen._random import RandomState
from ppl_gen.staging import StagingError, StagingWarning, stage_function
from ppl_gen.staging.comparison import Outcome, difference
from ppl_gen.staging.recording import record
from ppl_gen.staging.sandbox import Sandbox

OBJECTIVE = Trace_ELBO()
LEGACY = np.random.rand  # the global generator, which programs still use

pytestmark = pytest.mark.usefixtures("fresh_store")


def pair(factor):
    """A pair whose model scales its mean by whatever ``factor(z, x)`` computes."""
    encoder = nn.Linear(4, 2)

    def model(x, *unused):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x)), 1.0))
            mean = z[:, None] * factor(z, x)
            pyro.sample("x", dist.Normal(mean, 1.0).to_event(1), obs=x)

    def guide(x, *unused):
        pyro.module("encoder", encoder)
        loc, scale = encoder(x).T
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc, scale.exp()))

    return model, guide


class State:
    """What a program may hold."""

    def __init__(self):
        self.count, self.weight, self.kept, self.seen = 0.0, torch.tensor(2.0), None, []
        self.counter, self.array = itertools.count(), np.ones(3)
        self.generator = torch.Generator()

    def counted(self, z, x):
        self.count += 1.0
        return self.count

    def keep(self, z, x):
        self.kept = z
        return 1.0

    def append(self, z, x):
        self.seen.append(1)
        return 1.0

    def written(self, z, x):
        total = torch.zeros(2)
        total[0] = x.sum()
        return total.sum().item()

    def written_by_list(self, z, x):
        total = [torch.zeros(2)]
        torch._foreach_add_(total, [x[0, :2]])
        return total[0].sum().item()

    def caught(self, z, x):
        try:
            return z.mean().item()
        except Exception:
            return 1.0


READS = "reads the value of a tensor in Python"
SHAPES = "makes a tensor whose shape depends on values"
Z = "at or after the sample site 'z'"
REFUSED = {
    "branch": (lambda s: lambda z, x: 2.0 if z.mean() > 0 else 1.0, READS, Z),
    "item": (lambda s: lambda z, x: z.sum().item(), READS, Z),
    "float": (lambda s: lambda z, x: float(x[0, 0]), READS, Z),
    "list": (lambda s: lambda z, x: sum(x[0].tolist()), READS, Z),
    "numpy": (lambda s: lambda z, x: float(np.asarray(x).sum()), READS, Z),
    "copy": (lambda s: lambda z, x: torch.tensor([x[0, 0], x[0, 1]]).sum(), READS, Z),
    "held tensor": (lambda s: lambda z, x: s.weight.item(), READS, Z),
    "written constant": (lambda s: s.written, READS, Z),
    "written list": (lambda s: s.written_by_list, READS, Z),
    "own draw": (lambda s: lambda z, x: torch.rand(()).item(), READS, Z),
    "caught": (lambda s: s.caught, READS, Z),
    "comparison": (lambda s: lambda z, x: 1.0 + torch.equal(x, x + 1), READS, Z),
    "mask": (lambda s: lambda z, x: x[x > 0].mean(), SHAPES, Z),
    "nonzero": (lambda s: lambda z, x: (x > 0).nonzero().float().mean(), SHAPES, Z),
    "generator": (lambda s: lambda z, x: torch.rand((), generator=s.generator), "Generator", Z),
    "python random": (lambda s: lambda z, x: random.random(), "draws from random", ""),
    "numpy random": (lambda s: lambda z, x: LEGACY(), "draws from numpy.random", ""),
    "counter": (lambda s: s.counted, r"changes State.count (1.0, then 2.0)", ""),
    "kept tensor": (lambda s: s.keep, "changes State.kept", ""),
    "list that grows": (lambda s: s.append, "changes State.seen (1 entries, then 2)", ""),
    "iterator": (lambda s: lambda z, x: next(s.counter), "another result than eagerly", ""),
    "clock": (lambda s: lambda z, x: time.perf_counter() % 1, "another result", ""),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_graph_would_freeze_is_refused_by_name(name):
    make, reason, place = REFUSED[name]
    x = torch.randn(5, 4)
    step = ppl_gen.stage(*pair(make(State())), OBJECTIVE, staged=True, backend="eager")
    for _ in range(2):  # it stays refused
        with pytest.raises(StagingError, match=f"{re.escape(reason)}.*{place}"):
            step(x)
    pyro.clear_param_store()
    step = ppl_gen.stage(*pair(make(State())), OBJECTIVE, backend="eager")
    with pytest.warns(StagingWarning, match=f"runs eagerly: .*{re.escape(reason)}") as caught:
        step(x)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step(x)
        step(x[:3]) if name != "branch" else None


def test_a_refusal_names_the_line():
    def factor(z, x):
        return 2.0 if z.mean() > 0 else 1.0

    step = ppl_gen.stage(*pair(factor), OBJECTIVE, staged=True, backend="eager")
    line = factor.__code__.co_firstlineno + 1
    with pytest.raises(StagingError, match=f"{re.escape(__file__)}:{line}: return 2.0 if z.mean"):
        step(torch.randn(5, 4))


def test_the_fallback_is_eager_pyro_bit_for_bit():
    def factor(z, x):
        return 2.0 if z.mean() > 0 else 1.0

    found = []
    for mode in ("auto", False):
        pyro.clear_param_store()
        torch.manual_seed(0)
        step = ppl_gen.stage(*pair(factor), OBJECTIVE, staged=mode, backend="eager")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            record = [step(torch.ones(5, 4)), step(torch.ones(5, 4)), torch.get_rng_state()]
        assert len(caught) == (mode == "auto")
        found.append([*record, *(p.grad for p in step.parameters())])
    assert all(map(torch.equal, *found))


def test_what_a_refused_program_counts_is_counted_as_without_staging():
    counts = []
    for mode in ("auto", False):
        pyro.clear_param_store()
        state = State()
        step = ppl_gen.stage(*pair(state.counted), OBJECTIVE, staged=mode, backend="eager")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for _ in range(3):
                step(torch.ones(5, 4))
        counts.append(state.count)
    assert counts[0] == counts[1]


def test_constants_may_be_read():
    def factor(z, x):
        return torch.tensor([1.0, 2.0]).sum().item() if torch.arange(3).sum() > 2 else 0.0

    model, guide = pair(factor)
    step = ppl_gen.stage(model, guide, OBJECTIVE, staged=True, backend="eager")
    for seed in range(3):
        x = torch.randn(5, 4)
        torch.manual_seed(seed)
        loss = step(x)
        torch.manual_seed(seed)
        assert torch.equal(loss, OBJECTIVE.differentiable_loss(model, guide, x).detach())


def test_data_is_an_input_however_it_is_detached():
    model, guide = pair(lambda z, x: x.data.mean() + x.detach().sum())
    step = ppl_gen.stage(model, guide, OBJECTIVE, staged=True, backend="eager")
    for seed in range(3):
        x = torch.randn(5, 4)
        torch.manual_seed(seed)
        loss = step(x)
        torch.manual_seed(seed)
        assert torch.equal(loss, OBJECTIVE.differentiable_loss(model, guide, x).detach())


def test_an_unused_argument_is_refused():
    step = ppl_gen.stage(*pair(lambda z, x: 1.0), OBJECTIVE, staged=True, backend="eager")
    with pytest.raises(StagingError, match=r"does not use args\[1\]"):
        step(torch.randn(5, 4), torch.zeros(3))
    weight = torch.ones(2, requires_grad=True)
    step = stage_function(lambda x, *, y: ((weight * x).sum(), {}), [weight], staged=True)
    with pytest.raises(StagingError, match=r"does not use kwargs\['y'\]"):
        step(torch.ones(2), y=torch.ones(2))


@pytest.mark.parametrize(
    ("argument", "reason"),
    [
        (np.ones(2), "an argument is a numpy.ndarray; expected tensors and plain values"),
        (object(), "an argument is a builtins.object"),
        (torch.ones(2, requires_grad=True), "an argument requires a gradient; expected data"),
    ],
)
def test_arguments_that_cannot_be_inputs_are_refused(argument, reason):
    weight = torch.ones(2, requires_grad=True)

    def loss(x, other):
        return (weight * x).sum(), {}

    with pytest.raises(StagingError, match=reason):
        stage_function(loss, [weight], staged=True)(torch.ones(2), argument)
    with pytest.warns(StagingWarning, match=reason):
        found, _ = stage_function(loss, [weight])(torch.ones(2), argument)
    assert found == 2


def test_a_baseline_in_the_parameter_store_is_refused_and_its_site_named():
    program = PROGRAMS["decaying_average_baseline"]()
    step = ppl_gen.stage(
        program.model, program.guide, program.objective, staged=True, backend="eager"
    )
    with pytest.raises(StagingError, match="keeps state in the parameter store, for 'z'"):
        step(*program.arguments(0))
    found = []
    for mode in ("auto", False):
        pyro.clear_param_store()
        torch.manual_seed(0)
        program = PROGRAMS["decaying_average_baseline"]()
        step = ppl_gen.stage(program.model, program.guide, program.objective, staged=mode)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            losses = [step(*program.arguments(i)) for i in range(3)]
        assert len(caught) == (mode == "auto")
        assert not any("baseline" in name for name, _ in step.named_parameters())
        found.append([*losses, *(p.grad for p in step.parameters())])
    assert all(map(torch.equal, *found))


def test_a_value_outside_the_watched_state_is_caught_by_the_next_comparison():
    state = State()
    model, guide = pair(lambda z, x: float(state.array[0]))
    step = ppl_gen.stage(model, guide, OBJECTIVE, backend="eager")
    x = torch.randn(5, 4)
    step(x)
    state.array[0] = 3.0
    torch.manual_seed(0)
    with pytest.warns(StagingWarning, match="gives another result than eagerly"):
        loss = step(x)
    torch.manual_seed(0)
    assert torch.equal(loss, OBJECTIVE.differentiable_loss(model, guide, x).detach())


def test_a_value_that_keeps_changing_is_named():
    state = {"depth": 1}
    step = ppl_gen.stage(*pair(lambda z, x: state["depth"]), OBJECTIVE, backend="eager")
    x = torch.randn(5, 4)
    for state["depth"] in (1, 2, 3, 4, 3, 2):
        step(x)
    state["depth"] = 5
    with pytest.warns(StagingWarning, match=r"keep changing: state.depth \(4, then 5\)"):
        step(x)


def test_a_float_that_python_looks_at_has_a_graph_for_each_value():
    state = State()
    model, guide = pair(lambda z, x: 3.0 if state.count > 1 else state.count)
    step = ppl_gen.stage(model, guide, OBJECTIVE, staged=True, backend="eager")
    x = torch.randn(5, 4)
    for state.count in (0.5, 1.0, 2.0, 0.5):
        torch.manual_seed(0)
        loss = step(x)
        torch.manual_seed(0)
        assert torch.equal(loss, OBJECTIVE.differentiable_loss(model, guide, x).detach())


def test_too_many_kinds_of_call_run_eagerly(monkeypatch):
    monkeypatch.setattr("ppl_gen.staging.staged.KEYS", 2)
    step = ppl_gen.stage(*pair(lambda z, x: 1.0), OBJECTIVE, backend="eager")
    step(torch.randn(5, 4))
    step(torch.randn(4, 4))
    with pytest.warns(StagingWarning, match="more than 2 combinations"):
        step(torch.randn(3, 4))


def test_a_step_inside_an_effect_handler_is_refused():
    step = ppl_gen.stage(*pair(lambda z, x: 1.0), OBJECTIVE, staged=True, backend="eager")
    with (
        pyro.poutine.scale(scale=0.5),
        pytest.raises(StagingError, match="inside a ScaleMessenger"),
    ):
        step(torch.randn(5, 4))


# --- The parts --------------------------------------------------------------------------------


def outcome(loss=1.0, gradient=(1.0, 2.0), written=()):
    return Outcome(
        {"loss": torch.tensor(loss)},
        {"w": None if gradient is None else torch.tensor(gradient)},
        [torch.tensor(w) for w in written],
    )


def test_outcomes_are_compared_in_every_part():
    inf, nan = float("inf"), float("nan")
    assert difference(outcome(), outcome()) is None
    assert difference(outcome(), outcome(loss=1 + 1e-5)) is None
    assert "loss differs by" in difference(outcome(), outcome(loss=1.01))
    assert "the gradient of w differs" in difference(outcome(), outcome(gradient=(1.0, 2.01)))
    assert "missing" in difference(outcome(), outcome(gradient=None))
    assert "float32 (2,)" in difference(outcome(gradient=(1.0,)), outcome())
    assert "written to (0)" in difference(outcome(written=[1.0]), outcome(written=[2.0]))
    assert difference(outcome(loss=nan), outcome(loss=nan)) is None
    assert difference(outcome(loss=inf), outcome(loss=inf)) is None
    for odd in ((1.0, nan), (nan, 0.0), (inf, -inf), (nan, inf)):
        assert "not finite" in difference(outcome(loss=odd[0]), outcome(loss=odd[1]))


def test_rounding_of_a_cancelling_sum_is_no_difference():
    noise = Outcome({}, {"w": torch.tensor([1e3]), "b": torch.tensor([1e-4])})
    other = Outcome({}, {"w": torch.tensor([1e3]), "b": torch.tensor([-2e-4])})
    assert difference(noise, other) is None


def test_a_sandbox_puts_back_what_is_written_through_any_view():
    held, batch_norm = torch.arange(6.0), nn.BatchNorm1d(3)
    before = [t.clone() for t in (held, *batch_norm.state_dict().values())]
    with Sandbox() as sandbox:
        held.view(2, 3)[1].mul_(2)
        held += 1
        held[::2] = 7.0
        fresh = torch.zeros(3)
        fresh += 1
        batch_norm(torch.randn(4, 3))
    assert not torch.equal(held, before[0])
    assert not torch.equal(batch_norm.running_mean, before[3])
    sandbox.restore()
    after = (held, *batch_norm.state_dict().values())
    assert all(map(torch.equal, after, before))
    assert all(tensor is not fresh for tensor, _ in sandbox.written)


def test_random_states_are_restored_and_foreign_draws_noticed():
    state = RandomState([torch.device("cpu")])
    draws = torch.rand(2), random.random(), LEGACY()
    assert state.foreign_drawn() == "random"
    state.restore()
    assert state.foreign_drawn() is None
    assert torch.equal(torch.rand(2), draws[0])
    assert LEGACY() == draws[2]
    assert state.foreign_drawn() == "numpy.random"
    assert random.random() == draws[1]


def test_a_recording_serves_other_values_and_takes_the_same_tensor_twice():
    held, written = torch.tensor([1.0, 2.0]), torch.zeros(2)

    def function(x, y):
        written.add_(x)
        out = torch.zeros(2)
        out[0] = (x * y * held).sum()
        shift = torch.tensor([3.0, 4.0])
        shift += out  # in each run afresh
        return [shift, None]

    x = torch.tensor([1.0, 1.0])
    recording = record(function, [x, x])
    assert recording.used == (True, True)
    assert {id(t) for t in recording.lifted} == {id(held), id(written)}
    held.mul_(10)
    written.zero_()
    for _ in range(2):
        found, none = recording.module(x, 2 * x, *recording.lifted)
        assert found.tolist() == [63.0, 4.0]
        assert none is None
    assert written.tolist() == [2.0, 2.0]
