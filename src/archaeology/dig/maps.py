"""The maps that the report shows: where the ViT looks, layer by layer, and what moves each model's answer."""

from collections.abc import Sequence

import numpy as np
import torch

from archaeology.capture.record import Record, capture
from archaeology.core.progress import progress
from archaeology.core.storage import sha256_of
from archaeology.dig.parts import Arrays, Parts
from archaeology.dig.survey import Images
from archaeology.explain.explanation import explain
from archaeology.explain.readout import readout_row
from archaeology.specimens.specimen import Specimen

CHUNK = 10
FULL_PATTERN_TOKENS = 257  # beyond this a full pattern is larger than the queries and keys it came from


def sees_all_tokens(specimen: Specimen) -> bool:
    """Whether every layer lets every token look at every token, so that layers can be drawn on the image."""
    return specimen.layout is not None and specimen.layout.order == "flat"


def layer_maps(vit: Specimen, fingerprint: str, images: Images, rows: Sequence[int], parts: Parts) -> Arrays:
    """The ViT's readout rows in every layer and head, and the full patterns where they are small.

    Returns:
        `readout` (image, layer, head, row, column) and, up to 257 tokens, `attention` (image, layer, head, query,
        key), both float16; `modules`, the layers' names. Empty for a model whose layers see windows.
    """
    if not sees_all_tokens(vit):
        return {}
    layout = vit.layout
    assert layout is not None

    def of_chunk(batch: torch.Tensor) -> Arrays:
        record = capture(vit, batch)
        layers = full_layers(record)
        readout = torch.stack(
            [readout_row(pattern, layout)[..., layout.num_prefix :] for _, pattern in layers], 1
        )
        arrays = {
            "readout": readout.unflatten(-1, (layout.rows, layout.columns)).half().cpu().numpy(),
            "modules": np.array([module for module, _ in layers]),
        }
        if layout.num_tokens <= FULL_PATTERN_TOKENS:
            arrays["attention"] = torch.stack([pattern for _, pattern in layers], 1).half().cpu().numpy()
        return arrays

    found = _in_chunks("layers", fingerprint, images, rows, parts, of_chunk)
    joined = {name: np.concatenate([part[name] for part in found]) for name in found[0] if name != "modules"}
    return {**joined, "modules": found[0]["modules"]}


def full_layers(record: Record) -> list[tuple[str, torch.Tensor]]:
    """Name and pattern of the layers in which all tokens attend to each other."""
    assert record.layout is not None
    tokens = record.layout.num_tokens
    return [
        (attention.module, attention.pattern)
        for attention in record.attentions
        if attention.kind == "token" and attention.pattern.shape[-1] == tokens
    ]


def heat_maps(
    vit: Specimen,
    cnn: Specimen,
    fingerprints: tuple[str, str],
    images: Images,
    rows: Sequence[int],
    parts: Parts,
) -> Arrays:
    """Rollout of the ViT and Grad-CAM of both, each for the class its model predicts.

    Returns:
        `rollout`, `grad_cam_vit`, `grad_cam` (image, row, column), float32; a method that a model does not allow is
        absent (rollout where layers see windows, Grad-CAM without a layer to read).
    """

    def of_chunk(batch: torch.Tensor) -> Arrays:
        arrays = {}
        if sees_all_tokens(vit):
            arrays["rollout"] = explain("rollout", capture(vit, batch)).heatmap.cpu().numpy()
        for name, specimen in (("grad_cam_vit", vit), ("grad_cam", cnn)):
            if specimen.target_layer is not None:
                record = capture(
                    specimen, batch, taps=(specimen.target_layer,), patterns=False, gradients=True
                )
                arrays[name] = explain("grad_cam", record).heatmap.cpu().numpy()
        return arrays

    found = _in_chunks("maps", sha256_of(*fingerprints), images, rows, parts, of_chunk)
    return {name: np.concatenate([part[name] for part in found]).astype(np.float32) for name in found[0]}


def _in_chunks(
    stage, fingerprint, images: Images, rows: Sequence[int], parts: Parts, compute
) -> list[Arrays]:
    found = []
    with progress(stage, len(rows)) as advance:
        for start in range(0, len(rows), CHUNK):
            chosen = list(rows[start : start + CHUNK])
            key = (fingerprint, images.key(chosen))
            found.append(
                parts.get(stage, key, len(chosen), lambda chosen=chosen: compute(images.tensor(chosen)))
            )
            advance(len(chosen))
    return found
