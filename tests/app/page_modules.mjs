// Tests of what the app's page computes without a browser; run by test_page_modules.py through `node --test`.
import assert from "node:assert/strict";
import { test } from "node:test";

const from = (name) => import(new URL(`../../src/archaeology/app/static/${name}.js`, import.meta.url));
const { withHead } = await from("ablation");
const { askRows, isStopped, parsedEvents, patience, refusal } = await from("api");
const { outcomeWords, stepWords } = await from("attack");
const { compared, reaches, top } = await from("bars");
const { budgetOf, budgetWords, epsilonOf } = await from("budgets");
const { chosenMethods, methodsWritten, seats } = await from("choices");
const { opaque, perturbation, unpacked } = await from("container");
const { described, groups, worstFirst } = await from("gallery");
const { headsRead, headsWritten, placesRead, read, written } = await from("link");
const { gridOf, perModel } = await from("occlusion");
const { moved, patchAt, placeWords } = await from("patches");
const { points } = await from("sparkline");
const { complaint, sizeWords } = await from("upload");
const { sourceOf } = await from("viewer");
const { percent, signed, turned, verdict } = await from("words");

const answer = (name, logit, probability) => ({ name, logit, probability });

test("a link says the whole state in a fixed order and brings it back", () => {
  const state = { x: "s:12,m:vit,l:6", image: "run:test/0003", off: "1.2,3.4", budget: "4" };
  const link = written(state);
  assert.equal(link, "image=run:test/0003&budget=4&off=1.2,3.4&x=s:12,m:vit,l:6");
  assert.deepEqual(read(`#${link}`), state);
});

test("awkward names survive a link; unknown keys and broken codes are left out", () => {
  const state = { image: "run:a b&x=1#%/ü+", vit: "timm:vit/16@384" };
  assert.deepEqual(read(written(state)), state);
  assert.deepEqual(read("#image=%E0%A4%A&nonsense=1&steps=7&plain"), { steps: "7" });
  assert.equal(written({ image: "", steps: undefined }), "");
});

test("heads and places in a link are counted and cleaned", () => {
  assert.equal(headsWritten([[5, 0], [0, 11], [0, 2]]), "1.3,1.12,6.1");
  assert.deepEqual(headsRead("1.3,0.4,x,6.1,1.2.3"), [[0, 2], [5, 0]]);
  assert.deepEqual(headsRead(undefined), []);
  assert.deepEqual(placesRead("7,3,3,-1,a,12"), [3, 7, 12]);
});

test("a head goes off once and on again", () => {
  const off = withHead(withHead([], [1, 2], true), [1, 2], true);
  assert.deepEqual(off, [[1, 2]]);
  assert.deepEqual(withHead(off, [1, 2], false), []);
});

test("events of a stream come whole, however the text is cut", () => {
  const text = "event: progress\r\ndata: {\"step\": 1}\r\n\r\n: still here\n\nevent: done\ndata: {\n";
  const { events, rest } = parsedEvents(text);
  assert.deepEqual(events, [{ event: "progress", data: { step: 1 } }]);
  assert.deepEqual(parsedEvents(`${rest}data: "ok": true}\n\n`).events, [{ event: "done", data: { ok: true } }]);
  for (let cut = 0; cut < text.length; cut += 1) {
    const first = parsedEvents(text.slice(0, cut));
    const second = parsedEvents(first.rest + text.slice(cut));
    assert.deepEqual([...first.events, ...second.events], events, `cut at ${cut}`);
  }
});

test("waiting follows the server's wish within reason, else grows", () => {
  assert.equal(patience("3", 0), 3);
  assert.equal(patience("0", 0), 0.2);
  assert.equal(patience("99999", 0), 60);
  assert.equal(patience(null, 0), 0.5);
  assert.equal(patience("Wed, 21 Oct", 3), 4);
  assert.equal(patience(null, 20), 10);
});

test("a refusal is the server's words, or ours where it has none", () => {
  assert.equal(refusal(415, '{"error": "x.png is text"}').message, "x.png is text");
  assert.match(refusal(413, "<html>").message, /larger than the server takes/);
  assert.match(refusal(418, '{"error": {"a": 1}}').message, /failed \(418\)/);
  assert.equal(isStopped(new DOMException("x", "AbortError")), true);
  assert.equal(isStopped(new Error("x")), false);
});

test("a picture that is kept in another size says both sizes", () => {
  assert.equal(sizeWords({ width: 32, height: 24, original: [32, 24] }), "32 \u00d7 24 pixels");
  assert.equal(sizeWords({ width: 512, height: 192, original: [4000, 1500] }), "4000 \u00d7 1500, kept at 512 \u00d7 192 pixels");
});

