/** The same heads in three dimensions: what the 3D view is told about the present view. */

import { ColourBar } from "./colourbar.js";
import { MAPS } from "./colours.js";
import { SHARE, rangeOf, usableRange } from "./shown.js";
import { mount3d } from "./view3d.js";
import { ofHead } from "./attention.js";

/** Tiles of every head for one query, on the scale of the flat view. @param {object} model @param {object} view @param {(layer: number, head: number) => string} name */
export function tilesOf(model, view, name) {
  const attention = model.attention;
  if (!attention.has(view.query, view.direction)) return [];
  return attention.look(view.query, view.direction).flatMap((look, layer) => Array.from({ length: look.heads }, (_, head) => {
    const { values } = ofHead(look, head);
    const [low, high] = view.scale === "shared" ? [0, attention.high / look.keys] : usableRange(rangeOf(values) ?? [0, 1], false);
    return { layer, head, rows: look.rows, columns: look.columns, values, low, high, title: name(layer, head) };
  }));
}

/** The 3D view's life: made when it is first wanted, gone when the flat one is. */
export class Deep {
  /** @param {HTMLElement} element @param {(choice: object) => void} select */
  constructor(element, select) {
    this.element = element;
    this.select = select;
    this.made = null;
  }

  /** @param {object} subject @param {object} model @param {object} view With the query that is seen. @param {(layer: number, head: number) => string} name */
  draw(subject, model, view, name) {
    if (this.made?.subject !== subject) {
      this.close();
      this.element.hidden = false;
      this.made = { subject, view: mount3d(this.element, subject, { select: this.select }), bar: new ColourBar() };
      this.element.append(this.made.bar.element);
    }
    this.drawBar(model, view);
    const { rows, columns, prefix, words } = model.attention, place = view.query - prefix.length;
    const query = words || place < 0 || view.query < 0 ? null : { row: Math.floor(place / columns), column: place % columns, rows, columns };
    this.made.view.draw({ tiles: tilesOf(model, view, name), map: MAPS[view.colours], selected: { layer: view.layer, head: view.head < 0 ? null : view.head }, query });
  }

  /** What the colours mean; where each tile has a scale of its own only the ends can be named. */
  drawBar(model, view) {
    const isShared = view.scale === "shared", high = isShared ? model.attention.high : 1;
    this.made.bar.set({ state: "drawn", low: 0, high, own: [0, isShared ? high * 1.01 : 1], unit: isShared ? SHARE : "of each map\u2019s largest value", isSigned: false, hasShared: isShared }, { ...view, mix: 100 });
  }

  close() {
    this.made?.view.destroy();
    this.made = null;
    this.element.replaceChildren();
    this.element.hidden = true;
  }
}
