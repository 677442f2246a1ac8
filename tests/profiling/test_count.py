"""FLOPs against the closed formula, against what papers and libraries publish, and against sums by hand."""

import pytest
import torch
from torch import nn
from torchvision.models import VisionTransformer

from archaeology.profiling.config import ProfileConfig
from archaeology.profiling.count import counted
from archaeology.profiling.formula import PlainViT, plain_vit
from archaeology.profiling.subject import Subject, built
from archaeology.specimens.layout import TokenLayout
from archaeology.specimens.module import of_module
from archaeology.specimens.specimen import Specimen

CONFIG = ProfileConfig(device="cpu")
HALF = (0.5, 0.5, 0.5)


def count_of(spec, image_size=None, patch_size=None):
    return counted(built(Subject(spec, image_size, patch_size), CONFIG))


@pytest.mark.parametrize(
    ("spec", "giga_multiply_adds", "millions"),
    [
        # timm's own table of GMACs, and the papers' "FLOPs", are multiply-adds; torchvision counts 17.56 for ViT-B/16.
        ("timm:vit_small_patch16_224", 4.6, 22.1),
        ("timm:swin_tiny_patch4_window7_224", 4.5, 28.3),
        ("timm:resnet50", 4.1, 25.6),
        ("torchvision:vit_b_16", 17.56, 86.6),
    ],
)
def test_counts_are_the_published_ones(spec, giga_multiply_adds, millions):
    found = count_of(spec)
    assert found.flops / 2e9 == pytest.approx(giga_multiply_adds, rel=0.005)
    assert found.parameters / 1e6 == pytest.approx(millions, rel=0.005)
    assert found.weight_mebibytes >= found.parameters * 4 / 2**20


@pytest.mark.parametrize(
    ("spec", "image_size", "patch_size"),
    [
        ("timm:vit_small_patch16_224", 64, 8),
        ("timm:vit_tiny_patch16_224?num_classes=7&depth=3", 96, 16),
        ("timm:deit_tiny_patch16_224?reg_tokens=3&depth=2", 64, 16),
        ("vit", 32, 4),
        ("vit", 48, 8),
    ],
)
def test_plain_vits_compute_what_the_formula_says(spec, image_size, patch_size):
    found = count_of(spec, image_size, patch_size)
    assert found.formula_flops == found.flops


def test_the_formula_against_a_sum_over_every_product():
    plain = PlainViT(tokens=7, patches=5, patch_size=2, embed_dim=6, depth=3, hidden=11, classes=13)
    total = pairs = 0
    for _ in range(5):
        total += 2 * (3 * 2 * 2) * 6
    for _ in range(3):
        for _ in range(7):
            total += 2 * (6 * 6) * 4 + 2 * 6 * 11 + 2 * 11 * 6
            for _ in range(7):
                pairs += 2 * 6 + 2 * 6  # query with key, weight times value, all heads together
    assert plain.pair_flops == pairs
    assert plain.flops == total + pairs + 2 * 6 * 13


def test_products_between_tokens_are_told_apart():
    specimen = built(Subject("timm:vit_tiny_patch16_224", 64, 8), CONFIG)
    plain = plain_vit(specimen)
    assert plain is not None and plain.tokens == 65
    assert counted(specimen).pair_flops == plain.pair_flops
    assert count_of("timm:resnet18", 64).pair_flops == 0


def small_torchvision_vit():
    model = VisionTransformer(32, 8, num_layers=2, num_heads=2, hidden_dim=24, mlp_dim=44, num_classes=7)
    return of_module(
        model, name="small", image_size=(32, 32), mean=HALF, std=HALF, layout=TokenLayout(4, 4, ("class",))
    )


@pytest.mark.parametrize("is_fast", [True, False])
def test_the_fused_call_of_pytorch_is_counted_and_then_allowed_again(is_fast):
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(is_fast)
    try:
        found = counted(small_torchvision_vit())
        assert found.formula_flops == found.flops
        assert torch.backends.mha.get_fastpath_enabled() is is_fast
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def test_other_models_have_no_formula():
    assert count_of("timm:resnet18", 64).formula_flops is None
    assert count_of("timm:swin_tiny_patch4_window7_224?depths=[1,1,1,1]", 64).formula_flops is None


def test_a_model_of_ones_own_is_counted_by_hand():
    model = nn.Sequential(nn.Conv2d(3, 5, 3, bias=False), nn.Flatten(), nn.Linear(5 * 6 * 4, 7))
    specimen = of_module(model, name="mine", image_size=(8, 6), mean=HALF, std=HALF)
    found = counted(specimen)
    assert found.flops == 2 * (6 * 4) * 5 * 27 + 2 * 120 * 7
    assert (found.parameters, found.pair_flops, found.formula_flops) == (135 + 847, 0, None)


def test_an_image_size_the_model_cannot_take_is_told():
    specimen = Specimen("mine", nn.Conv2d(3, 5, 7), "convolutional", (), image_size=(6, 9))
    with pytest.raises(
        ValueError, match=r"mine cannot take images of 6 x 9 pixels .* choose other --image-sizes"
    ):
        counted(specimen)
