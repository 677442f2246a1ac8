"""Crops stretched to one size, and several views of each image: where they come from, and who decides."""

import numpy as np
import pytest
import torch
from PIL import Image

from archaeology.data.augment.resized_crop import resized_crop
from archaeology.data.augment.views import MultiCrop, some


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def ramp(batch=3, height=24, width=36):
    """The red channel tells the column, the green one the row."""
    column = torch.linspace(0, 255, width).expand(height, width)
    row = torch.linspace(0, 255, height)[:, None].expand(height, width)
    image = torch.stack([column, row, torch.zeros(height, width)]).round().to(torch.uint8)
    return image.expand(batch, -1, -1, -1).contiguous()


def test_the_whole_image_is_resized_as_pillow_does():
    image = torch.randint(0, 256, (1, 3, 10, 10), generator=generator(), dtype=torch.uint8)
    found = resized_crop(image, generator(), 17, share=(1.0, 1.0), ratio=(1.0, 1.0), flip=False)[0]
    pillow = Image.fromarray(image[0].permute(1, 2, 0).numpy()).resize((17, 17), Image.Resampling.BILINEAR)
    inner = np.asarray(pillow).transpose(2, 0, 1)[:, 2:-2, 2:-2].astype(int)  # borders differ by definition
    assert np.abs(found.numpy()[:, 2:-2, 2:-2].astype(int) - inner).max() <= 1


def test_crops_have_the_area_and_the_shape_asked_for():
    found = resized_crop(ramp(200), generator(), 8, share=(0.25, 0.5), ratio=(0.5, 2.0), flip=False).float()
    width = (found[:, 0, :, -1] - found[:, 0, :, 0]).mean(1) / 255 * 35 / 36 * 8 / 7
    height = (found[:, 1, -1] - found[:, 1, 0]).mean(1) / 255 * 23 / 24 * 8 / 7
    area = width * height
    assert 0.22 < float(area.min()) < 0.3 and 0.45 < float(area.max()) < 0.53
    ratio = width / height
    assert 0.45 < float(ratio.min()) < 0.65 and 1.5 < float(ratio.max()) < 2.2
    left = found[:, 0, :, 0].mean(1)
    assert float(left.min()) < 25 and float(left.max()) > 100  # somewhere, not always the same place


def test_half_of_the_crops_are_mirrored():
    found = resized_crop(ramp(200), generator(), 8, share=(0.3, 1.0))
    is_mirrored = found[:, 0, 4, 0] > found[:, 0, 4, -1]
    assert 70 < int(is_mirrored.sum()) < 130


@pytest.mark.parametrize("share", [(0.0, 0.5), (0.5, 0.4), (0.5, 1.5)])
def test_impossible_shares_are_refused(share):
    with pytest.raises(ValueError, match="share must be a range"):
        resized_crop(ramp(), generator(), 8, share=share)


def test_views_come_in_their_sizes_and_the_same_twice():
    shown = MultiCrop(num_small=3, large_size=20, small_size=9)
    large, small = shown(ramp(), generator())
    assert large.shape == (3, 2, 3, 20, 20) and small.shape == (3, 3, 3, 9, 9)
    again = shown(ramp(), generator())
    assert torch.equal(large, again[0]) and torch.equal(small, again[1])
    assert not torch.equal(large[:, 0], large[:, 1])
    assert [view.shape[1] for view in MultiCrop(num_small=0)(ramp(), generator())] == [2]


def test_some_images_are_changed():
    before, after = torch.zeros(400, 3, 2, 2, dtype=torch.uint8), torch.ones(400, 3, 2, 2, dtype=torch.uint8)
    found = some(0.25, after, before, generator())
    assert 60 < int(found[:, 0, 0, 0].sum()) < 140
    assert torch.equal(found, found[:, :1, :1, :1].expand_as(found))
