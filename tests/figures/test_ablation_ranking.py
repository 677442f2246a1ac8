"""The ranking of heads, on a table small enough to check by hand."""

import numpy as np
import pyarrow as pa
import pytest
from matplotlib.colors import to_hex

from archaeology.dig.directory import RunDirectory
from archaeology.figures import ablation_ranking
from archaeology.figures._theme import COLOURS
from archaeology.figures.ablation_ranking import MOST_HEADS


class FakeRun(RunDirectory):
    """A run whose heads are given."""

    def __init__(self, rows):
        self.__dict__["heads"] = pa.Table.from_pylist(rows)


def head(layer, number, loss, p=0.5, **changed):
    row = {"layer": layer, "head": number, "ablation_n": 0 if loss is None else 7, "ablation_loss": loss}
    row |= {
        f"ablation_loss_{end}": None if loss is None else loss + by
        for end, by in (("low", -0.1), ("high", 0.1))
    }
    matters = p < 0.05
    verdict = ("needed" if (loss or 0) > 0 else "harmful") if matters else "not shown to matter"
    return row | {"p_corrected": p, "matters": matters, "verdict": verdict} | changed


def places(data):
    return list(zip(data.layer.tolist(), data.head.tolist(), strict=True))


MIXED = [
    head(0, 0, 0.05),
    head(0, 1, float("nan")),
    head(0, 2, -0.3, p=0.01),
    head(1, 0, 0.5, p=0.002),
    head(1, 1, None, p=float("nan"), matters=None, verdict=None),
    head(1, 2, 0.05),
]


def test_the_most_needed_head_is_first_ties_go_by_place_and_unknown_effects_are_left_out():
    data = ablation_ranking.compute(FakeRun(MIXED))
    assert places(data) == [(1, 0), (0, 0), (1, 2), (0, 2)]
    np.testing.assert_allclose(data.loss[:, 0], [0.5, 0.4, 0.6])
    assert data.matters.tolist() == [True, False, False, True]
    assert (data.num_heads, data.num_needed, data.num_harmful, data.num_excluding_zero, data.n) == (
        4,
        1,
        1,
        2,
        7,
    )
    assert ablation_ranking.headline(data) == (
        "The model needs head 1 of layer 2 most: without it the loss rises by 0.500 nats (95 % interval 0.400 to "
        "0.600). After correction for all heads tried, 1 of 4 heads is needed and 1 does harm (7 images)."
    )
    assert ablation_ranking.table(data).rows == (
        ("Layer 2, head 1", "0.500 (0.400 to 0.600)", "0.0020", "needed"),
        ("Layer 1, head 1", "0.050 (\u22120.050 to 0.150)", "0.500", "not shown to matter"),
        ("Layer 2, head 3", "0.050 (\u22120.050 to 0.150)", "0.500", "not shown to matter"),
        ("Layer 1, head 3", "\u22120.300 (\u22120.400 to \u22120.200)", "0.010", "harmful"),
    )


def test_of_many_heads_those_with_the_largest_effect_in_either_direction_are_shown():
    rows = [head(place, 0, 0.01 * place, p=0.01) for place in range(1, 31)] + [head(31, 0, -1.0, p=0.01)]
    data = ablation_ranking.compute(FakeRun(rows))
    assert places(data) == [*((place, 0) for place in range(30, 11, -1)), (31, 0)]
    assert len(data.layer) == MOST_HEADS
    assert (data.num_heads, data.num_needed, data.num_harmful) == (31, 30, 1), (
        "counts all, not only those shown"
    )


def test_ties_at_the_end_of_the_list_go_by_layer_and_head():
    rows = [head(layer, number, 0.1) for layer in range(5, -1, -1) for number in range(3, -1, -1)]
    assert places(ablation_ranking.compute(FakeRun(rows))) == [
        (layer, head) for layer in range(5) for head in range(4)
    ]


def filled(data):
    """Rows of the dots drawn in the colour of the interval, and of those drawn on paper."""
    axes = ablation_ranking.draw(data).axes[0]
    rims = [patch for patch in axes.patches if np.isclose(patch.get_linewidth(), 4.4 - 1.1)]
    found = {"vit": [], "paper": []}
    for patch in rims:
        name = {COLOURS["vit"]: "vit", COLOURS["paper"]: "paper"}[to_hex(patch.get_edgecolor())]
        found[name] += patch.get_path().vertices[::2, 1].tolist()
    return found


def test_dots_are_filled_where_the_corrected_test_is_clear():
    data = ablation_ranking.compute(FakeRun(MIXED))
    assert filled(data) == {"vit": [0, 3], "paper": [1, 2]}
    axes = ablation_ranking.draw(data).axes[0]
    assert axes.get_xlabel().endswith("(nats)")
    assert axes.get_yticklabels()[0].get_text() == "layer 2, head 1"
    assert any(np.allclose(line.get_xdata(), 0) for line in axes.lines), "no line at zero"


def test_the_p_value_decides_where_no_verdict_was_kept():
    rows = [
        {key: value for key, value in head(0, number, 0.1, p=p).items() if key not in ("matters", "verdict")}
        for number, p in enumerate((0.04, 0.06))
    ]
    data = ablation_ranking.compute(FakeRun(rows))
    assert data.matters.tolist() == [True, False]
    assert [row[-1] for row in ablation_ranking.table(data).rows] == ["matters", "\u2013"]


def test_an_older_run_without_a_test_claims_nothing():
    kept = ("layer", "head", "ablation_n", "ablation_loss", "ablation_loss_low", "ablation_loss_high")
    data = ablation_ranking.compute(FakeRun([{key: row[key] for key in kept} for row in MIXED]))
    assert not data.tested and not data.matters.any()
    assert ablation_ranking.headline(data).endswith(
        " 2 of 4 intervals exclude zero, not corrected for the number of heads (7 images)."
    )
    assert filled(data) == {"vit": [], "paper": [0, 1, 2, 3]}


@pytest.mark.parametrize(
    ("loss", "p", "first"),
    [
        (0.0, 0.5, "No head shown is needed"),
        (-0.2, 0.01, "No head shown is needed"),
        (0.3, 0.01, "The model needs head 1 of layer 1 most"),
        (0.3, 0.5, "The largest rise of the loss is that without head 1 of layer 1: 0.300 nats"),
    ],
)
def test_one_head_is_enough_and_is_needed_only_where_that_is_shown(loss, p, first):
    data = ablation_ranking.compute(FakeRun([head(0, 0, loss, p=p)]))
    ablation_ranking.draw(data)
    assert ablation_ranking.headline(data).startswith(first)


def test_an_effect_without_interval_is_drawn_as_a_dot():
    row = {"layer": 0, "head": 0, "ablation_n": 1, "ablation_loss": 0.0}
    data = ablation_ranking.compute(FakeRun([row]))
    ablation_ranking.draw(data)
    assert ablation_ranking.table(data).rows[0][1] == "0.000 (\u2013 to \u2013)"


def test_without_effects_there_is_nothing_to_rank():
    assert ablation_ranking.compute(FakeRun([head(0, 0, None), head(0, 1, float("nan"))])) is None
    assert ablation_ranking.compute(FakeRun([{"layer": 0, "head": 0}])) is None
