// Review: a gallery of frames in score order, rated and tagged from the keyboard.

import { nextPlace, Selection } from "./arrange.js";
import { Controls } from "./controls.js";
import { copied, h, plural, setText } from "./dom.js";
import { FilterBar } from "./filters.js";
import { Follow } from "./follow.js";
import { Gallery } from "./gallery.js";
import { ExportMenu, History } from "./history.js";
import { Keys } from "./keys.js";
import { LargeView } from "./large.js";
import { Panel } from "./panel.js";
import { Places } from "./places.js";
import { Saving } from "./saving.js";
import { Session } from "./session.js";
import { restored } from "./settings.js";
import { TileStore } from "./tiles.js";

const CANDIDATES = 55_000; // places after which an order is told to have come so far
const MANY = 100; // frames: an action on more is confirmed first

class ReviewView extends Places {
  constructor(model, el) {
    super();
    this.model = model;
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
    this.follow = new Follow(this);
    this.keys = new Keys(this);
    this.large = new LargeView({ close: () => this.closeLarge(), step: (by) => { this.move(by); this.focus(); },
      ask: (content) => this.ask({ ...content, view: this.uid() }), adjust: (change) => this.adjust(change),
      changed: (look, passing) => this.lookChanged(look, passing) });
    this.spoken = h("div", { class: "rw-spoken", "aria-live": "polite" });
    this.rerankButton = button("Re-rank", "Order by the scores and the ratings given so far", () => this.rerank());
    const bar = h("div", { class: "rw-bar" }, this.heading, this.progress, this.follow.line, this.saving.light, this.follow.element,
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
    this.root.addEventListener("keydown", (event) => this.keys.handle(event));
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
      sort: () => this.takeSort(content, buffers), find: () => this.filters.takeFound(content, buffers), columns: () => this.filters.takeColumns(content), stacks: () => this.takeStacks(content, buffers),
      why: () => this.panel.why.receive(content), history: () => this.history.receive(content), progress: () => this.session.receive(content), expected: () => this.session.receive(content),
      export: () => this.exports.receive(content), news: () => this.takeNews(content), error: () => { this.busy(false); this.saving.alert(content.text); },
    }[content.kind];
    take?.();
  }

  takeIndex(content, buffers) {
    this.count = content.count;
    this.schema = content.schema;
    this.maps = content.maps;
    this.most = content.most;
    this.takeRanks(buffers);
    this.trail = new Set(new Uint32Array(copied(buffers[6])));
    this.trailing = false;
    [this.interest, this.tags] = [new Int8Array(copied(buffers[2])), new Uint32Array(copied(buffers[3]))];
    this.mapCodes = new Uint16Array(copied(buffers[5]));
    this.notes = new Map(content.notes);
    this.rated = content.rated;
    this.changes += 1;
    if (this.selection.mask.length !== this.count) this.selection = new Selection(this.count);
    setText(this.heading, content.name);
    this.heading.title = `labels of ${content.annotator}`;
    this.keys.take(content.keys, this.schema, content.large_keys);
    this.tiles.show({ noise: this.view.noise });
    this.large.take(content.display);
    this.large.restore(this.view.look); // once it is known which bands there are
    this.gallery.takeSchema(this.schema);
    this.panel.takeSchema(this.schema, (action) => this.keys.keyOf(action));
    this.filters.takeIndex(content);
    this.saving.alert(content.warning || "");
    const at = content.cursor ?? this.view.cursor;
    if (this.trail.size && Number.isInteger(at) && at >= 0 && at < this.count) this.trail.add(at); // where one was, one goes on
    this.refilter(at);
    this.saving.offer(`radiowidgets/${content.key}`);
    this.saving.refresh();
    this.session.showSettings();
    this.session.ask(200);
    if (this.view.sort.by !== "rank") this.sortBy(this.view.sort, null);
    if (this.view.filters.query || this.view.filters.annotator) this.filters.ask();
    if (this.view.fold) this.setFold(true);
    if (this.history.open) this.history.ask();
  }

