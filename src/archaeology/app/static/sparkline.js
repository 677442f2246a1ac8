/** A small line of how a number went. */

const SPACE = "http://www.w3.org/2000/svg";
const WIDTH = 120, HEIGHT = 28;

/**
 * The points of a line that fills the box, oldest on the left.
 * @param {number[]} values @param {number} total how many there will be @param {[number, number]|null} [range]
 * @returns {string}
 */
export function points(values, total, range = null) {
  const finite = values.filter(Number.isFinite);
  const low = range ? range[0] : Math.min(...finite), high = range ? range[1] : Math.max(...finite);
  const place = (value) => (high > low ? (value - low) / (high - low) : 0.5);
  return values.map((value, i) => [i, value]).filter(([, value]) => Number.isFinite(value))
    .map(([i, value]) => `${(WIDTH * i / Math.max(1, total - 1)).toFixed(1)},${(HEIGHT - 2 - (HEIGHT - 4) * place(value)).toFixed(1)}`).join(" ");
}

/** @param {SVGSVGElement} picture @param {number[]} values @param {number} total @param {[number, number]|null} [range] */
export function drawSparkline(picture, values, total, range = null) {
  let line = picture.firstElementChild;
  if (!line) {
    picture.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    picture.setAttribute("preserveAspectRatio", "none");
    line = picture.appendChild(document.createElementNS(SPACE, "polyline"));
  }
  line.setAttribute("points", points(values, total, range));
}
