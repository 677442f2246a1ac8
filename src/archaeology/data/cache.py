"""Decode every image once and keep the pixels: the second time a data set opens in milliseconds.

Decoding a JPEG costs about as much as a training step on it; reading it back from a memory map costs nothing.
The cache is keyed by what was decoded (the source's fingerprint) and how (size, crop), never by where it lay.
"""

import os
import shutil
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from archaeology.core.errors import BadImageError
from archaeology.core.framing import Box
from archaeology.core.progress import progress
from archaeology.core.storage import atomic_path, cache_folder, read_json, sha256_of, write_json
from archaeology.data.decode import bad_image
from archaeology.data.decoded import DecodedImages as DecodedImages
from archaeology.data.resize import framed
from archaeology.data.source import ImageSource

FORMAT = 1  # raise it whenever the same source would be decoded or stored differently
CHUNK = 64  # images that one thread decodes in a row


def decode_once(
    source: ImageSource,
    size: tuple[int, int],
    *,
    crop_fraction: float = 1.0,
    skip_bad: bool = False,
    folder: Path | None = None,
) -> DecodedImages:
    """All images of `source` in one size, from the cache if they were decoded before.

    Each image is scaled (antialiased, bicubic) until its shorter side is `size / crop_fraction`, then its
    middle is cut out; boxes and masks go with it.

    Args:
        source: What to decode.
        size: Height and width of the result.
        crop_fraction: Share of the shorter side that is kept, in (0, 1]; published models name theirs.
        skip_bad: Leave out images that cannot be decoded and list them in `skipped`, instead of stopping.
        folder: Where to keep the pixels, instead of `$ARCHAEOLOGY_CACHE` or the user's cache folder.

    Raises:
        BadImageError: If an image cannot be decoded and `skip_bad` is off; the message names it.
        ValueError: If `size` or `crop_fraction` is impossible, or no image is left.
        OSError: If the cache cannot be written; the message says where it is and how to move it.
    """
    if min(size) < 1:
        raise ValueError(f"size must be at least 1x1 pixels, but got {size=}.")
    if not 0 < crop_fraction <= 1:
        raise ValueError(f"crop_fraction must be above 0 and at most 1, but got {crop_fraction=}.")
    if len(source) == 0:
        raise ValueError(f"{source.name} must hold at least one image, but holds none.")
    key = sha256_of(
        str(FORMAT), source.fingerprint, repr((tuple(size), float(crop_fraction), bool(skip_bad)))
    )
    entry = (folder or cache_folder()) / "decoded" / key[:32]
    decoded = _opened(entry, source)
    if decoded is None:
        recipe = _Recipe(source, (size[0], size[1]), crop_fraction, skip_bad)
        try:
            _require_space(entry.parent, len(source) * 3 * size[0] * size[1])
            with atomic_path(entry) as temporary:
                _write(temporary, recipe)
        except OSError as error:
            decoded = _opened(entry, source)  # another process may have been faster
            if decoded is None:
                raise OSError(
                    f"decoded images are kept in {entry.parent}, which must be writable and have room, "
                    f"but {error}; set ARCHAEOLOGY_CACHE to another folder or make room there."
                ) from error
        decoded = decoded or _opened(entry, source)
    assert decoded is not None, f"{entry} was written but cannot be read back"
    return decoded


@dataclass(frozen=True)
class _Recipe:
    source: ImageSource
    size: tuple[int, int]
    crop_fraction: float
    skip_bad: bool


@dataclass
class _Chunk:
    """A few decoded images, on their way to the disk."""

    ids: list[str] = field(default_factory=list)
    images: list[np.ndarray] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    masks: list[np.ndarray | None] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)


def _decode_chunk(recipe: _Recipe, start: int) -> _Chunk:
    chunk = _Chunk()
    for index in range(start, min(start + CHUNK, len(recipe.source))):
        identity = recipe.source.image_id(index)
        try:
            sample = recipe.source.get(index)
            image, box, mask = _framed(sample, recipe, identity)
        except BadImageError as error:
            if not recipe.skip_bad:
                raise
            chunk.skipped.append((identity, str(error)))
            continue
        chunk.ids.append(identity)
        chunk.images.append(image)
        chunk.labels.append(-1 if sample.label is None else sample.label)
        chunk.boxes.append(box)
        chunk.masks.append(mask)
    return chunk


