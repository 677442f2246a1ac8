"""From tokens back to pixels without seams: every token paints a window twice as wide as its patch, softly.

Windows overlap by half and are weighted by a Hann window, of which neighbours sum to one; so what two tokens disagree
about fades from one to the other instead of ending at an edge. The canvas is half as fine as the image: colours are
smooth inside a shape. What is sharp comes from the image itself, which the last two convolutions read too.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from archaeology.core.shapes import Image
from archaeology.models.signal import calm

Canvas = Float[Tensor, "batch channel height width"]


class PatchCanvas(nn.Module):
    """Tokens and the image they were made of in, an image of the same size out."""

    window: Tensor
    total: Tensor

    def __init__(
        self, grid: tuple[int, int], patch_size: int, embed_dim: int, *, channels: int = 6, hidden: int = 16
    ) -> None:
        """For tokens of a grid of patches, row by row.

        Args:
            grid: Rows and columns.
            patch_size: Side of a patch in pixels; even.
            embed_dim: Features of a token.
            channels: What a token paints at every place of the canvas.
            hidden: Channels between the two convolutions.
        """
        super().__init__()
        self.grid, self.side, self.channels = grid, patch_size // 2, channels
        self.paint = nn.Linear(embed_dim, channels * (2 * self.side) ** 2)
        self.mix = nn.Conv2d(channels + 3, hidden, 3, padding=1)
        self.activation = nn.GELU()
        self.head = nn.Conv2d(hidden, 3, 3, padding=1)
        calm(self.head)
        weights = torch.outer(hann(self.side), hann(self.side)).expand(1, grid[0] * grid[1], 1, -1, -1)
        canvas = self.overlapped(weights)
        self.register_buffer("window", weights[0, 0, 0].clone(), persistent=False)
        self.register_buffer("total", canvas, persistent=False)

    def forward(self, tokens: Float[Tensor, "batch token embed"], images: Image) -> Image:
        """What the tokens paint, sharpened by the image."""
        painted = self.paint(tokens).unflatten(2, (self.channels, 2 * self.side, 2 * self.side))
        canvas = self.overlapped(painted * self.window.to(painted.dtype)) / self.total.to(painted.dtype)
        canvas = F.interpolate(canvas, scale_factor=2, mode="nearest")
        both = torch.cat([canvas, images.to(canvas.dtype)], dim=1)
        maps = self.mix(both.contiguous(memory_format=torch.channels_last))
        return self.head(self.activation(maps))

    def overlapped(self, windows: Float[Tensor, "batch token channel window_row window_column"]) -> Canvas:
        """Windows of a grid of tokens, each laid over the middle of its patch, summed where they overlap."""
        rows, columns = self.grid
        windows = rearrange(
            windows,
            "batch (row column) channel (half_row y) (half_column x) "
            "-> batch channel half_row row y half_column column x",
            row=rows,
            column=columns,
            half_row=2,
            half_column=2,
        )
        # The first half of a window shares its place with the second half of the window before it.
        above, below = windows.unbind(2)
        windows = F.pad(above, (0, 0, 0, 0, 0, 0, 0, 0, 0, 1)) + F.pad(below, (0, 0, 0, 0, 0, 0, 0, 0, 1, 0))
        left, right = windows.unbind(4)
        canvas = F.pad(left, (0, 0, 0, 1)) + F.pad(right, (0, 0, 1, 0))
        canvas = canvas.flatten(4, 5).flatten(2, 3)
        margin = self.side // 2
        return canvas[:, :, margin : margin + rows * self.side, margin : margin + columns * self.side]


def hann(half: int) -> Float[Tensor, " place"]:
    """A smooth hill over `2 * half` places; two of them, `half` apart, sum to one."""
    return torch.sin(torch.pi * (torch.arange(2 * half) + 0.5) / (2 * half)) ** 2
