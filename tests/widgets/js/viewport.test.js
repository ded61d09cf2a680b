import assert from "node:assert/strict";
import { test } from "node:test";

import { scaleTicks } from "../../../radiowidgets/widgets/static/legend.js";
import { paintPicture, palette, solidity } from "../../../radiowidgets/widgets/static/pointcolours.js";
import { boxLine, niceTicks, spreadOut, thinned, tickText, Viewport } from "../../../radiowidgets/widgets/static/viewport.js";

const close = (a, b) => a.forEach((value, i) => assert.ok(Math.abs(value - b[i]) < 1e-9, `${a} is not ${b}`));

function viewport() {
  const port = new Viewport(200, 100);
  port.range = port.home = [-2, 2, -1, 1];
  return port;
}

test("the plane and the screen are each other's inverse, with y upwards", () => {
  const port = viewport();
  close(port.toScreen(-2, 1), [0, 0]);
  close(port.toScreen(0, 0), [100, 50]);
  close(port.toPlane(...port.toScreen(0.3, -0.7)), [0.3, -0.7]);
  close(port.rectOf([-1, 1, -0.5, 0.5]), [50, 25, 100, 50]);
});

test("zooming keeps the place under the pointer, and ends where places have no more digits", () => {
  const port = viewport();
  const before = port.toPlane(150, 20);
  port.zoom(3, 150, 20);
  close(port.toPlane(150, 20), before);
  for (let i = 0; i < 100; i++) port.zoom(3, 150, 20);
  assert.ok(port.range[1] > port.range[0] && port.range[3] > port.range[2]);
  for (let i = 0; i < 100; i++) port.zoom(1 / 3);
  assert.ok(port.range[1] - port.range[0] <= 80);
});

test("panning and resizing keep the scale; unequal axes fill the room", () => {
  const port = viewport();
  port.pan(50, 25);
  close(port.range, [-3, 1, -0.5, 1.5]);
  port.resize(400, 100);
  close([port.scaleX, port.scaleY], [50, 50]);
  port.equal = false;
  port.resize(200, 100);
  close(port.range, [-5, 3, -0.5, 1.5]);
});

test("ticks are round and told with as few digits as tell them apart", () => {
  assert.deepEqual(niceTicks(0, 1, 5), [0, 0.2, 0.4, 0.6, 0.8, 1]);
  assert.deepEqual(niceTicks(313.9, 316.2, 5), [314, 314.5, 315, 315.5, 316]);
  assert.deepEqual(niceTicks(1, 1), []);
  assert.equal(tickText(0.30000000000000004, 0.1), "0.3");
  assert.equal(tickText(-55, 5), "−55");
  assert.equal(tickText(4e-5, 1e-5), "4e−5");
  assert.equal(tickText(0, 0.5), "0.0");
});

test("ticks of a logarithmic scale lie where their values are", () => {
  const ticks = scaleTicks(-5, -3, "log");
  for (const [share, text] of ticks) assert.ok(Math.abs(Math.log10(Number(text.replace("−", "-"))) - (-5 + 2 * share)) < 1e-6);
  assert.ok(ticks.length >= 3);
  assert.deepEqual(scaleTicks(0, Math.log1p(1000), "log1p").map(([, text]) => text), ["1", "10", "100", "1000"]);
});

test("a line keeps its shape with fewer places, and a box has four", () => {
  assert.deepEqual(thinned([[0, 0], [1, 0], [5, 0], [6, 0], [9, 0]]), [[0, 0], [5, 0], [9, 0]]);
  assert.deepEqual(boxLine([0, 1], [2, 3]), [[0, 1], [2, 1], [2, 3], [0, 3]]);
});

test("thumbnails that would cover another stay dots", () => {
  assert.deepEqual(spreadOut([[0, 0], [10, 10], [110, 0], [55, 0], [-3, 60]], 60), [0, 2, 3, 4]);
});

test("a scale spares what the ground swallows; categories have their colours, and what has none is grey", () => {
  const light = palette({ kind: "scale" }, { map: "viridis", dark: false });
  const dark = palette({ kind: "scale" }, { map: "inferno", dark: true });
  const lightness = ([r, g, b]) => 0.2126 * r + 0.7152 * g + 0.0722 * b;
  assert.ok(Math.max(...light.map(lightness)) < 215);
  assert.ok(Math.min(...dark.slice(2).map(lightness)) > 25);
  const tags = palette({ kind: "category", colours: ["#ff0010"] });
  assert.deepEqual(tags[2], [255, 0, 16]);
  assert.deepEqual(tags[1], tags[200]);
});

test("a picture is empty where no point is, and what is not chosen steps back", () => {
  const colours = palette({ kind: "category", colours: ["#ff0000", "#0000ff"] });
  const out = new Uint32Array(3);
  paintPicture(Uint8Array.of(0, 100, 100, 0, 2, 3, 0, 0, 255), { area: 3, coded: true, marked: true }, colours, out);
  assert.equal(out[0], 0);
  const [plain, chosen] = [out[1] >>> 24, out[2] >>> 24];
  assert.ok(chosen > 3 * plain);
  assert.equal(out[1] & 0xffffff, 0x0000ff);
  assert.equal(out[2] & 0xffffff, 0xff0000);
  assert.ok(solidity(1) > 60 && solidity(254) === 255 && solidity(0) === 0);
});
