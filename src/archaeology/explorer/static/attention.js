/**
 * What one token looks at, and who looks at it, in every layer and head at once.
 *
 * A query is a number: a token of the finest grid (prefix tokens first, then the patches row by row), a word where the
 * attention is across, or -1 for all patches together. Layers with a coarser grid are asked for the patch that lies there.
 */

const SQUARES = Float32Array.from({ length: 256 }, (_, level) => (level / 255) ** 2);
/** The query that stands for the mean of all patches. */
export const EVERY_PATCH = -1;

/**
 * One layer's answer to one query.
 *
 * @typedef {object} Look
 * @property {number} rows @property {number} columns @property {number} heads
 * @property {Float32Array} values [head, patch]: share of attention; NaN where the query cannot look.
 * @property {Float32Array} rest [head, prefix token]: the shares that prefix tokens have.
 * @property {number} keys How many keys a query shares its attention over: 1 / keys is an even share.
 * @property {boolean} isPart Whether the query looks only at a part of the image (its window).
 */

/** Patterns of one model. */
export class Attention {
  /** @param {object} packed @param {object|null} layout @param {(packed: object|null) => object|null} block */
  constructor(packed, layout, block) {
    this.kind = packed.kind;
    this.words = packed.queries ?? null;
    this.layers = packed.layers.map((layer) => ({
      ...layer, pattern: block(layer.pattern), places: block(layer.places)?.data ?? null, seats: null,
    }));
    this.readout = block(packed.readout);
    const finest = this.layers.reduce((best, layer) => layer.rows * layer.columns > best.rows * best.columns ? layer : best);
    this.rows = finest.rows;
    this.columns = finest.columns;
    this.prefix = this.kind === "token" ? layout?.prefix ?? [] : [];
    this.hasPatterns = this.layers.every((layer) => layer.pattern);
    this.numHeads = Math.max(...this.layers.map((layer) => layer.heads));
    this.readoutQuery = this.words || (layout?.readout === "class_token" && this.prefix.length) ? 0 : EVERY_PATCH;
    this.served = new Map();
    this.last = null;
    this.top = null;
  }

  /** Number of queries that can be named. */
  get numQueries() { return this.words ? this.words.length : this.prefix.length + this.rows * this.columns; }

  /** Whether a query can be answered from what is here. @param {number} query @param {string} direction */
  has(query, direction) {
    if (this.hasPatterns) return true;
    return direction === "pays" && (this.served.has(query) || (query === this.readoutQuery && this.readout !== null));
  }

  /** Keep the rows that a server computed: [layer, head, key]. @param {number} query @param {object} block */
  serve(query, block) {
    if (this.served.size >= 64) this.served.delete(this.served.keys().next().value);
    this.served.set(query, block);
    this.last = null;
  }

  /** Every layer's answer. @param {number} query @param {"pays"|"receives"} direction @returns {Look[]} */
  look(query, direction = "pays") {
    const name = `${query} ${direction}`;
    if (this.last?.name !== name) this.last = { name, looks: this.layers.map((layer, index) => this.lookInLayer(layer, index, query, direction)) };
    return this.last.looks;
  }

  /**
   * What a layer is asked for a query. A layer that a late class token has not joined yet is read by its patches, and
   * knows no other prefix token: null.
   * @param {number} index @param {number} query @param {string} direction @returns {number|null}
   */
  askedIn(index, query, direction = "pays") {
    const layer = this.layers[index];
    if (!layer.pattern || query < 0 || query >= this.prefix.length) return query;
    if (layer.pattern.shape[2] - layer.rows * layer.columns >= this.prefix.length) return query;
    return query === this.readoutQuery && direction === "pays" ? EVERY_PATCH : null;
  }

