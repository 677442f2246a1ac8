"""The whole survey on two tiny models: every part answers, parts are kept, and what does not apply says why."""

import json
import math
from dataclasses import replace

import pytest
import torch

from archaeology.attacks import attack_images
from archaeology.core.errors import UnknownNameError
from archaeology.models import build
from archaeology.robustness.survey import (
    Depth,
    NotApplicableError,
    by_name,
    chosen_parts,
    order_of,
    survey_robustness,
)
from archaeology.specimens.layout import TokenLayout
from archaeology.specimens.specimen import Specimen

CLASSES = ("cat", "dog", "eel")
FEW = Depth().scaled(6)
SIZES = {"image_size": 32, "num_classes": 3}


def vit():
    torch.manual_seed(0)
    model = build("vit", {**SIZES, "patch_size": 16, "embed_dim": 12, "depth": 2, "num_heads": 2}).eval()
    torch.nn.init.normal_(model.head.weight)
    return Specimen("a vit", model, "transformer", CLASSES, (32, 32), layout=TokenLayout(2, 2, (), "mean"))


def cnn():
    torch.manual_seed(1)
    model = build("convnet", {**SIZES, "widths": (6, 8)}).eval()
    torch.nn.init.normal_(model.head.weight)
    return Specimen("a cnn", model, "convolutional", CLASSES, (32, 32), target_layer=model.target_layer)


@pytest.fixture(scope="module")
def images():
    return torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(2))


@pytest.fixture(scope="module")
def labels(images):
    """What the ViT says, but for one, so that there is something to lose and something lost."""
    with torch.no_grad():
        said = vit().predict(images).argmax(dim=1)
    said[-1] = (said[-1] + 1) % 3
    return said


@pytest.fixture(scope="module")
def document(images, labels):
    return survey_robustness([vit(), cnn()], images, labels, depth=FEW, epsilon=0.2, epsilons=[0.05, 0.2])


def test_every_part_answers_or_says_why_not(document):
    assert set(document) >= {"schema_version", "specimens", "n", "seed", "missing", "seconds"}
    for part in chosen_parts(()):
        assert (part in document) != (part in document["missing"]), part
        assert document["seconds"][part] >= 0
    assert set(chosen_parts(())) - set(document) <= {"attention", "carriers", "reattack", "spectrum"}
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_curves_are_of_all_models_on_the_same_grid(document):
    for each, norm in zip(document["curves"], ("linf", "l2"), strict=True):
        assert each["norm"] == norm and [one["specimen"] for one in each["curves"]] == ["a vit", "a cnn"]
        for curve in each["curves"]:
            heights = [row["accuracy"] for row in curve["table"]]
            assert heights == sorted(heights, reverse=True)
            assert curve["table"][0]["accuracy_low"] <= heights[0] <= curve["table"][0]["accuracy_high"]


def test_gradients_are_checked_in_every_norm_that_curves_are_drawn_in(document, images, labels):
    for part, norm, size in (
        ("gradients", "linf", 0.2),
        ("gradients_l2", "l2", 0.2 * math.sqrt(3 * 32 * 32) / 2),
    ):
        for report in document[part].values():
            assert report["norm"] == norm and report["epsilon"] == pytest.approx(size)
    found = survey_robustness(
        [cnn()], images, labels, wanted=("gradients_l2",), depth=FEW, attacks=(("pgd", "linf"),)
    )
    assert found["missing"] == {"gradients_l2": "no curve was made in L2"}


def test_pictures_are_of_images_that_were_turned(document):
    for row in document["pictures"]["images"]:
        assert row["answer_before"] != row["answer_after"] and row["id"] in "012345"
        assert math.isclose(row["amplified"], 0.5 / 0.2, rel_tol=0.3)


def test_the_answer_does_not_depend_on_the_batch_and_what_was_kept_is_taken(images, labels, document):
    kept = {}

    def keep(part, compute):
        if part not in kept:
            kept[part] = compute()
        return kept[part]

    def again(at_once):
        found = survey_robustness(
            [vit(), cnn()],
            images,
            labels,
            wanted=("passes", "patches"),
            depth=FEW,
            epsilon=0.2,
            at_once=at_once,
            keep=keep,
        )
        return {part: found[part] for part in ("passes", "patches")}

    assert again(2) == {part: document[part] for part in ("passes", "patches")}
    kept["passes"] = "kept"
    assert again(2)["passes"] == "kept"


