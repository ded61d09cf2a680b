// Review: a gallery of frames in score order, rated and tagged from the keyboard.

import { arrange, matcher, nextPlace, Selection } from "./arrange.js";
import { Controls } from "./controls.js";
import { h, plural, setText } from "./dom.js";
import { FilterBar } from "./filters.js";
import { Gallery } from "./gallery.js";
import { ExportMenu, History } from "./history.js";
import { Keys } from "./keys.js";
import { LARGE_KEYS, LargeView } from "./large.js";
import { Panel } from "./panel.js";
import { Saving } from "./saving.js";
import { Session } from "./session.js";
import { restored } from "./settings.js";
import { TileStore } from "./tiles.js";

const MANY = 100; // frames: an action on more is confirmed first
const LOOKS = ["rank", "random", "repeat"];

class ReviewView {
  constructor(model, el) {
    this.model = model;
    this.count = 0;
    this.shown = new Uint32Array(0); // frames in the order and under the filters now shown
    this.cursor = 0; // place in `shown`
    this.anchor = 0;
    this.selection = new Selection();
    this.pending = new Map(); // frame -> actions under way
    this.notes = new Map();
    this.blind = new Set(); // frames to be rated again as if for the first time
    this.looks = new Map(); // frame -> why the session shows it
    this.unfolded = new Set(); // stacks
    this.drifted = new Set(); // frames that were labelled and no longer pass the filters
    this.changes = 0; // of labels
    this.sortRequest = 0;
    this.view = restored(model.get("view"));
    this.saving = new Saving(this);
    this.build(el);
    this.tiles = new TileStore({ request: (content) => { if (!this.lost) model.send({ ...content, view: this.uid() }); }, arrived: () => this.schedule() });
    this.listen = (content, buffers) => this.receive(content, buffers);
    model.on("msg:custom", this.listen);
    this.watch = () => this.takeView();
    model.on("change:view", this.watch);
    const settle = () => { this.gallery.layout(); this.schedule(); };
    this.resize = new ResizeObserver(settle);
    this.resize.observe(this.gallery.scroller);
    // A new theme takes the styles away for a moment: what was laid out then is laid out again.
    this.theme = new MutationObserver(() => { for (const wait of [0, 300, 1500]) setTimeout(settle, wait); });
    this.theme.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-name", "class"] });
    this.live = () => { if (this.order) this.lostKernel(); }; // the comm was closed; the next message says if it is back
    model.on("comm_live_update", this.live);
    this.showView();
    this.askIndex();
  }

  // ---------------------------------------------------------------- building

  build(el) {
    const button = (label, title, call, extra = {}) =>
      h("button", { class: "rw-button", type: "button", title, onclick: () => { call(); this.focus(); }, ...extra }, label);
    this.heading = h("strong", { class: "rw-heading" });
    this.progress = h("span", { class: "rw-progress" });
    this.gallery = new Gallery(this);
    this.panel = new Panel(this);
    this.history = new History(this);
    this.exports = new ExportMenu(this);
    this.filters = new FilterBar(this);
    this.controls = new Controls(this);
    this.session = new Session(this);
    this.keys = new Keys(this, Object.fromEntries(LARGE_KEYS));
    this.large = new LargeView({ close: () => this.closeLarge(), step: (by) => { this.move(by); this.focus(); },
      ask: (content) => this.ask({ ...content, view: this.uid() }), adjust: (change) => this.adjust(change),
      changed: (look, passing) => this.lookChanged(look, passing) });
    this.spoken = h("div", { class: "rw-spoken", "aria-live": "polite" });
    this.rerankButton = button("Re-rank", "Order by the scores and the ratings given so far", () => this.rerank());
    const bar = h("div", { class: "rw-bar" }, this.heading, this.progress, h("span", { class: "rw-grow" }), this.saving.light,
      this.rerankButton, button("Undo", "Undo your last action", () => this.undo()),
      button("History", "What was done, to go to and to take back", () => this.history.toggle()), this.exports.element,
      button("Display", "Show or hide the display settings", () => this.root.classList.toggle("rw-display")),
      button("?", "Keys and help", () => this.keys.toggle(), { "aria-label": "Help" }));
    this.root = h("div", { class: "rw-review", tabindex: "-1", role: "region", "aria-label": "Review of radio frames",
      "data-lm-suppress-shortcuts": "true", style: { height: `${this.model.get("height")}px` } },
      bar, this.filters.element, this.filters.error, this.controls.element, this.saving.alarm, this.filters.state,
      h("div", { class: "rw-body" }, h("div", { class: "rw-stage" }, this.gallery.scroller, this.gallery.empty, this.large.element),
        this.panel.element, this.history.element),
      this.session.element, this.spoken, this.keys.element);
    this.filters.element.append(this.controls.size);
    this.root.addEventListener("toggle", (event) => this.placeMenu(event.target), true);
    this.root.addEventListener("keydown", (event) => this.key(event));
    this.root.addEventListener("pointerdown", (event) => this.closeMenus(event.target));
    for (const kind of ["keyup", "keypress", "copy", "paste", "cut"]) this.root.addEventListener(kind, (event) => event.stopPropagation());
    el.append(this.root);
  }

