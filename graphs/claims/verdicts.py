r"""Check a stated claim about a model: which theorem makes it true, or what is wrong with it.

An *independence* is true of a structure when it holds in every distribution of that structure:
exactly when the sets are (d-)separated (Verma and Pearl 1988; Geiger and Pearl 1988). A stated
*dependence* is true when they are not, and then almost every distribution has it (Meek 1995).

A *factorization* with scopes :math:`C_1, \dots, C_m` is true of a model with factors over
:math:`D_1, \dots, D_n` when every :math:`D_j` lies in some :math:`C_k`: then the claimed factors
can absorb the model's. Otherwise a distribution in which the variables of that :math:`D_j` act
together has no such form, and mostly the claim asserts an independence that is false. A constant
before potentials multiplies Z and no probability.

Conditionals say more than their scopes. The scope of :math:`P(a) P(c) P(b \mid a, c)` covers the
chain :math:`a \to b \to c`, so some functions of these scopes multiply to the joint; but read as
the conditionals of that joint, they assert that a and c are independent. A product of conditionals
is the joint iff its DAG is an I-map of the model. A verdict answers for the scopes and keeps this
second answer in ``conditionals``.

A claim whose left-hand side names fewer variables than the model is one about their marginal:
summing the others out joins the factors they share.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import networkx as nx

from graphs.claims.answers import MOST_LISTED, Scope, Verdict
from graphs.claims.counterexamples import dependence, interaction
from graphs.claims.effect_texts import states_effect
from graphs.claims.equalities import Equality, read_equality
from graphs.claims.maps import violations
from graphs.language.notation import Node, ParseError
from graphs.language.statements import listing
from graphs.separation.independence import Independence, independence_of, independent, query
from graphs.separation.markov import blanket_of
from graphs.structure.factorization import Factorization
from graphs.structure.mixed import spouses
from graphs.structure.models import Model, as_graph, factorization
from graphs.structure.nodes import find_nodes, unknown
from graphs.structure.parsing import parse
from graphs.structure.search import ancestors


def check(model: Model, claim: Any, *, bounds: Mapping[str, int] | None = None) -> Verdict:
    r"""Whether a claim about a model is true, with the reason.

    Args:
        model: a networkx graph, a pgmpy model or a :class:`graphs.Factorization`.
        claim: one of

            - an independence, ``"M _||_ F | T"`` or any text :func:`graphs.query` reads, or an
              :class:`graphs.Independence`, which claims its statement whatever its own answer;
            - a dependence, the same text after ``not`` or with a crossed-out symbol:
              ``"not M _||_ F | T"``, ``"M !⟂ F"``, ``r"M \not\perp F"``, ``"M dependent on F"``;
            - an equality of conditional distributions, ``"P(A|B,C) = P(A|C)"`` or
              ``"P(A,B|C) = P(A|C) P(B|C)"``, with one distribution on a side, or its negation,
              ``"P(A|B) ≠ P(A)"``;
            - an equality about an effect, ``"P(Y | do(X)) = Σ_Z P(Y | X, Z) P(Z)"``, between sums
              of products of distributions, which may be under interventions, or its negation; it
              is true if it holds in every distribution of the graph;
            - a factorization, ``"1/Z phi1(A,B) phi2(B,C)"`` or any text :func:`graphs.parse`
              reads, a :class:`graphs.Factorization`, or a graph, which claims its own
              :func:`graphs.factorization`.
        bounds: numbers for letters in the bounds and subscripts of a text, as in
            :func:`graphs.parse`.

    Raises:
        ValueError: text that is neither, unknown variables, sets that overlap.

    >>> chain = graphs.parse("P(A) P(B|A) P(C|B)")
    >>> bool(graphs.check(chain, "P(A,C|B) = P(A|B) P(C|B)"))
    True
    >>> print(graphs.check(chain, "A _||_ C").explain())
    False: A ⟂ C
    A ⟂ C does not hold: a path is active.
      A → B → C
      - B is a chain node that is not observed: open.
    A counterexample in bits: B = A, C = B, each flipped with probability 0.1, ...
    >>> print(graphs.check(graphs.read_graph("X -> Y, X <-> Y"), "P(Y|do(X)) = P(Y|X)").explain())
    False: P(Y|do(X)) = P(Y|X)
    Adjusting for nothing does not give the effect of X on Y.
      X ↔ Y: not causal, and open.
      - X and Y share an unobserved common cause.
    Two models of this graph agree on P(X, Y), and P(Y = 1 | do(X = 1)) is ...
    >>> chain = graphs.parse("P(y) P(x_1|y) P(x_2|y)")
    >>> bool(graphs.check(chain, r"p(y) \prod_{n=1}^{N} p(x_n|y)", bounds={"N": 2}))
    True
    """
    if isinstance(claim, str):
        return _check_text(model, claim, bounds)
    if isinstance(claim, Independence):
        answer = independent(model, claim.x, claim.y, claim.given)
        stated = answer.holds != claim.negated
        return _check_independence(replace(answer, holds=stated, negated=claim.negated))
    if isinstance(claim, Factorization | nx.Graph):
        return _check_factorization(model, factorization(claim))
    raise ValueError(
        "expected an independence or a factorization, as text or as a graphs.Independence, a "
        f"graphs.Factorization or a graph, got {type(claim).__name__}"
    )


# --- Reading ------------------------------------------------------------------------------------


def _check_text(model: Model, text: str, bounds: Mapping[str, int] | None) -> Verdict:
    if states_effect(text):
        from graphs.claims.effects import check_effect

        return check_effect(model, text)
    equality = read_equality(text, bounds)
    if equality is not None:
        return _check_equality(model, equality)
    try:
        answer = query(model, text)
    except ParseError as no_independence:
        try:
            claim = parse(text, bounds=bounds)
        except ParseError as no_factorization:
            both = (no_factorization, no_independence)
            read_further = max(both if "(" in text else both[::-1], key=lambda e: e.position)
            raise read_further from None
        return _check_factorization(model, _renamed(claim, as_graph(model)))
    return _check_independence(answer)


def _renamed(claim: Factorization, graph: nx.Graph) -> Factorization:
    """The claim about the model's own nodes, which need not be strings."""
    if all(v in graph for v in claim.nodes):
        return claim
    named = {str(v): v for v in graph}

    def own(names: Iterable[Node]) -> tuple[Node, ...]:
        return tuple(v if v in graph else named.get(str(v), v) for v in names)

    factors = [replace(f, variables=own(f.variables), given=own(f.given)) for f in claim.factors]
    return replace(claim, factors=tuple(factors), order=own(claim.order))


