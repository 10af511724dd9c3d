"""The built site in a browser: nothing from outside, nothing broken, everything found.

`make docs` builds it, which takes minutes, so these tests are skipped where there is none.
"""

import http.server
import re
import threading
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "build" / "site" / "html"

pytestmark = pytest.mark.skipif(
    not (SITE / "searchindex.js").is_file(), reason="no site: make docs builds it"
)


SILENT = ("pre", "code", "script", "style", "title")  # where a dollar is a dollar


class Prose(HTMLParser):
    """The text of a page without its code."""

    def __init__(self, text: str):
        super().__init__()
        self.inside: list[str] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag in SILENT:
            self.inside.append(tag)

    def handle_endtag(self, tag):
        if self.inside and self.inside[-1] == tag:
            self.inside.pop()

    def handle_data(self, data):
        if not self.inside:
            self.text.append(data)


class Links(HTMLParser):
    """What a page links to, the places in it that can be linked to, and its text in examples."""

    def __init__(self, text: str):
        super().__init__()
        self.targets: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.places |= {found[key] for key in ("id", "name") if found.get(key)}
        for key in ("href", "src"):
            if tag != "link" and found.get(key):
                self.targets.append(found[key])


@pytest.fixture(scope="module")
def pages():
    found = {}
    for path in sorted(SITE.rglob("*.html")):
        if "_static" not in path.parts:
            found[path.relative_to(SITE).as_posix()] = path.read_text(encoding="utf-8")
    return found


@pytest.fixture(scope="module")
def links(pages):
    return {name: Links(text) for name, text in pages.items()}


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def address():
    handler = partial(Quiet, directory=str(SITE))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture
