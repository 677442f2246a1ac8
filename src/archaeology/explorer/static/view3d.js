// Layer, head and space at once: the picture in front, behind it every layer as a slab with a tile for each head.

import { arranged, backToFront, bestView, cameraOf, placeAt, projected, shareSeen } from "./scene3d.js";
import { labels3d, writeLabels } from "./labels3d.js";
import { WebglPainter } from "./webgl3d.js";
import { CanvasPainter } from "./canvas3d.js";
import { MAPS } from "./colours.js";

/** @typedef {import("./scene3d.js").Tile} Tile */
/**
 * @typedef {{tiles: Tile[], map: Uint8Array, selected?: {layer: number, head: number | null} | null,
 *   query?: {row: number, column: number, rows: number, columns: number} | null}} Shown3d  what is to be seen
 */

const VIEW3D_MARGIN = 34; // pixels around the scene, for labels
const VIEW3D_TURN = 0.12; // radians for a key
const VIEW3D_ZOOM = 1.2;
const VIEW3D_HELP = "Drag or arrow keys turn, wheel or plus and minus zoom once the view has the focus; "
  + "Shift with arrow keys goes to another head or layer, Enter chooses it, Home shows everything.";

/**
 * Show a model in three dimensions.
 * @param {HTMLElement} element an empty block
 * @param {{image: {width: number, height: number, pixels: Uint8Array}}} subject
 * @param {{select: (choice: {layer: number, head: number}) => void}} handle told when a tile is chosen
 * @returns {{draw: (shown?: Shown3d) => void, destroy: () => void, readonly frames: number, readonly painter: string}}
 */
export function mount3d(element, subject, handle) {
  const view = new View3d(element, subject, handle);
  return {
    draw: (shown) => view.draw(shown),
    destroy: () => view.destroy(),
    get frames() { return view.frames; },
    get painter() { return view.painterName; },
  };
}

/** @param {string} name @param {Record<string, string>} attributes @param {Record<string, string>} style */
function styled(name, attributes, style) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  Object.assign(made.style, style);
  return made;
}

/** Red, green and blue from 0 to 1 of the element's text. @param {HTMLElement} element */
function inkOf(element) {
  const found = getComputedStyle(element).color.match(/[\d.]+/g) ?? ["0", "0", "0"];
  return found.slice(0, 3).map((part) => Number(part) / 255);
}

/** The 3D view's state: what is shown, from where, and who paints it. */
class View3d {
  constructor(element, subject, handle) {
    this.element = element;
    this.image = subject.image;
    this.handle = handle;
    this.frames = 0;
    this.going = null; // where the camera moves to
    this.view = bestView(null, null);
    this.isUntouched = true; // the view is chosen anew for a screen or a model of another shape
    this.shown = { tiles: [], map: MAPS.viridis, selected: null, query: null };
    this.scene = arranged([], this.image.width / this.image.height);
    this.hovered = -1; // under the pointer
    this.cursor = -1; // of the keyboard
    this.waiting = 0;
    this.isLoaded = false;
    this.gone = new AbortController();
    this.build();
    this.choosePainter();
    this.observer = new ResizeObserver(() => this.request());
    this.observer.observe(this.frame);
  }

  build() {
    const full = { position: "absolute", inset: "0", width: "100%", height: "100%", display: "block" };
    this.frame = styled("div", { class: "aa-view3d" }, { position: "relative", height: "clamp(240px, 60vw, 420px)", overflow: "hidden" });
    this.labels = styled("canvas", { "aria-hidden": "true" }, { ...full, pointerEvents: "none" });
    this.surface = styled("div", {
      tabindex: "0", role: "application", "aria-roledescription": "3D view",
      "aria-label": `All layers and heads in three dimensions. ${VIEW3D_HELP}`,
    }, { ...full, touchAction: "pan-y pinch-zoom", cursor: "grab", outlineOffset: "-3px" });
    this.live = styled("p", { "aria-live": "polite", class: "aa-view3d-says" }, { minHeight: "1.5em", margin: "0.25em 0" });
    this.frame.append(this.surface, this.labels);
    this.element.append(this.frame, this.buttons(), this.live);
    const on = (target, name, call, options = {}) =>
      target.addEventListener(name, call, { signal: this.gone.signal, ...options });
    on(this.surface, "pointerdown", (event) => this.grab(event));
    on(this.surface, "pointermove", (event) => this.move(event));
    on(this.surface, "pointerup", (event) => this.release(event));
    on(this.surface, "pointercancel", () => { this.grabbed = null; });
    on(this.surface, "pointerleave", () => this.hover(null));
    on(this.surface, "wheel", (event) => this.wheel(event), { passive: false });
    on(this.surface, "keydown", (event) => this.key(event));
    on(this.surface, "blur", () => { this.cursor = -1; this.request(); });
  }

