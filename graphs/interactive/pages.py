"""Ways in: a page in the browser, in a notebook or in a file, and a picture where nothing moves."""

from __future__ import annotations

import os
import secrets
import webbrowser
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphs.interactive.html import saved
from graphs.interactive.replies import Json
from graphs.interactive.server import Server
from graphs.interactive.session import Session
from graphs.interactive.subject import Subject
from graphs.language.notation import Node
from graphs.pictures.shown import explained
from graphs.pictures.svg import svg
from graphs.structure.models import Model

if TYPE_CHECKING:
    from graphs.separation.independence import Independence


class Page:
    """A model to click on; what was done there comes back as Python objects.

    In a notebook it shows itself, with anywidget (``pip install ppl-gen[notebook]``) as something
    to click on, without as a picture with the explanation.

    Attributes:
        session: answers the events of the page.

    >>> page = graphs.page(graphs.textbook.diagnosis(), query="M _||_ F | D")
    >>> page.answer
    <Independence M ⟂ F | D: False>
    >>> _ = page.handle({"type": "edit", "action": "remove_edge", "tail": "T", "head": "D"})
    >>> page.answer.holds, page.model.has_edge("T", "D")
    (True, False)
    """

    def __init__(self, session: Session, original: Any):
        self.session, self._original = session, original
        self._widget: Any = None

    @property
    def model(self) -> Model:
        """The model as it is now: the one given unless it was edited.

        An edited one is a pgmpy network where its tables still fit, else a graph or a
        :class:`graphs.Factorization`. Arrows that are cut are missing, unless there are tables.
        """
        subject = self.session.state.subject
        if subject is self.session.first and not isinstance(self._original, str):
            program = callable(self._original) and not hasattr(self._original, "nodes")
            return subject.structure if program else self._original
        return _as_model(subject)

    @property
    def answer(self) -> Independence | None:
        """The answer to the question on the page, or ``None`` where nothing is asked."""
        return self.session.answer

    @property
    def evidence(self) -> dict[Node, Hashable | None]:
        """The observed nodes with their states, ``None`` where a node is in no state yet."""
        return dict(self.session.state.observed)

    def handle(self, event: Json) -> Json:
        """The reply to an event of the page, as :meth:`Session.handle` gives it."""
        return self.session.handle(event)

    def serve(self, port: int = 0, open: bool = True, block: bool = True) -> Server:
        """Show the page in a browser.

        Only this machine can reach it, and only with the token in the address. The browser gets
        the address from a file that only this user can read; where it cannot be opened, follow the
        address that is printed.

        Args:
            port: where to listen; 0 for any that is free.
            open: whether to open a browser.
            block: whether to wait until interrupted (Ctrl-C); otherwise the server runs in the
                background until its ``close``.

        Returns:
            The server, with its ``url``.

        Raises:
            ValueError: a port that is none, or that is taken.
        """
        server = Server(self.session, port)
        if not block:
            server.start()
        try:
            print(server.url, flush=True)
            if open:
                webbrowser.open(server.door())
            if block:
                server.run()
        except KeyboardInterrupt:
            if not block:
                raise
            server.close()
        return server

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one HTML file that shows the page, and steps through what was done, by itself.

        Raises:
            ValueError: a name that does not end in .html, a folder that is not there.
        """
        file = Path(path)
        if file.suffix.lower() not in (".html", ".htm"):
            raise ValueError(f"expected a file name that ends in .html, got {str(path)!r}")
        if not file.parent.is_dir():
            raise ValueError(f"expected an existing folder for {file.name}, got {file.parent}")
        replies = self.session.replay()
        text = saved(replies, replies[-1]["query"] or "graphs", self._explained())
        partial = file.with_name(f".{file.name}.{secrets.token_hex(4)}.tmp")
        try:
            partial.write_text(text, encoding="utf-8")
            os.replace(partial, file)
        finally:
            partial.unlink(missing_ok=True)

    def svg(self) -> str:
        """The picture as SVG text."""
        return picture(self.session)

    def _explained(self) -> str:
        return explained(self.svg(), said(self.session))

    def __repr__(self) -> str:
        subject = self.session.state.subject
        asked = f", {self.answer!r}" if self.answer is not None else ""
        return f"<Page of {len(subject.whole)} nodes{asked}>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        from graphs.interactive.widget import bundle

        return bundle(self, {"text/plain": repr(self), "text/html": self._explained()})


def page(
    model: Any,
    *,
    query: str | None = None,
    evidence: Any = None,
    claim: str | None = None,
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
    quiz: bool = False,
) -> Page:
    """A page to ask a model on, in a browser (:meth:`Page.serve`), a notebook or a file.

    Args:
        model: a networkx graph, a pgmpy model, a :class:`graphs.Factorization`, a pair of one and
            its tables, a Pyro program, or a text that states a model.
        query: a question to begin with, in any notation that :func:`graphs.query` reads.
        evidence: what is observed: a mapping from nodes to states, a text such as
            ``"smoke=yes, dysp=no"``, or names of nodes.
        claim: a claim to begin with, as for :func:`graphs.check`.
        args, kwargs: what a Pyro program is called with.
        quiz: whether answers are hidden until one commits to an answer and its reason.

    Returns:
        A :class:`Page`. Nothing is shown yet, except in a notebook.

    Raises:
        ValueError: no model, or a query, evidence or claim that cannot be read.

    >>> page = graphs.page(graphs.textbook.asia(), evidence={"dysp": "yes"})
    >>> page.handle({"type": "observe", "node": "smoke"})["observed"]
    {'dysp': 'yes', 'smoke': 'yes'}
    >>> page.evidence
    {'dysp': 'yes', 'smoke': 'yes'}
    >>> page.save("study.html")
    """
    session = Session(
        model, query=query, evidence=evidence, claim=claim, args=args, kwargs=kwargs, quiz=quiz
    )
    return Page(session, model)


class Shown:
    """A picture with its explanation; shows itself in a notebook.

    Attributes:
        svg: the text of the picture, ``None`` of a verdict that no picture shows.
        lines: the explanation.
    """

    def __init__(self, svg: str | None, lines: list[str]):
        self.svg, self.lines = svg, lines

    def __repr__(self) -> str:
        return "\n".join(self.lines)

    def _repr_html_(self) -> str:
        return explained(self.svg or "", self.lines)


def show(
    thing: Any, *, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
) -> Shown:
    """A picture of anything here, with what is said of it: static SVG, no browser needed.

    Args:
        thing: an answer (:class:`graphs.Independence`), a :class:`graphs.Verdict` or
            :class:`graphs.MapResult`, or a model or Pyro program as for :func:`page`.
        args, kwargs: what a Pyro program is called with.

    Raises:
        ValueError: none of these.

    >>> shown = graphs.show(graphs.query(graphs.textbook.diagnosis(), "M _||_ F | D"))
    >>> print(shown)
    M ⟂ F | D does not hold: a path is active.
      M → I → D ← T ← F
      - I is a chain node that is not observed: open.
      - D is a collider (a common effect) that is observed: open.
      - T is a chain node that is not observed: open.
    >>> shown.svg[:4]
    '<svg'
    """
    if hasattr(thing, "explain"):
        lines = thing.explain().split("\n")
        answer = _pictured(thing)
        if answer is None:
            return Shown(None, lines)
        session = Session(answer.graph)
        session.ask(answer.x, answer.y, answer.given, answer.negated)
        return Shown(picture(session), lines)
    session = Session(thing, args=args, kwargs=kwargs)
    return Shown(picture(session), said(session))


def _pictured(thing: Any) -> Independence | None:
    """The answer to draw for something that explains itself: its own, or what refutes it."""
    if hasattr(thing, "trail"):
        found: Independence = thing
        return found
    false = getattr(thing, "false_independencies", ())
    if false or hasattr(thing, "parities"):
        return false[0] if false else thing.answer
    return getattr(thing, "counterexample", None)


def picture(session: Session) -> str:
    """The picture of a session as it stands."""
    reply = session.handle({"type": "bars"})
    bars = reply["bars"].get("nodes") if reply["bars"]["available"] else None
    title = said(session)[0]
    return svg(reply["scene"], reply["roles"], bars, title)


def said(session: Session) -> list[str]:
    """The explanation of the answer or, where nothing is asked, the model in words."""
    answer = session.answer
    if answer is not None and not session.state.quiz:
        return answer.explain().split("\n")
    model = session.handle({"type": "open"})["model"]
    return [
        f"{model['kind']} of {model['size']}.",
        *([model["product"]] if model["product"] else []),
    ]


def _as_model(subject: Subject) -> Model:
    if subject.tables is None:
        return subject.model
    from graphs.parameters.bridge import to_pgmpy

    return to_pgmpy(subject.tables)
