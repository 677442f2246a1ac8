"""Findings are sentences that an interval carries: they appear with an effect and stay away without."""

import numpy as np
import pytest

from archaeology.dig.findings import distance_from, findings, headline, p_text


def interval(value, low, high, n=1000):
    return {"value": value, "low": low, "high": high, "n": n, "method": "wilson"}


def results(gap=(-0.07, -0.1, -0.04), odds=(6.0, 4.0, 9.0)):
    return {
        "accuracy": {
            "vit": interval(0.79, 0.76, 0.82),
            "cnn": interval(0.86, 0.84, 0.88),
            "difference": interval(*gap),
        },
        "mcnemar": {"only_vit_right": 50, "only_cnn_right": 120, "n": 1000, "p_value": 1e-7},
        "failures": {
            "none": 740,
            "vit-only": 120,
            "cnn-only": 50,
            "both-same": 50,
            "both-different": 40,
            "independence": {
                "expected_both_wrong": 29.0,
                "observed_both_wrong": 90,
                "odds_ratio": odds[0],
                "low": odds[1],
                "high": odds[2],
            },
        },
        "n": 1000,
    }


def heads(drop=0.05, low=0.03, high=0.07, rising=True, mass=0.05):
    rng = np.random.default_rng(0)
    table = []
    for layer in range(6):
        for head in range(4):
            level = layer if rising else 3 * rng.random()
            effect = drop if (layer, head) == (2, 1) else 0.0
            table.append(
                {
                    "layer": layer,
                    "head": head,
                    "module": f"blocks.{layer}.attn",
                    "entropy": 1 + level,
                    "distance": 10.0 + 0.01 * rng.random(),
                    "class_token_mass": mass,
                    "class_token_mass_low": mass - 0.01,
                    "ablation_accuracy": effect,
                    "ablation_accuracy_low": low if effect else -0.01,
                    "ablation_accuracy_high": high if effect else 0.01,
                    "ablation_n": 500,
                }
            )
    return table


def titles(*given):
    return [finding["title"] for finding in findings(*given)]


def test_a_clear_difference_is_named_with_its_numbers():
    found = findings(results(), heads())
    best = next(finding for finding in found if finding["title"] == "The CNN is better")
    assert "7.0 points more often than the ViT" in best["text"] and "p < 0.001" in best["text"]
    assert best["evidence"] == "verdict"


def test_a_difference_within_its_interval_is_called_none():
    assert "Neither model is shown to be better" in titles(results(gap=(-0.01, -0.03, 0.01)), heads())


def test_joint_failures_only_where_the_odds_exclude_one():
    assert "They fail on the same images" in titles(results(), heads())
    assert "They fail on the same images" not in titles(results(odds=(1.2, 0.8, 1.9)), heads())


def test_depth_is_only_mentioned_where_it_matters():
    assert "Attention spreads out with depth" in titles(results(), heads())
    assert not any("depth" in title for title in titles(results(), heads(rising=False)))


def test_the_head_that_matters_most_is_counted_from_one():
    found = titles(results(), heads())
    assert "Head 2 of layer 3 matters most" in found
    assert "Most heads are not missed, one at a time" in found
    assert not any("matters most" in title for title in titles(results(), heads(low=-0.01)))


def test_class_token_sinks_are_named():
    assert "Some heads look at the class token" in titles(results(), heads(mass=0.6))
    assert "Some heads look at the class token" not in titles(results(), heads())


def test_findings_come_strongest_first():
    strengths = [finding["strength"] for finding in findings(results(), heads())]
    assert strengths == sorted(strengths, reverse=True) and min(strengths) >= 1


def test_headline_says_who_is_right_more_often_and_how_sure_that_is():
    assert (
        "surely right less often (difference -7.0 points, 95 % interval -10.0 points to -4.0 points)"
        in headline(results())
    )
    assert "right no more often" in headline(results(gap=(-0.01, -0.03, 0.01)))
    without = {"accuracy": None, "agreement": interval(0.6, 0.5, 0.7, 100)}
    assert "agree on 60.0 % of 100 images" in headline(without)


@pytest.mark.parametrize(
    ("value", "low", "high", "expected"), [(2, 1, 3, 2), (-2, -3, -1, 2), (1, -1, 3, 0.5)]
)
def test_distance_counts_half_widths(value, low, high, expected):
    assert distance_from(0.0, interval(value, low, high)) == expected


def test_p_values_are_not_over_precise():
    assert (p_text(0.0312), p_text(1e-9)) == ("= 0.031", "< 0.001")
