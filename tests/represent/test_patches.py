"""Planted objects and outliers are found, and where there are none nothing is claimed."""

import builtins

import numpy as np
import pytest
from tests.ablate import small_models as small
from tests.represent.made_up import classes, features
from tests.represent.test_features import registered_vit

from archaeology.core.errors import MissingExtraError, UnknownNameError
from archaeology.represent import (
    find_objects,
    find_outliers,
    patch_colours,
    patch_features,
    project,
    score_objects,
)
from archaeology.represent.objects import box_overlap
from archaeology.represent.patches import PatchFeatures, otsu


def planted(count=7, rows=8, columns=11, embed=5, seed=0, strength=6.0):
    """Objects of other features than the ground, at random places, with their masks."""
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(count, rows, columns, embed)) * 0.5
    masks = np.zeros((count, rows, columns), dtype=bool)
    for mask in masks:
        top, left = generator.integers(1, rows - 4), generator.integers(1, columns - 5)
        mask[top : top + 3, left : left + 4] = True
    values[..., 0] += np.where(masks, strength, -strength / 4)
    return PatchFeatures(
        values.astype(np.float32),
        np.zeros((count, 0, embed), np.float32),
        (),
        ("id",) * count,
        "made up",
        "last",
    ), masks


def boxes(masks):
    made = []
    for mask in masks:
        down, across = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
        made.append((across[0] / 11, down[0] / 8, (across[-1] + 1) / 11, (down[-1] + 1) / 8))
    return np.array(made)


def test_patches_keep_their_places():
    specimen, images = registered_vit(), small.images(3)
    found = patch_features(specimen, images, batch_size=2)
    assert found.values.shape == (3, 2, 3, 16) and found.prefix.shape == (3, 3, 16)
    assert found.prefix_names == ("class", "register", "register") and found.layer == "blocks.1"


@pytest.mark.parametrize("sign", [1, -1])
def test_colours_part_object_from_ground_whatever_the_sign(sign):
    patches, masks = planted()
    turned = PatchFeatures(sign * patches.values, patches.prefix, (), patches.ids, "made up", "last")
    found = patch_colours(turned)
    np.testing.assert_array_equal(found.is_object, masks)
    assert (found.colours[~masks] == 0).all() and 0 <= found.colours.min() <= found.colours.max() <= 1
    assert found.explained[0] > 0.5


def test_otsu_lies_between_two_groups():
    assert 1 < otsu(np.array([0.0, 0.5, 1.0, 9.0, 9.5])) < 9


def test_planted_objects_are_found_and_beat_the_middle():
    patches, masks = planted()
    found = find_objects(patches)
    np.testing.assert_array_equal(found.is_object, masks)
    np.testing.assert_allclose(found.boxes, boxes(masks))
    score = score_objects(found, boxes(masks), masks=masks.repeat(2, 1).repeat(3, 2))
    assert score.found.value == 1 and score.overlap.value == 1 and score.mask_overlap.value == 1
    assert score.gain.low > 0 and score.middle_overlap.value < 1


def test_overlap_of_boxes():
    one = np.array([[0, 0, 0.5, 1], [0, 0, 1, 1], [0, 0, 0.1, 0.1], [np.nan] * 4])
    other = np.array([[0.25, 0, 0.75, 1], [0, 0, 1, 1], [0.5, 0.5, 1, 1], [0, 0, 1, 1]])
    np.testing.assert_allclose(box_overlap(one, other), [1 / 3, 1, 0, 0])


def test_planted_outliers_are_found_with_their_share():
    patches, _ = planted(count=13, strength=0.0)
    rng = np.random.default_rng(1)
    chosen = rng.random((13, 8, 11)) < 0.03
    values = patches.values + 3
    values[chosen] *= 12
    found = find_outliers(PatchFeatures(values, patches.prefix, (), patches.ids, "made up", "last"))
    assert found.is_bimodal
    np.testing.assert_array_equal(found.is_outlier, chosen)
    assert found.share.value == pytest.approx(chosen.mean()) and found.share.low < found.share.value


@pytest.mark.parametrize("shape", ["normal", "skewed", "heavy", "uniform", "constant"])
def test_one_peak_has_no_outliers_however_long_its_tail(shape):
    generator = np.random.default_rng(2)
    size = (9, 7, 11)
    norm = {
        "normal": generator.normal(10, 1, size),
        "skewed": generator.gamma(2, 1, size) + 1,
        "heavy": np.exp(1.5 * generator.normal(size=size)),
        "uniform": generator.uniform(1, 9, size),
        "constant": np.ones(size),
    }[shape]
    values = np.stack([norm, 0 * norm], axis=-1).astype(np.float32)
    found = find_outliers(PatchFeatures(values, values[:, 0, :0], (), ("id",) * 9, "made up", "last"))
    assert not found.is_bimodal and not found.is_outlier.any() and found.share.value == 0


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_maps_keep_neighbours_and_are_the_same_twice(method):
    made, _ = classes(40, spread=0.2)
    found = project(method, made, seed=1)
    assert found.coordinates.shape == (40, 2) and found.trustworthiness > 0.8 and found.ids == made.ids
    np.testing.assert_array_equal(project(method, made, seed=1).coordinates, found.coordinates)


@pytest.mark.slow
def test_umap_too():
    pytest.importorskip("umap")
    assert project("umap", classes(40, spread=0.2)[0]).trustworthiness > 0.8


def test_without_umap_the_message_says_how_to_get_it(monkeypatch):
    usual = builtins.__import__

    def missing(name, *rest):
        if name == "umap":
            raise ImportError(name)
        return usual(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(MissingExtraError, match=r"attention-archaeology\[maps\]"):
        project("umap", classes(10)[0])


def test_bad_input_is_refused():
    patches, masks = planted()
    same = PatchFeatures(np.ones_like(patches.values), patches.prefix, (), patches.ids, "made up", "last")
    with pytest.raises(ValueError, match="patches that differ"):
        patch_colours(same)
    small_grid = PatchFeatures(patches.values[:, :2], patches.prefix, (), patches.ids, "made up", "last")
    with pytest.raises(ValueError, match="at least 3 x 3"):
        patch_colours(small_grid)
    with pytest.raises(ValueError, match="threshold in"):
        find_objects(patches, threshold=2.0)
    with pytest.raises(ValueError, match="a finite box for each of 7 images"):
        score_objects(find_objects(patches), boxes(masks)[:5])
    with pytest.raises(ValueError, match="masks must be one for each image"):
        score_objects(find_objects(patches), boxes(masks), masks=np.ones((7, 9, 11), dtype=bool))
    with pytest.raises(UnknownNameError, match="tsne"):
        project("tnse", classes(10)[0])
    with pytest.raises(ValueError, match="at least 4 images"):
        project("pca", classes(3)[0])
    with pytest.raises(ValueError, match="all have the same"):
        project("pca", features(np.ones((9, 3))))
    with pytest.raises(ValueError, match="at least one image"):
        patch_features(registered_vit(), small.images(2)[:0])
