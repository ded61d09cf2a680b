// Which frames are shown and in which order: the row of choices, the folded rest, and what holds now.

import { NO_FILTERS, RATING_FILTERS } from "./arrange.js";
import { copied, h, plural, setText } from "./dom.js";

const MOST_QUERIES = 12; // remembered
const CHECK = 1500; // ms after the last label before a query is asked again

export class FilterBar {
  constructor(app) {
    this.app = app;
    this.request = 0;
    this.found = null; // bits of the frames that the kernel found, while a query or an annotator is chosen
    const select = (label, change) => h("select", { class: "rw-select", "aria-label": label, title: label, onchange: (event) => { change(event.target.value); app.focus(); } });
    const field = (label, ...content) => h("label", { class: "rw-field" }, h("span", {}, label), content);
    this.rating = select("Show", (value) => {
      if (value === "moved") { app.follow.show(); this.show(); return; }
      app.view.filter = value;
      this.apply();
    });
    this.rating.append(...options(RATING_FILTERS));
    this.sort = select("Order", (value) => this.chooseSort(value));
    this.way = h("button", { class: "rw-button rw-icon", type: "button", onclick: () => { this.turn(); app.focus(); } });
    this.past = h("datalist", { id: `${app.uid()}-queries` });
    this.query = h("input", { class: "rw-query", type: "text", spellcheck: "false", autocomplete: "off", list: this.past.id, maxlength: "2000",
      "aria-label": "Query", title: "A condition on any column; Enter looks", onchange: () => this.ask(), oninput: () => this.complain("") });
    this.error = h("div", { class: "rw-line rw-wrong", role: "alert", hidden: true });
    this.query.setAttribute("aria-describedby", (this.error.id = `${app.uid()}-wrong`));
    this.rank = h("input", { class: "rw-number", type: "number", min: "1", step: "1", "aria-label": "Go to rank", title: "Go to rank", placeholder: "rank",
      onchange: () => this.jump() });
    this.tagRow = h("div", { class: "rw-tags" });
    this.annotator = select("Labelled by", (value) => { this.filters.annotator = value; this.ask(); });
    this.map = select("Map", (value) => { this.filters.map = value; this.apply(); });
    this.note = h("input", { type: "checkbox", onchange: () => { this.filters.note = this.note.checked; this.apply(); app.focus(); } });
    this.fold = h("input", { type: "checkbox", onchange: () => { app.setFold(this.fold.checked); app.focus(); } });
    this.mapField = field("Map", this.map);
    this.byField = field("Labelled by", this.annotator);
    this.more = h("details", { class: "rw-menu" }, h("summary", { class: "rw-button" }, "Filters"),
      h("div", { class: "rw-pop", role: "group", "aria-label": "Filters" },
        h("div", { class: "rw-pop-title" }, "Tags: click once for with, twice for without"), this.tagRow,
        h("div", { class: "rw-pop-row" }, h("label", { class: "rw-field" }, this.note, "With a note"), this.byField, this.mapField),
        h("div", { class: "rw-pop-row" }, h("label", { class: "rw-field", title: "Frames that overlap on the same thing are shown as one" }, this.fold, "Fold overlapping"),
          h("span", { class: "rw-grow" }), h("button", { class: "rw-button", type: "button", onclick: () => this.clear() }, "Show all"))));
    this.element = h("div", { class: "rw-filters", role: "search", "aria-label": "Filter and order" },
      field("Show", this.rating), h("span", { class: "rw-pair" }, field("Order", this.sort), this.way),
      this.query, this.past, this.more, this.rank);
    this.count = h("span", { class: "rw-count" });
    this.refresh = h("button", { class: "rw-button", type: "button", onclick: () => { this.again(); app.focus(); } });
    this.chips = h("span", { class: "rw-chips" });
    this.state = h("div", { class: "rw-line rw-state", hidden: true }, this.chips, this.count, this.refresh);
  }

  get filters() { return this.app.view.filters; }

  // ---------------------------------------------------------------- what there is to choose from

  takeAnnotators(names) {
    if (names.length + 1 === this.annotator.options.length) return;
    const chosen = this.filters.annotator;
    this.annotator.replaceChildren(...options({ "": "anybody" }), ...names.map((name) => h("option", { value: name }, name)));
    this.annotator.value = chosen;
    this.byField.hidden = names.length < 1;
  }

