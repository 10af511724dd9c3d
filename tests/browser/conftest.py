"""A real browser: Debian's chromium, driven by playwright.

Where one of the two is missing the tests are skipped and say how to get it, unless the environment
has ``REQUIRE_BROWSER``, as in ``.ci/run``.
"""

import os
import shutil

import pytest
from browser_visits import Visit

from graphs.interactive.server import Server
from graphs.interactive.session import Session

FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
)  # fmt: skip


def missing(what: str) -> None:
    if os.environ.get("REQUIRE_BROWSER"):
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(scope="session")
def browser():
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    if path is None:
        missing("no chromium: apt-get install chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("no playwright: pip install playwright")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield running
        running.close()


@pytest.fixture
def visit(browser):
    """Opens a page on a model; afterwards it must not have complained or asked anyone else."""
    servers, visits = [], []

    def go(model, hand="mouse", complaints=False, **options):
        session = Session(model, **{k: options.pop(k) for k in list(options) if k in STARTS})
        server = Server(session).start()
        servers.append(server)
        found = Visit(browser, session, hand, server.url, **options)
        visits.append((found, server, complaints))
        return found

    yield go
    for found, server, expected in visits:
        found.context.close()
        foreign = [url for url in found.requests if not url.startswith(server.url.split("#")[0])]
        assert not [url for url in foreign if not url.startswith(("blob:", "data:"))]
        assert expected or not found.complaints
    for server in servers:
        server.close()


STARTS = ("query", "evidence", "claim", "args", "kwargs", "quiz")
