// Which frames are shown, in which order, where the cursor stands and which frames are chosen: what Review builds on.

import { arrange, matcher, nextPlace, Selection, stacksOf } from "./arrange.js";
import { copied, plural, setText } from "./dom.js";
import { merged, reordered, staying, unpacked } from "./follow.js";

const LOOKS = ["rank", "random", "repeat"];

export class Places {
  constructor() {
    this.count = 0;
    this.shown = new Uint32Array(0); // frames in the order and under the filters now shown
    this.cursor = 0; // place in `shown`
    this.anchor = 0;
    this.selection = new Selection();
    this.pending = new Map(); // frame -> actions under way
    this.notes = new Map();
    this.blind = new Map(); // frames to be rated again as if for the first time -> tags given to them meanwhile
    this.looks = new Map(); // frame -> why the session shows it
    this.unfolded = new Set(); // stacks
    this.trail = new Set(); // frames that stand first, whatever their rank, as they were looked at in this order
    this.trailing = false; // whether the trail is shown, and what comes next behind it
    this.risen = new Set(); // frames that the labels brought among the next ones
    this.arrows = new Map(); // frame -> how far it had moved up when it was placed
    this.drifted = new Set(); // frames that were labelled and no longer pass the filters
    this.changes = 0; // of labels
    this.sortRequest = 0;
  }

  // Order, scores, and the ranks before any re-ranking where they differ.
  takeRanks(buffers) {
    [this.order, this.scores] = [new Uint32Array(copied(buffers[0])), new Float32Array(copied(buffers[1]))];
    this.ranks = ranksOf(this.order);
    this.base = buffers[4].byteLength ? new Uint32Array(copied(buffers[4])) : null;
  }

  // A new order, of the first places or of all.
  takeHead(about, buffers) {
    const { head, scores } = unpacked(about, buffers);
    if (!head.length) return;
    this.base ??= this.ranks;
    this.order = head.length === this.count ? head : merged(this.order, head);
    this.ranks = ranksOf(this.order);
    head.forEach((frame, i) => { this.scores[frame] = scores[i]; });
  }

  // What lies ahead out of sight comes in the new order; all else stays where it is.
  advance(last) {
    const { by } = this.view.sort;
    if (by === "queue" && last) this.requeue();
    if (by !== "rank") { this.schedule(); return; }
    const stays = this.stays();
    const shown = reordered(this.shown, this.order, stays);
    const placed = [];
    for (let place = 0; place < shown.length; place++) {
      if (stays[place]) placed.push(shown[place]);
      else this.seen[place] = 0;
    }
    this.settleRanks(placed);
    if (this.kept === this.shown) this.kept = shown;
    this.shown = shown;
    this.schedule();
  }

  // Which places stay, a byte each.
  stays() {
    const [first, last] = this.large.open ? [this.cursor, this.cursor + 1] : this.gallery.sight();
    const stays = staying(this.seen, first, last);
    stays[this.cursor] = 1;
    if (this.selection.size > 1) stays.fill(1, Math.min(this.anchor, this.cursor), Math.max(this.anchor, this.cursor) + 1);
    if (this.sizes && this.unfolded.size) this.shown.forEach((frame, place) => { if (this.unfolded.has(this.groups[frame])) stays[place] = 1; });
    return stays;
  }

  // What a tile says of its rank holds from the moment it is placed, so that nothing in sight flickers.
  settleRanks(placed) {
    const [ranks, arrows, known] = [this.ranks.slice(), new Map(), new Set(placed)];
    for (const frame of known) {
      ranks[frame] = this.rankAt?.[frame] ?? ranks[frame];
      if (this.arrows.has(frame)) arrows.set(frame, this.arrows.get(frame));
    }
    for (const frame of this.base ? this.risen : []) if (!known.has(frame)) arrows.set(frame, this.base[frame] - ranks[frame]);
    [this.rankAt, this.arrows] = [ranks, arrows];
  }

  labelled(frame) { return this.interest[frame] >= 0 || this.tags[frame] !== 0; }

