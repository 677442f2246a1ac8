"""Models of Hugging Face and ours compute the same once the weights are exchanged, random ones of every type."""

import re

import pytest
import torch

from archaeology.core.errors import UnknownNameError
from archaeology.models.huggingface_weights import from_huggingface, renamed_huggingface
from archaeology.models.registry import build

transformers = pytest.importorskip("transformers")

SIZES = {
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "image_size": 20,
    "patch_size": 5,
    "num_labels": 7,
}
SWIN = {
    "embed_dim": 12,
    "depths": [2, 2],
    "num_heads": [2, 3],
    "window_size": 4,
    "image_size": 32,
    "patch_size": 4,
    "num_labels": 7,
}
DINO = {key: value for key, value in SIZES.items() if key != "intermediate_size"} | {"mlp_ratio": 2}
CASES = {
    "vit": ("ViTForImageClassification", "ViTConfig", SIZES),
    "deit": ("DeiTForImageClassification", "DeiTConfig", SIZES),
    "deit with teacher": ("DeiTForImageClassificationWithTeacher", "DeiTConfig", SIZES),
    "dinov2": ("Dinov2Model", "Dinov2Config", DINO),
    "registers": ("Dinov2WithRegistersModel", "Dinov2WithRegistersConfig", DINO),
    "swin": ("SwinForImageClassification", "SwinConfig", SWIN),
}


def theirs_of(name):
    model, config, sizes = CASES[name]
    torch.manual_seed(3)
    made = getattr(transformers, model)(getattr(transformers, config)(**sizes)).eval()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator) + (parameter.ndim == 1))
    return made


def ours_of(theirs, name, tensors=None):
    architecture, arguments = from_huggingface(
        theirs.config.to_dict(), reads_both=name == "deit with teacher", num_classes=7
    )
    model = build(architecture, arguments)
    renamed = renamed_huggingface(theirs.config.model_type, tensors or theirs.state_dict())
    missing, unexpected = model.load_state_dict(renamed, strict=False)
    assert not unexpected
    assert all(key.startswith("head") for key in missing)
    return model.eval()


def images(model):
    return torch.randn(2, 3, *model.image_size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", [name for name in CASES if "Model" not in CASES[name][0]])
@torch.no_grad()
def test_logits_are_the_same(name):
    theirs = theirs_of(name)
    ours = ours_of(theirs, name)
    torch.testing.assert_close(
        ours(images(ours)), theirs(pixel_values=images(ours)).logits, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("name", ["dinov2", "registers"])
@torch.no_grad()
def test_what_the_head_reads_is_the_same(name):
    theirs = theirs_of(name)
    ours = ours_of(theirs, name)
    read = []
    ours.head.register_forward_pre_hook(lambda module, given: read.append(given[0]))
    ours(images(ours))
    expected = theirs(pixel_values=images(ours)).last_hidden_state[:, 0]
    torch.testing.assert_close(read[0], expected, rtol=1e-4, atol=1e-4)


def old_name(name):
    """As version 4 of transformers calls it."""
    name = re.sub(
        r"\.layers\.(\d+)\.attention\.(q|k|v)_proj", r".encoder.layer.\1.attention.attention.\2", name
    )
    for short, long in (("q", "query"), ("k", "key"), ("v", "value")):
        name = re.sub(rf"attention\.{short}\.", f"attention.{long}.", name)
    name = re.sub(r"\.layers\.(\d+)\.attention\.o_proj", r".encoder.layer.\1.attention.output.dense", name)
    name = re.sub(r"\.layers\.(\d+)\.mlp\.fc1", r".encoder.layer.\1.intermediate.dense", name)
    name = re.sub(r"\.layers\.(\d+)\.mlp\.fc2", r".encoder.layer.\1.output.dense", name)
    return re.sub(r"\.layers\.(\d+)\.", r".encoder.layer.\1.", name)


@torch.no_grad()
def test_names_of_version_four_are_known_too():
    theirs = theirs_of("vit")
    old = {old_name(name): tensor for name, tensor in theirs.state_dict().items()}
    assert "vit.encoder.layer.0.attention.attention.query.weight" in old
    ours = ours_of(theirs, "vit", old)
    torch.testing.assert_close(
        ours(images(ours)), theirs(pixel_values=images(ours)).logits, rtol=1e-4, atol=1e-4
    )


def test_the_weights_given_are_left_alone():
    theirs = theirs_of("deit")
    before = {name: tensor.clone() for name, tensor in theirs.state_dict().items()}
    renamed_huggingface("deit", theirs.state_dict())
    for name, tensor in theirs.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_act": "relu"}, "hidden_act must be 'gelu' .* is 'relu'"),
        ({"use_swiglu_ffn": True}, "gated ones"),
        ({"qkv_bias": False}, "must have a bias"),
        ({"use_absolute_embeddings": True}, "relative positions alone"),
    ],
)
def test_parts_that_ours_lacks_are_named(changes, message):
    config = transformers.ViTConfig(**SIZES).to_dict() | changes
    with pytest.raises(ValueError, match=message):
        from_huggingface(config)


def test_other_types_are_refused():
    with pytest.raises(UnknownNameError, match="did you mean 'dinov2'"):
        from_huggingface({"model_type": "dinov3"})


def test_missing_positions_are_named():
    with pytest.raises(ValueError, match=r"must hold .*position_embeddings"):
        renamed_huggingface("vit", {"vit.embeddings.cls_token": torch.zeros(1, 1, 4)})
