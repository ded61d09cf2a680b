// Review: a gallery of frames in score order, rated and tagged from the keyboard.

import { COLOUR_MAPS, paintRamp, paintTable, ramp, STRETCHES, table, toFloats } from "./colour.js";
import { h, plural, setText } from "./dom.js";
import { LargeView } from "./large.js";
import { Outbox } from "./outbox.js";
import { formatDec, formatDegrees, formatRA, formatValue } from "./sky.js";
import { tileLimits, TileStore } from "./tiles.js";

const GAP = 6; // px between tiles
const MAX_SPACER = 6e6; // px: browsers stop honouring heights not far above
const TILE_SIZES = [48, 64, 96, 128, 192, 256];
const LIMITS = { shared: "one scale in σ", percentile: "each frame, 99.5 %", zscale: "each frame, zscale", minmax: "each frame, min-max" };
const FILTERS = { all: "all frames", unrated: "not rated yet", rated: "rated", interesting: "interest 3 and above", tagged: "with a tag", pending: "not saved" };
const RATING_WORDS = ["not interesting", "barely", "a little", "interesting", "very", "extraordinary"];

const DEFAULT_VIEW = { tile: 112, map: "inferno", stretch: "asinh", limits: "shared", lo: -2, hi: 40, contrast: 1, bias: 0.5,
  invert: false, filter: "all", cursor: null, large: false };

class ReviewView {
  constructor(model, el) {
    this.model = model;
    this.count = 0;
    this.shown = new Uint32Array(0); // frames in the order and under the filter now shown
    this.cursor = 0; // place in `shown`
    this.anchor = 0;
    this.selection = new Set(); // frames
    this.pending = new Map(); // frame -> actions under way
    this.notes = new Map();
    this.pool = [];
    this.build(el);
    this.outbox = new Outbox({ send: (action) => model.send(action), changed: (state) => this.showSaving(state) });
    this.tiles = new TileStore({ request: (content) => { if (!this.lost) model.send({ ...content, view: this.uid() }); }, arrived: () => this.schedule() });
    this.leave = (event) => { // closing the page: a note being typed is sent, and what is not saved yet is asked about
      this.writeNote();
      this.shelve(this.outbox.state().held);
      if (this.outbox.held.size) event.preventDefault();
    };
    window.addEventListener("beforeunload", this.leave);
    this.listen = (content, buffers) => this.receive(content, buffers);
    model.on("msg:custom", this.listen);
    this.watch = () => this.takeView();
    model.on("change:view", this.watch);
    const settle = () => { this.layout(); this.schedule(); };
    this.resize = new ResizeObserver(settle);
    this.resize.observe(this.scroller);
    // A new theme takes the styles away for a moment: what was laid out then is laid out again.
    this.theme = new MutationObserver(() => { for (const wait of [0, 300, 1500]) setTimeout(settle, wait); });
    this.theme.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-name", "class"] });
    this.live = () => { if (this.order) this.lostKernel(); }; // the comm was closed; the next message says if it is back
    model.on("comm_live_update", this.live);
    this.applyView(model.get("view") ?? {});
    this.ask({ kind: "index", view: this.uid() });
  }

  // ---------------------------------------------------------------- building

