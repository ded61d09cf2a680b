import assert from "node:assert/strict";
import test from "node:test";
import { arrange, matcher, maskOf, nextPlace, NO_FILTERS, Selection, stacksOf, summarise, tagCodes } from "../../../radiowidgets/widgets/static/arrange.js";

const data = (more = {}) => ({ interest: Int8Array.of(-1, 0, 3, 5, -1, 4), tags: Uint32Array.of(0, 1, 3, 2 ** 31, 2, 0), notes: new Map([[4, "odd"]]),
  pending: new Map([[1, 1]]), blind: new Map(), maps: Uint16Array.of(0, 0, 1, 1, 1, 0), names: ["A", "B", ...Array(29).fill("-"), "LAST"], mapNames: ["one", "two"],
  found: null, ...more });
const passing = (rating, filters = {}, more = {}) => {
  const test = matcher(rating, { ...NO_FILTERS, ...filters }, data(more));
  return test ? [0, 1, 2, 3, 4, 5].filter((frame) => test(frame)) : "all";
};

test("frames are left out by rating, tags, map, note and what the kernel found, together", () => {
  assert.equal(passing("all"), "all");
  assert.deepEqual(passing("unrated"), [0, 4]);
  assert.deepEqual(passing("0"), [1]);
  assert.deepEqual(passing("interesting"), [2, 3, 5]);
  assert.deepEqual(passing("4"), [3, 5]);
  assert.deepEqual(passing("5"), [3]);
  assert.deepEqual(passing("pending"), [1]);
  assert.deepEqual(passing("all", { with: ["A", "B"] }), [2]);
  assert.deepEqual(passing("all", { with: ["A"], without: ["B"] }), [1]);
  assert.deepEqual(passing("all", { with: ["LAST"] }), [3]); // the highest bit of the number
  assert.deepEqual(passing("all", { without: ["LAST"] }), [0, 1, 2, 4, 5]);
  assert.deepEqual(passing("rated", { map: "two" }), [2, 3]);
  assert.deepEqual(passing("all", { note: true }), [4]);
  assert.deepEqual(passing("rated", {}, { found: Uint8Array.of(0b01100100) }), [1, 2, 5]);
});

test("a blind repeat passes for a frame that was not rated", () => {
  const blind = new Map([[3, 0], [2, 1], [4, 0]]); // 2 was given the tag A in this look
  assert.deepEqual(passing("unrated", {}, { blind }), [0, 2, 3, 4]);
  assert.deepEqual(passing("tagged", {}, { blind }), [1, 2]);
  assert.deepEqual(passing("all", { with: ["A"] }, { blind }), [1, 2]);
  assert.deepEqual(passing("all", { with: ["B"] }, { blind }), []);
  assert.deepEqual(passing("all", { note: true }, { blind }), []);
});

test("names that the schema does not have are no tags", () => assert.equal(maskOf(["C"], ["A", "B"]), 0));

test("a stack shows the first of its frames that pass, and counts those", () => {
  const order = Uint32Array.of(5, 3, 0, 1, 4, 2);
  const groups = Int32Array.of(0, 0, 2, 2, 0, 5);
  const all = arrange(order, null, groups);
  assert.deepEqual([...all.shown], [5, 3, 0]);
  assert.equal(all.kept, order);
  assert.deepEqual([...all.sizes], [3, 0, 2, 0, 0, 1]);
  const some = arrange(order, (frame) => frame !== 3 && frame !== 0, groups);
  assert.deepEqual([...some.shown], [5, 1, 2]);
  assert.equal(some.sizes[0], 2);
  const open = arrange(order, null, groups, new Set([0]));
  assert.deepEqual([...open.shown], [5, 3, 0, 1, 4]); // the others of an unfolded stack stand behind the first
  assert.equal(arrange(order, null).shown, order);
  const stack = stacksOf(all.kept, groups, all.sizes);
  assert.deepEqual([0, 1, 2, 5].map((group) => [...stack(group)]), [[0, 1, 4], [], [3, 2], [5]]);
});

test("a million frames are filtered and folded in a moment", () => {
  const n = 1_000_000;
  const order = Uint32Array.from({ length: n }, (_, i) => (i * 7919) % n);
  const started = performance.now();
  const { shown } = arrange(order, (frame) => frame % 3 > 0, Int32Array.from(order, (_, i) => i - (i % 5)));
  assert.equal(shown.length, n / 5);
  assert.ok(performance.now() - started < 1500);
});

test("the next frame is looked for behind the cursor, then from the top", () => {
  const shown = Uint32Array.of(4, 8, 6, 8);
  assert.equal(nextPlace(shown, 1, (frame) => frame === 8), 3);
  assert.equal(nextPlace(shown, 3, (frame) => frame === 8), 1);
  assert.equal(nextPlace(shown, 1, (frame) => frame === 9), -1);
  assert.equal(nextPlace(new Uint32Array(0), 0, () => true), -1);
});

test("tags have two letters, no two alike", () => {
  assert.deepEqual(tagCodes(["COMPACT", "RADIO-GALAXY", "DIFFUSE", "DIFFUSE-LARGE", "ringlike", "RIPPLE", "é", "?"]),
    ["CO", "RG", "DI", "DL", "RI", "RP", "É1", "?1"]);
  const many = tagCodes(Array.from({ length: 12 }, () => "AB"));
  assert.equal(new Set(many.slice(0, 10)).size, 10);
});

test("a selection knows its frames and forgets the old ones", () => {
  const selection = new Selection(10);
  selection.set(Uint32Array.of(1, 2, 3));
  selection.toggle(2);
  selection.toggle(9);
  assert.deepEqual([...selection.list], [1, 3, 9]);
  assert.ok(selection.has(9) && !selection.has(2));
  const { version } = selection;
  selection.set(Uint32Array.of(0));
  assert.ok(selection.has(0) && !selection.has(9) && selection.size === 1 && selection.version > version);
});

test("ratings and tags of many frames are counted", () => {
  const { ratings, tagged } = summarise(Uint32Array.of(1, 2, 3, 5), (frame) => data().interest[frame], (frame) => data().tags[frame], 32);
  assert.deepEqual([...ratings], [1, 0, 0, 1, 1, 1]);
  assert.equal(tagged[0], 2);
  assert.equal(tagged[1], 1);
  assert.equal(tagged[31], 1);
});
