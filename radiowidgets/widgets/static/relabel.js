// Relabel: a queue of labels that may be wrong, each beside the one that is suspected instead.

import { ramp, table } from "./colour.js";
import { h, handOn, plural, setText } from "./dom.js";
import { Saving } from "./saving.js";
import { paintTile, TileStore } from "./tiles.js";

const LARGE = 320; // px of the frame in question
const SMALL = 96; // of an example, and of those that come next
const AHEAD = 12; // tiles in the strip
const STUCK = 5000; // ms
const SAID = { accept: "changed", keep: "kept", unsure: "open" };
const KEYS = [["a", "accept: it is what stands on the right"], ["k", "keep: it is what stands on the left"], ["s", "not sure: leave it open"], ["← →", "the one before, the next"],
  ["Space", "the next without an answer"], ["u", "take your last answer back"], ["?", "this sheet"]];

// How many got which answer, in words; between two that people gave none is the old one.
export function tally(answers, divided = false) {
  const done = answers.filter(Boolean).length;
  const parts = Object.entries(SAID).filter(([answer]) => !divided || answer === "unsure").map(([answer, word]) => [answers.filter((one) => one === answer).length, word]);
  const words = parts.filter(([count]) => count).map(([count, word]) => `${count} ${word}`);
  return [`${done} of ${answers.length}`, ...words].join(" · ");
}

// Whether a question is between labels that people gave.
export const isDivided = (row) => Boolean(row.by || row.suggested_by);

// What was answered, in a word or two.
export function saidOf(row) {
  if (!row.answer || row.answer === "unsure" || !isDivided(row)) return SAID[row.answer] ?? "";
  return nameOf(row, row.answer === "accept" ? row.suggested : row.label);
}

// The next place without an answer, after `from` and round; -1 where all have one.
export function nextOpen(answers, from) {
  for (let step = 1; step <= answers.length; step++) {
    const place = (from + step) % answers.length;
    if (!answers[place]) return place;
  }
  return -1;
}

// What a label of a question is called: a rating, a tag, or none of the two.
export function nameOf(row, label) {
  if (row.about === "interest") return `rating ${label}`;
  return label || (isDivided(row) ? `not ${row.label || row.suggested}` : "none of them");
}

// The places in the strip: `count` of them, that of the cursor in the first half where there are more after it.
export function strip(cursor, length, count = AHEAD) {
  const first = Math.max(0, Math.min(cursor - 2, length - count));
  return Array.from({ length: Math.min(count, length) }, (_, k) => first + k);
}

class RelabelSaving extends Saving {
  describe(action) {
    if (action.kind === "undo") return "an undo";
    const [frame, about, label, suggested] = action.question ?? [];
    const chosen = { accept: suggested, keep: label }[action.answer];
    return `“${action.answer}${chosen ? ` ${nameOf({ about }, chosen)}` : ""}” for ${frame}`;
  }
}

class Relabel {
  constructor(model, el) {
    this.model = model;
    this.identity = `rw-${Math.random().toString(36).slice(2, 10)}`;
    this.rows = [];
    this.place = 0;
    this.panel = { writeNote() {} }; // nothing is written here
    this.pending = new Map();
    this.rated = 0;
    this.undone = new Set(); // undos asked for in this view, which then shows what is open again
    this.saving = new RelabelSaving(this);
    this.tiles = new TileStore({ request: (content) => model.send({ ...content, view: this.identity }), arrived: () => this.paint() });
    this.tiles.show({ noise: "frame" });
    const colours = ramp({ map: "inferno", stretch: "asinh" });
    this.look = { limits: "percentile", lo: -2, hi: 40, colours, greys: colours, lookup: table(colours, -2, 40) };
    this.build(el);
    this.listen = (content, buffers) => this.receive(content, buffers);
    model.on("msg:custom", this.listen);
    this.ask({ kind: "index" });
  }

