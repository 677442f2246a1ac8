"""The server as it runs: many at once, visitors who leave, ports that are taken, memory, the end."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from archaeology.app.config import AppConfig
from archaeology.app.serve import address_of, bound, serve

MODELS = ("--vit", "bundled:vit_cifar10", "--cnn", "bundled:convnet_cifar10")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")


class Running:
    """An app in a process of its own."""

    def __init__(self, folder, *words):
        self.log = folder / "log.txt"
        self.scratch = folder / "scratch"
        self.scratch.mkdir()
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "archaeology", "app", *words, "--port", "0", "--threads", "1"],
                stderr=log,
                cwd=folder,
                env={**os.environ, "TMPDIR": str(self.scratch), "OMP_NUM_THREADS": "1"},
            )
        self.address = self._address()

    def _address(self):
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            if found := re.search(r"serving at (http://\S+/)", self.log.read_text()):
                return found[1]
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        raise AssertionError(self.log.read_text())

    def browser(self):
        return httpx.Client(base_url=self.address, timeout=120)

    @property
    def memory(self):
        """Bytes of the server and its decoders."""
        found = 0
        for process in (self.process.pid, *self.children()):
            text = Path(f"/proc/{process}/status").read_text()
            found += 1024 * int(re.search(r"VmRSS:\s+(\d+)", text)[1])
        return found

    def children(self):
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(word) for word in path.read_text().split()]

    def stop(self, how=signal.SIGINT):
        children = self.children()
        started = time.monotonic()
        self.process.send_signal(how)
        self.process.wait(30)
        return time.monotonic() - started, children


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    found = Running(tmp_path_factory.mktemp("app"), *MODELS)
    yield found
    if found.process.poll() is None:
        found.stop(signal.SIGTERM)


def uploaded(browser, data):
    found = browser.post("api/images", files={"image": ("x.png", data)})
    assert found.status_code == 201, found.text
    return found.json()["id"]


def test_fifty_at_once_are_all_answered(running, picture_file):
    data = picture_file(size=(320, 240), kind="JPEG")

    def visit(number):
        with running.browser() as browser:
            image = uploaded(browser, data)
            found = browser.get(f"api/images/{image}/subject?methods=rollout")
            return found.status_code, len(found.content)

    with ThreadPoolExecutor(50) as pool:
        codes, sizes = zip(*pool.map(visit, range(50)), strict=True)
    assert set(codes) == {200} and min(sizes) > 100_000
    assert max(sizes) - min(sizes) < 500  # asked in other batches, a last digit may be another


def test_who_leaves_in_the_middle_of_an_attack_leaves_the_worker_free(running, picture_file):
    with running.browser() as browser:
        image = uploaded(browser, picture_file())
        wish = {"model": "vit", "attack": "pgd", "epsilon": 0.0, "steps": 2000}
        attack = browser.post(f"api/images/{image}/attacks", json=wish).json()["id"]
        with browser.stream("GET", f"api/attacks/{attack}/events") as stream:
            lines = stream.iter_lines()
            while not next(lines).startswith("event: progress"):
                pass
            # Others are served while it runs.
            assert browser.get(f"api/images/{image}/subject?vit=vit&methods=").status_code == 200
        time.sleep(2)  # or the attack would go on for the one who asks again
        events = browser.get(f"api/attacks/{attack}/events").text.split("\n\n")
        steps = [json.loads(one.split("data: ")[1])["step"] for one in events if "event: progress" in one]
        assert "event: failed" in events[-2] and "stopped" in events[-2]
        assert steps[-1] < 1900


def test_who_leaves_while_waiting_is_not_worked_for(running, picture_file):
    with running.browser() as browser:
        image = uploaded(browser, picture_file())
        address = httpx.URL(running.address)
        for _ in range(20):
            with socket.create_connection((address.host, address.port)) as link:
                cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
                link.sendall(
                    f"GET /api/images/{image}/subject HTTP/1.1\r\nHost: localhost\r\nCookie: {cookies}\r\n\r\n".encode()
                )
        started = time.monotonic()
        assert browser.get(f"api/images/{image}/subject?methods=").status_code == 200
        assert time.monotonic() - started < 20


def test_half_an_upload_costs_nothing(running, picture_file):
    address = httpx.URL(running.address)
    for _ in range(10):
        with socket.create_connection((address.host, address.port)) as link:
            link.sendall(
                b"POST /api/images HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n"
                b"Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n"
            )
    with running.browser() as browser:
        uploaded(browser, picture_file())


def asked_again_and_again(running, picture_file, count):
    """Growth of memory over so many requests: health, lists, refusals, uploads, subjects, heads off."""
    with running.browser() as browser:
        image = uploaded(browser, picture_file())
        off = {"model": "vit", "off": [[0, 1]], "replacement": "zero"}
        kinds = [
            lambda: browser.get("api/health"),
            lambda: browser.get("api/setup"),
            lambda: browser.get("static/app.js"),
            lambda: browser.get("api/images/nothing/subject"),
            lambda: browser.get(f"api/images/{image}/subject?vit=vit&methods=rollout"),
            lambda: browser.get("api/health", headers={"host": "evil.example"}),
            lambda: browser.get(f"api/images/{image}/rows?model=vit&query=3"),
            lambda: browser.post("api/images", files={"image": ("x", b"no image")}),
            lambda: browser.post(f"api/images/{image}/ablate", json=off),
            lambda: browser.post("api/images", files={"image": ("x", picture_file())}),
        ]
        seen = []
        for number in range(count):
            if number % 30 == 0:
                browser.cookies.delete(next(iter(browser.cookies)))  # a new visitor
                browser.get("./")
                image = uploaded(browser, picture_file())
            kinds[number % len(kinds)]()
            if number in (count // 4, count - 1):
                seen.append(running.memory)
        return seen


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow(running, picture_file, capsys):
    """`ARCHAEOLOGY_REQUESTS=10000 pytest tests/app/test_server.py -k memory` is the full measure."""
    count = int(os.environ.get("ARCHAEOLOGY_REQUESTS", "400"))
    after_some, after_all = asked_again_and_again(running, picture_file, count)
    said = (
        f"{after_some / 1e6:.0f} MB after a quarter, {after_all / 1e6:.0f} MB after all of {count} requests"
    )
    if count > 400:
        with capsys.disabled():
            print(f"\n{said}")
    assert after_all - after_some < 30_000_000, said


def test_nothing_was_written_to_the_disk(running):
    assert not list(running.scratch.rglob("*"))


def test_a_stopped_server_ends_streams_and_processes(running, picture_file):
    with running.browser() as browser:
        image = uploaded(browser, picture_file())
        wish = {"model": "vit", "attack": "pgd", "epsilon": 0.0, "steps": 2000}
        attack = browser.post(f"api/images/{image}/attacks", json=wish).json()["id"]
        ended = threading.Event()

        def follow():
            try:
                with running.browser() as other:
                    other.cookies.update(browser.cookies)
                    other.get(f"api/attacks/{attack}/events")
            except httpx.HTTPError:
                pass
            ended.set()

        thread = threading.Thread(target=follow)
        thread.start()
        time.sleep(0.3)
        seconds, children = running.stop()
        thread.join(20)
    assert ended.is_set() and seconds < 15
    assert children and not any(Path(f"/proc/{child}").exists() for child in children)
    log = running.log.read_text()
    assert "Traceback" not in log and log.endswith("stopped\n") and running.process.returncode == 0


def test_a_port_that_is_taken_is_told():
    with bound("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=rf"cannot listen at 127.0.0.1 port {port} .*--port 0"):
            serve(AppConfig(port=port))


def test_an_address_of_elsewhere_is_told():
    with pytest.raises(OSError, match="must be an address of this machine"):
        bound("no.such.host.invalid", 0)


def test_a_run_that_is_none_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        serve(AppConfig(run=tmp_path / "nothing", port=0))
    with pytest.raises(ValueError, match=r"holds no run.json"):
        serve(AppConfig(run=tmp_path, port=0))


def test_a_model_that_is_none_is_told():
    with pytest.raises(ValueError, match="did you mean"):
        serve(AppConfig(vit="bundled:vit_cifar11", cnn="none", port=0))


def test_the_address_holds_the_token_and_the_base_path():
    config = AppConfig(base_path="/x", token="right-token", port=81)
    assert address_of(config) == "http://127.0.0.1:81/x/?token=right-token"
    assert address_of(AppConfig(host="::1", port=81)) == "http://[::1]:81/"
