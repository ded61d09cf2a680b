import assert from "node:assert/strict";
import { test } from "node:test";
import { area, cornerAt, inside, objectAt, square, thinned, withoutCorner } from "../../../radiowidgets/widgets/static/outline.js";

const large = { class: "EXTENDED", rings: [square([20, 20], 20), square([20, 20], 6)] }; // with a hole
const small = { class: "COMPACT", rings: [square([13, 13], 4)] };

test("inside follows the even-odd rule", () => {
  assert.equal(inside(large.rings, [12, 20]), true);
  assert.equal(inside(large.rings, [20, 20]), false);
  assert.equal(inside(large.rings, [31, 20]), false);
});

test("the smallest object under the pointer is taken", () => {
  assert.equal(objectAt([large, small], [13, 13]), 1);
  assert.equal(objectAt([large, small], [27, 13]), 0);
  assert.equal(objectAt([large, small], [50, 50]), -1);
  assert.equal(area(small.rings), 16);
});

test("the nearest corner within reach is taken", () => {
  assert.deepEqual(cornerAt([large, small], [10.4, 9.8], 2), { object: 0, ring: 0, corner: 0 });
  assert.deepEqual(cornerAt([large, small], [15.1, 15.1], 2), { object: 1, ring: 0, corner: 2 });
  assert.equal(cornerAt([large, small], [20, 20], 2), null);
});

test("a corner goes, with the last three the ring, with the last ring the object", () => {
  const once = withoutCorner([large, small], { object: 1, ring: 0, corner: 0 });
  assert.equal(once[1].rings[0].length, 3);
  assert.equal(small.rings[0].length, 4); // what was given stays as it was
  assert.equal(withoutCorner(once, { object: 1, ring: 0, corner: 0 }).length, 1);
  const hole = { class: "A", rings: [square([5, 5], 4), square([5, 5], 2).slice(1)] };
  assert.equal(withoutCorner([hole], { object: 0, ring: 1, corner: 0 })[0].rings.length, 1);
});

test("a drawn line keeps corners that are apart", () => {
  assert.deepEqual(thinned([[0, 0], [0.5, 0], [1.2, 0], [1.3, 0], [3, 0]], 1), [[0, 0], [1.2, 0], [3, 0]]);
});
