// The explorer's modules apart from the page: bytes, rows and columns, windows, links, ranges, words. Run by test_modules.py.

import assert from "node:assert/strict";
import test from "node:test";

const at = (name) => new URL(`../../src/archaeology/explorer/static/${name}.js`, import.meta.url);
const { RowAsking } = await import(at("asking"));
const { decodeSubject, halfToNumber, inflateText } = await import(at("subject"));
const { EVERY_PATCH, ofHead, percentile, placeIn } = await import(at("attention"));
const { decodeState, encodeState, hashWithState, stateInHash } = await import(at("state"));
const { neighbour, patchAt, rangeOf, shownOf, usableRange, withSharedScale } = await import(at("shown"));
const { clampedView, neighbourHead, queryFor, rawAgain, startView } = await import(at("view"));
const { effectWords, numberWords, percentWords, prefixName, queryWords, stateWords, unitWords } = await import(at("words"));
const { atlasLayout, headAt, leftOf } = await import(at("atlas"));
const { brokenLines, fileName, mapToSvg, sheetOf, xmlText } = await import(at("saving"));
const { barTicks } = await import(at("colourbar"));
const { opacities, paintOver } = await import(at("ink"));
const { effectPlaces, kindsWords } = await import(at("facts"));
const { actionOf } = await import(at("keys"));
const { tableRows } = await import(at("table"));
const { tokenAt } = await import(at("hand"));

/** Bytes of a container, written as the contract says and nowhere else in this repository. */
function packed(json) {
  const blobs = [];
  let size = 0;
  const add = (values, shape, type) => {
    const bytes = new Uint8Array(values.buffer.slice(values.byteOffset, values.byteOffset + values.byteLength));
    const block = { at: size, shape, type, coding: "plain" };
    const filled = new Uint8Array(Math.ceil(bytes.length / 8) * 8);
    filled.set(bytes);
    blobs.push(filled);
    size += filled.length;
    return block;
  };
  const replaced = json({
    plain: (values, shape) => add(values, shape, { Uint8Array: "u8", Int32Array: "i32", Float32Array: "f32", Uint16Array: "f16" }[values.constructor.name]),
    root: (levels, scales, shape) => ({ ...add(Uint8Array.from(levels), shape, "u8"), coding: "sqrt", scales: add(Float32Array.from(scales), shape.slice(0, -1), "f32") }),
  });
  const text = new TextEncoder().encode(JSON.stringify(replaced));
  const first = Math.ceil((8 + text.length) / 8) * 8, whole = new Uint8Array(first + size);
  whole.set([65, 65, 88, 49]);
  new DataView(whole.buffer).setUint32(4, text.length, true);
  whole.set(text, 8);
  blobs.reduce((place, blob) => { whole.set(blob, place); return place + blob.length; }, first);
  return whole.buffer;
}

const numbers = (count, step = 37) => Array.from({ length: count }, (_, i) => (i * step + 11) % 256);
const image = (make, width = 3, height = 2) => ({ width, height, pixels: make.plain(new Uint8Array(width * height * 3), [height, width, 3]) });
const base = (make, models) => ({ schema: 1, id: "a", title: "\u732b & <b>", label: null, note: null, image: image(make), models });

// Two layers of a class token and 2 x 3 patches, two heads; levels and scales known.
const LEVELS = [numbers(2 * 7 * 7), numbers(2 * 7 * 7, 91)], SCALES = [numbers(14, 5).map((x) => (x + 1) / 300), numbers(14, 9).map((x) => (x + 1) / 300)];
const MODEL = { key: "vit", kind: "vit", name: "ViT", answer: null, logits: null, heads: [], maps: [], layout: { rows: 2, columns: 3, prefix: ["class"], readout: "class_token" } };
const tokens = (changes = {}) => packed((make) => base(make, [{
  ...MODEL, ...changes,
  attention: { kind: "token", queries: null, readout: null, layers: LEVELS.map((levels, i) => ({ name: `l${i}`, rows: 2, columns: 3, heads: 2, pattern: make.root(levels, SCALES[i], [2, 7, 7]), places: null })) },
}]));
const weight = (layer, head, query, key) => SCALES[layer][head * 7 + query] * (LEVELS[layer][(head * 7 + query) * 7 + key] / 255) ** 2;
const near = (one, other, within = 1e-6) => assert.ok(Math.abs(one - other) <= within, `${one} is not ${other}`);

