// The 3D view on the graphics card: one quad a head, all of them cut from one texture of levels, coloured by a table.

import { levelsOf } from "./scene3d.js";

/** @typedef {import("./scene3d.js").Scene3d} Scene3d */
/** @typedef {import("./scene3d.js").Camera} Camera */
/**
 * @typedef {{camera: Camera, order: number[], alphas: number[], selected: number, hovered: number, ink: number[],
 *   query: number[] | null, width: number, height: number, ratio: number}} Look  one frame: layers farthest first,
 *   how opaque each is, numbers of places, the colour of lines, the query's part of the picture (x, y, width, height)
 */

const TILE_VERTEX = `#version 300 es
uniform vec4 origin; // of the scene in pixels; size of the screen
uniform mat3x2 axes;
in vec3 place;
in vec2 corner;
in vec4 cell;
in float number;
out vec2 at;
flat out vec4 piece;
flat out float which;
void main() {
  at = corner;
  piece = cell;
  which = number;
  vec2 screen = (origin.xy + axes * place) / origin.zw;
  gl_Position = vec4(2.0 * screen.x - 1.0, 1.0 - 2.0 * screen.y, 0.0, 1.0);
}`;

const TILE_FRAGMENT = `#version 300 es
precision highp float;
uniform sampler2D levels;
uniform sampler2D colours;
uniform sampler2D picture;
uniform vec3 marked; // selected, hovered, pixels of the screen to one of CSS
uniform vec4 query;
uniform vec3 ink;
uniform float alpha;
in vec2 at;
flat in vec4 piece;
flat in float which;
out vec4 colour;
float inside(vec2 from, vec2 size) { // pixels from the edge of a box, negative outside
  vec2 away = min(at - from, from + size - at) / max(fwidth(at), vec2(1e-6));
  return min(away.x, away.y) / marked.z;
}
void main() {
  vec3 fill;
  float line = 0.6;
  vec3 pen = mix(ink, vec3(0.5), 0.6);
  float opaque = alpha;
  if (which < 0.0) {
    fill = texture(picture, at).rgb;
    float edge = query.z > 0.0 ? inside(query.xy, query.zw) : -9.0;
    if (edge > -2.0 && edge <= 0.0) fill = vec3(0.0);
    if (edge > 0.0 && edge < 2.0) fill = vec3(1.0);
  } else {
    ivec2 texel = ivec2(piece.xy + min(floor(at * piece.zw), piece.zw - 1.0));
    float level = floor(255.0 * texelFetch(levels, texel, 0).r + 0.5);
    bool isNothing = level > 254.5;
    fill = isNothing ? vec3(0.5) : texelFetch(colours, ivec2(floor(level * 255.0 / 254.0 + 0.5), 0), 0).rgb;
    if (isNothing) opaque *= 0.35;
    if (which == marked.y) { line = 2.0; pen = ink; }
    if (which == marked.x) { line = 3.0; pen = ink; }
  }
  bool isEdge = inside(vec2(0.0), vec2(1.0)) < line;
  colour = isEdge ? vec4(pen, max(alpha, 0.5)) : vec4(fill, opaque);
  colour.rgb *= colour.a;
}`;

/** @param {WebGL2RenderingContext} gl @returns {WebGLProgram} */
function compiledProgram(gl) {
  const program = gl.createProgram();
  for (const [kind, text] of [[gl.VERTEX_SHADER, TILE_VERTEX], [gl.FRAGMENT_SHADER, TILE_FRAGMENT]]) {
    const shader = gl.createShader(/** @type {number} */ (kind));
    gl.shaderSource(shader, /** @type {string} */ (text));
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) {
    throw new Error(`The 3D view's program must link, but: ${gl.getProgramInfoLog(program)}`);
  }
  return program;
}

