// Outline: the objects of a frame with their outlines, put right by hand.

import { ramp, table } from "./colour.js";
import { h, handOn, plural, setText } from "./dom.js";
import { Saving } from "./saving.js";
import { paintTile, TileStore } from "./tiles.js";

const SIDE = 512; // px of the picture
const CLOSE = 4; // how much larger a close-up is
const MOST_PAST = 200; // changes that can be taken back
const REACH = 9; // px within which a corner is taken
const COLOURS = ["#ff6b6b", "#5aa9ff", "#ffd54a", "#ff9f43", "#c8ccd2", "#7bd88f", "#d98cff", "#4dd8d8", "#f78fb3"];
const KEYS = [["n  p", "the next object, the one before"], [".  ,", "the next corner, the one before"], ["arrows", "move the corner, or the object if no corner is chosen; with Shift by 5 pixels"],
  ["i", "a new corner after this one"], ["Delete", "remove the corner, or the object"], ["a", "a new object in the middle"], ["r", "another island of this object"],
  ["1 … 9", "its class"], ["s  Enter", "save the frame"], ["Escape", "no corner; again: as it was saved"], ["[  ]", "the frame before, the next; what was changed is saved"], ["u", "undo your last change; nothing changed: your last saving here"], ["z", "close up on the object, where arrows move by half a pixel; again: the whole frame"], ["?", "this sheet"],
  ["mouse", "drag a corner; click an object; draw round what was missed"]];

// Whether a place lies within rings, by the even-odd rule.
export function inside(rings, [x, y]) {
  let within = false;
  for (const ring of rings) {
    ring.forEach(([xa, ya], k) => {
      const [xb, yb] = ring[(k + 1) % ring.length];
      if ((ya > y) !== (yb > y) && x < xa + ((y - ya) * (xb - xa)) / (yb - ya)) within = !within;
    });
  }
  return within;
}

// The corner nearest to a place, {object, ring, corner}, or null if none is within `reach`.
export function cornerAt(outlines, [x, y], reach) {
  let best = null;
  let least = reach;
  outlines.forEach(({ rings }, object) => rings.forEach((ring, k) => ring.forEach(([cx, cy], corner) => {
    const far = Math.hypot(cx - x, cy - y);
    if (far <= least) [best, least] = [{ object, ring: k, corner }, far];
  })));
  return best;
}

// The smallest object that holds a place, -1 for none.
export function objectAt(outlines, place) {
  const held = outlines.map(({ rings }, k) => [k, rings]).filter(([, rings]) => inside(rings, place));
  return held.length ? held.sort((a, b) => area(a[1]) - area(b[1]))[0][0] : -1;
}

export function area(rings) {
  const one = (ring) => Math.abs(ring.reduce((sum, [x, y], k) => { const [u, v] = ring[(k + 1) % ring.length]; return sum + x * v - u * y; }, 0)) / 2;
  return rings.reduce((sum, ring) => sum + one(ring), 0);
}

// A drawn line with its corners at least so far apart.
export function thinned(points, apart) {
  const kept = [];
  for (const point of points) if (!kept.length || Math.hypot(point[0] - kept.at(-1)[0], point[1] - kept.at(-1)[1]) >= apart) kept.push(point);
  return kept;
}

// Without a corner; a ring of fewer than three goes, and with its last ring the object.
export function withoutCorner(outlines, { object, ring, corner }) {
  const rings = outlines[object].rings.map((one, k) => (k === ring ? one.filter((_, c) => c !== corner) : one)).filter((one) => one.length > 2);
  return rings.length ? outlines.with(object, { ...outlines[object], rings }) : outlines.filter((_, k) => k !== object);
}

// A square of a side about a place, within the frame.
export function square([x, y], side) {
  const half = side / 2;
  return [[x - half, y - half], [x + half, y - half], [x + half, y + half], [x - half, y + half]];
}

class OutlineSaving extends Saving {
  describe(action) { return action.kind === "undo" ? "an undo" : `${plural(action.outlines.length, "outline")} of ${action.name}`; }

  show(state) {
    super.show(state);
    if (!this.app.dirty || state.waiting) return;
    setText(this.light, "changed, not saved yet");
    this.light.dataset.state = "saving";
  }
}