def _framed(sample: Any, recipe: _Recipe, identity: str) -> tuple[np.ndarray, Box, np.ndarray | None]:
    try:
        return framed(sample, recipe.size, recipe.crop_fraction)
    except ValueError as error:
        raise bad_image(identity, str(error)) from error


def _chunks(recipe: _Recipe) -> Iterator[_Chunk]:
    """Chunks in order; a source that declares `is_thread_safe` is read by as many threads as there are cores.

    Only a few chunks are decoded ahead of the one that is being written, so memory stays small.
    """
    starts = range(0, len(recipe.source), CHUNK)
    threads = (os.cpu_count() or 1) if getattr(recipe.source, "is_thread_safe", False) else 1
    waiting = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for start in starts:
                waiting.append(pool.submit(_decode_chunk, recipe, start))
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _write(folder: Path, recipe: _Recipe) -> None:
    """Decode everything into `folder`, in order."""
    folder.mkdir(parents=True)
    whole = _Chunk()
    with (
        progress("decoding images", len(recipe.source)) as advance,
        (folder / "images.bin").open("wb") as images,
        (folder / "masks.bin").open("wb") as masks,
    ):
        for chunk in _chunks(recipe):
            for image in chunk.images:
                images.write(np.ascontiguousarray(image).data)
            _write_masks(masks, chunk.masks, len(whole.ids), recipe.size)
            for name in ("ids", "labels", "boxes", "skipped"):
                getattr(whole, name).extend(getattr(chunk, name))
            advance(len(chunk.ids) + len(chunk.skipped))
        has_masks = masks.tell() > 0
    if not whole.ids:
        raise BadImageError(
            f"no image of {recipe.source.name} can be decoded; the first: {whole.skipped[0][1]}"
        )
    boxes = np.array(whole.boxes, np.float32)
    np.save(folder / "labels.npy", np.array(whole.labels, np.int64))
    np.save(folder / "boxes.npy", boxes)
    about = {
        "format": FORMAT,
        "source": recipe.source.name,
        "size": recipe.size,
        "crop_fraction": recipe.crop_fraction,
        "has_boxes": not bool(np.isnan(boxes).all()),
        "has_masks": has_masks,
        "ids": whole.ids,
        "skipped": whole.skipped,
    }
    write_json(folder / "about.json", about)


def _write_masks(file: BinaryIO, masks: list[np.ndarray | None], before: int, size: tuple[int, int]) -> None:
    """Append masks; nothing is written until the first one comes, then the `before` images get empty ones."""
    if file.tell() == 0:
        if all(mask is None for mask in masks):
            return
        for _ in range(before):
            file.write(bytes(size[0] * size[1]))
    for mask in masks:
        file.write(bytes(size[0] * size[1]) if mask is None else mask.astype(bool).tobytes())


def _require_space(folder: Path, needed: int) -> None:
    """Fail before an hour of decoding rather than after it."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(f"{needed / 1e6:,.0f} MB are needed and {free / 1e6:,.0f} MB are free")


def _opened(entry: Path, source: ImageSource) -> DecodedImages | None:
    """The cache entry, or None where there is none or it is broken (it is then made again)."""
    try:
        about = read_json(entry / "about.json")
        height, width = about["size"]
        ids = tuple(about["ids"])
        labels, boxes = (np.load(entry / f"{name}.npy") for name in ("labels", "boxes"))
        if about["format"] != FORMAT or labels.shape != (len(ids),) or boxes.shape != (len(ids), 4):
            return None
        images = _mapped(entry / "images.bin", np.uint8, (len(ids), 3, height, width))
        masks = (
            _mapped(entry / "masks.bin", np.bool_, (len(ids), height, width)) if about["has_masks"] else None
        )
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None
    return DecodedImages(
        images=images,
        labels=labels,
        ids=ids,
        classes=tuple(source.classes),
        boxes=boxes if about["has_boxes"] else None,
        masks=masks,
        skipped=tuple((identity, reason) for identity, reason in about["skipped"]),
        fingerprint=source.fingerprint,
        name=source.name,
        split=source.split,
    )


def _mapped(path: Path, dtype: type, shape: tuple[int, ...]) -> np.ndarray:
    """The file as an array whose changes stay in memory, so torch can view it and nobody can spoil it."""
    if path.stat().st_size != np.prod(shape) * np.dtype(dtype).itemsize:
        raise ValueError(f"{path} is not whole.")
    return np.memmap(path, dtype, mode="c", shape=shape)
