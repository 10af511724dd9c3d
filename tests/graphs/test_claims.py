"""Claims against what they say: distributions drawn at random, and products fitted to them."""

import math
import subprocess
import sys
from itertools import combinations

import networkx as nx
import numpy as np
import pytest
from map_oracles import (
    conditional_product,
    information,
    joint,
    misfit,
    random_graph,
    random_network,
    separated,
)
from separation_oracles import random_joint

import graphs
from graphs.claims.counterexamples import dependence, interaction

DIAGNOSIS = graphs.textbook.diagnosis()
CAMPUS = graphs.textbook.campus()
LETTERS = graphs.textbook.letters()
CHAIN = graphs.parse("P(A)P(B|A)P(C|B)")


def as_sets(scopes):
    return set(map(frozenset, scopes))


def random_scopes(rng, nodes):
    """Claimed scopes that cover every node, some of them large."""
    scopes = [
        tuple(rng.permutation(nodes)[: rng.integers(1, len(nodes) + 1)].tolist())
        for _ in range(rng.integers(1, 5))
    ]
    covered = {v for scope in scopes for v in scope}
    return scopes + [(v,) for v in nodes if v not in covered]


def product_of(scopes):
    factors = tuple(graphs.Factor(f"φ{i}", scope) for i, scope in enumerate(scopes))
    return graphs.Factorization(factors, directed=False)


# --- The worked examples ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "claim",
    [
        "F _||_ D",
        "not F _||_ D",
        "S _||_ D | I",
        "M _||_ F",
        "M _||_ F | D",
        "M _||_ T | D",
        "M _||_ S | I",
        "M _||_ F | T",
    ],
)
def test_independences_of_diagnosis(claim):
    expected = bool(graphs.query(DIAGNOSIS, claim.removeprefix("not "))) ^ claim.startswith("not")
    verdict = graphs.check(DIAGNOSIS, claim)
    assert bool(verdict) == verdict.holds == expected
    assert verdict.explain().startswith(f"{expected}: ")
    assert (verdict.counterexample is None) == (expected or claim.startswith("not"))


def test_who_is_the_collider_between_m_and_f():
    """A well-meant answer calls T the collider on M - I - T - F, which observing T would open."""
    verdict = graphs.check(DIAGNOSIS, "M _||_ F | T")
    assert verdict
    text = verdict.explain()
    assert "M → I → D ← T ← F" in text
    assert "blocked by D, a collider" in text
    assert "T, a chain node that is observed" in text
    refuted = graphs.check(DIAGNOSIS, "not M ⟂ F | T")
    assert not refuted
    assert refuted.counterexample is None
    assert "holds in every distribution of this structure" in refuted.explain()
    assert "blocked by D, a collider" in refuted.explain()


def test_campus_factorized_without_a_factor_for_its_largest_family():
    verdict = graphs.check(CAMPUS, "1/Z φ(C) φ(O,S) φ(B,S) φ(O,T,A) φ(A,T,M) φ(B,T,M)")
    assert not verdict
    assert verdict.missing == (frozenset("ABMT"),)
    assert [str(r) for r in verdict.false_independencies] == ["A ⟂ B | M, O, T"]
    assert not verdict.false_independencies[0]
    network = verdict.counterexample
    assert set(network.edges) == set(CAMPUS.edges)
    assert network.check_model()
    assert {cpd.variable for cpd in network.get_cpds()} == set(CAMPUS.nodes)
    measured = information(network, "A", "B", "MOT")
    assert measured == pytest.approx(math.log(2) + 0.1 * math.log(0.1) + 0.9 * math.log(0.9))
    assert verdict.information == pytest.approx(measured)
    text = verdict.explain()
    assert "No claimed factor covers {A, B, M, T}, the scope of P(M | B, T, A)" in text
    assert "It asserts A ⟂ B | M, O, T." in text
    assert "I(A; B | M, O, T) = 0.3681 nats" in text
    assert "M = B ⊕ A" in text


def test_campus_factorized_over_the_cliques_of_its_moral_graph():
    verdict = graphs.check(CAMPUS, "1/Z φ(C) φ(O,S) φ(B,S) φ(O,T,A) φ(A,B,M,T)")
    assert verdict
    assert verdict.missing == verdict.false_independencies == ()
    assert verdict.counterexample is None
    assert verdict.information is None
    assert verdict.explain().splitlines()[1].startswith("Moralisation: ")
    assert graphs.check(CAMPUS, graphs.moralize(CAMPUS))


