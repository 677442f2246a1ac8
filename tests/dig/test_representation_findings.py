"""Findings of a survey of layers: each is written where its interval carries it, and not where it does not."""

import importlib.util
import sys
from copy import deepcopy
from pathlib import Path

import pytest

from archaeology.dig.representation_findings import main_curves, representation_findings
from archaeology.figures import figures


@pytest.fixture(scope="module")
def made_up():
    """A survey of two models."""
    name = "archaeology_fixture_representation"
    if name not in sys.modules:
        path = Path(__file__).resolve().parents[1] / "report" / "fixture_representation.py"
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name].made_up_layers()


def said(document, evidence):
    return [one for one in representation_findings(document) if one.evidence == evidence and one.title]


def test_nothing_measured_is_nothing_found():
    assert representation_findings({}) == []
    assert representation_findings({"reading": {}, "similarity": [], "outliers": None, "objects": {}}) == []


def test_every_question_is_counted_and_names_its_figure(made_up):
    every = representation_findings(made_up)
    # Two models' layers, four differences, one number of labels of two, one pair of models, two of objects.
    assert len(every) == 2 + 4 + 2 + 1 + 2
    for one in every:
        assert one.evidence in figures and 0 <= one.p_value <= 1
        if one.title:
            assert one.measure is not None and "interval" in one.text and "nan" not in one.text.split()


def test_the_class_token_stands_for_its_model(made_up):
    assert [(one["specimen"], one["readout"]) for one in main_curves(made_up["reading"])] == [
        ("bundled:vit_cifar10", "class_token"),
        ("bundled:convnet_cifar10", "mean_patches"),
    ]


def test_what_the_answer_is_read_from_stands_for_its_model(made_up):
    document = deepcopy(made_up)
    document["reading"]["curves"][0]["is_main"], document["reading"]["curves"][1]["is_main"] = False, True
    assert [one["readout"] for one in main_curves(document["reading"])] == ["mean_patches", "mean_patches"]


def test_a_layer_knows_the_class_only_where_its_share_is_surely_large(made_up):
    found = said(made_up, "layer_reading")
    early = [one for one in found if "already" in one.title]
    assert [one.title for one in early] == ["Layer 1 of 2 of convnet_cifar10 already knows the class"]
    assert "name 93.3 % right after layer 1 of 2" in early[0].text and early[0].measure.unit == "%"
    document = deepcopy(made_up)
    row = document["reading"]["curves"][2]["table"][1]
    row["knn_of_last_low"] = 0.89
    assert not [one for one in said(document, "layer_reading") if "already" in one.title]
    document = deepcopy(made_up)
    document["reading"]["chance"] = 0.95
    assert not [one for one in said(document, "layer_reading") if "already" in one.title]


def test_differences_are_turned_to_the_one_that_knows_more(made_up):
    titles = [one.title for one in said(made_up, "layer_reading")]
    assert (
        "In vit_cifar10 the class token knows more of the class than the mean of the patches, by nearest neighbours"
        in titles
    )
    assert (
        "The last layer of convnet_cifar10 knows more of the class than that of vit_cifar10, by nearest neighbours"
        in titles
    )
    assert not [title for title in titles if "linear probe" in title]
    text = next(
        one.text for one in said(made_up, "layer_reading") if "The last layer of convnet" in one.title
    )
    assert (
        "differ by 30.0 points (95 % interval 22.0 points to 38.0 points); 31 other images were known."
        in text
    )


def test_models_agree_somewhere_else_than_at_their_ends(made_up):
    (found,) = said(made_up, "layer_similarity")
    assert found.title.startswith(
        "vit_cifar10 and convnet_cifar10 agree most at layer 1 of 5 and the stem (whiten)"
    )
    document = deepcopy(made_up)
    pair = document["similarity"][0]
    pair["high"][-1][-1] = 0.95
    assert not said(document, "layer_similarity")
    pair["low"] = [[None] * 3 for _ in range(5)]
    pair["high"] = [[None] * 3 for _ in range(5)]
    assert not said(document, "layer_similarity")
    assert representation_findings({"similarity": made_up["similarity"][1:]}) == []


def test_a_layer_no_better_than_guessing_does_not_know_the_class(made_up):
    document = deepcopy(made_up)
    document["reading"]["curves"][2]["table"][1]["knn_5_low"] = 0.3
    assert not [one for one in said(document, "layer_reading") if "already" in one.title]


def test_layers_have_their_number_in_the_model_or_their_path(made_up):
    document = deepcopy(made_up)
    document["specimens"][1]["numbers"] = [0, 7, 9]
    assert "Layer 7 of 9 of" in next(t.title for t in said(document, "layer_reading") if "already" in t.title)
    del document["specimens"][1]["numbers"]
    assert "Groups.0 of" in next(t.title for t in said(document, "layer_reading") if "already" in t.title)


def test_outliers_have_a_figure_and_no_finding(made_up):
    assert made_up["outliers"]["models"] and not [
        one for one in representation_findings(made_up) if one.evidence == "token_norms"
    ]


def test_objects_need_a_gain(made_up):
    titles = [one.title for one in said(made_up, "patch_objects")]
    assert titles == ["The patches of vit_cifar10 show where the object is without being asked"]


def test_fewer_labels(made_up):
    titles = [one.title for one in said(made_up, "few_shot")]
    assert titles == [
        "With one label for each class convnet_cifar10 says more than vit_cifar10",
        "With 5 labels for each class convnet_cifar10 says more than vit_cifar10",
    ]
    document = deepcopy(made_up)
    for row in document["few_shot"]["compared"]:
        row["difference_high"] = 0.01
    assert not said(document, "few_shot")
