r"""XDSL, the format of GeNIe and SMILE (BayesFusion, SMILE manual, "XDSL file format"); read only.

::

    <smile version="1.0" id="chest"><nodes>
      <cpt id="asia"><state id="yes"/><state id="no"/><probabilities>0.01 0.99</probabilities></cpt>
      <cpt id="tub"><state id="yes"/><state id="no"/><parents>asia</parents>
        <probabilities>0.05 0.95 0.01 0.99</probabilities></cpt>
    </nodes></smile>

The numbers run over the parents in the order named, the last one's states faster, and over the
node's own states fastest. Files that say ``app="aGrUM ..."`` list the parents' states the other way
round, the first one's faster, and are read so. A ``deterministic`` node lists the state that each
row takes. Decisions and utilities are nodes of the structure alone, as are nodes with noisy-max
parameters or equations.
"""

from __future__ import annotations

import numpy as np

from graphs.files import xml
from graphs.files.network import CHANCE, DECISION, UTILITY, Found, Network
from graphs.files.rows import Policy
from graphs.language.scanning import Malformed

_UNTABLED = {
    "DECISION": (DECISION, "a decision node"),
    "UTILITY": (UTILITY, "a utility node"),
    "MAU": (UTILITY, "a utility node"),
    "NOISYMAX": (CHANCE, "a noisy-max node"),
    "NOISYADDER": (CHANCE, "a noisy-adder node"),
    "EQUATION": (CHANCE, "a node with an equation"),
}


def read(data: bytes, tables: bool, policy: Policy | None = None) -> Found:
    """The network of an XDSL file, or only its graph.

    Raises:
        Malformed: with the line, whatever the document or the network lacks.
    """
    root = xml.parse(data)
    if root.tag != "SMILE":
        raise Malformed(f"expected <smile>, got <{root.tag}>", root.line)
    if root.all("DYNAMIC"):
        raise Malformed("expected a static network, got <dynamic>", root.all("DYNAMIC")[0].line)
    network = Network(lambda line: line, policy=policy)
    network.name = root.attributes.get("id", "")
    nodes = root.only("NODES").children
    for node in nodes:
        _declare(network, node)
    if tables:
        network.require_tables()
    turned = _by_agrum(root)
    for node in nodes:
        _define(network, node, tables, turned)
    return network.found(tables)


def _by_agrum(root: xml.Element) -> bool:
    written = [genie for part in root.all("EXTENSIONS") for genie in part.all("GENIE")]
    return any(genie.attributes.get("app", "").startswith("aGrUM") for genie in written)


def _declare(network: Network, node: xml.Element) -> None:
    name = node.attribute("id")
    if node.tag in _UNTABLED:
        network.declare_untabled(name, *_UNTABLED[node.tag], node.line)
        return
    if node.tag not in ("CPT", "DETERMINISTIC"):
        known = "<cpt>, <deterministic>, <decision>, <utility>, <noisymax> or <equation>"
        raise Malformed(f"expected {known}, got <{node.tag.lower()}>", node.line)
    network.declare(name, [s.attribute("id") for s in node.all("STATE")], None, node.line)


def _define(network: Network, node: xml.Element, tables: bool, turned: bool) -> None:
    parents = [name for part in node.all("PARENTS") for name in part.text.split()]
    name = node.attribute("id")
    scope = network.define((*parents, name), node.line)
    if not tables:
        return
    if node.tag == "DETERMINISTIC":
        _deterministic(network, node.only("RESULTINGSTATES"), scope)
        return
    order = _turned(network.shape(scope), node) if turned and len(parents) > 1 else None
    xml.fill(network, node.only("PROBABILITIES"), name, order)


def _turned(shape: tuple[int, ...], node: xml.Element) -> list[int] | None:
    """Where the numbers in C order are, if the first parent's states vary fastest of all's."""
    cells = int(np.prod([float(size) for size in shape]))
    if cells > len(node.only("PROBABILITIES").text):
        return None  # too few numbers, which is told without allocating
    *sizes, own = shape
    order = np.arange(cells).reshape(*sizes[::-1], own)
    return order.transpose(*range(len(sizes))[::-1], len(sizes)).ravel().tolist()


def _deterministic(network: Network, results: xml.Element, scope: tuple[str, ...]) -> None:
    states = network.states[scope[-1]]
    taken = results.text.split()
    for state in taken:
        if state not in states:
            listing = ", ".join(map(str, states))
            raise Malformed(
                f"expected states of {scope[-1]!r} among {listing}, got {state!r}", results.line
            )
    rows = np.zeros((len(taken), len(states)))
    rows[range(len(taken)), [states.index(state) for state in taken]] = 1
    line = results.line
    network.fill(rows.ravel(), line, lambda number: line, lambda row: ["1"])