class Outline {
  constructor(model, el) {
    this.model = model;
    this.identity = `rw-${Math.random().toString(36).slice(2, 10)}`;
    Object.assign(this, { rows: [], place: 0, outlines: [], chosen: null, dirty: false, classes: [], rated: 0 });
    Object.assign(this, { past: [], before: [], close: null, undone: new Set() }); // undone: undos asked for in this view
    this.panel = { writeNote: () => { if (this.dirty) this.save(); } }; // what is changed is sent before the page closes
    this.pending = new Map();
    this.saving = new OutlineSaving(this);
    this.tiles = new TileStore({ request: (content) => model.send({ ...content, view: this.identity }), arrived: () => this.paint() });
    this.tiles.show({ noise: "frame" });
    const colours = ramp({ map: "grey", stretch: "asinh" });
    this.look = { limits: "p99", lo: -2, hi: 40, colours, greys: colours, lookup: table(colours, -2, 40) };
    this.build(el);
    this.listen = (content, buffers) => this.receive(content, buffers);
    model.on("msg:custom", this.listen);
    this.askIndex();
  }

  build(el) {
    const button = (label, title, call, extra = {}) => h("button", { class: "rw-button", type: "button", title, onclick: () => { call(); this.focus(); }, ...extra }, label);
    this.heading = h("strong", { class: "rw-heading" });
    this.count = h("span", { class: "rw-progress" });
    this.picture = h("canvas", { width: SIDE, height: SIDE, class: "rw-outline-picture" });
    this.pen = h("canvas", { width: SIDE, height: SIDE, class: "rw-outline-pen", role: "img", "aria-label": "The frame and the outlines of its objects",
      onpointerdown: (event) => this.press(event), onpointermove: (event) => this.drag(event), onpointerup: () => this.release(), onpointercancel: () => this.release() });
    this.list = h("div", { class: "rw-outline-list", role: "listbox", "aria-label": "Objects" });
    this.choices = h("div", { class: "rw-outline-classes", role: "group", "aria-label": "Class" });
    this.facts = h("p", { class: "rw-quiet rw-relabel-facts" });
    this.spoken = h("div", { class: "rw-spoken", "aria-live": "polite" });
    this.help = h("div", { class: "rw-help", role: "dialog", "aria-modal": "true", "aria-label": "Keys", hidden: true, onclick: (event) => { if (event.target === this.help) this.toggleHelp(); } });
    this.keep = button("Save", "Save the outlines of this frame (s)", () => this.save(), { class: "rw-button rw-outline-save" });
    this.root = h("div", { class: "rw-review rw-outline", tabindex: "0", role: "region", "aria-label": "Outlines of objects", "data-lm-suppress-shortcuts": "true",
      style: { height: `${this.model.get("height")}px` }, onkeydown: (event) => this.key(event) },
    h("div", { class: "rw-bar" }, this.heading, this.count, h("span", { class: "rw-grow" }), this.saving.light,
      button("‹", "The frame before ([)", () => this.go(this.place - 1), { "aria-label": "The frame before" }), button("›", "The next frame (])", () => this.go(this.place + 1), { "aria-label": "The next frame" }),
      this.keep, button("Undo", "Undo your last change, or saving (u)", () => this.undo()), button("?", "Keys and help", () => this.toggleHelp(), { "aria-label": "Help" })),
    this.saving.alarm,
    h("div", { class: "rw-outline-body" }, h("div", { class: "rw-outline-frame" }, this.picture, this.pen),
      h("div", { class: "rw-outline-side" }, this.facts, this.choices, this.list,
        button("New object", "A new object in the middle (a); or draw round it", () => this.addObject()))),
    this.spoken, this.help);
    el.append(this.root);
  }

  // ---------------------------------------------------------------- messages

  ask(content) {
    try { this.model.send({ ...content, view: this.identity }); } catch (error) { this.saving.lost(); }
  }

  askIndex() { this.ask({ kind: "index" }); }

  focus() { this.root.focus({ preventScroll: true }); }

  post(action) { this.saving.outbox.post(action); }

  showProgress() {
    setText(this.count, this.rows.length ? `frame ${this.place + 1} of ${this.rows.length} · ${this.rows.filter((row) => row.drawn).length} saved` : "");
  }

