"""Probabilities recomputed from queries, keys and mask equal loops written from the definition."""

from math import exp, sqrt

import pytest
import torch
import torch.nn.functional as F

from archaeology.capture.contraction import Hints
from archaeology.capture.fused import fused_call, probabilities

BATCH, HEAD, QUERY, KEY, DIM = 2, 3, 5, 7, 4


def _loops(query, key, allowed, added, scale):
    """softmax over keys, number by number."""
    result = torch.zeros(*query.shape[:-1], key.shape[-2], dtype=torch.float64)
    for b in range(query.shape[0]):
        for h in range(query.shape[1]):
            for i in range(query.shape[2]):
                weights = [
                    exp(scale * float(query[b, h, i] @ key[b, h, j]) + float(added[b, h, i, j]))
                    if allowed[b, h, i, j]
                    else 0.0
                    for j in range(key.shape[2])
                ]
                for j, weight in enumerate(weights):
                    result[b, h, i, j] = weight / sum(weights) if sum(weights) else 0.0
    return result


def _inputs():
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(BATCH, HEAD, QUERY, DIM, dtype=torch.float64, generator=generator)
    key = torch.randn(BATCH, HEAD, KEY, DIM, dtype=torch.float64, generator=generator)
    value = torch.randn(BATCH, HEAD, KEY, 6, dtype=torch.float64, generator=generator)
    return query, key, value, generator


@pytest.mark.parametrize("case", ["plain", "causal", "boolean", "float", "one row", "scale", "blind"])
def test_probabilities_equal_loops_and_give_the_fused_output(case):
    query, key, value, generator = _inputs()
    shape = (BATCH, HEAD, QUERY, KEY)
    allowed, added = torch.ones(shape, dtype=torch.bool), torch.zeros(shape, dtype=torch.float64)
    mask, is_causal, scale = None, False, 1 / sqrt(DIM)
    if case == "causal":
        is_causal = True
        for i in range(QUERY):
            allowed[:, :, i, i + 1 :] = False
    elif case in ("boolean", "blind"):
        mask = allowed = torch.rand(shape, generator=generator) > 0.3
        if case == "blind":
            mask[0, 1, 2] = False
    elif case == "float":
        mask = added = torch.randn(shape, dtype=torch.float64, generator=generator)
    elif case == "one row":
        mask = torch.randn(BATCH, 1, 1, KEY, dtype=torch.float64, generator=generator)
        added = mask.expand(shape)
    elif case == "scale":
        scale = 0.37
    ours = probabilities(query, key, mask=mask, is_causal=is_causal, scale=scale)
    torch.testing.assert_close(ours, _loops(query, key, allowed, added, scale))
    fused = F.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, is_causal=is_causal, scale=scale
    )
    torch.testing.assert_close(ours @ value, fused)
    rows = torch.tensor([3, 0])
    some = probabilities(query, key, mask=mask, is_causal=is_causal, scale=scale, rows=rows)
    torch.testing.assert_close(some, ours[:, :, rows])
    one = probabilities(query, key, mask=mask, is_causal=is_causal, scale=scale, rows=slice(2, 3))
    torch.testing.assert_close(one, ours[:, :, 2:3])


def test_grouped_queries_share_keys_and_values():
    query, key, value, _ = _inputs()
    query = torch.cat([query, query + 1], dim=1)

    def run():
        return F.scaled_dot_product_attention(query, key, value, enable_gqa=True)

    call = fused_call(run, (query, key, value), {"enable_gqa": True}, Hints(BATCH))
    assert call.axes.shape == (BATCH, 2 * HEAD, QUERY, KEY)
    torch.testing.assert_close(call.pattern() @ call.value(), run())
    torch.testing.assert_close(call.with_pattern(call.pattern()), run())


def test_half_precision_is_computed_in_float32():
    query, key, value, _ = _inputs()
    query, key, value = query.bfloat16(), key.bfloat16(), value.bfloat16()
    call = fused_call(lambda: value, (query, key, value), {}, Hints(BATCH))
    pattern = call.pattern()
    assert pattern.dtype == torch.float32
    exact = probabilities(query.double(), key.double(), mask=None, is_causal=False, scale=0.5)
    torch.testing.assert_close(pattern.double(), exact, atol=1e-6, rtol=0)
    assert call.with_pattern(pattern).dtype == torch.bfloat16


def test_dropout_of_the_fused_call_happens_when_materialised():
    query, key, _, _ = _inputs()
    value = torch.eye(KEY, dtype=torch.float64).expand(BATCH, HEAD, KEY, KEY)
    call = fused_call(lambda: value, (query, key, value), {"dropout_p": 0.5}, Hints(BATCH))
    torch.manual_seed(0)
    dropped = call.with_pattern(call.pattern())
    zeros = dropped == 0
    assert 0.3 < float(zeros.double().mean()) < 0.7
    torch.testing.assert_close(dropped[~zeros], 2 * call.pattern()[~zeros])
