"""What every specimen promises, whichever library it comes from."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from archaeology.capture.checks import check_capture
from archaeology.capture.interceptor import intercepted
from archaeology.capture.record import capture
from archaeology.models.registry import build
from archaeology.specimens import Specimen, TokenLayout, load, of_module
from archaeology.specimens.bundled import bundled_names
from archaeology.training.checkpoint import save_checkpoint

BATCH = 3
HALF = (0.5, 0.5, 0.5)
ARGUMENTS = {
    "vit": {"image_size": 16, "patch_size": 4, "num_classes": 5, "embed_dim": 16, "depth": 2, "num_heads": 2},
    "convnet": {"image_size": 16, "num_classes": 5, "widths": [8, 8]},
}
TIMM = {
    "vit": "test_vit?img_size=[32,48]",
    "registers": "vit_tiny_patch16_224?img_size=[32,48]&depth=2&reg_tokens=3",
    "distilled": "deit_tiny_distilled_patch16_224?img_size=32&depth=2",
    "late class token": "cait_xxs24_224?img_size=32&depth=2",
    "windows": "swin_tiny_patch4_window7_224?embed_dim=8&depths=[2,2]&num_heads=[1,2]&img_size=[56,112]",
    "cnn": "test_resnet?img_size=64",
}
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def ours(folder: Path, architecture: str) -> Specimen:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build(architecture, ARGUMENTS[architecture])
        for parameter in model.parameters():  # heads start at zero, which would make every image alike
            nn.init.normal_(parameter, std=0.2)
    save_checkpoint(
        folder, model.state_dict(), architecture=architecture, arguments=ARGUMENTS[architecture], classes=list("abcde"),
        image_size=(16, 16), mean=HALF, std=HALF, facts={},
    )  # fmt: skip
    return load(f"run:{folder}", device="cpu")


def of_hugging_face(folder: Path) -> Specimen:
    import transformers

    config = transformers.Dinov2WithRegistersConfig(
        **SMALL, image_size=24, patch_size=8, num_register_tokens=2
    )
    config.architectures = ["Dinov2WithRegistersForImageClassification"]
    config.save_pretrained(folder)
    return load(f"hf:{folder}?pretrained=false&num_classes=7", device="cpu")


def of_mine() -> Specimen:
    model = build("vit", ARGUMENTS["vit"] | {"pooling": "class_token"})
    nn.init.normal_(model.get_parameter("head.weight"), std=0.2)
    layout = TokenLayout(4, 4, ("class",))
    return of_module(model, name="mine", image_size=(16, 16), mean=HALF, std=HALF, layout=layout)


MAKERS: dict[str, Callable[[Path], Specimen]] = {
    "run vit": lambda folder: ours(folder, "vit"),
    "run convnet": lambda folder: ours(folder, "convnet"),
    "module": lambda folder: of_mine(),
    "torchvision": lambda folder: load(
        "torchvision:squeezenet1_1?pretrained=false&img_size=64&num_classes=7", device="cpu"
    ),
    "hf": of_hugging_face,
    "open_clip": lambda folder: load(
        "open_clip:ViT-S-32-alt?pretrained=false&img_size=[64,96]", device="cpu"
    ),
    **{
        f"timm {name}": lambda folder, spec=spec: load(f"timm:{spec}&pretrained=false", device="cpu")
        for name, spec in TIMM.items()
    },
    **{
        f"bundled {name}": lambda folder, name=name: load(f"bundled:{name}", device="cpu")
        for name in bundled_names()
    },
}
SLOW = ("hf", "open_clip")  # their imports are


@pytest.fixture(
    scope="module", params=[pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in MAKERS]
)
def specimen(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Specimen:
    torch.manual_seed(0)
    return MAKERS[request.param](tmp_path_factory.mktemp("specimen") / "model")


@pytest.fixture
def pixels(specimen: Specimen) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (BATCH, 3, *specimen.image_size), dtype=torch.uint8, generator=generator)


def test_one_finite_row_of_logits_for_each_image(specimen: Specimen, pixels: torch.Tensor) -> None:
    with torch.no_grad():
        logits = specimen.predict(pixels)

    assert logits.shape[0] == BATCH and logits.ndim == 2 and logits.dtype == torch.float32
    assert logits.isfinite().all()
    assert len(specimen.classes) in (0, logits.shape[1])
    assert logits.std(dim=0).amax() > 0, "different images give different logits"


def test_bytes_and_floats_agree(specimen: Specimen, pixels: torch.Tensor) -> None:
    with torch.no_grad():
        torch.testing.assert_close(specimen.predict(pixels / 255), specimen.predict(pixels))


def test_each_example_alone_equals_itself_in_the_batch(specimen: Specimen, pixels: torch.Tensor) -> None:
    with torch.no_grad():
        together = specimen.predict(pixels)
        alone = torch.cat([specimen.predict(pixels[i : i + 1]) for i in range(BATCH)])

    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-5)


def test_images_of_any_size_are_taken(specimen: Specimen) -> None:
    with torch.no_grad():
        assert specimen.predict(torch.rand(2, 3, 37, 23)).isfinite().all()


def test_gradients_reach_the_images_and_nothing_else_is_touched(
    specimen: Specimen, pixels: torch.Tensor
) -> None:
    images = (pixels / 255).requires_grad_()
    before, state = specimen.fingerprint(), torch.get_rng_state()

    (gradient,) = torch.autograd.grad(specimen.predict(images).square().sum(), images)

    assert gradient.isfinite().all() and gradient.flatten(1).norm(dim=1).gt(0).all()
    assert specimen.fingerprint() == before and not specimen.model.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in specimen.model.parameters())


def test_layout_is_what_the_layers_show(specimen: Specimen, pixels: torch.Tensor) -> None:
    seen: list[tuple[str, int, int]] = []
    with (
        torch.no_grad(),
        intercepted(specimen.model, lambda event: seen.append((event.kind, *event.shape[2:]))),
    ):
        specimen.predict(pixels)

    assert bool(seen) == (specimen.kind == "transformer") == (specimen.layout is not None)
    if specimen.layout is not None:
        check_capture(specimen, pixels)
        if specimen.layout.order == "flat":
            tokens = specimen.layout.num_tokens
            assert ("token", tokens, tokens) in seen, "not only late or odd layers"


def test_target_layer_has_a_place_for_every_patch(specimen: Specimen, pixels: torch.Tensor) -> None:
    assert specimen.target_layer is not None
    activation = capture(specimen, pixels, taps=(specimen.target_layer,), patterns=False).activations[
        specimen.target_layer
    ]

    assert activation.shape[0] == BATCH
    if specimen.layout is not None and activation.ndim == 3:
        assert activation.shape[1] == specimen.layout.num_tokens
    else:
        assert activation.ndim == 4 and min(activation.shape[1:]) > 0


def test_description_survives_json(specimen: Specimen) -> None:
    told = json.loads(json.dumps(specimen.describe(), allow_nan=False))

    assert told["kind"] == specimen.kind and tuple(told["image_size"]) == specimen.image_size
    assert told["num_parameters"] > 0 and len(told["fingerprint"]) == 64
    assert told["facts"]


@pytest.mark.parametrize("name", [name for name in MAKERS if name not in (*SLOW, "module")])
def test_loading_twice_gives_the_same_model(name: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    first = MAKERS[name](tmp_path / "model").fingerprint()
    torch.manual_seed(2)

    assert MAKERS[name](tmp_path / "model").fingerprint() == first
