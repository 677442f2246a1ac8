/** A grid of patches over an image, painted with the pointer or the keys. */

import { opaque } from "./container.js";

/** Which patch is under a point of the picture. @param {number} x from 0 to 1 @param {number} y from 0 to 1 @param {[number, number]} grid rows, columns @returns {number} */
export function patchAt(x, y, [rows, columns]) {
  const inside = (share, count) => Math.min(count - 1, Math.max(0, Math.floor(share * count)));
  return inside(y, rows) * columns + inside(x, columns);
}

/** Where an arrow key leads. @param {number} place @param {string} key @param {[number, number]} grid @returns {number|null} */
export function moved(place, key, [rows, columns]) {
  const row = Math.floor(place / columns), column = place % columns;
  const to = { ArrowUp: [row - 1, column], ArrowDown: [row + 1, column], ArrowLeft: [row, column - 1], ArrowRight: [row, column + 1], Home: [row, 0], End: [row, columns - 1] }[key];
  if (!to) return null;
  return Math.min(rows - 1, Math.max(0, to[0])) * columns + Math.min(columns - 1, Math.max(0, to[1]));
}

/** @param {number} place @param {[number, number]} grid @returns {string} */
export function placeWords(place, [, columns]) {
  return `row ${Math.floor(place / columns) + 1}, column ${place % columns + 1}`;
}

/** A small picture of the pixels, to draw from. @param {{width: number, height: number, rgb: Uint8Array}} pixels @returns {HTMLCanvasElement} */
function pictureOf(pixels) {
  const canvas = document.createElement("canvas");
  canvas.width = pixels.width;
  canvas.height = pixels.height;
  canvas.getContext("2d").putImageData(new ImageData(opaque(pixels), pixels.width, pixels.height), 0, 0);
  return canvas;
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {{onPaint: (place: number, isHidden: boolean) => void, onMove: (place: number) => void}} told
 * @returns {{show: (pixels: any, grid: [number, number]) => void, draw: (hidden: Set<number>, fill: string) => void}}
 */
export function startPatches(canvas, { onPaint, onMove }) {
  let grid = /** @type {[number, number]} */ ([1, 1]), picture = /** @type {HTMLCanvasElement|null} */ (null);
  let place = 0, hidden = new Set(), fill = "grey", brush = /** @type {boolean|null} */ (null), last = -1;

  const draw = () => {
    if (!picture) return;
    const { width, height } = canvas, pen = canvas.getContext("2d");
    const [rows, columns] = grid, [wide, high] = [width / columns, height / rows];
    pen.imageSmoothingEnabled = picture.width >= 100;
    pen.drawImage(picture, 0, 0, width, height);
    for (const at of hidden) cover(pen, [at % columns * wide, Math.floor(at / columns) * high, wide, high], fill, picture, canvas);
    pen.strokeStyle = "rgba(255, 255, 255, .28)";
    pen.lineWidth = 1;
    pen.beginPath();
    for (let i = 1; i < columns; i += 1) { pen.moveTo(i * wide, 0); pen.lineTo(i * wide, height); }
    for (let i = 1; i < rows; i += 1) { pen.moveTo(0, i * high); pen.lineTo(width, i * high); }
    pen.stroke();
    if (canvas.matches(":focus-visible")) outline(pen, place % columns * wide, Math.floor(place / columns) * high, wide, high);
  };
  const under = (event) => {
    const box = canvas.getBoundingClientRect();
    return patchAt((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height, grid);
  };
  const paint = (at) => { if (at !== last && brush !== null && hidden.has(at) !== brush) onPaint(at, brush); last = at; };
  const lift = () => { brush = null; last = -1; };

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    place = under(event);
    brush = !hidden.has(place);
    canvas.setPointerCapture(event.pointerId);
    paint(place);
  });
  canvas.addEventListener("pointermove", (event) => { if (brush !== null) { place = under(event); paint(place); } });
  for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) canvas.addEventListener(name, lift);
  for (const name of ["focus", "blur"]) canvas.addEventListener(name, draw);
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const next = moved(place, event.key, grid);
    if (next !== null) { place = next; onMove(place); draw(); }
    else if (event.key === " " || event.key === "Enter") onPaint(place, !hidden.has(place));
    else return;
    event.preventDefault();
  });
  return {
    show: (pixels, shape) => {
      picture = pictureOf(pixels);
      grid = shape;
      place = Math.min(place, grid[0] * grid[1] - 1);
      canvas.width = 560;
      canvas.height = Math.round(560 * pixels.height / pixels.width);
      draw();
    },
    draw: (places, how) => { hidden = places; fill = how; draw(); },
  };
}

/** @param {CanvasRenderingContext2D} pen @param {[number, number, number, number]} box @param {string} fill @param {HTMLCanvasElement} picture @param {HTMLCanvasElement} canvas */
function cover(pen, [x, y, wide, high], fill, picture, canvas) {
  pen.save();
  pen.beginPath();
  pen.rect(x, y, wide, high);
  pen.clip();
  pen.fillStyle = "rgb(128, 128, 128)";
  pen.fillRect(x, y, wide, high);
  if (fill === "blur") {
    pen.filter = "blur(24px)";
    pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
    pen.filter = "none";
  }
  pen.strokeStyle = "rgba(255, 255, 255, .6)";
  pen.lineWidth = 2;
  pen.beginPath();
  pen.moveTo(x, y + high);
  pen.lineTo(x + wide, y);
  pen.stroke();
  pen.restore();
}

/** @param {CanvasRenderingContext2D} pen @param {number} x @param {number} y @param {number} wide @param {number} high */
function outline(pen, x, y, wide, high) {
  for (const [colour, line] of /** @type {[string, number][]} */ ([["#000", 8], ["#fff", 4]])) {
    pen.strokeStyle = colour;
    pen.lineWidth = line;
    pen.strokeRect(x + 4, y + 4, wide - 8, high - 8);
  }
}
