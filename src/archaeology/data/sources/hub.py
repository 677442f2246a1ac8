"""Data sets of the Hugging Face hub by name: `hub:beans`, `hub:org/name?config=...&image=...&label=...`.

They are fetched by the package `datasets` (extra `hub`) into its own cache, since the user named them; what is in
that cache opens offline. The image column is the one of type Image and the label the one of type ClassLabel; where
there are several, the query behind the name says which.
"""

from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from archaeology.core.errors import MissingExtraError
from archaeology.core.storage import sha256_of
from archaeology.data.decode import bad_image, decode_image
from archaeology.data.fingerprint import fingerprint_of_files
from archaeology.data.registry import image_sources
from archaeology.data.source import Sample
from archaeology.data.splits import choose_split

OPTIONS = ("config", "image", "label")


class HubSource:
    """One split of a `datasets.Dataset`; the encoded images are taken out and decoded like everybody's."""

    is_thread_safe = True

    def __init__(
        self, dataset: Any, *, name: str, split: str, image: str | None = None, label: str | None = None
    ) -> None:
        """Find the columns.

        Args:
            dataset: A `datasets.Dataset`.
            name: What to call it.
            split: Which split it is.
            image: The column of images; the only one of type Image where left out.
            label: The column of labels; the only one of type ClassLabel where left out.

        Raises:
            ValueError: If there is no such column, or several could be meant.
        """
        from datasets import Image  # optional

        self.name = name
        self.split: str | None = split
        self._image = _column(dataset, "image", "Image", image, name)
        self._label = _column(dataset, "label", "ClassLabel", label, name)
        if self._image is None:
            raise ValueError(f"{name} must have a column of type Image, but has {_columns(dataset)}.")
        self.classes = tuple(dataset.features[self._label].names) if self._label else ()
        self._dataset = dataset.cast_column(self._image, Image(decode=False))
        self._fingerprint: str | None = None  # made when asked for: reading large files takes its time

    @property
    def fingerprint(self) -> str:
        """Hash of the Arrow files' content and the columns."""
        if self._fingerprint is None:
            facts = ("hub", self.name, self.split or "", self._image or "", self._label or "", *self.classes)
            files = [Path(file["filename"]) for file in self._dataset.cache_files]
            inside = [fingerprint_of_files(file.parent, [file.name]) for file in files]
            self._fingerprint = sha256_of(*facts, *(inside or [self._dataset._fingerprint]))
        return self._fingerprint

    def __len__(self) -> int:
        return len(self._dataset)

    def image_id(self, index: int) -> str:
        """Split and row, for example `test/0042`."""
        return f"{self.split}/{index:0{len(str(len(self) - 1))}d}"

    def labels(self) -> list[int | None]:
        """The labels of all images, without decoding any."""
        if not self._label:
            return [None] * len(self)
        return [None if label is None or label < 0 else int(label) for label in self._dataset[self._label]]

    def get(self, index: int) -> Sample:
        """Row `index`.

        Raises:
            BadImageError: If its image cannot be read or decoded.
        """
        row = self._dataset[index]
        where = f"{self.name} {self.image_id(index)}"
        stored, label = row[self._image], row[self._label] if self._label else None
        if stored is None:
            raise bad_image(where, "there is none in this row")
        try:
            data = stored["bytes"] if stored["bytes"] is not None else Path(stored["path"]).read_bytes()
        except OSError as error:
            raise bad_image(f"{where} ({stored['path']})", f"it cannot be read ({error.strerror})") from error
        return Sample(decode_image(data, where), None if label is None or label < 0 else label)


@image_sources.register("hub")
def open_hub(rest: str, split: str | None) -> HubSource:
    """`hub:NAME`, with `?config=...&image=...&label=...` behind it where the name is not enough.

    Raises:
        MissingExtraError: If the package `datasets` is not installed.
        ValueError: If there is no such split, column or option.
        FileNotFoundError: If the hub has no such data set, or cannot be reached and the data set is not in its cache.
    """
    name, _, query = rest.partition("?")
    options = dict(parse_qsl(query))
    if not name or not set(options) <= set(OPTIONS):
        raise ValueError(
            f"hub: must be followed by NAME or NAME?config=...&image=...&label=..., but got {rest!r}."
        )
    try:
        from datasets import config, load_dataset  # optional
    except ImportError as error:
        raise MissingExtraError("datasets", "hub", f"hub:{rest}") from error
    try:
        splits = load_dataset(name, options.get("config"))
    except (OSError, RuntimeError, ValueError) as error:
        raise FileNotFoundError(
            f"hub:{rest} must be on the hub or in its cache ({config.HF_DATASETS_CACHE}), but {error} "
            "Check the name; offline, fetch it where there is a network and copy that folder, or use parquet:PATH."
        ) from error
    chosen = choose_split([str(key) for key in splits], split, f"hub:{rest}")
    return HubSource(
        splits[chosen],
        name=f"hub:{rest}",
        split=chosen,
        image=options.get("image"),
        label=options.get("label"),
    )


def _column(dataset: Any, what: str, kind: str, wanted: str | None, name: str) -> str | None:
    fitting = [column for column, feature in dataset.features.items() if type(feature).__name__ == kind]
    if wanted is not None:
        if wanted not in fitting:
            raise ValueError(
                f"{name}: {what} must be a column of type {kind}, but {wanted!r} is none; it has {_columns(dataset)}."
            )
        return wanted
    if what in fitting or len(fitting) < 2:
        return what if what in fitting else next(iter(fitting), None)
    raise ValueError(
        f"{name} has several columns of type {kind}: {', '.join(fitting)}; say which, with ?{what}={fitting[0]}."
    )


def _columns(dataset: Any) -> str:
    return ", ".join(f"{column} ({type(feature).__name__})" for column, feature in dataset.features.items())
