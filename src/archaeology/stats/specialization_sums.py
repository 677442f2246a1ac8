"""The running sums behind a specialization matrix: means, spreads, mean patterns and the best images so far.

They can be added, and turned to arrays and back, so a survey can be cut into chunks, stopped and taken up again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from archaeology.capture.attention import Attention
from archaeology.capture.hidden import why_nothing
from archaeology.capture.interceptor import intercepted
from archaeology.core.seeding import torch_generator
from archaeology.core.shapes import Image, PixelImage
from archaeology.specimens.specimen import Specimen
from archaeology.stats.agreement import AgreementSums
from archaeology.stats.distance import patch_distances
from archaeology.stats.labels import MIXED, RULES
from archaeology.stats.layer import LayerView, Watcher, view_of
from archaeology.stats.position_share import PositionRows, PositionSums
from archaeology.stats.scene import Scene, scene_of
from archaeology.stats.scene_alignment import (
    ColourSums,
    edge_alignment,
    object_alignment,
    received_by_patches,
)
from archaeology.stats.sums import HeadSums
from archaeology.stats.survey import LayerValues, images_per_pass, statistic_names
from archaeology.stats.typical import Extremes

SCENE_FIGURES = ("relative_distance", "edge_alignment", "colour_alignment", "object_alignment")


def figure_names() -> list[str]:
    """Every figure that is a mean over images, in the order of the columns."""
    return [*statistic_names(), *SCENE_FIGURES]


@dataclass(frozen=True)
class ChosenBy:
    """By which figure the typical images of a label are chosen, and which end of it."""

    figure: str
    words: Literal["largest", "smallest"]


TYPICAL = {
    rule.label: ChosenBy(rule.figure, "largest" if rule.side == "above" else "smallest") for rule in RULES
} | {label: ChosenBy("entropy", "smallest") for label in ("positional", MIXED)}
"""Images where the figure behind the label is most extreme. The position share is no figure of one image: there, and
for mixed heads, it is the images on which the head is sharpest."""


@dataclass(frozen=True, eq=False)
class SpecializationSums:
    """What is kept of all images looked at.

    Attributes:
        figures: Every registered statistic and `SCENE_FIGURES` of every head.
        agreement: Of every head with each head of its layer; NaN beyond the heads of the layer.
        position: Sums of patterns.
        typical: For each label of `TYPICAL`, the images that would show it best.
    """

    figures: HeadSums
    agreement: HeadSums
    position: PositionSums
    typical: Extremes

    def __add__(self, other: "SpecializationSums") -> "SpecializationSums":
        """The sums over the images of both.

        Raises:
            ValueError: If they speak of different heads or figures.
        """
        return SpecializationSums(
            self.figures + other.figures,
            self.agreement + other.agreement,
            self.position + other.position,
            self.typical + other.typical,
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything as arrays, for `numpy.savez`; `SpecializationSums.from_arrays` takes them back."""
        parts = {
            "figures": self.figures,
            "agreement": self.agreement,
            "position": self.position,
            "typical": self.typical,
        }
        return {
            f"{part}.{name}": array for part, sums in parts.items() for name, array in sums.arrays().items()
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "SpecializationSums":
        """The sums that `arrays()` wrote."""

        def of(part: str) -> dict[str, np.ndarray]:
            return {name[len(part) + 1 :]: arrays[name] for name in arrays if name.startswith(f"{part}.")}

        return cls(
            HeadSums.from_arrays(of("figures")),
            HeadSums.from_arrays(of("agreement")),
            PositionSums.from_arrays(of("position")),
            Extremes.from_arrays(of("typical")),
        )


@torch.no_grad()
def sum_specialization(
    specimen: Specimen,
    images: PixelImage | Image,
    *,
    ids: Sequence[str],
    boxes: Tensor | None = None,
    masks: Tensor | None = None,
    seed: int = 0,
) -> SpecializationSums:
    """The sums of a survey of specialization over some images, to be added to those of others.

    Raises:
        ValueError: If there is no image, ids, boxes or masks do not fit the images, or attention is not finite.
        SelfCheckError: If the model has no attention that can be seen; says why.
    """
    if len(images) == 0:
        raise ValueError(
            "survey_specialization needs at least one image in every batch, but got an empty batch."
        )
    if len(ids) != len(images):
        raise ValueError(f"ids must be as many as images, but got {len(ids)} for {len(images)} images.")
    scene = None
    if specimen.layout is not None:
        scene = scene_of(images.to(specimen.device), specimen.layout, boxes, masks)
    parts = []
    step = images_per_pass(specimen)
    for start in range(0, len(images), step):
        rows = slice(start, start + step)
        few = None if scene is None else scene.part(start, start + step)
        parts.append(_sums_of_pass(specimen, images[rows], ids[rows], few, seed))
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _sums_of_pass(
    specimen: Specimen, images: Tensor, ids: Sequence[str], scene: Scene | None, seed: int
) -> SpecializationSums:
    found: list[_LayerFigures] = []

    def look(attention: Attention) -> None:
        view = view_of(attention, specimen.layout, specimen.image_size)
        found.append(_figures_of(view, len(images), scene, seed))

    with intercepted(specimen.model, look):
        specimen.predict(images)
    if not found:
        raise why_nothing(specimen, images)
    modules = [layer.module for layer in found]
    names = figure_names()
    widest = max(layer.agreement.shape[2] for layer in found)
    return SpecializationSums(
        HeadSums.of_images(modules, names, [layer.figures for layer in found]),
        HeadSums.of_images(
            modules,
            [f"head{other}" for other in range(widest)],
            [_widened(layer.agreement, widest) for layer in found],
        ),
        PositionSums.of_images(ids, [layer.entries for layer in found], [layer.num_keys for layer in found]),
        Extremes.of_images(ids, _scores(np.concatenate([layer.figures for layer in found], axis=1), names)),
    )


@dataclass(frozen=True, eq=False)
class _LayerFigures:
    """Everything one pass tells of one layer."""

    module: str
    num_keys: int
    figures: Float[np.ndarray, "image head figure"]
    agreement: Float[np.ndarray, "image head other"]
    entries: Float[np.ndarray, "image head entry"]


def _figures_of(view: LayerView, num_images: int, scene: Scene | None, seed: int) -> _LayerFigures:
    index = view.attention.index
    agreement = AgreementSums()
    position = PositionRows(view, num_images, torch_generator(seed, "position rows", index))
    watchers: list[Watcher] = [agreement, position]
    sees_places = view.layout is not None and view.attention.kind == "token"
    colours = None
    if sees_places and scene is not None and view.layout is not None:
        colours = ColourSums(scene.colours, view.layout.num_prefix)
        watchers.append(colours)
    values = LayerValues(view, torch_generator(seed, "sampled rows", index), watchers)
    statistics = values.per_image(num_images)
    figures = np.full((*statistics.shape[:2], len(SCENE_FIGURES)), np.nan)
    if colours is not None and scene is not None:
        figures = _scene_figures(values, scene, colours, statistics)
    return _LayerFigures(
        view.attention.module,
        view.attention.shape[-1],
        np.concatenate([statistics, figures], axis=2),
        agreement.per_image(num_images).cpu().numpy(),
        position.per_image(),
    )


def _scene_figures(
    values: LayerValues,
    scene: Scene,
    colours: ColourSums,
    statistics: Float[np.ndarray, "image head statistic"],
) -> Float[np.ndarray, "image head figure"]:
    """The figures in the order of `SCENE_FIGURES`."""
    assert values.columns is not None and values.view.layout is not None
    blind = float(patch_distances(values.view.layout, values.view.patch_size).mean())
    received = received_by_patches(values.columns)
    by_scene = [
        edge_alignment(received, scene.edges),
        colours.colour_alignment(),
        object_alignment(received, scene.inside),
    ]
    distance = statistics[..., statistic_names().index("distance")] / blind if blind > 0 else np.nan
    return np.stack(
        [np.broadcast_to(distance, statistics.shape[:2]), *(value.cpu().numpy() for value in by_scene)],
        axis=2,
    )


def _scores(
    figures: Float[np.ndarray, "image row figure"], names: Sequence[str]
) -> Float[np.ndarray, "image row label"]:
    """For every label of `TYPICAL`, how well each image shows it."""
    signed = [
        (1 if chosen.words == "largest" else -1) * figures[..., names.index(chosen.figure)]
        for chosen in TYPICAL.values()
    ]
    return np.stack(signed, axis=2)


def _widened(
    matrices: Float[np.ndarray, "image head other"], width: int
) -> Float[np.ndarray, "image head width"]:
    missing = width - matrices.shape[2]
    return np.pad(matrices, ((0, 0), (0, 0), (0, missing)), constant_values=np.nan)
