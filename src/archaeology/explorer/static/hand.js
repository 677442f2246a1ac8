/** What pointer and keys mean: which patch is looked from, which patches are covered, and playing through the layers. */

import { actionOf } from "./keys.js";
import { gridOf } from "./panel.js";
import { neighbour, patchAt } from "./shown.js";
import { neighbourHead, rawAgain } from "./view.js";
import { queryWords } from "./words.js";

/** The token under a point: in a coarse layer the patch of the finest grid in the middle. @returns {number|null} */
export function tokenAt(attention, view, at) {
  const grid = gridOf(attention, view), place = patchAt(at.x, at.y, grid.rows, grid.columns);
  if (place < 0) return null;
  const x = (place % grid.columns + 0.5) / grid.columns, y = (Math.floor(place / grid.columns) + 0.5) / grid.rows;
  return attention.prefix.length + patchAt(x, y, attention.rows, attention.columns);
}

/** Pointer and keys of one explorer. */
export class Hand {
  constructor(explorer) {
    Object.assign(this, { explorer, peeked: null, pointer: null, covered: new Set(), isCovering: false, isUncovering: false });
  }

  rest() { this.peeked = this.pointer = null; }

  /** Whether the panel of a model is one where patches are chosen. */
  choosesIn(model) {
    const { explorer } = this;
    return model === explorer.model && explorer.canChoose && !model.attention.words && explorer.view.modes[model.key] === "raw";
  }

  point(model, at, event) {
    if (event.pointerType === "touch" && !this.isCovering) return;
    const { explorer } = this;
    this.pointer = at;
    if (this.isCovering && event.buttons === 1 && model === explorer.model) this.cover(tokenAt(model.attention, explorer.view, at));
    else if (!this.isCovering && explorer.view.query === null && this.choosesIn(model)) this.peeked = tokenAt(model.attention, explorer.view, at) ?? this.peeked;
    explorer.schedule();
  }

  peek(query) {
    if (this.explorer.view.query !== null || !this.explorer.canChoose) return;
    this.peeked = query;
    this.explorer.schedule();
  }

  leave() {
    this.rest();
    this.explorer.schedule();
  }

  press(model, at) {
    if (!this.isCovering || model !== this.explorer.model) return;
    const token = tokenAt(model.attention, this.explorer.view, at);
    this.isUncovering = this.covered.has(token - model.attention.prefix.length);
    this.cover(token);
  }

  click(model, at) {
    const { explorer } = this;
    if (this.isCovering || !model.attention) return;
    if (model !== explorer.model) { explorer.change({ model: model.key }); return; }
    const token = this.choosesIn(model) ? tokenAt(model.attention, explorer.view, at) : null;
    if (token === null) return;
    explorer.change({ query: explorer.view.query === token ? null : token });
    explorer.say();
  }

  cover(token) {
    const { model, options } = this.explorer, place = token - model.attention.prefix.length;
    if (token === null || place < 0 || this.covered.has(place) !== this.isUncovering) return;
    if (this.isUncovering) this.covered.delete(place); else this.covered.add(place);
    options.onPatch?.({ model: model.key, query: token, isOccluded: !this.isUncovering });
    this.explorer.schedule();
  }

  toggleCover() {
    this.isCovering = !this.isCovering;
    this.explorer.tools.cover.setAttribute("aria-pressed", String(this.isCovering));
    this.explorer.schedule();
  }

  /** @param {KeyboardEvent} event @param {"image"|"atlas"} where */
  key(event, where) {
    const { explorer } = this, action = event.ctrlKey || event.metaKey || event.altKey ? null : actionOf(event.key, where);
    if (!action || !explorer.model) return;
    event.preventDefault();
    if (action.act === "play") { explorer.player.toggle(); return; }
    explorer.player.stop();
    const change = this.changeOf(action, where);
    if (change) explorer.change({ ...change, ...("query" in change && action.act === "patch" ? rawAgain(explorer.view, { layer: 0 }) : rawAgain(explorer.view, change)) });
    explorer.say();
  }

  /** What an action changes in the view, or null. */
  changeOf(action, where) {
    const { view, model, query, canChoose, canReceive } = this.explorer, attention = model.attention;
    return {
      patch: () => canChoose ? { query: neighbour(attention, query, action.key) } : null,
      layer: () => ({ layer: view.layer + action.by }),
      head: () => ({ head: neighbourHead(attention.layers[view.layer].heads, view.head, action.by) }),
      mean: () => ({ head: -1 }),
      turn: () => canReceive ? { direction: view.direction === "pays" ? "receives" : "pays" } : null,
      readout: () => ({ query: attention.readoutQuery }),
      release: () => ({ query: null }),
      keep: () => this.keep(where),
      first: () => ({ layer: 0 }),
      last: () => ({ layer: attention.layers.length - 1 }),
    }[action.act]();
  }

  /** Keep the patch, or cover it while covering is on. */
  keep(where) {
    const { model, query } = this.explorer;
    if (!this.isCovering || where !== "image") return { query };
    this.isUncovering = this.covered.has(query - model.attention.prefix.length);
    this.cover(query);
    return null;
  }
}

/** Plays through the layers, from the first where the last is shown. */
export class Player {
  constructor(explorer) {
    this.explorer = explorer;
    this.timer = null;
  }

  toggle() {
    if (this.timer) { this.stop(); return; }
    const { explorer } = this, last = explorer.model.attention.layers.length - 1, { view } = explorer;
    const step = () => { if (explorer.view.layer >= last) this.stop(); else explorer.change({ layer: explorer.view.layer + 1 }); };
    explorer.change({ layer: view.layer >= last ? 0 : view.layer, ...rawAgain(view, { layer: 0 }) });
    this.timer = setInterval(step, matchMedia("(prefers-reduced-motion: reduce)").matches ? 1500 : 700);
    explorer.controls.setPlaying(true);
  }

  stop() {
    if (!this.timer) return;
    clearInterval(this.timer);
    this.timer = null;
    this.explorer.controls.setPlaying(false);
    this.explorer.say();
  }
}

/** One line on what can be done now. */
export function hintWords(explorer) {
  const { model, view } = explorer;
  if (!model) return "Point at the image to read its values.";
  const attention = model.attention, isPays = view.direction === "pays";
  if (view.dimension === "3d") return "Drag to turn, click a map to choose its layer and head.";
  if (explorer.hand.isCovering) return "Draw over patches to cover them; draw again to uncover.";
  if (view.modes[model.key] !== "raw") return "Point at the image to read its values. Choose a layer or a head to see its attention.";
  if (!explorer.canChoose) return "Of this image only the attention of what the model reads its answer from is stored. Point at it to read values.";
  if (attention.words) return view.query === null ? "Point at a word to see where it looks; click to keep it." : "Click another word, or press Esc on the image to let the pointer choose.";
  if (view.query === null) return `Point at a patch to see ${isPays ? "where it looks" : "who looks at it"}; click to keep it.`;
  return `Kept: ${queryWords(attention, view.query)}. Point elsewhere to read values. Click it again, or press Esc, to let the pointer choose.`;
}
