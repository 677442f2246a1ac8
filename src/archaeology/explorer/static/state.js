/** The full state of the view as a short text for a link: `s:12,m:vit,l:6,h:3,q:77,d:pays,mode:raw,c:viridis,scale:shared,v:2d`. */

const ORDER = ["s", "m", "l", "h", "q", "d", "mode", "with", "c", "scale", "mix", "v"];

/**
 * @typedef {object} ViewState
 * @property {string} [id] @property {string} [model] @property {number} [layer] From 0. @property {number} [head] From 0; -1: the mean.
 * @property {number|null} [query] Null where none is kept. @property {"pays"|"receives"} [direction]
 * @property {Record<string, string>} [modes] For each model "raw" or a method. @property {string} [colours]
 * @property {"shared"|"own"} [scale] @property {number} [mix] From 0 (photo) to 100 (map). @property {"2d"|"3d"} [dimension]
 */

const escaped = (text) => encodeURIComponent(text).replaceAll("%2F", "/").replaceAll("%20", "+");
const unescaped = (text) => { try { return decodeURIComponent(text.replaceAll("+", " ")); } catch { return text; } };

/** @param {ViewState} state @returns {string} */
export function encodeState(state) {
  const others = Object.entries(state.modes ?? {}).filter(([key]) => key !== state.model);
  const short = {
    s: state.id, m: state.model,
    l: state.layer === undefined ? undefined : state.layer + 1,
    h: state.head === undefined ? undefined : state.head < 0 ? "mean" : state.head + 1,
    q: state.query === undefined || state.query === null ? undefined : state.query < 0 ? "all" : state.query,
    d: state.direction, mode: state.modes?.[state.model],
    with: others.length ? others.map(([key, mode]) => `${escaped(key)};${escaped(mode)}`).join(";") : undefined,
    c: state.colours, scale: state.scale, mix: state.mix, v: state.dimension,
  };
  return ORDER.filter((key) => short[key] !== undefined)
    .map((key) => `${key}:${key === "with" ? short.with : escaped(String(short[key]))}`).join(",");
}

/** What a link says; keys that are unknown or make no sense are left out. @param {string} text @returns {ViewState} */
export function decodeState(text) {
  const found = {};
  for (const part of text.split(",")) {
    const colon = part.indexOf(":");
    if (colon > 0 && ORDER.includes(part.slice(0, colon))) found[part.slice(0, colon)] = part.slice(colon + 1);
  }
  const whole = (value, least) => /^\d+$/.test(value ?? "") && Number(value) >= least ? Number(value) : undefined;
  const one = (value, ...allowed) => allowed.includes(value) ? value : undefined;
  const state = {
    id: found.s && unescaped(found.s), model: found.m && unescaped(found.m),
    layer: whole(found.l, 1) && whole(found.l, 1) - 1,
    head: found.h === "mean" ? -1 : whole(found.h, 1) && whole(found.h, 1) - 1,
    query: found.q === "all" ? -1 : whole(found.q, 0),
    direction: one(found.d, "pays", "receives"), colours: found.c && unescaped(found.c),
    scale: one(found.scale, "shared", "own"), mix: whole(found.mix, 0), dimension: one(found.v, "2d", "3d"),
  };
  const modes = {};
  if (state.model && found.mode) modes[state.model] = unescaped(found.mode);
  const others = (found.with ?? "").split(";").map(unescaped);
  for (let i = 0; i + 1 < others.length; i += 2) modes[others[i]] = others[i + 1];
  if (Object.keys(modes).length) state.modes = modes;
  return Object.fromEntries(Object.entries(state).filter(([, value]) => value !== undefined));
}

/** The part of an address's hash that belongs to one explorer. @param {string} hash @param {string} prefix @returns {string|null} */
export function stateInHash(hash, prefix) {
  const part = hash.replace(/^#/, "").split("&").find((piece) => piece.startsWith(`${prefix}=`));
  return part === undefined ? null : part.slice(prefix.length + 1);
}

/** The hash with one explorer's part replaced; parts of others stay, a plain anchor goes. @returns {string} */
export function hashWithState(hash, prefix, state) {
  const others = hash.replace(/^#/, "").split("&").filter((piece) => piece.includes("=") && !piece.startsWith(`${prefix}=`));
  return `#${[`${prefix}=${state}`, ...others].join("&")}`;
}
