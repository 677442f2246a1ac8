/** What is known of a head: its kind, its statistics over the data, and what happens without it. */

import { capitalised, effectWords, headWords, numberWords, percentWords } from "./words.js";
import { make, write } from "./dom.js";

const STATISTICS = [
  ["entropy", "Entropy", (value, most) => `${numberWords(value)} nats${most ? ` of ${numberWords(most)}` : ""}`, "How spread its attention is: 0 looks at one patch, the largest at all alike."],
  ["distance", "Distance", (value) => `${numberWords(value)} px`, "How far from the looking patch its attention lies, on average."],
  ["participation", "Patches in use", (value) => percentWords(value), "The share of patches that its attention is spread over in effect."],
  ["class_token_mass", "On the class token", (value) => percentWords(value), "The share of its attention that goes to the class token."],
];

/** @param {object} model @param {number} layer @param {number} head */
export function headOf(model, layer, head) {
  return model.heads.find((one) => one.layer === layer && one.head === head) ?? null;
}

/** How often each kind of head occurs in a layer: "5 local, 2 sink". */
export function kindsWords(model, layer) {
  const counts = new Map();
  for (const head of model.heads) if (head.layer === layer && head.label) counts.set(head.label, (counts.get(head.label) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1]).map(([label, count]) => `${count} ${label.replaceAll("_", " ")}`).join(", ");
}

/** Where effects lie on a line of 0 to 100: all heads' and this one's. Zero is always on it. */
export function effectPlaces(heads, effect) {
  const known = heads.map((head) => head.effect).filter((one) => one && Number.isFinite(one.value));
  const ends = [0, ...known.map((one) => one.value), effect.low ?? effect.value, effect.high ?? effect.value];
  const low = Math.min(...ends), high = Math.max(...ends), size = high - low || 1;
  const place = (value) => 4 + 92 * (value - low) / size;
  return { zero: place(0), all: known.map((one) => place(one.value)), value: place(effect.value), low: place(effect.low ?? effect.value), high: place(effect.high ?? effect.value) };
}

/** The facts beside the atlas. */
export class Facts {
  /** @param {((layer: number, head: number) => void)|null} onSwitch Called where heads can be switched off. */
  constructor(onSwitch) {
    this.title = make("p", { className: "aa-small-title" });
    this.label = make("span", { className: "aa-label" });
    this.list = make("dl");
    this.picture = make("div", { className: "aa-effect" });
    this.effect = make("p", { className: "aa-effect-words" });
    this.off = make("button", { type: "button", className: "aa-off-button", hidden: !onSwitch, onclick: () => onSwitch?.(this.layer, this.head) });
    this.element = make("section", { className: "aa-facts", "aria-label": "This head" }, this.title, this.list, this.picture, this.effect, this.off);
    this.canSwitch = Boolean(onSwitch);
  }

  /** @param {object} model @param {number} layer @param {number} head @param {Set<string>} off */
  set(model, layer, head, off) {
    const attention = model.attention, heads = attention.layers[layer].heads, which = heads === 1 ? 0 : head;
    this.layer = layer;
    this.head = which;
    const facts = which < 0 ? null : headOf(model, layer, which);
    this.title.replaceChildren(headWords(layer, head, heads));
    if (facts?.label) this.title.append(" ", make("span", { className: "aa-label", textContent: facts.label.replaceAll("_", " ") }));
    this.off.hidden = !this.canSwitch || which < 0;
    const isOff = off.has(`${layer} ${which}`);
    this.off.setAttribute("aria-pressed", String(isOff));
    write(this.off, isOff ? "Head is off: switch it on" : "Switch this head off");
    if (which < 0) { this.setMean(model, layer); return; }
    const most = model.heads.length ? Math.log(attention.layers[layer].rows * attention.layers[layer].columns + attention.prefix.length) : 0;
    this.list.replaceChildren(...STATISTICS.filter(([name]) => Number.isFinite(facts?.[name])).map(([name, title, words, says]) =>
      make("div", { title: says }, make("dt", { textContent: title }), make("dd", { textContent: words(facts[name], attention.kind === "token" ? most : 0) }))));
    write(this.effect, facts ? effectWords(facts.effect) : "No statistics of this head came with this image.");
    this.drawEffect(model, facts?.effect);
  }

  setMean(model, layer) {
    const kinds = kindsWords(model, layer);
    this.list.replaceChildren();
    this.picture.replaceChildren();
    write(this.effect, `${kinds ? `Kinds of heads in this layer: ${kinds}. ` : ""}Choose one head for its statistics${this.canSwitch ? " and to switch it off" : ""}.`);
  }

  drawEffect(model, effect) {
    if (!effect || !Number.isFinite(effect.value)) { this.picture.replaceChildren(); return; }
    const places = effectPlaces(model.heads, effect);
    const draw = (name, attributes) => { const element = document.createElementNS("http://www.w3.org/2000/svg", name); Object.entries(attributes).forEach(([key, value]) => element.setAttribute(key, value)); return element; };
    const picture = draw("svg", { viewBox: "0 0 100 12", "aria-hidden": "true", preserveAspectRatio: "none" });
    picture.append(
      draw("path", { d: `M${places.zero} 0V12`, class: "aa-zero" }),
      draw("path", { d: places.all.map((place) => `M${place.toFixed(2)} 3.5V8.5`).join(""), class: "aa-others" }),
      draw("path", { d: `M${places.low} 6H${places.high}`, class: "aa-interval" }),
      draw("path", { d: `M${places.value} 1V11`, class: "aa-this" }));
    this.picture.replaceChildren(picture, make("span", { className: "aa-small", textContent: "This head (thick) among all heads; the long line is no effect." }));
  }
}
