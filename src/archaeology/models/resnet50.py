"""ResNet-50, the convolutional network that others are measured against; `he2016deep`, as torchvision builds it.

Its tensors have torchvision's names, so torchvision's weights fit as they are.
"""

from collections.abc import Sequence

from torch import nn

from archaeology.models.registry import models

REDUCTION = 32  # pixels along an edge of the image for one of the last map


@models.register("resnet50")
def resnet50(image_size: int | Sequence[int] = 224, num_classes: int = 1000) -> nn.Module:
    """With fresh weights; images come normalised. Grad-CAM reads the last map, `layer4`.

    Args:
        image_size: Side, or height and width, in pixels, of the images it is trained on; it takes others too.
        num_classes: Logits.

    Raises:
        ValueError: If the images are too small to leave a map.
    """
    from torchvision import models as library  # heavy

    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    if min(height, width) < REDUCTION:
        raise ValueError(
            f"image_size must be at least {REDUCTION} pixels, but got image_size={(height, width)}; "
            "enlarge the images."
        )
    model = library.resnet50(weights=None, num_classes=num_classes)
    for name, value in (("image_size", (height, width)), ("target_layer", "layer4")):
        setattr(model, name, value)
    return model