def test_leaving_c_out_of_campus():
    rest = "P(O) P(A) P(S|O) P(T|O,A) P(B|S) P(M|B,T,A)"
    marginal = graphs.check(CAMPUS, f"P(O,A,S,T,B,M) = {rest}")
    assert marginal
    assert marginal.conditionals
    assert "leaves the other factors as they are, because P(C) sums to one" in marginal.explain()
    joint_of_all = graphs.check(CAMPUS, rest)
    assert not joint_of_all
    assert joint_of_all.missing == (frozenset("C"),)
    assert joint_of_all.conditionals is False
    assert "As a claim about all variables it is incomplete" in joint_of_all.explain()
    nodes, table = joint(joint_of_all.counterexample)
    assert table.sum(axis=tuple(i for i, v in enumerate(nodes) if v != "C")) == pytest.approx(
        [0.9, 0.1]
    )
    potentials = graphs.check(CAMPUS, "φ(O,S) φ(B,S) φ(O,T,A) φ(A,B,M,T)")
    assert not potentials
    assert (
        "divides Z by its sum over C, so Z stays the same only if that sum is 1"
        in potentials.explain()
    )
    assert "no probability of the other variables changes" in potentials.explain()


def test_leaving_a_barren_variable_out_of_diagnosis():
    rest = "P(M) P(S) P(F) P(I|M,S) P(T|F)"
    verdict = graphs.check(DIAGNOSIS, f"P(M,S,F,I,T) = {rest}")
    assert verdict.conditionals
    assert "because P(D | I, T) sums to one" in verdict.explain()
    assert not graphs.check(DIAGNOSIS, rest)


def test_a_scaled_potential_of_letters():
    scaled = "φ1(A,B,C) 5 φ2(B,C,D) φ3(C,D,F) φ4(F,E) φ5(B,E) φ6(E,G)"
    verdict = graphs.check(LETTERS, scaled)
    assert verdict
    assert "multiplies Z by 5 and leaves every probability as it was" in verdict.explain()
    again = graphs.check(graphs.parse(scaled), scaled)
    assert again
    assert "multiplies Z" not in again.explain()


def test_a_dropped_potential_of_letters():
    rest = "φ1(A,B,C) φ2(B,C,D) φ3(C,D,F) φ4(F,E) φ5(B,E)"
    verdict = graphs.check(LETTERS, rest)
    assert verdict.missing == (frozenset("EG"),)
    assert [str(r) for r in verdict.false_independencies] == ["E ⟂ G"]
    text = verdict.explain()
    assert "still factorize as claimed, with other factors, and Z changes" in text
    assert graphs.check(LETTERS, f"P(A,B,C,D,E,F) = {rest}")
    hub = graphs.check(LETTERS, "P(A,B,C,D,F,G) = φ1(A,B,C) φ2(B,C,D) φ3(C,D,F) φ(G)")
    assert hub.missing == (frozenset("BFG"),)
    assert "no longer factorize as claimed" in hub.explain()


@pytest.mark.parametrize(
    ("model", "claim", "theorem"),
    [
        (LETTERS, "A ⟂ E | B, C", "Markov blanket: {B, C} shields A"),
        (LETTERS, "A, B ⟂ G, F | C, D, E", "Global Markov property"),
        (DIAGNOSIS, "T ⟂ M, S | F", "Local Markov property: T is independent"),
        (DIAGNOSIS, "D ⟂ M | I, T", "Local Markov property: D is independent"),
        (CAMPUS, "T ⟂ S | O, A, M, B", "Markov blanket: {A, B, M, O} shields T"),
        (DIAGNOSIS, "S ⟂ D | I", "Soundness of d-separation"),
        (CHAIN, "P(C)P(B|C)P(A|B)", "The claimed DAG is an I-map of the model"),
        (CHAIN, "φ(A,B)φ(B,C)", "Moralisation"),
        (nx.path_graph("ABC"), "φ(A,B)φ(B,C)", "Hammersley-Clifford"),
        (CHAIN, "not A ⟂ C", "Almost every distribution"),
    ],
)
def test_a_true_claim_names_its_theorem(model, claim, theorem):
    verdict = graphs.check(model, claim)
    assert verdict
    assert verdict.counterexample is None
    assert verdict.explain().splitlines()[1].startswith(theorem) or theorem in verdict.explain()