  receive(content, buffers) {
    if (content.view && content.view !== this.identity && content.kind !== "saved") return;
    if (content.kind === "index") this.takeIndex(content);
    else if (content.kind === "tiles") this.tiles.receive(content, buffers[0]);
    else if (content.kind === "saved" || content.kind === "refused") this.takeAnswer(content);
    else if (content.kind === "error") this.saving.alert(content.text);
  }

  takeIndex(content) {
    const first = !this.rows.length;
    Object.assign(this, { rows: content.rows, classes: content.classes });
    setText(this.heading, content.name);
    if (content.warning) this.saving.alert(content.warning);
    if (first) {
      this.saving.offer(`radiowidgets/outline/${content.name}/${content.annotator}`);
      this.place = Math.max(0, this.rows.findIndex((row) => !row.drawn));
    }
    this.root.dataset.ready = "true";
    this.saving.refresh();
    this.revert();
  }

  takeAnswer(content) {
    const { outbox } = this.saving;
    const frame = this.rows[this.place]?.frame;
    if (content.kind === "refused") outbox.refuse(content.id, content.text);
    else outbox.settle(content.id);
    if (outbox.held.size) return;
    this.rows = content.rows;
    if (content.kind === "saved" && content.text) this.saving.announce(content.text);
    const back = this.undone.delete(content.id) ? this.rows.findIndex((row) => row.frame === content.frame) : -1;
    if (!this.dirty && back >= 0 && back !== this.place) { this.go(back); return; }
    if (!this.dirty && this.rows[this.place]?.frame === frame) this.revert(this.chosen?.object);
    this.showProgress();
  }

  // ---------------------------------------------------------------- outlines

  revert(chosen = 0) {
    this.past = [];
    this.put(structuredClone(this.rows[this.place]?.outlines ?? []), chosen);
  }

  // Show outlines, none of whose corners is chosen.
  put(outlines, object) {
    this.chosen = outlines.length ? { object: Math.min(object, outlines.length - 1) } : null;
    this.take(outlines);
  }

  take(outlines) {
    this.outlines = outlines;
    this.before = structuredClone(outlines);
    this.dirty = JSON.stringify(outlines) !== JSON.stringify(this.rows[this.place]?.outlines ?? []);
    this.show();
  }

  change(outlines, chosen = this.chosen) {
    this.past = [...this.past, this.before].slice(-MOST_PAST);
    this.chosen = chosen;
    this.take(outlines);
  }

  save() {
    const row = this.rows[this.place];
    if (!row) return;
    const round = (value) => Math.round(10 * value) / 10;
    const outlines = this.outlines.map((one) => ({ class: one.class, rings: one.rings.map((ring) => ring.map(([x, y]) => [round(x), round(y)])) }));
    row.outlines = outlines;
    row.drawn = true;
    Object.assign(this, { outlines: structuredClone(outlines), before: structuredClone(outlines), past: [], dirty: false });
    this.post({ kind: "act", frame: row.frame, name: row.id, frames: [row.frame], outlines });
    setText(this.spoken, `${plural(outlines.length, "outline")} saved`);
    this.show();
  }

  undo() {
    if (this.past.length) this.put(this.past.pop(), this.chosen?.object ?? 0);
    else this.undone.add(this.saving.outbox.post({ kind: "undo", frames: [] }));
  }

  go(place) {
    if (place < 0 || place >= this.rows.length) return;
    if (this.dirty) this.save();
    this.place = place;
    this.close = null;
    this.revert();
  }

  addObject(ring = this.fresh()) {
    const name = this.chosen ? this.outlines[this.chosen.object].class : this.classes[Math.min(1, this.classes.length - 1)];
    this.change([...this.outlines, { class: name, rings: [ring] }], { object: this.outlines.length });
  }

  // A ring to begin from, in the middle of what is seen.
  fresh() {
    const { left, low, side } = this.view();
    return square(this.within([left + side / 2, low + side / 2]), Math.max(4, Math.round(side / 12)));
  }

