import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from archaeology.specimens import fetching
from archaeology.specimens.fetching import answers, fetching_from, fetching_from_hub


class Refuses(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.send_response(404 if "absent" in self.path else 200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Refuses) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


def test_any_answer_is_an_answer(server: str) -> None:
    assert answers(server)
    assert answers(f"{server}/absent")


def test_silence_is_none() -> None:
    assert not answers("http://127.0.0.1:9")
    assert not answers("no address at all")


def test_nobody_waits_longer_than_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    let_go = threading.Event()

    def hangs(*args: object, **kwargs: object) -> None:
        let_go.wait(30)
        raise OSError("too late")

    monkeypatch.setattr(fetching.urllib.request, "urlopen", hangs)
    start = time.monotonic()

    assert not answers("http://127.0.0.1:9", seconds=0.05)

    assert time.monotonic() - start < 5
    monkeypatch.undo()
    let_go.set()


def test_hub_is_offline_inside_and_back_after_an_error(offline: None) -> None:
    from huggingface_hub import constants

    with pytest.raises(KeyError), fetching_from_hub("It", "do that."):
        assert constants.HF_HUB_OFFLINE
        raise KeyError("something else passes through")
    assert not constants.HF_HUB_OFFLINE


def test_hub_errors_become_one_sentence(offline: None) -> None:
    with (
        pytest.raises(
            ConnectionError, match=r"^It cannot be fetched \(https.* does not answer.*\); do that\.$"
        ),
        fetching_from_hub("It", "do that."),
    ):
        raise FileNotFoundError("a page of text\nand more")


def test_offline_by_choice_says_so(offline: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    with monkeypatch.context() as patch:
        patch.setattr(constants, "HF_HUB_OFFLINE", True)
        with (
            pytest.raises(ConnectionError, match="HF_HUB_OFFLINE is set"),
            fetching_from_hub("It", "do that."),
        ):
            raise OSError("no")
        assert constants.HF_HUB_OFFLINE


def test_reason_of_a_server_that_answers(offline: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "answers", lambda url: True)
    with (
        pytest.raises(ConnectionError, match=r"\(404, no such model\); do that"),
        fetching_from_hub("It", "do that."),
    ):
        raise OSError("404, no such model.\nSee the manual.")
    with (
        pytest.raises(ConnectionError, match=r"\(broken pipe\); do that"),
        fetching_from("http://example.org/x.pth", "It", "do that."),
    ):
        raise OSError("broken pipe")


def test_silent_server_is_not_asked_for_a_file(offline: None) -> None:
    with (
        pytest.raises(ConnectionError, match=r"\(http://example.org/x.pth does not answer\); do that"),
        fetching_from("http://example.org/x.pth", "It", "do that."),
    ):
        raise AssertionError("never reached")
