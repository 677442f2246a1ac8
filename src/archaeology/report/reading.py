"""A line of reading for each pair of maps: where each model looked, how far the maps overlap, how sure the answers are.

Every word comes from a number and a named threshold below; where no threshold is passed, only the number is said. What
two maps would share anyway is measured, not assumed: it is the overlap with the other model's maps of *other* images.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from archaeology.figures.words import THIN, percent, points
from archaeology.report.shown import ShownImage

CENTRE = 0.5  # of height and of width: the middle of the image, a quarter of its area
RIM = 0.125  # of height and of width on each side: the edges, 7/16 of its area
FAVOURED = 1.5  # times its area: from here on a region is named
FEW_PLACES = 0.15  # of the area holds half of the map: it lies "on a few places"
ALL_OVER = 0.40  # of the area is needed to hold half of the map: it lies "all over the image"
ALIKE = 0.95  # share of mismatched pairs that overlap less: the maps lie "at the same places"
UNLIKE = 0.05  # likewise: "at different places"
FEWEST_MISMATCHED = 20  # pairs, without which no word is said about overlap
NOWHERE = "nowhere in particular"  # where neither centre nor edges are favoured, nor few places
SURER = 0.20  # difference of confidence from which one model is called surer

Map = Float[np.ndarray, "_ _"]  # rows and columns; two models have grids of their own


@dataclass(frozen=True)
class Look:
    """Where a map lies, as shares from 0 to 1.

    Attributes:
        centre: Of its mass in the middle quarter of the image (0.25 for a map that is the same everywhere).
        edge: Of its mass along the edges (0.4375 likewise).
        half_area: The least share of the image's area that holds half of its mass (0.5 likewise).
    """

    centre: float
    edge: float
    half_area: float


def look(heat: Map) -> Look | None:
    """Where a map lies; None for one that is unknown or nowhere positive."""
    mass = spread(heat)
    if mass is None:
        return None
    rows, columns = heat.shape
    inside = np.outer(cover(rows, CENTRE), cover(columns, CENTRE))
    within = np.outer(cover(rows, 1 - 2 * RIM), cover(columns, 1 - 2 * RIM))
    return Look(float((mass * inside).sum()), float((mass * (1 - within)).sum()), _half_area(mass))


def spread(heat: Map) -> Map | None:
    """A map as shares that sum to 1, negative values as none; None where there is nothing to share out."""
    if not np.isfinite(heat).all():
        return None
    positive = np.maximum(heat.astype(np.float64), 0)
    total = positive.sum()
    return positive / total if total > 0 else None


def cover(count: int, part: float) -> Float[np.ndarray, " place"]:
    """How much of each of `count` equal places lies in the middle `part` of a line."""
    edges = np.linspace(0, 1, count + 1)
    low, high = (1 - part) / 2, (1 + part) / 2
    return np.clip(np.minimum(edges[1:], high) - np.maximum(edges[:-1], low), 0, None) * count


def _half_area(mass: Map) -> float:
    """The fullest places one after another, the last one in part."""
    fullest = np.sort(mass.ravel())[::-1]
    held = np.cumsum(fullest)
    place = int(np.searchsorted(held, 0.5 - 1e-12))
    before = held[place - 1] if place else 0.0
    return float((place + (0.5 - before) / fullest[place]) / mass.size)


def overlap(one: Map, other: Map) -> float:
    """The mass two maps have in common: the integral of the lesser density, 1 for the same map, 0 for disjoint ones.

    Neither is resampled: both are constant on their own places, so the integral over the common refinement is exact.
    """
    rows, columns = (_refined(a, b) for a, b in zip(one.shape, other.shape, strict=True))
    densities = [
        heat[np.ix_(_places(rows, heat.shape[0]), _places(columns, heat.shape[1]))] * heat.size
        for heat in (one, other)
    ]
    area = np.outer(np.diff(rows), np.diff(columns))
    return float((np.minimum(*densities) * area).sum())


def _refined(first: int, second: int) -> Float[np.ndarray, " edge"]:
    edges = np.concatenate([np.arange(first + 1) / first, np.arange(second + 1) / second])
    return np.unique(edges.round(12))


def _places(edges: Float[np.ndarray, " edge"], count: int) -> np.ndarray:
    middles = np.array([(low + high) / 2 for low, high in pairwise(edges.tolist())])
    return np.minimum((middles * count).astype(int), count - 1)


@dataclass(frozen=True)
class Meeting:
    """How far the maps of one image overlap.

    Attributes:
        share: Of their mass, 0 to 1.
        above: Share of mismatched pairs (one map of this image, the other of another) that overlap less; NaN where
            there are too few of them.
    """

    share: float
    above: float


def meetings(vit: Sequence[Map | None], cnn: Sequence[Map | None]) -> list[Meeting | None]:
    """The overlap of every image's two maps against mismatched pairs; None where one has no map."""
    table = np.array([[np.nan if a is None or b is None else overlap(a, b) for b in cnn] for a in vit])
    found: list[Meeting | None] = []
    for at in range(len(vit)):
        share = float(table[at, at]) if len(table) else float("nan")
        if not np.isfinite(share):
            found.append(None)
            continue
        others = np.concatenate([np.delete(table[at], at), np.delete(table[:, at], at)])
        others = others[np.isfinite(others)]
        enough = len(others) >= FEWEST_MISMATCHED
        found.append(Meeting(share, float((others < share).mean()) if enough else float("nan")))
    return found


