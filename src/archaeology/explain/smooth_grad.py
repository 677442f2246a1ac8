"""SmoothGrad: the gradient of the class, averaged over noisy copies of the image so that its own noise cancels.

Source: `smilkov2017smoothgrad`; with squares, `hooker2019benchmark`. Noise is normal, its deviation a share of the
image's own range from darkest to brightest value. Differs: noisy copies are clamped to [0, 1], because a specimen takes
nothing else (the gradient is taken at the clamped copy); and the noise of an image is drawn from its own pixels and the
seed, so that its map does not depend on which images it came with.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from archaeology.core.halving import in_halves
from archaeology.core.seeding import content_names, torch_generator
from archaeology.core.shapes import Image, Label, PixelImage
from archaeology.explain.asking import Question, question, rows_of
from archaeology.explain.explanation import Explanation
from archaeology.explain.method import of_model
from archaeology.specimens.specimen import Specimen


@of_model("smooth_grad", title="SmoothGrad")
def smooth_grad(
    specimen: Specimen,
    images: Image | PixelImage,
    target: Label | None = None,
    *,
    samples: int = 32,
    noise: float = 0.15,
    seed: int = 0,
    squared: bool = False,
    at_once: int = 32,
) -> Explanation:
    """How steeply the logit changes with each pixel, on average around the image; of the colours the steepest counts.

    Args:
        specimen: Any differentiable model.
        images: Floats in [0, 1] or 8 bit.
        target: Class to explain for each image; the predicted one if None.
        samples: Noisy copies of each image; each costs a forward and a backward pass.
        noise: Deviation of the noise as a share of the image's range; 0.1 to 0.2 is customary.
        seed: Other seeds draw other noise.
        squared: Average the squares of the gradients instead of the gradients.
        at_once: Copies worked on at a time, over all images; fewer where memory runs out.

    Returns:
        On the pixels of the images; without signs. NaN for an image without a finite answer.

    Raises:
        ValueError: If `samples` or `at_once` is less than 1, `noise` or `seed` is negative, or there is no such class.

    References:
        `smilkov2017smoothgrad`, `hooker2019benchmark`. Differs: see the module.
    """
    if samples < 1:
        raise ValueError(f"samples must be at least 1, but got {samples=}; 32 is customary.")
    if not 0 <= noise < float("inf"):
        raise ValueError(
            f"noise must be a finite share of the image's range, >= 0, but got {noise=}; try 0.15."
        )
    asked = question(specimen, images, target, at_once=at_once)
    gradient = smoothed(asked, samples, noise, seed, squared, at_once)
    what = "d logit[class] / d image" + (" squared" if squared else "")
    return Explanation(
        heatmap=asked.answered(gradient.abs().amax(dim=1)),
        method="smooth_grad",
        parameters={
            "samples": samples,
            "noise": noise,
            "seed": seed,
            "squared": squared,
            "at_once": at_once,
        },
        formula=f"largest over colours of |mean of {what}| over {samples} copies of the image with normal noise, "
        f"deviation {noise:g} of its range, clamped to [0, 1]",
        target=asked.target,
        facts={"logit": asked.logit},
    )


def smoothed(asked: Question, samples: int, noise: float, seed: int, squared: bool, at_once: int) -> Image:
    """Mean of the gradients, or of their squares, at noisy copies of all images."""
    images = asked.images
    names = content_names(images)
    deviation = noise * (images.amax(dim=(1, 2, 3)) - images.amin(dim=(1, 2, 3)))
    total = torch.zeros_like(images)

    def gradients(some: slice) -> tuple[Tensor, Tensor]:
        image, sample = rows_of(some, samples, images.device)
        drawn = [
            noise_of(names[i], j, seed, images[0])
            for i, j in zip(image.tolist(), sample.tolist(), strict=True)
        ]
        noisy = images[image] + deviation[image].view(-1, 1, 1, 1) * torch.stack(drawn)
        found = asked.gradients_of(noisy.clamp(0, 1), asked.target[image])
        return image, found.square() if squared else found

    for _, (image, found) in in_halves(gradients, samples * len(images), at_once):
        total.index_add_(0, image, found)
    return total / samples


def noise_of(
    name: str, sample: int, seed: int, like: Float[Tensor, "channel height width"]
) -> Float[Tensor, "channel height width"]:
    """Standard normal noise for copy number `sample` of the image of that name: the same on every device."""
    drawn = torch.randn(like.shape, generator=torch_generator(seed, "smooth_grad", name, sample))
    return drawn.to(like)
