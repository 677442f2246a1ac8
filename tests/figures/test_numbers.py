"""Each figure's arithmetic on numbers small enough to check by hand."""

import json

import numpy as np
import pyarrow as pa
import pytest

from archaeology.dig.directory import RunDirectory
from archaeology.dig.findings import headline as dig_headline
from archaeology.dig.verdict import labelled_verdict
from archaeology.figures import accuracy, failure_types
from archaeology.figures._effects import effects_table, head_effects
from archaeology.figures._matrix import cell_text, head_matrix, matrix_table, trend
from archaeology.figures.ablation_against_entropy import ablation_against_entropy, rank_correlation
from archaeology.report.verdict import verdict


class FakeRun(RunDirectory):
    """A run with given results and heads."""

    def __init__(self, results=None, heads=()):
        self.__dict__.update(results=results or {}, heads=pa.Table.from_pylist(list(heads)), has_truth=True)


def interval(value, low, high):
    return {"value": value, "low": low, "high": high, "n": 7, "method": "made up"}


def heads_of(values, **columns):
    """Rows of heads.parquet in which layer 0 has two heads and layer 1 three."""
    places = [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)]
    return [
        {
            "layer": layer,
            "head": head,
            "entropy": value,
            "entropy_low": value - 1,
            "entropy_high": value + 1,
            "n": 11,
        }
        | {name: column[at] for name, column in columns.items()}
        for at, ((layer, head), value) in enumerate(zip(places, values, strict=True))
    ]


def test_a_matrix_keeps_layers_and_heads_apart_and_leaves_holes():
    data = head_matrix(FakeRun(heads=heads_of([1.0, 2.0, 3.0, 4.0, 8.0])), "entropy", scale=10.0)
    np.testing.assert_array_equal(data.value, [[10, 20, np.nan], [30, 40, 80]])
    np.testing.assert_array_equal(data.low, [[0, 10, np.nan], [20, 30, 70]])
    np.testing.assert_allclose(data.layer_mean, [15, 50])
    assert data.change == pytest.approx(35 / 50)
    assert data.n == 11
    assert cell_text(data, 0, 2) == "\u2013"
    assert matrix_table(data).rows[1] == (
        "2",
        "30.0 (20.0 to 40.0)",
        "40.0 (30.0 to 50.0)",
        "80.0 (70.0 to 90.0)",
    )


def test_a_statistic_no_head_has_gives_no_matrix():
    assert head_matrix(FakeRun(heads=heads_of([np.nan] * 5)), "entropy") is None
    assert head_matrix(FakeRun(heads=heads_of([1.0] * 5)), "gini") is None
    assert head_matrix(FakeRun(), "entropy") is None


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([1.0, 1.0, 2.0, 2.0, 2.0], "It grows with depth: 1.00 nats in layer 1, 2.00 nats in layer 2"),
        ([2.0, 2.0, 1.0, 1.0, 1.0], "It shrinks with depth"),
        (
            [2.0, 2.0, 2.1, 2.1, 2.1],
            "It hardly differs between the first layer (2.00 nats) and the last (2.10 nats; ",
        ),
    ],
)
def test_a_trend_is_read_from_the_first_and_last_layer(values, says):
    assert trend(head_matrix(FakeRun(heads=heads_of(values)), "entropy"), "It", " nats").startswith(says)


def test_a_single_layer_has_no_trend():
    one = head_matrix(FakeRun(heads=heads_of([1.0, 3.0, 1.0, 1.0, 1.0])[:2]), "entropy")
    assert trend(one, "It", " nats") == "It is 2.00 nats on average over the heads (11 images)."


