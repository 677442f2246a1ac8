"""A specimen whose classes come in the order of the data."""

from dataclasses import replace

import pytest
import torch
from tests.ablate import small_models

from archaeology.capture import capture
from archaeology.specimens.reordered import reordered


def made():
    names = tuple(f"thing {number}" for number in range(small_models.CLASSES))
    return replace(small_models.timm_vit(), classes=names, target_layer="blocks.2.norm1")


def test_logits_and_names_move_together_and_nothing_else():
    specimen, images = made(), small_models.images(2)
    before = specimen.predict(images)
    moved = reordered(specimen, [2, 0])
    rest = [number for number in range(len(specimen.classes)) if number not in (2, 0)]
    order = [2, 0, *rest]
    torch.testing.assert_close(moved.predict(images), before[:, order], rtol=0, atol=0)
    assert list(moved.classes) == [specimen.classes[number] for number in order]
    assert moved.target_layer == f"model.{specimen.target_layer}"
    first, second = (capture(one, images) for one in (specimen, moved))
    assert len(first.attentions) == len(second.attentions)
    assert torch.equal(first.attentions[0].pattern, second.attentions[0].pattern)


def test_what_is_in_order_is_left_as_it_is():
    specimen = made()
    assert reordered(specimen, [0, 1]) is specimen


@pytest.mark.parametrize("first", [[1, 1], [0, 99], [-1]])
def test_numbers_that_are_no_classes_are_refused(first):
    with pytest.raises(ValueError, match="must be numbers of different classes"):
        reordered(made(), first)
