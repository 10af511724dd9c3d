"""Labels on tensors against derivatives: an element depends on what moves it."""

import math
import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from graphs.programs.provenance import Provenance

KEEP = torch.tensor([True, False, True])


def reversed_pairs(x, y):
    return torch.stack([x, y.flip(0)]).T.reshape(-1)[1:4]


def chosen(x, y):
    return torch.where(KEEP, x, y)


def placed(x, y):
    buffer = torch.zeros(4)
    buffer[1:3] = x[:2]
    buffer[0] = y[2]
    buffer[3] = x[0]
    buffer[3] = 1.0
    return buffer[:3]


def scattered(x, y):
    buffer = x.clone()
    buffer[torch.tensor([2, 0])] = y[:2]
    return buffer


def masked(x, y):
    buffer = x + 0
    buffer[KEEP] = y[KEEP]
    return buffer


def padded(x, y):
    return F.pad(torch.cat([x[1:], y[:1]]), (1, 1))[1:4]


def gathered(x, y):
    both = torch.stack([x, y])
    return both.gather(0, torch.tensor([[0, 1, 0]]))[0]


def scaled(x, y):
    return (2 * x).exp() * torch.tensor([1.0, 0.5, 2.0]) - y.sin()


def accumulated(x, y):
    total = torch.zeros(3)
    total += x
    total.mul_(y + 3)
    return total


def viewed(x, y):
    both = torch.cat([x, y]).view(2, 3)
    both[1] *= 2
    return both.T[:, 1].contiguous()


def selected(x, y):
    return torch.cat([x, y]).index_select(0, torch.tensor([5, 0, 3]))


def copied(x, y):
    target = torch.empty(3)
    target.copy_(x.double())
    return target.unsqueeze(0).expand(2, 3).reshape(6)[2:5]


def summed(x, y):
    return x.sum() + y


def multiplied(x, y):
    return torch.outer(x, y) @ torch.ones(3)


def normalised(x, y):
    return torch.softmax(x + y, dim=0)


def recurrent(x, y):
    torch.manual_seed(0)
    return torch.nn.GRU(3, 3)(torch.stack([x, y])[:, None])[0][1, 0]


def mapped(x, y):
    return torch.func.vmap(torch.mul)(x, y)


EXACT = (
    reversed_pairs, chosen, placed, scattered, masked, padded, gathered, scaled, accumulated,
    viewed, selected, copied, mapped,
)  # fmt: skip
COARSE = (summed, multiplied, normalised, recurrent)


def composed(seed, steps):
    """A random composition of two-argument operations."""
    rng = random.Random(seed)
    picks = [(rng.choice(steps), rng.random() < 0.5) for _ in range(rng.randint(1, 4))]

    def function(x, y):
        for step, swap in picks:
            x, y = (y, step(x, y)) if swap else (step(x, y), y)
        return x + 0 * torch.zeros(3)

    return function


def moved_by(function):
    """For each element of the result, which of the six numbers move it, by derivatives."""
    x, y = torch.tensor([0.3, -0.7, 1.1]), torch.tensor([0.9, 0.2, -0.4])
    jacobian = torch.autograd.functional.jacobian(function, (x, y))
    return [
        {(name, i) for name, part in zip("xy", jacobian, strict=True) for i in range(3)
         if part[k, i].abs() > 1e-9}
        for k in range(3)
    ]  # fmt: skip


def labelled_by(function):
    with Provenance() as provenance:
        parts = {"x": torch.tensor([0.3, -0.7, 1.1]), "y": torch.tensor([0.9, 0.2, -0.4])}
        for name, values in parts.items():
            pieces = [provenance.label(v, {(name, i)}) for i, v in enumerate(values)]
            parts[name] = torch.stack(pieces)
        result = function(parts["x"], parts["y"])
        return [set(provenance.labels(result[k])) for k in range(3)]


@pytest.mark.parametrize("function", EXACT)
def test_moves_and_arithmetic_are_followed_element_by_element(function):
    with torch.no_grad():
        labelled = labelled_by(function)
    assert labelled == moved_by(function)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6))
def test_what_moves_an_element_labels_it(seed):
    function = composed(seed, EXACT + COARSE)
    assert all(m <= f for m, f in zip(moved_by(function), labelled_by(function), strict=True))


def labels_of(compute):
    """The labels of a result computed from z (3 numbers), w (one) and k (an index)."""
    with Provenance() as provenance:
        z = provenance.label(torch.tensor([0.5, -1.0, 2.0]), {"z"})
        w = provenance.label(torch.tensor(0.25), {"w"})
        k = provenance.label(torch.tensor(1), {"k"})
        return "".join(sorted(provenance.labels(compute(z, w, k)))), provenance.escapes


TABLE = torch.arange(6.0).reshape(3, 2)


