"""The axis glossary holds the words that the type aliases use."""

import typing

from archaeology.core import shapes


def test_every_alias_uses_words_of_the_glossary() -> None:
    aliases = [value for value in vars(shapes).values() if hasattr(value, "dim_str")]
    assert len(aliases) >= 6
    words = {word for alias in aliases for word in typing.cast(str, alias.dim_str).split()}
    assert words <= set(shapes.AXES)
