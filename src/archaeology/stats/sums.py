"""Running means that can be added: a survey keeps count, mean and spread per head, no images.

Source: `chan1983algorithms` for joining two counts, means and sums of squared deviations without losing
digits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy import stats as distributions


@dataclass(frozen=True, eq=False)
class HeadSums:
    """Count, mean and squared deviations of every statistic of every head, over images.

    Attributes:
        modules: Module path of the attention layer of each head.
        layer: Attention layer of each head, in the order of the forward pass.
        head: Number of each head inside its layer.
        names: The statistics, in the order of the columns.
        count: Images where the statistic is defined.
        mean: Mean over those images; 0 where there is none.
        deviation: Sum over those images of the squared distance from the mean.
        num_images: All images looked at.
    """

    modules: tuple[str, ...]
    layer: Int[np.ndarray, " row"]
    head: Int[np.ndarray, " row"]
    names: tuple[str, ...]
    count: Int[np.ndarray, "row statistic"]
    mean: Float[np.ndarray, "row statistic"]
    deviation: Float[np.ndarray, "row statistic"]
    num_images: int

    @classmethod
    def of_images(
        cls,
        modules: Sequence[str],
        names: Sequence[str],
        values: Sequence[np.ndarray],
    ) -> "HeadSums":
        """Sums over some images.

        Args:
            modules: Module path of each attention layer.
            names: Of the statistics.
            values: `(image, head, statistic)` of each layer (layers may differ in their heads); NaN where not defined.
        """
        heads = [array.shape[1] for array in values]
        stacked = np.concatenate([np.asarray(array, dtype=np.float64) for array in values], axis=1)
        known = np.isfinite(stacked)
        count = known.sum(axis=0)
        mean = np.where(known, stacked, 0).sum(axis=0) / np.maximum(count, 1)
        deviation = (np.where(known, stacked - mean, 0) ** 2).sum(axis=0)
        return cls(
            modules=tuple(
                module for module, number in zip(modules, heads, strict=True) for _ in range(number)
            ),
            layer=np.repeat(np.arange(len(heads)), heads),
            head=np.concatenate([np.arange(number) for number in heads]),
            names=tuple(names),
            count=count,
            mean=mean,
            deviation=deviation,
            num_images=len(stacked),
        )

    def __add__(self, other: "HeadSums") -> "HeadSums":
        """The sums over the images of both.

        Raises:
            ValueError: If they speak of different heads or statistics.
        """
        if (self.modules, self.names) != (other.modules, other.names):
            raise ValueError(
                "only sums of the same heads and statistics can be added, but got "
                f"{len(self.modules)} heads with {self.names} and {len(other.modules)} heads with "
                f"{other.names}; they come from different models or versions, so survey again."
            )
        count = self.count + other.count
        share = other.count / np.maximum(count, 1)
        shift = other.mean - self.mean
        return HeadSums(
            self.modules,
            self.layer,
            self.head,
            self.names,
            count=count,
            mean=self.mean + shift * share,
            deviation=self.deviation + other.deviation + shift**2 * self.count * share,
            num_images=self.num_images + other.num_images,
        )

    def means(self) -> Float[np.ndarray, "row statistic"]:
        """The mean over images; NaN where a statistic is defined for none."""
        return np.where(self.count > 0, self.mean, np.nan)

    def half_widths(self, level: float) -> Float[np.ndarray, "row statistic"]:
        """Half the width of Student's interval for the mean, over images; NaN with fewer than two."""
        degrees = np.maximum(self.count - 1, 1)
        error = np.sqrt(self.deviation / degrees / np.maximum(self.count, 1))
        return np.where(self.count > 1, distributions.t.ppf(0.5 + level / 2, degrees) * error, np.nan)

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything as arrays, for `numpy.savez`; `HeadSums.from_arrays` takes them back."""
        return {
            "modules": np.array(self.modules),
            "layer": self.layer,
            "head": self.head,
            "names": np.array(self.names),
            "count": self.count,
            "mean": self.mean,
            "deviation": self.deviation,
            "num_images": np.array(self.num_images),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "HeadSums":
        """The sums that `arrays()` wrote."""
        return cls(
            modules=tuple(str(module) for module in arrays["modules"]),
            layer=np.asarray(arrays["layer"]),
            head=np.asarray(arrays["head"]),
            names=tuple(str(name) for name in arrays["names"]),
            count=np.asarray(arrays["count"]),
            mean=np.asarray(arrays["mean"]),
            deviation=np.asarray(arrays["deviation"]),
            num_images=int(arrays["num_images"]),
        )
