"""Learning to see by filling in: most patches are hidden, and what they show is guessed from the few that are left.

`he2022masked`: the encoder reads only the visible patches; a small decoder gets what it made of them, with one learned
token wherever a patch is missing, and paints all pixels. Only the encoder is kept. Differs: none but in size.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from archaeology.attention.multi_head import MultiHeadAttention
from archaeology.attention.positions import GridPositions
from archaeology.core.shapes import Image
from archaeology.models.block import Block
from archaeology.models.vit import ViT

Pixels = Float[Tensor, "batch patch pixel"]


class MaskedAutoencoder(nn.Module):
    """An encoder that learns from images alone.

    Attributes:
        encoder: What is kept.
        mask_share: Share of the patches that are hidden.
    """

    def __init__(
        self,
        encoder: ViT,
        *,
        mask_share: float = 0.75,
        embed_dim: int = 64,
        depth: int = 2,
        num_heads: int = 4,
        mlp_ratio: float = 2.0,
    ) -> None:
        """Put a fresh decoder behind an encoder.

        Args:
            encoder: With a linear stem, and positions that are added to the patches.
            mask_share: Share of the patches that are hidden, in (0, 1).
            embed_dim: Features of a token of the decoder; 4 and num_heads divide it.
            depth: Blocks of the decoder.
            num_heads: Heads of each of them.
            mlp_ratio: Hidden features of their MLPs over embed_dim.

        Raises:
            ValueError: If the encoder cannot do without some of its patches, or hardly any or nearly all are hidden.
        """
        super().__init__()
        patches = encoder.grid[0] * encoder.grid[1]
        if encoder.knows_places or not isinstance(encoder.patch_embed, nn.Linear):
            raise ValueError(
                "the encoder must take some of its patches without the others, but its attention or its stem looks "
                "at all of them; use softmax attention, positions that are added to patches, and a linear stem."
            )
        if not 1 <= round(patches * mask_share) < patches:
            raise ValueError(
                f"mask_share must hide at least one of {patches} patches, but not all, got {mask_share}."
            )
        self.encoder, self.mask_share = encoder, mask_share
        self.num_visible = patches - round(patches * mask_share)
        self.bridge = nn.Linear(encoder.prefix.shape[-1], embed_dim)
        self.missing = nn.Parameter(0.02 * torch.randn(embed_dim))
        self.positions = GridPositions("sinusoidal", *encoder.grid, embed_dim)
        self.blocks = nn.ModuleList(
            Block(MultiHeadAttention(embed_dim, num_heads), embed_dim, mlp_ratio, "gelu")
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(embed_dim)
        self.paint = nn.Linear(embed_dim, 3 * encoder.patch_size**2)

    def forward(self, images: Image) -> tuple[Pixels, Pixels, Bool[Tensor, "batch patch"]]:
        """What the patches are guessed to show, what they show, and which of them were hidden.

        Pixels of a patch have mean 0 and variance 1, as in the paper, so that texture counts and brightness does not.
        """
        is_hidden = self.hidden(len(images), images.device)
        wanted = standardised(self.encoder.patches(images))
        return self.guess(self.see(images, ~is_hidden), is_hidden), wanted, is_hidden

    def hidden(self, count: int, device: torch.device) -> Bool[Tensor, "batch patch"]:
        """Which patches to hide; as many of every image, drawn from PyTorch's global generator."""
        rows, columns = self.encoder.grid
        order = torch.rand(count, rows * columns, device=device).argsort(dim=1)
        return torch.ones_like(order, dtype=torch.bool).scatter(1, order[:, : self.num_visible], False)

    def see(
        self, images: Image, is_visible: Bool[Tensor, "batch patch"]
    ) -> Float[Tensor, "batch token embed"]:
        """The encoder's tokens of the visible patches, in order, prefix tokens in front."""
        encoder = self.encoder
        patches = encoder.embed(images)[is_visible].view(len(images), self.num_visible, -1)
        return encoder.norm(encoder.encode(patches))

    def guess(
        self, seen: Float[Tensor, "batch token embed"], is_hidden: Bool[Tensor, "batch patch"]
    ) -> Pixels:
        """Pixels of all patches from the tokens of the visible ones."""
        bridged = self.bridge(seen)
        prefix, visible = bridged.split([self.encoder.num_prefix, self.num_visible], dim=1)
        canvas = visible.gather(1, slot_of(is_hidden)[:, :, None].expand(-1, -1, visible.shape[2]))
        tokens = self.positions(torch.where(is_hidden[:, :, None], self.missing.to(canvas.dtype), canvas))
        tokens = torch.cat([prefix, tokens], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        return self.paint(self.norm(tokens[:, self.encoder.num_prefix :]))


def slot_of(is_hidden: Bool[Tensor, "batch patch"]) -> Int[Tensor, "batch patch"]:
    """Number of each visible patch among the visible ones; of hidden ones, some number that exists."""
    return ((~is_hidden).cumsum(dim=1) - 1).clamp(min=0)


def standardised(patches: Pixels, epsilon: float = 1e-6) -> Pixels:
    """Each patch with mean 0 and variance 1 over its pixels and channels; `epsilon` is added to the variance."""
    variance, mean = torch.var_mean(patches, dim=-1, keepdim=True)
    return (patches - mean) / (variance + epsilon).sqrt()
