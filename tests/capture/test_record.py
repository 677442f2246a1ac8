"""A record holds what the model computed, and gradients that finite differences confirm."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from archaeology.capture import PatternEdit, capture, intercepted
from archaeology.core.errors import SelfCheckError, UnknownNameError
from archaeology.specimens.layout import TokenLayout
from archaeology.specimens.specimen import Specimen

BATCH, CLASSES = 3, 5


class Block(nn.Module):
    num_heads = 2

    def __init__(self, tokens=None):
        super().__init__()
        self.qkv = nn.Linear(8, 24)
        self.tokens = tokens

    def forward(self, x):
        query, key, value = self.qkv(x).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        query = query[:, :, : self.tokens]
        output = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        return x[:, : self.tokens] + output


class Vision(nn.Module):
    """A transformer of 9 patches."""

    def __init__(self, *blocks):
        super().__init__()
        torch.manual_seed(0)
        self.patch = nn.Conv2d(3, 8, 4, 4)
        self.blocks = nn.Sequential(*(blocks or (Block(), Block(), Block())))
        self.head = nn.Linear(8, CLASSES)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.7)

    def forward(self, images):
        return self.head(self.blocks(self.patch(images).flatten(2).mT).mean(1))


class Convolutional(nn.Module):
    """Two convolutions whose activations work in place."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.one = nn.Conv2d(3, 6, 3)
        self.two = nn.Conv2d(6, 7, 3)
        self.relu = nn.ReLU(inplace=True)
        self.unused = nn.Linear(2, 2)
        self.head = nn.Linear(7, CLASSES)

    def forward(self, images):
        features = self.relu(self.two(self.relu(self.one(images))))
        return self.head(features.mean((2, 3)))


def _specimen(model, kind="transformer"):
    layout = TokenLayout(3, 3) if kind == "transformer" else None
    return Specimen("toy", model.eval(), kind, [], (12, 12), layout=layout)


def _images():
    return torch.rand(BATCH, 3, 12, 12, generator=torch.Generator().manual_seed(1))


def test_a_record_of_a_transformer_holds_what_it_computed():
    specimen = _specimen(Vision())
    record = capture(specimen, _images(), taps=("blocks.1", "patch"))
    logits = specimen.predict(_images())
    torch.testing.assert_close(record.logits, logits)
    assert torch.equal(record.target, logits.argmax(1))
    assert torch.equal(record.images, _images())
    assert record.layout == TokenLayout(3, 3)
    assert [layer.module for layer in record.attentions] == ["blocks.0", "blocks.1", "blocks.2"]
    assert record.stack().shape == (3, BATCH, 2, 9, 9)
    patches = specimen.model.patch(specimen.prepare(_images()))
    torch.testing.assert_close(record.activations["patch"], patches)
    second = specimen.model.blocks[:2](patches.flatten(2).mT)
    torch.testing.assert_close(record.activations["blocks.1"], second)
    assert not record.gradients
    assert record.attentions[0].pattern_gradient is None
    assert not record.logits.requires_grad


def test_eight_bit_images_are_recorded_in_the_unit_interval():
    pixels = (_images() * 255).to(torch.uint8)
    record = capture(_specimen(Vision()), pixels, patterns=False)
    torch.testing.assert_close(record.images, pixels / 255)
    assert record.attentions == ()


def test_pattern_gradients_agree_with_finite_differences():
    specimen = _specimen(Vision().double())
    images, target = _images().double(), torch.tensor([1, 0, 4])
    record = capture(specimen, images, target=target, gradients=True)
    assert record.stack("pattern_gradient").shape == record.stack().shape
    rows = torch.arange(BATCH)
    for layer, where in [(0, (0, 1, 2, 3)), (1, (2, 0, 8, 1)), (2, (1, 1, 0, 0))]:
        ends = []
        for size in (1e-5, -1e-5):
            pattern = record.attentions[layer].pattern.clone()
            pattern[where] += size
            with intercepted(specimen.model, None, edit=PatternEdit(layer, pattern)):
                ends.append(specimen.predict(images)[rows, target].sum())
        gradient = record.stack("pattern_gradient")[layer][where]
        assert abs(float(gradient)) > 1e-6
        torch.testing.assert_close(gradient, (ends[0] - ends[1]) / 2e-5, atol=1e-8, rtol=1e-4)


