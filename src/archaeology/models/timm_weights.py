"""Weights of timm's models in ours: which architecture a name stands for, and which tensor goes where.

`build(*from_timm(name))` computes what timm's model of that name computes, once it holds `renamed(name, tensors)`.
timm adds a position to the class token too; here it is added to the token for good.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from archaeology.core.registry import unknown_name

#: Size -> features, blocks and heads.
VIT_SIZES = {
    "tiny": (192, 12, 3),
    "small": (384, 12, 6),
    "medium": (512, 12, 8),
    "base": (768, 12, 12),
    "large": (1024, 24, 16),
    "huge": (1280, 32, 16),
}
#: Size -> features of the first stage, blocks and heads of each stage.
SWIN_SIZES = {
    "tiny": (96, (2, 2, 6, 2), (3, 6, 12, 24)),
    "small": (96, (2, 2, 18, 2), (3, 6, 12, 24)),
    "base": (128, (2, 2, 18, 2), (4, 8, 16, 32)),
    "large": (192, (2, 2, 18, 2), (6, 12, 24, 48)),
}
#: A hybrid of timm: its stem is this, its transformer that of a size.
HYBRIDS = {
    "vit_base_mci_224": {
        "kernels": (4, 2, 2),
        "strides": (4, 2, 2),
        "widths": (192, 192),
        "activation": "gelu",
    }
}
NAMES = (
    *("vit_tiny_patch16_224", "vit_tiny_patch16_384"),
    *("vit_small_patch32_224", "vit_small_patch32_384", "vit_small_patch16_224", "vit_small_patch16_384"),
    *("vit_small_patch8_224", "vit_base_patch32_224", "vit_base_patch32_384", "vit_base_patch16_224"),
    *("vit_base_patch16_384", "vit_base_patch8_224", "vit_large_patch32_224", "vit_large_patch32_384"),
    *("vit_large_patch16_224", "vit_large_patch16_384", "vit_large_patch14_224", "vit_huge_patch14_224"),
    *("deit_tiny_patch16_224", "deit_small_patch16_224", "deit_base_patch16_224", "deit_base_patch16_384"),
    *("deit_tiny_distilled_patch16_224", "deit_small_distilled_patch16_224"),
    *("deit_base_distilled_patch16_224", "deit_base_distilled_patch16_384"),
    *("deit3_small_patch16_224", "deit3_small_patch16_384", "deit3_medium_patch16_224"),
    *("deit3_base_patch16_224", "deit3_base_patch16_384", "deit3_large_patch16_224"),
    *("deit3_large_patch16_384", "deit3_huge_patch14_224"),
    *HYBRIDS,
    *("swin_tiny_patch4_window7_224", "swin_small_patch4_window7_224", "swin_base_patch4_window7_224"),
    *("swin_large_patch4_window7_224", "swin_base_patch4_window12_384", "swin_large_patch4_window12_384"),
)
#: What a part of a name is in timm, and in ours.
SUBSTITUTIONS = (
    (r"^layers\.(\d+)\.downsample\.", r"stages.\1.merge."),
    (r"^layers\.", "stages."),
    (r"^patch_embed\.proj\.", "patch_embed."),
    (r"^patch_embed\.norm\.", "norm_patches."),
    (r"^patch_embed\.backbone\.(\d+)\.conv\.", lambda found: f"patch_embed.{3 * int(found[1])}."),
    (r"^patch_embed\.backbone\.(\d+)\.bn\.", lambda found: f"patch_embed.{3 * int(found[1]) + 1}."),
    (r"\.mlp\.fc1\.", ".mlp.0."),
    (r"\.mlp\.fc2\.", ".mlp.2."),
    (r"\.ls(\d)\.gamma$", r".scale\1.gamma"),
    (r"\.attn\.relative_position_bias_table$", ".attn.mechanism.table"),
    (r"^head\.fc\.", "head."),
    (r"^head_dist\.", "head_distillation."),
)
#: Buffers in files of old that follow from the sizes.
COMPUTED = ("relative_position_index", "attn_mask")
_VIT = re.compile(
    r"(?P<family>vit|deit3?)_(?P<size>[a-z]+)(?P<distilled>_distilled)?_patch(?P<patch>\d+)_(?P<image>\d+)"
)
_SWIN = re.compile(r"swin_(?P<size>[a-z]+)_patch(?P<patch>\d+)_window(?P<window>\d+)_(?P<image>\d+)")
_HYBRID = re.compile(r"vit_(?P<size>[a-z]+)_mci_(?P<image>\d+)")


def from_timm(
    name: str, *, image_size: int | tuple[int, int] | None = None, num_classes: int = 1000
) -> tuple[str, dict[str, Any]]:
    """Architecture and arguments of ours that are timm's model `name`.

    Args:
        name: As timm calls it; a tag after a dot says only which weights, and is passed over.
        image_size: As timm's model was built with (`img_size`); that in the name if None.
        num_classes: Logits.

    Raises:
        UnknownNameError: If no model of ours is known to be that of timm.
    """
    plain = _known(name)
    if found := _SWIN.fullmatch(plain):
        embed_dim, depths, num_heads = SWIN_SIZES[found["size"]]
        special = {"depths": depths, "window": int(found["window"]), "mlp_ratio": 4.0}
        architecture, patch_size = "swin", int(found["patch"])
    else:
        found = _VIT.fullmatch(plain) or _HYBRID.fullmatch(plain)
        assert found is not None
        embed_dim, depth, num_heads = VIT_SIZES[found["size"]]
        groups = found.groupdict()
        architecture = "deit" if groups.get("distilled") else "vit"
        patch_size = int(groups.get("patch", 16))
        special = {"depth": depth, "mlp_ratio": 4.0, "positions": "learnable", "norm_eps": 1e-6}
        if architecture == "vit":
            special["pooling"] = "class_token"
        if groups.get("family") == "deit3":
            special["layer_scale"] = 1e-6
        if plain in HYBRIDS:
            special |= {"stem": "convolutional", "stem_options": dict(HYBRIDS[plain])}
    sizes = {
        "image_size": int(found["image"]) if image_size is None else image_size,
        "patch_size": patch_size,
        "num_classes": num_classes,
        "embed_dim": embed_dim,
        "num_heads": num_heads,
    }
    return architecture, sizes | special


def renamed(name: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of timm's model `name` as that of ours.

    Args:
        name: As for `from_timm`.
        tensors: `model.state_dict()` of timm's model; files of old may name parts otherwise, which timm mends.

    Raises:
        UnknownNameError: As `from_timm`.
        ValueError: If the tensors of prefix or positions are missing. (Others that are, `load_state_dict` finds.)
    """
    plain = _known(name)
    rest = {key: tensor for key, tensor in tensors.items() if not key.endswith(COMPUTED)}
    ours = {} if plain.startswith("swin") else _tokens(plain, rest)
    for key, tensor in rest.items():
        for theirs, instead in SUBSTITUTIONS:
            key = re.sub(theirs, instead, key)
        if key == "patch_embed.weight":
            tensor = tensor.flatten(1)  # a convolution that cuts patches is a linear map of their pixels
        ours[key] = tensor.T.contiguous() if key.endswith(".mechanism.table") else tensor
    return ours


def _tokens(plain: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Prefix tokens with their positions, and the positions of the patches; taken out of `tensors`."""
    needed = ("cls_token", "dist_token") if "_distilled" in plain else ("cls_token",)
    missing = [name for name in (*needed, "pos_embed") if name not in tensors]
    if missing:
        raise ValueError(f"weights of timm's {plain} must hold {', '.join(missing)}, but do not.")
    prefix = torch.cat([tensors.pop(name) for name in needed], dim=1)
    positions = tensors.pop("pos_embed")
    if not plain.startswith("deit3") and plain not in HYBRIDS:  # in these, only patches have positions
        prefix = prefix + positions[:, : len(needed)]
        positions = positions[:, len(needed) :]
    return {"prefix": prefix, "positions.table": positions}


def _known(name: str) -> str:
    plain = name.partition(".")[0]
    if plain not in NAMES:
        raise unknown_name("counterpart of a timm model", plain, list(NAMES))
    return plain
