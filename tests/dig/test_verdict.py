"""Who is right, who fails with whom, and which images are shown: against counts made by hand."""

import numpy as np
import pytest

from archaeology.dig.labels import match_classes, plain_name
from archaeology.dig.verdict import (
    choose_pairs,
    failure_types,
    independence,
    labelled_verdict,
    unlabelled_verdict,
)

VIT = np.array([True, True, False, False, False, True, False])
CNN = np.array([True, False, True, False, False, True, True])
SAME = np.array([True, False, False, True, False, True, False])
TYPES = ["none", "cnn-only", "vit-only", "both-same", "both-different", "none", "vit-only"]


def test_failure_types_name_the_one_that_is_wrong():
    assert failure_types(VIT, CNN, SAME) == TYPES


def test_labelled_verdict_counts_everything_once():
    verdict = labelled_verdict(VIT, CNN, TYPES, seed=0)
    assert verdict["accuracy"]["vit"]["value"] == pytest.approx(3 / 7)
    assert verdict["accuracy"]["cnn"]["value"] == pytest.approx(4 / 7)
    assert verdict["accuracy"]["difference"]["value"] == pytest.approx(-1 / 7)
    assert verdict["mcnemar"] == {"only_vit_right": 1, "only_cnn_right": 2, "n": 7, "p_value": 1.0}
    counts = {name: count for name, count in verdict["failures"].items() if name != "independence"}
    assert counts == {"none": 2, "vit-only": 2, "cnn-only": 1, "both-same": 1, "both-different": 1}
    assert sum(counts.values()) == 7


def test_independence_expects_the_product_of_the_failure_rates():
    found = independence(VIT, CNN)
    assert found["observed_both_wrong"] == 2
    assert found["expected_both_wrong"] == pytest.approx(4 * 3 / 7)
    assert found["low"] < found["odds_ratio"] < found["high"]


def test_odds_of_independent_failures_are_one():
    rng = np.random.default_rng(0)
    vit, cnn = rng.random(4000) < 0.7, rng.random(4000) < 0.8
    found = independence(vit, cnn)
    assert found["low"] < 1 < found["high"]


def test_no_odds_where_a_model_never_fails():
    found = independence(np.ones(5, dtype=bool), CNN[:5])
    assert found["odds_ratio"] is None and found["observed_both_wrong"] == 0


def test_without_labels_agreement_is_counted():
    verdict = unlabelled_verdict(SAME)
    assert verdict["accuracy"] is None and verdict["agreement"]["value"] == pytest.approx(3 / 7)


def test_pairs_show_the_surest_failures_of_every_type_first_and_no_image_twice():
    confidence = np.linspace(0, 1, len(TYPES))
    assert choose_pairs(TYPES, confidence, 5)[:4] == [3, 4, 6, 1]
    assert sorted(choose_pairs(TYPES, confidence, 7)) == list(range(7))
    assert len(set(choose_pairs(TYPES, confidence, 6))) == 6
    assert len(choose_pairs(["none"] * 9, np.zeros(9), 4)) == 4
    assert len(choose_pairs([None] * 9, np.zeros(9), 4)) == 4
    assert len(choose_pairs(["both-same"] * 9, np.arange(9.0), 5)) == 5


def test_classes_are_matched_by_plain_name_in_any_order():
    match = match_classes(
        ["Great_White-Shark", "tench"], ["tench, Tinca tinca", "x", "great white shark, man-eater"]
    )
    assert match.logit.tolist() == [2, 0] and match.reason == "classes matched by name"


def test_nameless_models_are_matched_by_place_only_where_the_count_fits():
    assert match_classes(["cat", "dog"], ["class_0", "class_1"]).logit.tolist() == [0, 1]
    refused = match_classes(["cat", "dog"], ["class_0", "class_1", "class_2"])
    assert (
        refused.logit is None
        and "2 of 2 classes of the data are unknown to the model (cat, dog)" in refused.reason
    )


def test_no_match_says_why():
    assert match_classes([], ["cat"]).reason == "the data has no labels"
    assert match_classes(["cat"], []).reason == "the model names no classes"
    assert "(bird); rename the folders" in match_classes(["cat", "bird"], ["cat", "dog"]).reason


def test_plain_name():
    assert plain_name("Egyptian_cat, Felis  catus") == "egyptian cat"