  build(el) {
    const button = (label, title, call, extra = {}) =>
      h("button", { class: "rw-button", type: "button", title, onclick: () => { call(); this.focus(); }, ...extra }, label);
    const choice = (name, label, options, change) => {
      const select = h("select", { class: "rw-select", "aria-label": label, title: label,
        onchange: () => { change(select.value); this.focus(); } },
        Object.entries(options).map(([value, text]) => h("option", { value }, text)));
      this.inputs[name] = select;
      return h("label", { class: "rw-field" }, h("span", {}, label), select);
    };
    const slider = (name, label, min, max, step, input) => {
      const range = h("input", { class: "rw-range", type: "range", min: String(min), max: String(max), step: String(step),
        "aria-label": label, title: `${label} (double click: as it was)`, oninput: () => input(Number(range.value)),
        onchange: () => this.focus(),
        ondblclick: () => { range.value = String(DEFAULT_VIEW[name]); input(DEFAULT_VIEW[name]); } });
      this.inputs[name] = range;
      return h("label", { class: "rw-field" }, h("span", {}, label), range);
    };
    const number = (name, label, change) => {
      const input = h("input", { class: "rw-number", type: "number", step: "any", "aria-label": label, title: label,
        onchange: () => change(input.value.trim() === "" ? NaN : Number(input.value)) });
      this.inputs[name] = input;
      return input;
    };
    this.inputs = {};
    const same = (names) => Object.fromEntries(names.map((name) => [name, name]));
    this.heading = h("strong", { class: "rw-heading" });
    this.progress = h("span", { class: "rw-progress" });
    this.saved = h("span", { class: "rw-saved", role: "status", "aria-live": "polite" });
    this.rerankButton = button("Re-rank", "Order by the scores and the ratings given so far (r)", () => this.rerank());
    const bar = h("div", { class: "rw-bar" }, this.heading, this.progress, h("span", { class: "rw-grow" }), this.saved,
      this.rerankButton, button("Undo", "Undo your last action (u)", () => this.undo()),
      button("Display", "Show or hide the display settings", () => this.root.classList.toggle("rw-display"), { class: "rw-button rw-narrow-only" }),
      button("?", "Keys and help (?)", () => this.toggleHelp(), { "aria-label": "Help" }));
    const display = (change) => (value) => { change(value); this.redraw(); this.saveView(); };
    this.shared = h("span", { class: "rw-pair" },
      number("lo", "lowest value shown, in σ", (value) => this.setLimits(value, this.view.hi)), "to",
      number("hi", "highest value shown, in σ", (value) => this.setLimits(this.view.lo, value)), "σ");
    const controls = h("div", { class: "rw-controls" },
      choice("filter", "Show", FILTERS, (value) => { this.view.filter = value; this.refilter(); this.saveView(); }),
      choice("limits", "Scale", LIMITS, display((value) => { this.view.limits = value; })), this.shared,
      choice("stretch", "Stretch", same(Object.keys(STRETCHES)), display((value) => { this.view.stretch = value; })),
      choice("map", "Colours", same(COLOUR_MAPS), display((value) => { this.view.map = value; })),
      button("Invert", "Invert the colours (i)", () => this.invert()),
      slider("contrast", "Contrast", 0.25, 4, 0.05, display((value) => { this.view.contrast = value; })),
      slider("bias", "Bias", 0, 1, 0.01, display((value) => { this.view.bias = value; })),
      slider("tile", "Size", 56, 320, 4, (value) => { this.view.tile = value; this.layout(true); this.schedule(); this.saveView(); }));

    this.spacer = h("div", { class: "rw-spacer" });
    this.scroller = h("div", { class: "rw-scroller", role: "listbox", "aria-multiselectable": "true", tabindex: "0",
      "aria-label": "Frames, most anomalous first", onscroll: () => { this.scrolled(); } }, this.spacer);
    this.scroller.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    this.scroller.addEventListener("click", (event) => this.click(event));
    this.scroller.addEventListener("dblclick", () => this.openLarge());
    this.empty = h("div", { class: "rw-empty" }, "Waiting for the kernel…");
    this.large = new LargeView({ close: () => this.closeLarge(), step: (by) => { this.move(by); this.focus(); } });
    this.buildPanel(button);
    this.help = h("div", { class: "rw-help", role: "dialog", "aria-label": "Keys", hidden: true });
    this.alarm = h("div", { class: "rw-alarm", role: "alert", hidden: true });
    this.root = h("div", { class: "rw-review", tabindex: "-1", role: "region", "aria-label": "Review of radio frames",
      "data-lm-suppress-shortcuts": "true", style: { height: `${this.model.get("height")}px` } },
      bar, controls, this.alarm,
      h("div", { class: "rw-body" }, h("div", { class: "rw-stage" }, this.scroller, this.empty, this.large.element), this.panel),
      this.help);
    this.root.addEventListener("keydown", (event) => this.key(event));
    for (const kind of ["keyup", "keypress", "copy", "paste", "cut"]) this.root.addEventListener(kind, (event) => event.stopPropagation());
    el.append(this.root);
  }

  buildPanel(button) {
    this.preview = h("canvas", { class: "rw-preview", role: "img", "aria-label": "The selected frame" });
    this.preview.addEventListener("click", () => { this.openLarge(); this.focus(); });
    this.facts = h("div", { class: "rw-facts" });
    this.ratings = RATING_WORDS.map((word, value) =>
      button(String(value), `Interest ${value} of 5: ${word} (key ${value})`, () => this.rate(value), { "aria-pressed": "false" }));
    this.tagRow = h("div", { class: "rw-tags" });
    this.note = h("textarea", { class: "rw-note", rows: "2", placeholder: "Note (n; Enter saves)", "aria-label": "Note on the selected frame",
      maxlength: "2000" });
    this.note.addEventListener("change", () => this.writeNote());
    this.note.addEventListener("input", () => {
      this.typing = true;
      setText(this.saved, "note not saved yet");
      this.saved.dataset.state = "saving";
    });
    this.panel = h("aside", { class: "rw-panel", "aria-label": "The selected frame" },
      this.preview, this.facts, h("div", { class: "rw-ratings", role: "group", "aria-label": "Interest" }, this.ratings),
      this.tagRow, this.note);
  }

