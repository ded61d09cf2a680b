// The session: how far it is, how fast, what it found, what it may miss; and its settings.

import { h, plural, setText } from "./dom.js";

const FEW = 10; // looks below which nothing is promised
const WAIT = 1500; // ms after the last label before the numbers are asked for

export class Session {
  constructor(app) {
    this.app = app;
    this.fill = h("span", { class: "rw-goal-fill" });
    this.bar = h("span", { class: "rw-goal", role: "progressbar", "aria-valuemin": "0", "aria-label": "Towards the goal" }, this.fill);
    this.done = h("span", { class: "rw-number-line" });
    this.facts = h("span", { class: "rw-session-facts" });
    this.inputs = {};
    const number = (name, label, unit, least, most, scale) => {
      const input = h("input", { class: "rw-number", type: "number", min: String(least), max: String(most), step: "1", "aria-label": label,
        onchange: () => {
          const value = Math.round(Number(input.value));
          if (input.value.trim() && value >= least && value <= most) this.set(name, value / scale);
          this.showSettings();
        } });
      this.inputs[name] = [input, scale];
      return h("label", { class: "rw-setting" }, h("span", {}, label), h("span", {}, input, unit));
    };
    this.hide = h("input", { type: "checkbox", onchange: () => { this.set("hidden", this.hide.checked); app.hiddenChanged(); } });
    this.menu = h("details", { class: "rw-menu rw-up" }, h("summary", { class: "rw-button" }, "Session"),
      h("div", { class: "rw-pop rw-settings", role: "group", "aria-label": "Session settings" },
        number("goal", "Goal", " frames", 1, 10_000_000, 1),
        number("random", "Random frames", " %", 0, 90, 100), number("repeats", "Blind repeats", " %", 0, 50, 100),
        number("threshold", "Interesting from", "", 1, 5, 1),
        h("label", { class: "rw-setting", title: "A score and a rank that are seen pull the rating towards them" }, h("span", {}, "Hide score and rank"), this.hide),
        h("p", { class: "rw-quiet" }, "Random frames tell what the ranking misses; blind repeats, shown without your first rating, tell how well you agree with yourself."),
        h("button", { class: "rw-button rw-main", type: "button", onclick: () => { this.menu.open = false; app.sortBy({ by: "queue" }); app.focus(); } }, "Show what to look at next")));
    this.element = h("div", { class: "rw-session", role: "group", "aria-label": "Session" }, this.bar, this.done, this.facts, h("span", { class: "rw-grow" }), this.menu);
  }

  get settings() { return this.app.view.session; }

  set(name, value) {
    this.settings[name] = value;
    this.app.saveView();
    if (name === "threshold") this.ask(0);
    if ((name === "random" || name === "repeats") && this.app.view.sort.by === "queue") this.app.sortBy({ by: "queue" });
    this.paint();
  }

  showSettings() {
    for (const [name, [input, scale]] of Object.entries(this.inputs)) input.value = String(Math.round(this.settings[name] * scale));
    this.hide.checked = this.settings.hidden;
    this.paint();
  }

  // The numbers are worked out by the kernel once nothing is under way.
  ask(wait = WAIT) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      if (this.app.lost) return;
      if (this.app.saving.outbox.held.size) this.ask();
      else for (const kind of ["progress", "expected"]) this.app.ask({ kind, threshold: this.settings.threshold, view: this.app.uid() });
    }, wait);
  }

  // The numbers, and, as it takes longer, what the looks ahead promise.
  receive({ kind, ...answer }) {
    if (kind === "progress") this.progress = answer;
    else this.ahead = answer.expected;
    this.paint();
  }

  paint() {
    const { rated } = this.app;
    if (rated === undefined) return;
    const { goal } = this.settings;
    this.fill.style.width = `${Math.min(100, (100 * rated) / goal)}%`;
    this.bar.setAttribute("aria-valuemax", String(goal));
    this.bar.setAttribute("aria-valuenow", String(Math.min(rated, goal)));
    setText(this.done, `${rated.toLocaleString("en")} of ${goal.toLocaleString("en")}`);
    const facts = this.progress && !this.progress.error ? sessionFacts({ ...this.progress, expected: this.ahead ?? this.progress.expected }, goal - rated) : [];
    const key = JSON.stringify(facts);
    if (this.factsKey === key) return;
    this.factsKey = key;
    this.facts.replaceChildren(...facts.map(([text, title]) => h("span", { title }, text)));
  }

  dispose() { clearTimeout(this.timer); }
}

// What the strip says, each with what it means. Only what is known is said.
export function sessionFacts(progress, left) {
  const facts = [];
  const percent = (share) => `${(100 * share).toFixed(share > 0 && share < 0.095 ? 1 : 0)} %`;
  const round = (count) => Math.round(count).toLocaleString("en");
  const { rate, interesting, looks, expected, missed, consistency } = progress;
  if (rate > 0) {
    const minutes = left / rate;
    const more = left > 0 ? `; the goal in ${minutes < 1.5 ? "a minute" : minutes < 90 ? `${Math.round(minutes)} minutes` : `${(minutes / 60).toFixed(1)} hours`}` : "";
    facts.push([`${rate.toFixed(rate < 10 ? 1 : 0)} / min`, `Labels a minute, pauses left out${more}`]);
  }
  if (expected && looks >= FEW) facts.push(promise(expected));
  if (looks > 0) facts.push([`yield ${percent(interesting / looks)}`, `${interesting} interesting of ${looks} frames looked at`]);
  if (missed) facts.push([`still hidden: ${round(missed.count)} (${round(missed.low)}–${round(missed.high)})`, missed.words]);
  if (consistency) facts.push([`own agreement ${percent(consistency.agreement)}`, consistency.words]);
  return facts;
}

// What the looks ahead promise, in plain words.
function promise({ looks, finds, low, high, stop }) {
  const some = `${finds < 0.5 ? "hardly any" : `about ${finds.toFixed(0)}`}${low === undefined || low === null ? "" : ` (${low.toFixed(0)}–${high.toFixed(0)})`} more`;
  const words = `${some} in the next ${plural(looks, "look")}`;
  if (stop) return [`${words}: you may stop`, "Fewer than one more interesting frame is expected in the next looks; random frames tell what the ranking may miss"];
  return [words, "Interesting frames to expect in the next looks, by what you rated; in brackets from where to where, with 95 % probability"];
}
