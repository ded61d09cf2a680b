// Whether what was done is on disk: the outbox, the light in the bar, the line that says what is not saved.

import { h, plural, setText } from "./dom.js";
import { Outbox } from "./outbox.js";

export class Saving {
  constructor(app) {
    this.app = app;
    this.left = null; // what an earlier view left unsaved; known once the index is here
    this.light = h("span", { class: "rw-saved", role: "status", "aria-live": "polite" });
    this.alarm = h("div", { class: "rw-alarm", role: "alert", hidden: true });
    this.outbox = new Outbox({ send: (action) => app.model.send(action), changed: (state) => this.show(state) });
    this.leave = (event) => { // closing the page: a note being typed is sent, and what is not saved yet is asked about
      app.panel.writeNote();
      this.shelve(this.outbox.state().held);
      if (this.outbox.held.size) event.preventDefault();
    };
    window.addEventListener("beforeunload", this.leave);
  }

  refresh() { this.show(this.outbox.state()); }

  show(state) {
    const { root } = this.app;
    const late = state.late.length;
    root.classList.toggle("rw-stale", late > 0);
    root.dataset.waiting = String(state.waiting);
    if (late) {
      const what = state.late.slice(0, 3).map((action) => this.describe(action)).join("; ");
      const more = late > 3 ? `; and ${late - 3} more` : "";
      const why = state.refusal || (state.broken
        ? "The kernel was restarted or is gone: run this cell again, which offers to save them."
        : "The kernel has not answered yet. If it is busy, this is saved as soon as it answers; if it was restarted or died, run this cell again, which offers to save them.");
      this.alert(`Not saved: ${what}${more}. ${why}`, "late", { "Try again": () => this.outbox.sendAgain(), Discard: () => this.discard() });
      setText(this.light, `${plural(late, "action")} not saved`);
    } else {
      if (this.alarm.dataset.cause === "late") this.alert("");
      const saved = this.app.stuck ? `${plural(this.app.stuck, "label")} safe here, waiting for the team's server` : "all saved";
      setText(this.light, state.waiting ? "saving…" : this.app.rated === undefined ? "" : saved);
    }
    if (late || !state.waiting) this.shelve(state.held);
    this.light.dataset.state = late ? "late" : state.waiting ? "saving" : this.app.stuck ? "waiting" : "saved";
    this.app.showProgress();
  }

  discard() {
    this.outbox.giveUp();
    this.app.pending.clear();
    this.app.askIndex();
  }

  describe(action) {
    const { app } = this;
    const [first, more] = [action.frames?.[0], (action.frames?.length ?? 0) - 1];
    const rank = app.hidden ? "a frame" : `rank ${app.ranks?.[first]?.toLocaleString("en") ?? "?"}`;
    const frames = first === undefined ? "" : `${rank}${more > 0 ? ` and ${more.toLocaleString("en")} more` : ""}`;
    if (action.kind === "undo") return "an undo";
    if ("interest" in action) return action.interest === null ? `rating taken from ${frames}` : `rating ${action.interest} of ${frames}`;
    if ("note" in action) return `the note “${String(action.note ?? "").slice(0, 80)}” on ${frames}`;
    return [...(action.add ?? []).map((tag) => `+${tag}`), ...(action.remove ?? []).map((tag) => `−${tag}`)].join(" ") + ` on ${frames}`;
  }

  lost() {
    setText(this.light, "kernel gone");
    this.light.dataset.state = "late";
    this.alert("The kernel does not answer: it was restarted or is gone. What is marked as saved is on disk; run this cell again to go on.", "late");
    this.app.root.classList.add("rw-stale");
  }

  // A line across the widget, with buttons for what can be done about it.
  alert(text, cause = "error", choices = {}) {
    this.alarm.hidden = !text;
    this.alarm.dataset.cause = text ? cause : "";
    this.alarm.setAttribute("role", cause === "ask" ? "alertdialog" : "alert");
    this.alarm.replaceChildren(...(text ? [h("span", {}, text)] : []));
    for (const [label, call] of Object.entries(text ? choices : {})) {
      this.alarm.append(" ", h("button", { class: "rw-button", type: "button", onclick: () => { call(); this.app.focus(); } }, label));
    }
  }

  // Ask before a large action; the keyboard answers with Enter or Escape.
  confirm(text, label, call) {
    const done = (go) => { this.alert(""); this.asking = null; if (go) call(); this.refresh(); };
    this.alert(text, "ask", { [label]: () => done(true), Cancel: () => done(false) });
    this.asking = () => { done(false); this.app.focus(); };
    this.alarm.querySelector("button").focus();
  }

  announce(text) {
    setText(this.light, text);
    clearTimeout(this.quiet);
    this.quiet = setTimeout(() => this.refresh(), 8000);
  }

  // ---------------------------------------------------------------- what outlives this view

  // What an earlier view could not save before it ended waits in the browser; undos are not repeated.
  offer(shelf) {
    this.shelf = shelf;
    try {
      const found = JSON.parse(window.localStorage.getItem(shelf) ?? "[]");
      this.left = found.filter((action) => action?.kind === "act" && Array.isArray(action.frames));
    } catch (error) {
      this.left = []; // private window or damaged entry: there is nothing to offer
    }
    const { left } = this;
    if (!left.length) return;
    const what = left.slice(0, 3).map((action) => this.describe(action)).join("; ");
    const decide = (save) => {
      this.alert("");
      this.left = [];
      if (save) for (const { id, ...action } of left) this.app.post(action, action.frames);
      this.refresh();
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

  dispose() {
    this.shelve(this.outbox.state().held);
    window.removeEventListener("beforeunload", this.leave);
    this.outbox.close();
    clearTimeout(this.quiet);
  }
}
