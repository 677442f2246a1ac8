import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from archaeology.core.errors import MissingExtraError
from archaeology.specimens.layout import TokenLayout
from archaeology.specimens.load import load
from archaeology.specimens.specimen import Specimen

# Importing transformers takes many seconds; the tests themselves take tenths.
pytestmark = pytest.mark.slow

SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 24,
    "patch_size": 8,
}
WORDS = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "vocab_size": 50,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
PROCESSOR = {
    "image_processor_type": "ViTImageProcessor",
    "size": {"height": 24, "width": 24},
    "image_mean": [0.4, 0.5, 0.6],
    "image_std": [0.2, 0.3, 0.4],
    "do_normalize": True,
}


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """Saves a small model, `make_folder("ViT", "ForImageClassification", num_labels=3)`, with an image processor."""
    import transformers

    def make(family: str, task: str, processor: dict[str, Any] | None = PROCESSOR, **entries: Any) -> Path:
        folder = tmp_path / f"{family}{task}"
        made_of = getattr(transformers, family.removesuffix("ForCLIP") + "Config")
        torch.manual_seed(0)
        getattr(transformers, family + task)(made_of(**entries)).save_pretrained(folder)
        if processor is not None:
            (folder / "preprocessor_config.json").write_text(json.dumps(processor))
        return folder

    return make


@pytest.fixture
def vit(make_folder: Callable[..., Path]) -> Path:
    names = {"id2label": {0: "ant", 1: "bee", 2: "cat"}, "label2id": {"ant": 0, "bee": 1, "cat": 2}}
    return make_folder("ViT", "ForImageClassification", **SIZES, **names)


def loaded(folder: Path, query: str = "") -> Specimen:
    return load(f"hf:{folder}{query}", device="cpu")


