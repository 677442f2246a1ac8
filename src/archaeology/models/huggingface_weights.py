"""Weights of Hugging Face's models in ours: which architecture a configuration is, and which tensor goes where.

The backbone of ours computes what theirs computes; so does the head where theirs maps the class token or the mean of
the patches linearly. Queries, keys and values are one matrix here and three there.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from archaeology.core.registry import unknown_name

#: `model_type` -> tokens before the patches, as their files call them.
PREFIXES = {
    "vit": ("cls_token",),
    "deit": ("cls_token", "distillation_token"),
    "dinov2": ("cls_token",),
    "dinov2_with_registers": ("cls_token", "register_tokens"),
}
TYPES = (*PREFIXES, "swin")
#: What a part of a name is there (versions 5 and 4), and in ours; the name of the whole model is cut off before.
SUBSTITUTIONS = (
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed."),
    (r"^embeddings\.norm\.", "norm_patches."),
    (r"^(?:encoder\.)?layers?\.(\d+)\.(?:layernorm_before|norm1)\.", r"blocks.\1.norm1."),
    (r"^(?:encoder\.)?layers?\.(\d+)\.(?:layernorm_after|norm2)\.", r"blocks.\1.norm2."),
    (r"^(?:encoder\.)?layers?\.(\d+)\.layer_scale(\d)\.lambda1$", r"blocks.\1.scale\2.gamma"),
    (r"^encoder\.layers\.(\d+)\.downsample\.", lambda found: f"stages.{int(found[1]) + 1}.merge."),
    (r"^(?:encoder\.)?layers?\.(\d+)\.", r"blocks.\1."),
    (r"^blocks\.(\d+)\.blocks\.", r"stages.\1.blocks."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.attention\.(?:o_proj|output\.dense)\.", ".attn.proj."),
    (
        r"\.attention\.(?:self|relative_position_bias)\.relative_position_bias_table$",
        ".attn.mechanism.table",
    ),
    (r"\.(?:mlp\.fc1|intermediate\.dense)\.", ".mlp.0."),
    (r"\.(?:mlp\.fc2|output\.dense)\.", ".mlp.2."),
    (r"^layernorm\.", "norm."),
    (r"^(?:cls_)?classifier\.", "head."),
    (r"^distillation_classifier\.", "head_distillation."),
)
_QKV = re.compile(
    r"^(?P<layer>.*?)\.attention\.(?:attention\.|self\.)?(?P<part>q_proj|k_proj|v_proj|query|key|value)\."
)
_ORDER = {"q_proj": 0, "query": 0, "k_proj": 1, "key": 1, "v_proj": 2, "value": 2}
_COMPUTED = ("relative_position_index", "mask_token")


def from_huggingface(
    config: Mapping[str, Any], *, reads_both: bool = False, num_classes: int = 1000
) -> tuple[str, dict[str, Any]]:
    """Architecture and arguments of ours that are the model of a configuration.

    Args:
        config: `config.to_dict()`, or what `config.json` holds.
        reads_both: Whether a DeiT has a second head on its distillation token.
        num_classes: Logits.

    Raises:
        UnknownNameError: If no model of ours is known to be one of that type.
        ValueError: If it has a part that ours lacks; says which.
    """
    kind = str(config.get("model_type"))
    if kind not in TYPES:
        raise unknown_name("counterpart of a Hugging Face model type", kind, list(TYPES))
    _check_parts(kind, config)
    image_size = config["image_size"]
    arguments: dict[str, Any] = {
        "image_size": image_size if isinstance(image_size, int) else tuple(image_size),
        "patch_size": config["patch_size"],
        "num_classes": num_classes,
        "mlp_ratio": float(config["mlp_ratio"])
        if "mlp_ratio" in config
        else config["intermediate_size"] / config["hidden_size"],
    }
    if kind == "swin":
        return "swin", arguments | {
            "embed_dim": config["embed_dim"],
            "depths": tuple(config["depths"]),
            "num_heads": tuple(config["num_heads"]),
            "window": config["window_size"],
        }
    arguments |= {
        "embed_dim": config["hidden_size"],
        "depth": config["num_hidden_layers"],
        "num_heads": config["num_attention_heads"],
        "positions": "learnable",
        "norm_eps": config["layer_norm_eps"],
    }
    if kind == "deit" and reads_both:
        return "deit", arguments
    registers = {"deit": 1, "dinov2_with_registers": config.get("num_register_tokens", 0)}.get(kind, 0)
    arguments |= {"pooling": "class_token", "num_registers": registers}
    if kind.startswith("dinov2"):
        arguments["layer_scale"] = float(config["layerscale_value"])
    return "vit", arguments


def _check_parts(kind: str, config: Mapping[str, Any]) -> None:
    """Raise where the model has something that ours has not."""
    if config.get("hidden_act") != "gelu":
        raise ValueError(
            f"hidden_act must be 'gelu' in a {kind} of ours, but is {config.get('hidden_act')!r}."
        )
    if config.get("use_swiglu_ffn"):
        raise ValueError(
            f"a {kind} of ours has MLPs of two linear maps, but this one has gated ones (SwiGLU)."
        )
    if config.get("use_absolute_embeddings"):
        raise ValueError("a Swin of ours has relative positions alone, but this one adds absolute ones.")
    if not config.get("qkv_bias", True):
        raise ValueError(f"queries, keys and values must have a bias in a {kind} of ours, but have none.")


def renamed_huggingface(kind: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of a Hugging Face model as that of ours.

    Args:
        kind: Its `model_type`.
        tensors: `model.state_dict()`, with or without a head, as versions 4 and 5 of transformers name them.

    Raises:
        ValueError: If the tensors of prefix or positions are missing. (Others that are, `load_state_dict` finds.)
    """
    beginning = re.compile(rf"^{'deit' if kind == 'deit' else kind.partition('_')[0]}\w*\.")
    rest = {
        beginning.sub("", name): tensor
        for name, tensor in tensors.items()
        if not name.endswith(_COMPUTED) and ".pooler." not in f".{name}"
    }
    ours = {} if kind == "swin" else _tokens(kind, rest)
    threes: dict[str, list[Tensor | None]] = {}
    for name, tensor in rest.items():
        found = _QKV.match(name)
        if found:
            joined = f"{found['layer']}.attn.qkv.{name.rpartition('.')[2]}"
            threes.setdefault(_renamed(joined), [None, None, None])[_ORDER[found["part"]]] = tensor
            continue
        key = _renamed(name)
        if key == "patch_embed.weight":
            tensor = tensor.flatten(1)  # a convolution that cuts patches is a linear map of their pixels
        ours[key] = tensor.T.contiguous() if key.endswith(".mechanism.table") else tensor
    return ours | {
        key: torch.cat([part for part in parts if part is not None]) for key, parts in threes.items()
    }


def _renamed(name: str) -> str:
    for theirs, instead in SUBSTITUTIONS:
        name = re.sub(theirs, instead, name)
    return name


def _tokens(kind: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Prefix tokens with their positions, and the positions of the patches; taken out of `tensors`."""
    names = [f"embeddings.{name}" for name in PREFIXES[kind]]
    missing = [name for name in (*names, "embeddings.position_embeddings") if name not in tensors]
    if missing:
        raise ValueError(f"weights of a {kind} must hold {', '.join(missing)}, but do not.")
    positions = tensors.pop("embeddings.position_embeddings")
    prefix = torch.cat([tensors.pop(name) for name in names], dim=1)
    placed = 1 if kind == "dinov2_with_registers" else len(names)  # registers have no position
    prefix[:, :placed] += positions[:, :placed]
    return {"prefix": prefix, "positions.table": positions[:, placed:]}
