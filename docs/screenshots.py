"""Pictures of report, app and explorer for the README: light, dark and on a phone.

`python docs/screenshots.py` digs the bundled models on the synthetic images that come with the package;
`python docs/screenshots.py RUN` takes a finished dig. The pictures are written to docs/_static/screenshots.
"""

import io
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from generate import ROOT
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from archaeology.report.write import write_report

TARGET = ROOT / "docs" / "_static" / "screenshots"
LARGEST = 300_000  # bytes: nine of them must not make a clone slow
DIG = (
    "--images",
    "300",
    "--judge-images",
    "10",
    "--pruning-images",
    "0",
    "--robustness-images",
    "0",
    "--layer-images",
    "8",
)
LOOKS = {
    "light": {"color_scheme": "light", "viewport": {"width": 1280, "height": 800}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1280, "height": 800}},
    "phone": {
        "color_scheme": "light",
        "viewport": {"width": 375, "height": 720},
        "device_scale_factor": 2,
        "has_touch": True,
        "is_mobile": True,
    },
}
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


def dug(folder: Path) -> Path:
    """A small dig of the bundled models."""
    run = folder / "run"
    subprocess.run([sys.executable, "-m", "archaeology", "dig", "--out", str(run), *DIG], check=True)
    return run


def serving(run: Path) -> tuple[subprocess.Popen[bytes], str]:
    """The app with a run, and its address."""
    command = [sys.executable, "-m", "archaeology", "app", str(run), "--port", "0"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE)
    assert server.stderr is not None
    said, until = "", time.monotonic() + 300
    while time.monotonic() < until and server.poll() is None:
        if select.select([server.stderr], [], [], 1)[0]:
            said += server.stderr.readline().decode()
            if found := re.search(r"serving at (\S+)", said):
                return server, found[1]
    server.kill()
    raise SystemExit(f"the app did not start: {said}")


def small(data: bytes) -> bytes:
    """The picture in as many colours as `LARGEST` bytes allow."""
    picture = Image.open(io.BytesIO(data)).convert("RGB")
    for colours in (None, 256, 128, 64):
        out = io.BytesIO()
        (picture.quantize(colours) if colours else picture).save(out, "PNG", optimize=True)
        if out.tell() < LARGEST:
            break
    else:
        raise SystemExit(
            f"a picture must have fewer than {LARGEST:,} bytes, but has {out.tell():,}; show less."
        )
    return out.getvalue()


def explored(page: Page) -> None:
    """Wait for the explorer, with a patch in the middle asked about."""
    page.locator(".aa-explorer").first.scroll_into_view_if_needed()
    screen = page.locator(".aa-explorer .aa-screen").first
    screen.wait_for()
    box = screen.bounding_box()
    assert box is not None
    screen.click(position={"x": 0.55 * box["width"], "y": 0.55 * box["height"]})
    page.mouse.move(0, 0)


def report(page: Page, address: str) -> None:
    """The first screen of the report."""
    page.goto(address)


def app(page: Page, address: str) -> None:
    """The app with the first image of the dig."""
    page.goto(address)
    page.locator("#thumbnails button").first.click()
    explored(page)
    page.evaluate("window.scrollTo(0, 0)")


def explorer(page: Page, address: str) -> None:
    """The explorer within the report, all heads in sight."""
    page.goto(address)
    explored(page)
    is_narrow = page.evaluate("innerWidth < 600")
    shown = ".aa-explorer .aa-panel" if is_narrow else ".aa-explorer"
    page.evaluate(f"document.querySelector('{shown}').scrollIntoView({{ block: 'start' }})")


def shoot(browser: Browser, addresses: dict[str, str]) -> None:
    """All pictures."""
    TARGET.mkdir(parents=True, exist_ok=True)
    for show in (report, app, explorer):
        for name, look in LOOKS.items():
            context = browser.new_context(reduced_motion="reduce", **look)
            page = context.new_page()
            page.set_default_timeout(120_000)
            show(page, addresses[show.__name__])
            page.wait_for_timeout(1000)
            data = small(page.screenshot())
            (TARGET / f"{show.__name__}-{name}.png").write_bytes(data)
            print(f"{show.__name__}-{name}.png: {len(data):,} bytes")
            context.close()


def main(given: list[str]) -> None:
    """Dig, report, serve, shoot."""
    with tempfile.TemporaryDirectory() as folder:
        if given:
            run = Path(folder) / Path(given[0]).resolve().name
            shutil.copytree(given[0], run)
        else:
            run = dug(Path(folder))
        page = write_report(run).as_uri()
        server, address = serving(run)
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
                shoot(browser, {"report": page, "explorer": page, "app": address})
                browser.close()
        finally:
            server.terminate()
            server.communicate(timeout=30)


if __name__ == "__main__":
    main(sys.argv[1:])
