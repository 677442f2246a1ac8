"""How alike two layers are: centred kernel alignment (CKA), which asks whether they find the same images alike.

A layer gives every pair of images a similarity (a Gram matrix). HSIC is the covariance of two such matrices, CKA their
correlation: 1 where both layers see the same likenesses, 0 where those have nothing in common, whatever the numbers of
features, and the same after a rotation or a common factor. Sources: `kornblith2019similarity` (CKA),
`gretton2005measuring` (the biased estimator), `song2012feature` (the unbiased one), `szekely2014partial` (which shows
that centring a matrix by rows and columns, diagonal left out, makes the unbiased one an inner product). Differs: the
unbiased estimator is the default, since the biased one nears 1 for any two layers of many features and few images.
"""

import numpy as np
from jaxtyping import Float

from archaeology.core.registry import unknown_name

KERNELS = ("linear", "rbf")
ESTIMATORS = ("unbiased", "biased")
FEWEST = {"unbiased": 4, "biased": 2}
Gram = Float[np.ndarray, "image image"]


def linear_gram(features: Float[np.ndarray, "image feature"]) -> Gram:
    """Inner products of all pairs of images, of centred features, in float64."""
    rows = np.asarray(features, dtype=np.float64)
    rows = rows - rows.mean(axis=0)
    return rows @ rows.T


def rbf_gram(features: Float[np.ndarray, "image feature"], width: float) -> Gram:
    """`exp(-distance^2 / (2 width^2))` of all pairs of images, in float64.

    Args:
        features: One row for each image.
        width: In units of the features; positive.
    """
    return np.exp(-squared_distances(features) / (2 * width**2))


def squared_distances(features: Float[np.ndarray, "image feature"]) -> Gram:
    """Of all pairs of images, in float64; exactly 0 on the diagonal, never negative."""
    gram = linear_gram(features)
    size = np.diag(gram)
    distances = np.maximum(size[:, None] + size[None] - 2 * gram, 0)
    np.fill_diagonal(distances, 0)
    return distances


def median_distance(features: Float[np.ndarray, "image feature"]) -> float:
    """Between two different images; 0 where most are the same."""
    distances = squared_distances(features)
    return float(np.sqrt(np.median(distances[np.triu_indices(len(distances), 1)])))


def centred(gram: Gram, estimator: str = "unbiased") -> Gram:
    """A Gram matrix such that the mean of the products of two such matrices is their HSIC (up to a factor).

    Args:
        gram: Symmetric.
        estimator: "biased" takes the means of rows and columns away. "unbiased" leaves the diagonal out, so that no
            image is compared with itself, and takes away what then makes every row sum to zero.
    """
    n = len(gram)
    if estimator == "biased":
        rows = gram.mean(axis=0)
        return gram - rows[None] - rows[:, None] + gram.mean()
    off = gram - np.diag(np.diag(gram))
    rows = off.sum(axis=0) / (n - 2)
    made = off - rows[None] - rows[:, None] + off.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(made, 0)
    return made


def scale_of(n: int, estimator: str) -> float:
    """What the sum of products of two centred matrices is divided by to be HSIC."""
    return float((n - 1) ** 2 if estimator == "biased" else n * (n - 3))


def hsic(first: Gram, second: Float[np.ndarray, "other other"], *, estimator: str = "unbiased") -> float:
    """Covariance of two Gram matrices of the same images.

    Args:
        first: Symmetric.
        second: Likewise.
        estimator: "unbiased" may be negative where there is nothing in common; "biased" never is.

    Raises:
        UnknownNameError: If there is no such estimator.
        ValueError: If the sizes differ, or there are too few images (2, or 4 for "unbiased").
    """
    check_estimator(estimator)
    if first.shape != second.shape:
        raise ValueError(
            f"hsic needs Gram matrices of the same images, but got {first.shape[0]} and {second.shape[0]} images."
        )
    check_count(len(first), estimator)
    products = (centred(first, estimator) * centred(second, estimator)).sum()
    return float(products / scale_of(len(first), estimator))


def is_constant(features: Float[np.ndarray, "image feature"]) -> bool:
    """Whether all images have the same features, but for rounding: then nothing can be alike or not."""
    rows = np.asarray(features, dtype=np.float64)
    precision = np.finfo(features.dtype).eps if features.dtype.kind == "f" else np.finfo(np.float64).eps
    spread = np.abs(rows - rows.mean(axis=0)).max(initial=0)
    return bool(spread <= 16 * precision * np.abs(rows).max(initial=0))


def check_estimator(estimator: str) -> None:
    """Raise unless there is such an estimator."""
    if estimator not in ESTIMATORS:
        raise unknown_name("estimator of HSIC", estimator, list(ESTIMATORS))


def check_kernel(kernel: str) -> None:
    """Raise unless there is such a kernel."""
    if kernel not in KERNELS:
        raise unknown_name("kernel", kernel, list(KERNELS))


def check_count(n: int, estimator: str) -> None:
    """Raise unless so many images suffice."""
    if n < FEWEST[estimator]:
        raise ValueError(
            f"the {estimator} estimator of HSIC needs at least {FEWEST[estimator]} images at a time, but got {n}."
        )
