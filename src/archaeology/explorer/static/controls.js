/** Everything that is chosen with buttons, lists and sliders. They tell what was chosen; the explorer sets them back. */

import { MAPS } from "./colours.js";
import { KEYS } from "./keys.js";
import { capitalised } from "./words.js";
import { headOf } from "./facts.js";
import { make, makeSelect, makeSwitch, uniqueName, write } from "./dom.js";

/** A slider with its name and its value in words. */
function makeSlider(label, properties, onInput) {
  const name = uniqueName("slider");
  const input = make("input", { type: "range", id: name, ...properties, oninput: () => onInput(Number(input.value)) });
  const output = make("output", { for: name });
  return { element: make("span", { className: "aa-field aa-slider" }, make("label", { for: name, textContent: label }), input, output), input, output };
}

/** Layer, play, head, direction. */
export class HeadControls {
  /** @param {(change: object) => void} change @param {() => void} play */
  constructor(change, play) {
    this.play = make("button", { type: "button", className: "aa-play", textContent: "\u25b6\ufe0e Play", onclick: play });
    this.layer = makeSlider("Layer", { min: 1, step: 1 }, (value) => change({ layer: value - 1 }));
    this.head = makeSelect("Head", (value) => change({ head: Number(value) }));
    this.model = makeSelect("Atlas of", (value) => change({ model: value }));
    this.direction = makeSwitch("Direction of attention", [["pays", "it pays", "Where the chosen patch looks: a row of the pattern"], ["receives", "it receives", "Who looks at the chosen patch: a column of the pattern"]], (value) => change({ direction: value }));
    this.turn = make("span", { className: "aa-group" }, make("span", { className: "aa-small", textContent: "Attention" }), this.direction.element);
    this.element = make("div", { className: "aa-controls", role: "group", "aria-label": "Layer and head" },
      make("span", { className: "aa-layer" }, this.layer.element, this.play), this.head.element, this.turn, this.model.element);
  }

  /** @param {object} view @param {object} model @param {object[]} models With attention. @param {boolean} canReceive @param {string[]} allowed */
  set(view, model, models, canReceive, allowed) {
    const attention = model.attention, heads = attention.layers[view.layer].heads;
    this.layer.input.max = attention.layers.length;
    this.layer.input.value = view.layer + 1;
    this.layer.input.setAttribute("aria-valuetext", `layer ${view.layer + 1} of ${attention.layers.length}`);
    write(this.layer.output, `${view.layer + 1} of ${attention.layers.length}`);
    const named = (head) => { const label = headOf(model, view.layer, head)?.label; return `${head + 1}${label ? ` \u00b7 ${label.replaceAll("_", " ")}` : ""}`; };
    this.head.fill([["-1", heads === 1 ? "the one head" : `mean of ${heads}`], ...Array.from({ length: heads > 1 ? heads : 0 }, (_, head) => [String(head), named(head)])]);
    this.head.select.value = String(heads === 1 ? -1 : Math.min(view.head, heads - 1));
    this.model.fill(models.map((one) => [one.key, one.name]));
    this.model.select.value = view.model;
    this.model.element.hidden = models.length < 2;
    this.direction.set(view.direction);
    this.turn.hidden = attention.kind === "cross";
    this.direction.buttons[1].disabled = !canReceive;
    this.layer.element.hidden = !allowed.includes("layers") || attention.layers.length < 2;
    this.play.hidden = this.layer.element.hidden;
    this.head.element.hidden = !allowed.includes("heads");
  }

  /** @param {boolean} isPlaying */
  setPlaying(isPlaying) {
    write(this.play, isPlaying ? "\u25a0\ufe0e Stop" : "\u25b6\ufe0e Play");
    this.play.setAttribute("aria-pressed", String(isPlaying));
  }
}

