"""Random maps belong to their image: not to the batch, the model or the moment."""

from dataclasses import replace

import pytest
import torch
from tests.explain.test_grad_cam import record

from archaeology.explain import explain, explanations
from archaeology.specimens.layout import TokenLayout


def images(count=4, height=11, width=13):
    made = record((count, 5, 2, 7))
    generator = torch.Generator().manual_seed(3)
    return replace(made, images=torch.rand(count, 3, height, width, generator=generator))


def test_a_map_is_the_images_own():
    made = images()
    explanation = explain("random", made)
    alone = explain("random", replace(images(1), images=made.images[2:3]))
    assert torch.equal(alone.heatmap[0], explanation.heatmap[2])
    assert len({tuple(each.flatten().tolist()) for each in explanation.heatmap}) == 4
    assert explanations.get("random").needs_attention is False
    assert explanation.target is None


def test_grid_is_the_models_or_seven_blocks_or_every_pixel():
    assert explain("random", images()).heatmap.shape == (4, 7, 7)
    assert explain("random", images(2, 5, 9)).heatmap.shape == (2, 5, 7)
    tokens = replace(images(), layout=TokenLayout(2, 3, ("class",)))
    assert explain("random", tokens).heatmap.shape == (4, 2, 3)


def test_it_is_uniform_and_other_seeds_are_other_noise():
    made = images(200)
    values = explain("random", made).heatmap
    assert float(values.min()) >= 0 and float(values.max()) < 1
    assert abs(float(values.mean()) - 0.5) < 0.02 and abs(float(values.var()) - 1 / 12) < 0.005
    other = explain("random", made, seed=1)
    pair = torch.stack([values.flatten(), other.heatmap.flatten()])
    assert abs(float(torch.corrcoef(pair)[0, 1])) < 0.05
    assert other.parameters == {"seed": 1}


def test_negative_seed_is_an_error():
    with pytest.raises(ValueError, match=r"seed must be a whole number >= 0"):
        explain("random", images(), seed=-1)
