/** Heads switched off by a click, and how the answer moves. */

import { isStopped } from "./api.js";
import { barsTable, top } from "./bars.js";
import { afterPause, make, one, onlyLast, roving } from "./dom.js";
import { headsRead, headsWritten } from "./link.js";
import { counted, turned } from "./words.js";

/** @param {[number, number][]} off @param {[number, number]} head @param {boolean} isOff @returns {[number, number][]} */
export function withHead(off, [layer, head], isOff) {
  const others = off.filter((other) => other[0] !== layer || other[1] !== head);
  return isOff ? [...others, [layer, head]] : others;
}

/**
 * @param {any} bench what the page shows now, see bench.js
 * @param {string[]} [replacements] what a head can be replaced by
 * @returns {{reset: () => void, state: () => Record<string, string>, take: (state: Record<string, string>) => void, onHead: (told: {layer: number, head: number, isOff: boolean}) => void, models: () => void}}
 */
export function startAblation(bench, replacements) {
  const grid = one("#heads-grid"), says = one("#ablation-says"), result = one("#ablation-result"), again = one("#ablation-again");
  const replacement = one("#ablation-replacement"), reset = one("#ablation-reset");
  const running = onlyLast();
  if (replacements) for (const option of [...replacement.options]) if (!replacements.includes(option.value)) option.remove();
  let off = /** @type {[number, number][]} */ ([]);
  const isOff = (layer, head) => off.some((other) => other[0] === layer && other[1] === head);
  const say = (text, isTrouble = false) => { says.textContent = text; says.classList.toggle("trouble-words", isTrouble); again.hidden = !isTrouble; };

  const markHeads = () => bench.mark({ off: off.map(([layer, head]) => ({ model: bench.attending()?.key, layer, head })) });

  const press = () => {
    for (const button of grid.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(isOff(Number(button.dataset.layer), Number(button.dataset.head))));
    }
    reset.disabled = !off.length;
    one("#ablation-count").textContent = off.length ? `${counted(off.length, "head")} off` : "All heads on";
  };
  const measure = async () => {
    const signal = running.start();
    if (!off.length) { result.replaceChildren(); say(""); return; }
    const onWait = (seconds, words) => say(`${words} Trying again in ${Math.ceil(seconds)} s.`);
    result.classList.add("is-old");
    if (!result.firstChild) say("Asking the model\u2026");
    try {
      const json = { model: bench.attending().key, off, replacement: replacement.value };
      const { before, after } = await bench.ask("ablate", { method: "POST", json, signal, onWait });
      result.replaceChildren(barsTable(`Answers of the ViT before and after switching ${counted(off.length, "head")} off`, before, after));
      say(turned(`With ${counted(off.length, "head")} off the ViT`, top(before), top(after)));
    } catch (error) {
      if (isStopped(error)) return;
      say(error.message, true);
    }
    result.classList.remove("is-old");
  };
  const soon = afterPause(measure, 180);
  const change = (next, isTold = true) => {
    off = next;
    press();
    bench.changed();
    if (isTold) markHeads();
    soon();
  };

  const offer = () => {
    const layers = bench.layers();
    const rows = layers.map((heads, layer) => make("tr", {}, make("th", { scope: "row", text: String(layer + 1) }), ...headButtons(layer, heads)));
    grid.replaceChildren(make("caption", { class: "unseen", text: "Heads: one row for each layer, one column for each head. Press one to switch it off or on." }), make("tbody", {}, ...rows));
    const first = grid.querySelector("button");
    if (first) first.tabIndex = 0;
    one("#ablation-none").hidden = layers.length > 0;
    one("#ablation-tools").hidden = !layers.length;
    off = off.filter(([layer, head]) => head < (layers[layer] ?? 0));
    press();
  };
  grid.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const head = /** @type {[number, number]} */ ([Number(button.dataset.layer), Number(button.dataset.head)]);
    change(withHead(off, head, !isOff(...head)));
  });
  roving(grid, "button", () => bench.layers()[0] ?? 1);
  replacement.addEventListener("change", () => { bench.changed(); soon(); });
  reset.addEventListener("click", () => { change([]); grid.querySelector("button")?.focus(); });
  again.addEventListener("click", measure);

  return {
    reset: () => { running.stop(); off = []; result.replaceChildren(); say(""); offer(); markHeads(); },
    state: () => ({ off: headsWritten(off), by: off.length ? replacement.value : "" }),
    take: (state) => {
      if ([...replacement.options].some(({ value }) => value === state.by)) replacement.value = state.by;
      const wanted = headsRead(state.off).filter(([layer, head]) => head < (bench.layers()[layer] ?? 0));
      if (headsWritten(wanted) !== headsWritten(off)) change(wanted);
    },
    onHead: ({ layer, head, isOff: wanted }) => change(withHead(off, [layer, head], wanted), false),
    models: offer,
  };
}

/** @param {number} layer @param {number} heads @returns {HTMLElement[]} */
function headButtons(layer, heads) {
  return Array.from({ length: heads }, (_, head) => make("td", {}, make("button", {
    type: "button", tabindex: "-1", "aria-pressed": "false", "aria-label": `Layer ${layer + 1}, head ${head + 1} off`,
    "data-layer": layer, "data-head": head, title: `Layer ${layer + 1}, head ${head + 1}`,
  })));
}