  buttons() {
    const bar = styled("div", { class: "aa-view3d-buttons", role: "group", "aria-label": "Turn and zoom the 3D view" },
      { display: "flex", flexWrap: "wrap", gap: "0.25em", marginTop: "0.25em" });
    const actions = [
      ["←", "Turn to the left", () => this.turn(-VIEW3D_TURN, 0)], ["→", "Turn to the right", () => this.turn(VIEW3D_TURN, 0)],
      ["↑", "Turn upwards", () => this.turn(0, VIEW3D_TURN)], ["↓", "Turn downwards", () => this.turn(0, -VIEW3D_TURN)],
      ["+", "Closer", () => this.zoom(VIEW3D_ZOOM)], ["−", "Farther", () => this.zoom(1 / VIEW3D_ZOOM)],
      ["Reset", "Reset the 3D view", () => this.reset()],
    ];
    for (const [text, label, act] of actions) {
      const button = styled("button", { type: "button", "aria-label": label }, { minWidth: "2em", minHeight: "2em" });
      button.textContent = text;
      button.addEventListener("click", act, { signal: this.gone.signal });
      bar.append(button);
    }
    return bar;
  }

  /** WebGL2 where there is one, else a plain canvas. */
  choosePainter() {
    try {
      this.usePainter((canvas) => new WebglPainter(canvas, this.image), "webgl2");
      this.canvas.addEventListener("webglcontextlost", (event) => this.lose(event), { signal: this.gone.signal });
    } catch {
      this.usePainter((canvas) => new CanvasPainter(canvas, this.image), "canvas");
    }
  }

  /** A fresh canvas: one that had a context of one kind never gets one of another. */
  usePainter(make, name) {
    const full = { position: "absolute", inset: "0", width: "100%", height: "100%", display: "block" };
    const canvas = styled("canvas", { "aria-hidden": "true" }, full);
    this.painter = make(canvas);
    this.painterName = name;
    this.canvas?.remove();
    this.canvas = canvas;
    this.surface.append(canvas);
    this.isLoaded = false;
    this.request();
  }

  /** The graphics card is gone: go on without, and take it back when it comes back. @param {Event} event */
  lose(event) {
    event.preventDefault();
    const lost = this.canvas;
    this.usePainter((canvas) => new CanvasPainter(canvas, this.image), "canvas");
    const again = () => { if (!this.gone.signal.aborted) this.choosePainter(); };
    lost.addEventListener("webglcontextrestored", again, { once: true, signal: this.gone.signal });
  }

  /** @param {Shown3d} [shown] new numbers; without, only the next frame */
  draw(shown) {
    if (shown) {
      const selected = shown.selected ?? null;
      const said = this.shown.selected;
      this.shown = { ...shown, selected, query: shown.query ?? null };
      const tiles = shown.tiles.map((tile) => ({ ...tile, values: Float32Array.from(tile.values) }));
      this.scene = arranged(tiles, this.image.width / this.image.height);
      this.hovered = Math.min(this.hovered, tiles.length - 1);
      this.surface.title = this.scene.places[this.hovered]?.tile.title ?? "";
      this.cursor = Math.min(this.cursor, this.scene.places.length - 1);
      this.isLoaded = false;
      if (said && selected && (said.layer !== selected.layer || said.head !== selected.head)) this.say(this.selectedPlace());
    }
    this.request();
  }

  request() {
    if (!this.waiting && !this.gone.signal.aborted) {
      this.waiting = requestAnimationFrame(() => { this.waiting = 0; this.paint(); });
    }
  }

