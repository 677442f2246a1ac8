"""What every explanation method owes its caller, whichever it is: found through the registry."""

from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
import torch
from tests.ablate import small_models as small

import archaeology.explain as package
from archaeology.capture.record import Record
from archaeology.core.errors import UnknownNameError
from archaeology.explain import Needs, explain, explain_all, explain_images, explanations
from archaeology.explain.method import record_for

OF_RECORD = [name for name in explanations if explanations.get(name).needs is not None]


@pytest.fixture(scope="module", params=["class token", "mean of patches"])
def specimen(request):
    made = small.timm_vit(class_token=request.param == "class token")
    return replace(made, target_layer="blocks.2.norm1")


@pytest.fixture(params=explanations.names())
def method(request):
    return request.param


@pytest.fixture(params=OF_RECORD)
def of_record(request):
    return request.param


def explained(method, specimen, some=slice(None), **parameters):
    return explain_images(method, specimen, small.images(5)[some], torch.arange(5)[some], **parameters)


def test_heatmap_is_on_patches_or_pixels_finite_and_not_negative(method, specimen):
    explanation = explained(method, specimen)
    assert explanation.heatmap.shape in ((5, 2, 3), (5, 6, 9))
    assert explanation.heatmap.dtype == torch.float32
    assert explanation.heatmap.device == specimen.device
    assert explanation.heatmap.isfinite().all() and float(explanation.heatmap.min()) >= 0
    assert not explanation.heatmap.requires_grad
    assert explanation.has_evidence.shape == (5,) and explanation.has_evidence.any()


def test_signed_shares_are_the_heat_map_where_they_speak_for_the_class(method, specimen):
    explanation = explained(method, specimen)
    assert explanation.ranking.shape == explanation.heatmap.shape
    if explanation.attribution is not None:
        torch.testing.assert_close(explanation.heatmap, explanation.attribution.clamp(min=0), rtol=0, atol=0)


def test_it_says_how_it_was_made(method, specimen):
    explanation = explained(method, specimen)
    assert explanation.method == method
    assert len(explanation.formula) > 20
    again = explained(method, specimen, **explanation.parameters)
    torch.testing.assert_close(again.heatmap, explanation.heatmap, rtol=0, atol=0)
    assert all(fact.shape == (5,) for fact in explanation.facts.values())


def test_it_names_the_class_exactly_where_it_looks_at_one(method, specimen):
    explanation = explained(method, specimen)
    if explanations.get(method).looks_at_class:
        assert explanation.target is not None and explanation.target.tolist() == [0, 1, 2, 3, 4]
    else:
        assert explanation.target is None
        other = explain_images(method, specimen, small.images(5), torch.tensor([6, 5, 3, 1, 0]))
        torch.testing.assert_close(other.heatmap, explanation.heatmap, rtol=1e-4, atol=1e-5)


def test_each_image_alone_equals_itself_in_the_batch(method, specimen):
    together = explained(method, specimen).heatmap
    scale = float(together.max().clamp(min=1))
    for image in range(5):
        alone = explained(method, specimen, slice(image, image + 1))
        torch.testing.assert_close(alone.heatmap[0], together[image], rtol=1e-3, atol=1e-4 * scale)


def test_the_model_is_left_alone(method, specimen):
    torch.manual_seed(7)
    before = {name: tensor.clone() for name, tensor in specimen.model.state_dict().items()}
    state, asked = torch.get_rng_state(), [p.requires_grad for p in specimen.model.parameters()]
    explained(method, specimen)
    assert torch.equal(torch.get_rng_state(), state)
    assert [p.requires_grad for p in specimen.model.parameters()] == asked
    assert all(p.grad is None for p in specimen.model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in specimen.model.modules())
    for name, tensor in specimen.model.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)


def test_record_is_left_alone(of_record, specimen):
    record = record_for(explanations.get(of_record).needs, specimen, small.images(5), torch.arange(5))
    tensors = [seen.pattern for seen in record.attentions]
    tensors += [seen.pattern_gradient for seen in record.attentions if seen.pattern_gradient is not None]
    tensors += [*record.activations.values(), *record.gradients.values(), record.images]
    before = [tensor.clone() for tensor in tensors]
    explain(of_record, record)
    for tensor, kept in zip(tensors, before, strict=True):
        torch.testing.assert_close(tensor, kept, rtol=0, atol=0)


def test_all_at_once_is_one_by_one(specimen):
    found = explain_all(explanations.names(), specimen, small.images(5), torch.arange(5))
    assert list(found) == explanations.names()
    for name, explanation in found.items():
        torch.testing.assert_close(
            explanation.heatmap, explained(name, specimen).heatmap, rtol=1e-4, atol=1e-5
        )


def test_what_reads_attention_is_not_asked_of_a_model_without(method, specimen):
    convolutional = replace(specimen, kind="convolutional")
    if explanations.get(method).needs_attention:
        with pytest.raises(ValueError, match=f"{method} reads attention, but .* use grad_cam"):
            explained(method, convolutional)


def test_without_a_target_the_predicted_class_is_explained(specimen):
    explanation = explain_images("grad_cam", specimen, small.images(5))
    assert explanation.target is not None
    assert explanation.target.tolist() == specimen.predict(small.images(5)).argmax(1).tolist()


@pytest.mark.parametrize("name", [name for name in OF_RECORD if explanations.get(name).needs != Needs()])
def test_an_empty_record_is_an_error_that_helps(name, specimen):
    record = record_for(Needs(patterns=True), specimen, small.images(5), torch.arange(5))
    empty = Record(record.images, record.logits, record.target, record.layout, (), {}, {})
    with pytest.raises(ValueError, match=r"grad_cam|capture"):
        explain(name, empty)


def test_only_the_floor_needs_nothing_of_a_record():
    assert [name for name in OF_RECORD if explanations.get(name).needs == Needs()] == ["random"]


def test_a_method_that_runs_the_model_is_not_asked_of_a_record(specimen):
    record = record_for(Needs(), specimen, small.images(2))
    for name in set(explanations.names()) - set(OF_RECORD):
        with pytest.raises(ValueError, match=f"use explain_images\\('{name}'"):
            explain(name, record)
    with pytest.raises(UnknownNameError, match="did you mean 'rollout'"):
        explain("rolout", record)
    with pytest.raises(ValueError, match="target_layer"):
        explain_images("grad_cam", replace(specimen, target_layer=None), small.images(2))


def test_every_method_has_a_file_of_its_name_and_is_exported(method):
    assert (Path(package.__file__).parent / f"{method}.py").is_file()
    assert callable(getattr(import_module(f"archaeology.explain.{method}"), method))
    assert (
        f"from archaeology.explain.{method} import {method} as {method}" in Path(package.__file__).read_text()
    )