test("a row is what a query pays, prefix tokens apart", () => {
  const { models: [{ attention }] } = decodeSubject(tokens());
  for (const query of [0, 3, 6]) attention.look(query, "pays").forEach((look, layer) => {
    for (let head = 0; head < 2; head++) {
      near(look.rest[head], weight(layer, head, query, 0));
      for (let patch = 0; patch < 6; patch++) near(look.values[head * 6 + patch], weight(layer, head, query, 1 + patch));
    }
  });
});

test("a column is what a token receives", () => {
  const { models: [{ attention }] } = decodeSubject(tokens());
  for (const query of [0, 5]) attention.look(query, "receives").forEach((look, layer) => {
    for (let head = 0; head < 2; head++) {
      near(look.rest[head], weight(layer, head, 0, query));
      for (let patch = 0; patch < 6; patch++) near(look.values[head * 6 + patch], weight(layer, head, 1 + patch, query));
    }
  });
});

test("all patches together are the mean of the patches' rows, the class token's left out", () => {
  const { models: [{ attention }] } = decodeSubject(tokens());
  const look = attention.look(EVERY_PATCH)[1];
  for (let patch = 0; patch < 6; patch++) {
    let sum = 0;
    for (let query = 1; query < 7; query++) sum += weight(1, 1, query, 1 + patch);
    near(look.values[6 + patch], sum / 6);
  }
});

test("the mean of heads is the mean, also of prefix tokens", () => {
  const { models: [{ attention }] } = decodeSubject(tokens());
  const look = attention.look(4)[0], mean = ofHead(look, -1);
  near(mean.values[2], (weight(0, 0, 4, 3) + weight(0, 1, 4, 3)) / 2);
  near(mean.rest[0], (weight(0, 0, 4, 0) + weight(0, 1, 4, 0)) / 2);
  near(ofHead(look, 1).values[2], weight(0, 1, 4, 3));
});

test("square-root coding keeps zero, the largest, and the order of all levels", () => {
  const buffer = packed((make) => base(make, [{ ...MODEL, layout: { rows: 16, columns: 16, prefix: [], readout: "mean" }, attention: { kind: "token", queries: null, readout: null, layers: [{ name: "l", rows: 16, columns: 16, heads: 1, pattern: make.root(Array.from({ length: 256 * 256 }, (_, i) => i % 256), new Array(256).fill(0.625), [1, 256, 256]), places: null }] } }]));
  const { values } = decodeSubject(buffer).models[0].attention.look(9)[0];
  assert.equal(values[0], 0);
  assert.equal(values[255], 0.625);
  for (let level = 1; level < 256; level++) assert.ok(values[level] > values[level - 1]);
});

test("a subject of another kind, cut off, or newer is refused in words", () => {
  assert.throws(() => decodeSubject(new TextEncoder().encode("PNG and more").buffer), /must begin with "AAX1"/);
  assert.throws(() => decodeSubject(new ArrayBuffer(3)), /must begin with "AAX1"/);
  assert.throws(() => decodeSubject(tokens().slice(0, 40)), /cut off/);
  const whole = tokens();
  assert.throws(() => decodeSubject(whole.slice(0, whole.byteLength - 64)), /cut off: a block ends/);
  assert.throws(() => decodeSubject(packed((make) => ({ ...base(make, []), schema: 2 }))), /schema 1, but schema 2/);
});

test("half floats", () => {
  assert.equal(halfToNumber(0x3c00), 1);
  assert.equal(halfToNumber(0xc000), -2);
  assert.equal(halfToNumber(0x0001), 2 ** -24);
  assert.equal(halfToNumber(0x7bff), 65504);
  assert.ok(Number.isNaN(halfToNumber(0x7e00)));
});

test("a page's text is inflated", async () => {
  const { deflateSync } = await import("node:zlib");
  const buffer = await inflateText(`\n ${deflateSync(new Uint8Array(tokens())).toString("base64")} \n`);
  assert.equal(decodeSubject(buffer).title, "\u732b & <b>");
});

