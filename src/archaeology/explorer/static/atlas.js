/**
 * All layers and all heads at once: one small map for each, drawn again for every query.
 *
 * One canvas with one pixel for each patch (fewer where grids are large), scaled up by the style sheet. The first column
 * is the mean of a layer's heads.
 */

import { make, write } from "./dom.js";
import { paint } from "./colours.js";
import { tableOf } from "./ink.js";
import { ofHead, placeIn } from "./attention.js";
import { usableRange, rangeOf } from "./shown.js";

const LARGEST_CELL = 28;
/** A grey of little opacity, for patches that cannot be looked at: red, green, blue and opacity as one number. */
const UNSEEN = 0x40808080;

/** Sizes of the atlas in its own pixels. @param {import("./attention.js").Attention} attention */
export function atlasLayout(attention) {
  const rows = Math.min(LARGEST_CELL, attention.rows), columns = Math.min(LARGEST_CELL, attention.columns);
  const gap = Math.max(1, Math.round(columns / 14));
  const pitchX = columns + gap, pitchY = rows + gap, extra = attention.numHeads > 1 ? 2 * gap : 0;
  const lead = attention.numHeads > 1 ? 1 : 0;
  return { rows, columns, gap, pitchX, pitchY, lead, extra, width: (attention.numHeads + lead) * pitchX - gap + extra, height: attention.layers.length * pitchY - gap };
}

/** Left edge of a head's column; -1 is the mean. */
export function leftOf(layout, head) {
  return head < 0 ? 0 : (head + layout.lead) * layout.pitchX + layout.extra;
}

/** The layer and head at a point given as shares of width and height, or null. */
export function headAt(layout, attention, x, y) {
  const layer = Math.floor(y * layout.height / layout.pitchY), across = x * layout.width;
  if (layer < 0 || layer >= attention.layers.length) return null;
  if (layout.lead && across < layout.pitchX + layout.extra / 2) return { layer, head: -1 };
  const head = Math.floor((across - layout.extra) / layout.pitchX) - layout.lead;
  return head >= 0 && head < attention.layers[layer].heads ? { layer, head: attention.layers[layer].heads === 1 ? 0 : head } : null;
}

/** Draws and answers the pointer. */
export class Atlas {
  /** @param {{choose: (layer: number, head: number) => void, name: (layer: number, head: number) => string, keydown: (event: KeyboardEvent) => void}} acts */
  constructor(acts) {
    this.acts = acts;
    this.canvas = make("canvas", { className: "aa-atlas-map", "aria-hidden": "true" });
    this.chosen = make("span", { className: "aa-chosen" });
    this.pointed = make("span", { className: "aa-pointed", hidden: true });
    this.off = make("div", { className: "aa-off" });
    this.grid = make("div", {
      className: "aa-atlas-grid", tabIndex: 0, role: "application", "aria-roledescription": "atlas of heads", "aria-label": "All layers and heads",
      onkeydown: acts.keydown, onpointermove: (event) => this.point(event), onpointerleave: () => this.leave(), onclick: (event) => this.click(event),
    }, this.canvas, this.off, this.pointed, this.chosen);
    this.headNames = make("div", { className: "aa-head-names", "aria-hidden": "true" });
    this.layerNames = make("div", { className: "aa-layer-names", "aria-hidden": "true" });
    this.caption = make("p", { className: "aa-caption" });
    this.who = make("p", { className: "aa-small aa-who" });
    this.element = make("section", { className: "aa-atlas", "aria-label": "Atlas" }, make("p", { className: "aa-small-title", textContent: "Every layer and head" }), this.who,
      make("div", { className: "aa-atlas-frame" }, this.headNames, this.layerNames, this.grid), this.caption);
  }

  /** Another model: sizes, names, tables of pixels. @param {import("./attention.js").Attention} attention */
  setAttention(attention) {
    this.attention = attention;
    const layout = this.layout = atlasLayout(attention);
    this.canvas.width = layout.width;
    this.canvas.height = layout.height;
    this.pixels = new ImageData(layout.width, layout.height);
    this.words = new Uint32Array(this.pixels.data.buffer);
    this.sources = attention.layers.map((layer) => sourcePixels(layout, layer));
    this.grid.style.aspectRatio = `${layout.width} / ${layout.height}`;
    const heads = Array.from({ length: attention.numHeads }, (_, head) => head);
    const across = (head) => `${100 * (leftOf(layout, head) + layout.columns / 2) / layout.width}%`;
    const named = (list) => list.filter((_, index) => list.length <= 16 || index % 2 === 0);
    this.headNames.replaceChildren(...(layout.lead ? [nameAt("mean", "left", across(-1))] : []), ...named(heads).map((head) => nameAt(String(head + 1), "left", across(head))));
    this.layerNames.replaceChildren(...(attention.layers.length <= 24 ? attention.layers : []).map((_, layer) => nameAt(String(layer + 1), "top", `${100 * (layer * layout.pitchY + layout.rows / 2) / layout.height}%`)));
  }

