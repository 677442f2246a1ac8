"""The maps that the report shows: where the ViT looks, layer by layer, and what moves each model's answer."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from archaeology.capture.record import capture
from archaeology.core.names import plural
from archaeology.core.progress import progress
from archaeology.core.storage import json_text, plain_json, sha256_of
from archaeology.dig.config import DigConfig
from archaeology.dig.judging import Judged
from archaeology.dig.parts import Arrays, Parts
from archaeology.dig.seen_attention import SeenAttention, is_long, seen_at_length, seen_in
from archaeology.dig.shown_methods import cheap_methods, coarse, explain_possible
from archaeology.dig.survey import Images
from archaeology.dig.verdict import choose_pairs
from archaeology.explain.explanation import Explanation
from archaeology.specimens.specimen import Specimen

CHUNK = 10
MOST_ANSWERS = 10
FACTOR_BYTES = 256 * 2**20  # queries and keys of so many images are kept as fit into this
CONTENT = "2"  # of the parts of these stages: another number, and parts of older versions are made anew
Dimensions = tuple[str, ...]
Named = dict[str, tuple[np.ndarray, Dimensions]]
OF_LAYERS = ("layer_image", "layer", "head")
HOW_MADE = ("formula", "parameters")
DIMENSIONS: dict[str, Dimensions] = {
    "readout": (*OF_LAYERS, "row", "column"),
    "other_readout": ("other_image", "layer", "head", "row", "column"),
    "attention": (*OF_LAYERS, "query", "key"),
    "queries": (*OF_LAYERS, "token", "dim"),
    "keys": (*OF_LAYERS, "token", "dim"),
}


def sees_all_tokens(specimen: Specimen) -> bool:
    """Whether every layer lets every token look at every token, so that layers can be drawn on the image."""
    return specimen.layout is not None and specimen.layout.order == "flat"


def layer_maps(vit: Specimen, fingerprint: str, images: Images, rows: Sequence[int], parts: Parts) -> Arrays:
    """Attention of the ViT in every layer and head, as `SeenAttention` has it.

    Returns:
        Where all tokens see each other `readout` (image, layer, head, row, column) and, up to 257 tokens, `attention`
        (image, layer, head, query, key), beyond them `queries` and `keys` (image, layer, head, token, dim) of as many
        images as fit, with `scales`. Where layers see windows `pattern_N` (image, window, head, query, key) and
        `places_N` (window, token) for each layer N. All in half precision; and `modules`, the layers' names, `grids`.
        Empty for a model whose layers cannot be laid on the image.
    """

    def of_chunk(batch: torch.Tensor) -> Arrays:
        seen = seen_at_length(vit, batch) if is_long(vit) else seen_in(capture(vit, batch))
        return {} if seen is None else _stored(seen)

    found = _in_chunks("layers", fingerprint, images, rows, parts, of_chunk)
    if not found or not found[0]:
        return {}
    alike = {name for name in found[0] if name.startswith("places_")} | {"modules", "grids", "kind", "scales"}
    joined = {
        name: first if name in alike else np.concatenate([part[name] for part in found])
        for name, first in found[0].items()
    }
    for name in {"queries", "keys"} & joined.keys():
        joined[name] = joined[name][: max(1, FACTOR_BYTES // (2 * joined[name][0].nbytes))]
    return joined


def readout_maps(
    vit: Specimen, fingerprint: str, images: Images, rows: Sequence[int], parts: Parts
) -> np.ndarray:
    """The ViT's readout rows alone (image, layer, head, row, column), of images whose patterns are not kept."""

    def of_chunk(batch: torch.Tensor) -> Arrays:
        seen = seen_at_length(vit, batch) if is_long(vit) else seen_in(capture(vit, batch))
        assert seen is not None and seen.readout is not None
        return {"readout": _half(seen.readout.unflatten(-1, seen.grids[0]))}

    found = _in_chunks("readout", fingerprint, images, rows, parts, of_chunk)
    return np.concatenate([part["readout"] for part in found])


