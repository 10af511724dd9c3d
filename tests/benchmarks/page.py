"""How long the page takes from a click to its answer, in the browser and without it.

    python tests/benchmarks/page.py [MODEL …] [--screenshots FOLDER]

One row a model and a kind of event, milliseconds, the median of several after one to warm up; no
event comes twice. ``session`` is the processor time of :meth:`Session.handle` and its JSON.
``browser`` is from the click in chromium to the first frame that shows what came of it, by the
clock, which wants a quiet machine; ``server`` is the processor time of this process meanwhile,
``all CPU`` that of every process of chromium, its painting without a GPU included, with it. Without
chromium or playwright those columns are empty. ``drag`` and ``zoom`` are frames a second while the
mouse drags a node and while its wheel turns: the median, and what nineteen of twenty frames keep
to. Compiled code is ready before anything is measured, as it is soon after a page is opened.
``--screenshots`` writes the pictures of the documentation and does not measure.
"""

import argparse
import json
import shutil
import statistics
import sys
import time
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np

import graphs
from graphs.files.load_save import read_content
from graphs.inference.ahead import compile_ahead
from graphs.interactive.server import Server
from graphs.interactive.session import Session

DATA = Path(__file__).resolve().parents[1] / "data" / "bif"
ROUNDS, MOVES, FEW = 9, 240, 200
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
    "link": (lambda: read_content(DATA / "link.bif.gz"), "D0_59_d_p", "D0_54_d_p", "D0_43_a_x"),
    "DAG of 300": (lambda: random_dag(300), "3", "297", "298"),
    "grid of 289": (lambda: grid(17), "0", "288", "150"),
}


# Something to draw in every frame; resolves with the times of the frames.
FRAMES = """([node, kind, frames]) => new Promise((resolve) => {
  const target = document.querySelector(kind === "drag" ? `g[data-node="${node}"]` : ".gp-svg");
  const {left, top, width, height} = target.getBoundingClientRect();
  const [x, y] = [left + width / 2, top + height / 2];
  const at = (i) => ({
    view: window, bubbles: true, cancelable: true,
    clientX: x + 80 * Math.sin(i / 9), clientY: y + 60 * Math.sin(i / 7),
  });
  const times = [];
  if (kind === "drag") target.dispatchEvent(new MouseEvent("mousedown", at(0)));
  const step = (now) => {
    times.push(now);
    if (times.length > frames) {
      window.dispatchEvent(new MouseEvent("mouseup", at(0)));
      resolve(times);
      return;
    }
    if (kind === "drag") window.dispatchEvent(new MouseEvent("mousemove", at(times.length)));
    else {
      const deltaY = times.length % 60 < 30 ? -40 : 40;
      target.dispatchEvent(new WheelEvent("wheel", {...at(0), deltaY}));
    }
    requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
})"""


def events(nodes: list[str]) -> dict[str, list[dict[str, Any]]]:
    """Events of every kind, no two of them alike, so that nothing is remembered."""
    return {
        "ask": [{"type": "ask", "x": [x], "y": [y]} for x, y in pairwise(nodes)],
        "observe": [{"type": "observe", "node": v} for v in nodes],
        "select": [{"type": "select", "node": v} for v in nodes],
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


def measure(models: list[str]) -> None:
    compile_ahead()
    print(f"{'model':<12} {'event':<8} {'session':>9} {'server':>9} {'browser':>9} {'all CPU':>9}")
    for name in models:
        make, x, y, z = MODELS[name]
        start = time.process_time()
        session = Session(make())
        session.handle({"type": "bars"})
        opened = time.process_time() - start
        print(f"{name:<12} {'open':<8} {1e3 * opened:9.1f}")
        session.handle({"type": "ask", "x": [x], "y": [y]})
        drawn = [n["id"] for n in session.handle({"type": "observe", "node": z})["scene"]["nodes"]]
        nodes = [v for v in drawn if v not in (x, y, z)][: ROUNDS + 2]
        for kind, steps in events(nodes).items():
            seconds = []
            for step in steps[: ROUNDS + 1]:
                session.handle({"type": "forget"})
                session.handle({"type": "ask", "x": [x], "y": [y]})
                seen = session.handle({"type": "open"})
                known = {"seen": seen["key"], "known": seen["subject"]}
                start = time.process_time()
                reply = session.handle(step | known)
                json.dumps(reply)
                seconds.append(time.process_time() - start)
                assert reply["ok"], reply
            row = f"{name:<12} {kind:<8} {1e3 * statistics.median(seconds[1:]):9.1f}"
            if kind == "observe" and drivable():
                session = Session(session.state.subject)
                session.handle({"type": "ask", "x": [x], "y": [y]})
                row += clicked(session, nodes)
            print(row, flush=True)
        if drivable() and len(drawn) > FEW:
            for kind, found in fluency(Session(session.state.subject), nodes[0]).items():
                print(f"{name:<12} {kind:<8} {found}", flush=True)


def clicked(session: Session, nodes: list[str]) -> str:
    """Milliseconds a click: of the processor here, by the clock, of all processors together."""
    with browser_page(session) as page:
        browser = page.context.browser.new_browser_cdp_session()

        def spent() -> float:
            found = browser.send("SystemInfo.getProcessInfo")["processInfo"]
            return float(sum(process["cpuTime"] for process in found))

        targets = [page.locator(f'g[data-node="{v}"]') for v in nodes]
        targets[0].evaluate(CLICK)
        page.wait_for_timeout(500)
        start, before = time.process_time(), spent()
        times = [target.evaluate(CLICK) for target in targets[1:]]
        here = 1e3 * (time.process_time() - start) / len(times)
        there = 1e3 * (spent() - before) / len(times)
        return f" {here:9.1f} {statistics.median(times):9.1f} {here + there:9.1f}"


def fluency(session: Session, node: str) -> dict[str, str]:
    """Frames a second while a node is dragged and while the picture is zoomed."""
    with browser_page(session) as page:
        return {kind: rate(page.evaluate(FRAMES, [node, kind, MOVES])) for kind in ("drag", "zoom")}


def rate(times: list[float]) -> str:
    gaps = sorted(b - a for a, b in pairwise(times))
    usual, slow = (1e3 / gaps[int(share * len(gaps))] for share in (0.5, 0.95))
    return f"{usual:.0f} frames a second; 95 % keep to {slow:.0f}"


def screenshots(folder: Path) -> None:
    """The pictures of the documentation."""
    folder.mkdir(parents=True, exist_ok=True)
    session = Session("asia", query="tub _||_ smoke", evidence="dysp=yes")
    with browser_page(session) as page:
        page.wait_for_selector(".gp-p")
        page.set_viewport_size({"width": 1100, "height": 660})
        page.wait_for_timeout(300)
        page.screenshot(path=folder / "page.png")
    print(folder / "page.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=", ".join(MODELS))
    parser.add_argument("--screenshots", type=Path)
    options = parser.parse_args()
    if options.screenshots:
        if not drivable():
            sys.exit("expected chromium and playwright, to make screenshots with")
        screenshots(options.screenshots)
    else:
        print(f"graphs of {Path(graphs.__file__).parent}, Python {sys.version.split()[0]}")
        measure(options.models or list(MODELS))


if __name__ == "__main__":
    main()
