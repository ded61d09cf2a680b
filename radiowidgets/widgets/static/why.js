// Why a frame is where it is: what its score comes from, what is like it, what is known there.

import { h, setText } from "./dom.js";

const REST = 150; // ms that the cursor rests before the kernel is asked
const REMEMBERED = 300; // frames whose answer is kept

export class Why {
  constructor(app) {
    this.app = app;
    this.answers = new Map();
    this.body = h("div", { class: "rw-why-body", "aria-live": "off" });
    this.like = h("button", { class: "rw-button", type: "button", title: "Order the gallery by likeness to this frame", onclick: () => { app.moreLikeThis(); app.focus(); } }, "More like this");
    this.element = h("details", { class: "rw-why", ontoggle: () => {
      app.view.why = this.element.open;
      app.saveView();
      this.paint(app.current());
      if (this.element.open && app.painted) this.element.scrollIntoView({ block: "nearest" });
    } }, h("summary", {}, "Why here"), this.body, this.like);
  }

  toggle() { this.element.open = !this.element.open; }

  forget() { // a new order has other reasons
    this.answers.clear();
    this.shown = null;
    this.waiting = null;
  }

  // Called at every painting: it only looks up what is here, and asks once the cursor rests.
  paint(frame) {
    if (!this.element.open || frame === undefined) return;
    const answer = this.answers.get(frame);
    if (answer) {
      if (this.shown !== answer) this.show(answer);
      this.paintNeighbours();
      return;
    }
    if (this.frame === frame && this.waiting) return;
    this.frame = frame;
    clearTimeout(this.waiting);
    this.body.classList.toggle("rw-old", this.shown !== null);
    this.waiting = setTimeout(() => {
      this.app.ask({ kind: "why", frame, view: this.app.uid() });
      this.waiting = setTimeout(() => { this.waiting = null; this.app.schedule(); }, 20000); // an answer that was lost is asked for again
    }, REST);
  }

  receive(answer) {
    if (answer.frame === this.frame) { clearTimeout(this.waiting); this.waiting = null; }
    this.answers.set(answer.frame, answer);
    if (this.answers.size > REMEMBERED) this.answers.delete(this.answers.keys().next().value);
    this.app.schedule();
  }

  show(answer) {
    this.shown = answer;
    this.body.classList.remove("rw-old");
    const { app } = this;
    const section = (title, ...content) => [h("h4", {}, title), ...content];
    const quiet = (text) => h("p", { class: "rw-quiet" }, text);
    const parts = [];
    if (answer.error) parts.push(quiet(answer.error));
    if (app.hidden) parts.push(quiet("The reasons for the score are hidden with the score."));
    else if (answer.bars?.length) parts.push(...section("Its score", this.bars(answer.bars), h("ul", {}, (answer.words ?? []).slice(0, 4).map((line) => h("li", {}, line)))));
    this.neighbours = (answer.neighbours ?? []).map((one) => this.neighbour(one));
    if (this.neighbours.length) parts.push(...section("Most like it", h("div", { class: "rw-likes" }, this.neighbours.map(({ element }) => element))));
    const objects = answer.objects ?? [];
    if (objects.length) {
      parts.push(...section("Known here", h("ul", {}, objects.map(({ catalogue, name, separation }) =>
        h("li", { title: `${catalogue}, ${separation} from the centre` }, name, h("span", { class: "rw-quiet" }, ` ${catalogue} · ${separation}`)))),
      answer.more ? quiet(`and ${answer.more} more`) : null));
    }
    for (const line of answer.notes ?? []) parts.push(quiet(line));
    const first = !this.body.firstChild;
    this.body.replaceChildren(...parts.filter(Boolean));
    if (first && app.painted) this.element.scrollIntoView({ block: "nearest" });
  }

  // Each feature as a bar from the middle: to the right it makes the frame more anomalous, to the left less.
  bars(bars) {
    const largest = Math.max(...bars.map(({ contribution }) => Math.abs(contribution))) || 1;
    return h("div", { class: "rw-bars", role: "list" }, bars.map(({ feature, contribution, value, typical }) => {
      const width = `${(Math.abs(contribution) / largest) * 50}%`;
      const words = `${feature} is ${value}, typically ${typical}: ${contribution >= 0 ? "raises" : "lowers"} the score by ${Math.abs(contribution).toPrecision(2)}`;
      return h("div", { class: "rw-barline", role: "listitem", title: words, "aria-label": words }, h("span", { class: "rw-barname" }, feature),
        h("span", { class: "rw-track" }, h("span", { class: "rw-fill", "data-way": contribution >= 0 ? "up" : "down", style: contribution >= 0 ? { left: "50%", width } : { right: "50%", width } })));
    }));
  }

  neighbour({ frame, others }) {
    const canvas = h("canvas", { class: "rw-canvas" });
    const rating = h("span", { class: "rw-badge" });
    const marks = h("span", { class: "rw-marks" });
    const element = h("button", { class: "rw-like", type: "button", onclick: () => { this.app.visit(frame); this.app.focus(); } }, canvas, rating, marks);
    return { frame, others: others ?? [], element, canvas, rating, marks, painted: null };
  }

  paintNeighbours() {
    const { app } = this;
    for (const cell of this.neighbours ?? []) {
      const { frame } = cell;
      const [interest, tags] = [app.interestOf(frame), app.tagsOf(frame)];
      setText(cell.rating, interest >= 0 ? interest : "");
      cell.rating.dataset.interest = String(interest);
      const said = cell.others.map(({ annotator, words }) => `${annotator}: ${words}`);
      const words = [app.words(frame), ...said].join("\n");
      if (cell.element.title !== words) cell.element.title = cell.element.ariaLabel = words;
      if (cell.tags !== tags) {
        cell.tags = tags;
        const names = new Set([...app.schema.filter((tag, bit) => tags & (2 ** bit)), ...app.schema.filter((tag) => cell.others.some((other) => other.tags.includes(tag.name)))]);
        cell.marks.replaceChildren(...[...names].map((tag) => h("span", { class: "rw-mark", style: { background: tag.colour } })));
      }
      const tile = app.tiles.get(frame, app.gallery.pixelSize);
      const painted = tile ? `${app.gallery.pixelSize}/${app.gallery.generation}` : null;
      if (!tile || cell.painted === painted) continue;
      cell.painted = painted;
      app.gallery.paintTile(cell.canvas, tile);
    }
  }

  // Frames whose tiles are needed besides those of the gallery.
  wanted() { return this.element.open && this.shown?.frame === this.app.current() ? (this.neighbours ?? []).map(({ frame }) => frame) : []; }
}