  /** @param {object} layer @param {number} index @param {number} query @param {string} direction @returns {Look} */
  lookInLayer(layer, index, query, direction) {
    if (!layer.pattern) return this.lookServed(layer, index, query);
    if (this.kind === "window") return lookInWindows(layer, query < 0 ? query : placeIn(query, this, layer), direction);
    const [, queries, keys] = layer.pattern.shape, patches = layer.rows * layer.columns, prefix = keys - patches;
    const look = emptyLook(layer, prefix, keys, false);
    const asked = this.askedIn(index, query, direction), place = asked - this.prefix.length;
    if (asked === null) { look.values.fill(NaN); look.rest.fill(NaN); return look; }
    const token = this.words || asked < 0 || place < 0 ? asked : prefix + placeIn(place, this, layer);
    for (let head = 0; head < layer.heads; head++) {
      const row = decodeLine(layer.pattern, head * queries, queries, keys, token, direction, prefix);
      look.rest.set(row.subarray(0, prefix), head * prefix);
      look.values.set(row.subarray(prefix, prefix + patches), head * patches);
    }
    return look;
  }

  /** From rows of a server, or from what the readout pays. */
  lookServed(layer, index, query) {
    const patches = layer.rows * layer.columns, prefix = this.prefix.length, block = this.served.get(query);
    const look = emptyLook(layer, block ? prefix : 0, patches + prefix, false);
    const from = block ?? (query === this.readoutQuery ? this.readout : null);
    if (!from) { look.values.fill(NaN); return look; }
    const width = from.shape[2], skip = width - patches;
    for (let head = 0; head < layer.heads; head++) {
      const row = decodeRow(from, index * from.shape[1] + head, width);
      if (skip > 0 && look.rest.length) look.rest.set(row.subarray(0, skip), head * skip);
      look.values.set(row.subarray(skip), head * patches);
    }
    return look;
  }

  /**
   * Where the colours end that all layers, heads and queries share, in multiples of an even share.
   *
   * 99 of 100 weights of a few queries lie below, in every head: one sharp head does not darken all others.
   */
  get high() {
    if (this.top !== null) return this.top;
    const asked = this.hasPatterns ? Array.from({ length: 5 }, (_, i) => Math.floor((i + 0.5) * this.numQueries / 5)) : [];
    const found = [...new Set([this.readoutQuery, ...asked])].flatMap((query) => this.layers.map((layer, index) => {
      const look = this.lookInLayer(layer, index, query, "pays");
      return look.values.filter((share) => share >= 0).map((share) => share * look.keys);
    }));
    this.top = percentile(found, 0.99) || 1;
    return this.top;
  }
}

/** The value that a part of all numbers do not exceed; 0 where there are none. @param {Float32Array[]} lists @param {number} part @returns {number} */
export function percentile(lists, part) {
  const all = new Float32Array(lists.reduce((sum, list) => sum + list.length, 0));
  let at = 0;
  for (const list of lists) { all.set(list, at); at += list.length; }
  return all.length ? all.sort()[Math.min(all.length - 1, Math.floor(part * all.length))] : 0;
}

/** @returns {Look} */
function emptyLook(layer, prefix, keys, isPart) {
  const { rows, columns, heads } = layer;
  return { rows, columns, heads, values: new Float32Array(heads * rows * columns), rest: new Float32Array(heads * prefix), keys, isPart };
}

/** The place of a coarser (or finer) grid that lies where a place of the finest grid has its middle. */
export function placeIn(place, from, to) {
  if (from.rows === to.rows && from.columns === to.columns) return place;
  const row = Math.floor((Math.floor(place / from.columns) + 0.5) * to.rows / from.rows);
  return row * to.columns + Math.floor((place % from.columns + 0.5) * to.columns / from.columns);
}

/** One row of a block, decoded. @param {object} block @param {number} row @param {number} width @returns {Float32Array} */
export function decodeRow(block, row, width) {
  const decoded = new Float32Array(width), start = row * width;
  if (!block.scales) { for (let key = 0; key < width; key++) decoded[key] = block.data[start + key]; return decoded; }
  const scale = block.scales[row];
  for (let key = 0; key < width; key++) decoded[key] = scale * SQUARES[block.data[start + key]];
  return decoded;
}

