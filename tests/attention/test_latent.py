"""Latent attention against loops from the paper and Hugging Face's, and decoding from latents against the full pass."""

import math

import pytest
import torch

from archaeology.attention import causal, padding
from archaeology.attention.cache import KeyValueCache
from archaeology.attention.latent import LatentAttention, LatentCache
from archaeology.attention.layers import layers

SIZES = {"head_dim": 7, "value_dim": 5, "latent_dim": 11, "rotary_dim": 2}
CHUNKS = {"whole": [13], "one by one": [1] * 13, "uneven": [5, 1, 7], "prompt first": [9, 1, 1, 1, 1]}


class Turning:
    """Turns two features by 0.7 radians a token."""

    def rotate(self, heads, positions):
        cosine, sine = torch.cos(0.7 * positions.double()), torch.sin(0.7 * positions.double())
        left, right = heads[..., 0], heads[..., 1]
        return torch.stack([left * cosine - right * sine, left * sine + right * cosine], dim=-1).to(
            heads.dtype
        )


def layer(**changes):
    torch.manual_seed(0)
    options = {"mask": causal(), "positions": Turning(), **SIZES, **changes}
    attention = LatentAttention(17, 3, **options).double().eval()
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter)
    return attention


def normalised(vector, weight):
    size = math.sqrt(sum(float(x) ** 2 for x in vector) / len(vector) + 1e-6)
    return vector / size * weight


def turned(pair, position):
    cosine, sine = math.cos(0.7 * position), math.sin(0.7 * position)
    return torch.stack([pair[0] * cosine - pair[1] * sine, pair[0] * sine + pair[1] * cosine])


def looped(attention, tokens):
    """Equations 9 to 19 of the paper, one query, head and key at a time; queries without a latent."""
    head_dim, value_dim, latent_dim = SIZES["head_dim"], SIZES["value_dim"], SIZES["latent_dim"]
    result = torch.zeros_like(tokens)
    for b, sequence in enumerate(tokens):
        down = [attention.down.weight @ token for token in sequence]
        latents = [normalised(vector[:latent_dim], attention.norm.weight) for vector in down]
        keys = [turned(vector[latent_dim:], place) for place, vector in enumerate(down)]
        for t, token in enumerate(sequence):
            answers = []
            for h in range(3):
                query = (attention.query.weight @ token)[h * 9 : h * 9 + 9]
                turning = turned(query[head_dim:], t)
                scores, values = [], []
                for j in range(t + 1):
                    unfolded = (attention.up.weight @ latents[j])[h * 12 : h * 12 + 12]
                    score = float(query[:head_dim] @ unfolded[:head_dim]) + float(turning @ keys[j])
                    scores.append(score / math.sqrt(9))
                    values.append(unfolded[head_dim:])
                weights = [math.exp(score - max(scores)) for score in scores]
                answer = torch.zeros(value_dim).double()
                for weight, value in zip(weights, values, strict=True):
                    answer += weight / sum(weights) * value
                answers.append(answer)
            result[b, t] = attention.proj.weight @ torch.cat(answers)
    return result


def decoded(attention, tokens, cache, chunks, **given):
    with torch.no_grad():
        return torch.cat([attention(part, cache=cache, **given) for part in tokens.split(chunks, 1)], dim=1)


