"""Copies planted among images are found, those only alike are not, block by block as all at once."""

import io

import numpy as np
import pytest
from PIL import Image

import archaeology.failures.duplicates as duplicates
from archaeology.data.worlds.shapes2d import Shapes2D
from archaeology.failures.duplicates import duplicates_across, duplicates_within, thumbnails


def photos(n, seed=0, side=20):
    """Smooth shades with some detail, as photos have."""
    random = np.random.default_rng(seed)
    coarse = random.uniform(0, 255, (n, 3, 4, 4)).repeat(side // 4, axis=2).repeat(side // 4, axis=3)
    return np.clip(coarse + random.normal(0, 12, coarse.shape), 0, 255).astype(np.uint8)


def test_exact_and_near_copies_are_found_and_nothing_else():
    images = photos(40)
    images[30] = images[4]
    images[31] = np.clip(images[7].astype(int) + 9, 0, 255)  # brighter
    images[32] = np.clip(
        images[8] + np.random.default_rng(1).normal(0, 3, images[8].shape), 0, 255
    )  # saved again
    found = duplicates_within(images)
    assert [tuple(pair) for pair in found.pairs[:1]] == [(4, 30)] and found.is_exact.tolist() == [
        True,
        False,
        False,
    ]
    assert {tuple(pair) for pair in found.pairs.tolist()} == {(4, 30), (7, 31), (8, 32)}
    assert found.cosine[0] == 1 and (found.cosine >= duplicates.ALIKE).all()
    assert found.rows.tolist() == [30, 31, 32] and found.within


def test_across_sets_the_rows_are_those_of_each():
    known, asked = photos(30), photos(12, seed=5)
    asked[3], asked[9] = known[17], known[2] // 2
    found = duplicates_across(asked, known)
    assert {tuple(pair) for pair in found.pairs.tolist()} == {(3, 17), (9, 2)}
    assert found.rows.tolist() == [3, 9] and not found.within and found.num_images == 12


def test_two_skies_with_the_same_gradient_are_not_copies():
    random = np.random.default_rng(3)
    shade = np.linspace(40, 220, 20)[None, None, :, None]
    images = np.clip(shade + random.normal(0, 2.5, (6, 3, 20, 20)), 0, 255).astype(np.uint8)
    small, _ = thumbnails(images)
    assert float((small @ small.T).min()) > duplicates.ALIKE  # alike as shades
    assert len(duplicates_within(images).pairs) == 0


def one_shape(n, seed=0):
    world = Shapes2D(seed=seed, size=32, num_shapes=(1, 1), radii=(7.0, 12.0))
    return world.generate(0, n).input.numpy()


def test_drawings_that_are_alike_by_chance_are_not_copies(monkeypatch):
    images = one_shape(2000)
    found = duplicates_within(images)
    assert len(found.pairs) <= 0.005 * len(images)  # half of what is tolerated
    monkeypatch.setattr(duplicates, "MUCH_NEARER", 1.0)
    assert len(duplicates_within(images).pairs) > 3 * len(found.pairs)


def saved_again(image):
    """As JPEG of middling quality."""
    file = io.BytesIO()
    Image.fromarray(np.moveaxis(image, 0, -1)).save(file, "JPEG", quality=75)
    return np.moveaxis(np.asarray(Image.open(file).convert("RGB")), -1, 0)


def half_as_large(image):
    picture = Image.fromarray(np.moveaxis(image, 0, -1))
    small = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.LANCZOS)
    return np.moveaxis(np.asarray(small.resize(picture.size, Image.Resampling.BICUBIC)), -1, 0)


@pytest.mark.parametrize("edited", [saved_again, half_as_large])
def test_drawings_that_were_edited_are_copies(edited):
    images = one_shape(400)
    again = np.stack([edited(image) for image in images[:100]])
    found = duplicates_across(again, images)
    own = found.pairs[:, 0] == found.pairs[:, 1]
    assert own.sum() >= 95 and (~own).sum() <= 2


def test_blocks_change_nothing_and_equal_a_loop_over_pairs(monkeypatch):
    images = photos(23)
    images[20], images[21] = images[1], np.clip(images[2].astype(int) + 5, 0, 255)
    small, detail = (part.numpy() for part in thumbnails(images))
    far = [
        min(
            np.linalg.norm(small[one] - small[other])
            for other in range(23)
            if other != one and small[one] @ small[other] < duplicates.ALIKE
        )
        for one in range(23)
    ]
    by_loop = {
        (one, other)
        for one in range(23)
        for other in range(one + 1, 23)
        if small[one] @ small[other] >= duplicates.ALIKE
        and detail[one] @ detail[other] >= duplicates.ALIKE_IN_DETAIL
        and np.linalg.norm(small[one] - small[other]) <= duplicates.MUCH_NEARER * far[other]
    }
    monkeypatch.setattr(duplicates, "BLOCK", 5)
    monkeypatch.setattr(duplicates, "CHUNK", 4)
    assert {tuple(pair) for pair in duplicates_within(images).pairs.tolist()} == by_loop == {(1, 20), (2, 21)}


def test_a_group_is_one_pair_for_each_further_image_and_exact_copies_are_called_exact():
    images = photos(8)
    images[3] = images[5] = images[6] = images[1]
    images[7] = np.clip(images[1].astype(int) + 9, 0, 255)
    found = duplicates_within(images)
    assert found.pairs.tolist() == [[1, 3], [1, 5], [1, 6], [1, 7]]
    assert found.is_exact.tolist() == [True, True, True, False] and found.rows.tolist() == [3, 5, 6, 7]


def test_images_without_detail_are_copies_only_if_exact():
    images = np.full((3, 3, 8, 8), 90, np.uint8)
    images[2] = 91
    assert duplicates_within(images).pairs.tolist() == [[0, 1]]


def test_bad_input():
    with pytest.raises(ValueError, match="at least one image"):
        duplicates_within(np.zeros((0, 3, 8, 8), np.uint8))
    with pytest.raises(ValueError, match="same channels"):
        duplicates_across(photos(2), np.zeros((2, 1, 20, 20), np.uint8))