def test_one_cnn_has_no_transfer_and_no_attention(images, labels):
    wanted = ("transfer", "attention", "carriers", "reattack")
    found = survey_robustness([cnn()], images, labels, wanted=wanted, depth=FEW)
    assert found["missing"] == {
        "transfer": "there is only one model",
        "attention": "none of the models has attention",
        "carriers": "none of the models has attention",
        "reattack": "none of the models has attention",
    }


def test_what_is_left_is_attacked_on_images_that_the_heads_were_not_chosen_by(monkeypatch):
    """Half of the images choose a head, the others are attacked whole, without it and without another, five times."""
    specimen, asked = vit(), []
    images = torch.rand(12, 3, 32, 32, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        labels = specimen.predict(images).argmax(dim=1)

    def spy(name, model, some, *given, **options):
        asked.append(some)
        return attack_images(name, model, some, *given, **options)

    monkeypatch.setattr("archaeology.robustness.survey_parts.attack_images", spy)
    depth = replace(FEW, carriers=7, reattack=9)
    found = survey_robustness([specimen], images, labels, wanted=("reattack",), depth=depth, epsilon=0.5)
    told = found["reattack"]["a vit"]
    assert len(told["heads"]) == 1 and len(told["others"]) == 5 and told["n"] == 5
    chosen_by, attacked_on = asked
    assert len(chosen_by) == 7 and len(attacked_on) == 5
    assert not any(torch.equal(one, other) for one in chosen_by for other in attacked_on)
    none_left = survey_robustness(
        [specimen], images, labels, wanted=("reattack",), depth=replace(depth, carriers=11), epsilon=0.5
    )
    assert none_left["missing"]["reattack"] == (
        "a vit: of 12 images, 11 are taken to choose heads by, and at least 2 others are needed"
    )


def test_shapes_are_asked_of_models_that_know_them(images, labels):
    from archaeology.data.worlds.cue_scenes import SHAPE_NAMES

    model = build("convnet", {"image_size": 32, "num_classes": 8, "widths": (6, 8)}).eval()
    knows = replace(cnn(), model=model, classes=SHAPE_NAMES)
    for one, kind in ((knows, "cue_conflict"), (cnn(), "phase")):
        found = survey_robustness([one], images, labels, wanted=("shape",), depth=FEW)
        assert found["shape"]["kind"] == kind


def test_parts_come_in_the_order_of_a_report():
    assert chosen_parts(("patches", "curves")) == ("curves", "patches")
    assert chosen_parts(("all",)) == chosen_parts(())
    with pytest.raises(UnknownNameError, match="did you mean 'curves'"):
        chosen_parts(("curve",))


def test_depth_keeps_its_proportions():
    deep = Depth().scaled(512)
    assert (deep.curves, deep.transfer, deep.fourier, deep.pictures) == (512, 256, 64, 6)


def test_bad_input_is_refused(images, labels):
    with pytest.raises(ValueError, match="a label for each, but got 6 images and 5 labels"):
        survey_robustness([cnn()], images, labels[:5])
    with pytest.raises(ValueError, match="names of their own"):
        survey_robustness([cnn(), cnn()], images, labels)


def test_parts_take_images_spread_as_all_are(images):
    order = order_of(images, 3)
    assert sorted(order) == list(range(6)) and order != list(range(6))
    some = [number for number in order if number != order[2]]
    assert [sorted(some)[row] for row in order_of(images[sorted(some)], 3)] == some


def test_a_model_that_withstands_does_not_take_a_part_from_the_others(document, images, labels):
    constant = vit()
    torch.nn.init.zeros_(constant.model.head.weight)
    deaf = replace(constant, name="deaf")
    found = survey_robustness([deaf, cnn()], images, labels, wanted=("spectrum",), depth=FEW, epsilon=0.3)
    assert "deaf" not in found.get("spectrum", {})
    with pytest.raises(NotApplicableError, match=r"a: none; b: none"):
        by_name([replace(cnn(), name="a"), replace(cnn(), name="b")], nothing)


def nothing(specimen):
    raise NotApplicableError("none")


def test_epsilon_in_other_units_and_impossible_attacks_are_asked_back_before_any_work(images, labels):
    with pytest.raises(ValueError, match="did you mean 4/255"):
        survey_robustness([cnn()], images, labels, epsilon=4.0)
    with pytest.raises(ValueError, match="carlini_wagner works in the norm l2"):
        survey_robustness([cnn()], images, labels, attacks=(("carlini_wagner", "linf"),))
