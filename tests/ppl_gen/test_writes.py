"""Compiled graphs that write inputs with what other inputs, or views of themselves, held before."""

import random

import pytest
import torch
from torch.testing import assert_close

from ppl_gen import zoo
from ppl_gen.codebook import Codebook
from ppl_gen.staging import backends
from ppl_gen.staging.recording import record
from ppl_gen.staging.staged import StagingError
from ppl_gen.training import fit


def swaps(t, x):
    """Swaps and rotations: every tensor is written with another's contents."""
    old = t[0].clone()
    t[0].copy_(t[1])
    t[1].copy_(old)
    first = t[2].clone()
    t[2].copy_(t[3])
    t[3].copy_(t[4])
    t[4].copy_(first)
    return [(t[0] * x).sum(), t[3].sum()]


def kept_before(t, x):
    """What was there before a write is kept in a tensor that comes later, and in one before."""
    t[3].copy_(t[0])
    t[0].copy_(t[0] + x)
    t[1].copy_(t[4])
    t[4].mul_(x)
    return [t[3].sum(), (t[1] * t[0]).sum()]


def views_of_itself(t, x):
    """Transposed, turned and shifted in place."""
    t[0].copy_(t[0].T.clone())
    t[1].copy_(t[1].flip(0))
    t[2][1:].copy_(t[2][:-1].clone())
    t[3].copy_(t[4].T)
    t[4].copy_((t[3] + t[0]).roll(2, 0) * x)
    return [t[2].sum() * x.sum()]


def gathered_from_itself(t, x):
    """Rows in another order, sorted, and of another part of the same tensor."""
    t[0].copy_(t[0][torch.tensor([3, 1, 0, 5, 2, 4])] + x)
    t[1].copy_(t[1].gather(1, x.argsort(1)))
    t[2].copy_(torch.cat([t[2][3:], t[2][:3]]))
    t[3].copy_(t[3].cumsum(0))
    t[4].copy_(t[4] @ t[4] - t[4].T)
    return [t[0].sum()]


def returned_before(t, x):
    """The result is what a tensor held before."""
    old = t[0].clone()
    t[0].add_(x)
    return [old, t[0] + 0]


def at_random(t, x):
    """Ten writes, of copies, transposes and sums of any of them."""
    choose = random.Random(3)
    for _ in range(10):
        into, a, b = (choose.randrange(5) for _ in range(3))
        value = choose.choice([t[a], t[a].T, t[a] + t[b], t[a] * x, t[b].clone()])
        t[into].copy_(value.clone())
    return [sum(each.sum() for each in t)]


@pytest.mark.parametrize(
    "program",
    [swaps, kept_before, views_of_itself, gathered_from_itself, returned_before, at_random],
)
def test_writes_take_what_was_there_before(program):
    torch.manual_seed(0)
    tensors, x = [torch.randn(6, 6) for _ in range(5)], torch.randn(6, 6)
    contents = [tensor.clone() for tensor in tensors]

    def put_back():
        for tensor, old in zip(tensors, contents, strict=True):
            tensor.copy_(old)

    recording = record(lambda x: program(tensors, x), [x])
    put_back()
    expected = [found.clone() for found in program(tensors, x)] + [t.clone() for t in tensors]
    put_back()
    inputs = [x, *recording.lifted]
    run = backends.compiled(recording.module, inputs)
    with torch.no_grad():
        found = [*run(*inputs), *tensors]
    assert_close(found, expected)


def test_codes_are_known_again_when_their_codebook_has_moved_in_a_compiled_step():
    """``Codebook.before`` is written with the vectors that the same step replaces."""
    torch.manual_seed(0)
    vae = zoo.vq_vae((1, 8, 8), latent_dim=4, hidden=16)
    codebook = next(module for module in vae.modules() if isinstance(module, Codebook))
    images = torch.rand(64, 1, 8, 8)
    try:
        fit(vae, images, epochs=3, batch_size=16, progress=False, staged=True)
    except StagingError as error:
        pytest.fail(str(error))
    assert not torch.equal(codebook.before, codebook.vectors)