// Two layers in windows of 2 x 2: 4 x 4 patches moved by one in the second, and a coarser layer with padding.
const PLACES = [[0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15], [5, 6, 9, 10, 7, 4, 11, 8, 13, 14, 1, 2, 15, 12, 3, 0]];
const WINDOW_LEVELS = numbers(4 * 2 * 16, 53), WINDOW_SCALES = numbers(32, 3).map((x) => (x + 1) / 256);
const windows = () => packed((make) => base(make, [{ ...MODEL, layout: { rows: 1, columns: 1, prefix: [], readout: "mean" }, attention: { kind: "window", queries: null, readout: null, layers: [
  ...PLACES.map((places) => ({ name: "w", rows: 4, columns: 4, heads: 2, pattern: make.root(WINDOW_LEVELS, WINDOW_SCALES, [4, 2, 4, 4]), places: make.plain(Int32Array.from(places), [4, 4]) })),
  { name: "padded", rows: 1, columns: 2, heads: 2, pattern: make.root(WINDOW_LEVELS.slice(0, 32), WINDOW_SCALES.slice(0, 8), [1, 2, 4, 4]), places: make.plain(Int32Array.from([0, 1, -1, -1]), [1, 4]) },
] } }]));

test("in windows a query sees its window, put where it lies; elsewhere there is no number", () => {
  const { models: [{ attention }] } = decodeSubject(windows());
  const looks = attention.look(6);
  PLACES.forEach((places, layer) => {
    const seat = places.indexOf(6), window = Math.floor(seat / 4), token = seat % 4;
    for (let place = 0; place < 16; place++) {
      const key = places.slice(4 * window, 4 * window + 4).indexOf(place);
      for (const head of [0, 1]) {
        const row = (window * 2 + head) * 4 + token, value = looks[layer].values[head * 16 + place];
        if (key < 0) assert.ok(Number.isNaN(value)); else near(value, WINDOW_SCALES[row] * (WINDOW_LEVELS[row * 4 + key] / 255) ** 2);
      }
    }
    assert.equal(looks[layer].isPart, true);
  });
  near(looks[2].values[0], WINDOW_SCALES[1] * (WINDOW_LEVELS[4] / 255) ** 2); // place 6 of 4 x 4 lies in the second of 1 x 2
});

test("in windows a column is read the other way round", () => {
  const { models: [{ attention }] } = decodeSubject(windows());
  const look = attention.look(6, "receives")[1], seat = PLACES[1].indexOf(6), window = Math.floor(seat / 4), token = seat % 4;
  for (let query = 0; query < 4; query++) {
    const row = (window * 2 + 1) * 4 + query;
    near(look.values[16 + PLACES[1][4 * window + query]], WINDOW_SCALES[row] * (WINDOW_LEVELS[row * 4 + token] / 255) ** 2);
  }
});

test("all queries together fill every window", () => {
  const { models: [{ attention }] } = decodeSubject(windows());
  const look = attention.look(EVERY_PATCH)[0];
  assert.equal(look.isPart, false);
  assert.ok(look.values.every((value) => value >= 0));
});

test("words are queries, and a layer without a query says so", () => {
  const buffer = packed((make) => base(make, [{ ...MODEL, layout: null, attention: { kind: "cross", queries: ["a", "ball"], readout: null, layers: [{ name: "c", rows: 2, columns: 3, heads: 1, pattern: make.root(numbers(12), [0.5, 0.25], [1, 2, 6]), places: null }] } }]));
  const { models: [model] } = decodeSubject(buffer), view = { ...startView(), model: "vit", modes: { vit: "raw" }, layer: 0, query: 1 };
  near(model.attention.look(1)[0].values[4], 0.25 * (numbers(12)[10] / 255) ** 2);
  assert.match(shownOf(model, view, "unseen").caption, /where the word \u201cball\u201d looks/);
  assert.equal(shownOf(model, { ...view, query: 2 }, "unseen").state, "out");
  assert.equal(neighbour(model.attention, 0, "ArrowRight"), 1);
  assert.equal(neighbour(model.attention, 1, "ArrowRight"), 1);
});

const readout = () => decodeSubject(packed((make) => base(make, [{ ...MODEL, attention: { kind: "token", queries: null, readout: make.root(numbers(2 * 2 * 6), [0.1, 0.2, 0.3, 0.4], [2, 2, 6]), layers: [0, 1].map((i) => ({ name: `l${i}`, rows: 2, columns: 3, heads: 2, pattern: null, places: null })) } }])));

