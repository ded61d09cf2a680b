// LiveCurves: loss and scores of training and validation, epoch by epoch, while a network is trained.

import { h, setText } from "./dom.js";
import { best, EDGES, limits, panels, path, progressText, scales } from "./curveplot.js";

const HEIGHT = 210; // px of a panel

function drawing(tag, attributes, text) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

const written = (value) => (Number.isFinite(value) ? Number(value.toPrecision(3)).toString().replace("-", "−") : "–");

class Curves {
  constructor(model, el) {
    this.model = model;
    this.score = "";
    this.pointed = null; // the epoch under the pointer
    this.words = h("span", { class: "rw-progress", role: "status" });
    this.done = h("div", { class: "rw-done" });
    this.bar = h("div", { class: "rw-done-bar", role: "progressbar", "aria-label": "Epochs", "aria-valuemin": "0" }, this.done);
    this.stop = h("button", { class: "rw-button", type: "button", title: "End after this batch and keep the weights of the best epoch", onclick: () => this.ask() }, "Stop");
    this.choice = h("select", { class: "rw-select", "aria-label": "Score", onchange: (event) => { this.score = event.target.value; this.draw(); } });
    this.panels = h("div", { class: "rw-panels" });
    this.root = h("div", { class: "rw-review rw-curves", "data-lm-suppress-shortcuts": "true" },
      h("div", { class: "rw-bar" }, h("strong", { class: "rw-heading" }, "Training"), this.words, h("span", { class: "rw-grow" }), this.choice, this.stop), this.bar, this.panels);
    el.append(this.root);
    this.watch = { "change:lines": () => this.draw(), "change:now": () => this.tell(), "change:stop": () => this.tell() };
    for (const [event, call] of Object.entries(this.watch)) model.on(event, call);
    this.resize = new ResizeObserver(() => this.draw());
    this.resize.observe(this.panels);
    this.tell();
    this.draw();
  }

  ask() {
    this.asked = true;
    this.model.send({ kind: "stop" });
    this.tell();
  }

  tell() {
    const now = this.model.get("now");
    if (!now.running) this.asked = false;
    const stopping = this.asked || this.model.get("stop");
    setText(this.words, now.running && stopping ? "ends after this batch …" : progressText(now));
    this.stop.hidden = !now.running;
    this.stop.disabled = Boolean(stopping);
    const share = now.epochs ? Math.min(1, (now.epoch - 1 + (now.batches ? now.batch / now.batches : 0)) / now.epochs) : 0;
    this.bar.hidden = !now.running;
    this.done.style.width = `${(100 * share).toFixed(1)}%`;
    this.bar.setAttribute("aria-valuemax", String(now.epochs ?? 0));
    this.bar.setAttribute("aria-valuenow", String(now.epoch ?? 0));
  }

  draw() {
    const [lines, first] = [this.model.get("lines"), this.model.get("now").first ?? 0];
    const { scores, drawn } = panels(lines, this.score);
    this.choice.hidden = scores.length < 2;
    if (scores.join() !== this.listed) {
      this.listed = scores.join();
      this.choice.replaceChildren(...scores.map((name) => h("option", { value: name }, name)));
    }
    if (drawn.at(-1) && drawn.at(-1) !== "loss") this.choice.value = drawn.at(-1);
    const width = Math.max(220, Math.floor((this.panels.clientWidth - 44) / (this.panels.clientWidth > 660 ? 2 : 1)));
    this.panels.replaceChildren(...(drawn.length ? drawn.map((name) => this.panel(name, lines, first, width))
      : [h("p", { class: "rw-quiet rw-none" }, "The lines come after the first epoch.")]));
  }

  panel(name, lines, first, width) {
    const [own, held] = [lines[name], lines[`val_${name}`] ?? []];
    const scale = scales(first, own.length, limits([own, held]), width, HEIGHT);
    const svg = drawing("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "img", class: "rw-plot",
      "aria-label": `${name} of ${own.length} epochs: training ${written(own.at(-1))}${held.length ? `, validation ${written(held.at(-1))}` : ""}` });
    const clip = `rw-clip-${Math.random().toString(36).slice(2, 10)}`;
    const inside = drawing("clipPath", { id: clip });
    inside.append(drawing("rect", { x: EDGES.left, y: EDGES.top - 4, width: width - EDGES.left - EDGES.right + 5, height: HEIGHT - EDGES.top - EDGES.bottom + 8 }));
    svg.append(inside);
    for (const [value, text] of scale.values) {
      svg.append(drawing("line", { class: "rw-rule", x1: EDGES.left, x2: width - EDGES.right, y1: scale.up(value), y2: scale.up(value) }),
        drawing("text", { x: EDGES.left - 6, y: scale.up(value) + 4, "text-anchor": "end" }, text));
    }
    for (const epoch of scale.epochs) svg.append(drawing("text", { x: scale.across(epoch), y: HEIGHT - EDGES.bottom + 15, "text-anchor": "middle" }, epoch));
    svg.append(drawing("text", { x: (EDGES.left + width - EDGES.right) / 2, y: HEIGHT - 3, "text-anchor": "middle" }, "epoch"));
    const place = best(name, held.length ? held : own);
    const shown = drawing("g", { "clip-path": `url(#${clip})` });
    for (const [kind, values] of [["own", own], ["held", held]]) {
      shown.append(drawing("path", { class: `rw-curve rw-curve-${kind}`, d: path(values, first, scale) }));
      if (values.length === 1) shown.append(drawing("circle", { class: `rw-spot-${kind}`, cx: scale.across(first + 1), cy: scale.up(values[0]), r: 3 }));
    }
    svg.append(shown);
    if (place >= 0 && own.length > 1) {
      svg.append(drawing("circle", { class: `rw-best rw-spot-${held.length ? "held" : "own"}`, cx: scale.across(first + 1 + place), cy: scale.up((held.length ? held : own)[place]), r: 4 }));
    }
    const head = h("div", { class: "rw-panel-head" });
    const mark = drawing("line", { class: "rw-mark", y1: EDGES.top, y2: HEIGHT - EDGES.bottom, visibility: "hidden" });
    svg.append(mark);
    const say = (epoch) => {
      const at = epoch - first - 1;
      head.replaceChildren(h("strong", {}, name), h("span", { class: "rw-key rw-key-own" }, `training ${written(own[at])}`),
        held.length ? h("span", { class: "rw-key rw-key-held" }, `validation ${written(held[at])}`) : "",
        h("span", { class: "rw-quiet" }, at === own.length - 1 && place >= 0 ? `best: epoch ${first + 1 + place}` : `epoch ${epoch}`));
    };
    say(first + own.length);
    svg.addEventListener("pointermove", (event) => {
      const epoch = scale.epochAt(event.clientX - svg.getBoundingClientRect().left);
      mark.setAttribute("visibility", "visible");
      for (const end of ["x1", "x2"]) mark.setAttribute(end, scale.across(epoch));
      say(epoch);
    });
    svg.addEventListener("pointerleave", () => { mark.setAttribute("visibility", "hidden"); say(first + own.length); });
    return h("div", { class: "rw-curve-panel" }, head, svg);
  }

  dispose() {
    this.resize.disconnect();
    for (const [event, call] of Object.entries(this.watch)) this.model.off(event, call);
  }
}

export default {
  render({ model, el }) {
    const view = new Curves(model, el);
    return () => view.dispose();
  },
};
