"""A survey that is stopped and taken up again ends with the same numbers, bit for bit."""

import io

import numpy as np
import pytest
import torch
from tests.stats import known_heads

from archaeology.dig import survey as dig_survey
from archaeology.dig.parts import Parts
from archaeology.stats import SpecializationSums, sum_specialization
from archaeology.stats.position_share import PositionSums
from archaeology.stats.sums import HeadSums

HEADS = ("itself", "edges", "inside")


def sums_of(start, stop):
    images, boxes = known_heads.scenes(12)
    return sum_specialization(
        known_heads.specimen(HEADS),
        images[start:stop],
        ids=[f"{number}.png" for number in range(start, stop)],
        boxes=boxes[start:stop],
    )


def assert_same(one, other):
    one, other = one.arrays(), other.arrays()
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name], err_msg=name)


def stored(sums):
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **sums.arrays())
    file.seek(0)
    with np.load(file, allow_pickle=False) as arrays:
        return SpecializationSums.from_arrays(dict(arrays))


def test_sums_survive_being_stored():
    sums = sums_of(0, 5)
    assert_same(stored(sums), sums)
    assert_same(stored(sums) + stored(sums_of(5, 12)), sums + sums_of(5, 12))


def test_order_of_chunks_matters_to_rounding_alone():
    one, other = sums_of(0, 5) + sums_of(5, 12), sums_of(5, 12) + sums_of(0, 5)
    np.testing.assert_allclose(one.figures.mean, other.figures.mean, rtol=1e-12)
    np.testing.assert_array_equal(one.typical.ids, other.typical.ids)
    np.testing.assert_array_equal(one.position.count, other.position.count)


def test_a_dig_that_is_killed_in_the_middle_goes_on_where_it_was(tmp_path, monkeypatch):
    images, boxes = known_heads.scenes(12)
    specimen = known_heads.specimen(HEADS)
    decoded = dig_survey.DecodedImages(
        images=images.numpy(),
        labels=np.zeros(12, dtype=np.int64),
        ids=tuple(f"{number}.png" for number in range(12)),
        classes=("thing",),
        boxes=boxes.numpy(),
        masks=None,
        skipped=(),
        fingerprint="0",
        name="scenes",
        split=None,
    )
    chunks = dig_survey.Images.of(decoded, 5)
    whole = dig_survey.specialization(specimen, "known", chunks, Parts(tmp_path / "whole"), seed=0)
    calls = []

    def dies(*given, **named):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return sum_specialization(*given, **named)

    monkeypatch.setattr(dig_survey, "sum_specialization", dies)
    with pytest.raises(KeyboardInterrupt):
        dig_survey.specialization(specimen, "known", chunks, Parts(tmp_path / "cut"), seed=0)
    parts = Parts(tmp_path / "cut")
    again = dig_survey.specialization(specimen, "known", chunks, parts, seed=0)
    assert parts.reused == {"specialization": 10} and parts.computed == {"specialization": 2}
    assert_same(again, whole)
    torch.testing.assert_close(torch.from_numpy(again.figures.mean), torch.from_numpy(whole.figures.mean))


def test_sums_of_different_models_do_not_add():
    images, _ = known_heads.scenes(4)
    other = sum_specialization(known_heads.specimen(("edges",)), images, ids=list("abcd"))
    with pytest.raises(ValueError, match="only sums of the same heads and statistics can be added"):
        _ = sums_of(0, 4) + other
    with pytest.raises(ValueError, match="only sums over the same layers can be added"):
        _ = sums_of(0, 4).position + other.position


def test_size_of_what_is_kept_does_not_depend_on_the_number_of_images():
    few, many = sums_of(0, 5), sums_of(0, 12)
    size = {name: array.shape for name, array in few.arrays().items()}
    assert size == {name: array.shape for name, array in many.arrays().items()}
    assert isinstance(few.figures, HeadSums) and isinstance(few.position, PositionSums)
