"""Weights of timm's EfficientViT in ours: what m0 to m5 are, and which tensor goes where.

`build(*from_timm(name))` computes what timm's model of that name computes, once it holds `renamed(name, tensors)`.
"""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from archaeology.core.registry import unknown_name

#: Name -> features, blocks and heads of each stage, and the heads' kernels (`liu2023efficientvit`, table 1).
SIZES = {
    "efficientvit_m0": ((64, 128, 192), (1, 2, 3), (4, 4, 4), (5, 5, 5, 5)),
    "efficientvit_m1": ((128, 144, 192), (1, 2, 3), (2, 3, 3), (7, 5, 3, 3)),
    "efficientvit_m2": ((128, 192, 224), (1, 2, 3), (4, 3, 2), (7, 5, 3, 3)),
    "efficientvit_m3": ((128, 240, 320), (1, 2, 3), (4, 3, 4), (5, 5, 5, 5)),
    "efficientvit_m4": ((128, 256, 384), (1, 2, 3), (4, 4, 4), (7, 5, 3, 3)),
    "efficientvit_m5": ((192, 288, 384), (1, 3, 4), (3, 3, 4), (7, 5, 3, 3)),
}
NAMES = tuple(SIZES)
#: What a part of a name is in timm, and in ours; in this order.
SUBSTITUTIONS = (
    (r"^patch_embed\.conv(\d+)\.(conv|bn)\.", lambda found: f"stem.{3 * int(found[1]) - 3}.{found[2]}."),
    (r"^stem\.(\d+)\.conv\.", r"stem.\1."),
    (r"^stem\.(\d+)\.bn\.", lambda found: f"stem.{int(found[1]) + 1}."),
    (r"\.downsample\.res1\.(\d)\.m\.", r".merge.\1.branch."),
    (r"\.downsample\.res2\.(\d)\.m\.", lambda found: f".merge.{int(found[1]) + 3}.branch."),
    (r"\.downsample\.patchmerge\.se\.", ".merge.2.2."),
    (
        r"\.downsample\.patchmerge\.conv(\d)\.",
        lambda found: f".merge.2.{ {'1': 0, '2': 1, '3': 3}[found[1]] }.",
    ),
    (r"\.dw0\.m\.", ".0.branch."),
    (r"\.ffn0\.m\.", ".1.branch."),
    (r"\.mixer\.m\.attn\.", ".2.branch.attention."),
    (r"\.dw1\.m\.", ".3.branch."),
    (r"\.ffn1\.m\.", ".4.branch."),
    (r"\.pw2\.conv\.", ".3."),
    (r"\.pw2\.bn\.", ".4."),
    (r"\.pw1\.", "."),
    (r"\.attention_biases$", ".table"),
    (r"\.qkvs\.", ".qkv."),
    (r"\.dws\.", ".local."),
    (r"\.proj\.1\.conv\.", ".proj.1."),
    (r"\.proj\.1\.bn\.", ".proj.2."),
    (r"^head\.bn\.", "norm."),
    (r"^head\.linear\.", "head."),
    (r"\.conv\.", ".0."),
    (r"\.bn\.", ".1."),
)
#: Buffers in files of old that follow from the sizes.
COMPUTED = "attention_bias_idxs"


def from_timm(
    name: str, *, image_size: int | tuple[int, int] | None = None, num_classes: int = 1000
) -> tuple[str, dict[str, Any]]:
    """Architecture and arguments of ours that are timm's model `name`.

    Args:
        name: As timm calls it; a tag after a dot says only which weights, and is passed over.
        image_size: As timm's model was built with (`img_size`), a multiple of 16; 224 if None.
        num_classes: Logits.

    Raises:
        UnknownNameError: If it is none of the EfficientViTs.
    """
    embed_dims, depths, num_heads, kernel_sizes = SIZES[_known(name)]
    return "efficientvit", {
        "image_size": 224 if image_size is None else image_size,
        "patch_size": 16,
        "num_classes": num_classes,
        "embed_dims": embed_dims,
        "depths": depths,
        "num_heads": num_heads,
        "kernel_sizes": kernel_sizes,
    }


def renamed(name: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of timm's model `name` as that of ours.

    Args:
        name: As for `from_timm`.
        tensors: `model.state_dict()` of timm's model, or what its safetensors file holds.

    Raises:
        UnknownNameError: As `from_timm`.
    """
    _known(name)
    ours = {}
    for key, tensor in tensors.items():
        if key.endswith(COMPUTED):
            continue
        for theirs, instead in SUBSTITUTIONS:
            key = re.sub(theirs, instead, key)
        ours[key] = tensor
    return ours


def _known(name: str) -> str:
    plain = name.partition(".")[0]
    if plain not in SIZES:
        raise unknown_name("EfficientViT of timm", name, list(NAMES))
    return plain