def _stored(seen: SeenAttention) -> dict[str, np.ndarray]:
    """What a part keeps of some images' attention."""
    arrays = {"modules": np.array(seen.modules), "grids": np.array(seen.grids), "kind": np.array(seen.kind)}
    if seen.readout is not None:
        arrays["readout"] = _half(seen.readout.unflatten(-1, seen.grids[0]))
    if len({tuple(pattern.shape) for pattern in seen.patterns}) == 1 and seen.kind == "token":
        arrays["attention"] = _half(torch.stack(seen.patterns, 1))
    else:
        arrays |= {f"pattern_{number}": _half(pattern) for number, pattern in enumerate(seen.patterns)}
    arrays |= {f"places_{number}": index.int().cpu().numpy() for number, index in enumerate(seen.places)}
    if seen.factors is not None:
        arrays |= {"queries": _half(seen.factors.queries), "keys": _half(seen.factors.keys)}
        arrays["scales"] = np.array(seen.factors.scales)
    return arrays


def _half(tensor: torch.Tensor) -> np.ndarray:
    return tensor.half().cpu().numpy()


def draw_maps(
    specimens: dict[str, Specimen],
    prints: dict[str, str],
    judged: dict[str, Judged],
    images: Images,
    rows: list[dict[str, Any]],
    parts: Parts,
    config: DigConfig,
) -> tuple[Named, dict[str, Any]]:
    """Arrays and attributes of `specimens.zarr`."""
    vit = specimens["vit"]
    chosen = {role: shown_method(one, judged[role]) for role, one in specimens.items()}
    confidence = np.array([max(row["vit_confidence"], row["cnn_confidence"]) for row in rows])
    pairs = choose_pairs([row["failure"] for row in rows], confidence, min(config.pair_images, len(rows)))
    layered = images.spread(config.layer_images, config.seed)
    union = sorted({*pairs, *layered})
    others = sorted({*union}.difference(layered))
    layers = dict(layer_maps(vit, prints["vit"], images, layered, parts))
    if "readout" in layers and others:
        layers["other_readout"] = readout_maps(vit, prints["vit"], images, others, parts)
    heat, made = heat_maps(specimens, prints, chosen, images, union, parts)
    facts = {name: layers.pop(name, np.array([])).tolist() for name in ("modules", "grids", "kind", "scales")}
    arrays: Named = {
        "pixels": (np.asarray(images.decoded.images[union]), ("image", "channel", "height", "width")),
        "image_index": (np.array(union, dtype=np.int64), ("image",)),
        **{name: (array, ("image", "row", "column")[: array.ndim]) for name, array in heat.items()},
        **{name: (array, _dimensions(name)) for name, array in layers.items()},
    }
    attributes = {
        "layers": facts["modules"],
        "grids": facts["grids"],
        "attention_kind": facts["kind"] or None,
        "scales": facts["scales"],
        "rows": vit.layout.rows if vit.layout else None,
        "columns": vit.layout.columns if vit.layout else None,
        "prefix": list(vit.layout.prefix) if vit.layout else [],
        "layer_images": layered,
        "pair_images": pairs,
        "other_images": others,
        **made,
    }
    return arrays, attributes


