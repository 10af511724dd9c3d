"""The pages of the site say what is true: their examples run, and every name has its place."""

import re
import shlex
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / "docs" / "site"
MODEL = """
import torch

import ppl_gen

images = torch.rand(32, 1, 8, 8)
vae = ppl_gen.zoo.vae((1, 8, 8), 2, hidden=8)
"""
# Pages whose examples run, with what they say is there; those marked `py` need an extra.
COMPLETE = {
    "index.md": "",
    "start.md": "",
    "howto/model.md": "",
    "howto/identify.md": "",
    "howto/adjust.md": "",
    "howto/own_data.md": "",
    "howto/implications.md": "",
    "../graphs.md": "",
    "howto/resume.md": MODEL,
    "howto/rows.md": """
from pathlib import Path

Path("patients.csv").write_text("smoke,dysp\\nyes,yes\\nno,\\n")
""",
}


def examples(page: str) -> list[tuple[str, str]]:
    """The examples of a page, each with the text below it where that is what it prints."""
    text = (SITE / page).read_text(encoding="utf-8")
    pattern = r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```)?"
    return re.findall(pattern, text, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", COMPLETE)
def test_the_examples_of_a_page_run(page, tmp_path, monkeypatch, capsys, fresh_store):
    monkeypatch.chdir(tmp_path)
    namespace: dict = {}
    exec(COMPLETE[page], namespace)
    blocks = examples(page)
    assert blocks
    for block, shown in blocks:
        capsys.readouterr()
        quick = re.sub(r"epochs=\d+", "epochs=1", block)
        exec(compile(quick, page, "exec"), namespace)
        printed = capsys.readouterr().out
        assert not shown or printed.strip() == shown.strip()
    plt.close("all")


def test_the_commands_of_a_page_run_on_what_its_examples_write(tmp_path, monkeypatch, capsys):
    from graphs.__main__ import main

    monkeypatch.chdir(tmp_path)
    text = (SITE / "../graphs.md").read_text(encoding="utf-8")
    namespace: dict = {}
    for block, _ in examples("../graphs.md"):
        exec(compile(block, "graphs.md", "exec"), namespace)
    plt.close("all")
    commands = re.findall(r"^\$ python -m graphs (.*)$", text, re.MULTILINE)
    assert len(commands) > 4
    for command in commands:
        main(shlex.split(command))
        printed = capsys.readouterr()
        assert printed.out, command
        assert not printed.err.startswith("graphs:"), printed.err


@pytest.mark.parametrize("page", sorted(p.relative_to(SITE).as_posix() for p in SITE.rglob("*.md")))
def test_every_example_is_python(page):
    text = (SITE / page).read_text(encoding="utf-8")
    for block in re.findall(r"^```py(?:thon)?\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        compile(block, page, "exec")


def test_every_public_name_has_one_task(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(SITE), *sys.path])
    import reference

    names = [name for *_, names in reference.tasks() for name in names]
    assert len(names) == len(set(names)) > 300
    for package in reference.TASKS:
        for name in reference.stub_names(package):
            known = f"{package}.{name}"
            within = any(listed.startswith(f"{known}.") for listed in names)
            assert known in names or within or name in reference.CONTAINERS, known
    del reference.TASKS["graphs"]["State a model"]
    with pytest.raises(
        ValueError, match=r"expected a task of docs/site/reference\.py for graphs\."
    ):
        list(reference.tasks())
    del sys.modules["reference"]


def test_no_two_pages_share_a_file_where_capitals_do_not_count(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(SITE), *sys.path])
    import reference

    names = reference.write(tmp_path)
    files = [path.name for path in tmp_path.iterdir()]
    assert len({name.lower() for name in files}) == len(files) == len(names) + 1
    assert {"graphs.adjustment.rst", "graphs.Adjustment-type.rst"} <= set(files)
    listed = (tmp_path / "index.rst").read_text()
    assert "    import networkx as nx\n" in listed
    for path in tmp_path.glob("ppl_gen.*.rst"):
        assert f"\n   {path.stem}\n" in listed
    del sys.modules["reference"]