# --- Factorizations -----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(60))
def test_products_of_potentials_are_true_iff_random_distributions_have_the_form(seed):
    rng = np.random.default_rng(seed)
    nodes = list("abcde"[: rng.integers(2, 6)])
    directed = bool(rng.integers(2))
    model = random_graph(rng, nodes, directed)
    scopes = random_scopes(rng, nodes)
    verdict = graphs.check(model, product_of(scopes))
    if directed:
        names, table = joint(random_network(rng, model))
    else:
        names, table = tuple(model), random_joint(model, rng)
    assert bool(verdict) == (misfit(names, table, scopes) < 1e-8)
    factors = as_sets(graphs.factorization(model).scopes)
    assert set(verdict.missing) == {
        d for d in factors if not any(d <= set(scope) for scope in scopes)
    }
    assert bool(verdict) == (not verdict.missing)
    if verdict:
        assert verdict.counterexample is None
        assert not verdict.false_independencies
    else:
        check_refutation(verdict, model, scopes)


def check_refutation(verdict, model, scopes):
    """The false independences are asserted and false; the network has the model's form."""
    claimed = nx.Graph()
    claimed.add_nodes_from(model)
    for scope in scopes:
        claimed.add_edges_from(combinations(scope, 2))
    for r in verdict.false_independencies:
        assert separated(claimed, r.x, r.y, r.given)
        assert not separated(model, r.x, r.y, r.given)
    network = verdict.counterexample
    nodes, table = joint(network)
    if model.is_directed():
        assert set(network.edges) == set(model.edges)
    else:
        assert misfit(nodes, table, graphs.factorization(model).scopes) < 1e-8
    assert misfit(nodes, table, scopes) > 0.1
    if verdict.false_independencies:
        r = verdict.false_independencies[0]
        measured = information(network, r.x, r.y, r.given)
    else:
        measured = divergence(nodes, table, scopes)
    assert measured == pytest.approx(verdict.information, abs=1e-9)


def divergence(nodes, table, scopes, sweeps=200):
    """KL(P || Q) in nats, Q the closest product by iterative proportional fitting."""
    q = np.full_like(table, 1 / table.size)
    for _ in range(sweeps):
        for scope in scopes:
            axes = tuple(i for i, v in enumerate(nodes) if v not in scope)
            q = q * table.sum(axes, keepdims=True) / q.sum(axes, keepdims=True)
    return float((table * np.log(table / q)).sum())


@pytest.mark.parametrize("seed", range(60))
def test_products_of_conditionals(seed):
    """The answer is that for any product; ``conditionals`` is whether they give the joint."""
    rng = np.random.default_rng(1000 + seed)
    nodes = list("abcde"[: rng.integers(2, 6)])
    model = random_graph(rng, nodes, True)
    claimed = random_graph(rng, nodes, True)
    if rng.random() < 0.5:
        claimed.add_edges_from(
            (u, w) for u, w in graphs.moralize(model).edges if not nx.has_path(claimed, w, u)
        )
    verdict = graphs.check(model, graphs.factorization(claimed))
    names, table = joint(random_network(rng, model))
    scopes = graphs.factorization(claimed).scopes
    assert bool(verdict) == (misfit(names, table, scopes) < 1e-8)
    product = conditional_product(names, table, claimed)
    assert verdict.conditionals == bool(np.allclose(product, table, atol=1e-10))
    for r in verdict.false_independencies:
        assert separated(claimed, r.x, r.y, r.given)
        assert not separated(model, r.x, r.y, r.given)
    if not verdict.conditionals:
        r = verdict.false_independencies[0]
        measured = information(verdict.counterexample, r.x, r.y, r.given)
        assert measured == pytest.approx(verdict.information, abs=1e-9)
        nodes, table = joint(verdict.counterexample)
        assert not np.allclose(conditional_product(nodes, table, claimed), table, atol=1e-3)
    if verdict.conditionals:
        assert verdict.holds
        assert verdict.counterexample is None


