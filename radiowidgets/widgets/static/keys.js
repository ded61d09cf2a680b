// Which key does what, and the sheet that tells it.

import { h } from "./dom.js";

const NAMES = { " ": "Space", ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓" };

export const keyName = (key) => NAMES[key] ?? key;

export class Keys {
  constructor(app, large = {}) {
    this.app = app;
    this.large = large; // of the large view: {key: what it does}
    this.list = [];
    this.actions = new Map(); // key -> action
    this.element = h("div", { class: "rw-help", role: "dialog", "aria-modal": "true", "aria-label": "Keys", hidden: true,
      onclick: (event) => { if (event.target === this.element) this.toggle(); } });
  }

  take(list, schema) {
    this.list = list;
    this.actions = new Map(list.filter(({ key }) => key).map(({ action, key }) => [key, action]));
    this.element.replaceChildren(this.sheet(schema));
  }

  keyOf(action) { return keyName(this.list.find((entry) => entry.action === action)?.key ?? ""); }

  toggle() {
    this.element.hidden = !this.element.hidden;
    if (this.element.hidden) this.app.focus();
    else this.element.querySelector("button")?.focus();
  }

  sheet(schema) {
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
        table("Large view", Object.entries(this.large).map(([key, words]) => row([key], words))))),
      h("p", {}, "A key acts on all selected frames. Interest and tags are separate: a striking artefact can be tagged ARTEFACT and rated 0. ",
        "An action counts as saved once it is on disk."));
  }
}
