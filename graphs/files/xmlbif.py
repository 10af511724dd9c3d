r"""XMLBIF 0.3 (Cozman 1998), as JavaBayes, Weka, SamIam, aGrUM and pgmpy write it.

::

    <BIF VERSION="0.3"><NETWORK><NAME>asia</NAME>
    <VARIABLE TYPE="nature">
      <NAME>tub</NAME><OUTCOME>yes</OUTCOME><OUTCOME>no</OUTCOME>
    </VARIABLE>
    <DEFINITION>
      <FOR>tub</FOR><GIVEN>asia</GIVEN><TABLE>0.05 0.95 0.01 0.99</TABLE>
    </DEFINITION>
    </NETWORK></BIF>

The numbers of a table run over the given variables in their order, then over the variable itself,
whose states vary fastest. White space around a name is no part of it, unless the element says
``xml:space="preserve"``. A document type may declare elements and attributes; one that declares an
entity is refused, and nothing outside the file is ever read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.sax.saxutils import escape

from graphs.files import xml
from graphs.files.network import CHANCE, DECISION, UTILITY, Found, Network
from graphs.files.rows import Policy
from graphs.language.scanning import Malformed
from graphs.parameters.tables import Tables

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_KINDS = {"nature": CHANCE, "discrete": CHANCE, "decision": DECISION, "utility": UTILITY}


def read(data: bytes, tables: bool, policy: Policy | None = None) -> Found:
    """The network of an XMLBIF file, or only its graph.

    Raises:
        Malformed: with the line, whatever the document or the network lacks.
    """
    root = xml.parse(data)
    if root.tag != "BIF":
        raise Malformed(f"expected <BIF>, got <{root.tag}>", root.line)
    body = root.only("NETWORK")
    if body.all("VARIABLES"):
        raise Malformed(
            "expected <VARIABLE> in <NETWORK> as in XMLBIF 0.3, got <VARIABLES> of a later dialect",
            body.all("VARIABLES")[0].line,
        )
    network = Network(lambda line: line, policy=policy)
    network.name = next((child.name for child in body.all("NAME")), "")
    for variable in body.all("VARIABLE"):
        _variable(network, variable)
    if tables:
        network.require_tables()
    for definition in body.all("DEFINITION", "PROBABILITY"):
        parents = [given.name for given in definition.all("GIVEN")]
        child = definition.only("FOR")
        network.define((*parents, child.name), child.line)
        if tables:
            xml.fill(network, definition.only("TABLE"), child.name)
    return network.found(tables)


def _variable(network: Network, variable: xml.Element) -> None:
    name, written = variable.only("NAME").name, variable.attributes.get("TYPE", "nature")
    kind = _KINDS.get(written.lower())
    if kind is None:
        expected = "variables of type 'nature', 'decision' or 'utility'"
        raise Malformed(f"expected {expected}, got {written!r}", variable.line)
    if kind == CHANCE:
        states = [outcome.name for outcome in variable.all("OUTCOME", "VALUE")]
        network.declare(name, states, None, variable.line)
    else:
        network.declare_untabled(name, kind, f"a {kind} node", variable.line)


def write(tables: Tables) -> Iterator[str]:
    """The text of a Bayesian network in pieces; numbers in full precision."""
    yield '<?xml version="1.0" encoding="UTF-8"?>\n<BIF VERSION="0.3">\n<NETWORK>\n'
    yield f"{_element('NAME', tables.name)}\n"
    for v, states in tables.states.items():
        yield f'<VARIABLE TYPE="nature">\n  {_element("NAME", v)}\n'
        yield "".join(f"  {_element('OUTCOME', s)}\n" for s in states)
        yield "</VARIABLE>\n"
    for (*parents, child), array in tables.factors:
        yield f"<DEFINITION>\n  {_element('FOR', child)}\n"
        yield "".join(f"  {_element('GIVEN', p)}\n" for p in parents)
        yield "  <TABLE>\n"
        for row in array.reshape(-1, array.shape[-1]).tolist():
            yield f"    {' '.join(map(repr, row))}\n"
        yield "  </TABLE>\n</DEFINITION>\n"
    yield "</NETWORK>\n</BIF>\n"


def _element(tag: str, name: object) -> str:
    text = str(name)
    if _NOT_XML.search(text):
        raise ValueError(f"expected names of characters that XML can hold, got {text!r}")
    keep = ' xml:space="preserve"' if text != text.strip() else ""
    # a reader of XML turns other line ends into \n, and may fold white space
    escaped = escape(text, {"\r": "&#13;", "\n": "&#10;", "\t": "&#9;"})
    return f"<{tag}{keep}>{escaped}</{tag}>"