def test_pages_of_modules_and_values_say_what_they_are(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(SITE), *sys.path])
    import reference

    assert ".. automodule:: ppl_gen.zoo" in reference.page("ppl_gen.zoo")
    assert ">>> list(ppl_gen.gradients.registry)" in reference.page("ppl_gen.gradients.registry")
    assert "'score_constant'" in reference.page("ppl_gen.gradients.registry")
    assert "'slanted'" in reference.page("ppl_gen.data.VOCABULARY")
    assert "type for annotations, ``tuple[int, ...]``" in reference.page("ppl_gen.networks.Shape")
    hinge = reference.page("ppl_gen.divergences.hinge")
    assert ":class:`Divergence <ppl_gen.divergences.Divergence>`" in hinge
    del sys.modules["reference"]


def test_every_tutorial_has_a_card(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(SITE), *sys.path])
    import learn

    page = learn.cards()
    for path in learn.tutorials():
        assert f"](tutorials/{path.stem})" in page
        for suffix in ("py", "ipynb"):
            assert f'href="downloads/{path.stem}.{suffix}"' in page
    assert page.count("min to read") == len(learn.tutorials())
    del sys.modules["learn"]


def test_a_card_says_how_long_the_run_took_that_is_shown(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(SITE), *sys.path])
    import learn

    names = [path.stem for path in learn.tutorials()]
    page = learn.cards("smoke", dict.fromkeys(names, 7.2))
    assert page.count("short run 7 s") == len(names)
    assert "short run" not in learn.cards(None)
    assert "\nβ-VAE on sprites" in page
    del sys.modules["learn"]


def test_whole_runs_that_were_measured_took_minutes(monkeypatch):
    """No tutorial asks for more than ten of a processor; its card says how many."""
    monkeypatch.setattr(sys, "path", [str(SITE), *sys.path])
    import learn

    found = learn.minutes()
    assert found
    assert {*found} <= {path.stem for path in learn.tutorials()}
    assert all(0 < value <= 10 for value in found.values())
    assert learn.cards(None).count("min to run") == len(found)
    del sys.modules["learn"]


def test_every_tutorial_is_in_one_group(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(SITE), *sys.path])
    import learn

    grouped = [path for paths in learn.groups().values() for path in paths]
    assert sorted(grouped) == learn.tutorials()
    monkeypatch.setitem(learn.GROUPS, "Diffusion", "16 17 18")
    with pytest.raises(ValueError, match=r"one group of docs/site/learn\.py, got \['19'\]"):
        learn.groups()
    del sys.modules["learn"]


def test_a_page_says_with_what_its_tutorial_was_run(monkeypatch):
    """Below the title, where to get it; and that settings were short, where there are any."""
    monkeypatch.setattr(sys, "path", [str(SITE), *sys.path])
    from types import SimpleNamespace

    import learn

    class Cell(dict):
        __getattr__, __setattr__ = dict.get, dict.__setitem__

    figure = {"data": {"image/png": "iVBORw==", "text/plain": "Figure 05_loss"}}

    def made(name, run):
        title = Cell(cell_type="markdown", source="# A title\n\nA first paragraph.")
        below = Cell(cell_type="markdown", source="## A loss of $x$\n\nText.")
        shows = Cell(cell_type="code", source="# no title", outputs=[figure], metadata={})
        long = Cell(cell_type="code", source="x = 1\n" * 31, metadata={})
        last = Cell(cell_type="markdown", source="## What the numbers say\n\nMuch.")
        cells = [title, below, shows, long, last]
        book = SimpleNamespace(cells=cells, metadata={"cpu_seconds": 7.2})
        return learn.headed(book, ROOT / "tutorials" / name, run).cells

    def first(name, run):
        return made(name, run)[0].source

    options = made("05_autoencoders.py", "smoke")[2].metadata["mystnb"]
    assert options == {"image": {"alt": "A loss of x (Figure 05_loss)"}}
    *_, shows, long, last = made("05_autoencoders.py", "smoke")
    assert "tags" not in shows.metadata
    assert long.metadata["tags"] == ["hide-input"]
    assert long.metadata["mystnb"]["code_prompt_show"] == "Show the code, 31 lines"
    assert last.source == f"## What the numbers say\n\n{learn.WHOLE}\n\nMuch."
    assert learn.WHOLE not in made("05_autoencoders.py", "full")[-1].source
    short = first("05_autoencoders.py", "smoke")
    assert short.startswith("# A title\n\n<p")
    assert short.endswith("A first paragraph.")
    assert 'href="../downloads/05_autoencoders.ipynb"' in short
    assert 'href="../glossary.html"' in short
    assert "short settings, 7 s" in short
    assert "short settings" not in first("05_autoencoders.py", "full")
    assert "short settings" not in first("20_interventions.py", "smoke")  # has no others
    del sys.modules["learn"]


