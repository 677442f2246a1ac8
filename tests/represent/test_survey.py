"""The survey of layers: halves that share nothing, parts that equal their functions, reasons where one cannot be."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score
from sklearn.neighbors import KNeighborsClassifier
from tests.represent.made_up import features, random
from tests.represent.test_features import convnet, registered_vit

import archaeology as arc
from archaeology.core.errors import UnknownNameError
from archaeology.represent import (
    extract_features,
    feature_similarity,
    layer_similarity,
    patch_features,
    retrieve,
)
from archaeology.represent.features import image_ids
from archaeology.represent.survey import evenly, halves, represent
from archaeology.represent.survey_parts import PARTS, batch_of, part_names, picture_of
from archaeology.represent.survey_reading import _of_last, chance_level

COUNT = 36


@pytest.fixture(scope="module")
def models():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return replace(registered_vit(), name="vit"), replace(convnet(), name="cnn")


@pytest.fixture(scope="module")
def labels():
    return np.arange(COUNT) % 3


@pytest.fixture(scope="module")
def images(labels):
    """Noise with a square whose colour is the class."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 120, (COUNT, 3, 16, 16), generator=generator, dtype=torch.uint8)
    for row, label in enumerate(labels):
        pixels[row, label, 4:12, 4:12] = 255
    return pixels


@pytest.fixture(scope="module")
def document(models, images, labels):
    boxes = np.tile([0.25, 0.25, 0.75, 0.75], (COUNT, 1))
    return arc.represent(
        models,
        images,
        labels,
        classes=("red", "green", "blue"),
        boxes=boxes,
        right={"vit": labels == 0},
    )


def test_a_document_has_every_part_and_its_counts(document):
    assert document["missing"] == {}
    assert set(PARTS) <= set(document) and set(document["seconds"]) == {"features", *PARTS}
    assert (document["n"], document["num_known"], document["num_asked"]) == (COUNT, 18, 18)
    assert (
        document["specimens"][0]["layers"][-1] == "blocks.1" and document["specimens"][0]["numbers"][-1] == 2
    )
    assert document["maps"]["models"][0]["right"] == [row % 3 == 0 for row in range(COUNT)]
    assert document["maps"]["models"][1]["right"] is None
    assert [one["specimen"] for one in document["outliers"]["models"]] == ["vit"]
    assert {row["specimen"] for row in document["objects"]["scores"]} <= {"vit", "cnn"}


def test_the_same_call_gives_the_same_document(document, models, images, labels):
    again = represent(
        models, images, labels, classes=("red", "green", "blue"), wanted=("reading", "similarity", "maps")
    )
    assert again["reading"] == document["reading"] and again["similarity"] == document["similarity"]
    assert again["maps"]["models"][0]["methods"] == document["maps"]["models"][0]["methods"]


def test_halves_share_no_image_and_halve_every_class():
    labels = np.array([0] * 7 + [1] * 4 + [2])
    known, asked = halves(labels, seed=5)
    assert sorted([*known, *asked]) == list(range(11))  # of the last class there is nothing to ask
    assert np.bincount(labels[known]).tolist() == [4, 2] and np.bincount(labels[asked]).tolist() == [3, 2]
    assert not np.array_equal(known, halves(labels, seed=6)[0])
    np.testing.assert_array_equal(known, halves(labels, seed=5)[0])


def test_few_of_many_images_are_drawn_from_all_classes(models, images, monkeypatch):
    by_class = np.arange(COUNT) // 12  # sorted, as folders are
    monkeypatch.setattr("archaeology.represent.survey_asked.PATCH_IMAGES", 9)
    monkeypatch.setattr("archaeology.represent.survey_parts.MAPPED", 10)
    boxes = np.full((COUNT, 4), np.nan)
    boxes[24:] = [0.25, 0.25, 0.75, 0.75]
    found = represent(models, images, by_class, boxes=boxes, wanted=("maps", "objects", "outliers"))
    assert sorted(np.bincount(found["maps"]["labels"])) == [3, 3, 4]
    assert found["maps"]["ids"] == sorted(found["maps"]["ids"], key=int)
    assert [by_class[int(name)] for name in found["maps"]["ids"]] == found["maps"]["labels"]
    assert found["outliers"]["models"][0]["n"] == found["objects"]["n"] == 9
    assert [row["n"] for row in found["objects"]["scores"]] == [3, 3]
    shown = found["objects"]["images"]
    assert {by_class[int(one["id"])] for one in shown} == {0, 1, 2}
    assert all((one["box"] is not None) == (int(one["id"]) >= 24) for one in shown)
    assert [one["image"] for one in shown] == [picture_of(images, int(one["id"])) for one in shown]
    other = represent(models[:1], images, by_class, wanted=("maps",), seed=1)
    assert other["maps"]["ids"] != found["maps"]["ids"]


