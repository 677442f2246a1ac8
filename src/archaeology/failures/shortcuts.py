"""Which shortcut does a model take? One that tells a class in the data, and that moves its answers when it is given.

Two sorts of evidence, and nothing is claimed without both. Association: an attribute (such as brightness) tells one
class from the rest, or the images that a model answers with it from its other answers of the same label; or there is a
place whose pixels hardly vary in one class and look so nowhere else (a watermark). Intervention: images of other
classes are given that value, or those pixels, and answers move to the class, surely more of them than under changes of
the same size that mean something else: the value of another class, as large a change the other way, the pixels of
another image, the opposite pixels. Where images cannot be changed as much the other way (dark ones made darker), those
that can are compared by themselves, too, and how far the others came is told. A question's p-value is the largest of
all its parts.

Sources: `geirhos2020shortcut` for the idea, `lapuschkin2019unmasking` for the watermark that horses had. Tests: that an
area under the ROC curve is above 0.8 (`hanley1982meaning`), Fisher's, McNemar's.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from scipy import ndimage, stats  # pyright: ignore[reportMissingTypeStubs]

from archaeology.core.intervals import Interval, wilson
from archaeology.core.many import paired_share
from archaeology.core.seeding import numpy_generator
from archaeology.core.shapes import Image
from archaeology.failures.attributes import Values
from archaeology.failures.interventions import AS_LARGE, changes, pasted, set_attribute, the_other_way

TELLS = (
    0.8  # area under the ROC curve above which an attribute tells a class: weather or colour seldom reach it
)
FEWEST = 10  # images of a class, and as many that are not, below which nothing is asked of it
LEAST_MOVED = 0.05  # share of answers that must move beyond the controls to be worth a word
TOLERANCE = 12  # grey levels within which pixels count as the same
STEADY, ELSEWHERE = (
    0.6,
    0.3,
)  # share of a class's images that have a pixel of the mark, at least; of others, at most
FEWEST_PIXELS = 4
GROUND = 0.2  # share of all pixels of other classes: a colour as common is their ground, and no mark
BIN = 8  # grey levels that count as one when colours are counted
CARRIED = 0.8  # share of the mark's pixels that an image must have to carry it
CHUNK = 64  # images whose pixels are compared at once
MOST_CHANGED = 256  # images that are changed for one question
MOST_COMPARED = (
    512  # images of other classes that a mark is looked for in, half of them to find, half to test
)
PLACE = "place"
OTHER_WAY = "as much the other way"

Pictures = UInt8[np.ndarray, "_ channel height width"]
Labels = Int[np.ndarray, " _"]
Some = Float[np.ndarray, " _"]
Answer = Callable[[Image], Labels]


@dataclass(frozen=True, eq=False)
class Intervention:
    """What changing one thing did to the answers of one model.

    Attributes:
        moved: Share of changed images whose answer became the class.
        controls: The same under each control, by name.
        beyond: `moved` less the largest control, paired, with interval.
        lost: Accuracy under the largest control less accuracy under the change, paired: what the shortcut costs.
        p_value: The largest of McNemar's against each control.
        rows: Images that were changed.
        moved_rows: Those of them whose answer became the class under the change and under no control.
        reached: Of the change, the median share that could be made the other way; NaN where that is no control.
        num_as_large: Images on which the change the other way was as large.
    """

    moved: Interval
    controls: dict[str, Interval]
    beyond: Interval
    lost: Interval
    p_value: float
    rows: Int[np.ndarray, " _"]
    moved_rows: Int[np.ndarray, " _"]
    reached: float = float("nan")
    num_as_large: int = 0


@dataclass(frozen=True, eq=False)
class Shortcut:
    """One question: does a model know this class by this?

    Attributes:
        what: Name of an attribute, or "place".
        target: The class.
        association: Area under the ROC curve (attribute), or share of the class's other images that carry the mark.
        elsewhere: Share of other classes' images that carry it; NaN for an attribute.
        level: Median value of the attribute in the class; NaN for a place.
        usual: In the others.
        where: Left, top, right, bottom of the place, in pixels; None for an attribute.
        p_association: That chance gives as much.
        intervention: None where the association alone is too weak to ask further.
        p_value: Of the question: the larger of both; 1 where no intervention was needed to deny it.
        examples: Images of the class that show the shortcut best.
    """

    what: str
    target: int
    association: Interval
    elsewhere: float
    level: float
    usual: float
    where: tuple[int, int, int, int] | None
    p_association: float
    intervention: Intervention | None
    p_value: float
    examples: Int[np.ndarray, " _"]


@dataclass(frozen=True, eq=False)
class Mark:
    """Pixels that hardly vary inside a class and look so nowhere else.

    Attributes:
        where: True on the place.
        pixels: What is there, 8 bits; zero elsewhere.
        share: Of the class's images that were not looked at when it was found, those that carry it.
        elsewhere: Share of the other images likewise.
        p_value: Fisher's, that the class carries it no more often than others.
        carriers: Images of the class that carry it.
    """

    where: Bool[np.ndarray, "height width"]
    pixels: UInt8[np.ndarray, "channel height width"]
    share: Interval
    elsewhere: float
    p_value: float
    carriers: Int[np.ndarray, " _"]


def find_shortcuts(
    answer: Answer,
    images: Pictures,
    labels: Labels,
    measured: dict[str, Values],
    answers: Labels,
    *,
    num_classes: int,
    marks: Mapping[int, Mark | None] | None = None,
    level: float = 0.05,
    questions: int | None = None,
    seed: int = 0,
) -> tuple[Shortcut, ...]:
    """Every class with every attribute that can be set, and with a place of steady pixels, for one model.

    Args:
        answer: Images in [0, 1] to classes; called with changed images only where an association was found.
        images: That the model was not trained on.
        labels: Their classes.
        measured: Attributes of the images (`measured_attributes`).
        answers: What the model says of the images.
        num_classes: How many classes there are.
        marks: By class, as `find_marks` gives them with the same seed; pass them where several models are asked of
            the same images, since they do not depend on the model.
        level: Of all questions together; an association weaker than `level / questions` is not tested further.
        questions: How many are asked in all; by itself those asked here.
        seed: Of what is drawn for controls.

    Returns:
        One answer for each question, found or not: none is left out, so that they can be corrected for.

    Raises:
        ValueError: If lengths differ, or there is no image.
    """
    if not len(images) == len(labels) == len(answers) or len(labels) == 0:
        raise ValueError(
            f"shortcuts need one label and one answer for each image, at least one, but got {len(images)} images, "
            f"{len(labels)} labels and {len(answers)} answers."
        )
    asked = [name for name in changes if name in measured]
    classes = askable_classes(labels, num_classes)
    total = questions or len(classes) * (len(asked) + 1)
    if marks is None:
        marks = find_marks(images, labels, num_classes=num_classes, seed=seed)
    search = _Search(answer, images, labels, answers, level / max(total, 1), seed)
    found = [search.attribute(name, measured[name], target) for target in classes for name in asked]
    return (*found, *(search.place(target, marks[target]) for target in classes))


def askable_classes(labels: Labels, num_classes: int) -> list[int]:
    """Classes with enough images, and enough images without."""
    counts = np.bincount(labels, minlength=num_classes)
    return [
        one for one in range(num_classes) if counts[one] >= FEWEST and len(labels) - counts[one] >= FEWEST
    ]


@dataclass(frozen=True, eq=False)
class _Search:
    """What every question about one model needs."""

    answer: Answer
    images: Pictures
    labels: Labels
    answers: Labels
    bar: float
    seed: int

    def attribute(self, name: str, values: Values, target: int) -> Shortcut:
        area, p_value = self._association(values, target)
        inside = self.labels == target
        level, usual = float(np.median(values[inside])), float(np.median(values[~inside]))
        known = np.flatnonzero(inside)
        order = known[np.argsort(np.abs(values[known] - level), kind="stable")]
        found = Shortcut(name, target, area, float("nan"), level, usual, None, p_value, None, 1.0, order)
        done = self._set(name, values, target) if p_value < self.bar else None
        if done is None:
            return found
        return replace(found, intervention=done, p_value=max(p_value, done.p_value))

    def place(self, target: int, mark: Mark | None) -> Shortcut:
        nan = float("nan")
        if mark is None or mark.p_value >= self.bar:
            none = Interval(nan, nan, nan, 0, "none found")
            seen = none if mark is None else mark.share
            p_seen = 1.0 if mark is None else mark.p_value
            return Shortcut(
                PLACE, target, seen, nan, nan, nan, None, p_seen, None, 1.0, np.zeros(0, dtype=np.int64)
            )
        down, across = np.flatnonzero(mark.where.any(axis=1)), np.flatnonzero(mark.where.any(axis=0))
        box = (int(across[0]), int(down[0]), int(across[-1]) + 1, int(down[-1]) + 1)
        done = self._paste(mark, target)
        p_value = 1.0 if done is None else max(mark.p_value, done.p_value)
        return Shortcut(
            PLACE,
            target,
            mark.share,
            mark.elsewhere,
            nan,
            nan,
            box,
            mark.p_value,
            done,
            p_value,
            mark.carriers,
        )

    def _association(self, values: Values, target: int) -> tuple[Interval, float]:
        """In the data, or in the model's answers given the label; the surer of both, times two for the choice."""
        inside = self.labels == target
        wrongly = (self.answers == target) & ~inside
        pairs = ((values[inside], values[~inside]), (values[wrongly], values[~wrongly & ~inside]))
        p_values = [_p_tells(*pair) for pair in pairs]
        which = int(np.argmin(p_values))
        return area_under_curve(*pairs[which]), min(1.0, 2 * p_values[which])

    def _others(self, target: int, purpose: str) -> Int[np.ndarray, " _"]:
        """Images of other classes that are not answered with the class anyway."""
        rows = np.flatnonzero((self.labels != target) & (self.answers != target))
        drawn = numpy_generator(self.seed, "changed", purpose, target).permutation(len(rows))[:MOST_CHANGED]
        return np.sort(rows[drawn])

    def _set(self, name: str, values: Values, target: int) -> Intervention | None:
        rows = self._others(target, name)
        if len(rows) < FEWEST:
            return None
        draw = numpy_generator(self.seed, "wanted", name, target)
        wanted = draw.choice(values[self.labels == target], len(rows))
        own = values[rows]
        # Another class's value: of an image that is neither of the class nor of the image's own.
        other = np.array(
            [draw.choice(values[(self.labels != target) & (self.labels != self.labels[row])]) for row in rows]
            if len(np.unique(self.labels)) > 2
            else draw.choice(values[self.labels != target], len(rows))
        )
        unit = self._unit(rows)
        back, reached = the_other_way(name, unit, own, wanted)
        aims = {"another class's value": other, OTHER_WAY: back}

        def given(value: np.ndarray) -> Labels:
            return self.answer(set_attribute(name, unit, torch.from_numpy(value).float()))

        changed, controls = given(wanted), {aim: given(value) for aim, value in aims.items()}
        done = self._judged(rows, target, changed, controls)
        fair = reached >= AS_LARGE
        if fair.sum() >= FEWEST:  # no control where it is the smaller change
            alone = _one_sided_mcnemar(changed[fair] == target, controls[OTHER_WAY][fair] == target)
            done = replace(done, p_value=max(done.p_value, alone))
        known = reached[np.isfinite(reached)]
        middle = float(np.median(known)) if len(known) else 0.0
        return replace(done, reached=middle, num_as_large=int(fair.sum()))

    def _paste(self, mark: Mark, target: int) -> Intervention | None:
        rows = self._others(target, PLACE)
        if len(rows) < FEWEST:
            return None
        draw = numpy_generator(self.seed, "donors", target)
        donors = self._unit(draw.choice(np.flatnonzero(self.labels != target), len(rows)))
        pixels, where = torch.from_numpy(mark.pixels).float() / 255, torch.from_numpy(mark.where)
        unit = self._unit(rows)
        opposite = (pixels + 0.5) % 1.0
        controls = {
            "another image's pixels there": self.answer(pasted(unit, donors, where)),
            "opposite pixels there": self.answer(pasted(unit, opposite[None], where)),
        }
        return self._judged(rows, target, self.answer(pasted(unit, pixels[None], where)), controls)

    def _unit(self, rows: Int[np.ndarray, " _"]) -> Image:
        return torch.from_numpy(np.array(self.images[rows])).float() / 255

    def _judged(
        self, rows: Int[np.ndarray, " _"], target: int, changed: Labels, controls: dict[str, Labels]
    ) -> Intervention:
        moved = changed == target
        under = {name: found == target for name, found in controls.items()}
        worst = max(under, key=lambda name: int(under[name].sum()))
        truth = self.labels[rows]
        return Intervention(
            wilson(int(moved.sum()), len(rows)),
            {name: wilson(int(found.sum()), len(rows)) for name, found in under.items()},
            paired_share(moved, under[worst]),
            paired_share(controls[worst] == truth, changed == truth),
            max(_one_sided_mcnemar(moved, found) for found in under.values()),
            rows,
            rows[moved & ~np.logical_or.reduce(list(under.values()))],
        )