@pytest.mark.parametrize(("size", "corner"), [((300, 600), "white"), ((900, 90), "red")])
def test_pictures_on_cards_fill_their_height_and_are_white_beside(
    size, corner, tmp_path, monkeypatch
):
    from PIL import Image

    monkeypatch.setattr(sys, "path", [str(SITE), *sys.path])
    from types import SimpleNamespace

    import thumbnails

    for folder in ("tutorials", "_images"):
        (tmp_path / folder).mkdir()
    Image.new("RGB", size, "red").save(tmp_path / "_images" / "a.png")
    (tmp_path / "tutorials" / "01_a.html").write_text('<img src="../_images/a.png">')
    monkeypatch.setattr(thumbnails, "tutorials", lambda: [Path("01_a.py")])
    app = SimpleNamespace(builder=SimpleNamespace(name="html"), outdir=tmp_path)
    thumbnails.thumbnails(app, None)
    made = Image.open(tmp_path / "thumbnails" / "01_a.png").convert("RGB")
    colours = {"white": (255, 255, 255), "red": (255, 0, 0)}
    assert made.size == (thumbnails.WIDTH, thumbnails.HEIGHT)
    for place in ((0, 0), (made.width - 1, made.height - 1)):
        assert made.getpixel(place) == colours[corner]
    for place in ((made.width // 2, 0), (made.width // 2, made.height - 1)):
        assert made.getpixel(place) == colours["red"]
    del sys.modules["thumbnails"]


def test_first_words_of_the_glossary_and_other_tutorials_are_linked(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(SITE), *sys.path])
    import prose

    title, below = prose.improved(
        [
            "# FID and ELBO\n\n`FID` of $FID$ and [FID](x), of a *mean\nfield*; "
            "see tutorial\n12, and Tutorial 05.",
            "An FID of 3 × 28 × 28 pixels is 7 % of an FID. Nats, flaws, a 5 m law.",
        ]
    )
    assert title == (
        "# FID and ELBO\n\n`FID` of $FID$ and [FID](x), of a *{term}`mean field <mean field>`*; "
        "see [tutorial 12](12_divergences_and_transport.ipynb), "
        "and [Tutorial 05](05_autoencoders.ipynb)."
    )
    assert below == (
        "An {term}`FID <FID, KID>` of 3\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}28\N{NO-BREAK SPACE}×"
        "\N{NO-BREAK SPACE}28 pixels is 7\N{NO-BREAK SPACE}% of an FID. {term}`Nats <nat>`, flaws, "
        "a 5 m {term}`law <law>`."
    )
    monkeypatch.setattr(prose, "COMMON", {"no such term"})
    with pytest.raises(
        ValueError, match=r"terms of docs/site/glossary\.md, got \['no such term'\]"
    ):
        prose.words()
    del sys.modules["prose"]


def test_a_line_does_not_begin_with_the_comma_after_a_formula(monkeypatch):
    nodes = pytest.importorskip("docutils.nodes", reason="no site is built here: make docs does")
    monkeypatch.setattr(sys, "path", [str(SITE), *sys.path])
    import conf

    formulas = [nodes.math("", text) for text in "xyz"]
    texts = [nodes.Text(text) for text in (", then ", "-axis", " is last")]
    paragraph = nodes.paragraph()
    for formula, text in zip(formulas, texts, strict=True):
        paragraph += [formula, text]
    conf.keep_together(None, paragraph)
    assert paragraph.astext() == "x, then y-axisz is last"
    kept = [node.astext() for node in paragraph.findall(nodes.inline)]
    assert kept == ["x,", "y-axis"]
    for name in ("conf", "thumbnails", "running"):
        sys.modules.pop(name, None)


def test_results_are_in_the_order_of_their_list_and_have_titles(tmp_path, monkeypatch):
    pytest.importorskip("nbformat", reason="no site is built here: make docs installs it")
    monkeypatch.setattr(sys, "path", [str(SITE), *sys.path])
    import assemble

    monkeypatch.setattr(assemble, "SOURCE", tmp_path)
    table = tmp_path / "tests" / "benchmarks" / "results" / "sprites" / "table.md"
    page = tmp_path / "docs" / "results" / "README.md"
    for path, text in ((table, "| a |\n"), (page, "# Results\n\n[b](b.md), [a](a.md)\n")):
        path.parent.mkdir(parents=True)
        path.write_text(text)
    assemble._list_results()
    listed = page.read_text().partition("```{toctree}")[2].split()
    assert listed == [":hidden:", "b", "a", "/tests/benchmarks/results/sprites/table", "```"]
    assert table.read_text() == "# All figures: sprites\n\n| a |\n"
    assemble._list_results()
    assert table.read_text().count("# ") == 1
    for name in ("assemble", "learn", "running"):
        sys.modules.pop(name, None)


def test_results_are_kept_while_the_code_is_the_same(tmp_path, monkeypatch):
    """Text may change without a run; a run that fails does not undo the others."""
    pytest.importorskip("nbformat", reason="no site is built here: make docs installs it")
    monkeypatch.setattr(sys, "path", [str(SITE), *sys.path])
    import running

    runs = []

    class Here:
        """A pool that runs at once, in this process."""

        def __init__(self, jobs):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def submit(self, function, path):
            from concurrent.futures import Future

            done = Future()
            try:
                done.set_result(function(path))
            except RuntimeError as error:
                done.set_exception(error)
            return done

    def executed(path):
        runs.append(path.name)
        made = running.notebook(path.read_text(encoding="utf-8"))
        if "fails" in made.cells[1].source:
            raise RuntimeError("it failed")
        from nbformat.v4 import new_output

        made.cells[1].outputs = [new_output("stream", name="stdout", text="found")]
        made.metadata |= {"seconds": 90.0, "cpu_seconds": 66.0, "modules": ["graphs"]}
        return made

    state = {"graphs": "a", "ppl_gen": "a"}
    paths = [tmp_path / "01_one.py", tmp_path / "02_two.py"]
    monkeypatch.setattr(running, "ProcessPoolExecutor", Here)
    monkeypatch.setattr(running, "executed", executed)
    monkeypatch.setattr(running, "tutorials", lambda: paths)
    monkeypatch.setattr(running, "RUN_MINUTES", tmp_path / "minutes.json")
    monkeypatch.setattr(running, "modules", lambda: dict(state))
    paths[0].write_text("# %% [markdown]\n# # One\n\n# %%\nx = 1\n")
    paths[1].write_text("# %% [markdown]\n# # Two\n\n# %%\nfails = 2\n")
    with pytest.raises(RuntimeError, match=r"02_two\.py: it failed"):
        running.with_results(tmp_path / "run-full", 1)
    assert running.minutes() == {"01_one": 1.1}
    paths[0].write_text("# %% [markdown]\n# # One\n#\n# Reworded.\n\n# %%\nx = 1\n")
    paths[1].write_text("# %% [markdown]\n# # Two\n\n# %%\nx = 2\n")
    runs.clear()
    found = running.with_results(tmp_path / "run-full", 1)
    assert runs == ["02_two.py"]
    assert "Reworded" in found[paths[0]].cells[0].source
    assert found[paths[0]].cells[1].outputs[0].text == "found"
    assert running.minutes() == {"01_one": 1.1, "02_two": 1.1}
    assert len(list((tmp_path / "run-full").iterdir())) == 2
    runs.clear()
    state["ppl_gen"] = "b"  # which these do not import
    running.with_results(tmp_path / "run-full", 1)
    assert runs == []
    state["graphs"] = "b"
    running.with_results(tmp_path / "run-full", 1)
    assert runs == ["01_one.py", "02_two.py"]
    running.with_results(tmp_path / "run-smoke", 1)
    assert running.minutes() == {"01_one": 1.1, "02_two": 1.1}
    del sys.modules["running"]


def test_a_module_is_known_by_its_name(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(SITE), *sys.path])
    import running

    found = running.modules()
    assert {"graphs", "graphs.inference", "ppl_gen", "ppl_gen.zoo.saving", "_runner"} <= set(found)
    assert found["graphs"] != found["ppl_gen"]
    del sys.modules["running"]


