import pytest
import torch
from torch import Tensor

from archaeology.data.augment import (
    Augmentation,
    colour,
    crop_and_flip,
    erasing,
    mix,
    rand_augment,
    trivial_augment,
)


def some_images(batch: int = 9) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (batch, 3, 16, 12), dtype=torch.uint8, generator=generator)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(3)


@pytest.mark.parametrize("policy", ["none", "rand", "trivial"])
def test_parts_follow_one_another_and_share_one_generator(policy: str) -> None:
    augment = Augmentation(
        crop_padding=2, policy=policy, num_ops=3, magnitude=5, colour=0.3, hue=0.1, erasing=0.5
    )
    images, generator = some_images(), seeded()
    expected = crop_and_flip(images, generator, 2)
    expected = colour(expected, generator, brightness=0.3, contrast=0.3, saturation=0.3, hue=0.1)
    if policy == "rand":
        expected = rand_augment(expected, generator, 3, 5)
    if policy == "trivial":
        expected = trivial_augment(expected, generator)
    expected = erasing(expected, generator, 0.5)
    torch.testing.assert_close(augment(images, seeded()), expected, rtol=0, atol=0)


def test_crop_and_flip_alone_by_default_and_nothing_if_asked() -> None:
    images = some_images()
    torch.testing.assert_close(
        Augmentation()(images, seeded()), crop_and_flip(images, seeded(), 4), rtol=0, atol=0
    )
    generator = seeded()
    state = generator.get_state()
    nothing = Augmentation(crop_padding=0, flip=False)
    torch.testing.assert_close(nothing(images, generator), images, rtol=0, atol=0)
    torch.testing.assert_close(generator.get_state(), state, rtol=0, atol=0)


def test_mix_passes_on_what_was_asked_for() -> None:
    images, labels = some_images().float(), torch.arange(9) % 4
    augment = Augmentation(mixup=0.2, cutmix=1.0, smoothing=0.1)
    expected = mix(images, labels, seeded(), 4, mixup=0.2, cutmix=1.0, smoothing=0.1)
    torch.testing.assert_close(augment.mix(images, labels, seeded(), 4), expected, rtol=0, atol=0)


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(ValueError, match=r"policy must be one of none, rand, trivial, but got policy='auto'"):
        Augmentation(policy="auto")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_generator_serves_images_on_its_gpu() -> None:
    augment = Augmentation(policy="trivial", colour=0.3, erasing=0.5, mixup=0.2, cutmix=1.0)
    images = some_images().cuda()
    first = augment(images, torch.Generator("cuda").manual_seed(1))
    again = augment(images, torch.Generator("cuda").manual_seed(1))
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    mixed, targets = augment.mix(
        first.float(), torch.arange(9).cuda() % 4, torch.Generator("cuda").manual_seed(1), 4
    )
    assert first.is_cuda and mixed.is_cuda and targets.is_cuda
