"""Decoding with a cache is the full pass, chunk by chunk: same answers, right positions, and refusals that say why."""

import pytest
import torch

from archaeology.attention import MultiHeadAttention, band_of, causal, global_tokens
from archaeology.attention.cache import KeyValueCache, SlidingCache, check_pair
from archaeology.attention.mechanism import mechanisms

CHUNKS = {"whole": [23], "one by one": [1] * 23, "uneven": [7, 1, 1, 11, 3], "prompt first": [13] + [1] * 10}


class Turning:
    """Turns two pairs of features by angles of their own and leaves the others: a small Rotary."""

    def rotate(self, heads, positions):
        turned = heads.clone()
        for pair, speed in ((0, 0.7), (3, 0.1)):
            cosine, sine = torch.cos(speed * positions.double()), torch.sin(speed * positions.double())
            left, right = heads[..., pair], heads[..., pair + 1]
            turned[..., pair] = left * cosine - right * sine
            turned[..., pair + 1] = left * sine + right * cosine
        return turned


class Nearness:
    """A bias by distance."""

    by_distance = True

    def scores(self, batch, head, query, key):
        return -0.3 * (query - key).abs() * (head + 1.0) + 0.0 * batch


def layer(**options):
    torch.manual_seed(0)
    return MultiHeadAttention(42, 6, **options).double().eval()


def decoded(attention, tokens, cache, chunks, **given):
    with torch.no_grad():
        parts = [attention(part, cache=cache, **given) for part in tokens.split(chunks, dim=1)]
    return torch.cat(parts, dim=1)


@pytest.mark.parametrize("chunks", CHUNKS.values(), ids=CHUNKS)
@pytest.mark.parametrize("num_key_heads", [6, 3, 1])
@pytest.mark.parametrize("positions", [None, Turning(), Nearness()], ids=["none", "rotary", "bias"])
@pytest.mark.parametrize("capacity", [None, 23])
def test_any_chunks_with_a_cache_are_the_full_pass(chunks, num_key_heads, positions, capacity):
    attention = layer(mask=causal(), num_key_heads=num_key_heads, positions=positions)
    tokens = torch.randn(2, 23, 42, dtype=torch.float64)
    cache = KeyValueCache(capacity=capacity)
    torch.testing.assert_close(
        decoded(attention, tokens, cache, chunks), attention(tokens), atol=1e-12, rtol=1e-12
    )
    assert cache.length == 23


def test_growing_past_the_first_room_keeps_what_was_there():
    attention, tokens = layer(mask=causal()), torch.randn(1, 300, 42, dtype=torch.float64)
    cache = KeyValueCache()
    torch.testing.assert_close(decoded(attention, tokens, cache, [5] * 60), attention(tokens))
    assert cache.num_bytes == 2 * 6 * 512 * 7 * 8  # keys and values, heads, room, features, bytes


@pytest.mark.parametrize("chunks", CHUNKS.values(), ids=CHUNKS)
@pytest.mark.parametrize("back", [0, 1, 4, 30])
@pytest.mark.parametrize("positions", [None, Turning(), Nearness()], ids=["none", "rotary", "bias"])
def test_a_sliding_cache_is_the_full_pass_of_a_banded_layer(chunks, back, positions):
    attention = layer(mask=band_of(back, 0), num_key_heads=2, positions=positions)
    tokens = torch.randn(2, 23, 42, dtype=torch.float64)
    cache = SlidingCache(back + 1)
    torch.testing.assert_close(
        decoded(attention, tokens, cache, chunks), attention(tokens), atol=1e-12, rtol=1e-12
    )
    assert cache.length == 23


def test_a_sliding_cache_stays_small_one_token_at_a_time():
    attention, tokens = layer(mask=band_of(4, 0)), torch.randn(1, 101, 42, dtype=torch.float64)
    sliding, full = SlidingCache(5), KeyValueCache()
    torch.testing.assert_close(
        decoded(attention, tokens, sliding, [1] * 101), decoded(attention, tokens, full, [1] * 101)
    )
    assert sliding.num_bytes == 2 * 6 * 10 * 7 * 8 and full.num_bytes == 2 * 6 * 128 * 7 * 8


def test_masks_of_one_pass_count_from_the_first_token_of_the_cache():
    attention, tokens = layer(mask=causal()), torch.randn(2, 11, 42, dtype=torch.float64)
    full = attention(tokens, mask=~global_tokens(1) | global_tokens(3))
    allowed = torch.ones(11, 11, dtype=torch.bool)
    allowed[6:, 2:5] = False
    cache = KeyValueCache()
    decoded(attention, tokens[:, :6], cache, [6])
    with torch.no_grad():
        rest = attention(tokens[:, 6:], mask=allowed[6:], cache=cache)
    torch.testing.assert_close(rest, attention(tokens, mask=allowed)[:, 6:])
    assert full.shape == rest[:, :1].expand(-1, 11, -1).shape


