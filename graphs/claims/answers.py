"""What is answered about a claim: whether it is true, why, and where it fails."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

from graphs.claims.counterexamples import ParityNetwork
from graphs.language.answers import Explained
from graphs.language.notation import Node
from graphs.language.statements import listing, statement_text
from graphs.separation.independence import Independence

if TYPE_CHECKING:
    from graphs.claims.two_models import Disagreement

Scope: TypeAlias = frozenset[Node]

MOST_LISTED, MOST_NAMES, LONGEST = 8, 12, 600


@dataclass(frozen=True, repr=False)
class Verdict(Explained):
    """Whether a claim is true of a model; true or false as a condition.

    Attributes:
        holds: the answer.
        claim: what was claimed, in words.
        reasons: the theorem that makes it true, or what is wrong, a sentence or two each.
        missing: the scopes of the model's factors that no claimed factor covers.
        false_independencies: independences the claim asserts that are false in the model.
        conditionals: of a claimed product of conditionals, whether it is the joint when they are
            read as the conditionals of that joint; ``None`` for other claims.
        answer: of a claimed independence or dependence, the model's answer.
        parities: the parameters of the counterexample.
        disagreement: the models that refute a claim about an effect.

    >>> collider = graphs.parse("P(A) P(C) P(B|A,C)")
    >>> verdict = graphs.check(collider, "P(A) P(B|A) P(C|B)")
    >>> verdict.holds, verdict.false_independencies
    (False, (<Independence C ⟂ A | B: False>,))
    >>> [sorted(scope) for scope in verdict.missing]
    [['A', 'B', 'C']]
    >>> round(verdict.information, 4), len(verdict.counterexample.nodes)
    (0.3681, 3)
    """

    holds: bool
    claim: str
    reasons: tuple[str, ...]
    missing: tuple[Scope, ...] = ()
    false_independencies: tuple[Independence, ...] = ()
    conditionals: bool | None = None
    answer: Independence | None = None
    parities: ParityNetwork | None = None
    disagreement: Disagreement | None = None

    def __bool__(self) -> bool:
        return self.holds

    def __repr__(self) -> str:
        return f"<Verdict {self.claim}: {self.holds}>"

    def _repr_html_(self) -> str:
        from graphs.pictures.shown import answer_html

        false = self.false_independencies
        return answer_html(false[0] if false else self.answer, self.explain())

    @cached_property
    def counterexample(self) -> Any:
        """A pgmpy ``DiscreteBayesianNetwork`` in which the claim fails, or ``None``.

        Every variable is binary and has a table. The distribution is one of the model's: the
        network has the model's DAG, or factors over cliques of the model's undirected graph; a
        two-headed edge between A and B becomes a latent variable such as ``U_A_B``. It refutes the
        first of ``false_independencies`` where there is one.
        """
        if self.disagreement:
            return self.counterexamples[0]
        return self.parities.network() if self.parities else None

    @cached_property
    def counterexamples(self) -> tuple[Any, ...]:
        """All networks that refute the claim: two where they agree on all that a formula uses."""
        if self.disagreement:
            return self.disagreement.networks()
        return () if self.counterexample is None else (self.counterexample,)

    @property
    def information(self) -> float | None:
        """How far the counterexample is from the claim, in nats, or ``None`` without one.

        The conditional mutual information of the first of ``false_independencies``; where there is
        none, the Kullback-Leibler divergence to the closest distribution of the claimed form.
        """
        return self.parities.information if self.parities else None

    def explain(self) -> str:
        """Claim, verdict and reasons in English, one a line."""
        verdict = "True" if self.holds else "False"
        if self.holds and self.conditionals is False:
            verdict = "True of the scopes, false of the conditional distributions"
        lines = [f"{verdict}: {_shortened(self.claim)}", *self.reasons]
        if self.answer is not None:
            lines.append(self.answer.explain())
        else:
            for r in self.false_independencies[:MOST_LISTED]:
                asserted = statement_text(r.x, r.y, r.given, most=MOST_NAMES)
                lines.append(f"It asserts {asserted}. In the model {r.explain()}")
            if len(self.false_independencies) > MOST_LISTED:
                more = len(self.false_independencies) - MOST_LISTED
                lines.append(f"It asserts {more} more false independences.")
        if self.disagreement:
            lines.append(str(self.disagreement))
        if self.parities:
            bits = _shortened(str(self.parities))
            lines.append(f"A counterexample in bits: {bits}; {self._measure()}.")
        return "\n".join(lines)

    def _measure(self) -> str:
        if not self.false_independencies:
            return f"no product of the claimed factors is closer than {self.information:.4g} nats"
        r = self.false_independencies[0]
        bar = f" | {listing(r.given)}" if r.given else ""
        information = f"I({listing(r.x)}; {listing(r.y)}{bar})"
        return f"there {information} = {self.information:.4g} nats, where the claim says 0"


def _shortened(text: str) -> str:
    return text if len(text) < LONGEST else f"{text[:LONGEST]} ..."
