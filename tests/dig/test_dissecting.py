"""A dig takes failures apart: what it writes, that it is found again, that it is left out, and what is said of it."""

from types import SimpleNamespace

import numpy as np
import pytest

import archaeology as arc
from archaeology.dig.config import DigConfig
from archaeology.dig.directory import RunDirectory
from archaeology.dig.dissecting import dissection_count
from archaeology.dig.dissecting_answers import calibrated, case_of
from archaeology.dig.dissecting_work import Work
from archaeology.dig.dissection_findings import dissection_findings
from archaeology.dig.finding import answered
from archaeology.dig.labels import ClassMatch, why_no_errors
from archaeology.failures.taxonomy import kinds

QUICK = {"images": 50, "layer_images": 2, "pair_images": 3, "judge_images": 0, "pruning_images": 0}
QUICK |= {"robustness_images": 0, "ablation_images": 4, "seed": 1}


@pytest.fixture(scope="module")
def finished(tiny, tmp_path_factory):
    return arc.dig(**tiny, data="cue_conflict", out=tmp_path_factory.mktemp("runs") / "apart", **QUICK)


def test_document_is_of_the_images_of_the_dig(finished):
    found, rows = finished.dissection, finished.images.to_pylist()
    assert found["n"] == found["dissected"] == 50 and finished.results["not_dissected"] == ""
    for role in ("vit", "cnn"):
        wrong = [row for row in rows if not row[f"{role}_correct"]]
        assert found["kinds"][role]["num_failures"] == len(wrong)
        right = found["calibration"][role]["accuracy"]["value"]
        assert right == pytest.approx(finished.results["accuracy"][role]["value"])
        sure = np.mean([row[f"{role}_confidence"] for row in rows])
        assert found["calibration"][role]["confidence"] == pytest.approx(sure, rel=1e-4)
        assert {row["name"] for row in found["kinds"][role]["counts"]} <= set(kinds)
    assert (
        found["mending"]["vit"]["wrong"]["n"] + found["mending"]["vit"]["wrong"]["without_region"]
        == (found["kinds"]["vit"]["num_failures"])
    )


def test_examples_are_rows_of_the_dig_with_their_pixels(finished):
    found, rows = finished.dissection, finished.images.to_pylist()
    for role in ("vit", "cnn"):
        for kind in found["kinds"][role]["counts"]:
            assert all(not rows[row][f"{role}_correct"] for row in kind["examples"])
    for said in found["images"]:
        row = rows[said["row"]]
        assert (said["id"], said["label"], said["vit"]) == (
            row["id"],
            row["label_name"],
            row["vit_prediction_name"],
        )
    stored = finished.dissected
    assert stored["row"][:].tolist() == [said["row"] for said in found["images"]]
    source = arc.open_source("cue_conflict", split="random")
    number = int(rows[int(stored["row"][0])]["id"].rsplit("-", 1)[-1])
    np.testing.assert_array_equal(stored["pixels"][0], source.get(number).image)
    for failure, success in found["attention"]["pairs"]:
        assert not rows[failure]["vit_correct"] and rows[success]["vit_correct"]
        assert rows[failure]["label"] == rows[success]["label"]


@pytest.mark.slow
def test_some_of_the_images_or_none(finished, tiny, tmp_path):
    none = arc.dig(**tiny, data="cue_conflict", out=tmp_path / "none", **{**QUICK, "dissect_images": 0})
    assert none.dissection is None and none.dissected is None
    assert none.results["not_dissected"] == "dissect_images was 0"
    few = arc.dig(**tiny, data="cue_conflict", out=tmp_path / "few", **{**QUICK, "dissect_images": 30})
    assert (few.dissection["n"], few.dissection["dissected"]) == (50, 30)
    assert few.dissection["calibration"] == finished.dissection["calibration"]
    assert "too few" in few.dissection["slices"]["vit"]["reason"]
    one = arc.dig(**tiny, data="cue_conflict", out=tmp_path / "one", **{**QUICK, "dissect_images": 1})
    assert "at least 2 images" in one.dissection["missing"]["kinds of failure"]
    assert "kinds" not in one.dissection and one.dissection["calibration"]


def test_parts_are_found_again(finished, tiny, tmp_path):
    import shutil

    again = tmp_path / "again"
    shutil.copytree(finished.path, again)
    (again / "run.json").unlink()
    renewed = arc.dig(**tiny, data="cue_conflict", out=again, **QUICK)
    assert renewed.dissection == finished.dissection
    assert not any(stage.startswith("dissect") for stage in renewed.run["work"]["computed"])