def _dimensions(name: str) -> Dimensions:
    if name.startswith("places_"):
        return "window", "token"
    if name.startswith("pattern_"):
        return "layer_image", "window", "head", "query", "key"
    return DIMENSIONS[name]


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
        return Shown(board.winner, "leaderboard", f"won on {plural(board.images, 'image')}: {board.rule}")
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
) -> tuple[Arrays, dict[str, Any]]:
    """Maps of both models by the method shown of each and by every cheap one, for the class the model predicts.

    Returns:
        `rollout`, `grad_cam_vit`, `grad_cam`, `vit_map`, `cnn_map` and `map_MODEL_METHOD` for the others (image, row,
        column), float32, pixels averaged to at most 32 rows and columns; what a model does not allow is absent. Each
        model's likeliest classes, `MODEL_top` (image, rank) with `MODEL_top_logit` and `MODEL_top_probability`. And
        attributes: `maps`, how `vit_map` and `cnn_map` were made; `methods`, how each method's maps were made and
        which array they are; `methods_missing`, why others are not there.
    """
    methods = {role: _methods_of(specimens[role], one) for role, one in shown.items()}

    def of_chunk(batch: torch.Tensor) -> Arrays:
        arrays: dict[str, np.ndarray] = {}
        facts: dict[str, Any] = {"methods": {}, "missing": {}}
        for role, specimen in specimens.items():
            logits = _logits(specimen, batch)
            arrays |= _answers(role, logits)
            found, missing = explain_possible(methods[role], specimen, batch, logits.argmax(dim=1))
            _demand(shown[role], missing)
            facts["missing"][role] = missing
            facts["methods"][role] = {
                name: _kept(role, explanation, shown[role], arrays) for name, explanation in found.items()
            }
        return {**arrays, "facts": np.array(json_text(plain_json(facts)))}

    key = sha256_of(*fingerprints.values(), *(f"{role}:{name}" for role in methods for name in methods[role]))
    found = _in_chunks("maps", key, images, rows, parts, of_chunk)
    joined = {name: np.concatenate([part[name] for part in found]) for name in found[0] if name != "facts"}
    facts = json.loads(str(found[0]["facts"]))
    made = {
        role: {**asdict(one), **{name: facts["methods"][role][one.method][name] for name in HOW_MADE}}
        for role, one in shown.items()
        if one is not None
    }
    return joined, {"maps": made, "methods": facts["methods"], "methods_missing": facts["missing"]}


def _methods_of(specimen: Specimen, shown: Shown | None) -> list[str]:
    first = () if shown is None else (shown.method,)
    return list(dict.fromkeys((*first, *cheap_methods(specimen))))


def _demand(shown: Shown | None, missing: Mapping[str, str]) -> None:
    """Raise if the method to be shown cannot be drawn: it was judged, or is the default of such models.

    Raises:
        ValueError: If so, with the reason.
    """
    if shown is not None and shown.method in missing:
        raise ValueError(f"{shown.method} must be drawn, but cannot: {missing[shown.method]}")


def _kept(
    role: str, explanation: Explanation, shown: Shown | None, arrays: dict[str, np.ndarray]
) -> dict[str, Any]:
    """Put a method's maps into arrays, under every name that readers know; what is said of them."""
    name, signed = explanation.method, explanation.attribution is not None
    heat = coarse(explanation.heatmap).float().cpu().numpy()
    known = {
        ("vit", "rollout"): "rollout",
        ("vit", "grad_cam"): "grad_cam_vit",
        ("cnn", "grad_cam"): "grad_cam",
    }
    arrays_of = [known[role, name]] if (role, name) in known else []
    arrays_of += [f"{role}_map"] if shown is not None and shown.method == name else []
    arrays |= dict.fromkeys(arrays_of, heat)
    if signed or not arrays_of:
        arrays_of.insert(0, f"map_{role}_{name}")
        arrays[arrays_of[0]] = coarse(explanation.ranking).float().cpu().numpy()
    return {
        "array": arrays_of[0],
        "is_signed": signed,
        "formula": explanation.formula,
        "parameters": dict(explanation.parameters),
    }


@torch.inference_mode()
def _logits(specimen: Specimen, batch: torch.Tensor) -> torch.Tensor:
    return specimen.predict(batch).float()


def _answers(role: str, logits: torch.Tensor) -> dict[str, np.ndarray]:
    found = logits.topk(min(MOST_ANSWERS, logits.shape[1]))
    shares = logits.softmax(dim=1).gather(1, found.indices)
    named = {"top": found.indices.int(), "top_logit": found.values, "top_probability": shares}
    return {f"{role}_{name}": values.cpu().numpy() for name, values in named.items()}


def _in_chunks(
    stage, fingerprint, images: Images, rows: Sequence[int], parts: Parts, compute
) -> list[Arrays]:
    found = []
    with progress(stage, len(rows)) as advance:
        for start in range(0, len(rows), CHUNK):
            chosen = list(rows[start : start + CHUNK])
            key = (CONTENT, fingerprint, images.key(chosen))
            found.append(
                parts.get(stage, key, len(chosen), lambda chosen=chosen: compute(images.tensor(chosen)))
            )
            advance(len(chosen))
    return found
