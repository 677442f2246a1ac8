"""Attention under attack: how far each head's pattern moves, beside noise that changes the images as much.

For every layer and head: the Jensen-Shannon divergence between what a query looked at before and after, averaged over
the queries that are patches (over all queries in windows and pools, as in a survey), and that of the readout's row;
the change of entropy and of attention distance; and, for every block, how far its output moved relative to its length.
Every number is also taken for noise of the same norms (`matched_noise`), image by image, so that "the attack moves
attention more than noise does" is a number with an interval. Original, attacked and noisy images run in one pass and
are compared layer by layer as it goes, so that memory does not depend on the number of images.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from archaeology.capture.attention import Attention
from archaeology.capture.finite import not_finite
from archaeology.capture.hidden import refuse_hidden, why_nothing
from archaeology.capture.interceptor import intercepted
from archaeology.capture.outputs import outputs_kept
from archaeology.capture.record import unit_images
from archaeology.capture.suffix import units_of
from archaeology.core.halving import in_halves
from archaeology.core.seeding import content_names, torch_generator
from archaeology.core.shapes import Image, OtherImages, PixelImage
from archaeology.explain.readout import readout_weights
from archaeology.robustness.fooled import check_pairs
from archaeology.robustness.jensen_shannon import jensen_shannon
from archaeology.robustness.matched_noise import matched_noise
from archaeology.robustness.shift_result import AttentionShift
from archaeology.specimens.layout import TokenLayout
from archaeology.specimens.specimen import Specimen
from archaeology.stats.layer import LayerView, view_of, walk
from archaeology.stats.means import RowMeans
from archaeology.stats.rows import Rows, shares
from archaeology.stats.survey import images_per_pass

VERSIONS = 3  # of each image: clean, attacked, noisy
Versions = Float[Tensor, "version batch ..."]


@dataclass
class _Part:
    """What one pass over some images gives: for attack and noise, image by image."""

    modules: list[str] = field(default_factory=list[str])
    heads: list[Float[np.ndarray, "version image head measure"]] = field(default_factory=list[np.ndarray])
    stream: list[Float[np.ndarray, "version image measure"]] = field(default_factory=list[np.ndarray])
    answers: list[np.ndarray] = field(default_factory=list[np.ndarray])


def attention_shift(
    specimen: Specimen,
    clean: Image | PixelImage,
    attacked: OtherImages,
    *,
    seed: int = 0,
    at_once: int | None = None,
) -> AttentionShift:
    """How an attack moves the attention of every head, and how noise of the same size does.

    Args:
        specimen: A model with attention.
        clean: Images before the attack, in [0, 1] or 8 bit; `fooled_by(result)` has those that an attack turned.
        attacked: The same images after, pair by pair.
        seed: Of the noise.
        at_once: Pairs in one pass; by their size if None.

    Raises:
        ValueError: If the model has no attention, the images make no pairs, one was not changed, or the model's
            answers are not finite.
        SelfCheckError: If the model shows no attention; says why.
    """
    check_transformer(specimen)
    check_pairs(clean, attacked)
    refuse_hidden(specimen.model)
    with torch.no_grad():
        units = units_of(specimen.model, lambda: specimen.predict(clean[:2]))
    blocks = tuple(unit.path for unit in units)
    at_once = at_once or images_per_pass(specimen)
    parts = [
        part
        for _, part in in_halves(
            lambda which: _of_some(specimen, clean[which], attacked[which], blocks, seed), len(clean), at_once
        )
    ]
    modules = tuple(parts[0].modules)
    heads = tuple(layer.shape[2] for layer in parts[0].heads)
    moved = np.concatenate([_padded(part.heads, heads) for part in parts], axis=1)
    stream = np.concatenate([np.stack(part.stream, axis=2) for part in parts], axis=1) if blocks else None
    answers = np.concatenate([part.answers[0] for part in parts], axis=1)
    return AttentionShift(
        modules=modules,
        heads=heads,
        blocks=blocks,
        attack=moved[0],
        noise=moved[1],
        stream_attack=None if stream is None else stream[0],
        stream_noise=None if stream is None else stream[1],
        changed=answers[1:].T != answers[:1].T,
        seed=seed,
    )


def check_transformer(specimen: Specimen) -> None:
    """Refuse a model without attention.

    Raises:
        ValueError: If it is no transformer; says what can be asked of it.
    """
    if specimen.kind != "transformer":
        raise ValueError(
            f"only a model with attention can be asked this, but {specimen.name} is {specimen.kind}; compare it by "
            "patch_robustness or by its curves."
        )


@torch.no_grad()
def _of_some(specimen: Specimen, clean: Tensor, attacked: Tensor, blocks: Sequence[str], seed: int) -> _Part:
    clean, attacked = unit_images(clean, specimen.device), unit_images(attacked, specimen.device)
    noisy = matched_noise(clean, attacked, content_names(clean), seed)
    images, part = torch.cat([clean, attacked, noisy]), _Part()

    def look(attention: Attention) -> None:
        part.modules.append(attention.module)
        view = view_of(attention, specimen.layout, specimen.image_size)
        part.heads.append(_of_layer(view, len(images)))

    with intercepted(specimen.model, look), outputs_kept(specimen.model, blocks) as outputs:
        logits = specimen.predict(images)
    if not part.heads:
        raise why_nothing(specimen, clean)
    if not logits.isfinite().all():
        raise not_finite(specimen, images)
    part.stream = [_of_stream(outputs[block], specimen.layout, len(images)) for block in blocks]
    part.answers = [logits.argmax(1).unflatten(0, (VERSIONS, -1)).cpu().numpy()]
    return part


class RowShifts:
    """How far rows move from the first version of each image to the others, while a layer's rows pass by."""

    def __init__(self, view: LayerView) -> None:
        self._total: Any = 0
        self._count = 0
        self._read: Any = 0

    def add(self, rows: Rows, span: slice) -> None:
        """Take some rows in."""
        inverse, _ = shares(rows)
        share = rows.pattern * inverse[..., None]
        clean, *others = share.unflatten(0, (VERSIONS, -1))
        moved = torch.stack([jensen_shannon(clean, other).sum(dim=-1) for other in others])
        self._total = self._total + moved.double()
        self._count += span.stop - span.start
        self._read = self._read + share.sum(dim=2).double()

    def mean(self, num_images: int) -> Float[Tensor, "version image head"]:
        """Over all queries of an image, those of its windows together."""
        per_example = self._total / self._count
        return per_example.unflatten(1, (num_images, -1)).mean(dim=2)

    @property
    def read(self) -> Float[Tensor, "example head key"]:
        """What all queries together look at."""
        return self._read / self._count


