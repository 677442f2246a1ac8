"""The 3D view: 144 heads at 196 patches turn fluently without a graphics card, can be chosen, and survive its loss."""

import io
import os
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.browser

PAGE = """<!doctype html><html lang="en"><head><title>Three dimensions</title><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" 
 content="default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'unsafe-inline'">
<style>:root { color-scheme: light dark } body { font-family: sans-serif }
@media (prefers-color-scheme: dark) { body { background: #111; color: #eee } }</style></head>
<body><main><h1>Three dimensions</h1><div id="view" class="aa-explorer"></div></main>
<script type="module">
import { mount3d } from "./view3d.js";
import { MAPS, SIGNED } from "./colours.js";
const wanted = new URLSearchParams(location.search);
const [layers, heads, side] = ["layers", "heads", "side"].map((name) => Number(wanted.get(name)));
let seed = 1;
const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
const tiles = (query) => {
  const made = [];
  seed = 1;
  for (let layer = 0; layer < layers; layer += 1) for (let head = 0; head < heads; head += 1) {
    const values = Float32Array.from({ length: side * side }, (_, at) => {
      const away = Math.hypot((at % side) - (query % side), Math.floor(at / side) - Math.floor(query / side));
      return Math.exp(-away / (1 + layer)) + 0.05 * random() * head;
    });
    if (layer === 0 && head === 0) values.fill(NaN);
    made.push({ layer, head, rows: side, columns: side, values, low: 0, high: 1, title: `made up ${layer} ${head}` });
  }
  return made;
};
const pixels = new Uint8Array(64 * 96 * 3).map((_, at) => [255, 0, 0][at % 3]);
let selected = { layer: 1, head: 1 };
let query = 0;
window.chosen = [];
const show = () => view.draw({ tiles: tiles(query), map: MAPS.viridis, selected,
  query: { row: Math.floor(query / side), column: query % side, rows: side, columns: side } });
const handle = { select(choice) { window.chosen.push(choice); selected = choice; show(); } };
const view = mount3d(document.getElementById("view"), { image: { width: 96, height: 64, pixels } }, handle);
window.view = view;
window.ask = (next) => { query = next; show(); };
show();
</script></body></html>"""
NO_WEBGL = """const plain = HTMLCanvasElement.prototype.getContext;
HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
  return kind === "webgl2" ? null : plain.call(this, kind, ...rest);
};"""
KEPT = """const plain = HTMLCanvasElement.prototype.getContext;
HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
  const found = plain.call(this, kind, ...rest);
  if (kind === "webgl2") window.graphics = found;
  return found;
};"""
SURFACE = "#view [role=application]"


@pytest.fixture(scope="module")
def site(tmp_path_factory, serving, static):
    """The modules and a page that shows a made-up model with them."""
    folder = tmp_path_factory.mktemp("view3d")
    for module in static.glob("*.js"):
        (folder / module.name).write_bytes(module.read_bytes())
    (folder / "index.html").write_text(PAGE, encoding="utf-8")
    return serving(folder)


@pytest.fixture
def opened(watching, site):
    """The page with a view that has drawn a frame."""

    def open_view(layers=12, heads=12, side=14, **settings):
        page = watching(f"{site}index.html?layers={layers}&heads={heads}&side={side}", **settings)
        page.wait_for_function("window.view?.frames > 0")
        return page

    return open_view


def picture(page):
    """What the view looks like, as an array of bytes."""
    page.wait_for_timeout(100)
    data = page.locator(SURFACE).screenshot()
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def changed(one, other):
    return float((np.abs(one - other).max(axis=2) > 24).mean())


