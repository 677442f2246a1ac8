"""Names and counts in sentences: what people call a model or a data set, and how several things are told."""

from collections.abc import Sequence

FEW = 5


def short_name(name: str) -> str:
    """The last part of a reference: "bundled:vit_cifar10" is "vit_cifar10", "run:a/b/" is "b"."""
    return name.split(":", 1)[-1].rstrip("/").rsplit("/", 1)[-1] or name


def data_name(name: str, split: str | None) -> str:
    """What people call images and the part that was taken: "cifar10, test split"; without parts just the name."""
    return f"{short_name(name)}, {split} split" if split else short_name(name)


def joined(words: Sequence[str]) -> str:
    """Words as a list in a sentence: "a, b and c"; at least one."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def first_few(words: Sequence[str], most: int = FEW, of: str = "") -> str:
    """Words of a list that may be long: "a, b and 3 more"; `of` follows where it was cut, as in "3 more classes"."""
    more = f" and {len(words) - most} more {of}".rstrip() if len(words) > most else ""
    return ", ".join(words[:most]) + more


def plural(whole: int, one: str, many: str | None = None) -> str:
    """A counted thing, like "1 image" and "1,000 images"."""
    return f"{whole:,} {one if whole == 1 else many or one + 's'}"
