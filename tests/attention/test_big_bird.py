"""BigBird: the definition in loops, Hugging Face's layer given the same blocks, and where that layer counts twice."""

import pytest
import torch
from tests.oracles import sparse_attention as oracle
from torch import nn

from archaeology.attention import BigBird, MultiHeadAttention, causal, padding
from archaeology.attention.big_bird import BlockTable, random_blocks
from archaeology.attention.masks import Spans


def tensors(tokens, dim=5, batch=2, heads=3):
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(batch, heads, tokens, dim, generator=generator, dtype=torch.float64) for _ in range(3)
    ]


def drawn(num_blocks, num_random, heads=3):
    return random_blocks(heads, num_blocks, num_random, torch.Generator().manual_seed(7))


@pytest.mark.parametrize("kernel", ["auto", "blocks"])
@pytest.mark.parametrize("tokens", [5, 37, 42])
def test_it_is_what_the_paper_says_with_blocks_that_differ_between_heads(kernel, tokens):
    inputs, table = tensors(tokens), drawn(-(-tokens // 3), 2)

    def chosen(b, h, i):
        return oracle.big_bird(i, tokens, 3, table[h].tolist())

    ours = BigBird(block_size=3, table=table, kernel=kernel)(*inputs)
    torch.testing.assert_close(ours, oracle.attention_to(*inputs, chosen))


def test_random_blocks_are_new_to_their_block_and_different():
    table = drawn(19, 3)
    assert table.shape == (3, 19, 3)
    for listed in table:
        for block in range(1, 18):
            random = set(listed[block].tolist())
            assert len(random) == 3
            assert not random & {0, 18, block - 1, block, block + 1}
    assert not torch.equal(table[0], table[1])


def test_the_choice_is_the_same_until_it_is_drawn_again():
    inputs = tensors(64)
    mechanism, twin = (BigBird(num_heads=3, block_size=4, num_random=2, seed=5) for _ in range(2))
    before = mechanism(*inputs)
    assert torch.equal(before, twin(*inputs))
    mechanism.redraw(torch.Generator().manual_seed(0))
    assert not torch.equal(before, mechanism(*inputs))


def test_blocks_say_what_their_pairs_say():
    table = torch.rand(3, 6, 6, generator=torch.Generator().manual_seed(0)) > 0.5
    mask = BlockTable(table, 7)
    matrix = mask.dense(40, 40, num_heads=3)[0]
    for queries, keys in ((1, 1), (7, 7), (16, 3), (5, 16)):
        query, key = Spans.of(40, queries), Spans.of(40, keys)
        known = mask.blocks(query, key)
        for h in range(3):
            for i in range(len(query.first)):
                for j in range(len(key.first)):
                    pairs = matrix[h, query.first[i] : query.last[i] + 1, key.first[j] : key.last[j] + 1]
                    assert bool(known.some[h, i, j]) == bool(pairs.any())
                    assert bool(known.every[h, i, j]) == bool(pairs.all())


def test_causal_and_padded_blocks_are_what_is_left_of_them():
    inputs, table = tensors(40), drawn(10, 2)
    valid = torch.ones(2, 40, dtype=torch.bool)
    valid[0, 33:] = False

    def chosen(b, h, i):
        return {j for j in oracle.big_bird(i, 40, 4, table[h].tolist()) if j <= i and valid[b, j]}

    ours = BigBird(block_size=4, table=table, kernel="blocks")(*inputs, mask=causal() & padding(valid))
    torch.testing.assert_close(ours, oracle.attention_to(*inputs, chosen))


def hugging_face(tokens, blocks, *, table=None):
    """Their layer and how to call it; in training it is given our blocks, for it may draw one twice."""
    big_bird = pytest.importorskip("transformers.models.big_bird.modeling_big_bird")
    config = big_bird.BigBirdConfig(
        hidden_size=24,
        num_attention_heads=3,
        block_size=4,
        num_random_blocks=2,
        attention_probs_dropout_prob=0.0,
        max_position_embeddings=blocks * 4,
    )
    layer = big_bird.BigBirdBlockSparseAttention(config, seed=0).double()
    if table is not None:
        listed = [part.numpy() for part in table[:, 1:-1]]
        layer._bigbird_block_rand_mask_with_head = lambda *_, **__: listed
    ours = MultiHeadAttention(24, 3, mechanism="big_bird", options={"block_size": 4}).double()
    ours.proj = nn.Identity()
    parts = [getattr(layer, part) for part in ("query", "key", "value")]
    ours.qkv.load_state_dict(
        {
            "weight": torch.cat([part.weight for part in parts]),
            "bias": torch.cat([part.bias for part in parts]),
        }
    )

    def call(valid):
        blocked, middle, rows, columns = big_bird.BigBirdModel.create_masks_for_block_sparse_attn(
            valid.double(), 4
        )
        masks = {"band_mask": middle, "from_mask": rows, "to_mask": columns}
        return layer(tokens, **masks, from_blocked_mask=blocked, to_blocked_mask=blocked)[0].reshape(
            *tokens.shape[:2], -1
        )

    return layer, ours, call


@pytest.mark.slow  # imports transformers
@pytest.mark.parametrize("is_padded", [False, True])
def test_it_is_hugging_face_s_layer_in_training(is_padded):
    tokens = torch.randn(2, 64, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    table = drawn(16, 2)
    layer, ours, call = hugging_face(tokens, 16, table=table)
    ours.mechanism = BigBird(block_size=4, table=table, kernel="blocks")
    valid = torch.ones(2, 64, dtype=torch.bool)
    if is_padded:
        valid[1, 50:] = False
    layer.train()
    torch.testing.assert_close(
        ours(tokens, mask=padding(valid))[valid], call(valid)[valid], atol=1e-6, rtol=1e-5
    )


@pytest.mark.slow  # imports transformers
def test_hugging_face_s_layer_counts_the_first_block_again_for_every_random_block_in_evaluation():
    tokens = torch.randn(1, 64, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    layer, ours, call = hugging_face(tokens, 16)
    layer.eval()
    theirs = call(torch.ones(1, 64, dtype=torch.bool))
    ours.mechanism = BigBird(
        block_size=4, table=torch.zeros(3, 16, 2, dtype=torch.long)
    )  # the same set of blocks
    assert float((ours(tokens) - theirs).detach().abs().max()) > 1e-2
    counts = torch.zeros(
        64, 64, dtype=torch.float64
    )  # as a multiset: block 0 once as global, twice as random
    counts[4:-4, :4] = torch.tensor(3.0).log().double()
    given = ours.mechanism.structure(64, torch.device("cpu"))
    query, key, value = (
        part.unflatten(2, (3, 8)).transpose(1, 2) for part in ours.qkv(tokens).chunk(3, dim=-1)
    )
    scores = query @ key.transpose(2, 3) / 8**0.5 + counts
    weights = scores.masked_fill(~given.dense(64, 64, num_heads=3), float("-inf")).softmax(-1)
    multiset = (weights @ value).transpose(1, 2).flatten(2)
    torch.testing.assert_close(theirs, multiset, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"block_size": 0}, "must be 1 or more and num_random 0 or more, but got .*block_size=0"),
        ({"num_random": -1}, "num_random=-1"),
        ({"num_heads": 0}, "num_heads=0"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        BigBird(**options)


def test_a_table_for_another_length_or_other_heads_is_refused():
    table = drawn(6, 1)
    with pytest.raises(
        ValueError, match="random blocks for each of 8 blocks of 4 tokens, but got a table for 6"
    ):
        BigBird(block_size=4, table=table)(*tensors(31))
    with pytest.raises(ValueError, match="num_heads must be 1 or the heads of the queries, but got 3 and 2"):
        BigBird(block_size=4, table=table)(*tensors(24, heads=2))
