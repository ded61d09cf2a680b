// LatentExplorer: all frames in a plane that the kernel draws; to look at, select and label.

import { ramp, table } from "./colour.js";
import { copied, h, handOn, icon, plural, setText } from "./dom.js";
import { Legend } from "./legend.js";
import { css, paintPicture, palette, SCALES } from "./pointcolours.js";
import { Saving } from "./saving.js";
import { formatDec, formatRA } from "./sky.js";
import { paintTile, TileStore } from "./tiles.js";
import { boxLine, niceTicks, spreadOut, thinned, tickText, Viewport } from "./viewport.js";

const MANY_FRAMES = 100; // an action on more is confirmed first
const LARGE_TILE = 128;
const SMALL_TILE = 64;
const REACH = 12; // px round the pointer in which a point is found
const TOOLS = { pan: ["Move", "M8 1.5v13M1.5 8h13M6 3.5 8 1.5l2 2M6 12.5l2 2 2-2M3.5 6l-2 2 2 2M12.5 6l2 2-2 2"],
  lasso: ["Lasso (or drag with Shift)", "M4 10.5C1.5 9 1.5 5 5 3.2c3.5-1.700 8.500-.7 9.300 2.300.8 3-3 5.200-6.300 5.300-1.500 0-2.800.4-3.400 1.200-.7 1-.1 2 1 2.500"],
  box: ["Box", "M2.500 3.500h11v9h-11z"] };
const KEYS = [["drag", "move; with Shift, a lasso"], ["wheel", "zoom, once the plane was clicked; + and − too"], ["← → ↑ ↓", "move"], ["Home", "show all"],
  ["click", "choose a frame; what is like it is ringed"], ["Space", "choose the frame nearest to the middle"], [".", "next tool: move, lasso, box"], ["i", "select what is like the chosen frame"],
  ["Enter", "review what is selected"], ["u", "undo your last action"], ["/", "select by a query"], ["Esc", "let go of the selection, then of the frame"]];
const RATINGS = ["not interesting", "barely", "a little", "interesting", "very", "extraordinary"];

class ExplorerSaving extends Saving {
  describe(action) {
    if (action.kind === "undo") return "an undo";
    const what = "interest" in action ? (action.interest === null ? "ratings taken" : `rating ${action.interest}`)
      : [...(action.add ?? []).map((tag) => `+${tag}`), ...(action.remove ?? []).map((tag) => `−${tag}`)].join(" ");
    return `${what} of ${plural(action.count, "frame")}`;
  }
}

class Explorer {
  constructor(model, el) {
    this.model = model;
    this.identity = `rw-${Math.random().toString(36).slice(2, 10)}`;
    this.view = { plane: "", x: "", y: "", colour: "", log: null, map: "viridis", range: null, tool: "pan", ...model.get("view") };
    this.port = new Viewport();
    this.port.range = this.view.range;
    this.selection = { serial: 0, selected: 0, shown: [], said: "" };
    this.frame = null; // the chosen one, with what is known of it
    this.neighbours = [];
    this.panel = { writeNote() {} }; // nothing is written here
    this.pending = new Map();
    this.request = 0;
    this.rated = 0;
    this.saving = new ExplorerSaving(this);
    this.tiles = new TileStore({ request: (content) => { if (!this.lost) model.send({ ...content, view: this.identity }); }, arrived: () => this.arrived() });
    this.tiles.show({ noise: "frame" });
    const colours = ramp({ map: "inferno", stretch: "asinh" });
    this.tileLook = { limits: "shared", lo: -2, hi: 40, colours, greys: colours, lookup: table(colours, -2, 40) };
    this.build(el);
    this.listen = (content, buffers) => this.receive(content, buffers);
    model.on("msg:custom", this.listen);
    this.watch = { "change:below": () => this.showGallery(), "change:gallery": () => this.showGallery(), "change:view": () => this.takeView() };
    for (const [event, call] of Object.entries(this.watch)) model.on(event, call);
    this.resize = new ResizeObserver(() => this.resized());
    this.resize.observe(this.stage);
    this.theme = new MutationObserver(() => { for (const wait of [0, 300, 1500]) setTimeout(() => this.themed(), wait); });
    this.theme.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-name", "class"] });
    this.ask({ kind: "index" });
    this.showGallery();
  }

  // ---------------------------------------------------------------- building

