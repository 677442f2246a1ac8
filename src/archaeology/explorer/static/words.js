/** Numbers, tokens and states in words: what the page says is written here, and nowhere else twice. */

/** Three significant digits, a real minus sign, no exponent for everyday sizes. @param {number} value @returns {string} */
export function numberWords(value) {
  if (!Number.isFinite(value)) return "none";
  const size = Math.abs(value);
  if (size === 0) return "0";
  const text = size >= 1e5 || size < 1e-4 ? size.toExponential(1) : size >= 100 ? size.toFixed(0) : size.toFixed(Math.max(0, 2 - Math.floor(Math.log10(size))));
  return (value < 0 ? "\u2212" : "") + (text.includes(".") && !text.includes("e") ? text.replace(/\.?0+$/, "") : text);
}

/** A share in percent: 12 %, 3.4 %, 0.05 %. @param {number} share @returns {string} */
export function percentWords(share) {
  if (!Number.isFinite(share)) return "none";
  const percent = 100 * share;
  return `${percent > 0 && percent < 0.01 ? "under 0.01" : percent.toFixed(percent >= 9.95 || percent === 0 ? 0 : percent >= 0.995 ? 1 : 2)}\u00a0%`;
}

/** How a unit is written, whoever wrote it. @param {string|null|undefined} unit @returns {string} */
export function unitWords(unit) {
  const plain = (unit ?? "").trim();
  return /^[x\u00d7] (an )?even share$/.test(plain) ? "\u00d7 an even share" : plain;
}

/** @param {string} word @returns {string} */
export function capitalised(word) {
  return word.charAt(0).toUpperCase() + word.slice(1);
}

/** A prefix token's name on its button: "class", "register 2". @param {string[]} prefix @param {number} index */
export function prefixName(prefix, index) {
  const name = prefix[index].replaceAll("_", " ");
  const isOne = prefix.filter((other) => other === prefix[index]).length === 1;
  return isOne ? name : `${name} ${prefix.slice(0, index + 1).filter((other) => other === prefix[index]).length}`;
}

/** A query in a sentence. @param {import("./attention.js").Attention} attention @param {number} query @returns {string} */
export function queryWords(attention, query) {
  if (query < 0) return "all patches together";
  if (attention.words) return `the word \u201c${attention.words[query]}\u201d`;
  if (query < attention.prefix.length) return /^(class|register)/.test(attention.prefix[query]) ? (attention.prefix[query] === "class" ? "the class token" : prefixName(attention.prefix, query)) : `the ${prefixName(attention.prefix, query)} token`;
  return placeWords(query - attention.prefix.length, attention.columns);
}

/** @param {number} place @param {number} columns @returns {string} */
export function placeWords(place, columns) {
  return `the patch in row ${Math.floor(place / columns) + 1}, column ${place % columns + 1}`;
}

/** @param {number} layer @param {number} head @param {number} heads @returns {string} */
export function headWords(layer, head, heads) {
  return `Layer ${layer + 1}, ${head < 0 ? (heads === 1 ? "its one head" : `mean of ${heads} heads`) : `head ${head + 1}`}`;
}

/** A model's answer. @param {object} model @returns {string} */
export function answerWords(model) {
  const answer = model.answer;
  if (!answer) return "";
  return `${answer.name}${Number.isFinite(answer.confidence) ? `, ${percentWords(answer.confidence)}` : ""}`;
}

/**
 * What is lost without a head, with its interval, and whether that is more than chance among all heads tried.
 * @param {{value: number, low: number, high: number, n: number, tried?: number|null, verdict?: string|null}|null} effect Drop of accuracy, 0 to 1.
 */
export function effectWords(effect) {
  if (!effect || !Number.isFinite(effect.value)) return "What happens without this head was not measured.";
  const points = (value) => numberWords(Math.round(1e4 * value) / 100), isSure = effect.low > 0 || effect.high < 0, { tried, verdict } = effect;
  const about = [Number.isFinite(effect.low) ? `95\u00a0% interval ${points(effect.low)} to ${points(effect.high)}` : "", effect.n ? `n = ${effect.n.toLocaleString("en")}` : "", tried > 1 && !verdict ? `not corrected for ${tried} heads` : ""].filter(Boolean).join(", ");
  const change = points(effect.value) === "0" ? "stays the same" : `${effect.value > 0 ? "falls" : "rises"} by ${points(Math.abs(effect.value))} points`;
  return `Without this head accuracy ${change}${about ? ` (drop: ${about})` : ""}${Number.isFinite(effect.low) && !isSure && !verdict ? "; that could be chance" : ""}.${verdict ? ` ${verdictWords(verdict, tried)}` : ""}`;
}

/** What a test of the loss found. @param {string} verdict @param {number|null|undefined} tried How many heads it is corrected for; that a head is useless is judged by an interval of its own. */
function verdictWords(verdict, tried) {
  const about = { needed: ": without it the loss rises by more than chance", harmful: ": without it the loss falls by more than chance" }[verdict] ?? "";
  return `${capitalised(verdict)}${about}${tried > 1 && !verdict.startsWith("useless") ? `, corrected for ${tried} heads (Holm)` : ""}.`;
}

/** Why there is no picture. @param {"empty"|"missing"|"waiting"|"failed"|"unseen"|"aside"|"out"} state */
export function stateWords(state) {
  return {
    empty: "No positive evidence: this method finds nothing here that speaks for the answer.",
    missing: "Not computed for this image.",
    waiting: "Computing this query\u2026",
    failed: "This query could not be computed. Choose it again, or another.",
    unseen: "Only the attention of the readout is stored for this image. Choose it above; the app computes others where it has the model.",
    aside: "Not computed for this model. Choose the model to compute this query.",
    out: "This layer has no such query.",
  }[state] ?? "";
}