  buildTags() {
    this.tagButtons = this.schema.map((tag, bit) => {
      const swatch = h("span", { class: "rw-swatch", style: { background: tag.colour } });
      return h("button", { class: "rw-tag", type: "button", title: `${tag.description} (key ${tag.key ?? "none"})`, "aria-pressed": "false",
        onclick: () => { this.toggleTag(bit); this.focus(); } }, swatch, tag.name, tag.key ? h("kbd", {}, tag.key) : null);
    });
    this.tagRow.replaceChildren(...this.tagButtons);
    const row = (keys, text) => h("tr", {}, h("th", {}, keys.map((key) => h("kbd", {}, key))), h("td", {}, text));
    const close = h("button", { class: "rw-button", type: "button", onclick: () => { this.toggleHelp(); this.focus(); } }, "Close");
    this.help.replaceChildren(h("div", { class: "rw-help-card" }, h("h3", {}, "Keys"),
      h("div", { class: "rw-columns" }, h("table", {},
        row(["←", "→", "↑", "↓"], "move (Shift extends the selection)"), row(["Home", "End", "PgUp", "PgDn"], "jump"),
        row(["0", "…", "5"], "rate the interest, then go on to the next frame"), row(["⌫"], "take the rating back"),
        row(["u"], "undo your last action"), row(["r"], "re-rank by what you rated"), row(["Enter"], "large view"),
        row(["n"], "write a note (Enter or Esc ends it)"), row(["i"], "invert the colours"), row(["Esc"], "close what is open; back to one selected frame"),
        row(["click"], "select; Ctrl adds, Shift extends, twice opens the large view")),
      h("table", {}, this.schema.filter((tag) => tag.key).map((tag) => row([tag.key], `${tag.name}: ${tag.description}`)))),
      h("p", {}, "A key acts on all selected frames. Interest and tags are separate: a striking artefact can be tagged ARTEFACT and rated 0. ",
        "An action counts as saved once it is on disk."), close));
  }

  // ---------------------------------------------------------------- talking with the kernel

  ask(content) {
    try {
      this.model.send(content);
      return true;
    } catch (error) {
      this.lostKernel();
      return false;
    }
  }

  receive(content, buffers) {
    if (this.lost) {
      this.lost = false;
      this.alert("");
      this.showSaving(this.outbox.state());
    }
    if (content.view && content.view !== this.uid()) return; // for another view of this widget
    if (content.kind === "index") this.takeIndex(content, buffers);
    else if (content.kind === "tiles") this.tiles.receive(content, buffers[0]);
    else if (content.kind === "large") {
      this.largeAsked = 0;
      this.large.receive(content, buffers);
      this.fetchLarge();
    }
    else if (content.kind === "saved" || content.kind === "refused") this.takeAnswer(content);
    else if (content.kind === "order") this.takeOrder(content, buffers);
    else if (content.kind === "error") { this.busy(false); this.alert(content.text); }
  }