def test_activation_gradients_of_a_cnn_agree_with_autograd_through_everything():
    model = Convolutional().double()
    specimen, images = _specimen(model, "convolutional"), _images().double()
    record = capture(specimen, images, taps=("one", "two"), gradients=True)
    assert record.attentions == ()
    kept = {}
    model.relu.inplace = False
    handles = [
        getattr(model, name).register_forward_hook(lambda m, i, o, name=name: kept.__setitem__(name, o))
        for name in ("one", "two")
    ]
    score = specimen.predict(images).gather(1, record.target[:, None]).sum()
    for handle in handles:
        handle.remove()
    expected = torch.autograd.grad(score, [kept["one"], kept["two"]])
    for name, gradient in zip(("one", "two"), expected, strict=True):
        torch.testing.assert_close(record.activations[name], kept[name].detach())
        torch.testing.assert_close(record.gradients[name], gradient)


def test_the_graph_starts_at_the_first_tap():
    seen = {}

    def watch(name):
        return lambda module, given, output: seen.__setitem__(name, output.requires_grad)

    specimen = _specimen(Vision())
    handles = [
        module.register_forward_hook(watch(name))
        for name, module in [*specimen.model.blocks.named_children(), ("patch", specimen.model.patch)]
    ]
    record = capture(specimen, _images(), taps=("blocks.1",), gradients=True)
    for handle in handles:
        handle.remove()
    assert (seen["patch"], seen["0"], seen["2"]) == (False, False, True)
    assert record.gradients["blocks.1"].shape == (BATCH, 9, 8)
    assert [layer.pattern_gradient is None for layer in record.attentions] == [True, True, False]
    with pytest.raises(
        ValueError, match=r"missing for blocks.0, blocks.1: the graph starts at the first tap"
    ):
        record.stack("pattern_gradient")
    whole = capture(specimen, _images(), gradients=True)
    torch.testing.assert_close(record.attentions[2].pattern_gradient, whole.attentions[2].pattern_gradient)


def test_a_tap_on_a_tuple_takes_its_first_tensor():
    class Pair(nn.Module):
        def forward(self, x):
            return 2 * x, "more"

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.pair = Pair()

        def forward(self, images):
            return self.pair(images.mean((2, 3)))[0] ** 2

    record = capture(_specimen(Model(), "other"), _images(), taps=("pair",), gradients=True)
    expected = 2 * record.activations["pair"] * F.one_hot(record.target, 3)
    torch.testing.assert_close(record.gradients["pair"], expected)


def test_gradients_inside_no_grad_and_inference_mode():
    specimen = _specimen(Vision())
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            record = capture(specimen, _images(), gradients=True)
            assert not torch.is_grad_enabled()
        assert float(record.stack("pattern_gradient").abs().max()) > 0
        record.stack().clone().requires_grad_()  # no inference tensor: explanations may differentiate on


def test_layers_of_other_kinds_and_sizes_are_not_stacked():
    pooled = capture(_specimen(Vision(Block(), Block(tokens=1))), _images())
    assert [layer.kind for layer in pooled.attentions] == ["token", "pool"]
    assert pooled.stack().shape == (1, BATCH, 2, 9, 9)
    only = capture(_specimen(Vision(Block(tokens=1))), _images())
    with pytest.raises(ValueError, match="this record has: pool"):
        only.stack()
    with pytest.raises(ValueError, match="this record has: none at all"):
        capture(_specimen(Vision()), _images(), patterns=False).stack()

    class Shrink(nn.Module):
        def forward(self, x):
            return x[:, :4]

    mixed = capture(_specimen(Vision(Block(), Shrink(), Block())), _images())
    with pytest.raises(
        ValueError, match=r"equal size, but got blocks.0 \(3, 2, 9, 9\), blocks.2 \(3, 2, 4, 4\)"
    ):
        mixed.stack()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"taps": ("blocks.11",)},
            UnknownNameError,
            "No module of this model is called 'blocks.11'; did you",
        ),
        ({"taps": ("unused",)}, ValueError, "must run in a forward pass, but unused did not"),
        ({"patterns": False, "gradients": True}, ValueError, "need something to be taken of"),
        (
            {"target": torch.tensor([0, 1])},
            ValueError,
            r"one class in 0..4 for each of 3 images, but got \[0, 1\]",
        ),
        ({"target": torch.tensor([0, 1, 5])}, ValueError, "one class in 0..4"),
    ],
)
def test_wrong_requests_say_what_to_do(options, error, message):
    model = Vision()
    model.unused = nn.Linear(2, 2)
    with pytest.raises(error, match=message):
        capture(_specimen(model), _images(), **options)


