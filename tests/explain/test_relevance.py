"""Relevance as one pushed row against the whole matrix R of the paper, for every kind of readout."""

from dataclasses import replace

import pytest
import torch
from tests.ablate import small_models as small
from tests.explain import gradient_records as made_of
from tests.oracles import gradient_explanations as oracle

from archaeology.capture import capture
from archaeology.explain import explain, explain_images
from archaeology.specimens.layout import TokenLayout


def without_identity(whole):
    return [[value - (i == j) for j, value in enumerate(row)] for i, row in enumerate(whole)]


@pytest.mark.parametrize("readout", made_of.LAYOUTS)
def test_pushed_row_is_the_readouts_row_of_the_whole_matrix(readout):
    layout = made_of.LAYOUTS[readout]
    made = made_of.with_gradients(layout)
    explanation = explain("relevance", made)
    for image in range(2):
        whole = oracle.relevance(*made_of.lists(made, image))
        wanted = made_of.readout_of(layout, without_identity(whole))
        torch.testing.assert_close(explanation.heatmap[image], wanted, rtol=1e-12, atol=1e-12)
    assert explanation.target.tolist() == [1, 0]
    assert layout.readout in explanation.formula


def test_attention_pool_starts_with_its_own_evidence():
    layout = TokenLayout(1, 7, (), "mean")
    made = made_of.with_gradients(layout, made_of.pool(7))
    patterns, gradients = made_of.lists(made, 1)
    whole = torch.tensor(oracle.relevance(patterns[:3], gradients[:3]), dtype=torch.float64)
    start = torch.tensor(oracle.evidence(patterns[3], gradients[3]), dtype=torch.float64)
    found = explain("relevance", made).heatmap[1]
    torch.testing.assert_close(found, start @ whole, rtol=1e-12, atol=1e-12)


def test_class_token_that_joins_late():
    layout = TokenLayout(2, 3, (), "mean")
    made = made_of.with_gradients(layout, made_of.pool(7), made_of.pool(7), token=6)
    patterns, gradients = made_of.lists(made, 0)
    row = [1.0] + [0.0] * 6
    for heads, gradient in list(zip(patterns, gradients, strict=True))[:2:-1]:
        update = oracle.evidence(heads, gradient)[0]
        row = [value + row[0] * more for value, more in zip(row, update, strict=True)]
    whole = torch.tensor(oracle.relevance(patterns[:3], gradients[:3]), dtype=torch.float64)
    wanted = torch.tensor(row[1:], dtype=torch.float64) @ whole
    torch.testing.assert_close(
        explain("relevance", made).heatmap[0].flatten(), wanted, rtol=1e-12, atol=1e-12
    )


def test_nothing_that_speaks_for_the_class_is_no_evidence():
    made = made_of.with_gradients(made_of.LAYOUTS["mean of patches"])
    for layer in made.attentions:
        layer.pattern_gradient[1] = -layer.pattern_gradient[1].abs()
    explanation = explain("relevance", made)
    assert explanation.has_evidence.tolist() == [True, False]
    assert float(explanation.heatmap[1].abs().max()) == 0


@pytest.mark.parametrize("method", ["relevance", "gradient_rollout", "attention_times_gradient"])
def test_nan_in_one_image_stays_there(method):
    made = made_of.with_gradients()
    broken = made_of.with_nan(made)
    parameters = {"layer": 1} if method == "attention_times_gradient" else {}
    broken.attentions[1].pattern[0, 2, 0, 4] = torch.nan
    explanation = explain(method, broken, **parameters)
    assert explanation.has_evidence.tolist() == [False, True]
    whole = explain(method, made, **parameters).heatmap
    torch.testing.assert_close(explanation.heatmap[1], whole[1], rtol=0, atol=0)


@pytest.mark.parametrize("method", ["relevance", "gradient_rollout", "attention_times_gradient"])
@pytest.mark.parametrize("make", [small.cait, small.torchvision_vit], ids=lambda make: make.__name__)
def test_models_of_other_makes(method, make):
    specimen = make()
    images = small.images(2, *specimen.image_size)
    explanation = explain_images(method, specimen, images, torch.tensor([3, 1]))
    assert explanation.heatmap.shape == (2, 2, 2)
    assert explanation.has_evidence.any()


@pytest.mark.parametrize("method", ["relevance", "gradient_rollout"])
def test_errors_say_what_to_do(method):
    with pytest.raises(ValueError, match=rf"{method} needs the gradient.*blocks\.1 has none.*gradients=True"):
        explain(method, made_of.without_gradient(made_of.with_gradients()))
    with pytest.raises(ValueError, match=rf"{method} needs layers.*window.*use grad_cam"):
        swin = capture(small.swin(), small.images(2, 8, 8), gradients=True)
        explain(
            method, replace(swin, attentions=tuple(replace(seen, places=None) for seen in swin.attentions))
        )
    with pytest.raises(ValueError, match=rf"{method} needs a model with a token layout"):
        explain(method, made_of.with_gradients(None))
