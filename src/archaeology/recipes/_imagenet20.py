"""What the recipes on twenty classes of Tiny ImageNet share: the pictures, at 32 x 32, and their colour statistics."""

from archaeology.data.cache import DecodedImages, decode_once
from archaeology.data.open import open_source

MEAN, STD = (0.4802, 0.4481, 0.3975), (0.2770, 0.2691, 0.2821)
SIZE = (32, 32)


def training_images(data: str | None) -> tuple[DecodedImages, ...]:
    """The 10,000 training images."""
    return (decode_once(open_source(place(data), split="train"), SIZE),)


def test_images(data: str | None) -> DecodedImages:
    """The 1,000 validation images."""
    return decode_once(open_source(place(data), split="validation"), SIZE)


def place(data: str | None) -> str:
    """Where the images are.

    Raises:
        ValueError: If nobody said; the selection of twenty classes has no public name to fetch it by.
    """
    if data is None:
        raise ValueError(
            "the twenty classes of Tiny ImageNet must be given as files: --data parquet:FOLDER with train.parquet and "
            "validation.parquet, or --data folder:FOLDER with train/CLASS/ and validation/CLASS/."
        )
    return data
