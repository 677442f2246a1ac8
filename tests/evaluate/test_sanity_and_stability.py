"""The randomization check and stability: maps drawn anew, on destroyed models and on noisy images."""

import math

import pytest
import torch
from scipy import stats
from tests.evaluate import cases
from torch import nn

from archaeology.evaluate import mark, sanity_of
from archaeology.evaluate.cascade import cascade, stages_of
from archaeology.explain import explain_images

METHODS = ["raw_attention", "grad_cam", "random"]


@pytest.fixture(scope="module")
def trial():
    return cases.trial(3)


def explained(method, trial):
    return explain_images(method, trial.specimen, trial.images, trial.target)


def test_stages_go_from_the_head_to_the_input():
    assert stages_of(cases.specimen().model) == (
        "head",
        "norm",
        "blocks.1",
        "blocks.0",
        "patch_embed",
        "pos_embed",
        "cls_token",
    )
    with pytest.raises(ValueError, match="must have parameters to randomize"):
        stages_of(nn.Flatten())


def test_each_stage_shuffles_its_own_weights_on_a_copy():
    specimen = cases.specimen()
    before = {name: value.clone() for name, value in specimen.model.state_dict().items()}
    lost: set[str] = set()
    for stage, copy in cascade(specimen):
        lost.add(stage)
        for name, value in copy.model.named_parameters():
            changed = name.startswith(tuple(lost))
            kept = before[name]
            torch.testing.assert_close(value.flatten().sort().values, kept.flatten().sort().values)
            assert torch.equal(value, kept) != (changed and kept.unique().numel() > 1), name
    for name, value in specimen.model.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("method", METHODS)
def test_randomization_equals_loops(trial, method):
    explanation = explained(method, trial)
    marks = mark("randomization", trial, explanation)
    stages = list(stages_of(trial.specimen.model))
    assert marks.details["correlation"].shape == (3, len(stages))
    for column, (_, lost) in enumerate(cascade(trial.specimen)):
        other = explain_images(method, lost, trial.images, trial.target)
        for number in range(3):
            maps = (explanation.ranking[number].flatten(), other.ranking[number].flatten())
            shown = bool(explanation.has_evidence[number] and other.has_evidence[number])
            constant = any(bool((values == values[0]).all()) for values in maps)
            wanted = 0.0 if constant else float(stats.spearmanr(*maps).statistic)
            wanted = wanted if shown else math.nan
            found = float(marks.details["correlation"][number, column])
            assert found == pytest.approx(wanted, abs=1e-9, nan_ok=True)
    torch.testing.assert_close(marks.score, 1 - marks.details["correlation"][:, -1], equal_nan=True)
    whole = mark("randomization", trial, explanation, only_whole=True)
    torch.testing.assert_close(whole.score, marks.score, equal_nan=True)


def test_a_map_that_never_looks_at_the_model_fails(trial):
    marks = mark("randomization", trial, explained("random", trial))
    assert marks.score.tolist() == pytest.approx([0.0] * 3)
    sanity = sanity_of(marks.score)
    assert sanity.verdict == "fails" and sanity.alike.value == pytest.approx(1.0)


def test_verdicts_follow_the_interval():
    assert sanity_of(torch.tensor([1.0, 1.05, 0.95, 1.0])).verdict == "passes"
    assert sanity_of(torch.tensor([0.3, 0.4, 0.5, torch.nan])).verdict == "fails"
    assert sanity_of(torch.tensor([0.3, 1.3, 0.5, 1.2])).verdict == "undecided"
    with pytest.raises(ValueError, match="needs at least one image with a mark"):
        sanity_of(torch.full((3,), torch.nan))


@pytest.mark.parametrize("method", METHODS)
def test_stability_equals_loops(trial, method):
    explanation = explained(method, trial)
    marks = mark("stability", trial, explanation, radius=0.02, samples=2)
    noise = trial.random("noise of stability", 2, 3, 6, 9)
    for number in range(3):
        found, changes = [], []
        for sample in range(2):
            noisy = (trial.images[number] + 0.02 * (2 * noise[number, sample] - 1)).clamp(0, 1)[None]
            with torch.no_grad():
                before, after = (
                    trial.specimen.predict(x).argmax() for x in (trial.images[number][None], noisy)
                )
            if before != after:
                continue
            other = (
                explain_images(method, trial.specimen, noisy, trial.target[number][None]).ranking[0].flatten()
            )
            values = explanation.ranking[number].flatten()
            both_vary = len(values.unique()) > 1 and len(other.unique()) > 1
            found.append(float(stats.spearmanr(values, other).statistic) if both_vary else 0.0)
            changes.append(float((other - values).norm() / values.norm().clamp(min=1e-30)))
        assert found, "the noise should leave some answer"
        assert float(marks.score[number]) == pytest.approx(sum(found) / len(found), abs=1e-9)
        assert float(marks.details["max_relative_change"][number]) == pytest.approx(max(changes), rel=1e-6)


def test_noise_that_changes_every_answer_leaves_the_image_out():
    trial = cases.trial(5)
    marks = mark("stability", trial, explained("random", trial), radius=1.0, samples=1)
    out = marks.left_out["noise changes the prediction"]
    assert out.any() and torch.equal(marks.score.isnan(), out)


def test_noise_must_be_some(trial):
    with pytest.raises(ValueError, match="radius must be above 0"):
        mark("stability", trial, explained("random", trial), radius=0.0)
    with pytest.raises(ValueError, match="samples at least 1"):
        mark("stability", trial, explained("random", trial), samples=0)


def test_one_image_decides_nothing_about_sanity():
    for score in (0.1, 1.0):
        assert sanity_of(torch.tensor([score, torch.nan])).verdict == "undecided"
    assert sanity_of(torch.tensor([0.1, 0.1])).verdict == "fails"