  build(el) {
    const select = (label, change) => h("select", { class: "rw-select", "aria-label": label, title: label, onchange: (event) => { change(event.target.value); this.focus(); } });
    const field = (label, ...content) => h("label", { class: "rw-field" }, h("span", {}, label), content);
    const button = (label, title, call, extra = {}) => h("button", { class: "rw-button", type: "button", title, onclick: () => { call(); this.focus(); }, ...extra }, label);
    this.heading = h("strong", { class: "rw-heading" });
    this.count = h("span", { class: "rw-progress" });
    this.plane = select("Plane", (value) => this.choosePlane({ plane: value }));
    this.axes = ["x", "y"].map((axis) => select(`${axis} axis`, (value) => this.choosePlane({ [axis]: value })));
    this.axesField = h("span", { class: "rw-pair", hidden: true }, this.axes[0], "×", this.axes[1]);
    this.colour = select("Colour by", (value) => this.chooseColour({ colour: value, log: null }));
    this.map = select("Colours", (value) => this.chooseColour({ map: value }));
    this.map.append(...SCALES.map((name) => h("option", { value: name }, name)));
    this.log = h("input", { type: "checkbox", onchange: () => { this.chooseColour({ log: this.log.checked }); this.focus(); } });
    this.logField = h("label", { class: "rw-field" }, this.log, "log");
    this.mapField = field("", this.map);
    this.tools = Object.fromEntries(Object.entries(TOOLS).map(([name, [title, drawing]]) => [name,
      h("button", { class: "rw-icon", type: "button", title, "aria-label": title, onclick: () => { this.setTool(name); this.focus(); } }, icon(drawing))]));
    this.query = h("input", { class: "rw-query", type: "text", spellcheck: "false", autocomplete: "off", maxlength: "2000", "aria-label": "Select by a query",
      placeholder: "select where …", title: "A condition on any column, such as peak_snr > 20; Enter selects", onchange: () => { if (this.query.value.trim()) { this.selectBy({ how: "query", query: this.query.value }); this.focus(); } } });
    this.canvas = h("canvas", { class: "rw-plane", tabindex: "0", role: "application", "aria-roledescription": "scatter plot", "aria-label": "Frames in a plane" });
    this.card = h("div", { class: "rw-hover", hidden: true });
    this.hint = h("div", { class: "rw-hint", hidden: true }, "Click first to zoom with the wheel");
    this.legend = new Legend((code, more) => this.selectBy({ how: "category", code, mode: more ? "add" : "new" }));
    this.empty = h("div", { class: "rw-empty" });
    this.stage = h("div", { class: "rw-stage" }, this.canvas, this.empty, this.legend.element, this.hint, this.card);
    this.side = h("aside", { class: "rw-panel rw-side", "aria-label": "The chosen frames" });
    this.spoken = h("div", { class: "rw-spoken", "aria-live": "polite" });
    this.help = h("div", { class: "rw-help", role: "dialog", "aria-modal": "true", "aria-label": "Keys", hidden: true, onclick: (event) => { if (event.target === this.help) this.toggleHelp(); } });
    this.undoButton = button("Undo", "Undo your last action", () => this.undo());
    this.root = h("div", { class: "rw-review rw-explorer", tabindex: "-1", role: "region", "aria-label": "Explorer of radio frames", "data-lm-suppress-shortcuts": "true",
      style: { height: `${this.model.get("height")}px` } },
      h("div", { class: "rw-bar" }, this.heading, this.count, h("span", { class: "rw-grow" }), this.saving.light, this.undoButton,
        button("?", "Keys and help", () => this.toggleHelp(), { "aria-label": "Help" })),
      h("div", { class: "rw-filters" }, h("span", { class: "rw-group", role: "group", "aria-label": "Tool" }, Object.values(this.tools)),
        button("All", "Show all points (Home)", () => this.showAll()), field("Plane", this.plane), this.axesField, field("Colour", this.colour), this.logField, this.mapField, this.query),
      this.saving.alarm, h("div", { class: "rw-body" }, this.stage, this.side), this.spoken, this.help);
    this.below = h("div", { class: "rw-below" });
    el.append(this.root, this.below);
    this.hear();
  }

