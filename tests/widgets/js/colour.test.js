import assert from "node:assert/strict";
import test from "node:test";
import { COLOUR_MAPS, halfValues, limitsOf, paintRamp, paintTable, paintThree, ramp, table, toFloats, zscale } from "../../../radiowidgets/widgets/static/colour.js";

test("float16 bits decode as IEEE 754 says", () => {
  const values = halfValues();
  assert.equal(values[0x3c00], 1);
  assert.equal(values[0xc000], -2);
  assert.equal(values[0x7bff], 65504);
  assert.equal(values[0x0001], 2 ** -24);
  assert.equal(values[0x7c00], Infinity);
  assert.ok(Number.isNaN(values[0x7e00]));
});

test("a shared table and a per-frame ramp give the same pixels", () => {
  const bits = Uint16Array.from({ length: 65536 }, (_, i) => i);
  const colours = ramp({ map: "viridis", stretch: "asinh" });
  const [one, two] = [new Uint32Array(65536), new Uint32Array(65536)];
  paintTable(bits, table(colours, -2, 12), one);
  paintRamp(toFloats(bits), colours, -2, 12, two);
  assert.deepEqual(one, two);
});

test("the ends of the ramp are the ends of the colour map and blank is transparent", () => {
  const colours = ramp({ map: "grey", stretch: "linear" });
  assert.equal(colours[0], 0xff000000);
  assert.equal(colours[colours.length - 1], 0xffffffff);
  const lookup = table(colours, 0, 10);
  assert.equal(lookup[0x7e00], 0); // NaN
  assert.equal(lookup[0xfc00], 0xff000000); // -inf
  assert.equal(lookup[0x7c00], 0xffffffff); // +inf
});

test("every stretch rises, and inversion reverses it", () => {
  for (const stretch of ["linear", "sqrt", "asinh", "log"]) {
    const grey = ramp({ map: "grey", stretch });
    for (let i = 1; i < grey.length; i++) assert.ok((grey[i] & 255) >= (grey[i - 1] & 255), stretch);
    assert.equal(ramp({ map: "grey", stretch, invert: true })[0], 0xffffffff);
  }
});

test("contrast steepens round the bias", () => {
  const soft = ramp({ map: "grey", stretch: "linear", contrast: 1, bias: 0.5 });
  const hard = ramp({ map: "grey", stretch: "linear", contrast: 4, bias: 0.5 });
  assert.ok((hard[1536] & 255) > (soft[1536] & 255));
  assert.ok((hard[512] & 255) < (soft[512] & 255));
});

test("limits of a frame skip blanks and never collapse", () => {
  assert.deepEqual(limitsOf(Float32Array.from([NaN, NaN]), "percentile"), [0, 1]);
  const [lo, hi] = limitsOf(new Float32Array(64).fill(3), "minmax");
  assert.ok(hi > lo);
  const values = Float32Array.from({ length: 1001 }, (_, i) => (i % 7 === 0 ? NaN : i));
  assert.deepEqual(limitsOf(values, "minmax"), [1, 1000]);
  const [p, q] = limitsOf(values, "percentile", 99);
  assert.ok(p > 1 && q < 1000);
});

test("zscale of a straight ramp is its whole range, and outliers are left out", () => {
  const straight = Float32Array.from({ length: 1000 }, (_, i) => i);
  assert.deepEqual(zscale(straight), [0, 999]);
  const bright = Float32Array.from({ length: 1000 }, (_, i) => (i < 950 ? i / 950 : 100 + i));
  const [, hi] = zscale(bright);
  assert.ok(hi < 20, `hi = ${hi}`);
});

test("three planes become red, green and blue, and blank ones leave the others", () => {
  const greys = ramp({ map: "grey", stretch: "linear" });
  const planes = [[10, NaN, NaN, 0], [0, 10, NaN, 5], [0, 5, NaN, 10]].map((plane) => Float32Array.from(plane));
  const out = new Uint32Array(4);
  paintThree(planes, greys, [[0, 10], [0, 10], [0, 10]], out);
  assert.equal(out[0], 0xff0000ff); // little-endian RGBA: red
  assert.equal(out[1] & 0xffff, 0xff00);
  assert.equal(out[2], 0);
  assert.equal(out[3] >>> 24, 255);
  assert.equal((out[3] >> 16) & 255, 255);
});

test("a percentile may be chosen", () => {
  const values = Float32Array.from({ length: 1001 }, (_, i) => i);
  assert.equal(limitsOf(values, "p90")[1], 900);
  assert.equal(limitsOf(values, "p99.9")[1], 999);
  assert.equal(limitsOf(values, "percentile")[1], 995);
});

test("the brightness of every colour map rises evenly", () => {
  for (const map of COLOUR_MAPS) {
    const light = Array.from(ramp({ map, stretch: "linear" }), (colour) => {
      const linear = [colour & 255, (colour >> 8) & 255, (colour >> 16) & 255].map((v) => (v <= 10 ? v / 3294.6 : ((v / 255 + 0.055) / 1.055) ** 2.4));
      const y = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
      return y > 0.008856 ? 116 * Math.cbrt(y) - 16 : 903.3 * y; // CIE lightness
    });
    for (let i = 64; i < light.length; i += 64) assert.ok(light[i] > light[i - 64], `${map} at ${i}`);
  }
});
