"""What every subject of a comparison of ways to learn is asked: one number for each image, so that pairs can be tested.

Features are what a model makes of an image before its last linear layer (`represent/backbone.py`). Whoever is to be
attacked, blurred or shown shapes of the wrong texture is the linear probe on those features, fitted to the same images
for all: the same judge for models with classes and without, with learned weights, random ones, or none.
"""

from collections.abc import Callable, Mapping
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from archaeology.attacks.method import attack_images
from archaeology.capture.attention import Attention
from archaeology.capture.interceptor import intercepted
from archaeology.core.names import plural
from archaeology.data.decoded import DecodedImages
from archaeology.data.worlds.cue_conflict import CueConflict
from archaeology.data.worlds.cue_scenes import SHAPE_NAMES
from archaeology.dig.learning_images import Images, Limits
from archaeology.represent.backbone import output_features, probed
from archaeology.represent.features import Features
from archaeology.represent.neighbours import nearest_vote
from archaeology.represent.probe import FewShot, Probe, few_shot, linear_probe, probe_head
from archaeology.robustness.corruptions import corruption_errors
from archaeology.robustness.phase_bias import phase_bias
from archaeology.robustness.shape_bias import ShapeBias, shape_bias
from archaeology.specimens.layout import TokenLayout
from archaeology.specimens.specimen import Specimen
from archaeology.stats.distance import attention_distance, patch_distances
from archaeology.stats.entropy import entropy
from archaeology.stats.layer import view_of

PENALTIES = (1e-3, 1e-2, 1e-1, 1.0)
MIDDLE = 1e-1
FOLDS = 3
ATTENTION = ("attention spread", "attention distance", "on the object")
Samples = Float[np.ndarray, " image"]


class Asked:
    """One subject, its features and its probe, each made when first needed."""

    def __init__(self, specimen: Specimen, images: Images, limits: Limits, seed: int) -> None:
        """Nothing is read yet; `specimen` gives features."""
        self.specimen, self.images, self.limits, self.seed = specimen, images, limits, seed

    @cached_property
    def known(self) -> Features:
        """Features of the known images."""
        return output_features(self.specimen, self.images.known)

    @cached_property
    def asked(self) -> Features:
        """Features of the images asked about."""
        return output_features(self.specimen, self.images.asked)

    @cached_property
    def probe_rows(self) -> Int[np.ndarray, " row"]:
        """Known images that the probe learns from."""
        names = {name: row for row, name in enumerate(self.images.known.ids)}
        chosen = self.images.known.take(self.limits.probe, self.seed)
        return np.array([names[name] for name in chosen.ids])

    @cached_property
    def probe(self) -> Probe:
        """The probe, judged on the images asked about."""
        labels = self.images.known.labels[self.probe_rows]
        folds = min(FOLDS, int(np.unique(labels, return_counts=True)[1].min()))
        return linear_probe(
            self.known.rows(self.probe_rows),
            labels,
            self.asked,
            self.images.asked.labels,
            strengths=PENALTIES
            if folds > 1
            else (MIDDLE,),  # one image of a class leaves nothing to validate on
            folds=folds,
            seed=self.seed,
        )

    @cached_property
    def head(self) -> nn.Linear:
        """The probe's weights."""
        return probe_head(
            self.known.rows(self.probe_rows),
            self.images.known.labels[self.probe_rows],
            len(self.images.known.classes),
            strength=self.probe.strength,
        )

    @cached_property
    def classifier(self) -> Specimen:
        """Features and probe as one model."""
        return probed(self.specimen, self.head, self.images.known.classes)

    @cached_property
    def few(self) -> tuple[Tensor, Tensor]:
        """Some of the images asked about, and their labels."""
        chosen = self.images.asked.take(self.limits.few, self.seed)
        return torch.from_numpy(np.array(chosen.images)), torch.from_numpy(chosen.labels.copy())


def by_neighbours(one: Asked) -> Samples:
    """Whether the k nearest known images name each image rightly."""
    known, asked = one.images.known, one.images.asked
    k = min(one.limits.neighbours, len(known))
    (vote,) = nearest_vote(one.known, known.labels, one.asked, asked.labels, ks=(k,))
    return (vote.predicted == asked.labels).astype(np.float64)


def by_probe(one: Asked) -> Samples:
    """Whether the probe names each image rightly."""
    return (one.probe.predicted == one.images.asked.labels).astype(np.float64)


def by_few_shots(one: Asked) -> FewShot:
    """Probes that saw a few images of each class, drawn several times.

    Raises:
        ValueError: If a class has fewer known images than shots.
    """
    labels, asked = one.images.known.labels, one.images.asked.labels
    counts = np.bincount(labels, minlength=1)
    counts = counts[counts > 0]
    if counts.min() < one.limits.shots:
        images = plural(int(counts.min()), "known image")
        raise ValueError(f"a class has only {images}, fewer than {one.limits.shots} shots")
    return few_shot(
        one.known,
        labels,
        one.asked,
        asked,
        shots=(one.limits.shots,),
        draws=one.limits.draws,
        seed=one.seed,
    )


def under_attack(one: Asked) -> Samples:
    """Whether the probe still names each of a few images rightly after PGD."""
    images, labels = one.few
    found = attack_images(
        "pgd",
        one.classifier,
        images,
        labels,
        epsilon=one.limits.epsilon,
        seed=one.seed,
        steps=one.limits.steps,
    )
    return (~found.success).double().cpu().numpy()


def under_corruption(one: Asked) -> Samples:
    """Share of the corrupted versions of each of a few images that the probe names rightly."""
    images, labels = one.few
    found = corruption_errors([one.classifier], images, labels, names=one.limits.corruptions, seed=one.seed)
    return found.correct[0].mean(axis=(0, 1))


