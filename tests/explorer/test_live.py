"""What a page decodes is what `capture` and `explain` give, for every kind of model."""

import numpy as np
import pytest
import torch

from archaeology.capture import capture
from archaeology.explain import explain_images
from archaeology.explorer.live import Caption, sight, subjects_of
from archaeology.explorer.maps import EVEN_SHARE, on_shared_scales
from archaeology.explorer.pack import unpack

CAPTIONS = [Caption("one", "first", "bee"), Caption("two", "second")]


def assert_coded(found, wanted):
    """Within the coding's bound: 0.4 % of the largest weight of the row."""
    wanted = wanted.numpy()
    assert found.shape == wanted.shape
    assert (np.abs(found - wanted) <= 0.004 * wanted.max(-1, keepdims=True) + 1e-7).all()


def model_of(subject, key="vit"):
    return next(model for model in unpack(subject.pack())["models"] if model["key"] == key)


def test_patterns_of_a_flat_model_are_those_captured(flat, pictures):
    images = pictures(16)
    record = capture(flat, images)
    for place, subject in enumerate(subjects_of({"vit": flat}, images, CAPTIONS)):
        attention = model_of(subject)["attention"]
        assert attention["kind"] == "token"
        assert [layer["name"] for layer in attention["layers"]] == [seen.module for seen in record.attentions]
        for layer, seen in zip(attention["layers"], record.attentions, strict=True):
            assert (layer["rows"], layer["columns"], layer["heads"]) == (4, 4, 2)
            assert_coded(layer["pattern"], seen.pattern[place])
        assert_coded(
            attention["readout"], torch.stack([seen.pattern[place, :, 0, 3:] for seen in record.attentions])
        )


def test_patterns_of_windows_are_those_captured_with_their_places(swin, pictures):
    images = pictures(32)
    record = capture(swin, images)
    for place, subject in enumerate(subjects_of({"vit": swin}, images, CAPTIONS)):
        attention = model_of(subject)["attention"]
        assert attention["kind"] == "window" and attention["readout"] is None
        assert [(layer["rows"], layer["columns"]) for layer in attention["layers"]] == [(8, 8)] * 2 + [
            (4, 4)
        ] * 2
        for layer, seen in zip(attention["layers"], record.attentions, strict=True):
            windows = len(seen.places.index)
            assert_coded(layer["pattern"], seen.pattern[place * windows : (place + 1) * windows])
            np.testing.assert_array_equal(layer["places"], seen.places.index.numpy())


def test_a_model_of_many_tokens_gives_readout_and_rows_on_demand(long, pictures):
    images = pictures(36, 3)
    record = capture(long, images)
    found = sight("vit", long, images, methods=("rollout",))
    assert len(found.models) == 3
    for place, model in enumerate(found.models):
        whole = torch.stack([seen.pattern[place] for seen in record.attentions])
        assert all(layer.pattern is None and layer.heads == 3 for layer in model.attention.layers)
        np.testing.assert_allclose(model.attention.readout, whole[:, :, 0, 1:], atol=1e-5)
        for query in (0, 7, 324):
            np.testing.assert_allclose(found.rows(place, query), whole[:, :, query], rtol=0.02, atol=1e-5)
        np.testing.assert_allclose(found.rows(place, -1), whole[:, :, 1:].mean(2), rtol=0.02, atol=1e-5)
    with pytest.raises(ValueError, match="query must be one of the 325 tokens"):
        found.rows(0, 325)


def test_rows_of_a_model_whose_patterns_are_all_there_are_an_error(flat, pictures):
    with pytest.raises(
        ValueError, match="rows are computed from the queries and keys of models of many tokens"
    ):
        sight("vit", flat, pictures(16), methods=()).rows(0, 1)