def test_comments_and_docstrings_of_the_code_may_change_without_a_run(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(SITE), *sys.path])
    import running

    bare = running._statements("class A:\n    x = 'kept'\n    def f(self):\n        return 1\n")
    told = (
        "'of a module'\n# why\nclass A:\n    'of a class'\n    x = 'kept'\n"
        "    def f(self):\n        'of a method'\n\n        return 1  # so\n"
    )
    assert running._statements(told) == bare
    for changed in (told.replace("1", "2"), told.replace("kept", "other"), told + "f(1)\n"):
        assert running._statements(changed) != bare
    del sys.modules["running"]


def test_a_tutorial_is_run_where_it_lies(tmp_path, monkeypatch):
    """By a kernel that works in another folder than the one who asks it, in the same sockets."""
    pytest.importorskip(
        "nbclient", reason="no site is built here: make docs installs what it needs"
    )
    monkeypatch.setattr(sys, "path", [str(SITE), *sys.path])
    monkeypatch.chdir(tmp_path)
    import running

    folder = tmp_path / "elsewhere"
    folder.mkdir()
    path = folder / "tutorial.py"
    path.write_text(
        "# %% [markdown]\n# # A title\n\n# %%\nfrom pathlib import Path\n\nimport graphs\n\n"
        "Path.cwd().name"
    )
    found = running.executed(path)
    assert found.cells[1].outputs[0].data["text/plain"] == "'elsewhere'"
    assert found.metadata["cpu_seconds"] > 0
    assert "graphs" in found.metadata["modules"]
    assert "ppl_gen" not in found.metadata["modules"]
    assert len(found.cells) == 2  # what asked the kernel is not shown
    assert not list(tmp_path.rglob("kernel*"))
    path.write_text("# %%\nimport warnings\n\nwarnings.warn('seen by readers')")
    with pytest.raises(
        RuntimeError, match=r"expected no warning in tutorial\.py, got .*seen by rea"
    ):
        running.executed(path)
    del sys.modules["running"]


