r"""What a guide asserts about the posterior and the model denies.

A guide that draws its latents along a DAG can only be a distribution in which each is independent
of its predecessors given its parents. Where the model's posterior is not, no parameters make up for
it: that is a *gap*. Of two latents that the guide keeps apart, it asserts independence given those
of their ancestors in it that are latents of the model; these pairwise statements imply all others,
for DAGs as for the mixed graphs that auxiliary variables leave behind (Richardson and Spirtes 2002,
theorem 4.18 on maximal ancestral graphs; d-separation is closed under composition).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import TYPE_CHECKING, Any

import networkx as nx

from graphs.language.answers import Explained
from graphs.language.notation import Node, text_name
from graphs.language.statements import listing
from graphs.programs.reading import from_pyro
from graphs.separation.independence import Independence, independence_of
from graphs.structure.search import ancestors

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The members of a plate are alike: two that are asked about, and one for paths through others.
MEMBERS = 3


class GuideGaps(Explained, list[Independence]):
    """The gaps of a guide, each the model's answer, with the active path, to what it asserts.

    Attributes:
        model, guide: the graphs of the two programs; in that of the guide, variables that the
            model does not have are latent.
        observed: the observed nodes of the model.
        spare: edges (u, v) of the guide that the posterior does not need, each taken alone: v is
            independent of u given the data and the guide's other parents of v.
        summed: latents that the guide leaves out since inference sums over them.

    >>> def model():
    ...     a = pyro.sample("a", pyro.distributions.Normal(0.0, 1.0))
    ...     pyro.sample("x", pyro.distributions.Normal(a, 1.0), obs=torch.tensor(1.0))
    >>> gaps = graphs.guide_gaps(model, pyro.infer.autoguide.AutoNormal(model))
    >>> gaps.sufficient, gaps.spare
    (True, ())
    """

    def __init__(
        self,
        gaps: Iterator[Independence],
        model: nx.DiGraph,
        guide: nx.DiGraph,
        observed: frozenset[Node],
        spare: tuple[tuple[Node, Node], ...],
        summed: tuple[Node, ...] = (),
    ):
        super().__init__(gaps)
        self.model, self.guide, self.observed, self.spare = model, guide, observed, spare
        self.summed = summed

    @property
    def sufficient(self) -> bool:
        """Whether the guide's structure leaves room for the exact posterior."""
        return not self

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was suspected when the programs were read; see :func:`graphs.from_pyro`."""
        graphs = {"model": self.model, "guide": self.guide}
        return tuple(
            f"Of the {name}: {text}" for name, g in graphs.items() for text in g.graph["warnings"]
        )

    def __repr__(self) -> str:
        return f"<GuideGaps: {len(self)}, edges to spare: {len(self.spare)}>"

    def _lines(self) -> Iterator[str]:
        if self.summed:
            yield (f"Summed over, so that a guide need not draw it: {listing(self.summed, 12)}.")
        if not self:
            yield (
                "The guide's structure is sufficient: it asserts nothing about the posterior that "
                "the model denies."
            )
        for gap in self:
            (u,), (v,) = gap.x, gap.y
            by = self._couplers(gap)
            how = f" by the observed {listing(by)}" if by else ""
            yield f"{text_name(u)} and {text_name(v)} are coupled{how}, which the guide denies."
            yield f"  {gap.trail}: active given {listing(gap.given, 12)}."
        for u, v in self.spare:
            yield (
                f"{text_name(u)} → {text_name(v)} of the guide is not needed: given the data and "
                f"the other parents of {text_name(v)} the two are independent."
            )
        yield from self.warnings

    def draw(self, ax: Axes | None = None, **options: Any) -> Axes:
        """The guide, with a red line for every coupling that it denies, edges to spare dashed."""
        from graphs.pictures.drawing import draw

        missing = [(u, v) for gap in self for u in gap.x for v in gap.y]
        options.setdefault("title", repr(self).strip("<>"))
        options = {"dashed": self.spare, "dashed_label": "not needed"} | options
        return draw(self.guide, ax, missing=missing, **options)

    def _couplers(self, gap: Independence) -> list[Node]:
        """The observed nodes that open a collider of the active path."""
        assert gap.trail is not None
        opened = [j for j in gap.trail.junctions if j.kind == "collider"]
        nodes = [j.node if j.observed else j.descendant for j in opened]
        return [v for v in dict.fromkeys(nodes) if v in self.observed]


def guide_gaps(
    model: Callable[..., Any], guide: Callable[..., Any], *args: Any, **kwargs: Any
) -> GuideGaps:
    """The independences that a guide asserts about the posterior and the model denies.

    Both programs are run and read as :func:`graphs.from_pyro` does, with three members of every
    plate. What counts is structure alone: that a guide's Normal cannot be a Gamma, or that the
    components of one site are drawn independently of each other, is not seen. Sites that the model
    enumerates (``pyro.infer.config_enumerate``) may be left out by the guide: the posterior of the
    others is then the one summed over them.

    Args:
        model, guide: Pyro programs; autoguides are guides.
        args, kwargs: for both.

    Returns:
        A list of :class:`graphs.Independence`, all false, one for each pair of latents that the
        guide wrongly keeps apart. It explains itself, says whether the guide's structure is
        sufficient and which of its edges nobody needs.

    Raises:
        ValueError: a latent of the model that the guide does not draw, a program that cannot be
            called with these arguments, a model without observed sites.

    Two unknown numbers of which the sum is observed:

    >>> def model(total):
    ...     a = pyro.sample("a", pyro.distributions.Normal(0.0, 1.0))
    ...     c = pyro.sample("c", pyro.distributions.Normal(0.0, 1.0))
    ...     pyro.sample("s", pyro.distributions.Normal(a + c, 0.1), obs=total)
    >>> mean_field = pyro.infer.autoguide.AutoNormal(model)
    >>> print(graphs.guide_gaps(model, mean_field, torch.tensor(3.0)).explain())
    a and c are coupled by the observed s, which the guide denies.
      a → s ← c: active given s.
    >>> joint = pyro.infer.autoguide.AutoMultivariateNormal(model)
    >>> graphs.guide_gaps(model, joint, torch.tensor(3.0)).sufficient
    True
    """
    asserted = from_pyro(guide, *args, unroll=MEMBERS, **kwargs)
    denied = from_pyro(model, *args, unroll=MEMBERS, **kwargs)
    observed = frozenset(v for v, data in denied.nodes(data=True) if data["observed"])
    if not observed:
        raise ValueError("expected a model with observed sites, got none")
    functions = {v for v, data in denied.nodes(data=True) if data.get("deterministic")}
    latent = [v for v in denied if v not in observed | functions]
    summed = tuple(v for v in latent if v not in asserted and denied.nodes[v].get("enumerated"))
    latent = [v for v in latent if v not in summed]
    for v in latent:
        if v not in asserted:
            raise ValueError(
                f"expected a guide that draws every latent but those that the model enumerates "
                f"(config_enumerate), got none for {v!r}"
            )
    drawn = _split(asserted, guide)
    for v in drawn:
        drawn.nodes[v]["latent"] = v not in latent
    return GuideGaps(
        _gaps(denied, drawn, latent, observed), denied, drawn, observed,
        tuple(_spare(denied, drawn, latent, observed)), summed,
    )  # fmt: skip


def _split(graph: nx.DiGraph, guide: Any) -> nx.DiGraph:
    """The guide's graph, in which a vector of independent normals is no common cause.

    The parts of it that an ``AutoDiagonalNormal`` hands to its sites do not overlap.
    """
    if [kind.__name__ for kind in type(guide).__mro__].count("AutoDiagonalNormal"):
        graph = nx.DiGraph(graph)
        vectors = [v for v in graph if str(v).endswith("AutoDiagonalNormal_latent")]
        graph.remove_nodes_from(vectors)
    return graph


def _gaps(
    model: nx.DiGraph, guide: nx.DiGraph, latent: list[Node], observed: frozenset[Node]
) -> Iterator[Independence]:
    known = set(latent)
    for u, v in combinations(latent, 2):
        given = (known & ancestors(guide, [u, v])) - {u, v}
        if independence_of(guide, frozenset((u,)), frozenset((v,)), frozenset(given)):
            answer = independence_of(model, frozenset((u,)), frozenset((v,)), observed | given)
            if not answer:
                yield answer


def _spare(
    model: nx.DiGraph, guide: nx.DiGraph, latent: list[Node], observed: frozenset[Node]
) -> Iterator[tuple[Node, Node]]:
    known = set(latent)
    for u, v in guide.edges:
        if u in known and v in known:
            others = (known & set(guide.predecessors(v))) - {u}
            if independence_of(model, frozenset((u,)), frozenset((v,)), observed | others):
                yield u, v
