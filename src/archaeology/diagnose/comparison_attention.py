"""What training did to the attention of a model that already knew something: before and after, on the same images.

Patterns are compared by the Jensen-Shannon divergence (`lin1991divergence`) of their rows, in bits: 0 for the same
pattern, 1 for patterns that have no key in common. How far the patterns of two different images lie apart, in the model
as it was before, says what is much.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from archaeology.capture import CapturedPattern, capture
from archaeology.core.bootstrap import Intervals, bootstrap_of
from archaeology.core.errors import SelfCheckError
from archaeology.core.shapes import Pattern
from archaeology.diagnose.comparison_answers import TestImages
from archaeology.diagnose.comparison_grids import CommonGrid
from archaeology.diagnose.comparison_groups import Group
from archaeology.diagnose.comparison_runs import ComparedRun
from archaeology.specimens.load import load
from archaeology.specimens.run import load_run
from archaeology.specimens.specimen import Specimen
from archaeology.stats import attention_distance, entropy, patch_distances
from archaeology.stats.survey import images_per_pass

QUANTITIES = (
    "divergence",
    "between_images",
    "entropy_before",
    "entropy_after",
    "entropy_change",
    "distance_before",
    "distance_after",
    "distance_change",
)
PerImage = Float[np.ndarray, "image head quantity"]


@dataclass(frozen=True, eq=False)
class LayerChange:
    """One attention layer.

    Attributes:
        module: Its path.
        heads: Of every quantity the mean over images and queries, for each head, with an interval over images; NaN
            where it is not defined. "divergence" in bits; "between_images" likewise, of two images before training;
            "entropy_..." as a share of the largest possible one, log of the number of keys; "distance_..." in sides of
            the image, so that sizes can be compared; changes are after minus before.
        values: The same of every image.
    """

    module: str
    heads: Mapping[str, Intervals]
    values: PerImage


@dataclass(frozen=True, eq=False)
class AttentionChange:
    """What a group did to the attention it started from, on average over its seeds.

    Attributes:
        group: Its name.
        origin: The specimen it started from (of the first seed).
        seeds: That were looked at.
        num_images: They were shown.
        grid: In words, how the two grids of patches go together.
        layers: In the order of the pass.
        overall: Mean divergence over all heads, with an interval over images.
        usual: Mean divergence between different images before training, likewise.
    """

    group: str
    origin: str
    seeds: tuple[int, ...]
    num_images: int
    grid: str
    layers: tuple[LayerChange, ...]
    overall: Intervals
    usual: Intervals


def attention_changes(
    groups: Sequence[Group], test: TestImages, count: int
) -> tuple[tuple[AttentionChange, ...], list[str]]:
    """Every group that started from a specimen, and why some of them could not be looked at.

    Args:
        groups: Those without a finished run, or from fresh weights, are passed over.
        test: What the models are shown.
        count: How many images.
    """
    changes, notes = [], []
    for group in groups:
        runs = [run for run in group.finished if run.origin]
        if not runs:
            continue
        try:
            changes.append(attention_change(group.name, runs, test, count))
        except (ValueError, OSError, ImportError, SelfCheckError) as error:
            notes.append(f"attention before and after {group.name} was not compared: {error}")
    return tuple(changes), notes


def attention_change(name: str, runs: Sequence[ComparedRun], test: TestImages, count: int) -> AttentionChange:
    """What these runs, which differ by their seed alone, did to the attention of what they started from."""
    by_seed, grid, modules = [], "", ()
    for run in runs:
        before, after = load(str(run.origin), device="cpu"), load_run(run.folder)
        images = torch.from_numpy(np.array(test.decoded(after.image_size, count).images))
        values, modules = change_values(before, after, images)
        grid = grid_words(before, after)
        by_seed.append(values)
    layers = [np.mean(same, axis=0) for same in zip(*by_seed, strict=True)]
    whole = np.concatenate([layer.transpose(0, 2, 1) for layer in layers], axis=2).mean(axis=2)
    overall, usual = (over_images(whole[:, QUANTITIES.index(q)]) for q in ("divergence", "between_images"))
    return AttentionChange(
        group=name,
        origin=str(runs[0].origin),
        seeds=tuple(run.seed for run in runs),
        num_images=len(whole),
        grid=grid,
        layers=tuple(
            LayerChange(
                module, {q: over_images(layer[:, :, place]) for place, q in enumerate(QUANTITIES)}, layer
            )
            for module, layer in zip(modules, layers, strict=True)
        ),
        overall=overall,
        usual=usual,
    )


def over_images(samples: Float[np.ndarray, "image ..."]) -> Intervals:
    """Over images; NaN where a number is not known for all of them."""
    known = np.isfinite(samples).all(axis=0)
    found = bootstrap_of(np.where(known, samples, 0.0), lambda means: means)
    value, low, high = (np.where(known, array, np.nan) for array in (found.value, found.low, found.high))
    return Intervals(value, low, high, found.n, found.level)


def grid_words(before: Specimen, after: Specimen) -> str:
    """How the two grids of patches go together."""
    assert before.layout is not None and after.layout is not None
    (rows, columns), (new_rows, new_columns) = (
        (layout.rows, layout.columns) for layout in (before.layout, after.layout)
    )
    if (rows, columns) == (new_rows, new_columns):
        return f"the same {rows} x {columns} patches"
    common = CommonGrid(before.layout, after.layout).layout
    return (
        f"{rows} x {columns} patches before and {new_rows} x {new_columns} after; patterns are compared on "
        f"{common.rows} x {common.columns} cells"
    )


def change_values(
    before: Specimen, after: Specimen, images: Tensor
) -> tuple[list[PerImage], tuple[str, ...]]:
    """Every quantity of every image and head, layer by layer, and the paths of the layers.

    Raises:
        ValueError: If the two cannot be compared; says why.
    """
    if before.layout is None or after.layout is None:
        raise ValueError("one of the two models has no tokens, so it does not attend")
    grid = CommonGrid(before.layout, after.layout)
    reason = grid.why_not()
    if reason:
        raise ValueError(reason)
    parts = []
    modules: tuple[str, ...] = ()
    for part in images.split(min(images_per_pass(before), images_per_pass(after))):
        with torch.no_grad():
            old, new = capture(before, part).attentions, capture(after, part).attentions
        check_layers(old, new)
        modules = tuple(layer.module.removesuffix(".mechanism") for layer in new)
        pairs = zip(old, new, strict=True)
        parts.append([_layer_values(a, b, before, after, grid, len(part)) for a, b in pairs])
    return [np.concatenate(same) for same in zip(*parts, strict=True)], modules


def check_layers(old: Sequence[CapturedPattern], new: Sequence[CapturedPattern]) -> None:
    """Raise unless layers and heads of two models go together.

    Raises:
        ValueError: Saying what differs.
    """
    ours, theirs = ([layer.pattern.shape[1] for layer in layers] for layers in (old, new))
    if ours != theirs or [layer.kind for layer in old] != [layer.kind for layer in new]:
        raise ValueError(
            f"layers must correspond, but the heads of the layers are {ours} before and {theirs} after"
        )


def _layer_values(
    old: CapturedPattern,
    new: CapturedPattern,
    before: Specimen,
    after: Specimen,
    grid: CommonGrid,
    num_images: int,
) -> PerImage:
    first, second = _alike(old, new, grid)
    entropies = [_entropy(layer.pattern, num_images) for layer in (old, new)]
    distances = [_distance(layer, specimen, num_images) for layer, specimen in ((old, before), (new, after))]
    apart = _per_image(divergence(first, second), num_images)
    turned = first.reshape(num_images, -1, *first.shape[1:]).roll(1, dims=0).reshape(first.shape)
    usual = _per_image(divergence(first, turned), num_images)
    if num_images == 1:  # there is no other image
        usual = torch.full_like(usual, math.nan)
    columns = [apart, usual]
    for earlier, later in (entropies, distances):
        columns += [earlier, later, later - earlier]
    return torch.stack([column.double() for column in columns], dim=-1).numpy()


def _alike(old: CapturedPattern, new: CapturedPattern, grid: CommonGrid) -> tuple[Pattern, Pattern]:
    """Both patterns among the same tokens."""
    first, second = (layer.pattern.clamp(min=0) for layer in (old, new))
    if first.shape == second.shape:
        return first, second
    sizes = [layout.num_tokens for layout in (grid.first, grid.second)]
    if (old.kind, [first.shape[-1], second.shape[-1]]) != ("token", sizes):
        raise ValueError(
            f"the images have other sizes, and {new.module} does not attend among all patches, so its patterns before "
            "and after have no place in common"
        )
    return grid.pooled(first, grid.first), grid.pooled(second, grid.second)


def divergence(first: Pattern, second: Pattern) -> Float[Tensor, "batch head query"]:
    """Jensen-Shannon divergence of every row of one pattern from that of the other, in bits, in [0, 1].

    Rows are divided by their sums; rows of zeros give NaN.
    """
    p, q = (pattern / pattern.sum(dim=-1, keepdim=True) for pattern in (first, second))
    gap = entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2
    return (gap / math.log(2)).clamp(0, 1)


def _entropy(pattern: Pattern, num_images: int) -> Float[Tensor, "image head"]:
    """As a share of log(keys)."""
    share = entropy(pattern.clamp(min=0)) / math.log(max(pattern.shape[-1], 2))
    return _per_image(share, num_images)


def _distance(layer: CapturedPattern, specimen: Specimen, num_images: int) -> Float[Tensor, "image head"]:
    """Of patches to patches, in sides of the image (its height); NaN where keys have no place."""
    layout = specimen.layout
    pattern = layer.pattern.clamp(min=0)
    if (
        layout is None
        or layer.kind != "token"
        or layout.order != "flat"
        or pattern.shape[-1] != layout.num_tokens
    ):
        return torch.full((num_images, pattern.shape[1]), math.nan)
    height, width = specimen.image_size
    patch = (1 / layout.rows, width / height / layout.columns)
    start = layout.num_prefix
    return _per_image(
        attention_distance(pattern[:, :, start:, start:], patch_distances(layout, patch)), num_images
    )


def _per_image(rows: Float[Tensor, "batch head query"], num_images: int) -> Float[Tensor, "image head"]:
    """Means over the queries of an image, those of its windows together."""
    return rows.reshape(num_images, -1, *rows.shape[1:]).transpose(1, 2).flatten(2).nanmean(dim=2)
