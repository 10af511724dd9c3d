"""The page in a browser: hostile names, small and dark screens, links, files, hosts."""

import json
import math
import re
import sys
import types

import networkx as nx
import pytest
from browser_visits import Visit

import graphs
from graphs.interactive import widget

NASTY = ["<img src=x onerror=alert(1)>", "</script><script>alert(1)</script>", '"]', "a b", "0"]


def test_no_name_is_read_as_markup(visit):
    path = nx.DiGraph([(NASTY[i], NASTY[i + 1]) for i in range(len(NASTY) - 1)])
    page = visit(path, evidence=[NASTY[2]], claim='"a b" _||_ "0"')
    page.mode("Look")
    page.press(page.node(NASTY[0]))
    page.press(page.node(NASTY[1]))
    assert page.page.locator("img, script:not([type=module])").count() == 0
    assert page.having("observed") == {NASTY[2]}
    names = page.page.locator(".gp-nodes .gp-name").all_text_contents()
    assert {"0", "a b", '"]'} <= set(names)
    assert set(
        page.page.locator("[data-node]").evaluate_all("nodes => nodes.map(n => n.dataset.node)")
    ) == set(NASTY)


def test_dragging_moves_a_node_and_undo_brings_it_back(visit):
    page = visit("A -> B, A -> C")
    box = page.node("B").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.page.mouse.move(x, y)
    page.page.mouse.down()
    page.page.mouse.move(x - 60, y + 40, steps=4)
    page.page.mouse.up()
    page.page.wait_for_selector("[aria-label=undo]:enabled")
    moved = page.node("B").bounding_box()
    assert math.hypot(moved["x"] - box["x"] + 60, moved["y"] - box["y"] - 40) < 3
    assert page.session.state.observed == {}
    page.press(page.button("undo"))
    assert page.node("B").bounding_box()["x"] == pytest.approx(box["x"], abs=1)


def test_an_arrow_is_pulled_from_a_handle(visit):
    page = visit("A -> B, C -> B")
    page.mode("Edit")
    handle, target = page.node("A").locator("circle"), page.node("C")
    start, end = handle.bounding_box(), target.bounding_box()
    page.page.mouse.move(start["x"] + 12, start["y"] + 12)
    page.page.mouse.down()
    page.page.mouse.move(end["x"] + end["width"] / 2, end["y"] + 30, steps=5)
    page.page.mouse.up()
    page.page.wait_for_selector("[aria-label='edge A -> C']")
    page.page.locator("[aria-label='edge A -> C']").focus()
    page.page.keyboard.press("Delete")
    page.page.wait_for_selector("[aria-label='edge A -> C']", state="detached")
    page.node("C").focus()
    page.page.keyboard.press("Delete")
    page.page.wait_for_selector("[data-node='C']", state="detached")


def test_the_keyboard_alone_reaches_everything(visit):
    page = visit("P(M)P(S)P(F)P(I|M,S)P(T|F)P(D|I,T)")
    page.page.locator("body").press("Tab")
    seen = set()
    for _ in range(60):
        seen.add(
            page.page.evaluate(
                "(e => e.dataset.node ?? e.dataset.key ?? e.getAttribute('aria-label') ?? "
                "e.textContent)(document.activeElement)"
            )
        )
        page.page.keyboard.press("Tab")
    assert {"a question", "Ask", "M", "D", "section Answer", "section Export and practise"} <= seen
    page.node("M").focus()
    page.page.keyboard.press("ArrowDown")
    assert page.page.evaluate("document.activeElement.dataset.node") == "I"
    before = page.node("I").bounding_box()["x"]
    page.page.keyboard.press("Alt+ArrowRight")
    page.page.wait_for_selector("[aria-label=undo]:enabled")
    assert page.node("I").bounding_box()["x"] > before


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_scrolls_down_and_not_sideways(visit, scheme):
    page = visit("asia", query="tub _||_ smoke | dysp", color_scheme=scheme)
    page.page.set_viewport_size({"width": 390, "height": 844})
    page.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.page.evaluate("document.documentElement.scrollWidth") <= 390
    light = "rgb(255, 255, 255)"
    paper = page.page.locator(".gp").evaluate("e => getComputedStyle(e).backgroundColor")
    assert (paper == light) == (scheme == "light")
    ratio = page.page.evaluate(CONTRAST)
    assert min(ratio.values()) >= 4.5, ratio


