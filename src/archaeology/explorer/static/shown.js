/** What one panel shows: the numbers of a map, their unit, and the range that the colours cover. Pure functions of the view. */

import { ofHead } from "./attention.js";
import { headWords, queryWords, stateWords, unitWords } from "./words.js";

/** The unit of attention. */
export const SHARE = "\u00d7 an even share";

/**
 * @typedef {object} Shown
 * @property {Float32Array} values One number for each patch; NaN is never drawn. @property {number} rows @property {number} columns
 * @property {number} low Where the colours begin. @property {number} high Where they end. @property {string} unit
 * @property {boolean} isSigned @property {boolean} isPart Whether patches without a number lie outside of a window.
 * @property {Float32Array|null} rest Shares of prefix tokens. @property {number} keys
 * @property {"drawn"|"empty"|"missing"|"waiting"|"failed"|"unseen"|"aside"|"out"} state @property {string} title @property {string} caption @property {string} [message] Why nothing is drawn.
 * @property {boolean} hasShared Whether a range over more than this map is known. @property {[number, number]} own Its own range.
 */

/** Smallest and largest of the finite numbers, or null. @param {ArrayLike<number>} values @returns {[number, number]|null} */
export function rangeOf(values) {
  let low = Infinity, high = -Infinity;
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if (value < low && value !== -Infinity) low = value;
    if (value > high && value !== Infinity) high = value;
  }
  return low <= high ? [low, high] : null;
}

/** A range that can be divided by; signed ones have zero in the middle. @param {[number, number]} range @param {boolean} isSigned @returns {[number, number]} */
export function usableRange(range, isSigned) {
  if (isSigned) { const end = Math.max(Math.abs(range[0]), Math.abs(range[1])) || 1; return [-end, end]; }
  return range[1] > range[0] ? range : [Math.min(0, range[0]), Math.max(range[1], Math.min(0, range[0]) + 1e-9)];
}

/** One model's panel. @param {object} model @param {object} view @param {"waiting"|"failed"|"unseen"|"aside"} absence What to say where the query is not here. @returns {Shown} */
export function shownOf(model, view, absence) {
  const mode = view.modes[model.key];
  if (mode === "raw" && model.attention) return shownAttention(model, view, absence);
  const map = model.maps.find((one) => one.method === mode);
  return map ? shownMap(model, map, view) : nothing("missing", model.name);
}

/** @returns {Shown} */
function shownAttention(model, view, absence) {
  const attention = model.attention, { query, direction } = view;
  const layer = Math.min(view.layer, attention.layers.length - 1), heads = attention.layers[layer].heads;
  const asked = attention.askedIn(layer, query, direction) ?? query, who = queryWords(attention, asked);
  const late = asked !== query ? ` (${queryWords(attention, query)} joins in a later layer)` : "";
  const about = direction === "pays" || asked < 0 ? `where ${who} ${asked < 0 ? "look" : "looks"}${late}` : `who looks at ${who}`;
  const title = headWords(layer, Math.min(view.head, heads - 1), heads);
  if (!attention.has(query, direction)) return { ...nothing(absence, title), caption: `${title}: ${about}. ${stateWords(absence)}` };
  const look = attention.look(query, direction)[layer];
  const { values: shares, rest } = ofHead(look, Math.min(view.head, heads - 1));
  const values = shares.map((share) => share * look.keys), own = rangeOf(values);
  if (!own) return { ...nothing("out", title), caption: `${title}: ${stateWords("out")}` };
  const [low, high] = view.scale === "shared" ? [0, attention.high] : usableRange(own, false);
  return {
    values, rows: look.rows, columns: look.columns, low, high, unit: SHARE, isSigned: false, isPart: look.isPart, rest, keys: look.keys,
    state: "drawn", title, caption: `${title}: ${about}.${look.isPart ? " Hatched patches lie outside of its window." : ""}`, hasShared: true, own,
  };
}

/** @returns {Shown} */
function shownMap(model, map, view) {
  const own = map.values ? rangeOf(map.values) : null, state = map.state === "drawn" && !own ? "empty" : map.state;
  if (state !== "drawn") {
    const message = `${stateWords(state)}${state === "missing" && map.says ? ` ${map.says}` : ""}`;
    return { ...nothing(state, map.title), caption: `${map.title}. ${message}`, message };
  }
  const [low, high] = usableRange(view.scale === "shared" && map.shared ? map.shared : own, map.is_signed);
  return {
    values: map.values, rows: map.rows, columns: map.columns, low, high, unit: unitWords(map.unit), isSigned: map.is_signed, isPart: false,
    rest: null, keys: 0, state, title: map.title, caption: `${map.title}: ${map.says.replace(/\.?$/, ".")}`, hasShared: Boolean(map.shared), own,
  };
}

/** @returns {Shown} */
function nothing(state, title) {
  return {
    values: new Float32Array(0), rows: 0, columns: 0, low: 0, high: 1, unit: "", isSigned: false, isPart: false, rest: null, keys: 0,
    state, title, caption: `${title}. ${stateWords(state)}`, message: stateWords(state), hasShared: false, own: [0, 1],
  };
}

/** Panels in the same unit get one range where the scale is shared. @param {Shown[]} panels @param {string} scale @returns {Shown[]} */
export function withSharedScale(panels, scale) {
  if (scale !== "shared") return panels;
  return panels.map((panel) => {
    const alike = panels.filter((other) => other.state === "drawn" && other.unit && other.unit === panel.unit && other.isSigned === panel.isSigned);
    if (panel.state !== "drawn" || alike.length < 2) return panel;
    return { ...panel, low: Math.min(...alike.map((one) => one.low)), high: Math.max(...alike.map((one) => one.high)) };
  });
}

/** The patch under a point, both as shares of width and height; -1 outside. */
export function patchAt(x, y, rows, columns) {
  if (!(x >= 0 && x < 1 && y >= 0 && y < 1)) return -1;
  return Math.floor(y * rows) * columns + Math.floor(x * columns);
}

/** The query that arrow keys reach. @param {object} attention @param {number} query @param {string} key @returns {number} */
export function neighbour(attention, query, key) {
  const { rows, columns } = attention;
  if (attention.words) return Math.min(Math.max(query + ({ ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[key] ?? 0), 0), attention.words.length - 1);
  const prefix = attention.prefix.length, first = prefix ? prefix - 1 : -1;
  if (query < prefix) {
    if (key === "ArrowRight") return query < 0 ? prefix : query + 1;
    if (key === "ArrowLeft") return Math.max(query - 1, prefix ? 0 : -1);
    return key === "ArrowDown" ? prefix : query;
  }
  const place = query - prefix, row = Math.floor(place / columns), column = place % columns;
  if (key === "ArrowUp" && row === 0) return first;
  const [down, right] = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[key] ?? [0, 0];
  return prefix + Math.min(Math.max(row + down, 0), rows - 1) * columns + Math.min(Math.max(column + right, 0), columns - 1);
}
