"""One file of numbers for the browser: JSON that says what is there, then the arrays as they lie in memory.

`AAX1`, the length of the JSON (uint32), the JSON in UTF-8, zeros up to a multiple of 8, then the blocks, each filled up
to a multiple of 8; all little-endian, so that JavaScript lays typed arrays over the bytes without copying. Attention is
coded in 8 bits by its square root, with one scale per row: `value = scale * (level / 255)^2`. Coding is monotone, so no
two weights of a row ever swap their ranks, and small weights keep levels that linear coding would round to nothing.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from archaeology.core.storage import plain_json

MAGIC = b"AAX1"
ALIGNED = 8
MOST_LEVEL = 255
TYPES = {"u8": "<u1", "u16": "<u2", "i32": "<i4", "f32": "<f4", "f16": "<f2"}
_NAMES = {np.dtype(code): name for name, code in TYPES.items()}


@dataclass(frozen=True, eq=False)
class Plain:
    """An array stored as it is.

    Attributes:
        values: uint8, uint16, int32, float16 or float32; finite.
    """

    values: np.ndarray


@dataclass(frozen=True, eq=False)
class SquareRoot:
    """An array stored in 8 bits by its square root, with a scale for each row (along the last axis).

    Attributes:
        values: Floats, finite, >= 0.
    """

    values: np.ndarray


def coded(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Levels (uint8, the same shape) and the scale of each row (float32): `scale * (level / 255)^2` is the value again.

    A decoded value is off by at most `scale * (2 * sqrt(value / scale) + 1 / 510) / 510`, that is by 0.4 % of the row's
    largest; the largest and zero come back exactly.

    Args:
        values: Floats, finite, >= 0, rows along the last axis.

    Raises:
        ValueError: If anything is negative or not finite.
    """
    values = np.asarray(values, dtype=np.float32)
    if values.ndim == 0:
        raise ValueError("An array coded by its square root must have rows, but got a single number.")
    if values.size == 0:
        return np.zeros(values.shape, np.uint8), np.zeros(values.shape[:-1], np.float32)
    scales, lowest = np.asarray(values.max(axis=-1)), values.min()
    if not (lowest >= 0 and np.isfinite(scales).all()):  # a NaN fails both
        raise ValueError(
            "An array coded by its square root must be finite and not negative, but its rows go from "
            f"{lowest} to {scales.max()}; store it as Plain, or mend what made it."
        )
    levels = values / np.where(scales > 0, scales, 1)[..., None]
    np.sqrt(levels, out=levels)
    levels *= MOST_LEVEL
    levels += 0.5
    return levels.astype(np.uint8), scales


def decoded(levels: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """What `coded` made levels and scales of, within its error; float32."""
    shares = levels.astype(np.float32) / MOST_LEVEL
    return scales[..., None].astype(np.float32) * shares * shares


def pack(document: Mapping[str, Any]) -> bytes:
    """The container of a document.

    Args:
        document: What JSON can hold, with `Plain` and `SquareRoot` arrays anywhere in it. NaN becomes null.

    Raises:
        ValueError: If an array is of another type, not finite, or negative where it is to be coded by its square root.
    """
    blobs: list[bytes] = []
    text = json.dumps(
        plain_json(_without_arrays(document, blobs)),
        ensure_ascii=False,
        allow_nan=False,
        separators=(",", ":"),
    ).encode()
    head = MAGIC + struct.pack("<I", len(text)) + text
    return b"".join([head, _filling(len(head)), *blobs])


def unpack(data: bytes) -> dict[str, Any]:
    """The document of a container, with float32 arrays where values were coded, read-only arrays where they were not.

    Raises:
        ValueError: If the bytes are no container, are cut off, or a block lies outside of them.
    """
    if data[:4] != MAGIC or len(data) < 8:
        raise ValueError(f"A subject must begin with {MAGIC.decode()}, but these {len(data)} bytes do not.")
    (length,) = struct.unpack_from("<I", data, 4)
    start = 8 + length + len(_filling(8 + length))
    if len(data) < 8 + length:
        raise ValueError(
            f"A subject must be whole, but has {len(data)} bytes and its JSON alone takes {8 + length}; load it again."
        )
    return _with_arrays(json.loads(data[8 : 8 + length]), memoryview(data)[start:])


def _without_arrays(value: Any, blobs: list[bytes]) -> Any:
    """`value` with blocks in the place of arrays, whose bytes are added to `blobs`."""
    if isinstance(value, SquareRoot):
        levels, scales = coded(value.values)
        return _block(levels, blobs) | {"coding": "sqrt", "scales": _block(scales, blobs)}
    if isinstance(value, Plain):
        return _block(value.values, blobs)
    if isinstance(value, Mapping):
        return {name: _without_arrays(item, blobs) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_arrays(item, blobs) for item in value]
    return value


def _block(values: np.ndarray, blobs: list[bytes]) -> dict[str, Any]:
    name = _NAMES.get(values.dtype.newbyteorder("<"))
    if name is None:
        raise ValueError(
            f"An array must be of a type that the browser reads ({', '.join(TYPES)}), but got {values.dtype}; "
            "convert it with astype."
        )
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError(
            f"An array must be finite, but one of shape {values.shape} is not; say so in words instead (a map's state)."
        )
    at = sum(map(len, blobs))
    data = np.ascontiguousarray(values, dtype=TYPES[name]).tobytes()
    blobs.append(data + _filling(len(data)))
    return {"at": at, "shape": list(values.shape), "type": name, "coding": "plain"}


def _with_arrays(value: Any, blobs: memoryview) -> Any:
    if isinstance(value, list):
        return [_with_arrays(item, blobs) for item in value]
    if not isinstance(value, dict):
        return value
    if not value.keys() >= {"at", "shape", "type", "coding"}:
        return {name: _with_arrays(item, blobs) for name, item in value.items()}
    levels = _read(value, blobs)
    return decoded(levels, _read(value["scales"], blobs)) if value["coding"] == "sqrt" else levels


def _read(block: Mapping[str, Any], blobs: memoryview) -> np.ndarray:
    dtype, shape = np.dtype(TYPES[block["type"]]), tuple(block["shape"])
    end = block["at"] + dtype.itemsize * int(np.prod(shape, dtype=np.int64))
    if end > len(blobs):
        raise ValueError(
            f"A subject must be whole, but a block of shape {shape} ends at byte {end} of {len(blobs)}; load it again."
        )
    return np.frombuffer(blobs[block["at"] : end], dtype=dtype).reshape(shape)


def _filling(length: int) -> bytes:
    return bytes(-length % ALIGNED)
