"""Patches in colour: what the features of patches tell apart, seen without a single label.

The first principal component of all patches of all images often parts objects from their ground; the next three of the
object's patches, as red, green and blue, give like parts like colours, in every image alike (`oquab2024learning`).
Differs: the sign of the first component, which PCA leaves open, is such that the border of images is ground rather than
object; the threshold is Otsu's (`otsu1979threshold`) and not a number chosen by eye; colours run from the first to the
99th percentile over all images, so they can be compared.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from archaeology.capture.record import unit_images
from archaeology.core.halving import in_halves
from archaeology.represent.features import (
    Images,
    check_finite,
    image_ids,
    images_at,
    images_per_pass,
    layer_tokens,
)
from archaeology.represent.places import checked_layers, layer_paths
from archaeology.represent.projections import principal
from archaeology.specimens.specimen import Specimen

BINS = 256
TAILS = (1.0, 99.0)  # percentiles that become black and full colour


@dataclass(frozen=True, eq=False)
class PatchFeatures:
    """What a layer says of every patch of every image.

    Attributes:
        values: Images, patches, features, in float32.
        prefix: Tokens before the patches.
        prefix_names: Their names.
        ids: Of the images.
        specimen: Name of the model.
        layer: Module path.
    """

    values: Float[np.ndarray, "image row column embed"]
    prefix: Float[np.ndarray, "image front embed"]
    prefix_names: tuple[str, ...]
    ids: tuple[str, ...]
    specimen: str
    layer: str

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        return self.values.shape[1], self.values.shape[2]

    @property
    def name(self) -> str:
        """Model and layer."""
        return f"{self.specimen} {self.layer}"


@dataclass(frozen=True, eq=False)
class PatchColours:
    """Patches as colours.

    Attributes:
        colours: Red, green and blue in [0, 1]; 0 on the ground.
        first: The first component of all patches, in units of the features; the ground is low.
        threshold: Above which a patch is object.
        is_object: Patches above it.
        explained: Share of variance of the first component, then of the three among the object's patches.
        ids: Of the images.
        name: Of the features.
    """

    colours: Float[np.ndarray, "image row column 3"]
    first: Float[np.ndarray, "image row column"]
    threshold: float
    is_object: Bool[np.ndarray, "image row column"]
    explained: tuple[float, float, float, float]
    ids: tuple[str, ...]
    name: str


def patch_features(
    specimen: Specimen, images: Images, *, layer: str | None = None, batch_size: int | None = None
) -> PatchFeatures:
    """Features of every patch, or of every place of a map.

    Args:
        specimen: A model with tokens, or whose layer returns a map.
        images: Not so many that a vector for each patch would not fit into memory.
        layer: Module path; the last layer if None.
        batch_size: Images at once; by itself if None.

    Raises:
        UnknownNameError: If there is no such layer.
        ValueError: If the layer's tokens do not lie on a grid, or a feature is not finite.
    """
    path = layer_paths(specimen)[-1] if layer is None else checked_layers(specimen, (layer,))[0]
    if len(images) == 0:
        raise ValueError("patch_features needs at least one image, but got none.")

    def run(which: slice) -> tuple[np.ndarray, np.ndarray, tuple[str, ...], list[str]]:
        batch = images_at(images, np.arange(which.start, which.stop))
        tokens = layer_tokens(specimen, batch, [path])[path]
        if tokens.grid is None:
            raise ValueError(
                f"patches need a grid of rows and columns, but the tokens of {path} in {specimen.name} are not known "
                "to lie on one; name another layer."
            )
        places = tokens.patches.unflatten(1, tokens.grid).float().cpu().numpy()
        return places, tokens.prefix.float().cpu().numpy(), tokens.names, image_ids(batch)

    parts = [part for _, part in in_halves(run, len(images), batch_size or images_per_pass(specimen))]
    values, prefix = (np.concatenate([part[at] for part in parts]) for at in (0, 1))
    check_finite(values.reshape(len(values), -1), f"{specimen.name} {path}")
    ids = tuple(name for part in parts for name in part[3])
    return PatchFeatures(values, prefix, parts[0][2], ids, specimen.name, path)


def patch_colours(patches: PatchFeatures) -> PatchColours:
    """Every patch's colour, the same rule for all images.

    Raises:
        ValueError: If all patches have the same features, or the grid has no inside to tell from its border.
    """
    count, rows, columns, _ = patches.values.shape
    flat = patches.values.reshape(count * rows * columns, -1).astype(np.float64)
    if not np.ptp(flat, axis=0).any():
        raise ValueError(
            f"colours need patches that differ, but all have the same features in {patches.name}."
        )
    if min(rows, columns) < 3:
        raise ValueError(
            f"the border is told from the inside on a grid of at least 3 x 3 patches, but {patches.name} has "
            f"{rows} x {columns}; use another layer."
        )
    component, share = principal(flat, 1)
    first = component.reshape(count, rows, columns)
    border = np.ones((rows, columns), dtype=bool)
    border[1:-1, 1:-1] = False
    if first[:, border].mean() > first[:, ~border].mean():
        first = -first
    threshold = otsu(first.ravel())
    is_object = first > threshold
    chosen = flat[is_object.ravel()]
    parts, shares = principal(chosen, 3) if len(chosen) > 1 else (np.zeros((len(chosen), 3)), np.zeros(3))
    low, high = np.percentile(parts, TAILS, axis=0) if len(parts) else (np.zeros(3), np.ones(3))
    colours = np.zeros((count, rows, columns, 3))
    colours[is_object] = np.clip((parts - low) / np.where(high > low, high - low, 1), 0, 1)
    return PatchColours(
        colours,
        first,
        threshold,
        is_object,
        (float(share[0]), *(float(part) for part in shares)),  # pyright: ignore[reportArgumentType]
        patches.ids,
        patches.name,
    )


def plain_colours(patches: PatchFeatures) -> Float[np.ndarray, "image row column 3"]:
    """The first three components of all patches as red, green and blue in [0, 1], the same for all images.

    Nothing is called ground: in a model trained with labels the first component often parts classes and not places.

    Raises:
        ValueError: If all patches have the same features.
    """
    flat = patches.values.reshape(-1, patches.values.shape[-1]).astype(np.float64)
    if not np.ptp(flat, axis=0).any():
        raise ValueError(
            f"colours need patches that differ, but all have the same features in {patches.name}."
        )
    parts, _ = principal(flat, 3)
    low, high = np.percentile(parts, TAILS, axis=0)
    scaled = np.clip((parts - low) / np.where(high > low, high - low, 1), 0, 1)
    return scaled.reshape(*patches.values.shape[:3], 3)


def otsu(values: Float[np.ndarray, " value"]) -> float:
    """The threshold that parts values into two groups as far apart as can be; the middle of the best ones."""
    counts, edges = np.histogram(values, BINS)
    middles = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1]
    above = len(values) - below
    total = np.cumsum(counts * middles)
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = below * above * (total[:-1] / below - (total[-1] - total[:-1]) / above) ** 2
    apart = np.where((below > 0) & (above > 0), apart, -1)
    best = np.flatnonzero(apart >= apart.max() * (1 - 1e-12))
    return float(edges[1:-1][best].mean())


def pixels_of(images: Images, rows: np.ndarray) -> np.ndarray:
    """Some images as 8-bit `(image, height, width, channel)`, for a figure."""
    batch = unit_images(images_at(images, rows), images_at(images, rows).device).cpu()
    return (255 * batch).round().byte().movedim(1, -1).numpy()
