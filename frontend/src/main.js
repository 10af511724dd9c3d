// The page: a picture, a line to ask in, and what is said. The library does all the thinking.

import {makeCanvas, prevented} from "./canvas.js";
import {button, download, form, h} from "./dom.js";
import {kernelHost, recordedHost, refusal, serverHost} from "./hosts.js";
import {makePanel} from "./panel.js";
import {savePng, saveSvg} from "./pictures.js";

const MODES = [
  ["observe", "Observe", "A click observes a node, and again its next state"],
  ["ask", "Ask two", "Two clicks ask whether two nodes are independent (elsewhere: Shift-click)"],
  ["look", "Look", "A click shows the Markov blanket of a node"],
  ["edit", "Edit", "Pull an arrow out of a node's lower rim; click an edge to turn or remove it"],
];

function makePage(root, host, {embedded = false} = {}) {
  let mode = "observe";
  let reply = null;
  let scene = null;
  let first = null;
  let place = null;
  let exported = null;
  let error = null;
  let waiting = 0;
  let preparing = false;
  let queue = Promise.resolve();
  const drafts = new Map();
  const named = new Set();

  // --- Talking to the library -------------------------------------------------------------------

  function send(event) {
    const next = queue.then(() => exchange(event));
    queue = next.catch(() => {});
    return next;
  }

  async function exchange(event) {
    let latest;
    waiting += 1;
    root.classList.add("gp-busy");
    try {
      latest = await host.send({...event, seen: reply?.key, known: reply?.subject});
    } catch {
      latest = refusal("No answer: the server has stopped.");
    }
    waiting -= 1;
    if (!waiting) root.classList.remove("gp-busy");
    if (!latest.ok) {
      error = {...latest.error, field: event.field};
      showError();
      if (reply) show();
      return latest;
    }
    error = null;
    if (latest.key === undefined || latest.turn < reply?.turn) return latest; // a text; overtaken
    const asked = latest.query !== reply?.query || latest.hidden !== reply?.hidden;
    if (asked || !latest.hidden) named.clear();
    if (latest.scene) scene = latest.scene;
    reply = {...latest, model: latest.model ?? reply.model};
    if (asked) drafts.delete("query");
    first = null;
    show();
    if (asked && !embedded) side.firstChild?.scrollIntoView({block: "nearest"});
    host.shown(reply);
    if (reply.bars.pending) prepare();
    return latest;
  }

  // The first numbers may take seconds; meanwhile questions are answered.
  async function prepare() {
    if (preparing) return;
    preparing = true;
    let latest;
    do latest = await exchange({type: "bars"});
    while (latest.ok && latest.bars.pending);
    preparing = false;
  }

  function show() {
    if (!drafts.has("query")) line.value = reply.query;
    undo.disabled = !reply.can?.undo;
    redo.disabled = !reply.can?.redo;
    canvas.show({...reply, scene}, named);
    panel.show(reply);
    note.textContent = [reply.said, reply.scene?.note ?? scene.note].filter(Boolean).join(" ");
    const {answer} = reply;
    spoken.textContent = answer
      ? `${answer.statement} ${answer.holds ? "holds" : "does not hold"}.`
      : "";
    showError();
  }

  function showError() {
    problem.replaceChildren();
    problem.hidden = !error || (error.field && error.field !== "query");
    if (!problem.hidden) problem.append(...message(error));
  }

  function message({message: text, text: source, position}) {
    const parts = [h("p", {}, text)];
    if (source !== undefined) {
      parts.push(h("pre", {class: "gp-caret"}, `${source}\n${" ".repeat(position)}^`));
    }
    return parts;
  }

  // --- What one does to nodes and edges -------------------------------------------------------

  const act = {
    embedded,
    mode: () => mode,
    still: () => Boolean(host.recorded),
    node(id, event) {
      if (event?.shiftKey || mode === "ask") ask(id);
      else if (reply.hidden) name(id);
      else if (mode === "observe") send({type: "observe", node: id});
      else send({type: "select", node: reply.selected?.node === id ? null : id});
    },
    key(event, id) {
      const keys = {
        Enter: () => act.node(id, event),
        " ": () => act.node(id, event),
        a: () => ask(id),
        o: () => send({type: "observe", node: id}),
        l: () => send({type: "select", node: id}),
        Delete: () => send({type: "edit", action: "remove_node", node: id}),
      };
      const step = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
      if (event.ctrlKey || event.metaKey) return;
      if (event.key in keys) prevented(event, keys[event.key]);
      else if (event.key in step) {
        prevented(event, () => (event.altKey ? nudge : wander)(id, ...step[event.key]));
      }
    },
    edge(edge) {
      if (mode !== "edit") return;
      for (const end of ["tail", "head"]) drafts.set(end, edge[end]);
      drafts.set("kind", edge.sign);
      panel.show(reply);
      root.querySelector('[data-key="reverse edge"]')?.focus();
    },
    cut: ({tail, sign, head}) => send({type: "edit", action: "remove_edge", tail, sign, head}),
    join: (tail, head) => send({type: "edit", action: "add_edge", tail, head}),
    move: (node, x, y) => send({type: "move", node, x, y}),
    background(point) {
      place = point;
      setMode("edit");
      root.querySelector('[data-key="new node"]')?.focus();
    },
  };

  function ask(id) {
    if (first === null || first === id) {
      first = first === id ? null : id;
      note.textContent = first === null ? "" : `${first} and … ? Choose the other node.`;
      canvas.light(first === null ? [] : [first]);
    } else send({type: "ask", x: [first], y: [id]});
  }

  function name(id) {
    if (!named.delete(id)) named.add(id);
    canvas.show({...reply, scene}, named);
    panel.show(reply);
  }

  function nudge(id, dx, dy) {
    const node = scene.nodes.find((each) => each.id === id);
    send({type: "move", node: id, x: node.x + 12 * dx, y: node.y + 12 * dy});
  }

  // The nearest node in a direction, for whoever has no mouse.
  function wander(id, dx, dy) {
    const from = scene.nodes.find((each) => each.id === id);
    const away = (to) => {
      const along = (to.x - from.x) * dx + (to.y - from.y) * dy;
      const across = Math.abs((to.x - from.x) * dy + (to.y - from.y) * dx);
      return along > 1 ? along + 2 * across : Infinity;
    };
    const best = scene.nodes.reduce((a, b) => (away(b) < away(a) ? b : a), from);
    if (away(best) < Infinity) canvas.focus(best.id);
  }

  function setMode(chosen) {
    mode = chosen;
    root.dataset.mode = mode;
    first = null;
    modes.querySelectorAll("button").forEach((each) =>
      each.setAttribute("aria-pressed", String(each.dataset.mode === mode)));
    if (reply) show();
  }

  // --- The parts of the page --------------------------------------------------------------------

  const line = h("input", {
    "aria-label": "a question", placeholder: "A _||_ B | C", spellcheck: "false",
    autocomplete: "off", autocapitalize: "off", class: "gp-line-input",
    oninput: () => drafts.set("query", line.value),
  });
  const undo = button("↶", () => send({type: "undo"}), {"aria-label": "undo", title: "undo"});
  const redo = button("↷", () => send({type: "redo"}), {"aria-label": "redo", title: "redo"});
  const modes = h("div", {class: "gp-modes", role: "group", "aria-label": "what a click does"},
    MODES.map(([key, text, title]) => button(text, () => setMode(key),
      {"data-mode": key, title, "aria-pressed": String(key === mode)})));
  const query = form(() => send({type: "ask", text: line.value, field: "query"}).then((latest) => {
    if (!latest.ok) return;
    drafts.delete("query");
    show();
  }), {class: "gp-query"}, line, h("button", {type: "submit"}, "Ask"));
  const problem = h("div", {class: "gp-problem", role: "alert", hidden: true});
  const note = h("p", {class: "gp-note", role: "status"});
  const spoken = h("p", {class: "gp-spoken", "aria-live": "polite"});
  const picture = h("div", {class: "gp-picture"});
  const tools = h("div", {class: "gp-tools"},
    button("−", () => canvas.zoomBy(1 / 1.5), {"aria-label": "smaller", title: "smaller"}),
    button("+", () => canvas.zoomBy(1.5), {"aria-label": "larger", title: "larger"}),
    button("Fit", () => canvas.fit(), {title: "show the whole picture"}),
    host.recorded ? null : button("Arrange", () => send({type: "arrange"}),
      {title: "put the nodes back"}));
  const side = h("aside", {class: "gp-side", "aria-label": "answer and tools"});
  root.classList.add("gp");
  root.dataset.mode = mode;
  root.replaceChildren(
    h("header", {class: "gp-bar"}, query, modes, h("div", {class: "gp-history"}, undo, redo)),
    problem,
    h("div", {class: "gp-main"}, h("div", {class: "gp-stage"}, picture, tools, note), side),
    spoken,
  );
  const canvas = makeCanvas(picture, act);
  const panel = makePanel(side, {
    send, canvas, named, embedded, mode: () => mode, recorded: host.recorded,
    scene: () => scene,
    monitors: () => scene.monitors,
    draft(key, value) {
      if (value !== undefined) drafts.set(key, value);
      return drafts.get(key);
    },
    error: (field) => (error?.field === field ? error : null),
    caret: (field) =>
      error?.field === field ? h("div", {class: "gp-problem", role: "alert"}, ...message(error))
        : "",
    async sendText(event, field) {
      const latest = await send({...event, field});
      if (latest.ok) drafts.delete(field);
    },
    takePlace() {
      const found = place ? {x: place.x, y: place.y} : {};
      place = null;
      return found;
    },
    commit: (holds) => send({type: "commit", holds, nodes: [...named]}),
    async exportAs(format) {
      const latest = await send({type: "export", format});
      if (!latest.ok) return;
      exported = latest;
      if (!embedded) download(latest.name, new Blob([latest.text], {type: "text/plain"}));
      show();
    },
    exported: () => exported,
    saveSvg: () => saveSvg(canvas.svg()),
    savePng: () => savePng(canvas.svg()),
  });
  root.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z" && !typing) {
      prevented(event, () => send({type: event.shiftKey ? "redo" : "undo"}));
    } else if ((event.ctrlKey || event.metaKey) && event.key === "y" && !typing) {
      prevented(event, () => send({type: "redo"}));
    } else if (event.key === "Escape") {
      first = null;
      canvas.light([]);
      note.textContent = "";
    }
  });
  host.changed = () => send({type: "open"});
  const start = host.link ? {type: "restore", link: host.link} : {type: "open"};
  send(start).then(async (latest) => {
    if (latest.ok || !host.link) return;
    await send({type: "open"});
    ({error} = latest);
    showError();
  });
  return () => {
    canvas.close();
    host.close?.();
  };
}

function render({model, el}) {
  // JupyterLab takes no key for a shortcut of its own that is pressed in here.
  const root = h("div", {"data-lm-suppress-shortcuts": "true"});
  el.append(root);
  return makePage(root, kernelHost(model), {embedded: true});
}

export default {
  render,
  serve: (root) => makePage(root, serverHost()),
  saved: (root, replies) => makePage(root, recordedHost(replies)),
};