  takeOrder(content, buffers) {
    this.takeHead(content, buffers);
    this.follow.take(content);
    if (buffers[0].byteLength) this.panel.why.forget();
    this.filters.check("order");
    const whole = buffers[0].byteLength === 4 * this.count;
    this.root.dataset.learnt = String(content.labels);
    if (whole || buffers[0].byteLength >= 4 * CANDIDATES) this.root.dataset.candidates = String(content.labels);
    if (whole) this.root.dataset.ordered = String(content.labels);
    if (content.live) {
      this.advance(whole);
      return;
    }
    this.busy(false);
    this.trail = new Set([...this.trail].filter((frame) => this.labelled(frame))); // what was only in sight is ordered anew too
    this.trailing = false;
    const waited = this.moves === this.movesAtRerank; // nobody moved on meanwhile: look at the new first ones
    if (this.view.sort.by === "rank") {
      this.refilter(waited ? null : this.current());
      if (waited) {
        this.moveTo(Math.max(0, nextPlace(this.shown, -1, (frame) => this.interest[frame] < 0)), false);
        this.gallery.showAtTop();
      }
    } else this.schedule();
    this.filters.show();
    this.saving.announce(content.text);
  }

  // What others said meanwhile: a quiet line, and what is open of those frames is asked for anew.
  takeNews({ by, frames, annotators, stuck }) {
    const words = Object.entries(by).map(([name, count]) => `${name} labelled ${plural(count, "frame")}`);
    this.stuck = stuck;
    this.saving.refresh();
    if (words.length) this.saving.announce(words.slice(0, 3).join(", "));
    this.filters.takeAnnotators(annotators);
    if (frames.includes(this.current())) this.panel.why.forget();
    this.history.refresh();
    this.schedule();
  }

  takeAnswer(content) {
    const refused = content.kind === "refused";
    const { outbox } = this.saving;
    this.stuck = content.stuck;
    const action = refused ? outbox.refuse(content.id, content.text) : outbox.settle(content.id);
    (action?.frames ?? []).forEach((frame) => this.release(frame));
    content.frames.forEach((frame, i) => {
      if (this.pending.has(frame)) return; // a later action on this frame is still under way: its answer will tell
      this.interest[frame] = content.interest[i];
      this.tags[frame] = content.tags[i];
      if (action?.kind === "undo" && this.repeats(frame)) this.blind.set(frame, this.tagsOf(frame) & (this.blind.get(frame) ?? 0)); // what it was before stays out of sight
      if (content.notes[i]) this.notes.set(frame, content.notes[i]);
      else this.notes.delete(frame);
      if (content.interest[i] < 0 && !content.tags[i] && !content.notes[i]) this.trail.delete(frame);
    });
    this.changes += 1;
    if (content.rated !== undefined) this.rated = content.rated;
    if (!refused && content.text) this.saving.announce(content.text);
    if (action?.kind === "undo" && content.frames.length && !content.frames.includes(this.current())) this.goBack(content.frames[0]);
    if (!refused && action) this.root.dataset.saved = String(Number(this.root.dataset.saved ?? 0) + 1);
    this.drift(content.frames);
    this.filters.check("labels");
    this.showProgress();
    this.goOn();
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
    this.follow.paint();
    this.panel.why.element.open = this.view.why;
    this.gallery.colours = null;
  }

  takeView() { // another view of the same widget moved the display
    const view = this.model.get("view") ?? {};
    if (view.stamp === this.view.stamp || this.viewTimer) return; // what was changed here and is not sent yet is newer
    const before = JSON.stringify([this.view.filter, this.view.filters]);
    const { cursor, sort, fold, noise, look } = this.view;
    const { hidden } = this;
    this.view = { ...restored(view), cursor, sort, fold };
    this.showView();
    if (noise !== this.view.noise) this.tiles.show({ noise: this.view.noise });
    if (JSON.stringify(look) !== JSON.stringify(this.view.look)) this.large.restore(this.view.look);
    if (hidden !== this.hidden) this.hiddenChanged();
    if (before !== JSON.stringify([this.view.filter, this.view.filters])) this.filters.ask();
    this.redraw();
    this.gallery.layout(true);
    this.schedule();
  }

