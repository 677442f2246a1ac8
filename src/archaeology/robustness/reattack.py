"""Without the heads that carry an attack, attacked again: is the model any safer, or does the attack take another way?

The heads are replaced by their mean over the images, for good (`ablate/without_heads.py`), and the same attack is run
against what is left. Beside it stands the model without as many other heads, drawn at random several times, since
losing any head changes a model. All on the same images. What the old adversarial images still do to the ablated model
is told too: resisting those is easy, and no proof.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from archaeology.ablate.cuts import places_of
from archaeology.ablate.means import mean_head_outputs
from archaeology.ablate.without_heads import Head, without_heads
from archaeology.attacks.method import attack_images
from archaeology.attacks.result import AttackResult
from archaeology.core.bootstrap import bootstrap_of
from archaeology.core.bounded import bounded_means
from archaeology.core.halving import in_halves
from archaeology.core.intervals import Interval, mcnemar
from archaeology.core.many import corrected, sign_flip_test
from archaeology.core.seeding import torch_generator
from archaeology.core.shapes import Image, Label
from archaeology.robustness.attention_shift import check_transformer
from archaeology.robustness.written import written
from archaeology.specimens.specimen import Specimen
from archaeology.stats.survey import images_per_pass

OUTCOMES = ("clean", "old_images", "robust")
COMPARED = ("whole", "without", "others", "without_minus_whole", "without_minus_others")


@dataclass(frozen=True, eq=False)
class Outcome:
    """Which images a model is right about.

    Attributes:
        clean: As they are.
        old_images: After the attack on the whole model.
        robust: After the attack on this model itself.
    """

    clean: Bool[np.ndarray, " image"]
    old_images: Bool[np.ndarray, " image"]
    robust: Bool[np.ndarray, " image"]


@dataclass(frozen=True, eq=False)
class Reattack:
    """The same attack on the whole model, without its carriers, and without other heads.

    Attributes:
        heads: Layer and head of the carriers.
        others: Of the heads taken out instead, draw by draw.
        whole: The model as it is.
        without: Without the carriers.
        without_others: Without the others, draw by draw.
        attack: Registered name of the attack.
        seed: Of attack, draws and resampling.
    """

    heads: tuple[Head, ...]
    others: tuple[tuple[Head, ...], ...]
    whole: Outcome
    without: Outcome
    without_others: tuple[Outcome, ...]
    attack: str
    seed: int

    def table(self) -> list[dict[str, object]]:
        """One row for each of `OUTCOMES`, and for "survival", the share of what a model knows that it knows attacked.

        Each with intervals: `whole`, `without`, `others` (mean over the draws), `without_minus_whole` and
        `without_minus_others` (paired); those of survival, a ratio, are bootstrapped over images, all others hold for
        images not seen too (`core/bounded.py`). Of the draws: `others_lowest`, `others_highest`, and `others_as_high`,
        how many of them leave as much as taking the carriers out does. Of each of `OUTCOMES` the two p-values that a
        difference is zero, `p_whole` (McNemar) and `p_others` (sign flips), with `_corrected` for all of them (Holm).
        """
        rows = [self._row(name) for name in OUTCOMES]
        p_values = np.array([p for name in OUTCOMES for p in self._p_values(name)])
        strict = corrected(p_values).tolist()
        for at, row in enumerate(rows):
            for place, key in ((2 * at, "p_whole"), (2 * at + 1, "p_others")):
                row |= {key: float(p_values[place]), f"{key}_corrected": strict[place]}
        return [*rows, self._survival()]

    def describe(self) -> dict[str, object]:
        """The table and how it was made, ready for JSON."""
        return {
            "attack": self.attack,
            "heads": [list(head) for head in self.heads],
            "others": [[list(head) for head in heads] for heads in self.others],
            "n": len(self.whole.clean),
            "seed": self.seed,
            "table": self.table(),
        }

    def _right(self, part: str) -> Float[np.ndarray, "image model"]:
        """What each model is right about: the whole, without the carriers, without others draw by draw."""
        models = (self.whole, self.without, *self.without_others)
        return np.stack([getattr(model, part) for model in models], axis=1).astype(np.float64)

    def _row(self, part: str) -> dict[str, object]:
        """What share of all images each model is right about, and by how much that differs, image by image."""
        right = self._right(part)
        whole, without, others = right[:, 0], right[:, 1], right[:, 2:].mean(axis=1)
        shares = np.stack([whole, without, others], axis=1)
        gaps = np.stack([without - whole, without - others], axis=1)
        found = [
            *bounded_means(shares, shares, (0.0, 1.0), seed=self.seed),
            *bounded_means(gaps, gaps, (-1.0, 1.0), seed=self.seed),
        ]
        return self._written(part, found, right.mean(axis=0))

    def _survival(self) -> dict[str, object]:
        """What share of the images that each model is right about survives an attack on it."""
        right, asked = self._right("robust"), self._right("clean")
        found = bootstrap_of(np.stack([right, asked], axis=1), _compared, seed=self.seed)
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = right.sum(axis=0) / asked.sum(axis=0)
        return self._written("survival", [found.at(number) for number in range(len(COMPARED))], shares)

    def _written(
        self, what: str, found: Sequence[Interval], shares: Float[np.ndarray, " model"]
    ) -> dict[str, object]:
        row: dict[str, object] = {"what": what, "n": len(self.whole.clean)}
        for key, interval in zip(COMPARED, found, strict=True):
            row |= written(key, interval)
        known = shares[2:][np.isfinite(shares[2:])]
        return row | {
            "others_lowest": float(known.min()) if len(known) else None,
            "others_highest": float(known.max()) if len(known) else None,
            "others_as_high": int((shares[2:] >= shares[1]).sum()),
            "draws": len(self.others),
        }

    def _p_values(self, part: str) -> tuple[float, float]:
        """That taking the carriers out changes nothing, and that it changes no more than taking others out."""
        right = self._right(part)
        gap = right[:, 1] - right[:, 2:].mean(axis=1)
        return (
            mcnemar(right[:, 1], right[:, 0]).p_value,
            float(sign_flip_test(gap[:, None], seed=self.seed)[0]),
        )


def _compared(means: Float[np.ndarray, "resample part model"]) -> Float[np.ndarray, "resample number"]:
    shares = means[:, 0] / means[:, 1]
    whole, without, others = shares[:, 0], shares[:, 1], shares[:, 2:].mean(axis=1)
    return np.stack([whole, without, others, without - whole, without - others], axis=1)


def reattack(
    specimen: Specimen,
    result: AttackResult,
    heads: Sequence[Head],
    *,
    draws: int = 5,
    seed: int = 0,
    at_once: int = 256,
) -> Reattack:
    """Take heads out for good, and run the attack of `result` again: the same images, epsilon and parameters.

    Args:
        specimen: The model that was attacked, with attention.
        result: What came of it. Images that heads were chosen by flatter them: choose them by others.
        heads: Layer and head of those to take out, such as `Carriers.strongest(k)`.
        draws: How often as many other heads are drawn to be taken out instead.
        seed: Of the drawing, of the attacks and of resampling.
        at_once: Images in one pass of an attack.

    Raises:
        ValueError: If the model has no attention or no such heads, there are not as many others, or `draws` is not
            positive.
    """
    check_transformer(specimen)
    images, labels = result.original, result.labels
    answers = mean_head_outputs(specimen, images.split(images_per_pass(specimen)))
    others = drawn_others(heads, [answer.shape[-3] for answer in answers], draws, seed)

    def attacked(cut: Sequence[Head]) -> Outcome:
        left = without_heads(specimen, cut, answers)
        again = attack_images(
            result.attack,
            left,
            images,
            labels,
            epsilon=result.epsilon if bool(result.epsilon.isfinite().all()) else None,
            norm=result.norm,
            seed=seed,
            at_once=at_once,
            watch=None,
            **result.parameters,
        )
        right = _right(left, result.images, labels, at_once)
        return Outcome(_plain(again.clean_correct), right, _plain(~again.success))

    return Reattack(
        heads=tuple(heads),
        others=others,
        whole=Outcome(_plain(result.clean_correct), _plain(~result.success), _plain(~result.success)),
        without=attacked(heads),
        without_others=tuple(attacked(cut) for cut in others),
        attack=result.attack,
        seed=seed,
    )


def drawn_others(
    heads: Sequence[Head], counts: Sequence[int], draws: int, seed: int
) -> tuple[tuple[Head, ...], ...]:
    """As many heads again, none of them among `heads`, drawn several times.

    Args:
        heads: Layer and head of those that are not to be drawn.
        counts: How many heads each layer has.
        draws: How many times.
        seed: Of the drawing.

    Raises:
        ValueError: If there are not as many others, or `draws` is not positive.
    """
    rest = [place for place in places_of(counts) if place not in set(heads)]
    if draws < 1 or len(rest) < len(heads):
        raise ValueError(
            f"as many other heads must be left to draw, once or more, but {len(heads)} of {sum(counts)} are to be "
            f"taken out and {draws=}; take out at most half of them."
        )
    orders = [
        torch.randperm(len(rest), generator=torch_generator(seed, "other heads", draw)).tolist()
        for draw in range(draws)
    ]
    return tuple(tuple(sorted(rest[row] for row in order[: len(heads)])) for order in orders)


@torch.no_grad()
def _right(specimen: Specimen, images: Image, labels: Label, at_once: int) -> Bool[np.ndarray, " image"]:
    parts = in_halves(lambda which: specimen.predict(images[which]).argmax(1), len(images), at_once)
    return _plain(torch.cat([answer for _, answer in parts]) == labels)


def _plain(values: Bool[Tensor, " image"]) -> Bool[np.ndarray, " image"]:
    return values.cpu().numpy()
