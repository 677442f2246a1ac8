/** The page: asks what there is, opens an image, and joins the explorer with the experiments. */

import { startAblation } from "./ablation.js";
import { askBytes, askJson, isStopped } from "./api.js";
import { startAttack } from "./attack.js";
import { startChoices } from "./choices.js";
import { unpacked } from "./container.js";
import { afterPause, one, onlyLast } from "./dom.js";
import { startGallery } from "./gallery.js";
import { read, written } from "./link.js";
import { startOcclusion } from "./occlusion.js";
import { startTabs } from "./tabs.js";
import { startUpload } from "./upload.js";
import { startViewer } from "./viewer.js";
import { verdict } from "./words.js";

/** @typedef {{kind: "run"|"upload", id: string, title: string}} Chosen */

const opening = onlyLast();
const wait = (words) => { one("#wait").hidden = !words; one("#wait-words").textContent = words ?? ""; };
let again = () => {};

/** @param {unknown} error @param {() => void} retry */
function trouble(error, retry) {
  wait(null);
  if (isStopped(error)) return;
  again = retry;
  one("#trouble").hidden = false;
  one("#trouble-words").textContent = error instanceof Error ? error.message : String(error);
}

const calm = () => { one("#trouble").hidden = true; };
const busyWords = (seconds, words) => wait(`${words} Trying again in ${Math.ceil(seconds)} s.`);

async function start() {
  calm();
  wait("Asking the server what there is\u2026");
  const signal = opening.start();
  try {
    const setup = await askJson("api/setup", { signal, onWait: busyWords });
    const dug = setup.runs ? await askJson("api/run/subjects", { signal, onWait: busyWords }) : [];
    wait(null);
    furnish(setup, Array.isArray(dug) ? dug : dug.subjects ?? []);
  } catch (error) {
    trouble(error, start);
  }
}

