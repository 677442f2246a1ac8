import sys
from pathlib import Path

import pytest
import torch

from archaeology.core.errors import MissingExtraError, UnknownNameError
from archaeology.specimens import open_clip as open_clip_specimens
from archaeology.specimens.layout import TokenLayout
from archaeology.specimens.load import load
from archaeology.specimens.open_clip import open_clip_names

# Importing open_clip takes many seconds; the tests themselves take tenths.
pytestmark = pytest.mark.slow

TINY = "open_clip:ViT-S-32-alt"


def test_vision_tower_gives_an_embedding() -> None:
    specimen = load(f"{TINY}?pretrained=false&img_size=[64,96]", device="cpu")

    assert specimen.image_size == (64, 96) and specimen.layout == TokenLayout(2, 3, ("class",))
    assert specimen.target_layer == "transformer.resblocks.11.ln_1" and specimen.kind == "transformer"
    assert specimen.mean == (0.48145466, 0.4578275, 0.40821073)
    assert specimen.classes == () and "embedding" in str(specimen.facts["output"])
    assert specimen.predict(torch.zeros(2, 3, 64, 96)).shape == (2, 256)


def test_tower_of_timm() -> None:
    specimen = load("open_clip:MobileCLIP-S1?pretrained=false", device="cpu")

    assert specimen.target_layer is not None and specimen.target_layer.startswith("trunk.")
    assert specimen.model.get_submodule(specimen.target_layer) is not None


def test_weights_from_a_file(tmp_path: Path) -> None:
    import open_clip
    from safetensors.torch import save_file

    torch.manual_seed(0)
    donor = open_clip.create_model("ViT-S-32-alt", force_image_size=64)
    save_file(donor.state_dict(), tmp_path / "open_clip_model.safetensors")

    specimen = load(f"{TINY}?img_size=64&file={tmp_path / 'open_clip_model.safetensors'}", device="cpu")

    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(specimen.predict(images), donor.eval().encode_image(specimen.prepare(images)))
    assert specimen.facts["weights"] == "file open_clip_model.safetensors"


def test_names_without_importing_are_those_of_the_library() -> None:
    import open_clip

    assert sorted(open_clip_names()) == sorted(open_clip.list_models())


def test_weights_are_asked_for_and_named(offline: None) -> None:
    with pytest.raises(
        ConnectionError,
        match=r"weights of open_clip:ViT-B-32/openai cannot be fetched \(.*does not answer.*"
        r"'open_clip:ViT-B-32\?file=PATH.safetensors'.*pretrained=false'",
    ):
        load("open_clip:ViT-B-32/openai")


def test_wrong_names() -> None:
    with pytest.raises(
        UnknownNameError, match=r"No open_clip model is called 'ViT-B-33'; did you mean 'ViT-B-32'"
    ):
        load("open_clip:ViT-B-33")
    with pytest.raises(
        UnknownNameError, match=r"No weights of open_clip:ViT-B-32 is called 'opnai'; did you mean 'ope"
    ):
        load("open_clip:ViT-B-32/opnai")
    with pytest.raises(
        UnknownNameError, match=r"must name its weights; load 'open_clip:ViT-B-32/openai' \(or "
    ):
        load("open_clip:ViT-B-32")
    with pytest.raises(UnknownNameError, match=r"load a model that has some, or random ones"):
        load(TINY)
    with pytest.raises(UnknownNameError, match="did you mean 'open_clip:ViT-B-32'"):
        load("ViT-B-32")


def test_options_that_do_not_fit() -> None:
    with pytest.raises(
        ValueError, match=r"takes pretrained, img_size, seed and file after '\?', but got depth"
    ):
        load(f"{TINY}?pretrained=false&depth=3")
    with pytest.raises(ValueError, match=r"but got num_classes"):
        load(f"{TINY}?pretrained=false&num_classes=3")


def test_missing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(
        MissingExtraError, match=r"Loading open_clip: models needs the package 'open_clip'.*\[hub\]"
    ):
        load(f"{TINY}?pretrained=false")
    monkeypatch.setattr(open_clip_specimens, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="Listing open_clip: models"):
        open_clip_names()
    with pytest.raises(UnknownNameError, match="did you mean 'timm:resnet50'"):
        load("resnet50")
