// The gallery: any number of frames in one scroller, of which only those in sight are in the page.

import { tagCodes } from "./arrange.js";
import { ramp, table } from "./colour.js";
import { h, setText } from "./dom.js";
import { paintTile } from "./tiles.js";

const GAP = 6; // px between tiles
const MAX_SPACER = 6e6; // px: browsers stop honouring heights not far above
const TILE_SIZES = [48, 64, 96, 128, 192, 256];

export class Gallery {
  constructor(app) {
    this.app = app;
    this.pool = [];
    this.offset = 0;
    this.spacer = h("div", { class: "rw-spacer" });
    this.scroller = h("div", { class: "rw-scroller", role: "listbox", "aria-multiselectable": "true", tabindex: "0",
      "aria-label": "Frames", onscroll: () => this.scrolled() }, this.spacer);
    this.scroller.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    this.scroller.addEventListener("click", (event) => this.click(event));
    this.scroller.addEventListener("dblclick", (event) => { if (!event.target.closest(".rw-stack")) app.openLarge(); });
    this.scroller.addEventListener("pointerover", (event) => this.hover(event));
    this.empty = h("div", { class: "rw-empty" }, "Waiting for the kernel…");
  }

  takeSchema(schema) {
    this.codes = tagCodes(schema.map((tag) => tag.name));
    for (const cell of this.pool) cell.marks.dataset.tags = "?";
  }

  // Places of the first tiles of a page, for the keys that jump.
  get page() { return this.columns * Math.max(1, Math.floor(this.scroller.clientHeight / this.step)); }

  // ---------------------------------------------------------------- geometry

  layout(keepCursor = false) {
    const [begin, end] = this.columns && this.scroller.clientHeight ? this.sight() : [0, 0];
    const seen = this.app.cursor >= begin && this.app.cursor < end - this.columns;
    const width = this.scroller.clientWidth || 600;
    this.columns = Math.max(1, Math.floor((width - GAP) / (this.app.view.tile + GAP)));
    this.edge = Math.floor((width - GAP) / this.columns) - GAP; // tiles fill the width
    this.step = this.edge + GAP;
    this.rows = Math.ceil(this.app.shown.length / this.columns);
    this.total = this.rows * this.step + GAP;
    this.spacer.style.height = `${Math.min(this.total, MAX_SPACER)}px`;
    this.offset = Math.max(0, Math.min(this.offset, this.total - this.scroller.clientHeight));
    if (keepCursor || seen) this.reveal(); // also in a page of another width
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
    this.app.schedule();
  }

  scrollTo(offset) {
    this.offset = Math.max(0, Math.min(offset, this.total - this.scroller.clientHeight));
    this.scroller.scrollTop = this.offset / this.ratio();
    this.app.schedule();
  }

  wheel(event) {
    if (this.ratio() === 1) return;
    event.preventDefault();
    this.scrollTo(this.offset + event.deltaY * (event.deltaMode === 1 ? 30 : 1));
  }

  // Places in sight: from the first to before the last, with the row that begins below.
  sight() {
    const first = Math.max(0, Math.floor(this.offset / this.step));
    const last = Math.min(this.rows, Math.ceil((this.offset + this.scroller.clientHeight) / this.step) + 1);
    return [first * this.columns, Math.min(this.app.shown.length, last * this.columns)];
  }

  reveal() {
    const top = Math.floor(this.app.cursor / this.columns) * this.step;
    const room = this.scroller.clientHeight;
    if (room === 0) return;
    if (top < this.offset) this.scrollTo(top);
    else if (top + this.step + GAP > this.offset + room) this.scrollTo(top + this.step + GAP - room);
  }

  // The cursor's row becomes the second from the top.
  showAtTop() { this.scrollTo((Math.floor(this.app.cursor / this.columns) - 1) * this.step); }

  // ---------------------------------------------------------------- pointer

  click(event) {
    const { app } = this;
    const tile = event.target.closest(".rw-tile");
    app.focus();
    if (!tile) return;
    const place = Number(tile.dataset.place);
    if (event.target.closest(".rw-stack")) {
      app.moveTo(place, false);
      app.unfold();
    } else if (event.ctrlKey || event.metaKey) app.choose(place);
    else app.moveTo(place, event.shiftKey);
  }

  // What a tile is, in words, is written when the pointer comes to it.
  hover(event) {
    const tile = event.target.closest(".rw-tile");
    if (!tile) return;
    const frame = Number(tile.dataset.frame);
    const facts = this.app.tiles.get(frame, this.pixelSize)?.facts;
    const lines = [this.app.words(frame), facts?.id, Number.isFinite(facts?.snr) ? `peak ${facts.snr.toFixed(1)} σ` : null,
      this.app.blind.has(frame) ? null : this.app.notes.get(frame)];
    tile.title = lines.filter(Boolean).join("\n");
  }

  // ---------------------------------------------------------------- painting

  redraw() { // the display changed: every tile is painted anew
    this.colours = null;
    for (const cell of this.pool) cell.painted = null;
    this.app.schedule();
  }

  // The colours of all tiles; returns whether they are new.
  prepareColours() {
    if (this.colours) return false;
    const { map, invert, stretch, contrast, bias, lo, hi } = this.app.view;
    this.colours = ramp({ map, invert, stretch, contrast, bias });
    this.greys = ramp({ map: "grey", stretch, contrast, bias });
    this.lookup = table(this.colours, lo, hi);
    this.generation = (this.generation ?? 0) + 1;
    return true;
  }

