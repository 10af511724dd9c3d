"""The textbook networks have the structure and the numbers that were published."""

import inspect
import warnings

import networkx as nx
import pytest

import graphs
from graphs import textbook


def test_factorizations_are_as_printed():
    assert str(textbook.diagnosis()) == (
        "P(M, S, I, F, T, D) = P(M) P(S) P(F) P(I | M, S) P(T | F) P(D | I, T)"
    )
    assert str(textbook.campus()) == (
        "P(C, O, A, S, T, B, M) = P(C) P(O) P(A) P(S | O) P(T | O, A) P(B | S) P(M | B, T, A)"
    )
    assert str(textbook.letters()) == (
        "P(A, B, C, D, E, F, G) = "
        "1/Z φ1(A, B, C) φ2(B, C, D) φ3(C, D, F) φ4(F, E) φ5(B, E) φ6(E, G)"
    )


@pytest.mark.parametrize("name", textbook.NAMES)
def test_structures_are_those_of_the_networks(name):
    model = getattr(textbook, name)()
    structure = graphs.as_graph(textbook.structure(name))
    graph = graphs.as_graph(model)
    assert list(graph) == list(structure)
    assert set(graph.edges) == set(structure.edges)
    assert inspect.getdoc(getattr(textbook, name))


def test_unknown_name():
    with pytest.raises(ValueError, match=r"expected a textbook example among diagnosis, .*'asai'"):
        textbook.structure("asai")


def marginal(network, variable, evidence=None):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pgmpy.inference import VariableElimination

        found = VariableElimination(network).query([variable], evidence or {}, show_progress=False)
    return {state: found.get_value(**{variable: state}) for state in found.state_names[variable]}


def test_asia():
    # Lauritzen and Spiegelhalter (1988), section 5: marginals before any evidence
    asia = textbook.asia()
    assert asia.check_model()
    assert list(asia.nodes) == ["asia", "tub", "smoke", "lung", "bronc", "either", "xray", "dysp"]
    published = {
        "tub": 0.0104,
        "lung": 0.055,
        "bronc": 0.45,
        "either": 0.0648,
        "xray": 0.1103,
        "dysp": 0.4360,
    }
    for variable, probability in published.items():
        states = marginal(asia, variable)
        assert list(states) == ["yes", "no"]
        assert states["yes"] == pytest.approx(probability, abs=6e-5)


def test_sprinkler():
    # Murphy (2001): P(S | W) = 0.430, P(R | W) = 0.708, and P(S | W, R) = 0.1945
    wet = {"wet_grass": "yes"}
    sprinkler = textbook.sprinkler()
    assert marginal(sprinkler, "wet_grass")["yes"] == pytest.approx(0.6471, abs=5e-5)
    assert marginal(sprinkler, "sprinkler", wet)["yes"] == pytest.approx(0.4298, abs=5e-5)
    assert marginal(sprinkler, "rain", wet)["yes"] == pytest.approx(0.7079, abs=5e-5)
    explained = marginal(sprinkler, "sprinkler", wet | {"rain": "yes"})["yes"]
    assert explained == pytest.approx(0.1945, abs=5e-5)


def test_student():
    # Koller and Friedman (2009), section 3.2.1.2
    student = textbook.student()
    assert marginal(student, "L")["l1"] == pytest.approx(0.502, abs=5e-4)
    assert marginal(student, "L", {"I": "i0"})["l1"] == pytest.approx(0.389, abs=5e-4)
    assert marginal(student, "L", {"I": "i0", "D": "d0"})["l1"] == pytest.approx(0.513, abs=5e-4)
    assert marginal(student, "I", {"G": "g3"})["i1"] == pytest.approx(0.079, abs=5e-4)
    assert marginal(student, "I", {"G": "g3", "S": "s1"})["i1"] == pytest.approx(0.578, abs=5e-4)


def test_independence_questions_take_the_networks_themselves():
    assert graphs.independent(textbook.asia(), "asia", "smoke")
    assert not graphs.query(textbook.asia(), "asia ⟂ smoke | dysp")
    assert graphs.markov_blanket(textbook.student(), "I") == {"D", "G", "S"}
    assert nx.is_directed_acyclic_graph(graphs.as_graph(textbook.sprinkler()))