/** One column of a square block: what all queries pay to a key. */
export function decodeColumn(block, firstRow, queries, width, key) {
  const decoded = new Float32Array(queries);
  for (let query = 0; query < queries; query++) {
    const level = block.data[(firstRow + query) * width + key];
    decoded[query] = block.scales ? block.scales[firstRow + query] * SQUARES[level] : level;
  }
  return decoded;
}

/** A row, a column, or the mean over the rows of all patches; NaN where the layer has no such query. */
function decodeLine(block, firstRow, queries, keys, token, direction, prefix) {
  if (token === EVERY_PATCH) return meanOfRows(block, firstRow + (queries > prefix ? prefix : 0), queries > prefix ? queries - prefix : queries, keys);
  if (token >= (direction === "pays" ? queries : keys)) return new Float32Array(keys).fill(NaN);
  if (direction === "pays") return decodeRow(block, firstRow + token, keys);
  if (queries === keys) return decodeColumn(block, firstRow, queries, keys, token);
  return new Float32Array(keys).fill(NaN);
}

/** @returns {Float32Array} */
function meanOfRows(block, firstRow, count, width) {
  const mean = new Float32Array(width);
  for (let row = firstRow; row < firstRow + count; row++) {
    const scale = block.scales ? block.scales[row] / count : 1 / count, start = row * width;
    for (let key = 0; key < width; key++) mean[key] += scale * (block.scales ? SQUARES[block.data[start + key]] : block.data[start + key]);
  }
  return mean;
}

/** A query looks only at its window: the rest stays NaN. @returns {Look} */
function lookInWindows(layer, place, direction) {
  const [windows, heads, queries, keys] = layer.pattern.shape, patches = layer.rows * layer.columns;
  const look = emptyLook(layer, 0, keys, place >= 0);
  if (place < 0) return meanOfWindows(layer, look);
  look.values.fill(NaN);
  layer.seats ??= seatsOf(layer.places, patches);
  const seat = layer.seats[place];
  if (seat < 0) return look;
  const window = Math.floor(seat / keys), token = seat % keys;
  for (let head = 0; head < heads; head++) {
    const row = decodeLine(layer.pattern, (window * heads + head) * queries, queries, keys, token, direction, 0);
    for (let key = 0; key < keys; key++) {
      const target = layer.places[window * keys + key];
      if (target >= 0) look.values[head * patches + target] = row[key];
    }
  }
  return look;
}

/** The mean over all queries: each window's mean row, put where its tokens lie. */
function meanOfWindows(layer, look) {
  const [windows, heads, queries, keys] = layer.pattern.shape, patches = layer.rows * layer.columns;
  for (let window = 0; window < windows; window++) {
    for (let head = 0; head < heads; head++) {
      const mean = meanOfRows(layer.pattern, (window * heads + head) * queries, queries, keys);
      for (let key = 0; key < keys; key++) {
        const target = layer.places[window * keys + key];
        if (target >= 0) look.values[head * patches + target] = mean[key];
      }
    }
  }
  return look;
}

/** Where each place sits: window * tokens + token, or -1. */
function seatsOf(places, count) {
  const seats = new Int32Array(count).fill(-1);
  for (let seat = 0; seat < places.length; seat++) if (places[seat] >= 0 && seats[places[seat]] < 0) seats[places[seat]] = seat;
  return seats;
}

/** One head of a layer's answer, or the mean of its heads (-1): shares of patches and of prefix tokens. */
export function ofHead(look, head) {
  const patches = look.rows * look.columns, prefix = look.rest.length / look.heads;
  if (head >= 0 && head < look.heads) {
    return { values: look.values.subarray(head * patches, (head + 1) * patches), rest: look.rest.subarray(head * prefix, (head + 1) * prefix) };
  }
  return { values: meanOfHeads(look.values, look.heads, patches), rest: meanOfHeads(look.rest, look.heads, prefix) };
}

/** @returns {Float32Array} */
function meanOfHeads(values, heads, width) {
  const mean = new Float32Array(width);
  for (let head = 0; head < heads; head++) for (let place = 0; place < width; place++) mean[place] += values[head * width + place];
  for (let place = 0; place < width; place++) mean[place] /= heads;
  return mean;
}