  /** Draw every head for the query. @param {import("./attention.js").Look[]|null} looks @param {object} view @param {number} high */
  draw(looks, view, high, who) {
    const { layout, words } = this, table = tableOf(view.colours, false);
    words.fill(0);
    this.attention.layers.forEach((layer, index) => this.blank(layer, index));
    looks?.forEach((look, layer) => {
      const patches = look.rows * look.columns, source = this.sources[layer], top = layer * layout.pitchY;
      const shared = high / look.keys;
      if (view.scale === "shared") {
        const painted = wordsOf(paint(look.values, 0, shared, table, this.roomFor(look.values.length)));
        for (let head = 0; head < look.heads; head++) this.place(painted, head * patches, source, top, leftOf(layout, head));
      } else {
        for (let head = 0; head < look.heads; head++) this.placeOwn(look.values.subarray(head * patches, (head + 1) * patches), source, top, leftOf(layout, head), table);
      }
      if (!layout.lead) return;
      const mean = ofHead(look, -1).values;
      if (view.scale === "shared") this.place(wordsOf(paint(mean, 0, shared, table, this.roomFor(patches))), 0, source, top, 0);
      else this.placeOwn(mean, source, top, 0, table);
    });
    this.canvas.getContext("2d").putImageData(this.pixels, 0, 0);
    this.mark(this.chosen, view.layer, view.head);
    write(this.who, who);
  }

  /** The quiet ground of a layer's cells. */
  blank(layer, index) {
    const { layout } = this;
    for (let head = layout.lead ? -1 : 0; head < layer.heads; head++) {
      for (let row = 0; row < layout.rows; row++) this.words.fill(UNSEEN, (index * layout.pitchY + row) * layout.width + leftOf(layout, head), (index * layout.pitchY + row) * layout.width + leftOf(layout, head) + layout.columns);
    }
  }

  /** Bytes to paint into, kept from one draw to the next. */
  roomFor(count) {
    if (!this.room || this.room.length < 4 * count) this.room = new Uint8ClampedArray(4 * count);
    return this.room.subarray(0, 4 * count);
  }

  placeOwn(values, source, top, left, table) {
    const [low, high] = usableRange(rangeOf(values) ?? [0, 1], false);
    this.place(wordsOf(paint(values, low, high, table, this.roomFor(values.length))), 0, source, top, left);
  }

  /** Copy painted patches into a cell. */
  place(painted, first, source, top, left) {
    const { rows, columns, width } = this.layout;
    for (let row = 0, from = 0; row < rows; row++) {
      const start = (top + row) * width + left;
      for (let column = 0; column < columns; column++, from++) this.words[start + column] = painted[first + source[from]] || UNSEEN;
    }
  }

  /** Lay a frame round a cell. */
  mark(element, layer, head) {
    const { layout } = this, share = (length, whole) => `${100 * length / whole}%`;
    element.style.left = share(leftOf(layout, layout.lead ? head : 0), layout.width);
    element.style.top = share(layer * layout.pitchY, layout.height);
    element.style.width = share(layout.columns, layout.width);
    element.style.height = share(layout.rows, layout.height);
  }

  /** Crosses on heads that are switched off. @param {string[]} names "layer head" */
  setOff(names) {
    this.off.replaceChildren(...names.map((name) => {
      const cross = make("span");
      this.mark(cross, ...name.split(" ").map(Number));
      return cross;
    }));
  }

  /** The head under an event. */
  at(event) {
    const box = this.grid.getBoundingClientRect();
    return headAt(this.layout, this.attention, (event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
  }

  point(event) {
    const found = this.at(event);
    this.pointed.hidden = !found;
    if (!found) return;
    this.mark(this.pointed, found.layer, found.head);
    write(this.caption, this.acts.name(found.layer, found.head));
  }

  leave() {
    this.pointed.hidden = true;
    write(this.caption, "Rows are layers, columns are heads. Click a map to see it large.");
  }

  click(event) {
    const found = this.at(event);
    if (found) this.acts.choose(found.layer, found.head);
  }
}

/** For each pixel of a cell the patch it shows. @returns {Int32Array} */
function sourcePixels(layout, layer) {
  return Int32Array.from({ length: layout.rows * layout.columns }, (_, pixel) => placeIn(pixel, layout, layer));
}

/** Four bytes as one number. @param {Uint8ClampedArray} bytes */
function wordsOf(bytes) {
  return new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
}

/** @returns {HTMLElement} */
function nameAt(text, side, where) {
  const name = make("span", { textContent: text });
  name.style[side] = where;
  return name;
}
