"""A real browser for the pages: each page it opens is watched, and may neither complain nor ask strangers."""

import asyncio
import functools
import http.server
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 360, "height": 740}
STATIC = Path(__file__).resolve().parents[2] / "src" / "archaeology" / "explorer" / "static"


@dataclass
class Watched:
    """A page, and what it did.

    Attributes:
        page: Playwright's page.
        own: Start of the addresses that the page may ask for.
        asked: Every address that it asked for.
        complaints: Errors and warnings of its console, errors nobody caught, requests that failed.
    """

    page: Page
    own: str = ""
    asked: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def strangers(self) -> list[str]:
        """Requests to anybody but the page's own place."""
        return [address for address in self.asked if not is_own(address, self.own)]


def is_own(address: str, own: str) -> bool:
    """Whether a page at `own` may ask for `address` without asking a stranger."""
    return urlsplit(address).scheme in ("data", "blob", "about") or address.startswith(own)


def watch(page: Page, own: str) -> Watched:
    """Note down from now on all that the page asks for and complains about."""
    watched = Watched(page, own)

    def hear(message):
        # Reading back what software has drawn is how Chromium shows it where there is no graphics card.
        is_drivers = "GL Driver Message (OpenGL, Performance" in message.text
        if message.type in ("error", "warning") and not is_drivers:
            watched.complaints.append(f"{message.type}: {message.text} ({message.location.get('url')})")

    page.on("request", lambda request: watched.asked.append(request.url))
    page.on("websocket", lambda socket: watched.asked.append(socket.url))
    page.on("console", hear)
    page.on("pageerror", lambda error: watched.complaints.append(f"uncaught: {error}"))
    return watched


@pytest.fixture(scope="session")
def launched(browser_program: str) -> Iterator[tuple[Browser, asyncio.AbstractEventLoop]]:
    """One browser for all tests of a process, and Playwright's loop.

    Playwright's loop stays the running one of this thread between calls, so that `asyncio.run` of any other test would
    refuse; it is put aside between tests.
    """
    playwright = sync_playwright().start()
    browser = playwright.chromium.launch(executable_path=browser_program, args=list(QUIET))
    loop = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    yield browser, loop
    asyncio._set_running_loop(loop)
    browser.close()
    playwright.stop()
    asyncio._set_running_loop(None)


@pytest.fixture
def chromium(launched) -> Iterator[Browser]:
    """The browser, for one test."""
    browser, loop = launched
    asyncio._set_running_loop(loop)
    yield browser
    asyncio._set_running_loop(None)


