"""Both factorizations of the Sparse Transformer against its sets of positions; no package runs on a CPU."""

import pytest
import torch
from tests.oracles import sparse_attention as oracle

from archaeology.attention import Fixed, Strided, causal, fixed, strided
from archaeology.attention.masks import Spans
from archaeology.attention.mechanism import LayerShape
from archaeology.attention.sparse_transformer import near_root


def tensors(tokens):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, 3, tokens, 5, generator=generator, dtype=torch.float64) for _ in range(3)]


@pytest.mark.parametrize("kernel", ["auto", "blocks"])
@pytest.mark.parametrize("stride", [1, 5, 50])
def test_strided_is_what_the_paper_says(kernel, stride):
    inputs = tensors(37)
    expected = oracle.attention_to(*inputs, lambda b, h, i: oracle.strided(i, stride))
    torch.testing.assert_close(Strided(stride=stride, kernel=kernel)(*inputs, mask=causal()), expected)


@pytest.mark.parametrize("kernel", ["auto", "blocks"])
@pytest.mark.parametrize(("stride", "summary"), [(1, 1), (5, 2), (7, 0), (50, 3)])
def test_fixed_is_what_the_paper_says(kernel, stride, summary):
    inputs = tensors(37)
    expected = oracle.attention_to(*inputs, lambda b, h, i: oracle.fixed(i, stride, summary))
    ours = Fixed(stride=stride, summary=summary, kernel=kernel)(*inputs, mask=causal())
    torch.testing.assert_close(ours, expected)


def test_without_a_causal_mask_both_look_both_ways():
    matrix = strided(4).dense(17, 17)[0, 0]
    assert torch.equal(matrix, matrix.T)
    assert matrix[8].nonzero().flatten().tolist() == [0, *range(4, 13), 16]
    assert fixed(4, 1).dense(17, 17)[0, 0, 5].nonzero().flatten().tolist() == [3, 4, 5, 6, 7, 11, 15]


@pytest.mark.parametrize("mask", [strided(1), strided(6), strided(13), fixed(6, 2), fixed(7, 0), fixed(5, 5)])
@pytest.mark.parametrize(("queries", "keys"), [(1, 1), (4, 3), (16, 8), (3, 16)])
def test_what_is_said_of_blocks_is_true_of_their_pairs(mask, queries, keys):
    matrix = mask.dense(41, 41)[0, 0]
    query, key = Spans.of(41, queries), Spans.of(41, keys)
    known = mask.blocks(query, key)
    for i in range(len(query.first)):
        for j in range(len(key.first)):
            pairs = matrix[query.first[i] : query.last[i] + 1, key.first[j] : key.last[j] + 1]
            assert bool(known.some[i, j]) == bool(pairs.any())
            assert not known.every[i, j] or bool(pairs.all())


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Strided(stride=0), "stride must be 1 or more, but got 0"),
        (lambda: Fixed(stride=0, summary=0), "stride must be 1 or more, but got 0"),
        (
            lambda: Fixed(stride=4, summary=5),
            "summary must be from 0 to the stride, but got summary=5, stride=4",
        ),
    ],
)
def test_sizes_that_make_no_sense_are_refused(make, complaint):
    with pytest.raises(ValueError, match=complaint):
        make()


def test_a_layer_chooses_a_stride_for_its_shape():
    assert [near_root(n) for n in (None, 1, 256, 257, 4096)] == [64, 16, 16, 32, 64]
    grid = Strided.build(LayerShape(2, 7, num_tokens=15, grid=(3, 5)))
    row = grid.structure(15, torch.device("cpu")).dense(15, 15)[0, 0]
    assert bool(row[2, 12]) and not bool(row[2, 11])  # the same column, two rows down
    assert Fixed.build(LayerShape(2, 7, num_tokens=1000)).segments.stride == 32
    assert Strided.build(LayerShape(2, 7, num_tokens=1000), stride=5).near_and_far.right.stride == 5
