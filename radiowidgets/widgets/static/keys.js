// Which key does what, and the sheet that tells it.

import { h, handOn } from "./dom.js";

const NAMES = { " ": "Space", ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓" };

export const keyName = (key) => NAMES[key] ?? key;

export class Keys {
  constructor(app) {
    this.app = app;
    this.list = [];
    this.actions = new Map(); // key -> action
    this.element = h("div", { class: "rw-help", role: "dialog", "aria-modal": "true", "aria-label": "Keys", hidden: true,
      onclick: (event) => { if (event.target === this.element) this.toggle(); } });
  }

  // `large`: pairs of a key of the large view and what it does.
  take(list, schema, large) {
    this.list = list;
    this.actions = new Map(list.filter(({ key }) => key).map(({ action, key }) => [key, action]));
    this.element.replaceChildren(this.sheet(schema, large));
  }

  keyOf(action) { return keyName(this.list.find((entry) => entry.action === action)?.key ?? ""); }

  toggle() {
    this.element.hidden = !this.element.hidden;
    if (this.element.hidden) this.app.focus();
    else this.element.querySelector("button")?.focus();
  }

  sheet(schema, large) {
    const row = (keys, text) => h("tr", {}, h("th", { scope: "row" }, keys.map((key) => h("kbd", {}, keyName(key)))), h("td", {}, text));
    const table = (title, rows) => (rows.length ? h("table", {}, h("caption", {}, title), h("tbody", {}, rows)) : null);
    return h("div", { class: "rw-help-card" },
      h("div", { class: "rw-help-head" }, h("h3", {}, "Keys"), h("span", { class: "rw-grow" }),
        h("button", { class: "rw-button", type: "button", onclick: () => this.toggle() }, "Close")),
      h("div", { class: "rw-columns" },
        table("Rate", [row(["0", "…", "5"], "rate the interest, then go on to the next frame"), row(["⌫"], "take the rating back"),
          ...schema.filter((tag) => tag.key).map((tag) => row([tag.key], h("span", { title: tag.description }, tag.name)))]),
        table("Do", this.list.filter(({ key }) => key).map(({ key, words }) => row([key], words))),
        h("div", {}, table("Move", [row(["←", "→", "↑", "↓"], "move; with Shift, extend the selection"),
          row(["Home", "End", "PgUp", "PgDn"], "jump"), row(["Esc"], "close what is open; one frame selected"),
          row(["click"], "select; Ctrl adds, Shift extends, twice enlarges")]),
        table("Large view", [...large.map(([key, words]) => row([key], words)), row(["drag"], "right button or Shift: contrast and bias")]))),
      h("p", {}, "A key acts on all selected frames; a folded stack is rated and tagged as a whole, a note is on the frame shown. Interest and tags are separate: a striking artefact can be tagged ARTEFACT and rated 0. ",
        "An action counts as saved once it is on disk."));
  }

  // ---------------------------------------------------------------- pressed

  handle(event) {
    const { app } = this;
    event.stopPropagation();
    const { target } = event;
    const typing = target instanceof HTMLTextAreaElement || (target instanceof HTMLInputElement && ["number", "text"].includes(target.type));
    if (event.key === "Escape") {
      event.preventDefault();
      if (typing || app.saving.asking || !this.element.hidden || !app.large.key(event)) this.escape(typing);
      return;
    }
    if (event.ctrlKey || event.metaKey) {
      const key = event.key.toLowerCase();
      if (!typing && key === "z") app.undo();
      else if (typing && key !== "s") return; // copy, paste and the like
      // The notebook's shortcuts with Ctrl or Cmd (save, run, ...) work from in here too.
      else if (!handOn(event, app.root, () => app.focus())) return;
      event.preventDefault();
      return;
    }
    if (target === app.panel.note && event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      app.focus(); // leaving the note writes it
      return;
    }
    if (typing || event.altKey || app.saving.asking) return;
    if (!this.element.hidden && this.actions.get(event.key) !== "help") return; // what lies behind the sheet is left alone
    if (event.repeat && !/^(Arrow|Page|[bB]$)/.test(event.key)) { event.preventDefault(); return; } // a key held down acts once
    if (target instanceof HTMLSelectElement) return; // its own keys: letters choose an entry
    if (target instanceof HTMLInputElement && /^(Arrow|Page|Home|End|Enter| )/.test(event.key)) return;
    if (target.closest("button, summary") && (event.key === "Enter" || event.key === " ")) return;
    if (app.large.key(event)) { event.preventDefault(); return; }
    if (this.command(event.key, event.shiftKey)) event.preventDefault();
  }

  escape(typing) {
    const { app } = this;
    if (app.saving.asking) app.saving.asking();
    else if (typing) app.focus();
    else if (!this.element.hidden) this.toggle();
    else if (app.closeMenus(null)) app.focus();
    else if (app.large.open) app.closeLarge();
    else if (app.history.open) app.history.toggle();
    else if (app.selection.size > 1) app.moveTo(app.cursor, false);
    else if (app.view.sort.by === "like") app.sortBy({ by: "rank" }, app.view.sort.frame);
    else app.focus();
  }

  command(key, shift) {
    const { app } = this;
    if (!app.order) return false;
    const row = app.large.open ? 1 : app.gallery.columns;
    const { page } = app.gallery;
    const moves = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: row, ArrowUp: -row, PageDown: page, PageUp: -page,
      Home: -app.shown.length, End: app.shown.length };
    const action = this.actions.get(key);
    if (key in moves) app.move(moves[key], shift);
    else if (/^[0-5]$/.test(key)) app.rate(Number(key));
    else if (key === "Backspace" || key === "Delete") app.rate(null);
    else if (action) this.commands[action]();
    else {
      const bit = app.schema.findIndex((tag) => tag.key === key);
      if (bit < 0) return false;
      app.toggleTag(bit);
    }
    return true;
  }

  get commands() {
    const { app } = this;
    return {
      large: () => app.openLarge(), help: () => this.toggle(), undo: () => app.undo(), rerank: () => app.rerank(), moved: () => app.follow.show(), invert: () => app.invert(),
      note: () => { if (!app.panel.note.disabled) { app.panel.note.focus(); app.panel.note.select(); } },
      next: () => app.nextUnrated(), jump: () => app.filters.rank.focus(), find: () => { app.filters.query.focus(); app.filters.query.select(); },
      all: () => app.chooseAll(), unfold: () => app.unfold(), why: () => app.panel.why.toggle(), like: () => app.moreLikeThis(),
      history: () => app.history.toggle(),
    };
  }
}