  takeIndex(content, buffers) {
    const copy = (view) => view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength);
    this.count = content.count;
    this.schema = content.schema;
    this.shelf = `radiowidgets/${content.key}`;
    [this.order, this.scores] = [new Uint32Array(copy(buffers[0])), new Float32Array(copy(buffers[1]))];
    [this.interest, this.tags] = [new Int8Array(copy(buffers[2])), new Uint32Array(copy(buffers[3]))];
    this.notes = new Map(content.notes);
    this.rated = content.rated;
    setText(this.heading, content.name);
    this.heading.title = `labels of ${content.annotator}`;
    this.buildTags();
    this.rankOf();
    this.alert(content.warning || "");
    this.refilter(content.cursor ?? this.view.cursor);
    this.offerUnsaved();
    this.showSaving(this.outbox.state());
  }

  // What an earlier view could not save before it ended waits in the browser; undos are not repeated.
  offerUnsaved() {
    try {
      const found = JSON.parse(window.localStorage.getItem(this.shelf) ?? "[]");
      this.left = found.filter((action) => action?.kind === "act" && Array.isArray(action.frames));
    } catch (error) {
      this.left = []; // private window or damaged entry: there is nothing to offer
    }
    const left = this.left;
    if (!left.length) return;
    const what = left.slice(0, 3).map((action) => this.describe(action)).join("; ");
    const decide = (save) => {
      this.alert("");
      this.left = [];
      if (save) for (const { id, ...action } of left) this.act(action, action.frames);
      this.showSaving(this.outbox.state());
    };
    this.alert(`Not saved before: ${what}${left.length > 3 ? `; and ${left.length - 3} more` : ""}.`, "left",
      { "Save now": () => decide(true), Discard: () => decide(false) });
  }

  // What is not saved in time is kept in the browser too, so that a view which ends loses nothing.
  shelve(held) {
    if (!this.shelf || !this.left) return;
    const actions = [...this.left, ...held.filter((action) => action.kind === "act")];
    try {
      if (actions.length) window.localStorage.setItem(this.shelf, JSON.stringify(actions));
      else window.localStorage.removeItem(this.shelf);
    } catch (error) { /* no storage: what is not saved is still shown */ }
  }

  takeOrder(content, buffers) {
    const copy = (view) => view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength);
    [this.order, this.scores] = [new Uint32Array(copy(buffers[0])), new Float32Array(copy(buffers[1]))];
    this.rankOf();
    this.busy(false);
    const waited = this.moves === this.movesAtRerank; // nobody moved on meanwhile: look at the new first ones
    this.refilter(waited ? null : this.current());
    if (waited) this.moveTo(this.nextUnrated(0), false);
    this.announce(content.text);
  }

  rankOf() {
    this.ranks = new Uint32Array(this.count);
    this.order.forEach((frame, place) => { this.ranks[frame] = place + 1; });
  }

  takeAnswer(content) {
    const refused = content.kind === "refused";
    const action = refused ? this.outbox.refuse(content.id, content.text) : this.outbox.settle(content.id);
    (action?.frames ?? []).forEach((frame) => this.release(frame));
    content.frames.forEach((frame, i) => {
      if (this.pending.has(frame)) return; // a later action on this frame is still under way: its answer will tell
      this.interest[frame] = content.interest[i];
      this.tags[frame] = content.tags[i];
      if (content.notes[i]) this.notes.set(frame, content.notes[i]);
      else this.notes.delete(frame);
    });
    if (content.rated !== undefined) this.rated = content.rated;
    if (!refused && content.text) this.announce(content.text);
    if (action?.kind === "undo" && content.frames.length) this.goTo(content.frames[0]);
    if (!refused && action) this.root.dataset.saved = String(Number(this.root.dataset.saved ?? 0) + 1);
    this.showProgress();
    this.schedule();
  }

  // An action is shown at once, held by the outbox, and marked until the kernel says it is on disk.
  act(action, frames, apply) {
    if (!frames.length) return;
    for (const frame of frames) {
      if (apply) apply(frame);
      this.pending.set(frame, (this.pending.get(frame) ?? 0) + 1);
    }
    this.moves = (this.moves ?? 0) + 1;
    this.outbox.post({ kind: "act", ...action, frames });
    this.schedule();
  }

  release(frame) {
    const left = (this.pending.get(frame) ?? 1) - 1;
    if (left > 0) this.pending.set(frame, left);
    else this.pending.delete(frame);
  }

  showSaving(state) {
    const late = state.late.length;
    this.root.classList.toggle("rw-stale", late > 0);
    this.root.dataset.waiting = String(state.waiting);
    if (late) {
      const what = state.late.slice(0, 3).map((action) => this.describe(action)).join("; ");
      const more = late > 3 ? `; and ${late - 3} more` : "";
      const why = state.refusal || (state.broken
        ? "The kernel was restarted or is gone: run this cell again, which offers to save them."
        : "The kernel has not answered yet. If it is busy, this is saved as soon as it answers; if it was restarted or died, run this cell again, which offers to save them.");
      this.alert(`Not saved: ${what}${more}. ${why}`, "late",
        { "Try again": () => this.outbox.sendAgain(), Discard: () => { this.outbox.giveUp(); this.pending.clear(); this.ask({ kind: "index", view: this.uid() }); } });
      setText(this.saved, `${plural(state.late.length, "action")} not saved`);
    } else {
      if (this.alarm.dataset.cause === "late") this.alert("");
      setText(this.saved, state.waiting ? "saving…" : this.rated === undefined ? "" : "all saved");
    }
    if (late || !state.waiting) this.shelve(state.held);
    this.saved.dataset.state = late ? "late" : state.waiting ? "saving" : "saved";
    this.showProgress();
  }

  describe(action) {
    const [first, more] = [action.frames?.[0], (action.frames?.length ?? 0) - 1];
    const frames = first === undefined ? "" : `rank ${this.ranks?.[first]?.toLocaleString("en") ?? "?"}${more > 0 ? ` and ${more} more` : ""}`;
    if (action.kind === "undo") return "an undo";
    if ("interest" in action) return action.interest === null ? `rating taken from ${frames}` : `rating ${action.interest} of ${frames}`;
    if ("note" in action) return `the note “${String(action.note ?? "").slice(0, 80)}” on ${frames}`;
    return [...(action.add ?? []).map((tag) => `+${tag}`), ...(action.remove ?? []).map((tag) => `−${tag}`)].join(" ") + ` on ${frames}`;
  }

  lostKernel() {
    this.lost = true;
    this.busy(false);
    setText(this.saved, "kernel gone");
    this.saved.dataset.state = "late";
    this.alert("The kernel does not answer: it was restarted or is gone. What is marked as saved is on disk; run this cell again to go on.", "late");
    this.root.classList.add("rw-stale");
  }

  alert(text, cause = "error", choices = {}) {
    this.alarm.hidden = !text;
    this.alarm.dataset.cause = text ? cause : "";
    this.alarm.replaceChildren(...(text ? [h("span", {}, text)] : []));
    for (const [label, call] of Object.entries(text ? choices : {})) {
      this.alarm.append(" ", h("button", { class: "rw-button", type: "button", onclick: () => { call(); this.focus(); } }, label));
    }
  }

  announce(text) {
    setText(this.saved, text);
    clearTimeout(this.quiet);
    this.quiet = setTimeout(() => this.showSaving(this.outbox.state()), 8000);
  }

  // ---------------------------------------------------------------- the view: what a reload brings back

  applyView(view) {
    this.view = { ...DEFAULT_VIEW };
    for (const [name, value] of Object.entries(view)) { // what was remembered may be damaged
      if (!(name in DEFAULT_VIEW) || DEFAULT_VIEW[name] === null || typeof value === typeof DEFAULT_VIEW[name]) this.view[name] = value;
    }
    this.view.tile = Math.min(320, Math.max(56, this.view.tile || DEFAULT_VIEW.tile));
    if (!(this.view.filter in FILTERS)) this.view.filter = "all";
    for (const [name, input] of Object.entries(this.inputs)) input.value = String(this.view[name]);
    this.colours = null;
  }

  takeView() { // another view of the same widget moved the display
    const view = this.model.get("view") ?? {};
    if (view.stamp === this.view.stamp) return;
    const filter = this.view.filter;
    this.applyView({ ...view, cursor: this.view.cursor });
    if (filter !== this.view.filter) this.refilter();
    this.redraw();
    this.layout(true);
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
        this.model.set("view", { ...this.view });
        this.model.save_changes();
      } catch (error) { /* no kernel: the next action says so */ }
    }, 250);
  }

  // ---------------------------------------------------------------- order, filter, selection

  current() { return this.shown[this.cursor]; }

  refilter(keep = this.current()) {
    if (!this.order) return;
    const { interest, tags } = this;
    const test = { all: null, unrated: (f) => interest[f] < 0, rated: (f) => interest[f] >= 0,
      interesting: (f) => interest[f] >= 3, tagged: (f) => tags[f] !== 0, pending: (f) => this.pending.has(f) }[this.view.filter];
    this.shown = test ? this.order.filter(test) : this.order;
    const place = !Number.isInteger(keep) || keep < 0 || keep >= this.count ? -1 : this.view.filter === "all" ? this.ranks[keep] - 1 : this.shown.indexOf(keep);
    this.cursor = Math.max(0, place);
    this.anchor = this.cursor;
    this.selection = new Set(this.shown.length ? [this.current()] : []);
    this.empty.hidden = this.shown.length > 0;
    setText(this.empty, this.count === 0 ? "This run holds no frames." : `No frame is “${FILTERS[this.view.filter]}”. Choose another under Show.`);
    this.layout();
    this.reveal();
    this.showProgress();
    this.selected();
  }

  goTo(frame) {
    const place = this.view.filter === "all" ? this.ranks[frame] - 1 : this.shown.indexOf(frame);
    if (place >= 0) this.moveTo(place, false);
  }

  nextUnrated(from) {
    for (let place = from; place < this.shown.length; place++) if (this.interest[this.shown[place]] < 0) return place;
    return Math.min(from, Math.max(0, this.shown.length - 1));
  }

  moveTo(place, extend) {
    if (!this.shown.length) return;
    this.moves = (this.moves ?? 0) + 1;
    this.cursor = Math.max(0, Math.min(this.shown.length - 1, place));
    if (!extend) this.anchor = this.cursor;
    const [first, last] = [Math.min(this.anchor, this.cursor), Math.max(this.anchor, this.cursor)];
    this.selection = new Set(this.shown.subarray(first, last + 1));
    this.reveal();
    this.selected();
  }

  move(by, extend = false) { this.moveTo(this.cursor + by, extend); }

  selected() {
    this.schedule();
    this.saveView();
    if (this.large.open && this.current() === undefined) this.large.hide();
    if (this.large.open) this.showLarge();
  }

  click(event) {
    const tile = event.target.closest(".rw-tile");
    this.focus();
    if (!tile) return;
    const place = Number(tile.dataset.place);
    if (event.ctrlKey || event.metaKey) {
      const frame = this.shown[place];
      if (this.selection.has(frame) && this.selection.size > 1) this.selection.delete(frame);
      else this.selection.add(frame);
      this.cursor = this.anchor = this.selection.has(frame) ? place : this.shown.indexOf([...this.selection].at(-1));
      this.selected();
    } else this.moveTo(place, event.shiftKey);
  }

  // ---------------------------------------------------------------- actions

  targets() { return [...this.selection]; }

  rate(value) {
    const frames = this.targets();
    this.act({ interest: value }, frames, (frame) => { this.interest[frame] = value ?? -1; });
    if (value !== null && frames.length === 1 && this.cursor < this.shown.length - 1) this.move(1);
  }

  toggleTag(bit) {
    const frames = this.targets();
    const mask = 2 ** bit;
    const all = frames.every((frame) => this.tags[frame] & mask);
    const name = this.schema[bit].name;
    this.act(all ? { remove: [name] } : { add: [name] }, frames,
      (frame) => { this.tags[frame] = (all ? this.tags[frame] & ~mask : this.tags[frame] | mask) >>> 0; });
  }

  writeNote() {
    const frame = this.noteFrame;
    const text = this.note.value.trim();
    const typed = this.typing;
    this.typing = false;
    if (frame === undefined || text === (this.notes.get(frame) ?? "")) {
      if (typed) this.showSaving(this.outbox.state());
      return;
    }
    this.act({ note: text || null }, [frame], () => { this.notes.set(frame, text); });
  }

  undo() { this.outbox.post({ kind: "undo" }); }

  rerank() {
    if (this.rerankButton.disabled) return;
    this.movesAtRerank = this.moves;
    if (this.ask({ kind: "rerank" })) this.busy(true);
  }

  busy(on) {
    this.rerankButton.disabled = on;
    setText(this.rerankButton, on ? "Ranking…" : "Re-rank");
  }

  setLimits(lo, hi) {
    const valid = Number.isFinite(lo) && Number.isFinite(hi) && hi > lo;
    if (valid) Object.assign(this.view, { lo, hi });
    else this.announce("the lower limit must be below the upper one");
    this.inputs.lo.value = String(this.view.lo);
    this.inputs.hi.value = String(this.view.hi);
    if (valid) { this.redraw(); this.saveView(); }
  }

  invert() { this.view.invert = !this.view.invert; this.redraw(); this.saveView(); }

  toggleHelp() { this.help.hidden = !this.help.hidden; }

  focus() { this.scroller.focus({ preventScroll: true }); }

  key(event) {
    event.stopPropagation();
    const typing = event.target instanceof HTMLTextAreaElement ||
      (event.target instanceof HTMLInputElement && event.target.type === "number");
    if (event.key === "Escape") {
      event.preventDefault();
      if (typing) this.focus();
      else if (!this.help.hidden) this.toggleHelp();
      else if (this.large.open) this.closeLarge();
      else this.moveTo(this.cursor, false);
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
    if (event.target === this.note && event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      this.focus(); // leaving the note writes it
      return;
    }
    if (typing || event.altKey) return;
    if (event.repeat && !/^(Arrow|Page)/.test(event.key)) { event.preventDefault(); return; } // a key held down acts once
    if (event.target instanceof HTMLSelectElement) return; // its own keys: letters choose an entry
    if (event.target instanceof HTMLInputElement && /^(Arrow|Page|Home|End|Enter| )/.test(event.key)) return;
    if (event.target instanceof HTMLButtonElement && (event.key === "Enter" || event.key === " ")) return;
    if (this.command(event.key, event.shiftKey)) event.preventDefault();
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
    const page = this.columns * Math.max(1, Math.floor(this.scroller.clientHeight / this.step));
    const row = this.large.open ? 1 : this.columns;
    const moves = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: row, ArrowUp: -row, PageDown: page, PageUp: -page,
      Home: -this.shown.length, End: this.shown.length };
    if (key in moves) this.move(moves[key], shift);
    else if (/^[0-5]$/.test(key)) this.rate(Number(key));
    else if (key === "Backspace" || key === "Delete") this.rate(null);
    else if (key === "Enter") this.openLarge();
    else if (key === "?") this.toggleHelp();
    else if (key === "u") this.undo();
    else if (key === "r") this.rerank();
    else if (key === "i") this.invert();
    else if (key === "n") { if (!this.note.disabled) { this.note.focus(); this.note.select(); } }
    else {
      const bit = (this.schema ?? []).findIndex((tag) => tag.key === key);
      if (bit < 0) return false;
      this.toggleTag(bit);
    }
    return true;
  }

  // ---------------------------------------------------------------- large view

  openLarge() {
    if (this.current() === undefined) return;
    this.showLarge();
    this.saveView();
  }

  showLarge() {
    const frame = this.current();
    this.large.show(frame, `rank ${this.ranks[frame].toLocaleString("en")} · score ${this.scores[frame].toFixed(3)}`);
    this.fetchLarge();
  }

  // One request at a time, for the frame now wanted; one that is lost is made again.
  fetchLarge() {
    clearTimeout(this.largeTimer);
    if (!this.large.open || this.large.data || Date.now() - (this.largeAsked ?? 0) < 4000) {
      if (this.large.open && !this.large.data) this.largeTimer = setTimeout(() => this.fetchLarge(), 1000);
      return;
    }
    this.largeAsked = Date.now();
    this.ask({ kind: "large", frame: this.large.frame, view: this.uid() });
    this.largeTimer = setTimeout(() => this.fetchLarge(), 4100);
  }

  closeLarge() { this.large.hide(); this.saveView(); this.schedule(); this.focus(); }

  // ---------------------------------------------------------------- geometry: any number of rows in one scroller

  layout(keepCursor = false) {
    const width = this.scroller.clientWidth || 600;
    this.columns = Math.max(1, Math.floor((width - GAP) / (this.view.tile + GAP)));
    this.edge = Math.floor((width - GAP) / this.columns) - GAP; // tiles fill the width
    this.step = this.edge + GAP;
    this.rows = Math.ceil(this.shown.length / this.columns);
    this.total = this.rows * this.step + GAP;
    this.spacer.style.height = `${Math.min(this.total, MAX_SPACER)}px`;
    this.offset = Math.max(0, Math.min(this.offset ?? 0, this.total - this.scroller.clientHeight));
    if (keepCursor) this.reveal();
  }

  // Above MAX_SPACER the scroll bar stands for the whole length, and the wheel moves by true pixels.
  ratio() {
    const real = Math.min(this.total, MAX_SPACER) - this.scroller.clientHeight;
    return this.total <= MAX_SPACER || real <= 0 ? 1 : (this.total - this.scroller.clientHeight) / real;
  }

  scrolled() {
    const ratio = this.ratio();
    if (ratio === 1) this.offset = this.scroller.scrollTop;
    else if (Math.abs(this.scroller.scrollTop - this.offset / ratio) > 1) this.offset = this.scroller.scrollTop * ratio;
    this.schedule();
  }

  scrollTo(offset) {
    this.offset = Math.max(0, Math.min(offset, this.total - this.scroller.clientHeight));
    this.scroller.scrollTop = this.offset / this.ratio();
    this.schedule();
  }

  wheel(event) {
    if (this.ratio() === 1) return;
    event.preventDefault();
    this.scrollTo(this.offset + event.deltaY * (event.deltaMode === 1 ? 30 : 1));
  }

  reveal() {
    const top = Math.floor(this.cursor / this.columns) * this.step;
    const room = this.scroller.clientHeight;
    if (room === 0) return;
    if (top < this.offset) this.scrollTo(top);
    else if (top + this.step + GAP > this.offset + room) this.scrollTo(top + this.step + GAP - room);
  }

  // ---------------------------------------------------------------- painting

  schedule() {
    if (this.scheduled) return;
    this.scheduled = requestAnimationFrame(() => { this.scheduled = null; this.paint(); });
  }

  redraw() { // the display changed: every tile is painted anew
    this.colours = null;
    for (const cell of this.pool) cell.painted = null;
    this.schedule();
  }

  prepareColours() {
    if (this.colours) return;
    const { map, invert, stretch, contrast, bias, lo, hi } = this.view;
    this.colours = ramp({ map, invert, stretch, contrast, bias });
    this.lookup = table(this.colours, lo, hi);
    this.shared.classList.toggle("rw-off", this.view.limits !== "shared");
    this.generation = (this.generation ?? 0) + 1;
    this.large.paint({ colours: this.colours, limits: this.view.limits, lo, hi });
  }

  paint() {
    if (!this.order || !this.scroller.isConnected) return;
    this.prepareColours();
    const room = this.scroller.clientHeight;
    const first = Math.max(0, Math.floor(this.offset / this.step));
    const last = Math.min(this.rows, Math.ceil((this.offset + room) / this.step) + 1);
    const places = [];
    for (let place = first * this.columns; place < Math.min(this.shown.length, last * this.columns); place++) places.push(place);
    const base = this.scroller.scrollTop;
    while (this.pool.length < places.length) this.pool.push(this.newCell());
    const density = window.devicePixelRatio || 1;
    this.pixelSize = TILE_SIZES.find((size) => size >= this.edge * density * 0.85) ?? TILE_SIZES.at(-1);
    this.pool.forEach((cell, i) => {
      if (i >= places.length) { cell.element.hidden = true; return; }
      const place = places[i];
      this.paintCell(cell, place, base - this.offset + Math.floor(place / this.columns) * this.step + GAP, (place % this.columns) * this.step + GAP);
    });
    const page = places.length;
    const ahead = [];
    for (let place = last * this.columns; place < Math.min(this.shown.length, last * this.columns + page); place++) ahead.push(place);
    for (let place = first * this.columns - 1; place >= Math.max(0, first * this.columns - Math.floor(page / 2)); place--) ahead.push(place);
    this.tiles.want([this.current(), ...places.map((p) => this.shown[p]), ...ahead.map((p) => this.shown[p])]
      .filter((frame) => frame !== undefined), this.pixelSize);
    this.paintPanel();
    if (!this.painted) {
      this.painted = true;
      this.root.dataset.ready = "true";
      if (this.view.large) this.openLarge();
    }
  }

  newCell() {
    const canvas = h("canvas", { class: "rw-canvas" });
    const rating = h("span", { class: "rw-badge" });
    const rank = h("span", { class: "rw-rank" });
    const marks = h("span", { class: "rw-marks" });
    const element = h("div", { class: "rw-tile", role: "option", "aria-selected": "false" }, canvas, rank, rating, marks);
    this.spacer.append(element);
    return { element, canvas, rating, rank, marks, painted: null };
  }

  paintCell(cell, place, top, left) {
    const frame = this.shown[place];
    const { element } = cell;
    element.hidden = false;
    element.dataset.place = String(place);
    element.dataset.frame = String(frame);
    element.style.transform = `translate(${left}px, ${top}px)`;
    element.style.width = element.style.height = `${this.edge}px`;
    const [interest, tags] = [this.interest[frame], this.tags[frame]];
    const chosen = this.selection.has(frame);
    element.classList.toggle("rw-chosen", chosen);
    element.classList.toggle("rw-cursor", place === this.cursor);
    element.classList.toggle("rw-pending", this.pending.has(frame));
    element.setAttribute("aria-selected", String(chosen));
    if (place === this.cursor) { element.id = `${this.uid()}-cursor`; this.scroller.setAttribute("aria-activedescendant", element.id); }
    else element.removeAttribute("id");
    setText(cell.rank, this.ranks[frame].toLocaleString("en"));
    setText(cell.rating, interest >= 0 ? interest : "");
    cell.rating.dataset.interest = String(interest);
    const key = `${tags}`;
    if (cell.marks.dataset.tags !== key) {
      cell.marks.dataset.tags = key;
      cell.marks.replaceChildren(...this.schema.filter((tag, bit) => tags & (2 ** bit))
        .map((tag) => h("span", { class: "rw-mark", title: tag.name, style: { background: tag.colour } })));
    }
    const tile = this.tiles.get(frame, this.pixelSize);
    const names = this.schema.filter((tag, bit) => tags & (2 ** bit)).map((tag) => tag.name);
    element.setAttribute("aria-label", `rank ${this.ranks[frame]}, ${interest >= 0 ? `interest ${interest}` : "not rated"}` +
      `${names.length ? `, ${names.join(", ")}` : ""}${this.notes.has(frame) ? ", with a note" : ""}`);
    element.classList.toggle("rw-noted", this.notes.has(frame));
    const painted = tile ? `${frame}/${this.pixelSize}/${this.generation}` : `${frame}`;
    if (cell.painted === painted) return;
    cell.painted = painted;
    element.classList.toggle("rw-waiting", !tile);
    if (tile) this.paintTile(cell.canvas, tile);
    else cell.canvas.getContext("2d").clearRect(0, 0, cell.canvas.width, cell.canvas.height);
  }

  paintTile(canvas, tile) {
    if (canvas.width !== tile.width || canvas.height !== tile.height) [canvas.width, canvas.height] = [tile.width, tile.height];
    const image = new ImageData(tile.width, tile.height);
    const out = new Uint32Array(image.data.buffer);
    if (this.view.limits === "shared") paintTable(tile.bits, this.lookup, out);
    else paintRamp(toFloats(tile.bits), this.colours, ...tileLimits(tile, this.view.limits), out);
    canvas.getContext("2d").putImageData(image, 0, 0);
  }

  paintPanel() {
    const frame = this.current();
    this.panel.classList.toggle("rw-off", frame === undefined);
    this.note.disabled = frame === undefined;
    if (frame === undefined) {
      this.noteFrame = undefined;
      this.note.value = "";
      this.facts.replaceChildren();
      this.factsKey = this.previewKey = null;
      this.preview.getContext("2d").clearRect(0, 0, this.preview.width, this.preview.height);
      return;
    }
    const chosen = this.targets();
    const tile = this.tiles.get(frame, this.pixelSize);
    const key = tile ? `${frame}/${this.pixelSize}/${this.generation}` : null;
    if (tile && this.previewKey !== key) { this.paintTile(this.preview, tile); this.previewKey = key; }
    const facts = tile?.facts;
    const [rank, all] = [this.ranks[frame].toLocaleString("en"), this.count.toLocaleString("en")];
    const rows = [["Rank", `${rank} of ${all} · score ${this.scores[frame].toFixed(3)}`]];
    if (facts) {
      rows.push(["Frame", facts.id]);
      if (facts.ra === null) rows.push(["Position", "no sky coordinates"]);
      else rows.push(["RA, Dec", `${formatRA(facts.ra)} ${formatDec(facts.dec)}`], ["Degrees", formatDegrees(facts.ra, facts.dec)]);
      rows.push(["Peak", facts.snr === null ? "blank" : `${facts.snr.toFixed(1)} σ, rms ${formatValue(facts.rms, facts.unit)}`]);
    }
    if (chosen.length > 1) rows.unshift(["Selected", plural(chosen.length, "frame")]);
    const signature = JSON.stringify(rows);
    if (this.factsKey !== signature) {
      this.factsKey = signature;
      this.facts.replaceChildren(...rows.flatMap(([name, value]) => [h("span", { class: "rw-fact" }, name), h("span", { class: "rw-value", title: value }, value)]));
    }
    this.ratings.forEach((element, value) => element.setAttribute("aria-pressed", String(chosen.every((f) => this.interest[f] === value))));
    this.tagButtons.forEach((element, bit) => {
      const having = chosen.filter((f) => this.tags[f] & (2 ** bit)).length;
      element.setAttribute("aria-pressed", having === 0 ? "false" : having === chosen.length ? "true" : "mixed");
    });
    if (this.noteFrame !== frame || document.activeElement !== this.note) {
      if (this.noteFrame !== undefined && this.noteFrame !== frame) this.writeNote();
      this.noteFrame = frame;
      this.note.value = this.notes.get(frame) ?? "";
    }
  }

  showProgress() {
    if (this.rated === undefined) return;
    const shown = this.shown.length === this.count ? "" : ` · ${this.shown.length.toLocaleString("en")} shown`;
    setText(this.progress, `${plural(this.count, "frame")} · ${this.rated.toLocaleString("en")} rated${shown}`);
  }

  uid() {
    this.identity ??= `rw-${Math.random().toString(36).slice(2, 10)}`;
    return this.identity;
  }

  dispose() {
    this.writeNote();
    this.shelve(this.outbox.state().held);
    window.removeEventListener("beforeunload", this.leave);
    clearTimeout(this.largeTimer);
    this.model.off("msg:custom", this.listen);
    this.model.off("change:view", this.watch);
    this.model.off("comm_live_update", this.live);
    this.resize.disconnect();
    this.theme.disconnect();
    this.outbox.close();
    this.large.dispose();
    clearTimeout(this.viewTimer);
    clearTimeout(this.quiet);
    cancelAnimationFrame(this.scheduled);
  }
}

export default {
  render({ model, el }) {
    const view = new ReviewView(model, el);
    return () => view.dispose();
  },
};
