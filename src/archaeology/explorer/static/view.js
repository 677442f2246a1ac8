/** The view: which image, model, layer, head and query are seen, and how. Always one that the subject really has. */

import { placeIn } from "./attention.js";

/** @returns {import("./state.js").ViewState} */
export function startView() {
  return { id: "", model: undefined, layer: undefined, head: -1, query: null, direction: "pays", modes: {}, colours: "viridis", scale: "shared", mix: 50, dimension: "2d" };
}

/** The view as near to the wish as the subject allows. @param {object} view @param {object} subject @param {string[]} colours Names of maps. */
export function clampedView(view, subject, colours) {
  const withAttention = subject.models.filter((model) => model.attention);
  const model = withAttention.find((one) => one.key === view.model) ?? withAttention[0] ?? null;
  const modes = Object.fromEntries(subject.models.map((one) => [one.key, modeOf(one, view.modes[one.key])]));
  const clamped = { ...view, modes, model: model?.key, colours: colours.includes(view.colours) ? view.colours : colours[0], mix: Math.min(100, Math.max(0, view.mix)) };
  if (!model) return { ...clamped, model: subject.models[0]?.key, layer: undefined, head: undefined, query: null };
  const { attention } = model, last = attention.layers.length - 1;
  clamped.layer = Math.min(Math.max(view.layer ?? last, 0), last);
  clamped.head = Math.min(Math.max(view.head ?? -1, -1), attention.numHeads - 1);
  clamped.query = view.query === null || view.query === undefined || view.query >= attention.numQueries || view.query < -1 ? null : view.query;
  if (!attention.hasPatterns || attention.words) clamped.direction = "pays";
  return clamped;
}

/** The wished mode where the model has it; else attention; else its first map that shows something. */
function modeOf(model, wished) {
  if (wished === "raw" && model.attention) return "raw";
  if (model.maps.some((map) => map.method === wished)) return wished;
  return model.attention ? "raw" : (model.maps.find((map) => map.state === "drawn") ?? model.maps[0])?.method ?? "none";
}

/** The same query in another model: the same place, or what that model reads its answer from. */
export function queryFor(attention, from, query) {
  if (query === -1 && from.kind === attention.kind) return -1;
  if (attention.words || from.words || query < from.prefix.length) return attention.readoutQuery;
  return attention.prefix.length + placeIn(query - from.prefix.length, from, attention);
}

/** The head beside a head; the mean comes before the first. @param {number} heads @param {number} head @param {number} by */
export function neighbourHead(heads, head, by) {
  return Math.min(Math.max(Math.min(head, heads - 1) + by, -1), heads - 1);
}

/** Touching a layer or a head means attention, so a heat map gives way to it. @param {object} view @param {object} part What changes. */
export function rawAgain(view, part) {
  const isAbout = "layer" in part || "head" in part;
  return isAbout && view.modes[view.model] !== undefined && view.modes[view.model] !== "raw" ? { modes: { ...view.modes, [view.model]: "raw" } } : {};
}
