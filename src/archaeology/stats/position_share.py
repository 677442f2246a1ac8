"""How much of a head's pattern is there whatever the image shows: the share of position, the rest being content.

Let p_ie be entry e (which query looks at which key) of the head's pattern on image i. The variance of all entries
around blind attention, 1 / keys, is the mean of (p_ie - 1 / keys)^2; since rows sum to one it splits exactly into the
variance of the mean pattern (position) and the variance of each entry over images (content). So

    position share = 1 - W / Q,    W = n / (n - 1) * mean over e of (mean over i of c_ie^2 - m_e^2),
                                   Q = mean over e and i of c_ie^2,

with c = p - 1 / keys and m_e its mean over the n images. W and Q are unbiased for any n, so few images do not make a
head look more positional than it is (the share is their ratio, and may come out slightly below 0). NaN with one image,
and for a head that is blind in every image, where nothing varies.

Kept are sums of c_ie over images, for a fixed draw of rows (about `ENTRIES` entries of each head; all rows of short
sequences), so memory does not depend on the number of images. The interval is the delete-a-group jackknife of
`busing1999delete`: images are dealt into `GROUPS` groups by their id, so it does not depend on the order or on how the
images were cut into batches.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import stats as distributions
from torch import Tensor

from archaeology.stats.correlation import CONSTANT
from archaeology.stats.layer import LayerView
from archaeology.stats.rows import Rows

ENTRIES = 4096
GROUPS = 8


class PositionRows:
    """Keeps some rows of every image's pattern, always the same ones, as they pass by."""

    def __init__(self, view: LayerView, num_images: int, generator: torch.Generator) -> None:
        """`generator` draws the rows, so it must be the same for all images."""
        batch, _, num_queries, num_keys = view.attention.shape
        wanted = max(1, ENTRIES // (num_keys * max(1, batch // num_images)))
        order = torch.randperm(num_queries - view.first_query, generator=generator)
        self.is_wanted = torch.zeros(num_queries, dtype=torch.bool)
        self.is_wanted[view.first_query + order[:wanted]] = True
        self.num_images = num_images
        self.kept: list[Tensor] = []

    def add(self, rows: Rows, span: slice) -> None:
        """Take some rows in."""
        self.kept.append(rows.centred[:, :, self.is_wanted[span].to(rows.pattern.device)])

    def per_image(self) -> Float[np.ndarray, "image head entry"]:
        """The entries of every image, minus 1 / keys; those of its windows end to end."""
        rows = torch.cat(self.kept, dim=2).unflatten(0, (self.num_images, -1))
        return rows.transpose(1, 2).flatten(2).double().cpu().numpy()


def group_of(image_id: str) -> int:
    """Which group of the jackknife an image is in."""
    return crc32(image_id.encode()) % GROUPS


@dataclass(frozen=True, eq=False)
class PositionSums:
    """Running sums of patterns over images, in groups; they can be added.

    Attributes:
        count: Images of each group.
        entries: For each layer `(group, head, entry)`, sums over images of each entry minus 1 / keys.
        squares: For each layer `(group, head)`, sums over images of the mean over entries of their squares.
        num_keys: Of each layer.
    """

    count: Int[np.ndarray, " group"]
    entries: tuple[Float[np.ndarray, "group _ _"], ...]
    squares: tuple[Float[np.ndarray, "group _"], ...]
    num_keys: tuple[int, ...]

    @classmethod
    def of_images(
        cls, ids: Sequence[str], values: Sequence[np.ndarray], num_keys: Sequence[int]
    ) -> "PositionSums":
        """Sums over some images.

        Args:
            ids: Of the images.
            values: `(image, head, entry)` of each layer, minus 1 / keys.
            num_keys: Of each layer.
        """
        member = np.eye(GROUPS)[[group_of(image) for image in ids]]
        return cls(
            count=member.sum(axis=0).astype(np.int64),
            entries=tuple(np.tensordot(member.T, layer, 1).astype(np.float32) for layer in values),
            squares=tuple(member.T @ (layer**2).mean(axis=2) for layer in values),
            num_keys=tuple(num_keys),
        )

    def __add__(self, other: "PositionSums") -> "PositionSums":
        """The sums over the images of both.

        Raises:
            ValueError: If they speak of different layers.
        """
        if [array.shape for array in self.entries] != [array.shape for array in other.entries]:
            raise ValueError(
                "only sums over the same layers can be added, but these differ in their heads or tokens; they come "
                "from different models or image sizes, so survey again."
            )
        return PositionSums(
            self.count + other.count,
            tuple(one + two for one, two in zip(self.entries, other.entries, strict=True)),
            tuple(one + two for one, two in zip(self.squares, other.squares, strict=True)),
            self.num_keys,
        )

    def shares(self) -> tuple[Float[np.ndarray, " row"], Float[np.ndarray, " row"]]:
        """Position share of every head of every layer, and its standard error; NaN where not defined."""
        found = [
            _jackknife(self.count, entries.astype(np.float64), squares, keys)
            for entries, squares, keys in zip(self.entries, self.squares, self.num_keys, strict=True)
        ]
        value, error = (np.concatenate(part) for part in zip(*found, strict=True))
        return value, error

    def half_width(self, error: Float[np.ndarray, " row"], level: float) -> Float[np.ndarray, " row"]:
        """Half of Student's interval for standard errors, with one degree of freedom less than groups."""
        groups = int((self.count > 0).sum())
        factor = distributions.t.ppf(0.5 + level / 2, groups - 1) if groups > 1 else np.nan
        return factor * error

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything as arrays, for `numpy.savez`; `PositionSums.from_arrays` takes them back."""
        found = {"count": self.count, "num_keys": np.array(self.num_keys)}
        for layer, (entries, squares) in enumerate(zip(self.entries, self.squares, strict=True)):
            found |= {f"entries{layer}": entries, f"squares{layer}": squares}
        return found

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "PositionSums":
        """The sums that `arrays()` wrote."""
        layers = range(len(arrays["num_keys"]))
        return cls(
            np.asarray(arrays["count"]),
            tuple(np.asarray(arrays[f"entries{layer}"]) for layer in layers),
            tuple(np.asarray(arrays[f"squares{layer}"]) for layer in layers),
            tuple(int(keys) for keys in arrays["num_keys"]),
        )


def position_share(
    count: int, total: Float[np.ndarray, "head entry"], squares: Float[np.ndarray, " head"], num_keys: int
) -> Float[np.ndarray, " head"]:
    """1 - W / Q of this module's docstring.

    Args:
        count: How many images n.
        total: Sums over images of every entry, minus 1 / keys.
        squares: Sums over images of the mean over entries of its square.
        num_keys: Of the pattern.
    """
    if count < 2:
        return np.full(len(total), np.nan)
    around = squares / count
    within = count / (count - 1) * (around - ((total / count) ** 2).mean(axis=1))
    is_blind = around <= (CONSTANT / num_keys) ** 2
    return np.where(is_blind, np.nan, 1 - within / np.where(is_blind, 1, around))


def _jackknife(
    count: Int[np.ndarray, " group"],
    entries: Float[np.ndarray, "group head entry"],
    squares: Float[np.ndarray, "group head"],
    num_keys: int,
) -> tuple[Float[np.ndarray, " head"], Float[np.ndarray, " head"]]:
    """The share over all images, and its standard error from leaving out each group in turn."""
    n, total, around = int(count.sum()), entries.sum(axis=0), squares.sum(axis=0)
    whole = position_share(n, total, around, num_keys)
    groups = np.flatnonzero(count)
    if len(groups) < 2:
        return whole, np.full(len(whole), np.nan)
    without = np.stack(
        [position_share(n - int(count[g]), total - entries[g], around - squares[g], num_keys) for g in groups]
    )
    ratio = (n / count[groups])[:, None]
    pseudo = ratio * whole - (ratio - 1) * without
    centre = len(groups) * whole - ((1 - 1 / ratio) * without).sum(axis=0)
    variance = ((pseudo - centre) ** 2 / (ratio - 1)).mean(axis=0)
    return whole, np.sqrt(variance)
