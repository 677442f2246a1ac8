"""The leaderboard: sheets that add up, winners where there are some, none where there is nothing to see."""

import json
import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from tests.ablate import small_models as small
from tests.evaluate import cases

from archaeology.core.errors import UnknownNameError
from archaeology.evaluate import Sheet, judges, leaderboard, mark, mark_all, trial_of
from archaeology.explain import explain_images
from archaeology.specimens.specimen import Specimen

METHODS = {name: {} for name in ("random", "raw_attention", "grad_cam", "rollout")}
BY = {"srg": {"steps": 3}, "pointing_game": {}, "randomization": {"only_whole": True}}


def made_up(
    scores, chance=None, judge="srg", reach=0.5, methods=("random", "raw_attention", "good"), missing=()
):
    """A sheet of one judge with these marks, methods by images."""
    score = np.asarray(scores, dtype=float)[:, None]
    base = np.full_like(score, np.nan) if chance is None else np.broadcast_to(chance, score.shape).copy()
    evidence = np.ones((len(score), score.shape[2]), dtype=bool)
    return Sheet(methods, (judge,), score, base, evidence, np.full(score.shape[2], reach), dict(missing))


def noisy(level, count=60, seed=0, spread=0.1):
    return level + spread * np.random.default_rng(seed).standard_normal(count)


@pytest.fixture(scope="module")
def sheet():
    return mark_all(cases.specimen(), cases.images(5), masks=cases.masks(5), methods=METHODS, by=BY)


def test_a_sheet_holds_what_each_judge_said(sheet):
    assert sheet.methods == tuple(METHODS) and sheet.judges == tuple(BY)
    trial = trial_of(cases.specimen(), cases.images(5), masks=cases.masks(5))
    for method in METHODS:
        explanation = explain_images(method, trial.specimen, trial.images, trial.target)
        for judge, parameters in BY.items():
            wanted = mark(judge, trial, explanation, **parameters).score
            np.testing.assert_allclose(sheet.marks(method, judge), wanted.numpy(), atol=1e-9)
    grey = trial.images.mean(dim=(2, 3), keepdim=True).expand_as(trial.images)
    with torch.no_grad():
        both = [
            trial.specimen.predict(each).softmax(1)[range(5), trial.target] for each in (trial.images, grey)
        ]
    np.testing.assert_allclose(sheet.reach, (both[0] - both[1]).abs().numpy(), atol=1e-12)


def test_parts_add_up_to_the_whole(sheet):
    parts = []
    for some in (slice(0, 2), slice(2, 5)):
        part = mark_all(
            cases.specimen(), cases.images(5)[some], masks=cases.masks(5)[some], methods=METHODS, by=BY
        )
        parts.append(Sheet.from_arrays(part.arrays()))
    together = Sheet.joined(parts)
    for name, array in together.arrays().items():
        if array.dtype.kind == "f":
            np.testing.assert_allclose(array, sheet.arrays()[name], atol=1e-9)
        else:
            assert array.tolist() == sheet.arrays()[name].tolist()
    assert all(array.dtype != object for array in sheet.arrays().values())
    chunked = mark_all(
        cases.specimen(), cases.images(5), masks=cases.masks(5), methods=METHODS, by=BY, at_once=2
    )
    np.testing.assert_allclose(chunked.score, sheet.score, atol=1e-9)


def test_a_judge_may_be_asked_about_some_images_only():
    some, more = made_up([[0.1, 0.2]] * 3), made_up([[0.3]] * 3, judge="road")
    joined = Sheet.joined([some, more])
    assert joined.judges == ("srg", "road") and len(joined) == 3
    np.testing.assert_array_equal(joined.marks("good", "srg"), [0.1, 0.2, np.nan])
    np.testing.assert_array_equal(joined.marks("good", "road"), [np.nan, np.nan, 0.3])
    assert leaderboard(joined).verdict("srg").images == 2
    with pytest.raises(ValueError, match="joined where all have the same methods"):
        Sheet.joined([some, replace(some, methods=("random", "raw_attention", "other"))])


class Fickle(torch.nn.Module):
    """Never answers the same twice."""

    def __init__(self):
        super().__init__()
        self.head = torch.nn.Linear(3, 7)

    def forward(self, images):
        return self.head(images.mean(dim=(2, 3))) + torch.rand(len(images), 7)


def test_a_method_whose_own_check_fails_is_missing_not_the_end():
    fickle = Specimen("fickle", Fickle(), "other", classes=(), image_size=(8, 8))
    found = mark_all(fickle, torch.rand(2, 3, 8, 8), methods={"random": {}, "lrp": {}}, by={"complexity": {}})
    assert found.methods == ("random",)
    assert "does it answer at random?" in found.missing["lrp"]


