"""Problems with published answers, and pyAgrum on the standard networks."""

import numpy as np
import pytest
from agrum_networks import Peer, forward_sample

import graphs
from graphs.parameters.bridge import tables_of

pytestmark = pytest.mark.usefixtures("compiled_sums")

PROBLEMS = ["CSP_12", "Grids_12", "Promedus_24", "Segmentation_11"]
NETWORKS = [
    "asia",
    "cancer",
    "earthquake",
    "survey",
    "sachs",
    "child",
    "alarm",
    "insurance",
    "hailfinder",
    "win95pts",
    "water",
    "mildew",
    "pigs",
]


def problem(folder, kind, name):
    """A model, its evidence and the published numbers."""
    path = folder / "uai" / kind / f"{name}.uai"
    count, *pairs = map(int, path.with_suffix(".uai.evid").read_text().split())
    evidence = {f"var_{pairs[2 * i]}": pairs[2 * i + 1] for i in range(count)}
    published = path.with_suffix(f".uai.{kind}").read_text().split()[1:]
    return graphs.load(path), evidence, [float(number) for number in published]


@pytest.mark.parametrize("name", PROBLEMS)
def test_published_partition_functions(reference_data, name):
    model, evidence, (expected,) = problem(reference_data, "PR", name)
    tree = graphs.JunctionTree(model, evidence_variables=evidence)
    assert float(tree.log_partition(evidence)) / np.log(10) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("name", PROBLEMS)
def test_published_marginals(reference_data, name):
    model, evidence, numbers = problem(reference_data, "MAR", name)
    marginals = graphs.JunctionTree(model).marginals(evidence)
    count, position = int(numbers[0]), 1
    for i in range(count):
        states = int(numbers[position])
        expected = numbers[position + 1 : position + 1 + states]
        position += 1 + states
        if f"var_{i}" not in evidence:
            np.testing.assert_allclose(marginals[f"var_{i}"], expected, atol=1e-5)
    assert position == len(numbers)


@pytest.mark.parametrize("name", ["Grids_12", "CSP_12"])
def test_published_partition_functions_by_conditioning(reference_data, name):
    model, evidence, (expected,) = problem(reference_data, "PR", name)
    whole = graphs.JunctionTree(model)
    tree = graphs.JunctionTree(model, max_bytes=whole.cost.bytes // 8)
    assert float(tree.log_partition(evidence)) / np.log(10) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("name", NETWORKS)
def test_standard_networks_agree_with_pyagrum(reference_data, name):
    model = graphs.load(reference_data / "bif" / f"{name}.bif.gz")
    tables = tables_of(model)
    rng = np.random.default_rng(0)
    nodes = list(tables.states)
    observed = [nodes[i] for i in rng.choice(len(nodes), min(5, len(nodes) - 1), replace=False)]
    drawn = forward_sample(tables, 3, rng)
    evidence = {v: drawn[v] for v in observed}
    named = {v: [tables.states[v][i] for i in drawn[v]] for v in observed}
    tree = graphs.JunctionTree(model, evidence_variables=observed[:3])
    marginals, log_z = tree.marginals(named), tree.log_partition(named)
    peer = Peer(tables)
    for row in range(3):
        one = {v: int(states[row]) for v, states in evidence.items()}
        expected = peer.marginals(one)
        assert float(log_z[row]) == pytest.approx(np.log(peer.probability(one)), abs=1e-8)
        for v in expected:
            np.testing.assert_allclose(marginals[v][row], expected[v], atol=1e-10)


def test_all_marginals_of_link(reference_data):
    """Too large for pyAgrum within a minute; a root's marginal is its own table, and a second
    elimination order and single pruned targets agree."""
    model = graphs.load(reference_data / "bif" / "link.bif.gz")
    tree = graphs.JunctionTree(model)
    marginals = tree.marginals()
    assert float(tree.log_partition()) == pytest.approx(0, abs=1e-9)
    assert len(marginals) == 724
    rng = np.random.default_rng(0)
    for v in rng.permutation(list(model.nodes))[:10]:
        np.testing.assert_allclose(marginals[v], graphs.marginal(model, v), atol=1e-10)