test("with the readout alone other queries are not invented", () => {
  const { models: [model] } = readout(), view = { ...startView(), model: "vit", modes: { vit: "raw" }, layer: 1 };
  assert.ok(model.attention.has(0, "pays") && !model.attention.has(3, "pays") && !model.attention.has(0, "receives"));
  near(model.attention.look(0)[1].values[6 + 2], 0.4 * (numbers(24)[20] / 255) ** 2);
  assert.equal(shownOf(model, { ...view, query: 3 }, "unseen").state, "unseen");
  assert.equal(shownOf(model, { ...view, query: 3 }, "waiting").state, "waiting");
  assert.ok(model.attention.look(3)[0].values.every(Number.isNaN));
});

test("a layer that the class token joins later is read by its patches", () => {
  const levels = [numbers(36), numbers(7, 53)], scales = [numbers(6, 5).map((x) => (x + 1) / 300), [0.5]];
  const shapes = [[1, 6, 6], [1, 1, 7]];
  const { models: [model] } = decodeSubject(packed((make) => base(make, [{ ...MODEL, attention: { kind: "token", queries: null, readout: null, layers: levels.map((each, i) => ({ name: `l${i}`, rows: 2, columns: 3, heads: 1, pattern: make.root(each, scales[i], shapes[i]), places: null })) } }])));
  const at = (row, key) => scales[0][row] * (levels[0][row * 6 + key] / 255) ** 2, view = { ...startView(), model: "vit", modes: { vit: "raw" }, layer: 0 };
  const look = model.attention.look(0)[0];
  for (let key = 0; key < 6; key++) near(look.values[key], [0, 1, 2, 3, 4, 5].reduce((sum, row) => sum + at(row, key), 0) / 6);
  near(model.attention.look(3)[0].values[1], at(2, 1));
  near(model.attention.look(0)[1].values[0], 0.5 * (levels[1][1] / 255) ** 2);
  assert.match(shownOf(model, { ...view, query: 0 }, "unseen").caption, /where all patches together look \(the class token joins in a later layer\)/);
  assert.match(shownOf(model, { ...view, query: 0, layer: 1 }, "unseen").caption, /where the class token looks\./);
  assert.equal(shownOf(model, { ...view, query: 0, direction: "receives" }, "unseen").state, "out");
  const mean = decodeSubject(packed((make) => base(make, [{ ...MODEL, layout: { ...MODEL.layout, readout: "mean" }, attention: { kind: "token", queries: null, readout: null, layers: [{ name: "l", rows: 2, columns: 3, heads: 1, pattern: make.root(levels[0], scales[0], shapes[0]), places: null }] } }]))).models[0];
  assert.equal(shownOf(mean, { ...view, query: 0 }, "unseen").state, "out");
});

test("rows that a server sends are used, prefix tokens first", () => {
  const { models: [{ attention }] } = readout();
  attention.serve(3, { data: Float32Array.from({ length: 28 }, (_, i) => i / 100), shape: [2, 2, 7], scales: null });
  const look = attention.look(3)[1];
  near(look.rest[1], 0.21);
  near(look.values[6], 0.22);
  for (let query = 100; query < 200; query++) attention.serve(query, { data: new Float32Array(28), shape: [2, 2, 7], scales: null });
  assert.ok(!attention.has(3, "pays"), "old rows go");
});

test("only the query asked last is asked for, -1 too, and a failure lasts until the next choice", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const attention = readout().models[0].attention, asked = [];
  attention.readoutQuery = 0;
  let changes = 0;
  const settled = () => new Promise((resolve) => { setImmediate(resolve); });
  const asking = new RowAsking(() => { changes += 1; });
  const want = (query) => asking.want(`vit ${query}`, attention, query, (signal) => new Promise((resolve, reject) => { asked.push({ query, signal, resolve, reject }); }));
  const rows = packed((make) => ({ schema: 1, rows: make.plain(Float32Array.from({ length: 28 }, (_, i) => i), [2, 2, 7]) }));
  for (const query of [3, 4, 5]) { want(query); t.mock.timers.tick(20); }
  t.mock.timers.tick(100);
  assert.deepEqual(asked.map(({ query }) => query), [5]);
  assert.deepEqual([asking.stateOf("vit 5"), asking.stateOf("vit 4")], ["waiting", null]);
  want(5);
  want(-1);
  t.mock.timers.tick(100);
  assert.equal(asked[0].signal.aborted, true);
  asked[0].reject(new Error("stopped"));
  asked[1].resolve(rows);
  await settled();
  assert.deepEqual([asked.length, changes, asking.failed, attention.has(-1, "pays")], [2, 1, null, true]);
  want(6);
  t.mock.timers.tick(100);
  asked[2].reject(new Error("busy"));
  await settled();
  assert.equal(asking.stateOf("vit 6"), "failed");
  want(6);
  t.mock.timers.tick(100);
  assert.equal(asked.length, 3, "not asked again by drawing alone");
  asking.forget();
  want(6);
  t.mock.timers.tick(100);
  assert.equal(asked.length, 4);
  assert.doesNotMatch(stateWords("unseen"), /open the image in the app/);
});