test("attention is asked of the side that is seen: the original's, or the attack's", async (t) => {
  const asked = [], { signal } = new AbortController();
  globalThis.document = { baseURI: "http://app/base/" };
  t.mock.method(globalThis, "fetch", async (url, request) => { asked.push([url, request.signal]); return new Response(new Uint8Array(2)); });
  t.after(() => { delete globalThis.document; });
  const rowsAt = (path) => (model, query, stop) => askRows(path, model, query, stop);
  const image = { id: "run:1", title: "cat", buffer: new ArrayBuffer(1), rows: rowsAt("api/images/a") };
  let seen = image;
  const source = sourceOf(image, () => seen);
  await source.rows(image.id, "vit", -1, signal);
  seen = { buffer: new ArrayBuffer(1), rows: rowsAt("api/attacks/b") };
  assert.equal((await source.rows(image.id, "vit", 300, signal)).byteLength, 2);
  assert.deepEqual(asked, [["http://app/base/api/images/a/rows?model=vit&query=-1", signal], ["http://app/base/api/attacks/b/rows?model=vit&query=300", signal]]);
  assert.equal(sourceOf({ ...image, rows: null }, () => seen).rows, undefined);
});

test("answers before and after are joined by class, the surest first", () => {
  const before = [answer("cat", 3, 0.8), answer("dog", 1, 0.1)], after = [answer("dog", 2.5, 0.7), answer("bird", 0, 0.05)];
  const rows = compared(before, after);
  assert.deepEqual(rows.map(({ name, change }) => [name, change]), [["cat", null], ["dog", 1.5], ["bird", null]]);
  assert.equal(compared(before, after, 2).length, 2);
  assert.equal(top(after).name, "dog");
});

test("bars share one scale that holds zero", () => {
  assert.deepEqual(reaches([3, -1, 0]), [{ start: 25, length: 75 }, { start: 0, length: 25 }, { start: 25, length: 0 }]);
  assert.deepEqual(reaches([0, 0]), [{ start: 0, length: 0 }, { start: 0, length: 0 }]);
});

test("a budget is counted in 255ths where colours are, and kept within reason", () => {
  assert.equal(budgetWords(4, "linf"), "4/255");
  assert.equal(budgetWords(0.5, "linf"), "0.5/255");
  assert.equal(budgetWords(0.5, "l2"), "0.50");
  assert.equal(epsilonOf(4, "linf"), 4 / 255);
  assert.equal(epsilonOf(999, "linf"), 32 / 255);
  assert.equal(epsilonOf(0.5, "l2"), 0.5);
  assert.equal(budgetOf("another").unit, "");
});

test("models with attention sit left, methods are only those offered", () => {
  const models = [{ key: "a", name: "a", kind: "transformer", has_attention: true }, { key: "b", name: "b", kind: "cnn", has_attention: false }];
  assert.deepEqual([seats(models).vit[0].key, seats(models).cnn[0].key], ["a", "b"]);
  const offered = [{ name: "rollout" }, { name: "relevance" }, { name: "lrp" }];
  assert.deepEqual(chosenMethods("lrp,other", offered), ["lrp"]);
  assert.deepEqual(chosenMethods(undefined, offered), ["rollout", "relevance"]);
  assert.deepEqual(chosenMethods("none", offered), []);
  assert.deepEqual([methodsWritten([]), methodsWritten(["lrp", "rollout"])], ["none", "lrp,rollout"]);
});

/** A packed subject of one pixel row. */
function packed(rgb) {
  const about = new TextEncoder().encode(JSON.stringify({ image: { width: rgb.length / 3, height: 1, pixels: { at: 0 } }, models: [] }));
  const first = Math.ceil((8 + about.length) / 8) * 8;
  const bytes = new Uint8Array(first + rgb.length);
  bytes.set(new TextEncoder().encode("AAX1"));
  new DataView(bytes.buffer).setUint32(4, about.length, true);
  bytes.set(about, 8);
  bytes.set(rgb, first);
  return bytes.buffer;
}

test("pixels come out of a packed subject", () => {
  const { pixels, about } = unpacked(packed([1, 2, 3, 250, 251, 252]));
  assert.deepEqual([...pixels.rgb], [1, 2, 3, 250, 251, 252]);
  assert.deepEqual([...opaque(pixels)], [1, 2, 3, 255, 250, 251, 252, 255]);
  assert.deepEqual(about.models, []);
  assert.throws(() => unpacked(new TextEncoder().encode("<html>not this").buffer), /not a packed subject/);
});

test("a perturbation is shown ten times as strong around grey, and never wraps round", () => {
  const pixels = (...rgb) => ({ width: 1, height: 1, rgb: Uint8Array.from(rgb) });
  assert.deepEqual([...perturbation(pixels(10, 20, 30), pixels(12, 20, 0)).rgb], [148, 128, 0]);
  assert.deepEqual([...perturbation(pixels(0, 0, 0), pixels(255, 12, 13)).rgb], [255, 248, 255]);
});

