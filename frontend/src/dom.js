// Elements from plain values. Text is always set as text: no name is ever read as markup.

export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (key === "value") element.value = value;
    else element.setAttribute(key, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export function button(label, onclick, attributes = {}) {
  return h("button", {type: "button", onclick, ...attributes}, label);
}

export function form(onsubmit, attributes, ...children) {
  const submit = (event) => {
    event.preventDefault();
    onsubmit(event.target);
  };
  // JupyterLab keeps a field from sending its form, so that Enter does it here, wherever we are.
  const enter = (event) => {
    if (event.key !== "Enter" || event.isComposing || event.target.tagName !== "INPUT") return;
    event.preventDefault();
    event.currentTarget.requestSubmit();
  };
  return h("form", {onsubmit: submit, onkeydown: enter, ...attributes}, ...children);
}

export function select(label, options, chosen, onchange) {
  const pick = (event) => onchange?.(event.target.value);
  return h(
    "select",
    {"aria-label": label, onchange: pick},
    options.map(([value, text]) => h("option", {value, selected: value === chosen}, text)),
  );
}

export function download(name, blob) {
  const url = URL.createObjectURL(blob);
  const link = h("a", {href: url, download: name});
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
