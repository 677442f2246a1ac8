from pathlib import Path

import pytest
import torch

from archaeology.core.errors import UnknownNameError
from archaeology.specimens.load import libraries, load, parse


def test_options_are_json_where_they_can_be() -> None:
    spec = "timm:vit_tiny_patch16_224.augreg_in21k?pretrained=false&img_size=[64,96]&global_pool=avg&drop=0.5"

    assert parse(spec) == (
        "timm",
        "vit_tiny_patch16_224.augreg_in21k",
        {"pretrained": False, "img_size": [64, 96], "global_pool": "avg", "drop": 0.5},
    )
    assert parse("hf:org/model") == ("hf", "org/model", {})


def test_every_library_says_what_it_is() -> None:
    assert set(libraries) == {"bundled", "run", "timm", "torchvision", "hf", "open_clip"}
    for name in libraries:
        assert (libraries.get(name).__doc__ or "").strip(), name


def test_names_the_right_prefix_for_a_misspelt_one() -> None:
    with pytest.raises(UnknownNameError, match=r"'tim'; did you mean 'timm'\?"):
        load("tim:vit_base_patch16_224")


def test_names_the_prefix_for_a_name_without_one() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'timm:vit_base_patch16_224'"):
        load("vit_base_patch16_224")
    with pytest.raises(
        UnknownNameError, match=r"'timm:resnet50\?pretrained=false' or 'torchvision:resnet50\?"
    ):
        load("resnet50?pretrained=false")
    with pytest.raises(UnknownNameError, match=r"did you mean 'timm:vit_base_patch16_224.mae'"):
        load("vit_base_patch16_224.mae")


def test_names_the_nearest_for_a_misspelt_name_without_prefix() -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean .*'timm:deit_tiny_patch16_224'"):
        load("diet_tiny_patch16_224")


def test_a_name_like_nothing_gets_the_prefixes() -> None:
    with pytest.raises(UnknownNameError, match=r"got 'qqqq'; Prefixes: .*timm"):
        load("qqqq")


def test_a_folder_gets_its_prefix(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=rf"did you mean 'run:{checkpoint}'"):
        load(str(checkpoint))
    with pytest.raises(UnknownNameError, match=rf"did you mean 'hf:{tmp_path}'"):
        load(str(tmp_path))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("timm:", "has no name after the colon"),
        ("timm:test_vit?pretrained", "must be key=value joined by '&', but got 'pretrained'"),
        ("timm:test_vit?=3", "must be key=value"),
        ("timm:test_vit?pretrained=no", "pretrained must be true or false, but got 'no'"),
        ("timm:test_vit?num_classes=-1", "num_classes must be a whole number >= 0, but got -1"),
        ("timm:test_vit?num_classes=true", "num_classes must be a whole number >= 0, but got True"),
        ("timm:test_vit?seed=x", "seed must be a whole number"),
        ("timm:test_vit?img_size=[1,2,3]", r"img_size must be pixels.*got \[1, 2, 3\]"),
        ("timm:test_vit?img_size=0", "img_size must be pixels"),
        ("timm:test_vit?mean=0.5", "mean must be three numbers.*got 0.5"),
        ("timm:test_vit?file=model.bin", "file must be a .safetensors file, but got 'model.bin'"),
    ],
)
def test_malformed_specs(spec: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(spec)


def test_a_weights_file_must_exist() -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no 'nowhere.safetensors'"):
        load("timm:test_vit?file=nowhere.safetensors")


def test_device_is_checked_first(checkpoint: Path) -> None:
    with pytest.raises(ValueError, match="device must be auto, cpu"):
        load(f"run:{checkpoint}", device="quantum")
    assert load(f"run:{checkpoint}", device="cpu").device == torch.device("cpu")