def test_scopes_that_cover_without_an_imap_are_told_apart():
    verdict = graphs.check(CHAIN, "P(A)P(C)P(B|A,C)")
    assert verdict.holds
    assert verdict.conditionals is False
    assert [str(r) for r in verdict.false_independencies] == ["C ⟂ A"]
    assert verdict.explain().startswith("True of the scopes, false of the conditional distri")
    assert information(verdict.counterexample, "A", "C", "") == pytest.approx(verdict.information)
    assert graphs.check(CHAIN, "φ(A)φ(C)φ(B,A,C)").conditionals is None


@pytest.mark.parametrize("seed", range(40))
def test_claims_about_a_marginal(seed):
    rng = np.random.default_rng(seed)
    nodes = list("abcdef"[: rng.integers(3, 7)])
    model = random_graph(rng, nodes, True)
    keep = sorted(rng.permutation(nodes)[: rng.integers(2, len(nodes))].tolist())
    scopes = random_scopes(rng, keep)
    factors = tuple(graphs.Factor("φ", scope) for scope in scopes)
    verdict = graphs.check(model, graphs.Factorization(factors, False, tuple(keep)))
    names, table = joint(random_network(rng, model, states=3))
    table = table.sum(tuple(i for i, v in enumerate(names) if v not in keep))
    names = [v for v in names if v in keep]
    assert bool(verdict) == (misfit(names, table, scopes) < 1e-8)
    for r in verdict.false_independencies:
        assert not separated(model, r.x, r.y, r.given)


def test_a_larger_claim_than_the_model_needs_is_true_and_says_so():
    verdict = graphs.check(CHAIN, "φ(A,B,C)")
    assert verdict
    assert "It allows more than the model, no factor of which spans {A, B, C}" in verdict.explain()


def test_no_false_independence_but_too_small_factors():
    verdict = graphs.check(graphs.parse("φ(A,B,C)"), "φ(A,B) φ(B,C) φ(A,C)")
    assert verdict.missing == (frozenset("ABC"),)
    assert verdict.false_independencies == ()
    assert "no product of the claimed factors is closer than 0.3681 nats" in verdict.explain()
    nodes, table = joint(verdict.counterexample)
    fitted = divergence(nodes, table, ["AB", "BC", "AC"])
    assert fitted == pytest.approx(verdict.information, abs=1e-9)


# --- Counterexamples ----------------------------------------------------------------------------


@pytest.mark.parametrize("directed", [True, False])
def test_every_dependence_has_a_distribution_with_the_information_stated(directed):
    found = 0
    for seed in range(250):
        rng = np.random.default_rng(seed)
        graph = random_graph(rng, list(range(rng.integers(2, 10))), directed)
        roles = rng.choice(list("xyzz.."), len(graph))
        x, y, z = ({v for v in graph if roles[v] == role} for role in "xyz")
        if not x or not y:
            continue
        parities = dependence(graph, x, y, frozenset(z))
        assert (parities is None) == separated(graph, x, y, z)
        if parities is not None:
            found += 1
            measured = information(parities.network(), x, y, z)
            assert measured == pytest.approx(parities.information, abs=1e-10)
            assert measured > 0.12
            assert parities.path[0] in x
            assert parities.path[-1] in y
            assert len(set(parities.path)) == len(parities.path)
    assert found >= 50


def test_a_counterexample_observes_the_descendants_of_colliders():
    model = graphs.parse("P(X)P(Y)P(C|X,Y)P(D|C)P(E|D)P(F|D)")
    verdict = graphs.check(model, "X ⟂ Y | E")
    assert "C = X ⊕ Y, D = C, E = D, each flipped" in verdict.explain()
    assert verdict.parities.path == ("X", "C", "Y")
    assert information(verdict.counterexample, "X", "Y", "E") == pytest.approx(verdict.information)


