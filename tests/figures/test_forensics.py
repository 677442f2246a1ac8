"""Leaderboards, labels of heads, pruned heads and ablated layers on numbers small enough to check by hand."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from archaeology.dig.directory import RunDirectory
from archaeology.figures import layer_ablation, leaderboard_vit, pruning, specialization
from archaeology.figures._effects import effects_headline, effects_table, head_effects
from archaeology.figures._leaderboard import board, board_headline, board_table
from archaeology.figures.pruning import can_go
from archaeology.figures.specialization import LETTERS, rule_words
from archaeology.stats.labels import LABELS, RULES


class FakeRun(RunDirectory):
    """A run with given results and tables."""

    def __init__(self, results=None, **tables):
        self.__dict__.update(results=results or {}, has_truth=True)
        self.__dict__.update({name: pa.Table.from_pylist(rows) for name, rows in tables.items()})


def interval(value, half=0.1):
    return {
        "value": value,
        "low": value - half,
        "high": value + half,
        "n": 9,
        "method": "made up",
        "level": 0.95,
    }


def verdict(judge, counts, marks):
    standings = [
        {"method": method, "above_chance": interval(value), "beats_chance": value > 0.2}
        for method, value in marks.items()
    ]
    return {"judge": judge, "kind": "faithfulness", "counts": counts, "winner": "lrp", "standings": standings}


def overall(method, rank, sanity=None, share=0.5):
    checked = None if sanity is None else {"verdict": sanity}
    return {"method": method, "mean_rank": interval(rank), "best_share": share, "sanity": checked}


def leaderboard_of(**changed):
    marks = {"random": 0.0, "rollout": 0.1, "lrp": 0.5, "occlusion": 0.4}
    found = {
        "verdicts": [
            verdict("stability", False, marks),
            verdict("srg", True, marks),
            verdict("road", True, marks),
        ],
        "overall": [
            overall("lrp", 1.0, "passes"),
            overall("occlusion", 2.0),
            overall("rollout", 3.0, "fails"),
        ],
        "winner": "lrp",
        "reason": "",
        "rule": "the best",
        "floor": "random",
        "missing": {},
        "images": 9,
    }
    return FakeRun({"leaderboard": {"vit": json.loads(json.dumps(found | changed)), "cnn": None}})


def test_a_board_has_the_best_method_first_the_random_map_last_and_judges_that_decide_first():
    data = board(leaderboard_of(), "vit")
    assert data.methods == ("lrp", "occlusion", "rollout", "random")
    assert data.judges == ("srg", "road", "stability") and (data.num_deciding, data.shown) == (2, 2)
    np.testing.assert_allclose(data.above[:, 0], [0.5, 0.4, 0.1, 0.0])
    np.testing.assert_allclose(data.high[0], 0.6)
    np.testing.assert_array_equal(data.beats[:, 1], [True, True, False, False])
    assert data.sanity == ("passes", "", "fails", "") and data.num_contenders == 3
    assert np.isnan(data.rank[3])


def test_the_winner_is_named_with_its_rank_and_how_often_it_is_first():
    data = board(leaderboard_of(), "vit")
    said = board_headline(data)
    assert said.startswith(
        "For the ViT, believe LRP: mean rank 1.0 of 3 (95 % interval 0.9 to 1.1, 9 images), better than chance with 2 "
        "of 2 judges that decide, and it passes the randomization check."
    )
    assert "It is first in 50" in said
    assert "others may be as good" not in board_headline(replace(data, best_share=np.full(4, 0.95)))
    undecided = replace(data, sanity=("undecided", "", "", ""))
    assert "while the randomization check is undecided" in board_headline(undecided)


def test_without_a_winner_the_reason_is_said_and_nothing_is_starred():
    data = board(leaderboard_of(winner=None, reason="no judge counts"), "vit")
    assert (
        board_headline(data)
        == "For the ViT no map is shown to be worth believing: no judge counts (9 images)."
    )
    assert not any("winner" in row[0] for row in board_table(data).rows)
    leaderboard_vit.draw(data)


def test_judges_that_all_do_not_decide_are_shown_all_the_same():
    verdicts = [verdict("stability", False, {"random": 0.0, "lrp": 0.5})]
    data = board(leaderboard_of(verdicts=verdicts, overall=[], winner=None, reason="no judge counts"), "vit")
    assert data.shown == 1 and not np.isfinite(data.rank).any()
    leaderboard_vit.draw(data)


def test_a_table_of_a_board_has_every_judge_and_stars():
    table = board_table(board(leaderboard_of(), "vit"))
    assert table.columns == ("Method", "Mean rank", "Randomization check", "Relevance gain", "ROAD",
                             "Stability (does not decide)")  # fmt: skip
    assert table.rows[0] == ("LRP (winner)", "1.0 (0.90 to 1.1)", "passes", *["0.50* (0.40 to 0.60)"] * 3)
    assert table.rows[2][2] == "fails" and table.rows[3][1] == "\u2013"


@pytest.mark.parametrize("found", [{}, {"leaderboard": None}, {"leaderboard": {"vit": None, "cnn": None}}])
def test_a_run_without_a_leaderboard_has_no_board(found):
    assert board(FakeRun(found), "vit") is None


def head(layer, number, label, confidence=0.9, nearest="", **more):
    said = {"label": label, "confidence": confidence, "nearest": nearest}
    return {"layer": layer, "head": number, "n": 13} | said | more


def test_labels_are_counted_and_told_with_their_sureness():
    rows = [
        head(0, 0, "local"),
        head(0, 1, "local", 1.0),
        head(1, 0, "mixed", 0.4, "sink"),
        head(1, 2, "sink", 0.8),
    ]
    data = specialization.compute(FakeRun(heads=rows))
    assert data.label.shape == (2, 3) and data.label[0, 2] == -1
    assert specialization.headline(data) == (
        "Of 4 heads: 2 local, 1 sink; for 1 no rule surely holds (mixed) (13 images)."
    )
    cells = specialization.table(data).rows
    assert cells[0][1:] == ("local, 90\u202f% sure", "local, 100\u202f% sure", "\u2013")
    assert cells[1][1:] == ("mixed, nearest to sink", "\u2013", "sink, 80\u202f% sure")


def test_heads_without_a_rule_are_not_called_anything():
    data = specialization.compute(FakeRun(heads=[head(0, 0, "mixed"), head(0, 1, "mixed")]))
    assert specialization.headline(data) == "Of 2 heads, none surely follows one of the rules on 13 images."
    assert specialization.compute(FakeRun(heads=[head(0, 0, None)])) is None


def test_a_surer_label_has_a_stronger_colour_and_an_absent_head_none():
    from archaeology.figures.specialization import LABEL_COLOURS, _colours

    data = specialization.compute(
        FakeRun(heads=[head(0, 0, "sink", 0.75), head(0, 1, "sink", 1.0), head(1, 0, "sink")])
    )
    colours = _colours(data)
    assert colours[1, 1, 3] == 0 and colours[0, 0, 3] == 1
    from matplotlib.colors import to_hex

    assert to_hex(colours[0, 1, :3]) == LABEL_COLOURS["sink"]
    assert colours[0, 0, :3].sum() > colours[1, 0, :3].sum() > colours[0, 1, :3].sum()


def test_every_label_has_a_letter_and_every_rule_words():
    assert len(set(LETTERS.values())) == len(LABELS) == len(LETTERS)
    assert rule_words(RULES[0]) == "class token mass above 0.5"


def pruned(order, accuracies, n=100):
    return [
        {
            "order": order,
            "removed": step,
            "layer": None,
            "head": None,
            "accuracy": value,
            "accuracy_low": value - 0.1,
        }
        | {"accuracy_high": value + 0.1, "n": n}
        for step, value in enumerate(accuracies)
    ]


def test_random_orders_become_one_line_with_their_widest_band():
    rows = [
        *pruned("greedy", [0.8, 0.8, 0.795, 0.5]),
        *pruned("random 0", [0.8, 0.6, 0.4, 0.5]),
        *pruned("random 1", [0.8, 0.4, 0.2, 0.5]),
    ]
    facts = {"num_chosen_on": 99, "replacement": "mean", "mean_accuracies": {"greedy": interval(0.7)}}
    data = pruning.compute(FakeRun({"pruning": facts}, pruning=rows))
    greedy, random = data.lines
    np.testing.assert_allclose(random.value, [80, 50, 30, 50])
    np.testing.assert_allclose((random.low[1], random.high[1]), (30, 70))
    assert (greedy.can_go, random.can_go, random.num_orders, data.num_heads) == (2, 0, 2, 3)
    assert greedy.mean == pytest.approx((70, 60, 80)) and np.isnan(random.mean[0])
    assert pruning.headline(data) == (
        "2 of 3 heads can go in the greedy order before accuracy lies more than 1 point below the whole model's; 0 in "
        "random order (mean of 2) (measured on 100 images, chosen on 99 others)."
    )
    assert pruning.table(data).rows[-1] == ("Mean of all steps", "70.0 (60.0 to 80.0)", "\u2013")


@pytest.mark.parametrize(
    ("accuracy", "steps"), [([80, 79, 78.9, 80], 1), ([80, 85, 90], 2), ([80, 10, 80], 0), ([80.0, 79.0], 1)]
)
def test_heads_can_go_up_to_the_first_step_that_costs_more_than_a_point(accuracy, steps):
    assert can_go(np.array(accuracy, dtype=float)) == steps


def part(layer, kind, effect, matters):
    row = {"layer": layer, "part": kind, "module": "m", "n": 11, "p_corrected": 0.01 if matters else 1.0}
    for name, scale in (("ablation_loss", 1.0), ("ablation_accuracy", 0.1)):
        row |= {
            name: scale * effect,
            f"{name}_low": scale * (effect - 0.1),
            f"{name}_high": scale * (effect + 0.1),
        }
    return row | {"matters": matters, "verdict": "needed" if matters else "not shown to matter"}


def test_the_costliest_part_is_named_and_parts_that_matter_are_counted():
    rows = [part(0, "attention", 0.5, True), part(1, "attention", 0.0, False), part(0, "mlp", 0.9, True)]
    data = layer_ablation.compute(FakeRun(layers=rows))
    assert data.depth == 2 and np.isnan(data.parts[1].loss[0, 1])
    assert layer_ablation.headline(data) == (
        "Replacing the MLP of layer 1 costs most: the loss rises by 0.90 nats (95 % interval 0.80 to 1.00), accuracy "
        "falls by 9.0 points (8.0 to 10.0). After correction for many comparisons 1 of 2 attention layers matters and "
        "1 of 1 MLP matters (11 images)."
    )
    table = layer_ablation.table(data)
    assert [row[0] for row in table.rows] == ["1, attention", "1, MLP", "2, attention"]
    assert table.rows[0][1:] == ("0.500 (0.400 to 0.600)", "5.0 (4.0 to 6.0)", "0.010", "needed")
    layer_ablation.draw(data)


def test_heads_whose_corrected_test_is_clear_are_marked_and_counted():
    heads = [
        {
            "layer": 0,
            "head": number,
            "ablation_n": 7,
            "cost": cost,
            "cost_low": cost - 0.1,
            "cost_high": cost + 0.1,
        }
        | {"p": p}
        for number, (cost, p) in enumerate([(0.5, 0.001), (0.2, 0.2), (0.0, 1.0)])
    ]
    data = head_effects(FakeRun(heads=heads), "cost", decimals=1, test="p")
    np.testing.assert_array_equal(data.stands, [[True, False, False]])
    assert (
        "2 have an interval above zero and 0 below; corrected for all heads tried, 1 matters (7 images)."
        in effects_headline(data, "costs", "")
    )
    assert [cell[:4] for cell in effects_table(data).rows[0][1:]] == ["0.5*", "0.2*", "0.0 "]
    assert effects_table(data).rows[0][1].startswith("0.5** (")
    without = head_effects(FakeRun(heads=heads), "cost", decimals=1, test="no_such_column")
    assert without.stands is None and "by chance" in effects_headline(without, "costs", "")
