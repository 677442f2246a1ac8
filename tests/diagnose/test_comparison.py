"""Trainings beside each other: what is grouped, refused, reached, paired, and what may be said of it."""

import json
import math
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from archaeology.core.intervals import wilson
from archaeology.core.storage import json_text
from archaeology.diagnose import compare
from archaeology.diagnose.comparison_groups import read_groups
from archaeology.diagnose.comparison_leads import accuracy_after
from archaeology.diagnose.comparison_statistics import paired_difference, student
from archaeology.diagnose.comparison_words import duration

spec = spec_from_file_location("compared_folders", Path(__file__).with_name("compared.py"))
assert spec and spec.loader
folders = module_from_spec(spec)
spec.loader.exec_module(folders)
write_run, write_recipe = folders.write_run, folders.write_recipe


def numbers(paths, **options):
    return compare(paths, run_models=False, **options)


def test_runs_that_differ_by_their_seed_alone_are_one_recipe(tmp_path):
    plain = write_recipe(tmp_path, "plain", (0.7, 0.71, 0.72))
    slow = write_run(tmp_path / "slow", (0.5, 0.6), seed=0, config={"learning_rate": 0.5, "threads": 1})
    other = write_run(tmp_path / "other", (0.5, 0.6), recipe="other", seed=0, config={"threads": 2})
    groups = read_groups([*plain, slow, other])
    assert [[run.seed for run in group.runs] for group in groups] == [[0, 1, 2], [0], [0]]
    assert groups[1].name == "plain (learning rate 0.5)" and groups[2].name == "other"
    assert groups[0].name.startswith("plain (learning rate 0.")


def test_a_run_that_has_not_finished_joins_the_only_recipe_it_can_be_of(tmp_path):
    done = write_recipe(tmp_path, "plain", (0.7, 0.71))
    going = write_run(tmp_path / "going", (0.5, 0.6), seed=2, finished=False)
    (group,) = read_groups([going, *done])
    assert [run.seed for run in group.runs] == [0, 1, 2] and len(group.finished) == 2
    assert [point.examples for point in group.runs[2].points] == [100, 200]  # the batch told from the speed
    found = numbers([going, *done])
    assert any("going has not finished" in note for note in found.notes)
    deep = write_run(tmp_path / "deep", (0.5, 0.6), seed=0, config={"learning_rate": 0.5})
    assert len(read_groups([*done, deep, going])) == 3  # it could be either


def test_seeds_may_start_each_from_their_own_specimen(tmp_path):
    first = write_run(tmp_path / "a", (0.5,), seed=0, origin="run:runs/vit-seed0")
    second = write_run(tmp_path / "b", (0.5,), seed=1, origin="run:runs/vit-seed1")
    third = write_run(tmp_path / "c", (0.5,), seed=1, origin="run:runs/convnet-seed1")
    assert [len(group.runs) for group in read_groups([first, second, third])] == [2, 1]


def test_what_cannot_be_compared_is_refused_by_name(tmp_path):
    good = write_run(tmp_path / "good", (0.5, 0.6))
    with pytest.raises(FileNotFoundError, match="archaeology train RECIPE"):
        numbers([good, tmp_path])
    with pytest.raises(ValueError, match="at least one run"):
        numbers([])
    with pytest.raises(ValueError, match="named once"):
        numbers([good, tmp_path / "good" / ".." / "good"])
    early = write_run(tmp_path / "early", (), finished=False)
    with pytest.raises(ValueError, match="early must have ended an epoch"):
        numbers([good, early])
    twin = write_run(tmp_path / "twin", (0.5, 0.6))
    with pytest.raises(ValueError, match=r"good, .*twin have the same"):
        numbers([good, twin])
    data = {"test": "made up test (1,000)", "test_fingerprint": "other"}
    elsewhere = write_run(tmp_path / "elsewhere", (0.5,), seed=1, data=data)
    with pytest.raises(ValueError, match=r"same test images only, but .*good .*elsewhere"):
        numbers([good, elsewhere])
    card = json.loads((twin / "config.json").read_text())
    (twin / "config.json").write_text(json.dumps({**card, "task": "stream"}))
    with pytest.raises(ValueError, match="twin must be a training on images"):
        numbers([twin])
    (good / "run.json").write_text(json.dumps({"accuracy": 0.6}))
    with pytest.raises(ValueError, match="value and n"):
        numbers([good])
    for level in (0.0, 75.0):
        with pytest.raises(ValueError, match="--levels"):
            numbers([write_run(tmp_path / "fine", (0.5,))], levels=(level,))


def test_other_classes_are_other_test_images(tmp_path):
    first, second = (write_run(tmp_path / name, (0.5,), recipe=name) for name in "ab")
    card = json.loads((second / "config.json").read_text())
    (second / "config.json").write_text(json.dumps({**card, "classes": ["red", "green"]}))
    with pytest.raises(ValueError, match="of 2 classes"):
        numbers([first, second])


