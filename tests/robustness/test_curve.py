"""Curves by bisection: as plain loops over epsilon would draw them, for less."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.robustness import models
from torch import nn

from archaeology.attacks.method import Attack, attack_images, attacks
from archaeology.core.errors import UnknownNameError
from archaeology.robustness.bisection import lowered, smallest_level
from archaeology.robustness.curve import checked_attack, robustness_curve, robustness_curves
from archaeology.robustness.curve_result import RobustnessCurves, median_interval
from archaeology.specimens.specimen import Specimen

GRID = [0.0, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1]


def linear(seed=0, bias=0.0, size=(5, 7)):
    """Two classes whose border is a plane: how far an image lies from it is known."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * size[0] * size[1], 2)).double().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        model[1].weight.copy_(torch.randn(model[1].weight.shape, generator=generator))
        model[1].bias.copy_(torch.tensor([0.0, bias]))
    return Specimen(f"linear {seed}", model, "other", (), size)


def grey(count, size=(5, 7)):
    generator = torch.Generator().manual_seed(count)
    drawn = torch.rand(count, 3, *size, generator=generator, dtype=torch.float64)
    return 0.3 + 0.4 * drawn  # so far from 0 and 1 that no change is cut


def to_the_plane(specimen, images, norm):
    weight, bias = specimen.model[1].weight.detach(), specimen.model[1].bias.detach()
    pixels = ((images - 0.5) / 0.5).flatten(1)
    gap = ((pixels @ weight.T + bias)[:, 0] - (pixels @ weight.T + bias)[:, 1]).abs()
    slope = (weight[0] - weight[1]) / 0.5
    return gap / (slope.abs().sum() if norm == "linf" else slope.norm())


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_where_the_border_is_a_plane_the_curve_is_exact(norm):
    specimen, images = linear(), grey(23)
    far = to_the_plane(specimen, images, norm)
    labels = models.own_answers(specimen, images)
    grid = [0.0, *far.sort().values[[3, 8, 15, 20]].mul(1.0001).tolist()]
    curve = robustness_curve(specimen, images, labels, epsilons=grid, norm=norm, start="image")
    assert curve.correct.sum(axis=1).tolist() == [23, 19, 14, 7, 2]
    for row in range(23):
        expected = next((level for level, size in enumerate(grid) if far[row] <= size), len(grid))
        assert curve.smallest[row] == expected


@pytest.mark.parametrize("build", [models.network, models.transformer])
def test_no_weaker_than_a_loop_over_epsilon_and_cheaper(build):
    specimen, images = build(), models.images(31)
    labels = models.own_answers(specimen, images)
    labels[4] = (labels[4] + 1) % models.CLASSES
    curve = robustness_curve(specimen, images, labels, epsilons=GRID, steps=7)
    loops = [attack_images("pgd", specimen, images, labels, epsilon=size, steps=7) for size in GRID]
    standing = np.array([int((~loop.success).sum()) for loop in loops])
    assert (curve.correct.sum(axis=1) <= standing).all()
    assert 0 < curve.correct[3].sum() < 30
    assert curve.found.gradients.sum() < 0.6 * sum(int(loop.gradients.sum()) for loop in loops)
    assert curve.smallest[4] == 0 and curve.distances[4] == 0
    asked = curve.found.gradients
    assert asked[4] == 0 and (asked[torch.arange(31) != 4] > 0).all()
    assert (
        asked[curve.smallest > 1] >= 7
    ).all()  # what stands one step below has been asked seven times there


def test_every_break_is_within_its_epsilon_and_one_step_below_stands_when_attacked():
    specimen, images = models.network(), models.images(19)
    labels = models.own_answers(specimen, images)
    curve = robustness_curve(specimen, images, labels, epsilons=GRID, steps=5)
    for row, level in enumerate(curve.smallest):
        if level < len(GRID):
            found = curve.found.images[row]
            assert (found - images[row]).abs().max() <= GRID[level] + 1e-6
            assert found.min() >= 0 and found.max() <= 1
            assert specimen.predict(found[None]).argmax() != labels[row]
        if level > 1:
            below = attack_images(
                "pgd", specimen, images[[row]], labels[[row]], epsilon=GRID[level - 1], steps=5
            )
            assert not below.success


