import assert from "node:assert/strict";
import test from "node:test";
import { fluxOf, niceTicks, profileOf, regionSum } from "../../../radiowidgets/widgets/static/measure.js";

const [width, height] = [100, 80];
const area = 1.1331 * 6 * 5; // pixels in a beam
function source(total, background = 0) { // a Gaussian source of `total` Jy, in Jy/beam
  const sigma = 4;
  return { width, height, pixels: Float32Array.from({ length: width * height }, (_, i) => background +
    ((total * area) / (2 * Math.PI * sigma ** 2)) * Math.exp(-(((i % width) - 51.2) ** 2 + (Math.floor(i / width) - 38.7) ** 2) / (2 * sigma ** 2))) };
}

test("the flux density in a region takes the beam's area out", () => {
  const band = { background: 0.01, rms: 2e-4, flux: 1 / area, beam_area: area };
  const region = { kind: "ellipse", x: 51.2, y: 38.7, a: 24, b: 22, angle: 0.4 };
  const found = fluxOf(source(0.75, 0.01), region, band);
  assert.ok(Math.abs(found.flux - 0.75) < 0.001, found.flux);
  assert.ok(Math.abs(found.area / (Math.PI * 24 * 22) - 1) < 0.002);
  assert.ok(Math.abs(found.error - 2e-4 * Math.sqrt(found.area / area)) < 1e-12);
  assert.deepEqual(found.at, [51, 39]);
  const whole = fluxOf(source(0.75, 0.01), region, band, false);
  assert.ok(Math.abs(whole.flux - found.flux - (0.01 * found.area) / area) < 1e-9);
  const small = fluxOf(source(0.75), { kind: "ellipse", x: 51, y: 39, a: 1, b: 1 }, band);
  assert.ok(Math.abs(small.error - 2e-4) < 1e-12); // at least one beam
  assert.ok(Number.isNaN(fluxOf(source(1), region, { ...band, flux: null }).flux));
});

test("border pixels count by their share and blank ones not at all", () => {
  const image = { width: 10, height: 10, pixels: new Float32Array(100).fill(2) };
  const square = { kind: "polygon", points: [[1.5, 1.5], [4.5, 1.5], [4.5, 5.5], [1.5, 5.5]] };
  assert.equal(regionSum(image, square).area, 12);
  assert.equal(regionSum(image, square).sum, 24);
  image.pixels[3 * 10 + 3] = NaN;
  const found = regionSum(image, square);
  assert.deepEqual([found.area, found.blank, found.sum], [11, 1, 22]);
  const half = regionSum(image, { kind: "polygon", points: [[0.5, 7], [3.5, 7], [3.5, 8], [0.5, 8]] });
  assert.ok(Math.abs(half.area - 3) < 0.7);
  const outside = regionSum(image, { kind: "ellipse", x: -20, y: 3, a: 2, b: 2 });
  assert.equal(outside.area, 0);
  assert.ok(outside.blank > 10);
});

test("a profile is linear where the image is, and blank beyond it", () => {
  const image = { width: 30, height: 20, pixels: Float32Array.from({ length: 600 }, (_, i) => 3 * (i % 30) + 2 * Math.floor(i / 30)) };
  const { offsets, values } = profileOf(image, [2.5, 3.25], [20.5, 11.25]);
  assert.ok(Math.abs(offsets.at(-1) - Math.hypot(18, 8)) < 1e-12);
  offsets.forEach((offset, k) => {
    const t = offset / offsets.at(-1);
    assert.ok(Math.abs(values[k] - (3 * (2.5 + 18 * t) + 2 * (3.25 + 8 * t))) < 1e-4);
  });
  const beyond = profileOf(image, [0, 0], [60, 0]).values;
  assert.ok(Number.isNaN(beyond.at(-1)) && Number.isFinite(beyond[10]));
});

test("ticks are round and cover the range", () => {
  assert.deepEqual(niceTicks(-2, 40, 5), [0, 10, 20, 30, 40]);
  assert.deepEqual(niceTicks(0, 0.011, 4), [0, 0.005, 0.01]);
  assert.deepEqual(niceTicks(1, 1), []);
  assert.deepEqual(niceTicks(NaN, 2), []);
});
