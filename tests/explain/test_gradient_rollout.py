"""Gradient rollout as one pushed row against the whole product, for every kind of readout."""

import pytest
import torch
from tests.explain import gradient_records as made_of
from tests.oracles import gradient_explanations as oracle

from archaeology.explain import explain
from archaeology.specimens.layout import TokenLayout


@pytest.mark.parametrize("readout", made_of.LAYOUTS)
def test_pushed_row_is_the_readouts_row_of_the_whole_product(readout):
    layout = made_of.LAYOUTS[readout]
    made = made_of.with_gradients(layout)
    explanation = explain("gradient_rollout", made)
    for image in range(2):
        whole = oracle.gradient_rollout(*made_of.lists(made, image))
        wanted = made_of.readout_of(layout, whole)
        torch.testing.assert_close(explanation.heatmap[image], wanted, rtol=1e-12, atol=1e-12)
    assert explanation.target.tolist() == [1, 0]
    assert layout.readout in explanation.formula


def test_attention_pool_starts_with_its_own_evidence():
    made = made_of.with_gradients(TokenLayout(1, 7, (), "mean"), made_of.pool(7))
    patterns, gradients = made_of.lists(made, 1)
    whole = torch.tensor(oracle.gradient_rollout(patterns[:3], gradients[:3]), dtype=torch.float64)
    start = torch.tensor(oracle.evidence(patterns[3], gradients[3]), dtype=torch.float64)
    found = explain("gradient_rollout", made).heatmap[1]
    torch.testing.assert_close(found, start @ whole, rtol=1e-12, atol=1e-12)


def test_without_positive_gradient_nothing_moves():
    made = made_of.with_gradients()
    for layer in made.attentions:
        layer.pattern_gradient[0] = -layer.pattern_gradient[0].abs()
    explanation = explain("gradient_rollout", made)
    assert explanation.has_evidence.tolist() == [False, True]
    assert float(explanation.heatmap[0].abs().max()) == 0
