"""A ViT takes any attention and any positions by name, or says why not."""

import pytest
import torch

from archaeology.attention import mechanisms
from archaeology.attention.layers import layers
from archaeology.attention.position_scheme import SCHEMES
from archaeology.capture.checks import check_capture
from archaeology.capture.record import capture
from archaeology.explain.method import explain
from archaeology.models import ViT
from archaeology.specimens.layout import TokenLayout
from archaeology.specimens.module import of_module

SMALL = {
    "image_size": (12, 20),
    "patch_size": 4,
    "num_classes": 7,
    "embed_dim": 24,
    "depth": 2,
    "num_heads": 3,
}


def built(**changes):
    torch.manual_seed(0)
    model = ViT(**{**SMALL, **changes})
    torch.nn.init.normal_(model.head.weight)
    return model


@pytest.mark.parametrize("attention", [*mechanisms.names(), *layers.names()])
def test_any_attention_learns_and_keeps_examples_apart(attention):
    model = built(attention=attention)
    images = torch.randn(2, 3, 12, 20)
    model(images).square().sum().backward()
    assert all(
        parameter.grad is not None and bool(parameter.grad.isfinite().all())
        for parameter in model.parameters()
    )
    model.eval()
    with torch.no_grad():
        together = model(images)
        for index in range(2):
            alone = model(images[index : index + 1])
            torch.testing.assert_close(alone, together[index : index + 1], atol=1e-4, rtol=1e-3)
        tokens = torch.randn(2, 15, 24)
        assert model.blocks[0].attn.pattern(tokens).shape == (2, 3, 15, 15)


@pytest.mark.parametrize("positions", SCHEMES)
@pytest.mark.parametrize("pooling", ["mean", "class_token"])
def test_positions_tell_places_apart(positions, pooling):
    model = built(positions=positions, pooling=pooling, num_registers=2).eval()
    if positions == "relative_bias":
        for block in model.blocks:
            torch.nn.init.normal_(next(block.attn.positions.parameters()))
    images = torch.randn(1, 3, 12, 20)
    patches = images.reshape(1, 3, 3, 4, 5, 4)
    shuffled = patches.roll(2, dims=4).reshape(images.shape)  # columns of patches in another order
    with torch.no_grad():
        difference = float((model(images) - model(shuffled)).abs().max())
    assert (difference < 1e-4) == (positions == "none"), difference


def test_dropped_patches_and_layers_that_know_places_do_not_go_together():
    for changes in ({"positions": "rotary"}, {"attention": "sparsemax"}):
        model = built(**changes).train()
        model.patch_keep = 0.5
        with pytest.raises(
            ValueError, match=r"patch_keep must be 1 where attention itself knows places.*got 0.5"
        ):
            model(torch.randn(1, 3, 12, 20))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"attention": "softmaxx"}, "No attention is called 'softmaxx'; did you mean 'softmax'"),
        ({"positions": "rotery"}, "No position scheme is called 'rotery'; did you mean 'rotary'"),
        ({"attention_options": {"radius": 2}}, r"softmax attention cannot be built with \{'radius': 2\}"),
        ({"num_heads": 5}, "num_heads must divide embed_dim, but got embed_dim=24, num_heads=5"),
    ],
)
def test_impossible_choices_are_refused(changes, complaint):
    with pytest.raises(ValueError, match=complaint):
        built(**changes)


@pytest.mark.parametrize("attention", [*mechanisms.names(), *layers.names()])
def test_any_attention_can_be_captured_and_explained(attention):
    model = built(
        attention=attention, attention_options={"radius": 3} if attention == "sliding_window" else None
    )
    layout = TokenLayout(rows=3, columns=5, prefix=(), readout="mean")
    statistics = {"mean": (0.5,) * 3, "std": (0.5,) * 3}
    specimen = of_module(model, name=attention, image_size=(12, 20), layout=layout, **statistics)
    images = torch.randint(0, 256, (2, 3, 12, 20), dtype=torch.uint8)
    check_capture(specimen, images)
    heat = explain("rollout", capture(specimen, images))
    assert heat.heatmap.shape == (2, 3, 5) and bool(heat.heatmap.isfinite().all())
