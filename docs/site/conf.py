"""How Sphinx builds the site from the sources that ``assemble.py`` puts together."""

import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT), str(HERE)]

from markup import finish  # noqa: E402
from thumbnails import thumbnails  # noqa: E402

project = "ppl-gen"
author = copyright = "The ppl-gen developers"
version = release = re.search(
    r'__version__ = "(.*)"', (ROOT / "ppl_gen" / "__init__.py").read_text(encoding="utf-8")
)[1]

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx_design",
    "sphinx_copybutton",
]
source_suffix = {".rst": "restructuredtext", ".md": "myst-nb", ".ipynb": "myst-nb"}
root_doc = "index"

myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
# A tutorial's title is its page's; pages of results begin with tables as they please.
suppress_warnings = ["myst.header"]
nb_execution_mode = "off"  # assemble.py has run the tutorials, several at once
nb_merge_streams = True

autodoc_typehints_format = "short"
maximum_signature_line_length = 88  # longer ones have a line for each argument
autodoc_default_options = {"exclude-members": "forward, extra_repr"}
napoleon_use_ivar = True
napoleon_use_rtype = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# MathJax with all its fonts is a file of the site; nothing is fetched from elsewhere.
mathjax_path = "mathjax/tex-svg.js"
mathjax3_config = {"options": {"enableMenu": False}}

html_theme = "pydata_sphinx_theme"
html_favicon = str(HERE / "static" / "icon.svg")
html_context = {"default_mode": "auto"}
html_title = f"ppl-gen {release}"
html_static_path = [str(HERE / "static"), str(HERE / "vendor")]
html_css_files = ["site.css"]
html_extra_path = [str(ROOT / "build" / "site" / "extra")]
html_domain_indices = False  # the reference is listed by task
html_show_sourcelink = False
html_copy_source = False
html_sidebars = {"**": []}
html_theme_options = {
    "logo": {"text": "ppl-gen"},
    "navbar_align": "left",
    "header_links_before_dropdown": 7,
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "back_to_top_button": False,
}


def join_names(app, what, name, value, options, lines):
    """Attributes described together, ``x, y: cause and effect``, without the space between them.

    Sphinx takes what is before the last space for a type; the mark instead has no width.
    """
    for i, line in enumerate(lines):
        if found := re.match(r":ivar (\w+(?:, \w+)+):", line):
            lines[i] = line.replace(found[1], found[1].replace(", ", ",\N{ZERO WIDTH SPACE}"), 1)


def shorten_types(app, what, name, value, options, lines):
    """Types of attributes by their names alone, as in signatures; links go where they went."""
    for i, line in enumerate(lines):
        if found := re.match(r":vartype [^:]+: ", line):
            types = re.sub(r"(?<![~.\w])\w+(?:\.\w+)+", r"~\g<0>", line[found.end() :])
            lines[i] = found[0] + types


def say_no_arguments(app, what, name, value, options, signature, returned):
    """Leave out the ``*args, **kwargs`` of classes that inherit them and take none."""
    inherited = getattr(value.__init__, "__module__", None)  # that of tuples has no module
    if what == "class" and inherited in ("torch.nn.modules.module", "typing"):
        return "()", returned
    return None


def name_defaults(app, what, name, value, options, signature, returned):
    """Name the defaults that are no text of Python: Sphinx then sets every argument apart."""
    if signature and "<" in signature:
        named = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", signature)
        return named.replace("<factory>", "..."), returned
    return None


def skip_fields(app, what, name, value, skip, options):
    """Leave out the fields of tuples, whose docstrings are Python's own and say nothing."""
    return True if (getattr(value, "__doc__", "") or "").startswith("Alias for field") else None


def keep_together(app, tree):
    """Formulas with what is written against them: a line would else begin with a comma."""
    from docutils import nodes

    for formula in list(tree.findall(nodes.math)):
        after = formula.next_node(descend=False, siblings=True)
        found = isinstance(after, nodes.Text) and re.match(r"[^\s–—]+", after)
        if found and len(found[0]) < 12:
            together = nodes.inline(classes=["together"])
            formula.replace_self(together)
            together += [formula, nodes.Text(found[0])]
            after.parent.replace(after, nodes.Text(after[len(found[0]) :]))


def setup(app):
    """Name things as they are; finish pages; make thumbnails of the tutorials once these exist."""
    app.connect("doctree-read", keep_together)
    app.connect("autodoc-process-docstring", join_names, priority=900)
    app.connect("autodoc-process-docstring", shorten_types, priority=900)
    app.connect("autodoc-process-signature", say_no_arguments)
    app.connect("autodoc-process-signature", name_defaults)
    app.connect("autodoc-skip-member", skip_fields)
    app.connect("html-page-context", finish)
    app.connect("build-finished", thumbnails)
