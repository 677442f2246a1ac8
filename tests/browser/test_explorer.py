"""The explorer in a browser: fast, reachable by keys, restored by its link, honest about what is missing."""

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image
from tests.browser.explorer_page import patterns, write_page

pytestmark = pytest.mark.browser

SCREEN = ".aa-panel[data-model=vit] .aa-screen"
CAPTION = ".aa-panel[data-model=vit] figcaption"

CONTROLS = (
    "Layer", "Play", "Head", "it pays", "it receives", "Show", "Class", "All patches", "An orange on a hill, ViT",
    "Atlas of all", "Shared scale", "Own scale", "Colours", "Map over photo", "Flat", "3D", "Cover patches", "Numbers",
    "Copy link", "Save as PNG", "Save as SVG", "Keys",
)  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory, serving, static):
    folder = tmp_path_factory.mktemp("explorer")
    write_page(folder, static)
    return serving(folder)


@pytest.fixture
def opened(watching, site):
    """The page once its first image is drawn."""

    def open_explorer(query="", state="", **settings):
        page = watching(f"{site}index.html?{query}" + (f"#x={state}" if state else ""), **settings)
        page.wait_for_selector("body[data-ready=yes]")
        settle(page)
        return page

    return open_explorer


def settle(page):
    """Wait for two frames."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def state(page) -> dict[str, str]:
    return dict(part.split(":", 1) for part in page.evaluate("handle.state()").split(","))


def point_at(page, row: int, column: int, side=14, click=False):
    """Put the pointer on a patch."""
    box = page.locator(SCREEN).bounding_box()
    place = (box["x"] + (column + 0.5) * box["width"] / side, box["y"] + (row + 0.5) * box["height"] / side)
    (page.mouse.click if click else page.mouse.move)(*place)
    settle(page)


def pixels(page, selector: str) -> np.ndarray:
    """What a canvas holds."""
    address = page.evaluate("(selector) => document.querySelector(selector).toDataURL()", selector)
    with Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))) as picture:
        return np.array(picture.convert("RGBA"))


def test_hover_is_painted_within_50_ms_with_all_144_maps(opened, latencies, quantile):
    page = opened()
    page.locator(SCREEN).scroll_into_view_if_needed()
    action = """(step) => {
      const screen = document.querySelector(".aa-panel[data-model=vit] .aa-screen");
      const box = screen.getBoundingClientRect(), place = (step * 53) % 196;
      const clientX = box.x + (place % 14 + 0.5) * box.width / 14;
      const clientY = box.y + (Math.floor(place / 14) + 0.5) * box.height / 14;
      screen.dispatchEvent(new PointerEvent("pointermove", { bubbles: true, pointerType: "mouse", clientX, clientY }));
    }"""
    before = pixels(page, ".aa-atlas-map")
    # Others on the machine delay frames whatever is drawn; the quietest of three rounds is the page's own.
    found = min((latencies(page, action, 60) for _ in range(3)), key=lambda round_: quantile(round_, 0.95))
    print(f"hover to paint: p50 {quantile(found, 0.5):.1f} ms, p95 {quantile(found, 0.95):.1f} ms")
    assert (pixels(page, ".aa-atlas-map") != before).any(axis=-1).mean() > 0.2, "the atlas is drawn again"
    assert quantile(found, 0.95) < 50


def test_few_nodes(opened):
    assert opened().evaluate("document.querySelectorAll('.aa-explorer *').length") < 400


def test_pointer_chooses_and_a_click_keeps(opened):
    page = opened()
    assert "where the class token looks" in page.text_content(CAPTION)
    point_at(page, 3, 5)
    assert "the patch in row 4, column 6 looks" in page.text_content(CAPTION)
    assert "q" not in state(page), "pointing alone is not kept"
    point_at(page, 3, 5, click=True)
    assert state(page)["q"] == str(1 + 3 * 14 + 5)
    point_at(page, 9, 9)
    assert "row 4, column 6 looks" in page.text_content(CAPTION), "what is kept stays while values are read"
    here = page.text_content(".aa-panel[data-model=vit] .aa-here")
    assert here.startswith("here ") and "%" in here
    point_at(page, 3, 5, click=True)
    assert "q" not in state(page)
    page.mouse.move(2, 2)
    settle(page)
    assert "where the class token looks" in page.text_content(CAPTION)


def test_values_are_those_of_the_pattern(opened):
    """What is read under the pointer is the number that was packed."""
    page = opened(state="s:both,m:vit,l:5,h:3,q:60")
    point_at(page, 7, 6)
    share = patterns(12, 12, 14, 1, 0)[4][2, 60, 1 + 7 * 14 + 6]
    read = page.text_content(".aa-panel[data-model=vit] .aa-here")
    assert float(read.split("here ")[1].split(" \N{MULTIPLICATION SIGN}")[0]) == pytest.approx(
        197 * share, rel=0.02
    )
    page.get_by_role("button", name="it receives").click()
    point_at(page, 7, 6)
    share = patterns(12, 12, 14, 1, 0)[4][2, 1 + 7 * 14 + 6, 60]
    read = page.text_content(".aa-panel[data-model=vit] .aa-here")
    assert float(read.split("here ")[1].split(" \N{MULTIPLICATION SIGN}")[0]) == pytest.approx(
        197 * share, rel=0.02
    )
    assert "who looks at the patch" in page.text_content(CAPTION)


def test_a_link_restores_everything(opened):
    modes = "mode:raw,with:cnn;integrated_gradients"
    wished = f"s:both,m:vit,l:7,h:4,q:99,d:receives,{modes},c:cividis,scale:own,mix:70,v:2d"
    page = opened(state=wished)
    assert page.evaluate("handle.state()") == wished
    assert page.text_content(CAPTION).startswith("Layer 7, head 4: who looks at the patch in row 8, column 1")
    assert page.get_by_label("Colours").input_value() == "cividis"
    page.get_by_label("Layer", exact=True).fill("2")
    page.wait_for_function("location.hash.includes('l:2')")
    before = page.evaluate("handle.state()")
    page.reload()
    page.wait_for_selector("body[data-ready=yes]")
    assert page.evaluate("handle.state()") == before
    page.evaluate("location.hash = '#x=s:window,m:swin,l:1,q:5'")
    page.wait_for_function("handle.subject().id === 'window'")
    assert state(page)["l"] == "1" and state(page)["q"] == "5"


@pytest.mark.parametrize(
    "odd", ["s:nobody", "l:99,h:99,q:9999,mode:nothing,c:jet", "%%%,,,:::", "s:cross,q:3,d:receives"]
)
def test_an_odd_link_shows_something_sensible(opened, odd):
    page = opened(state=odd)
    assert page.locator(".aa-body").is_visible()


def test_the_atlas_chooses_a_head_and_shows_its_facts(opened):
    page = opened()
    box = page.locator(".aa-atlas-grid").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.99, box["y"] + 5)
    assert "Layer 1, head 12" in page.text_content(".aa-atlas .aa-caption")
    page.mouse.click(box["x"] + box["width"] * 0.99, box["y"] + 5)
    settle(page)
    assert (state(page)["l"], state(page)["h"]) == ("1", "12")
    facts = page.text_content(".aa-facts")
    for word in ("Layer 1, head 12", "Entropy", "nats", "Distance", "px", "95 % interval", "n = 1,000"):
        assert word in facts.replace("\u00a0", " "), word
    page.get_by_role("group", name="Layer and head").get_by_label("Head").select_option("-1")
    settle(page)
    assert "mean of 12 heads" in page.text_content(CAPTION)


def test_keys_alone_reach_and_do_everything(opened, reached):
    page = opened("acts=1")
    found = reached(page)
    names = [name for _, name, _ in found]
    for wished in CONTROLS:
        assert any(wished in name for name in names), f"{wished} is not reached: {names}"
    assert all(is_seen for *_, is_seen in found), "focus is seen everywhere"
    page.focus(SCREEN)
    for key in ("ArrowDown", "ArrowDown", "ArrowRight", "[", "[", ".", "."):
        page.keyboard.press(key)
    settle(page)
    assert (state(page)["q"], state(page)["l"], state(page)["h"]) == (str(1 + 14 + 1), "10", "2")
    page.keyboard.press("r")
    assert state(page)["d"] == "receives"
    page.wait_for_function(
        "document.querySelector('.aa-unseen').textContent.includes('who looks at the patch in row 2, column 2')"
    )
    page.keyboard.press("Escape")
    assert "q" not in state(page)
    page.focus(".aa-atlas-grid")
    for key in ("ArrowUp", "ArrowRight", "m"):
        page.keyboard.press(key)
    assert (state(page)["l"], state(page)["h"]) == ("9", "mean")
    page.focus('[role=option][aria-selected="true"]')
    page.keyboard.press("ArrowRight")
    page.wait_for_function("handle.subject().id === 'registers'")
    assert page.evaluate("document.activeElement.dataset.id") == "registers"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_accessible(opened, violations, theme):
    page = opened("acts=1", state="s:both,h:2", theme=theme)
    page.get_by_role("button", name="Numbers").click()
    page.get_by_text("Keys", exact=True).click()
    for name in ("both", "registers", "readout", "cross", "window", "cnn"):
        page.evaluate("(name) => handle.show(name)", name)
        settle(page)
        assert violations(page) == [], name


def test_accessible_in_3d_and_without_evidence(opened, violations):
    page = opened(state="s:both,v:3d")
    assert violations(page) == []
    page.evaluate("handle.restore('s:both,m:vit,mode:grad_cam,with:cnn;legrad,v:2d')")
    settle(page)
    assert violations(page) == []


def test_what_is_missing_is_said_and_not_drawn(opened):
    page = opened(state="s:both,m:vit,mode:grad_cam,with:cnn;legrad")
    assert "No positive evidence" in page.text_content(f"{SCREEN} .aa-message")
    assert "Not computed" in page.text_content(".aa-panel[data-model=cnn] .aa-message")
    assert page.locator(".aa-bar:visible").count() == 0
    shown = pixels(page, f"{SCREEN} canvas")[5, 5, :3].astype(int)
    assert np.ptp(shown) > 30, "the photo keeps its colours where nothing lies over it"


def test_plays_through_the_layers_and_stops_at_the_last(opened):
    page = opened(state="s:registers,l:4")
    page.get_by_role("button", name="Play").click()
    page.wait_for_function("handle.state().includes('l:6')")
    page.get_by_role("button", name="Play").wait_for()
    page.get_by_role("button", name="Play").click()
    page.wait_for_function("handle.state().includes('l:2,')")
    page.get_by_role("button", name="Stop").click()
    at = page.evaluate("handle.state()")
    page.wait_for_timeout(900)
    assert page.evaluate("handle.state()") == at


def test_scales(opened):
    page = opened(state="s:both,m:vit,l:12,h:1,scale:shared")
    ends = [
        page.locator(f".aa-panel[data-model={key}] .aa-ticks span").nth(2).text_content()
        for key in ("vit", "cnn")
    ]
    assert ends[0].replace("≥ ", "") == ends[1].replace("≥ ", ""), "one scale for one unit"
    page.get_by_role("button", name="Own scale").click()
    settle(page)
    assert "scale of this map alone" in page.text_content(".aa-panel[data-model=cnn] .aa-unit")
    assert page.locator(".aa-panel[data-model=cnn] .aa-ticks span").nth(2).text_content() != ends[1]


def test_words_choose_where_attention_is_across(opened):
    page = opened(state="s:cross,l:4")
    page.get_by_role("button", name="ball").click()
    settle(page)
    assert "the word “ball” looks" in page.text_content(".aa-panel figcaption")
    assert not page.get_by_role("button", name="it receives").is_visible()


def test_outside_of_a_window_patches_are_hatched(opened):
    page = opened(state="s:window,m:swin,l:1,h:1,q:60")
    assert "Hatched patches lie outside" in page.text_content(".aa-panel figcaption")
    canvas = pixels(page, ".aa-panel[data-model=swin] canvas").astype(int)
    far, near = canvas[-60:, -60:, :3], canvas[4:80, 4:80, :3]
    assert np.ptp(far, axis=-1).max() < 40, "hatching has no colour of a map"
    assert np.ptp(near, axis=-1).max() > 20


def test_without_patterns_only_the_readout_is_offered(opened):
    page = opened(state="s:readout,m:vit")
    point_at(page, 4, 4, side=20)
    assert "where the class token looks" in page.text_content(CAPTION)
    assert "only the attention of what the model reads its answer from is stored" in page.text_content(
        ".aa-hint"
    )
    assert page.get_by_role("button", name="it receives").is_disabled()
    page = opened("rows=1", state="s:readout,m:vit")
    point_at(page, 4, 4, side=20, click=True)
    page.wait_for_function(
        f"document.querySelector('{CAPTION}').textContent.includes('row 5, column 5 looks')"
    )
    assert page.locator(f"{SCREEN} .aa-message").is_hidden()


def test_heads_off_and_patches_covered_are_told(opened):
    page = opened("acts=1", state="s:both,m:vit,l:3,h:2")
    page.get_by_role("button", name="Switch this head off").click()
    page.get_by_role("button", name="Cover patches").click()
    point_at(page, 2, 3, click=True)
    settle(page)
    told = page.evaluate("told")
    assert told[0] == {"model": "vit", "layer": 2, "head": 1, "isOff": True}
    assert told[1] == {"model": "vit", "query": 1 + 2 * 14 + 3, "isOccluded": True}
    assert page.locator(".aa-off span").count() == 1
    point_at(page, 2, 3, click=True)
    assert page.evaluate("told[2].isOccluded") is False


def test_files(opened):
    page = opened(state="s:both,m:vit,l:5,q:60")
    with page.expect_download() as got:
        page.get_by_role("button", name="Save as PNG").click()
    with Image.open(got.value.path()) as picture:
        assert picture.format == "PNG" and picture.size[0] > 1600
    assert got.value.suggested_filename == "an-orange-on-a-hill-layer-5-mean-of-12-heads.png"
    with page.expect_download() as got:
        page.get_by_role("button", name="Save as SVG").click()
    svg = got.value.path().read_text(encoding="utf-8")
    words = " ".join(re.sub("<[^>]+>", " ", svg).split())
    for text in (
        "An orange on a hill",
        "where the patch in row 5, column 4 looks",
        "\N{MULTIPLICATION SIGN} an even share",
        "Grad-CAM",
    ):
        assert text in words, text
    problem = page.evaluate(
        "(text) => new DOMParser().parseFromString(text, 'image/svg+xml').querySelector('parsererror')?.textContent",
        svg,
    )
    assert problem is None


def test_numbers_are_a_table(opened):
    page = opened(state="s:both,m:vit,l:5,h:1")
    assert page.locator("table").count() == 0
    page.get_by_role("button", name="Numbers").click()
    assert page.locator("table").first.locator("tbody tr").count() == 14
    page.get_by_role("button", name="Numbers").click()
    assert page.locator("table").count() == 0


def test_on_a_phone(watching, site, widths, phone):
    page = watching(f"{site}index.html?acts=1", **phone)
    page.wait_for_selector("body[data-ready=yes]")
    settle(page)
    assert widths(page) == []
    page.locator(SCREEN).tap(position={"x": 20, "y": 20})
    settle(page)
    assert state(page)["q"] == "1" or int(state(page)["q"]) < 40
    small = page.evaluate(
        """() => [...document.querySelectorAll(".aa-explorer :is(button, select, input, summary)")]
        .filter((one) => one.offsetParent && Math.min(one.offsetHeight, one.offsetWidth) < 24)
        .map((one) => one.textContent || one.id)"""
    )
    assert small == []


@pytest.mark.parametrize("width", [320, 400, 700, 1000])
def test_nothing_is_wider_than_the_screen(opened, widths, width):
    page = opened("acts=1", state="s:both,h:2", size={"width": width, "height": 700})
    assert widths(page) == []


def test_names_are_text(opened):
    page = opened(state="s:cnn")
    assert page.text_content(".aa-title") == "Only a CNN <b>here</b>"
    assert page.locator(".aa-title b").count() == 0


def test_a_shadow_root_has_its_style_and_destroying_leaves_nothing(opened):
    page = opened()
    page.evaluate(
        """async () => {
          const { mount } = await import("./explorer.js"), host = document.createElement("div");
          window.inner = document.createElement("div");
          document.body.append(host);
          host.attachShadow({ mode: "open" }).append(inner);
          const load = (id) => fetch(`${id}.aax`).then((one) => one.arrayBuffer());
          window.second = mount(inner, { subjects: [{ id: "registers", title: "R" }], load }, { theme: "dark" });
          await second.ready;
        }"""
    )
    assert (
        page.evaluate("getComputedStyle(inner.querySelector('.aa-explorer')).backgroundColor")
        == "rgb(22, 24, 27)"
    )
    page.evaluate("second.destroy()")
    assert page.evaluate("inner.childElementCount") == 0


def test_new_numbers_keep_the_view(opened):
    page = opened(state="s:both,m:vit,l:7,h:4,q:99")
    page.evaluate(
        "fetch('both.aax').then((one) => one.arrayBuffer()).then((buffer) => handle.replace('both', buffer))"
    )
    settle(page)
    assert json.loads(json.dumps(state(page)))["q"] == "99"
    page.evaluate("handle.select({ layer: 1, head: 0, query: 5, mode: 'rollout' })")
    settle(page)
    assert state(page)["mode"] == "rollout" and state(page)["l"] == "2"


def test_a_broken_subject_is_said(watching, site):
    page = watching(f"{site}index.html", before="window.fetch = async () => new Response('not a subject')")
    page.wait_for_selector("body[data-ready=yes]")
    assert "could not be opened" in page.text_content(".aa-status")