def test_a_classifier_from_a_folder(vit: Path) -> None:
    import transformers

    specimen = loaded(vit)

    assert specimen.classes == ("ant", "bee", "cat") and specimen.image_size == (24, 24)
    assert (specimen.mean, specimen.std) == ((0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
    assert specimen.layout == TokenLayout(3, 3, ("class",))
    assert str(specimen.target_layer).endswith(".1.layernorm_before")
    images = torch.rand(2, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    direct = transformers.AutoModelForImageClassification.from_pretrained(vit)(
        specimen.prepare(images)
    ).logits
    torch.testing.assert_close(specimen.predict(images), direct)


FAMILIES = [
    (
        "DeiT",
        "ForImageClassificationWithTeacher",
        SIZES,
        TokenLayout(3, 3, ("class", "distillation")),
        "distillation",
    ),
    ("Beit", "ForImageClassification", SIZES, TokenLayout(3, 3, ("class",), "mean"), None),
    (
        "Dinov2WithRegisters",
        "ForImageClassification",
        SIZES | {"num_register_tokens": 3},
        TokenLayout(3, 3, ("class", "register", "register", "register")),
        "class token and mean",
    ),
    (
        "CLIP",
        "ForImageClassification",
        {"vision_config": SIZES, "text_config": WORDS},
        TokenLayout(3, 3, ("class",), "mean"),
        None,
    ),
    (
        "Swin",
        "ForImageClassification",
        {
            "image_size": 24,
            "patch_size": 2,
            "embed_dim": 8,
            "depths": [1, 1],
            "num_heads": [1, 2],
            "window_size": 3,
        },
        TokenLayout(6, 6, (), "mean", "windows"),
        None,
    ),
    (
        "ResNet",
        "ForImageClassification",
        {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"},
        None,
        None,
    ),
]


@pytest.mark.parametrize(
    ("family", "task", "entries", "layout", "readout"), FAMILIES, ids=lambda v: str(v)[:12]
)
def test_families_of_classifiers(
    make_folder: Callable[..., Path],
    family: str,
    task: str,
    entries: dict[str, Any],
    layout: TokenLayout | None,
    readout: str | None,
) -> None:
    specimen = loaded(make_folder(family, task, **entries))

    assert specimen.layout == layout
    assert specimen.kind == ("convolutional" if layout is None else "transformer")
    assert (readout or "") in str(specimen.facts.get("readout", "")) and (
        "readout" in specimen.facts
    ) == bool(readout)
    assert specimen.predict(torch.zeros(2, 3, 24, 24)).shape == (2, 2) == (2, len(specimen.classes))
    assert specimen.target_layer is not None and specimen.model.get_submodule(specimen.target_layer)


EMBEDDINGS = [
    ("Dinov2", "Model", SIZES | {"image_size": 40}, ("class",)),
    ("DINOv3ViT", "Model", SIZES | {"num_register_tokens": 2}, ("class", "register", "register")),
    ("CLIPVision", "Model", SIZES, ("class",)),
    ("SiglipVision", "Model", SIZES, ()),
    ("CLIP", "Model", {"vision_config": SIZES, "text_config": WORDS}, ("class",)),
]


@pytest.mark.parametrize(("family", "task", "entries", "prefix"), EMBEDDINGS, ids=lambda v: str(v)[:12])
def test_headless_models_give_an_embedding(
    make_folder: Callable[..., Path], family: str, task: str, entries: dict[str, Any], prefix: tuple[str, ...]
) -> None:
    specimen = loaded(make_folder(family, task, **entries))

    assert specimen.classes == () and "pooled embedding" in str(specimen.facts["output"])
    assert specimen.predict(torch.zeros(2, 3, 24, 24)).shape == (2, 16)
    assert specimen.layout == TokenLayout(3, 3, prefix, "class_token" if "class" in prefix else "mean")


def test_an_untrained_pooler_is_not_read(make_folder: Callable[..., Path]) -> None:
    import transformers

    folder = make_folder("ViT", "Model", **SIZES)
    bare = transformers.ViTModel.from_pretrained(folder, add_pooling_layer=False)
    bare.save_pretrained(folder)

    specimen = loaded(folder)

    images = torch.rand(2, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    class_token = bare(specimen.prepare(images)).last_hidden_state[:, 0]
    torch.testing.assert_close(specimen.predict(images), class_token)


def test_other_sizes_are_interpolated_or_refused(vit: Path, make_folder: Callable[..., Path]) -> None:
    assert loaded(vit, "?img_size=[32,40]").layout == TokenLayout(4, 5, ("class",))
    clip = make_folder("CLIP", "ForImageClassification", vision_config=SIZES, text_config=WORDS)
    with pytest.raises(
        ValueError, match=r"cannot take images of 32 x 32 pixels \(.*\); choose the size of its conf"
    ):
        loaded(clip, "?img_size=32")


@pytest.mark.parametrize(
    ("entries", "size", "fraction"),
    [
        (
            {"do_center_crop": True, "crop_size": {"height": 24, "width": 24}, "size": {"shortest_edge": 32}},
            24,
            0.75,
        ),
        ({"size": {"shortest_edge": 24}}, 24, 1.0),
        (
            {
                "image_processor_type": "ConvNextImageProcessor",
                "size": {"shortest_edge": 24},
                "crop_pct": 0.5,
            },
            24,
            0.5,
        ),
    ],
)
def test_crops(make_folder: Callable[..., Path], entries: dict[str, Any], size: int, fraction: float) -> None:
    processor = PROCESSOR | {"image_processor_type": "CLIPImageProcessor", "do_center_crop": False} | entries
    specimen = loaded(make_folder("ViT", "ForImageClassification", processor, **SIZES))

    assert (specimen.image_size, specimen.crop_fraction) == ((size, size), fraction)


def test_normalisation_reproduces_the_processor(make_folder: Callable[..., Path]) -> None:
    import numpy as np
    import transformers

    processor = PROCESSOR | {"rescale_factor": 1 / 127.5}
    folder = make_folder("ViT", "ForImageClassification", processor, **SIZES)
    pixels = torch.randint(
        0, 256, (2, 3, 24, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )

    prepared = loaded(folder).prepare(pixels)

    theirs = transformers.AutoImageProcessor.from_pretrained(folder)
    expected = theirs(
        [np.asarray(image.permute(1, 2, 0)) for image in pixels], return_tensors="pt"
    ).pixel_values
    torch.testing.assert_close(prepared, expected, rtol=1e-4, atol=1e-4)


def test_blue_first_models_are_fed_blue_first(make_folder: Callable[..., Path]) -> None:
    processor = {
        "image_processor_type": "MobileViTImageProcessor",
        "size": {"shortest_edge": 24},
        "do_center_crop": False,
        "do_flip_channel_order": True,
    }
    specimen = loaded(make_folder("ViT", "ForImageClassification", processor, **SIZES))

    images = torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    network: Any = specimen.model.get_submodule("network")
    assert (specimen.mean, specimen.std) == ((0, 0, 0), (1, 1, 1))
    torch.testing.assert_close(specimen.predict(images), network(images.flip(1)).logits)


def test_random_weights_of_a_configuration(vit: Path) -> None:
    (vit / "model.safetensors").unlink()

    specimen = loaded(vit, "?pretrained=false&num_classes=7&num_hidden_layers=1")

    assert specimen.predict(torch.zeros(1, 3, 24, 24)).shape == (1, 7)
    assert (
        specimen.fingerprint()
        == loaded(vit, "?pretrained=false&num_classes=7&num_hidden_layers=1").fingerprint()
    )


def test_normalisation_must_be_known(make_folder: Callable[..., Path]) -> None:
    folder = make_folder("ViT", "ForImageClassification", None, **SIZES)

    with pytest.raises(
        ValueError, match=r"must say how its images were normalised.*save its image processor"
    ):
        loaded(folder)
    assert loaded(folder, "?mean=[0,0,0]&std=[1,1,1]").std == (1.0, 1.0, 1.0)
    assert loaded(folder, "?pretrained=false").facts["preparation"] == "none, weights are random"


def test_size_must_be_known(make_folder: Callable[..., Path]) -> None:
    entries = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
    folder = make_folder("ResNet", "ForImageClassification", None, **entries)

    with pytest.raises(ValueError, match=r"must say which size its images have.*add img_size=224"):
        loaded(folder, "?pretrained=false")
    assert loaded(folder, "?pretrained=false&img_size=40").image_size == (40, 40)


def test_missing_weights_are_named(vit: Path) -> None:
    tensors = load_file(vit / "model.safetensors")
    del tensors["classifier.weight"]
    save_file(tensors, vit / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(
        ValueError, match=r"must have all weights.*its files lack classifier.weight; name a complete"
    ):
        loaded(vit)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("?colour=red", "but ViTConfig has no colour"),
        ("?num_classes=9", "takes num_classes only with pretrained=false"),
        ("?hidden_act=red&pretrained=false", r"cannot be built: .*; change the options after"),
    ],
)
def test_options_that_do_not_fit(vit: Path, query: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        loaded(vit, query)


def test_models_that_we_cannot_lay_out(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"must keep its patches in order.*load 'timm:vit_base_patch16_224.mae'"
    ):
        loaded(make_folder("ViTMAE", "Model", **SIZES))
    published = {
        "architecture": "test_vit",
        "num_classes": 2,
        "model_type": "timm_wrapper",
        "pretrained_cfg": {},
    }
    (tmp_path / "config.json").write_text(json.dumps(published))
    with pytest.raises(ValueError, match=r"is a model of timm; load 'timm:hf-hub:"):
        loaded(tmp_path)
    words = make_folder(
        "Bert",
        "Model",
        vocab_size=50,
        **{k: v for k, v in SIZES.items() if "size" not in k},
        hidden_size=16,
        intermediate_size=32,
    )
    with pytest.raises(ValueError, match=r"must take images, but BertModel takes input_ids"):
        loaded(words)


def test_wrong_folders_and_files(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"takes a folder with config.json and model.safetensors, but .* has"
    ):
        loaded(tmp_path)
    (tmp_path / "weights.safetensors").touch()
    with pytest.raises(ValueError, match=r"takes no file=; name a folder"):
        loaded(tmp_path, f"?file={tmp_path / 'weights.safetensors'}")


def test_the_hub_is_asked_and_named(offline: None) -> None:
    with pytest.raises(
        ConnectionError,
        match=r"hf:nobody/nothing cannot be fetched .*hf download nobody/nothing --local-dir FOLDER",
    ):
        load("hf:nobody/nothing")


def test_missing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(
        MissingExtraError, match=r"Loading hf: models needs the package 'transformers'.*\[hub\]"
    ):
        load("hf:google/vit-base-patch16-224")
