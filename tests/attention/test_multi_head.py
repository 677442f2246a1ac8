"""The layer around the mechanisms, against PyTorch's own: self, cross, grouped, masked, with places."""

import pytest
import torch
from torch import nn

from archaeology.attention import MultiHeadAttention, band, causal, padding

BATCH, TOKENS, KEYS, WIDTH, HEADS = 2, 7, 11, 12, 3


def torch_s_own(ours: MultiHeadAttention, context_dim: int = WIDTH) -> nn.MultiheadAttention:
    theirs = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True, kdim=context_dim, vdim=context_dim)
    state = {"out_proj.weight": ours.proj.weight, "out_proj.bias": ours.proj.bias}
    if hasattr(ours, "qkv"):
        state |= {"in_proj_weight": ours.qkv.weight, "in_proj_bias": ours.qkv.bias}
    else:
        weights = (ours.q.weight, *ours.kv.weight.chunk(2))
        state["in_proj_bias"] = torch.cat([ours.q.bias, ours.kv.bias])
        if context_dim == WIDTH:
            state["in_proj_weight"] = torch.cat(weights)
        else:
            state |= dict(zip(("q_proj_weight", "k_proj_weight", "v_proj_weight"), weights, strict=True))
    theirs.load_state_dict(state)
    return theirs.eval()


def tokens(length: int = TOKENS, width: int = WIDTH) -> torch.Tensor:
    return torch.randn(BATCH, length, width, generator=torch.Generator().manual_seed(length))


def test_self_attention_is_torch_s_own_with_every_mask():
    ours = MultiHeadAttention(WIDTH, HEADS)
    theirs = torch_s_own(ours)
    x = tokens()
    valid = torch.ones(BATCH, TOKENS, dtype=torch.bool)
    valid[0, 4:] = False
    dense = torch.rand(TOKENS, TOKENS) > 0.3
    dense.fill_diagonal_(True)
    blocked = torch.ones(TOKENS, TOKENS, dtype=torch.bool).triu(1)  # True is *must not* over there
    for mask, given in (
        (None, {}),
        (causal(), {"attn_mask": blocked}),
        (padding(valid), {"key_padding_mask": ~valid}),
        (dense, {"attn_mask": ~dense}),
        (causal() & padding(valid), {"attn_mask": blocked, "key_padding_mask": ~valid}),
    ):
        expected, pattern = theirs(x, x, x, average_attn_weights=False, **given)
        torch.testing.assert_close(ours(x, mask=mask), expected)
        torch.testing.assert_close(ours.pattern(x, mask=mask), pattern)


@pytest.mark.parametrize("context_dim", [WIDTH, 5])
def test_cross_attention_is_torch_s_own(context_dim):
    ours = MultiHeadAttention(WIDTH, HEADS, context_dim=context_dim)
    theirs = torch_s_own(ours, context_dim)
    x, context = tokens(), tokens(KEYS, context_dim)
    expected, pattern = theirs(x, context, context, average_attn_weights=False)
    torch.testing.assert_close(ours(x, context), expected)
    torch.testing.assert_close(ours.pattern(x, context), pattern)


def test_places_are_added_to_queries_and_keys_only():
    ours = MultiHeadAttention(WIDTH, HEADS)
    x, places = tokens(), torch.randn(TOKENS, WIDTH)
    expected, pattern = torch_s_own(ours)(x + places, x + places, x, average_attn_weights=False)
    torch.testing.assert_close(ours(x, places=places), expected)
    torch.testing.assert_close(ours.pattern(x, places=places), pattern)


def test_shared_keys_are_keys_repeated():
    torch.manual_seed(0)
    grouped = MultiHeadAttention(WIDTH, 6, num_key_heads=2)
    plain = MultiHeadAttention(WIDTH, 6)
    query, key, value = (part.unflatten(0, (-1, 2)) for part in grouped.qkv.weight.split((12, 4, 4)))
    biases = [part.unflatten(0, (-1, 2)) for part in grouped.qkv.bias.split((12, 4, 4))]
    with torch.no_grad():
        repeated = [query, key.repeat_interleave(3, 0), value.repeat_interleave(3, 0)]
        plain.qkv.weight.copy_(torch.cat([part.flatten(0, 1) for part in repeated]))
        spread = [biases[0], *(bias.repeat_interleave(3, 0) for bias in biases[1:])]
        plain.qkv.bias.copy_(torch.cat([part.flatten() for part in spread]))
    plain.proj = grouped.proj
    for mask in (None, causal(), band(2)):
        torch.testing.assert_close(grouped(tokens(), mask=mask), plain(tokens(), mask=mask))


