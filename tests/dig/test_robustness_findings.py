"""Findings of a survey of robustness: each is written where its interval carries it, and not where it does not."""

import importlib.util
import sys
from copy import deepcopy
from pathlib import Path

import pytest

from archaeology.core.names import short_name
from archaeology.dig.finding import interval, ordered, side, turned
from archaeology.dig.reattack_findings import reattack_findings
from archaeology.dig.robustness_findings import robustness_findings
from archaeology.figures import figures
from archaeology.report.content import CHAPTERS

VIT, CNN, THIRD = "bundled:vit_cifar10", "bundled:convnet_cifar10", "run:runs/vit_cifar10_robust"


@pytest.fixture(scope="module")
def made_up():
    """A survey of three models."""
    name = "archaeology_fixture_robustness"
    if name not in sys.modules:
        path = Path(__file__).resolve().parents[1] / "report" / "fixture_robustness.py"
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name].made_up_document()


def found(document, part, evidence):
    """Findings of one part alone, before correction."""
    return [
        one for one in robustness_findings({part: document[part]}) if one.evidence == evidence and one.title
    ]


def put(row, key, value, low, high):
    row |= {key: value, f"{key}_low": low, f"{key}_high": high}


def test_nothing_measured_is_nothing_found():
    assert robustness_findings({}) == []
    assert robustness_findings({"curves": [], "transfer": None, "fourier": {}, "attention": {}}) == []


def test_evidence_is_a_figure_or_a_chapter_and_every_finding_has_its_interval(made_up):
    every = [one for one in robustness_findings(made_up) if one.title]
    assert len({one.title for one in every}) == len(every) > 15
    for one in every:
        assert one.evidence in figures or one.evidence in CHAPTERS
        assert "nan" not in one.text.split() and one.text.endswith(".") and one.strength > 0
        assert "interval" in one.text or one.evidence == "robustness"
        assert 0 <= one.p_value <= 1 and (one.measure is not None or one.evidence == "robustness")


def test_hidden_gradients_come_before_everything_else(made_up):
    first = max(robustness_findings(made_up), key=lambda one: one.strength)
    assert (first.title, first.evidence) == ("Gradients of convnet_cifar10 may be masked", "robustness")
    assert first.text == (
        "So its robust accuracy may be an artefact. Signs, each tested and corrected (Holm, level 0.01), on 40 images: "
        "the gradient of the cross-entropy is exactly 0 for 31 of 40 images."
    )


def test_gradients_that_are_masked_in_l2_alone_are_told_too(made_up):
    document = {"gradients_l2": {CNN: made_up["gradients"][CNN]}}
    (one,) = robustness_findings(document)
    assert one.title == "Gradients of convnet_cifar10 may be masked in L2"


def test_who_withstands_more_needs_a_difference_that_excludes_zero(made_up):
    document = deepcopy(made_up)
    document["curves"] = document["curves"][:1]
    panel = document["curves"][0]
    panel["areas"] = panel["areas"][:1]
    for curve, area in zip(panel["curves"], (0.2, 0.3, 0.4), strict=True):
        put(curve, "area", area, area, area)
    put(panel["areas"][0], "difference", -0.1, -0.15, -0.05)
    (one,) = found(document, "curves", "robustness_curve")
    assert one.title == "convnet_cifar10 withstands PGD (L\u221e) longer than vit_cifar10"
    assert one.text == (
        "Averaged over changes up to 8/255 it is right on at most 30.0 % of 40 images, vit_cifar10 on 20.0 %: a "
        "difference of 10.0 points (95 % interval 5.0 points to 15.0 points)."
    )
    assert one.strength == pytest.approx(2.0)
    put(panel["areas"][0], "difference", -0.1, -0.2, 0.0)
    assert found(document, "curves", "robustness_curve") == []
    put(panel["areas"][0], "difference", -0.1, -0.15, -0.05)
    panel["areas"][0]["n"] = 15  # of few images nothing is sure
    assert found(document, "curves", "robustness_curve") == []