  addRing() {
    if (!this.chosen) return;
    const { object } = this.chosen;
    const one = this.outlines[object];
    const ring = this.fresh();
    this.change(this.outlines.with(object, { ...one, rings: [...one.rings, ring] }), { object, ring: one.rings.length, corner: 0 });
  }

  addCorner() {
    if (this.chosen?.corner === undefined) return;
    const { object, ring, corner } = this.chosen;
    const line = this.outlines[object].rings[ring];
    const [[x, y], [u, v]] = [line[corner], line[(corner + 1) % line.length]];
    line.splice(corner + 1, 0, [(x + u) / 2, (y + v) / 2]); // `before` still has what was there
    this.change(this.outlines, { object, ring, corner: corner + 1 });
  }

  remove() {
    if (!this.chosen) return;
    const left = this.chosen.corner === undefined ? this.outlines.filter((_, k) => k !== this.chosen.object) : withoutCorner(this.outlines, this.chosen);
    const object = Math.min(this.chosen.object, left.length - 1);
    this.change(left, object < 0 ? null : { object });
  }

  setClass(name) {
    if (!this.chosen || !name) return;
    const { object } = this.chosen;
    this.change(this.outlines.with(object, { ...this.outlines[object], class: name }));
    setText(this.spoken, name);
  }

  move(dx, dy) {
    if (!this.chosen) return;
    const { object, ring, corner } = this.chosen;
    this.outlines[object].rings.forEach((line, k) => line.forEach((place, c) => {
      if (corner !== undefined && (k !== ring || c !== corner)) return;
      [place[0], place[1]] = this.within([place[0] + dx, place[1] + dy]);
    }));
    this.change(this.outlines);
  }

  step(by) {
    const count = this.outlines.length;
    if (!count) return;
    this.chosen = { object: ((this.chosen?.object ?? (by > 0 ? -1 : 0)) + by + count) % count };
    const { object } = this.chosen;
    setText(this.spoken, `object ${object + 1} of ${count}: ${this.outlines[object].class}`);
    this.show();
  }

  stepCorner(by) {
    if (!this.chosen) { this.step(1); return; }
    const { object, ring = 0, corner } = this.chosen;
    const all = this.outlines[object].rings.flatMap((line, k) => line.map((_, c) => ({ object, ring: k, corner: c })));
    const now = corner === undefined ? (by > 0 ? -1 : 0) : all.findIndex((one) => one.ring === ring && one.corner === corner);
    this.chosen = all[(now + by + all.length) % all.length];
    this.show();
  }

  // ---------------------------------------------------------------- places: pixels of the frame, and of the picture

  side() { const { width, height } = this.rows[this.place]; return Math.max(width, height); }

  // What is seen of the frame, in its pixels: the lower left corner, and the side.
  view() {
    const [left, low] = this.margin();
    const side = this.side();
    const whole = { left: -0.5 - left, low: -0.5 - low, side };
    if (!this.close) return whole;
    const part = side / CLOSE;
    const begin = (middle, first) => Math.min(first + side - part, Math.max(first, middle - part / 2));
    return { left: begin(this.close[0], whole.left), low: begin(this.close[1], whole.low), side: part };
  }

  closeUp() {
    const rings = this.chosen ? this.outlines[this.chosen.object].rings.flat() : [];
    const middle = (k) => (Math.min(...rings.map((place) => place[k])) + Math.max(...rings.map((place) => place[k]))) / 2;
    const { width, height } = this.rows[this.place];
    this.close = this.close ? null : rings.length ? [middle(0), middle(1)] : [width / 2, height / 2];
    setText(this.spoken, this.close ? "close up" : "the whole frame");
    this.show();
  }

  within([x, y]) {
    const { width, height } = this.rows[this.place];
    return [Math.min(width - 0.5, Math.max(-0.5, x)), Math.min(height - 0.5, Math.max(-0.5, y))];
  }

  margin() {
    const { width, height } = this.rows[this.place];
    return [Math.floor((this.side() - width) / 2), Math.floor((this.side() - height) / 2)];
  }

  at([x, y]) {
    const { left, low, side } = this.view();
    return [((x - left) * SIDE) / side, SIDE - ((y - low) * SIDE) / side];
  }

