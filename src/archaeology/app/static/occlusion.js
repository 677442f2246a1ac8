/** Patches hidden with the pointer or the space bar, and how the answers of both models move. */

import { isStopped } from "./api.js";
import { barsTable, top } from "./bars.js";
import { afterPause, make, one, onlyLast } from "./dom.js";
import { placesRead } from "./link.js";
import { placeWords, startPatches } from "./patches.js";
import { counted, turned } from "./words.js";

/**
 * The grid patches are hidden on: the ViT's own, else one of a map, else 8 x 8.
 * @param {any} about a subject's description @returns {[number, number]}
 */
export function gridOf(about) {
  const layout = about.models.map((model) => model.layout).find((found) => found?.rows && found?.columns);
  if (layout) return [layout.rows, layout.columns];
  const map = about.models.flatMap((model) => model.maps ?? []).find((found) => found.rows > 1 && found.rows <= 32);
  return map ? [map.rows, map.columns] : [8, 8];
}

/** How many tokens stand before the patches. @param {any} about @returns {number} */
function prefixOf(about) {
  return about.models.find((model) => model.attention && model.layout)?.layout.prefix.length ?? 0;
}

/** What the server says of each model, as a list with keys. @param {any} answer @returns {{model: string, before: any[], after: any[]}[]} */
export function perModel(answer) {
  const list = answer.models ?? answer;
  if (Array.isArray(list)) return list.map((one) => ({ ...one, model: one.model ?? one.key }));
  return Object.entries(list).map(([model, both]) => ({ model, ...both }));
}

/**
 * @param {any} bench what the page shows now, see bench.js
 * @returns {{reset: () => void, state: () => Record<string, string>, take: (state: Record<string, string>) => void, onPatch: (told: {query: number, isOccluded: boolean}) => void, models: () => void}}
 */
export function startOcclusion(bench) {
  const says = one("#occlusion-says"), result = one("#occlusion-result"), fill = one("#occlusion-fill"), again = one("#occlusion-again");
  const announce = one("#occlusion-announce"), clear = one("#occlusion-clear"), count = one("#occlusion-count");
  const running = onlyLast();
  let hidden = /** @type {Set<number>} */ (new Set()), grid = /** @type {[number, number]} */ ([8, 8]);
  const say = (text, isTrouble = false) => { says.textContent = text; says.classList.toggle("trouble-words", isTrouble); again.hidden = !isTrouble; };

  const measure = async () => {
    const signal = running.start();
    if (!hidden.size) { result.replaceChildren(); say(""); return; }
    const onWait = (seconds, words) => say(`${words} Trying again in ${Math.ceil(seconds)} s.`);
    result.classList.add("is-old");
    if (!result.firstChild) say("Asking the models\u2026");
    try {
      const json = { models: bench.models().map(({ key }) => key), places: [...hidden], grid, fill: fill.value };
      show(perModel(await bench.ask("occlude", { method: "POST", json, signal, onWait })));
    } catch (error) {
      if (isStopped(error)) return;
      say(error.message, true);
    }
    result.classList.remove("is-old");
  };
  const show = (answers) => {
    const whoOf = (key) => bench.models().find((model) => model.key === key)?.who ?? key;
    const blocks = answers.map(({ model, before, after }) => make("div", { class: whoOf(model).toLowerCase() },
      make("h4", { text: whoOf(model) }), barsTable(`Answers of the ${whoOf(model)} before and after hiding patches`, before, after)));
    result.replaceChildren(...blocks);
    say(answers.map(({ model, before, after }) => turned(`The ${whoOf(model)}`, top(before), top(after))).join(" "));
  };
  const soon = afterPause(measure, 220);
  const press = () => {
    patches.draw(hidden, fill.value);
    bench.mark({ covered: [...hidden] });
    count.textContent = hidden.size ? `${counted(hidden.size, "patch", "patches")} of ${grid[0] * grid[1]} hidden` : "Nothing hidden";
    clear.disabled = !hidden.size;
  };
  const change = (next) => { hidden = next; press(); bench.changed(); soon(); };
  const set = (place, isHidden) => {
    const next = new Set(hidden);
    if (isHidden) next.add(place); else next.delete(place);
    announce.textContent = `${placeWords(place, grid)} ${isHidden ? "hidden" : "shown"}`;
    change(next);
  };
  const patches = startPatches(one("#occlusion-canvas"), {
    onPaint: set,
    onMove: (place) => { announce.textContent = `${placeWords(place, grid)}${hidden.has(place) ? ", hidden" : ""}`; },
  });
  clear.addEventListener("click", () => { change(new Set()); one("#occlusion-canvas").focus(); });
  one("#occlusion-invert").addEventListener("click", () => {
    change(new Set(Array.from({ length: grid[0] * grid[1] }, (_, place) => place).filter((place) => !hidden.has(place))));
  });
  fill.addEventListener("change", () => { press(); bench.changed(); soon(); });
  again.addEventListener("click", measure);

  const offer = () => {
    const { about, pixels } = bench.subject();
    grid = gridOf(about);
    hidden = new Set([...hidden].filter((place) => place < grid[0] * grid[1]));
    patches.show(pixels, grid);
    press();
  };
  return {
    reset: () => { running.stop(); hidden = new Set(); result.replaceChildren(); say(""); offer(); },
    state: () => ({ hide: [...hidden].sort((a, b) => a - b).join(","), fill: hidden.size ? fill.value : "" }),
    take: (state) => {
      if (["grey", "blur"].includes(state.fill)) fill.value = state.fill;
      const wanted = placesRead(state.hide).filter((place) => place < grid[0] * grid[1]);
      if (wanted.join() !== [...hidden].sort((a, b) => a - b).join()) change(new Set(wanted));
    },
    onPatch: ({ query, isOccluded }) => {
      const place = query - prefixOf(bench.subject().about);
      if (place >= 0 && place < grid[0] * grid[1]) set(place, isOccluded);
    },
    models: offer,
  };
}