def test_an_image_alone_gets_what_it_gets_among_others():
    specimen, images = models.transformer(), models.images(7)
    labels = models.own_answers(specimen, images)
    together = robustness_curve(specimen, images, labels, epsilons=GRID, steps=4)
    for row in range(7):
        alone = robustness_curve(specimen, images[[row]], labels[[row]], epsilons=GRID, steps=4)
        assert alone.smallest[0] == together.smallest[row]
        torch.testing.assert_close(alone.found.images[0], together.found.images[row])
        assert alone.found.gradients[0] == together.found.gradients[row]
        assert alone.found.evaluations[0] == together.found.evaluations[row]


def test_a_second_round_only_lowers():
    specimen, images = models.network(), models.images(29)
    labels = models.own_answers(specimen, images)
    first = robustness_curve(specimen, images, labels, epsilons=GRID, steps=1, step_size=0.2)
    both = robustness_curve(
        specimen, images, labels, epsilons=GRID, steps=1, step_size=0.2, again={"steps": 9, "step_size": None}
    )
    assert (both.smallest <= first.smallest).all() and (both.smallest < first.smallest).any()
    assert both.again is not None and both.again["steps"] == 9 and first.again is None


def test_model_and_random_numbers_stay_as_they_were():
    specimen, images = models.network(), models.images(5)
    labels = models.own_answers(specimen, images)
    before = {name: value.clone() for name, value in specimen.model.state_dict().items()}
    state = torch.get_rng_state()
    robustness_curve(specimen, images, labels, epsilons=GRID, steps=2)
    assert torch.equal(state, torch.get_rng_state())
    for name, value in specimen.model.state_dict().items():
        assert torch.equal(value, before[name])
    assert all(weight.grad is None and weight.requires_grad for weight in specimen.model.parameters())


def test_an_attack_that_looks_for_the_smallest_change_is_run_once(monkeypatch):
    """On a linear model the smallest change is known: straight across the plane."""
    specimen, images = linear(3), grey(11)
    calls = []

    def straight(victim, aim):
        calls.append(len(aim))
        slope = victim.gradient(aim.images, aim.labels, aim.rows, "margin").gradient
        far = to_the_plane(specimen, aim.images, "l2") * 1.001
        return (
            aim.images + far[:, None, None, None] * slope / slope.flatten(1).norm(dim=1)[:, None, None, None]
        )

    monkeypatch.setitem(attacks._things, "straight", Attack("Straight", straight, ("l2",), False, True))
    labels = models.own_answers(specimen, images)
    curve = robustness_curve(specimen, images, labels, attack="straight", epsilons=[0.01, 0.03, 0.05])
    far = to_the_plane(specimen, images, "l2").numpy() * 1.001
    assert calls == [11]
    assert curve.epsilons == (0.0, 0.01, 0.03, 0.05)
    np.testing.assert_array_equal(curve.smallest, 1 + np.searchsorted([0.01, 0.03, 0.05], far))
    known = curve.smallest < 4
    assert known.any() and not known.all()
    np.testing.assert_allclose(curve.distances[known], far[known])
    assert np.isinf(curve.distances[~known]).all()


def test_all_wrong_from_the_start():
    specimen, images = models.network(), models.images(3)
    labels = (models.own_answers(specimen, images) + 1) % models.CLASSES
    curve = robustness_curve(specimen, images, labels, epsilons=GRID)
    assert curve.smallest.tolist() == [0, 0, 0]
    assert curve.area.value == 0 and curve.median.value == 0 and curve.lost_in_rounding is None


