// A cut through a frame: a small plot of value against offset.

import { h, icon } from "./dom.js";
import { niceTicks } from "./measure.js";
import { scaledUnit } from "./sky.js";

const EDGES = { left: 52, right: 12, top: 10, bottom: 34 }; // px

export class ProfilePlot {
  constructor(close) {
    this.canvas = h("canvas", { class: "rw-profile", role: "img" });
    this.element = h("div", { class: "rw-card rw-profile-card", hidden: true },
      h("div", { class: "rw-card-head" }, h("strong", {}, "Profile"),
        h("button", { class: "rw-icon", type: "button", title: "Remove the profile (Esc)", "aria-label": "Remove the profile", onclick: () => close() }, icon("M3.5 3.5l9 9M12.5 3.5l-9 9"))),
      this.canvas);
  }

  // `profile`: {offsets (pixels), values}; `band`: {unit, background, rms, name}; arcsec a pixel, if known.
  show({ offsets, values }, band, pixelScale, inSigma) {
    const { factor, unit } = inSigma ? { factor: 1, unit: "σ" } : scaledUnit(Math.max(...values.filter(Number.isFinite).map(Math.abs), 0), band.unit);
    const y = Float64Array.from(values, (value) => (inSigma ? (value - band.background) / band.rms : value / factor));
    const length = offsets.at(-1) * (pixelScale ?? 1);
    const [stretch, word] = !pixelScale ? [1, "pixels"] : length > 600 ? [60, "arcmin"] : [1, "arcsec"];
    const x = Float64Array.from(offsets, (offset) => (offset * (pixelScale ?? 1)) / stretch);
    const seen = y.filter(Number.isFinite);
    let [lo, hi] = seen.length ? [Math.min(...seen), Math.max(...seen)] : [0, 1];
    const margin = 0.06 * (hi - lo || 1);
    [lo, hi] = [lo - margin, hi + margin];
    this.paint(x, y, [0, x.at(-1) || 1], [lo, hi], `offset (${word})`, unit || "map unit");
    this.canvas.setAttribute("aria-label", `Profile of ${band.name}: ${seen.length ? `from ${seen[0].toPrecision(3)} to ${seen.at(-1).toPrecision(3)}, highest ${Math.max(...seen).toPrecision(3)}` : "blank"} ${unit}`);
  }

  paint(x, y, [x0, x1], [y0, y1], xName, yName) {
    const density = window.devicePixelRatio || 1;
    const [width, height] = [this.canvas.clientWidth || 320, this.canvas.clientHeight || 160];
    [this.canvas.width, this.canvas.height] = [Math.round(width * density), Math.round(height * density)];
    const pen = this.canvas.getContext("2d");
    pen.scale(density, density);
    const style = getComputedStyle(this.canvas);
    const [ink, accent] = [style.color, style.getPropertyValue("--rw-accent") || "#2f7de1"];
    const across = (value) => EDGES.left + ((value - x0) / (x1 - x0)) * (width - EDGES.left - EDGES.right);
    const up = (value) => height - EDGES.bottom - ((value - y0) / (y1 - y0)) * (height - EDGES.top - EDGES.bottom);
    pen.font = "11px system-ui, sans-serif";
    pen.fillStyle = pen.strokeStyle = ink;
    pen.lineWidth = 1;
    const write = (value) => String(Number(value.toPrecision(6))).replace("-", "−");
    pen.textAlign = "center";
    for (const tick of niceTicks(x0, x1, width / 80)) pen.fillText(write(tick), across(tick), height - EDGES.bottom + 14);
    pen.fillText(xName, (EDGES.left + width - EDGES.right) / 2, height - 5);
    pen.textAlign = "right";
    for (const tick of niceTicks(y0, y1, height / 40)) {
      pen.fillText(write(tick), EDGES.left - 6, up(tick) + 4);
      pen.globalAlpha = tick === 0 ? 0.5 : 0.15;
      pen.beginPath();
      pen.moveTo(EDGES.left, up(tick));
      pen.lineTo(width - EDGES.right, up(tick));
      pen.stroke();
      pen.globalAlpha = 1;
    }
    pen.save();
    pen.translate(10, (EDGES.top + height - EDGES.bottom) / 2);
    pen.rotate(-Math.PI / 2);
    pen.textAlign = "center";
    pen.fillText(yName, 0, 0);
    pen.restore();
    pen.strokeStyle = accent;
    pen.lineWidth = 1.6;
    pen.lineJoin = "round";
    pen.beginPath();
    let drawing = false;
    for (let k = 0; k < x.length; k++) {
      if (!Number.isFinite(y[k])) { drawing = false; continue; }
      if (drawing) pen.lineTo(across(x[k]), up(y[k]));
      else pen.moveTo(across(x[k]), up(y[k]));
      drawing = true;
    }
    pen.stroke();
  }
}
