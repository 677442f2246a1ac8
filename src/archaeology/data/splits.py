"""Which part of a data set is meant: `val`, `valid` and `validation` are one word; a wrong one lists all."""

from collections.abc import Iterable

from archaeology.core.registry import unknown_name

_SPELLINGS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
_MEANING = {spelling: split for split, spellings in _SPELLINGS.items() for spelling in spellings}


def is_split_name(name: str) -> bool:
    """Whether a folder of this name holds a split rather than a class."""
    return name.lower() in _MEANING


def choose_split(available: Iterable[str], wanted: str | None, where: str) -> str:
    """The one of the `available` splits that is `wanted`, in the spelling that is available.

    Args:
        available: The splits there are, at least one.
        wanted: The user's word, or None where the user said nothing.
        where: What has these splits, for messages.

    Raises:
        UnknownNameError: If there is no such split.
        ValueError: If nothing was said and there are several.
    """
    splits = list(available)
    if wanted is None:
        if len(splits) == 1:
            return splits[0]
        raise ValueError(
            f"{where} has the splits {', '.join(splits)}; say which, for example --split {splits[-1]}."
        )
    if wanted in splits:
        return wanted
    same = [name for name in splits if _canonical(name) == _canonical(wanted)]
    if len(same) == 1:
        return same[0]
    raise unknown_name(f"split of {where}", wanted, splits)


def _canonical(name: str) -> str:
    return _MEANING.get(name.lower(), name.lower())
