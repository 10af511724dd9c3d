// The picture as a file: what is seen, with its legend, in an SVG that needs no style sheet.

import {download} from "./dom.js";

const STYLES = [
  "fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "opacity", "font-family",
  "font-size", "font-weight", "text-anchor", "display",
];

export function asSvg(svg) {
  const {width, height} = svg.getBoundingClientRect();
  const copy = svg.cloneNode(true);
  const pairs = [[svg, copy]];
  while (pairs.length) {
    const [from, to] = pairs.pop();
    const style = getComputedStyle(from);
    for (const name of STYLES) to.setAttribute(name, style.getPropertyValue(name));
    for (const name of ["class", "tabindex", "role", "style"]) to.removeAttribute(name);
    [...from.children].forEach((child, i) => pairs.push([child, to.children[i]]));
  }
  const rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  const colour = getComputedStyle(svg).backgroundColor;
  for (const [key, value] of Object.entries({width, height, fill: colour})) {
    rect.setAttribute(key, value);
  }
  copy.prepend(rect);
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  copy.setAttribute("width", width);
  copy.setAttribute("height", height);
  copy.setAttribute("viewBox", `0 0 ${width} ${height}`);
  copy.querySelectorAll('[display="none"]').forEach((node) => node.remove());
  return new XMLSerializer().serializeToString(copy);
}

export function saveSvg(svg) {
  download("model.svg", new Blob([asSvg(svg)], {type: "image/svg+xml"}));
}

export async function savePng(svg, scale = 2) {
  const {width, height} = svg.getBoundingClientRect();
  const url = URL.createObjectURL(new Blob([asSvg(svg)], {type: "image/svg+xml"}));
  const image = new Image();
  await new Promise((resolve, reject) => {
    image.onload = resolve;
    image.onerror = reject;
    image.src = url;
  });
  const canvas = document.createElement("canvas");
  canvas.width = width * scale;
  canvas.height = height * scale;
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  URL.revokeObjectURL(url);
  canvas.toBlob((blob) => download("model.png", blob), "image/png");
}
