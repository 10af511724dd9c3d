"""How long the page takes from a click to its answer, in the browser and without it.

    python tests/benchmarks/page.py [--screenshots FOLDER]

One row a model and a kind of event, milliseconds, the median of several after one to warm up.
``session`` is the processor time of :meth:`Session.handle`, with the whole picture in its reply;
``browser`` is from the click in chromium to the first frame that shows what came of it, by the
clock, which wants a quiet machine. Without chromium or playwright that column is empty.
``--screenshots`` writes the pictures of the documentation and does not measure.
"""

import argparse
import shutil
import statistics
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np

import graphs
from graphs.files.load_save import read_content
from graphs.interactive.server import Server
from graphs.interactive.session import Session

DATA = Path(__file__).resolve().parents[1] / "data" / "bif"
ROUNDS = 9
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
# Resolves with the milliseconds from a click to the frame after the page is busy no more.
CLICK = """(node) => new Promise((resolve) => {
  const page = document.querySelector(".gp"), start = performance.now();
  const watch = new MutationObserver(() => {
    if (page.classList.contains("gp-busy")) return;
    watch.disconnect();
    requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - start)));
  });
  node.dispatchEvent(new MouseEvent("click", {bubbles: true}));
  queueMicrotask(() => watch.observe(page, {attributes: true, attributeFilter: ["class"]}));
})"""


def random_dag(size: int) -> nx.DiGraph:
    """Up to two parents for every node, among the twenty before it."""
    chosen = np.random.default_rng(0)
    dag = nx.DiGraph()
    dag.add_nodes_from(range(size))
    for v in range(1, size):
        for u in {int(chosen.integers(max(0, v - 20), v)) for _ in range(2)}:
            dag.add_edge(u, v)
    return dag


def grid(rows: int) -> nx.Graph:
    return nx.convert_node_labels_to_integers(nx.grid_2d_graph(rows, rows))


MODELS: dict[str, tuple[Any, str, str, str]] = {
    "asia": (lambda: "asia", "tub", "smoke", "dysp"),
    "alarm": (lambda: read_content(DATA / "alarm.bif.gz"), "HYPOVOLEMIA", "LVFAILURE", "CVP"),
    "link": (lambda: read_content(DATA / "link.bif.gz"), "N73_a_f", "N7_a_f", "N5_a_f"),
    "DAG of 300": (lambda: random_dag(300), "3", "297", "298"),
    "grid of 100": (lambda: grid(10), "0", "99", "50"),
}


def events(x: str, y: str, z: str) -> dict[str, list[dict[str, Any]]]:
    return {
        "ask": [{"type": "ask", "x": [x], "y": [y]}],
        "observe": [{"type": "observe", "node": z}],
        "select": [{"type": "select", "node": z}, {"type": "select", "node": None}],
    }


@contextmanager
def browser_page(session: Session, **options: Any) -> Any:
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium")
    with Server(session) as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        page = browser.new_page(viewport={"width": 1200, "height": 800}, **options)
        page.goto(server.url)
        page.wait_for_selector(".gp:not(.gp-busy) .gp-node")
        yield page
        browser.close()


def drivable() -> bool:
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return False
    return shutil.which("chromium") is not None


def measure() -> None:
    print(f"{'model':<12} {'event':<8} {'session':>9} {'browser':>9}")
    for name, (make, x, y, z) in MODELS.items():
        start = time.process_time()
        session = Session(make())
        session.handle({"type": "bars"})
        opened = time.process_time() - start
        print(f"{name:<12} {'open':<8} {1e3 * opened:9.1f}")
        for kind, steps in events(x, y, z).items():
            seconds = []
            for turn in range(ROUNDS + 1):
                start = time.process_time()
                reply = session.handle(steps[turn % len(steps)] | {"seen": "none"})
                seconds.append(time.process_time() - start)
                assert reply["ok"], reply
            row = f"{name:<12} {kind:<8} {1e3 * statistics.median(seconds[1:]):9.1f}"
            if kind == "observe" and drivable():
                with browser_page(session) as page:
                    node = page.locator(f'g[data-node="{z}"]')
                    times = [node.evaluate(CLICK) for _ in range(ROUNDS + 1)]
                row += f" {statistics.median(times[1:]):9.1f}"
            print(row, flush=True)


def screenshots(folder: Path) -> None:
    """The pictures of the documentation."""
    folder.mkdir(parents=True, exist_ok=True)
    session = Session("asia", query="tub _||_ smoke", evidence="dysp=yes")
    with browser_page(session, device_scale_factor=1.5) as page:
        page.wait_for_selector(".gp-p")
        page.screenshot(path=folder / "page.png")
    print(folder / "page.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--screenshots", type=Path)
    options = parser.parse_args()
    if options.screenshots:
        if not drivable():
            sys.exit("expected chromium and playwright, to make screenshots with")
        screenshots(options.screenshots)
    else:
        print(f"graphs of {Path(graphs.__file__).parent}, Python {sys.version.split()[0]}")
        measure()


if __name__ == "__main__":
    main()