def test_no_class_shows_arguments_that_it_does_not_take(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(SITE), *sys.path])
    from collections import namedtuple
    from typing import Protocol

    import conf
    from torch import nn

    class Inherits(nn.Module):
        pass

    class Takes(nn.Module):
        def __init__(self, size):
            super().__init__()

    class Asks(Protocol):
        pass

    def shown(value, what="class"):
        return conf.say_no_arguments(None, what, "name", value, None, "(*args, **kwargs)", "")

    assert shown(Inherits) == ("()", "")
    assert shown(Asks) == ("()", "")
    assert shown(Takes) is None
    assert shown(len, "function") is None
    assert shown(namedtuple("Named", "x")) is None  # its __init__ has no module
    assert shown(UserWarning) is None
    for name in ("conf", "learn", "markup", "running"):
        sys.modules.pop(name, None)


def test_defaults_that_are_no_python_are_named(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(SITE), *sys.path])
    import conf

    def shown(signature):
        return conf.name_defaults(None, "class", "name", None, None, signature, "-> Tensor")

    signature = "(names: ~collections.abc.Mapping = <factory>, to: type = <class 'a.b.ReLU'>)"
    named = "(names: ~collections.abc.Mapping = ..., to: type = ReLU)"
    assert shown(signature) == (named, "-> Tensor")
    assert shown("(x: int = 1)") is None
    for name in ("conf", "learn", "markup", "running"):
        sys.modules.pop(name, None)