def test_neighbours_of_the_document_are_those_of_scikit_learn(document, models, images, labels):
    known, asked = halves(labels, 0)
    found = extract_features(models[1], images)
    curve = next(one for one in document["reading"]["curves"] if one["specimen"] == "cnn")
    for layer, row in zip(found, curve["table"], strict=True):
        oracle = KNeighborsClassifier(1, metric="cosine", algorithm="brute")
        oracle.fit(layer.values[known], labels[known])
        right = accuracy_score(labels[asked], oracle.predict(layer.values[asked]))
        assert row["layer"] == layer.layer and row["knn_1"] == pytest.approx(right)
        assert row["knn_1_low"] <= right <= row["knn_1_high"] and row["n"] == len(asked)


def test_a_layer_that_shows_the_class_is_read(document):
    curve = next(one for one in document["reading"]["curves"] if one["specimen"] == "cnn")
    assert max(row["probe"] for row in curve["table"]) > 0.9 > 0.34 > document["reading"]["chance"]
    last = curve["table"][-1]
    assert last["knn_of_last"] == pytest.approx(1.0) and last["knn_of_last_low"] == pytest.approx(1.0)


def test_similarity_of_features_is_that_of_models(models, images):
    vit, cnn = models
    streamed = layer_similarity(vit, cnn, images, batch_size=12, seed=4)
    held = feature_similarity(
        extract_features(vit, images), extract_features(cnn, images), batch_size=12, seed=4
    )
    assert held.num_batches == streamed.num_batches == 3 and held.first_taps == streamed.first_taps
    for part in ("value", "low", "high"):
        np.testing.assert_allclose(getattr(held.cka, part), getattr(streamed.cka, part), rtol=1e-5, atol=1e-6)


def test_similarity_refuses_other_images_and_finds_constants():
    one = features(random(12, 3))
    with pytest.raises(ValueError, match="same images in the same order"):
        feature_similarity([one], [features(random(12, 3), ids=[f"other {row}" for row in range(12)])])
    with pytest.raises(ValueError, match="at least 4 images"):
        feature_similarity([features(random(3, 2))], [features(random(3, 2))])
    with pytest.raises(ValueError, match="a layer of each model"):
        feature_similarity([], [one])
    found = feature_similarity([one, features(np.ones((12, 2)), layer="flat")], [one])
    assert found.constant == ("made up flat (mean_patches)",) and np.isnan(found.cka.value[1, 0])


def test_without_labels_only_what_needs_them_is_missing(models, images):
    found = represent(models, images)
    assert set(found["missing"]) == {"reading", "few_shot"}
    assert found["missing"]["reading"] == "the images have no labels"
    assert found["maps"]["labels"] is None and found["retrieval"]["chance"] is None
    assert "precision" not in found["retrieval"]["models"][0]
    one = represent(models[:1], images, np.zeros(COUNT, int), wanted=("few_shot",))
    assert one["missing"]["few_shot"].startswith("at least two classes must have two images each")


def test_images_without_label_are_left_out_where_the_others_suffice(models, images, labels):
    partly = np.where(np.arange(COUNT) < 5, -1, labels)
    found = represent(models[1:], images, partly, wanted=("retrieval", "reading"))
    assert (found["n"], found["num_unlabelled"], found["missing"]) == (31, 5, {})
    assert found["num_known"] + found["num_asked"] == 31
    few = np.where(np.arange(COUNT) < 30, -1, labels)
    kept = represent(models[1:], images, few, wanted=("reading",))
    assert (kept["n"], kept["num_unlabelled"]) == (COUNT, 0)
    assert kept["missing"]["reading"].startswith("at least 4 images must be asked, but only 3 have another")
    kept = represent(models[1:], images, few, wanted=("maps",), maps=("pca",), right={"cnn": labels == few})
    assert kept["maps"]["models"][0]["right"] == [None] * 30 + [True] * 6


