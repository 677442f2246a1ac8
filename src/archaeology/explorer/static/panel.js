/** One model's panel: its answer, what is shown, the image with the map over it, the colour bar, a line of reading. */

import { capitalised, answerWords, numberWords, percentWords, prefixName } from "./words.js";
import { cellBox, drawCovered, drawGrid, drawPanel, frame } from "./ink.js";
import { ColourBar } from "./colourbar.js";
import { SHARE, patchAt } from "./shown.js";
import { make, makeSelect, write } from "./dom.js";
import { placeIn } from "./attention.js";

/** A panel asks nothing of others: it draws what it is given and tells what the pointer does. */
export class Panel {
  /**
   * @param {object} model @param {object} image
   * @param {{point: Function, leave: Function, click: Function, keydown: Function, mode: Function, query: Function}} acts
   */
  constructor(model, image, acts) {
    this.model = model;
    this.acts = acts;
    this.canvas = make("canvas", { "aria-hidden": "true" });
    this.message = make("p", { className: "aa-message", hidden: true });
    this.screen = make("div", {
      className: "aa-screen", onpointermove: (event) => this.tell(acts.point, event), onpointerleave: () => acts.leave(),
      onpointerdown: (event) => this.tell(acts.press, event), onclick: (event) => this.tell(acts.click, event),
    }, this.canvas, this.message);
    if (model.attention) {
      Object.entries({ role: "application", tabindex: "0", "aria-roledescription": "image in patches" }).forEach(([name, value]) => this.screen.setAttribute(name, value));
      this.screen.addEventListener("keydown", acts.keydown);
    } else this.screen.setAttribute("role", "img");
    this.screen.style.aspectRatio = `${image.width} / ${image.height}`;
    this.screen.style.setProperty("--aspect", image.width / image.height);
    this.bar = new ColourBar();
    this.caption = make("figcaption", { className: "aa-caption" });
    this.formula = make("span", { className: "aa-formula" });
    this.mode = makeSelect("Show", (value) => acts.mode(model.key, value));
    this.mode.fill(modesOf(model));
    this.tokens = make("div", { className: model.attention?.words ? "aa-tokens aa-words" : "aa-tokens", role: "group", "aria-label": model.attention?.words ? "Words" : "Tokens without a place" });
    this.makeTokens();
    this.element = make("figure", { className: "aa-panel", "data-kind": model.kind, "data-model": model.key },
      make("header", {}, make("p", { className: "aa-model" }, make("b", { textContent: model.name }), this.makeAnswer()), this.mode.element),
      this.tokens, this.screen, this.bar.element, this.caption, this.formula);
    this.resized = new ResizeObserver(() => this.fit());
    this.resized.observe(this.screen);
    this.places = new Set();
  }

  makeAnswer() {
    const answer = this.model.answer;
    if (!answer) return null;
    const right = answer.is_right === true ? "right" : answer.is_right === false ? "wrong" : "";
    return make("span", { className: "aa-answer" }, `says ${answerWords(this.model)}`, right ? make("span", { className: `aa-${right}`, textContent: right === "right" ? " \u2713 right" : " \u2717 wrong" }) : null);
  }

  makeTokens() {
    const attention = this.model.attention;
    if (!attention) return;
    const named = attention.words ?? attention.prefix.map((_, index) => capitalised(prefixName(attention.prefix, index)));
    const queries = named.map((name, index) => [index, name]);
    if (!attention.words && (attention.hasPatterns || attention.readoutQuery < 0)) queries.push([-1, "All patches"]);
    this.buttons = queries.map(([query, name]) => make("button", { type: "button", value: query, onclick: () => this.acts.query(query), onpointerenter: (event) => { if (event.pointerType !== "touch") this.acts.peek(query); }, onpointerleave: () => this.acts.leave() },
      name, ...(query >= 0 && !attention.words ? [make("i", { "aria-hidden": "true" })] : [])));
    this.tokens.replaceChildren(make("span", { className: "aa-small", textContent: attention.words ? "A word looks:" : "From:" }), ...this.buttons);
  }

  /** Backing pixels follow the size on the page. */
  fit() {
    const width = this.screen.clientWidth, height = this.screen.clientHeight, dots = Math.min(3, devicePixelRatio || 1);
    if (!width || (this.canvas.width === Math.round(width * dots) && this.canvas.height === Math.round(height * dots))) return;
    this.canvas.width = Math.round(width * dots);
    this.canvas.height = Math.round(height * dots);
    this.dots = dots;
    if (this.last) this.draw(...this.last);
  }

