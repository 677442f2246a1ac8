/** An attack on one model: choose it, run it, watch it, stop it, and see what it changed. */

import { ask, askBytes, eventsOf, isStopped } from "./api.js";
import { budgetOf, budgetWords, epsilonOf, normName } from "./budgets.js";
import { draw, perturbation, signedMap, unpacked } from "./container.js";
import { make, one, onlyLast } from "./dom.js";
import { drawSparkline } from "./sparkline.js";
import { number, percent } from "./words.js";

/** @typedef {{name: string, title: string, norms: string[], bounded: boolean}} Attack */

const USUAL = "pgd";
const STEPS = { square: 500 };  // it asks without gradients, so it needs more questions
const ONE_STEP = ["fgsm"];

/** What one step of an attack says. @param {any} step @returns {string} */
export function stepWords({ step, steps, prediction, confidence }) {
  const answer = typeof prediction === "string" ? ` The model says ${prediction} (${percent(confidence)}).` : "";
  return `Step ${step} of ${steps}.${answer}`;
}

/** What came of an attack. @param {any} done as the server's last event says @param {string} who @param {string|null} [label] the truth @returns {string} */
export function outcomeWords({ before, after, success, success_8bit: inAFile }, who, label = null) {
  if (!before || !after) return "The attack is done.";
  if (success && inAFile === false) return `Fooled only in theory: the ${who} says ${after.name}, but once the picture is rounded to 8 bits it says ${before.name} again.`;
  const kind = after.name === label ? "Put right" : "Fooled";
  if (before.name !== after.name) return `${kind}: the ${who} now says ${after.name} (${percent(after.confidence)}), not ${before.name}.`;
  return `Not fooled: the ${who} still says ${after.name} (${percent(after.confidence)}). A larger budget or more steps may change that.`;
}

/**
 * @param {Attack[]} attacks @param {any} bench what the page shows now, see bench.js
 * @returns {{reset: () => void, state: () => Record<string, string>, take: (state: Record<string, string>) => void, models: () => void}}
 */
export function startAttack(attacks, bench) {
  const parts = {
    model: one("#attack-model"), kind: one("#attack-kind"), norm: one("#attack-norm"), budget: one("#attack-budget"),
    shown: one("#attack-budget-shown"), steps: one("#attack-steps"), seed: one("#attack-seed"),
    run: one("#attack-run"), stop: one("#attack-stop"), says: one("#attack-says"), live: one("#attack-live"), announce: one("#attack-announce"),
  };
  const running = onlyLast();
  const chosen = () => attacks.find(({ name }) => name === parts.kind.value) ?? attacks[0];
  parts.kind.replaceChildren(...attacks.map(({ name, title }) => make("option", { value: name, text: title || name })));
  choose(parts.kind, USUAL);

  const nameBudget = () => {
    parts.shown.textContent = budgetWords(Number(parts.budget.value), parts.norm.value);
    parts.budget.setAttribute("aria-valuetext", parts.shown.textContent);
  };
  const offerBudget = () => {
    const { low, high, step, usual, says } = budgetOf(parts.norm.value);
    Object.assign(parts.budget, { min: String(low), max: String(high), step: String(step), value: String(usual) });
    one("#attack-budget-says").textContent = says;
    nameBudget();
  };
  const offerNorms = () => {
    const { norms, bounded } = chosen();
    const kept = parts.norm.value;
    parts.norm.replaceChildren(...norms.map((norm) => make("option", { value: norm, text: normName(norm) })));
    if (norms.includes(kept)) parts.norm.value = kept;
    one("#attack-budget-field").hidden = !bounded;
    one("#attack-unbounded").hidden = bounded;
    parts.steps.closest("label").hidden = ONE_STEP.includes(parts.kind.value);
    offerBudget();
  };
  const offerModels = () => {
    const kept = parts.model.value;
    parts.model.replaceChildren(...bench.models().map(({ key, name, who }) => make("option", { value: key, text: `${who}: ${name}` })));
    if ([...parts.model.options].some(({ value }) => value === kept)) parts.model.value = kept;
  };
  parts.kind.addEventListener("change", () => {
    offerNorms();
    parts.steps.value = String(STEPS[parts.kind.value] ?? 20);
    bench.changed();
  });
  parts.norm.addEventListener("change", () => { offerBudget(); bench.changed(); });
  parts.budget.addEventListener("input", nameBudget);
  for (const part of [parts.budget, parts.steps, parts.seed, parts.model]) part.addEventListener("change", bench.changed);

  const isRunning = (value) => {
    const hadFocus = document.activeElement === parts.stop;
    parts.run.hidden = value;
    parts.stop.hidden = !value;
    if (value) parts.stop.focus(); else if (hadFocus) parts.run.focus();
  };
  const say = (text, isTrouble = false) => { parts.says.textContent = text; parts.says.classList.toggle("trouble-words", isTrouble); };
  const wish = () => ({
    model: parts.model.value, attack: parts.kind.value, norm: parts.norm.value,
    epsilon: epsilonOf(Number(parts.budget.value), parts.norm.value), steps: Number(parts.steps.value), seed: Number(parts.seed.value),
  });

  const run = async () => {
    if (parts.run.hidden || !one("#attack-form").reportValidity()) return;
    const signal = running.start(), json = wish();
    const onWait = (seconds, words) => say(`${words} Trying again in ${Math.ceil(seconds)} s.`);
    let id = null;
    reset(false);
    isRunning(true);
    say("Starting\u2026");
    try {
      ({ id } = await bench.ask("attacks", { method: "POST", json, signal, onWait }));
      const done = await watch(await ask(`api/attacks/${encodeURIComponent(id)}/events`, { signal, onWait }), parts);
      say("Looking at the attacked image\u2026");
      const buffer = await askBytes(`api/attacks/${encodeURIComponent(id)}/subject?${bench.query()}`, { signal, onWait });
      show(buffer, bench, done, json.model);
    } catch (error) {
      if (!isStopped(error)) say(error.message, true);
      else if (id) ask(`api/attacks/${encodeURIComponent(id)}`, { method: "DELETE" }).catch(() => undefined);
    } finally {
      if (!signal.aborted) isRunning(false);
    }
  };
  const reset = (isAll = true) => {
    if (isAll) { running.stop(); isRunning(false); say(""); }
    one("#attack-result").hidden = true;
    parts.live.hidden = true;
    bench.forgetAfter();
  };
  one("#attack-form").addEventListener("submit", (event) => { event.preventDefault(); run(); });
  one("#attack-look").addEventListener("click", () => { one("#sides").scrollIntoView({ block: "start" }); one("#side-after").focus({ preventScroll: true }); });
  parts.stop.addEventListener("click", () => { running.stop(); isRunning(false); say("Stopped. Nothing was changed."); });
  offerNorms();
  offerModels();

  const state = () => ({ attack: parts.kind.value, on: parts.model.value, norm: parts.norm.value, budget: parts.budget.value, steps: parts.steps.value, seed: parts.seed.value });
  const take = (wanted) => {
    choose(parts.kind, wanted.attack);
    offerNorms();
    choose(parts.norm, wanted.norm);
    offerBudget();
    choose(parts.model, wanted.on);
    for (const [part, value] of [[parts.budget, wanted.budget], [parts.steps, wanted.steps], [parts.seed, wanted.seed]]) if (/^\d+(\.\d+)?$/.test(value ?? "")) part.value = value;
    nameBudget();
  };
  return { reset, state, take, models: offerModels };
}