class Loose(Specimen):
    """Hands on whatever the model returns, unchecked."""

    def predict(self, images):
        return self.model(self.prepare(images))


def test_models_that_cannot_be_recorded_say_why():
    class Odd(nn.Module):
        def __init__(self, answer):
            super().__init__()
            self.answer = answer
            self.tap = nn.Identity()

        def forward(self, images):
            self.tap(images)
            return self.answer(images)

    class Words(nn.Module):
        def forward(self, images):
            return "words"

    with pytest.raises(ValueError, match=r"must return logits \(batch, classes\), but returned dict"):
        capture(Loose("toy", Odd(lambda images: {}), "other", [], (12, 12)), _images())
    with pytest.raises(ValueError, match=r"but returned \(3, 3, 12\)"):
        capture(Loose("toy", Odd(lambda images: images[..., 0]), "other", [], (12, 12)), _images())
    flat = Odd(lambda images: images.mean((2, 3)))
    with pytest.raises(ValueError, match="gradients need a tap or a pattern that the logits depend on"):
        capture(_specimen(flat, "other"), _images(), taps=("tap",), gradients=True)
    with pytest.raises(ValueError, match="gradients need a tap or a pattern"):
        capture(_specimen(flat, "convolutional"), _images(), gradients=True)
    with pytest.raises(SelfCheckError, match="No softmax attention was seen in toy"):
        capture(_specimen(flat), _images())
    flat.tap = Words()
    with pytest.raises(ValueError, match=r"a tap must be a module that returns a tensor .* tap returns str"):
        capture(_specimen(flat, "other"), _images(), taps=("tap",))


def test_the_gradient_of_the_image_is_that_of_finite_differences():
    specimen = _specimen(Vision().double())
    images, target = 0.1 + 0.8 * _images().double(), torch.tensor([4, 0, 2])  # room for a step each way
    record = capture(specimen, images, target=target, patterns=False, image_gradient=True)
    assert record.image_gradient is not None and not record.gradients and not record.attentions
    direction = torch.randn(images.shape, dtype=images.dtype, generator=torch.Generator().manual_seed(3))
    step = 1e-7  # attention this sharp bends at once
    scores = [
        specimen.predict(images + sign * step * direction).detach().gather(1, target[:, None]).sum()
        for sign in (1, -1)
    ]
    slope = float((scores[0] - scores[1]) / (2 * step))
    assert slope == pytest.approx(float((record.image_gradient * direction).sum()), rel=1e-4)


def test_with_the_image_every_tap_and_pattern_has_its_gradient():
    specimen = _specimen(Vision().double())
    record = capture(specimen, _images(), taps=("blocks.1",), gradients=True, image_gradient=True)
    plain = capture(specimen, _images(), gradients=True)
    torch.testing.assert_close(record.stack("pattern_gradient"), plain.stack("pattern_gradient"))
    late = capture(specimen, _images(), taps=("blocks.1",), patterns=False, gradients=True)
    torch.testing.assert_close(record.gradients["blocks.1"], late.gradients["blocks.1"])
    assert record.image_gradient is not None and float(record.image_gradient.abs().max()) > 0


def test_the_gradient_of_eight_bit_images_is_taken_where_they_are_one():
    specimen = _specimen(Vision())
    eight_bit = (_images() * 255).to(torch.uint8)
    record = capture(specimen, eight_bit, patterns=False, image_gradient=True)
    floats = capture(specimen, eight_bit / 255, patterns=False, image_gradient=True)
    torch.testing.assert_close(record.image_gradient, floats.image_gradient)
    assert not record.images.requires_grad
