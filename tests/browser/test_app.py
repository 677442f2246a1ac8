"""The app in a browser: an image is seen within two seconds, attacked, changed, and found again by its link."""

import io
import os
import re
import select
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image
from tests.report.fixture_run import Plan, write_run

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SCREEN = "#explorer .aa-screen"
SPECS = ("timm:vit_tiny_patch16_224?pretrained=false", "bundled:convnet_cue_conflict")
SHOWN = 3  # a made-up image of the dig that is shown through all layers
START = 300  # seconds for a server on a machine that has other things to do
PATIENCE = 60_000  # milliseconds, likewise


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    """Address of `archaeology app` with a made-up dig, a ViT-Tiny with random weights and a CNN."""
    run = write_run(tmp_path_factory.mktemp("runs") / "small", Plan(num_images=60))
    command = [sys.executable, "-m", "archaeology", "app", str(run), "--vit", SPECS[0], "--cnn", SPECS[1]]
    environment = os.environ | {"OMP_NUM_THREADS": str(os.cpu_count() or 1)}
    server = subprocess.Popen([*command, "--port", "0"], stderr=subprocess.PIPE, env=environment)
    said, address, until = b"", None, time.monotonic() + START
    while address is None and time.monotonic() < until and server.poll() is None:
        if select.select([server.stderr], [], [], 1)[0]:
            said += os.read(server.stderr.fileno(), 65536)
        address = re.search(rb"serving at (\S+)", said)
    assert address is not None, f"the app did not start: {said.decode()}"
    yield address[1].decode()
    server.terminate()
    rest = server.communicate(timeout=30)[1]
    assert b"Traceback" not in said + rest, (said + rest).decode()


@pytest.fixture
def opened(watching, app):
    """The app's page with what it offers."""

    def open_page(state="", **settings):
        page = watching(f"{app}#{state}" if state else app, **settings)
        page.set_default_timeout(PATIENCE)
        page.wait_for_selector("#wait", state="hidden")
        assert page.locator("#trouble").is_hidden(), page.locator("#trouble").inner_text()
        return page

    return open_page


