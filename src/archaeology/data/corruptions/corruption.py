"""A corruption is an operation with strengths at five severities, one set for small images and one for large ones."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from archaeology.core.registry import Registry
from archaeology.core.shapes import Image

FAMILIES = ("noise", "blur", "weather", "digital")
SEVERITIES = (1, 2, 3, 4, 5)
SMALL = 84  # pixels: the geometric mean of 32 and 224, up to which the strengths for 32 pixels are the nearer ones

#: Name of a parameter -> its value at each of the five severities.
Strengths = Mapping[str, tuple[int, ...] | tuple[float, ...]]
Operation = TypeVar("Operation", bound=Callable[..., Image])


@dataclass(frozen=True)
class Corruption:
    """One way in which images go bad.

    Attributes:
        name: For example "gaussian_noise".
        family: One of `FAMILIES`.
        is_extra: Whether it is one of the four that `hendrycks2019benchmarking` keep for validation.
        operation: (images in [0, 1], draws, parameters) -> images, perhaps beyond [0, 1].
        small: Strengths for images of 32 pixels, as published with CIFAR-10-C.
        large: Strengths for images of 224 pixels, as published with ImageNet-C.
    """

    name: str
    family: str
    is_extra: bool
    operation: Callable[..., Image]
    small: Strengths
    large: Strengths

    def strength(self, severity: int, side: int) -> dict[str, int | float]:
        """The parameters at a severity of 1 to 5 for images whose shorter side has `side` pixels."""
        strengths = self.small if side <= SMALL else self.large
        return {name: values[severity - 1] for name, values in strengths.items()}


corruptions: Registry[Corruption] = Registry("corruption")


def common_corruptions() -> tuple[str, ...]:
    """Names of the fifteen that are averaged over, family by family."""
    chosen = [name for name in corruptions if not corruptions.get(name).is_extra]
    return tuple(sorted(chosen, key=lambda name: FAMILIES.index(corruptions.get(name).family)))


def corruption(
    family: str, *, small: Strengths, large: Strengths, is_extra: bool = False
) -> Callable[[Operation], Operation]:
    """Decorator that registers an operation under its own name, with its strengths at five severities.

    Args:
        family: One of `FAMILIES`.
        small: For images of 32 pixels: five values for each parameter of the operation after images and draws.
        large: The same for images of 224 pixels.
        is_extra: Whether it is kept out of the mean over common corruptions.

    Raises:
        ValueError: If family or strengths do not fit.
    """

    def shelve(operation: Operation) -> Operation:
        wanted = list(inspect.signature(operation).parameters)[2:]
        for strengths in (small, large):
            if list(strengths) != wanted or any(len(each) != 5 for each in strengths.values()):
                raise ValueError(
                    f"strengths of {operation.__name__} must hold five values for each of {wanted}, "
                    f"but got {dict(strengths)}."
                )
        if family not in FAMILIES:
            raise ValueError(f"family must be one of {', '.join(FAMILIES)}, but got {family=}.")
        name = operation.__name__
        corruptions.register(name)(Corruption(name, family, is_extra, operation, small, large))
        return operation

    return shelve
