/** An attack on one model: choose it, run it, watch it, stop it, and see what it changed. */

import { ask, askBytes, eventsOf, isStopped } from "./api.js";
import { startAttackForm } from "./attack_form.js";
import { budgetOf } from "./budgets.js";
import { draw, perturbation, signedMap, unpacked } from "./container.js";
import { one, onlyLast } from "./dom.js";
import { drawSparkline } from "./sparkline.js";
import { number, percent } from "./words.js";

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
 * @param {import("./attack_form.js").Attack[]} attacks @param {any} bench what the page shows now, see bench.js
 * @returns {{reset: () => void, state: () => Record<string, string>, take: (state: Record<string, string>) => void, models: () => void}}
 */
export function startAttack(attacks, bench) {
  const form = startAttackForm(attacks, bench);
  const parts = {
    norm: one("#attack-norm"), run: one("#attack-run"), stop: one("#attack-stop"), says: one("#attack-says"),
    live: one("#attack-live"), announce: one("#attack-announce"),
  };
  const running = onlyLast();
  const isRunning = (value) => {
    const hadFocus = document.activeElement === parts.stop;
    parts.run.hidden = value;
    parts.stop.hidden = !value;
    if (value) parts.stop.focus(); else if (hadFocus) parts.run.focus();
  };
  const say = (text, isTrouble = false) => { parts.says.textContent = text; parts.says.classList.toggle("trouble-words", isTrouble); };
  const reset = (isAll = true) => {
    if (isAll) { running.stop(); isRunning(false); say(""); }
    one("#attack-result").hidden = true;
    parts.live.hidden = true;
    bench.forgetAfter();
  };
  const run = async () => {
    if (parts.run.hidden || !one("#attack-form").reportValidity()) return;
    const signal = running.start(), json = form.wish();
    const options = { signal, onWait: (seconds, words) => say(`${words} Trying again in ${Math.ceil(seconds)} s.`) };
    let path = null;
    reset(false);
    isRunning(true);
    say("Starting\u2026");
    try {
      const { id } = await bench.ask("attacks", { method: "POST", json, ...options });
      path = `api/attacks/${encodeURIComponent(id)}`;
      const done = await watch(await ask(`${path}/events`, options), parts);
      say("Looking at the attacked image\u2026");
      show(await askBytes(`${path}/subject?${bench.query()}`, options), bench, done, json.model, path);
    } catch (error) {
      if (!isStopped(error)) say(error.message, true);
      else if (path) ask(path, { method: "DELETE" }).catch(() => undefined);
    } finally {
      if (!signal.aborted) isRunning(false);
    }
  };
  one("#attack-form").addEventListener("submit", (event) => { event.preventDefault(); run(); });
  one("#attack-look").addEventListener("click", () => { one("#sides").scrollIntoView({ block: "start" }); one("#side-after").focus({ preventScroll: true }); });
  parts.stop.addEventListener("click", () => { running.stop(); isRunning(false); say("Stopped. Nothing was changed."); });
  return { reset, state: form.state, take: form.take, models: form.models };
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

/** @param {ArrayBuffer} buffer @param {any} bench @param {any} done @param {string} key of the attacked model @param {string} path of the attack */
function show(buffer, bench, done, key, path) {
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
  bench.showAfter(buffer, path);
}

/** @param {{name: string, confidence: number}|undefined} answer @returns {string} */
function said(answer) {
  return answer ? `${answer.name}, ${percent(answer.confidence)}` : "";
}
