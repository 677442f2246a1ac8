"""Sink mass against its definition in loops, and what column sums make of rows that look nowhere."""

import pytest
import torch
from tests.oracles import attention_statistics as oracle

from archaeology.specimens.layout import TokenLayout
from archaeology.stats import Rows, column_statistics, sink_mass
from archaeology.stats.columns import ColumnSums, column_values

LAYOUT = TokenLayout(rows=2, columns=3, prefix=("class",))


def weights(seed=0):
    generator = torch.Generator().manual_seed(seed)
    pattern = torch.rand(4, 3, 5, 7, generator=generator, dtype=torch.float64).square()
    pattern[1, 2, 3] = 0
    return pattern


def summed(pattern, layout, cut=2):
    sums = ColumnSums()
    for span in (slice(0, cut), slice(cut, 5)):
        queries = torch.arange(2, 7)[span]
        sums.add(Rows(pattern[:, :, span], queries, layout, (1.0, 1.0)), span)
    return sums.columns(layout)


@pytest.mark.parametrize("layout", [LAYOUT, None])
def test_sink_mass_equals_its_definition_in_loops(layout):
    pattern = weights()
    value = column_statistics.get("sink_mass").of_columns(summed(pattern, layout))
    for image in range(4):
        for head in range(3):
            wanted = oracle.sink_mass(pattern[image, head].tolist(), None if layout is None else 0)
            assert float(value[image, head]) == pytest.approx(wanted, rel=1e-9)


def test_blind_attention_and_a_single_sink_are_the_two_ends():
    assert float(sink_mass(torch.full((1, 1, 7), 1 / 7))) == pytest.approx(1 / 7)
    one = torch.nn.functional.one_hot(torch.tensor([[4]]), 7).double()
    assert float(sink_mass(one)) == 1
    assert float(sink_mass(one, class_token=4)) == 0
    assert one[0, 0, 4] == 1  # left alone


def test_nobody_looks_anywhere():
    received = summed(torch.zeros(2, 3, 5, 7, dtype=torch.float64), LAYOUT)
    assert column_statistics.get("sink_mass").of_columns(received).isnan().all()


def test_windows_of_an_image_are_averaged():
    columns = summed(weights(), None)
    values = column_values(columns, num_images=2)
    each = sink_mass(columns.received).numpy()
    assert values[1, 2, 0] == pytest.approx((each[2, 2] + each[3, 2]) / 2)
