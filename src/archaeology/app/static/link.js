/** The whole state of the page in the address, in a fixed order, so that a link brings back what was seen. */

const ORDER = ["image", "vit", "cnn", "methods", "tab", "attack", "on", "norm", "budget", "steps", "seed", "off", "by", "hide", "fill", "x"];

/** @param {Record<string, string|undefined>} state @returns {string} without the "#" */
export function written(state) {
  const readable = (text) => encodeURIComponent(text).replace(/%(2F|3A|2C|40)/g, (code) => decodeURIComponent(code));
  return ORDER.filter((key) => state[key]).map((key) => `${key}=${readable(state[key])}`).join("&");
}

/** Unknown keys and broken codes are ignored. @param {string} hash @returns {Record<string, string>} */
export function read(hash) {
  /** @type {Record<string, string>} */
  const state = {};
  for (const part of hash.replace(/^#/, "").split("&")) {
    const at = part.indexOf("=");
    const key = part.slice(0, Math.max(at, 0));
    if (!ORDER.includes(key)) continue;
    try { state[key] = decodeURIComponent(part.slice(at + 1)); } catch { continue; }
  }
  return state;
}

/** Heads as "3.2,3.4": layer and head, counted from one. @param {[number, number][]} heads @returns {string} */
export function headsWritten(heads) {
  return [...heads].sort((a, b) => a[0] - b[0] || a[1] - b[1]).map(([layer, head]) => `${layer + 1}.${head + 1}`).join(",");
}

/** @param {string|undefined} text @returns {[number, number][]} */
export function headsRead(text) {
  return (text ?? "").split(",").map((part) => /^(\d{1,3})\.(\d{1,3})$/.exec(part)).filter(Boolean)
    .map((found) => /** @type {[number, number]} */ ([Number(found[1]) - 1, Number(found[2]) - 1]))
    .filter(([layer, head]) => layer >= 0 && head >= 0);
}

/** @param {string|undefined} text @returns {number[]} */
export function placesRead(text) {
  return [...new Set((text ?? "").split(",").filter((part) => /^\d{1,6}$/.test(part)).map(Number))].sort((a, b) => a - b);
}