  // ---------------------------------------------------------------- talking with the kernel

  ask(content, buffers = []) {
    try {
      this.model.send(content, undefined, buffers);
      return true;
    } catch (error) {
      this.lostKernel();
      return false;
    }
  }

  askIndex() { this.ask({ kind: "index", view: this.uid() }); }

  receive(content, buffers) {
    if (this.lost) {
      this.lost = false;
      this.saving.alert("");
      this.saving.refresh();
    }
    if (content.view && content.view !== this.uid()) return; // for another view of this widget
    const take = {
      index: () => this.takeIndex(content, buffers), order: () => this.takeOrder(content, buffers),
      tiles: () => this.tiles.receive(content, buffers[0]), large: () => this.large.receive(content, buffers), parent: () => this.large.receive(content, buffers),
      saved: () => this.takeAnswer(content), refused: () => this.takeAnswer(content),
      sort: () => this.takeSort(content, buffers), find: () => this.filters.takeFound(content, buffers), stacks: () => this.takeStacks(content, buffers),
      why: () => this.panel.why.receive(content), history: () => this.history.receive(content), progress: () => this.session.receive(content),
      export: () => this.exports.receive(content), error: () => { this.busy(false); this.saving.alert(content.text); },
    }[content.kind];
    take?.();
  }

  takeIndex(content, buffers) {
    this.count = content.count;
    this.schema = content.schema;
    this.maps = content.maps;
    this.most = content.most;
    this.takeRanks(buffers);
    [this.interest, this.tags] = [new Int8Array(copied(buffers[2])), new Uint32Array(copied(buffers[3]))];
    this.mapCodes = new Uint16Array(copied(buffers[5]));
    this.notes = new Map(content.notes);
    this.rated = content.rated;
    this.changes += 1;
    if (this.selection.mask.length !== this.count) this.selection = new Selection(this.count);
    setText(this.heading, content.name);
    this.heading.title = `labels of ${content.annotator}`;
    this.keys.take(content.keys, this.schema);
    this.tiles.show({ noise: this.view.noise });
    this.large.restore(this.view.look);
    this.large.take(content.display);
    this.gallery.takeSchema(this.schema);
    this.panel.takeSchema(this.schema, (action) => this.keys.keyOf(action));
    this.filters.takeIndex(content);
    this.saving.alert(content.warning || "");
    this.refilter(content.cursor ?? this.view.cursor);
    this.saving.offer(`radiowidgets/${content.key}`);
    this.saving.refresh();
    this.session.showSettings();
    this.session.ask(200);
    if (this.view.sort.by !== "rank") this.sortBy(this.view.sort, null);
    if (this.view.filters.query || this.view.filters.annotator) this.filters.ask();
    if (this.view.fold) this.setFold(true);
    if (this.history.open) this.history.ask();
  }

  // Order, scores, and the ranks before any re-ranking where they differ.
  takeRanks(buffers, base = buffers[4]) {
    [this.order, this.scores] = [new Uint32Array(copied(buffers[0])), new Float32Array(copied(buffers[1]))];
    this.ranks = new Uint32Array(this.count);
    this.order.forEach((frame, place) => { this.ranks[frame] = place + 1; });
    this.base = base.byteLength ? new Uint32Array(copied(base)) : null;
  }

  takeOrder(content, buffers) {
    this.takeRanks(buffers, buffers[2]);
    this.busy(false);
    this.panel.why.forget();
    const waited = this.moves === this.movesAtRerank; // nobody moved on meanwhile: look at the new first ones
    if (this.view.sort.by === "rank") {
      this.refilter(waited ? null : this.current());
      if (waited) this.moveTo(Math.max(0, nextPlace(this.shown, -1, (frame) => this.interest[frame] < 0)), false);
    } else this.schedule();
    this.filters.show();
    this.saving.announce(content.text);
  }

