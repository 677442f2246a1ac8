"""Names in sentences: what people call a model or a data set, and how several things are listed."""

from collections.abc import Sequence


def short_name(name: str) -> str:
    """The last part of a reference: "bundled:vit_cifar10" is "vit_cifar10", "run:a/b/" is "b"."""
    return name.split(":", 1)[-1].rstrip("/").rsplit("/", 1)[-1] or name


def joined(words: Sequence[str]) -> str:
    """Words as a list in a sentence: "a, b and c"; at least one."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
