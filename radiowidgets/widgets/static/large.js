// The large view of one frame: the original pixels, pan, zoom, readout, beam and scale bar.

import { limitsOf, paintRamp } from "./colour.js";
import { h, setText } from "./dom.js";
import { formatDec, formatDegrees, formatRA, formatValue, niceAngle, worldAt } from "./sky.js";

export class LargeView {
  constructor({ close, step }) {
    this.frame = null;
    this.zoom = 1;
    this.centre = [0, 0];
    this.canvas = h("canvas", { class: "rw-large-canvas", role: "img", "aria-label": "The selected frame, enlarged" });
    this.readout = h("div", { class: "rw-large-readout" }, "Move over the image to read it.");
    this.title = h("div", { class: "rw-large-title" });
    const button = (label, title, call) => h("button", { class: "rw-button", type: "button", title, onclick: call }, label);
    this.element = h("div", { class: "rw-large", role: "dialog", "aria-label": "Large view", hidden: true },
      h("div", { class: "rw-large-bar" }, this.title, h("span", { class: "rw-grow" }),
        button("−", "Zoom out (wheel)", () => this.zoomBy(1 / 1.5)),
        button("+", "Zoom in (wheel)", () => this.zoomBy(1.5)),
        button("Fit", "Show the whole frame (double click)", () => this.fit()),
        button("‹", "Previous frame (left arrow)", () => step(-1)),
        button("›", "Next frame (right arrow)", () => step(1)),
        button("Close", "Back to the gallery (Esc)", close)),
      this.canvas, this.readout);
    this.image = document.createElement("canvas");
    this.canvas.addEventListener("pointermove", (event) => this.move(event));
    this.canvas.addEventListener("pointerdown", (event) => {
      this.drag = { x: event.clientX, y: event.clientY, centre: [...this.centre] };
      this.canvas.setPointerCapture(event.pointerId);
    });
    for (const end of ["pointerup", "pointercancel"]) this.canvas.addEventListener(end, () => { this.drag = null; });
    this.canvas.addEventListener("pointerleave", () => this.read(null));
    this.canvas.addEventListener("dblclick", () => this.fit());
    this.canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoomBy(Math.exp(-event.deltaY / 400), this.place(event));
    }, { passive: false });
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.element);
  }

  get open() { return !this.element.hidden; }

  // Show `frame` (a number) at once with what is known; pixels follow with `receive`, unless they are here.
  show(frame, title) {
    this.element.hidden = false;
    setText(this.title, title);
    if (frame === this.frame) return;
    this.frame = frame;
    this.data = null;
    setText(this.readout, "Loading the frame…");
    this.draw();
  }

  hide() {
    this.element.hidden = true;
    this.frame = null;
    this.data = null;
  }

  receive(content, buffers) {
    if (content.frame !== this.frame) return;
    const copy = (view) => view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength);
    const pixels = new Float32Array(copy(buffers[0]));
    const sky = content.grid
      ? { ...content.grid, width: content.width, height: content.height, vectors: new Float64Array(copy(buffers[1])) }
      : null;
    const sigma = Float32Array.from(pixels, (value) => (value - content.background) / content.rms);
    this.data = { ...content, pixels, sigma, sky };
    this.fit();
    setText(this.readout, "Move over the image to read it.");
  }

  // `display`: {colours, limits: "shared" or a mode, lo, hi}, the same as the gallery's.
  paint(display) {
    this.display = display;
    if (!this.data || !display) return;
    const { width, height, sigma, pixels } = this.data;
    const [lo, hi] = display.limits === "shared" ? [display.lo, display.hi] : limitsOf(sigma, display.limits);
    this.image.width = width;
    this.image.height = height;
    const out = new ImageData(width, height);
    const colours = new Uint32Array(out.data.buffer);
    const straight = new Uint32Array(pixels.length);
    paintRamp(sigma, display.colours, lo, hi, straight);
    for (let y = 0; y < height; y++) colours.set(straight.subarray((height - 1 - y) * width, (height - y) * width), y * width);
    this.image.getContext("2d").putImageData(out, 0, 0);
    this.draw();
  }

  fit() {
    if (!this.data) return;
    this.zoom = 1;
    this.centre = [this.data.width / 2, this.data.height / 2];
    this.paint(this.display);
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

  move(event) {
    if (!this.data) return;
    if (this.drag) {
      const scale = this.scale();
      this.centre = [this.drag.centre[0] - (event.clientX - this.drag.x) / scale,
        this.drag.centre[1] - (event.clientY - this.drag.y) / scale];
      this.draw();
    } else this.read(this.place(event));
  }

  read(place) {
    if (!this.data || !place) return;
    const { width, height, pixels, sigma, x, y, unit, sky } = this.data;
    const [column, row] = [Math.floor(place[0]), height - 1 - Math.floor(place[1])];
    if (column < 0 || row < 0 || column >= width || row >= height) return;
    const index = row * width + column;
    const world = worldAt(sky, place[0] - 0.5, height - place[1] - 0.5);
    const parts = [
      `${formatValue(pixels[index], unit)}`,
      Number.isFinite(sigma[index]) ? `${sigma[index].toFixed(1)} σ` : "no data",
      `pixel ${x + column}, ${y + row}`,
      world ? `${formatRA(world.ra)} ${formatDec(world.dec)}` : "no sky coordinates",
      world ? formatDegrees(world.ra, world.dec) : null,
    ];
    setText(this.readout, parts.filter(Boolean).join("   ·   "));
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
    const scale = this.scale() * density;
    pen.imageSmoothingEnabled = scale < 6 * density; // closer than that, pixels are shown as they are
    pen.imageSmoothingQuality = "high";
    const place = [w / 2 - this.centre[0] * scale, hgt / 2 - this.centre[1] * scale, this.data.width * scale, this.data.height * scale];
    pen.fillStyle = "#2e323b"; // where pixels are blank
    pen.fillRect(...place);
    pen.drawImage(this.image, ...place);
    this.annotate(pen, scale, w, hgt, density);
  }

  // Beam at the lower left, scale bar at the lower right, compass at the upper right.
  annotate(pen, scale, w, hgt, density) {
    const { beam, pixel_scale, north, east } = this.data;
    const pad = 16 * density;
    pen.save();
    pen.lineWidth = 1.5 * density;
    pen.font = `${12 * density}px system-ui, sans-serif`;
    pen.shadowColor = "rgba(0,0,0,0.9)";
    pen.shadowBlur = 4 * density;
    pen.strokeStyle = pen.fillStyle = "#fff";
    if (beam) {
      const [a, b] = [(beam.major * scale) / 2, (beam.minor * scale) / 2];
      pen.beginPath();
      pen.ellipse(pad + a, hgt - pad - a, a, b, -beam.angle, 0, 2 * Math.PI);
      pen.stroke();
    }
    if (pixel_scale) {
      const bar = niceAngle((w / scale) * pixel_scale);
      const length = (bar.length / pixel_scale) * scale;
      pen.fillRect(w - pad - length, hgt - pad, length, 2 * density);
      pen.textAlign = "center";
      pen.fillText(bar.label, w - pad - length / 2, hgt - pad - 6 * density);
    }
    if (north && east) {
      const [x, y, length] = [w - pad - 30 * density, pad + 34 * density, 24 * density];
      pen.textAlign = "center";
      pen.textBaseline = "middle";
      for (const [vector, letter] of [[north, "N"], [east, "E"]]) {
        pen.beginPath();
        pen.moveTo(x, y);
        pen.lineTo(x + vector[0] * length, y - vector[1] * length);
        pen.stroke();
        pen.fillText(letter, x + vector[0] * length * 1.4, y - vector[1] * length * 1.4);
      }
    }
    pen.restore();
  }

  dispose() { this.observer.disconnect(); }
}
