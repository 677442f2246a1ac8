"""Pointing game, mass inside, complexity and sparseness against loops, and what is left out."""

import math

import pytest
import torch
from tests.evaluate import cases
from tests.oracles import judges as oracle

from archaeology.evaluate import mark, trial_of
from archaeology.evaluate.trial import covered_by


@pytest.fixture(scope="module")
def trial():
    return cases.trial(4)


@pytest.mark.parametrize("judge, loops", [("pointing_game", oracle.pointing), ("mass_inside", oracle.mass)])
def test_against_the_truth_equals_loops(trial, judge, loops):
    values = cases.scattered(4).heatmap
    values[1] = values[1].round()  # several highest places
    values[2, 0] = 0
    marks = mark(judge, trial, cases.shown(values))
    for number in range(4):
        wanted = loops(values[number].tolist(), trial.truth[number].tolist())
        assert float(marks.score[number]) == pytest.approx(wanted, abs=1e-12)


def test_chance_is_the_share_of_the_area(trial):
    assert mark("pointing_game", trial, cases.scattered(4)).chance.tolist() == pytest.approx([15 / 54] * 4)
    assert mark("mass_inside", trial, cases.scattered(4)).chance.tolist() == [1.0] * 4


def test_maps_that_know_nothing_get_chance_on_average():
    trial = cases.trial(1)
    seeds = [cases.scattered(1, seed=seed) for seed in range(400)]
    pointing = torch.stack([mark("pointing_game", trial, each).score for each in seeds])
    mass = torch.stack([mark("mass_inside", trial, each).score for each in seeds])
    assert float(pointing.mean()) == pytest.approx(15 / 54, abs=0.05)
    assert float(mass.mean()) == pytest.approx(1.0, abs=0.05)


def test_a_map_without_evidence_gets_exactly_chance(trial):
    values = cases.scattered(4).heatmap
    values[0], values[1, 0, 0] = 0.0, math.nan
    explanation = cases.shown(values)
    assert explanation.has_evidence.tolist() == [False, False, True, True]
    for judge in ("pointing_game", "mass_inside"):
        marks = mark(judge, trial, explanation)
        torch.testing.assert_close(marks.score[:2], marks.chance[:2])
        assert marks.has_evidence.tolist() == [False, False, True, True]
    assert mark("complexity", trial, explanation).score[:2].tolist() == pytest.approx([0.0, 0.0])
    assert mark("sparseness", trial, explanation).score[:2].tolist() == pytest.approx([0.0, 0.0])
    assert mark("sensitivity_n", trial, explanation).score[:2].tolist() == [0.0, 0.0]
    for judge in ("deletion", "insertion", "srg", "road"):
        assert mark(judge, trial, explanation).judged.all()


@pytest.mark.parametrize("judge, loops", [("complexity", oracle.simplicity), ("sparseness", oracle.gini)])
def test_simplicity_equals_loops(trial, judge, loops):
    values = cases.scattered(4).heatmap - 0.4
    values[3, 1] = 0
    score = mark(judge, trial, cases.shown(values, attribution=True)).score
    for number in range(4):
        wanted = loops(values[number].flatten().tolist())
        assert float(score[number]) == pytest.approx(wanted, abs=1e-12)


def test_a_single_patch_is_simplest(trial):
    values = torch.zeros(4, 2, 3)
    values[:, 1, 2] = 3.0
    assert mark("complexity", trial, cases.shown(values)).score.tolist() == pytest.approx([1.0] * 4)
    assert mark("sparseness", trial, cases.shown(values)).score.tolist() == pytest.approx([5 / 6] * 4)


def test_boxes_cover_shares_of_pixels():
    covered = covered_by(torch.tensor([[1.25, 0.5, 3.0, 2.0], [math.nan] * 4]), torch.zeros(2, 3, 3, 4))
    torch.testing.assert_close(
        covered[0], torch.tensor([[0, 0.375, 0.5, 0], [0, 0.75, 1.0, 0], [0, 0, 0, 0]])
    )
    assert covered[1].isnan().all()


def test_images_without_box_or_with_one_that_covers_everything_are_left_out_and_counted():
    boxes = torch.tensor([[2.0, 1, 7, 4], [math.nan] * 4, [0, 0, 9, 6], [0, 0, 9, 5.5]], dtype=torch.float64)
    trial = cases.trial(4, masks=None, boxes=boxes)
    for judge in ("pointing_game", "mass_inside"):
        marks = mark(judge, trial, cases.scattered(4))
        assert marks.judged.tolist() == [True, False, False, False]
        counted = {reason: int(which.sum()) for reason, which in marks.left_out.items()}
        assert counted == {"no box or mask": 1, "object covers 50% or more": 2}
        assert mark(judge, trial, cases.scattered(4), too_large=0.95).judged.tolist() == [
            True,
            False,
            False,
            True,
        ]


def test_the_truth_must_fit():
    with pytest.raises(ValueError, match="needs the truth, but the trial has none"):
        mark("pointing_game", cases.trial(2, masks=None), cases.scattered(2))
    with pytest.raises(ValueError, match="too_large must be a share"):
        mark("mass_inside", cases.trial(2), cases.scattered(2), too_large=0.0)
    with pytest.raises(ValueError, match="masks or boxes, but got both"):
        cases.trial(2, boxes=torch.zeros(2, 4))
    with pytest.raises(ValueError, match="masks must be"):
        cases.trial(2, masks=torch.zeros(2, 9, 6))
    with pytest.raises(ValueError, match="boxes must be x_min"):
        cases.trial(2, masks=None, boxes=torch.zeros(3, 4))


def test_a_trial_says_what_is_wrong():
    with pytest.raises(ValueError, match=r"target must hold one class in 0\.\.6"):
        trial_of(cases.specimen(), cases.images(2), torch.tensor([0, 7]))
    with pytest.raises(ValueError, match="grid must have two patches or more"):
        cases.trial(2, grid=(7, 3))
    with pytest.raises(ValueError, match="at_once"):
        cases.trial(2, at_once=0)
