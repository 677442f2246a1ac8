"""Whole layers and MLPs taken out, against whole passes with hooks, on models of several makes; MLPs told apart."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.ablate import planted
from tests.ablate import small_models as small
from torch import nn

from archaeology.ablate import LayerAblation, ablate_layers
from archaeology.ablate.stand_ins import drawn_others
from archaeology.capture.edit import HeadEdit
from archaeology.capture.feed_forward import feed_forwards
from archaeology.capture.interceptor import intercepted
from archaeology.capture.outputs import OutputEdit, outputs_edited, outputs_kept
from archaeology.capture.suffix import units_of

MAKES = {
    "timm, class token": (small.timm_vit, [f"blocks.{layer}.mlp" for layer in range(3)]),
    "torchvision": (small.torchvision_vit, [f"encoder.layers.encoder_layer_{n}.mlp" for n in range(2)]),
    "swin": (small.swin, ["layers.0.blocks.0.mlp", "layers.0.blocks.1.mlp", "layers.1.blocks.0.mlp"]),
}


def labels(count):
    return torch.arange(count) % small.CLASSES


def module_output(model, path, given):
    kept = []
    handle = model.get_submodule(path).register_forward_hook(
        lambda module, inputs, output: kept.append(output)
    )
    model(given)
    handle.remove()
    return kept[0]


def loss_without_mlp(model, path, given, truth, instead):
    """Image by image, whole passes, the MLP's output overwritten by a hook."""
    losses = []
    for i in range(len(given)):
        handle = model.get_submodule(path).register_forward_hook(
            lambda module, inputs, output, i=i: instead[i : i + 1].expand_as(output)
        )
        losses.append(float(F.cross_entropy(model(given[i : i + 1]), truth[i : i + 1])))
        handle.remove()
    return losses


@pytest.mark.parametrize("replacement", ["zero", "mean", "another"])
@pytest.mark.parametrize("make", MAKES)
@torch.no_grad()
def test_every_mlp_equals_whole_passes_with_a_hook(make, replacement):
    build, paths = MAKES[make]
    specimen = build()
    images, truth = small.images(4, *specimen.image_size), labels(4)
    given = specimen.prepare(images)
    result = ablate_layers(specimen, images, truth, replacement=replacement, seed=2, batch_size=3)
    assert [modules[1] for modules in result.modules] == paths
    for layer, path in enumerate(paths):
        output = module_output(specimen.model, path, given)
        instead = {
            "zero": torch.zeros_like(output),
            "mean": output.mean(0, keepdim=True).expand_as(output),
            "another": output[drawn_others(4, 2)],
        }[replacement]
        expected = loss_without_mlp(specimen.model, path, given, truth, instead)
        np.testing.assert_allclose(result.ablated_loss[:, layer, 1], expected, rtol=5e-4, atol=5e-4)
    effects = np.abs(result.ablated_loss - result.loss[:, None, None])
    assert effects.max(axis=(0, 1)).min() > 1e-2
    assert not any(module._forward_hooks for module in specimen.model.modules())


@pytest.mark.parametrize("make", MAKES)
@torch.no_grad()
def test_every_attention_layer_equals_a_whole_pass_without_its_heads(make):
    specimen = MAKES[make][0]()
    images, truth = small.images(4, *specimen.image_size), labels(4)
    result = ablate_layers(specimen, images, truth, replacement="zero", with_mlps=False)
    assert result.ablated_loss.shape[2] == 1
    given = specimen.prepare(images)
    sizes = []
    with intercepted(specimen.model, lambda attention: sizes.append(attention.shape[1])):
        specimen.model(given)
    for layer, heads in enumerate(sizes):
        everyone = torch.ones(4, heads, dtype=torch.bool)
        with intercepted(specimen.model, None, edit=HeadEdit(layer, everyone)):
            expected = F.cross_entropy(specimen.model(given), truth, reduction="none")
        np.testing.assert_allclose(result.ablated_loss[:, layer, 0], expected, rtol=5e-4, atol=5e-4)


def test_planted_layers_are_found():
    images, truth = planted.examples(40)
    result = ablate_layers(planted.specimen(), images, truth, replacement="zero")
    table = {(row["layer"], row["part"]): row for row in result.table()}
    assert {place: row["verdict"] for place, row in table.items()} == {
        (0, "attention"): "needed",  # a little: it helps with green
        (0, "mlp"): "not shown to matter",
        (1, "attention"): "needed",
        (1, "mlp"): "needed",
    }
    assert table[0, "mlp"]["ablation_loss"] == 0 and table[0, "mlp"]["p"] == 1
    assert table[1, "mlp"]["ablation_accuracy"] == 0.5
    back = LayerAblation.from_arrays(result.arrays())
    assert back.table() == result.table()


class _Split(nn.Module):
    """A block as some of Hugging Face's: the MLP's two linear layers are modules of their own."""

    def __init__(self, hidden=20):
        super().__init__()
        self.attend = small._Attending()
        self.proj, self.intermediate = nn.Linear(15, 15), nn.Linear(15, hidden)
        self.output = nn.Linear(hidden, 15)

    def forward(self, tokens):
        tokens = tokens + self.proj(self.attend(tokens))
        return tokens + self.output(F.gelu(self.intermediate(tokens)))


class _Twice(_Split):
    """Two MLPs after one attention."""

    def __init__(self):
        super().__init__()
        self.one, self.other = (nn.Sequential(nn.Linear(15, 4), nn.Linear(4, 15)) for _ in range(2))

    def forward(self, tokens):
        tokens = self.attend(tokens)
        return self.one(tokens) + self.other(tokens)