  build(el) {
    const button = (label, title, call, extra = {}) => h("button", { class: "rw-button", type: "button", title, onclick: () => { call(); this.focus(); }, ...extra }, label);
    this.heading = h("strong", { class: "rw-heading" });
    this.count = h("span", { class: "rw-progress" });
    this.canvas = h("canvas", { class: "rw-question", width: LARGE, height: LARGE, role: "img", "aria-label": "The frame in question" });
    this.facts = h("p", { class: "rw-quiet rw-relabel-facts" });
    this.sides = Object.fromEntries([["keep", "k"], ["accept", "a"]].map(([answer, key]) => [answer, this.side(answer, key)]));
    this.unsure = h("button", { class: "rw-button rw-unsure", type: "button", onclick: () => this.say("unsure") }, h("kbd", {}, "s"), " Not sure: leave it open");
    this.strip = h("div", { class: "rw-strip", role: "list", "aria-label": "The queue" });
    this.done = h("p", { class: "rw-relabel-done", hidden: true });
    this.spoken = h("div", { class: "rw-spoken", "aria-live": "polite" });
    this.help = h("div", { class: "rw-help", role: "dialog", "aria-modal": "true", "aria-label": "Keys", hidden: true, onclick: (event) => { if (event.target === this.help) this.toggleHelp(); } });
    this.root = h("div", { class: "rw-review rw-relabel", tabindex: "0", role: "region", "aria-label": "Labels that may be wrong", "data-lm-suppress-shortcuts": "true",
      style: { height: `${this.model.get("height")}px` }, onkeydown: (event) => this.key(event) },
    h("div", { class: "rw-bar" }, this.heading, this.count, h("span", { class: "rw-grow" }), this.saving.light,
      button("Undo", "Take your last answer back", () => this.undo()), button("?", "Keys and help", () => this.toggleHelp(), { "aria-label": "Help" })),
    this.saving.alarm,
    h("div", { class: "rw-relabel-body" }, this.sides.keep.element,
      h("div", { class: "rw-relabel-middle" }, this.canvas, this.facts, this.unsure, this.done), this.sides.accept.element),
    this.strip, this.spoken, this.help);
    el.append(this.root);
  }

  // One of the two candidates: its name, how likely, frames that stand for it.
  side(answer, key) {
    const name = h("strong", { class: "rw-relabel-name" });
    const sure = h("span", { class: "rw-quiet" });
    const meter = h("span", { class: "rw-relabel-meter" }, h("span", {}));
    const examples = h("div", { class: "rw-relabel-examples" });
    const words = h("span", { class: "rw-quiet" });
    const choose = h("span", {});
    const button = h("button", { class: "rw-button rw-relabel-say", type: "button", onclick: () => this.say(answer) }, h("kbd", {}, key), choose);
    const element = h("section", { class: "rw-relabel-side", "data-answer": answer }, words, name, meter, sure, button, examples);
    return { element, words, name, sure, meter, examples, choose };
  }

  // ---------------------------------------------------------------- messages

  ask(content) {
    try { this.model.send({ ...content, view: this.identity }); } catch (error) { this.saving.lost(); }
  }

  askIndex() { this.ask({ kind: "index" }); }

  focus() { this.root.focus({ preventScroll: true }); }

  showProgress() { setText(this.count, this.rows.length ? tally(this.rows.map((row) => row.answer), this.rows.every(isDivided)) : ""); }

  receive(content, buffers) {
    if (content.view && content.view !== this.identity && content.kind !== "saved") return;
    if (content.kind === "index") this.takeIndex(content);
    else if (content.kind === "tiles") this.tiles.receive(content, buffers[0]);
    else if (content.kind === "saved" || content.kind === "refused") this.takeAnswer(content);
    else if (content.kind === "stuck") this.takeStuck(content.stuck);
    else if (content.kind === "error") this.saving.alert(content.text);
  }

  takeIndex(content) {
    const first = !this.rows.length;
    Object.assign(this, { rows: content.rows, examples: content.examples, colours: content.colours });
    setText(this.heading, content.name);
    if (content.warning) this.saving.alert(content.warning);
    if (first) {
      this.saving.offer(`radiowidgets/relabel/${content.name}/${content.annotator}`);
      this.place = Math.max(0, nextOpen(this.rows.map((row) => row.answer), -1));
    }
    this.root.dataset.ready = "true";
    this.saving.refresh();
    this.show();
  }

