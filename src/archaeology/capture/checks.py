"""Trust nothing unchecked: on the first batch a capture must reproduce the model, or stop naming the layer.

Three checks: rows of a pattern sum to one, pattern times values is what the model's own attention gave, and
the logits are those of the model left alone.
"""

import torch
from torch import Tensor

from archaeology.capture.attention import Attention
from archaeology.capture.hidden import overheard, refuse_flex, refuse_hidden, why_nothing
from archaeology.capture.interceptor import intercepted
from archaeology.core.errors import SelfCheckError
from archaeology.core.shapes import Image, PixelImage
from archaeology.specimens.specimen import Specimen

TOLERANCE = 1e-4
HALF_TOLERANCE = 2e-2


def check_capture(specimen: Specimen, images: Image | PixelImage) -> None:
    """Check on these images that what the interceptor reports is what the model does.

    Args:
        specimen: Any model that attends.
        images: A first batch; two images are enough.

    Raises:
        SelfCheckError: If the attention cannot be seen, or is not reproduced; names the layer or the reason.
        ValueError: If the token layout is not what the layers show.
    """
    refuse_hidden(specimen.model)
    seen: list[str] = []
    faults: list[str] = []

    def check(attention: Attention) -> None:
        seen.append(attention.module)
        faults.extend(_faults(attention))
        tokens = attention.shape[3]
        if (
            specimen.layout is not None
            and attention.kind == "token"
            and tokens != specimen.layout.num_patches
        ):
            specimen.layout.check(
                tokens, attention.module
            )  # patches alone are fine: a class token may join late

    with torch.no_grad():
        with overheard() as called:
            alone = specimen.predict(images)
        refuse_flex(specimen.name, called)
        with intercepted(specimen.model, check):
            watched = specimen.predict(images)
    if not seen:
        raise why_nothing(specimen, images)
    faults += _difference("the logits while watching", watched, alone)
    if faults:
        hint = "; it is in training mode: call eval() first" if specimen.model.training else ""
        raise SelfCheckError(
            f"A capture must reproduce the model, but in {specimen.name} {'; '.join(faults)}{hint}."
        )


def _faults(attention: Attention) -> list[str]:
    pattern, value = attention.pattern(), attention.value
    where = f"layer {attention.index} ({attention.module})"
    ours = pattern @ value.to(pattern.dtype)
    faults = _difference(f"pattern times values of {where}", ours, attention.output)
    sums = pattern.sum(-1)
    tolerance = _tolerance(value)
    if attention.normalised and bool((((sums - 1).abs() > tolerance) & (sums != 0)).any()):
        low, high = float(sums.min()), float(sums.max())
        faults.append(f"rows of the pattern of {where} sum to {low:.4g}..{high:.4g}, not 1")
    return faults


def _difference(what: str, ours: Tensor, theirs: Tensor) -> list[str]:
    scale = float(theirs.float().abs().amax().clamp(min=1e-6))
    difference = float((ours.float() - theirs.float()).abs().amax()) / scale
    fine = difference <= _tolerance(theirs)  # a NaN is not
    return [] if fine else [f"{what} differ from the model's own by {difference:.2g} of their size"]


def _tolerance(tensor: Tensor) -> float:
    return HALF_TOLERANCE if tensor.dtype in (torch.float16, torch.bfloat16) else TOLERANCE
