"""Attention that makes no call we could see is never an empty list: the model is refused, with the reason."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import torch
from torch import Tensor, nn

from archaeology.core.errors import SelfCheckError
from archaeology.specimens.specimen import Specimen


def refuse_hidden(model: nn.Module) -> None:
    """Stop at a model that runs, wholly or in part, outside Python.

    Raises:
        SelfCheckError: If a module was traced, scripted or compiled; names it.
    """
    for path, module in model.named_modules():
        where = f"{path or 'the model'} ({type(module).__name__})"
        if isinstance(module, torch.jit.ScriptModule):
            raise SelfCheckError(
                f"Attention is read from calls made in Python, but {where} was traced or scripted by "
                f"torch.jit and makes none; load the eager model instead."
            )
        if type(module).__name__ == "OptimizedModule" or module._compiled_call_impl is not None:
            raise SelfCheckError(
                f"Attention is read from eager calls, but {where} was compiled by torch.compile; examine the "
                f"model as it was before compiling."
            )


@contextmanager
def overheard() -> Iterator[set[str]]:
    """Names of all functions called inside the block, of Python and of C; slow, meant for one small batch."""
    names: set[str] = set()

    def note(frame: FrameType, event: str, called: object) -> None:
        if event == "call":
            names.add(frame.f_code.co_name)
        elif event == "c_call":
            names.add(getattr(called, "__name__", ""))

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield names
    finally:
        sys.setprofile(before)


def refuse_flex(name: str, called: set[str]) -> None:
    """Stop at a model that calls `flex_attention`, which shows no pattern.

    Raises:
        SelfCheckError: If that is among the functions `called` by the specimen of this `name`.
    """
    if "flex_attention" in called:
        raise SelfCheckError(
            f"Attention is read from SDPA or softmax, but {name} calls flex_attention, which shows no pattern; "
            f"switch the model to SDPA or eager attention."
        )


def why_nothing(specimen: Specimen, images: Tensor) -> SelfCheckError:
    """The error for a specimen that shows no attention: runs it once more and listens to what it calls."""
    with torch.no_grad(), overheard() as called:
        specimen.predict(images)
    refuse_flex(specimen.name, called)
    reason = "it calls none of PyTorch's attention functions and no softmax; does it attend at all?"
    if "softmax" in called:
        reason = "it calls softmax, but no matmul, bmm or einsum of two tensors weights values by it."
    elif "compile_wrapper" in called:  # what torch.compile makes of a function
        reason = "it calls a function compiled by torch.compile; examine the model without compiling."
    elif called & {"exp", "exp_"}:
        reason = "it calls exp, so perhaps its softmax is written by hand; use F.softmax there."
    return SelfCheckError(f"No softmax attention was seen in {specimen.name}: {reason}")
