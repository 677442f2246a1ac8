"""What the CIFAR-10 recipes share: the pictures and their colour statistics."""

from archaeology.data.cache import DecodedImages, decode_once
from archaeology.data.open import open_source

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


def training_images(data: str | None) -> tuple[DecodedImages, ...]:
    """The 50,000 training images, from `data` or wherever the name `cifar10` finds them."""
    return (decode_once(open_source(data or "cifar10", split="train"), (32, 32)),)


def test_images(data: str | None) -> DecodedImages:
    """The 10,000 test images."""
    return decode_once(open_source(data or "cifar10", split="test"), (32, 32))
