"""Images inside Parquet files, the layout in which Hugging Face stores image data sets.

Column `image` is a struct {bytes, path} (or plain bytes), `label` an integer whose class names stand in the
schema's `huggingface` metadata (or a string), `box` (optional) [x_min, y_min, x_max, y_max] in pixels.
"""

import json
import re
import threading
from bisect import bisect_right
from collections import OrderedDict
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from archaeology.data.decode import bad_image, decode_image
from archaeology.data.fingerprint import fingerprint_of_files
from archaeology.data.registry import image_sources
from archaeology.data.source import Sample
from archaeology.data.splits import choose_split

MEMORY = 256 * 2**20  # bytes of encoded images that are kept at hand


class ParquetSource:
    """The images of one split, in the order of the files and their rows."""

    is_thread_safe = True

    def __init__(self, path: Path, split: str | None = None, *, name: str | None = None) -> None:
        """Look at the schema and the labels; images are read when asked for.

        Args:
            path: A Parquet file, or a folder that holds SPLIT*.parquet or SPLIT/*.parquet.
            split: Which split; may be left out where there is one.
            name: What to call the source, instead of `parquet:PATH`.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If there is no such split, or the columns are other ones.
        """
        files = _files_by_split(path)
        self.name = name or f"parquet:{path}"
        self.split: str | None = choose_split(files, split, self.name)
        self._root = path if path.is_dir() else path.parent
        self._paths = files[self.split]
        self._groups = _RowGroups(self._paths)
        schema = self._groups.schema
        has_label, has_box = _check_columns(schema, path)
        self._labels, self.classes = _labels(self._groups, schema, path) if has_label else (None, ())
        self._boxes = self._groups.column("box") if has_box else None
        self._fingerprint: str | None = None  # made when asked for: reading large files takes its time

    @property
    def fingerprint(self) -> str:
        """Hash of the files' content, so it is the same wherever they lie."""
        if self._fingerprint is None:
            relative = [path.relative_to(self._root).as_posix() for path in self._paths]
            self._fingerprint = fingerprint_of_files(self._root, relative, "parquet", *self.classes)
        return self._fingerprint

    def __len__(self) -> int:
        return len(self._groups)

    def image_id(self, index: int) -> str:
        """Split and row, for example `test/00042`."""
        return f"{self.split}/{index:0{len(str(len(self) - 1))}d}"

    def labels(self) -> list[int | None]:
        """The labels of all images, without decoding any."""
        return [None] * len(self) if self._labels is None else list(self._labels)

    def get(self, index: int) -> Sample:
        """Decode row `index`.

        Raises:
            BadImageError: If the row's image cannot be decoded.
        """
        data, inner_path = self._groups.image(index)
        where = f"{self.name} row {index}" + (f" ({inner_path})" if inner_path else "")
        if data is None:
            data = self._outside(inner_path, where)
        label = self._labels[index] if self._labels is not None else None
        box = self._boxes[index] if self._boxes is not None else None
        return Sample(decode_image(data, where), label, None if box is None else _checked_box(box, where))

    def _outside(self, inner_path: str | None, where: str) -> bytes:
        """Some writers store the path alone; then the file must lie beside the Parquet file."""
        if not inner_path:
            raise bad_image(where, "its bytes are missing")
        try:
            return (self._root / inner_path).read_bytes()
        except OSError as error:
            raise bad_image(
                where, f"it holds a path and no bytes, and there is no such file ({error})"
            ) from error


@image_sources.register("parquet")
def open_parquet(rest: str, split: str | None) -> ParquetSource:
    """`parquet:PATH`, a file or a folder."""
    if not rest:
        raise ValueError("parquet: must be followed by a file or folder, for example parquet:data/cifar10.")
    return ParquetSource(Path(rest).expanduser(), split)


def _files_by_split(path: Path) -> dict[str, list[Path]]:
    if path.is_file():
        return {_split_of(path.stem): [path]}
    if not path.exists():
        raise FileNotFoundError(
            f"{path} must be a Parquet file or a folder of them, but there is no such path."
        )
    files: dict[str, list[Path]] = {}
    for file in sorted(path.glob("*.parquet")) + sorted(path.glob("data/*.parquet")):
        files.setdefault(_split_of(file.stem), []).append(file)
    if not files:
        for file in sorted(path.glob("*/*.parquet")):
            files.setdefault(file.parent.name, []).append(file)
    if not files:
        raise FileNotFoundError(
            f"{path} must hold SPLIT*.parquet or SPLIT/*.parquet, but holds no Parquet file."
        )
    return files


