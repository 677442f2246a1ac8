"""Pairs never seen together: captions say what is drawn, splits part cleanly, and recipes never train on them."""

import colorsys

import pytest
import torch

from archaeology.core.errors import UnknownNameError
from archaeology.data import open_source
from archaeology.data.source import ImageSource
from archaeology.data.worlds.pairs import CUE_HELD_OUT, SHAPES2D_HELD_OUT, CuePairs, Shapes2DPairs
from archaeology.data.worlds.shapes2d_captions import COLOUR_WORDS, hue_number, shape_caption
from archaeology.data.worlds.shapes2d_rule import KINDS

BOTH = pytest.mark.parametrize(("kind", "count"), [(CuePairs, 64), (Shapes2DPairs, 24)])


def test_hues_are_those_of_the_standard_library():
    generator = torch.Generator().manual_seed(0)
    colours = torch.randint(0, 256, (500, 3), generator=generator).float()
    for row, number in zip(colours.tolist(), hue_number(colours).tolist(), strict=True):
        hue = colorsys.rgb_to_hsv(*row)[0] * 6
        if abs(hue % 1 - 0.5) < 0.05:  # the hexagon and the circle part a little between two names
            continue
        assert number == round(hue) % 6
    pure = torch.tensor([[9.0, 0, 0], [9, 9, 0], [0, 9, 0], [0, 9, 9], [0, 0, 9], [9, 0, 9], [5, 5, 5]])
    assert [COLOUR_WORDS[n] for n in hue_number(pure)] == [*COLOUR_WORDS, "red"]


def test_captions():
    assert shape_caption(1, 0, 0.1, 0.1) == "a red hollow circle, upper left"
    assert shape_caption(2, 4, 0.5, 0.9) == "a blue filled rectangle, bottom"


@BOTH
def test_splits_part_cleanly(kind, count):
    whole, seen, never = (kind(split, 4) for split in ("all", "seen", "never_seen"))
    assert isinstance(whole, ImageSource) and len(whole.classes) == len(set(whole.classes)) == count
    assert len(seen) + len(never) == len(whole) == 4 * 256
    assert set(never.labels()) <= whole.held_out and not set(seen.labels()) & whole.held_out
    assert len({each.fingerprint for each in (whole, seen, never)}) == 3


@BOTH
def test_an_image_is_the_same_in_every_split_and_has_its_label(kind, count):
    whole, never = kind("all", 2), kind("never_seen", 2)
    rows = [row for row, label in enumerate(whole.labels()) if label in whole.held_out]
    for place in (0, len(never) - 1, 1):
        one, other = never.get(place), whole.get(rows[place])
        assert torch.equal(one.image, other.image) and one.label == other.label == never.labels()[place]
        assert one.image.shape == (3, 64, 64)
    with pytest.raises(IndexError, match="index must be 0 to"):
        never.get(len(never))


def test_each_colour_texture_and_shape_is_kept_back_once():
    assert sorted(hue for _, hue in SHAPES2D_HELD_OUT) == list(range(6))
    assert {kind for kind, _ in SHAPES2D_HELD_OUT} == set(range(len(KINDS)))
    assert sorted(shape for shape, _ in CUE_HELD_OUT) == sorted(t for _, t in CUE_HELD_OUT) == list(range(8))


def test_what_is_drawn_has_the_colour_it_is_called_by():
    source = Shapes2DPairs("all", 1)
    for place in range(20):
        sample = source.get(place)
        drawn = sample.image[:, sample.image.sum(0) > 100].float()  # the ground is black
        name = source.classes[sample.label]
        middle = drawn.median(dim=1).values[None]
        assert name.startswith(COLOUR_WORDS[int(hue_number(middle))])


def test_opening():
    assert open_source("shapes2d_pairs").split == "never_seen"
    assert open_source("cue_conflict_pairs", split="seen").split == "seen"
    with pytest.raises(UnknownNameError, match="No split of shapes2d_pairs is called 'nver_seen'"):
        open_source("shapes2d_pairs", split="nver_seen")
