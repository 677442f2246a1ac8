"""Is a planted group of failures found, whatever the number of classes, and is nothing claimed where there is none?

Features of classes that lie 8.5 standard deviations apart. Planted "across" classes, 12 % of all images, or "within"
one class, half of its images, lie a few standard deviations beside the rest; a made-up model is wrong on 80 % of them
and on 8 % of all others. Found is a claimed slice whose examples, the images nearest
to its middle, are mostly planted. "nothing" plants
none: each class is wrong on a share of its own, 5 to 45 %, and whatever is claimed is a false alarm.

    python -m benchmarks.slices_power --draws 20 --draws-of-nothing 100
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from archaeology.core.intervals import wilson
from archaeology.failures.slices import SliceSurvey, find_slices

OUTPUT = Path("build") / "bench" / "slices_power.json"
CLASSES, SIZES = (2, 4, 10, 20, 100), (400, 2000)
PLANTED = (("nothing", 0.0), ("across", 6.0), ("across", 4.0), ("within", 6.0))
APART, DIMENSIONS = 6.0, 32  # along each class's own axis; features that say nothing are added up to so many
SHARE, WRONG, WRONG_ELSEWHERE = 0.12, 0.8, 0.08

World = tuple[
    Float[np.ndarray, "image feature"],
    Int[np.ndarray, " image"],
    Float[np.ndarray, "image class"],
    Bool[np.ndarray, " image"],
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--draws-of-nothing", type=int, default=100)
    parser.add_argument("--planted", nargs="+", default=["nothing", "across", "within"])
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=OUTPUT)
    given = parser.parse_args()
    rows = []
    for kind, shift in (one for one in PLANTED if one[0] in given.planted):
        draws = given.draws if shift else given.draws_of_nothing
        for count in SIZES:
            for classes in CLASSES:
                seeds = range(given.first_seed, given.first_seed + draws)
                row = {"planted": kind, "shift": shift, "n": count, "classes": classes, "draws": draws}
                rows.append(row | measured(kind, shift, count, classes, seeds))
                print(said(rows[-1]), flush=True)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    arguments = {key: str(value) for key, value in vars(given).items()}
    given.out.write_text(json.dumps({"arguments": arguments, "rows": rows}, indent=1))


def measured(kind: str, shift: float, count: int, classes: int, seeds: range) -> dict[str, float]:
    """In how many draws something is claimed, and in how many the planted images are."""
    began, claimed, found, tested = time.perf_counter(), 0, 0, 0
    for seed in seeds:
        features, labels, probabilities, inside = world(kind, shift, count, classes, seed)
        survey = find_slices(features, labels, probabilities, seed=seed)
        claimed += bool(survey.claimed)
        found += is_found(survey, inside)
        tested += bool(survey.slices)
    seconds = (time.perf_counter() - began) / len(seeds)
    return {"claimed": claimed, "found": found, "tested": tested, "seconds": seconds}


def world(kind: str, shift: float, count: int, classes: int, seed: int) -> World:
    """Features, labels, answers, and which images are planted."""
    random = np.random.default_rng([seed, classes, count])
    labels = random.permutation(np.arange(count) % classes)
    dimensions = max(DIMENSIONS, classes + 2)
    features = random.normal(size=(count, dimensions)) + APART * np.eye(classes, dimensions)[labels]
    inside = np.zeros(count, bool)
    if kind == "across":
        inside = random.random(count) < SHARE
    elif kind == "within":
        inside = (labels == 0) & (random.random(count) < 0.5)
    features[inside, -1] += shift
    elsewhere = random.uniform(0.05, 0.45, classes)[labels] if kind == "nothing" else WRONG_ELSEWHERE
    wrong = random.random(count) < np.where(inside, WRONG, elsewhere)
    named = np.where(wrong, (labels + random.integers(1, classes, count)) % classes, labels)
    sure = np.eye(classes)[named]
    return features, labels, 0.9 * sure + 0.1 * (1 - sure) / (classes - 1), inside


def is_found(survey: SliceSurvey, inside: Bool[np.ndarray, " image"]) -> bool:
    """Whether a claimed slice is of planted images: by its examples, the nearest to its middle."""
    return any(inside[list(one.examples)].mean() > 0.5 for one in survey.claimed)


def said(row: dict[str, object]) -> str:
    """One line of the table."""
    hits = int(str(row["claimed" if row["planted"] == "nothing" else "found"]))
    share = wilson(hits, int(str(row["draws"])))
    return (
        f"{row['planted']} {row['shift']} sd, {row['classes']} classes, n = {row['n']}: {hits}/{row['draws']} "
        f"({100 * share.low:.1f} to {100 * share.high:.1f} %), tested in {row['tested']}, {row['seconds']:.2f} s each"
    )


if __name__ == "__main__":
    main()
