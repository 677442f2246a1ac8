/** The bench: one image on it, the explorer, and the experiments beside it; its whole state stands in the address. */

import { startAblation } from "./ablation.js";
import { Refused, askBytes, askJson, askRows } from "./api.js";
import { startAttack } from "./attack.js";
import { methodsWritten, startChoices } from "./choices.js";
import { unpacked } from "./container.js";
import { afterPause, one, onlyLast } from "./dom.js";
import { startGallery } from "./gallery.js";
import { read, written } from "./link.js";
import { startOcclusion } from "./occlusion.js";
import { busyWords, calm, trouble, wait } from "./status.js";
import { startTabs } from "./tabs.js";
import { forgetUpload } from "./upload.js";
import { startViewer } from "./viewer.js";
import { verdict } from "./words.js";

/** @typedef {{kind: "run"|"upload", id: string, title: string, serverId?: string}} Chosen */

const FORGOTTEN = 404;

export class Bench {
  /** @param {any} setup what the server offers @param {import("./gallery.js").Choice[]} dug */
  constructor(setup, dug) {
    const wanted = read(location.hash);
    Object.assign(this, { setup, dug, opening: onlyLast(), chosen: null, current: null, isLive: setup.models.length > 0, isTouched: Boolean(wanted.methods) });
    this.changed = afterPause(() => this.keep(), 250);
    this.tabs = startTabs(one("#tabs"), () => { this.changed(); this.mark({}); });
    this.choices = startChoices(setup, wanted, () => { this.isTouched = true; if (this.chosen) this.open(this.chosen); });
    this.viewer = startViewer({
      onState: this.changed, marked: () => this.tabs.shown(),
      onSide: (buffer, side) => describe(unpacked(buffer).about, side === "after"),
      onHead: (told) => { this.tabs.show("ablation"); this.ablation.onHead(told); },
      onPatch: (told) => { this.tabs.show("occlusion"); this.occlusion.onPatch(told); },
    });
    this.attack = startAttack(setup.attacks ?? [], this);
    this.ablation = startAblation(this, setup.replacements);
    this.occlusion = startOcclusion(this);
    this.panels = [this.attack, this.ablation, this.occlusion];
    this.gallery = startGallery(dug, ({ id, title }) => this.open({ kind: "run", id, title: title || id }));
    one("#experiments-tools").hidden = !this.isLive;
    one("#experiments-none").hidden = this.isLive;
    one("#copy").addEventListener("click", () => this.copy());
    one("#wait-cancel").addEventListener("click", () => { this.opening.stop(); wait(null); });
    addEventListener("hashchange", () => this.follow());
    if (wanted.image) this.goTo(wanted);
  }

  // What the experiments ask of the bench.

  /** The models that look now. @returns {{who: string, key: string, name: string}[]} */
  models() {
    const chosen = [this.choices.vit(), this.choices.cnn()];
    return this.setup.models.filter(({ key }) => chosen.includes(key)).map(({ key, kind, name }) => ({ who: kind === "cnn" ? "CNN" : "ViT", key, name }));
  }

  attending() { return this.models().find(({ who }) => who === "ViT") ?? this.models()[0]; }

  /** Models and methods, as an address has them. */
  query() { return this.choices.query(); }

  subject() { return this.current.unpacked; }

  /** How many heads each layer has. @returns {number[]} */
  layers() {
    const model = this.current?.unpacked.about.models.find((one) => one.attention);
    return (model?.attention.layers ?? []).map(({ heads }) => heads);
  }

  mark(marks) { this.viewer.mark(marks); }

  /** @param {ArrayBuffer} buffer @param {string} path of the attack, which knows the attacked picture */
  showAfter(buffer, path) { this.viewer.after(buffer, (model, query, signal) => askRows(path, model, query, signal)); }

  forgetAfter() { if (this.current) this.viewer.after(null); }

  /** Ask for something of the image on the bench; one of the dig is brought in again where the server has forgotten it. */
  async ask(tail, options, chosen = this.chosen, how = askJson) {
    const asked = async () => how(`${await this.path(chosen, options)}/${tail}`, options);
    try {
      return await asked();
    } catch (error) {
      if (!(error instanceof Refused) || error.status !== FORGOTTEN || chosen.kind === "upload") throw error;
      chosen.serverId = undefined;
      return asked();
    }
  }

  /** Where the server keeps an image. @param {Chosen} [chosen] @param {any} [options] @returns {Promise<string>} */
  async path(chosen = this.chosen, { signal, onWait } = {}) {
    if (chosen.kind === "run") chosen.serverId ??= (await askJson("api/images", { method: "POST", form: { run: chosen.id }, signal, onWait })).id;
    return `api/images/${encodeURIComponent(chosen.serverId ?? chosen.id)}`;
  }

  // Opening and leaving.

