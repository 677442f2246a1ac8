"""Occlusion of a transformer against captum's, with the same windows of whole patches."""

import pytest
import torch
from tests.ablate import small_models as small

from archaeology.explain import explain_images

captum = pytest.importorskip("captum.attr")


@pytest.mark.parametrize("window, stride", [(1, 1), (2, 1), (2, 2)])
def test_equals_captum(window, stride):
    specimen, target = small.timm_vit(), torch.tensor([2, 0, 6])
    pictures = small.images(3).float() / 255
    ours = explain_images(
        "occlusion", specimen, pictures, target, window=window, stride=stride, fill="black"
    ).attribution
    fallen = captum.Occlusion(specimen.predict).attribute(
        pictures, (3, 3 * window, 3 * window), (3, 3 * stride, 3 * stride), baselines=0, target=target
    )
    expected = fallen[:, 0, ::3, ::3]
    assert float((ours - expected).norm() / expected.norm()) < 1e-5