  pixel(event) {
    const box = this.pen.getBoundingClientRect();
    const { left, low, side } = this.view();
    return [left + ((event.clientX - box.left) * side) / box.width, low + ((box.bottom - event.clientY) * side) / box.height];
  }

  // ---------------------------------------------------------------- pointer and keys

  press(event) {
    if (!this.rows.length || event.button !== 0) return;
    event.preventDefault();
    this.focus();
    this.pen.setPointerCapture(event.pointerId);
    const place = this.pixel(event);
    const corner = cornerAt(this.outlines, place, (REACH * this.view().side) / this.pen.getBoundingClientRect().width);
    this.held = { corner, line: [place] };
    if (corner) this.chosen = corner;
    this.show();
  }

  drag(event) {
    if (!this.held) return;
    const place = this.within(this.pixel(event));
    const { corner, line } = this.held;
    if (corner) {
      this.outlines[corner.object].rings[corner.ring][corner.corner] = place;
      this.held.moved = true;
    } else line.push(place);
    this.draw();
  }

  release() {
    if (!this.held) return;
    const { corner, line, moved } = this.held;
    this.held = null;
    if (corner) { if (moved) this.change(this.outlines, corner); return; }
    const ring = thinned(line, this.view().side / 64);
    if (ring.length > 2) { this.addObject(ring); return; }
    const object = objectAt(this.outlines, line[0]);
    this.chosen = object < 0 ? null : { object };
    this.show();
  }

  key(event) {
    if (event.ctrlKey || event.metaKey) {
      const key = event.key.toLowerCase();
      if (key === "z") this.undo();
      else if (!handOn(event, this.root, () => this.focus())) return;
      event.preventDefault();
      return;
    }
    event.stopPropagation();
    if (event.altKey || event.key === "Tab" || (event.target !== this.root && ["Enter", " "].includes(event.key))) return;
    if (this.command(event.key, (event.shiftKey ? 5 : 1) / (this.close ? 2 : 1))) event.preventDefault();
  }

  command(key, far) {
    if (!this.help.hidden) { if (["Escape", "?"].includes(key)) this.toggleHelp(); return true; }
    const calls = { ArrowLeft: () => this.move(-far, 0), ArrowRight: () => this.move(far, 0), ArrowUp: () => this.move(0, far), ArrowDown: () => this.move(0, -far),
      n: () => this.step(1), p: () => this.step(-1), ".": () => this.stepCorner(1), ",": () => this.stepCorner(-1), i: () => this.addCorner(), Delete: () => this.remove(), Backspace: () => this.remove(),
      a: () => this.addObject(), r: () => this.addRing(), s: () => this.save(), Enter: () => this.save(), u: () => this.undo(), z: () => this.closeUp(), "[": () => this.go(this.place - 1), "]": () => this.go(this.place + 1),
      Escape: () => this.escape(), "?": () => this.toggleHelp() };
    const call = calls[key] ?? (/^[1-9]$/.test(key) ? () => this.setClass(this.classes[Number(key) - 1]) : null);
    if (!call || !this.rows.length) return false;
    call();
    return true;
  }

  escape() {
    if (this.chosen?.corner === undefined) { if (this.dirty) this.change(structuredClone(this.rows[this.place].outlines), null); else this.revert(); }
    else { this.chosen = { object: this.chosen.object }; this.show(); }
  }

  toggleHelp() {
    this.help.hidden = !this.help.hidden;
    if (this.help.hidden) { this.focus(); return; }
    const row = ([key, words]) => h("tr", {}, h("th", {}, h("kbd", {}, key)), h("td", {}, words));
    this.help.replaceChildren(h("div", { class: "rw-help-card" }, h("h3", {}, "Outlines of objects"),
      h("p", {}, "Each object has an outline and a class. Put right what is wrong, draw round what is missing, remove what is not there, and save the frame, also where nothing was wrong."),
      h("table", {}, h("tbody", {}, KEYS.map(row))), h("button", { class: "rw-button", type: "button", onclick: () => this.toggleHelp() }, "Close")));
    this.help.querySelector("button").focus();
  }

  // ---------------------------------------------------------------- painting

  colour(name) { return COLOURS[Math.max(0, this.classes.indexOf(name)) % COLOURS.length]; }

