"""Two tiny checkpoints with random weights: a dig needs no trained model to be tested."""

import pytest
import torch

from archaeology.data.worlds.cue_scenes import SHAPE_NAMES
from archaeology.models import build
from archaeology.training.checkpoint import save_checkpoint

VIT = {"image_size": 64, "patch_size": 16, "num_classes": 8, "embed_dim": 24, "depth": 3, "num_heads": 3}
CNN = {"image_size": 64, "num_classes": 8, "widths": (8, 8)}


def save(folder, architecture, arguments):
    torch.manual_seed(0)
    model = build(architecture, arguments)
    torch.nn.init.normal_(model.head.weight)
    save_checkpoint(
        folder,
        model.state_dict(),
        architecture=architecture,
        arguments=arguments,
        classes=SHAPE_NAMES,
        image_size=(64, 64),
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        facts={"recipe": f"random {architecture}"},
    )
    return f"run:{folder}"


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    return {"vit": save(folder / "vit", "vit", VIT), "cnn": save(folder / "cnn", "convnet", CNN)}


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARCHAEOLOGY_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
