// From float16 bits to colours.
//
// A tile holds (value - background) / rms as raw float16 bits, blank = NaN. One
// table of 65,536 colours turns bits into pixels for all tiles that share their
// limits; frames with limits of their own go through a ramp of 2,048 colours.

// Perceptually uniform maps of matplotlib (CC0), 33 points each.
const POINTS = {
  viridis: "440154460c5f47186a482273472c7b4536814240853e49893a528b365a8c32628d2f6a8d2c728e287a8e26818e23898d20908c1e978a1e9e8821a68527ad8030b47a3dbb744bc26c5bc8626dce5881d34c95d73faadb32bfdf24d4e11ae9e419fde724",
  inferno: "0000030302120a0723140b36200c4a2e0a5a3c09654a0b6a570f6d63146e70196e7d1d6c892269962666a32b61af315bbb3754c53d4dd04544da4e3be35832ea6428f0701ef57e14f98c09fb9b06fbaa0efbb91ef8c931f5d948f1e864f2f485fcfea4",
  magma: "0000030303110a0722120d331c1046281159350f6a430f7550127b5d177e691c807621818225818f2a809c2e7fa9327cb63679c23a75ce4070da4769e55063ee5b5ef4685bf8775cfb8660fd9567fda470feb37bfec286fdd193fddfa1fceeb0fbfcbf",
  plasma: "0c078621058f3104963f039c4c02a15901a46500a77200a87e03a78908a59511a19f1a9ba92395b22c8ebb3586c33e7fcb4777d14f71d8586adf6163e56b5cea7455ef7e4ef48947f79341fa9f3afcaa33fdb62dfdc328fbd024f8dd24f4ea26eff821",
  cividis: "00204c00265a002b6800306f06366e1e3c6c2c416b37476b414d6b49536b51586c595e6d60646e686a706f6f727575757c7b788381788b8778938d789b9377a39a75aba174b4a771bcae6ec5b56bcdbc67d6c363dfcb5de8d257f1da50fbe147ffe945",
  grey: "000000ffffff",
};

// What a colour scale spans: one range for all frames, or one of each frame's own.
export const LIMIT_MODES = { shared: "one scale in σ", "p90": "each frame, 90 %", "p95": "each frame, 95 %", "p99": "each frame, 99 %",
  percentile: "each frame, 99.5 %", "p99.9": "each frame, 99.9 %", zscale: "each frame, zscale", minmax: "each frame, min-max" };

export const COLOUR_MAPS = Object.keys(POINTS);
const STEPS = 2048;

export const STRETCHES = {
  linear: (t) => t,
  sqrt: (t) => Math.sqrt(t),
  asinh: (t) => Math.asinh(10 * t) / Math.asinh(10),
  log: (t) => Math.log1p(1000 * t) / Math.log1p(1000),
};

let halves = null;
export function halfValues() {
  if (halves) return halves;
  halves = new Float32Array(65536);
  for (let bits = 0; bits < 65536; bits++) {
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    if (exponent === 31) halves[bits] = fraction ? NaN : sign * Infinity;
    else if (exponent === 0) halves[bits] = sign * 2 ** -14 * (fraction / 1024);
    else halves[bits] = sign * 2 ** (exponent - 15) * (1 + fraction / 1024);
  }
  return halves;
}

// STEPS colours packed as little-endian RGBA: colour map, stretch, contrast and bias in one.
export function ramp({ map = "inferno", invert = false, stretch = "asinh", contrast = 1, bias = 0.5 } = {}) {
  const hex = POINTS[map] ?? POINTS.grey;
  const count = hex.length / 6;
  const channel = (point, k) => parseInt(hex.slice(6 * point + 2 * k, 6 * point + 2 * k + 2), 16);
  const curve = STRETCHES[stretch] ?? STRETCHES.linear;
  const colours = new Uint32Array(STEPS);
  for (let step = 0; step < STEPS; step++) {
    let t = curve(step / (STEPS - 1));
    t = Math.min(1, Math.max(0, (t - bias) * contrast + 0.5));
    if (invert) t = 1 - t;
    const place = t * (count - 1);
    const low = Math.min(count - 2, Math.floor(place));
    const f = place - low;
    const mix = (k) => Math.round(channel(low, k) * (1 - f) + channel(low + 1, k) * f);
    colours[step] = (0xff000000 | (mix(2) << 16) | (mix(1) << 8) | mix(0)) >>> 0;
  }
  return colours;
}

// The colour of every float16 value between the limits lo and hi; blank is transparent.
export function table(colours, lo, hi) {
  const values = halfValues();
  const out = new Uint32Array(65536);
  const scale = (STEPS - 1) / Math.max(hi - lo, 1e-30);
  for (let bits = 0; bits < 65536; bits++) {
    const value = values[bits];
    if (Number.isNaN(value)) continue;
    const step = Math.round((value - lo) * scale);
    out[bits] = colours[step < 0 ? 0 : step >= STEPS ? STEPS - 1 : step];
  }
  return out;
}