def is_shortcut(found: Shortcut) -> bool:
    """Whether the intervention moved enough answers to be worth a word, whatever its p-value."""
    done = found.intervention
    return done is not None and done.beyond.low > 0 and done.beyond.value >= LEAST_MOVED


def area_under_curve(inside: Some, outside: Some) -> Interval:
    """How well a value tells images of a class from others: 0.5 not at all, 1 (or 0) wholly.

    The share of pairs in which the class's image has the larger value, ties half; standard error after Hanley and
    McNeil. NaN where a side has fewer than 10 values that are known.
    """
    area, error, n = _area(inside, outside)
    half = NormalDist().inv_cdf(0.975) * error
    return Interval(area, max(0.0, area - half), min(1.0, area + half), n, "hanley-mcneil")


def _area(inside: Some, outside: Some) -> tuple[float, float, int]:
    """Area, its standard error and the number of values."""
    first, second = inside[np.isfinite(inside)], outside[np.isfinite(outside)]
    n, m = len(first), len(second)
    if n < FEWEST or m < FEWEST:
        return float("nan"), float("nan"), n + m
    ranks = np.asarray(stats.rankdata(np.concatenate([first, second])))  # pyright: ignore[reportUnknownMemberType]
    area = float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))
    # Perfect separation of few images is not certain: the error is that of one image on the wrong side by half.
    safe = float(np.clip(area, 0.5 / min(n, m), 1 - 0.5 / min(n, m)))
    return area, _error_of_area(safe, n, m), n + m


