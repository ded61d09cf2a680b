// The colour bar: what the colours mean, in sigma above it and in the map's unit below.

import { STRETCHES } from "./colour.js";
import { h } from "./dom.js";
import { scaledUnit } from "./sky.js";

const ROOM = 46; // px between the labels of two ticks

// Round numbers of `range` that lie at least ROOM apart where `place` puts them (px): powers of ten first.
export function spacedTicks([lo, hi], place) {
  const most = Math.max(Math.abs(lo), Math.abs(hi));
  const power = Math.floor(Math.log10(most || 1));
  const chosen = [];
  const offer = (value) => {
    if (value < lo || value > hi || chosen.some((other) => Math.abs(place(other) - place(value)) < ROOM)) return;
    chosen.push(value);
  };
  offer(0);
  for (const digit of [1, 5, 2, 3]) {
    for (let k = power; k > power - 4; k--) for (const sign of [1, -1]) offer(Number((sign * digit * 10 ** k).toPrecision(3)));
  }
  return chosen.sort((a, b) => a - b);
}

export class ColourBar {
  constructor() {
    this.strip = h("canvas", { class: "rw-colour-strip", width: "256", height: "1" });
    this.above = h("div", { class: "rw-colour-ticks" });
    this.below = h("div", { class: "rw-colour-ticks" });
    this.sigma = h("span", { class: "rw-colour-unit" }, "σ");
    this.unit = h("span", { class: "rw-colour-unit" });
    this.three = h("div", { class: "rw-colour-three" });
    this.scale = h("div", { class: "rw-colour-scale" }, this.above, this.sigma, this.strip, h("span"), this.below, this.unit);
    this.element = h("div", { class: "rw-colour-bar", role: "img" }, this.scale, this.three);
  }

  // `display`: {colours, stretch}; `band`: {background, rms, unit}; [lo, hi] in sigma.
  paint(display, band, [lo, hi]) {
    this.scale.hidden = false;
    this.three.hidden = true;
    const curve = STRETCHES[display.stretch] ?? STRETCHES.linear;
    const pen = this.strip.getContext("2d");
    const image = new ImageData(256, 1);
    const out = new Uint32Array(image.data.buffer);
    let step = 0;
    for (let x = 0; x < 256; x++) { // the bar is even in colour, not in value, so that what is faint has room
      while (step < display.colours.length - 1 && curve(step / (display.colours.length - 1)) < x / 255) step++;
      out[x] = display.colours[step];
    }
    pen.putImageData(image, 0, 0);
    const width = this.strip.clientWidth || 300;
    const share = (sigma) => curve(Math.min(1, Math.max(0, (sigma - lo) / (hi - lo))));
    const ticks = (range, toSigma, format) => spacedTicks(range, (value) => share(toSigma(value)) * width)
      .map((value) => h("span", { class: "rw-colour-tick", style: { left: `${(100 * share(toSigma(value))).toFixed(2)}%` } }, format(value)));
    const write = (value) => String(Number(value.toPrecision(6))).replace("-", "−");
    this.above.replaceChildren(...ticks([lo, hi], (value) => value, write));
    const [low, high] = [band.background + lo * band.rms, band.background + hi * band.rms];
    const { factor, unit } = scaledUnit(Math.max(Math.abs(low), Math.abs(high)), band.unit);
    this.below.replaceChildren(...ticks([low / factor, high / factor], (value) => (value * factor - band.background) / band.rms, write));
    this.unit.textContent = unit || "map unit";
    this.element.setAttribute("aria-label", `Colours from ${write(Number(lo.toPrecision(3)))} to ${write(Number(hi.toPrecision(3)))} sigma`);
  }

  // Three bands: which colour is which, and how far each reaches.
  paintThree(bands, limits) {
    this.scale.hidden = true;
    this.three.hidden = false;
    const write = ([lo, hi]) => `${lo.toPrecision(2)} to ${hi.toPrecision(2)} σ`.replaceAll("-", "−");
    this.three.replaceChildren(...bands.map((band, k) => h("span", { class: "rw-colour-name" },
      h("span", { class: "rw-colour-dot", style: { background: ["#e5372b", "#22a13a", "#3a6df0"][k] } }), `${band.name}  ${write(limits[k])}`)));
    this.element.setAttribute("aria-label", `Red, green and blue: ${bands.map((band) => band.name).join(", ")}`);
  }
}
