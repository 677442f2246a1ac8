"""Another image's answer in the place of a head's own, against hooks and loops; bad numbers and little memory."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.ablate import small_models as small

from archaeology.ablate import ablate_heads
from archaeology.ablate.stand_ins import drawn_others

COUNT = 5


def labels(count):
    return torch.arange(count) % small.CLASSES


def loss_by_loops(specimen, images, others, truth, layer, head):
    """Image by image: the head's features of the other image, put before the projection."""
    model, losses = specimen.model, []
    for image, other, label in zip(specimen.prepare(images), specimen.prepare(others), truth, strict=True):
        kept = []
        projection = model.blocks[layer].attn.proj
        handle = projection.register_forward_pre_hook(lambda module, given, kept=kept: kept.append(given[0]))
        model(other[None])
        handle.remove()

        def swap(module, given, kept=kept):
            changed = given[0].clone()
            changed[..., 5 * head : 5 * head + 5] = kept[0][..., 5 * head : 5 * head + 5]
            return (changed,)

        handle = projection.register_forward_pre_hook(swap)
        losses.append(float(F.cross_entropy(model(image[None]), label[None])))
        handle.remove()
    return losses


@torch.no_grad()
def test_every_head_says_what_it_says_of_another_image():
    specimen, images, truth = small.timm_vit(), small.images(COUNT), labels(COUNT)
    result = ablate_heads(specimen, images, truth, replacement="another", seed=3, batch_size=2)
    others = images[drawn_others(COUNT, 3)]
    for layer in range(3):
        for head in range(3):
            expected = loss_by_loops(specimen, images, others, truth, layer, head)
            np.testing.assert_allclose(result.ablated_loss[:, layer, head], expected, rtol=2e-4, atol=2e-4)
    assert np.abs(result.ablated_loss - result.loss[:, None, None]).max() > 0.1
    given = ablate_heads(specimen, images, truth, replacement="another", others=others)
    np.testing.assert_allclose(given.ablated_loss, result.ablated_loss, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("make", [small.timm_vit, small.swin, small.cait])
def test_an_image_put_in_for_itself_changes_nothing_and_alone_equals_in_the_batch(make):
    specimen = make()
    images, truth = small.images(4, *specimen.image_size), labels(4)
    same = ablate_heads(specimen, images, truth, replacement="another", others=images)
    there = ~np.isnan(same.ablated_loss)
    expected = np.broadcast_to(same.loss[:, None, None], there.shape)
    np.testing.assert_allclose(same.ablated_loss[there], expected[there], rtol=2e-4, atol=2e-4)
    others = images.flip(0)
    together = ablate_heads(specimen, images, truth, replacement="another", others=others)
    for i in range(4):
        one = slice(i, i + 1)
        alone = ablate_heads(specimen, images[one], truth[one], replacement="another", others=others[one])
        np.testing.assert_allclose(alone.ablated_loss[0], together.ablated_loss[i], rtol=3e-4, atol=3e-4)


def test_others_are_drawn_evenly_by_seed_and_never_the_image_itself():
    drawn = torch.stack([drawn_others(7, seed) for seed in range(600)])
    assert (drawn != torch.arange(7)).all()
    assert torch.equal(drawn_others(7, 5), drawn[5])
    shares = torch.stack([torch.bincount(column, minlength=7) for column in drawn.T]) / 600
    off = ~torch.eye(7, dtype=torch.bool)
    assert float((shares[off] - 1 / 6).abs().max()) < 0.06  # 4 standard deviations


def test_nothing_changes_where_memory_suffices_only_for_half():
    specimen, images, truth = small.timm_vit(), small.images(COUNT), labels(COUNT)
    expected = ablate_heads(specimen, images, truth)
    sizes, forward = [], specimen.model.head.forward

    def little_memory(features):
        sizes.append(len(features))
        if len(features) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return forward(features)

    specimen.model.head.forward = little_memory
    result = ablate_heads(specimen, images, truth)
    assert sum(size > 2 for size in sizes) < 9  # what did not fit is not tried for every layer again
    assert max(sizes) >= COUNT and result.methods == expected.methods
    np.testing.assert_allclose(result.ablated_loss, expected.ablated_loss, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("replacement", ["zero", "mean", "another"])
def test_answers_that_are_not_finite_name_the_layer(replacement):
    specimen = small.timm_vit()
    with torch.no_grad():
        specimen.model.blocks[1].mlp.fc1.weight[0, 0] = float("nan")
    with pytest.raises(
        ValueError, match=r"layer blocks.1.mlp.fc1 of small returned NaN or infinity; look at"
    ):
        ablate_heads(specimen, small.images(3), labels(3), replacement=replacement)
    assert not any(module._forward_hooks for module in specimen.model.modules())


def test_answers_that_are_not_finite_with_a_head_gone_name_the_head():
    specimen = small.timm_vit()

    def overflow(module, given):  # as in half precision, where only that head's answer keeps sums small
        silent = (given[0][..., 5:10] == 0).all(-1, keepdim=True)
        return (torch.where(silent, float("inf"), given[0]),)

    handle = specimen.model.blocks[2].attn.proj.register_forward_pre_hook(overflow)
    with pytest.raises(ValueError, match=r"with head 1 of layer 2 replaced those of small hold NaN"):
        ablate_heads(specimen, small.images(3), labels(3), replacement="zero")
    handle.remove()


def test_errors_of_others_say_what_to_do():
    specimen = small.timm_vit(depth=1)
    with pytest.raises(ValueError, match=r"at least two images to draw from, but got one; pass others="):
        ablate_heads(specimen, small.images(1), labels(1), replacement="another")
    with pytest.raises(ValueError, match=r"others must hold one image for each of the 2 images, but got 3"):
        ablate_heads(specimen, small.images(2), labels(2), replacement="another", others=small.images(3))
