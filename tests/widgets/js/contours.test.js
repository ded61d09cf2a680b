import assert from "node:assert/strict";
import test from "node:test";
import { contourLevels, contourLines, traceSmooth } from "../../../radiowidgets/widgets/static/contours.js";

function image(width, height, value) {
  return Float32Array.from({ length: width * height }, (_, i) => value(i % width, Math.floor(i / width)));
}

test("the contour of a cone is a circle", () => {
  const cone = image(81, 61, (x, y) => 30 - Math.hypot(x - 40.3, y - 29.6));
  const lines = contourLines(cone, 81, 61, 10);
  assert.equal(lines.length, 1);
  const [line] = lines;
  assert.deepEqual(line.slice(0, 2), line.slice(-2)); // closed
  let length = 0;
  for (let k = 0; k < line.length; k += 2) {
    assert.ok(Math.abs(Math.hypot(line[k] - 40.3, line[k + 1] - 29.6) - 20) < 0.01);
    if (k) length += Math.hypot(line[k] - line[k - 2], line[k + 1] - line[k - 1]);
  }
  assert.ok(Math.abs(length / (2 * Math.PI * 20) - 1) < 0.002);
});

test("a contour that leaves the image is open, and blank pixels end it", () => {
  const slope = image(20, 10, (x) => x);
  const [line, ...more] = contourLines(slope, 20, 10, 4.25);
  assert.equal(more.length, 0);
  assert.equal(line.length, 20);
  assert.ok(line.every((value, k) => k % 2 || value === 4.25));
  slope[5 * 20 + 4] = NaN;
  const pieces = contourLines(slope, 20, 10, 4.25);
  assert.equal(pieces.length, 2);
  assert.ok(pieces.flat().every(Number.isFinite));
  assert.deepEqual(contourLines(image(5, 5, () => NaN), 5, 5, 0), []);
});

test("two peaks give two rings, and a saddle joins neither twice", () => {
  const two = image(60, 30, (x, y) => Math.exp(-((x - 15) ** 2 + (y - 15) ** 2) / 40) + Math.exp(-((x - 45) ** 2 + (y - 15) ** 2) / 40));
  assert.equal(contourLines(two, 60, 30, 0.5).length, 2);
  const board = image(3, 3, (x, y) => (x + y) % 2);
  const points = contourLines(board, 3, 3, 0.5).flat();
  assert.equal(points.length % 2, 0);
  assert.ok(points.every((value) => value >= 0 && value <= 2));
  const random = image(70, 50, (x, y) => Math.sin(12.9898 * x + 78.233 * y * x) );
  for (const line of contourLines(random, 70, 50, 0.1)) assert.ok(line.length >= 4);
});

test("levels are 3 sigma times powers of the square root of 2, negative ones too, and never too many", () => {
  const levels = contourLevels(-4.5, 12.1);
  assert.deepEqual(levels.map((level) => Number(level.toFixed(3))), [-4.243, -3, 3, 4.243, 6, 8.485, 12]);
  assert.deepEqual(contourLevels(-2, 2), []);
  assert.deepEqual(contourLevels(NaN, NaN), []);
  const many = contourLevels(-3, 1e6);
  assert.ok(many.length <= 13);
  for (let k = 2; k < many.length; k++) { // still powers of the square root of 2
    const power = 2 * Math.log2(many[k] / many[k - 1]);
    assert.ok(Math.abs(power - Math.round(power)) < 1e-9);
  }
});

test("a smooth path stays within its points", () => {
  const calls = [];
  const path = Object.fromEntries(["moveTo", "lineTo", "quadraticCurveTo", "closePath"].map((name) => [name, (...values) => calls.push([name, ...values])]));
  const line = [0, 0, 4, 0, 4, 4, 0, 4, 0, 0];
  traceSmooth(path, line, (x, y) => [x, y]);
  assert.deepEqual(calls[0], ["moveTo", 0, 2]);
  assert.equal(calls.filter(([name]) => name === "quadraticCurveTo").length, 4);
  assert.equal(calls.at(-1)[0], "closePath");
  traceSmooth(path, [0, 0, 5, 5], (x, y) => [x, y]);
  assert.deepEqual(calls.at(-1), ["lineTo", 5, 5]);
});
