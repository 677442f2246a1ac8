"""One seed and a purpose, one stream; another purpose, another stream."""

import numpy as np
import pytest
import torch

from archaeology.core.seeding import content_names, derived_seed, numpy_generator, torch_generator


def test_derived_seed_never_changes() -> None:
    """These numbers decide every generated image and every interval: they are a promise."""
    assert derived_seed(0) == 3456079177858693020
    assert derived_seed(0, "cue_conflict", 3) == 2687042549253519324
    assert 0 <= derived_seed(12, "x") < 2**63


def test_every_word_counts() -> None:
    seeds = {
        derived_seed(seed, *words) for seed in range(50) for words in ((), ("a",), ("b",), ("a", 1), (1, "a"))
    }
    assert len(seeds) == 250


def test_streams_are_independent_of_one_another() -> None:
    draws = np.stack([numpy_generator(7, "stream", k).standard_normal(4000) for k in range(20)])
    correlation = np.corrcoef(draws)[np.triu_indices(20, 1)]
    assert np.abs(correlation).max() < 5 / np.sqrt(4000)
    neighbours = np.stack([torch.randn(4000, generator=torch_generator(k)).numpy() for k in range(20)])
    assert np.abs(np.corrcoef(neighbours)[np.triu_indices(20, 1)]).max() < 5 / np.sqrt(4000)


def test_same_address_same_numbers_and_global_state_untouched() -> None:
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]
    first = torch.randn(5, generator=torch_generator(3, "a"))
    assert torch.equal(torch.randn(5, generator=torch_generator(3, "a")), first)
    assert numpy_generator(3, "a").random() == numpy_generator(3, "a").random()
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)  # type: ignore[index]


def test_negative_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="seed must be a whole number >= 0, but got seed=-1"):
        torch_generator(-1, "a")


def test_an_image_is_named_by_its_pixels_alone() -> None:
    images = torch.rand(3, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    names = content_names(images)
    assert len(set(names)) == 3
    assert content_names(images[1:2].double()) == names[1:2]
    assert content_names(images.contiguous(memory_format=torch.channels_last)) == names
    images[2, 0, 0, 0] += 1e-3
    assert content_names(images)[:2] == names[:2] and content_names(images)[2] != names[2]
