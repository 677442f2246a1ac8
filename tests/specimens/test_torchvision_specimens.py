from pathlib import Path

import pytest
import torch

from archaeology.capture.checks import check_capture
from archaeology.core.errors import UnknownNameError
from archaeology.specimens.anatomy import kind_of
from archaeology.specimens.layout import TokenLayout
from archaeology.specimens.load import load
from archaeology.specimens.specimen import Specimen


def loaded(text: str) -> Specimen:
    return load(f"torchvision:{text}{'&' if '?' in text else '?'}pretrained=false", device="cpu")


def test_preparation_is_that_of_the_weights_without_having_them() -> None:
    specimen = loaded("mobilenet_v3_small")

    assert (specimen.image_size, specimen.crop_fraction) == ((224, 224), 224 / 256)
    assert specimen.mean == (0.485, 0.456, 0.406) and specimen.std == (0.229, 0.224, 0.225)
    assert len(specimen.classes) == 1000 and specimen.classes[388] == "giant panda"
    assert specimen.facts["weights"] == "random, seed 0" and "tag" not in specimen.facts


def test_other_classes_and_sizes() -> None:
    specimen = loaded("squeezenet1_1?num_classes=3&img_size=[64,96]")

    assert specimen.classes == ("class_0", "class_1", "class_2") and specimen.image_size == (64, 96)
    assert specimen.predict(torch.zeros(2, 3, 64, 96)).shape == (2, 3)


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("resnet18", "layer4"),
        ("squeezenet1_0", "features"),
        ("shufflenet_v2_x0_5", "conv5"),
        ("mnasnet0_5", "layers"),
    ],
)
def test_grad_cam_looks_at_the_last_map(name: str, target: str) -> None:
    specimen = loaded(f"{name}?img_size=64")

    assert (specimen.kind, specimen.layout, specimen.target_layer) == ("convolutional", None, target)


@pytest.mark.slow
def test_transformers() -> None:
    vit = loaded("vit_b_16?img_size=32")
    assert vit.layout == TokenLayout(2, 2, ("class",))
    assert vit.target_layer == "encoder.layers.encoder_layer_11.ln_1"
    check_capture(vit, torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    swin = loaded("swin_t?img_size=[96,64]")
    assert swin.layout == TokenLayout(3, 2, (), "mean", "windows")
    assert swin.target_layer == "features.7.1.norm1" and kind_of(swin.model) == "transformer"


def test_weights_are_asked_for_and_named(offline: None, tmp_path: Path) -> None:
    path = tmp_path / "torch" / "hub" / "checkpoints" / "squeezenet1_1-b8a52dc0.pth"
    with pytest.raises(
        ConnectionError,
        match=rf"weights of torchvision:squeezenet1_1 cannot be fetched .*put it at {path}; random",
    ):
        load("torchvision:squeezenet1_1")


def test_weights_in_the_cache_are_used(
    offline: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    donor = loaded("squeezenet1_1?seed=5")
    path = tmp_path / "torch" / "hub" / "checkpoints" / "squeezenet1_1-b8a52dc0.pth"
    path.parent.mkdir(parents=True)
    torch.save(donor.model.state_dict(), path)

    specimen = load("torchvision:squeezenet1_1", device="cpu")

    assert specimen.fingerprint() == donor.fingerprint()
    assert specimen.facts["tag"] == "IMAGENET1K_V1" and specimen.facts["weights"] == "pretrained"


def test_wrong_names() -> None:
    with pytest.raises(
        UnknownNameError, match=r"No torchvision model is called 'resnet81'; did you mean 'resnet18'"
    ):
        load("torchvision:resnet81")
    with pytest.raises(UnknownNameError, match=r"No weights of torchvision:resnet18 is called 'V3'"):
        load("torchvision:resnet18?weights=V3")


def test_options_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"take square images, but got img_size=\(32, 64\)"):
        load("torchvision:vit_b_16?img_size=[32,64]&pretrained=false")
    with pytest.raises(
        ValueError, match=r"squeezenet1_1\?colour=red&pretrained=false cannot be built: .*'colour'"
    ):
        loaded("squeezenet1_1?colour=red")
    (tmp_path / "weights.safetensors").touch()
    with pytest.raises(ValueError, match=r"takes no file=; put the weights where torch.hub"):
        load(f"torchvision:resnet18?file={tmp_path / 'weights.safetensors'}")
