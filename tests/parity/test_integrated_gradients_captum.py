"""Integrated gradients of a transformer against captum's, on the same points of the same path."""

import pytest
import torch
from tests.ablate import small_models as small

from archaeology.explain import explain_images

captum = pytest.importorskip("captum.attr")


@pytest.mark.parametrize(
    "quadrature, theirs", [("gauss_legendre", "gausslegendre"), ("midpoint", "riemann_middle")]
)
def test_equals_captum(quadrature, theirs):
    specimen, target = small.timm_vit(), torch.tensor([2, 0, 6])
    pictures = small.images(3).float() / 255
    ours = explain_images(
        "integrated_gradients", specimen, pictures, target, steps=19, quadrature=quadrature
    ).attribution
    shares = captum.IntegratedGradients(specimen.predict).attribute(
        pictures, torch.zeros_like(pictures), target, n_steps=19, method=theirs
    )
    expected = shares.sum(dim=1).detach()
    assert float((ours - expected).norm() / expected.norm()) < 1e-4
