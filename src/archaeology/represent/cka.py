"""CKA of two feature sets held in memory, and the shape distance that is a metric.

`layer_similarity` does the same for all layers of two models without holding anything. Sources:
`kornblith2019similarity`, `williams2021generalized` (Procrustes).
"""

import numpy as np
from jaxtyping import Float

from archaeology.represent.features import Features, check_finite, check_same_images
from archaeology.represent.hsic import (
    Gram,
    check_count,
    check_estimator,
    check_kernel,
    hsic,
    is_constant,
    linear_gram,
    median_distance,
    rbf_gram,
)


def cka(
    first: Features,
    second: Features,
    *,
    kernel: str = "linear",
    estimator: str = "unbiased",
    width: float = 1.0,
) -> float:
    """Centred kernel alignment of two feature sets of the same images.

    Args:
        first: Of any model and layer.
        second: Of the same images in the same order.
        kernel: "linear" or "rbf".
        estimator: Of HSIC, "unbiased" or "biased".
        width: Of the rbf kernel, as a share of the median distance between two images in that feature set.

    Returns:
        1 for the same likenesses, 0 for none; the unbiased estimate may be a little negative.

    Raises:
        UnknownNameError: If there is no such kernel or estimator.
        ValueError: If the images differ or are too few, a feature is not finite, or a feature set is constant, so that
            CKA is not defined; names it.
    """
    check_kernel(kernel)
    check_estimator(estimator)
    check_same_images(first, second)
    check_count(len(first), estimator)
    grams = [gram_of(features, kernel, width) for features in (first, second)]
    both, one, other = (hsic(grams[a], grams[b], estimator=estimator) for a, b in ((0, 1), (0, 0), (1, 1)))
    return float(both / np.sqrt(one * other))


def gram_of(features: Features, kernel: str, width: float) -> Gram:
    """The Gram matrix of a feature set.

    Raises:
        ValueError: If a feature is not finite, or all images have the same; names the feature set.
    """
    check_finite(features.values, features.name)
    if is_constant(features.values):
        raise ValueError(
            f"CKA is not defined where all images have the same features, as they do in {features.name}; choose "
            "another layer or readout."
        )
    if kernel == "linear":
        return linear_gram(features.values)
    return rbf_gram(features.values, checked_width(width) * usable_median(features.values, features.name))


def usable_median(values: Float[np.ndarray, "image feature"], name: str) -> float:
    """The median distance, known to be more than nothing.

    Raises:
        ValueError: If most images have the same features.
    """
    median = median_distance(values)
    if median <= 0:
        raise ValueError(
            f"the rbf kernel is as wide as the median distance, but most images have the same features in {name}; "
            "leave duplicates out, or use kernel='linear'."
        )
    return median


def checked_width(width: float) -> float:
    """The width of an rbf kernel, known to be positive."""
    if not width > 0:
        raise ValueError(f"width must be positive, a share of the median distance, but got {width=}.")
    return width


def procrustes_distance(first: Features, second: Features) -> float:
    """The angle, in radians, between two feature sets after the best rotation: a metric, 0 to pi / 2.

    Raises:
        ValueError: If the images differ, a feature is not finite, or a feature set is constant.
    """
    check_same_images(first, second)
    made = []
    for features in (first, second):
        check_finite(features.values, features.name)
        if is_constant(features.values):
            raise ValueError(
                f"no shape is left where all images have the same features, as in {features.name}."
            )
        rows = features.values.astype(np.float64)
        rows = rows - rows.mean(axis=0)
        made.append(rows / np.linalg.norm(rows))
    overlap = np.linalg.svd(made[0].T @ made[1], compute_uv=False).sum()
    return float(np.arccos(np.clip(overlap, 0, 1)))
