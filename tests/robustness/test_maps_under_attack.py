"""The images an attack turned, and their maps before and after."""

import json
import math

import pytest
import torch
from tests.oracles import attention_shift as oracle
from tests.robustness import models
from tests.robustness.test_matched_noise import moved

from archaeology.attacks import attack_images
from archaeology.core.seeding import content_names
from archaeology.explain.explanation import Explanation
from archaeology.explain.method import explain_images
from archaeology.robustness.fooled import fooled_by
from archaeology.robustness.maps_under_attack import map_shift, maps_under_attack
from archaeology.robustness.matched_noise import matched_noise


@pytest.mark.parametrize(("name", "method"), [("transformer", "rollout"), ("network", "grad_cam")])
def test_maps_are_those_of_the_classes_said_of_each_version(name, method):
    specimen = getattr(models, name)()
    clean = models.images(3)
    attacked = moved(clean, 0.3)
    found = maps_under_attack(specimen, clean, attacked, explanation=method, seed=2)
    noisy = matched_noise(clean, attacked, content_names(clean), 2)
    assert torch.equal(found.noisy, noisy) and found.method == method and found.formula
    for images, heat, answer in (
        (clean, found.clean_map, found.clean_answer),
        (attacked, found.attacked_map, found.attacked_answer),
        (noisy, found.noisy_map, found.noisy_answer),
    ):
        wanted = explain_images(method, specimen, images)
        torch.testing.assert_close(heat, wanted.heatmap)
        assert torch.equal(answer, models.own_answers(specimen, images))
    for other, shifts in ((found.attacked_map, found.attack_shift), (found.noisy_map, found.noise_shift)):
        for number in range(3):
            rows = (found.clean_map[number].flatten().tolist(), other[number].flatten().tolist())
            if min(sum(row) for row in rows) > 0:
                assert float(shifts[number]) == pytest.approx(
                    oracle.jensen_shannon(*rows), rel=1e-6, abs=1e-12
                )
    told = json.loads(json.dumps(found.describe(), allow_nan=False))
    assert told["clean_answer"] == found.clean_answer.tolist()


def test_a_map_without_evidence_has_not_moved_but_said_nothing():
    empty, full = torch.zeros(1, 2, 3), torch.ones(1, 2, 3)
    both = Explanation(torch.cat([empty, full]), "made up"), Explanation(torch.cat([full, full]), "made up")
    found = map_shift(*both).tolist()
    assert math.isnan(found[0]) and found[1] == 0


def test_fooled_images_were_right_before_and_are_wrong_after():
    specimen = models.transformer()
    images = models.images(6)
    labels = models.own_answers(specimen, images)
    labels[0] = (labels[0] + 1) % models.CLASSES
    result = attack_images("pgd", specimen, images, labels, epsilon=0.05, steps=5)
    found = fooled_by(result)
    rows = [row for row in range(6) if row != 0 and bool(result.success[row])]
    assert found.rows.tolist() == rows and len(found) == len(rows) > 0
    assert torch.equal(found.clean, result.original[rows]) and torch.equal(
        found.attacked, result.images[rows]
    )
    assert torch.equal(found.given, models.own_answers(specimen, found.attacked))
    assert (found.given != found.labels).all() and torch.equal(found.labels, labels[rows])


def test_an_attack_that_turned_nothing_is_refused():
    specimen = models.transformer()
    images = models.images(2)
    result = attack_images("fgsm", specimen, images, models.own_answers(specimen, images), epsilon=0.0)
    with pytest.raises(ValueError, match="fgsm turned none of the 2; give it a larger epsilon"):
        fooled_by(result)


def test_maps_need_changed_images():
    clean = models.images(2)
    with pytest.raises(ValueError, match="every image must have been changed"):
        maps_under_attack(models.transformer(), clean, clean)