def shape_answers(one: Asked) -> ShapeBias:
    """What the probe takes images for whose shape and texture disagree: scenes where it knows them, else hybrids."""
    if tuple(one.images.known.classes[: len(SHAPE_NAMES)]) == SHAPE_NAMES:
        scenes = CueConflict("conflict").generate(0, one.limits.few)
        return shape_bias([one.classifier], scenes, cutoffs=(), seed=one.seed)
    images, labels = one.few
    return phase_bias([one.classifier], images, labels, one.images.known.classes, cutoffs=(), seed=one.seed)


def shape_samples(found: ShapeBias, common: float) -> Samples:
    """One number for each image whose mean is the share of decisions by shape; `common` is the share of all subjects.

    A share of decisions is a ratio of sums. Written as `common + (by shape - common * decided) / mean(decided)`, its
    mean is exactly the ratio, and differences of two subjects can be tested image by image.
    """
    by_shape, by_texture = found.by_shape[0, -1], found.by_texture[0, -1]
    decided = by_shape | by_texture
    return common + (by_shape - common * decided) / decided.mean()


@torch.no_grad()
def attention_samples(specimen: Specimen, images: DecodedImages) -> Mapping[str, Samples]:
    """How widely what is read looks, how far patches look, and how much of what is read lies on the object.

    What is read is the class token, or all patches where the model averages them. Mean over heads and layers.

    Returns:
        By name of the measure; "on the object" of the images that have a box or a mask, and not there where none has;
        empty for a model whose attention does not show tokens on a grid.
    """
    layout = specimen.layout
    if layout is None or specimen.kind != "transformer":
        return {}
    shares = object_shares(images, layout)
    parts: list[dict[str, Samples]] = []
    for pixels, _, rows in images.batches(16):
        seen: list[dict[str, Tensor]] = []

        def look(attention: Attention, seen: list[dict[str, Tensor]] = seen, rows: slice = rows) -> None:
            view = view_of(attention, layout, specimen.image_size)
            if attention.kind == "token" and view.layout is not None:
                own = None if shares is None else shares[rows].to(specimen.device)
                seen.append(_of_layer(attention, view.layout, view.patch_size, specimen.image_size, own))

        with intercepted(specimen.model, look):
            specimen.predict(pixels)
        if not seen:
            return {}
        parts.append(
            {
                name: torch.stack([layer[name] for layer in seen]).mean(dim=0).double().cpu().numpy()
                for name in seen[0]
            }
        )
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    if shares is not None:
        is_marked = shares.isfinite().all(dim=1).numpy()
        found["on the object"] = found["on the object"][is_marked]
    return found


def _of_layer(
    attention: Attention,
    layout: TokenLayout,
    patch_size: tuple[float, float],
    image_size: tuple[int, int],
    shares: Float[Tensor, "batch patch"] | None,
) -> dict[str, Tensor]:
    patches = attention.pattern(slice(layout.num_prefix, None)).clamp(min=0)
    reads_class = layout.readout == "class_token" and layout.class_token is not None
    token = layout.class_token or 0
    read = attention.pattern(slice(token, token + 1)).clamp(min=0) if reads_class else patches
    keys = read.shape[-1]
    distances = patch_distances(layout, patch_size).to(patches)
    far = attention_distance(patches[..., layout.num_prefix :], distances) / max(image_size)
    found = {
        "attention spread": entropy(read).mean(dim=(1, 2))
        / float(np.log(max(keys, 2))),  # 0 of a single token
        "attention distance": far.mean(dim=(1, 2)),
    }
    if shares is not None:
        on_patches = read[..., layout.num_prefix :]
        even = shares.mean(dim=1)[:, None, None].to(read)
        whole = on_patches.sum(-1)
        mass = (on_patches * shares[:, None, None].to(read)).sum(-1) / whole.where(whole > 0, 1)
        beyond = (mass - even).where(whole > 0, 0)  # a head that looks at no patch prefers none
        found["on the object"] = beyond.mean(dim=(1, 2))
    return found


def object_shares(images: DecodedImages, layout: TokenLayout) -> Float[Tensor, "batch patch"] | None:
    """How much of each patch the object covers, by mask, else by box; NaN where it is not marked, None if nowhere."""
    height, width = images.images.shape[-2:]
    inside = torch.zeros(len(images), height, width)
    is_marked = np.zeros(len(images), dtype=bool)
    if images.boxes is not None:
        rows, columns = np.arange(height) + 0.5, np.arange(width) + 0.5
        is_marked = np.asarray(np.isfinite(images.boxes).all(axis=1), dtype=bool)
        left, top, right, bottom = np.where(is_marked[:, None], images.boxes, 0).T[:, :, None]
        down = (rows >= top) & (rows < bottom)
        across = (columns >= left) & (columns < right)
        inside = torch.from_numpy(down[:, :, None] & across[:, None, :]).float()
    if images.masks is not None:
        has_mask = images.masks.any(axis=(1, 2))
        inside[torch.from_numpy(has_mask)] = torch.from_numpy(np.array(images.masks[has_mask])).float()
        is_marked = is_marked | has_mask
    if not is_marked.any():
        return None
    pooled = torch.nn.functional.adaptive_avg_pool2d(inside[:, None], (layout.rows, layout.columns))
    return pooled.flatten(1).masked_fill(torch.from_numpy(~is_marked)[:, None], torch.nan)


#: What needs nothing but the subject, by name of the measure.
SIMPLE: Mapping[str, Callable[[Asked], Samples | FewShot]] = {
    "k-NN": by_neighbours,
    "linear probe": by_probe,
    "few-shot": by_few_shots,
    "attacked": under_attack,
    "corrupted": under_corruption,
}
