// Words in the 3D view: the number of every layer that has room for it, of heads on the chosen layer, and what is pointed at.

import { projected } from "./scene3d.js";

/** @typedef {import("./scene3d.js").Scene3d} Scene3d */
/** @typedef {import("./scene3d.js").Camera} Camera */
/** @typedef {{text: string, at: number[], size: number}} Label3d  baseline's middle and height of letters, in pixels */

/** @param {Camera} camera @param {number} x @param {number} y @param {number} z @returns {number[]} below a point */
function belowPoint(camera, x, y, z) {
  const [left, top] = projected(camera, x, y, z);
  return [left, top + 16];
}

/**
 * What could be written, most important first.
 * @param {Scene3d} scene @param {Camera} camera
 * @param {{layer: number, head: number | null} | null} selected
 * @param {number} pointed number of the place under the pointer or the keyboard's cursor, -1 for none
 * @returns {Label3d[]}
 */
export function labels3d(scene, camera, selected, pointed) {
  /** @type {Label3d[]} */
  const found = [];
  const place = scene.places[pointed];
  if (place) {
    const at = projected(camera, place.x + 0.5, place.y, place.z);
    const text = `layer ${place.tile.layer + 1}, head ${place.tile.head + 1}`;
    found.push({ text, at: [at[0], Math.max(14, at[1] - 4)], size: 13 });
  }
  const layers = scene.layers.map(({ first, z }) => {
    const { layer } = scene.places[first].tile;
    const isChosen = layer === selected?.layer;
    const at = belowPoint(camera, 0, scene.height / 2, z);
    return { text: isChosen ? `layer ${layer + 1}` : `${layer + 1}`, at, size: isChosen ? 14 : 12, isChosen };
  });
  found.push(...layers.filter((label) => label.isChosen));
  const { picture } = scene;
  found.push({ text: "image", at: belowPoint(camera, 0, picture.y + picture.height, 0), size: 12 });
  if (layers.length) found.push({ ...layers[0], text: `layer ${layers[0].text}` });
  if (layers.length) found.push(layers[layers.length - 1]);
  found.push(...layers);
  for (const { tile, x, y, z } of scene.places) {
    if (tile.layer !== selected?.layer || camera.scale < 14) continue;
    const at = projected(camera, x + 0.5, y + 0.5, z);
    found.push({ text: `${tile.head + 1}`, at: [at[0], at[1] + 4], size: tile.head === selected.head ? 14 : 11 });
  }
  return found;
}

/**
 * Write what has room, in the order given.
 * @param {CanvasRenderingContext2D} context in pixels of CSS @param {Label3d[]} labels
 * @param {number[]} ink red, green, blue from 0 to 1
 */
export function writeLabels(context, labels, ink) {
  const isLight = ink[0] + ink[1] + ink[2] > 1.5; // light ink is written on a dark page
  context.textAlign = "center";
  context.lineWidth = 3;
  context.lineJoin = "round";
  context.strokeStyle = isLight ? "rgb(0 0 0 / 85%)" : "rgb(255 255 255 / 90%)";
  context.fillStyle = `rgb(${ink.map((part) => Math.round(255 * part)).join(" ")})`;
  /** @type {number[][]} */
  const taken = [];
  for (const { text, at, size } of labels) {
    context.font = `${size}px system-ui, sans-serif`;
    const half = context.measureText(text).width / 2 + 2;
    const box = [at[0] - half, at[1] - size, at[0] + half, at[1] + 3];
    if (taken.some((other) => box[0] < other[2] && other[0] < box[2] && box[1] < other[3] && other[1] < box[3])) continue;
    taken.push(box);
    context.strokeText(text, at[0], at[1]);
    context.fillText(text, at[0], at[1]);
  }
}