export function paintTable(bits, lookup, out) {
  for (let i = 0; i < bits.length; i++) out[i] = lookup[bits[i]];
}

export function paintRamp(values, colours, lo, hi, out) {
  const scale = (STEPS - 1) / Math.max(hi - lo, 1e-30);
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if (Number.isNaN(value)) { out[i] = 0; continue; }
    const step = Math.round((value - lo) * scale);
    out[i] = colours[step < 0 ? 0 : step >= STEPS ? STEPS - 1 : step];
  }
}

export function toFloats(bits) {
  const values = halfValues();
  const out = new Float32Array(bits.length);
  for (let i = 0; i < bits.length; i++) out[i] = values[bits[i]];
  return out;
}

// Three planes in sigma as red, green and blue, each between its own limits ([lo, hi] three times). `greys` is a
// grey ramp. Where one plane is blank the others show; where all are, it is transparent.
export function paintThree(planes, greys, limits, out) {
  const scales = limits.map(([lo, hi]) => (STEPS - 1) / Math.max(hi - lo, 1e-30));
  for (let i = 0; i < out.length; i++) {
    let colour = 0, seen = false;
    for (let k = 0; k < 3; k++) {
      const value = planes[k][i];
      if (Number.isNaN(value)) continue;
      seen = true;
      const step = Math.round((value - limits[k][0]) * scales[k]);
      colour |= (greys[step < 0 ? 0 : step >= STEPS ? STEPS - 1 : step] & 255) << (8 * k);
    }
    out[i] = seen ? (0xff000000 | colour) >>> 0 : 0;
  }
}

// Limits of one frame by itself. `values` may hold NaN; a mode such as "p95" is that percentile.
export function limitsOf(values, mode, percent = /^p\d/.test(mode) ? Number(mode.slice(1)) : 99.5) {
  const stride = Math.max(1, Math.floor(values.length / 4096));
  const sample = [];
  for (let i = 0; i < values.length; i += mode === "minmax" ? 1 : stride) {
    if (Number.isFinite(values[i])) sample.push(values[i]);
  }
  if (sample.length === 0) return [0, 1];
  const sorted = Float32Array.from(sample).sort();
  const at = (q) => sorted[Math.min(sorted.length - 1, Math.max(0, Math.round(q * (sorted.length - 1))))];
  let lo, hi;
  if (mode === "minmax") [lo, hi] = [sorted[0], sorted[sorted.length - 1]];
  else if (mode === "zscale") [lo, hi] = zscale(sorted);
  else [lo, hi] = [at(0.16), at(percent / 100)]; // from a sigma below the background, so that noise stays dark
  return hi > lo ? [lo, hi] : [lo - 0.5, lo + 0.5];
}

// The IRAF zscale limits (contrast 0.25) of values in ascending order, as in astropy's ZScaleInterval.
export function zscale(sorted, contrast = 0.25) {
  const count = sorted.length;
  const [first, last] = [sorted[0], sorted[count - 1]];
  const centre = sorted[Math.floor((count - 1) / 2)];
  let good = new Uint8Array(count).fill(1);
  let kept = count, slope = 0, previous = count + 1;
  const minimum = Math.max(5, Math.floor(count * 0.5));
  const grow = Math.max(1, Math.floor(count * 0.01));
  for (let iteration = 0; iteration < 5 && kept < previous && kept >= minimum; iteration++) {
    let n = 0, sx = 0, sy = 0, sxx = 0, sxy = 0;
    for (let i = 0; i < count; i++) {
      if (!good[i]) continue;
      n += 1; sx += i; sy += sorted[i]; sxx += i * i; sxy += i * sorted[i];
    }
    slope = (n * sxy - sx * sy) / Math.max(n * sxx - sx * sx, 1e-30);
    const intercept = (sy - slope * sx) / n;
    let squares = 0;
    for (let i = 0; i < count; i++) if (good[i]) squares += (sorted[i] - intercept - slope * i) ** 2;
    const limit = 2.5 * Math.sqrt(squares / n);
    const next = new Uint8Array(count).fill(1);
    for (let i = 0; i < count; i++) {
      if (Math.abs(sorted[i] - intercept - slope * i) <= limit) continue;
      for (let k = Math.max(0, i - grow + 1); k < Math.min(count, i + grow); k++) next[k] = 0;
    }
    for (let i = 0; i < count; i++) if (!good[i]) next[i] = 0;
    previous = kept;
    good = next;
    kept = good.reduce((sum, flag) => sum + flag, 0);
  }
  if (kept < minimum) return [first, last];
  const steep = slope / contrast;
  const middle = Math.floor((count - 1) / 2);
  return [Math.max(first, centre - (middle - 1) * steep), Math.min(last, centre + (count - middle) * steep)];
}
