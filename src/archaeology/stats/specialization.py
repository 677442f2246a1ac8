"""What every head of a model specializes in: its figures, a label by stated rules, and its own typical images.

One pass of the model over the data answers everything, in memory that does not depend on the number of images: all
registered statistics, how far what a head looks at follows edges, colours and the object, how much of its pattern is
position alone, and which heads of a layer agree. The rules are in `labels.py`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor

from archaeology.specimens.specimen import Specimen
from archaeology.stats.labels import HeadLabel, label_heads, simultaneous_level
from archaeology.stats.specialization_sums import TYPICAL, SpecializationSums, sum_specialization
from archaeology.stats.survey import HeadSurvey


@dataclass(frozen=True, eq=False)
class Agreement:
    """How alike the patterns of two heads of a layer are: mean correlation over images, with its interval.

    Attributes:
        value: In [-1, 1]; NaN for a head that is blind in every image.
        low: Lower ends.
        high: Upper ends.
    """

    value: Float[np.ndarray, "head other"]
    low: Float[np.ndarray, "head other"]
    high: Float[np.ndarray, "head other"]


@dataclass(frozen=True, eq=False)
class HeadSpecialization:
    """The specialization matrix: what every head of every layer does.

    Attributes:
        sums: The running sums behind it.
        level: Coverage of the intervals in the table; labels ask for more (`labels.py`).
    """

    sums: SpecializationSums
    level: float = 0.95

    def table(self) -> list[dict[str, object]]:
        """One row for each head: `layer, head, module, n`, figures, label, typical images.

        Each figure has `_low` and `_high`; NaN where it is not defined. `label`, `confidence`, `holds` and `nearest`
        are those of `HeadLabel`; `typical` are ids of images and `typical_of` says by what they were chosen.
        """
        table = HeadSurvey(self.sums.figures, self.level).table()
        share, error = self.sums.position.shares()
        half = self.sums.position.half_width(error, self.level)
        for row, (entry, label) in enumerate(zip(table, self.labels(), strict=True)):
            chosen_by = TYPICAL[label.label]
            entry |= {
                "position_share": float(share[row]),
                "position_share_low": float(share[row] - half[row]),
                "position_share_high": float(share[row] + half[row]),
                "label": label.label,
                "confidence": label.confidence,
                "holds": label.holds,
                "nearest": label.nearest,
                "typical": self.sums.typical.of(row, list(TYPICAL).index(label.label)),
                "typical_of": f"{chosen_by.words} {chosen_by.figure}",
            }
        return table

    def labels(self) -> tuple[HeadLabel, ...]:
        """What each head does, head by head and layer by layer."""
        figures = self.sums.figures
        level = simultaneous_level(len(figures.modules))
        share, error = self.sums.position.shares()
        values = np.column_stack([figures.means(), share])
        halves = np.column_stack([figures.half_widths(level), self.sums.position.half_width(error, level)])
        names = (*figures.names, "position_share")
        return label_heads(
            [dict(zip(names, row, strict=True)) for row in values.tolist()],
            [dict(zip(names, row, strict=True)) for row in halves.tolist()],
        )

    def agreement(self, layer: int) -> Agreement:
        """How alike every two heads of a layer are.

        Raises:
            ValueError: If there is no such layer.
        """
        sums = self.sums.agreement
        rows = np.flatnonzero(sums.layer == layer)
        if len(rows) == 0:
            raise ValueError(
                f"layer must be one of the {int(sums.layer.max()) + 1} attention layers, numbered from 0, but got "
                f"{layer=}."
            )
        square = np.ix_(rows, np.arange(len(rows)))
        value, half = sums.means()[square], sums.half_widths(self.level)[square]
        return Agreement(value, value - half, value + half)


def survey_specialization(
    specimen: Specimen,
    batches: Iterable[Tensor] | Tensor,
    *,
    ids: Sequence[str] | None = None,
    boxes: Tensor | None = None,
    masks: Tensor | None = None,
    seed: int = 0,
) -> HeadSpecialization:
    """What every head specializes in, over a data set, in constant memory.

    Args:
        specimen: A model with attention.
        batches: Batches of images in [0, 1] or 8 bit, of any size, or one tensor of images.
        ids: Names of all images, all different; their numbers from 0 if None. They name typical images and deal
            images into groups for the interval of the position share.
        boxes: Of the object in each image, (image, 4): x_min, y_min, x_max, y_max in pixels of the images given; NaN
            where unknown.
        masks: True on the object in each image, (image, height, width), instead of boxes; empty where unknown.
        seed: Chooses the rows on which costly figures are sampled.

    Raises:
        ValueError: If there is no image, ids, boxes or masks do not fit the images, or attention is not finite.
        SelfCheckError: If the model has no attention that can be seen; says why.
    """
    total: SpecializationSums | None = None
    for images, known in _with_what_is_known(batches, {"ids": ids, "boxes": boxes, "masks": masks}):
        sums = sum_specialization(
            specimen, images, ids=known["ids"], boxes=known["boxes"], masks=known["masks"], seed=seed
        )
        total = sums if total is None else total + sums
    if total is None:
        raise ValueError("survey_specialization needs at least one batch of images, but got none.")
    return HeadSpecialization(total)


def _with_what_is_known(
    batches: Iterable[Tensor] | Tensor, given: Mapping[str, Sequence[str] | Tensor | None]
) -> Iterator[tuple[Tensor, dict]]:
    """Each batch with its part of what is known of all images; at the end there must be as much as images."""
    start = 0
    for images in [batches] if isinstance(batches, Tensor) else batches:
        stop = start + len(images)
        known: dict = {name: None if whole is None else whole[start:stop] for name, whole in given.items()}
        if given["ids"] is None:
            known["ids"] = [str(number) for number in range(start, stop)]
        yield images, known
        start = stop
    for name, whole in given.items():
        if whole is not None and len(whole) != start:
            raise ValueError(f"{name} must be as many as images, but got {len(whole)} for {start} images.")
