"""Image, a map of the ViT and a map of the CNN side by side, the worst failures first, a scale for each model."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from archaeology.dig.directory import RunDirectory
from archaeology.explain.method import title_of
from archaeology.explorer.outcomes import OUTCOMES
from archaeology.figures.terms import method_term
from archaeology.figures.words import number
from archaeology.report.pictures import ATTENTION_UNIT, Scale, attention_scale, heat_uri, shared_scale
from archaeology.report.reading import look, meetings, reading, spread
from archaeology.report.shown import ShownImage

TIMES = "\N{MULTIPLICATION SIGN}"
DEFAULTS = {
    "vit": ("rollout", "rollout"),
    "cnn": ("grad_cam", "grad_cam"),
}  # array and method of runs without a choice
FINEST = 56  # places along a side; finer maps would make the page too large
LEADERBOARD = "leaderboard"


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
class Shown:
    """The method whose maps are shown of one model.

    Attributes:
        method: Its registered name.
        title: Its name in words.
        says: What its maps show, to follow "shows".
        knows_class: Whether they depend on the class answered.
        is_share: Whether they are in multiples of an even share.
        scale: Shared by all of them.
        formula: What was computed, as the run has it; "" where it does not say.
        parameters: With which it was called, in words.
        is_chosen: Whether the leaderboard chose it.
        choice: Who chose it and why, in words; "" for a run that does not say.
    """

    method: str
    title: str
    says: str
    knows_class: bool
    is_share: bool
    scale: Scale
    formula: str
    parameters: str
    is_chosen: bool
    choice: str


@dataclass(frozen=True)
class Pair:
    """One row of the chapter."""

    image: ShownImage
    vit: HeatMap
    cnn: HeatMap
    reading: str = ""


@dataclass(frozen=True)
class Pairs:
    """The chapter.

    Attributes:
        pairs: Rows, the worst failure first.
        filters: Outcome key, words and how many rows, for every outcome that occurs.
        vit: What is shown of the ViT.
        cnn: What is shown of the CNN.
        num_empty: How many maps show no positive evidence.
    """

    pairs: tuple[Pair, ...]
    filters: tuple[tuple[str, str, int], ...]
    vit: Shown
    cnn: Shown
    num_empty: int


def pairs(run: RunDirectory, images: dict[int, ShownImage]) -> Pairs:
    """The rows of `pair_images`, with maps on shared and on own scales."""
    chosen = [int(row) for row in run.specimens.attrs["pair_images"]]
    place = {int(row): at for at, row in enumerate(np.asarray(run.specimens["image_index"]))}
    at = [place[row] for row in chosen]
    (vit_maps, vit), (cnn_maps, cnn) = (_shown(run, model, at) for model in ("vit", "cnn"))
    met = meetings(*([spread(maps[spot]) for spot in at] for maps in (vit_maps, cnn_maps)))
    made = [
        Pair(
            images[row],
            _heat_map(vit_maps[spot], vit),
            _heat_map(cnn_maps[spot], cnn),
            reading(images[row], look(vit_maps[spot]), look(cnn_maps[spot]), meeting),
        )
        for row, spot, meeting in zip(chosen, at, met, strict=True)
    ]
    made.sort(key=lambda pair: (-pair.image.severity, pair.image.row))
    occurring = Counter(pair.image.outcome for pair in made)
    filters = tuple((key, words, occurring[key]) for key, words in OUTCOMES.items() if occurring[key])
    num_empty = sum(heat.state == "empty" for pair in made for heat in (pair.vit, pair.cnn))
    return Pairs(tuple(made), filters, vit, cnn, num_empty)


def _shown(
    run: RunDirectory, model: str, at: list[int]
) -> tuple[Float[np.ndarray, "image row column"], Shown]:
    """All maps of a model in the units they are shown in, and what they are; `at` are those on the page."""
    array, method = DEFAULTS[model]
    facts: dict[str, Any] = {}
    if f"{model}_map" in run.specimens:
        array = f"{model}_map"
        facts = (run.specimens.attrs.get("maps") or {}).get(model) or {}
        method = str(facts.get("method", method))
    term = method_term(method)
    maps, factor = coarser(stored_maps(run, array))
    if term.is_share:
        maps = maps * maps.shape[1] * maps.shape[2] * factor**2
        scale = attention_scale(maps[at], coding="linear")
    else:
        mean = f", mean of {factor} by {factor} pixels" if factor > 1 else ""
        scale = shared_scale(maps[at], coding="linear", unit=term.unit + mean)
    by_leaderboard = facts.get("chosen_by") == LEADERBOARD
    parameters = facts.get("parameters") or {}
    return maps, Shown(
        method=method,
        title=title_of(method),
        says=term.says,
        knows_class=term.knows_class,
        is_share=term.is_share,
        scale=scale,
        formula=str(facts.get("formula") or ""),
        parameters=", ".join(f"{key} {value}" for key, value in parameters.items() if value is not None),
        is_chosen=by_leaderboard,
        choice=_choice(facts, by_leaderboard),
    )


def _choice(facts: dict[str, Any], by_leaderboard: bool) -> str:
    if not facts:
        return ""
    reason = str(facts.get("reason") or "").strip().rstrip(".")
    return ("chosen by the leaderboard" if by_leaderboard else "the default") + (
        f": {reason}" if reason else ""
    )


def rollout_maps(run: RunDirectory) -> Float[np.ndarray, "image row column"]:
    """Rollout in multiples of an even share: 1 where a patch counts as much as if all counted alike."""
    maps = stored_maps(run, "rollout")
    return maps * maps.shape[1] * maps.shape[2]


def stored_maps(run: RunDirectory, name: str) -> Float[np.ndarray, "image row column"]:
    """The maps called `name`; NaN where the run has none, as rollout of a model whose layers see windows."""
    if name not in run.specimens:
        return np.full((len(run.specimens["image_index"]), 1, 1), np.nan)
    return np.asarray(run.specimens[name]).astype(np.float64)


def coarser(
    maps: Float[np.ndarray, "image row column"],
) -> tuple[Float[np.ndarray, "image down across"], int]:
    """Maps with at most `FINEST` places along a side, each the mean of a square block, and the block's side."""
    factor = -(-max(maps.shape[1:]) // FINEST)
    if factor == 1:
        return maps, 1
    for axis in (1, 2):
        starts = np.arange(0, maps.shape[axis], factor)
        sizes = np.diff([*starts.tolist(), maps.shape[axis]])
        shape = [1, 1, 1]
        shape[axis] = len(starts)
        maps = np.add.reduceat(maps, starts, axis=axis) / sizes.reshape(shape)
    return maps, factor


def _heat_map(values: Float[np.ndarray, "row column"], shown: Shown) -> HeatMap:
    if not np.isfinite(values).all():
        return HeatMap("missing")
    peak, scale = float(values.max()), shown.scale
    if peak <= 0:
        return HeatMap("empty")
    own = Scale(scale.low, peak, scale.coding, scale.unit)
    after = TIMES if scale.unit == ATTENTION_UNIT else ""
    return HeatMap("drawn", heat_uri(scale.place(values)), heat_uri(own.place(values)), number(peak) + after)
