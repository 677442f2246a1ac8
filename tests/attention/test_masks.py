"""Masks against the plain sentence that each of them says, pair by pair."""

import inspect
import itertools
import math

import pytest
import torch

from archaeology.attention import band, band_of, causal, global_tokens, padding
from archaeology.attention.masks import Mask, Spans, as_mask

VALID = torch.tensor([[True] * 9 + [False] * 4, [False] * 3 + [True] * 10])
MATRIX = torch.rand(2, 3, 7, 13, generator=torch.Generator().manual_seed(0)) > 0.5

SAYINGS = {
    "causal": (causal(), lambda b, q, k: k <= q),
    "band": (band(2), lambda b, q, k: abs(q - k) <= 2),
    "band_of": (band_of(3, 1), lambda b, q, k: q - 3 <= k <= q + 1),
    "global": (global_tokens(4), lambda b, q, k: q < 4 or k < 4),
    "padding": (padding(VALID), lambda b, q, k: bool(VALID[b, k])),
    "both": (band(4) & causal(), lambda b, q, k: q - 4 <= k <= q),
    "either": (band(1) | global_tokens(2), lambda b, q, k: abs(q - k) <= 1 or min(q, k) < 2),
    "not": (~causal(), lambda b, q, k: k > q),
    "not either": (~(band(1) | global_tokens(2)), lambda b, q, k: abs(q - k) > 1 and min(q, k) >= 2),
    "sentence": (
        (band(2) | global_tokens(1)) & causal() & padding(VALID),
        lambda b, q, k: (abs(q - k) <= 2 or k < 1 or q < 1) and k <= q and bool(VALID[b, k]),
    ),
}
every_saying = pytest.mark.parametrize("name", SAYINGS)


@every_saying
@pytest.mark.parametrize("offset", [0, 6])
def test_dense_matrix_says_what_the_mask_says(name, offset):
    mask, claim = SAYINGS[name]
    dense = mask.dense(7, 13, query_offset=offset, num_examples=2, num_heads=3)
    assert dense.shape == (2 if mask.by_batch else 1, 1, 7, 13)
    for b, q, k in itertools.product(range(len(dense)), range(7), range(13)):
        assert bool(dense[b, 0, q, k]) == claim(b, q + offset, k), (b, q, k)


@every_saying
def test_blocks_never_promise_too_much(name):
    mask, _ = SAYINGS[name]
    dense = mask.dense(13, 13, num_examples=2)
    for size in (1, 3, 4, 13):
        spans = Spans.of(13, size)
        known = mask.blocks(spans, spans)
        for i, j in itertools.product(range(len(spans.first)), repeat=2):
            block = dense[..., i * size : (i + 1) * size, j * size : (j + 1) * size]
            assert bool(known.some[..., i, j]) or not bool(block.any())
            assert not bool(known.every[..., i, j]) or bool(block.all())


@pytest.mark.parametrize("name", ["causal", "band", "band_of", "global", "either", "both"])
def test_blocks_of_plain_masks_are_exact_for_single_tokens(name):
    mask, _ = SAYINGS[name]
    spans = Spans.of(13, 1)
    known = mask.blocks(spans, spans)
    torch.testing.assert_close(known.some, mask.dense(13, 13)[0, 0])
    torch.testing.assert_close(known.every, mask.dense(13, 13)[0, 0])


@every_saying
def test_nobody_looks_farther_than_the_reach(name):
    mask, _ = SAYINGS[name]
    reach = mask.reach()
    for _, _, q, k in mask.dense(13, 13, num_examples=2).nonzero().tolist():
        assert -reach.ahead <= q - k <= reach.back


def test_reach_of_combinations():
    assert (band(4) & causal()).reach().back == 4 and (band(4) & causal()).reach().ahead == 0
    assert (band(4) | band_of(1, 9)).reach().back == 4 and (band(4) | band_of(1, 9)).reach().ahead == 9
    assert (band(4) | global_tokens(1)).reach().back == math.inf
    assert (band(4) & padding(VALID)).reach().back == 4


def test_masks_know_what_they_depend_on():
    assert (band(2) & causal()).by_distance and not (band(2) | global_tokens(1)).by_distance
    assert (causal() & padding(VALID)).by_batch and not causal().by_batch
    mask = as_mask(MATRIX)
    assert isinstance(mask, Mask) and mask.by_head and mask.by_batch


def test_tensors_become_masks_that_follow_the_query_offset():
    mask = as_mask(MATRIX, query_offset=5)
    assert mask is not None and as_mask(None) is None
    torch.testing.assert_close(
        mask.dense(7, 13, query_offset=5, num_examples=2, num_heads=3), MATRIX, rtol=0, atol=0
    )
    two = as_mask(MATRIX[0, 0])
    assert two is not None and not two.by_batch and not two.by_head
    torch.testing.assert_close(two.dense(7, 13), MATRIX[:1, :1])


def test_float_masks_are_refused():
    with pytest.raises(TypeError, match=r"mask must be a boolean tensor.*got torch.float32.*goes into bias"):
        as_mask(torch.zeros(3, 3))
    with pytest.raises(TypeError, match=r"valid must be a boolean tensor.*got torch.int64.*by .bool\(\)"):
        inspect.unwrap(padding)(torch.ones(2, 3, dtype=torch.int64))


def test_masks_of_a_wrong_shape_are_refused():
    with pytest.raises(
        ValueError, match=r"mask must be \(query, key\) or .* got \(2, 3, 3\).*padding\(valid\)"
    ):
        as_mask(torch.ones(2, 3, 3, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"valid must be \(batch, key\), but got \(3,\)"):
        inspect.unwrap(padding)(torch.ones(3, dtype=torch.bool))


def test_impossible_bands_are_refused():
    with pytest.raises(ValueError, match=r"got back=-1, ahead=-1"):
        band(-1)
    with pytest.raises(ValueError, match=r"count of global tokens must be 0 or more, but got -2"):
        global_tokens(-2)