# --- Independences ------------------------------------------------------------------------------


def _check_equality(model: Model, equality: Equality) -> Verdict:
    """An equality is true where all the independences are that it amounts to."""
    graph = as_graph(model, acyclic=False)
    verdicts = []
    for sets in equality.statements():
        x, y, given = (find_nodes(graph, map(str, names), "nodes") for names in sets)
        verdicts.append(_check_independence(independent(model, x, y, given)))
    if equality.negated:
        return _check_inequality(equality, verdicts)
    for verdict in verdicts:
        if not verdict:
            asserted = f"It states that {verdict.claim}."
            return replace(verdict, claim=equality.text, reasons=(asserted, *verdict.reasons))
    reasons = [f"{v.claim}. {reason}" for v in verdicts for reason in v.reasons]
    chain = "The chain rule: it holds in every distribution."
    return Verdict(True, equality.text, tuple(reasons) or (chain,))


def _check_inequality(equality: Equality, verdicts: Sequence[Verdict]) -> Verdict:
    """The sides differ, in almost every distribution, where one of the independences is false."""
    false = next((v for v in verdicts if not v), None)
    if false is None:
        reasons = tuple(f"{v.claim}. {reason}" for v in verdicts for reason in v.reasons)
        return Verdict(False, equality.text, ("The sides are equal.", *reasons))
    reason = "The sides differ in almost every distribution of this structure (Meek 1995)."
    return Verdict(True, equality.text, (f"{reason} {false.claim} is false.",))


def _check_independence(answer: Independence) -> Verdict:
    claim = str(answer)
    if answer.negated and not answer:
        plain = str(replace(answer, negated=False))
        reasons = (f"{plain} holds in every distribution of this structure.", _theorem(answer))
        return Verdict(False, claim, reasons, answer=answer)
    if answer.negated:
        reason = "Almost every distribution of this structure has the dependence (Meek 1995)."
        return Verdict(True, claim, (reason,), answer=answer)
    if answer:
        return Verdict(True, claim, (_theorem(answer),), answer=answer)
    parities = dependence(answer.graph, answer.x, answer.y, answer.given)
    return Verdict(
        False, claim, (), false_independencies=(answer,), answer=answer, parities=parities
    )


