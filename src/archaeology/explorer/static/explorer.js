/**
 * The explorer: an image, what every layer and head of a transformer makes of it, and what a CNN does beside it.
 *
 * `mount(element, source, options)` is all a page needs. One view (which image, layer, head, query, colours) decides
 * everything that is seen: whatever changes it ends in `change`, and `draw` draws it, at most once per frame.
 */

import { Atlas } from "./atlas.js";
import { RowAsking } from "./asking.js";
import { EVERY_PATCH } from "./attention.js";
import { Deep } from "./deep.js";
import { Facts } from "./facts.js";
import { HeadControls, Subjects, Tools } from "./controls.js";
import { Hand, Player, hintWords } from "./hand.js";
import { Panel, markedPlace } from "./panel.js";
import { STYLE } from "./style.js";
import { adoptStyle, followTheme, make, write } from "./dom.js";
import { decodeState, encodeState, hashWithState, stateInHash } from "./state.js";
import { decodeSubject } from "./subject.js";
import { fileName, handOver, sheetOf, sheetToCanvas, sheetToSvg } from "./saving.js";
import { headWords, placeWords, queryWords } from "./words.js";
import { makeTable } from "./table.js";
import { MAPS } from "./colours.js";
import { clampedView, queryFor, rawAgain, startView } from "./view.js";
import { shownOf, withSharedScale } from "./shown.js";
import { photosOf } from "./ink.js";

const EVERYTHING = ["subjects", "layers", "heads", "modes", "3d", "save"];

/**
 * @typedef {object} Source
 * @property {{id: string, title: string, thumbnail?: string|ImageData, note?: string, group?: string}[]} subjects
 * @property {(id: string) => Promise<ArrayBuffer>} load
 * @property {(id: string, model: string, query: number, signal: AbortSignal) => Promise<ArrayBuffer>} [rows] For images with too many tokens to send all; query -1 is all patches.
 * @typedef {object} Options
 * @property {string} [state] @property {string} [prefix] Key in the address's hash; absent: no deep link. @property {"light"|"dark"|"auto"} [theme]
 * @property {string[]} [controls] @property {(head: {model: string, layer: number, head: number, isOff: boolean}) => void} [onHead]
 * @property {(patch: {model: string, query: number, isOccluded: boolean}) => void} [onPatch] @property {(state: string) => void} [onState]
 * @typedef {object} Handle
 * @property {() => string} state @property {(state: string) => Promise<void>} restore @property {(id: string) => Promise<void>} show
 * @property {(id: string, buffer: ArrayBuffer) => void} replace @property {(choice: object) => void} select
 * @property {(marks: {off?: {model: string, layer: number, head: number}[], covered?: number[]}) => void} mark Heads that are off, places that are covered; nothing is told back.
 * @property {() => object|null} subject @property {() => void} destroy @property {Promise<void>} ready
 */

/** Put an explorer into an element. @param {Element} element @param {Source} source @param {Options} [options] @returns {Handle} */
export function mount(element, source, options = {}) {
  const explorer = new Explorer(element, source, options);
  return {
    ready: explorer.start(),
    state: () => explorer.state(),
    restore: (text) => explorer.restore(text),
    show: (id) => explorer.open(id),
    replace: (id, buffer) => explorer.take(id, buffer),
    select: (choice) => explorer.select(choice),
    mark: (marks) => explorer.mark(marks),
    subject: () => explorer.subject,
    destroy: () => explorer.destroy(),
  };
}

class Explorer {
  constructor(element, source, options) {
    Object.assign(this, { source, options, subject: null, view: startView(), panels: [], off: new Set() });
    this.asking = new RowAsking(() => this.schedule());
    this.allowed = options.controls ?? EVERYTHING;
    this.stops = [];
    this.hand = new Hand(this);
    this.player = new Player(this);
    this.build(element);
    adoptStyle(element, STYLE);
    this.stops.push(followTheme(options.theme ?? "auto", (theme) => { this.root.dataset.theme = theme; this.flat = theme; this.schedule(); }));
    if (options.prefix) {
      const follow = () => { const text = stateInHash(location.hash, options.prefix); if (text !== null && text !== this.state()) this.restore(text); };
      addEventListener("hashchange", follow);
      this.stops.push(() => removeEventListener("hashchange", follow));
    }
  }