  // What was passed and what is in sight is found again where it is, after a filter or another order.
  keepTrail() {
    const stays = this.stays();
    if (this.sizes) this.stacks ??= stacksOf(this.kept, this.groups, this.sizes);
    const placed = new Set();
    this.shown.forEach((frame, place) => {
      if (stays[place]) for (const one of this.sizes ? [frame, ...this.stacks(this.groups[frame])] : [frame]) placed.add(one);
    });
    this.trail = new Set([...[...this.trail].filter((frame) => !placed.has(frame) && this.labelled(frame)), ...placed]);
  }

  // The list of a session goes on behind what is in sight by the new order.
  requeue() {
    clearTimeout(this.requeueTimer);
    if (!this.sorted || this.shown.length !== this.sorted.length || this.sizes) return;
    this.requeueTimer = setTimeout(() => {
      const end = this.stays().lastIndexOf(1) + 1;
      const planned = [...this.shown.subarray(0, end)].filter((frame) => this.interestOf(frame) < 0);
      this.sortRequest += 1;
      this.requeued = { request: this.sortRequest, end };
      const { random, repeats } = this.view.session;
      this.ask({ kind: "sort", by: "queue", random, repeats, planned, count: this.sorted.length - end, request: this.sortRequest, view: this.uid() });
    }, 300);
  }

  takeQueue(frames, looks) {
    const { end } = this.requeued;
    if (this.stays().lastIndexOf(1) >= end) { this.requeue(); return; } // somebody went on meanwhile
    const before = new Set(this.shown.subarray(0, end));
    const fresh = [...frames.keys()].filter((i) => !before.has(frames[i]));
    for (const frame of this.shown.subarray(end)) { this.looks.delete(frame); this.blind.delete(frame); }
    this.sorted = new Uint32Array([...before, ...fresh.map((i) => frames[i])]);
    for (const i of fresh) {
      this.looks.set(frames[i], looks[i]);
      if (LOOKS[looks[i]] === "repeat") this.blind.set(frames[i], 0);
    }
    const seen = this.seen.slice(0, end);
    this.shown = this.kept = this.sorted;
    this.seen = new Uint8Array(this.shown.length);
    this.seen.set(seen);
    this.changes += 1;
    this.gallery.layout();
    this.filters.showState();
    this.schedule();
  }

  current() { return this.shown[this.cursor]; }

