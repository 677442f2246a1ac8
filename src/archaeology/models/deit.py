"""A vision transformer with a teacher's seat: a token beside the class token that learns what a teacher says.

`touvron2021training`: the class token learns the label, the distillation token the teacher's answer, each with a head
of its own; together they answer by the mean. Differs: nothing but what `ViT` does otherwise.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from archaeology.models.registry import models
from archaeology.models.vit import ViT


@models.register("deit")
class DeiT(ViT):
    """A `ViT` that pools by "distilled"; learned positions.

    In training, its answer is the pair of class logits and distillation logits; in evaluation, their mean.
    """

    def __init__(
        self,
        image_size: int | Sequence[int] = 32,
        patch_size: int = 4,
        num_classes: int = 10,
        *,
        embed_dim: int = 128,
        depth: int = 6,
        num_heads: int = 4,
        mlp_ratio: float = 2.0,
        attention: str = "softmax",
        attention_options: Mapping[str, Any] | None = None,
        positions: str = "learnable",
        num_registers: int = 0,
        activation: str = "gelu",
        stem: str = "linear",
        stem_options: Mapping[str, Any] | None = None,
        norm: str = "pre",
        norm_eps: float = 1e-5,
        layer_scale: float | None = None,
        qkv_bias: bool = True,
    ) -> None:
        """Build with fresh weights; arguments and errors as those of `ViT`."""
        super().__init__(
            image_size,
            patch_size,
            num_classes,
            embed_dim=embed_dim,
            depth=depth,
            num_heads=num_heads,
            mlp_ratio=mlp_ratio,
            attention=attention,
            attention_options=attention_options,
            positions=positions,
            pooling="distilled",
            num_registers=num_registers,
            activation=activation,
            stem=stem,
            stem_options=stem_options,
            norm=norm,
            norm_eps=norm_eps,
            layer_scale=layer_scale,
            qkv_bias=qkv_bias,
        )
