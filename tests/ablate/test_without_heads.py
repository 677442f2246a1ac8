"""A model that lost heads for good, against hooks, and as something to attack, capture and copy."""

import copy

import pytest
import torch
from tests.ablate import small_models as small

from archaeology.ablate import ablate_heads, mean_head_outputs, without_heads
from archaeology.attacks import attack_images
from archaeology.capture.record import capture


def doubled(make=small.timm_vit):
    specimen = make()
    specimen.model.double()
    return specimen


def by_hand(specimen, heads, means, images):
    """Logits with hooks before the projections that mix timm's heads."""
    handles = []
    for layer, block in enumerate(specimen.model.blocks):
        own = [head for where, head in heads if where == layer]

        def replace(module, given, own=own, layer=layer):
            changed = given[0].clone()
            for head in own:
                changed[..., 5 * head : 5 * head + 5] = means[layer][head]
            return (changed,)

        handles.append(block.attn.proj.register_forward_pre_hook(replace))
    logits = specimen.predict(images)
    for handle in handles:
        handle.remove()
    return logits


def test_answers_and_gradients_equal_hooks():
    specimen = doubled()
    images = (small.images(4).double() / 255).requires_grad_()
    means = mean_head_outputs(specimen, small.images(11))
    heads = [(0, 1), (2, 0), (2, 2)]
    left = without_heads(specimen, heads, means)
    labels = torch.tensor([0, 3, 2, 6])

    def gradient(logits):
        return torch.autograd.grad(torch.nn.functional.cross_entropy(logits, labels), images)[0]

    ours, wanted = left.predict(images), by_hand(specimen, heads, means, images)
    torch.testing.assert_close(ours, wanted)
    assert not torch.allclose(ours, specimen.predict(images))
    torch.testing.assert_close(gradient(ours), gradient(wanted))
    assert left.name == "small without 3 heads"


@pytest.mark.parametrize("make", [small.timm_vit, small.torchvision_vit, small.swin, small.cait])
def test_every_make_of_model_agrees_with_ablation(make):
    specimen = make()
    images = small.images(6, *specimen.image_size)
    labels = torch.arange(6) % small.CLASSES
    means = mean_head_outputs(specimen, images)
    found = ablate_heads(specimen, images, labels)
    for layer, head in ((0, 1), (len(found.heads) - 1, 0)):
        left = without_heads(specimen, [(layer, head)], means)
        for number in range(6):
            with torch.no_grad():
                loss = torch.nn.functional.cross_entropy(
                    left.predict(images[[number]]).double(), labels[[number]]
                )
            assert float(loss) == pytest.approx(found.ablated_loss[number, layer, head], rel=1e-3, abs=1e-3)


def test_it_can_be_copied_captured_and_attacked():
    specimen = doubled()
    images = small.images(5)
    left = without_heads(specimen, [(1, 1)], mean_head_outputs(specimen, images))
    with torch.no_grad():
        labels = left.predict(images).argmax(1)
        torch.testing.assert_close(copy.deepcopy(left.model)(left.prepare(images)), left.predict(images))
    assert len(capture(left, images).attentions) == 3
    result = attack_images("pgd", left, images, labels, epsilon=0.3, steps=10)
    assert result.success.any()
    with torch.no_grad():
        assert torch.equal(left.predict(result.images).argmax(1) != labels, result.success)


def test_the_whole_model_stays_whole():
    specimen = doubled()
    images = small.images(3)
    with torch.no_grad():
        before = specimen.predict(images)
        left = without_heads(specimen, [(0, 0)], mean_head_outputs(specimen, images))
        left.predict(images)
        assert torch.equal(specimen.predict(images), before)
    assert left.fingerprint() != specimen.fingerprint()
    assert not any(module._forward_hooks for module in specimen.model.modules())


@pytest.mark.parametrize(
    ("heads", "came"), [([(3, 0)], r"\(3, 0\)"), ([(0, 0), (1, 3)], r"\(1, 3\)"), ([], "none")]
)
def test_heads_that_are_not_there_are_named(heads, came):
    specimen = small.timm_vit()
    means = mean_head_outputs(specimen, small.images(2))
    with pytest.raises(ValueError, match=rf"layers with \[3, 3, 3\] heads, at least one, but got {came}"):
        without_heads(specimen, heads, means)
