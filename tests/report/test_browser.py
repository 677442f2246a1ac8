"""The page in a real browser, where one is installed: its script is allowed to run and does what it should."""

import shutil
import subprocess

import pytest

from archaeology.report import write_report

BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
QUIET = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --dump-dom"
).split()


@pytest.fixture(scope="module")
def dom(large_run, tmp_path_factory):
    """The document after its script has run, opened from the disk in the dark theme."""
    if BROWSER is None:
        pytest.skip("no Chromium or Chrome is installed")
    address = write_report(large_run).as_uri() + "?theme=dark"
    profile = tmp_path_factory.mktemp("browser")
    command = [BROWSER, *QUIET, f"--user-data-dir={profile}", address]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout


@pytest.mark.slow
def test_the_script_may_run_and_sets_the_theme(dom):
    assert '<html lang="en" data-theme="dark"' in dom
    assert '<button type="button" class="theme">Light</button>' in dom


@pytest.mark.slow
def test_the_viewer_starts_with_the_first_layer(dom):
    assert "Layer 1 of 12, mean of all heads" in dom
    assert 'aria-valuetext="mean of all heads"' in dom


@pytest.mark.slow
def test_long_lists_are_folded_and_can_be_filtered(dom):
    assert 'class="pairs few"' in dom
    assert '<div class="filters" role="group" aria-label="Show only some outcomes">' in dom
    assert '<p class="more"><button' in dom