def _split_of(stem: str) -> str:
    """`train` for `train`, `train_1` and `train-00000-of-00002-abc`; `data` for `0000`."""
    found = re.match(r"(.*?)(?:[-_.]?\d+(?:-of-.*)?)?$", stem)
    return (found.group(1) if found else "") or "data"


class _RowGroups:
    """Rows of several files as one list; the latest row groups stay in memory, one thread reads at a time."""

    def __init__(self, paths: list[Path]) -> None:
        self._files = [_opened(path) for path in paths]
        self.schema: pa.Schema = self._files[0].schema_arrow
        for path, file in zip(paths, self._files, strict=True):
            if file.schema_arrow.names != self.schema.names:
                raise ValueError(
                    "all files of a split must have the same columns, "
                    f"but {paths[0].name} has {self.schema.names} and {path.name} {file.schema_arrow.names}."
                )
        self._places = [(file, group) for file in self._files for group in range(file.num_row_groups)]
        sizes = [file.metadata.row_group(group).num_rows for file, group in self._places]
        self._starts = list(accumulate(sizes, initial=0))
        self._latest: OrderedDict[int, pa.ChunkedArray] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._starts[-1]

    def column(self, name: str) -> list[Any]:
        """A small column of all rows."""
        with self._lock:
            return [value for file in self._files for value in file.read([name]).column(0).to_pylist()]

    def image(self, index: int) -> tuple[bytes | None, str | None]:
        """Bytes and path of the image in row `index`, each None where absent."""
        if not 0 <= index < len(self):
            raise IndexError(f"index must be 0 to {len(self) - 1}, but got {index}.")
        number = bisect_right(self._starts, index) - 1
        with self._lock:
            value = self._group(number)[index - self._starts[number]].as_py()
        if isinstance(value, dict):
            return value.get("bytes"), value.get("path")
        return value, None

    def _group(self, number: int) -> pa.ChunkedArray:
        if number not in self._latest:
            file, group = self._places[number]
            self._latest[number] = file.read_row_group(group, ["image"]).column("image")
            while len(self._latest) > 2 and sum(kept.nbytes for kept in self._latest.values()) > MEMORY:
                self._latest.popitem(last=False)
        self._latest.move_to_end(number)
        return self._latest[number]


def _opened(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, memory_map=True)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{path} must be a whole Parquet file, but cannot be read ({error}).") from error


def _check_columns(schema: pa.Schema, path: Path) -> tuple[bool, bool]:
    """Whether there are columns `label` and `box`; an error where image or label are called otherwise."""
    expected = "columns must be image {bytes, path}, label (optional) and box (optional)"
    found = ", ".join(f"{field.name} ({field.type})" for field in schema)
    names = schema.names
    if "image" not in names or not _is_image(schema.field("image").type):
        raise ValueError(f"{expected}, but {path} has {found}; rename or convert them.")
    maybe = [name for name in names if re.search("label|class|target", name, re.IGNORECASE)]
    if "label" not in names and maybe:
        raise ValueError(f"{expected}, but {path} has {found}; rename the one that is the label.")
    return "label" in names, "box" in names


def _is_image(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return "bytes" in {kind.field(i).name for i in range(kind.num_fields)}
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _labels(groups: _RowGroups, schema: pa.Schema, path: Path) -> tuple[list[int | None], tuple[str, ...]]:
    """Each row's label (None for null and -1) and the class names."""
    kind, values = schema.field("label").type, groups.column("label")
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        classes = tuple(sorted({value for value in values if value is not None}))
        number = {name: i for i, name in enumerate(classes)}
        return [None if value is None else number[value] for value in values], classes
    if not pa.types.is_integer(kind):
        raise ValueError(f"column label of {path} must be whole numbers or strings, but is {kind}.")
    highest = max((value for value in values if value is not None), default=-1)
    classes = _class_names(schema) or tuple(str(i) for i in range(highest + 1))
    if highest >= len(classes):
        raise ValueError(
            f"labels of {path} must be below the number of class names, {len(classes)}, but one is {highest}."
        )
    return [None if value is None or value < 0 else value for value in values], classes


def _class_names(schema: pa.Schema) -> tuple[str, ...]:
    """From the `huggingface` metadata; empty where there is none."""
    try:
        stored = json.loads((schema.metadata or {})[b"huggingface"])
        return tuple(str(name) for name in stored["info"]["features"]["label"]["names"])
    except (KeyError, TypeError, ValueError):
        return ()


def _checked_box(box: Any, where: str) -> tuple[float, float, float, float]:
    if len(box) != 4:
        raise ValueError(f"box of {where} must be [x_min, y_min, x_max, y_max], but is {box}.")
    return float(box[0]), float(box[1]), float(box[2]), float(box[3])