@pytest.mark.parametrize("painter", ["webgl2", "canvas"])
def test_all_heads_are_seen(opened, painter):
    page = opened(before=NO_WEBGL if painter == "canvas" else None)
    assert page.evaluate("view.painter") == painter
    seen = picture(page)
    red = (seen == [255, 0, 0]).all(axis=2)
    yellow = (np.abs(seen - [253, 231, 36]).max(axis=2) < 12).mean()
    assert 0.005 < red.mean() < 0.2, "the picture stands in front"
    assert red[:, : seen.shape[1] // 4].sum() > 0.9 * red.sum(), "at the left, where the layers begin"
    assert yellow > 0.002, "the query looks at itself in every tile"
    columns = ((seen != [255, 255, 255]).any(axis=2)).mean(axis=0)
    assert (columns > 0.3).mean() > 0.5, "the scene fills the view"


def test_both_painters_show_the_same(opened):
    one = picture(opened())
    other = picture(opened(before=NO_WEBGL))
    assert changed(one, np.full_like(one, 255)) > 0.2
    assert changed(one, other) < 0.12  # edges of slanted quads


@pytest.mark.parametrize("painter", ["webgl2", "canvas"])
def test_a_new_query_is_drawn(opened, painter):
    page = opened(before=NO_WEBGL if painter == "canvas" else None)
    before = picture(page)
    page.evaluate("ask(195)")
    assert changed(before, picture(page)) > 0.02


TURNING = """async () => {
  const surface = document.querySelector("[role=application]");
  const box = surface.getBoundingClientRect();
  const point = (name, x) => surface.dispatchEvent(new PointerEvent(name, { pointerId: 1, button: 0, bubbles: true,
    clientX: box.left + x, clientY: box.top + 40 }));
  surface.setPointerCapture = () => {};
  point("pointerdown", 100);
  const gl = surface.querySelector("canvas").getContext("webgl2");
  const byte = new Uint8Array(4);
  const from = view.frames, start = performance.now();
  for (let step = 1; performance.now() - start < 2000; step += 1) {
    point("pointermove", 120 + 60 * Math.sin(step / 10));
    await new Promise(requestAnimationFrame);
    gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, byte); // waits until the frame is really painted
  }
  const seconds = (performance.now() - start) / 1000;
  point("pointerup", 110);
  return [view.frames - from, seconds];
}"""


def test_it_turns_fluently_without_a_graphics_card(opened, busiest, record_property):
    page = opened()
    assert page.evaluate("view.painter") == "webgl2"
    card = page.evaluate("""() => { const gl = document.createElement("canvas").getContext("webgl2");
      return gl.getParameter(gl.getExtension("WEBGL_debug_renderer_info").UNMASKED_RENDERER_WEBGL); }""")
    before = picture(page)
    rates, possible = [], []
    for _ in range(4):
        (frames, seconds), spent = busiest(lambda: page.evaluate(TURNING))
        assert frames >= 2
        rates.append(frames / seconds)
        possible.append(frames / (spent or seconds))
        if rates[-1] >= 20:
            break
    record_property("frames_per_second", max(rates))
    print(f"\n3D view: {max(rates):.0f} frames/s, {max(possible):.0f} with a core to itself, on {card}")
    assert changed(before, picture(page)) > 0.01, "it did turn"
    is_busy = os.getloadavg()[0] > (os.cpu_count() or 1) + 1
    assert max(possible if is_busy else rates) >= 20


def test_a_query_is_seen_quickly(opened, latencies, quantile, crowd, record_property):
    page = opened()
    found = latencies(page, "(step) => window.ask((37 * step) % 196)", times=60)
    record_property("milliseconds", found)
    print(f"\n3D view, new query: p50 {quantile(found, 0.5):.1f} ms, p95 {quantile(found, 0.95):.1f} ms")
    assert quantile(found, 0.95) < 100 * crowd  # made up anew in the page for each query: 28,224 exponentials


@pytest.mark.parametrize("painter", ["webgl2", "canvas"])
def test_a_click_chooses_the_tile_under_it(opened, painter):
    page = opened(layers=3, heads=4, side=7, before=NO_WEBGL if painter == "canvas" else None)
    points = page.evaluate("""() => {
      const surface = document.querySelector("[role=application]"), box = surface.getBoundingClientRect();
      const found = {};
      for (let clientX = box.left; clientX < box.right; clientX += 6) {
        for (let clientY = box.top; clientY < box.bottom; clientY += 6) {
          surface.dispatchEvent(new PointerEvent("pointermove", { clientX, clientY }));
          (found[surface.title] ??= []).push([clientX, clientY]);
        }
      }
      return found;
    }""")
    found = set()
    for title, places in points.items():
        page.evaluate("chosen.length = 0")
        page.mouse.click(*places[len(places) // 2])
        chosen = page.evaluate("chosen.map((one) => `made up ${one.layer} ${one.head}`)")
        assert chosen == ([title] if title else []), "the tile that was pointed at, or none beside them"
        found |= set(chosen)
    assert len(found) == 12, f"every head can be clicked, but not only {sorted(found)}"
    assert page.locator("#view [aria-live]").inner_text().startswith("Layer ")


def test_a_drag_turns_and_does_not_choose(opened):
    page = opened()
    before = picture(page)
    box = page.locator(SURFACE).bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2 - 80, box["y"] + box["height"] / 2 + 30, steps=5)
    page.mouse.up()
    page.mouse.move(1, 1)
    after = picture(page)
    assert changed(before, after) > 0.05
    assert page.evaluate("chosen") == []
    page.get_by_role("button", name="Reset the 3D view").click()
    page.wait_for_timeout(400)
    page.mouse.move(1, 1)
    assert changed(before, picture(page)) < 0.002


def test_the_keyboard_does_all(opened, reached):
    page = opened(layers=3, heads=4, side=7, reduced_motion="reduce")
    names = [name for _, name, is_seen in reached(page) if is_seen]
    assert len(names) == 8 and names[0].startswith("All layers and heads"), names
    page.locator(SURFACE).focus()
    looks = [picture(page)]
    for key in ("ArrowRight", "ArrowUp", "+", "-", "Home"):
        page.keyboard.press(key)
        looks.append(picture(page))
    assert all(changed(one, other) > 0.01 for one, other in pairwise(looks))
    assert changed(looks[0], looks[-1]) < 0.002
    page.keyboard.press("Shift+ArrowRight")
    says = page.locator("#view [aria-live]")
    assert says.inner_text() == "Layer 2, head 3: made up 1 2."
    page.keyboard.press("Shift+ArrowDown")
    assert says.inner_text() == "Layer 3, head 3: made up 2 2."
    page.keyboard.press("Enter")
    assert page.evaluate("chosen") == [{"layer": 2, "head": 2}]


def test_buttons_turn_and_zoom(opened):
    page = opened(reduced_motion="reduce")
    looks = [picture(page)]
    for name in ("Turn to the left", "Turn downwards", "Closer", "Farther"):
        page.get_by_role("button", name=name).click()
        page.mouse.move(1, 1)
        looks.append(picture(page))
    assert all(changed(one, other) > 0.005 for one, other in pairwise(looks))


def test_the_wheel_zooms_only_with_the_focus(opened):
    page = opened(reduced_motion="reduce")
    page.evaluate("document.body.style.height = '4000px'")
    box = page.locator(SURFACE).bounding_box()
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    page.mouse.wheel(0, 30)
    page.wait_for_timeout(200)
    assert page.evaluate("scrollY") == 30
    page.locator(SURFACE).focus()
    before = picture(page)
    page.mouse.wheel(0, -300)
    page.wait_for_timeout(200)
    assert page.evaluate("scrollY") == 30
    assert changed(before, picture(page)) > 0.05


def test_motion_is_left_out_where_it_is_unwelcome(opened):
    def frames(motion):
        page = opened(reduced_motion=motion)
        page.clock.install()
        before = page.evaluate("view.frames")
        page.get_by_role("button", name="Reset the 3D view").dispatch_event("click")
        page.clock.run_for(600)
        return page.evaluate("view.frames") - before

    assert 1 <= frames("reduce") <= 3
    assert frames("no-preference") > 10


def test_a_lost_graphics_card_is_survived(opened):
    page = opened(before=KEPT)
    before = picture(page)
    page.evaluate("window.losing = graphics.getExtension('WEBGL_lose_context'); losing.loseContext()")
    page.wait_for_function("view.painter === 'canvas'")
    lost = picture(page)
    assert changed(before, lost) < 0.12 and changed(lost, np.full_like(lost, 255)) > 0.2
    page.evaluate("ask(195)")
    assert changed(lost, picture(page)) > 0.02
    page.evaluate("losing.restoreContext()")
    page.wait_for_function("view.painter === 'webgl2'")
    page.evaluate("ask(0)")
    assert changed(before, picture(page)) < 0.05


def test_layers_in_front_of_the_chosen_one_step_back(opened):
    page = opened(reduced_motion="reduce")
    page.locator(SURFACE).focus()
    for _ in range(8):
        page.keyboard.press("ArrowLeft")  # until the slabs stand one behind the other
    page.evaluate("""() => { const one = document.querySelector("[role=application]"); one.blur(); }""")
    first = picture(page)
    page.locator(SURFACE).focus()
    for _ in range(10):
        page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("Enter")
    assert page.evaluate("chosen") == [{"layer": 11, "head": 1}]
    assert changed(first, picture(page)) > 0.05


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(opened, violations, theme):
    assert violations(opened(theme=theme)) == []


def test_it_fits_a_phone(opened, phone, widths):
    page = opened(**phone)
    assert widths(page) == []
    columns = (picture(page) != [255, 255, 255]).any(axis=2).any(axis=0)
    assert columns.mean() > 0.7
    small = page.evaluate("""() => [...document.querySelectorAll("button")]
      .filter((one) => one.offsetWidth < 24 || one.offsetHeight < 24).length""")
    assert small == 0


def test_nothing_stays_behind(opened):
    page = opened()
    page.evaluate("view.destroy()")
    frames = page.evaluate("view.frames")
    page.evaluate("ask(3)")
    page.wait_for_timeout(200)
    assert page.evaluate("view.frames") == frames
    assert page.locator("#view > *").count() == 0