test("a link says the whole view, and nothing else comes back", () => {
  const state = { id: "test/12, a:b", model: "vit", layer: 5, head: 2, query: 77, direction: "pays", modes: { vit: "raw", cnn: "grad_cam" }, colours: "viridis", scale: "shared", mix: 50, dimension: "2d" };
  const text = encodeState(state);
  assert.equal(text, "s:test/12%2C+a%3Ab,m:vit,l:6,h:3,q:77,d:pays,mode:raw,with:cnn;grad_cam,c:viridis,scale:shared,mix:50,v:2d");
  assert.deepEqual(decodeState(text), state);
  assert.deepEqual(decodeState(encodeState({ ...state, head: -1, query: -1 })), { ...state, head: -1, query: -1 });
  assert.equal(decodeState(encodeState({ ...state, query: null })).query, undefined);
  assert.deepEqual(decodeState("l:x,h:0,q:-3,d:both,v:4d,evil:1,constructor:2,,:"), {});
  assert.deepEqual(decodeState("s:%E0%A4%A"), { id: "%E0%A4%A" });
  for (const odd of ["+", "a+b", "50%", "\u00e9", "a;b", "a=b&c", "#"]) assert.equal(decodeState(encodeState({ id: odd })).id, odd);
});

test("a hash can hold several explorers", () => {
  assert.equal(stateInHash("#x=s:1,l:2&y=s:3", "y"), "s:3");
  assert.equal(stateInHash("#heads", "x"), null);
  assert.equal(hashWithState("#x=s:1&y=s:3", "x", "s:9"), "#x=s:9&y=s:3");
  assert.equal(hashWithState("#heads", "x", "s:9"), "#x=s:9");
});

test("a view that a subject cannot show becomes one that it can", () => {
  const subject = decodeSubject(tokens({ maps: [{ method: "rollout", title: "Rollout", values: null, state: "missing" }] }));
  const view = clampedView({ ...startView(), layer: 99, head: 7, query: 700, modes: { vit: "lrp" }, colours: "jet", mix: 400 }, subject, ["viridis", "magma"]);
  assert.deepEqual([view.layer, view.head, view.query, view.modes.vit, view.colours, view.mix, view.model], [1, 1, null, "raw", "viridis", 100, "vit"]);
  assert.equal(clampedView({ ...view, modes: { vit: "rollout" } }, subject, ["viridis"]).modes.vit, "rollout");
  assert.deepEqual(rawAgain({ ...view, modes: { vit: "rollout" } }, { layer: 1 }), { modes: { vit: "raw" } });
  assert.deepEqual(rawAgain(view, { layer: 1 }), {});
});

test("ranges leave out what is not a number, and signed ones have zero in the middle", () => {
  assert.deepEqual(rangeOf([NaN, 2, -1, Infinity]), [-1, 2]);
  assert.equal(rangeOf([NaN]), null);
  assert.deepEqual(usableRange([-1, 3], true), [-3, 3]);
  assert.deepEqual(usableRange([2, 2], false), [0, 2]);
  const [low, high] = usableRange([0, 0], false);
  assert.ok(high > low);
  near(percentile([Float32Array.of(1, 2), Float32Array.of(3, 4)], 0.5), 3);
  assert.equal(percentile([], 0.5), 0);
});

test("panels in one unit share a scale only where it is shared", () => {
  const panel = (unit, low, high) => ({ state: "drawn", unit, low, high, isSigned: false });
  const panels = [panel("share", 0, 9), panel("share", 1, 4), panel("logits", 0, 2)];
  assert.deepEqual(withSharedScale(panels, "shared").map((one) => [one.low, one.high]), [[0, 9], [0, 9], [0, 2]]);
  assert.deepEqual(withSharedScale(panels, "own"), panels);
});

