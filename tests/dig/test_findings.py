"""Findings are sentences that an interval carries: they appear with an effect and stay away without."""

import numpy as np
import pytest
from scipy import stats

from archaeology.dig.finding import (
    Finding,
    answered,
    distance_from,
    measured,
    p_between,
    p_of,
    p_text,
    unanswered,
)
from archaeology.dig.findings import findings, headline, questions
from archaeology.dig.head_findings import rank_interval


def interval(value, low, high, n=1000):
    return {"value": float(value), "low": float(low), "high": float(high), "n": n, "method": "wilson"}


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
                    "class_token_mass_high": mass + 0.01,
                    "ablation_accuracy": effect,
                    "ablation_accuracy_low": low if effect else -0.01,
                    "ablation_accuracy_high": high if effect else 0.01,
                    "ablation_loss": effect,
                    "ablation_loss_low": low if effect else -0.01,
                    "ablation_loss_high": high if effect else 0.01,
                    "verdict": "needed" if effect else "not shown to matter",
                    "label": "local" if layer == 0 else "mixed",
                    "confidence": 0.85 if layer == 0 else 0.6,
                    "ablation_n": 500,
                    "n": 500,
                }
            )
    return table


def titles(*given):
    return [finding["title"] for finding in findings(*given)]


def test_a_clear_difference_is_named_with_its_numbers():
    found = findings(results(), heads())
    best = next(finding for finding in found if finding["title"] == "The CNN is right more often")
    assert "7.0 points more often than the ViT" in best["text"] and "p < 0.001" in best["text"]
    assert best["evidence"] == "verdict"
    assert best["measure"] == {
        "name": "lead over the ViT", "value": pytest.approx(7.0), "low": pytest.approx(4.0),
        "high": pytest.approx(10.0), "unit": "points", "n": 1000, "of": "images",
    }  # fmt: skip


def test_a_difference_within_its_interval_is_no_finding():
    assert not any("more often" in title for title in titles(results(gap=(-0.01, -0.03, 0.01)), heads()))


def test_joint_failures_only_where_the_odds_exclude_one():
    assert "They fail on the same images" in titles(results(), heads())
    assert "They fail on the same images" not in titles(results(odds=(1.2, 0.8, 1.9)), heads())


def test_depth_is_only_mentioned_where_it_matters():
    assert "Attention spreads out with depth" in titles(results(), heads())
    assert not any("depth" in title for title in titles(results(), heads(rising=False)))


def test_the_head_that_matters_most_is_counted_from_one():
    found = titles(results(), heads())
    assert "Head 2 of layer 3 matters most" in found
    assert "1 of 24 heads are needed, one at a time" in found
    assert not any("matters most" in title for title in titles(results(), heads(low=-0.01)))


def test_heads_are_counted_by_verdict():
    found = {one["title"]: one["text"] for one in findings(results(), heads())}
    text = found["1 of 24 heads are needed, one at a time"]
    assert "1 of 24 heads are needed and 0 do harm" in text and "23 not shown to matter" in text


def test_heads_with_a_trade_are_counted_by_label():
    found = {one["title"]: one for one in findings(results(), heads())}
    finding = found["4 of 24 heads have a trade of their own"]
    assert "4 local. The other 20 are mixed" in finding["text"] and finding["evidence"] == "specialization"
    barely = [{**row, "confidence": 0.7501} for row in heads()]
    assert not any("trade" in title for title in titles(results(), barely))
    unlabelled = [{**row, "label": "mixed"} for row in heads()]
    assert not any("trade" in title for title in titles(results(), unlabelled))


def board(winner, share=0.96):
    overall = [
        {
            "method": method,
            "mean_rank": interval(rank, rank - 0.2, rank + 0.3),
            "best_share": share if rank == 1 else 0.1,
            "beats_chance": ["deletion", "insertion"],
            "sanity": {"verdict": "fails" if method == "gradient" else "passes"},
            "can_win": method == winner,
        }
        for rank, method in ((1, "relevance"), (2, "gradient"))
    ]
    reason = "" if winner else "no method beats chance with enough of the judges"
    standings = [
        {"method": "relevance", "judge": judge, "above_chance": interval(gap, gap - 0.05, gap + 0.05)}
        for judge, gap in (("deletion", 0.3), ("insertion", 0.2), ("complexity", 0.0))
    ]
    return {"overall": overall, "winner": winner, "reason": reason, "images": 40} | {
        "verdicts": [{"standings": standings}]
    }


def test_the_map_to_believe_is_named_and_those_that_fail_are_too():
    judged = {**results(), "leaderboard": {"vit": board("relevance"), "cnn": None}}
    found = {one["title"]: one["text"] for one in findings(judged, heads())}
    text = found["For the ViT, believe Relevance first"]
    assert (
        "mean rank 1.0 (95 % interval 0.8 to 1.3) among 2 methods" in text
        and "first in 96.0 % of resamples" in text
    )
    assert "stay alike when all weights are shuffled" in text and "Gradient" in text
    assert not any("CNN, believe" in title for title in found)


def test_without_a_winner_nothing_is_found_and_a_close_winner_is_not_called_the_first():
    judged = {**results(), "leaderboard": {"vit": board(None), "cnn": board("relevance", share=0.5)}}
    said = [one["title"] for one in findings(judged, heads()) if one["evidence"] == "leaderboard"]
    assert said == ["For the CNN, Relevance beats chance, but is not shown to be the first"]