def test_the_best_that_beats_chance_wins():
    board = leaderboard(made_up([noisy(0.0, seed=1), noisy(0.2, seed=2), noisy(0.5, seed=3)]))
    verdict = board.verdict("srg")
    assert verdict.winner == "good" == board.winner and verdict.level_with == ()
    assert [standing.method for standing in verdict.standings] == ["good", "raw_attention", "random"]
    best, second, floor = verdict.standings
    assert best.beats_chance and second.beats_chance and not floor.beats_chance
    assert best.best_share == 1.0 and (best.rank, best.rank_low, best.rank_high) == (1, 1, 1)
    assert best.mean.value == pytest.approx(noisy(0.5, seed=3).mean())
    assert best.above_chance.value == pytest.approx((noisy(0.5, seed=3) - noisy(0.0, seed=1)).mean())
    assert best.above_reference.value == pytest.approx((noisy(0.5, seed=3) - noisy(0.2, seed=2)).mean())
    assert best.above_reference.low > 0
    assert floor.above_chance.value == floor.above_chance.low == floor.above_chance.high == 0


def test_differences_are_paired():
    """A method that is a little better on every image wins, though images differ far more than methods."""
    images = 10 * np.random.default_rng(0).standard_normal(40)
    board = leaderboard(made_up([images, images, images + noisy(0.01, 40, spread=0.005)]))
    best = board.verdict("srg").standings[0]
    assert (
        best.method == "good" and best.beats_chance and best.above_chance.high - best.above_chance.low < 0.01
    )


def test_without_a_difference_there_is_no_winner():
    board = leaderboard(made_up([noisy(0.0, seed=seed) for seed in (1, 2, 3)]))
    assert board.winner is None and board.reason == "no method beats chance with enough of the judges"
    verdict = board.verdict("srg")
    assert verdict.winner is None and verdict.reason == "no method beats chance"
    assert all(not standing.above_chance.excludes(0.0) for standing in verdict.standings)


def test_known_chance_is_used_where_there_is_some():
    board = leaderboard(made_up([[0.3] * 9, [0.5] * 9, [0.7] * 9], chance=0.5, judge="pointing_game"))
    above = {each.method: each.above_chance.value for each in board.verdict("pointing_game").standings}
    assert above == pytest.approx({"random": -0.2, "raw_attention": 0.0, "good": 0.2})
    assert board.winner == "good"


def test_few_hits_on_objects_of_one_size_may_be_luck():
    """Marks and chance without spread: two hits in two images happen to one random map in sixteen."""
    for count, winner in ((2, None), (3, None), (12, "good")):
        hits = [[0.0] * count, [0.0] * count, [1.0] * count]
        board = leaderboard(made_up(hits, chance=0.25, judge="pointing_game"))
        assert board.winner == board.verdict("pointing_game").winner == winner


def test_faithfulness_says_nothing_where_the_image_hardly_matters():
    scores = [noisy(0.0, seed=1), noisy(0.2, seed=2), noisy(0.5, seed=3)]
    board = leaderboard(made_up(scores, reach=0.01))
    assert board.winner is None
    assert "answer moves by 0.010 when the whole image goes" in board.verdict("srg").reason
    assert leaderboard(made_up(scores, chance=0.0, judge="mass_inside", reach=0.01)).winner == "good"


def test_simple_or_stable_maps_win_nothing():
    board = leaderboard(
        made_up([noisy(0.0, seed=1), noisy(0.2, seed=2), noisy(0.5, seed=3)], judge="complexity")
    )
    assert board.verdict("complexity").winner is None and board.verdict("complexity").reason.startswith(
        "simplicity"
    )
    assert board.overall == () and board.reason == "no judge counts"


def test_a_method_that_fails_the_randomization_check_cannot_win():
    scores = [noisy(0.0, seed=1), noisy(0.2, seed=2), noisy(0.5, seed=3)]
    alike = made_up([[0.0] * 60, [1.0] * 60, [0.1] * 60], chance=1.0, judge="randomization")
    whole = made_up(scores)
    both = replace(
        whole,
        judges=("srg", "randomization"),
        score=np.concatenate([whole.score, alike.score], axis=1),
        chance=np.concatenate([whole.chance, alike.chance], axis=1),
    )
    board = leaderboard(both)
    assert board.winner == "raw_attention"
    by_method = {each.method: each for each in board.overall}
    assert by_method["good"].sanity.verdict == "fails" and not by_method["good"].can_win
    assert by_method["raw_attention"].sanity.verdict == "passes"
    assert "random" not in by_method and board.sanity["random"].verdict == "fails"


