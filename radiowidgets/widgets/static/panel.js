// The selected frame: its picture and facts, its rating, tags and note.

import { summarise } from "./arrange.js";
import { h, plural, setText } from "./dom.js";
import { formatDec, formatDegrees, formatRA, formatValue } from "./sky.js";
import { Why } from "./why.js";

const RATING_WORDS = ["not interesting", "barely", "a little", "interesting", "very", "extraordinary"];

export class Panel {
  constructor(app) {
    this.app = app;
    this.preview = h("canvas", { class: "rw-preview", role: "img", "aria-label": "The selected frame" });
    this.preview.addEventListener("click", () => { app.openLarge(); app.focus(); });
    this.facts = h("div", { class: "rw-facts" });
    this.ratings = RATING_WORDS.map((word, value) => h("button", { class: "rw-button", type: "button", "aria-pressed": "false",
      title: `Interest ${value} of 5: ${word} (key ${value})`, onclick: () => { app.rate(value); app.focus(); } }, String(value)));
    this.tagRow = h("div", { class: "rw-tags", role: "group", "aria-label": "Tags" });
    this.note = h("textarea", { class: "rw-note", rows: "2", "aria-label": "Note on the selected frame", maxlength: "2000",
      onfocus: () => this.paint(), // quick keys come here before the page is painted: what is typed is on the frame where they led
      onchange: () => this.writeNote(), oninput: () => {
        this.typing = true;
        setText(app.saving.light, "note not saved yet");
        app.saving.light.dataset.state = "saving";
      } });
    this.why = new Why(app);
    this.element = h("aside", { class: "rw-panel", "aria-label": "The selected frame" },
      this.preview, this.facts, h("div", { class: "rw-ratings", role: "group", "aria-label": "Interest" }, this.ratings),
      this.tagRow, this.note, this.why.element);
  }

  takeSchema(schema, keyOf) {
    this.tagButtons = schema.map((tag, bit) => h("button", { class: "rw-tag", type: "button", "aria-pressed": "false",
      title: `${[tag.name, tag.description].filter(Boolean).join(": ")} (key ${tag.key ?? "none"})`, onclick: () => { this.app.toggleTag(bit); this.app.focus(); } },
      h("span", { class: "rw-swatch", style: { background: tag.colour } }), h("span", { class: "rw-tag-name" }, tag.name),
      tag.key ? h("kbd", {}, tag.key) : null));
    this.tagRow.replaceChildren(...this.tagButtons);
    this.note.placeholder = keyOf("note") ? `Note (${keyOf("note")}; Enter saves)` : "Note (Enter saves)";
  }

  paint() {
    const { app } = this;
    const frame = app.current();
    this.element.classList.toggle("rw-off", frame === undefined);
    this.note.disabled = frame === undefined;
    if (frame === undefined) { this.clear(); return; }
    const tile = app.tiles.get(frame, app.gallery.pixelSize);
    const key = tile ? `${app.tiles.key(frame, app.gallery.pixelSize)}/${app.gallery.generation}` : null;
    if (tile && this.previewKey !== key) { app.gallery.paintTile(this.preview, tile); this.previewKey = key; }
    this.paintFacts(frame, tile?.facts);
    this.paintLabels();
    const blind = app.blind.has(frame);
    if (this.noteFrame !== frame || document.activeElement !== this.note) {
      if (this.noteFrame !== undefined && this.noteFrame !== frame) this.writeNote();
      this.noteFrame = frame;
      this.note.value = blind ? "" : app.notes.get(frame) ?? "";
    }
    this.why.paint(frame);
  }

  clear() {
    this.noteFrame = undefined;
    this.note.value = "";
    this.facts.replaceChildren();
    this.factsKey = this.previewKey = null;
    this.preview.getContext("2d").clearRect(0, 0, this.preview.width, this.preview.height);
  }

  paintFacts(frame, facts) {
    const { app } = this;
    const rows = [];
    const [chosen, all] = [app.selection.size, app.targets.length];
    if (all > chosen) rows.push(chosen > 1 ? ["Selected", `${plural(all, "frame")} in ${plural(chosen, "stack")}`] : ["Stack", `keys act on all ${plural(all, "frame")}`]);
    else if (chosen > 1) rows.push(["Selected", plural(chosen, "frame")]);
    if (!app.hidden) {
      const moved = app.moved(frame);
      const how = moved ? ` · ${moved > 0 ? "up" : "down"} ${Math.abs(moved).toLocaleString("en")}` : "";
      rows.push(["Rank", `${app.ranks[frame].toLocaleString("en")} of ${app.count.toLocaleString("en")}${how}`],
        ["Score", app.scores[frame].toFixed(3)]);
    }
    if (facts) {
      rows.push(["Frame", facts.id]);
      if (facts.ra === null) rows.push(["Position", "no sky coordinates"]);
      else rows.push(["RA, Dec", `${formatRA(facts.ra)} ${formatDec(facts.dec)}`], ["Degrees", formatDegrees(facts.ra, facts.dec)]);
      rows.push(["Peak", facts.snr === null ? "blank" : `${facts.snr.toFixed(1)} σ, rms ${formatValue(facts.rms, facts.unit)}`]);
    }
    const signature = JSON.stringify(rows);
    if (this.factsKey === signature) return;
    this.factsKey = signature;
    this.facts.replaceChildren(...rows.flatMap(([name, value]) => [h("span", { class: "rw-fact" }, name), h("span", { class: "rw-value", title: value }, value)]));
  }

  // Which ratings and tags all of the selection, or some of it, have; worked out anew only when that may have changed.
  paintLabels() {
    const { app } = this;
    const signature = `${app.selection.version}/${app.changes}`;
    if (this.labelsKey === signature) return;
    this.labelsKey = signature;
    const frames = app.targets;
    const { ratings, tagged } = summarise(frames, (frame) => app.interestOf(frame), (frame) => app.tagsOf(frame), app.schema.length);
    const pressed = (having) => (having === 0 ? "false" : having === frames.length ? "true" : "mixed");
    this.ratings.forEach((element, value) => element.setAttribute("aria-pressed", pressed(ratings[value])));
    this.tagButtons.forEach((element, bit) => element.setAttribute("aria-pressed", pressed(tagged[bit])));
  }

  writeNote() {
    const { app } = this;
    const frame = this.noteFrame;
    const text = this.note.value.trim();
    const typed = this.typing;
    this.typing = false;
    if (frame === undefined || text === (app.notes.get(frame) ?? "") || (!typed && app.blind.has(frame))) {
      if (typed) app.saving.refresh();
      return;
    }
    app.post({ note: text || null }, [frame], () => { app.notes.set(frame, text); });
  }
}
