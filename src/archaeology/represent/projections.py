"""Many features drawn as two: maps on which near images should lie near, with a number that says how far that is true.

PCA keeps the directions of largest spread; t-SNE (`maaten2008visualizing`) and UMAP (`mcinnes2018umap`) keep
neighbourhoods and bend all else, so sizes of clusters and gaps between them mean nothing there. Trustworthiness
(`venna2001neighborhood`) is 1 where neighbours on the map are neighbours in the features, about 0.5 on a random map.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE, trustworthiness

from archaeology.core.errors import MissingExtraError
from archaeology.core.registry import Registry
from archaeology.core.seeding import derived_seed
from archaeology.represent.features import Features, check_finite

NEIGHBOURS = 10
FEWEST = 4
Project = Callable[[Float[np.ndarray, "image feature"], int], tuple[np.ndarray, dict[str, object]]]
projections: Registry[Project] = Registry("projection")


@dataclass(frozen=True, eq=False)
class Projection:
    """Images on a map.

    Attributes:
        method: Its registered name.
        coordinates: Of each image; without a unit.
        trustworthiness: Share-like, 0 to 1: are neighbours on the map neighbours in the features?
        neighbours: How many were looked at for that.
        ids: Of the images.
        name: Of the features.
        parameters: What the method was called with, and what it says of itself.
    """

    method: str
    coordinates: Float[np.ndarray, "image 2"]
    trustworthiness: float
    neighbours: int
    ids: tuple[str, ...]
    name: str
    parameters: Mapping[str, object] = field(default_factory=dict)


def project(method: str, features: Features, *, seed: int = 0) -> Projection:
    """A map of a feature set.

    Args:
        method: "pca", "tsne" or "umap".
        features: At least 4 images.
        seed: Of whatever is drawn.

    Raises:
        UnknownNameError: If there is no such method.
        MissingExtraError: If its package is not installed.
        ValueError: If there are too few images, a feature is not finite or all images have the same.
    """
    make = projections.get(method)
    check_finite(features.values, features.name)
    if len(features) < FEWEST or not np.ptp(features.values, axis=0).any():
        raise ValueError(
            f"a map needs at least {FEWEST} images whose features differ, but got {len(features)} images of "
            f"{features.name}{'' if len(features) < FEWEST else ' which all have the same'}."
        )
    rows = features.values.astype(np.float64)
    coordinates, parameters = make(rows, seed)
    neighbours = min(NEIGHBOURS, (len(features) - 1) // 2)
    trust = float(trustworthiness(rows, coordinates, n_neighbors=neighbours))
    return Projection(method, coordinates, trust, neighbours, features.ids, features.name, parameters)


@projections.register("pca")
def pca(rows: Float[np.ndarray, "image feature"], seed: int) -> tuple[np.ndarray, dict[str, object]]:
    """The two directions of largest spread; each points to where its largest loading is positive."""
    coordinates, shares = principal(rows, 2)
    return coordinates, {"explained": shares.tolist()}


@projections.register("tsne")
def tsne(rows: Float[np.ndarray, "image feature"], seed: int) -> tuple[np.ndarray, dict[str, object]]:
    """Scikit-learn's t-SNE, begun from PCA; the perplexity is 30, or a third of the images where those are few."""
    perplexity = min(30.0, (len(rows) - 1) / 3)
    made = TSNE(perplexity=perplexity, init="pca", random_state=_state(seed)).fit_transform(_narrowed(rows))
    return np.asarray(made, dtype=np.float64), {"perplexity": perplexity}


@projections.register("umap")
def umap(rows: Float[np.ndarray, "image feature"], seed: int) -> tuple[np.ndarray, dict[str, object]]:
    """The package umap-learn, with 15 neighbours, or as many as there are."""
    try:
        from umap import UMAP
    except ImportError as error:
        raise MissingExtraError("umap-learn", "maps", "a UMAP projection") from error
    neighbours = min(15, len(rows) - 1)
    start = principal(rows, 2)[0]
    start = (
        10 * start / np.abs(start).max()
    )  # spectral initialisation fails on few images; PCA is begun from as in t-SNE
    make = UMAP(n_neighbors=neighbours, init=start, random_state=_state(seed), n_jobs=1)
    return np.asarray(make.fit_transform(_narrowed(rows)), dtype=np.float64), {"n_neighbors": neighbours}


def principal(
    rows: Float[np.ndarray, "row feature"], count: int
) -> tuple[Float[np.ndarray, "row component"], Float[np.ndarray, " component"]]:
    """Coordinates along the first `count` principal directions, and the share of variance of each.

    Where there are fewer directions the rest are zero.
    """
    able = min(count, *rows.shape)
    model = PCA(able, svd_solver="full" if min(rows.shape) < 500 else "covariance_eigh").fit(rows)
    directions = np.asarray(model.components_)
    signs = np.sign(directions[np.arange(able), np.abs(directions).argmax(axis=1)])
    made, shares = np.zeros((len(rows), count)), np.zeros(count)
    made[:, :able] = model.transform(rows) * np.where(signs == 0, 1, signs)
    shares[:able] = np.nan_to_num(model.explained_variance_ratio_)
    return made, shares


def _narrowed(rows: Float[np.ndarray, "image feature"]) -> Float[np.ndarray, "image component"]:
    """The 50 directions of largest spread, as is usual before t-SNE: less noise, and faster."""
    return principal(rows, 50)[0] if rows.shape[1] > 50 and len(rows) > 50 else rows


def _state(seed: int) -> int:
    return derived_seed(seed, "projection") % 2**32
