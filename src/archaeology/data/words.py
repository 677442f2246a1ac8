"""Sentences as numbers: one for each word, one for the end, zeros to fill up."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Int
from torch import Tensor

PADDING, END = 0, 1


@dataclass(frozen=True)
class Vocabulary:
    """Words by number.

    Attributes:
        words: From number 2 on; lower case, each of them once.
        max_length: Numbers of the longest text, its end included.

    Raises:
        ValueError: If a word comes twice or is none.
    """

    words: tuple[str, ...]
    max_length: int

    def __post_init__(self) -> None:
        odd = [word for word in self.words if split(word) != [word] or self.words.count(word) > 1]
        if odd or not self.words or self.max_length < 2:
            raise ValueError(
                "words must be lower case, each of them once, and texts have room for one and the end, but got "
                f"{odd or self.words} and max_length={self.max_length}."
            )

    def __len__(self) -> int:
        return len(self.words) + 2

    @cached_property
    def _number(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words, start=2)}

    def encode(self, texts: Sequence[str]) -> Int[Tensor, "batch token"]:
        """Numbers of the words of each text, its end, and padding.

        Raises:
            ValueError: If a word is unknown or a text too long; names them.
        """
        numbers = torch.full((len(texts), self.max_length), PADDING)
        for row, text in enumerate(texts):
            words = split(text)
            unknown = [word for word in words if word not in self._number]
            if unknown:
                raise ValueError(
                    f"every word must be one of {len(self.words)} known ones, but {text!r} has "
                    f"{', '.join(unknown)}; known are {', '.join(self.words)}."
                )
            if len(words) >= self.max_length:
                raise ValueError(
                    f"a text must have at most {self.max_length - 1} words, but {text!r} has {len(words)}."
                )
            numbers[row, : len(words) + 1] = torch.tensor([*(self._number[word] for word in words), END])
        return numbers

    def ends(self, numbers: Int[Tensor, "batch token"]) -> Int[Tensor, " batch"]:
        """Where each text ends."""
        return (numbers == END).long().argmax(dim=1)


def split(text: str) -> list[str]:
    """The words of a text, in lower case; punctuation separates."""
    return re.findall(r"[a-z0-9]+", text.lower())


def words_of(texts: Iterable[str]) -> tuple[str, ...]:
    """All words of some texts, in alphabetical order."""
    return tuple(sorted({word for text in texts for word in split(text)}))
