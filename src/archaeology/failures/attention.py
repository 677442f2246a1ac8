"""Does a transformer look elsewhere when it fails? Its attention on failures against that on successes, class by class.

Classes differ in how they are looked at and in how often they are missed, so failures are only compared with successes
of the same class: the difference is that of a regression on class and failure, which weighs each class by the product
of its failures and successes. Its interval lets the two vary unequally (HC3, `mackinnon1985some`), its p-value comes
from dealing out failure and success anew within each class (`fisher1935design`). Entropy in nats and distance in pixels
are those of `stats/`; mass on the object is over the object's share of the image, so that 1 is what an even look gives;
rollout is `abnar2020quantifying`.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy import stats as distributions  # pyright: ignore[reportMissingTypeStubs]
from torch import Tensor

from archaeology.capture.record import CapturedPattern, Record, capture
from archaeology.core.intervals import Interval
from archaeology.core.many import corrected
from archaeology.core.seeding import numpy_generator
from archaeology.core.shapes import Image, PixelImage
from archaeology.explain.readout import readout_row
from archaeology.explain.rollout import rollout
from archaeology.specimens.layout import TokenLayout
from archaeology.specimens.specimen import Specimen
from archaeology.stats.distance import attention_distance, patch_distances
from archaeology.stats.entropy import entropy
from archaeology.stats.survey import images_per_pass

PERMUTATIONS = 19_999
FEWEST = 5  # failures and successes of classes that have both, below which nothing is compared
MAX_DRAWS = 4_000_000  # in memory at once
MOST_DEALT, FEWEST_PERMUTATIONS = 200_000_000, 1_999  # images times permutations: seconds for each quantity
TOO_LARGE = 0.5  # an object that covers this share of the image or more can hardly be missed
QUANTITIES = {
    "entropy": ("the readout's entropy in the last layer", "nats"),
    "distance": ("the distance of attention in the last layer", "pixels"),
    "object_mass": ("attention on the object in the last layer", "times an even share"),
    "rollout_mass": ("rollout on the object", "times an even share"),
}


@dataclass(frozen=True, eq=False)
class AttentionLook:
    """How a transformer looks at each of some images, heads averaged.

    Attributes:
        entropy: Of what the readout (the class token, or patches on average) pays, in nats, layer by layer.
        distance: Expected distance from a patch to where it looks, in pixels, layer by layer.
        object_mass: Readout's attention on the object in the last layer, over the object's share of the image; NaN
            where no object is known, or it covers half of the image or more.
        rollout_mass: The same of rollout.
        rollout: The maps.
        modules: Dotted paths of the layers.
    """

    entropy: Float[np.ndarray, "image layer"]
    distance: Float[np.ndarray, "image layer"]
    object_mass: Float[np.ndarray, " image"]
    rollout_mass: Float[np.ndarray, " image"]
    rollout: Float[np.ndarray, "image row column"]
    modules: tuple[str, ...]

    @property
    def quantities(self) -> dict[str, Float[np.ndarray, " image"]]:
        """What is compared, by the names of `QUANTITIES`."""
        return {
            "entropy": self.entropy[:, -1],
            "distance": self.distance[:, -1],
            "object_mass": self.object_mass,
            "rollout_mass": self.rollout_mass,
        }


def attention_look(
    specimen: Specimen,
    images: Image | PixelImage,
    inside: Float[Tensor, "image patch"] | None = None,
    *,
    at_once: int | None = None,
) -> AttentionLook:
    """Attention on every image, in few passes.

    Args:
        specimen: A transformer whose layers let all tokens see each other.
        images: Floats in [0, 1] or 8 bit.
        inside: Share of each patch that the object covers, NaN for images where that is not known.
        at_once: Images in one pass; by itself if None.

    Raises:
        ValueError: If the model is no such transformer, there is no image, or `inside` does not fit.
    """
    layout = specimen.layout
    if layout is None or layout.order != "flat":
        raise ValueError(
            f"attention can be laid on the image where all tokens see each other, but {specimen.name} "
            f"{'has no tokens' if layout is None else 'sees windows'}; take a plain vision transformer."
        )
    if len(images) == 0 or (inside is not None and tuple(inside.shape) != (len(images), layout.num_patches)):
        came = None if inside is None else tuple(inside.shape)
        raise ValueError(
            f"attention needs images, and shares of the object for each of {layout.num_patches} patches of each, but "
            f"got {len(images)} images and inside of shape {came}."
        )
    size = (specimen.image_size[0] / layout.rows, specimen.image_size[1] / layout.columns)
    truth = torch.full((len(images), layout.num_patches), torch.nan) if inside is None else inside
    parts = []
    for start in range(0, len(images), at_once or images_per_pass(specimen)):
        some = slice(start, start + (at_once or images_per_pass(specimen)))
        with torch.no_grad():
            parts.append(_look(capture(specimen, images[some]), layout, size, truth[some]))
    joined = [np.concatenate(columns) for columns in zip(*(part[0] for part in parts), strict=True)]
    return AttentionLook(*joined, modules=parts[0][1])


def _look(
    record: Record, layout: TokenLayout, patch_size: tuple[float, float], inside: Tensor
) -> tuple[list[np.ndarray], tuple[str, ...]]:
    layers = [
        one for one in record.attentions if one.pattern.shape[-1] in (layout.num_tokens, layout.num_patches)
    ]
    if not layers:
        raise ValueError("attention needs layers over the tokens of the image, but the model ran none.")
    rows = [readout_row(one.pattern.clamp(min=0), layout) for one in layers]
    widths = torch.stack([entropy(row[:, :, None])[..., 0].mean(dim=1) for row in rows], dim=1)
    reaches = torch.stack([_distance(one, layout, patch_size) for one in layers], dim=1)
    heat = rollout(record).heatmap
    values = [
        widths,
        reaches,
        mass_over_even(rows[-1].mean(dim=1)[:, -layout.num_patches :], inside),
        mass_over_even(heat.flatten(1), inside),
        heat,
    ]
    return [one.double().cpu().numpy() for one in values], tuple(one.module for one in layers)


def _distance(
    layer: CapturedPattern, layout: TokenLayout, size: tuple[float, float]
) -> Float[Tensor, " batch"]:
    pattern = layer.pattern.clamp(min=0)[:, :, :, -layout.num_patches :]
    if pattern.shape[2] == 1:
        return torch.full((len(pattern),), torch.nan)
    between = patch_distances(layout, size)
    return attention_distance(pattern[:, :, -layout.num_patches :], between).nanmean(dim=(1, 2))


def mass_over_even(
    weights: Float[Tensor, "batch patch"], inside: Float[Tensor, "batch patch"]
) -> Float[Tensor, " batch"]:
    """Share of the weights on the object over the object's share of the image; NaN where that says nothing.

    That is where no object is known, it covers nothing, or half of the image or more, or all weights are zero.
    """
    truth = inside.to(weights)
    area = truth.mean(dim=1)
    total = weights.sum(dim=1)
    found = (weights * truth).sum(dim=1) / total / area
    says = (area > 0) & (area < TOO_LARGE) & (total > 0)
    return torch.where(says, found, torch.full_like(found, torch.nan))


@dataclass(frozen=True)
class AttentionGap:
    """One quantity on failures less on successes of the same classes.

    Attributes:
        name: Of the quantity.
        layer: Number of the layer where there is one for each, else None.
        failures: Mean over the failures compared.
        successes: Mean over the successes compared, weighted as the failures' classes are.
        gap: Mean difference within classes.
        p_value: By dealing out failure anew within classes.
        num_failures: Compared: with the quantity known, in classes that have both.
        num_successes: Likewise.
        num_classes: Likewise.
    """

    name: str
    layer: int | None
    failures: float
    successes: float
    gap: Interval
    p_value: float
    num_failures: int
    num_successes: int
    num_classes: int


@dataclass(frozen=True)
class AttentionComparison:
    """All that was asked of attention on failures.

    Attributes:
        gaps: Of the last layer and of rollout.
        by_layer: Entropy and distance, layer by layer, with p-values corrected among layers.
        missing: Quantities that could not be compared, with reasons.
    """

    gaps: tuple[AttentionGap, ...]
    by_layer: tuple[AttentionGap, ...]
    missing: dict[str, str]


def compare_attention(
    look: AttentionLook,
    right: Bool[np.ndarray, " image"],
    labels: Int[np.ndarray, " image"],
    *,
    seed: int = 0,
) -> AttentionComparison:
    """Attention on failures against successes of the same class.

    Args:
        look: Of all images.
        right: Whether the model names each right.
        labels: Their classes.
        seed: Of the permutations.

    Raises:
        ValueError: If lengths differ.
    """
    missing: dict[str, str] = {}
    gaps = []
    for name, values in look.quantities.items():
        found = class_gap(values, right, labels, name=name, seed=seed)
        if isinstance(found, str):
            missing[name] = found
        else:
            gaps.append(found)
    by_layer = [
        class_gap(values[:, layer], right, labels, name=name, layer=layer, seed=seed)
        for name, values in (("entropy", look.entropy), ("distance", look.distance))
        for layer in range(values.shape[1])
    ]
    known = [one for one in by_layer if not isinstance(one, str)]
    strict = corrected(np.array([one.p_value for one in known], dtype=np.float64)).tolist()
    from_all = tuple(_with_p(one, p) for one, p in zip(known, strict, strict=True))
    return AttentionComparison(tuple(gaps), from_all, missing)


def _with_p(gap: AttentionGap, p_value: float) -> AttentionGap:
    return AttentionGap(**{**gap.__dict__, "p_value": p_value})


def class_gap(
    values: Float[np.ndarray, " image"],
    right: Bool[np.ndarray, " right"],
    labels: Int[np.ndarray, " label"],
    *,
    name: str = "",
    layer: int | None = None,
    seed: int = 0,
    permutations: int = PERMUTATIONS,
) -> AttentionGap | str:
    """One quantity on failures less on successes within classes, or a sentence on why nothing can be compared.

    Args:
        values: NaN where unknown: such images are left out.
        right: Whether each image is named right.
        labels: Classes.
        name: Kept in the result.
        layer: Likewise.
        seed: Of the permutations.
        permutations: How often failure is dealt out anew; the smallest p-value is 1 / (permutations + 1).
            Fewer, but at least 1,999, for more than 10,000 images.

    Raises:
        ValueError: If lengths differ.
    """
    if not len(values) == len(right) == len(labels):
        raise ValueError(
            f"values, right and labels must be of the same images, but got {len(values)}, {len(right)} and "
            f"{len(labels)}."
        )
    known = np.isfinite(values)
    wrong = ~right
    with_both = [c for c in np.unique(labels[known]) if len(np.unique(wrong[known & (labels == c)])) == 2]
    kept = known & np.isin(labels, with_both)
    failed, passed = int((kept & wrong).sum()), int((kept & right).sum())
    if failed < FEWEST or passed < FEWEST:
        return (
            f"of {int(known.sum())} images where it is known, {failed} failures and {passed} successes lie in classes "
            f"that have both; {FEWEST} of each are needed"
        )
    value, wrong_kept, groups = values[kept], wrong[kept].astype(np.float64), labels[kept]
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    gap, half = _regressed(value, wrong_kept, group, sizes)
    p_value = _permuted(value, wrong_kept, group, seed, permutations)
    at_failures = float(value[wrong_kept == 1].mean())
    ends = Interval(gap, gap - half, gap + half, len(value), "HC3, within classes")
    return AttentionGap(
        name, layer, at_failures, at_failures - gap, ends, p_value, failed, passed, len(with_both)
    )


def _centred(
    values: Float[np.ndarray, " image"], group: Int[np.ndarray, " image"], sizes: Int[np.ndarray, " class"]
) -> Float[np.ndarray, " image"]:
    return values - (np.bincount(group, values) / sizes)[group]


def _regressed(
    value: Float[np.ndarray, " image"],
    wrong: Float[np.ndarray, " image"],
    group: Int[np.ndarray, " image"],
    sizes: Int[np.ndarray, " class"],
) -> tuple[float, float]:
    """Coefficient of failure beside one mean for each class, and half of its 95 % interval."""
    failure, centred = _centred(wrong, group, sizes), _centred(value, group, sizes)
    strength = float((failure**2).sum())
    gap = float((failure * centred).sum() / strength)
    left_over = centred - gap * failure
    leverage = np.minimum(1 / sizes[group] + failure**2 / strength, 1 - 1e-6)
    variance = float(((failure * left_over / (1 - leverage)) ** 2).sum()) / strength**2
    freedom = max(len(value) - len(sizes) - 1, 1)
    return gap, float(distributions.t.ppf(0.975, freedom)) * variance**0.5


def _permuted(
    value: Float[np.ndarray, " image"],
    wrong: Float[np.ndarray, " image"],
    group: Int[np.ndarray, " image"],
    seed: int,
    permutations: int,
) -> float:
    """How often a random choice of as many failures in each class differs as much; the seen one counts as one."""
    generator = numpy_generator(seed, "failures dealt anew", len(value))
    permutations = min(permutations, max(FEWEST_PERMUTATIONS, MOST_DEALT // len(value)))
    rows = [np.flatnonzero(group == place) for place in range(int(group.max()) + 1)]
    centred = np.concatenate([value[some] - value[some].mean() for some in rows])
    order = np.concatenate(rows)
    seen = abs(float(centred @ wrong[order])) * (1 - 1e-9)
    step = max(1, MAX_DRAWS // len(value))
    as_large, start = 0, 0
    while start < permutations:
        size = min(step, permutations - start)
        sums = np.zeros(size)
        at = 0
        for some in rows:
            part = centred[at : at + len(some)]
            count = int(wrong[some].sum())
            chosen = generator.random((size, len(some))).argpartition(count - 1, axis=1)[:, :count]
            sums += part[chosen].sum(axis=1)
            at += len(some)
        as_large += int((np.abs(sums) >= seen).sum())
        start += size
    return (1 + as_large) / (1 + permutations)


def specimens_of(
    right: Bool[np.ndarray, " image"],
    labels: Int[np.ndarray, " image"],
    confidence: Float[np.ndarray, " image"],
    count: int,
) -> list[tuple[int, int]]:
    """Rows of failures to be shown, the surest first, each beside the surest success of the same class."""
    pairs: list[tuple[int, int]] = []
    surest = np.argsort(-confidence, kind="stable")
    successes = {
        one: iter(surest[(right & (labels == one))[surest]].tolist()) for one in np.unique(labels[~right])
    }
    for row in surest[~right[surest]].tolist():
        if len(pairs) == count:
            break
        beside = next(successes[labels[row]], None)
        if beside is not None:
            pairs.append((row, beside))
    return pairs
