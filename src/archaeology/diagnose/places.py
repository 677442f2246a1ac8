"""Where the test images of a training are, read from what its run says of its data."""

import re

from archaeology.data.open import open_source
from archaeology.data.source import ImageSource


def opened(spec: str, split: str | None, *, is_sure: bool) -> ImageSource:
    """A split, or what is there where nobody promised that there is one."""
    try:
        return open_source(spec, split=split)
    except ValueError:
        if is_sure or split is None:
            raise
        return open_source(spec)


def place_of(described: object) -> tuple[str | None, str | None]:
    """Spec and split of test images, out of "parquet:PLACE test (10,000)"."""
    found = re.fullmatch(r"(.+) (\S+) \([\d,]+\)", str(described))
    return (found[1], None if found[2] == "None" else found[2]) if found else (None, None)
