"""Shape or texture of natural images: what models say of the phase of one image with the amplitudes of another.

An image's Fourier phases hold where things are, its outlines; the amplitudes hold how much there is of each pattern
wherever it is, its texture and colour (`oppenheim1981importance`). A hybrid has the phases of one image and the
amplitudes of one of another class. People go by the phases, CNNs more by the amplitudes (`chen2021amplitude`). So the
share of decisions for the phase's class, among those for either, is a shape share for images that no one has painted.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Int

from archaeology.capture.record import unit_images
from archaeology.core.seeding import torch_generator
from archaeology.core.shapes import Image, Label, PixelImage
from archaeology.robustness.filters import low_pass
from archaeology.robustness.shape_bias import CUTOFFS, ShapeBias, checked_cutoffs
from archaeology.robustness.versions import answers_to_versions
from archaeology.specimens.specimen import Specimen


def phase_bias(
    specimens: Sequence[Specimen],
    images: Image | PixelImage,
    labels: Label,
    classes: Sequence[str],
    *,
    cutoffs: Sequence[float] = CUTOFFS,
    seed: int = 0,
    at_once: int = 256,
) -> ShapeBias:
    """What models take hybrids for, as they are and low-passed; "shape" is the phase's class, "texture" the other.

    Args:
        specimens: Any models that call the same classes by the same numbers, with names of their own.
        images: Floats in [0, 1] or 8 bit; of at least two classes.
        labels: Their classes.
        classes: Names of the classes.
        cutoffs: Of low-passes, shares of Nyquist, ascending; the unfiltered hybrids are always asked, too.
        seed: Of the partners, and of the bootstrap.
        at_once: Images in one pass; halved where memory runs out.

    Raises:
        ValueError: If all images are of one class, cutoffs, names or labels do not fit, or an answer is not finite.

    References:
        `oppenheim1981importance`, `chen2021amplitude`. Differs: values beyond [0, 1] are cut.
    """
    given = checked_cutoffs(cutoffs)
    partner = partners(labels, seed)
    made = hybrids(images, images[partner.to(images.device)])

    def versions(some: Image) -> Iterator[Image]:
        yield from (low_pass(some, cutoff) for cutoff in given)
        yield some

    return ShapeBias(
        specimens=tuple(specimen.name for specimen in specimens),
        cutoffs=(*given, np.inf),
        classes=tuple(classes),
        shape=labels.cpu().numpy(),
        texture=labels[partner].cpu().numpy(),
        answers=answers_to_versions(specimens, made, labels, versions, at_once),
        seed=seed,
    )


def partners(labels: Label, seed: int = 0) -> Int[torch.Tensor, " batch"]:
    """For each image the number of one of another class, drawn evenly from all of those.

    Raises:
        ValueError: If all images are of one class.
    """
    if len(labels) == 0 or bool((labels == labels[0]).all()):
        raise ValueError(
            "hybrids need images of at least two classes, but all are of one; give more images, or another data set."
        )
    generator = torch_generator(seed, "partners of another class")
    chance = (labels[:, None] != labels).double().cpu()
    return torch.multinomial(chance, 1, generator=generator)[:, 0].to(labels.device)


def hybrids(phase: Image | PixelImage, amplitude: Image | PixelImage) -> Image:
    """Images with the phases of the first and the amplitudes of the second, colour by colour, cut to [0, 1]."""
    first, second = (torch.fft.rfft2(unit_images(one, one.device).double()) for one in (phase, amplitude))
    mixed = torch.polar(second.abs(), first.angle())
    return torch.fft.irfft2(mixed, s=phase.shape[-2:]).clamp(0, 1).float()