test("a map without evidence is said, never drawn", () => {
  const map = (values, state) => ({ method: "m", title: "M", says: "", unit: "x even share", rows: 1, columns: 2, values, state, shared: null, is_signed: false });
  const shown = (one) => shownOf({ key: "cnn", maps: [one], attention: null, name: "CNN" }, { ...startView(), modes: { cnn: "m" } }, "unseen");
  assert.equal(shown(map(null, "empty")).state, "empty");
  assert.equal(shown(map(Float32Array.of(NaN, NaN), "drawn")).state, "empty");
  assert.match(stateWords("empty"), /No positive evidence/);
  assert.equal(shown(map(Float32Array.of(1, NaN), "drawn")).unit, "\u00d7 an even share");
  assert.equal(paintOver(shown(map(Float32Array.of(1, NaN), "drawn")), "viridis", 100)[7], 0);
});

test("more map, less photo", () => {
  assert.deepEqual(opacities(0), [0, 0]);
  assert.deepEqual(opacities(100), [1, 1]);
  for (let mix = 5; mix <= 100; mix += 5) assert.ok(opacities(mix)[1] >= opacities(mix - 5)[1] && opacities(mix)[0] <= opacities(mix)[1]);
});

test("arrow keys walk over patches and up to the prefix tokens", () => {
  const attention = { rows: 2, columns: 3, prefix: ["class", "register"], words: null };
  assert.equal(neighbour(attention, 3, "ArrowRight"), 4);
  assert.equal(neighbour(attention, 4, "ArrowRight"), 4);
  assert.equal(neighbour(attention, 2, "ArrowDown"), 5);
  assert.equal(neighbour(attention, 3, "ArrowUp"), 1);
  assert.equal(neighbour(attention, 1, "ArrowLeft"), 0);
  assert.equal(neighbour(attention, 1, "ArrowRight"), 2);
  assert.equal(neighbour(attention, 0, "ArrowDown"), 2);
  assert.equal(neighbour({ ...attention, prefix: [] }, 0, "ArrowUp"), -1);
  assert.equal(neighbour({ ...attention, prefix: [] }, -1, "ArrowDown"), 0);
});

test("points, patches and grids", () => {
  assert.equal(patchAt(0.99, 0.5, 2, 3), 5);
  assert.equal(patchAt(1, 0.5, 2, 3), -1);
  assert.equal(placeIn(15, { rows: 4, columns: 4 }, { rows: 2, columns: 2 }), 3);
  assert.equal(placeIn(3, { rows: 2, columns: 2 }, { rows: 4, columns: 4 }), 15);
  const attention = { rows: 4, columns: 4, prefix: ["class"], layers: [{ rows: 2, columns: 2 }] };
  assert.equal(tokenAt(attention, { layer: 0 }, { x: 0.1, y: 0.9 }), 1 + 13);
  const other = { rows: 2, columns: 2, prefix: [], readoutQuery: -1, kind: "token" };
  assert.equal(queryFor(other, { rows: 4, columns: 4, prefix: ["class"], kind: "token" }, 16), 3);
  assert.equal(queryFor(other, { rows: 4, columns: 4, prefix: ["class"], kind: "token" }, 0), -1);
  assert.equal(neighbourHead(4, -1, -1), -1);
  assert.equal(neighbourHead(4, 9, 1), 3);
});

test("the atlas finds the head under a point, the mean first", () => {
  const attention = { rows: 14, columns: 14, numHeads: 3, layers: [{ rows: 14, columns: 14, heads: 3 }, { rows: 7, columns: 7, heads: 2 }] };
  const layout = atlasLayout(attention);
  for (const head of [-1, 0, 1, 2]) assert.deepEqual(headAt(layout, attention, (leftOf(layout, head) + 7) / layout.width, 0.2), { layer: 0, head });
  assert.equal(headAt(layout, attention, (leftOf(layout, 2) + 7) / layout.width, 0.8), null);
  assert.equal(leftOf(layout, 2) + 14, layout.width);
});

