"""Methods that run the model again and again ask it the same way: some images at once, of a class, without a trace.

What they share: the class each image is explained for, its logit and the gradient of that logit, and what becomes of
an image for which the model has no finite answer. Such an image gets a map of NaN, which is no evidence
(`Explanation.has_evidence`), and the other images of the batch get theirs.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from archaeology.capture.record import checked_target, frozen, unit_images
from archaeology.core.halving import in_halves
from archaeology.core.shapes import Heatmap, Image, Label, PixelImage
from archaeology.specimens.specimen import Specimen


@dataclass(frozen=True, eq=False)
class Question:
    """Why does the model give these images these logits?

    Attributes:
        specimen: The model.
        images: In [0, 1], on its device, in the size they were given.
        target: The class asked of each.
        logit: The model's logit for that class.
    """

    specimen: Specimen
    images: Image
    target: Label
    logit: Float[Tensor, " batch"]

    @torch.no_grad()
    def logits_of(self, images: Image, target: Label) -> Float[Tensor, " batch"]:
        """Logits of the classes `target` for other images."""
        return _chosen(self.specimen.predict(images), target)

    def gradients_of(self, images: Image, target: Label) -> Image:
        """Gradients of those logits with respect to the images; no parameter gets one."""
        with torch.inference_mode(False), torch.enable_grad(), frozen(self.specimen.model, True):
            given = images.clone() if images.is_inference() else images.detach()
            logits = _chosen(self.specimen.predict(given.requires_grad_()), target)
            return torch.autograd.grad(logits.sum(), given, materialize_grads=True, allow_unused=True)[0]

    def without_answer(self, attribution: Heatmap) -> Bool[Tensor, " batch"]:
        """For which images the model's logit, or anything in the map, is not finite."""
        return ~(torch.isfinite(self.logit) & torch.isfinite(attribution).flatten(1).all(dim=1))

    def answered(self, attribution: Heatmap) -> Heatmap:
        """The map, NaN all over where any of it or the logit is not finite."""
        return attribution.masked_fill(self.without_answer(attribution)[:, None, None], torch.nan)


def question(
    specimen: Specimen, images: Image | PixelImage, target: Label | None, *, at_once: int
) -> Question:
    """What is asked, with the model's own answer; the predicted classes are asked for if `target` is None.

    Args:
        specimen: Any model.
        images: Floats in [0, 1] or 8 bit.
        target: Class to explain for each image.
        at_once: Images per forward pass; fewer where memory runs out.

    Raises:
        ValueError: If there is no such class, or `at_once` is less than 1.
    """
    with torch.inference_mode(False), torch.no_grad():
        images = unit_images(images, specimen.device).clone()
        parts = in_halves(lambda some: specimen.predict(images[some]), len(images), at_once)
        logits = torch.cat([part for _, part in parts])
    target = checked_target(logits, target)
    return Question(specimen, images, target, _chosen(logits, target))


def rows_of(some: slice, each: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Where `each` copies of every image stand in one long row: the image, and which copy, of `some` of them."""
    numbers = torch.arange(some.start, some.stop, device=device)
    return numbers // each, numbers % each


def _chosen(logits: Float[Tensor, "batch classes"], target: Label) -> Float[Tensor, " batch"]:
    return logits.gather(1, target[:, None])[:, 0]
