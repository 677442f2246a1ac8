"""Rollout as one pushed row against the whole product of matrices, written in loops from the paper."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tests.oracles import explanations as oracle

from archaeology.capture.record import CapturedPattern, Record
from archaeology.explain import explain
from archaeology.explain.rollout import rolled_row
from archaeology.specimens.layout import TokenLayout

LAYOUT = TokenLayout(rows=2, columns=3, prefix=("class",))


def patterns(layers=3, batch=2, head=5, token=7, seed=0):
    made = torch.rand(layers, batch, head, token, token, generator=torch.Generator().manual_seed(seed))
    return made.double().square()  # rows do not sum to one


def record(layout=LAYOUT, kind="token", **sizes):
    made = patterns(**sizes)
    batch = made.shape[1]
    return Record(
        images=torch.zeros(batch, 3, 2, 3),
        logits=torch.zeros(batch, 2),
        target=torch.zeros(batch, dtype=torch.int64),
        layout=layout,
        attentions=tuple(CapturedPattern(f"blocks.{i}", kind, pattern) for i, pattern in enumerate(made)),
        activations={},
        gradients={},
    )


def assert_rolls_as_the_product(made, start, **options):
    ratio = options.get("discard_ratio", 0)
    row = rolled_row(made, start, **options)
    for image in range(made.shape[1]):
        whole = torch.tensor(
            oracle.rollout(
                made[:, image].tolist(),
                options.get("head_fusion", "mean"),
                oracle.weakest_zeroed(ratio) if ratio else None,
            ),
            dtype=torch.float64,
        )
        torch.testing.assert_close(row[image], start[image] @ whole, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("head_fusion", ["mean", "max", "min"])
@pytest.mark.parametrize("discard_ratio", [0.0, 0.3, 0.9])
def test_pushed_row_equals_row_of_the_whole_product(head_fusion, discard_ratio):
    made = patterns()
    class_token = torch.zeros(2, 7, dtype=torch.float64)
    class_token[:, 0] = 1
    for start in (class_token, torch.full((2, 7), 1 / 7, dtype=torch.float64)):
        assert_rolls_as_the_product(made, start, head_fusion=head_fusion, discard_ratio=discard_ratio)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(arrays(np.float64, (3, 1, 2, 5, 5), elements=st.floats(0, 100)), st.sampled_from([0.0, 0.5, 0.99]))
def test_any_weights_keep_the_sum_of_the_start(weights, discard_ratio):
    start = torch.full((1, 5), 0.2, dtype=torch.float64)
    made = torch.from_numpy(weights)
    row = rolled_row(made, start, discard_ratio=discard_ratio)
    torch.testing.assert_close(row.sum(), start.sum())
    assert float(row.min()) >= 0
    assert_rolls_as_the_product(made, start, discard_ratio=discard_ratio)


def test_equal_weights_are_not_discarded():
    uniform = torch.full((1, 1, 1, 5, 5), 0.2)
    start = torch.eye(5)[:1]
    torch.testing.assert_close(rolled_row(uniform, start, discard_ratio=0.9), rolled_row(uniform, start))


@pytest.mark.parametrize("readout", ["class_token", "mean"])
def test_map_is_the_patch_part_of_the_readouts_row(readout):
    made = record(TokenLayout(rows=2, columns=3, prefix=("class",), readout=readout))
    whole = torch.tensor(oracle.rollout([layer.pattern[1].tolist() for layer in made.attentions]))
    row = whole[0] if readout == "class_token" else whole[1:].mean(0)
    explanation = explain("rollout", made)
    torch.testing.assert_close(explanation.heatmap[1].float(), row[1:].view(2, 3), rtol=1e-6, atol=1e-6)
    assert explanation.target is None
    assert explanation.parameters == {"head_fusion": "mean", "discard_ratio": 0.0}
    assert readout in explanation.formula


def test_class_token_behind_a_register_is_found():
    made = record(TokenLayout(rows=1, columns=5, prefix=("register", "class")))
    whole = torch.tensor(oracle.rollout([layer.pattern[0].tolist() for layer in made.attentions]))
    torch.testing.assert_close(
        explain("rollout", made).heatmap[0, 0].float(), whole[1, 2:], rtol=1e-6, atol=1e-6
    )


def test_attention_pool_is_the_readout_of_a_model_that_has_one():
    made = record(TokenLayout(rows=1, columns=7, readout="mean"))
    pool = torch.rand(2, 3, 1, 7, dtype=torch.float64)
    pooled = Record(
        made.images,
        made.logits,
        made.target,
        made.layout,
        (*made.attentions, CapturedPattern("pool", "pool", pool)),
        {},
        {},
    )
    whole = torch.tensor(oracle.rollout([layer.pattern[0].tolist() for layer in made.attentions])).double()
    expected = pool[0, :, 0].mean(0) @ whole
    torch.testing.assert_close(explain("rollout", pooled).heatmap[0, 0], expected, rtol=1e-6, atol=1e-6)


def test_errors_say_what_to_do():
    with pytest.raises(ValueError, match=r"did you mean 'mean'"):
        explain("rollout", record(), head_fusion="meen")
    with pytest.raises(ValueError, match=r"discard_ratio must be at least 0 and below 1"):
        explain("rollout", record(), discard_ratio=1.0)
    with pytest.raises(ValueError, match=r"token layout.*use grad_cam"):
        explain("rollout", record(layout=None))
    with pytest.raises(ValueError, match=r"all 7 tokens see each other.*3 others.*blocks\.0: window"):
        explain("rollout", record(kind="window"))
    with pytest.raises(ValueError, match=r"did you mean 'rollout'"):
        explain("rolout", record())