def _theorem(answer: Independence) -> str:
    """The most familiar theorem that gives a true independence."""
    graph, given = answer.graph, answer.given
    for one, others in ((answer.x, answer.y), (answer.y, answer.x)):
        if len(one) > 1:
            continue
        (v,) = one
        if (
            graph.is_directed()
            and not spouses(graph).get(v)
            and given == set(graph.pred[v])
            and v not in ancestors(graph, others)
        ):
            return (
                f"Local Markov property: {listing(one)} is independent of its non-descendants "
                f"given its parents, {{{listing(given)}}}."
            )
        blanket = blanket_of(graph, frozenset((v,)))
        if blanket <= given:
            return (
                f"Markov blanket: {{{listing(blanket)}}} shields {listing(one)} from every other "
                "variable."
            )
    if spouses(graph):
        return (
            "Soundness of m-separation: what it separates is independent in every distribution "
            "with a latent common cause for each two-headed edge (Richardson 2003)."
        )
    if graph.is_directed():
        return (
            "Soundness of d-separation: what it separates is independent in every distribution "
            "that factorizes over the DAG (Verma and Pearl 1988)."
        )
    return (
        "Global Markov property: what separates in the graph is independent in every distribution "
        "that factorizes over it, the direction of the Hammersley-Clifford theorem that needs no "
        "positive probabilities (Lauritzen 1996, proposition 3.8)."
    )


# --- Factorizations -----------------------------------------------------------------------------


def _check_factorization(model: Model, claim: Factorization) -> Verdict:
    stated = factorization(model)
    graph = as_graph(model)
    for v in claim.nodes:
        if v not in graph:
            raise ValueError(
                f"expected variables of the model in the claim, got {unknown(graph, v)}"
            )
    left_out = frozenset(graph) - frozenset(claim.nodes)
    marginal = bool(left_out and claim.order)
    required = _scopes(stated, frozenset(claim.nodes if marginal else graph))
    missing = _uncovered(required, claim)
    false = tuple(_false_independencies(graph, claim, required, marginal))
    conditionals = not (false or missing) if claim.directed else None
    parities = None
    if false:
        r = false[0]
        parities = dependence(graph, r.x, r.y, r.given)
    elif missing and not marginal:
        parities = interaction(graph, missing[0])
    reasons = [
        *_coverage(stated, claim, required, missing, conditionals),
        *_looseness(claim, required),
        *_constant(stated, claim),
        *_left_out(stated, claim, left_out, marginal),
    ]
    return Verdict(
        holds=not missing,
        claim=str(claim) if not left_out or marginal else _product(claim),
        reasons=tuple(reasons),
        missing=missing,
        false_independencies=false,
        conditionals=conditionals,
        parities=parities,
    )


def _product(claim: Factorization) -> str:
    return str(claim).partition(" = ")[2]


def _scopes(stated: Factorization, keep: Scope) -> dict[Scope, str]:
    """The scopes of the factors over the kept variables, each with the factor in words.

    Of a DAG only ancestors of the kept variables matter; then each variable summed out joins the
    factors that mention it.
    """
    factors = stated.factors
    if stated.directed:
        relevant = ancestors(stated.graph, keep)
        factors = tuple(f for f in factors if not relevant.isdisjoint(f.variables))
    named: dict[Scope, str] = {}
    for factor in factors:
        named.setdefault(frozenset(factor.scope), str(factor))
    for v in [v for v in stated.nodes if v not in keep]:
        touching = [scope for scope in named if v in scope]
        joined = frozenset[Node]().union(*touching) - {v}
        names = " ".join(named.pop(scope) for scope in touching)
        if joined:
            named.setdefault(joined, f"the sum of {names} over {listing((v,))}")
    return named


def _uncovered(required: Iterable[Scope], claim: Factorization) -> tuple[Scope, ...]:
    around: dict[Node, list[Scope]] = {}
    for scope in claim.scopes:
        for v in scope:
            around.setdefault(v, []).append(scope)
    return tuple(
        scope
        for scope in required
        if not any(scope <= other for other in around.get(next(iter(scope)), ()))
    )


