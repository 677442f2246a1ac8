"""Randomness with an address: seed and purpose give a generator of their own, so streams share no numbers."""

import hashlib

import numpy as np
import torch

from archaeology.core.shapes import Image, PixelImage


def derived_seed(seed: int, *purpose: object) -> int:
    """A 63-bit seed that depends on `seed` and on every word of `purpose`, the same on every machine.

    Raises:
        ValueError: If `seed` is negative.
    """
    if seed < 0:
        raise ValueError(f"seed must be a whole number >= 0, but got {seed=}.")
    text = "/".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def torch_generator(seed: int, *purpose: object, device: torch.device | str = "cpu") -> torch.Generator:
    """A `torch.Generator` of its own for this seed and purpose."""
    return torch.Generator(device).manual_seed(derived_seed(seed, *purpose))


def numpy_generator(seed: int, *purpose: object) -> np.random.Generator:
    """A NumPy generator of its own for this seed and purpose."""
    return np.random.default_rng(derived_seed(seed, *purpose))


def content_names(images: Image | PixelImage) -> list[str]:
    """A name for every image made from its pixels, as a purpose of what is drawn for it.

    What is drawn by it is the same alone and in any batch, on any device; two images with the same pixels get the same.
    """
    rows = images.detach().float().cpu().contiguous()
    return [hashlib.sha256(row.numpy().tobytes()).hexdigest() for row in rows]