  takeAnswer(content) {
    const refused = content.kind === "refused";
    const { outbox } = this.saving;
    const action = refused ? outbox.refuse(content.id, content.text) : outbox.settle(content.id);
    (action?.frames ?? []).forEach((frame) => this.release(frame));
    content.frames.forEach((frame, i) => {
      if (this.pending.has(frame)) return; // a later action on this frame is still under way: its answer will tell
      this.interest[frame] = content.interest[i];
      this.tags[frame] = content.tags[i];
      if (content.notes[i]) this.notes.set(frame, content.notes[i]);
      else this.notes.delete(frame);
    });
    this.changes += 1;
    if (content.rated !== undefined) this.rated = content.rated;
    if (!refused && content.text) this.saving.announce(content.text);
    if (action?.kind === "undo" && content.frames.length && !content.frames.includes(this.current())) this.goTo(content.frames[0]);
    if (!refused && action) this.root.dataset.saved = String(Number(this.root.dataset.saved ?? 0) + 1);
    this.drift(content.frames);
    this.showProgress();
    this.session.ask();
    this.history.refresh();
    this.schedule();
  }

  lostKernel() {
    this.lost = true;
    this.busy(false);
    this.saving.lost();
  }

  // ---------------------------------------------------------------- the view: what a reload brings back

  showView() {
    this.controls.show(this.view);
    this.filters.show();
    this.session.showSettings();
    this.panel.why.element.open = this.view.why;
    this.gallery.colours = null;
  }

  takeView() { // another view of the same widget moved the display
    const view = this.model.get("view") ?? {};
    if (view.stamp === this.view.stamp) return;
    const before = JSON.stringify([this.view.filter, this.view.filters]);
    const { cursor, sort, fold } = this.view;
    this.view = { ...restored(view), cursor, sort, fold };
    this.showView();
    if (before !== JSON.stringify([this.view.filter, this.view.filters])) this.filters.ask();
    this.redraw();
    this.gallery.layout(true);
    this.schedule();
  }

  saveView() {
    clearTimeout(this.viewTimer);
    this.viewTimer = setTimeout(() => {
      if (this.lost) return;
      this.view.cursor = this.current() ?? null;
      this.view.large = this.large.open;
      this.view.stamp = Date.now();
      try {
        this.model.set("view", structuredClone(this.view));
        this.model.save_changes();
      } catch (error) { /* no kernel: the next action says so */ }
    }, 250);
  }

  get hidden() { return this.view.session.hidden; }

  hiddenChanged() {
    this.panel.why.forget();
    this.filters.show();
    this.saving.refresh();
    this.schedule();
  }

  // ---------------------------------------------------------------- order, filters, stacks

  current() { return this.shown[this.cursor]; }

  refilter(keep = this.current()) {
    if (!this.order) return;
    const { interest, tags, notes, pending, blind, mapCodes } = this;
    const test = matcher(this.view.filter, this.view.filters, { interest, tags, notes, pending, blind, maps: mapCodes,
      names: this.schema.map((tag) => tag.name), mapNames: this.maps, found: this.filters.found });
    this.test = test;
    const groups = this.view.fold ? this.groups : null;
    const { shown, frames, sizes } = arrange(this.sorted ?? this.order, test, groups, this.unfolded);
    Object.assign(this, { shown, frames, sizes });
    this.drifted.clear();
    this.cursor = Math.max(0, this.placeOf(keep));
    this.anchor = this.cursor;
    this.selection.set(this.shown.subarray(this.cursor, this.cursor + 1));
    this.gallery.empty.hidden = this.shown.length > 0;
    setText(this.gallery.empty, this.count === 0 ? "This run holds no frames." : "No frame is like that. Take a filter away above.");
    this.gallery.layout();
    this.gallery.reveal();
    this.filters.showState();
    this.showProgress();
    this.selected();
  }

  // Where a frame is shown, or else the stack that it is folded into; -1 if neither is.
  placeOf(frame) {
    if (!Number.isInteger(frame) || frame < 0 || frame >= this.count) return -1;
    if (this.shown === this.order) return this.ranks[frame] - 1;
    const place = this.shown.indexOf(frame);
    return place >= 0 || !this.sizes ? place : this.shown.findIndex((other) => this.groups[other] === this.groups[frame]);
  }