  /** @param {Chosen} next @param {Record<string, string>|null} [state] from a link */
  async open(next, state = null) {
    calm();
    const signal = this.opening.start();
    const isSame = this.chosen?.id === next.id && this.chosen?.kind === next.kind;
    const kept = state ?? (isSame && this.current ? read(`#${this.link()}`) : null);
    wait(`Opening ${next.title}\u2026`);
    try {
      const image = await this.loaded(next, signal);
      Object.assign(this, { chosen: next, current: image });
      await this.furnish(image, kept);
      wait(null);
      this.keep(!isSame && state === null);
      if (!isSame) arrive();
    } catch (error) {
      if (!signal.aborted) trouble(error, () => this.open(next, state));
    }
  }

  /** What the dig knows of an image, or what the models make of it now. @param {Chosen} next @param {AbortSignal} signal */
  async loaded(next, signal) {
    const options = { signal, onWait: busyWords };
    let buffer = null;
    if (next.kind === "run" && !(this.isTouched && this.isLive)) buffer = await askBytes(`api/run/subjects/${encodeURIComponent(next.id)}`, options);
    if (!buffer || (this.isLive && !unpacked(buffer).about.models.length)) buffer = await this.ask(`subject?${this.query()}`, options, next, askBytes);
    const rows = this.isLive ? (model, query, signal) => this.ask(`rows?${new URLSearchParams({ model, query })}`, { signal }, next, askBytes) : null;
    return { id: next.id, title: next.title, buffer, unpacked: unpacked(buffer), isLive: this.isLive, rows };
  }

  /** @param {any} image @param {Record<string, string>|null} kept */
  async furnish(image, kept) {
    document.body.classList.add("is-open");
    one("#bench").hidden = false;
    this.gallery.mark(this.chosen.kind === "run" ? this.chosen.id : null);
    if (this.chosen.kind === "run") forgetUpload();
    describe(image.unpacked.about);
    await this.viewer.show({ ...image, view: kept?.x });
    this.panels.forEach((panel) => { panel.reset(); panel.models(); });
    if (!kept) return;
    this.tabs.show(kept.tab ?? "occlusion");
    this.panels.forEach((panel) => panel.take(kept));
    this.mark({});
  }

  leave() {
    this.opening.stop();
    wait(null);
    this.attack.reset();
    this.viewer.close();
    Object.assign(this, { chosen: null, current: null });
    document.body.classList.remove("is-open");
    one("#bench").hidden = true;
    this.gallery.mark(null);
    document.title = "Attention Archaeology";
  }

  // The address.

  link() {
    const { choices, chosen, isTouched } = this, tab = this.tabs.shown();
    return written({
      image: chosen ? `${chosen.kind}:${chosen.id}` : "", tab: tab === "occlusion" ? "" : tab,
      ...(isTouched ? { vit: choices.vit(), cnn: choices.cnn(), methods: methodsWritten(choices.methods()) } : {}),
      ...this.attack.state(), ...this.ablation.state(), ...this.occlusion.state(), x: this.viewer.state(),
    });
  }

  keep(isNew = false) { if (this.current) history[isNew ? "pushState" : "replaceState"](null, "", `#${this.link()}`); }

  /** The address changed under the page: a link was pasted, or the reader went back. */
  follow() {
    if (this.current && location.hash === `#${this.link()}`) return;
    const state = read(location.hash);
    this.isTouched = Boolean(state.methods);
    this.choices.take(state);
    if (state.image) this.goTo(state); else this.leave();
  }

  /** @param {Record<string, string>} state */
  goTo(state) {
    const found = /^(run|upload):(.+)$/.exec(state.image);
    if (!found) return;
    const [, kind, id] = found;
    const title = this.dug.find((choice) => choice.id === id)?.title ?? (kind === "run" ? id : "the picture");
    this.open({ kind: /** @type {"run"|"upload"} */ (kind), id, title }, state);
  }

  async copy() {
    this.keep();
    let words = "Copied";
    try { await navigator.clipboard.writeText(location.href); } catch { words = "Copy it from the address bar"; }
    one("#copy").textContent = one("#copied").textContent = words;
    setTimeout(() => { one("#copy").textContent = "Copy link"; one("#copied").textContent = ""; }, 2500);
  }
}

/** @param {any} about @param {boolean} [isAttacked] */
function describe(about, isAttacked = false) {
  const answers = about.models.filter((model) => model.answer).map((model) => ({ who: model.kind === "cnn" ? "CNN" : "ViT", name: model.answer.name }));
  const words = verdict(isAttacked ? `${about.label ?? "the picture"}, attacked` : about.label, answers) || about.title;
  one("#verdict").textContent = words;
  document.title = `${words} \u00b7 Attention Archaeology`;
}

/** On a small screen the new picture is below: go there. */
function arrive() {
  const bench = one("#bench");
  if (bench.getBoundingClientRect().top > innerHeight * 0.6) bench.scrollIntoView({ block: "start" });
}