@pytest.fixture
def watching(chromium):
    """`watching(address, theme="light", size=DESKTOP, ...)` opens a page; at the end it must have been quiet."""
    contexts, opened = [], []

    def open_page(address: str, theme="light", size=None, wait="load", before=None, **settings) -> Page:
        settings = {"reduced_motion": "no-preference", "accept_downloads": True} | settings
        context = chromium.new_context(viewport=size or DESKTOP, color_scheme=theme, **settings)
        contexts.append(context)
        page = context.new_page()
        parts = urlsplit(address)
        own = address.partition("#")[0] if parts.scheme == "file" else f"{parts.scheme}://{parts.netloc}/"
        opened.append(watch(page, own))
        if before is not None:
            page.add_init_script(before)
        page.goto(address, wait_until=wait)
        return page

    yield open_page
    try:
        for watched in opened:
            assert watched.asked, "a watched page asks at least for itself; was it opened?"
            assert watched.strangers() == [], f"{watched.own} asked somebody else"
            assert watched.complaints == [], f"{watched.own} complained"
    finally:
        for context in contexts:
            context.close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files without a word."""

    extensions_map = http.server.SimpleHTTPRequestHandler.extensions_map | {".js": "text/javascript"}

    def log_message(self, format, *args):
        pass

    def do_GET(self):
        if self.path == "/favicon.ico":
            self.send_response(204)
            self.end_headers()
        else:
            super().do_GET()


@pytest.fixture(scope="session")
def serving():
    """`serving(folder)` is the address of a server of its files on this machine."""
    servers = []

    def serve(folder: Path) -> str:
        handler = functools.partial(Quiet, directory=str(folder))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}/"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="session")
def violations():
    """`violations(page)`: what axe-core finds against WCAG 2.2 AA, one line each; it must have checked something."""

    def found(page: Page, context: str | None = None) -> list[str]:
        tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
        options = {"runOnly": {"type": "tag", "values": tags}, "resultTypes": ["violations", "passes"]}
        result = Axe().run(page, context=context, options=options).response
        assert len(result["passes"]) >= 5, "axe-core checked next to nothing: is the page empty?"
        return [
            f"{rule['id']} ({rule['impact']}): {node['html'][:160]} | {(node['failureSummary'] or '')[:300]}"
            for rule in result["violations"]
            for node in rule["nodes"]
        ]

    return found


@pytest.fixture(scope="session")
def until():
    """`until(page, expression)` waits until it is true; unlike Playwright's own it needs no right to `eval`."""

    def wait(page: Page, expression: str, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not page.evaluate(expression):
            assert time.monotonic() < end, f"{expression} did not come true within {seconds} s"
            page.wait_for_timeout(20)

    return wait


@pytest.fixture(scope="session")
def widths():
    """`widths(page)`: what is wider than the screen, by its tag and class."""
    script = """() => {
      const wide = document.documentElement.clientWidth + 1;
      if (document.documentElement.scrollWidth <= wide) return [];
      return [...document.querySelectorAll("body *")].filter((one) => one.getBoundingClientRect().right > wide)
        .slice(0, 8).map((one) => `${one.tagName}.${one.getAttribute("class")} ${one.getBoundingClientRect().right}`)
        .concat([`page ${document.documentElement.scrollWidth}`]);
    }"""
    return lambda page: page.evaluate(script)


@pytest.fixture(scope="session")
def latencies():
    """`latencies(page, action, times)`: milliseconds from an event to the end of the frame that shows what it did.

    `action` is a JavaScript function of the step that dispatches the event; a frame ends in the task after its
    animation callbacks, when style, layout and painting commands are done. Of three rounds the quickest counts, sorted:
    the others say what else this machine was doing.
    """
    script = """async (times) => {
      const action = ACTION;
      const painted = () => new Promise((done) => requestAnimationFrame(() => {
        const channel = new MessageChannel();
        channel.port1.onmessage = () => done(performance.now());
        channel.port2.postMessage(0);
      }));
      const found = [];
      for (let step = 0; step < times; step += 1) {
        await painted();
        await new Promise((done) => setTimeout(done, 3 + (step * 7) % 17));
        const start = performance.now();
        action(step);
        found.push((await painted()) - start);
      }
      return found.sort((one, other) => one - other);
    }"""

    def measured(page: Page, action: str, times: int = 100, rounds: int = 3) -> list[float]:
        found = [page.evaluate(script.replace("ACTION", action), times) for _ in range(rounds)]
        return min(found, key=lambda one: share(one, 0.95))

    return measured


@pytest.fixture(scope="session")
def reached():
    """`reached(page, most)`: names of all that Tab reaches from the top of the page, in order."""
    script = """() => {
      let one = document.activeElement;
      while (one?.shadowRoot?.activeElement) one = one.shadowRoot.activeElement;
      if (!one || one === document.body) return null;
      const name = one.getAttribute("aria-label") || one.labels?.[0]?.textContent || one.textContent || one.id;
      const style = getComputedStyle(one);
      const isSeen = style.outlineStyle !== "none" || style.boxShadow !== "none" || one.matches(":focus-visible");
      return [one.tagName.toLowerCase(), name.trim().replace(/\\s+/g, " ").slice(0, 60), isSeen];
    }"""

    def walked(page: Page, most: int = 400) -> list[tuple[str, str, bool]]:
        found = []
        page.evaluate("() => { document.activeElement?.blur(); window.scrollTo(0, 0); }")
        for _ in range(most):
            page.keyboard.press("Tab")
            one = page.evaluate(script)
            if one is None:
                break
            found.append(tuple(one))
        return found

    return walked


def share(sorted_values: list[float], part: float) -> float:
    """The value that `part` of all do not exceed."""
    return sorted_values[min(len(sorted_values) - 1, int(part * len(sorted_values)))]


def seconds_by_process() -> dict[int, float]:
    """Processor time of this process's descendants so far, by process; empty where Linux does not tell."""
    children: dict[int, list[int]] = {}
    spent = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            facts = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        number = int(stat.parent.name)
        children.setdefault(int(facts[1]), []).append(number)
        spent[number] = (int(facts[11]) + int(facts[12])) / os.sysconf("SC_CLK_TCK")
    found, waiting = {}, [os.getpid()]
    while waiting:
        for number in children.get(waiting.pop(), ()):
            found[number] = spent[number]
            waiting.append(number)
    return found


@pytest.fixture(scope="session")
def busiest():
    """`busiest(work)`: what `work()` returns, and the processor time that the busiest process took for it.

    Unlike time on the wall it does not grow with what else a machine does; None where the system does not tell.
    """

    def measured(work):
        before = seconds_by_process()
        result = work()
        after = seconds_by_process()
        return result, max((after[one] - before.get(one, 0) for one in after), default=None)

    return measured


@pytest.fixture
def crowd():
    """How many processes want each core of this machine, at least 1: a limit on time on the wall is as much longer."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


@pytest.fixture(scope="session")
def quantile():
    return share


@pytest.fixture(scope="session")
def phone():
    """Settings of a small phone with a touch screen."""
    return {"size": PHONE, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}


@pytest.fixture(scope="session")
def static():
    """Where the explorer's modules are."""
    return STATIC