  sortBy(sort, keep = this.current()) {
    this.view.sort = { ...this.view.sort, ...sort };
    this.sortRequest += 1;
    const { by, column, descending, frame } = this.view.sort;
    if (by === "rank") this.applySort(null, null, keep);
    else {
      const { random, repeats, goal } = this.view.session;
      this.ask({ kind: "sort", by, column, descending, frame, random, repeats, count: Math.max(100, goal), request: this.sortRequest, view: this.uid() });
    }
    this.filters.show();
    this.saveView();
  }

  takeSort(content, buffers) {
    if (content.request !== this.sortRequest) return;
    if (content.error) {
      this.saving.alert(content.error);
      this.sortBy({ by: "rank" });
    } else this.applySort(new Uint32Array(copied(buffers[0])), buffers[1]?.byteLength ? new Uint8Array(copied(buffers[1])) : null, null);
  }

  applySort(sorted, looks, keep) {
    this.sorted = sorted;
    this.looks = new Map(looks ? [...looks].map((look, i) => [sorted[i], look]) : []);
    this.blind = new Set([...this.looks].filter(([, look]) => LOOKS[look] === "repeat").map(([frame]) => frame));
    this.changes += 1;
    this.refilter(keep);
    this.filters.show();
  }

  moreLikeThis() {
    const frame = this.current();
    if (frame !== undefined) this.sortBy({ by: "like", frame });
  }

  setFold(on) {
    this.view.fold = on;
    if (on && !this.groups) this.ask({ kind: "stacks", view: this.uid() });
    this.filters.apply();
  }

  takeStacks(content, buffers) {
    if (content.error) {
      this.saving.alert(content.error);
      this.view.fold = false;
    } else this.groups = new Int32Array(copied(buffers[0]));
    this.filters.apply();
  }

  stackOf(frame) {
    const group = this.sizes ? this.groups[frame] : -1;
    return group < 0 ? { size: 0, open: false } : { size: this.sizes[group], open: this.unfolded.has(group) };
  }

  unfold() {
    const frame = this.current();
    if (frame === undefined || this.stackOf(frame).size < 2) return;
    const group = this.groups[frame];
    if (!this.unfolded.delete(group)) this.unfolded.add(group);
    this.refilter();
  }

  // Frames labelled just now stay where they are, and are counted if they no longer belong here.
  drift(frames) {
    if (!this.test) return;
    const before = this.drifted.size;
    for (const frame of frames) {
      if (this.test(frame)) this.drifted.delete(frame);
      else this.drifted.add(frame);
    }
    if (this.drifted.size !== before) this.filters.showState();
  }

  // ---------------------------------------------------------------- moving and choosing

  goTo(frame) {
    const place = this.placeOf(frame);
    if (place >= 0) this.moveTo(place, false);
    return place >= 0;
  }

  // Go to a frame wherever it is: what hides it is taken away. `frames` are then selected together.
  visit(frame, frames = [frame]) {
    if (this.placeOf(frame) < 0) {
      this.filters.clear();
      if (this.view.sort.by === "queue") this.sortBy({ by: "rank" }, frame);
    }
    this.goTo(frame);
    if (frames.length > 1) {
      this.selection.set(Uint32Array.from(frames));
      this.selected();
    }
  }

  goToRank(rank) {
    const frame = Number.isInteger(rank) ? this.order[rank - 1] : undefined;
    if (frame === undefined) this.saving.announce(`there is no rank ${rank}; ranks go to ${this.count.toLocaleString("en")}`);
    else if (!this.goTo(frame)) this.saving.announce(`rank ${rank.toLocaleString("en")} is not among the frames shown`);
  }

  nextUnrated() {
    const place = nextPlace(this.shown, this.cursor, (frame) => this.interest[frame] < 0 || this.blind.has(frame));
    if (place < 0) this.saving.announce("every frame shown is rated");
    else this.moveTo(place, false);
  }

  moveTo(place, extend) {
    if (!this.shown.length) return;
    this.moves = (this.moves ?? 0) + 1;
    this.cursor = Math.max(0, Math.min(this.shown.length - 1, place));
    if (!extend) this.anchor = this.cursor;
    const [first, last] = [Math.min(this.anchor, this.cursor), Math.max(this.anchor, this.cursor)];
    this.selection.set(this.shown.subarray(first, last + 1));
    this.gallery.reveal();
    this.selected();
  }

