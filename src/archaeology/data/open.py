"""One word opens any data set: `folder:photos/`, `parquet:PATH`, `cifar10`, `cue_conflict`."""

from pathlib import Path

from archaeology.data import sources as sources  # fills the shelf
from archaeology.data.registry import image_sources
from archaeology.data.source import ImageSource
from archaeology.data.worlds import pairs as pairs  # likewise
from archaeology.data.worlds.cue_conflict import CueConflict


def open_source(spec: str, *, split: str | None = None) -> ImageSource:
    """The image source that `spec` names; nothing is decoded yet.

    Args:
        spec: `KIND:WHAT` or a short name; `archaeology list` shows them all.
        split: Which part; may be left out where there is one. `val`, `valid` and `validation` mean the same.

    Raises:
        UnknownNameError: If no source or split is called so; the message suggests the nearest name.
        ValueError: If what is found there is no data set; the message says what must be there.
        FileNotFoundError: If there is nothing there.
        MissingExtraError: If the source needs a package that is not installed.
    """
    kind, _, rest = spec.partition(":")
    if kind not in image_sources and Path(spec).expanduser().exists():
        guess = "parquet" if spec.endswith(".parquet") else "npz" if spec.endswith(".npz") else "folder"
        raise ValueError(
            f"a data set must be named KIND:WHAT, but got {spec!r}; did you mean {guess}:{spec}?"
        )
    return image_sources.get(kind)(rest, split)


@image_sources.register("cue_conflict")
def open_cue_conflict(rest: str, split: str | None) -> CueConflict:
    """`cue_conflict`, the generated world; split `aligned`, `random` (the default) or `conflict`."""
    if rest:
        raise ValueError(f"cue_conflict takes nothing behind a colon, but got {rest!r}; choose with --split.")
    return CueConflict(split or "random")
