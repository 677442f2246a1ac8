/**
 * A packed subject ("AAX1") is one image with everything the explorer shows of it; this module reads its bytes.
 *
 * Bytes: "AAX1", the length of a JSON text, the JSON, zeros up to a multiple of 8, then the blobs it points into.
 * Nothing is unpacked before somebody looks: a block is a view into the bytes, rows are decoded when they are asked.
 */

import { Attention } from "./attention.js";

const ELEMENTS = { u8: Uint8Array, u16: Uint16Array, i32: Int32Array, f32: Float32Array, f16: Uint16Array };

/**
 * @typedef {{data: Uint8Array|Uint16Array|Int32Array|Float32Array, shape: number[], scales: Float32Array|null}} Block
 * @typedef {{at: number, shape: number[], type: string, coding?: string, scales?: Packed}} Packed
 */

/** The number that 16 bits of a half float stand for. @param {number} bits @returns {number} */
export function halfToNumber(bits) {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 0x1f, fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** The JSON and a reader of blocks. @param {ArrayBuffer} buffer */
export function openContainer(buffer) {
  const head = new Uint8Array(buffer, 0, Math.min(8, buffer.byteLength));
  const mark = String.fromCharCode(...head.subarray(0, 4));
  if (mark !== "AAX1" || buffer.byteLength < 8) {
    throw new Error(`A packed subject must begin with "AAX1", but ${buffer.byteLength} bytes beginning with ${JSON.stringify(mark)} came; pack it again with the archaeology of this page.`);
  }
  const length = new DataView(buffer).getUint32(4, true);
  if (8 + length > buffer.byteLength) throw new Error(`A packed subject is cut off: its text needs ${length} bytes, ${buffer.byteLength - 8} came; load it again.`);
  const json = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  const first = Math.ceil((8 + length) / 8) * 8;
  return { json, block: (packed) => packed ? readBlock(buffer, first, packed) : null };
}

/** @param {ArrayBuffer} buffer @param {number} first @param {Packed} packed @returns {Block} */
function readBlock(buffer, first, packed) {
  const Kind = ELEMENTS[packed.type];
  if (!Kind) throw new Error(`A block must be of type ${Object.keys(ELEMENTS).join(", ")}, but "${packed.type}" came.`);
  const count = packed.shape.reduce((product, size) => product * size, 1);
  const end = first + packed.at + count * Kind.BYTES_PER_ELEMENT;
  if (end > buffer.byteLength) throw new Error(`A packed subject is cut off: a block ends at byte ${end}, ${buffer.byteLength} came; load it again.`);
  const raw = new Kind(buffer, first + packed.at, count);
  const data = packed.type === "f16" ? Float32Array.from(raw, halfToNumber) : raw;
  const scales = packed.coding === "sqrt" ? readBlock(buffer, first, packed.scales).data : null;
  return { data, shape: packed.shape, scales };
}

/**
 * Everything of one image, with methods instead of blocks.
 *
 * @param {ArrayBuffer} buffer The container's bytes.
 * @returns {Subject}
 * @typedef {object} Subject
 * @property {string} id @property {string} title @property {string|null} label @property {string|null} note
 * @property {{width: number, height: number, pixels: Uint8Array}} image Red, green, blue of each pixel.
 * @property {Model[]} models
 * @property {(query: number, direction?: string) => Look[]} rows What the first model with attention has to say of a query.
 * @typedef {object} Model
 * @property {string} key @property {string} kind @property {string} name @property {object|null} answer
 * @property {{name: string, logit: number, probability: number}[]|null} logits
 * @property {{rows: number, columns: number, prefix: string[], readout: string}|null} layout
 * @property {Attention|null} attention @property {object[]} heads @property {HeatMap[]} maps
 * @typedef {object} HeatMap
 * @property {string} method @property {string} title @property {string} says @property {string} formula @property {string} unit
 * @property {number} rows @property {number} columns @property {Float32Array|null} values @property {[number, number]|null} shared
 * @property {boolean} knows_class @property {boolean} is_signed @property {"drawn"|"empty"|"missing"} state
 * @typedef {import("./attention.js").Look} Look
 */
export function decodeSubject(buffer) {
  const { json, block } = openContainer(buffer);
  if (json.schema !== 1) throw new Error(`This page reads subjects of schema 1, but schema ${json.schema} came; make the page again.`);
  const models = json.models.map((model) => ({
    ...model,
    heads: model.heads ?? [],
    maps: (model.maps ?? []).map((map) => ({ ...map, values: block(map.values)?.data ?? null })),
    attention: model.attention ? new Attention(model.attention, model.layout, block) : null,
  }));
  const image = { ...json.image, pixels: block(json.image.pixels).data };
  const rows = (query, direction) => models.find((model) => model.attention)?.attention.look(query, direction) ?? [];
  return { ...json, image, models, rows };
}

/** The bytes in a page's `<script type="application/octet-stream" data-encoding="deflate-base64">`. @param {string} text @returns {Promise<ArrayBuffer>} */
export async function inflateText(text) {
  const packed = Uint8Array.from(atob(text.trim()), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"))).arrayBuffer();
}