  move(by, extend = false) { this.moveTo(this.cursor + by, extend); }

  choose(place) { // one more, or one fewer
    const frame = this.shown[place];
    if (!this.selection.has(frame) || this.selection.size > 1) this.selection.toggle(frame);
    this.cursor = this.anchor = this.selection.has(frame) ? place : this.placeOf(this.selection.list.at(-1));
    this.selected();
  }

  chooseAll() {
    if (!this.shown.length) return;
    this.selection.set(this.shown);
    const folded = this.frames - this.shown.length;
    this.saving.announce(`${plural(this.shown.length, "frame")} selected${folded ? `; ${folded.toLocaleString("en")} folded into stacks are not` : ""}`);
    this.selected();
  }

  selected() {
    this.schedule();
    this.saveView();
    this.speak();
    if (this.large.open && this.current() === undefined) this.large.hide();
    if (this.large.open) this.showLarge();
  }

  // A frame in words, for those who hear the page.
  words(frame) {
    const blind = this.blind.has(frame);
    const interest = blind ? -1 : this.interest[frame];
    const names = blind ? [] : this.schema.filter((tag, bit) => this.tags[frame] & (2 ** bit)).map((tag) => tag.name);
    const { size, open } = this.stackOf(frame);
    return [this.hidden ? "frame" : `rank ${this.ranks[frame].toLocaleString("en")}`, interest >= 0 ? `interest ${interest}` : "not rated", ...names,
      size > 1 && !open ? `stack of ${size}` : null, !blind && this.notes.has(frame) ? "with a note" : null].filter(Boolean).join(", ");
  }

  speak() {
    clearTimeout(this.speakTimer);
    this.speakTimer = setTimeout(() => {
      const frame = this.current();
      if (frame !== undefined) setText(this.spoken, this.selection.size > 1 ? `${plural(this.selection.size, "frame")} selected, ${this.words(frame)}` : this.words(frame));
    }, 250);
  }

  // How far a re-ranking has moved a frame; 0 where nothing is to be said.
  moved(frame) { return this.base && !this.hidden ? this.base[frame] - this.ranks[frame] : 0; }

  // ---------------------------------------------------------------- actions

  // What the keys and buttons do acts on the selection; on many frames it asks first.
  act(action, apply, words, after = () => {}) {
    const frames = this.selection.list;
    if (frames.length > this.most) this.saving.announce(`an action takes at most ${this.most.toLocaleString("en")} frames; select fewer`);
    else if (frames.length > MANY) this.saving.confirm(words(plural(frames.length, "frame")), `Yes, ${frames.length.toLocaleString("en")}`, () => this.post(action, frames, apply));
    else { this.post(action, frames, apply); after(); }
  }

  // An action is shown at once, held by the outbox, and marked until the kernel says it is on disk.
  post(action, frames, apply) {
    if (!frames.length) return;
    const looks = [...new Set(Array.from(frames, (frame) => this.lookOf(frame)))];
    for (const frame of frames) {
      if (apply) apply(frame);
      if ("interest" in action) this.blind.delete(frame);
      this.pending.set(frame, (this.pending.get(frame) ?? 0) + 1);
    }
    this.moves = (this.moves ?? 0) + 1;
    this.changes += 1;
    const look = looks.length === 1 ? { look: looks[0] } : { looks: Array.from(frames, (frame) => this.lookOf(frame)) };
    this.saving.outbox.post({ kind: "act", ...action, frames: Array.from(frames), ...look });
    this.drift(frames);
    this.speak();
    this.schedule();
  }

  // Why this frame was looked at: its rank, chance, a repeat; null if the reviewer chose it otherwise.
  lookOf(frame) {
    if (this.looks.has(frame)) return LOOKS[this.looks.get(frame)];
    return this.view.sort.by === "rank" && !this.test ? "rank" : null;
  }

  release(frame) {
    const left = (this.pending.get(frame) ?? 1) - 1;
    if (left > 0) this.pending.set(frame, left);
    else this.pending.delete(frame);
  }

  rate(value) {
    this.act({ interest: value }, (frame) => { this.interest[frame] = value ?? -1; }, (which) => (value === null ? `Take the rating from ${which}?` : `Rate ${which} ${value}?`), () => {
      if (value === null || this.selection.size > 1) return;
      if (this.cursor < this.shown.length - 1) this.move(1);
      else if (this.view.sort.by === "queue") this.saving.announce("the session's list ends here; Session offers the next one");
    });
  }