/** @param {WebGL2RenderingContext} gl @param {number} unit @param {number} filter @returns {WebGLTexture} */
function emptyTexture(gl, unit, filter) {
  const texture = gl.createTexture();
  gl.activeTexture(gl.TEXTURE0 + unit);
  gl.bindTexture(gl.TEXTURE_2D, texture);
  for (const name of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, name, filter);
  for (const name of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(gl.TEXTURE_2D, name, gl.CLAMP_TO_EDGE);
  return texture;
}

/** Two triangles: place, corner, cell and number for each of six corners. @param {number[]} out */
function pushQuad(out, box, z, cell, number) {
  for (const [u, v] of [[0, 0], [1, 0], [0, 1], [0, 1], [1, 0], [1, 1]]) {
    out.push(box.x + u * box.width, box.y + v * box.height, z, u, v, ...cell, number);
  }
}

/** @param {Scene3d} scene @returns {Float32Array} the picture's quad, then one for each place */
function verticesOf(scene) {
  /** @type {number[]} */
  const out = [];
  pushQuad(out, scene.picture, 0, [0, 0, 1, 1], -1);
  scene.places.forEach(({ tile, x, y, z, cell }, number) =>
    pushQuad(out, { x, y, width: 1, height: 1 }, z, [cell.x, cell.y, tile.columns, tile.rows], number));
  return new Float32Array(out);
}

/** Draws a scene with WebGL2; made only where the browser has it. */
export class WebglPainter {
  /** @param {HTMLCanvasElement} canvas @param {{width: number, height: number, pixels: Uint8Array}} image */
  constructor(canvas, image) {
    const gl = canvas.getContext("webgl2", { alpha: true, antialias: true, depth: false, premultipliedAlpha: true });
    if (!gl || gl.isContextLost()) throw new Error("WebGL2 is not available in this browser.");
    this.gl = gl;
    this.program = compiledProgram(gl);
    gl.useProgram(this.program);
    this.buffer = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffer);
    this.prepareAttributes();
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    this.textures = [gl.NEAREST, gl.NEAREST, gl.LINEAR].map((filter, unit) => emptyTexture(gl, unit, filter));
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGB8, image.width, image.height, 0, gl.RGB, gl.UNSIGNED_BYTE, image.pixels);
    this.at = Object.fromEntries(["origin", "axes", "marked", "query", "ink", "alpha", "levels", "colours", "picture"]
      .map((name) => [name, gl.getUniformLocation(this.program, name)]));
    ["levels", "colours", "picture"].forEach((name, unit) => gl.uniform1i(this.at[name], unit));
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  }

  prepareAttributes() {
    const { gl } = this;
    const parts = [["place", 3], ["corner", 2], ["cell", 4], ["number", 1]];
    let offset = 0;
    for (const [name, size] of parts) {
      const location = gl.getAttribLocation(this.program, /** @type {string} */ (name));
      gl.enableVertexAttribArray(location);
      gl.vertexAttribPointer(location, /** @type {number} */ (size), gl.FLOAT, false, 40, offset);
      offset += 4 * /** @type {number} */ (size);
    }
  }

  /** New numbers. @param {Scene3d} scene @param {Uint8Array} map */
  load(scene, map) {
    const { gl } = this;
    const { width, height } = scene.atlas;
    const bytes = new Uint8Array(width * height).fill(255);
    for (const { tile, cell } of scene.places) {
      const levels = levelsOf(tile);
      for (let row = 0; row < tile.rows; row += 1) {
        bytes.set(levels.subarray(row * tile.columns, (row + 1) * tile.columns), (cell.y + row) * width + cell.x);
      }
    }
    gl.bufferData(gl.ARRAY_BUFFER, verticesOf(scene), gl.DYNAMIC_DRAW);
    gl.activeTexture(gl.TEXTURE0);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.R8, width, height, 0, gl.RED, gl.UNSIGNED_BYTE, bytes);
    gl.activeTexture(gl.TEXTURE1);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGB8, 256, 1, 0, gl.RGB, gl.UNSIGNED_BYTE, map);
  }

  /** One frame. @param {Scene3d} scene @param {Look} look */
  paint(scene, look) {
    const { gl, at } = this;
    const { camera } = look;
    gl.viewport(0, 0, gl.drawingBufferWidth, gl.drawingBufferHeight);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.uniform4f(at.origin, camera.origin[0], camera.origin[1], look.width, look.height);
    gl.uniformMatrix3x2fv(at.axes, false, [...camera.right, ...camera.down, ...camera.ahead]);
    gl.uniform3f(at.marked, look.selected, look.hovered, look.ratio);
    const [x, y, width, height] = look.query ?? [0, 0, 0, 0];
    gl.uniform4f(at.query, x, y, width, height);
    gl.uniform3f(at.ink, look.ink[0], look.ink[1], look.ink[2]);
    for (const layer of look.order) {
      gl.uniform1f(at.alpha, layer < 0 ? 1 : look.alphas[layer]);
      const { first, count } = layer < 0 ? { first: -1, count: 1 } : scene.layers[layer];
      gl.drawArrays(gl.TRIANGLES, 6 * (first + 1), 6 * count);
    }
  }

  /** Give the memory of the graphics card back. */
  destroy() {
    const { gl } = this;
    this.textures.forEach((texture) => gl.deleteTexture(texture));
    gl.deleteBuffer(this.buffer);
    gl.deleteProgram(this.program);
  }
}
