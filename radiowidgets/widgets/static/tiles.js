// Tiles of the gallery: asked for page by page, kept as raw float16 bits.

import { limitsOf, toFloats } from "./colour.js";

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
  }

  get(frame, size = this.size) {
    const key = `${frame}/${size}`;
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
    for (const [number, { frames, size, since }] of this.waiting) {
      if (this.now() - since > PATIENCE) this.waiting.delete(number);
      else if (size === this.size) for (const frame of frames) asked.add(frame);
    }
    const missing = this.wanted.filter((frame) => !asked.has(frame) && !this.tiles.has(`${frame}/${this.size}`));
    while (missing.length && this.waiting.size < UNDER_WAY) {
      const frames = missing.splice(0, PAGE);
      const number = ++this.counter;
      this.waiting.set(number, { frames, size: this.size, since: this.now() });
      try {
        this.request({ kind: "tiles", request: number, frames, size: this.size });
      } catch (error) {
        this.waiting.clear(); // no kernel: the outbox says so when there is something to lose
        return;
      }
    }
  }

  receive({ request, frames, width, height, facts }, buffer) {
    const all = new Uint16Array(buffer.buffer.slice(buffer.byteOffset, buffer.byteOffset + buffer.byteLength));
    const area = width * height;
    const size = Math.max(width, height);
    frames.forEach((frame, i) => {
      const key = `${frame}/${size}`;
      if (this.tiles.has(key)) return;
      const bits = all.subarray(i * area, (i + 1) * area);
      this.tiles.set(key, { bits, width, height, facts: facts[i], limits: new Map() });
      this.bytes += 2 * area;
    });
    for (const [key, tile] of this.tiles) {
      if (this.bytes <= this.capacity) break;
      this.tiles.delete(key);
      this.bytes -= 2 * tile.width * tile.height;
    }
    this.waiting.delete(request);
    this.pump();
    this.arrived(frames);
  }
}

// Limits of a tile by itself, worked out once a mode.
export function tileLimits(tile, mode) {
  if (!tile.limits.has(mode)) tile.limits.set(mode, limitsOf(toFloats(tile.bits), mode));
  return tile.limits.get(mode);
}
