"""What every explanation method owes its caller, whichever it is: found through the registry."""

from importlib import import_module
from pathlib import Path

import pytest
import torch
from tests.ablate import small_models as small

import archaeology.explain as package
from archaeology.capture.record import Record, capture
from archaeology.explain import explain, explanations

LAST = "blocks.2.norm1"


@pytest.fixture(scope="module", params=["class token", "mean of patches"])
def specimen(request):
    return small.timm_vit(class_token=request.param == "class token")


def record_of(specimen, images, target):
    return capture(specimen, images, target=target, taps=(LAST,), gradients=True)


@pytest.fixture(scope="module")
def record(specimen):
    return record_of(specimen, small.images(5), torch.arange(5))


@pytest.fixture(params=explanations.names())
def method(request):
    return request.param


def test_heatmap_is_on_the_patch_grid_finite_and_not_negative(method, record):
    explanation = explain(method, record)
    assert explanation.heatmap.shape == (5, 2, 3)
    assert explanation.heatmap.dtype == record.logits.dtype
    assert explanation.heatmap.device == record.logits.device
    assert explanation.heatmap.isfinite().all() and float(explanation.heatmap.min()) >= 0
    assert not explanation.heatmap.requires_grad
    assert explanation.has_evidence.shape == (5,) and explanation.has_evidence.any()


def test_it_says_how_it_was_made(method, record):
    explanation = explain(method, record)
    assert explanation.method == method
    assert len(explanation.formula) > 20
    assert explanation.parameters  # defaults included
    again = explain(method, record, **explanation.parameters)
    torch.testing.assert_close(again.heatmap, explanation.heatmap, rtol=0, atol=0)


def test_each_image_alone_equals_itself_in_the_batch(method, specimen, record):
    together = explain(method, record).heatmap
    for image in range(5):
        some = slice(image, image + 1)
        alone = explain(method, record_of(specimen, small.images(5)[some], torch.arange(5)[some]))
        torch.testing.assert_close(alone.heatmap[0], together[image], rtol=1e-3, atol=1e-4)


def test_record_is_left_alone(method, record):
    before = [seen.pattern.clone() for seen in record.attentions]
    kept = {path: (record.activations[path].clone(), record.gradients[path].clone()) for path in (LAST,)}
    explain(method, record)
    for seen, pattern in zip(record.attentions, before, strict=True):
        torch.testing.assert_close(seen.pattern, pattern, rtol=0, atol=0)
    for path, (activation, gradient) in kept.items():
        torch.testing.assert_close(record.activations[path], activation, rtol=0, atol=0)
        torch.testing.assert_close(record.gradients[path], gradient, rtol=0, atol=0)


def test_an_empty_record_is_an_error_that_helps(method, record):
    empty = Record(record.images, record.logits, record.target, record.layout, (), {}, {})
    with pytest.raises(ValueError, match=r"grad_cam|capture"):
        explain(method, empty)


def test_every_method_has_a_file_of_its_name_and_is_exported(method):
    assert (Path(package.__file__).parent / f"{method}.py").is_file()
    assert callable(getattr(import_module(f"archaeology.explain.{method}"), method))
    assert (
        f"from archaeology.explain.{method} import {method} as {method}" in Path(package.__file__).read_text()
    )