def test_asking_for_the_pattern_changes_nothing():
    ours = MultiHeadAttention(WIDTH, HEADS, mask=causal()).eval()
    x = tokens()
    before = ours(x)
    rows, heads = torch.tensor([6, 0]), torch.tensor([1])
    part = ours.pattern(x, rows=rows, heads=heads)
    torch.testing.assert_close(part, ours.pattern(x)[:, heads][:, :, rows])
    assert torch.equal(ours(x), before)


def test_own_mask_and_that_of_the_pass_both_hold():
    ours = MultiHeadAttention(WIDTH, HEADS, mask=band(1))
    x = tokens()
    torch.testing.assert_close(
        ours(x, mask=causal()), MultiHeadAttention.forward(_without_mask(ours), x, mask=band(1) & causal())
    )


def _without_mask(layer: MultiHeadAttention) -> MultiHeadAttention:
    bare = MultiHeadAttention(WIDTH, HEADS)
    bare.load_state_dict(layer.state_dict())
    return bare


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"num_heads": 5}, "num_heads must divide embed_dim, but got embed_dim=12, num_heads=5"),
        ({"num_heads": 0}, "num_heads must divide embed_dim"),
        ({"num_heads": 6, "num_key_heads": 4}, "num_key_heads must divide num_heads, but got num_heads=6"),
        (
            {"num_heads": 3, "mechanism": "softmaxx"},
            "No attention mechanism is called 'softmaxx'; did you mean",
        ),
        (
            {"num_heads": 3, "options": {"radius": 3}},
            r"softmax attention cannot be built with \{'radius': 3\}",
        ),
    ],
)
def test_impossible_layers_are_refused(arguments, complaint):
    with pytest.raises(ValueError, match=complaint):
        MultiHeadAttention(WIDTH, **arguments)


def test_a_context_must_be_expected():
    with pytest.raises(ValueError, match=r"expects no context.*got context \(2, 11, 12\)"):
        MultiHeadAttention(WIDTH, HEADS)(tokens(), tokens(KEYS))
    with pytest.raises(ValueError, match=r"expects a context.*got context None"):
        MultiHeadAttention(WIDTH, HEADS, context_dim=WIDTH)(tokens())
    with pytest.raises(ValueError, match="places belong to self-attention"):
        MultiHeadAttention(WIDTH, HEADS, context_dim=WIDTH)(tokens(), tokens(KEYS), places=tokens())


@pytest.mark.parametrize("positions", ["rotary", "alibi", "relative_bias"])
def test_positions_by_name_tell_places_apart(positions):
    torch.manual_seed(0)
    layer = MultiHeadAttention(WIDTH, HEADS, positions=positions, num_tokens=TOKENS).eval()
    for parameter in layer.positions.parameters() if isinstance(layer.positions, nn.Module) else ():
        nn.init.normal_(parameter)
    order = torch.tensor([3, 0, 6, 1, 5, 2, 4])
    assert not torch.allclose(layer(tokens()[:, order]), layer(tokens())[:, order], atol=1e-3)


@pytest.mark.parametrize("kind", ["full", "sliding"])
def test_caches_by_name_go_on_as_the_whole_would(kind):
    layer = MultiHeadAttention(WIDTH, HEADS, mask=band(2) & causal(), positions="rotary").eval()
    whole = layer(tokens())
    with torch.no_grad():
        cache = layer.new_cache(kind, 3 if kind == "sliding" else None)
        steps = [layer(tokens()[:, place : place + 1], cache=cache) for place in range(TOKENS)]
    torch.testing.assert_close(torch.cat(steps, dim=1), whole)


def test_unknown_names_are_refused():
    with pytest.raises(
        ValueError, match=r"must be one of rotary, alibi, relative_bias, but got 'sinusoidal'"
    ):
        MultiHeadAttention(WIDTH, HEADS, positions="sinusoidal")
    with pytest.raises(ValueError, match="No position scheme is called 'rotery'; did you mean 'rotary'"):
        MultiHeadAttention(WIDTH, HEADS, positions="rotery")
    with pytest.raises(ValueError, match="No kind of cache is called 'slide'; did you mean 'sliding'"):
        MultiHeadAttention(WIDTH, HEADS).new_cache("slide")
    with pytest.raises(ValueError, match="a sliding cache needs a size"):
        MultiHeadAttention(WIDTH, HEADS).new_cache("sliding")
    with pytest.raises(ValueError, match="was asked for cache"):
        MultiHeadAttention(WIDTH, HEADS, mechanism="reformer").new_cache()
