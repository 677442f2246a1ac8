"""Attention times gradient against loops, layer by layer, for every kind of readout."""

import pytest
import torch
from tests.explain import gradient_records as made_of
from tests.oracles import gradient_explanations as oracle

from archaeology.explain import explain
from archaeology.specimens.layout import TokenLayout


@pytest.mark.parametrize("readout", made_of.LAYOUTS)
@pytest.mark.parametrize("layer", [0, -1])
def test_readouts_row_of_the_evidence(readout, layer):
    layout = made_of.LAYOUTS[readout]
    made = made_of.with_gradients(layout)
    explanation = explain("attention_times_gradient", made, layer=layer)
    for image in range(2):
        patterns, gradients = made_of.lists(made, image)
        wanted = made_of.readout_of(layout, oracle.evidence(patterns[layer], gradients[layer]))
        torch.testing.assert_close(explanation.heatmap[image], wanted, rtol=1e-12, atol=1e-12)
    assert explanation.parameters == {"layer": layer}
    assert ("blocks.0" if layer == 0 else "blocks.2") in explanation.formula
    assert explanation.target.tolist() == [1, 0]


def test_attention_pool_has_one_row():
    made = made_of.with_gradients(TokenLayout(1, 7, (), "mean"), made_of.pool(7))
    patterns, gradients = made_of.lists(made, 1)
    wanted = torch.tensor(oracle.evidence(patterns[3], gradients[3]), dtype=torch.float64)
    found = explain("attention_times_gradient", made).heatmap[1]
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


def test_errors_say_what_to_do():
    with pytest.raises(ValueError, match=r"one of the 3 attention layers captured.*layer=-4"):
        explain("attention_times_gradient", made_of.with_gradients(), layer=-4)
    broken = made_of.without_gradient(made_of.with_gradients())
    explain("attention_times_gradient", broken)
    with pytest.raises(ValueError, match=r"blocks\.1 has none; capture with gradients=True and no taps"):
        explain("attention_times_gradient", broken, layer=1)