  takeIndex({ schema, annotators, maps }) {
    this.tagButtons = schema.map((tag) => h("button", { class: "rw-tag", type: "button", title: tag.name, onclick: () => this.cycle(tag.name) },
      h("span", { class: "rw-swatch", style: { background: tag.colour } }), h("span", { class: "rw-tag-name" }, tag.name), h("span", { class: "rw-with" })));
    this.tagRow.replaceChildren(...this.tagButtons);
    this.takeAnnotators(annotators);
    this.map.replaceChildren(...options({ "": "all maps" }), ...maps.map((name) => h("option", { value: name }, name)));
    this.mapField.hidden = maps.length < 2;
    this.query.placeholder = "Query";
    this.sort.replaceChildren(...options({ rank: "rank", first: "rank before re-ranking", queue: "session", like: "like one frame" }));
    if (this.known) this.takeColumns(this.known);
    this.show();
  }

  // Columns of a large run take a moment to read, and come after the first painting.
  takeColumns({ columns, example }) {
    if (!columns) return;
    this.known = { columns, example };
    this.query.placeholder = `Query, e.g. ${example}`;
    this.sort.querySelector("optgroup")?.remove();
    this.sort.append(h("optgroup", { label: "by column" }, Object.entries(columns).map(([name, words]) => h("option", { value: `column:${name}`, title: words }, name))));
    this.show();
  }

  // The inputs follow the view, which may come from elsewhere.
  show() {
    const { app, filters } = this;
    const { sort } = app.view;
    this.rating.value = app.view.filter;
    this.sort.value = sort.by === "column" ? `column:${sort.column}` : sort.by;
    for (const option of this.sort.options) {
      if (option.value === "like") option.hidden = sort.by !== "like";
      if (option.value === "first") option.hidden = !app.base && sort.by !== "first";
    }
    this.way.hidden = sort.by !== "column";
    setText(this.way, sort.descending ? "↓" : "↑");
    this.way.title = this.way.ariaLabel = sort.descending ? "Largest first; click for the smallest" : "Smallest first; click for the largest";
    this.query.value = filters.query;
    this.past.replaceChildren(...app.view.queries.map((value) => h("option", { value })));
    [this.note.checked, this.fold.checked, this.annotator.value, this.map.value] = [filters.note, app.view.fold, filters.annotator, filters.map];
    this.tagButtons?.forEach((button, bit) => {
      const name = app.schema[bit].name;
      const state = filters.with.includes(name) ? "with" : filters.without.includes(name) ? "without" : "";
      button.dataset.state = state;
      button.setAttribute("aria-pressed", state === "with" ? "true" : state ? "mixed" : "false");
      button.ariaLabel = `${name}: ${state || "with or without"}`;
      setText(button.lastChild, state);
    });
    app.follow?.paint();
    this.showState();
  }

  showState() {
    const { app, filters } = this;
    const chip = (text, call) => h("button", { class: "rw-chip", type: "button", title: "Take this away", onclick: () => { call(); app.focus(); } }, text, h("span", { "aria-hidden": "true" }, " ×"));
    const drop = (change) => () => { change(); this.apply(); };
    const { sort } = app.view;
    const chips = [];
    if (sort.by === "like") chips.push(chip(app.hidden || !app.ranks ? "like one frame" : `like rank ${app.ranks[sort.frame]?.toLocaleString("en")}`, () => app.sortBy({ by: "rank" }, sort.frame)));
    else if (sort.by === "queue") chips.push(chip("session", () => app.sortBy({ by: "rank" })));
    else if (sort.by !== "rank") chips.push(chip(sort.by === "first" ? "rank before re-ranking" : `by ${sort.column}`, () => app.sortBy({ by: "rank" })));
    if (app.view.filter === "moved") chips.push(chip(RATING_FILTERS.moved, () => app.follow.show()));
    else if (app.view.filter !== "all") chips.push(chip(RATING_FILTERS[app.view.filter], drop(() => { app.view.filter = "all"; })));
    for (const name of filters.with) chips.push(chip(`with ${name}`, drop(() => { filters.with = filters.with.filter((other) => other !== name); })));
    for (const name of filters.without) chips.push(chip(`without ${name}`, drop(() => { filters.without = filters.without.filter((other) => other !== name); })));
    if (filters.note) chips.push(chip("with a note", drop(() => { filters.note = false; })));
    if (filters.map) chips.push(chip(`map ${filters.map}`, drop(() => { filters.map = ""; })));
    if (filters.annotator) chips.push(chip(`labelled by ${filters.annotator}`, () => { filters.annotator = ""; this.ask(); }));
    if (filters.query) chips.push(chip(filters.query, () => { this.query.value = ""; this.ask(); }));
    if (app.view.fold) chips.push(chip(app.groups ? "folded" : "folding…", () => app.setFold(false)));
    this.chips.replaceChildren(...chips);
    const [frames, stacks] = [app.kept?.length ?? 0, app.shown.length];
    setText(this.count, app.sizes && stacks < frames ? `${plural(frames, "frame")} in ${plural(stacks, "stack")}` : plural(frames, "frame"));
    const [gone, more] = [(app.drifted?.size ?? 0) + (this.stale?.gone ?? 0), this.stale?.more ?? 0];
    this.refresh.hidden = !gone && !more;
    setText(this.refresh, `Refresh (${refreshWords(gone, more)})`);
    this.state.hidden = chips.length === 0;
    setText(this.more.firstChild, "Filters");
    this.more.firstChild.dataset.on = String(filters.with.length + filters.without.length + filters.note + Boolean(filters.map) + Boolean(filters.annotator) + app.view.fold > 0);
  }

