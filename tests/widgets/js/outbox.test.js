import assert from "node:assert/strict";
import test from "node:test";
import { Outbox } from "../../../radiowidgets/widgets/static/outbox.js";

function clock() {
  const timers = [];
  let time = 0;
  return {
    now: () => time,
    later: (call, wait) => timers.push({ call, due: time + wait }) && timers[timers.length - 1],
    cancel: (timer) => timer && timers.splice(timers.indexOf(timer) >>> 0, 1),
    pass(ms) {
      const end = time + ms;
      for (;;) {
        const next = timers.filter((timer) => timer.due <= end).sort((a, b) => a.due - b.due)[0];
        if (!next) break;
        timers.splice(timers.indexOf(next), 1);
        time = next.due;
        next.call();
      }
      time = end;
    },
  };
}

test("an acknowledged action is never called late", () => {
  const time = clock(), sent = [], states = [];
  const outbox = new Outbox({ send: (a) => sent.push(a), changed: (s) => states.push(s), ...time });
  const id = outbox.post({ kind: "act" });
  assert.equal(states.at(-1).waiting, 1);
  time.pass(100);
  assert.equal(outbox.settle(id).kind, "act");
  time.pass(60000);
  assert.ok(states.every((state) => state.late.length === 0));
  assert.equal(sent.length, 1);
  assert.equal(outbox.settle(id), null);
});

test("a refused action stays until it is sent again and saved, or given up", () => {
  const time = clock(), sent = [];
  let state = null;
  const outbox = new Outbox({ send: (a) => sent.push(a), changed: (s) => { state = s; }, ...time });
  const first = outbox.post({ kind: "act", note: "a ring" });
  outbox.post({ kind: "act", interest: 2 });
  outbox.refuse(first, "no space left");
  assert.equal(state.refusal, "no space left");
  assert.deepEqual(state.late.map((action) => action.note), ["a ring"]);
  outbox.sendAgain();
  assert.equal(state.refusal, "");
  assert.equal(sent.at(-2).id, first);
  outbox.settle(first);
  assert.deepEqual(outbox.giveUp().map((action) => action.interest), [2]);
  assert.equal(state.waiting, 0);
});

test("without an answer the action is late after three seconds and can be sent again under the same id", () => {
  const time = clock(), sent = [];
  let state = null;
  const outbox = new Outbox({ send: (a) => sent.push(a), changed: (s) => { state = s; }, ...time });
  outbox.post({ kind: "act", interest: 4 });
  time.pass(2900);
  assert.equal(state.late.length, 0);
  time.pass(200);
  assert.deepEqual(state.late.map((action) => action.interest), [4]);
  outbox.sendAgain();
  assert.equal(sent.length, 2);
  assert.equal(sent[0].id, sent[1].id);
  outbox.settle(sent[0].id);
  assert.equal(state.waiting, 0);
  assert.equal(state.late.length, 0);
});

test("a throwing send shows at once, and later actions stay held too", () => {
  const time = clock();
  let broken = true, state = null;
  const outbox = new Outbox({ send: () => { if (broken) throw new Error("closed"); }, changed: (s) => { state = s; }, ...time });
  outbox.post({ kind: "act" });
  outbox.post({ kind: "undo" });
  assert.equal(state.late.length, 2);
  assert.equal(state.broken, true);
  broken = false;
  outbox.sendAgain();
  assert.equal(state.broken, false);
  assert.equal(state.waiting, 2);
});
