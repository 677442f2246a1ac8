// Where everything stands in the 3D view: heads on slabs, slabs one behind the other, seen from any side without perspective.

/**
 * @typedef {{layer: number, head: number, rows: number, columns: number, values: ArrayLike<number>, low: number,
 *   high: number, title?: string}} Tile  one head's map; NaN where nothing is there
 * @typedef {{tile: Tile, x: number, y: number, z: number, cell: {x: number, y: number}}} Place  left upper corner, side 1
 * @typedef {{places: Place[], layers: {first: number, count: number, z: number}[], width: number, height: number,
 *   depth: number, picture: {x: number, y: number, width: number, height: number}, atlas: {width: number, height: number}}} Scene3d
 * @typedef {{origin: number[], right: number[], down: number[], ahead: number[], scale: number}} Camera  in pixels:
 *   where (0, 0, 0) is on the screen and where a unit to the right, down and ahead (towards the viewer) leads
 */

const SLAB_GAP = 0.08; // between tiles, in sides of a tile
const FIRST_YAWS = [0.6, 0.75, 0.9, 1.05, 1.2];
const FIRST_PITCHES = [0.15, 0.3, 0.5, 0.7, 0.9, 1.05];

/**
 * Give every tile its place, and its cell in the atlas texture.
 * @param {Tile[]} tiles
 * @param {number} shape width over height of the picture
 * @returns {Scene3d}
 */
export function arranged(tiles, shape) {
  const sorted = [...tiles].sort((one, other) => one.layer - other.layer || one.head - other.head);
  const layers = [...new Set(sorted.map((tile) => tile.layer))];
  const most = Math.max(1, ...layers.map((layer) => sorted.filter((tile) => tile.layer === layer).length));
  const across = Math.max(1, Math.ceil(Math.sqrt(most / 2)));
  const step = 1 + SLAB_GAP;
  const width = across * step - SLAB_GAP;
  const height = Math.ceil(most / across) * step - SLAB_GAP;
  const spacing = Math.max(0.62 * width, 1);
  const cellWidth = Math.max(1, ...sorted.map((tile) => tile.columns));
  const cellHeight = Math.max(1, ...sorted.map((tile) => tile.rows));
  const perRow = Math.max(1, Math.ceil(Math.sqrt(sorted.length)));
  const scene = {
    places: [],
    layers: [],
    width,
    height,
    depth: layers.length * spacing,
    picture: { x: -width / 2, y: 0, width, height: 0 },
    atlas: { width: perRow * cellWidth, height: Math.max(1, Math.ceil(sorted.length / perRow)) * cellHeight },
  };
  layers.forEach((layer, order) => {
    const first = scene.places.length;
    const z = -(order + 1) * spacing;
    sorted.filter((tile) => tile.layer === layer).forEach((tile, index) => {
      const number = first + index;
      const cell = { x: (number % perRow) * cellWidth, y: Math.floor(number / perRow) * cellHeight };
      const x = (index % across) * step - width / 2;
      const y = Math.floor(index / across) * step - height / 2;
      scene.places.push({ tile, x, y, z, cell });
    });
    scene.layers.push({ first, count: scene.places.length - first, z });
  });
  const side = Math.min(width / shape, height);
  scene.picture = { x: -(side * shape) / 2, y: -side / 2, width: side * shape, height: side };
  return scene;
}

/**
 * A camera that shows the whole scene from a side, or a part of it where it is zoomed.
 * @param {Scene3d} scene
 * @param {{yaw: number, pitch: number, zoom: number, pan: number[]}} view
 * @param {{width: number, height: number, margin: number}} screen
 * @returns {Camera}
 */
export function cameraOf(scene, view, screen) {
  const [sy, cy, sp, cp] = [Math.sin(view.yaw), Math.cos(view.yaw), Math.sin(view.pitch), Math.cos(view.pitch)];
  const unit = { right: [cy, sp * sy], down: [0, cp], ahead: [-sy, sp * cy] };
  const corners = [];
  for (const x of [-scene.width / 2, scene.width / 2]) {
    for (const y of [-scene.height / 2, scene.height / 2]) {
      for (const z of [0, -scene.depth]) {
        corners.push([0, 1].map((axis) => x * unit.right[axis] + y * unit.down[axis] + z * unit.ahead[axis]));
      }
    }
  }
  const [low, high] = [Math.min, Math.max].map((end) => [0, 1].map((axis) => end(...corners.map((at) => at[axis]))));
  const room = [screen.width - 2 * screen.margin, screen.height - 2 * screen.margin];
  const fitting = Math.min(...[0, 1].map((axis) => Math.max(room[axis], 1) / Math.max(high[axis] - low[axis], 0.01)));
  const scale = fitting * view.zoom;
  const middle = [0, 1].map((axis) => (low[axis] + high[axis]) / 2);
  const times = (/** @type {number[]} */ vector) => vector.map((value) => value * scale);
  const origin = [screen.width, screen.height].map((size, axis) => size / 2 + view.pan[axis] - middle[axis] * scale);
  return { origin, right: times(unit.right), down: times(unit.down), ahead: times(unit.ahead), scale };
}

