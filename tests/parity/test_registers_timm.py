"""Registers are timm's: extra tokens between class token and patches that get no position and are not pooled."""

from functools import partial

import pytest
import torch
from torch import nn

from archaeology.models import ViT

timm = pytest.importorskip("timm")


@torch.no_grad()
def copied(pooling: str, num_registers: int) -> tuple[ViT, nn.Module]:
    """Our model and timm's with the same random weights."""
    torch.manual_seed(0)
    theirs = timm.models.VisionTransformer(
        img_size=(12, 20),
        patch_size=4,
        num_classes=7,
        embed_dim=24,
        depth=2,
        num_heads=3,
        mlp_ratio=2,
        class_token=pooling == "class_token",
        global_pool="token" if pooling == "class_token" else "avg",
        reg_tokens=num_registers,
        no_embed_class=True,
        norm_layer=partial(nn.LayerNorm, eps=1e-5),
    ).eval()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.3)
    ours = ViT(
        (12, 20),
        4,
        7,
        embed_dim=24,
        depth=2,
        num_heads=3,
        positions="learnable",
        pooling=pooling,
        num_registers=num_registers,
    ).eval()
    ours.patch_embed.weight.copy_(theirs.patch_embed.proj.weight.flatten(1))
    ours.patch_embed.bias.copy_(theirs.patch_embed.proj.bias)
    (table,) = [parameter for name, parameter in ours.named_parameters() if name.startswith("positions.")]
    table.copy_(theirs.pos_embed)
    prefix = [theirs.cls_token] * (pooling == "class_token") + [theirs.reg_token] * (num_registers > 0)
    ours.prefix.copy_(torch.cat([*prefix, theirs.pos_embed[:, :0]], dim=1))
    for mine, block in zip(ours.blocks, theirs.blocks, strict=True):
        pairs = [(mine.norm1, block.norm1), (mine.norm2, block.norm2)]
        pairs += [(mine.attn.qkv, block.attn.qkv), (mine.attn.proj, block.attn.proj)]
        pairs += [(mine.mlp[0], block.mlp.fc1), (mine.mlp[2], block.mlp.fc2)]
        for own, other in pairs:
            own.load_state_dict(other.state_dict())
    ours.norm.load_state_dict((theirs.norm if pooling == "class_token" else theirs.fc_norm).state_dict())
    ours.head.load_state_dict(theirs.head.state_dict())
    return ours, theirs


@pytest.mark.parametrize("pooling", ["class_token", "mean"])
@pytest.mark.parametrize("num_registers", [0, 3])
@torch.no_grad()
def test_logits_are_timms(pooling, num_registers):
    ours, theirs = copied(pooling, num_registers)
    images = torch.randn(2, 3, 12, 20)
    torch.testing.assert_close(ours(images), theirs(images), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_registers_have_no_order_and_the_mean_leaves_them_out():
    ours, _ = copied("mean", 3)
    images = torch.randn(2, 3, 12, 20)
    logits = ours(images)
    ours.prefix.copy_(ours.prefix.flip(1))
    torch.testing.assert_close(ours(images), logits, atol=1e-5, rtol=1e-5)
    for block in ours.blocks:  # registers that nobody looks at change nothing
        block.attn.proj.weight.zero_()
    blind = ours(images)
    ours.prefix.mul_(10)
    torch.testing.assert_close(ours(images), blind)