  build(element) {
    const change = (part) => { this.player.stop(); this.change(part); };
    this.controls = new HeadControls((part) => change({ ...part, ...rawAgain(this.view, part) }), () => this.player.toggle());
    this.tools = new Tools({ change, cover: () => this.hand.toggleCover(), numbers: () => this.toggleNumbers(), link: () => this.copyLink(), save: (kind) => this.save(kind) }, this.allowed, Boolean(this.options.prefix), Boolean(this.options.onPatch));
    this.atlas = new Atlas({ choose: (layer, head) => change({ layer, head, ...rawAgain(this.view, { layer }) }), name: (layer, head) => this.headName(layer, head), keydown: (event) => this.hand.key(event, "atlas") });
    this.facts = new Facts(this.options.onHead ? (layer, head) => this.toggleHead(layer, head) : null);
    this.title = make("p", { className: "aa-title" });
    this.note = make("p", { className: "aa-note" });
    this.hint = make("p", { className: "aa-hint" });
    this.stage = make("div", { className: "aa-stage" });
    const deep = make("div", { className: "aa-deep", hidden: true });
    this.deep = new Deep(deep, (choice) => this.select(choice));
    this.table = make("div", { className: "aa-numbers", hidden: true });
    this.live = make("p", { className: "aa-unseen", "aria-live": "polite" });
    this.status = make("p", { className: "aa-status", role: "status", textContent: "Opening the image\u2026" });
    this.subjects = this.source.subjects.length > 1 && this.allowed.includes("subjects") ? new Subjects(this.source.subjects, (id) => this.open(id)) : null;
    this.aside = make("div", { className: "aa-aside" }, this.atlas.element, this.facts.element);
    this.body = make("div", { className: "aa-body", hidden: true }, make("div", { className: "aa-guide" }, this.controls.element, this.hint), make("div", { className: "aa-main" }, this.stage, deep), this.aside);
    this.root = make("div", { className: "aa-explorer", role: "group", "aria-label": "Explorer of attention" }, ...(this.subjects ? [this.subjects.element] : []),
      make("div", { className: "aa-head" }, this.title, this.note), this.status, this.body, this.tools.element, this.table, this.live);
    this.tools.element.hidden = true;
    element.append(this.root);
  }

  /** The first image: the link's, or the first there is. */
  async start() {
    const linked = this.options.prefix ? stateInHash(location.hash, this.options.prefix) : null;
    const wanted = decodeState(linked ?? this.options.state ?? "");
    const known = this.source.subjects.some((subject) => subject.id === wanted.id);
    if (!this.source.subjects.length) { write(this.status, "There is no image to show yet."); return; }
    await this.open(known ? wanted.id : this.source.subjects[0].id, wanted);
  }

  /** Load an image and show it in the same view as the one before. */
  async open(id, wanted = {}) {
    this.player.stop();
    const call = this.call = {};
    this.status.hidden = false;
    write(this.status, "Opening the image\u2026");
    try {
      const buffer = await this.source.load(id);
      if (call === this.call && !this.isOver) this.take(id, buffer, wanted);
    } catch (error) {
      if (call === this.call) { this.status.hidden = false; write(this.status, `This image could not be opened: ${error.message}`); }
    }
  }