def test_without_labels_nothing_is_said(tiny, tmp_path):
    from PIL import Image

    for number in range(4):
        pixels = np.random.default_rng(number).integers(0, 255, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    run = arc.dig(**tiny, data=f"folder:{tmp_path}", out=tmp_path / "run", **{**QUICK, "images": 4})
    assert run.dissection is None and "no labels to be wrong about" in run.results["not_dissected"]


def test_old_runs_without_the_document_are_read(finished, tmp_path):
    import shutil

    old = tmp_path / "old"
    shutil.copytree(finished.path, old)
    (old / "dissection.json").unlink()
    shutil.rmtree(old / "dissection.zarr")
    assert RunDirectory(old).dissection is None and RunDirectory(old).dissected is None


def test_how_many_images(tiny):
    specimens = {role: arc.load(name, device="cpu") for role, name in tiny.items()}
    assert dissection_count(DigConfig(), specimens, available=1000) == 400
    assert dissection_count(DigConfig(dissect_images=7), specimens, available=5) == 5
    assert dissection_count(DigConfig(dissect_images=0), specimens, available=5) == 0


def test_answers_outside_of_the_data_stay_answers(tiny):
    vit = arc.load(tiny["vit"], device="cpu")
    logits = np.array([[0.0, 3.0, 1.0, 2.0], [5.0, 0.0, 1.0, 2.0]])
    case = case_of(vit, ClassMatch(np.array([2, 1]), ""), logits, np.array([1, 0]))
    np.testing.assert_array_equal(case.logits, [[1, 3, 2], [1, 0, 5]])
    assert case.right.tolist() == [True, False] and case.truth.tolist() == [1, 2]


def test_a_sure_model_without_failures_is_no_finding(tiny):
    """Right on all of 300 images, each with a probability of 0.998: by chance 0.6 failures are missing."""
    vit = arc.load(tiny["vit"], device="cpu")
    labels = np.random.default_rng(0).integers(2, size=300)
    logits = np.log(0.998 / 0.002) * np.eye(2)[labels] + np.random.default_rng(1).normal(0, 1e-3, (300, 2))
    case = case_of(vit, ClassMatch(np.arange(2), ""), logits, labels)
    gap = calibrated(case, 0)["overconfidence"]
    assert gap["p_value"] == 1.0 and gap["low"] < 0 < gap["high"]
    named = np.where(np.arange(300) < 60, 1 - labels, labels)
    wrong = case_of(vit, ClassMatch(np.arange(2), ""), np.log(0.998 / 0.002) * np.eye(2)[named], labels)
    assert calibrated(wrong, 0)["overconfidence"]["p_value"] < 1e-10


class Two:
    """Two images."""

    def __init__(self, decoded):
        self.decoded = decoded

    def __len__(self):
        return 2


def slice_of(**changes):
    gap = {"value": -0.4, "low": -0.6, "high": -0.2, "n": 100}
    share = {"value": 0.3, "low": 0.2, "high": 0.4, "n": 20}
    row = {"gap": gap, "accuracy": share, "rest": share, "n": 20, "p_corrected": 1e-6, "is_claimed": True}
    return {**row, "label": 0, "label_share": 0.9, "attributes": [{"words": "darker"}], **changes}


def document(**parts):
    return {"roles": {"vit": "a:vit", "cnn": "b:cnn"}, "classes_named": ["cat", "dog"], **parts}


def test_a_slice_is_a_finding_and_a_chance_one_is_only_a_question():
    (found,) = dissection_findings(document(slices={"vit": {"slices": [slice_of()]}}))
    assert found.title == "vit fails on a slice, whose commonest class is cat" and found.p_value == 1e-6
    assert "40.0 points less often" in found.text and "darker" in found.text
    (asked,) = dissection_findings(
        document(slices={"vit": {"slices": [slice_of(is_claimed=False, p_corrected=0.4)]}})
    )
    assert not asked.title and asked.p_value == 0.4


def test_mending_must_beat_both_controls():
    share = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 50}
    sure, unsure = ({"value": 0.3, "low": low, "high": 0.4, "n": 50} for low in (0.2, -0.1))
    row = {"n": 50, "changed": share, "by_chance": share, "beside": share, "p_value": 1e-5, "p_beside": 1e-4}

    def asked(**changes):
        one = {"rule": "what it saw", "right": None, "wrong": {**row, **changes}}
        return dissection_findings(document(mending={"vit": one}))

    (found,) = asked(gain=sure, gain_beside=sure)
    assert found.title and found.p_value == 1e-4 and len(answered([found])) == 1
    assert not asked(gain=sure, gain_beside=unsure)[0].title
    (alone,) = asked(gain=sure, gain_beside=None, beside=None, p_beside=None)
    assert alone.title and alone.p_value == 1e-5


def test_nothing_asked_of_an_empty_document():
    assert dissection_findings({}) == []


def test_what_the_data_cannot_answer_counts_in_the_correction():
    """Whether a question has an answer follows from the data, so it must not make the others easier."""
    asked = dissection_findings(
        document(
            slices={"vit": {"slices": []}},
            attention={"gaps": [], "missing": {"object_mass": "none known"}},
            mending={"cnn": {"wrong": None}},
            calibration={"vit": {"missing": "one class"}},
        )
    )
    assert [(one.title, one.p_value) for one in asked] == [("", 1.0)] * 4


def test_probabilities_are_among_all_classes_of_the_model(tiny):
    vit = arc.load(tiny["vit"], device="cpu")
    logits = np.random.default_rng(0).normal(size=(3, 50)).astype(np.float32)
    case = case_of(vit, ClassMatch(np.array([4, 1]), ""), logits, np.array([0, 1, 0]))
    every = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(case.probabilities[:, :2], every[:, [4, 1]], rtol=1e-5)
    np.testing.assert_allclose(case.probabilities.max(axis=1), every.max(axis=1), rtol=1e-5)
    assert case.every.dtype == np.float32


def test_a_box_stands_in_where_there_is_no_mask():
    masks, boxes = np.zeros((2, 8, 8), bool), np.array([[0, 0, 8, 8], [0, 0, 4, 8]], np.float32)
    masks[0, :4, :4] = True
    decoded = SimpleNamespace(images=np.zeros((2, 3, 8, 8), np.uint8), masks=masks, boxes=boxes)
    work = SimpleNamespace(images=Two(decoded), _grid=lambda: (2, 2))
    np.testing.assert_array_equal(Work._inside(work), [[1, 0, 0, 0], [1, 0, 1, 0]])


@pytest.mark.parametrize(("labels", "said"), [([0, -1, 1], "1 of 3 images have none"), ([0, 1, 1], "")])
def test_partly_labelled_data_is_told_so(labels, said):
    match = {"a": ClassMatch(np.arange(2), "classes matched by name")}
    found = why_no_errors(match, np.array(labels))
    assert said in found and bool(found) == bool(said) and "matched" not in found
