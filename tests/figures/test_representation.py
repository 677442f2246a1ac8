"""Figures of layers: what their sentences say where numbers are clear, unclear or missing, on made-up documents."""

from copy import deepcopy
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.text import Text

from archaeology.figures import figures
from archaeology.figures.svg import svg_text
from archaeology.report.representation import REPRESENTATION_FIGURES, TERMS


@pytest.fixture
def document(layered):
    """A copy that a test may change."""
    return deepcopy(layered.representation)


def computed(name, document):
    return figures.get(name).compute(SimpleNamespace(representation=document))


def said(name, document):
    return figures.get(name).headline(computed(name, document))


@pytest.mark.parametrize("name", REPRESENTATION_FIGURES)
@pytest.mark.parametrize(
    "found", [None, {}, {"similarity": [], "reading": None, "maps": {}, "objects": None}]
)
def test_without_a_part_there_is_no_figure(name, found):
    assert figures.get(name).compute(SimpleNamespace(representation=found)) is None


def test_every_figure_of_layers_is_in_the_chapter():
    found = {name for name in figures if "Layered" in str(figures.get(name).compute.__annotations__)}
    assert found == set(REPRESENTATION_FIGURES) and len(TERMS) == len(REPRESENTATION_FIGURES)


@pytest.mark.parametrize("name", REPRESENTATION_FIGURES)
def test_a_page_stays_light(name, document):
    drawing = figures.get(name)
    svg = svg_text(drawing.draw(computed(name, document)), name, "words")
    assert svg.count("<") - svg.count("</") < 130


def test_models_are_most_alike_somewhere_or_at_their_ends(document):
    assert said("layer_similarity", document) == (
        "They are most alike in layer 1 of 5 of vit_cifar10 and the stem (whiten) of convnet_cifar10: CKA 0.90 (0.85 "
        "to 0.95); for their last layers 0.60 (0.55 to 0.65) (95 % intervals, 61 images)."
    )
    pair = document["similarity"][0]
    pair["cka"][-1][-1], pair["high"][-1][-1] = 0.99, 1.0
    assert said("layer_similarity", document).startswith("They are most alike in their last layers: CKA 0.99")
    document["similarity"] = document["similarity"][1:2]
    assert said("layer_similarity", document).startswith(
        "What its first and its last layer make of images is alike in vit_cifar10 by a CKA of"
    )
    within = document["similarity"][0]
    for key in ("cka", "low", "high"):
        within[key] = [row[:1] for row in within[key][:1]]
    for key in ("first_layers", "second_layers"):
        within[key] = within[key][:1]
    assert "there is nothing to compare it with" in said("layer_similarity", document)


def test_a_layer_that_says_nothing_is_drawn_and_listed(document):
    pair = document["similarity"][0]
    for key in ("cka", "low", "high"):
        pair[key][2] = [None, None, None]
    data = computed("layer_similarity", document)
    assert figures.get("layer_similarity").draw(data)
    rows = {row[0]: row[1:] for row in figures.get("layer_similarity").table(data).rows}
    assert rows["vit_cifar10 and convnet_cifar10: blocks.2"] == ("\u2013", "\u2013", "61")


def test_where_the_class_is_readable(document):
    words = said("layer_reading", document)
    assert words.startswith(
        "In the last layer of vit_cifar10 neighbours name 80 % (63 to 90) right, in none before it nine tenths"
    )
    assert (
        "In the last layer of convnet_cifar10 neighbours name 97 % (83 to 99) right, and 93 % in layer 1 of 2"
        in words
    )
    assert words.endswith("31 images known, 30 others asked; chance 33.3 %.")
    document["reading"]["chance"] = 0.9
    assert "are not shown to be better than chance: 80 (63 to 90) %" in said("layer_reading", document)


def test_a_class_token_begins_where_it_is_there(document):
    curve = computed("layer_reading", document).curves[0]
    assert curve.readout == "class token" and curve.is_main
    np.testing.assert_allclose(curve.depth, [25, 50, 75, 100])


def test_few_labels_have_a_winner_only_where_every_number_agrees(document):
    assert said("few_shot", document).endswith(
        "convnet_cifar10 says more than vit_cifar10 with 1 to 5 labels."
    )
    document["few_shot"]["compared"][1]["difference_high"] = 0.01
    assert said("few_shot", document).endswith(
        "neither says more beyond its interval with every number of labels."
    )
    document["few_shot"]["compared"] = []
    assert said("few_shot", document).endswith("(95 % intervals over 10 draws and over images).")


