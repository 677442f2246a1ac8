"""Exponents and crossovers on costs whose growth is known."""

import math

import numpy as np
import pytest

from archaeology.zoo.fit import CLEARLY_FASTER, crossover, exponent, lengths_to_fit


@pytest.mark.parametrize("power", [1.0, 1.13, 2.0])
def test_an_exact_power_is_found_exactly(power):
    lengths = [1024, 2048, 4096, 8192]
    found = exponent(lengths, [3e-7 * length**power for length in lengths])
    assert found.value == pytest.approx(power, abs=1e-9)
    assert found.high - found.low < 1e-6 and found.n == 4


def test_the_interval_covers_as_often_as_it_says():
    generator = np.random.default_rng(0)
    lengths = np.array([512, 1024, 2048, 4096, 8192])
    covered = 0
    for _ in range(1000):
        costs = 1e-6 * lengths**1.5 * np.exp(generator.normal(0, 0.1, len(lengths)))
        found = exponent(lengths.tolist(), costs.tolist())
        covered += found.low <= 1.5 <= found.high
    assert covered / 1000 == pytest.approx(0.95, abs=0.02)


def test_two_lengths_always_lie_on_a_line_so_nothing_is_known_of_the_error():
    found = exponent([10, 20], [1.0, 4.0])
    assert found.value == pytest.approx(2)
    assert found.low == -math.inf and found.high == math.inf


@pytest.mark.parametrize(
    ("lengths", "costs", "said"),
    [
        ([10], [1.0], "two lengths or more"),
        ([10, 20], [1.0], "a cost for each"),
        ([10, 20], [1.0, 0.0], "positive"),
    ],
)
def test_what_has_no_slope_is_refused(lengths, costs, said):
    with pytest.raises(ValueError, match=said):
        exponent(lengths, costs)


def test_short_lengths_are_left_out_of_the_fit_where_there_are_enough_long_ones():
    assert lengths_to_fit([256, 512, 1024, 2048, 4096]) == [1024, 2048, 4096]
    assert lengths_to_fit([256, 512, 1024, 2048]) == [256, 512, 1024, 2048]


def test_the_crossover_of_two_powers_is_where_their_lines_cross():
    lengths = [256, 512, 1024, 2048, 4096]
    dense = {length: length**2 / 1e6 for length in lengths}
    other = {length: 700 * length / 1e6 for length in lengths}
    found = crossover(dense, other)
    assert found is not None and not found.is_always
    assert found.length == pytest.approx(700 * CLEARLY_FASTER, rel=1e-6)
    assert (found.shortest, found.longest) == (256, 4096)
    assert found.lead == pytest.approx(4096 / 700)


def test_faster_everywhere_nowhere_or_only_in_between():
    dense = {100: 1.0, 200: 4.0, 400: 16.0}
    always = crossover(dense, {100: 0.5, 200: 1.0, 400: 2.0})
    assert always is not None and always.is_always and always.length == 100
    never = crossover(dense, {100: 1.0, 200: 4.0, 400: 15.9})
    assert never is not None and never.length is None and not never.is_always
    between = crossover(dense, {100: 2.0, 200: 2.0, 400: 17.0})
    assert between is not None and between.length is None


def test_only_lengths_that_both_have_are_compared():
    found = crossover({100: 1.0, 200: 4.0}, {200: 1.0, 400: 1.0})
    assert found is not None and (found.shortest, found.longest) == (200, 200)
    assert crossover({100: 1.0}, {200: 1.0}) is None
