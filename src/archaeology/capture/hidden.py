"""Attention that makes no call we could see is never an empty list: the model is refused, with the reason."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

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


def why_nothing(specimen: Specimen, images: Tensor) -> SelfCheckError:
    """The error for a specimen that shows no attention: runs it once more and listens for what it calls."""
    with torch.no_grad(), _Listener() as listener:
        specimen.predict(images)
    return SelfCheckError(f"No softmax attention was seen in {specimen.name}: {_reason(listener.names)}")


def _reason(names: set[str]) -> str:
    if any("flex_attention" in name for name in names):
        return "it uses flex_attention, which shows no pattern; switch the model to SDPA or eager attention."
    if "softmax" in names:
        return (
            "it calls softmax, but no matmul, bmm or einsum of two tensors multiplies the result with values."
        )
    if names & {"exp", "exp_"}:
        return "it calls exp, so perhaps its softmax is written by hand; use F.softmax there."
    return "it calls none of PyTorch's attention functions and no softmax; does it attend at all?"


class _Listener(TorchFunctionMode):
    """Notes the names of the functions that are called."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        self.names.add(getattr(func, "__name__", str(func)))
        return func(*args, **(kwargs or {}))
