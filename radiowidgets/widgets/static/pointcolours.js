// From the bytes of points to colours: 0 is no point, 1 a point without a value, 2 to 255 a scale or categories.

import { ramp } from "./colour.js";

export const SCALES = ["viridis", "cividis", "magma", "inferno", "plasma"];
const CODES = 254;

// RGB of each byte, [r, g, b] by byte. On a light ground the lightest part of a scale is left out, on a dark one the darkest.
export function palette(legend, { map = "viridis", dark = true } = {}) {
  const grey = dark ? [130, 136, 146] : [150, 156, 164];
  const colours = Array.from({ length: 256 }, () => grey);
  if (legend.kind === "category") {
    legend.colours.forEach((colour, code) => { colours[code + 2] = [1, 3, 5].map((k) => parseInt(colour.slice(k, k + 2), 16)); });
    return colours;
  }
  const steps = ramp({ map, stretch: "linear" });
  const [from, to] = scaleEnds(map, dark);
  for (let code = 2; code < 256; code++) {
    const share = from + ((to - from) * (code - 2)) / (CODES - 1);
    const packed = steps[Math.round(share * (steps.length - 1))];
    colours[code] = [packed & 255, (packed >> 8) & 255, (packed >> 16) & 255];
  }
  return colours;
}

function scaleEnds(map, dark) {
  const deep = map === "magma" || map === "inferno";
  return dark ? [deep ? 0.22 : 0.06, 1] : [0, deep ? 0.86 : 0.93];
}

// How solid a point is, by the density of its pixel (1 to 254): single points are seen, crowds stand out.
export const solidity = (density) => (density === 0 ? 0 : Math.round(70 + 185 * Math.sqrt(density / 254)));

// Pixels (little-endian RGBA) of a picture: `layers` are density, then the coded values if `coded`, then how many are
// chosen if `marked`. What is not chosen steps back.
export function paintPicture(layers, { area, coded, marked }, colours, out) {
  const opaque = Uint8Array.from({ length: 256 }, (_, density) => solidity(density));
  const codes = coded ? area : 0;
  const marks = marked ? (coded ? 2 : 1) * area : -1;
  for (let i = 0; i < area; i++) {
    const density = layers[i];
    if (!density) { out[i] = 0; continue; }
    const [r, g, b] = colours[coded ? layers[codes + i] : density + 1];
    let alpha = opaque[density];
    if (marks >= 0) alpha = layers[marks + i] ? Math.max(alpha, 205) : alpha >> 2;
    out[i] = ((alpha << 24) | (b << 16) | (g << 8) | r) >>> 0;
  }
}

export const css = ([r, g, b], alpha = 1) => `rgb(${r} ${g} ${b} / ${alpha})`;
