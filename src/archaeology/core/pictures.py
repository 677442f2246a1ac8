"""Any Pillow picture as 8-bit RGB, the way a person would see it; and pictures as text, for documents and pages.

Imports no torch, so that a small process can use it. What is lost is lost on purpose: transparent pixels lie on white,
the camera's orientation is applied, 16-bit values are scaled (not clipped) to 8 bits.
"""

import base64
import io

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps


def upright(image: Image.Image) -> Image.Image:
    """As the photographer held it; only files that carry EXIF are looked at, for speed."""
    return ImageOps.exif_transpose(image) if image.getexif() else image


def as_rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB of a picture of any mode.

    Raises:
        ValueError: If its numbers have no known range.
    """
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode in ("F", "I") or image.mode.startswith("I;16"):
        return _from_wide(image)
    if image.has_transparency_data:
        seen = image.convert("RGBA")
        paper = Image.new("RGBA", seen.size, "white")
        return Image.alpha_composite(paper, seen).convert("RGB")
    return image.convert("RGB")


def _from_wide(image: Image.Image) -> Image.Image:
    """16-bit grey, scaled so that 65535 becomes 255."""
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise ValueError(f"its {values.dtype} values have no known range; save it with 8 or 16 bits")
    return Image.fromarray(np.rint(values / 257).astype(np.uint8)).convert("RGB")


def png_text(pixels: UInt8[np.ndarray, "height width 3"]) -> str:
    """Colours as a PNG file in base64, as documents in JSON keep them."""
    return _text(Image.fromarray(np.ascontiguousarray(pixels)), "PNG", optimize=True)


def picture_of(png: str) -> Image.Image:
    """The RGB picture that `png_text` wrote."""
    with Image.open(io.BytesIO(base64.b64decode(png))) as picture:
        return picture.convert("RGB")


def data_uri(image: Image.Image, kind: str, **options: object) -> str:
    """A picture as a page holds it; `kind` is "PNG", "WEBP" or "JPEG", with the options of Pillow's `save`."""
    return f"data:image/{kind.lower()};base64,{_text(image, kind, **options)}"


def _text(image: Image.Image, kind: str, **options: object) -> str:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return base64.b64encode(file.getvalue()).decode("ascii")
