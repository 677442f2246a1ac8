"""Accuracy while patches go, pieces move and rectangles cover: against one image at a time, for ViT and CNN alike."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.oracles import patches as oracle
from tests.robustness import models

from archaeology.core.errors import UnknownNameError
from archaeology.core.intervals import bootstrap_mean, wilson
from archaeology.core.seeding import content_names
from archaeology.explain.explanation import Explanation
from archaeology.explain.method import explain_images
from archaeology.robustness.patch_orders import (
    drawn_corners,
    random_places,
    salient_places,
    scattered_sources,
    worth_of_patches,
)
from archaeology.robustness.patches import patch_robustness

SMALL = {"shares": (0.2, 0.5, 0.9), "areas": (0.3,), "pieces": (2, 3)}


@pytest.fixture(scope="module")
def both():
    return (models.transformer(), models.network())


@pytest.fixture(scope="module")
def labels(both):
    """Half of them what one model says, half what the other does, so that neither is always right."""
    images = models.images(8)
    own = [models.own_answers(specimen, images) for specimen in both]
    return torch.where(torch.arange(8) % 2 == 0, own[0], own[1])


@pytest.fixture(scope="module")
def result(both, labels):
    return patch_robustness(both, models.images(8), labels, **SMALL, at_once=3)


def answer(specimen, image):
    with torch.no_grad():
        return int(specimen.predict(torch.as_tensor(image)[None]).argmax())


def columns(result, kind):
    return {
        what.level: result.correct[:, number]
        for number, what in enumerate(result.disturbances)
        if what.kind == kind
    }


def test_every_drop_equals_one_image_at_a_time(result, both, labels):
    images = models.images(8)
    for number, image in enumerate(images):
        names = content_names(image[None])
        for row, (specimen, method) in enumerate(zip(both, ("rollout", "grad_cam"), strict=True)):
            told = explain_images(method, specimen, image[None])
            by_map = salient_places(told, (2, 3), names, 0)[0].tolist()
            places = {
                "drop_random": random_places(names, 6, 0, "random drop")[0].tolist(),
                "drop_salient": by_map,
                "drop_least_salient": [5 - place for place in by_map],
            }
            for kind, order in places.items():
                found = columns(result, kind)
                assert list(found) == [1 / 6, 3 / 6, 5 / 6]
                for count, level in zip((1, 3, 5), found, strict=True):
                    gone = {patch for patch, place in enumerate(order) if place < count}
                    changed = oracle.without_patches(image.numpy(), gone, (2, 3), "black")
                    assert found[level][row, number] == (answer(specimen, changed) == int(labels[number]))


def test_occlusion_and_shuffles_equal_one_image_at_a_time(result, both, labels):
    for number, image in enumerate(models.images(8)):
        names = content_names(image[None])
        sides = (3, 5)  # of 6 x 9 pixels, 0.3 of the area
        at_random = drawn_corners(names, (3, 4), 0)[0].tolist()
        for row, specimen in enumerate(both):
            for kind, corner in (("occlude_middle", [1, 2]), ("occlude_random", at_random)):
                changed = oracle.without_rectangle(image.numpy(), corner, sides, "black")
                right = answer(specimen, changed) == int(labels[number])
                assert columns(result, kind)[0.3][row, number] == right
            sources = scattered_sources(names, 9, 0)[0].tolist()
            changed = oracle.with_pieces(image.numpy(), sources, (3, 3))
            right = answer(specimen, changed) == int(labels[number])
            assert columns(result, "shuffle")[3.0][row, number] == right


def test_an_image_gets_the_same_alone_and_in_any_batch(result, both, labels):
    images = models.images(8)
    for number in range(8):
        alone = patch_robustness(both, images[[number]], labels[[number]], **SMALL)
        np.testing.assert_array_equal(alone.correct[:, :, 0], result.correct[:, :, number])


def test_the_table_tells_accuracy_and_what_was_lost(result):
    rows = result.table()
    assert len(rows) == 2 * len(result.disturbances)
    assert rows[0]["kind"] == "clean" and rows[0]["lost"] == 0
    for row in rows:
        where = [(what.kind, what.level) for what in result.disturbances].index((row["kind"], row["level"]))
        right = result.correct[result.specimens.index(row["specimen"])]
        interval = wilson(int(right[where].sum()), 8)
        assert (row["accuracy"], row["accuracy_low"]) == (interval.value, interval.low)
        assert row["lost"] == pytest.approx(right[0].mean() - right[where].mean())
        assert row["lost_low"] <= row["lost"] <= row["lost_high"]


def test_differences_are_paired_and_discount_where_each_model_started(result):
    rows = result.differences()
    assert [row["kind"] for row in rows] == [what.kind for what in result.disturbances]
    first, other = result.correct.astype(float)
    for number, row in enumerate(rows):
        assert row["accuracy_difference"] == pytest.approx(first[number].mean() - other[number].mean())
        lost = bootstrap_mean((first[0] - first[number]) - (other[0] - other[number]))
        found = (row["lost_difference"], row["lost_difference_low"], row["lost_difference_high"])
        assert found == pytest.approx((lost.value, lost.low, lost.high))


def test_areas_are_trapezoids_of_each_image(result):
    shares, correct = result.curve("drop_salient")
    assert shares.tolist() == [0, 1 / 6, 3 / 6, 5 / 6]
    height = 0.0
    for point in range(3):
        both_ends = correct[0, point].mean() + correct[0, point + 1].mean()
        height += both_ends / 2 * (shares[point + 1] - shares[point]) / shares[-1]
    rows = {(row["specimen"], row["kind"], row["other"]): row["area"] for row in result.areas()}
    assert rows["transformer", "drop_salient", None] == pytest.approx(height)
    against = rows["transformer", "drop_salient", None] - rows["network", "drop_salient", None]
    assert rows["transformer", "drop_salient", "network"] == pytest.approx(against)
    gap = rows["network", "drop_salient", None] - rows["network", "drop_random", None]
    assert rows["network", "drop_salient", "drop_random"] == pytest.approx(gap)


def test_it_is_ready_for_json_and_says_how_it_was_made(result):
    told = json.loads(json.dumps(result.describe(), allow_nan=False))
    assert told["explanations"] == ["rollout of transformer", "grad_cam of network"]
    assert told["grid"] == [2, 3] and told["n"] == 8 and told["fill"] == "black"


def test_a_guide_orders_the_patches_for_all(both, labels):
    vit, network = both
    images = models.images(8)
    guided = patch_robustness(both, images, labels, **SMALL, guide=network)
    own = patch_robustness([network], images, labels, **SMALL, grid=(2, 3))
    np.testing.assert_array_equal(guided.correct[1], own.correct[0])
    assert guided.explanations == ("grad_cam of network",) * 2
    named = patch_robustness(
        [vit], images, labels, shares=(0.5,), areas=(), pieces=(), explanation="gradient"
    )
    assert named.explanations == ("gradient of transformer",)
    assert [what.kind for what in named.disturbances] == [
        "clean",
        "drop_random",
        "drop_salient",
        "drop_least_salient",
    ]
    assert patch_robustness([vit], images, labels, shares=(), areas=(0.2,), pieces=()).areas() == []


def test_models_without_patches_get_eight_by_eight(labels):
    network = replace(models.network(), target_layer=None)
    only = {"shares": (0.5,), "areas": (), "pieces": ()}
    found = patch_robustness([network], models.images(8), labels, **only)
    assert found.grid == (6, 8) and found.explanations == ("gradient of network",)


def test_seed_and_fill_matter(both, labels):
    images = models.images(8)
    vit = both[0]
    with torch.no_grad():
        sure = vit.predict(images).argmax(1)
    every = [patch_robustness([vit], images, sure, **SMALL, seed=seed).correct for seed in range(4)]
    assert any(not np.array_equal(every[0], other) for other in every[1:])
    mean = patch_robustness([vit], images, sure, **SMALL, fill="mean").correct
    assert not np.array_equal(mean, every[0])


def test_maps_are_brought_to_the_grid_and_silent_ones_order_nothing():
    values = torch.rand(3, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    values[1] = 0
    values[2, 0, 0] = torch.nan
    worth = worth_of_patches(Explanation(values, "made up"), (2, 3))
    assert float(worth[0, 4]) == pytest.approx(float(values[0, 2:, 2:4].mean()))
    assert worth[1:].abs().max() == 0
    places = salient_places(Explanation(values, "made up"), (2, 3), ["a", "b", "c"], 0)
    assert places.sort(dim=1).values.tolist() == [list(range(6))] * 3
    assert places[0].tolist() == (-worth[0]).argsort().argsort().tolist()
    assert places[1].tolist() != places[2].tolist()
    coarse = Explanation(torch.tensor([[[0.0, 1.0]]]), "made up")
    assert worth_of_patches(coarse, (1, 4))[0].tolist() == [0.0, 0.25, 0.75, 1.0]


def test_no_shuffled_image_keeps_its_order():
    names = [str(number) for number in range(200)]
    sources = scattered_sources(names, 2, 0)
    assert sources.tolist() == [[1, 0]] * 200


def test_corners_reach_every_place_and_stay_inside():
    corners = drawn_corners([str(number) for number in range(300)], (2, 3), 0)
    assert {tuple(corner) for corner in corners.tolist()} == {(y, x) for y in range(3) for x in range(4)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shares": (0.0,)}, r"shares must lie above 0 and be at most 1, but got \[0.0\]"),
        ({"areas": (1.5,)}, r"areas must lie above 0 and be at most 1, but got \[1.5\]"),
        ({"pieces": (7,)}, r"pieces must be at least 2 along each side and no more than the 6 pixels"),
        ({"pieces": (1,)}, r"pieces must be at least 2"),
        (
            {"grid": (7, 2)},
            r"grid must have two patches or more and no more rows and columns than the images of 6x9",
        ),
        ({"grid": (1, 1)}, r"grid must have two patches or more"),
    ],
)
def test_levels_that_cannot_be_are_refused(changes, message):
    images = models.images(2)
    with pytest.raises(ValueError, match=message):
        patch_robustness(
            [models.transformer()], images, torch.zeros(2, dtype=torch.int64), **(SMALL | changes)
        )


def test_bad_input_is_refused(result):
    vit, images, labels = models.transformer(), models.images(2), torch.zeros(2, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"names of their own, but got \['transformer', 'transformer'\]"):
        patch_robustness([vit, vit], images, labels, **SMALL)
    with pytest.raises(ValueError, match="names of their own, but got \\[\\]"):
        patch_robustness([], images, labels)
    with pytest.raises(ValueError, match="a label for each, but got 2 images and 1 labels"):
        patch_robustness([vit], images, labels[:1])
    with pytest.raises(ValueError, match=r"labels must lie in 0..6"):
        patch_robustness([vit], images, labels + 7, **SMALL)
    with pytest.raises(ValueError, match=r"images must lie in \[0, 1\]"):
        patch_robustness([vit], images * 2, labels, **SMALL)
    with pytest.raises(UnknownNameError, match="did you mean 'mean'"):
        patch_robustness([vit], images, labels, **SMALL, fill="meen")
    with pytest.raises(UnknownNameError, match="did you mean 'rollout'"):
        patch_robustness([vit], images, labels, **SMALL, explanation="rolout")
    with pytest.raises(ValueError, match="rollout reads attention, but network is convolutional"):
        patch_robustness([models.network()], images, labels, **SMALL, explanation="rollout")
    with pytest.raises(ValueError, match=r"kind must be a drop that was tried .*but got 'shuffle'"):
        result.curve("shuffle")


def test_answers_that_are_not_finite_are_refused():
    broken = models.network()
    with torch.no_grad():
        broken.model.get_parameter("4.bias")[0] = torch.nan
    with pytest.raises(ValueError, match="layer 4 of network returned NaN or infinity"):
        patch_robustness([broken], models.images(2), torch.zeros(2, dtype=torch.int64), **SMALL)


def test_the_model_is_left_as_it_was(both, labels):
    vit = both[0]
    before = {name: tensor.clone() for name, tensor in vit.model.state_dict().items()}
    asked = [parameter.requires_grad for parameter in vit.model.parameters()]
    state = torch.get_rng_state()
    patch_robustness([vit], models.images(8), labels, **SMALL)
    assert torch.equal(state, torch.get_rng_state())
    assert asked == [parameter.requires_grad for parameter in vit.model.parameters()]
    assert all(parameter.grad is None for parameter in vit.model.parameters())
    assert not any(module._forward_hooks for module in vit.model.modules())
    for name, tensor in vit.model.state_dict().items():
        assert torch.equal(tensor, before[name])
