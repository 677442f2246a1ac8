"""Choosing before decoding: the same images that decoding everything and then choosing would give."""

import numpy as np
import pytest
import torch

from archaeology.data.cache import decode_once
from archaeology.data.chosen import ChosenImages, choose_evenly
from archaeology.data.source import Sample
from archaeology.data.worlds.cue_conflict import CueConflict


class Counting:
    """Ten images, three classes and one without a label; counts what is decoded."""

    name, split, classes, fingerprint = "counting", "all", ("a", "b", "c"), "f" * 64

    def __init__(self):
        self.decoded = []

    def __len__(self):
        return 10

    def image_id(self, index):
        return f"image {index}"

    def labels(self):
        return [0, 0, 0, 0, 0, 0, 1, 1, 2, None]

    def get(self, index):
        self.decoded.append(index)
        return Sample(torch.full((3, 4, 4), index, dtype=torch.uint8), self.labels()[index])


def test_only_the_chosen_are_decoded_in_their_old_order(tmp_path):
    source = Counting()
    chosen = choose_evenly(source, 4, seed=0)
    assert source.decoded == []
    decoded = decode_once(chosen, (4, 4), folder=tmp_path)
    assert len(decoded) == 4 and len(source.decoded) == 4
    assert source.decoded == sorted(source.decoded)
    assert sorted(decoded.labels.tolist()) == [-1, 0, 1, 2]
    assert decoded.images[:, 0, 0, 0].tolist() == source.decoded
    assert decoded.ids == tuple(f"image {index}" for index in source.decoded)


def test_fewer_are_among_more_and_a_seed_decides():
    labels = [choose_evenly(Counting(), n, seed=0) for n in (3, 6)]
    few, more = ({chosen.image_id(i) for i in range(len(chosen))} for chosen in labels)
    assert few < more
    others = [tuple(choose_evenly(Counting(), 3, seed=seed)._rows) for seed in range(8)]
    assert len(set(others)) > 1


def test_all_of_a_small_source_is_the_source_itself():
    source = Counting()
    assert choose_evenly(source, 10, seed=0) is source


def test_other_rows_have_another_fingerprint():
    prints = {ChosenImages(Counting(), rows).fingerprint for rows in ([0, 1], [1, 0], [0], [2])}
    assert len(prints) == 4


def test_no_image_is_refused():
    with pytest.raises(ValueError, match="n must be at least 1 image, but got n=0"):
        choose_evenly(Counting(), 0, seed=0)


def test_a_generated_world_knows_its_labels_without_drawing():
    source = CueConflict("conflict", num_images=300)
    labels = source.labels()
    assert len(labels) == 300
    assert labels == [int(shape) for shape in source.generate(0, 300).shape]
    chosen = choose_evenly(source, 16, seed=3)
    assert np.bincount(chosen.labels()).tolist() == [2] * 8
