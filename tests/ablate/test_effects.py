"""Verdicts on planted effects: heads needed, harmful and useless, and too few images to say."""

import numpy as np

from archaeology.ablate import HeadAblation
from archaeology.ablate.effects import Rule, effect_rows


def planted(count):
    """Head 0 costs accuracy, head 1 costs only a little loss, head 2 harms, head 3 does nothing but noise."""
    generator = np.random.default_rng(0)
    correct = (generator.random(count) < 0.9).astype(float)
    loss = generator.random(count)
    noise = generator.normal(size=(count, 4)) * 0.01
    lost = correct * (generator.random(count) > 0.3)
    cut_correct = np.stack([lost, correct, correct, correct], axis=1)
    return correct, loss, cut_correct, loss[:, None] + noise + np.array([0.5, 0.01, -0.02, 0.0])


def test_verdicts_tell_not_shown_from_shown_not_to():
    rows = effect_rows(*planted(4000), Rule())
    assert [row["verdict"] for row in rows] == ["needed", "needed", "harmful", "useless within 0.1 points"]
    assert [row["matters"] for row in rows] == [True, True, True, False]
    assert [row["equivalent"] for row in rows] == [False, True, True, True]
    few = effect_rows(*planted(60), Rule())
    assert [row["verdict"] for row in few] == ["needed", "needed", "harmful", "not shown to matter"]
    assert effect_rows(*planted(60), Rule(delta=0.2))[3]["verdict"] == "useless within 20 points"


def test_of_many_heads_that_do_nothing_hardly_one_seems_to_matter():
    generator = np.random.default_rng(4)
    count, heads = 50, 144
    loss, correct = generator.random(count), np.ones(count)
    ablated = loss[:, None, None] + generator.normal(size=(count, 12, 12))
    right = np.ones((count, 12, 12))
    result = HeadAblation(("m",) * 12, (12,) * 12, correct, loss, right, ablated, "mean", ("suffix",) * 12)
    table = result.table()
    assert len(table) == heads
    assert sum(row["p"] < 0.05 for row in table) >= 3  # uncorrected, some do
    assert not any(row["matters"] for row in table)
    fewer = result.table(correction="benjamini-hochberg")
    assert all(a["p_corrected"] <= b["p_corrected"] + 1e-12 for a, b in zip(fewer, table, strict=True))