def test_the_answer_is_read_from_the_mean_where_the_layout_says_so(models, images):
    vit = models[0]
    mean = replace(vit, name="mean", layout=replace(vit.layout, readout="mean"))
    found = represent([vit, mean], images, wanted=("retrieval",))
    assert [one["readout"] for one in found["retrieval"]["models"]] == ["class_token", "mean_patches"]


def test_copies_are_left_out(models, images, labels):
    twice = torch.cat([images, images[:4]])
    found = represent(models[:1], twice, np.concatenate([labels, labels[:4]]), wanted=("reading",))
    assert (found["n"], found["num_copies"]) == (COUNT, 4) and found["missing"] == {}


def test_a_model_alone_is_compared_with_itself(models, images):
    found = represent(models[1:], images, wanted=("similarity", "outliers"))
    assert [(one["first"], one["second"]) for one in found["similarity"]] == [("cnn", "cnn")]
    np.testing.assert_allclose(np.diag(np.array(found["similarity"][0]["cka"], float)), 1.0, atol=1e-9)
    assert found["missing"]["outliers"].startswith("none of the models has tokens")


def test_a_model_whose_patches_cannot_be_read_leaves_the_other_its_parts(models, images, monkeypatch):
    """Its reason is kept with the part, and the part is missing only where nobody has it."""

    def broken(specimen, *given, **more):
        if specimen.name in bad:
            raise ValueError(f"{specimen.name} has no grid.")
        return patch_features(specimen, *given, **more)

    monkeypatch.setattr("archaeology.represent.survey_asked.patch_features", broken)
    both = (models[0], replace(models[0], name="gridless"))
    bad = {"gridless"}
    found = represent(both, images, wanted=("outliers", "objects"))
    assert found["missing"] == {} and [one["specimen"] for one in found["outliers"]["models"]] == ["vit"]
    for part in ("outliers", "objects"):
        assert found[part]["missing"] == {"gridless": "gridless has no grid."}
    bad = {"gridless", "vit"}
    found = represent(both, images, wanted=("outliers", "objects"))
    assert found["missing"] == dict.fromkeys(
        ("outliers", "objects"), "vit: vit has no grid; gridless: gridless has no grid"
    )


def test_a_model_whose_features_cannot_be_read_leaves_all_parts_to_the_other(models, images, labels):
    with torch.random.fork_rng(devices=[]):
        broken = copy.deepcopy(models[1].model)
    with torch.no_grad():
        next(iter(broken.parameters())).fill_(torch.nan)
    both = [models[0], replace(models[1], name="broken", model=broken)]
    found = represent(both, images, labels, wanted=("similarity", "reading", "maps"))
    assert found["missing"] == {} and list(found["unread"]) == ["broken"]
    assert "finite" in found["unread"]["broken"]
    assert next((one["first"], one["second"]) for one in found["similarity"]) == ("vit", "vit")
    assert {one["specimen"] for one in found["reading"]["curves"]} == {"vit"}
    found = represent(both[1:], images, labels, wanted=("similarity", "objects"))
    assert found["missing"]["similarity"].startswith("broken: ") and "similarity" not in found


def test_batches_of_similarity_are_never_large(models, images, monkeypatch):
    assert [batch_of(count) for count in (8, 400, 2048, 10**6)] == [8, 50, 256, 256]
    for largest, batches in ((256, 5), (6, 6)):  # 36 images are too few for 8 batches
        monkeypatch.setattr("archaeology.represent.survey_parts.LARGEST_BATCH", largest)
        found = represent(models[:1], images, wanted=("similarity",))
        assert {one["batches"] for one in found["similarity"]} == {batches}


