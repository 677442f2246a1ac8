"""Which patterns of noise break a model: its error under a plane wave of each frequency, all of the same strength.

After `yin2019fourier`: each image gets a cosine of one frequency, with a random sign for each of its channels. Differs:
frequencies that give the same wave are asked once (of a plane and its reflection, only one half), and large images may
ask only every second or third frequency.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from archaeology.core.intervals import bootstrap_means, wilson
from archaeology.core.seeding import content_names, torch_generator
from archaeology.core.shapes import Image, PixelImage
from archaeology.robustness.versions import answers_to_versions
from archaeology.robustness.written import written
from archaeology.specimens.specimen import Specimen

Frequency = tuple[int, int]
RMS = 0.125  # 4 in the L2 norm of a channel of 32 x 32 pixels, as published
MOST_SIGNS = (
    97  # drawn for an image; frequencies take turns, a number prime to the sides so that neighbours differ
)


@dataclass(frozen=True, eq=False)
class FourierSensitivity:
    """Where in the plane of frequencies each model is weak.

    Attributes:
        specimens: Names of the models.
        down: Cycles from top to bottom of the rows of the map, ascending; negative ones fall the other way.
        right: Cycles from left to right of its columns, ascending from 0.
        rms: Root mean square of the noise in every channel, before values beyond [0, 1] are cut off.
        size: Height and width of the images in pixels.
        clean: Whether each model was right without noise.
        correct: Whether it was under noise of each frequency.
        seed: Of the signs.
    """

    specimens: tuple[str, ...]
    down: tuple[int, ...]
    right: tuple[int, ...]
    rms: float
    size: tuple[int, int]
    clean: Bool[np.ndarray, "specimen image"]
    correct: Bool[np.ndarray, "specimen row column image"]
    seed: int

    @property
    def norm(self) -> float:
        """Length (L2 norm) of the noise in a channel, as in the paper."""
        return self.rms * float(np.sqrt(self.size[0] * self.size[1]))

    def errors(self, specimen: str) -> Float[np.ndarray, "row column"]:
        """Share of the images that a model gets wrong under each frequency.

        Raises:
            ValueError: If there is no such model.
        """
        return 1 - self.correct[self._number(specimen)].mean(axis=-1)

    def plane(self, specimen: str) -> Float[np.ndarray, "row full_column"]:
        """`errors` over the whole plane, frequency 0 in the middle: the left half is the right one turned by half."""
        half = self.errors(specimen)
        return np.concatenate([half[::-1, :0:-1], half], axis=1)

    def rings(self, specimen: str, edges: Sequence[float] = (0.0, 0.25, 0.5, 1.5)) -> list[dict[str, object]]:
        """Error over all frequencies between two radii, in shares of Nyquist, with Wilson's interval.

        Args:
            specimen: Name of the model.
            edges: Ascending radii.

        Returns:
            For each ring that holds a frequency: `low, high, num_frequencies` (asked ones), `n` and `error`, the mean
            over the whole plane, with an interval over images (bootstrap).

        Raises:
            ValueError: If there is no such model.
        """
        wrong = ~self.correct[self._number(specimen)]
        radius = np.hypot(
            2 * np.array(self.down)[:, None] / self.size[0], 2 * np.array(self.right) / self.size[1]
        )
        rings = [(low, high, (radius >= low) & (radius < high)) for low, high in pairwise(edges)]
        rings = [ring for ring in rings if ring[2].any()]
        weights = self._weights()
        shares = [np.average(wrong[inside], axis=0, weights=weights[inside]) for *_, inside in rings]
        intervals = bootstrap_means(np.stack(shares, axis=1), seed=self.seed)
        return [
            {"low": low, "high": high, "num_frequencies": int(inside.sum()), "n": interval.n}
            | written("error", interval)
            for (low, high, inside), interval in zip(rings, intervals, strict=True)
        ]

    def _weights(self) -> Float[np.ndarray, "row column"]:
        """How many frequencies of the whole plane each one stands for: itself and its reflection, if another."""
        rows = np.where(2 * np.abs(self.down) == self.size[0], 0.5, 1.0)
        right = np.array(self.right)
        return rows[:, None] * np.where((right == 0) | (2 * right == self.size[1]), 1.0, 2.0)

    def describe(self) -> dict[str, object]:
        """Maps and rings, ready for JSON."""
        num_images = self.clean.shape[1]
        return {
            "specimens": list(self.specimens),
            "down": list(self.down),
            "right": list(self.right),
            "rms": self.rms,
            "norm": self.norm,
            "size": list(self.size),
            "n": num_images,
            "seed": self.seed,
            "models": {
                name: {
                    "clean": written("error", wilson(int((~right).sum()), num_images)),
                    "errors": self.errors(name).tolist(),
                    "rings": self.rings(name),
                }
                for name, right in zip(self.specimens, self.clean, strict=True)
            },
        }

    def _number(self, specimen: str) -> int:
        if specimen not in self.specimens:
            raise ValueError(f"specimen must be one of {', '.join(self.specimens)}, but got {specimen!r}.")
        return self.specimens.index(specimen)


def fourier_sensitivity(
    specimens: Sequence[Specimen],
    images: Image | PixelImage,
    labels: Int[Tensor, " label"],
    *,
    rms: float = RMS,
    every: int = 1,
    seed: int = 0,
    at_once: int = 256,
) -> FourierSensitivity:
    """Error of each model under noise of every single frequency.

    Costs one pass for about half as many frequencies as there are pixels, divided by `every` squared.

    Args:
        specimens: Any models that call the same classes by the same numbers, with names of their own.
        images: Floats in [0, 1] or 8 bit; noise is added in the size they are given.
        labels: Their classes.
        rms: Strength of the noise: its root mean square in each channel, in units of images in [0, 1].
        every: Ask only frequencies that are multiples of this in both directions.
        seed: Of the signs; an image gets the same alone and in any batch.
        at_once: Images in one pass; halved where memory runs out.

    Raises:
        ValueError: If a number, names or labels do not fit, or an answer is not finite.
    """
    if not (0 < rms <= 1 and every >= 1):
        raise ValueError(
            f"rms must lie above 0 and be at most 1, and every be at least 1, but got {rms=}, {every=}."
        )
    size = (images.shape[-2], images.shape[-1])
    down, right = (_multiples(side, every) for side in size)
    down = [-cycles for cycles in reversed(down[1:])] + down
    places = {(u, v): _first_of_its_wave((u, v), size) for u in down for v in right}
    waves = list(dict.fromkeys(places.values()))

    def versions(some: Image) -> Iterator[Image]:
        signs = rms * _signs(some, seed)
        yield some
        for number, frequency in enumerate(waves):
            wave = plane_wave(frequency, size).to(some)
            yield (some + signs[:, number % MOST_SIGNS, :, None, None] * wave).clamp(0, 1)

    correct = answers_to_versions(specimens, images, labels, versions, at_once) == labels.cpu().numpy()
    chosen = [1 + waves.index(wave) for wave in places.values()]
    return FourierSensitivity(
        specimens=tuple(specimen.name for specimen in specimens),
        down=tuple(down),
        right=tuple(right),
        rms=float(rms),
        size=size,
        clean=correct[:, 0],
        correct=correct[:, chosen].reshape(len(specimens), len(down), len(right), len(images)),
        seed=seed,
    )


def plane_wave(frequency: Frequency, size: tuple[int, int]) -> Float[Tensor, "height width"]:
    """A cosine with its crest in the upper left corner and a root mean square of 1; double precision.

    Args:
        frequency: Cycles from top to bottom and from left to right.
        size: Height and width in pixels.
    """
    down, right = (torch.arange(side, dtype=torch.float64) / side for side in size)
    wave = torch.cos(2 * torch.pi * (frequency[0] * down[:, None] + frequency[1] * right))
    return wave / wave.square().mean().sqrt()


def _multiples(side: int, every: int) -> list[int]:
    return list(range(0, side // 2 + 1, every))


def _first_of_its_wave(frequency: Frequency, size: tuple[int, int]) -> Frequency:
    """One name for all frequencies that give the same cosine on these pixels."""
    (u, v), (height, width) = frequency, size
    return min((u % height, v % width), (-u % height, -v % width))


def _signs(images: Image, seed: int) -> Float[Tensor, "batch turn channel"]:
    """Random signs of each image's own, for each of some turns and each channel."""
    shape = (MOST_SIGNS, images.shape[1])
    drawn = [
        torch.randint(0, 2, shape, generator=torch_generator(seed, "fourier", name))
        for name in content_names(images)
    ]
    return (2 * torch.stack(drawn) - 1).to(images)
