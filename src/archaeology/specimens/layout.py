"""Which token is which patch: declared once, checked against what the model does, never left to the user."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Int
from torch import Tensor

WITHOUT_LAYOUT = 8  # patches along each side of an image where the model has none of its own


@dataclass(frozen=True)
class TokenLayout:
    """How a transformer lines up its tokens: prefix tokens first, then patches row by row.

    Attributes:
        rows: Patches from top to bottom.
        columns: Patches from left to right.
        prefix: Names of the tokens before the patches, such as `("class", "register", "register")`.
        readout: What the classifier reads: the class token or the mean of the patches.
        order: "flat" where every attention layer sees all tokens in this order; "windows" where layers see
            windows or other grids (Swin), so that a map of a layer is not a map of the image as it stands.
    """

    rows: int
    columns: int
    prefix: tuple[str, ...] = ()
    readout: Literal["class_token", "mean"] = "class_token"
    order: Literal["flat", "windows"] = "flat"

    @property
    def num_prefix(self) -> int:
        """How many tokens stand before the patches."""
        return len(self.prefix)

    @property
    def num_patches(self) -> int:
        """How many tokens are patches."""
        return self.rows * self.columns

    @property
    def num_tokens(self) -> int:
        """All tokens of a full-sized layer."""
        return self.num_prefix + self.num_patches

    @property
    def class_token(self) -> int | None:
        """Index of the class token, or None where there is none."""
        return self.prefix.index("class") if "class" in self.prefix else None

    def describe(self) -> dict[str, object]:
        """The fields, ready for JSON."""
        return {
            "rows": self.rows,
            "columns": self.columns,
            "prefix": list(self.prefix),
            "readout": self.readout,
            "order": self.order,
        }

    def check(self, tokens_seen: int, where: str) -> None:
        """Compare with the number of tokens that layer `where` really has.

        Raises:
            ValueError: If they disagree; names both and what to declare.
        """
        if self.order == "flat" and tokens_seen != self.num_tokens:
            raise ValueError(
                f"The token layout must match what the model does, but {where} has {tokens_seen} tokens "
                f"while the layout declares {self.num_prefix} prefix + {self.rows} x {self.columns} patches "
                f"= {self.num_tokens}; pass layout=TokenLayout(rows=..., columns=..., prefix=(...))."
            )


def patch_grid(layout: TokenLayout | None, size: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of places of an image: the model's patches, or 8 x 8 without, but none smaller than a pixel.

    Args:
        layout: The model's, None for a model without tokens.
        size: Height and width of the image in pixels.
    """
    rows, columns = (layout.rows, layout.columns) if layout else (WITHOUT_LAYOUT, WITHOUT_LAYOUT)
    return min(rows, size[0]), min(columns, size[1])


def cell_along(pixels: int, cells: int) -> Int[Tensor, " pixel"]:
    """Which of `cells` equal parts of a side each pixel's centre lies in, also where no border falls between pixels."""
    return ((torch.arange(pixels, dtype=torch.float64) + 0.5) * cells / pixels).long()


def cell_of_pixel(size: tuple[int, int], grid: tuple[int, int]) -> Int[Tensor, "height width"]:
    """Number of the place that each pixel's centre lies in, row by row.

    Args:
        size: Height and width of the image in pixels.
        grid: Rows and columns of places.
    """
    return cell_along(size[0], grid[0])[:, None] * grid[1] + cell_along(size[1], grid[1])
