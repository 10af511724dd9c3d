"""The page as a widget of a notebook; anywidget is imported only where it is installed."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from graphs.interactive.html import asset

if TYPE_CHECKING:
    from graphs.interactive.pages import Page


def bundle(page: Page, static: dict[str, Any]) -> Any:
    """What a notebook shows: the widget and, for where widgets cannot live, the picture too."""
    if find_spec("anywidget") is None:
        return static
    try:
        widget = _widget(page)
    except ImportError:  # what anywidget itself needs is missing
        return static
    found = widget._repr_mimebundle_()
    data, metadata = found if isinstance(found, tuple) else (found, {})
    return {**(data or {}), **static}, metadata


def _widget(page: Page) -> Any:
    if page._widget is None:
        page._widget = _class()()
        page._widget.attach(page.session)
    return page._widget


@cache
def _class() -> Any:
    import anywidget

    class PageWidget(anywidget.AnyWidget):
        """Passes events to a session and its replies back."""

        _esm = asset("page.js")
        _css = asset("page.css")

        def attach(self, session: Any) -> None:
            self._session = session
            self.on_msg(self._answer)

        def _answer(self, _: Any, content: Any, buffers: Any) -> None:
            number = content.get("id") if isinstance(content, dict) else None
            event = content.get("event") if isinstance(content, dict) else content
            self.send({"id": number, "reply": self._session.handle(event)})
            self._session.compile_ahead()

    return PageWidget
