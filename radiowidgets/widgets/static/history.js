// Who did what and when, everybody's, to go to and to take back; and the files that go out.

import { h, plural, setText } from "./dom.js";

export const FORMATS = { csv: "table, CSV", votable: "table, VOTable", ds9: "regions, DS9", moc: "sky coverage, MOC", cutouts: "cutouts, FITS",
  sheet: "contact sheet, PNG", summary: "summary, Markdown" };

export class History {
  constructor(app) {
    this.app = app;
    this.events = [];
    this.list = h("ol", { class: "rw-events" });
    this.more = h("button", { class: "rw-button", type: "button", hidden: true, onclick: () => this.ask(this.events.at(-1)?.place ?? null) }, "Earlier");
    this.element = h("aside", { class: "rw-panel rw-history", "aria-label": "History", hidden: true },
      h("div", { class: "rw-pop-row" }, h("strong", {}, "History"), h("span", { class: "rw-grow" }),
        h("button", { class: "rw-button", type: "button", onclick: () => { this.toggle(); app.focus(); } }, "Close")),
      this.list, this.more);
  }

  get open() { return !this.element.hidden; }

  toggle() {
    this.element.hidden = !this.element.hidden;
    this.app.panel.element.hidden = this.open;
    if (this.open) this.ask();
    else this.app.focus(); // what had the focus in here is gone
  }

  ask(before = null) { this.app.ask({ kind: "history", before, view: this.app.uid() }); }

  // After an action the first page is read again, once nothing is under way.
  refresh() {
    clearTimeout(this.timer);
    if (this.open) this.timer = setTimeout(() => { if (this.open) this.ask(); }, 300);
  }

  receive({ events, before, more, error }) {
    if (error) { this.list.replaceChildren(h("li", {}, error)); return; }
    this.events = before === null || before === undefined ? events : [...this.events, ...events];
    this.list.replaceChildren(...(this.events.length ? this.events.map((event) => this.row(event)) : [h("li", { class: "rw-quiet" }, "Nothing yet.")]));
    this.more.hidden = !more;
  }

  row(event) {
    const time = new Date(event.time);
    const known = !Number.isNaN(time.getTime());
    const today = known && time.toDateString() === new Date().toDateString();
    const when = !known ? "" : today ? time.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }) : time.toLocaleDateString([], { day: "numeric", month: "short", year: "numeric" });
    const blind = event.mine && event.frames.some((frame) => this.app.blind.has(frame)); // shown again as if for the first time
    const on = blind ? plural(event.count, "frame") : h("button", { class: "rw-plain", type: "button", title: event.frames.length ? "Go there" : "Not in this run", disabled: !event.frames.length,
      onclick: () => { this.app.visit(event.frames[0], event.frames); this.app.focus(); } },
      event.count === 1 && event.frames.length === 1 && !this.app.hidden ? `rank ${this.app.ranks[event.frames[0]].toLocaleString("en")}` : plural(event.count, "frame"));
    const take = event.takes && event.mine && !event.undo ? h("button", { class: "rw-button", type: "button",
      onclick: () => { this.app.saving.outbox.post({ kind: "undo", event: event.takes }); this.app.focus(); } }, event.stands ? "Undo" : "Redo") : null;
    return h("li", { class: `rw-event${event.stands ? "" : " rw-undone"}` },
      h("div", { class: "rw-event-head" }, h("time", { datetime: event.time, title: known ? time.toLocaleString() : "" }, when), h("span", { class: "rw-who" }, event.mine ? "you" : event.annotator), h("span", { class: "rw-grow" }), take),
      h("div", { class: "rw-event-what" }, event.words, " · ", on), event.note ? h("div", { class: "rw-quiet rw-event-note" }, `“${event.note}”`) : null);
  }

  dispose() { clearTimeout(this.timer); }
}

export class ExportMenu {
  constructor(app) {
    this.app = app;
    const select = (label, entries) => h("select", { class: "rw-select", "aria-label": label }, Object.entries(entries).map(([value, text]) => h("option", { value }, text)));
    this.which = select("Which frames", { selection: "the selection", shown: "all frames shown", rated: "rated at least", all: "all frames" });
    this.least = h("input", { class: "rw-number", type: "number", min: "0", max: "5", step: "1", value: "3", "aria-label": "Rated at least" });
    this.format = select("Format", FORMATS);
    this.done = h("div", { class: "rw-export-done", role: "status" });
    this.write = h("button", { class: "rw-button rw-main", type: "button", onclick: () => this.ask() }, "Write");
    const follow = () => {
      this.least.hidden = this.which.value !== "rated";
      this.which.parentElement.classList.toggle("rw-off", this.format.value === "summary");
    };
    this.which.addEventListener("change", follow);
    this.format.addEventListener("change", follow);
    this.element = h("details", { class: "rw-menu", ontoggle: () => { if (this.element.open) this.done.replaceChildren(); } }, h("summary", { class: "rw-button", title: "Write files into the run's folder" }, "Export"),
      h("div", { class: "rw-pop rw-settings", role: "group", "aria-label": "Export" },
        h("label", { class: "rw-setting" }, h("span", {}, "Write"), this.format), h("div", { class: "rw-setting" }, h("span", {}, "of"), h("span", {}, this.which, " ", this.least)),
        this.write, this.done));
    follow();
  }

  ask() {
    const { app } = this;
    const which = this.format.value === "summary" ? "all" : this.which.value;
    const frames = which === "selection" ? app.selection.list : which === "shown" ? app.shown : null;
    if (frames && !frames.length) { this.say("There are no frames to write."); return; }
    if (this.busy) return; // the button stays as it is: a disabled one loses the focus, and keys would go to the notebook
    this.busy = true;
    this.say("Writing…");
    const content = { kind: "export", format: this.format.value, which, least: Number(this.least.value), view: app.uid() };
    if (!app.ask(content, frames ? [new Uint32Array(frames).buffer] : [])) this.busy = false;
  }

  receive({ error, path, text }) {
    this.busy = false;
    if (error) { this.say(error); return; }
    const copy = h("button", { class: "rw-button", type: "button", onclick: async () => {
      try { await navigator.clipboard.writeText(path); setText(copy, "Copied"); } catch (failed) { place.select(); }
    } }, "Copy");
    const place = h("input", { class: "rw-path", type: "text", readonly: true, value: path, title: path, "aria-label": "Path", onfocus: () => place.select() });
    this.done.replaceChildren(h("div", {}, text), h("div", { class: "rw-pop-row" }, place, copy));
  }

  say(text) { this.done.replaceChildren(text); }
}
