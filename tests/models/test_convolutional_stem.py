"""The hybrid stem: sizes, what a token sees, and a ViT that uses it."""

import pytest
import torch

from archaeology.models import ViT
from archaeology.models.convolutional_stem import ConvolutionalStem


def test_it_is_the_stem_of_the_paper():
    """Table 2 of the paper, for a patch of 16: four 3 x 3 convolutions of stride 2 that double, and a 1 x 1."""
    stem = ConvolutionalStem(16, 192)
    convolutions = [part for part in stem if isinstance(part, torch.nn.Conv2d)]
    assert [part.out_channels for part in convolutions] == [24, 48, 96, 192, 192]
    assert [part.kernel_size for part in convolutions] == [(3, 3)] * 4 + [(1, 1)]
    assert [part.stride for part in convolutions] == [(2, 2)] * 4 + [(1, 1)]
    kinds = [type(part).__name__ for part in stem]
    assert kinds == ["Conv2d", "BatchNorm2d", "ReLU"] * 4 + ["Conv2d"]


@pytest.mark.parametrize(
    ("patch_size", "options"), [(4, {}), (2, {}), (8, {"strides": (4, 2), "kernels": (7, 3), "widths": (6,)})]
)
def test_every_patch_gets_one_token_row_by_row(patch_size, options):
    torch.manual_seed(0)
    stem = ConvolutionalStem(patch_size, 24, **options).eval()
    images = torch.zeros(1, 3, 5 * patch_size, 7 * patch_size)
    with torch.no_grad():
        before = stem(images)
        images[:, :, 2 * patch_size : 3 * patch_size, 4 * patch_size : 5 * patch_size] = 1
        change = (stem(images) - before).abs().sum(dim=2).view(5, 7)
    assert before.shape == (1, 35, 24)
    seen = change.nonzero()
    assert (int(change[2, 4]) >= 0) and bool(change[2, 4] > 0)
    assert bool(
        ((seen - torch.tensor([2, 4])).abs() <= 1).all()
    )  # its neighbours look over the edge, others do not


def test_a_vit_learns_through_it_and_drops_patches():
    model = ViT(16, 4, embed_dim=16, depth=1, num_heads=2, stem="convolutional")
    torch.nn.init.normal_(model.head.weight)
    model.patch_keep = 0.5
    model(torch.randn(2, 3, 16, 16)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_impossible_stems_are_refused():
    with pytest.raises(ValueError, match="stem must be one of linear, convolutional, but got 'conv'"):
        ViT(stem="conv")
    with pytest.raises(ValueError, match="a linear stem takes no options, but got widths"):
        ViT(stem_options={"widths": (8,)})
    with pytest.raises(ValueError, match=r"cannot be built with \{'width': 8\}"):
        ViT(stem="convolutional", stem_options={"width": 8})
    with pytest.raises(ValueError, match="must be a power of two, but got patch_size=6"):
        ViT(12, 6, stem="convolutional")
    with pytest.raises(ValueError, match=r"multiply to patch_size.*strides=\[2, 1\]"):
        ViT(stem="convolutional", stem_options={"strides": (2, 1)})
    with pytest.raises(ValueError, match="activation must be one of gelu, relu, silu"):
        ConvolutionalStem(4, 16, activation="elu")
    model = ViT(16, 4, embed_dim=16, depth=1, num_heads=2, stem="convolutional")
    with pytest.raises(ValueError, match="only a linear stem can start whitened"):
        model.whiten_patches(torch.randn(2, 3, 16, 16), generator=torch.Generator())
