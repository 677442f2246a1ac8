"""Every statistic against its definition in loops, on rows that do and do not sum to one, with and without
zeros.
"""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tests.oracles import attention_statistics as oracle

from archaeology.specimens.layout import TokenLayout
from archaeology.stats import (
    Rows,
    attention_distance,
    diagonal_mass,
    entropy,
    gini,
    largest_weight,
    neighbour_mass,
    participation,
    patch_distances,
    patch_neighbours,
    statistics,
    token_mass,
)

LAYOUT = TokenLayout(rows=2, columns=3, prefix=("class",))
PROPERTY = settings(deadline=None, derandomize=True, max_examples=50)


def pattern(batch=2, head=3, query=5, key=7, seed=0):
    weights = torch.rand(
        batch, head, query, key, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    return weights.square() * torch.arange(1, query + 1)[:, None]  # rows of very different sums


def assert_rows(value, weights, expected, **tolerance):
    assert value.shape == weights.shape[:-1]
    wanted = [expected(row) for row in weights.flatten(0, -2).tolist()]
    torch.testing.assert_close(value.flatten(), torch.tensor(wanted, dtype=value.dtype), **tolerance)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (entropy, oracle.entropy),
        (participation, oracle.participation),
        (largest_weight, oracle.largest_weight),
        (gini, oracle.gini),
        (lambda p: token_mass(p, 3), lambda row: oracle.token_mass(row, 3)),
    ],
    ids=["entropy", "participation", "largest_weight", "gini", "token_mass"],
)
def test_statistic_equals_its_definition_in_loops(function, expected):
    weights = pattern()
    weights[0, 1, 2, 3:] = 0  # exact zeros, as masks leave them
    assert_rows(function(weights), weights, expected, rtol=1e-12, atol=1e-12)
    assert_rows(function(weights.float()), weights, expected, rtol=1e-5, atol=1e-5)


def test_distance_equals_its_definition_in_loops():
    weights = pattern(query=6, key=6)
    distances = patch_distances(LAYOUT, (5.0, 11.0))
    value = attention_distance(weights, distances)
    for query in range(6):
        rows = weights[:, :, query : query + 1]
        assert_rows(
            value[:, :, query : query + 1], rows, lambda row, q=query: oracle.distance(row, q, 3, 5.0, 11.0)
        )


def test_diagonal_and_neighbour_mass_equal_their_definitions_in_loops():
    weights = pattern(query=6, key=7)
    itself = diagonal_mass(weights, torch.arange(1, 7))
    near = neighbour_mass(weights, patch_neighbours(LAYOUT), 1)
    for query in range(6):
        one, rows_of = slice(query, query + 1), weights[:, :, query : query + 1]
        assert_rows(itself[:, :, one], rows_of, lambda row, q=query: oracle.token_mass(row, q + 1))
        assert_rows(near[:, :, one], rows_of, lambda row, q=query: oracle.neighbour_mass(row, q, 3, 1))
    grid = patch_neighbours(TokenLayout(5, 7))
    assert (grid >= 0).sum(1).reshape(5, 7)[[0, 0, 2], [0, 3, 3]].tolist() == [3, 5, 8]


def test_statistics_can_be_differentiated():
    weights = pattern(1, 1, 2, 3).requires_grad_()
    for function in (entropy, participation, largest_weight, gini, lambda p: token_mass(p, 1)):
        assert torch.autograd.gradcheck(function, (weights,))


def test_sorted_by_numpy_and_by_torch_agree():
    weights = pattern()
    torch.testing.assert_close(gini(weights.requires_grad_()).detach(), gini(weights.detach()))


@PROPERTY
@given(arrays(np.float64, (2, 3, 5, 7), elements=st.floats(0, 1e3)), st.floats(1e-3, 1e3))
def test_scale_of_a_row_does_not_matter_and_values_stay_in_range(weights, scale):
    weights[..., 0] += 1e-3  # no empty row
    rows = torch.from_numpy(weights)
    for function, low, high in [
        (entropy, 0, math.log(7)),
        (participation, 1 / 7, 1),
        (largest_weight, 1 / 7, 1),
        (gini, 0, 1),
        (lambda p: token_mass(p, 2), 0, 1),
    ]:
        value = function(rows)
        torch.testing.assert_close(function(rows * scale), value, rtol=1e-6, atol=1e-9)
        assert float(value.min()) >= low - 1e-9 and float(value.max()) <= high + 1e-9


@pytest.mark.parametrize("keys", [2, 7, 196])
def test_uniform_and_single_key_are_the_two_ends(keys):
    uniform = torch.full((1, 1, 1, keys), 0.37, dtype=torch.float64)
    single = torch.nn.functional.one_hot(torch.tensor([[[1]]]), keys).double() * 5
    ends = [(entropy, math.log(keys), 0), (participation, 1, 1 / keys), (largest_weight, 1 / keys, 1)]
    for function, at_uniform, at_single in [*ends, (gini, 0, 1 - 1 / keys)]:
        assert float(function(uniform)) == pytest.approx(at_uniform, abs=1e-12)
        assert float(function(single)) == pytest.approx(at_single, abs=1e-12)


def test_empty_row_is_nan_not_a_number_that_looks_real():
    empty = torch.zeros(1, 1, 1, 5)
    for function in (entropy, participation, largest_weight, gini, lambda p: token_mass(p, 0)):
        assert function(empty).isnan().all()


def rows(layout, queries=(0, 2, 6)):
    index = torch.tensor(queries)
    return Rows(pattern(query=7, key=7)[:, :, index], index, layout, (5.0, 11.0))


def test_distance_leaves_prefix_tokens_out_of_queries_and_keys():
    some = rows(LAYOUT)
    value = statistics.get("distance").of_rows(some)
    assert value[:, :, 0].isnan().all()
    for place, query in ((1, 1), (2, 5)):
        assert_rows(
            value[:, :, place : place + 1],
            some.pattern[:, :, place : place + 1, 1:],
            lambda row, q=query: oracle.distance(row, q, 3, 5.0, 11.0),
        )


def test_places_unknown_gives_nan_for_distance_and_class_token():
    for name in ("distance", "class_token_mass", "neighbour_mass"):
        assert statistics.get(name).of_rows(rows(None)).isnan().all()


def test_model_without_class_token_has_no_class_token_mass():
    without = TokenLayout(rows=2, columns=3, prefix=("register",), readout="mean")
    assert statistics.get("class_token_mass").of_rows(rows(without)).isnan().all()
    second = TokenLayout(rows=1, columns=5, prefix=("register", "class"))
    some = rows(second)
    expected = some.pattern[..., 1] / some.pattern.sum(-1)
    torch.testing.assert_close(statistics.get("class_token_mass").of_rows(some), expected)


def test_queries_that_are_no_token_do_not_look_at_themselves():
    some = rows(LAYOUT, queries=(3, 4))
    unplaced = Rows(some.pattern, torch.tensor([3, -1]), LAYOUT, (5.0, 11.0))
    for name in ("diagonal_mass", "neighbour_mass", "distance"):
        value = statistics.get(name).of_rows(unplaced)
        assert value[:, :, 0].isfinite().all() and value[:, :, 1].isnan().all()
