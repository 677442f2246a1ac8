"""Objects found from features alone: cut the graph of patches where few like patches are joined.

TokenCut (`wang2022self`): patches whose cosine similarity exceeds a threshold are joined, the normalised cut
(`shi2000normalized`) is read off the second eigenvector, the side with the largest entry is the object, and of it the
part that hangs together with that patch. Differs: features are a layer's output and not the keys of the last layer; the
threshold is each image's mean similarity unless one is given, since features of other models than DINO are all alike or
all unlike; and a box in the middle of the image, which is often right, is there to compare with.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import linalg, ndimage

from archaeology.core.intervals import Interval, bootstrap_mean, paired_bootstrap, wilson
from archaeology.represent.patches import PatchFeatures

WEAK = 1e-5  # weight of two patches that are not alike, so that the graph hangs together
HIT = 0.5  # overlap of boxes from which on an object counts as found


@dataclass(frozen=True, eq=False)
class FoundObjects:
    """One object for each image.

    Attributes:
        is_object: Patches of it.
        boxes: x_min, y_min, x_max, y_max as shares of the image's width and height.
        eigenvector: Of the cut, larger on the object.
        threshold: Cosine similarity from which on patches were joined, by image.
        name: Of the features.
    """

    is_object: Bool[np.ndarray, "image row column"]
    boxes: Float[np.ndarray, "image 4"]
    eigenvector: Float[np.ndarray, "image row column"]
    threshold: Float[np.ndarray, " image"]
    name: str


@dataclass(frozen=True)
class ObjectScore:
    """How good found objects are, against a box in the middle of the image.

    Attributes:
        found: Share of images whose box overlaps the true one by half or more (CorLoc).
        overlap: Mean overlap of the boxes.
        middle_found: The first for the middle box.
        middle_overlap: The second for the middle box.
        gain: Overlap less that of the middle box, paired over images.
        mask_overlap: Mean overlap of the patches with the true mask; None without masks.
    """

    found: Interval
    overlap: Interval
    middle_found: Interval
    middle_overlap: Interval
    gain: Interval
    mask_overlap: Interval | None


def find_objects(patches: PatchFeatures, *, threshold: float | None = None) -> FoundObjects:
    """The most salient object of each image, by a normalised cut of its patches.

    Args:
        patches: Features of patches on a grid.
        threshold: Cosine similarity from which on patches are joined, 0.2 in the paper for keys of DINO; the image's
            mean similarity if None.

    Raises:
        ValueError: If the grid has fewer than 2 x 2 patches, or the threshold is no cosine.
    """
    rows, columns = patches.grid
    if rows * columns < 4 or (threshold is not None and not -1 <= threshold <= 1):
        raise ValueError(
            f"find_objects needs at least 4 patches and a threshold in [-1, 1], but got {rows} x {columns} patches and "
            f"{threshold=}."
        )
    found = [_cut(image.reshape(rows * columns, -1), (rows, columns), threshold) for image in patches.values]
    masks = np.stack([mask for mask, _, _ in found])
    vectors = np.stack([vector for _, vector, _ in found])
    thresholds = np.array([limit for _, _, limit in found])
    return FoundObjects(masks, boxes_of(masks), vectors, thresholds, patches.name)


def _cut(
    tokens: Float[np.ndarray, "patch embed"], grid: tuple[int, int], threshold: float | None
) -> tuple[np.ndarray, np.ndarray, float]:
    rows = tokens.astype(np.float64)
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    alike = rows @ rows.T
    limit = float(alike.mean()) if threshold is None else threshold
    weight = np.where(alike > limit, 1.0, WEAK)
    degree = weight.sum(axis=1)
    root = 1 / np.sqrt(degree)
    laplacian = np.eye(len(rows)) - root[:, None] * weight * root[None]
    _, vectors = linalg.eigh(laplacian, subset_by_index=(0, 1))
    vector = root * vectors[:, 1]
    inside = vector > vector.mean()
    seed = int(np.abs(vector - vector.mean()).argmax())
    if not inside[seed]:
        vector, inside = -vector, ~inside
    inside = inside.reshape(grid)
    parts: Int[np.ndarray, "row column"] = np.asarray(ndimage.label(inside)[0])  # pyright: ignore[reportIndexIssue]
    return parts == parts.ravel()[seed], vector.reshape(grid), limit


def boxes_of(masks: Bool[np.ndarray, "image row column"]) -> Float[np.ndarray, "image 4"]:
    """The smallest box around each mask, as shares of width and height; NaN around nothing."""
    _, rows, columns = masks.shape
    boxes = np.full((len(masks), 4), np.nan)
    for place, mask in enumerate(masks):
        if mask.any():
            down, across = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            boxes[place] = (
                across[0] / columns,
                down[0] / rows,
                (across[-1] + 1) / columns,
                (down[-1] + 1) / rows,
            )
    return boxes


def box_overlap(
    first: Float[np.ndarray, "image 4"], second: Float[np.ndarray, "image 4"]
) -> Float[np.ndarray, " image"]:
    """Intersection over union of boxes, pair by pair; 0 where one is NaN."""
    low, high = np.maximum(first[:, :2], second[:, :2]), np.minimum(first[:, 2:], second[:, 2:])
    common = np.clip(high - low, 0, None).prod(axis=1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (first, second)]
    return np.nan_to_num(common / (areas[0] + areas[1] - common))


def score_objects(
    found: FoundObjects,
    boxes: Float[np.ndarray, "image 4"],
    *,
    masks: Bool[np.ndarray, "image height width"] | None = None,
    seed: int = 0,
) -> ObjectScore:
    """Compare found objects with true ones.

    Args:
        found: Of `find_objects`.
        boxes: True ones, as shares of width and height; finite.
        masks: True ones, of a size that the grid divides, if known.
        seed: Of the bootstrap.

    Raises:
        ValueError: If there are more or fewer boxes than images, one is not known, or masks do not fit the grid.
    """
    if len(boxes) != len(found.boxes) or not np.isfinite(boxes).all():
        raise ValueError(
            f"score_objects needs a finite box for each of {len(found.boxes)} images, but got {len(boxes)} with "
            f"{int((~np.isfinite(boxes).all(axis=1)).sum())} unknown; leave out images without an object."
        )
    overlap = box_overlap(found.boxes, boxes)
    middle = box_overlap(np.tile([0.25, 0.25, 0.75, 0.75], (len(boxes), 1)), boxes)
    return ObjectScore(
        found=wilson(int((overlap >= HIT).sum()), len(boxes)),
        overlap=bootstrap_mean(overlap, seed=seed),
        middle_found=wilson(int((middle >= HIT).sum()), len(boxes)),
        middle_overlap=bootstrap_mean(middle, seed=seed),
        gain=paired_bootstrap(overlap, middle, seed=seed),
        mask_overlap=None
        if masks is None
        else bootstrap_mean(_mask_overlap(found.is_object, masks), seed=seed),
    )


def _mask_overlap(
    patches: Bool[np.ndarray, "image row column"], masks: Bool[np.ndarray, "image height width"]
) -> Float[np.ndarray, " image"]:
    down, across = masks.shape[1] / patches.shape[1], masks.shape[2] / patches.shape[2]
    if len(masks) != len(patches) or down % 1 or across % 1:
        raise ValueError(
            f"masks must be one for each image, of a size that {patches.shape[1]} x {patches.shape[2]} patches divide, "
            f"but got {masks.shape}."
        )
    fine = patches.repeat(int(down), axis=1).repeat(int(across), axis=2)
    common, either = (fine & masks).sum(axis=(1, 2)), (fine | masks).sum(axis=(1, 2))
    return common / np.maximum(either, 1)