def test_effects_are_counted_by_their_intervals():
    value = [0.10, 0.30, -0.20, 0.05, 0.00]
    low = [0.05, 0.20, -0.30, -0.01, -0.1]
    high = [0.15, 0.40, -0.10, 0.11, 0.1]
    rows = heads_of([1.0] * 5, cost=value, cost_low=low, cost_high=high, ablation_n=[13] * 5)
    data = head_effects(FakeRun(heads=rows), "cost", scale=100.0, decimals=1)
    assert data.strongest == (0, 1)
    assert data.limit == pytest.approx(30)
    np.testing.assert_array_equal(data.excludes_zero, [[True, True, False], [True, False, False]])
    assert (data.num_heads, data.num_helping, data.num_harming, data.n) == (5, 2, 1, 13)
    assert data.expected_by_chance == pytest.approx(0.25)
    assert effects_table(data).rows[0][2] == "30.0* (20.0 to 40.0)"


def test_effects_of_a_run_without_ablation_are_none():
    nothing = [np.nan] * 5
    rows = heads_of([1.0] * 5, cost=nothing, cost_low=nothing, cost_high=nothing, ablation_n=[0] * 5)
    assert head_effects(FakeRun(heads=rows), "cost", decimals=1) is None


def test_rank_correlation_follows_ranks_and_not_values():
    first = np.array([[1.0, 2.0, 3.0, 40.0], [1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0]])
    second = np.array([[2.0, 4.0, 5.0, 6.0], [9.0, 7.0, 6.0, 1.0], [5.0, 5.0, 5.0, 5.0]])
    np.testing.assert_allclose(rank_correlation(first, second), [1, -1, np.nan])


def test_too_few_heads_have_no_correlation():
    rows = heads_of([1.0, 2.0, 3.0, 4.0, 5.0], ablation_loss=[1.0] * 5)
    assert ablation_against_entropy.compute(FakeRun(heads=rows)) is None


@pytest.mark.parametrize(
    ("vit", "cnn", "difference", "leader", "lead"),
    [(0.8, 0.7, (0.1, 0.02, 0.18), "vit", (10, 2, 18)), (0.7, 0.8, (-0.1, -0.18, 0.02), "cnn", (10, -2, 18))],
)
def test_the_lead_is_turned_to_the_leader(vit, cnn, difference, leader, lead):
    results = {
        "accuracy": {
            "vit": interval(vit, 0, 1),
            "cnn": interval(cnn, 0, 1),
            "difference": interval(*difference),
        },
        "mcnemar": {"p_value": 0.01},
    }
    data = accuracy.compute(FakeRun(results))
    assert data.leader == leader
    assert (data.lead.value, data.lead.low, data.lead.high) == pytest.approx(lead)
    assert data.is_clear == (lead[1] > 0)
    assert ("No difference can be told" in accuracy.headline(data)) == (lead[1] <= 0)


def test_heads_of_equal_effect_have_no_correlation_and_raise_no_warning(recwarn):
    rows = [
        {"layer": 0, "head": head, "entropy": float(head), "ablation_loss": 0.0, "ablation_n": 1}
        for head in range(9)
    ]
    data = ablation_against_entropy.compute(FakeRun(heads=rows))
    said = ablation_against_entropy.headline(data)
    assert said.endswith("cannot be measured: all effects are equal (9 heads, 1 image).") and not recwarn


def test_a_correlation_that_may_be_zero_shows_no_relation():
    losses = [0.1, 0.3, 0.2, 0.2, 0.3, 0.1, 0.25, 0.15]
    rows = [
        {"layer": 0, "head": head, "entropy": float(head), "ablation_loss": loss, "ablation_n": 7}
        for head, loss in enumerate(losses)
    ]
    said = ablation_against_entropy.headline(ablation_against_entropy.compute(FakeRun(heads=rows)))
    assert said.startswith("No relation is shown between") and "8 heads, 7 images" in said


def test_an_interval_without_zero_is_no_lead_where_the_exact_test_does_not_agree():
    vit, cnn = np.ones(24, dtype=bool), np.arange(24) >= 5
    results = labelled_verdict(vit, cnn, ["none"] * 24, seed=0)
    assert results["accuracy"]["difference"]["low"] > 0 and results["mcnemar"]["p_value"] == 0.0625
    data = accuracy.compute(FakeRun(results))
    assert not data.is_clear
    assert "excludes zero, but McNemar's exact test, p = 0.062, does not" in accuracy.headline(data)
    assert "cannot be told from chance" in verdict(FakeRun(results | {"failures": None})).sentence
    assert "neither is shown to be right more often" in dig_headline(results)