  paint() {
    const [width, height] = [this.frame.clientWidth, this.frame.clientHeight];
    if (!width || !height) return;
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    for (const canvas of [this.canvas, this.labels]) {
      const size = [Math.round(width * ratio), Math.round(height * ratio)];
      if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
    }
    if (!this.isLoaded) this.painter.load(this.scene, this.shown.map);
    this.isLoaded = true;
    this.screen = { width, height, margin: Math.min(VIEW3D_MARGIN, width / 20) };
    if (this.isUntouched) this.view = bestView(this.scene, this.screen);
    const camera = cameraOf(this.scene, this.view, this.screen);
    const ink = inkOf(this.element);
    const hovered = this.cursor >= 0 ? this.cursor : this.hovered;
    const order = backToFront(this.scene, this.view);
    this.painter.paint(this.scene, {
      camera, order, ink, hovered, width, height, ratio,
      selected: this.selectedNumber(), alphas: this.alphas(camera, order), query: this.queryBox(),
    });
    this.label(camera, ratio, ink, hovered);
    this.frames += 1;
  }

  /** Layers between the eye and the chosen one step back as far as they hide it. */
  alphas(camera, order) {
    const share = 0.15 + 0.85 * Math.min(1, 1.25 * shareSeen(this.scene, camera));
    const chosen = this.scene.layers.findIndex(({ first }) =>
      this.scene.places[first].tile.layer === this.shown.selected?.layer);
    const from = chosen < 0 ? order.length : order.indexOf(chosen);
    return this.scene.layers.map((_, layer) => (order.indexOf(layer) > from ? share : 1));
  }

  queryBox() {
    const { query } = this.shown;
    if (!query) return null;
    return [query.column / query.columns, query.row / query.rows, 1 / query.columns, 1 / query.rows];
  }

  selectedNumber() {
    const { selected } = this.shown;
    if (!selected || selected.head === null) return -2;
    return this.scene.places.findIndex(({ tile }) => tile.layer === selected.layer && tile.head === selected.head);
  }

  selectedPlace() {
    return this.scene.places[this.selectedNumber()] ?? null;
  }