def test_numbers_of_a_curve_against_loops():
    specimen, images = models.network(), models.images(27)
    labels = models.own_answers(specimen, images)
    curve = robustness_curve(specimen, images, labels, epsilons=GRID, steps=3)
    for level, share in enumerate(curve.accuracy):
        stands = [1 for smallest in curve.smallest if smallest > level]
        assert share.value == pytest.approx(len(stands) / 27) and share.low <= share.value <= share.high
    area = 0.0
    for level in range(len(GRID) - 1):
        width = GRID[level + 1] - GRID[level]
        area += width * (curve.accuracy[level].value + curve.accuracy[level + 1].value) / 2
    assert curve.area.value == pytest.approx(area / GRID[-1])
    assert curve.median.value == pytest.approx(np.sort(curve.distances)[13])
    described = json.loads(json.dumps(curve.describe(), allow_nan=False))
    assert described["n"] == 27 and len(described["table"]) == len(GRID)


def test_differences_are_paired():
    specimens, images = [linear(1), linear(2, bias=1.0), linear(5)], grey(17)
    labels = models.own_answers(specimens[0], images)
    curves = robustness_curves(specimens, images, labels, epsilons=GRID, steps=3)
    rows = curves.differences()
    assert len(rows) == 3 * len(GRID)
    first, second = curves.curves[:2]
    for level, row in enumerate(rows[: len(GRID)]):
        expected = np.mean(first.correct[level].astype(float) - second.correct[level].astype(float))
        assert row["difference"] == pytest.approx(expected)
        assert row["difference_low"] <= row["difference"] <= row["difference_high"]
        assert 0 <= row["p_value"] <= row["p_corrected"] <= 1
    area = curves.areas()[0]
    assert area["difference"] == pytest.approx(first.area.value - second.area.value)
    json.dumps(curves.describe(), allow_nan=False)
    assert robustness_curves(specimens[:1], images, labels, epsilons=[0.01]).areas() == []


def curve_of(name, smallest, sizes=(0.0, 0.25, 0.5, 1.0)):
    """A curve whose images break where it is said."""
    specimen, images = linear(), grey(1)
    curve = robustness_curve(specimen, images, models.own_answers(specimen, images), epsilons=[0.1], steps=1)
    return replace(curve, specimen=name, smallest=np.asarray(smallest), epsilons=sizes)


def test_ends_of_a_height_are_the_sizes_withstood_and_not():
    curve = curve_of("a", [0, 1, 2, 3, 4])
    low, high = curve.height_ends
    assert low.tolist() == [0, 0, 0.25, 0.5, 1] and high.tolist() == [0, 0.25, 0.5, 1, 1]
    np.testing.assert_allclose(curve.heights, (low + high) / 2)
    assert curve.area.value == pytest.approx(curve.heights.mean())


def test_few_images_that_break_alike_make_no_exact_number():
    curve, other = curve_of("a", [3] * 8), curve_of("b", [2] * 8)
    assert curve.area.low < 0.5 and curve.area.high > 1 - 1e-9
    (row,) = RobustnessCurves((curve, other)).areas()
    assert row["difference"] == pytest.approx(0.375) and row["difference_low"] < 0 < row["difference_high"]
    (row,) = RobustnessCurves((curve_of("a", [3] * 64), curve_of("b", [2] * 64))).areas()
    assert 0 < row["difference_low"] < 0.375 < row["difference_high"]


def test_differences_of_areas_are_paired_and_hold_together():
    random = np.random.default_rng(0)
    first = random.integers(1, 4, 80)
    curves = [curve_of("a", first), curve_of("b", first - (random.random(80) < 0.5))]
    (row,) = RobustnessCurves(tuple(curves)).areas()
    assert row["difference_low"] > 0  # although their areas overlap
    assert curves[0].area.low < curves[1].area.high
    three = RobustnessCurves((*curves, curve_of("c", first))).areas()
    assert three[0]["difference_low"] < row["difference_low"]


@pytest.mark.parametrize("n", [8, 32])
def test_the_interval_of_an_area_covers(n):
    """Images that break anywhere; the truth is their mean distance, which no grid shows."""
    random, sizes = np.random.default_rng(1), np.array([0, 0.1, 0.2, 0.4, 0.6, 1.0])
    covered = 0
    for _ in range(150):
        far = np.where(random.random(n) < 0.1, 0.0, np.minimum(random.exponential(0.5, n), 1))
        smallest = np.where(far >= 1, len(sizes), np.searchsorted(sizes, far))
        area = curve_of("a", smallest, tuple(sizes.tolist())).area
        covered += area.low <= 0.9 * 0.5 * (1 - math.exp(-2)) <= area.high
    assert covered >= 0.95 * 150


