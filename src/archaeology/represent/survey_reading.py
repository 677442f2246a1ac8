"""Can the class be read off a layer? Neighbours and probes by layer, few labels, and which differences are sure."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from archaeology.core.intervals import bootstrap_ratio, mcnemar, mean_over_draws
from archaeology.core.many import paired_share
from archaeology.represent.features import Features
from archaeology.represent.neighbours import KS, nearest_vote
from archaeology.represent.probe import few_shot, linear_probe
from archaeology.represent.survey_asked import Asked, ends

READOUTS = ("class_token", "mean_patches", "registers")
STRENGTHS = (0.001, 0.01, 0.1, 1.0)  # scikit-learn's C of the probes by layer
MIDDLE = 0.01  # where classes are too small to choose by cross-validation
MAIN_K = 5  # neighbours whose vote figures and findings show
SHOTS = (1, 2, 5, 10)
DRAWS = 10


def reading(asked: Asked) -> dict[str, Any]:
    """Neighbours and a linear probe on every layer and readout, and which differences are sure."""
    ks = [k for k in KS if k <= len(asked.known)]
    strengths, folds = _penalties(asked)
    assert asked.labels is not None
    chance = chance_level(asked.labels[asked.asked])
    curves, hits = [], {}
    for one in asked.specimens:
        for readout in READOUTS:
            curve = [
                _read(asked, features, ks, strengths, folds) for features in asked.features(one, readout)
            ]
            if curve:
                rows, right = zip(*curve, strict=True)
                curves.append(
                    {
                        "specimen": one.name,
                        "readout": readout,
                        "is_main": readout == asked.last(one).readout,
                        "table": list(rows),
                    }
                )
                hits[one.name, readout] = right
                for row, own in zip(rows, right, strict=True):
                    row |= _of_last(own, right[-1], chance, asked.seed)
    return {
        "ks": ks,
        "main_k": _main_k(asked, ks),
        "chance": chance,
        "num_known": len(asked.known),
        "num_asked": len(asked.asked),
        "strengths": list(strengths),
        "folds": folds,
        "curves": curves,
        "compared": _compared(asked, hits),
    }


def chance_level(labels: Int[np.ndarray, " image"]) -> float:
    """Chance: one by the number of classes, or always naming the largest where that is right more often."""
    _, counts = np.unique(labels, return_counts=True)
    return float(max(1 / len(counts), counts.max() / counts.sum()))


Hits = Mapping[str, Bool[np.ndarray, " _"]]


def _main_k(asked: Asked, ks: Sequence[int]) -> int:
    """At most as many neighbours as a typical class has known images: more would outvote it, however near it is."""
    assert asked.labels is not None
    _, counts = np.unique(asked.labels[asked.known], return_counts=True)
    return max(k for k in ks if k <= min(MAIN_K, max(ks[0], float(np.median(counts)))))


def _penalties(asked: Asked) -> tuple[tuple[float, ...], int]:
    assert asked.labels is not None
    _, counts = np.unique(asked.labels[asked.known], return_counts=True)
    folds = min(3, int(counts.min()))
    return (STRENGTHS, folds) if folds > 1 else ((MIDDLE,), 1)


def _read(
    asked: Asked, features: Features, ks: Sequence[int], strengths: Sequence[float], folds: int
) -> tuple[dict[str, Any], Hits]:
    """A row of the table, and which of the images asked were named right."""
    parts = asked.halves(features)
    votes = nearest_vote(*parts, ks=ks)
    probe = linear_probe(*parts, strengths=strengths, folds=folds, seed=asked.seed)
    row: dict[str, Any] = {"layer": features.layer, "n": len(asked.asked)}
    for vote in votes:
        row |= ends(f"knn_{vote.k}", vote.accuracy)
    row |= ends("probe", probe.accuracy)
    row |= {"strength": probe.strength, "has_converged": probe.has_converged}
    main = next(vote for vote in votes if vote.k == _main_k(asked, ks))
    return row, {"knn": main.predicted == parts[3], "probe": probe.predicted == parts[3]}


def _of_last(own: Hits, last: Hits, chance: float, seed: int) -> dict[str, Any]:
    """What share of the last layer's accuracy beyond chance a layer reaches, paired over images."""
    found: dict[str, Any] = {}
    for what in ("knn", "probe"):
        if last[what].mean() > chance:
            part, whole = (one[what].astype(np.float64) - chance for one in (own, last))
            found |= ends(f"{what}_of_last", bootstrap_ratio(part, whole, seed=seed))
    return found


def _compared(asked: Asked, hits: Mapping[tuple[str, str], Sequence[Hits]]) -> list[dict[str, Any]]:
    """Paired differences at the last layers: of readouts of a model, and of the first two models."""
    tried = [
        ((one.name, "class_token"), (one.name, other))
        for one in asked.specimens
        for other in ("mean_patches", "registers")
    ]
    if len(asked.specimens) > 1:
        first, second = ((one.name, asked.last(one).readout) for one in asked.specimens[:2])
        tried.append((first, second))
    rows = []
    for first, second in tried:
        if first not in hits or second not in hits:
            continue
        for what in ("knn", "probe"):
            one, other = hits[first][-1][what], hits[second][-1][what]
            rows.append(
                {
                    "what": what,
                    "specimen": first[0],
                    "readout": first[1],
                    "other": second[0],
                    "other_readout": second[1],
                    "n": len(one),
                    "p": mcnemar(one, other).p_value,
                }
                | ends("difference", paired_share(one, other))
            )
    return rows


def few_shots(asked: Asked) -> dict[str, Any]:
    """Probes that saw few images of each class at the last layer, and which model needs fewer."""
    assert asked.labels is not None
    _, counts = np.unique(asked.labels[asked.known], return_counts=True)
    shots = [shot for shot in SHOTS if shot <= counts.min()]
    found = {
        one.name: few_shot(*asked.halves(asked.last(one)), shots=shots, draws=DRAWS, seed=asked.seed)
        for one in asked.specimens
    }
    curves = [
        {
            "specimen": one.name,
            "layer": asked.last(one).layer,
            "readout": asked.last(one).readout,
            "table": [
                {"shots": shot, "n": len(asked.asked)} | ends("accuracy", accuracy)
                for shot, accuracy in zip(shots, found[one.name].accuracy, strict=True)
            ],
        }
        for one in asked.specimens
    ]
    rows: list[dict[str, Any]] = []
    if len(asked.specimens) > 1:
        first, second = (one.name for one in asked.specimens[:2])
        for at, shot in enumerate(shots):
            gap, p_value = mean_over_draws(
                found[first].draws[at] - found[second].draws[at],
                found[first].by_image[at] - found[second].by_image[at],
            )
            row = {"shots": shot, "specimen": first, "other": second, "p": p_value}
            rows.append(row | ends("difference", gap))
    chance = 1 / len(counts)
    return {
        "draws": DRAWS,
        "chance": chance,
        "num_classes": len(counts),
        "n": len(asked.asked),
        "curves": curves,
        "compared": rows,
    }