def test_points_have_the_time_of_their_step_even_between_lines(tmp_path):
    folder = write_run(tmp_path, (0.3, 0.5), pace=8.0)
    lines = [
        {"step": 1, "epoch": 0.5, "seconds": 3.0, "loss": 1.0},
        {"step": 2, "epoch": 1.0, "test_accuracy_glance": 0.3},
        {"step": 3, "epoch": 1.5, "seconds": 9.0, "loss": 1.0},
        {"step": 6, "epoch": 3.0, "test_accuracy_glance": 0.5},
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (group,) = read_groups([folder])
    assert [point.seconds for point in group.runs[0].points] == [6.0, 18.0]
    assert [point.examples for point in group.runs[0].points] == [100, 300]


def test_a_level_is_reached_at_the_first_epoch_that_was_measured_there(tmp_path):
    paths = [
        write_run(tmp_path / str(seed), curve, seed=seed, pace=10.0 + seed)
        for seed, curve in enumerate([(0.3, 0.6, 0.5), (0.3, 0.5, 0.6), (0.3, 0.4, 0.5)])
    ]
    (half, more) = numbers(paths, levels=(0.6, 0.5)).reached
    assert [crossing.at.epoch for crossing in half.crossings] == [2, 2, 3]
    assert (half.seconds, half.examples, half.epochs) == (22.0, 200.0, 2.0)  # of 20, 22 and 36 seconds
    assert [crossing.seed for crossing in more.crossings] == [0, 1] and not more.is_by_all
    assert more.crossings[0].before.accuracy == 0.3


def test_levels_are_round_and_tell_the_runs_apart(tmp_path):
    paths = [*write_recipe(tmp_path, "a", (0.62, 0.64)), *write_recipe(tmp_path, "b", (0.83, 0.86))]
    levels = numbers(paths).levels
    assert 0.6 in levels and 0.85 in levels and len(levels) <= 5 and min(levels) > 0.4
    assert all(round(100 * level) % 5 == 0 for level in levels)
    close = [write_run(tmp_path / "close", (0.511, 0.524))]
    assert numbers(close).levels == (0.52,)
    assert numbers([write_run(tmp_path / "flat", (0.5, 0.5))]).levels == ()


def test_the_interval_of_a_mean_is_that_of_scipy(tmp_path):
    values = [0.71, 0.74, 0.72, 0.78]
    found = student(values)
    low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert (found.low, found.high, found.n) == pytest.approx((low, high, 4))
    assert math.isnan(student(values[:2]).low) and student(values[:2]).value == pytest.approx(0.725)
    alike = student([0.5, 0.5, 0.5])
    assert math.isnan(alike.low) and alike.method == "no spread"


def test_differences_pair_the_seeds_that_both_have():
    ours, theirs = {0: 0.9, 1: 0.8, 2: 0.7, 7: 0.0}, {0: 0.89, 1: 0.78, 2: 0.69, 9: 1.0}
    found = paired_difference("a", "b", ours, theirs)
    test = stats.ttest_rel([0.9, 0.8, 0.7], [0.89, 0.78, 0.69]).confidence_interval()
    assert found.seeds == (0, 1, 2)
    assert (found.interval.low, found.interval.high) == pytest.approx((test.low, test.high))
    assert found.is_clear == (test.low > 0)
    assert paired_difference("a", "b", {0: 1.0}, {1: 1.0}) is None


def test_final_accuracies_have_wilsons_interval(tmp_path):
    (group,) = read_groups(write_recipe(tmp_path, "a", (0.7,)))
    assert group.runs[0].final == wilson(700, 1000)


def test_who_is_ahead_is_said_where_the_interval_allows_it_only(tmp_path):
    good, bad = (0.80, 0.82, 0.81), (0.70, 0.715, 0.705)
    paths = [*write_recipe(tmp_path, "good", good), *write_recipe(tmp_path, "bad", bad, pace=5.0)]
    # paces that differ from seed to seed, lest all differences be the same
    paths[0] = write_run(paths[0], (0.4, 0.55, 0.66, 0.80), recipe="good", pace=11.0)
    found = numbers(paths)
    leads = {lead.task: lead for lead in found.leads}
    assert leads["end"].leader == "good" and leads["end"].is_clear
    assert leads["pace"].leader == "bad" and leads["pace"].is_clear
    expected = student([0.10, 0.105, 0.105])
    margin = leads["end"].margins[0].interval
    assert (margin.value, margin.low) == pytest.approx((expected.value, expected.low))
    said = "\n".join(found.findings)
    assert (
        "Most accurate at the end: good, 81.0 % on average, 10.3 points (95 % interval 9.6 to 11.1 points"
        in said
    )
    assert (
        "good is good for accuracy at the end" in said
        and "bad is good for getting to 70 % soonest, cheap epochs." in said
    )
    assert "Only good reaches 80 %: 3 of 3 runs, none of 3 of bad." in said


def test_noise_settles_nothing_and_neither_do_two_seeds(tmp_path):
    wild, calm = (0.80, 0.60, 0.75), (0.70, 0.71, 0.72)
    found = numbers([*write_recipe(tmp_path, "wild", wild), *write_recipe(tmp_path, "calm", calm)])
    (end,) = (lead for lead in found.leads if lead.task == "end")
    assert not end.is_clear
    said = "\n".join(found.findings)
    assert "Most accurate at the end is not settled" in said
    assert "is surely ahead in nothing" in said and "is good for accuracy" not in said
    pair = tmp_path / "pair"
    two = numbers([*write_recipe(pair, "high", (0.9, 0.92)), *write_recipe(pair, "low", (0.5, 0.51))])
    said = "\n".join(two.findings)
    assert "is not settled: high is ahead with 91.0 %" in said
    assert "2 seeds paired, fewer than the 3 an interval needs" in said
    assert "What each recipe is good for cannot be said: no two have 3 seeds in common" in said
    assert "nan" not in said


def test_recipes_without_a_seed_in_common_are_not_paired(tmp_path):
    first = write_run(tmp_path / "a", (0.5, 0.9), recipe="a", seed=0)
    second = write_run(tmp_path / "b", (0.5, 0.6), recipe="b", seed=1)
    found = numbers([first, second])
    assert found.differences == ()
    assert "no seed in common with b" in "\n".join(found.findings)


def test_who_is_first_takes_into_account_that_accuracy_is_measured_once_an_epoch(tmp_path):
    def recipe(name, curves):
        return [
            write_run(tmp_path / f"{name}{seed}", curve, recipe=name, seed=seed, pace=10.0 + 0.1 * seed)
            for seed, curve in enumerate(curves)
        ]

    soon = recipe("soon", [(0.3, 0.6, 0.7, 0.7, 0.7)] * 3)
    next_epoch = recipe("next", [(0.3, 0.5, 0.6, 0.7, 0.7)] * 3)
    late = recipe("late", [(0.3, 0.4, 0.4, 0.4, 0.6)] * 3)

    def level(paths):
        (found,) = (lead for lead in numbers(paths, levels=(0.6,)).leads if lead.task == "level")
        return found

    near, far = level([*soon, *next_epoch]), level([*soon, *late])
    assert near.leader == far.leader == "soon"
    assert near.margins[0].interval.value == pytest.approx(10.1)  # an epoch, of which all may be resolution
    assert not near.is_clear and far.is_clear
    # the other came there after its fourth epoch, the leader by its second; and after its first, by the fifth
    expected = student([20.0, 20.2, 20.4]).low, student([40.0, 40.4, 40.8]).high
    assert (far.margins[0].interval.low, far.margins[0].interval.high) == pytest.approx(expected)


def test_few_examples_are_those_that_all_were_measured_at(tmp_path):
    thrifty = write_run(tmp_path / "a", (0.5, 0.7), recipe="a")
    other = write_run(tmp_path / "b", (0.1, 0.2), recipe="b", config={"batch_size": 75})
    (found,) = (lead for lead in numbers([thrifty, other]).leads if lead.task == "examples")
    assert found.at == 150 and found.values == pytest.approx({"a": 0.6, "b": 0.1})
    (group,) = read_groups([thrifty])
    assert accuracy_after(group.runs[0], 100) == 0.5


def test_times_of_different_machines_are_remarked(tmp_path):
    first = write_run(tmp_path / "a", (0.5,), recipe="a", config={"threads": 1})
    second = write_run(tmp_path / "b", (0.5,), recipe="b", config={"threads": 2})
    assert any("wall times" in note for note in numbers([first, second]).notes)
    assert not any("wall times" in note for note in numbers([first]).notes)


def test_without_the_test_images_the_models_are_not_run_and_that_is_said(tmp_path):
    paths = [write_run(tmp_path / name, (0.5,), recipe=name) for name in "ab"]
    found = compare(paths)
    assert found.answers == () and any("no model was run on the test images" in note for note in found.notes)
    with pytest.raises(ValueError, match=r"No .* is called"):
        compare(paths, data="no_such_data")


def test_everything_goes_into_json(tmp_path):
    paths = [*write_recipe(tmp_path, "a", (0.7, 0.72, 0.71)), *write_recipe(tmp_path, "b", (0.6, 0.61))]
    document = json.loads(json_text(numbers(paths).numbers()))
    assert [len(recipe["runs"]) for recipe in document["recipes"]] == [3, 2]
    assert document["recipes"][1]["accuracy"]["low"] is None
    assert document["differences"][0]["seeds"] == [0, 1] and document["findings"]


@pytest.mark.parametrize(
    ("seconds", "words"), [(3.21, "3.2 s"), (-42.0, "-42 s"), (600.0, "10.0 min"), (7200.0, "2.0 h")]
)
def test_durations_read_well(seconds, words):
    assert duration(seconds) == words


def test_a_group_keeps_its_runs_in_the_order_of_seeds(tmp_path):
    paths = write_recipe(tmp_path, "a", (0.7, 0.72, 0.71))
    (group,) = read_groups(paths[::-1])
    assert [run.seed for run in group.runs] == [0, 1, 2]
    assert group.finals == {0: 0.7, 1: 0.72, 2: 0.71}
