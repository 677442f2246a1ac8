"""What every statistic owes its caller, whichever it is: found through the registry."""

from pathlib import Path

import pytest
import torch

import archaeology.stats as package
from archaeology.specimens.layout import TokenLayout
from archaeology.stats import Columns, Rows, column_statistics, statistics
from archaeology.stats.columns import ColumnSums

LAYOUT = TokenLayout(rows=2, columns=3, prefix=("class",))
QUERIES = torch.tensor([1, 2, 3, 5, 6])


def rows(dtype=torch.float64, layout=LAYOUT, scale=1.0):
    generator = torch.Generator().manual_seed(0)
    pattern = torch.rand(2, 3, 5, 7, generator=generator, dtype=torch.float64).square() * scale
    return Rows(pattern.to(dtype), QUERIES, layout, (5.0, 11.0))


def some(whole, batch=slice(None), head=slice(None), query=slice(None)):
    pattern = whole.pattern[batch][:, head][:, :, query]
    return Rows(pattern, whole.queries[query], whole.layout, whole.patch_size)


@pytest.fixture(params=statistics.names())
def statistic(request):
    return statistics.get(request.param)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_finite_number_for_each_row_in_the_dtype_given(statistic, dtype):
    value = statistic.of_rows(rows(dtype))
    assert value.shape == (2, 3, 5) and value.dtype == dtype
    assert value.isfinite().all()
    assert len(value.unique()) == value.numel()  # says something about every row


def test_every_row_stands_for_itself(statistic):
    whole = rows()
    together = statistic.of_rows(whole)
    for place in [(slice(1, 2),), (slice(None), slice(2, 3)), (slice(None), slice(None), slice(3, 4))]:
        torch.testing.assert_close(
            statistic.of_rows(some(whole, *place)), together[place], rtol=1e-12, atol=0
        )


def test_rows_need_not_sum_to_one(statistic):
    torch.testing.assert_close(
        statistic.of_rows(rows(scale=17.0)), statistic.of_rows(rows()), rtol=1e-9, atol=1e-9
    )


def test_rows_are_left_alone(statistic):
    whole = rows()
    before = whole.pattern.clone()
    statistic.of_rows(whole)
    torch.testing.assert_close(whole.pattern, before, rtol=0, atol=0)


def test_without_places_it_is_a_number_or_nan_for_all_rows(statistic):
    value = statistic.of_rows(rows(layout=None))
    assert value.shape == (2, 3, 5)
    assert value.isfinite().all() or value.isnan().all()


def test_it_has_a_label(statistic):
    assert len(statistic.label) > 5


def test_every_file_is_exported():
    exports = Path(package.__file__).read_text()
    for file in Path(package.__file__).parent.glob("[a-z]*.py"):
        if "statistics.register(" in file.read_text():
            assert f"from archaeology.stats.{file.stem} import" in exports


@pytest.fixture(params=column_statistics.names())
def column_statistic(request):
    return column_statistics.get(request.param)


def columns(layout=LAYOUT):
    sums = ColumnSums()
    for start in (0, 2):
        sums.add(some(rows(layout=layout), query=slice(start, start + 2 + start)), slice(start, start + 2))
    return sums.columns(layout)


def test_column_statistics_give_one_finite_number_for_each_head_by_itself(column_statistic):
    whole = columns()
    value = column_statistic.of_columns(whole)
    assert value.shape == (2, 3) and value.isfinite().all() and len(value.unique()) == 6
    alone = column_statistic.of_columns(Columns(whole.received[1:, 2:], LAYOUT))
    torch.testing.assert_close(alone, value[1:, 2:], rtol=1e-12, atol=0)
    assert column_statistic.of_columns(columns(None)).isfinite().all()
    assert len(column_statistic.label) > 5


def test_columns_are_means_of_shares(column_statistic):
    pattern = rows().pattern
    expected = (pattern / pattern.sum(-1, keepdim=True)).mean(2)
    torch.testing.assert_close(columns().received, expected, rtol=1e-9, atol=0)
    before = columns().received
    column_statistic.of_columns(Columns(before, LAYOUT))
    torch.testing.assert_close(before, expected, rtol=1e-9, atol=0)
