from typing import Any

import pytest
import torch
from torch import nn

from archaeology.specimens.layout import TokenLayout
from archaeology.specimens.module import of_module
from archaeology.specimens.specimen import Specimen

HALF = (0.5, 0.5, 0.5)


def tiny(num_classes: int = 4) -> nn.Module:
    layers = [
        nn.Conv2d(3, 5, 3),
        nn.Conv2d(5, 7, 3),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(7, num_classes),
    ]
    return nn.Sequential(*layers)


class Attending(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cut = nn.Conv2d(3, 8, 4, 4)
        self.blocks = nn.ModuleList(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True) for _ in range(2))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        tokens = self.cut(images).flatten(2).mT
        for block in self.blocks:
            tokens = block(tokens)
        return tokens.mean(dim=1)


def declared(model: nn.Module, **changes: Any) -> Specimen:
    facts = {"name": "mine", "classes": tuple("abcd"), "image_size": (8, 12), "mean": HALF, "std": HALF}
    return of_module(model, **(facts | changes))


def test_a_network_of_ones_own() -> None:
    model = tiny().train()

    specimen = declared(model, target_layer="1")

    assert (specimen.kind, specimen.layout, specimen.target_layer) == ("convolutional", None, "1")
    assert specimen.model is model and not model.training
    images = torch.rand(2, 3, 8, 12)
    torch.testing.assert_close(specimen.predict(images), model((images - 0.5) / 0.5))


def test_a_transformer_of_ones_own() -> None:
    layout = TokenLayout(2, 3, (), "mean")

    specimen = declared(Attending(), classes=(), layout=layout)

    assert (specimen.kind, specimen.layout) == ("transformer", layout)
    assert specimen.target_layer == "blocks.1.norm1"


def test_what_neither_attends_nor_convolves() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 12, 4))

    assert declared(model).kind == "other"


class Wrapped(nn.Module):
    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"logits": images.mean(dim=(2, 3))}


@pytest.mark.parametrize(
    ("model", "changes", "message"),
    [
        (tiny(), {"classes": ("a", "b")}, "has 2 classes and 4 logits"),
        (
            nn.Conv2d(3, 4, 3),
            {},
            r"shape \(batch, classes\), but gives \(1, 4, 6, 10\) for one image of 8 x 12",
        ),
        (Wrapped(), {}, "must give a tensor of logits, but gives dict; wrap it"),
        (tiny(), {"target_layer": "layer4"}, "Sequential has no 'layer4'; model.named_modules"),
    ],
)
def test_one_pass_finds_what_is_wrong(model: nn.Module, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        declared(model, **changes)