def test_transfer_and_its_asymmetry(made_up):
    document = deepcopy(made_up)
    for row in document["transfer"]["table"]:
        if row["n"]:
            put(row, "success", 0.5, 0.4, 0.6)
            put(row, "beyond_noise", 0.1, 0.0, 0.2)
    assert found(document, "transfer", "transfer") == []
    there, back = document["transfer"]["table"][1], document["transfer"]["table"][3]
    put(there, "beyond_noise", 0.4, 0.3, 0.5)
    first, second = found(document, "transfer", "transfer")
    assert first.title == "What breaks vit_cifar10 breaks convnet_cifar10 too"
    assert "40.0 points more than noise of the same size (30.0 points to 50.0 points)" in first.text
    assert second.title == "Attacks carry over from vit_cifar10 to convnet_cifar10 more than back"
    assert second.strength == pytest.approx(2.0)
    put(back, "beyond_noise", 0.25, 0.2, 0.3)
    assert [one.title for one in found(document, "transfer", "transfer")] == [first.title]


def test_a_weakest_band_lies_above_all_others(made_up):
    document = deepcopy(made_up)
    titles = [one.title for one in found(document, "fourier", "fourier_sensitivity")]
    assert titles == [
        "vit_cifar10 is weakest against patterns at 50 to 100 % of the finest frequency",
        "convnet_cifar10 is weakest against patterns at 0 to 25 % of the finest frequency",
    ]
    document["fourier"]["models"][VIT]["rings"][0]["error_high"] = 0.9
    assert len(found(document, "fourier", "fourier_sensitivity")) == 1


def test_fine_or_coarse_patterns_are_needed_more_where_intervals_do_not_touch(made_up):
    document = deepcopy(made_up)
    for row in document["passes"]["table"]:
        put(row, "lost", 0.3, 0.2, 0.4)
    assert found(document, "passes", "frequency_passes") == []
    for row in document["passes"]["table"]:
        if (row["specimen"], row["kind"]) == (CNN, "low"):
            put(row, "lost", 0.6, 0.5, 0.7)
    (one,) = found(document, "passes", "frequency_passes")
    assert one.title == "convnet_cifar10 needs fine patterns more than coarse ones"
    assert "Cut at 50 % of the finest frequency" in one.text and "n = 40" in one.text


def test_corruptions_name_the_better_model_and_a_worst_that_stands_out(made_up):
    document = deepcopy(made_up)
    models = document["corruptions"]["models"]
    put(models[CNN], "difference", 0.2, 0.1, 0.3)
    put(models[THIRD], "difference", -0.2, -0.3, -0.1)
    titles = [one.title for one in found(document, "corruptions", "corruptions")]
    assert titles == [
        "vit_cifar10 withstands corruptions better than convnet_cifar10",
        "The worst corruption for convnet_cifar10 is gaussian noise",
        "vit_cifar10_robust withstands corruptions better than vit_cifar10",
    ]
    put(models[CNN], "difference", 0.2, 0.0, 0.3)
    put(models[CNN], "mean_error", 0.6, 0.3, 0.99)
    assert len(found(document, "corruptions", "corruptions")) == 1


def test_patches_attention_and_carriers(made_up):
    document = deepcopy(made_up)
    for row in document["patches"]["differences"]:
        put(row, "lost_difference", 0.1, -0.1, 0.3)
    assert found(document, "patches", "patch_drop") == []
    row = next(
        row
        for row in document["patches"]["differences"]
        if row["kind"] == "drop_random" and row["level"] == 0.5
    )
    put(row, "lost_difference", -0.2, -0.3, -0.1)
    (one,) = found(document, "patches", "patch_drop")
    assert one.title == "vit_cifar10 does better with missing patches than convnet_cifar10"
    assert "20.0 points less (95 % interval 10.0 points to 30.0 points)" in one.text
    (one,) = found(document, "attention", "attention_shift")
    assert one.title == "In vit_cifar10 an attack parts from noise at layer 4 of 5"
    (one,) = found(document, "carriers", "attack_carriers")
    assert (
        one.title
        == "Head 2 of layer 3 carries more of the attack on vit_cifar10 than any other, on these images"
    )
    for row in document["carriers"][VIT]["heads"]:
        row["gain"] = -0.1
    assert found(document, "carriers", "attack_carriers") == []