test("worst failures come first, in the order of the dig within a group", () => {
  const one = (id, group) => ({ id, title: id, label: null, note: null, group });
  const all = [one("a", "none"), one("b", "cnn-only"), one("c", "both-same-wrong"), one("d", "vit-only"), one("e", "both-different")];
  assert.deepEqual(worstFirst(all).map(({ id }) => id), ["c", "e", "b", "d", "a"]);
  assert.deepEqual(groups(all)[0], { name: "none", count: 1 });
  assert.equal(described({ ...one("a", null), title: "cat", note: "Both wrong" }), "cat: Both wrong");
});

test("the grid to hide patches on is the ViT's, else a map's, else eight by eight", () => {
  assert.deepEqual(gridOf({ models: [{ layout: null }, { layout: { rows: 3, columns: 5 } }] }), [3, 5]);
  assert.deepEqual(gridOf({ models: [{ layout: null, maps: [{ rows: 224 }, { rows: 7, columns: 6 }] }] }), [7, 6]);
  assert.deepEqual(gridOf({ models: [] }), [8, 8]);
  assert.deepEqual(perModel({ vit: { before: [], after: [] } }), [{ model: "vit", before: [], after: [] }]);
  assert.deepEqual(perModel([{ key: "cnn", before: [] }])[0].model, "cnn");
});

test("pointer and keys find their patch and stay inside", () => {
  assert.equal(patchAt(0.99, 0, [3, 5]), 4);
  assert.equal(patchAt(1.2, 1, [3, 5]), 14);
  assert.equal(patchAt(-0.1, -1, [3, 5]), 0);
  assert.equal(moved(4, "ArrowRight", [3, 5]), 4);
  assert.equal(moved(4, "ArrowDown", [3, 5]), 9);
  assert.equal(moved(7, "Home", [3, 5]), 5);
  assert.equal(moved(7, "x", [3, 5]), null);
  assert.equal(placeWords(7, [3, 5]), "row 2, column 3");
});

test("a small line fills its box and leaves out what is not finite", () => {
  assert.equal(points([0, 1], 2), "0.0,26.0 120.0,2.0");
  assert.equal(points([NaN, 5], 3), "60.0,14.0");
  assert.equal(points([0.5], 1, [0, 1]), "0.0,14.0");
});

test("a file is refused in words before it is sent", () => {
  assert.equal(complaint({ name: "a.png", type: "image/png", size: 10 }, { bytes: 20 }), null);
  assert.match(complaint({ name: "a.txt", type: "text/plain", size: 10 }, {}), /"a.txt" is not an image.*text\/plain/);
  assert.match(complaint({ name: "a.svg", type: "image/svg+xml", size: 10 }, {}), /PNG, JPEG/);
  assert.match(complaint({ name: "a.png", type: "image/png", size: 3e6 }, { bytes: 2e6 }), /3.0 MB.*at most 2.0 MB/);
  assert.match(complaint({ type: "image/png", size: 0 }, {}), /What was pasted is empty/);
});

test("numbers and answers in words", () => {
  assert.deepEqual([percent(0.931), percent(0.99999), percent(1), percent(0), percent(0.0001), percent(null)], ["93.1\u202f%", ">99.9\u202f%", "100\u202f%", "0\u202f%", "<0.1\u202f%", "\u2013"]);
  assert.deepEqual([signed(1.234), signed(-1.5), signed(0.001), signed(null)], ["+1.23", "\u22121.50", "0.00", "\u2013"]);
  assert.match(turned("The ViT", answer("cat", 3, 0.9), answer("cat", 1, 0.5)), /^The ViT still says cat \(90\.0.%\s→\s50\.0.%\)\.$/);
  assert.match(turned("The ViT", answer("cat", 3, 0.9), answer("dog", 1, 0.5)), /^The ViT says dog \(50\.0.%\) instead of cat \(was 90\.0.%\)\.$/);
  const says = (who, name) => ({ who, name, confidence: 0.5, isRight: null });
  assert.equal(verdict("deer", [says("ViT", "bird"), says("CNN", "deer")]), "Deer: the ViT says bird, the CNN says deer");
  assert.equal(verdict(null, [says("ViT", "bird"), says("CNN", "bird")]), "Both say bird");
  assert.equal(verdict("deer", []), "deer");
});

test("an attack says how far it is and what came of it", () => {
  assert.match(stepWords({ step: 3, steps: 20, prediction: "cat", confidence: 0.5 }), /^Step 3 of 20\. The model says cat \(50\.0.%\)\.$/);
  assert.equal(stepWords({ step: 3, steps: 20 }), "Step 3 of 20.");
  const done = (name, more = {}) => outcomeWords({ before: { name: "cat" }, after: { name, confidence: 0.6 }, ...more }, "ViT");
  assert.match(done("dog"), /^Fooled: the ViT now says dog .* not cat\.$/);
  assert.match(outcomeWords({ before: { name: "cat" }, after: { name: "dog", confidence: 0.6 } }, "ViT", "dog"), /^Put right: the ViT now says dog/);
  assert.match(done("cat"), /^Not fooled/);
  assert.match(done("dog", { success: true, success_8bit: false }), /^Fooled only in theory: the ViT says dog, .* says cat again\.$/);
});
