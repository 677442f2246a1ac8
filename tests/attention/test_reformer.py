"""Hashing: where tokens sit, whom they see there, and what published code does otherwise."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from tests.oracles import cheaper_attention as oracle

from archaeology.attention import MultiHeadAttention, Reformer, causal
from archaeology.attention.mechanism import LayerShape
from archaeology.attention.reformer import attend_within_buckets, buckets_of
from archaeology.attention.seating import by_bucket, side_by_side


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def some_buckets(*shape: int, count: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(count, shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def package():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("reformer_pytorch.reformer_pytorch")


@pytest.mark.parametrize(("tokens", "size"), [(23, 4), (24, 4), (5, 7), (4, 4), (2, 1), (1, 1)])
@pytest.mark.parametrize("rounds", [1, 3])
def test_answer_is_one_softmax_over_all_whom_the_rounds_bring_near(tokens, size, rounds):
    shared, value = drawn(2, 1, tokens, 5), drawn(2, 1, tokens, 2, seed=1)
    buckets = some_buckets(2, 1, rounds, tokens, count=5)
    for is_causal, seen in ((False, oracle.in_chunks), (True, oracle.in_own_bucket_before)):
        answer = attend_within_buckets(shared, shared, value, buckets, size=size, is_causal=is_causal)
        for b in range(2):
            expected = oracle.hashed(shared[b, 0], value[b, 0], buckets[b, 0], size, seen)
            torch.testing.assert_close(answer[b, 0], expected)


@pytest.mark.parametrize("is_causal", [False, True])
def test_padding_is_as_if_it_were_not_there(is_causal):
    tokens, size = 17, 4
    shared, value = drawn(2, 3, tokens, 5), drawn(2, 3, tokens, 2, seed=1)
    buckets = some_buckets(2, 3, 2, tokens, count=5)
    valid = torch.rand(2, tokens, generator=torch.Generator().manual_seed(2)) > 0.4
    answer = attend_within_buckets(
        shared, shared, value, buckets, size=size, valid=valid, is_causal=is_causal
    )
    for b in range(2):
        kept = valid[b].nonzero()[:, 0]
        parts = [tensor[b : b + 1, :, kept] for tensor in (shared, shared, value)]
        alone = attend_within_buckets(*parts, buckets[b : b + 1, :, :, kept], size=size, is_causal=is_causal)
        torch.testing.assert_close(answer[b, :, kept], alone[0])
        assert bool((answer[b, :, ~valid[b]] == 0).all())


@pytest.mark.parametrize("is_causal", [False, True])
def test_written_out_derivative_is_that_of_the_answer(is_causal):
    buckets = some_buckets(2, 1, 2, 11, count=3)
    tensors = [drawn(2, 1, 11, dim, seed=seed).requires_grad_() for seed, dim in enumerate((3, 3, 2))]

    def attended(query, key, value):
        return attend_within_buckets(query, key, value, buckets, size=4, is_causal=is_causal)

    assert torch.autograd.gradcheck(attended, tensors, fast_mode=True)


def test_short_sequences_see_everybody_but_themselves():
    torch.manual_seed(0)
    shared, value = drawn(2, 3, 11, 5), drawn(2, 3, 11, 2, seed=1)
    answer = Reformer(head_dim=5).double()(shared, shared, value)
    scores = (shared @ F.normalize(shared, dim=-1).mT).masked_fill(
        torch.eye(11, dtype=torch.bool), -torch.inf
    )
    torch.testing.assert_close(answer, scores.softmax(dim=-1) @ value)


def test_a_round_that_brings_nobody_counts_for_nothing_even_beside_very_unlike_tokens():
    shared = torch.tensor([[300.0, 0.0], [-300.0, 0.0], [0.0, 300.0]], requires_grad=True)[None, None]
    value = torch.eye(3)[None, None]
    buckets = torch.tensor([[[[0, 1, 1], [0, 0, 1]]]])  # the first token meets nobody, then its opposite
    answer = attend_within_buckets(shared, shared, value, buckets, size=2, is_causal=True)
    assert answer[0, 0].tolist() == [[1, 0, 0], [1, 0, 0], [0, 1, 0]]
    assert bool(torch.autograd.grad(answer.sum(), shared)[0].isfinite().all())


def test_similar_vectors_share_a_bucket_opposite_ones_never_and_length_does_not_count():
    vectors = drawn(1, 1, 200, 16)
    rotations = drawn(50, 16, 4, seed=1)

    def shared(others: torch.Tensor) -> float:
        return float((buckets_of(vectors, rotations, 8) == buckets_of(others, rotations, 8)).double().mean())

    assert shared(7 * vectors) == 1 and shared(-vectors) == 0
    near, unrelated = (
        shared(vectors + 0.2 * drawn(1, 1, 200, 16, seed=2)),
        shared(drawn(1, 1, 200, 16, seed=3)),
    )
    assert near > 0.7 and abs(unrelated - 1 / 8) < 0.05


def test_bucket_is_the_nearest_of_the_directions_and_their_opposites():
    vectors, rotations = drawn(2, 3, 11, 5), drawn(2, 5, 7, seed=1)
    buckets = buckets_of(vectors, rotations, 6)  # the first three columns
    turned = torch.einsum("bhnd,rdc->bhrnc", vectors, rotations[:, :, :3])
    assert torch.equal(buckets, torch.cat([turned, -turned], dim=-1).argmax(dim=-1))


def test_every_token_has_one_seat_in_every_round_and_no_bucket_shares_a_chunk():
    buckets = some_buckets(3, 2, 23, count=4)
    for seat_them in (side_by_side, by_bucket):
        seating = seat_them(buckets, 4)
        assert torch.equal(seating.token[seating.seat], torch.arange(3 * 23)[:, None].expand(-1, 2))
        taken = torch.cat([seating.seat.flatten(), seating.empty]).sort().values
        assert torch.equal(taken, torch.arange(len(seating.token)))
    of_seat = torch.full_like(seating.token, -1)
    of_seat[seating.seat] = buckets.transpose(1, 2).reshape(-1, 2)
    for chunk in of_seat.view(-1, 4):
        assert len(set(chunk.tolist()) - {-1}) <= 1


def test_future_moves_nobody_even_if_it_enters_another_bucket():
    torch.manual_seed(0)
    reformer = Reformer(head_dim=5, bucket_size=4, num_rounds=3)
    shared, value = drawn(2, 3, 61, 5).float(), drawn(2, 3, 61, 5, seed=1).float()
    past = reformer(shared, shared, value, mask=causal())[:, :, :40]
    for seed in range(8):
        later = [tensor.clone() for tensor in (shared, value)]
        for tensor in later:
            tensor[:, :, 40:] = 1000 * drawn(2, 3, 21, 5, seed=seed + 2)
        answer = reformer(later[0], later[0], later[1], mask=causal())[:, :, :40]
        assert torch.equal(answer, past)


def theirs(package, shared, value, buckets, size, count, *, is_causal=False):
    """reformer-pytorch, given the buckets; it divides scores by the root of the dimension once more."""
    attend = package.LSHAttention(bucket_size=size, n_hashes=buckets.shape[1], causal=is_causal)
    offsets = torch.arange(buckets.shape[1])[:, None] * count
    attend.hash_vectors = lambda *_, **__: (buckets + offsets).flatten(1)
    return attend(shared * shared.shape[-1] ** 0.5, value)[0]


def test_is_what_reformer_pytorch_computes_apart_from_the_first_chunks(package):
    shared, value = drawn(2, 24, 5), drawn(2, 24, 5, seed=1)
    buckets = some_buckets(2, 3, 24, count=6)
    published = theirs(package, shared, value, buckets, 4, 6)
    ours = attend_within_buckets(shared[:, None], shared[:, None], value[:, None], buckets[:, None], size=4)[
        :, 0
    ]
    first = torch.zeros(2, 24, dtype=torch.bool)
    for b in range(2):
        for r in range(3):
            first[b, oracle.chunks_of(buckets[b], 4, r)[0]] = True
        expected = oracle.hashed(shared[b], value[b], buckets[b], 4, oracle.in_chunks_wrapped)
        torch.testing.assert_close(published[b], expected, atol=1e-6, rtol=1e-6)
    assert 0 < int(first.sum()) < first.numel()
    torch.testing.assert_close(ours[~first], published[~first], atol=1e-6, rtol=1e-6)
    assert float((ours - published)[first].abs().max()) > 1e-3


@pytest.mark.slow
def test_is_what_hugging_face_computes_apart_from_the_first_chunks():
    pytest.importorskip("transformers")
    from transformers import ReformerConfig
    from transformers.models.reformer.modeling_reformer import LSHSelfAttention

    torch.manual_seed(0)
    config = ReformerConfig(
        hidden_size=10,
        num_attention_heads=2,
        attention_head_size=5,
        lsh_attn_chunk_length=4,
        num_hashes=3,
        num_buckets=6,
        lsh_attention_probs_dropout_prob=0.0,
        is_decoder=False,
    )
    layer = LSHSelfAttention(config).double().eval()
    tokens = drawn(1, 24, 10)
    buckets = some_buckets(1, 2, 3, 24, count=6)
    offsets = torch.arange(3)[:, None] * 6
    published = layer(tokens, buckets=(buckets + offsets).flatten(2)).hidden_states
    heads = [
        part(tokens).unflatten(-1, (2, 5)).transpose(1, 2).detach() for part in (layer.query_key, layer.value)
    ]
    ours = attend_within_buckets(heads[0], heads[0], heads[1], buckets, size=4)
    ours, published = ours[0], published[0].unflatten(-1, (2, 5)).transpose(0, 1)
    for h in range(2):
        first = {token for r in range(3) for token in oracle.chunks_of(buckets[0, h], 4, r)[0]}
        rest = [token for token in range(24) if token not in first]
        torch.testing.assert_close(ours[h, rest], published[h, rest], atol=1e-5, rtol=1e-5)
        expected = oracle.hashed(heads[0][0, h], heads[1][0, h], buckets[0, h], 4, oracle.in_chunks_wrapped)
        torch.testing.assert_close(published[h], expected, atol=1e-5, rtol=1e-5)


def test_in_reformer_pytorch_a_later_token_changes_whom_the_past_may_look_at(package):
    shared, value = drawn(1, 24, 5), drawn(1, 24, 5, seed=1)
    buckets = some_buckets(1, 1, 24, count=6)
    later = buckets.clone()
    later[0, 0, 23] = (later[0, 0, 23] + 3) % 6
    published, moved = (
        theirs(package, shared, value, given, 4, 6, is_causal=True)[:, :23] for given in (buckets, later)
    )
    assert float((published - moved).abs().max()) > 1e-3
    ours, still = (
        attend_within_buckets(
            shared[:, None], shared[:, None], value[:, None], given[:, None], size=4, is_causal=True
        )[:, 0, :23]
        for given in (buckets, later)
    )
    assert torch.equal(ours, still)


def test_a_layer_shares_one_projection_and_separate_keys_are_refused():
    layer = MultiHeadAttention(15, 3, mechanism="reformer", options={"bucket_size": 4})
    assert layer.qkv.out_features == 30
    tokens, others = drawn(1, 2, 7, 5), drawn(1, 2, 7, 5, seed=1)
    reformer = Reformer.build(LayerShape(num_heads=2, head_dim=5)).double()
    with pytest.raises(ValueError, match="uses queries as keys, but was given others"):
        reformer(tokens, others, tokens)
    torch.testing.assert_close(reformer(tokens, tokens.clone(), others), reformer(tokens, tokens, others))


def test_redrawing_takes_a_generator_and_wrong_sizes_are_refused():
    reformer = Reformer(head_dim=5, bucket_size=4, num_rounds=2)
    reformer.redraw(torch.Generator().manual_seed(1))
    first = reformer.rotations.clone()
    reformer.redraw(torch.Generator().manual_seed(2))
    assert not torch.equal(reformer.rotations, first)
    reformer.redraw(torch.Generator().manual_seed(1))
    assert torch.equal(reformer.rotations, first)
    with pytest.raises(ValueError, match=r"must be 1 or more and max_buckets 2 or more.*num_rounds=0"):
        Reformer(head_dim=5, num_rounds=0)
