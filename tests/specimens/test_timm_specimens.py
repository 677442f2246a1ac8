from pathlib import Path

import pytest
import torch

from archaeology.core.errors import UnknownNameError
from archaeology.specimens.layout import TokenLayout
from archaeology.specimens.load import load
from archaeology.specimens.specimen import Specimen

REGISTERS = ("class", "register", "register", "register", "register")


def loaded(text: str) -> Specimen:
    return load(f"timm:{text}{'&' if '?' in text else '?'}pretrained=false", device="cpu")


def test_preparation_comes_from_the_published_configuration() -> None:
    vit, resnet = loaded("test_vit"), loaded("resnet18?num_classes=7")

    assert (vit.image_size, vit.mean, vit.crop_fraction) == ((160, 160), (0.5, 0.5, 0.5), 0.95)
    assert resnet.mean == (0.485, 0.456, 0.406) and resnet.std == (0.229, 0.224, 0.225)
    assert resnet.classes == ("class_0", "class_1", "class_2", "class_3", "class_4", "class_5", "class_6")
    assert loaded("test_vit?mean=[0,0,0]").mean == (0.0, 0.0, 0.0)


def test_thousand_classes_are_imagenets() -> None:
    classes = loaded("test_vit").classes

    assert len(set(classes)) == 1000
    assert (classes[0], classes[1], classes[388]) == ("tench", "goldfish", "giant panda")


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("vit_tiny_patch16_224?depth=1", TokenLayout(14, 14, ("class",))),
        ("test_vit?img_size=[64,96]", TokenLayout(4, 6, ("class",))),
        ("test_vit?img_size=64&dynamic_img_size=true", TokenLayout(4, 4, ("class",))),
        ("test_vit?global_pool=avg", TokenLayout(10, 10, ("class",), "mean")),
        ("test_vit?global_pool=avg&class_token=false", TokenLayout(10, 10, (), "mean")),
        ("vit_small_patch14_reg4_dinov2?depth=1&img_size=[28,42]", TokenLayout(2, 3, REGISTERS)),
        ("vit_small_patch16_dinov3?depth=1&img_size=32", TokenLayout(2, 2, REGISTERS, "mean")),
        (
            "deit_tiny_distilled_patch16_224?depth=1&img_size=32",
            TokenLayout(2, 2, ("class", "distillation")),
        ),
        ("beit_base_patch16_224?depth=1&img_size=32", TokenLayout(2, 2, ("class",), "mean")),
        ("cait_xxs24_224?depth=1&img_size=32", TokenLayout(2, 2, (), "mean")),
        (
            "swin_tiny_patch4_window7_224?embed_dim=8&depths=[1,1]&num_heads=[1,2]&img_size=[56,112]",
            TokenLayout(7, 14, (), "mean", "windows"),
        ),
        (
            "samvit_base_patch16_224?depth=1&img_size=256&embed_dim=24",
            TokenLayout(16, 16, (), "mean", "windows"),
        ),
        ("pit_ti_distilled_224", TokenLayout(7, 7, ("class", "distillation"), "class_token", "windows")),
        ("test_resnet", None),
    ],
)
def test_layout(name: str, layout: TokenLayout | None) -> None:
    assert loaded(name).layout == layout


@pytest.mark.parametrize(
    ("name", "kind", "target"),
    [
        ("test_vit", "transformer", "blocks.5.norm1"),
        ("test_resnet", "convolutional", "layer4"),
        ("mobilevit_xxs", "transformer", "final_conv"),
        ("skresnet18", "convolutional", "layer4"),
        ("mixer_s32_224", "other", None),
    ],
)
def test_kind_and_where_grad_cam_looks(name: str, kind: str, target: str | None) -> None:
    specimen = loaded(name)

    assert (specimen.kind, specimen.target_layer) == (kind, target)


def test_unusual_readouts_are_told() -> None:
    assert "joins after" in str(loaded("cait_xxs24_224?depth=1&img_size=32").facts["readout"])
    assert "distillation" in str(
        loaded("deit_tiny_distilled_patch16_224?depth=1&img_size=32").facts["readout"]
    )
    assert "map pooling" in str(loaded("test_vit3").facts["readout"])
    assert "readout" not in loaded("test_vit").facts


def test_no_classifier_gives_an_embedding() -> None:
    specimen = loaded("test_vit?num_classes=0")

    assert specimen.classes == () and "embedding" in str(specimen.facts["output"])
    assert specimen.predict(torch.zeros(1, 3, 160, 160)).shape == (1, 64)


def test_random_weights_have_a_seed_and_touch_no_other() -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()

    first, again, other = loaded("test_vit"), loaded("test_vit"), loaded("test_vit?seed=1")

    assert torch.equal(torch.get_rng_state(), before)
    assert first.fingerprint() == again.fingerprint() != other.fingerprint()
    assert first.facts["weights"] == "random, seed 0" and other.facts["weights"] == "random, seed 1"


def test_weights_from_a_file(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    donor = loaded("test_vit?seed=3")
    path = tmp_path / "model.safetensors"
    save_file(donor.model.state_dict(), path)

    specimen = load(f"timm:test_vit?file={path}", device="cpu")

    assert specimen.fingerprint() == donor.fingerprint()
    assert specimen.facts["weights"] == "file model.safetensors"


def test_pretrained_weights_are_asked_for_and_named(offline: None) -> None:
    with pytest.raises(
        ConnectionError,
        match=r"weights of timm:test_vit cannot be fetched .*hf download timm/test_vit.r160_in1k.*"
        r"'timm:test_vit\?file=PATH/model.safetensors'.*'timm:test_vit\?pretrained=false'",
    ):
        load("timm:test_vit")


def test_wrong_names() -> None:
    with pytest.raises(
        UnknownNameError, match=r"No timm model is called 'vit_bas_patch16_224'; did you mean 'vit_base"
    ):
        load("timm:vit_bas_patch16_224")
    with pytest.raises(UnknownNameError, match=r"There are \d{4}\."):
        load("timm:qqqqqqq")
    with pytest.raises(UnknownNameError, match=r"'test_vit.r160_in21k'; did you mean 'test_vit.r160_in1k'"):
        load("timm:test_vit.r160_in21k")


def test_unpublished_weights() -> None:
    with pytest.raises(
        ValueError, match=r"no pretrained weights for 'vit_base_patch16_gap_224'; load 'timm:"
    ):
        load("timm:vit_base_patch16_gap_224")


@pytest.mark.parametrize("option", ["colour=red", "depth=deep", "num_heads=5"])
def test_options_that_do_not_fit(option: str) -> None:
    with pytest.raises(
        ValueError, match=rf"test_vit\?{option}.* cannot be built: .*; change the options after"
    ):
        loaded(f"test_vit?{option}")
