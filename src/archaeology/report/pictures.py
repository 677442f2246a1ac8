"""Photos and heat maps as data URIs: one pixel of a heat map is one patch, enlarged by the page and never smoothed."""

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from archaeology.core.pictures import data_uri
from archaeology.figures.words import number

LARGEST_PIXEL_ART, LARGEST_PHOTO = 96, 320
WEBP_QUALITY = 80
LEVELS = 96
HEAT = "inferno"
OPACITY, OPACITY_POWER = 0.92, 0.75
BRIGHTEST = 99.8
ATTENTION_UNIT = "\N{MULTIPLICATION SIGN} an even share"

Coding = Literal["linear", "square root"]


@dataclass(frozen=True)
class Scale:
    """Which colour a value gets: the lowest one transparent and dark, the highest bright.

    Attributes:
        low: Value of the lowest colour; smaller values get it too.
        high: Value of the highest colour; larger values get it too.
        coding: "square root" spreads small values apart, so that one bright patch does not hide the others.
        unit: What the values are, printed at the colour bar.
        is_clipped: Whether some value lies above `high`.
    """

    low: float
    high: float
    coding: Coding
    unit: str
    is_clipped: bool = False

    def place(self, values: Float[np.ndarray, "*map"]) -> Float[np.ndarray, "*map"]:
        """Where values lie on the colour bar, from 0 to 1."""
        share = np.clip((values - self.low) / max(self.high - self.low, 1e-12), 0, 1)
        return np.sqrt(share) if self.coding == "square root" else share

    def ticks(self) -> list[tuple[float, str]]:
        """Places along the bar in percent and what to print there: both ends and the value between."""
        places = np.array([0, 0.5, 1])
        shares = places**2 if self.coding == "square root" else places
        values = self.low + shares * (self.high - self.low)
        texts = [number(float(value), 2) for value in values]
        texts[0] = ("≤ " if self.low > 0 else "") + texts[0]
        texts[-1] = ("≥ " if self.is_clipped else "") + texts[-1]
        return [(round(100 * float(place), 2), text) for place, text in zip(places, texts, strict=True)]


def shared_scale(
    values: Float[np.ndarray, "*map"],
    *,
    coding: Coding,
    unit: str,
    low: float = 0.0,
    least_high: float = 1e-6,
) -> Scale:
    """One scale for all these maps, so that equal colours mean equal values.

    Args:
        values: Every value that will be drawn with it; unknown ones are left out.
        coding: How values become colours.
        unit: What the values are.
        low: Where the colours begin.
        least_high: Where they end at least, so that maps without contrast do not pretend to have any.
    """
    values = values[np.isfinite(values)]
    # A lone outlier must not darken all the rest: it gets the brightest colour, and the colour bar says so.
    top = float(np.percentile(values, BRIGHTEST)) if values.size else 0.0
    high = max(top, least_high)
    return Scale(low, high, coding, unit, is_clipped=bool(values.size and values.max() > high * (1 + 1e-6)))


def attention_scale(values: Float[np.ndarray, "*map"], *, coding: Coding) -> Scale:
    """A scale for attention in multiples of an even share: only what gets more than an even share is coloured."""
    return shared_scale(values, coding=coding, unit=ATTENTION_UNIT, low=1.0, least_high=2.0)


def photo_uri(pixels: UInt8[np.ndarray, "channel height width"]) -> str:
    """A small image as PNG, to be shown enlarged pixel by pixel; a larger one as WebP, no larger than it is shown."""
    array = np.moveaxis(np.asarray(pixels), 0, -1)
    image = Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)
    if is_pixel_art(pixels.shape):
        return data_uri(image, "PNG", optimize=True)
    image.thumbnail((LARGEST_PHOTO, LARGEST_PHOTO), Image.Resampling.LANCZOS)
    return data_uri(image, "WEBP", quality=WEBP_QUALITY, method=4)


def is_pixel_art(shape: tuple[int, ...]) -> bool:
    """Whether an image of this shape is so small that its pixels should show."""
    return max(shape[-2:]) <= LARGEST_PIXEL_ART


def heat_uri(share: Float[np.ndarray, "row column"]) -> str:
    """A map of values from 0 to 1 as a PNG with one pixel per value; low values let the photo shine through."""
    steps = np.rint(np.clip(np.nan_to_num(share), 0, 1) * (LEVELS - 1)).astype(np.uint8)
    image = Image.fromarray(steps)
    colours = heat_colours()
    image.putpalette(colours[:, :3].tobytes(), "RGB")
    return data_uri(image, "PNG", optimize=True, transparency=colours[:, 3].tobytes())


@cache
def heat_colours() -> UInt8[np.ndarray, "level 4"]:
    """Red, green, blue and opacity of each level: a colour-blind-safe map that rises in lightness throughout."""
    from matplotlib import colormaps

    share = np.linspace(0, 1, LEVELS)
    colours = colormaps[HEAT](share)
    colours[:, 3] = OPACITY * share**OPACITY_POWER
    return np.rint(255 * colours).astype(np.uint8)


def ramp_uri() -> str:
    """The colours of `heat_uri` from lowest to highest as one strip, for colour bars."""
    return heat_uri(np.linspace(0, 1, LEVELS)[None])


def side_by_side(maps: Float[np.ndarray, "layer row column"]) -> Float[np.ndarray, "row wide"]:
    """Maps in one row, first to last."""
    return np.concatenate(list(maps), axis=1)


def atlas(maps: Float[np.ndarray, "layer head row column"]) -> Float[np.ndarray, "tall wide"]:
    """Maps as a table: a row of maps for each layer, a column for each head."""
    return np.concatenate([side_by_side(heads) for heads in maps], axis=0)
