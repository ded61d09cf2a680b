// The large view of one frame: the original pixels of any band, and everything that is read off them.

import { limitsOf, paintRamp, paintThree, ramp } from "./colour.js";
import { ColourBar } from "./colourbar.js";
import { h, icon, setText } from "./dom.js";
import { fluxOf, profileOf } from "./measure.js";
import { contoursOf, describeRegion, drawContours, drawCross, drawInset, drawMarks, drawObjects, drawRegion } from "./overlay.js";
import { ProfilePlot } from "./profile.js";
import { formatDec, formatDegrees, formatFrequency, formatGalactic, formatRA, formatValue, formatWithError, skyLinks, worldAt } from "./sky.js";
import { paintTile } from "./tiles.js";

const PATIENCE_LARGE = 4000; // ms after which an unanswered request is made again
const ICONS = {
  pan: "M8 1.5v13M1.5 8h13M6 3.5l2-2 2 2M6 12.5l2 2 2-2M3.5 6l-2 2 2 2M12.5 6l2 2-2 2",
  circle: "M13.5 8a5.5 5.5 0 1 1-11 0 5.5 5.5 0 0 1 11 0M8 8h.01",
  ellipse: "M14.5 8c0 2.3-2.9 4-6.5 4S1.5 10.3 1.5 8 4.4 4 8 4s6.5 1.7 6.5 4",
  polygon: "M3 12.5 1.8 6.2 7 2l6.8 3.4L12 13z",
  line: "M2 14 14 2M2 14h.01M14 2h.01",
  blink: "M1.5 8S4 3.8 8 3.8 14.5 8 14.5 8 12 12.2 8 12.2 1.5 8 1.5 8M10 8a2 2 0 1 1-4 0 2 2 0 0 1 4 0",
  rgb: "M10.5 5.8a3.4 3.4 0 1 1-6.8 0 3.4 3.4 0 0 1 6.8 0M12.8 9.8a3.2 3.2 0 1 1-6.4 0 3.2 3.2 0 0 1 6.4 0M8 10.6a3.2 3.2 0 1 1-6.4 0 3.2 3.2 0 0 1 6.4 0",
  inset: "M1.5 2.5h13v11h-13zM4 5h4v3H4z",
  names: "M2 8.5V2.5h6l6 6-6 6zM5 5.5h.01",
  minus: "M3 8h10", plus: "M3 8h10M8 3v10", fit: "M2 6V2h4M10 2h4v4M14 10v4h-4M6 14H2v-4", close: "M3.5 3.5l9 9M12.5 3.5l-9 9",
  back: "M10 3 5 8l5 5", forth: "M6 3l5 5-5 5",
};
const TOOLS = {
  pan: "Move the image by dragging; a click marks a position",
  circle: "Flux density in a circle: drag from its centre",
  ellipse: "Flux density in an ellipse: drag across it",
  polygon: "Flux density in an outline: draw round it",
  line: "Cut profile: drag along a line",
};

export const DEFAULT_LOOK = { band: 0, rgb: false, channels: [], contours: -1, rate: 2, sigma: true, tool: "pan", inset: true, names: true, subtract: true };

