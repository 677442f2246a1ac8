"""Small models of every kind that the explorer has to show, with random weights."""

import pytest
import timm
import torch

from archaeology.models import build
from archaeology.specimens.layout import TokenLayout
from archaeology.specimens.module import of_module

CLASSES = ("ant", "bee", "cat", "dog", "eel")


def wrapped(model, size, layout=None, target_layer=None, name="made up"):
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.15)
    return of_module(
        model.eval(),
        name=name,
        classes=CLASSES,
        image_size=(size, size),
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        layout=layout,
        target_layer=target_layer,
    )


@pytest.fixture(scope="session")
def flat():
    """16 patches, a class token and two registers; 3 layers of 2 heads."""
    torch.manual_seed(0)
    shape = {"image_size": 16, "patch_size": 4, "num_classes": 5, "embed_dim": 16, "depth": 3, "num_heads": 2}
    model = build("vit", {**shape, "pooling": "class_token", "num_registers": 2})
    return wrapped(model, 16, TokenLayout(4, 4, ("class", "register", "register")), "blocks.2.norm1")


@pytest.fixture(scope="session")
def long():
    """18 x 18 patches and a class token: more than 257."""
    torch.manual_seed(1)
    model = timm.create_model(
        "vit_tiny_patch16_224", img_size=36, patch_size=2, embed_dim=12, depth=2, num_heads=3, num_classes=5
    )
    return wrapped(model, 36, TokenLayout(18, 18, ("class",)), "blocks.1.norm1", "many tokens")


@pytest.fixture(scope="session")
def swin():
    """Two stages of shifted windows: 8 x 8 and 4 x 4 places."""
    torch.manual_seed(2)
    model = timm.create_model(
        "swin_tiny_patch4_window7_224",
        img_size=32, patch_size=4, window_size=4, embed_dim=12, depths=(2, 2), num_heads=(2, 3), num_classes=5,
    )  # fmt: skip
    return wrapped(model, 32, TokenLayout(8, 8, (), "mean", "windows"), "layers.1.blocks.1.norm1", "windows")


@pytest.fixture(scope="session")
def cnn():
    torch.manual_seed(3)
    model = build("convnet", {"image_size": 16, "num_classes": 5, "widths": (8, 8)})
    return wrapped(model, 16, None, "groups.1", "a CNN")


@pytest.fixture
def pictures():
    """`pictures(size, count)`: images in 8 bits."""

    def make(size, count=2):
        generator = torch.Generator().manual_seed(size)
        return torch.randint(0, 256, (count, 3, size, size), generator=generator, dtype=torch.uint8)

    return make