def curve(accuracies):
    return [
        {"order": order, "removed": step, "accuracy": value, "accuracy_low": value - 0.02}
        | {"accuracy_high": value + 0.02, "n": 100}
        for order in ("lazy greedy", "random 0")
        for step, value in enumerate(accuracies if order == "lazy greedy" else accuracies[::-1])
    ]


def pruning(greedy, *random):
    orders = {"lazy greedy": greedy} | {f"random {seed}": value for seed, value in enumerate(random)}
    return {"num_chosen_on": 100} | {
        "mean_accuracies": {
            name: interval(value, value - 0.03, value + 0.03) for name, value in orders.items()
        }
    }


def test_an_order_of_heads_is_worth_a_sentence_where_it_beats_every_random_one():
    pruned = {**results(), "pruning": pruning(0.75, 0.6, 0.5)}
    steps = curve([0.8, 0.81, 0.79, 0.7, 0.8])
    found = {one["title"]: one["text"] for one in findings(pruned, heads(), curve=steps)}
    text = found["Heads removed by their worth leave more accuracy than heads removed at random"]
    assert "75.0 % (95 % interval 72.0 % to 78.0 %)" in text and "at most 60.0 % in random orders" in text
    assert "2 of 4 heads go before" in text and "79.0 % (77.0 % to 81.0 %) instead of 80.0 %" in text
    for other in (pruning(0.75, 0.6, 0.73), pruning(0.75)):
        said = findings({**results(), "pruning": other}, heads(), curve=steps)
        assert not any("removed" in one["title"] for one in said)
    assert not any("removed" in title for title in titles(pruned, heads()))
    nothing = findings(pruned, heads(), curve=curve([0.8, 0.7, 0.7]))
    assert not any("removed" in one["title"] for one in nothing)


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
        "the ViT is right less often (difference -7.0 points, 95 % interval -10.0 points to -4.0 points)"
        in headline(results())
    )
    assert "neither is shown to be right more often" in headline(results(gap=(-0.01, -0.03, 0.01)))
    without = {"accuracy": None, "agreement": interval(0.6, 0.5, 0.7, 100)}
    assert "agree on 60.0 % of 100 images" in headline(without)


@pytest.mark.parametrize(
    ("value", "low", "high", "expected"), [(2, 1, 3, 2), (-2, -3, -1, 2), (1, -1, 3, 0.5)]
)
def test_distance_counts_half_widths(value, low, high, expected):
    assert distance_from(0.0, interval(value, low, high)) == expected


def test_p_values_are_not_over_precise():
    assert (p_text(0.0312), p_text(1e-9)) == ("= 0.031", "< 0.001")


def test_what_was_asked_in_vain_makes_what_was_found_less_sure():
    one = Finding("Something", "is found.", "verdict", 2.0, 0.02)
    assert [found.p_corrected for found in answered([one])] == [0.02]
    assert [found.p_corrected for found in answered([one, unanswered("pruning", 0.9)])] == [0.04]
    assert answered([one, *(unanswered("pruning", 0.9) for _ in range(2))]) == []
    assert answered([unanswered("pruning", 1e-9)]) == [] == answered([])


def test_every_finding_is_significant_after_correction_for_all_questions():
    asked = questions(results(), heads())
    kept = findings(results(), heads())
    assert 0 < len(kept) < len(asked)
    assert all(one["p_value"] <= one["p_corrected"] < 0.05 for one in kept)


def test_numbers_of_chance_become_findings_no_more_often_than_promised():
    rng, false = np.random.default_rng(0), 0
    for _ in range(400):
        asked = []
        for _ in range(20):
            value = rng.normal()
            asked.append(Finding("x", "x", "x", 2.0, p_of(interval(value, value - 1.96, value + 1.96))))
        false += bool(answered(asked))
    assert false / 400 < 0.05 + 3 * (0.05 * 0.95 / 400) ** 0.5


def test_p_values_of_intervals():
    assert p_of(interval(1.96, 0.0, 3.92)) == pytest.approx(0.05, abs=1e-4)
    assert p_of(interval(-1.96, -9, 0.0)) == pytest.approx(0.05, abs=1e-4)
    assert p_of(interval(3, 2, 4), 2.0, tried=3) == pytest.approx(0.15, abs=1e-3)
    assert p_of(interval(1, 1, 1)) == 1.0 and p_of(interval(1, float("nan"), 2)) == 1.0
    assert p_of(interval(1, 0.9, float("inf"))) < 1e-9
    half = float(stats.t.ppf(0.975, 7))
    student = p_between(interval(5, 5 - half, 5 + half), interval(0, 0, 0), freedom=7)
    assert student == pytest.approx(2 * stats.t.sf(5, 7))
    apart = p_between(interval(2, 1, 3), interval(0, -1, 1))
    assert (
        apart == pytest.approx(p_of(interval(2, 2 - 2**0.5, 9)))
        and p_between(interval(0, -1, 1), interval(2, 1, 3)) == 1
    )


def test_a_measure_is_in_the_unit_it_names():
    made = measured("share", interval(0.5, 0.4, 0.6), "%", 12, "decisions")
    assert (made.value, made.low, made.high, made.n, made.of) == (50, 40, 60, 12, "decisions")
    assert measured("odds", interval(2, 1, 3), "times", 5).value == 2


def test_the_interval_of_a_rank_correlation_covers_and_stays_inside():
    found = rank_interval(0.5, 24)
    assert found["low"] == pytest.approx(0.096, abs=0.01) and found["high"] == pytest.approx(0.763, abs=0.01)
    assert rank_interval(1.0, 3)["low"] == -1 and rank_interval(1.0, 30)["high"] <= 1
