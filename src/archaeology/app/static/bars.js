/** What a model answered before and after something was done: bars, numbers, the change. */

import { make } from "./dom.js";
import { number, percent, signed } from "./words.js";

/** @typedef {{name: string, logit: number, probability: number}} Answer */

/**
 * The classes of either answer, the surest first.
 * @param {Answer[]} before @param {Answer[]} after @param {number} [most]
 * @returns {{name: string, before: Answer|null, after: Answer|null, change: number|null}[]}
 */
export function compared(before, after, most = 6) {
  const names = [...new Set([...before, ...after].map((answer) => answer.name))];
  const of = (answers, name) => answers.find((answer) => answer.name === name) ?? null;
  const rows = names.map((name) => {
    const [was, is] = [of(before, name), of(after, name)];
    return { name, before: was, after: is, change: was && is ? is.logit - was.logit : null };
  });
  const weight = (row) => Math.max(row.before?.logit ?? -Infinity, row.after?.logit ?? -Infinity);
  return rows.sort((a, b) => weight(b) - weight(a)).slice(0, most);
}

/** The surest answer. @param {Answer[]} answers @returns {Answer} */
export function top(answers) {
  return answers.reduce((best, answer) => (answer.logit > best.logit ? answer : best));
}

/**
 * From where to where each bar reaches, in percent of the width, on one scale that holds zero.
 * @param {number[]} values @returns {{start: number, length: number}[]}
 */
export function reaches(values) {
  const low = Math.min(0, ...values), high = Math.max(0, ...values);
  const place = (value) => (high > low ? 100 * (value - low) / (high - low) : 0);
  return values.map((value) => ({ start: Math.min(place(0), place(value)), length: Math.abs(place(value) - place(0)) }));
}

/** @param {string} className @param {{start: number, length: number}|null} reach @returns {HTMLElement} */
function bar(className, reach) {
  const fill = make("i", { class: className });
  if (reach) {
    fill.style.marginInlineStart = `${reach.start}%`;
    fill.style.width = `max(1px, ${reach.length}%)`;
  }
  return make("span", { class: "bar" }, fill);
}

/** @param {string} before @param {string} after @returns {HTMLElement} */
function twoLines(before, after) {
  return make("td", { class: "two" }, make("span", { text: before }), make("span", { text: after }));
}

/**
 * @param {string} title for screen readers @param {Answer[]} before @param {Answer[]} after
 * @returns {HTMLTableElement}
 */
export function barsTable(title, before, after) {
  const rows = compared(before, after);
  const logits = rows.flatMap((row) => [row.before?.logit, row.after?.logit]).filter(Number.isFinite);
  const reach = new Map(logits.map((value, i) => [value, reaches(logits)[i]]));
  const names = ["Class", "Before, after", "Logit", "Prob.", "Change"];
  const head = make("tr", {}, ...names.map((text) => make("th", { scope: "col", text })));
  const chosen = top(after).name;
  const body = rows.map((row) => make("tr", { class: row.name === chosen ? "chosen" : null },
    make("th", { scope: "row", text: row.name }),
    make("td", { class: "two bars-cell", "aria-hidden": "true" }, bar("was", reach.get(row.before?.logit) ?? null), bar("is", reach.get(row.after?.logit) ?? null)),
    twoLines(number(row.before?.logit), number(row.after?.logit)),
    twoLines(percent(row.before?.probability), percent(row.after?.probability)),
    make("td", { class: "change", text: signed(row.change) })));
  return make("table", { class: "logits" }, make("caption", { class: "unseen", text: title }), make("thead", {}, head), make("tbody", {}, ...body));
}