  saveView() {
    clearTimeout(this.viewTimer);
    this.viewTimer = setTimeout(() => {
      this.viewTimer = null;
      if (this.lost) return;
      this.view.cursor = this.current() ?? null;
      this.view.large = this.large.open;
      this.view.stamp = Date.now();
      try {
        this.model.set("view", structuredClone(this.view));
        this.model.save_changes();
        this.tellSelection();
      } catch (error) { /* no kernel: the next action says so */ }
    }, 250);
  }

  // The kernel knows what is selected, for the notebook and for what is linked with this gallery.
  tellSelection() {
    if (this.told === this.selection.version) return;
    this.told = this.selection.version;
    this.model.send({ kind: "selected" }, undefined, [new Uint32Array(this.selection.list).buffer]);
  }

  get hidden() { return this.view.session.hidden; }

  hiddenChanged() {
    this.panel.why.forget();
    this.filters.show();
    this.follow.paint();
    this.saving.refresh();
    this.speak();
    if (this.large.open) this.showLarge();
    this.schedule();
  }

  // ---------------------------------------------------------------- actions

  // What the keys and buttons do acts on the selection; on many frames it asks first.
  act(action, apply, words, after = () => {}) {
    const frames = this.targets;
    if (frames.length > this.most) this.saving.announce(`an action takes at most ${this.most.toLocaleString("en")} frames; select fewer`);
    else if (frames.length > MANY) this.saving.confirm(words(plural(frames.length, "frame")), `Yes, ${frames.length.toLocaleString("en")}`, () => this.post(action, frames, apply));
    else { this.post(action, frames, apply); after(); }
  }

  // An action is shown at once, held by the outbox, and marked until the kernel says it is on disk.
  post(action, frames, apply) {
    if (!frames.length) return;
    // Of a folded stack only the frame that was seen was looked at.
    const looks = Array.from(frames, (frame) => (frames.length === 1 || this.selection.has(frame) ? this.lookOf(frame) : null));
    if (looks.filter(Boolean).length === 1) this.trail.add(frames[looks.findIndex(Boolean)]);
    const look = "look" in action || "looks" in action ? {} : new Set(looks).size === 1 ? { look: looks[0] } : { looks };
    for (const frame of frames) {
      if (apply) apply(frame);
      if ("interest" in action) this.blind.delete(frame);
      this.pending.set(frame, (this.pending.get(frame) ?? 0) + 1);
    }
    this.moves = (this.moves ?? 0) + 1;
    this.changes += 1;
    this.saving.outbox.post({ kind: "act", ...action, frames: Array.from(frames), ...look });
    this.drift(frames);
    this.speak();
    this.schedule();
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
      else if (this.view.sort.by === "queue") this.extend();
    });
  }

  toggleTag(bit) {
    const mask = 2 ** bit;
    const all = this.targets.every((frame) => this.tagsOf(frame) & mask);
    const { name } = this.schema[bit];
    const change = (tags) => (all ? tags & ~mask : tags | mask) >>> 0;
    this.act(all ? { remove: [name] } : { add: [name] },
      (frame) => {
        this.tags[frame] = change(this.tags[frame]);
        if (this.blind.has(frame)) this.blind.set(frame, change(this.blind.get(frame)));
      }, (which) => (all ? `Take ${name} from ${which}?` : `Tag ${which} ${name}?`));
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

  // ---------------------------------------------------------------- menus

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
      this.ask({ kind: "columns", view: this.uid() });
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
    for (const timer of [this.viewTimer, this.speakTimer, this.requeueTimer, this.filters.timer, this.panel.why.waiting]) clearTimeout(timer);
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

export default {
  render({ model, el }) {
    const view = new ReviewView(model, el);
    return () => view.dispose();
  },
};