def test_what_does_not_fit_into_memory_is_named(models, images, monkeypatch):
    features = extract_features(models[1], images)
    free = 1.0
    monkeypatch.setattr("archaeology.core.memory.available_mebibytes", lambda: free / 1024)
    with pytest.raises(ValueError, match=r"36 images of 16 x 16 pixels must fit into memory.*; take fewer\."):
        represent(models, images)
    with pytest.raises(ValueError, match=r"features of 36 images in \d layers of cnn must fit into memory"):
        extract_features(models[1], images)
    layers = len(features)
    again = list(features)
    for compare, taps in (
        (lambda: feature_similarity(features, features, batch_size=12), layers),
        (lambda: feature_similarity(features, again, batch_size=12), 2 * layers),
        (lambda: layer_similarity(models[1], models[1], images, batch_size=12), layers),
    ):
        need = 8 * (taps + 4) * 12**2 / 1024  # a model beside itself is held once
        free = need - 0.1
        with pytest.raises(
            ValueError, match=rf"similarities of all pairs of 12 images for {taps} layers.*; choose a smaller"
        ):
            compare()
        free = need
        compare()


def test_ids_do_not_depend_on_how_many_are_read_at_once(images):
    many = torch.cat([images, 255 - images])  # more than are read at once
    assert image_ids(many) == image_ids(many[:30]) + image_ids(many[30:]) == image_ids(many.float() / 255)


def test_retrieval_uses_the_seed(models, images):
    """Neighbours are the same whatever the seed; the interval is drawn with it."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(0, 3, (COUNT,), generator=generator).numpy()
    found = [
        represent(models[1:], images, labels, wanted=("retrieval",), seed=seed)["retrieval"]
        for seed in (0, 0, 1, 2)
    ]
    rows = [one["models"][0] for one in found]
    assert rows[0] == rows[1] and len({row["precision"] for row in rows}) == 1
    assert len({(row["precision_low"], row["precision_high"]) for row in rows}) > 1
    assert all(one["queries"] == found[0]["queries"] for one in found)
    features = extract_features(models[1], images)[-1]
    own = retrieve(features, features, 5, labels=labels, query_labels=labels, seed=2).precision
    assert (rows[3]["precision_low"], rows[3]["precision_high"]) == (own.low, own.high)


def test_chance_is_the_largest_class_where_that_is_more():
    assert chance_level(np.array([0, 0, 0, 1])) == 0.75 and chance_level(
        np.array([0, 1, 2])
    ) == pytest.approx(1 / 3)


def test_a_layer_that_only_guesses_has_no_share_of_the_last():
    last = np.array([True] * 9 + [False])
    half = np.array([True] * 5 + [False] * 5)
    own, end = ({what: hit for what in ("knn", "probe")} for hit in (half, last))
    assert _of_last(own, end, 0.5, 0)["knn_of_last"] == pytest.approx(0.0)  # and not 5 of 9
    assert _of_last(end, own, 0.5, 0) == {}


def test_layers_may_be_named(models, images):
    found = represent(models[:1], images, layers={"vit": ("blocks.1", "blocks.0")}, wanted=("similarity",))
    assert found["similarity"][0]["first_layers"] == ["blocks.1", "blocks.0"]
    assert found["specimens"][0]["numbers"] == [2, 1]
    with pytest.raises(UnknownNameError, match=r"blocks\.1"):
        represent(models[:1], images, layers={"vit": ("block.2",)})


def test_keep_may_answer_for_a_part(models, images):
    asked = []

    def keep(name, compute):
        asked.append(name)
        return {} if name == "features" else {"kept": name}

    found = represent(models[:1], images, wanted=("maps", "similarity"), keep=keep)
    assert asked == ["features", "similarity", "maps"] and found["maps"] == {"kept": "maps"}


def test_bad_input_is_named(models, images, labels):
    with pytest.raises(ValueError, match="models of different names"):
        represent([models[0], replace(models[1], name="vit")], images)
    with pytest.raises(ValueError, match="at least 8 different images, but got 5"):
        represent(models, images[:5])
    with pytest.raises(ValueError, match="labels has 4 and there are 36"):
        represent(models, images, labels[:4])
    with pytest.raises(UnknownNameError, match="similarity"):
        represent(models, images, wanted=("similar",))
    with pytest.raises(UnknownNameError, match="tsne"):
        represent(models, images, maps=("tsn",))


def test_many_layers_are_taken_evenly():
    paths = [f"blocks.{at}" for at in range(40)]
    taken = evenly(paths)
    assert len(taken) == 12 and taken[0] == "blocks.0" and taken[-1] == "blocks.39"
    assert evenly(paths[:12]) == tuple(paths[:12])
    assert part_names(None) == tuple(PARTS)
