"""Every check on runs written by hand: it speaks where it must, with the run's numbers, and is silent beside that."""

import json
import math
import os
import time
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from archaeology.diagnose import checks, diagnose, read_history

spec = spec_from_file_location("diagnosed_folders", Path(__file__).with_name("folders.py"))
assert spec and spec.loader
folders = module_from_spec(spec)
spec.loader.exec_module(folders)
written = folders.written

GOOD = [1.38, 1.2, 1.0, 0.85, 0.75, 0.68, 0.62, 0.58, 0.55, 0.53, 0.52, 0.515]
RESULTS = Path(__file__).parents[2] / "docs" / "results"


def names(folder: Path) -> list[str]:
    return [diagnosis.name for diagnosis in diagnose(folder).diagnoses]


def test_a_good_run_has_nothing(tmp_path):
    report = diagnose(written(tmp_path, GOOD, accuracy={"value": 0.9}, train_accuracy=0.93))
    assert report.is_healthy and report.state == "finished" and report.steps == 600
    assert "600 steps, it finished" in report.sentence()
    assert "no epoch ended" in report.note


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*-seed*.json")), ids=lambda path: path.stem)
def test_the_trainings_of_the_bundled_specimens_have_nothing(path, tmp_path):
    record = json.loads(path.read_text())
    lines = record.pop("metrics")
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "config.json").write_text(json.dumps({"classes": [str(number) for number in range(10)]}))
    (tmp_path / "run.json").write_text(json.dumps(record))
    assert names(tmp_path) == []


def test_a_loss_that_is_not_finite_is_divergence_with_the_numbers_at_the_time(tmp_path):
    folder = written(tmp_path, [1.3, 1.1, 4.0], finished=False)
    failure = {"kind": "non_finite", "step": 163, "loss": None, "learning_rate": 0.37, "gradient_norm": 912.0}
    (folder / "failure.json").write_text(json.dumps(failure))
    report = diagnose(folder)
    (found,) = report.diagnoses
    assert (report.state, found.name) == ("broken", "divergence")
    assert "step 163 (learning rate 0.37, gradient norm 912, last finite loss 4)" in found.evidence
    assert found.numbers["last_finite_loss"] == 4.0


def test_a_line_without_a_finite_loss_is_divergence_too(tmp_path):
    assert names(written(tmp_path, [1.3, 1.1, None, None])) == ["divergence"]


def test_a_rise_that_never_recovers_is_divergence_and_one_that_does_is_not(tmp_path):
    risen = [1.38, 1.2, 1.0, 0.9, 1.6, 1.5, 1.45, 1.4, 1.4, 1.4]
    (found,) = diagnose(written(tmp_path / "risen", risen)).diagnoses
    assert found.name == "divergence" and found.numbers["step"] == 250 and found.numbers["loss"] == 1.6
    assert "0.9 at best, 1.4 at last" in found.evidence
    recovered = [1.38, 1.2, 1.0, 0.9, 1.6, 1.3, 1.0, 0.8, 0.7, 0.65, 0.6, 0.58]
    (found,) = diagnose(written(tmp_path / "recovered", recovered)).diagnoses
    assert found.name == "rate_too_high" and found.numbers["times"] == pytest.approx(1.6 / 0.9)


def test_a_loss_that_ran_away_in_its_first_line_is_divergence(tmp_path):
    assert names(written(tmp_path, [40.0, 1.39, 1.388, 1.387, 1.387, 1.386])) == ["divergence"]


@pytest.mark.parametrize(("warmup", "expected"), [(0.0, ["no_warmup"]), (0.05, [])])
def test_an_early_gradient_spike_is_named_only_without_warmup(tmp_path, warmup, expected):
    norms = [9.0] + [1.0] * 11
    slow = [1.38, 1.3, 1.25, 1.2, 1.1, 1.0, 0.9, 0.8, 0.7, 0.65, 0.6, 0.58]
    folder = written(tmp_path, slow, config={"warmup": warmup}, norms=norms)
    report = diagnose(folder)
    assert [found.name for found in report.diagnoses] == expected
    if expected:
        assert "reached 9, 9 times its median soon after, 1" in report.diagnoses[0].evidence


def test_a_gradient_that_falls_because_all_is_learned_is_no_spike(tmp_path):
    losses, norms = [1.3, 0.4, 0.1, 0.05, 0.04, 0.03, 0.02, 0.02], [5.0] + [0.1] * 7
    assert names(written(tmp_path, losses, config={"warmup": 0.0}, norms=norms)) == []


def test_post_norm_is_named_only_together_with_a_symptom(tmp_path):
    card = {"arguments": {"norm": "post"}}
    assert names(written(tmp_path / "calm", GOOD, card=card)) == []
    leap = [1.38, 1.2, 1.0, 1.4, 1.1, 0.9, 0.8, 0.7, 0.65, 0.6, 0.58, 0.57]
    (found,) = diagnose(written(tmp_path / "leap", leap, card=card)).diagnoses
    assert found.name == "post_norm" and "at step 200 the loss leapt to 1.4 times" in found.evidence
    assert "norm='pre'" in found.remedy