  hear() {
    const { canvas, root } = this;
    root.addEventListener("keydown", (event) => this.key(event));
    for (const kind of ["keyup", "keypress", "copy", "paste", "cut"]) root.addEventListener(kind, (event) => event.stopPropagation());
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("pointerdown", (event) => this.press(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => this.release(event));
    canvas.addEventListener("pointercancel", () => { this.drag = null; this.schedule(); });
    canvas.addEventListener("pointerleave", () => this.unhover());
    canvas.addEventListener("dblclick", (event) => { this.port.zoom(2, event.offsetX, event.offsetY); this.moved(); });
  }

  // ---------------------------------------------------------------- talking with the kernel

  ask(content) {
    try {
      this.model.send({ ...content, view: this.identity });
      return true;
    } catch (error) {
      this.lost = true;
      this.saving.lost();
      return false;
    }
  }

  get where() { const { plane, x, y, colour, log } = this.view; return { plane, x, y, colour, log }; }

  receive(content, buffers) {
    if (this.lost) {
      this.lost = false;
      this.saving.alert("");
      this.saving.refresh();
    }
    if (content.view && content.view !== this.identity) return;
    const take = { index: () => this.takeIndex(content), view: () => this.takePoints(content, buffers), hover: () => this.takeHover(content, buffers),
      choose: () => this.takeFrame(content, buffers), tiles: () => this.tiles.receive(content, buffers[0]), select: () => this.takeSelection(content),
      selected: () => { this.takeSelection(content); }, review: () => this.saving.announce(content.query ? "shown in the gallery" : "the gallery shows all frames"),
      saved: () => this.takeAnswer(content), refused: () => this.takeAnswer(content), cursor: () => this.takeCursor(content), ready: () => this.takeReady(content),
      error: () => this.takeError(content) }[content.kind];
    take?.();
  }

  takeIndex(content) {
    Object.assign(this, { about: content, schema: content.schema });
    setText(this.heading, content.name || "Explorer");
    const options = (entries) => Object.entries(entries).map(([value, text]) => h("option", { value }, text));
    this.plane.replaceChildren(...options(content.planes));
    for (const axis of this.axes) axis.replaceChildren(...content.numbers.map((name) => h("option", { value: name, title: content.columns[name] }, name)));
    this.colour.replaceChildren(h("option", { value: "" }, "density"), ...Object.entries(content.columns).map(([name, title]) => h("option", { value: name, title }, name)));
    if (!content.planes[this.view.plane]) this.view.plane = Object.keys(content.planes)[0];
    if (this.view.colour && !content.columns[this.view.colour]) this.view.colour = "";
    const { numbers } = content;
    if (!numbers.includes(this.view.x)) this.view.x = numbers.includes("peak_snr") ? "peak_snr" : numbers[0] ?? "";
    if (!numbers.includes(this.view.y)) this.view.y = numbers.includes("score") ? "score" : numbers[1] ?? numbers[0] ?? "";
    this.query.hidden = !content.query;
    for (const element of [this.undoButton, this.saving.light]) element.hidden = !content.labels;
    this.help.replaceChildren(this.helpSheet());
    this.showControls();
    this.takeSelection(content);
    this.saving.refresh();
    this.resized();
  }

  takeError({ of, text }) {
    if (of === "view") this.asked = null;
    if (of === "hover") this.hovering = null;
    this.saving.alert(text);
  }

  takeReady({ error, text }) {
    if (error) this.saving.alert(error);
    else {
      this.saving.announce(text);
      if (this.view.plane === "umap") { this.showAll(); this.refreshFrame(); }
    }
  }

  takeAnswer(content) {
    const { outbox } = this.saving;
    if (content.kind === "refused") outbox.refuse(content.id, content.text);
    else {
      outbox.settle(content.id);
      this.saving.announce(content.text);
      this.root.dataset.saved = String(Number(this.root.dataset.saved ?? 0) + 1);
    }
    if (content.serial === this.selection.serial) Object.assign(this.selection, { said: content.said });
    this.refreshFrame();
    this.paintSide();
    this.want(true);
  }

  takeCursor({ frame, place, stale }) {
    this.cursor = frame >= 0 && place[0] !== null ? { frame, place } : null;
    if (stale) this.want(true);
    this.schedule();
  }

  // ---------------------------------------------------------------- points

  // Ask for what is in view, one request at a time; the last view wins.
  want(fresh = false) {
    if (fresh) this.stale = true;
    const { width, height } = this.port;
    if (!this.about || this.asked || width < 20 || height < 20) { this.again = true; return; }
    const density = Math.min(window.devicePixelRatio || 1, 2);
    const range = this.port.range;
    this.again = this.stale = false;
    this.asked = { request: ++this.request, range };
    if (!this.ask({ kind: "view", request: this.asked.request, range, width: Math.round(width * density), height: Math.round(height * density), ...this.where })) this.asked = null;
  }

  async takePoints(content, buffers) {
    if (content.request !== this.asked?.request) return;
    let layers = null;
    if (content.what === "picture") {
      const stream = new Blob([buffers[0]]).stream().pipeThrough(new DecompressionStream("deflate"));
      layers = new Uint8Array(await new Response(stream).arrayBuffer());
    }
    this.asked = null;
    if (!this.port.range) {
      this.port.range = content.range;
      this.port.home = content.range;
    }
    this.port.equal = content.plane.equal;
    this.points = { ...content, layers, buffers: layers ? null : buffers.map(copied), painted: null };
    if (content.what === "dots") this.points.dots = unpacked(this.points);
    this.waiting = content.plane.waiting;
    setText(this.empty, content.points ? "" : "Nothing lies here; Home shows all.");
    setText(this.count, `${content.points.toLocaleString("en")} of ${plural(this.about.count, this.about.pictures || this.about.labels ? "frame" : "point")} in view${this.waiting ? " · UMAP is being made, PCA meanwhile" : ""}`);
    this.colours = null;
    this.root.dataset.request = String(content.request);
    this.schedule();
    if (this.again || this.stale || String(this.port.range) !== String(content.range)) this.want();
  }

  choosePlane(change) {
    Object.assign(this.view, change);
    this.port.range = this.port.home = null;
    this.hovered = this.cursor = null;
    this.unhover();
    this.asked = null; // what is under way is of another plane
    this.showControls();
    this.saveView();
    this.want(true);
    this.refreshFrame();
  }

  chooseColour(change) {
    Object.assign(this.view, change);
    this.colours = null;
    this.showControls();
    this.saveView();
    this.schedule();
    this.want(true);
  }

  showControls() {
    const { view } = this;
    [this.plane.value, this.axes[0].value, this.axes[1].value, this.colour.value, this.map.value] = [view.plane, view.x, view.y, view.colour, view.map];
    this.axesField.hidden = view.plane !== "columns";
    for (const [name, button] of Object.entries(this.tools)) button.setAttribute("aria-pressed", String(name === view.tool));
    this.canvas.dataset.tool = view.tool;
  }

  setTool(name) { this.view.tool = name; this.showControls(); this.saveView(); }

  takeView() { // from the notebook, or another view of the same widget
    const view = this.model.get("view") ?? {};
    if (view.stamp === this.view.stamp) return;
    const plane = JSON.stringify([this.view.plane, this.view.x, this.view.y]);
    this.view = { ...this.view, ...view };
    if (plane !== JSON.stringify([this.view.plane, this.view.x, this.view.y])) this.choosePlane({});
    else this.chooseColour({});
  }

  saveView() {
    clearTimeout(this.viewTimer);
    this.viewTimer = setTimeout(() => {
      if (this.lost) return;
      Object.assign(this.view, { range: this.port.range, stamp: Date.now() });
      try {
        this.model.set("view", structuredClone(this.view));
        this.model.save_changes();
      } catch (error) { /* no kernel: the next action says so */ }
    }, 300);
  }

  resized() {
    const { clientWidth: width, clientHeight: height } = this.stage;
    if (!width || !height) return;
    this.port.resize(width, height);
    const density = window.devicePixelRatio || 1;
    [this.canvas.width, this.canvas.height] = [Math.round(width * density), Math.round(height * density)];
    this.schedule();
    this.want();
  }

  themed() { this.colours = null; this.schedule(); }

  moved() { // the view, by the user
    this.unhover();
    this.schedule();
    this.want();
    this.saveView();
  }

  showAll() {
    this.port.range = null;
    this.asked = null;
    this.want(true);
    this.saveView();
  }

  // ---------------------------------------------------------------- pointer

  wheel(event) {
    if (!this.root.contains(document.activeElement) && !event.ctrlKey) { // the page scrolls
      this.hint.hidden = false;
      clearTimeout(this.hintTimer);
      this.hintTimer = setTimeout(() => { this.hint.hidden = true; }, 1200);
      return;
    }
    event.preventDefault();
    if (!this.port.range) return;
    const turned = event.deltaY * (event.deltaMode === 1 ? 30 : 1);
    this.port.zoom(Math.exp(-Math.max(-300, Math.min(300, turned)) * 0.0022), event.offsetX, event.offsetY);
    this.moved();
  }

  press(event) {
    if (event.button !== 0 || !this.port.range) return;
    this.focus();
    const tool = event.shiftKey && this.view.tool === "pan" ? "lasso" : this.view.tool;
    const mode = this.view.tool === "pan" ? "new" : event.shiftKey ? "add" : event.altKey ? "remove" : "new";
    this.drag = { tool, mode, line: [[event.offsetX, event.offsetY]], moved: false };
    this.canvas.setPointerCapture(event.pointerId);
  }

  move(event) {
    const at = [event.offsetX, event.offsetY];
    const { drag } = this;
    if (!drag) { this.hover(at); return; }
    const last = drag.line.at(-1);
    if (!drag.moved && Math.hypot(at[0] - last[0], at[1] - last[1]) < 4) return;
    drag.moved = true;
    this.unhover();
    if (drag.tool === "pan") {
      this.port.pan(at[0] - last[0], at[1] - last[1]);
      drag.line = [at];
      this.moved();
    } else {
      drag.line = drag.tool === "box" ? [drag.line[0], at] : [...drag.line, at];
      this.schedule();
    }
  }

  release(event) {
    const { drag } = this;
    this.drag = null;
    if (!drag) return;
    if (!drag.moved) { this.choose({ at: [event.offsetX, event.offsetY] }); return; }
    if (drag.tool === "pan") return;
    const line = drag.tool === "box" ? boxLine(drag.line[0], drag.line.at(-1)) : thinned(drag.line);
    if (line.length > 2) this.selectBy({ how: "line", line: line.map(([px, py]) => this.port.toPlane(px, py)), mode: drag.mode });
    this.outline = line.map(([px, py]) => this.port.toPlane(px, py));
    this.schedule();
  }

  reach(at, far = REACH) {
    const [x, y] = this.port.toPlane(...at);
    const reach = Math.max(far, this.thumbs?.length ? this.thumbSize / 2 : 0);
    return { x_at: x, y_at: y, reach_x: reach / this.port.scaleX, reach_y: reach / this.port.scaleY, size: LARGE_TILE };
  }

  // One question at a time; the last place of the pointer wins.
  hover(at) {
    this.pointer = at;
    if (this.hovering || !this.points || this.lost) return;
    this.hovering = at;
    this.ask({ kind: "hover", ...this.reach(at), ...this.where });
  }

  takeHover(content, buffers) {
    const asked = this.hovering;
    this.hovering = null;
    if (!this.pointer || !asked) return;
    if (content.tile) this.tiles.receive(content.tile, buffers[0]);
    this.hovered = content.frame >= 0 && content.place[0] !== null ? content : null;
    this.paintCard();
    this.schedule();
    if (Math.hypot(this.pointer[0] - asked[0], this.pointer[1] - asked[1]) > 2) this.hover(this.pointer);
  }

  unhover() {
    this.pointer = null;
    this.hovered = null;
    this.card.hidden = true;
    this.schedule();
  }

  paintCard() {
    const { hovered, card, port } = this;
    card.hidden = !hovered;
    if (!hovered) return;
    const picture = this.picture(hovered.frame, LARGE_TILE);
    card.replaceChildren(...(picture ? [picture] : []), h("div", { class: "rw-facts" }, factRows(hovered)));
    const [px, py] = port.toScreen(...hovered.place);
    const left = px + 18 + card.offsetWidth > port.width ? px - 18 - card.offsetWidth : px + 18;
    card.style.transform = `translate(${Math.max(4, left)}px, ${Math.max(4, Math.min(port.height - card.offsetHeight - 4, py - card.offsetHeight / 2))}px)`;
  }

  // A canvas with the tile of a frame, or null while it is not here.
  picture(frame, size, name = "rw-thumb") {
    const tile = this.tiles.get(frame, size);
    if (!tile) return null;
    const canvas = h("canvas", { class: name });
    paintTile(canvas, tile, this.tileLook);
    return canvas;
  }

  // ---------------------------------------------------------------- choosing and selecting

  choose({ at, far, frame }) {
    this.ask({ kind: "choose", ...(at ? this.reach(at, far) : { frame, size: LARGE_TILE }), ...this.where });
  }

  refreshFrame() { if (this.frame) this.choose({ frame: this.frame.frame }); }

  takeFrame(content, buffers) {
    if (content.tile) this.tiles.receive(content.tile, buffers[0]);
    this.frame = content.frame >= 0 ? content : null;
    this.neighbours = this.frame ? content.neighbours : [];
    if (content.note) this.saving.alert(content.note);
    this.root.dataset.frame = String(content.frame);
    this.wantTiles();
    this.paintSide();
    this.schedule();
    setText(this.spoken, this.frame ? `${this.frame.id}, ${this.frame.rows.map((row) => row.join(" ")).join(", ")}` : "no frame is chosen");
  }

  selectBy(content) {
    if (content.how !== "line") this.outline = null;
    this.ask({ kind: "select", ...content, ...this.where });
  }

  takeSelection(content) {
    const { serial, selected, shown, said } = content;
    const before = this.selection;
    this.selection = { serial, selected, shown, said };
    if (this.saving.alarm.dataset.cause === "error") this.saving.alert("");
    if (!selected) this.outline = null;
    this.root.dataset.selected = String(selected);
    if (before.selected || selected) setText(this.spoken, selected ? `${plural(selected, "frame")} selected` : "nothing is selected");
    this.wantTiles();
    this.paintSide();
    if (before.serial !== serial) this.want(true);
  }

  review() { if (this.about.review) this.ask({ kind: "review" }); }

  // ---------------------------------------------------------------- labels

  get target() { return this.selection.selected ? { count: this.selection.selected } : this.frame ? { count: 1, frame: this.frame.frame } : null; }

  act(action, words) {
    const { target } = this;
    if (!target || !this.about.labels) return;
    const post = () => this.saving.outbox.post({ kind: "act", ...action, ...target, serial: this.selection.serial });
    if (target.count > MANY_FRAMES) this.saving.confirm(`${words} ${plural(target.count, "frame")}?`, `Yes, ${target.count.toLocaleString("en")}`, post);
    else post();
  }

  rate(value) { this.act({ interest: value }, value === null ? "Take the rating from" : `Rate ${value}:`); }

  tag(name) {
    const has = !this.selection.selected && this.frame?.tags?.includes(name);
    this.act(has ? { remove: [name] } : { add: [name] }, `Tag ${name}:`);
  }

  untag(name) { this.act({ remove: [name] }, `Take ${name} from`); }

  undo() { if (this.about?.labels) this.saving.outbox.post({ kind: "undo", count: 0 }); }

  // ---------------------------------------------------------------- keys

  focus() { this.canvas.focus({ preventScroll: true }); }

  key(event) {
    event.stopPropagation();
    const { target } = event;
    const typing = target instanceof HTMLInputElement && target.type === "text";
    if (event.key === "Escape") { event.preventDefault(); this.escape(typing); return; }
    if (event.ctrlKey || event.metaKey) {
      const key = event.key.toLowerCase();
      if (!typing && key === "z") this.undo();
      else if (typing && key !== "s") return; // copy, paste and the like
      else if (!handOn(event, this.root, () => this.focus())) return; // the notebook's: save, run, ...
      event.preventDefault();
      return;
    }
    if (typing || event.altKey || this.saving.asking || target instanceof HTMLSelectElement) return;
    if (event.repeat && !/^(Arrow|[+=-]$)/.test(event.key)) { event.preventDefault(); return; }
    if (target.closest("button, summary") && (event.key === "Enter" || event.key === " ")) return;
    if (this.command(event.key)) event.preventDefault();
  }

  escape(typing) {
    if (this.saving.asking) this.saving.asking();
    else if (typing) this.focus();
    else if (!this.help.hidden) this.toggleHelp();
    else if (this.selection.selected) this.selectBy({ how: "none" });
    else if (this.frame) this.choose({ frame: -1 });
    this.focus();
  }

  command(key) {
    if (!this.about) return false;
    const step = 60;
    const pan = { ArrowLeft: [step, 0], ArrowRight: [-step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] }[key];
    const zoom = { "+": 1.5, "=": 1.5, "-": 1 / 1.5 }[key];
    if (!this.port.range && (pan || zoom || key === " ")) return true; // until what was asked for is there
    if (pan) { this.port.pan(...pan); this.middle = true; this.moved(); }
    else if (zoom) { this.port.zoom(zoom); this.moved(); }
    else if (key === "Home") this.showAll();
    else if (key === " ") { this.middle = true; this.choose({ at: [this.port.width / 2, this.port.height / 2], far: this.port.width + this.port.height }); }
    else if (key === "Enter") this.review();
    else if (key === "u") this.undo();
    else if (key === "i") { if (this.frame) this.selectBy({ how: "neighbours", frame: this.frame.frame }); }
    else if (key === ".") this.setTool(Object.keys(TOOLS)[(Object.keys(TOOLS).indexOf(this.view.tool) + 1) % 3]);
    else if (key === "/") { this.query.focus(); this.query.select(); }
    else if (key === "?") this.toggleHelp();
    else if (/^[0-5]$/.test(key)) this.rate(Number(key));
    else if (key === "Backspace" || key === "Delete") this.rate(null);
    else {
      const tag = this.schema.find((one) => one.key === key);
      if (!tag) return false;
      this.tag(tag.name);
    }
    return true;
  }

  toggleHelp() {
    this.help.hidden = !this.help.hidden;
    if (this.help.hidden) this.focus();
    else this.help.querySelector("button")?.focus();
  }

  helpSheet() {
    const row = ([keys, text]) => h("tr", {}, h("th", { scope: "row" }, h("kbd", {}, keys)), h("td", {}, text));
    const labels = this.about.labels ? [["0 … 5", "rate what is selected, or the chosen frame"], ["⌫", "take the rating back"], ...this.schema.filter((tag) => tag.key).map((tag) => [tag.key, tag.name])] : [];
    const lists = [["Look and select", KEYS.filter(([key]) => this.about.labels || !["Enter", "u"].includes(key))], ["Say", labels]];
    return h("div", { class: "rw-help-card" }, h("div", { class: "rw-help-head" }, h("h3", {}, "Keys"), h("span", { class: "rw-grow" }), h("button", { class: "rw-button", type: "button", onclick: () => this.toggleHelp() }, "Close")),
      h("div", { class: "rw-columns" }, lists.filter(([, rows]) => rows.length).map(([title, rows]) => h("table", {}, h("caption", {}, title), h("tbody", {}, rows.map(row))))),
      h("p", {}, "With the lasso or the box, Shift adds to the selection and Alt takes away. Zoom in until few frames are left, and they show as pictures."));
  }

  // ---------------------------------------------------------------- painting: the side

  wantTiles() {
    if (!this.about?.pictures) return;
    const small = [...this.neighbours.map(({ frame }) => frame), ...this.selection.shown, ...(this.thumbs ?? [])];
    this.tiles.want(small, SMALL_TILE);
  }

  arrived() {
    this.schedule();
    clearTimeout(this.sideTimer);
    this.sideTimer = setTimeout(() => this.paintSide(), 30);
  }

  paintSide() {
    if (!this.about) return;
    const { frame, selection, about } = this;
    const strip = (frames) => h("div", { class: "rw-likes" }, frames.map((one) => h("button", { class: "rw-like", type: "button", title: "Choose this frame", "data-frame": String(one),
      onclick: () => { this.choose({ frame: one }); this.focus(); } }, this.picture(one, SMALL_TILE, "rw-canvas"))));
    const button = (label, title, call, main = false) => h("button", { class: `rw-button${main ? " rw-main" : ""}`, type: "button", title, onclick: () => { call(); this.focus(); } }, label);
    const parts = [];
    if (selection.selected) {
      parts.push(h("section", { class: "rw-part" }, h("h4", {}, `${plural(selection.selected, about.labels ? "frame" : "point")} selected`), selection.said ? h("p", { class: "rw-quiet" }, selection.said) : null,
        about.pictures ? strip(selection.shown) : null,
        h("div", { class: "rw-pop-row" }, about.review ? button("Review these", "Show them in the gallery (Enter)", () => this.review(), true) : null, button("Let go", "Select nothing (Esc)", () => this.selectBy({ how: "none" })))));
    }
    if (frame && !(selection.selected && about.labels)) parts.push(this.frameSide(frame, strip, button));
    if (about.labels && this.target) parts.push(this.labelSide());
    if (frame && selection.selected && about.labels) parts.push(this.frameSide(frame, strip, button));
    if (!parts.length) parts.push(h("p", { class: "rw-quiet rw-idle" }, "Point at a frame to see it, click to keep it here. Drag with Shift to select many."));
    this.side.replaceChildren(...parts);
  }

  frameSide(frame, strip, button) {
    const near = this.neighbours;
    return h("section", { class: "rw-part" }, this.picture(frame.frame, LARGE_TILE, "rw-preview"), h("div", { class: "rw-facts" }, factRows(frame)),
      near.length ? [h("h4", {}, "Most like it"), this.about.pictures ? strip(near.map((one) => one.frame)) : null,
        h("div", { class: "rw-pop-row" }, button("Select them", "The frame and what is like it (i)", () => this.selectBy({ how: "neighbours", frame: frame.frame })), button("Go there", "Bring the frame to the middle", () => this.goTo(frame.place)))] : null);
  }

  labelSide() {
    const { selection, frame, target } = this;
    const single = target.frame !== undefined;
    const rating = (value) => h("button", { class: "rw-button", type: "button", "aria-pressed": String(single && frame.interest === value), title: `Interest ${value} of 5: ${RATINGS[value]} (key ${value})`,
      onclick: () => { this.rate(value); this.focus(); } }, String(value));
    const tag = (one) => h("button", { class: "rw-tag", type: "button", "aria-pressed": String(single && frame.tags.includes(one.name)), title: `${one.description} (key ${one.key ?? "none"}; with Shift: take it away)`,
      onclick: (event) => { if (event.shiftKey) this.untag(one.name); else this.tag(one.name); this.focus(); } },
      h("span", { class: "rw-swatch", style: { background: one.colour } }), h("span", { class: "rw-tag-name" }, one.name), one.key ? h("kbd", {}, one.key) : null);
    return h("section", { class: "rw-part" }, h("h4", {}, single ? "Say of this frame" : `Say of all ${selection.selected.toLocaleString("en")}`),
      h("div", { class: "rw-ratings", role: "group", "aria-label": "Interest" }, RATINGS.map((_, value) => rating(value))),
      h("div", { class: "rw-tags", role: "group", "aria-label": "Tags" }, this.schema.map(tag)));
  }

  goTo([x, y]) {
    if (x === null || !this.port.range) return;
    this.port.centreOn(x, y);
    this.moved();
  }

  // ---------------------------------------------------------------- painting: the plane

  schedule() {
    if (this.scheduled) return;
    this.scheduled = requestAnimationFrame(() => { this.scheduled = null; this.paint(); });
  }

  paint() {
    if (!this.canvas.isConnected || !this.port.range) return;
    const pen = this.canvas.getContext("2d");
    const density = this.canvas.width / this.port.width;
    pen.setTransform(density, 0, 0, density, 0, 0);
    const dark = isDark(this.root);
    if (this.dark !== dark) { this.dark = dark; this.colours = null; }
    pen.fillStyle = dark ? "#0d1016" : "#ffffff";
    pen.fillRect(0, 0, this.port.width, this.port.height);
    if (!this.points) return;
    this.prepareColours();
    if (this.points.layers) this.paintPicture(pen);
    else this.paintDots(pen);
    this.paintAxes(pen);
    this.paintRings(pen);
    this.paintLine(pen);
    if (this.root.dataset.painted !== String(this.points.request)) this.root.dataset.painted = String(this.points.request);
    if (!this.asked && this.root.dataset.ready !== "true") this.root.dataset.ready = "true";
  }

  prepareColours() {
    if (this.colours) return;
    const { legend } = this.points;
    this.colours = palette(legend, { map: this.view.map, dark: this.dark });
    this.points.painted = null;
    this.sheet = null;
    this.legend.paint(legend, this.colours, this.points.most);
    this.legend.element.hidden = legend.kind === "density" && this.points.what === "dots";
    this.mapField.hidden = legend.kind === "category";
    this.logField.hidden = !legend.can_log;
    this.log.checked = Boolean(legend.log);
  }

  paintPicture(pen) {
    const { points } = this;
    const { width, height } = points;
    if (!points.painted) {
      points.painted = new OffscreenCanvas(width, height);
      const image = new ImageData(width, height);
      paintPicture(points.layers, { area: width * height, coded: points.coded, marked: points.marked }, this.colours, new Uint32Array(image.data.buffer));
      points.painted.getContext("2d").putImageData(image, 0, 0);
    }
    this.setThumbs([]);
    const rect = this.port.rectOf(points.range);
    pen.imageSmoothingEnabled = rect[2] < 3 * this.port.width;
    pen.drawImage(points.painted, ...rect);
  }

  paintDots(pen) {
    const { points, port } = this;
    const { x, y, codes, marks, frames } = points.dots;
    const count = x.length;
    const radius = count < 400 ? 5 : count < 4000 ? 3.5 : 2.5;
    this.sheet ??= new DotSheet(this.colours, radius, this.canvas.width / port.width);
    const shown = this.about.pictures && count <= points.thumbnails && String(port.range) === String(points.range) || this.about.pictures && count <= points.thumbnails && this.thumbs?.length;
    this.thumbSize = Math.round(Math.max(44, Math.min(SMALL_TILE * 1.5, 0.62 * Math.sqrt((port.width * port.height) / Math.max(count, 1)))));
    const at = (i) => port.toScreen(x[i], y[i]);
    const plain = codes.length ? null : 200;
    // What is selected lies on what is not, and what has a value on what has none.
    for (const layer of marks.length ? [0, 1, 2, 3] : [2, 3]) {
      for (let i = 0; i < count; i++) {
        if ((marks.length && !marks[i] ? 0 : 2) + (codes.length && codes[i] === 1 ? 0 : 1) !== layer) continue;
        const [px, py] = at(i);
        if (px > -9 && py > -9 && px < port.width + 9 && py < port.height + 9) this.sheet.draw(pen, plain ?? codes[i], layer < 2, px, py);
      }
    }
    if (!shown) { this.setThumbs([]); return; }
    const order = Array.from(frames.keys());
    const first = (i) => (frames[i] === this.frame?.frame || frames[i] === this.cursor?.frame ? 0 : marks[i] ? 1 : 2);
    order.sort((a, b) => first(a) - first(b) || a - b);
    const kept = spreadOut(order.map(at), this.thumbSize).map((k) => order[k]);
    this.setThumbs(kept.map((i) => frames[i]));
    const half = this.thumbSize / 2;
    let drawn = 0;
    for (const i of kept) {
      const tile = this.tiles.get(frames[i], SMALL_TILE);
      if (!tile) continue;
      drawn += 1;
      tile.canvas ??= painted(tile, this.tileLook);
      const [px, py] = at(i);
      pen.globalAlpha = marks.length && !marks[i] ? 0.45 : 1;
      pen.drawImage(tile.canvas, px - half, py - half, 2 * half, 2 * half);
      pen.lineWidth = 2.5;
      pen.strokeStyle = css(this.colours[plain ?? codes[i]]);
      pen.strokeRect(px - half, py - half, 2 * half, 2 * half);
      pen.globalAlpha = 1;
    }
    this.root.dataset.thumbs = String(drawn);
  }

  setThumbs(frames) {
    if (String(frames) === String(this.thumbs ?? [])) return;
    this.thumbs = frames;
    this.wantTiles();
  }

  paintAxes(pen) {
    const { plane } = this.points;
    const { width, height, range } = this.port;
    pen.font = "11px system-ui, sans-serif";
    pen.fillStyle = this.dark ? "#aeb6c2" : "#56606c";
    pen.strokeStyle = this.dark ? "rgb(255 255 255 / 28%)" : "rgb(0 0 0 / 28%)";
    pen.lineWidth = 1;
    pen.textBaseline = "alphabetic";
    const write = (text, x, y) => { // readable on points too
      pen.save();
      pen.strokeStyle = this.dark ? "#0d1016" : "#ffffff";
      pen.lineWidth = 3.5;
      pen.lineJoin = "round";
      pen.strokeText(text, x, y);
      pen.restore();
      pen.fillText(text, x, y);
    };
    if (plane.ticks) {
      const sky = plane.sky; // right ascension grows to the left
      const toValue = sky ? (x) => sky.ra - x / sky.squeeze : (x) => x;
      const toPlace = sky ? (ra) => (sky.ra - ra) * sky.squeeze : (x) => x;
      const [from, to] = [toValue(range[0]), toValue(range[1])].sort((a, b) => a - b);
      const columns = niceTicks(from, to, Math.max(2, width / 110));
      pen.textAlign = "center";
      for (const value of columns) {
        const px = this.port.toScreen(toPlace(value), 0)[0];
        write(tickText(sky ? ((value % 360) + 360) % 360 : value, columns[1] - columns[0] || 1), px, height - 7);
        line(pen, px, height, px, height - 4);
      }
      const rows = niceTicks(range[2], range[3], Math.max(2, height / 70));
      pen.textAlign = "left";
      for (const value of rows) {
        const py = this.port.toScreen(0, value)[1];
        if (py > height - 24) continue;
        write(tickText(value, rows[1] - rows[0] || 1), 7, py + 4);
        line(pen, 0, py, 4, py);
      }
    }
    pen.textAlign = "center";
    pen.font = "600 11px system-ui, sans-serif";
    if (plane.x) write(plane.x, width / 2, height - (plane.ticks ? 21 : 8));
    if (plane.y) {
      pen.save();
      pen.translate(plane.ticks ? 52 : 15, height / 2);
      pen.rotate(-Math.PI / 2);
      write(plane.y, 0, 0);
      pen.restore();
    }
  }

  paintRings(pen) {
    const ring = ({ frame, place: [x, y] }, radius, colour, wide) => {
      if (x === null) return;
      const [px, py] = this.port.toScreen(x, y);
      const box = this.thumbs?.includes(frame) ? this.thumbSize / 2 + 2 : 0; // where thumbnails crowd, some stay dots
      for (const [style, stroke] of [[this.dark ? "rgb(0 0 0 / 75%)" : "rgb(255 255 255 / 85%)", wide + 2.5], [colour, wide]]) {
        pen.strokeStyle = style;
        pen.lineWidth = stroke;
        pen.beginPath();
        if (box && this.points.what === "dots") pen.rect(px - box, py - box, 2 * box, 2 * box);
        else pen.arc(px, py, radius, 0, 2 * Math.PI);
        pen.stroke();
      }
    };
    for (const one of this.neighbours) ring(one, 7, "#3aa0ff", 1.8);
    if (this.cursor) ring(this.cursor, 12, this.dark ? "#ffffff" : "#111111", 2);
    if (this.frame) ring(this.frame, 10, "#ff7a1a", 2.6);
    if (this.hovered) ring(this.hovered, 8, this.dark ? "#ffffff" : "#111111", 1.6);
    if (this.middle && document.activeElement === this.canvas && this.canvas.matches(":focus-visible")) {
      const [x, y] = [this.port.width / 2, this.port.height / 2];
      pen.strokeStyle = this.dark ? "#ffffff" : "#111111";
      pen.lineWidth = 1;
      line(pen, x - 8, y, x + 8, y);
      line(pen, x, y - 8, x, y + 8);
    }
  }

  paintLine(pen) {
    let line_ = null;
    if (this.drag?.moved && this.drag.tool !== "pan") line_ = this.drag.tool === "box" ? boxLine(this.drag.line[0], this.drag.line.at(-1)) : this.drag.line;
    else if (this.outline) line_ = this.outline.map(([x, y]) => this.port.toScreen(x, y));
    if (!line_ || line_.length < 2) return;
    pen.beginPath();
    line_.forEach(([x, y], i) => (i ? pen.lineTo(x, y) : pen.moveTo(x, y)));
    pen.closePath();
    pen.fillStyle = this.drag ? "rgb(58 160 255 / 14%)" : "rgb(58 160 255 / 4%)";
    pen.fill();
    pen.setLineDash([5, 4]);
    pen.lineWidth = 1.4;
    pen.strokeStyle = "#3aa0ff";
    pen.stroke();
    pen.setLineDash([]);
  }

  // ---------------------------------------------------------------- the gallery below

  async showGallery() {
    if (!this.model.get("below") || this.galleryView) return;
    const reference = this.model.get("gallery");
    if (typeof reference !== "string") return;
    this.galleryView = true;
    try {
      const manager = this.model.widget_manager;
      const child = await manager.get_model(reference.replace("IPY_MODEL_", ""));
      this.galleryView = await manager.create_view(child, {});
      this.below.replaceChildren(this.galleryView.el);
      this.below.scrollIntoView({ block: "nearest", behavior: "smooth" });
    } catch (error) {
      this.galleryView = null;
      this.saving.alert("The gallery cannot be shown here; put explorer.gallery into a cell of its own.");
    }
  }

  showProgress() {} // Saving reports here what Review counts

  dispose() {
    this.saving.dispose();
    for (const timer of [this.viewTimer, this.hintTimer, this.sideTimer]) clearTimeout(timer);
    this.model.off("msg:custom", this.listen);
    for (const [event, call] of Object.entries(this.watch)) this.model.off(event, call);
    this.resize.disconnect();
    this.theme.disconnect();
    this.galleryView?.remove?.();
    cancelAnimationFrame(this.scheduled);
  }
}

// Discs of all colours, solid and faint, painted once and copied.
class DotSheet {
  constructor(colours, radius, density) {
    const side = Math.ceil((2 * radius + 2) * density);
    this.side = side;
    this.size = side / density;
    this.canvas = new OffscreenCanvas(16 * side, 32 * side);
    const pen = this.canvas.getContext("2d");
    colours.forEach((colour, code) => {
      for (const faint of [0, 1]) {
        const [cx, cy] = [((code % 16) + 0.5) * side, (Math.floor(code / 16) + 16 * faint + 0.5) * side];
        pen.fillStyle = css(colour, (faint ? 0.22 : 0.9) * (code === 1 ? 0.7 : 1));
        pen.beginPath();
        pen.arc(cx, cy, radius * density, 0, 2 * Math.PI);
        pen.fill();
      }
    });
  }

