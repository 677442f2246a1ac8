"""A rule holds where the interval lies beyond its threshold, beliefs grow with distance, the first rule wins."""

import math

import pytest

from archaeology.stats.labels import (
    LABELS,
    RULES,
    SURE,
    belief,
    label_head,
    simultaneous_level,
)

ABOVE = next(rule for rule in RULES if rule.label == "broad")
BELOW = next(rule for rule in RULES if rule.label == "local")


def figures(**given):
    unknown = {rule.figure: math.nan for rule in RULES}
    return unknown | given, {name: 0.1 for name in unknown}


@pytest.mark.parametrize(
    ("value", "half", "expected"),
    [(0.5, 0.1, 0.5), (0.6, 0.1, 0.75), (0.4, 0.1, 0.25), (0.9, 0.0, 1), (0.1, 0.0, 0), (0.5, 0.0, 0.5)],
)
def test_belief_is_half_on_the_threshold_and_three_quarters_where_the_interval_reaches_it(
    value, half, expected
):
    assert belief(ABOVE, value, half) == pytest.approx(expected)
    assert belief(BELOW, 1 - value, half) == pytest.approx(expected)


def test_unknown_figures_hold_nothing():
    assert math.isnan(belief(ABOVE, math.nan, 0.1)) and math.isnan(belief(ABOVE, 0.9, math.nan))
    nothing = label_head(*figures())
    assert (nothing.label, nothing.confidence, nothing.holds, nothing.nearest) == ("mixed", 0.0, (), "")


def test_first_rule_that_surely_holds_gives_the_label():
    found = label_head(*figures(position_share=0.9, edge_alignment=0.95, participation=0.59))
    assert found.label == "positional" and found.holds == ("positional", "edge-driven")
    assert found.confidence == pytest.approx(0.5 * (1 + 0.4 / 0.5)) and found.confidence > SURE


def test_an_interval_that_touches_the_threshold_is_mixed_and_says_what_is_near():
    found = label_head(*figures(participation=0.59, edge_alignment=0.0))
    assert found.label == "mixed" and found.nearest == "broad" and found.holds == ()
    assert found.confidence == pytest.approx(1 - 0.5 * (1 + 0.09 / 0.19))
    surely = label_head(*figures(participation=0.0, edge_alignment=-0.7))
    assert surely.label == "mixed" and surely.confidence == pytest.approx(1 - 0.5 * (1 - 0.5 / 0.6))


def test_every_rule_has_a_label_and_a_reason_of_its_own():
    assert len(set(LABELS)) == len(RULES) + 1 == 9
    assert all(rule.reason for rule in RULES)
    assert simultaneous_level(144) == pytest.approx(1 - 0.1 / (144 * 8))
