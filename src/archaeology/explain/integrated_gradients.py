"""Integrated gradients: how much each pixel added to the logit on the straight way from an empty image to this one.

`(x - b) * integral over t from 0 to 1 of d logit(b + t (x - b)) / dx`. Source: `sundararajan2017axiomatic`. Shares of
all pixels add up to `logit(x) - logit(b)` up to the error of the numerical integral, and that error is told for every
image: where it is large, take more steps. The path runs through images in [0, 1], before the specimen normalises them.
Differs: Gauss-Legendre nodes instead of a Riemann sum, which need far fewer steps where the logit is smooth along the
path; the midpoint rule is the safer choice for networks of straight pieces (ReLU).
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from archaeology.core.halving import in_halves
from archaeology.core.registry import unknown_name
from archaeology.core.shapes import Image, Label, PixelImage
from archaeology.explain.asking import Question, question, rows_of
from archaeology.explain.baselines import baseline_image
from archaeology.explain.explanation import Explanation
from archaeology.explain.method import of_model
from archaeology.specimens.specimen import Specimen

QUADRATURES = ("gauss_legendre", "midpoint")


@of_model("integrated_gradients", title="Integrated gradients")
def integrated_gradients(
    specimen: Specimen,
    images: Image | PixelImage,
    target: Label | None = None,
    *,
    baseline: str = "black",
    steps: int = 32,
    quadrature: str = "gauss_legendre",
    at_once: int = 32,
) -> Explanation:
    """Signed shares of all pixels in `logit(image) - logit(baseline)`, colours added up.

    Args:
        specimen: Any differentiable model.
        images: Floats in [0, 1] or 8 bit.
        target: Class to explain for each image; the predicted one if None.
        baseline: Where the path starts: "black", "grey" (the specimen's mean colour) or "blurred".
        steps: Points on the path; each costs a forward and a backward pass.
        quadrature: Where those points lie and what they weigh: "gauss_legendre" or "midpoint".
        at_once: Points worked on at a time, over all images; fewer where memory runs out.

    Returns:
        On the pixels of the images. Facts: "logit", "baseline_logit", and "completeness_error", by how much the shares
        miss the difference of the two, relative to it. NaN for an image without a finite answer.

    Raises:
        ValueError: If `steps` or `at_once` is less than 1, or there is no such class.
        UnknownNameError: If there is no such baseline or quadrature.

    References:
        `sundararajan2017axiomatic`. Differs: see the module.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, but got {steps=}; 32 is customary.")
    places, weights = nodes(quadrature, steps)
    asked = question(specimen, images, target, at_once=at_once)
    start = baseline_image(baseline, asked.images, specimen)
    way = asked.images - start
    parts = in_halves(lambda some: asked.logits_of(start[some], asked.target[some]), len(start), at_once)
    start_logit = torch.cat([part for _, part in parts])
    shares = (way * mean_gradient(asked, start, way, places, weights, at_once)).sum(dim=1)
    attribution = asked.answered(shares)
    difference = asked.logit - start_logit
    return Explanation(
        heatmap=attribution.clamp(min=0),
        method="integrated_gradients",
        parameters={"baseline": baseline, "steps": steps, "quadrature": quadrature, "at_once": at_once},
        formula=f"(image - {baseline} image) * mean over {steps} points between the two ({quadrature}) of "
        "d logit[class] / d image, added up over colours; the map is its positive part",
        target=asked.target,
        attribution=attribution,
        facts={
            "logit": asked.logit,
            "baseline_logit": start_logit,
            "completeness_error": relative_error(attribution.sum(dim=(1, 2)), difference),
        },
    )


def mean_gradient(
    asked: Question, start: Image, way: Image, places: Tensor, weights: Tensor, at_once: int
) -> Image:
    """Weighted mean of the gradients at all `places` between 0 and 1 of the straight `way` that leads from `start`."""
    steps = len(places)
    places, weights = (tensor.to(start).view(-1, 1, 1, 1) for tensor in (places, weights))
    total = torch.zeros_like(start)

    def gradients(some: slice) -> tuple[Tensor, Tensor]:
        image, step = rows_of(some, steps, start.device)
        # Rounding may carry a point of the path out of [0, 1] by less than the specimen forgives.
        points = torch.addcmul(start[image], places[step], way[image])
        return image, asked.gradients_of(points, asked.target[image]).mul_(weights[step])

    for _, (image, weighted) in in_halves(gradients, steps * len(start), at_once):
        total.index_add_(0, image, weighted.to(total.dtype))
    return total


def nodes(quadrature: str, steps: int) -> tuple[Float[Tensor, " step"], Float[Tensor, " step"]]:
    """Where in [0, 1] to look and what each look weighs, in float64; weights sum to one.

    Raises:
        UnknownNameError: If there is no such quadrature.
    """
    if quadrature == "midpoint":
        return (torch.arange(steps, dtype=torch.float64) + 0.5) / steps, torch.full(
            (steps,), 1 / steps, dtype=torch.float64
        )
    if quadrature == "gauss_legendre":
        places, weights = np.polynomial.legendre.leggauss(steps)
        return torch.from_numpy((1 + places) / 2), torch.from_numpy(weights / 2)
    raise unknown_name("quadrature", quadrature, list(QUADRATURES))


def relative_error(found: Float[Tensor, " batch"], due: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """`|found - due| / |due|`; zero where both are zero, very large where only `due` is."""
    return (found - due).abs() / due.abs().clamp(min=torch.finfo(due.dtype).tiny)
