"""LISTA starts as ISTA, whose properties are known; sparsity is measured as defined."""

import itertools

import pytest
import torch

from ppl_gen import metrics, zoo
from ppl_gen.metrics import hoyer
from ppl_gen.sparse_coding import LISTA


def coder(features, atoms, penalty, iterations, seed=0):
    torch.manual_seed(seed)
    return LISTA(features, atoms, penalty, iterations).double()


def features(n, size, seed=1):
    return torch.randn(n, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def with_dictionary(lista, dictionary):
    with torch.no_grad():
        lista.dictionary.copy_(dictionary)
    lista.reset()
    return lista


@pytest.mark.parametrize("seed", range(5))
def test_the_cost_never_rises_and_the_optimum_is_reached(seed):
    y = features(20, 6, seed)
    costs = []
    for iterations in (*range(12), 4000):
        lista = coder(6, 15, 0.3, iterations, seed)
        z = lista(y)
        costs.append(lista.cost(y, z))
    for before, after in itertools.pairwise(costs):
        assert (after <= before + 1e-10).all()
    # KKT: D'(y - Dz) equals the penalty times the sign where z is not 0, and is below it elsewhere
    slope = (y - z @ lista.dictionary.T) @ lista.dictionary
    active = z != 0
    torch.testing.assert_close(slope[active], 0.3 * z[active].sign(), atol=1e-4, rtol=0)
    assert (slope[~active].abs() <= 0.3 + 1e-4).all()
    assert 0 < active.double().mean() < 1


def test_an_orthonormal_dictionary_is_exact_in_one_step():
    basis = torch.linalg.qr(features(6, 6))[0]
    y = features(20, 6, 2)
    one = with_dictionary(coder(6, 6, 0.4, 0), basis)
    exact = (y @ basis).sign() * ((y @ basis).abs() - 0.4).relu()
    torch.testing.assert_close(one(y), exact)
    torch.testing.assert_close(with_dictionary(coder(6, 6, 0.4, 7), basis)(y), exact)


def test_it_is_odd_and_zero_under_a_large_penalty():
    lista, y = coder(6, 15, 0.3, 8), features(20, 6)
    torch.testing.assert_close(lista(-y), -lista(y))
    largest = (y @ lista.dictionary).abs().max().item() * (1 + 1e-9)
    assert (with_dictionary(coder(6, 15, largest, 8), lista.dictionary)(y) == 0).all()
    below = with_dictionary(coder(6, 15, 0.99 * largest, 8), lista.dictionary)(y)
    assert (below != 0).any()


def test_hoyer_sparsity():
    codes = torch.tensor([[0.0, 3.0, 0.0, 0.0], [1.0, -1.0, 1.0, -1.0], [0.0] * 4])
    torch.testing.assert_close(hoyer(codes), torch.tensor([1.0, 0.0, 1.0]))
    assert 0 < hoyer(torch.tensor([1.0, 2.0, 3.0])) < 1
    with pytest.raises(ValueError, match="at least two dimensions"):
        hoyer(torch.ones(3, 1))


def test_a_larger_penalty_gives_sparser_codes():
    x = torch.rand(50, 1, 4, 4)
    found = []
    for penalty in (0.1, 1.0):
        torch.manual_seed(0)
        model = zoo.sc_vae((1, 4, 4), 20, num_features=8, penalty=penalty, hidden=16)
        found.append(metrics.sparsity(model, x))
    assert 0 < found[0] < found[1] <= 1


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"latent_dim": 0}, "at least one feature and atom, got 32 and 0"),
        ({"penalty": 0.0}, "positive penalty"),
        ({"iterations": -1}, "iterations >= 0"),
    ],
)
def test_bad_settings(options, match):
    with pytest.raises(ValueError, match=match):
        zoo.sc_vae((1, 4, 4), **options)
