// What is said beside the picture: the answer and its reasons, numbers, neighbourhood, claims.

import {percent} from "./canvas.js";
import {button, form, h, select} from "./dom.js";

const VIEWS = [
  ["graph", "Graph"],
  ["moral", "Moral graph"],
  ["ancestral", "Ancestral moral graph"],
  ["chordal", "Chordal graph"],
  ["essential", "Equivalence class"],
];

const NARROW = 760; // as in the style sheet

export function makePanel(element, page) {
  const open = new Map();
  const made = new Map();
  let reply = null;

  // Each section with what it shows; one that shows what it showed stays as it is.
  function sections() {
    const {model: about, selected, bars, quiz, observed} = reply;
    const [from, to, kind] = ["tail", "head", "kind"].map((key) => page.draft(key));
    const beside = !page.monitors() && selected ? bars.nodes?.[selected.node] : null;
    const node = page.scene().nodes.find((each) => each.id === selected?.node);
    return [
      [practice, quiz, reply.hidden, reply.query, [...page.named]],
      [answer, reply.answer, reply.hidden, page.mode() === "ask"],
      [evidence, about, observed, quiz.on, page.monitors(), {...bars, nodes: null}, beside],
      [numbers, about, bars.available, open.get("Numbers") ?? narrow(), listed() ? bars : null],
      [nodeSection, about, selected, beside, node?.randomised, page.scene().nodes.length > 0],
      [views, about.directed, reply.view, reply.members],
      [claim, reply.claim, page.error("claim")],
      [edit, about, selected?.node, page.mode() === "edit", from, to, kind, page.error("model")],
      [model, about],
      [exporting, quiz.on, reply.exports, page.exported(), Object.keys(about.states).length > 0],
    ];
  }

  function show(latest) {
    reply = latest;
    const kept = focused(element);
    let last = null;
    for (const [make, ...shows] of sections()) {
      const known = made.get(make);
      const key = shows.map((each) => (each === reply.model ? each : JSON.stringify(each)));
      if (!known || key.some((each, i) => each !== known.key[i])) {
        known?.element?.remove();
        made.set(make, {key, element: make()});
      }
      const {element: own} = made.get(make);
      if (!own) continue;
      const next = last ? last.nextSibling : element.firstChild;
      if (next !== own) element.insertBefore(own, next);
      last = own;
    }
    if (kept && focused(element) !== kept) {
      element.querySelector(`[data-key="${CSS.escape(kept)}"]`)?.focus();
    }
  }

  function section(title, content, isOpen = true) {
    const details = h(
      "details",
      {
        class: "gp-section",
        open: open.get(title) ?? isOpen,
        ontoggle: (event) => open.set(title, event.target.open),
      },
      h("summary", {"data-key": `section ${title}`}, title),
      ...content,
    );
    return details;
  }

  // --- The answer -----------------------------------------------------------------------------

  function answer() {
    const found = reply.answer;
    if (reply.hidden) return null;
    if (!found) {
      const way = page.mode() === "ask" ? "Click two nodes"
        : "Choose Ask two and click two nodes (or Shift-click both)";
      return section("Answer", [
        h("p", {class: "gp-hint"}, `Is A independent of B? ${way}, or write above: `,
          h("code", {}, "A _||_ B | C"), ", which is A independent of B given C."),
      ]);
    }
    const head = h(
      "p",
      {class: `gp-verdict ${found.holds ? "gp-yes" : "gp-no"}`},
      h("strong", {}, found.statement),
      found.holds ? " holds." : " does not hold.",
    );
    const content = [head];
    if (found.trail) {
      content.push(h("p", {}, "This path is active:"), trail(found.trail));
    } else if (found.trails) {
      if (!found.trails.length) content.push(h("p", {}, "No path joins them."));
      else {
        const many = found.trails.length > 1;
        content.push(h("p", {}, many ? "Every path is blocked:" : "The only path is blocked:"));
        content.push(...found.trails.map((each) => trail(each)));
      }
    } else if (found.cut) {
      content.push(
        h("p", {}, "The paths are too many to list, but a cut ends them all: "),
        names(found.cut.cut, "the observed nodes"),
      );
    }
    content.push(
      h("details", {class: "gp-text"}, h("summary", {}, "In full, as text"),
        h("pre", {}, found.explanation)),
    );
    return section("Answer", content);
  }

  function trail(found) {
    const line = lit(h("p", {class: `gp-trail ${found.active ? "gp-active" : ""}`}), found.nodes);
    const closed = new Set(found.junctions.filter((j) => !j.open).map((j) => j.node));
    found.nodes.forEach((node, i) => {
      if (i) line.append(` ${found.arrows[i - 1]} `);
      line.append(h(closed.has(node) ? "mark" : "span", {}, node));
    });
    const reasons = found.junctions
      .filter((j) => found.active || !j.open)
      .map((j) => {
        const item = h("li", {tabindex: 0, class: j.open ? "gp-open" : "gp-closed"},
          `${j.text}: ${j.open ? "open" : "blocks"}.`);
        return lit(item, [j.node]);
      });
    const none = found.nodes.length === 2 ? "An edge joins them; no observation blocks it." : null;
    return h("div", {class: "gp-path"}, line,
      none ? h("p", {}, none) : h("ul", {class: "gp-reasons"}, reasons));
  }

  function lit(element, ids) {
    for (const event of ["mouseenter", "focus"]) {
      element.addEventListener(event, () => page.canvas.light(ids));
    }
    for (const event of ["mouseleave", "blur"]) {
      element.addEventListener(event, () => page.canvas.light([]));
    }
    return element;
  }

  function names(list, title) {
    const items = list.map((id) => lit(h("span", {class: "gp-tag", tabindex: 0}, id), [id]));
    return h("p", {class: "gp-tags", "aria-label": title}, items.length ? items : "none");
  }

  // --- Practice -------------------------------------------------------------------------------

  function practice() {
    if (!reply.quiz.on) return null;
    const content = [];
    if (reply.hidden) {
      const named = [...page.named];
      content.push(
        h("p", {class: "gp-verdict"}, h("strong", {}, reply.query), " — does it hold?"),
        h("p", {class: "gp-hint"},
          "If it holds, click the nodes that block; if not, all nodes between the two on an " +
          "active path. Then commit."),
        names(named, "named nodes"),
        h("p", {class: "gp-buttons"},
          button("It holds", () => page.commit(true), {"data-key": "holds"}),
          button("It does not", () => page.commit(false), {"data-key": "fails"})),
      );
    }
    if (reply.quiz.judged) {
      const {right, reason, text} = reply.quiz.judged;
      content.push(h("p", {class: `gp-judged ${right && reason ? "gp-yes" : "gp-no"}`}, text));
    }
    content.push(
      h("p", {class: "gp-buttons"},
        button("Next question", () => page.send({type: "next"}), {"data-key": "next"}),
        button("Stop", () => page.send({type: "quiz", on: false}), {"data-key": "stop"})),
    );
    return section("Practice", content);
  }

  // --- Evidence and bars ----------------------------------------------------------------------

  function evidence() {
    const observed = Object.entries(reply.observed);
    const content = [];
    if (observed.length) {
      const rows = observed.map(([id, state]) => h("li", {}, lit(h("span", {}, id), [id]),
        reply.model.states[id] && !reply.quiz.on
          ? select(`state of ${id}`, [["", "no state"],
            ...reply.model.states[id].map((s) => [s, s])], state ?? "",
          (value) => page.send({type: "observe", node: id, ...(value ? {state: value} : {})}))
          : null,
        button("×", () => page.send({type: "observe", node: id, state: null}),
          {"aria-label": `forget ${id}`, class: "gp-small"})));
      content.push(h("ul", {class: "gp-evidence"}, rows));
      content.push(h("p", {class: "gp-buttons"},
        button("Forget all", () => page.send({type: "forget"}), {"data-key": "forget"})));
    } else content.push(h("p", {class: "gp-hint"}, "Nothing is observed. Click a node."));
    const {bars} = reply;
    if (bars.available) {
      const given = Object.entries(bars.evidence);
      if (given.length) {
        const text = given.map(([id, state]) => `${id} = ${state}`).join(", ");
        content.push(h("p", {"data-p": bars.probability, class: "gp-probability"},
          `P(${text}) = ${number(bars.probability, bars.log_probability)}`));
      }
      if (bars.waiting.length) {
        content.push(h("p", {class: "gp-hint"},
          `${bars.waiting.join(", ")}: observed, in no state yet, so not in the numbers.`));
      }
      content.push(h("label", {class: "gp-check"},
        h("input", {type: "checkbox", checked: page.monitors(), "data-key": "monitors",
          onchange: (event) => page.send({type: "bars", on: event.target.checked})}),
        " bars in the nodes (outline: before the evidence)"));
      if (!page.monitors() && reply.selected) content.push(barTable(reply.selected.node));
    } else if (Object.keys(reply.model.states).length) {
      content.push(h("p", {class: "gp-hint"}, bars.reason));
    }
    return section("Observed", content);
  }

  const narrow = () => element.clientWidth > 0 && element.parentNode.clientWidth <= NARROW;
  const listed = () => reply.bars.available && (open.get("Numbers") ?? narrow());

  // All the bars as a list: in the picture they are too small to read where there is little room.
  function numbers() {
    if (!reply.bars.available) return null;
    const own = section("Numbers", listed()
      ? [h("div", {class: "gp-numbers"}, Object.keys(reply.bars.nodes).map((id) =>
        lit(barTable(id, id), [id])))]
      : [], narrow());
    own.addEventListener("toggle", () => show(reply));
    return own;
  }

  function barTable(id, caption = null) {
    const own = reply.bars.nodes[id];
    if (!own) return null;
    const given = Object.keys(reply.bars.evidence).length ? " | observed" : "";
    return h("table", {class: "gp-table"},
      h("caption", {}, caption ?? `P(${id}${given})`),
      own.states.map((state, i) => h("tr", {}, h("th", {scope: "row"}, state),
        h("td", {}, h("meter", {value: own.p[i], min: 0, max: 1, "aria-label": state})),
        h("td", {"data-p": own.p[i]}, percent(own.p[i])))));
  }

  // --- A node ---------------------------------------------------------------------------------

  function nodeSection() {
    const found = reply.selected;
    if (!found) {
      return section("Node", [finder(), h("p", {class: "gp-hint"},
        "Look at a node (mode Look, or L on a node) for its blanket.")], !page.scene().nodes.length);
    }
    const id = found.node;
    const content = [
      finder(),
      h("p", {}, h("strong", {}, id), found.facts.length ? ` — ${found.facts.join(", ")}` : ""),
      h("p", {class: "gp-label"}, "Markov blanket"),
      names(found.blanket, "Markov blanket"),
    ];
    if (found.parents) {
      content.push(h("p", {class: "gp-label"}, "Parents"), names(found.parents, "parents"));
    }
    if (found.local) {
      content.push(h("p", {class: "gp-label"}, "Its local independence"),
        h("p", {}, button(found.local, () => page.send({type: "ask", text: found.local}),
          {class: "gp-link"})));
    }
    if (reply.model.directed) {
      const cut = page.scene().nodes.find((each) => each.id === id)?.randomised;
      content.push(h("p", {class: "gp-buttons"},
        button(cut ? "Bring its arrows back" : "Randomise (cut the arrows into it)",
          () => page.send({type: "randomise", node: id}), {"data-key": "randomise"})));
    }
    if (reply.bars.available && !page.monitors()) content.push(barTable(id));
    return section("Node", content);
  }

  function finder() {
    const names = `gp-names-${Math.random().toString(36).slice(2)}`;
    const list = h("datalist", {id: names}, reply.model.nodes.map((value) => h("option", {value})));
    const input = h("input", {list: names, "aria-label": "find a node", "data-key": "find",
      placeholder: "find a node", autocomplete: "off"});
    return form(() => page.send({type: "select", node: input.value}), {class: "gp-form"}, input,
      h("button", {type: "submit"}, "Look"), list);
  }

  // --- Views ----------------------------------------------------------------------------------

  function views() {
    const {view} = reply;
    const known = reply.model.directed ? VIEWS : VIEWS.filter(([name]) =>
      name === "graph" || name === "chordal");
    const buttons = known.map(([name, text]) => button(text,
      () => page.send({type: "view", name}),
      {"aria-pressed": String(view.name === name || (name === "essential" && view.name === "member")),
        "data-key": `view ${name}`}));
    const content = [h("p", {class: "gp-buttons"}, buttons)];
    if (view.note) content.push(h("p", {class: "gp-hint"}, view.note));
    if (reply.members) {
      const {count, more} = reply.members;
      const options = [...Array(count).keys()].map((i) => [String(i), `member ${i + 1}`]);
      content.push(h("p", {class: "gp-buttons"},
        select("member of the class", [["", `${count}${more ? " or more" : ""} members`],
          ...options], view.name === "member" ? String(view.member) : "", (value) =>
          page.send(value === "" ? {type: "view", name: "essential"}
            : {type: "view", name: "member", member: Number(value)})),
        view.name === "member"
          ? button("Take it as the model", () => page.send({type: "take"}), {"data-key": "take"})
          : null));
    }
    return section("Views", content, view.name !== "graph");
  }

  // --- Claims ---------------------------------------------------------------------------------

  function claim() {
    const input = h("textarea", {rows: 2, "aria-label": "a claim to check", "data-key": "claim",
      placeholder: "P(A,B) = P(A) P(B), or 1/Z phi(A,B) phi(B,C), or A _||_ B | C"});
    input.value = page.draft("claim") ?? reply.claim?.claim ?? "";
    input.addEventListener("input", () => page.draft("claim", input.value));
    input.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey) {
        event.preventDefault();
        input.form.requestSubmit();
      }
    });
    const content = [form(() => page.sendText({type: "claim", text: input.value}, "claim"),
      {class: "gp-form"}, input, h("button", {type: "submit"}, "Check"))];
    content.push(page.caret("claim"));
    const found = reply.claim;
    if (found) {
      const [, ...lines] = found.explanation.split("\n");
      content.push(h("p", {class: `gp-verdict ${found.holds ? "gp-yes" : "gp-no"}`},
        found.holds ? "True of the model." : "Not true of the model."));
      found.missing.forEach((scope) => content.push(
        h("p", {class: "gp-label"}, "No claimed factor covers"), names(scope, "clique")));
      found.false.forEach((each) => content.push(
        h("p", {}, "It asserts ", button(each.statement,
          () => page.send({type: "ask", text: each.statement}), {class: "gp-link"}),
        ", which is false.")));
      content.push(h("details", {class: "gp-text", open: found.holds},
        h("summary", {}, "Why"), h("pre", {}, lines.join("\n"))));
    }
    return section("Check a claim", content, Boolean(found));
  }

  // --- Editing --------------------------------------------------------------------------------

  function edit() {
    const ids = reply.model.nodes.map((id) => [id, id]);
    const kinds = reply.model.directed
      ? [["->", "→ arrow"], ["<->", "↔ common cause"], ["--", "— no head"]]
      : [["--", "— edge"]];
    const name = h("input", {"aria-label": "name of the new node", placeholder: "new node",
      maxlength: 200, "data-key": "new node"});
    const tail = select("from", ids, page.draft("tail"), (v) => page.draft("tail", v));
    const head = select("to", ids, page.draft("head"), (v) => page.draft("head", v));
    const kind = select("kind of edge", kinds, page.draft("kind"), (v) => page.draft("kind", v));
    const ends = () => ({tail: tail.value, head: head.value});
    const change = (action, more = {}) => page.send({type: "edit", action, ...ends(), ...more});
    const pull = reply.model.directed ? "an arrow" : "an edge";
    const content = [
      h("p", {class: "gp-hint"}, page.mode() === "edit"
        ? `Pull ${pull} out of a blue dot. Double-click empty room for a new node, click an edge ` +
          "to choose it; Delete removes a node or an edge."
        : "In the picture in mode Edit, or here:"),
      form(() => {
        page.send({type: "edit", action: "add_node", name: name.value, ...page.takePlace()});
      }, {class: "gp-form"}, name, h("button", {type: "submit"}, "Add node")),
      h("div", {class: "gp-form"}, tail, kind, head),
      h("p", {class: "gp-buttons"},
        button("Add edge", () => change("add_edge", {sign: kind.value}), {"data-key": "add edge"}),
        button("Remove edge", () => change("remove_edge"), {"data-key": "remove edge"}),
        button("Reverse", () => change("reverse_edge"), {"data-key": "reverse edge"})),
    ];
    if (reply.selected) {
      const id = reply.selected.node;
      const input = h("input", {"aria-label": `new name of ${id}`, value: id, maxlength: 200,
        "data-key": "rename"});
      content.push(form(
        () => page.send({type: "edit", action: "rename_node", node: id, name: input.value}),
        {class: "gp-form"}, input, h("button", {type: "submit"}, "Rename"),
        button("Remove node", () => page.send({type: "edit", action: "remove_node", node: id}),
          {"data-key": "remove node"})));
    }
    const text = h("textarea", {rows: 3, "aria-label": "a model as text", "data-key": "text",
      placeholder: "dag { A -> B }, A -> B, B -> C, or P(A) P(B|A); or asia"});
    text.value = page.draft("model") ?? "";
    text.addEventListener("input", () => page.draft("model", text.value));
    content.push(form(() => page.sendText({type: "model", text: text.value}, "model"),
      {class: "gp-form"}, text, h("button", {type: "submit"}, "Read model")), page.caret("model"));
    return section("Edit", content, page.mode() === "edit");
  }

  // --- The model, and out of it ---------------------------------------------------------------

  function model() {
    const {kind, size, product, factors, warnings, local} = reply.model;
    const content = [h("p", {}, `${kind} of ${size}.`)];
    if (product) content.push(h("p", {class: "gp-product"}, product));
    content.push(...warnings.map((text) => h("p", {class: "gp-hint"}, text)));
    content.push(...factors.map((factor) => unfolding(factor.name, () =>
      (factor.table ? table(factor) : h("p", {class: "gp-hint"},
        factor.states ? "Too large to show." : "No numbers: only its scope is known.")))));
    if (local.length) {
      content.push(h("details", {class: "gp-text"}, h("summary", {}, "Implied local independences"),
        h("ul", {}, local.map((text) => h("li", {}, button(text,
          () => page.send({type: "ask", text}), {class: "gp-link"}))))));
    }
    return section("Model", content, !reply.model.directed && factors.length > 0);
  }

  // Made when it is first looked at: a model may have a thousand tables.
  function unfolding(summary, make) {
    const details = h("details", {class: "gp-text"}, h("summary", {}, summary));
    details.addEventListener("toggle", () => details.append(make()), {once: true});
    return details;
  }

  function table({scope, states, table: rows}) {
    const given = states.slice(0, -1);
    const labels = given.reduce((all, own) =>
      all.flatMap((row) => own.map((state) => [...row, state])), [[]]);
    const last = scope.length - 1;
    return h("div", {class: "gp-wide"}, h("table", {class: "gp-table"},
      h("tr", {}, scope.slice(0, -1).map((id) => h("th", {scope: "col"}, id)),
        (states[last] ?? [""]).map((s) => h("th", {scope: "col"}, `${scope[last]} = ${s}`))),
      rows.map((row, i) => h("tr", {},
        (labels[i] ?? []).map((state) => h("th", {scope: "row"}, state)),
        row.map((value) => h("td", {}, String(Number(value.toPrecision(6)))))))));
  }

  function exporting() {
    if (page.recorded) return null;
    const formats = reply.exports.filter((name) => name !== "BIF" || Object.keys(reply.model.states).length);
    const buttons = [
      button("SVG", page.saveSvg), button("PNG", page.savePng),
      ...formats.map((name) => button(name, () => page.exportAs(name))),
    ];
    const content = [h("p", {class: "gp-buttons"}, buttons)];
    if (page.exported()) {
      content.push(h("textarea", {rows: 6, readonly: true, "aria-label": "the exported text"},
        page.exported().text));
    }
    if (!page.embedded) {
      content.push(h("p", {class: "gp-hint"}, "The address of this page keeps what is on it."));
    }
    if (!reply.quiz.on) {
      content.push(h("p", {class: "gp-buttons"},
        button("Practise", () => page.send({type: "next"}), {"data-key": "practise",
          title: "questions whose answers you say before you see them"})));
    }
    return section("Export and practise", content, Boolean(page.exported()));
  }

  return {show};
}

function number(p, log) {
  return p > 1e-4 ? String(Number(p.toPrecision(4))) : `exp(${log.toFixed(2)})`;
}

function focused(element) {
  const active = element.getRootNode().activeElement;
  return active && element.contains(active) ? active.dataset.key : null;
}
