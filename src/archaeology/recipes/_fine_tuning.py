"""What the recipes for machines with a network and an accelerator share: usual settings and three data sets.

Images are kept at 224 x 224, as the published weights expect them, whatever size they come in.
"""

from dataclasses import replace

import numpy as np

from archaeology.core.errors import UnknownNameError
from archaeology.core.storage import sha256_of
from archaeology.data.cache import DecodedImages, decode_once
from archaeology.data.decoded import evenly
from archaeology.data.open import open_source
from archaeology.training.config import TrainConfig

IMAGE_SIZE = 224
TEST_SHARE = 5  # one in so many images is for testing, where nobody divided them
#: AdamW, half a cosine after a short rise, Mixup, smoothed labels, averaged weights, clipped gradients.
SETTINGS = TrainConfig(
    epochs=30,
    batch_size=256,
    optimizer="adamw",
    learning_rate=5e-4,
    weight_decay=0.05,
    schedule="cosine",
    warmup=0.05,
    clip=1.0,
    ema=0.9998,
    label_smoothing=0.1,
    mixup=0.2,
    crop_padding=IMAGE_SIZE // 8,
)


class Images:
    """A data set by name, or wherever the user keeps it, with a part to train on and a part to test on."""

    def __init__(self, place: str) -> None:
        """`place` as for `archaeology dig --data`."""
        self.place = place

    def training(self, data: str | None) -> tuple[DecodedImages, ...]:
        """The images to train on."""
        return (part_of(data or self.place, "train"),)

    def test(self, data: str | None) -> DecodedImages:
        """The images that accuracy is measured on."""
        return part_of(data or self.place, "test")


#: 101 dishes, 750 + 250 images each (`bossard2014food`).
FOOD101 = Images("food101")
#: 10 kinds of land use in 27,000 satellite images of 64 x 64 (`helber2019eurosat`), divided here.
EUROSAT = Images("eurosat")
#: 9 tissues in 89,996 + 7,180 patches of 28 x 28 (`yang2023medmnist`).
PATHMNIST = Images("medmnist:pathmnist")


def part_of(place: str, split: str) -> DecodedImages:
    """The training or test images of a data set; a fifth of every class is for testing where it has no parts.

    Args:
        place: As for `archaeology dig --data`.
        split: "train" or "test".

    Raises:
        ValueError: If there is no such data set, or it has several parts but not this one.
        FileNotFoundError: If it is not there and cannot be fetched.
    """
    size = (IMAGE_SIZE, IMAGE_SIZE)
    try:
        source = open_source(place)
    except UnknownNameError:
        raise
    except ValueError:  # it has several parts and wants to know which
        return decode_once(open_source(place, split=split), size)
    whole = decode_once(source, size)
    if len(whole) < TEST_SHARE:
        raise ValueError(
            f"{place} must have a part to train on and one to test on, or {TEST_SHARE} images to divide, but has "
            f"{len(whole)}."
        )
    tested = evenly(whole.labels, len(whole) // TEST_SHARE, seed=0)
    rows = tested if split == "test" else np.setdiff1d(np.arange(len(whole)), tested)
    return replace(
        whole.only(rows),
        fingerprint=sha256_of(whole.fingerprint, "part", rows.astype("<i8").tobytes()),
        split=split,
    )
