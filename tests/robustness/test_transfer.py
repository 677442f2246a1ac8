"""Changes that break one model, tried on others: counted as plain loops count."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.robustness import models

from archaeology.attacks.method import Aim
from archaeology.attacks.norms import distances
from archaeology.attacks.victim import Victim
from archaeology.core.seeding import content_names
from archaeology.robustness.transfer import climbed, transfer_matrix


def three():
    first = models.network()
    twin = replace(first, name="twin")
    return [first, twin, models.transformer()]


def labelled(count):
    images = models.images(count)
    return images, models.own_answers(models.network(), images)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_twin_falls_to_what_breaks_its_twin(norm):
    images, labels = labelled(23)
    labels[3] = (labels[3] + 1) % models.CLASSES
    found = transfer_matrix(
        three(), images, labels, epsilon=0.05 if norm == "linf" else 0.5, norm=norm, steps=4
    )
    assert found.broken.shape == found.broken_by_noise.shape == (3, 3, 23)
    np.testing.assert_array_equal(found.broken[0, 0], found.broken[0, 1])
    np.testing.assert_array_equal(found.broken[0], found.broken[1])
    row = found.table()[1]
    assert (row["source"], row["target"], row["n"]) == ("network", "twin", 22)
    assert row["success"] > 0.5 > row["noise"] and row["beyond_noise_low"] > 0
    assert row["success"] == pytest.approx(found.broken[0, 1][found.correct[0]].sum() / 22)


def test_counted_against_loops():
    specimens, (images, labels) = three(), labelled(17)
    found = transfer_matrix(specimens, images, labels, epsilon=0.08, steps=3)
    rows = iter(found.table())
    for source in range(3):
        for target in range(3):
            row, n, broken = next(rows), 0, 0
            for image in range(17):
                right = [
                    int(specimens[one].predict(images[[image]]).argmax()) == labels[image]
                    for one in (source, target)
                ]
                n += all(right)
                broken += all(right) and found.broken[source, target, image]
            assert row["n"] == n
            interval = found.success(source, target)
            if n:
                assert row["success"] == pytest.approx(broken / n)
                assert interval is not None and interval.value == row["success"]
                assert row["success_low"] <= row["success"] <= row["success_high"]
            else:
                assert interval is None and "success" not in row
    json.dumps(found.describe(), allow_nan=False)


def test_an_image_alone_gets_what_it_gets_among_others():
    images, labels = labelled(5)
    together = transfer_matrix(three(), images, labels, epsilon=0.03, steps=3)
    for row in range(5):
        alone = transfer_matrix(three(), images[[row]], labels[[row]], epsilon=0.03, steps=3)
        np.testing.assert_array_equal(alone.broken[:, :, 0], together.broken[:, :, row])
        np.testing.assert_array_equal(alone.broken_by_noise[:, :, 0], together.broken_by_noise[:, :, row])


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_broken_image_climbs_on(norm):
    specimen, (images, labels) = models.network(), labelled(7)
    epsilon = torch.full((7,), 0.1 if norm == "linf" else 0.7, dtype=torch.float64)
    aim = Aim(images, labels, epsilon, norm, tuple(content_names(images)))
    victim = Victim(specimen, images)
    far = climbed(victim, aim, 6)
    assert victim.gradients.tolist() == [6] * 7
    assert (distances(far, images)[norm] <= epsilon + 1e-6).all()
    assert far.min() >= 0 and far.max() <= 1
    loss = torch.nn.functional.cross_entropy(specimen.predict(far), labels, reduction="none")
    early = torch.nn.functional.cross_entropy(
        specimen.predict(climbed(victim, aim, 1)), labels, reduction="none"
    )
    assert (loss > early).all()


def test_models_and_random_numbers_stay_as_they_were():
    specimens, (images, labels) = three(), labelled(3)
    state = torch.get_rng_state()
    transfer_matrix(specimens, images, labels, steps=2)
    assert torch.equal(state, torch.get_rng_state())
    for specimen in specimens:
        assert all(weight.grad is None and weight.requires_grad for weight in specimen.model.parameters())


def test_errors():
    specimens, (images, labels) = three(), labelled(3)
    with pytest.raises(ValueError, match="names of their own"):
        transfer_matrix([specimens[0], specimens[0]], images, labels)
    with pytest.raises(ValueError, match="steps must be at least 1"):
        transfer_matrix(specimens, images, labels, steps=0)
    with pytest.raises(ValueError, match="did you mean 8/255"):
        transfer_matrix(specimens, images, labels, epsilon=8.0)
    with pytest.raises(ValueError, match="labels must be classes"):
        transfer_matrix(specimens, images, labels + 50)
