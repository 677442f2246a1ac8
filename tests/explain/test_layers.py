"""Layers of every make, laid out so that attention can be followed through them; what cannot be followed says so."""

from dataclasses import replace

import pytest
import torch
from tests.ablate import small_models as small
from tests.explain.test_rollout import record
from tests.oracles import explanations as oracle

from archaeology.capture.record import CapturedPattern, capture
from archaeology.explain import explain
from archaeology.explain.layers import chosen_layer, layers_of
from archaeology.specimens.layout import TokenLayout


def pool(keys, queries=1, module="pool"):
    pattern = torch.rand(
        2, 3, queries, keys, generator=torch.Generator().manual_seed(keys), dtype=torch.float64
    )
    return CapturedPattern(module, "pool", pattern)


def ending(made, *layers):
    return replace(made, attentions=(*made.attentions, *layers))


def squares(made):
    """Whole matrices on a late class token and the patches, by loops."""
    matrices = []
    for layer in made.attentions:
        heads = []
        for head in layer.pattern[1].tolist():
            size = len(head[0]) + (layer.kind == "token")
            rows = [[0.0] * size for _ in range(size)]
            if layer.kind == "token":
                for query, row in enumerate(head):
                    rows[query + 1][1:] = row
            else:
                rows[0] = head[0]
            heads.append(rows)
        matrices.append(heads)
    return matrices


@pytest.mark.parametrize("prefix", [(), ("class",)])
def test_late_class_token_reads_through_its_own_layers(prefix):
    readout = "class_token" if prefix else "mean"
    base = record(TokenLayout(2, 3, prefix, readout), token=6)
    made = ending(base, pool(7, module="class.0"), pool(7, module="class.1"))
    layers = layers_of(made, "rollout")
    assert (len(layers), layers.num_late, layers.pool) == (5, 1, None)
    whole = torch.tensor(oracle.rollout(squares(made)))
    explanation = explain("rollout", made)
    torch.testing.assert_close(explanation.heatmap[1].float(), whole[0, 1:].view(2, 3), rtol=1e-6, atol=1e-6)
    assert "late class token" in explanation.formula
    seen = explain("raw_attention", made).heatmap[1]
    torch.testing.assert_close(seen, made.attentions[-1].pattern[1].mean(0)[0, 1:].view(2, 3))
    first = explain("raw_attention", made, layer=0).heatmap[1]
    torch.testing.assert_close(first, base.attentions[0].pattern[1].mean(0).mean(0).view(2, 3))


def test_class_attention_of_a_token_that_was_there_all_along():
    layers = layers_of(ending(record(), pool(7)), "rollout")
    assert (len(layers.class_attention), layers.num_late, layers.pool) == (1, 0, None)
    square = next(layers.last_to_first(lambda layer: layer.pattern.mean(1)))
    assert square.shape == (2, 7, 7) and float(square[:, 1:].abs().max()) == 0
    torch.testing.assert_close(square[:, 0], pool(7).pattern.mean(1)[:, 0])


@pytest.mark.parametrize("queries", [1, 4])
def test_pool_is_what_is_read_where_its_query_is_no_token(queries):
    layers = layers_of(ending(record(TokenLayout(1, 7, (), "mean")), pool(7, queries)), "rollout")
    assert layers.pool is not None and layers.num_late == 0
    start = layers.start(lambda layer: layer.pattern.mean(1))
    torch.testing.assert_close(start, pool(7, queries).pattern.mean((1, 2)))


def test_cait_is_followed_from_end_to_beginning():
    specimen = small.cait()
    made = capture(specimen, small.images(3, 6, 6), target=torch.arange(3), gradients=True)
    layers = layers_of(made, "rollout")
    assert (len(layers.whole), len(layers.class_attention), layers.num_late) == (2, 2, 1)
    assert explain("rollout", made).heatmap.shape == (3, 2, 2)


def test_errors_say_what_to_do():
    with pytest.raises(
        ValueError, match=r"m needs layers in which all 7 tokens.*none captured.*use grad_cam"
    ):
        layers_of(replace(record(), attentions=()), "m")
    with pytest.raises(ValueError, match=r"3 such layers and 1 others \(pool: pool\)"):
        layers_of(ending(record(), pool(5)), "m")
    with pytest.raises(ValueError, match=r"this record holds none; capture with patterns=True"):
        chosen_layer(replace(record(), attentions=()), -1, "m")
    swin = capture(small.swin(), small.images(2, 8, 8))
    swin = replace(swin, attentions=tuple(replace(seen, places=None) for seen in swin.attentions))
    with pytest.raises(ValueError, match=r"rollout needs layers.*window.*use grad_cam"):
        explain("rollout", swin)
