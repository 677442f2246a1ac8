"""Attention against loops written from the paper, and the choice of kernel that must not change the result."""

import math

import pytest
import torch

from archaeology.attention import GridPositions, MultiHeadAttention, attend
from archaeology.attention.positions import coordinates, places, sinusoidal


def looped_attention(query, key, value):
    result = torch.zeros(*query.shape[:-1], value.shape[-1], dtype=torch.float64)
    batch, heads, queries, dim = query.shape
    for b in range(batch):
        for h in range(heads):
            for q in range(queries):
                scores = [float(query[b, h, q] @ k) / math.sqrt(dim) for k in key[b, h]]
                weights = [math.exp(score - max(scores)) for score in scores]
                for weight, v in zip(weights, value[b, h], strict=True):
                    result[b, h, q] += weight / sum(weights) * v
    return result


def test_attend_is_what_the_paper_says():
    query, key = torch.randn(2, 3, 5, 7, dtype=torch.float64), torch.randn(2, 3, 11, 7, dtype=torch.float64)
    value = torch.randn(2, 3, 11, 13, dtype=torch.float64)
    torch.testing.assert_close(attend(query, key, value), looped_attention(query, key, value))


def test_kernel_of_bf16_training_agrees_with_the_fused_one_and_has_its_gradient():
    tensors = [torch.randn(2, 3, 5, 7, dtype=torch.bfloat16) for _ in range(3)]
    fused = attend(*tensors)
    trained = [tensor.clone().requires_grad_() for tensor in tensors]
    result = attend(*trained)
    torch.testing.assert_close(result, fused, atol=2e-2, rtol=2e-2)
    result.sum().backward()
    exact = [tensor.double().requires_grad_() for tensor in tensors]
    attend(*exact).sum().backward()
    for ours, reference in zip(trained, exact, strict=True):
        torch.testing.assert_close(ours.grad.double(), reference.grad, atol=5e-2, rtol=5e-2)


def test_multi_head_attention_is_torch_s_own():
    ours = MultiHeadAttention(embed_dim=12, num_heads=3)
    theirs = torch.nn.MultiheadAttention(12, 3, batch_first=True)
    theirs.load_state_dict(
        {
            "in_proj_weight": ours.qkv.weight,
            "in_proj_bias": ours.qkv.bias,
            "out_proj.weight": ours.proj.weight,
            "out_proj.bias": ours.proj.bias,
        }
    )
    tokens = torch.randn(2, 5, 12)
    torch.testing.assert_close(ours(tokens), theirs(tokens, tokens, tokens)[0])


def test_wrong_head_split_is_refused():
    with pytest.raises(
        ValueError, match=r"num_heads must divide embed_dim, but got embed_dim=10, num_heads=3"
    ):
        MultiHeadAttention(10, 3)


def test_sinusoidal_positions_are_different_everywhere_and_depend_on_differences_only():
    table = sinusoidal(places((5, 7)), 24).double()
    distance = torch.cdist(table, table) + torch.eye(35) * 9
    assert float(distance.min()) > 0.1
    gram = (table @ table.T).reshape(5, 7, 5, 7)
    torch.testing.assert_close(gram[0, 0, 1, 2], gram[3, 4, 4, 6], atol=1e-5, rtol=0)


def test_sinusoidal_first_feature_is_the_sine_of_the_row():
    table = sinusoidal(places((3, 4)), 8).reshape(3, 4, 8)
    torch.testing.assert_close(table[:, 0, 0], torch.sin(torch.arange(3.0)))
    torch.testing.assert_close(table[0, :, 4], torch.sin(torch.arange(4.0)))


def test_coordinates_run_from_minus_one_to_one():
    grid = coordinates((3, 5))
    assert grid.shape == (15, 2)
    assert grid[0].tolist() == [-1, -1] and grid[-1].tolist() == [1, 1]
    assert coordinates((1, 2))[0].tolist() == [0, -1]


@pytest.mark.parametrize("kind", ["none", "linear", "learnable", "sinusoidal"])
def test_positions_add_the_same_to_every_image_and_learn_where_they_should(kind):
    positions = GridPositions(kind, 3, 5, 8)
    patches = torch.randn(2, 15, 8)
    added = positions(patches) - patches
    torch.testing.assert_close(added[0], added[1])
    assert (float(added.detach().abs().max()) > 0) == (kind != "none")
    assert bool(list(positions.parameters())) == (kind in ("linear", "learnable"))


def test_unknown_positions_and_odd_dimensions_are_refused():
    with pytest.raises(ValueError, match=r"positions must be one of none, linear.*but got 'rotary'"):
        GridPositions("rotary", 2, 2, 8)
    with pytest.raises(ValueError, match="embed_dim that 4 divides, but got embed_dim=6"):
        GridPositions("sinusoidal", 2, 2, 6)
