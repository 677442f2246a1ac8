"""Linformer: sums along the sequence, what they start as, and where the sequence ends."""

import pytest
import torch
from tests.oracles import cheaper_attention as oracle

from archaeology.attention import Linformer, MultiHeadAttention, mechanisms, padding
from archaeology.attention.linformer import block_means
from archaeology.attention.mechanism import LayerShape


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def trained(num_tokens: int, rank: int) -> Linformer:
    """With projections as training may leave them."""
    linformer = Linformer(num_tokens=num_tokens, rank=rank).double()
    for seed, parameter in enumerate(linformer.parameters()):
        parameter.data = drawn(*parameter.shape, seed=seed + 10)
    return linformer


def test_attends_to_sums_along_the_sequence_as_the_paper_says():
    query, key, value = drawn(2, 3, 5, 7), drawn(2, 3, 11, 7, seed=1), drawn(2, 3, 11, 2, seed=2)
    linformer = trained(13, 4)
    answer = linformer(query, key, value).detach()
    for b in range(2):
        for h in range(3):
            of_keys, of_values = linformer.of_keys.detach(), linformer.of_values.detach()
            expected = oracle.linformer(query[b, h], key[b, h], value[b, h], of_keys, of_values)
            torch.testing.assert_close(answer[b, h], expected)


def test_starts_as_means_over_blocks_of_neighbours():
    means = block_means(11, 4)
    assert means.shape == (11, 4)
    assert (means > 0).sum(dim=0).tolist() == [3, 3, 3, 2]
    torch.testing.assert_close(means.sum(dim=0), torch.ones(4))
    assert (block_means(7, 5) > 0).sum(dim=0).tolist() == [2, 1, 2, 1, 1]  # none is empty
    assert block_means(3, 3).tolist() == torch.eye(3).tolist()


def test_full_rank_starts_as_softmax_attention():
    query, key, value = drawn(2, 3, 7, 5), drawn(2, 3, 7, 5, seed=1), drawn(2, 3, 7, 2, seed=2)
    linformer = Linformer(num_tokens=7).double()
    torch.testing.assert_close(linformer(query, key, value), mechanisms.get("softmax")()(query, key, value))


def test_rows_of_a_trained_pattern_are_neither_positive_nor_sum_to_one():
    tokens = drawn(1, 1, 11, 5)
    pattern = trained(11, 4).pattern(tokens, tokens).detach()
    assert float(pattern.min()) < 0
    assert float((pattern.sum(dim=-1) - 1).abs().max()) > 0.1
    assert not Linformer.facts.rows_sum_to_one


def test_a_short_sequence_is_a_long_one_whose_rest_is_padding():
    linformer = trained(11, 4)
    query, key, value = drawn(2, 3, 11, 5), drawn(2, 3, 11, 5, seed=1), drawn(2, 3, 11, 2, seed=2)
    valid = (torch.arange(11) < 7).expand(2, 11)
    padded = linformer(query, key, value, mask=padding(valid))
    torch.testing.assert_close(padded, linformer(query, key[:, :, :7], value[:, :, :7]))


def test_longer_sequences_and_missing_lengths_are_refused():
    linformer = Linformer(num_tokens=11, rank=4)
    tokens = torch.zeros(1, 1, 12, 5)
    with pytest.raises(ValueError, match="built for num_tokens=11, but got 12 keys"):
        linformer(tokens, tokens, tokens)
    with pytest.raises(ValueError, match="give the layer num_tokens"):
        Linformer.build(LayerShape(num_heads=2, head_dim=3))
    with pytest.raises(ValueError, match="1 or more, but got num_tokens=11, rank=0"):
        Linformer(num_tokens=11, rank=0)


def test_is_what_the_linformer_package_computes_with_the_same_weights():
    package = pytest.importorskip("linformer")
    torch.manual_seed(0)
    theirs = package.LinformerSelfAttention(12, seq_len=13, k=4, heads=3).double()
    ours = MultiHeadAttention(12, 3, mechanism="linformer", options={"rank": 4}, num_tokens=13).double()
    with torch.no_grad():
        ours.qkv.weight.copy_(torch.cat([theirs.to_q.weight, theirs.to_k.weight, theirs.to_v.weight]))
        ours.qkv.bias.zero_()
        ours.proj.load_state_dict(theirs.to_out.state_dict())
        ours.mechanism.of_keys.copy_(theirs.proj_k)
        ours.mechanism.of_values.copy_(theirs.proj_v)
    for tokens in (13, 7):
        given = drawn(2, tokens, 12)
        torch.testing.assert_close(ours(given), theirs(given))