def test_standing_still_at_a_high_rate_is_a_plateau_but_not_at_a_low_one(tmp_path):
    flat = [1.38, 1.2, 1.05, 1.0, 0.99, 0.99, 0.985, 0.985, 0.985, 0.984, 0.984, 0.984]
    (found,) = diagnose(written(tmp_path / "high", flat, rates=[1.0] * 12)).diagnoses
    assert found.name == "plateau" and "100 % of its full height" in found.evidence
    assert names(written(tmp_path / "low", flat)) == []
    solved = {"accuracy": {"value": 0.99}}
    assert names(written(tmp_path / "solved", flat, rates=[1.0] * 12, **solved)) == []


def test_a_loss_that_never_moved_is_a_plateau_that_asks_for_a_higher_rate(tmp_path):
    (found,) = diagnose(written(tmp_path, [math.log(4) - 0.001 * n for n in range(8)])).diagnoses
    assert found.name == "plateau" and "raise the learning rate" in found.remedy
    assert "never left its beginning" in found.evidence and "guessing gives 1.39" in found.evidence


def test_little_learned_from_little_is_underfitting_and_says_what_was_little(tmp_path):
    reached = {"accuracy": {"value": 0.41}, "train_accuracy": 0.44, "data": {"num_training": 300}}
    (found,) = diagnose(written(tmp_path / "few", GOOD, **reached)).diagnoses
    assert found.name == "underfitting"
    assert "0.440 on training images and 0.410 on others" in found.evidence
    assert "only 600 steps" in found.evidence and "only 300 training images" in found.evidence
    much = {**reached, "data": {"num_training": 90_000}}
    (found,) = diagnose(written(tmp_path / "steps", GOOD, **much)).diagnoses
    assert "training images and 0.410" in found.evidence and "only 90" not in found.evidence


def test_learned_by_heart_is_overfitting(tmp_path):
    reached = {
        "accuracy": {"value": 0.6},
        "train_accuracy": {"value": 0.99},
        "data": {"num_training": 50_000},
    }
    assert names(written(tmp_path / "far", GOOD, **reached)) == ["overfitting"]
    reached["accuracy"] = {"value": 0.85}
    assert names(written(tmp_path / "near", GOOD, **reached)) == []
    reached["data"] = {"num_training": 500}
    assert names(written(tmp_path / "few", GOOD, **reached)) == ["overfitting"]


def test_out_of_memory_says_which_batch_fits(tmp_path):
    folder = written(tmp_path, [], finished=False)
    failure = {"kind": "out_of_memory", "step": 0, "batch_size": 512, "available_bytes": 3_000_000_000}
    failure |= {"bytes_per_image": 9_000_000, "fixed_bytes": 40_000_000, "batch_size_that_fits": 256}
    (folder / "failure.json").write_text(json.dumps(failure))
    (found,) = diagnose(folder).diagnoses
    assert found.name == "out_of_memory"
    assert "batch of 512" in found.evidence and "3,000 MB" in found.evidence and "9.00 MB" in found.evidence
    assert "--batch-size 256 fits" in found.remedy and "--accumulate 2" in found.remedy


def test_any_other_break_is_named_with_its_message(tmp_path):
    folder = written(tmp_path, GOOD[:3], finished=False)
    (folder / "failure.json").write_text(json.dumps({"kind": "error", "step": 151, "message": "disk full"}))
    (found,) = diagnose(folder).diagnoses
    assert (found.name, found.evidence) == ("error", "it broke at step 151: disk full")


def test_running_and_interrupted_trainings_are_told_apart_by_their_silence(tmp_path):
    folder = written(tmp_path, GOOD[:6], finished=False)
    assert read_history(folder).state == "running"
    hours_ago = time.time() - 7200
    os.utime(folder / "metrics.jsonl", (hours_ago, hours_ago))
    report = diagnose(folder)
    assert (report.state, report.diagnoses) == ("interrupted", ())
    assert "interrupted" in report.sentence()


def test_a_folder_without_a_training_and_a_broken_file_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"must be the folder of a training.*metrics.jsonl"):
        diagnose(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(ValueError, match=r"run\.json must hold JSON"):
        diagnose(tmp_path)


def test_checks_that_ask_what_others_found_come_after_them():
    order = list(checks)
    assert order.index("divergence") < order.index("plateau") < order.index("no_warmup")
    assert order.index("no_warmup") < order.index("post_norm") < order.index("rate_too_high")
    assert order[-1] == "underfitting"


def test_an_interrupted_training_is_known_by_the_state_it_left(tmp_path):
    written(tmp_path, [2.0, 1.9], finished=False)
    assert read_history(tmp_path).config == {}
    config = {"batch_size": 7, "warmup": 0.0, "data": {"training": "somewhere"}}
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "latest.json").write_text(json.dumps({"config": config, "folder": "step-1"}))
    assert read_history(tmp_path).config == {"batch_size": 7, "warmup": 0.0}