def test_a_difference_of_the_wrong_sign_is_refused():
    results = {
        "accuracy": {
            "vit": interval(0.7, 0, 1),
            "cnn": interval(0.8, 0, 1),
            "difference": interval(0.1, 0, 1),
        }
    }
    with pytest.raises(
        ValueError, match=r"must be the ViT's less the CNN's, -0\.1000, but is 0\.1000; dig again"
    ):
        accuracy.compute(FakeRun(results))


def failures(odds_ratio, low, high):
    independence = {"expected_both_wrong": 0, "observed_both_wrong": 9}
    counts = {"none": 50, "vit-only": 30, "cnn-only": 11, "both-same": 4, "both-different": 5}
    return {**counts, "independence": {**independence, "odds_ratio": odds_ratio, "low": low, "high": high}}


def test_expected_failures_are_products_of_both_error_rates():
    data = failure_types.compute(FakeRun({"failures": failures(1.4, 0.6, 3.1)}))
    np.testing.assert_array_equal(data.observed, [50, 30, 11, 9])
    np.testing.assert_allclose(data.expected, [61 * 80 / 100, 39 * 80 / 100, 61 * 20 / 100, 39 * 20 / 100])
    assert (data.both_same, data.both_different, data.n) == (4, 5, 100)


@pytest.mark.parametrize(
    ("odds", "says"),
    [
        ((3.0, 2.0, 5.0), "what is hard for one is hard for the other"),
        ((0.3, 0.1, 0.7), "fail on different images more than chance"),
        ((1.2, 0.7, 1.9), "no dependence can be told"),
        ((None, None, None), "it would be about 8."),
    ],
)
def test_the_dependence_of_failures_is_judged_by_its_interval(odds, says):
    found = json.loads(json.dumps({"failures": failures(*odds)}))
    assert says in failure_types.headline(failure_types.compute(FakeRun(found)))


def test_growth_of_small_patches_is_told_in_factors(profile_run):
    from archaeology.figures import profile_patch_size

    data = profile_patch_size.compute(profile_run)
    assert data.patch_sizes == [16, 8, 4] and data.tokens == [197, 785, 3137]
    assert data.pair_shares == pytest.approx([0.08, 0.25, 0.58])
    assert profile_patch_size.headline(data).startswith(
        "From patches of 16 to 4 pixels: 16 times the tokens, 34 times the FLOPs, 40 times the time, "
        "16 times the memory; products"
    )
    data.milliseconds[0] = float("nan")
    assert "the time" not in profile_patch_size.headline(data)


def test_who_is_fastest_is_told_only_where_it_is_clear(profile_run):
    from archaeology.figures import profile_specimens
    from archaeology.figures.profile_specimens import _leader

    data = profile_specimens.compute(profile_run)
    assert profile_specimens.headline(data) == (
        "FLOPs differ by a factor of 1.12, the time of 1 image by 1.57, the time of 64 images by 1.75; "
        "1 image: vit_small is fastest, 1.14 times as fast as the next, "
        "64 images: vit_small is fastest, 1.75 times as fast as the next."
    )
    assert _leader({"a": 10.4, "b": 10.0}) == "b and a alike"
    assert data.quantities[3].values == [70, 110, 80] and data.quantities[3].high[0] == pytest.approx(84)
    rows = profile_specimens.table(data).rows
    assert [row[0] for row in rows] == ["vit_small"] * 2 + ["swin_tiny"] * 2 + ["resnet50"]
    assert [row[4] for row in rows] == ["3.00", "190", "< 1", "\u2013", "12.0"]


def test_a_batch_that_was_too_large_for_all_is_not_drawn(profile_run):
    from archaeology.figures.profile_specimens import _largest

    assert _largest(profile_run.profiles, (1, 64, 4096)) == 64
    assert _largest(profile_run.profiles[2:], (1, 64, 4096)) == 1
