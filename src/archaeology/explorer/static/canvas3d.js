// The 3D view without a graphics card: the same tiles, laid flat with an affine transform each on a plain canvas.

import { paint } from "./colours.js";

/** @typedef {import("./scene3d.js").Scene3d} Scene3d */
/** @typedef {import("./webgl3d.js").Look} Look */

/** A canvas that is never shown. @param {number} width @param {number} height @param {Uint8ClampedArray} rgba */
function hiddenCanvas(width, height, rgba) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").putImageData(new ImageData(rgba, width, height), 0, 0);
  return canvas;
}

/** Draws a scene with the 2D canvas that every browser has. */
export class CanvasPainter {
  /** @param {HTMLCanvasElement} canvas @param {{width: number, height: number, pixels: Uint8Array}} image */
  constructor(canvas, image) {
    this.canvas = canvas;
    const rgba = new Uint8ClampedArray(4 * image.width * image.height).fill(255);
    for (let from = 0, to = 0; from < image.pixels.length; from += 3, to += 4) {
      rgba.set(image.pixels.subarray(from, from + 3), to);
    }
    this.picture = hiddenCanvas(image.width, image.height, rgba);
    this.atlas = this.picture;
  }

  /** New numbers. @param {Scene3d} scene @param {Uint8Array} map */
  load(scene, map) {
    const { width, height } = scene.atlas;
    this.atlas = hiddenCanvas(width, height, new Uint8ClampedArray(4 * width * height));
    const context = this.atlas.getContext("2d");
    for (const { tile, cell } of scene.places) {
      const rgba = new Uint8ClampedArray(4 * tile.rows * tile.columns);
      paint(tile.values, tile.low, tile.high, map, rgba);
      context.putImageData(new ImageData(rgba, tile.columns, tile.rows), cell.x, cell.y);
    }
  }

  /** One frame. @param {Scene3d} scene @param {Look} look */
  paint(scene, look) {
    const context = this.canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    context.imageSmoothingEnabled = false;
    for (const layer of look.order) {
      context.globalAlpha = layer < 0 ? 1 : look.alphas[layer];
      if (layer < 0) {
        this.paintPicture(context, scene, look);
        continue;
      }
      const { first, count } = scene.layers[layer];
      for (let number = first; number < first + count; number += 1) this.paintTile(context, scene, look, number);
    }
  }

  /** @param {CanvasRenderingContext2D} context @param {Look} look unit square onto a box in the plane at `z` */
  place(context, look, box, z) {
    const { camera, ratio } = look;
    const left = [0, 1].map((axis) =>
      camera.origin[axis] + box.x * camera.right[axis] + box.y * camera.down[axis] + z * camera.ahead[axis]);
    const [a, b] = camera.right.map((value) => value * box.width * ratio);
    const [c, d] = camera.down.map((value) => value * box.height * ratio);
    context.setTransform(a, b, c, d, left[0] * ratio, left[1] * ratio);
  }

  paintPicture(context, scene, look) {
    this.place(context, look, scene.picture, 0);
    context.drawImage(this.picture, 0, 0, 1, 1);
    if (!look.query) return;
    this.outline(context, look.query, 4 * look.ratio, "black");
    this.place(context, look, scene.picture, 0);
    this.outline(context, look.query, 2 * look.ratio, "white");
  }

  paintTile(context, scene, look, number) {
    const { tile, x, y, z, cell } = scene.places[number];
    this.place(context, look, { x, y, width: 1, height: 1 }, z);
    context.drawImage(this.atlas, cell.x, cell.y, tile.columns, tile.rows, 0, 0, 1, 1);
    const isSelected = number === look.selected;
    const isMarked = isSelected || number === look.hovered;
    const [red, green, blue] = look.ink.map((part) => Math.round(255 * part));
    const ink = isMarked ? `rgb(${red} ${green} ${blue})` : "rgb(128 128 128 / 60%)";
    this.outline(context, [0, 0, 1, 1], (isSelected ? 3 : isMarked ? 2 : 0.6) * look.ratio, ink);
  }

  /** @param {CanvasRenderingContext2D} context @param {number[]} box @param {number} width in pixels of the screen */
  outline(context, box, width, ink) {
    context.beginPath();
    context.rect(box[0], box[1], box[2], box[3]);
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.lineWidth = width;
    context.strokeStyle = ink;
    context.stroke();
  }

  /** Nothing is held outside of JavaScript's memory. */
  destroy() {
    this.atlas = this.picture;
  }
}