  /** New numbers of an image; the view stays as far as it can. */
  take(id, buffer, wanted = {}) {
    const old = this.subject, subject = decodeSubject(buffer);
    const isOther = !old || old.id !== subject.id || this.view.id !== id;
    this.subject = subject;
    this.photos = photosOf(subject.image);
    if (isOther) { this.hand.covered.clear(); this.off.clear(); }
    this.hand.rest();
    this.asking.forget();
    this.view = clampedView({ ...this.view, ...wanted, modes: { ...this.view.modes, ...wanted.modes }, id }, subject, Object.keys(MAPS));
    this.makePanels();
    this.status.hidden = true;
    this.body.hidden = this.tools.element.hidden = false;
    this.subjects?.set(id);
    write(this.title, subject.title);
    write(this.note, [subject.label && subject.label !== subject.title ? `Truth: ${subject.label}.` : "", subject.note ?? ""].filter(Boolean).join(" "));
    this.changed();
    this.draw();
  }

  makePanels() {
    this.panels.forEach((panel) => panel.destroy());
    const acts = {
      point: (...all) => this.hand.point(...all), leave: () => this.hand.leave(), click: (...all) => this.hand.click(...all), press: (...all) => this.hand.press(...all),
      keydown: (event) => this.hand.key(event, "image"), peek: (query) => this.hand.peek(query),
      mode: (key, mode) => { this.player.stop(); this.change({ modes: { ...this.view.modes, [key]: mode } }); this.say(); }, query: (query) => { this.change({ query }); this.say(); },
    };
    this.panels = this.subject.models.map((model) => new Panel(model, this.subject.image, acts));
    this.panels.forEach((panel) => { panel.mode.element.hidden = !this.allowed.includes("modes"); });
    this.stage.replaceChildren(...this.panels.map((panel) => panel.element));
    this.body.dataset.panels = String(this.panels.length);
    this.aside.hidden = this.controls.element.hidden = !this.model;
    this.root.classList.toggle("aa-alone", !this.model);
    this.atlasOf = null;
  }

  /** The model whose attention is looked into. */
  get model() { return this.subject?.models.find((model) => model.key === this.view.model && model.attention) ?? null; }

  /** The query that is shown: under the pointer, kept, or what the model reads its answer from. */
  get query() { return this.hand.peeked ?? this.view.query ?? this.model?.attention.readoutQuery ?? -1; }

  get canChoose() { return Boolean(this.model && (this.model.attention.hasPatterns || this.source.rows)); }

  state() { return this.subject ? encodeState(this.view) : this.options.state ?? ""; }

  async restore(text) {
    const wanted = decodeState(text);
    if (wanted.id !== undefined && wanted.id !== this.view.id && this.source.subjects.some((subject) => subject.id === wanted.id)) { await this.open(wanted.id, { query: null, ...wanted }); return; }
    this.change({ query: null, ...wanted, id: this.view.id, modes: { ...this.view.modes, ...wanted.modes } });
  }

  /** From outside: `{layer, head, query, mode}`. */
  select(choice) {
    const { mode, ...part } = choice;
    this.change(mode ? { ...part, modes: { ...this.view.modes, [choice.model ?? this.view.model]: mode } } : part);
  }

  /** From outside: which heads are off and which patches covered; the host knows, so it is not told. */
  mark({ off, covered }) {
    if (off) this.off = new Set(off.map(({ model, layer, head }) => `${model} ${layer} ${head}`));
    if (covered) this.hand.covered = new Set(covered);
    this.factsOf = null;
    this.schedule();
  }

  change(part) {
    if (!this.subject) { Object.assign(this.view, part); return; }
    this.hand.peeked = null;
    if (this.asking.failed) this.asking.forget();
    this.view = clampedView({ ...this.view, ...part }, this.subject, Object.keys(MAPS));
    this.changed();
    this.schedule();
  }

  /** Tell the address and the host, after the last of many changes. */
  changed() {
    clearTimeout(this.telling);
    this.telling = setTimeout(() => {
      const state = this.state();
      if (state === this.told || this.isOver) return;
      const isFirst = this.told === undefined;
      this.told = state;
      this.options.onState?.(state);
      if (!this.options.prefix || (isFirst && stateInHash(location.hash, this.options.prefix) === null)) return;
      try { history.replaceState(history.state, "", hashWithState(location.hash, this.options.prefix, state)); } catch { /* A page without an address of its own (srcdoc) has no link to keep. */ }
    }, 150);
  }