  toggleTag(bit) {
    const mask = 2 ** bit;
    const all = this.selection.list.every((frame) => this.tags[frame] & mask);
    const { name } = this.schema[bit];
    this.act(all ? { remove: [name] } : { add: [name] },
      (frame) => { this.tags[frame] = (all ? this.tags[frame] & ~mask : this.tags[frame] | mask) >>> 0; }, (which) => (all ? `Take ${name} from ${which}?` : `Tag ${which} ${name}?`));
  }

  undo() { this.saving.outbox.post({ kind: "undo" }); }

  rerank() {
    if (this.rerankButton.disabled) return;
    this.movesAtRerank = this.moves;
    if (this.ask({ kind: "rerank" })) this.busy(true);
  }

  busy(on) {
    this.rerankButton.disabled = on;
    setText(this.rerankButton, on ? "Ranking…" : "Re-rank");
  }

  invert() { this.view.invert = !this.view.invert; this.redraw(); this.saveView(); }

  focus() { this.gallery.scroller.focus({ preventScroll: true }); }

  // ---------------------------------------------------------------- keys

  key(event) {
    event.stopPropagation();
    const { target } = event;
    const typing = target instanceof HTMLTextAreaElement || (target instanceof HTMLInputElement && ["number", "text"].includes(target.type));
    if (event.key === "Escape") {
      event.preventDefault();
      if (typing || this.saving.asking || !this.keys.element.hidden || !this.large.key(event)) this.escape(typing);
      return;
    }
    if (event.ctrlKey || event.metaKey) {
      const key = event.key.toLowerCase();
      if (!typing && key === "z") this.undo();
      else if (typing && key !== "s") return; // copy, paste and the like
      // The notebook's shortcuts with Ctrl or Cmd (save, run, ...) work from in here too.
      else if (!this.handOn(event)) return;
      event.preventDefault();
      return;
    }
    if (target === this.panel.note && event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      this.focus(); // leaving the note writes it
      return;
    }
    if (typing || event.altKey || this.saving.asking) return;
    if (event.repeat && !/^(Arrow|Page|[bB]$)/.test(event.key)) { event.preventDefault(); return; } // a key held down acts once
    if (target instanceof HTMLSelectElement) return; // its own keys: letters choose an entry
    if (target instanceof HTMLInputElement && /^(Arrow|Page|Home|End|Enter| )/.test(event.key)) return;
    if (target.closest("button, summary") && (event.key === "Enter" || event.key === " ")) return;
    if (this.large.key(event)) { event.preventDefault(); return; }
    if (this.command(event.key, event.shiftKey)) event.preventDefault();
  }

  escape(typing) {
    if (this.saving.asking) this.saving.asking();
    else if (typing) this.focus();
    else if (!this.keys.element.hidden) this.keys.toggle();
    else if (this.closeMenus(null)) this.focus();
    else if (this.large.open) this.closeLarge();
    else if (this.history.open) this.history.toggle();
    else if (this.selection.size > 1) this.moveTo(this.cursor, false);
    else if (this.view.sort.by === "like") this.sortBy({ by: "rank" }, this.view.sort.frame);
    else this.focus();
  }

  // A menu that would leave the widget is moved into it.
  placeMenu(menu) {
    const sheet = menu.open && menu.querySelector(":scope > .rw-pop");
    if (!sheet) return;
    sheet.style.translate = "";
    const [inner, outer] = [sheet.getBoundingClientRect(), this.root.getBoundingClientRect()];
    const shift = Math.max(0, outer.left + 8 - inner.left) - Math.max(0, inner.right + 8 - outer.right);
    if (shift) sheet.style.translate = `${shift}px 0`;
    sheet.style.maxHeight = menu.classList.contains("rw-up") ? `${inner.bottom - outer.top - 8}px` : `${outer.bottom - inner.top - 8}px`;
  }

  // Menus close when something else is pressed.
  closeMenus(target) {
    const open = [...this.root.querySelectorAll(".rw-menu[open]")].filter((menu) => !menu.contains(target));
    for (const menu of open) menu.open = false;
    return open.length > 0;
  }