def picture(seed=0, size=(320, 240)) -> dict:
    """A made-up photo to upload."""
    random = np.random.default_rng(seed)
    small = random.integers(0, 255, (6, 8, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).save(out, "PNG")
    return {"name": f"made-up-{seed}.png", "mimeType": "image/png", "buffer": out.getvalue()}


def upload(page, seed=0):
    """Seconds until the maps of an uploaded image are painted."""
    page.evaluate("(selector) => document.querySelector(selector)?.setAttribute('data-old', '')", SCREEN)
    start = time.perf_counter()
    page.set_input_files("#file", picture(seed))
    page.wait_for_selector(f"{SCREEN}:not([data-old])")
    page.wait_for_selector("#wait", state="hidden")
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return time.perf_counter() - start


def inked(page, selector):
    """How many colours a canvas holds."""
    return page.evaluate(
        """(selector) => { const one = document.querySelector(selector);
          const bytes = one.getContext("2d").getImageData(0, 0, one.width, one.height).data;
          return new Set(new Uint32Array(bytes.buffer)).size; }""",
        selector,
    )


def test_an_upload_is_seen_within_two_seconds(opened, busiest, record_property):
    page = opened()
    upload(page, 1)
    assert inked(page, f"{SCREEN} canvas") > 100
    assert page.locator("#vit option:checked").inner_text().startswith("timm:vit_tiny_patch16_224")
    seconds, possible = [], []
    for seed in (2, 3, 4):
        took, spent = busiest(lambda seed=seed: upload(page, seed))
        seconds.append(took)
        possible.append(spent or took)
    record_property("seconds", seconds)
    print(f"\nupload to first map: {min(seconds):.2f} s at best, {min(possible):.2f} s of one core")
    is_busy = os.getloadavg()[0] > (os.cpu_count() or 1) + 1
    assert min(possible if is_busy else seconds) < 2


def test_an_attack_runs_shows_its_steps_and_its_result(opened):
    page = opened()
    upload(page)
    page.get_by_role("tab", name="Attack").click()
    field = page.locator("label:has(#attack-steps)")
    for attack, words in (("square", "Questions"), ("fgsm", None), ("pgd", "Steps")):
        page.locator("#attack-kind").select_option(attack)
        assert field.is_visible() == (words is not None) and (
            not words or field.inner_text().startswith(words)
        )
    page.locator("#attack-model").select_option("cnn")  # the trained one: an attack ends where it has won
    page.locator("#attack-budget").press("Home")
    page.locator("#attack-steps").fill("60")
    page.evaluate("""() => { window.steps = [];
      const seen = () => window.steps.push(Number(document.querySelector("#attack-progress").value));
      new MutationObserver(seen).observe(document.querySelector("#attack"), { subtree: true, childList: true,
        attributes: true, characterData: true }); }""")
    page.get_by_role("button", name="Run the attack").click()
    page.locator("#attack-result").wait_for()
    steps = page.evaluate("steps")
    assert len({step for step in steps if 0 < step}) >= 4, "progress is seen while it runs"
    assert page.locator("#attack-says").inner_text()
    assert all(inked(page, f"#attack-{which}") > 10 for which in ("before", "change", "after"))
    after = page.locator(SCREEN).first.screenshot()
    page.get_by_role("button", name="Before the attack").click()
    page.wait_for_timeout(300)
    assert page.locator(SCREEN).first.screenshot() != after


def test_an_attack_stops(opened, until):
    page = opened()
    upload(page)
    page.get_by_role("tab", name="Attack").click()
    page.locator("#attack-steps").fill("2000")
    with page.expect_response(re.compile("/attacks$")) as begun:
        page.get_by_role("button", name="Run the attack").click()
    number = begun.value.json()["id"]
    until(page, "document.querySelector('#attack-loss').textContent !== ''")
    with page.expect_response(lambda response: response.request.method == "DELETE") as ended:
        page.get_by_role("button", name="Stop", exact=True).click()
    assert ended.value.ok and number in ended.value.url
    assert page.get_by_role("button", name="Run the attack").is_visible()
    assert "Stopped" in page.locator("#attack-says").inner_text()
    value = page.locator("#attack-progress").evaluate("(one) => one.value")
    page.wait_for_timeout(1500)
    assert page.locator("#attack-progress").evaluate("(one) => one.value") == value < 1


def test_a_head_is_switched_off_and_the_odds_move(opened, until):
    page = opened()
    upload(page)
    page.get_by_role("tab", name="Switch heads off").click()
    assert page.locator("#heads-grid button").count() == 36
    page.locator("#heads-grid button").nth(4).click()
    until(page, "document.querySelector('#ablation-result').innerText.includes('%')")
    until(page, "location.hash.includes('off=')")


def test_a_patch_is_hidden_by_keys(opened, until):
    page = opened()
    upload(page)
    page.locator("#occlusion-canvas").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press(" ")
    until(page, "document.querySelector('#occlusion-result').innerText.includes('%')")


def test_the_link_brings_everything_back(opened, until):
    page = opened()
    page.locator("#thumbnails button").nth(SHOWN).click()
    page.wait_for_selector(SCREEN)
    page.get_by_role("tab", name="Attack").click()
    page.locator("#attack-steps").fill("33")
    page.locator("#attack-steps").blur()
    page.locator(SCREEN).first.click(position={"x": 60, "y": 60})
    until(page, "location.hash.includes('steps=33') && location.hash.includes('x=')")
    page.wait_for_timeout(500)
    state = page.evaluate("location.hash.slice(1)")
    assert "image=" in state
    again = opened(state)
    again.wait_for_selector(SCREEN)
    again.wait_for_timeout(800)
    assert again.evaluate("location.hash.slice(1)") == state
    assert again.locator("#attack-steps").input_value() == "33" and again.locator("#attack").is_visible()
    assert again.locator("#verdict").inner_text() == page.locator("#verdict").inner_text()


def test_no_method_is_a_choice_and_the_popup_closes(opened, until):
    page = opened()
    upload(page)
    popup = page.locator("#methods")
    summary = popup.locator("summary")
    summary.click()
    while popup.locator("input:checked").count():
        popup.locator("input:checked").first.uncheck()
    page.wait_for_selector("#wait", state="hidden")
    until(page, "location.hash.includes('methods=none')")
    page.keyboard.press("Escape")
    assert popup.get_attribute("open") is None
    assert summary.evaluate("(one) => one === document.activeElement")
    summary.click()
    page.locator("#verdict").click()
    assert popup.get_attribute("open") is None
    page.reload()
    page.wait_for_selector(SCREEN)
    assert "0 methods" in summary.inner_text() and "methods=none" in page.evaluate("location.hash")


def test_two_models_stay_side_by_side(opened):
    page = opened(size={"width": 1280, "height": 900})
    page.locator("#thumbnails button").nth(SHOWN).click()
    page.wait_for_selector(f"{SCREEN} >> nth=1")
    tops = [one.bounding_box()["y"] for one in page.locator(SCREEN).all()]
    assert len(tops) == 2 and tops[0] == pytest.approx(tops[1], abs=1)


def test_the_keyboard_reaches_everything(opened, reached):
    page = opened()
    names = [name for _, name, is_seen in reached(page) if is_seen]
    assert any(name == "Choose a picture" for name in names), names
    page.locator("#thumbnails button").nth(SHOWN).press("Enter")
    page.wait_for_selector(SCREEN)
    reach = reached(page)
    assert all(is_seen for _, _, is_seen in reach), [one for one in reach if not one[2]]
    names = [name for _, name, _ in reach]
    for wanted in ("Copy link", "Hide patches", "Picture to hide patches", "Layer", "3D"):
        assert any(wanted in name for name in names), (wanted, names)
    for tab, wanted in (("Switch heads off", "All on"), ("Attack", "Run the attack")):
        page.get_by_role("tab", selected=True).press("ArrowRight")
        assert page.get_by_role("tab", name=tab).get_attribute("aria-selected") == "true"
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.closest('[role=tabpanel]') !== null"), wanted


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(opened, violations, theme):
    page = opened(theme=theme, reduced_motion="reduce")
    assert violations(page) == []
    page.locator("#thumbnails button").nth(SHOWN).click()
    page.wait_for_selector(SCREEN)
    for tab in ("Hide patches", "Switch heads off", "Attack"):
        page.get_by_role("tab", name=tab).click()
        page.wait_for_timeout(200)
        assert violations(page) == [], tab


def test_it_fits_a_phone(opened, phone, widths):
    page = opened(**phone)
    assert widths(page) == []
    page.locator("#thumbnails button").nth(SHOWN).tap()
    page.wait_for_selector(SCREEN)
    for tab in ("Hide patches", "Switch heads off", "Attack"):
        page.get_by_role("tab", name=tab).tap()
        assert widths(page) == [], tab
    page.locator(SCREEN).first.tap(position={"x": 40, "y": 40})
    assert page.locator(SCREEN).first.bounding_box()["width"] > 200
