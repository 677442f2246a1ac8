/** Which models look and which methods explain. */

import { make, one } from "./dom.js";
import { counted } from "./words.js";

/** @typedef {{key: string, name: string, kind: string, has_attention?: boolean}} Model */

/** Models by their seat: the one that their key names, else by whether they have attention. @param {Model[]} models @returns {{vit: Model[], cnn: Model[]}} */
export function seats(models) {
  const seatOf = ({ key, kind, has_attention: looks }) => (key === "vit" || key === "cnn" ? key : (looks ?? kind !== "cnn") ? "vit" : "cnn");
  return { vit: models.filter((model) => seatOf(model) === "vit"), cnn: models.filter((model) => seatOf(model) === "cnn") };
}

/** Quick ones that most people know; others are a click away. */
const AT_FIRST = ["rollout", "relevance", "grad_cam"];

/** In an address: the reader unticked all methods. */
const NONE = "none";

/** Methods as an address keeps them, also where there are none. @param {string[]} methods @returns {string} */
export function methodsWritten(methods) {
  return methods.join(",") || NONE;
}

/** Only what is offered; nothing wanted means the quick ones, or the first of others; "none" means none. @param {string|undefined} wanted @param {{name: string}[]} offered @returns {string[]} */
export function chosenMethods(wanted, offered) {
  const names = offered.map(({ name }) => name);
  const asked = (wanted ?? "").split(",").filter((name) => names.includes(name));
  if (wanted !== undefined && wanted !== "") return asked;
  const quick = AT_FIRST.filter((name) => names.includes(name)).slice(0, 2);
  return quick.length ? quick : names.slice(0, 1);
}

/**
 * @param {{models: Model[], methods: {vit: {name: string, title: string}[], cnn: {name: string, title: string}[]}}} setup
 * @param {Record<string, string>} wanted from the link
 * @param {() => void} onChange
 * @returns {{vit: () => string, cnn: () => string, methods: () => string[], query: () => string, take: (wanted: Record<string, string>) => void}}
 */
export function startChoices(setup, wanted, onChange) {
  const both = seats(setup.models);
  const selects = { vit: one("#vit"), cnn: one("#cnn") };
  for (const seat of /** @type {("vit"|"cnn")[]} */ (["vit", "cnn"])) {
    fill(selects[seat], both[seat], setup.models.length > both[seat].length);
    one(`#${seat}-field`).hidden = !both[seat].length;
    const other = selects[seat === "vit" ? "cnn" : "vit"];
    selects[seat].addEventListener("change", () => {
      if (!selects.vit.value && !selects.cnn.value) other.selectedIndex = 0;
      onChange();
    });
  }
  const list = one("#method-list");
  const boxes = /** @type {HTMLInputElement[]} */ ([]);
  for (const [seat, title] of [["vit", "For the ViT"], ["cnn", "For the CNN"]]) {
    if (both[seat].length && setup.methods[seat]?.length) list.append(methodField(title, seat, setup.methods[seat], boxes));
  }
  one("#methods").hidden = !boxes.length;
  const checked = () => boxes.filter((box) => box.checked).map((box) => box.value);
  const name = () => { one("#methods-summary").textContent = counted(new Set(checked()).size, "method"); };
  boxes.forEach((box) => box.addEventListener("change", () => { name(); onChange(); }));

  const take = (state) => {
    for (const seat of ["vit", "cnn"]) if ([...selects[seat].options].some(({ value }) => value === state[seat])) selects[seat].value = state[seat];
    for (const seat of ["vit", "cnn"]) {
      const chosen = chosenMethods(state.methods, setup.methods[seat] ?? []);
      boxes.filter((box) => box.dataset.seat === seat).forEach((box) => { box.checked = chosen.includes(box.value); });
    }
    name();
  };
  take(wanted);
  // Without models or methods the server takes its own; so a model that is not wanted is left out, but no method is said.
  const models = () => Object.entries({ vit: selects.vit.value, cnn: selects.cnn.value }).filter(([, value]) => value);
  const query = () => new URLSearchParams([...models(), ["methods", [...new Set(checked())].join(",")]]).toString();
  closesByItself(/** @type {HTMLDetailsElement} */ (one("#methods")));
  return { vit: () => selects.vit.value, cnn: () => selects.cnn.value, methods: () => [...new Set(checked())], query, take };
}

/** A popup that Escape and a click elsewhere close. @param {HTMLDetailsElement} popup */
function closesByItself(popup) {
  popup.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !popup.open) return;
    event.preventDefault();
    popup.open = false;
    popup.querySelector("summary").focus();
  });
  document.addEventListener("pointerdown", (event) => { if (!popup.contains(/** @type {Node} */ (event.target))) popup.open = false; });
}

/** @param {HTMLSelectElement} select @param {Model[]} models @param {boolean} isSpare whether another model is left without it */
function fill(select, models, isSpare) {
  select.replaceChildren(...models.map(({ key, name }) => make("option", { value: key, text: name })));
  if (models.length && isSpare) select.append(make("option", { value: "", text: "none" }));
}

/** @param {string} title @param {string} seat @param {{name: string, title: string}[]} methods @param {HTMLInputElement[]} boxes */
function methodField(title, seat, methods, boxes) {
  const rows = methods.map(({ name, title: words }) => {
    const box = make("input", { type: "checkbox", value: name, "data-seat": seat });
    boxes.push(box);
    return make("label", {}, box, make("span", { text: words || name }));
  });
  return make("fieldset", {}, make("legend", { text: title, class: seat }), ...rows);
}
