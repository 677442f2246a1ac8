"""Which heads carry an attack: give one head back what it said of the clean image, and see whether the answer returns.

Activation patching (`vig2020investigating`) on pairs of an image before and after an attack, head after head; or, for
"mean", the head says what it says of clean images on average. Measured by the margin, the logit of the right class less
the largest other one: what share of the margin lost comes back, and how many images are rescued. Exact, in suffixes of
the model (`ablate/sweep.py`).

An attack that stops as soon as it succeeds leaves margins just below zero, where a small push rescues an image; and
heads that follow each other tell the same, so that shares need not add up to one.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from archaeology.ablate.cuts import of_each_head, places_of
from archaeology.ablate.stand_ins import mean_stand_ins
from archaeology.ablate.sweep import sweep_of
from archaeology.ablate.trial import NUM_LOOKED_AT, Trial, check_classes, images_per_pass
from archaeology.attacks.losses import margin
from archaeology.core.bootstrap import Intervals, bootstrap_ratios
from archaeology.core.halving import in_halves
from archaeology.core.intervals import bootstrap_means, wilson
from archaeology.core.many import corrected, sign_flip_test
from archaeology.core.registry import unknown_name
from archaeology.core.shapes import Image, Label, OtherImages, PixelImage
from archaeology.robustness.attention_shift import check_transformer
from archaeology.robustness.fooled import check_pairs
from archaeology.robustness.written import written
from archaeology.specimens.specimen import Specimen

REPLACEMENTS = ("clean", "mean")


@dataclass(frozen=True, eq=False)
class Carriers:
    """Margins (logit of the right class less the largest other) of images that an attack turned.

    Attributes:
        modules: Module path of each attention layer.
        heads: How many heads each has.
        clean: Before the attack, above zero.
        attacked: After it, below zero.
        restored: After it, with one head's answer put right; NaN beyond a layer's last head.
        replacement: What that head said: "clean" (of the image before) or "mean" (of all of them before, on average).
        seed: Of resampling.
        left_out: Pairs that are not here because the model, asked again, did not know the image before the attack or
            knew it after: answers so close to the border turn with the number of images in a pass.
    """

    modules: tuple[str, ...]
    heads: tuple[int, ...]
    clean: Float[np.ndarray, " image"]
    attacked: Float[np.ndarray, " image"]
    restored: Float[np.ndarray, "image layer head"]
    replacement: str
    seed: int = 0
    left_out: int = 0

    @property
    def rescued(self) -> Bool[np.ndarray, "image layer head"]:
        """Whether the model is right again."""
        return self.restored > 0

    def recovered(self) -> Intervals:
        """Share of the lost margin that each head alone brings back, a ratio of sums over all images: `(head,)`.

        Heads layer by layer; 1 where it alone carries all, 0 where none; it may lie beyond both.
        """
        gained = self._flat(self.restored) - self.attacked[:, None]
        lost = np.broadcast_to((self.clean - self.attacked)[:, None], gained.shape)
        return bootstrap_ratios(gained, lost, seed=self.seed)

    def table(self, *, correction: str = "holm") -> list[dict[str, object]]:
        """One row for each head.

        Keys: `layer, head, module, n`; `recovered` (see there), `rescued` (share of the images; Wilson) and `gain` of
        the margin (logits), each with `_low` and `_high`; `p` by sign flips that the gain is zero, and `p_corrected`
        over all heads.
        """
        shares, places = self.recovered(), places_of(self.heads)
        gained = self._flat(self.restored) - self.attacked[:, None]
        gains = bootstrap_means(gained, seed=self.seed)
        p = sign_flip_test(gained, seed=self.seed)
        p_corrected = corrected(p, correction)
        rescued = self._flat(self.rescued)
        return [
            {"layer": layer, "head": head, "module": self.modules[layer], "n": len(self.clean)}
            | written("recovered", shares.at(row))
            | written("rescued", wilson(int(rescued[:, row].sum()), len(self.clean)))
            | written("gain", gains[row])
            | {"p": float(p[row]), "p_corrected": float(p_corrected[row])}
            for row, (layer, head) in enumerate(places)
        ]

    def strongest(self, count: int) -> tuple[tuple[int, int], ...]:
        """Layer and head of those that rescue most images; of equal ones, those that bring back more of the margin.

        Raises:
            ValueError: If there are not so many heads.
        """
        places = places_of(self.heads)
        if not 1 <= count <= len(places):
            raise ValueError(f"count must lie in 1..{len(places)}, the heads of the model, but got {count=}.")
        order = np.lexsort((-self._flat(self.restored).mean(axis=0), -self._flat(self.rescued).sum(axis=0)))
        return tuple(places[row] for row in order[:count].tolist())

    def describe(self) -> dict[str, object]:
        """The table and how it was made, ready for JSON."""
        return {
            "replacement": self.replacement,
            "n": len(self.clean),
            "left_out": self.left_out,
            "seed": self.seed,
            "heads": self.table(),
        }

    def _flat(self, values: np.ndarray) -> np.ndarray:
        layers, heads = np.array(places_of(self.heads)).T
        return values[:, layers, heads]


@torch.no_grad()
def find_carriers(
    specimen: Specimen,
    clean: Image | PixelImage,
    attacked: OtherImages,
    labels: Label,
    *,
    replacement: str = "clean",
    seed: int = 0,
    batch_size: int | None = None,
) -> Carriers:
    """Put every head of every layer right in turn, and see what comes back.

    Args:
        specimen: A model with attention.
        clean: Images that the model knows; see `fooled_by`.
        attacked: The same after the attack, which the model does not know any more. Pairs of which that is not so when
            the model is asked here are left out, and counted.
        labels: What is right.
        replacement: What the head says: "clean" or "mean".
        seed: Of resampling.
        batch_size: Pairs at once; by itself if None.

    Raises:
        UnknownNameError: If there is no such replacement.
        ValueError: If the model has no attention, the images make no pairs, or none was turned.
        SelfCheckError: If the model shows no attention; says why.
    """
    check_transformer(specimen)
    if replacement not in REPLACEMENTS:
        raise unknown_name("replacement of a carrier", replacement, list(REPLACEMENTS))
    check_pairs(clean, attacked)
    most = images_per_pass(specimen)
    sweep = sweep_of(specimen, clean[:NUM_LOOKED_AT], max_batch=most)
    at_once = batch_size or max(1, most // max(sweep.heads))
    labels = labels.to(specimen.device)
    of_clean = _margins(specimen, clean, labels, at_once)
    of_attacked = _margins(specimen, attacked, labels, at_once)
    turned = _turned(of_clean, of_attacked)
    clean, attacked = clean[turned.to(clean.device)], attacked[turned.to(attacked.device)]
    labels, of_clean, of_attacked = labels[turned], of_clean[turned], of_attacked[turned]
    means = mean_stand_ins(specimen, clean, (), most) if replacement == "mean" else None
    trial = Trial(sweep, attacked, labels, means, None if means else clean, at_once)
    found = [
        torch.stack([margin_of(logits, labels[which]) for logits in answers.ablated], dim=1)
        for which, answers in trial.logits(of_each_head(sweep.heads))
    ]
    restored = np.full((len(clean), len(sweep.heads), max(sweep.heads)), np.nan)
    layers, heads = np.array(places_of(sweep.heads)).T
    restored[:, layers, heads] = torch.cat(found).double().cpu().numpy()
    return Carriers(
        modules=tuple(layer.module for layer in sweep.layers),
        heads=sweep.heads,
        clean=of_clean.double().cpu().numpy(),
        attacked=of_attacked.double().cpu().numpy(),
        restored=restored,
        replacement=replacement,
        seed=seed,
        left_out=int((~turned).sum()),
    )


def margin_of(logits: Float[Tensor, "batch classes"], labels: Label) -> Float[Tensor, " batch"]:
    """Logit of the label less the largest other one: above zero where the model is right."""
    return -margin(logits, labels)


def _margins(
    specimen: Specimen, images: Image | PixelImage, labels: Label, at_once: int
) -> Float[Tensor, " batch"]:
    def some(which: slice) -> Tensor:
        logits = specimen.predict(images[which])
        check_classes(labels, logits.shape[1])
        return margin_of(logits, labels[which])

    return torch.cat([found for _, found in in_halves(some, len(images), at_once)])


def _turned(clean: Float[Tensor, " batch"], attacked: Float[Tensor, " batch"]) -> Bool[Tensor, " batch"]:
    """Which pairs the model, asked here, knows before the attack and not after.

    Raises:
        ValueError: If there is none.
    """
    turned = (clean > 0) & (attacked <= 0)
    if not turned.any():
        raise ValueError(
            f"there must be an image that the model knows before the attack and not after, but of {len(clean)} pairs "
            "there is none; take those of fooled_by(result)."
        )
    return turned
