/** Drawing on canvases: the photo, a map over it, hatching where nothing can be looked at, frames round patches. */

import { MAPS, SIGNED, paint } from "./colours.js";

/** @param {string} colours @param {boolean} isSigned @returns {Uint8Array} */
export function tableOf(colours, isSigned) {
  return isSigned ? SIGNED : MAPS[colours] ?? MAPS.viridis;
}

/** How opaque the map is at its lowest and at its highest colour; mix goes from 0 (photo) to 100 (map). @returns {[number, number]} */
export function opacities(mix) {
  return [Math.max(0, mix / 50 - 1), Math.min(1, mix / 55)];
}

/** RGBA of a map over a photo: what is low lets the photo through. @param {import("./shown.js").Shown} shown @returns {Uint8ClampedArray} */
export function paintOver(shown, colours, mix) {
  const rgba = paint(shown.values, shown.low, shown.high, tableOf(colours, shown.isSigned), new Uint8ClampedArray(4 * shown.values.length));
  const [least, most] = opacities(mix);
  for (let i = 0; i < shown.values.length; i++) {
    if (rgba[4 * i + 3] === 0) continue;
    rgba[4 * i + 3] = 255 * (least + (most - least) * strength(shown, shown.values[i]) ** 0.6);
  }
  return rgba;
}

/** How far a value is from the colour that means nothing, 0 to 1. */
function strength(shown, value) {
  const share = Math.min(1, Math.max(0, (value - shown.low) / (shown.high - shown.low)));
  return shown.isSigned ? Math.abs(2 * share - 1) : share;
}

/** A canvas of its own. @param {number} width @param {number} height */
export function makeCanvas(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  return canvas;
}

/** The photo in colours and in quiet greys. @param {{width: number, height: number, pixels: Uint8Array}} image */
export function photosOf(image) {
  const plain = new ImageData(image.width, image.height), grey = new ImageData(image.width, image.height);
  for (let i = 0, from = 0; i < image.width * image.height; i++, from += 3) {
    const [red, green, blue] = image.pixels.subarray(from, from + 3);
    const light = 0.88 * (0.2126 * red + 0.7152 * green + 0.0722 * blue);
    plain.data.set([red, green, blue, 255], 4 * i);
    grey.data.set([light, light, light, 255], 4 * i);
  }
  return { plain: canvasOf(plain), grey: canvasOf(grey), isSmall: image.width < 80 };
}

/** @param {ImageData} data */
export function canvasOf(data) {
  const canvas = makeCanvas(data.width, data.height);
  canvas.getContext("2d").putImageData(data, 0, 0);
  return canvas;
}

/**
 * One panel: photo, map, hatching.
 *
 * @param {CanvasRenderingContext2D} context @param {{x: number, y: number, width: number, height: number}} box
 * @param {object} photos @param {import("./shown.js").Shown} shown @param {{colours: string, mix: number}} view
 */
export function drawPanel(context, box, photos, shown, view) {
  const isDrawn = shown.state === "drawn" && view.mix > 0;
  context.imageSmoothingEnabled = !photos.isSmall;
  context.drawImage(isDrawn ? photos.grey : photos.plain, box.x, box.y, box.width, box.height);
  if (!isDrawn) return;
  const map = canvasOf(new ImageData(paintOver(shown, view.colours, view.mix), shown.columns, shown.rows));
  context.imageSmoothingEnabled = false;
  context.drawImage(map, box.x, box.y, box.width, box.height);
  if (shown.isPart) hatchUnseen(context, box, shown);
}

/** Lines through every patch that has no number. */
function hatchUnseen(context, box, shown) {
  context.save();
  context.beginPath();
  for (let place = 0; place < shown.values.length; place++) {
    if (Number.isNaN(shown.values[place])) { const cell = cellBox(box, shown, place); context.rect(cell.x, cell.y, cell.width, cell.height); }
  }
  context.clip();
  context.fillStyle = "rgba(0, 0, 0, .45)";
  context.fillRect(box.x, box.y, box.width, box.height);
  context.strokeStyle = "rgba(255, 255, 255, .35)";
  context.lineWidth = Math.max(1, box.width / 400);
  const step = box.width / 42;
  context.beginPath();
  for (let x = -box.height; x < box.width; x += step) { context.moveTo(box.x + x, box.y + box.height); context.lineTo(box.x + x + box.height, box.y); }
  context.stroke();
  context.restore();
}

/** Where a patch lies in a box. @param {{rows: number, columns: number}} grid */
export function cellBox(box, grid, place) {
  const width = box.width / grid.columns, height = box.height / grid.rows;
  return { x: box.x + (place % grid.columns) * width, y: box.y + Math.floor(place / grid.columns) * height, width, height };
}

/** A frame that is seen on every colour: white between two dark lines. @param {boolean} isKept Thick for the patch that is kept. */
export function frame(context, cell, isKept) {
  const width = isKept ? 2.5 : 1.5;
  context.lineJoin = "round";
  for (const [colour, line] of [["rgba(10, 12, 15, .85)", width + 2.5], ["#fff", width]]) {
    context.strokeStyle = colour;
    context.lineWidth = line;
    context.strokeRect(cell.x, cell.y, cell.width, cell.height);
  }
}

/** Hair lines between the patches. */
export function drawGrid(context, box, grid) {
  if (box.width / grid.columns < 7) return;
  context.strokeStyle = "rgba(255, 255, 255, .16)";
  context.lineWidth = 1;
  context.beginPath();
  for (let column = 1; column < grid.columns; column++) { const x = Math.round(box.x + column * box.width / grid.columns) + 0.5; context.moveTo(x, box.y); context.lineTo(x, box.y + box.height); }
  for (let row = 1; row < grid.rows; row++) { const y = Math.round(box.y + row * box.height / grid.rows) + 0.5; context.moveTo(box.x, y); context.lineTo(box.x + box.width, y); }
  context.stroke();
}

/** Patches that are covered: flat grey. @param {Set<number>} places */
export function drawCovered(context, box, grid, places) {
  for (const place of places) {
    const cell = cellBox(box, grid, place);
    context.fillStyle = "#808080";
    context.fillRect(cell.x, cell.y, cell.width, cell.height);
  }
}

/** The colours of a bar, over the grey that a photo has on average. @returns {Uint8ClampedArray} 256 x RGBA, opaque. */
export function barColours(shown, colours, mix) {
  const values = Float32Array.from({ length: 256 }, (_, i) => shown.low + (shown.high - shown.low) * i / 255);
  const rgba = paintOver({ ...shown, values }, colours, mix);
  for (let i = 0; i < 256; i++) {
    const opacity = rgba[4 * i + 3] / 255;
    for (let channel = 0; channel < 3; channel++) rgba[4 * i + channel] = opacity * rgba[4 * i + channel] + (1 - opacity) * 104;
    rgba[4 * i + 3] = 255;
  }
  return rgba;
}