/** @param {HTMLSelectElement} select @param {string|undefined} value */
function choose(select, value) {
  if ([...select.options].some((option) => option.value === value)) select.value = value;
}

/** Draws the progress until the attack is done. @param {Response} response @param {Record<string, any>} parts @returns {Promise<any>} */
async function watch(response, parts) {
  const losses = [], odds = [];
  let told = null;
  parts.live.hidden = false;
  for await (const { event, data } of eventsOf(response)) {
    if (event === "failed") throw new Error(data.error);
    if (event === "done") { tell(parts, losses, odds, data); return data; }
    if (event !== "progress") continue;
    losses.push(data.loss);
    odds.push(data.probability);
    tell(parts, losses, odds, data);
    if (data.prediction !== told) parts.announce.textContent = stepWords(data);
    told = data.prediction;
  }
  throw new Error("The attack broke off before its end. Run it again.");
}

/** @param {Record<string, any>} parts @param {number[]} losses @param {number[]} odds @param {any} data */
function tell(parts, losses, odds, data) {
  const steps = data.steps ?? losses.length, isDone = data.steps === undefined;
  one("#attack-progress").hidden = isDone;
  if (Number.isFinite(data.step)) {
    parts.says.textContent = stepWords(data);
    one("#attack-progress").value = data.step / Math.max(1, steps);
  }
  const loss = losses.at(-1);
  one("#attack-loss").textContent = number(loss);
  one("#attack-odds").textContent = percent(odds.at(-1));
  one("#attack-distance").textContent = Number.isFinite(data.distance) ? budgetDistance(data.distance, parts.norm.value) : "\u2013";
  if (!losses.length) return;
  drawSparkline(one("#attack-loss-line"), losses, isDone ? losses.length : steps);
  drawSparkline(one("#attack-odds-line"), odds, isDone ? odds.length : steps, [0, 1]);
}

/** A distance in the unit of the slider. @param {number} distance @param {string} norm @returns {string} */
function budgetDistance(distance, norm) {
  const { scale, unit } = budgetOf(norm);
  return `${number(distance / scale, unit ? 1 : 2)}${unit}`;
}

/** @param {ArrayBuffer} buffer @param {any} bench @param {any} done @param {string} key of the attacked model */
function show(buffer, bench, done, key) {
  const before = bench.subject(), after = unpacked(buffer);
  const { who } = bench.models().find((model) => model.key === key) ?? { who: "model" };
  one("#attack-says").textContent = one("#attack-announce").textContent = outcomeWords(done, who, before.about.label);
  one("#attack-result").hidden = false;
  const change = before.pixels.width === after.pixels.width && before.pixels.height === after.pixels.height ? perturbation(before.pixels, after.pixels) : signedMap(buffer, "perturbation");
  draw(one("#attack-before"), before.pixels);
  draw(one("#attack-after"), after.pixels);
  one("#attack-change-figure").hidden = !change;
  if (change) draw(one("#attack-change"), change);
  one("#attack-before-says").textContent = said(done.before);
  one("#attack-after-says").textContent = said(done.after);
  bench.showAfter(buffer);
}

/** @param {{name: string, confidence: number}|undefined} answer @returns {string} */
function said(answer) {
  return answer ? `${answer.name}, ${percent(answer.confidence)}` : "";
}
