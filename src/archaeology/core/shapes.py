"""The axis glossary: one word for each axis, the same in shapes, in einops patterns and in prose."""

from jaxtyping import Float, Int, UInt8
from torch import Tensor

AXES = {
    "batch": "images in one forward pass",
    "layer": "attention layers, first to last",
    "head": "attention heads of one layer",
    "query": "tokens that look",
    "key": "tokens that are looked at",
    "token": "tokens where query and key are the same set",
    "embed": "features of a token",
    "dim": "features of a token inside one head (head_dim)",
    "classes": "what the model tells apart",
    "other": "things that go with those of another axis",
    "channel": "colour channels of an image, or feature maps of a CNN",
    "height": "pixels, top to bottom",
    "width": "pixels, left to right",
    "row": "patches, top to bottom",
    "column": "patches, left to right",
}

Image = Float[Tensor, "batch channel height width"]
PixelImage = UInt8[Tensor, "batch channel height width"]
Label = Int[Tensor, " batch"]
Logits = Float[Tensor, "batch classes"]
Pattern = Float[Tensor, "batch head query key"]
Heatmap = Float[Tensor, "batch row column"]
# Images that go with `batch` ones, pair by pair: said apart, so that a wrong number gets a message of ours.
OtherImages = Float[Tensor, "other channel height width"] | UInt8[Tensor, "other channel height width"]
