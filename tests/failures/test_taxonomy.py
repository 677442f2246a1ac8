"""The taxonomy: each rule on both sides of its threshold, counts with intervals, and worlds with nothing to sort."""

import numpy as np
import pytest

from archaeology.core.intervals import wilson
from archaeology.failures.taxonomy import Evidence, kinds, sort_failures


def probability(answer, sure, label=None, of_label=0.0, classes=4):
    row = np.zeros(classes)
    row[answer] = sure
    if label is not None:
        row[label] = of_label
    rest = [c for c in range(classes) if row[c] == 0]
    row[rest] = (1 - row.sum()) / len(rest)
    return row


def evidence(rows, other=None, mass=None, num_classes=None, **attributes):
    """Images of class 0 that the model answers by these rows."""
    found = np.stack(rows)
    n = len(found)
    return Evidence(
        np.zeros(n, int),
        found.shape[1] if num_classes is None else num_classes,
        found,
        found if other is None else np.stack(other),
        np.full(n, np.nan) if mass is None else np.array(mass),
        {name: np.asarray(values, float) for name, values in attributes.items()},
    )


def holds(name, known):
    found, can_tell = kinds.get(name).holds(known)
    return (found & can_tell).tolist()


def test_a_wrong_label_needs_two_sure_models_that_agree():
    sure, unsure, elsewhere = probability(2, 0.97), probability(2, 0.89), probability(3, 0.97)
    label_left = probability(2, 0.91, 0, 0.06)
    right = probability(0, 0.99)
    rows, other = [sure, sure, sure, label_left, unsure, right], [sure, elsewhere, unsure, sure, sure, right]
    assert holds("suspect_label", evidence(rows, other)) == [True, False, False, False, False, False]


def test_classes_that_the_data_does_not_know_are_not_the_same_answer():
    """Each model has others, and all of them share the last column."""
    rows = [probability(3, 0.97), probability(2, 0.97)]
    assert holds("suspect_label", evidence(rows, rows, num_classes=3)) == [False, True]


def test_torn_between_two():
    rows = [
        probability(1, 0.5, 0, 0.4),
        probability(1, 0.6, 0, 0.34),  # too far apart
        probability(1, 0.4, 0, 0.3),  # too little shared
        probability(0, 0.5, 1, 0.4),  # right
    ]
    assert holds("ambiguous", evidence(rows)) == [True, False, False, False]


def test_where_it_looked():
    known = evidence([probability(1, 0.6)] * 4, mass=[0.79, 0.8, 1.25, np.nan])
    assert holds("looked_away", known) == [True, False, False, False]
    assert holds("looked_and_erred", known) == [False, False, True, False]


def test_poor_pictures_are_beyond_those_named_right():
    rows = [probability(0, 0.9)] * 100 + [probability(1, 0.9)] * 3
    brightness = [*np.linspace(0.3, 0.7, 100), 0.29, 0.71, 0.5]
    sharp = [*np.linspace(0.3, 0.7, 100), 0.5, 0.5, 0.9]
    found = holds("poor_picture", evidence(rows, brightness=brightness, sharpness=sharp))
    assert found[100:] == [True, True, False] and 4 <= sum(found[:100]) <= 6
    assert not any(holds("poor_picture", evidence(rows, brightness=np.full(103, 0.5))))


def test_few_images_named_right_have_no_tail():
    rows = [probability(0, 0.9)] * 49 + [probability(1, 0.9)] * 3
    found = sort_failures(evidence(rows, brightness=[*np.linspace(0.3, 0.7, 49), 0.1, 0.9, 0.5]))
    assert "poor_picture" in found.missing


def test_sure_and_shared():
    right, wrong = probability(0, 0.9), probability(1, 0.9)
    known = evidence([wrong, probability(1, 0.89), right], [right, wrong, wrong])
    assert holds("sure_and_wrong", known) == [True, False, False]
    assert holds("shared", known) == [False, True, True]


def test_counts_are_of_the_failures_that_can_be_told():
    rows = [probability(1, 0.6)] * 6 + [probability(0, 0.9)] * 10
    mass = [0.5, 0.5, 2.0, 1.0, np.nan, np.nan] + [0.5] + [2.0] * 4 + [np.nan] * 5
    found = sort_failures(evidence(rows, [probability(0, 0.9)] * 16, mass))
    counts = {one.name: one for one in found.counts}
    assert counts["looked_away"].count == 2 and counts["looked_away"].share == wilson(2, 4)
    assert counts["looked_away"].among_right == wilson(1, 5) and counts["looked_away"].examples == (0, 1)
    assert counts["sure_and_wrong"].among_right is None
    assert found.unexplained == wilson(3, 6) and found.num_failures == 6
    assert found.of_image(0) == ("looked_away",) and found.of_image(2) == ("looked_and_erred",)
    assert "poor_picture" in found.missing


def test_every_kind_says_its_thresholds():
    for name in kinds:
        kind = kinds.get(name)
        assert kind.title and (any(c.isdigit() for c in kind.rule) or name == "shared")


def test_no_failure_and_nothing_but_failures():
    none = sort_failures(evidence([probability(0, 0.9)] * 5))
    assert not none.counts and none.unexplained is None and "no failure to sort" in none.reason
    every = sort_failures(evidence([probability(1, 0.95)] * 5, brightness=np.arange(5.0)))
    counts = {one.name: one for one in every.counts}
    assert counts["shared"].count == 5 and counts["shared"].among_right is None
    assert "poor_picture" in every.missing  # nothing named right to hold it against


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="same images and classes"):
        evidence([probability(1, 0.6)] * 3, mass=[1.0])
    with pytest.raises(ValueError, match="same images and classes"):
        evidence([probability(1, 0.6)] * 3, [probability(1, 0.6, classes=5)] * 3)