@pytest.mark.parametrize(
    ("compute", "labels"),
    [
        (lambda z, w, k: torch.zeros_like(z) + z.new_ones(3) + torch.full_like(w, 2.0), ""),
        (lambda z, w, k: TABLE[k], "k"),
        (lambda z, w, k: TABLE[:, k.clamp(max=1)], "k"),
        (lambda z, w, k: z[k], "kz"),
        (lambda z, w, k: torch.stack([w, z[0]])[k], "kwz"),
        (lambda z, w, k: z[z > w], "wz"),
        (lambda z, w, k: F.one_hot(k, 3), "k"),
        (lambda z, w, k: torch.zeros(k + 2), "k"),
        (lambda z, w, k: torch.tensor([1.0, w]), "w"),
        (lambda z, w, k: torch.FloatTensor([1.0, 2.0]) + w, "w"),
        (lambda z, w, k: z.detach().double().to_sparse().to_dense(), "z"),
        (lambda z, w, k: torch.view_as_complex(torch.stack([z, z * w], -1)).real, "z"),
        (lambda z, w, k: torch.view_as_complex(torch.stack([z, z * w], -1)).imag, "wz"),
        (lambda z, w, k: torch.view_as_complex(torch.stack([z, z * w], -1)) * 1, "wz"),
        (lambda z, w, k: torch.stack([z[0], z[1], w, w]).view(torch.complex64)[1], "wz"),
        (lambda z, w, k: torch.add(z, 1.0, out=torch.empty(3)), "z"),
        (lambda z, w, k: torch.zeros(3, out=z), ""),
        (lambda z, w, k: torch.distributions.Normal(z, w.exp()).log_prob(torch.ones(3)), "wz"),
        (lambda z, w, k: __import__("copy").deepcopy(z), "z"),
        (lambda z, w, k: {"a": [z, (w,)]}, "wz"),
        (lambda z, w, k: torch.where(z > 0, torch.ones(3), torch.zeros(3)), "z"),
        (lambda z, w, k: torch.einsum("i,j->ij", z, torch.ones(2)) * w, "wz"),
        (lambda z, w, k: z.view(torch.int32), "z"),
    ],
)
def test_results_carry_the_labels_they_depend_on(compute, labels):
    found, escapes = labels_of(compute)
    assert found == labels
    assert escapes == []


def test_writing_at_a_labelled_place_labels_the_whole():
    def compute(z, w, k):
        buffer = torch.zeros(3)
        buffer[k] = w
        return buffer[0]

    assert labels_of(compute)[0] == "kw"
    assert TABLE.tolist() == [[0, 1], [2, 3], [4, 5]]


@pytest.mark.parametrize(
    ("leave", "how", "labels"),
    [
        (lambda z, w, k: w.item(), "item", "w"),
        (lambda z, w, k: bool(w > z[0]), "__bool__", "wz"),
        (lambda z, w, k: math.sin(w), "__float__", "w"),
        (lambda z, w, k: [5, 6, 7][k], "__index__", "k"),
        (lambda z, w, k: list(range(k)), "__index__", "k"),
        (lambda z, w, k: int(k), "__int__", "k"),
        (lambda z, w, k: z.tolist(), "tolist", "z"),
        (lambda z, w, k: z.numpy(), "numpy", "z"),
        (lambda z, w, k: np.asarray(z), "__array__", "z"),
        (lambda z, w, k: torch.equal(z, w.expand(3)), "equal", "wz"),
        (lambda z, w, k: torch.allclose(z, z), "allclose", "z"),
        (lambda z, w, k: 1.0 in z, "__contains__", "z"),
        (lambda z, w, k: torch.FloatTensor([w]), "__float__", "w"),
    ],
)
def test_values_that_leave_torch_are_noted(leave, how, labels):
    def compute(z, w, k):
        leave(z, w, k)
        return z

    _, (*_, escape) = labels_of(compute)
    assert escape.how == how
    assert "".join(sorted(escape.labels)) == labels
    assert escape.place.startswith("test_provenance.py:")


def test_text_and_the_checks_of_distributions_are_no_escape():
    def compute(z, w, k):
        assert f"{w:.2f} {z}"
        assert repr(z)
        return torch.distributions.Normal(z, w, validate_args=True).log_prob(z)

    assert labels_of(compute)[1] == []


def test_changes_in_place_are_undone_and_memory_can_be_marked():
    outside = torch.arange(4.0)
    norm = torch.nn.BatchNorm1d(2)
    with Provenance() as provenance:
        provenance.mark(outside[1:3], {"data"})
        assert [len(provenance.labels(v)) for v in outside] == [0, 1, 1, 0]
        outside.add_(1.0)
        norm(torch.ones(3, 2))
        assert outside.tolist() == [1, 2, 3, 4]
    assert outside.tolist() == [0, 1, 2, 3]
    assert norm.running_mean.tolist() == [0, 0]
    assert norm.num_batches_tracked == 0


def test_what_is_made_inside_keeps_what_is_written_to_it():
    outside, made = torch.zeros(3), []
    with Provenance() as provenance:
        made.append(torch.nn.Linear(4, 4))  # its weights are drawn in place
        torch.nn.init.constant_(made[0].bias, 7.0)
        made.append(torch.tensor([1.0, 2.0]).mul_(3))
        made.append(torch.zeros(2))
        made[-1][0] = 5.0
        made.append(provenance.label(outside, {"z"}))
        made[-1][1:].fill_(2.0)
        made.append(outside.view(3)[1:].add_(1.0))
    assert made[0].bias.tolist() == [7.0] * 4
    assert 0 < float(made[0].weight.detach().abs().max()) <= 0.5
    assert [part.tolist() for part in made[1:]] == [[3, 6], [5, 0], [0, 2, 2], [0, 0]]
    assert outside.tolist() == [0, 0, 0]


def test_exceptions_pass_and_leave_no_mode_behind():
    outside = torch.zeros(2)

    def fail():
        with Provenance():
            outside.add_(1.0)
            raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        fail()
    assert outside.tolist() == [0, 0]
    assert torch.overrides._get_current_function_mode() is None


def test_freed_memory_takes_its_labels_along():
    with Provenance() as provenance:
        for _ in range(50):
            provenance.label(torch.ones(1000), {"z"})
            assert not provenance.labels(torch.ones(1000))
