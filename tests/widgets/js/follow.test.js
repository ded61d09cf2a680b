import assert from "node:assert/strict";
import test from "node:test";
import { changes, concerns, refreshWords } from "../../../radiowidgets/widgets/static/filters.js";
import { merged, movedLine, reordered, staying, unpacked } from "../../../radiowidgets/widgets/static/follow.js";

test("the head comes first, the others follow as they stood", () => {
  assert.deepEqual([...merged(Uint32Array.of(4, 2, 0, 1, 3), Uint32Array.of(0, 3))], [0, 3, 4, 2, 1]);
  assert.deepEqual([...merged(Uint32Array.of(1, 0), new Uint32Array(0))], [1, 0]);
});

test("what stays keeps its place, the rest comes in the new order, and no frame comes or goes", () => {
  const shown = Uint32Array.of(7, 3, 5, 1, 9, 2);
  const order = Uint32Array.of(9, 2, 8, 1, 7, 0, 3, 5, 4, 6);
  assert.deepEqual([...reordered(shown, order, Uint8Array.of(1, 1, 0, 0, 0, 0))], [7, 3, 9, 2, 1, 5]);
  assert.deepEqual([...reordered(shown, order, Uint8Array.of(0, 1, 0, 0, 1, 0))], [2, 3, 1, 7, 9, 5]);
  assert.deepEqual([...reordered(shown, order, new Uint8Array(6).fill(1))], [...shown]);
  assert.deepEqual([...reordered(shown, order, new Uint8Array(6))], [9, 2, 1, 7, 3, 5]);
});

test("random orders: the same frames, those that stay where they were, the others by rank", () => {
  let state = 1;
  const random = (n) => { state = (state * 48271) % 2147483647; return state % n; };
  const shuffled = (n) => { const all = Uint32Array.from({ length: n }, (_, i) => i); for (let i = n - 1; i > 0; i--) { const j = random(i + 1); [all[i], all[j]] = [all[j], all[i]]; } return all; };
  for (let round = 0; round < 200; round++) {
    const [order, all] = [shuffled(40), shuffled(40)];
    const shown = all.slice(0, 1 + random(40));
    const stays = Uint8Array.from(shown, () => (random(3) === 0 ? 1 : 0));
    const found = reordered(shown, order, stays);
    assert.deepEqual([...found].sort(), [...shown].sort());
    found.forEach((frame, place) => { if (stays[place]) assert.equal(frame, shown[place]); });
    const free = [...found].filter((_, place) => !stays[place]).map((frame) => order.indexOf(frame));
    assert.deepEqual(free, [...free].sort((a, b) => a - b));
  }
});

test("what was passed, what is in sight and where one was stays; what was seen further down is free", () => {
  const seen = Uint8Array.of(1, 2, 0, 0, 1, 0, 1, 2, 0);
  assert.deepEqual([...staying(seen, 3, 6)], [1, 1, 0, 1, 1, 1, 0, 1, 0]);
});

test("an order comes as places and steps of scores", () => {
  const { head, scores } = unpacked({ low: 0.5, high: 1 }, [new DataView(Uint32Array.of(3, 1).buffer), new DataView(Uint16Array.of(65535, 0).buffer)]);
  assert.deepEqual([[...head], [...scores]], [[3, 1], [1, 0.5]]);
});

test("the line tells how many moved up and why, and nothing that is hidden", () => {
  const about = { risen: [4, 8], words: "like those you rated 4–5", text: "your 6 ratings count for 50%", coming: 100 };
  assert.equal(movedLine(about, false).text, "2 frames moved up: like those you rated 4–5");
  assert.match(movedLine(about, false).title, /^2 of the next 100 .* your 6 ratings count for 50%/);
  assert.deepEqual([movedLine({ ...about, risen: [] }, false).text, movedLine({ ...about, risen: [] }, false).can], ["", false]);
  assert.equal(movedLine(about, true).can, false);
  assert.doesNotMatch(JSON.stringify(movedLine(about, true)), /4–5|2 /);
});

test("a million frames follow in a moment", () => {
  const n = 1_000_000;
  const order = Uint32Array.from({ length: n }, (_, i) => (i * 7919) % n);
  const head = order.slice(100, 55_100);
  const started = performance.now();
  const next = merged(order, head);
  reordered(order, next, staying(new Uint8Array(n), 0, 80));
  assert.ok(performance.now() - started < 800);
});

test("a query is looked at again only where labels or the order may change it", () => {
  const query = (text, annotator = "") => ({ query: text, annotator });
  assert.ok(concerns(query("my_interest >= 3"), "labels") && concerns(query('"jet" in note'), "labels") && concerns(query("", "bob"), "labels"));
  assert.ok(!concerns(query("peak_snr > 20 and rank < 9"), "labels") && concerns(query("rank < 9"), "order") && !concerns(query("rms > 1"), "order"));
});

test("what no longer belongs and what does now is counted bit by bit", () => {
  assert.deepEqual(changes(Uint8Array.of(0b11000000, 0b1), Uint8Array.of(0b01100100, 0b1)), { gone: 1, more: 2 });
  assert.equal(refreshWords(3, 0), "3 no longer belong");
  assert.equal(refreshWords(1200, 2), "1,200 no longer belong, 2 more belong");
});
