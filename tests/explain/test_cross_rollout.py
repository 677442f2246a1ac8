"""Rollout across an encoder-decoder, against whole matrices in plain loops, and on models of several makes."""

import pytest
import torch
from torch import nn

from archaeology.core.errors import UnknownNameError
from archaeology.explain.cross_rollout import cross_rolled, cross_rollout, encoder_decoder_patterns
from archaeology.models.encoder_decoder import EncoderDecoder
from archaeology.models.vit import ViT

TOKENS, QUERIES, HEADS, BATCH = 5, 4, 3, 2


def pattern(rows, columns, seed, normalised=True):
    made = torch.rand(BATCH, HEADS, rows, columns, generator=torch.Generator().manual_seed(seed)).double()
    return made / made.sum(-1, keepdim=True) if normalised else made


def parts(normalised=True):
    encoder = [pattern(TOKENS, TOKENS, seed, normalised) for seed in (1, 2)]
    own = [pattern(QUERIES, QUERIES, seed, normalised) for seed in (3, 4, 5)]
    cross = [pattern(QUERIES, TOKENS, seed, normalised) for seed in (6, 7, 8)]
    return encoder, own, cross


def product(left, right):
    return [
        [sum(left[i][k] * right[k][j] for k in range(len(right))) for j in range(len(right[0]))]
        for i in range(len(left))
    ]


def averaged(matrix, add_identity):
    """Mean over heads (plus identity), every row divided by its sum."""
    heads, rows, columns = len(matrix), len(matrix[0]), len(matrix[0][0])
    mean = [[sum(matrix[h][i][j] for h in range(heads)) / heads for j in range(columns)] for i in range(rows)]
    if add_identity:
        mean = [[mean[i][j] + (i == j) for j in range(columns)] for i in range(rows)]
    return [[entry / sum(row) for entry in row] for row in mean]


def oracle(encoder, own, cross):
    """Q and C of the module's rule, forwards, for one image."""
    identity = [[float(i == j) for j in range(TOKENS)] for i in range(TOKENS)]
    rolled = identity
    for layer in encoder:
        rolled = product(averaged(layer, True), rolled)
    queries = [[float(i == j) for j in range(QUERIES)] for i in range(QUERIES)]
    tokens = [[0.0] * TOKENS for _ in range(QUERIES)]
    for within, across in zip(own, cross, strict=True):
        if within is not None:
            mixing = averaged(within, True)
            queries, tokens = product(mixing, queries), product(mixing, tokens)
        read = product(averaged(across, False), rolled)
        queries = [[entry / 2 for entry in row] for row in queries]
        tokens = [[(tokens[i][j] + read[i][j]) / 2 for j in range(TOKENS)] for i in range(QUERIES)]
    return torch.tensor(queries, dtype=torch.float64), torch.tensor(tokens, dtype=torch.float64)


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("without", [(), (0,), (0, 1, 2)])
def test_pushed_rows_equal_the_rule_in_loops(normalised, without):
    encoder, own, cross = parts(normalised)
    own = [None if number in without else layer for number, layer in enumerate(own)]
    start = torch.eye(QUERIES, dtype=torch.float64).expand(BATCH, -1, -1)
    found = cross_rolled(encoder, own, cross, start)
    for image in range(BATCH):
        queries, tokens = oracle(
            [layer[image].tolist() for layer in encoder],
            [None if layer is None else layer[image].tolist() for layer in own],
            [layer[image].tolist() for layer in cross],
        )
        torch.testing.assert_close(found.queries[image], queries, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(found.tokens[image], tokens, rtol=1e-10, atol=1e-12)
    whole = found.queries.sum(-1) + found.tokens.sum(-1)
    torch.testing.assert_close(whole, torch.ones(BATCH, QUERIES, dtype=torch.float64))


def test_a_query_that_may_look_nowhere_keeps_itself():
    encoder, _, cross = parts()
    blind = [layer.clone() for layer in cross]
    for layer in blind:
        layer[:, :, 1] = 0
    start = torch.zeros(BATCH, 1, QUERIES, dtype=torch.float64)
    start[:, :, 1] = 1
    found = cross_rolled(encoder, [None, None, None], blind, start)
    assert float(found.tokens.abs().max()) == 0 and bool((found.queries == start).all())


def ours(decoder_depth=2, encoder_depth=2, **options):
    torch.manual_seed(0)
    return EncoderDecoder(
        24,
        8,
        embed_dim=12,
        num_heads=3,
        encoder_depth=encoder_depth,
        decoder_depth=decoder_depth,
        **options,
    ).eval()


@pytest.mark.parametrize("depths", [(2, 2), (1, 1), (0, 2)])
def test_a_world_model_of_ours(depths):
    model = ours(encoder_depth=depths[0], decoder_depth=depths[1])
    images = torch.rand(2, 3, 24, 24)
    found = encoder_decoder_patterns(model, images)
    assert len(found.encoder) == depths[0] and len(found.cross) == depths[1]
    assert all(layer is not None for layer in found.decoder_self)
    maps = [cross_rollout(model, images, (3, 3), query=query) for query in range(9)]
    mean = cross_rollout(model, images, (3, 3))
    torch.testing.assert_close(mean.heatmap, torch.stack([one.heatmap for one in maps]).mean(0))
    whole = mean.heatmap.flatten(1).sum(1) + mean.facts["left_in_queries"]
    torch.testing.assert_close(whole, torch.ones(2))
    again = cross_rollout(model, images[1:], **mean.parameters)
    torch.testing.assert_close(again.heatmap[0], mean.heatmap[1])


def test_transformer_of_pytorch():
    torch.manual_seed(0)
    model = nn.Transformer(12, 2, 2, 3, 16, batch_first=True).eval()
    found = encoder_decoder_patterns(model, torch.rand(2, 7, 12), torch.rand(2, 7, 12))  # as many of both
    assert (len(found.encoder), len(found.decoder_self), len(found.cross)) == (2, 3, 3)
    assert all(layer is not None for layer in found.decoder_self)
    other = encoder_decoder_patterns(model, torch.rand(2, 7, 12), torch.rand(2, 13, 12))
    assert {layer.shape for layer in other.cross} == {(2, 2, 13, 7)}


def test_errors_say_what_to_do():
    encoder, own, cross = parts()
    start = torch.zeros(BATCH, 1, QUERIES, dtype=torch.float64)
    with pytest.raises(ValueError, match="got 3 of cross-attention and 2 of self-attention"):
        cross_rolled(encoder, own[1:], cross, start)
    with pytest.raises(UnknownNameError, match="head fusion"):
        cross_rolled(encoder, own, cross, start, head_fusion="mode")
    images = torch.rand(2, 3, 24, 24)
    with pytest.raises(ValueError, match=r"grid must hold the 9 tokens .* but got 2 x 4"):
        cross_rollout(ours(), images, (2, 4))
    with pytest.raises(ValueError, match="query must be one of the 9"):
        cross_rollout(ours(), images, (3, 3), query=9)
    with pytest.raises(ValueError, match="use rollout for a model without a decoder"):
        cross_rollout(ViT(24, 8, embed_dim=12, depth=2, num_heads=3).eval(), images, (3, 3))
