/** Numbers and answers in words: the same everywhere on the page. */

const MINUS = "\u2212";
const NARROW = "\u202f";

/** @param {number|null|undefined} share between 0 and 1 @returns {string} */
export function percent(share) {
  if (!Number.isFinite(share)) return "\u2013";
  if (share > 0.9995 && share < 1) return `>99.9${NARROW}%`;
  if (share > 0 && share < 0.0005) return `<0.1${NARROW}%`;
  return `${(100 * share).toFixed(share >= 0.9995 || share === 0 ? 0 : 1)}${NARROW}%`;
}

/** @param {number|null|undefined} value @param {number} [digits] @returns {string} */
export function number(value, digits = 2) {
  return Number.isFinite(value) ? value.toFixed(digits).replace("-", MINUS) : "\u2013";
}

/** A change carries its sign. @param {number|null} value @param {number} [digits] @returns {string} */
export function signed(value, digits = 2) {
  if (!Number.isFinite(value)) return "\u2013";
  const words = number(value, digits);
  return value > 0 && Number(value.toFixed(digits)) !== 0 ? `+${words}` : words;
}

/** @param {number} count @param {string} one @param {string} [many] @returns {string} */
export function counted(count, one, many = `${one}s`) {
  return `${count} ${count === 1 ? one : many}`;
}

/** @param {number} bytes @returns {string} */
export function megabytes(bytes) {
  return bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/**
 * One sentence about an answer before and after something was done.
 * @param {string} who @param {{name: string, probability: number}} before @param {{name: string, probability: number}} after
 * @returns {string}
 */
export function turned(who, before, after) {
  const odds = `${percent(before.probability)} \u2192 ${percent(after.probability)}`;
  if (before.name === after.name) return `${who} still says ${after.name} (${odds}).`;
  return `${who} says ${after.name} (${percent(after.probability)}) instead of ${before.name} (was ${percent(before.probability)}).`;
}

/**
 * What two models answer, as a heading.
 * @param {string|null} label the truth, where it is known @param {{who: string, name: string}[]} answers
 * @returns {string}
 */
export function verdict(label, answers) {
  if (!answers.length) return label ?? "";
  const says = (answer) => `the ${answer.who} says ${answer.name}`;
  const same = answers.length > 1 && answers.every((answer) => answer.name === answers[0].name);
  const told = same ? `${answers.length === 2 ? "both" : "all"} say ${answers[0].name}` : answers.map(says).join(", ");
  const sentence = label ? `${label}: ${told}` : told;
  return sentence[0].toUpperCase() + sentence.slice(1);
}
