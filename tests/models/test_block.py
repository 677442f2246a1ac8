"""Where a block normalises, what scales its branches, and a ViT built of such blocks."""

import pytest
import torch
from torch import nn

from archaeology.attention.build import attention_layer
from archaeology.attention.mechanism import LayerShape
from archaeology.models import ViT
from archaeology.models.block import Block

TOKENS = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("norm", "is_first"), [("pre", True), ("post", False)])
@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_it_is_pytorchs_encoder_layer(norm, is_first, activation):
    torch.manual_seed(0)
    theirs = nn.TransformerEncoderLayer(
        16, 4, 32, dropout=0.0, activation=activation, batch_first=True, norm_first=is_first
    )
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.3)
    block = Block(attention_layer("softmax", LayerShape(4, 4, 5)), 16, 2.0, activation, norm=norm)
    renamed = {
        "attn.qkv.weight": theirs.self_attn.in_proj_weight,
        "attn.qkv.bias": theirs.self_attn.in_proj_bias,
        **{f"attn.proj.{name}": value for name, value in theirs.self_attn.out_proj.named_parameters()},
        **{
            f"{ours}.{name}": value
            for ours, module in (
                ("mlp.0", theirs.linear1),
                ("mlp.2", theirs.linear2),
                ("norm1", theirs.norm1),
                ("norm2", theirs.norm2),
            )
            for name, value in module.named_parameters()
        },
    }
    block.load_state_dict(renamed)
    torch.testing.assert_close(block(TOKENS), theirs(TOKENS), atol=1e-5, rtol=1e-5)


def test_layer_scale_weighs_each_branch():
    torch.manual_seed(0)
    plain = Block(nn.Identity(), 16, 2.0, "gelu")
    scaled = Block(nn.Identity(), 16, 2.0, "gelu", layer_scale=0.1)
    missing, extra = scaled.load_state_dict(plain.state_dict(), strict=False)
    assert (missing, extra) == (["scale1.gamma", "scale2.gamma"], [])
    with torch.no_grad():
        scaled.get_parameter("scale1.gamma")[3] = 2.0
        factor = torch.full((16,), 0.1)
        factor[3] = 2.0
        attended = TOKENS + factor * plain.norm1(TOKENS)
        expected = attended + 0.1 * plain.mlp(plain.norm2(attended))
        torch.testing.assert_close(scaled(TOKENS), expected)


def test_a_vit_takes_every_kind_of_block():
    model = ViT(
        8, 4, embed_dim=16, depth=2, num_heads=2, norm="post", norm_eps=1e-3, layer_scale=0.5, qkv_bias=False,
        activation="silu",
    )  # fmt: skip
    assert not any(block.is_pre for block in model.blocks)
    assert {module.eps for module in model.modules() if isinstance(module, nn.LayerNorm)} == {1e-3}
    names = dict(model.named_parameters())
    assert "blocks.1.scale2.gamma" in names and "blocks.0.attn.qkv.bias" not in names
    nn.init.normal_(model.head.weight)
    model(torch.randn(2, 3, 8, 8)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_without_biases_places_still_go_to_queries_and_keys_only():
    torch.manual_seed(0)
    layer = attention_layer("softmax", LayerShape(4, 4, 5), qkv_bias=False)
    twin = attention_layer("softmax", LayerShape(4, 4, 5))
    twin.load_state_dict({**layer.state_dict(), "qkv.bias": torch.zeros(48)})
    places = torch.randn(5, 16)
    torch.testing.assert_close(layer(TOKENS, places=places), twin(TOKENS, places=places))


def test_impossible_blocks_are_refused():
    with pytest.raises(ValueError, match="norm must be one of pre, post, but got 'both'"):
        ViT(norm="both")
    with pytest.raises(
        ValueError, match="cascaded_group attention brings its own projections, but got qkv_bias=False"
    ):
        ViT(attention="cascaded_group", qkv_bias=False)
