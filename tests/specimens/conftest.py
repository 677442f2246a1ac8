"""Small checkpoints of every library, made here: no test of specimens needs the network."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from archaeology.models.registry import build
from archaeology.specimens import fetching, load
from archaeology.specimens.specimen import Specimen
from archaeology.training.checkpoint import save_checkpoint

VIT = {"image_size": 16, "patch_size": 4, "num_classes": 5, "embed_dim": 16, "depth": 2, "num_heads": 2}
CONVNET = {"image_size": 16, "num_classes": 5, "widths": [8, 8]}


def _save(folder: Path, architecture: str = "vit", weights: str = "float32", **changes: Any) -> Path:
    arguments = {**(VIT if architecture == "vit" else CONVNET), **changes}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build(architecture, arguments)
        for parameter in model.parameters():  # heads start at zero, which would make every image alike
            torch.nn.init.normal_(parameter, std=0.2)
    save_checkpoint(
        folder,
        model.state_dict(),
        architecture=architecture,
        arguments=arguments,
        classes=["ant", "bee", "cat", "dog", "eel"],
        image_size=(16, 16),
        mean=[0.4, 0.5, 0.6],
        std=[0.2, 0.25, 0.3],
        facts={"recipe": "made_for_a_test"},
        weights=weights,
    )
    return folder


@pytest.fixture
def make_checkpoint(tmp_path: Path) -> Callable[..., Path]:
    """Makes a checkpoint folder with random weights: `make_checkpoint("vit", "bfloat16", num_registers=2)`."""
    return lambda architecture="vit", weights="float32", **changes: _save(
        tmp_path / f"{architecture}_{weights}", architecture, weights, **changes
    )


@pytest.fixture
def checkpoint(make_checkpoint: Callable[..., Path]) -> Path:
    return make_checkpoint()


@pytest.fixture
def specimen(checkpoint: Path) -> Specimen:
    return load(f"run:{checkpoint}", device="cpu")


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No server answers and nothing is cached, on a machine with network too."""
    from huggingface_hub import constants

    monkeypatch.setattr(fetching, "answers", lambda url: False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    yield
    assert constants.HF_HUB_OFFLINE is False, "the client is put back online"