def _error_of_area(area: float, n: int, m: int) -> float:
    """Standard error where this is the true area (`hanley1982meaning`)."""
    twice, both = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (n - 1) * (twice - area**2) + (m - 1) * (both - area**2)
    return float(np.sqrt(variance / (n * m)))


def _p_tells(inside: Some, outside: Some) -> float:
    """P-value that the area is no farther from a half than 0.8, or 0.2 on the other side.

    The error is that under 0.8: the one under what was seen is next to none where few images happen to be told apart.
    1 with fewer than 20 images on a side, whose errors are not normal so far out.
    """
    area, error, _ = _area(inside, outside)
    n, m = (int(np.isfinite(side).sum()) for side in (inside, outside))
    if not error > 0 or min(n, m) < 2 * FEWEST:
        return 1.0
    return min(1.0, 2 * NormalDist().cdf(-(abs(area - 0.5) - (TELLS - 0.5)) / _error_of_area(TELLS, n, m)))


def find_marks(
    images: Pictures, labels: Labels, *, num_classes: int, seed: int = 0
) -> dict[int, Mark | None]:
    """The mark of every class with enough images; None where it has none."""
    return {
        target: find_mark(images, labels, target, seed=seed)
        for target in askable_classes(labels, num_classes)
    }


def find_mark(images: Pictures, labels: Labels, target: int, *, seed: int = 0) -> Mark | None:
    """Pixels that most images of a class share and hardly any other has; None where there are too few of them.

    Pixels with the colour of the ground on which other classes stand are none: the hole of a ring is always there, and
    is what the ring is. They are looked for in one half of the images and tested in the other, at most 512 of other
    classes in all, drawn at random; nothing is with fewer than 20 of the class.
    """
    rows = numpy_generator(seed, "halves", target).permutation(len(labels))
    inside = rows[labels[rows] == target]
    outside = rows[labels[rows] != target][:MOST_COMPARED]
    if len(inside) < 2 * FEWEST or len(outside) < 2 * FEWEST:
        return None
    first, second = inside[: len(inside) // 2], inside[len(inside) // 2 :]
    usual = np.median(images[first], axis=0)
    steady = _same(images[first], usual).mean(axis=0)
    elsewhere = _same(images[outside[: len(outside) // 2]], usual).mean(axis=0)
    where = (steady >= STEADY) & (elsewhere <= ELSEWHERE) & (steady - elsewhere >= 0.5)
    where &= _commonness(usual, images[outside[: len(outside) // 2]]) < GROUND
    if where.sum() < FEWEST_PIXELS:
        return None
    tested = outside[len(outside) // 2 :]
    has, lacks = (_carries(images[part], usual, where) for part in (second, tested))
    table = [[int(has.sum()), int((~has).sum())], [int(lacks.sum()), int((~lacks).sum())]]
    p_value = float(stats.fisher_exact(table, alternative="greater").pvalue)  # pyright: ignore
    known = np.sort(inside)
    carriers = known[_carries(images[known], usual, where)]
    pixels = np.where(where, usual.round(), 0).astype(np.uint8)
    return Mark(where, pixels, wilson(int(has.sum()), len(has)), float(lacks.mean()), p_value, carriers)


def _commonness(
    colours: Float[np.ndarray, "channel height width"], images: Pictures
) -> Float[np.ndarray, "height width"]:
    """For each pixel's colour, the share of all pixels of these images that have it, within 8 to 16 grey levels."""
    shape = (256 // BIN,) * len(colours)

    def bins(values: np.ndarray) -> np.ndarray:
        return np.asarray(np.ravel_multi_index(tuple((values // BIN).astype(np.int64)), shape))

    counts = sum(np.bincount(bins(image).ravel(), minlength=int(np.prod(shape))) for image in images)
    around = ndimage.convolve(
        np.asarray(counts, dtype=np.float64).reshape(shape), np.ones((3,) * len(shape)), mode="constant"
    )
    return around.ravel()[bins(colours)] / (len(images) * images[0][0].size)


def _same(
    images: Pictures, usual: Float[np.ndarray, "channel height width"]
) -> Bool[np.ndarray, "_ height width"]:
    """Where the pixels of each image are those, within 12 grey levels."""
    parts = [images[start : start + CHUNK] for start in range(0, len(images), CHUNK)]
    return np.concatenate(
        [(np.abs(part - usual.astype(np.float32)) <= TOLERANCE).all(axis=1) for part in parts]
    )


def _carries(
    images: Pictures,
    usual: Float[np.ndarray, "channel height width"],
    where: Bool[np.ndarray, "height width"],
) -> Bool[np.ndarray, " _"]:
    return _same(images, usual)[:, where].mean(axis=1) >= CARRIED


def _one_sided_mcnemar(first: Bool[np.ndarray, " n"], second: Bool[np.ndarray, " n"]) -> float:
    """P-value that the first happens no more often than the second, on the same images."""
    only, other = int((first & ~second).sum()), int((~first & second).sum())
    if only + other == 0:
        return 1.0
    return float(stats.binomtest(only, only + other, 0.5, alternative="greater").pvalue)  # pyright: ignore
