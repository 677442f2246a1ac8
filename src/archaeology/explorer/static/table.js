/** The current map as a table of numbers: for screen readers, and for whoever wants to copy them. Made only when asked. */

import { make } from "./dom.js";
import { numberWords } from "./words.js";

/** The rows of a map as texts; patches that cannot be looked at stay empty. @param {import("./shown.js").Shown} shown @returns {string[][]} */
export function tableRows(shown) {
  return Array.from({ length: shown.rows }, (_, row) => Array.from({ length: shown.columns }, (_, column) => {
    const value = shown.values[row * shown.columns + column];
    return Number.isNaN(value) ? "" : numberWords(value);
  }));
}

/** @param {import("./shown.js").Shown} shown @param {string} name @returns {HTMLElement} */
export function makeTable(shown, name) {
  if (shown.state !== "drawn") return make("p", { textContent: `${name}: ${shown.caption}` });
  const head = make("tr", {}, make("td"), ...Array.from({ length: shown.columns }, (_, column) => make("th", { scope: "col", textContent: String(column + 1) })));
  const body = tableRows(shown).map((texts, row) => make("tr", {}, make("th", { scope: "row", textContent: String(row + 1) }), ...texts.map((text) => make("td", { textContent: text }))));
  return make("div", { className: "aa-scroll", tabIndex: 0, role: "region", "aria-label": `Numbers of ${name}` },
    make("table", {}, make("caption", { textContent: `${name}. ${shown.caption}${shown.unit ? ` In ${shown.unit}.` : ""} Rows and columns of patches.` }), make("thead", {}, head), make("tbody", {}, ...body)));
}
