"""The README's example runs as printed, and its table names every model."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ppl_gen.zoo import registry

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_example_runs_as_printed(tmp_path):
    example = re.search(r"```python\n(.*?)```", README, re.DOTALL)[1]
    assert len(example.strip().splitlines()) <= 24
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", example],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "M → I → D ← T ← F" in done.stdout
    assert "No claimed factor covers {I, M, S}" in done.stdout
    elbo = float(re.search(r"ELBO (-\d+\.\d+)", done.stdout)[1])
    assert -250 < elbo < -100
    assert "P(z) P(x | z)" in done.stdout


def test_the_shown_answer_is_the_answer():
    shown = re.search(r"```\n\$ python -m graphs (.*?)\n(.*?)```", README, re.DOTALL)
    arguments = re.findall(r'"([^"]+)"', shown[1])
    done = subprocess.run(
        [sys.executable, "-m", "graphs", *arguments], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == shown[2].strip()
    assert done.returncode == 1


def test_the_table_names_every_model_with_its_paper():
    for name, entry in registry.items():
        row = re.search(rf"^\| `{name}` \|(.*)\|$", README, re.MULTILINE)
        assert row, f"{name} is not in the table"
        assert entry.paper in row[1]
        assert str(entry.year) in row[1]


# --- Numbers quoted ---------------------------------------------------------------------------


@pytest.fixture
def maker(monkeypatch):
    """``docs/site/readme.py``, which makes the README anew."""
    monkeypatch.setattr(sys, "path", [str(ROOT / "docs" / "site"), *sys.path])
    import readme

    yield readme
    del sys.modules["readme"], sys.modules["quotes"]


BESIDE = (ROOT / "docs" / "site" / "beside.md").read_text(encoding="utf-8")
PAGES = {"README_QUOTES": README, "BESIDE_QUOTES": BESIDE}


@pytest.fixture
def quotes(maker):
    """``docs/site/quotes.py``, which reads the numbers out of their files."""
    return sys.modules["quotes"]


def test_the_answer_the_table_and_the_numbers_are_those_of_this_tree(maker):
    assert maker.regenerated(README) == README, "python docs/site/readme.py --text mends it"


def test_no_number_of_a_sentence_is_left_out(quotes):
    """Outside of commands, examples, the table and names, which other tests run and compare."""
    left = re.sub(r"```.*?```|`[^`]*`|^\|[^\n]*$|\]\([^)]*\)", " ", README, flags=re.DOTALL | re.M)
    for pattern, _ in quotes.README_QUOTES:
        whole = re.search(pattern, README, re.DOTALL)[0]
        left = left.replace(re.sub(r"`[^`]*`|\]\([^)]*\)", " ", whole), "")
    assert set(re.findall(r"\b[\w.-]*\d[\w.,-]*", left)) <= {"Apache-2.0."}


def drifted(text: str, pattern: str) -> str:
    """A README in which the first number of a sentence was not brought up to date."""
    found = re.search(pattern, text, re.DOTALL)
    return text[: found.start(1)] + "77" + text[found.end(1) :]


@pytest.mark.parametrize("page", PAGES)
def test_every_number_that_drifted_is_found(quotes, page):
    text, listed = PAGES[page], getattr(quotes, page)
    assert quotes.quoted(text, listed) == text, "python docs/site/readme.py --text mends it"
    for pattern, _ in listed:
        old = drifted(text, pattern)
        assert old != text
        assert quotes.quoted(old, listed) == text, pattern


def test_every_tool_beside_which_something_is_measured_is_quoted(quotes):
    """A section of the page says what was measured, in numbers that are kept up to date."""
    sections = BESIDE.split("\n## ")[1:]
    measured = [text for text in sections if "easured" in text and "Nothing is" not in text]
    assert len(measured) == len(sections) - 1
    for text in measured:
        assert any(re.search(pattern, text, re.DOTALL) for pattern, _ in quotes.BESIDE_QUOTES)


@pytest.mark.parametrize("wrong", ["| 2014 | 05 |", "| `vae` |"])
def test_a_table_that_drifted_is_found(maker, wrong):
    old = README.replace(wrong, wrong.replace("2014", "2015").replace("`vae`", "`vea`"), 1)
    mended = maker.listed(old)
    assert old != README
    assert sorted(re.findall(r"^\| `\w+` .* \d{4} ", mended, re.M)) == sorted(
        re.findall(r"^\| `\w+` .* \d{4} ", README, re.M)
    )


def test_a_sentence_that_was_reworded_is_missed(quotes):
    with pytest.raises(ValueError, match=r"expected a sentence that matches .*got none"):
        quotes.quoted(README.replace("compiled step](", "step]("))


def test_a_table_of_results_that_is_gone_is_missed(quotes):
    with pytest.raises(ValueError, match="expected a table of 'nothing' on docs/results/training"):
        quotes.result_table("training.md", "nothing")


def test_the_tutorial_of_a_model_is_about_it():
    """It builds the model, or is about the paper."""
    rows = re.findall(r"^\| `(\w+)` \|.*\| (\d\d) \|$", README, re.MULTILINE)
    assert len(rows) > 20
    for name, number in rows:
        (path,) = (ROOT / "tutorials").glob(f"{number}_*.py")
        text = path.read_text(encoding="utf-8")
        author = re.match(r"[^\W_]+", registry[name].paper)[0]
        assert re.search(rf"zoo\.{name}\b|[\"']{name}[\"']", text) or author in text, name


def test_the_changelog_counts_the_models():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"{len(registry)} named models" in changelog


def test_every_link_and_picture_exists():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if "://" not in target:
            assert (ROOT / target).exists(), target
