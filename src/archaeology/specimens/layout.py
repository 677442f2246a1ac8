"""Which token is which patch: declared once, checked against what the model does, never left to the user."""

from dataclasses import dataclass
from typing import Literal


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
