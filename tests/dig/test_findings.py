"""Findings are sentences that an interval carries: they appear with an effect and stay away without."""

import numpy as np
import pytest

from archaeology.dig.finding import distance_from, p_text
from archaeology.dig.findings import findings, headline


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
                    "ablation_loss": effect,
                    "ablation_loss_low": low if effect else -0.01,
                    "ablation_loss_high": high if effect else 0.01,
                    "verdict": "needed" if effect else "not shown to matter",
                    "label": "local" if layer == 0 else "mixed",
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


def test_heads_are_counted_by_verdict():
    found = {one["title"]: one["text"] for one in findings(results(), heads())}
    text = found["Most heads are not missed, one at a time"]
    assert "1 of 24 heads are needed and 0 do harm" in text and "23 not shown to matter" in text


def test_heads_with_a_trade_are_counted_by_label():
    found = {one["title"]: one for one in findings(results(), heads())}
    finding = found["4 of 24 heads have a trade of their own"]
    assert "4 local. The other 20 are mixed" in finding["text"] and finding["evidence"] == "specialization"
    unlabelled = [{**row, "label": "mixed"} for row in heads()]
    assert not any("trade" in title for title in titles(results(), unlabelled))


def board(winner):
    overall = [
        {
            "method": method,
            "mean_rank": interval(rank, rank - 0.2, rank + 0.3),
            "best_share": 0.9 if rank == 1 else 0.1,
            "beats_chance": ["deletion", "insertion"],
            "sanity": {"verdict": "fails" if method == "gradient" else "passes"},
            "can_win": method == winner,
        }
        for rank, method in ((1, "relevance"), (2, "gradient"))
    ]
    reason = "" if winner else "no method beats chance with enough of the judges"
    return {"overall": overall, "winner": winner, "reason": reason, "images": 40}


def test_the_map_to_believe_is_named_and_those_that_fail_are_too():
    judged = {**results(), "leaderboard": {"vit": board("relevance"), "cnn": None}}
    found = {one["title"]: one["text"] for one in findings(judged, heads())}
    text = found["For the ViT, believe Relevance first"]
    assert "mean rank 1.0 (0.8 to 1.3) among 2 methods" in text and "first in 90.0 % of resamples" in text
    assert "stay alike when all weights are shuffled" in text and "Gradient" in text
    assert not any("CNN, believe" in title for title in found)


def test_without_a_winner_doubt_is_advised():
    judged = {**results(), "leaderboard": {"vit": board(None), "cnn": board(None)}}
    found = {one["title"]: one["text"] for one in findings(judged, heads())}
    assert "no method beats chance" in found["No map of the CNN is shown to be better than chance"]


def curve(accuracies):
    return [
        {"order": order, "removed": step, "accuracy": value, "accuracy_low": value - 0.02}
        | {"accuracy_high": value + 0.02, "n": 100}
        for order in ("lazy greedy", "random 0")
        for step, value in enumerate(accuracies if order == "lazy greedy" else accuracies[::-1])
    ]


def test_heads_that_can_go_together_are_counted_until_accuracy_falls():
    pruned = {**results(), "pruning": {"num_chosen_on": 100}}
    found = {one["title"]: one for one in findings(pruned, heads(), curve=curve([0.8, 0.81, 0.79, 0.7, 0.8]))}
    assert "79.0 % (77.0 % to 81.0 %) instead of 80.0 %" in found["2 of 4 heads can go together"]["text"]
    assert not any("can go" in title for title in titles(pruned, heads()))
    nothing = findings(pruned, heads(), curve=curve([0.8, 0.7, 0.7]))
    assert not any("can go" in one["title"] for one in nothing)


def test_the_layer_worth_most_is_named_where_its_interval_is_above_zero():
    rows = [
        {"layer": layer, "part": part, "ablation_loss": loss, "ablation_loss_low": loss - 0.1, "n": 50}
        | {"ablation_loss_high": loss + 0.1}
        for layer, part, loss in ((0, "attention", 0.05), (1, "mlp", 2.0), (1, "attention", 0.5))
    ]
    found = {one["title"]: one["text"] for one in findings(results(), heads(), layers=rows)}
    assert (
        "raises the loss by 2.00 (95 % interval 1.90 to 2.10, n = 50)"
        in found["The MLP of layer 2 is worth most"]
    )
    assert not any("worth most" in one["title"] for one in findings(results(), heads(), layers=rows[:1]))


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
