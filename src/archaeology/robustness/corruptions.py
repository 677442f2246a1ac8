"""How much common corruptions cost each model: accuracy by kind and severity, and the mean corruption error.

After `hendrycks2019benchmarking`: the error on a kind of corruption, over its five severities, is divided by that of a
reference model, and these ratios are averaged; the relative kind first takes off each model's error on clean images.
Here with intervals, paired over images.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from torch import Tensor

from archaeology.core.bounded import bounded_means
from archaeology.core.intervals import Interval, bootstrap_mean, paired_bootstrap, resampled_means, wilson
from archaeology.core.shapes import Image, PixelImage
from archaeology.data.corruptions import SEVERITIES, common_corruptions, corrupt, corruptions
from archaeology.robustness.versions import answers_to_versions
from archaeology.robustness.written import written
from archaeology.specimens.specimen import Specimen


@dataclass(frozen=True, eq=False)
class CorruptionErrors:
    """Which corrupted images each model still knows.

    Attributes:
        specimens: Names of the models.
        corruptions: Names of the kinds.
        clean: Whether each model was right on the images as they are.
        correct: Whether it was on every corrupted version; severities 1 to 5.
        seed: Of what is random.
    """

    specimens: tuple[str, ...]
    corruptions: tuple[str, ...]
    clean: Bool[np.ndarray, "specimen image"]
    correct: Bool[np.ndarray, "specimen corruption severity image"]
    seed: int

    @property
    def num_images(self) -> int:
        """How many images all models saw."""
        return self.clean.shape[1]

    def table(self) -> list[dict[str, object]]:
        """One row for each model, kind and severity: `specimen, corruption, severity, n` and Wilson's `accuracy`."""
        return [
            {"specimen": name, "corruption": kind, "severity": severity, "n": self.num_images}
            | written("accuracy", wilson(int(right.sum()), self.num_images))
            for name, by_kind in zip(self.specimens, self.correct, strict=True)
            for kind, by_severity in zip(self.corruptions, by_kind, strict=True)
            for severity, right in zip(SEVERITIES, by_severity, strict=True)
        ]

    def mean_error(self, specimen: str) -> Interval:
        """Mean error over kinds, severities and images, bootstrapped over images."""
        return bootstrap_mean(self._errors(specimen).mean(axis=0), seed=self.seed)

    def errors_by_kind(self, specimen: str) -> list[dict[str, object]]:
        """One row for each kind: `corruption, n` and the mean `error` over its severities, image by image."""
        wrong = self._errors(specimen).T
        return [
            {"corruption": kind, "n": self.num_images} | written("error", interval)
            for kind, interval in zip(self.corruptions, self._means(wrong), strict=True)
        ]

    def errors_by_severity(self, specimen: str) -> list[dict[str, object]]:
        """One row for each severity: `severity, n` and the mean `error` over all kinds, image by image."""
        wrong = 1 - self.correct[self._number(specimen)].mean(axis=0).T
        return [
            {"severity": severity, "n": self.num_images} | written("error", interval)
            for severity, interval in zip(SEVERITIES, self._means(wrong), strict=True)
        ]

    def _means(self, wrong: Float[np.ndarray, "image column"]) -> list[Interval]:
        """Images are what varies, not the versions of one image: these go together, right or wrong."""
        return bounded_means(wrong, wrong, (0.0, 1.0), seed=self.seed)

    def difference(self, first: str, second: str) -> Interval:
        """Mean error of the first model minus that of the second, paired over images."""
        one, other = self._errors(first).mean(axis=0), self._errors(second).mean(axis=0)
        return paired_bootstrap(one, other, seed=self.seed)

    def mean_corruption_error(self, specimen: str, reference: str) -> Interval:
        """mCE: the mean over kinds of the error divided by the reference's; 1 is as bad as the reference.

        Returns:
            The interval, bootstrapped over images for both models together; NaN where the reference makes no error on
            some kind.

        Raises:
            ValueError: If there is no such model.
        """
        return self._ratio(self._errors(specimen), self._errors(reference))

    def relative_corruption_error(self, specimen: str, reference: str) -> Interval:
        """Relative mCE: the same ratios of what corruption adds to each model's own error on clean images.

        Returns:
            As `mean_corruption_error`; NaN where some kind adds nothing to the reference's error, and unreliable where
            it adds little: look at the width of the interval.

        Raises:
            ValueError: If there is no such model.
        """
        added = [self._errors(name) - ~self.clean[self._number(name)] for name in (specimen, reference)]
        return self._ratio(*added)

    def describe(self, reference: str | None = None) -> dict[str, object]:
        """Everything with intervals, ready for JSON; ratios to the first model unless another is named."""
        reference = reference or self.specimens[0]
        models = {
            name: written("clean", wilson(int(right.sum()), self.num_images))
            | written("mean_error", self.mean_error(name))
            | written("mce", self.mean_corruption_error(name, reference))
            | written("relative_mce", self.relative_corruption_error(name, reference))
            | written("difference", self.difference(name, reference))
            | {"by_kind": self.errors_by_kind(name), "by_severity": self.errors_by_severity(name)}
            for name, right in zip(self.specimens, self.clean, strict=True)
        }
        return {
            "specimens": list(self.specimens),
            "corruptions": {name: corruptions.get(name).family for name in self.corruptions},
            "reference": reference,
            "n": self.num_images,
            "seed": self.seed,
            "models": models,
            "table": self.table(),
        }

    def _number(self, specimen: str) -> int:
        if specimen not in self.specimens:
            raise ValueError(f"specimen must be one of {', '.join(self.specimens)}, but got {specimen!r}.")
        return self.specimens.index(specimen)

    def _errors(self, specimen: str) -> Float[np.ndarray, "corruption image"]:
        """Share of the severities at which an image is got wrong."""
        return 1 - self.correct[self._number(specimen)].mean(axis=1)

    def _ratio(
        self, above: Float[np.ndarray, "corruption image"], below: Float[np.ndarray, "corruption image"]
    ) -> Interval:
        kinds, nan = len(self.corruptions), float("nan")
        value = _mean_ratio(above.mean(axis=1), below.mean(axis=1))
        if not np.isfinite(value):
            return Interval(nan, nan, nan, self.num_images, "bootstrap")
        draws = resampled_means(np.concatenate([above, below]).T, seed=self.seed)
        ratios = _mean_ratio(draws[:, :kinds], draws[:, kinds:])
        known = ratios[
            np.isfinite(ratios)
        ]  # a resample may miss the few images that the reference gets wrong
        low, high = np.quantile(known, [0.025, 0.975]) if len(known) else (nan, nan)
        return Interval(float(value), float(low), float(high), self.num_images, "bootstrap")


