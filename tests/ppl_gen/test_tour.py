"""The tour does what it shows, and leaves a page."""

import math
import re

import pytest

from ppl_gen.app.page import Section, to_html, to_text
from ppl_gen.app.tour import QUERIES, run


def test_the_smallest_tour(tmp_path, capsys):
    numbers = run(tmp_path / "tour", smoke=True)
    answers = [bool(numbers[f"A1 {query}"]) for query in QUERIES]
    assert answers == [False, True, True, False, False, False, True]
    assert numbers["claim holds"] == 0.0
    assert numbers["gamma error"] < 1e-3
    assert numbers["vae elbo"] == pytest.approx(numbers["vae reconstruction"] - numbers["vae kl"])
    assert numbers["vae elbo"] < numbers["vae log likelihood"] < 0
    assert numbers["autoencoder kl"] == math.inf
    assert numbers["variance ratio"] > 100
    page = (tmp_path / "tour" / "index.html").read_text()
    assert '<a href="study.html">' in page
    study = (tmp_path / "tour" / "study.html").read_text()
    assert study.count('"statement"') == 3
    assert "M \\u27c2 F | D, T" in study
    pictures = re.findall(r'<img src="([^"]+)"', page)
    assert len(pictures) == 5
    assert all((tmp_path / "tour" / name).stat().st_size > 5000 for name in pictures)
    assert "M → I → D ← T ← F" in page
    assert "A ⟂ B | M, O, T" in page
    printed = capsys.readouterr().out
    assert str((tmp_path / "tour" / "index.html").resolve()) in printed
    assert f"{numbers['vae elbo']:.2f}" in printed


def test_text_is_escaped_on_the_page():
    section = Section("a < b", "x & y", [("<th>",), ("<td>",)], note="<script>")
    page = to_html("t", [section])
    assert "<script>" not in page
    assert "&lt;td&gt;" in page
    assert "a &lt; b" in page
    assert "<td>" in to_text(1, section)
