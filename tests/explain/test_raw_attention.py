"""Raw attention is one row of one layer, taken from the right axis."""

import pytest
import torch
from tests.explain.test_rollout import record

from archaeology.capture.record import CapturedPattern, Record
from archaeology.explain import explain
from archaeology.specimens.layout import TokenLayout


def test_class_token_row_of_one_head_and_of_all():
    made = record()
    pattern = made.attentions[1].pattern
    one = explain("raw_attention", made, layer=1, head=3)
    torch.testing.assert_close(one.heatmap, pattern[:, 3, 0, 1:].view(2, 2, 3))
    assert "head 3" in one.formula and "blocks.1" in one.formula
    for head_fusion, fused in [("mean", pattern.mean(1)), ("max", pattern.amax(1)), ("min", pattern.amin(1))]:
        every = explain("raw_attention", made, layer=1, head_fusion=head_fusion)
        torch.testing.assert_close(every.heatmap, fused[:, 0, 1:].view(2, 2, 3))
    last = explain("raw_attention", made)
    torch.testing.assert_close(last.heatmap, made.attentions[2].pattern.mean(1)[:, 0, 1:].view(2, 2, 3))


def test_without_class_token_it_is_the_mean_over_patch_queries():
    made = record(TokenLayout(rows=2, columns=3, prefix=("register",), readout="mean"))
    expected = made.attentions[0].pattern[:, 4, 1:, 1:].mean(1).view(2, 2, 3)
    torch.testing.assert_close(explain("raw_attention", made, layer=0, head=4).heatmap, expected)


def test_pooling_layer_has_one_query_only():
    base = record()
    pool = CapturedPattern("pool", "pool", torch.rand(2, 5, 1, 7))
    made = Record(base.images, base.logits, base.target, base.layout, (*base.attentions, pool), {}, {})
    torch.testing.assert_close(
        explain("raw_attention", made).heatmap, pool.pattern.mean(1)[:, 0, 1:].view(2, 2, 3)
    )


def test_errors_say_what_to_do():
    with pytest.raises(ValueError, match=r"one of the 3 attention layers captured.*layer=3"):
        explain("raw_attention", record(), layer=3)
    with pytest.raises(ValueError, match=r"head must be 0 to 4 in blocks\.2, but got head=5"):
        explain("raw_attention", record(), head=5)
    with pytest.raises(ValueError, match=r"sees all 7 tokens, but blocks\.2 is of kind 'window'"):
        explain("raw_attention", record(kind="window"))
    with pytest.raises(ValueError, match=r"raw_attention needs a model with a token layout"):
        explain("raw_attention", record(layout=None))
