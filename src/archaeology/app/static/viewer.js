/** The explorer on this page: one image at a time, before and after an attack, in the same view. */

import { address, askBytes } from "./api.js";
import { one } from "./dom.js";

/**
 * @param {{onState: (state: string) => void, onHead: (told: any) => void, onPatch: (told: any) => void}} told
 * @returns {{show: (image: any) => Promise<void>, after: (buffer: ArrayBuffer|null) => void, restore: (state: string) => void, markHeads: (off: [number, number][]) => void, state: () => string, close: () => void}}
 */
export function startViewer({ onState, onHead, onPatch }) {
  const place = one("#explorer"), sides = one("#sides");
  const buttons = { before: one("#side-before"), after: one("#side-after") };
  let handle = null, image = null, attacked = /** @type {ArrayBuffer|null} */ (null), view = "";

  const turn = (side) => {
    for (const [name, button] of Object.entries(buttons)) button.setAttribute("aria-pressed", String(name === side));
    handle?.replace(image.id, side === "after" ? attacked : image.buffer);
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
    view = next.view ?? handle?.state() ?? view;
    close();
    image = next;
    attacked = null;
    sides.hidden = true;
    const source = { subjects: [{ id: next.id, title: next.title }], load: async () => next.buffer };
    if (next.rows) source.rows = (id, model, query) => askBytes(next.rows(model, query));
    handle = mount(place, source, {
      state: view, theme: "auto", controls: ["layers", "heads", "modes", "3d", "save"],
      onState, ...(next.isLive ? { onHead, onPatch } : {}),
    });
    await handle.ready;
  };
  const after = (buffer) => {
    const had = attacked !== null;
    attacked = buffer;
    sides.hidden = buffer === null;
    if (buffer !== null) turn("after");
    else if (had && handle) turn("before");
  };
  return {
    show, after, close,
    restore: (state) => handle?.restore(state),
    markHeads: (off) => handle?.markOff?.(off),
    state: () => handle?.state() ?? view,
  };
}
