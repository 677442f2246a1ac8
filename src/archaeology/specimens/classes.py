"""Class names in the order of the logits: ImageNet's for a model with its thousand, else class_0, class_1."""

from collections.abc import Sequence

NUM_IMAGENET = 1000


def class_names(num_classes: int, known: Sequence[str] | None = None) -> tuple[str, ...]:
    """Names of `num_classes` classes: the `known` ones if so many, ImageNet-1k's for 1000, else numbered.

    The short ImageNet names are torchvision's: timm's list all synonyms, and one of them twice.
    """
    if known is not None and len(known) == num_classes:
        return tuple(known)
    if num_classes == NUM_IMAGENET:
        from torchvision.models import ResNet50_Weights

        return tuple(ResNet50_Weights.DEFAULT.meta["categories"])
    return tuple(f"class_{index}" for index in range(num_classes))