  refilter(keep = this.current()) {
    if (!this.order) return;
    if (this.trailing && this.base) this.keepTrail();
    const { interest, tags, notes, pending, blind, mapCodes, risen } = this;
    const data = { interest, tags, notes, pending, blind, risen, maps: mapCodes, names: this.schema.map((tag) => tag.name), mapNames: this.maps, found: this.filters.found };
    const test = matcher(this.view.filter, this.view.filters, data);
    this.test = test;
    this.whole = ["all", "unrated"].includes(this.view.filter) && !matcher("all", this.view.filters, data);
    const groups = this.view.fold ? this.groups : null;
    // Who is followed finds what was looked at behind, and ahead what comes next.
    this.trailing = this.view.follow && this.whole && !this.sorted;
    const order = this.trailing && this.trail.size ? merged(this.order, Uint32Array.from(this.trail)) : this.order;
    Object.assign(this, arrange(this.sorted ?? order, test, groups, this.unfolded));
    this.stacks = null;
    this.drifted.clear();
    this.filters.stale = null;
    this.cursor = Math.max(0, this.placeOf(keep));
    this.anchor = this.cursor;
    this.seen = new Uint8Array(this.shown.length);
    if (this.trailing) this.seen.fill(1, 0, this.trail.size);
    this.seen[this.cursor] = 2;
    this.settleRanks(this.view.follow ? this.trail : []);
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
    } else if (this.requeued?.request === content.request) this.takeQueue(new Uint32Array(copied(buffers[0])), new Uint8Array(copied(buffers[1])));
    else this.applySort(new Uint32Array(copied(buffers[0])), buffers[1]?.byteLength ? new Uint8Array(copied(buffers[1])) : null, null);
  }

  applySort(sorted, looks, keep) {
    this.sorted = sorted;
    this.looks = new Map(looks ? [...looks].map((look, i) => [sorted[i], look]) : []);
    this.blind = new Map([...this.looks.keys()].filter((frame) => this.repeats(frame)).map((frame) => [frame, 0]));
    this.changes += 1;
    this.refilter(keep);
    this.filters.show();
    if (this.blind.size) this.filters.askAgain(); // what was found by own labels would tell repeats from new frames
  }

  // The session's list goes on once what was rated is on disk.
  extend() {
    this.ended = this.sortRequest;
    this.goOn();
  }

  goOn() {
    if (this.ended === undefined || this.saving.outbox.held.size) return;
    if (this.ended === this.sortRequest) this.sortBy({ by: "queue" });
    this.ended = undefined;
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

  // What an action is about: the selection, in which a folded stack stands for all its frames.
  get targets() {
    const { list, version } = this.selection;
    if (!this.sizes) return list;
    if (this.targeted?.version !== version) {
      this.stacks ??= stacksOf(this.kept, this.groups, this.sizes);
      const frames = new Set(list);
      for (const frame of list) {
        const stack = this.stacks(this.groups[frame]);
        if (frame === stack[0] && !this.stackOf(frame).open) for (const other of stack) frames.add(other);
      }
      this.targeted = { version, frames: Uint32Array.from(frames) };
    }
    return this.targeted.frames;
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

  // Go to where an action was undone, if that belongs among what is shown, or does so again.
  goBack(frame) {
    if (!this.goTo(frame) && this.view.sort.by !== "queue" && this.test?.(frame)) this.refilter(frame);
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
    if (place < 0 && this.view.sort.by === "queue") this.extend();
    else if (place < 0) this.saving.announce("every frame shown is rated");
    else this.moveTo(place, false);
  }

  moveTo(place, extend) {
    if (!this.shown.length) return;
    this.moves = (this.moves ?? 0) + 1;
    this.cursor = Math.max(0, Math.min(this.shown.length - 1, place));
    this.seen[this.cursor] = 2;
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
    const [all, shown] = [this.kept.length, this.shown.length];
    this.saving.announce(all > shown ? `${plural(all, "frame")} in ${plural(shown, "stack")} selected` : `${plural(all, "frame")} selected`);
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
    const interest = this.interestOf(frame);
    const names = this.schema.filter((tag, bit) => this.tagsOf(frame) & (2 ** bit)).map((tag) => tag.name);
    const { size, open } = this.stackOf(frame);
    return [this.hidden ? "frame" : `rank ${this.rankOf(frame).toLocaleString("en")}`, interest >= 0 ? `interest ${interest}` : "not rated", ...names,
      size > 1 && !open ? `stack of ${size}` : null, !blind && this.notes.has(frame) ? "with a note" : null].filter(Boolean).join(", ");
  }

  speak() {
    clearTimeout(this.speakTimer);
    this.speakTimer = setTimeout(() => {
      const frame = this.current();
      if (frame !== undefined) setText(this.spoken, this.selection.size > 1 ? `${plural(this.selection.size, "frame")} selected, ${this.words(frame)}` : this.words(frame));
    }, 250);
  }

  // How far re-ranking has moved a frame; 0 where nothing is to be said.
  moved(frame) { return this.base && !this.hidden ? this.base[frame] - this.ranks[frame] : 0; }

  // The same on a tile: who is followed is shown only what came among the next ones.
  arrow(frame) { return this.steady ? (this.hidden ? 0 : this.arrows.get(frame) ?? 0) : this.moved(frame); }

  rankOf(frame) { return (this.steady ? this.rankAt : this.ranks)[frame]; }

  // Whether tiles go on saying what they said when they were placed.
  get steady() { return this.view.follow && this.view.filter !== "moved"; }

  // Labels as the reviewer may see them: a blind repeat has none yet.
  interestOf(frame) { return this.blind.has(frame) ? -1 : this.interest[frame]; }

  tagsOf(frame) { return this.blind.get(frame) ?? this.tags[frame]; }

  repeats(frame) { return LOOKS[this.looks.get(frame)] === "repeat"; }

  // Why this frame was looked at: its rank, chance, a repeat, or another order or choice.
  lookOf(frame) {
    if (this.looks.has(frame)) return LOOKS[this.looks.get(frame)];
    return this.view.sort.by === "rank" && this.whole ? "rank" : "order";
  }
}

function ranksOf(order) {
  const ranks = new Uint32Array(order.length);
  for (let place = 0; place < order.length; place++) ranks[order[place]] = place + 1;
  return ranks;
}