def test_shape_or_texture_where_the_interval_excludes_one_half(made_up):
    document = deepcopy(made_up)
    for row in document["shape"]["table"]:
        put(row, "shape_share", 0.6, 0.5, 0.7)
    for row in document["shape"]["differences"]:
        put(row, "difference", 0.1, 0.0, 0.2)
    assert found(document, "shape", "shape_share") == []
    plain = next(
        row for row in document["shape"]["table"] if row["specimen"] == CNN and row["cutoff"] is None
    )
    put(plain, "shape_share", 0.3, 0.2, 0.45)
    put(document["shape"]["differences"][0], "difference", 0.3, 0.1, 0.4)
    first, second = found(document, "shape", "shape_share")
    assert first.title == "convnet_cifar10 goes by texture"
    assert second.title == "vit_cifar10 goes by shape more often than convnet_cifar10"


def test_intervals_of_rows():
    row = {"specimen": "a", "other": "b", "gap": -0.2, "gap_low": -0.3, "gap_high": -0.1, "open": None}
    assert ordered(row, "gap") == ({"value": 0.2, "low": 0.1, "high": 0.3}, "b", "a")
    assert turned(turned(interval(row, "gap"))) == interval(row, "gap")
    assert side(interval(row, "gap")) == -1 and side(interval(row, "open")) == 0
    assert short_name("timm:a/b") == "b" and short_name("plain") == "plain"


def test_questions_without_an_answer_are_counted(made_up):
    document = deepcopy(made_up)
    for panel in document["curves"]:
        for row in panel["areas"]:
            put(row, "difference", 0.01, -0.1, 0.12)
    asked = [one for one in robustness_findings({"curves": document["curves"]})]
    assert len(asked) == 6 and not any(one.title for one in asked) and all(one.p_value > 0.5 for one in asked)


def reattacked(made_up, robust, others, old, n=40):
    """A document of one model whose gains lie in these intervals."""
    found = deepcopy(made_up["reattack"][VIT])
    found["n"] = n
    rows = {row["what"]: row for row in found["table"]}
    put(rows["robust"], "without_minus_whole", *robust)
    put(rows["robust"], "without_minus_others", *others)
    put(rows["old_images"], "without_minus_whole", *old)
    rows["robust"] |= {"p_whole": 0.001, "p_others": 0.004}
    rows["old_images"] |= {"p_whole": 0.002}
    return {"reattack": {VIT: found}}


def test_a_model_is_safer_without_its_carriers_only_beyond_other_heads(made_up):
    more, nothing, few = (0.3, 0.2, 0.4), (0.0, -0.1, 0.1), (0.2, 0.1, 0.3)
    document = reattacked(made_up, more, few, nothing)
    first, second = reattack_findings(document["reattack"])
    assert first.title == "Without the 2 heads that carry most of the attack, vit_cifar10 withstands more"
    assert "30.0 points more (95 % interval 20.0 points to 40.0 points)" in first.text
    assert first.p_value == 0.004 and first.strength == pytest.approx(2.0)
    assert second.title == "" and second.p_value == 0.002
    for robust, others, n in (
        (more, nothing, 40),
        (nothing, few, 40),
        (more, few, 15),
        ((0.3, 0.3, 0.3), few, 40),
    ):
        first, _ = reattack_findings(reattacked(made_up, robust, others, nothing, n)["reattack"])
        assert first.title == "" and first.p_value == 0.004
    less = tuple(-end for end in (0.3, 0.4, 0.2))
    first, _ = reattack_findings(reattacked(made_up, less, less, nothing)["reattack"])
    assert first.title.endswith("withstands less") and "30.0 points less" in first.text


def test_that_only_the_old_attack_is_stopped_needs_images_known_again_and_no_such_gain_anew(made_up):
    nothing, known = (0.0, -0.1, 0.1), (0.6, 0.4, 0.7)
    _, second = reattack_findings(reattacked(made_up, nothing, nothing, known)["reattack"])
    assert second.title == "Taking the carriers out of vit_cifar10 stops the old attack, not a new one"
    assert "60.0 points more than that (95 % interval 40.0 points to 70.0 points)" in second.text
    assert second.p_value == 0.002
    for robust, old in (((0.3, 0.2, 0.4), known), (nothing, nothing)):
        _, second = reattack_findings(reattacked(made_up, robust, nothing, old)["reattack"])
        assert second.title == ""