@pytest.mark.parametrize("method", ["rollout", "relevance", "raw_attention", "grad_cam", "lrp", "gradient"])
def test_maps_are_those_of_explain(flat, pictures, method):
    images = pictures(16)
    wanted = explain_images(method, flat, images)
    for place, subject in enumerate(subjects_of({"vit": flat}, images, CAPTIONS, methods={"vit": [method]})):
        (found,) = model_of(subject)["maps"]
        is_share = method in ("rollout", "raw_attention")
        values = wanted.ranking[place].numpy() * (16 if is_share else 1)
        np.testing.assert_allclose(found["values"], values, rtol=1e-4, atol=1e-6)
        assert (found["rows"], found["columns"]) == values.shape
        assert found["is_signed"] == (wanted.attribution is not None)
        assert found["knows_class"] == (not is_share)
        assert (found["unit"] == EVEN_SHARE) == is_share
        assert "positive part" not in found["formula"]
        assert found["unit"] and found["formula"] and found["says"] and found["state"] == "drawn"


def test_an_image_alone_is_as_in_the_batch(flat, cnn, pictures):
    images, models = pictures(16, 3), {"vit": flat, "cnn": cnn}
    captions = [Caption(str(number), "") for number in range(3)]
    for place, subject in enumerate(subjects_of(models, images, captions)):
        (alone,) = subjects_of(models, images[place : place + 1], captions[place : place + 1])
        for one, other in zip(subject.models, alone.models, strict=True):
            assert one.answer.name == other.answer.name
            assert one.answer.confidence == pytest.approx(other.answer.confidence, rel=1e-4)
            for map_one, map_other in zip(one.maps, other.maps, strict=True):
                np.testing.assert_allclose(map_one.values, map_other.values, rtol=1e-3, atol=1e-5)
        pattern, other = (found.models[0].attention.layers[1].pattern for found in (subject, alone))
        np.testing.assert_allclose(pattern, other, atol=1e-6)


def test_answers_are_the_models_own_and_marked_where_the_label_is_known(flat, cnn, pictures):
    images = pictures(16)
    shares = flat.predict(images).softmax(1).detach()
    first, second = subjects_of({"vit": flat, "cnn": cnn}, images, CAPTIONS)
    answer = first.models[0].answer
    assert answer.name == flat.classes[int(shares[0].argmax())]
    assert answer.confidence == pytest.approx(float(shares[0].max()), rel=1e-5)
    assert answer.is_right == (answer.name == "bee")
    scores = first.models[0].logits
    assert len(scores) == 5 and sum(score.probability for score in scores) == pytest.approx(1)
    assert [score.logit for score in scores] == sorted((score.logit for score in scores), reverse=True)
    assert second.models[0].answer.is_right is None
    assert second.group in ("agree", "disagree") and first.note is not None


def test_a_method_asked_for_that_a_model_does_not_allow_says_why(cnn, pictures):
    (subject,) = subjects_of(
        {"cnn": cnn}, pictures(16, 1), CAPTIONS[:1], methods={"cnn": ["rollout", "grad_cam"]}
    )
    model = model_of(subject, "cnn")
    rollout, cam = model["maps"]
    assert rollout["state"] == "missing" and rollout["values"] is None
    assert "reads attention" in rollout["says"]
    assert cam["state"] == "drawn" and model["attention"] is None and model["layout"] is None


def test_a_transformer_without_layout_has_maps_but_no_attention_to_lay_on_the_image(flat, pictures):
    from dataclasses import replace

    (subject,) = subjects_of({"vit": replace(flat, layout=None)}, pictures(16, 1), CAPTIONS[:1])
    model = model_of(subject)
    assert model["attention"] is None and model["layout"] is None
    assert {found["method"] for found in model["maps"]} >= {"gradient", "lrp"}


def test_scales_are_shared_over_the_subjects_of_a_page_only(flat, pictures):
    subjects = subjects_of({"vit": flat}, pictures(16), CAPTIONS)
    assert all(found.shared is None for subject in subjects for found in subject.models[0].maps)
    shared = on_shared_scales(subjects)
    for one, other in zip(shared[0].models[0].maps, shared[1].models[0].maps, strict=True):
        assert one.shared == other.shared
        low, high = one.shared
        assert high >= 0.8 * max(one.values.max(), other.values.max()) and (
            low == -high if one.is_signed else low == 0
        )


def test_captions_must_be_one_for_each_image(flat, pictures):
    with pytest.raises(ValueError, match="captions must be one for each of 3 images"):
        subjects_of({"vit": flat}, pictures(16, 3), CAPTIONS)