  /**
   * @param {import("./shown.js").Shown} shown @param {object} view @param {object} photos
   * @param {{query: number, isKept: boolean, pointer: {x: number, y: number}|null, covered: Set<number>}} marks
   */
  draw(shown, view, photos, marks) {
    this.last = [shown, view, photos, marks];
    this.shown = shown;
    const attention = this.model.attention, isRaw = view.modes[this.model.key] === "raw" && attention;
    this.drawCanvas(shown, view, photos, marks, isRaw);
    this.message.hidden = shown.state === "drawn";
    write(this.message, shown.state === "drawn" ? "" : shown.message);
    this.bar.set(shown, view);
    this.point(marks.pointer);
    this.mode.select.value = view.modes[this.model.key];
    write(this.caption, shown.state === "drawn" ? shown.caption : shown.title);
    const map = isRaw ? null : this.model.maps.find((one) => one.method === view.modes[this.model.key]);
    write(this.formula, map?.formula ?? "");
    this.formula.hidden = !map?.formula;
    if (attention) this.drawTokens(shown, view, isRaw);
  }

  drawCanvas(shown, view, photos, marks, isRaw) {
    if (!this.canvas.width || !this.dots) return;
    const context = this.canvas.getContext("2d"), attention = this.model.attention;
    const box = { x: 0, y: 0, width: this.canvas.width / this.dots, height: this.canvas.height / this.dots };
    context.setTransform(this.dots, 0, 0, this.dots, 0, 0);
    drawPanel(context, box, photos, shown, view);
    const grid = isRaw ? gridOf(attention, view) : shown;
    if (grid.rows) drawGrid(context, box, grid);
    if (attention) drawCovered(context, box, attention, marks.covered);
    const place = attention && isRaw ? markedPlace(attention, grid, marks.query) : -1;
    if (place >= 0) frame(context, cellBox(box, grid, place), marks.isKept);
    if (marks.pointer && grid.rows) {
      const under = patchAt(marks.pointer.x, marks.pointer.y, grid.rows, grid.columns);
      if (under >= 0 && under !== place) frame(context, cellBox(box, grid, under), false);
    }
  }

  drawTokens(shown, view, isRaw) {
    this.tokens.hidden = !isRaw;
    this.buttons.forEach((button) => {
      const query = Number(button.value), share = shown.rest?.[query];
      button.setAttribute("aria-pressed", String(query === view.query));
      const level = button.querySelector("i");
      if (!level) return;
      level.hidden = share === undefined;
      write(level, share === undefined ? "" : percentWords(share));
      button.title = share === undefined ? "" : `Has ${percentWords(share)} of this attention; click to look from here`;
      button.style.setProperty("--share", share === undefined ? 0 : Math.min(1, share));
    });
  }

  /** The value under the pointer. @param {{x: number, y: number}|null} pointer */
  point(pointer) {
    const { shown } = this;
    if (!shown) return;
    const place = pointer && shown.state === "drawn" ? patchAt(pointer.x, pointer.y, shown.rows, shown.columns) : -1;
    const value = place >= 0 ? shown.values[place] : NaN;
    this.bar.point(shown, value, place < 0 ? "" : Number.isNaN(value) ? "here: outside of the window" : `here ${valueWords(shown, value)}`);
  }

  /** @param {Function} act @param {PointerEvent} event */
  tell(act, event) {
    const box = this.screen.getBoundingClientRect();
    act(this.model, { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height }, event);
  }

  destroy() { this.resized.disconnect(); }
}

/** The patches that a panel of attention is divided into. */
export function gridOf(attention, view) {
  return attention.layers[Math.min(view.layer, attention.layers.length - 1)];
}

/** Where a query lies in a layer's grid; -1 where it has no place. @param {object} attention @param {object} grid @param {number} query @returns {number} */
export function markedPlace(attention, grid, query) {
  const place = query - attention.prefix.length;
  return attention.words || query < 0 || place < 0 ? -1 : placeIn(place, attention, grid);
}

/** A value with its unit; attention also as a share. @param {import("./shown.js").Shown} shown @param {number} value */
export function valueWords(shown, value) {
  return shown.unit === SHARE && shown.keys ? `${numberWords(value)} \u00d7 (${percentWords(value / shown.keys)})` : `${numberWords(value)}${shown.unit.startsWith("\u00d7") ? " \u00d7" : ""}`;
}

/** What a model can show. @returns {[string, string][]} */
export function modesOf(model) {
  const attention = model.attention ? [["raw", model.attention.kind === "cross" ? "Cross-attention" : "Attention"]] : [];
  return [...attention, ...model.maps.map((map) => [map.method, `${map.title}${{ empty: " (no evidence)", missing: " (not computed)" }[map.state] ?? ""}`])];
}
