"""What stands where a patch was taken away: its image's mean colour, a blurred copy, or black.

No fill is neutral: black is a shape of its own, a blurred patch still tells its colour. So judges take the fill as a
parameter and say which it was.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from archaeology.core.registry import unknown_name
from archaeology.core.shapes import Image
from archaeology.evaluate.trial import Trial


def mean_colour(trial: Trial) -> Image:
    """Each image's mean colour, everywhere."""
    return trial.images.mean(dim=(2, 3), keepdim=True).expand_as(trial.images)


def blurred(trial: Trial) -> Image:
    """The images under a Gaussian whose standard deviation is one side of a patch; the border counts what is there."""
    height, width = trial.images.shape[-2:]
    down = _gaussian(height / trial.grid[0], height, trial.images)
    across = _gaussian(width / trial.grid[1], width, trial.images)
    return (down @ trial.images @ across.mT).clamp(0, 1)


def black(trial: Trial) -> Image:
    """Zero everywhere."""
    return torch.zeros_like(trial.images)


FILLS: dict[str, Callable[[Trial], Image]] = {"mean": mean_colour, "blur": blurred, "black": black}


def fill_of(trial: Trial, fill: str) -> Image:
    """The images that patches are taken from when they are taken away.

    Raises:
        UnknownNameError: If there is no such fill.
    """
    if fill not in FILLS:
        raise unknown_name("fill", fill, list(FILLS))
    if ("fill", fill) not in trial.memo:
        trial.memo["fill", fill] = FILLS[fill](trial)
    return trial.memo["fill", fill]


def _gaussian(spread: float, size: int, like: Tensor) -> Tensor:
    """Weights of all pixels of a line for each pixel of it; rows sum to one."""
    place = torch.arange(size).to(like)
    distance = place[:, None] - place
    return F.softmax(-(distance**2) / (2 * spread**2), dim=1)
