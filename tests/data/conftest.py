"""Every test gets a cache and a data folder of its own, and pictures to put on disk."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHAEOLOGY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ARCHAEOLOGY_DATA", str(tmp_path / "named"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture
def encoded() -> Callable[..., bytes]:
    """`encoded(seed, height=, width=, format=)`: the bytes of a random picture."""

    def encode(seed: int = 0, *, height: int = 11, width: int = 13, format: str = "PNG") -> bytes:
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
        buffer = BytesIO()
        Image.fromarray(pixels).save(buffer, format=format)
        return buffer.getvalue()

    return encode


@pytest.fixture
def picture(encoded: Callable[..., bytes]) -> Callable[..., Path]:
    """`picture(path, seed)`: write a random picture to `path`, making its folders."""

    def write(path: Path, seed: int = 0, **size: int) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(seed, **size))
        return path

    return write


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever wants to download meets a dead network."""
    import urllib.error
    import urllib.request

    def fail(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no network in tests")

    monkeypatch.setattr(urllib.request, "urlopen", fail)
