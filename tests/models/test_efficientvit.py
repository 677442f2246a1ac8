"""EfficientViT against timm's with exchanged weights, on small images, and opened again as a specimen."""

import math

import pytest
import torch
from torch import nn

from archaeology.core.errors import UnknownNameError
from archaeology.core.storage import write_json, write_tensors
from archaeology.models import EfficientViT, build
from archaeology.models.timm_efficientvit import NAMES, from_timm, renamed
from archaeology.specimens.layout import TokenLayout
from archaeology.specimens.run import load_run

SMALL = {
    "image_size": (24, 40),
    "patch_size": 4,
    "num_classes": 7,
    "embed_dims": (12, 18),
    "depths": (1, 2),
    "num_heads": (2, 3),
    "key_dim": 5,
    "window": 4,
    "kernel_sizes": (5, 3, 1),
}


@torch.no_grad()
def with_history(model, seed=0):
    """As if it had been trained: no statistic, scale or bias is that of a fresh model."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if name.endswith(("attention_biases", "table")):
            parameter.normal_(generator=generator)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.weight.uniform_(0.5, 1.5, generator=generator)
            module.bias.normal_(std=0.2, generator=generator)
            module.running_mean.normal_(std=0.2, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
        elif isinstance(module, nn.Linear):
            module.weight.normal_(std=0.1, generator=generator)
    return model.eval()


def timm_pair(name, **sizes):
    import timm

    theirs = with_history(timm.create_model(name, pretrained=False, num_classes=7, **sizes))
    ours = build(*from_timm(name, image_size=sizes.get("img_size"), num_classes=7))
    ours.load_state_dict(renamed(name, theirs.state_dict()))
    return ours.eval(), theirs


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_logits_are_those_of_timm(name):
    ours, theirs = timm_pair(name)
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    expected = theirs(images)
    assert float(expected.std()) > 0.1
    torch.testing.assert_close(ours(images), expected, atol=1e-5, rtol=1e-5)
    assert sum(map(torch.numel, ours.parameters())) == sum(map(torch.numel, theirs.parameters()))


@pytest.mark.parametrize("size", [(96, 160), (160, 96), (64, 64)])
@torch.no_grad()
def test_windows_that_do_not_divide_the_map_are_as_in_timm(size):
    ours, theirs = timm_pair("efficientvit_m0", img_size=size)
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(ours(images), theirs(images), atol=1e-5, rtol=1e-5)


def test_a_step_of_training_is_that_of_timm():
    ours, theirs = timm_pair("efficientvit_m0", img_size=(64, 64))
    images = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    for model in (ours, theirs):
        model.double().train()
        model(images.double()).square().sum().backward()
    gradients = renamed("efficientvit_m0", {name: part.grad for name, part in theirs.named_parameters()})
    for name, part in ours.named_parameters():
        torch.testing.assert_close(part.grad, gradients[name], msg=lambda text, name=name: f"{name}: {text}")


def small(**changes):
    torch.manual_seed(0)
    return EfficientViT(**{**SMALL, **changes})


@torch.no_grad()
def test_examples_are_kept_apart_on_small_images_that_are_not_square():
    model = with_history(small())
    images = torch.randn(3, 3, 24, 40)
    together = model(images)
    assert together.shape == (3, 7) and model.grids == [(6, 10), (3, 5)]
    for index in range(3):
        torch.testing.assert_close(model(images[index : index + 1])[0], together[index], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_the_usual_sizes_take_images_of_32_pixels_and_the_first_loss_is_that_of_guessing():
    model = build("efficientvit", {})
    logits = model(torch.randn(2, 3, 32, 32))
    loss = nn.functional.cross_entropy(logits, torch.tensor([3, 5]))
    assert float(loss) == pytest.approx(math.log(10))
    assert model.grids == [(8, 8), (4, 4), (2, 2)]


def test_every_weight_is_reached_by_gradients():
    model = with_history(small())
    model.train()
    model(torch.randn(3, 3, 24, 40)).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and float(parameter.grad.abs().sum()) > 0, name


def test_a_run_opens_as_a_specimen(tmp_path):
    model = with_history(small(image_size=24))
    arguments = {**SMALL, "image_size": 24}
    config = {
        "format": 1,
        "architecture": "efficientvit",
        "arguments": arguments,
        "classes": list("abcdefg"),
        "image_size": [24, 24],
        "mean": [0.5, 0.5, 0.5],
        "std": [0.25, 0.25, 0.25],
    }
    write_json(tmp_path / "config.json", config)
    write_tensors(tmp_path / "model.safetensors", model.state_dict())
    specimen = load_run(tmp_path)
    images = torch.rand(2, 3, 24, 24)
    with torch.no_grad():
        torch.testing.assert_close(specimen.predict(images), model((images - 0.5) / 0.25))
    assert specimen.kind == "transformer"
    assert specimen.layout == TokenLayout(3, 3, (), "mean", "windows")
    maps = []
    handle = specimen.model.get_submodule(str(specimen.target_layer)).register_forward_hook(
        lambda module, given, found: maps.append(found)
    )
    specimen.predict(images)
    handle.remove()
    assert maps[0].shape == (2, 18, 3, 3)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"patch_size": 6}, "patch_size must be a power of two, at least 2, but got patch_size=6"),
        ({"patch_size": 16}, "patch_size must divide image_size, but got image_size=.24, 40., patch_size=16"),
        ({"depths": (1,)}, "must have a number for each stage"),
        ({"depths": (1, 0)}, "must have a number for each stage"),
        ({"embed_dims": (1, 18), "patch_size": 4}, "must start with half of patch_size or more"),
        ({"num_heads": (2, 6)}, "kernel_sizes must have a number for each of 6 heads"),
        ({"num_heads": (5, 3), "kernel_sizes": (1,) * 5}, "num_heads must divide embed_dim"),
        ({"kernel_sizes": (4, 4, 4)}, "must be an odd number"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        small(**changes)


def test_images_of_another_size_and_unknown_names_are_refused():
    with pytest.raises(ValueError, match=r"images must be \(24, 40\) pixels, but got \(40, 24\); resize"):
        small()(torch.randn(1, 3, 40, 24))
    with pytest.raises(UnknownNameError, match="did you mean 'efficientvit_m5'"):
        from_timm("efficientvit_m7")
    with pytest.raises(UnknownNameError, match="No EfficientViT of timm is called 'efficientvit_b0'"):
        renamed("efficientvit_b0", {})
    assert from_timm("efficientvit_m5.r224_in1k")[1]["embed_dims"] == (192, 288, 384)
