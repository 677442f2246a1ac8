"""What every judge owes its caller, whichever it is: found through the registry."""

from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
import torch
from tests.evaluate import cases
from tests.explain.asked_models import Narrow

import archaeology.evaluate as package
from archaeology.core.errors import UnknownNameError
from archaeology.evaluate import judges, mark, trial_of
from archaeology.evaluate.judge import NO_ANSWER
from archaeology.explain import explain_images

COUNT = 4


@pytest.fixture(params=judges.names())
def judge(request):
    return request.param


def explained(trial, method="raw_attention"):
    return explain_images(method, trial.specimen, trial.images, trial.target)


def test_marks_are_one_for_each_image_and_say_how_they_were_made(judge):
    trial = cases.trial(COUNT)
    marks = mark(judge, trial, explained(trial))
    assert marks.judge == judge and len(marks.formula) > 10
    assert marks.score.shape == (COUNT,) and marks.score.dtype == torch.float64
    assert marks.score.isfinite().all()
    assert marks.chance is None or marks.chance.shape == (COUNT,)
    assert all(len(detail) == COUNT for detail in marks.details.values())
    again = mark(judge, cases.trial(COUNT), explained(trial), **marks.parameters)
    torch.testing.assert_close(again.score, marks.score, rtol=0, atol=1e-12)


def test_each_image_alone_equals_itself_in_the_batch(judge):
    trial = cases.trial(COUNT)
    together = mark(judge, trial, explained(trial)).score
    for number in range(COUNT):
        some = slice(number, number + 1)
        alone = trial_of(trial.specimen, trial.images[some], trial.target[some], masks=trial.truth[some])
        torch.testing.assert_close(
            mark(judge, alone, explained(alone)).score[0], together[number], atol=1e-6, rtol=0
        )


def test_where_memory_runs_out_fewer_are_asked_at_once_and_nothing_changes(judge):
    trial = cases.trial(COUNT)
    explanation = explained(trial)
    narrow = replace(trial.specimen, model=Narrow(trial.specimen.model, 5))
    tight = trial_of(narrow, trial.images, trial.target, masks=trial.truth, at_once=50)
    if judges.get(judge).kind == "sanity":
        tight = replace(tight, specimen=trial.specimen)
    torch.testing.assert_close(
        mark(judge, tight, explanation).score, mark(judge, trial, explanation).score, atol=1e-6, rtol=0
    )


def test_the_model_is_left_alone(judge):
    trial = cases.trial(2)
    model = trial.specimen.model
    explanation = explained(trial, "grad_cam")
    torch.manual_seed(7)
    before, state = {name: value.clone() for name, value in model.state_dict().items()}, torch.get_rng_state()
    asked = [parameter.requires_grad for parameter in model.parameters()]
    mark(judge, trial, explanation)
    assert torch.equal(torch.get_rng_state(), state)
    assert [parameter.requires_grad for parameter in model.parameters()] == asked
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


# The others have the map drawn anew by its method, so a map made by hand is of no use to them.
@pytest.mark.parametrize(
    "judge", [name for name in judges if judges.get(name).kind not in ("sanity", "robustness")]
)
def test_maps_of_pixels_and_patches_are_asked_alike(judge):
    trial, patches = cases.trial(COUNT), cases.scattered(COUNT)
    pixels = cases.shown(patches.heatmap.repeat_interleave(3, 1).repeat_interleave(3, 2))
    torch.testing.assert_close(mark(judge, trial, pixels).score, mark(judge, trial, patches).score)


def test_another_class_or_other_images_are_refused(judge):
    trial = cases.trial(2)
    explanation = explained(trial, "grad_cam")
    with pytest.raises(ValueError, match="must be of the trial's classes"):
        mark(judge, replace(trial, target=trial.target + 1), explanation)
    with pytest.raises(ValueError, match="must be of the trial's 2 images"):
        mark(judge, trial, cases.scattered(3))


def test_an_image_without_a_finite_answer_is_left_out():
    trial = cases.trial(3)
    trial.memo["logits"] = trial.memo["logits"].clone()
    trial.memo["logits"][1] = torch.nan
    marks = mark("sensitivity_n", trial, cases.scattered(3))
    assert marks.judged.tolist() == [True, False, True]
    assert marks.left_out[NO_ANSWER].tolist() == [False, True, False]


def test_unknown_judges_get_the_near_miss():
    with pytest.raises(UnknownNameError, match="did you mean 'deletion'"):
        mark("deletoin", cases.trial(2), cases.scattered(2))


def test_every_judge_has_a_file_of_its_name_and_is_exported(judge):
    assert (Path(package.__file__).parent / f"{judge}.py").is_file()
    assert callable(getattr(import_module(f"archaeology.evaluate.{judge}"), judge))
    line = f"from archaeology.evaluate.{judge} import {judge} as {judge}"
    assert line in Path(package.__file__).read_text()
