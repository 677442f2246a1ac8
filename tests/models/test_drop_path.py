"""Stochastic depth: the right share, the right mean, and deeper blocks more often, in our models and in timm's."""

import pytest
import timm
import torch
from torch import nn

from archaeology.models import ConvNet, DropPath, ViT, set_drop_path
from archaeology.models.block import Block


def rates(model):
    return [module.rate for module in model.modules() if isinstance(module, DropPath)]


def test_examples_are_dropped_whole_and_the_mean_stays():
    torch.manual_seed(0)
    dropped = DropPath(0.25)(torch.ones(8000, 2, 3))
    values = dropped.unique()
    torch.testing.assert_close(values, torch.tensor([0.0, 4 / 3]))
    assert bool((dropped == dropped[:, :1, :1]).all())
    # Binomial: the share kept has a standard deviation of 0.0048; four of them.
    assert abs(float((dropped[:, 0, 0] > 0).float().mean()) - 0.75) < 0.02


def test_nothing_is_dropped_in_evaluation_or_at_rate_zero():
    branch = torch.randn(4, 2, 3)
    assert DropPath(0.9).eval()(branch) is branch
    assert DropPath()(branch) is branch


def test_half_precision_stays_half_precision():
    assert DropPath(0.5)(torch.ones(4, 2, 3, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_a_block_drops_either_branch_and_passes_the_token_on():
    torch.manual_seed(0)
    block = Block(nn.Identity(), 8, 2.0, "gelu")
    tokens = torch.randn(64, 3, 8)
    block.drop_path.rate = 0.5
    with torch.no_grad():
        after = block(tokens)
        both = after - tokens
        attended = tokens + 2 * block.norm1(tokens)
        expected = [
            tokens,
            attended,
            tokens + 2 * block.mlp(block.norm2(tokens)),
            attended + 2 * block.mlp(block.norm2(attended)),
        ]
    kinds = torch.stack([(after - one).abs().amax(dim=(1, 2)) < 1e-5 for one in expected])
    assert bool((kinds.sum(dim=0) == 1).all()), both
    assert bool((kinds.sum(dim=1) > 4).all()), kinds.sum(dim=1)


def test_rates_grow_with_depth():
    model = ViT(embed_dim=16, depth=5, num_heads=2)
    set_drop_path(model, 0.2)
    assert rates(model) == pytest.approx([0, 0.05, 0.1, 0.15, 0.2])
    set_drop_path(model, 0.0)
    assert rates(model) == [0] * 5


@pytest.mark.parametrize("built_with", [0.0, 0.1])
@pytest.mark.parametrize(
    ("name", "size"),
    [("vit_tiny_patch16_224", {"depth": 4}), ("swin_tiny_patch4_window7_224", {"depths": (1, 1, 2, 1)})],
)
def test_timms_models_get_the_rates_that_timm_itself_would_give(name, size, built_with):
    model = timm.create_model(name, img_size=112, drop_path_rate=built_with, **size)
    set_drop_path(model, 0.3)
    twin = timm.create_model(name, img_size=112, drop_path_rate=0.3, **size)

    def found(model):
        given = {}
        for path, module in model.named_modules():
            rate = getattr(module, "drop_prob", getattr(module, "rate", None))
            if path.rpartition(".")[2].startswith("drop_path") and rate:
                given[path] = rate
        return given

    assert found(model) == pytest.approx(found(twin))
    assert len(found(twin)) >= 6


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match=r"at least 0 and below 1, but got 1\.0"):
        DropPath(1.0)
    with pytest.raises(ValueError, match=r"at least 0 and below 1, but got -0\.1"):
        set_drop_path(ViT(embed_dim=16, depth=1, num_heads=2), -0.1)
    with pytest.raises(ValueError, match="ConvNet has none; use drop_path=0"):
        set_drop_path(ConvNet(), 0.1)
    set_drop_path(ConvNet(), 0.0)
