"""Deletion, insertion, their gain, ROAD and sensitivity-n against loops."""

import pytest
import torch
from tests.evaluate import cases
from tests.oracles import judges as oracle

from archaeology.core.errors import UnknownNameError
from archaeology.evaluate import mark
from archaeology.evaluate.fill import fill_of
from archaeology.evaluate.imputation import imputed
from archaeology.evaluate.road import imputing


@pytest.fixture(scope="module")
def trial():
    return cases.trial(3)


@pytest.fixture(scope="module")
def explanation():
    return cases.scattered(3)


@pytest.mark.parametrize("fill", ["mean", "blur", "black"])
@pytest.mark.parametrize("steps", [6, 4])
def test_areas_equal_loops(trial, explanation, fill, steps):
    fills = fill_of(trial, fill).numpy()
    for way, judge in (("deletion", "deletion"), ("insertion", "insertion")):
        found = mark(judge, trial, explanation, fill=fill, steps=steps).score
        for number, order in enumerate(cases.orders(explanation)):
            area = oracle.area(
                way,
                cases.predicting(trial),
                trial.images[number].numpy(),
                fills[number],
                order,
                trial.grid,
                steps,
                int(trial.target[number]),
            )
            wanted = 1 - area if way == "deletion" else area
            assert float(found[number]) == pytest.approx(wanted, abs=1e-10)


def test_gain_is_insertion_less_deletion(trial, explanation):
    gain = mark("srg", trial, explanation).score
    insertion, deletion = (
        mark("insertion", trial, explanation).score,
        mark("deletion", trial, explanation).score,
    )
    torch.testing.assert_close(gain, insertion - (1 - deletion))


def test_an_order_and_its_reverse_gain_the_opposite(trial, explanation):
    reverse = cases.shown(1 - explanation.heatmap)
    torch.testing.assert_close(
        mark("srg", trial, explanation, steps=6).score, -mark("srg", trial, reverse, steps=6).score
    )


def test_blur_equals_loops(trial):
    blurred = fill_of(trial, "blur")
    for number in range(3):
        expected = torch.from_numpy(oracle.blurred(trial.images[number].numpy(), trial.grid))
        torch.testing.assert_close(blurred[number], expected)


def test_imputation_equals_a_dense_solver():
    generator = torch.Generator().manual_seed(1)
    pictures = torch.rand(4, 3, 7, 5, generator=generator, dtype=torch.float64)
    known = torch.rand(4, 7, 5, generator=generator) > torch.tensor([0.2, 0.5, 0.9, -1.0])[:, None, None]
    found = imputed(pictures, known, tolerance=1e-12)
    for number in range(4):
        expected = torch.from_numpy(oracle.imputed(pictures[number].numpy(), known[number].tolist()))
        torch.testing.assert_close(found[number], expected, rtol=0, atol=1e-9)


def test_an_image_of_which_nothing_is_known_becomes_its_mean_colour():
    pictures = torch.rand(2, 3, 5, 4, dtype=torch.float64)
    found = imputed(pictures, torch.zeros(2, 5, 4, dtype=torch.bool))
    torch.testing.assert_close(found, pictures.mean(dim=(2, 3), keepdim=True).expand_as(found))


def test_road_equals_loops(trial, explanation):
    shares, grid = (0.3, 0.7), trial.grid
    found = mark("road", trial, explanation, shares=shares, noise=0.0).score
    predict = cases.predicting(trial)
    for number, order in enumerate(cases.orders(explanation)):
        image, target = trial.images[number].numpy(), int(trial.target[number])
        gains = []
        for share in shares:
            count = round(share * len(order))
            values = []
            for gone in (order[-count:], order[:count]):
                known = [
                    [
                        oracle.patch_of(y, x, (6, 9), grid)[0] * grid[1]
                        + oracle.patch_of(y, x, (6, 9), grid)[1]
                        not in gone
                        for x in range(9)
                    ]
                    for y in range(6)
                ]
                values.append(oracle.softmax(predict(oracle.imputed(image, known).clip(0, 1)))[target])
            gains.append(values[0] - values[1])
        assert float(found[number]) == pytest.approx(sum(gains) / len(gains), abs=5e-4)


