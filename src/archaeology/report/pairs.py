"""Image, ViT rollout and CNN Grad-CAM side by side, the worst failures first, all on one colour scale."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from archaeology.dig.directory import RunDirectory
from archaeology.figures.words import number
from archaeology.report.pictures import Scale, attention_scale, heat_uri, shared_scale
from archaeology.report.shown import FAILURES, ShownImage

TIMES = "\N{MULTIPLICATION SIGN}"
GRAD_CAM_UNIT = "evidence for the predicted class (logit units)"


@dataclass(frozen=True)
class HeatMap:
    """One map over one photo.

    Attributes:
        state: "drawn", "empty" (nothing positive to show) or "missing" (the run has none).
        shared: Data URI on the scale of all images.
        own: Data URI on a scale of its own.
        peak: Its largest value in words.
    """

    state: str
    shared: str = ""
    own: str = ""
    peak: str = ""


@dataclass(frozen=True)
class Pair:
    """One row of the chapter."""

    image: ShownImage
    rollout: HeatMap
    grad_cam: HeatMap


@dataclass(frozen=True)
class Pairs:
    """The chapter.

    Attributes:
        pairs: Rows, the worst failure first.
        filters: Outcome key, words and how many rows, for every outcome that occurs.
        rollout_scale: Shared by all rollouts.
        grad_cam_scale: Shared by all Grad-CAMs.
        num_empty: How many maps show no positive evidence.
    """

    pairs: tuple[Pair, ...]
    filters: tuple[tuple[str, str, int], ...]
    rollout_scale: Scale
    grad_cam_scale: Scale
    num_empty: int


def pairs(run: RunDirectory, images: dict[int, ShownImage]) -> Pairs:
    """The rows of `pair_images`, with maps on shared and on own scales."""
    chosen = [int(row) for row in run.specimens.attrs["pair_images"]]
    place = {int(row): at for at, row in enumerate(np.asarray(run.specimens["image_index"]))}
    rollout, cam = rollout_maps(run), stored_maps(run, "grad_cam")
    at = [place[row] for row in chosen]
    rollout_scale = attention_scale(rollout[at], coding="linear")
    cam_scale = shared_scale(cam[at], coding="linear", unit=GRAD_CAM_UNIT)
    made = [
        Pair(
            images[row],
            _heat_map(rollout[place[row]], rollout_scale, TIMES),
            _heat_map(cam[place[row]], cam_scale, ""),
        )
        for row in chosen
    ]
    made.sort(key=lambda pair: (-pair.image.severity, pair.image.row))
    occurring = Counter(pair.image.outcome for pair in made)
    filters = tuple((key, words, occurring[key]) for key, words in FAILURES.items() if occurring[key])
    maps = [heat for pair in made for heat in (pair.rollout, pair.grad_cam)]
    num_empty = sum(heat.state == "empty" for heat in maps)
    return Pairs(tuple(made), filters, rollout_scale, cam_scale, num_empty)


def rollout_maps(run: RunDirectory) -> Float[np.ndarray, "image row column"]:
    """Rollout in multiples of an even share: 1 where a patch counts as much as if all counted alike."""
    maps = stored_maps(run, "rollout")
    return maps * maps.shape[1] * maps.shape[2]


def stored_maps(run: RunDirectory, name: str) -> Float[np.ndarray, "image row column"]:
    """The maps called `name`; NaN where the run has none, as rollout of a model whose layers see windows."""
    if name not in run.specimens:
        return np.full((len(run.specimens["image_index"]), 1, 1), np.nan)
    return np.asarray(run.specimens[name]).astype(np.float64)


def _heat_map(values: Float[np.ndarray, "row column"], scale: Scale, after: str) -> HeatMap:
    if not np.isfinite(values).all():
        return HeatMap("missing")
    peak = float(values.max())
    if peak <= 0:
        return HeatMap("empty")
    own = Scale(scale.low, peak, scale.coding, scale.unit)
    return HeatMap("drawn", heat_uri(scale.place(values)), heat_uri(own.place(values)), number(peak) + after)
