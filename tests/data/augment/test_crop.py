import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from archaeology.data.augment import crop_and_flip


def reflected(place: int, length: int) -> int:
    """Walk to `place` on a line that is mirrored at its ends without repeating them."""
    while not 0 <= place < length:
        place = -place if place < 0 else 2 * (length - 1) - place
    return place


def oracle(images: Tensor, generator: torch.Generator, padding: int, flip: bool) -> Tensor:
    """Loops only; draws the same numbers in the same order."""
    batch, channel, height, width = images.shape
    down = torch.randint(-padding, padding + 1, (batch,), generator=generator).tolist()
    right = torch.randint(-padding, padding + 1, (batch,), generator=generator).tolist()
    mirrored = torch.randint(0, 2, (batch,), generator=generator).tolist() if flip else [0] * batch
    result = torch.empty_like(images)
    for i in range(batch):
        for row in range(height):
            for column in range(width):
                seen = width - 1 - column if mirrored[i] else column
                source = reflected(row + down[i], height), reflected(seen + right[i], width)
                for c in range(channel):
                    result[i, c, row, column] = images[i, c, source[0], source[1]]
    return result


def some_images(batch: int, height: int, width: int, seed: int = 0) -> Tensor:
    return torch.randint(
        0, 256, (batch, 3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )


@settings(deadline=None, derandomize=True, max_examples=25)
@given(
    batch=st.integers(1, 5),
    height=st.integers(3, 8),
    width=st.integers(3, 8),
    padding=st.integers(0, 2),
    flip=st.booleans(),
    seed=st.integers(0, 99),
)
def test_equals_the_loop_over_pixels(
    batch: int, height: int, width: int, padding: int, flip: bool, seed: int
) -> None:
    images = some_images(batch, height, width, seed)
    ours = crop_and_flip(images, torch.Generator().manual_seed(seed), padding, flip=flip)
    theirs = oracle(images, torch.Generator().manual_seed(seed), padding, flip)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_equals_torch_padding_then_slicing() -> None:
    images, padding = some_images(7, 11, 13), 4
    padded = torch.nn.functional.pad(images.float(), (padding,) * 4, mode="reflect").byte()
    generator = torch.Generator().manual_seed(3)
    down = torch.randint(-padding, padding + 1, (7,), generator=generator) + padding
    right = torch.randint(-padding, padding + 1, (7,), generator=generator) + padding
    expected = torch.stack([padded[i, :, down[i] : down[i] + 11, right[i] : right[i] + 13] for i in range(7)])
    ours = crop_and_flip(images, torch.Generator().manual_seed(3), padding, flip=False)
    torch.testing.assert_close(ours, expected, rtol=0, atol=0)


def test_each_image_is_shifted_on_its_own_and_half_are_mirrored() -> None:
    one = some_images(1, 16, 16)
    many = crop_and_flip(one.expand(2000, -1, -1, -1), torch.Generator().manual_seed(0), padding=1)
    kinds, counts = many.flatten(1).unique(dim=0, return_counts=True)
    assert len(kinds) == 3 * 3 * 2
    assert counts.min() > 0.6 * 2000 / 18 and counts.max() < 1.5 * 2000 / 18


def test_leaves_its_input_alone_and_follows_dtype_and_seed() -> None:
    images = some_images(5, 9, 7)
    before = images.clone()
    first = crop_and_flip(images, torch.Generator().manual_seed(1))
    again = crop_and_flip(images, torch.Generator().manual_seed(1))
    torch.testing.assert_close(images, before, rtol=0, atol=0)
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert first.dtype == torch.uint8 and first.shape == images.shape
    assert not torch.equal(first, crop_and_flip(images, torch.Generator().manual_seed(2)))


def test_without_padding_and_flip_nothing_moves() -> None:
    images = some_images(5, 9, 7)
    torch.testing.assert_close(
        crop_and_flip(images, torch.Generator(), 0, flip=False), images, rtol=0, atol=0
    )


@pytest.mark.parametrize("padding", [-1, 7])
def test_impossible_padding_is_refused(padding: int) -> None:
    with pytest.raises(
        ValueError, match=r"padding must be at least 0 and smaller than the image, but got padding="
    ):
        crop_and_flip(some_images(2, 9, 7), torch.Generator(), padding)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_cpu_generator_gives_the_same_crops_on_a_gpu() -> None:
    images = some_images(11, 9, 7)
    here = crop_and_flip(images, torch.Generator().manual_seed(5))
    there = crop_and_flip(images.cuda(), torch.Generator().manual_seed(5))
    assert there.is_cuda
    torch.testing.assert_close(there.cpu(), here, rtol=0, atol=0)