  // Paint what is in sight and return the frames it needs, most urgent first.
  paint() {
    const { shown } = this.app;
    const [begin, end] = this.sight();
    const places = Array.from({ length: end - begin }, (_, i) => begin + i);
    if (!this.app.large.open) for (const place of places) this.app.seen[place] ||= 1;
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
    for (let place = end; place < Math.min(shown.length, end + page); place++) ahead.push(place);
    for (let place = begin - 1; place >= Math.max(0, begin - Math.floor(page / 2)); place--) ahead.push(place);
    return [places.map((place) => shown[place]), ahead.map((place) => shown[place])];
  }

  newCell() {
    const canvas = h("canvas", { class: "rw-canvas" });
    const rating = h("span", { class: "rw-badge" });
    const rank = h("span", { class: "rw-rank" });
    const moved = h("span", { class: "rw-moved" });
    const stack = h("span", { class: "rw-stack" });
    const marks = h("span", { class: "rw-marks" });
    const element = h("div", { class: "rw-tile", role: "option", "aria-selected": "false" }, canvas, h("span", { class: "rw-ranks" }, rank, moved),
      rating, stack, marks);
    this.spacer.append(element);
    return { element, canvas, rating, rank, moved, stack, marks, painted: null };
  }

  paintCell(cell, place, top, left) {
    const { app } = this;
    const frame = app.shown[place];
    const { element } = cell;
    element.hidden = false;
    element.dataset.place = String(place);
    if (element.dataset.frame !== String(frame)) element.removeAttribute("title");
    element.dataset.frame = String(frame);
    element.style.transform = `translate(${left}px, ${top}px)`;
    element.style.width = element.style.height = `${this.edge}px`;
    const [interest, tags] = [app.interestOf(frame), app.tagsOf(frame)];
    const noted = app.notes.has(frame) && !app.blind.has(frame);
    const chosen = app.selection.has(frame);
    element.classList.toggle("rw-chosen", chosen);
    element.classList.toggle("rw-cursor", place === app.cursor);
    element.classList.toggle("rw-pending", app.pending.has(frame));
    element.classList.toggle("rw-noted", noted);
    element.setAttribute("aria-selected", String(chosen));
    element.setAttribute("aria-posinset", String(place + 1));
    element.setAttribute("aria-setsize", String(app.shown.length));
    element.setAttribute("aria-label", app.words(frame));
    if (place === app.cursor) { element.id = `${app.uid()}-cursor`; this.scroller.setAttribute("aria-activedescendant", element.id); }
    else element.removeAttribute("id");
    const moved = app.arrow(frame);
    setText(cell.rank, app.hidden ? "" : app.rankOf(frame).toLocaleString("en"));
    setText(cell.moved, moved ? `${moved > 0 ? "▲" : "▼"}${Math.abs(moved).toLocaleString("en")}` : "");
    cell.moved.dataset.way = moved > 0 ? "up" : "down";
    setText(cell.rating, interest >= 0 ? interest : "");
    cell.rating.dataset.interest = String(interest);
    this.paintStack(cell, frame);
    this.paintMarks(cell, tags);
    const tile = app.tiles.get(frame, this.pixelSize);
    const painted = tile ? `${app.tiles.key(frame, this.pixelSize)}/${this.generation}` : `${frame}`;
    if (cell.painted === painted || (!tile && cell.painted?.startsWith(`${frame}/`))) return; // another band: the one before stays till it comes
    cell.painted = painted;
    element.classList.toggle("rw-waiting", !tile);
    if (tile) this.paintTile(cell.canvas, tile);
    else cell.canvas.getContext("2d").clearRect(0, 0, cell.canvas.width, cell.canvas.height);
  }

  paintStack(cell, frame) {
    const { size, open } = this.app.stackOf(frame);
    setText(cell.stack, size < 2 ? "" : open ? "−" : `+${size - 1}`);
    cell.stack.title = size < 2 ? "" : open ? "One of a stack; click to fold it" : `${size - 1} more overlap with it, and are rated and tagged with it; click to unfold`;
    cell.element.classList.toggle("rw-stacked", size > 1 && !open);
    cell.element.classList.toggle("rw-unfolded", size > 1 && open);
  }

  paintMarks(cell, tags) {
    const key = `${tags}/${this.app.view.codes}`;
    if (cell.marks.dataset.tags === key) return;
    cell.marks.dataset.tags = key;
    const mark = (tag, bit) => (this.app.view.codes
      ? h("span", { class: "rw-mark rw-code", title: tag.name, style: { background: tag.colour, color: tag.text } }, this.codes[bit])
      : h("span", { class: "rw-mark", title: tag.name, style: { background: tag.colour } }));
    cell.marks.replaceChildren(...this.app.schema.map((tag, bit) => (tags & (2 ** bit) ? mark(tag, bit) : null)).filter(Boolean));
  }

  paintTile(canvas, tile) {
    const { limits, lo, hi } = this.app.view;
    paintTile(canvas, tile, { limits, lo, hi, colours: this.colours, greys: this.greys, lookup: this.lookup });
  }
}