def _false_independencies(
    graph: nx.Graph, claim: Factorization, required: Iterable[Scope], marginal: bool
) -> Iterator[Independence]:
    """What the claimed graph asserts and the model does not, a statement per node or pair."""
    asserting = claim.graph.copy()
    if not marginal:
        asserting.add_nodes_from(graph)
    needed = graph
    if not claim.directed:
        needed = nx.Graph()
        needed.add_nodes_from(v for v in graph if v in asserting)
        rank = {v: i for i, v in enumerate(graph)}
        for scope in required:
            needed.add_edges_from(combinations(sorted(scope, key=rank.__getitem__), 2))
    for u, w, given in violations(asserting, needed):
        answer = independence_of(graph, frozenset((u,)), frozenset((w,)), given)
        if not answer:
            yield answer


# --- Reasons ------------------------------------------------------------------------------------


def _coverage(
    stated: Factorization,
    claim: Factorization,
    required: dict[Scope, str],
    missing: tuple[Scope, ...],
    conditionals: bool | None,
) -> Iterator[str]:
    if missing:
        for scope in missing[:MOST_LISTED]:
            yield (
                f"No claimed factor covers {{{listing(scope)}}}, the scope of {required[scope]}, "
                "so not every distribution of the model has the claimed form."
            )
        if len(missing) > MOST_LISTED:
            yield f"{len(missing) - MOST_LISTED} more scopes are not covered."
        return
    if conditionals:
        yield (
            "The claimed DAG is an I-map of the model: given its parents in the claim, every "
            "variable is independent in the model of those before it, so the chain rule reduces "
            "to the claimed conditionals (Verma and Pearl 1988)."
        )
        return
    if conditionals is False:
        yield (
            "As a product of some functions of these scopes the claim is true, since they cover "
            "every factor of the model. Read as the conditional distributions of the joint it is "
            "not: the claimed DAG is not an I-map of the model."
        )
        return
    if stated.directed:
        yield (
            "Moralisation: each conditional distribution is a function of a variable and its "
            "parents, and a claimed factor covers each such family, so the product of the "
            "conditionals has the claimed form, with Z = 1."
        )
    else:
        yield (
            "A claimed factor covers each factor of the model and can absorb it. Where only the "
            "graph is known these are one factor per maximal clique, which every positive "
            "distribution with the graph's independences has (Hammersley-Clifford theorem)."
        )


def _looseness(claim: Factorization, required: Iterable[Scope]) -> Iterator[str]:
    scopes = list(required)
    loose = [s for s in dict.fromkeys(claim.scopes) if not any(s <= other for other in scopes)]
    if loose:
        names = ", ".join(f"{{{listing(scope)}}}" for scope in loose[:MOST_LISTED])
        yield f"It allows more than the model, no factor of which spans {names}."


def _constant(stated: Factorization, claim: Factorization) -> Iterator[str]:
    ratio = claim.constant / stated.constant
    if ratio != 1:
        yield (
            f"The constant multiplies Z by {ratio:g} and leaves every probability as it was, "
            "since it cancels."
        )


def _left_out(
    stated: Factorization, claim: Factorization, left_out: Scope, marginal: bool
) -> Iterator[str]:
    """What leaving variables out changes in Z, and what it does not change in P."""
    if not left_out:
        return
    dropped = [f for f in stated.factors if not left_out.isdisjoint(f.scope)]
    product = " ".join(map(str, dropped[:MOST_LISTED])) + (" ..." * (len(dropped) > MOST_LISTED))
    names = listing(left_out)
    alone = all(left_out.issuperset(f.scope) for f in dropped)
    barren = stated.directed and all(left_out.issuperset(f.variables) for f in dropped)
    if barren and (claim.directed or not alone):
        yield (
            f"Summing {names} out of the model leaves the other factors as they are, because "
            f"{product} sums to one."
        )
    elif alone:
        here = ", as a probability does" if stated.directed else ""
        yield (
            f"No factor joins {names} to the other variables: leaving out {product} divides Z by "
            f"its sum over {names}, so Z stays the same only if that sum is 1{here}, and no "
            "probability of the other variables changes."
        )
    else:
        covered = not _uncovered(_scopes(stated, frozenset(claim.nodes)), claim)
        yield (
            f"Summing {names} out joins the factors that mention it, {product}: the probabilities "
            f"of the other variables {'still' if covered else 'no longer'} factorize as claimed"
            + (", with other factors, and Z changes." if covered else ".")
        )
    if not marginal:
        yield (
            "As a claim about all variables it is incomplete: without such a factor it makes "
            f"{names} uniform and independent of the rest."
        )
