"""One way to name layers wherever they are spoken of: blocks are counted from 1, as attention layers are; a stem is 0.

The number belongs to the model and not to a list of layers: where only some were read, or only some have a class
token, block 7 is layer 7 all the same.
"""

from collections.abc import Mapping
from typing import Any


def layer_numbers(document: Mapping[str, Any], specimen: str) -> dict[str, int | None]:
    """Numbers of a model's layers by module path, as a survey of layers has them; None where one has none."""
    described = document.get("specimens") or ()
    found = next((one for one in described if one["name"] == specimen), {})
    paths = list(found.get("layers") or ())
    numbers = list(found.get("numbers") or [None] * len(paths))
    return dict(zip(paths, numbers, strict=True))


def layer_name(path: str, numbers: Mapping[str, int | None]) -> str:
    """Like "layer 3 of 12", "the stem (conv1)", or the module path of what is neither."""
    number = numbers.get(path)
    if number is None:
        return path
    last = max(one for one in numbers.values() if one is not None)
    return f"layer {number} of {last}" if number else f"the stem ({path})"
