/** How large an attack's change may be, in the unit people use for each norm. */

/** @typedef {{low: number, high: number, step: number, usual: number, scale: number, unit: string, says: string}} Budget */

/** @type {Record<string, Budget>} */
const BUDGETS = {
  linf: { low: 0.5, high: 32, step: 0.5, usual: 4, scale: 1 / 255, unit: "/255", says: "the most any colour value may change" },
  l2: { low: 0.05, high: 5, step: 0.05, usual: 0.5, scale: 1, unit: "", says: "the length of the whole change, with colours from 0 to 1" },
};

/** @param {string} norm @returns {Budget} */
export function budgetOf(norm) {
  return BUDGETS[norm] ?? BUDGETS.l2;
}

/** @param {string} norm @returns {string} */
export function normName(norm) {
  return { linf: "L\u221e: every pixel a little", l2: "L2: the change as a whole" }[norm] ?? norm;
}

/** What stands beside the slider. @param {number} value @param {string} norm @returns {string} */
export function budgetWords(value, norm) {
  const { unit, step } = budgetOf(norm);
  return `${value.toFixed(step < 0.1 ? 2 : step < 1 && value % 1 ? 1 : 0)}${unit}`;
}

/** @param {number} value as on the slider @param {string} norm @returns {number} as the server wants it */
export function epsilonOf(value, norm) {
  const { low, high, scale } = budgetOf(norm);
  return Math.min(high, Math.max(low, value)) * scale;
}