def test_both_kinds_of_judges_must_be_beaten():
    good, truth = made_up([noisy(0, seed=1), noisy(0.2, seed=2), noisy(0.5, seed=3)]), 0.3
    outside = made_up([[truth] * 60] * 3, chance=truth, judge="pointing_game")
    joined = replace(
        good,
        judges=("srg", "pointing_game"),
        score=np.concatenate([good.score, outside.score], axis=1),
        chance=np.concatenate([good.chance, outside.chance], axis=1),
    )
    board = leaderboard(joined)
    assert board.verdict("srg").winner == "good" and board.winner is None


def test_it_can_be_kept(sheet):
    board = leaderboard(sheet, resamples=50)
    table = pa.Table.from_pylist(board.rows())
    # No image need have marks of the randomization check for all methods.
    kept = {verdict.judge for verdict in board.verdicts if verdict.standings}
    assert {"srg", "pointing_game"} <= kept <= set(BY)
    assert table.num_rows == len(METHODS) * len(kept)
    assert len({tuple(row) for row in board.rows()}) == 1
    described = json.loads(json.dumps(board.describe()))
    assert described["images"] == 5 and described["rule"] == board.rule
    assert leaderboard(sheet, resamples=50).describe() == board.describe()


def test_methods_that_the_model_does_not_allow_are_listed_with_the_reason():
    specimen = replace(cases.specimen(), target_layer=None)
    sheet = mark_all(specimen, cases.images(2), methods=METHODS, by={"complexity": {}})
    assert "grad_cam" not in sheet.methods and "target_layer" in sheet.missing["grad_cam"]
    assert leaderboard(sheet).missing == sheet.missing
    with pytest.raises(ValueError, match="allows none of the methods"):
        mark_all(specimen, cases.images(2), methods={"grad_cam": {}}, by={"complexity": {}})


def test_all_methods_and_judges_are_asked_unless_some_are_named():
    sheet = mark_all(cases.specimen(), cases.images(2), methods={"random": {}})
    assert sheet.judges == tuple(name for name in judges if judges.get(name).kind != "truth")


def test_images_that_a_judge_leaves_out_are_counted():
    boxes = torch.tensor([[2.0, 1, 7, 4], [math.nan] * 4, [0, 0, 9, 6], [1, 1, 4, 4]], dtype=torch.float64)
    sheet = mark_all(
        cases.specimen(),
        cases.images(4),
        boxes=boxes,
        methods={"random": {}, "rollout": {}},
        by={"mass_inside": {}},
    )
    verdict = leaderboard(sheet).verdict("mass_inside")
    assert (verdict.images, verdict.left_out) == (2, 2)


def test_maps_without_evidence_are_counted():
    sheet = made_up([noisy(0.0, seed=1), noisy(0.2, seed=2), noisy(0.5, seed=3)])
    evidence = sheet.has_evidence.copy()
    evidence[2, :7] = False
    best = leaderboard(replace(sheet, has_evidence=evidence)).verdict("srg").standings[0]
    assert best.without_evidence == 7


def test_a_random_model_has_no_winner():
    """Weights as an untrained model has them: no judge sees what is not there."""
    specimen = small.timm_vit(depth=2)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in specimen.model.parameters():
            spread = 0.02 if parameter.ndim > 1 else 0.0
            parameter.copy_(
                torch.randn(parameter.shape, generator=generator) * spread + (parameter.ndim == 1)
            )
    sheet = mark_all(
        replace(specimen, target_layer="blocks.1.norm1"),
        small.images(40),
        masks=cases.masks(40),
        methods=METHODS,
        by={"srg": {"steps": 3}, "sensitivity_n": {"samples": 8}, "pointing_game": {}, "mass_inside": {}},
    )
    board = leaderboard(sheet)
    assert board.winner is None
    assert [verdict.winner for verdict in board.verdicts] == [None] * 4


def test_what_cannot_be_ranked_says_so():
    with pytest.raises(ValueError, match="at least 2 images, but got 1"):
        leaderboard(made_up([[0.1], [0.2], [0.3]]))
    with pytest.raises(ValueError, match="by the marks of a random map, but 'random' is not among"):
        leaderboard(made_up([[0.1, 0.2]] * 3, methods=("first", "raw_attention", "good")))
    with pytest.raises(UnknownNameError, match="did you mean 'srg'"):
        leaderboard(made_up([[0.1, 0.2]] * 3)).verdict("srgg")
    with pytest.raises(UnknownNameError, match="did you mean 'rollout'"):
        mark_all(cases.specimen(), cases.images(2), methods={"rolout": {}})
    with pytest.raises(UnknownNameError, match="did you mean 'road'"):
        mark_all(cases.specimen(), cases.images(2), by={"raod": {}})
