"""``%load_ext graphs``: networks show themselves in a notebook as pictures.

Networks are objects of networkx and pgmpy, whose representation is an address. The extension tells
IPython how to show them; nothing is registered by importing the package.
"""

from __future__ import annotations

from typing import Any

# The class that DiGraph and the networks of pgmpy derive from, by name, so that it is not imported.
GRAPH = ("networkx.classes.graph", "Graph")
MOST_NODES = 100


def load_ipython_extension(shell: Any) -> None:
    """Show every graph and network in a cell as :func:`graphs.show` does."""
    shell.display_formatter.formatters["text/html"].for_type_by_name(*GRAPH, html_of)


def unload_ipython_extension(shell: Any) -> None:
    """Show graphs and networks as before."""
    shell.display_formatter.formatters["text/html"].pop(".".join(GRAPH), None)


def html_of(network: Any) -> str | None:
    """A picture with what the network is, or nothing for one too large to be drawn.

    >>> from graphs.interactive.notebook import html_of
    >>> html_of(graphs.textbook.asia()).count("<svg")
    1
    """
    from graphs.interactive.pages import show

    if len(network) > MOST_NODES:
        return None
    try:
        return show(network)._repr_html_()
    except ValueError:  # a graph that states no model, such as one with loops
        return None