  // Give a key to the notebook, which looks at what has the focus; true if it was taken.
  handOn(event) {
    const host = this.root.closest(".jp-Cell") ?? this.root.parentElement;
    host.focus({ preventScroll: true });
    const taken = !host.dispatchEvent(new KeyboardEvent("keydown", event));
    if (document.activeElement === host) this.focus();
    return taken;
  }

  command(key, shift) {
    if (!this.order) return false;
    const row = this.large.open ? 1 : this.gallery.columns;
    const { page } = this.gallery;
    const moves = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: row, ArrowUp: -row, PageDown: page, PageUp: -page,
      Home: -this.shown.length, End: this.shown.length };
    const action = this.keys.actions.get(key);
    if (key in moves) this.move(moves[key], shift);
    else if (/^[0-5]$/.test(key)) this.rate(Number(key));
    else if (key === "Backspace" || key === "Delete") this.rate(null);
    else if (action) this.commands[action]();
    else {
      const bit = this.schema.findIndex((tag) => tag.key === key);
      if (bit < 0) return false;
      this.toggleTag(bit);
    }
    return true;
  }

  get commands() {
    return {
      large: () => this.openLarge(), help: () => this.keys.toggle(), undo: () => this.undo(), rerank: () => this.rerank(), invert: () => this.invert(),
      note: () => { if (!this.panel.note.disabled) { this.panel.note.focus(); this.panel.note.select(); } },
      next: () => this.nextUnrated(), jump: () => this.filters.rank.focus(), find: () => { this.filters.query.focus(); this.filters.query.select(); },
      all: () => this.chooseAll(), unfold: () => this.unfold(), why: () => this.panel.why.toggle(), like: () => this.moreLikeThis(),
      history: () => this.history.toggle(),
    };
  }

  // ---------------------------------------------------------------- large view

  openLarge() {
    if (this.current() === undefined) return;
    this.showLarge();
    this.saveView();
  }

  showLarge() {
    const frame = this.current();
    this.large.show(frame, this.hidden ? "" : `rank ${this.ranks[frame].toLocaleString("en")} · score ${this.scores[frame].toFixed(3)}`);
  }

  // Another band is shown, large and in the gallery; passing: it blinks.
  lookChanged(look, passing) {
    this.tiles.show(this.large.look);
    this.schedule();
    if (passing) return;
    this.view.look = look;
    this.saveView();
  }

  adjust(change) {
    Object.assign(this.view, change);
    this.controls.show(this.view);
    this.redraw();
    this.saveView();
  }

  closeLarge() { this.large.hide(); this.saveView(); this.schedule(); this.focus(); }

  // ---------------------------------------------------------------- painting

  schedule() {
    if (this.scheduled) return;
    this.scheduled = requestAnimationFrame(() => { this.scheduled = null; this.paint(); });
  }

  redraw() { this.gallery.redraw(); }

  paint() {
    if (!this.order || !this.gallery.scroller.isConnected) return;
    if (this.gallery.prepareColours()) {
      this.controls.colours(this.view);
      this.large.paint({ ...this.view, colours: this.gallery.colours });
    }
    const [seen, ahead] = this.gallery.paint();
    const first = this.current();
    this.tiles.want([...(first === undefined ? [] : [first]), ...seen, ...this.panel.why.wanted(), ...ahead], this.gallery.pixelSize);
    this.panel.paint();
    if (!this.painted) {
      this.painted = true;
      this.root.dataset.ready = "true";
      if (this.view.large) this.openLarge();
    }
  }

  showProgress() {
    if (this.rated === undefined) return;
    setText(this.progress, `${plural(this.count, "frame")} · ${this.rated.toLocaleString("en")} rated`);
    this.session.paint();
  }

  uid() {
    this.identity ??= `rw-${Math.random().toString(36).slice(2, 10)}`;
    return this.identity;
  }

  dispose() {
    this.panel.writeNote();
    this.saving.dispose();
    for (const timer of [this.viewTimer, this.speakTimer, this.panel.why.waiting]) clearTimeout(timer);
    this.model.off("msg:custom", this.listen);
    this.model.off("change:view", this.watch);
    this.model.off("comm_live_update", this.live);
    this.resize.disconnect();
    this.theme.disconnect();
    this.session.dispose();
    this.history.dispose();
    this.large.dispose();
    cancelAnimationFrame(this.scheduled);
  }
}

const copied = (view) => view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength);

export default {
  render({ model, el }) {
    const view = new ReviewView(model, el);
    return () => view.dispose();
  },
};
