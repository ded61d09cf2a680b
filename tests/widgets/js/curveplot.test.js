import assert from "node:assert/strict";
import test from "node:test";
import { best, EDGES, limits, panels, path, progressText, scales } from "../../../radiowidgets/widgets/static/curveplot.js";

test("the loss is drawn, and one score beside it", () => {
  const lines = { accuracy: [1], f1: [1], loss: [1], val_accuracy: [1], val_f1: [1], val_loss: [1] };
  assert.deepEqual(panels(lines, ""), { scores: ["accuracy", "f1"], drawn: ["loss", "accuracy"] });
  assert.deepEqual(panels(lines, "f1").drawn, ["loss", "f1"]);
  assert.deepEqual(panels({ loss: [2] }, "f1"), { scores: [], drawn: ["loss"] });
  assert.deepEqual(panels({}, ""), { scores: [], drawn: [] });
});

test("limits hold all values, but for a start that is far above the rest", () => {
  const [low, high] = limits([[1, 3], [2, NaN]]);
  assert.ok(low < 1 && low > 0.8 && high > 3 && high < 3.2);
  const falling = [1000, ...Array.from({ length: 30 }, (_, k) => 1 + 1 / (k + 1))];
  assert.ok(limits([falling])[1] < 10);
  const [flat, above] = limits([[2, 2]]);
  assert.ok(flat < 2 && above > 2);
  assert.deepEqual(limits([[], []]), [0, 1]);
});

test("epochs and values go to px and back", () => {
  const scale = scales(4, 3, [0, 2], 400, 200);
  assert.equal(scale.across(5), EDGES.left);
  assert.equal(scale.across(7), 400 - EDGES.right);
  assert.equal(scale.up(0), 200 - EDGES.bottom);
  assert.equal(scale.up(2), EDGES.top);
  assert.equal(scale.epochAt(scale.across(6) + 3), 6);
  assert.equal(scale.epochAt(-50), 5);
  assert.equal(scale.epochAt(9999), 7);
  assert.ok(scale.epochs.every(Number.isInteger));
  assert.equal(scales(0, 1, [0, 1], 300, 200).epochAt(9999), 1); // one epoch is drawn, and no other can be pointed at
});

test("a line has a gap where a value is missing", () => {
  const scale = { across: (x) => 10 * x, up: (y) => -y };
  assert.equal(path([1, 2, NaN, 3, 4], 0, scale), "M10.0 -1.0L20.0 -2.0M40.0 -3.0L50.0 -4.0");
  assert.equal(path([], 0, scale), "");
});

test("the best loss is the lowest, the best score the highest", () => {
  assert.equal(best("loss", [3, 1, 2]), 1);
  assert.equal(best("mae", [3, 1, 2]), 1);
  assert.equal(best("f1", [0.1, NaN, 0.4, 0.4]), 2);
  assert.equal(best("loss", []), -1);
});

test("progress is told in words", () => {
  assert.equal(progressText({ running: true, epoch: 3, epochs: 300, batch: 2, batches: 9, left: 400 }), "epoch 3 of at most 300 · batch 2 of 9 · at most 7 min more");
  assert.equal(progressText({ running: true, epoch: 1, epochs: 5, batches: 1 }), "epoch 1 of at most 5");
  assert.equal(progressText({ running: false, said: "ended after 5 epochs, 3 s" }), "ended after 5 epochs, 3 s");
  assert.match(progressText({ running: false }), /Nothing/);
});
