"""Files that are either whole or absent: all is written beside its place and then moved there at once."""

import hashlib
import json
import math
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from torch import Tensor


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, moved over it when the block ends well and removed when it does not.

    Works for files, which are flushed to the disk first, and for folders (a folder replaces the old folder).
    The parent is created where it is missing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    mark = uuid.uuid4().hex[:8]
    temporary, old = (path.with_name(f".{path.name}.{mark}.{word}") for word in ("part", "old"))
    try:
        yield temporary
        if temporary.is_file():
            _flush(temporary)
        elif path.is_dir():
            path.replace(old)  # removing it here, file by file, would leave a broken folder if we were killed
        temporary.replace(path)
    finally:
        for leftover in (temporary, old):
            _remove(leftover)


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def plain_json(value: Any) -> Any:
    """`value` in JSON's own types: arrays as lists, paths as text, NaN and infinities as null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(item) for item in value]
    if hasattr(value, "tolist"):  # NumPy's arrays and numbers, and tensors
        return plain_json(value.tolist())
    if isinstance(value, Path):
        return str(value)
    return value


def json_text(value: Any) -> str:
    """`value` as indented JSON with a final newline; NaN becomes null."""
    return json.dumps(plain_json(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON, atomically; NaN becomes null."""
    write_text(path, json_text(value))


def read_json(path: Path) -> Any:
    """The JSON document in `path`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not JSON; names the file.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} must hold JSON, but does not ({error}); remove it or restore it."
        ) from error


def write_table(path: Path, rows: "Iterable[Mapping[str, Any]] | pa.Table") -> None:
    """Write rows (mappings with the same keys) or an Arrow table as Parquet, atomically.

    Raises:
        ValueError: If a row has other keys than the first.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(_alike([dict(row) for row in rows]))
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def _alike(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, checked: Arrow would silently drop what the first row does not have."""
    for number, row in enumerate(rows):
        if row.keys() != rows[0].keys():
            raise ValueError(
                f"All rows of a table must have the same keys, but row 0 has {sorted(rows[0])} "
                f"and row {number} has {sorted(row)}."
            )
    return rows


def read_table(path: Path) -> "pa.Table":
    """The Parquet table in `path`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is truncated or not Parquet.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise FileNotFoundError(f"{path} must be a Parquet file, but there is no such file.")
    try:
        return pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path} must be a whole Parquet file, but cannot be read ({error}).") from error


def write_tensors(
    path: Path, tensors: "Mapping[str, Tensor]", metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors as safetensors, atomically; pickle is never written and never read."""
    from safetensors.torch import save

    # Clones, because safetensors refuses tensors that share memory, such as tied weights; and bytes, because
    # the files it writes itself can be read by their owner alone.
    contiguous = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(contiguous, metadata=dict(metadata or {})))


def read_tensors(path: Path) -> "dict[str, Tensor]":
    """The tensors in a safetensors file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is truncated or not safetensors.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise FileNotFoundError(f"{path} must be a safetensors file, but there is no such file.")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} must be a whole safetensors file, but cannot be read ({error}).") from error


def write_arrays(
    path: Path, arrays: "Mapping[str, tuple[np.ndarray, tuple[str, ...]]]", attributes: Mapping[str, Any]
) -> None:
    """Write named arrays with named dimensions as one Zarr v3 group, atomically.

    Args:
        path: The folder to make.
        arrays: Name -> (array, names of its dimensions). The first dimension is cut into shards of one, the
            chunks inside a shard hold the last two dimensions, so one map is read without the others.
        attributes: JSON-able facts about the group.
    """
    import zarr

    with atomic_path(path) as temporary:
        group = zarr.open_group(temporary, mode="w", zarr_format=3, attributes=dict(plain_json(attributes)))
        for name, (array, dimensions) in arrays.items():
            deep = array.ndim > 2 and array.size > 0
            shards = (1, *array.shape[1:]) if deep else None
            chunks = (1,) * (array.ndim - 2) + array.shape[-2:] if deep else array.shape
            stored = group.create_array(
                name,
                shape=array.shape,
                dtype=array.dtype,
                chunks=chunks,
                shards=shards,
                dimension_names=dimensions,
            )
            stored[...] = array


def read_arrays(path: Path) -> Any:
    """The Zarr group in `path`, opened for reading; arrays are read when sliced.

    Raises:
        FileNotFoundError: If there is no such folder.
    """
    import zarr

    if not path.is_dir():
        raise FileNotFoundError(f"{path} must be a Zarr folder, but there is no such folder.")
    return zarr.open_group(path, mode="r")


def sha256_of(*parts: bytes | str) -> str:
    """The hex sha256 of the parts, each preceded by its length so that no two lists of parts collide."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()


def sha256_of_file(path: Path) -> str:
    """The hex sha256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_folder() -> Path:
    """Where decoded images are kept: `$ARCHAEOLOGY_CACHE`, else the user's cache folder."""
    named = os.environ.get("ARCHAEOLOGY_CACHE")
    if named:
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "attention-archaeology"