def test_counterexamples_stay_small_in_large_models(reference_data):
    link = graphs.load(reference_data / "bif" / "link.bif.gz", tables=False)
    leaf = max(link, key=lambda v: len(nx.ancestors(link, v)))
    root = next(v for v in nx.ancestors(link, leaf) if not link.pred[v])
    verdict = graphs.check(link, graphs.independent(link, root, leaf))
    assert not verdict
    assert verdict.information > 0.12
    assert len(verdict.counterexample.get_cpds()) == 724
    own = graphs.factorization(link)
    assert graphs.check(link, own).conditionals
    thinned = tuple(graphs.Factor("P", f.variables, f.given[:1]) for f in own.factors)
    refuted = graphs.check(link, graphs.Factorization(thinned, True))
    assert len(refuted.missing) == sum(len(f.given) > 1 for f in own.factors)
    assert "more scopes are not covered" in refuted.explain()


def test_large_families_keep_only_the_edges_that_matter():
    star = nx.DiGraph([(f"p{i}", "v") for i in range(40)])
    verdict = graphs.check(star, "p3 ⟂ p7 | v")
    assert set(verdict.counterexample.edges) == {("p3", "v"), ("p7", "v")}
    assert len(verdict.counterexample.get_cpds()) == 41
    scope = frozenset(star)
    assert interaction(star, scope) is None
    covered = [tuple(scope - {v}) for v in ("p1", "p2", "p3")]
    everything_but_one = graphs.check(star, product_of(covered))
    assert not everything_but_one
    assert everything_but_one.counterexample is None


# --- Forms of claims ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "denial",
    [
        "not M ⟂ F | D",
        "not (M ⟂ F | D)",
        "¬(M ⟂ F | D)",
        r"\neg (M \perp F \mid D)",
        "M !⟂ F | D",
        "M ⟂\u0338 F | D",
        "M ⊥\u0338 F | D",
        "M !_||_ F | D",
        r"$M \not\perp F \mid D$",
        r"M \not\!\perp\!\!\!\perp F \mid D",
        r"M \nperp F | D",
        "M not independent of F given D",
        "M is not independent of F given D",
        "M dependent on F given D",
        "M is dependent on F given D",
    ],
)
def test_denials(denial):
    verdict = graphs.check(DIAGNOSIS, denial)
    assert verdict
    assert verdict.claim == "not F ⟂ M | D" or verdict.claim == "not M ⟂ F | D"
    assert not graphs.check(DIAGNOSIS, denial.replace("D", "T"))
    assert not graphs.check(DIAGNOSIS, f"not {denial}" if "not" not in denial else "M ⟂ F | D")


def test_a_node_may_be_called_not():
    model = nx.DiGraph([("not", "B"), ("B", "C")])
    assert graphs.check(model, "not ⟂ C | B")
    assert not graphs.check(model, "not not ⟂ C | B")


def test_claims_as_objects():
    answer = graphs.independent(CAMPUS, "A", "O")
    assert graphs.check(CAMPUS, answer)
    assert not graphs.check(graphs.moralize(CAMPUS), answer)
    refuted = graphs.is_perfect_map(graphs.moralize(CAMPUS), of=CAMPUS).counterexample
    assert graphs.check(CAMPUS, refuted)
    assert graphs.check(CAMPUS, CAMPUS).conditionals
    assert graphs.check(CAMPUS, CAMPUS.graph).conditionals
    asia = graphs.textbook.asia()
    assert graphs.check(asia, asia)
    assert graphs.check(asia, "smoke ⟂ xray | either")


def test_markov_networks_and_factor_graphs_claim_and_are_claimed_about():
    tables = np.random.default_rng(0).random((3, 2, 2))
    scopes = [tuple("AB"), tuple("BC"), tuple("AC")]
    loop = graphs.markov_network(zip(scopes, tables, strict=True))
    assert graphs.check(loop, "φ(A,B) φ(B,C) φ(A,C)")
    assert graphs.check(loop, "φ(A,B,C)")
    verdict = graphs.check(nx.complete_graph(["A", "B", "C"]), loop)
    assert verdict.missing == (frozenset("ABC"),)
    assert graphs.check(loop.to_factor_graph(), "φ(A,B) φ(B,C)").missing == (frozenset("AC"),)


def test_conditional_products_of_a_few_variables():
    assert graphs.check(DIAGNOSIS, "P(M,F) = P(M) P(F)").conditionals
    verdict = graphs.check(DIAGNOSIS, "P(M,D) = P(M) P(D)")
    assert verdict.missing == (frozenset("MD"),)
    assert [str(r) for r in verdict.false_independencies] == ["D ⟂ M"]
    assert information(verdict.counterexample, "M", "D", "") == pytest.approx(verdict.information)


