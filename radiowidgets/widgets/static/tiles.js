// Tiles of the gallery: asked for page by page, kept as raw float16 bits.

import { limitsOf, paintRamp, paintTable, paintThree, toFloats } from "./colour.js";

export const NOISE_MODES = { surroundings: "round each frame", frame: "in each frame", map: "of the map" };

const PAGE = 24; // tiles in one request: small enough that the first ones paint at once
const UNDER_WAY = 2; // requests that may wait for the kernel at a time
const PATIENCE = 6000; // ms after which an unanswered request is made again

export class TileStore {
  constructor({ request, arrived, capacity = 160e6, now = () => Date.now() }) {
    Object.assign(this, { request, arrived, capacity, now });
    this.tiles = new Map(); // "frame/size" -> tile, least recently used first
    this.waiting = new Map(); // request number -> {frames, size, since}
    this.bytes = 0;
    this.counter = 0;
    this.wanted = [];
    this.size = 96;
    this.look = { band: 0, noise: "surroundings" };
  }

  // Which band tiles show, {band: a number, or "rgb" with three `bands`; noise}: those of others stay at hand.
  show(look) { this.look = { ...this.look, ...look }; }

  key(frame, size = this.size, { band, bands, noise } = this.look) {
    return `${frame}/${size}/${band === "rgb" ? bands.join("+") : band}/${noise}`;
  }

  get(frame, size = this.size) {
    const key = this.key(frame, size);
    const tile = this.tiles.get(key);
    if (tile) { // move to the end: most recently used
      this.tiles.delete(key);
      this.tiles.set(key, tile);
    }
    return tile;
  }

  // What the screen needs now, most urgent first; replaces what was wanted before.
  want(frames, size) {
    this.size = size;
    this.wanted = [...new Set(frames)];
    this.pump();
  }

  pump() {
    const asked = new Set();
    for (const [number, { keys, since }] of this.waiting) {
      if (this.now() - since > PATIENCE) this.waiting.delete(number);
      else for (const key of keys) asked.add(key);
    }
    const missing = this.wanted.filter((frame) => !asked.has(this.key(frame)) && !this.tiles.has(this.key(frame)));
    while (missing.length && this.waiting.size < UNDER_WAY) {
      const frames = missing.splice(0, PAGE);
      const number = ++this.counter;
      this.waiting.set(number, { keys: frames.map((frame) => this.key(frame)), since: this.now() });
      try {
        this.request({ kind: "tiles", request: number, frames, size: this.size, ...this.look });
      } catch (error) {
        this.waiting.clear(); // no kernel: the outbox says so when there is something to lose
        return;
      }
    }
  }

  receive({ request, frames, width, height, facts, planes = 1, band = 0, bands, noise = this.look.noise }, buffer) {
    const all = new Uint16Array(buffer.buffer.slice(buffer.byteOffset, buffer.byteOffset + buffer.byteLength));
    const area = width * height * planes;
    frames.forEach((frame, i) => {
      const key = this.key(frame, Math.max(width, height), { band, bands, noise });
      if (this.tiles.has(key)) return;
      const bits = all.subarray(i * area, (i + 1) * area);
      this.tiles.set(key, { bits, width, height, planes, facts: facts[i], limits: new Map() });
      this.bytes += 2 * area;
    });
    for (const [key, tile] of this.tiles) {
      if (this.bytes <= this.capacity) break;
      this.tiles.delete(key);
      this.bytes -= 2 * tile.bits.length;
    }
    this.waiting.delete(request);
    this.pump();
    this.arrived(frames);
  }
}

// Limits of a tile (or of one of its planes) by itself, worked out once a mode.
export function tileLimits(tile, mode, plane = 0) {
  const key = `${mode}/${plane}`;
  if (!tile.limits.has(key)) tile.limits.set(key, limitsOf(toFloats(planeOf(tile, plane)), mode));
  return tile.limits.get(key);
}

function planeOf({ bits, width, height }, plane) { return bits.subarray(plane * width * height, (plane + 1) * width * height); }

// Paint a tile on a canvas. `display`: {limits (a mode), lo, hi, colours (a ramp), greys (a grey ramp, for three
// bands), lookup (the table of colours between lo and hi)}.
export function paintTile(canvas, tile, { limits, lo, hi, colours, greys, lookup }) {
  const { width, height, planes } = tile;
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  const image = new ImageData(width, height);
  const out = new Uint32Array(image.data.buffer);
  const span = (plane) => (limits === "shared" ? [lo, hi] : tileLimits(tile, limits, plane));
  if (planes === 3) paintThree([0, 1, 2].map((k) => toFloats(planeOf(tile, k))), greys, [0, 1, 2].map(span), out);
  else if (limits === "shared") paintTable(tile.bits, lookup, out);
  else paintRamp(toFloats(tile.bits), colours, ...span(0), out);
  canvas.getContext("2d").putImageData(image, 0, 0);
}
