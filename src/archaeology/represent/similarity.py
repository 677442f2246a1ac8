"""Which layer of one model is like which layer of another: CKA of all pairs, in one pass, with nothing kept.

Each batch gives an unbiased HSIC for every pair of layers; their means over batches make CKA (`nguyen2021wide`), so
memory holds one batch, however many images there are. Images are shuffled first, since batches must be alike: a folder
sorted by class would give batches of one class. The interval is a jackknife over batches with Student's quantile
(`efron1981jackknife`). Differs: an interval at all, batches of equal size, any readout (with the tokens in front of the
patches and without), and layers that say the same for every image are NaN and named.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy import stats as distributions

from archaeology.core.bootstrap import Intervals
from archaeology.core.halving import in_halves
from archaeology.core.memory import check_room
from archaeology.core.progress import progress
from archaeology.core.seeding import numpy_generator
from archaeology.represent.cka import checked_width
from archaeology.represent.features import (
    Features,
    Images,
    check_finite,
    check_same_images,
    chosen_layers,
    images_at,
    images_per_pass,
    layer_tokens,
)
from archaeology.represent.hsic import (
    FEWEST,
    centred,
    check_kernel,
    is_constant,
    linear_gram,
    median_distance,
    rbf_gram,
    scale_of,
)
from archaeology.represent.readouts import readouts
from archaeology.specimens.specimen import Specimen

BATCH = 128


@dataclass(frozen=True)
class Tap:
    """One place to look at: a layer, and how its tokens become a vector."""

    layer: str
    readout: str = "mean_patches"


@dataclass(frozen=True, eq=False)
class Similarity:
    """CKA of every tap of one model with every tap of another.

    Attributes:
        first: Name of the model down the side.
        second: Name of the model along the top.
        first_taps: What was looked at in the first.
        second_taps: What was looked at in the second.
        cka: With intervals over batches; NaN where a tap is constant, intervals NaN with fewer than three batches.
        constant: Taps at which all images have the same features, so that CKA is not defined.
        kernel: "linear" or "rbf".
        num_images: All images.
        num_batches: In which they were looked at.
    """

    first: str
    second: str
    first_taps: tuple[Tap, ...]
    second_taps: tuple[Tap, ...]
    cka: Intervals
    constant: tuple[str, ...]
    kernel: str
    num_images: int
    num_batches: int


@dataclass(frozen=True, eq=False)
class BatchSums:
    """HSIC of each batch, of all pairs and of each tap with itself."""

    pairs: Float[np.ndarray, "batch one other"]
    one: Float[np.ndarray, "batch one"]
    other: Float[np.ndarray, "batch other"]


def layer_similarity(
    first: Specimen,
    second: Specimen,
    images: Images,
    *,
    first_taps: Sequence[Tap] | None = None,
    second_taps: Sequence[Tap] | None = None,
    kernel: str = "linear",
    width: float = 1.0,
    batch_size: int = BATCH,
    seed: int = 0,
    level: float = 0.95,
) -> Similarity:
    """Unbiased CKA between all layers of two models, streamed.

    Args:
        first: Any model.
        second: Any other, or the same again.
        images: Both see the same.
        first_taps: Layers and readouts; the mean of patches of all layers if None.
        second_taps: Likewise.
        kernel: "linear" or "rbf".
        width: Of the rbf kernel, as a share of the median distance in the first batch, which then holds for all.
        batch_size: Images in a batch of the estimate, at least 4; memory grows with its square.
        seed: Of the order of images.
        level: Coverage of the intervals.

    Raises:
        UnknownNameError: If there is no such layer, readout or kernel.
        ValueError: If there are fewer than 4 images, `batch_size` is less or so large that a batch does not fit into
            memory, or a feature is not finite.
    """
    check_kernel(kernel)
    checked_width(width)
    if min(batch_size, len(images)) < FEWEST["unbiased"]:
        raise ValueError(
            f"the unbiased estimator needs at least {FEWEST['unbiased']} images in a batch, but got {batch_size=} and "
            f"{len(images)} images."
        )
    same = first is second
    taps = [
        _taps(specimen, images, asked) for specimen, asked in ((first, first_taps), (second, second_taps))
    ]
    watchers = [_Watcher(first, taps[0], kernel, width)]
    watchers += [] if same and taps[0] == taps[1] else [_Watcher(second, taps[1], kernel, width)]
    _check_room(sum(len(watcher.taps) for watcher in watchers), min(batch_size, len(images)))
    order = numpy_generator(seed, "cka batches", len(images)).permutation(len(images))
    batches: list[tuple[np.ndarray, ...]] = []
    with progress("comparing layers", len(images)) as advance:
        for rows in _equal_parts(order, batch_size):
            flat = [watcher.flat(images, rows) for watcher in watchers]
            scale = scale_of(len(rows), "unbiased")
            batches.append(
                (
                    flat[0] @ flat[-1].T / scale,
                    (flat[0] ** 2).sum(axis=1) / scale,
                    (flat[-1] ** 2).sum(axis=1) / scale,
                )
            )
            advance(len(rows))
    pairs, one, other = (np.stack(parts) for parts in zip(*batches, strict=True))
    constant = [name for watcher in watchers for name in watcher.constant()]
    return Similarity(
        first=first.name,
        second=second.name,
        first_taps=taps[0],
        second_taps=taps[1],
        cka=jackknifed(BatchSums(pairs, one, other), len(images), level),
        constant=tuple(constant),
        kernel=kernel,
        num_images=len(images),
        num_batches=len(batches),
    )


def readout_similarity(
    specimen: Specimen,
    images: Images,
    chosen: Sequence[str] = ("mean_patches", "class_token"),
    *,
    layers: Sequence[str] | None = None,
    batch_size: int = BATCH,
    seed: int = 0,
) -> Similarity:
    """CKA between readouts of the same layers: what the class token, or registers, know that the patches do not.

    Args:
        specimen: A model with tokens in front of its patches.
        images: To look at.
        chosen: Readouts, for example "mean_patches", "class_token", "mean_tokens", "registers".
        layers: Module paths; all that have every readout if None.
        batch_size: As in `layer_similarity`.
        seed: Likewise.

    Returns:
        All taps with all taps, readout by readout, in each the layers in order.

    Raises:
        UnknownNameError: If there is no such layer or readout.
        ValueError: If a layer has not what a readout reads, or as `layer_similarity`.
    """
    able = [chosen_layers(specimen, images, layers, name) for name in chosen]
    common = [path for path in able[0] if all(path in paths for paths in able)]
    taps = [Tap(path, name) for name in chosen for path in common]
    return layer_similarity(
        specimen, specimen, images, first_taps=taps, second_taps=taps, batch_size=batch_size, seed=seed
    )


def feature_similarity(
    first: Sequence[Features],
    second: Sequence[Features],
    *,
    batch_size: int = BATCH,
    seed: int = 0,
    level: float = 0.95,
) -> Similarity:
    """The same linear CKA as `layer_similarity`, of features that are at hand: no model runs.

    Args:
        first: Feature sets of one model's layers, all of the same images in the same order.
        second: Of another model, or the same sets again.
        batch_size: As in `layer_similarity`.
        seed: Likewise, so that both give the same numbers.
        level: Likewise.

    Raises:
        ValueError: If there is no feature set, they are of other images, a feature is not finite, there are fewer than
            4 images, or `batch_size` is less or so large that a batch does not fit into memory.
    """
    if not first or not second:
        raise ValueError(
            f"feature_similarity needs a layer of each model, but got {len(first)} and {len(second)}."
        )
    count = len(first[0])
    if min(batch_size, count) < FEWEST["unbiased"]:
        raise ValueError(
            f"the unbiased estimator needs at least {FEWEST['unbiased']} images in a batch, but got {batch_size=} and "
            f"{count} images."
        )
    sides = (first,) if first is second else (first, second)
    _check_room(sum(map(len, sides)), min(batch_size, count))
    for features in (*first, *second):
        check_same_images(first[0], features)
        check_finite(features.values, features.name)
    order = numpy_generator(seed, "cka batches", count).permutation(count)
    batches: list[tuple[np.ndarray, ...]] = []
    for rows in _equal_parts(order, batch_size):
        scale = scale_of(len(rows), "unbiased")
        flat = [np.stack([_flat_gram(features.values[rows]) for features in side]) for side in sides]
        one, other = flat[0], flat[-1]
        batches.append((one @ other.T / scale, (one**2).sum(axis=1) / scale, (other**2).sum(axis=1) / scale))
    pairs, one, other = (np.stack(parts) for parts in zip(*batches, strict=True))
    return Similarity(
        first=first[0].specimen,
        second=second[0].specimen,
        first_taps=tuple(Tap(features.layer, features.readout) for features in first),
        second_taps=tuple(Tap(features.layer, features.readout) for features in second),
        cka=jackknifed(BatchSums(pairs, one, other), count, level),
        constant=tuple(features.name for side in sides for features in side if is_constant(features.values)),
        kernel="linear",
        num_images=count,
        num_batches=len(batches),
    )


def _check_room(num_taps: int, batch: int) -> None:
    """Raise unless the similarities of all pairs of a batch fit into memory for all taps, with some to work on."""
    check_room(
        8 * (num_taps + 4) * batch**2,
        f"similarities of all pairs of {batch:,} images for {num_taps} layers",
        f"choose a smaller batch_size, such as {BATCH}",
    )


def _flat_gram(values: Float[np.ndarray, "image feature"]) -> Float[np.ndarray, " pair"]:
    """A centred Gram matrix as one row; zeros where the features are constant."""
    gram = np.zeros((len(values), len(values))) if is_constant(values) else linear_gram(values)
    return centred(gram).ravel()


def jackknifed(sums: BatchSums, num_images: int, level: float = 0.95) -> Intervals:
    """CKA from sums of HSIC over batches, and how it varies when one batch is left out."""
    n = len(sums.pairs)

    def ratio(pairs: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        scale = np.sqrt(one[..., :, None] * other[..., None, :])
        return np.divide(pairs, scale, out=np.full(pairs.shape, np.nan), where=scale > 0)

    totals = [part.sum(axis=0) for part in (sums.pairs, sums.one, sums.other)]
    value = ratio(*totals)
    if n < 3:  # with two, one degree of freedom says nothing worth drawing
        nothing = np.full_like(value, np.nan)
        return Intervals(value, nothing, nothing, num_images, level)
    left = ratio(
        *(total - part for total, part in zip(totals, (sums.pairs, sums.one, sums.other), strict=True))
    )
    error = np.sqrt((n - 1) / n * ((left - left.mean(axis=0)) ** 2).sum(axis=0))
    half = float(distributions.t.ppf(0.5 + level / 2, n - 1)) * error
    return Intervals(value, value - half, value + half, num_images, level)


def _taps(specimen: Specimen, images: Images, asked: Sequence[Tap] | None) -> tuple[Tap, ...]:
    if asked is None:
        return tuple(Tap(path) for path in chosen_layers(specimen, images, None, "mean_patches"))
    chosen_layers(specimen, images, list(dict.fromkeys(tap.layer for tap in asked)), "mean_patches")
    for tap in asked:
        readouts.get(tap.readout)
    return tuple(asked)


def _equal_parts(order: Int[np.ndarray, " image"], most: int) -> Iterator[Int[np.ndarray, " row"]]:
    """Parts of at most `most`, as equal as can be, none smaller than the estimator needs."""
    count = -(-len(order) // most)
    while count > 1 and len(order) // count < FEWEST["unbiased"]:
        count -= 1
    yield from np.array_split(order, count)


class _Watcher:
    """The taps of one model, batch by batch."""

    def __init__(self, specimen: Specimen, taps: Sequence[Tap], kernel: str, width: float) -> None:
        self.specimen, self.taps, self.kernel, self.width = specimen, taps, kernel, width
        self.widths: dict[Tap, float] = {}
        self.first_rows: dict[Tap, np.ndarray] = {}
        self.varies: set[Tap] = set()

    def flat(self, images: Images, rows: Int[np.ndarray, " row"]) -> Float[np.ndarray, "tap pair"]:
        """Centred Gram matrices of some images, one row for each tap; zeros where a tap is constant so far."""
        made = []
        for tap, values in self._features(images, rows).items():
            check_finite(values, f"{self.specimen.name} {tap.layer}")
            first = self.first_rows.setdefault(tap, values[:1])
            if tap in self.varies or not is_constant(np.concatenate([first, values])):
                self.varies.add(tap)
            gram = self._gram(tap, values) if not is_constant(values) else np.zeros((len(rows), len(rows)))
            made.append(centred(gram).ravel())
        return np.stack(made)

    def constant(self) -> list[str]:
        """Taps that never varied, in words."""
        return [
            f"{self.specimen.name} {tap.layer} ({tap.readout})" for tap in self.taps if tap not in self.varies
        ]

    def _features(self, images: Images, rows: Int[np.ndarray, " row"]) -> dict[Tap, np.ndarray]:
        layers = list(dict.fromkeys(tap.layer for tap in self.taps))

        def run(which: slice) -> list[np.ndarray]:
            tokens = layer_tokens(self.specimen, images_at(images, rows[which]), layers)
            return [readouts.get(tap.readout)(tokens[tap.layer]).float().cpu().numpy() for tap in self.taps]

        parts = [part for _, part in in_halves(run, len(rows), images_per_pass(self.specimen))]
        return {tap: np.concatenate([part[at] for part in parts]) for at, tap in enumerate(self.taps)}

    def _gram(self, tap: Tap, values: Float[np.ndarray, "image feature"]) -> Float[np.ndarray, "image image"]:
        if self.kernel == "linear":
            return linear_gram(values)
        if tap not in self.widths:
            self.widths[tap] = self.width * (median_distance(values) or 1.0)
        return rbf_gram(values, self.widths[tap])
