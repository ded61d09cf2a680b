// The display settings of all tiles: scale, stretch, colours, contrast, size.

import { COLOUR_MAPS, LIMIT_MODES, STRETCHES } from "./colour.js";
import { h } from "./dom.js";
import { DEFAULT_VIEW } from "./settings.js";
import { NOISE_MODES } from "./tiles.js";

export class Controls {
  constructor(app) {
    this.app = app;
    this.inputs = {};
    const same = (names) => Object.fromEntries(names.map((name) => [name, name]));
    const display = (change) => (value) => { change(value); app.redraw(); app.saveView(); };
    const view = () => app.view;
    this.shared = h("span", { class: "rw-pair" },
      this.number("lo", "lowest value shown, in σ", (value) => this.setLimits(value, view().hi)), "to",
      this.number("hi", "highest value shown, in σ", (value) => this.setLimits(view().lo, value)), "σ");
    this.size = this.slider("tile", "Size", 56, 320, 4, (value) => { view().tile = value; app.gallery.layout(true); app.schedule(); app.saveView(); });
    this.element = h("div", { class: "rw-controls", role: "group", "aria-label": "Display" },
      this.choice("limits", "Scale", LIMIT_MODES, display((value) => { view().limits = value; })), this.shared,
      this.choice("noise", "Noise", NOISE_MODES, display((value) => { view().noise = value; app.tiles.show({ noise: value }); })),
      this.choice("stretch", "Stretch", same(Object.keys(STRETCHES)), display((value) => { view().stretch = value; })),
      this.choice("map", "Colours", same(COLOUR_MAPS), display((value) => { view().map = value; })),
      h("button", { class: "rw-button", type: "button", title: "Invert the colours", onclick: () => { app.invert(); app.focus(); } }, "Invert"),
      this.slider("contrast", "Contrast", 0.25, 4, 0.05, display((value) => { view().contrast = value; })),
      this.slider("bias", "Bias", 0, 1, 0.01, display((value) => { view().bias = value; })),
      this.check("codes", "Tag codes", "Two letters for each tag on the tiles", (on) => { view().codes = on; app.schedule(); app.saveView(); }));
  }

  choice(name, label, options, change) {
    const select = h("select", { class: "rw-select", "aria-label": label, title: label,
      onchange: () => { change(select.value); this.app.focus(); } },
      Object.entries(options).map(([value, text]) => h("option", { value }, text)));
    this.inputs[name] = select;
    return h("label", { class: "rw-field" }, h("span", {}, label), select);
  }

  slider(name, label, min, max, step, input) {
    const range = h("input", { class: "rw-range", type: "range", min: String(min), max: String(max), step: String(step),
      "aria-label": label, title: `${label} (double click: as it was)`, oninput: () => input(Number(range.value)),
      onchange: () => this.app.focus(),
      ondblclick: () => { range.value = String(DEFAULT_VIEW[name]); input(DEFAULT_VIEW[name]); } });
    this.inputs[name] = range;
    return h("label", { class: "rw-field" }, h("span", {}, label), range);
  }

  number(name, label, change) {
    const input = h("input", { class: "rw-number", type: "number", step: "any", "aria-label": label, title: label,
      onchange: () => change(input.value.trim() === "" ? NaN : Number(input.value)) });
    this.inputs[name] = input;
    return input;
  }

  check(name, label, title, change) {
    const box = h("input", { type: "checkbox", title, onchange: () => { change(box.checked); this.app.focus(); } });
    this.inputs[name] = box;
    return h("label", { class: "rw-field", title }, box, label);
  }

  setLimits(lo, hi) {
    const { view } = this.app;
    const valid = Number.isFinite(lo) && Number.isFinite(hi) && hi > lo;
    if (valid) Object.assign(view, { lo, hi });
    else this.app.saving.announce("the lower limit must be below the upper one");
    this.inputs.lo.value = String(view.lo);
    this.inputs.hi.value = String(view.hi);
    if (valid) { this.app.redraw(); this.app.saveView(); }
  }

  show(view) {
    for (const [name, input] of Object.entries(this.inputs)) {
      if (input.type === "checkbox") input.checked = view[name];
      else input.value = String(view[name]);
    }
  }

  colours(view) { this.shared.classList.toggle("rw-off", view.limits !== "shared"); }
}
