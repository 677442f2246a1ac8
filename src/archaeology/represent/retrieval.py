"""What does the model take to be alike? The nearest others of an image, and how often they are of its class."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from archaeology.core.intervals import Interval, bootstrap_mean
from archaeology.represent.features import Features, label_array
from archaeology.represent.neighbours import nearest


@dataclass(frozen=True, eq=False)
class Retrieval:
    """The nearest images of each query.

    Attributes:
        found: Numbers of images, nearest first; -1 where there were fewer, copies left out.
        similarity: Cosine of each; -inf where there is none.
        precision: Share of those found that have the query's class, mean over queries, bootstrap over queries; None
            without labels.
        name: Of the features.
    """

    found: Int[np.ndarray, "query rank"]
    similarity: Float[np.ndarray, "query rank"]
    precision: Interval | None
    name: str


def retrieve(
    gallery: Features,
    queries: Features,
    k: int = 5,
    *,
    labels: Int[Tensor, " label"] | Int[np.ndarray, " label"] | None = None,
    query_labels: Int[Tensor, " query"] | Int[np.ndarray, " query"] | None = None,
    seed: int = 0,
) -> Retrieval:
    """The k nearest images of each query by cosine similarity; the query itself and its copies never.

    Args:
        gallery: Where to look.
        queries: What to look for; may be part of the gallery.
        k: How many.
        labels: Classes of the gallery, to judge by.
        query_labels: Classes of the queries, likewise.
        seed: Of the bootstrap.

    Raises:
        ValueError: If only one of the two labels is given, or as `nearest_vote`.
    """
    if (labels is None) != (query_labels is None):
        raise ValueError(
            "retrieve needs labels of gallery and queries, or of neither, but got only one of them."
        )
    found, similarity = nearest(gallery, queries, k)
    precision = None
    if labels is not None and query_labels is not None:
        own, truth = label_array(labels, gallery), label_array(query_labels, queries)
        known = found >= 0
        hits = (own[found] == truth[:, None]) & known
        answered = known.any(axis=1)
        if answered.any():
            precision = bootstrap_mean(hits[answered].sum(axis=1) / known[answered].sum(axis=1), seed=seed)
    return Retrieval(found, similarity, precision, queries.name)