  // How many labels wait for a server that cannot be reached; it is asked again whether they arrived.
  takeStuck(count) {
    this.stuck = count;
    this.saving.refresh();
    clearTimeout(this.stuckTimer);
    if (count) this.stuckTimer = setTimeout(() => this.ask({ kind: "stuck" }), STUCK);
  }

  takeAnswer(content) {
    const { outbox } = this.saving;
    this.takeStuck(content.stuck);
    if (content.kind === "refused") outbox.refuse(content.id, content.text);
    else outbox.settle(content.id);
    if (!outbox.held.size) content.answers.forEach((answer, place) => { this.rows[place].answer = answer; });
    if (content.kind === "saved" && content.text) this.saving.announce(content.text);
    if (content.kind === "saved" && "place" in content && this.undone.delete(content.id)) this.place = content.place;
    this.showProgress();
    this.show();
  }

  // ---------------------------------------------------------------- saying

  post(action) { this.saving.outbox.post(action); }

  say(answer) {
    const row = this.rows[this.place];
    if (!row) return;
    row.answer = answer;
    this.post({ kind: "act", question: [row.id, row.about, row.label, row.suggested], answer, frames: [row.frame] });
    setText(this.spoken, answer === "unsure" ? SAID.unsure : `${isDivided(row) ? "chosen" : SAID[answer]}: ${nameOf(row, answer === "accept" ? row.suggested : row.label)}`);
    const next = nextOpen(this.rows.map((one) => one.answer), this.place);
    if (next >= 0) this.place = next;
    this.showProgress();
    this.show();
    this.focus();
  }

  undo() { this.undone.add(this.saving.outbox.post({ kind: "undo", frames: [] })); }

  key(event) {
    if (event.ctrlKey || event.metaKey) {
      const key = event.key.toLowerCase();
      if (key === "z") this.undo();
      else if (!handOn(event, this.root, () => this.focus())) return;
      event.preventDefault();
      return;
    }
    event.stopPropagation();
    if (event.altKey || event.key === "Tab") return;
    if (this.command(event.key)) event.preventDefault();
  }

  command(key) {
    if (!this.help.hidden) { if (["Escape", "?"].includes(key)) this.toggleHelp(); return true; }
    const said = { a: "accept", k: "keep", s: "unsure" }[key.toLowerCase()];
    if (said) this.say(said);
    else if (key === "ArrowRight" || key === "ArrowDown") this.go(this.place + 1);
    else if (key === "ArrowLeft" || key === "ArrowUp") this.go(this.place - 1);
    else if (key === " ") this.go(nextOpen(this.rows.map((row) => row.answer), this.place));
    else if (key === "u") this.undo();
    else if (key === "?") this.toggleHelp();
    else return false;
    return true;
  }

  go(place) {
    if (place < 0 || place >= this.rows.length) return;
    this.place = place;
    this.show();
  }

  toggleHelp() {
    this.help.hidden = !this.help.hidden;
    if (this.help.hidden) { this.focus(); return; }
    const row = ([key, words]) => h("tr", {}, h("td", {}, h("kbd", {}, key)), h("td", {}, words));
    this.help.replaceChildren(h("div", { class: "rw-help-card" }, h("h3", {}, "Labels that may be wrong"),
      h("p", {}, "In the middle is the frame in question. Left is the label as it is and right the one that is suggested, or two that people gave it, each with frames that stand for it."),
      h("p", {}, "An answer is a label of your own, saved at once: accept and keep put the one on and take the other off, and an open frame is tagged UNSURE. Go back to answer anew. In the notebook, table holds the answers."),
      h("table", {}, h("tbody", {}, KEYS.map(row))), h("button", { class: "rw-button", type: "button", onclick: () => this.toggleHelp() }, "Close")));
    this.help.querySelector("button").focus();
  }