  schedule() {
    if (this.frame || !this.subject) return;
    this.frame = requestAnimationFrame(() => { this.frame = 0; this.draw(); });
  }

  draw() {
    const { view, model, query } = this;
    if (!this.subject || this.isOver) return;
    this.needRows();
    const focal = { ...view, query };
    const viewOf = (one) => one.attention && one !== model && model ? { ...focal, query: queryFor(one.attention, model.attention, query) } : focal;
    this.shown = withSharedScale(this.panels.map(({ model: one }) => shownOf(one, viewOf(one), this.absence(one, query))), view.scale);
    this.panels.forEach((panel, index) => {
      const isFocal = panel.model === model;
      panel.screen.classList.toggle("aa-covering", this.hand.isCovering && isFocal);
      panel.draw(this.shown[index], viewOf(panel.model), this.photos, { query: isFocal ? query : -1, isKept: view.query !== null, pointer: this.hand.pointer, covered: this.hand.covered });
      if (panel.model.attention) panel.screen.setAttribute("aria-label", `${this.subject.title}, ${panel.model.name}. ${this.shown[index].caption} Arrow keys choose a patch.`);
      else panel.screen.setAttribute("aria-label", `${this.subject.title}, ${panel.model.name}. ${this.shown[index].caption}`);
    });
    if (model) this.drawModel(model, focal);
    this.tools.set(view, Boolean(model), this.allowed);
    this.drawDeep(focal, model);
    if (!this.table.hidden) this.fillTable();
    write(this.hint, hintWords(this));
  }

  drawModel(model, focal) {
    const { view, query } = this, attention = model.attention;
    if (this.atlasOf !== model) { this.atlas.setAttention(attention); this.atlas.leave(); this.atlasOf = model; }
    const who = queryWords(attention, query), looks = attention.has(query, view.direction) ? attention.look(query, view.direction) : null;
    const isLate = query >= 0 && attention.layers.some((_, layer) => attention.askedIn(layer, query, view.direction) === EVERY_PATCH);
    this.atlas.draw(looks, focal, attention.high, view.direction === "pays" || query < 0 ? `from ${who}${isLate ? "; in layers before it joins, from all patches together" : ""}` : `who looks at ${who}`);
    this.atlas.grid.setAttribute("aria-label", `Atlas of all layers and heads. ${headWords(view.layer, view.head, attention.layers[view.layer].heads)} is chosen. Arrow keys choose another.`);
    const key = `${view.id} ${model.key} ${view.layer} ${view.head} ${[...this.off].join()}`;
    if (this.factsOf === key && this.factsModel === model) return this.controls.set(view, model, this.withAttention, this.canReceive, this.allowed);
    this.factsOf = key;
    this.factsModel = model;
    this.facts.set(model, view.layer, view.head, this.offOf(model.key));
    this.atlas.setOff([...this.offOf(model.key)]);
    this.controls.set(view, model, this.withAttention, this.canReceive, this.allowed);
  }

  get withAttention() { return this.subject.models.filter((model) => model.attention); }

  get canReceive() { return this.model.attention.hasPatterns && !this.model.attention.words; }

  /** Why a query that is not here is not. */
  absence(model, query) { return this.asking.stateOf(`${model.key} ${query}`) ?? (this.source.rows && model !== this.model ? "aside" : "unseen"); }

  /** Ask the server for a query whose rows are not here. */
  needRows() {
    const { model, query } = this, attention = model?.attention;
    if (!attention || !this.source.rows) return;
    if (attention.has(query, "pays")) { this.asking.forget(); return; }
    const { id } = this.view;
    this.asking.want(`${model.key} ${query}`, attention, query, (signal) => this.source.rows(id, model.key, query, signal));
  }

