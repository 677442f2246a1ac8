"""Copies that a model knows by heart are told from others; copies that make no difference, or come twice, are not."""

import json

import numpy as np
import pytest
from scipy import stats
from tests.failures.made_up import decoded, honest, pictures

from archaeology.core.storage import json_text
from archaeology.failures.causes import find_causes
from archaeology.failures.copied import FEWEST_COPIES, right_on_copies
from archaeology.failures.duplicates import Duplicates


def copies(pairs, n, *, within):
    found = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return Duplicates(found, np.ones(len(found)), np.ones(len(found), bool), n, within)


def learned_by_heart(known, others):
    """As `honest` on known images; of the rest every second one is called the next class, where that is asked."""
    seen = {image.tobytes() for image in known}

    def model(unit):
        pixels = (unit * 255).round().byte().numpy()
        unsure = [
            others and image.tobytes() not in seen and int(image.sum(dtype=int)) % 2 == 0 for image in pixels
        ]
        logits = honest(unit).clone()
        logits[unsure] = logits[unsure].roll(1, dims=1)
        return logits

    return model


@pytest.mark.parametrize("differs", [True, False])
def test_copies_known_by_heart_are_told_and_others_are_not(differs):
    images, labels = pictures(200)
    training = decoded(images[:60], labels[:60])
    models = {"one": learned_by_heart(images[:60], differs), "two": honest}
    found = find_causes(decoded(images, labels), models, training=training)
    one, two = found.on_copies
    assert (one.copied.n, one.others.n) == (60, 140) and (one.p_corrected < 1e-4) == differs
    assert two.p_corrected == 1.0 and (one.difference.low > 0.3) == differs
    assert found.num_questions == len(found.asked) + len(found.gatherings) + 2
    told = json.loads(json_text(found.describe()))["duplicates"]["right"]
    assert [row["model"] for row in told] == ["one", "two"] and told[0]["copied"]["n"] == 60


def test_with_one_class_the_test_is_fishers():
    right, inside = np.arange(50) % 3 > 0, np.arange(50) < 14
    found = right_on_copies(
        "m", copies([(i, i) for i in range(14)], 50, within=False), np.zeros(50, np.int64), right
    )
    table = [[(kind & part).sum() for kind in (right, ~right)] for part in (inside, ~inside)]
    sides = [stats.fisher_exact(table, alternative=side).pvalue for side in ("less", "greater")]
    assert found is not None and found.p_value == pytest.approx(min(1.0, 2 * min(sides)))


def test_an_easy_class_with_many_copies_is_no_difference():
    labels = np.repeat([0, 1], 200)
    right = np.where(labels == 0, np.arange(400) % 20 > 0, np.arange(400) % 2 > 0)
    rows = [*range(0, 100), *range(200, 210)]
    found = right_on_copies("m", copies([(row, row) for row in rows], 400, within=False), labels, right)
    assert found is not None and found.difference.value > 0.1 and found.p_value > 0.5


def test_each_group_counts_once_and_its_other_images_not_at_all():
    within = copies([(0, 1), (1, 2), (4, 6)], 8, within=True)
    assert within.one_of_each.tolist() == [0, 4] and within.everywhere.tolist() == [0, 1, 2, 4, 6]
    across = copies([(5, 9), (2, 9), (3, 7)], 8, within=False)
    assert across.one_of_each.tolist() == [2, 3] and across.everywhere.tolist() == [2, 3, 5]
    pairs = [(2 * row, 2 * row + 1) for row in range(12)]
    found = right_on_copies(
        "m", copies(pairs, 60, within=True), np.zeros(60, np.int64), np.arange(60) % 2 > 0
    )
    assert found is not None and (found.copied.n, found.others.n) == (12, 36)


@pytest.mark.parametrize("within", [True, False])
def test_too_few_are_not_asked(within):
    few = copies([(row, row + 20) for row in range(FEWEST_COPIES - 1)], 60, within=within)
    some = copies([(row, row + 20) for row in range(FEWEST_COPIES)], 60, within=within)
    labels, right = np.zeros(60, np.int64), np.arange(60) % 2 > 0
    assert right_on_copies("m", few, labels, right) is None
    assert right_on_copies("m", some, labels, right) is not None
    alone = np.where(np.isin(np.arange(60), some.everywhere), 1, 0)
    assert right_on_copies("m", some, alone, right) is None  # no other image of their class
    assert right_on_copies("m", copies([], 60, within=within), labels, right) is None