  // ---------------------------------------------------------------- choosing

  apply() {
    this.app.refilter();
    this.app.saveView();
    this.show();
  }

  again() { // what was rated meanwhile may no longer belong here
    if (this.filters.query || this.filters.annotator) this.ask();
    else this.apply();
  }

  cycle(name) {
    const { filters } = this;
    const [having, lacking] = [filters.with.includes(name), filters.without.includes(name)];
    filters.with = having ? filters.with.filter((other) => other !== name) : lacking ? filters.with : [...filters.with, name];
    filters.without = having ? [...filters.without, name] : filters.without.filter((other) => other !== name);
    this.apply();
  }

  clear() {
    this.app.view.filter = "all";
    this.app.view.filters = structuredClone(NO_FILTERS);
    this.found = null;
    this.request += 1;
    this.complain("");
    this.more.open = false;
    if (this.app.view.fold) this.app.setFold(false);
    else this.apply();
    this.app.focus();
  }

  // Queries are answered by the kernel, which knows all columns.
  ask() {
    const { app, filters } = this;
    filters.query = this.query.value.trim();
    this.request += 1;
    this.complain("");
    if (!filters.query && !filters.annotator) {
      this.found = null;
      this.apply();
    } else this.find();
  }

  find(check = false) {
    const { app, filters } = this;
    app.ask({ kind: "find", query: filters.query, annotator: filters.annotator, blind: [...app.blind.keys()], check, request: this.request, view: app.uid() });
  }

  askAgain() { if (this.filters.query || this.filters.annotator) this.ask(); }

  // After labels or a new order it is looked up, once nobody is at it, whether what was found still holds.
  check(what) {
    if (!this.found || !concerns(this.filters, what)) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      if (this.app.saving.outbox.held.size) this.check(what);
      else if (this.found && !this.app.lost) this.find(true);
    }, CHECK);
  }

  takeFound({ request, error, check }, buffers) {
    if (request !== this.request) return;
    if (check) {
      if (!error && this.found) this.stale = changes(this.found, new Uint8Array(copied(buffers[0])));
      this.showState();
      return;
    }
    if (error) {
      this.filters.query = "";
      this.found = null;
      const typed = this.query.value;
      this.apply();
      this.query.value = typed;
      this.complain(error);
      return;
    }
    const { query } = this.filters;
    if (query) this.app.view.queries = [query, ...this.app.view.queries.filter((other) => other !== query)].slice(0, MOST_QUERIES);
    this.found = new Uint8Array(copied(buffers[0]));
    this.apply();
    if (document.activeElement === this.query) this.app.focus(); // the next key is for the frames found
  }

  complain(text) {
    setText(this.error, text);
    this.error.hidden = !text;
    this.query.setAttribute("aria-invalid", String(Boolean(text)));
  }

  chooseSort(value) {
    if (value.startsWith("column:")) this.app.sortBy({ by: "column", column: value.slice(7), descending: true });
    else this.app.sortBy({ by: value });
  }

  turn() { this.app.sortBy({ ...this.app.view.sort, descending: !this.app.view.sort.descending }); }

  jump() {
    const rank = Number(this.rank.value);
    if (!this.rank.value) return;
    this.rank.value = "";
    this.app.focus();
    this.app.goToRank(rank);
  }
}

// Whether labels ("labels") or a new order ("order") can change what a query or an annotator's labels find.
export function concerns({ query, annotator }, what) {
  if (what === "order") return /\b(rank|score)\b/i.test(query);
  return Boolean(annotator) || /\b((my_|others_)?interest|raters|(my_)?tag|annotator|note)\b/i.test(query);
}

// How many bits are no longer set, and how many are now.
export function changes(before, now) {
  const bits = (byte) => { let count = 0; for (let left = byte; left; left &= left - 1) count += 1; return count; };
  let [gone, more] = [0, 0];
  before.forEach((byte, i) => {
    if (byte === now[i]) return;
    gone += bits(byte & ~now[i]);
    more += bits(now[i] & ~byte);
  });
  return { gone, more };
}

export function refreshWords(gone, more) {
  const number = (count) => count.toLocaleString("en");
  return [gone && `${number(gone)} no longer belong`, more && `${number(more)} more belong`].filter(Boolean).join(", ");
}

const options = (entries) => Object.entries(entries).map(([value, text]) => h("option", { value }, text));
