"""Batches: every image once, parts that do not depend on how many processes share them, mixing, teachers."""

import pytest
import torch

from archaeology.recipes.batches import AugmentedBatches
from archaeology.specimens.specimen import Specimen
from archaeology.training.config import TrainConfig
from archaeology.training.runtime import Runtime

CPU = torch.device("cpu")
LABELS = torch.arange(12) % 3


def specimen(model=None, **more):
    plain = {"kind": "other", "image_size": (8, 8), "mean": (0.0,) * 3, "std": (1.0,) * 3}
    return Specimen("test", model or torch.nn.Identity(), classes=("a", "b", "c"), **{**plain, **more})


def flat_images():
    """Image i is of the grey i everywhere, so cropping and mirroring leave it alone."""
    return torch.arange(12, dtype=torch.uint8).reshape(12, 1, 1, 1).expand(12, 3, 8, 8).contiguous()


def batches(rank=0, world_size=1, teacher=None, images=None, **config):
    settings = TrainConfig(**{"batch_size": 6, "crop_padding": 2, "dtype": "float32", **config})
    images = flat_images() if images is None else images
    return AugmentedBatches(specimen(), images, LABELS, settings, Runtime(CPU, rank, world_size), teacher)


def test_an_epoch_visits_every_image_once_and_another_epoch_in_another_order():
    made = batches()
    epochs = [torch.cat([images[:, 0, 0, 0] * 255 for images, _ in made(epoch)]) for epoch in (0, 1)]
    for epoch in epochs:
        assert sorted(epoch.round().int().tolist()) == list(range(12))
    assert epochs[0].tolist() != epochs[1].tolist()
    assert made.per_epoch == 2


def test_labels_go_with_their_images():
    for images, labels in batches()(3):
        assert ((images[:, 0, 0, 0] * 255).round().long() % 3).tolist() == labels.tolist()


def test_two_processes_see_what_one_sees_in_two_parts():
    noise = torch.randint(
        0, 256, (12, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    options = {"images": noise, "policy": "trivial", "mixup": 0.5, "erasing": 0.5}
    whole = list(batches(accumulate=2, **options)(1))
    halves = [list(batches(rank, 2, **options)(1)) for rank in (0, 1)]
    for (images, targets), *shares in zip(whole, *halves, strict=True):
        assert torch.equal(images, torch.cat([share[0] for share in shares]))
        assert torch.equal(targets, torch.cat([share[1] for share in shares]))


def test_the_last_incomplete_batch_is_left_out_but_few_images_make_one():
    assert [len(labels) for _, labels in batches(batch_size=5)(0)] == [5, 5]
    assert [len(labels) for _, labels in batches(batch_size=100)(0)] == [12]


def test_mixed_targets_are_shares_of_classes():
    for images, targets in batches(mixup=1.0, cutmix=1.0)(0):
        assert targets.shape == (6, 3) and torch.allclose(targets.sum(dim=1), torch.ones(6))
        assert (targets.max(dim=1).values < 0.99).any() and images.min() >= 0 and images.max() <= 1


def test_the_teacher_sees_the_same_images_in_its_own_preparation():
    class Mean(torch.nn.Module):
        def forward(self, images):
            return images.mean(dim=(2, 3))

    teacher = specimen(Mean(), mean=(0.5, 0.5, 0.5))
    for images, (labels, logits) in batches(teacher=teacher)(0):
        assert torch.allclose(logits, images.mean(dim=(2, 3)) - 0.5, atol=1e-6) and len(labels) == 6
        assert not logits.requires_grad


def test_processes_that_cannot_share_a_batch_are_refused():
    with pytest.raises(ValueError, match="batch_size must be a multiple of the 4 processes"):
        Runtime(CPU, 0, 4).share_of(6)
