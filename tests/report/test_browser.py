"""The page in a real browser, whose script is allowed to run and does what it should."""

import shutil
import subprocess

import pytest
from playwright.sync_api import sync_playwright

from archaeology.report import write_report

QUIET = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --dump-dom"
).split()


@pytest.fixture(scope="module")
def dom(browser_program, large_run, tmp_path_factory):
    """The document after its script has run, opened from the disk in the dark theme."""
    address = write_report(large_run).as_uri() + "?theme=dark"
    profile = tmp_path_factory.mktemp("browser")
    command = [browser_program, *QUIET, f"--user-data-dir={profile}", address]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout


@pytest.mark.slow
def test_the_script_may_run_and_sets_the_theme(dom):
    assert '<html lang="en" data-theme="dark"' in dom
    assert '<button type="button" class="theme">Light</button>' in dom


@pytest.mark.slow
def test_the_explorer_may_run_and_takes_the_place_of_the_viewer(dom):
    assert '<div class="explorer"' in dom and '<div class="explorer" hidden' not in dom
    assert 'class="viewer' not in dom


@pytest.mark.slow
def test_long_lists_are_folded_and_can_be_filtered(dom):
    assert 'class="pairs few"' in dom
    assert '<div class="filters" role="group" aria-label="Show only some outcomes">' in dom
    assert '<p class="more"><button' in dom


@pytest.fixture(scope="module")
def browser(browser_program):
    """A browser that can be asked."""
    with sync_playwright() as running:
        opened = running.chromium.launch(
            executable_path=browser_program, args=["--no-sandbox", "--disable-gpu"]
        )
        yield opened
        opened.close()


def opened(browser, path, wait=1500):
    """A page from the disk, with what it complained about and what it asked for besides itself."""
    page = browser.new_page()
    page.set_default_timeout(120_000)
    troubles, asked = [], []
    page.on("console", lambda line: troubles.append(line.text) if line.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    page.wait_for_timeout(wait)
    return page, troubles, [url for url in asked if not url.startswith("data:")]


@pytest.mark.slow
def test_the_page_opens_without_trouble_and_asks_for_nothing(browser, attacked_run):
    path = write_report(attacked_run, full=1)
    page, troubles, asked = opened(browser, path)
    assert troubles == [] and asked == [path.as_uri()]
    assert page.evaluate("document.getElementsByTagName('*').length") < 5000
    assert page.locator(".explorer canvas").count() > 0
    spent = page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
    print(f"loaded in {spent:.0f} ms")
    assert spent < 10_000  # 2 s on a machine with nothing else to do


@pytest.mark.slow
def test_a_folder_reads_its_data_beside_it_and_nothing_else(browser, small_run, tmp_path, monkeypatch):
    from archaeology.report import write as writing

    copy = shutil.copytree(small_run, tmp_path / "run")
    monkeypatch.setattr(writing, "LARGEST", 1000)
    path = write_report(copy, full=1)
    page, troubles, asked = opened(browser, path, wait=3000)
    assert troubles == [] and page.locator(".explorer canvas").count() > 0
    assert asked[0] == path.as_uri() and len(asked) > 1
    assert {url.rsplit("/", 1)[0] for url in asked} == {path.parent.as_uri()}


@pytest.mark.slow
def test_tables_are_made_when_asked_for_and_all_before_printing(browser, small_run):
    page, _, _ = opened(browser, write_report(small_run, full=0))
    before = page.locator("table").count()
    page.evaluate("document.querySelector('#figure-entropy details').open = true")
    page.wait_for_timeout(500)
    assert page.locator("#figure-entropy table").count() == 1
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("table").count() > before + 10
    assert page.locator(".exhibit details:not([open])").count() == 0
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("#figure-pruning details[open]").count() == 0


@pytest.mark.slow
@pytest.mark.parametrize("width", [320, 375, 1280])
def test_nothing_sticks_out_sideways(browser, small_run, width):
    page, _, _ = opened(browser, write_report(small_run, full=0))
    page.set_viewport_size({"width": width, "height": 800})
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
