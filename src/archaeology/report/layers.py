"""Images through all layers: what the readout attends to in each layer, head by head, and what rollout makes of it."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from archaeology.dig.directory import RunDirectory
from archaeology.report.pairs import rollout_maps
from archaeology.report.pictures import Scale, atlas, attention_scale, heat_uri, side_by_side
from archaeology.report.shown import ShownImage

ATLAS_BUDGET = 4_000_000


@dataclass(frozen=True)
class LayerStrip:
    """One image in every layer, as data URIs.

    Attributes:
        image: The image.
        strip: Mean over heads of each layer, first to last in one row.
        rollout: Its rollout, or "" where there is none.
        heads: Every head: layers down, heads across; "" where the page had no room for it.
    """

    image: ShownImage
    strip: str
    rollout: str
    heads: str


@dataclass(frozen=True)
class Layers:
    """The chapter.

    Attributes:
        strips: One per image.
        num_layers: How many layers each strip shows.
        num_heads: Heads of each layer.
        mean_scale: Of all strips.
        head_scale: Of all heads.
        rollout_scale: Of all rollouts.
        readout: Who looks, in words.
    """

    strips: tuple[LayerStrip, ...]
    num_layers: int
    num_heads: int
    mean_scale: Scale
    head_scale: Scale
    rollout_scale: Scale
    readout: str


def layers(run: RunDirectory, images: dict[int, ShownImage]) -> Layers | None:
    """The strips of `layer_images`; None for a run without readout attention (windows, no tokens)."""
    chosen = [int(row) for row in run.specimens.attrs["layer_images"]]
    if "readout" not in run.specimens or not chosen:
        return None
    readout = np.asarray(run.specimens["readout"]).astype(np.float32)
    readout = readout * (readout.shape[3] * readout.shape[4])
    means = readout.mean(axis=2)
    rollout = rollout_maps(run)
    place = {int(row): at for at, row in enumerate(np.asarray(run.specimens["image_index"]))}
    mean_scale = attention_scale(means, coding="square root")
    head_scale = attention_scale(readout, coding="square root")
    rollout_scale = attention_scale(rollout, coding="linear")
    heads = atlases(readout, head_scale)
    strips = [
        LayerStrip(
            image=images[row],
            strip=heat_uri(mean_scale.place(side_by_side(means[at]))),
            rollout=_rollout_uri(rollout[place[row]], rollout_scale),
            heads=heads[at],
        )
        for at, row in enumerate(chosen)
    ]
    reads = (run.run["models"]["vit"]["layout"] or {}).get("readout")
    return Layers(
        strips=tuple(strips),
        num_layers=readout.shape[1],
        num_heads=readout.shape[2],
        mean_scale=mean_scale,
        head_scale=head_scale,
        rollout_scale=rollout_scale,
        readout="the class token" if reads == "class_token" else "the average patch",
    )


def _rollout_uri(values: Float[np.ndarray, "row column"], scale: Scale) -> str:
    return heat_uri(scale.place(values)) if np.isfinite(values).all() else ""


def atlases(
    readout: Float[np.ndarray, "image layer head row column"], scale: Scale, budget: int = ATLAS_BUDGET
) -> list[str]:
    """All heads of each image as data URIs, "" for the images for which the page has no room left."""
    uris: list[str] = []
    for maps in readout:
        uri = heat_uri(scale.place(atlas(maps))) if budget > 0 else ""
        budget -= len(uri)
        uris.append(uri if budget >= 0 else "")
    return uris
