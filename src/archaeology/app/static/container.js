/** Reads what the page itself needs of a packed subject ("AAX1"): its description and its pixels. */

const MAGIC = 0x31584141;

/**
 * @param {ArrayBuffer} buffer
 * @returns {{about: any, first: number, pixels: {width: number, height: number, rgb: Uint8Array}|null}}
 */
export function unpacked(buffer) {
  const view = new DataView(buffer);
  if (buffer.byteLength < 8 || view.getUint32(0, true) !== MAGIC) throw new Error("What came is not a packed subject.");
  const length = view.getUint32(4, true);
  const about = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  const first = Math.ceil((8 + length) / 8) * 8;
  const image = about.image;
  if (!image?.pixels) return { about, first, pixels: null };
  const rgb = new Uint8Array(buffer, first + image.pixels.at, image.width * image.height * 3);
  return { about, first, pixels: { width: image.width, height: image.height, rgb } };
}

/**
 * A signed map of a subject as a picture, times ten, around middle grey; null where it has none.
 * @param {ArrayBuffer} buffer @param {string} method @returns {{width: number, height: number, rgb: Uint8Array}|null}
 */
export function signedMap(buffer, method) {
  const { about, first } = unpacked(buffer);
  const map = about.models.flatMap((model) => model.maps ?? []).find((found) => found.method === method && found.values?.type === "f32");
  if (!map) return null;
  const values = new Float32Array(buffer, first + map.values.at, map.rows * map.columns);
  const rgb = new Uint8Array(values.length * 3);
  values.forEach((value, i) => rgb.fill(Math.min(255, Math.max(0, Math.round(128 + 2550 * value))), 3 * i, 3 * i + 3));
  return { width: map.columns, height: map.rows, rgb };
}

/** @param {{width: number, height: number, rgb: Uint8Array}} pixels @returns {Uint8ClampedArray} */
export function opaque({ width, height, rgb }) {
  const rgba = new Uint8ClampedArray(width * height * 4);
  for (let i = 0, j = 0; i < rgb.length; i += 3, j += 4) {
    rgba[j] = rgb[i];
    rgba[j + 1] = rgb[i + 1];
    rgba[j + 2] = rgb[i + 2];
    rgba[j + 3] = 255;
  }
  return rgba;
}

/**
 * What was added to an image, times ten, around middle grey.
 * @param {{width: number, height: number, rgb: Uint8Array}} before @param {{width: number, height: number, rgb: Uint8Array}} after
 * @returns {{width: number, height: number, rgb: Uint8Array}}
 */
export function perturbation(before, after) {
  const rgb = new Uint8Array(before.rgb.length);
  for (let i = 0; i < rgb.length; i += 1) rgb[i] = Math.min(255, Math.max(0, 128 + 10 * (after.rgb[i] - before.rgb[i])));
  return { width: before.width, height: before.height, rgb };
}

/** @param {HTMLCanvasElement} canvas @param {{width: number, height: number, rgb: Uint8Array}} pixels */
export function draw(canvas, pixels) {
  canvas.width = pixels.width;
  canvas.height = pixels.height;
  canvas.classList.toggle("pixel-art", pixels.width < 100);
  canvas.getContext("2d").putImageData(new ImageData(opaque(pixels), pixels.width, pixels.height), 0, 0);
}
