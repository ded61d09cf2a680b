// How the order follows the labels: what lies ahead out of sight is ordered anew, all else stays where it is.

import { copied, h, plural, setText } from "./dom.js";

// The frames of `head` first, the others of `order` as they stood.
export function merged(order, head) {
  const first = new Uint8Array(order.length);
  for (const frame of head) first[frame] = 1;
  const out = new Uint32Array(order.length);
  out.set(head);
  let end = head.length;
  for (const frame of order) if (!first[frame]) out[end++] = frame;
  return out;
}

// The same frames as `shown`: those at places that stay (a byte each) stay, the others come in the order of `order`.
export function reordered(shown, order, stays) {
  const free = new Uint8Array(order.length);
  for (let place = 0; place < shown.length; place++) if (!stays[place]) free[shown[place]] = 1;
  const out = new Uint32Array(shown);
  let place = 0;
  for (const frame of order) {
    if (!free[frame]) continue;
    while (stays[place]) place += 1;
    out[place++] = frame;
  }
  return out;
}

// Places that stay: where the cursor was (2 in `seen`), what is in sight (from `first` to before `last`), and what was
// in sight before it (1). What was seen further down, and passed by, is free.
export function staying(seen, first, last) {
  const stays = new Uint8Array(seen.length);
  for (let place = 0; place < seen.length; place++) {
    if (seen[place] === 2 || (place < last && (seen[place] === 1 || place >= first))) stays[place] = 1;
  }
  return stays;
}

// What the line says: nothing, or what moved up and why; `about` as the kernel sends it.
export function movedLine({ risen, words, text, coming }, hidden) {
  if (hidden) return { text: "follows what you say", title: "What lies ahead is ordered by your labels", can: false };
  if (!risen.length) return { text: "", title: text, can: false };
  return { text: `${plural(risen.length, "frame")} moved up: ${words}`, can: true,
    title: `${risen.length} of the next ${coming} frames would not be among them by the first ranking; ${text}. Click to see them.` };
}

export class Follow {
  constructor(app) {
    this.app = app;
    this.words = h("span", { class: "rw-moved-words" });
    this.line = h("button", { class: "rw-plain rw-moved-line", type: "button", "aria-pressed": "false",
      onclick: () => { this.show(); app.focus(); } }, h("span", { class: "rw-up-mark", "aria-hidden": "true" }, "▲"), this.words);
    this.box = h("input", { type: "checkbox", onchange: () => { this.set(this.box.checked); app.focus(); } });
    this.element = h("label", { class: "rw-field rw-follow",
      title: "After each label, frames ahead that are not in sight are ordered anew; what you see and what you passed stays where it is" },
    this.box, h("span", {}, "Follow", h("span", { class: "rw-wide" }, " my ratings")));
  }

  get on() { return this.app.view.follow; }

  set(on) {
    this.app.view.follow = on;
    this.app.saveView();
    if (on) this.app.ask({ kind: "follow" });
    else this.app.saving.announce("the order stays as it is until you re-rank");
    this.paint();
  }

  take(about) {
    this.about = about;
    this.app.risen = new Set(about.risen);
    this.paint();
  }

  paint() {
    this.box.checked = this.on;
    const line = this.about && this.on ? movedLine(this.about, this.app.hidden) : { text: "", title: "", can: false };
    setText(this.words, line.text);
    this.line.title = line.title;
    this.line.disabled = !line.can && !this.showing;
    this.line.dataset.on = String(line.can);
    this.line.setAttribute("aria-pressed", String(this.showing));
  }

  get showing() { return this.app.view.filter === "moved"; }

  // Only what moved up, and back.
  show() {
    const { app } = this;
    if (!this.showing && app.hidden) { app.saving.announce("what moved up is hidden with the score"); return; }
    if (!this.showing && !app.risen.size) { app.saving.announce("nothing has moved up yet"); return; }
    if (!this.showing) this.from = { frame: app.current(), filter: app.view.filter };
    app.view.filter = this.showing ? this.from?.filter ?? "all" : "moved";
    app.refilter(app.view.filter === "moved" ? app.current() : this.from?.frame ?? app.current());
    app.saveView();
    app.filters.show();
    this.paint();
  }
}

// An order as the kernel sends it: places, and scores in steps from low to high.
export function unpacked({ low, high }, buffers) {
  const head = new Uint32Array(copied(buffers[0]));
  return { head, scores: Float32Array.from(new Uint16Array(copied(buffers[1])), (step) => low + (step * (high - low)) / 65535) };
}
