"""Layer-wise relevance propagation: the logit is handed back from layer to layer, to each input what it contributed.

For transformers by AttnLRP (`achtibat2024attnlrp`) or CP-LRP (`ali2022xai`, patterns of attention are constants), for
convolutional networks by the epsilon rule with epsilon zero (`bach2015pixel`), all as one backward pass with other
rules: see `archaeology.capture.relevance`. Any model will do; none is rewritten. The root, where relevance is zero, is
the specimen's mean colour, which its normalisation turns into zero: relevance is `(image - mean colour) * gradient`.

What biases, position embeddings and class tokens contributed stays with them, so the map adds up to the logit only in a
model without them; how much arrived is told for every image.
"""

import torch

from archaeology.capture.record import frozen
from archaeology.capture.relevance import relevance_rules
from archaeology.core.errors import SelfCheckError
from archaeology.core.halving import in_halves
from archaeology.core.shapes import Heatmap, Image, Label, Logits, PixelImage
from archaeology.explain.asking import Question, question
from archaeology.explain.baselines import baseline_image
from archaeology.explain.explanation import Explanation
from archaeology.explain.method import of_model
from archaeology.specimens.specimen import Specimen

UNCHANGED = {torch.float64: 1e-6, torch.float32: 1e-3}  # relative to the largest logit
UNCHANGED_IN_HALF_PRECISION = 0.1


@of_model("lrp", title="LRP")
def lrp(
    specimen: Specimen,
    images: Image | PixelImage,
    target: Label | None = None,
    *,
    rule: str = "attnlrp",
    gamma: float = 0.0,
    at_once: int = 16,
) -> Explanation:
    """Signed relevance of all pixels for the target's logit, colours added up.

    Args:
        specimen: Any eager, differentiable model.
        images: Floats in [0, 1] or 8 bit.
        target: Class to explain for each image; the predicted one if None.
        rule: "attnlrp", or "cp" where patterns of attention are constants.
        gamma: How much more contributions that agree with the sign of the answer count in linear and convolutional
            layers; above zero maps get smoother and less contradictory.
        at_once: Images per pass; fewer where memory runs out.

    Returns:
        On the pixels of the images. Facts: "logit", and "relevance", how much of it arrived at the image. NaN for an
        image without a finite answer.

    Raises:
        UnknownNameError: If there is no such rule.
        ValueError: If `gamma` is negative, `at_once` is less than 1, or there is no such class.
        SelfCheckError: If the model was compiled or scripted, or answers differently under the rules.

    References:
        `achtibat2024attnlrp`, `ali2022xai`, `bach2015pixel`, `montavon2019layer`. Differs: see the module.
    """
    asked = question(specimen, images, target, at_once=at_once)
    found = in_halves(lambda some: propagated(asked, some, rule, gamma), len(asked.images), at_once)
    attribution = asked.answered(torch.cat([part for _, part in found]))
    weighted = f", agreeing contributions times {1 + gamma:g}" if gamma > 0 else ""
    return Explanation(
        heatmap=attribution.clamp(min=0),
        method="lrp",
        parameters={"rule": rule, "gamma": gamma, "at_once": at_once},
        formula="(image - mean colour) * d logit[class] / d image, differentiated by the rules of "
        f"{'AttnLRP' if rule == 'attnlrp' else 'CP-LRP'}{weighted}, added up over colours; the map is its positive "
        "part",
        target=asked.target,
        attribution=attribution,
        facts={"logit": asked.logit, "relevance": attribution.sum(dim=(1, 2))},
    )


def propagated(asked: Question, some: slice, rule: str, gamma: float) -> Heatmap:
    """Relevance of the pixels of `some` of the images.

    Raises:
        SelfCheckError: If the logits under the rules are not the model's own.
    """
    specimen, images, target = asked.specimen, asked.images[some], asked.target[some]
    with torch.inference_mode(False), torch.enable_grad(), frozen(specimen.model, True):
        given = images.clone().requires_grad_()
        prepared = specimen.prepare(given)
        with relevance_rules(specimen.model, rule, gamma):
            logits = specimen.model(prepared)
        check_unchanged(logits.detach(), asked, some)
        score = logits.gather(1, target[:, None]).sum()
        gradient = torch.autograd.grad(score, given, materialize_grads=True, allow_unused=True)[0]
    return ((images - baseline_image("grey", images, specimen)) * gradient).sum(dim=1)


def check_unchanged(logits: Logits, asked: Question, some: slice) -> None:
    """Compare logits under the rules with what the model answered to `some` of the images, where that is finite.

    Raises:
        SelfCheckError: If they differ.
    """
    own, target = asked.logit[some], asked.target[some]
    apart = (logits.gather(1, target[:, None])[:, 0] - own) / logits.abs().amax(dim=1).clamp(min=1e-12)
    largest = float(apart.abs().nan_to_num(nan=0.0, posinf=0.0).max())
    if largest > UNCHANGED.get(own.dtype, UNCHANGED_IN_HALF_PRECISION):
        raise SelfCheckError(
            f"Relevance rules must leave answers as they are, but a logit of {asked.specimen.name} differs by "
            f"{largest:.3g} of the largest; put the model into evaluation mode, or does it answer at random?"
        )
