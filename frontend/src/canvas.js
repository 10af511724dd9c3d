// The picture: boxes and lines that the library has computed, with what one can do to them.

import {drag} from "d3-drag";
import {select} from "d3-selection";
import {zoom, zoomIdentity} from "d3-zoom";

const ROW = 13;
const [ABOVE, BELOW] = [38, 34]; // room for what stands over the picture
const MANY = 60; // nodes, among which lines are faint
const BAR = {left: 6, right: 6, name: 41, number: 31};
const LEGEND = [
  ["asked", "asked about"],
  ["observed", "observed"],
  ["latent", "latent"],
  ["randomised", "randomised"],
  ["path", "active path"],
  ["blocker", "blocks"],
  ["blanket", "Markov blanket"],
  ["named", "named by you"],
];

export function makeCanvas(element, act) {
  const svg = select(element)
    .append("svg")
    .attr("class", "gp-svg")
    .attr("role", "group")
    .attr("aria-label", "The graph of the model");
  const world = svg.append("g");
  const layers = {};
  for (const name of ["plates", "edges", "draft", "nodes"]) {
    layers[name] = world.append("g").attr("class", `gp-${name}`);
  }
  const legend = svg.append("g").attr("class", "gp-legend");
  const zoomed = zoom()
    .scaleExtent([0.1, 8])
    .filter((event) => !event.button && (event.type !== "wheel" || event.ctrlKey || !page().embedded))
    .on("zoom", ({transform}) => world.attr("transform", transform));
  svg.call(zoomed).on("dblclick.zoom", null);
  svg.on("dblclick", (event) => {
    if (event.target === svg.node()) act.background(toWorld(event));
  });

  let scene = null;
  let roles = {nodes: {}, active: []};
  let bars = null;
  let shown = "";
  let drawn = null;
  let drawnIn = "";
  let explained = "";
  const page = () => act;

  function toWorld(event) {
    const matrix = world.node().getScreenCTM().inverse();
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix);
    return {x: point.x, y: point.y};
  }

  function fit() {
    if (!scene) return;
    const {width, height} = svg.node().getBoundingClientRect();
    const [left, top, w, h] = scene.box;
    const room = Math.max(height - ABOVE - BELOW, 60);
    const scale = Math.min(width / w, room / h, 2.2) || 1;
    const x = (width - w * scale) / 2 - left * scale;
    const y = ABOVE + (room - h * scale) / 2 - top * scale;
    svg.call(zoomed.transform, zoomIdentity.translate(x, y).scale(scale));
  }

  function show(reply, named) {
    if (reply.scene) scene = reply.scene;
    ({roles} = reply);
    bars = reply.bars.available ? reply.bars : null;
    const moved = drawn !== scene || act.mode() !== drawnIn;
    [drawn, drawnIn] = [scene, act.mode()];
    if (moved) {
      drawPlates();
      placeEdges();
      placeNodes();
    }
    paint(reply, named);
    const used = new Set(Object.values(roles.nodes).flat());
    scene.nodes.forEach((node) => ["latent", "randomised"].forEach((k) => node[k] && used.add(k)));
    if (named.size) used.add("named");
    drawLegend(used);
    const key = scene.nodes.map((node) => node.id).join("\0") + scene.monitors;
    if (key !== shown) fit();
    shown = key;
  }

  function drawPlates() {
    const plates = layers.plates.selectAll("g").data(scene.plates, (d) => d.label);
    plates.exit().remove();
    const added = plates.enter().append("g");
    added.append("rect").attr("rx", 6);
    added.append("text").attr("text-anchor", "end");
    const all = added.merge(plates);
    all.select("rect").attr("x", (d) => d.x).attr("y", (d) => d.y)
      .attr("width", (d) => d.w).attr("height", (d) => d.h);
    all.select("text").text((d) => d.label)
      .attr("x", (d) => d.x + d.w - 6).attr("y", (d) => d.y + d.h - 5);
  }

  function placeEdges() {
    const edges = layers.edges.selectAll("g").data(scene.edges, edgeName);
    edges.exit().remove();
    const added = edges.enter().append("g");
    added.append("path").attr("class", "gp-hit");
    added.append("path").attr("class", "gp-line");
    added.append("path").attr("class", "gp-head");
    added.on("click", (event, d) => act.edge(d)).on("keydown", (event, d) => {
      if (event.key === "Enter" || event.key === " ") prevented(event, () => act.edge(d));
      if (event.key === "Delete") prevented(event, () => act.cut(d));
    });
    const all = added.merge(edges);
    all.attr("role", act.mode() === "edit" ? "button" : "img")
      .attr("tabindex", act.mode() === "edit" ? 0 : null)
      .attr("aria-label", (d) => `edge ${d.tail} ${d.sign} ${d.head}`);
    all.select(".gp-hit").attr("d", (d) => d.line);
    all.select(".gp-line").attr("d", (d) => d.line);
    all.select(".gp-head").attr("d", (d) => d.heads.join(""));
  }

  function placeNodes() {
    const nodes = layers.nodes.selectAll("g.gp-node").data(scene.nodes, (d) => d.id);
    nodes.exit().remove();
    const added = nodes.enter().append("g").attr("class", "gp-node")
      .attr("role", "button").attr("tabindex", 0);
    added.append("rect").attr("class", "gp-ring");
    added.append("rect").attr("class", "gp-box");
    added.append("text").attr("class", "gp-name").attr("text-anchor", "middle");
    added.append("g").attr("class", "gp-bars");
    added.append("circle").attr("class", "gp-handle").attr("r", 5);
    added.on("click", (event, d) => act.node(d.id, event))
      .on("keydown", (event, d) => act.key(event, d.id))
      .call(mover());
    added.select(".gp-handle").call(joiner()).on("click", (event) => event.stopPropagation());
    const all = added.merge(nodes);
    all.attr("transform", (d) => `translate(${d.x},${d.y})`).attr("data-node", (d) => d.id);
    all.select(".gp-box").call(box, 0);
    all.select(".gp-ring").call(box, 4);
    all.select(".gp-handle").attr("cy", (d) => d.h / 2);
    all.select(".gp-name").each(function (d) {
      const two = d.lines.length > 1;
      const middle = scene.monitors ? -d.h / 2 + 13 : 0;
      const lines = select(this).attr("font-size", two ? 8.25 : 11).selectAll("tspan")
        .data(d.lines);
      lines.exit().remove();
      lines.enter().append("tspan").merge(lines).attr("x", 0)
        .attr("y", (_, i) => middle + 3.8 + (two ? (i ? 4.6 : -5.2) : 0))
        .text((line) => line);
    });
    all.select(".gp-bars").each(function (d) {
      d.rows = null;
    });
  }

  // What nodes and edges are to the question, and their bars; what stays is not touched.
  function paint(reply, named) {
    const active = new Set(roles.active.map((edge) => edge.join("\0")));
    const edges = layers.edges.selectAll("g");
    edges.call(set, "class", (d) => {
      const on = active.has(edgeName(d)) ? " gp-active" : "";
      return `gp-edge${on}${d.mark ? ` gp-${d.mark}` : ""}`;
    });
    if (active.size) edges.filter((d) => active.has(edgeName(d))).raise();
    const many = scene.nodes.length > MANY ? " gp-many" : "";
    layers.edges.call(set, "class", () => `gp-edges${many}`);
    const nodes = layers.nodes.selectAll("g.gp-node");
    nodes.call(set, "class", (d) => {
      const own = (roles.nodes[d.id] ?? []).map((role) => ` gp-${role}`).join("");
      const flags = ["latent", "faded", "randomised"].filter((flag) => d[flag]);
      if (named.has(d.id)) flags.push("named");
      return `gp-node${own}${flags.map((flag) => ` gp-${flag}`).join("")}`;
    })
      .call(set, "aria-pressed", (d) => String((roles.nodes[d.id] ?? []).includes("observed")))
      .call(set, "aria-label", (d) => label(d, reply));
    nodes.select(".gp-bars").each(function (d) {
      const own = scene.monitors && bars?.nodes[d.id];
      const rows = JSON.stringify(own ? [own.p, own.prior, own.states] : null);
      if (rows !== d.rows) drawBars(select(this), d, own);
      d.rows = rows;
    });
  }

  function drawBars(group, d, own) {
    const rows = own ? shortened(own) : [];
    const width = d.w - BAR.left - BAR.right - BAR.name - BAR.number;
    const all = group.selectAll("g").data(rows);
    all.exit().remove();
    const added = all.enter().append("g");
    added.append("text").attr("class", "gp-state").attr("y", 7.5);
    added.append("title");
    added.append("rect").attr("class", "gp-p").attr("x", BAR.name).attr("height", 8.5);
    added.append("rect").attr("class", "gp-prior").attr("x", BAR.name).attr("y", 0.5)
      .attr("height", 7.5);
    added.append("text").attr("class", "gp-number").attr("y", 7.5).attr("text-anchor", "end");
    const [left, top] = [-d.w / 2 + BAR.left, -d.h / 2 + 24];
    const each = added.merge(all)
      .call(set, "transform", (_, i) => `translate(${left},${top + ROW * i})`)
      .call(set, "data-state", (row) => row.state)
      .call(set, "data-p", (row) => row.p);
    each.select(".gp-state").call(tell, (row) => clipped(row.state, 7));
    each.select("title").call(tell, (row) => `${d.id} = ${row.state}: ${percent(row.p)}`);
    each.select(".gp-p").call(set, "width", (row) => Math.max(row.p * width, 0));
    each.select(".gp-prior").call(set, "width", (row) => Math.max(row.prior * width, 0));
    each.select(".gp-number").call(set, "x", () => d.w - BAR.left - BAR.right)
      .call(tell, (row) => percent(row.p));
  }

  function label(d, reply) {
    const parts = [d.id];
    if (d.id in reply.observed) {
      parts.push(reply.observed[d.id] === null ? "observed" : `is ${reply.observed[d.id]}`);
    }
    if (d.latent) parts.push("latent");
    if (d.randomised) parts.push("randomised");
    for (const role of ["asked", "path", "blocker"]) {
      if ((roles.nodes[d.id] ?? []).includes(role)) parts.push(LEGEND.find(([k]) => k === role)[1]);
    }
    return parts.join(", ");
  }

  function box(selection, rim) {
    selection
      .attr("x", (d) => -d.w / 2 - rim).attr("y", (d) => -d.h / 2 - rim)
      .attr("width", (d) => d.w + 2 * rim).attr("height", (d) => d.h + 2 * rim)
      .attr("rx", 12.1 + rim);
  }

  // While a node is dragged its edges are straight lines under the nodes; the library then draws
  // them anew.
  function mover() {
    let start;
    return drag()
      .subject((event, d) => ({x: d.x, y: d.y}))
      .on("start", (event, d) => {
        start = {x: d.x, y: d.y};
      })
      .on("drag", function (event, d) {
        if (act.still()) return;
        d.x = event.x;
        d.y = event.y;
        select(this).attr("transform", `translate(${d.x},${d.y})`);
        straighten(d.id);
      })
      .on("end", (event, d) => {
        if (Math.hypot(d.x - start.x, d.y - start.y) > 2) act.move(d.id, d.x, d.y);
      });
  }

  function straighten(id) {
    const places = new Map(scene.nodes.map((node) => [node.id, node]));
    const own = layers.edges.selectAll("g").filter((e) => e.tail === id || e.head === id);
    own.select(".gp-line").attr("d", (e) => {
      const [u, v] = [places.get(e.tail), places.get(e.head)];
      return `M${u.x},${u.y}L${v.x},${v.y}`;
    });
    own.select(".gp-head").attr("d", "");
  }

  function joiner() {
    let line;
    return drag()
      .container(world.node())
      .on("start", (event, d) => {
        line = layers.draft.append("path").attr("class", "gp-line");
      })
      .on("drag", (event, d) => {
        const point = toWorld(event.sourceEvent.touches?.[0] ?? event.sourceEvent);
        line.attr("d", `M${d.x},${d.y}L${point.x},${point.y}`);
      })
      .on("end", (event, d) => {
        line.remove();
        const source = event.sourceEvent.changedTouches?.[0] ?? event.sourceEvent;
        const over = element.getRootNode().elementFromPoint(source.clientX, source.clientY);
        const target = over?.closest?.("[data-node]")?.dataset.node;
        if (target !== undefined && target !== d.id) act.join(d.id, target);
      });
  }

  function drawLegend(used) {
    const entries = LEGEND.filter(([role]) => used.has(role));
    const roles = entries.map(([role]) => role).join(" ");
    if (roles === explained) return; // measuring text would have everything laid out once more
    explained = roles;
    const items = legend.selectAll("g").data(entries, ([role]) => role);
    items.exit().remove();
    const added = items.enter().append("g").attr("class", ([role]) => `gp-node gp-${role}`);
    added.append("rect").attr("class", "gp-ring").attr("x", -3).attr("y", -11.5)
      .attr("width", 26).attr("height", 17).attr("rx", 8.5);
    added.append("rect").attr("class", "gp-box").attr("y", -8.5)
      .attr("width", 20).attr("height", 11).attr("rx", 5.5);
    added.append("text").attr("class", "gp-name").attr("x", 27).text(([, text]) => text);
    placeLegend();
  }

  function placeLegend() {
    const {width, height} = svg.node().getBoundingClientRect();
    const rows = [[]];
    let left = 10;
    legend.selectAll("g").each(function () {
      const size = 27 + (select(this).select("text").node().getComputedTextLength() || 60);
      if (left + size > width - 6 && rows.at(-1).length) {
        rows.push([]);
        left = 10;
      }
      rows.at(-1).push([this, left]);
      left += size + 14;
    });
    rows.reverse().forEach((row, i) =>
      row.forEach(([node, x]) =>
        select(node).attr("transform", `translate(${x},${height - 10 - 18 * i})`)));
  }

  function zoomBy(factor) {
    svg.call(zoomed.scaleBy, factor);
  }

  function light(ids) {
    layers.nodes.selectAll("g.gp-node").classed("gp-lit", (d) => ids.includes(d.id));
  }

  function focus(id) {
    layers.nodes.selectAll("g.gp-node").filter((d) => d.id === id).node()?.focus();
  }

  const watcher = new ResizeObserver(() => {
    fit();
    placeLegend();
  });
  watcher.observe(element);
  return {show, fit, zoomBy, light, focus, svg: () => svg.node(), close: () => watcher.disconnect()};
}