def test_numbers_too_small_for_a_phone_are_listed(visit):
    page = visit("asia", evidence="dysp=yes")
    numbers = page.page.locator(".gp-numbers")
    assert numbers.count() == 0
    page.page.set_viewport_size({"width": 390, "height": 844})
    page.press(page.node("smoke"))
    cell = numbers.locator("table", has_text="bronc").locator("td[data-p]").first
    assert float(cell.get_attribute("data-p")) == page.bar("bronc", "yes")
    assert float(cell.evaluate("e => parseFloat(getComputedStyle(e).fontSize)")) > 11
    page.press(page.page.locator("summary", has_text="Numbers"))
    assert numbers.count() == 0


CONTRAST = """() => {
  const style = (s) => getComputedStyle(document.querySelector(s));
  const luminance = (text) => {
    const [r, g, b] = text.match(/[\\d.]+/g).map(Number).map((c) => c / 255)
      .map((c) => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (a, b) => {
    const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p);
    return (x + 0.05) / (y + 0.05);
  };
  const paper = style(".gp").backgroundColor;
  const pairs = {
    text: [style(".gp").color, paper],
    hint: [style(".gp-text summary").color, paper],
    path: [style(".gp-trail.gp-active").color, paper],
  };
  for (const role of ["asked", "observed"]) {
    const node = `.gp-nodes .gp-${role} `;
    pairs[role] = [style(`${node}.gp-name`).fill, style(`${node}.gp-box`).fill];
  }
  return Object.fromEntries(Object.entries(pairs).map(([k, [a, b]]) => [k, ratio(a, b)]));
}"""


def test_a_link_brings_the_page_back(visit):
    page = visit("asia", query="tub _||_ lung | dysp")
    page.page.wait_for_url(re.compile("#.*/"))
    before = page.page.url
    page.press(page.node("dysp"))
    page.page.wait_for_url(lambda url: url != before)
    address = page.page.url
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/#[\w-]{32}/[\w-]+", address)
    page.press(page.button("Forget all"))
    assert page.verdict == "tub ⟂ lung holds."
    page.page.goto("about:blank")
    page.page.goto(address)
    page.ready()
    assert page.verdict == "tub ⟂ lung | dysp does not hold."
    assert page.bar("dysp", "yes") == 1
    page.page.goto("about:blank")
    page.page.goto(address[:-8])
    page.page.wait_for_selector(".gp-problem:not([hidden])")
    assert "a link made by this page" in page.page.get_by_role("alert").first.inner_text()
    assert page.node("dysp").count() == 1


def test_without_the_token_there_is_nothing(visit):
    page = visit("asia", complaints=True)
    page.page.goto("about:blank")
    page.page.goto(page.requests[0] + "#wrong")
    page.page.wait_for_selector(".gp-problem:not([hidden])")
    assert "expected the token" in page.page.get_by_role("alert").first.inner_text()
    assert page.page.locator(".gp-node").count() == 0


def test_a_question_half_written_survives_another_answer(visit):
    page = visit("A -> B, B -> C")
    page.page.get_by_label("a question", exact=True).fill("A _||_ C | ")
    page.press(page.node("B"))
    assert page.page.get_by_label("a question", exact=True).input_value() == "A _||_ C | "
    page.ask("A _||_ C | B")
    assert page.page.get_by_label("a question", exact=True).input_value() == "A ⟂ C | B"


def test_of_a_large_model_the_ancestors_of_the_question_are_drawn(visit):
    chain = nx.DiGraph([(f"x{i}", f"x{i + 1}") for i in range(400)])
    page = visit(chain, query="x7 _||_ x9 | x8")
    assert page.verdict == "x7 ⟂ x9 | x8 holds."
    assert page.page.locator(".gp-nodes .gp-node").count() == 10
    assert "10 of 401 nodes are drawn" in page.page.locator(".gp-note").inner_text()
    section = page.open("Node")
    section.get_by_label("find a node").fill("x12")
    page.press(section.get_by_role("button", name="Look"))
    assert page.having("blanket") == {"x11"}  # x13 is no ancestor
    assert "x13" in page.open("Node").inner_text()


