/** The images of the dig, worst failures first, to choose one from. */

import { address } from "./api.js";
import { inARow, make, one, roving } from "./dom.js";
import { counted } from "./words.js";

/** @typedef {{id: string, title: string, label: string|null, note: string|null, group: string|null}} Choice */

const OUTCOMES = {
  "both-same": "Both wrong, the same way", "both-different": "Both wrong, differently", "vit-only": "Only the ViT wrong",
  "cnn-only": "Only the CNN wrong", none: "Both right", agree: "The same answer", differ: "Different answers",
};
const WORST = [/both.*(different|same|wrong)/i, /only.*wrong|vit.only|cnn.only/i, /disagree/i];

/** How bad a failure is, from its group: smaller is worse. @param {Choice} choice @returns {number} */
function rank(choice) {
  const at = WORST.findIndex((pattern) => pattern.test(`${choice.group ?? ""} ${choice.note ?? ""}`));
  return at < 0 ? WORST.length : at;
}

/** Worst failures first; within a group the order of the dig stays. @param {Choice[]} choices @returns {Choice[]} */
export function worstFirst(choices) {
  return choices.map((choice, i) => ({ choice, i })).sort((a, b) => rank(a.choice) - rank(b.choice) || a.i - b.i).map(({ choice }) => choice);
}

/** Groups in the order they come, with how many are in each. @param {Choice[]} choices @returns {{name: string, count: number}[]} */
export function groups(choices) {
  const counts = new Map();
  for (const choice of choices) if (choice.group) counts.set(choice.group, (counts.get(choice.group) ?? 0) + 1);
  return [...counts].map(([name, count]) => ({ name, count }));
}

/** @param {Choice} choice @returns {string} */
export function described(choice) {
  return [choice.title || choice.label || choice.id, outcome(choice)].filter(Boolean).join(": ");
}

/** Whose colour the dot of an image has: of the model that alone is wrong. @param {Choice} choice @returns {"vit"|"cnn"|"none"|"both"} */
export function colourOf({ group }) {
  if (group === "vit-only") return "vit";
  if (group === "cnn-only") return "cnn";
  return !group || group === "none" || group === "agree" ? "none" : "both";
}

/** @param {Choice} choice @returns {string} */
function outcome({ note, group }) {
  return OUTCOMES[group] ?? note ?? group ?? "";
}

/**
 * @param {Choice[]} choices @param {(choice: Choice) => void} onChoice
 * @returns {{mark: (id: string|null) => void}}
 */
export function startGallery(choices, onChoice) {
  const section = one("#gallery"), list = one("#thumbnails"), filter = one("#outcome"), count = one("#gallery-count");
  const all = worstFirst(choices);
  section.hidden = !all.length;
  one("#gallery-title").textContent = `${one("#gallery-title").dataset.before} ${counted(all.length, "image")} of this dig`;
  const buttons = all.map((choice) => thumbnail(choice, onChoice));
  list.replaceChildren(...buttons);
  if (buttons[0]) buttons[0].tabIndex = 0;
  roving(list, "button", () => inARow(buttons));

  filter.replaceChildren(make("option", { value: "", text: `All outcomes (${all.length})` }),
    ...groups(all).map(({ name, count: many }) => make("option", { value: name, text: `${outcome(all.find((choice) => choice.group === name))} (${many})` })));
  filter.addEventListener("change", () => {
    buttons.forEach((button, i) => { button.hidden = filter.value !== "" && all[i].group !== filter.value; });
    const shown = buttons.filter((button) => !button.hidden);
    buttons.forEach((button) => { button.tabIndex = button === shown[0] ? 0 : -1; });
    count.textContent = `${counted(shown.length, "image")} shown`;
    list.scrollLeft = 0;
  });
  one("#gallery-filter").hidden = groups(all).length < 2;
  return { mark: (id) => mark(buttons, id) };
}

/** @param {Choice} choice @param {(choice: Choice) => void} onChoice @returns {HTMLButtonElement} */
function thumbnail(choice, onChoice) {
  const source = address(`api/run/subjects/${encodeURIComponent(choice.id)}/thumbnail.png`);
  const picture = make("img", { src: source, alt: "", loading: "lazy", decoding: "async", width: "72", height: "72" });
  picture.addEventListener("load", () => { picture.classList.toggle("pixel-art", picture.naturalWidth < 64); });
  const words = described(choice);
  const button = make("button", { type: "button", class: "thumbnail", "aria-pressed": "false", "aria-label": words, title: words, "data-id": choice.id, tabindex: "-1" },
    picture, make("span", { class: `dot ${colourOf(choice)}` }));
  button.addEventListener("click", () => onChoice(choice));
  return button;
}

/** @param {HTMLButtonElement[]} buttons @param {string|null} id */
function mark(buttons, id) {
  for (const button of buttons) {
    const isChosen = button.dataset.id === id;
    button.setAttribute("aria-pressed", String(isChosen));
    if (isChosen) button.scrollIntoView({ block: "nearest", inline: "center" });
  }
}