def _mean_ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Mean over the last axis of one over the other; NaN where some of what it is divided by is not above 0."""
    safe = np.where(below > 1e-12, below, np.nan)
    return np.asarray((above / safe).mean(axis=-1))


def corruption_errors(
    specimens: Sequence[Specimen],
    images: Image | PixelImage,
    labels: Int[Tensor, " label"],
    *,
    names: Sequence[str] | None = None,
    seed: int = 0,
    at_once: int = 256,
) -> CorruptionErrors:
    """What models still know of images corrupted in every way at every severity.

    Args:
        specimens: Any models that call the same classes by the same numbers, with names of their own.
        images: Floats in [0, 1] or 8 bit, at least 32 pixels high and wide; corrupted in the size they are given.
        labels: Their classes.
        names: Kinds of corruption; the fifteen common ones if None.
        seed: Of what is random; an image gets the same alone and in any batch.
        at_once: Images in one pass; halved where memory runs out.

    Raises:
        UnknownNameError: If there is no such corruption.
        ValueError: If names, labels or images do not fit, or an answer is not finite.
    """
    kinds = common_corruptions() if names is None else tuple(names)
    if not kinds or len(set(kinds)) < len(kinds):
        raise ValueError(f"names must be corruptions, each once and at least one, but got {list(kinds)}.")
    for kind in kinds:
        corruptions.get(kind)

    def versions(some: Image) -> Iterator[Image]:
        yield some
        for kind in kinds:
            for severity in SEVERITIES:
                yield corrupt(some, kind, severity, seed=seed)

    correct = answers_to_versions(specimens, images, labels, versions, at_once) == labels.cpu().numpy()
    shape = (len(specimens), len(kinds), len(SEVERITIES), len(images))
    return CorruptionErrors(
        specimens=tuple(specimen.name for specimen in specimens),
        corruptions=kinds,
        clean=correct[:, 0],
        correct=correct[:, 1:].reshape(shape),
        seed=seed,
    )