function edgeName(d) {
  return [d.tail, d.sign, d.head].join("\0");
}

// An attribute or a text that already says so is left alone, and with it the style and the layout
// of what is inside: to lay out a text again takes the browser longer than anything else here.
function set(selection, name, value) {
  selection.each(function (d, i) {
    const wanted = String(value(d, i));
    if (this.getAttribute(name) !== wanted) this.setAttribute(name, wanted);
  });
}

function tell(selection, value) {
  selection.each(function (d) {
    const wanted = value(d);
    if (this.textContent !== wanted) this.textContent = wanted;
  });
}

export function prevented(event, then) {
  event.preventDefault();
  event.stopPropagation();
  then();
}

export function percent(p) {
  const value = 100 * p;
  if (p > 0 && value < 0.05) return "<0.1%";
  if (p < 1 && value >= 99.95) return ">99.9%";
  return `${value < 9.95 || value > 90 ? value.toFixed(1) : value.toFixed(0)}%`.replace(".0%", "%");
}

function clipped(text, most) {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

// The states of a node that there are rows for: all of few, of many the most probable.
function shortened(own) {
  const rows = own.states.map((state, i) => ({state, p: own.p[i], prior: own.prior[i]}));
  if (rows.length <= 4) return rows;
  const kept = new Set([...rows].sort((a, b) => b.p - a.p).slice(0, 4));
  return rows.filter((row) => kept.has(row));
}