def visited(browser, address):
    """A page that keeps what it asked for and complained of; both are looked at afterwards."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.set_default_timeout(30_000)
    requests, complaints = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(request.url))
    yield page
    context.close()
    assert not [url for url in requests if not url.startswith((address, "data:", "blob:"))]
    assert not complaints


def test_every_internal_link_resolves(links):
    lost = []
    for name, found in links.items():
        for target in found.targets:
            if urlsplit(target).scheme or target.startswith("//"):
                continue
            whole, place = urldefrag(urljoin(f"/{name}", target))
            path = unquote(urlsplit(whole).path).lstrip("/") or "index.html"
            known = links[path].places if path in links else {unquote(place)}
            if not (SITE / path).is_file() or (place and unquote(place) not in known):
                lost.append((name, target))
    assert not lost, lost[:20]


def test_nothing_is_loaded_from_elsewhere(pages):
    for name, text in pages.items():
        loads = re.findall(r'<(?:script|img|iframe)[^>]*\ssrc="(https?:)?//', text)
        styles = re.findall(r'<link[^>]*rel="(?:stylesheet|preload)"[^>]*href="https?://', text)
        assert not loads, name
        assert not styles, name


def test_every_public_name_has_a_page_with_an_example(pages):
    import sys

    sys.path.insert(0, str(ROOT / "docs" / "site"))
    try:
        import reference
    finally:
        sys.path.pop(0)
    import inspect

    for package in ("graphs", "ppl_gen"):
        reference_names = [n for p, _, names in reference.tasks() if p == package for n in names]
        assert len(reference_names) > 60
        for name in reference_names:
            page = pages[f"reference/{reference.document(name, reference_names)}.html"]
            value = reference.resolve(name)
            if inspect.isclass(value) or inspect.isroutine(value):
                assert "&gt;&gt;&gt; " in page or 'class="gp"' in page, name


KINDS = [
    "index.html",
    "start.html",
    "learn.html",
    "howto/index.html",
    "reference/index.html",
    "reference/graphs.query.html",
    "docs/results/README.html",
    "beside.html",
    "CHANGELOG.html",
    "tutorials/01_bayesian_networks.html",
]


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("width", [1280, 390])
def test_a_page_of_each_kind_is_whole_at_both_widths(visited, address, name, width):
    visited.set_viewport_size({"width": width, "height": 800})
    visited.goto(address + name, wait_until="networkidle")
    assert visited.locator("h1").first.inner_text()
    assert visited.evaluate("document.documentElement.scrollWidth") <= width


def test_no_page_pushes_out_of_a_phone(browser, address, pages):
    """All but the reference, whose pages are alike: of that every tenth.

    Pages are left before they have fetched all that they may, so what failed is not asked for.
    """
    phone = browser.new_page(viewport={"width": 390, "height": 800})
    phone.set_default_timeout(60_000)
    listed = [name for name in pages if not name.startswith("reference/")]
    listed += [name for name in pages if name.startswith("reference/")][::10]
    wide = []
    for name in listed:
        phone.goto(address + name, wait_until="load")
        phone.wait_for_function("!window.MathJax?.startup || MathJax.startup.document?.state()")
        if phone.evaluate("document.documentElement.scrollWidth") > 390:
            wide.append(name)
    phone.close()
    assert len(listed) > 80
    assert not wide


def test_figures_can_be_read_on_a_phone(visited, address):
    """They keep a width of their own, and scroll in their place."""
    visited.set_viewport_size({"width": 390, "height": 800})
    for name in ("tutorials/01_bayesian_networks.html", "docs/results/diffusion.html"):
        visited.goto(address + name, wait_until="load")
        widths = visited.locator(".bd-article img").evaluate_all(
            "all => all.map(i => [i.clientWidth, i.naturalWidth])"
        )
        assert widths
        assert all(shown >= min(natural, 700) for shown, natural in widths), (name, widths)


def test_every_figure_says_what_it_shows(pages):
    """In words: Sphinx gives a figure without them the name of its file."""
    for name, text in pages.items():
        body = text[text.find("<article") : text.find("</article>")]
        for image in re.findall(r"<img [^>]*>", body):
            (alt,) = re.findall(r'alt="([^"]*)"', image)
            assert 'class="thumb"' in image or (len(alt) > 10 and "/" not in alt), (name, image)


def test_no_formula_is_left_as_text(pages):
    """As where a line of it begins with a sign that makes it an item of a list."""
    left = {}
    for name, text in pages.items():
        body = text[text.find("<article") : text.find("</article>")]
        prose = re.sub(r"\\\(.*?\\\)|\\\[.*?\\\]", "", "".join(Prose(body).text), flags=re.DOTALL)
        if found := re.search(r".{0,40}(\$|\\[a-z]+\b).{0,40}", prose):
            left[name] = found[0]
    assert not left


def test_formulas_are_set(visited, address):
    visited.goto(address + "tutorials/01_bayesian_networks.html", wait_until="networkidle")
    visited.wait_for_selector("mjx-container svg")
    assert visited.locator("mjx-container svg").count() > 5
    assert not visited.locator("mjx-merror").count()


def test_no_formula_within_a_line_is_cut_on_a_phone(visited, address, pages):
    """Those on lines of their own scroll; others must fit, or stand on a line of their own."""
    visited.set_viewport_size({"width": 390, "height": 800})
    cut = {}
    for name in (name for name in pages if name.startswith("tutorials/")):
        visited.goto(address + name, wait_until="networkidle")
        visited.evaluate("window.MathJax?.startup?.promise")
        found = visited.locator("p mjx-container:not([display]), li mjx-container:not([display])")
        wide = found.evaluate_all(
            """all => all.filter(m => !m.closest("table")
                && m.getBoundingClientRect().right > innerWidth - 16)
                .map(m => m.closest("p, li").textContent.slice(0, 60))"""
        )
        if wide:
            cut[name] = wide
    assert not cut


def test_search_finds_query(visited, address):
    visited.goto(address + "search.html?q=query", wait_until="networkidle")
    visited.wait_for_selector("#search-results li a")
    found = visited.locator("#search-results li a").evaluate_all("all => all.map(a => a.href)")
    assert any("reference/graphs.query.html" in link for link in found)


def test_a_card_leads_to_its_tutorial_and_both_downloads(visited, address):
    visited.goto(address + "learn.html", wait_until="networkidle")
    cards = visited.locator(".sd-card")
    assert cards.count() == len(list((ROOT / "tutorials").glob("[0-9][0-9]_*.py")))
    for card in cards.all():
        links = card.locator("a").evaluate_all("all => all.map(a => a.getAttribute('href'))")
        assert any(link.endswith(".py") for link in links)
        assert any(link.endswith(".ipynb") for link in links)
        assert "min to read" in card.inner_text()
