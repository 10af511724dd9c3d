"""What a newcomer meets: names mistyped, objects shown in a notebook, what is installed."""

import importlib
import inspect
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import get_args

import networkx as nx
import pyro
import pytest
import torch

import graphs
import ppl_gen
from graphs.language.suggestions import nearest
from ppl_gen.app import cli
from ppl_gen.app.page import Section, to_html
from ppl_gen.zoo import registry

ROOT = Path(__file__).resolve().parents[1]


# --- Names ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "wrong", "meant"),
    [
        ("graphs", "querry", "query"),
        ("graphs", "junctiontree", "JunctionTree"),
        ("ppl_gen", "fitt", "fit"),
        ("ppl_gen.zoo", "betavae", "beta_vae"),
        ("ppl_gen.metrics", "elboterms", "ELBOTerms"),
        ("ppl_gen.data", "mnits", "mnist"),
        ("ppl_gen.samplers", "langevim", "langevin"),
    ],
)
def test_the_attribute_that_was_meant_is_named(module, wrong, meant):
    with pytest.raises(AttributeError, match=rf"no attribute '{wrong}' \(did you mean '{meant}'"):
        getattr(importlib.import_module(module), wrong)


def _public_modules():
    """The modules that are names of either package."""
    return sorted(
        value.__name__
        for package in (graphs, ppl_gen, ppl_gen.objectives)
        for value in (getattr(package, name) for name in package.__all__)
        if isinstance(value, ModuleType)
    )


@pytest.mark.parametrize("module", _public_modules())
def test_every_public_module_names_what_was_meant(module):
    found = importlib.import_module(module)
    known = getattr(found, "__all__", None) or [
        name
        for name, value in vars(found).items()
        if inspect.isfunction(value) or inspect.isclass(value)
        if value.__module__ == module and not name.startswith("_")
    ]
    assert known
    for name in known:
        half = len(name) // 2
        slips = {
            name[:half] + name[half + 1 :],
            name + "x",
            name.swapcase(),
            name[1::-1] + name[2:],
        }
        for wrong in slips - set(dir(found)) - set(vars(found)):
            if len(name) < 4:
                continue
            with pytest.raises(AttributeError) as refusal:
                getattr(found, wrong)
            said = str(refusal.value)
            hint = re.search(rf"'{module}' .* '{wrong}' \(did you mean '(.*)'\?\)", said)
            assert hint, said
            assert hint[1] == name or hint[1].lower() in _one_slip(wrong.lower(), hint[1].lower())


def _one_slip(text, letters):
    """The text with one letter added, dropped, changed or changed over with the next."""
    return {
        text[:i] + new + text[j:]
        for i in range(len(text) + 1)
        for j in (i, i + 1, i + 2)
        for new in ("", *letters, text[i : i + 2][::-1])
        if len(new) != 2 or j == i + 2
    }


@pytest.mark.parametrize(
    ("wrong", "known", "meant"),
    [
        ("vea", ["veegan", "vae", "tc_vae"], "vae"),
        ("smok", ["Smoke", "smoke"], "smoke"),
        ("SMOK", ["Smoke", "dysp"], "Smoke"),
        ("lat", ["hidden", "latent_dim"], "latent_dim"),
        ("b", ["a", "c"], None),
    ],
)
def test_the_name_that_the_fewest_slips_lead_to_is_meant(wrong, known, meant):
    assert nearest(wrong, known) == meant


def test_a_name_far_from_every_other_gets_no_suggestion():
    with pytest.raises(AttributeError, match=r"no attribute 'qqqqqq'$"):
        graphs.qqqqqq  # noqa: B018
    assert not hasattr(ppl_gen, "__wrapped__")


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("vae", "latent", r"vae\(\) got an unexpected .* \(did you mean 'latent_dim'\?\)"),
        (
            "beta_vae",
            "latent",
            r"beta_vae\(\) got an unexpected .* \(did you mean 'latent_dim'\?\)",
        ),
        ("beta_vae", "hiden", r"\(did you mean 'hidden'\?\)"),
        ("wgan_gp", "critic_step", r"\(did you mean 'critic_steps'\?\)"),
        ("score_sde", "predict", r"\(did you mean 'predicts'\?\)"),
    ],
)
def test_the_keyword_that_was_meant_is_named(name, wrong, message):
    with pytest.raises(TypeError, match=message):
        registry[name].build((4,), **{wrong: 3})


@pytest.mark.parametrize(
    ("name", "part"), [("beta_vae", "objective"), ("wgan", "loss"), ("ncsn", "noise")]
)
def test_a_part_that_makes_the_model_cannot_be_given(name, part):
    with pytest.raises(ValueError, match=f"expected no {part} for {name}, which has its own"):
        registry[name].build((4,), **{part: None})