def test_the_question_stays_in_sight_while_the_panel_scrolls(visit):
    page = visit("asia", query="tub _||_ smoke | dysp")
    page.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    page.open("Export and practise").scroll_into_view_if_needed()
    assert page.page.evaluate("document.documentElement.scrollTop") == 0
    page.press(page.button("Practise"))
    assert page.page.get_by_text("does it hold?").bounding_box()["y"] > 0


def test_pictures_and_texts_are_downloaded(visit, tmp_path):
    page = visit("asia", query="tub _||_ smoke | dysp")
    page.open("Export and practise")
    found = {}
    for name in ("SVG", "PNG", "DOT", "BIF"):
        with page.page.expect_download() as download:
            page.button(name).click()
        download.value.save_as(tmp_path / name)
        found[download.value.suggested_filename] = (tmp_path / name).read_bytes()
    assert set(found) == {"model.svg", "model.png", "model.dot", "model.bif"}
    assert found["model.png"].startswith(b"\x89PNG")
    assert len(found["model.png"]) > 20_000
    picture = found["model.svg"].decode()
    assert "active path" in picture
    assert "class=" not in picture
    assert picture.count(">lung<") == 1
    assert set(graphs.read_graph(found["model.dot"].decode())) == set(graphs.textbook.asia())


def test_a_saved_study_opens_without_a_server(browser, tmp_path):
    page = graphs.page("asia", query="tub _||_ smoke")
    page.handle({"type": "observe", "node": "dysp"})
    page.save(tmp_path / "study.html")
    address = (tmp_path / "study.html").as_uri()
    study = Visit(browser, page.session, url=address, offline=True)
    assert study.verdict == "tub ⟂ smoke | dysp does not hold."
    assert study.bar("dysp", "yes") == 1
    study.press(study.button("undo"))
    assert study.verdict == "tub ⟂ smoke holds."
    study.press(study.node("xray"))
    assert "saved without its library" in study.page.get_by_role("alert").first.inner_text()
    study.press(study.button("redo"))
    assert study.verdict == "tub ⟂ smoke | dysp does not hold."
    assert study.complaints == []
    assert study.requests == [address]
    study.context.close()


# What a notebook does with a widget: its module is imported from text, its style is put into the
# page, and messages go to the kernel and come back to whoever listens.
# It also keeps Enter from sending forms, as JupyterLab does, and shows the widget twice.
HOST = """<!doctype html>
<div id="cell" style="width:900px"></div><div id="second" style="width:900px"></div>
<script type="module">
document.addEventListener("beforeinput", (event) => {
  if (event.inputType === "insertLineBreak") event.preventDefault();
});
const style = document.createElement("style");
style.textContent = window.widget.css;
document.head.append(style);
const text = new Blob([window.widget.esm], {type: "text/javascript"});
const {default: widget} = await import(URL.createObjectURL(text));
const listeners = new Set();
const model = {
  get: () => undefined,
  send: async (content) => {
    const replies = JSON.parse(await window.kernel(JSON.stringify(content)));
    replies.forEach((reply) => listeners.forEach((listen) => listen(reply, [])));
  },
  on: (name, listen) => name === "msg:custom" && listeners.add(listen),
  off: (name, listen) => listeners.delete(listen),
};
window.close_page = widget.render({model, el: document.getElementById("cell")});
window.show_twice = () => { widget.render({model, el: document.getElementById("second")}); };
window.listening = () => listeners.size;
</script>"""


class Kernel:
    """The half of anywidget that a widget derives from in Python."""

    def on_msg(self, answer):
        self.answer, self.sent = answer, []

    def send(self, content, buffers=None):
        self.sent.append(content)

    def _repr_mimebundle_(self):
        return {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}}, {}

    def receive(self, text):
        self.answer(self, json.loads(text), [])
        sent, self.sent = self.sent, []
        return json.dumps(sent)


