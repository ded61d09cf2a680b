import assert from "node:assert/strict";
import { test } from "node:test";
import { nameOf, nextOpen, saidOf, strip, tally } from "../../../radiowidgets/widgets/static/relabel.js";

test("the tally counts each answer", () => {
  assert.equal(tally(["accept", "keep", "keep", null, "unsure"]), "4 of 5 · 1 changed · 2 kept · 1 open");
  assert.equal(tally([null, null]), "0 of 2");
  assert.equal(tally(["accept", "keep", "unsure"], true), "3 of 3 · 1 open");
});

test("the next open place is looked for round the end", () => {
  assert.equal(nextOpen([null, "keep", null, "keep"], 2), 0);
  assert.equal(nextOpen([null, "keep", null, "keep"], 0), 2);
  assert.equal(nextOpen(["keep"], 0), -1);
  assert.equal(nextOpen([null, null], -1), 0);
});

test("the strip keeps the cursor in it and never runs over", () => {
  assert.deepEqual(strip(0, 3), [0, 1, 2]);
  assert.deepEqual(strip(20, 30, 5), [18, 19, 20, 21, 22]);
  assert.deepEqual(strip(29, 30, 5), [25, 26, 27, 28, 29]);
});

test("a label is called what it is: a rating, a tag, or none", () => {
  assert.equal(nameOf({ about: "interest" }, "3"), "rating 3");
  const suspect = { about: "tag", label: "", suggested: "RING", by: "", suggested_by: "" };
  assert.equal(nameOf(suspect, "RING"), "RING");
  assert.equal(nameOf(suspect, ""), "none of them");
  assert.equal(nameOf({ ...suspect, by: "ana", suggested_by: "bob" }, ""), "not RING");
  const divided = { about: "interest", label: "1", suggested: "4", by: "ana", suggested_by: "bob" };
  assert.equal(saidOf({ ...divided, answer: "keep" }), "rating 1");
  assert.equal(saidOf({ ...divided, answer: "unsure" }), "open");
  assert.equal(saidOf({ ...divided, answer: null }), "");
  assert.equal(saidOf({ ...suspect, answer: "accept" }), "changed");
});
