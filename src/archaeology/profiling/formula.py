"""The FLOPs of a plain vision transformer in closed form, to hold against what is counted.

With `N` tokens of `D` features, every block makes queries, keys, values and the output (`4 N D^2` multiply-adds),
compares all tokens and mixes their values (`2 N^2 D`), and thinks (`2 N D H`): only one of the three grows with the
square of the tokens. Source: `dosovitskiy2021image`. Differs: we count 2 FLOPs a multiply-add; papers often say FLOPs
and mean multiply-adds.
"""

from dataclasses import dataclass
from typing import Any

from torch import nn

from archaeology.attention.multi_head import MultiHeadAttention
from archaeology.attention.softmax import Softmax
from archaeology.models.vit import ViT
from archaeology.specimens.specimen import Specimen

OF_A_MULTIPLY_ADD = 2


@dataclass(frozen=True)
class PlainViT:
    """The sizes that the cost of one image depends on.

    Attributes:
        tokens: Patches and those before them.
        patches: Places where a patch is cut.
        patch_size: Side of a patch in pixels, of three channels.
        embed_dim: Features of a token.
        depth: Blocks.
        hidden: Features inside the MLP.
        classes: Logits, read from one token (or the mean of all).
    """

    tokens: int
    patches: int
    patch_size: int
    embed_dim: int
    depth: int
    hidden: int
    classes: int

    @property
    def pair_flops(self) -> int:
        """Of products between tokens: all that grows with the square of their number."""
        return OF_A_MULTIPLY_ADD * self.depth * 2 * self.tokens**2 * self.embed_dim

    @property
    def flops(self) -> int:
        """Of one image; norms, softmax, activations and additions are left out, as the counter leaves them."""
        cutting = self.patches * 3 * self.patch_size**2 * self.embed_dim
        a_block = self.tokens * self.embed_dim * (4 * self.embed_dim + 2 * self.hidden)
        reading = self.embed_dim * self.classes
        return OF_A_MULTIPLY_ADD * (cutting + self.depth * a_block + reading) + self.pair_flops


def plain_vit(specimen: Specimen) -> PlainViT | None:
    """The sizes of a plain ViT of timm, torchvision, Hugging Face or our own; None for any other model."""
    layout = specimen.layout
    if layout is None or layout.order != "flat":
        return None
    sizes = _sizes(specimen.model)
    return None if sizes is None else PlainViT(layout.num_tokens, layout.num_patches, *sizes)


def _sizes(model: Any) -> tuple[int, int, int, int, int] | None:
    """Patch size, features, blocks, hidden features and classes."""
    library, kind = type(model).__module__.partition(".")[0], type(model).__name__
    if type(model) is ViT:
        return _of_our_own(model)
    if (library, kind) == ("timm", "VisionTransformer"):
        hidden = getattr(getattr(model.blocks[0].mlp, "fc1", None), "out_features", None)
        patch = model.patch_embed.patch_size[0]
        return hidden and (patch, model.embed_dim, len(model.blocks), hidden, model.num_classes)
    if (library, kind) == ("torchvision", "VisionTransformer"):
        depth, classes = len(model.encoder.layers), model.heads[-1].out_features
        return model.patch_size, model.hidden_dim, depth, model.mlp_dim, classes
    network = getattr(model, "network", None)
    if type(network).__name__ == "ViTForImageClassification":
        facts: Any = network.config  # pyright: ignore[reportOptionalMemberAccess]
        return (
            facts.patch_size,
            facts.hidden_size,
            facts.num_hidden_layers,
            facts.intermediate_size,
            facts.num_labels,
        )
    return None


def _of_our_own(model: ViT) -> tuple[int, int, int, int, int] | None:
    first: Any = model.blocks[0]
    if model.pooling == "distilled":  # two heads
        return None
    attends = isinstance(first.attn, MultiHeadAttention) and isinstance(first.attn.mechanism, Softmax)
    if not (attends and isinstance(model.patch_embed, nn.Linear) and isinstance(model.head, nn.Linear)):
        return None
    hidden = first.mlp[0].out_features
    return model.patch_size, model.head.in_features, len(model.blocks), hidden, model.head.out_features
