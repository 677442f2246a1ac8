"""Other image sizes: learned positions and window tables are stretched as timm stretches them."""

from typing import Any

import pytest
import torch
from timm.layers.pos_embed import resample_abs_pos_embed
from timm.layers.pos_embed_rel import resize_rel_pos_bias_table_simple

from archaeology.models import DeiT, Swin, ViT, build
from archaeology.models.resized import resized_positions

SMALL: dict[str, Any] = {"patch_size": 4, "embed_dim": 24, "depth": 2, "num_heads": 3}


def with_noise(model):
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


@pytest.mark.parametrize(("old", "new"), [((12, 20), (24, 16)), ((24, 24), (12, 32)), ((16, 16), (16, 16))])
def test_learned_vectors_are_stretched_as_timm_does(old, new):
    source, target = with_noise(DeiT(old, **SMALL)), DeiT(new, **SMALL)
    tensors = resized_positions(source, target)
    expected = resample_abs_pos_embed(
        source.state_dict()["positions.table"],
        [side // 4 for side in new],
        [side // 4 for side in old],
        num_prefix_tokens=0,
    )
    torch.testing.assert_close(tensors["positions.table"], expected)
    changed = {name for name, tensor in source.state_dict().items() if tensor is not tensors[name]}
    assert {name for name in changed if not torch.equal(tensors[name], source.state_dict()[name])} == (
        {"positions.table"} if old != new else set()
    )
    target.load_state_dict(tensors)
    assert target(torch.randn(1, 3, *new))[0].shape == (1, 10)


@pytest.mark.parametrize("positions", ["sinusoidal", "linear", "none", "rotary", "alibi"])
def test_what_follows_from_the_sizes_is_no_weight(positions):
    source = with_noise(ViT((12, 20), **{**SMALL, "embed_dim": 48}, positions=positions))
    target = ViT((24, 16), **{**SMALL, "embed_dim": 48}, positions=positions)
    tensors = resized_positions(source, target)
    assert all(torch.equal(tensors[name], value) for name, value in source.state_dict().items())
    target.load_state_dict(tensors)
    fresh = ViT((24, 16), **{**SMALL, "embed_dim": 48}, positions=positions)
    if positions == "sinusoidal":
        torch.testing.assert_close(target.positions.features(), fresh.positions.features())


def test_biases_on_a_grid_are_stretched_as_timm_does():
    source, target = (ViT(side, **SMALL, positions="relative_bias") for side in (20, 36))
    tensors = resized_positions(with_noise(source), target)
    for block in range(2):
        key = f"blocks.{block}.attn.positions.table"
        expected = resize_rel_pos_bias_table_simple(source.state_dict()[key].T, (9, 9), (17**2, 3))
        torch.testing.assert_close(tensors[key], expected.T)
    target.load_state_dict(tensors)


@pytest.mark.parametrize(("old", "new", "window"), [(16, 32, 8), (32, 16, 8), (16, 24, 4)])
def test_tables_of_windows_are_stretched_as_timm_does(old, new, window):
    arguments = {"embed_dim": 16, "depths": (2, 1), "num_heads": (2, 4), "window": window}
    source, target = with_noise(build("swin", {"image_size": old, **arguments})), Swin(new, **arguments)
    tensors = resized_positions(source, target)
    for stage, heads in enumerate((2, 4)):
        key = f"stages.{stage}.blocks.0.attn.mechanism.table"
        side = min(window, new // 2 // 2**stage)
        expected = resize_rel_pos_bias_table_simple(
            source.state_dict()[key].T, (side, side), ((2 * side - 1) ** 2, heads)
        )
        torch.testing.assert_close(tensors[key], expected.T)
    target.load_state_dict(tensors)
    assert target(torch.randn(1, 3, new, new)).shape == (1, 10)


def test_models_of_different_kinds_are_refused():
    with pytest.raises(
        ValueError, match="only one of the two has positions; build them with the same arguments"
    ):
        resized_positions(ViT(16, **SMALL, positions="learnable"), ViT(32, **SMALL))