  label(camera, ratio, ink, hovered) {
    const context = this.labels.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, this.screen.width, this.screen.height);
    writeLabels(context, labels3d(this.scene, camera, this.shown.selected, hovered), ink);
  }

  say(place) {
    if (!place) return;
    const { tile } = place;
    this.live.textContent = `Layer ${tile.layer + 1}, head ${tile.head + 1}${tile.title ? `: ${tile.title}` : ""}.`;
  }

  at(event) {
    const box = this.surface.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  placeUnder(event) {
    if (!this.screen) return null;
    const camera = cameraOf(this.scene, this.view, this.screen);
    return placeAt(this.scene, camera, backToFront(this.scene, this.view), ...this.at(event));
  }

  grab(event) {
    if (event.button !== 0) return;
    this.surface.focus({ preventScroll: true });
    this.surface.setPointerCapture(event.pointerId);
    this.grabbed = { from: this.at(event), yaw: this.view.yaw, pitch: this.view.pitch, isMoved: false };
  }

  move(event) {
    if (!this.grabbed) return this.hover(this.placeUnder(event));
    const [x, y] = this.at(event);
    const [across, down] = [x - this.grabbed.from[0], y - this.grabbed.from[1]];
    if (Math.hypot(across, down) > 4) this.grabbed.isMoved = true;
    if (!this.grabbed.isMoved) return undefined;
    this.going = null;
    this.isUntouched = false;
    this.view.yaw = this.grabbed.yaw + across * 0.008;
    this.view.pitch = this.clamped(this.grabbed.pitch + down * 0.008);
    return this.request();
  }

  release(event) {
    const grabbed = this.grabbed;
    this.grabbed = null;
    const place = this.placeUnder(event);
    if (grabbed && !grabbed.isMoved && place) this.choose(place);
  }

  hover(place) {
    const number = place ? this.scene.places.indexOf(place) : -1;
    if (number === this.hovered) return;
    this.hovered = number;
    this.cursor = -1;
    this.surface.title = place?.tile.title ?? "";
    this.request();
  }

  choose(place) {
    this.say(place);
    this.handle.select({ layer: place.tile.layer, head: place.tile.head });
  }

  /** The wheel scrolls the page until the view has the focus. */
  wheel(event) {
    if (!event.ctrlKey && !this.surface.matches(":focus")) return;
    event.preventDefault();
    this.zoom(Math.exp(-Math.max(-100, Math.min(100, event.deltaY)) * 0.003), this.at(event));
  }

  key(event) {
    const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    const arrow = arrows[event.key];
    const place = this.scene.places[this.cursor];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (arrow && event.shiftKey) this.step(arrow[0], -arrow[1]);
    else if (arrow) this.turn(arrow[0] * VIEW3D_TURN, arrow[1] * VIEW3D_TURN);
    else if (event.key === "+" || event.key === "=") this.zoom(VIEW3D_ZOOM);
    else if (event.key === "-") this.zoom(1 / VIEW3D_ZOOM);
    else if (event.key === "Home") this.reset();
    else if ((event.key === "Enter" || event.key === " ") && place) this.choose(place);
    else return;
    event.preventDefault();
  }

  /** The keyboard's cursor to the next head, or to the same head of another layer. */
  step(heads, layers) {
    const { places } = this.scene;
    if (!places.length) return;
    const from = this.cursor >= 0 ? this.cursor : Math.max(0, this.selectedNumber());
    const order = this.scene.layers.findIndex(({ first, count }) => from >= first && from < first + count);
    const goal = this.scene.layers[Math.max(0, Math.min(this.scene.layers.length - 1, order + layers))];
    const head = Math.min(from - this.scene.layers[order].first, goal.count - 1);
    this.cursor = Math.max(0, Math.min(places.length - 1, layers ? goal.first + head : from + heads));
    this.say(places[this.cursor]);
    this.request();
  }

  clamped(pitch) {
    return Math.max(-1.4, Math.min(1.4, pitch));
  }

  turn(yaw, pitch) {
    const from = this.going ?? this.view; // a key pressed while it still turns adds to where it goes
    this.go({ ...from, yaw: from.yaw + yaw, pitch: this.clamped(from.pitch + pitch) }, 120);
  }

  /** Closer or farther; what is at the point (by default the chosen tile, else the middle) stays where it is. */
  zoom(factor, point = null) {
    if (!this.screen) return;
    const zoom = Math.max(0.5, Math.min(20, this.view.zoom * factor));
    const grown = zoom / this.view.zoom;
    const place = this.selectedPlace();
    const middle = [this.screen.width / 2, this.screen.height / 2];
    const camera = cameraOf(this.scene, this.view, this.screen);
    const fixed = point ?? (place ? projected(camera, place.x + 0.5, place.y + 0.5, place.z) : middle);
    const pan = [0, 1].map((axis) => (this.view.pan[axis] + middle[axis] - fixed[axis]) * grown + fixed[axis] - middle[axis]);
    this.go({ ...this.view, zoom, pan: zoom <= 1 ? [0, 0] : pan }, point ? 0 : 120);
  }

  reset() {
    this.go(bestView(this.scene, this.screen), 250);
  }

  /** Move the camera, at once where motion is unwelcome. @param {{yaw: number, pitch: number, zoom: number, pan: number[]}} goal @param {number} milliseconds */
  go(goal, milliseconds) {
    const from = this.view;
    this.isUntouched = false;
    const start = performance.now();
    this.going = goal;
    const isStill = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const step = (now) => {
      if (this.going !== goal || this.gone.signal.aborted) return;
      const share = isStill || milliseconds === 0 ? 1 : Math.min(1, Math.max(0, now - start) / milliseconds);
      const between = (one, other) => one + (other - one) * share;
      this.view = {
        yaw: between(from.yaw, goal.yaw), pitch: between(from.pitch, goal.pitch), zoom: between(from.zoom, goal.zoom),
        pan: [0, 1].map((axis) => between(from.pan[axis], goal.pan[axis])),
      };
      this.paint();
      if (share < 1) requestAnimationFrame(step);
      else this.going = null;
    };
    requestAnimationFrame(step);
  }

  destroy() {
    this.gone.abort();
    cancelAnimationFrame(this.waiting);
    this.observer.disconnect();
    this.painter.destroy();
    this.element.replaceChildren();
  }
}
