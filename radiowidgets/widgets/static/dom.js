// Elements made without markup: text is always set as text, so nothing that
// comes from a header, a catalogue or a person can become HTML.

export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") element.className = value;
    else if (name === "style") Object.assign(element.style, value);
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && typeof value !== "string") element[name] = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat()) {
    if (child === null || child === undefined) continue;
    element.append(child);
  }
  return element;
}

export function setText(element, text) {
  const value = String(text);
  if (element.textContent !== value) element.textContent = value;
}

export function plural(count, noun) {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}

// A drawing of 16 x 16 units, of strokes in the colour of the text.
export function icon(strokes) {
  const make = (tag, attributes) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };
  const drawing = make("svg", { viewBox: "0 0 16 16", width: "16", height: "16", fill: "none", stroke: "currentColor",
    "stroke-width": "1.4", "stroke-linecap": "round", "stroke-linejoin": "round", "aria-hidden": "true" });
  drawing.append(make("path", { d: strokes }));
  return drawing;
}

// Give a key to the notebook, which looks at what has the focus; true if it was taken.
export function handOn(event, root, refocus) {
  const host = root.closest(".jp-Cell") ?? root.parentElement;
  host.focus({ preventScroll: true });
  const taken = !host.dispatchEvent(new KeyboardEvent("keydown", event));
  if (document.activeElement === host) refocus();
  return taken;
}

// The bytes of a buffer that came from the kernel, by themselves.
export const copied = (view) => view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength);