  drawDeep(view, model) {
    const isDeep = view.dimension === "3d" && Boolean(model);
    this.stage.hidden = isDeep;
    if (isDeep) this.deep.draw(this.subject, model, view, (layer, head) => this.headName(layer, head));
    else if (this.deep.made) this.deep.close();
  }

  // Words and files.

  /** Tell a screen reader what is seen now, once the keys rest. */
  say() {
    clearTimeout(this.saying);
    this.saying = setTimeout(() => { if (this.subject && !this.isOver) write(this.live, this.summary()); }, 300);
  }

  summary() {
    return this.shown.map((shown, index) => {
      const best = shown.state === "drawn" ? shown.values.indexOf(shown.own[1]) : -1;
      return `${this.panels[index].model.name}. ${shown.caption}${best >= 0 ? ` Strongest at ${placeWords(best, shown.columns)}.` : ""}`;
    }).join(" ");
  }

  headName(layer, head) {
    const facts = head < 0 ? null : this.model.heads.find((one) => one.layer === layer && one.head === head);
    return `${headWords(layer, head, this.model.attention.layers[layer].heads)}${facts?.label ? `: ${facts.label.replaceAll("_", " ")}` : ""}`;
  }

  offOf(key) { return new Set([...this.off].filter((name) => name.startsWith(`${key} `)).map((name) => name.slice(key.length + 1))); }

  toggleHead(layer, head) {
    const name = `${this.view.model} ${layer} ${head}`, isOff = !this.off.has(name);
    if (isOff) this.off.add(name); else this.off.delete(name);
    this.options.onHead({ model: this.view.model, layer, head, isOff });
    this.schedule();
  }

  toggleNumbers() {
    this.table.hidden = !this.table.hidden;
    this.tools.numbers.setAttribute("aria-expanded", String(!this.table.hidden));
    if (this.table.hidden) this.table.replaceChildren(); else this.fillTable();
  }

  fillTable() { this.table.replaceChildren(...this.shown.map((shown, index) => makeTable(shown, this.panels[index].model.name))); }

  async copyLink() {
    const address = location.href.split("#")[0] + hashWithState(location.hash, this.options.prefix, this.state());
    try { await navigator.clipboard.writeText(address); write(this.tools.copied, "Copied"); } catch { write(this.tools.copied, "It is in the address bar"); location.hash = hashWithState(location.hash, this.options.prefix, this.state()); }
    setTimeout(() => write(this.tools.copied, "Copy link"), 2000);
  }

  /** The patch that a panel is looked from, where it shows attention. */
  markedIn(model, shown) { return model === this.model && shown.keys ? markedPlace(model.attention, shown, this.query) : -1; }

  save(kind) {
    const panels = this.panels.map((panel, index) => ({ name: panel.model.name, answer: panel.element.querySelector(".aa-answer")?.textContent ?? "", shown: this.shown[index], marked: this.markedIn(panel.model, this.shown[index]) }));
    const sheet = sheetOf({ title: this.subject.title, source: `Attention Archaeology \u00b7 image ${this.view.id}`, photos: this.photos, panels });
    const name = fileName(`${this.subject.title} ${this.shown[0]?.title ?? ""}`);
    if (kind === "svg") handOver(new Blob([sheetToSvg(sheet, this.photos, this.view)], { type: "image/svg+xml" }), `${name}.svg`);
    else sheetToCanvas(sheet, this.photos, this.view).toBlob((blob) => handOver(blob, `${name}.png`), "image/png");
  }

  destroy() {
    this.isOver = true;
    this.asking.forget();
    this.player.stop();
    cancelAnimationFrame(this.frame);
    [this.telling, this.saying].forEach(clearTimeout);
    this.stops.forEach((stop) => stop());
    this.panels.forEach((panel) => panel.destroy());
    this.deep.close();
    this.root.remove();
  }
}
