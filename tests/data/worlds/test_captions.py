"""Captions say what the truth says, in words that tell everything apart."""

import pytest

from archaeology.data.worlds.captions import TEXTURE_WORDS, caption, place
from archaeology.data.worlds.cue_conflict import CueConflict
from archaeology.data.worlds.cue_scenes import TEXTURE_NAMES


def test_every_texture_has_a_word_of_its_own():
    assert set(TEXTURE_WORDS) == set(TEXTURE_NAMES)
    assert len(set(TEXTURE_WORDS.values())) == len(TEXTURE_NAMES)


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (0.2, 0.3, "upper left"),
        (0.5, 0.2, "top"),
        (0.8, 0.1, "upper right"),
        (0.1, 0.5, "left"),
        (0.5, 0.5, "centre"),
        (0.9, 0.5, "right"),
        (0.3, 0.7, "lower left"),
        (0.52, 0.9, "bottom"),
        (0.7, 0.7, "lower right"),
        (0.45, 0.45, "centre"),
        (0.55, 0.55, "centre"),
    ],
)
def test_nine_places(x, y, words):
    assert place(x, y) == words


def test_a_caption_reads_as_a_phrase():
    assert caption("triangle", "stripes", 0.2, 0.2) == "a striped triangle, upper left"


def test_captions_name_what_is_there():
    batch = CueConflict("conflict", size=32).generate(0, 20)
    said = batch.captions()
    assert len(said) == 20
    for words, shape, texture, (x, y) in zip(said, batch.shape, batch.texture, batch.centre, strict=True):
        head, where = words.split(", ")
        assert head.split()[-1] == CueConflict().classes[shape]
        assert head.split()[1] == TEXTURE_WORDS[CueConflict().textures[texture]]
        assert ("left" in where) == (x / 32 < 0.45) and ("right" in where) == (x / 32 > 0.55)
        assert ("upper" in where or where == "top") == (y / 32 < 0.45)
