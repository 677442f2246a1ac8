"""Programs that tests run: a JavaScript engine and a browser. Both are needed, and nothing is skipped without them."""

import shutil

import pytest
from playwright._impl._driver import compute_driver_executable

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="session")
def node() -> str:
    """Node: the system's, else the one that comes with Playwright."""
    return shutil.which("node") or str(compute_driver_executable()[0])


@pytest.fixture(scope="session")
def browser_program() -> str:
    """Where Chromium is."""
    for name in BROWSERS:
        if path := shutil.which(name):
            return path
    raise pytest.UsageError(
        f"The browser tests need Chromium, but none of {', '.join(BROWSERS)} is on the PATH; run `make chromium` "
        "(as root: apt-get install chromium), or leave these tests out with -m 'not browser and not slow'."
    )