/** Scale, colours, strength, 3D, numbers, files. */
export class Tools {
  /** @param {Record<string, Function>} acts @param {string[]} allowed @param {boolean} canLink @param {boolean} canCover */
  constructor(acts, allowed, canLink, canCover) {
    this.scale = makeSwitch("Colour scale", [["shared", "Shared scale", "One scale for all layers, heads and panels in the same unit"], ["own", "Own scale", "Each map from its own smallest to its own largest value"]], (scale) => acts.change({ scale }));
    this.colours = makeSelect("Colours", (colours) => acts.change({ colours }));
    this.colours.fill(Object.keys(MAPS).filter((name) => name !== "diverging").map((name) => [name, capitalised(name)]));
    this.mix = makeSlider("Map over photo", { min: 0, max: 100, step: 5 }, (mix) => acts.change({ mix }));
    this.view = makeSwitch("View", [["2d", "Flat"], ["3d", "3D", "Layers one behind another"]], (dimension) => acts.change({ dimension }));
    this.cover = make("button", { type: "button", textContent: "Cover patches", title: "Cover patches of the image with grey and see what the models answer", "aria-pressed": "false", hidden: !canCover, onclick: acts.cover });
    this.numbers = make("button", { type: "button", textContent: "Numbers", title: "The maps as tables", "aria-expanded": "false", onclick: acts.numbers });
    this.copied = make("button", { type: "button", textContent: "Copy link", title: "An address that opens this very view", hidden: !canLink, onclick: acts.link });
    const save = (kind) => make("button", { type: "button", textContent: kind.toUpperCase(), title: `Save the panels as ${kind.toUpperCase()} with title, colour bars and captions`, "aria-label": `Save as ${kind.toUpperCase()}`, onclick: () => acts.save(kind) });
    const files = make("span", { className: "aa-group", hidden: !allowed.includes("save") }, make("span", { className: "aa-small", textContent: "Save" }), save("png"), save("svg"));
    this.keys = make("details", { className: "aa-keys" }, make("summary", { textContent: "Keys" }),
      make("dl", {}, ...KEYS.map(([key, does]) => make("div", {}, make("dt", { textContent: key }), make("dd", { textContent: does })))));
    this.view.element.hidden = !allowed.includes("3d");
    this.element = make("div", { className: "aa-tools", role: "group", "aria-label": "View and files" },
      this.scale.element, this.colours.element, this.mix.element, this.view.element, this.cover, this.numbers, this.copied, files, this.keys);
  }

  /** @param {object} view @param {boolean} hasAttention */
  set(view, hasAttention, allowed) {
    this.scale.set(view.scale);
    this.colours.select.value = view.colours;
    this.mix.input.value = view.mix;
    this.mix.input.setAttribute("aria-valuetext", `${view.mix} percent`);
    this.view.set(view.dimension);
    this.view.element.hidden = !allowed.includes("3d") || !hasAttention;
  }
}

/** The images that can be opened: a list with one tab stop, arrow keys move in it. */
export class Subjects {
  /** @param {object[]} subjects @param {(id: string) => void} open */
  constructor(subjects, open) {
    this.open = open;
    this.options = subjects.map((subject) => make("button", {
      type: "button", role: "option", tabIndex: -1, title: [subject.title, subject.note].filter(Boolean).join(": "), "aria-label": [subject.title, subject.note].filter(Boolean).join(", "),
      onclick: () => open(subject.id), "data-id": subject.id, "data-group": subject.group ?? "",
    }, thumbnailOf(subject)));
    this.list = make("div", { className: "aa-list", role: "listbox", "aria-label": "Images", "aria-orientation": "horizontal", onkeydown: (event) => this.move(event) }, ...this.options);
    const groups = [...new Set(subjects.map((subject) => subject.group).filter(Boolean))];
    this.group = makeSelect("Images", (value) => this.filter(value));
    this.group.fill([["", `all (${subjects.length})`], ...groups.map((group) => [group, `${group} (${subjects.filter((subject) => subject.group === group).length})`])]);
    this.element = make("nav", { className: "aa-subjects", "aria-label": "Choose an image" }, ...(groups.length > 1 ? [this.group.element] : []), this.list);
  }

  filter(group) {
    this.options.forEach((option) => { option.hidden = Boolean(group) && option.dataset.group !== group; });
    this.keepTabStop();
  }

  /** @param {string} id */
  set(id) {
    this.options.forEach((option) => { const isChosen = option.dataset.id === id; option.setAttribute("aria-selected", String(isChosen)); option.tabIndex = isChosen ? 0 : -1; });
    this.keepTabStop();
    const chosen = this.options.find((option) => option.dataset.id === id);
    if (chosen) this.list.scrollLeft = Math.max(0, Math.min(this.list.scrollLeft, chosen.offsetLeft - 8), chosen.offsetLeft + chosen.offsetWidth - this.list.clientWidth + 8);
  }

  /** Something in the list can always be reached. */
  keepTabStop() {
    const seen = this.options.filter((option) => !option.hidden);
    if (seen.length && !seen.some((option) => option.tabIndex === 0)) seen[0].tabIndex = 0;
  }

  move(event) {
    const seen = this.options.filter((option) => !option.hidden), at = seen.indexOf(event.target);
    const next = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: seen.length - 1 }[event.key];
    if (next === undefined || at < 0) return;
    event.preventDefault();
    const option = seen[Math.min(Math.max(next, 0), seen.length - 1)];
    option.focus();
    this.open(option.dataset.id);
  }
}

/** A small picture, or the title where there is none. */
function thumbnailOf(subject) {
  if (typeof subject.thumbnail === "string") return make("img", { src: subject.thumbnail, alt: "", loading: "lazy", draggable: false });
  if (subject.thumbnail instanceof ImageData) {
    const canvas = make("canvas", { width: subject.thumbnail.width, height: subject.thumbnail.height, "aria-hidden": "true" });
    canvas.getContext("2d").putImageData(subject.thumbnail, 0, 0);
    return canvas;
  }
  return make("span", { textContent: subject.title });
}