def where(place: Look) -> str:
    """Where a map lies, in words and numbers."""
    half = f"half of it on {percent(place.half_area, 0)} of the image"
    if place.half_area >= ALL_OVER:
        return f"all over the image ({half})"
    said = [
        name
        for name, share, even in (
            ("at the centre", place.centre, CENTRE**2),
            ("at the edges", place.edge, 1 - (1 - 2 * RIM) ** 2),
        )
        if share >= FAVOURED * even
    ]
    if place.half_area <= FEW_PLACES:
        said.insert(0, "on a few places")
    shares = f"centre {percent(place.centre, 0)}, edges {percent(place.edge, 0)}, {half}"
    return f"{' '.join(said) or NOWHERE} ({shares})"


def together(meeting: Meeting) -> str:
    """What is said of the overlap of two maps."""
    said = f"They overlap by {percent(meeting.share, 0)}"
    if not np.isfinite(meeting.above):
        return f"{said}."
    against = _against(meeting.above)
    if meeting.above >= ALIKE:
        return f"{said}, {against}: at the same places."
    if meeting.above <= UNLIKE:
        return f"{said}, {against}: at different places."
    return f"{said}, {against}."


def _against(above: float) -> str:
    """A share that rounds to all or none is not said to be all or none unless it is."""
    if above == 0:
        return "and no maps of different images overlap less"
    if above == 1:
        return "more than all maps of different images do"
    whole = {0: "fewer than 1", 100: "over 99"}.get(round(100 * above))
    share = f"{whole}{THIN}%" if whole else percent(above, 0)
    return f"more than {share} of maps of different images do"


def sureness(image: ShownImage) -> str:
    """Who is surer, where the difference passes its threshold; else nothing."""
    gap = image.vit.probability - image.cnn.probability
    if not abs(gap) >= SURER:
        return ""
    return f"The {'ViT' if gap > 0 else 'CNN'} is surer by {points(abs(gap), 0)} points."


def reading(image: ShownImage, vit: Look | None, cnn: Look | None, meeting: Meeting | None) -> str:
    """The whole line for one image."""
    said = [
        f"The {name}'s map lies {where(place)}." if place else f"There is no map of the {name} to read."
        for name, place in (("ViT", vit), ("CNN", cnn))
    ]
    if meeting is not None:
        said.append(together(meeting))
    return " ".join([*said, sureness(image)]).strip()