def test_noise_of_imputation_has_the_spread_it_is_said_to_have(trial):
    still, noisy = imputing(trial, 0.0), imputing(trial, 0.01)
    grey = torch.full_like(trial.images, 0.5)
    stays, number = torch.zeros(3, 6, 9, dtype=torch.bool), torch.arange(3)
    noise = noisy(grey, stays, number) - still(grey, stays, number)
    assert float(noise.std()) == pytest.approx(0.01, rel=0.1)
    assert float(noise.mean().abs()) < 0.002


@pytest.mark.parametrize("attribution", [False, True])
def test_sensitivity_n_equals_loops(trial, attribution):
    values = cases.scattered(3).heatmap - (0.5 if attribution else 0)
    shares, samples = (0.2, 0.5), 9
    explanation = cases.shown(values, attribution)
    found = mark("sensitivity_n", trial, explanation, shares=shares, samples=samples).details["correlation"]
    predict, fill = cases.predicting(trial), fill_of(trial, "mean").numpy()
    for column, count in enumerate((1, 3)):
        removed, _ = trial.memo["sensitivity_n", count, samples, "mean"]
        assert removed.sum(dim=2).unique().tolist() == [count]
        for number in range(3):
            image, target = trial.images[number].numpy(), int(trial.target[number])
            flat = values[number].flatten().tolist()
            sums, drops = [], []
            for subset in removed[number].tolist():
                gone = {patch for patch, is_gone in enumerate(subset) if is_gone}
                sums.append(sum(flat[patch] for patch in gone))
                left = oracle.composed(image, fill[number], set(range(6)) - gone, trial.grid)
                drops.append(predict(image)[target] - predict(left)[target])
            assert float(found[number, column]) == pytest.approx(oracle.correlation(sums, drops), abs=1e-9)


def test_a_linear_model_explained_exactly_is_fully_sensitive():
    """Drops of the logit add up in a linear model, so the right shares correlate at 1 with them."""
    from dataclasses import replace

    from torch import nn

    from archaeology.evaluate import trial_of

    torch.manual_seed(3)
    linear = nn.Sequential(nn.Flatten(), nn.Linear(162, 7)).double()
    made = replace(cases.specimen(), model=linear, kind="other", mean=(0.0,) * 3, std=(1.0,) * 3)
    trial = trial_of(made, cases.images(3))
    weights = linear[1].weight.detach()[trial.target].unflatten(1, (3, 6, 9))
    pixels = (weights * (trial.images - fill_of(trial, "mean"))).sum(dim=1)
    for explanation in (cases.shown(pixels, attribution=True),):
        score = mark("sensitivity_n", trial, explanation).score
        torch.testing.assert_close(score, torch.ones_like(score))


def test_what_cannot_be_asked_says_so(trial, explanation):
    with pytest.raises(UnknownNameError, match="did you mean 'blur'"):
        mark("deletion", trial, explanation, fill="blu")
    with pytest.raises(ValueError, match="steps must be at least 1"):
        mark("insertion", trial, explanation, steps=0)
    with pytest.raises(ValueError, match="shares must lie between 0 and 1"):
        mark("road", trial, explanation, shares=(0.5, 1.0))
    with pytest.raises(ValueError, match="noise must not be negative"):
        mark("road", trial, explanation, noise=-1.0)
    with pytest.raises(ValueError, match="shares must lie between 0 and 1"):
        mark("sensitivity_n", trial, explanation, shares=(0.0,))
    with pytest.raises(ValueError, match="samples must be at least 3"):
        mark("sensitivity_n", trial, explanation, samples=2)
