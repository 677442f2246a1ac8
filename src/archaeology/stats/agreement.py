"""Do two heads of a layer look at the same things? The correlation of their patterns, image by image.

Over all patches that look and all keys, Pearson's correlation of the two patterns' shares: 1 for heads that do the
same, 0 for heads whose weights have nothing in common. NaN for a head that is blind (all keys alike), with itself too.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from archaeology.stats.correlation import correlation_of_sums
from archaeology.stats.rows import Rows


class AgreementSums:
    """Products of every two heads' patterns, summed a few rows at a time."""

    def __init__(self) -> None:
        self.product: Float[Tensor, "batch head other"] | None = None
        self.sum: Float[Tensor, "batch head"] | None = None
        self.count = 0
        self.offset = 0.0

    def add(self, rows: Rows, span: slice) -> None:
        """Take some rows in."""
        weight = rows.centred
        flat = weight.flatten(2)
        product, total = (flat @ flat.mT).double(), flat.sum(-1).double()
        self.product = product if self.product is None else self.product + product
        self.sum = total if self.sum is None else self.sum + total
        self.count += flat.shape[-1]
        self.offset = 1 / weight.shape[-1]

    def per_image(self, num_images: int) -> Float[Tensor, "image head other"]:
        """The correlation of every two heads, over all windows of an image together."""
        assert self.product is not None and self.sum is not None
        product, total = (part.unflatten(0, (num_images, -1)).sum(1) for part in (self.product, self.sum))
        windows = len(self.product) // num_images
        squares = product.diagonal(dim1=1, dim2=2)
        one, other = (lambda x: x[:, :, None].expand_as(product)), (lambda x: x[:, None].expand_as(product))
        return correlation_of_sums(
            torch.tensor(float(self.count * windows), dtype=torch.float64, device=product.device),
            (one(total), other(total)),
            (one(squares), other(squares)),
            product,
            offsets=(self.offset, self.offset),
        )
