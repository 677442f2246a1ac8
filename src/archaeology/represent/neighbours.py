"""What do an image's nearest neighbours show? If mostly its own class, the features know the class without being asked.

Cosine similarity; each of the k nearest votes for its class, alike or with weight exp(similarity / temperature)
(`wu2018unsupervised`, as in DINO, `caron2021emerging`). Nothing is trained, so nothing can be tuned. Differs: an image
never counts as a neighbour of itself, also where a copy of it is there under another number, so a leak between the two
sets cannot make a good number; of equal votes the lowest class wins, as in scikit-learn.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from archaeology.core.intervals import Interval, wilson
from archaeology.represent.features import Features, check_finite, label_array

KS = (1, 5, 20)
CELLS = 8_000_000  # similarities in memory at once


@dataclass(frozen=True, eq=False)
class NeighbourVote:
    """What the k nearest said.

    Attributes:
        k: Neighbours asked.
        predicted: Class of each image; -1 where the image had fewer than k neighbours that are not copies of it.
        accuracy: Share named right, with Wilson's interval.
        name: Of the features.
        num_copies: Images with a copy of themselves among those asked, which was left out.
    """

    k: int
    predicted: Int[np.ndarray, " image"]
    accuracy: Interval
    name: str
    num_copies: int


def nearest_vote(
    known: Features,
    known_labels: Int[Tensor, " known"] | Int[np.ndarray, " known"],
    asked: Features,
    asked_labels: Int[Tensor, " asked"] | Int[np.ndarray, " asked"],
    *,
    ks: Sequence[int] = KS,
    temperature: float | None = None,
) -> tuple[NeighbourVote, ...]:
    """Classes of some images by their nearest neighbours among others.

    Args:
        known: Features of images whose labels vote.
        known_labels: Their classes.
        asked: Features of the images to be named, of the same layer.
        asked_labels: Their classes, to judge by.
        ks: How many neighbours vote.
        temperature: 0.07 in DINO; None gives every neighbour one vote.

    Returns:
        One result for each k. Of classes with as many votes the one whose neighbours are nearer is named.

    Raises:
        ValueError: If there are fewer images than neighbours, only one class, the features do not fit or are not
            finite, or a feature vector is all zero so that it has no direction.
    """
    labels, truth = label_array(known_labels, known), label_array(asked_labels, asked)
    _check(known, labels, asked, ks, temperature)
    found, similarity, has_copy = _nearest(known, asked, max(ks))
    return tuple(
        _vote(found[:, :k], similarity[:, :k], labels, truth, temperature, asked.name, has_copy) for k in ks
    )


def leave_one_out(
    features: Features,
    labels: Int[Tensor, " label"] | Int[np.ndarray, " label"],
    *,
    ks: Sequence[int] = KS,
    temperature: float | None = None,
) -> tuple[NeighbourVote, ...]:
    """Classes of images by their nearest neighbours among all others of the same set; copies left out.

    Raises:
        ValueError: As `nearest_vote`; of n images only n - 1 can be neighbours.
    """
    if max(ks, default=1) >= len(features):
        raise ValueError(
            f"k must be less than the number of images, since an image is no neighbour of itself, but got "
            f"k = {max(ks)} and {len(features)} images; ask for fewer neighbours."
        )
    votes = nearest_vote(features, labels, features, labels, ks=ks, temperature=temperature)
    counts = Counter(features.ids)
    return tuple(replace(vote, num_copies=sum(counts[name] > 1 for name in features.ids)) for vote in votes)


def nearest(
    known: Features, asked: Features, k: int
) -> tuple[Int[np.ndarray, "asked k"], Float[np.ndarray, "asked k"]]:
    """Numbers of the k nearest images by cosine similarity, nearest first, and their similarity; no copies.

    Where an image has fewer than k neighbours the rest have number -1 and similarity -inf.

    Raises:
        ValueError: As `nearest_vote`.
    """
    _check(known, None, asked, (k,), None)
    found, similarity, _ = _nearest(known, asked, k)
    return found, similarity


def _nearest(
    known: Features, asked: Features, k: int
) -> tuple[Int[np.ndarray, "asked k"], Float[np.ndarray, "asked k"], Bool[np.ndarray, " asked"]]:
    """Neighbours, their similarity, and whether a copy was left out."""
    rows, others = (F.normalize(torch.from_numpy(part.values), dim=1) for part in (known, asked))
    number = {name: place for place, name in enumerate(dict.fromkeys(known.ids))}
    groups = torch.tensor([number[name] for name in known.ids])
    own = torch.tensor([number.get(name, -1) for name in asked.ids])
    step = max(1, CELLS // len(rows))
    places, scores = [], []
    for start in range(0, len(others), step):
        part = others[start : start + step] @ rows.T
        part[groups[None] == own[start : start + step, None]] = -torch.inf
        # A stable sort and no topk: which of two equally near ones counts must not depend on the machine.
        best, place = part.sort(dim=1, descending=True, stable=True)
        scores.append(best[:, :k])
        places.append(place[:, :k].masked_fill(best[:, :k] == -torch.inf, -1))
    return torch.cat(places).numpy(), torch.cat(scores).numpy(), (own >= 0).numpy()


def _vote(
    found: Int[np.ndarray, "image k"],
    similarity: Float[np.ndarray, "image k"],
    labels: Int[np.ndarray, " known"],
    truth: Int[np.ndarray, " image"],
    temperature: float | None,
    name: str,
    has_copy: Bool[np.ndarray, " image"],
) -> NeighbourVote:
    weight = np.ones_like(similarity) if temperature is None else np.exp((similarity - 1) / temperature)
    is_there, cells = found >= 0, (np.arange(len(found))[:, None], labels[found])
    votes = np.zeros((len(found), int(labels.max()) + 1))
    np.add.at(votes, cells, np.where(is_there, weight, 0))
    nearness = np.where(
        votes == votes.max(axis=1, keepdims=True), 0, -np.inf
    )  # of the classes with most votes
    np.add.at(nearness, cells, np.where(is_there, similarity, 0))
    predicted = np.where(is_there.all(axis=1), nearness.argmax(axis=1), -1)
    accuracy = wilson(int((predicted == truth).sum()), len(truth))
    return NeighbourVote(found.shape[1], predicted, accuracy, name, int(has_copy.sum()))


def _check(
    known: Features,
    labels: Int[np.ndarray, " known"] | None,
    asked: Features,
    ks: Sequence[int],
    temperature: float | None,
) -> None:
    if not ks or min(ks) < 1 or max(ks) > len(known):
        raise ValueError(
            f"k must be at least 1 and at most the number of images that may be neighbours, but got k = {list(ks)} and "
            f"{len(known)} images; ask for fewer neighbours."
        )
    if temperature is not None and not temperature > 0:
        raise ValueError(
            f"temperature must be positive, such as 0.07, or None for equal votes, but got {temperature=}."
        )
    if known.values.shape[1] != asked.values.shape[1]:
        raise ValueError(
            f"both feature sets must be of one layer, but {known.name} has {known.values.shape[1]} features and "
            f"{asked.name} {asked.values.shape[1]}."
        )
    if labels is not None and len(np.unique(labels)) < 2:
        raise ValueError(
            f"there must be at least two classes to choose from, but all {len(labels)} images have class {labels[0]}."
        )
    for features in (known, asked):
        check_finite(features.values, features.name)
        empty = ~features.values.any(axis=1)
        if empty.any():
            raise ValueError(
                f"cosine similarity needs features that are not all zero, but those of {features.name} are for "
                f"{int(empty.sum())} images (the first is number {int(empty.argmax())}); use another layer."
            )
