// What the colours of points mean: a bar with numbers, or categories to click on.

import { h } from "./dom.js";
import { css } from "./pointcolours.js";
import { niceTicks, tickText } from "./viewport.js";

export class Legend {
  constructor(choose) {
    this.choose = choose;
    this.element = h("div", { class: "rw-legend", role: "group", "aria-label": "Colours" });
  }

  paint(legend, colours, most) {
    this.element.replaceChildren(...(legend.kind === "category" ? this.categories(legend) : this.scale(legend, colours, most)));
  }

  categories({ name, names, colours, counts, none }) {
    const row = (text, colour, count, code) => h("button", { class: "rw-legend-row", type: "button", title: `Select these ${count.toLocaleString("en")}`,
      onclick: (event) => this.choose(code, event.shiftKey) },
      h("span", { class: "rw-swatch", style: { background: colour } }), h("span", { class: "rw-legend-name" }, text), h("span", { class: "rw-quiet" }, count.toLocaleString("en")));
    return [h("div", { class: "rw-legend-title" }, name), ...names.map((text, code) => row(text, colours[code], counts[code], code)),
      none ? row("none", "transparent", none, -1) : null].filter(Boolean);
  }

  scale({ kind, name, limits, log, unit }, colours, most) {
    const [low, high] = kind === "density" ? [0, Math.log1p(most ?? 1)] : limits;
    const strip = h("canvas", { class: "rw-legend-strip", width: "254", height: "1" });
    const pen = strip.getContext("2d");
    for (let code = 2; code < 256; code++) {
      pen.fillStyle = css(colours[code]);
      pen.fillRect(code - 2, 0, 1, 1);
    }
    const ticks = scaleTicks(low, high, kind === "density" ? "log1p" : log ? "log" : "linear")
      .map(([share, text]) => h("span", { class: "rw-colour-tick", style: { left: `${(100 * share).toFixed(1)}%` } }, text));
    const title = kind === "density" ? "points in a pixel" : name;
    return [h("div", { class: "rw-legend-title", title: unit ?? "" }, title), strip, h("div", { class: "rw-colour-ticks" }, ticks)];
  }
}

// [share of the bar, text] of round numbers; `how` the values were stretched.
export function scaleTicks(low, high, how) {
  if (how === "linear") {
    const ticks = niceTicks(low, high, 4);
    const step = ticks.length > 1 ? ticks[1] - ticks[0] : high - low;
    return ticks.map((value) => [(value - low) / (high - low), tickText(value, step)]);
  }
  const [from, to] = how === "log" ? [10 ** low, 10 ** high] : [Math.expm1(low), Math.expm1(high)];
  const place = (value) => ((how === "log" ? Math.log10(value) : Math.log1p(value)) - low) / (high - low);
  const found = [];
  const offer = (value) => {
    const share = place(value);
    if (share < -0.001 || share > 1.001 || found.some(([other]) => Math.abs(other - share) < 0.17)) return;
    found.push([share, tickText(value, value || 1)]);
  };
  if (how === "log1p") offer(1);
  for (const digit of [1, 2, 5, 3, 7]) for (let k = Math.floor(Math.log10(from || 1)); k <= Math.log10(to || 1); k++) offer(digit * 10 ** k);
  return found.sort((a, b) => a[0] - b[0]);
}
