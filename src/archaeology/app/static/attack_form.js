/** What attack is wanted: its model, kind, norm, budget, steps and seed. */

import { budgetOf, budgetWords, epsilonOf, normName } from "./budgets.js";
import { make, one } from "./dom.js";

/** @typedef {{name: string, title: string, norms: string[], bounded: boolean, repeats: "steps"|"queries"|null}} Attack */

const USUAL = "pgd";
const REPEATS = { steps: { word: "Steps", usual: 20 }, queries: { word: "Questions", usual: 500 } };  // without gradients it takes more

/**
 * @param {Attack[]} attacks @param {any} bench what the page shows now, see bench.js
 * @returns {{wish: () => any, state: () => Record<string, string>, take: (state: Record<string, string>) => void, models: () => void}}
 */
export function startAttackForm(attacks, bench) {
  const parts = { model: one("#attack-model"), kind: one("#attack-kind"), norm: one("#attack-norm"), budget: one("#attack-budget"), steps: one("#attack-steps"), seed: one("#attack-seed") };
  const { model, kind, norm, budget, steps, seed } = parts;
  kind.replaceChildren(...attacks.map(({ name, title }) => make("option", { value: name, text: title || name })));
  choose(kind, USUAL);
  const chosen = () => attacks.find(({ name }) => name === kind.value) ?? attacks[0];
  const offer = () => offerNorms(parts, chosen());
  kind.addEventListener("change", () => {
    if (attacks.length) offer();
    steps.value = String(REPEATS[chosen()?.repeats ?? "steps"].usual);
    bench.changed();
  });
  norm.addEventListener("change", () => { offerBudget(parts); bench.changed(); });
  budget.addEventListener("input", () => nameBudget(parts));
  for (const part of [budget, steps, seed, model]) part.addEventListener("change", bench.changed);
  if (attacks.length) offer();
  const models = () => {
    const kept = model.value;
    model.replaceChildren(...bench.models().map(({ key, name, who }) => make("option", { value: key, text: `${who}: ${name}` })));
    choose(model, kept);
  };
  models();
  return {
    models,
    wish: () => ({ model: model.value, attack: kind.value, norm: norm.value, epsilon: epsilonOf(Number(budget.value), norm.value), steps: Number(steps.value), seed: Number(seed.value) }),
    state: () => ({ attack: kind.value, on: model.value, norm: norm.value, budget: budget.value, steps: steps.value, seed: seed.value }),
    take: (wanted) => {
      choose(kind, wanted.attack);
      if (attacks.length) offer();
      choose(norm, wanted.norm);
      offerBudget(parts);
      choose(model, wanted.on);
      for (const name of ["budget", "steps", "seed"]) if (/^\d+(\.\d+)?$/.test(wanted[name] ?? "")) parts[name].value = wanted[name];
      nameBudget(parts);
    },
  };
}

/** @param {Record<string, any>} parts */
function nameBudget({ budget, norm }) {
  const words = budgetWords(Number(budget.value), norm.value);
  one("#attack-budget-shown").textContent = words;
  budget.setAttribute("aria-valuetext", words);
}

/** @param {Record<string, any>} parts */
function offerBudget(parts) {
  const { low, high, step, usual, says } = budgetOf(parts.norm.value);
  Object.assign(parts.budget, { min: String(low), max: String(high), step: String(step), value: String(usual) });
  one("#attack-budget-says").textContent = says;
  nameBudget(parts);
}

/** @param {Record<string, any>} parts @param {Attack} attack */
function offerNorms(parts, { norms, bounded, repeats }) {
  const kept = parts.norm.value;
  parts.norm.replaceChildren(...norms.map((norm) => make("option", { value: norm, text: normName(norm) })));
  choose(parts.norm, kept);
  one("#attack-budget-field").hidden = !bounded;
  one("#attack-unbounded").hidden = bounded;
  parts.steps.closest("label").hidden = repeats === null;
  parts.steps.previousElementSibling.textContent = REPEATS[repeats ?? "steps"].word;
  offerBudget(parts);
}

/** @param {HTMLSelectElement} select @param {string|undefined} value */
function choose(select, value) {
  if ([...select.options].some((option) => option.value === value)) select.value = value;
}
