"""Weather: snow, frost, fog and glare. After `hendrycks2019benchmarking`, strengths as published."""

import torch

from archaeology.core.shapes import Image
from archaeology.data.corruptions.corruption import corruption
from archaeology.data.corruptions.draws import Draws
from archaeology.data.corruptions.frosted import frosted_pane
from archaeology.data.corruptions.grey import grey
from archaeology.data.corruptions.motion import moved
from archaeology.data.corruptions.plasma import plasma
from archaeology.data.corruptions.zoom import zoomed


@corruption(
    "weather",
    small={
        "mean": (0.1, 0.1, 0.15, 0.25, 0.3),
        "deviation": (0.2, 0.2, 0.3, 0.3, 0.3),
        "zoom": (1.0, 1.0, 1.75, 2.25, 1.25),
        "threshold": (0.6, 0.5, 0.55, 0.6, 0.65),
        "radius": (8, 10, 10, 12, 14),
        "sigma": (3.0, 4.0, 4.0, 6.0, 12.0),
        "kept": (0.95, 0.9, 0.9, 0.85, 0.8),
    },
    large={
        "mean": (0.1, 0.2, 0.55, 0.55, 0.55),
        "deviation": (0.3, 0.3, 0.3, 0.3, 0.3),
        "zoom": (3.0, 2.0, 4.0, 4.5, 2.5),
        "threshold": (0.5, 0.5, 0.9, 0.85, 0.85),
        "radius": (10, 12, 12, 12, 12),
        "sigma": (4.0, 4.0, 8.0, 8.0, 12.0),
        "kept": (0.8, 0.7, 0.7, 0.65, 0.55),
    },
)
def snow(
    images: Image,
    draws: Draws,
    mean: float,
    deviation: float,
    zoom: float,
    threshold: float,
    radius: int,
    sigma: float,
    kept: float,
) -> Image:
    """Flakes (noise, enlarged, cut off below a threshold) fall in streaks over a whitened image.

    Differs: the streaks are not rounded to 8 bits.
    """
    height, width = images.shape[-2:]
    flakes = zoomed(mean + deviation * draws.normal("flakes", 1, height, width), zoom)
    flakes = torch.where(flakes < threshold, 0, flakes).clamp(0, 1)
    flakes = moved(flakes, radius, sigma, -135 + 90 * draws.uniform("angle"))
    white = torch.maximum(images, grey(images) * 1.5 + 0.5)
    return kept * images + (1 - kept) * white + flakes + flakes.rot90(2, (2, 3))


@corruption(
    "weather",
    small={"kept": (1.0, 1.0, 0.9, 0.85, 0.75), "frost": (0.2, 0.3, 0.4, 0.4, 0.45)},
    large={"kept": (1.0, 0.8, 0.7, 0.65, 0.6), "frost": (0.4, 0.6, 0.7, 0.7, 0.75)},
)
def frost(images: Image, draws: Draws, kept: float, frost: float) -> Image:
    """Seen through a frosted pane: a share of the image and a share of the frost.

    Differs: the panes are drawn (`frosted_pane`), not cut out of five photographs, so results on frost are not the
    published ones and should not be compared with them.
    """
    panes = frosted_pane(draws, (images.shape[2], images.shape[3]))
    return kept * images + frost * (panes if images.shape[1] == 3 else grey(panes))


@corruption(
    "weather",
    small={"thickness": (0.2, 0.5, 0.75, 1.0, 1.5), "decay": (3.0, 3.0, 2.5, 2.0, 1.75)},
    large={"thickness": (1.5, 2.0, 2.5, 2.5, 3.0), "decay": (2.0, 2.0, 1.7, 1.5, 1.4)},
)
def fog(images: Image, draws: Draws, thickness: float, decay: float) -> Image:
    """Clouds before the image; the brightest pixel stays as bright."""
    height, width = images.shape[-2:]
    side = 1 << (max(height, width) - 1).bit_length()
    clouds = plasma(draws, side, decay)[:, None, :height, :width]
    brightest = images.flatten(1).max(1).values[:, None, None, None]
    return (images + thickness * clouds) * brightest / (brightest + thickness)


@corruption(
    "weather",
    small={"more": (0.05, 0.1, 0.15, 0.2, 0.3)},
    large={"more": (0.1, 0.2, 0.3, 0.4, 0.5)},
)
def brightness(images: Image, draws: Draws, more: float) -> Image:
    """Glare: the value of hue, saturation and value is raised, up to 1; black becomes grey."""
    value = images.amax(1, keepdim=True)
    raised = (value + more).clamp(max=1)
    return torch.where(value > 0, images * (raised / value.clamp(min=1e-12)), raised)
