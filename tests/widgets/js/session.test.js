import assert from "node:assert/strict";
import test from "node:test";
import { sessionFacts } from "../../../radiowidgets/widgets/static/session.js";
import { DEFAULT_VIEW, restored } from "../../../radiowidgets/widgets/static/settings.js";

const texts = (progress, left = 50) => sessionFacts(progress, left).map(([text]) => text);

test("only what is known is said", () => {
  assert.deepEqual(texts({ rate: null, looks: 0, interesting: 0 }), []);
  assert.deepEqual(texts({ rate: 7.25, looks: 40, interesting: 3, expected: { looks: 100, finds: 6.4, low: 2, high: 13 } }),
    ["7.3 / min", "about 6 (2–13) more in the next 100 looks", "yield 7.5 %"]);
  assert.deepEqual(texts({ rate: 0, looks: 60, interesting: 0, expected: { looks: 1, finds: 0.1, low: 0, high: 1, stop: true } }), ["hardly any (0–1) more in the next 1 look: you may stop", "yield 0 %"]);
  assert.deepEqual(texts({ rate: 30, looks: 10, interesting: 0, missed: { count: 1234.4, low: 20, high: 5000, words: "" }, consistency: { agreement: 0.8, words: "" } }),
    ["30 / min", "yield 0 %", "still hidden: 1,234 (20–5,000)", "own agreement 80 %"]);
});

test("the time to the goal is told where the pace is", () => {
  assert.match(sessionFacts({ rate: 10, looks: 0 }, 300)[0][1], /the goal in 30 minutes/);
  assert.match(sessionFacts({ rate: 10, looks: 0 }, 3000)[0][1], /5\.0 hours/);
  assert.doesNotMatch(sessionFacts({ rate: 10, looks: 0 }, 0)[0][1], /goal/);
});

test("what was remembered of a view is taken only where it makes sense", () => {
  assert.deepEqual(restored(null), DEFAULT_VIEW);
  const view = restored({ tile: 9999, map: 5, filter: "constructor", filters: { with: ["A", 3], note: "yes" }, session: { goal: "x", hidden: true }, sort: 7, queries: "q" });
  assert.equal(view.tile, 320);
  assert.equal(view.map, DEFAULT_VIEW.map);
  assert.equal(view.filter, "all");
  assert.deepEqual(view.filters, { ...DEFAULT_VIEW.filters, with: ["A"] });
  assert.deepEqual(view.session, { ...DEFAULT_VIEW.session, hidden: true });
  assert.deepEqual(view.sort, DEFAULT_VIEW.sort);
  assert.deepEqual(view.queries, []);
  assert.equal(restored({ lo: NaN }).lo, DEFAULT_VIEW.lo);
  assert.equal(restored({ cursor: 12 }).cursor, 12);
  restored({}).filters.with.push("A");
  assert.deepEqual(DEFAULT_VIEW.filters.with, []); // a view is a copy
});