class _Model(nn.Module):
    def __init__(self, *blocks):
        super().__init__()
        self.patches = nn.Conv2d(3, 15, 3, 3)
        self.blocks = nn.Sequential(*blocks)
        self.classify = nn.Linear(15, small.CLASSES)

    def forward(self, pixels):
        return self.classify(self.blocks(self.patches(pixels).flatten(2).mT).mean(1))


def test_an_mlp_in_two_modules_is_told_apart_by_its_widths():
    specimen = small.specimen(_Model(_Split(), _Split()))
    result = ablate_layers(specimen, small.images(3), labels(3), replacement="zero")
    assert [modules[1] for modules in result.modules] == ["blocks.0.output", "blocks.1.output"]


def test_mlps_that_cannot_be_told_apart_are_named_and_can_be_given():
    specimen = small.specimen(_Model(_Split(), _Twice()))
    with pytest.raises(
        ValueError, match=r"module of blocks.1 is its MLP: .*blocks.1.one, blocks.1.other; name"
    ):
        ablate_layers(specimen, small.images(3), labels(3))
    chosen = ("blocks.0.output", "blocks.1.other")
    assert ablate_layers(specimen, small.images(3), labels(3), mlps=chosen).modules[1][1] == chosen[1]
    with pytest.raises(ValueError, match=r"one module for each of the 2 blocks, but got 1 paths"):
        ablate_layers(specimen, small.images(3), labels(3), mlps=chosen[:1])
    with pytest.raises(ValueError, match=r"'blocks.7' is no module of the model"):
        ablate_layers(specimen, small.images(3), labels(3), mlps=("blocks.0", "blocks.7"))
    narrow = small.specimen(_Model(_Split(15), _Split(15)))
    with pytest.raises(ValueError, match=r"candidates after its attention are blocks.0.proj, blocks.0.inter"):
        ablate_layers(narrow, small.images(3), labels(3))
    with pytest.raises(
        ValueError, match=r"has no such blocks; ablate its heads or its attention layers only"
    ):
        ablate_layers(small.specimen(small.Looped()), small.images(3), labels(3))


HUGGING_FACE = {
    "ViTConfig": "mlp",
    "DeiTConfig": "mlp",
    "Dinov2Config": "mlp",
    "SwinConfig": "",
    "BeitConfig": "",
}


@pytest.mark.parametrize("name", HUGGING_FACE)
def test_mlps_of_hugging_face_are_told_apart(name):
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 48}
    if name == "SwinConfig":
        sizes = {"embed_dim": 12, "depths": (1, 1), "num_heads": (2, 3), "window_size": 2, "mlp_ratio": 2}
    config = getattr(transformers, name)(image_size=16, patch_size=4, **sizes)
    model = transformers.AutoModel.from_config(config).eval()
    run = lambda: model(torch.rand(2, 3, 16, 16))  # noqa: E731
    with torch.no_grad():
        paths = feed_forwards(model, units_of(model, run))
    assert len(paths) == 2
    for layer, path in enumerate(paths):
        module = model.get_submodule(path)
        with torch.no_grad(), outputs_kept(model, [path]) as kept:
            run()
        assert kept[path].shape[0] == 2 and kept[path].ndim == 3
        assert not isinstance(module, nn.Linear) or module.in_features > module.out_features, (layer, path)


def test_errors_of_outputs_say_what_to_do():
    model, given = nn.Sequential(nn.Linear(4, 5)), torch.randn(3, 2, 4)
    for chosen, replacement, message in [
        (
            torch.ones(2, dtype=torch.bool),
            None,
            r"0 must return .* with \(2,\) examples .* returned \(3, 2, 5\)",
        ),
        (torch.ones(3, 7, dtype=torch.bool), None, r"with \(3, 7\) examples"),
        (
            torch.ones(3, dtype=torch.bool),
            torch.ones(1, 9, 5),
            r"what 0 returns .* \(2, 5\) each, but got \(1, 9, 5\)",
        ),
        (torch.ones(3, dtype=torch.bool), torch.ones(2, 2, 5), r"but got \(2, 2, 5\)"),
    ]:
        with (
            pytest.raises(ValueError, match=message),
            outputs_edited(model, [OutputEdit("0", chosen, replacement)]),
        ):
            model(given)
        assert not model[0]._forward_hooks

    class Odd(nn.Module):
        def forward(self, tokens):
            return SimpleNamespace(tokens=tokens)

    odd = nn.Sequential(Odd())
    with pytest.raises(
        ValueError, match=r"0 must return a tensor .* but returned SimpleNamespace; name another"
    ):
        with outputs_kept(odd, ["0"]):
            odd(given)


def test_tokens_of_some_examples_are_replaced_also_in_a_tuple():
    class Pair(nn.Module):
        def forward(self, tokens):
            return tokens, "more"

    model, given = nn.Sequential(Pair()), torch.randn(4, 3, 5)
    chosen = torch.rand(4, 3) < 0.5
    instead = torch.randn(2, 3, 5)
    with outputs_edited(model, [OutputEdit("0", chosen, instead)]):
        output, more = model(given)
    assert more == "more"
    for example in range(4):
        for token in range(3):
            expected = instead[example % 2, token] if chosen[example, token] else given[example, token]
            assert torch.equal(output[example, token], expected)