  // ---------------------------------------------------------------- painting

  show() {
    const row = this.rows[this.place];
    this.root.classList.toggle("rw-relabel-empty", !row);
    this.done.hidden = Boolean(row) && this.rows.some((one) => !one.answer);
    setText(this.done, row ? `All ${plural(this.rows.length, "question")} ${this.rows.length === 1 ? "has" : "have"} an answer.` : "Nothing is suspected, and nothing divided.");
    if (!row) return;
    const divided = isDivided(row);
    const words = divided ? ["Some say", "Others say"] : ["It is labelled", "Suggested"];
    const halves = [["keep", row.label, row.probability, row.by, words[0]], ["accept", row.suggested, row.other, row.suggested_by, words[1]]];
    for (const [answer, name, sure, by, head] of halves) {
      const side = this.sides[answer];
      const [colour, text] = this.colours[name] ?? ["", ""];
      setText(side.words, head);
      setText(side.name, nameOf(row, name));
      Object.assign(side.name.style, { background: colour, color: text });
      setText(side.sure, by || (sure === null ? "" : `probability ${sure.toFixed(2)}`));
      side.meter.hidden = sure === null;
      side.meter.firstChild.style.width = `${100 * (sure ?? 0)}%`;
      setText(side.choose, divided ? " This one" : answer === "keep" ? " Keep" : " Accept");
      side.element.dataset.said = String(row.answer === answer);
      const frames = (this.examples[name] ?? []).filter((frame) => frame !== row.frame);
      side.examples.replaceChildren(...frames.map((frame) => h("canvas", { "data-frame": frame, width: SMALL, height: SMALL, role: "img", "aria-label": `Example of ${nameOf(row, name)}` })));
    }
    this.unsure.dataset.said = String(row.answer === "unsure");
    const said = row.answer ? `, ${saidOf(row)}` : "";
    setText(this.facts, [`${this.place + 1} of ${this.rows.length}${said}`, row.id, row.why].filter(Boolean).join(" · "));
    this.showStrip();
    this.paint();
  }

  showStrip() {
    this.strip.replaceChildren(...strip(this.place, this.rows.length).map((place) => {
      const { frame, answer, suggested } = this.rows[place];
      return h("button", { class: "rw-strip-tile", type: "button", role: "listitem", "data-answer": answer ?? "", "aria-current": place === this.place ? "true" : null,
        "aria-label": `${place + 1}: ${answer ? saidOf(this.rows[place]) : `perhaps ${nameOf(this.rows[place], suggested)}`}`, onclick: () => { this.go(place); this.focus(); } },
      h("canvas", { "data-frame": frame, width: SMALL, height: SMALL }), h("span", {}, saidOf(this.rows[place])));
    }));
  }

  paint() {
    const row = this.rows[this.place];
    if (!row) return;
    const small = [...this.root.querySelectorAll("canvas[data-frame]")];
    const missing = [];
    for (const canvas of small) {
      const frame = Number(canvas.dataset.frame);
      const tile = this.tiles.get(frame, SMALL);
      if (tile) paintTile(canvas, tile, this.look);
      else missing.push(frame);
    }
    const tile = this.tiles.get(row.frame, LARGE);
    this.canvas.dataset.painted = tile ? String(row.frame) : "";
    if (tile) paintTile(this.canvas, tile, this.look);
    // The frame in question first, then the small ones, then the next frame in question.
    const next = this.rows[nextOpen(this.rows.map((one) => one.answer), this.place)];
    if (!tile) this.tiles.want([row.frame], LARGE);
    else if (missing.length) this.tiles.want(missing, SMALL);
    else if (next && !this.tiles.get(next.frame, LARGE)) this.tiles.want([next.frame], LARGE);
  }

  dispose() {
    this.model.off("msg:custom", this.listen);
    clearTimeout(this.stuckTimer);
    this.saving.dispose();
    this.root.remove();
  }
}

export default {
  render({ model, el }) {
    const relabel = new Relabel(model, el);
    return () => relabel.dispose();
  },
};