def test_what_was_cached_is_not_changed_by_what_follows():
    cache = KeyValueCache()
    first = torch.randn(2, 3, 5, 7)
    keys, values, offset = cache.append(first, -first)
    assert offset == 0 and keys.data_ptr() == cache.append(first[:, :, :2], first[:, :, :2])[0].data_ptr()
    torch.testing.assert_close(keys, first)
    torch.testing.assert_close(values, -first)
    first.zero_()
    assert float(keys.abs().min()) > 0


def test_what_does_not_fit_is_refused_and_leaves_the_cache_as_it_was():
    cache, good = KeyValueCache(capacity=7), torch.zeros(2, 3, 5, 7)
    cache.append(good, good)
    with pytest.raises(ValueError, match=r"holds 7 tokens, but got 5 \+ 3; make it larger"):
        cache.append(torch.zeros(2, 3, 3, 7), torch.zeros(2, 3, 3, 7))
    with pytest.raises(ValueError, match=r"of the tokens before, \(2, 3, 7\), but got \(1, 3, 7\)"):
        cache.append(torch.zeros(1, 3, 1, 7), torch.zeros(1, 3, 1, 7))
    with pytest.raises(ValueError, match="the same batch, heads and tokens, but got key"):
        check_pair(torch.zeros(2, 3, 1, 7), torch.zeros(2, 3, 2, 7))
    with pytest.raises(
        TypeError, match=r"value must be torch.float32 on cpu as before, but got torch.float64"
    ):
        cache.append(good[:, :, :1], good[:, :, :1].double())
    with pytest.raises(RuntimeError, match=r"a cache keeps no gradient.*inside torch.no_grad"):
        cache.append(good[:, :, :1], good[:, :, :1].clone().requires_grad_())
    assert cache.length == 5
    cache.append(good[:, :, :2], good[:, :, :2])
    for count in (0, -3):
        with pytest.raises(
            ValueError, match=f"capacity must be 1 or more tokens, or None to grow, but got {count}"
        ):
            KeyValueCache(capacity=count)
        with pytest.raises(ValueError, match=f"window must be 1 or more tokens, but got {count}"):
            SlidingCache(count)


@pytest.mark.parametrize(
    ("options", "given", "message"),
    [
        ({"mask": causal()}, {}, r"looks inf tokens back, but the cache keeps 5 .*=band_of\(4, 0\)"),
        ({}, {}, "looks inf tokens back"),
        ({"mask": band_of(5, 0)}, {}, "looks 5 tokens back, but the cache keeps 5"),
        (
            {"mask": band_of(4, 0) & global_tokens(2)},
            {},
            "distances, not absolute positions, but the layer has Both",
        ),
        ({"mask": band_of(4, 0)}, {"mask": torch.ones(3, 3, dtype=torch.bool)}, "the layer has DenseMask"),
    ],
)
def test_a_sliding_cache_refuses_layers_that_need_more_than_it_keeps(options, given, message):
    attention, cache = layer(**options), SlidingCache(5)
    with torch.no_grad(), pytest.raises(ValueError, match=message):
        attention(torch.randn(1, 3, 42, dtype=torch.float64), cache=cache, **given)
    assert cache.length == 0


def test_a_bias_must_say_that_it_goes_by_distance():
    class Somewhere:
        def scores(self, batch, head, query, key):
            return 0.1 * key + 0.0 * (batch + head + query)

    attention = layer(mask=band_of(4, 0), positions=Somewhere())
    with torch.no_grad(), pytest.raises(ValueError, match="but the layer has Somewhere; use a KeyValueCache"):
        attention(torch.randn(1, 3, 42, dtype=torch.float64), cache=SlidingCache(5))


def test_cross_attention_takes_no_cache():
    attention = MultiHeadAttention(12, 3, context_dim=5)
    with (
        torch.no_grad(),
        pytest.raises(ValueError, match="a cache belongs to self-attention, but got a context"),
    ):
        attention(torch.randn(1, 3, 12), torch.randn(1, 4, 5), cache=KeyValueCache())


@pytest.mark.parametrize("name", mechanisms)
def test_every_mechanism_takes_a_cache_or_refuses_it(name):
    kind = mechanisms.get(name)
    takes = {"cache", "causal"} <= kind.supports
    if takes:
        attention = layer(mask=causal(), mechanism=name, num_tokens=23)
        tokens = torch.randn(2, 23, 42, dtype=torch.float64)
        torch.testing.assert_close(decoded(attention, tokens, KeyValueCache(), [7, 1, 15]), attention(tokens))
    elif "cache" not in kind.supports:
        attention = layer(mechanism=name, num_tokens=6, grid=(2, 3))
        with torch.no_grad(), pytest.raises(ValueError, match=r"asked for.* cache"):
            attention(torch.randn(1, 6, 42, dtype=torch.float64), cache=KeyValueCache())
