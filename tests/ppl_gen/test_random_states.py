"""What draws from a seed, or only looks, leaves every global generator as it was."""

import random

import numpy as np
import pytest
import torch

import ppl_gen
from ppl_gen import _modes, _random


def draws():
    return torch.rand(3).tolist(), random.random(), np.random.rand()  # noqa: NPY002


@pytest.mark.parametrize("seeded", [_random.seeded, _modes.seeded], ids=["training", "a draw"])
def test_a_seed_fixes_every_generator_and_restores_it(seeded):
    with _random.preserved():
        before = draws()
    found = []
    for _ in range(2):
        with seeded(3):
            found.append(draws())
    assert found[0] == found[1]
    assert all(a != b for a, b in zip(found[0], before, strict=True))
    with _random.preserved():
        assert draws() == before


def test_an_error_restores_the_generators_too():
    def fail():
        draws()
        raise KeyError

    with _random.preserved():
        before = draws()
    with pytest.raises(KeyError), _random.seeded(0):
        fail()
    with _random.preserved():
        assert draws() == before


def test_embedding_data_that_draw_leaves_the_generators_alone():
    class Jittered(torch.utils.data.Dataset):
        def __len__(self):
            return 6

        def __getitem__(self, index):
            return torch.full((4,), random.random()) + np.random.rand() + torch.rand(())  # noqa: NPY002

    vae = ppl_gen.zoo.vae((4,), 2, likelihood="gaussian", hidden=8)
    with _random.preserved():
        before = draws()
    assert ppl_gen.embed(vae, Jittered()).shape == (6, 2)
    with _random.preserved():
        assert draws() == before
