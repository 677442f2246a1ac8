"""Any image file becomes 8-bit RGB the way a person would see it, or an error that names the file.

What is lost is lost on purpose: of an animation the first frame stays, and `core.pictures` says what else.
"""

from io import BytesIO

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from archaeology.core.errors import BadImageError
from archaeology.core.pictures import as_rgb, upright

# Only these are tried, whatever the file is called: Pillow's other readers are rare; one starts Ghostscript.
FORMATS = ("JPEG", "MPO", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "AVIF")
SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .apng .gif .bmp .tif .tiff .webp .ppm .pgm .pbm .pnm .avif".split()
)


def decode_image(data: bytes, where: str) -> UInt8[Tensor, "channel height width"]:
    """Decode an image file.

    Args:
        data: The file's content.
        where: Its path, for the message.

    Raises:
        BadImageError: If `data` is no whole image of a known kind.
    """
    if not data:
        raise bad_image(where, "it is empty (0 bytes)")
    try:
        with Image.open(BytesIO(data), formats=_known_formats()) as image:
            _refuse_huge(image)
            return pixels_of(upright(image))
    except Exception as error:  # a broken file makes Pillow raise almost anything
        raise bad_image(where, _reason(error)) from error


def pixels_of(image: Image.Image) -> UInt8[Tensor, "channel height width"]:
    """The 8-bit RGB pixels of a Pillow image of any mode.

    Raises:
        ValueError: If its numbers have no known range.
    """
    return torch.from_numpy(np.asarray(as_rgb(image)).transpose(2, 0, 1).copy())


def bad_image(where: str, reason: str) -> BadImageError:
    """The error for the image at `where` that cannot be decoded for this `reason`."""
    return BadImageError(
        f"{where} must be an image that can be decoded, but {reason}; "
        "replace it, remove it, or leave such images out with skip_bad (--skip-bad)."
    )


def _known_formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _refuse_huge(image: Image.Image) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        raise Image.DecompressionBombError(
            f"it has {image.width}x{image.height} pixels, "
            f"over Pillow's limit of {limit:,} (PIL.Image.MAX_IMAGE_PIXELS)"
        )


def _reason(error: Exception) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return f"it is none of the kinds that are read ({', '.join(FORMATS)})"
    return str(error) or type(error).__name__