  draw(pen, code, faint, x, y) {
    const { side, size } = this;
    pen.drawImage(this.canvas, (code % 16) * side, (Math.floor(code / 16) + (faint ? 16 : 0)) * side, side, side, x - size / 2, y - size / 2, size, size);
  }
}

function unpacked({ buffers, range: [x0, x1, y0, y1] }) {
  const places = new Uint16Array(buffers[0]);
  const count = places.length / 2;
  const [x, y] = [new Float64Array(count), new Float64Array(count)];
  for (let i = 0; i < count; i++) {
    x[i] = x0 + ((x1 - x0) * places[2 * i]) / 65535;
    y[i] = y1 - ((y1 - y0) * places[2 * i + 1]) / 65535;
  }
  return { x, y, codes: new Uint8Array(buffers[1]), marks: new Uint8Array(buffers[2]), frames: new Uint32Array(buffers[3]) };
}

function painted(tile, look) {
  const canvas = h("canvas", {});
  paintTile(canvas, tile, look);
  return canvas;
}

function factRows(about) {
  const rows = [[about.tile ? "Frame" : "Point", about.id], ...about.rows];
  if (Number.isFinite(about.ra) && about.ra !== null) rows.push(["RA, Dec", `${formatRA(about.ra)} ${formatDec(about.dec)}`]);
  if (Number.isFinite(about.snr)) rows.push(["Peak", `${about.snr.toFixed(1)} σ`]);
  if (about.interest !== null && about.interest !== undefined) rows.push(["Interest", String(about.interest)]);
  if (about.tags?.length) rows.push(["Tags", about.tags.join(", ")]);
  return rows.flatMap(([name, value]) => [h("span", { class: "rw-fact" }, name), h("span", { class: "rw-value", title: value }, value)]);
}

function isDark(element) {
  const [r, g, b] = (getComputedStyle(element).backgroundColor.match(/[\d.]+/g) ?? [255, 255, 255]).map(Number);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b < 128;
}

function line(pen, x0, y0, x1, y1) {
  pen.beginPath();
  pen.moveTo(x0, y0);
  pen.lineTo(x1, y1);
  pen.stroke();
}

export default {
  render({ model, el }) {
    const view = new Explorer(model, el);
    return () => view.dispose();
  },
};