def test_types_of_parts_are_those_of_the_family():
    """A keyword of a variant's ``**parts`` is one of its family, annotated alike."""
    unpacked = 0
    for entry in registry.values():
        build = inspect.unwrap(entry.build)
        spread = [
            p for p in inspect.signature(build).parameters.values() if p.kind is p.VAR_KEYWORD
        ]
        if not spread or "Unpack" not in str(spread[0].annotation):
            continue
        unpacked += 1
        module = sys.modules[build.__module__]
        (kind,) = get_args(eval(str(spread[0].annotation), vars(module)))
        bases = [inspect.signature(registry[n].build).parameters for n in ("vae", "gan", "ddpm")]
        base = next(b for b in bases if set(kind.__annotations__) <= set(b))
        for keyword, hint in kind.__annotations__.items():
            assert hint.__forward_arg__ == base[keyword].annotation, (entry.name, keyword)
    assert unpacked > 25


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian", "vae"], "got trian (did you mean 'train'?)"),
        (["train", "betavae"], "got betavae (did you mean 'beta_vae'?)"),
        (["train", "vea"], "got vea (did you mean 'vae'?)"),
        (["train", "beta_vae", "--bta", "3"], "did you mean '--beta'?"),
        (["train", "vae", "--latnet-dim", "3"], "did you mean '--latent-dim'?"),
        (["train", "gan", "--batchsize", "3"], "did you mean '--batch-size'?"),
        (["sample", "run", "--guidence", "2"], "did you mean '--guidance'?"),
        (["evaluate", "run", "--jsn"], "did you mean '--json'?"),
        (["tour", "--smke"], "did you mean '--smoke'?"),
    ],
)
def test_the_command_line_names_what_was_meant(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_both_commands_know_their_version(capsys):
    from graphs.__main__ import main

    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert main(["--version"]) == 0
    printed = capsys.readouterr().out
    assert printed == f"ppl-gen {ppl_gen.__version__}\ngraphs {ppl_gen.__version__}\n"


def test_a_bare_command_shows_an_example_that_runs(capsys):
    import shlex

    from graphs.__main__ import main

    assert main([]) == 2
    example = capsys.readouterr().err.strip().splitlines()[-1]
    assert main(shlex.split(example)[3:]) == 0
    assert "A ⟂ C | B holds" in capsys.readouterr().out


# --- Messages ---------------------------------------------------------------------------------


def test_a_query_in_pieces_says_where_sets_go():
    with pytest.raises(
        ValueError, match=r"such as 'M _\|\|_ F \| D', got 3 arguments; graphs.indep"
    ):
        graphs.query(graphs.textbook.diagnosis(), "M", "F", "D")
    with pytest.raises(graphs.ParseError, match=r"as in M _\|\|_ F \| D"):
        graphs.query(graphs.textbook.diagnosis(), "M, F | D")


def test_an_svi_is_told_of_the_pair_that_holds_its_programs():
    vae = ppl_gen.zoo.vae((4,), 2, hidden=4)
    svi = pyro.infer.SVI(vae.model, vae.guide, pyro.optim.Adam({"lr": 1e-3}), vae.objective)
    with pytest.raises(ValueError, match=r"of an SVI ppl_gen.Pair\(svi.model, svi.guide,"):
        ppl_gen.fit(svi, torch.zeros(3, 4))


def test_data_of_another_shape_say_how_to_build_the_model():
    with pytest.raises(ValueError, match=r"build it with data_shape=\(1, 64, 64\)"):
        ppl_gen.fit(ppl_gen.zoo.vae(hidden=4), torch.zeros(4, 1, 64, 64))


# --- Notebooks --------------------------------------------------------------------------------


def test_a_tree_shows_its_cost_and_states():
    shown = graphs.JunctionTree(graphs.textbook.asia())._repr_html_()
    assert "<th>treewidth</th><td>2</td>" in shown
    assert "<th>smoke</th><td>yes, no</td>" in shown


def test_names_in_a_table_are_escaped():
    tables = [("<b>", (), [0.5, 0.5])]
    tree = graphs.JunctionTree(graphs.bayesian_network(tables, states={"<b>": ("<i>", "&")}))
    assert "<th>&lt;b&gt;</th><td>&lt;i&gt;, &amp;</td>" in tree._repr_html_()


@pytest.mark.parametrize("name", ["vae", "hierarchical_vae", "gan", "ddpm", "cycle_gan"])
def test_a_model_shows_its_parts_and_all_parameters(name):
    import re

    model = registry[name].build((4,), hidden=8)
    shown = model._repr_html_()
    sizes = re.findall(r"<td>([\d,]+)</td></tr>", shown)
    assert sum(int(size.replace(",", "")) for size in sizes) == sum(
        p.numel() for p in model.parameters()
    )


def test_a_history_shows_its_curve_and_last_step():
    history = ppl_gen.History()
    assert "nothing" in history._repr_html_()
    history.record({"temperature": 3.0})
    assert "<svg" not in history._repr_html_()
    history.record({"elbo": -3.5, "temperature": 2.0})
    assert history._repr_html_().startswith("<svg")
    assert "<td>2</td><td>2</td><td>-3.5</td>" in history._repr_html_()


def test_the_extension_shows_networks_as_pictures():
    formatters = {}
    html = SimpleNamespace(
        for_type_by_name=lambda module, name, show: formatters.update({f"{module}.{name}": show}),
        pop=formatters.pop,
    )
    shell = SimpleNamespace(display_formatter=SimpleNamespace(formatters={"text/html": html}))
    graphs.load_ipython_extension(shell)
    ((known, show),) = formatters.items()
    assert known == f"{nx.Graph.__module__}.{nx.Graph.__name__}"
    for network in (graphs.textbook.asia(), nx.path_graph(3, nx.DiGraph)):
        assert isinstance(network, nx.Graph)
        assert show(network).count("<svg") == 1
    assert show(nx.path_graph(200)) is None
    graphs.unload_ipython_extension(shell)
    assert not formatters


def test_the_tour_page_is_made_for_phones():
    page = to_html("t", [Section("one", "text", [("a", "b"), ("1", "2")])])
    assert 'name="viewport"' in page
    assert '<div class="wide"><table>' in page
    assert '<a href="#stop-1">one</a>' in page


# --- Installation -----------------------------------------------------------------------------


def interpreters() -> list[str]:
    """Other interpreters of Python that may be at hand, by version."""
    versions = [f"3.{minor}" for minor in range(12, 20) if minor != sys.version_info.minor]
    pyenv = Path.home() / ".pyenv" / "versions"
    found = []
    for version in versions:
        own = [str(p) for p in sorted(pyenv.glob(f"{version}.*/bin/python"))]
        known = (shutil.which(f"python{version}"), *own)
        found += [path for path in known if path and runs(path)][:1]
    return found


def runs(python: str) -> bool:
    """Whether it is an interpreter, and not a stand-in for one that is not chosen."""
    return not subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode


@pytest.mark.parametrize("python", interpreters() or [pytest.param("", marks=pytest.mark.skip)])
def test_structure_is_answered_on_later_pythons(python, tmp_path):
    """With networkx and lazy_loader alone, which are the same files for every version."""
    for name in ("networkx", "lazy_loader", "packaging"):
        folder = Path(importlib.import_module(name).__file__).parent
        (tmp_path / name).symlink_to(folder)
    done = subprocess.run(
        [python, "-m", "graphs", "P(M)P(S)P(F)P(I|M,S)P(T|F)P(D|I,T)", "M _||_ F | D"],
        env={"PYTHONPATH": f"{ROOT}:{tmp_path}", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "M → I → D ← T ← F" in done.stdout


def test_an_editable_install_is_a_path_that_type_checkers_follow(tmp_path, monkeypatch):
    """With the setting of the Makefile and the README, which both name it."""
    setting = "--config-settings editable_mode=compat"
    assert setting in (ROOT / "Makefile").read_text(encoding="utf-8")
    assert setting in (ROOT / "README.md").read_text(encoding="utf-8")
    source = tmp_path / "source"
    source.mkdir()
    (source / "docs" / "package").mkdir(parents=True)
    described = "docs/package/description.md"
    for name in ("setup.cfg", "pyproject.toml", described, "LICENSE"):
        (source / name).write_bytes((ROOT / name).read_bytes())
    for package in ("graphs", "ppl_gen"):
        (source / package).mkdir()
        (source / package / "__init__.py").write_text('__version__ = "0.0"\n')
    monkeypatch.chdir(source)
    build = (
        "from setuptools import build_meta as b; "
        f"print(b.build_editable({str(tmp_path)!r}, {{'editable_mode': 'compat'}}))"
    )
    done = subprocess.run([sys.executable, "-c", build], capture_output=True, text=True, check=True)
    wheel = zipfile.ZipFile(tmp_path / done.stdout.splitlines()[-1])
    (path,) = [name for name in wheel.namelist() if name.endswith(".pth")]
    assert wheel.read(path).decode().strip() == str(source)