/** @param {any} setup @param {import("./gallery.js").Choice[]} dug */
function furnish(setup, dug) {
  const wanted = read(location.hash);
  let chosen = /** @type {Chosen|null} */ (null), current = /** @type {any} */ (null), isTouched = Boolean(wanted.methods);
  one("#run-name").textContent = setup.runs ? `Dig: ${setup.runs.name}` : "";

  const link = () => written({
    image: chosen ? `${chosen.kind}:${chosen.id}` : undefined, vit: isTouched ? choices.vit() : "", cnn: isTouched ? choices.cnn() : "",
    methods: isTouched ? choices.methods().join(",") : "", tab: tabs.shown() === "occlusion" ? "" : tabs.shown(),
    ...attack.state(), ...ablation.state(), ...occlusion.state(), x: viewer.state(),
  });
  const keep = (isNew = false) => { if (current) history[isNew ? "pushState" : "replaceState"](null, "", `#${link()}`); };
  const changed = afterPause(keep, 250);

  const choices = startChoices(setup, wanted, () => { isTouched = true; if (chosen) open(chosen); });
  const viewer = startViewer({ onState: changed, onSide: (buffer, side) => describe(unpacked(buffer).about, side === "after"), marked: () => tabs.shown(), onHead: (told) => { tabs.show("ablation"); ablation.onHead(told); }, onPatch: (told) => { tabs.show("occlusion"); occlusion.onPatch(told); } });
  const tabs = startTabs(one("#tabs"), () => { changed(); viewer.mark({}); });
  const models = () => setup.models.filter(({ key }) => key === choices.vit() || key === choices.cnn()).map(({ key, kind, name }) => ({ who: kind === "cnn" ? "CNN" : "ViT", key, name }));

  const bench = {
    models, changed,
    attending: () => models().find(({ who }) => who === "ViT") ?? models()[0],
    query: () => choices.query(),
    subject: () => current.unpacked,
    layers: () => (current?.unpacked.about.models.find((model) => model.attention)?.attention.layers ?? []).map(({ heads }) => heads),
    mark: (marks) => viewer.mark(marks),
    showAfter: (buffer) => viewer.after(buffer),
    forgetAfter: () => { if (current) viewer.after(null); },
    imageId: (signal, onWait) => serverId(chosen, signal, onWait),
  };
  const attack = startAttack(setup.attacks ?? [], bench);
  const ablation = startAblation(bench, setup.replacements);
  const occlusion = startOcclusion(bench);
  const panels = [attack, ablation, occlusion];
  const isLive = setup.models.length > 0;
  one("#experiments-tools").hidden = !isLive;
  one("#experiments-none").hidden = isLive;

  const open = async (next, state = null) => {
    calm();
    const signal = opening.start();
    const isSame = chosen?.id === next.id && chosen?.kind === next.kind;
    const kept = state ?? (isSame && current ? read(`#${link()}`) : null);
    wait(`Opening ${next.title}\u2026`);
    try {
      const image = await loaded(next, signal);
      chosen = next;
      current = image;
      await furnishBench(image, kept);
      wait(null);
      keep(!isSame && state === null);
      if (!isSame) arrive();
    } catch (error) {
      if (!signal.aborted) trouble(error, () => open(next, state));
    }
  };
  const loaded = async (next, signal) => {
    const dugBytes = next.kind === "run" && (!isTouched || !isLive) ? await askBytes(`api/run/subjects/${encodeURIComponent(next.id)}`, { signal, onWait: busyWords }) : null;
    const isEnough = dugBytes && (!isLive || unpacked(dugBytes).about.models.length > 0);
    const buffer = isEnough ? dugBytes : await askBytes(`api/images/${encodeURIComponent(await serverId(next, signal, busyWords))}/subject?${choices.query()}`, { signal, onWait: busyWords });
    const rows = isLive ? (model, query) => serverId(next).then((id) => askBytes(`api/images/${encodeURIComponent(id)}/rows?${new URLSearchParams({ model, query })}`)) : null;
    return { id: next.id, title: next.title, buffer, unpacked: unpacked(buffer), isLive, rows };
  };
  const furnishBench = async (image, kept) => {
    document.body.classList.add("is-open");
    one("#bench").hidden = false;
    gallery.mark(chosen.kind === "run" ? chosen.id : null);
    describe(image.unpacked.about);
    await viewer.show({ ...image, view: kept?.x });
    panels.forEach((panel) => { panel.reset(); panel.models(); });
    if (kept) { tabs.show(kept.tab); panels.forEach((panel) => panel.take(kept)); }
  };

  const gallery = startGallery(dug, (choice) => open({ kind: "run", id: choice.id, title: choice.title || choice.id }));
  startUpload({ limits: () => setup.limits ?? {}, onImage: ({ id, title }) => open({ kind: "upload", id, title }) });
  one("#wait-cancel").addEventListener("click", () => { opening.stop(); wait(null); });
  one("#copy").addEventListener("click", async () => {
    keep();
    const words = await copied() ? "Copied" : "Copy it from the address bar";
    one("#copy").textContent = one("#copied").textContent = words;
    setTimeout(() => { one("#copy").textContent = "Copy link"; one("#copied").textContent = ""; }, 2500);
  });
  const leave = () => {
    opening.stop();
    attack.reset();
    viewer.close();
    chosen = current = null;
    document.body.classList.remove("is-open");
    one("#bench").hidden = true;
    gallery.mark(null);
  };
  const follow = (state) => {
    const found = /^(run|upload):(.+)$/.exec(state.image ?? "");
    if (!found) { leave(); return; }
    const [, kind, id] = found;
    const title = dug.find((choice) => choice.id === id)?.title ?? (kind === "run" ? id : "the picture");
    open({ kind: /** @type {"run"|"upload"} */ (kind), id, title }, state);
  };
  addEventListener("hashchange", () => {
    if (current && location.hash === `#${link()}`) return;
    const state = read(location.hash);
    isTouched = Boolean(state.methods);
    choices.take(state);
    follow(state);
  });
  follow(wanted);
}

/** What the server calls an image; one of the dig is brought in once. @param {any} chosen @param {AbortSignal} signal @param {any} onWait @returns {Promise<string>} */
async function serverId(chosen, signal, onWait) {
  if (chosen.kind === "upload") return chosen.id;
  chosen.serverId ??= (await askJson("api/images", { method: "POST", form: { run: chosen.id }, signal, onWait })).id;
  return chosen.serverId;
}

/** @param {any} about @param {boolean} [isAttacked] */
function describe(about, isAttacked = false) {
  const who = (model) => (model.kind === "cnn" ? "CNN" : "ViT");
  const answers = about.models.filter((model) => model.answer).map((model) => ({ who: who(model), name: model.answer.name }));
  one("#verdict").textContent = verdict(isAttacked ? `${about.label ?? "the picture"}, attacked` : about.label, answers) || about.title;
  document.title = `${one("#verdict").textContent} \u00b7 Attention Archaeology`;
}

/** On a small screen the new picture is below: go there. */
function arrive() {
  const bench = one("#bench");
  if (bench.getBoundingClientRect().top > innerHeight * 0.6) bench.scrollIntoView({ block: "start" });
}

/** @returns {Promise<boolean>} */
async function copied() {
  try { await navigator.clipboard.writeText(location.href); return true; } catch { return false; }
}

one("#skip").addEventListener("click", (event) => {
  event.preventDefault();
  const bench = one("#bench");
  if (bench.hidden) one("#choose").focus(); else bench.focus();
});
one("#trouble-again").addEventListener("click", () => { calm(); again(); });
one("#trouble-close").addEventListener("click", calm);
start();
