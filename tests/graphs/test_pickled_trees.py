"""A tree that was pickled or copied answers as the tree does, and searches no order again."""

import copy
import pickle

import numpy as np
import pytest
import torch
from enumeration import random_bayesian, random_evidence, random_markov

import graphs
from graphs.inference import plans

WAYS = {"pickle": lambda tree: pickle.loads(pickle.dumps(tree)), "copy": copy.deepcopy}


def answers(tree, evidence):
    torch.manual_seed(0)
    return {
        "log_partition": tree.log_partition(evidence),
        **{("marginal", node): table for node, table in tree.marginals(evidence).items()},
        **{("sample", node): drawn for node, drawn in tree.sample(3, evidence).items()},
    }


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("random_model", [random_bayesian, random_markov])
@pytest.mark.parametrize("seed", range(4))
def test_answers_are_the_same_to_the_last_bit(way, random_model, seed):
    rng = np.random.default_rng(seed)
    dense = random_model(rng)
    evidence = random_evidence(rng, dense, rows=4, missing=0.3)
    tree = graphs.JunctionTree(dense.model, max_bytes=1 << (10 if seed == 0 else 31))
    if seed % 2:  # before the first question, and after it
        tree.marginals(evidence)
    copied = WAYS[way](tree)
    expected, found = answers(tree, evidence), answers(copied, evidence)
    assert copied.map(evidence) == tree.map(evidence)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(torch.as_tensor(found[name]), torch.as_tensor(value)), name


def test_the_order_that_was_found_is_kept(monkeypatch):
    tree = graphs.JunctionTree(graphs.textbook.asia(), evidence_variables=["smoke"])
    expected = tree.marginals({"smoke": ["yes", "no"]})["lung"]
    kept, new = pickle.dumps(tree), pickle.dumps(graphs.JunctionTree(graphs.textbook.asia()))

    def search(*_):
        raise AssertionError("an order was searched")

    monkeypatch.setattr(plans, "elimination_order", search)
    assert torch.equal(pickle.loads(kept).marginals({"smoke": ["yes", "no"]})["lung"], expected)
    with pytest.raises(AssertionError, match="an order was searched"):
        pickle.loads(new).marginals({"smoke": ["yes", "no"]})


def test_the_store_of_orders_is_bounded():
    planner = plans.Planner([2] * 8, [(i, i + 1) for i in range(7)], 1.0)
    for chosen in range(3 * plans.MOST_PLANS):
        planner.order(frozenset(i for i in range(8) if chosen >> i & 1))
    assert len(planner._orders) == plans.MOST_PLANS