def test_neighbours_on_the_map_by_loops(document):
    data = computed("image_map", document)
    labels = document["maps"]["labels"]
    for one in data.models:
        shares = []
        for row in range(data.n):
            near = sorted(
                (other for other in range(data.n) if other != row),
                key=lambda other, row=row, one=one: float(((one.places[row] - one.places[other]) ** 2).sum()),
            )[:5]
            shares.append(np.mean([labels[other] == labels[row] for other in near]))
        assert one.same == pytest.approx(100 * np.mean(shares))
        assert one.wrong_same == pytest.approx(100 * np.mean(np.array(shares)[one.is_wrong]))


def test_a_map_without_labels_or_with_many_classes_is_drawn(document):
    found = document["maps"]
    found["labels"] = [row % 14 for row in range(61)]
    document["classes"] = [f"class {at}" for at in range(14)]
    data = computed("image_map", document)
    assert len(data.names) == 10 and data.names[-1] == "other classes" and figures.get("image_map").draw(data)
    found["labels"] = None
    for model in found["models"]:
        model["right"] = None
    data = computed("image_map", document)
    assert data.names == ("images without labels",) and figures.get("image_map").draw(data)
    assert said("image_map", document) == (
        "Vit_cifar10: trustworthiness 0.97; convnet_cifar10: trustworthiness 0.97 (61 images)."
    )


def test_an_interval_is_only_spoken_of_where_there_is_one(document):
    assert "(95 % interval" in said("layer_similarity", document)
    for one in document["similarity"]:
        one["low"] = one["high"] = np.full(np.array(one["cka"]).shape, np.nan).tolist()
    words = said("layer_similarity", document)
    assert "too few images for an interval" in words and "95 %" not in words
    document["similarity"] = document["similarity"][1:]
    words = said("layer_similarity", document)
    assert "too few images for an interval" in words and "95 %" not in words


def test_chance_is_called_so(document):
    for name in ("layer_reading", "few_shot"):
        drawing = figures.get(name)
        drawn = drawing.draw(computed(name, document))
        words = " ".join(text.get_text() for text in drawn.findobj(Text))
        assert "chance" in words and "guess" not in f"{words} {drawing.definition} {said(name, document)}"


def test_an_image_without_a_label_is_neither_right_nor_wrong(document):
    found = document["maps"]["models"][0]
    found["right"] = [None, False] + 59 * [True]
    data = computed("image_map", document)
    one = data.models[0]
    assert one.num_judged == 60 and np.flatnonzero(one.is_wrong).tolist() == [1]
    assert figures.get("image_map").table(data).rows[0][4] == "1 of 60"
    found["right"] = 61 * [None]
    one = computed("image_map", document).models[0]
    assert one.num_judged == 0 and not len(one.is_wrong)


def test_outliers_or_none(document):
    assert said("token_norms", document) == (
        "7.1 % (95 % interval 4.0 to 11.0) of 140 patches of 10 images stand out in vit_cifar10, with norms above 140 "
        "where the median is 30.0."
    )
    document["outliers"]["models"][0]["threshold"] = None
    assert said("token_norms", document).startswith("No patch of vit_cifar10 stands out")
    assert figures.get("token_norms").draw(computed("token_norms", document))


def test_objects_are_judged_only_where_boxes_are_known(document):
    words = said("patch_objects", document)
    assert "TokenCut on vit_cifar10's patches overlaps the true box by" in words
    assert (
        "%, more than a box in the middle" in words
        and "%, less than a box" in words
        and "surely" not in words
    )
    document["objects"]["scores"] = []
    for one in document["objects"]["images"]:
        one["box"] = None
        one["models"][0]["box"] = [None] * 4
    assert said("patch_objects", document).startswith("Examples, not statistics: 2 images")
    assert figures.get("patch_objects").draw(computed("patch_objects", document))


def test_nearest_images_of_another_class_are_marked(document):
    data = computed("nearest_images", document)
    found = data.queries[0].found["bundled:vit_cifar10"]
    assert [one.is_same for one in found] == [True, False]
    assert said("nearest_images", document).startswith(
        "Of the 2 nearest of each of 61 images so many are of its class"
    )
    for model in document["retrieval"]["models"]:
        for end in ("precision", "precision_low", "precision_high"):
            del model[end]
    document["retrieval"]["chance"] = None
    assert said("nearest_images", document).startswith("Examples, not statistics: 2 images")