def test_a_notebook_hosts_the_page(browser, monkeypatch):
    monkeypatch.setitem(sys.modules, "anywidget", types.SimpleNamespace(AnyWidget=Kernel))
    monkeypatch.setattr("graphs.interactive.widget.find_spec", lambda name: name)
    widget._class.cache_clear()
    page = graphs.page("asia", query="tub _||_ lung | dysp")
    data, _ = page._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    assert "<svg" in data["text/html"]
    own = page._widget
    cell = Visit(browser, page.session)
    cell.page.expose_function("kernel", own.receive)
    cell.page.add_init_script(f"window.widget = {json.dumps({'esm': own._esm, 'css': own._css})}")
    cell.page.goto("about:blank")
    cell.page.set_content(HOST)
    cell.ready()
    assert cell.verdict == "tub ⟂ lung | dysp does not hold."
    cell.press(cell.node("dysp"))
    assert page.evidence == {"dysp": "yes"}
    assert cell.bar("dysp", "yes") == 1
    cell.ask("tub _||_ smoke")
    assert page.answer.holds
    assert cell.node("tub").locator(".gp-box").bounding_box()["height"] > 40
    cell.page.evaluate("window.show_twice()")
    cell.page.locator("#second .gp:not(.gp-busy) .gp-node").first.wait_for()
    cell.press(cell.page.locator('#second g[data-node="xray"]'))
    cell.page.locator('#cell .gp-nodes .gp-observed[data-node="xray"]').wait_for()
    assert cell.complaints == []
    cell.page.evaluate("window.close_page()")
    assert cell.page.evaluate("window.listening()") == 1
    cell.context.close()
    widget._class.cache_clear()


def test_three_hundred_nodes_of_an_undirected_model_are_drawn(visit):
    page = visit(nx.convert_node_labels_to_integers(nx.grid_2d_graph(15, 20)), query="0 _||_ 299")
    assert page.page.locator(".gp-nodes .gp-node").count() == 300
    boxes = page.page.locator(".gp-box").evaluate_all(
        "found => found.map(b => b.getBoundingClientRect()).map(b => [b.x, b.y, b.width, b.height])"
    )
    overlap = [
        (a, b)
        for i, a in enumerate(boxes[:300])
        for b in boxes[:i]
        if abs(a[0] - b[0]) < (a[2] + b[2]) / 2 - 0.5 and abs(a[1] - b[1]) < (a[3] + b[3]) / 2 - 0.5
    ]
    assert not overlap
    assert page.verdict == "0 ⟂ 299 does not hold."


def test_sections_that_say_the_same_are_left_alone(visit):
    page = visit("asia", query="tub _||_ smoke")
    section = page.open("Edit")
    section.get_by_label("name of the new node").fill("half a na")
    page.press(page.node("dysp"))
    assert page.verdict == "tub ⟂ smoke | dysp does not hold."
    assert section.get_by_label("name of the new node").input_value() == "half a na"
    table = page.open("Model").locator("details").filter(has_text="P(tub | asia)").first
    assert table.locator("td").count() == 0
    table.locator("summary").click()
    table.locator("td").nth(3).wait_for()
    assert table.locator("td").all_inner_texts() == ["0.05", "0.95", "0.01", "0.99"]


def test_the_shared_cases_are_answered_through_the_page(visit, reference_data):
    cases = json.loads((reference_data / "independence_cases.json").read_text())
    cases = [case for case in cases if case["kind"] in ("dag", "mrf")]
    page = visit("A -> B")
    page.open("Edit")
    for case in cases[:: max(1, len(cases) // 8)]:
        sign, kind = ("->", "dag") if case["kind"] == "dag" else ("--", "graph")
        edges = "; ".join(f'"{u}" {sign} "{v}"' for u, v in case["edges"])
        nodes = "; ".join(f'"{v}"' for v in case["nodes"])
        page.page.get_by_label("a model as text").fill(f"{kind} {{ {nodes}; {edges} }}")
        page.press(page.button("Read model"))
        x, y, z = (", ".join(f'"{v}"' for v in case[key]) for key in "xyz")
        page.ask(f"{x} _||_ {y}" + (f" | {z}" if z else ""))
        holds = page.verdict.endswith(" holds.")
        assert holds == case["independent"], case
