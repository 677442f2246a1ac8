from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from archaeology.data.decoded import DecodedImages


def decoded(labels: list[int]) -> DecodedImages:
    """Image i is filled with i."""
    count = len(labels)
    numbers = np.arange(count, dtype=np.uint8)
    return DecodedImages(
        images=np.broadcast_to(numbers[:, None, None, None], (count, 3, 2, 5)).copy(),
        labels=np.array(labels, np.int64),
        ids=tuple(f"image {i}" for i in range(count)),
        classes=("x", "y", "z"),
        boxes=np.repeat(numbers[:, None].astype(np.float32), 4, axis=1),
        masks=np.broadcast_to((numbers % 2 == 0)[:, None, None], (count, 2, 5)).copy(),
        skipped=(("bad", "why"),),
        fingerprint="f" * 64,
        name="made",
        split="test",
    )


def oracle_counts(available: dict[int, int], n: int) -> list[int]:
    """Water filling: give one to each class that has some left, until n are given."""
    given: Counter[int] = Counter()
    while sum(given.values()) < n:
        for label in sorted(available):
            if given[label] < available[label] and sum(given.values()) < n:
                given[label] += 1
    return sorted(given.values())


@settings(deadline=None, derandomize=True, max_examples=80)
@given(labels=st.lists(st.integers(-1, 4), min_size=1, max_size=60), data=st.data())
def test_take_is_even_ordered_repeatable_and_nested(labels: list[int], data: st.DataObject) -> None:
    n = data.draw(st.integers(1, len(labels)))
    seed = data.draw(st.integers(0, 9))
    whole = decoded(labels)
    part = whole.take(n, seed)
    chosen = [int(name.removeprefix("image ")) for name in part.ids]
    assert len(part) == n and chosen == sorted(set(chosen))
    assert sorted(Counter(part.labels.tolist()).values()) == oracle_counts(Counter(labels), n)
    assert whole.take(n, seed).ids == part.ids
    assert set(part.ids) <= set(whole.take(min(n + 3, len(labels)), seed).ids)


def test_take_keeps_all_fields_together() -> None:
    part = decoded([0, 1, 2] * 10).take(7, 0)
    numbers = np.array([int(name.removeprefix("image ")) for name in part.ids])
    np.testing.assert_array_equal(part.images[:, 0, 0, 0], numbers)
    np.testing.assert_array_equal(part.labels, numbers % 3)
    assert part.boxes is not None and part.masks is not None
    np.testing.assert_array_equal(part.boxes[:, 2], numbers)
    np.testing.assert_array_equal(part.masks[:, 1, 4], numbers % 2 == 0)
    assert (part.skipped, part.classes, part.name, part.split) == (
        (("bad", "why"),),
        ("x", "y", "z"),
        "made",
        "test",
    )


def test_take_depends_on_the_seed_and_has_a_fingerprint_of_its_own() -> None:
    whole = decoded([0, 1, 2] * 10)
    one, other = whole.take(9, 0), whole.take(9, 1)
    assert one.ids != other.ids
    assert len({whole.fingerprint, one.fingerprint, other.fingerprint}) == 3
    assert whole.take(9, 0).fingerprint == one.fingerprint


def test_take_of_all_or_more_is_everything() -> None:
    whole = decoded([0, 1, 2])
    assert whole.take(3, 0) is whole and whole.take(99, 0) is whole


def test_take_of_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"n must be at least 1 image, but got n=0"):
        decoded([0]).take(0, 0)


def test_take_without_boxes_and_masks() -> None:
    from dataclasses import replace

    part = replace(decoded([0, 1, 2]), boxes=None, masks=None).take(2, 0)
    assert part.boxes is None and part.masks is None


def test_batches_cover_everything_once_in_order() -> None:
    whole = decoded([0, 1, 2, 0, 1, 2, 0])
    batches = list(whole.batches(3))
    assert [len(images) for images, _, _ in batches] == [3, 3, 1]
    assert [rows for _, _, rows in batches] == [slice(0, 3), slice(3, 6), slice(6, 7)]
    assert torch.cat([images for images, _, _ in batches])[:, 0, 0, 0].tolist() == list(range(7))
    assert torch.cat([labels for _, labels, _ in batches]).tolist() == whole.labels.tolist()
    assert batches[0][0].dtype == torch.uint8 and batches[0][1].dtype == torch.int64


def test_changing_a_batch_does_not_change_the_images() -> None:
    whole = decoded([0, 1, 2])
    for images, labels, _ in whole.batches(2):
        images.fill_(9)
        labels.fill_(9)
    assert whole.images[:, 0, 0, 0].tolist() == [0, 1, 2] and whole.labels.tolist() == [0, 1, 2]


def test_empty_batches_are_refused() -> None:
    with pytest.raises(ValueError, match=r"batch_size must be at least 1, but got batch_size=0"):
        next(decoded([0]).batches(0))
