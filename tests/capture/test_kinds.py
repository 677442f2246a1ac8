"""Who looks at whom is told by shapes: windows that pool their queries, stages that shrink, heads over channels."""

import pytest
import timm
import torch

from archaeology.capture import intercepted
from archaeology.capture.attention import kind_of
from archaeology.capture.contraction import Hints


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ((2, 3, 1, 50), "pool"),
        ((2, 3, 8, 50), "pool"),
        ((2, 3, 9, 50), "cross"),
        (
            (8, 3, 4, 16),
            "cross",
        ),  # four windows whose queries are pooled, as in Hiera: no readout of the image
        ((2, 8, 49, 196), "cross"),  # LeViT between two stages
        ((8, 3, 16, 16), "window"),
        ((2, 3, 16, 16), "token"),
    ],
)
def test_kind_by_shape(shape, kind):
    assert kind_of(shape, 5, Hints(num_images=2, num_heads=3)) == kind


def test_davit_takes_turns_between_windows_and_channels():
    torch.manual_seed(0)
    model = timm.create_model(
        "davit_tiny", depths=(1, 1), embed_dims=(16, 32), num_heads=(2, 2), num_classes=3
    )
    kinds: list[str] = []
    with torch.no_grad(), intercepted(model.eval(), lambda attention: kinds.append(attention.kind)):
        model(torch.rand(2, 3, 64, 64))
    assert kinds == ["window", "channel", "window", "channel"]
