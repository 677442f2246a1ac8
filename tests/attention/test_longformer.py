"""Longformer: the definition in loops, and Hugging Face's layer with one set of projections."""

import pytest
import torch
from tests.oracles import sparse_attention as oracle
from torch import nn

from archaeology.attention import Longformer, MultiHeadAttention, causal, mechanisms, padding
from archaeology.attention.mechanism import LayerShape


def tensors(tokens, dim=5, batch=2, heads=3):
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(batch, heads, tokens, dim, generator=generator, dtype=torch.float64) for _ in range(3)
    ]


@pytest.mark.parametrize("kernel", ["auto", "blocks"])
@pytest.mark.parametrize("tokens", [13, 37])
@pytest.mark.parametrize(("radius", "num_global"), [(0, 1), (3, 2), (5, 0), (2, 50)])
def test_it_is_what_the_paper_says(kernel, tokens, radius, num_global):
    inputs = tensors(tokens)
    expected = oracle.attention_to(*inputs, lambda b, h, i: oracle.longformer(i, tokens, radius, num_global))
    ours = Longformer(radius=radius, num_global=num_global, kernel=kernel)(*inputs)
    torch.testing.assert_close(ours, expected)


def test_causal_global_tokens_are_seen_by_all_after_them():
    inputs = tensors(23)
    expected = oracle.attention_to(
        *inputs, lambda b, h, i: {j for j in oracle.longformer(i, 23, 4, 2) if j <= i}
    )
    ours = Longformer(radius=4, num_global=2, kernel="blocks")(*inputs, mask=causal())
    torch.testing.assert_close(ours, expected)


@pytest.mark.slow  # imports transformers
@pytest.mark.parametrize("is_padded", [False, True])
def test_it_is_hugging_face_s_layer(is_padded):
    longformer = pytest.importorskip("transformers.models.longformer.modeling_longformer")
    config = longformer.LongformerConfig(
        hidden_size=24, num_attention_heads=3, attention_window=[16], attention_probs_dropout_prob=0.0
    )
    theirs = longformer.LongformerSelfAttention(config, 0).double()
    for part in ("query", "key", "value"):
        getattr(theirs, f"{part}_global").load_state_dict(getattr(theirs, part).state_dict())
    options = {"radius": 8, "num_global": 3, "kernel": "blocks"}
    ours = MultiHeadAttention(24, 3, mechanism="longformer", options=options).double()
    ours.proj = nn.Identity()
    parts = [getattr(theirs, part) for part in ("query", "key", "value")]
    ours.qkv.load_state_dict(
        {
            "weight": torch.cat([part.weight for part in parts]),
            "bias": torch.cat([part.bias for part in parts]),
        }
    )
    tokens = torch.randn(2, 64, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    valid = torch.ones(2, 64, dtype=torch.bool)
    if is_padded:
        valid[1, 41:] = False
    is_global = (torch.arange(64) < 3).expand(2, 64)
    codes = is_global * 10_000.0 - ~valid * 10_000.0  # theirs: 0 is local, positive global, negative padding
    answer = theirs(
        tokens,
        attention_mask=codes,
        is_index_masked=~valid,
        is_index_global_attn=is_global,
        is_global_attn=True,
    )[0]
    mine = ours(tokens, mask=padding(valid))
    torch.testing.assert_close(
        mine[valid], answer[valid], atol=1e-6, rtol=1e-5
    )  # theirs softmaxes in float32


def test_tokens_before_the_grid_are_global():
    shape = LayerShape(num_heads=3, head_dim=5, num_prefix=5)
    built = mechanisms.get("longformer").build(shape, radius=2)
    row = built.structure(19, torch.device("cpu")).dense(19, 19)[0, 0, 18]
    assert row.nonzero().flatten().tolist() == [0, 1, 2, 3, 4, 16, 17, 18]
    assert (
        mechanisms.get("longformer")
        .build(shape, num_global=1, radius=2)
        .structure(19, torch.device("cpu"))
        .dense(19, 19)[0, 0, 18]
        .sum()
        == 4
    )


def test_a_negative_count_is_refused():
    with pytest.raises(ValueError, match="count of global tokens must be 0 or more, but got -2"):
        Longformer(num_global=-2)