def _of_layer(view: LayerView, num_examples: int) -> Float[np.ndarray, "version image head measure"]:
    """Measures of one layer: shift, readout's shift, change of entropy and of distance."""
    num_images = num_examples // VERSIONS
    means = RowMeans(view, torch_generator(0, "unused"), ["entropy", "distance"])
    shifts = RowShifts(view)
    walk(view, [means, shifts])
    row = _readout_row(view, shifts)
    moved = shifts.mean(num_images)
    of_readout = torch.full_like(moved, torch.nan)
    if row is not None:
        clean, *others = row.unflatten(0, (VERSIONS, -1))
        of_readout = torch.stack([jensen_shannon(clean, other) for other in others])
    values = means.per_image(num_examples)
    values = values.reshape(VERSIONS, num_images, *values.shape[1:])
    both = torch.stack([moved, of_readout], dim=-1).cpu().numpy()
    return np.concatenate([both, values[1:] - values[:1]], axis=-1)


def _readout_row(view: LayerView, shifts: RowShifts) -> Float[Tensor, "example head key"] | None:
    """What the readout looks at: the class token's row, or the mean of the patches'; None where places are unknown."""
    layout = view.layout
    if layout is None:
        return None
    token = layout.class_token
    if view.attention.kind != "token" or layout.readout != "class_token" or token is None:
        return shifts.read
    rows = view.rows(slice(token, token + 1))
    inverse, _ = shares(rows)
    return (rows.pattern * inverse[..., None])[:, :, 0].double()


def _of_stream(
    output: Tensor, layout: TokenLayout | None, num_examples: int
) -> Float[np.ndarray, "version image measure"]:
    """Length of the change of a block's output over its own length: of all tokens, and of what the readout reads."""
    num_images = num_examples // VERSIONS
    found = torch.full((VERSIONS - 1, num_images, 2), torch.nan, dtype=torch.float64)
    if len(output) != num_examples:
        return found.numpy()
    found[..., 0] = _relative(output)
    if (
        output.ndim == 3
        and layout is not None
        and layout.order == "flat"
        and output.shape[1] == layout.num_tokens
    ):
        weights = readout_weights(layout).to(output)
        found[..., 1] = _relative(torch.einsum("btd,t->bd", output, weights))
    return found.numpy()


def _relative(output: Tensor) -> Float[Tensor, "version image"]:
    clean, *others = output.flatten(1).double().unflatten(0, (VERSIONS, -1))
    length = clean.norm(dim=1)
    return torch.stack([(other - clean).norm(dim=1) / length for other in others]).cpu()


def _padded(
    layers: Sequence[np.ndarray], heads: Sequence[int]
) -> Float[np.ndarray, "version image layer head measure"]:
    """Layers `(version, image, head, measure)` as one array, NaN beyond a layer's last head."""
    versions, images, _, measures = layers[0].shape
    found = np.full((versions, images, len(heads), max(heads), measures), np.nan)
    for number, layer in enumerate(layers):
        found[:, :, number, : heads[number]] = layer
    return found
