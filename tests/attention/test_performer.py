"""FAVOR+: its mean is the softmax kernel, its sums are the definition, and its past does not know the future."""

import math
import warnings

import pytest
import torch
from tests.oracles import cheaper_attention as oracle

from archaeology.attention import Performer, causal, mechanisms, padding
from archaeology.attention.mechanism import LayerShape
from archaeology.attention.performer import log_features, orthogonal_directions


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def of_double_directions(dim: int, num_features: int) -> Performer:
    torch.manual_seed(0)
    return Performer(head_dim=dim, num_features=num_features).double()


@pytest.fixture(scope="module")
def package():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("performer_pytorch.performer_pytorch")


def test_weights_are_estimates_of_the_softmax_kernel_for_given_directions():
    query, key, value = drawn(2, 3, 7, 5), drawn(2, 3, 7, 5, seed=1), drawn(2, 3, 7, 2, seed=2)
    performer = of_double_directions(5, 11)
    weight = oracle.random_weight(performer.directions)
    everything, past = performer(query, key, value), performer(query, key, value, mask=causal())
    for b, h in ((0, 0), (1, 2)):
        parts = (query[b, h], key[b, h], value[b, h], weight)
        torch.testing.assert_close(everything[b, h], oracle.feature_attention(*parts, lambda i, j: True))
        torch.testing.assert_close(past[b, h], oracle.feature_attention(*parts, lambda i, j: j <= i))


def blocks_of_directions(dim: int, count: int) -> torch.Tensor:
    """Independent square blocks; drawn in one call, which makes every block anew."""
    generator = torch.Generator().manual_seed(3)
    return orthogonal_directions(dim * count, dim, generator).double().view(count, dim, dim)


def estimates(query: torch.Tensor, key: torch.Tensor, blocks: torch.Tensor) -> torch.Tensor:
    """Of `exp(q . k / sqrt(dim))` for one query and one key, from each block."""
    logarithms = log_features(query, blocks.flatten(0, 1)) + log_features(key, blocks.flatten(0, 1))
    return logarithms.exp().view(len(blocks), -1).mean(dim=1)


def test_mean_of_the_estimates_is_the_softmax_kernel():
    blocks = blocks_of_directions(4, 20_000)
    for query, key in zip(drawn(7, 4) * 0.7, drawn(7, 4, seed=1) * 0.7, strict=True):
        found, exact = estimates(query, key, blocks), math.exp(float(query @ key) / 2)
        error = float(found.std()) / math.sqrt(len(found))
        assert abs(float(found.mean()) - exact) < 4 * error < 0.1 * exact


def test_orthogonal_directions_estimate_better_than_independent_ones():
    query, key = drawn(8) * 0.5, drawn(8, seed=1) * 0.5
    orthogonal = estimates(query, key, blocks_of_directions(8, 5000)).var()
    assert float(orthogonal) < 0.8 * float(estimates(query, key, drawn(5000, 8, 8, seed=4)).var())


def test_directions_are_orthogonal_in_blocks_with_gaussian_lengths_and_turned_without_preference():
    blocks = blocks_of_directions(5, 5000)
    gram = blocks @ blocks.mT
    torch.testing.assert_close(gram, gram * torch.eye(5), atol=1e-5, rtol=0)
    assert float((blocks[0] @ blocks[1].mT).abs().min()) > 1e-4  # blocks are independent
    squares = blocks.square().sum(dim=-1)  # chi-squared with 5 degrees of freedom
    assert abs(float(squares.mean()) - 5) < 0.1 and abs(float(squares.var()) - 10) < 0.7
    # QR as it comes prefers a negative diagonal; a random rotation has none on average.
    traces = (blocks / blocks.norm(dim=-1, keepdim=True)).diagonal(dim1=1, dim2=2).sum(dim=1)
    assert abs(float(traces.mean())) < 4 / math.sqrt(len(traces))


