"""Files changed at random: each is a valid network or refused with its line, and none hangs."""

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from network_files import (
    BIF,
    DSC,
    DSC_GENIE,
    HUGIN,
    JAVABAYES,
    NET,
    NET_DECISION,
    OLD_XML,
    UAI,
    XDSL,
    XML,
    assert_same,
)

import graphs

# bytes that are no UTF-8 are read as Latin-1, with a warning
pytestmark = pytest.mark.filterwarnings("ignore:.*read as Latin-1")
SEEDS = {
    ".bif": [BIF, JAVABAYES],
    ".net": [NET, HUGIN, NET_DECISION],
    ".uai": [UAI],
    ".xmlbif": [XML, OLD_XML],
    ".xdsl": [XDSL],
    ".dsc": [DSC, DSC_GENIE],
}
KINDS = ["remove", "double", "replace", "exchange", "cut", "character"]


@st.composite
def mutations(draw, extension):
    """A valid file with a few tokens removed, doubled, exchanged or replaced, perhaps cut short."""
    text = draw(st.sampled_from(SEEDS[extension]))
    tokens = re.findall(r"[\w.]+|\s+|.", text)
    odd = ["nan", "inf", "-1", "1e999", "0", "9" * 20, '"', "/*", "//", "%", "\\", "\0", "<", "&"]
    pool = sorted(set(tokens)) + odd
    for _ in range(draw(st.integers(1, 3))):
        i = draw(st.integers(0, len(tokens) - 1))
        kind = draw(st.sampled_from(KINDS))
        if kind == "remove":
            tokens[i] = ""
        elif kind == "double":
            tokens[i] *= 2
        elif kind == "replace":
            tokens[i] = draw(st.sampled_from(pool))
        elif kind == "exchange":
            j = draw(st.integers(0, len(tokens) - 1))
            tokens[i], tokens[j] = tokens[j], tokens[i]
        elif kind == "cut":
            tokens = [*tokens[:i], tokens[i][: len(tokens[i]) // 2]]
        else:
            tokens[i] = draw(st.characters(codec="utf-8"))
    return "".join(tokens)


def assert_valid_or_refused(path):
    try:
        model = graphs.load(path)
    except ValueError as error:
        message = str(error)
    else:
        message = None
    if message is not None:
        assert re.match(rf"{re.escape(str(path))}, line \d+: expected ", message)
        return
    assert model.check_model()
    copy = path.with_suffix(path.suffix if path.suffix not in (".xdsl", ".dsc") else ".net")
    graphs.save(model, copy)
    assert_same(model, graphs.load(copy))


@pytest.mark.parametrize("extension", [*SEEDS])
@settings(max_examples=200, deadline=None, derandomize=True)
@given(data=st.data())
def test_a_mutated_file_is_a_valid_network_or_a_value_error(extension, data, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / f"mutated{extension}"
    path.write_text(data.draw(mutations(extension)))
    assert_valid_or_refused(path)


@pytest.mark.parametrize("extension", [*SEEDS])
@settings(max_examples=100, deadline=None, derandomize=True)
@given(data=st.data())
def test_changed_bytes_are_a_valid_network_or_a_value_error(extension, data, tmp_path_factory):
    content = bytearray(data.draw(st.sampled_from(SEEDS[extension])).encode("latin-1"))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / f"changed{extension}"
    path.write_bytes(content)
    assert_valid_or_refused(path)


HEADS = [
    "",
    "variable a { type discrete [ 2 ] {",
    "probability ( a ) { ",
    "node a { states = (",
    '"',
]
TAILS = ['"', "/*", "(", " ", "{", "a ", '"a", ', '\\"', "|", ";", "1 ", "property ", "<a>", "(a)("]


@pytest.mark.parametrize("extension", [*SEEDS])
def test_reading_takes_linear_time_whatever_the_text(extension, tmp_path):
    path = tmp_path / f"n{extension}"
    start = time.process_time()
    for head in HEADS:
        for tail in TAILS:
            path.write_text(head + tail * (100_000 // len(tail)))
            with pytest.raises(ValueError, match="expected"):
                graphs.load(path)
    assert time.process_time() - start < 20
