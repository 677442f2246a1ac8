"""Our ViT and CNN: shapes, independence within a batch, what dropping and whitening promise, and clear refusals."""

import pytest
import torch

from archaeology.core.errors import UnknownNameError
from archaeology.models import ConvNet, ViT, build

SMALL = {
    "image_size": (12, 20),
    "patch_size": 4,
    "num_classes": 7,
    "embed_dim": 24,
    "depth": 2,
    "num_heads": 3,
}


def small_vit(**changes):
    torch.manual_seed(0)
    model = ViT(**{**SMALL, **changes})
    torch.nn.init.normal_(model.head.weight)
    return model.eval()


def assert_each_example_alone_is_the_same(model, images):
    together = model(images)
    for index in range(len(images)):
        torch.testing.assert_close(
            model(images[index : index + 1]), together[index : index + 1], atol=1e-5, rtol=1e-4
        )


@pytest.mark.parametrize("pooling", ["class_token", "mean"])
@pytest.mark.parametrize("positions", ["none", "linear", "learnable", "sinusoidal"])
@pytest.mark.parametrize("num_registers", [0, 2])
def test_vit_gives_logits_and_keeps_examples_apart(pooling, positions, num_registers):
    model = small_vit(pooling=pooling, positions=positions, num_registers=num_registers)
    assert_each_example_alone_is_the_same(model, torch.randn(3, 3, 12, 20))
    assert model(torch.randn(3, 3, 12, 20)).shape == (3, 7)


def test_first_loss_is_log_of_the_number_of_classes():
    logits = ViT(**SMALL)(torch.randn(2, 3, 12, 20))
    torch.testing.assert_close(logits, torch.zeros_like(logits))


def test_without_positions_the_order_of_the_patches_does_not_matter():
    images = torch.randn(2, 3, 12, 20)
    shuffled = images.roll(4, dims=3)  # one patch to the right, around the edge
    blind, sighted = small_vit(positions="none"), small_vit(positions="sinusoidal")
    torch.testing.assert_close(blind(images), blind(shuffled))
    assert float((sighted(images) - sighted(shuffled)).detach().abs().max()) > 1e-3


def test_patches_go_row_by_row_with_channels_outermost():
    model, images = small_vit(), torch.arange(2 * 3 * 12 * 20.0).reshape(2, 3, 12, 20)
    patches = model.patches(images)
    assert patches.shape == (2, 15, 48)
    for row in range(3):
        for column in range(5):
            expected = images[1, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4].flatten()
            torch.testing.assert_close(patches[1, row * 5 + column], expected)


def test_patch_dropout_keeps_order_and_count_in_training_only():
    model = small_vit()
    model.patch_keep = 0.4
    numbered = torch.arange(15.0).expand(2, 15)[:, :, None]
    assert model.drop_patches(numbered) is numbered
    model.train()
    kept = model.drop_patches(numbered)[:, :, 0]
    assert kept.shape == (2, 6)
    assert bool((kept.diff(dim=1) > 0).all())
    assert kept[0].tolist() != kept[1].tolist()


def test_whitened_patches_have_equal_variance_in_every_direction():
    model = small_vit(embed_dim=48)
    mixing = torch.randn(3, 3)
    images = torch.einsum("ij,bjhw->bihw", mixing, torch.randn(400, 3, 12, 20))
    model.whiten_patches(images, generator=torch.Generator().manual_seed(0), epsilon=1e-8)
    tokens = model.patch_embed(model.patches(images)).flatten(0, 1)
    covariance = torch.cov(tokens.T)
    torch.testing.assert_close(covariance, 0.49 * torch.eye(48), atol=0.03, rtol=0)


def test_layout_names_prefix_and_readout():
    layout = small_vit(pooling="class_token", num_registers=2).token_layout()
    assert layout == {
        "rows": 3,
        "columns": 5,
        "prefix": ("class", "register", "register"),
        "readout": "class_token",
    }
    assert small_vit().token_layout()["prefix"] == ()


def test_vit_refuses_what_cannot_be():
    with pytest.raises(
        ValueError, match=r"patch_size must divide image_size, but got image_size=\(12, 20\), patch_size=5"
    ):
        small_vit(patch_size=5)
    with pytest.raises(
        ValueError, match="pooling must be one of class_token, mean, distilled, but got 'max'"
    ):
        small_vit(pooling="max")
    with pytest.raises(ValueError, match="activation must be one of gelu, relu, silu, but got 'tanh'"):
        small_vit(activation="tanh")
    with pytest.raises(ValueError, match=r"depth must be >= 1 .* got depth=0"):
        small_vit(depth=0)
    with pytest.raises(ValueError, match=r"images must be \(12, 20\) pixels, but got \(12, 12\)"):
        small_vit()(torch.randn(1, 3, 12, 12))


def test_convnet_gives_logits_and_keeps_examples_apart():
    torch.manual_seed(0)
    model = ConvNet(image_size=17, num_classes=5, widths=(8, 12)).eval()
    assert model(torch.randn(3, 3, 17, 17)).shape == (3, 5)
    assert_each_example_alone_is_the_same(model, torch.randn(3, 3, 17, 17))
    model.get_submodule(model.target_layer)


def test_whitened_pixels_decorrelate_neighbours():
    model = ConvNet(image_size=17, widths=(8,))
    images = torch.randn(200, 3, 17, 17)
    images = images + 2 * images.mean(dim=1, keepdim=True)
    model.whiten_pixels(images, epsilon=1e-9)
    torch.nn.init.zeros_(model.whiten.bias)
    maps = model.whiten(images)[:, :12].permute(1, 0, 2, 3).flatten(1)
    torch.testing.assert_close(torch.cov(maps), torch.eye(12), atol=0.05, rtol=0)
    assert not model.whiten.weight.requires_grad


def test_convnet_refuses_too_small_images():
    with pytest.raises(ValueError, match=r"leave a map after halving it 3 times, but got image_size=8"):
        ConvNet(image_size=8)


def test_build_suggests_the_near_miss():
    assert isinstance(build("vit", SMALL), ViT)
    with pytest.raises(UnknownNameError, match="No model is called 'vitt'; did you mean 'vit'"):
        build("vitt", {})
    with pytest.raises(UnknownNameError, match="No argument of vit is called 'dept'; did you mean 'depth'"):
        build("vit", {"dept": 3})
