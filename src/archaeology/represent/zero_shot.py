"""Naming images by words alone: the class whose sentence lies nearest to the image, with no image of it ever labelled.

`radford2021learning`: each class name is put into a template, its sentence is encoded, and the image gets the class
with the largest cosine. An ensemble of templates has for each class the mean of its sentences' features, each of length
one, brought to length one again. How much the wording matters is part of the result: accuracy of every template on the
same images, its spread over templates beyond what so few images would show anyhow, and Cochran's test of whether
wording matters at all (`cochran1950comparison`).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from scipy import stats
from torch import Tensor

from archaeology.core.bootstrap import bootstrap_of
from archaeology.core.intervals import Interval, bootstrap_mean, mcnemar, wilson
from archaeology.core.many import FLIPS_PER_QUESTION, corrected, paired_share
from archaeology.core.names import plural
from archaeology.core.progress import progress
from archaeology.core.seeding import numpy_generator
from archaeology.represent.features import Images, images_at
from archaeology.represent.templates import PHOTOS, check_classes, check_templates, prompts
from archaeology.specimens.image_text import ImageTextModel

NOT_SURE = (
    "How sure the model is of its answers is not given: a softmax over the classes, at the scale the model learnt, "
    "means something only for a model trained with that softmax (CLIP), not with a sigmoid for each pair of image and "
    "text (SigLIP), and not where its scale is not known. What it names, and so every accuracy, is the same without."
)
LEVEL = 0.05  # of tests
TEXTS_AT_ONCE = 256
SHUFFLES = 9_999


@dataclass(frozen=True)
class Sensitivity:
    """How much accuracy depends on the wording; the same images for all templates, bootstrapped together.

    Attributes:
        sd: Standard deviation of accuracy over the templates, as it came out; no interval, since resampling only ever
            adds to it.
        beyond_chance: The same with the variance taken off that other images of the same kind would add; 0 where the
            images at hand show no more than that.
        best: Of the best template on these images, which flatters it: it was chosen on them. Its interval is that of
            this one template.
        worst: Of the worst, likewise.
        gap: Best less worst, with the interval of this one pair on other images; another pair may then be the furthest
            apart.
        p_value: Cochran's Q that all templates name equally many images rightly; 1 where none ever differs.
    """

    sd: float
    beyond_chance: float
    best: Interval
    worst: Interval
    gap: Interval
    p_value: float


@dataclass(frozen=True)
class AgainstEnsemble:
    """The ensemble and one template on the same images.

    Attributes:
        template: Which.
        difference: Accuracy of the ensemble less that of the template.
        p_value: McNemar's.
        p_corrected: After Holm, over all questions asked of the naming.
    """

    template: str
    difference: Interval
    p_value: float
    p_corrected: float


@dataclass(frozen=True, eq=False)
class ZeroShot:
    """What a model called some images.

    Attributes:
        model: Its name.
        classes: Names of the classes.
        templates: Sentences around them.
        labels: Class of each image.
        predicted: What each template made of it.
        ensemble: What all templates together made of it.
        sureness: Of the ensemble's answer, by softmax over the classes asked for at the scale that the model learnt; of
            another list of classes it would be another, and nobody has calibrated it. None where the model was not
            trained with a softmax or its scale is not known.
        seed: Of the resampling.
    """

    model: str
    classes: tuple[str, ...]
    templates: tuple[str, ...]
    labels: Int[np.ndarray, " image"]
    predicted: Int[np.ndarray, "template image"]
    ensemble: Int[np.ndarray, " image"]
    sureness: Float[np.ndarray, " image"] | None
    seed: int = 0

    @property
    def num_images(self) -> int:
        """How many images were named."""
        return len(self.labels)

    @property
    def correct(self) -> Bool[np.ndarray, "template image"]:
        """Whether each template named each image rightly."""
        return self.predicted == self.labels

    @property
    def chance(self) -> float:
        """Accuracy of naming all classes equally often, at random."""
        return 1 / len(self.classes)

    @cached_property
    def accuracy(self) -> Interval:
        """Of the ensemble, with Wilson's interval."""
        return wilson(int((self.ensemble == self.labels).sum()), self.num_images)

    @cached_property
    def accuracies(self) -> tuple[Interval, ...]:
        """Of each template, with Wilson's interval."""
        return tuple(wilson(int(right.sum()), self.num_images) for right in self.correct)

    @cached_property
    def by_class(self) -> tuple[Interval | None, ...]:
        """Of the ensemble on the images of each class; None where there is no such image."""
        found: list[Interval | None] = []
        for number in range(len(self.classes)):
            own = self.labels == number
            right = int((self.ensemble[own] == number).sum())
            found.append(wilson(right, int(own.sum())) if own.any() else None)
        return tuple(found)

    @cached_property
    def luck(self) -> float:
        """Accuracy that the ensemble's answers would reach if they were dealt out to the images at random."""
        said = np.bincount(self.ensemble, minlength=len(self.classes)) / self.num_images
        true = np.bincount(self.labels, minlength=len(self.classes)) / self.num_images
        return float(said @ true)

    @cached_property
    def luck_p_value(self) -> float:
        """Of the ensemble being no better than that, by dealing its answers out anew 9,999 times or more; one-sided."""
        right = int((self.ensemble == self.labels).sum())
        generator = numpy_generator(self.seed, "answers dealt out", self.num_images)
        shuffles = max(SHUFFLES, FLIPS_PER_QUESTION * self.num_questions)
        dealt = [
            int((generator.permutation(self.ensemble) == self.labels).sum()) >= right for _ in range(shuffles)
        ]
        return (1 + sum(dealt)) / (1 + shuffles)

    @property
    def num_questions(self) -> int:
        """How many are tested: luck, and with several templates whether wording matters and each against all."""
        return 1 if len(self.templates) < 2 else 2 + len(self.templates)

    @cached_property
    def _holm(self) -> Float[np.ndarray, " question"]:
        """P-values of all questions after Holm: luck, wording, the ensemble against each template."""
        if self.sensitivity is None:
            return corrected(np.array([self.luck_p_value]))
        against = [mcnemar(self.ensemble == self.labels, own).p_value for own in self.correct]
        return corrected(np.array([self.luck_p_value, self.sensitivity.p_value, *against]))

    @property
    def luck_p_corrected(self) -> float:
        """That of luck after Holm, over all questions."""
        return float(self._holm[0])

    @property
    def wording_p_corrected(self) -> float | None:
        """That of wording after Holm, over all questions; None for a single template."""
        return None if self.sensitivity is None else float(self._holm[1])

    @cached_property
    def sensitivity(self) -> Sensitivity | None:
        """How much the wording matters; None for a single template."""
        return sensitivity(self.correct, seed=self.seed) if len(self.templates) > 1 else None

    @cached_property
    def against_ensemble(self) -> tuple[AgainstEnsemble, ...]:
        """The ensemble against each template; none for a single template, which is the ensemble."""
        if len(self.templates) < 2:
            return ()
        right = self.ensemble == self.labels
        p_values = np.array([mcnemar(right, own).p_value for own in self.correct])
        rows = zip(self.templates, self.correct, p_values, self._holm[2:], strict=True)
        return tuple(
            AgainstEnsemble(template, paired_share(right, own), float(p), float(holm))
            for template, own, p, holm in rows
        )

    @cached_property
    def gain(self) -> Interval:
        """Accuracy of the ensemble less the mean of its templates, bootstrapped over the same images."""
        right = (self.ensemble == self.labels).astype(np.float64)
        return bootstrap_mean(right - self.correct.mean(axis=0), seed=self.seed)

    @cached_property
    def findings(self) -> tuple[str, ...]:
        """What the numbers show, each sentence behind a test."""
        return tuple(_findings(self))

    @property
    def notes(self) -> tuple[str, ...]:
        """What is not given, and why."""
        return (NOT_SURE,) if self.sureness is None else ()

    def numbers(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        spread = self.sensitivity
        return {
            "model": self.model,
            "classes": list(self.classes),
            "n": self.num_images,
            "seed": self.seed,
            "chance": self.chance,
            "luck": self.luck,
            "luck_p_value": self.luck_p_value,
            "luck_p_corrected": self.luck_p_corrected,
            "wording_p_corrected": self.wording_p_corrected,
            "num_questions": self.num_questions,
            "accuracy": asdict(self.accuracy),
            "by_class": {
                name: None if own is None else asdict(own)
                for name, own in zip(self.classes, self.by_class, strict=True)
            },
            "templates": [
                {"template": template, **asdict(own)}
                for template, own in zip(self.templates, self.accuracies, strict=True)
            ],
            "sensitivity": None if spread is None else asdict(spread),
            "against_ensemble": [asdict(each) for each in self.against_ensemble],
            "gain": asdict(self.gain),
            "mean_sureness": None if self.sureness is None else float(self.sureness.mean()),
            "findings": list(self.findings),
            "notes": list(self.notes),
        }


def zero_shot(
    model: ImageTextModel,
    images: Images,
    labels: Int[Tensor, " label"] | Int[np.ndarray, " label"],
    classes: Sequence[str],
    *,
    templates: Sequence[str] = (),
    batch_size: int = 64,
    seed: int = 0,
) -> ZeroShot:
    """Name images by words, with every template and with all of them together.

    Args:
        model: Anything that says where images and texts lie, see `load_image_text`.
        images: A tensor in [0, 1] or 8 bit, or decoded images.
        labels: Class of each, to judge by.
        classes: Names in the order of the labels.
        templates: Sentences with "{}" where the name goes; none for those of the model's own captions, where they are
            known, else for `PHOTOS`.
        batch_size: Images in the model at once.
        seed: Of the resampling.

    Raises:
        ValueError: If there is no image, a label is none of the classes, names are fewer than two, empty or alike, a
            template has no place for the name, the model cannot read a prompt or does not give finite features.
    """
    chosen = tuple(templates) or tuple(model.wordings) or PHOTOS
    check_templates(chosen)
    check_classes(classes)
    truth = _checked_labels(labels, len(images), classes)
    features = class_features(model, classes, chosen)
    ensemble = F.normalize(features.mean(dim=0), dim=-1)
    predicted, together, sureness = [], [], []
    with progress("naming images", len(images)) as advance:
        for start in range(0, len(images), batch_size):
            rows = np.arange(start, min(start + batch_size, len(images)))
            seen = _finite(model.encode_images(images_at(images, rows)), model.name, "images").to(features)
            predicted.append((seen @ features.transpose(-1, -2)).argmax(dim=-1).cpu())
            cosines = seen @ ensemble.T
            together.append(cosines.argmax(dim=1).cpu())
            if model.scale is not None:
                sureness.append((model.scale * cosines).softmax(dim=1).amax(dim=1).cpu())
            advance(len(rows))
    return ZeroShot(
        model=model.name,
        classes=tuple(classes),
        templates=chosen,
        labels=truth,
        predicted=torch.cat(predicted, dim=1).numpy(),
        ensemble=torch.cat(together).numpy(),
        sureness=torch.cat(sureness).double().numpy() if sureness else None,
        seed=seed,
    )


def class_features(
    model: ImageTextModel, classes: Sequence[str], templates: Sequence[str]
) -> Float[Tensor, "template label embed"]:
    """Where every class lies by every template, at length one.

    Raises:
        ValueError: As `zero_shot`.
    """
    texts = [prompt for template in templates for prompt in prompts(template, classes)]
    parts = [
        model.encode_texts(texts[start : start + TEXTS_AT_ONCE])
        for start in range(0, len(texts), TEXTS_AT_ONCE)
    ]
    found = _finite(torch.cat(parts), model.name, "texts")
    return F.normalize(found, dim=-1).unflatten(0, (len(templates), len(classes)))


def sensitivity(correct: Bool[np.ndarray, "template image"], *, seed: int = 0) -> Sensitivity:
    """How much accuracy depends on the template; see `Sensitivity`.

    Args:
        correct: Whether each template named each image rightly; two templates or more.
        seed: Of the resampling.

    Raises:
        ValueError: If there are fewer than two templates, or no image.

    References:
        `cochran1950comparison` for the test. `beyond_chance`: the variance of accuracies over templates is, on average,
        the true one and the mean variance of an accuracy about the templates' mean, which the images tell.
    """
    num_templates, n = correct.shape
    if num_templates < 2 or n < 1:
        raise ValueError(
            f"sensitivity needs two templates or more and an image, but got {num_templates} and {n}; give more."
        )
    rows = correct.T.astype(np.float64)

    accuracies = rows.mean(axis=0)
    ends = [int(accuracies.argmax()), int(accuracies.argmin())]  # chosen once, on all images

    def formula(means: Float[np.ndarray, "resample pair"]) -> Float[np.ndarray, "resample number"]:
        return np.stack([means[:, 0], means[:, 1], means[:, 0] - means[:, 1]], axis=1)

    found = bootstrap_of(rows[:, ends], formula, seed=seed)
    own = rows - rows.mean(axis=1, keepdims=True)
    noise = own.var(axis=0, ddof=min(1, n - 1)).sum() / n / (num_templates - 1)
    variance = float(accuracies.var(ddof=1))
    beyond = float(np.sqrt(max(variance - noise, 0)))
    best, worst, gap = (found.at(place) for place in range(3))
    return Sensitivity(float(np.sqrt(variance)), beyond, best, worst, gap, cochran(correct))


def cochran(correct: Bool[np.ndarray, "template image"]) -> float:
    """P-value of Cochran's Q: would as many images be named rightly by every template?

    Returns:
        1 where no image is named rightly by some templates and wrongly by others.

    References:
        `cochran1950comparison`.
    """
    by_template = correct.sum(axis=1).astype(np.float64)
    by_image = correct.sum(axis=0).astype(np.float64)
    k = len(correct)
    below = k * by_image.sum() - (by_image**2).sum()
    if below == 0:
        return 1.0
    q = (k - 1) * (k * (by_template**2).sum() - by_template.sum() ** 2) / below
    return float(stats.chi2.sf(q, k - 1))


def _findings(found: ZeroShot) -> list[str]:
    own = found.accuracy
    sure = found.luck_p_corrected < LEVEL
    images = plural(found.num_images, "image")
    said = [
        f"{found.model} names {_share(own)} of {images} rightly, of {len(found.classes)} classes; "
        + (
            f"its answers dealt out at random would name {100 * found.luck:.1f} %."
            if sure
            else f"that is not surely above the {100 * found.luck:.1f} % of its answers dealt out at random."
        )
    ]
    spread = found.sensitivity
    if spread is None:
        return said
    assert found.wording_p_corrected is not None
    if found.wording_p_corrected < LEVEL:
        said.append(
            f"Wording matters: between the best and the worst of {len(found.templates)} templates lie "
            f"{100 * spread.gap.value:.1f} points (95 % interval of this pair, chosen on these images, "
            f"{100 * spread.gap.low:.1f} to {100 * spread.gap.high:.1f}); the standard deviation over templates beyond "
            f"chance is {100 * spread.beyond_chance:.1f} points."
        )
    else:
        said.append(
            f"That wording matters is not shown: {len(found.templates)} templates differ no more than by chance."
        )
    better = [
        each for each in found.against_ensemble if each.p_corrected < LEVEL and each.difference.value > 0
    ]
    worse = [
        each for each in found.against_ensemble if each.p_corrected < LEVEL and each.difference.value < 0
    ]
    said.append(
        f"All templates together are surely better than {len(better)} and surely worse than {len(worse)} of the "
        f"{len(found.templates)} single ones (McNemar). Holm's correction is over all "
        f"{found.num_questions} questions asked here."
    )
    return said


def _share(interval: Interval) -> str:
    return f"{100 * interval.value:.1f} % ({100 * interval.low:.1f} to {100 * interval.high:.1f})"


def _checked_labels(
    labels: Int[Tensor, " label"] | Int[np.ndarray, " label"], count: int, classes: Sequence[str]
) -> Int[np.ndarray, " label"]:
    array = labels.cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if count == 0 or len(array) != count:
        raise ValueError(
            f"there must be at least one image and one label for each, but got {count} images and {len(array)} labels."
        )
    if array.min() < 0 or array.max() >= len(classes):
        raise ValueError(
            f"labels must be numbers of the {len(classes)} classes, 0 to {len(classes) - 1}, but got {array.min()} to "
            f"{array.max()}; name every class, and leave unlabelled images (-1) out."
        )
    return array.astype(np.int64)


def _finite(features: Tensor, name: str, of: str) -> Tensor:
    if not bool(features.isfinite().all()):
        raise ValueError(
            f"features must be finite, but those of {of} by {name} are not; look for broken weights or overflow."
        )
    return features
