"""Images attacked in portions: as many at a time as fit, and nothing else changes.

Asked one by one, so that a model's own rounding, which depends on how many images share a pass, is the same, too.
"""

import pytest
import torch
from tests.robustness import models

from archaeology.attacks import attack_images
from archaeology.attacks.portions import COPIES, portion_size, portions


def test_portions_are_all_images_once():
    assert [list(range(10))[some] for some in portions(10, 4)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert list(portions(0, 4)) == []


def test_a_portion_is_what_fits_in_whole_passes():
    images = torch.zeros(2, 3, 5, 7)
    one = COPIES * 3 * 5 * 7 * 4
    assert portion_size(images, 4, most_bytes=11 * one) == 8
    assert portion_size(images, 4, most_bytes=one) == 4  # the model is asked about as many anyway
    assert portion_size(images.double(), 1, most_bytes=11 * one) == 5
    assert (
        portion_size(torch.zeros(1, 3, 32, 32), 256) > 3000
        and portion_size(torch.zeros(1, 3, 224, 224), 64) == 64
    )


@pytest.mark.parametrize("name", ["pgd", "apgd", "square", "deep_fool"])
def test_nothing_else_changes(name, monkeypatch):
    specimen, images = models.network(), models.images(23)
    labels = models.own_answers(specimen, images)
    labels[[0, 7, 8]] = (labels[[0, 7, 8]] + 1) % models.CLASSES
    epsilon = None if name == "deep_fool" else 0.02
    parameters = {"queries": 12} if name == "square" else {"steps": 3}
    asked = []

    def attacked():
        watched = asked.append
        return attack_images(
            name, specimen, images, labels, epsilon=epsilon, seed=3, at_once=1, watch=watched, **parameters
        )

    whole = attacked()
    rows = {int(row) for one in asked for row in one.rows}
    asked.clear()
    monkeypatch.setattr("archaeology.attacks.method.portion_size", lambda images, at_once: 6)
    parts = attacked()
    assert max(len(one.rows) for one in asked) <= 6
    assert {int(row) for one in asked for row in one.rows} == rows == set(range(20))
    for field in ("images", "logits", "success", "success_8bit", "gradients", "evaluations", "epsilon"):
        assert torch.equal(getattr(whole, field), getattr(parts, field)), field
    assert all(torch.equal(far, parts.distances[key]) for key, far in whole.distances.items())
    assert whole.success.any() and not whole.success.all()