// Contrast and bias by dragging with the right button or Shift, as in DS9. `get` returns {contrast, bias}.
export function contrastByDrag(element, get, adjust) {
  let from = null;
  element.addEventListener("contextmenu", (event) => event.preventDefault());
  element.addEventListener("pointerdown", (event) => {
    if (event.button !== 2 && !(event.button === 0 && event.shiftKey)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    element.setPointerCapture(event.pointerId);
    const { contrast = 1, bias = 0.5 } = get() ?? {};
    from = { x: event.clientX, y: event.clientY, contrast, bias };
  });
  element.addEventListener("pointermove", (event) => {
    if (!from) return;
    event.stopImmediatePropagation();
    const box = element.getBoundingClientRect();
    const [dx, dy] = [(event.clientX - from.x) / box.width, (event.clientY - from.y) / box.height];
    adjust({ bias: Math.min(1, Math.max(0, from.bias + dx)), contrast: Math.min(8, Math.max(0.2, from.contrast * Math.exp(-2 * dy))) });
  });
  for (const end of ["pointerup", "pointercancel"]) element.addEventListener(end, (event) => {
    if (from) event.stopImmediatePropagation();
    from = null;
  });
}

export class LargeView {
  // `ask(content)` sends to the kernel; `adjust({contrast, bias})` changes the display of all; `changed(look, passing)`
  // tells that another band or the like is shown (passing: while it blinks, nothing to remember).
  constructor({ close, step, ask = () => {}, adjust = () => {}, changed = () => {} }) {
    Object.assign(this, { ask, adjust, changed });
    this.bands = [{ band: 0, name: "", unit: "" }];
    this.settings = { ...DEFAULT_LOOK };
    this.frame = this.data = this.display = this.mark = this.region = this.asked = null;
    this.zoom = 1;
    this.centre = [0, 0];
    this.images = new Map(); // band -> canvas painted with the present display
    this.parents = new Map();
    this.build(close, step);
    this.listen();
  }

  // ---------------------------------------------------------------- building

  build(close, step) {
    const button = (name, title, call, extra = {}) =>
      h("button", { class: "rw-icon", type: "button", title, "aria-label": title, onclick: () => call(), ...extra }, icon(ICONS[name]));
    const toggle = (name, title, call) => button(name, title, call, { "aria-pressed": "false" });
    const choice = (label, change) => h("select", { class: "rw-select", "aria-label": label, title: label, onchange: (event) => change(Number(event.target.value)) });
    this.title = h("div", { class: "rw-large-title" });
    this.bandChoice = choice("Band (b)", (band) => this.set({ band, rgb: false }));
    this.blinkButton = toggle("blink", "Blink between the bands", () => this.toggleBlink());
    this.rate = choice("Blinks a second", (rate) => this.set({ rate }));
    this.rate.append(...[1, 2, 3].map((rate) => h("option", { value: String(rate) }, `${rate} Hz`)));
    this.rgbButton = toggle("rgb", "Three bands as red, green and blue", () => this.set({ rgb: !this.settings.rgb }));
    this.channelChoices = ["Red", "Green", "Blue"].map((name, k) =>
      choice(name, (band) => this.set({ channels: this.channels().map((old, i) => (i === k ? band : old)) })));
    this.contourChoice = choice("Contours: ±3 σ times powers of √2, negative ones dashed (,)", (contours) => this.set({ contours }));
    this.unitChoice = choice("Unit of values and profiles", (sigma) => this.set({ sigma: sigma === 1 }));
    this.tools = Object.entries(TOOLS).map(([name, title]) => {
      const element = toggle(name, title, () => this.set({ tool: name }));
      element.dataset.tool = name;
      return element;
    });
    this.insetButton = toggle("inset", "The frame on its map", () => this.set({ inset: !this.settings.inset }));
    this.namesButton = toggle("names", "Names of known objects", () => this.set({ names: !this.settings.names }));
    const group = (label, ...children) => h("div", { class: `rw-group rw-group-${label.toLowerCase().split(" ")[0]}`, role: "group", "aria-label": label }, children.flat());
    this.bandGroup = group("Bands", this.bandChoice, this.blinkButton, this.rate, this.rgbButton, this.channelChoices);
    this.canvas = h("canvas", { class: "rw-large-canvas", role: "img", tabindex: "0", "aria-label": "The selected frame, enlarged; arrow keys move the mark" });
    this.profile = new ProfilePlot(() => this.clearRegion());
    this.result = h("div", { class: "rw-card rw-result", role: "status", hidden: true });
    this.bar = new ColourBar();
    this.readout = h("div", { class: "rw-large-readout" }, "Move over the image to read it.");
    this.links = h("div", { class: "rw-large-links" });
    this.element = h("div", { class: "rw-large", role: "dialog", "aria-label": "Large view", hidden: true },
      h("div", { class: "rw-large-bar", role: "toolbar", "aria-label": "Large view" }, this.title, h("span", { class: "rw-grow" }),
        this.bandGroup, group("Contours and unit", this.contourChoice, this.unitChoice), group("Tools", this.tools),
        group("Show", this.insetButton, this.namesButton),
        group("Zoom", button("minus", "Zoom out (- or wheel)", () => this.zoomBy(1 / 1.5)), button("plus", "Zoom in (+ or wheel)", () => this.zoomBy(1.5)),
          button("fit", "Show the whole frame (. or double click)", () => this.fit())),
        group("Frames", button("back", "Previous frame (left arrow)", () => step(-1)), button("forth", "Next frame (right arrow)", () => step(1)),
          button("close", "Back to the gallery (Esc)", close))),
      h("div", { class: "rw-large-stage" }, this.canvas, this.result, this.profile.element),
      this.bar.element, h("div", { class: "rw-large-foot" }, this.readout, this.links));
    this.offer();
  }

  listen() {
    contrastByDrag(this.canvas, () => this.display, this.adjust);
    this.canvas.addEventListener("pointerdown", (event) => this.press(event));
    this.canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const end of ["pointerup", "pointercancel"]) this.canvas.addEventListener(end, (event) => this.release(event));
    this.canvas.addEventListener("pointerleave", () => this.read(this.mark));
    this.canvas.addEventListener("dblclick", () => { if (this.settings.tool === "pan") this.fit(); });
    this.canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoomBy(Math.exp(-event.deltaY / 400), this.place(event));
    }, { passive: false });
    this.observer = new ResizeObserver(() => { this.draw(); this.paintBar(); });
    this.observer.observe(this.canvas);
  }

  // ---------------------------------------------------------------- bands and settings

  // What the kernel can show: `display` of its index.
  take({ bands } = {}) {
    if (Array.isArray(bands) && bands.length) this.bands = bands;
    this.set({}, true);
  }

  // Settings of an earlier session, which may be damaged.
  restore(settings) {
    for (const [name, value] of Object.entries(settings ?? {})) {
      const usual = DEFAULT_LOOK[name];
      if (usual !== undefined && typeof value === typeof usual && Array.isArray(value) === Array.isArray(usual)) this.settings[name] = value;
    }
    this.set({}, true);
  }

  // What tiles of the gallery show beside this view: {band} or {band: "rgb", bands}.
  get look() { return this.settings.rgb ? { band: "rgb", bands: this.channels() } : { band: this.settings.band, bands: undefined }; }

  set(change, passing = false) {
    const settings = Object.assign(this.settings, change);
    const known = (band) => Number.isInteger(band) && band >= 0 && band < this.bands.length;
    if (!known(settings.band)) settings.band = 0;
    if (!known(settings.contours)) settings.contours = -1;
    if (!(settings.tool in TOOLS)) settings.tool = "pan";
    if (![1, 2, 3].includes(settings.rate)) settings.rate = 2;
    if (this.bands.length < 2) settings.rgb = false;
    if (settings.channels.length !== 3 || !settings.channels.every(known)) settings.channels = [];
    if ("channels" in change) this.images.delete("rgb");
    if ("rate" in change && this.blinking) { this.toggleBlink(); this.toggleBlink(); }
    if (!passing) this.lastContours = settings.contours >= 0 ? settings.contours : this.lastContours;
    this.offer();
    this.fetch();
    this.repaint();
    this.changed(this.settings, passing);
  }

  // The longest wavelength is red; where frequencies are not known, the first three bands as they come.
  channels() {
    if (this.settings.channels.length === 3) return this.settings.channels;
    const own = this.bands.length > 3 && this.bands[0].name === "mean of channels" ? 1 : 0;
    const order = this.bands.slice(own).map((band) => band.band);
    if (order.every((band) => this.bands[band].frequency)) order.sort((a, b) => this.bands[a].frequency - this.bands[b].frequency);
    return order.length > 2 ? [order[0], order[Math.floor((order.length - 1) / 2)], order.at(-1)] : [order.at(-1), order[0], order[0]];
  }

  nameOf({ name, frequency }) {
    const at = formatFrequency(frequency ?? NaN);
    return at ? `${name}, ${at}` : name;
  }

  offer() {
    const { settings, bands } = this;
    const several = bands.length > 1;
    const fill = (select, options, value) => {
      const key = JSON.stringify(options);
      if (select.dataset.options !== key) {
        select.dataset.options = key;
        select.replaceChildren(...options.map(([id, text]) => h("option", { value: String(id) }, text)));
      }
      select.value = String(value);
    };
    const names = bands.map((band) => [band.band, this.nameOf(band)]);
    fill(this.bandChoice, names, settings.band);
    const channels = this.channels();
    this.channelChoices.forEach((select, k) => {
      fill(select, names.map(([id, text]) => [id, `${"RGB"[k]}: ${text}`]), channels[k]);
      select.hidden = !settings.rgb;
    });
    fill(this.contourChoice, several ? [[-1, "No contours"], ...names.map(([id, text]) => [id, `Contours: ${text}`])] : [[-1, "No contours"], [0, "Contours"]], settings.contours);
    fill(this.unitChoice, [[1, "σ"], [0, this.band()?.unit || bands[settings.band]?.unit || "map unit"]], settings.sigma ? 1 : 0);
    this.bandGroup.hidden = !several;
    this.bandChoice.hidden = settings.rgb;
    this.rate.hidden = !this.blinking;
    this.rate.value = String(settings.rate);
    const press = (element, on) => element.setAttribute("aria-pressed", String(Boolean(on)));
    press(this.blinkButton, this.blinking);
    press(this.rgbButton, settings.rgb);
    for (const element of this.tools) press(element, element.dataset.tool === settings.tool);
    press(this.insetButton, settings.inset);
    press(this.namesButton, settings.names);
    this.insetButton.hidden = !this.data?.map;
    this.namesButton.hidden = !this.data?.objects?.length;
    this.canvas.style.cursor = settings.tool === "pan" ? "grab" : "crosshair";
  }

  stepBand(by, passing = false) {
    if (this.bands.length < 2) return;
    this.set({ band: (this.settings.band + by + this.bands.length) % this.bands.length, rgb: false }, passing);
  }

  toggleBlink() {
    if (this.blinking) {
      clearInterval(this.blinking);
      this.blinking = null;
      this.set({});
    } else if (this.bands.length > 1) {
      this.settings.rgb = false;
      this.blinking = setInterval(() => {
        const next = (this.settings.band + 1) % this.bands.length;
        if (!this.data || this.data.bands.has(next)) this.stepBand(1, true);
      }, 1000 / this.settings.rate);
      this.offer();
      this.fetch();
    }
  }

  // ---------------------------------------------------------------- pixels from the kernel

  get open() { return !this.element.hidden; }

  // Show `frame` (a number) at once with what is known; pixels follow.
  show(frame, title) {
    this.element.hidden = false;
    setText(this.title, title);
    if (frame === this.frame) return;
    this.frame = frame;
    this.data = this.mark = null;
    this.images.clear();
    this.clearRegion();
    setText(this.readout, "Loading the frame…");
    this.links.replaceChildren();
    this.draw();
    this.fetch();
  }

  hide() {
    if (this.blinking) this.toggleBlink();
    this.element.hidden = true;
    setText(this.title, "");
    this.frame = this.data = null;
    this.images.clear();
    clearTimeout(this.timer);
  }

  // One request at a time, for what is now wanted; one that is lost is made again.
  fetch() {
    clearTimeout(this.timer);
    if (!this.open || this.frame === null) return;
    const noise = this.display?.noise ?? "surroundings";
    if (this.data && this.data.noise !== noise) this.data.bands.clear();
    const { settings } = this;
    const wanted = [...(settings.rgb ? this.channels() : [settings.band]), settings.contours, 0];
    let bands = [...new Set(wanted)].filter((band) => band >= 0 && !this.data?.bands.has(band));
    if (!bands.length) bands = this.bands.map((band) => band.band).filter((band) => !this.data?.bands.has(band)).slice(0, 2); // for `b`
    const inset = settings.inset && this.data?.map && !this.parents.has(this.data.map);
    if (!bands.length && !inset) return;
    if (Date.now() - (this.asked ?? 0) >= PATIENCE_LARGE) {
      this.asked = Date.now();
      this.ask(bands.length ? { kind: "large", frame: this.frame, bands, noise } : { kind: "parent", frame: this.frame });
    }
    this.timer = setTimeout(() => this.fetch(), PATIENCE_LARGE + 100);
  }

  receive(content, buffers) {
    this.asked = 0;
    if (content.kind === "parent") this.takeParent(content, buffers);
    else if (content.frame === this.frame) this.takeFrame(content, buffers);
    this.fetch();
  }

  takeFrame(content, buffers) {
    const copy = (view) => view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength);
    const first = !this.data;
    if (first || this.data.noise !== content.noise) {
      const vectors = new Float64Array(copy(buffers[1]));
      const sky = content.grid ? { ...content.grid, width: content.width, height: content.height, vectors } : null;
      this.data = { ...content, sky, bands: new Map() };
      this.images.clear();
    }
    content.bands.forEach((facts, k) => {
      const pixels = new Float32Array(copy(buffers[k ? k + 1 : 0]));
      const sigma = Float32Array.from(pixels, (value) => (value - facts.background) / facts.rms);
      this.data.bands.set(facts.band, { ...facts, pixels, sigma, blank: !pixels.some(Number.isFinite), width: content.width, height: content.height, limits: new Map() });
    });
    if (first) {
      this.fit();
      this.read(null);
      this.showLinks();
    }
    this.offer();
    this.repaint();
  }

  takeParent({ map, size, width, height }, buffers) {
    const parent = { size, tile: null, image: document.createElement("canvas") };
    if (map !== null) {
      const bits = new Uint16Array(buffers[0].buffer.slice(buffers[0].byteOffset, buffers[0].byteOffset + buffers[0].byteLength));
      parent.tile = { bits, width, height, planes: 1, limits: new Map() };
    }
    this.parents.set(map ?? this.data?.map, parent);
    this.paintParents();
    this.draw();
  }

  // ---------------------------------------------------------------- painting

  // The band that is shown (the first of three), if its pixels are here.
  band() { return this.data?.bands.get(this.settings.rgb ? this.channels()[0] : this.settings.band); }

  // `display`: {map, invert, stretch, contrast, bias, limits (a mode), lo, hi, noise, colours (its ramp, if at hand)}.
  paint(display) {
    this.display = { stretch: "asinh", limits: "shared", lo: -2, hi: 40, ...display };
    this.display.colours ??= ramp(this.display);
    this.display.greys = ramp({ ...this.display, map: "grey", invert: false });
    this.images.clear();
    if (!this.open) return;
    this.paintParents();
    this.fetch();
    this.repaint();
  }

  repaint() {
    if (!this.open) return;
    this.paintBar();
    if (this.region) this.measure();
    this.read(this.mark);
    this.draw();
  }

  limits(band) {
    const { limits, lo, hi } = this.display;
    if (limits === "shared") return [lo, hi];
    if (!band.limits.has(limits)) band.limits.set(limits, limitsOf(band.sigma, limits));
    return band.limits.get(limits);
  }

  three() {
    const bands = this.channels().map((band) => this.data?.bands.get(band));
    return bands.every(Boolean) ? bands : null;
  }

  // The canvas of what is shown, painted when first asked for; null while its pixels are under way.
  image() {
    const { rgb, band } = this.settings;
    const key = rgb ? "rgb" : band;
    if (this.images.has(key)) return this.images.get(key);
    const bands = rgb ? this.three() : [this.band()];
    if (!this.display || !bands?.[0]) return null;
    const { width, height } = this.data;
    const painted = new Uint32Array(width * height);
    if (rgb) paintThree(bands.map((one) => one.sigma), this.display.greys, bands.map((one) => this.limits(one)), painted);
    else paintRamp(bands[0].sigma, this.display.colours, ...this.limits(bands[0]), painted);
    const out = new ImageData(width, height);
    const colours = new Uint32Array(out.data.buffer);
    for (let y = 0; y < height; y++) colours.set(painted.subarray((height - 1 - y) * width, (height - y) * width), y * width);
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    canvas.getContext("2d").putImageData(out, 0, 0);
    this.images.set(key, canvas);
    return canvas;
  }

  paintBar() {
    if (!this.open || !this.display || !this.data) return;
    const three = this.settings.rgb ? this.three() : null;
    const band = this.band();
    if (three) this.bar.paintThree(three, three.map((one) => this.limits(one)));
    else if (band && !this.settings.rgb) this.bar.paint(this.display, band, this.limits(band));
  }

  paintParents() {
    if (!this.display) return;
    for (const { tile, image } of this.parents.values()) {
      if (tile) paintTile(image, tile, { ...this.display, limits: "percentile" });
    }
  }

  contours() {
    const band = this.data?.bands.get(this.settings.contours);
    if (!band) return null;
    band.contours ??= contoursOf(band);
    return band.contours;
  }

  draw() {
    if (!this.open) return;
    const box = this.canvas.getBoundingClientRect();
    const density = window.devicePixelRatio || 1;
    const [w, hgt] = [Math.max(1, Math.round(box.width * density)), Math.max(1, Math.round(box.height * density))];
    if (this.canvas.width !== w || this.canvas.height !== hgt) [this.canvas.width, this.canvas.height] = [w, hgt];
    const pen = this.canvas.getContext("2d");
    pen.clearRect(0, 0, w, hgt);
    if (!this.data || box.width === 0) return;
    const { width, height } = this.data;
    const scale = this.scale() * density;
    const corner = [w / 2 - this.centre[0] * scale, hgt / 2 - this.centre[1] * scale];
    const view = { scale, density, width: w, height: hgt, corner,
      at: (x, y) => [corner[0] + (x + 0.5) * scale, corner[1] + (height - 0.5 - y) * scale] };
    pen.fillStyle = "#2e323b"; // where pixels are blank
    pen.fillRect(...corner, width * scale, height * scale);
    const image = this.image();
    pen.imageSmoothingEnabled = scale < 6 * density; // closer than that, pixels are shown as they are
    pen.imageSmoothingQuality = "high";
    if (image) pen.drawImage(image, ...corner, width * scale, height * scale);
    const contours = this.contours();
    if (contours) drawContours(pen, view, contours);
    if (this.settings.names && this.data.objects?.length) drawObjects(pen, view, this.data.objects);
    if (this.region) drawRegion(pen, view, this.region);
    if (this.mark) drawCross(pen, view, this.mark);
    drawMarks(pen, view, { ...this.data, beam: this.band()?.beam });
    const parent = this.settings.inset ? this.parents.get(this.data.map) : null;
    if (parent?.tile) {
      const { x, y } = this.data;
      const [left, top] = [-corner[0] / scale, -corner[1] / scale];
      const sight = this.zoom > 1.05 ? [x + left, y + height - top - hgt / scale, w / scale, hgt / scale] : null;
      drawInset(pen, view, parent, [x, y, width, height], sight);
    }
    this.element.dataset.painted = image ? `${this.frame}/${this.settings.rgb ? "rgb" : this.settings.band}` : "";
  }

  // ---------------------------------------------------------------- where

  fit() {
    if (!this.data) return;
    this.zoom = 1;
    this.centre = [this.data.width / 2, this.data.height / 2];
    this.draw();
  }

  zoomBy(factor, about = null) {
    if (!this.data) return;
    const before = this.zoom;
    this.zoom = Math.min(40, Math.max(0.5, this.zoom * factor));
    if (about) {
      const ratio = 1 - before / this.zoom;
      this.centre[0] += (about[0] - this.centre[0]) * ratio;
      this.centre[1] += (about[1] - this.centre[1]) * ratio;
    }
    this.draw();
  }

  scale() { // CSS pixels on screen for one pixel of the map
    const box = this.canvas.getBoundingClientRect();
    return this.zoom * Math.min(box.width / this.data.width, box.height / this.data.height);
  }

  // Image coordinates (0 at the left and top edges, y downwards) of a pointer event.
  place(event) {
    const box = this.canvas.getBoundingClientRect();
    const scale = this.scale();
    return [this.centre[0] + (event.clientX - box.left - box.width / 2) / scale,
      this.centre[1] + (event.clientY - box.top - box.height / 2) / scale];
  }

  // Pixel of the frame (centre of the lower left one at 0, 0; y upwards) of a pointer event.
  pixel(event) {
    const [x, y] = this.place(event);
    return [x - 0.5, this.data.height - y - 0.5];
  }

  // ---------------------------------------------------------------- pointer and keys

  press(event) {
    if (!this.data || event.button !== 0) return;
    event.preventDefault(); // the keyboard stays with the gallery
    this.canvas.setPointerCapture(event.pointerId);
    const { tool } = this.settings;
    this.drag = { x: event.clientX, y: event.clientY, centre: [...this.centre], from: this.pixel(event), tool, far: false };
  }

  move(event) {
    if (!this.data) return;
    const { drag } = this;
    if (!drag) { this.read(this.pixel(event)); return; }
    if (Math.hypot(event.clientX - drag.x, event.clientY - drag.y) > 3) drag.far = true;
    if (!drag.far) return;
    if (drag.tool === "pan") {
      const scale = this.scale();
      this.centre = [drag.centre[0] - (event.clientX - drag.x) / scale, drag.centre[1] - (event.clientY - drag.y) / scale];
      this.draw();
      return;
    }
    const [[x0, y0], [x1, y1]] = [drag.from, this.pixel(event)];
    if (drag.tool === "circle") {
      const radius = Math.max(0.3, Math.hypot(x1 - x0, y1 - y0));
      this.region = { kind: "ellipse", x: x0, y: y0, a: radius, b: radius };
    } else if (drag.tool === "ellipse") {
      this.region = { kind: "ellipse", x: (x0 + x1) / 2, y: (y0 + y1) / 2, a: Math.max(0.3, Math.abs(x1 - x0) / 2), b: Math.max(0.3, Math.abs(y1 - y0) / 2) };
    } else if (drag.tool === "line") this.region = { kind: "line", points: [[x0, y0], [x1, y1]] };
    else {
      drag.points ??= [[x0, y0]];
      drag.points.push([x1, y1]);
      this.region = { kind: "polygon", points: drag.points };
    }
    this.measure();
    this.draw();
  }

  release(event) {
    const { drag } = this;
    this.drag = null;
    if (!drag || !this.data || drag.far) return;
    this.setMark(this.pixel(event));
  }

  setMark(place) {
    const { width, height } = this.data;
    this.mark = [Math.min(width - 0.5, Math.max(-0.5, place[0])), Math.min(height - 0.5, Math.max(-0.5, place[1]))];
    this.read(this.mark);
    this.showLinks();
    this.draw();
  }

  // Take a key; true if it was one of this view. Another band is chosen in the gallery too.
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || /^(SELECT|INPUT|TEXTAREA)$/.test(event.target?.tagName ?? "")) return false;
    if ((event.key === "b" || event.key === "B") && this.bands.length > 1) {
      if (event.repeat && Date.now() - (this.blinked ?? 0) < 1000 / this.settings.rate) return true;
      this.blinked = Date.now();
      this.stepBand(event.key === "b" ? 1 : -1);
      return true;
    }
    if (!this.open) return false;
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    if (event.target === this.canvas && event.key in moves && this.data) {
      const [dx, dy] = moves[event.key];
      const far = event.shiftKey ? 10 : 1;
      const [x, y] = this.mark ?? [Math.floor(this.data.width / 2), Math.floor(this.data.height / 2)];
      this.setMark([x + far * dx, y + far * dy]);
      return true;
    }
    if (event.key === "Escape" && (this.region || this.blinking)) {
      if (this.blinking) this.toggleBlink();
      else this.clearRegion();
      return true;
    }
    const contrast = (factor) => {
      const { contrast: now = 1 } = this.display ?? {};
      this.adjust({ contrast: Math.min(8, Math.max(0.2, now * factor)) });
    };
    const call = { "+": () => this.zoomBy(1.5), "=": () => this.zoomBy(1.5), "-": () => this.zoomBy(1 / 1.5), ".": () => this.fit(),
      ",": () => this.set({ contours: this.settings.contours >= 0 ? -1 : this.lastContours ?? this.settings.band }),
      "[": () => contrast(1 / 1.25), "]": () => contrast(1.25) }[event.key];
    if (!call) return false;
    call();
    return true;
  }

  // ---------------------------------------------------------------- reading off

  world([x, y]) { return worldAt(this.data.sky, x, y); }

  read(place) {
    if (!this.data) return;
    const band = this.band();
    const [column, row] = (place ?? [-1, -1]).map(Math.round);
    if (!band || !place || column < 0 || row < 0 || column >= this.data.width || row >= this.data.height) {
      if (!place) setText(this.readout, band?.blank ? "There is nothing of this band here." : "Move over the image to read it; click to mark a position.");
      return;
    }
    const index = row * this.data.width + column;
    const { pixels, sigma, unit } = band;
    const value = formatValue(pixels[index], unit);
    const level = Number.isFinite(sigma[index]) ? `${sigma[index].toFixed(1)} σ`.replace("-", "−") : "no data";
    const world = this.world(place);
    const parts = [...(this.settings.sigma ? [level, value] : [value, level]), `pixel ${this.data.x + column}, ${this.data.y + row}`,
      ...(world ? [`${formatRA(world.ra)} ${formatDec(world.dec)}`, formatDegrees(world.ra, world.dec), formatGalactic(world.ra, world.dec)] : ["no sky coordinates"])];
    this.readout.replaceChildren(...parts.map((part) => h("span", {}, part)));
  }

  // Links and copying are for the marked position, or the centre.
  showLinks() {
    const { width, height, pixel_scale } = this.data;
    const world = this.world(this.mark ?? [(width - 1) / 2, (height - 1) / 2]);
    if (!world) { this.links.replaceChildren(); return; }
    const size = pixel_scale ? (Math.max(width, height) * pixel_scale) / 3600 : 0.1;
    const where = this.mark ? "marked position" : "centre of the frame";
    const copy = h("button", { class: "rw-link", type: "button", title: `Copy the ${where}`, onclick: () => this.copy(formatDegrees(world.ra, world.dec).replace("−", "-"), copy) }, "Copy position");
    this.links.replaceChildren(...Object.entries(skyLinks(world.ra, world.dec, size)).map(([name, href]) =>
      h("a", { class: "rw-link", href, target: "_blank", rel: "noopener noreferrer", title: `${name} at the ${where}, in a new tab` }, name)), copy);
  }

  async copy(text, button) {
    try {
      await navigator.clipboard.writeText(text);
      setText(button, "Copied");
    } catch (error) { // a page without a secure address may not write: show what to copy
      setText(button, text);
    }
    setTimeout(() => setText(button, "Copy position"), 2500);
  }

  clearRegion() {
    this.region = null;
    this.result.hidden = true;
    this.profile.element.hidden = true;
    this.draw();
  }

  measure() {
    const band = this.band();
    if (!band || !this.region) return;
    const line = this.region.kind === "line";
    this.result.hidden = line;
    this.profile.element.hidden = !line;
    if (line) this.profile.show(profileOf(band, ...this.region.points), band, this.data.pixel_scale, this.settings.sigma);
    else this.showFlux(band);
  }

  showFlux(band) {
    const { subtract } = this.settings;
    const found = fluxOf(band, this.region, { ...band, beam_area: band.beam_area ?? 1 }, subtract);
    const rows = [];
    if (Number.isFinite(found.flux)) rows.push(["Flux density", formatWithError(found.flux, found.error, "Jy")]);
    else rows.push(["Sum", formatValue(found.sum - (subtract ? band.background * found.area : 0), band.unit)], ["", band.no_flux ?? "nothing inside"]);
    if (found.at) rows.push(["Peak", `${formatValue(found.peak, band.unit)} (${((found.peak - band.background) / band.rms).toFixed(1)} σ)`]);
    rows.push(["Area", `${found.area.toFixed(0)} px, ${found.beams.toPrecision(3)} ${band.beam ? "beams" : "independent pixels"}`]);
    if (found.blank > 0.5) rows.push(["Blank", `${((100 * found.blank) / (found.blank + found.area)).toFixed(0)} % left out`]);
    const box = h("input", { type: "checkbox", onchange: (event) => this.set({ subtract: event.target.checked }) });
    box.checked = subtract;
    this.result.replaceChildren(
      h("div", { class: "rw-card-head" }, h("strong", {}, describeRegion(this.region, this.data.pixel_scale)),
        h("button", { class: "rw-icon", type: "button", title: "Remove the region (Esc)", "aria-label": "Remove the region", onclick: () => this.clearRegion() }, icon(ICONS.close))),
      h("div", { class: "rw-card-rows" }, rows.flatMap(([name, value]) => [h("span", { class: "rw-fact" }, name), h("span", {}, value)])),
      h("label", { class: "rw-field" }, box, `background ${formatValue(band.background, band.unit).replace("-", "−")} taken off`));
  }

  dispose() {
    clearInterval(this.blinking);
    clearTimeout(this.timer);
    this.observer.disconnect();
  }
}
