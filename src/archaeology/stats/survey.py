"""A survey asks every head the same questions about every image and keeps only counts, means and spreads.

For each image, layer and head a statistic is averaged over the queries that are patches (over all queries
where a layer works on windows or pools its tokens), so an image gives one number; the interval is Student's
over images. Patterns are made a few rows of a few images at a time, looked at while they are still in the
processor's cache, and dropped: memory depends neither on the number of images nor on the size of the
batches given.

Distance and class-token mass need to know where the keys are. They are NaN in layers that see windows
(Swin), features (channel attention) or another grid than the declared layout. Negative weights (talking
heads) count as none.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from archaeology.capture.attention import Attention
from archaeology.capture.hidden import why_nothing
from archaeology.capture.interceptor import intercepted
from archaeology.core.registry import unknown_name
from archaeology.core.seeding import torch_generator
from archaeology.core.shapes import Image, PixelImage
from archaeology.specimens.specimen import Specimen
from archaeology.stats.columns import ColumnSums, column_statistics, column_values
from archaeology.stats.layer import LayerView, Watcher, view_of, walk
from archaeology.stats.means import RowMeans
from archaeology.stats.rows import statistics
from archaeology.stats.sums import HeadSums

PIXELS_PER_PASS = 2 * 224 * 224


@dataclass(frozen=True, eq=False)
class HeadSurvey:
    """What a survey found, for every head of every layer.

    Attributes:
        sums: The running means behind it.
        level: Coverage of the intervals.
    """

    sums: HeadSums
    level: float = 0.95

    def table(self) -> list[dict[str, object]]:
        """One row for each head: `layer, head, module, n`; for each statistic its mean, `_low`, `_high`.

        NaN where a statistic is not defined; its interval is NaN too with fewer than two images.
        """
        sums = self.sums
        mean, half = sums.means(), sums.half_widths(self.level)
        table: list[dict[str, object]] = []
        for row, module in enumerate(sums.modules):
            entry: dict[str, object] = {
                "layer": int(sums.layer[row]),
                "head": int(sums.head[row]),
                "module": module,
                "n": sums.num_images,
            }
            for column, name in enumerate(sums.names):
                entry[name] = float(mean[row, column])
                entry[f"{name}_low"] = float(mean[row, column] - half[row, column])
                entry[f"{name}_high"] = float(mean[row, column] + half[row, column])
            table.append(entry)
        return table


def survey_heads(
    specimen: Specimen,
    batches: Iterable[Tensor] | Tensor,
    *,
    names: Sequence[str] | None = None,
    seed: int = 0,
) -> HeadSurvey:
    """Statistics of every head over a data set, in constant memory.

    Args:
        specimen: A model with attention.
        batches: Batches of images in [0, 1] or 8 bit, of any size, or one tensor of images.
        names: Which statistics; all registered ones if None. What none of them needs is not computed.
        seed: Chooses the rows on which costly statistics are sampled.

    Raises:
        ValueError: If there is no image or no statistic.
        UnknownNameError: If there is no statistic of a name; the message suggests the nearest.
        SelfCheckError: If the model has no attention that can be seen; says why.
    """
    total: HeadSums | None = None
    for images in [batches] if isinstance(batches, Tensor) else batches:
        sums = sum_heads(specimen, images, names=names, seed=seed)
        total = sums if total is None else total + sums
    if total is None:
        raise ValueError("survey_heads needs at least one batch of images, but got none.")
    return HeadSurvey(total)


@torch.no_grad()
def sum_heads(
    specimen: Specimen, images: PixelImage | Image, *, names: Sequence[str] | None = None, seed: int = 0
) -> HeadSums:
    """The sums of a survey over some images, to be added to those of others.

    Raises:
        ValueError: If there is no image or no statistic.
        UnknownNameError: If there is no statistic of a name; the message suggests the nearest.
        SelfCheckError: If the model has no attention that can be seen; says why.
    """
    if len(images) == 0:
        raise ValueError("survey_heads needs at least one image in every batch, but got an empty batch.")
    chosen = statistic_names(names)
    parts = [_sums_of_pass(specimen, part, chosen, seed) for part in images.split(images_per_pass(specimen))]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def images_per_pass(specimen: Specimen) -> int:
    """How many images go through the model at once: few on a CPU, where more only spill its caches."""
    height, width = specimen.image_size
    budget = PIXELS_PER_PASS * (1 if specimen.device.type == "cpu" else 16)
    return max(1, budget // (height * width))


def statistic_names(chosen: Sequence[str] | None = None) -> list[str]:
    """Registered statistics, of rows and then of columns, in the order of a survey: those chosen, or all.

    Raises:
        ValueError: If none is chosen.
        UnknownNameError: If there is no statistic of a name; the message suggests the nearest.
    """
    known = [*statistics.names(), *column_statistics.names()]
    if chosen is None:
        return known
    for name in chosen:
        if name not in known:
            raise unknown_name("statistic", name, known)
    if not chosen:
        raise ValueError(f"names must hold at least one of {', '.join(known)}, but got none.")
    return [name for name in known if name in chosen]


class LayerValues:
    """Statistics of one layer, and what others watch meanwhile.

    Attributes:
        view: The layer.
        columns: What each key receives; None where queries are few or others than the keys (pools, cross-attention)
            or the keys are no tokens, so that no key can be a sink; also where no statistic asks.
    """

    def __init__(
        self,
        view: LayerView,
        generator: torch.Generator,
        watchers: Sequence[Watcher] = (),
        names: Sequence[str] | None = None,
    ) -> None:
        """Walks through the layer once; `generator` draws the rows on which costly statistics are sampled."""
        self.view = view
        chosen = statistic_names(names)
        self._of_columns = [name for name in chosen if name in column_statistics]
        self._means = RowMeans(view, generator, [name for name in chosen if name in statistics])
        sums = ColumnSums() if self._of_columns and view.attention.kind in ("token", "window") else None
        walk(view, [self._means, *([] if sums is None else [sums]), *watchers])
        self.columns = None if sums is None else sums.columns(view.layout)

    def per_image(self, num_images: int) -> Float[np.ndarray, "image head statistic"]:
        """The statistics, in the order of `statistic_names`."""
        of_rows = self._means.per_image(num_images)
        of_columns = np.full((*of_rows.shape[:2], len(self._of_columns)), np.nan)
        if self.columns is not None:
            of_columns = column_values(self.columns, num_images, self._of_columns)
        return np.concatenate([of_rows, of_columns], axis=2)


def _sums_of_pass(
    specimen: Specimen, images: PixelImage | Image, names: Sequence[str], seed: int
) -> HeadSums:
    modules: list[str] = []
    values: list[Float[np.ndarray, "image head statistic"]] = []

    def look(attention: Attention) -> None:
        modules.append(attention.module)
        view = view_of(attention, specimen.layout, specimen.image_size)
        generator = torch_generator(seed, "sampled rows", attention.index)
        values.append(LayerValues(view, generator, names=names).per_image(len(images)))

    with intercepted(specimen.model, look):
        specimen.predict(images)
    if not values:
        raise why_nothing(specimen, images)
    return HeadSums.of_images(modules, names, values)