/** @param {Camera} camera @param {number} x @param {number} y @param {number} z @returns {[number, number]} on the screen */
export function projected(camera, x, y, z) {
  const along = (/** @type {number} */ axis) =>
    camera.origin[axis] + x * camera.right[axis] + y * camera.down[axis] + z * camera.ahead[axis];
  return [along(0), along(1)];
}

/**
 * The side from which most of the tiles is seen on this screen.
 * @param {Scene3d | null} scene @param {{width: number, height: number, margin: number} | null} screen
 * @returns {{yaw: number, pitch: number, zoom: number, pan: number[]}}
 */
export function bestView(scene, screen) {
  const views = FIRST_YAWS.flatMap((yaw) => FIRST_PITCHES.map((pitch) => ({ yaw, pitch, zoom: 1, pan: [0, 0] })));
  if (!scene || !screen) return views[0];
  const worth = (/** @type {typeof views[0]} */ view) => {
    const camera = cameraOf(scene, view, screen);
    const area = camera.right[0] * camera.down[1] - camera.right[1] * camera.down[0];
    return Math.abs(area) * shareSeen(scene, camera);
  };
  return views.reduce((best, view) => (worth(view) > worth(best) ? view : best));
}

/** Orders of the layers, farthest first; the picture is -1. @param {Scene3d} scene @param {{yaw: number}} view */
export function backToFront(scene, view) {
  const nearFirst = [-1, ...scene.layers.keys()];
  return Math.cos(view.yaw) >= 0 ? nearFirst.reverse() : nearFirst;
}

/** How much of a layer its neighbour leaves to be seen, 0 to 1. @param {Scene3d} scene @param {Camera} camera */
export function shareSeen(scene, camera) {
  const spacing = scene.depth / Math.max(scene.layers.length, 1);
  const wide = scene.width * Math.abs(camera.right[0]) + scene.height * Math.abs(camera.down[0]);
  const high = scene.width * Math.abs(camera.right[1]) + scene.height * Math.abs(camera.down[1]);
  const across = (spacing * Math.abs(camera.ahead[0])) / Math.max(wide, 1e-6);
  const up = (spacing * Math.abs(camera.ahead[1])) / Math.max(high, 1e-6);
  return Math.min(1, Math.max(across, up));
}

/**
 * The nearest tile under a point of the screen.
 * @param {Scene3d} scene @param {Camera} camera @param {number[]} order layers, farthest first
 * @param {number} x @param {number} y @returns {Place | null}
 */
export function placeAt(scene, camera, order, x, y) {
  const area = camera.right[0] * camera.down[1] - camera.right[1] * camera.down[0];
  if (Math.abs(area) < 1e-3 * camera.scale * camera.scale) return null; // seen from the edge
  const pointOn = (/** @type {number} */ z) => {
    const [left, top] = projected(camera, 0, 0, z);
    return [
      ((x - left) * camera.down[1] - (y - top) * camera.down[0]) / area,
      ((y - top) * camera.right[0] - (x - left) * camera.right[1]) / area,
    ];
  };
  const isIn = (/** @type {number[]} */ [across, down], left, top, width, height) =>
    across >= left && across < left + width && down >= top && down < top + height;
  for (const layer of [...order].reverse()) {
    if (layer < 0) {
      const { x: left, y: top, width, height } = scene.picture;
      if (isIn(pointOn(0), left, top, width, height)) return null;
      continue;
    }
    const { first, count, z } = scene.layers[layer];
    const point = pointOn(z);
    const found = scene.places.slice(first, first + count).find((place) => isIn(point, place.x, place.y, 1, 1));
    if (found) return found;
  }
  return null;
}

/** Levels 0 to 254 of a tile, 255 where there is no number. @param {Tile} tile @param {Uint8Array} out @returns {Uint8Array} */
export function levelsOf(tile, out = new Uint8Array(tile.rows * tile.columns)) {
  const scale = tile.high > tile.low ? 254 / (tile.high - tile.low) : 0;
  for (let index = 0; index < out.length; index += 1) {
    const value = tile.values[index];
    const level = scale === 0 ? 0 : (value - tile.low) * scale;
    out[index] = Number.isNaN(value) ? 255 : Math.min(254, Math.max(0, Math.round(level)));
  }
  return out;
}
