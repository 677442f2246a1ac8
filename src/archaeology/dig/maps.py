"""The maps that the report shows: where the ViT looks, layer by layer, and what moves each model's answer."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from archaeology.capture.record import Record, capture
from archaeology.core.progress import progress
from archaeology.core.shapes import Heatmap
from archaeology.core.storage import json_text, plain_json, sha256_of
from archaeology.dig.config import DigConfig
from archaeology.dig.judging import Judged
from archaeology.dig.parts import Arrays, Parts
from archaeology.dig.survey import Images
from archaeology.dig.verdict import choose_pairs
from archaeology.explain.method import explain_all
from archaeology.explain.readout import readout_row
from archaeology.specimens.specimen import Specimen

CHUNK = 10
MOST_PLACES = 32
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


def draw_maps(
    specimens: dict[str, Specimen],
    prints: dict[str, str],
    judged: dict[str, Judged],
    images: Images,
    rows: list[dict[str, Any]],
    parts: Parts,
    config: DigConfig,
) -> tuple[dict[str, tuple[np.ndarray, tuple[str, ...]]], dict[str, Any]]:
    """Arrays and attributes of `specimens.zarr`."""
    vit = specimens["vit"]
    chosen = {role: shown_method(one, judged[role]) for role, one in specimens.items()}
    confidence = np.array([max(row["vit_confidence"], row["cnn_confidence"]) for row in rows])
    pairs = choose_pairs([row["failure"] for row in rows], confidence, min(config.pair_images, len(rows)))
    layered = images.spread(config.layer_images, config.seed)
    union = sorted({*pairs, *layered})
    layers = dict(layer_maps(vit, prints["vit"], images, layered, parts))
    modules = layers.pop("modules", np.array([]))
    heat, made = heat_maps(specimens, prints, chosen, images, union, parts)
    arrays = {
        "pixels": (np.asarray(images.decoded.images[union]), ("image", "channel", "height", "width")),
        "image_index": (np.array(union, dtype=np.int64), ("image",)),
        **{name: (array, ("image", "row", "column")) for name, array in heat.items()},
    }
    if "readout" in layers:
        arrays["readout"] = (layers["readout"], ("layer_image", "layer", "head", "row", "column"))
    if "attention" in layers:
        arrays["attention"] = (layers["attention"], ("layer_image", "layer", "head", "query", "key"))
    attributes = {
        "layers": modules.tolist(),
        "rows": vit.layout.rows if vit.layout else None,
        "columns": vit.layout.columns if vit.layout else None,
        "prefix": list(vit.layout.prefix) if vit.layout else [],
        "layer_images": layered,
        "pair_images": pairs,
        "maps": made,
    }
    return arrays, attributes


@dataclass(frozen=True)
class Shown:
    """The method whose maps are shown of a model.

    Attributes:
        method: Its registered name.
        chosen_by: "leaderboard" where it won, else "default".
        reason: Why, in a sentence.
    """

    method: str
    chosen_by: str
    reason: str


def shown_method(specimen: Specimen, judged: Judged) -> Shown | None:
    """The winner of the leaderboard, else rollout where all tokens see each other, else Grad-CAM; None without."""
    board = judged.board
    if board is not None and board.winner is not None:
        return Shown(board.winner, "leaderboard", f"won on {board.images} images: {board.rule}")
    reason = judged.reason if board is None else f"no method won: {board.reason}"
    if sees_all_tokens(specimen):
        return Shown("rollout", "default", reason)
    return None if specimen.target_layer is None else Shown("grad_cam", "default", reason)


def heat_maps(
    specimens: Mapping[str, Specimen],
    fingerprints: Mapping[str, str],
    shown: Mapping[str, Shown | None],
    images: Images,
    rows: Sequence[int],
    parts: Parts,
) -> tuple[Arrays, dict[str, dict[str, object]]]:
    """Rollout of the ViT, Grad-CAM of both, and the method shown of each, all for the class its model predicts.

    Returns:
        `rollout`, `grad_cam_vit`, `grad_cam`, `vit_map`, `cnn_map` (image, row, column), float32, pixels averaged to
        at most 32 rows and columns; what a model does not allow is absent. And how the last two were made, by role.
    """

    def of_chunk(batch: torch.Tensor) -> Arrays:
        arrays: dict[str, np.ndarray] = {}
        for role, specimen in specimens.items():
            one = shown[role]
            wanted = {} if one is None else {f"{role}_map": one.method}
            if role == "vit" and sees_all_tokens(specimen):
                wanted["rollout"] = "rollout"
            if specimen.target_layer is not None:
                wanted["grad_cam_vit" if role == "vit" else "grad_cam"] = "grad_cam"
            found = explain_all(sorted(set(wanted.values())), specimen, batch)
            for name, method in wanted.items():
                arrays[name] = coarse(found[method].heatmap).cpu().numpy()
                if name == f"{role}_map":
                    facts = {"formula": found[method].formula, "parameters": dict(found[method].parameters)}
                    arrays[f"{role}_facts"] = np.array(json_text(plain_json(facts)))
        return arrays

    methods = [f"{role}:{one.method}" for role, one in shown.items() if one is not None]
    key = sha256_of(*fingerprints.values(), *methods)
    found = _in_chunks("maps", key, images, rows, parts, of_chunk)
    maps = {
        name: np.concatenate([part[name] for part in found]).astype(np.float32)
        for name in found[0]
        if not name.endswith("_facts")
    }
    described = {
        role: {**asdict(one), **json.loads(str(found[0][f"{role}_facts"]))}
        for role, one in shown.items()
        if one is not None
    }
    return maps, described


def coarse(heatmap: Heatmap) -> Heatmap:
    """A map of pixels averaged over squares, so that it has at most 32 rows and columns; a map of patches as it is."""
    if max(heatmap.shape[1:]) <= MOST_PLACES:
        return heatmap
    factor = math.ceil(max(heatmap.shape[1:]) / MOST_PLACES)
    size = (math.ceil(heatmap.shape[1] / factor), math.ceil(heatmap.shape[2] / factor))
    return F.adaptive_avg_pool2d(heatmap[:, None], size)[:, 0]


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
