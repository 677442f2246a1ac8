"""Images and sentences in one space: what belongs together lies close, so that a sentence can name what an image shows.

`radford2021learning` (CLIP): one encoder for images, one for texts, a linear map from each into a common space, and a
learned scale that says how much closer is much closer. Differs: words are whole words, and both encoders are small.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from archaeology.core.shapes import Image
from archaeology.data.words import Vocabulary
from archaeology.models.decoder import Decoder
from archaeology.models.registry import models
from archaeology.models.vit import ViT

SHARPEST = 100.0  # the scale is not allowed to grow beyond it, as in the paper
Features = Float[Tensor, "batch embed"]


@models.register("image_text")
class ImageText(nn.Module):
    """A ViT and a reader of sentences whose answers can be compared.

    Attributes:
        vocabulary: Words it knows.
        image: Encoder of images; its head maps into the common space.
        text: Encoder of texts; every word looks at those before it, and the last one speaks for all.
    """

    def __init__(
        self,
        words: Sequence[str],
        *,
        max_length: int = 16,
        embed_dim: int = 64,
        image: Mapping[str, Any] | None = None,
        text: Mapping[str, Any] | None = None,
    ) -> None:
        """Build with fresh weights.

        Args:
            words: All words it will know, without padding and end.
            max_length: Tokens of the longest text, its end included.
            embed_dim: Axes of the common space.
            image: What to build the `ViT` with, besides its number of classes.
            text: What to build the `Decoder` with, besides its vocabulary and positions.

        Raises:
            ValueError: If sizes do not fit.
        """
        super().__init__()
        self.vocabulary = Vocabulary(tuple(words), max_length)
        self.image = ViT(num_classes=embed_dim, **(image or {}))
        nn.init.xavier_uniform_(self.image.head.weight)  # a head of zeros has no direction
        self.text = Decoder(
            len(self.vocabulary), positions="learnable", max_length=max_length, **(text or {})
        )
        self.project = nn.Linear(self.text.embed.embedding_dim, embed_dim, bias=False)
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    @property
    def scale(self) -> Float[Tensor, ""]:
        """By what cosines are multiplied before the softmax; the inverse of a temperature."""
        return self.log_scale.clamp(max=math.log(SHARPEST)).exp()

    def forward(
        self, pairs: tuple[Image, Int[Tensor, "batch token"]]
    ) -> tuple[Features, Features, Float[Tensor, ""]]:
        """Features of normalised images and of their texts as numbers, both of length one, and the scale."""
        images, tokens = pairs
        return self.encode_images(images), self.encode_tokens(tokens), self.scale

    def encode_images(self, images: Image) -> Features:
        """Where normalised images lie, at length one."""
        return F.normalize(self.image(images), dim=-1)

    def encode_tokens(self, tokens: Int[Tensor, "batch token"]) -> Features:
        """Where texts, as numbers of the vocabulary, lie, at length one."""
        states = self.text.states(tokens)
        last = states[torch.arange(len(tokens), device=tokens.device), self.vocabulary.ends(tokens)]
        return F.normalize(self.project(last), dim=-1)

    def encode_texts(self, texts: Sequence[str]) -> Features:
        """Where texts lie, at length one.

        Raises:
            ValueError: If one has an unknown word, or too many.
        """
        return self.encode_tokens(self.vocabulary.encode(texts).to(self.log_scale.device))