test("numbers, units and tokens in words", () => {
  assert.deepEqual([0, 1234.5, 12.34, 1.5, -0.0123, 0.00001, NaN].map(numberWords), ["0", "1235", "12.3", "1.5", "\u22120.0123", "1.0e-5", "none"]);
  assert.deepEqual([0, 0.00001, 0.0005, 0.0123, 0.5, 1].map((share) => percentWords(share).replace("\u00a0", " ")), ["0 %", "under 0.01 %", "0.05 %", "1.2 %", "50 %", "100 %"]);
  assert.equal(unitWords("x even share"), "\u00d7 an even share");
  assert.equal(unitWords(null), "");
  assert.equal(prefixName(["class", "register", "register"], 2), "register 2");
  const attention = { prefix: ["class", "register", "register"], words: null, columns: 14 };
  assert.deepEqual([-1, 0, 2, 3 + 15].map((query) => queryWords(attention, query)), ["all patches together", "the class token", "register 2", "the patch in row 2, column 2"]);
});

test("an effect is said with its interval, and as chance where it may be", () => {
  const words = effectWords({ value: 0.012, low: 0.004, high: 0.02, n: 1000 }).replaceAll("\u00a0", " ");
  assert.equal(words, "Without this head accuracy falls by 1.2 points (drop: 95 % interval 0.4 to 2, n = 1,000).");
  assert.match(effectWords({ value: -0.001, low: -0.004, high: 0.002, n: 10 }), /rises by 0.1 points.*could be chance/);
  assert.match(effectWords(null), /not measured/);
  const one = { value: 0.012, low: 0.004, high: 0.02, n: 1000, tried: 144 };
  assert.match(effectWords(one), /n = 1,000, not corrected for 144 heads\)\.$/);
  assert.match(effectWords({ ...one, low: -0.004 }), /not corrected for 144 heads\); that could be chance\.$/);
  assert.match(effectWords({ ...one, verdict: "not shown to matter" }), /n = 1,000\)\. Not shown to matter, corrected for 144 heads \(Holm\)\.$/);
  assert.match(effectWords({ ...one, low: -0.004, verdict: "needed" }), /n = 1,000\)\. Needed: without it the loss rises by more than chance, corrected for 144 heads \(Holm\)\.$/);
  const places = effectPlaces([{ effect: { value: 0.02 } }, { effect: null }], { value: 0.01, low: null, high: null });
  assert.ok(places.zero < places.value && places.value < places.all[0]);
  assert.equal(kindsWords({ heads: [{ layer: 0, label: "local" }, { layer: 0, label: "edge_driven" }, { layer: 0, label: "local" }, { layer: 1, label: "sink" }] }, 0), "2 local, 1 edge driven");
});

test("keys", () => {
  assert.deepEqual(actionOf("ArrowUp", "image"), { act: "patch", key: "ArrowUp" });
  assert.deepEqual(actionOf("ArrowUp", "atlas"), { act: "layer", by: -1 });
  assert.deepEqual(actionOf("M", "atlas"), { act: "mean" });
  assert.equal(actionOf("Tab", "image"), null);
  assert.equal(actionOf("toString", "image"), null);
});

test("a file has title, numbers under the bar, caption, and no markup of a name", () => {
  const shown = { state: "drawn", values: Float32Array.of(1, NaN, 3, 4), rows: 2, columns: 2, low: 0, high: 3, own: [1, 4], unit: "u", caption: "A caption that is long enough to be broken into more than one line of text below the map.", isPart: true };
  const sheet = sheetOf({ title: "<cat>", source: "s", photos: { plain: { width: 4, height: 4 } }, view: {}, panels: [{ name: "V", answer: "", shown }] });
  const texts = sheet.items.filter((item) => item.kind === "text").map((item) => item.text);
  for (const text of ["<cat>", "V", "0", "1.5", "\u2265 3", "u"]) assert.ok(texts.includes(text), text);
  assert.ok(sheet.items.every((item) => item.x >= 0 && item.y <= sheet.height));
  assert.equal(xmlText('<b>&"\u0001'), "&lt;b&gt;&amp;&quot;");
  const svg = mapToSvg({ x: 0, y: 0, width: 10, height: 10, shown }, new Uint8ClampedArray(16).fill(255));
  assert.equal(svg.match(/<rect/g).length, 4);
  assert.equal(svg.match(/url\(#unseen\)/g).length, 1);
  assert.equal(fileName("An orange/\u732b: layer 3"), "an-orange-layer-3");
  assert.deepEqual(brokenLines("one two three", 7), ["one two", "three"]);
  assert.deepEqual(barTicks({ low: -2, high: 2, own: [-2, 2], isSigned: true }).map(([, text]) => text), ["\u22122", "0", "2"]);
  assert.deepEqual(tableRows(shown), [["1", ""], ["3", "4"]]);
});
