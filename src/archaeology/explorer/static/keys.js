/** What each key does while the image or the atlas has the focus. */

/** Keys and what they do, as the help shows them. @type {[string, string][]} */
export const KEYS = [
  ["\u2190 \u2191 \u2192 \u2193", "on the image: another patch; in the atlas: another head or layer"],
  ["[ and ]", "layer before, layer after"],
  [", and .", "head before, head after"],
  ["M", "mean of all heads"],
  ["R", "pays or receives"],
  ["C", "class token (or all patches)"],
  ["Enter", "keep this patch; covers it while covering is on"],
  ["Esc", "let the pointer choose again"],
  ["P", "play through the layers"],
];

/** @param {string} key @param {"image"|"atlas"} where @returns {{act: string, by?: number, key?: string}|null} */
export function actionOf(key, where) {
  if (key.startsWith("Arrow")) {
    if (where === "image") return { act: "patch", key };
    return { ArrowLeft: { act: "head", by: -1 }, ArrowRight: { act: "head", by: 1 }, ArrowUp: { act: "layer", by: -1 }, ArrowDown: { act: "layer", by: 1 } }[key] ?? null;
  }
  const plain = { "[": { act: "layer", by: -1 }, "]": { act: "layer", by: 1 }, PageUp: { act: "layer", by: -1 }, PageDown: { act: "layer", by: 1 }, ",": { act: "head", by: -1 }, ".": { act: "head", by: 1 }, m: { act: "mean" }, r: { act: "turn" }, c: { act: "readout" }, p: { act: "play" }, Escape: { act: "release" }, Enter: { act: "keep" }, " ": { act: "keep" }, Home: { act: "first" }, End: { act: "last" } };
  const name = key.length === 1 ? key.toLowerCase() : key;
  return Object.hasOwn(plain, name) ? plain[name] : null;
}