def test_answers_need_no_pgmpy_torch_numba_or_matplotlib():
    program = (
        "import sys, graphs\n"
        "chain = graphs.parse('P(A)P(B|A)P(C|B)')\n"
        "assert graphs.is_imap(graphs.moralize(chain), of=chain)\n"
        "assert 'nats' in graphs.check(chain, 'A _||_ C').explain()\n"
        "print(*{'pgmpy', 'torch', 'numba', 'matplotlib', 'pandas'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (found.returncode, found.stdout.strip()) == (0, ""), found.stderr


def test_models_whose_nodes_are_no_strings():
    model = nx.DiGraph([(0, 1), (1, 2)])
    assert graphs.check(model, "P(0)P(1|0)P(2|1)").conditionals
    assert graphs.check(model, "φ(0,1)φ(1,2)")
    verdict = graphs.check(model, "φ(0)φ(1,2)")
    assert verdict.missing == (frozenset((0, 1)),)
    assert set(verdict.counterexample.edges) == set(model.edges)
    assert graphs.check(model, "0 ⟂ 2 | 1")


def test_verdicts_show_themselves():
    verdict = graphs.check(CHAIN, "A ⟂ C")
    assert verdict in {verdict}
    assert repr(verdict) == "<Verdict A ⟂ C: False>"
    assert "<pre>False: A ⟂ C" in verdict._repr_html_()


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        ("A ⟂ X", "expected nodes of the graph for y, got 'X'"),
        ("A ⟂ A", "expected disjoint sets"),
        ("φ(A,X)", "expected variables of the model in the claim, got 'X'"),
        ("P(A)P(X|A)", "expected variables of the model in the claim, got 'X'"),
        ("A ⟂ ", "expected the name of a variable"),
        ("φ(A,B) φ(B", r"expected ',' or '\)', got the end of the text at character 11"),
        ("nonsense", "expected ',' or an independence sign"),
        ("", "expected"),
        ("P(A)P(A|B)", "expected one conditional distribution per variable"),
        ("5 P(A)P(B|A)", "expected a potential such as phi1"),
        ("0 φ(A)", "expected a positive constant, got 0.0"),
        (17, "expected an independence or a factorization, .* got int"),
        (None, "got NoneType"),
    ],
)
def test_bad_claims_are_refused(claim, message):
    with pytest.raises(ValueError, match=message):
        graphs.check(CHAIN, claim)


def test_bad_models_are_refused():
    with pytest.raises(ValueError, match="expected a networkx graph"):
        graphs.check("P(A)P(B|A)", "A ⟂ B")
    with pytest.raises(ValueError, match="got the cycle"):
        graphs.check(nx.DiGraph([(0, 1), (1, 0)]), "φ(0,1)")


@pytest.mark.parametrize(
    ("text", "constant"),
    [
        ("5 phi1(A,B)", 5),
        ("5 * phi1(A,B) * phi2(B)", 5),
        ("phi1(A,B) 5 phi2(B)", 5),
        ("2 phi1(A,B) 2.5e0 phi2(B)", 5),
        ("5/Z phi1(A,B)", 5),
        ("1/Z 5 phi1(A,B)", 5),
        (r"\frac{5}{Z} \phi_1(A,B)", 5),
        (r"5 \cdot \phi_1(A,B)", 5),
        ("P(A,B) = 1/Z 1/4 phi(A,B)", 0.25),
        ("1/3 phi(A,B)", 1 / 3),
        ("phi(A,B)", 1),
    ],
)
def test_constants_before_potentials(text, constant):
    read = graphs.parse(text)
    assert read.constant == constant
    assert graphs.parse(str(read)) == graphs.parse(read.latex())
    assert graphs.parse(str(read)).constant == constant


def test_constants_that_cannot_be():
    with pytest.raises(ValueError, match="expected a quotient by a number other than 0"):
        graphs.parse("1/0 phi(A)")
    with pytest.raises(ValueError, match="expected a positive constant, got inf"):
        graphs.parse("1e999 phi(A)")
    with pytest.raises(ValueError, match="expected 1 before conditional distributions, got 2"):
        graphs.Factorization(CHAIN.factors, True, constant=2)