def test_code_within_lines_links_to_the_name_that_it_calls(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(SITE), *sys.path])
    import markup

    def code(text):
        words = " ".join(f'<span class="pre">{word}</span>' for word in text.split())
        return f'<code class="docutils literal notranslate">{words}</code>'

    def linked(text):
        return markup.linked(text, {"graphs.query": "q.html", "ppl_gen.fit": "f.html"}.get)

    for text, page in {
        "graphs.query": "q.html",
        "not graphs.query(model, &quot;a | b&quot;).explain()": "q.html",
        "ppl_gen.fit(ppl_gen.Pair(model, guide), data)": "f.html",
        "ppl_gen.fit.run": "f.html",
    }.items():
        link = f'<a class="reference internal" href="{page}">{code(text)}</a>'
        assert linked(f"Ask {code(text)}.") == f"Ask {link}."
    for text in ("graphs", "graphs.queries", "query", "from graphs.query", "ppl_gen.fitted(x)"):
        assert linked(code(text)) == code(text)
    kept = f'<a href="x">{code("graphs.query")}</a><h2>{code("graphs.query")}</h2><pre>a</pre>'
    assert linked(kept) == kept
    assert linked(kept + code("ppl_gen.fit")).startswith(f'{kept}<a class="reference internal"')
    del sys.modules["markup"]


def test_names_break_between_words_and_pictures_say_their_size(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(SITE), *sys.path])
    import markup

    assert markup.breaking("ppl_gen.zoo.beta_vae") == ("ppl_<wbr>gen.<wbr>zoo.<wbr>beta_<wbr>vae")
    assert markup.breaking("How do I resume a run?") == "How do I resume a run?"
    plt.imsave(tmp_path / "p.png", [[0.0, 1.0, 0.0]])

    def sized(text):
        return markup.sized(text, {"p.png": tmp_path / "p.png"}.get)

    picture = '<img alt="a" src="../_images/p.png" />'
    assert sized(picture) == '<img width="3" height="1" alt="a" src="../_images/p.png" />'
    assert sized(sized(picture)) == sized(picture)
    for other in ('<img src="../_images/q.png">', '<img class="thumb" src="thumbnails/p.png">'):
        assert sized(other) == other
    del sys.modules["markup"]


def test_types_of_attributes_are_as_short_as_those_of_arguments(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(SITE), *sys.path])
    import conf

    lines = [
        ":ivar cost: of torch.Tensor values.",
        ":vartype cost: collections.abc.Callable[[torch.Tensor], int] | None",
        ":vartype bound: ~torch.Tensor",
    ]
    conf.shorten_types(None, "class", "name", None, None, lines)
    assert lines == [
        ":ivar cost: of torch.Tensor values.",
        ":vartype cost: ~collections.abc.Callable[[~torch.Tensor], int] | None",
        ":vartype bound: ~torch.Tensor",
    ]
    for name in ("conf", "learn", "markup", "running"):
        sys.modules.pop(name, None)
