/** The explorer on this page: one image at a time, before and after an attack, in the same view. */

import { address } from "./api.js";
import { one } from "./dom.js";

/** A view of any image: which one is said by this page's own link. @param {string} view @returns {string} */
export function withoutSubject(view) {
  return view.split(",").filter((part) => !part.startsWith("s:")).join(",");
}

/**
 * Where the explorer gets an image: the rows are of the side that is seen when they are asked for.
 * @typedef {{buffer: ArrayBuffer, rows: ((model: string, query: number, signal?: AbortSignal) => Promise<ArrayBuffer>)|null}} Side
 * @param {Side & {id: string, title: string}} image @param {() => Side} seen
 */
export function sourceOf(image, seen) {
  const source = { subjects: [{ id: image.id, title: image.title }], load: async () => image.buffer };
  return image.rows ? { ...source, rows: (id, model, query, signal) => seen().rows(model, query, signal) } : source;
}

/**
 * @param {{onState: (state: string) => void, onSide: (buffer: ArrayBuffer, side: string) => void, marked: () => string, onHead: (told: any) => void, onPatch: (told: any) => void}} told
 * @returns {{show: (image: any) => Promise<void>, after: (buffer: ArrayBuffer|null, rows?: Side["rows"]) => void, restore: (state: string) => void, mark: (marks: any) => void, state: () => string, close: () => void}}
 */
export function startViewer({ onState, onSide, marked, onHead, onPatch }) {
  const place = one("#explorer"), sides = one("#sides");
  const buttons = { before: one("#side-before"), after: one("#side-after") };
  let handle = null, image = null, attacked = /** @type {Side|null} */ (null), seen = /** @type {Side|null} */ (null), view = "", marks = { off: [], covered: [] };

  const mark = (more) => {
    marks = { ...marks, ...more };
    handle?.mark({ off: marked() === "ablation" ? marks.off : [], covered: marked() === "occlusion" ? marks.covered : [] });
  };
  const turn = (side) => {
    for (const [name, button] of Object.entries(buttons)) button.setAttribute("aria-pressed", String(name === side));
    seen = side === "after" && attacked ? attacked : image;
    handle?.replace(image.id, seen.buffer);
    mark({});
    onSide(seen.buffer, side);
  };
  buttons.before.addEventListener("click", () => turn("before"));
  buttons.after.addEventListener("click", () => turn("after"));

  const close = () => {
    handle?.destroy();
    handle = null;
    place.replaceChildren();
  };
  const show = async (next) => {
    const { mount } = await import(address("static/explorer.js"));
    view = withoutSubject(next.view ?? handle?.state() ?? view);
    close();
    image = seen = next;
    attacked = null;
    marks = { off: [], covered: [] };
    sides.hidden = true;
    handle = mount(place, sourceOf(next, () => seen), {
      state: view, theme: "auto", controls: ["layers", "heads", "modes", "3d", "save"],
      onState, ...(next.isLive ? { onHead, onPatch } : {}),
    });
    await handle.ready;
  };
  const after = (buffer, rows = null) => {
    const had = attacked !== null;
    attacked = buffer && { buffer, rows };
    sides.hidden = buffer === null;
    if (buffer !== null) turn("after");
    else if (had && handle) turn("before");
  };
  return {
    show, after, close, mark,
    restore: (state) => handle?.restore(state),
    state: () => withoutSubject(handle?.state() ?? view),
  };
}
