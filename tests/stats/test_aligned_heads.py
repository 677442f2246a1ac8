"""Every layer of a model is aligned with the evidence of its world, however the samples are cut."""

import pytest
import torch
from torch import nn

from archaeology.capture.attention import Attention
from archaeology.capture.interceptor import intercepted
from archaeology.data.worlds.membership import token_membership
from archaeology.data.worlds.shapes1d import Shapes1D
from archaeology.data.worlds.shapes2d import Shapes2D
from archaeology.models.attention1d import Attention1D
from archaeology.models.encoder_decoder import EncoderDecoder
from archaeology.stats.aligned_heads import align_heads
from archaeology.stats.alignment import group_alignment


def test_signals_are_aligned_layer_by_layer() -> None:
    torch.manual_seed(0)
    model = Attention1D(embed_dim=24, num_heads=3, depth=2).train()
    batch = Shapes1D().generate(0, 5)
    found = align_heads(model, batch, model.patch_size, batch_size=2)
    assert model.training
    assert [(layer.module, layer.kind) for layer in found] == [
        ("blocks.0.attn", "token"),
        ("blocks.1.attn", "token"),
    ]
    members = token_membership(batch.owner, batch.kind.shape[1], 4)
    patterns: list[torch.Tensor] = []

    def keep(attention: Attention) -> None:
        patterns.append(attention.pattern())

    with intercepted(model.eval(), keep), torch.no_grad():
        model(batch.input)
    for layer, pattern in zip(found, patterns, strict=True):
        whole = group_alignment(pattern, members, members, batch.evidence)
        torch.testing.assert_close(layer.alignment.others.part, whole.others.part, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(layer.alignment.all.whole, whole.all.whole)


def test_self_and_cross_attention_are_told_apart() -> None:
    torch.manual_seed(0)
    model = EncoderDecoder(image_size=64, embed_dim=16, encoder_depth=1, decoder_depth=1, num_heads=2)
    batch = Shapes2D(size=64, num_shapes=(3, 4)).generate(0, 4)
    found = align_heads(model, batch, 16)
    assert [layer.kind for layer in found] == ["token", "token", "cross"]
    for layer in found:
        values = layer.alignment.all.value
        assert values.shape == (2,) and bool((values > 0.3).all()) and bool((values < 3).all())  # near chance
        assert layer.alignment.all.part.shape == (4, 2)
    with pytest.raises(ValueError, match="every attention must be among the 64 patches"):
        align_heads(model, batch, 8)


def test_a_model_without_attention_is_refused() -> None:
    with pytest.raises(ValueError, match="must have attention to look at, but Identity showed none"):
        align_heads(nn.Identity(), Shapes1D().generate(0, 2), 4)
