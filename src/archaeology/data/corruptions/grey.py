"""How bright a pixel looks."""

from jaxtyping import Float
from torch import Tensor

from archaeology.core.shapes import Image


def grey(images: Image) -> Float[Tensor, "batch 1 height width"]:
    """The usual weights of red, green and blue (ITU-R BT.601); images of one channel as they are."""
    if images.shape[1] == 1:
        return images
    red, green, blue = images.split(1, dim=1)
    return 0.299 * red + 0.587 * green + 0.114 * blue
