/** A colour bar: what the colours mean, in numbers with a unit, and where the patch under the pointer stands. */

import { make, write } from "./dom.js";
import { barColours, canvasOf } from "./ink.js";
import { SHARE } from "./shown.js";
import { numberWords } from "./words.js";

/** The numbers under a bar: both ends and the middle (zero where values are signed), with what lies beyond. */
export function barTicks(shown) {
  const { low, high, own } = shown;
  const beyond = own[1] > high * (1 + 1e-6) && !shown.isSigned, below = own[0] < low - 1e-9 && !shown.isSigned;
  return [[low, (below ? "\u2264 " : "") + numberWords(low)], [(low + high) / 2, numberWords(Math.abs(low + high) < 1e-12 ? 0 : (low + high) / 2)], [high, (beyond ? "\u2265 " : "") + numberWords(high)]];
}

/** A bar that can be set again and again. */
export class ColourBar {
  constructor() {
    this.ramp = make("canvas", { className: "aa-ramp", width: 256, height: 1, "aria-hidden": "true" });
    this.mark = make("span", { className: "aa-mark", hidden: true });
    this.ticks = make("span", { className: "aa-ticks" }, make("span"), make("span"), make("span"));
    this.unit = make("span", { className: "aa-unit" });
    this.here = make("span", { className: "aa-here" });
    this.element = make("div", { className: "aa-bar" },
      make("div", { className: "aa-rail" }, this.ramp, this.mark), this.ticks, make("div", { className: "aa-bar-words" }, this.unit, this.here));
    this.drawn = "";
  }

  /** @param {import("./shown.js").Shown} shown @param {object} view */
  set(shown, view) {
    this.element.hidden = shown.state !== "drawn";
    if (this.element.hidden) return;
    const key = [shown.low, shown.high, shown.own[1] > shown.high, shown.own[0] < shown.low, shown.unit, shown.isSigned, view.colours, view.mix, view.scale].join(" ");
    if (key === this.drawn) return;
    this.drawn = key;
    this.ramp.getContext("2d").putImageData(new ImageData(barColours(shown, view.colours, view.mix), 256, 1), 0, 0);
    barTicks(shown).forEach(([, text], index) => write(this.ticks.children[index], text));
    const unit = shown.unit === SHARE ? `${SHARE} (1: as if all counted alike)` : shown.unit || "in the method\u2019s own unit";
    write(this.unit, `${unit}${view.scale === "shared" && shown.hasShared ? "" : "; scale of this map alone"}`);
  }

  /** Where a value stands; nothing for NaN. @param {import("./shown.js").Shown} shown @param {number} value @param {string} words */
  point(shown, value, words) {
    const isHere = shown.state === "drawn" && Number.isFinite(value);
    this.mark.hidden = !isHere;
    if (isHere) this.mark.style.left = `${100 * Math.min(1, Math.max(0, (value - shown.low) / (shown.high - shown.low)))}%`;
    write(this.here, words);
  }
}

/** The bar as a picture for files. @returns {HTMLCanvasElement} */
export function barPicture(shown, view) {
  return canvasOf(new ImageData(barColours(shown, view.colours, view.mix), 256, 1));
}
