"""Weights that have to come over the network come, or say within seconds what is missing and where to put it.

Hugging Face's client tries six times, waiting up to eight seconds, for every file: most of a minute until a
machine without network learns that it has none. So we ask the server once, briefly; where the hub does not
answer, its client is told to use what it has on disk.
"""

import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from urllib.error import HTTPError

SECONDS = 4.0


@contextmanager
def fetching_from_hub(what: str, remedy: str) -> Iterator[None]:
    """Inside, files may come from the Hugging Face hub; a failure becomes one error that says what to do.

    Args:
        what: Names what is fetched, for example "The weights of timm:resnet50".
        remedy: What a user without network can do.

    Raises:
        ConnectionError: If something inside cannot be fetched.
    """
    from huggingface_hub import constants

    was_offline = constants.HF_HUB_OFFLINE
    is_silent = not was_offline and not answers(constants.ENDPOINT)
    constants.HF_HUB_OFFLINE = was_offline or is_silent
    try:
        yield
    except OSError as error:
        reason = first_line(error)
        if is_silent:
            reason = f"{constants.ENDPOINT} does not answer, and there is no copy in {constants.HF_HUB_CACHE}"
        elif was_offline:
            reason = f"HF_HUB_OFFLINE is set, and there is no copy in {constants.HF_HUB_CACHE}"
        raise could_not_fetch(what, reason, remedy) from error
    finally:
        constants.HF_HUB_OFFLINE = was_offline


@contextmanager
def fetching_from(url: str, what: str, remedy: str) -> Iterator[None]:
    """Inside, `url` may be downloaded; if that fails, or its server is silent, one error says what to do.

    Raises:
        ConnectionError: If something inside cannot be fetched.
    """
    if not answers(url):
        raise could_not_fetch(what, f"{url} does not answer", remedy)
    try:
        yield
    except OSError as error:
        raise could_not_fetch(what, first_line(error), remedy) from error


def could_not_fetch(what: str, reason: str, remedy: str) -> ConnectionError:
    """The one error for everything that could not be fetched."""
    return ConnectionError(f"{what} cannot be fetched ({reason}); {remedy}")


def first_line(error: BaseException) -> str:
    """What an error says in one line."""
    return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__


def answers(url: str, seconds: float = SECONDS) -> bool:
    """Whether the server of `url` says anything at all, be it an error, within so many seconds."""

    def ask() -> bool:
        try:
            urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=seconds).close()
        except HTTPError:
            return True
        except (OSError, ValueError, HTTPException):
            return False
        return True

    return _within(ask, seconds)


def _within(ask: Callable[[], bool], seconds: float) -> bool:
    """`ask()`, or False if it takes longer (looking a name up cannot be given a time limit)."""
    said: list[bool] = []
    thread = threading.Thread(target=lambda: said.append(ask()), daemon=True)
    thread.start()
    thread.join(seconds)
    return bool(said) and said[0]
