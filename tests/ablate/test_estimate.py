"""The one-backward estimate is the slope of the loss towards the replacement, by finite differences in float64."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.ablate import planted
from tests.ablate import small_models as small

from archaeology.ablate import ablate_heads, estimate_heads, mean_head_outputs, rank_agreement
from archaeology.ablate.stand_ins import drawn_others
from archaeology.capture.edit import HeadEdit
from archaeology.capture.interceptor import intercepted

COUNT = 4


def answers(specimen, images):
    """What every head says: for each layer `(batch, head, query, dim)`."""
    seen = []
    with (
        torch.no_grad(),
        intercepted(specimen.model, lambda attention: seen.append(attention.output.clone())),
    ):
        specimen.predict(images)
    return seen


def slope(specimen, images, truth, layer, head, own, change):
    losses = []
    for step in (1e-4, -1e-4):
        mask = torch.zeros(COUNT, own.shape[1], dtype=torch.bool)
        mask[:, head] = True
        with (
            torch.no_grad(),
            intercepted(specimen.model, None, edit=HeadEdit(layer, mask, own + step * change)),
        ):
            losses.append(F.cross_entropy(specimen.predict(images), truth, reduction="none"))
    return ((losses[0] - losses[1]) / 2e-4).numpy()


@pytest.mark.parametrize("replacement", ["zero", "mean", "another"])
@pytest.mark.parametrize("make", [small.timm_vit, small.swin])
def test_estimates_are_slopes(make, replacement):
    specimen = make()
    specimen.model.double()
    images = small.images(COUNT, *specimen.image_size)
    truth = torch.arange(COUNT) % small.CLASSES
    found = estimate_heads(specimen, images, truth, replacement=replacement, seed=1, batch_size=3)
    own = answers(specimen, images)
    of_others = answers(specimen, images[drawn_others(COUNT, 1)])
    for layer, said in enumerate(own):
        per_image = said.unflatten(0, (COUNT, -1))
        instead = {
            "zero": torch.zeros_like(said),
            "mean": per_image.mean(0, keepdim=True).expand_as(per_image).flatten(0, 1),
            "another": of_others[layer],
        }[replacement]
        for head in range(said.shape[1]):
            expected = slope(specimen, images, truth, layer, head, said, instead - said)
            np.testing.assert_allclose(found.rise[:, layer, head], expected, rtol=2e-3, atol=2e-5)
        assert np.isnan(found.rise[:, layer, said.shape[1] :]).all()
    assert np.nanmax(np.abs(found.rise)) > 0.01


def test_the_model_is_left_untouched_and_frozen_weights_do():
    specimen = small.timm_vit()
    images, truth = small.images(COUNT), torch.arange(COUNT)
    free = estimate_heads(specimen, images, truth)
    for parameter in specimen.model.parameters():
        assert parameter.grad is None
        parameter.requires_grad_(False)
    with torch.no_grad():
        frozen = estimate_heads(specimen, images, truth, means=mean_head_outputs(specimen, images))
    np.testing.assert_allclose(free.rise, frozen.rise, rtol=1e-3, atol=1e-5)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in specimen.model.modules())


def test_it_is_a_preview_that_says_how_well_it_ranks():
    images, truth = planted.examples(40)
    estimate = estimate_heads(planted.specimen(), images, truth, replacement="zero")
    exact = ablate_heads(planted.specimen(), images, truth, replacement="zero")
    table = estimate.table()
    assert all(row["is_preview"] for row in table) and len(table) == 5
    best = max(table, key=lambda row: row["estimated_loss"])
    assert (best["layer"], best["head"]) == planted.DECISIVE
    agreement = rank_agreement(estimate, exact)
    assert 0 < agreement.low <= agreement.value <= agreement.high <= 1
    assert agreement.n == 40


def test_rank_agreement_is_spearmans():
    specimen, images = small.timm_vit(), small.images(6)
    truth = torch.arange(6)
    exact, estimate = ablate_heads(specimen, images, truth), estimate_heads(specimen, images, truth)
    rise = (exact.ablated_loss - exact.loss[:, None, None]).mean(0).ravel()
    guess = estimate.rise.mean(0).ravel()
    ranks = [np.argsort(np.argsort(values)) for values in (rise, guess)]
    expected = np.corrcoef(*ranks)[0, 1]
    agreement = rank_agreement(estimate, exact)
    assert agreement.value == pytest.approx(expected)
    assert agreement.low < agreement.value < agreement.high
    other = ablate_heads(specimen, images, truth, replacement="zero")
    with pytest.raises(ValueError, match=r"same replacement, but got .* with 'mean' and .* with 'zero'"):
        rank_agreement(estimate, other)


def test_answers_that_are_not_finite_name_the_layer():
    specimen = small.timm_vit()
    with torch.no_grad():
        specimen.model.blocks[2].norm1.weight[0] = float("inf")
    with pytest.raises(ValueError, match=r"layer blocks.2.norm1 of small returned NaN or infinity"):
        estimate_heads(specimen, small.images(2), torch.arange(2), replacement="zero")