def test_bisection_finds_every_level_in_few_tries():
    levels = 9
    truth = torch.arange(40) % (levels + 1)
    tries = torch.zeros(40)

    def attempt(rows, tried):
        tries[rows] += 1
        return torch.where(truth[rows] <= tried, tried, levels)

    assert torch.equal(smallest_level(40, levels, attempt), truth)
    assert tries.max() <= math.ceil(math.log2(levels + 1))


def test_what_a_try_shows_of_lower_levels_is_taken():
    tries = []

    def attempt(rows, tried):
        tries.append(tried.tolist())
        return torch.zeros(len(rows), dtype=torch.long)

    assert smallest_level(3, 9, attempt).tolist() == [0, 0, 0]
    assert tries == [[4, 4, 4]]


def test_lowering_stops_where_it_holds():
    truth = torch.tensor([0, 2, 5, 1])
    found = torch.tensor([3, 4, 5, 1])
    asked = []

    def attempt(rows, tried):
        asked.append((rows.tolist(), tried.tolist()))
        return torch.where(truth[rows] <= tried, tried, 6)

    assert torch.equal(lowered(found, attempt), truth)
    assert asked[0] == ([0, 1, 2, 3], [2, 3, 4, 0]) and asked[1] == ([0, 1], [1, 2])


def test_median_holds_infinities_and_its_interval_covers():
    assert median_interval(np.array([1.0, np.inf, np.inf])).value == np.inf
    assert median_interval(np.array([0.0, 2.0, 4.0, np.inf])).value == 3.0
    few = median_interval(np.arange(5.0))
    assert few.low == 0 and few.high == np.inf
    generator = np.random.default_rng(0)
    draws = [median_interval(generator.exponential(size=31)) for _ in range(600)]
    covered = np.mean([draw.low <= np.log(2) <= draw.high for draw in draws])
    assert 0.94 <= covered <= 0.99
    assert median_interval(np.arange(31.0)).low == 9.0  # the tables' 10th and 22nd of 31


def test_errors():
    specimen, images = models.network(), models.images(3)
    labels = models.own_answers(specimen, images)
    for epsilons in ([], [0.0], [0.02, 0.01], [0.01, 0.01]):
        with pytest.raises(ValueError, match="epsilons must ascend, with at least one above 0"):
            robustness_curve(specimen, images, labels, epsilons=epsilons)
    with pytest.raises(ValueError, match="did you mean 8/255"):
        robustness_curve(specimen, images, labels, epsilons=[0.0, 2.0, 8.0])
    with pytest.raises(ValueError, match="finite number >= 0"):
        robustness_curve(specimen, images, labels, epsilons=[-0.1, 0.1])
    with pytest.raises(ValueError, match="finite number >= 0"):
        robustness_curve(specimen, images, labels, epsilons=[0.1, math.nan])
    with pytest.raises(UnknownNameError, match="did you mean 'pgd'"):
        robustness_curve(specimen, images, labels, attack="pgdd")
    with pytest.raises(UnknownNameError, match="parameter of pgd"):
        robustness_curve(specimen, images, labels, again={"stepz": 3})
    with pytest.raises(UnknownNameError, match="norm"):
        robustness_curve(specimen, images, labels, norm="l3")
    with pytest.raises(ValueError, match="names of their own"):
        robustness_curves([specimen, specimen], images, labels)
    with pytest.raises(ValueError, match="names of their own"):
        robustness_curves([], images, labels)
    with pytest.raises(ValueError, match="a median needs at least one value"):
        median_interval(np.array([]))


def test_a_patch_has_no_curve():
    with pytest.raises(ValueError, match=r"use attack_images\('patch'"):
        checked_attack("patch", None)
