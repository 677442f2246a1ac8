"""How few patches must go: every prefix by a loop, donors, and medians where some images never flip."""

import math

import numpy as np
import pytest
import torch
from tests.evaluate import cases
from tests.oracles import judges as oracle

from archaeology.core.errors import UnknownNameError
from archaeology.evaluate.counterfactuals import (
    Counterfactuals,
    compared_counterfactuals,
    donors_of,
    fewest_patches,
)
from archaeology.evaluate.fill import fill_of
from archaeology.evaluate.trial import trial_of


@pytest.fixture(scope="module")
def trial():
    return cases.trial(7)


@pytest.fixture(scope="module")
def explanation():
    return cases.scattered(7)


@pytest.mark.parametrize("edit", ["mean", "blur", "black", "swap"])
def test_smallest_prefix_equals_a_loop(trial, explanation, edit):
    donors = donors_of(trial)
    fill = donors if edit == "swap" else fill_of(trial, edit)
    found = fewest_patches(trial, explanation, edit=edit, donors=donors)
    wanted = [
        oracle.fewest(cases.predicting(trial), trial.images[i].numpy(), fill[i].numpy(), order, trial.grid)
        for i, order in enumerate(cases.orders(explanation))
    ]
    assert found.count.tolist() == wanted
    assert found.flipped.tolist() == [count <= 6 for count in wanted]
    before = trial.memo["logits"].argmax(1)
    assert torch.equal(found.answer != before, found.flipped)
    shares = [count / 6 if count <= 6 else math.inf for count in wanted]
    assert found.share.tolist() == shares


def test_inpainting_equals_a_loop(trial, explanation):
    found = fewest_patches(trial, explanation, edit="inpaint")
    predict = cases.predicting(trial)
    for number, order in enumerate(cases.orders(explanation)):
        image = trial.images[number].numpy()
        before, wanted = int(np.argmax(predict(image))), 7
        for count in range(1, 7):
            kept = set(order[count:])
            known = [[patch in kept for patch in row] for row in trial.patch_of_pixel.tolist()]
            changed = (
                oracle.imputed(image, known).clip(0, 1)
                if kept
                else np.zeros_like(image) + image.mean(axis=(1, 2), keepdims=True)
            )
            if int(np.argmax(predict(changed))) != before:
                wanted = count
                break
        assert int(found.count[number]) == wanted


def test_each_image_alone_equals_itself_in_the_batch(trial, explanation):
    found = fewest_patches(trial, explanation)
    for number in range(7):
        alone = trial_of(trial.specimen, trial.images[number : number + 1])
        one = fewest_patches(alone, cases.shown(explanation.heatmap[number : number + 1]))
        assert int(one.count) == int(found.count[number])


def test_donors_are_answered_otherwise(trial):
    with torch.no_grad():
        theirs = trial.specimen.predict(donors_of(trial)).argmax(1)
    assert (theirs != trial.memo["logits"].argmax(1)).all()
    with pytest.raises(ValueError, match="answers differently, but all 1 are of class"):
        donors_of(cases.trial(1))


def found_of(counts, method="good", edit="mean"):
    count = torch.tensor(counts)
    return Counterfactuals(method, edit, count, count <= 10, torch.zeros_like(count), 10)


def test_standings_compare_with_the_floor_on_the_same_images():
    floor, good = [4, 6, 11, 8, 5], [1, 2, 3, 11, 2]
    first, second = compared_counterfactuals({"random": found_of(floor), "good": found_of(good)})
    assert (first.method, second.method) == ("good", "random")
    assert first.median.value == pytest.approx(0.2) and second.median.value == pytest.approx(0.6)
    assert first.mean.value == pytest.approx(sum(good) / 50)
    assert first.below_floor.value == pytest.approx((sum(floor) - sum(good)) / 50)
    assert second.below_floor.low == second.below_floor.high == 0
    assert first.flipped.value == 0.8


def test_a_median_is_infinite_where_half_never_flips():
    (only,) = compared_counterfactuals({"random": found_of([11, 11, 11, 2])})
    assert only.median.value == math.inf and only.median.high == math.inf
    assert only.flipped.value == 0.25


def test_what_cannot_be_found_says_so(trial, explanation):
    with pytest.raises(UnknownNameError, match="did you mean 'inpaint'"):
        fewest_patches(trial, explanation, edit="inpant")
    with pytest.raises(ValueError, match="needs donors of shape"):
        fewest_patches(trial, explanation, edit="swap")
    with pytest.raises(UnknownNameError, match="random"):
        compared_counterfactuals({"good": found_of([1, 2])})
    with pytest.raises(ValueError, match="same images, grid and edit"):
        compared_counterfactuals({"random": found_of([1, 2]), "good": found_of([1, 2], edit="blur")})