def test_redrawing_takes_a_generator_and_changes_the_answer():
    performer = of_double_directions(5, 11)
    tokens = drawn(1, 2, 7, 5)
    before = performer(tokens, tokens, tokens)
    state = torch.get_rng_state()
    performer.redraw(torch.Generator().manual_seed(1))
    assert torch.equal(torch.get_rng_state(), state)
    after = performer(tokens, tokens, tokens)
    assert float((before - after).abs().max()) > 1e-3
    performer.redraw(torch.Generator().manual_seed(1))
    assert torch.equal(performer(tokens, tokens, tokens), after)


def test_more_features_come_nearer_to_softmax_attention():
    query, key, value = (drawn(1, 2, 31, 8, seed=seed) * 0.5 for seed in range(3))
    exact = mechanisms.get("softmax")()(query, key, value)
    errors = [
        float((of_double_directions(8, m)(query, key, value) - exact).norm() / exact.norm())
        for m in (8, 4096)
    ]
    assert errors[1] < 0.1 * errors[0]


@pytest.mark.parametrize(("of_query", "of_key"), [(1, 1), (1, 30), (30, 1)])
def test_features_stay_in_range_in_float32_for_long_queries_or_long_keys(of_query, of_key):
    torch.manual_seed(0)
    performer = Performer(head_dim=16, num_features=64)
    query, key, value = (
        of_query * drawn(1, 1, 150, 16).float(),
        of_key * drawn(1, 1, 150, 16, seed=1).float(),
        torch.ones(1, 1, 150, 2),
    )
    for mask in (None, causal()):
        answer = performer(query, key, value, mask=mask)
        torch.testing.assert_close(answer, torch.ones_like(answer))  # neither empty rows nor NaN


def test_padding_in_front_of_a_causal_sequence_is_as_if_it_were_not_there():
    performer = of_double_directions(5, 13)
    query, key, value = (drawn(1, 2, 11, 5, seed=seed) for seed in range(3))
    valid = torch.arange(11)[None] >= 4
    padded = performer(query, key, value, mask=causal() & padding(valid))
    alone = performer(query[:, :, 4:], key[:, :, 4:], value[:, :, 4:], mask=causal())
    torch.testing.assert_close(padded[:, :, 4:], alone)
    assert torch.equal(padded[:, :, :4], torch.zeros(1, 2, 4, 5, dtype=torch.float64))


def test_build_knows_the_head_and_wrong_sizes_are_refused():
    performer = Performer.build(LayerShape(num_heads=2, head_dim=32))
    assert performer.directions.shape == (int(32 * math.log(32)), 32)
    with pytest.raises(
        ValueError, match="num_features must be 1 or more, but got head_dim=4, num_features=0"
    ):
        Performer(head_dim=4, num_features=0)
    tokens = torch.zeros(1, 1, 3, 8)
    with pytest.raises(ValueError, match="built for heads of 32 features, but got 8"):
        performer(tokens, tokens, tokens)


def test_without_a_mask_it_is_what_performer_pytorch_computes(package):
    query, key, value = drawn(2, 3, 17, 8), drawn(2, 3, 17, 8, seed=1), drawn(2, 3, 17, 8, seed=2)
    performer = of_double_directions(8, 19)
    features = [
        package.softmax_kernel(part, projection_matrix=performer.directions, is_query=is_query, eps=0.0)
        for part, is_query in ((query, True), (key, False))
    ]
    theirs = package.linear_attention(*features, value)  # with eps = 0; their default pulls towards the mean
    torch.testing.assert_close(performer(query, key, value), theirs)


def test_causal_performer_pytorch_leaks_the_future_and_ours_does_not(package, capsys):
    query, key, value = drawn(1, 2, 19, 8), drawn(1, 2, 19, 8, seed=1), drawn(1, 2, 19, 8, seed=2)
    performer = of_double_directions(8, 19)
    theirs = package.FastAttention(8, 19, causal=True)
    capsys.readouterr()  # it prints that it lacks its CUDA code
    theirs.projection_matrix.copy_(performer.directions)
    later = key.clone()
    later[:, :, 10:] *= 3
    leak = [
        float((attend(query, later, value) - attend(query, key, value))[:, :, :10].abs().max())
        for attend in (theirs, lambda *given: performer(*given, mask=causal()))
    ]
    assert leak[0] > 0.01 and leak[1] == 0
