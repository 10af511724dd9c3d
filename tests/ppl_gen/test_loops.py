"""Calls of a compiled graph in C++ are those in Python: numbers, state, last outputs, errors."""

import math
import resource
from functools import cache
from pathlib import Path

import pytest
import torch

from ppl_gen.staging import backends, cpp_loop
from ppl_gen.staging.recording import record


@pytest.fixture(scope="module", autouse=True)
def loop():
    """The loop, which takes seconds to compile, and that only where these tests run."""
    if cpp_loop._loop() is None:
        pytest.skip("torch cannot compile the calls of kernels here")


COMPILE = backends.compile_graph


def step(x, state):
    """Three numbers of three types, a tensor, and nothing; adds to the state."""
    state.add_(x.mean())
    noisy = x + torch.randn_like(x)
    return [noisy.sum(), (x > 0).sum(), x.double().sum().sqrt(), noisy * state, None]


@cache
def made(function, *shapes):
    """Compiled once for all tests."""
    inputs = [torch.zeros(shape, dtype=kind) for shape, kind in shapes]
    return backends.compiled(record(function, inputs).module, inputs)


def compiled(function, *inputs):
    if backends.compile_graph is COMPILE:
        return made(function, *((tensor.shape, tensor.dtype) for tensor in inputs))
    kept = [tensor.clone() for tensor in inputs]
    run = backends.compiled(record(function, inputs).module, inputs)
    for tensor, value in zip(inputs, kept, strict=True):
        tensor.copy_(value)
    return run


def taken(run, calls, heads=3):
    state = torch.zeros(())
    torch.manual_seed(1)
    with torch.no_grad():
        rows, (last,) = cpp_loop.Graphs([run], [[state]], [heads], [0])(calls)
        return rows, last, state


def test_calls_in_cpp_are_those_in_python():
    calls = [(torch.randn(40, generator=torch.Generator().manual_seed(i)),) for i in range(7)]
    run = compiled(step, calls[0][0], torch.zeros(()))
    assert run.entry is not None
    rows, last, state = taken(run, calls)
    expected, final, total = taken(lambda *given: run(*given), calls)  # no kernel: in Python
    torch.testing.assert_close(torch.tensor(rows), torch.tensor(expected), equal_nan=True)
    assert [row[0] for row in rows] == [row[0] for row in expected]
    assert any(math.isnan(row[2]) for row in rows)
    assert {row[1] for row in rows} == {int((x > 0).sum()) for (x,) in calls}
    assert torch.equal(last[0], final[0])
    assert last[1] is None
    assert final[1] is None
    assert torch.equal(state, total)


def weighed(x, state):
    """A step with constants, one of which it writes to."""
    weights, total = torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor(0.5)
    total.add_(x.sum())
    state.add_(total)
    return [(x.view(-1, 4) * weights).sum(), total * 2, total, x * weights[1]]


def test_constants_follow_the_inputs_of_every_call():
    calls = [(torch.randn(40, generator=torch.Generator().manual_seed(i)),) for i in range(5)]
    run = compiled(weighed, calls[0][0], torch.zeros(()))
    assert run.entry is not None
    rows, last, state = taken(run, calls)
    expected, final, total = taken(lambda x, s: weighed(x, s), calls)
    torch.testing.assert_close(torch.tensor(rows), torch.tensor(expected))
    torch.testing.assert_close(last[0], final[0])
    torch.testing.assert_close(state, total)


def test_constants_are_given_where_no_kernel_is_called_alone(monkeypatch):
    def uncompiled(module, inputs, options, own):
        return module, None

    monkeypatch.setattr(backends, "compile_graph", uncompiled)
    x, state = torch.arange(8.0), torch.zeros(())
    run = compiled(weighed, x, state)
    assert not isinstance(run, cpp_loop.Kernel)
    torch.testing.assert_close(list(run(x, state.clone())), weighed(x, state.clone()))


def pick(x, index):
    return [x[index].sum(), x * 2]


def test_errors_of_kernels_are_raised_and_leave_the_loop_usable():
    x, inside, outside = torch.arange(5.0), torch.tensor([1, 2]), torch.tensor([1, 7])
    picking = cpp_loop.Graphs([compiled(pick, x, inside)], [[]], [1], [0])
    with torch.no_grad():
        with pytest.raises(RuntimeError, match="index"):
            picking([(x, inside), (x, outside), (x, inside)])
        rows, (last,) = picking([(x, inside), (x, inside)])
    assert rows == [[3.0], [3.0]]
    assert torch.equal(last[0], x * 2)


def test_graphs_in_turn_are_those_in_python():
    draw = torch.Generator().manual_seed(0)
    x, state = torch.randn(40, generator=draw), torch.zeros(())
    runs = [compiled(step, x, state), compiled(pick, x, torch.tensor([1, 2]))]
    turns = ((x,), (x,), (x, torch.tensor([3, 4])), (x,))
    found = []
    for each in (runs, [lambda *given, run=run: run(*given) for run in runs]):
        state = torch.zeros(())
        torch.manual_seed(0)
        with torch.no_grad():
            rows, last = cpp_loop.Graphs(each, [[state], []], [3, 1], [0, 0, 1, 0])(turns * 3)
        found.append((rows, last, state))
    (rows, last, state), (expected, final, total) = found
    assert [len(row) for row in rows] == [3, 3, 1, 3] * 3
    for one, other in zip(rows, expected, strict=True):
        assert one == pytest.approx(other, nan_ok=True)
    assert torch.equal(last[0][0], final[0][0])
    assert last[0][1] is final[0][1] is None
    assert torch.equal(last[1][0], x * 2)
    assert torch.equal(state, total)


def test_nothing_is_held_afterwards():
    run = compiled(step, torch.zeros(2**18), torch.zeros(()))

    def work():
        for _ in range(20):
            taken(run, [(torch.randn(2**18),) for _ in range(8)])

    def resident():
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize()

    work()
    before = resident()
    work()
    assert resident() - before < 40 * 2**20  # of 160 MiB handed over
