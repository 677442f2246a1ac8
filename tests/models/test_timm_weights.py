"""timm's models and ours with the same weights say the same; every tensor of theirs has its place in ours."""

from typing import Any

import pytest
import timm
import torch

from archaeology.core.errors import UnknownNameError
from archaeology.models import build
from archaeology.models.timm_weights import NAMES, from_timm, renamed

#: Name -> side of the images, no larger than shows everything: several windows, odd maps, shifted or not.
COMPARED = {
    "vit_tiny_patch16_224": 48,
    "vit_small_patch16_224": 48,
    "vit_base_patch16_224": 32,
    "deit_tiny_patch16_224": 48,
    "deit_small_patch16_224": 48,
    "deit_base_patch16_224": 32,
    "deit_tiny_distilled_patch16_224": 48,
    "deit_small_distilled_patch16_224": 48,
    "deit_base_distilled_patch16_224": 32,
    "deit3_small_patch16_224": 48,
    "vit_base_mci_224": 32,
    "swin_tiny_patch4_window7_224": 112,
    "swin_small_patch4_window7_224": 112,
    "swin_base_patch4_window7_224": 112,
}


def fewer(name: str) -> dict[str, Any]:
    """Arguments that leave out blocks, which are all alike, of the largest models."""
    return {"depths": (1, 2, 2, 1)} if "swin" in name else {"depth": 3}


def perturbed(name, size, num_classes=11):
    """timm's model with every number of it moved, so that none is still 0 or 1."""
    torch.manual_seed(0)
    changed = fewer(name) if "base" in name else {}
    model = timm.create_model(
        name, pretrained=False, img_size=size, num_classes=num_classes, **changed
    ).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
        for name, buffer in model.named_buffers():
            if "running" in name:
                buffer.add_(torch.rand_like(buffer))
    return model


def twin_of(name, model, size):
    architecture, arguments = from_timm(name, image_size=size, num_classes=model.num_classes)
    changed = fewer(name) if "base" in name else {}
    twin = build(architecture, {**arguments, **changed}).eval()
    twin.load_state_dict(renamed(name, model.state_dict()))
    return twin


def close(ours, theirs):
    """Equal to 1e-5 of the size of the outputs, which are themselves of size one or so."""
    scale = float(theirs.abs().max())
    return float((ours - theirs).abs().max()) <= 1e-5 * max(1.0, scale) and float(theirs.std()) > 1e-3


@pytest.mark.parametrize("name", COMPARED)
def test_outputs_are_equal(name):
    size = COMPARED[name]
    model = perturbed(name, size)
    twin = twin_of(name, model, size)
    images = torch.randn(2, 3, size, size)
    with torch.no_grad():
        ours, theirs = twin(images), model(images)
    assert close(ours, theirs), (ours - theirs).abs().max()


def test_a_swin_is_equal_at_its_own_size():
    name = "swin_tiny_patch4_window7_224"
    model = perturbed(name, 224, num_classes=1000)
    twin = twin_of(name, model, 224)
    images = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        assert close(twin(images), model(images))


@pytest.mark.parametrize("name", ["deit_tiny_distilled_patch16_224", "swin_tiny_patch4_window7_224"])
def test_gradients_are_equal(name):
    size = COMPARED[name]
    model = perturbed(name, size).double()
    twin = twin_of(name, model, size).double()
    twin.load_state_dict(renamed(name, model.state_dict()))
    images = torch.randn(1, 3, size, size, dtype=torch.float64)
    for each in (model, twin):
        each(images).square().sum().backward()
    theirs = {key: value.grad for key, value in model.named_parameters() if value.grad is not None}
    if "pos_embed" in theirs:  # the sum of two parameters has the gradient of either
        torch.testing.assert_close(theirs["cls_token"], theirs["pos_embed"][:, :1])
        theirs["pos_embed"][:, :2] = 0
    expected = renamed(name, theirs)
    ours = {key: value.grad for key, value in twin.named_parameters()}
    assert expected.keys() == ours.keys()
    for key, value in ours.items():
        torch.testing.assert_close(value, expected[key], atol=1e-10, rtol=1e-8, msg=key)


@pytest.mark.parametrize("name", NAMES)
def test_every_tensor_has_its_place_in_every_model_that_is_named(name):
    architecture, arguments = from_timm(f"{name}.some_tag", num_classes=11)
    changed = fewer(name) if architecture == "swin" else {}  # its windows must be real tensors
    with torch.device("cpu" if changed else "meta"):
        theirs = timm.create_model(name, pretrained=False, num_classes=11, **changed).state_dict()
        ours = build(architecture, {**arguments, **changed}).state_dict()
    found = renamed(name, theirs)
    assert {key: value.shape for key, value in found.items()} == {
        key: value.shape for key, value in ours.items()
    }


def test_names_without_counterpart_are_refused():
    with pytest.raises(UnknownNameError, match="did you mean 'swin_tiny_patch4_window7_224'"):
        from_timm("swin_tiny_patch4_window7_225")
    with pytest.raises(ValueError, match="weights of timm's vit_tiny_patch16_224 must hold pos_embed, but"):
        renamed("vit_tiny_patch16_224", {"cls_token": torch.zeros(1, 1, 192)})
