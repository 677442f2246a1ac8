"""The self-checks pass where the capture is right and name the layer, or the reason, where it cannot be."""

import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from archaeology.capture import capture, check_capture, checks
from archaeology.core.errors import SelfCheckError
from archaeology.specimens.layout import TokenLayout
from archaeology.specimens.specimen import Specimen


def _exp(query, key, value):
    weights = (query @ key.mT / 2).exp()
    return (weights / weights.sum(-1, keepdim=True)) @ value


def _weighted_sum(query, key, value):
    weights = (query @ key.mT / 2).softmax(-1)
    return (weights.unsqueeze(-1) * value.unsqueeze(-3)).sum(-2)


def _flex(query, key, value):
    from torch.nn.attention.flex_attention import flex_attention

    return flex_attention(query, key, value)


def _nothing(query, key, value):
    return value


def _opaque(graph, inputs):
    """A compiler whose code makes no PyTorch call that Python could see, as inductor's does not."""
    return torch.jit.trace(graph, inputs)


class Vision(nn.Module):
    """A transformer of 16 patches, one layer, attention as told."""

    def __init__(self, attend=F.scaled_dot_product_attention):
        super().__init__()
        torch.manual_seed(0)
        self.patch = nn.Conv2d(3, 8, 4, 4)
        self.block = Block(attend)
        self.head = nn.Linear(8, 5)

    def forward(self, images):
        return self.head(self.block(self.patch(images).flatten(2).mT).mean(1))


class Block(nn.Module):
    def __init__(self, attend):
        super().__init__()
        self.qkv, self.attend = nn.Linear(8, 24), attend

    def forward(self, x):
        parts = self.qkv(x).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        return self.attend(*parts).transpose(1, 2).flatten(2)


def _specimen(model, layout=None):
    return Specimen("toy", model, "transformer", [], (16, 16), layout=layout)


def _images():
    return torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def _matmul(query, key, value):
    return (query @ key.mT).softmax(-1) @ value


def _talking(query, key, value):
    return (1.5 * (query @ key.mT).softmax(-1)) @ value


@pytest.mark.parametrize("attend", [F.scaled_dot_product_attention, _matmul, _talking])
def test_models_that_can_be_seen_pass(attend):
    check_capture(_specimen(Vision(attend).eval(), TokenLayout(4, 4)), _images())


def test_half_precision_passes():
    model = Vision().eval().bfloat16()
    check_capture(Specimen("half", model, "transformer", [], (16, 16)), _images().bfloat16())


@pytest.mark.parametrize(
    ("attend", "message"),
    [
        (
            _exp,
            "No softmax attention was seen in toy: it calls exp, so perhaps its softmax is written by hand",
        ),
        (_weighted_sum, "it calls softmax, but no matmul, bmm or einsum"),
        (_nothing, "it calls none of PyTorch's attention functions and no softmax"),
    ],
)
def test_attention_that_is_not_seen_is_named(attend, message):
    specimen = _specimen(Vision(attend).eval())
    for look in (check_capture, capture):
        with pytest.raises(SelfCheckError, match=message):
            look(specimen, _images())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_flex_attention_is_named_even_beside_seen_layers():
    model = Vision(_flex).eval()
    model.block = nn.Sequential(Block(F.scaled_dot_product_attention), model.block)
    with pytest.raises(SelfCheckError, match="toy calls flex_attention, which shows no pattern"):
        check_capture(_specimen(model), _images())
    model.block = model.block[1]
    with pytest.raises(SelfCheckError, match="toy calls flex_attention, which shows no pattern"):
        capture(_specimen(model), _images())


@pytest.mark.filterwarnings("ignore")
def test_traced_scripted_and_compiled_models_and_parts_are_named():
    hidden = torch.compile(F.scaled_dot_product_attention, backend=_opaque)
    with pytest.raises(SelfCheckError, match=r"it calls a function compiled by torch.compile"):
        check_capture(_specimen(Vision(hidden).eval()), _images())
    traced = torch.jit.trace(Vision().eval(), _images())
    with pytest.raises(
        SelfCheckError, match=r"the model .TopLevelTracedModule. was traced or scripted by torch.jit"
    ):
        check_capture(_specimen(traced), _images())
    compiled = torch.compile(Vision().eval(), backend="eager")
    with pytest.raises(SelfCheckError, match=r"the model .OptimizedModule. was compiled by torch.compile"):
        check_capture(_specimen(compiled), _images())
    parts = Vision().eval()
    parts.block.compile(backend="eager")
    with pytest.raises(SelfCheckError, match=r"block .Block. was compiled"):
        capture(_specimen(parts), _images())
    parts = Vision().eval()
    parts.block = torch.jit.trace(parts.block, torch.randn(2, 16, 8))
    with pytest.raises(SelfCheckError, match=r"block .TopLevelTracedModule. was traced"):
        check_capture(_specimen(parts), _images())


@pytest.mark.parametrize(
    ("layout", "fits"),
    [
        (TokenLayout(4, 4), True),
        (TokenLayout(4, 4, ("class",)), True),  # the class token may join later
        (TokenLayout(4, 3, ("class",)), False),
        (TokenLayout(3, 3, order="windows"), True),
    ],
)
def test_layout_is_compared_with_the_tokens_seen(layout, fits):
    specimen = _specimen(Vision().eval(), layout)
    if fits:
        check_capture(specimen, _images())
    else:
        with pytest.raises(ValueError, match="block has 16 tokens while the layout declares 1 prefix"):
            check_capture(specimen, _images())


def test_a_wrong_pattern_is_caught_and_its_layer_named(monkeypatch):
    from archaeology.capture import fused

    right = fused.probabilities
    specimen = _specimen(Vision().eval())
    monkeypatch.setattr(fused, "probabilities", lambda *given, **more: right(*given, **more).flip(-1))
    with pytest.raises(
        SelfCheckError, match=r"pattern times values of layer 0 \(block\) differ from the model's"
    ):
        check_capture(specimen, _images())
    monkeypatch.setattr(fused, "probabilities", lambda *given, **more: right(*given, **more) * torch.nan)
    with pytest.raises(SelfCheckError, match="differ from the model's own by nan"):
        check_capture(specimen, _images())
    monkeypatch.setattr(fused, "probabilities", lambda *given, **more: 1.01 * right(*given, **more))
    with pytest.raises(SelfCheckError, match=r"rows of the pattern of layer 0 \(block\) sum to 1.01"):
        check_capture(specimen, _images())


def test_a_model_that_answers_differently_each_time_is_caught():
    class Drops(nn.Module):
        def __init__(self):
            super().__init__()
            self.vision, self.dropout = Vision(), nn.Dropout(0.5)

        def forward(self, images):
            return self.dropout(self.vision(images))

    model = Drops().train()
    with pytest.raises(SelfCheckError, match=r"the logits while watching differ .* it is in training mode"):
        check_capture(_specimen(model), _images())
    check_capture(_specimen(model.eval()), _images())


def test_a_profiler_that_was_there_before_comes_back():
    def profiler(frame, event, called):
        return None

    before = sys.getprofile()
    sys.setprofile(profiler)
    try:
        check_capture(_specimen(Vision().eval()), _images())
        assert sys.getprofile() is profiler
    finally:
        sys.setprofile(before)


def test_tolerances_are_tight_enough_to_mean_something():
    assert checks.TOLERANCE <= 1e-4
