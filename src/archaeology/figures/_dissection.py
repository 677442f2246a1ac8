"""What figures of failures share: the document they read, and the two models in their colours."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from archaeology.core.names import plural

NAMES = {"vit": "ViT", "cnn": "CNN"}


@runtime_checkable
class Apart(Protocol):
    """Whatever has had its failures taken apart: a run directory, or a light object with the same attribute."""

    @property
    def dissection(self) -> Mapping[str, Any] | None:
        """The document as `dig/dissecting.py` writes it; None where nothing was measured."""
        ...


def parts_of(source: Apart, key: str) -> dict[str, Any]:
    """One part of the document by model, ViT first; without models that have none."""
    found = (source.dissection or {}).get(key) or {}
    return {role: found[role] for role in NAMES if found.get(role)}


def class_name(source: Apart, number: int | None) -> str:
    """What a class of the document is called; "" for none."""
    names = (source.dissection or {}).get("classes_named") or ()
    if number is None:
        return ""
    return str(names[number]) if number < len(names) else f"class {number}"


def images_word(number: int) -> str:
    """Counted images."""
    return plural(number, "image")