  show() {
    const row = this.rows[this.place];
    if (!row) { setText(this.facts, "There are no frames."); return; }
    this.root.dataset.dirty = String(this.dirty);
    this.root.dataset.objects = String(this.outlines.length);
    const state = this.dirty ? "changed" : row.drawn ? "saved" : "as it was found";
    setText(this.facts, [row.id, plural(this.outlines.length, "object"), state].join(" · "));
    this.saving.refresh();
    this.list.replaceChildren(...this.outlines.map((one, k) => h("button", { class: "rw-outline-object", type: "button", role: "option", "aria-selected": String(k === this.chosen?.object),
      onclick: () => { this.chosen = { object: k }; this.show(); this.focus(); } },
    h("span", { class: "rw-outline-dot", style: { background: this.colour(one.class) } }), `${k + 1} ${one.class}`, h("span", { class: "rw-quiet" }, `${area(one.rings).toFixed(0)} px`))));
    const own = this.chosen ? this.outlines[this.chosen.object].class : "";
    this.choices.replaceChildren(...this.classes.map((name, k) => h("button", { class: "rw-button", type: "button", disabled: !this.chosen, "aria-pressed": String(name === own),
      onclick: () => { this.setClass(name); this.focus(); } }, h("kbd", {}, String(k + 1)), ` ${name}`)));
    this.showProgress();
    this.paint();
  }

  paint() {
    const row = this.rows[this.place];
    if (!row) return;
    const tile = this.tiles.get(row.frame, SIDE);
    this.picture.dataset.painted = tile ? String(row.frame) : "";
    if (tile) paintTile(this.picture, tile, this.look);
    const { left, low, side } = this.view();
    const [marginX, marginY] = this.margin();
    const [right, down] = [(left + 0.5 + marginX) / this.side(), 1 - (low + 0.5 + marginY + side) / this.side()];
    this.picture.style.transform = this.close ? `scale(${CLOSE}) translate(${-100 * right}%, ${-100 * down}%)` : "";
    this.root.dataset.close = String(Boolean(this.close));
    const next = this.rows[this.place + 1];
    if (!tile) this.tiles.want([row.frame], SIDE);
    else if (next && !this.tiles.get(next.frame, SIDE)) this.tiles.want([next.frame], SIDE);
    this.draw();
  }

  draw() {
    const pen = this.pen.getContext("2d");
    pen.clearRect(0, 0, SIDE, SIDE);
    pen.lineJoin = "round";
    const trace = (line) => line.forEach((place, k) => (k ? pen.lineTo(...this.at(place)) : pen.moveTo(...this.at(place))));
    this.outlines.forEach(({ class: name, rings }, object) => {
      const chosen = object === this.chosen?.object;
      pen.beginPath();
      for (const ring of rings) { trace(ring); pen.closePath(); }
      for (const [width, colour] of [[chosen ? 4 : 3, "rgb(0 0 0 / 70%)"], [chosen ? 2.2 : 1.4, this.colour(name)]]) {
        Object.assign(pen, { lineWidth: width, strokeStyle: colour });
        pen.stroke();
      }
      if (chosen) rings.forEach((ring, k) => ring.forEach((place, corner) => this.handle(pen, place, this.colour(name), k === this.chosen.ring && corner === this.chosen.corner)));
    });
    if (this.held && !this.held.corner) {
      pen.beginPath();
      trace(this.held.line);
      Object.assign(pen, { lineWidth: 1.5, strokeStyle: "#fff" });
      pen.stroke();
    }
  }

  handle(pen, place, colour, chosen) {
    const [x, y] = this.at(place);
    const half = chosen ? 5 : 3;
    Object.assign(pen, { fillStyle: chosen ? "#fff" : colour, strokeStyle: "rgb(0 0 0 / 80%)", lineWidth: 1 });
    pen.fillRect(x - half, y - half, 2 * half, 2 * half);
    pen.strokeRect(x - half, y - half, 2 * half, 2 * half);
  }

  dispose() {
    this.model.off("msg:custom", this.listen);
    this.saving.dispose();
    this.root.remove();
  }
}

export default {
  render({ model, el }) {
    const outline = new Outline(model, el);
    return () => outline.dispose();
  },
};
