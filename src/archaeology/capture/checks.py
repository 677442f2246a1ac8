"""Trust nothing that was not checked: on the first batch a capture must reproduce the model, or stop naming the layer.

Three checks: rows of a pattern sum to one, pattern times values is what the model's own attention gave, and the
logits are those of the model left alone. A model whose attention cannot be seen is told so, with the reason.
"""

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from archaeology.capture.attention import Attention
from archaeology.capture.interceptor import intercepted
from archaeology.core.errors import SelfCheckError
from archaeology.core.shapes import Image, PixelImage
from archaeology.specimens.specimen import Specimen

TOLERANCE = 1e-4
HALF_TOLERANCE = 2e-2


def check_capture(specimen: Specimen, images: Image | PixelImage) -> None:
    """Check on these images that what the interceptor reports is what the model does.

    Rows need not sum to one where the model mixes its patterns after the softmax (talking heads) or drops some of
    them in training.

    Args:
        specimen: Any model that attends.
        images: A first batch; two images are enough.

    Raises:
        SelfCheckError: If the attention cannot be seen, or is not reproduced; names the layer or the reason.
        ValueError: If the token layout is not what the layers show.
    """
    _refuse_hidden(specimen.model)
    seen: list[str] = []
    faults: list[str] = []

    def check(attention: Attention) -> None:
        seen.append(attention.module)
        faults.extend(_faults(attention))
        if specimen.layout is not None and attention.kind == "token":
            keys = attention.shape[3]
            if keys != specimen.layout.num_patches:  # where the class token joins late
                specimen.layout.check(keys, attention.module)

    with torch.no_grad():
        alone = specimen.predict(images)
        with intercepted(specimen.model, check):
            watched = specimen.predict(images)
    if not seen:
        raise SelfCheckError(_why_nothing(specimen, images))
    faults += _difference("the logits while watching", watched, alone)
    if faults:
        raise SelfCheckError(
            f"The capture of {specimen.name} must reproduce the model, but {'; '.join(faults)}."
        )


def _faults(attention: Attention) -> list[str]:
    pattern, value = attention.pattern(), attention.value
    where = f"layer {attention.index} ({attention.module})"
    faults = _difference(
        f"pattern times values in {where}", pattern @ value.to(pattern.dtype), attention.output
    )
    if attention.route == "sdpa":
        sums = pattern.sum(-1)
        if bool((((sums - 1).abs() > TOLERANCE) & (sums != 0)).any()):
            faults.append(
                f"rows of the pattern in {where} sum to {float(sums.min()):.4g}..{float(sums.max()):.4g}"
            )
    return faults


def _difference(what: str, ours: Tensor, theirs: Tensor) -> list[str]:
    half = theirs.dtype in (torch.float16, torch.bfloat16)
    scale = float(theirs.float().abs().amax().clamp(min=1e-6))
    difference = float((ours.float() - theirs.float()).abs().amax()) / scale
    within = difference <= (HALF_TOLERANCE if half else TOLERANCE)  # a NaN is not
    return [] if within else [f"{what} differ from the model's own by {difference:.2g} of their size"]


def _refuse_hidden(model: nn.Module) -> None:
    for path, module in model.named_modules():
        where = f"{path} ({type(module).__name__})" if path else f"the model ({type(module).__name__})"
        if isinstance(module, torch.jit.ScriptModule):
            raise SelfCheckError(
                f"Attention is read from Python calls, but {where} was made by torch.jit (traced or scripted) and makes "
                f"none; load the eager model instead."
            )
        if isinstance(module, torch._dynamo.OptimizedModule) or module._compiled_call_impl is not None:
            raise SelfCheckError(
                f"Attention is read from eager calls, but {where} was compiled by torch.compile; examine the model as "
                f"it was before compiling (compiled._orig_mod)."
            )


class _Listener(TorchFunctionMode):
    """Notes the names of the functions that are called."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.names.add(getattr(func, "__name__", str(func)))
        return func(*args, **(kwargs or {}))


def _why_nothing(specimen: Specimen, images: Tensor) -> str:
    with torch.no_grad(), _Listener() as listener:
        specimen.predict(images)
    begin = f"No softmax attention was seen in {specimen.name}: "
    if any("flex_attention" in name for name in listener.names):
        return (
            begin
            + "it uses flex_attention, which shows no pattern; switch the model to SDPA or eager attention."
        )
    if "softmax" in listener.names:
        return begin + "it calls softmax, but no matmul, bmm or einsum multiplies the result with values."
    if {"exp", "exp_"} & listener.names:
        return begin + "it calls exp, so perhaps its softmax is written by hand; use F.softmax there."
    return (
        begin
        + "it calls none of PyTorch's attention functions and no softmax; is it a convolutional network?"
    )