@torch.no_grad()
def test_it_is_what_the_paper_says():
    attention, tokens = layer(), torch.randn(2, 5, 17, dtype=torch.float64)
    torch.testing.assert_close(attention(tokens), looped(attention, tokens), atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("query_latent_dim", [None, 6])
@torch.no_grad()
def test_absorbed_is_unfolded(query_latent_dim):
    attention = layer(query_latent_dim=query_latent_dim)
    query, shared = torch.randn(2, 3, 5, 9).double(), torch.randn(2, 13, 13).double()
    for offset, mask in ((0, None), (8, causal()), (3, causal() & padding(torch.rand(2, 13) > 0.3))):
        torch.testing.assert_close(
            attention.absorbed(query, shared, mask, offset), attention.unfolded(query, shared, mask, offset)
        )


@pytest.mark.parametrize("chunks", CHUNKS.values(), ids=CHUNKS)
@pytest.mark.parametrize("sizes", [{}, {"latent_dim": 31}], ids=["absorbed", "unfolded from 3 on"])
@pytest.mark.parametrize("capacity", [None, 13])
def test_any_chunks_with_a_cache_are_the_full_pass(chunks, sizes, capacity):
    attention, tokens = layer(**sizes), torch.randn(2, 13, 17, dtype=torch.float64)
    cache = LatentCache(capacity=capacity)
    torch.testing.assert_close(decoded(attention, tokens, cache, chunks), attention(tokens))
    assert cache.length == 13


def test_the_cheaper_way_is_taken():
    """Absorbing costs 2 * 11 - 12 more products a query, unfolding 11 * 12 once a key: 13 queries are even."""
    assert [layer().absorbs(count) for count in (1, 13, 14)] == [True, True, False]
    assert layer(latent_dim=3).absorbs(10**6)


def test_long_sequences_pad_the_values_and_nothing_changes(monkeypatch):
    attention, tokens = layer(), torch.randn(2, 13, 17, dtype=torch.float64)
    plain = attention(tokens)
    monkeypatch.setattr("archaeology.attention.latent.LONG", 13)
    torch.testing.assert_close(attention(tokens), plain)
    wide = layer(value_dim=19)
    torch.testing.assert_close(decoded(wide, tokens, LatentCache(), [13]), wide(tokens))


def test_the_cache_holds_one_latent_for_all_heads():
    cache = LatentCache(capacity=13)
    decoded(layer(), torch.randn(2, 13, 17, dtype=torch.float64), cache, [13])
    assert cache.num_bytes == 2 * 13 * (11 + 2) * 8  # keys and values would be 2 * 13 * 3 * (9 + 5) * 8


@torch.no_grad()
def test_pattern_times_values_is_the_answer():
    attention, tokens = layer(), torch.randn(2, 7, 17, dtype=torch.float64)
    valid = torch.tensor([[True] * 7, [True] * 5 + [False] * 2])
    pattern = attention.pattern(tokens, mask=padding(valid))
    latent = attention.norm(attention.down(tokens)[..., :11])
    value = attention.up(latent).unflatten(-1, (3, 12))[..., 7:].transpose(1, 2)
    answer = (pattern @ value).transpose(1, 2).flatten(2)
    torch.testing.assert_close(attention.proj(answer), attention(tokens, mask=padding(valid)))
    rows, heads = torch.tensor([5, 2]), torch.tensor([2])
    few = attention.pattern(tokens, mask=padding(valid), rows=rows, heads=heads)
    torch.testing.assert_close(few, pattern[:, heads][:, :, rows])
    assert float(pattern[1, :, :, 5:].abs().max()) == 0


def test_the_future_and_padding_change_nothing():
    attention, tokens = layer(), torch.randn(2, 7, 17, dtype=torch.float64)
    changed = tokens.clone()
    changed[:, 5:] *= 1000
    assert torch.equal(attention(changed)[:, :5], attention(tokens)[:, :5])
    free, valid = layer(mask=None), torch.tensor([[True] * 7, [True] * 5 + [False] * 2])
    unread = tokens.masked_fill(~valid[:, :, None], float("nan"))
    torch.testing.assert_close(
        free(unread, mask=padding(valid))[valid], free(tokens, mask=padding(valid))[valid]
    )


def test_every_example_alone_is_the_same_and_gradients_are_right():
    attention, tokens = layer(query_latent_dim=6), torch.randn(3, 4, 17, dtype=torch.float64)
    for index in range(3):
        torch.testing.assert_close(attention(tokens[index : index + 1])[0], attention(tokens)[index])
    torch.autograd.gradcheck(attention, tokens[:1].clone().requires_grad_())


def test_sizes_not_given_are_the_papers():
    attention = LatentAttention(48, 3)
    assert (attention.head_dim, attention.value_dim) == (16, 16)
    assert (attention.latent_dim, attention.rotary_dim) == (64, 8)
    assert layers.get("latent") is LatentAttention


def test_what_cannot_be_is_refused():
    with pytest.raises(
        ValueError, match=r"num_heads must divide embed_dim, but got embed_dim=10, num_heads=3"
    ):
        LatentAttention(10, 3)
    with pytest.raises(ValueError, match=r"sizes must be 1 or more, but got .*'latent_dim': 0"):
        LatentAttention(12, 3, latent_dim=0)
    with pytest.raises(ValueError, match=r"sizes must be 1 or more, but got .*query_latent_dim=0"):
        LatentAttention(12, 3, query_latent_dim=0)
    with torch.no_grad(), pytest.raises(TypeError, match=r"LatentCache, not KeyValueCache|Type-check error"):
        layer()(torch.randn(1, 3, 17, dtype=torch.float64), cache=KeyValueCache())
    full = LatentCache(capacity=2)
    with torch.no_grad(), pytest.raises(ValueError, match=r"holds 2 tokens, but got 0 \+ 3"):
        layer()(torch.randn(1, 3, 17, dtype=torch.float64), cache=full)
    with pytest.raises(RuntimeError, match="a cache keeps no gradient, but the latent asks for one"):
        layer()(torch.randn(1, 3, 17, dtype=torch.float64), cache=LatentCache())
